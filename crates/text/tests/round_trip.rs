//! Texts are printed, read again and printed again.

use std::fs;
use std::path::{Path, PathBuf};

use mlc_ir::{Builder, Function, Op, Param, Program, Region, ops};
use mlc_tensor::{DType, MappedFile, Tensor};
use mlc_text::{ParseOptions, Parsed, PrintOptions, parse, print};

fn texts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/texts");
    let entries = fs::read_dir(folder).expect("the folder of texts is there");
    let mut found: Vec<PathBuf> = entries.map(|e| e.expect("it can be listed").path()).collect();
    found.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("texts are UTF-8"))
    };
    found.into_iter().map(read).collect()
}

fn read(text: &str) -> Parsed {
    read_in(text, Path::new(""))
}

fn read_in(text: &str, base_dir: &Path) -> Parsed {
    let options = ParseOptions { base_dir: base_dir.to_owned(), locate: false };
    let parsed = parse("t.mlc", text, &options);
    parsed.map_err(|errors| format!("{errors:#?}\nin\n{text}")).expect("the text is sound")
}

#[track_caller]
fn text_named(wanted: &str) -> String {
    texts().into_iter().find(|(name, _)| name == wanted).expect("the text is there").1
}

/// Payloads, types and locations of all linked ops: what a program means, without its text.
fn meaning(program: &Program) -> Vec<String> {
    let mut out = Vec::new();
    for (_, function) in program.functions.iter() {
        out.push(format!("{} {:?} {:?}", function.name, function.params, function.outputs));
        function.for_each_node(&mut |_, node| {
            let data = &function.nodes[node];
            let op = match &data.op {
                Op::Const(payload) => {
                    let tensor = program.consts.get(payload.value);
                    format!("const {:?} {:?}", tensor.dtype(), tensor.bytes().expect("small"))
                }
                op => format!("{op:?}"),
            };
            let types: Vec<String> =
                data.results.iter().map(|&r| function.ty(r).to_string()).collect();
            out.push(format!("{op} {types:?} {:?}", program.loc(data.loc)));
        });
    }
    out
}

#[test]
fn texts_print_to_a_fixed_point_with_the_same_meaning() {
    let options = PrintOptions { locations: true, ..PrintOptions::default() };
    for (name, text) in texts() {
        let first = read(&text);
        let printed = print(&first.program, &options);
        let second = read(&printed);
        assert_eq!(print(&second.program, &options), printed, "{name}");
        assert_eq!(meaning(&second.program), meaning(&first.program), "{name}");
        insta::assert_snapshot!(name, printed);
    }
}

#[test]
fn every_op_without_attributes_of_one_operand_prints_and_reads() {
    let mut count = 0;
    for spec in ops::specs() {
        let [operand] = spec.operands else { continue };
        if operand.arity != mlc_ir::Arity::One || spec.attrs.iter().any(|a| a.required) {
            continue;
        }
        for dtype in ["f32", "i32", "bool"] {
            let text = format!(
                "func @f(%x: tensor<2x4x4x4x{dtype}>) {{\n  %y = {} %x\n  return %y\n}}\n",
                spec.name
            );
            let Ok(parsed) = parse("t", &text, &ParseOptions::default()) else { continue };
            let printed = print(&parsed.program, &PrintOptions::default());
            assert_eq!(print(&read(&printed).program, &PrintOptions::default()), printed);
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn files_are_mapped_relative_to_the_base_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.bin");
    let bytes: Vec<u8> = (0..200u8).collect();
    fs::write(&path, &bytes).unwrap();
    let text = "weights {\n  @a : tensor<6x4xf32> = transpose(file(\"m.bin\", 16) : tensor<4x6xf32>, \
                [1, 0])\n  @b : tensor<100xu8> = file(\"m.bin\", 100)\n}\n\nfunc @f() -> (a: \
                tensor<6x4xf32>, b: tensor<100xu8>) {\n  %a = const @a : tensor<6x4xf32>\n  %b = \
                const @b : tensor<100xu8>\n  return %a, %b\n}\n";
    let parsed = read_in(text, folder.path());
    let options =
        PrintOptions { base_dir: Some(folder.path().to_owned()), ..PrintOptions::default() };
    let printed = print(&parsed.program, &options);
    insta::assert_snapshot!("files", printed);
    assert_eq!(print(&read_in(&printed, folder.path()).program, &options), printed);
    let absolute = print(&parsed.program, &PrintOptions::default());
    assert_eq!(print(&read(&absolute).program, &options), printed);
    let (_, b) = parsed.program.consts.iter().last().unwrap();
    assert_eq!(&*b.bytes().unwrap(), &bytes[100..]);
}

#[test]
fn built_programs_round_trip_with_names_made_unique() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    fs::write(&path, [0u8; 64]).unwrap();
    let file = MappedFile::open(&path).unwrap();
    let mut program = Program::new();
    let mut function = Function::new("weird name");
    let x = function.add_param(
        Param::input("x"),
        mlc_ir::Type::tensor(DType::F32, vec![mlc_ir::Dim::Const(4)]),
    );
    let func = program.functions.push(function);
    let mut names = vec![];
    let mut b = Builder::new(&mut program, func);
    for at in [0, 16, 32] {
        // Equal bytes at different places: one literal, and the name of the first that has one.
        let tensor = Tensor::mapped(&file, at, DType::F32, &[4]).unwrap();
        let value = if at == 0 {
            b.constant(tensor).unwrap()
        } else {
            let id = b.program.consts.intern_named(tensor, &format!("w{at}"));
            ops::Const { value: id }.build(&mut b).unwrap()
        };
        names.push(value);
    }
    let mut y = x;
    for value in names {
        y = ops::Add {}.build(&mut b, y, value).unwrap();
        b.name(y, "x");
    }
    let other = ops::Relu {}.build(&mut b, y).unwrap();
    b.name(other, "x_1");
    let number = ops::Relu {}.build(&mut b, other).unwrap();
    b.name(number, "7");
    let unnamed = ops::Relu {}.build(&mut b, number).unwrap();
    b.function_mut().add_output("x.out", unnamed);
    let printed = print(&program, &PrintOptions::default());
    insta::assert_snapshot!("unique_names", printed);
    assert_eq!(print(&read(&printed).program, &PrintOptions::default()), printed);
}

#[test]
fn one_function_can_be_printed_alone() {
    let text = text_named("basic");
    let program = read(&text).program;
    let function = program.function("both");
    let options = PrintOptions { function, header: true, ..PrintOptions::default() };
    let printed = print(&program, &options);
    assert!(printed.starts_with("mlc-ir 1\n\nfunc @both("), "{printed}");
    assert_eq!(read(&printed).program.functions.len(), 1);
}

#[test]
fn declared_symbols_replace_those_that_inference_would_make() {
    let text = text_named("dynamic");
    let program = read(&text).program;
    let names: Vec<&str> = program.symbols.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["n", "u0", "u1", "u2"], "one symbol is fresh: that of %b");
    assert_eq!(program.symbols.range("u0").max, Some(64));
    let again = read(&print(&program, &PrintOptions::default())).program;
    let names: Vec<&str> = again.symbols.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["n", "u0", "u2"], "none is fresh, and unused ones are not printed");
}

