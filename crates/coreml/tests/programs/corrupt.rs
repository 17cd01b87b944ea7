//! Packages that are damaged: each kind of damage has its code and its words, and none a panic.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mlc_coreml::emit::{EmitOptions, check};
use mlc_coreml::read::read;
use mlc_coreml::spec::{Model, mil, model};
use mlc_diag::{Code, codes};
use prost::Message as _;

const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
const MANIFEST: &str = "Manifest.json";

/// A package that coremltools made, in `testdata/coreml/packages`.
fn committed(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/coreml/packages");
    root.join(name).join(format!("{name}.mlpackage"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let goal = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &goal);
        } else {
            fs::copy(&path, &goal).unwrap();
        }
    }
}

fn edit_bytes(path: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = path.join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
}

fn edit_text(path: &Path, from: &str, to: &str) {
    let file = path.join(MANIFEST);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&file, text.replace(from, to)).unwrap();
}

fn edit_model(path: &Path, change: impl FnOnce(&mut Model)) {
    edit_bytes(path, MODEL, |bytes| {
        let mut model = Model::decode(bytes.as_slice()).unwrap();
        change(&mut model);
        *bytes = model.encode_to_vec();
    });
}

fn function(model: &mut Model) -> &mut mil::Function {
    let Some(model::Type::MlProgram(program)) = &mut model.r#type else { panic!("no program") };
    program.functions.get_mut("main").unwrap()
}

fn block(model: &mut Model) -> &mut mil::Block {
    function(model).block_specializations.values_mut().next().unwrap()
}

fn op<'m>(model: &'m mut Model, kind: &str) -> &'m mut mil::Operation {
    block(model).operations.iter_mut().find(|op| op.r#type == kind).unwrap()
}

/// The first constant that stands in the weight file.
fn stored(model: &mut Model) -> &mut mil::Value {
    let is_stored =
        |value: &mil::Value| matches!(value.value, Some(mil::value::Value::BlobFileValue(_)));
    let operations = block(model).operations.iter_mut();
    operations.filter_map(|op| op.attributes.get_mut("val")).find(|v| is_stored(v)).unwrap()
}

fn blob(model: &mut Model) -> &mut mil::value::BlobFileValue {
    let Some(mil::value::Value::BlobFileValue(blob)) = &mut stored(model).value else {
        panic!("no blob")
    };
    blob
}

fn set_input(op: &mut mil::Operation, param: &str, name: &str) {
    use mil::argument::{Binding, binding};
    let binding = Some(binding::Binding::Name(name.to_owned()));
    op.inputs.insert(param.to_owned(), mil::Argument { arguments: vec![Binding { binding }] });
}

type Damage = fn(&Path);

