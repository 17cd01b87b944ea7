//! Attributes of an op as constants of the types its signature asks for.

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{AttrKind, AttrSpec, AttrValue, Function, NodeData, OpSpec, Program};
use mlc_target::{DataType, DefaultValue, OpSignature, Param, ParamDtype, ParamKind};
use mlc_tensor::{DType, Tensor};

use super::values::{self, Values};
use crate::dtype::{data_type, dtype};
use crate::spec::mil;

/// What becomes of an attribute.
pub(super) enum Bound {
    /// Nothing is written: the op does by itself what the attribute says.
    Absent,
    /// A constant, given by name.
    Named(mil::Value),
    /// Constants under one argument, given by name.
    Tuple(Vec<mil::Value>),
    /// Constants that stand in the argument.
    Literal(Vec<mil::Value>),
}

/// An op whose attributes are written.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a> {
    pub(super) program: &'a Program,
    pub(super) function: &'a Function,
    pub(super) data: &'a NodeData,
    pub(super) signature: &'a OpSignature,
}

/// MIL's name for the attribute `attr` of `op`. The IR tells labels that are integers from strings.
pub(super) fn param_name<'a>(op: &str, attr: &'a str) -> &'a str {
    match (op, attr) {
        ("classify", "class_ids") => "classes",
        _ => attr,
    }
}

/// A parameter that takes its attribute as pairs of numbers: `[[before, after], ..]`.
fn is_pairs(op: &str, param: &str) -> bool {
    matches!((op, param), ("space_to_batch", "paddings") | ("batch_to_space", "crops"))
}

