//! Compares what programs compute before and after a pass.

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_driver::{Tolerance, VerifyOptions, verify_programs};
use mlc_ir::{Program, Type};
use mlc_pass::{NumbersCheck, Numerics};
use mlc_tensor::DType;

/// How many random inputs each function gets.
const SAMPLES: usize = 3;
/// How often a function with states is called in a row.
const STEPS: usize = 3;

/// Rounding of one op in f32, some times over.
const SINGLE: Tolerance = Tolerance::Relative(1e-5);
/// Two units in the last place of f16.
const HALF: Tolerance = Tolerance::Relative(2e-3);
/// What a program loses when it is computed in f16.
const NARROWED: Tolerance = Tolerance::SnrDb(35.0);

/// What a program computes with weights that are near: anything finite.
const LOSSY: Tolerance = Tolerance::SnrDb(f64::NEG_INFINITY);

/// Compares two programs on random inputs.
#[derive(Debug, Default)]
pub struct Numbers {
    /// How many comparisons were made.
    pub compared: usize,
}

impl NumbersCheck for Numbers {
    fn compare(
        &mut self,
        before: &Program,
        after: &Program,
        numerics: Numerics,
        seed: u64,
    ) -> Result<(), Diagnostics> {
        let tolerance = match numerics {
            Numerics::Narrower => NARROWED,
            Numerics::Lossy => LOSSY,
            Numerics::Same if has_half(before) => HALF,
            Numerics::Same => SINGLE,
        };
        self.compared += 1;
        same_numbers(before, after, tolerance, seed)
    }
}

/// Runs every function of `before` and the one of that name in `after` on the same random inputs.
///
/// # Errors
/// Outputs that do not agree within `tolerance`, or a function that is missing or cannot be run.
pub fn same_numbers(
    before: &Program,
    after: &Program,
    tolerance: Tolerance,
    seed: u64,
) -> Result<(), Diagnostics> {
    let mut found = Diagnostics::new();
    if before.functions.iter().next().is_none() {
        found.push(Diagnostic::new(codes::EVALUATION, "there is no function to run"));
    }
    for (_, function) in before.functions.iter() {
        let options =
            VerifyOptions { samples: SAMPLES, seed, steps: STEPS, ..VerifyOptions::new(tolerance) };
        if let Err(errors) = verify_programs(before, after, &function.name, &options) {
            found.extend(errors);
        }
    }
    if found.has_errors() { Err(found) } else { Ok(()) }
}

/// Whether a value is of a type with few digits.
fn has_half(program: &Program) -> bool {
    program.functions.iter().any(|(_, function)| {
        function.values.iter().any(|(_, value)| match &value.ty {
            Type::Tensor(ty) | Type::State(ty) => matches!(ty.dtype, DType::F16 | DType::Bf16),
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use mlc_text::{ParseOptions, parse};

    use super::*;

    fn program(dtype: &str, body: &str) -> Program {
        let text = format!(
            "func @f(%x: tensor<4x{dtype}>) -> tensor<4x{dtype}> {{\n  {body}\n  return %y\n}}\n"
        );
        parse("test", &text, &ParseOptions::default()).unwrap().program
    }

    fn agree(dtype: &str, before: &str, after: &str, numerics: Numerics) -> bool {
        let (before, after) = (program(dtype, before), program(dtype, after));
        Numbers::default().compare(&before, &after, numerics, 0).is_ok()
    }

    #[test]
    fn rounding_is_allowed_and_no_more() {
        let (twice, sum) = ("%y = mul %x, 2.0", "%y = add %x, %x");
        assert!(agree("f32", twice, sum, Numerics::Same));
        assert!(!agree("f32", twice, "%y = mul %x, 2.0001", Numerics::Same));
        assert!(agree("f16", "%y = mul %x, 0.3", "%y = mul %x, 0.3003", Numerics::Same));
        assert!(!agree("f16", "%y = mul %x, 0.3", "%y = mul %x, 0.302", Numerics::Same));
        assert!(agree("f32", twice, "%y = mul %x, 2.001", Numerics::Narrower));
        assert!(!agree("f32", twice, "%y = mul %x, 2.1", Numerics::Narrower));
    }

    #[test]
    fn integers_are_exact() {
        assert!(!agree("i32", "%y = mul %x, 100000", "%y = add %x, 1", Numerics::Same));
        assert!(agree("i32", "%y = add %x, %x", "%y = mul %x, 2", Numerics::Same));
    }
}
