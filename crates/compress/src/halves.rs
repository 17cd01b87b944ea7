//! Tables for elements of half precision in one go: there are 65,536 of them at most, so that they are
//! counted, and each possible one is looked up once for all that are equal.

use half::f16;
use rayon::prelude::{
    IndexedParallelIterator, IntoParallelIterator, ParallelIterator, ParallelSlice,
    ParallelSliceMut,
};

use crate::blocks::Blocks;
use crate::float::HalfOr;
use crate::kmeans::{self, Counted};
use crate::palette::{Entries, entries};
use crate::quality::{Quality, Sums};
use crate::scheme::Palette;

/// How many halves there are.
const ALL: usize = 1 << 16;
/// Fewest elements of a group for which counting all halves is worth it.
const FEWEST: usize = 1 << 13;
/// Elements that are counted and looked up together.
const WINDOW: usize = 1 << 18;

/// A weight as indices, packed.
pub(crate) struct Indexed {
    /// The indices, without gaps.
    pub(crate) data: Vec<u8>,
    /// The tables, filled up with zeros.
    pub(crate) entries: Vec<f32>,
    /// The entries as integers, with a scale a group.
    pub(crate) coded: Option<(Vec<i16>, Vec<f32>)>,
    pub(crate) quality: Quality,
}

/// The indices for halves in `bytes`; `None` where groups do not follow each other in memory or are small.
///
/// # Errors
/// How many elements are not finite, if there are any.
pub(crate) fn index(
    bytes: &[u8],
    groups: &Blocks,
    (palette, bits): (&Palette, u32),
) -> Option<Result<Indexed, usize>> {
    let len = groups.block_len();
    let count = len * groups.len();
    let is_whole = (len * bits as usize).is_multiple_of(8) || groups.len() == 1;
    if !groups.is_contiguous() || len < FEWEST || !is_whole || bytes.len() != count * 2 {
        return None;
    }
    let mut data = vec![0u8; (count * bits as usize).div_ceil(8)];
    let groups: Vec<(&[[u8; 2]], &mut [u8])> = bytes
        .as_chunks::<2>()
        .0
        .chunks(len)
        .zip(data.chunks_mut((len * bits as usize).div_ceil(8)))
        .collect();
    let done: Vec<(Result<Entries, usize>, Sums)> = groups
        .into_par_iter()
        .with_max_len(1)
        .map(|(halves, out)| one_group(halves, out, (palette, bits)))
        .collect();
    let (mut sums, mut odd) = (Sums::default(), 0);
    let mut all = Entries::default();
    for (entries, of_group) in done {
        sums.join(&of_group);
        match entries {
            Ok(entries) => all.push(entries, 1 << bits),
            Err(more) => odd += more,
        }
    }
    if odd > 0 {
        return Some(Err(odd));
    }
    let quality = sums.quality(count);
    Some(Ok(Indexed { data, entries: all.values, coded: all.coded, quality }))
}

fn one_group(
    halves: &[[u8; 2]],
    out: &mut [u8],
    (palette, bits): (&Palette, u32),
) -> (Result<Entries, usize>, Sums) {
    let counts = counts(halves);
    let odd: u32 = (0x7c00..0x8000).chain(0xfc00..ALL).map(|bits| counts[bits]).sum();
    if odd > 0 {
        return (Err(odd as usize), Sums::default());
    }
    let counted = Counted::of_counts(&counts);
    let entries = entries(&counted, (palette, bits, HalfOr::Half));
    let mut indices = vec![0u8; counted.values.len()];
    kmeans::assign(&counted.values, &entries.values, &mut indices);
    let mut sums = Sums::default();
    let mut table = vec![0u8; ALL];
    for ((&x, &count), &index) in counted.values.iter().zip(&counted.weights).zip(&indices) {
        let y = entries.values.get(usize::from(index)).copied().unwrap_or(0.0);
        sums.add_counted(count, x, y);
        table[usize::from(f16::from_f32(x).to_bits())] = index;
    }
    table[0x8000] = table[0];
    let window = WINDOW * bits as usize / 8;
    halves.par_chunks(WINDOW).zip(out.par_chunks_mut(window)).for_each(|(halves, out)| {
        look_up(halves, &table, (bits as usize, out));
    });
    (Ok(entries), sums)
}