/// A damage, its code and words of its message.
const DAMAGES: &[(&str, Damage, Code, &str)] = &[
    (
        "no manifest",
        |p| fs::remove_file(p.join(MANIFEST)).unwrap(),
        codes::FILE_NOT_FOUND,
        "Manifest.json",
    ),
    (
        "manifest cut off",
        |p| edit_bytes(p, MANIFEST, |b| b.truncate(40)),
        codes::CORRUPT_MANIFEST,
        "EOF",
    ),
    (
        "manifest is no JSON",
        |p| fs::write(p.join(MANIFEST), "model").unwrap(),
        codes::CORRUPT_MANIFEST,
        "expected value",
    ),
    (
        "manifest without items",
        |p| fs::write(p.join(MANIFEST), "{}").unwrap(),
        codes::CORRUPT_MANIFEST,
        "missing field",
    ),
    (
        "newer manifest",
        |p| edit_text(p, "1.0.0", "2.0.0"),
        codes::CORRUPT_MANIFEST,
        "newer than 1.0.0",
    ),
    (
        "manifest of no version",
        |p| edit_text(p, "1.0.0", "one"),
        codes::CORRUPT_MANIFEST,
        "not three numbers",
    ),
    (
        "root is no item",
        |p| edit_text(p, "\"rootModelIdentifier\": \"", "\"rootModelIdentifier\": \"X"),
        codes::CORRUPT_MANIFEST,
        "not among the items",
    ),
    (
        "item outside",
        |p| edit_text(p, "com.apple.CoreML/model.mlmodel", "../../model.mlmodel"),
        codes::CORRUPT_PACKAGE,
        "stay inside the package",
    ),
    (
        "no model file",
        |p| fs::remove_file(p.join(MODEL)).unwrap(),
        codes::FILE_NOT_FOUND,
        "model.mlmodel` does not exist",
    ),
    (
        "no weight file",
        |p| fs::remove_file(p.join(WEIGHTS)).unwrap(),
        codes::FILE_NOT_FOUND,
        "weight.bin` does not exist",
    ),
    (
        "empty model file",
        |p| edit_bytes(p, MODEL, Vec::clear),
        codes::CORRUPT_PACKAGE,
        "has no body",
    ),
    (
        "model cut off",
        |p| edit_bytes(p, MODEL, |b| b.truncate(b.len() / 2)),
        codes::CORRUPT_PROTOBUF,
        "byte",
    ),
    (
        "model is text",
        |p| fs::write(p.join(MODEL), "version https://git-lfs").unwrap(),
        codes::CORRUPT_PROTOBUF,
        "byte",
    ),
    (
        "weights cut off",
        |p| edit_bytes(p, WEIGHTS, |b| b.truncate(150)),
        codes::CORRUPT_WEIGHTS,
        "150",
    ),
    (
        "weights without header",
        |p| edit_bytes(p, WEIGHTS, |b| b.truncate(10)),
        codes::CORRUPT_WEIGHTS,
        "this one 10",
    ),
    (
        "weights of another version",
        |p| edit_bytes(p, WEIGHTS, |b| b[4] = 9),
        codes::CORRUPT_WEIGHTS,
        "version 9",
    ),
    (
        "blob without sentinel",
        |p| edit_bytes(p, WEIGHTS, |b| b[64] ^= 0xff),
        codes::CORRUPT_WEIGHTS,
        "0xdeadbe",
    ),
    ("blob of no type", |p| edit_bytes(p, WEIGHTS, |b| b[68] = 99), codes::CORRUPT_WEIGHTS, "99"),
    (
        "blob too long",
        |p| edit_bytes(p, WEIGHTS, |b| b[79] = 0x7f),
        codes::CORRUPT_WEIGHTS,
        "are too many",
    ),
    (
        "blob elsewhere",
        |p| edit_bytes(p, WEIGHTS, |b| b[80] ^= 0x40),
        codes::CORRUPT_WEIGHTS,
        "payload",
    ),
    (
        "offset beyond the file",
        |p| edit_model(p, |m| blob(m).offset = 1 << 40),
        codes::CORRUPT_WEIGHTS,
        "ends at",
    ),
    (
        "offset between blobs",
        |p| edit_model(p, |m| blob(m).offset += 1),
        codes::CORRUPT_WEIGHTS,
        "byte 65",
    ),
    (
        "weights of another name",
        |p| edit_model(p, |m| blob(m).file_name = "@model_path/weights/x.bin".to_owned()),
        codes::FILE_NOT_FOUND,
        "x.bin",
    ),
    (
        "weights outside",
        |p| edit_model(p, |m| blob(m).file_name = "/etc/passwd".to_owned()),
        codes::CORRUPT_PACKAGE,
        "@model_path",
    ),
    (
        "blob of another type",
        |p| edit_model(p, |m| set_type(m, mil::DataType::Int8, 0)),
        codes::CORRUPT_WEIGHTS,
        "of int8 is declared",
    ),
    (
        "blob of another size",
        |p| edit_model(p, |m| set_type(m, mil::DataType::Float16, 1)),
        codes::CORRUPT_WEIGHTS,
        "is declared",
    ),
    (
        "undefined name",
        |p| edit_model(p, |m| set_input(op(m, "relu"), "x", "nothing")),
        codes::UNKNOWN_VALUE,
        "`nothing` is used before it exists",
    ),
    (
        "its own result",
        |p| {
            edit_model(p, |m| {
                let own = op(m, "relu").outputs[0].name.clone();
                set_input(op(m, "relu"), "x", &own);
            })
        },
        codes::UNKNOWN_VALUE,
        "is used before it exists",
    ),
    (
        "a cycle",
        |p| {
            edit_model(p, |m| {
                let later = op(m, "gelu").outputs[0].name.clone();
                set_input(op(m, "conv"), "x", &later);
            })
        },
        codes::UNKNOWN_VALUE,
        "is used before it exists",
    ),
    (
        "output that does not exist",
        |p| edit_model(p, |m| block(m).outputs[0] = "nothing".to_owned()),
        codes::UNKNOWN_VALUE,
        "output `nothing` does not exist",
    ),
    (
        "two of a name",
        |p| {
            edit_model(p, |m| {
                let name = op(m, "conv").outputs[0].name.clone();
                op(m, "relu").outputs[0].name = name;
            })
        },
        codes::DUPLICATE_NAME,
        "is defined twice",
    ),
    (
        "opset of the future",
        |p| edit_model(p, |m| function(m).opset = "CoreML42".to_owned()),
        codes::UNSUPPORTED_SCHEMA,
        "`CoreML42`",
    ),
    (
        "opset newer than the model",
        |p| edit_model(p, |m| m.specification_version = 6),
        codes::UNSUPPORTED_SCHEMA,
        "does not fit the model",
    ),
    (
        "version of the future",
        |p| edit_model(p, |m| m.specification_version = 77),
        codes::UNSUPPORTED_SCHEMA,
        "specification version 77",
    ),
    (
        "no body of the opset",
        |p| edit_model(p, |m| function(m).block_specializations.clear()),
        codes::CORRUPT_PACKAGE,
        "there is no body",
    ),
    (
        "no function",
        |p| {
            edit_model(p, |m| {
                let Some(model::Type::MlProgram(program)) = &mut m.r#type else { return };
                program.functions.clear();
            })
        },
        codes::CORRUPT_PACKAGE,
        "no function",
    ),
    (
        "function without description",
        |p| edit_model(p, |m| m.description = None),
        codes::CORRUPT_PACKAGE,
        "described",
    ),
    (
        "unknown op",
        |p| edit_model(p, |m| op(m, "relu").r#type = "relu9".to_owned()),
        codes::UNKNOWN_OP,
        "`relu9`",
    ),
    (
        "unknown argument",
        |p| {
            edit_model(p, |m| {
                let x = op(m, "relu").inputs["x"].clone();
                op(m, "relu").inputs.insert("colour".to_owned(), x);
            })
        },
        codes::UNSUPPORTED_ARGUMENT,
        "`colour`",
    ),
    (
        "missing argument",
        |p| edit_model(p, |m| drop(op(m, "relu").inputs.remove("x"))),
        codes::INVALID_GRAPH,
        "`x` has 0 values",
    ),
    (
        "declared type of another element",
        |p| {
            edit_model(p, |m| {
                let ty = op(m, "cast").outputs[0].r#type.clone();
                op(m, "relu").outputs[0].r#type = ty;
            })
        },
        codes::TYPE_MISMATCH,
        "is inferred",
    ),
    (
        "constant without value",
        |p| edit_model(p, |m| op(m, "const").attributes.clear()),
        codes::CORRUPT_PACKAGE,
        "a constant has one value",
    ),
    (
        "unknown field",
        |p| edit_bytes(p, MODEL, |b| b.extend([0xf8, 0x07, 1])),
        codes::UNSUPPORTED_SCHEMA,
        "is not known",
    ),
];

fn set_type(model: &mut Model, dtype: mil::DataType, more: u64) {
    use mil::dimension::Dimension;
    use mil::value_type::Type;
    let Some(Type::TensorType(ty)) = &mut stored(model).r#type.as_mut().unwrap().r#type else {
        panic!("no tensor")
    };
    ty.data_type = dtype.into();
    if let Some(Dimension::Constant(size)) = &mut ty.dimensions[0].dimension {
        size.size += more;
    }
}

