//! The pass `ranks`.

use std::collections::BTreeSet;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{Builder, FuncId, Node, Program, Region, Trait, Type, Uses, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Property, Rebuild, Result, Step, rebuild};
use mlc_target::io::MAX_RANK;
use serde::{Deserialize, Serialize};

use crate::high_rank::HighRank;

/// Leaves tensors of at most five axes, and no input without axes. Values of more axes between a
/// reshape and another one are kept under fewer: axes that stay neighbours are one, transposes move
/// blocks, and elementwise ops, reductions, softmax and joins work on what is left. An input without
/// axes gets one of extent 1.
///
/// What needs more than five axes all the same is an error, and so are inputs and outputs of more. The
/// parts of stored weights may have more: a table has two axes beside those of its weight.
///
/// ```mlc before
/// func @f(%x: tensor<1x4x6x8xf32>) -> tensor<6x4x8xf32> {
///   %1 = reshape %x, [1, 2, 2, 3, 2, 8]
///   %2 = transpose %1 {perm = [0, 1, 3, 2, 4, 5]}
///   %y = reshape %2, [6, 4, 8]
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x4x6x8xf32>) -> tensor<6x4x8xf32> {
///   %1 = reshape %x, [2, 2, 3, 16]
///   %2 = transpose %1 {perm = [0, 2, 1, 3]}
///   %y = reshape %2, [6, 4, 8]
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ranks {}

impl Pass for Ranks {
    fn name(&self) -> &'static str {
        "ranks"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn establishes(&self) -> &'static [Property] {
        &[crate::LOW_RANKS]
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        let mut errors = Diagnostics::new();
        for func in cx.functions(program) {
            refuse_features(program, func, &mut errors);
            let stored = stored(program, func);
            if !is_needed(program, func, &stored) || errors.has_errors() {
                continue;
            }
            let mut ranks = Walk { high: HighRank::default(), stored, errors: &mut errors };
            let result = rebuild(program, func, self.name(), &mut ranks);
            // An op left without an exact spelling is the cause of what does not fit after it.
            if errors.has_errors() {
                continue;
            }
            result?;
            changed = true;
        }
        if errors.has_errors() { Err(errors.into()) } else { Ok(Changed::from(changed)) }
    }
}

fn rank(ty: &Type) -> usize {
    match ty {
        Type::Tensor(ty) | Type::State(ty) => ty.rank(),
        _ => 1,
    }
}

fn refuse_features(program: &Program, func: FuncId, errors: &mut Diagnostics) {
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    let params = function.params.iter().map(|p| ("input", &p.name)).zip(&body.args);
    let outputs = function.outputs.iter().map(|o| ("output", &o.name)).zip(&body.results);
    for ((kind, name), &value) in params.chain(outputs) {
        let ty = function.ty(value);
        if rank(ty) > MAX_RANK {
            let message = format!("{kind} `{name}` is {ty}, of {} axes", rank(ty));
            errors.push(
                Diagnostic::new(codes::RANK_LIMIT, message)
                    .note("Core ML takes and gives tensors of at most 5 axes")
                    .help("join axes in the model and split them in the app"),
            );
        }
    }
}

/// Ops that decode weights, and constants that only those use.
fn stored(program: &Program, func: FuncId) -> BTreeSet<Node> {
    let function = &program.functions[func];
    let uses = Uses::of(function);
    let decodes = |node: Node| function.nodes[node].op.spec().traits.has(Trait::Constexpr);
    let inner = |&value: &Value| uses.users(value).iter().all(|&user| decodes(user));
    let low = |&value: &Value| rank(function.ty(value)) <= MAX_RANK;
    let mut stored = BTreeSet::new();
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        let is_part = matches!(data.op, mlc_ir::Op::Const(_)) && !data.results.iter().all(low);
        if (decodes(node) || is_part) && data.results.iter().all(|r| low(r) || inner(r)) {
            stored.insert(node);
        }
    });
    stored
}

fn is_needed(program: &Program, func: FuncId, stored: &BTreeSet<Node>) -> bool {
    let function = &program.functions[func];
    let scalar = |&arg: &Value| matches!(function.ty(arg), Type::Tensor(ty) if ty.rank() == 0);
    let mut needed = function.regions[function.body].args.iter().any(scalar);
    function.for_each_node(&mut |_, node| {
        if stored.contains(&node) {
            return;
        }
        let data = &function.nodes[node];
        let args = data.regions.iter().flat_map(|&region| &function.regions[region].args);
        needed |= data.results.iter().chain(args).any(|&value| rank(function.ty(value)) > MAX_RANK);
    });
    needed
}

struct Walk<'a> {
    high: HighRank,
    stored: BTreeSet<Node>,
    errors: &'a mut Diagnostics,
}

impl Rebuild for Walk<'_> {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        let ty = b.ty(arg).clone();
        if rank(&ty) > MAX_RANK {
            self.errors.push(Diagnostic::new(
                codes::RANK_LIMIT,
                format!("a loop carries {ty}, of {} axes", rank(&ty)),
            ));
        }
        match ty {
            Type::Tensor(ty) if ty.rank() == 0 && region == b.function().body => {
                let vector = mlc_ir::TensorType::new(ty.dtype, [1.into()]);
                b.function_mut().values[arg].ty = vector.into();
                let func = b.func;
                let param = &mut b.program.functions[func].params[index];
                param.default_shape = param.default_shape.as_ref().map(|_| vec![1]);
                Ok(mlc_ir::ops::Squeeze { axes: Some(vec![0]) }.build(b, arg)?)
            }
            _ => Ok(arg),
        }
    }

    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Step> {
        if self.stored.contains(&node) || !self.high.concerns(b, node) {
            return Ok(Step::Keep);
        }
        if let Some(values) = self.high.lower(b, node)? {
            return Ok(Step::Replace(values));
        }
        let data = &b.function().nodes[node];
        let name = data.op.spec().name;
        let loc = b.program.loc(data.loc).clone();
        let ranks = data.results.iter().map(|&r| rank(b.ty(r))).max().unwrap_or(0);
        let message = format!("`{name}` works on more than 5 axes");
        self.errors.push(
            Diagnostic::new(codes::RANK_LIMIT, message)
                .at_op(&loc)
                .note(format!("its result has {ranks} axes; Core ML has tensors of at most 5"))
                .help("join axes that stay neighbours with `reshape` around it"),
        );
        // Goes on with what it was given, to find more.
        let results = data.results.to_vec();
        let shapes: Vec<_> = results.iter().map(|&r| b.ty(r).clone()).collect();
        for (&result, ty) in results.iter().zip(shapes) {
            self.high.forget(result, ty);
        }
        Ok(Step::Replace(results))
    }

    fn leave(&mut self, b: &mut Builder<'_>, region: Region, results: &mut [Value]) -> Result<()> {
        if region != b.function().body && results.iter().any(|&r| self.high.is_high(r)) {
            let message = "a region yields a tensor of more than 5 axes";
            self.errors.push(Diagnostic::new(codes::RANK_LIMIT, message));
        }
        Ok(())
    }
}
