//! Elements to and from numbers, and casts over runs of bytes.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::dtype::{DType, DTypeKind};

/// A number wide enough for every element type but complex ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

/// Reads element `i` of `bytes`; the caller has checked the length. Complex elements give their
/// real part.
pub(crate) fn load(dtype: DType, bytes: &[u8], i: usize) -> Number {
    use Number::{Float, Int};
    fn take<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&bytes[i * N..(i + 1) * N]);
        out
    }
    match dtype {
        DType::Bool => Int(i64::from(bytes[i] != 0)),
        DType::U8 => Int(i64::from(bytes[i])),
        DType::I8 => Int(i64::from(i8::from_le_bytes(take(bytes, i)))),
        DType::U16 => Int(i64::from(u16::from_le_bytes(take(bytes, i)))),
        DType::I16 => Int(i64::from(i16::from_le_bytes(take(bytes, i)))),
        DType::U32 => Int(i64::from(u32::from_le_bytes(take(bytes, i)))),
        DType::I32 => Int(i64::from(i32::from_le_bytes(take(bytes, i)))),
        DType::I64 | DType::U64 => Int(i64::from_le_bytes(take(bytes, i))),
        DType::F16 => Float(f64::from(f16::from_le_bytes(take(bytes, i)))),
        DType::Bf16 => Float(f64::from(bf16::from_le_bytes(take(bytes, i)))),
        DType::F32 => Float(f64::from(f32::from_le_bytes(take(bytes, i)))),
        DType::F64 => Float(f64::from_le_bytes(take(bytes, i))),
        DType::C64 => Float(f64::from(f32::from_le_bytes(take(bytes, 2 * i)))),
        DType::C128 => Float(f64::from_le_bytes(take(bytes, 2 * i))),
        DType::F8E4M3 => Float(f8_to_f64(bytes[i], 4, 3)),
        DType::F8E5M2 => Float(f8_to_f64(bytes[i], 5, 2)),
        DType::U1 | DType::U2 | DType::U3 | DType::U4 | DType::U6 | DType::I4 => {
            let bits = dtype.bits() as usize;
            let mut value = 0i64;
            for k in 0..bits {
                let at = i * bits + k;
                value |= i64::from(bytes[at / 8] >> (at % 8) & 1) << k;
            }
            Int(if dtype == DType::I4 && value > 7 { value - 16 } else { value })
        }
        DType::Str => Int(0),
    }
}

/// The value of an 8-bit float. E4M3 has no infinity and NaN only at all ones; E5M2 follows IEEE.
fn f8_to_f64(byte: u8, exponent_bits: u32, mantissa_bits: u32) -> f64 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(byte >> mantissa_bits) & ((1 << exponent_bits) - 1);
    let mantissa = f64::from(byte & ((1 << mantissa_bits) - 1));
    let scale = f64::from(1 << mantissa_bits);
    let bias = (1 << (exponent_bits - 1)) - 1;
    let top = (1 << exponent_bits) - 1;
    if mantissa_bits == 3 && byte & 0x7f == 0x7f {
        return f64::NAN;
    }
    if mantissa_bits == 2 && exponent == top {
        return if mantissa == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    if exponent == 0 {
        sign * mantissa / scale * 2f64.powi(1 - bias)
    } else {
        sign * (1.0 + mantissa / scale) * 2f64.powi(exponent - bias)
    }
}

fn as_float(number: Number) -> f64 {
    match number {
        Number::Int(i) => i as f64,
        Number::Float(x) => x,
    }
}

/// Truncates toward zero and saturates; NaN is 0.
fn as_int(number: Number) -> i64 {
    match number {
        Number::Int(i) => i,
        Number::Float(x) => x as i64,
    }
}

/// Rounds to half precision, once; finite values beyond its range become ±65504, infinities stay.
fn f16_saturating(x: f64) -> f16 {
    finite(f16::from_f32(round_to_odd(x)), x.is_finite())
}

/// `x` as f32: if it is none, the one of its two neighbours whose last bit is set. Rounding that to a
/// float of 16 bits is the same as rounding `x` itself, which by way of the nearest f32 it is not.
#[must_use]
pub fn round_to_odd(x: f64) -> f32 {
    let y = x as f32;
    let back = f64::from(y);
    if back == x || !y.is_finite() {
        return y;
    }
    let toward_zero = if back.abs() > x.abs() { y.to_bits() - 1 } else { y.to_bits() };
    f32::from_bits(toward_zero | 1)
}

