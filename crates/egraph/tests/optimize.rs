//! What the optimizer does with a function as a whole: windows, outputs, nested regions, order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mlc_egraph::{
    Apply, Build, Limit, Limits, Match, Options, Report, Rounding, Rule, RuleSet, Strategy,
    optimize,
};
use mlc_ir::ops::{Abs, Add, Cond, Exp, Relu};
use mlc_ir::{
    Builder, FuncId, Function, OpError, Param, Program, Type, Value, remove_unused, verify,
};
use mlc_target::Opset;
use mlc_target::cost::device;
use mlc_tensor::DType;

/// `relu(relu(x)) = relu(x)`
fn relu_of_relu(m: &Match<'_>) -> Option<Build> {
    m.op::<Relu>()?;
    Some(m.operand(0).find::<Relu>()?.class().into())
}

/// `abs(exp(x)) = exp(x)`
fn abs_of_exp(m: &Match<'_>) -> Option<Build> {
    m.op::<Abs>()?;
    Some(m.operand(0).find::<Exp>()?.class().into())
}

/// `x + y = x + (y + 1)`, which is wrong and has no end.
fn growing(m: &Match<'_>) -> Option<Build> {
    let add = m.op::<Add>()?;
    let more = m.build(Add {}, [add.operand(1).into(), m.number(1.0)?]);
    Some(m.build(Add {}, [add.operand(0).into(), more]))
}

const fn rule(
    name: &'static str,
    roots: &'static [&'static str],
    apply: fn(&Match<'_>) -> Option<Build>,
) -> Rule {
    Rule { name, roots, rounding: Rounding::Exact, apply: Apply::Function(apply), example: "" }
}

fn start() -> (Program, FuncId, Value) {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let ty = Type::tensor(DType::F32, vec![2.into(), 8.into()]);
    let x = function.add_param(Param::input("x"), ty);
    let func = program.functions.push(function);
    (program, func, x)
}

fn run(program: &mut Program, func: FuncId, window: usize, limits: Limits) -> Report {
    let rules = RuleSet::new([
        rule("relu-of-relu", &["relu"], relu_of_relu),
        rule("abs-of-exp", &["abs"], abs_of_exp),
        rule("growing", &["add"], growing),
    ]);
    let device = device("latency").unwrap();
    let options = Options {
        rules: &rules,
        device,
        limits,
        window,
        opset: Opset::Ios15,
        strategy: Strategy::Cheapest,
    };
    let report = optimize(program, func, &options).unwrap();
    remove_unused(&mut program.functions[func]);
    assert_eq!(verify(program).items(), []);
    report
}

const LIMITS: Limits = Limits { iterations: 8, nodes: 1000, matches: 100 };

fn kinds(program: &Program, func: FuncId) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    program.functions[func].for_each_node(&mut |_, node| {
        kinds.push(program.functions[func].nodes[node].op.spec().name);
    });
    kinds
}

#[test]
fn what_crosses_a_cut_is_found_by_the_shifted_walk() {
    let (mut program, func, x) = start();
    let mut b = Builder::new(&mut program, func);
    let mut value = x;
    for i in 0..40 {
        value = match i % 2 {
            0 => Exp {}.build(&mut b, value).unwrap(),
            _ => Abs {}.build(&mut b, value).unwrap(),
        };
    }
    b.function_mut().add_output("y", value);
    run(&mut program, func, 5, LIMITS);
    assert_eq!(kinds(&program, func), ["exp"; 20]);
}

#[test]
fn outputs_stay_results_of_ops_and_apart() {
    let (mut program, func, x) = start();
    let mut b = Builder::new(&mut program, func);
    let one = Relu {}.build(&mut b, x).unwrap();
    let two = Relu {}.build(&mut b, one).unwrap();
    b.function_mut().add_output("one", one);
    b.function_mut().add_output("two", two);
    run(&mut program, func, 400, LIMITS);
    assert_eq!(kinds(&program, func), ["relu", "identity"]);
    let results = &program.functions[func].regions[program.functions[func].body].results;
    assert_ne!(results[0], results[1]);
    let before = kinds(&program, func);
    let report = run(&mut program, func, 400, LIMITS);
    assert_eq!((report.improved, kinds(&program, func)), (0, before));
}

#[test]
fn nested_regions_are_rewritten_and_see_what_is_outside() {
    let (mut program, func, x) = start();
    let mut b = Builder::new(&mut program, func);
    let outer = Exp {}.build(&mut b, x).unwrap();
    let outer = Abs {}.build(&mut b, outer).unwrap();
    let flag = b.scalar(DType::Bool, 1.0).unwrap();
    let results = Cond::build_with::<OpError>(
        &mut b,
        flag,
        |b| {
            let once = Relu {}.build(b, outer)?;
            Ok(vec![Relu {}.build(b, once)?])
        },
        |b| Ok(vec![Exp {}.build(b, outer)?]),
    );
    let result = results.unwrap()[0];
    b.function_mut().add_output("y", result);
    run(&mut program, func, 400, LIMITS);
    let kinds = kinds(&program, func);
    assert_eq!(kinds.iter().filter(|&&kind| kind == "relu").count(), 1, "{kinds:?}");
    assert!(!kinds.contains(&"abs"), "{kinds:?}");
}

#[test]
fn limits_are_reported_and_runs_are_alike() {
    let make = || {
        let (mut program, func, x) = start();
        let mut b = Builder::new(&mut program, func);
        let mut value = x;
        for _ in 0..4 {
            value = Add {}.build(&mut b, value, x).unwrap();
        }
        let value = Relu {}.build(&mut b, value).unwrap();
        let value = Relu {}.build(&mut b, value).unwrap();
        b.function_mut().add_output("y", value);
        (program, func)
    };
    let limits = Limits { iterations: 3, ..LIMITS };
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let (mut program, func) = make();
            let report = run(&mut program, func, 400, limits);
            (kinds(&program, func), report.nodes, report.limits)
        })
        .collect();
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].2.contains_key(&Limit::Iterations), "{:?}", runs[0]);
    let (mut program, func) = make();
    let report = run(&mut program, func, 400, Limits { nodes: 12, ..LIMITS });
    assert!(report.limits.contains_key(&Limit::Nodes), "{report:?}");
}
