//! The typed SSA IR that frontends lower to, passes rewrite and the backend emits.
//!
//! Words: a [`Program`] holds functions; a [`Function`] has a body [`Region`]; a region has
//! arguments, a list of ops ([`Node`]) in execution order, and results. An op is a payload ([`Op`]:
//! kind and attributes), operands, results and nested regions. Ops carry MIL's names and meaning;
//! element types are those of the source until legalization.
//!
//! **Invariant:** a payload says everything about an op but its operands: two nodes with equal
//! payload, operands and no effects compute the same.
//! **Invariant:** nested regions may use values of the regions around them; values are defined
//! before they are used.
//! **Invariant:** this crate never reads a file and never computes with tensor elements beyond the
//! small integer vectors that shape inference needs.

pub mod attr;
pub mod builder;
mod consts;
mod dim;
mod entity;
mod glob;
pub mod infer;
pub mod ops;
mod program;
pub mod request;
mod rewrite;
mod spec;
mod types;
mod verify;

pub use attr::{AttrKind, AttrValue, F64};
pub use builder::Builder;
pub use consts::{ConstId, ConstPool};
pub use dim::{Algebra, Dim, DimOp, SymbolRange, Symbols};
pub use entity::{Arena, EntityId};
pub use glob::glob_matches;
pub use infer::{InferCx, Inferred, OpError, OpResult};
pub use ops::Op;
pub use program::{
    Def, FuncId, Function, LocId, Node, NodeData, Operands, Output, Param, ParamKind, Program,
    Region, RegionData, Value, ValueData,
};
pub use request::{AxisRequest, Declared, InputRequest, Specialisation};
pub use rewrite::{Action, Rewriter, Uses, remove_unused};
pub use spec::{Arity, AttrSpec, OpSpec, OperandSpec, Payload, ResultCount, Trait, Traits};
pub use types::{TensorType, Type};
pub use verify::{verify, verify_node};
