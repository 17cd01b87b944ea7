//! The pass `legal-dtypes`.

use mlc_ir::ops::{Add, Cast, FloorDiv, Mod, Mul, Op, Pad};
use mlc_ir::{Action, Builder, F64, FuncId, Node, Operands, Program, Rewriter, Trait, Value};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Property, Result, append_like};
use mlc_target::Opset;
use mlc_tensor::DType;
use serde::{Deserialize, Serialize};

use crate::choose;
use crate::legality::{Refusal, accepts, data_type};

/// Casts operands whose element type an op does not take in `target` to one that it takes and that
/// holds every value, and the result back: bool to i32 or f32, f16 to f32. Integers that an op for
/// floats only moves go through it in two halves.
///
/// ```mlc before (target=ios17)
/// func @f(%x: tensor<4xbool>, %i: tensor<2xi32>) -> tensor<2xbool> {
///   %y = gather %x, %i
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<4xbool>, %i: tensor<2xi32>) -> tensor<2xbool> {
///   %1 = cast %x {dtype = i32}
///   %2 = gather %1, %i
///   %y = cast %2 {dtype = bool}
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LegalDtypes {
    /// The system it is for, such as `ios17`; the lowest one that holds the program if none is named.
    target: Option<String>,
}

impl Pass for LegalDtypes {
    fn name(&self) -> &'static str {
        "legal-dtypes"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn requires(&self) -> &'static [Property] {
        &[crate::CORE_DTYPES]
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let opset = choose::opset(program, self.target.as_deref())?;
        let mut changed = false;
        for func in cx.functions(program) {
            changed |= rewrite(program, func, opset)?;
        }
        Ok(Changed::from(changed))
    }
}

/// Casts what `opset` does not take.
pub(crate) fn rewrite(program: &mut Program, func: FuncId, opset: Opset) -> Result<bool> {
    Rewriter::run::<PassError>(program, func, Some("legal-dtypes"), &mut |b, node| {
        let refusal = accepts(b.program, b.function(), node, opset);
        let Err(Refusal::Dtype { dtype, allowed, .. }) = refusal else { return Ok(Action::Keep) };
        let wider: &[DType] = match dtype {
            DType::Bool => &[DType::I32, DType::F32],
            DType::F16 => &[DType::F32],
            DType::I32 => return halves(b, node),
            _ => &[],
        };
        let takes = |&&to: &&DType| data_type(to).is_some_and(|to| allowed.contains(&to));
        let Some(&to) = wider.iter().find(takes) else { return Ok(Action::Keep) };
        let old = b.results(node).to_vec();
        let op = b.function().nodes[node].op.clone();
        let operands = cast_operands(b, node, (dtype, to))?;
        let Ok(results) = append_like(b, node, op, operands) else { return Ok(Action::Keep) };
        let mut values = Vec::new();
        for (old, new) in old.into_iter().zip(results) {
            values.push(cast_like(b, new, old)?);
        }
        Ok(Action::Replace(values))
    })
}

/// `value` with the element type of `like`.
fn cast_like(b: &mut Builder<'_>, value: Value, like: Value) -> Result<Value> {
    let (has, wants) = (b.ty(value).as_tensor(), b.ty(like).as_tensor());
    match (has, wants) {
        (Some(has), Some(wants)) if has.dtype != wants.dtype => {
            let dtype = wants.dtype;
            Ok(Cast { dtype }.build(b, value)?)
        }
        _ => Ok(value),
    }
}

/// The operands, those of type `from` cast.
fn cast_operands(b: &mut Builder<'_>, node: Node, (from, to): (DType, DType)) -> Result<Operands> {
    let data = &b.function().nodes[node];
    let (old, spec) = (data.operands.clone(), data.op.spec());
    // `select` and SDPA take truth values as such beside the data.
    let stays = |slot: usize| matches!(spec.operands[slot].name, "cond" | "attn_mask");
    let mut operands = Operands::new();
    for slot in 0..old.slots() {
        let mut values = Vec::new();
        for &value in old.slot(slot) {
            let cast = b.ty(value).as_tensor().is_some_and(|ty| ty.dtype == from) && !stays(slot);
            values.push(if cast { Cast { dtype: to }.build(b, value)? } else { value });
        }
        operands.push_slot(values);
    }
    Ok(operands)
}

/// An op that moves integers, on the upper and the lower 16 bits of them as f32, which holds both.
fn halves(b: &mut Builder<'_>, node: Node) -> Result<Action> {
    const LOW: i64 = 1 << 16;
    let data = &b.function().nodes[node];
    let (op, operands, old) = (data.op.clone(), data.operands.clone(), data.results.clone());
    let moves = op.spec().traits.has(Trait::View) || matches!(op, Op::Pad(_));
    let ([x], [result]) = (operands.slot(0), &old[..]) else { return Ok(Action::Keep) };
    if !moves || b.tensor(*result)?.dtype != DType::I32 {
        return Ok(Action::Keep);
    }
    let low = b.int(LOW)?;
    let parts = [FloorDiv {}.build(b, *x, low)?, Mod {}.build(b, *x, low)?];
    let mut moved = Vec::new();
    for (part, is_high) in parts.into_iter().zip([true, false]) {
        let op = match &op {
            Op::Pad(pad) => {
                let fill = pad.constant_val.0 as i64;
                let fill = if is_high { fill.div_euclid(LOW) } else { fill.rem_euclid(LOW) };
                Pad { constant_val: F64(fill as f64), ..pad.clone() }.into()
            }
            op => op.clone(),
        };
        let float = Cast { dtype: DType::F32 }.build(b, part)?;
        let mut slots = Operands::new();
        slots.push_slot([float]);
        for slot in 1..operands.slots() {
            slots.push_slot(operands.slot(slot).iter().copied());
        }
        let Ok(results) = append_like(b, node, op, slots) else { return Ok(Action::Keep) };
        moved.push(Cast { dtype: DType::I32 }.build(b, results[0])?);
    }
    let high = Mul {}.build(b, moved[0], low)?;
    Ok(Action::Replace(vec![Add {}.build(b, high, moved[1])?]))
}
