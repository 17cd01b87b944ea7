//! What `forward` is called with.
//!
//! A tensor's shape is what the caller says, else what the inputs have that a trace keeps. Tuples,
//! lists and dicts of tensors are inputs of their own, named by place or key.

use std::rc::Rc;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{Dim, InputRequest, Param, Program, TensorType};
use mlc_tensor::DType;

use super::super::ast::{Expr, Name};
use super::super::module::{ScriptModule, is_tensor};
use super::super::source::Code;
use super::Script;
use super::item::{Content, Heap, Item, NumberKind, Tuple};
use crate::lower::attempt::Attempt;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;
use crate::lower::{Cx, dims};
use crate::pickle::{Pickle, Value, ValueId};
use crate::torch_save::TensorReader;

/// Parts that one argument may have.
const MAX_PARTS: usize = 1024;

/// An empty program with the facts of the file.
pub(super) fn declare(module: &ScriptModule) -> Program {
    let mut program = Program::new();
    program.metadata.insert("source".to_owned(), "torch".to_owned());
    let dialect = format!("TorchScript {}", module.version);
    program.metadata.insert("source_dialect".to_owned(), dialect);
    program
}

/// The `forward` method of the root.
pub(in crate::script) fn forward(module: &ScriptModule) -> Result<Code<'_>, Box<Diagnostic>> {
    let Some(root) = module.object(module.data.pickle.root()) else {
        let message = "the archive holds no module";
        let problem = Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message)
            .help("save the result of `torch.jit.trace` or `torch.jit.script`");
        return Err(Box::new(problem));
    };
    module.sources.method(&root.class, "forward").ok_or_else(|| {
        let methods = module.sources.class(&root.class).map(|class| {
            class.methods.iter().map(|method| method.name.to_string()).collect::<Vec<_>>()
        });
        let message = format!("`{}` has no method `forward`", root.class);
        let note = format!("it has {}", methods.unwrap_or_default().join(", "));
        let problem = Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message)
            .note(note)
            .help("save a module whose work is done in `forward`");
        Box::new(problem)
    })
}

/// An input that a trace was made with.
#[derive(Debug, Clone)]
enum Example {
    Tensor(DType, Vec<u64>),
    Sequence(Vec<Example>),
    Dict(Vec<(String, Example)>),
    None,
    Other,
}

/// Makes the arguments.
pub(super) struct Maker<'k, 'a, 'p> {
    pub(super) script: &'k Script<'k>,
    pub(super) attempt: &'k mut Attempt<'a>,
    pub(super) cx: &'k mut Cx<'p>,
    pub(super) heap: &'k mut Heap,
    pub(super) found: &'k mut Diagnostics,
    pub(super) code: Code<'k>,
}

/// The arguments of `forward` behind the module; none if one cannot be made, which was reported.
pub(super) fn arguments(maker: &mut Maker<'_, '_, '_>) -> Option<Vec<Item>> {
    let examples = examples(maker.script.module);
    let parameters = maker.code.function.parameters.get(1..).unwrap_or_default();
    let mut items = Vec::with_capacity(parameters.len());
    let mut fine = true;
    for (i, parameter) in parameters.iter().enumerate() {
        let example = examples.as_ref().and_then(|all| all.get(i));
        let name = parameter.name.to_string();
        // A default that nobody replaces is what the function is called with.
        let given =
            maker.is_given(&name) || matches!(example, Some(e) if !matches!(e, Example::None));
        if !given && let Some(default) = &parameter.default {
            items.push(maker.default(default, &name));
            continue;
        }
        match maker.make(&name, parameter.ty.as_ref(), example) {
            Ok(item) => items.push(item),
            Err(error) => {
                fine = false;
                if !error.consequence {
                    maker.found.push(error.into_diagnostic(&format!("input {name}")));
                }
            }
        }
    }
    maker.check_names();
    fine.then_some(items)
}

