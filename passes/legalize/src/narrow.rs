//! Rebuilds a function with the element types that Core ML computes with.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::ops::{Add, Cast, Const, Mod, Op, Sub};
use mlc_ir::{
    AttrValue, Builder, FuncId, Function, Node, Operands, Program, Region, Trait, Type, Uses, Value,
};
use mlc_pass::{Rebuild, Result, Step, append_like};
use mlc_tensor::{DType, Tensor};

use crate::sentinel::saturates;

/// The type that stands for `dtype` in a legal program. Types of stored weights stay.
pub(crate) fn core_dtype(dtype: DType) -> DType {
    match dtype {
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::I8 | DType::I16 | DType::I64 => {
            DType::I32
        }
        DType::F64 | DType::Bf16 => DType::F32,
        other => other,
    }
}

/// Whether features of this type are f32 outside and bool inside.
pub(crate) fn is_feature_bool(dtype: DType) -> bool {
    dtype == DType::Bool
}

fn core_type(ty: &Type) -> Type {
    match ty {
        Type::Tensor(ty) => Type::Tensor(ty.with_dtype(core_dtype(ty.dtype))),
        Type::State(ty) => Type::State(ty.with_dtype(core_dtype(ty.dtype))),
        Type::List { element, length } => Type::List {
            element: element.with_dtype(core_dtype(element.dtype)),
            length: length.clone(),
        },
        Type::Tuple(items) => Type::Tuple(items.iter().map(core_type).collect()),
        Type::Dict { .. } => ty.clone(),
    }
}

/// Whether an op takes stored or quantized integers as they are.
fn is_storage(op: &Op) -> bool {
    op.spec().traits.has(Trait::Constexpr) || matches!(op.spec().name, "quantize" | "dequantize")
}

pub(crate) struct Narrow {
    func: FuncId,
    /// What each constant op becomes.
    constants: BTreeMap<Node, Tensor>,
    /// The element types of values before the pass.
    dtypes: BTreeMap<Value, DType>,
    /// Where outputs of bool are.
    bool_outputs: Vec<usize>,
}

impl Narrow {
    /// Looks at `func`; constants that do not fit go to `errors`.
    pub(crate) fn new(program: &Program, func: FuncId, errors: &mut Diagnostics) -> Result<Self> {
        let function = &program.functions[func];
        let uses = Uses::of(function);
        let mut constants = BTreeMap::new();
        let mut nodes = Vec::new();
        function.for_each_node(&mut |_, node| nodes.push(node));
        for node in nodes {
            let Op::Const(Const { value }) = function.nodes[node].op else { continue };
            let tensor = program.consts.get(value);
            let dtype = core_dtype(tensor.dtype());
            let result = function.nodes[node].results[0];
            let users = uses.users(result);
            let stored =
                !users.is_empty() && users.iter().all(|&user| is_storage(&function.nodes[user].op));
            if dtype == tensor.dtype() || stored {
                continue;
            }
            let lost = if dtype == DType::I32 { beyond_i32(tensor)? } else { None };
            if let Some(number) = lost
                && !saturates(function, &uses, result, number)
            {
                let message = format!(
                    "constant {number} of {} does not fit i32, the integer type of Core ML",
                    tensor.dtype()
                );
                let loc =
                    users.first().map_or(function.nodes[node].loc, |&u| function.nodes[u].loc);
                errors.push(
                    Diagnostic::new(codes::UNSUPPORTED_DTYPE, message).at_op(program.loc(loc)),
                );
            }
            constants.insert(node, tensor.cast(dtype)?);
        }
        let dtypes = function
            .values
            .iter()
            .filter_map(|(value, data)| Some((value, data.ty.as_tensor()?.dtype)))
            .collect::<BTreeMap<_, _>>();
        let results = function.regions[function.body].results.iter().enumerate();
        let bool_outputs = results
            .filter(|(_, value)| dtypes.get(value).copied().is_some_and(is_feature_bool))
            .map(|(at, _)| at)
            .collect();
        Ok(Self { func, constants, dtypes, bool_outputs })
    }

    /// Whether anything would change.
    pub(crate) fn is_needed(&self, program: &Program) -> bool {
        let function = &program.functions[self.func];
        let body = function.body;
        let arg_changes = |region: Region| {
            function.regions[region].args.iter().any(|&arg| {
                let ty = function.ty(arg);
                let feature = ty.as_tensor().is_some_and(|t| is_feature_bool(t.dtype));
                core_type(ty) != *ty || (region == body && feature)
            })
        };
        let mut needed =
            !self.constants.is_empty() || !self.bool_outputs.is_empty() || arg_changes(body);
        function.for_each_node(&mut |_, node| {
            let data = &function.nodes[node];
            needed |= data.regions.iter().any(|&region| arg_changes(region));
            needed |= core_attrs(&data.op).is_some();
        });
        needed
    }

    fn dtype(&self, function: &Function, value: Value) -> Option<DType> {
        let now = || function.ty(value).as_tensor().map(|ty| ty.dtype);
        self.dtypes.get(&value).copied().or_else(now)
    }

