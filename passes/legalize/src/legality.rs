//! Whether an opset takes an op.

use std::collections::BTreeMap;

use mlc_ir::{AttrValue, Dim, Function, Node, Op, Program, Trait, Type, Value};
use mlc_target::rules::{Arguments, undefined};
use mlc_target::{
    DataType, OpSignature, Opset, Param, ParamDtype, ParamKind, first_opset, signature, versions,
};
use mlc_tensor::DType;

/// Why an opset does not take an op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The opset has no such op.
    NoOp,
    /// The op has no such argument there, or one that is needed is not given.
    Argument(String),
    /// An operand must be known when the model is compiled, and is not.
    NotConstant(String),
    /// An operand has an element type that is not taken.
    Dtype {
        /// Slot of the operand.
        slot: usize,
        /// Its type.
        dtype: DType,
        /// Types that are taken.
        allowed: Vec<DataType>,
    },
    /// Operands that must have one element type have two.
    Mixed(String),
}

impl Refusal {
    /// The refusal in words, about an op of that name.
    #[must_use]
    pub fn text(&self, op: &Op) -> String {
        let name = op.spec().name;
        match self {
            Self::NoOp => match first_opset(name) {
                Some(since) => format!("`{name}` came with {}", since.label()),
                None => format!("`{name}` is no Core ML op"),
            },
            Self::Argument(what) | Self::Mixed(what) => format!("`{name}`: {what}"),
            Self::NotConstant(operand) => format!("`{name}` takes only a constant for `{operand}`"),
            Self::Dtype { slot, dtype, allowed } => {
                let operand = op.spec().operands[*slot].name;
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                format!("`{name}` takes no {dtype} for `{operand}`, but {}", allowed.join(", "))
            }
        }
    }
}

/// MIL's name of an element type; none for types that programs do not have.
#[must_use]
pub fn data_type(dtype: DType) -> Option<DataType> {
    DataType::from_ir_name(dtype.name())
}

/// Whether `opset` takes `node` as it stands. Constants, control flow and `identity` are always taken.
///
/// # Errors
/// The first reason why not.
pub fn accepts(
    program: &Program,
    function: &Function,
    node: Node,
    opset: Opset,
) -> Result<(), Refusal> {
    let data = &function.nodes[node];
    if matches!(data.op, Op::Const(_) | Op::Cond(_) | Op::WhileLoop(_) | Op::Identity(_)) {
        return Ok(());
    }
    let Some(signature) = signature(data.op.spec().name, opset) else { return Err(Refusal::NoOp) };
    let check = Check { program, function, node, signature };
    check.attributes(opset)?;
    if let Some(message) = undefined(data.op.spec().name, &check, opset) {
        return Err(Refusal::Argument(message));
    }
    check.required(opset)?;
    check.operands(opset)
}

struct Check<'a> {
    program: &'a Program,
    function: &'a Function,
    node: Node,
    signature: &'static OpSignature,
}

