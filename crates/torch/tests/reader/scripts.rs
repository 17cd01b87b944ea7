//! Archives of `torch.jit.save` that are broken or hostile: each is refused, nothing is run.

use std::io::Write;

use mlc_diag::Diagnostics;
use mlc_torch::lower::{LowerOptions, registry};
use mlc_torch::script;
use zip::CompressionMethod;

use crate::archives::{stored, zip};

/// An empty module of class `Net`.
const MODULE: &[u8] = b"\x80\x02c__torch__\nNet\n)\x81}b.";
const CONSTANTS: &[u8] = b"\x80\x02).";

fn entries(data: &[u8], source: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("m/data.pkl", data.to_vec()),
        ("m/constants.pkl", CONSTANTS.to_vec()),
        ("m/version", b"3\n".to_vec()),
        ("m/code/__torch__.py", source.as_bytes().to_vec()),
    ]
}

/// Reads and lowers an archive.
fn convert(bytes: &[u8]) -> Result<(), Diagnostics> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let module = script::read(file.path())?;
    script::lower(&module, &registry(), &LowerOptions::default()).map(drop)
}

#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let found = convert(bytes).expect_err("the file is refused");
    let text: String = found.items().iter().map(|d| format!("{d}\n")).collect();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

fn net(body: &str) -> String {
    format!("class Net(Module):\n  def forward(self: __torch__.Net) -> Tensor:\n{body}")
}

#[test]
fn a_pickle_that_calls_something_is_refused() {
    let data = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.";
    refused(
        &stored(&entries(data, "")),
        &["error[corrupt-archive]", "`os.system`", "nothing was run"],
    );
}

#[test]
fn a_module_that_holds_itself_is_read() {
    let data = b"\x80\x02c__torch__\nNet\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb.";
    let source = net("    return torch.zeros([2], dtype=6)\n");
    convert(&stored(&entries(data, &source))).unwrap();
}

#[test]
fn recursion_and_depth_are_bounded() {
    let source = net("    return (self).forward()\n");
    refused(&stored(&entries(MODULE, &source)), &["error[resource-limit]", "levels deep"]);
    let deep = net(&format!("    return {}1{}\n", "(".repeat(50_000), ")".repeat(50_000)));
    refused(&stored(&entries(MODULE, &deep)), &["error[syntax]", "nested"]);
}

#[test]
fn a_loop_without_end_is_refused() {
    let source = net("    while True:\n      pass\n    return torch.zeros([2])\n");
    refused(&stored(&entries(MODULE, &source)), &["always true"]);
}

#[test]
fn a_zip_bomb_is_refused() {
    let mut all: Vec<(String, Vec<u8>)> = entries(MODULE, &net("    return 1\n"))
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect();
    all.push(("m/code/__torch__/big.py".to_owned(), vec![b' '; 64 << 20]));
    refused(&zip(&all, CompressionMethod::Deflated), &["error[resource-limit]"]);
}

#[test]
fn source_that_is_none_is_refused_with_its_line() {
    refused(&stored(&entries(MODULE, "class Net(Module)\n  x\n")), &["error[syntax]", "line 1"]);
    refused(
        &stored(&entries(MODULE, "")),
        &["error[unsupported-signature]", "no method `forward`"],
    );
}

#[test]
fn an_input_without_a_shape_is_asked_for() {
    let source = "class Net(Module):\n  def forward(self: __torch__.Net, x: Tensor) -> Tensor:\n    return x\n";
    refused(&stored(&entries(MODULE, source)), &["error[missing-shape]", "--input x="]);
}

#[test]
fn a_write_that_may_be_shared_is_refused() {
    let lines = [
        "    x = torch.transpose(torch.zeros([2, 3], dtype=6), 0, 1)\n",
        // Elementwise ops keep the order of axes in memory: the reshape is a copy or not as torch sees fit.
        "    y = torch.add(x, x)\n",
        "    z = torch.reshape(y, [6])\n",
        "    w = torch.zero_(z)\n",
    ];
    let begun = lines.concat();
    refused(
        &stored(&entries(MODULE, &net(&format!("{begun}    return y\n")))),
        &["whether another shares its memory", "call `.contiguous()`"],
    );
    convert(&stored(&entries(MODULE, &net(&format!("{begun}    return z\n"))))).unwrap();
    let copied = begun
        .replace("    z = torch.reshape(y", "    c = torch.contiguous(y)\n    z = torch.reshape(c");
    convert(&stored(&entries(MODULE, &net(&format!("{copied}    return c\n"))))).unwrap();
    let packed = begun.replace("z = torch.reshape(y", "z = torch.reshape(torch.contiguous(y)");
    refused(
        &stored(&entries(MODULE, &net(&format!("{packed}    return y\n")))),
        &["whether another shares its memory"],
    );
}
