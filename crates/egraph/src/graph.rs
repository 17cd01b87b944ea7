//! The e-graph of a window of a function.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use egg::{Analysis, DidMerge, EGraph, Id};
use mlc_ir::infer::Inferred;
use mlc_ir::ops::Const;
use mlc_ir::{Builder, Dim, FuncId, Function, LocId, Op, Operands, Program, Trait, Type, Value};
use mlc_target::Opset;
use mlc_tensor::Tensor;
use smallvec::SmallVec;

use crate::constants;
use crate::language::{ENode, Head};

/// A result of an op: its type, and the contents of a small integer vector where they are known.
pub(crate) type Known = (Type, Option<Vec<Dim>>);
/// The results of an op.
pub(crate) type Results = Arc<[Known]>;

/// What is known of a class.
#[derive(Debug, Clone)]
pub(crate) struct ClassData {
    pub(crate) results: Results,
    /// Values of the scratch function that inference sees in place of the class.
    pub(crate) values: SmallVec<[Value; 1]>,
    /// The tensor of a class of one constant.
    pub(crate) constant: Option<Tensor>,
    /// The number that its elements are, where that is cheap to see.
    pub(crate) uniform: Option<f64>,
    /// Where the first op of the class comes from.
    pub(crate) loc: LocId,
    /// Classes whose matches looked at this one.
    pub(crate) watchers: BTreeSet<Id>,
}

/// Class data in the making, and what happened to classes.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pending: Option<ClassData>,
    /// Classes that got a node or were joined, and those that watch them.
    pub(crate) touched: Vec<Id>,
    /// Whether equal operands led to different types.
    pub(crate) conflict: bool,
}

impl Analysis<ENode> for Facts {
    type Data = ClassData;

    fn make(egraph: &mut EGraph<ENode, Self>, _: &ENode, _: Id) -> ClassData {
        egraph.analysis.pending.take().expect("nodes are added with what is known of them")
    }

    fn merge(&mut self, a: &mut ClassData, b: ClassData) -> DidMerge {
        let same_types = a.results.len() == b.results.len()
            && a.results.iter().zip(b.results.iter()).all(|(a, b)| a.0 == b.0);
        self.conflict |= !same_types;
        self.touched.extend(a.watchers.iter().chain(&b.watchers));
        a.watchers.extend(&b.watchers);
        let contents = |data: &ClassData| data.results.iter().filter(|r| r.1.is_some()).count();
        if a.constant.is_none() && b.constant.is_some() {
            (a.results, a.values) = (b.results, b.values);
            (a.constant, a.uniform) = (b.constant, b.uniform);
        } else if contents(a) < contents(&b) && a.constant.is_none() {
            (a.results, a.values) = (b.results, b.values);
        }
        // Neither side counts as changed: classes above are not computed again.
        DidMerge(false, false)
    }

    fn modify(egraph: &mut EGraph<ENode, Self>, id: Id) {
        egraph.analysis.touched.push(id);
    }
}

/// Why an op was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are as many nodes as there may be.
    Full,
    /// The operands do not fit, or a type is not known.
    Types,
    /// The target does not have the op.
    Target,
}

/// An e-graph, and a program without linked ops in which types are inferred.
pub(crate) struct Graph {
    pub(crate) egraph: EGraph<ENode, Facts>,
    /// Symbols and constants of the program, and a function that holds stand-ins.
    pub(crate) scratch: Program,
    func: FuncId,
    /// Most nodes.
    limit: usize,
    /// The version that has every op that rules may make.
    opset: Opset,
    /// The rule that made a node.
    pub(crate) made_by: BTreeMap<ENode, &'static str>,
    /// Names of the ops in the graph.
    kinds: BTreeSet<&'static str>,
    /// The rule whose result is added now.
    pub(crate) rule: Option<&'static str>,
    unknown: LocId,
}

impl Graph {
    /// An empty graph that takes symbols and constants of `program` until [`Graph::give_back`].
    pub(crate) fn new(program: &mut Program, limit: usize, opset: Opset) -> Self {
        let mut scratch = Program::new();
        let unknown = program.intern_loc(mlc_diag::Loc::unknown());
        std::mem::swap(&mut scratch.symbols, &mut program.symbols);
        std::mem::swap(&mut scratch.consts, &mut program.consts);
        let func = scratch.functions.push(Function::new("scratch"));
        Self {
            egraph: EGraph::new(Facts::default()),
            scratch,
            func,
            limit,
            opset,
            made_by: BTreeMap::new(),
            kinds: BTreeSet::new(),
            rule: None,
            unknown,
        }
    }

