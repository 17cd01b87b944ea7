//! Blocks and operations.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::{Code, Diagnostic, Loc, codes, nearest};
use mlc_ir::ops::{self, Const, Squeeze};
use mlc_ir::{
    Arity, AttrKind, AttrValue, Builder, Dim, Inferred, Op, OpSpec, Operands, Region, Trait, Type,
    Value,
};
use mlc_target::{DefaultValue, OpSignature, Opset, Param, ParamKind};
use mlc_tensor::Tensor;

use super::values::{self, Literal};
use super::{Reading, attrs, constexpr, indices, types};
use crate::emit::takes_inputs;
use crate::spec::mil;

/// What a name stands for.
#[derive(Debug, Clone)]
enum Entry {
    Value(Value),
    /// A constant; a value too where an op takes it as an operand.
    Const(Literal, Option<Value>),
    /// Its op could not be read. What uses it is not reported again.
    Broken,
}

/// What an argument is bound to.
type Bindings = Vec<Entry>;

/// Reads blocks of one function.
pub(super) struct BlockReader<'a, 'm> {
    pub(super) cx: &'a mut Reading,
    function: &'m str,
    opset: Opset,
    scope: BTreeMap<&'m str, Entry>,
    /// The names in `scope`, in order of definition.
    defined: Vec<&'m str>,
    /// Names that stand where the IR has operands or results of regions.
    operands: BTreeSet<&'m str>,
    /// Values whose declared shape is wrong.
    reshaped: BTreeSet<Value>,
}

impl<'a, 'm> BlockReader<'a, 'm> {
    /// A reader of the function whose body is `body`.
    pub(super) fn new(
        cx: &'a mut Reading,
        function: &'m str,
        opset: Opset,
        body: &'m mil::Block,
    ) -> Self {
        let mut operands = BTreeSet::new();
        find_operands(body, &mut operands);
        let (scope, defined, reshaped) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { cx, function, opset, scope, defined, operands, reshaped }
    }

    /// Binds `name` to a value.
    pub(super) fn define(&mut self, name: &'m str, value: Value) {
        self.bind(name, Entry::Value(value));
    }

    fn bind(&mut self, name: &'m str, entry: Entry) {
        self.defined.push(name);
        if self.scope.insert(name, entry).is_some() {
            let message = format!("`{name}` is defined twice");
            self.cx.report(codes::DUPLICATE_NAME, &format!("function {}", self.function), message);
        }
    }

    fn report(&mut self, op: &mil::Operation, code: Code, message: String) {
        let diagnostic = Diagnostic::new(code, message).at_op(&loc(op));
        self.cx.found.push(diagnostic);
    }

    /// Appends the ops of a block and gives the values it yields, unless one could not be read.
    pub(super) fn block(
        &mut self,
        b: &mut Builder<'_>,
        block: &'m mil::Block,
    ) -> Option<Vec<Value>> {
        for op in &block.operations {
            b.loc = b.program.intern_loc(loc(op));
            self.operation(b, op);
        }
        let mut results = Vec::new();
        for name in &block.outputs {
            match self.scope.get(name.as_str()) {
                Some(Entry::Value(value) | Entry::Const(_, Some(value))) => results.push(*value),
                Some(Entry::Broken) => {}
                Some(Entry::Const(literal, None)) => {
                    let message = format!("output `{name}` is {}", literal.describe());
                    let entry = format!("function {}", self.function);
                    self.cx.report(codes::UNSUPPORTED_SIGNATURE, &entry, message);
                }
                None => {
                    let message = format!("output `{name}` does not exist");
                    let entry = format!("function {}", self.function);
                    self.cx.report(codes::UNKNOWN_VALUE, &entry, message);
                }
            }
        }
        (results.len() == block.outputs.len()).then_some(results)
    }

