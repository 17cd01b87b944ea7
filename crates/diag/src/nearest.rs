//! Suggestions for names that do not exist.

/// Up to three of `known` that look most like `name`, best first; none that share too little.
///
/// Uses the Damerau–Levenshtein distance and accepts at most a third of the longer name (and at
/// least two edits), or a name that contains the other.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let distance = strsim::damerau_levenshtein(name, candidate);
            let limit = (name.len().max(candidate.len()) / 3).max(2);
            let contains = name.len() >= 3 && candidate.contains(name);
            (distance <= limit || contains).then_some((distance, candidate))
        })
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn offers_close_names_only() {
        let known = ["fold", "fuse-gelu", "dce", "cse", "legalize"];
        assert_eq!(nearest("legalise", known), ["legalize"]);
        assert_eq!(nearest("gelu", known), ["fuse-gelu"]);
        assert!(nearest("transpose", known).is_empty());
    }
}
