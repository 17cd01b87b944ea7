//! Runs `mlc` in a folder of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mlc_testkit::archive_builder::{Call, Graph};
use serde_json::Value;
use tempfile::TempDir;

/// A folder that `mlc` runs in.
pub(crate) struct Folder {
    temporary: TempDir,
}

/// What a run came to.
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: i32,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr, with the folder written as `[dir]`.
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { temporary: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// A command with the folder as working directory and nothing of the environment that it heeds.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlc"));
        command.args(args).current_dir(self.temporary.path());
        command.env_remove("NO_COLOR").env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.finish(self.command(args), b"")
    }

    /// Runs a line of arguments without quotes.
    pub(crate) fn line(&self, line: &str) -> Ran {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn pipe(&self, args: &[&str], stdin: &str) -> Ran {
        self.finish(self.command(args), stdin.as_bytes())
    }

    pub(crate) fn finish(&self, mut command: Command, stdin: &[u8]) -> Ran {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing closes its end, which is no fault of the test.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        let folder = self.temporary.path().to_string_lossy().into_owned();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr).replace(&folder, "[dir]"),
        }
    }

    /// Runs a line that must fail with `code` and leave every file as it was. Gives what is printed,
    /// with the command above it.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, line: &str) -> String {
        let before = tree(self.temporary.path());
        let ran = self.line(line);
        assert_eq!(ran.code, code, "mlc {line}\n{}", ran.stderr);
        assert_eq!(ran.stdout, "", "mlc {line}");
        assert!(tree(self.temporary.path()) == before, "mlc {line} changed files");
        format!("$ mlc {line}\n{}", ran.stderr)
    }

    /// All files below `name` with their bytes.
    pub(crate) fn tree(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        tree(&self.path(name))
    }
}

impl Ran {
    /// The same, after a check that all went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// The JSON document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {}", self.stdout))
    }
}

/// All files below `root` with their bytes; folders have none.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut work = vec![root.to_path_buf()];
    while let Some(folder) = work.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let shown = path.strip_prefix(root).unwrap().to_path_buf();
            let bytes = if path.is_dir() {
                work.push(path);
                Vec::new()
            } else {
                std::fs::read(&path).unwrap()
            };
            found.insert(shown, bytes);
        }
    }
    found
}

/// `relu(linear(x, fc.weight, fc.bias))` on `x` of 2x3.
pub(crate) fn linear() -> Graph {
    let mut graph = Graph::new();
    let weight = (0..12).map(|i| (i as f32 - 5.0) / 8.0).collect();
    graph
        .weight("p_fc_weight", "fc.weight", &[4, 3], weight)
        .weight("p_fc_bias", "fc.bias", &[4], vec![0.5, -0.25, 0.0, 1.0])
        .input("x", &[2, 3])
        .call(
            Call::new("aten.linear.default", "linear", &[2, 4])
                .tensor("input", "x")
                .tensor("weight", "p_fc_weight")
                .tensor("bias", "p_fc_bias")
                .at("fc", "net.py", 7),
        )
        .call(
            Call::new("aten.relu.default", "relu", &[2, 4])
                .tensor("self", "linear")
                .at("act", "net.py", 8),
        )
        .output("relu");
    graph
}

/// A small program as text.
pub(crate) const TEXT: &str = "func @main(%x: tensor<2x3xf32>) -> (y: tensor<2x3xf32>) {
  %1 = mul %x, 2.0
  %2 = mul %x, 2.0
  %3 = add %1, %2
  %y = identity %3
  return %y
}
";
