//! Packages that other tools write, and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use mlc_coreml::emit::{EmitOptions, check, emit};
use mlc_coreml::package::{Existing, Limits, PackageReader};
use mlc_coreml::read::{Read, read};
use mlc_coreml::spec::{Model, mil, model};
use mlc_diag::{Code, Diagnostics, codes};
use mlc_ir::attr::PadType;
use mlc_ir::ops::{Conv, NonZero, Relu, Rsqrt};
use mlc_ir::{AttrValue, Function, Program, Type};
use mlc_target::Opset;
use mlc_tensor::DType;
use proptest::prelude::*;
use prost::Message as _;
use tempfile::TempDir;

use crate::cases::{self, tensor, weight};
use crate::support::{program, show};

const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";

/// `x`, a convolution `c` and its `y = relu(c)`.
fn small() -> Program {
    program(&[("x", tensor(DType::F32, &[1, 1, 4, 4]))], |b, args| {
        let w = weight(b, DType::F32, &[1, 1, 3, 3], 1);
        b.name(w, "w");
        let conv = Conv {
            strides: vec![2, 2],
            pad_type: PadType::Custom,
            pad: vec![1, 1, 0, 0],
            dilations: vec![1, 1],
            groups: 1,
        };
        let c = conv.build(b, args[0], w, None).unwrap();
        b.name(c, "c");
        vec![("y", Relu {}.build(b, c).unwrap())]
    })
}

struct Package {
    _folder: TempDir,
    path: PathBuf,
}

impl Package {
    fn of(program: &Program, opset: Opset) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("A.mlpackage");
        emit(program, &path, &EmitOptions::new(opset), Existing::Refuse)
            .unwrap_or_else(|problems| panic!("{}", show(problems.items())));
        Self { _folder: folder, path }
    }

    fn model(&self) -> Model {
        PackageReader::open(&self.path, Limits::default()).unwrap().model().unwrap().model
    }

    /// Reads the package after `change`.
    fn changed(self, change: impl FnOnce(&mut Model)) -> Result<Read, Diagnostics> {
        let mut model = self.model();
        change(&mut model);
        fs::write(self.path.join(MODEL), model.encode_to_vec()).unwrap();
        read(&self.path)
    }
}

fn changed(change: impl FnOnce(&mut Model)) -> Result<Read, Diagnostics> {
    Package::of(&small(), Opset::Ios16).changed(change)
}

fn function(model: &mut Model) -> &mut mil::Function {
    let Some(model::Type::MlProgram(program)) = &mut model.r#type else { panic!("no program") };
    program.functions.get_mut("main").unwrap()
}

fn block(model: &mut Model) -> &mut mil::Block {
    let function = function(model);
    function.block_specializations.get_mut(&function.opset).unwrap()
}

fn operation<'m>(model: &'m mut Model, name: &str) -> &'m mut mil::Operation {
    let operations = block(model).operations.iter_mut();
    operations.into_iter().find(|op| op.outputs[0].name == name).unwrap()
}

fn set_type(op: &mut mil::Operation, dtype: mil::DataType, shape: &[Option<u64>]) {
    use mil::dimension::{ConstantDimension, Dimension, UnknownDimension};
    let dimensions = shape.iter().map(|size| mil::Dimension {
        dimension: Some(match size {
            Some(size) => Dimension::Constant(ConstantDimension { size: *size }),
            None => Dimension::Unknown(UnknownDimension { variadic: false }),
        }),
    });
    let tensor = mil::TensorType {
        data_type: dtype.into(),
        rank: shape.len() as i64,
        dimensions: dimensions.collect(),
        ..Default::default()
    };
    let ty = mil::value_type::Type::TensorType(tensor);
    op.outputs[0].r#type = Some(mil::ValueType { r#type: Some(ty) });
}

fn by_name(name: &str) -> mil::Argument {
    use mil::argument::{Binding, binding};
    let binding = Some(binding::Binding::Name(name.to_owned()));
    mil::Argument { arguments: vec![Binding { binding }] }
}

fn main_of(read: &Read) -> &Function {
    &read.program.functions[read.program.function("main").unwrap()]
}

/// The attribute `name` of the op that makes the value of that name.
fn attribute(read: &Read, value: &str, name: &str) -> AttrValue {
    let function = main_of(read);
    let mut found = None;
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        let is_it = data.results.iter().any(|&v| function.values[v].name.as_deref() == Some(value));
        if is_it {
            let at = data.op.spec().attrs.iter().position(|attr| attr.name == name).unwrap();
            found = Some(data.op.attrs()[at].clone());
        }
    });
    found.unwrap()
}

