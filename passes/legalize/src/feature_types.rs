//! The pass `feature-types`.

use mlc_ir::ops::Cast;
use mlc_ir::{Builder, Node, Program, Region, Type, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Rebuild, Result, Step, rebuild};
use mlc_target::Opset;
use mlc_tensor::DType;
use serde::{Deserialize, Serialize};

use crate::choose;

/// Makes inputs and outputs of f16 ones of f32, with casts inside, where `target` takes no f16 there
/// (iOS 15).
///
/// ```mlc before {target=ios15}
/// func @f(%x: tensor<2xf16>) -> tensor<2xf16> {
///   %y = exp %x
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
///   %1 = cast %x {dtype = f16}
///   %2 = exp %1
///   %y = cast %2 {dtype = f32}
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureTypes {
    target: Option<String>,
}

impl Pass for FeatureTypes {
    fn name(&self) -> &'static str {
        "feature-types"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let Some(target) = &self.target else { return Ok(Changed::No) };
        if choose::opset(program, Some(target))? >= Opset::Ios16 {
            return Ok(Changed::No);
        }
        let mut changed = false;
        for func in cx.functions(program) {
            let function = &program.functions[func];
            let body = &function.regions[function.body];
            let half = |&value: &Value| is_half(function.ty(value));
            if body.args.iter().any(half) || body.results.iter().any(half) {
                rebuild(program, func, self.name(), &mut Widen)?;
                changed = true;
            }
        }
        Ok(Changed::from(changed))
    }
}

fn is_half(ty: &Type) -> bool {
    ty.as_tensor().is_some_and(|ty| ty.dtype == DType::F16)
}

struct Widen;

impl Rebuild for Widen {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        match b.ty(arg) {
            Type::Tensor(ty) if ty.dtype == DType::F16 && region == b.function().body => {
                let wide = ty.with_dtype(DType::F32);
                b.function_mut().values[arg].ty = wide.into();
                Ok(Cast { dtype: DType::F16 }.build(b, arg)?)
            }
            _ => Ok(arg),
        }
    }

    fn node(&mut self, _: &mut Builder<'_>, _: Node) -> Result<Step> {
        Ok(Step::Keep)
    }

    fn leave(&mut self, b: &mut Builder<'_>, region: Region, results: &mut [Value]) -> Result<()> {
        if region == b.function().body {
            for result in results {
                if is_half(b.ty(*result)) {
                    *result = Cast { dtype: DType::F32 }.build(b, *result)?;
                }
            }
        }
        Ok(())
    }
}
