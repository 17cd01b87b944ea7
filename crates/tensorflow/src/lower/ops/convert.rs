//! Conversions of element types.

use mlc_ir::ops::NotEqual;
use mlc_tensor::{DType, DTypeKind};

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] =
    &[Lowering { name: "Bitcast", lower: bitcast }, Lowering { name: "Cast", lower: cast }];

fn cast(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let to = call.dtype("DstT")?;
    // Truncation only says how bits that a float type cannot hold are dropped.
    call.ignore(&["Truncate"]);
    if let Val::Complex(re, im) = call.input(0)? {
        return match to.kind() {
            DTypeKind::Complex => {
                let part = if to == DType::C128 { DType::F64 } else { DType::F32 };
                Ok(vec![Val::Complex(cx.cast(*re, part)?, cx.cast(*im, part)?)])
            }
            _ => {
                let value = cx.cast(*re, to)?;
                cx.one(value)
            }
        };
    }
    let x = call.tensor(0)?;
    let from = cx.dtype(x)?;
    if to.kind() == DTypeKind::Complex {
        let part = if to == DType::C128 { DType::F64 } else { DType::F32 };
        let re = cx.cast(x, part)?;
        let (zero, shape) = (cx.number(part, 0.0)?, cx.shape(re)?);
        let im = cx.filled(&shape, zero)?;
        return Ok(vec![Val::Complex(re, im)]);
    }
    if to == DType::Str {
        return Err(LowerError::dtype("numbers cannot become strings"));
    }
    let y = match to {
        DType::Bool if from != DType::Bool => {
            let zero = cx.scalar_like(x, 0.0)?;
            cx.binary(NotEqual {}, x, zero)?
        }
        _ => cx.cast(x, to)?,
    };
    cx.one(y)
}

/// The same bits under another type; only between types that mean the same here.
fn bitcast(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let (from, to) = (cx.dtype(x)?, call.dtype("type")?);
    if from == to {
        return cx.one(x);
    }
    if from.is_int() && to.is_int() && from.bits() == to.bits() && from.bits() < 32 {
        let wide = cx.cast(x, DType::I32)?;
        let y = super::elementwise::wrapped(cx, wide, to)?;
        return cx.one(y);
    }
    if from.is_float() && to.is_int() && from.bits() == to.bits() {
        return Ok(vec![Val::Bits(x)]);
    }
    Err(LowerError::dtype(format!("the bits of {from} as {to}")))
}
