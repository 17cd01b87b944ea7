//! Products of matrices.

use std::collections::BTreeMap;

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, broadcast, may_equal, shape_text};
use crate::ops::Op;
use crate::spec::Trait;

op! {
    /// `x · weightᵀ + bias`; `x` is `[*D, Din]`, `weight` `[Dout, Din]`, `bias` `[Dout]`, the result
    /// `[*D, Dout]` of the element type of `x`. No bias is a bias of zeros.
    "linear" = Linear(x: One, weight: One, bias: Opt) {} + Pure => infer_linear;

    /// The matrix product over the last two axes, axes before them broadcast by NumPy's rule.
    /// `transpose_x` and `transpose_y` swap the last two axes first. A vector `x` is a matrix of one
    /// row, a vector `y` a matrix of one column; that axis is not in the result. When one operand is
    /// a constant its element type may differ, and the result has the other's.
    "matmul" = Matmul(x: One, y: One) {
        transpose_x: bool = false,
        transpose_y: bool = false,
    } + Pure => infer_matmul;

    /// `result[o…] = Σ Π values[i][…]`, by Einstein's convention: `equation` names each axis of each
    /// operand with a letter and after `->` those of the result; letters that are not there are
    /// summed over. An extent 1 stretches to what the letter has elsewhere.
    "einsum" = Einsum(values: Many) { equation: String } + Pure => infer_einsum;
}

fn same_kind(x: DType, name: &str, other: DType) -> OpResult<()> {
    let numbers = x.is_float() || x.is_int();
    if numbers && x.kind() == other.kind() {
        Ok(())
    } else {
        let message = format!("`x` is of {x}, `{name}` of {other}: two floats or two integers");
        Err(OpError::ty(message))
    }
}

fn infer_linear(_: &Linear, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, weight) = (cx.tensor("x")?, cx.tensor("weight")?);
    same_kind(x.dtype, "weight", weight.dtype)?;
    let Some((inner, outer)) = x.shape.split_last() else {
        return Err(OpError::shape("`x` is a scalar, rank 1 or more is needed"));
    };
    let [rows, columns] = &weight.shape[..] else {
        return Err(OpError::shape(format!("`weight` is {weight}, rank 2 is needed")));
    };
    if !may_equal(columns, inner) {
        return Err(OpError::shape(format!("last axes of `x`, {x}, and `weight`, {weight}")));
    }
    if let Some(bias) = cx.opt_tensor("bias")? {
        same_kind(x.dtype, "bias", bias.dtype)?;
        match &bias.shape[..] {
            [count] if may_equal(count, rows) => {}
            _ => {
                let message = format!("`bias` is {bias}, a vector of {rows} elements is needed");
                return Err(OpError::shape(message));
            }
        }
    }
    let mut shape = outer.to_vec();
    shape.push(rows.clone());
    Ok(Inferred::tensor(x.dtype, shape))
}

/// Whether an operand is known when the program is compiled or loaded.
fn is_weight(cx: &InferCx<'_>, name: &str) -> bool {
    let Some(value) = cx.value(name) else { return false };
    cx.function.def(value).is_some_and(|(_, node)| {
        matches!(node.op, Op::Const(_)) || node.op.spec().traits.has(Trait::Constexpr)
    })
}

fn matmul_dtype(cx: &InferCx<'_>) -> OpResult<DType> {
    let (x, y) = (cx.tensor("x")?.dtype, cx.tensor("y")?.dtype);
    same_kind(x, "y", y)?;
    match (is_weight(cx, "x"), is_weight(cx, "y")) {
        _ if x == y => Ok(x),
        (false, true) => Ok(x),
        (true, false) => Ok(y),
        _ => Err(OpError::ty(format!("`x` is of {x}, `y` of {y}; only a constant may differ"))),
    }
}

/// Batch axes, rows and columns of a matrix operand.
type Matrix<'a> = (&'a [Dim], Dim, Dim);

fn matrix<'a>(shape: &'a [Dim], transpose: bool, name: &str) -> OpResult<Matrix<'a>> {
    let [batch @ .., rows, columns] = shape else {
        let message = format!("`transpose_{name}` needs rank 2 or more");
        return Err(OpError::attr(message));
    };
    Ok(if transpose {
        (batch, columns.clone(), rows.clone())
    } else {
        (batch, rows.clone(), columns.clone())
    })
}

fn infer_matmul(op: &Matmul, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let dtype = matmul_dtype(cx)?;
    let (x, y) = (cx.tensor("x")?, cx.tensor("y")?);
    if x.rank() == 0 || y.rank() == 0 {
        return Err(OpError::shape(format!("`x` is {x}, `y` is {y}; a scalar has no matrix")));
    }
    let (xb, rows, k) = match &x.shape[..] {
        [k] if !op.transpose_x => (&[][..], Dim::Const(1), k.clone()),
        shape => matrix(shape, op.transpose_x, "x")?,
    };
    let (yb, l, columns) = match &y.shape[..] {
        [l] if !op.transpose_y => (&[][..], l.clone(), Dim::Const(1)),
        shape => matrix(shape, op.transpose_y, "y")?,
    };
    if !may_equal(&k, &l) {
        let message = format!("{x} by {y}: inner extents are {k} and {l}");
        return Err(OpError::shape(message));
    }
    let mut shape = broadcast(xb, yb)?;
    if x.rank() > 1 {
        shape.push(rows);
    }
    if y.rank() > 1 {
        shape.push(columns);
    }
    Ok(Inferred::tensor(dtype, shape))
}

