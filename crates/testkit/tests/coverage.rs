//! Which modes of which ops the fixtures of the evaluator run: every value of every attribute with a
//! fixed set of them, attributes and operands given and left out, every element type that Core ML
//! takes, every number of spatial axes. The modes come from the op table and the signatures; one that
//! no fixture runs fails the test. `testdata/eval/coverage.txt` shows the numbers (`BLESS=1` writes it).
//!
//! Programs of `testdata/eval/programs.json` are run here; the other fixtures by the tests of `eval`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken fixture has to fail the test")]

#[path = "../../eval/tests/fixture/mod.rs"]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mlc_eval::{Array, EvalValue, Evaluator};
use mlc_ir::ops::specs;
use mlc_ir::{Arity, AttrKind, AttrSpec, AttrValue, Op, OpSpec, ParamKind, Program, Type};
use mlc_target::Opset;
use mlc_tensor::DType;
use mlc_testkit::diff::unified;
use mlc_testkit::workspace_root;
use mlc_text::{ParseOptions, parse};
use serde_json::Value as Json;

/// Fixtures that each op must have.
const LEAST: usize = 3;

/// Element types that attributes can name.
const DTYPES: [(&str, &str, &[&str]); 7] = [
    ("cast", "dtype", &["f16", "f32", "i8", "u8", "i16", "u16", "i32", "bool"]),
    ("topk", "output_indices_dtype", &["i32", "u16"]),
    ("reduce_argmax", "output_dtype", &["i32", "u16"]),
    ("reduce_argmin", "output_dtype", &["i32", "u16"]),
    ("make_list", "dtype", &["f32", "f16", "i32", "bool"]),
    ("quantize", "output_dtype", &["i8", "u8"]),
    ("constexpr_cast", "output_dtype", &["f32"]),
];

/// Modes that cannot be: op, mode and why.
const IMPOSSIBLE: [(&str, &str, &str); 8] = [
    ("affine", "coordinates_mode = normalized_zero_to_one", AFFINE),
    ("affine", "coordinates_mode = unnormalized", AFFINE),
    ("affine", "padding_mode = border", AFFINE),
    ("affine", "padding_mode = reflection", AFFINE),
    ("affine", "padding_mode = symmetric", AFFINE),
    ("affine", "sampling_mode = nearest", AFFINE),
    ("gru", "direction = bidirectional", "only `lstm` runs both ways"),
    ("rnn", "direction = bidirectional", "only `lstm` runs both ways"),
];
const AFFINE: &str = "MIL defines no other mode";

/// The fixtures of an op and the modes that they run.
#[derive(Default)]
struct Seen {
    fixtures: usize,
    modes: BTreeSet<String>,
}

type Coverage = BTreeMap<&'static str, Seen>;

#[test]
fn every_mode_of_every_op_has_a_fixture() {
    let mut coverage = Coverage::new();
    for family in fixture::families() {
        for case in family.cases.iter().filter(|case| case.get("error").is_none()) {
            let op = fixture::op_of(case).unwrap_or_else(|e| panic!("{}: {e}", family.name));
            let slots = fixture::operands_of(&op, case, &family).unwrap();
            let types = slots.iter().map(|slot| {
                slot.iter().map(|t| (Some(t.dtype()), t.shape().len())).collect::<Vec<_>>()
            });
            record(&mut coverage, &op, &types.collect::<Vec<_>>());
        }
    }
    for fixture in programs() {
        record_program(&mut coverage, &program(&fixture));
    }
    let (mut missing, mut table) = (Vec::new(), String::new());
    let (mut fixtures, mut covered, mut wanted) = (0, 0, 0);
    for spec in specs() {
        let empty = Seen::default();
        let seen = coverage.get(spec.name).unwrap_or(&empty);
        let mut modes = modes(spec);
        modes.retain(|mode| {
            !IMPOSSIBLE.iter().any(|(op, name, _)| *op == spec.name && name == mode)
        });
        let absent: Vec<&String> =
            modes.iter().filter(|mode| !seen.modes.contains(*mode)).collect();
        if seen.fixtures < LEAST {
            missing.push(format!("{} has {} fixtures", spec.name, seen.fixtures));
        }
        missing.extend(absent.iter().map(|mode| format!("{} {mode}", spec.name)));
        let run = modes.len() - absent.len();
        (fixtures, covered, wanted) =
            (fixtures + seen.fixtures, covered + run, wanted + modes.len());
        writeln!(table, "{:<40} {:>4} {run:>4} of {:>3}", spec.name, seen.fixtures, modes.len())
            .unwrap();
    }
    writeln!(table, "{:<40} {fixtures:>4} {covered:>4} of {wanted:>3}", "all").unwrap();
    let head = format!("{:<40} {:>4} {:>11}\n", "op", "runs", "modes");
    println!("{head}{table}");
    assert!(missing.is_empty(), "no fixture runs\n{}", missing.join("\n"));
    settle(&format!("{head}{table}"));
}

