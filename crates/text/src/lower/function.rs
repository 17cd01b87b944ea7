//! Functions, regions and scopes.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlc_diag::codes;
use mlc_ir::{Dim, FuncId, Function, Param, ParamKind, Region, RegionData, Type, Value};

use super::{Lower, declared};
use crate::ast::{Body, FunctionAst, Name, OutputAst, ParamAst, RegionAst, Spanned, Statement};
use crate::names::{self, Taken};

/// Values by name; `None` is poisoned.
type Scope = BTreeMap<(String, bool), Option<Value>>;

/// A function that is being made.
pub(super) struct FunctionCx<'l, 'a> {
    pub(super) lower: &'l mut Lower<'a>,
    pub(super) func: FuncId,
    scopes: Vec<Scope>,
}

/// Makes the function that `ast` describes.
pub(super) fn lower(lower: &mut Lower<'_>, ast: &FunctionAst) {
    let func = lower.program.functions.push(Function::new(ast.name.item.as_str()));
    let place = lower.source.place(ast.name.span);
    lower.spans.functions.insert(func, place);
    let mut cx = FunctionCx { lower, func, scopes: vec![Scope::new()] };
    let mut features = Taken::default();
    for param in &ast.params {
        cx.param(param, &mut features);
    }
    let body = cx.lower.program.functions[func].body;
    let results = cx.body(body, &ast.body);
    cx.outputs(ast, results, features);
}

impl FunctionCx<'_, '_> {
    fn param(&mut self, ast: &ParamAst, features: &mut Taken) {
        self.lower.no_open_extents(&ast.ty);
        let name = ast.feature.clone().unwrap_or_else(|| ast.name.text.clone());
        if !features.insert(&name) {
            self.lower.duplicate(ast.name.span, &format!("feature `{name}`"));
        }
        if ast.state != matches!(ast.ty.item, Type::State(_)) {
            let message = if ast.state {
                format!("a state parameter is a state, not {}", ast.ty.item)
            } else {
                format!("{} needs `state` in front of the parameter", ast.ty.item)
            };
            self.lower.problem(codes::TYPE_MISMATCH, ast.ty.span, message);
        }
        for shape in ast.default.iter().chain(&ast.enumerated) {
            self.check_shape(ast, shape);
        }
        let default_shape = ast.default.as_ref().map(|shape| shape.item.clone());
        let enumerated: Vec<Vec<u64>> = ast.enumerated.iter().map(|s| s.item.clone()).collect();
        if let (Some(default), false) = (&ast.default, enumerated.is_empty())
            && !enumerated.contains(&default.item)
        {
            let message = format!("the default {:?} is not enumerated", default.item);
            self.lower.problem(codes::SHAPE_MISMATCH, default.span, message);
        }
        let kind = if ast.state { ParamKind::State } else { ParamKind::Input };
        let function = &mut self.lower.program.functions[self.func];
        let param = Param { name, kind, default_shape, enumerated };
        let value = function.add_param(param, ast.ty.item.clone());
        function.values[value].name = None;
        self.define(&ast.name, Some(value));
    }

    /// Checks that a shape is one of those that the parameter's type allows.
    fn check_shape(&mut self, ast: &ParamAst, shape: &Spanned<Vec<u64>>) {
        let dims: &[Dim] = match &ast.ty.item {
            Type::Tensor(ty) | Type::State(ty) => &ty.shape,
            Type::List { .. } | Type::Tuple(_) | Type::Dict { .. } => &[],
        };
        let symbols = &self.lower.program.symbols;
        let fits = dims.len() == shape.item.len()
            && dims.iter().zip(&shape.item).all(|(dim, &n)| {
                let (low, high) = symbols.bounds(dim);
                i64::try_from(n).is_ok_and(|n| {
                    low.is_none_or(|low| n >= low) && high.is_none_or(|high| n <= high)
                })
            });
        if !fits {
            let message = format!("the shape {:?} is not one of {}", shape.item, ast.ty.item);
            self.lower.problem(codes::SHAPE_MISMATCH, shape.span, message);
        }
    }

