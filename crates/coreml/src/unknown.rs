//! Fields of a model file that `proto/` does not declare.
//!
//! Decoding drops them, so whoever writes a decoded model back would lose them silently. A newer
//! format version adds such fields; other kinds of models consist of them.

use std::fmt;

use crate::schema::{Kind, Message, schema};
use crate::wire::{MAX_DEPTH, Span, WireError, WireValue};

/// How many fields are listed; the rest is only counted.
pub const LISTED_MAX: usize = 100;

/// The undeclared fields of a model file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnknownFields {
    /// The first [`LISTED_MAX`] of them in file order.
    pub listed: Vec<UnknownField>,
    /// How many there are.
    pub total: u64,
}

/// One field that `proto/` does not declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The message that holds the field, such as `mlProgram.functions["main"]`; empty for the model.
    pub path: String,
    /// Field number.
    pub number: u32,
    /// Encoded size in bytes, key included.
    pub byte_len: usize,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the model" } else { &self.path };
        write!(f, "field {} ({} bytes) in {place}", self.number, self.byte_len)
    }
}

/// Finds the undeclared fields of an encoded [`Model`](crate::spec::Model), at any depth.
///
/// # Errors
/// [`WireError`] if the bytes are not an encoded model.
pub fn unknown_fields(model: &[u8]) -> Result<UnknownFields, WireError> {
    let mut search = Search { found: UnknownFields::default(), path: Vec::new() };
    search.message(Span::whole(model), schema().root())?;
    Ok(search.found)
}

struct Search<'a> {
    found: UnknownFields,
    path: Vec<Step<'a>>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'static str),
    Index(&'static str, usize),
    Key(&'static str, &'a [u8]),
}

impl<'a> Search<'a> {
    fn message(&mut self, span: Span<'a>, ty: &'static Message) -> Result<(), WireError> {
        if self.path.len() > MAX_DEPTH {
            return Err(WireError::TooDeep);
        }
        let mut seen = Vec::new();
        for field in span.fields() {
            let field = field?;
            let Some(declared) = ty.field(field.number) else {
                self.report(field.number, field.len);
                continue;
            };
            if !declared.accepts(&field.value) {
                let name = format!("{}.{}", ty.name, declared.name);
                return Err(WireError::Mismatch { field: name, offset: field.offset });
            }
            let (Kind::Message(inner), WireValue::Bytes(inner_span)) =
                (&declared.kind, field.value)
            else {
                continue;
            };
            let inner = schema().message(*inner);
            let step = match declared.repeated {
                false => Step::Field(&declared.name),
                true if inner.is_map_entry => {
                    Step::Key(&declared.name, map_key(inner_span).unwrap_or_default())
                }
                true => Step::Index(&declared.name, next_index(&mut seen, field.number)),
            };
            self.path.push(step);
            self.message(inner_span, inner)?;
            self.path.pop();
        }
        Ok(())
    }

    fn report(&mut self, number: u32, byte_len: usize) {
        self.found.total += 1;
        if self.found.listed.len() < LISTED_MAX {
            let path = render(&self.path);
            self.found.listed.push(UnknownField { path, number, byte_len });
        }
    }
}

/// The key of an encoded map entry, if it is a string.
pub(crate) fn map_key(entry: Span<'_>) -> Option<&[u8]> {
    let keys = entry.fields().filter_map(Result::ok).filter(|field| field.number == 1);
    match keys.last()?.value {
        WireValue::Bytes(key) => Some(key.bytes),
        WireValue::Varint(_) | WireValue::Fixed32(_) | WireValue::Fixed64(_) => None,
    }
}

fn next_index(seen: &mut Vec<(u32, usize)>, number: u32) -> usize {
    if let Some((_, count)) = seen.iter_mut().find(|(field, _)| *field == number) {
        *count += 1;
        return *count - 1;
    }
    seen.push((number, 1));
    0
}

