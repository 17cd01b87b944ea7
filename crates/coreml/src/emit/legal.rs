//! What an opset takes: each op against its signature.
//!
//! This is the last check before an op is written, not a pass: it changes nothing. What does not fit
//! is reported with the first later opset that would take the op as it stands.

use std::collections::BTreeMap;

use mlc_diag::{Code, Diagnostic, Diagnostics, codes};
use mlc_ir::{
    AttrKind, AttrValue, Dim, Function, Node, NodeData, OpSpec, Program, Trait, Type, Value,
};
use mlc_target::io::MAX_RANK;
use mlc_target::rules::{Arguments, undefined};
use mlc_target::{DataType, OpSignature, Opset, Outputs, Param, ParamDtype, ParamKind};
use mlc_tensor::DType;

use super::{attrs, constexpr};
use crate::dtype::{data_type, dtype, is_program_type};

/// One reason why an opset does not take an op.
struct Misfit {
    code: Code,
    message: String,
    note: Option<String>,
}

impl Misfit {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), note: None }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// An op, the opset, and what they have to do with each other.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    opset: Opset,
    function: &'a Function,
    data: &'a NodeData,
    spec: &'a OpSpec,
    signature: &'a OpSignature,
}

/// Reports everything that keeps `opset` from taking the op.
pub(super) fn check(
    program: &Program,
    function: &Function,
    node: Node,
    opset: Opset,
    found: &mut Diagnostics,
) {
    let data = &function.nodes[node];
    let spec = data.op.spec();
    let loc = program.loc(data.loc);
    let name = spec.name;
    let candidate = |opset| {
        let signature = mlc_target::signature(name, opset)?;
        Some(Candidate { opset, function, data, spec, signature })
    };
    let Some(asked) = candidate(opset) else {
        let diagnostic = match mlc_target::first_opset(name) {
            Some(first) => {
                let message =
                    format!("`{name}` needs {}, the target is {}", first.label(), opset.label());
                Diagnostic::new(codes::TARGET_TOO_OLD, message)
                    .help(format!("target {}", first.label()))
                    .fix(format!("--target {first}"))
            }
            None => Diagnostic::new(
                codes::UNSUPPORTED_OP,
                format!("`{name}` is no operation of Core ML and was not lowered to any"),
            ),
        };
        found.push(diagnostic.at_op(loc));
        return;
    };
    let misfits = asked.misfits();
    if misfits.is_empty() {
        return;
    }
    let later = Opset::ALL
        .into_iter()
        .filter(|&later| later > opset)
        .find(|&later| candidate(later).is_some_and(|c| c.misfits().is_empty()));
    for misfit in misfits {
        let code = if later.is_some() { codes::TARGET_TOO_OLD } else { misfit.code };
        let message = format!("`{name}`: {} on {}", misfit.message, opset.label());
        let mut diagnostic = Diagnostic::new(code, message).at_op(loc);
        if let Some(note) = misfit.note {
            diagnostic = diagnostic.note(note);
        }
        if let Some(later) = later {
            diagnostic = diagnostic
                .help(format!("target {}", later.label()))
                .fix(format!("--target {later}"));
        }
        found.push(diagnostic);
    }
}

