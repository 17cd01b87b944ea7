//! Packages that coremltools made: they are read, printed, run to the outputs that torch and numpy
//! gave, and written back. `testdata/coreml/gen/make.py` makes them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mlc_coreml::emit::{EmitOptions, emit};
use mlc_coreml::package::Existing;
use mlc_coreml::read::{Read, read};
use mlc_driver::{Driver, RunOptions, distance, read_safetensors};
use mlc_eval::{Array, EvalValue, Evaluator};
use mlc_ir::{Function, ParamKind, Program, Value};
use mlc_testkit::workspace_root;
use mlc_text::{ParseOptions, PrintOptions, parse, print};

/// What packages show, by name: an op or word of the text that must stand in the program.
const KINDS: [(&str, &str); 15] = [
    ("classifier", "classify"),
    ("cond", "cond"),
    ("enumerated", "x_2"),
    ("fp16_ios17", "f16"),
    ("fp32_ios15", "f32"),
    ("functions", "@logits"),
    ("image", "clip"),
    ("int4_blocks_ios18", "constexpr_blockwise_shift_scale"),
    ("int8_ios16", "constexpr_affine_dequantize"),
    ("palettized4_ios16", "constexpr_lut_to_dense"),
    ("palettized4_ios18", "constexpr_lut_to_dense"),
    ("ranges", "x_2"),
    ("sparse_ios18", "constexpr_sparse_to_dense"),
    ("stateful", "write_state"),
    ("while_loop", "while_loop"),
];

#[test]
fn packages_of_coremltools_are_read_run_and_written_back() {
    let folder = workspace_root().join("testdata/coreml/packages");
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, KINDS.map(|(name, _)| name));
    for (name, word) in KINDS {
        let path = folder.join(name).join(format!("{name}.mlpackage"));
        let package = read(&path).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let text = printed(&package);
        assert!(text.contains(word), "{name} has no `{word}`:\n{text}");
        let parsed = parse(name, &text, &ParseOptions::default()).unwrap();
        assert_eq!(print(&parsed.program, &PrintOptions::default()), text, "{name}");
        let calls = folder.join(name).join("io.safetensors");
        check_calls(name, &package, &calls);
        let again = written_back(&path, &package);
        assert_eq!(unnamed(&again.program), unnamed(&package.program), "{name} written back");
        assert_eq!(again.features, package.features, "{name}");
        assert_eq!(again.metadata, package.metadata, "{name}");
        check_calls(name, &again, &calls);
    }
}

fn printed(package: &Read) -> String {
    let found = mlc_ir::verify(&package.program);
    assert!(!found.has_errors(), "{found:?}");
    print(&package.program, &PrintOptions::default())
}

#[test]
fn the_driver_runs_default_functions_and_classifiers() {
    let folder = workspace_root().join("testdata/coreml/packages");
    let driver = Driver::new(&[]).unwrap();
    let run = |name: &str| {
        let path = folder.join(name).join(format!("{name}.mlpackage"));
        driver.run(&path, &RunOptions::default()).unwrap()
    };
    assert_eq!(run("functions").function, "scores");
    let report = run("classifier");
    let [label, scores] = &report.outputs[..] else { panic!("{report:?}") };
    assert_eq!(scores.labels, ["ant", "bee", "cat", "dog"]);
    let numbers = scores.array.to_f64s().unwrap();
    let best = (0..4).max_by(|&a, &b| numbers[a].total_cmp(&numbers[b])).unwrap();
    assert_eq!(label.labels, [scores.labels[best].clone()]);
    assert!((numbers.iter().sum::<f64>() - 1.0).abs() < 1e-5);
}

/// The functions without the names of values, which must be unique in a package, and without the
/// places of weights.
fn unnamed(program: &Program) -> String {
    let mut program = program.clone();
    for func in program.func_ids().collect::<Vec<_>>() {
        let function = &mut program.functions[func];
        let values: Vec<Value> = function.values.iter().map(|(value, _)| value).collect();
        for value in values {
            function.values[value].name = None;
        }
    }
    let text = print(&program, &PrintOptions::default());
    text.find("func @").map_or(String::new(), |at| text[at..].to_owned())
}

fn written_back(path: &Path, package: &Read) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let goal: PathBuf = folder.path().join(path.file_name().unwrap());
    let options = EmitOptions {
        opset: package.opset,
        metadata: package.metadata.clone(),
        features: package.features.clone(),
        default_function: package.default_function.clone(),
    };
    emit(&package.program, &goal, &options, Existing::Refuse)
        .unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
    read(&goal).unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()))
}

/// Runs the default function once a call; states go from one to the next.
fn check_calls(name: &str, package: &Read, calls: &Path) {
    let calls: BTreeMap<String, Array> = read_safetensors(calls).unwrap().into_iter().collect();
    let program = &package.program;
    let wanted = package.default_function.as_deref().unwrap_or("main");
    let func = program.function(wanted).unwrap();
    let function = &program.functions[func];
    let mut evaluator = Evaluator::new(program, func);
    let mut states = evaluator.initial_states().unwrap();
    let mut steps = 0;
    while calls.keys().any(|key| key.starts_with(&format!("step{steps}."))) {
        let inputs = inputs(function, &calls, steps);
        let outputs = evaluator.run(&inputs, &mut states).unwrap();
        for (output, value) in function.outputs.iter().zip(&outputs) {
            let reference = &calls[&format!("step{steps}.output.{}", output.name)];
            check(&format!("{name}.{}", output.name), reference, value);
        }
        steps += 1;
    }
    assert!(steps > 0, "{name} has no calls");
}

fn inputs(function: &Function, calls: &BTreeMap<String, Array>, step: usize) -> Vec<Array> {
    let inputs = function.params.iter().filter(|param| param.kind == ParamKind::Input);
    inputs.map(|param| calls[&format!("step{step}.{}", param.name)].clone()).collect()
}

fn check(what: &str, reference: &Array, value: &EvalValue) {
    match value {
        EvalValue::Array(got) => {
            let distance = distance(reference, got).unwrap_or_else(|| panic!("{what}: shapes"));
            let limit = if what.starts_with("fp16") { 5e-3 } else { 1e-5 };
            assert!(distance.relative <= limit && distance.non_finite == 0, "{what}: {distance:?}");
        }
        // The number of the class, in the order in which the dictionary has the classes.
        EvalValue::Dict(entries) => {
            let numbers = reference.to_f64s().unwrap();
            assert_eq!(entries.len(), numbers.len(), "{what}");
            for ((label, got), wanted) in entries.iter().zip(numbers) {
                assert!((got - wanted).abs() < 1e-5, "{what} {label}: {got}, not {wanted}");
            }
        }
        EvalValue::Strs(labels) => {
            let classes = ["ant", "bee", "cat", "dog"];
            let best = usize::try_from(reference.to_i64s().unwrap()[0]).unwrap();
            assert_eq!(labels[..], [classes[best]], "{what}");
        }
        other => panic!("{what} is {other:?}"),
    }
}