fn error(outcome: Result<Read, Diagnostics>) -> (Code, String) {
    let problems = outcome.unwrap_err();
    let [item] = problems.items() else { panic!("{}", show(problems.items())) };
    (item.code, item.message.clone())
}

fn refused(code: Code, message: &str, change: impl FnOnce(&mut Model)) {
    assert_eq!(error(changed(change)), (code, message.to_owned()));
}

#[test]
fn arguments_that_are_left_out_have_the_defaults_of_mil() {
    let read = changed(|model| {
        let conv = operation(model, "c");
        for param in ["strides", "pad_type", "pad", "dilations", "groups"] {
            conv.inputs.remove(param);
        }
        set_type(conv, mil::DataType::Float32, &[Some(1), Some(1), Some(2), Some(2)]);
        let relu = operation(model, "y");
        set_type(relu, mil::DataType::Float32, &[Some(1), Some(1), Some(2), Some(2)]);
    });
    let read = read.unwrap_or_else(|problems| panic!("{}", show(problems.items())));
    assert_eq!(attribute(&read, "c", "strides"), AttrValue::Ints(vec![1, 1]));
    assert_eq!(attribute(&read, "c", "pad_type"), AttrValue::Word("valid"));
    assert_eq!(attribute(&read, "c", "pad"), AttrValue::Ints(vec![0; 4]));
    assert_eq!(attribute(&read, "c", "groups"), AttrValue::Int(1));
}

#[test]
fn literals_serve_where_a_constant_is_named() {
    use mil::argument::binding::Binding;
    let read = changed(|model| {
        let value = operation(model, "c_strides").attributes["val"].clone();
        let conv = operation(model, "c");
        conv.inputs.get_mut("strides").unwrap().arguments[0].binding = Some(Binding::Value(value));
    });
    assert_eq!(attribute(&read.unwrap(), "c", "strides"), AttrValue::Ints(vec![2, 2]));
}

#[test]
fn declared_types_that_know_less_or_more_are_fine() {
    let read = changed(|model| {
        set_type(operation(model, "c"), mil::DataType::Float32, &[None, Some(1), None, None]);
    });
    let read = read.unwrap();
    let function = main_of(&read);
    let names = function.values.iter().map(|(_, data)| (data.name.as_deref(), data.ty.to_string()));
    let c = names.into_iter().find(|(name, _)| *name == Some("c")).unwrap();
    assert_eq!(c.1, "tensor<1x1x2x1xf32>");

    let program = program(&[("x", tensor(DType::F32, &[4]))], |b, args| {
        vec![("y", NonZero {}.build(b, args[0]).unwrap())]
    });
    let package = Package::of(&program, Opset::Ios15);
    let read = package.changed(|model| {
        set_type(operation(model, "y"), mil::DataType::Int32, &[Some(3), Some(1)]);
    });
    let read = read.unwrap();
    let function = main_of(&read);
    let result = function.regions[function.body].results[0];
    assert_eq!(*function.ty(result), tensor(DType::I32, &[3, 1]));
}

#[test]
fn small_floats_are_read_as_they_are_meant() {
    let epsilon = |dtype: DType| {
        let program = program(&[("x", tensor(dtype, &[4]))], |b, args| {
            vec![("y", Rsqrt { epsilon: mlc_ir::F64(1e-5) }.build(b, args[0]).unwrap())]
        });
        attribute(&Package::of(&program, Opset::Ios16).changed(|_| {}).unwrap(), "y", "epsilon")
    };
    assert_eq!(epsilon(DType::F32), AttrValue::Float(mlc_ir::F64(1e-5)));
    let exact = half::f16::from_f64(1e-5).to_f64();
    assert_eq!(epsilon(DType::F16), AttrValue::Float(mlc_ir::F64(exact)));
}

