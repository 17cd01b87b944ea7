//! Numbers that JSON cannot write as they are.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// A float; `"Infinity"`, `"-Infinity"` and `"NaN"` are text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Float(pub(crate) f64);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct FloatVisitor;
        impl Visitor<'_> for FloatVisitor {
            type Value = Float;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a float")
            }

            fn visit_f64<E: Error>(self, x: f64) -> Result<Float, E> {
                Ok(Float(x))
            }

            fn visit_i64<E: Error>(self, x: i64) -> Result<Float, E> {
                Ok(Float(x as f64))
            }

            fn visit_u64<E: Error>(self, x: u64) -> Result<Float, E> {
                Ok(Float(x as f64))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Float, E> {
                match text {
                    "Infinity" => Ok(Float(f64::INFINITY)),
                    "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
                    "NaN" => Ok(Float(f64::NAN)),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }
        input.deserialize_any(FloatVisitor)
    }
}

/// A bound of a range; `None` where it stands for infinity, which torch writes as the ends of the
/// 64-bit range or beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<i64>);

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct BoundVisitor;
        impl Visitor<'_> for BoundVisitor {
            type Value = Bound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or infinity")
            }

            fn visit_i64<E: Error>(self, x: i64) -> Result<Bound, E> {
                let finite = (i64::MIN + 2..=i64::MAX - 2).contains(&x);
                Ok(Bound(finite.then_some(x)))
            }

            fn visit_u64<E: Error>(self, x: u64) -> Result<Bound, E> {
                self.visit_i64(i64::try_from(x).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: Error>(self, x: f64) -> Result<Bound, E> {
                if x.abs() >= 9.2e18 {
                    return Ok(Bound(None));
                }
                Err(E::invalid_value(Unexpected::Float(x), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bound, E> {
                match text {
                    "Infinity" | "-Infinity" | "int_oo" | "-int_oo" | "oo" | "-oo" => {
                        Ok(Bound(None))
                    }
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }
        input.deserialize_any(BoundVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_are_text_or_the_ends_of_the_range() {
        assert_eq!(serde_json::from_str::<Float>("\"-Infinity\"").unwrap().0, f64::NEG_INFINITY);
        assert!(serde_json::from_str::<Float>("\"inf\"").is_err());
        let bound = |s: &str| serde_json::from_str::<Bound>(s).unwrap().0;
        assert_eq!(bound("9223372036854775806"), None);
        assert_eq!(bound("16"), Some(16));
        assert_eq!(bound("-9223372036854775808"), None);
    }
}
