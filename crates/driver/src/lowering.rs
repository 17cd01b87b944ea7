//! Lowerings that the user writes as functions of text IR: `--lowering FILE`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{
    Builder, Dim, FuncId, Function, Op, Operands, Program, Region, SymbolRange, Type, Value,
};
use mlc_text::ParseOptions;
use mlc_text::template::{Argument, ParamType, Template, TemplateParam, quoted, templates};
use mlc_torch::lower::call::Call;
use mlc_torch::lower::error::{LowerError, LowerResult};
use mlc_torch::lower::registry::CustomLowering;
use mlc_torch::lower::value::Val;
use mlc_torch::lower::{Cx, dims};

use crate::input::file_problem;

/// Files of lowerings that were read.
#[derive(Debug, Clone, Default)]
pub struct Lowerings {
    /// One entry an op.
    pub ops: Vec<Arc<dyn CustomLowering>>,
    /// Digest of each file, in the order they were given.
    pub digests: Vec<String>,
}

impl Lowerings {
    /// Reads files of functions named after the ops they stand for, such as `@"mylib::scale"`, or
    /// `@"mylib::scale.int"` for one overload. A later file replaces an op of an earlier one.
    ///
    /// # Errors
    /// Everything that is wrong with them, with its place.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut all = Self::default();
        for path in paths {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) => {
                    let message = format!("cannot be read: {error}");
                    found.push(file_problem(codes::FILE_NOT_FOUND, path, message));
                    continue;
                }
            };
            all.digests.push(blake3::hash(text.as_bytes()).to_hex().to_string());
            match templates(&path.to_string_lossy(), &text) {
                Ok(templates) => found.extend(all.add(templates, path)),
                Err(problems) => found.extend(problems),
            }
        }
        if found.has_errors() { Err(found) } else { Ok(all) }
    }

    fn add(&mut self, templates: Vec<Template>, path: &Path) -> Diagnostics {
        let mut found = Diagnostics::new();
        let options = ParseOptions {
            base_dir: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            locate: false,
        };
        let mut ops: BTreeMap<String, Vec<(Option<String>, Template)>> = BTreeMap::new();
        for template in templates {
            let Some((space, rest)) = template.name.split_once("::") else {
                let message = format!("`{}` names no op", template.name);
                found.push(
                    Diagnostic::new(codes::SYNTAX, message)
                        .at(template.place().clone())
                        .help("write namespace and op, such as @\"mylib::scale\""),
                );
                continue;
            };
            let (op, overload) = match rest.split_once('.') {
                Some((op, overload)) => (op, Some(overload.to_owned())),
                None => (rest, None),
            };
            ops.entry(format!("{space}.{op}")).or_default().push((overload, template));
        }
        for (name, alternatives) in ops {
            let options = options.clone();
            self.ops.push(Arc::new(TextLowering { name, alternatives, options }));
        }
        found
    }
}

/// An op and the functions that may stand for it.
#[derive(Debug)]
struct TextLowering {
    name: String,
    alternatives: Vec<(Option<String>, Template)>,
    options: ParseOptions,
}

/// Arguments for a template, and the values among them.
#[derive(Default)]
struct Bound {
    arguments: Vec<Argument>,
    values: Vec<Value>,
}

impl CustomLowering for TextLowering {
    fn name(&self) -> &str {
        &self.name
    }

    fn lower(&self, cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let given: Vec<(String, Val)> =
            call.all().map(|(name, val)| (name.to_owned(), val.clone())).collect();
        let mut notes = Vec::new();
        for (overload, template) in &self.alternatives {
            if overload.as_ref().is_some_and(|overload| *overload != call.overload) {
                continue;
            }
            match bind(cx, template, &given)? {
                Ok(bound) => return self.expand(cx, template, &bound, call),
                Err(reason) => notes.push(format!("at {}: {reason}", template.place())),
            }
        }
        let message = "no function of the lowering file takes these arguments";
        let mut error = LowerError::argument(message).help(format!("add {}", call.template()));
        error.notes = notes;
        Err(error)
    }
}

impl TextLowering {
    fn expand(
        &self,
        cx: &mut Cx<'_>,
        template: &Template,
        bound: &Bound,
        call: &Call<'_>,
    ) -> LowerResult<Vec<Val>> {
        let symbols = symbols(cx, &bound.arguments);
        let program = template
            .instantiate(&bound.arguments, &symbols, &self.options)
            .map_err(|problems| refused(&problems))?;
        let Some(func) = program.func_ids().next() else {
            return Err(LowerError::invalid("the lowering has no function"));
        };
        let results = inline(&mut cx.b, &program, func, &bound.values)?;
        if results.len() < call.outputs {
            let mut error = LowerError::invalid(format!(
                "the lowering returns {} values, the op has {}",
                results.len(),
                call.outputs
            ));
            error.notes.push(format!("at {}", template.place()));
            return Err(error);
        }
        Ok(results.into_iter().map(|value| cx.fresh(value)).collect())
    }
}