#[test]
fn unknown_ops_are_reported_together_without_their_consequences() {
    let problems = changed(|model| {
        let mut unknown = operation(model, "c").clone();
        unknown.r#type = "frobnicate".to_owned();
        unknown.outputs[0].name = "d".to_owned();
        operation(model, "c").r#type = "frobnicate".to_owned();
        block(model).operations.push(unknown);
    });
    let problems = problems.unwrap_err();
    let [item] = problems.items() else { panic!("{}", show(problems.items())) };
    assert_eq!((item.code, item.places.len()), (codes::UNKNOWN_OP, 2));
    assert_eq!(item.message, "operation `frobnicate` is not supported");
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    refused(codes::UNSUPPORTED_ARGUMENT, "`conv`: there is no argument `colour`", |model| {
        operation(model, "c").inputs.insert("colour".to_owned(), by_name("w"));
    });
    refused(codes::UNSUPPORTED_ARGUMENT, "`conv`: `groups` is not a constant", |model| {
        operation(model, "c").inputs.insert("groups".to_owned(), by_name("x"));
    });
    refused(codes::BAD_ATTRIBUTE, "`conv`: `groups` cannot be [4] of i32", |model| {
        operation(model, "c").inputs.insert("groups".to_owned(), by_name("c_pad"));
    });
    refused(codes::INVALID_GRAPH, "`conv`: `weight` has 0 values", |model| {
        operation(model, "c").inputs.remove("weight");
    });
    refused(codes::BAD_ATTRIBUTE, "`conv`: `pad_type` cannot be \"sideways\"", |model| {
        use mil::value::Value;
        use mil::value::immediate_value::Value as Immediate;
        let value = operation(model, "c_pad_type").attributes.get_mut("val").unwrap();
        let Some(Value::ImmediateValue(value)) = &mut value.value else { panic!("no value") };
        let Some(Immediate::Tensor(tensor)) = &mut value.value else { panic!("no tensor") };
        let strings = vec!["sideways".to_owned()];
        tensor.value =
            Some(mil::tensor_value::Value::Strings(mil::tensor_value::RepeatedStrings {
                values: strings,
            }));
    });
    refused(codes::UNSUPPORTED_ARGUMENT, "`conv`: there is no attribute `colour`", |model| {
        let conv = operation(model, "c");
        let value = conv.attributes["name"].clone();
        conv.attributes.insert("colour".to_owned(), value);
    });
}

#[test]
fn contradictions_in_the_graph_are_named() {
    refused(
        codes::TYPE_MISMATCH,
        "`relu`: `y` is declared tensor<1x1x2x1xf16>, tensor<1x1x2x1xf32> is inferred",
        |model| {
            let relu = operation(model, "y");
            set_type(relu, mil::DataType::Float16, &[Some(1), Some(1), Some(2), Some(1)]);
        },
    );
    refused(codes::UNKNOWN_VALUE, "`relu`: `later` is used before it exists", |model| {
        operation(model, "y").inputs.insert("x".to_owned(), by_name("later"));
    });
    refused(codes::DUPLICATE_NAME, "`x` is defined twice", |model| {
        operation(model, "c").outputs[0].name = "x".to_owned();
        operation(model, "y").inputs.insert("x".to_owned(), by_name("x"));
    });
    refused(codes::INVALID_GRAPH, "`conv`: 1 blocks, 0 needed", |model| {
        operation(model, "c").blocks.push(mil::Block::default());
    });
}

#[test]
fn models_of_another_kind_or_version_are_refused() {
    refused(
        codes::UNSUPPORTED_SCHEMA,
        "specification version 11 has no ML Programs known here",
        |model| {
            model.specification_version = 11;
        },
    );
    refused(codes::UNSUPPORTED_SCHEMA, "operation set `CoreML7` does not fit the model", |model| {
        let function = function(model);
        let block = function.block_specializations.remove("CoreML6").unwrap();
        function.block_specializations.insert("CoreML7".to_owned(), block);
        function.opset = "CoreML7".to_owned();
    });
    refused(codes::UNSUPPORTED_SCHEMA, "updatable models are not supported", |model| {
        model.is_updatable = true;
    });
    refused(codes::CORRUPT_PACKAGE, "the function is not described", |model| {
        model.description.as_mut().unwrap().functions.push(Default::default());
    });
    refused(codes::CORRUPT_PACKAGE, "outputs [\"z\"] are described, [\"y\"] exist", |model| {
        model.description.as_mut().unwrap().output[0].name = "z".to_owned()
    });
}

fn blob(model: &mut Model) -> &mut mil::value::BlobFileValue {
    let value = operation(model, "w").attributes.get_mut("val").unwrap();
    let Some(mil::value::Value::BlobFileValue(blob)) = &mut value.value else { panic!("no blob") };
    blob
}

