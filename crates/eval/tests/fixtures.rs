//! Every case of `testdata/eval/*.json`: one op on given operands, against values that other software
//! or a loop over the definition gave. Each is run with its operands as constants, as inputs of known
//! extents, and as inputs of symbolic extents, where the inferred extents must come out as computed;
//! where `contents` names operand slots, once more as inputs of symbolic extents but those slots
//! constant.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken fixture has to fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mlc_eval::{Array, Evaluator, States};
use mlc_ir::{
    AttrKind, AttrValue, Builder, Dim, F64, FuncId, Function, Op, Operands, Param, Program, Type,
    Value,
};
use mlc_tensor::{DType, Tensor};
use safetensors::SafeTensors;
use serde_json::Value as Json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/eval")
}

/// How the operands of a case are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constants,
    Inputs,
    Symbols,
    Contents,
}

struct Family {
    name: String,
    tensors: BTreeMap<String, Tensor>,
    cases: Vec<Json>,
}

fn dtype_of(stored: safetensors::Dtype) -> DType {
    use safetensors::Dtype as S;
    match stored {
        S::BOOL => DType::Bool,
        S::U8 => DType::U8,
        S::U16 => DType::U16,
        S::U32 => DType::U32,
        S::U64 => DType::U64,
        S::I8 => DType::I8,
        S::I16 => DType::I16,
        S::I32 => DType::I32,
        S::I64 => DType::I64,
        S::F16 => DType::F16,
        S::BF16 => DType::Bf16,
        S::F32 => DType::F32,
        S::F64 => DType::F64,
        other => panic!("{other:?} in a fixture"),
    }
}

/// Elements of `bits` bits without gaps, the lowest bits of a byte first.
fn packed(bits: usize, values: &[i64]) -> Vec<u8> {
    let mut bytes = vec![0u8; (values.len() * bits).div_ceil(8)];
    for at in 0..values.len() * bits {
        bytes[at / 8] |= (((values[at / bits] >> (at % bits)) & 1) as u8) << (at % 8);
    }
    bytes
}

fn load(index: &Path) -> Family {
    let json: Json = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
    let bytes = fs::read(index.with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let shape: Vec<u64> = view.shape().iter().map(|&d| d as u64).collect();
        let tensor = Tensor::from_bytes(dtype_of(view.dtype()), &shape, view.data()).unwrap();
        let tensor = match json["dtypes"].get(&name) {
            Some(dtype) => {
                let dtype = DType::from_name(dtype.as_str().unwrap()).unwrap();
                let bytes = packed(dtype.bits() as usize, &tensor.to_i64s().unwrap());
                Tensor::from_bytes(dtype, &shape, bytes).unwrap()
            }
            None => tensor,
        };
        tensors.insert(name, tensor);
    }
    let name = index.file_stem().unwrap().to_string_lossy().into_owned();
    Family { name, tensors, cases: json["cases"].as_array().unwrap().clone() }
}

