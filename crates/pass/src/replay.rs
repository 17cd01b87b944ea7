//! Reproducers: a folder from which a failure can be repeated.

use std::fs;
use std::path::{Path, PathBuf};

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use serde::{Deserialize, Serialize};

const SCHEMA: &str = "mlc.replay/1";
const INPUT: &str = "input.mlc";
const RECORD: &str = "replay.json";

/// A failure that can be repeated: the program as it was before the pass that failed, the pipeline
/// from there, and the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The program, as text.
    pub input: String,
    /// The pass that failed, with its options.
    pub pipeline: String,
    /// The whole pipeline it stood in.
    pub whole: String,
    /// The seed.
    pub seed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema: String,
    version: String,
    pipeline: String,
    whole: String,
    seed: u64,
}

impl Replay {
    /// Writes the folder, making it if need be, and gives its path.
    ///
    /// # Errors
    /// `not-writable`.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Diagnostics> {
        let record = Record {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pipeline: self.pipeline.clone(),
            whole: self.whole.clone(),
            seed: self.seed,
        };
        let failed = |error: &dyn std::fmt::Display| {
            let message = format!("reproducer: {error}");
            Diagnostics::from(Diagnostic::new(codes::NOT_WRITABLE, message).at(place(folder)))
        };
        let json = serde_json::to_string_pretty(&record).map_err(|e| failed(&e))?;
        fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        fs::write(folder.join(INPUT), &self.input).map_err(|e| failed(&e))?;
        fs::write(folder.join(RECORD), json + "\n").map_err(|e| failed(&e))?;
        Ok(folder.to_owned())
    }

    /// Reads a folder that [`Replay::write`] made.
    ///
    /// # Errors
    /// `file-not-found`, or `unknown-format` where the record is another one's.
    pub fn read(folder: &Path) -> Result<Self, Diagnostics> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| {
                let error = Diagnostic::new(codes::FILE_NOT_FOUND, error.to_string());
                Diagnostics::from(error.at(place(&path)))
            })
        };
        let wrong = |why: String| {
            let error = Diagnostic::new(codes::UNKNOWN_FORMAT, why);
            Diagnostics::from(error.at(place(&folder.join(RECORD))))
        };
        let record: Record =
            serde_json::from_str(&text(RECORD)?).map_err(|e| wrong(format!("no record: {e}")))?;
        if record.schema != SCHEMA {
            return Err(wrong(format!("schema `{}`, `{SCHEMA}` is read here", record.schema)));
        }
        Ok(Self {
            input: text(INPUT)?,
            pipeline: record.pipeline,
            whole: record.whole,
            seed: record.seed,
        })
    }
}

fn place(path: &Path) -> Place {
    Place::Entry { file: path.display().to_string().into(), entry: "".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let replay = Replay {
            input: "func @main() {}".into(),
            pipeline: "fold{budget=3}".into(),
            whole: "cse,fold{budget=3}".into(),
            seed: u64::MAX,
        };
        let path = replay.write(&dir.path().join("a/b")).unwrap();
        assert_eq!(Replay::read(&path).unwrap(), replay);
        assert_eq!(Replay::read(dir.path()).unwrap_err().items()[0].code, codes::FILE_NOT_FOUND);
        fs::write(path.join(RECORD), "{}").unwrap();
        assert_eq!(Replay::read(&path).unwrap_err().items()[0].code, codes::UNKNOWN_FORMAT);
    }
}
