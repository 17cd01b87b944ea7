//! The pass `fold`.

use std::collections::BTreeMap;

use mlc_ir::ops::Op;
use mlc_ir::{Action, Builder, Node, Program, Rewriter, Trait, Uses, Value};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use mlc_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Replaces ops by constants: those whose operands are all constants, and integer vectors whose
/// contents inference knows, such as the shape of a tensor of known extents.
///
/// A constant that only moves, joins or converts elements of others is made when it is written and
/// costs no memory. Other results are computed now: at most `total` bytes of them, from at most
/// `elements` elements each unless the op is elementwise. A result may be up to `budget` bytes larger
/// than the constants that nobody else uses and that go with the op.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>) -> tensor<16xf32> {
///   %1 = shape %x
///   %2 = reduce_prod %1 {axes = [0], keep_dims = true}
///   %3 = reshape %x, %2
///   %4 = const 4.0 : f32
///   %5 = sqrt %4
///   %y = mul %3, %5
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>) -> tensor<16xf32> {
///   %1 = const [16] : tensor<1xi32>
///   %2 = reshape %x, %1
///   %3 = const 2.0 : f32
///   %y = mul %2, %3
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fold {
    /// Most bytes that a computed result may be larger than what it frees.
    budget: u64,
    /// Most bytes of all results that are computed.
    total: u64,
    /// Most elements that an op which is not elementwise may read or make.
    elements: u64,
}

impl Default for Fold {
    fn default() -> Self {
        Self { budget: 1 << 20, total: 64 << 20, elements: 1 << 20 }
    }
}

impl Pass for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        let mut spent = 0;
        for func in cx.functions(program) {
            let uses = Uses::of(&program.functions[func]);
            let values = program.functions[func].values.iter();
            let counts = values.map(|(v, _)| (v, uses.count(v))).collect();
            let mut folder = Folder { limits: self, counts, uses, spent, refused: 0 };
            let name = Some(self.name());
            changed |= Rewriter::run::<PassError>(program, func, name, &mut |b, node| {
                let Some(tensors) = folder.constants(b, node) else { return Ok(Action::Keep) };
                let results = b.results(node).to_vec();
                let mut values = Vec::new();
                for (tensor, result) in tensors.into_iter().zip(results) {
                    let value = b.constant(tensor)?;
                    let count = folder.counts.get(&result).copied().unwrap_or(0);
                    folder.counts.insert(value, count);
                    values.push(value);
                }
                Ok(Action::Replace(values))
            })?;
            spent = folder.spent;
            cx.count("over budget", folder.refused);
        }
        cx.count("bytes computed", spent);
        Ok(Changed::from(changed))
    }
}

struct Folder<'a> {
    limits: &'a Fold,
    /// How often each value is used.
    counts: BTreeMap<Value, usize>,
    /// Who uses it.
    uses: Uses,
    /// Bytes computed so far.
    spent: u64,
    refused: u64,
}

impl Folder<'_> {
    /// The results of `node`, if it is to become constants.
    fn constants(&mut self, b: &Builder<'_>, node: Node) -> Option<Vec<Tensor>> {
        let data = &b.function().nodes[node];
        let traits = data.op.spec().traits;
        let plain = traits.has(Trait::Pure) && !traits.has(Trait::Constexpr);
        if !plain || !data.regions.is_empty() || matches!(data.op, Op::Const(_) | Op::Identity(_)) {
            return None;
        }
        if self.is_mixed(b, node) {
            return None;
        }
        if let Some(tensor) = known_content(b, node) {
            return Some(vec![tensor]);
        }
        let mut slots: Vec<Vec<Tensor>> = Vec::new();
        for slot in 0..data.operands.slots() {
            let values = data.operands.slot(slot).iter();
            slots.push(values.map(|&v| b.constant_of(v).cloned()).collect::<Option<_>>()?);
        }
        let bytes = result_bytes(b, node)?;
        let mut operands = data.operands.all().to_vec();
        operands.sort_unstable();
        operands.dedup();
        let used_once = operands.iter().filter(|v| self.counts.get(v) == Some(&1));
        let freed: u64 = used_once.filter_map(|&v| b.constant_of(v)).map(Tensor::byte_len).sum();
        if bytes > freed.saturating_add(self.limits.budget) {
            self.refused += 1;
            return None;
        }
        match mlc_eval::lazy(&data.op, &slots, b.ty(data.results[0])) {
            Some(tensor) => Some(vec![tensor]),
            None => self.compute(b, node, (&slots, bytes)),
        }
    }

    /// Whether a product of matrices takes the result beside a constant of another element type: of two
    /// constants neither gives the type of the product.
    fn is_mixed(&self, b: &Builder<'_>, node: Node) -> bool {
        let mixes = |user: &Node| {
            let data = &b.function().nodes[*user];
            let dtype = |&value: &Value| b.tensor(value).map(|ty| ty.dtype).ok();
            let mut dtypes = data.operands.all().iter().map(dtype);
            let first = dtypes.next();
            matches!(data.op, Op::Matmul(_)) && dtypes.any(|dtype| Some(dtype) != first)
        };
        b.results(node).iter().any(|&result| self.uses.users(result).iter().any(mixes))
    }

    fn compute(
        &mut self,
        b: &Builder<'_>,
        node: Node,
        (slots, bytes): (&[Vec<Tensor>], u64),
    ) -> Option<Vec<Tensor>> {
        let data = &b.function().nodes[node];
        let read: u64 = slots.iter().flatten().map(|t| t.count() as u64).sum();
        let elementwise = data.op.spec().traits.has(Trait::Elementwise);
        let too_many = !elementwise && read.max(bytes) > self.limits.elements;
        if too_many || self.spent.saturating_add(bytes) > self.limits.total {
            self.refused += 1;
            return None;
        }
        let results = mlc_eval::fold(&data.op, slots).ok()?;
        let fits = results.len() == data.results.len()
            && results.iter().zip(&data.results).all(|(tensor, &value)| {
                b.tensor(value).is_ok_and(|ty| {
                    ty.dtype == tensor.dtype()
                        && ty.static_shape().as_deref() == Some(tensor.shape())
                })
            });
        self.spent += if fits { bytes } else { 0 };
        fits.then_some(results)
    }
}

/// The integers that inference knows of the only result.
fn known_content(b: &Builder<'_>, node: Node) -> Option<Tensor> {
    let [result] = b.results(node) else { return None };
    let content = b.content(*result)?;
    let numbers: Vec<i64> = content.iter().map(mlc_ir::Dim::as_const).collect::<Option<_>>()?;
    let ty = b.tensor(*result).ok()?;
    Tensor::from_i64s(ty.dtype, &ty.static_shape()?, &numbers).ok()
}

/// The size of all results, if they are tensors of known extents.
fn result_bytes(b: &Builder<'_>, node: Node) -> Option<u64> {
    let mut sum = 0u64;
    for &result in b.results(node) {
        let ty = b.tensor(result).ok().filter(|ty| ty.dtype != DType::Str)?;
        let count = ty.static_shape()?.iter().try_fold(1u64, |n, &d| n.checked_mul(d))?;
        sum = sum.checked_add(ty.dtype.bytes_for(count)?)?;
    }
    Some(sum)
}
