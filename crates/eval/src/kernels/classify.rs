//! The end of a classifier.

use mlc_ir::ops::Classify;
use mlc_tensor::DType;

use crate::array::Array;
use crate::interp::EvalValue;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

impl Kernel for Classify {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let values = cx.array("probabilities")?.to_f64s()?;
        if values.len() != self.classes.len() + self.class_ids.len() {
            return Err(EvalError::undefined(format!("{} probabilities", values.len())));
        }
        let mut best = 0;
        for (i, &value) in values.iter().enumerate() {
            // A NaN in first place gives way to any number.
            if value > values[best] || (values[best].is_nan() && !value.is_nan()) {
                best = i;
            }
        }
        let label = match (self.classes.get(best), self.class_ids.get(best)) {
            (Some(name), _) => EvalValue::Strs(vec![name.clone()]),
            (None, Some(&id)) => Array::from_i64s(DType::I64, &[], vec![id])?.into(),
            (None, None) => return Err(EvalError::undefined("no classes")),
        };
        let names = self.classes.iter().cloned().chain(self.class_ids.iter().map(i64::to_string));
        Ok(vec![label, EvalValue::Dict(names.zip(values).collect())])
    }
}
