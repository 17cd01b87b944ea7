//! Padding: for each axis, the element that each place of the result comes from.

use mlc_ir::attr::PadMode;
use mlc_ir::ops::Pad;
use mlc_tensor::{DType, DTypeKind};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::window::{OUTSIDE, checked_count, grid};

impl Kernel for Pad {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let amounts = cx.array("pad")?.to_i64s()?;
        let first = x
            .rank()
            .checked_sub(amounts.len() / 2)
            .filter(|_| amounts.len().is_multiple_of(2))
            .ok_or_else(|| {
                EvalError::undefined(format!("`pad` {amounts:?} for rank {}", x.rank()))
            })?;
        let mut sources: Vec<Vec<usize>> =
            x.shape()[..first].iter().map(|&d| (0..d).collect()).collect();
        let mut shape = x.shape()[..first].to_vec();
        for (&extent, pair) in x.shape()[first..].iter().zip(amounts.chunks(2)) {
            let (before, after) = (amount(pair[0])?, amount(pair[1])?);
            shape.push(extent + before + after);
            checked_count(&shape[shape.len() - 1..])?;
            sources.push(along(self.mode, extent, (before, after))?);
        }
        checked_count(&shape)?;
        let index = grid(x.shape(), &sources);
        let value = self.constant_val.0;
        match x.dtype().kind() {
            DTypeKind::Float if x.dtype() == DType::F64 => {
                cx.one_f64s(&shape, pick(&x.to_f64s()?, value, &index))
            }
            DTypeKind::Float => cx.one_f32s(&shape, pick(&x.to_f32s()?, value as f32, &index)),
            _ => cx.one_i64s(&shape, pick(&x.to_i64s()?, value as i64, &index)),
        }
    }
}

fn amount(amount: i64) -> Result<usize, EvalError> {
    u32::try_from(amount)
        .map(|n| n as usize)
        .map_err(|_| EvalError::undefined(format!("`pad` of {amount}")))
}

fn pick<T: Copy>(values: &[T], fill: T, index: &[usize]) -> Vec<T> {
    index.iter().map(|&i| values.get(i).copied().unwrap_or(fill)).collect()
}

/// For each place along an axis of the result, the place in an axis of `extent`.
fn along(
    mode: PadMode,
    extent: usize,
    (before, after): (usize, usize),
) -> Result<Vec<usize>, EvalError> {
    let fits = match mode {
        PadMode::Constant => true,
        PadMode::Reflect => before.max(after) < extent.max(1),
        PadMode::Replicate => extent > 0 || before + after == 0,
    };
    if !fits {
        return Err(EvalError::undefined(format!(
            "{before} and {after} elements around an extent of {extent} with mode {}",
            mode.as_str()
        )));
    }
    let source = |p: usize| match (p.checked_sub(before), mode) {
        (Some(i), _) if i < extent => i,
        (_, PadMode::Constant) => OUTSIDE,
        (None, PadMode::Reflect) => before - p,
        (None, PadMode::Replicate) => 0,
        (Some(i), PadMode::Reflect) => 2 * (extent - 1) - i,
        (Some(_), PadMode::Replicate) => extent - 1,
    };
    Ok((0..extent + before + after).map(source).collect())
}
