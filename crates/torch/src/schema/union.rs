//! Objects with exactly one key, which is the kind.

/// Reads such an object into an enum of one-field variants. A kind that is not known becomes
/// `Unknown` with the key; errors in a value name its key.
macro_rules! union {
    ($name:ident { $($key:literal => $variant:ident),* $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                struct Kinds;
                impl<'de> serde::de::Visitor<'de> for Kinds {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object with one key")
                    }

                    fn visit_map<A>(self, mut map: A) -> Result<$name, A::Error>
                    where
                        A: serde::de::MapAccess<'de>,
                    {
                        use serde::de::Error;
                        let Some(key) = map.next_key::<String>()? else {
                            return Err(A::Error::custom("object without a kind"));
                        };
                        let read = match key.as_str() {
                            $($key => map.next_value().map($name::$variant),)*
                            _ => map
                                .next_value::<serde::de::IgnoredAny>()
                                .map(|_| $name::Unknown(key.clone())),
                        };
                        let value =
                            read.map_err(|e| A::Error::custom(format!("`{key}`: {e}")))?;
                        match map.next_key::<String>()? {
                            None => Ok(value),
                            Some(other) => Err(A::Error::custom(format!(
                                "object is both `{key}` and `{other}`"
                            ))),
                        }
                    }
                }
                input.deserialize_map(Kinds)
            }
        }
    };
}

pub(crate) use union;
