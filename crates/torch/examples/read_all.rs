//! Reads every `.pt2` below a folder and prints one line each: what it holds, or why not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mlc_torch::graph::{Arg, ExportedProgram, Graph, InputKind};

fn main() {
    let Some(root) = std::env::args().nth(1) else {
        eprintln!("usage: read_all FOLDER");
        std::process::exit(2);
    };
    let mut files = Vec::new();
    collect(Path::new(&root), &mut files);
    files.sort();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut read, mut slowest) = (0, (0u128, PathBuf::new()));
    for file in &files {
        let start = Instant::now();
        let result = mlc_torch::read(file);
        let micros = start.elapsed().as_micros();
        if micros > slowest.0 {
            slowest = (micros, file.clone());
        }
        match result {
            Ok(program) => {
                read += 1;
                println!("ok    {} {} in {micros} us", file.display(), summary(&program));
            }
            Err(diagnostics) => {
                for diagnostic in diagnostics {
                    println!("error {}\n{diagnostic}", file.display());
                    *reasons.entry(diagnostic.code.to_string()).or_default() += 1;
                }
            }
        }
    }
    println!(
        "{read} of {} files read; slowest {} us ({})",
        files.len(),
        slowest.0,
        slowest.1.display()
    );
    for (reason, count) in reasons {
        println!("{count:6} {reason}");
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "pt2") {
            files.push(path);
        }
    }
}

fn summary(program: &ExportedProgram) -> String {
    let count = |f: fn(&InputKind) -> bool| program.inputs.iter().filter(|i| f(&i.kind)).count();
    let parameters = count(|kind| matches!(kind, InputKind::Parameter(_)));
    let buffers = count(|kind| matches!(kind, InputKind::Buffer { .. }));
    let constants = count(|kind| matches!(kind, InputKind::Constant(_)));
    let users: Vec<&str> = program
        .inputs
        .iter()
        .filter(|input| input.kind == InputKind::User)
        .map(|input| input.name.as_str())
        .collect();
    let (nodes, graphs) = size(&program.graph);
    format!(
        "{:?} {}.{}: {nodes} nodes, {graphs} sub-graphs, {parameters}+{buffers}+{constants} tensors, inputs {}, {} outputs",
        program.dialect,
        program.schema.0,
        program.schema.1,
        users.join(" "),
        program.outputs.len(),
    )
}

fn size(graph: &Graph) -> (usize, usize) {
    let (mut nodes, mut graphs) = (graph.nodes.len(), 0);
    for (_, arg) in graph.nodes.iter().flat_map(|node| &node.args) {
        if let Arg::Graph { graph, .. } = arg {
            let (inner, deeper) = size(graph);
            nodes += inner;
            graphs += deeper + 1;
        }
    }
    (nodes, graphs)
}
