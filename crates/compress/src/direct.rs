//! Linear quantization in one go: a weight whose blocks follow each other in memory is read, quantized,
//! packed, decoded and measured a few thousand elements at a time, so that no copy of it is made.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::blocks::Blocks;
use crate::float::HalfOr;
use crate::linear::{Affine, CHUNK, Linear};
use crate::quality::{Lanes, Quality, Sums};

/// Elements that are worked on together, about.
const UNIT: usize = 1 << 14;
/// Elements after which sums of single precision are put into doubles.
const RUN: usize = 4096;
/// Most elements of a block that is worked on as a whole.
const LONGEST: usize = 1 << 20;

/// A weight in integers, packed.
pub(crate) struct Packed {
    /// The integers, without gaps.
    pub(crate) data: Vec<u8>,
    /// Scale and zero point of each block.
    pub(crate) affine: Vec<Affine>,
    pub(crate) quality: Quality,
}

/// What a worker keeps from unit to unit.
struct Scratch {
    elements: Vec<f32>,
    codes: Vec<u8>,
}

/// What came of a unit.
struct Done {
    affine: Vec<Affine>,
    sums: Sums,
    odd: usize,
}

/// The integers for the elements in `bytes`; `None` where the blocks do not follow each other or are too
/// long.
///
/// # Errors
/// How many elements are not finite, if there are any.
pub(crate) fn quantize(
    bytes: &[u8],
    float: HalfOr,
    linear: Linear,
    blocks: &Blocks,
) -> Option<Result<Packed, usize>> {
    let (len, bits) = (blocks.block_len(), linear.bits as usize);
    let count = len * blocks.len();
    if !blocks.is_contiguous() || len == 0 || len > LONGEST || bytes.len() != count * float.size() {
        return None;
    }
    // Units of an even number of blocks end at whole bytes.
    let per_unit = UNIT.div_ceil(len).next_multiple_of(if len.is_multiple_of(2) { 1 } else { 2 });
    let unit = per_unit * len;
    let mut data = vec![0u8; (count * bits).div_ceil(8)];
    let scratch =
        || Scratch { elements: vec![0.0; unit.min(count)], codes: vec![0; unit.min(count)] };
    let done: Vec<Done> = bytes
        .par_chunks(unit * float.size())
        .zip(data.par_chunks_mut((unit * bits).div_ceil(8)))
        .map_init(scratch, |scratch, (bytes, out)| {
            let count = bytes.len() / float.size();
            let elements = &mut scratch.elements[..count];
            let codes = &mut scratch.codes[..count];
            float.read_into(bytes, elements);
            pulp::Arch::new().dispatch(Unit { elements, codes, out, linear, float, len })
        })
        .collect();
    let odd: usize = done.iter().map(|unit| unit.odd).sum();
    if odd > 0 {
        return Some(Err(odd));
    }
    let mut sums = Sums::default();
    let mut affine = Vec::with_capacity(blocks.len());
    for unit in done {
        sums.join(&unit.sums);
        affine.extend(unit.affine);
    }
    Some(Ok(Packed { data, affine, quality: sums.quality(count) }))
}

/// Some blocks, and where their integers go: one to a byte, and packed.
struct Unit<'a> {
    elements: &'a [f32],
    codes: &'a mut [u8],
    out: &'a mut [u8],
    linear: Linear,
    float: HalfOr,
    /// Elements of a block.
    len: usize,
}

impl pulp::WithSimd for Unit<'_> {
    type Output = Done;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Done {
        let Self { elements, codes, out, linear, float, len } = self;
        let mut odd = 0u32;
        for x in elements {
            odd += u32::from(!x.is_finite());
        }
        let mut affine = Vec::with_capacity(elements.len() / len);
        let mut sums = Sums::default();
        let (mut lanes, mut filled) = (Lanes::default(), 0);
        linear.fit_blocks((elements, len), float, &mut affine);
        let blocks = elements.chunks_exact(len).zip(codes.chunks_exact_mut(len));
        for (&fitted, (block, codes)) in affine.iter().zip(blocks) {
            for (block, codes) in block.chunks(CHUNK).zip(codes.chunks_mut(CHUNK)) {
                linear.store(block, (fitted, float), codes, &mut lanes);
                filled += block.len();
                if filled >= RUN {
                    sums.add(&lanes);
                    (lanes, filled) = (Lanes::default(), 0);
                }
            }
        }
        sums.add(&lanes);
        pack(codes, linear.bits as usize, out);
        Done { affine, sums, odd: odd as usize }
    }
}

/// Integers of 4 or 8 bits without gaps, the lower half of a byte first.
#[inline(always)]
fn pack(codes: &[u8], bits: usize, out: &mut [u8]) {
    if bits == 8 {
        out.copy_from_slice(codes);
        return;
    }
    let (pairs, rest) = codes.as_chunks::<2>();
    for (out, pair) in out.iter_mut().zip(pairs) {
        *out = pair[0] & 15 | pair[1] << 4;
    }
    if let ([last], Some(out)) = (rest, out.last_mut()) {
        *out = last & 15;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Weight, encode};
    use crate::scheme::Scheme;
    use crate::store::Stored;

    fn elements(count: usize) -> Vec<f32> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f32 / (1u64 << 31) as f32 - 0.5
        };
        (0..count).map(|_| HalfOr::Half.round(f64::from(next() * next()))).collect()
    }

    #[test]
    fn it_comes_to_what_encoding_comes_to() {
        for (shape, name) in [
            (vec![6, 70], "w8"),
            (vec![7, 33], "w4"),
            (vec![7, 33], "w4-tensor"),
            (vec![5, 64], "w4-block32"),
            (vec![5, 96], "w8-block16-asym-unsigned"),
            (vec![300, 96], "w4-block8-asym-refine"),
            (vec![3, 8, 3, 3], "w4-block4-unsigned"),
            (vec![2, 40_000], "w8-absmax"),
        ] {
            let elements = elements(shape.iter().product());
            for float in [HalfOr::Half, HalfOr::Single] {
                let scheme: Scheme = name.parse().unwrap();
                let (output, input) = (0, 1);
                let weight = Weight {
                    elements: &elements,
                    shape: &shape,
                    float,
                    output,
                    input,
                    moments: None,
                };
                let (encoded, _) = encode(weight, &scheme).unwrap();
                let stored = Stored::new(&encoded).unwrap();
                let bytes = float.bytes(&elements);
                let made = crate::run::in_one_go(&bytes, weight, &scheme).unwrap();
                let (made, quality, _) = made.unwrap();
                assert_eq!(made, stored, "{name}");
                let other = Quality::of(&elements, &encoded.decode());
                assert!((quality.mse - other.mse).abs() <= 1e-6 * other.mse, "{name}");
                assert_eq!(quality.max_error, other.max_error, "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_counted() {
        let mut elements = elements(64);
        (elements[3], elements[40]) = (f32::NAN, f32::INFINITY);
        let blocks = Blocks::new(&[2, 32], &[1, 0]).unwrap();
        let linear = Linear { bits: 8, signed: true, symmetric: true, method: crate::Method::Mse };
        let bytes = HalfOr::Half.bytes(&elements);
        let made = quantize(&bytes, HalfOr::Half, linear, &blocks).unwrap();
        assert_eq!(made.err(), Some(2));
        let columns = Blocks::new(&[2, 32], &[0, 1]).unwrap();
        assert!(quantize(&bytes, HalfOr::Half, linear, &columns).is_none());
    }
}
