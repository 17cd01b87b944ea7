//! Random programs through everything: text, verifier, legalization, package, evaluator.
//!
//! `MLC_RANDOM_PROGRAMS` says how many, `MLC_RANDOM_SEED` from which seed on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mlc_coreml::emit::{EmitOptions, emit};
use mlc_coreml::package::Existing;
use mlc_diag::Diagnostics;
use mlc_driver::{Driver, Preset, Tolerance, VerifyOptions, verify_programs};
use mlc_ir::{Program, Type};
use mlc_pass::{PassManager, Pipeline};
use mlc_target::Opset;
use mlc_tensor::DType;
use mlc_testkit::generate::generate;
use mlc_text::{ParseOptions, PrintOptions, parse, print};

/// What became of the programs.
#[derive(Default)]
struct Seen {
    ops: BTreeMap<&'static str, usize>,
    emitted: BTreeMap<Opset, usize>,
    refused: usize,
    compared: usize,
    /// Comparisons for which the program has no numbers.
    undefined: usize,
    problems: Vec<String>,
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_programs_keep_their_meaning() {
    let (count, first) = (number("MLC_RANDOM_PROGRAMS", 2000), number("MLC_RANDOM_SEED", 0));
    let driver = Driver::new(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    for seed in first..first + count {
        let program = generate(seed, 1 + (seed % 7) as usize);
        seen.program(&driver, &program, (seed, folder.path()));
        if seen.problems.len() > 40 {
            break;
        }
    }
    println!(
        "{} op kinds, emitted {:?}, refused {}, compared {}, undefined {}",
        seen.ops.len(),
        seen.emitted,
        seen.refused,
        seen.compared,
        seen.undefined
    );
    println!("never drawn: {:?}", never(&seen.ops));
    assert!(seen.problems.is_empty(), "{}", seen.problems.join("\n\n"));
    if count >= 2000 {
        let never = never(&seen.ops);
        assert!(never.is_empty(), "{never:?} are never drawn");
    }
    if count >= 200 {
        assert!(seen.ops.len() >= 150, "only {} kinds of ops", seen.ops.len());
        assert!(seen.compared * 4 > count as usize * 3, "only {} compared", seen.compared);
        assert!(seen.undefined * 6 < seen.compared, "{} have no numbers", seen.undefined);
    }
}

/// Half of the programs come from the op table, half are like the fixtures of rules: those have something
/// to rewrite.
#[test]
fn optimized_programs_agree() {
    let (count, first) = (number("MLC_RANDOM_PROGRAMS", 1000), number("MLC_RANDOM_SEED", 0));
    let driver = Driver::new(&[]).unwrap();
    let rules =
        mlc_testkit::walk::files(&mlc_testkit::workspace_root().join("testdata/rules"), "mlc");
    let templates: Vec<Program> = rules
        .unwrap()
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .map(|text| parse("rule", &text, &ParseOptions::default()).unwrap().program)
        .collect();
    let mut seen = Seen::default();
    let mut rewritten = 0;
    for seed in first..first + count {
        let template = &templates[(seed / 2) as usize % templates.len()];
        let like =
            (seed..seed + 200).find_map(|seed| mlc_egraph::soundness::variant(template, seed));
        let program = match (seed % 2, like) {
            (0, Some(program)) => program,
            _ => generate(seed, 1 + (seed % 16) as usize),
        };
        let plain = levelled(&driver, &program, Preset::O0).unwrap();
        for level in [Preset::O2, Preset::O3] {
            let optimized = match levelled(&driver, &program, level) {
                Ok(optimized) => optimized,
                // Folding finds bounds and indices that no run could have.
                Err(problem) => {
                    let same = (&plain, &plain, seed);
                    let before = seen.undefined;
                    seen.same("plain", same, Tolerance::Relative(0.0)).unwrap();
                    assert!(seen.undefined > before, "seed {seed}: {problem}");
                    continue;
                }
            };
            let text = |program| print(program, &PrintOptions::default());
            rewritten += usize::from(text(&optimized) != text(&plain));
            let tolerance = Tolerance::Relative(if has_half(&program) { 1e-2 } else { 1e-5 });
            if let Err(problem) = seen.same("optimized", (&plain, &optimized, seed), tolerance) {
                let (plain, optimized) = (text(&plain), text(&optimized));
                seen.problems.push(format!("seed {seed}: {problem}\n{plain}{optimized}"));
            }
        }
    }
    println!("compared {}, rewritten {rewritten}, undefined {}", seen.compared, seen.undefined);
    assert!(seen.problems.is_empty(), "{}", seen.problems.join("\n\n"));
    assert!(seen.compared > count as usize && rewritten * 2 > count as usize);
}

/// The program after the passes of a level.
fn levelled(driver: &Driver, program: &Program, level: Preset) -> Result<Program, String> {
    let mut result = program.clone();
    let pipeline = mlc_pass::preset(level).unwrap();
    match PassManager::new(driver.passes()).run(&pipeline, &mut result) {
        Ok(_) => Ok(result),
        Err(failure) => Err(words(&failure.diagnostics)),
    }
}

#[test]
fn the_same_seed_gives_the_same_program() {
    let text = |seed| print(&generate(seed, 5), &PrintOptions::default());
    assert_eq!(text(3), text(3));
    let different: BTreeSet<String> = (0..20).map(text).collect();
    assert_eq!(different.len(), 20);
}

fn never(drawn: &BTreeMap<&'static str, usize>) -> Vec<&'static str> {
    mlc_ir::ops::specs().map(|spec| spec.name).filter(|name| !drawn.contains_key(name)).collect()
}

impl Seen {
    fn program(&mut self, driver: &Driver, program: &Program, (seed, folder): (u64, &Path)) {
        for (_, function) in program.functions.iter() {
            function.for_each_node(&mut |_, node| {
                *self.ops.entry(function.nodes[node].op.spec().name).or_default() += 1;
            });
        }
        let opset = Opset::ALL[(seed / 7) as usize % Opset::ALL.len()];
        if let Err(problem) = self.check(driver, program, (seed, opset, folder)) {
            let text = print(program, &PrintOptions::default());
            self.problems.push(format!("seed {seed} for {opset}: {problem}\n{text}"));
        }
    }

    fn check(
        &mut self,
        driver: &Driver,
        program: &Program,
        (seed, opset, folder): (u64, Opset, &Path),
    ) -> Result<(), String> {
        let text = print(program, &PrintOptions::default());
        let parsed = parse("random", &text, &ParseOptions::default())
            .map_err(|errors| format!("does not parse\n{}", words(&errors)))?;
        if print(&parsed.program, &PrintOptions::default()) != text {
            return Err("prints otherwise after parsing".to_owned());
        }
        let found = mlc_ir::verify(program);
        if found.has_errors() {
            return Err(format!("does not verify\n{}", words(&found)));
        }
        let Some(legal) = self.legalize(driver, program, opset)? else { return Ok(()) };
        let package = folder.join(format!("{seed}.mlpackage"));
        emit(&legal, &package, &EmitOptions::new(opset), Existing::Refuse)
            .map_err(|errors| format!("legal, but not emitted\n{}", words(&errors)))?;
        *self.emitted.entry(opset).or_default() += 1;
        let read = mlc_coreml::read::read(&package)
            .map_err(|errors| format!("emitted, but not read\n{}", words(&errors)))?;
        std::fs::remove_dir_all(&package).map_err(|error| error.to_string())?;
        // Attributes are written in the element types of the operands.
        let rounding = if has_half(&legal) { 2e-3 } else { 1e-6 };
        self.same("read back", (&legal, &read.program, seed), Tolerance::Relative(rounding))?;
        if !has_half(program) {
            self.same("legalized", (program, &legal, seed), Tolerance::Relative(1e-4))?;
        }
        Ok(())
    }

    /// The program for `opset`; nothing where legalization says why there is none.
    fn legalize(
        &mut self,
        driver: &Driver,
        program: &Program,
        opset: Opset,
    ) -> Result<Option<Program>, String> {
        let mut legal = program.clone();
        let pipeline = Pipeline::parse(&format!("legalize{{target={opset}}}")).unwrap();
        match PassManager::new(driver.passes()).run(&pipeline, &mut legal) {
            Ok(_) => Ok(Some(legal)),
            Err(failure) => {
                let errors = failure.diagnostics;
                let named = |d: &mlc_diag::Diagnostic| {
                    d.code != mlc_diag::codes::INTERNAL && d.code != mlc_diag::codes::INVALID_IR
                };
                if !errors.has_errors() || !errors.items().iter().all(named) {
                    return Err(format!("legalization fails\n{}", words(&errors)));
                }
                self.refused += 1;
                Ok(None)
            }
        }
    }

    fn same(
        &mut self,
        what: &str,
        (before, after, seed): (&Program, &Program, u64),
        tolerance: Tolerance,
    ) -> Result<(), String> {
        let options = VerifyOptions { samples: 2, seed, steps: 1, ..VerifyOptions::new(tolerance) };
        match verify_programs(before, after, "main", &options) {
            Ok(_) => {
                self.compared += 1;
                Ok(())
            }
            // Indices may be out of range and divisors 0: then there is nothing to compare.
            Err(errors) if errors.items().iter().all(is_undefined) => {
                self.undefined += 1;
                Ok(())
            }
            Err(errors) => Err(format!("{what}: {}", words(&errors))),
        }
    }
}

/// Whether what is compared with cannot be computed.
fn is_undefined(diagnostic: &mlc_diag::Diagnostic) -> bool {
    diagnostic.code == mlc_diag::codes::EVALUATION && diagnostic.message.starts_with("reference:")
}

fn has_half(program: &Program) -> bool {
    program.functions.iter().any(|(_, function)| {
        let half = |ty: &Type| ty.as_tensor().is_some_and(|ty| ty.dtype == DType::F16);
        function.values.iter().any(|(_, value)| half(&value.ty))
    })
}

fn words(diagnostics: &Diagnostics) -> String {
    diagnostics.items().iter().map(|diagnostic| format!("  {diagnostic}\n")).collect()
}
