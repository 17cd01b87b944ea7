//! Which ops must not be computed in half precision.

use std::collections::{BTreeMap, BTreeSet};

use half::f16;
use mlc_diag::{Diagnostic, Severity, codes};
use mlc_ir::{
    AttrKind, AttrValue, Def, EntityId, Function, Node, NodeData, Op, Program, Region, Trait, Uses,
    Value,
};
use mlc_pass::{PassCx, Result};
use mlc_tensor::DType;

use crate::facts::{FactBook, LEAST, MASK, MAX, overflows, vanishes};
use crate::guard::guarded;
use crate::interval::Interval;
use crate::lift::{self, Lift};
use crate::ranges::{Clamped, Declared, Ranges};

/// What was found in a function.
#[derive(Default)]
pub(crate) struct Hazards {
    /// Ops that stay as they are.
    pub(crate) kept: BTreeSet<Node>,
    /// Bounds that constants are clamped to, for the ops that use them as masks.
    pub(crate) masks: Clamped,
    /// Ops whose epsilon becomes [`LEAST`].
    pub(crate) raised: BTreeSet<Node>,
    /// Ops whose weights are multiplied by a power of two, and their results divided by it.
    pub(crate) lifted: BTreeMap<Node, Lift>,
}

/// Half precision has every integer up to this one.
const EXACT: i64 = 2048;

/// The square of anything greater overflows half precision.
const SQUARE: f64 = 255.9;

/// Whether half precision loses a value of this range: it overflows, or all of it vanishes. Bounds
/// that are not tight tell so only where both ends do.
fn leaves(range: Interval) -> Option<()> {
    let overflows = if range.tight { range.reach() } else { range.least() } > MAX;
    let vanishes = range.reach() != 0.0 && vanishes(range.reach());
    (overflows || vanishes).then_some(())
}

/// Whether half precision can stand for values of this type.
pub(crate) fn is_wide(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::Bf16)
}

pub(crate) fn find(
    program: &Program,
    function: &Function,
    (facts, declared): (&mut FactBook, &Declared),
    cx: &mut PassCx,
) -> Result<Hazards> {
    let mut nodes = Vec::new();
    function.for_each_node(&mut |_, node| nodes.push(node));
    let uses = Uses::of(function);
    let search = Search { program, function, uses: &uses, declared };
    let mut found = Hazards::default();
    for &node in &nodes {
        search.attributes(node, cx, &mut found);
        search.constants(node, (facts, cx), &mut found)?;
        search.counts(node, &mut found);
        search.convergence(node, &mut found);
    }
    for &node in &nodes {
        search.positions(node, &mut found);
        search.angles(node, &mut found);
    }
    let ranges = Ranges::of((program, function), &found.masks, declared, facts)?;
    let body = &function.regions[function.body];
    for &arg in &body.args {
        search.reach(arg, &ranges, &mut found);
    }
    for &node in &nodes {
        search.range(node, &ranges, cx, &mut found);
    }
    lift::settle((program, function, &uses), facts, &mut found)?;
    Ok(found)
}

/// An angle is computed with at most this many ops.
const MAX_ANGLE_OPS: usize = 64;

/// Whether an op does arithmetic on single elements, or moves them, or multiplies small matrices.
fn is_simple(op: &Op) -> bool {
    let traits = op.spec().traits;
    traits.has(Trait::Elementwise)
        || traits.has(Trait::View)
        || matches!(
            op,
            Op::Matmul(_)
                | Op::Einsum(_)
                | Op::Concat(_)
                | Op::Stack(_)
                | Op::Tile(_)
                | Op::SliceByIndex(_)
                | Op::SliceBySize(_)
                | Op::Range1d(_)
                | Op::Cumsum(_)
        )
}

struct Search<'a> {
    program: &'a Program,
    function: &'a Function,
    uses: &'a Uses,
    declared: &'a Declared,
}

