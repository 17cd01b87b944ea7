//! Ops that have no fixture of tensors alone: control flow, states, lists, classifiers. Expected
//! values are worked out by hand.
#![expect(clippy::unwrap_used, reason = "a program that cannot be built has to fail the test")]

use mlc_eval::{Array, EvalError, EvalValue, Evaluator, States};
use mlc_ir::ops::{
    Add, Classify, Concat, Cond, Greater, Less, ListGather, ListLength, ListRead, ListScatter,
    ListWrite, MakeList, Mul, ReadState, SliceBySize, Square, Sub, WhileLoop, WriteState,
};
use mlc_ir::{Builder, Dim, Function, OpError, OpResult, Param, Program, Type, Value, verify};
use mlc_tensor::DType;

type Built = OpResult<Vec<Value>>;

/// A function of these parameters whose outputs are what `fill` gives.
fn program(
    params: &[(Param, Type)],
    fill: impl FnOnce(&mut Builder<'_>, &[Value]) -> Built,
) -> Program {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let args: Vec<Value> =
        params.iter().map(|(param, ty)| function.add_param(param.clone(), ty.clone())).collect();
    let func = program.functions.push(function);
    let mut builder = Builder::new(&mut program, func);
    let outputs = fill(&mut builder, &args).unwrap();
    for (i, value) in outputs.into_iter().enumerate() {
        builder.function_mut().add_output(format!("y{i}"), value);
    }
    let found = verify(&program);
    assert!(found.is_empty(), "{found:?}");
    program
}

fn evaluate(program: &Program, inputs: &[Array]) -> Result<Vec<EvalValue>, EvalError> {
    let func = program.function("main").unwrap();
    Evaluator::new(program, func).run(inputs, &mut States::new())
}

fn ints(value: &EvalValue) -> Vec<i64> {
    value.array().unwrap().to_i64s().unwrap()
}

fn input(name: &str, dtype: DType, shape: &[i64]) -> (Param, Type) {
    let shape: Vec<Dim> = shape.iter().map(|&d| Dim::Const(d)).collect();
    (Param::input(name), Type::tensor(dtype, shape))
}

fn i32s(shape: &[usize], values: &[i64]) -> Array {
    Array::from_i64s(DType::I32, shape, values.to_vec()).unwrap()
}

fn result_shape(program: &Program, index: usize) -> Vec<Dim> {
    let function = &program.functions[program.function("main").unwrap()];
    let value = function.regions[function.body].results[index];
    function.ty(value).as_tensor().unwrap().shape.clone()
}

fn first(b: &mut Builder<'_>, x: Value, count: i64) -> Built {
    let (begin, size) = (b.ints(&[0])?, b.ints(&[count])?);
    Ok(vec![SliceBySize {}.build(b, x, begin, size)?])
}

#[test]
fn cond_runs_one_region() {
    let params = [input("pred", DType::Bool, &[]), input("x", DType::I32, &[4])];
    let program = program(&params, |b, args| {
        let x = args[1];
        Cond::build_with::<OpError>(
            b,
            args[0],
            |b| first(b, x, 3),
            |b| {
                let square = Square {}.build(b, x)?;
                first(b, square, 2)
            },
        )
    });
    assert!(result_shape(&program, 0)[0].as_symbol().is_some());
    let x = i32s(&[4], &[5, 6, 7, 8]);
    for (pred, want) in [(true, vec![5, 6, 7]), (false, vec![25, 36])] {
        let pred = Array::from_bools(&[], vec![pred]).unwrap();
        assert_eq!(ints(&evaluate(&program, &[pred, x.clone()]).unwrap()[0]), want);
    }
}

#[test]
fn cond_keeps_what_both_regions_agree_on() {
    let params = [input("pred", DType::Bool, &[])];
    let program = program(&params, |b, args| {
        let shapes = Cond::build_with::<OpError>(
            b,
            args[0],
            |b| Ok(vec![b.ints(&[2, 3])?, b.ints(&[1, 3])?]),
            |b| Ok(vec![b.ints(&[2, 3])?, b.ints(&[1, 4])?]),
        )?;
        assert_eq!(b.content(shapes[0]), Some(&[Dim::Const(2), Dim::Const(3)][..]));
        assert_eq!(b.content(shapes[1]), None);
        Ok(shapes)
    });
    assert_eq!(result_shape(&program, 0), [Dim::Const(2)]);
}

#[test]
fn cond_refuses_regions_that_differ() {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("main"));
    let b = &mut Builder::new(&mut program, func);
    let number = b.int(1).unwrap();
    let pred = Greater {}.build(b, number, number).unwrap();
    let one = |b: &mut Builder<'_>| Ok(vec![b.int(1)?]);
    let error = |got: Built| got.unwrap_err().message;
    let got = Cond::build_with(b, pred, one, |b| Ok(vec![b.scalar(DType::F32, 1.0)?]));
    assert!(error(got).contains("i32 or f32"));
    let got = Cond::build_with(b, pred, one, |_| Ok(vec![]));
    assert!(error(got).contains("yields 1 values, `false_fn` 0"));
    let got = Cond::build_with(b, number, one, one);
    assert!(error(got).contains("a scalar of bool is needed"));
}