#[test]
fn places_of_ops_and_lines_as_locations() {
    let text = "func @f(%x: tensor<2xf32>) {\n  %é = \"\"\n}\n";
    assert!(parse("t", text, &ParseOptions::default()).is_err());
    let text = "func @f(%x: tensor<2xf32>) {\n\n  %y = relu %x\n  return %y\n}\n";
    let options = ParseOptions { locate: true, ..ParseOptions::default() };
    let parsed = parse("dir/t.mlc", text, &options).unwrap();
    let func = parsed.program.function("f").unwrap();
    let function = &parsed.program.functions[func];
    let node = function.regions[function.body].nodes[0];
    assert_eq!(parsed.spans.node(func, node).unwrap().to_string(), "dir/t.mlc:3:8");
    assert_eq!(parsed.program.loc(function.nodes[node].loc).to_string(), "from dir/t.mlc:3");
    let y = function.nodes[node].results[0];
    assert_eq!(parsed.spans.value(func, y).unwrap().to_string(), "dir/t.mlc:3:3");
    assert_eq!(parsed.spans.function(func).unwrap().to_string(), "dir/t.mlc:1:6");
}

#[test]
fn printing_and_reading_is_linear() {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let ty = mlc_ir::Type::tensor(DType::F32, vec![mlc_ir::Dim::Const(4)]);
    let mut y = function.add_param(Param::input("x"), ty);
    let func = program.functions.push(function);
    let mut b = Builder::new(&mut program, func);
    for _ in 0..50_000 {
        y = ops::Relu {}.build(&mut b, y).unwrap();
        b.name(y, "y");
    }
    b.function_mut().add_output("out", y);
    let printed = print(&program, &PrintOptions::default());
    let again = read(&printed);
    assert_eq!(again.program.functions[func].op_count(), 50_000);
    let one_line = printed.replace('\n', " ");
    assert_eq!(print(&read(&one_line).program, &PrintOptions::default()), printed);
    let _: Region = again.program.functions[func].body;
}

#[test]
fn literals_of_every_element_type_keep_their_bits() {
    for dtype in DType::all().filter(|d| *d != DType::Str) {
        for (seed, shape) in [(1, vec![]), (2, vec![3]), (3, vec![2, 1, 4]), (4, vec![16])] {
            let count = shape.iter().product::<u64>();
            let len = dtype.bytes_for(count).expect("it has a width");
            let noise = Tensor::random(DType::U64, &[len], seed, 1e19).expect("a tensor");
            let mut bytes: Vec<u8> = noise
                .bytes()
                .expect("bytes")
                .chunks(8)
                .map(|c| c.iter().fold(0, |a, b| a ^ b))
                .collect();
            if dtype == DType::Bool {
                bytes.iter_mut().for_each(|b| *b &= 1);
            }
            let spare = len * 8 - count * u64::from(dtype.bits());
            if let Some(last) = bytes.last_mut() {
                *last &= 0xff >> spare;
            }
            let mut program = Program::new();
            let func = program.functions.push(Function::new("f"));
            let tensor = Tensor::from_bytes(dtype, &shape, bytes).expect("a tensor");
            let mut b = Builder::new(&mut program, func);
            let value = b.constant(tensor.clone()).expect("a constant");
            b.function_mut().add_output("y", value);
            let printed = print(&program, &PrintOptions::default());
            let again = read(&printed).program;
            let (_, got) = again.consts.iter().next().expect("it has a constant");
            assert_eq!(got, &tensor, "{printed}");
        }
    }
}
