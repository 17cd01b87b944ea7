//! The pass `state-types`.

use mlc_diag::{Diagnostic, Place, codes};
use mlc_ir::ops::{Cast, ExpandDims, ReadState, Squeeze, WriteState};
use mlc_ir::{Builder, FuncId, Node, Op, Program, Region, TensorType, Type, Value};
use mlc_pass::{Changed, Numerics, Pass, PassCx, Phase, Rebuild, Result, Step, rebuild};
use mlc_tensor::DType;
use serde::{Deserialize, Serialize};

/// Keeps states of f32 and bool in f16, the one type that Core ML keeps, and states without axes as
/// vectors of one. Truth values stay as they are; numbers are rounded when they are written. States of
/// integers are left for `opset` to refuse.
///
/// ```mlc before
/// func @f(%x: tensor<2xf32>, state %s: state<tensor<2xf32>>) -> tensor<2xf32> {
///   %1 = read_state %s
///   %y = add %1, %x
///   write_state %s, %y
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>, state %s: state<tensor<2xf16>>) -> tensor<2xf32> {
///   %1 = read_state %s
///   %2 = cast %1 {dtype = f32}
///   %y = add %2, %x
///   %4 = cast %y {dtype = f16}
///   write_state %s, %4
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateTypes {}

impl Pass for StateTypes {
    fn name(&self) -> &'static str {
        "state-types"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn numerics(&self) -> Numerics {
        Numerics::Narrower
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        for func in cx.functions(program) {
            if needs(program, func, cx) {
                rebuild(program, func, self.name(), &mut Keep)?;
                changed = true;
            }
        }
        Ok(Changed::from(changed))
    }
}

/// The type that a state is kept in.
fn kept(ty: &TensorType) -> TensorType {
    let dtype = match ty.dtype {
        DType::F32 | DType::Bool => DType::F16,
        dtype => dtype,
    };
    match ty.rank() {
        0 => TensorType::new(dtype, [1.into()]),
        _ => ty.with_dtype(dtype),
    }
}

/// Whether a state of `func` has to change; warns of those that lose digits.
fn needs(program: &Program, func: FuncId, cx: &mut PassCx) -> bool {
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    let mut needed = false;
    for (param, &arg) in function.params.iter().zip(&body.args) {
        let Type::State(ty) = function.ty(arg) else { continue };
        needed |= kept(ty) != *ty;
        if ty.dtype == DType::F32 {
            let message = format!("state `{}` of f32 is kept in f16", param.name);
            cx.report(
                Diagnostic::new(codes::STATE_NARROWING, message)
                    .at(Place::Argument(param.name.as_str().into()))
                    .help("`--states=io` keeps single precision, as an input and an output"),
            );
        }
    }
    needed
}

struct Keep;

/// `x` as what `ty` holds: of its element type, with its number of axes.
fn fit(b: &mut Builder<'_>, x: Value, ty: &TensorType) -> Result<Value> {
    let mut y = x;
    if b.tensor(y)?.dtype != ty.dtype {
        y = Cast { dtype: ty.dtype }.build(b, y)?;
    }
    Ok(match (b.tensor(y)?.rank(), ty.rank()) {
        (0, 1) => ExpandDims { axes: vec![0] }.build(b, y)?,
        (1, 0) => Squeeze { axes: Some(vec![0]) }.build(b, y)?,
        _ => y,
    })
}

impl Rebuild for Keep {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        if let Type::State(ty) = b.ty(arg) {
            let ty = Type::State(kept(ty));
            b.function_mut().values[arg].ty = ty;
        }
        Ok(arg)
    }

    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Step> {
        let data = &b.function().nodes[node];
        let operands = data.operands.all().to_vec();
        match &data.op {
            Op::ReadState(_) => {
                let result = data.results[0];
                let wanted = b.tensor(result)?.clone();
                let value = ReadState {}.build(b, operands[0])?;
                Ok(Step::Replace(vec![fit(b, value, &wanted)?]))
            }
            Op::WriteState(_) => {
                let Type::State(held) = b.ty(operands[0]).clone() else { return Ok(Step::Keep) };
                let value = fit(b, operands[1], &held)?;
                WriteState {}.build_many(b, operands[0], value)?;
                Ok(Step::Replace(Vec::new()))
            }
            _ => Ok(Step::Keep),
        }
    }
}
