//! Programs as packages: what is written, and that reading it gives the same program.

use std::collections::BTreeMap;
use std::fs;

use mlc_coreml::dump::dump_model;
use mlc_coreml::emit::{EmitOptions, Emitted, check, emit};
use mlc_coreml::interface::{FeatureKey, FeatureOptions, ModelMetadata};
use mlc_coreml::package::{Existing, Limits, PackageReader};
use mlc_coreml::spec::{Model, feature_type, mil, model};
use mlc_diag::{Diagnostics, codes};
use mlc_ir::ops::{Add, Cast, Conv, Gather, Relu, Sqrt};
use mlc_ir::{Dim, Program, SymbolRange, TensorType, Type};
use mlc_target::Opset;
use mlc_target::io::ColorLayout;
use mlc_tensor::{DType, Tensor};

use crate::cases::{self, tensor, weight};
use crate::support::{add_function, goal, meaning, program, round_trip, show, tree};

#[test]
fn every_case_reads_back_as_the_same_program() {
    for case in cases::all() {
        for opset in Opset::ALL.into_iter().filter(|&opset| opset >= case.since) {
            let (read, _) = round_trip(case.name, &case.program, &EmitOptions::new(opset));
            assert_eq!(read.opset, opset);
            let (wrote, read) = (meaning(&case.program), meaning(&read.program));
            assert!(wrote == read, "{} on {opset}\n- wrote\n{wrote}\n- read\n{read}", case.name);
        }
    }
}

#[test]
fn every_case_is_refused_below_its_opset() {
    for case in cases::all() {
        for opset in Opset::ALL.into_iter().filter(|&opset| opset < case.since) {
            let found = check(&case.program, &EmitOptions::new(opset));
            assert!(found.has_errors(), "{} on {opset}", case.name);
            for item in found.items().iter().filter(|item| item.is_error()) {
                assert_eq!(item.code, codes::TARGET_TOO_OLD, "{item}");
                assert!(item.fix.as_ref().is_some_and(|fix| fix.starts_with("--target ")));
            }
        }
    }
}

#[test]
fn two_runs_give_the_same_bytes_and_the_same_id() {
    for case in cases::all() {
        let folder = tempfile::tempdir().unwrap();
        let options = EmitOptions::new(Opset::Ios18);
        let runs = ["a.mlpackage", "b.mlpackage"].map(|name| {
            let path = folder.path().join(name);
            let emitted = emit(&case.program, &path, &options, Existing::Refuse).unwrap();
            (tree(&path), emitted)
        });
        assert!(runs[0] == runs[1], "{}", case.name);
    }
}

fn emitted(name: &str, program: &Program, options: &EmitOptions) -> (Model, Emitted, String) {
    let goal = goal(name, options.opset);
    let emitted = emit(program, &goal.path, options, Existing::Replace)
        .unwrap_or_else(|problems| panic!("{name}: {}", show(problems.items())));
    let package = PackageReader::open(&goal.path, Limits::default()).unwrap();
    let loaded = package.model().unwrap();
    assert_eq!(loaded.unknown.total, 0);
    let dump = dump_model(&loaded.model, &BTreeMap::new()).unwrap();
    (loaded.model, emitted, dump)
}

fn main_block(model: &Model) -> &mil::Block {
    let Some(model::Type::MlProgram(program)) = &model.r#type else { panic!("no program") };
    let function = &program.functions["main"];
    &function.block_specializations[&function.opset]
}

