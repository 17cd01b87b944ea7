//! Models that write their buffers and inputs.

use mlc_testkit::archive_builder::{Archive, Call, Graph, zip};
use serde_json::json;

use crate::support::Folder;

const CONVERT: &str = "convert model.pt2 -o out.mlpackage";

/// The number by which archives name i32.
const I32: i64 = 4;

/// `buffer += x`, which is the output.
fn sum(start: f32) -> Archive {
    let mut graph = Graph::new();
    graph
        .weight("b_total", "total", &[2, 3], vec![start; 6])
        .input("x", &[2, 3])
        .call(
            Call::new("aten.add_.Tensor", "sum", &[2, 3])
                .tensor("self", "b_total")
                .tensor("other", "x"),
        )
        .output("sum");
    with_buffer(&graph)
}

/// The graph with its first weight as a buffer.
fn with_buffer(graph: &Graph) -> Archive {
    let mut archive = graph.archive();
    let spec = &mut archive.program["graph_module"]["signature"]["input_specs"][0];
    let (arg, name) =
        (spec["parameter"]["arg"].clone(), spec["parameter"]["parameter_name"].clone());
    *spec = json!({"buffer": {"arg": arg, "buffer_name": name, "persistent": true}});
    archive
}

fn folder(archive: &Archive) -> Folder {
    let folder = Folder::new();
    folder.file("model.pt2", archive.v2());
    folder
}

#[test]
fn a_buffer_becomes_a_state() {
    for options in ["", " --precision fp32"] {
        let folder = folder(&sum(0.0));
        let ran = folder.line(&format!("{CONVERT}{options}")).ok();
        assert!(ran.stderr.contains("1 states"), "{}", ran.stderr);
        assert!(ran.stderr.contains("iOS 18"), "{}", ran.stderr);
        assert!(ran.stderr.contains("verify    4 inputs"), "{}", ran.stderr);
        let printed = folder.line("print out.mlpackage").ok().stdout;
        assert!(printed.contains("state %total: state<tensor<2x3xf16>>"), "{printed}");
        assert!(printed.contains("write_state %total"), "{printed}");
    }
}

#[test]
fn a_start_that_is_not_zero_is_said() {
    let ran = folder(&sum(0.5)).line(CONVERT).ok();
    assert!(ran.stderr.contains("warning[state-initial-value]: buffer `total`"), "{}", ran.stderr);
}

#[test]
fn without_states_older_systems_serve() {
    let folder = folder(&sum(0.5));
    let ran = folder.line(&format!("{CONVERT} --states=io --target ios15")).ok();
    assert!(!ran.stderr.contains("state-initial-value"), "{}", ran.stderr);
    let printed = folder.line("print out.mlpackage").ok().stdout;
    assert!(printed.contains("%total: tensor<2x3xf32>"), "{printed}");
    assert!(printed.contains("total_out"), "{printed}");
}

#[test]
fn an_older_system_is_refused_with_the_way_out() {
    let text = folder(&sum(0.0)).refused(5, &format!("{CONVERT} --target ios17"));
    assert!(text.contains("error[target-too-old]: state `total`"), "{text}");
}

#[test]
fn a_written_input_stays_the_callers() {
    let mut graph = Graph::new();
    graph
        .input("x", &[2])
        .call(Call::new("aten.mul_.Tensor", "twice", &[2]).tensor("self", "x").tensor("other", "x"))
        .call(Call::new("aten.relu.default", "y", &[2]).tensor("self", "x"))
        .output("y");
    let folder = folder(&graph.archive());
    let ran = folder.line(CONVERT).ok();
    assert!(ran.stderr.contains("warning[input-mutation]: input `x`"), "{}", ran.stderr);
    let ran = folder.line(&format!("{CONVERT} --force --states=all")).ok();
    assert!(ran.stderr.contains("1 states"), "{}", ran.stderr);
}

/// `n += 1` for a buffer of i32; `y = x · x`, or `y = x · n`.
fn count(seen: bool) -> Vec<u8> {
    let mut graph = Graph::new();
    let other = if seen { "n" } else { "x" };
    graph
        .weight("n", "steps", &[1], vec![0.0])
        .input("x", &[1])
        .call(
            Call::new("aten.add_.Tensor", "more", &[1])
                .tensor("self", "n")
                .argument("other", json!({"as_int": 1})),
        )
        .call(Call::new("aten.mul.Tensor", "y", &[1]).tensor("self", "x").tensor("other", other))
        .output("y");
    let mut archive = with_buffer(&graph);
    let values = &mut archive.program["graph_module"]["graph"]["tensor_values"];
    for name in ["n", "more"] {
        values[name]["dtype"] = json!(I32);
    }
    let mut entries = archive.v2_entries();
    for (_, bytes) in entries.iter_mut().filter(|(name, _)| name.ends_with("weights_config.json")) {
        *bytes = String::from_utf8_lossy(bytes).replace("\"dtype\":7", "\"dtype\":4").into_bytes();
    }
    zip(&entries)
}

#[test]
fn a_count_is_left_out_unless_it_is_seen() {
    let folder = Folder::new();
    let ran = folder.file("model.pt2", count(false)).line(CONVERT).ok();
    assert!(ran.stderr.contains("note[unused-state]: buffer `steps`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("no states"), "{}", ran.stderr);
    let folder = Folder::new();
    let text = folder.file("model.pt2", count(true)).refused(5, CONVERT);
    assert!(text.contains("error[state-dtype]: state `steps`"), "{text}");
    assert!(text.contains("--states=io") && !text.contains("write_state"), "{text}");
    folder.line(&format!("{CONVERT} --states=io")).ok();
}