/// The greatest half of the sign of `y` where rounding made a number infinite.
fn finite(y: f16, was_finite: bool) -> f16 {
    match (y.is_infinite() && was_finite, y.is_sign_positive()) {
        (false, _) => y,
        (true, true) => f16::MAX,
        (true, false) => f16::MIN,
    }
}

/// Appends one element. Integers saturate to the range of `dtype`; floats that are finite stay
/// finite. `bool` is "not zero". Sub-byte and 8-bit float types are not written here.
pub(crate) fn store(dtype: DType, number: Number, out: &mut Vec<u8>) -> bool {
    let clamp = |number| {
        let (low, high) = dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
        as_int(number).clamp(low, high)
    };
    match dtype {
        DType::Bool => out.push(u8::from(match number {
            Number::Int(i) => i != 0,
            Number::Float(x) => x != 0.0,
        })),
        DType::U8 | DType::I8 => out.push(clamp(number) as u8),
        DType::U16 | DType::I16 => out.extend((clamp(number) as u16).to_le_bytes()),
        DType::U32 | DType::I32 => out.extend((clamp(number) as u32).to_le_bytes()),
        DType::U64 | DType::I64 => out.extend(clamp(number).to_le_bytes()),
        DType::F16 => out.extend(f16_saturating(as_float(number)).to_le_bytes()),
        DType::Bf16 => {
            let x = as_float(number);
            let y = bf16::from_f32(round_to_odd(x));
            let y = match (y.is_infinite() && x.is_finite(), x > 0.0) {
                (false, _) => y,
                (true, true) => bf16::MAX,
                (true, false) => bf16::MIN,
            };
            out.extend(y.to_le_bytes());
        }
        DType::F32 => {
            let x = as_float(number);
            let y =
                if x.is_finite() { x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) } else { x };
            out.extend((y as f32).to_le_bytes());
        }
        DType::F64 => out.extend(as_float(number).to_le_bytes()),
        DType::C64 => {
            out.extend((as_float(number) as f32).to_le_bytes());
            out.extend(0f32.to_le_bytes());
        }
        DType::C128 => {
            out.extend(as_float(number).to_le_bytes());
            out.extend(0f64.to_le_bytes());
        }
        _ => return false,
    }
    true
}

/// Whether [`cast`] can make `to`.
pub(crate) fn castable(from: DType, to: DType) -> bool {
    to.size().is_some()
        && !matches!(to, DType::F8E4M3 | DType::F8E5M2)
        && from != DType::Str
        && !(from.kind() == DTypeKind::Complex && to.kind() != DTypeKind::Complex)
}

/// Casts `count` elements of `bytes`; the caller has checked lengths and [`castable`].
pub(crate) fn cast(from: DType, to: DType, bytes: &[u8], count: usize) -> Vec<u8> {
    let mut out = vec![0; count * to.size().unwrap_or(1)];
    cast_into(from, to, bytes, &mut out);
    out
}

/// Casts the elements of `bytes`, as many as `out` holds.
pub(crate) fn cast_into(from: DType, to: DType, bytes: &[u8], out: &mut [u8]) {
    use DType::{Bf16, F16, F32, F64, I32, I64};
    match (from, to) {
        _ if from == to => out.copy_from_slice(&bytes[..out.len()]),
        (F32, F16) => halves(bytes, out, f32::from_le_bytes),
        (Bf16, F16) => halves(bytes, out, |b: [u8; 2]| bf16::from_le_bytes(b).to_f32()),
        (F64, F16) => halves(bytes, out, |b: [u8; 8]| {
            let x = f64::from_le_bytes(b);
            // Beyond the range of f32 as well, finite stays finite.
            let y = round_to_odd(x);
            if x.is_finite() { y.clamp(f32::MIN, f32::MAX) } else { y }
        }),
        (F16, F32) => singles(bytes, out),
        (Bf16, F32) => {
            each(bytes, out, |b: [u8; 2]| bf16::from_le_bytes(b).to_f32().to_le_bytes());
        }
        (F32, F64) => {
            each(bytes, out, |b: [u8; 4]| f64::from(f32::from_le_bytes(b)).to_le_bytes());
        }
        (F64, F32) => each(bytes, out, |b: [u8; 8]| {
            let x = f64::from_le_bytes(b);
            let kept = if x.is_finite() { x.clamp(f32::MIN.into(), f32::MAX.into()) } else { x };
            (kept as f32).to_le_bytes()
        }),
        (I64, I32) => each(bytes, out, |b: [u8; 8]| {
            let x = i64::from_le_bytes(b).clamp(i32::MIN.into(), i32::MAX.into());
            (x as i32).to_le_bytes()
        }),
        _ => one_by_one(from, to, bytes, out),
    }
}

