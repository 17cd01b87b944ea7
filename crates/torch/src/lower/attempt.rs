//! What lowering is whatever the file: inputs, tensors that are kept between calls, outputs.
//!
//! What a model writes shows only when all of it is lowered. So a source is lowered in attempts: each
//! knows the writes that the one before found, and the last one knows all.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::{Diagnostics, codes};
use mlc_ir::builder::Builder;
use mlc_ir::ops::Const;
use mlc_ir::{Dim, Function, Param, Program, TensorType, Value};
use mlc_tensor::{DTypeKind, Source as TensorSource, Tensor};

use super::Cx;
use super::alias::{Memory, Owner};
use super::dims::{self, SymbolSources};
use super::error::{LowerError, LowerResult};
use super::graph::problem;
use super::registry::Registry;
use super::state::{self, Fate, LowerOptions, Store, Writes};
use super::value::Val;

/// A lowered program.
#[derive(Debug)]
pub struct Lowered {
    /// One function, `main`.
    pub program: Program,
    /// What the user should know of it.
    pub warnings: Diagnostics,
}

/// Something that can be lowered.
pub(crate) trait Source {
    /// An empty program with the symbols and the facts of the file.
    fn declare(&self) -> Program;

    /// The tensors that the file says are written.
    fn listed_writes(&self) -> BTreeSet<Owner>;

    /// Makes inputs, ops and outputs. Problems go to `found`.
    fn fill(&self, attempt: &mut Attempt<'_>, cx: &mut Cx<'_>, found: &mut Diagnostics);
}

/// Lowers a source to a program with one function, `main`.
///
/// # Errors
/// Everything that cannot be lowered, all at once.
pub(crate) fn lower_source(
    source: &dyn Source,
    registry: &Registry,
    options: &LowerOptions,
) -> Result<Lowered, Diagnostics> {
    let mut writes = Writes { written: source.listed_writes(), ..Writes::default() };
    loop {
        let taken = BTreeSet::new();
        let attempt = Attempt { options, writes: &writes, store: Store::default(), taken };
        match attempt.run(source, registry) {
            Ended::Lowered(result) => return result,
            Ended::Again(more) => {
                writes.written.extend(more.written);
                writes.dropped.extend(more.dropped);
            }
        }
    }
}

/// One run over a source, with what is known of writes.
pub(crate) struct Attempt<'a> {
    pub(super) options: &'a LowerOptions,
    pub(super) writes: &'a Writes,
    pub(super) store: Store,
    /// The names that the user's inputs have.
    pub(super) taken: BTreeSet<String>,
}

/// How an attempt ended.
enum Ended {
    /// It is through.
    Lowered(Result<Lowered, Diagnostics>),
    /// There is more to know.
    Again(Writes),
}

