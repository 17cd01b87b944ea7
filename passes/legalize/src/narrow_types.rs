//! The pass `narrow-types`.

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::{FuncId, Program, Type};
use mlc_pass::{Changed, Pass, PassCx, Phase, Property, Result, rebuild};
use mlc_tensor::{DType, DTypeKind};
use serde::{Deserialize, Serialize};

use crate::narrow::{Narrow, core_dtype, is_feature_bool};

/// Leaves the element types that Core ML computes with: f16, f32, i32 and bool. Other integers become
/// i32, f64 and bf16 become f32, in parameters, constants, outputs and the ops between; parameters and
/// outputs of bool become f32. Sums and products of types narrower than i32 wrap as they did.
///
/// Refused are complex numbers, and integer constants that i32 does not hold unless nothing tells them
/// from the nearest one that it does, such as the end of a slice.
///
/// ```mlc before
/// func @f(%x: tensor<4xi64>) -> tensor<4xi64> {
///   %y = add %x, 1
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<4xi32>) -> tensor<4xi32> {
///   %y = add %x, 1
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NarrowTypes {}

impl Pass for NarrowTypes {
    fn name(&self) -> &'static str {
        "narrow-types"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn establishes(&self) -> &'static [Property] {
        &[crate::CORE_DTYPES]
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut errors = Diagnostics::new();
        let functions = cx.functions(program);
        for &func in &functions {
            refuse_complex(program, func, &mut errors);
        }
        let mut changed = false;
        for func in functions {
            let mut narrow = Narrow::new(program, func, &mut errors)?;
            if errors.has_errors() || !narrow.is_needed(program) {
                continue;
            }
            warn(program, func, cx);
            rebuild(program, func, self.name(), &mut narrow)?;
            changed = true;
        }
        if errors.has_errors() { Err(errors.into()) } else { Ok(Changed::from(changed)) }
    }
}

fn refuse_complex(program: &Program, func: FuncId, errors: &mut Diagnostics) {
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    let complex = |ty: &Type| ty.as_tensor().is_some_and(|t| t.dtype.kind() == DTypeKind::Complex);
    let help = "split the numbers into real and imaginary parts before exporting";
    for (param, &arg) in function.params.iter().zip(&body.args) {
        if complex(function.ty(arg)) {
            let message = format!("input `{}` is {}", param.name, function.ty(arg));
            errors.push(Diagnostic::new(codes::UNSUPPORTED_DTYPE, message).help(help));
        }
    }
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        if data.results.iter().any(|&value| complex(function.ty(value))) {
            let message = format!("`{}` gives complex numbers", data.op.spec().name);
            let error = Diagnostic::new(codes::UNSUPPORTED_DTYPE, message);
            errors.push(error.at_op(program.loc(data.loc)).help(help));
        }
    });
}

/// One warning for all inputs that lose bits.
fn warn(program: &Program, func: FuncId, cx: &mut PassCx) {
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    for (param, &arg) in function.params.iter().zip(&body.args) {
        let Some(dtype) = function.ty(arg).as_tensor().map(|ty| ty.dtype) else { continue };
        let loses = matches!(dtype, DType::I64 | DType::U64 | DType::U32);
        if loses && !is_feature_bool(dtype) && core_dtype(dtype) == DType::I32 {
            let message = format!("inputs of {dtype} become i32");
            cx.report(
                Diagnostic::new(codes::INT_NARROWING, message)
                    .at(Place::Argument(param.name.as_str().into()))
                    .note("Core ML computes with 32-bit integers; values beyond ±2^31 do not fit"),
            );
        }
    }
}