    /// The type whose range the result of `node` has to be wrapped into.
    fn wraps_to(&self, function: &Function, node: Node) -> Option<DType> {
        let data = &function.nodes[node];
        let [result] = data.results[..] else { return None };
        let dtype = self.dtypes.get(&result).copied()?;
        let narrow = matches!(dtype, DType::U8 | DType::U16 | DType::I8 | DType::I16);
        let leaves = match &data.op {
            Op::Cast(_) => {
                let from = self.dtype(function, *data.operands.all().first()?)?;
                match (from.int_range(), dtype.int_range()) {
                    (Some(from), Some(to)) => from.0 < to.0 || to.1 < from.1,
                    _ => true,
                }
            }
            Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Square(_)
            | Op::Pow(_)
            | Op::Abs(_)
            | Op::Exp2(_)
            | Op::RealDiv(_)
            | Op::FloorDiv(_)
            | Op::Cumsum(_)
            | Op::ReduceSum(_)
            | Op::ReduceProd(_)
            | Op::ReduceL1Norm(_)
            | Op::ReduceSumSquare(_)
            | Op::Matmul(_)
            | Op::Linear(_)
            | Op::Einsum(_) => true,
            _ => false,
        };
        (narrow && leaves).then_some(dtype)
    }
}

impl Narrow {
    /// `dequantize` on a cast to the type that its operand had, if that became i32.
    fn stored_operand(&self, b: &mut Builder<'_>, node: Node) -> Result<Option<Step>> {
        let data = &b.function().nodes[node];
        let (op, old) = (data.op.clone(), data.operands.clone());
        let (Op::Dequantize(_), Some(&input)) = (&op, old.slot(0).first()) else {
            return Ok(None);
        };
        let had = self.dtypes.get(&input).copied();
        let Some(dtype) = had.filter(|had| matches!(had, DType::I8 | DType::U8)) else {
            return Ok(None);
        };
        if b.tensor(input)?.dtype != DType::I32 {
            return Ok(None);
        }
        let mut operands = Operands::new();
        operands.push_slot([Cast { dtype }.build(b, input)?]);
        for slot in 1..old.slots() {
            operands.push_slot(old.slot(slot).iter().copied());
        }
        Ok(Some(Step::Replace(append_like(b, node, op, operands)?)))
    }
}

/// The op with its element-type attributes replaced, if one changes.
fn core_attrs(op: &Op) -> Option<Op> {
    if is_storage(op) || matches!(op, Op::Const(_)) {
        return None;
    }
    let mut changed = false;
    let values: Vec<Option<AttrValue>> = op
        .attrs()
        .into_iter()
        .map(|value| match value {
            AttrValue::DType(dtype) => {
                changed |= core_dtype(dtype) != dtype;
                Some(AttrValue::DType(core_dtype(dtype)))
            }
            value => Some(value),
        })
        .collect();
    if !changed {
        return None;
    }
    Op::from_attrs(op.spec().name, &values)?.ok()
}

/// An element that is no i32, if there is one.
fn beyond_i32(tensor: &Tensor) -> Result<Option<i64>> {
    if matches!(tensor.dtype(), DType::U8 | DType::I8 | DType::U16 | DType::I16) {
        return Ok(None);
    }
    // The upper half of `u64` reads as negative.
    let unsigned = tensor.dtype() == DType::U64;
    let numbers = tensor.to_i64s()?;
    let lost = numbers.into_iter().find(|&n| i32::try_from(n).is_err() || (unsigned && n < 0));
    Ok(lost.map(|n| if unsigned && n < 0 { i64::MAX } else { n }))
}

/// `value` modulo 2^bits, in the range of `dtype`.
fn wrap(b: &mut Builder<'_>, value: Value, dtype: DType) -> Result<Value> {
    let modulus = b.int(1 << dtype.bits())?;
    let half = 1i64 << (dtype.bits() - 1);
    let signed = dtype.int_range().is_some_and(|(low, _)| low < 0);
    if !signed {
        return Ok(Mod {}.build(b, value, modulus)?);
    }
    let half = b.int(half)?;
    let up = Add {}.build(b, value, half)?;
    let wrapped = Mod {}.build(b, up, modulus)?;
    Ok(Sub {}.build(b, wrapped, half)?)
}

impl Rebuild for Narrow {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        let ty = core_type(b.ty(arg));
        b.function_mut().values[arg].ty = ty.clone();
        match ty {
            Type::Tensor(ty) if region == b.function().body && is_feature_bool(ty.dtype) => {
                b.function_mut().values[arg].ty = ty.with_dtype(DType::F32).into();
                Ok(Cast { dtype: DType::Bool }.build(b, arg)?)
            }
            _ => Ok(arg),
        }
    }

    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Step> {
        if let Some(tensor) = self.constants.get(&node) {
            let Op::Const(old) = &b.function().nodes[node].op else { return Ok(Step::Keep) };
            let name = b.program.consts.name(old.value).map(str::to_owned);
            let value = match name {
                Some(name) => b.program.consts.intern_named(tensor.clone(), &name),
                None => b.program.consts.intern(tensor.clone()),
            };
            return Ok(Step::Become(Const { value }.into()));
        }
        if let Some(step) = self.stored_operand(b, node)? {
            return Ok(step);
        }
        let data = &b.function().nodes[node];
        let new = core_attrs(&data.op);
        let Some(dtype) = self.wraps_to(b.function(), node) else {
            return Ok(new.map_or(Step::Keep, Step::Become));
        };
        let op = new.unwrap_or_else(|| data.op.clone());
        let operands = data.operands.clone();
        let results = append_like(b, node, op, operands)?;
        let value = wrap(b, results[0], dtype)?;
        self.dtypes.insert(value, dtype);
        Ok(Step::Replace(vec![value]))
    }

    fn leave(&mut self, b: &mut Builder<'_>, region: Region, results: &mut [Value]) -> Result<()> {
        if region == b.function().body {
            for &at in &self.bool_outputs {
                results[at] = Cast { dtype: DType::F32 }.build(b, results[at])?;
            }
        }
        Ok(())
    }
}
