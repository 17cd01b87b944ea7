//! Writes through views, and what does not share memory.

use mlc_torch::graph::{Arg, Sym};

use crate::support::{Case, int, ints, tensor};

fn add_ten(case: Case, name: &str, to: &str) -> Case {
    let ten = Arg::Float(Sym::Known(10.0));
    case.node(name, "add_", &[("self", tensor(to)), ("other", ten)])
}

fn copy_of(shape: &[i64]) -> Case {
    Case::new().input("x", shape).node("y", "clone", &[("self", tensor("x"))])
}

#[test]
fn a_reshape_shares_memory_where_axes_are_packed() {
    let case = copy_of(&[2, 2]).declare("y", &[2, 2], &[2, 1]).node(
        "z",
        "reshape",
        &[("self", tensor("y")), ("shape", ints(&[4]))],
    );
    let got = add_ten(case, "w", "z").run(&["y"]);
    assert_eq!(got, [[10.0, 11.0, 12.0, 13.0]]);
}

#[test]
fn a_reshape_of_a_transpose_is_a_copy() {
    let case = copy_of(&[2, 2])
        .declare("t", &[2, 2], &[1, 2])
        .node("t", "transpose", &[("self", tensor("y")), ("dim0", int(0)), ("dim1", int(1))])
        .node("z", "reshape", &[("self", tensor("t")), ("shape", ints(&[4]))]);
    let got = add_ten(case, "w", "z").run(&["y", "w"]);
    assert_eq!(got, [[0.0, 1.0, 2.0, 3.0], [10.0, 12.0, 11.0, 13.0]]);
}

#[test]
fn contiguous_copies_what_is_not() {
    let case = copy_of(&[2, 2])
        .declare("t", &[2, 2], &[1, 2])
        .node("t", "transpose", &[("self", tensor("y")), ("dim0", int(0)), ("dim1", int(1))])
        .node("z", "contiguous", &[("self", tensor("t"))]);
    let got = add_ten(case, "w", "z").run(&["y"]);
    assert_eq!(got, [[0.0, 1.0, 2.0, 3.0]]);
}

#[test]
fn copying_spellings_do_not_share_memory() {
    let args = [("self", tensor("y")), ("dim", int(0)), ("index", int(1))];
    let shared = add_ten(copy_of(&[2, 2]).node("z", "select", &args), "w", "z").run(&["y"]);
    assert_eq!(shared, [[0.0, 1.0, 12.0, 13.0]]);
    let apart = add_ten(copy_of(&[2, 2]).node("z", "select_copy", &args), "w", "z").run(&["y"]);
    assert_eq!(apart, [[0.0, 1.0, 2.0, 3.0]]);
}

#[test]
fn diagonals_are_written_through() {
    let args = [("self", tensor("y")), ("offset", int(1))];
    let case = copy_of(&[2, 3]).node("z", "diagonal", &args);
    let got = add_ten(case, "w", "z").run(&["y", "w"]);
    assert_eq!(got, [vec![0.0, 11.0, 2.0, 3.0, 4.0, 15.0], vec![11.0, 15.0]]);
}

#[test]
fn an_expanded_tensor_cannot_be_written() {
    let args = [("self", tensor("y")), ("size", ints(&[2, 3]))];
    let case = copy_of(&[3]).node("z", "expand", &args);
    let error = add_ten(case, "w", "z").error(&["y"]);
    assert!(error.contains("writes one element several times"), "{error}");
}