    /// Gives symbols and constants back.
    pub(crate) fn give_back(&mut self, program: &mut Program) {
        std::mem::swap(&mut self.scratch.symbols, &mut program.symbols);
        std::mem::swap(&mut self.scratch.consts, &mut program.consts);
    }

    /// The location of what comes from nowhere.
    pub(crate) fn unknown_loc(&self) -> LocId {
        self.unknown
    }

    /// Whether rules may make an op of that name.
    pub(crate) fn has_op(&self, name: &str) -> bool {
        mlc_target::signature(name, self.opset).is_some()
    }

    /// Whether there is an op of that name.
    pub(crate) fn has_kind(&self, name: &str) -> bool {
        self.kinds.contains(name)
    }

    pub(crate) fn find(&self, id: Id) -> Id {
        self.egraph.find(id)
    }

    pub(crate) fn data(&self, id: Id) -> &ClassData {
        &self.egraph[id].data
    }

    /// The only result of a class.
    pub(crate) fn result(&self, id: Id) -> Option<&Known> {
        match &self.data(id).results[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The class of a value that is made outside.
    pub(crate) fn leaf(&mut self, value: Value, known: Known, loc: LocId) -> Id {
        let function = &mut self.scratch.functions[self.func];
        let body = function.body;
        let stand_in = function.add_arg(body, known.0.clone());
        function.values[stand_in].content.clone_from(&known.1);
        let data = ClassData {
            results: Arc::from([known]),
            values: SmallVec::from_iter([stand_in]),
            constant: None,
            uniform: None,
            loc,
            watchers: BTreeSet::new(),
        };
        self.add(ENode::Leaf(value), data)
    }

    /// The class of a constant.
    ///
    /// # Errors
    /// The graph is full, or the shape cannot be an IR type.
    pub(crate) fn constant(&mut self, tensor: Tensor, loc: LocId) -> Result<Id, Refusal> {
        let value = self.scratch.consts.intern(tensor);
        self.insert(Op::Const(Const { value }), &[], None, loc)
    }

    /// The class of an op with these operands, its results inferred. Extents that inference does not
    /// know are those of `like`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn insert(
        &mut self,
        op: Op,
        slots: &[Vec<Id>],
        like: Option<&Results>,
        loc: LocId,
    ) -> Result<Id, Refusal> {
        let node = self.node(op, slots);
        if let Some(known) = self.egraph.lookup(node.clone()) {
            return Ok(self.find(known));
        }
        let ENode::Op(head, _) = &node else { return Err(Refusal::Types) };
        let is_const = matches!(head.op, Op::Const(_));
        if self.egraph.total_size() >= self.limit {
            return Err(Refusal::Full);
        }
        if !is_const && !self.has_op(head.op.spec().name) {
            return Err(Refusal::Target);
        }
        let operands = self.stand_ins(slots);
        let builder = self.builder();
        let mut inferred = builder.infer(&head.op, &operands, &[]).map_err(|_| Refusal::Types)?;
        if let Some(like) = like {
            inferred = with_known(inferred, like);
        }
        let mut is_known = true;
        for (ty, _) in &inferred.results {
            ty.for_each_dim(&mut |dim| is_known &= *dim != Dim::Unknown);
        }
        if !is_known {
            return Err(Refusal::Types);
        }
        let id = self.add_op(node, operands, inferred, loc);
        Ok(self.fold(id, slots, loc))
    }

    /// The class of an op of the program, whose results are `results`. `None` if the graph has the
    /// same op with other results.
    pub(crate) fn given(
        &mut self,
        op: Op,
        slots: &[Vec<Id>],
        results: Inferred,
        loc: LocId,
    ) -> Option<(Id, ENode)> {
        let node = self.node(op, slots);
        if let Some(known) = self.egraph.lookup(node.clone()) {
            let same = self.data(known).results.iter().map(|r| &r.0);
            return same.eq(results.results.iter().map(|r| &r.0)).then(|| (self.find(known), node));
        }
        let operands = self.stand_ins(slots);
        let id = self.add_op(node.clone(), operands, results, loc);
        Some((id, node))
    }

    /// One of several results.
    pub(crate) fn project(&mut self, tuple: Id, index: usize, loc: LocId) -> Result<Id, Refusal> {
        let data = self.data(tuple);
        let (Some(result), Some(&value)) = (data.results.get(index), data.values.get(index)) else {
            return Err(Refusal::Types);
        };
        let data = ClassData {
            results: Arc::from([result.clone()]),
            values: SmallVec::from_iter([value]),
            constant: None,
            uniform: None,
            loc,
            watchers: BTreeSet::new(),
        };
        Ok(self.add(ENode::Result(index as u32, [self.find(tuple)]), data))
    }

    /// Joins two classes, unless what is known of them differs. Says whether they are one now.
    pub(crate) fn union(&mut self, a: Id, b: Id) -> bool {
        if self.find(a) == self.find(b) {
            return true;
        }
        let (left, right) = (&self.data(a).results, &self.data(b).results);
        let same =
            |(a, b): (&Known, &Known)| a.0 == b.0 && (a.1.is_none() || b.1.is_none() || a.1 == b.1);
        if left.len() != right.len() || !left.iter().zip(right.iter()).all(same) {
            return false;
        }
        self.egraph.union(a, b);
        true
    }

    fn node(&self, op: Op, slots: &[Vec<Id>]) -> ENode {
        let mut ends = SmallVec::new();
        let mut operands = SmallVec::new();
        for slot in slots {
            operands.extend(slot.iter().map(|&id| self.find(id)));
            ends.push(operands.len() as u32);
        }
        ENode::Op(Arc::new(Head { op, ends }), operands)
    }

    fn stand_ins(&self, slots: &[Vec<Id>]) -> Operands {
        let mut operands = Operands::new();
        for slot in slots {
            operands.push_slot(slot.iter().map(|&id| self.data(id).values[0]));
        }
        operands
    }

    fn builder(&mut self) -> Builder<'_> {
        Builder::new(&mut self.scratch, self.func)
    }

