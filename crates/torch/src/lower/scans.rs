//! Maps and scans over the first axis of tensors.
//!
//! Over few elements they are unrolled; over many, or an unknown number, they are a loop that writes
//! its results into place.

use mlc_diag::Diagnostics;
use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{Add, ExpandDims, Gather, Less, Reverse, Scatter, Stack, Sub, WhileLoop};
use mlc_ir::{Dim, Type, Value};

use super::Cx;
use super::alias;
use super::control::Parts;
use super::dims;
use super::error::{LowerError, LowerResult};
use super::graph::declared;
use super::ops::create::filled;
use super::value::Val;
use crate::graph::{Graph, Node, Output};

/// Maps and scans are unrolled while a node stands in the program at most this often.
const MAX_UNROLLED: i64 = 16;

impl Parts<'_> {
    /// The lists after the graphs, and how the tensors are walked: old forms have an axis, and some
    /// a direction, before the last list, which may be missing.
    fn scanned<const N: usize>(&self) -> LowerResult<([Vec<Val>; N], Order)> {
        let mut order = Order::default();
        let mut after = Vec::with_capacity(self.after.len());
        for val in &self.after {
            match val {
                Val::Int(axis) => {
                    order.axis = axis
                        .as_const()
                        .ok_or_else(|| LowerError::argument(format!("a scan over axis {axis}")))?;
                }
                Val::Bool(reverse) => order.reverse = *reverse,
                val => after.push(val.clone()),
            }
        }
        let parts = Parts { before: Vec::new(), graphs: Vec::new(), after };
        Ok((parts.exact()?, order))
    }
}

/// How a scan walks its tensors.
#[derive(Debug, Clone, Copy, Default)]
struct Order {
    axis: i64,
    reverse: bool,
}

/// A map or scan over the first axis of some tensors.
struct Scan<'g> {
    graph: &'g Graph,
    carried: Vec<Val>,
    xs: Vec<Value>,
    rest: Vec<Val>,
    /// The names of the stacked results.
    stacked: Vec<&'g str>,
}

