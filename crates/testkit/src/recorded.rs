//! Packages that other software made, with the outputs they must compute.
//!
//! A folder holds one `*.mlpackage` and `io.safetensors`: `step0.NAME` is an input and
//! `step0.output.NAME` an output of the first call, `step1` of the second; states go from one call to
//! the next. `expect.json` may widen the comparison: `relative` to the greatest output, and `error`
//! in units of the output; `labels` are the classes that outputs of text number.
//!
//! A package is read, printed, parsed and printed again, run, written back, read and run again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::diff::unified;
use mlc_coreml::emit::{EmitOptions, emit};
use mlc_coreml::package::Existing;
use mlc_coreml::read::{Read, read};
use mlc_diag::Diagnostics;
use mlc_driver::{distance, read_safetensors};
use mlc_eval::{Array, EvalValue, Evaluator};
use mlc_ir::ops::Const;
use mlc_ir::{AttrValue, ConstPool, F64, Function, Op, ParamKind, Program, Type, Value};
use mlc_text::{ParseOptions, PrintOptions, parse, print};

/// Agreement of floats where `expect.json` says nothing.
const RELATIVE: f64 = 1e-5;
/// Least scale that `relative` counts from.
const LEAST_SCALE: f64 = 1e-3;

/// A package that agrees.
#[derive(Debug)]
pub struct Recorded {
    /// The program as text.
    pub text: String,
    /// Calls that were compared.
    pub calls: usize,
    /// The greatest distance of an output, relative to its greatest element.
    pub worst: f64,
}

/// How near outputs must come.
#[derive(Debug, Clone)]
struct Limits {
    relative: f64,
    error: f64,
    labels: Vec<String>,
}

/// The calls of a folder.
struct Calls {
    arrays: BTreeMap<String, Array>,
    limits: Limits,
}

/// Checks the package in `folder`; where `kept` is given, what is written back stays there.
///
/// # Errors
/// What is wrong, in words.
pub fn check(folder: &Path, kept: Option<&Path>) -> Result<Recorded, String> {
    let path = package_in(folder)?;
    let package = read(&path).map_err(|errors| words("not read", &errors))?;
    let text = printed(&package.program)?;
    let calls = Calls::read(folder)?;
    let (count, worst) = calls.check(&package)?;
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = match kept {
        Some(kept) => kept.join(folder.file_name().unwrap_or_default()).with_extension("mlpackage"),
        None => temporary.path().join(path.file_name().unwrap_or_default()),
    };
    let again = written_back(&package, &file)?;
    let (before, after) = (unnamed(&package.program)?, unnamed(&again.program)?);
    if before != after {
        return Err(format!("written back, it is another program\n{}", unified(&before, &after)));
    }
    if again.features != package.features {
        return Err(format!("features {:?} became {:?}", package.features, again.features));
    }
    if again.metadata != package.metadata {
        return Err(format!("metadata {:?} became {:?}", package.metadata, again.metadata));
    }
    calls.check(&again).map_err(|problem| format!("written back: {problem}"))?;
    Ok(Recorded { text, calls: count, worst })
}

fn package_in(folder: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let is_package =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mlpackage");
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_package).collect();
    match (found.pop(), found.len()) {
        (Some(path), 0) => Ok(path),
        _ => Err(format!("{} does not hold one package", folder.display())),
    }
}

/// The program as text, which must read back as the same program.
fn printed(program: &Program) -> Result<String, String> {
    let found = mlc_ir::verify(program);
    if found.has_errors() {
        return Err(words("not valid", &found));
    }
    let text = print(program, &PrintOptions::default());
    let parsed = parse("package", &text, &ParseOptions::default())
        .map_err(|errors| words("not parsed", &errors))?;
    if print(&parsed.program, &PrintOptions::default()) != text {
        return Err("prints otherwise after parsing".to_owned());
    }
    Ok(text)
}

/// The functions without the names of values, which must be unique in a package, and with constants
/// by their contents: equal ones are stored once. Numbers of attributes are taken as f16 has them: they
/// may be written in the element type of the operands.
fn unnamed(program: &Program) -> Result<String, String> {
    let mut program = program.clone();
    let mut consts = ConstPool::default();
    let mut known = BTreeMap::new();
    for func in program.func_ids().collect::<Vec<_>>() {
        let function = &mut program.functions[func];
        let values: Vec<Value> = function.values.iter().map(|(value, _)| value).collect();
        for value in values {
            function.values[value].name = None;
        }
        let mut nodes = Vec::new();
        function.for_each_node(&mut |_, node| nodes.push(node));
        for node in nodes {
            narrow_floats(&mut function.nodes[node].op);
            let Op::Const(Const { value }) = &function.nodes[node].op else { continue };
            let tensor = program.consts.get(*value);
            let digest = tensor.digest().map_err(|error| error.to_string())?;
            let value = *known
                .entry((tensor.dtype(), tensor.shape().to_vec(), digest))
                .or_insert_with(|| consts.intern(tensor.clone()));
            function.nodes[node].op = Op::Const(Const { value });
        }
    }
    program.consts = consts;
    let text = print(&program, &PrintOptions::default());
    Ok(text.find("func @").map_or(String::new(), |at| text[at..].to_owned()))
}

fn narrow_floats(op: &mut Op) {
    let narrow = |value: AttrValue| match value {
        AttrValue::Float(F64(x)) => match half::f16::from_f64(x).to_f64() {
            narrow if narrow.is_finite() && narrow != 0.0 => AttrValue::Float(F64(narrow)),
            _ => AttrValue::Float(F64(x)),
        },
        value => value,
    };
    let attrs: Vec<Option<AttrValue>> = op.attrs().into_iter().map(|v| Some(narrow(v))).collect();
    if let Some(Ok(narrowed)) = Op::from_attrs(op.spec().name, &attrs) {
        *op = narrowed;
    }
}