impl Search<'_> {
    fn op(&self, node: Node) -> &Op {
        &self.function.nodes[node].op
    }

    fn dtype(&self, value: Value) -> Option<DType> {
        self.function.ty(value).as_tensor().map(|ty| ty.dtype)
    }

    /// Keeps a loop that ends by what floats have come to: how often it runs hangs on their last digits.
    fn convergence(&self, node: Node, found: &mut Hazards) {
        let data = &self.function.nodes[node];
        let (Op::WhileLoop(_), [test, body]) = (&data.op, &data.regions[..]) else { return };
        let inside = |region: Region| {
            let (mut regions, mut nodes) = (vec![region], Vec::new());
            while let Some(region) = regions.pop() {
                for &node in &self.function.regions[region].nodes {
                    nodes.push(node);
                    regions.extend(&self.function.nodes[node].regions);
                }
            }
            nodes
        };
        let test = inside(*test);
        let compares = |&node: &Node| {
            let data = &self.function.nodes[node];
            let of_type = |all: &[Value], is: &dyn Fn(DType) -> bool| {
                all.iter().any(|&value| self.dtype(value).is_some_and(is))
            };
            of_type(&data.results, &|dtype| dtype == DType::Bool)
                && of_type(data.operands.all(), &is_wide)
        };
        // The condition may be a truth value that the body hands on.
        let handed = || {
            let mut work = self.function.regions[*body].results.clone();
            work.retain(|&value| self.dtype(value) == Some(DType::Bool));
            let mut seen: BTreeSet<Value> = work.iter().copied().collect();
            while let Some(value) = work.pop() {
                let Def::Result(maker, _) = self.function.values[value].def else { continue };
                if compares(&maker) {
                    return true;
                }
                let truths = self.function.nodes[maker].operands.all().iter().copied();
                work.extend(truths.filter(|&x| {
                    matches!(self.dtype(x), Some(DType::Bool | DType::I32)) && seen.insert(x)
                }));
            }
            false
        };
        if test.iter().any(compares) || handed() {
            found.kept.extend(test);
            found.kept.extend(inside(*body));
        }
    }

    /// Keeps ops with a float attribute that half precision cannot hold.
    fn attributes(&self, node: Node, cx: &mut PassCx, found: &mut Hazards) {
        let op = self.op(node);
        for (spec, value) in op.spec().attrs.iter().zip(op.attrs()) {
            let (AttrKind::Float | AttrKind::OptFloat, AttrValue::Float(x)) = (spec.kind, value)
            else {
                continue;
            };
            // A bound that no finite number reaches bounds nothing.
            let bound = matches!(op, Op::Clip(_) | Op::Threshold(_) | Op::ClampedRelu(_));
            if vanishes(x.0) && self.is_far(node) {
                found.raised.insert(node);
                cx.report(self.raised(node, x.0));
            } else if vanishes(x.0) {
                found.kept.insert(node);
                self.divisions(node, found);
            } else if overflows(x.0) && !bound {
                found.kept.insert(node);
            }
        }
    }

    /// Whether `node` guards so great values against zero that [`LEAST`] in place of its epsilon changes results
    /// by less than half precision rounds.
    fn is_far(&self, node: Node) -> bool {
        let data = &self.function.nodes[node];
        let Some(least) = data.results.first().and_then(|&y| self.least(y)) else { return false };
        // v + e is v·(1 + e / v).
        let is_guard = guarded(self.program, self.function, node).is_some();
        is_guard && least > 0.0 && LEAST / least <= 0.5 * f64::from(f16::EPSILON)
    }

    /// What is declared of a guard with that result, or with a result that it is moved to.
    fn least(&self, result: Value) -> Option<f64> {
        let views = self.uses.users(result).iter().filter_map(|&user| {
            let data = &self.function.nodes[user];
            data.op.spec().traits.has(Trait::View).then(|| data.results.first().copied())?
        });
        let mut values = std::iter::once(result).chain(views);
        values.find_map(|value| {
            let name = self.function.values[value].name.as_deref()?;
            self.declared.least.get(name).copied()
        })
    }

    fn raised(&self, node: Node, epsilon: f64) -> Diagnostic {
        let op = self.op(node).spec().name;
        let message =
            format!("the epsilon {epsilon:e} of `{op}` is below the least number of fp16");
        let mut note = Diagnostic::new(codes::FP16_RANGE, message)
            .at_op(self.program.loc(self.function.nodes[node].loc))
            .note(format!("it becomes {LEAST:.1e}: what it guards was seen to be far greater"));
        note.severity = Severity::Note;
        note
    }

    fn constants(
        &self,
        node: Node,
        (facts, cx): (&mut FactBook, &mut PassCx),
        found: &mut Hazards,
    ) -> Result<()> {
        let data = &self.function.nodes[node];
        if matches!(data.op, Op::Cast(_) | Op::Identity(_)) || !data.regions.is_empty() {
            return Ok(());
        }
        for &operand in data.operands.all() {
            let Some(tensor) = self.program.constant_of(self.function, operand) else { continue };
            if !is_wide(tensor.dtype()) {
                continue;
            }
            let fact = facts.of(tensor)?;
            if fact.vanishes && fact.extreme > 0.0 && self.is_far(node) {
                found.raised.insert(node);
                cx.report(self.raised(node, fact.extreme));
            } else if fact.vanishes {
                found.kept.insert(node);
                self.divisions(node, found);
            }
            // What is scaled by such a constant is as coarse; a sum or a bound hardly feels it.
            let added: &[usize] = match data.op {
                Op::Linear(_) | Op::Conv(_) | Op::ConvTranspose(_) => &[2],
                Op::LayerNorm(_) | Op::InstanceNorm(_) => &[2],
                Op::BatchNorm(_) => &[1, 4],
                _ => &[],
            };
            let only_added = added.iter().any(|&slot| data.operands.slot(slot) == [operand]);
            let scales = matches!(
                data.op,
                Op::Mul(_)
                    | Op::RealDiv(_)
                    | Op::Pow(_)
                    | Op::Linear(_)
                    | Op::Matmul(_)
                    | Op::Einsum(_)
                    | Op::Conv(_)
                    | Op::ConvTranspose(_)
                    | Op::BatchNorm(_)
                    | Op::LayerNorm(_)
                    | Op::InstanceNorm(_)
            );
            if fact.coarse && scales && !only_added {
                match lift::of(data, operand, fact.extreme) {
                    Some(lift) => drop(found.lifted.insert(node, lift)),
                    None => drop(found.kept.insert(node)),
                }
            }
            if overflows(fact.extreme) {
                let bound = self.mask_bound(node, operand);
                match bound {
                    Some(bound) => drop(found.masks.insert((node, operand), bound)),
                    None => drop(found.kept.insert(node)),
                }
                cx.report(self.overflow(node, fact.extreme, bound));
            }
        }
        Ok(())
    }

    fn overflow(&self, node: Node, extreme: f64, bound: Option<f64>) -> Diagnostic {
        let op = self.op(node).spec().name;
        let message =
            format!("a constant of `{op}` reaches {extreme:e}, beyond the ±65504 of fp16");
        let note = match bound {
            Some(bound) => format!("it acts as a mask and is clamped to ±{bound}"),
            None => format!("`{op}` stays in fp32"),
        };
        let mut diagnostic = Diagnostic::new(codes::FP16_OVERFLOW_CONST, message)
            .at_op(self.program.loc(self.function.nodes[node].loc))
            .note(note);
        if bound.is_some() {
            diagnostic.severity = Severity::Note;
        }
        diagnostic
    }

    /// What a constant may be clamped to because only "very small" or "very large" is meant: where it
    /// reaches nothing but softmaxes, or is a branch of a `select` that is computed on.
    fn mask_bound(&self, node: Node, constant: Value) -> Option<f64> {
        let data = &self.function.nodes[node];
        let yielded = data.results.iter().any(|&result| self.uses.yields(result) > 0);
        let branch = matches!(data.op, Op::Select(_)) && !yielded;
        if self.reaches_softmax_alone(node, constant) { Some(MASK) } else { branch.then_some(MAX) }
    }

    fn reaches_softmax_alone(&self, node: Node, constant: Value) -> bool {
        let mut seen = BTreeSet::from([node]);
        let mut work = vec![(node, constant)];
        let mut ends = 0;
        while let Some((node, from)) = work.pop() {
            let data = &self.function.nodes[node];
            let is_mask = match &data.op {
                Op::Softmax(_) => true,
                Op::ScaledDotProductAttention(_) => data.operands.slot(3).contains(&from),
                _ => false,
            };
            if is_mask {
                ends += 1;
                continue;
            }
            let passes_on = matches!(
                data.op,
                Op::Add(_)
                    | Op::Sub(_)
                    | Op::Mul(_)
                    | Op::Select(_)
                    | Op::Maximum(_)
                    | Op::Minimum(_)
                    | Op::Fill(_)
                    | Op::FillLike(_)
                    | Op::Tile(_)
                    | Op::Concat(_)
                    | Op::SliceByIndex(_)
                    | Op::SliceBySize(_)
                    | Op::Cast(_)
            ) || data.op.spec().traits.has(Trait::View);
            let yielded = data.results.iter().any(|&r| self.uses.yields(r) > 0);
            if !passes_on || yielded || seen.len() > 256 {
                return false;
            }
            for &result in &data.results {
                for &user in self.uses.users(result) {
                    if seen.insert(user) {
                        work.push((user, result));
                    }
                }
            }
        }
        ends > 0
    }

    /// Keeps the divisions, logarithms and roots that a guard against zero at `node` is made for.
    fn divisions(&self, node: Node, found: &mut Hazards) {
        let guard = matches!(
            self.op(node),
            Op::Add(_) | Op::Sub(_) | Op::Maximum(_) | Op::Clip(_) | Op::Threshold(_)
        );
        // Each entry is an op that passes the guarded value on, and the ops that moved it until then:
        // they must not narrow it on its way either.
        let mut work = if guard { vec![(node, Vec::new())] } else { Vec::new() };
        let mut seen = BTreeSet::from([node]);
        while let Some((node, way)) = work.pop() {
            for &result in &self.function.nodes[node].results {
                for &user in self.uses.users(result) {
                    let data = &self.function.nodes[user];
                    let moves = data.op.spec().traits.has(Trait::View)
                        || matches!(data.op, Op::Tile(_) | Op::SliceByIndex(_) | Op::Concat(_));
                    let (keep, goes_on) = match &data.op {
                        Op::RealDiv(_) => (data.operands.slot(1).contains(&result), false),
                        Op::Rsqrt(_) | Op::Inverse(_) | Op::Log(_) => (true, false),
                        Op::Sqrt(_) | Op::Pow(_) => (true, true),
                        _ => (false, moves),
                    };
                    if keep {
                        found.kept.extend(&way);
                        found.kept.insert(user);
                    }
                    if goes_on && seen.insert(user) {
                        let mut way = way.clone();
                        if moves {
                            way.push(user);
                        }
                        work.push((user, way));
                    }
                }
            }
        }
    }

    /// Keeps what uses integers as floats, unless inference knows that half precision has them all.
    fn counts(&self, node: Node, found: &mut Hazards) {
        let data = &self.function.nodes[node];
        let (Op::Cast(op), [x]) = (&data.op, data.operands.all()) else { return };
        let small = |dims: &Vec<mlc_ir::Dim>| {
            dims.iter().all(|d| d.as_const().is_some_and(|n| (-EXACT..=EXACT).contains(&n)))
        };
        let from_int = self.dtype(*x).is_some_and(DType::is_int);
        if is_wide(op.dtype)
            && from_int
            && !self.function.values[*x].content.as_ref().is_some_and(small)
        {
            for &result in &data.results {
                found.kept.extend(self.uses.users(result));
            }
        }
    }

    /// Keeps an op whose results leave half precision, and what uses them.
    fn range(&self, node: Node, ranges: &Ranges, cx: &mut PassCx, found: &mut Hazards) {
        let data = &self.function.nodes[node];
        if matches!(data.op, Op::Const(_) | Op::Cast(_) | Op::Identity(_)) {
            return;
        }
        // The statistics of a norm square what they are given.
        let squares = matches!(data.op, Op::LayerNorm(_) | Op::InstanceNorm(_) | Op::L2Norm(_));
        let operand = data.operands.all().first().and_then(|&x| ranges.get(x));
        if let Some(range) =
            operand.filter(|range| squares && range.tight && range.reach() > SQUARE)
            && found.kept.insert(node)
        {
            cx.report(self.outside(node, "an operand", range));
        }
        let masks = data.operands.all().iter().any(|&x| found.masks.contains_key(&(node, x)));
        for &result in &data.results {
            let Some(range) = ranges.get(result).filter(|_| self.is_wide(result)) else { continue };
            if leaves(range).is_none() || masks || self.is_mask(node, data) {
                continue;
            }
            if found.kept.insert(node) {
                cx.report(self.outside(node, "a result", range));
            }
            self.reach(result, ranges, found);
        }
    }

    fn is_mask(&self, node: Node, data: &NodeData) -> bool {
        data.operands.all().first().is_some_and(|&x| self.reaches_softmax_alone(node, x))
    }

    fn is_wide(&self, value: Value) -> bool {
        self.dtype(value).is_some_and(is_wide)
    }

    /// Keeps what uses a value that leaves half precision.
    fn reach(&self, value: Value, ranges: &Ranges, found: &mut Hazards) {
        let leaving = self.is_wide(value) && ranges.get(value).and_then(leaves).is_some();
        if leaving {
            let users = self.uses.users(value).iter().copied();
            found.kept.extend(
                users.filter(|&user| !matches!(self.op(user), Op::Cast(_) | Op::Identity(_))),
            );
        }
    }

    fn outside(&self, node: Node, what: &str, range: Interval) -> Diagnostic {
        let op = self.op(node).spec().name;
        let reach = range.reach();
        let why = if reach > MAX {
            "beyond the ±65504 of fp16".to_owned()
        } else if reach > SQUARE {
            format!("and its square beyond the ±{MAX} of fp16")
        } else {
            "all below the least number of fp16".to_owned()
        };
        let message = format!("{what} of `{op}` reaches {reach:e}, {why}");
        Diagnostic::new(codes::FP16_RANGE, message)
            .at_op(self.program.loc(self.function.nodes[node].loc))
            .note(format!("it lies in {:e}..{:e}; `{op}` stays in fp32", range.lo, range.hi))
    }

    /// Keeps what positions are computed with: floats that become integers, and coordinates that are
    /// sampled at.
    fn positions(&self, node: Node, found: &mut Hazards) {
        let data = &self.function.nodes[node];
        let mut work: Vec<Value> = match &data.op {
            Op::Cast(op) if op.dtype.is_int() => data.operands.all().to_vec(),
            Op::Resample(_) | Op::CropResize(_) => data.operands.slot(1).to_vec(),
            Op::Affine(_) => {
                found.kept.insert(node);
                data.operands.slot(1).to_vec()
            }
            _ => return,
        };
        while let Some(value) = work.pop() {
            let Def::Result(maker, _) = self.function.values[value].def else { continue };
            if !self.dtype(value).is_some_and(is_wide) {
                continue;
            }
            let maker_data = &self.function.nodes[maker];
            let simple = is_simple(&maker_data.op) && !matches!(maker_data.op, Op::Const(_));
            if simple && found.kept.insert(maker) {
                work.extend(maker_data.operands.all());
            }
        }
        debug_assert!(found.kept.iter().all(|n| n.index() < self.function.nodes.len()));
    }

    /// Keeps sines and cosines of what is made from inputs and constants alone, such as the time of a
    /// diffusion step: such an angle may be of any size, and half precision has no fractions from 2048
    /// on.
    fn angles(&self, node: Node, found: &mut Hazards) {
        let data = &self.function.nodes[node];
        if !matches!(data.op, Op::Sin(_) | Op::Cos(_) | Op::Tan(_)) {
            return;
        }
        let mut makers = BTreeSet::from([node]);
        let mut work = data.operands.all().to_vec();
        while let Some(value) = work.pop() {
            let Def::Result(maker, _) = self.function.values[value].def else { continue };
            if !self.dtype(value).is_some_and(is_wide) {
                continue;
            }
            let maker_data = &self.function.nodes[maker];
            if matches!(maker_data.op, Op::Const(_)) {
                continue;
            }
            if !is_simple(&maker_data.op) || makers.len() > MAX_ANGLE_OPS {
                return;
            }
            if makers.insert(maker) {
                work.extend(maker_data.operands.all());
            }
        }
        found.kept.extend(makers);
    }
}