impl Cx<'_> {
    /// `map_impl`, `scan` or `associative_scan`.
    pub(super) fn scanned<'g>(
        &mut self,
        (around, node): (&'g Graph, &'g Node),
        parts: &Parts<'g>,
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        let graph = parts.graphs[0];
        match node.target.op.as_str() {
            "map_impl" => {
                let [xs, rest] = parts.exact()?;
                self.over_first_axis(around, node, (graph, vec![], xs, rest), found)
            }
            "scan" => {
                let ([init, xs, rest], order) = parts.scanned()?;
                let carried = init.len();
                let xs = self.ordered(xs, order)?;
                let mut vals =
                    self.over_first_axis(around, node, (graph, init, xs, rest), found)?;
                let stacked = vals.split_off(carried.min(vals.len()));
                vals.extend(self.ordered(stacked, order)?);
                Ok(vals)
            }
            _ => {
                let ([xs, rest], order) = parts.scanned()?;
                let xs = self.ordered(xs, order)?;
                let vals = self.associative_scan(node, (graph, xs, rest), found)?;
                self.ordered(vals, order)
            }
        }
    }

    /// Tensors to walk along their first axis, as the older forms of scans ask for it.
    fn ordered(&mut self, vals: Vec<Val>, order: Order) -> LowerResult<Vec<Val>> {
        if !order.reverse && order.axis == 0 {
            return Ok(vals);
        }
        if order.axis != 0 {
            return Err(LowerError::argument(format!("a scan over axis {}", order.axis))
                .help("move that axis to the front, or export with a newer PyTorch"));
        }
        let mut turned = Vec::with_capacity(vals.len());
        for val in &vals {
            let value = self.yielded(val)?.ok_or_else(|| LowerError::invalid("a scan of None"))?;
            let value = Reverse { axes: Some(vec![0]) }.build(&mut self.b, value)?;
            turned.push(self.fresh(value));
        }
        Ok(turned)
    }

    fn over_first_axis<'g>(
        &mut self,
        around: &Graph,
        node: &'g Node,
        (graph, carried, xs, rest): (&'g Graph, Vec<Val>, Vec<Val>, Vec<Val>),
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        let names = result_names(&node.outputs);
        let stacked = names.get(carried.len()..).unwrap_or_default().to_vec();
        let xs = self.yields(&xs)?;
        let first = *xs.first().ok_or_else(|| LowerError::invalid("no tensors to map over"))?;
        let count = match self.b.tensor(first)?.shape.first() {
            Some(count) => count.clone(),
            None => return Err(LowerError::invalid("a scalar has no first axis")),
        };
        let scan = Scan { graph, carried, xs, rest, stacked };
        match count.as_const().filter(|&n| n >= 1) {
            Some(n) if n.saturating_mul(self.unrolled) <= MAX_UNROLLED => {
                self.unrolled *= n;
                let results = self.unroll(&scan, n, found);
                self.unrolled /= n;
                results
            }
            _ => self.scan_loop(around, &scan, (&count, found)),
        }
    }

    /// `y[0] = x[0]`, `y[i] = f(y[i − 1], x[i])`, for each tensor of `xs` along its first axis.
    fn associative_scan<'g>(
        &mut self,
        node: &'g Node,
        (graph, xs, rest): (&'g Graph, Vec<Val>, Vec<Val>),
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        let xs = self.yields(&xs)?;
        if xs.is_empty() || xs.len() != result_names(&node.outputs).len() {
            return Err(LowerError::invalid("an associative scan gives as much as it takes"));
        }
        let mut count = Dim::Const(0);
        let mut carried = Vec::with_capacity(xs.len());
        for &x in &xs {
            let shape = &self.b.tensor(x)?.shape;
            count =
                shape.first().cloned().ok_or_else(|| LowerError::invalid("a scan of a scalar"))?;
            let first = alias::select(self, x, 0, &Dim::Const(0))?;
            carried.push(self.fresh(first));
        }
        match count.as_const().filter(|&n| n >= 1) {
            Some(n) if n.saturating_mul(self.unrolled) <= MAX_UNROLLED => {
                self.unrolled *= n;
                let results = self.associative_rounds((graph, &xs, carried, &rest), n, found);
                self.unrolled /= n;
                results
            }
            _ => self.associative_loop((graph, xs, rest), &count, found),
        }
    }

    fn associative_rounds(
        &mut self,
        (graph, xs, mut carried, rest): (&Graph, &[Value], Vec<Val>, &[Val]),
        count: i64,
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        let mut stacks: Vec<Vec<Value>> = Vec::with_capacity(xs.len());
        for y in self.yields(&carried)? {
            stacks.push(vec![y]);
        }
        for i in 1..count {
            let mut operands = carried;
            for &x in xs {
                let x = alias::select(self, x, 0, &Dim::Const(i))?;
                operands.push(self.fresh(x));
            }
            operands.extend(rest.iter().cloned());
            let vals = self.call_graph(graph, operands, found)?;
            carried = vals.iter().map(|val| self.renewed(val)).collect::<LowerResult<_>>()?;
            let ys = self.yields(&carried)?;
            if ys.len() != stacks.len() {
                return Err(LowerError::invalid("the graph gives another number of results"));
            }
            stacks.iter_mut().zip(ys).for_each(|(stack, y)| stack.push(y));
        }
        stacks.into_iter().map(|values| self.stacked(values)).collect()
    }

    /// The loop writes into the tensors themselves: what it has passed are results.
    fn associative_loop(
        &mut self,
        (graph, xs, rest): (&Graph, Vec<Value>, Vec<Val>),
        count: &Dim,
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        self.capture(&rest)?;
        let end = dims::scalar(self, count)?;
        let one = self.b.int(1)?;
        let mut initial = vec![one];
        initial.extend(xs);
        let types: Vec<Type> = initial.iter().map(|&value| self.b.ty(value).clone()).collect();
        let test = self.region(&types, |cx, args| Ok(vec![cx.binary(Less {}, args[0], end)?]))?;
        let body = self.region(&types, |cx, args| {
            let before = cx.binary(Sub {}, args[0], one)?;
            let mut operands = Vec::new();
            for at in [before, args[0]] {
                for &all in &args[1..] {
                    let op = Gather { axis: 0, batch_dims: 0, validate_indices: false };
                    let part = op.build(&mut cx.b, all, at)?;
                    operands.push(cx.fresh(part));
                }
            }
            operands.extend(rest.iter().cloned());
            let vals = cx.call_graph(graph, operands, found)?;
            let ys = cx.yields(&vals)?;
            if ys.len() + 1 != args.len() {
                return Err(LowerError::invalid("the graph gives another number of results"));
            }
            let mut next = vec![cx.binary(Add {}, args[0], one)?];
            for (y, &all) in ys.into_iter().zip(&args[1..]) {
                next.push(cx.placed(all, args[0], y)?);
            }
            cx.keep_types(&types, &next)?;
            Ok(next)
        })?;
        let results = WhileLoop {}.build_many(&mut self.b, initial, test, body)?;
        Ok(results.into_iter().skip(1).map(|value| self.fresh(value)).collect())
    }

    /// `all` with `part` at position `at` of the first axis.
    fn placed(&mut self, all: Value, at: Value, part: Value) -> LowerResult<Value> {
        let at = ExpandDims { axes: vec![0] }.build(&mut self.b, at)?;
        let part = alias::unsqueeze(self, part, &[0])?;
        let op = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
        Ok(op.build(&mut self.b, all, at, part)?)
    }

    fn stacked(&mut self, values: Vec<Value>) -> LowerResult<Val> {
        let y = match values[..] {
            [one] => alias::unsqueeze(self, one, &[0])?,
            _ => Stack { axis: 0 }.build(&mut self.b, values)?,
        };
        Ok(self.fresh(y))
    }

    fn unroll(
        &mut self,
        scan: &Scan<'_>,
        count: i64,
        found: &mut Diagnostics,
    ) -> LowerResult<Vec<Val>> {
        let mut carried = Vec::new();
        for val in &scan.carried {
            carried.push(self.renewed(val)?);
        }
        let mut stacks: Vec<Vec<Value>> = vec![Vec::new(); scan.stacked.len()];
        for i in 0..count {
            let mut operands = carried.clone();
            for &x in &scan.xs {
                let x = alias::select(self, x, 0, &Dim::Const(i))?;
                operands.push(self.fresh(x));
            }
            operands.extend(scan.rest.iter().cloned());
            let vals = self.call_graph(scan.graph, operands, found)?;
            if vals.len() != scan.carried.len() + stacks.len() {
                return Err(LowerError::invalid("the graph gives another number of results"));
            }
            carried.clear();
            for val in &vals[..scan.carried.len()] {
                carried.push(self.renewed(val)?);
            }
            let ys = self.yields(&vals[scan.carried.len()..])?;
            for (stack, y) in stacks.iter_mut().zip(ys) {
                stack.push(y);
            }
        }
        for values in stacks {
            carried.push(self.stacked(values)?);
        }
        Ok(carried)
    }

    /// The value in memory of its own.
    fn renewed(&mut self, val: &Val) -> LowerResult<Val> {
        match self.yielded(val)? {
            Some(value) => Ok(self.fresh(value)),
            None => Err(LowerError::argument("a scan carries None")),
        }
    }

    fn scan_loop(
        &mut self,
        around: &Graph,
        scan: &Scan<'_>,
        (count, found): (&Dim, &mut Diagnostics),
    ) -> LowerResult<Vec<Val>> {
        self.capture(&scan.rest)?;
        let end = dims::scalar(self, count)?;
        let mut initial = vec![self.b.int(0)?];
        initial.extend(self.yields(&scan.carried)?);
        for name in &scan.stacked {
            let meta = around
                .tensors
                .get(*name)
                .ok_or_else(|| LowerError::invalid(format!("the result `{name}` has no type")))?;
            let zero = self.b.scalar(meta.dtype, 0.0)?;
            initial.push(filled(self, &declared(meta), zero)?);
        }
        let types: Vec<Type> = initial.iter().map(|&value| self.b.ty(value).clone()).collect();
        let kept = 1 + scan.carried.len();
        let test = self.region(&types, |cx, args| Ok(vec![cx.binary(Less {}, args[0], end)?]))?;
        let body = self.region(&types, |cx, args| {
            let mut operands: Vec<Val> = args[1..kept].iter().map(|&v| cx.fresh(v)).collect();
            for &x in &scan.xs {
                let op = Gather { axis: 0, batch_dims: 0, validate_indices: false };
                let x = op.build(&mut cx.b, x, args[0])?;
                operands.push(cx.fresh(x));
            }
            operands.extend(scan.rest.iter().cloned());
            let vals = cx.call_graph(scan.graph, operands, found)?;
            let one = cx.b.int(1)?;
            let mut next = vec![cx.binary(Add {}, args[0], one)?];
            next.extend(cx.yields(&vals)?);
            if next.len() != args.len() {
                return Err(LowerError::invalid("the graph gives another number of results"));
            }
            for (y, &all) in next[kept..].iter_mut().zip(&args[kept..]) {
                *y = cx.placed(all, args[0], *y)?;
            }
            cx.keep_types(&types, &next)?;
            Ok(next)
        })?;
        let results = WhileLoop {}.build_many(&mut self.b, initial, test, body)?;
        Ok(results.into_iter().skip(1).map(|value| self.fresh(value)).collect())
    }
}

/// The names of the results of a node, in order.
fn result_names(outputs: &[Output]) -> Vec<&str> {
    let mut names = Vec::new();
    for output in outputs {
        output.for_each_name(&mut |name, _| names.push(name));
    }
    names
}
