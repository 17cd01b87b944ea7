//! Lowers every exported program of a folder of cases, evaluates it, and compares with what PyTorch
//! computed. Prints the failures, grouped by what went wrong first.
//!
//! `eval_cases [--root FOLDER] [--verbose] [FILTER…]`: a filter is a family, an op (`aten.conv2d`) or
//! a part of a case's name; several are alternatives. A folder holds `torch_ops/index.json` and
//! `models/index.json`, or folders with `model.pt2` and `io.safetensors` each.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mlc_eval::{Array, EvalValue, Evaluator, States};
use mlc_ir::ParamKind;
use mlc_tensor::{DType, Tensor};
use mlc_torch::graph::InputKind;
use safetensors::SafeTensors;
use serde_json::Value as Json;

/// How far a result may be off.
#[derive(Clone, Copy)]
enum Tolerance {
    /// `1e-3 · (|b| + max(rms(b), 1e-3))`
    Op,
    /// `1e-4 · max(max |b|, 1e-3) + 20 · error`
    Model(f64),
}

struct Case {
    name: String,
    family: String,
    ops: Vec<String>,
    file: PathBuf,
    io: Vec<PathBuf>,
    tolerance: Tolerance,
    shapes_only: bool,
}

type Outcome = Result<String, (String, String)>;

fn main() {
    let mut roots = Vec::new();
    let (mut filters, mut verbose) = (Vec::new(), false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--root" => roots.extend(args.next().map(PathBuf::from)),
            "--verbose" => verbose = true,
            _ => filters.push(arg),
        }
    }
    if roots.is_empty() {
        roots.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/cases"));
    }
    let mut cases = Vec::new();
    for root in &roots {
        collect(root, &mut cases);
    }
    cases.retain(|case| filters.is_empty() || filters.iter().any(|f| case.matches(f)));
    std::panic::set_hook(Box::new(|_| {}));
    report(&cases, &run_all(&cases), verbose);
}

impl Case {
    fn matches(&self, filter: &str) -> bool {
        self.family == filter
            || self.name.contains(filter)
            || self.ops.iter().any(|op| op == filter || op.starts_with(&format!("{filter}.")))
    }
}

fn json(path: &Path) -> Json {
    std::fs::read(path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
}

fn texts(json: &Json) -> Vec<String> {
    json.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn collect(root: &Path, cases: &mut Vec<Case>) {
    for entry in json(&root.join("torch_ops/index.json"))["cases"].as_array().into_iter().flatten()
    {
        let folder = root.join("torch_ops").join(entry["dir"].as_str().unwrap_or_default());
        let file = folder.join("model.pt2");
        if file.exists() && entry["complex_io"] != true {
            cases.push(Case {
                name: format!("{} {}", entry["dir"].as_str().unwrap_or_default(), entry["id"]),
                family: entry["family"].as_str().unwrap_or_default().to_owned(),
                ops: texts(&entry["ops"]),
                file,
                io: vec![folder.join("io.safetensors"), folder.join("io_alt.safetensors")],
                tolerance: Tolerance::Op,
                shapes_only: entry["deterministic"] == false,
            });
        }
    }
    for entry in json(&root.join("models/index.json"))["models"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        let folder = root.join("models").join(name);
        let about = json(&folder.join("case.json"));
        for (file, details) in about["files"].as_object().into_iter().flatten() {
            if file.ends_with(".pt2") {
                let error = about["fp32_error"].as_f64().unwrap_or(0.0);
                let ops = details["ops"].as_object();
                cases.push(Case {
                    name: format!("models/{name}/{file}"),
                    family: "models".to_owned(),
                    ops: ops.into_iter().flatten().map(|(op, _)| op.clone()).collect(),
                    file: folder.join(file),
                    io: vec![folder.join(details["io"].as_str().unwrap_or("io.safetensors"))],
                    tolerance: Tolerance::Model(error),
                    shapes_only: false,
                });
            }
        }
    }
    let mut folders: Vec<_> =
        std::fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).collect();
    folders.sort();
    for folder in folders.into_iter().filter(|f| f.join("model.pt2").exists()) {
        cases.push(Case {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            family: String::new(),
            ops: Vec::new(),
            file: folder.join("model.pt2"),
            io: vec![folder.join("io.safetensors"), folder.join("io_alt.safetensors")],
            tolerance: Tolerance::Op,
            shapes_only: false,
        });
    }
}

fn run_all(cases: &[Case]) -> Vec<Option<Outcome>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![None; cases.len()]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(case)));
                    let outcome = outcome.unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        Err(("panic".to_owned(), text))
                    });
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run(case: &Case) -> Outcome {
    let source = mlc_torch::read(&case.file).map_err(|d| first(&d, "read"))?;
    let registry = mlc_torch::lower::registry();
    let program = mlc_torch::lower::lower(&source, &registry).map_err(|d| first(&d, "lower"))?;
    let found = mlc_ir::verify(&program);
    if found.has_errors() {
        return Err(first(&found, "verify"));
    }
    let mut worst: f64 = 0.0;
    for path in case.io.iter().filter(|path| path.exists()) {
        let bytes = std::fs::read(path).map_err(|e| ("io".to_owned(), e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| ("io".into(), e.to_string()))?;
        let mut steps = None;
        for prefix in calls(&file) {
            let follows = prefix.starts_with("step") && prefix != "step0.";
            let start = match steps.take().filter(|_| follows) {
                Some(states) => states,
                None => start(&source, &program, (&file, &prefix))?,
            };
            let mut states = start;
            let off = call(case, &program, (&file, &prefix), &mut states)
                .map_err(|(kind, text)| (kind, format!("{prefix}: {text}")))?;
            steps = Some(states);
            worst = worst.max(off);
        }
    }
    Ok(format!("{worst:.3} of the tolerance; {}", ops(&program)))
}

/// How often each op stands in a program.
fn ops(program: &mlc_ir::Program) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            *counts.entry(function.nodes[node].op.spec().name).or_default() += 1;
        });
    }
    let counts: Vec<String> = counts.iter().map(|(op, n)| format!("{n} {op}")).collect();
    counts.join(", ")
}

