//! Shows how two texts differ.

use similar::TextDiff;

/// The lines that differ, in the unified form with three lines around each; `-` is `expected`.
#[must_use]
pub fn unified(expected: &str, got: &str) -> String {
    TextDiff::from_lines(expected, got)
        .unified_diff()
        .context_radius(3)
        .header("expected", "got")
        .missing_newline_hint(false)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(unified("a\nb\n", "a\nb\n"), "");
        let text = unified("a\nb\n", "a\nc\n");
        assert!(text.contains("-b\n+c\n"), "{text}");
    }
}