impl Maker<'_, '_, '_> {
    fn asked(&self) -> impl Iterator<Item = &str> {
        self.script.inputs.iter().map(|request| request.name.as_str())
    }

    /// Whether the caller says something of an input or a part of it.
    fn is_given(&self, name: &str) -> bool {
        let below = format!("{name}_");
        self.asked().any(|own| own == name || own.starts_with(&below))
    }

    fn default(&mut self, expr: &Expr, name: &str) -> Item {
        use super::super::ast::ExprKind;
        match &expr.kind {
            ExprKind::None => Item::NONE,
            ExprKind::Bool(b) => Item::bool(*b),
            ExprKind::Int(n) => Item::int(*n),
            ExprKind::Float(x) => Item::float(*x),
            ExprKind::Str(text) => Item::str(text.clone()),
            _ => Item::absent(
                codes::UNSUPPORTED_SIGNATURE,
                format!("the default of `{name}` is no literal"),
                "give the input with `--input`",
            ),
        }
    }

    fn make(
        &mut self,
        name: &str,
        ty: Option<&Expr>,
        example: Option<&Example>,
    ) -> LowerResult<Item> {
        let (head, arguments) = ty.and_then(Expr::type_parts).unwrap_or(("Tensor".to_owned(), &[]));
        match (head.as_str(), example) {
            ("Tensor", _) => self.tensor(name, example),
            ("Optional", None | Some(Example::None)) if !self.is_given(name) => Ok(Item::NONE),
            ("Optional", example) => self.make(name, arguments.first(), example),
            ("NoneType", _) => Ok(Item::NONE),
            ("Tuple", example) => {
                let mut items = Vec::with_capacity(arguments.len());
                for (i, ty) in arguments.iter().enumerate() {
                    let part = match example {
                        Some(Example::Sequence(parts)) => parts.get(i),
                        _ => None,
                    };
                    items.push(self.make(&format!("{name}_{i}"), Some(ty), part)?);
                }
                Ok(Item::tuple(items))
            }
            ("List", example) => {
                let parts = match example {
                    Some(Example::Sequence(parts)) => parts.as_slice(),
                    _ => &[],
                };
                let asked = (0..MAX_PARTS).take_while(|i| self.is_given(&format!("{name}_{i}")));
                let count = asked.count().max(parts.len().min(MAX_PARTS));
                if count == 0 {
                    return Err(self.unknown(&format!("{name}_0")));
                }
                let mut items = Vec::with_capacity(count);
                for i in 0..count {
                    items.push(self.make(
                        &format!("{name}_{i}"),
                        arguments.first(),
                        parts.get(i),
                    )?);
                }
                Ok(Item::List(self.heap.add(Content::List(items))))
            }
            ("Dict", example) => self.dict(name, arguments.get(1), example),
            ("int", _) => {
                let value = self.scalar_input(name, DType::I32)?;
                Ok(Item::Val(Val::Int(dims::from_scalar(self.cx, value)?)))
            }
            ("float" | "number", _) => {
                let value = self.scalar_input(name, DType::F32)?;
                Ok(Item::Number(self.cx.fresh_tensor(value), NumberKind::Float))
            }
            ("bool", _) => {
                let value = self.scalar_input(name, DType::Bool)?;
                Ok(Item::Number(self.cx.fresh_tensor(value), NumberKind::Bool))
            }
            (class, example) => self.named_tuple(name, class, example),
        }
    }

    fn dict(
        &mut self,
        name: &str,
        ty: Option<&Expr>,
        example: Option<&Example>,
    ) -> LowerResult<Item> {
        let mut keys: Vec<(String, Option<&Example>)> = match example {
            Some(Example::Dict(pairs)) => {
                pairs.iter().map(|(key, part)| (key.clone(), Some(part))).collect()
            }
            _ => Vec::new(),
        };
        if keys.is_empty() {
            let below = format!("{name}_");
            let asked = self.asked();
            keys = asked
                .filter_map(|own| Some((own.strip_prefix(&below)?.to_owned(), None)))
                .collect();
        }
        if keys.is_empty() {
            return Err(self.unknown(&format!("{name}_KEY")));
        }
        let mut pairs = Vec::with_capacity(keys.len());
        for (key, part) in keys {
            let item = self.make(&format!("{name}_{key}"), ty, part)?;
            pairs.push((Item::str(key), item));
        }
        Ok(Item::Dict(self.heap.add(Content::Dict(pairs))))
    }

    fn named_tuple(
        &mut self,
        name: &str,
        class: &str,
        example: Option<&Example>,
    ) -> LowerResult<Item> {
        let about = self.script.module.sources.class(class);
        let Some(about) = about.filter(|c| c.base.as_deref() == Some("NamedTuple")) else {
            return Err(LowerError::new(
                codes::UNSUPPORTED_SIGNATURE,
                format!("`{name}` is of type `{class}`"),
            )
            .help("take tensors, or tuples, lists and dicts of tensors"));
        };
        let mut items = Vec::new();
        for (i, (field, ty)) in about.attributes.iter().enumerate() {
            let part = match example {
                Some(Example::Sequence(parts)) => parts.get(i),
                _ => None,
            };
            items.push(self.make(&format!("{name}_{field}"), Some(ty), part)?);
        }
        let fields: Vec<Name> = about.attributes.iter().map(|(name, _)| name.clone()).collect();
        Ok(Item::Tuple(Rc::new(Tuple { items, fields })))
    }

    fn scalar_input(&mut self, name: &str, dtype: DType) -> LowerResult<mlc_ir::Value> {
        let ty = TensorType::new(dtype, Vec::<Dim>::new());
        match self.attempt.input(self.cx, Param::input(name), ty)? {
            Val::Tensor(tensor) => self.cx.read(tensor),
            _ => Err(LowerError::consequence()),
        }
    }

    fn tensor(&mut self, name: &str, example: Option<&Example>) -> LowerResult<Item> {
        let known = match example {
            Some(Example::Tensor(dtype, shape)) => Some((*dtype, shape.clone())),
            _ => None,
        };
        let request = InputRequest::find(self.script.inputs, name).cloned();
        let mut request = request.unwrap_or_else(|| InputRequest::new(name));
        let mut dtype = DType::F32;
        if let Some((traced, shape)) = known {
            // The file tells the type: another one is converted outside of the model.
            dtype = traced;
            request.dtype = None;
            request.shape.get_or_insert(shape);
        }
        let declared = request.declare_param(dtype, &mut self.cx.b.program.symbols);
        let Some((mut param, ty)) = declared else { return Err(self.unknown(name)) };
        param.enumerated = request.enumerated;
        Ok(Item::Val(self.attempt.input(self.cx, param, ty)?))
    }

    /// What is said of an input whose shape nobody tells.
    fn unknown(&self, name: &str) -> LowerError {
        LowerError::new(
            codes::MISSING_SHAPE,
            format!("the file does not tell the shape of `{name}`"),
        )
        .help(format!(
            "give it, such as `--input {name}=1x3x224x224`, or `--input {name}=1x128:i32` for \
             integers"
        ))
    }

    /// Reports requests for inputs that there are not.
    fn check_names(&mut self) {
        let made: Vec<String> =
            self.cx.b.function().params.iter().map(|param| param.name.clone()).collect();
        let unknown: Vec<String> = self
            .asked()
            .filter(|name| made.iter().all(|own| own != name))
            .map(str::to_owned)
            .collect();
        if self.found.has_errors() {
            return;
        }
        for name in unknown {
            let message = format!("there is no input `{name}`");
            self.found.push(
                Diagnostic::new(codes::BAD_ARGUMENT, message)
                    .help(format!("the inputs are {}", made.join(", "))),
            );
        }
    }
}