fn written_back(package: &Read, goal: &Path) -> Result<Read, String> {
    let options = EmitOptions {
        opset: package.opset,
        metadata: package.metadata.clone(),
        features: package.features.clone(),
        default_function: package.default_function.clone(),
    };
    emit(&package.program, goal, &options, Existing::Replace)
        .map_err(|errors| words("not written back", &errors))?;
    read(goal).map_err(|errors| words("written back, not read", &errors))
}

fn words(what: &str, diagnostics: &Diagnostics) -> String {
    let items = diagnostics.items();
    let lines = items.iter().take(5).map(|diagnostic| format!("\n  {diagnostic}"));
    format!("{what}, {} problems{}", items.len(), lines.collect::<String>())
}

impl Calls {
    fn read(folder: &Path) -> Result<Self, String> {
        let arrays = read_safetensors(&folder.join("io.safetensors"))
            .map_err(|errors| words("no calls", &errors))?;
        let mut limits = Limits { relative: RELATIVE, error: 0.0, labels: Vec::new() };
        if let Ok(bytes) = fs::read(folder.join("expect.json")) {
            let json: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            let number = |key: &str, default| json[key].as_f64().unwrap_or(default);
            limits.relative = number("relative", RELATIVE);
            limits.error = number("error", 0.0);
            let labels = json["labels"].as_array().into_iter().flatten();
            limits.labels = labels.filter_map(|l| l.as_str().map(str::to_owned)).collect();
        }
        Ok(Self { arrays: arrays.into_iter().collect(), limits })
    }

    /// Runs the default function once a call: how many calls, and the greatest distance.
    fn check(&self, package: &Read) -> Result<(usize, f64), String> {
        let program = &package.program;
        let wanted = package.default_function.as_deref().unwrap_or("main");
        let func =
            program.function(wanted).ok_or_else(|| format!("there is no function `{wanted}`"))?;
        let function = &program.functions[func];
        let mut evaluator = Evaluator::new(program, func);
        let mut states = evaluator.initial_states().map_err(|error| error.to_string())?;
        let (mut steps, mut worst) = (0, 0f64);
        while self.arrays.keys().any(|key| key.starts_with(&format!("step{steps}."))) {
            let inputs = self.inputs(function, steps)?;
            let outputs = evaluator
                .run(&inputs, &mut states)
                .map_err(|error| format!("call {steps}: {error}"))?;
            for (output, value) in function.outputs.iter().zip(&outputs) {
                let key = format!("step{steps}.output.{}", output.name);
                let reference = self.arrays.get(&key).ok_or_else(|| format!("no `{key}`"))?;
                let far = self.compare(reference, value);
                worst = worst.max(far.map_err(|problem| format!("`{key}`: {problem}"))?);
            }
            steps += 1;
        }
        if steps == 0 { Err("no calls".to_owned()) } else { Ok((steps, worst)) }
    }

    fn inputs(&self, function: &Function, step: usize) -> Result<Vec<Array>, String> {
        let args = &function.regions[function.body].args;
        let inputs = function.params.iter().zip(args);
        let input = |(param, &arg): (&mlc_ir::Param, &Value)| {
            let key = format!("step{step}.{}", param.name);
            let array = self.arrays.get(&key).ok_or_else(|| format!("no `{key}`"))?;
            match &function.values[arg].ty {
                Type::Tensor(ty) => array.cast(ty.dtype).map_err(|error| error.to_string()),
                _ => Ok(array.clone()),
            }
        };
        inputs.filter(|(param, _)| param.kind == ParamKind::Input).map(input).collect()
    }

    /// The distance, where the value agrees. For texts the reference holds the number of the class;
    /// for dictionaries one number an entry.
    fn compare(&self, reference: &Array, value: &EvalValue) -> Result<f64, String> {
        let numbers = reference.to_f64s().map_err(|error| error.to_string())?;
        match value {
            EvalValue::Array(got) => {
                let far = distance(reference, got).ok_or_else(|| {
                    format!("{:?} is computed, {:?} is right", got.shape(), reference.shape())
                })?;
                let finite = numbers.iter().map(|x| x.abs()).filter(|x| x.is_finite());
                let scale = finite.fold(LEAST_SCALE, f64::max);
                let limit = self.limits.relative * scale + self.limits.error;
                if far.max_abs > limit || far.non_finite > 0 {
                    return Err(format!("off by {:.3e} of {limit:.3e}: {far:?}", far.max_abs));
                }
                Ok(far.max_abs / scale)
            }
            EvalValue::Dict(entries) => {
                let near = |(entry, wanted): (&(String, f64), &f64)| {
                    (entry.1 - wanted).abs() <= self.limits.relative + self.limits.error
                };
                match entries.len() == numbers.len() && entries.iter().zip(&numbers).all(near) {
                    true => Ok(0.0),
                    false => Err(format!("{entries:?} is computed, {numbers:?} is right")),
                }
            }
            EvalValue::Strs(found) => {
                let wanted: Vec<Option<&String>> =
                    numbers.iter().map(|&at| self.limits.labels.get(at as usize)).collect();
                match found.iter().map(Some).collect::<Vec<_>>() == wanted {
                    true => Ok(0.0),
                    false => Err(format!("{found:?} is computed, {wanted:?} is right")),
                }
            }
            other => Err(format!("{other:?} is computed, {numbers:?} is right")),
        }
    }
}
