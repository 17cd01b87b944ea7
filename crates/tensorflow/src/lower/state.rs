//! Variables: constants, or states where the model assigns to them.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::ops::{Add, Const, Gather, GatherNd, ReadState, Sub, WriteState};
use mlc_ir::{Dim, InputRequest, Param, TensorType, Type, Value};
use mlc_tensor::Tensor;

use super::Cx;
use super::call::Call;
use super::error::{LowerError, LowerResult};
use super::value::Val;
use crate::report;
use crate::variables::name_of;

/// What becomes of variables that the model assigns to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StateMode {
    /// They become states.
    #[default]
    States,
    /// There are no states: a variable is an input, and its new value is one more output, called
    /// `<name>_out`, after those of the model.
    Io,
}

/// How programs are lowered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LowerOptions {
    /// What becomes of variables that the model assigns to.
    pub states: StateMode,
    /// What the user asks of inputs; element types are left to the caller.
    pub inputs: Vec<InputRequest>,
}

/// The values of variables at one point of the program.
#[derive(Debug, Clone, Default)]
pub(super) struct Current {
    values: BTreeMap<usize, Value>,
    /// States, and the value each holds at the start.
    kept: BTreeMap<usize, Kept>,
    /// Variables that are assigned to.
    pub(super) written: BTreeSet<usize>,
}

/// A variable that is kept between calls.
#[derive(Debug, Clone)]
struct Kept {
    name: String,
    /// `None` where it is an input.
    state: Option<Value>,
}

impl Current {
    /// The variables whose values differ from `before`.
    pub(super) fn changed(&self, before: &Self) -> Vec<usize> {
        let changed = |node: &&usize| {
            self.kept.contains_key(node) && self.values.get(node) != before.values.get(node)
        };
        self.values.keys().filter(changed).copied().collect()
    }

    /// The value of a variable that is kept.
    pub(super) fn value(&self, node: usize) -> Option<Value> {
        self.values.get(&node).copied()
    }

    /// Sets the value of a variable.
    pub(super) fn set(&mut self, node: usize, value: Value) {
        self.values.insert(node, value);
    }
}

