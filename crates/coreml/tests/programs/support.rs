//! Programs for the tests of emission and reading, and a text that shows what a program means.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mlc_coreml::emit::{EmitOptions, Emitted, emit};
use mlc_coreml::package::Existing;
use mlc_coreml::read::{Read, read};
use mlc_ir::{
    AttrValue, Builder, Dim, Function, Node, Op, Param, Program, Region, Type, Value, verify,
};
use mlc_target::Opset;
use tempfile::TempDir;

/// A program with one function `main`: `params` and the outputs that `fill` names.
pub(crate) fn program(
    params: &[(&str, Type)],
    fill: impl FnOnce(&mut Builder<'_>, &[Value]) -> Vec<(&'static str, Value)>,
) -> Program {
    let mut program = Program::new();
    add_function(&mut program, "main", params, fill);
    program
}

/// Adds a function to `program`. State types make states of their parameters.
pub(crate) fn add_function(
    program: &mut Program,
    name: &str,
    params: &[(&str, Type)],
    fill: impl FnOnce(&mut Builder<'_>, &[Value]) -> Vec<(&'static str, Value)>,
) {
    let mut function = Function::new(name);
    let args: Vec<Value> = params
        .iter()
        .map(|(name, ty)| {
            let param = match ty {
                Type::State(_) => Param::state(*name),
                _ => Param::input(*name),
            };
            function.add_param(param, ty.clone())
        })
        .collect();
    let func = program.functions.push(function);
    let mut builder = Builder::new(program, func);
    let outputs = fill(&mut builder, &args);
    for (name, value) in outputs {
        program.functions[func].add_output(name, value);
    }
    let problems = verify(program);
    assert!(problems.is_empty(), "{:?}", problems.items());
}

/// Where a test writes `name`: the folder of the conformance run, or one that goes away.
pub(crate) struct Goal {
    _folder: Option<TempDir>,
    pub(crate) path: PathBuf,
}

pub(crate) fn goal(name: &str, opset: Opset) -> Goal {
    let file = format!("coreml-{name}-{opset}.mlpackage");
    match std::env::var_os("MLC_CONFORMANCE_DIR") {
        Some(folder) => Goal { _folder: None, path: Path::new(&folder).join(file) },
        None => {
            let folder = tempfile::tempdir().unwrap();
            Goal { path: folder.path().join(file), _folder: Some(folder) }
        }
    }
}

/// Writes `program` with `options` and reads it again.
pub(crate) fn round_trip(name: &str, program: &Program, options: &EmitOptions) -> (Read, Emitted) {
    let goal = goal(name, options.opset);
    let emitted = match emit(program, &goal.path, options, Existing::Replace) {
        Ok(emitted) => emitted,
        Err(problems) => panic!("{name} on {}: {}", options.opset, show(problems.items())),
    };
    match read(&goal.path) {
        Ok(read) => (read, emitted),
        Err(problems) => panic!("{name} on {}: {}", options.opset, show(problems.items())),
    }
}

pub(crate) fn show(items: &[mlc_diag::Diagnostic]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

/// Every file under `folder` with its content.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A text that is equal for programs that differ in names of values and symbols alone.
pub(crate) fn meaning(program: &Program) -> String {
    let mut functions: Vec<&Function> = program.functions.iter().map(|(_, f)| f).collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions.iter().map(|function| Printer::new(program, function).function()).collect()
}

struct Printer<'a> {
    program: &'a Program,
    function: &'a Function,
    values: BTreeMap<Value, usize>,
    next: usize,
    symbols: BTreeMap<String, usize>,
    text: String,
}

impl<'a> Printer<'a> {
    fn new(program: &'a Program, function: &'a Function) -> Self {
        let (values, symbols) = (BTreeMap::new(), BTreeMap::new());
        Self { program, function, values, next: 0, symbols, text: String::new() }
    }

    fn function(mut self) -> String {
        let body = &self.function.regions[self.function.body];
        writeln!(self.text, "func {}", self.function.name).unwrap();
        // A package lists states last.
        let mut params: Vec<_> = self.function.params.iter().zip(&body.args).collect();
        params.sort_by_key(|(param, _)| param.kind);
        for (param, &arg) in params {
            let value = self.value(arg);
            let (default, enumerated) = (&param.default_shape, &param.enumerated);
            writeln!(
                self.text,
                "  {:?} {} = {value} {default:?} {enumerated:?}",
                param.kind, param.name
            )
            .unwrap();
        }
        self.region(self.function.body, 1);
        for (output, &value) in self.function.outputs.iter().zip(&body.results) {
            let value = self.value(value);
            writeln!(self.text, "  output {} = {value}", output.name).unwrap();
        }
        self.text
    }

    fn region(&mut self, region: Region, depth: usize) {
        for &node in &self.function.regions[region].nodes {
            self.node(node, depth);
        }
    }

    fn node(&mut self, node: Node, depth: usize) {
        let data = &self.function.nodes[node];
        let spec = data.op.spec();
        if let Op::Identity(_) = data.op {
            // Emission adds these where a name alone cannot stand.
            self.value(data.operands.all()[0]);
            let number = self.values[&data.operands.all()[0]];
            self.values.insert(data.results[0], number);
            return;
        }
        let results: Vec<String> = data.results.iter().map(|&v| self.value(v)).collect();
        let operands: Vec<String> = (0..data.operands.slots())
            .map(|slot| {
                let values: Vec<String> =
                    data.operands.slot(slot).iter().map(|&v| self.value(v)).collect();
                format!("({})", values.join(" "))
            })
            .collect();
        let attrs: Vec<String> = spec
            .attrs
            .iter()
            .zip(data.op.attrs())
            .map(|(attr, value)| format!("{}={}", attr.name, self.attr(&value)))
            .collect();
        let indent = "  ".repeat(depth);
        writeln!(
            self.text,
            "{indent}{} = {} {} {}",
            results.join(" "),
            spec.name,
            operands.join(" "),
            attrs.join(" ")
        )
        .unwrap();
        for &region in &data.regions {
            let args: Vec<String> =
                self.function.regions[region].args.iter().map(|&v| self.value(v)).collect();
            writeln!(self.text, "{indent} region {}", args.join(" ")).unwrap();
            self.region(region, depth + 1);
            let results: Vec<String> =
                self.function.regions[region].results.iter().map(|&v| self.value(v)).collect();
            writeln!(self.text, "{indent} yields {}", results.join(" ")).unwrap();
        }
    }

    fn attr(&self, value: &AttrValue) -> String {
        match value {
            AttrValue::Const(id) => {
                let tensor = self.program.consts.get(*id);
                let digest = tensor.digest().unwrap();
                format!("{}{:?}:{:02x?}", tensor.dtype(), tensor.shape(), &digest[..4])
            }
            other => other.to_string(),
        }
    }

    fn value(&mut self, value: Value) -> String {
        let next = self.next;
        let number = *self.values.entry(value).or_insert(next);
        self.next += usize::from(number == next);
        let ty = self.function.ty(value).clone();
        let ty = ty.map_dims(&mut |dim| self.dim(dim));
        format!("%{number}:{ty}")
    }

    fn dim(&mut self, dim: &Dim) -> Dim {
        dim.for_each_symbol(&mut |name| {
            let next = self.symbols.len();
            self.symbols.entry(name.to_owned()).or_insert(next);
        });
        dim.substitute(&|name| Some(Dim::symbol(&format!("s{}", self.symbols[name]))))
    }
}
