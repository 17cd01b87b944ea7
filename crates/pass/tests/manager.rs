//! The manager with passes of a custom driver.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::ops::{Abs, Add, Exp};
use mlc_ir::{Action, Builder, Function, Op, Param, Program, Rewriter, Type};
use mlc_pass::{
    Alias, Changed, Failure, NumbersCheck, Numerics, Observer, Pass, PassCx, PassEntry, PassError,
    PassList, PassManager, Phase, Pipeline, PrintWhen, Property, Registry, Replay, Report, Result,
    RunOptions, VerifyEach,
};
use mlc_tensor::DType;
use serde::{Deserialize, Serialize};

/// Turns some `exp` into `abs`.
///
/// ```mlc before
/// %y = exp %x
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneExp {
    fail: bool,
    lie: bool,
    kinds: Vec<String>,
}

impl Pass for OneExp {
    fn name(&self) -> &'static str {
        "one-exp"
    }

    fn phase(&self) -> Phase {
        Phase::Optimize
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut left = 1;
        let mut changed = false;
        for func in cx.functions(program) {
            changed |=
                Rewriter::run::<PassError>(program, func, Some("one-exp"), &mut |b, node| {
                    let data = &b.function().nodes[node];
                    if left == 0 || !matches!(data.op, Op::Exp(_)) {
                        return Ok(Action::Keep);
                    }
                    left -= 1;
                    let x = data.operands.all()[0];
                    Ok(Action::Replace(vec![Abs {}.build(b, x)?]))
                })?;
        }
        cx.count("exps", u64::from(changed));
        if self.fail {
            return Err(Diagnostic::new(codes::UNSUPPORTED_OP, "asked to fail").into());
        }
        Ok(Changed::from(changed && !self.lie))
    }
}

macro_rules! small_pass {
    ($Name:ident, $name:literal, $phase:ident, requires $req:expr, establishes $est:expr, $run:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $Name {}

        impl Pass for $Name {
            fn name(&self) -> &'static str {
                $name
            }

            fn phase(&self) -> Phase {
                Phase::$phase
            }

            fn requires(&self) -> &'static [Property] {
                $req
            }

            fn establishes(&self) -> &'static [Property] {
                $est
            }

            fn is_required(&self) -> bool {
                self.phase() == Phase::Legalize
            }

            fn run(&self, program: &mut Program, _: &mut PassCx) -> Result<Changed> {
                let run: fn(&mut Program) -> Changed = $run;
                Ok(run(program))
            }
        }
    };
}

const FLAT: Property = Property("flat");
small_pass!(Nothing, "nothing", Any, requires & [], establishes & [], |_| Changed::No);
small_pass!(Always, "always", Any, requires & [], establishes & [], |_| Changed::Yes);
small_pass!(Flatten, "flatten", Any, requires & [], establishes & [FLAT], |_| Changed::No);
small_pass!(NeedsFlat, "needs-flat", Any, requires & [FLAT], establishes & [], |_| Changed::No);
small_pass!(Legal, "legal", Legalize, requires & [], establishes & [], |_| Changed::Yes);
small_pass!(Break, "break", Any, requires & [], establishes & [], |program| {
    for func in program.func_ids() {
        let body = program.functions[func].body;
        program.functions[func].regions[body].results.clear();
    }
    Changed::Yes
});

const PASSES: PassList = PassList {
    passes: &[
        PassEntry::of::<OneExp>("One exp less.").source(include_str!("manager.rs")),
        PassEntry::of::<Nothing>("Nothing."),
        PassEntry::of::<Always>("Claims a change."),
        PassEntry::of::<Flatten>("Flat."),
        PassEntry::of::<NeedsFlat>("Needs flat."),
        PassEntry::of::<Legal>("Legal."),
        PassEntry::of::<Break>("Breaks the program."),
    ],
    aliases: &[Alias {
        name: "both",
        pipeline: "nothing,one-exp{kinds=a},nothing",
        summary: "Two passes.",
    }],
};

fn registry() -> Registry {
    Registry::new(&[PASSES]).unwrap()
}

/// `abs x + exp exp … x`, and an op that nobody uses.
fn program(exps: usize) -> Program {
    let mut program = Program::new();
    for name in ["main", "other"] {
        let func = program.functions.push(Function::new(name));
        let mut b = Builder::new(&mut program, func);
        let x = b.function_mut().add_param(Param::input("x"), Type::tensor(DType::F32, [2.into()]));
        let mut y = Abs {}.build(&mut b, x).unwrap();
        for _ in 0..exps {
            y = Exp {}.build(&mut b, y).unwrap();
        }
        let y = Add {}.build(&mut b, x, y).unwrap();
        Exp {}.build(&mut b, x).unwrap();
        b.function_mut().add_output("y", y);
    }
    program
}

