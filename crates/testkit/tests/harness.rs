//! The modes that each fixture runs without being asked, proven on passes that are wrong on purpose.

#![expect(clippy::unwrap_used, reason = "a test ends where its folder cannot be had")]

use mlc_driver::Driver;
use mlc_ir::ops::{Exp, Op};
use mlc_ir::{Action, Program, Rewriter, TensorType, Type};
use mlc_pass::{Changed, Pass, PassCx, PassEntry, PassError, PassList, Phase, Result};
use mlc_testkit::filetest::{Blessing, run_fixture};
use serde::{Deserialize, Serialize};

/// Declares a pass that does `$run`.
macro_rules! broken {
    ($ty:ident, $name:literal, $run:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $ty {}

        impl Pass for $ty {
            fn name(&self) -> &'static str {
                $name
            }

            fn phase(&self) -> Phase {
                Phase::Any
            }

            fn run(&self, program: &mut Program, _: &mut PassCx) -> Result<Changed> {
                let run: fn(&mut Program) -> Result<Changed> = $run;
                run(program)
            }
        }
    };
}

/// Replaces each `abs` by `exp`.
fn abs_to_exp(program: &mut Program) -> Result<bool> {
    let mut changed = false;
    for func in program.func_ids() {
        changed |= Rewriter::run::<PassError>(program, func, None, &mut |b, node| {
            let data = &b.function().nodes[node];
            let (Op::Abs(_), Some(&x)) = (&data.op, data.operands.all().first()) else {
                return Ok(Action::Keep);
            };
            Ok(Action::Replace(vec![Exp {}.build(b, x)?]))
        })?;
    }
    Ok(changed)
}

broken!(WrongNumbers, "wrong-numbers", |program| abs_to_exp(program).map(Changed::from));
broken!(Silent, "silent", |program| abs_to_exp(program).map(|_| Changed::No));
broken!(Invalid, "invalid", |program| {
    for func in program.func_ids() {
        let function = &mut program.functions[func];
        let result = function.regions[function.body].results[0];
        if let Type::Tensor(ty) = function.ty(result).clone() {
            let shape = vec![7.into(); ty.rank()];
            function.values[result].ty = Type::Tensor(TensorType::new(ty.dtype, shape));
        }
    }
    Ok(Changed::Yes)
});
broken!(Panics, "panics", |program| {
    let index = program.functions.iter().count();
    let empty: Vec<u8> = Vec::new();
    Ok(Changed::from(empty[index] == 1))
});

const BROKEN: PassList = PassList {
    passes: &[
        PassEntry::of::<WrongNumbers>("Numbers are others."),
        PassEntry::of::<Silent>("The change is not told."),
        PassEntry::of::<Invalid>("Types do not fit."),
        PassEntry::of::<Panics>("It panics."),
    ],
    aliases: &[],
};

/// The problems of a fixture that runs `passes`.
fn problems(passes: &str, comments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("testdata/passes/a/a.mlc");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!(
        "// RUN: opt --passes={passes} %\n// CHECK: func\n{comments}func @f(%x: tensor<4xf32>) -> \
         tensor<4xf32> {{\n  %y = abs %x\n  return %y\n}}\n"
    );
    std::fs::write(&path, text).unwrap();
    let driver = Driver::new(&[BROKEN]).unwrap();
    run_fixture(&driver, &path, Blessing::Compare).unwrap().join("\n")
}

#[test]
fn numbers_are_compared_before_and_after_every_pass() {
    assert_eq!(problems("cse", ""), "");
    let found = problems("cse,wrong-numbers,dce", "");
    assert!(found.contains("the numbers changed in `wrong-numbers`"), "{found}");
    let excused = problems("wrong-numbers", "// NO-EVAL: a test\n");
    assert_eq!(excused, "");
}

#[test]
fn programs_are_verified_after_every_pass() {
    let found = problems("cse,invalid,dce", "");
    assert!(found.contains("the program is not valid after `invalid`"), "{found}");
}

#[test]
fn changes_that_are_not_told_are_found() {
    let found = problems("silent", "");
    assert!(found.contains("`silent` says it changed nothing, and did"), "{found}");
}

#[test]
fn a_panic_is_a_problem_of_its_fixture() {
    let found = problems("panics", "");
    assert!(found.contains("`panics` panicked"), "{found}");
}
