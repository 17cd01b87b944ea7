//! Functions and ops.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use mlc_diag::Loc;
use mlc_ir::{
    Arity, AttrValue, Function, Node, NodeData, Op, Param, ParamKind, Program, Region, Value,
};

use super::constant::{Constants, tensor_type};
use super::{PrintOptions, ty};
use crate::float::f64_text;
use crate::names::{self, Taken};

/// Prints one function.
pub(super) struct FunctionPrinter<'a> {
    program: &'a Program,
    function: &'a Function,
    constants: &'a Constants,
    options: &'a PrintOptions,
    /// Raw name and its spelling.
    names: BTreeMap<Value, (String, String)>,
}

impl<'a> FunctionPrinter<'a> {
    pub(super) fn new(
        program: &'a Program,
        function: &'a Function,
        constants: &'a Constants,
        options: &'a PrintOptions,
    ) -> Self {
        let mut this = Self { program, function, constants, options, names: BTreeMap::new() };
        let mut taken = Taken::default();
        let mut unnamed = 0_u64;
        this.name_region(function.body, &mut taken, &mut unnamed);
        this
    }

    /// Names values in the order in which they are printed.
    fn name_region(&mut self, region: Region, taken: &mut Taken, unnamed: &mut u64) {
        let function = self.function;
        let data = &function.regions[region];
        for &arg in &data.args {
            self.name(arg, taken, unnamed);
        }
        for &node in &data.nodes {
            for &result in &function.nodes[node].results {
                self.name(result, taken, unnamed);
            }
            for &nested in &function.nodes[node].regions {
                self.name_region(nested, taken, unnamed);
            }
        }
    }

    fn name(&mut self, value: Value, taken: &mut Taken, unnamed: &mut u64) {
        let name = match &self.function.values[value].name {
            Some(name) => {
                let unique = taken.unique(name);
                let spelling = names::value(&unique);
                (unique, spelling)
            }
            None => {
                let number = unnamed.to_string();
                *unnamed += 1;
                let spelling = format!("%{number}");
                (number, spelling)
            }
        };
        self.names.insert(value, name);
    }

    fn value(&self, value: Value) -> String {
        match self.names.get(&value) {
            Some((_, spelling)) => spelling.clone(),
            None => names::value(&format!("undefined {value:?}")),
        }
    }

    fn values(&self, values: &[Value]) -> String {
        values.iter().map(|&v| self.value(v)).collect::<Vec<_>>().join(", ")
    }

    /// The name of a value without its spelling.
    fn raw(&self, value: Value) -> &str {
        self.names.get(&value).map_or("", |(raw, _)| raw)
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let body = &self.function.regions[self.function.body];
        write!(out, "func {}(", names::global(&self.function.name))?;
        for (i, (param, &arg)) in self.function.params.iter().zip(&body.args).enumerate() {
            out.write_str(if i > 0 { ", " } else { "" })?;
            self.write_param(out, param, arg)?;
        }
        out.write_str(")")?;
        self.write_outputs(out, &body.results)?;
        out.write_str(" {\n")?;
        self.write_nodes(out, self.function.body, 1)?;
        let space = if body.results.is_empty() { "" } else { " " };
        writeln!(out, "  return{space}{}", self.values(&body.results))?;
        out.write_str("}\n")
    }

    fn write_param(&self, out: &mut dyn Write, param: &Param, arg: Value) -> fmt::Result {
        if param.kind == ParamKind::State {
            out.write_str("state ")?;
        }
        out.write_str(&self.value(arg))?;
        if self.raw(arg) != param.name {
            write!(out, " as {}", names::word(&param.name))?;
        }
        write!(out, ": {}", ty::text(self.function.ty(arg)))?;
        match (&param.default_shape, param.enumerated.is_empty()) {
            (None, true) => Ok(()),
            (Some(shape), true) => write!(out, " {{default = {shape:?}}}"),
            (None, false) => write!(out, " {{enumerated = {:?}}}", param.enumerated),
            (Some(shape), false) => {
                write!(out, " {{default = {shape:?}, enumerated = {:?}}}", param.enumerated)
            }
        }
    }

    /// A single output that is named like the value it gives stands without its name, unless a
    /// parameter has that name.
    fn write_outputs(&self, out: &mut dyn Write, results: &[Value]) -> fmt::Result {
        let outputs = &self.function.outputs;
        if let ([output], [result]) = (&outputs[..], results)
            && self.raw(*result) == output.name
            && self.function.params.iter().all(|param| param.name != output.name)
        {
            return write!(out, " -> {}", ty::text(self.function.ty(*result)));
        }
        out.write_str(" -> (")?;
        for (i, (output, &result)) in outputs.iter().zip(results).enumerate() {
            out.write_str(if i > 0 { ", " } else { "" })?;
            let name = names::word(&output.name);
            write!(out, "{name}: {}", ty::text(self.function.ty(result)))?;
        }
        out.write_str(")")
    }

    fn write_nodes(&self, out: &mut dyn Write, region: Region, level: usize) -> fmt::Result {
        for &node in &self.function.regions[region].nodes {
            self.write_node(out, node, level)?;
        }
        Ok(())
    }

