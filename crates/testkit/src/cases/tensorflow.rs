//! Cases of TensorFlow.

use std::path::Path;

use serde_json::Value as Json;

use super::collect::{Case, Judged, json, list, text};
use super::compare::Rule;

/// Each form of each model.
pub(super) fn models(root: &Path, kinds: &[String]) -> Vec<Case> {
    let mut folders: Vec<_> = std::fs::read_dir(root.join("tf_models"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    let mut cases = Vec::new();
    for folder in folders {
        let about = json(&folder.join("meta.json"));
        let name = text(&about["name"]);
        for (form, signature) in about["signatures"].as_object().into_iter().flatten() {
            if !kinds.iter().any(|kind| kind == form) {
                continue;
            }
            let frozen = form.ends_with(".pb");
            let positions = |key: &str| -> Vec<usize> {
                let one = |item: &Json| item["io"].as_u64().and_then(|n| usize::try_from(n).ok());
                list(&signature[key]).filter_map(one).collect()
            };
            let tensors = |key: &str| list(&signature[key]).map(|item| text(&item["tensor"]));
            cases.push(Case {
                id: format!("tf_models/{name}/{form}"),
                name: name.clone(),
                family: format!("{}/{name}", text(&about["group"])),
                ops: about["ops"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(op, _)| op.clone())
                    .collect(),
                file: folder.join(form),
                references: vec![folder.join("io.safetensors")],
                rule: Rule::Model { single: 0.0, half: 0.0 },
                judged: Judged::Numbers,
                dynamic: Vec::new(),
                signature: signature["signature"].as_str().map(str::to_owned),
                outputs: if frozen { tensors("outputs").collect() } else { Vec::new() },
                order: (positions("inputs"), positions("outputs")),
            });
        }
    }
    cases
}

/// Each op case.
pub(super) fn ops(root: &Path, kinds: &[String]) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in list(&json(&root.join("tf_ops/index.json"))["cases"]) {
        let directory = text(&entry["dir"]);
        let folder = root.join("tf_ops").join(&directory);
        let files = &entry["files"];
        let alternative = entry["verified"].as_object().is_none_or(|all| {
            all.iter().filter(|(key, _)| key.ends_with("_alt")).all(|(_, ok)| *ok == true)
        });
        let io_alt = folder.join("io_alt.safetensors");
        for key in ["pb", "saved_model"] {
            let Some(file) = files[key].as_str() else { continue };
            if !kinds.iter().any(|wanted| wanted == file) {
                continue;
            }
            let mut references = vec![folder.join("io.safetensors")];
            if alternative && io_alt.is_file() {
                references.push(io_alt.clone());
            }
            let judged = match (entry["complex_io"] == true, entry["deterministic"] == false) {
                (true, _) => Judged::Conversion,
                (_, true) => Judged::Shapes,
                _ => Judged::Numbers,
            };
            let outputs = match key {
                "pb" => list(&json(&folder.join("case.json"))["outputs"])
                    .map(|output| text(&output["tensor"]))
                    .collect(),
                _ => Vec::new(),
            };
            cases.push(Case {
                id: format!("tf_ops/{directory}/{file}"),
                name: text(&entry["id"]),
                family: text(&entry["family"]),
                ops: list(&entry["ops"]).map(text).collect(),
                file: folder.join(file),
                references,
                rule: Rule::Op,
                judged,
                dynamic: Vec::new(),
                signature: None,
                outputs,
                order: Default::default(),
            });
        }
    }
    cases
}