impl Check<'_> {
    fn op(&self) -> &Op {
        &self.function.nodes[self.node].op
    }

    fn attr(&self, name: &str) -> Option<AttrValue> {
        let at = self.op().spec().attrs.iter().position(|attr| attr.name == name)?;
        self.op().attrs().into_iter().nth(at)
    }

    fn operand(&self, name: &str) -> Option<Value> {
        let data = &self.function.nodes[self.node];
        data.operands.slot(data.op.spec().operand(name)?).first().copied()
    }

    /// Attributes other than their default are arguments of the signature.
    fn attributes(&self, opset: Opset) -> Result<(), Refusal> {
        let op = self.op();
        let spec = op.spec();
        let values = op.attrs().into_iter().zip(op.defaults());
        for (attr, (value, default)) in spec.attrs.iter().zip(values) {
            let is_default = default.as_ref() == Some(&value) || value == AttrValue::None;
            let known = versions(spec.name).iter().any(|v| v.param(attr.name).is_some());
            if known && !is_default && self.signature.param(attr.name).is_none() {
                let message = format!("{} has no `{}`", opset.label(), attr.name);
                return Err(Refusal::Argument(message));
            }
        }
        if let Op::Cast(cast) = op {
            self.cast(cast.dtype)?;
        }
        Ok(())
    }

    /// The type that a cast makes is one that it takes.
    fn cast(&self, to: DType) -> Result<(), Refusal> {
        let allowed = self.signature.param("x").and_then(|x| self.signature.allowed(x));
        let taken = data_type(to).is_some_and(|to| allowed.is_none_or(|all| all.contains(&to)));
        if taken { Ok(()) } else { Err(Refusal::Argument(format!("no cast to {to}"))) }
    }

    /// Every argument that the signature needs is given.
    fn required(&self, opset: Opset) -> Result<(), Refusal> {
        let data = &self.function.nodes[self.node];
        let spec = data.op.spec();
        let values = data.op.attrs();
        for param in &self.signature.params {
            if param.optional || matches!(param.kind, ParamKind::Block | ParamKind::Internal) {
                continue;
            }
            let operand = spec.operand(param.name).is_some_and(|slot| {
                param.kind == ParamKind::Tuple || !data.operands.slot(slot).is_empty()
            });
            let attr = spec.attrs.iter().position(|attr| attr.name == param.name);
            let given = attr.is_some_and(|at| values[at] != AttrValue::None);
            if !operand && !given {
                let message = format!("{} needs `{}`", opset.label(), param.name);
                return Err(Refusal::Argument(message));
            }
        }
        Ok(())
    }

    fn operands(&self, opset: Opset) -> Result<(), Refusal> {
        let data = &self.function.nodes[self.node];
        let mut domains: BTreeMap<&str, DType> = BTreeMap::new();
        for (slot, spec) in data.op.spec().operands.iter().enumerate() {
            let values = data.operands.slot(slot);
            if values.is_empty() {
                continue;
            }
            let Some(param) = self.signature.param(spec.name) else {
                let message = format!("{} has no `{}`", opset.label(), spec.name);
                return Err(Refusal::Argument(message));
            };
            for &value in values {
                if param.constant && !self.is_constant(value) {
                    return Err(Refusal::NotConstant(spec.name.to_owned()));
                }
                self.dtype(slot, (param, value), &mut domains)?;
            }
        }
        Ok(())
    }

    fn dtype(
        &self,
        slot: usize,
        (param, value): (&Param, Value),
        domains: &mut BTreeMap<&'static str, DType>,
    ) -> Result<(), Refusal> {
        let Type::Tensor(ty) = self.function.ty(value) else { return Ok(()) };
        let dtype = ty.dtype;
        if let Some(allowed) = self.signature.allowed(param)
            && !data_type(dtype).is_some_and(|dtype| allowed.contains(&dtype))
        {
            return Err(Refusal::Dtype { slot, dtype, allowed: allowed.to_vec() });
        }
        if let ParamDtype::Domain(id) = param.dtype {
            let first = *domains.entry(id).or_insert(dtype);
            if first != dtype {
                let message = format!("`{}` is {dtype}, others are {first}", param.name);
                return Err(Refusal::Mixed(message));
            }
        }
        Ok(())
    }

    fn is_constant(&self, value: Value) -> bool {
        let constexpr = |value| {
            let made = self.function.def(value);
            made.is_some_and(|(_, data)| data.op.spec().traits.has(Trait::Constexpr))
        };
        self.program.constant_of(self.function, value).is_some() || constexpr(value)
    }
}

impl Arguments for Check<'_> {
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
                let content = self.function.values[self.operand(name)?].content.as_deref()?;
                content.iter().map(Dim::as_const).collect()
            }
        }
    }

    fn is_constant(&self, operand: &str) -> bool {
        self.operand(operand).is_none_or(|value| Check::is_constant(self, value))
    }
}
