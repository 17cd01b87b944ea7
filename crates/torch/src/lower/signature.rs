//! Inputs and outputs of a program, and what it writes to.

use std::collections::BTreeSet;

use mlc_diag::{Diagnostics, codes};
use mlc_ir::builder::Builder;
use mlc_ir::ops::Const;
use mlc_ir::{Dim, Function, Param, Program, SymbolRange, Type};
use mlc_tensor::{DType, DTypeKind, Source, Tensor};

use super::Cx;
use super::alias::{Memory, Owner};
use super::dims::{self, SymbolSource, SymbolSources};
use super::error::LowerResult;
use super::graph::{Names, input_name, meta_dims, problem, to_val};
use super::registry::Registry;
use super::value::Val;
use crate::graph::{Arg, ExportedProgram, InputKind, InputSpec, OutputKind};

/// Lowers an exported program to a program with one function, `main`.
///
/// # Errors
/// Everything that cannot be lowered, all at once.
pub fn lower(source: &ExportedProgram, registry: &Registry) -> Result<Program, Diagnostics> {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("main"));
    for (name, range) in &source.ranges {
        let min = range.min.unwrap_or(0).max(0);
        program.symbols.declare(name, SymbolRange { min, max: range.max });
    }
    let version = source.torch_version.clone();
    program.metadata.insert("source".to_owned(), format!("torch=={version}"));
    program
        .metadata
        .insert("source_dialect".to_owned(), format!("torch.export {:?}", source.dialect));
    let mut found = Diagnostics::new();
    let mut cx = Cx {
        b: Builder::new(&mut program, func),
        memory: Memory::default(),
        symbols: SymbolSources::default(),
        registry,
        depth: 0,
        unrolled: 1,
    };
    let mut names = Names::new();
    for spec in &source.inputs {
        if let Err(error) = cx.input(source, spec, &mut names, &mut found) {
            found.push(error.into_diagnostic(&format!("input {}", spec.name)));
        }
    }
    cx.graph(&source.graph, &mut names, &mut found);
    cx.outputs(source, &names, &mut found);
    cx.writes(&mut found);
    if found.has_errors() { Err(found) } else { Ok(program) }
}

