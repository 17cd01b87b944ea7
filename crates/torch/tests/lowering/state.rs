//! Buffers and inputs that a model writes.

use mlc_torch::graph::{Arg, Sym};
use mlc_torch::lower::StateMode;

use crate::support::{Case, int, tensor};

fn float(x: f64) -> Arg {
    Arg::Float(Sym::Known(x))
}

/// `total[1] += x[1]; y = 2 · total`
fn total(start: &[f32]) -> Case {
    let place = |of: &str| [("self", tensor(of)), ("dim", int(0)), ("index", int(1))];
    Case::new()
        .input("x", &[2])
        .buffer("total", start)
        .declare("v", &[], &[])
        .declare("u", &[], &[])
        .node("v", "select", &place("total"))
        .node("u", "select", &place("x"))
        .node("w", "add_", &[("self", tensor("v")), ("other", tensor("u"))])
        .node("y", "mul", &[("self", tensor("total")), ("other", float(2.0))])
}

#[test]
fn a_buffer_that_is_written_is_kept() {
    let calls = total(&[0.0, 0.0]).steps(&["y"], 3);
    assert_eq!(calls, [[0.0, 2.0], [0.0, 4.0], [0.0, 6.0]]);
    let lowered = total(&[0.0, 0.0]).with(&["y"], StateMode::Buffers).unwrap();
    assert_eq!(lowered.warnings.items().len(), 0);
}

#[test]
fn a_start_other_than_zero_is_said() {
    let lowered = total(&[0.0, 0.5]).with(&["y"], StateMode::Buffers).unwrap();
    let found: Vec<_> = lowered.warnings.items().iter().map(|d| d.code.name()).collect();
    assert_eq!(found, ["state-initial-value"]);
}

#[test]
fn a_buffer_that_is_read_alone_is_a_constant() {
    let case = Case::new().input("x", &[2]).buffer("scale", &[2.0, 3.0]).node(
        "y",
        "mul",
        &[("self", tensor("x")), ("other", tensor("scale"))],
    );
    assert_eq!(case.run(&["y"]), [[0.0, 3.0]]);
}

#[test]
fn without_states_new_values_are_outputs() {
    let lowered = total(&[0.0, 0.5]).with(&["y"], StateMode::Io).unwrap();
    let (_, function) = lowered.program.functions.iter().next().unwrap();
    let inputs: Vec<_> = function.params.iter().map(|p| p.name.as_str()).collect();
    let outputs: Vec<_> = function.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!((inputs, outputs), (vec!["x", "total"], vec!["y", "total_out"]));
}

/// `x += 1; y = 2 · x`
fn written_input() -> Case {
    Case::new()
        .input("x", &[2])
        .node("w", "add_", &[("self", tensor("x")), ("other", float(1.0))])
        .node("y", "mul", &[("self", tensor("x")), ("other", float(2.0))])
}

#[test]
fn an_input_that_is_written_stays_an_input() {
    assert_eq!(written_input().run(&["y"]), [[2.0, 4.0]]);
    let codes = |outputs: &[&str], mode| {
        let lowered = written_input().with(outputs, mode).unwrap();
        let states = lowered.program.functions.iter().next().unwrap().1.params.clone();
        let found = lowered.warnings.items().iter().map(|d| d.code.name()).collect::<Vec<_>>();
        (found.join(" "), states[0].kind == mlc_ir::ParamKind::State)
    };
    assert_eq!(codes(&["y"], StateMode::Buffers), ("input-mutation".to_owned(), false));
    assert_eq!(codes(&["y", "x"], StateMode::Buffers), (String::new(), false));
    assert_eq!(codes(&["y"], StateMode::Io), (String::new(), false));
    assert_eq!(codes(&["y"], StateMode::All), (String::new(), true));
}

fn counted(case: Case) -> Case {
    case.node("m", "add_", &[("self", tensor("n")), ("other", int(1))])
}

#[test]
fn a_count_that_nobody_sees_is_left_out() {
    let case = || counted(total(&[0.0, 0.0]).count("n"));
    let lowered = case().with(&["y"], StateMode::Buffers).unwrap();
    let found: Vec<_> = lowered.warnings.items().iter().map(|d| d.code.name()).collect();
    assert_eq!(found, ["unused-state"]);
    let (_, function) = lowered.program.functions.iter().next().unwrap();
    assert!(function.params.iter().all(|param| param.name != "n"));
    // Seen through another state.
    let args = [("self", tensor("total")), ("other", tensor("n"))];
    let seen = case().node("k", "add_", &args).with(&["x"], StateMode::Buffers).unwrap();
    let (_, function) = seen.program.functions.iter().next().unwrap();
    assert!(function.params.iter().any(|param| param.name == "n"));
}
