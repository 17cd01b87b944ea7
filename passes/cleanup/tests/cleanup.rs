//! What has no text form: constants in files, recipes, budgets.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use mlc_ir::ops::{Cast, Concat, Exp, Identity, Matmul, Mul, Reshape, Transpose};
use mlc_ir::{Builder, FuncId, Function, Op, Param, Program, Type, Value};
use mlc_pass::{PassManager, Pipeline, Registry, Report, RunOptions, VerifyEach};
use mlc_tensor::{DType, MappedFile, Recipe, Source, Tensor};

fn build(fill: impl FnOnce(&mut Builder<'_>, Value) -> Vec<Value>) -> (Program, FuncId) {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("main"));
    let mut b = Builder::new(&mut program, func);
    let ty = Type::tensor(DType::F32, [2.into(), 8.into()]);
    let x = b.function_mut().add_param(Param::input("x"), ty);
    for (i, y) in fill(&mut b, x).into_iter().enumerate() {
        b.function_mut().add_output(format!("y{i}"), y);
    }
    (program, func)
}

fn run(pipeline: &str, program: &mut Program) -> Report {
    let registry = Registry::new(&[mlc_cleanup::PASSES]).unwrap();
    let options = RunOptions { verify_each: VerifyEach::Types, ..RunOptions::default() };
    let pipeline = Pipeline::parse(pipeline).unwrap();
    PassManager::new(&registry).options(options).run(&pipeline, program).unwrap()
}

fn kinds(program: &Program, func: FuncId) -> Vec<&'static str> {
    let function = &program.functions[func];
    let mut names = Vec::new();
    function.for_each_node(&mut |_, node| names.push(function.nodes[node].op.spec().name));
    names
}

fn output(program: &Program, func: FuncId, at: usize) -> Tensor {
    let function = &program.functions[func];
    let value = function.regions[function.body].results[at];
    program.constant_of(function, value).unwrap().clone()
}

fn big() -> Tensor {
    Tensor::random(DType::F32, &[1024, 1024], 1, 1.0).unwrap()
}

#[test]
fn large_views_fold_to_recipes() {
    let (mut program, func) = build(|b, _| {
        let w = b.constant(big()).unwrap();
        let t = Transpose { perm: vec![1, 0] }.build(b, w).unwrap();
        let half = Cast { dtype: DType::F16 }.build(b, t).unwrap();
        let shape = b.ints(&[-1, 512]).unwrap();
        let cut = Reshape {}.build(b, half, shape).unwrap();
        vec![Concat { axis: 0, interleave: false }.build(b, vec![cut, cut]).unwrap()]
    });
    run("fold{budget=4194304}", &mut program);
    assert_eq!(kinds(&program, func), ["const"]);
    let y = output(&program, func, 0);
    assert_eq!(y.shape(), [4096, 512]);
    let Source::Recipe(recipe) = y.source() else { panic!("read at once") };
    assert!(matches!(&**recipe, Recipe::Concat { .. }));
    let want = big().transpose(&[1, 0]).unwrap().cast(DType::F16).unwrap();
    assert_eq!(y.bytes().unwrap()[..1 << 21], want.bytes().unwrap()[..]);
}

#[test]
fn a_copy_beyond_the_budget_is_not_made() {
    let two_users = |b: &mut Builder<'_>| {
        let w = b.constant(big()).unwrap();
        let t = Transpose { perm: vec![1, 0] }.build(b, w).unwrap();
        vec![Exp {}.build(b, w).unwrap(), Exp {}.build(b, t).unwrap()]
    };
    let (mut program, func) = build(|b, _| two_users(b));
    let report = run("fold{total=0}", &mut program);
    assert_eq!(kinds(&program, func), ["const", "transpose", "exp", "exp"]);
    assert_eq!(report.runs[0].counters["over budget"], 2);
    run("fold{total=0,budget=4194304}", &mut program);
    assert_eq!(kinds(&program, func), ["const", "const", "exp", "exp"]);
    let (mut program, func) = build(|b, _| {
        let w = b.constant(big()).unwrap();
        vec![Matmul { transpose_x: false, transpose_y: false }.build(b, w, w).unwrap()]
    });
    run("fold", &mut program);
    assert_eq!(kinds(&program, func), ["const", "matmul"]);
}

#[test]
fn equal_constants_of_a_file_become_one() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let row: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let mut other = row.clone();
    // At a byte that sampling does not see.
    other[4 * 65] ^= 1;
    for part in [&row, &row, &other] {
        std::io::Write::write_all(&mut file, part).unwrap();
    }
    let mapped = Arc::new(MappedFile::open(file.path()).unwrap());
    let (mut program, func) = build(|b, _| {
        (0..3u64)
            .map(|i| {
                let t = Tensor::mapped(&mapped, i * 16384, DType::F32, &[4096]).unwrap();
                let c = b.constant(t).unwrap();
                Exp {}.build(b, c).unwrap()
            })
            .collect()
    });
    let report = run("dedup-consts", &mut program);
    assert_eq!(report.runs[0].counters["merged"], 1);
    let function = &program.functions[func];
    let mut ids = Vec::new();
    function.for_each_node(&mut |_, node| {
        if let Op::Const(c) = &function.nodes[node].op {
            ids.push(c.value);
        }
    });
    assert!(ids[0] == ids[1] && ids[0] != ids[2]);
}

#[test]
fn outputs_stay_apart_and_results_of_ops() {
    let (mut program, func) = build(|b, x| {
        let same = Identity {}.build(b, x).unwrap();
        let e = Exp {}.build(b, x).unwrap();
        let one = b.scalar(DType::F32, 1.0).unwrap();
        let e1 = Mul {}.build(b, one, e).unwrap();
        let again = Exp {}.build(b, x).unwrap();
        let through = Identity {}.build(b, again).unwrap();
        vec![same, e1, e, through]
    });
    run("cleanup", &mut program);
    assert_eq!(kinds(&program, func), ["identity", "exp", "const", "mul", "exp"]);
    let function = &program.functions[func];
    let results = &function.regions[function.body].results;
    assert!(results.iter().enumerate().all(|(i, v)| !results[..i].contains(v)));
    assert!(run("cleanup", &mut program).runs.iter().all(|run| !run.changed));
}