impl Cx<'_> {
    fn input(
        &mut self,
        source: &ExportedProgram,
        spec: &InputSpec,
        names: &mut Names,
        found: &mut Diagnostics,
    ) -> LowerResult<()> {
        let Some(name) = input_name(&spec.value) else { return Ok(()) };
        let val = match &spec.kind {
            InputKind::Parameter(tensor) | InputKind::Constant(tensor) => {
                self.model(tensor, spec)?
            }
            InputKind::Buffer { tensor, .. } => self.model(tensor, spec)?,
            InputKind::User => self.user_input(source, spec, name)?,
            InputKind::CustomObj => {
                let message = format!("`{}` is a script object", spec.name);
                let help = "keep tensors and numbers in the module, not script objects";
                found.push(problem(codes::UNSUPPORTED_SIGNATURE, message, help));
                Val::Opaque(spec.name.clone())
            }
            InputKind::Literal => to_val(&spec.value, names, &mut Vec::new())?,
            InputKind::Token => return Ok(()),
        };
        if let (Val::Tensor(tensor), Some(meta)) = (&val, source.graph.tensors.get(name)) {
            self.declare_strides(*tensor, meta);
        }
        names.insert(name.to_owned(), val);
        Ok(())
    }

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

    fn user_input(
        &mut self,
        source: &ExportedProgram,
        spec: &InputSpec,
        name: &str,
    ) -> LowerResult<Val> {
        let mut param = Param::input(spec.name.clone());
        if let Arg::Int(_) = spec.value {
            let value = self.b.function_mut().add_param(param, Type::tensor(DType::I32, []));
            let dim = source.graph.sym_ints.get(name).and_then(dims::to_dim);
            let dim = dim.unwrap_or_else(|| Dim::symbol(name));
            if let Some(symbol) = dim.as_symbol() {
                self.symbols.add(symbol, SymbolSource::Scalar(value));
                if !self.b.program.symbols.contains(symbol) {
                    self.b.program.symbols.declare(symbol, SymbolRange::default());
                }
            }
            return Ok(Val::Int(dim));
        }
        let meta = source.graph.tensors.get(name).ok_or_else(|| {
            super::error::LowerError::invalid(format!("input `{name}` has no type"))
        })?;
        if meta.dtype.kind() == DTypeKind::Complex {
            return Err(super::error::LowerError::dtype("an input of the model is complex")
                .help("take a real input and call `torch.view_as_complex` on it in the model"));
        }
        let shape = meta_dims(meta)?;
        for dim in &shape {
            let symbols = &mut self.b.program.symbols;
            dim.for_each_symbol(&mut |symbol| {
                if !symbols.contains(symbol) {
                    symbols.declare(symbol, SymbolRange::default());
                }
            });
        }
        if shape.iter().any(|dim| dim.as_const().is_none()) {
            param.default_shape = default_shape(source, &shape);
        }
        let value = self.b.function_mut().add_param(param, Type::tensor(meta.dtype, shape.clone()));
        self.symbols.add_tensor(value, &shape);
        Ok(Val::Tensor(self.memory.allocate(value, Owner::Input(spec.name.clone()))))
    }

    fn outputs(&mut self, source: &ExportedProgram, names: &Names, found: &mut Diagnostics) {
        let mut taken: BTreeSet<String> =
            self.b.function().params.iter().map(|param| param.name.clone()).collect();
        for spec in &source.outputs {
            match &spec.kind {
                OutputKind::User => {}
                OutputKind::Token => continue,
                kind => {
                    found.push(unsupported_output(kind));
                    continue;
                }
            }
            let wanted = spec.name.clone().or_else(|| input_name(&spec.value).map(str::to_owned));
            let result = to_val(&spec.value, names, &mut Vec::new()).and_then(|val| match val {
                Val::Tensor(tensor) if self.is_complex(tensor) => {
                    Err(super::error::LowerError::dtype("an output of the model is complex")
                        .help("return `torch.view_as_real(x)`"))
                }
                Val::Tensor(tensor) => self.read(tensor).map(Some),
                Val::Int(dim) => dims::scalar(self, &dim).map(Some),
                Val::None => Ok(None),
                val => Err(super::error::LowerError::new(
                    codes::UNSUPPORTED_SIGNATURE,
                    format!("{} cannot be an output", val.kind()),
                )),
            });
            match result {
                Ok(Some(value)) => {
                    let wanted = wanted.unwrap_or_else(|| "output".to_owned());
                    let name = unique(&wanted, &mut taken);
                    self.b.function_mut().add_output(name, value);
                }
                Ok(None) => {}
                Err(error) if error.consequence => {}
                Err(error) => found.push(error.into_diagnostic("output")),
            }
        }
    }

    /// Reports writes to memory that outlives the call.
    fn writes(&self, found: &mut Diagnostics) {
        for (owner, _) in self.memory.written() {
            match owner {
                Owner::Local => {}
                Owner::Input(name) => found.push(problem(
                    codes::UNSUPPORTED_SIGNATURE,
                    format!("input `{name}` is changed in place by the model"),
                    "call `.clone()` on the input before changing it",
                )),
                Owner::Model(name) => {
                    found.push(unsupported_output(&OutputKind::BufferMutation(name.clone())))
                }
            }
        }
    }
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
        OutputKind::BufferMutation(name) => (
            format!("buffer `{name}` is changed by the model"),
            "pass the buffer as an input and return its new value as an output",
        ),
        OutputKind::ParameterMutation(name) => (
            format!("parameter `{name}` is changed by the model"),
            "export the model in evaluation mode",
        ),
        OutputKind::InputMutation(name) => (
            format!("input `{name}` is changed in place by the model"),
            "call `.clone()` on the input before changing it",
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

fn unique(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut n = 0;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{wanted}_{n}");
    }
    name
}

/// The least extents that the ranges of the file allow.
fn default_shape(source: &ExportedProgram, shape: &[Dim]) -> Option<Vec<u64>> {
    let at = |name: &str| {
        let range = source.ranges.get(name).copied().unwrap_or_default();
        Some(Dim::Const(range.min.unwrap_or(1).max(1)))
    };
    shape
        .iter()
        .map(|dim| dim.substitute(&at).as_const().and_then(|n| u64::try_from(n).ok()))
        .collect()
}
