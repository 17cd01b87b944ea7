//! Running totals.

use mlc_ir::ops::Cumsum;

use super::layout::{Blocks, axis_of};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// Replaces the elements of each line along the axis by their running totals.
fn totals<T: Copy>(values: &mut [T], blocks: Blocks, op: &Cumsum, (zero, add): (T, fn(T, T) -> T)) {
    let Blocks { outer, extent, inner } = blocks;
    for o in 0..outer {
        for n in 0..inner {
            let mut total = zero;
            for step in 0..extent {
                let i = if op.reverse { extent - 1 - step } else { step };
                let value = &mut values[(o * extent + i) * inner + n];
                let before = total;
                total = add(total, *value);
                *value = if op.exclusive { before } else { total };
            }
        }
    }
}

impl Kernel for Cumsum {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let blocks = Blocks::of(x.shape(), axis_of(self.axis, x.rank())?);
        if x.dtype().is_float() {
            let mut values = x.to_f64s()?;
            totals(&mut values, blocks, self, (0.0, |a, b| a + b));
            cx.one_f64s(x.shape(), values)
        } else {
            let mut values = x.to_i64s()?;
            totals(&mut values, blocks, self, (0, i64::wrapping_add));
            cx.one_i64s(x.shape(), values)
        }
    }
}
