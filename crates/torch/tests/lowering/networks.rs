//! Windows, padding, masks and statistics where conventions differ.

use mlc_torch::graph::{Arg, Sym};

use crate::support::{Case, int, ints, tensor};

fn float(x: f64) -> Arg {
    Arg::Float(Sym::Known(x))
}

fn flag(b: bool) -> Arg {
    Arg::Bool(Sym::Known(b))
}

/// One node `y` on an input `x` with the elements 0, 1, 2, …
fn one(shape: &[i64], op: &str, args: &[(&str, Arg)]) -> Vec<f64> {
    let mut all = vec![("self", tensor("x"))];
    all.extend(args.iter().cloned());
    Case::new().input("x", shape).node("y", op, &all).run(&["y"]).remove(0)
}

fn close(got: &[f64], want: &[f64]) {
    let near = got.len() == want.len()
        && got.iter().zip(want).all(|(a, b)| a == b || (a - b).abs() < 1e-5);
    assert!(near, "{got:?}, {want:?} wanted");
}

#[test]
fn same_padding_goes_behind() {
    let args =
        [("input", tensor("x")), ("weight", tensor("w")), ("padding", Arg::Str("same".to_owned()))];
    let case = Case::new().input("x", &[1, 1, 4]).input("w", &[1, 1, 2]);
    assert_eq!(case.node("y", "conv1d", &args).run(&["y"]), [[1.0, 2.0, 3.0, 0.0]]);
}

#[test]
fn a_runtime_weight_is_dilated() {
    let args = [("input", tensor("x")), ("weight", tensor("w")), ("dilation", ints(&[2]))];
    let case = Case::new().input("x", &[1, 1, 6]).input("w", &[1, 1, 3]);
    // w = 0, 1, 2 meets x[p], x[p + 2], x[p + 4].
    assert_eq!(case.node("y", "conv1d", &args).run(&["y"]), [[10.0, 13.0]]);
}

#[test]
fn output_padding_beyond_the_padding_holds_the_bias() {
    let args = [
        ("input", tensor("x")),
        ("weight", tensor("w")),
        ("bias", tensor("c")),
        ("stride", ints(&[3])),
        ("output_padding", ints(&[2])),
    ];
    let case = Case::new().input("x", &[1, 1, 2]).input("w", &[1, 1, 3]).input("b", &[1]);
    let case = case.node("c", "add", &[("self", tensor("b")), ("other", float(5.0))]);
    let got = case.node("y", "conv_transpose1d", &args).run(&["y"]);
    assert_eq!(got, [[5.0, 5.0, 5.0, 5.0, 6.0, 7.0, 5.0, 5.0]]);
}

#[test]
fn averages_count_the_padding_but_not_what_lies_beyond() {
    let args = |counted| {
        [
            ("kernel_size", ints(&[3])),
            ("stride", ints(&[2])),
            ("padding", ints(&[1])),
            ("ceil_mode", flag(true)),
            ("count_include_pad", flag(counted)),
        ]
    };
    close(&one(&[1, 1, 6], "avg_pool1d", &args(true)), &[1.0 / 3.0, 2.0, 4.0, 2.5]);
    close(&one(&[1, 1, 6], "avg_pool1d", &args(false)), &[0.5, 2.0, 4.0, 5.0]);
}

#[test]
fn dilated_windows_skip_elements() {
    let args = [
        ("kernel_size", ints(&[2])),
        ("stride", ints(&[2])),
        ("padding", ints(&[1])),
        ("dilation", ints(&[3])),
    ];
    assert_eq!(one(&[1, 7], "max_pool1d", &args), [2.0, 4.0, 6.0]);
}

#[test]
fn uneven_adaptive_windows_overlap() {
    let got = one(&[1, 1, 5], "adaptive_avg_pool1d", &[("output_size", ints(&[3]))]);
    close(&got, &[0.5, 2.0, 3.5]);
}

fn attention(case: Case, more: &[(&str, Arg)]) -> Vec<f64> {
    let mut args = vec![("query", tensor("x")), ("key", tensor("x")), ("value", tensor("x"))];
    args.extend(more.iter().cloned());
    case.node("y", "scaled_dot_product_attention", &args).run(&["y"]).remove(0)
}

#[test]
fn a_query_without_keys_gives_zeros() {
    let case = Case::new().input("x", &[1, 2, 1]).input("m", &[2, 2]);
    let case = case.node("mask", "lt", &[("self", tensor("m")), ("other", float(2.0))]);
    close(&attention(case, &[("attn_mask", tensor("mask"))]), &[0.5, 0.0]);
}

#[test]
fn causal_attention_with_a_scale() {
    let more = [("is_causal", flag(true)), ("scale", float(3f64.ln()))];
    close(&attention(Case::new().input("x", &[1, 2, 1]), &more), &[0.0, 0.75]);
}

#[test]
fn einsum_takes_diagonals_and_transposes() {
    let run = |equation: &str, operands: &[&str]| {
        let list = Arg::Tensors(operands.iter().map(|&name| name.to_owned()).collect());
        let args = [("equation", Arg::Str(equation.to_owned())), ("tensors", list)];
        Case::new().input("x", &[2, 2]).node("y", "einsum", &args).run(&["y"]).remove(0)
    };
    assert_eq!(run("ii->i", &["x"]), [0.0, 3.0]);
    assert_eq!(run("ij,jk->ki", &["x", "x"]), [2.0, 6.0, 3.0, 11.0]);
    assert_eq!(run("ij", &["x"]), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn variances_follow_the_correction() {
    let run = |correction| one(&[4], "var", &[("correction", int(correction))]);
    close(&run(0), &[1.25]);
    close(&run(2), &[2.5]);
    assert_eq!(run(5), [f64::INFINITY]);
}

#[test]
fn groups_are_normalized_by_themselves() {
    let args = [("input", tensor("x")), ("num_groups", int(2)), ("eps", float(0.0))];
    let got = Case::new().input("x", &[1, 2, 2]).node("y", "group_norm", &args).run(&["y"]);
    close(&got[0], &[-1.0, 1.0, -1.0, 1.0]);
}

#[test]
fn running_products() {
    let case = Case::new().input("x", &[5]);
    let case = case.node("a", "add", &[("self", tensor("x")), ("other", float(1.0))]);
    let got = case.node("y", "cumprod", &[("self", tensor("a")), ("dim", int(0))]).run(&["y"]);
    assert_eq!(got, [[1.0, 2.0, 6.0, 24.0, 120.0]]);
}

#[test]
fn training_mode_is_refused() {
    let args = [("input", tensor("x")), ("p", float(0.5)), ("train", flag(true))];
    let case = Case::new().input("x", &[1, 2, 2]);
    let error = case.node("y", "dropout", &args).error(&["y"]);
    assert!(error.contains("training mode"), "{error}");
}

#[test]
fn windows_that_do_not_fit_are_errors() {
    let args = [("self", tensor("x")), ("kernel_size", ints(&[9]))];
    let error = Case::new().input("x", &[1, 4]).node("y", "max_pool1d", &args).error(&["y"]);
    assert!(error.contains("a window of 9"), "{error}");
    let args = [("self", tensor("x")), ("ord", float(3.0)), ("dim", ints(&[0, 1]))];
    let error = Case::new().input("x", &[2, 2]).node("y", "linalg_norm", &args).error(&["y"]);
    assert!(error.contains("matrix norm"), "{error}");
}
