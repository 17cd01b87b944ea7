//! What a rule sees: an op, the classes of its operands, and the ops in them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Deref;

use egg::Id;
use mlc_ir::{Dim, Op, Payload, Symbols, TensorType, Type};
use mlc_tensor::{DType, Tensor};

use crate::build::Build;
use crate::graph::Graph;
use crate::language::{self, ENode, Head};

/// Most ops of a class that a rule is shown.
const MOST_FOUND: usize = 6;

/// Most users of a class that a rule is shown.
const MOST_USERS: usize = 16;

/// An op that a rule is tried on.
pub struct Match<'m> {
    pub(crate) graph: &'m Graph,
    /// The class of the result.
    pub(crate) root: Id,
    pub(crate) head: &'m Head,
    pub(crate) operands: &'m [Id],
    pub(crate) index: usize,
    /// Classes that were looked at.
    pub(crate) seen: RefCell<Vec<Id>>,
    /// Kinds of ops that were asked for and are not in the graph.
    pub(crate) missed: RefCell<Vec<&'static str>>,
}

impl<'m> Match<'m> {
    /// The op, if it is a `P`.
    #[must_use]
    pub fn op<P: Payload>(&'m self) -> Option<Found<'m, P>> {
        let payload = P::of(&self.head.op)?;
        Some(Found { m: self, payload, head: self.head, operands: self.operands, class: self.root })
    }

    /// The op, whatever it is.
    #[must_use]
    pub fn any(&'m self) -> Found<'m, Op> {
        let payload = &self.head.op;
        Found { m: self, payload, head: self.head, operands: self.operands, class: self.root }
    }

    /// The class of the result that is to be replaced.
    #[must_use]
    pub fn root(&'m self) -> Class<'m> {
        Class { m: self, id: self.root }
    }

    /// Which of several results is to be replaced.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The operand of slot `slot`, which takes one.
    #[must_use]
    pub fn operand(&'m self, slot: usize) -> Class<'m> {
        self.any().operand(slot)
    }

    /// The operands of slot `slot`.
    #[must_use]
    pub fn operands(&'m self, slot: usize) -> Vec<Class<'m>> {
        self.any().operands(slot)
    }

    /// The tensor type of the result.
    #[must_use]
    pub fn ty(&self) -> Option<&'m TensorType> {
        self.graph.result(self.root)?.0.as_tensor()
    }

    /// Ranges of symbols.
    #[must_use]
    pub fn symbols(&self) -> &'m Symbols {
        &self.graph.scratch.symbols
    }

    /// Whether the asked version of Core ML has an op of that name.
    #[must_use]
    pub fn has_op(&self, name: &str) -> bool {
        self.graph.has_op(name)
    }

    /// Whether the graph has an op of kind `P`. A rule that would go far to look for one asks this first; it
    /// is tried again once there is one.
    #[must_use]
    pub fn has<P: Payload>(&self) -> bool {
        let name = P::SPEC.name;
        let is_there = self.graph.has_kind(name);
        if !is_there {
            self.missed.borrow_mut().push(name);
        }
        is_there
    }

    /// A new op. Operands go to its slots in order: one to a slot that takes one or may have one, the
    /// rest to a slot that takes many.
    pub fn build<const N: usize>(&self, op: impl Into<Op>, operands: [Build; N]) -> Build {
        Build::op(op.into(), operands.into())
    }

    /// A new constant.
    #[must_use]
    pub fn constant(&self, tensor: Tensor) -> Build {
        Build::constant(tensor)
    }

    /// A new scalar of the element type of the result.
    #[must_use]
    pub fn number(&self, x: f64) -> Option<Build> {
        Tensor::from_f64s(self.ty()?.dtype, &[], &[x]).ok().map(Build::constant)
    }

    /// A new vector of i32.
    #[must_use]
    pub fn ints(&self, numbers: &[i64]) -> Option<Build> {
        if numbers.iter().any(|&n| i32::try_from(n).is_err()) {
            return None;
        }
        let tensor = Tensor::from_i64s(DType::I32, &[numbers.len() as u64], numbers);
        tensor.ok().map(Build::constant)
    }

    fn look(&self, id: Id) {
        self.seen.borrow_mut().push(id);
    }
}

/// An op with payload `P` in a class.
pub struct Found<'m, P> {
    m: &'m Match<'m>,
    payload: &'m P,
    head: &'m Head,
    operands: &'m [Id],
    class: Id,
}

impl<P> Clone for Found<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Found<'_, P> {}

impl<P> Deref for Found<'_, P> {
    type Target = P;

    fn deref(&self) -> &P {
        self.payload
    }
}

impl<'m, P> Found<'m, P> {
    /// The payload, for as long as the match lives.
    #[must_use]
    pub fn payload(&self) -> &'m P {
        self.payload
    }

