//! Inputs and outputs of a program, and what it writes to.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::{Diagnostics, codes};
use mlc_ir::builder::Builder;
use mlc_ir::ops::Const;
use mlc_ir::{Dim, Function, Param, Program, Specialisation, SymbolRange, TensorType, Type, Value};
use mlc_tensor::{DType, DTypeKind, Source, Tensor};

use super::Cx;
use super::alias::{Memory, Owner};
use super::dims::{self, SymbolSource, SymbolSources};
use super::error::{LowerError, LowerResult};
use super::graph::{Names, input_name, meta_dims, problem, to_val};
use super::registry::Registry;
use super::specialise::{specialised, symbol_range};
use super::state::{self, LowerOptions, StateMode, Store, Writes};
use super::value::Val;
use crate::graph::{Arg, ExportedProgram, InputKind, InputSpec, OutputKind};

/// A lowered program.
#[derive(Debug)]
pub struct Lowered {
    /// One function, `main`.
    pub program: Program,
    /// What the user should know of it.
    pub warnings: Diagnostics,
}

/// Lowers an exported program to a program with one function, `main`, with the default options.
///
/// # Errors
/// Everything that cannot be lowered, all at once.
pub fn lower(source: &ExportedProgram, registry: &Registry) -> Result<Program, Diagnostics> {
    lower_with(source, registry, &LowerOptions::default()).map(|lowered| lowered.program)
}

/// Lowers an exported program to a program with one function, `main`.
///
/// # Errors
/// Everything that cannot be lowered, all at once.
pub fn lower_with(
    source: &ExportedProgram,
    registry: &Registry,
    options: &LowerOptions,
) -> Result<Lowered, Diagnostics> {
    let (specialised, shapes) = specialised(source, &options.inputs)?;
    let source = &specialised;
    // What is written shows when all is lowered; it is lowered again with those tensors kept.
    let mut writes = Writes { written: listed_writes(source), ..Writes::default() };
    loop {
        let attempt =
            Attempt { source, options, shapes: &shapes, writes: &writes, store: Store::default() };
        match attempt.run(registry) {
            Ended::Lowered(result) => return result,
            Ended::Again(more) => {
                writes.written.extend(more.written);
                writes.dropped.extend(more.dropped);
            }
        }
    }
}

/// The tensors that the signature says are written.
fn listed_writes(source: &ExportedProgram) -> BTreeSet<Owner> {
    source.outputs.iter().filter_map(|spec| owner_of(source, &spec.kind)).collect()
}

/// The tensor that an output is the new value of.
fn owner_of(source: &ExportedProgram, kind: &OutputKind) -> Option<Owner> {
    match kind {
        OutputKind::BufferMutation(name) => Some(Owner::Model(name.clone())),
        OutputKind::InputMutation(own) => {
            let spec = source.inputs.iter().find(|spec| input_name(&spec.value) == Some(own))?;
            Some(Owner::Input(spec.name.clone()))
        }
        _ => None,
    }
}

/// One run over the graph, with what is known of writes.
struct Attempt<'a> {
    source: &'a ExportedProgram,
    options: &'a LowerOptions,
    shapes: &'a Specialisation,
    writes: &'a Writes,
    store: Store,
}

/// How an attempt ended.
enum Ended {
    /// It is through.
    Lowered(Result<Lowered, Diagnostics>),
    /// There is more to know.
    Again(Writes),
}