/// `while (i < n) { total *= i + 1; i += 1 }`
fn factorial(b: &mut Builder<'_>, n: Value) -> Built {
    let (zero, one) = (b.int(0)?, b.int(1)?);
    WhileLoop::build_with::<OpError>(
        b,
        vec![zero, one],
        |b, args| Less {}.build(b, args[0], n),
        |b, args| {
            let next = Add {}.build(b, args[0], one)?;
            Ok(vec![next, Mul {}.build(b, args[1], next)?])
        },
    )
}

#[test]
fn while_loop_runs_until_the_test_fails() {
    let program = program(&[input("n", DType::I32, &[])], |b, args| factorial(b, args[0]));
    for (n, want) in [(0, 1), (1, 1), (5, 120), (12, 479_001_600)] {
        let outputs = evaluate(&program, &[i32s(&[], &[n])]).unwrap();
        assert_eq!([ints(&outputs[0]), ints(&outputs[1])], [vec![n], vec![want]]);
    }
}

#[test]
fn loops_and_branches_nest() {
    // Σ_{k < n} (k odd ? k! : 100), oddness kept as a flag that flips.
    let program = program(&[input("n", DType::I32, &[])], |b, args| {
        let (zero, one, hundred) = (b.int(0)?, b.int(1)?, b.int(100)?);
        WhileLoop::build_with::<OpError>(
            b,
            vec![zero, zero, zero],
            |b, v| Less {}.build(b, v[0], args[0]),
            |b, v| {
                let (k, odd) = (v[0], v[1]);
                let is_odd = Greater {}.build(b, odd, zero)?;
                let term = Cond::build_with::<OpError>(
                    b,
                    is_odd,
                    |b| Ok(vec![factorial(b, k)?[1]]),
                    |_| Ok(vec![hundred]),
                )?;
                let flipped = Sub {}.build(b, one, odd)?;
                Ok(vec![Add {}.build(b, k, one)?, flipped, Add {}.build(b, v[2], term[0])?])
            },
        )
    });
    let outputs = evaluate(&program, &[i32s(&[], &[6])]).unwrap();
    assert_eq!(ints(&outputs[2]), [100 + 1 + 100 + 6 + 100 + 120]);
}