fn settle(text: &str) {
    let path = workspace_root().join("testdata/eval/coverage.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "the coverage moved\n{}", unified(&committed, text));
}

/// Every mode that an op has.
fn modes(spec: &OpSpec) -> BTreeSet<String> {
    let mut modes = BTreeSet::new();
    for attr in spec.attrs {
        attribute_modes(spec, attr, &mut modes);
    }
    let signature = mlc_target::signature(spec.name, Opset::Ios18);
    for operand in spec.operands {
        if operand.arity == Arity::Opt {
            modes.insert(format!("{} given", operand.name));
            modes.insert(format!("{} left out", operand.name));
        }
        let Some(signature) = signature else { continue };
        let Some(param) = signature.param(operand.name) else { continue };
        for &dtype in signature.allowed(param).unwrap_or_default() {
            modes.insert(format!("{} of {}", operand.name, mlc_coreml::dtype::dtype(dtype)));
        }
    }
    if let Some(most) = spatial_axes(spec) {
        modes.extend((1..=most).map(|n| format!("{n} spatial axes")));
    }
    modes
}

/// The most spatial axes of convolutions and pools.
fn spatial_axes(spec: &OpSpec) -> Option<usize> {
    let family = spec.family.rsplit("::").next().unwrap_or_default();
    match (family, spec.name) {
        (_, "l2_pool") => Some(2),
        ("conv" | "pool", _) => Some(3),
        _ => None,
    }
}

fn attribute_modes(spec: &OpSpec, attr: &AttrSpec, modes: &mut BTreeSet<String>) {
    let name = attr.name;
    if !attr.required {
        modes.insert(format!("{name} left out"));
    }
    match attr.kind {
        AttrKind::Bool | AttrKind::OptBool => {
            modes.extend([format!("{name} = false"), format!("{name} = true")]);
        }
        AttrKind::Word(words) => {
            modes.extend(words.iter().map(|word| format!("{name} = {word}")));
        }
        AttrKind::DType => {
            let row = DTYPES.iter().find(|(op, attr, _)| (*op, *attr) == (spec.name, name));
            let (_, _, dtypes) = row.unwrap_or_else(|| panic!("types of {}.{name}", spec.name));
            modes.extend(dtypes.iter().map(|dtype| format!("{name} = {dtype}")));
        }
        AttrKind::Int | AttrKind::OptInt if name.contains("axis") => {
            modes.extend([format!("{name} < 0"), format!("{name} >= 0")]);
        }
        _ if spec.name == "const" => {}
        _ => {
            modes.insert(format!("{name} given"));
        }
    }
}

/// Adds one fixture: the op, and element type and rank of its operands slot by slot.
fn record(coverage: &mut Coverage, op: &Op, slots: &[Vec<(Option<DType>, usize)>]) {
    let spec = op.spec();
    let seen = coverage.entry(spec.name).or_default();
    seen.fixtures += 1;
    for ((attr, value), default) in spec.attrs.iter().zip(op.attrs()).zip(op.defaults()) {
        let name = attr.name;
        if default.as_ref() == Some(&value) {
            seen.modes.insert(format!("{name} left out"));
        } else {
            seen.modes.insert(format!("{name} given"));
        }
        match value {
            AttrValue::Int(i) if name.contains("axis") => {
                seen.modes.insert(format!("{name} {} 0", if i < 0 { "<" } else { ">=" }));
            }
            AttrValue::Bool(_) | AttrValue::Word(_) | AttrValue::DType(_) => {
                seen.modes.insert(format!("{name} = {value}"));
            }
            _ => {}
        }
    }
    for (operand, slot) in spec.operands.iter().zip(slots) {
        let presence = if slot.is_empty() { "left out" } else { "given" };
        seen.modes.insert(format!("{} {presence}", operand.name));
        for dtype in slot.iter().filter_map(|(dtype, _)| *dtype) {
            seen.modes.insert(format!("{} of {dtype}", operand.name));
        }
    }
    if let (Some(_), Some((_, rank))) = (spatial_axes(spec), slots.first().and_then(|s| s.first()))
    {
        seen.modes.insert(format!("{} spatial axes", rank.saturating_sub(2)));
    }
}

/// Adds every op of a program, once.
fn record_program(coverage: &mut Coverage, program: &Program) {
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            let data = &function.nodes[node];
            let slots: Vec<Vec<(Option<DType>, usize)>> = (0..data.op.spec().operands.len())
                .map(|slot| {
                    let types = data.operands.slot(slot).iter().map(|&v| function.ty(v));
                    types.map(element).collect()
                })
                .collect();
            record(coverage, &data.op, &slots);
        });
    }
}