impl Attempt<'_> {
    fn run(mut self, registry: &Registry) -> Ended {
        let mut program = declared_program(self.source);
        let func = program.functions.push(Function::new("main"));
        let mut found = Diagnostics::new();
        let mut cx = Cx {
            b: Builder::new(&mut program, func),
            memory: Memory::default(),
            symbols: SymbolSources::default(),
            registry,
            depth: 0,
            unrolled: 1,
            autocast: false,
        };
        let mut names = Names::new();
        for spec in &self.source.inputs {
            if let Err(error) = self.input(&mut cx, spec, &mut names, &mut found) {
                found.push(error.into_diagnostic(&format!("input {}", spec.name)));
            }
        }
        cx.graph(&self.source.graph, &mut names, &mut found);
        let seen: BTreeSet<Owner> = cx.memory.written().map(|(owner, _)| owner.clone()).collect();
        if !seen.is_subset(&self.writes.written) {
            return Ended::Again(Writes { written: seen, ..Writes::default() });
        }
        self.outputs(&mut cx, &names, &mut found);
        self.lost(&cx, &mut found);
        match cx.keep(&self.store) {
            Ok(dropped) if dropped.is_empty() => {}
            Ok(dropped) => return Ended::Again(Writes { dropped, ..Writes::default() }),
            Err(error) => found.push(error.into_diagnostic("state")),
        }
        Ended::Lowered(if found.has_errors() {
            Err(found)
        } else {
            Ok(Lowered { program, warnings: found })
        })
    }

    fn input(
        &mut self,
        cx: &mut Cx<'_>,
        spec: &InputSpec,
        names: &mut Names,
        found: &mut Diagnostics,
    ) -> LowerResult<()> {
        let Some(name) = input_name(&spec.value) else { return Ok(()) };
        let val = match &spec.kind {
            InputKind::Parameter(tensor) => cx.model(tensor, spec)?,
            InputKind::Constant(tensor) | InputKind::Buffer { tensor, .. } => {
                self.buffer(cx, tensor, spec, found)?
            }
            InputKind::User => self.user_input(cx, spec, name)?,
            InputKind::CustomObj => {
                let message = format!("`{}` is a script object", spec.name);
                let help = "keep tensors and numbers in the module, not script objects";
                found.push(problem(codes::UNSUPPORTED_SIGNATURE, message, help));
                Val::Opaque(spec.name.clone())
            }
            InputKind::Literal => to_val(&spec.value, names, &mut Vec::new())?,
            InputKind::Token => return Ok(()),
        };
        if let (Val::Tensor(tensor), Some(meta)) = (&val, self.source.graph.tensors.get(name)) {
            cx.declare_strides(*tensor, meta);
        }
        names.insert(name.to_owned(), val);
        Ok(())
    }

    /// A buffer: a constant, or kept if the model writes it.
    fn buffer(
        &mut self,
        cx: &mut Cx<'_>,
        tensor: &Tensor,
        spec: &InputSpec,
        found: &mut Diagnostics,
    ) -> LowerResult<Val> {
        let owner = Owner::Model(spec.name.clone());
        if !self.writes.written.contains(&owner) {
            return cx.model(tensor, spec);
        }
        if self.writes.dropped.contains(&owner) {
            found.push(state::unused_state(&spec.name));
            return cx.model(tensor, spec);
        }
        // One buffer under two names is one tensor.
        if let Some(tensor) = self.store.tensor(&owner) {
            return Ok(Val::Tensor(tensor));
        }
        if tensor.dtype().kind() == DTypeKind::Complex {
            return Err(LowerError::dtype(format!(
                "the model writes to the complex buffer `{}`",
                spec.name
            ))
            .help("keep `torch.view_as_real(x)` in the buffer"));
        }
        let shape = tensor
            .shape()
            .iter()
            .map(|&n| i64::try_from(n).map(Dim::Const))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| LowerError::invalid(format!("buffer `{}` is too large", spec.name)))?;
        let ty = TensorType::new(tensor.dtype(), shape);
        let name = self.free_name(&spec.name);
        if self.options.states == StateMode::Io {
            let value = cx.b.function_mut().add_param(Param::input(name.clone()), ty);
            return Ok(Val::Tensor(cx.kept_input(owner, (name, value), &mut self.store)));
        }
        state::check_start(&spec.name, tensor, found);
        Ok(Val::Tensor(cx.state(owner, (name, ty), &mut self.store)?))
    }

    /// A name for a buffer that no input of the user has.
    fn free_name(&self, name: &str) -> String {
        let user = |spec: &&InputSpec| spec.kind == InputKind::User;
        let mut taken: BTreeSet<String> =
            self.source.inputs.iter().filter(user).map(|spec| spec.name.clone()).collect();
        unique(name, &mut taken)
    }

    fn user_input(&mut self, cx: &mut Cx<'_>, spec: &InputSpec, name: &str) -> LowerResult<Val> {
        let source = self.source;
        let mut param = Param::input(spec.name.clone());
        if let Arg::Int(_) = spec.value {
            let value = cx.b.function_mut().add_param(param, Type::tensor(DType::I32, []));
            let dim = source.graph.sym_ints.get(name).and_then(dims::to_dim);
            let dim = dim.unwrap_or_else(|| Dim::symbol(name));
            if let Some(symbol) = dim.as_symbol() {
                cx.symbols.add(symbol, SymbolSource::Scalar(value));
                if !cx.b.program.symbols.contains(symbol) {
                    cx.b.program.symbols.declare(symbol, SymbolRange::default());
                }
            }
            return Ok(Val::Int(dim));
        }
        let meta = source
            .graph
            .tensors
            .get(name)
            .ok_or_else(|| LowerError::invalid(format!("input `{name}` has no type")))?;
        if meta.dtype.kind() == DTypeKind::Complex {
            return Err(LowerError::dtype("an input of the model is complex")
                .help("take a real input and call `torch.view_as_complex` on it in the model"));
        }
        let shape = meta_dims(meta)?;
        for dim in &shape {
            let symbols = &mut cx.b.program.symbols;
            dim.for_each_symbol(&mut |symbol| {
                if !symbols.contains(symbol) {
                    symbols.declare(symbol, SymbolRange::default());
                }
            });
        }
        if shape.iter().any(|dim| dim.as_const().is_none()) {
            param.default_shape = default_shape(source, &shape);
            if let Some(asked) = self.shapes.inputs.get(&spec.name) {
                param.default_shape = asked.default.clone().or(param.default_shape);
                param.enumerated.clone_from(&asked.enumerated);
            }
        }
        let ty = TensorType::new(meta.dtype, shape.clone());
        let owner = Owner::Input(spec.name.clone());
        let written = self.writes.written.contains(&owner);
        if written && self.options.states == StateMode::All {
            let name = spec.name.clone();
            return Ok(Val::Tensor(cx.state(owner, (name, ty), &mut self.store)?));
        }
        let value = cx.b.function_mut().add_param(param, ty);
        cx.symbols.add_tensor(value, &shape);
        if written && self.options.states == StateMode::Io {
            let kept = (spec.name.clone(), value);
            return Ok(Val::Tensor(cx.kept_input(owner, kept, &mut self.store)));
        }
        Ok(Val::Tensor(cx.memory.allocate(value, owner)))
    }

    fn outputs(&mut self, cx: &mut Cx<'_>, names: &Names, found: &mut Diagnostics) {
        let mut taken: BTreeSet<String> =
            cx.b.function().params.iter().map(|param| param.name.clone()).collect();
        for spec in &self.source.outputs {
            let owner = owner_of(self.source, &spec.kind);
            match &spec.kind {
                OutputKind::User => {}
                OutputKind::Token => continue,
                _ if owner.is_some() => {}
                kind => {
                    found.push(unsupported_output(kind));
                    continue;
                }
            }
            let wanted = spec.name.clone().or_else(|| input_name(&spec.value).map(str::to_owned));
            let result = to_val(&spec.value, names, &mut Vec::new()).and_then(|val| match val {
                Val::Tensor(tensor) if cx.is_complex(tensor) => {
                    Err(LowerError::dtype("an output of the model is complex")
                        .help("return `torch.view_as_real(x)`"))
                }
                Val::Tensor(tensor) => cx.read(tensor).map(Some),
                Val::Int(dim) => dims::scalar(cx, &dim).map(Some),
                Val::None => Ok(None),
                val @ (Val::Bool(_) | Val::Float(_) | Val::Symbolic(_) | Val::Relation(_)) => {
                    cx.yielded(&val)
                }
                val => Err(LowerError::new(
                    codes::UNSUPPORTED_SIGNATURE,
                    format!("{} cannot be an output", val.kind()),
                )),
            });
            match (result, owner) {
                (Ok(Some(value)), Some(owner)) => self.store.list(owner, value),
                (Ok(Some(value)), None) => {
                    let wanted = wanted.unwrap_or_else(|| "output".to_owned());
                    let name = unique(&wanted, &mut taken);
                    cx.b.function_mut().add_output(name, value);
                }
                (Ok(None), _) => {}
                (Err(error), _) if error.consequence => {}
                (Err(error), _) => found.push(error.into_diagnostic("output")),
            }
        }
    }

    /// Reports writes to memory that outlives the call and is not kept.
    fn lost(&self, cx: &Cx<'_>, found: &mut Diagnostics) {
        let results = &cx.b.function().regions[cx.b.function().body].results;
        let last: BTreeMap<&Owner, Value> = cx.memory.written().collect();
        for owner in &self.writes.written {
            if self.store.tensor(owner).is_some() || self.writes.dropped.contains(owner) {
                continue;
            }
            match owner {
                Owner::Local => {}
                Owner::Input(name) => {
                    let value = self.store.listed(owner).or(last.get(owner).copied());
                    if value.is_none_or(|value| !results.contains(&value)) {
                        found.push(state::unseen_write(name));
                    }
                }
                Owner::Model(name) => {
                    found.push(unsupported_output(&OutputKind::ParameterMutation(name.clone())));
                }
            }
        }
    }
}

