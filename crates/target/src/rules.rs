//! For which values of its arguments an op is defined, where its signature alone does not say it.

use std::collections::BTreeSet;

use crate::Opset;

/// What the arguments of an op are, as far as it is known.
pub trait Arguments {
    /// The text of an attribute.
    fn text(&self, name: &str) -> Option<String>;
    /// The number of an attribute.
    fn float(&self, name: &str) -> Option<f64>;
    /// The integers of an attribute, or of an operand whose contents are known.
    fn ints(&self, name: &str) -> Option<Vec<i64>>;
    /// Whether the value of an operand is known when the model is compiled.
    fn is_constant(&self, operand: &str) -> bool;
}

/// Spatial ops that name their padding.
const PADDED: [&str; 5] = ["conv", "conv_transpose", "max_pool", "avg_pool", "l2_pool"];
/// Axes, counted from the last, that `pad` mirrors or repeats.
const MIRRORED_AXES: usize = 2;

/// Why `opset` does not define the op for these arguments, in words; nothing where it does.
#[must_use]
pub fn undefined(op: &str, arguments: &dyn Arguments, opset: Opset) -> Option<String> {
    match op {
        "clip" => clip(arguments, opset),
        "einsum" => {
            let equation = arguments.text("equation")?;
            let message = format!("the equation `{equation}` is not defined");
            (!is_equation(&equation)).then_some(message)
        }
        "pad" => pad(arguments),
        _ if PADDED.contains(&op) => padded(op, arguments, opset),
        _ => None,
    }
}

fn clip(arguments: &dyn Arguments, opset: Opset) -> Option<String> {
    let (alpha, beta) = (arguments.float("alpha")?, arguments.float("beta")?);
    let message = format!("`alpha` is {alpha:?}, which is not below `beta` = {beta:?}");
    (opset >= Opset::Ios17 && alpha >= beta).then_some(message)
}

fn padded(op: &str, arguments: &dyn Arguments, opset: Opset) -> Option<String> {
    if arguments.text("pad_type").as_deref() == Some("same_lower") && opset < Opset::Ios16 {
        return Some(format!("{} has no padding `same_lower`", opset.label()));
    }
    let dilations = arguments.ints("dilations").unwrap_or_default();
    let computed = op == "conv" && !arguments.is_constant("weight");
    let message = format!("`dilations` is {dilations:?} with a `weight` that is computed");
    (computed && dilations.iter().any(|&d| d != 1)).then_some(message)
}

fn pad(arguments: &dyn Arguments) -> Option<String> {
    let mode = arguments.text("mode").filter(|mode| mode != "constant")?;
    let amounts = arguments.ints("pad")?;
    let earlier = amounts.len().saturating_sub(2 * MIRRORED_AXES);
    let message = format!("`pad` is {amounts:?}, `{mode}` works on the last two axes");
    amounts[..earlier].iter().any(|&n| n != 0).then_some(message)
}

/// Whether Core ML has the equation: `nchw,nwhu->nchu` or `chw,whr->chr` under any letters.
#[must_use]
pub fn is_equation(equation: &str) -> bool {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let Some((operands, result)) = text.split_once("->") else { return false };
    let Some((left, right)) = operands.split_once(',') else { return false };
    let letters = |part: &str| part.chars().collect::<Vec<char>>();
    let (left, right, result) = (letters(left), letters(right), letters(result));
    let (n, [c, h, w]) = match left[..] {
        [n, c, h, w] => (Some(n), [c, h, w]),
        [c, h, w] => (None, [c, h, w]),
        _ => return false,
    };
    let Some(&last) = right.last() else { return false };
    let wanted = |letters: [char; 3]| n.into_iter().chain(letters).collect::<Vec<_>>();
    let all: BTreeSet<char> = left.iter().copied().chain([last]).collect();
    all.len() == left.len() + 1
        && all.iter().all(char::is_ascii_alphabetic)
        && right == wanted([w, h, last])
        && result == wanted([c, h, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given {
        texts: &'static [(&'static str, &'static str)],
        ints: &'static [(&'static str, &'static [i64])],
        constant: bool,
    }

    impl Arguments for Given {
        fn text(&self, name: &str) -> Option<String> {
            self.texts.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned())
        }

        fn float(&self, name: &str) -> Option<f64> {
            Some(if name == "alpha" { 1.0 } else { 0.5 })
        }

        fn ints(&self, name: &str) -> Option<Vec<i64>> {
            self.ints.iter().find(|(key, _)| *key == name).map(|(_, ints)| ints.to_vec())
        }

        fn is_constant(&self, _: &str) -> bool {
            self.constant
        }
    }

    #[test]
    fn the_rules_hold_for_their_versions() {
        let given = Given {
            texts: &[("pad_type", "same_lower"), ("mode", "reflect")],
            ints: &[("pad", &[1, 0, 0, 0, 0, 0]), ("dilations", &[2, 2])],
            constant: true,
        };
        let refuses = |op, opset| undefined(op, &given, opset).is_some();
        assert!(refuses("conv", Opset::Ios15) && !refuses("conv", Opset::Ios16));
        assert!(refuses("clip", Opset::Ios17) && !refuses("clip", Opset::Ios16));
        assert!(refuses("pad", Opset::Ios18));
        let computed = Given { constant: false, ..given };
        assert!(undefined("conv", &computed, Opset::Ios18).is_some());
        let near = Given { ints: &[("pad", &[0, 0, 1, 1, 1, 1])], ..computed };
        assert!(undefined("pad", &near, Opset::Ios15).is_none());
    }

    #[test]
    fn equations_under_any_letters() {
        for equation in ["nchw,nwhu->nchu", "chw,whr->chr", "abc, cbd -> abd", "ABCD,ADCE->ABCE"] {
            assert!(is_equation(equation), "{equation}");
        }
        for equation in
            ["ij,jk->ik", "chw,hwr->chr", "chw,whc->chc", "chw->chw", "chw,whr->crh", ""]
        {
            assert!(!is_equation(equation), "{equation}");
        }
    }
}
