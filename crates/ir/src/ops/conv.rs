//! Convolutions.

use mlc_tensor::DType;

use crate::attr::PadType;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, meet};
use crate::ops::window::{Window, spatial_rank};
use crate::types::TensorType;

op! {
    /// Cross-correlation over 1 to 3 spatial axes:
    /// `y[n, o, p…] = bias[o] + Σ_{c, k…} weight[o, c, k…] · x[n, g·Cin/groups + c, p·stride + k·dilation − pad…]`
    /// with `g` the group of `o`; what lies outside `x` is 0. `weight` is
    /// `[Cout, Cin/groups, K…]`. `pad` holds (before, after) of each axis and counts for
    /// `pad_type = custom` alone; `same` pads `max(0, (⌈i/s⌉−1)·s + (k−1)·d + 1 − i)` in all.
    "conv" = Conv(x: One, weight: One, bias: Opt) {
        strides: Vec<i64> = vec![],
        pad_type: PadType = PadType::Valid,
        pad: Vec<i64> = vec![],
        dilations: Vec<i64> = vec![],
        groups: i64 = 1,
    } + Pure => infer_conv;

    /// Transposed convolution: the gradient of `conv` with respect to its `x`. Element
    /// `x[n, c, i…]` adds `weight[c, o, k…] · x[n, c, i…]` to `y[n, o, i·stride + k·dilation − before…]`,
    /// and `bias[o]` is added everywhere. `weight` is `[Cin, Cout/groups, K…]`.
    ///
    /// With `f = (i−1)·stride + (k−1)·dilation + 1` the extent is `f` for `valid` (`before` = 0),
    /// `f − pad` for `custom` (`before` as given), `i·stride` for the others. `output_shape`, the
    /// whole shape, wins where given. For `same` `before` is half of `max(0, f − extent)`, rounded
    /// down, rounded up for `same_lower`. Positions that no element reaches hold the bias alone.
    "conv_transpose" = ConvTranspose(x: One, weight: One, bias: Opt) {
        pad: Vec<i64> = vec![],
        output_shape: Option<Vec<i64>> = None,
        pad_type: PadType = PadType::Valid,
        strides: Vec<i64> = vec![],
        dilations: Vec<i64> = vec![],
        groups: i64 = 1,
    } + Pure => infer_conv_transpose;
}

/// What both convolutions check first.
struct Parts<'a> {
    x: &'a TensorType,
    weight: &'a TensorType,
    spatial: usize,
    groups: Dim,
}

fn parts<'a>(cx: &InferCx<'a>, groups: i64) -> OpResult<Parts<'a>> {
    let (x, weight) = (cx.float("x")?, cx.float("weight")?);
    let spatial = spatial_rank(x, 3)?;
    if weight.rank() != x.rank() {
        return Err(OpError::shape(format!("`weight` is {weight}, the rank of `x` ({x}) differs")));
    }
    if groups < 1 {
        return Err(OpError::attr(format!("`groups` is {groups}, at least 1 is needed")));
    }
    if let Some(at) = weight.shape.iter().position(|d| d.is(0)) {
        return Err(OpError::shape(format!("`weight` is {weight}, axis {at} is empty")));
    }
    Ok(Parts { x, weight, spatial, groups: Dim::Const(groups) })
}

fn check_bias(cx: &InferCx<'_>, channels: &Dim) -> OpResult<()> {
    let Some(bias) = cx.opt_tensor("bias")? else { return Ok(()) };
    let fits = bias.rank() == 1 && may_equal(&bias.shape[0], channels);
    if !fits || !bias.dtype.is_float() {
        return Err(OpError::shape(format!("`bias` is {bias}, {channels} floats are needed")));
    }
    Ok(())
}

fn divides(groups: &Dim, what: &str, channels: &Dim) -> OpResult<()> {
    match channels.modulo(groups) {
        Dim::Const(rest) if rest != 0 => {
            let message =
                format!("{what} of {channels} channels cannot be split in {groups} groups");
            Err(OpError::shape(message))
        }
        _ => Ok(()),
    }
}

