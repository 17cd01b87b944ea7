//! When an output agrees with its reference.

use mlc_driver::Precision;
use mlc_eval::Array;

use super::collect::Judged;

/// How far a number may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `|a − b| ≤ t · (|b| + max(rms(b), 1e-3))`, `t` = 1e-3 in fp32 and 1e-2 in fp16; integers and
    /// truth values exactly.
    Op,
    /// With `s = max(max |b|, 1e-3)`: `|a − b| ≤ 1e-4·s + 20·single` in fp32, `5e-3·s + 4·half` in
    /// fp16; integers and truth values exactly, but in fp16 one in twenty may differ, as the index of
    /// a maximum does where two values are close.
    Model {
        /// What rounding to f32 alone costs.
        single: f64,
        /// What rounding to f16 alone costs.
        half: f64,
    },
}

/// How an output compares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// The greatest difference over what is allowed there.
    pub of_allowed: f64,
    /// The greatest difference over the greatest reference.
    pub relative: f64,
}

/// Part of the integers of a model's output that may differ in fp16.
const LOOSE_INTEGERS: f64 = 0.05;

/// The greatest finite number of fp16.
const GREATEST_HALF: f64 = 65504.0;

/// Compares `got` with `want`.
///
/// # Errors
/// What does not agree: the shapes, the element types, or the first of the worst elements.
pub fn compare(
    (rule, precision): (Rule, Precision),
    judged: Judged,
    got: &Array,
    want: &Array,
) -> Result<Agreement, String> {
    let scalar = want.rank() == 0 && got.shape() == [1];
    if got.shape() != want.shape() && !scalar {
        return Err(format!("shapes differ: {:?}, {:?} wanted", got.shape(), want.shape()));
    }
    if got.dtype().is_float() != want.dtype().is_float() && want.dtype().is_float() {
        return Err(format!("types differ: {}, {} wanted", got.dtype(), want.dtype()));
    }
    if judged != Judged::Numbers {
        return Ok(Agreement { of_allowed: 0.0, relative: 0.0 });
    }
    let (a, b) = (got.to_f64s(), want.to_f64s());
    let (a, b) = (a.map_err(|e| e.to_string())?, b.map_err(|e| e.to_string())?);
    let scales = Scales::of(&b);
    if !want.dtype().is_float() {
        return integers((rule, precision), &a, &b);
    }
    let (mut worst, mut greatest, mut at) = (0f64, 0f64, 0);
    for (i, (&a, &b)) in a.iter().zip(&b).enumerate() {
        let gap = gap(a, b);
        if gap == 0.0 {
            continue;
        }
        greatest = greatest.max(gap);
        let of_allowed = match gap.is_finite() {
            true => gap / scales.allowed((rule, precision), b),
            false => f64::INFINITY,
        };
        if of_allowed > worst {
            (worst, at) = (of_allowed, i);
        }
    }
    if worst > 1.0 {
        let beyond = precision == Precision::Fp16 && b[at].abs() > GREATEST_HALF;
        return Err(format!(
            "{}: {} at {at} of {:?}, {} wanted, {worst:.1} of what is allowed",
            if beyond { "values beyond fp16" } else { "values differ" },
            a[at],
            want.shape(),
            b[at]
        ));
    }
    Ok(Agreement { of_allowed: worst, relative: greatest / scales.most })
}

/// The greatest difference of `a` and `b` over the greatest element of `b`; infinite where one is no number or
/// infinite and the other is not. Integers and truth values differ by 1 where they differ.
///
/// # Errors
/// The shapes or the types differ.
pub fn relative(a: &Array, b: &Array) -> Result<f64, String> {
    if a.shape() != b.shape() || a.dtype() != b.dtype() {
        let (got, want) = ((a.dtype(), a.shape()), (b.dtype(), b.shape()));
        return Err(format!("types differ: {got:?}, {want:?} wanted"));
    }
    let numbers =
        (a.to_f64s().map_err(|e| e.to_string())?, b.to_f64s().map_err(|e| e.to_string())?);
    let scale = if a.dtype().is_float() { Scales::of(&numbers.1).most } else { 1.0 };
    let gaps = numbers.0.iter().zip(&numbers.1).map(|(&a, &b)| gap(a, b) / scale);
    Ok(gaps.fold(0.0, f64::max))
}

/// How far two numbers are apart; a difference with NaN or infinity in it is beyond every allowance.
fn gap(a: f64, b: f64) -> f64 {
    let gap = (a - b).abs();
    match a == b || (a.is_nan() && b.is_nan()) {
        true => 0.0,
        false if gap.is_nan() => f64::INFINITY,
        false => gap,
    }
}

