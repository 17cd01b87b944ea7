//! Programs, functions, regions, ops and values.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlc_diag::Loc;
use mlc_tensor::Tensor;
use smallvec::SmallVec;

use crate::consts::ConstPool;
use crate::dim::{Dim, Symbols};
use crate::entity::{Arena, entity};
use crate::ops::Op;
use crate::types::Type;

entity! {
    /// A value of a function: a result of an op or an argument of a region.
    Value, "v"
}
entity! {
    /// An op of a function.
    Node, "n"
}
entity! {
    /// A region of a function.
    Region, "r"
}
entity! {
    /// An interned source location of a program.
    LocId, "l"
}
entity! {
    /// A function of a program.
    FuncId, "f"
}

/// The operands of an op: a flat list cut into the slots of its entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operands {
    values: SmallVec<[Value; 4]>,
    ends: SmallVec<[u32; 4]>,
}

impl Operands {
    /// No slots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a slot.
    pub fn push_slot(&mut self, values: impl IntoIterator<Item = Value>) {
        self.values.extend(values);
        self.ends.push(self.values.len() as u32);
    }

    /// The values of slot `index`.
    #[must_use]
    pub fn slot(&self, index: usize) -> &[Value] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.values[start as usize..end as usize]
    }

    /// Number of slots.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.ends.len()
    }

    /// All values, slot after slot.
    #[must_use]
    pub fn all(&self) -> &[Value] {
        &self.values
    }

    /// All values, to be replaced.
    pub fn all_mut(&mut self) -> &mut [Value] {
        &mut self.values
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Def {
    /// Result number … of an op.
    Result(Node, u32),
    /// Argument number … of a region.
    Arg(Region, u32),
}

/// What is known of a value.
#[derive(Debug, Clone)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// The elements of a small integer vector or scalar, where inference knows them.
    pub content: Option<Vec<Dim>>,
    /// A name that the source or the user gave.
    pub name: Option<Arc<str>>,
    /// Where it comes from.
    pub def: Def,
}

/// An op.
#[derive(Debug, Clone)]
pub struct NodeData {
    /// Kind and attributes.
    pub op: Op,
    /// Operands.
    pub operands: Operands,
    /// Results.
    pub results: SmallVec<[Value; 1]>,
    /// Nested regions.
    pub regions: SmallVec<[Region; 0]>,
    /// Origin.
    pub loc: LocId,
}

/// Arguments, ops in execution order, and results.
#[derive(Debug, Clone, Default)]
pub struct RegionData {
    /// Values that the region is entered with.
    pub args: Vec<Value>,
    /// Ops in execution order.
    pub nodes: Vec<Node>,
    /// Values that it yields.
    pub results: Vec<Value>,
}

/// What a parameter of a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParamKind {
    /// Given at each call.
    Input,
    /// Kept between calls.
    State,
}

/// A parameter of a function. The argument of the body at the same position holds its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The user's name.
    pub name: String,
    /// Input or state.
    pub kind: ParamKind,
    /// Extents to use where the type has symbols; one within every range.
    pub default_shape: Option<Vec<u64>>,
    /// The only shapes allowed, where the user enumerated them; the default is one of them.
    pub enumerated: Vec<Vec<u64>>,
}

impl Param {
    /// An input of that name.
    pub fn input(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ParamKind::Input, default_shape: None, enumerated: vec![] }
    }

    /// A state of that name.
    pub fn state(name: impl Into<String>) -> Self {
        Self { kind: ParamKind::State, ..Self::input(name) }
    }
}

/// A result of a function. The result of the body at the same position is its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The user's name.
    pub name: String,
}

/// A function: parameters, a body, named outputs.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name; `main` for a single one.
    pub name: String,
    /// Parameters, aligned with the arguments of the body.
    pub params: Vec<Param>,
    /// Outputs, aligned with the results of the body.
    pub outputs: Vec<Output>,
    /// The body.
    pub body: Region,
    /// All values.
    pub values: Arena<Value, ValueData>,
    /// All ops, unlinked ones included.
    pub nodes: Arena<Node, NodeData>,
    /// All regions.
    pub regions: Arena<Region, RegionData>,
}