fn attribute(kind: AttrKind, json: &Json) -> Option<AttrValue> {
    let float = |json: &Json| match json.as_str() {
        Some(text) => text.parse().ok(),
        None => json.as_f64(),
    };
    Some(match kind {
        AttrKind::Int | AttrKind::OptInt => AttrValue::Int(json.as_i64()?),
        AttrKind::Float | AttrKind::OptFloat => AttrValue::Float(F64(float(json)?)),
        AttrKind::Bool | AttrKind::OptBool => AttrValue::Bool(json.as_bool()?),
        AttrKind::Str | AttrKind::DType | AttrKind::Word(_) => {
            AttrValue::Str(json.as_str()?.to_owned())
        }
        AttrKind::Ints | AttrKind::OptInts => {
            AttrValue::Ints(json.as_array()?.iter().map(Json::as_i64).collect::<Option<_>>()?)
        }
        AttrKind::Bools => {
            AttrValue::Bools(json.as_array()?.iter().map(Json::as_bool).collect::<Option<_>>()?)
        }
        AttrKind::Strs => AttrValue::Strs(
            json.as_array()?
                .iter()
                .map(|s| s.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        ),
        AttrKind::Const => return None,
    })
}

fn op_of(case: &Json) -> Result<Op, String> {
    let name = case["op"].as_str().ok_or("no op")?;
    let spec = mlc_ir::ops::spec(name).ok_or_else(|| format!("no op `{name}`"))?;
    let attrs = case["attrs"].as_object().ok_or("no attributes")?;
    if let Some(unknown) = attrs.keys().find(|key| spec.attr(key).is_none()) {
        return Err(format!("no attribute `{unknown}`"));
    }
    let mut values = Vec::new();
    for attr in spec.attrs {
        let Some(json) = attrs.get(attr.name) else {
            values.push(None);
            continue;
        };
        let value = attribute(attr.kind, json);
        values.push(Some(value.ok_or_else(|| format!("`{}` cannot be {json}", attr.name))?));
    }
    Op::from_attrs(name, &values)
        .ok_or("no entry")?
        .map_err(|at| format!("attribute {at} is missing or wrong"))
}

/// The operand tensors, slot by slot.
fn operands_of(op: &Op, case: &Json, family: &Family) -> Result<Vec<Vec<Tensor>>, String> {
    let given = case["operands"].as_object().ok_or("no operands")?;
    let spec = op.spec();
    if let Some(unknown) = given.keys().find(|key| spec.operand(key).is_none()) {
        return Err(format!("no operand `{unknown}`"));
    }
    let tensor = |key: &Json| {
        let key = key.as_str().ok_or("a key is no text")?;
        family.tensors.get(key).cloned().ok_or_else(|| format!("no tensor `{key}`"))
    };
    spec.operands
        .iter()
        .map(|slot| match given.get(slot.name) {
            Some(keys) => keys.as_array().ok_or("keys are no list")?.iter().map(tensor).collect(),
            None => Ok(Vec::new()),
        })
        .collect()
}

/// A program of one op; its inputs and the values of its symbols.
struct Built {
    program: Program,
    func: FuncId,
    inputs: Vec<Array>,
    symbols: BTreeMap<String, i64>,
}

fn build(op: &Op, slots: &[Vec<Tensor>], mode: Mode, constant: &[&str]) -> Result<Built, String> {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let (mut inputs, mut symbols) = (Vec::new(), BTreeMap::new());
    let mut args: Vec<Vec<Value>> = Vec::new();
    if mode != Mode::Constants {
        for (slot, spec) in slots.iter().zip(op.spec().operands) {
            let mut values = Vec::new();
            for tensor in slot {
                if mode == Mode::Contents && constant.contains(&spec.name) {
                    continue;
                }
                let mut shape = Vec::new();
                for &d in tensor.shape() {
                    let name = format!("d{}", symbols.len());
                    shape.push(match mode {
                        Mode::Symbols | Mode::Contents => Dim::symbol(&name),
                        _ => Dim::from(d),
                    });
                    symbols.insert(name, d as i64);
                }
                let ty = Type::tensor(tensor.dtype(), shape);
                let param = Param::input(format!("x{}", inputs.len()));
                values.push(function.add_param(param, ty));
                inputs.push(Array::from_tensor(tensor).map_err(|e| e.to_string())?);
            }
            args.push(values);
        }
    }
    let func = program.functions.push(function);
    let mut builder = Builder::new(&mut program, func);
    if mode == Mode::Constants {
        for slot in slots {
            let constants = slot.iter().map(|tensor| builder.constant(tensor.clone()));
            args.push(constants.collect::<Result<_, _>>().map_err(|e| e.to_string())?);
        }
    }
    let mut operands = Operands::new();
    for ((mut values, slot), spec) in args.into_iter().zip(slots).zip(op.spec().operands) {
        if mode == Mode::Contents && constant.contains(&spec.name) {
            let constants = slot.iter().map(|tensor| builder.constant(tensor.clone()));
            values = constants.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        }
        operands.push_slot(values);
    }
    let node = builder.push(op.clone(), operands, Vec::new()).map_err(|e| e.to_string())?;
    for (i, value) in builder.results(node).to_vec().into_iter().enumerate() {
        builder.function_mut().add_output(format!("y{i}"), value);
    }
    Ok(Built { program, func, inputs, symbols })
}

/// The results, after a look at the inferred extents.
fn evaluate(built: &Built) -> Result<Vec<Array>, String> {
    let mut evaluator = Evaluator::new(&built.program, built.func);
    let outputs = evaluator.run(&built.inputs, &mut States::new()).map_err(|e| e.to_string())?;
    let function = &built.program.functions[built.func];
    let results = &function.regions[function.body].results;
    let mut arrays = Vec::new();
    for (output, &result) in outputs.iter().zip(results) {
        let array = output.array().map_err(|e| e.to_string())?.clone();
        let ty = function.ty(result).as_tensor().ok_or("no tensor")?;
        for (dim, &extent) in ty.shape.iter().zip(array.shape()) {
            let value = dim.substitute(&|name| built.symbols.get(name).map(|&n| Dim::Const(n)));
            if value.as_const().is_some_and(|n| n != extent as i64) {
                return Err(format!("inferred {ty}, computed {:?}", array.shape()));
            }
        }
        if let Some(content) = &function.values[result].content {
            let computed = array.to_i64s().map_err(|e| e.to_string())?;
            for (dim, element) in content.iter().zip(computed) {
                let value = dim.substitute(&|name| built.symbols.get(name).map(|&n| Dim::Const(n)));
                if value.as_const().is_some_and(|n| n != element) {
                    return Err(format!("inferred the content {dim}, computed {element}"));
                }
            }
        }
        arrays.push(array);
    }
    Ok(arrays)
}

fn compare(got: &Array, want: &Tensor, (rel, abs): (f64, f64)) -> Result<(), String> {
    let want_shape: Vec<usize> = want.shape().iter().map(|&d| d as usize).collect();
    if got.dtype() != want.dtype() || got.shape() != want_shape {
        let got = (got.dtype(), got.shape());
        return Err(format!("{got:?}, expected {:?}", (want.dtype(), want_shape)));
    }
    if !want.dtype().is_float() {
        let (got, want) = (got.to_i64s().unwrap(), want.to_i64s().unwrap());
        return match (0..want.len()).find(|&i| got[i] != want[i]) {
            Some(i) => Err(format!("element {i} is {}, expected {}", got[i], want[i])),
            None => Ok(()),
        };
    }
    let want = Array::from_tensor(want).map_err(|e| e.to_string())?;
    let (got, want) = (got.to_f64s().unwrap(), want.to_f64s().unwrap());
    let close = |g: f64, w: f64| {
        (g.is_nan() && w.is_nan()) || g == w || (g - w).abs() <= abs + rel * w.abs()
    };
    match (0..want.len()).find(|&i| !close(got[i], want[i])) {
        Some(i) => Err(format!("element {i} is {:?}, expected {:?}", got[i], want[i])),
        None => Ok(()),
    }
}

fn run(case: &Json, family: &Family, mode: Mode) -> Result<(), String> {
    let op = op_of(case)?;
    let slots = operands_of(&op, case, family)?;
    let constant: Vec<&str> =
        case["contents"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let results = build(&op, &slots, mode, &constant).and_then(|built| evaluate(&built));
    if let Some(wanted) = case.get("error") {
        let wanted = wanted.as_str().ok_or("`error` is no text")?;
        return match results {
            Err(message) if message.contains(wanted) => Ok(()),
            Err(message) => Err(format!("the error is {message:?}, expected {wanted:?}")),
            Ok(_) => Err(format!("no error, expected {wanted:?}")),
        };
    }
    let results = results?;
    let expected = case["expected"].as_array().ok_or("nothing expected")?;
    if expected.len() != results.len() {
        return Err(format!("{} results, expected {}", results.len(), expected.len()));
    }
    let tolerance = &case["tolerance"];
    let tolerance = tolerance[0].as_f64().zip(tolerance[1].as_f64()).ok_or("no tolerance")?;
    for (i, (got, key)) in results.iter().zip(expected).enumerate() {
        let key = key.as_str().ok_or("a key is no text")?;
        let want = family.tensors.get(key).ok_or_else(|| format!("no tensor `{key}`"))?;
        compare(got, want, tolerance).map_err(|e| format!("result {i}: {e}"))?;
    }
    Ok(())
}

fn families() -> Vec<Family> {
    let mut indices: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    indices.sort();
    indices.iter().map(|index| load(index)).collect()
}

#[test]
fn every_case_comes_out_as_expected() {
    let only = std::env::var("FAMILY").ok();
    let mut wrong = Vec::new();
    for family in families() {
        if only.as_ref().is_some_and(|only| *only != family.name) {
            continue;
        }
        for (at, case) in family.cases.iter().enumerate() {
            let flag = |name: &str| case[name].as_bool().unwrap_or(false);
            for mode in [Mode::Constants, Mode::Inputs, Mode::Symbols, Mode::Contents] {
                let left_out = match mode {
                    Mode::Constants => false,
                    Mode::Inputs => flag("constant"),
                    Mode::Symbols => flag("constant") || flag("static"),
                    Mode::Contents => case["contents"].is_null(),
                };
                if left_out {
                    continue;
                }
                if let Err(message) = run(case, &family, mode) {
                    let op = &case["op"];
                    let attrs = &case["attrs"];
                    wrong.push(format!(
                        "{} case {at} ({op} {attrs}, {mode:?}): {message}",
                        family.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
