//! Every case of `testdata/eval/*.json`: one op on given operands, against values that other software
//! or a loop over the definition gave. Each is run with its operands as constants, as inputs of known
//! extents, and as inputs of symbolic extents, where the inferred extents must come out as computed;
//! where `contents` names operand slots, once more as inputs of symbolic extents but those slots
//! constant.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken fixture has to fail the test")]

mod fixture;

use std::collections::BTreeMap;

use fixture::{Family, families, op_of, operands_of};
use mlc_eval::{Array, Evaluator, States};
use mlc_ir::{Builder, Dim, FuncId, Function, Op, Operands, Param, Program, Type, Value};
use mlc_tensor::Tensor;
use serde_json::Value as Json;

/// How the operands of a case are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constants,
    Inputs,
    Symbols,
    Contents,
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
