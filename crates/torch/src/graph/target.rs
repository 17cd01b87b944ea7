//! Names of ops.

use std::fmt;

/// An op by namespace, name and overload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// `aten`, `higher_order`, `_operator`, `math`, `torch`, or that of custom ops.
    pub namespace: String,
    /// The op, such as `conv2d`.
    pub op: String,
    /// `default`, `Tensor` and the like; empty for what has no overloads.
    pub overload: String,
}

impl Target {
    /// Reads `torch.ops.<namespace>.<op>.<overload>`, `torch.ops.<namespace>.<op>` or
    /// `<module>.<function>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = |part: &str| !part.is_empty() && part.chars().all(|c| !c.is_whitespace());
        let parts: Vec<&str> = match text.strip_prefix("torch.ops.") {
            Some(rest) => rest.splitn(3, '.').collect(),
            None => {
                let (module, function) = text.rsplit_once('.')?;
                vec![module, function]
            }
        };
        if parts.len() < 2 || !parts.iter().all(|part| fits(part)) {
            return None;
        }
        Some(Self {
            namespace: parts[0].to_owned(),
            op: parts[1].to_owned(),
            overload: parts.get(2).copied().unwrap_or("").to_owned(),
        })
    }

    /// Whether it is a higher-order op, which takes sub-graphs.
    #[must_use]
    pub fn is_higher_order(&self) -> bool {
        self.namespace == "higher_order"
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.op)?;
        if !self.overload.is_empty() {
            write!(f, ".{}", self.overload)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn every_form_of_target() {
        let shown = |text: &str| Target::parse(text).map(|t| (t.to_string(), t.overload));
        let some = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(shown("torch.ops.aten.add_.Tensor"), some("aten.add_.Tensor", "Tensor"),);
        assert_eq!(shown("torch.ops.higher_order.cond"), some("higher_order.cond", ""));
        assert_eq!(shown("_operator.floordiv"), some("_operator.floordiv", ""));
        assert_eq!(shown("torch.sym_max"), some("torch.sym_max", ""));
        assert_eq!(shown("conv2d"), None);
        assert_eq!(shown("torch.ops.aten"), None);
        assert_eq!(shown("torch.ops.aten..default"), None);
    }
}
