//! Promise: reading and lowering an archive of `torch.jit.save` gives a valid program or diagnostics,
//! never a panic.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".pt").tempfile().expect("a temporary file");
    file.write_all(bytes).expect("the file takes bytes");
    let Ok(source) = mlc_torch::script::read(file.path()) else { return };
    let registry = mlc_torch::lower::registry();
    let options = mlc_torch::lower::LowerOptions::default();
    if let Ok(lowered) = mlc_torch::script::lower(&source, &registry, &options) {
        let found = mlc_ir::verify(&lowered.program);
        assert!(!found.has_errors(), "{found:?}");
    }
});
