//! Patterns of names.

/// Whether `pattern`, in which `*` stands for anything, is `text`. Takes time in proportion to the
/// product of the lengths.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (p, t) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob_matches as m;

    #[test]
    fn stars_stand_for_anything() {
        assert!(m("layer*.norm", "layer.3.norm") && m("*", "") && m("a*b*c", "a.b.b.c"));
        assert!(!m("layer*.norm", "layer.3.norms") && !m("softmax", "softmax_1") && !m("", "a"));
    }
}
