//! `cargo xtask new-op` and `new-pass`: the files of a new op or pass, to be filled in.
//!
//! The templates in `templates/` are plain text with `{{name}}` places.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Result};
use crate::workspace;

const OP: &str = include_str!("../templates/op.rs.txt");
const OP_FIXTURE: &str = include_str!("../templates/op.mlc.txt");
const PASS: &str = include_str!("../templates/pass.rs.txt");
const PASS_FIXTURE: &str = include_str!("../templates/pass.mlc.txt");

#[derive(Debug, clap::Args)]
pub(crate) struct OpArgs {
    /// File of crates/ir/src/ops, without `.rs`
    family: String,
    /// Name of the op, such as `reduce_sum`
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PassArgs {
    /// Folder of passes/
    #[arg(value_name = "CRATE")]
    owner: String,
    /// Name of the pass, such as `fuse-gelu`
    name: String,
}

pub(crate) fn new_op(args: &OpArgs) -> Result<()> {
    let written = write_op(&workspace::root(), args)?;
    report(&written);
    let (family, payload) = (&args.family, camel(&args.name));
    println!("then: crates/ir/src/ops/mod.rs, `{payload}` in the list `{family}` of `op_enum!`");
    println!(
        "      `cargo check --workspace` names the matches in eval and coreml that need an arm"
    );
    Ok(())
}

pub(crate) fn new_pass(args: &PassArgs) -> Result<()> {
    let written = write_pass(&workspace::root(), args)?;
    report(&written);
    println!("then: passes/{}/src/lib.rs, add it to the list of passes", args.owner);
    println!(
        "      fill in the blocks and the fixture, then `cargo xtask bless` and read the diff"
    );
    Ok(())
}

fn report(written: &[PathBuf]) {
    let root = workspace::root();
    for path in written {
        println!("wrote {}", path.strip_prefix(&root).unwrap_or(path).display());
    }
}

fn write_op(root: &Path, args: &OpArgs) -> Result<Vec<PathBuf>> {
    check_name(&args.name, '_')?;
    let folder = root.join("crates/ir/src/ops");
    let family = folder.join(format!("{}.rs", args.family));
    let text = match fs::read_to_string(&family) {
        Ok(text) => text,
        Err(_) => return Err(unknown("family", &args.family, &stems(&folder)?)),
    };
    if text.contains(&format!("\"{}\" =", args.name)) {
        return Err(Failure::new(format!("{} has `{}` already", family.display(), args.name)));
    }
    let fixture = new_file(root.join("testdata/ir").join(format!("{}.mlc", args.name)))?;
    write(&fixture, &fill(OP_FIXTURE, &args.name))?;
    write(&family, &before_tests(&text, &fill(OP, &args.name)))?;
    Ok(vec![family, fixture])
}

fn write_pass(root: &Path, args: &PassArgs) -> Result<Vec<PathBuf>> {
    check_name(&args.name, '-')?;
    let library = root.join("passes").join(&args.owner).join("src/lib.rs");
    let text = match fs::read_to_string(&library) {
        Ok(text) => text,
        Err(_) => return Err(unknown("crate", &args.owner, &stems(&root.join("passes"))?)),
    };
    let module = args.name.replace('-', "_");
    let source = new_file(library.with_file_name(format!("{module}.rs")))?;
    let fixtures = root.join("testdata/passes").join(&args.name);
    let fixture = new_file(fixtures.join("basic.mlc"))?;
    write(&source, &fill(PASS, &args.name))?;
    write(&fixture, &fill(PASS_FIXTURE, &args.name))?;
    write(&library, &with_module(&text, &module, &camel(&args.name)))?;
    Ok(vec![source, fixture, library])
}

/// Small letters and digits in words joined by `joint`.
fn check_name(name: &str, joint: char) -> Result<()> {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    match name.split(joint).all(word) {
        true => Ok(()),
        false => Err(Failure::new(format!("`{name}`: words of a-z and 0-9 joined by `{joint}`"))),
    }
}

fn unknown(what: &str, name: &str, known: &[String]) -> Failure {
    Failure::new(format!("no {what} `{name}`; there are: {}", known.join(", ")))
}

fn stems(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.retain(|name| name != "mod");
    names.sort();
    Ok(names)
}

fn new_file(path: PathBuf) -> Result<PathBuf> {
    match path.exists() {
        true => Err(Failure::new(format!("{} exists", path.display()))),
        false => Ok(path),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).at(folder)?;
    }
    fs::write(path, text).at(path)
}

