//! The pass `feature-types`.

use mlc_ir::ops::Cast;
use mlc_ir::{Builder, Node, Program, Region, Type, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Rebuild, Result, Step, rebuild};
use mlc_target::Opset;
use mlc_tensor::DType;
use serde::{Deserialize, Serialize};

use crate::choose;

/// Makes inputs and outputs of f16 ones of f32, with casts inside, where `target` takes no f16 there
/// (iOS 15), and outputs of integers that are only stored, such as the u8 of `quantize`, ones of i32.
///
/// ```mlc before (target=ios15)
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
    /// The system it is for, such as `ios17`; the lowest one that holds the program if none is named.
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
        let takes_half = match &self.target {
            Some(target) => choose::opset(program, Some(target))? >= Opset::Ios16,
            None => true,
        };
        let mut changed = false;
        for func in cx.functions(program) {
            let function = &program.functions[func];
            let body = &function.regions[function.body];
            let half = |&value: &Value| !takes_half && is_half(function.ty(value));
            let stored = |&value: &Value| is_stored(function.ty(value));
            let results = &body.results;
            if body.args.iter().chain(results).any(half) || results.iter().any(stored) {
                rebuild(program, func, self.name(), &mut Widen { takes_half })?;
                changed = true;
            }
        }
        Ok(Changed::from(changed))
    }
}

fn is_half(ty: &Type) -> bool {
    ty.as_tensor().is_some_and(|ty| ty.dtype == DType::F16)
}

/// Integers without arithmetic.
fn is_stored(ty: &Type) -> bool {
    let stored = [DType::I8, DType::U8, DType::I16, DType::U16];
    ty.as_tensor().is_some_and(|ty| stored.contains(&ty.dtype))
}

struct Widen {
    takes_half: bool,
}

impl Rebuild for Widen {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        match b.ty(arg) {
            Type::Tensor(ty)
                if ty.dtype == DType::F16 && !self.takes_half && region == b.function().body =>
            {
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
                let dtype = match b.ty(*result) {
                    ty if is_half(ty) && !self.takes_half => DType::F32,
                    ty if is_stored(ty) => DType::I32,
                    _ => continue,
                };
                *result = Cast { dtype }.build(b, *result)?;
            }
        }
        Ok(())
    }
}
