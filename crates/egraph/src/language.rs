//! What an e-node is: a payload of the IR with classes for operands.

use std::sync::Arc;

use egg::{Id, Language};
use mlc_ir::{Op, Value};
use smallvec::SmallVec;

/// An op without its operands: the payload, and where each operand slot ends.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Head {
    pub(crate) op: Op,
    pub(crate) ends: SmallVec<[u32; 4]>,
}

/// An e-node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ENode {
    /// A value of the function that is made outside.
    Leaf(Value),
    /// An op; of one with several results, all of them together.
    Op(Arc<Head>, SmallVec<[Id; 3]>),
    /// One of several results.
    Result(u32, [Id; 1]),
}

impl Language for ENode {
    type Discriminant = (u8, &'static str);

    fn discriminant(&self) -> Self::Discriminant {
        match self {
            Self::Leaf(_) => (0, ""),
            Self::Op(head, _) => (1, head.op.spec().name),
            Self::Result(..) => (2, ""),
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => a == b,
            (Self::Op(a, x), Self::Op(b, y)) => a == b && x.len() == y.len(),
            (Self::Result(a, _), Self::Result(b, _)) => a == b,
            _ => false,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Self::Leaf(_) => &[],
            Self::Op(_, operands) => operands,
            Self::Result(_, tuple) => tuple,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Self::Leaf(_) => &mut [],
            Self::Op(_, operands) => operands,
            Self::Result(_, tuple) => tuple,
        }
    }
}

/// The classes of slot `slot` of an op.
pub(crate) fn slot<'n>(head: &Head, operands: &'n [Id], slot: usize) -> &'n [Id] {
    let Some(&end) = head.ends.get(slot) else { return &[] };
    let start = slot.checked_sub(1).and_then(|before| head.ends.get(before)).copied().unwrap_or(0);
    operands.get(start as usize..end as usize).unwrap_or(&[])
}
