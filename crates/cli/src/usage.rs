//! Command lines that cannot be read, as diagnostics.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use mlc_diag::{Diagnostic, codes};

/// What is wrong with the arguments.
pub(crate) fn diagnostic(error: &clap::Error) -> Diagnostic {
    let invalid = flags(&word(error, ContextKind::InvalidArg));
    let value = word(error, ContextKind::InvalidValue);
    let message = match error.kind() {
        ErrorKind::UnknownArgument if invalid.starts_with('-') => {
            format!("there is no flag `{invalid}`")
        }
        ErrorKind::UnknownArgument => format!("`{invalid}` is one argument too many"),
        ErrorKind::InvalidSubcommand => {
            format!("there is no command `{}`", word(error, ContextKind::InvalidSubcommand))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("`{invalid}` needs a value"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(|why| format!(": {why}"));
            format!("`{invalid}` cannot be `{value}`{}", why.unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => format!("`{invalid}` is missing"),
        ErrorKind::ArgumentConflict => {
            let prior = flags(&word(error, ContextKind::PriorArg));
            format!("`{invalid}` and `{prior}` exclude each other")
        }
        _ => first_line(error),
    };
    let diagnostic = Diagnostic::new(codes::BAD_ARGUMENT, message);
    match help(error) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

fn help(error: &clap::Error) -> Option<String> {
    let valid = word(error, ContextKind::ValidValue);
    if !valid.is_empty() {
        return Some(format!("use {valid}"));
    }
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .into_iter()
        .map(|kind| word(error, kind))
        .find(|near| !near.is_empty());
    if let Some(near) = near {
        return Some(format!("did you mean `{near}`?"));
    }
    let usage = error.get(ContextKind::Usage)?.to_string();
    let usage = usage.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Some(format!("write `{}`", usage.trim_start_matches("Usage: ")))
}

/// `--output` of `--output <OUT>` and `--verify` of `--verify[=<N>]`; what is no flag stays.
fn flags(text: &str) -> String {
    let name = |flag: &str| match flag.starts_with('-') {
        true => flag.split([' ', '[', '=']).next().unwrap_or_default().to_owned(),
        false => flag.to_owned(),
    };
    text.split(", ").map(name).collect::<Vec<_>>().join(", ")
}

fn word(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(word)) => word.clone(),
        Some(ContextValue::Strings(words)) => words.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
