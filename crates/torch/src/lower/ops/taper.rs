//! Window functions of signal processing.

use std::f64::consts::PI;

use mlc_tensor::{DType, Tensor};

use super::create::{MAX_KNOWN, ignore_storage};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.hann_window", lower: |cx, call| cosines(cx, call, &[0.5, 0.5]) },
    Lowering { name: "aten.hamming_window", lower: |cx, call| cosines(cx, call, &[0.54, 0.46]) },
    Lowering {
        name: "aten.blackman_window",
        lower: |cx, call| cosines(cx, call, &[0.42, 0.5, 0.08]),
    },
    Lowering { name: "aten.bartlett_window", lower: bartlett },
    Lowering { name: "aten.kaiser_window", lower: kaiser },
];

/// A window of `window_length` numbers: `at(k, last)` for `k` from 0 to `last`, of which a periodic
/// window has one more than it shows.
fn window(cx: &mut Cx<'_>, call: &Call<'_>, at: &dyn Fn(f64, f64) -> f64) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::F32);
    let length = call.int("window_length")?;
    if !(0..=MAX_KNOWN).contains(&length) {
        return Err(LowerError::argument(format!("`window_length` is {length}")));
    }
    let last = if call.bool_or("periodic", true)? { length } else { length - 1 };
    let values: Vec<f64> = match length {
        1 => vec![1.0],
        _ => (0..length).map(|k| at(k as f64, last as f64)).collect(),
    };
    let tensor = Tensor::from_f64s(dtype, &[length as u64], &values)?;
    let y = cx.b.constant(tensor)?;
    cx.one(y)
}

/// `Σ (−1)ʲ·aⱼ·cos(2πjk/last)`
fn cosines(cx: &mut Cx<'_>, call: &Call<'_>, terms: &[f64]) -> LowerResult<Vec<Val>> {
    let mut terms = terms.to_vec();
    for (term, name) in terms.iter_mut().zip(["alpha", "beta"]) {
        *term = call.float_or(name, *term)?;
    }
    window(cx, call, &|k, last| {
        let term = |(j, a): (usize, &f64)| {
            let sign = if j % 2 == 0 { 1.0 } else { -1.0 };
            sign * a * (2.0 * PI * j as f64 * k / last).cos()
        };
        terms.iter().enumerate().map(term).sum()
    })
}

/// A triangle with its top in the middle.
fn bartlett(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    window(cx, call, &|k, last| 1.0 - (2.0 * k / last - 1.0).abs())
}

/// `I₀(β·√(1 − (2k/last − 1)²)) / I₀(β)`
fn kaiser(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let beta = call.float_or("beta", 12.0)?;
    window(cx, call, &|k, last| {
        let from_centre = 2.0 * k / last - 1.0;
        let root = (1.0 - from_centre * from_centre).max(0.0).sqrt();
        bessel_i0(beta * root) / bessel_i0(beta)
    })
}

/// The modified Bessel function of the first kind of order 0: `Σ ((x/2)ᵏ/k!)²`.
fn bessel_i0(x: f64) -> f64 {
    let half = x / 2.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..500 {
        term *= (half / f64::from(k)) * (half / f64::from(k));
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_function_has_its_table_values() {
        assert!((bessel_i0(0.0) - 1.0).abs() < 1e-15);
        assert!((bessel_i0(1.0) - 1.266_065_877_752_008_4).abs() < 1e-14);
        assert!((bessel_i0(12.0) / 18_948.925_349_296_31 - 1.0).abs() < 1e-12);
    }
}