fn exps(program: &Program, function: &str) -> usize {
    let function = &program.functions[program.function(function).unwrap()];
    let mut count = 0;
    function.for_each_node(&mut |_, node| {
        count += usize::from(matches!(function.nodes[node].op, Op::Exp(_)));
    });
    count
}

fn print(program: &Program) -> String {
    format!("{} exps", exps(program, "main"))
}

fn run(text: &str, program: &mut Program, options: RunOptions) -> Result<Report, Box<Failure>> {
    let registry = registry();
    PassManager::new(&registry).options(options).run(&Pipeline::parse(text).unwrap(), program)
}

#[test]
fn fixed_points_end_and_dead_ops_go() {
    let mut p = program(3);
    let report = run("func main(fix(one-exp,nothing))", &mut p, RunOptions::default()).unwrap();
    assert_eq!((exps(&p, "main"), exps(&p, "other")), (0, 4));
    // The unused exp goes with the first change.
    assert_eq!(report.runs[0].removed, 1);
    assert_eq!(report.runs.iter().filter(|run| run.changed).count(), 3);
    assert_eq!(report.runs[0].counters["exps"], 1);
    assert!(report.runs.iter().all(|run| run.time.is_none()));
}

#[test]
fn a_fixed_point_that_does_not_come_is_reported() {
    let options = RunOptions { fix_limit: 3, ..RunOptions::default() };
    let report = run("fix(always)", &mut program(1), options).unwrap();
    assert_eq!(report.runs.len(), 3);
    assert!(report.diagnostics.items()[0].message.contains("after 3 rounds"));
}

#[test]
fn skip_stop_and_bisect() {
    let runs = |options: RunOptions| -> Vec<&'static str> {
        let report = run("both,one-exp,legal", &mut program(2), options).unwrap();
        report.runs.iter().map(|run| run.pass).collect()
    };
    let text = |name: &str| name.to_owned();
    let base = RunOptions::default;
    assert_eq!(runs(base()), ["nothing", "one-exp", "nothing", "one-exp", "legal"]);
    assert_eq!(runs(RunOptions { skip: vec![text("both")], ..base() }), ["one-exp", "legal"]);
    assert_eq!(
        runs(RunOptions { stop_after: Some(text("both")), ..base() }),
        ["nothing", "one-exp", "nothing"]
    );
    assert_eq!(
        runs(RunOptions { stop_after: Some(text("one-exp")), ..base() }),
        ["nothing", "one-exp"]
    );
    assert_eq!(runs(RunOptions { bisect_limit: Some(1), ..base() }), ["nothing", "legal"]);
}

#[test]
fn unknown_names_are_answered_with_near_ones() {
    let error = |text: &str, options: RunOptions| {
        let failure = run(text, &mut program(1), options).unwrap_err();
        let all = failure.diagnostics.items().iter().map(ToString::to_string);
        (failure.diagnostics.exit_class().unwrap().code(), all.collect::<Vec<_>>().join("\n"))
    };
    let (code, text) = error("one-exq,both{kind=a},one-exp{fail=3}", RunOptions::default());
    assert_eq!(code, 2);
    assert!(text.contains("no pass is named `one-exq`") && text.contains("did you mean `one-exp`"));
    assert!(text.contains("`both` has no option `kind`") && text.contains("did you mean `kinds`?"));
    assert!(text.contains("option `fail` of `one-exp`: invalid type"), "{text}");
    let (_, text) = error("func mian(nothing)", RunOptions::default());
    assert!(text.contains("no function `mian`; `main` is near"));
    let skip = RunOptions { skip: vec!["bth".into()], ..RunOptions::default() };
    assert!(error("both", skip).1.contains("`both`"));
    let stop = RunOptions { stop_after: Some("legal".into()), ..RunOptions::default() };
    assert!(error("both", stop).1.contains("no `legal` to stop after"));
}

#[test]
fn order_is_checked_from_data() {
    let error = |text: &str| {
        run(text, &mut program(1), RunOptions::default()).unwrap_err().diagnostics.items()[0]
            .to_string()
    };
    assert!(error("legal,one-exp").contains("`one-exp` stands after `legal`"));
    assert!(error("needs-flat,flatten").contains("needs `flat`"));
    for fine in ["legal,nothing", "flatten,needs-flat", "needs-flat", "one-exp,legal"] {
        run(fine, &mut program(1), RunOptions::default()).unwrap();
    }
}