fn infer_conv(op: &Conv, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let Parts { x, weight, spatial, groups } = parts(cx, op.groups)?;
    let window = Window::new(spatial, &op.strides, &op.dilations, (op.pad_type, &op.pad))?;
    let taken = weight.shape[1].mul(&groups);
    if !may_equal(&x.shape[1], &taken) {
        let message =
            format!("`x` ({x}) has not the {taken} channels that `weight` ({weight}) takes");
        return Err(OpError::shape(message));
    }
    divides(&groups, "a result", &weight.shape[0])?;
    check_bias(cx, &weight.shape[0])?;
    let mut shape = vec![x.shape[0].clone(), weight.shape[0].clone()];
    for axis in 0..spatial {
        shape.push(window.positions(axis, &x.shape[2 + axis], &weight.shape[2 + axis])?);
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

fn infer_conv_transpose(op: &ConvTranspose, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let Parts { x, weight, spatial, groups } = parts(cx, op.groups)?;
    let window = Window::new(spatial, &op.strides, &op.dilations, (op.pad_type, &op.pad))?;
    if !may_equal(&x.shape[1], &weight.shape[0]) {
        let message = format!("`x` ({x}) has not as many channels as `weight` ({weight}) takes");
        return Err(OpError::shape(message));
    }
    divides(&groups, "an operand", &weight.shape[0])?;
    let channels = weight.shape[1].mul(&groups);
    check_bias(cx, &channels)?;
    if let Some(shape) = &op.output_shape {
        return given_shape(shape, x, &channels);
    }
    let mut shape = vec![x.shape[0].clone(), channels];
    for axis in 0..spatial {
        let (input, stride) = (&x.shape[2 + axis], Dim::Const(window.strides[axis]));
        let full =
            input.sub(&Dim::Const(1)).mul(&stride).add(&window.span(axis, &weight.shape[2 + axis]));
        let extent = match op.pad_type {
            PadType::Valid => full,
            PadType::Custom => full
                .sub(&Dim::Const(window.pad[2 * axis]))
                .sub(&Dim::Const(window.pad[2 * axis + 1])),
            PadType::Same | PadType::SameLower => input.mul(&stride),
        };
        if extent.as_const().is_some_and(|n| n < 1) {
            let message = format!("`pad` {:?} leaves nothing of spatial axis {axis}", op.pad);
            return Err(OpError::shape(message));
        }
        shape.push(extent);
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

fn given_shape(given: &[i64], x: &TensorType, channels: &Dim) -> OpResult<Inferred> {
    let dtype: DType = x.dtype;
    let dims: Vec<Dim> = given.iter().map(|&d| Dim::Const(d)).collect();
    let fits = dims.len() == x.rank()
        && given.iter().all(|&d| d >= 1)
        && may_equal(&dims[0], &x.shape[0])
        && may_equal(&dims[1], channels);
    if !fits {
        let batch = &x.shape[0];
        let message = format!(
            "`output_shape` is {given:?}, {} extents that begin with {batch} and {channels} are needed",
            x.rank()
        );
        return Err(OpError::shape(message));
    }
    let mut shape = dims;
    shape[1] = meet(&shape[1], channels);
    Ok(Inferred::tensor(dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::{DType, Tensor};

    use super::*;
    use crate::builder::Builder;
    use crate::program::{FuncId, Function, Param, Program, Value};
    use crate::types::Type;

    fn with_input(shape: Vec<Dim>) -> (Program, FuncId, Value) {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let x = function.add_param(Param::input("x"), Type::tensor(DType::F32, shape));
        let func = program.functions.push(function);
        (program, func, x)
    }

    fn zeros(shape: &[u64]) -> Tensor {
        Tensor::splat(DType::F32, shape, &[0; 4]).unwrap()
    }

    #[test]
    fn symbolic_extents_stay_exact() {
        let h = Dim::symbol("h");
        let (mut program, func, x) = with_input(vec![1.into(), 4.into(), h.clone(), 7.into()]);
        let mut b = Builder::new(&mut program, func);
        let w = b.constant(zeros(&[8, 2, 3, 3])).unwrap();
        let op = Conv {
            strides: vec![2, 1],
            pad_type: PadType::Custom,
            pad: vec![1, 1, 0, 0],
            dilations: vec![1, 2],
            groups: 2,
        };
        let y = op.clone().build(&mut b, x, w, None).unwrap();
        let half = h.sub(&1.into()).floor_div(&2.into()).add(&1.into());
        assert_eq!(b.tensor(y).unwrap().shape, [1.into(), 8.into(), half, 3.into()]);
        let same = Conv { pad_type: PadType::Same, ..op };
        let y = same.build(&mut b, x, w, None).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape[2], h.ceil_div(&2.into()));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (mut program, func, x) = with_input(vec![1.into(), 4.into(), 5.into()]);
        let mut b = Builder::new(&mut program, func);
        let w = b.constant(zeros(&[8, 3, 3])).unwrap();
        let plain = Conv {
            strides: vec![],
            pad_type: PadType::Valid,
            pad: vec![],
            dilations: vec![],
            groups: 1,
        };
        let error = plain.clone().build(&mut b, x, w, None).unwrap_err();
        assert!(error.message.contains("3 channels"), "{error}");
        let w = b.constant(zeros(&[8, 4, 6])).unwrap();
        let error = plain.clone().build(&mut b, x, w, None).unwrap_err();
        assert!(error.message.contains("does not fit"), "{error}");
        let w = b.constant(zeros(&[8, 4, 3])).unwrap();
        let error = Conv { strides: vec![0], ..plain }.build(&mut b, x, w, None).unwrap_err();
        assert!(error.message.contains("strides"), "{error}");
    }

    #[test]
    fn given_output_shape_wins() {
        let n = Dim::symbol("n");
        let (mut program, func, x) = with_input(vec![n.clone(), 2.into(), 4.into()]);
        let mut b = Builder::new(&mut program, func);
        let w = b.constant(zeros(&[2, 3, 3])).unwrap();
        let op = ConvTranspose {
            pad: vec![],
            output_shape: None,
            pad_type: PadType::Valid,
            strides: vec![2],
            dilations: vec![],
            groups: 1,
        };
        let y = op.clone().build(&mut b, x, w, None).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [n, 3.into(), 9.into()]);
        let given = ConvTranspose { output_shape: Some(vec![5, 3, 10]), ..op };
        let y = given.clone().build(&mut b, x, w, None).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [5.into(), 3.into(), 10.into()]);
        let wrong = ConvTranspose { output_shape: Some(vec![5, 4, 10]), ..given };
        assert!(wrong.build(&mut b, x, w, None).is_err());
    }
}
