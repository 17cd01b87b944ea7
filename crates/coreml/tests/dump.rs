//! Dumps of small models.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Cursor;

use mlc_coreml::blob::{BlobReader, BlobSpec, BlobWriter};
use mlc_coreml::dump::{DumpError, dump_model, write_dump};
use mlc_coreml::spec::mil::tensor_value::{
    RepeatedBytes, RepeatedFloats, RepeatedInts, Value as TensorValue,
};
use mlc_coreml::spec::{
    ArrayFeatureType, FeatureDescription, FeatureType, Metadata, Model, ModelDescription,
    array_feature_type, feature_type, mil, model,
};
use mlc_target::DataType;
use proptest::prelude::*;
use prost::Message as _;

const FILE: &str = "@model_path/weights/weight.bin";

fn tensor_type(dtype: mil::DataType, shape: &[u64]) -> mil::ValueType {
    let dimensions = shape.iter().map(|&size| {
        let constant = mil::dimension::ConstantDimension { size };
        mil::Dimension { dimension: Some(mil::dimension::Dimension::Constant(constant)) }
    });
    let tensor = mil::TensorType {
        data_type: dtype.into(),
        rank: shape.len() as i64,
        dimensions: dimensions.collect(),
        ..Default::default()
    };
    mil::ValueType { r#type: Some(mil::value_type::Type::TensorType(tensor)) }
}

fn immediate(ty: mil::ValueType, tensor: mil::tensor_value::Value) -> mil::Value {
    let tensor = mil::TensorValue { value: Some(tensor) };
    let value = mil::value::ImmediateValue {
        value: Some(mil::value::immediate_value::Value::Tensor(tensor)),
    };
    mil::Value {
        r#type: Some(ty),
        value: Some(mil::value::Value::ImmediateValue(value)),
        ..Default::default()
    }
}

fn text(text: &str) -> mil::Value {
    let strings = mil::tensor_value::RepeatedStrings { values: vec![text.to_owned()] };
    immediate(tensor_type(mil::DataType::String, &[]), mil::tensor_value::Value::Strings(strings))
}

fn in_file(dtype: mil::DataType, shape: &[u64], offset: u64) -> mil::Value {
    let blob = mil::value::BlobFileValue { file_name: FILE.to_owned(), offset };
    mil::Value {
        r#type: Some(tensor_type(dtype, shape)),
        value: Some(mil::value::Value::BlobFileValue(blob)),
        ..Default::default()
    }
}

fn constant(name: &str, value: mil::Value) -> mil::Operation {
    let output = mil::NamedValueType { name: name.to_owned(), r#type: value.r#type.clone() };
    mil::Operation {
        r#type: "const".to_owned(),
        outputs: vec![output],
        attributes: [("name".to_owned(), text(name)), ("val".to_owned(), value)].into(),
        ..Default::default()
    }
}

fn program(operations: Vec<mil::Operation>) -> Model {
    let outputs = operations.iter().flat_map(|operation| &operation.outputs);
    let block = mil::Block {
        outputs: outputs.map(|output| output.name.clone()).collect(),
        operations,
        ..Default::default()
    };
    let function = mil::Function {
        opset: "CoreML8".to_owned(),
        block_specializations: [("CoreML8".to_owned(), block)].into(),
        ..Default::default()
    };
    let program = mil::Program {
        version: 1,
        functions: [("main".to_owned(), function)].into(),
        ..Default::default()
    };
    Model {
        specification_version: 9,
        r#type: Some(model::Type::MlProgram(program)),
        ..Default::default()
    }
}

fn weight_file(blobs: &[(DataType, u64, &[u8])]) -> Vec<u8> {
    let mut writer = BlobWriter::new(Cursor::new(Vec::new())).unwrap();
    for (dtype, count, payload) in blobs {
        let spec = BlobSpec::for_elements(*dtype, *count).unwrap();
        writer.append(spec, |out| out.write_all(payload)).unwrap();
    }
    writer.finish().unwrap().inner.into_inner()
}

fn dump(model: &Model) -> String {
    dump_model(model, &BTreeMap::new()).unwrap()
}

#[test]
fn description_and_metadata() {
    let array = ArrayFeatureType {
        shape: vec![1, 3, 224, 224],
        data_type: array_feature_type::ArrayDataType::Float16.into(),
        ..Default::default()
    };
    let ty = feature_type::Type::MultiArrayType(array);
    let feature = FeatureDescription {
        name: "x".to_owned(),
        r#type: Some(FeatureType { r#type: Some(ty), is_optional: true }),
        ..Default::default()
    };
    let user = [("b", "2"), ("a", "line\n\"quoted\"")];
    let metadata = Metadata {
        author: "someone".to_owned(),
        user_defined: user.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Default::default()
    };
    let description =
        ModelDescription { input: vec![feature], metadata: Some(metadata), ..Default::default() };
    let model =
        Model { specification_version: 7, description: Some(description), ..Default::default() };
    insta::assert_snapshot!(dump(&model), @r#"
    specificationVersion: 7
    description {
      input {
        name: "x"
        type { multiArrayType { shape: [1, 3, 224, 224] dataType: FLOAT16 } isOptional: true }
      }
      metadata { author: "someone" userDefined["a"]: "line\n\"quoted\"" userDefined["b"]: "2" }
    }
    "#);
}

fn attributes<const N: usize>(values: [(&str, mil::Value); N]) -> Model {
    let attributes = values.map(|(name, value)| (name.to_owned(), value)).into();
    let program = mil::Program { attributes, ..Default::default() };
    Model { r#type: Some(model::Type::MlProgram(program)), ..Default::default() }
}

#[test]
fn an_operation() {
    let ints = RepeatedInts { values: vec![-1, 0, 7] };
    let value = immediate(tensor_type(mil::DataType::Int32, &[3]), TensorValue::Ints(ints));
    insta::assert_snapshot!(dump(&program(vec![constant("c", value)])), @r#"
    specificationVersion: 9
    mlProgram {
      version: 1
      functions["main"] {
        opset: "CoreML8"
        block_specializations["CoreML8"] {
          outputs: ["c"]
          operations {
            type: "const"
            outputs {
              name: "c"
              type { tensorType { dataType: INT32 rank: 1 dimensions { constant { size: 3 } } } }
            }
            attributes["name"] {
              type { tensorType { dataType: STRING } }
              immediateValue { tensor { strings { values: ["c"] } } }
            }
            attributes["val"] {
              type { tensorType { dataType: INT32 rank: 1 dimensions { constant { size: 3 } } } }
              immediateValue { tensor { ints { values: [-1, 0, 7] } } }
            }
          }
        }
      }
    }
    "#);
}

#[test]
fn large_tensors_are_abbreviated() {
    let float32 = tensor_type(mil::DataType::Float32, &[100]);
    let floats = (0..100).map(|value| value as f32 / 2.0).collect();
    let floats = TensorValue::Floats(RepeatedFloats { values: floats });
    let float16 = tensor_type(mil::DataType::Float16, &[2]);
    let bytes = TensorValue::Bytes(RepeatedBytes { values: vec![0, 0x3c, 0, 0xbc] });
    let uint8 = tensor_type(mil::DataType::Uint8, &[100]);
    let long_bytes = TensorValue::Bytes(RepeatedBytes { values: (0..100).collect() });
    let model = attributes([
        ("bytes", immediate(float16, bytes)),
        ("floats", immediate(float32, floats)),
        ("long_bytes", immediate(uint8, long_bytes)),
    ]);
    insta::assert_snapshot!(dump(&model), @r#"
    mlProgram {
      attributes["bytes"] {
        type { tensorType { dataType: FLOAT16 rank: 1 dimensions { constant { size: 2 } } } }
        immediateValue { tensor { bytes { values: 0x003c00bc } } }
      }
      attributes["floats"] {
        type { tensorType { dataType: FLOAT32 rank: 1 dimensions { constant { size: 100 } } } }
        immediateValue {
          tensor {
            floats {
              values: [0.0, 0.5, 1.0, 1.5, ...] # 100 values, blake3 55abe8160aff36d2
            }
          }
        }
      }
      attributes["long_bytes"] {
        type { tensorType { dataType: UINT8 rank: 1 dimensions { constant { size: 100 } } } }
        immediateValue {
          tensor {
            bytes {
              values: 0x000102030405060708090a0b0c0d0e0f... # 100 bytes, blake3 8e2eb1bba3040b8f
            }
          }
        }
      }
    }
    "#);
}

#[test]
fn weights_shared_unused_and_missing() {
    let bytes = weight_file(&[
        (DataType::Fp16, 12, &[0x00, 0x3c].repeat(12)),
        (DataType::Int4, 3, &[0x7f, 0x08]),
        (DataType::Uint3, 3, &[0xd1, 0x00]),
    ]);
    let model = program(vec![
        constant("a", in_file(mil::DataType::Float16, &[3, 4], 64)),
        constant("b", in_file(mil::DataType::Float16, &[12], 64)),
        constant("c", in_file(mil::DataType::Int4, &[3], 192)),
        constant("d", in_file(mil::DataType::Int8, &[10], 640)),
    ]);
    let weights = [(FILE.to_owned(), BlobReader::new(&bytes).unwrap())].into();
    let text = dump_model(&model, &weights).unwrap();
    let table = &text[text.find("weights \"").unwrap()..];
    insta::assert_snapshot!(table, @r#"
    weights "@model_path/weights/weight.bin" { # 3 blobs, 386 bytes
      64: fp16 [12] | [3, 4], 24 bytes, blake3 31fac9bb3da5c18d, [1.0, 1.0, 1.0, 1.0, ...]
      192: int4 [3], 2 bytes, blake3 a54d301aa7ee5c34, [-1, 7, -8]
      320: uint3 unused, 2 bytes, blake3 e6fdb66c2ec40d21, [1, 2, 3]
      # 640 [10]: blob at byte 640 ends at 704, the file at 386
    }
    "#);
}

#[test]
fn long_list_literals_are_abbreviated() {
    let labels = (0..20).map(|index| text(&format!("label {index}"))).collect();
    let list = mil::value::ImmediateValue {
        value: Some(mil::value::immediate_value::Value::List(mil::ListValue { values: labels })),
    };
    let value =
        mil::Value { value: Some(mil::value::Value::ImmediateValue(list)), ..Default::default() };
    let model = attributes([("classes", value)]);
    insta::assert_snapshot!(dump(&model), @r#"
    mlProgram {
      attributes["classes"] {
        immediateValue {
          list {
            values {
              type { tensorType { dataType: STRING } }
              immediateValue { tensor { strings { values: ["label 0"] } } }
            }
            values {
              type { tensorType { dataType: STRING } }
              immediateValue { tensor { strings { values: ["label 1"] } } }
            }
            values {
              type { tensorType { dataType: STRING } }
              immediateValue { tensor { strings { values: ["label 2"] } } }
            }
            values {
              type { tensorType { dataType: STRING } }
              immediateValue { tensor { strings { values: ["label 3"] } } }
            }
            # 20 values, 16 not shown, blake3 of all 6392cbcfc8ee0750
          }
        }
      }
    }
    "#);
}

#[test]
fn undeclared_fields_are_printed() {
    // Version 4, then field 500 with 3 bytes, then field 7 as a number.
    let bytes = [0x08, 4, 0xa2, 0x1f, 3, 1, 2, 3, 0x38, 9];
    let mut text = Vec::new();
    write_dump(&mut text, &bytes, &BTreeMap::new()).unwrap();
    insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r#"
    specificationVersion: 4
    # unknown field 7: varint 9
    # unknown field 500: 3 bytes, blake3 b177ec1bf26dfb3b
    "#);
}

#[test]
fn map_entries_are_printed_by_key_whatever_their_order() {
    // description (2) { metadata (100) { userDefined (100) twice: keys "b" and "a", no values } }.
    let bytes = [
        0x12, 0x0f, 0xa2, 0x06, 0x0c, 0xa2, 0x06, 0x03, 0x0a, 0x01, b'b', 0xa2, 0x06, 0x03, 0x0a,
        0x01, b'a',
    ];
    let mut text = Vec::new();
    write_dump(&mut text, &bytes, &BTreeMap::new()).unwrap();
    insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r#"
    description { metadata { userDefined["a"]: "" userDefined["b"]: "" } }
    "#);
}

#[test]
fn a_damaged_model_is_an_error() {
    let mut text = Vec::new();
    let error = write_dump(&mut text, &[0x12, 0x05, 0x01], &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, DumpError::Wire(_)));
}

#[test]
fn a_changed_bit_changes_the_text_or_is_an_error() {
    let model = program(vec![constant("a", in_file(mil::DataType::Float16, &[3, 4], 64))]);
    let (bytes, original) = (model.encode_to_vec(), dump(&model));
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        let mut text = Vec::new();
        if write_dump(&mut text, &bytes, &BTreeMap::new()).is_ok() {
            assert_ne!(String::from_utf8(text).unwrap(), original, "bit {bit} of byte {at}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = write_dump(&mut Vec::new(), &bytes, &BTreeMap::new());
    }
}
