//! States.

use mlc_ir::ops::{ReadState, WriteState};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

impl Kernel for ReadState {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        Ok(vec![cx.read_state("input")?.into()])
    }
}

impl Kernel for WriteState {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let data = cx.array("data")?.clone();
        let held = cx.read_state("input")?;
        if held.shape() != data.shape() || held.dtype() != data.dtype() {
            let (held, data) = (held.shape(), data.shape());
            return Err(EvalError::undefined(format!("{data:?} written to a state of {held:?}")));
        }
        cx.write_state("input", data)?;
        Ok(Outputs::new())
    }
}