    /// Fills a region; gives what it yields, or `None` if that is not known.
    fn body(&mut self, region: Region, ast: &Body) -> Option<Vec<Value>> {
        for statement in &ast.statements {
            match statement {
                Statement::Op(op) => self.op(region, op),
                Statement::Broken(names) => {
                    for name in names {
                        self.define(name, None);
                    }
                }
            }
        }
        let names = ast.results.as_ref()?;
        let found: Vec<Option<Value>> = names.iter().map(|name| self.value(name)).collect();
        let results = found.into_iter().collect::<Option<Vec<_>>>()?;
        self.lower.program.functions[self.func].regions[region].results = results.clone();
        Some(results)
    }

    /// Makes a nested region; `None` if what it yields is not known.
    pub(super) fn region(&mut self, ast: &RegionAst) -> Option<Region> {
        let function = &mut self.lower.program.functions[self.func];
        let region = function.regions.push(RegionData::default());
        self.scopes.push(Scope::new());
        for (name, ty) in &ast.args {
            self.lower.no_open_extents(ty);
            let function = &mut self.lower.program.functions[self.func];
            let value = function.add_arg(region, ty.item.clone());
            self.define(name, Some(value));
        }
        let results = self.body(region, &ast.body);
        self.scopes.pop();
        results.map(|_| region)
    }

    fn outputs(&mut self, ast: &FunctionAst, results: Option<Vec<Value>>, mut features: Taken) {
        let names = ast.body.results.as_deref().unwrap_or_default();
        let declared = ast.outputs.as_deref();
        for name in declared.unwrap_or_default().iter().filter_map(|o| o.name.as_ref()) {
            if !features.insert(&name.item) {
                self.lower.duplicate(name.span, &format!("feature `{}`", name.item));
            }
        }
        let Some(results) = results else { return };
        if let Some(declared) = declared
            && declared.len() != results.len()
        {
            let message =
                format!("{} values are returned, {} declared", results.len(), declared.len());
            self.lower.problem(codes::TYPE_MISMATCH, ast.body.end, message);
            return;
        }
        let mut outputs = Vec::new();
        for (i, (&value, name)) in results.iter().zip(names).enumerate() {
            let output = declared.and_then(|d| d.get(i));
            if let Some(output) = output {
                self.check_output(output, value);
            }
            outputs.push(match output.and_then(|output| output.name.as_ref()) {
                Some(name) => name.item.clone(),
                None => features.unique(&name.text),
            });
        }
        let function = &mut self.lower.program.functions[self.func];
        function.outputs = outputs.into_iter().map(|name| mlc_ir::Output { name }).collect();
    }

    fn check_output(&mut self, output: &OutputAst, value: Value) {
        let ty = self.lower.program.functions[self.func].ty(value).clone();
        if let Err(code) = declared::meet(&ty, &output.ty.item) {
            let message = format!("the value returned is {ty}, {} is declared", output.ty.item);
            self.lower.problem(code, output.ty.span, message);
        }
    }

    /// Gives a value its name and place; `None` poisons the name.
    pub(super) fn define(&mut self, name: &Name, value: Option<Value>) {
        let key = name.key();
        if self.scopes.iter().any(|scope| scope.contains_key(&key)) {
            self.lower.duplicate(name.span, &format!("value `{}`", shown(name)));
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(key, value);
        }
        let Some(value) = value else { return };
        let place = self.lower.source.place(name.span);
        self.lower.spans.values.insert((self.func, value), place);
        let data = &mut self.lower.program.functions[self.func].values[value];
        if !name.number && data.name.is_none() {
            data.name = Some(Arc::from(name.text.as_str()));
        }
    }

    /// The value of that name; `None` if it is poisoned or, with a report, if there is none.
    pub(super) fn value(&mut self, name: &Name) -> Option<Value> {
        let key = name.key();
        if let Some(found) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return *found;
        }
        let known: Vec<String> = self
            .scopes
            .iter()
            .flat_map(Scope::keys)
            .filter(|key| !key.1)
            .take(names::MAX_CANDIDATES)
            .map(|key| names::value(&key.0))
            .collect();
        let shown = shown(name);
        self.lower.unknown(
            (codes::UNKNOWN_VALUE, name.span),
            (format!("there is no value `{shown}` here"), &shown),
            known.iter().map(String::as_str),
        );
        None
    }
}

fn shown(name: &Name) -> String {
    if name.number { format!("%{}", name.text) } else { names::value(&name.text) }
}