/// One element after the other, with the widest instructions that the machine has.
fn each<const N: usize, const M: usize>(
    bytes: &[u8],
    out: &mut [u8],
    one: impl Fn([u8; N]) -> [u8; M],
) {
    let (from, to) = (bytes.as_chunks::<N>().0, out.as_chunks_mut::<M>().0);
    pulp::Arch::new().dispatch(|| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = one(*from));
    });
}

/// The greatest finite half.
const HALF_MAX: f32 = 65504.0;

/// Elements converted at a time by way of singles.
const LANE: usize = 256;

/// Halves of what `load` makes singles of, which may be rounded to odd.
fn halves<const N: usize>(bytes: &[u8], out: &mut [u8], load: impl Fn([u8; N]) -> f32) {
    let mut wide = [0f32; LANE];
    let mut narrow = [f16::ZERO; LANE];
    let pieces = out.chunks_mut(2 * LANE).zip(bytes.as_chunks::<N>().0.chunks(LANE));
    for (out, from) in pieces {
        let (wide, narrow) = (&mut wide[..from.len()], &mut narrow[..from.len()]);
        pulp::Arch::new().dispatch(|| {
            for (to, from) in wide.iter_mut().zip(from) {
                let x = load(*from);
                // What is finite stays so.
                *to = if x.is_finite() { x.clamp(-HALF_MAX, HALF_MAX) } else { x };
            }
        });
        narrow.convert_from_f32_slice(wide);
        let to = out.as_chunks_mut::<2>().0;
        to.iter_mut().zip(narrow).for_each(|(to, x)| *to = x.to_le_bytes());
    }
}

/// Rounds each number to the nearest half, ties to even; what is beyond them becomes infinite.
pub fn round_to_halves(numbers: &mut [f32]) {
    numbers.par_chunks_mut(1 << 14).for_each(|piece| {
        let mut narrow = [f16::ZERO; LANE];
        for part in piece.chunks_mut(LANE) {
            let narrow = &mut narrow[..part.len()];
            narrow.convert_from_f32_slice(part);
            narrow.convert_to_f32_slice(part);
        }
    });
}

fn singles(bytes: &[u8], out: &mut [u8]) {
    let mut wide = [0f32; LANE];
    let mut narrow = [f16::ZERO; LANE];
    let pieces = out.chunks_mut(4 * LANE).zip(bytes.as_chunks::<2>().0.chunks(LANE));
    for (out, from) in pieces {
        let (wide, narrow) = (&mut wide[..from.len()], &mut narrow[..from.len()]);
        narrow.iter_mut().zip(from).for_each(|(to, b)| *to = f16::from_le_bytes(*b));
        narrow.convert_to_f32_slice(wide);
        let to = out.as_chunks_mut::<4>().0;
        to.iter_mut().zip(wide).for_each(|(to, x)| *to = x.to_le_bytes());
    }
}

fn one_by_one(from: DType, to: DType, bytes: &[u8], out: &mut [u8]) {
    let size = to.size().unwrap_or(1);
    let mut made = Vec::with_capacity(size);
    for (i, out) in out.chunks_exact_mut(size).enumerate() {
        made.clear();
        if from.kind() == DTypeKind::Complex {
            let half = if from == DType::C64 { DType::F32 } else { DType::F64 };
            let part = if to == DType::C64 { DType::F32 } else { DType::F64 };
            store(part, load(half, bytes, 2 * i), &mut made);
            store(part, load(half, bytes, 2 * i + 1), &mut made);
        } else {
            store(to, load(from, bytes, i), &mut made);
        }
        out.copy_from_slice(&made);
    }
}

