//! Prints diagnostics and products.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, ExitClass, Place, Severity};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Outcome;
use crate::args::{Progress, Shared, When};

/// How this process prints.
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) progress: Progress,
    color: bool,
}

impl Output {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            json: shared.json,
            quiet: shared.quiet,
            verbose: shared.verbose,
            progress: shared.progress,
            color: colors(shared.color),
        }
    }

    /// How problems with the arguments themselves are printed.
    pub(crate) fn before_parsing(arguments: &[OsString]) -> Self {
        Self {
            json: arguments.iter().any(|word| word == "--json"),
            quiet: false,
            verbose: 0,
            progress: Progress::None,
            color: colors(When::Auto),
        }
    }

    /// Writes the product to stdout; whoever reads it may stop early.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub(crate) fn product(&self, bytes: &[u8]) -> Outcome {
        mlc_driver::write_text(Path::new("-"), bytes, false)
    }

    /// Prints a report: as a JSON document with the diagnostics in it, or by `human` with the
    /// diagnostics on stderr.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub(crate) fn report(
        &self,
        command: &str,
        report: &impl Serialize,
        diagnostics: &Diagnostics,
        human: impl FnOnce() -> Outcome,
    ) -> Outcome {
        if self.json {
            let report = serde_json::to_value(report).unwrap_or(Value::Null);
            return self.document(command, report, diagnostics, 0);
        }
        self.diagnostics(diagnostics);
        human()
    }

    fn document(
        &self,
        command: &str,
        report: Value,
        diagnostics: &Diagnostics,
        exit: u8,
    ) -> Outcome {
        let document = json!({
            "schema": format!("mlc.{command}/1"),
            "exit": exit,
            "diagnostics": diagnostics.items().iter().map(to_json).collect::<Vec<_>>(),
            "report": report,
        });
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        self.product(text.as_bytes())
    }

    /// Prints problems that ended a command, and gives its exit code.
    pub(crate) fn fail(&self, command: &str, problems: &Diagnostics) -> u8 {
        let exit = problems.exit_class().unwrap_or(ExitClass::Internal).code();
        if self.json && self.document(command, Value::Null, problems, exit).is_ok() {
            return exit;
        }
        self.diagnostics(problems);
        let errors = problems.items().iter().filter(|d| d.is_error()).count();
        if errors > 1 {
            say(&format!("{errors} errors"));
        }
        exit
    }

    /// Prints diagnostics to stderr; with `-q` errors alone.
    pub(crate) fn diagnostics(&self, diagnostics: &Diagnostics) {
        let mut out = io::stderr().lock();
        for diagnostic in diagnostics.items() {
            if self.quiet && !diagnostic.is_error() {
                continue;
            }
            let _ = self.diagnostic(&mut out, diagnostic);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn diagnostic(&self, out: &mut dyn Write, diagnostic: &Diagnostic) -> io::Result<()> {
        let color = match diagnostic.severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1;36",
        };
        let head = format!("{}[{}]", diagnostic.severity.as_str(), diagnostic.code);
        let count = diagnostic.places.len();
        let times = if count > 1 { format!(" (×{count})") } else { String::new() };
        writeln!(out, "{}: {}{times}", self.paint(color, &head), diagnostic.message)?;
        let shown = if self.verbose > 0 { count } else { 3 };
        for place in diagnostic.places.iter().take(shown) {
            writeln!(out, "  {} {place}", self.paint("1;34", "-->"))?;
        }
        if count > shown {
            writeln!(
                out,
                "  {} and {} more (-v shows all)",
                self.paint("1;34", "-->"),
                count - shown
            )?;
        }
        for note in &diagnostic.notes {
            writeln!(out, "  {} {note}", self.paint("1;34", "= note:"))?;
        }
        if let Some(help) = &diagnostic.help {
            writeln!(out, "  {} {help}", self.paint("1;34", "= help:"))?;
        }
        Ok(())
    }
}

/// A line to stderr; nobody may be there to read it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn colors(when: When) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => io::stderr().is_terminal() && !no_color,
    }
}

/// A diagnostic as JSON.
pub(crate) fn to_json(diagnostic: &Diagnostic) -> Value {
    json!({
        "code": diagnostic.code.name(),
        "severity": diagnostic.severity.as_str(),
        "message": diagnostic.message,
        "location": diagnostic.places.iter().map(place_json).collect::<Vec<_>>(),
        "notes": diagnostic.notes,
        "help": diagnostic.help,
        "fix": diagnostic.fix,
    })
}

fn place_json(place: &Place) -> Value {
    match place {
        Place::Op(loc) => json!({
            "kind": "op",
            "module": loc.module.as_deref(),
            "file": loc.source.as_ref().map(|(file, _)| &**file),
            "line": loc.source.as_ref().map(|(_, line)| line),
            "op": loc.origin.as_deref(),
            "passes": loc.passes.iter().map(|pass| &**pass).collect::<Vec<_>>(),
        }),
        Place::Text { file, line, column, len } => {
            json!({ "kind": "text", "file": **file, "line": line, "column": column, "length": len })
        }
        Place::Entry { file, entry } => {
            json!({ "kind": "entry", "file": **file, "entry": **entry })
        }
        Place::Argument(name) => json!({ "kind": "argument", "name": **name }),
    }
}
