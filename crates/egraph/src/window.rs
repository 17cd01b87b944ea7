//! Cuts the ops of a region into windows, so that work is linear in ops.

use std::ops::Range;

/// Ranges of positions that cover `0..ops`, each of at most `size` of them and of at least three
/// quarters but for the first and the last. `live[i]` is how many values cross the cut before position
/// `i`: cuts are where few do. With `shifted` the first window is half as long, so that its cuts lie
/// amid the windows of the other way.
pub(crate) fn windows(live: &[u32], size: usize, shifted: bool) -> Vec<Range<usize>> {
    let ops = live.len();
    let size = size.max(4);
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < ops {
        let size = if shifted && start == 0 { size / 2 } else { size };
        if ops - start <= size {
            ranges.push(start..ops);
            break;
        }
        let (low, high) = (start + size * 3 / 4, start + size);
        let cut = (low.max(start + 1)..=high).rev().min_by_key(|&at| live[at]).unwrap_or(high);
        ranges.push(start..cut);
        start = cut;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_and_cut_where_it_is_narrow() {
        let mut live = vec![5; 100];
        live[17] = 1;
        let ranges = windows(&live, 20, false);
        assert_eq!(ranges[0], 0..17);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(ranges.last().map(|range| range.end), Some(100));
        assert!(ranges.iter().all(|range| range.len() <= 20));
        assert!(windows(&live, 20, true)[0].len() <= 10);
        assert!(windows(&[], 20, false).is_empty());
    }
}