/// The inputs that the trace of `forward` was made with.
fn examples(module: &ScriptModule) -> Option<Vec<Example>> {
    let part = module.traced.as_ref()?;
    let pickle = &part.pickle;
    let reader = TensorReader::new(pickle, &module.archive, &part.folder);
    let methods = pickle.pairs(plain(pickle, pickle.root(), 0))?;
    let (_, list) = methods.iter().find(|(name, _)| pickle.str(*name) == Some("forward"))?;
    match example(pickle, *list, &reader, 0) {
        Example::Sequence(all) => Some(all),
        _ => None,
    }
}

/// A value without the tag of its element type.
fn plain(pickle: &Pickle, id: ValueId, depth: u32) -> ValueId {
    if let Value::Object(object) = pickle.get(id)
        && let Some(("torch.jit._pickle", _)) = pickle.global(object.callable)
        && let Some([inner, ..]) = pickle.sequence(object.args)
        && depth < 8
    {
        return plain(pickle, *inner, depth + 1);
    }
    id
}

fn example(pickle: &Pickle, id: ValueId, reader: &TensorReader<'_>, depth: u32) -> Example {
    if depth > 8 {
        return Example::Other;
    }
    let id = plain(pickle, id, 0);
    if is_tensor(pickle, id) {
        return match reader.declared(id) {
            Some((dtype, shape)) => Example::Tensor(dtype, shape),
            None => Example::Other,
        };
    }
    if let Some(items) = pickle.sequence(id) {
        let items = items.iter().take(MAX_PARTS);
        return Example::Sequence(
            items.map(|&id| example(pickle, id, reader, depth + 1)).collect(),
        );
    }
    if let Some(pairs) = pickle.pairs(id) {
        let pairs = pairs.iter().take(MAX_PARTS).filter_map(|&(key, value)| {
            Some((pickle.str(key)?.to_owned(), example(pickle, value, reader, depth + 1)))
        });
        return Example::Dict(pairs.collect());
    }
    match pickle.get(id) {
        Value::None => Example::None,
        _ => Example::Other,
    }
}
