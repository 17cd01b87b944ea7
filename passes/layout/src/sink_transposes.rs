//! The pass `sink-transposes`.

use std::collections::BTreeSet;

use mlc_ir::ops::Transpose;
use mlc_ir::{
    Action, Builder, FuncId, Node, Op, OpError, OpResult, Program, Rewriter, Uses, Value,
};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::carry::{Carried, carry};
use crate::form::{Form, Forms, is_identity};
use crate::regroup::reshaped;

/// Moves transposes behind the ops that can be computed without them: elementwise ops, pads, slices,
/// splits, joins, reductions, norms, and reshapes that join or cut what stays together. Two that meet become one or none, so that images whose channels come last
/// are computed with channels first throughout.
///
/// ```mlc before
/// func @f(%x: tensor<1x3x8x8xf32>, %w: tensor<3x3x1x1xf32>) -> tensor<1x3x8x8xf32> {
///   %1 = transpose %x {perm = [0, 2, 3, 1]}
///   %2 = relu %1
///   %3 = transpose %2 {perm = [0, 3, 1, 2]}
///   %y = conv %3, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x3x8x8xf32>, %w: tensor<3x3x1x1xf32>) -> tensor<1x3x8x8xf32> {
///   %1 = relu %x
///   %y = conv %1, %w
///   return %y
/// }
/// ```
///
/// Norms and reshapes are computed before transposes that nothing else uses; with `shared`, before any.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkTransposes {
    /// Move transposes behind norms and reshapes even where something else uses them, so that there may be two.
    shared: bool,
}

impl Pass for SinkTransposes {
    fn name(&self) -> &'static str {
        "sink-transposes"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut any = false;
        let mut carried = 0;
        for func in cx.functions(program) {
            let (changed, count) = sink(program, func, self.shared)?;
            any |= changed;
            carried += count;
        }
        cx.count("carried", carried);
        Ok(Changed::from(any))
    }
}

/// Moves the transposes of a function: whether it changed, and behind how many ops.
pub(crate) fn sink(program: &mut Program, func: FuncId, shared: bool) -> Result<(bool, u64)> {
    let function = &program.functions[func];
    let mut yielded = BTreeSet::new();
    yielded.extend(&function.regions[function.body].results);
    function.for_each_node(&mut |_, node| {
        for &region in &function.nodes[node].regions {
            yielded.extend(&function.regions[region].results);
        }
    });
    let uses = Uses::of(function);
    let mut sink = Sink { forms: Forms::default(), yielded, uses, shared, carried: 0 };
    let changed =
        Rewriter::run::<OpError>(program, func, Some("sink-transposes"), &mut |b, node| {
            sink.visit(b, node)
        })?;
    Ok((changed, sink.carried))
}

struct Sink {
    forms: Forms,
    /// What regions yield stays the result of an op of its own.
    yielded: BTreeSet<Value>,
    /// Those before the pass.
    uses: Uses,
    shared: bool,
    carried: u64,
}

impl Sink {
    fn visit(&mut self, b: &mut Builder<'_>, node: Node) -> OpResult<Action> {
        let data = &b.function().nodes[node];
        if let Op::Transpose(op) = &data.op {
            let (op, x, y) = (op.clone(), data.operands.all()[0], data.results[0]);
            return self.transpose(b, &op, (x, y));
        }
        if let (Op::LayerNorm(_) | Op::Reshape(_), [x, ..]) = (&data.op, data.operands.all())
            && !self.shared
            && self.forms.get(*x).is_some_and(|form| form.shared)
        {
            return Ok(Action::Keep);
        }
        let Some(Carried { results: sources, perm }) = carry(b, &self.forms, node)? else {
            return Ok(Action::Keep);
        };
        let old = b.results(node).to_vec();
        let mut values = Vec::with_capacity(sources.len());
        for (source, old) in sources.into_iter().zip(old) {
            let shared = self.is_shared(old);
            let value = self.formed(b, Form { perm: perm.clone(), source, shared })?;
            // Of equal extents that have two names, inference may have taken the other.
            if b.ty(value) != b.ty(old) {
                return Ok(Action::Keep);
            }
            values.push(value);
        }
        self.carried += 1;
        Ok(Action::Replace(values))
    }

    /// Whether something else than one op uses a value of the function as it was.
    fn is_shared(&self, value: Value) -> bool {
        self.uses.users(value).len() + usize::from(self.yielded.contains(&value)) > 1
    }

    /// The value of that form.
    fn formed(&mut self, b: &mut Builder<'_>, form: Form) -> OpResult<Value> {
        if is_identity(&form.perm) {
            return Ok(form.source);
        }
        if let Some(value) = reshaped(b, form.source, &form.perm)? {
            return Ok(value);
        }
        let perm = form.perm.iter().map(|&axis| axis as i64).collect();
        let value = Transpose { perm }.build(b, form.source)?;
        self.forms.set(value, form);
        Ok(value)
    }

    fn transpose(
        &mut self,
        b: &mut Builder<'_>,
        op: &Transpose,
        (x, y): (Value, Value),
    ) -> OpResult<Action> {
        let rank = b.tensor(x)?.rank();
        let own = mlc_ir::infer::normalize_axes(&op.perm, rank).map(|_| &op.perm)?;
        let own: Vec<usize> =
            own.iter().map(|&axis| axis.rem_euclid(rank.max(1) as i64) as usize).collect();
        if let Some(form) = self.forms.get(x).cloned() {
            let perm: Vec<usize> = own.iter().map(|&axis| form.perm[axis]).collect();
            if is_identity(&perm) && self.yielded.contains(&y) {
                return Ok(Action::Keep);
            }
            let shared = self.is_shared(y);
            let value = self.formed(b, Form { perm, source: form.source, shared })?;
            return Ok(Action::Replace(vec![value]));
        }
        if let Some(value) = reshaped(b, x, &own)? {
            return Ok(Action::Replace(vec![value]));
        }
        let shared = self.is_shared(y);
        self.forms.set(y, Form { perm: own, source: x, shared });
        Ok(Action::Keep)
    }
}
