//! Promise: reading and lowering a graph or a checkpoint gives a valid program or diagnostics, never a
//! panic.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use mlc_tensorflow::checkpoint::Checkpoint;
use mlc_tensorflow::{ReadOptions, lower, read_graph};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.pb");
    std::fs::write(&path, bytes).expect("the file takes bytes");
    if let Ok(model) = read_graph(&path, &ReadOptions::default())
        && let Ok(program) = lower::lower(&model, &lower::registry())
    {
        let found = mlc_ir::verify(&program);
        assert!(!found.has_errors(), "{found:?}");
    }
    let mut index =
        std::fs::File::create(folder.path().join("variables.index")).expect("a file is made");
    index.write_all(bytes).expect("the file takes bytes");
    if let Ok(checkpoint) = Checkpoint::open(&folder.path().join("variables")) {
        for key in checkpoint.keys().map(str::to_owned).collect::<Vec<_>>() {
            let _ = checkpoint.tensor(&key);
            let _ = checkpoint.text(&key);
        }
    }
});