#[test]
fn extents_that_a_loop_changes_become_symbols() {
    let params = [input("n", DType::I32, &[]), input("x", DType::I32, &[1, 2])];
    let program = program(&params, |b, args| {
        let (zero, one) = (b.int(0)?, b.int(1)?);
        let row = b.constant(i32s(&[1, 2], &[7, 8]).to_tensor().unwrap())?;
        WhileLoop::build_with::<OpError>(
            b,
            vec![zero, args[1]],
            |b, v| Less {}.build(b, v[0], args[0]),
            |b, v| {
                let grown = Concat { axis: 0, interleave: false }.build(b, vec![v[1], row])?;
                Ok(vec![Add {}.build(b, v[0], one)?, grown])
            },
        )
    });
    let shape = result_shape(&program, 1);
    assert!(shape[0].as_symbol().is_some());
    assert_eq!(shape[1], Dim::Const(2));
    let x = i32s(&[1, 2], &[1, 2]);
    let outputs = evaluate(&program, &[i32s(&[], &[2]), x.clone()]).unwrap();
    assert_eq!(ints(&outputs[1]), [1, 2, 7, 8, 7, 8]);
    assert_eq!(ints(&evaluate(&program, &[i32s(&[], &[0]), x]).unwrap()[1]), [1, 2]);
}

#[test]
fn a_loop_argument_of_fixed_extent_must_keep_it() {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("main"));
    let b = &mut Builder::new(&mut program, func);
    let x = b.ints(&[1, 2]).unwrap();
    let zero = b.int(0).unwrap();
    let test =
        |b: &mut Builder<'_>, _: &[Value]| -> Built { Ok(vec![Less {}.build(b, zero, zero)?]) };
    let grow = |b: &mut Builder<'_>, v: &[Value]| -> Built {
        Ok(vec![Concat { axis: 0, interleave: false }.build(b, vec![v[0], v[0]])?])
    };
    let keep = |_: &mut Builder<'_>, v: &[Value]| -> Built { Ok(v.to_vec()) };
    let vector = |dim: Dim| vec![Type::tensor(DType::I32, [dim])];
    let mut attempt = |args: Vec<Type>, body: &dyn Fn(&mut Builder<'_>, &[Value]) -> Built| {
        let cond = b.region(&args, test).unwrap();
        let body = b.region(&args, |b, v| body(b, v)).unwrap();
        let built = WhileLoop {}.build(b, vec![x], cond, body);
        built.map(|value| b.tensor(value).unwrap().shape.clone()).map_err(|e| e.message)
    };
    let two = Dim::Const(2);
    assert!(attempt(vector(two.clone()), &grow).unwrap_err().contains("turns 2 into 4"));
    assert!(attempt(vector(Dim::Const(3)), &keep).unwrap_err().contains("has 3 for 2"));
    let own = Dim::symbol("own");
    let twice = own.mul(&two);
    assert!(attempt(vector(twice), &keep).unwrap_err().contains("has 2*own for 2"));
    assert_eq!(attempt(vector(own.clone()), &keep), Ok(vec![two]));
    assert!(attempt(vector(own), &grow).unwrap()[0].as_symbol().is_some());
}

#[test]
fn loop_arguments_must_hold_for_every_variable_and_the_test() {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("main"));
    let b = &mut Builder::new(&mut program, func);
    let (pair, triple) = (b.ints(&[1, 2]).unwrap(), b.ints(&[1, 2, 3]).unwrap());
    let zero = b.int(0).unwrap();
    let vectors = |dims: [Dim; 2]| dims.map(|dim| Type::tensor(DType::I32, [dim])).to_vec();
    let mut attempt = |test: [Dim; 2], body: [Dim; 2], results: usize| {
        let less = |b: &mut Builder<'_>, _: &[Value]| Less {}.build(b, zero, zero);
        let cond = b.region(&vectors(test), |b, v| Ok::<_, OpError>(vec![less(b, v)?])).unwrap();
        let keep = |_: &mut Builder<'_>, v: &[Value]| Ok::<_, OpError>(v[..results].to_vec());
        let body = b.region(&vectors(body), keep).unwrap();
        let built = WhileLoop {}.build_many(b, vec![pair, triple], cond, body);
        built.map(|values| values.len()).map_err(|e| e.message)
    };
    let (two, three) = (Dim::Const(2), Dim::Const(3));
    let [s, t] = ["s", "t"].map(Dim::symbol);
    let fixed = [two.clone(), three.clone()];
    assert_eq!(attempt(fixed.clone(), fixed.clone(), 2), Ok(2));
    assert_eq!(attempt([s.clone(), three.clone()], [s.clone(), t], 2), Ok(2));
    let error = attempt(fixed.clone(), [s.clone(), s], 2).unwrap_err();
    assert!(error.contains("`s` stands for two extents"), "{error}");
    let error = attempt([three.clone(), three], fixed.clone(), 2).unwrap_err();
    assert!(error.contains("argument 0 is tensor<3xi32> in `cond`"), "{error}");
    let error = attempt(fixed.clone(), fixed, 1).unwrap_err();
    assert!(error.contains("1 results of `body` for 2 loop variables"), "{error}");
}