impl Function {
    /// A function with an empty body.
    pub fn new(name: impl Into<String>) -> Self {
        let mut regions = Arena::new();
        let body = regions.push(RegionData::default());
        Self {
            name: name.into(),
            params: Vec::new(),
            outputs: Vec::new(),
            body,
            values: Arena::new(),
            nodes: Arena::new(),
            regions,
        }
    }

    /// Adds a parameter and the argument that stands for it.
    pub fn add_param(&mut self, param: Param, ty: impl Into<Type>) -> Value {
        let name: Arc<str> = param.name.as_str().into();
        self.params.push(param);
        let value = self.add_arg(self.body, ty);
        self.values[value].name = Some(name);
        value
    }

    /// Adds an argument to a region.
    pub fn add_arg(&mut self, region: Region, ty: impl Into<Type>) -> Value {
        let index = self.regions[region].args.len() as u32;
        let value = self.values.push(ValueData {
            ty: ty.into(),
            content: None,
            name: None,
            def: Def::Arg(region, index),
        });
        self.regions[region].args.push(value);
        value
    }

    /// Adds an output.
    pub fn add_output(&mut self, name: impl Into<String>, value: Value) {
        self.outputs.push(Output { name: name.into() });
        let body = self.body;
        self.regions[body].results.push(value);
    }

    /// The type of a value.
    #[must_use]
    pub fn ty(&self, value: Value) -> &Type {
        &self.values[value].ty
    }

    /// The op that makes a value, unless it is an argument.
    #[must_use]
    pub fn def(&self, value: Value) -> Option<(Node, &NodeData)> {
        match self.values[value].def {
            Def::Result(node, _) => Some((node, &self.nodes[node])),
            Def::Arg(..) => None,
        }
    }

    /// Calls `visit` on every linked op, each region's in execution order, an op before those in
    /// its regions.
    pub fn for_each_node(&self, visit: &mut dyn FnMut(Region, Node)) {
        let mut stack = vec![(self.body, 0)];
        while let Some((region, at)) = stack.pop() {
            if let Some(&node) = self.regions[region].nodes.get(at) {
                stack.push((region, at + 1));
                visit(region, node);
                for &nested in self.nodes[node].regions.iter().rev() {
                    stack.push((nested, 0));
                }
            }
        }
    }

    /// Number of linked ops that are not constants.
    #[must_use]
    pub fn op_count(&self) -> usize {
        let mut count = 0;
        self.for_each_node(&mut |_, node| {
            count += usize::from(!matches!(self.nodes[node].op, Op::Const(_)));
        });
        count
    }
}

/// A whole program.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Functions, in order of declaration.
    pub functions: Arena<FuncId, Function>,
    /// Symbols of extents.
    pub symbols: Symbols,
    /// Constants.
    pub consts: ConstPool,
    /// Free-form facts about the model, such as the version of the framework it came from.
    pub metadata: BTreeMap<String, String>,
    locs: Arena<LocId, Loc>,
    loc_ids: BTreeMap<Loc, LocId>,
}

impl Program {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of linked ops of all functions that are not constants.
    #[must_use]
    pub fn op_count(&self) -> usize {
        self.functions.iter().map(|(_, function)| function.op_count()).sum()
    }

    /// The id of a location, new or known.
    pub fn intern_loc(&mut self, loc: Loc) -> LocId {
        if let Some(&id) = self.loc_ids.get(&loc) {
            return id;
        }
        let id = self.locs.push(loc.clone());
        self.loc_ids.insert(loc, id);
        id
    }

    /// A location.
    #[must_use]
    pub fn loc(&self, id: LocId) -> &Loc {
        &self.locs[id]
    }

    /// The ids of all functions.
    pub fn func_ids(&self) -> impl Iterator<Item = FuncId> + use<> {
        self.functions.iter().map(|(id, _)| id).collect::<Vec<_>>().into_iter()
    }

    /// The function of that name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<FuncId> {
        self.functions.iter().find(|(_, f)| f.name == name).map(|(id, _)| id)
    }

    /// The tensor of a value that is a constant.
    #[must_use]
    pub fn constant_of(&self, function: &Function, value: Value) -> Option<&Tensor> {
        match function.def(value)? {
            (_, NodeData { op: Op::Const(payload), .. }) => self.consts.try_get(payload.value),
            _ => None,
        }
    }
}
