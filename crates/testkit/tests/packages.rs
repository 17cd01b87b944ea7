//! Models below `testdata/front/` and programs below `testdata/coreml/` become packages; see
//! `mlc_testkit::package`. With `MLC_CONFORMANCE_DIR` set the packages are kept there.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use mlc_driver::Driver;
use mlc_testkit::package::{Made, convert_model, emit_text};
use mlc_testkit::{walk, workspace_root};

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::from_args();
    let testdata = workspace_root().join("testdata");
    let models = walk::files(&testdata.join("front"), "pt2")?;
    let texts = walk::files(&testdata.join("coreml"), "mlc")?;
    assert!(!models.is_empty(), "no model below {}", testdata.display());
    let mut trials = Vec::new();
    for path in models {
        trials.push(trial(&testdata, path, |path, name, folder| match Driver::new(&[]) {
            Ok(driver) => convert_model(&driver, path, name, folder),
            Err(errors) => Made { packages: 0, problems: vec![format!("{errors:?}")] },
        }));
    }
    for path in texts {
        trials.push(trial(&testdata, path, emit_text));
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn trial(testdata: &Path, path: PathBuf, make: fn(&Path, &str, &Path) -> Made) -> Trial {
    let shown = walk::shown(&path, testdata);
    let name = path.strip_prefix(testdata).unwrap_or(&path).with_extension("");
    let name = walk::shown(&name, Path::new("")).replace('/', "-");
    Trial::test(shown, move || {
        let temporary = tempfile::tempdir()?;
        let kept = std::env::var_os("MLC_CONFORMANCE_DIR").map(PathBuf::from);
        let folder = kept.unwrap_or_else(|| temporary.path().to_path_buf());
        let made = make(&path, &name, &folder);
        if made.problems.is_empty() { Ok(()) } else { Err(Failed::from(made.problems.join("\n"))) }
    })
}
