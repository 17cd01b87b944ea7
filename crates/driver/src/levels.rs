//! How severe each code is: `-A`, `-W`, `-D`.

use mlc_diag::{Code, Diagnostic, Diagnostics, Group, Severity, codes, nearest};

/// What a flag makes of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Not shown.
    Allow,
    /// Shown.
    Warn,
    /// An error.
    Deny,
}

/// The flags in the order they were given; the last that fits wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levels {
    rules: Vec<(Level, Vec<Code>)>,
}

const GROUPS: [Group; 6] =
    [Group::Input, Group::Semantics, Group::Package, Group::Numerics, Group::Target, Group::State];

impl Levels {
    /// Adds a flag for a code or a group.
    ///
    /// # Errors
    /// Nothing has that name.
    pub fn add(&mut self, level: Level, name: &str) -> Result<(), Diagnostics> {
        let members: Vec<Code> = match Code::from_name(name) {
            Some(code) => vec![code],
            None => Code::all().filter(|code| code.info().group.as_str() == name).collect(),
        };
        if members.is_empty() {
            let known = Code::all().map(Code::name).chain(GROUPS.map(Group::as_str));
            let near = nearest(name, known);
            let message = format!("no code or group is called `{name}`");
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                .help(match near.first() {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`mlc codes` lists them".to_owned(),
                })
                .into());
        }
        self.rules.push((level, members));
        Ok(())
    }

    /// The diagnostics with the severities the flags ask for. Errors stay errors.
    #[must_use]
    pub fn apply(&self, diagnostics: Diagnostics) -> Diagnostics {
        diagnostics
            .into_iter()
            .filter_map(|mut diagnostic| {
                if diagnostic.is_error() {
                    return Some(diagnostic);
                }
                let rule = self.rules.iter().rfind(|(_, codes)| codes.contains(&diagnostic.code));
                match rule.map(|(level, _)| level) {
                    Some(Level::Allow) => return None,
                    Some(Level::Warn) => diagnostic.severity = Severity::Warning,
                    Some(Level::Deny) => diagnostic.severity = Severity::Error,
                    None => {}
                }
                Some(diagnostic)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_flag_wins_and_errors_stay() {
        let mut levels = Levels::default();
        levels.add(Level::Deny, "numerics").unwrap();
        levels.add(Level::Allow, "int-narrowing").unwrap();
        let all: Diagnostics =
            [codes::INT_NARROWING, codes::FP16_OVERFLOW_CONST, codes::UNSUPPORTED_OP]
                .map(|code| Diagnostic::new(code, "m"))
                .into_iter()
                .collect();
        let left = levels.apply(all);
        let codes: Vec<_> = left.items().iter().map(|d| (d.code.name(), d.is_error())).collect();
        assert_eq!(codes, [("fp16-overflow-const", true), ("unsupported-op", true)]);
        assert!(levels.add(Level::Warn, "numeric").is_err());
    }
}
