//! Python environments of our own below `target/`, made on first use and again when their list of
//! packages changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;
use crate::failure::{Context, Failure, Result};

/// An environment.
pub(crate) struct Environment {
    /// Where it is made, below the root.
    pub(crate) folder: &'static str,
    /// The packages it has, a file below the root.
    pub(crate) requirements: &'static str,
    /// A variable that names an interpreter which has them; nothing is installed then.
    pub(crate) variable: &'static str,
}

impl Environment {
    /// The interpreter.
    pub(crate) fn python(&self, root: &Path) -> Result<PathBuf> {
        if let Some(given) = std::env::var_os(self.variable) {
            return Ok(given.into());
        }
        let folder = root.join(self.folder);
        let requirements = root.join(self.requirements);
        let wanted = fs::read_to_string(&requirements).at(&requirements)?;
        let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
        let python = programs.join("python");
        let installed = folder.join("installed.txt");
        if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
            return Ok(python);
        }
        eprintln!("making {} from {}", self.folder, self.requirements);
        command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .map_err(|failure| {
                Failure::new(format!("{failure}; Python 3.10 to 3.13 with venv is needed"))
            })?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        command::run(Command::new(&python).args(pip).arg(&requirements))?;
        fs::write(&installed, wanted).at(&installed)?;
        Ok(python)
    }
}
