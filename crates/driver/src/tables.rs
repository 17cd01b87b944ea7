//! The tables behind the tool.

use mlc_diag::{Code, Diagnostic, Diagnostics, codes, nearest};
use mlc_ir::{Arity, AttrKind};
use serde::Serialize;

use crate::Driver;
use crate::rewriting::Rewriting;

/// A row of `mlc codes`.
#[derive(Debug, Clone, Serialize)]
pub struct CodeRow {
    /// The code.
    pub code: &'static str,
    /// Its severity unless a flag changes it.
    pub severity: &'static str,
    /// The exit code of an error of this kind.
    pub exit: u8,
    /// The group it belongs to.
    pub group: &'static str,
    /// The version of `mlc` that has it first.
    pub since: &'static str,
}

/// All codes.
#[must_use]
pub fn codes_table() -> Vec<CodeRow> {
    Code::all()
        .map(|code| {
            let info = code.info();
            CodeRow {
                code: info.name,
                severity: info.severity.as_str(),
                exit: info.exit.code(),
                group: info.group.as_str(),
                since: info.since,
            }
        })
        .collect()
}

/// What a frontend covers: `mlc ops --from torch`.
#[derive(Debug, Clone, Serialize)]
pub struct FrontendReport {
    /// The frontend.
    pub frontend: &'static str,
    /// All ops that have a lowering, other spellings included.
    pub ops: Vec<String>,
    /// How many ops the core opset of the framework has, overloads counted one by one.
    pub core: usize,
    /// How many of them have a lowering.
    pub core_covered: usize,
    /// Those that have none, with their overloads.
    pub core_missing: Vec<String>,
}

impl Driver {
    /// All ops of TensorFlow that can be lowered, in order.
    #[must_use]
    pub fn tensorflow_coverage(&self) -> Vec<&'static str> {
        mlc_tensorflow::lower::covered(self.tensorflow_lowerings())
    }

    /// What the frontend of PyTorch covers.
    #[must_use]
    pub fn torch_coverage(&self) -> FrontendReport {
        let core = self.lowerings().core_coverage();
        let count = |covered: Option<bool>| -> usize {
            let rows = core.iter().filter(|row| covered.is_none_or(|want| want == row.covered));
            rows.map(|row| row.overloads.len()).sum()
        };
        let missing = core.iter().filter(|row| !row.covered);
        FrontendReport {
            frontend: "torch",
            ops: self.lowerings().names().map(str::to_owned).collect(),
            core: count(None),
            core_covered: count(Some(true)),
            core_missing: missing
                .flat_map(|row| {
                    row.overloads.iter().map(move |over| format!("{}.{over}", row.name))
                })
                .collect(),
        }
    }
}

/// A row of `mlc targets`.
#[derive(Debug, Clone, Serialize)]
pub struct TargetRow {
    /// Name that `--target` takes.
    pub name: String,
    /// Specification version of packages for it.
    pub specification: i32,
    /// Name of its op set.
    pub opset: &'static str,
    /// All names that mean the same.
    pub names: Vec<String>,
    /// Ops that appear with it.
    pub new_ops: Vec<&'static str>,
}

/// All targets, oldest first.
#[must_use]
pub fn targets_table() -> Vec<TargetRow> {
    mlc_target::Opset::ALL
        .iter()
        .map(|&opset| TargetRow {
            name: opset.to_string(),
            specification: opset.spec_version(),
            opset: opset.opset_string(),
            names: mlc_target::Target::all()
                .filter(|target| target.opset() == opset)
                .map(|target| target.to_string())
                .collect(),
            new_ops: mlc_target::ops()
                .filter(|op| mlc_target::first_opset(op) == Some(opset))
                .collect(),
        })
        .collect()
}

/// A row of `mlc ops`.
#[derive(Debug, Clone, Serialize)]
pub struct OpRow {
    /// The op.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Operands, as they are written.
    pub operands: Vec<String>,
    /// Attributes, as they are written.
    pub attributes: Vec<String>,
    /// The first Core ML version that has it; none for ops of the source.
    pub since: Option<String>,
    /// Frontends whose lowerings make it.
    pub frontends: Vec<&'static str>,
    /// The meaning.
    pub doc: String,
}

/// Frontends, and the ops that their lowerings make, a line each.
const FRONTENDS: [(&str, &str); 2] =
    [("tensorflow", mlc_tensorflow::lower::MADE), ("torch", mlc_torch::lower::MADE)];

/// The frontends, in order.
pub fn frontends() -> impl Iterator<Item = &'static str> {
    FRONTENDS.iter().map(|(name, _)| *name)
}

/// All ops of the IR.
#[must_use]
pub fn ops_table() -> Vec<OpRow> {
    mlc_ir::ops::specs()
        .map(|spec| OpRow {
            name: spec.name.to_owned(),
            family: spec.family.rsplit("::").next().unwrap_or_default().to_owned(),
            operands: spec
                .operands
                .iter()
                .map(|slot| match slot.arity {
                    Arity::One => slot.name.to_owned(),
                    Arity::Opt => format!("{}?", slot.name),
                    Arity::Many => format!("[{}]", slot.name),
                })
                .collect(),
            attributes: spec
                .attrs
                .iter()
                .map(|attr| {
                    let required = if attr.required { "" } else { "?" };
                    match attr.kind {
                        AttrKind::Word(words) => {
                            format!("{}{required}: {}", attr.name, words.join("|"))
                        }
                        kind => format!("{}{required}: {}", attr.name, kind_name(kind)),
                    }
                })
                .collect(),
            since: mlc_target::first_opset(spec.name).map(|opset| opset.to_string()),
            frontends: FRONTENDS
                .iter()
                .filter(|(_, made)| made.lines().any(|name| name == spec.name))
                .map(|(frontend, _)| *frontend)
                .collect(),
            doc: spec.doc.trim().to_owned(),
        })
        .collect()
}

