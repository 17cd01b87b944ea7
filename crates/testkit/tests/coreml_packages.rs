//! Packages that coremltools made: they are read, printed, run to the outputs that torch and numpy
//! gave, and written back. `testdata/coreml/gen/make.py` makes them.

use mlc_driver::{Driver, RunOptions};
use mlc_testkit::recorded::check;
use mlc_testkit::workspace_root;

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
        let found = check(&folder.join(name), None);
        let found = found.unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert!(found.text.contains(word), "{name} has no `{word}`:\n{}", found.text);
        assert!(found.calls > 0);
    }
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
