//! Control flow.

use mlc_ir::ops::{Cond, WhileLoop};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// Most iterations of a loop.
const MAX_ITERATIONS: u64 = 1 << 24;

impl Kernel for Cond {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let taken = cx.array("pred")?.to_i64()? != 0;
        cx.run_region(usize::from(!taken), Vec::new())
    }
}

impl Kernel for WhileLoop {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let mut values = cx.values("loop_vars");
        for _ in 0..MAX_ITERATIONS {
            let test = cx.run_region(0, values.clone())?;
            let Some(test) = test.first() else {
                return Err(EvalError::internal("the condition yields nothing"));
            };
            if test.array()?.to_i64()? == 0 {
                return Ok(values);
            }
            values = cx.run_region(1, values)?;
        }
        Err(EvalError::unsupported(format!("a loop of more than {MAX_ITERATIONS} iterations")))
    }
}
