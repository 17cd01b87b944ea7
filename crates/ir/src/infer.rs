//! What type inference sees and says.

use mlc_diag::{Code, codes};
use mlc_tensor::{DType, Tensor};
use smallvec::SmallVec;

use crate::dim::{Dim, Symbols};
use crate::program::{Function, Operands, Program, Region, Value};
use crate::spec::OpSpec;
use crate::types::{TensorType, Type};

/// What is wrong with one op.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpError {
    /// Which kind of problem.
    pub code: Code,
    /// The values and what is wrong with them.
    pub message: String,
}

impl OpError {
    /// Extents or ranks that do not fit.
    pub fn shape(message: impl Into<String>) -> Self {
        Self { code: codes::SHAPE_MISMATCH, message: message.into() }
    }

    /// Element types or kinds of values that do not fit.
    pub fn ty(message: impl Into<String>) -> Self {
        Self { code: codes::TYPE_MISMATCH, message: message.into() }
    }

    /// An attribute that does not fit.
    pub fn attr(message: impl Into<String>) -> Self {
        Self { code: codes::BAD_ATTRIBUTE, message: message.into() }
    }
}

/// Result of anything that looks at one op.
pub type OpResult<T> = Result<T, OpError>;

/// The results of one op: types, and the contents of small integer vectors where they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inferred {
    /// One entry a result.
    pub results: SmallVec<[(Type, Option<Vec<Dim>>); 1]>,
}

impl Inferred {
    /// One tensor.
    #[must_use]
    pub fn tensor(dtype: DType, shape: impl Into<Vec<Dim>>) -> Self {
        Self::ty(Type::tensor(dtype, shape))
    }

    /// One result.
    #[must_use]
    pub fn ty(ty: impl Into<Type>) -> Self {
        Self { results: SmallVec::from_iter([(ty.into(), None)]) }
    }

    /// Any number of results.
    #[must_use]
    pub fn many(types: impl IntoIterator<Item = Type>) -> Self {
        Self { results: types.into_iter().map(|ty| (ty, None)).collect() }
    }

    /// The same with known contents of the first result; dropped when it is not a rank-0 or rank-1
    /// integer or boolean tensor of that many elements, has more than [`Inferred::MAX_CONTENT`], or
    /// has a number that the element type cannot hold.
    #[must_use]
    pub fn with_content(mut self, content: Option<Vec<Dim>>) -> Self {
        if let (Some((Type::Tensor(ty), slot)), Some(content)) = (self.results.first_mut(), content)
        {
            let (low, high) = ty.dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
            let holds = |dim: &Dim| dim.as_const().is_none_or(|n| (low..=high).contains(&n));
            let fits = ty.rank() <= 1 && !ty.dtype.is_float() && content.len() <= Self::MAX_CONTENT;
            if fits && ty.count().is(content.len() as i64) && content.iter().all(holds) {
                *slot = Some(content);
            }
        }
        self
    }

    /// Most elements whose contents are kept.
    pub const MAX_CONTENT: usize = 64;
}

/// What inference of one op can see: its operands, and what the program knows of them.
#[derive(Clone, Copy)]
pub struct InferCx<'a> {
    pub(crate) program: &'a Program,
    pub(crate) function: &'a Function,
    pub(crate) spec: &'a OpSpec,
    pub(crate) operands: &'a Operands,
    pub(crate) regions: &'a [Region],
}