fn integers(
    (rule, precision): (Rule, Precision),
    a: &[f64],
    b: &[f64],
) -> Result<Agreement, String> {
    let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
    let part = differing as f64 / b.len().max(1) as f64;
    let allowed = match (rule, precision) {
        (Rule::Model { .. }, Precision::Fp16) => LOOSE_INTEGERS,
        _ => 0.0,
    };
    if part > allowed {
        let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(0);
        return Err(format!(
            "integers differ: {} at {at}, {} wanted, {differing} of {}",
            a[at],
            b[at],
            b.len()
        ));
    }
    Ok(Agreement { of_allowed: if differing > 0 { part / allowed } else { 0.0 }, relative: part })
}

/// The size of a reference, where it is finite.
struct Scales {
    /// `max |b|`, at least 1e-3.
    most: f64,
    /// Root of the mean square, at least 1e-3.
    rms: f64,
}

impl Scales {
    fn of(b: &[f64]) -> Self {
        let finite = || b.iter().filter(|x| x.is_finite());
        let square: f64 = finite().map(|x| x * x).sum();
        Self {
            most: finite().fold(1e-3, |most, x| most.max(x.abs())),
            rms: (square / finite().count().max(1) as f64).sqrt().max(1e-3),
        }
    }

    fn allowed(&self, (rule, precision): (Rule, Precision), b: f64) -> f64 {
        match (rule, precision) {
            (Rule::Op, Precision::Fp32) => 1e-3 * (b.abs() + self.rms),
            (Rule::Op, Precision::Fp16 | Precision::Auto(_)) => 1e-2 * (b.abs() + self.rms),
            (Rule::Model { single, .. }, Precision::Fp32) => 1e-4 * self.most + 20.0 * single,
            (Rule::Model { half, .. }, Precision::Fp16 | Precision::Auto(_)) => {
                5e-3 * self.most + 4.0 * half
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;

    const MODEL: (Rule, Precision) = (Rule::Model { single: 0.0, half: 0.0 }, Precision::Fp32);
    const OP: (Rule, Precision) = (Rule::Op, Precision::Fp32);

    fn floats(values: &[f32]) -> Array {
        Array::from_f32s(DType::F32, &[values.len()], values.to_vec()).unwrap()
    }

    fn agree(rule: (Rule, Precision), got: &Array, want: &Array) -> bool {
        compare(rule, Judged::Numbers, got, want).is_ok()
    }

    #[test]
    fn a_model_is_measured_by_its_greatest_value() {
        let want = floats(&[100.0, 0.0]);
        assert!(agree(MODEL, &floats(&[100.0, 0.009]), &want));
        assert!(!agree(MODEL, &floats(&[100.0, 0.011]), &want));
        let loose = (Rule::Model { single: 1e-3, half: 0.0 }, Precision::Fp32);
        assert!(agree(loose, &floats(&[100.0, 0.011]), &want));
    }

    #[test]
    fn an_op_is_measured_element_by_element() {
        let want = floats(&[1.0, 0.0]);
        assert!(agree(OP, &floats(&[1.0016, 0.0]), &want));
        assert!(!agree(OP, &floats(&[1.0, 0.0011]), &want));
    }

    #[test]
    fn what_is_not_finite_must_be_the_same() {
        let want = floats(&[f32::NAN, f32::INFINITY, 1.0]);
        assert!(agree(OP, &want, &want));
        for wrong in [[0.0, f32::INFINITY, 1.0], [f32::NAN, f32::NEG_INFINITY, 1.0], [f32::NAN; 3]]
        {
            assert!(!agree(OP, &floats(&wrong), &want), "{wrong:?}");
        }
    }

    #[test]
    fn integers_are_exact_and_shapes_too() {
        let ints =
            |values: Vec<i64>| Array::from_i64s(DType::I64, &[values.len()], values).unwrap();
        assert!(agree(OP, &ints(vec![1, 2]), &ints(vec![1, 2])));
        assert!(!agree(OP, &ints(vec![1, 3]), &ints(vec![1, 2])));
        assert!(!agree(OP, &ints(vec![1]), &ints(vec![1, 2])));
        assert!(!agree(OP, &ints(vec![1]), &floats(&[1.0])));
        let half = (MODEL.0, Precision::Fp16);
        let mut many = vec![7; 40];
        let want = ints(many.clone());
        many[0] = 8;
        assert!(agree(half, &ints(many.clone()), &want));
        assert!(!agree(MODEL, &ints(many), &want));
        let scalar = Array::from_i64s(DType::I64, &[], vec![1]).unwrap();
        assert!(agree(OP, &ints(vec![1]), &scalar));
    }
}