#[test]
fn states_keep_what_was_written_last() {
    let held = mlc_ir::TensorType::new(DType::F16, [Dim::Const(2)]);
    let params = [(Param::state("cache"), Type::State(held)), input("x", DType::F16, &[2])];
    let program = program(&params, |b, args| {
        let before = ReadState {}.build(b, args[0])?;
        let sum = Add {}.build(b, before, args[1])?;
        assert!(WriteState {}.build_many(b, args[0], sum)?.is_empty());
        let after = ReadState {}.build(b, args[0])?;
        WriteState {}.build_many(b, args[0], args[1])?;
        let wrong = b.ints(&[1, 2])?;
        let error = WriteState {}.build_many(b, args[0], wrong).unwrap_err();
        assert!(error.message.contains("the state holds tensor<2xf16>"));
        let error = ReadState {}.build(b, args[1]).unwrap_err();
        assert!(error.message.contains("a state is needed"));
        Ok(vec![before, after])
    });
    let mut evaluator = Evaluator::new(&program, program.function("main").unwrap());
    let mut states = evaluator.initial_states().unwrap();
    let mut run = |values: [f64; 2]| -> Vec<Vec<f64>> {
        let x = Array::from_f64s(DType::F16, &[2], values.to_vec()).unwrap();
        let outputs = evaluator.run(&[x], &mut states).unwrap();
        outputs.iter().map(|y| y.array().unwrap().to_f64s().unwrap()).collect()
    };
    assert_eq!(run([1.0, 2.0]), [[0.0, 0.0], [1.0, 2.0]]);
    assert_eq!(run([0.5, 0.5]), [[1.0, 2.0], [1.5, 2.5]]);
}

fn make_list(b: &mut Builder<'_>, length: i64, dynamic_length: bool) -> OpResult<Value> {
    let length = b.int(length)?;
    MakeList { dynamic_length, elem_shape: vec![2], dtype: DType::I32 }.build(b, Some(length))
}

#[test]
fn lists_grow_in_loops_and_are_stacked() {
    let program = program(&[input("n", DType::I32, &[])], |b, args| {
        let (zero, one, pair) = (b.int(0)?, b.int(1)?, b.ints(&[1, -1])?);
        let list = make_list(b, 0, true)?;
        let all = WhileLoop::build_with::<OpError>(
            b,
            vec![zero, list],
            |b, v| Less {}.build(b, v[0], args[0]),
            |b, v| {
                let value = Mul {}.build(b, pair, v[0])?;
                let list = ListWrite {}.build(b, v[1], v[0], value)?;
                Ok(vec![Add {}.build(b, v[0], one)?, list])
            },
        )?;
        let [picked, rows, two] = [b.ints(&[3, 1])?, b.ints(&[1, 5])?, b.int(2)?];
        let gathered = ListGather {}.build(b, all[1], picked)?;
        let scattered = ListScatter {}.build(b, all[1], rows, gathered)?;
        let length = ListLength {}.build(b, scattered)?;
        Ok(vec![
            gathered,
            length,
            ListRead {}.build(b, all[1], two)?,
            ListRead {}.build(b, scattered, one)?,
        ])
    });
    assert_eq!(result_shape(&program, 0), [Dim::Const(2), Dim::Const(2)]);
    let outputs = evaluate(&program, &[i32s(&[], &[4])]).unwrap();
    let got: Vec<_> = outputs.iter().map(ints).collect();
    assert_eq!(got, [vec![3, -3, 1, -1], vec![6], vec![2, -2], vec![3, -3]]);
    let error = evaluate(&program, &[i32s(&[], &[2])]).unwrap_err();
    assert!(error.to_string().contains("element 3 of a list of 2"), "{error}");
}