impl<'a> InferCx<'a> {
    fn values(&self, name: &str) -> &'a [Value] {
        self.spec.operand(name).map_or(&[], |slot| self.operands.slot(slot))
    }

    /// The value of a slot that takes one, or of an optional one that is given.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.values(name).first().copied()
    }

    /// The type of a slot that takes one value.
    ///
    /// # Errors
    /// It has none.
    pub fn ty(&self, name: &str) -> OpResult<&'a Type> {
        let value =
            self.value(name).ok_or_else(|| OpError::ty(format!("operand `{name}` is missing")))?;
        Ok(&self.function.values[value].ty)
    }

    /// The tensor type of a slot that takes one value.
    ///
    /// # Errors
    /// It has none or is no tensor.
    pub fn tensor(&self, name: &str) -> OpResult<&'a TensorType> {
        let ty = self.ty(name)?;
        ty.as_tensor().ok_or_else(|| OpError::ty(format!("operand `{name}` is {ty}, not a tensor")))
    }

    /// The tensor type of an optional slot.
    ///
    /// # Errors
    /// It is given and no tensor.
    pub fn opt_tensor(&self, name: &str) -> OpResult<Option<&'a TensorType>> {
        self.value(name).map(|_| self.tensor(name)).transpose()
    }

    /// The types of a slot that takes many.
    #[must_use]
    pub fn types(&self, name: &str) -> Vec<&'a Type> {
        self.values(name).iter().map(|&v| &self.function.values[v].ty).collect()
    }

    /// The tensor types of a slot that takes many.
    ///
    /// # Errors
    /// One is no tensor.
    pub fn tensors(&self, name: &str) -> OpResult<Vec<&'a TensorType>> {
        self.types(name)
            .into_iter()
            .map(|ty| {
                ty.as_tensor().ok_or_else(|| {
                    OpError::ty(format!("operand of `{name}` is {ty}, not a tensor"))
                })
            })
            .collect()
    }

    /// The contents of each value of a slot, where they are known.
    #[must_use]
    pub fn contents(&self, name: &str) -> Vec<Option<&'a [Dim]>> {
        self.values(name).iter().map(|&v| self.function.values[v].content.as_deref()).collect()
    }

    /// The known contents of an integer operand of rank 0 or 1.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<&'a [Dim]> {
        self.function.values[self.value(name)?].content.as_deref()
    }

    /// The known contents as numbers.
    #[must_use]
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.content(name)?.iter().map(Dim::as_const).collect()
    }

    /// The tensor of an operand that is a constant.
    #[must_use]
    pub fn constant(&self, name: &str) -> Option<&'a Tensor> {
        let value = self.value(name)?;
        self.program.constant_of(self.function, value)
    }

    /// The constants of the program.
    #[must_use]
    pub fn consts(&self) -> &'a crate::consts::ConstPool {
        &self.program.consts
    }

    /// The symbols of the program.
    #[must_use]
    pub fn symbols(&self) -> &'a Symbols {
        &self.program.symbols
    }

    /// Argument types and result types of nested region `index`.
    #[must_use]
    pub fn region(&self, index: usize) -> Option<(Vec<&'a Type>, Vec<&'a Type>)> {
        let region = &self.function.regions[*self.regions.get(index)?];
        let types =
            |values: &[Value]| values.iter().map(|&v| &self.function.values[v].ty).collect();
        Some((types(&region.args), types(&region.results)))
    }

    /// The known contents of result `result` of nested region `index`.
    #[must_use]
    pub fn region_content(&self, index: usize, result: usize) -> Option<&'a [Dim]> {
        let value = *self.function.regions[*self.regions.get(index)?].results.get(result)?;
        self.function.values[value].content.as_deref()
    }

    /// Checks that the given operands have one element type and gives it; absent optional ones are
    /// passed over.
    ///
    /// # Errors
    /// Two differ, or the first is missing.
    pub fn same_dtype(&self, names: &[&str]) -> OpResult<DType> {
        let first = self.tensor(names[0])?.dtype;
        for name in &names[1..] {
            if let Some(ty) = self.opt_tensor(name)?
                && ty.dtype != first
            {
                let message = format!("`{}` is {first}, `{name}` is {}", names[0], ty.dtype);
                return Err(OpError::ty(message));
            }
        }
        Ok(first)
    }

    /// A tensor operand that must be of a floating-point type.
    ///
    /// # Errors
    /// It is not.
    pub fn float(&self, name: &str) -> OpResult<&'a TensorType> {
        let ty = self.tensor(name)?;
        if !ty.dtype.is_float() {
            return Err(OpError::ty(format!("`{name}` is {ty}, a float is needed")));
        }
        Ok(ty)
    }

    /// A tensor operand that must be of an integer type.
    ///
    /// # Errors
    /// It is not.
    pub fn int(&self, name: &str) -> OpResult<&'a TensorType> {
        let ty = self.tensor(name)?;
        if !ty.dtype.is_int() {
            return Err(OpError::ty(format!("`{name}` is {ty}, an integer is needed")));
        }
        Ok(ty)
    }

    /// An integer vector operand; of `length` elements where that is given.
    ///
    /// # Errors
    /// It is not.
    pub fn int_vector(&self, name: &str, length: Option<usize>) -> OpResult<&'a TensorType> {
        let ty = self.int(name)?;
        let fits = match (&ty.shape[..], length) {
            ([_], None) => true,
            ([extent], Some(n)) => may_equal(extent, &Dim::Const(n as i64)),
            _ => false,
        };
        if !fits {
            let of = length.map_or(String::new(), |n| format!(" of {n}"));
            return Err(OpError::shape(format!("`{name}` is {ty}, a vector{of} is needed")));
        }
        Ok(ty)
    }

    /// A scalar integer operand.
    ///
    /// # Errors
    /// It is not.
    pub fn int_scalar(&self, name: &str) -> OpResult<&'a TensorType> {
        let ty = self.int(name)?;
        if ty.rank() != 0 {
            return Err(OpError::shape(format!("`{name}` is {ty}, a scalar is needed")));
        }
        Ok(ty)
    }

    /// `max(0, dim)`, simplified by the ranges of symbols.
    #[must_use]
    pub fn at_least_zero(&self, dim: &Dim) -> Dim {
        match self.symbols().bounds(dim) {
            _ if *dim == Dim::Unknown => Dim::Unknown,
            (Some(low), _) if low >= 0 => dim.clone(),
            (_, Some(high)) if high <= 0 => Dim::Const(0),
            _ => dim.maximum(&Dim::Const(0)),
        }
    }

    /// `min(a, b)`, simplified by the ranges of symbols.
    #[must_use]
    pub fn lesser(&self, a: &Dim, b: &Dim) -> Dim {
        if *a == Dim::Unknown || *b == Dim::Unknown {
            return Dim::Unknown;
        }
        match self.symbols().bounds(&a.sub(b)) {
            (Some(low), _) if low >= 0 => b.clone(),
            (_, Some(high)) if high <= 0 => a.clone(),
            _ => a.minimum(b),
        }
    }
}

