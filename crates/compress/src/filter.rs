//! Conditions on weights.

use mlc_ir::{Function, Node, Program};
use mlc_pass::Selector;
use thiserror::Error;

/// What weights have to be: terms joined by `&` between spaces, such as `conv & shape=*x*x1x1 &
/// elements>100000`. A term is a selector (a name, a kind of the ops that use the weight, a path of
/// modules), `shape=` with an extent or `*` for each axis, `rank=`, `elements>` or `elements<`. Behind
/// `name=` stands the name of one weight, whatever characters are in it.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
enum Term {
    Named(Selector),
    Exactly(String),
    Shape(Vec<Option<u64>>),
    Rank(usize),
    MoreThan(u64),
    LessThan(u64),
}

/// A condition that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no condition on weights: write shape=*x*x3x3, rank=4, elements>100000, a name, or name= and a name as it stands"
)]
pub struct FilterError(pub String);

/// A weight that conditions are asked of.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) program: &'a Program,
    pub(crate) function: &'a Function,
    /// The op that makes it.
    pub(crate) node: Node,
    /// The ops that use it.
    pub(crate) users: &'a [Node],
    /// The name of the constant.
    pub(crate) name: Option<&'a str>,
    pub(crate) shape: &'a [u64],
}

impl Filter {
    /// The condition that `text` says.
    ///
    /// # Errors
    /// A term that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        if let Some(name) = text.strip_prefix("name=") {
            let terms = vec![Term::Exactly(name.to_owned())];
            return Ok(Self { text: text.to_owned(), terms });
        }
        let terms =
            text.split(" & ").map(|term| Term::parse(term.trim())).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), terms })
    }

    /// The conditions of a list.
    ///
    /// # Errors
    /// One is none.
    pub(crate) fn all(texts: &[String]) -> Result<Vec<Self>, FilterError> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn holds(&self, asked: Asked<'_>) -> bool {
        self.terms.iter().all(|term| term.holds(asked))
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, FilterError> {
        let wrong = || FilterError(text.to_owned());
        let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_| wrong());
        if let Some(shape) = text.strip_prefix("shape=") {
            let extent = |part: &str| match part.trim() {
                "*" => Ok(None),
                digits => number(digits).map(Some),
            };
            return Ok(Self::Shape(shape.split('x').map(extent).collect::<Result<_, _>>()?));
        }
        if let Some(rank) = text.strip_prefix("rank=") {
            return Ok(Self::Rank(number(rank)? as usize));
        }
        if let Some(count) = text.strip_prefix("elements>") {
            return Ok(Self::MoreThan(number(count)?));
        }
        if let Some(count) = text.strip_prefix("elements<") {
            return Ok(Self::LessThan(number(count)?));
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Named(Selector::new(text)))
    }

    fn holds(&self, asked: Asked<'_>) -> bool {
        let count = || asked.shape.iter().fold(1u64, |n, &d| n.saturating_mul(d));
        match self {
            Self::Named(selector) => {
                let names = |node: Node| selector.names(asked.program, asked.function, node);
                let own = || asked.name.is_some_and(|name| selector.is(name));
                own() || names(asked.node) || asked.users.iter().any(|&user| names(user))
            }
            Self::Exactly(name) => {
                let values = &asked.function.nodes[asked.node].results;
                let own = |&value: &mlc_ir::Value| asked.function.values[value].name.as_deref();
                asked.name == Some(name) || values.iter().filter_map(own).any(|own| own == name)
            }
            Self::Shape(extents) => {
                extents.len() == asked.shape.len()
                    && extents.iter().zip(asked.shape).all(|(e, d)| e.is_none_or(|e| e == *d))
            }
            Self::Rank(rank) => asked.shape.len() == *rank,
            Self::MoreThan(limit) => count() > *limit,
            Self::LessThan(limit) => count() < *limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn conditions_that_are_none_are_refused() {
        for text in ["shape=3xa", "rank=", "elements>many", "", "conv &  & rank=4"] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        for text in [
            "conv & shape=*x*x1x1",
            "rank=4",
            "elements>5 & elements<9",
            "*embed*",
            "a&b",
            "name=a & b*",
        ] {
            assert_eq!(Filter::parse(text).unwrap().text(), text);
        }
    }
}
