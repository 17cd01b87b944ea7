//! Promise: reading and lowering an archive gives a valid program or diagnostics, never a panic.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".pt2").tempfile().expect("a temporary file");
    file.write_all(bytes).expect("the file takes bytes");
    let Ok(source) = mlc_torch::read(file.path()) else { return };
    let registry = mlc_torch::lower::registry();
    if let Ok(program) = mlc_torch::lower::lower(&source, &registry) {
        let found = mlc_ir::verify(&program);
        assert!(!found.has_errors(), "{found:?}");
    }
});