    /// The class it is in; of an op with several results, that of all of them.
    #[must_use]
    pub fn class(&self) -> Class<'m> {
        Class { m: self.m, id: self.class }
    }

    /// The operand of slot `slot`, which takes one.
    #[must_use]
    pub fn operand(&self, slot: usize) -> Class<'m> {
        let given = language::slot(self.head, self.operands, slot);
        debug_assert!(!given.is_empty(), "slot {slot} of {:?} is empty", self.head.op);
        Class { m: self.m, id: given.first().copied().unwrap_or(self.class) }
    }

    /// The operand of an optional slot.
    #[must_use]
    pub fn opt(&self, slot: usize) -> Option<Class<'m>> {
        let given = language::slot(self.head, self.operands, slot).first();
        given.map(|&id| Class { m: self.m, id })
    }

    /// The operands of slot `slot`, to build with; none for one that is left out.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Vec<Build> {
        self.operands(slot).into_iter().map(Build::from).collect()
    }

    /// The operands of slot `slot`.
    #[must_use]
    pub fn operands(&self, slot: usize) -> Vec<Class<'m>> {
        let given = language::slot(self.head, self.operands, slot).iter();
        given.map(|&id| Class { m: self.m, id }).collect()
    }

    /// The first two operands in both orders.
    #[must_use]
    pub fn pairs(&self) -> [(Class<'m>, Class<'m>); 2] {
        let (x, y) = (self.operand(0), self.operand(1));
        [(x, y), (y, x)]
    }

    /// The operand beside one that is a constant of equal elements, and the number that they are; for
    /// ops whose operands may be swapped.
    #[must_use]
    pub fn with_scalar(&self) -> Option<(Class<'m>, f64)> {
        self.pairs().into_iter().find_map(|(x, c)| Some((x, c.scalar()?)))
    }

    /// The operand beside one that is a constant, and that one; for ops whose operands may be swapped.
    #[must_use]
    pub fn with_constant(&self) -> Option<(Class<'m>, Class<'m>)> {
        self.pairs().into_iter().find(|(_, c)| c.constant().is_some())
    }
}

/// A value, as all the ways to compute it.
#[derive(Clone, Copy)]
pub struct Class<'m> {
    m: &'m Match<'m>,
    pub(crate) id: Id,
}

impl PartialEq for Class<'_> {
    /// Whether the two are known to be equal.
    fn eq(&self, other: &Self) -> bool {
        self.m.graph.find(self.id) == self.m.graph.find(other.id)
    }
}

impl Eq for Class<'_> {}

impl std::fmt::Debug for Class<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {:?}", self.id, self.m.graph.egraph[self.id].nodes)
    }
}

