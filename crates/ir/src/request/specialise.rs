//! What requests make of inputs whose shapes the source declares.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes, nearest};

use super::InputRequest;
use crate::dim::{Dim, SymbolRange, Symbols};
use crate::program::{FuncId, Program};
use crate::types::TensorType;

/// Most shapes that an input may list.
const MAX_ENUMERATED: usize = 128;

/// An input as its source declares it.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The user's name.
    pub name: String,
    /// The type.
    pub ty: TensorType,
    /// The default shape, if the source has one.
    pub default_shape: Option<Vec<u64>>,
}

/// The shapes of one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shapes {
    /// The default shape.
    pub default: Option<Vec<u64>>,
    /// The only shapes allowed, the default first; empty if ranges say what is allowed.
    pub enumerated: Vec<Vec<u64>>,
}

/// What requests make of a program: numbers and names for symbols, narrower ranges, and shapes of
/// inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Specialisation {
    /// What symbols become: a number, or a symbol of another name.
    pub symbols: BTreeMap<String, Dim>,
    /// Ranges of symbols, under the names they have now, where these change.
    pub ranges: BTreeMap<String, SymbolRange>,
    /// Shapes of all inputs that have symbols or a default, by name.
    pub inputs: BTreeMap<String, Shapes>,
}

impl Specialisation {
    /// What `requests` make of `inputs`, whose symbols have the ranges of `symbols`.
    ///
    /// # Errors
    /// Everything that contradicts the source or another request.
    pub fn find(
        requests: &[InputRequest],
        inputs: &[Declared],
        symbols: &Symbols,
    ) -> Result<Self, Diagnostics> {
        let mut search = Search {
            inputs,
            source: symbols,
            fixed: BTreeMap::new(),
            ranges: BTreeMap::new(),
            names: BTreeMap::new(),
            steps: BTreeMap::new(),
            lists: BTreeMap::new(),
            defaults: BTreeMap::new(),
            found: Diagnostics::new(),
        };
        for request in requests {
            search.request(request);
        }
        search.check_expressions(requests);
        let made = search.finish(requests);
        if search.found.has_errors() { Err(search.found) } else { Ok(made) }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty() && self.ranges.is_empty() && self.inputs.is_empty()
    }

    /// What an extent becomes.
    #[must_use]
    pub fn dim(&self, dim: &Dim) -> Dim {
        dim.substitute(&|name| self.symbols.get(name).cloned())
    }

    /// Gives the types and contents of all values of `func`, and its parameters, what was asked for.
    /// Types of results are not inferred anew.
    pub fn apply(&self, program: &mut Program, func: FuncId) {
        for (name, &range) in &self.ranges {
            program.symbols.declare(name, range);
        }
        let function = &mut program.functions[func];
        let values: Vec<_> = function.values.iter().map(|(value, _)| value).collect();
        for value in values {
            let data = &mut function.values[value];
            data.ty = data.ty.map_dims(&mut |dim| self.dim(dim));
            if let Some(content) = &mut data.content {
                *content = content.iter().map(|dim| self.dim(dim)).collect();
            }
        }
        for param in &mut function.params {
            if let Some(shapes) = self.inputs.get(&param.name) {
                param.default_shape.clone_from(&shapes.default);
                param.enumerated.clone_from(&shapes.enumerated);
            }
        }
    }
}

/// Values of a symbol, one a shape, as the input of that name lists them.
type Listed = (String, Vec<i64>);

struct Search<'a> {
    inputs: &'a [Declared],
    source: &'a Symbols,
    fixed: BTreeMap<String, i64>,
    ranges: BTreeMap<String, SymbolRange>,
    names: BTreeMap<String, String>,
    steps: BTreeMap<String, u64>,
    lists: BTreeMap<String, Listed>,
    defaults: BTreeMap<String, i64>,
    found: Diagnostics,
}

fn problem(flag: &str, input: &str, message: String) -> Diagnostic {
    Diagnostic::new(codes::SHAPE_REQUEST, message)
        .at(Place::Argument(format!("{flag} {input}").into()))
}

