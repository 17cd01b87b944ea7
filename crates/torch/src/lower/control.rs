//! Higher-order ops: branches, loops, and regions that run once; maps and scans are `scans`.
//!
//! Regions see the values around them, so operands are captured and sub-graphs are lowered in place.
//! A predicate that is known picks its branch.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::Diagnostics;
use mlc_ir::ops::{Cond, Identity, WhileLoop};
use mlc_ir::{Def, Dim, Region, RegionData, Type, Value};
use mlc_tensor::{DType, Tensor};

use super::Cx;
use super::alias::{self, Entry};
use super::dims::{self, SymbolSource, SymbolSources};
use super::error::{LowerError, LowerResult};
use super::graph::{Names, input_name, to_val};
use super::value::Val;
use crate::graph::{Arg, Graph, Node, Sym};

/// Ops whose graph is run once as it stands.
const INLINED: &[&str] = &[
    "hints_wrapper",
    "invoke_subgraph",
    "run_const_graph",
    "strict_mode",
    "tag_activation_checkpoint",
    "wrap",
    "wrap_activation_checkpoint",
    "wrap_with_autocast",
    "wrap_with_set_grad_enabled",
];

/// Ops whose operands autocast converts to the type that it is for.
const NARROWED: &[&str] = &[
    "aten.addbmm",
    "aten.addmm",
    "aten.addmv",
    "aten.baddbmm",
    "aten.bmm",
    "aten.conv1d",
    "aten.conv2d",
    "aten.conv3d",
    "aten.conv_transpose1d",
    "aten.conv_transpose2d",
    "aten.conv_transpose3d",
    "aten.convolution",
    "aten.einsum",
    "aten.linear",
    "aten.matmul",
    "aten.mm",
    "aten.mv",
    "aten.scaled_dot_product_attention",
];

/// The arguments of a higher-order op: graphs, and what stands before and after them.
pub(super) struct Parts<'g> {
    pub(super) before: Vec<Val>,
    pub(super) graphs: Vec<&'g Graph>,
    pub(super) after: Vec<Val>,
}

impl<'g> Parts<'g> {
    fn of(args: &[(String, Val)], graphs: &[&'g Graph], count: usize) -> LowerResult<Self> {
        let at = args.iter().position(|(_, val)| matches!(val, Val::Graph(_)));
        let at = at.filter(|_| graphs.len() == count).ok_or_else(|| {
            LowerError::invalid(format!("{} graphs among the arguments, not {count}", graphs.len()))
        })?;
        let vals = |args: &[(String, Val)]| args.iter().map(|(_, val)| val.clone()).collect();
        let after = args.get(at + count..).unwrap_or_default();
        if args.iter().skip(at).take(count).any(|(_, val)| !matches!(val, Val::Graph(_))) {
            return Err(LowerError::invalid("values between the graphs"));
        }
        Ok(Self { before: vals(&args[..at]), graphs: graphs.to_vec(), after: vals(after) })
    }

    /// The lists after the graphs, exactly `count`; one that is missing at the end is empty.
    fn lists(&self, count: usize) -> LowerResult<Vec<Vec<Val>>> {
        let mut lists = Vec::with_capacity(count);
        for val in &self.after {
            match val {
                Val::List(items) if lists.len() < count => lists.push(items.clone()),
                val => {
                    return Err(LowerError::argument(format!("{} after the graphs", val.kind())));
                }
            }
        }
        lists.resize(count, Vec::new());
        Ok(lists)
    }
}

/// A region that is being filled.
pub(crate) struct Open {
    region: Region,
    /// Its arguments.
    pub(crate) args: Vec<Value>,
    outside: Region,
    symbols: SymbolSources,
    entry: Entry,
}

/// A region that was filled and is not part of an op yet.
pub(crate) struct Filled {
    region: Region,
    /// What it yields.
    pub(crate) results: Vec<Value>,
    /// Bases from outside that were written in it, with their values at its end.
    written: BTreeMap<usize, Value>,
    symbols: SymbolSources,
}

impl Filled {
    /// Whether something is written in it to memory from outside.
    pub(crate) fn writes(&self) -> bool {
        !self.written.is_empty()
    }
}

/// What was left to carry on in a region.
pub(crate) struct Resumed {
    outside: Region,
    symbols: SymbolSources,
    entry: Entry,
}

/// The condition and the body of a loop.
pub(crate) trait LoopParts<'p> {
    /// What it is made with.
    fn cx(&mut self) -> &mut Cx<'p>;
    /// Whether the loop goes on, as a scalar of bool.
    fn test(&mut self, args: &[Value]) -> LowerResult<Value>;
    /// The next values of the loop variables.
    fn body(&mut self, args: &[Value]) -> LowerResult<Vec<Value>>;
}

