//! How much memory a conversion may take.

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{Op, Program};

/// A limit of memory, in bytes, for what no file backs: pages of mapped inputs are given back as the
/// work goes on, and are not in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cap(Option<u64>);

impl Cap {
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        Self(bytes)
    }

    /// Whether this many bytes more would be too many.
    pub(crate) fn forbids(self, more: u64) -> bool {
        self.0.is_some_and(|cap| own().unwrap_or(0).saturating_add(more) > cap)
    }

    /// Fails if the process holds more than it may, after `stage`.
    pub(crate) fn check(self, stage: &str) -> Result<(), Diagnostics> {
        let (Some(cap), Some(held)) = (self.0, own()) else { return Ok(()) };
        if held <= cap {
            return Ok(());
        }
        Err(exceeded(format!("{stage} takes {}", megabytes(held)), cap))
    }

    /// Fails if writing the constants of `program` would take more than the process may hold.
    pub(crate) fn check_writing(self, program: &Program) -> Result<(), Diagnostics> {
        let Some(cap) = self.0 else { return Ok(()) };
        let mut most = (0, None);
        for (_, function) in program.functions.iter() {
            function.for_each_node(&mut |_, node| {
                let Op::Const(payload) = &function.nodes[node].op else { return };
                let Some(tensor) = program.consts.try_get(payload.value) else { return };
                let needed = tensor.working_memory();
                if needed > most.0 {
                    most = (needed, Some(payload.value));
                }
            });
        }
        let (needed, id) = most;
        let total = own().unwrap_or(0).saturating_add(needed);
        if total <= cap {
            return Ok(());
        }
        let name = id.and_then(|id| program.consts.name(id)).unwrap_or("a constant");
        Err(exceeded(format!("writing `{name}` takes {}", megabytes(total)), cap))
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

fn exceeded(what: String, cap: u64) -> Diagnostics {
    Diagnostic::new(codes::RESOURCE_LIMIT, format!("{what}, {} are allowed", megabytes(cap)))
        .help("allow more with `--max-memory SIZE`")
        .into()
}

/// Bytes that the process holds and no file backs, where the system tells.
fn own() -> Option<u64> {
    status("RssAnon:")
}

/// Most memory that the process has held, in bytes, where the system tells.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