    fn write_node(&self, out: &mut dyn Write, node: Node, level: usize) -> fmt::Result {
        let data = &self.function.nodes[node];
        indent(out, level)?;
        if !data.results.is_empty() {
            write!(out, "{} = ", self.values(&data.results))?;
        }
        out.write_str(data.op.spec().name)?;
        match &data.op {
            Op::Const(payload) => write!(out, " {}", self.constants.text(payload.value))?,
            op => {
                self.write_operands(out, data)?;
                self.write_attrs(out, op)?;
            }
        }
        for &nested in &data.regions {
            self.write_region(out, nested, level)?;
        }
        let types: Vec<String> =
            data.results.iter().map(|&result| ty::text(self.function.ty(result))).collect();
        if !types.is_empty() {
            write!(out, " : {}", types.join(", "))?;
        }
        if self.options.locations {
            write_loc(out, self.program.loc(data.loc))?;
        }
        out.write_str("\n")
    }

    fn write_operands(&self, out: &mut dyn Write, data: &NodeData) -> fmt::Result {
        let mut first = true;
        for (at, slot) in data.op.spec().operands.iter().enumerate() {
            let values = data.operands.slot(at);
            let text = match slot.arity {
                Arity::One => self.values(values),
                Arity::Opt if values.is_empty() => continue,
                Arity::Opt => format!("{} = {}", slot.name, self.values(values)),
                Arity::Many if at == 0 => format!("[{}]", self.values(values)),
                Arity::Many if values.is_empty() => continue,
                Arity::Many => format!("{} = [{}]", slot.name, self.values(values)),
            };
            write!(out, "{}{text}", if first { " " } else { ", " })?;
            first = false;
        }
        Ok(())
    }

    fn write_attrs(&self, out: &mut dyn Write, op: &Op) -> fmt::Result {
        let mut open = false;
        for ((spec, value), default) in op.spec().attrs.iter().zip(op.attrs()).zip(op.defaults()) {
            if default.as_ref() == Some(&value) {
                continue;
            }
            out.write_str(if open { ", " } else { " {" })?;
            open = true;
            write!(out, "{} = {}", spec.name, self.attr(&value))?;
        }
        if open { out.write_str("}") } else { Ok(()) }
    }

    fn attr(&self, value: &AttrValue) -> String {
        match value {
            AttrValue::Float(x) => f64_text(x.0),
            AttrValue::Str(text) => names::quote(text),
            AttrValue::Strs(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| names::quote(text)).collect();
                format!("[{}]", texts.join(", "))
            }
            AttrValue::Word(word) => names::word(word),
            AttrValue::Const(id) => match self.program.consts.try_get(*id) {
                Some(tensor) => format!("{} : {}", self.constants.text(*id), tensor_type(tensor)),
                None => self.constants.text(*id),
            },
            AttrValue::None
            | AttrValue::Int(_)
            | AttrValue::Bool(_)
            | AttrValue::Ints(_)
            | AttrValue::Bools(_)
            | AttrValue::DType(_) => value.to_string(),
        }
    }

    fn write_region(&self, out: &mut dyn Write, region: Region, level: usize) -> fmt::Result {
        let data = &self.function.regions[region];
        if !data.args.is_empty() {
            let args: Vec<String> = data
                .args
                .iter()
                .map(|&arg| format!("{}: {}", self.value(arg), ty::text(self.function.ty(arg))))
                .collect();
            write!(out, " ({})", args.join(", "))?;
        }
        let space = if data.results.is_empty() { "" } else { " " };
        if data.nodes.is_empty() {
            return write!(out, " {{ yield{space}{} }}", self.values(&data.results));
        }
        out.write_str(" {\n")?;
        self.write_nodes(out, region, level + 1)?;
        indent(out, level + 1)?;
        writeln!(out, "yield{space}{}", self.values(&data.results))?;
        indent(out, level)?;
        out.write_str("}")
    }
}

fn indent(out: &mut dyn Write, level: usize) -> fmt::Result {
    (0..level).try_for_each(|_| out.write_str("  "))
}

/// Writes ` loc(…)` unless nothing is known; `_` stands for a part that is not.
fn write_loc(out: &mut dyn Write, loc: &Loc) -> fmt::Result {
    if loc.is_unknown() {
        return Ok(());
    }
    let missing = || "_".to_owned();
    let mut parts = vec![
        loc.module.as_ref().map_or_else(missing, |module| names::quote(module)),
        loc.source
            .as_ref()
            .map_or_else(missing, |(file, line)| format!("{}:{line}", names::quote(file))),
        loc.origin.as_ref().map_or_else(missing, |origin| names::quote(origin)),
    ];
    while parts.last().is_some_and(|part| part == "_") {
        parts.pop();
    }
    if !loc.passes.is_empty() {
        let passes: Vec<String> = loc.passes.iter().map(|pass| names::quote(pass)).collect();
        parts.push(format!("passes = [{}]", passes.join(", ")));
    }
    write!(out, " loc({})", parts.join(", "))
}