#[test]
fn an_invalid_program_names_the_pass_and_can_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("repro");
    let options = RunOptions {
        reproducer: Some(folder.clone()),
        printer: Some(print),
        seed: 7,
        ..RunOptions::default()
    };
    let failure = run("func main(one-exp),break", &mut program(2), options.clone()).unwrap_err();
    assert_eq!(failure.pass, Some("break"));
    assert_eq!(failure.diagnostics.items()[0].code, codes::INTERNAL);
    let replay = Replay::read(failure.reproducer.as_ref().unwrap()).unwrap();
    assert_eq!((replay.pipeline.as_str(), replay.seed), ("break", 7));
    assert_eq!(replay.whole, "func main(one-exp),break");
    assert_eq!(replay.input, "1 exps");
    let failure = run("one-exp{fail=true}", &mut program(2), options).unwrap_err();
    assert_eq!(failure.diagnostics.items()[0].code, codes::UNSUPPORTED_OP);
    assert_eq!(Replay::read(&folder).unwrap().pipeline, "one-exp{fail=true}");
}

#[test]
fn a_pass_that_hides_a_change_is_found() {
    let lie = "one-exp{lie=true}";
    let options = RunOptions { printer: Some(print), ..RunOptions::default() };
    run(lie, &mut program(2), options.clone()).unwrap();
    let options = RunOptions { verify_each: VerifyEach::Types, ..options };
    let failure = run(lie, &mut program(2), options).unwrap_err();
    assert!(failure.diagnostics.items()[0].message.contains("says it changed nothing"));
}

#[derive(Default)]
struct Watch {
    seen: Vec<String>,
}

impl Observer for Watch {
    fn start(&mut self, pass: &str, index: usize, count: usize) {
        self.seen.push(format!("{pass} {index}/{count}"));
    }

    fn show(&mut self, heading: &str, text: &str) {
        self.seen.push(format!("{heading}: {text}"));
    }
}

struct Counts;

impl NumbersCheck for Counts {
    fn compare(
        &mut self,
        before: &Program,
        after: &Program,
        _: Numerics,
        seed: u64,
    ) -> Result<(), Diagnostics> {
        let (a, b) = (exps(before, "main"), exps(after, "main"));
        if a == b {
            return Ok(());
        }
        Err(Diagnostic::new(codes::VERIFY_MISMATCH, format!("{a} became {b} with seed {seed}"))
            .into())
    }
}

#[test]
fn programs_are_shown_dumped_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry();
    let mut watch = Watch::default();
    let options = RunOptions {
        print_before: PrintWhen::Named(vec!["both".into()]),
        print_after: PrintWhen::Changed,
        dump_dir: Some(dir.path().to_owned()),
        printer: Some(print),
        ..RunOptions::default()
    };
    let pipeline = Pipeline::parse("both").unwrap();
    let mut manager = PassManager::new(&registry).options(options).observer(&mut watch);
    manager.run(&pipeline, &mut program(2)).unwrap();
    assert_eq!(
        watch.seen,
        [
            "nothing 0/3",
            "before nothing: 3 exps",
            "one-exp 1/3",
            "before one-exp: 3 exps",
            "after one-exp: 1 exps",
            "nothing 2/3",
            "before nothing: 1 exps"
        ]
    );
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["000-input.mlc", "001-one-exp.mlc"]);

    let options = RunOptions { verify_each: VerifyEach::Numbers, seed: 5, ..RunOptions::default() };
    let mut counts = Counts;
    let mut manager = PassManager::new(&registry).options(options.clone()).numbers(&mut counts);
    let failure = manager.run(&pipeline, &mut program(2)).unwrap_err();
    let text = failure.diagnostics.items()[0].to_string();
    assert!(text.contains("3 became 1 with seed 5") && text.contains("in `one-exp`"), "{text}");
    let alone = PassManager::new(&registry).options(options).run(&pipeline, &mut program(2));
    assert!(alone.unwrap_err().diagnostics.items()[0].message.contains("no evaluator"));
}

#[test]
fn the_listing_is_complete() {
    let list = registry().list();
    let row = list.iter().find(|row| row.name == "one-exp").unwrap();
    assert_eq!((row.origin.as_str(), row.phase), ("manager", "optimize"));
    assert!(row.doc.starts_with("Turns some `exp` into `abs`.") && row.doc.contains("mlc before"));
    let names: Vec<&str> = row.options.iter().map(|option| option.name.as_str()).collect();
    assert_eq!(names, ["fail", "kinds", "lie"]);
    assert_eq!(row.options[0].default, serde_json::Value::Bool(false));
    let alias = list.iter().find(|row| row.name == "both").unwrap();
    assert!(alias.doc.contains("`nothing,one-exp{kinds=a},nothing`"));
    assert_eq!(alias.options.len(), 3);
}
