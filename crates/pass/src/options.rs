//! Options of passes: from text to typed values.

use std::collections::BTreeMap;
use std::fmt;

use mlc_diag::nearest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The options of one call, by name.
pub type Options = BTreeMap<String, OptionValue>;

/// The value of an option.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another finite number.
    Float(f64),
    /// Anything else; quoted where it could be read as something else.
    Text(String),
    /// `[a,b]`.
    List(Vec<OptionValue>),
    /// `{a=1}`.
    Map(Options),
}

impl OptionValue {
    /// What a word without quotes means.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let numeric = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        match word {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ if !numeric => Self::Text(word.to_owned()),
            _ => match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(n), _) => Self::Int(n),
                (_, Ok(x)) if x.is_finite() => Self::Float(x),
                _ => Self::Text(word.to_owned()),
            },
        }
    }

    /// Whether `c` may stand in a word without quotes.
    pub(crate) fn is_word_char(c: char) -> bool {
        !c.is_whitespace() && !c.is_control() && !",{}[]()=\"#".contains(c)
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Bool(b) => Value::from(*b),
            Self::Int(n) => Value::from(*n),
            Self::Float(x) => Value::from(*x),
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(options) => json_of(options),
        }
    }
}

fn json_of(options: &Options) -> Value {
    let entries = options.iter().map(|(name, value)| (name.clone(), value.to_json()));
    Value::Object(entries.collect::<Map<_, _>>())
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(x) => write!(f, "{x:?}"),
            Self::Text(text) => {
                let plain = !text.is_empty()
                    && text.chars().all(Self::is_word_char)
                    && Self::from_word(text) == *self;
                if plain { f.write_str(text) } else { quote(text, f) }
            }
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Map(options) => print_options(options, f),
        }
    }
}

fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// Prints `{a=1,b=x}`.
pub(crate) fn print_options(options: &Options, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    for (i, (name, value)) in options.iter().enumerate() {
        write!(f, "{}{name}={value}", if i > 0 { "," } else { "" })?;
    }
    f.write_str("}")
}

/// What is wrong with the options of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OptionError {
    /// No option of that name.
    Unknown {
        /// The name.
        name: String,
        /// Names like it.
        nearest: Vec<String>,
        /// All there are.
        known: Vec<String>,
    },
    /// A value that does not fit.
    BadValue {
        /// The option.
        name: String,
        /// What is wrong.
        message: String,
    },
}

/// The defaults of an options type, by name.
pub(crate) fn defaults<P: Default + Serialize>() -> Map<String, Value> {
    match serde_json::to_value(P::default()) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A value of `P` from text options. A single value serves as a list of one.
pub(crate) fn build<P>(options: &Options) -> Result<P, Vec<OptionError>>
where
    P: Default + Serialize + DeserializeOwned,
{
    let known = defaults::<P>();
    let mut errors = Vec::new();
    let mut fitted = Map::new();
    for (name, value) in options {
        if !known.contains_key(name) {
            errors.push(unknown(name, known.keys().map(String::as_str)));
            continue;
        }
        let value = value.to_json();
        let alone = |value: Value| {
            serde_json::from_value::<P>(Value::Object(Map::from_iter([(name.clone(), value)])))
        };
        match (alone(value.clone()), alone(Value::Array(vec![value.clone()]))) {
            (Ok(_), _) => drop(fitted.insert(name.clone(), value)),
            (_, Ok(_)) => drop(fitted.insert(name.clone(), Value::Array(vec![value]))),
            (Err(error), _) => errors
                .push(OptionError::BadValue { name: name.clone(), message: error.to_string() }),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    serde_json::from_value(Value::Object(fitted)).map_err(|error| {
        vec![OptionError::BadValue { name: String::new(), message: error.to_string() }]
    })
}

pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> OptionError {
    let known: Vec<&str> = known.collect();
    OptionError::Unknown {
        name: name.to_owned(),
        nearest: nearest(name, known.iter().copied()).into_iter().map(str::to_owned).collect(),
        known: known.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        keep: Vec<String>,
        limit: u32,
        scale: Option<f64>,
    }

    fn options(entries: &[(&str, OptionValue)]) -> Options {
        entries.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
    }

    #[test]
    fn one_value_serves_as_a_list_and_integers_as_floats() {
        let given = options(&[
            ("keep", OptionValue::Text("softmax".into())),
            ("scale", OptionValue::Int(2)),
        ]);
        let made: Sample = build(&given).unwrap();
        assert_eq!(made, Sample { keep: vec!["softmax".into()], limit: 0, scale: Some(2.0) });
    }

    #[test]
    fn every_bad_option_is_named() {
        let given =
            options(&[("kep", OptionValue::Int(1)), ("limit", OptionValue::Text("many".into()))]);
        let errors = build::<Sample>(&given).unwrap_err();
        assert!(matches!(&errors[0], OptionError::Unknown { nearest, .. } if nearest == &["keep"]));
        assert!(matches!(&errors[1], OptionError::BadValue { name, .. } if name == "limit"));
    }
}
