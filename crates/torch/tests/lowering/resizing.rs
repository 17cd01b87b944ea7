//! Resizing follows the scale factor that was asked for.

use mlc_torch::graph::{Arg, Sym};

use crate::support::{Case, int, ints, tensor};

fn line(n: i64) -> Case {
    Case::new().input("x", &[1, 1, 1, n])
}

fn float(x: f64) -> Arg {
    Arg::Float(Sym::Known(x))
}

#[test]
fn nearest_by_scale_and_by_size() {
    let size = ("output_size", ints(&[1, 7]));
    let by_size = [("self", tensor("x")), size.clone()];
    let got = line(5).node("y", "upsample_nearest2d", &by_size).run(&["y"]);
    assert_eq!(got, [[0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0]]);
    let by_scale = [("self", tensor("x")), size, ("scales_w", float(1.2))];
    let got = line(5).node("y", "upsample_nearest2d", &by_scale).run(&["y"]);
    assert_eq!(got, [[0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0]]);
}

#[test]
fn linear_by_scale() {
    let args = [
        ("self", tensor("x")),
        ("output_size", ints(&[1, 3])),
        ("align_corners", Arg::Bool(Sym::Known(false))),
        ("scales_w", float(1.75)),
    ];
    let got = line(2).node("y", "upsample_bilinear2d", &args).run(&["y"]);
    let want: Vec<f64> = [0.0f64, 1.5 / 1.75 - 0.5, 2.5 / 1.75 - 0.5].to_vec();
    for (a, b) in got[0].iter().zip(want) {
        assert!((a - b).abs() < 1e-6, "{got:?}");
    }
}

#[test]
fn integers_are_not_interpolated() {
    let args = [
        ("self", tensor("i")),
        ("output_size", ints(&[3])),
        ("align_corners", Arg::Bool(Sym::Known(true))),
    ];
    let case = Case::new().indices("i", &[1, 2]);
    let error = case.node("y", "upsample_linear1d", &args).error(&["y"]);
    assert!(error.contains("rank 1"), "{error}");
    let error = line(4)
        .node("y", "im2col", &[("self", tensor("x")), ("kernel_size", int(0))])
        .error(&["y"]);
    assert!(error.contains("`kernel_size`"), "{error}");
}