    fn operation(&mut self, b: &mut Builder<'_>, op: &'m mil::Operation) {
        let outcome = if op.r#type == "const" { self.constant(b, op) } else { self.op(b, op) };
        let entries = match outcome {
            Ok(entries) => entries,
            Err(problem) => {
                if let Some((code, message)) = problem {
                    self.report(op, code, format!("`{}`: {message}", op.r#type));
                }
                vec![Entry::Broken; op.outputs.len()]
            }
        };
        for (output, entry) in op.outputs.iter().zip(entries) {
            if let Entry::Value(value) | Entry::Const(_, Some(value)) = entry {
                b.name(value, &output.name);
            }
            self.bind(&output.name, entry);
        }
    }

    fn constant(&mut self, b: &mut Builder<'_>, op: &mil::Operation) -> OpOutcome<Vec<Entry>> {
        let (Some(value), [output]) = (op.attributes.get("val"), &op.outputs[..]) else {
            return fail(codes::CORRUPT_PACKAGE, "a constant has one value and one result");
        };
        let literal = values::literal(value, &self.cx.weights)
            .or_else(|problem| fail(problem.code, problem.message))?;
        let value = match &literal {
            Literal::Tensor(tensor) if self.operands.contains(output.name.as_str()) => {
                Some(materialize(b, tensor, &output.name)?)
            }
            _ => None,
        };
        Ok(vec![Entry::Const(literal, value)])
    }

    fn op(&mut self, b: &mut Builder<'_>, op: &'m mil::Operation) -> OpOutcome<Vec<Entry>> {
        let name = op.r#type.as_str();
        let Some(spec) = ops::spec(name) else {
            let close = nearest(name, ops::specs().map(|spec| spec.name));
            let mut diagnostic =
                Diagnostic::new(codes::UNKNOWN_OP, format!("operation `{name}` is not supported"));
            if let (None, Some(close)) = (mlc_target::first_opset(name), close.first()) {
                diagnostic = diagnostic.note(format!("did you mean `{close}`?"));
            }
            self.cx.found.push(diagnostic.at_op(&loc(op)));
            return Err(None);
        };
        let Some(signature) = mlc_target::signature(name, self.opset) else {
            let message = format!("the op does not exist on {}", self.opset.label());
            return fail(codes::INVALID_GRAPH, message);
        };
        let mut arguments = self.arguments(op, spec, signature)?;
        let broken = arguments.values().flatten().any(|entry| matches!(entry, Entry::Broken));
        let regions = self.regions(b, op, spec)?;
        if broken {
            return Err(None);
        }
        if let ("classify", Some([Entry::Const(classes, _)])) =
            (name, arguments.get("classes").map(Vec::as_slice))
            && classes.ints().is_some()
            && let Some(classes) = arguments.remove("classes")
        {
            arguments.insert("class_ids".to_owned(), classes);
        }
        let operands = self.operands(b, spec, &mut arguments)?;
        let attributes = self.attributes(b, (op, spec, signature), &mut arguments)?;
        self.leftovers(signature, arguments)?;
        let payload = match Op::from_attrs(name, &attributes) {
            Some(Ok(payload)) => payload,
            Some(Err(at)) => {
                let attr = spec.attrs.get(at).map_or("?", |attr| attr.name);
                let message = match attributes.get(at) {
                    Some(Some(value)) => format!("`{attr}` cannot be {value}"),
                    _ => format!("`{attr}` is missing"),
                };
                return fail(codes::BAD_ATTRIBUTE, message);
            }
            None => return fail(codes::UNKNOWN_OP, "the op is not supported"),
        };
        self.append(b, op, payload, (operands, regions))
    }

    /// All arguments by name; literals of constexpr ops in their newer form.
    fn arguments(
        &mut self,
        op: &'m mil::Operation,
        spec: &OpSpec,
        signature: &OpSignature,
    ) -> OpOutcome<BTreeMap<String, Bindings>> {
        let mut arguments = BTreeMap::new();
        for (param, argument) in &op.inputs {
            let bindings = argument.arguments.iter().map(|binding| self.binding(binding));
            arguments.insert(param.clone(), bindings.collect::<OpOutcome<Bindings>>()?);
        }
        let has_attributes = spec.traits.has(Trait::Constexpr) && !takes_inputs(signature);
        let mut literals = BTreeMap::new();
        for (name, value) in op.attributes.iter().filter(|(name, _)| *name != "name") {
            if !has_attributes {
                let message = format!("there is no attribute `{name}`");
                return fail(codes::UNSUPPORTED_ARGUMENT, message);
            }
            let literal = values::literal(value, &self.cx.weights)
                .or_else(|problem| fail(problem.code, problem.message))?;
            literals.insert(name.clone(), literal);
        }
        if has_attributes {
            constexpr::unpack(signature, &mut literals)
                .or_else(|problem| fail(codes::CORRUPT_PACKAGE, problem))?;
        }
        for (name, literal) in literals {
            arguments.insert(name, vec![Entry::Const(literal, None)]);
        }
        Ok(arguments)
    }

    fn binding(&self, binding: &mil::argument::Binding) -> OpOutcome<Entry> {
        use mil::argument::binding::Binding;
        match &binding.binding {
            Some(Binding::Name(name)) => match self.scope.get(name.as_str()) {
                Some(entry) => Ok(entry.clone()),
                None => fail(codes::UNKNOWN_VALUE, format!("`{name}` is used before it exists")),
            },
            Some(Binding::Value(value)) => values::literal(value, &self.cx.weights)
                .map(|literal| Entry::Const(literal, None))
                .or_else(|problem| fail(problem.code, problem.message)),
            None => fail(codes::CORRUPT_PACKAGE, "an argument is bound to nothing"),
        }
    }

    fn operands(
        &self,
        b: &mut Builder<'_>,
        spec: &OpSpec,
        arguments: &mut BTreeMap<String, Bindings>,
    ) -> OpOutcome<Operands> {
        let mut operands = Operands::new();
        for slot in spec.operands {
            let bindings = arguments.remove(slot.name).unwrap_or_default();
            let fits = match slot.arity {
                Arity::One => bindings.len() == 1,
                Arity::Opt => bindings.len() <= 1,
                Arity::Many => true,
            };
            if !fits {
                let message = format!("`{}` has {} values", slot.name, bindings.len());
                return fail(codes::INVALID_GRAPH, message);
            }
            let mut values = Vec::new();
            for entry in bindings {
                values.push(match entry {
                    Entry::Value(value) if (spec.name, slot.name) == ("cond", "pred") => {
                        scalar(b, value).or(Err(None))?
                    }
                    Entry::Value(value) | Entry::Const(_, Some(value)) => value,
                    Entry::Const(Literal::Tensor(tensor), None) => {
                        materialize(b, &tensor, slot.name)?
                    }
                    Entry::Const(literal, None) => {
                        let message = format!("`{}` is {}", slot.name, literal.describe());
                        return fail(codes::UNSUPPORTED_ARGUMENT, message);
                    }
                    Entry::Broken => return Err(None),
                });
            }
            operands.push_slot(values);
        }
        Ok(operands)
    }

    fn attributes(
        &self,
        b: &mut Builder<'_>,
        (op, spec, signature): (&mil::Operation, &OpSpec, &OpSignature),
        arguments: &mut BTreeMap<String, Bindings>,
    ) -> OpOutcome<Vec<Option<AttrValue>>> {
        let mut values = Vec::new();
        for attr in spec.attrs {
            let param = signature.param(attr.name);
            let Some(bindings) = arguments.remove(attr.name) else {
                let repeats_type = attr.kind == AttrKind::DType
                    && mlc_target::versions(spec.name).iter().all(|v| v.param(attr.name).is_none());
                values.push(if repeats_type {
                    result_dtype(op).map(AttrValue::DType)
                } else {
                    param.and_then(|param| default(attr.kind, param, op, b, self))
                });
                continue;
            };
            let literal = joined(bindings, param.map_or(ParamKind::Tensor, |param| param.kind));
            let Some(literal) = literal else {
                let message = format!("`{}` is not a constant", attr.name);
                return fail(codes::UNSUPPORTED_ARGUMENT, message);
            };
            match attrs::attribute(attr.kind, &literal, &mut b.program.consts) {
                Some(value) => values.push(Some(value)),
                None => {
                    let message = format!("`{}` cannot be {}", attr.name, literal.describe());
                    return fail(codes::BAD_ATTRIBUTE, message);
                }
            }
        }
        Ok(values)
    }

    /// Arguments that the IR's op has no place for must say what holds anyway.
    fn leftovers(
        &mut self,
        signature: &OpSignature,
        arguments: BTreeMap<String, Bindings>,
    ) -> OpOutcome<()> {
        for (name, bindings) in arguments {
            let Some(param) = signature.param(&name) else {
                return fail(codes::UNSUPPORTED_ARGUMENT, format!("there is no argument `{name}`"));
            };
            let is_default = matches!(&bindings[..],
                [Entry::Const(literal, _)] if attrs::says_default(literal, param));
            if !is_default {
                return fail(codes::UNSUPPORTED_ARGUMENT, format!("`{name}` is not supported"));
            }
        }
        Ok(())
    }

    fn regions(
        &mut self,
        b: &mut Builder<'_>,
        op: &'m mil::Operation,
        spec: &OpSpec,
    ) -> OpOutcome<Vec<Region>> {
        if op.blocks.len() != spec.regions.len() {
            let message = format!("{} blocks, {} needed", op.blocks.len(), spec.regions.len());
            return fail(codes::INVALID_GRAPH, message);
        }
        let mut regions = Vec::new();
        let mut broken = false;
        for (index, block) in op.blocks.iter().enumerate() {
            let is_condition = spec.name == "while_loop" && index == 0;
            match self.region(b, block, is_condition)? {
                Some(region) => regions.push(region),
                None => broken = true,
            }
        }
        if broken { Err(None) } else { Ok(regions) }
    }

    /// A nested block. Names in it end with it. A condition is made a scalar.
    fn region(
        &mut self,
        b: &mut Builder<'_>,
        block: &'m mil::Block,
        is_condition: bool,
    ) -> OpOutcome<Option<Region>> {
        let mut args = Vec::new();
        for input in &block.inputs {
            let ty = types::value_type(input.r#type.as_ref())
                .or_else(|problem| fail(codes::CORRUPT_PACKAGE, problem))?;
            args.push(ty.map_dims(&mut |dim| match dim {
                Dim::Unknown => b.program.symbols.fresh(),
                dim => dim.clone(),
            }));
        }
        let outer = self.defined.len();
        let region = b.region(&args, |inner, values| {
            for (input, &value) in block.inputs.iter().zip(values) {
                inner.name(value, &input.name);
                self.define(&input.name, value);
            }
            let results = self.block(inner, block).ok_or(())?;
            if is_condition {
                results.into_iter().map(|v| scalar(inner, v)).collect()
            } else {
                Ok(results)
            }
        });
        for name in self.defined.drain(outer..) {
            self.scope.remove(name);
        }
        Ok(region.ok())
    }

    fn append(
        &mut self,
        b: &mut Builder<'_>,
        op: &mil::Operation,
        payload: Op,
        (operands, regions): (Operands, Vec<Region>),
    ) -> OpOutcome<Vec<Entry>> {
        let operands = indices::from_front(b, &payload, operands, self.opset)
            .or_else(|error| fail(error.code, error.message))?;
        let mut inferred = match b.infer(&payload, &operands, &regions) {
            Ok(inferred) => inferred,
            Err(error) => return fail(error.code, error.message),
        };
        if inferred.results.len() != op.outputs.len() {
            let (found, wanted) = (op.outputs.len(), inferred.results.len());
            return fail(codes::INVALID_GRAPH, format!("{found} results, {wanted} inferred"));
        }
        let is_wrong = WRONGLY_DECLARED.contains(&op.r#type.as_str())
            || operands.all().iter().any(|value| self.reshaped.contains(value));
        let differs = settle(&mut inferred, op, is_wrong)?;
        let node = b.append(payload, operands, regions, inferred);
        if differs {
            self.reshaped.extend(b.results(node));
        }
        Ok(b.results(node).iter().map(|&value| Entry::Value(value)).collect())
    }
}

/// What is wrong with an op; nothing if it was reported before.
type OpProblem = Option<(Code, String)>;
type OpOutcome<T> = Result<T, OpProblem>;

fn fail<T>(code: Code, message: impl Into<String>) -> OpOutcome<T> {
    Err(Some((code, message.into())))
}

/// Ops for which coremltools declares a wrong shape: of `select` it takes that of `a`, of `matmul` it
/// drops the wrong axis where an operand is a vector, of `crop_resize` with boxes that name their image it
/// has all images. Their inferred shape counts, and those of what
/// is computed from them.
const WRONGLY_DECLARED: [&str; 3] = ["select", "matmul", "crop_resize"];

/// The declared types against the inferred ones; open extents take the declared numbers.
///
/// Says whether a shape differs; that is an error unless `is_wrong` says that it may.
fn settle(inferred: &mut Inferred, op: &mil::Operation, is_wrong: bool) -> OpOutcome<bool> {
    let mut differs = false;
    for ((ty, _), output) in inferred.results.iter_mut().zip(&op.outputs) {
        let declared = types::value_type(output.r#type.as_ref())
            .or_else(|problem| fail(codes::CORRUPT_PACKAGE, problem))?;
        let blank = |ty: &Type| ty.map_dims(&mut |_| Dim::Const(0));
        let mut extents = Vec::new();
        declared.for_each_dim(&mut |dim| extents.push(dim.clone()));
        let mut fits = blank(&declared) == blank(ty);
        let mut extents = extents.into_iter();
        let settled = ty.map_dims(&mut |dim| match (dim, extents.next()) {
            (Dim::Unknown, Some(declared)) => declared,
            (Dim::Const(a), Some(Dim::Const(b))) => {
                fits &= *a == b;
                dim.clone()
            }
            _ => dim.clone(),
        });
        let same_element = match (&declared, &*ty) {
            (Type::Tensor(a), Type::Tensor(b)) => a.dtype == b.dtype,
            _ => false,
        };
        if !fits && same_element && is_wrong {
            differs = true;
            continue;
        }
        if !fits {
            let message = format!("`{}` is declared {declared}, {ty} is inferred", output.name);
            return fail(codes::TYPE_MISMATCH, message);
        }
        *ty = settled;
    }
    Ok(differs)
}

/// A condition as a scalar: coremltools also writes vectors of one element.
fn scalar(b: &mut Builder<'_>, value: Value) -> Result<Value, ()> {
    let is_vector = b.tensor(value).is_ok_and(|ty| ty.rank() == 1 && ty.shape[0].is(1));
    if is_vector { Squeeze { axes: None }.build(b, value).map_err(|_| ()) } else { Ok(value) }
}

fn materialize(b: &mut Builder<'_>, tensor: &Tensor, name: &str) -> OpOutcome<Value> {
    let value = b.program.consts.intern_named(tensor.clone(), name);
    Const { value }.build(b).or_else(|error| fail(error.code, error.message))
}

/// The literal of an argument; a list where the parameter takes several.
fn joined(bindings: Bindings, kind: ParamKind) -> Option<Literal> {
    let mut literals = Vec::new();
    for entry in bindings {
        match entry {
            Entry::Const(literal, _) => literals.push(literal),
            Entry::Value(_) | Entry::Broken => return None,
        }
    }
    match (kind, literals.len()) {
        (ParamKind::Tuple, _) => Some(Literal::List(literals)),
        (_, 1) => literals.pop(),
        _ => None,
    }
}

/// What holds when the argument is left out, where MIL says it in numbers.
fn default(
    kind: AttrKind,
    param: &Param,
    op: &mil::Operation,
    b: &Builder<'_>,
    reader: &BlockReader<'_, '_>,
) -> Option<AttrValue> {
    if let Some(DefaultValue::Formula(formula)) = &param.default {
        use mil::argument::binding::Binding;
        let first = op.inputs.get("x")?.arguments.first()?;
        let Some(Binding::Name(name)) = &first.binding else { return None };
        let value = match reader.scope.get(name.as_str())? {
            Entry::Value(value) | Entry::Const(_, Some(value)) => *value,
            Entry::Const(_, None) | Entry::Broken => return None,
        };
        let items = formula.of_rank(b.tensor(value).ok()?.rank())?;
        let is_list = matches!(kind, AttrKind::Ints);
        return is_list.then(|| AttrValue::Ints(items.into_iter().map(i64::from).collect()));
    }
    attrs::default(kind, param)
}

fn result_dtype(op: &mil::Operation) -> Option<mlc_tensor::DType> {
    match types::value_type(op.outputs.first()?.r#type.as_ref()).ok()? {
        Type::Tensor(ty) => Some(ty.dtype),
        _ => None,
    }
}

/// The place of an op: its own name, or that of its first result, and its kind.
fn loc(op: &mil::Operation) -> Loc {
    let strings = |value: &mil::Value| match values::literal(value, &BTreeMap::new()) {
        Ok(literal) => literal.strings()?.pop(),
        Err(_) => None,
    };
    let own = op.attributes.get("name").and_then(strings);
    let name = own.or_else(|| op.outputs.first().map(|output| output.name.clone()));
    Loc {
        module: name.map(|name| name.as_str().into()),
        origin: Some(op.r#type.as_str().into()),
        ..Loc::default()
    }
}

/// Collects the names that stand where the IR has operands or results of regions.
fn find_operands<'m>(block: &'m mil::Block, found: &mut BTreeSet<&'m str>) {
    use mil::argument::binding::Binding;
    found.extend(block.outputs.iter().map(String::as_str));
    for op in &block.operations {
        let spec = ops::spec(&op.r#type);
        for (param, argument) in &op.inputs {
            if spec.is_none_or(|spec| spec.operand(param).is_some()) {
                found.extend(argument.arguments.iter().filter_map(|b| match &b.binding {
                    Some(Binding::Name(name)) => Some(name.as_str()),
                    _ => None,
                }));
            }
        }
        op.blocks.iter().for_each(|block| find_operands(block, found));
    }
}
