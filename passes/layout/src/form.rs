//! Which values are transposes of others.

use std::collections::BTreeMap;

use mlc_ir::Value;

/// What a value is a transpose of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// Axis `i` of the value is axis `perm[i]` of the source.
    pub(crate) perm: Vec<usize>,
    /// The value that is transposed; it is no transpose itself.
    pub(crate) source: Value,
    /// Whether something else than one op uses the value.
    pub(crate) shared: bool,
}

/// The forms of the values seen so far.
#[derive(Debug, Default)]
pub(crate) struct Forms(BTreeMap<Value, Form>);

impl Forms {
    pub(crate) fn get(&self, value: Value) -> Option<&Form> {
        self.0.get(&value)
    }

    pub(crate) fn set(&mut self, value: Value, form: Form) {
        self.0.insert(value, form);
    }
}

/// Whether nothing moves.
pub(crate) fn is_identity(perm: &[usize]) -> bool {
    perm.iter().copied().eq(0..perm.len())
}

/// The permutation that undoes `perm`.
pub(crate) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut back = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        back[p] = i;
    }
    back
}

/// The permutation of what is left of a value and its source when axes of the value in `gone` are
/// removed from both.
pub(crate) fn without(perm: &[usize], gone: &[usize]) -> Vec<usize> {
    let left: Vec<usize> =
        (0..perm.len()).filter(|axis| !gone.contains(axis)).map(|axis| perm[axis]).collect();
    left.iter().map(|&own| left.iter().filter(|&&other| other < own).count()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations() {
        assert_eq!(inverse(&[0, 2, 3, 1]), [0, 3, 1, 2]);
        assert_eq!(without(&[0, 2, 3, 1], &[1, 2]), [0, 1]);
        assert_eq!(without(&[0, 2, 3, 1], &[3]), [0, 1, 2]);
        assert_eq!(without(&[0, 2, 3, 1], &[1]), [0, 2, 1]);
    }
}