/// Offset in the weight file of each constant, or nothing for one in the program.
fn places(model: &Model) -> Vec<(String, Option<u64>)> {
    let constants = main_block(model).operations.iter().filter(|op| op.r#type == "const");
    constants
        .map(|op| {
            let offset = match &op.attributes["val"].value {
                Some(mil::value::Value::BlobFileValue(blob)) => Some(blob.offset),
                _ => None,
            };
            (op.outputs[0].name.clone(), offset)
        })
        .collect()
}

#[test]
fn large_constants_stand_in_the_weight_file_once() {
    let program = program(&[("x", tensor(DType::F32, &[10]))], |b, args| {
        let small = weight(b, DType::F32, &[1], 1);
        let nine = weight(b, DType::F32, &[9], 2);
        let ten = weight(b, DType::F32, &[10], 3);
        let bytes =
            Tensor::random(DType::F32, &[10], 3, 0.5).unwrap().bytes().unwrap().into_owned();
        let same = b.constant(Tensor::from_bytes(DType::F32, &[10], bytes).unwrap()).unwrap();
        let other = weight(b, DType::F32, &[10], 4);
        let ints = b.ints(&(0..10).collect::<Vec<_>>()).unwrap();
        for (value, name) in [
            (small, "small"),
            (nine, "nine"),
            (ten, "ten"),
            (same, "same"),
            (other, "other"),
            (ints, "ints"),
        ] {
            b.name(value, name);
        }
        let mut y = args[0];
        for value in [small, ten, same, other] {
            y = Add {}.build(b, y, value).unwrap();
        }
        vec![("y", y), ("nine_out", nine), ("ints_out", ints)]
    });
    let (model, emitted_17, _) = emitted("weights", &program, &EmitOptions::new(Opset::Ios17));
    let named = |rows: &[(&str, Option<u64>)]| {
        rows.iter().map(|&(name, at)| (name.to_owned(), at)).collect::<Vec<_>>()
    };
    let floats = [
        ("small", None),
        ("nine", None),
        ("ten", Some(64)),
        ("same", Some(64)),
        ("other", Some(192)),
    ];
    assert_eq!(places(&model), named(&[&floats[..], &[("ints", None)]].concat()));
    assert_eq!((emitted_17.blobs, emitted_17.shared), (2, 1));
    let (model, emitted_18, _) = emitted("weights", &program, &EmitOptions::new(Opset::Ios18));
    assert_eq!(places(&model), named(&[&floats[..], &[("ints", Some(320))]].concat()));
    assert_eq!((emitted_18.blobs, emitted_18.weight_bytes), (3, 320 + 64 + 40));
    assert_ne!(emitted_17.id, emitted_18.id);
}

#[test]
fn dump_of_a_convolution() {
    let program = program(&[("x", tensor(DType::F16, &[1, 1, 4, 4]))], |b, args| {
        let w = weight(b, DType::F16, &[1, 1, 3, 3], 1);
        b.name(w, "net.0.weight");
        let conv = Conv {
            strides: vec![],
            pad_type: mlc_ir::attr::PadType::Same,
            pad: vec![],
            dilations: vec![],
            groups: 1,
        };
        let y = conv.build(b, args[0], w, None).unwrap();
        let y = Sqrt {}.build(b, y).unwrap();
        vec![("y", y)]
    });
    let (_, _, dump) = emitted("conv", &program, &EmitOptions::new(Opset::Ios16));
    insta::assert_snapshot!(dump);
}

#[test]
fn dump_of_flexible_and_scalar_features() {
    let mut program = Program::new();
    program.symbols.declare("t", SymbolRange { min: 0, max: Some(64) });
    let x = Type::tensor(DType::F32, [Dim::Const(2), Dim::symbol("t")]);
    let params = [("x", x), ("k", tensor(DType::F32, &[]))];
    add_function(&mut program, "main", &params, |b, args| {
        let y = Add {}.build(b, args[0], args[1]).unwrap();
        let z = Relu {}.build(b, args[1]).unwrap();
        vec![("y", y), ("z", z)]
    });
    let (read, _) = round_trip("features", &program, &EmitOptions::new(Opset::Ios15));
    let main = &read.program.functions[read.program.function("main").unwrap()];
    assert_eq!(main.params[0].default_shape, Some(vec![2, 1]));
    let t = read.program.symbols.range("x_1");
    assert_eq!((t.min, t.max), (1, Some(64)));
    let (_, _, dump) = emitted("features", &program, &EmitOptions::new(Opset::Ios15));
    insta::assert_snapshot!(dump);
}

#[test]
fn text_images_and_defaults_are_kept() {
    let params =
        [("photo", tensor(DType::F32, &[1, 3, 4, 6])), ("bias", tensor(DType::F32, &[1, 1, 1, 1]))];
    let program =
        program(&params, |b, args| vec![("y", Add {}.build(b, args[0], args[1]).unwrap())]);
    let mut options = EmitOptions::new(Opset::Ios16);
    options.metadata = ModelMetadata {
        short_description: "adds".to_owned(),
        version: "3".to_owned(),
        author: "A. U. Thor".to_owned(),
        license: "Apache-2.0".to_owned(),
        user_defined: [("mlc.version", "0.1.0"), ("a", "b")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };
    let feature = |name: &str| FeatureKey::new("main", name);
    let image = FeatureOptions {
        image: Some(ColorLayout::Bgr),
        description: "a photo".to_owned(),
        ..Default::default()
    };
    options.features.insert(feature("photo"), image);
    let optional = FeatureOptions { default: Some(0.5), ..Default::default() };
    options.features.insert(feature("bias"), optional);
    let (read, _) = round_trip("text", &program, &options);
    assert_eq!(read.metadata, options.metadata);
    assert_eq!(read.features, options.features);
    let (model, _, _) = emitted("text", &program, &options);
    let ty = model.description.unwrap().input[0].r#type.clone().unwrap().r#type;
    let Some(feature_type::Type::ImageType(image)) = ty else { panic!("no image") };
    assert_eq!((image.width, image.height, image.color_space), (6, 4, 30));
}

#[test]
fn names_become_identifiers_and_stay_unique() {
    let params = [("in/0:a", tensor(DType::F32, &[2])), ("state", tensor(DType::F32, &[2]))];
    let program = program(&params, |b, args| {
        let y = Add {}.build(b, args[0], args[1]).unwrap();
        b.name(y, "in_0_a");
        let z = Relu {}.build(b, y).unwrap();
        vec![("z", z), ("z again", z), ("3d", z)]
    });
    let (model, result, _) = emitted("names", &program, &EmitOptions::new(Opset::Ios17));
    let operations = main_block(&model).operations.iter();
    let names: Vec<(&str, &str)> =
        operations.map(|op| (op.r#type.as_str(), op.outputs[0].name.as_str())).collect();
    assert_eq!(
        names,
        [("add", "in_0_a_0"), ("relu", "z"), ("identity", "z_again"), ("identity", "var_3d")]
    );
    let description = model.description.unwrap();
    let inputs: Vec<&str> = description.input.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(inputs, ["in_0_a", "state_workaround"]);
    let renamed = result.notes.items().iter().filter(|item| item.code == codes::RENAMED_FEATURE);
    assert_eq!(renamed.count(), 4);
}

fn problems(program: &Program, opset: Opset) -> Diagnostics {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("A.mlpackage");
    let problems = emit(program, &path, &EmitOptions::new(opset), Existing::Refuse).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
    problems
}

#[test]
fn all_that_an_opset_does_not_take_is_reported_at_once() {
    let params = [("x", tensor(DType::F16, &[4, 2])), ("i", tensor(DType::I64, &[3]))];
    let program = program(&params, |b, args| {
        let narrow = Cast { dtype: DType::U16 }.build(b, args[1]).unwrap();
        let gather = Gather { axis: 0, batch_dims: 0, validate_indices: true };
        let y = gather.build(b, args[0], narrow).unwrap();
        let wide = Cast { dtype: DType::F64 }.build(b, y).unwrap();
        vec![("y", y), ("wide", wide)]
    });
    insta::assert_snapshot!(show(problems(&program, Opset::Ios15).items()));
}

#[test]
fn features_that_do_not_fit_are_reported() {
    let mut program = Program::new();
    program.symbols.declare("n", SymbolRange { min: 1, max: None });
    let state = |dtype, dim| Type::State(TensorType::new(dtype, [dim]));
    let params = [
        ("open", Type::tensor(DType::F32, [Dim::symbol("n")])),
        ("wide", tensor(DType::F32, &[1, 1, 1, 1, 1, 1])),
        ("flag", tensor(DType::Bool, &[1])),
        ("full", state(DType::F32, Dim::Const(2))),
        ("growing", state(DType::F16, Dim::symbol("n"))),
    ];
    add_function(&mut program, "main", &params, |b, args| {
        vec![("y", Relu {}.build(b, args[0]).unwrap())]
    });
    insta::assert_snapshot!(show(problems(&program, Opset::Ios17).items()));
}

#[test]
fn a_goal_that_exists_or_has_another_ending_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(&[("x", tensor(DType::F32, &[2]))], |_, args| vec![("y", args[0])]);
    let options = EmitOptions::new(Opset::Ios15);
    let run = |name: &str| {
        let problems = emit(&program, &folder.path().join(name), &options, Existing::Refuse);
        problems.map(|_| ()).map_err(|problems| problems.items()[0].code)
    };
    assert_eq!(run("a.mlmodel"), Err(codes::BAD_ARGUMENT));
    assert_eq!(run("a.mlpackage"), Ok(()));
    assert_eq!(run("a.mlpackage"), Err(codes::OUTPUT_EXISTS));
    assert_eq!(run("missing/a.mlpackage"), Err(codes::NOT_WRITABLE));
}