#[test]
fn every_damage_has_its_code_and_words() {
    let (mut wrong, mut met) = (Vec::new(), BTreeSet::new());
    for (name, damage, code, words) in DAMAGES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("A.mlpackage");
        copy(&committed("fp16_ios17"), &path);
        damage(&path);
        match read(&path) {
            Ok(_) => wrong.push(format!("{name}: it is read")),
            Err(found) => {
                let said = |d: &mlc_diag::Diagnostic| d.code == *code && d.message.contains(words);
                if !found.items().iter().any(said) {
                    wrong.push(format!("{name}: {:?}", found.items()));
                }
                met.insert(*code);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(met.len() >= 10);
}

/// Bytes of every file of every small package, set and cut: what comes is a program or a diagnostic.
#[test]
fn flipped_bytes_are_survived() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n.max(1) as u64) as usize
    };
    let (mut programs, mut refused) = (0, 0);
    for name in [
        "cond",
        "fp16_ios17",
        "functions",
        "palettized4_ios16",
        "sparse_ios18",
        "stateful",
        "ranges",
        "classifier",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("A.mlpackage");
        copy(&committed(name), &path);
        for file in [MODEL, MODEL, MODEL, WEIGHTS, MANIFEST] {
            let Ok(sound) = fs::read(path.join(file)) else { continue };
            for _ in 0..25 {
                let mut bytes = sound.clone();
                for _ in 0..1 + next(3) {
                    let at = next(bytes.len().min(if file == WEIGHTS { 256 } else { usize::MAX }));
                    bytes[at] = match next(3) {
                        0 => bytes[at] ^ (1 << next(8)),
                        1 => 0xff,
                        _ => next(256) as u8,
                    };
                }
                if next(6) == 0 {
                    bytes.truncate(next(bytes.len()));
                }
                fs::write(path.join(file), &bytes).unwrap();
                match read(&path) {
                    Ok(read) => {
                        let _ = check(&read.program, &EmitOptions::new(read.opset));
                        programs += 1;
                    }
                    Err(problems) => {
                        assert!(problems.has_errors());
                        refused += 1;
                    }
                }
            }
            fs::write(path.join(file), &sound).unwrap();
        }
    }
    assert!(programs > 50 && refused > 200, "{programs} programs, {refused} refused");
}
