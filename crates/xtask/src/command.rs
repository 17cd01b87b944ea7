//! Running other programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Failure, Result};
use crate::workspace;

/// The cargo that runs us, started in the root of the checkout.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()).args(arguments);
    command
}

/// Runs `command` to its end; anything but success is a failure that shows the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().doing(&shown)?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("`{shown}`: {status}"))),
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut out = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        out.push(' ');
        out.push_str(&argument.to_string_lossy());
    }
    out
}