/// The letters of an einsum equation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EinsumLabels {
    /// One letter an axis, for each operand.
    pub operands: Vec<Vec<char>>,
    /// One letter an axis of the result, each once.
    pub result: Vec<char>,
}

impl EinsumLabels {
    /// Reads `ab,bc->ac`; spaces are passed over.
    ///
    /// # Errors
    /// There is no `->`, an ellipsis, something that is no ASCII letter, a letter twice in the result
    /// or one that no operand has.
    pub fn parse(equation: &str) -> OpResult<Self> {
        let wrong = |what: &str| OpError::attr(format!("equation `{equation}`: {what}"));
        let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let Some((left, right)) = text.split_once("->") else {
            return Err(wrong("`->` and the letters of the result are needed"));
        };
        if text.contains('.') {
            return Err(wrong("an ellipsis has to be written out in letters"));
        }
        let operands: Vec<Vec<char>> = left.split(',').map(|part| part.chars().collect()).collect();
        let result: Vec<char> = right.chars().collect();
        if let Some(c) = operands.iter().flatten().chain(&result).find(|c| !c.is_ascii_alphabetic())
        {
            return Err(wrong(&format!("`{c}` is no letter")));
        }
        for (i, c) in result.iter().enumerate() {
            if result[..i].contains(c) {
                return Err(wrong(&format!("`{c}` stands twice in the result")));
            }
            if !operands.iter().flatten().any(|d| d == c) {
                return Err(wrong(&format!("`{c}` of the result is in no operand")));
            }
        }
        Ok(Self { operands, result })
    }
}

fn infer_einsum(op: &Einsum, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let labels = EinsumLabels::parse(&op.equation)?;
    let values = cx.tensors("values")?;
    if values.len() != labels.operands.len() {
        let message =
            format!("{} operands, `{}` has {}", values.len(), op.equation, labels.operands.len());
        return Err(OpError::attr(message));
    }
    let Some(first) = values.first() else { return Err(OpError::ty("no operands")) };
    let mut extents: BTreeMap<char, Dim> = BTreeMap::new();
    for (value, letters) in values.iter().zip(&labels.operands) {
        if value.dtype != first.dtype {
            return Err(OpError::ty(format!(
                "operands are of {} and {}",
                first.dtype, value.dtype
            )));
        }
        same_kind(first.dtype, "values", value.dtype)?;
        if value.rank() != letters.len() {
            let message =
                format!("{value} has not the {} axes of `{}`", letters.len(), op.equation);
            return Err(OpError::shape(message));
        }
        for (&letter, dim) in letters.iter().zip(&value.shape) {
            let known = extents.entry(letter).or_insert(Dim::Const(1));
            let spread = broadcast(std::slice::from_ref(known), std::slice::from_ref(dim));
            *known = spread.ok().and_then(|mut dims| dims.pop()).ok_or_else(|| {
                let message = format!("`{letter}` of `{}` is {known} and {dim}", op.equation);
                OpError::shape(message)
            })?;
        }
    }
    let shape = labels
        .result
        .iter()
        .map(|letter| {
            extents.get(letter).cloned().ok_or_else(|| {
                OpError::shape(format!("`{letter}` has no extent in {}", shape_text(&first.shape)))
            })
        })
        .collect::<OpResult<Vec<_>>>()?;
    Ok(Inferred::tensor(first.dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::{Linear, Matmul};
    use crate::dim::Dim;
    use crate::ops::testing::{infer_result, tensor};

    #[test]
    fn products_keep_symbols() {
        let s = Dim::symbol("s");
        let x = tensor(DType::F32, [s.clone(), 4.into(), 8.into()]);
        let w = tensor(DType::F32, [16.into(), 8.into()]);
        let y = infer_result(|b, v| Linear {}.build(b, v[0], v[1], None), &[x.clone(), w.clone()]);
        assert_eq!(y.unwrap().shape, [s.clone(), 4.into(), 16.into()]);
        let op = Matmul { transpose_x: false, transpose_y: true };
        let y = infer_result(|b, v| op.build(b, v[0], v[1]), &[x.clone(), w]);
        assert_eq!(y.unwrap().shape, [s.clone(), 4.into(), 16.into()]);
        let vector = tensor(DType::F32, [8.into()]);
        let op = Matmul { transpose_x: false, transpose_y: false };
        let y = infer_result(|b, v| op.build(b, v[0], v[1]), &[x, vector]);
        assert_eq!(y.unwrap().shape, [s, 4.into()]);
    }

    #[test]
    fn types_differ_only_by_a_constant() {
        let x = tensor(DType::F32, [2.into(), 2.into()]);
        let y = tensor(DType::F16, [2.into(), 2.into()]);
        let op = || Matmul { transpose_x: false, transpose_y: false };
        assert!(infer_result(|b, v| op().build(b, v[0], v[1]), &[x.clone(), y]).is_err());
        let y = infer_result(
            |b, v| {
                let zeros = mlc_tensor::Tensor::from_f64s(DType::F16, &[2, 2], &[0.0; 4]).unwrap();
                let c = b.constant(zeros)?;
                op().build(b, c, v[0])
            },
            &[x],
        );
        assert_eq!(y.unwrap().dtype, DType::F32);
    }
}
