//! Names and types of the declared fields, from the descriptors of `proto/`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::wire::WireValue;

static DESCRIPTORS: &[u8] = include_bytes!("proto/descriptors.bin");

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::from_descriptors(DESCRIPTORS).expect("a test compares the descriptors with proto/")
});

const ROOT: &str = ".CoreML.Specification.Model";

/// Every declared message, by index.
#[derive(Debug)]
pub(crate) struct Schema {
    messages: Vec<Message>,
    root: usize,
}

/// The fields of one message type.
#[derive(Debug)]
pub(crate) struct Message {
    /// Full name without leading dot.
    pub(crate) name: String,
    /// Whether this is the entry of a map: key 1, value 2.
    pub(crate) is_map_entry: bool,
    fields: BTreeMap<u32, Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
}

/// Type of a field. Enums map numbers to names; messages are indices into the schema.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint64,
    Float,
    Double,
    String,
    Bytes,
    Enum(BTreeMap<i32, String>),
    Message(usize),
}

/// The schema of `proto/`.
pub(crate) fn schema() -> &'static Schema {
    &SCHEMA
}

impl Schema {
    /// The type of a whole model file.
    pub(crate) fn root(&'static self) -> &'static Message {
        self.message(self.root)
    }

    /// The message type a [`Kind::Message`] names.
    pub(crate) fn message(&'static self, index: usize) -> &'static Message {
        &self.messages[index]
    }

    /// `None` if the bytes are not a complete descriptor set, or use a field type that [`Kind`] lacks.
    fn from_descriptors(bytes: &[u8]) -> Option<Self> {
        let files = FileDescriptorSet::decode(bytes).ok()?;
        let mut declared = Declared::default();
        for file in &files.file {
            let scope = format!(".{}", file.package());
            declared.add_enums(&scope, &file.enum_type);
            declared.add_messages(&scope, &file.message_type);
        }
        let messages = declared
            .messages
            .iter()
            .map(|message| declared.resolve(message))
            .collect::<Option<_>>();
        Some(Self { messages: messages?, root: *declared.indices.get(ROOT)? })
    }
}

impl Message {
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.get(&number)
    }
}

impl Field {
    /// Whether the value may stand for this field: its own wire type, or a packed list.
    pub(crate) fn accepts(&self, value: &WireValue<'_>) -> bool {
        match value {
            WireValue::Varint(_) => self.kind.is_varint(),
            WireValue::Fixed32(_) => matches!(self.kind, Kind::Float),
            WireValue::Fixed64(_) => matches!(self.kind, Kind::Double),
            WireValue::Bytes(_) => self.kind.is_delimited() || self.repeated,
        }
    }
}

impl Kind {
    pub(crate) fn is_varint(&self) -> bool {
        match self {
            Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint64 | Kind::Enum(_) => true,
            Kind::Float | Kind::Double | Kind::String | Kind::Bytes | Kind::Message(_) => false,
        }
    }

    /// Whether one value has a length in front; a list of these is never packed.
    pub(crate) fn is_delimited(&self) -> bool {
        matches!(self, Kind::String | Kind::Bytes | Kind::Message(_))
    }
}

/// Descriptors by full name, before their fields are resolved.
#[derive(Default)]
struct Declared<'a> {
    messages: Vec<(String, &'a DescriptorProto)>,
    indices: BTreeMap<String, usize>,
    enums: BTreeMap<String, BTreeMap<i32, String>>,
}

impl<'a> Declared<'a> {
    fn add_messages(&mut self, scope: &str, messages: &'a [DescriptorProto]) {
        for message in messages {
            let name = format!("{scope}.{}", message.name());
            self.add_enums(&name, &message.enum_type);
            self.add_messages(&name, &message.nested_type);
            self.indices.insert(name.clone(), self.messages.len());
            self.messages.push((name, message));
        }
    }

    fn add_enums(&mut self, scope: &str, enums: &[EnumDescriptorProto]) {
        for item in enums {
            let values =
                item.value.iter().map(|value| (value.number(), value.name().to_owned())).collect();
            self.enums.insert(format!("{scope}.{}", item.name()), values);
        }
    }

    fn resolve(&self, (name, message): &(String, &DescriptorProto)) -> Option<Message> {
        let fields = message.field.iter().map(|field| {
            let number = u32::try_from(field.number()).ok()?;
            let repeated = field.label() == Label::Repeated;
            Some((
                number,
                Field { name: field.name().to_owned(), kind: self.kind(field)?, repeated },
            ))
        });
        Some(Message {
            name: name.trim_start_matches('.').to_owned(),
            is_map_entry: message.options.as_ref().is_some_and(|options| options.map_entry()),
            fields: fields.collect::<Option<_>>()?,
        })
    }

    fn kind(&self, field: &FieldDescriptorProto) -> Option<Kind> {
        Some(match field.r#type() {
            Type::Bool => Kind::Bool,
            Type::Int32 => Kind::Int32,
            Type::Int64 => Kind::Int64,
            Type::Uint64 => Kind::Uint64,
            Type::Float => Kind::Float,
            Type::Double => Kind::Double,
            Type::String => Kind::String,
            Type::Bytes => Kind::Bytes,
            Type::Enum => Kind::Enum(self.enums.get(field.type_name())?.clone()),
            Type::Message => Kind::Message(*self.indices.get(field.type_name())?),
            Type::Uint32
            | Type::Fixed32
            | Type::Fixed64
            | Type::Group
            | Type::Sfixed32
            | Type::Sfixed64
            | Type::Sint32
            | Type::Sint64 => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Run with `BLESS=1` to write the descriptors anew.
    #[test]
    fn descriptors_are_those_of_the_proto_files() {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let proto = crate_folder.join("../../proto");
        let mut compiler = protox::Compiler::new([&proto]).unwrap();
        compiler.include_source_info(false).include_imports(true);
        for name in ["FeatureTypes.proto", "MIL.proto", "Model.proto"] {
            compiler.open_file(proto.join(name)).unwrap();
        }
        let fresh = compiler.file_descriptor_set().encode_to_vec();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(crate_folder.join("src/proto/descriptors.bin"), &fresh).unwrap();
        }
        assert!(fresh == DESCRIPTORS, "descriptors.bin is stale: run this test with BLESS=1");
    }

    #[test]
    fn knows_messages_maps_and_enums() {
        let model = schema().root();
        assert_eq!(model.name, "CoreML.Specification.Model");
        let Kind::Message(program) = model.field(502).unwrap().kind else { panic!("no program") };
        let program = schema().message(program);
        let functions = program.field(2).unwrap();
        assert!(functions.repeated);
        let Kind::Message(entry) = functions.kind else { panic!("functions is no map") };
        assert!(schema().message(entry).is_map_entry);
        let tensor = &schema().messages[schema()
            .messages
            .iter()
            .position(|message| message.name == "CoreML.Specification.MILSpec.TensorType")
            .unwrap()];
        let Kind::Enum(names) = &tensor.field(1).unwrap().kind else { panic!("no enum") };
        assert_eq!(names[&10], "FLOAT16");
        assert_eq!(names.len(), 23);
    }

    #[test]
    fn damaged_descriptors_are_refused() {
        assert!(Schema::from_descriptors(&DESCRIPTORS[..DESCRIPTORS.len() / 2]).is_none());
        assert!(Schema::from_descriptors(&[]).is_none());
    }
}
