//! Elements to and from text, bit for bit.

use mlc_tensor::DType;

use crate::ast::Number;

/// A binary float of at most 16 bits: exponent and mantissa bits, and whether all ones in the
/// exponent mean infinity or NaN.
#[derive(Debug, Clone, Copy)]
struct SmallFloat {
    exponent: u32,
    mantissa: u32,
    ieee: bool,
}

impl SmallFloat {
    fn of(dtype: DType) -> Option<Self> {
        let (exponent, mantissa, ieee) = match dtype {
            DType::F16 => (5, 10, true),
            DType::Bf16 => (8, 7, true),
            DType::F8E5M2 => (5, 2, true),
            DType::F8E4M3 => (4, 3, false),
            _ => return None,
        };
        Some(Self { exponent, mantissa, ieee })
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn top(self) -> u64 {
        (1 << self.exponent) - 1
    }

    fn sign(self) -> u64 {
        1 << (self.exponent + self.mantissa)
    }

    fn nan(self) -> u64 {
        if self.ieee {
            self.top() << self.mantissa | 1 << (self.mantissa - 1)
        } else {
            self.top() << self.mantissa | 7
        }
    }

    /// The value; `None` for NaN.
    fn decode(self, bits: u64) -> Option<f64> {
        let exponent = bits >> self.mantissa & self.top();
        let mantissa = bits & ((1 << self.mantissa) - 1);
        let sign = if bits & self.sign() == 0 { 1.0 } else { -1.0 };
        if exponent == self.top() {
            if self.ieee {
                return (mantissa == 0).then_some(sign * f64::INFINITY);
            }
            if mantissa == (1 << self.mantissa) - 1 {
                return None;
            }
        }
        let (hidden, power) = if exponent == 0 { (0, 1) } else { (1 << self.mantissa, exponent) };
        let power = power as i32 - self.bias() - self.mantissa as i32;
        Some(sign * (hidden + mantissa) as f64 * 2f64.powi(power))
    }

    /// The bits of `x` rounded to nearest, ties to even; `None` if it is finite and too large, or
    /// infinite where there is no infinity.
    fn encode(self, x: f64) -> Option<u64> {
        let sign = if x.is_sign_negative() { self.sign() } else { 0 };
        let infinity = self.top() << self.mantissa;
        if x.is_infinite() {
            return self.ieee.then_some(sign | infinity);
        }
        let magnitude = x.abs();
        let power = ((magnitude.to_bits() >> 52) as i32 - 1023).max(1 - self.bias());
        let steps = magnitude * 2f64.powi(self.mantissa as i32 - power);
        let code =
            (((power + self.bias() - 1) as u64) << self.mantissa) + steps.round_ties_even() as u64;
        let most = if self.ieee { infinity - 1 } else { infinity | 6 };
        (code <= most).then_some(sign | code)
    }
}

/// The bits of the usual NaN of a float type.
fn usual_nan(dtype: DType) -> u64 {
    match SmallFloat::of(dtype) {
        Some(small) => small.nan(),
        None if dtype == DType::F32 => u64::from(f32::NAN.to_bits()),
        None => f64::NAN.to_bits(),
    }
}

/// The bits of a real element of `dtype`, or what is wrong.
pub(crate) fn encode(number: &Number, dtype: DType) -> Result<u64, String> {
    let misfit = || format!("{} does not fit {dtype}", show(number));
    if dtype.is_float() {
        let text = match number {
            Number::Int(i) => i.to_string(),
            Number::Float(text) => text.clone(),
            Number::Nan(bits) => {
                let bits = bits.unwrap_or_else(|| usual_nan(dtype));
                let fits = dtype.bits() == 64 || bits >> dtype.bits() == 0;
                return if fits && is_nan(bits, dtype) { Ok(bits) } else { Err(misfit()) };
            }
        };
        let infinite = text.ends_with("inf");
        let bits = match SmallFloat::of(dtype) {
            Some(small) => text
                .parse()
                .ok()
                .filter(|x: &f64| x.is_finite() || infinite)
                .and_then(|x| small.encode(x)),
            None if dtype == DType::F32 => text
                .parse()
                .ok()
                .filter(|x: &f32| x.is_finite() || infinite)
                .map(|x| u64::from(x.to_bits())),
            None => text.parse().ok().filter(|x: &f64| x.is_finite() || infinite).map(f64::to_bits),
        };
        return bits.ok_or_else(misfit);
    }
    let Number::Int(value) = *number else {
        return Err(format!("{} is no {dtype}", show(number)));
    };
    if !dtype.is_int() {
        return Err(format!("{} is no {dtype}", show(number)));
    }
    let bits = dtype.bits();
    let signed = dtype.int_range().is_some_and(|(low, _)| low < 0);
    let (low, high) = if signed {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    };
    if !(low..=high).contains(&value) {
        return Err(misfit());
    }
    Ok((value & ((1i128 << bits) - 1)) as u64)
}

fn is_nan(bits: u64, dtype: DType) -> bool {
    match SmallFloat::of(dtype) {
        Some(small) => small.decode(bits).is_none(),
        None if dtype == DType::F32 => f32::from_bits(bits as u32).is_nan(),
        None => f64::from_bits(bits).is_nan(),
    }
}

/// The text of a real element of `dtype` with these bits; [`encode`] gives the bits back.
pub(crate) fn decode(bits: u64, dtype: DType) -> String {
    if dtype == DType::Bool {
        return (bits != 0).to_string();
    }
    if dtype.is_float() {
        if is_nan(bits, dtype) {
            return if bits == usual_nan(dtype) {
                "nan".into()
            } else {
                format!("nan(\"{bits:x}\")")
            };
        }
        return match SmallFloat::of(dtype) {
            Some(small) => shortest(small, bits),
            None if dtype == DType::F32 => float_text(f32::from_bits(bits as u32)),
            None => float_text(f64::from_bits(bits)),
        };
    }
    let width = dtype.bits();
    let negative =
        dtype.int_range().is_some_and(|(low, _)| low < 0) && bits >> (width - 1) & 1 == 1;
    let value = i128::from(bits) - if negative { 1i128 << width } else { 0 };
    value.to_string()
}

/// The text of an attribute.
pub(crate) fn f64_text(x: f64) -> String {
    decode(x.to_bits(), DType::F64)
}

fn float_text(x: impl std::fmt::Debug) -> String {
    format!("{x:?}")
}

/// The exact decimal, or the shortest that rounds to `bits` if that is shorter.
fn shortest(small: SmallFloat, bits: u64) -> String {
    let exact = small.decode(bits).unwrap_or(f64::NAN);
    let exact_text = float_text(exact);
    (0..17)
        .filter_map(|digits| format!("{exact:.digits$e}").parse().ok())
        .find(|&x| small.encode(x) == Some(bits))
        .map(float_text)
        .filter(|short| short.len() < exact_text.len())
        .unwrap_or(exact_text)
}

/// The number as it was written.
pub(crate) fn show(number: &Number) -> String {
    match number {
        Number::Int(i) => i.to_string(),
        Number::Float(text) => text.clone(),
        Number::Nan(_) => "nan".to_owned(),
    }
}

/// Appends the low `width` bits of elements to bytes, least significant first.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    /// Appends one element of `width` bits, at most 64.
    pub(crate) fn push(&mut self, bits: u64, width: u32) {
        if width.is_multiple_of(8) {
            self.bytes.extend_from_slice(&bits.to_le_bytes()[..(width / 8) as usize]);
            return;
        }
        for k in 0..width {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((bits >> k & 1) as u8) << (self.used % 8);
            }
            self.used += 1;
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Element `index` of `bytes` cut into elements of `width` bits, at most 64.
pub(crate) fn read_bits(bytes: &[u8], index: usize, width: u32) -> u64 {
    if width.is_multiple_of(8) {
        let size = (width / 8) as usize;
        let mut whole = [0; 8];
        whole[..size].copy_from_slice(&bytes[index * size..(index + 1) * size]);
        return u64::from_le_bytes(whole);
    }
    (0..width as usize).fold(0, |bits, k| {
        let at = index * width as usize + k;
        bits | u64::from(bytes[at / 8] >> (at % 8) & 1) << k
    })
}

#[cfg(test)]
mod tests {
    use mlc_tensor::Tensor;
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        if text == "nan" {
            Number::Nan(None)
        } else if let Some(hex) = text.strip_prefix("nan(\"") {
            Number::Nan(Some(u64::from_str_radix(hex.trim_end_matches("\")"), 16).unwrap()))
        } else if text.contains(['.', 'e', 'f']) {
            Number::Float(text.to_owned())
        } else {
            Number::Int(text.parse().unwrap())
        }
    }

    #[test]
    fn small_floats_read_back_and_agree_with_the_tensor_crate() {
        for dtype in [DType::F16, DType::Bf16, DType::F8E4M3, DType::F8E5M2] {
            let small = SmallFloat::of(dtype).unwrap();
            let all = 1u64 << dtype.bits();
            let mut writer = BitWriter::default();
            (0..all).for_each(|bits| writer.push(bits, dtype.bits()));
            let tensor = Tensor::from_bytes(dtype, &[all], writer.into_bytes()).unwrap();
            for (bits, want) in (0..all).zip(tensor.to_f64s().unwrap()) {
                let got = small.decode(bits).unwrap_or(f64::NAN);
                assert!(got == want || got.is_nan() && want.is_nan(), "{dtype} {bits:x}");
                assert_eq!(encode(&number(&decode(bits, dtype)), dtype), Ok(bits), "{dtype}");
            }
        }
        assert_eq!(decode(0x2e66, DType::F16), "0.1");
        assert_eq!(decode(0x7e, DType::F8E4M3), "448.0");
        assert_eq!(encode(&Number::Float("65519.9".into()), DType::F16), Ok(0x7bff));
        assert!(encode(&Number::Float("65520.0".into()), DType::F16).is_err());
        assert_eq!(encode(&Number::Float("1e-10".into()), DType::F16), Ok(0));
    }

    #[test]
    fn integers_keep_their_range() {
        assert_eq!(encode(&Number::Int(-1), DType::I4), Ok(15));
        assert_eq!(decode(15, DType::I4), "-1");
        assert_eq!(decode(u64::MAX, DType::U64), "18446744073709551615");
        assert!(encode(&Number::Int(8), DType::I4).is_err());
        assert!(encode(&Number::Int(-1), DType::U8).is_err());
    }

    proptest! {
        #[test]
        fn wide_elements_read_back(bits: u64) {
            for dtype in [DType::F32, DType::F64, DType::I64, DType::U64, DType::I32, DType::U3] {
                let bits = if dtype.bits() == 64 { bits } else { bits & ((1 << dtype.bits()) - 1) };
                prop_assert_eq!(encode(&number(&decode(bits, dtype)), dtype), Ok(bits));
            }
        }
    }
}
