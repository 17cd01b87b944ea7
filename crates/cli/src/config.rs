//! `mlc.toml`: flags from a file. It holds, in a table named after the command, the long flags without
//! dashes: `target = "ios17"`, `force = true`, `keep-fp32 = ["softmax"]`. A flag of the command
//! line stands in place of the key, lists included.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use mlc_diag::{Diagnostic, Diagnostics, Place, codes};

use crate::args::Cli;
use crate::{parse, usage};

/// What the file makes of a command line.
pub(crate) enum Configured {
    /// A command to run.
    Run(Box<Cli>),
    /// The flags in force, as text: `--print-config`.
    Printed(String),
}

fn problem(path: &Path, message: impl Into<String>) -> Diagnostics {
    let file = path.to_string_lossy();
    Diagnostic::new(codes::BAD_ARGUMENT, message)
        .at(Place::Entry { file: file.as_ref().into(), entry: "".into() })
        .into()
}

/// Adds the flags of the file to the command line.
pub(crate) fn with_file(cli: Cli, arguments: &[OsString]) -> Result<Configured, Diagnostics> {
    let beside = cli
        .command
        .input()
        .and_then(|input| input.parent().map(|folder| folder.join("mlc.toml")))
        .filter(|path| path.is_file());
    let path: Option<PathBuf> = cli.shared.config.clone().or(beside);
    let print = cli.shared.print_config;
    let name = cli.command.name();
    let mut flags = Vec::new();
    let mut all: Vec<OsString> = arguments.to_vec();
    let mut cli = cli;
    if let Some(path) = &path {
        flags = read(path, name)?;
        flags.retain(|flag| !is_given(flag, arguments));
        let at = arguments.iter().position(|word| word == name).map_or(1, |at| at + 1);
        all = arguments[..at].to_vec();
        all.extend(flags.iter().map(OsString::from));
        all.extend_from_slice(&arguments[at..]);
        cli = parse(&all).map_err(|error| {
            let file = path.to_string_lossy();
            let place =
                Place::Entry { file: file.as_ref().into(), entry: format!("[{name}]").into() };
            Diagnostics::from(usage::diagnostic(&error).at(place))
        })?;
    }
    if !print {
        return Ok(Configured::Run(Box::new(cli)));
    }
    let shown: Vec<String> =
        all.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let digest = blake3::hash(shown.join("\0").as_bytes()).to_hex();
    let from = path.map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    Ok(Configured::Printed(format!(
        "file    {from}\nadds    {}\nflags   {}\ndigest  blake3:{digest}\n",
        flags.join(" "),
        shown.join(" ")
    )))
}

/// Whether the command line has the flag, with whatever value.
fn is_given(flag: &str, arguments: &[OsString]) -> bool {
    let name = flag.split('=').next().unwrap_or(flag);
    arguments.iter().filter_map(|word| word.to_str()).any(|word| {
        word == name
            || word.strip_prefix(name).is_some_and(|rest| {
                rest.starts_with('=') || (name.len() == 2 && !name.starts_with("--"))
            })
    })
}

/// The place of what is no TOML.
fn unreadable(path: &Path, text: &str, error: &toml::de::Error) -> Diagnostics {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let place = Place::Text {
        file: path.to_string_lossy().as_ref().into(),
        line: number(before.matches('\n').count() + 1),
        column: number(column + 1),
        len: 1,
    };
    Diagnostic::new(codes::BAD_ARGUMENT, error.message()).at(place).into()
}

fn read(path: &Path, command: &str) -> Result<Vec<String>, Diagnostics> {
    let text = std::fs::read_to_string(path).map_err(|e| problem(path, e.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| unreadable(path, &text, &error))?;
    let mut flags = Vec::new();
    for (name, value) in &table {
        let toml::Value::Table(keys) = value else {
            return Err(problem(path, format!("`{name}` stands in no table; write [{command}]")));
        };
        if Cli::command().find_subcommand(name).is_none() {
            return Err(problem(path, format!("[{name}] is no command of mlc")));
        }
        if name != command {
            continue;
        }
        for (key, value) in keys {
            push(path, key, value, &mut flags)?;
        }
    }
    Ok(flags)
}

fn push(
    path: &Path,
    key: &str,
    value: &toml::Value,
    flags: &mut Vec<String>,
) -> Result<(), Diagnostics> {
    let dashes = if key.len() == 1 { "-" } else { "--" };
    match value {
        toml::Value::Boolean(true) => flags.push(format!("{dashes}{key}")),
        toml::Value::Boolean(false) => {}
        toml::Value::String(text) => flags.push(format!("{dashes}{key}={text}")),
        toml::Value::Integer(n) => flags.push(format!("{dashes}{key}={n}")),
        toml::Value::Float(x) => flags.push(format!("{dashes}{key}={x}")),
        toml::Value::Array(items) => {
            for item in items {
                if matches!(item, toml::Value::Array(_) | toml::Value::Table(_)) {
                    return Err(problem(path, format!("`{key}` holds more than a list")));
                }
                push(path, key, item, flags)?;
            }
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => {
            return Err(problem(path, format!("`{key}` is no flag")));
        }
    }
    Ok(())
}