    fn add_op(&mut self, node: ENode, operands: Operands, results: Inferred, loc: LocId) -> Id {
        let ENode::Op(head, _) = &node else { return Id::from(0) };
        let op = head.op.clone();
        self.kinds.insert(op.spec().name);
        let constant = match &op {
            Op::Const(payload) => self.scratch.consts.try_get(payload.value).cloned(),
            _ => None,
        };
        let known: Results = results.results.iter().cloned().collect();
        let mut builder = self.builder();
        let made = builder.append(op, operands, Vec::new(), results);
        let values = SmallVec::from_slice(builder.results(made));
        let uniform = constant.as_ref().and_then(constants::uniform);
        let watchers = BTreeSet::new();
        let data = ClassData { results: known, values, constant, uniform, loc, watchers };
        if let Some(rule) = self.rule {
            self.made_by.insert(node.clone(), rule);
        }
        self.add(node, data)
    }

    fn add(&mut self, node: ENode, data: ClassData) -> Id {
        if let Some(known) = self.egraph.lookup(node.clone()) {
            return self.find(known);
        }
        self.egraph.analysis.pending = Some(data);
        self.egraph.add(node)
    }

    /// Joins a new class with the constant that it is equal to, if that costs little.
    fn fold(&mut self, id: Id, slots: &[Vec<Id>], loc: LocId) -> Id {
        let Some(tensor) = self.folded(id, slots) else { return id };
        let Ok(constant) = self.constant(tensor, loc) else { return id };
        self.union(id, constant);
        self.find(id)
    }

    fn folded(&self, id: Id, slots: &[Vec<Id>]) -> Option<Tensor> {
        let [ENode::Op(head, _)] = &self.egraph[id].nodes[..] else { return None };
        let traits = head.op.spec().traits;
        if matches!(head.op, Op::Const(_)) || traits.has(Trait::Constexpr) {
            return None;
        }
        let result = self.result(id)?;
        if let Some(known) = constants::of_content(result) {
            return Some(known);
        }
        let mut given: Vec<Vec<Tensor>> = Vec::new();
        for slot in slots {
            let tensors = slot.iter().map(|&id| self.data(id).constant.clone());
            given.push(tensors.collect::<Option<_>>()?);
        }
        constants::fold(&head.op, &given, &result.0)
    }
}

/// The inferred results, with the extents of `like` where inference does not know them.
fn with_known(mut inferred: Inferred, like: &Results) -> Inferred {
    if inferred.results.len() != like.len() {
        return inferred;
    }
    for ((ty, _), (known, _)) in inferred.results.iter_mut().zip(like.iter()) {
        let mut dims = Vec::new();
        known.for_each_dim(&mut |dim| dims.push(dim.clone()));
        let mut dims = dims.into_iter();
        *ty = ty.map_dims(&mut |dim| match (dim, dims.next()) {
            (Dim::Unknown, Some(known)) => known,
            _ => dim.clone(),
        });
    }
    inferred
}
