//! Running totals.

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, normalize_axis};

op! {
    /// `y[i] = Σ_{j ≤ i} x[j]` along `axis`; `j < i` when `exclusive`; from the end (`j ≥ i`, `j > i`)
    /// when `reverse`.
    "cumsum" = Cumsum(x: One) {
        axis: i64 = 0,
        exclusive: bool = false,
        reverse: bool = false,
    } + Pure => infer_cumsum;
}

fn infer_cumsum(op: &Cumsum, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    if !(x.dtype.is_float() || x.dtype.is_int()) {
        return Err(OpError::ty(format!("`x` is {x}, numbers are needed")));
    }
    normalize_axis(op.axis, x.rank())?;
    let content = cx.content("x").map(|content| {
        let mut terms = content.to_vec();
        if op.reverse {
            terms.reverse();
        }
        let mut total = Dim::Const(0);
        for term in &mut terms {
            let before = total.clone();
            total = total.add(term);
            *term = if op.exclusive { before } else { total.clone() };
        }
        if op.reverse {
            terms.reverse();
        }
        terms
    });
    Ok(Inferred::ty(x.clone()).with_content(content))
}