/// A row of `mlc rules`.
#[derive(Debug, Clone, Serialize)]
pub struct RuleRow {
    /// The rule.
    pub name: String,
    /// Its family.
    pub family: String,
    /// What is equal.
    pub equation: String,
    /// Whether both sides are equal bit for bit.
    pub exact: bool,
    /// The ops it is tried on.
    pub roots: Vec<String>,
    /// Where it comes from: `built-in`, or the file that has it.
    pub origin: String,
}

/// All rewrite rules, in the order in which they are tried; those of files last.
///
/// # Errors
/// What is wrong with a file.
pub fn rules_table(driver: &Driver, rewriting: &Rewriting) -> Result<Vec<RuleRow>, Diagnostics> {
    let rows = driver.rules().iter().flat_map(|family| {
        family.rules.iter().map(|rule| RuleRow {
            name: rule.name.to_owned(),
            family: family.name.to_owned(),
            equation: family.equation(rule.name),
            exact: rule.rounding == mlc_egraph::Rounding::Exact,
            roots: rule.roots.iter().map(|&root| root.to_owned()).collect(),
            origin: "built-in".to_owned(),
        })
    });
    let mut rows: Vec<RuleRow> = rows.collect();
    for file in &rewriting.files {
        let draws = usize::try_from(rewriting.draws()).unwrap_or(0);
        rows.extend(mlc_fuse::load(file, draws)?.iter().map(|rule| RuleRow {
            name: rule.name.to_owned(),
            family: "user".to_owned(),
            equation: "before = after".to_owned(),
            exact: false,
            roots: rule.roots.iter().map(|&root| root.to_owned()).collect(),
            origin: file.display().to_string(),
        }));
    }
    Ok(rows)
}

fn kind_name(kind: AttrKind) -> &'static str {
    match kind {
        AttrKind::Int | AttrKind::OptInt => "int",
        AttrKind::Float | AttrKind::OptFloat => "float",
        AttrKind::Bool | AttrKind::OptBool => "bool",
        AttrKind::Str => "string",
        AttrKind::Ints | AttrKind::OptInts => "[int]",
        AttrKind::Bools => "[bool]",
        AttrKind::Strs => "[string]",
        AttrKind::DType => "dtype",
        AttrKind::Word(_) => "word",
        AttrKind::Const => "constant",
    }
}

/// The page of a code, pass, rule or op.
///
/// # Errors
/// Nothing has that name; the help names what is near.
pub fn explain(driver: &Driver, name: &str) -> Result<String, Diagnostics> {
    if let Some(code) = Code::from_name(name) {
        return Ok(code.info().page.to_owned());
    }
    let passes = driver.passes().list();
    if let Some(pass) = passes.iter().find(|pass| pass.name == name) {
        let mut page = format!("# {}\n\n{}\n\n{}\n", pass.name, pass.summary, pass.doc);
        for option in &pass.options {
            page +=
                &format!("\n- `{}` (default `{}`): {}", option.name, option.default, option.doc);
        }
        return Ok(page.trim_end().to_owned() + "\n");
    }
    let mut rules = driver.rules().iter().flat_map(|f| f.rules.iter().map(move |rule| (f, rule)));
    if let Some((family, rule)) = rules.find(|(_, rule)| rule.name == name) {
        return Ok(family.page(rule));
    }
    let ops = ops_table();
    if let Some(op) = ops.iter().find(|op| op.name == name) {
        return Ok(op_page(op));
    }
    let mut known: Vec<&str> = Code::all().map(|code| code.name()).collect();
    known.extend(passes.iter().map(|p| p.name.as_str()));
    known.extend(driver.rules().iter().flat_map(|f| f.rules.iter().map(|rule| rule.name)));
    known.extend(ops.iter().map(|op| op.name.as_str()));
    let near = nearest(name, known);
    let mut problem = Diagnostic::new(
        codes::BAD_ARGUMENT,
        format!("no code, pass, rule or op is called `{name}`"),
    );
    problem = if near.is_empty() {
        problem.help("`mlc codes`, `mlc passes`, `mlc rules` and `mlc ops` list what there is")
    } else {
        problem.help(format!("did you mean `{}`?", near.join("`, `")))
    };
    Err(problem.into())
}

fn op_page(op: &OpRow) -> String {
    let mut page = format!("# {}\n\n{}\n\n", op.name, op.doc);
    page += &format!("- operands: {}\n", op.operands.join(", "));
    if !op.attributes.is_empty() {
        page += &format!("- attributes: {}\n", op.attributes.join(", "));
    }
    if let Some(since) = &op.since {
        page += &format!("- Core ML: from {since}\n");
    }
    if !op.frontends.is_empty() {
        page += &format!("- made by the lowerings of {}\n", op.frontends.join(", "));
    }
    page
}