#[test]
fn constants_that_are_not_what_the_file_holds_are_refused() {
    let large = program(&[("x", tensor(DType::F32, &[12]))], |b, args| {
        let w = weight(b, DType::F32, &[12], 1);
        b.name(w, "w");
        vec![("y", mlc_ir::ops::Add {}.build(b, args[0], w).unwrap())]
    });
    let run = |change: fn(&mut Model)| Package::of(&large, Opset::Ios16).changed(change);
    let found = error(run(|model| blob(model).offset = 128));
    assert_eq!(found.0, codes::CORRUPT_WEIGHTS);
    assert!(found.1.contains("blob at byte 128 ends at 192"), "{}", found.1);
    let found = error(run(|model| {
        use mil::value_type::Type;
        let value = operation(model, "w").attributes.get_mut("val").unwrap();
        let Some(Type::TensorType(ty)) = &mut value.r#type.as_mut().unwrap().r#type else {
            panic!("no tensor")
        };
        ty.data_type = mil::DataType::Float16.into();
    }));
    assert!(found.1.contains("holds 12 elements of fp32"), "{}", found.1);
    let read = run(|_| {}).unwrap();
    let (_, tensor) = read.program.consts.iter().next().unwrap();
    assert!(matches!(tensor.source(), mlc_tensor::Source::Mapped { .. }));
}

#[test]
fn paths_that_are_no_package_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let code = |path: &Path| read(path).unwrap_err().items()[0].code;
    assert_eq!(code(&folder.path().join("missing.mlpackage")), codes::FILE_NOT_FOUND);
    let file = folder.path().join("file.mlpackage");
    fs::write(&file, "text").unwrap();
    assert_eq!(code(&file), codes::UNKNOWN_FORMAT);
    assert_eq!(code(folder.path()), codes::FILE_NOT_FOUND);
    let package = Package::of(&small(), Opset::Ios16);
    fs::write(package.path.join(MODEL), [0x0a, 0xff]).unwrap();
    assert_eq!(code(&package.path), codes::CORRUPT_PROTOBUF);
}

#[test]
fn conditions_of_one_element_become_scalars() {
    let case = cases::all().into_iter().find(|case| case.name == "loop").unwrap();
    let package = Package::of(&case.program, Opset::Ios15);
    let read = package.changed(|model| {
        let outer =
            block(model).operations.iter_mut().find(|op| op.r#type == "while_loop").unwrap();
        let test = &mut outer.blocks[0];
        let mut expand = test.operations.last().unwrap().clone();
        expand.r#type = "expand_dims".to_owned();
        let condition = expand.outputs[0].name.clone();
        expand.inputs =
            [("x".to_owned(), by_name(&condition)), ("axes".to_owned(), by_name("axes"))].into();
        expand.outputs[0].name = "vector".to_owned();
        set_type(&mut expand, mil::DataType::Bool, &[Some(1)]);
        test.outputs = vec!["vector".to_owned()];
        test.operations.push(expand);
        let softmax = outer.blocks[1].operations.iter().find(|op| op.r#type == "softmax").unwrap();
        let axis = softmax.inputs["axis"].clone();
        let mil::argument::binding::Binding::Name(axis) =
            axis.arguments[0].binding.clone().unwrap()
        else {
            panic!("no name")
        };
        let mut axes = operation(model, &axis).clone();
        axes.outputs[0].name = "axes".to_owned();
        set_type(&mut axes, mil::DataType::Int32, &[Some(1)]);
        let ty = axes.outputs[0].r#type.clone();
        axes.attributes.get_mut("val").unwrap().r#type = ty;
        block(model).operations.insert(0, axes);
    });
    let read = read.unwrap_or_else(|problems| panic!("{}", show(problems.items())));
    let function = main_of(&read);
    let mut ops = Vec::new();
    function.for_each_node(&mut |_, node| ops.push(function.nodes[node].op.spec().name));
    assert!(ops.contains(&"squeeze"), "{ops:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Damaged model files give a program that can be checked again, or diagnostics.
    #[test]
    fn damaged_models_are_survived(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), which: prop::sample::Index) {
        let all = cases::all();
        let case = &all[which.index(all.len())];
        let package = Package::of(&case.program, case.since);
        let path = package.path.join(MODEL);
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fs::write(&path, bytes).unwrap();
        match read(&package.path) {
            Ok(read) => {
                let _ = check(&read.program, &EmitOptions::new(read.opset));
            }
            Err(problems) => prop_assert!(problems.has_errors()),
        }
    }
}

#[test]
fn state_types_are_kept() {
    let case = cases::all().into_iter().find(|case| case.name == "state").unwrap();
    let read = Package::of(&case.program, Opset::Ios18).changed(|_| {}).unwrap();
    let function = main_of(&read);
    let states = function.regions[function.body].args.iter();
    let states = states.filter(|&&arg| matches!(function.ty(arg), Type::State(_)));
    assert_eq!(states.count(), 1);
}
