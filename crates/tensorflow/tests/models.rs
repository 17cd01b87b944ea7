//! Models that TensorFlow wrote, read, lowered and evaluated. `testdata/front/tf/gen.py` makes them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use mlc_diag::Diagnostics;
use mlc_eval::{Array, Evaluator, States};
use mlc_ir::{InputRequest, Program};
use mlc_tensor::{DType, Tensor};
use mlc_tensorflow::lower::{LowerOptions, StateMode, lower, lower_with, registry};
use mlc_tensorflow::{Model, ReadOptions, read_graph, read_saved_model};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/front/tf").join(name)
}

fn saved(name: &str, options: &ReadOptions) -> Result<Model, Diagnostics> {
    read_saved_model(&fixture(name), options)
}

fn program(model: &Model) -> Program {
    let program = lower(model, &registry()).unwrap();
    assert!(!mlc_ir::verify(&program).has_errors());
    program
}

fn array(shape: &[u64], values: &[f64]) -> Array {
    Array::from_tensor(&Tensor::from_f64s(DType::F32, shape, values).unwrap()).unwrap()
}

fn run(program: &Program, inputs: &[Array], states: &mut States) -> Vec<(Vec<usize>, Vec<f64>)> {
    let main = program.function("main").unwrap();
    let outputs = Evaluator::new(program, main).run(inputs, states).unwrap();
    outputs
        .iter()
        .map(|output| {
            let array = output.array().unwrap();
            (array.shape().to_vec(), array.to_f64s().unwrap())
        })
        .collect()
}

fn names(program: &Program) -> Vec<&str> {
    let main = program.function("main").unwrap();
    program.functions[main].outputs.iter().map(|output| output.name.as_str()).collect()
}

fn message(found: &Diagnostics) -> String {
    found.items().iter().map(|d| format!("{}: {}\n", d.code, d.message)).collect()
}

#[test]
fn a_saved_model_has_signatures_and_variables() {
    let program = self::program(&saved("dense", &ReadOptions::default()).unwrap());
    assert_eq!(names(&program), ["sum", "y"]);
    // w is [[-2, -1], [0, 1], [2, -2]], b is [-2, -1]; the batch is open.
    let outputs = run(&program, &[array(&[2, 3], &[1., 2., 3., 0., 1., 0.])], &mut States::new());
    assert_eq!(outputs[0], (vec![2], vec![6., 1.]));
    assert_eq!(outputs[1], (vec![2, 2], vec![2., -6., -2., 0.]));

    let options = ReadOptions { signature: Some("back".to_owned()), ..ReadOptions::default() };
    let back = self::program(&saved("dense", &options).unwrap());
    let outputs = run(&back, &[array(&[2, 2], &[-1., -1., -2., 0.])], &mut States::new());
    assert_eq!(outputs[0], (vec![2, 3], vec![-2., 0., 2., -1., 1., -2.]));
}

#[test]
fn signatures_and_tags_that_are_not_there_are_named() {
    let options = ReadOptions { signature: Some("bakc".to_owned()), ..ReadOptions::default() };
    let found = saved("dense", &options).unwrap_err();
    assert!(message(&found).contains("no signature `bakc`"), "{found:?}");
    assert!(found.items()[0].help.as_deref().unwrap().contains("back"));
    let options = ReadOptions { tags: vec!["train".to_owned()], ..ReadOptions::default() };
    let found = saved("dense", &options).unwrap_err();
    assert!(message(&found).contains("tags `train`"), "{found:?}");
}

#[test]
fn variables_that_are_assigned_to_are_kept() {
    let model = saved("counter", &ReadOptions::default()).unwrap();
    assert_eq!(model.initial_values().unwrap().len(), 1);
    let program = self::program(&model);
    let mut states = States::new();
    states.insert("total_1".to_owned(), array(&[4], &[0.; 4]));
    let x = [array(&[4], &[1., 2., 3., 4.])];
    assert_eq!(run(&program, &x, &mut states)[0].1, [1., 2., 3., 4.]);
    assert_eq!(run(&program, &x, &mut states)[0].1, [2., 4., 6., 8.]);

    let options = LowerOptions { states: StateMode::Io, ..LowerOptions::default() };
    let program = lower_with(&model, &registry(), &options).unwrap().program;
    assert_eq!(names(&program), ["total", "total_1_out"]);
    let inputs = [x[0].clone(), array(&[4], &[5.; 4])];
    assert_eq!(run(&program, &inputs, &mut States::new())[1].1, [6., 7., 8., 9.]);
}

#[test]
fn a_frozen_graph_of_images() {
    let program =
        self::program(&read_graph(&fixture("image.pb"), &ReadOptions::default()).unwrap());
    let image: Vec<f64> = (0..32).map(f64::from).collect();
    let outputs = run(&program, &[array(&[1, 4, 4, 2], &image)], &mut States::new());
    let want = [0., 37., 6., 8., 23., 37., 3., 37., 22., 64., 34., 37.];
    assert_eq!(outputs[0], (vec![1, 2, 2, 3], want.to_vec()));
}