impl Attributes<'_> {
    fn spec(&self) -> &'static OpSpec {
        self.data.op.spec()
    }

    /// The argument for `attr`, whose value is `value`.
    ///
    /// # Errors
    /// A number does not fit the type of the parameter.
    pub(super) fn bind(
        &self,
        attr: &AttrSpec,
        value: &AttrValue,
        default: Option<&AttrValue>,
        constants: &mut Values<'_>,
    ) -> Result<Bound, Diagnostics> {
        let name = param_name(self.spec().name, attr.name);
        let Some(param) = self.signature.param(name) else { return Ok(Bound::Absent) };
        let value = match value {
            AttrValue::None => return Ok(Bound::Absent),
            AttrValue::Ints(_) | AttrValue::Strs(_)
                if param.kind == ParamKind::List && default == Some(value) =>
            {
                return Ok(Bound::Absent);
            }
            AttrValue::Ints(items) if items.is_empty() && default == Some(value) => {
                match &param.default {
                    Some(DefaultValue::Formula(formula)) => {
                        match self.rank().and_then(|rank| formula.of_rank(rank)) {
                            Some(items) => {
                                &AttrValue::Ints(items.into_iter().map(i64::from).collect())
                            }
                            None => return Ok(Bound::Absent),
                        }
                    }
                    _ if param.optional => return Ok(Bound::Absent),
                    _ => value,
                }
            }
            AttrValue::Bools(items)
                if items.is_empty() && default == Some(value) && param.optional =>
            {
                return Ok(Bound::Absent);
            }
            value => value,
        };
        let element = match (self.element_type(param, attr.kind), value) {
            (DataType::Fp16, AttrValue::Float(x)) if self.may_be_wider(param, x.0) => {
                DataType::Fp32
            }
            (element, _) => element,
        };
        match param.kind {
            ParamKind::Tuple => {
                let items = self.items(param, value, element)?;
                let is_literal = self.spec().name == "reshape_like";
                Ok(if is_literal { Bound::Literal(items) } else { Bound::Tuple(items) })
            }
            ParamKind::List => {
                let element = if matches!(value, AttrValue::Ints(_)) {
                    DataType::Int64
                } else {
                    DataType::String
                };
                let items = self.items(param, value, element)?;
                Ok(Bound::Literal(vec![values::list(element, items)]))
            }
            _ => Ok(Bound::Named(self.constant(param, value, element, constants)?)),
        }
    }

    /// Whether a number that f16 makes zero or infinite may be an f32: no operand is in its domain.
    fn may_be_wider(&self, param: &Param, x: f64) -> bool {
        let half = half::f16::from_f64(x);
        let is_lost = (half.to_f64() == 0.0 && x != 0.0) || (half.is_infinite() && x.is_finite());
        let allowed = self.signature.allowed(param).unwrap_or_default();
        let is_shared = self.spec().operands.iter().any(|operand| {
            self.signature.param(operand.name).is_some_and(|other| other.dtype == param.dtype)
        });
        is_lost && !is_shared && allowed.contains(&DataType::Fp32)
    }

    /// The rank of the first operand.
    fn rank(&self) -> Option<usize> {
        let first = *self.data.operands.slot(0).first()?;
        Some(self.function.ty(first).as_tensor()?.rank())
    }

    /// The dtype of an attribute: that of the operands in its domain; where no operand is in it, that
    /// of the first operand or of the result if the domain has it, and the widest otherwise.
    fn element_type(&self, param: &Param, kind: AttrKind) -> DataType {
        let plain = match kind {
            AttrKind::Int | AttrKind::Ints | AttrKind::OptInt | AttrKind::OptInts => {
                DataType::Int32
            }
            AttrKind::Float | AttrKind::OptFloat | AttrKind::Const => DataType::Fp32,
            AttrKind::Bool | AttrKind::Bools | AttrKind::OptBool => DataType::Bool,
            AttrKind::Str | AttrKind::Strs | AttrKind::DType | AttrKind::Word(_) => {
                DataType::String
            }
        };
        let allowed = match (&param.dtype, self.signature.allowed(param)) {
            (ParamDtype::Fixed(dtype), _) => return *dtype,
            (ParamDtype::Untyped, _) | (_, None) => return plain,
            (_, Some(allowed)) => allowed,
        };
        let in_domain = self.spec().operands.iter().enumerate().filter_map(|(slot, operand)| {
            let other = self.signature.param(operand.name)?;
            (other.dtype == param.dtype).then(|| self.operand_type(slot))?
        });
        let first = (0..self.spec().operands.len()).filter_map(|slot| self.operand_type(slot));
        let result = self.data.results.first().and_then(|&value| self.type_of(value));
        in_domain
            .chain(first.take(1))
            .chain(result)
            .chain([plain])
            .find(|dtype| allowed.contains(dtype))
            .unwrap_or(allowed.first().copied().unwrap_or(plain))
    }

    fn operand_type(&self, slot: usize) -> Option<DataType> {
        self.type_of(*self.data.operands.slot(slot).first()?)
    }

    fn type_of(&self, value: mlc_ir::Value) -> Option<DataType> {
        data_type(self.function.ty(value).as_tensor()?.dtype)
    }

    /// Each element of a list as a scalar.
    fn items(
        &self,
        param: &Param,
        value: &AttrValue,
        element: DataType,
    ) -> Result<Vec<mil::Value>, Diagnostics> {
        let scalar = |item: AttrValue| {
            let mut none = Values::new(mlc_target::Opset::Ios15, None);
            self.constant(param, &item, element, &mut none)
        };
        match value {
            // An extent that is not known is given by a name.
            AttrValue::Ints(items) if param.name == "elem_shape" => {
                let extent = |(axis, &i): (usize, &i64)| match i {
                    -1 => Ok(values::string(&format!("extent_{axis}"))),
                    i => scalar(AttrValue::Int(i)),
                };
                items.iter().enumerate().map(extent).collect()
            }
            AttrValue::Ints(items) => items.iter().map(|&i| scalar(AttrValue::Int(i))).collect(),
            AttrValue::Bools(items) => {
                let boolean = |&b: &bool| self.scalar_bool(b);
                items.iter().map(boolean).collect()
            }
            AttrValue::Strs(items) => Ok(items.iter().map(|text| values::string(text)).collect()),
            other => Ok(vec![scalar(other.clone())?]),
        }
    }

    fn scalar_bool(&self, value: bool) -> Result<mil::Value, Diagnostics> {
        let mut none = Values::new(mlc_target::Opset::Ios15, None);
        let tensor = Tensor::from_bytes(DType::Bool, &[], vec![u8::from(value)]);
        none.tensor(&tensor.map_err(|error| self.bad(&error.to_string()))?)
    }

    fn constant(
        &self,
        param: &Param,
        value: &AttrValue,
        element: DataType,
        constants: &mut Values<'_>,
    ) -> Result<mil::Value, Diagnostics> {
        let tensor = match value {
            AttrValue::Int(i) => self.integers(param, &[], &[*i], element)?,
            AttrValue::Ints(items) => {
                let n = items.len() as u64;
                let shape = if is_pairs(self.spec().name, param.name) && n.is_multiple_of(2) {
                    vec![n / 2, 2]
                } else {
                    vec![n]
                };
                self.integers(param, &shape, items, element)?
            }
            AttrValue::Float(x) => Tensor::from_f64s(dtype(element), &[], &[x.0])
                .map_err(|error| self.bad(&error.to_string()))?,
            AttrValue::Bool(b) => Tensor::from_bytes(DType::Bool, &[], vec![u8::from(*b)])
                .map_err(|error| self.bad(&error.to_string()))?,
            AttrValue::Bools(items) => {
                let bytes: Vec<u8> = items.iter().map(|&b| u8::from(b)).collect();
                Tensor::from_bytes(DType::Bool, &[items.len() as u64], bytes)
                    .map_err(|error| self.bad(&error.to_string()))?
            }
            AttrValue::Const(id) => match self.program.consts.try_get(*id) {
                Some(tensor) => tensor.clone(),
                None => return Err(self.bad(&format!("{id:?} is not in the program"))),
            },
            AttrValue::Str(text) => return Ok(values::string(text)),
            AttrValue::Word(word) => return Ok(values::string(word)),
            AttrValue::DType(dtype) => match data_type(*dtype) {
                Some(name) => return Ok(values::string(name.name())),
                None => return Err(self.bad(&format!("{dtype} has no name in Core ML"))),
            },
            AttrValue::None | AttrValue::Strs(_) => {
                return Err(self.bad(&format!("`{}` cannot be {value}", param.name)));
            }
        };
        constants.tensor(&tensor)
    }

    fn integers(
        &self,
        param: &Param,
        shape: &[u64],
        items: &[i64],
        element: DataType,
    ) -> Result<Tensor, Diagnostics> {
        let element = dtype(element);
        if let Some((low, high)) = element.int_range()
            && let Some(x) = items.iter().find(|x| !(low..=high).contains(*x))
        {
            return Err(self.bad(&format!("`{}` is {x}, which does not fit {element}", param.name)));
        }
        Tensor::from_i64s(element, shape, items).map_err(|error| self.bad(&error.to_string()))
    }

    fn bad(&self, what: &str) -> Diagnostics {
        let message = format!("`{}`: {what}", self.spec().name);
        let loc = self.program.loc(self.data.loc);
        Diagnostic::new(codes::BAD_ATTRIBUTE, message).at_op(loc).into()
    }
}