impl<'m> Class<'m> {
    fn nodes(&self) -> impl Iterator<Item = (&'m Head, &'m [Id])> + use<'m> {
        self.m.look(self.id);
        self.m.graph.egraph[self.id].nodes.iter().filter_map(|node| match node {
            ENode::Op(head, operands) => Some((&**head, &operands[..])),
            _ => None,
        })
    }

    /// The first op of kind `P` that makes it.
    #[must_use]
    pub fn find<P: Payload>(&self) -> Option<Found<'m, P>> {
        let (m, class) = (self.m, self.id);
        self.nodes().find_map(|(head, operands)| {
            Some(Found { m, payload: P::of(&head.op)?, head, operands, class })
        })
    }

    /// The ops of kind `P` that make it, at most a few.
    #[must_use]
    pub fn find_all<P: Payload>(&self) -> Vec<Found<'m, P>> {
        let (m, class) = (self.m, self.id);
        let found = self.nodes().filter_map(|(head, operands)| {
            Some(Found { m, payload: P::of(&head.op)?, head, operands, class })
        });
        found.take(MOST_FOUND).collect()
    }

    /// The ops that make it, at most a few.
    #[must_use]
    pub fn ops(&self) -> Vec<Found<'m, Op>> {
        let (m, class) = (self.m, self.id);
        let found = self.nodes();
        let found =
            found.map(|(head, operands)| Found { m, payload: &head.op, head, operands, class });
        found.take(MOST_FOUND).collect()
    }

    /// Which result of an op of kind `P` with several it is, and the op.
    #[must_use]
    pub fn result_of<P: Payload>(&self) -> Option<(usize, Found<'m, P>)> {
        self.m.look(self.id);
        self.m.graph.egraph[self.id].nodes.iter().find_map(|node| match node {
            ENode::Result(index, [tuple]) => {
                Some((*index as usize, Class { m: self.m, id: *tuple }.find::<P>()?))
            }
            _ => None,
        })
    }

    /// The ops of kind `P` that take it as an operand, at most a few, in an order that does not depend
    /// on which of them asks.
    #[must_use]
    pub fn users<P: Payload>(&self) -> Vec<Found<'m, P>> {
        let egraph = &self.m.graph.egraph;
        let own = self.m.graph.find(self.id);
        let classes: BTreeSet<Id> = egraph[own].parents().map(|id| egraph.find(id)).collect();
        let takes = |operands: &[Id]| operands.iter().any(|&id| egraph.find(id) == own);
        let found = classes.into_iter().filter_map(|class| {
            let class = Class { m: self.m, id: class };
            class.find_all::<P>().into_iter().find(|op| takes(op.operands))
        });
        found.take(MOST_USERS).collect()
    }

    /// The constant that it is.
    #[must_use]
    pub fn constant(&self) -> Option<&'m Tensor> {
        self.m.look(self.id);
        self.m.graph.data(self.id).constant.as_ref()
    }

    /// The number that each of its elements is, where it is a constant of which that is cheap to see.
    #[must_use]
    pub fn scalar(&self) -> Option<f64> {
        self.constant()?;
        self.m.graph.data(self.id).uniform
    }

    /// Whether it is a constant of which every element is `x` up to a relative error of 1e-6; 0 must be
    /// exact.
    #[must_use]
    pub fn is(&self, x: f64) -> bool {
        self.scalar().is_some_and(|c| (c - x).abs() <= 1e-6 * x.abs())
    }

    /// Its type.
    #[must_use]
    pub fn any_ty(&self) -> Option<&'m Type> {
        self.m.graph.result(self.id).map(|result| &result.0)
    }

    /// Its type; every value that rules see is a tensor.
    #[must_use]
    pub fn ty(&self) -> Option<&'m TensorType> {
        self.any_ty()?.as_tensor()
    }

    /// Its element type.
    #[must_use]
    pub fn dtype(&self) -> Option<DType> {
        self.ty().map(|ty| ty.dtype)
    }

    /// Its extents; none where it is no tensor.
    #[must_use]
    pub fn shape(&self) -> &'m [Dim] {
        self.ty().map_or(&[], |ty| &ty.shape)
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Its extents as numbers, if all are.
    #[must_use]
    pub fn static_shape(&self) -> Option<Vec<u64>> {
        self.ty()?.static_shape()
    }

    /// The elements of a small integer vector or scalar, where inference knows them.
    #[must_use]
    pub fn content(&self) -> Option<&'m [Dim]> {
        self.m.graph.result(self.id)?.1.as_deref()
    }

    /// The same as numbers; also of a constant.
    #[must_use]
    pub fn ints(&self) -> Option<Vec<i64>> {
        match self.content() {
            Some(content) => content.iter().map(Dim::as_const).collect(),
            None => {
                let tensor = self.constant().filter(|t| t.dtype().is_int() && t.count() <= 64)?;
                tensor.to_i64s().ok()
            }
        }
    }
}

impl From<Class<'_>> for Build {
    fn from(class: Class<'_>) -> Self {
        Self::class(class.id)
    }
}