#[test]
fn elements_without_value_and_outside_a_fixed_list_are_errors() {
    let unwritten = program(&[input("i", DType::I32, &[])], |b, args| {
        let list = make_list(b, 3, false)?;
        let value = b.ints(&[4, 5])?;
        let one = b.int(1)?;
        let list = ListWrite {}.build(b, list, one, value)?;
        let length = ListLength {}.build(b, list)?;
        assert_eq!(b.content(length), Some(&[Dim::Const(3)][..]));
        Ok(vec![ListRead {}.build(b, list, args[0])?])
    });
    assert_eq!(ints(&evaluate(&unwritten, &[i32s(&[], &[1])]).unwrap()[0]), [4, 5]);
    for (index, message) in [(2, "element 2 was not written"), (3, "element 3 of a list of 3")] {
        let error = evaluate(&unwritten, &[i32s(&[], &[index])]).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let outside = program(&[input("i", DType::I32, &[])], |b, args| {
        let list = make_list(b, 3, false)?;
        let value = b.ints(&[4, 5])?;
        let long = b.ints(&[4, 5, 6])?;
        let three = b.int(3)?;
        let error = ListWrite {}.build(b, list, three, value).unwrap_err();
        assert!(error.message.contains("element 3 of list<tensor<2xi32>, 3>"), "{error}");
        let error = ListWrite {}.build(b, list, args[0], long).unwrap_err();
        assert!(error.message.contains("elements are tensor<2xi32>"), "{error}");
        let written = ListWrite {}.build(b, list, args[0], value)?;
        Ok(vec![ListLength {}.build(b, written)?])
    });
    let error = evaluate(&outside, &[i32s(&[], &[3])]).unwrap_err();
    assert!(error.to_string().contains("element 3 of a list of 3"), "{error}");
}

#[test]
fn classify_names_the_greatest() {
    let x = Array::from_f64s(DType::F32, &[1, 3], vec![0.25, 0.5, 0.5]).unwrap();
    let params = [input("x", DType::F32, &[1, 3])];
    let names = ["cat", "dog", "eel"].map(str::to_owned).to_vec();
    let named = program(&params, |b, args| {
        let error = Classify { classes: names[..2].to_vec(), class_ids: vec![] }
            .build_many(b, args[0])
            .unwrap_err();
        assert!(error.message.contains("2 classes for probabilities tensor<1x3xf32>"));
        let error = Classify { classes: vec![], class_ids: vec![] }.build_many(b, args[0]);
        assert!(error.unwrap_err().message.contains("neither"));
        Classify { classes: names.clone(), class_ids: vec![] }.build_many(b, args[0])
    });
    let outputs = evaluate(&named, std::slice::from_ref(&x)).unwrap();
    assert!(matches!(&outputs[0], EvalValue::Strs(label) if *label == ["dog"]));
    let EvalValue::Dict(rows) = &outputs[1] else { panic!("no dictionary: {outputs:?}") };
    let want = [("cat", 0.25), ("dog", 0.5), ("eel", 0.5)];
    assert!(rows.iter().map(|(name, p)| (name.as_str(), *p)).eq(want));
    let numbered = program(&params, |b, args| {
        Classify { classes: vec![], class_ids: vec![10, -20, 30] }.build_many(b, args[0])
    });
    let outputs = evaluate(&numbered, &[x]).unwrap();
    assert_eq!(ints(&outputs[0]), [-20]);
    let EvalValue::Dict(rows) = &outputs[1] else { panic!("no dictionary: {outputs:?}") };
    assert_eq!(rows[1], ("-20".to_owned(), 0.5));
}
