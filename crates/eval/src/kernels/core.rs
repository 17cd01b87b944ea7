//! Constants and identity.

use mlc_ir::ops::{Const, Identity};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

impl Kernel for Const {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let tensor = cx
            .program()
            .consts
            .try_get(self.value)
            .ok_or_else(|| EvalError::internal("constant is not in the program"))?;
        Ok(vec![Array::from_tensor(tensor)?.into()])
    }
}

impl Kernel for Identity {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        Ok(vec![cx.value("x")?.clone()])
    }
}
