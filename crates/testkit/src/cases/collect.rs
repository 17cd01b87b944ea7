//! Finds the cases of a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mlc_driver::AxisRequest;
use mlc_ir::SymbolRange;

use serde_json::Value as Json;

use super::compare::Rule;
use super::tensorflow;

/// What the references of a case are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Every number is compared.
    Numbers,
    /// Shapes and element types alone: the op draws random numbers.
    Shapes,
    /// Conversion alone: PyTorch itself does not reproduce the references from the file, or they are
    /// complex numbers.
    Conversion,
}

/// A file and its references.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its path below the folder, without the file where there is one only.
    pub id: String,
    /// The model, or the op case.
    pub name: String,
    /// The family it is counted with.
    pub family: String,
    /// Ops in it.
    pub ops: Vec<String>,
    /// The model file.
    pub file: PathBuf,
    /// Files with calls.
    pub references: Vec<PathBuf>,
    /// When a result agrees.
    pub rule: Rule,
    /// What is compared.
    pub judged: Judged,
    /// The axes of each input that may vary, in order of the inputs; for files that do not say so
    /// themselves.
    pub dynamic: Vec<BTreeMap<usize, AxisRequest>>,
    /// The signature that is converted, of a SavedModel.
    pub signature: Option<String>,
    /// The tensors that are outputs; all of the file if empty.
    pub outputs: Vec<String>,
    /// For each input and output of the program, its number in the references; as they come if empty.
    pub order: (Vec<usize>, Vec<usize>),
}

impl Case {
    /// Whether it is one of a model.
    #[must_use]
    pub fn is_model(&self) -> bool {
        matches!(self.rule, Rule::Model { .. })
    }
}

/// Which cases are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A part of the id, the name or an op; any, if several; all, if none.
    pub filters: Vec<String>,
    /// A family; any, if several; all, if none.
    pub families: Vec<String>,
    /// Names of model files.
    pub kinds: Vec<String>,
}

impl Wanted {
    /// Whether every case of the folder is wanted.
    #[must_use]
    pub fn all(&self) -> bool {
        self.filters.is_empty() && self.families.is_empty()
    }

