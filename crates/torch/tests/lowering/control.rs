//! Branches, loops, and maps and scans over the first axis.

use mlc_tensor::DType;
use mlc_torch::graph::{Arg, Sym};

use crate::support::{Case, int, tensor};

fn float(x: f64) -> Arg {
    Arg::Float(Sym::Known(x))
}

fn graph(case: Case, outputs: &[&str]) -> Arg {
    Arg::Graph { name: "graph".to_owned(), graph: Box::new(case.into_graph(outputs)) }
}

fn all(names: &[&str]) -> Arg {
    Arg::Tensors(names.iter().map(|name| (*name).to_owned()).collect())
}

fn plus(x: f64) -> Arg {
    let case = Case::new().input("a", &[2]).node(
        "b",
        "add",
        &[("self", tensor("a")), ("other", float(x))],
    );
    graph(case, &["b"])
}

/// `y = x + 1 if sum(x) > limit else x + 10`, for `x = [0, 1]`.
fn branch(limit: f64) -> Case {
    Case::new()
        .input("x", &[2])
        .declare("s", &[], &[])
        .node("s", "sum", &[("self", tensor("x"))])
        .node("p", "gt", &[("self", tensor("s")), ("other", float(limit))])
        .higher("cond", &["y"], &[tensor("p"), plus(1.0), plus(10.0), all(&["x"])])
}

#[test]
fn a_predicate_picks_the_branch_that_is_run() {
    assert_eq!(branch(0.5).run(&["y"]), [[1.0, 2.0]]);
    assert_eq!(branch(1.5).run(&["y"]), [[10.0, 11.0]]);
    assert_eq!(branch(0.5).ops(&["y"], "cond"), 1);
}

#[test]
fn a_known_predicate_leaves_one_branch() {
    for (known, wanted) in [(true, [1.0, 2.0]), (false, [10.0, 11.0])] {
        let pred = Arg::Bool(Sym::Known(known));
        let case = || {
            Case::new().input("x", &[2]).higher(
                "cond",
                &["y"],
                &[pred.clone(), plus(1.0), plus(10.0), all(&["x"])],
            )
        };
        assert_eq!(case().run(&["y"]), [wanted]);
        assert_eq!(case().ops(&["y"], "cond"), 0);
    }
}

#[test]
fn what_is_written_before_a_branch_is_seen_in_it() {
    let view = [("self", tensor("z")), ("dim", int(0)), ("index", int(1))];
    let case = branch(0.5).node("z", "clone", &[("self", tensor("x"))]).node("v", "select", &view);
    let case = case.node("w", "add_", &[("self", tensor("v")), ("other", float(5.0))]).higher(
        "cond",
        &["u"],
        &[tensor("p"), plus(1.0), plus(10.0), all(&["z"])],
    );
    assert_eq!(case.run(&["u", "z"]), [[1.0, 7.0], [0.0, 6.0]]);
}

#[test]
fn what_a_branch_writes_outside_is_seen_after_it() {
    let write = || {
        let args = [("self", tensor("a")), ("other", float(1.0))];
        graph(Case::new().input("a", &[2]).node("b", "add_", &args), &["b"])
    };
    let case = branch(0.5).node("z", "clone", &[("self", tensor("x"))]).higher(
        "cond",
        &["u"],
        &[tensor("p"), write(), write(), all(&["z"])],
    );
    assert_eq!(case.run(&["u", "z"]), [[1.0, 2.0], [1.0, 2.0]]);
}

#[test]
fn a_loop_runs_while_its_condition_holds() {
    let test = Case::new()
        .input("a", &[2])
        .declare("s", &[], &[])
        .node("s", "sum", &[("self", tensor("a"))])
        .node("p", "lt", &[("self", tensor("s")), ("other", float(20.0))]);
    let body = Case::new().input("a", &[2]).node(
        "b",
        "mul",
        &[("self", tensor("a")), ("other", float(3.0))],
    );
    let args = [graph(test, &["p"]), graph(body, &["b"]), all(&["x"]), all(&[])];
    let case = Case::new().input("x", &[2]).higher("while_loop", &["y"], &args);
    // 1, 3, 9, 27
    assert_eq!(case.run(&["y"]), [[0.0, 27.0]]);
}

/// `c' = c + x; y = 2·c'` over the rows of `x`.
fn running_sum(rows: i64) -> Case {
    let body = Case::new()
        .input("c", &[2])
        .input("r", &[2])
        .node("n", "add", &[("self", tensor("c")), ("other", tensor("r"))])
        .node("y", "mul", &[("self", tensor("n")), ("other", float(2.0))]);
    let args = [graph(body, &["n", "y"]), all(&["start"]), all(&["xs"]), all(&[])];
    Case::new()
        .input("start", &[2])
        .input("xs", &[rows, 2])
        .meta("ys", DType::F32, &[rows, 2])
        .higher("scan", &["last", "ys"], &args)
}

#[test]
fn a_scan_is_the_same_unrolled_and_as_a_loop() {
    for rows in [3usize, 40] {
        let (mut last, mut ys) = ([0.0, 1.0], Vec::new());
        for row in 0..rows {
            let at = (row * 2) as f64;
            last = [last[0] + at, last[1] + at + 1.0];
            ys.extend(last.map(|x| 2.0 * x));
        }
        let case = || running_sum(rows as i64);
        assert_eq!(case().run(&["last", "ys"]), [last.to_vec(), ys]);
        assert_eq!(case().ops(&["ys"], "while_loop"), usize::from(rows > 16));
    }
}

#[test]
fn a_map_takes_rows_apart() {
    let body = Case::new().input("r", &[2]).declare("s", &[], &[]).node(
        "s",
        "sum",
        &[("self", tensor("r"))],
    );
    let args = [graph(body, &["s"]), all(&["xs"]), all(&[])];
    let case = Case::new().input("xs", &[3, 2]).higher("map_impl", &["ys"], &args);
    assert_eq!(case.run(&["ys"]), [[1.0, 5.0, 9.0]]);
}