/// The first problem of a template, with its place and how many there are.
fn refused(problems: &Diagnostics) -> LowerError {
    let Some(first) = problems.items().iter().find(|problem| problem.is_error()) else {
        return LowerError::invalid("the lowering cannot be read");
    };
    let more = match problems.items().len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more problems)", n - 1),
    };
    let mut error = LowerError::new(first.code, format!("{}{more}", first.message));
    error.help.clone_from(&first.help);
    error.notes = first.places.iter().map(|place| format!("at {place}")).collect();
    error.notes.extend(first.notes.iter().cloned());
    error
}

/// The symbols in the types of arguments, with their ranges.
fn symbols(cx: &Cx<'_>, arguments: &[Argument]) -> BTreeMap<String, SymbolRange> {
    let mut all = BTreeMap::new();
    let known = &cx.b.program.symbols;
    let mut add = |ty: &Type| {
        ty.for_each_dim(&mut |dim| {
            dim.for_each_symbol(&mut |name| {
                all.insert(name.to_owned(), known.range(name));
            });
        });
    };
    for argument in arguments {
        match argument {
            Argument::Tensor(ty) => add(ty),
            Argument::Tensors(types) => types.iter().for_each(&mut add),
            Argument::Literal(_) => {}
        }
    }
    all
}

/// What the parameters of a template get, or why the call does not fit it.
fn bind(
    cx: &mut Cx<'_>,
    template: &Template,
    given: &[(String, Val)],
) -> LowerResult<Result<Bound, String>> {
    let named = |(at, (name, _)): (usize, &(String, Val))| match name.as_str() {
        "" => template.params.get(at).is_some(),
        name => template.params.iter().any(|param| param.name == name),
    };
    let stray = given.iter().enumerate().find(|(at, arg)| arg.1 != Val::None && !named((*at, arg)));
    if let Some((at, (name, _))) = stray {
        let shown = if name.is_empty() { at.to_string() } else { name.clone() };
        return Ok(Err(format!("it has no parameter for argument `{shown}`")));
    }
    let mut bound = Bound::default();
    for (at, param) in template.params.iter().enumerate() {
        let by_name = given.iter().find(|(name, _)| *name == param.name);
        let by_place = given.get(at).filter(|(name, _)| name.is_empty());
        let val = by_name.or(by_place).map(|(_, val)| val).filter(|val| **val != Val::None);
        let argument = match val {
            Some(val) => argument(cx, param, val, &mut bound.values)?,
            None => left_out(param),
        };
        match argument {
            Some(argument) => bound.arguments.push(argument),
            None => {
                let what = match val {
                    None => "nothing".to_owned(),
                    Some(Val::Tensor(tensor)) => {
                        let value = cx.read(*tensor)?;
                        cx.b.ty(value).to_string()
                    }
                    Some(val) => val.kind().to_owned(),
                };
                let want = template.declaration(param);
                return Ok(Err(format!("`{want}` does not take {what}")));
            }
        }
    }
    Ok(Ok(bound))
}

fn left_out(param: &TemplateParam) -> Option<Argument> {
    let none = param.optional.then(|| "none".to_owned());
    param.default.clone().or(none).map(Argument::Literal)
}

/// The argument that `val` is for a parameter; values are added to `values`. `None` if it does not fit.
fn argument(
    cx: &mut Cx<'_>,
    param: &TemplateParam,
    val: &Val,
    values: &mut Vec<Value>,
) -> LowerResult<Option<Argument>> {
    let literal = |text: String| Ok(Some(Argument::Literal(text)));
    match (&param.ty, val) {
        (ty @ ParamType::Tensor(_), Val::Tensor(tensor)) => {
            let value = cx.read(*tensor)?;
            let given = cx.b.ty(value).clone();
            if !ty.takes(&given) {
                return Ok(None);
            }
            values.push(value);
            Ok(Some(Argument::Tensor(given)))
        }
        (ParamType::Tensors, Val::List(items)) => {
            let mut types = Vec::new();
            for item in items {
                let Val::Tensor(tensor) = item else { return Ok(None) };
                let value = cx.read(*tensor)?;
                types.push(cx.b.ty(value).clone());
                values.push(value);
            }
            Ok(Some(Argument::Tensors(types)))
        }
        // A number that only running tells is a scalar of the program.
        (ParamType::Int | ParamType::Number, Val::Int(dim)) if dim.as_const().is_none() => {
            let value = dims::scalar(cx, dim)?;
            values.push(value);
            Ok(Some(Argument::Tensor(cx.b.ty(value).clone())))
        }
        (ParamType::Ints, Val::Int(_)) | (ParamType::Floats, Val::Float(_)) => {
            Ok(constant(&param.ty, &Val::List(vec![val.clone()])).map(Argument::Literal))
        }
        (ty, val) => match constant(ty, val) {
            Some(text) => literal(text),
            None => Ok(None),
        },
    }
}