impl Cx<'_> {
    /// Lowers a higher-order op; `None` if it is none that is known here.
    pub(super) fn higher_order<'g>(
        &mut self,
        (around, node): (&'g Graph, &'g Node),
        args: &[(String, Val)],
        graphs: &[&'g Graph],
        found: &mut Diagnostics,
    ) -> LowerResult<Option<Vec<Val>>> {
        if node.target.namespace != "higher_order" {
            return Ok(None);
        }
        Ok(Some(match node.target.op.as_str() {
            "cond" => self.branch(&Parts::of(args, graphs, 2)?, found)?,
            "while_loop" => self.while_loop(&Parts::of(args, graphs, 2)?, found)?,
            "map_impl" | "scan" | "associative_scan" => {
                self.scanned((around, node), &Parts::of(args, graphs, 1)?, found)?
            }
            name if INLINED.contains(&name) => self.inline(name, args, graphs, found)?,
            _ => return Ok(None),
        }))
    }

    /// The operands of a call as autocast converts them: an op that computes in a narrow type has it
    /// for its declared result.
    pub(super) fn autocast(
        &mut self,
        op: &str,
        declared: Option<DType>,
        args: &mut [(String, Val)],
    ) -> LowerResult<()> {
        let Some(narrow) = declared.filter(|dtype| matches!(dtype, DType::Bf16 | DType::F16))
        else {
            return Ok(());
        };
        if !self.autocast || !NARROWED.contains(&op) {
            return Ok(());
        }
        for (_, val) in args {
            let items = match val {
                Val::List(items) => items.as_mut_slice(),
                val => std::slice::from_mut(val),
            };
            for val in items {
                if let Val::Tensor(tensor) = *val
                    && self.dtype(tensor)? == DType::F32
                {
                    let value = self.read_as(tensor, narrow)?;
                    *val = self.fresh(value);
                }
            }
        }
        Ok(())
    }

    /// A region of code that runs in another mode, or has a mark that changes nothing: its graph.
    fn inline(
        &mut self,
        name: &str,
        args: &[(String, Val)],
        graphs: &[&Graph],
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        let at = args
            .iter()
            .position(|(_, val)| matches!(val, Val::Graph(_)))
            .ok_or_else(|| LowerError::invalid("no graph among the arguments"))?;
        let graph = graphs.first().ok_or_else(|| LowerError::invalid("no graph"))?;
        let mut after = &args[at + 1..];
        if name == "hints_wrapper" {
            // The positional arguments, those by name, and the hints.
            if after
                .get(1)
                .is_some_and(|(_, val)| !matches!(val, Val::None) && *val != Val::List(vec![]))
            {
                return Err(LowerError::argument("`hints_wrapper` with arguments by name")
                    .help("pass them by position"));
            }
            after = after.get(..1).unwrap_or_default();
        }
        let mut operands = Vec::new();
        for (_, val) in after {
            match val {
                Val::List(items) => operands.extend(items.iter().cloned()),
                // The name of the graph.
                Val::Str(_) => {}
                val => operands.push(val.clone()),
            }
        }
        let enabled = name == "wrap_with_autocast"
            && args.get(2).is_some_and(|(_, val)| *val == Val::Bool(true));
        let outside = std::mem::replace(&mut self.autocast, enabled);
        let vals = self.call_graph(graph, operands, found);
        self.autocast = outside;
        vals
    }

    /// Lowers a graph where the cursor is, and gives its outputs.
    pub(super) fn call_graph(
        &mut self,
        graph: &Graph,
        operands: Vec<Val>,
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        if operands.len() != graph.inputs.len() {
            return Err(LowerError::invalid(format!(
                "{} operands for a graph with {} inputs",
                operands.len(),
                graph.inputs.len()
            )));
        }
        let mut names = Names::new();
        for (input, val) in graph.inputs.iter().zip(operands) {
            if let Some(name) = input_name(input) {
                names.insert(name.to_owned(), val);
            }
        }
        self.graph(graph, &mut names, found);
        graph.outputs.iter().map(|output| to_val(output, &names, &mut Vec::new())).collect()
    }

    /// Enters a region with arguments of these types. What is known inside alone is forgotten behind
    /// it.
    pub(crate) fn enter(&mut self, args: &[Type]) -> Open {
        let function = self.b.function_mut();
        let region = function.regions.push(RegionData::default());
        let args: Vec<Value> = args.iter().map(|ty| function.add_arg(region, ty.clone())).collect();
        let outside = std::mem::replace(&mut self.b.region, region);
        let symbols = self.symbols.clone();
        Open { region, args, outside, symbols, entry: self.memory.enter() }
    }

    /// Leaves a region that will yield these values.
    pub(crate) fn leave(&mut self, open: Open, results: Vec<Value>) -> Filled {
        let symbols = std::mem::replace(&mut self.symbols, open.symbols);
        self.b.region = open.outside;
        Filled { region: open.region, results, written: self.memory.leave(open.entry), symbols }
    }

    /// Fills a region.
    fn filled(
        &mut self,
        args: &[Type],
        fill: impl FnOnce(&mut Self, &[Value]) -> LowerResult<Vec<Value>>,
    ) -> LowerResult<Filled> {
        let open = self.enter(args);
        let args = open.args.clone();
        let results = fill(self, &args);
        let filled = self.leave(open, Vec::new());
        Ok(Filled { results: results?, ..filled })
    }

    /// Carries on in a region that was left; what is made then may use what was known in it.
    pub(crate) fn resume(&mut self, filled: &Filled) -> Resumed {
        let outside = std::mem::replace(&mut self.b.region, filled.region);
        let symbols = std::mem::replace(&mut self.symbols, filled.symbols.clone());
        Resumed { outside, symbols, entry: self.memory.enter() }
    }

    /// Ends [`Cx::resume`].
    pub(crate) fn suspend(&mut self, resumed: Resumed) {
        self.memory.leave(resumed.entry);
        self.symbols = resumed.symbols;
        self.b.region = resumed.outside;
    }

    /// Sets what a region yields: its results, then the values of these bases.
    fn close(&mut self, filled: &Filled, bases: &BTreeSet<usize>) -> LowerResult<()> {
        let mut results = filled.results.clone();
        for &base in bases {
            let outside = self.memory.base(base);
            results.push(filled.written.get(&base).copied().unwrap_or(outside));
        }
        let region = filled.region;
        let resumed = self.resume(filled);
        let results: LowerResult<Vec<Value>> =
            results.into_iter().map(|value| self.own(region, value)).collect();
        self.suspend(resumed);
        self.b.function_mut().regions[region].results = results?;
        Ok(())
    }

    /// The results of two branches. What they write to memory from outside is written behind them.
    pub(crate) fn cond(
        &mut self,
        pred: Value,
        yes: &Filled,
        no: &Filled,
    ) -> LowerResult<Vec<Value>> {
        let bases: BTreeSet<usize> = yes.written.keys().chain(no.written.keys()).copied().collect();
        self.close(yes, &bases)?;
        self.close(no, &bases)?;
        let mut results = Cond {}.build_many(&mut self.b, pred, yes.region, no.region)?;
        let written = results.split_off(yes.results.len());
        for (base, value) in bases.into_iter().zip(written) {
            self.memory.set_base(base, value);
        }
        Ok(results)
    }

    /// A region with arguments of these types that yields what `fill` gives, and that writes to no
    /// memory from outside.
    pub(super) fn region(
        &mut self,
        args: &[Type],
        fill: impl FnOnce(&mut Self, &[Value]) -> LowerResult<Vec<Value>>,
    ) -> LowerResult<Region> {
        let filled = self.filled(args, fill)?;
        if filled.writes() {
            return Err(LowerError::argument(
                "the body of a map or scan writes in place to a tensor from outside",
            )
            .help("return the new value from it instead"));
        }
        self.close(&filled, &BTreeSet::new())?;
        Ok(filled.region)
    }

    /// A value that is made in `region` itself.
    fn own(&mut self, region: Region, value: Value) -> LowerResult<Value> {
        let function = self.b.function();
        let inside = match function.values[value].def {
            Def::Arg(own, _) => own == region,
            Def::Result(node, _) => function.regions[region].nodes.contains(&node),
        };
        if inside { Ok(value) } else { self.unary(Identity {}, value) }
    }

    /// Brings what regions are about to use up to date, so that nothing is derived inside one of
    /// them that is used behind it.
    pub(super) fn capture(&mut self, operands: &[Val]) -> LowerResult<()> {
        for val in operands {
            match val {
                Val::Tensor(tensor) => drop(self.read(*tensor)?),
                Val::List(items) => self.capture(items)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// What a graph yields as a value of the program; `None` for nothing.
    pub(crate) fn yielded(&mut self, val: &Val) -> LowerResult<Option<Value>> {
        Ok(match val {
            Val::Tensor(tensor) => Some(self.read(*tensor)?),
            Val::Int(dim) => Some(dims::scalar(self, dim)?),
            Val::Bool(known) => {
                let known = Tensor::from_bytes(DType::Bool, &[], vec![u8::from(*known)])?;
                Some(self.b.constant(known)?)
            }
            Val::Float(x) => Some(self.b.scalar(DType::F32, *x)?),
            Val::Symbolic(expr) => Some(self.float_of(expr)?),
            Val::Relation(expr) => Some(self.relation(expr)?),
            Val::None => None,
            val => {
                return Err(LowerError::argument(format!("a graph yields {}", val.kind())));
            }
        })
    }

    pub(super) fn yields(&mut self, vals: &[Val]) -> LowerResult<Vec<Value>> {
        let mut values = Vec::with_capacity(vals.len());
        for val in vals {
            values.extend(self.yielded(val)?);
        }
        Ok(values)
    }

    fn branch(&mut self, parts: &Parts<'_>, found: &mut Diagnostics) -> LowerResult<Vec<Val>> {
        let [pred] = &parts.before[..] else {
            return Err(LowerError::invalid("a branch needs one predicate"));
        };
        let operands = parts.lists(1)?.concat();
        let pred = match self.predicate(pred)? {
            Predicate::Known(known) => {
                let graph = parts.graphs[usize::from(!known)];
                return self.call_graph(graph, operands, found);
            }
            Predicate::Value(value) => value,
        };
        self.capture(&operands)?;
        let mut absent = Vec::new();
        let mut regions = Vec::new();
        for graph in &parts.graphs {
            let region = self.filled(&[], |cx, _| {
                let vals = cx.call_graph(graph, operands.clone(), found)?;
                absent.push(vals.iter().map(|val| *val == Val::None).collect::<Vec<_>>());
                cx.yields(&vals)
            })?;
            regions.push(region);
        }
        let ([yes, no], [first, second]) = (&regions[..], &absent[..]) else {
            return Err(LowerError::invalid("a branch has two graphs"));
        };
        if first != second {
            return Err(LowerError::argument(
                "one branch gives None where the other gives a tensor",
            ));
        }
        let mut results = self.cond(pred, yes, no)?.into_iter();
        let mut vals = Vec::with_capacity(first.len());
        for absent in first {
            vals.push(match results.next().filter(|_| !absent) {
                Some(value) => self.fresh(value),
                None => Val::None,
            });
        }
        Ok(vals)
    }

    /// A condition as a value.
    pub(crate) fn truth_value(&mut self, pred: Predicate) -> LowerResult<Value> {
        match pred {
            Predicate::Value(value) => Ok(value),
            Predicate::Known(known) => {
                let known = Tensor::from_bytes(DType::Bool, &[], vec![u8::from(known)])?;
                Ok(self.b.constant(known)?)
            }
        }
    }

    /// The condition of a loop as a value.
    pub(crate) fn going_on(&mut self, pred: Predicate) -> LowerResult<Value> {
        match pred {
            Predicate::Known(true) => {
                Err(LowerError::argument("the condition of a loop is always true"))
            }
            pred => self.truth_value(pred),
        }
    }

    pub(crate) fn predicate(&mut self, pred: &Val) -> LowerResult<Predicate> {
        match pred {
            Val::Bool(known) => Ok(Predicate::Known(*known)),
            Val::Int(dim) if dim.as_const().is_some() => Ok(Predicate::Known(!dim.is(0))),
            Val::Tensor(tensor) => {
                let value = self.read_as(*tensor, DType::Bool)?;
                if let Some(tensor) = self.b.constant_of(value)
                    && let [known] = tensor.bytes()?[..]
                {
                    return Ok(Predicate::Known(known != 0));
                }
                let scalar = self.b.tensor(value)?.rank() == 0;
                let value =
                    if scalar { value } else { alias::reshape_static(&mut self.b, value, &[])? };
                Ok(Predicate::Value(value))
            }
            Val::Relation(expr) => Ok(Predicate::Value(self.relation(expr)?)),
            pred => Err(LowerError::argument(format!("the predicate is {}", pred.kind()))),
        }
    }

    /// The arguments of a sub-graph that loop variables stand for.
    fn arguments(&mut self, graph: &Graph, args: &[Value]) -> LowerResult<Vec<Val>> {
        let mut vals = Vec::with_capacity(args.len());
        for (input, &arg) in graph.inputs.iter().zip(args) {
            let Arg::Int(Sym::Named(name)) = input else {
                vals.push(self.fresh(arg));
                continue;
            };
            let dim = graph.sym_ints.get(name).and_then(dims::to_dim);
            let symbol = dim.as_ref().and_then(Dim::as_symbol).ok_or_else(|| {
                LowerError::dynamic(format!("`{name}` changes in a loop and is no symbol"))
            })?;
            if !self.b.program.symbols.contains(symbol) {
                self.b.program.symbols.declare(symbol, mlc_ir::SymbolRange::default());
            }
            self.symbols.replace(symbol, SymbolSource::Scalar(arg));
            vals.push(Val::Int(Dim::symbol(symbol)));
        }
        Ok(vals)
    }

    fn while_loop(&mut self, parts: &Parts<'_>, found: &mut Diagnostics) -> LowerResult<Vec<Val>> {
        let [carried, rest] = parts.exact()?;
        let [test, body] = [parts.graphs[0], parts.graphs[1]];
        self.capture(&rest)?;
        let initial = self.yields(&carried)?;
        if initial.len() != carried.len() {
            return Err(LowerError::argument("a loop carries None"));
        }
        let problems = Diagnostics::new();
        let mut parts = WhileGraphs { cx: self, test, body, rest: &rest, found: problems };
        let results = looped(&mut parts, &initial);
        found.extend(parts.found);
        Ok(results?.into_iter().map(|value| self.fresh(value)).collect())
    }

    /// Declares that what a body yields has the extents of the loop variables, where inference could
    /// not tell.
    pub(super) fn keep_types(&mut self, types: &[Type], values: &[Value]) -> LowerResult<()> {
        for (ty, &value) in types.iter().zip(values) {
            let Some(ty) = ty.as_tensor() else { continue };
            if self.b.tensor(value)?.dtype == ty.dtype {
                self.refine(value, &ty.shape)?;
            }
        }
        Ok(())
    }
}

/// A loop of the file.
struct WhileGraphs<'g, 'p> {
    cx: &'g mut Cx<'p>,
    test: &'g Graph,
    body: &'g Graph,
    rest: &'g [Val],
    /// Problems of the last run.
    found: Diagnostics,
}

impl WhileGraphs<'_, '_> {
    fn call(&mut self, graph: &Graph, args: &[Value]) -> LowerResult<Vec<Val>> {
        let mut operands = self.cx.arguments(graph, args)?;
        operands.extend(self.rest.iter().cloned());
        self.cx.call_graph(graph, operands, &mut self.found)
    }
}

impl<'p> LoopParts<'p> for WhileGraphs<'_, 'p> {
    fn cx(&mut self) -> &mut Cx<'p> {
        self.cx
    }

    fn test(&mut self, args: &[Value]) -> LowerResult<Value> {
        self.found = Diagnostics::new();
        let vals = self.call(self.test, args)?;
        let [pred] = &vals[..] else {
            return Err(LowerError::invalid("the condition of a loop gives one value"));
        };
        let pred = self.cx.predicate(pred)?;
        self.cx.going_on(pred)
    }

    fn body(&mut self, args: &[Value]) -> LowerResult<Vec<Value>> {
        let vals = self.call(self.body, args)?;
        self.cx.yields(&vals)
    }
}

/// The results of a loop over `initial`. What its body writes to memory from outside is carried as
/// well; test and body are filled anew until all that is known, and must then do the same.
pub(crate) fn looped<'p>(
    parts: &mut dyn LoopParts<'p>,
    initial: &[Value],
) -> LowerResult<Vec<Value>> {
    let mut bases = BTreeSet::new();
    loop {
        let cx = parts.cx();
        let mut start = initial.to_vec();
        start.extend(bases.iter().map(|&base| cx.memory.base(base)));
        let types: Vec<Type> = start.iter().map(|&value| cx.b.ty(value).clone()).collect();
        let count = initial.len();
        let test =
            loop_region(parts, (&types, count), &bases, |parts, args| Ok(vec![parts.test(args)?]))?;
        let body = loop_region(parts, (&types, count), &bases, |parts, args| {
            let next = parts.body(args)?;
            parts.cx().keep_types(&types, &next)?;
            Ok(next)
        })?;
        if body.results.len() != count {
            return Err(LowerError::invalid("the body gives another number of results"));
        }
        let known = bases.len();
        bases.extend(body.written.keys());
        if bases.len() > known {
            continue;
        }
        let cx = parts.cx();
        cx.close(&test, &BTreeSet::new())?;
        cx.close(&body, &bases)?;
        let mut results = WhileLoop {}.build_many(&mut cx.b, start, test.region, body.region)?;
        let written = results.split_off(count);
        for (base, value) in bases.into_iter().zip(written) {
            cx.memory.set_base(base, value);
        }
        return Ok(results);
    }
}

/// A region of a loop: its arguments are `count` loop variables, then the values of `bases`.
fn loop_region<'p>(
    parts: &mut dyn LoopParts<'p>,
    (types, count): (&[Type], usize),
    bases: &BTreeSet<usize>,
    fill: impl FnOnce(&mut dyn LoopParts<'p>, &[Value]) -> LowerResult<Vec<Value>>,
) -> LowerResult<Filled> {
    let cx = parts.cx();
    let open = cx.enter(types);
    let args = open.args.clone();
    let (own, memory) = args.split_at(count);
    for (&base, &value) in bases.iter().zip(memory) {
        cx.memory.set_base(base, value);
    }
    let results = fill(parts, own);
    let filled = parts.cx().leave(open, Vec::new());
    Ok(Filled { results: results?, ..filled })
}

impl Parts<'_> {
    pub(super) fn exact<const N: usize>(&self) -> LowerResult<[Vec<Val>; N]> {
        let lists = self.lists(N)?;
        lists.try_into().map_err(|_| LowerError::invalid("too few lists of operands"))
    }
}

/// A condition.
pub(crate) enum Predicate {
    /// Known at compile time.
    Known(bool),
    /// A scalar of bool.
    Value(Value),
}