fn render(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    let mut skip_value_field = false;
    for step in path {
        let after_key = std::mem::replace(&mut skip_value_field, matches!(step, Step::Key(..)));
        if after_key && matches!(step, Step::Field("value")) {
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        match step {
            Step::Field(name) => text.push_str(name),
            Step::Index(name, index) => text.push_str(&format!("{name}[{index}]")),
            Step::Key(name, key) => {
                text.push_str(&format!("{name}[{:?}]", String::from_utf8_lossy(key)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Model, ModelDescription, mil, model};
    use proptest::prelude::*;
    use prost::Message as _;

    /// Appends field `number` with a string value to an encoded message.
    fn with_field(mut message: Vec<u8>, number: u32) -> Vec<u8> {
        prost::encoding::string::encode(number, &"later".to_owned(), &mut message);
        message
    }

    fn nested(number: u32, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::bytes::encode(number, &message.to_vec(), &mut bytes);
        bytes
    }

    #[test]
    fn a_model_we_encode_has_none() {
        let function = mil::Function { opset: "CoreML7".into(), ..Default::default() };
        let program = mil::Program {
            version: 1,
            functions: [("main".to_owned(), function)].into(),
            ..Default::default()
        };
        let model = Model {
            specification_version: 8,
            description: Some(ModelDescription::default()),
            r#type: Some(model::Type::MlProgram(program)),
            ..Default::default()
        };
        assert_eq!(unknown_fields(&model.encode_to_vec()).unwrap(), UnknownFields::default());
    }

    #[test]
    fn finds_them_at_the_top_and_inside_a_map() {
        let block = nested(3, &with_field(Vec::new(), 4000));
        let entry = [nested(1, b"CoreML9"), nested(2, &block)].concat();
        let function = nested(3, &entry);
        let entry = [nested(1, b"main"), nested(2, &function)].concat();
        let model = with_field(nested(502, &nested(2, &entry)), 500);
        let found = unknown_fields(&model).unwrap();
        assert_eq!(found.total, 2);
        assert_eq!(
            found
                .listed
                .iter()
                .map(|field| (field.path.as_str(), field.number))
                .collect::<Vec<_>>(),
            [
                (
                    r#"mlProgram.functions["main"].block_specializations["CoreML9"].operations[0]"#,
                    4000
                ),
                ("", 500)
            ]
        );
        assert_eq!(found.listed[1].to_string(), "field 500 (8 bytes) in the model");
    }

    #[test]
    fn counts_more_than_it_lists() {
        let model = (0..150).fold(Vec::new(), |bytes, _| with_field(bytes, 7777));
        let found = unknown_fields(&model).unwrap();
        assert_eq!((found.total, found.listed.len()), (150, LISTED_MAX));
    }

    #[test]
    fn a_declared_field_of_another_type_is_an_error() {
        let error = unknown_fields(&nested(1, b"x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field `CoreML.Specification.Model.specificationVersion` at byte 0 is encoded as another type"
        );
    }

    #[test]
    fn nesting_is_limited() {
        let mut value = Vec::new();
        for _ in 0..200 {
            value = nested(202, &nested(1, &value));
        }
        assert_eq!(unknown_fields(&value), Err(WireError::TooDeep));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unknown_fields(&bytes);
        }

        #[test]
        fn nothing_is_unknown_once_decoded(at in 0usize..140, flip in any::<u8>()) {
            let function = mil::Function { opset: "CoreML7".into(), ..Default::default() };
            let program = mil::Program {
                version: 1,
                functions: [("main".to_owned(), function)].into(),
                doc_string: "text".repeat(20),
                ..Default::default()
            };
            let model =
                Model { r#type: Some(model::Type::MlProgram(program)), ..Default::default() };
            let mut bytes = model.encode_to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flip;
            }
            if let Ok(decoded) = Model::decode(bytes.as_slice()) {
                let again = unknown_fields(&decoded.encode_to_vec()).unwrap();
                prop_assert_eq!(again.total, 0);
            }
        }
    }
}