    fn takes(&self, case: &Case) -> bool {
        let part = |filter: &String| {
            case.id.contains(filter.as_str())
                || case.name.contains(filter.as_str())
                || case.ops.iter().any(|op| {
                    op.strip_prefix(filter.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
        };
        let family = |family: &String| {
            case.family == *family || case.family.starts_with(&format!("{family}/"))
        };
        (self.filters.is_empty() || self.filters.iter().any(part))
            && (self.families.is_empty() || self.families.iter().any(family))
    }
}

/// The wanted cases of the folder `root`: its `models/index.json`, `torch_ops/index.json`, `tf_models/`
/// and `tf_ops/index.json`, or else every folder in it with a model file and `io.safetensors`.
#[must_use]
pub fn collect(root: &Path, wanted: &Wanted) -> Vec<Case> {
    let mut cases = models(root, &wanted.kinds);
    cases.extend(ops(root, &wanted.kinds));
    cases.extend(tensorflow::models(root, &wanted.kinds));
    cases.extend(tensorflow::ops(root, &wanted.kinds));
    cases.extend(plain(root, &wanted.kinds));
    cases.retain(|case| wanted.takes(case));
    cases
}

pub(super) fn json(path: &Path) -> Json {
    let bytes = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

pub(super) fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

pub(super) fn list(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

/// Each file of each model.
fn models(root: &Path, kinds: &[String]) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in list(&json(&root.join("models/index.json"))["models"]) {
        let name = text(&entry["name"]);
        let folder = root.join("models").join(&name);
        let about = json(&folder.join("case.json"));
        let error = |key: &str| about[key].as_f64().unwrap_or(0.0);
        for file in list(&entry["files"]).map(text) {
            let base = file.rsplit('/').next().unwrap_or_default();
            if !kinds.iter().any(|kind| kind == base) {
                continue;
            }
            let details = &about["files"][&file];
            let io = details["io"].as_str().unwrap_or("io.safetensors");
            let reproduced = details["verified"] == true;
            cases.push(Case {
                id: format!("models/{name}/{file}"),
                name: name.clone(),
                family: format!("{}/{name}", text(&entry["family"])),
                ops: details["ops"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(op, _)| op.clone())
                    .collect(),
                file: folder.join(&file),
                references: vec![folder.join(io)],
                rule: Rule::Model { single: error("fp32_error"), half: error("fp16_error") },
                judged: if reproduced { Judged::Numbers } else { Judged::Conversion },
                dynamic: dynamic(&about),
                signature: None,
                outputs: Vec::new(),
                order: Default::default(),
            });
        }
    }
    cases
}

/// The axes of each input that may vary.
fn dynamic(about: &Json) -> Vec<BTreeMap<usize, AxisRequest>> {
    list(&about["inputs"])
        .map(|input| named_axes(&about["dynamic"][text(&input["name"])]))
        .collect()
}

/// Axes by number: a dimension, `h` or a multiple such as `4*h`, and the bounds of the extent.
fn named_axes(input: &Json) -> BTreeMap<usize, AxisRequest> {
    let axis = |(axis, about): (&String, &Json)| {
        let dimension = text(&about[0]);
        let (step, symbol) = match dimension.split_once('*') {
            Some((step, name)) => (step.trim().parse().ok()?, name.trim().to_owned()),
            None => (1, dimension.clone()),
        };
        let range = SymbolRange { min: about[1].as_i64()?, max: about[2].as_i64() };
        Some((axis.parse().ok()?, AxisRequest { symbol, range, step }))
    };
    input.as_object().into_iter().flatten().filter_map(axis).collect()
}

/// The extents of an input that are symbols.
fn axes(input: &Json) -> BTreeMap<usize, AxisRequest> {
    let axis = |(axis, about): (usize, &Json)| {
        let symbol = about["sym"].as_str()?.to_owned();
        let range =
            SymbolRange { min: about["min"].as_i64().unwrap_or(0), max: about["max"].as_i64() };
        Some((axis, AxisRequest { symbol, range, step: 1 }))
    };
    list(&input["shape"]).enumerate().filter_map(axis).collect()
}

/// Each op case that has a file of a wanted kind.
fn ops(root: &Path, kinds: &[String]) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in list(&json(&root.join("torch_ops/index.json"))["cases"]) {
        let directory = text(&entry["dir"]);
        let folder = root.join("torch_ops").join(&directory);
        for (key, kind) in [("pt2", "model.pt2"), ("pt", "model.pt")] {
            if entry["files"][key] != kind || !kinds.iter().any(|wanted| wanted == kind) {
                continue;
            }
            let reproduced = entry["verified"][key] == true;
            let mut references = vec![folder.join("io.safetensors")];
            if entry["files"]["io_alt"].is_string()
                && entry["verified"][format!("{key}_alt")] == true
            {
                references.push(folder.join("io_alt.safetensors"));
            }
            let judged = match (entry["complex_io"] == true, entry["deterministic"] == false) {
                (true, _) => Judged::Conversion,
                _ if !reproduced => Judged::Conversion,
                (_, true) => Judged::Shapes,
                _ => Judged::Numbers,
            };
            cases.push(Case {
                id: format!("torch_ops/{directory}/{kind}"),
                name: text(&entry["id"]),
                family: text(&entry["family"]),
                ops: list(&entry["ops"]).map(text).collect(),
                file: folder.join(kind),
                references,
                rule: Rule::Op,
                judged,
                dynamic: list(&json(&folder.join("case.json"))["inputs"]).map(axes).collect(),
                signature: None,
                outputs: Vec::new(),
                order: Default::default(),
            });
        }
    }
    cases
}

/// Folders without an index.
fn plain(root: &Path, kinds: &[String]) -> Vec<Case> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let mut cases = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for kind in kinds {
            let (file, io) = (folder.join(kind), folder.join("io.safetensors"));
            if !file.is_file() || !io.is_file() {
                continue;
            }
            let more = folder.join("io_alt.safetensors");
            cases.push(Case {
                id: format!("{name}/{kind}"),
                name: name.clone(),
                family: "other".to_owned(),
                ops: Vec::new(),
                file,
                references: [io, more].into_iter().filter(|path| path.is_file()).collect(),
                rule: Rule::Op,
                judged: Judged::Numbers,
                dynamic: dynamic(&json(&folder.join("case.json"))),
                signature: None,
                outputs: Vec::new(),
                order: Default::default(),
            });
        }
    }
    cases
}
