//! Ops that pass their input on.

use mlc_ir::Dim;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "CheckNumerics", lower: first },
    Lowering { name: "CheckNumericsV2", lower: first },
    Lowering { name: "DeepCopy", lower: first },
    Lowering { name: "DisableCopyOnRead", lower: nothing },
    Lowering { name: "EnsureShape", lower: ensure_shape },
    Lowering { name: "Identity", lower: first },
    Lowering { name: "IdentityN", lower: all },
    Lowering { name: "PlaceholderWithDefault", lower: first },
    Lowering { name: "PreventGradient", lower: first },
    Lowering { name: "RefIdentity", lower: first },
    Lowering { name: "Snapshot", lower: first },
    Lowering { name: "StopGradient", lower: first },
];

fn first(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // Messages and declared shapes change nothing.
    call.ignore(&["message", "shape"]);
    Ok(vec![call.input(0)?.clone()])
}

fn all(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(call.inputs().to_vec())
}

fn nothing(_: &mut Cx<'_>, _: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(Vec::new())
}

/// The input, whose extents are then known to be as declared.
fn ensure_shape(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    if let Some(shape) = call.shape("shape")? {
        let own = cx.shape(x)?;
        if own.len() != shape.len() {
            return Err(LowerError::invalid(format!(
                "the input has rank {}, {} is declared",
                own.len(),
                shape.len()
            )));
        }
        let told: Vec<Dim> = own
            .iter()
            .zip(&shape)
            .map(|(own, told)| told.map_or_else(|| own.clone(), Dim::Const))
            .collect();
        cx.refine(x, &told)?;
    }
    cx.one(x)
}