/// The axis `axis` counted from the front; negative ones count from the end.
///
/// # Errors
/// It is out of range.
pub fn normalize_axis(axis: i64, rank: usize) -> OpResult<usize> {
    let rank_i = rank as i64;
    let at = if axis < 0 { axis + rank_i } else { axis };
    if (0..rank_i).contains(&at) {
        Ok(at as usize)
    } else {
        Err(OpError::attr(format!("axis {axis} of a tensor of rank {rank}")))
    }
}

/// Axes as [`normalize_axis`] gives them, sorted.
///
/// # Errors
/// One is out of range or named twice.
pub fn normalize_axes(axes: &[i64], rank: usize) -> OpResult<Vec<usize>> {
    let mut out = axes.iter().map(|&a| normalize_axis(a, rank)).collect::<OpResult<Vec<_>>>()?;
    out.sort_unstable();
    if out.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(OpError::attr(format!("axes {axes:?} name an axis twice")));
    }
    Ok(out)
}

/// Whether two extents can be equal.
#[must_use]
pub fn may_equal(a: &Dim, b: &Dim) -> bool {
    match (a.as_const(), b.as_const()) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// The extent two equal extents have: the known one.
#[must_use]
pub fn meet(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Const(_), _) | (_, Dim::Unknown) => a.clone(),
        (_, Dim::Const(_)) | (Dim::Unknown, _) => b.clone(),
        _ => a.clone(),
    }
}

/// The shape that shapes known to be equal have: [`meet`] axis by axis.
///
/// # Errors
/// Ranks or numbers differ.
pub fn meet_shapes(a: &[Dim], b: &[Dim]) -> OpResult<Vec<Dim>> {
    if a.len() != b.len() || !a.iter().zip(b).all(|(a, b)| may_equal(a, b)) {
        return Err(OpError::shape(format!("{} is not {}", shape_text(a), shape_text(b))));
    }
    Ok(a.iter().zip(b).map(|(a, b)| meet(a, b)).collect())
}

/// The shape that `a` and `b` broadcast to by NumPy's rule: right-aligned, extent 1 stretches.
///
/// A symbol against a number greater than 1 gives the number; against 1, the symbol; two different
/// symbols give an unknown extent.
///
/// # Errors
/// Two numbers differ and neither is 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> OpResult<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let one = Dim::Const(1);
    let at = |shape: &[Dim], i: usize| {
        (i + shape.len()).checked_sub(rank).map_or(one.clone(), |k| shape[k].clone())
    };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (x, y) if x.is(1) => Ok(y),
            (x, y) if y.is(1) => Ok(x),
            (Dim::Const(_), Dim::Const(_)) => {
                let message = format!("{} and {} do not broadcast", shape_text(a), shape_text(b));
                Err(OpError::shape(message))
            }
            (x @ Dim::Const(_), _) => Ok(x),
            (_, y @ Dim::Const(_)) => Ok(y),
            _ => Ok(Dim::Unknown),
        })
        .collect()
}

/// A shape as messages show it: `2x3`, or `a scalar`.
#[must_use]
pub fn shape_text(shape: &[Dim]) -> String {
    if shape.is_empty() {
        return "a scalar".to_owned();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_with_symbols() {
        let s = Dim::symbol("s");
        let one_three = [Dim::Const(1), Dim::Const(3)];
        assert_eq!(broadcast(&[s.clone(), 1.into()], &one_three).unwrap(), [s.clone(), 3.into()]);
        assert_eq!(broadcast(&[4.into()], std::slice::from_ref(&s)).unwrap(), [Dim::Const(4)]);
        assert!(broadcast(&[2.into()], &[3.into()]).is_err());
    }
}
