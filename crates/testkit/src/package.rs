//! A model becomes a package and computes what it did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mlc_coreml::emit::{EmitOptions, check, emit};
use mlc_coreml::package::Existing;
use mlc_diag::{Diagnostics, codes};
use mlc_driver::{ConvertOptions, Driver, Precision, Tolerance, VerifyOptions, verify_programs};
use mlc_ir::Program;
use mlc_pass::Observer;
use mlc_target::{Opset, Target};

use crate::filetest::Fixture;

/// Versions of Core ML that packages are made for in tests: the first, and those with new ops.
pub const OPSETS: [Opset; 3] = [Opset::Ios15, Opset::Ios17, Opset::Ios18];
/// Both float types.
pub const PRECISIONS: [Precision; 2] = [Precision::Fp16, Precision::Fp32];

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Packages that were made, beyond what was wrong.
#[derive(Debug, Default)]
pub struct Made {
    /// Packages, by target and precision.
    pub packages: usize,
    /// What went wrong.
    pub problems: Vec<String>,
}

/// Converts the model at `path` for each of [`OPSETS`] and [`PRECISIONS`] into `folder`, twice, and
/// compares the bytes of the two, and the numbers of the package with those of the model. Targets
/// that are too old are left out, but not all.
#[must_use]
pub fn convert_model(driver: &Driver, path: &Path, name: &str, folder: &Path) -> Made {
    let mut made = Made::default();
    let source = match driver.load(path, None) {
        Ok(loaded) => loaded.program,
        Err(errors) => {
            made.problems.push(text(&errors));
            return made;
        }
    };
    for opset in OPSETS {
        for precision in PRECISIONS {
            let file = format!("testkit-{name}-{opset}-{}.mlpackage", precision.as_str());
            let package = folder.join(file);
            let write = |output: &Path| {
                let mut options = ConvertOptions::new(path, output);
                options.target = ios(opset);
                options.precision = precision;
                options.verify = None;
                options.force = true;
                driver.convert(&options, &mut Silent).map(drop)
            };
            let tolerance = match precision {
                Precision::Fp16 | Precision::Auto(_) => Tolerance::SnrDb(35.0),
                Precision::Fp32 => Tolerance::Relative(1e-4),
            };
            made.add(twice(&package, &source, tolerance, write), &format!("{opset} {precision:?}"));
        }
    }
    made.at_least_one()
}

/// Writes the program in the text at `path`, as it stands, for each of [`OPSETS`] that takes it, and
/// checks the same.
#[must_use]
pub fn emit_text(path: &Path, name: &str, folder: &Path) -> Made {
    let mut made = Made::default();
    let read = Fixture::read(path).map_err(|error| error.to_string());
    let source = match read.and_then(|fixture| fixture.parse().map_err(|errors| text(&errors))) {
        Ok(source) => source,
        Err(problem) => {
            made.problems.push(problem);
            return made;
        }
    };
    for opset in OPSETS {
        let options = EmitOptions::new(opset);
        let write = |output: &Path| {
            let found = check(&source, &options);
            if found.has_errors() {
                return Err(found);
            }
            emit(&source, output, &options, Existing::Replace).map(drop)
        };
        let package = folder.join(format!("testkit-{name}-{opset}.mlpackage"));
        let outcome = twice(&package, &source, Tolerance::Relative(1e-6), write);
        made.add(outcome, &opset.to_string());
    }
    made.at_least_one()
}

/// The target iOS with that version of Core ML.
#[must_use]
pub fn ios(opset: Opset) -> Option<Target> {
    Target::new(mlc_target::Os::Ios, opset)
}

impl Made {
    fn add(&mut self, outcome: Result<bool, String>, what: &str) {
        match outcome {
            Ok(made) => self.packages += usize::from(made),
            Err(problem) => self.problems.push(format!("{what}: {problem}")),
        }
    }

    fn at_least_one(mut self) -> Self {
        if self.packages == 0 && self.problems.is_empty() {
            self.problems.push("no target takes it".to_owned());
        }
        self
    }
}

/// Whether `write` made a package; `false` if the target is too old.
fn twice(
    package: &Path,
    source: &Program,
    tolerance: Tolerance,
    write: impl Fn(&Path) -> Result<(), Diagnostics>,
) -> Result<bool, String> {
    if let Err(errors) = write(package) {
        return if is_too_old(&errors) { Ok(false) } else { Err(text(&errors)) };
    }
    let again = tempfile::tempdir().map_err(|error| error.to_string())?;
    let second = again.path().join("again.mlpackage");
    write(&second).map_err(|errors| text(&errors))?;
    same_bytes(package, &second)?;
    let read = mlc_coreml::read::read(package).map_err(|errors| text(&errors))?;
    for (_, function) in source.functions.iter() {
        let options =
            VerifyOptions { samples: 2, seed: 0, steps: 3, ..VerifyOptions::new(tolerance) };
        verify_programs(source, &read.program, &function.name, &options)
            .map_err(|errors| format!("after reading the package again\n{}", text(&errors)))?;
    }
    Ok(true)
}

/// Whether every error says that a later version of Core ML is needed.
#[must_use]
pub fn is_too_old(errors: &Diagnostics) -> bool {
    let mut all = errors.items().iter().filter(|d| d.is_error()).peekable();
    all.peek().is_some() && all.all(|d| d.code == codes::TARGET_TOO_OLD)
}

fn same_bytes(first: &Path, second: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut left = BTreeMap::new();
    contents(first, first, &mut left).map_err(failed)?;
    let mut right = BTreeMap::new();
    contents(second, second, &mut right).map_err(failed)?;
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    if names(&left) != names(&right) {
        return Err(format!("two runs give the files {:?} and {:?}", names(&left), names(&right)));
    }
    match left.iter().find(|(name, bytes)| right.get(*name) != Some(bytes)) {
        Some((name, _)) => Err(format!("two runs give other bytes in {}", name.display())),
        None => Ok(()),
    }
}

/// Every file below `folder`, by its path below `root`.
fn contents(
    folder: &Path,
    root: &Path,
    found: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            contents(&path, root, found)?;
        } else {
            let below = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            found.insert(below, std::fs::read(&path)?);
        }
    }
    Ok(())
}

fn text(diagnostics: &Diagnostics) -> String {
    diagnostics.items().iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_and_other_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for folder in [&a, &b] {
            std::fs::create_dir_all(folder.join("c")).unwrap();
            std::fs::write(folder.join("c/x"), "1").unwrap();
        }
        same_bytes(&a, &b).unwrap();
        std::fs::write(b.join("c/x"), "2").unwrap();
        assert!(same_bytes(&a, &b).unwrap_err().contains("other bytes"));
        std::fs::write(a.join("y"), "2").unwrap();
        assert!(same_bytes(&a, &b).unwrap_err().contains("the files"));
    }
}
