//! What a rule gives: the ops that compute the same.

use std::rc::Rc;

use egg::Id;
use mlc_ir::{Arity, LocId, Op};
use mlc_tensor::Tensor;

use crate::graph::{Graph, Refusal, Results};

/// A value in terms of new ops, new constants and values that exist.
#[derive(Debug, Clone)]
pub struct Build(Rc<Expr>);

#[derive(Debug)]
enum Expr {
    Class(Id),
    Constant(Tensor),
    Op { op: Op, slots: Vec<Vec<Build>> },
    Result(Build, usize),
}

impl Build {
    pub(crate) fn class(id: Id) -> Self {
        Self(Rc::new(Expr::Class(id)))
    }

    pub(crate) fn constant(tensor: Tensor) -> Self {
        Self(Rc::new(Expr::Constant(tensor)))
    }

    /// A new op with operands in the order of its slots.
    pub(crate) fn op(op: Op, operands: Vec<Self>) -> Self {
        let mut left = operands.into_iter();
        let mut slots = Vec::new();
        for slot in op.spec().operands {
            slots.push(match slot.arity {
                Arity::One | Arity::Opt => left.by_ref().take(1).collect(),
                Arity::Many => left.by_ref().collect(),
            });
        }
        Self::with_slots(op, slots)
    }

    /// A new op with any number of operands, which go to its slots as [`crate::Match::build`] says.
    pub fn of(op: impl Into<Op>, operands: Vec<Self>) -> Self {
        Self::op(op.into(), operands)
    }

    /// A new op with operands slot by slot; an optional slot may be empty.
    pub fn with_slots(op: impl Into<Op>, slots: Vec<Vec<Self>>) -> Self {
        Self(Rc::new(Expr::Op { op: op.into(), slots }))
    }

    /// One of several results of a new op.
    #[must_use]
    pub fn result(&self, index: usize) -> Self {
        Self(Rc::new(Expr::Result(self.clone(), index)))
    }

    /// Adds it to the graph, with `like` for extents of its last op that inference does not know.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn add_to(
        &self,
        graph: &mut Graph,
        like: Option<&Results>,
        loc: LocId,
    ) -> Result<Id, Refusal> {
        match &*self.0 {
            Expr::Class(id) => Ok(graph.find(*id)),
            Expr::Constant(tensor) => graph.constant(tensor.clone(), loc),
            Expr::Result(tuple, index) => {
                let tuple = tuple.add_to(graph, None, loc)?;
                graph.project(tuple, *index, loc)
            }
            Expr::Op { op, slots } => {
                let mut operands = Vec::with_capacity(slots.len());
                for slot in slots {
                    let ids = slot.iter().map(|operand| operand.add_to(graph, None, loc));
                    operands.push(ids.collect::<Result<Vec<_>, _>>()?);
                }
                graph.insert(op.clone(), &operands, like, loc)
            }
        }
    }
}