#[test]
fn loops_and_branches_of_both_forms() {
    for name in ["loop.pb", "loop_lowered.pb"] {
        let program = self::program(&read_graph(&fixture(name), &ReadOptions::default()).unwrap());
        let n = Tensor::from_i64s(DType::I32, &[], &[4]).unwrap();
        let inputs = [array(&[3], &[1., 2., 3.]), Array::from_tensor(&n).unwrap()];
        let outputs = run(&program, &inputs, &mut States::new());
        assert_eq!(outputs[0].1, [1., 5., 9.], "{name}");
        let rows = [2., 4., 6., 1., 3., 5., 2., 6., 10., 1., 5., 9.];
        assert_eq!(outputs[1], (vec![4, 3], rows.to_vec()), "{name}");
    }
}

#[test]
fn a_loop_that_breaks_has_constants_on_both_branches() {
    let model = read_graph(&fixture("search_lowered.pb"), &ReadOptions::default()).unwrap();
    let program = self::program(&model);
    for (limit, want, trips) in [(9, [4., 8., 12.], 2.), (1, [2., 4., 6.], 1.)] {
        let n = Tensor::from_i64s(DType::I32, &[], &[limit]).unwrap();
        let inputs = [array(&[3], &[1., 2., 3.]), Array::from_tensor(&n).unwrap()];
        let outputs = run(&program, &inputs, &mut States::new());
        assert_eq!(outputs[0].1, want);
        assert_eq!(outputs[1].1, [trips]);
    }
}

#[test]
fn outputs_are_chosen_by_name() {
    let options = ReadOptions { outputs: vec!["Relu".to_owned()], ..ReadOptions::default() };
    let program = self::program(&read_graph(&fixture("image.pb"), &options).unwrap());
    assert_eq!(names(&program), ["Relu"]);
    let options = ReadOptions { outputs: vec!["Rleu:0".to_owned()], ..ReadOptions::default() };
    let found = read_graph(&fixture("image.pb"), &options).unwrap_err();
    assert!(message(&found).contains("no tensor `Rleu:0`"), "{found:?}");
}

#[test]
fn requests_fix_open_extents() {
    let model = saved("dense", &ReadOptions::default()).unwrap();
    let mut request = InputRequest::new("x");
    request.shape = Some(vec![5, 3]);
    let options = LowerOptions { inputs: vec![request], ..LowerOptions::default() };
    let program = lower_with(&model, &registry(), &options).unwrap().program;
    let main = &program.functions[program.function("main").unwrap()];
    let x = main.regions[main.body].args[0];
    assert_eq!(main.ty(x).to_string(), "tensor<5x3xf32>");
}

/// A copy of the model `dense` in which one file is changed; `None` leaves it out.
fn damaged(file: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("variables")).unwrap();
    let files =
        ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"];
    for name in files {
        std::fs::copy(fixture("dense").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join(file);
    match change(std::fs::read(&path).unwrap()) {
        Some(bytes) => std::fs::write(&path, bytes).unwrap(),
        None => std::fs::remove_file(&path).unwrap(),
    }
    let found = match read_saved_model(folder.path(), &ReadOptions::default()) {
        Err(found) => found,
        Ok(model) => match lower(&model, &registry()) {
            Err(found) => found,
            Ok(_) => return String::new(),
        },
    };
    assert!(found.has_errors());
    message(&found)
}

#[test]
fn damaged_checkpoints_are_refused_by_name() {
    let shard = "variables/variables.data-00000-of-00001";
    let index = "variables/variables.index";
    let missing = damaged(shard, |_| None);
    assert!(missing.contains("`variables.data-00000-of-00001` cannot be opened"), "{missing}");
    let short = damaged(shard, |bytes| Some(bytes[..10].to_vec()));
    assert!(short.contains("variable `") && short.contains("has 10"), "{short}");
    let flipped = damaged(shard, |mut bytes| {
        bytes[3] ^= 0x40;
        Some(bytes)
    });
    assert!(flipped.contains("the checksum of `"), "{flipped}");
    let gone = damaged(index, |_| None);
    assert!(gone.contains("`variables.index` cannot be opened"), "{gone}");
    let cut = damaged(index, |bytes| Some(bytes[..bytes.len() / 2].to_vec()));
    assert!(cut.contains("does not end with the footer of a table"), "{cut}");
    let len = std::fs::read(fixture("dense").join(index)).unwrap().len();
    for at in (0..len).step_by(7) {
        // Some bytes mean nothing; none may bring a panic.
        damaged(index, |mut bytes| {
            bytes[at] ^= 0x25;
            Some(bytes)
        });
    }
}

#[test]
fn truncated_graphs_are_refused() {
    let bytes = std::fs::read(fixture("image.pb")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pb");
    for end in (0..bytes.len()).step_by(13) {
        std::fs::write(&path, &bytes[..end]).unwrap();
        if let Ok(model) = read_graph(&path, &ReadOptions::default()) {
            // A cut between two nodes leaves a graph without its end.
            let _ = lower(&model, &registry());
        }
    }
    for at in (0..bytes.len()).step_by(5) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x11;
        std::fs::write(&path, &bad).unwrap();
        if let Ok(model) = read_graph(&path, &ReadOptions::default()) {
            let _ = lower(&model, &registry());
        }
    }
}