fn fill(template: &str, name: &str) -> String {
    template
        .replace("{{name}}", name)
        .replace("{{snake}}", &name.replace('-', "_"))
        .replace("{{Camel}}", &camel(name))
}

fn camel(name: &str) -> String {
    let words = name.split(['-', '_']).map(|word| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars)
    });
    words.flatten().collect()
}

/// `entry` at the end of the code, before the test module if there is one.
fn before_tests(text: &str, entry: &str) -> String {
    let at = text.find("#[cfg(test)]").unwrap_or(text.len());
    let (code, tests) = text.split_at(at);
    let joint = if tests.is_empty() { "" } else { "\n" };
    format!("{}\n\n{entry}{joint}{tests}", code.trim_end())
}

/// `library` with `mod module;` and `pub use` of the pass, each after the last of its kind, or at the
/// end where there is none.
fn with_module(library: &str, module: &str, pass: &str) -> String {
    let mut lines: Vec<String> = library.lines().map(str::to_owned).collect();
    for (start, line) in
        [("mod ", format!("mod {module};")), ("pub use ", format!("pub use {module}::{pass};"))]
    {
        let last = lines.iter().rposition(|line| line.starts_with(start) && line.ends_with(';'));
        match last {
            Some(last) => lines.insert(last + 1, line),
            None => lines.extend([String::new(), line]),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: [&str; 2]) -> (String, String) {
        (names[0].to_owned(), names[1].to_owned())
    }

    #[test]
    fn names_are_checked_and_bent() {
        assert!(check_name("fuse-gelu2", '-').is_ok());
        for name in ["", "Fuse", "fuse_gelu", "fuse--gelu", "-a", "2d", "../x"] {
            assert!(check_name(name, '-').is_err(), "{name}");
        }
        assert_eq!(camel("fuse-gelu2"), "FuseGelu2");
        assert_eq!(camel("reduce_sum"), "ReduceSum");
    }

    #[test]
    fn a_pass_is_written_once_and_registered() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join("passes/fuse/src/lib.rs");
        write(&library, "//! Fusions.\n\nmod gelu;\n\npub use gelu::Gelu;\n").unwrap();
        let (owner, name) = owned(["fuse", "fuse-silu"]);
        let args = PassArgs { owner, name };
        let written = write_pass(root.path(), &args).unwrap();
        assert!(written.iter().all(|path| path.is_file()));
        let library = fs::read_to_string(&library).unwrap();
        assert!(library.contains("mod gelu;\nmod fuse_silu;\n"), "{library}");
        assert!(library.contains("pub use fuse_silu::FuseSilu;\n"), "{library}");
        let pass = fs::read_to_string(&written[0]).unwrap();
        assert!(pass.contains("\"fuse-silu\"") && !pass.contains("{{"), "{pass}");
        assert!(write_pass(root.path(), &args).is_err());
        let (owner, name) = owned(["none", "x"]);
        let failure = write_pass(root.path(), &PassArgs { owner, name }).unwrap_err();
        assert!(failure.to_string().contains("fuse"), "{failure}");
    }

    #[test]
    fn an_op_is_appended_before_the_tests() {
        let root = tempfile::tempdir().unwrap();
        let family = root.path().join("crates/ir/src/ops/reduce.rs");
        write(&family, "//! Reductions.\n\n#[cfg(test)]\nmod tests {}\n").unwrap();
        let (family_name, name) = owned(["reduce", "reduce_sum"]);
        let args = OpArgs { family: family_name, name };
        write_op(root.path(), &args).unwrap();
        let text = fs::read_to_string(&family).unwrap();
        let (op, tests) = (text.find("\"reduce_sum\" = ReduceSum"), text.find("#[cfg(test)]"));
        assert!(op.is_some() && op < tests, "{text}");
        assert!(write_op(root.path(), &args).is_err());
    }
}