impl Candidate<'_> {
    fn misfits(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        self.operands(&mut found);
        self.attributes(&mut found);
        self.missing(&mut found);
        self.results(&mut found);
        if let Some(message) = undefined(self.spec.name, self, self.opset) {
            found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
        }
        found
    }

    fn attr(&self, name: &str) -> Option<AttrValue> {
        let at = self.spec.attrs.iter().position(|attr| attr.name == name)?;
        self.data.op.attrs().into_iter().nth(at)
    }

    fn argument(&self, name: &str) -> Option<Value> {
        self.data.operands.slot(self.spec.operand(name)?).first().copied()
    }

    fn operands(&self, found: &mut Vec<Misfit>) {
        let mut domains: BTreeMap<&str, (&str, DType)> = BTreeMap::new();
        for (slot, operand) in self.spec.operands.iter().enumerate() {
            let values = self.data.operands.slot(slot);
            if values.is_empty() {
                continue;
            }
            let Some(param) = self.signature.param(operand.name) else {
                let message = format!("no operand `{}`", operand.name);
                found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
                continue;
            };
            for &value in values {
                self.operand(param, value, found);
                if let (ParamDtype::Domain(id), Some(ty)) =
                    (&param.dtype, self.function.ty(value).as_tensor())
                {
                    let (first, dtype) = *domains.entry(id).or_insert((param.name, ty.dtype));
                    if dtype != ty.dtype {
                        let message = format!(
                            "`{first}` is {dtype} and `{}` is {}, they must have one type",
                            param.name, ty.dtype
                        );
                        found.push(Misfit::new(codes::TYPE_MISMATCH, message));
                    }
                }
            }
        }
    }

    fn operand(&self, param: &Param, value: Value, found: &mut Vec<Misfit>) {
        let ty = self.function.ty(value);
        let fits = match (param.kind, ty) {
            (ParamKind::Tensor, Type::Tensor(ty)) => {
                return self.tensor(param, value, ty.dtype, found);
            }
            (ParamKind::State, Type::State(_)) | (ParamKind::List, Type::List { .. }) => true,
            (ParamKind::Tuple | ParamKind::Any, Type::State(_)) => false,
            (ParamKind::Tuple | ParamKind::Any, _) => true,
            _ => false,
        };
        if !fits {
            let message = format!("operand `{}` is {ty}", param.name);
            let note = format!("a {} is needed", param.kind.name());
            found.push(Misfit::new(codes::TYPE_MISMATCH, message).note(note));
        }
    }

    fn tensor(&self, param: &Param, value: Value, found_dtype: DType, found: &mut Vec<Misfit>) {
        let allowed = self.signature.allowed(param);
        let is_constexpr = self.spec.traits.has(Trait::Constexpr);
        let data_type = data_type(if is_constexpr {
            constexpr::stored_type(found_dtype, self.signature)
        } else {
            found_dtype
        });
        if let Some(allowed) = allowed
            && !data_type.is_some_and(|d| allowed.contains(&d))
        {
            let names: Vec<&str> = allowed.iter().map(|&d| dtype(d).name()).collect();
            let message = format!("operand `{}` cannot be {found_dtype}", param.name);
            let note = format!("it takes {}", names.join(", "));
            found.push(Misfit::new(codes::UNSUPPORTED_DTYPE, message).note(note));
        }
        if (param.constant || is_constexpr) && !is_known(self.function, value) {
            let message = format!("operand `{}` must be a constant", param.name);
            found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
        }
        if is_constexpr
            && !takes_inputs(self.signature)
            && param.name == "lut"
            && let Some(shape) =
                self.function.ty(value).as_tensor().and_then(|ty| ty.static_shape())
            && !constexpr::is_flat_table(&shape)
        {
            let message = format!("a `lut` of shape {shape:?} has groups or vectors");
            found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
        }
        let from_constexpr = self.function.def(value).is_some_and(|(_, d)| is_constexpr_op(d));
        if is_constexpr && from_constexpr && !takes_inputs(self.signature) {
            let message =
                format!("operand `{}` cannot be the result of another constexpr op", param.name);
            found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
        }
    }

    fn attributes(&self, found: &mut Vec<Misfit>) {
        let (values, defaults) = (self.data.op.attrs(), self.data.op.defaults());
        for ((attr, value), default) in self.spec.attrs.iter().zip(&values).zip(&defaults) {
            if self.signature.param(attrs::param_name(self.spec.name, attr.name)).is_some() {
                if let (AttrKind::DType, AttrValue::DType(to)) = (attr.kind, value) {
                    self.cast(attr.name, *to, found);
                }
                continue;
            }
            let is_implied = default.as_ref() == Some(value)
                || (self.is_type_of_result(attr.name, attr.kind)
                    && matches!(value, AttrValue::DType(dtype) if Some(*dtype) == self.result_dtype()));
            if !is_implied {
                let message = format!("no attribute `{}` (here {value})", attr.name);
                found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
            }
        }
    }

    /// `cast` converts between the types it takes; its signature names only those of `x`.
    fn cast(&self, attr: &str, to: DType, found: &mut Vec<Misfit>) {
        let Some(allowed) = self.signature.domains.get("T").filter(|_| self.spec.name == "cast")
        else {
            return;
        };
        if !data_type(to).is_some_and(|to| allowed.contains(&to)) {
            let names: Vec<&str> = allowed.iter().map(|&d| dtype(d).name()).collect();
            let message = format!("`{attr}` cannot be {to}");
            let note = format!("it takes {}", names.join(", "));
            found.push(Misfit::new(codes::UNSUPPORTED_DTYPE, message).note(note));
        }
    }

    /// Whether an attribute that MIL has in no opset only repeats the type of the first result.
    fn is_type_of_result(&self, name: &str, kind: AttrKind) -> bool {
        let versions = mlc_target::versions(self.spec.name);
        kind == AttrKind::DType && versions.iter().all(|version| version.param(name).is_none())
    }

    fn result_dtype(&self) -> Option<DType> {
        self.function.ty(*self.data.results.first()?).as_tensor().map(|ty| ty.dtype)
    }

    fn missing(&self, found: &mut Vec<Misfit>) {
        for param in &self.signature.params {
            let is_argument = !matches!(param.kind, ParamKind::Block | ParamKind::Internal);
            let given = match self.spec.operand(param.name) {
                Some(slot) => !self.data.operands.slot(slot).is_empty(),
                None => self.has_attribute(param.name),
            };
            if is_argument && !given && !param.optional && !is_older_form(self, param) {
                let message = format!("`{}` is needed and not there", param.name);
                found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
            }
        }
    }

    fn has_attribute(&self, param: &str) -> bool {
        let values = self.data.op.attrs();
        let mut attrs = self.spec.attrs.iter().zip(&values);
        attrs.any(|(attr, value)| attr.name == param && *value != AttrValue::None)
    }

    fn results(&self, found: &mut Vec<Misfit>) {
        let count = self.data.results.len();
        let fits = match self.signature.outputs {
            Outputs::Exactly(n) => count == n,
            Outputs::Variadic => true,
            Outputs::OneLessUnless { count: n, .. } => count == n || count + 1 == n,
        };
        if !fits {
            let message = format!("{count} results are not what the op has");
            found.push(Misfit::new(codes::UNSUPPORTED_ARGUMENT, message));
        }
        let limits_rank = !self.spec.traits.has(Trait::Constexpr);
        for &value in &self.data.results {
            let (Type::Tensor(ty) | Type::List { element: ty, .. }) = self.function.ty(value)
            else {
                continue;
            };
            let is_label = self.spec.name == "classify" && ty.dtype == DType::I64;
            if !is_label && !data_type(ty.dtype).is_some_and(is_program_type) {
                let message = format!("a result of {} cannot stand", ty.dtype);
                found.push(Misfit::new(codes::UNSUPPORTED_DTYPE, message));
            }
            if limits_rank && ty.rank() > MAX_RANK {
                let message = format!("the result {ty} has rank {}, at most 5 works", ty.rank());
                found.push(Misfit::new(codes::RANK_LIMIT, message));
            }
        }
    }
}

