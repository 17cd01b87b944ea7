//! The table of codes: one row each, with its severity, exit class, group and page.

use std::fmt;

use crate::diagnostic::{ExitClass, Group, Severity};

/// The row of a code.
#[derive(Debug)]
pub struct CodeInfo {
    /// Name in kebab-case.
    pub name: &'static str,
    /// Severity unless a flag changes it.
    pub severity: Severity,
    /// What the process exits with when it is an error.
    pub exit: ExitClass,
    /// Group that `-A`, `-W` and `-D` may name.
    pub group: Group,
    /// Version of `mlc` that has it first.
    pub since: &'static str,
    /// The explanation page, Markdown.
    pub page: &'static str,
}

/// Names one kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// The row of this code.
    #[must_use]
    pub fn info(self) -> &'static CodeInfo {
        &CODES[usize::from(self.0)]
    }

    /// Name in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let at = CODES.iter().position(|row| row.name == name)?;
        u16::try_from(at).ok().map(Self)
    }

    /// All codes, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CODES.len()).filter_map(|at| u16::try_from(at).ok().map(Self))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! codes {
    ($($konst:ident = $name:literal, $severity:ident, $exit:ident, $group:ident, $since:literal;)*) => {
        /// Every code.
        pub static CODES: &[CodeInfo] = &[$(CodeInfo {
            name: $name,
            severity: Severity::$severity,
            exit: ExitClass::$exit,
            group: Group::$group,
            since: $since,
            page: include_str!(concat!("pages/", $name, ".md")),
        }),*];
        codes!(@consts 0u16; $($konst $name)*);
    };
    (@consts $at:expr; $konst:ident $name:literal $($rest:tt)*) => {
        #[doc = concat!("`", $name, "`")]
        pub const $konst: Code = Code($at);
        codes!(@consts $at + 1; $($rest)*);
    };
    (@consts $at:expr;) => {};
}

codes! {
    // Usage.
    BAD_ARGUMENT = "bad-argument", Error, Usage, Input, "0.1.0";
    UNKNOWN_PASS = "unknown-pass", Error, Usage, Input, "0.1.0";
    UNKNOWN_OPTION = "unknown-option", Error, Usage, Input, "0.1.0";
    UNKNOWN_TARGET = "unknown-target", Error, Usage, Input, "0.1.0";
    BAD_PIPELINE = "bad-pipeline", Error, Usage, Input, "0.1.0";
    SHAPE_REQUEST = "shape-request", Error, Usage, Input, "0.1.0";
    OUTPUT_EXISTS = "output-exists", Error, Usage, Input, "0.1.0";
    // Input and output files.
    FILE_NOT_FOUND = "file-not-found", Error, Input, Input, "0.1.0";
    UNKNOWN_FORMAT = "unknown-format", Error, Input, Input, "0.1.0";
    CORRUPT_ARCHIVE = "corrupt-archive", Error, Input, Input, "0.1.0";
    CORRUPT_WEIGHTS = "corrupt-weights", Error, Input, Input, "0.1.0";
    CORRUPT_PACKAGE = "corrupt-package", Error, Input, Input, "0.1.0";
    CORRUPT_MANIFEST = "corrupt-manifest", Error, Input, Input, "0.1.0";
    CORRUPT_PROTOBUF = "corrupt-protobuf", Error, Input, Input, "0.1.0";
    DUPLICATE_NAME = "duplicate-name", Error, Input, Input, "0.1.0";
    UNSUPPORTED_SCHEMA = "unsupported-schema", Error, Input, Input, "0.1.0";
    INVALID_GRAPH = "invalid-graph", Error, Input, Input, "0.1.0";
    SYNTAX = "syntax", Error, Input, Input, "0.1.0";
    UNKNOWN_OP = "unknown-op", Error, Input, Input, "0.1.0";
    UNKNOWN_VALUE = "unknown-value", Error, Input, Input, "0.1.0";
    NOT_WRITABLE = "not-writable", Error, Input, Input, "0.1.0";
    // Types and structure of the IR.
    SHAPE_MISMATCH = "shape-mismatch", Error, Input, Semantics, "0.1.0";
    TYPE_MISMATCH = "type-mismatch", Error, Input, Semantics, "0.1.0";
    BAD_ATTRIBUTE = "bad-attribute", Error, Input, Semantics, "0.1.0";
    BAD_RULE = "bad-rule", Error, Input, Semantics, "0.1.0";
    UNSOUND_RULE = "unsound-rule", Error, Input, Semantics, "0.1.0";
    INVALID_IR = "invalid-ir", Error, Input, Semantics, "0.1.0";
    // Semantics without an exact lowering.
    UNSUPPORTED_OP = "unsupported-op", Error, Unsupported, Semantics, "0.1.0";
    UNSUPPORTED_ARGUMENT = "unsupported-argument", Error, Unsupported, Semantics, "0.1.0";
    UNSUPPORTED_DTYPE = "unsupported-dtype", Error, Unsupported, Semantics, "0.1.0";
    UNREAD_ARGUMENT = "unread-argument", Error, Unsupported, Semantics, "0.1.0";
    UNSUPPORTED_SIGNATURE = "unsupported-signature", Error, Unsupported, Semantics, "0.1.0";
    MISSING_SHAPE = "missing-shape", Error, Input, Semantics, "0.1.0";
    DYNAMIC_SHAPE = "dynamic-shape", Error, Unsupported, Semantics, "0.1.0";
    // Targets.
    TARGET_TOO_OLD = "target-too-old", Error, Target, Target, "0.1.0";
    RANK_LIMIT = "rank-limit", Error, Target, Target, "0.1.0";
    STATE_DTYPE = "state-dtype", Error, Target, State, "0.1.0";
    // States.
    STATE_INITIAL_VALUE = "state-initial-value", Warning, No, State, "0.1.0";
    STATE_NARROWING = "state-narrowing", Warning, No, Numerics, "0.1.0";
    INPUT_MUTATION = "input-mutation", Warning, No, State, "0.1.0";
    UNUSED_STATE = "unused-state", Note, No, State, "0.1.0";
    // Numbers.
    INT_NARROWING = "int-narrowing", Warning, No, Numerics, "0.1.0";
    FP16_OVERFLOW_CONST = "fp16-overflow-const", Warning, No, Numerics, "0.1.0";
    FP16_RANGE = "fp16-range", Note, No, Numerics, "0.1.0";
    VERIFY_MISMATCH = "verify-mismatch", Error, No, Numerics, "0.1.0";
    VERIFY_SKIPPED = "verify-skipped", Note, No, Numerics, "0.1.0";
    EVALUATION = "evaluation", Error, No, Numerics, "0.1.0";
    // Package.
    UNBOUNDED_EXTENT = "unbounded-extent", Warning, No, Package, "0.1.0";
    RENAMED_FEATURE = "renamed-feature", Note, No, Package, "0.1.0";
    FP32_IO = "fp32-io", Note, No, Package, "0.1.0";
    // Resources and ourselves.
    DISK_FULL = "disk-full", Error, Resource, Input, "0.1.0";
    RESOURCE_LIMIT = "resource-limit", Error, Resource, Input, "0.1.0";
    INTERNAL = "internal", Error, Internal, Input, "0.1.0";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_have_a_page() {
        for code in Code::all() {
            let row = code.info();
            assert!(
                row.name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit())
            );
            assert_eq!(Code::from_name(row.name), Some(code));
            assert!(row.page.len() > 80, "page of {} is empty", row.name);
        }
    }
}