fn element(ty: &Type) -> (Option<DType>, usize) {
    match ty {
        Type::Tensor(ty) | Type::State(ty) => (Some(ty.dtype), ty.rank()),
        _ => (None, 0),
    }
}

fn programs() -> Vec<Json> {
    let path = workspace_root().join("testdata/eval/programs.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn program(fixture: &Json) -> Program {
    let (name, text) = (fixture["name"].as_str().unwrap(), fixture["text"].as_str().unwrap());
    let parsed = parse(name, text, &ParseOptions::default());
    parsed.unwrap_or_else(|errors| panic!("{name}: {errors:?}")).program
}

#[test]
fn programs_come_out_as_expected() {
    let mut wrong = Vec::new();
    for fixture in programs() {
        if let Err(problem) = run(&fixture, &program(&fixture)) {
            wrong.push(format!("{}: {problem}", fixture["name"]));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn run(fixture: &Json, program: &Program) -> Result<(), String> {
    let func = program.function("main").ok_or("no function")?;
    let function = &program.functions[func];
    let inputs = function.params.iter().filter(|p| p.kind == ParamKind::Input).count();
    let mut evaluator = Evaluator::new(program, func);
    let mut states = evaluator.initial_states().map_err(|error| error.to_string())?;
    let tolerance = fixture["tolerance"].as_f64().ok_or("no tolerance")?;
    for call in fixture["calls"].as_array().ok_or("no calls")? {
        let given: Vec<Array> = list(&call["inputs"]).map(array).collect::<Result<_, _>>()?;
        if given.len() != inputs {
            return Err(format!("{} inputs for {inputs}", given.len()));
        }
        let got = evaluator.run(&given, &mut states).map_err(|error| error.to_string())?;
        let wanted: Vec<&Json> = list(&call["outputs"]).collect();
        if got.len() != wanted.len() {
            return Err(format!("{} outputs, {} expected", got.len(), wanted.len()));
        }
        for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
            if !agrees(got, wanted, tolerance)? {
                return Err(format!("output {i} is {got:?}, expected {wanted}"));
            }
        }
    }
    Ok(())
}

fn list(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

/// An array as the fixtures write it.
fn array(json: &Json) -> Result<Array, String> {
    let name = json[0].as_str().ok_or("no element type")?;
    let dtype = DType::from_name(name).ok_or_else(|| format!("{name} is no element type"))?;
    let shape: Vec<usize> = list(&json[1]).filter_map(Json::as_u64).map(|d| d as usize).collect();
    let number = |item: &Json| item.as_f64().or_else(|| item.as_bool().map(f64::from)).unwrap();
    let values: Vec<f64> = list(&json[2]).map(number).collect();
    let made = match dtype {
        DType::Bool => Array::from_bools(&shape, values.iter().map(|&x| x != 0.0).collect()),
        _ if dtype.is_float() => Array::from_f64s(dtype, &shape, values),
        _ => Array::from_i64s(dtype, &shape, values.iter().map(|&x| x as i64).collect()),
    };
    made.map_err(|error| error.to_string())
}

fn agrees(got: &EvalValue, wanted: &Json, tolerance: f64) -> Result<bool, String> {
    Ok(match got {
        EvalValue::Strs(got) => list(&wanted["strs"]).eq(got.iter()),
        EvalValue::Dict(got) => {
            let wanted: Vec<&Json> = list(&wanted["dict"]).collect();
            let near = |((name, value), wanted): (&(String, f64), &&Json)| {
                wanted[0] == name.as_str()
                    && wanted[1].as_f64().is_some_and(|w| (w - value).abs() <= tolerance)
            };
            got.len() == wanted.len() && got.iter().zip(&wanted).all(near)
        }
        EvalValue::Array(got) if wanted.is_object() => {
            got.to_i64s().ok() == wanted["int"].as_i64().map(|i| vec![i])
        }
        EvalValue::Array(got) => {
            let wanted = array(wanted)?;
            let numbers = |array: &Array| array.to_f64s().map_err(|error| error.to_string());
            let near = |(a, b): (f64, f64)| (a - b).abs() <= tolerance;
            (got.dtype(), got.shape()) == (wanted.dtype(), wanted.shape())
                && numbers(got)?.into_iter().zip(numbers(&wanted)?).all(near)
        }
        EvalValue::List(_) | EvalValue::State(_) => false,
    })
}
