//! Types that stand behind an op against those that inference gives.

use mlc_diag::{Code, codes};
use mlc_ir::{Dim, Type};

/// The type that both say; extents that one leaves open are those of the other.
///
/// The error is the code of the disagreement.
pub(super) fn meet(inferred: &Type, declared: &Type) -> Result<Type, Code> {
    let blank = |ty: &Type| ty.map_dims(&mut |_| Dim::Const(0));
    if blank(inferred) != blank(declared) {
        let same_but_rank = match (inferred, declared) {
            (Type::Tensor(a), Type::Tensor(b)) | (Type::State(a), Type::State(b)) => {
                a.dtype == b.dtype
            }
            _ => false,
        };
        return Err(if same_but_rank { codes::SHAPE_MISMATCH } else { codes::TYPE_MISMATCH });
    }
    let mut wanted = Vec::new();
    inferred.for_each_dim(&mut |dim| wanted.push(dim.clone()));
    let mut wanted = wanted.into_iter();
    let mut agree = true;
    let met = declared.map_dims(&mut |dim| match wanted.next() {
        Some(Dim::Unknown) => dim.clone(),
        Some(known) => {
            agree &= *dim == Dim::Unknown || *dim == known;
            known
        }
        None => dim.clone(),
    });
    if agree { Ok(met) } else { Err(codes::SHAPE_MISMATCH) }
}
