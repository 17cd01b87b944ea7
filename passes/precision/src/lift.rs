//! Weights below half precision, lifted into it by a power of two.
//!
//! A branch that is scaled by 1e-6 before it is added, as residual branches of fresh networks are, has weights
//! that half precision rounds to a digit or to nothing. `W·x` is `2⁻ᵏ·((2ᵏ·W)·x)`: with the power, weights keep all
//! their digits, and what is left is the rounding of the result to a multiple of 2⁻²⁴. No sum in half precision
//! is rounded to less, so where the result is only added nothing is lost that the sum would not lose.

use std::collections::BTreeSet;

use mlc_ir::ops::Mul;
use mlc_ir::{Builder, Function, Node, NodeData, Op, Program, Trait, Uses, Value};
use mlc_pass::Result;
use mlc_tensor::{DType, Tensor, ZipOp};

use crate::facts::FactBook;
use crate::hazards::Hazards;
use crate::narrow::in_place_of;

/// The exponent of the power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lift(i32);

/// Slots of the weight and the bias of a layer.
const WEIGHT: usize = 1;
const BIAS: usize = 2;

/// The magnitude that the greatest weight comes near to, as usual ones have.
const USUAL: f64 = 0.125;

/// Half precision has the powers of two down to this one.
const LEAST_POWER: i32 = -24;

/// A bias may become as great as this.
const GREATEST_BIAS: f64 = 1024.0;

/// Views between a result and the sums that are looked through.
const MAX_VIEWS: usize = 64;

impl Lift {
    fn factor(self) -> f64 {
        2f64.powi(self.0)
    }

    /// Whether the weight or the bias of a layer stands in that slot.
    pub(crate) fn has(slot: usize) -> bool {
        slot == WEIGHT || slot == BIAS
    }

    /// A weight or a bias, a constant, multiplied and in half precision.
    pub(crate) fn constant(self, b: &mut Builder<'_>, value: Value) -> Result<Value> {
        let function = b.function();
        let Some((_, NodeData { op: Op::Const(op), .. })) = function.def(value) else {
            return Ok(value);
        };
        let id = op.value;
        let tensor = b.program.consts.get(id).cast(DType::F32)?;
        let factor = Tensor::full(DType::F32, &[], self.factor())?;
        let tensor = Tensor::zip(ZipOp::Mul, &tensor, &factor)?.cast(DType::F16)?;
        in_place_of(b, id, tensor)
    }

    /// The result of the layer divided.
    pub(crate) fn lowered(self, b: &mut Builder<'_>, result: Value) -> Result<Value> {
        let factor = b.scalar(DType::F16, 1.0 / self.factor())?;
        Ok(Mul {}.build(b, result, factor)?)
    }
}

/// How a weight of that greatest magnitude is lifted, if `operand` is the weight of a layer.
pub(crate) fn of(data: &NodeData, operand: Value, extreme: f64) -> Option<Lift> {
    let layer = matches!(data.op, Op::Linear(_) | Op::Conv(_) | Op::ConvTranspose(_));
    if !layer || data.operands.slot(WEIGHT) != [operand] {
        return None;
    }
    let power = (USUAL / extreme.abs()).log2().floor() as i32;
    (power > 0).then(|| Lift(power.min(-LEAST_POWER)))
}

/// Keeps the layers of `found.lifted` that are not only added, or are kept already, as they are.
pub(crate) fn settle(
    (program, function, uses): (&Program, &Function, &Uses),
    facts: &mut FactBook,
    found: &mut Hazards,
) -> Result<()> {
    for (node, lift) in std::mem::take(&mut found.lifted) {
        let data = &function.nodes[node];
        let mut fits = !found.kept.contains(&node);
        for &bias in data.operands.slot(BIAS) {
            fits &= match program.constant_of(function, bias) {
                Some(bias) => facts.of(bias)?.extreme.abs() * lift.factor() <= GREATEST_BIAS,
                None => false,
            };
        }
        if fits && is_only_added((function, uses), node, &found.kept) {
            found.lifted.insert(node, lift);
        } else {
            found.kept.insert(node);
        }
    }
    Ok(())
}

/// Whether results of `node` reach nothing but sums in half precision, views aside.
fn is_only_added((function, uses): (&Function, &Uses), node: Node, kept: &BTreeSet<Node>) -> bool {
    let mut seen = BTreeSet::from([node]);
    let mut work = vec![node];
    while let Some(node) = work.pop() {
        for &result in &function.nodes[node].results {
            if uses.yields(result) > 0 {
                return false;
            }
            for &user in uses.users(result) {
                let op = &function.nodes[user].op;
                let sum = matches!(op, Op::Add(_) | Op::Sub(_));
                let view = op.spec().traits.has(Trait::View);
                if kept.contains(&user) || !(sum || view) || seen.len() > MAX_VIEWS {
                    return false;
                }
                if view && seen.insert(user) {
                    work.push(user);
                }
            }
        }
    }
    true
}