fn text(shape: &[u64]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

fn range_text(range: SymbolRange) -> String {
    range.max.map_or_else(|| format!("{}..", range.min), |max| format!("{}..{max}", range.min))
}

impl Search<'_> {
    fn request(&mut self, request: &InputRequest) {
        let Some(input) = self.inputs.iter().find(|input| input.name == request.name) else {
            let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            let near = nearest(&request.name, names.iter().copied());
            let help = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("inputs are {}", names.join(", ")),
            };
            let message = format!("the model has no input `{}`", request.name);
            let diagnostic = Diagnostic::new(codes::BAD_ARGUMENT, message)
                .at(Place::Argument(format!("{} {}", request.flag(), request.name).into()));
            self.found.push(diagnostic.help(help));
            return;
        };
        let rank = input.ty.rank();
        let lists = request.enumerated.iter().map(|shape| ("--enumerate", shape));
        let given = request.shape.iter().map(|shape| ("--input", shape));
        let default = request.default_shape.iter().map(|shape| ("--default-shape", shape));
        for (flag, shape) in given.chain(lists).chain(default) {
            if shape.len() != rank {
                let message = format!(
                    "`{}` is {}, {} has {} axes",
                    input.name,
                    input.ty,
                    text(shape),
                    shape.len()
                );
                self.found.push(problem(flag, &request.name, message));
                return;
            }
        }
        if let Some(axis) = request.dynamic.keys().find(|&&axis| axis >= rank) {
            let message = format!("`{}` is {}, which has no axis {axis}", input.name, input.ty);
            self.found.push(problem("--dynamic", &request.name, message));
            return;
        }
        if !request.enumerated.is_empty()
            && (request.shape.is_some() || !request.dynamic.is_empty())
        {
            let message = format!("shapes of `{}` are both listed and given otherwise", input.name);
            let help = "`--enumerate` stands alone; `--default-shape` may choose one of its shapes";
            self.found.push(problem("--enumerate", &request.name, message).help(help));
            return;
        }
        self.axes(request, &input.ty.clone());
    }

    fn axes(&mut self, request: &InputRequest, ty: &TensorType) {
        for (axis, dim) in ty.shape.iter().enumerate() {
            if let Some(dynamic) = request.dynamic.get(&axis) {
                self.narrow(request, axis, dim, dynamic);
            } else if let Some(&extent) = request.shape.as_ref().and_then(|shape| shape.get(axis)) {
                self.fix(("--input", &request.name), axis, dim, extent);
            } else if let Some(first) = request.enumerated.first() {
                let all: Vec<u64> = request.enumerated.iter().map(|shape| shape[axis]).collect();
                if all.iter().all(|&extent| extent == first[axis]) {
                    self.fix(("--enumerate", &request.name), axis, dim, first[axis]);
                } else {
                    self.list(request, axis, dim, &all);
                }
            }
        }
        let default = request.default_shape.as_ref().map(|shape| ("--default-shape", shape));
        let given = request.shape.as_ref().map(|shape| ("--input", shape));
        if let Some((flag, shape)) = default.or(given) {
            for (dim, &extent) in ty.shape.iter().zip(shape) {
                let Some((symbol, value)) = self.solve(dim, extent) else { continue };
                let before = self.defaults.insert(symbol.clone(), value);
                if before.is_some_and(|before| before != value) {
                    let message = format!(
                        "`{symbol}` is {value} in {} and another number before",
                        text(shape)
                    );
                    self.found.push(problem(flag, &request.name, message));
                }
            }
            let fits = ty.shape.iter().zip(shape).all(|(dim, &extent)| {
                dim.as_const().is_none_or(|n| u64::try_from(n).is_ok_and(|n| n == extent))
            });
            if !fits && flag == "--default-shape" {
                let message = format!("the default {} does not fit {ty}", text(shape));
                self.found.push(problem(flag, &request.name, message));
            }
        }
    }

    /// Symbol and its value where `dim` is `extent`, if the extent tells them.
    fn solve(&self, dim: &Dim, extent: u64) -> Option<(String, i64)> {
        let (symbol, factor, offset) = dim.linear()?;
        let rest = i64::try_from(extent).ok()?.checked_sub(offset)?;
        (rest % factor == 0).then(|| (symbol, rest / factor))
    }

    fn fix(&mut self, (flag, input): (&str, &str), axis: usize, dim: &Dim, extent: u64) {
        if let Some(n) = dim.as_const() {
            if u64::try_from(n) != Ok(extent) {
                let message =
                    format!("axis {axis} of `{input}` is {n} in the source, not {extent}");
                self.found.push(self.frozen(problem(flag, input, message), input, axis));
            }
            return;
        }
        if dim.linear().is_none() {
            // An expression of several symbols: checked when these are known.
            return;
        }
        let Some((symbol, value)) = self.solve(dim, extent) else {
            let message = format!("axis {axis} of `{input}` is `{dim}`, which is never {extent}");
            self.found.push(problem(flag, input, message));
            return;
        };
        if !self.is_inside(&symbol, value) {
            let message = format!("axis {axis} of `{input}` cannot be {extent}");
            self.found.push(self.outside(problem(flag, input, message), dim));
            return;
        }
        let before = self.fixed.insert(symbol.clone(), value);
        if let Some(before) = before.filter(|&before| before != value) {
            let message = format!(
                "axis {axis} of `{input}` is {extent}, where `{symbol}` is {before} elsewhere"
            );
            let note = format!("axes whose extent has `{symbol}` vary together");
            self.found.push(problem(flag, input, message).note(note));
        }
    }

    fn frozen(&self, diagnostic: Diagnostic, input: &str, axis: usize) -> Diagnostic {
        diagnostic
            .note("the source was made for this one extent; what was computed from it stands in the program as numbers")
            .help(format!(
                "export the model again with axis {axis} open (PyTorch: `dynamic_shapes={{\"{input}\": {{{axis}: torch.export.Dim(\"n\")}}}}`, TensorFlow: `None` in the shape of `tf.TensorSpec`), or with the shape you want"
            ))
    }

    fn outside(&self, diagnostic: Diagnostic, dim: &Dim) -> Diagnostic {
        let (low, high) = self.source.bounds(dim);
        let range = SymbolRange { min: low.unwrap_or(0), max: high };
        diagnostic
            .note(format!("the source takes {} there", range_text(range)))
            .help("a range can be narrowed, not widened: export the model with a wider one")
    }

    fn is_inside(&self, symbol: &str, value: i64) -> bool {
        let range = self.source.range(symbol);
        value >= range.min && range.max.is_none_or(|max| value <= max)
    }

    fn narrow(
        &mut self,
        request: &InputRequest,
        axis: usize,
        dim: &Dim,
        asked: &super::AxisRequest,
    ) {
        let input = &request.name;
        if let Some(n) = dim.as_const() {
            let message = format!("axis {axis} of `{input}` is {n} in the source and cannot vary");
            let diagnostic = self.frozen(problem("--dynamic", input, message), input, axis);
            self.found.push(diagnostic);
            return;
        }
        let Some((symbol, factor, offset)) = dim.linear().filter(|line| line.1 > 0) else {
            let message =
                format!("axis {axis} of `{input}` is `{dim}`, which has no range of its own");
            let help = "give a range to the axes whose extents it is made of";
            self.found.push(problem("--dynamic", input, message).help(help));
            return;
        };
        let known = self.source.range(&symbol);
        let div =
            |n: i64| n.checked_sub(offset).map(|n| (n.div_euclid(factor), n.rem_euclid(factor)));
        let min = div(asked.range.min).map_or(known.min, |(q, r)| q + i64::from(r > 0));
        let max = match asked.range.max {
            Some(max) => div(max).map(|(q, _)| q),
            None => known.max,
        };
        let range = SymbolRange { min, max };
        let widens = min < known.min || known.max.is_some_and(|k| max.is_none_or(|max| max > k));
        let is_empty = max.is_some_and(|max| max < min);
        if widens || is_empty {
            let what = range_text(asked.range);
            let message = format!("axis {axis} of `{input}` cannot have the range {what}");
            let diagnostic = self.outside(problem("--dynamic", input, message), dim);
            self.found.push(diagnostic);
            return;
        }
        let before = self.ranges.insert(symbol.clone(), range);
        if before.is_some_and(|before| before != range) {
            let message = format!("`{symbol}` is given two ranges");
            self.found.push(problem("--dynamic", input, message));
        }
        if asked.step > 1 {
            let each = u64::try_from(factor).unwrap_or(1).max(1);
            let step = asked.step / each;
            if !asked.step.is_multiple_of(each) {
                let message = format!(
                    "axis {axis} of `{input}` is `{dim}`, which does not grow by {}",
                    asked.step
                );
                self.found.push(problem("--dynamic", input, message));
            }
            self.steps.insert(symbol.clone(), step.max(1));
        }
        if dim.as_symbol().is_some() {
            self.rename(&symbol, &asked.symbol, input);
        }
    }

    fn rename(&mut self, symbol: &str, to: &str, input: &str) {
        let before = self.names.insert(symbol.to_owned(), to.to_owned());
        if let Some(before) = before.filter(|before| before != to) {
            let message = format!("one extent is called both `{before}` and `{to}`");
            self.found.push(problem("--dynamic", input, message));
        }
        let twins: Vec<&String> =
            self.names.iter().filter(|(_, name)| *name == to).map(|(old, _)| old).collect();
        let ranges: Vec<_> = twins.iter().filter_map(|old| self.ranges.get(*old)).collect();
        if ranges.windows(2).any(|pair| pair[0] != pair[1]) {
            let message = format!("`{to}` is given two ranges");
            self.found.push(problem("--dynamic", input, message));
        }
        if to != symbol && self.source.contains(to) && !self.names.contains_key(to) {
            let message = format!("another extent of the model is called `{to}`");
            self.found.push(problem("--dynamic", input, message).help("choose another name"));
        }
    }

    fn list(&mut self, request: &InputRequest, axis: usize, dim: &Dim, extents: &[u64]) {
        let input = &request.name;
        if let Some(n) = dim.as_const() {
            let message = format!("axis {axis} of `{input}` is {n} in the source and cannot vary");
            let diagnostic = self.frozen(problem("--enumerate", input, message), input, axis);
            self.found.push(diagnostic);
            return;
        }
        let mut values = Vec::with_capacity(extents.len());
        for &extent in extents {
            match self.solve(dim, extent) {
                Some((symbol, value)) if self.is_inside(&symbol, value) => values.push(value),
                Some(_) => {
                    let message = format!("axis {axis} of `{input}` cannot be {extent}");
                    let diagnostic = self.outside(problem("--enumerate", input, message), dim);
                    self.found.push(diagnostic);
                    return;
                }
                None => {
                    let message =
                        format!("axis {axis} of `{input}` is `{dim}`, which is never {extent}");
                    self.found.push(problem("--enumerate", input, message));
                    return;
                }
            }
        }
        let Some((symbol, ..)) = dim.linear() else { return };
        if let Some((other, before)) = self.lists.get(&symbol)
            && *before != values
        {
            let message = format!(
                "axis {axis} of `{input}` and `{other}` share `{symbol}` and are listed with different extents"
            );
            let note = "shapes at the same place of the lists go together";
            self.found.push(problem("--enumerate", input, message).note(note));
        }
        let (low, high) = (values.iter().min().copied(), values.iter().max().copied());
        self.ranges.insert(symbol.clone(), SymbolRange { min: low.unwrap_or(0), max: high });
        self.lists.insert(symbol, (input.clone(), values));
    }

    /// Extents of several symbols that were asked to be a number.
    fn check_expressions(&mut self, requests: &[InputRequest]) {
        let mut wrong = Vec::new();
        for request in requests {
            let Some(shape) = &request.shape else { continue };
            let Some(input) = self.inputs.iter().find(|i| i.name == request.name) else { continue };
            for (axis, (dim, &extent)) in input.ty.shape.iter().zip(shape).enumerate() {
                if dim.as_const().is_some()
                    || dim.linear().is_some()
                    || request.dynamic.contains_key(&axis)
                {
                    continue;
                }
                let known = dim.substitute(&|name| self.fixed.get(name).map(|&n| Dim::Const(n)));
                if known.as_const().and_then(|n| u64::try_from(n).ok()) != Some(extent) {
                    let message = format!(
                        "axis {axis} of `{}` is `{dim}`, which is `{known}` and not {extent}",
                        request.name
                    );
                    let help = "fix the axes whose extents it is made of";
                    wrong.push(problem("--input", &request.name, message).help(help));
                }
            }
        }
        self.found.extend(wrong);
    }

    /// The range that a symbol of the source has now.
    fn range(&self, symbol: &str) -> SymbolRange {
        self.ranges.get(symbol).copied().unwrap_or_else(|| self.source.range(symbol))
    }

    /// All values of a symbol, if it is listed, steps, or its range holds no more than `most`.
    fn values(&self, symbol: &str, most: usize) -> Option<Vec<i64>> {
        if let Some((_, list)) = self.lists.get(symbol) {
            return Some(list.clone());
        }
        let range = self.range(symbol);
        let step = i64::try_from(self.steps.get(symbol).copied().unwrap_or(1)).ok()?;
        let last = range.max?.checked_sub(range.min)? / step;
        let count = usize::try_from(last).ok()?.checked_add(1)?;
        (count <= most).then(|| (0..=last).map(|k| range.min + k * step).collect())
    }

    /// The number that a symbol has by default.
    fn default(&self, symbol: &str) -> Option<i64> {
        if let Some((_, list)) = self.lists.get(symbol) {
            let asked = self.defaults.get(symbol).filter(|asked| list.contains(asked));
            return asked.or(list.first()).copied();
        }
        let before = self.inputs.iter().find_map(|input| {
            let shape = input.default_shape.as_ref()?;
            let mut told = input.ty.shape.iter().zip(shape).filter_map(|(d, &n)| self.solve(d, n));
            told.find(|(name, _)| name == symbol).map(|(_, value)| value)
        });
        let range = self.range(symbol);
        let value = self.defaults.get(symbol).copied().or(before)?;
        let value = value.max(range.min).min(range.max.unwrap_or(i64::MAX));
        let step = i64::try_from(self.steps.get(symbol).copied().unwrap_or(1)).unwrap_or(1);
        Some(range.min + (value - range.min) / step * step)
    }

    fn finish(&mut self, requests: &[InputRequest]) -> Specialisation {
        self.check_defaults(requests);
        let mut made = Specialisation::default();
        for (symbol, &value) in &self.fixed {
            made.symbols.insert(symbol.clone(), Dim::Const(value));
        }
        for (symbol, name) in &self.names {
            if symbol != name && !self.fixed.contains_key(symbol) {
                made.symbols.insert(symbol.clone(), Dim::symbol(name));
            }
        }
        for (symbol, &range) in &self.ranges {
            if !self.fixed.contains_key(symbol) {
                let name = self.names.get(symbol).unwrap_or(symbol);
                made.ranges.insert(name.clone(), range);
            }
        }
        if requests.is_empty() {
            return made;
        }
        for input in self.inputs {
            let shapes = self.shapes(input, InputRequest::find(requests, &input.name));
            made.inputs.insert(input.name.clone(), shapes);
        }
        self.check_lists(&mut made);
        made
    }

    fn check_defaults(&mut self, requests: &[InputRequest]) {
        let mut wrong = Vec::new();
        for request in requests {
            let shape = match (&request.default_shape, &request.shape) {
                (Some(shape), _) => ("--default-shape", shape),
                (None, Some(shape)) if !request.dynamic.is_empty() => ("--input", shape),
                _ => continue,
            };
            let Some(input) = self.inputs.iter().find(|i| i.name == request.name) else { continue };
            if !request.enumerated.is_empty() && !request.enumerated.contains(shape.1) {
                let message =
                    format!("the default {} of `{}` is not listed", text(shape.1), request.name);
                wrong.push(problem(shape.0, &request.name, message));
                continue;
            }
            for (axis, (dim, &extent)) in input.ty.shape.iter().zip(shape.1).enumerate() {
                let Some((symbol, value)) = self.solve(dim, extent) else { continue };
                let range = self.range(&symbol);
                let inside = value >= range.min && range.max.is_none_or(|max| value <= max);
                if !inside {
                    let message = format!(
                        "the default {extent} of axis {axis} of `{}` is outside {}",
                        request.name,
                        range_text(range)
                    );
                    wrong.push(problem(shape.0, &request.name, message));
                }
            }
        }
        self.found.extend(wrong);
    }

    fn shapes(&mut self, input: &Declared, request: Option<&InputRequest>) -> Shapes {
        let mut symbols = Vec::new();
        for dim in &input.ty.shape {
            dim.for_each_symbol(&mut |name| {
                if !self.fixed.contains_key(name) && !symbols.iter().any(|known| known == name) {
                    symbols.push(name.to_owned());
                }
            });
        }
        if symbols.is_empty() {
            return Shapes::default();
        }
        let at = |values: &BTreeMap<String, i64>| -> Option<Vec<u64>> {
            let value =
                |name: &str| values.get(name).or(self.fixed.get(name)).copied().map(Dim::Const);
            let dims = input.ty.shape.iter().map(|dim| dim.substitute(&value).as_const());
            dims.map(|extent| extent.and_then(|n| u64::try_from(n).ok())).collect()
        };
        let default: Option<BTreeMap<String, i64>> =
            symbols.iter().map(|s| Some((s.clone(), self.default(s)?))).collect();
        let default = default.as_ref().and_then(&at);
        // An input that shares an extent with one whose shapes are listed has a range of its own.
        let lists = request.is_some_and(|request| !request.enumerated.is_empty());
        let steps = request.is_some_and(|r| r.dynamic.values().any(|axis| axis.step > 1));
        if !lists && !steps {
            return Shapes { default, enumerated: Vec::new() };
        }
        let listed: Vec<&Vec<i64>> =
            symbols.iter().filter_map(|s| self.lists.get(s).map(|(_, list)| list)).collect();
        if lists && listed.is_empty() {
            // The request was refused.
            return Shapes { default, enumerated: Vec::new() };
        }
        if let Some(first) = listed.first() {
            if listed.len() < symbols.len() || listed.iter().any(|l| l.len() != first.len()) {
                return Shapes { default, enumerated: Vec::new() };
            }
            let rows = (0..first.len()).filter_map(|row| {
                at(&symbols.iter().cloned().zip(listed.iter().map(|list| list[row])).collect())
            });
            return Shapes { default, enumerated: rows.collect() };
        }
        let mut rows = vec![BTreeMap::new()];
        for symbol in &symbols {
            let values = self
                .values(symbol, MAX_ENUMERATED)
                .filter(|v| v.len() * rows.len() <= MAX_ENUMERATED);
            let Some(values) = values else {
                let message = format!(
                    "the shapes of `{}` by that step are more than {MAX_ENUMERATED}",
                    input.name
                );
                self.found.push(
                    problem("--dynamic", &input.name, message)
                        .note("a range of Core ML has no step; the shapes it means are listed instead")
                        .help("use a wider step, a narrower range, or no step"),
                );
                return Shapes { default, enumerated: Vec::new() };
            };
            rows = rows
                .into_iter()
                .flat_map(|row| {
                    values.iter().map(move |&value| {
                        let mut row: BTreeMap<String, i64> = row.clone();
                        row.insert(symbol.clone(), value);
                        row
                    })
                })
                .collect();
        }
        Shapes { default, enumerated: rows.iter().filter_map(&at).collect() }
    }

    /// Lists of several inputs have one length, and the default at one place, which comes first.
    fn check_lists(&mut self, made: &mut Specialisation) {
        let mut first: Option<(&str, usize, usize)> = None;
        for (name, shapes) in &mut made.inputs {
            if shapes.enumerated.is_empty() {
                continue;
            }
            let place = shapes
                .default
                .as_ref()
                .and_then(|default| shapes.enumerated.iter().position(|shape| shape == default))
                .unwrap_or(0);
            let count = shapes.enumerated.len();
            match first {
                Some((other, n, _)) if n != count => {
                    let message = format!("`{other}` lists {n} shapes and `{name}` {count}");
                    let note = "shapes at the same place of the lists go together";
                    self.found.push(problem("--enumerate", name, message).note(note));
                }
                Some((other, _, at)) if at != place => {
                    let message = format!(
                        "the defaults of `{other}` and `{name}` stand at different places of their lists"
                    );
                    self.found.push(problem("--default-shape", name, message));
                }
                _ => first = Some((name, count, place)),
            }
            shapes.enumerated[..=place].rotate_right(1);
            shapes.default = shapes.enumerated.first().cloned();
        }
    }
}