/// A constant as a literal.
fn constant(ty: &ParamType, val: &Val) -> Option<String> {
    let list = |items: &[Val], item: &ParamType| -> Option<String> {
        let all: Option<Vec<String>> = items.iter().map(|val| constant(item, val)).collect();
        all.map(|all| format!("[{}]", all.join(", ")))
    };
    Some(match (ty, val) {
        (ParamType::Int | ParamType::Number, Val::Int(dim)) => dim.as_const()?.to_string(),
        (ParamType::Float, Val::Int(dim)) => float(dim.as_const()? as f64),
        (ParamType::Float | ParamType::Number, Val::Float(x)) => float(*x),
        (ParamType::Bool, Val::Bool(b)) => b.to_string(),
        (ParamType::Str, Val::Str(text) | Val::Device(text) | Val::Opaque(text)) => quoted(text),
        (ParamType::Str, Val::MemoryFormat(text)) => quoted(text),
        (ParamType::DType, Val::DType(dtype)) => dtype.to_string(),
        (ParamType::Ints, Val::List(items)) => list(items, &ParamType::Int)?,
        (ParamType::Floats, Val::List(items)) => list(items, &ParamType::Float)?,
        (ParamType::Bools, Val::List(items)) => list(items, &ParamType::Bool)?,
        _ => return None,
    })
}

fn float(x: f64) -> String {
    match x {
        x if x.is_nan() => "nan".to_owned(),
        x if x.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.to_owned(),
        x => format!("{x:?}"),
    }
}

/// Appends the body of a function of another program, its parameters replaced by `args`.
fn inline(
    b: &mut Builder<'_>,
    program: &Program,
    func: FuncId,
    args: &[Value],
) -> LowerResult<Vec<Value>> {
    let function = &program.functions[func];
    let body = function.body;
    let params = &function.regions[body].args;
    if params.len() != args.len() {
        return Err(LowerError::invalid("the lowering takes another number of values"));
    }
    let mut fresh = BTreeMap::new();
    for (name, _) in program.symbols.iter().filter(|(name, _)| program.symbols.is_fresh(name)) {
        fresh.insert(name.to_owned(), b.program.symbols.fresh());
    }
    let mut copy = Copy { program, function, fresh, map: BTreeMap::new() };
    copy.map.extend(params.iter().copied().zip(args.iter().copied()));
    copy.region(b, body)
}

struct Copy<'a> {
    program: &'a Program,
    function: &'a Function,
    fresh: BTreeMap<String, Dim>,
    map: BTreeMap<Value, Value>,
}

impl Copy<'_> {
    /// Appends the ops of a region; gives what it yields.
    fn region(&mut self, b: &mut Builder<'_>, region: Region) -> LowerResult<Vec<Value>> {
        let function = self.function;
        for &node in &function.regions[region].nodes {
            let data = &function.nodes[node];
            if let Op::Const(op) = &data.op {
                let tensor = self.program.consts.get(op.value).clone();
                if let Some(name) = self.program.consts.name(op.value) {
                    b.program.consts.intern_named(tensor.clone(), name);
                }
                let value = b.constant(tensor)?;
                self.map.extend(data.results.first().map(|&result| (result, value)));
                continue;
            }
            let mut operands = Operands::new();
            for slot in 0..data.operands.slots() {
                let values = data.operands.slot(slot).iter().map(|value| self.value(*value));
                operands.push_slot(values.collect::<LowerResult<Vec<_>>>()?);
            }
            let mut regions = Vec::new();
            for &nested in &data.regions {
                let args = function.regions[nested].args.clone();
                let types: Vec<Type> = args.iter().map(|&arg| self.ty(function.ty(arg))).collect();
                regions.push(b.region(&types, |inner, values| {
                    self.map.extend(args.iter().copied().zip(values.iter().copied()));
                    self.region(inner, nested)
                })?);
            }
            let made = b.push(data.op.clone(), operands, regions)?;
            let results = b.results(made).to_vec();
            self.map.extend(data.results.iter().copied().zip(results));
        }
        function.regions[region].results.iter().map(|value| self.value(*value)).collect()
    }

    fn value(&self, value: Value) -> LowerResult<Value> {
        let known = self.map.get(&value).copied();
        known.ok_or_else(|| LowerError::invalid("the lowering uses a value before it is made"))
    }

    fn ty(&self, ty: &Type) -> Type {
        ty.map_dims(&mut |dim| dim.substitute(&|name| self.fresh.get(name).cloned()))
    }
}
