//! Indices, slices and padding.

use mlc_torch::graph::Arg;

use crate::support::{Case, int, ints, tensor};

fn list(all: &[Option<&str>]) -> Arg {
    Arg::OptTensors(all.iter().map(|name| name.map(str::to_owned)).collect())
}

fn matrix() -> Case {
    Case::new().input("x", &[2, 3])
}

#[test]
fn negative_indices_count_from_the_end() {
    let case = matrix().indices("i", &[-1, 0]);
    let args = [("self", tensor("x")), ("indices", list(&[None, Some("i")]))];
    assert_eq!(case.node("y", "index", &args).run(&["y"]), [[2.0, 0.0, 5.0, 3.0]]);
}

#[test]
fn index_tensors_are_paired() {
    let case = matrix().indices("i", &[0, 1]).indices("j", &[-1, 1]);
    let args = [("self", tensor("x")), ("indices", list(&[Some("i"), Some("j")]))];
    assert_eq!(case.node("y", "index", &args).run(&["y"]), [[2.0, 4.0]]);
}

#[test]
fn separated_indices_come_first() {
    let case = Case::new().input("x", &[2, 2, 3]).indices("i", &[1]).indices("j", &[2]);
    let args = [("self", tensor("x")), ("indices", list(&[Some("i"), None, Some("j")]))];
    assert_eq!(case.node("y", "index", &args).run(&["y"]), [[8.0, 11.0]]);
}

#[test]
fn slices_take_what_there_is() {
    let args = [
        ("self", tensor("x")),
        ("dim", int(1)),
        ("start", int(-100)),
        ("end", int(i64::MAX)),
        ("step", int(2)),
    ];
    assert_eq!(matrix().node("y", "slice", &args).run(&["y"]), [[0.0, 2.0, 3.0, 5.0]]);
}

#[test]
fn padding_goes_from_the_last_axis_on() {
    let args = [("self", tensor("x")), ("pad", ints(&[1, -1, 0, 1]))];
    let got = matrix().node("y", "constant_pad_nd", &args).run(&["y"]);
    assert_eq!(got, [[0.0, 0.0, 1.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0]]);
}

#[test]
fn an_argument_that_is_not_known_is_an_error() {
    let args = [("self", tensor("x")), ("dim", int(0)), ("index", int(0)), ("strange", int(1))];
    let error = matrix().node("y", "select", &args).error(&["y"]);
    assert!(error.contains("`strange` is not honoured"), "{error}");
}

#[test]
fn places_outside_are_refused() {
    let args = [("self", tensor("x")), ("dim", int(1)), ("index", int(3))];
    let error = matrix().node("y", "select", &args).error(&["y"]);
    assert!(error.contains("element 3 of an axis of 3"), "{error}");
    let args = [("self", tensor("x")), ("size", ints(&[4, -1, -1]))];
    assert!(matrix().node("y", "view", &args).error(&["y"]).contains("−1 twice"));
}
