//! Inputs and outputs of a program, and what it writes to.

use std::collections::BTreeSet;

use mlc_diag::{Diagnostics, codes};
use mlc_ir::{Dim, Param, Program, Specialisation, SymbolRange, TensorType, Type};
use mlc_tensor::{DType, DTypeKind};

use super::Cx;
use super::alias::Owner;
use super::attempt::{Attempt, Lowered, Source, lower_source, unique};
use super::dims::{self, SymbolSource};
use super::error::{LowerError, LowerResult};
use super::graph::{Names, input_name, meta_dims, problem, to_val};
use super::registry::Registry;
use super::specialise::{specialised, symbol_range};
use super::state::LowerOptions;
use super::value::Val;
use crate::graph::{Arg, ExportedProgram, InputKind, InputSpec, OutputKind};

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
    let (source, shapes) = specialised(source, &options.inputs)?;
    lower_source(&Exported { source: &source, shapes: &shapes }, registry, options)
}

/// A program, and the shapes that are asked of its inputs.
#[derive(Clone, Copy)]
struct Exported<'a> {
    source: &'a ExportedProgram,
    shapes: &'a Specialisation,
}

impl Source for Exported<'_> {
    fn declare(&self) -> Program {
        declared_program(self.source)
    }

    fn listed_writes(&self) -> BTreeSet<Owner> {
        let source = self.source;
        source.outputs.iter().filter_map(|spec| owner_of(source, &spec.kind)).collect()
    }

    fn fill(&self, attempt: &mut Attempt<'_>, cx: &mut Cx<'_>, found: &mut Diagnostics) {
        let source = self.source;
        let user = |spec: &&InputSpec| spec.kind == InputKind::User;
        attempt.take_names(source.inputs.iter().filter(user).map(|spec| spec.name.clone()));
        let mut names = Names::new();
        for spec in &source.inputs {
            if let Err(error) = input(*self, (attempt, cx), spec, (&mut names, found)) {
                found.push(error.into_diagnostic(&format!("input {}", spec.name)));
            }
        }
        cx.graph(&source.graph, &mut names, found);
        outputs(source, (attempt, cx), &names, found);
    }
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

fn input(
    exported: Exported<'_>,
    (attempt, cx): (&mut Attempt<'_>, &mut Cx<'_>),
    spec: &InputSpec,
    (names, found): (&mut Names, &mut Diagnostics),
) -> LowerResult<()> {
    let Some(name) = input_name(&spec.value) else { return Ok(()) };
    let val = match &spec.kind {
        InputKind::Parameter(tensor) => cx.model(tensor, &spec.name)?,
        InputKind::Constant(tensor) | InputKind::Buffer { tensor, .. } => {
            attempt.buffer(cx, (&spec.name, tensor), found)?
        }
        InputKind::User => user_input(exported, (attempt, cx), spec, name)?,
        InputKind::CustomObj => {
            let message = format!("`{}` is a script object", spec.name);
            let help = "keep tensors and numbers in the module, not script objects";
            found.push(problem(codes::UNSUPPORTED_SIGNATURE, message, help));
            Val::Opaque(spec.name.clone())
        }
        InputKind::Literal => to_val(&spec.value, names, &mut Vec::new())?,
        InputKind::Token => return Ok(()),
    };
    if let (Val::Tensor(tensor), Some(meta)) = (&val, exported.source.graph.tensors.get(name)) {
        cx.declare_strides(*tensor, meta);
    }
    names.insert(name.to_owned(), val);
    Ok(())
}

fn user_input(
    Exported { source, shapes }: Exported<'_>,
    (attempt, cx): (&mut Attempt<'_>, &mut Cx<'_>),
    spec: &InputSpec,
    name: &str,
) -> LowerResult<Val> {
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
        if let Some(asked) = shapes.inputs.get(&spec.name) {
            param.default_shape = asked.default.clone().or(param.default_shape);
            param.enumerated.clone_from(&asked.enumerated);
        }
    }
    let ty = TensorType::new(meta.dtype, shape);
    attempt.input(cx, param, ty)
}

fn outputs(
    source: &ExportedProgram,
    (attempt, cx): (&mut Attempt<'_>, &mut Cx<'_>),
    names: &Names,
    found: &mut Diagnostics,
) {
    let mut taken: BTreeSet<String> =
        cx.b.function().params.iter().map(|param| param.name.clone()).collect();
    for spec in &source.outputs {
        let owner = owner_of(source, &spec.kind);
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
        let result =
            to_val(&spec.value, names, &mut Vec::new()).and_then(|val| cx.output_value(&val));
        match (result, owner) {
            (Ok(Some(value)), Some(owner)) => attempt.kept(owner, value),
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

/// The extents that the model was exported with, or the least that the ranges of the file allow.
pub(super) fn default_shape(source: &ExportedProgram, shape: &[Dim]) -> Option<Vec<u64>> {
    let at = |name: &str| {
        let range = source.ranges.get(name).copied().unwrap_or_default();
        let least = range.min.unwrap_or(1).max(1);
        let example = source.examples.get(name).copied().unwrap_or(least);
        Some(Dim::Const(example.min(range.max.unwrap_or(i64::MAX)).max(least)))
    };
    shape
        .iter()
        .map(|dim| dim.substitute(&at).as_const().and_then(|n| u64::try_from(n).ok()))
        .collect()
}
