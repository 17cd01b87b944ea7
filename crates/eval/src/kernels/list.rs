//! Lists of tensors.

use mlc_ir::Type;
use mlc_ir::ops::{ListGather, ListLength, ListRead, ListScatter, ListWrite, MakeList};

use super::layout::{extent, zeros};
use crate::array::Array;
use crate::interp::EvalValue;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// Most elements of a list.
const MAX_LENGTH: usize = 1 << 20;

/// An element that was not written has no value.
type Elements = Vec<Option<Array>>;

fn elements<'a>(cx: &'a KernelCx<'_, '_>) -> Result<&'a Elements, EvalError> {
    match cx.value("ls")? {
        EvalValue::List(elements) => Ok(elements),
        _ => Err(EvalError::internal("a list is needed")),
    }
}

fn read(elements: &Elements, index: i64) -> Result<&Array, EvalError> {
    let element = usize::try_from(index).ok().and_then(|at| elements.get(at));
    element
        .ok_or_else(|| {
            EvalError::undefined(format!("element {index} of a list of {}", elements.len()))
        })?
        .as_ref()
        .ok_or_else(|| EvalError::undefined(format!("element {index} was not written")))
}

/// Stores an element; `fixed` lists do not grow.
fn write(elements: &mut Elements, fixed: bool, index: i64, value: Array) -> Result<(), EvalError> {
    let at = usize::try_from(index)
        .ok()
        .filter(|&at| at < if fixed { elements.len() } else { MAX_LENGTH })
        .ok_or_else(|| {
            EvalError::undefined(format!("element {index} of a list of {}", elements.len()))
        })?;
    if at >= elements.len() {
        elements.resize(at + 1, None);
    }
    let other = elements.iter().flatten().next();
    if let Some(other) = other.filter(|other| other.shape() != value.shape()) {
        let message = format!("elements of {:?} and {:?}", other.shape(), value.shape());
        return Err(EvalError::undefined(message));
    }
    elements[at] = Some(value);
    Ok(())
}

fn is_fixed(cx: &KernelCx<'_, '_>) -> Result<bool, EvalError> {
    match cx.result_type(0)? {
        Type::List { length, .. } => Ok(length.as_const().is_some()),
        _ => Err(EvalError::internal("a list is declared")),
    }
}

impl Kernel for MakeList {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let length = match cx.opt_array("init_length")? {
            Some(length) => extent(length.to_i64()?)?,
            None => 1,
        };
        if length > MAX_LENGTH {
            return Err(EvalError::unsupported(format!("a list of {length}")));
        }
        Ok(vec![EvalValue::List(vec![None; length])])
    }
}

impl Kernel for ListLength {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        cx.one_i64s(&[], vec![elements(cx)?.len() as i64])
    }
}

impl Kernel for ListRead {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let element = read(elements(cx)?, cx.array("index")?.to_i64()?)?;
        Ok(vec![element.clone().into()])
    }
}

impl Kernel for ListWrite {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let mut list = elements(cx)?.clone();
        let value = cx.array("value")?.clone();
        write(&mut list, is_fixed(cx)?, cx.array("index")?.to_i64()?, value)?;
        Ok(vec![EvalValue::List(list)])
    }
}

/// No elements, of the declared shape.
fn nothing(cx: &KernelCx<'_, '_>) -> Result<Array, EvalError> {
    let ty = cx.result_type(0)?.as_tensor();
    let ty = ty.ok_or_else(|| EvalError::internal("a tensor is declared"))?;
    let mut shape = vec![0];
    for dim in &ty.shape[1..] {
        shape.push(match dim.as_const() {
            Some(n) => extent(n)?,
            None => return Err(EvalError::unsupported("no elements of an unknown shape")),
        });
    }
    zeros(ty.dtype, &shape)
}

impl Kernel for ListGather {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let list = elements(cx)?;
        let indices = cx.array("indices")?.to_i64s()?;
        let parts = indices.iter().map(|&i| read(list, i)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = parts.first() else {
            return Ok(vec![nothing(cx)?.into()]);
        };
        let shape = [&[parts.len()], first.shape()].concat();
        let count = first.count();
        let runs = (0..parts.len()).map(|part| (part, 0, count));
        Ok(vec![Array::assemble(&shape, &parts, runs)?.into()])
    }
}

impl Kernel for ListScatter {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let mut list = elements(cx)?.clone();
        let (value, indices) = (cx.array("value")?, cx.array("indices")?.to_i64s()?);
        let Some((&rows, shape)) = value.shape().split_first() else {
            return Err(EvalError::internal("a stack of elements is needed"));
        };
        if rows != indices.len() {
            return Err(EvalError::undefined(format!("{rows} elements at {indices:?}")));
        }
        let fixed = is_fixed(cx)?;
        let count: usize = shape.iter().product();
        for (row, index) in indices.into_iter().enumerate() {
            let element = Array::assemble(shape, &[value], [(0, row * count, count)])?;
            write(&mut list, fixed, index, element)?;
        }
        Ok(vec![EvalValue::List(list)])
    }
}