impl Cx<'_> {
    /// A parameter, buffer or constant of the model.
    fn model(&mut self, tensor: &Tensor, spec: &InputSpec) -> LowerResult<Val> {
        let complex = tensor.dtype().kind() == DTypeKind::Complex;
        let tensor = if complex { real_pairs(tensor)? } else { tensor.clone() };
        let value = self.b.program.consts.intern_named(tensor, &spec.name);
        let value = Const { value }.build(&mut self.b)?;
        self.b.name(value, &spec.name);
        let place = self.memory.allocate(value, Owner::Model(spec.name.clone()));
        if complex {
            self.memory.complex.insert(place);
        }
        Ok(Val::Tensor(place))
    }
}

/// An empty program with the symbols and the facts of the file.
fn declared_program(source: &ExportedProgram) -> Program {
    let mut program = Program::new();
    for (name, range) in &source.ranges {
        program.symbols.declare(name, symbol_range(*range));
    }
    let version = &source.torch_version;
    program.metadata.insert("source".to_owned(), format!("torch=={version}"));
    let dialect = format!("torch.export {:?}", source.dialect);
    program.metadata.insert("source_dialect".to_owned(), dialect);
    program
}

/// The elements of a complex tensor as pairs along a last axis.
fn real_pairs(tensor: &Tensor) -> LowerResult<Tensor> {
    let mut shape = tensor.shape().to_vec();
    shape.push(2);
    let dtype = super::complex::real_of(tensor.dtype());
    Ok(match tensor.source() {
        Source::Mapped { file, offset } => Tensor::mapped(file, *offset, dtype, &shape)?,
        _ => Tensor::from_bytes(dtype, &shape, &*tensor.bytes()?)?,
    })
}

