//! Padding.

use crate::attr::{F64, PadMode};
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};
use crate::types::TensorType;

op! {
    /// `x` with elements added around its last axes: `pad` holds (before, after) for each of the last
    /// `N` axes, the first of them first. `constant` adds `constant_val`; `reflect` mirrors at the
    /// edge element without repeating it (at most the extent less 1); `replicate` repeats the edge
    /// element.
    "pad" = Pad(x: One, pad: One) {
        mode: PadMode = PadMode::Constant,
        constant_val: F64 = F64(0.0),
    } + Pure => infer_pad;
}

fn infer_pad(op: &Pad, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let pad_ty = cx.int("pad")?;
    let [length] = &pad_ty.shape[..] else {
        return Err(OpError::shape(format!("`pad` is {pad_ty}, a vector is needed")));
    };
    let padded = match length.as_const().map(usize::try_from) {
        Some(Ok(n)) if n % 2 == 0 && n / 2 <= x.rank() => n / 2,
        Some(_) => {
            let message =
                format!("`pad` has {length} entries, two for some axes of {x} are needed");
            return Err(OpError::shape(message));
        }
        None => x.rank(),
    };
    let first = x.rank() - padded;
    let mut shape = x.shape[..first].to_vec();
    let Some(pad) = cx.content("pad").filter(|pad| pad.len() == 2 * padded) else {
        shape.extend((0..padded).map(|_| Dim::Unknown));
        return Ok(Inferred::tensor(x.dtype, shape));
    };
    for (axis, pair) in pad.chunks(2).enumerate() {
        let extent = &x.shape[first + axis];
        check_pair(op.mode, pair, (x, first + axis))?;
        shape.push(extent.add(&pair[0]).add(&pair[1]));
    }
    let content = match (op.mode, cx.content("x"), pad) {
        (PadMode::Constant, Some(content), [before, after]) if x.rank() == 1 => {
            padded_content(op.constant_val.0, content, (before, after))
        }
        _ => None,
    };
    Ok(Inferred::tensor(x.dtype, shape).with_content(content))
}

fn check_pair(mode: PadMode, pair: &[Dim], (x, axis): (&TensorType, usize)) -> OpResult<()> {
    for amount in pair.iter().filter_map(Dim::as_const) {
        if amount < 0 {
            return Err(OpError::attr(format!(
                "`pad` has {amount} for axis {axis}; slice the tensor to remove elements"
            )));
        }
        let Some(extent) = x.shape[axis].as_const().filter(|_| amount > 0) else { continue };
        let fits = match mode {
            PadMode::Constant => true,
            PadMode::Reflect => amount < extent,
            PadMode::Replicate => extent > 0,
        };
        if !fits {
            let word = mode.as_str();
            let message = format!("`pad` has {amount} for axis {axis} of {x} with mode {word}");
            return Err(OpError::shape(message));
        }
    }
    Ok(())
}

fn padded_content(value: f64, content: &[Dim], (before, after): (&Dim, &Dim)) -> Option<Vec<Dim>> {
    let count = |dim: &Dim| {
        let n = dim.as_const().and_then(|n| usize::try_from(n).ok())?;
        (n <= Inferred::MAX_CONTENT).then_some(n)
    };
    if value.trunc() != value || value.abs() > 1e15 {
        return None;
    }
    let fill = Dim::Const(value as i64);
    let mut padded = vec![fill.clone(); count(before)?];
    padded.extend_from_slice(content);
    padded.extend(std::iter::repeat_n(fill, count(after)?));
    Some(padded)
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;
    use crate::builder::Builder;
    use crate::program::{FuncId, Function, Param, Program, Value};
    use crate::types::Type;

    fn start(shape: Vec<Dim>) -> (Program, FuncId, Value) {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let x = function.add_param(Param::input("x"), Type::tensor(DType::F32, shape));
        let func = program.functions.push(function);
        (program, func, x)
    }

    #[test]
    fn the_last_axes_grow() {
        let h = Dim::symbol("h");
        let (mut program, func, x) = start(vec![1.into(), h.clone(), 4.into()]);
        let mut b = Builder::new(&mut program, func);
        let pad = b.ints(&[1, 2, 3, 0]).unwrap();
        let op = Pad { mode: PadMode::Constant, constant_val: F64(0.0) };
        let y = op.build(&mut b, x, pad).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [1.into(), h.add(&3.into()), 7.into()]);
    }

    #[test]
    fn reflection_needs_room() {
        let (mut program, func, x) = start(vec![1.into(), 4.into()]);
        let mut b = Builder::new(&mut program, func);
        let op = Pad { mode: PadMode::Reflect, constant_val: F64(0.0) };
        let pad = b.ints(&[4, 0]).unwrap();
        assert!(op.clone().build(&mut b, x, pad).is_err());
        let pad = b.ints(&[3, 3]).unwrap();
        assert!(op.clone().build(&mut b, x, pad).is_ok());
        let pad = b.ints(&[-1, 0]).unwrap();
        assert!(op.build(&mut b, x, pad).unwrap_err().message.contains("-1"));
    }

    #[test]
    fn contents_are_padded_too() {
        let (mut program, func, x) = start(vec![Dim::symbol("s"), 4.into()]);
        let mut b = Builder::new(&mut program, func);
        let shape = crate::ops::Shape {}.build(&mut b, x).unwrap();
        let pad = b.ints(&[1, 0]).unwrap();
        let op = Pad { mode: PadMode::Constant, constant_val: F64(1.0) };
        let y = op.build(&mut b, shape, pad).unwrap();
        assert_eq!(b.content(y).unwrap(), [1.into(), Dim::symbol("s"), 4.into()]);
    }
}