impl Arguments for Candidate<'_> {
    fn text(&self, name: &str) -> Option<String> {
        match self.attr(name)? {
            AttrValue::Str(text) => Some(text),
            AttrValue::Word(word) => Some(word.to_owned()),
            _ => None,
        }
    }

    fn float(&self, name: &str) -> Option<f64> {
        match self.attr(name)? {
            AttrValue::Float(x) => Some(x.0),
            _ => None,
        }
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attr(name) {
            Some(AttrValue::Ints(ints)) => Some(ints),
            Some(_) => None,
            None => {
                let content = self.function.values[self.argument(name)?].content.as_deref()?;
                content.iter().map(Dim::as_const).collect()
            }
        }
    }

    fn is_constant(&self, operand: &str) -> bool {
        self.argument(operand).is_none_or(|value| is_known(self.function, value))
    }
}

/// `shape` of the constexpr ops before iOS 18 follows from the type of the result.
fn is_older_form(candidate: &Candidate<'_>, param: &Param) -> bool {
    param.name == "shape"
        && param.dtype == ParamDtype::Fixed(DataType::Uint32)
        && candidate.spec.traits.has(Trait::Constexpr)
}

/// Whether the value is known when the model is compiled.
fn is_known(function: &Function, value: Value) -> bool {
    function.def(value).is_some_and(|(_, data)| is_const(data) || is_constexpr_op(data))
}

/// Whether the op is a plain constant.
pub(super) fn is_const(data: &NodeData) -> bool {
    matches!(data.op, mlc_ir::Op::Const(_))
}

/// Whether the op decodes a stored weight.
pub(super) fn is_constexpr_op(data: &NodeData) -> bool {
    data.op.spec().traits.has(Trait::Constexpr)
}

/// Whether a constexpr op of this signature has inputs; before iOS 18 it has attributes.
pub(crate) fn takes_inputs(signature: &OpSignature) -> bool {
    signature.since >= Opset::Ios18
}