/// Integers of a type smaller than a byte, saturated to its range, the lowest bits of a byte first.
pub(crate) fn pack(dtype: DType, values: &[i64]) -> Vec<u8> {
    let bits = dtype.bits() as usize;
    let (low, high) = dtype.int_range().unwrap_or((0, 1));
    let mut bytes = vec![0u8; (values.len() * bits).div_ceil(8)];
    for (i, value) in values.iter().enumerate() {
        let value = value.clamp(&low, &high);
        for k in 0..bits {
            let at = i * bits + k;
            bytes[at / 8] |= (((value >> k) & 1) as u8) << (at % 8);
        }
    }
    bytes
}

pub(crate) fn floats(dtype: DType, bytes: &[u8], count: usize) -> Vec<f64> {
    (0..count).map(|i| as_float(load(dtype, bytes, i))).collect()
}

pub(crate) fn ints(dtype: DType, bytes: &[u8], count: usize) -> Vec<i64> {
    (0..count).map(|i| as_int(load(dtype, bytes, i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_casts_never_make_infinities() {
        let bytes: Vec<u8> = [f32::MIN, -1e9, 65519.0, 65520.0, f32::INFINITY]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let cast = cast(DType::F32, DType::F16, &bytes, 5);
        let got = floats(DType::F16, &cast, 5);
        assert_eq!(got, [-65504.0, -65504.0, 65504.0, 65504.0, f64::INFINITY]);
    }

    #[test]
    fn integers_saturate_and_floats_truncate() {
        let bytes: Vec<u8> =
            [i64::MAX, i64::MIN, -7].iter().flat_map(|x| x.to_le_bytes()).collect();
        let out = cast(DType::I64, DType::I32, &bytes, 3);
        assert_eq!(ints(DType::I32, &out, 3), [i64::from(i32::MAX), i64::from(i32::MIN), -7]);
        let bytes: Vec<u8> = [-1.9f64, 2.9].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(ints(DType::I8, &cast(DType::F64, DType::I8, &bytes, 2), 2), [-1, 2]);
    }

    #[test]
    fn small_floats_follow_their_formats() {
        assert_eq!(f8_to_f64(0x7e, 4, 3), 448.0);
        assert!(f8_to_f64(0x7f, 4, 3).is_nan());
        assert_eq!(f8_to_f64(0x7b, 5, 2), 57344.0);
        assert!(f8_to_f64(0x7c, 5, 2).is_infinite());
        assert_eq!(f8_to_f64(0x01, 4, 3), 2f64.powi(-9));
    }

    #[test]
    fn sub_byte_elements_are_least_significant_bit_first() {
        assert_eq!(ints(DType::U4, &[0x21, 0x03], 3), [1, 2, 3]);
        assert_eq!(ints(DType::I4, &[0x7f], 2), [-1, 7]);
        assert_eq!(ints(DType::U3, &[0xd1, 0x00], 3), [1, 2, 3]);
        for (dtype, values) in
            [(DType::U3, [1, 7, 9]), (DType::I4, [-8, -9, 7]), (DType::U1, [1, 0, 1])]
        {
            let (low, high) = dtype.int_range().unwrap();
            let kept = values.map(|x| x.clamp(low, high));
            assert_eq!(ints(dtype, &pack(dtype, &values), 3), kept);
        }
    }

    #[test]
    fn doubles_become_halves_in_one_rounding() {
        // Halfway between two halves but for a bit that f32 does not have.
        let x = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let bytes = cast(DType::F64, DType::F16, &x.to_le_bytes(), 1);
        assert_eq!(floats(DType::F16, &bytes, 1), [1.0 + 2f64.powi(-10)]);
        let x = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        let bytes = cast(DType::F64, DType::Bf16, &x.to_le_bytes(), 1);
        assert_eq!(floats(DType::Bf16, &bytes, 1), [1.0 + 2f64.powi(-7)]);
        for x in [0.0, -0.0, 1e-300, -1e-300, 1e300, f64::INFINITY, -1.5] {
            assert_eq!(round_to_odd(x).is_sign_negative(), x.is_sign_negative());
        }
        assert!(round_to_odd(f64::NAN).is_nan());
    }
}