fn unsupported_output(kind: &OutputKind) -> mlc_diag::Diagnostic {
    let (message, help) = match kind {
        OutputKind::ParameterMutation(name) => (
            format!("parameter `{name}` is changed by the model"),
            "export the model in evaluation mode",
        ),
        OutputKind::BufferMutation(name) | OutputKind::InputMutation(name) => (
            format!("`{name}` is changed by the model and is no input of the graph"),
            "export the model again",
        ),
        OutputKind::Loss
        | OutputKind::GradientToParameter(_)
        | OutputKind::GradientToInput(_)
        | OutputKind::User
        | OutputKind::Token => {
            ("the graph computes gradients".to_owned(), "export the forward pass alone")
        }
    };
    problem(codes::UNSUPPORTED_SIGNATURE, message, help)
}

pub(super) fn unique(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut n = 0;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{wanted}_{n}");
    }
    name
}

/// The least extents that the ranges of the file allow.
pub(super) fn default_shape(source: &ExportedProgram, shape: &[Dim]) -> Option<Vec<u64>> {
    let at = |name: &str| {
        let range = source.ranges.get(name).copied().unwrap_or_default();
        Some(Dim::Const(range.min.unwrap_or(1).max(1)))
    };
    shape
        .iter()
        .map(|dim| dim.substitute(&at).as_const().and_then(|n| u64::try_from(n).ok()))
        .collect()
}