impl Cx<'_> {
    /// Makes the variables in `written` parameters of the program.
    pub(super) fn keep(
        &mut self,
        written: &BTreeSet<usize>,
        (options, taken): (&LowerOptions, &mut BTreeSet<String>),
    ) -> LowerResult<()> {
        for &node in written {
            let own = name_of(&self.model.graph.nodes[node]);
            let name = super::signature::unique(&own, taken);
            let (ty, tensor) = self.variable_type(node)?;
            if options.states == StateMode::Io {
                let value = self.b.function_mut().add_param(Param::input(name.clone()), ty);
                self.variables.set(node, value);
                self.variables.kept.insert(node, Kept { name, state: None });
                continue;
            }
            if ty.static_shape().is_none() {
                return Err(LowerError::dynamic(format!("variable `{own}` is {ty}"))
                    .help("give it a fixed shape, or convert with `--states=io`"));
            }
            if let Some(tensor) = &tensor {
                check_start(&name, tensor, &mut self.found);
            }
            let param = Param::state(name.clone());
            let state = self.b.function_mut().add_param(param, Type::State(ty));
            let value = ReadState {}.build(&mut self.b, state)?;
            self.variables.set(node, value);
            self.variables.kept.insert(node, Kept { name, state: Some(state) });
        }
        Ok(())
    }

    /// Gives states their new values.
    pub(super) fn write_back(&mut self, taken: &mut BTreeSet<String>) -> LowerResult<()> {
        for (node, kept) in self.variables.kept.clone() {
            let Some(value) = self.variables.value(node) else { continue };
            match kept.state {
                Some(state) => drop(WriteState {}.build_many(&mut self.b, state, value)?),
                None => {
                    let name = super::signature::unique(&format!("{}_out", kept.name), taken);
                    self.b.function_mut().add_output(name, value);
                }
            }
        }
        Ok(())
    }

    fn variable_type(&self, node: usize) -> LowerResult<(TensorType, Option<Tensor>)> {
        let tensor = self.stored(node)?;
        if let Some(tensor) = tensor {
            let shape = tensor.shape().iter().map(|&n| i64::try_from(n).map(Dim::Const));
            let shape = shape
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| LowerError::invalid("a variable is too large"))?;
            return Ok((TensorType::new(tensor.dtype(), shape), Some(tensor)));
        }
        let call = Call::new(&self.model.graph.nodes[node], Vec::new());
        let dtype = call.dtype("dtype")?;
        let shape = call.shape("shape")?.and_then(|shape| {
            shape.into_iter().map(|dim| dim.map(Dim::Const)).collect::<Option<Vec<_>>>()
        });
        let shape = shape.ok_or_else(|| {
            let name = name_of(&self.model.graph.nodes[node]);
            LowerError::dynamic(format!("the shape of variable `{name}` is not known"))
        })?;
        Ok((TensorType::new(dtype, shape), None))
    }

    fn stored(&self, node: usize) -> LowerResult<Option<Tensor>> {
        self.model.variables.value(node).map_err(|error| {
            let diagnostic = report::checkpoint(&error);
            let name = name_of(&self.model.graph.nodes[node]);
            let message = format!("variable `{name}`: {}", diagnostic.message);
            let help = diagnostic.help.clone();
            let error = LowerError::new(diagnostic.code, message);
            match help {
                Some(help) => error.help(help),
                None => error,
            }
        })
    }

    /// The value that a variable has now.
    fn read_variable(&mut self, node: usize) -> LowerResult<Value> {
        if let Some(value) = self.variables.value(node) {
            return Ok(value);
        }
        let name = name_of(&self.model.graph.nodes[node]);
        let tensor = self.stored(node)?.ok_or_else(|| {
            LowerError::new(
                codes::CORRUPT_WEIGHTS,
                format!("nothing says what variable `{name}` holds"),
            )
            .help("save the model with its variables, or freeze the graph")
        })?;
        let id = self.b.program.consts.intern_named(tensor, &name);
        let value = Const { value: id }.build(&mut self.b)?;
        self.b.name(value, &name);
        Ok(value)
    }

    /// The variable that input 0 is.
    fn variable(call: &Call<'_>) -> LowerResult<usize> {
        match call.input(0)? {
            Val::Variable(node) => Ok(*node),
            Val::Nothing => Err(LowerError::argument("the resource is not supported")),
            other => Err(LowerError::invalid(format!("{} is no variable", other.kind()))),
        }
    }

    /// Lowers an op on a variable.
    pub(super) fn variable_op(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let node = Self::variable(call)?;
        match call.op {
            "ReadVariableOp" => {
                let value = self.read_variable(node)?;
                self.one(value)
            }
            "VariableShape" => {
                let value = self.read_variable(node)?;
                let shape = self.shape_value(value)?;
                let shape = match call.dtype_or("out_type", mlc_tensor::DType::I32)? {
                    mlc_tensor::DType::I32 => shape,
                    dtype => self.cast(shape, dtype)?,
                };
                self.one(shape)
            }
            "ResourceGather" => {
                call.ignore(&["validate_indices"]);
                let batch_dims = call.int_or("batch_dims", 0)?;
                let table = self.read_variable(node)?;
                let indices = call.tensor(1)?;
                let gather = Gather { axis: batch_dims, batch_dims, validate_indices: false };
                let value = gather.build(&mut self.b, table, indices)?;
                self.one(value)
            }
            "ResourceGatherNd" => {
                let table = self.read_variable(node)?;
                let indices = call.tensor(1)?;
                let gather = GatherNd { batch_dims: 0, validate_indices: false };
                let value = gather.build(&mut self.b, table, indices)?;
                self.one(value)
            }
            op => {
                let given = call.tensor(1)?;
                self.variables.written.insert(node);
                let value = match op {
                    "AssignAddVariableOp" | "AssignAdd" => {
                        let old = self.read_variable(node)?;
                        self.binary(Add {}, old, given)?
                    }
                    "AssignSubVariableOp" | "AssignSub" => {
                        let old = self.read_variable(node)?;
                        self.binary(Sub {}, old, given)?
                    }
                    _ => given,
                };
                if self.variables.kept.contains_key(&node) {
                    self.variables.set(node, value);
                }
                if op.ends_with("VariableOp") { Ok(Vec::new()) } else { self.one(value) }
            }
        }
    }

    /// The tensor that a value is: a variable that is no handle is what it holds.
    pub(super) fn dereferenced(&mut self, val: Val) -> LowerResult<Val> {
        match val {
            Val::Variable(node) if &*self.model.graph.nodes[node].op != "VarHandleOp" => {
                self.read_variable(node).map(Val::Tensor)
            }
            other => Ok(other),
        }
    }
}

/// A warning unless all elements are zero, which is what states hold before anyone sets them.
fn check_start(name: &str, tensor: &Tensor, found: &mut Diagnostics) {
    let zero = tensor.bytes().is_ok_and(|bytes| bytes.iter().all(|&byte| byte == 0));
    if !zero {
        let message = format!("variable `{name}` does not start with zeros, its state does");
        found.push(Diagnostic::new(codes::STATE_INITIAL_VALUE, message).help(
            "write the variable's value to the state before the first prediction, \
             or convert with `--states=io`",
        ));
    }
}
