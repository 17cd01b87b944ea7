//! Tensors made from shapes and ranges.

use mlc_ir::ops::create::float_range_length;
use mlc_ir::ops::{Fill, FillLike, NonZero, OneHot, Range1d};

use super::layout::{Blocks, axis_of, extent, zeros};
use crate::array::{Array, element_count, for_each_index};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// `value` everywhere; zeros of the declared type when it is absent.
fn filled(cx: &KernelCx<'_, '_>, shape: &[usize]) -> Result<Outputs, EvalError> {
    let count = element_count(shape)?;
    Ok(vec![match cx.opt_array("value")? {
        Some(value) => value.pick(shape, &vec![0; count])?.into(),
        None => zeros(cx.result_dtype(0)?, shape)?.into(),
    }])
}

impl Kernel for Fill {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let shape = cx.array("shape")?.to_i64s()?;
        let shape = shape.into_iter().map(extent).collect::<Result<Vec<_>, _>>()?;
        filled(cx, &shape)
    }
}

impl Kernel for FillLike {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let shape = cx.array("ref_tensor")?.shape().to_vec();
        filled(cx, &shape)
    }
}

impl Kernel for Range1d {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (end, start, step) = (cx.array("end")?, cx.array("start")?, cx.array("step")?);
        if end.dtype().is_float() {
            let number = |array: &Array| {
                let values = array.to_f64s()?;
                values.first().copied().ok_or_else(|| EvalError::internal("a number is needed"))
            };
            let (end, start, step) = (number(end)?, number(start)?, number(step)?);
            let count = float_range_length(end, start, step)
                .and_then(|count| usize::try_from(count).ok())
                .ok_or_else(|| {
                    EvalError::undefined(format!("a range from {start} to {end} by {step}"))
                })?;
            element_count(&[count])?;
            return cx.one_f64s(&[count], (0..count).map(|k| start + k as f64 * step).collect());
        }
        let (end, start, step) = (end.to_i64()?, start.to_i64()?, step.to_i64()?);
        let span = i128::from(end) - i128::from(start);
        let count = match step {
            0 => return Err(EvalError::undefined("a range with a step of 0")),
            1.. => (span + i128::from(step) - 1) / i128::from(step),
            _ => (-span - i128::from(step) - 1) / -i128::from(step),
        };
        let count = usize::try_from(count.max(0))
            .map_err(|_| EvalError::unsupported(format!("a range of {count} elements")))?;
        element_count(&[count])?;
        let values = (0..count as i64).map(|k| start.wrapping_add(k.wrapping_mul(step)));
        cx.one_i64s(&[count], values.collect())
    }
}

impl Kernel for OneHot {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let indices = cx.array("indices")?;
        let size = extent(cx.array("one_hot_vector_size")?.to_i64()?)?;
        let axis = axis_of(self.axis, indices.rank() + 1)?;
        let mut shape = indices.shape().to_vec();
        shape.insert(axis, size);
        let count = element_count(&shape)?;
        let dtype = cx.result_dtype(0)?;
        let off = match cx.opt_array("off_value")? {
            Some(value) => value.clone(),
            None => zeros(dtype, &[])?,
        };
        let on = match cx.opt_array("on_value")? {
            Some(value) => value.clone(),
            None => Array::from_i64s(dtype, &[], vec![1])?,
        };
        let values = Array::assemble(&[2], &[&off, &on], [(0, 0, 1), (1, 0, 1)])?;
        let Blocks { inner, .. } = Blocks::of(&shape, axis);
        let mut hot = vec![0; count];
        for (k, i) in indices.to_i64s()?.into_iter().enumerate() {
            if let Some(i) = usize::try_from(i).ok().filter(|&i| i < size) {
                hot[(k / inner * size + i) * inner + k % inner] = 1;
            }
        }
        Ok(vec![values.pick(&shape, &hot)?.into()])
    }
}

impl Kernel for NonZero {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        // A double of an i64 is 0 for 0 alone.
        let values = x.to_f64s()?;
        let mut found = Vec::new();
        let mut at = values.iter();
        for_each_index(x.shape(), |index| {
            if at.next().is_some_and(|&value| value != 0.0) {
                found.extend(index.iter().map(|&i| i as i64));
            }
        });
        let rows = values.iter().filter(|&&value| value != 0.0).count();
        cx.one_i64s(&[rows, x.rank()], found)
    }
}
