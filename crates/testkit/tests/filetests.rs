//! Every fixture below `testdata/` is a test; see `mlc_testkit::filetest`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use mlc_driver::Driver;
use mlc_testkit::filetest::{Blessing, docs, errors, run_fixture};
use mlc_testkit::{rules, walk, workspace_root};

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::from_args();
    let root = workspace_root();
    let testdata = root.join("testdata");
    let fixtures = walk::files(&testdata, "mlc")?;
    assert!(!fixtures.is_empty(), "no fixture below {}", testdata.display());
    let mut trials: Vec<Trial> = fixtures.into_iter().map(|path| trial(&testdata, path)).collect();
    for pass in docs::passes(&driver().map_err(io::Error::other)?) {
        let testdata = testdata.clone();
        trials.push(Trial::test(format!("doc of {}", pass.name), move || {
            result(&docs::check(&driver()?, &pass, &testdata))
        }));
    }
    for family in driver().map_err(io::Error::other)?.rules() {
        for rule in family.rules {
            let testdata = testdata.clone();
            trials.push(Trial::test(format!("rule {}", rule.name), move || {
                result(&rules::problems(&testdata, family, rule))
            }));
        }
    }
    let folder = testdata.clone();
    trials.push(Trial::test("every fixture of a rule has its rule", move || {
        result(&rules::strangers(&folder, &driver()?))
    }));
    trials.push(Trial::test("every pass is linked in", move || {
        let unlisted = docs::unlisted(&driver()?, &root)?;
        let problems = unlisted.iter().map(|path| path.display().to_string());
        result(&problems.collect::<Vec<_>>())
    }));
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// The driver is made for each test, so that tests share nothing.
fn driver() -> Result<Driver, String> {
    Driver::new(&[]).map_err(|errors| format!("{errors:?}"))
}

fn trial(testdata: &Path, path: PathBuf) -> Trial {
    let name = walk::shown(&path, testdata);
    if !name.starts_with("errors/") {
        return Trial::test(name, move || {
            result(&run_fixture(&driver()?, &path, Blessing::from_env())?)
        });
    }
    let is_rendered = name.starts_with("errors/render/");
    Trial::test(name, move || {
        let outcome = errors::run(&driver()?, &path)?;
        result(&outcome.problems)?;
        if is_rendered {
            snapshot(&path, &outcome.rendering);
        }
        Ok(())
    })
}

/// Compares with `snapshots/NAME.snap` beside the fixture.
fn snapshot(path: &Path, rendering: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(path.with_file_name("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    settings.bind(|| insta::assert_snapshot!(name, rendering));
}

fn result(problems: &[String]) -> Result<(), Failed> {
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}
