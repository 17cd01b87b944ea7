//! Names close to one that was not found.

/// Longer names are not compared: no candidate comes near that length, and the work grows with the square of it.
const MAX_LEN: usize = 96;

/// Most names worth offering.
const MAX_NAMES: usize = 3;

/// The candidates nearest to `name` by edit distance, closest first, ties in alphabetical order.
///
/// At most three; none is further away than a third of the length of `name` (but one edit is always allowed).
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    if name.len() > MAX_LEN {
        return Vec::new();
    }
    let name = name.to_ascii_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .collect();
    found.sort_unstable();
    found.truncate(MAX_NAMES);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn orders_by_distance_then_name() {
        let names = ["less", "less_equal", "lens", "floor"];
        assert_eq!(closest("les", names), ["lens", "less"]);
        assert_eq!(
            closest("less_equl", ["less_equip", "less_equal"]),
            ["less_equal", "less_equip"]
        );
        assert_eq!(closest("leess", names), ["less"]);
        assert_eq!(closest("lexs", names), ["lens", "less"]);
    }

    #[test]
    fn far_or_huge_names_have_no_neighbour() {
        assert!(closest("convolution", ["conv", "relu"]).is_empty());
        assert!(closest(&"a".repeat(1 << 20), ["a"]).is_empty());
        assert!(closest("", ["relu"]).is_empty());
    }
}