impl Attempt<'_> {
    fn run(mut self, source: &dyn Source, registry: &Registry) -> Ended {
        let mut program = source.declare();
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
        source.fill(&mut self, &mut cx, &mut found);
        let mut seen: BTreeSet<Owner> =
            cx.memory.written().map(|(owner, _)| owner.clone()).collect();
        seen.extend(self.store.listed_owners().cloned());
        if !seen.is_subset(&self.writes.written) {
            return Ended::Again(Writes { written: seen, ..Writes::default() });
        }
        self.options.check_globs(&self.writes.written, &mut found);
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

    /// Declares the names of the user's inputs, which no buffer may have.
    pub(crate) fn take_names(&mut self, names: impl IntoIterator<Item = String>) {
        self.taken.extend(names);
    }

    /// A buffer: a constant, or kept if the model writes it.
    pub(crate) fn buffer(
        &mut self,
        cx: &mut Cx<'_>,
        (name, tensor): (&str, &Tensor),
        found: &mut Diagnostics,
    ) -> LowerResult<Val> {
        let owner = Owner::Model(name.to_owned());
        if !self.writes.written.contains(&owner) {
            return cx.model(tensor, name);
        }
        if self.writes.dropped.contains(&owner) {
            found.push(state::unused_state(name));
            return cx.model(tensor, name);
        }
        // One buffer under two names is one tensor.
        if let Some(tensor) = self.store.tensor(&owner) {
            return Ok(Val::Tensor(tensor));
        }
        if tensor.dtype().kind() == DTypeKind::Complex {
            return Err(LowerError::dtype(format!(
                "the model writes to the complex buffer `{name}`"
            ))
            .help("keep `torch.view_as_real(x)` in the buffer"));
        }
        let shape = tensor
            .shape()
            .iter()
            .map(|&n| i64::try_from(n).map(Dim::Const))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| LowerError::invalid(format!("buffer `{name}` is too large")))?;
        let ty = TensorType::new(tensor.dtype(), shape);
        let free = unique(name, &mut self.taken.clone());
        if self.options.of_buffer(name) == Fate::Io {
            let value = cx.b.function_mut().add_param(Param::input(free.clone()), ty);
            return Ok(Val::Tensor(cx.kept_input(owner, (free, value), &mut self.store)));
        }
        state::check_start(name, tensor, found);
        Ok(Val::Tensor(cx.state(owner, (free, ty), &mut self.store)?))
    }

    /// A tensor that the caller gives.
    pub(crate) fn input(
        &mut self,
        cx: &mut Cx<'_>,
        param: Param,
        ty: TensorType,
    ) -> LowerResult<Val> {
        let (name, shape) = (param.name.clone(), ty.shape.clone());
        let owner = Owner::Input(name.clone());
        let written = self.writes.written.contains(&owner);
        let fate = if written { self.options.of_input(&name) } else { Fate::Plain };
        if fate == Fate::State {
            return Ok(Val::Tensor(cx.state(owner, (name, ty), &mut self.store)?));
        }
        let value = cx.b.function_mut().add_param(param, ty);
        cx.symbols.add_tensor(value, &shape);
        if fate == Fate::Io {
            return Ok(Val::Tensor(cx.kept_input(owner, (name, value), &mut self.store)));
        }
        Ok(Val::Tensor(cx.allocate(value, owner)))
    }

    /// Notes the value that a kept tensor has in the end, where it is not what was written in place.
    pub(crate) fn kept(&mut self, owner: Owner, value: Value) {
        self.store.list(owner, value);
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
                    let message = format!("parameter `{name}` is changed by the model");
                    let help = "export the model in evaluation mode";
                    found.push(problem(codes::UNSUPPORTED_SIGNATURE, message, help));
                }
            }
        }
    }
}

impl Cx<'_> {
    /// A parameter, buffer or constant of the model.
    pub(crate) fn model(&mut self, tensor: &Tensor, name: &str) -> LowerResult<Val> {
        let complex = tensor.dtype().kind() == DTypeKind::Complex;
        let tensor = if complex { real_pairs(tensor)? } else { tensor.clone() };
        let value = self.b.program.consts.intern_named(tensor, name);
        let value = Const { value }.build(&mut self.b)?;
        self.b.name(value, name);
        let place = self.allocate(value, Owner::Model(name.to_owned()));
        if complex {
            self.memory.complex.insert(place);
        }
        Ok(Val::Tensor(place))
    }

    /// A result of the model as a value of the program; `None` for nothing.
    pub(crate) fn output_value(&mut self, val: &Val) -> LowerResult<Option<Value>> {
        match val {
            Val::Tensor(tensor) if self.is_complex(*tensor) => {
                Err(LowerError::dtype("an output of the model is complex")
                    .help("return `torch.view_as_real(x)`"))
            }
            Val::Tensor(tensor) => self.read(*tensor).map(Some),
            Val::Int(dim) => dims::scalar(self, dim).map(Some),
            Val::None => Ok(None),
            val @ (Val::Bool(_) | Val::Float(_) | Val::Symbolic(_) | Val::Relation(_)) => {
                self.yielded(val)
            }
            val => Err(LowerError::new(
                codes::UNSUPPORTED_SIGNATURE,
                format!("{} cannot be an output", val.kind()),
            )),
        }
    }
}

/// The elements of a complex tensor as pairs along a last axis.
fn real_pairs(tensor: &Tensor) -> LowerResult<Tensor> {
    let mut shape = tensor.shape().to_vec();
    shape.push(2);
    let dtype = super::complex::real_of(tensor.dtype());
    Ok(match tensor.source() {
        TensorSource::Mapped { file, offset } => Tensor::mapped(file, *offset, dtype, &shape)?,
        _ => Tensor::from_bytes(dtype, &shape, &*tensor.bytes()?)?,
    })
}

/// `wanted`, with a number behind it if it is taken.
pub(crate) fn unique(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut n = 0;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{wanted}_{n}");
    }
    name
}