fn first(found: &mlc_diag::Diagnostics, stage: &str) -> (String, String) {
    let all: Vec<String> = found
        .items()
        .iter()
        .map(|d| {
            format!(
                "{} at {}",
                d.message,
                d.places.last().map_or(String::new(), |p| format!("{p:?}"))
            )
        })
        .collect();
    let head = found.items().first().map_or(String::new(), |d| d.message.clone());
    (format!("{stage}: {head}"), all.join("\n      "))
}

/// The calls in a file: `""`, `"alt0."` …; successive calls that keep state are one run.
fn calls(file: &SafeTensors<'_>) -> Vec<String> {
    let mut calls: Vec<String> = file
        .names()
        .iter()
        .filter_map(|name| name.find("output.").map(|at| name[..at].to_owned()))
        .collect();
    calls.sort();
    calls.dedup();
    calls
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Option<Tensor> {
    let view = file.tensor(name).ok()?;
    let shape: Vec<u64> = view.shape().iter().map(|&d| d as u64).collect();
    let dtype = match view.dtype() {
        safetensors::Dtype::BOOL => DType::Bool,
        safetensors::Dtype::U8 => DType::U8,
        safetensors::Dtype::I8 => DType::I8,
        safetensors::Dtype::I16 => DType::I16,
        safetensors::Dtype::I32 => DType::I32,
        safetensors::Dtype::I64 => DType::I64,
        safetensors::Dtype::F16 => DType::F16,
        safetensors::Dtype::BF16 => DType::Bf16,
        safetensors::Dtype::F32 => DType::F32,
        safetensors::Dtype::F64 => DType::F64,
        _ => return None,
    };
    Tensor::from_bytes(dtype, &shape, view.data()).ok()
}

/// States before a call: what the file says, else the buffers of the model.
fn start(
    source: &mlc_torch::graph::ExportedProgram,
    program: &mlc_ir::Program,
    (file, prefix): (&SafeTensors<'_>, &str),
) -> Result<States, (String, String)> {
    let eval = |e: mlc_eval::EvalError| ("eval".to_owned(), e.to_string());
    let mut states = States::new();
    for (_, function) in program.functions.iter() {
        for param in function.params.iter().filter(|p| p.kind == ParamKind::State) {
            let given = tensor(file, &format!("{prefix}state_in.{}", param.name));
            let stored = source.inputs.iter().find_map(|input| match &input.kind {
                InputKind::Buffer { tensor, .. } | InputKind::Constant(tensor)
                    if input.name == param.name =>
                {
                    Some(tensor.clone())
                }
                _ => None,
            });
            let start = given.or(stored);
            let start = start.ok_or_else(|| ("states".to_owned(), param.name.clone()))?;
            states.insert(param.name.clone(), Array::from_tensor(&start).map_err(eval)?);
        }
    }
    Ok(states)
}

fn call(
    case: &Case,
    program: &mlc_ir::Program,
    (file, prefix): (&SafeTensors<'_>, &str),
    states: &mut States,
) -> Result<f64, (String, String)> {
    let eval = |e: mlc_eval::EvalError| ("eval".to_owned(), e.to_string());
    let list = |kind: &str| -> Vec<Tensor> {
        (0..).map_while(|i| tensor(file, &format!("{prefix}{kind}.{i}"))).collect()
    };
    let func = program.functions.iter().next().map(|(id, _)| id);
    let func = func.ok_or_else(|| ("eval".to_owned(), "no function".to_owned()))?;
    let inputs = list("input");
    let inputs: Vec<Array> =
        inputs.iter().map(Array::from_tensor).collect::<Result<_, _>>().map_err(eval)?;
    let mut evaluator = Evaluator::new(program, func);
    let outputs = evaluator.run(&inputs, states).map_err(eval)?;
    let wanted = list("output");
    if outputs.len() != wanted.len() {
        let text = format!("{} outputs, {} wanted", outputs.len(), wanted.len());
        return Err(("outputs".to_owned(), text));
    }
    let mut worst: f64 = 0.0;
    for (i, (got, want)) in outputs.iter().zip(&wanted).enumerate() {
        let EvalValue::Array(got) = got else {
            return Err(("outputs".to_owned(), "no tensor".to_owned()));
        };
        let want = Array::from_tensor(want).map_err(eval)?;
        let off = compare(case, got, &want).map_err(|text| {
            let kind = if text.contains("shape") { "shapes differ" } else { "values differ" };
            (kind.to_owned(), format!("output {i}: {text}"))
        })?;
        worst = worst.max(off);
    }
    for (name, got) in states.iter() {
        let Some(want) = tensor(file, &format!("{prefix}state_out.{name}")) else { continue };
        let want = Array::from_tensor(&want).map_err(eval)?;
        let off = compare(case, got, &want)
            .map_err(|text| ("states differ".to_owned(), format!("state {name}: {text}")))?;
        worst = worst.max(off);
    }
    Ok(worst)
}

/// The largest difference in units of what is allowed.
fn compare(case: &Case, got: &Array, want: &Array) -> Result<f64, String> {
    let scalar = want.rank() == 0 && got.shape() == [1];
    if got.shape() != want.shape() && !scalar {
        return Err(format!("shape {:?}, {:?} wanted", got.shape(), want.shape()));
    }
    if case.shapes_only {
        return Ok(0.0);
    }
    let (a, b) = (got.to_f64s(), want.to_f64s());
    let (a, b) = (a.map_err(|e| e.to_string())?, b.map_err(|e| e.to_string())?);
    let finite = b.iter().filter(|x| x.is_finite());
    let scale = finite.clone().fold(1e-3f64, |m, x| m.max(x.abs()));
    let square: f64 = finite.clone().map(|x| x * x).sum();
    let rms = (square / finite.count().max(1) as f64).sqrt().max(1e-3);
    let (mut worst, mut at) = (0.0f64, 0);
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let allowed = match case.tolerance {
            _ if !want.dtype().is_float() => 0.5,
            Tolerance::Op => 1e-3 * (b.abs() + rms),
            Tolerance::Model(error) => 1e-4 * scale + 20.0 * error,
        };
        let same = a == b || (a.is_nan() && b.is_nan());
        let off = if same { 0.0 } else { (a - b).abs() / allowed };
        if off > worst || off.is_nan() {
            (worst, at) = (if off.is_nan() { f64::INFINITY } else { off }, i);
        }
    }
    if worst > 1.0 {
        return Err(format!("element {at} of {:?} is {}, {} wanted", want.shape(), a[at], b[at]));
    }
    Ok(worst)
}

fn report(cases: &[Case], outcomes: &[Option<Outcome>], verbose: bool) {
    let mut groups: BTreeMap<String, Vec<(&Case, &str)>> = BTreeMap::new();
    let mut good = 0;
    for (case, outcome) in cases.iter().zip(outcomes) {
        match outcome {
            Some(Ok(text)) => {
                good += 1;
                if verbose {
                    println!("ok {}: {text}", case.name);
                }
            }
            Some(Err((kind, text))) => {
                let kind: String =
                    kind.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
                groups.entry(kind).or_default().push((case, text));
            }
            None => {}
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
    for (kind, list) in &groups {
        println!("{:4} {kind}", list.len());
        let most = if verbose { usize::MAX } else { 8 };
        for (case, text) in list.iter().take(most) {
            let text = if verbose { text } else { text.lines().next().unwrap_or_default() };
            println!("     {}: {text}", case.name);
        }
    }
    println!("{good} of {} agree", cases.len());
}