/// How often each half stands, by its bits.
fn counts(halves: &[[u8; 2]]) -> Vec<u32> {
    let count = |halves: &[[u8; 2]]| {
        // Two tables, as one that is counted up again at once has to wait.
        let mut counts = vec![[0u32; 2]; ALL];
        let (pairs, rest) = halves.as_chunks::<2>();
        for [a, b] in pairs {
            counts[usize::from(u16::from_le_bytes(*a))][0] += 1;
            counts[usize::from(u16::from_le_bytes(*b))][1] += 1;
        }
        for a in rest {
            counts[usize::from(u16::from_le_bytes(*a))][0] += 1;
        }
        counts.into_iter().map(|[a, b]| a + b).collect::<Vec<u32>>()
    };
    let add = |mut a: Vec<u32>, b: Vec<u32>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    halves.par_chunks(4 * WINDOW).map(count).reduce_with(add).unwrap_or_else(|| vec![0; ALL])
}

/// Packs what `table` has for each half.
fn look_up(halves: &[[u8; 2]], table: &[u8], (bits, out): (usize, &mut [u8])) {
    let at = |half: &[u8; 2]| table[usize::from(u16::from_le_bytes(*half))];
    if bits == 8 {
        out.iter_mut().zip(halves).for_each(|(out, half)| *out = at(half));
        return;
    }
    for (out, eight) in out.chunks_mut(bits).zip(halves.chunks(8)) {
        let word = eight
            .iter()
            .enumerate()
            .fold(0u64, |word, (k, half)| word | u64::from(at(half)) << (k * bits));
        out.copy_from_slice(&word.to_le_bytes()[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use crate::encode::{Weight, encode};
    use crate::float::HalfOr;
    use crate::quality::Quality;
    use crate::scheme::Scheme;
    use crate::store::Stored;

    #[test]
    fn it_comes_to_what_encoding_comes_to() {
        let shape = [32, 520];
        let elements: Vec<f32> = (0..32 * 520)
            .map(|i| HalfOr::Half.round((f64::from(i) * 0.618_034).fract().powi(3) - 0.3))
            .collect();
        let bytes = HalfOr::Half.bytes(&elements);
        for name in [
            "lut4",
            "lut1",
            "lut3",
            "lut6-g16",
            "lut8",
            "lut4-uniform",
            "lut2-g16-i8",
            "lut(-1,0,0.5)",
        ] {
            let scheme: Scheme = name.parse().unwrap();
            let weight = Weight {
                elements: &elements,
                shape: &shape,
                float: HalfOr::Half,
                output: 0,
                input: 1,
                moments: None,
            };
            let (encoded, _) = encode(weight, &scheme).unwrap();
            let made = crate::run::in_one_go(&bytes, weight, &scheme).unwrap();
            let (stored, quality, _) = made.unwrap();
            assert_eq!(stored, Stored::new(&encoded).unwrap(), "{name}");
            let other = Quality::of(&elements, &encoded.decode());
            assert!((quality.mse - other.mse).abs() <= 1e-5 * other.mse, "{name}");
        }
        let mut odd = bytes.clone();
        odd[..2].copy_from_slice(&half::f16::NAN.to_le_bytes());
        let scheme: Scheme = "lut4".parse().unwrap();
        let weight = Weight {
            elements: &[],
            shape: &shape,
            float: HalfOr::Half,
            output: 0,
            input: 1,
            moments: None,
        };
        let made = crate::run::in_one_go(&odd, weight, &scheme).unwrap();
        assert!(made.unwrap_err().0.starts_with("1 elements are NaN"));
    }
}
