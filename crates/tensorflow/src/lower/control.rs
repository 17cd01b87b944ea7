//! Branches and loops.
//!
//! Regions see the values around them: what a loop does not change is captured. Variables that a region
//! assigns to become results of it.

use std::sync::Arc;

use mlc_ir::ops::{Cond, Identity, WhileLoop};
use mlc_ir::{Def, Dim, EntityId as _, Region, RegionData, TensorType, Type, Value};
use mlc_tensor::DType;

use super::Cx;
use super::call::Call;
use super::error::{LowerError, LowerResult};
use super::state::Current;
use super::value::{Items, List, Val};
use crate::graph::attr::PartialShape;
use crate::graph::{Attr, Graph, Source};

/// Loops whose trips are known are unrolled up to this many where they have no other form.
const MAX_UNROLLED: usize = 256;
/// A loop is lowered this often while the extents of its variables get wider.
const MAX_ATTEMPTS: usize = 12;

/// How a value is carried through a region.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Tensor,
    Complex,
    List(List),
    /// It is the same everywhere.
    Fixed(Val),
}

/// A condition.
enum Predicate {
    Known(bool),
    Value(Value),
}

impl Cx<'_> {
    /// Lowers what `fill` does into a region with arguments of these types. What is known inside
    /// alone is forgotten behind it; variables are set back.
    fn region(
        &mut self,
        args: &[Type],
        fill: impl FnOnce(&mut Self, &[Value]) -> LowerResult<Vec<Value>>,
    ) -> LowerResult<(Region, Current)> {
        let function = self.b.function_mut();
        let first = function.nodes.len();
        let region = function.regions.push(RegionData::default());
        let args: Vec<Value> = args.iter().map(|ty| function.add_arg(region, ty.clone())).collect();
        let outside = std::mem::replace(&mut self.b.region, region);
        let symbols = self.symbols.clone();
        let before = self.variables.clone();
        let results = fill(self, &args).and_then(|results| {
            results.into_iter().map(|value| self.own(region, first, value)).collect()
        });
        self.b.region = outside;
        self.symbols = symbols;
        let mut after = std::mem::replace(&mut self.variables, before);
        self.variables.written.append(&mut after.written.clone());
        let results: Vec<Value> = results?;
        self.b.function_mut().regions[region].results = results;
        after.written.clear();
        Ok((region, after))
    }

    /// A value that is made in `region` itself, whose nodes are numbered from `first` on.
    fn own(&mut self, region: Region, first: usize, value: Value) -> LowerResult<Value> {
        let inside = match self.b.function().values[value].def {
            Def::Arg(own, _) => own == region,
            Def::Result(node, _) => node.index() >= first,
        };
        if inside { Ok(value) } else { self.unary(Identity {}, value) }
    }

    /// The values that carry `val` through a region.
    fn packed(&mut self, val: &Val) -> LowerResult<(Form, Vec<Value>)> {
        Ok(match val {
            Val::Tensor(value) => (Form::Tensor, vec![*value]),
            Val::Complex(re, im) => (Form::Complex, vec![*re, *im]),
            Val::List(list) => {
                let known = self.list_element(list).is_some_and(|e| e.iter().all(Option::is_some));
                if matches!(list.items, Items::Unset(_)) && !known {
                    return Ok((Form::Fixed(val.clone()), vec![]));
                }
                let value = self.list_stacked(list)?;
                (Form::List(list.clone()), vec![value])
            }
            other => (Form::Fixed(other.clone()), vec![]),
        })
    }

    fn unpacked(form: &Form, values: &mut impl Iterator<Item = Value>) -> LowerResult<Val> {
        let mut next =
            || values.next().ok_or_else(|| LowerError::invalid("a region gives too little"));
        Ok(match form {
            Form::Tensor => Val::Tensor(next()?),
            Form::Complex => Val::Complex(next()?, next()?),
            Form::List(list) => Val::List(List { items: Items::Whole(next()?), ..list.clone() }),
            Form::Fixed(val) => val.clone(),
        })
    }

    fn predicate(&mut self, val: &Val) -> LowerResult<Predicate> {
        let value = match val {
            Val::Tensor(value) => *value,
            Val::Text(all) => return Ok(Predicate::Known(all.iter().any(|t| !t.is_empty()))),
            other => {
                return Err(LowerError::argument(format!("the condition is {}", other.kind())));
            }
        };
        if self.rank(value)? > 0 {
            let count = self.b.tensor(value)?.count();
            // A tensor with axes is true if it has elements.
            return count.as_const().map(|n| Predicate::Known(n > 0)).ok_or_else(|| {
                LowerError::argument("the condition is a tensor with axes of unknown extents")
            });
        }
        let value = self.cast(value, DType::Bool)?;
        if let Some(known) = self.known(value)
            && let [byte] = known.bytes()?[..]
        {
            return Ok(Predicate::Known(byte != 0));
        }
        Ok(Predicate::Value(value))
    }

    /// Lowers `If`.
    pub(super) fn branch(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let yes = call.graph("then_branch", &self.model.library)?;
        let no = call.graph("else_branch", &self.model.library)?;
        let inputs = call.inputs().get(1..).unwrap_or_default().to_vec();
        match self.predicate(call.input(0)?)? {
            Predicate::Known(true) => self.inline(&yes, &inputs, call.name),
            Predicate::Known(false) => self.inline(&no, &inputs, call.name),
            Predicate::Value(pred) => self.cond(pred, &yes, &no, (&inputs, call.name)),
        }
    }

    /// Lowers `Case`: the last branch is taken for an index out of range.
    pub(super) fn case(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let graphs: Vec<Arc<Graph>> = match call.attr("branches") {
            Some(Attr::Funcs(names)) => names
                .iter()
                .map(|name| {
                    self.model.library.get(name).cloned().ok_or_else(|| {
                        LowerError::invalid(format!("there is no function `{name}`"))
                    })
                })
                .collect::<LowerResult<_>>()?,
            _ => (0..)
                .map_while(|i| match call.attr(&format!("branch{i}")) {
                    Some(Attr::Graph(graph)) => Some(Arc::clone(graph)),
                    _ => None,
                })
                .collect(),
        };
        let inputs = call.inputs().get(1..).unwrap_or_default().to_vec();
        let index = call.tensor(0)?;
        let last = graphs.len().checked_sub(1);
        let last = last.ok_or_else(|| LowerError::invalid("there is no branch"))?;
        if let Some([known]) = self.ints(index).as_deref() {
            let at = usize::try_from(*known).unwrap_or(last).min(last);
            return self.inline(&graphs[at], &inputs, call.name);
        }
        self.choose(index, &graphs, 0, (&inputs, call.name))
    }

    fn choose(
        &mut self,
        index: Value,
        graphs: &[Arc<Graph>],
        at: usize,
        (inputs, name): (&[Val], &str),
    ) -> LowerResult<Vec<Val>> {
        if at + 1 == graphs.len() {
            return self.inline(&graphs[at], inputs, name);
        }
        let dtype = self.dtype(index)?;
        let number = self.integer(dtype, at as i64)?;
        let pred = self.binary(mlc_ir::ops::Equal {}, index, number)?;
        self.cond_with(pred, &mut |cx| cx.inline(&graphs[at], inputs, name), &mut |cx| {
            cx.choose(index, graphs, at + 1, (inputs, name))
        })
    }

    fn cond(
        &mut self,
        pred: Value,
        yes: &Arc<Graph>,
        no: &Arc<Graph>,
        (inputs, name): (&[Val], &str),
    ) -> LowerResult<Vec<Val>> {
        self.cond_with(pred, &mut |cx| cx.inline(yes, inputs, name), &mut |cx| {
            cx.inline(no, inputs, name)
        })
    }

    fn cond_with(
        &mut self,
        pred: Value,
        yes: &mut dyn FnMut(&mut Self) -> LowerResult<Vec<Val>>,
        no: &mut dyn FnMut(&mut Self) -> LowerResult<Vec<Val>>,
    ) -> LowerResult<Vec<Val>> {
        let mut assigned: Vec<usize> = Vec::new();
        // Which variables a branch assigns to is known when it was lowered.
        for _ in 0..MAX_ATTEMPTS {
            let found = self.found.clone();
            let before = self.variables.clone();
            let mut forms: Vec<Vec<Form>> = Vec::new();
            let mut regions = Vec::new();
            let mut changed = assigned.clone();
            for taken in [true, false] {
                let mut own = Vec::new();
                let (region, after) = self.region(&[], |cx, _| {
                    let vals = if taken { yes(cx)? } else { no(cx)? };
                    let mut values = Vec::new();
                    for val in &vals {
                        let (form, parts) = cx.packed(val)?;
                        own.push(form);
                        values.extend(parts);
                    }
                    values.extend(assigned.iter().filter_map(|&node| cx.variables.value(node)));
                    Ok(values)
                })?;
                changed.extend(after.changed(&before));
                forms.push(own);
                regions.push(region);
            }
            changed.sort_unstable();
            changed.dedup();
            if changed != assigned {
                assigned = changed;
                self.found = found;
                continue;
            }
            let (&[first, second], [a, b]) = (&regions[..], &forms[..]) else {
                return Err(LowerError::invalid("a condition has two branches"));
            };
            let alike = a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| match (a, b) {
                    (Form::List(_), Form::List(_)) => true,
                    (a, b) => a == b,
                });
            if !alike {
                return Err(LowerError::argument("the branches give results of different kinds"));
            }
            let results = Cond {}.build_many(&mut self.b, pred, first, second)?;
            let mut results = results.into_iter();
            let vals = a
                .iter()
                .map(|form| Self::unpacked(form, &mut results))
                .collect::<LowerResult<Vec<_>>>()?;
            for (&node, value) in assigned.iter().zip(results) {
                self.variables.set(node, value);
            }
            return Ok(vals);
        }
        Err(LowerError::argument("the branches assign to ever more variables"))
    }

    /// Lowers `While`.
    pub(super) fn while_loop(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let test = call.graph("cond", &self.model.library)?;
        let body = call.graph("body", &self.model.library)?;
        let shapes = match call.attr("output_shapes") {
            Some(Attr::Shapes(shapes)) => shapes.clone(),
            _ => Vec::new(),
        };
        let initial = call.inputs().to_vec();
        if body.rets.len() != initial.len() || body.args.len() != initial.len() {
            return Err(LowerError::invalid(format!(
                "{} loop variables, of which the body gives {}",
                initial.len(),
                body.rets.len()
            )));
        }
        let work = Loop { test, body, shapes, name: call.name.to_owned() };
        if let Some(false) = self.first_test(&work, &initial)? {
            return Ok(initial);
        }
        let found = self.found.clone();
        let problems = found.items().len();
        let variables = self.variables.clone();
        let result = self.structured(&work, &initial);
        let failed = result.is_err() || self.found.items().len() > problems;
        if !failed {
            return result;
        }
        // Some loops only make sense trip by trip.
        let after = std::mem::replace(&mut self.found, found.clone());
        let written = self.variables.written.clone();
        self.variables = variables.clone();
        self.variables.written.extend(written.iter().copied());
        match self.unrolled(&work, &initial) {
            Ok(Some(vals)) if self.found.items().len() == problems => Ok(vals),
            _ => {
                self.found = after;
                self.variables = variables;
                self.variables.written.extend(written);
                result
            }
        }
    }

    /// Whether the loop is entered, where that is known.
    fn first_test(&mut self, work: &Loop, initial: &[Val]) -> LowerResult<Option<bool>> {
        let found = self.found.clone();
        let mut known = None;
        let tested = self.region(&[], |cx, _| {
            let vals = cx.inline(&work.test, initial, &work.name)?;
            if let [pred] = &vals[..]
                && let Predicate::Known(pred) = cx.predicate(pred)?
            {
                known = Some(pred);
            }
            Ok(Vec::new())
        });
        self.found = found;
        match tested {
            Ok(_) => Ok(known),
            Err(_) => Ok(None),
        }
    }

    /// The loop trip by trip, where each test is known; `None` where one is not.
    fn unrolled(&mut self, work: &Loop, initial: &[Val]) -> LowerResult<Option<Vec<Val>>> {
        let mut vals = initial.to_vec();
        for _ in 0..MAX_UNROLLED {
            match self.first_test(work, &vals)? {
                Some(true) => vals = self.inline(&work.body, &vals, &work.name)?,
                Some(false) => return Ok(Some(vals)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn structured(&mut self, work: &Loop, initial: &[Val]) -> LowerResult<Vec<Val>> {
        let mut initial = initial.to_vec();
        let kept: Vec<bool> = (0..initial.len())
            .map(|i| work.body.behind(work.body.rets[i].1) == Source::Arg(i))
            .collect();
        let mut wide: Vec<Vec<bool>> = Vec::new();
        let mut assigned: Vec<usize> = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let found = self.found.clone();
            let mut carried = Vec::new();
            let mut forms = Vec::new();
            for (val, kept) in initial.iter().zip(&kept) {
                if *kept {
                    forms.push(Form::Fixed(val.clone()));
                    continue;
                }
                let (form, values) = self.packed(val)?;
                forms.push(form);
                carried.extend(values);
            }
            carried.extend(assigned.iter().filter_map(|&node| self.variables.value(node)));
            wide.resize(carried.len(), Vec::new());
            let types = self.loop_types(&carried, &mut wide)?;
            let attempt = Attempt { work, forms: &forms, types: &types, assigned: &assigned };
            match self.attempt(&attempt, &carried, &mut wide)? {
                Ended::Done(vals) => return Ok(vals),
                Ended::Wider => {}
                Ended::Assigned(more) => {
                    assigned.extend(more);
                    assigned.sort_unstable();
                    assigned.dedup();
                    wide.clear();
                }
                Ended::Element(index, shape) => {
                    if let Val::List(list) = &mut initial[index] {
                        list.element = Some(shape.into_iter().map(Some).collect());
                    }
                    wide.clear();
                }
            }
            self.found = found;
        }
        Err(LowerError::dynamic("the shapes of loop variables have no fixed form"))
    }

    /// The types of loop variables: those of the initial values, with symbols of their own for the
    /// extents that change.
    fn loop_types(&mut self, carried: &[Value], wide: &mut [Vec<bool>]) -> LowerResult<Vec<Type>> {
        let mut types = Vec::with_capacity(carried.len());
        for (&value, wide) in carried.iter().zip(wide) {
            let ty = self.b.tensor(value)?.clone();
            wide.resize(ty.rank(), false);
            let shape: Vec<Dim> = ty
                .shape
                .iter()
                .zip(&*wide)
                .map(|(dim, &wide)| match wide {
                    true => self.b.program.symbols.fresh(),
                    false => dim.clone(),
                })
                .collect();
            types.push(Type::Tensor(TensorType::new(ty.dtype, shape)));
        }
        Ok(types)
    }

    fn attempt(
        &mut self,
        attempt: &Attempt<'_>,
        carried: &[Value],
        wide: &mut [Vec<bool>],
    ) -> LowerResult<Ended> {
        let Attempt { work, forms, types, assigned } = *attempt;
        let before = self.variables.clone();
        let enter = |cx: &mut Self, args: &[Value]| -> LowerResult<Vec<Val>> {
            for &arg in args {
                let shape = cx.shape(arg)?;
                cx.symbols.add_tensor(arg, &shape);
            }
            let mut values = args.iter().copied();
            let vals = forms
                .iter()
                .map(|form| Self::unpacked(form, &mut values))
                .collect::<LowerResult<Vec<_>>>()?;
            for (&node, value) in assigned.iter().zip(values) {
                cx.variables.set(node, value);
            }
            Ok(vals)
        };
        let mut end = None;
        let mut next_types = Vec::new();
        let (body, after) = self.region(types, |cx, args| {
            let vals = enter(cx, args)?;
            let vals = cx.inline(&work.body, &vals, &work.name)?;
            let mut values = Vec::new();
            for (index, (val, form)) in vals.iter().zip(forms).enumerate() {
                if let (Form::Fixed(Val::List(first)), Val::List(list)) = (form, val)
                    && matches!(first.items, Items::Unset(_))
                    && !matches!(list.items, Items::Unset(_))
                {
                    let element = super::list::known_element(cx.list_element(list))?;
                    end = Some(Ended::Element(index, element));
                    return Ok(Vec::new());
                }
                if matches!(form, Form::Fixed(_)) {
                    continue;
                }
                let (own, parts) = cx.packed(val)?;
                let alike = match (&own, form) {
                    (Form::List(_), Form::List(_)) => true,
                    (own, form) => own == form,
                };
                if !alike {
                    return Err(LowerError::argument(format!(
                        "loop variable {index} changes from one kind of value to another"
                    )));
                }
                values.extend(parts);
            }
            values.extend(assigned.iter().filter_map(|&node| cx.variables.value(node)));
            cx.settle(types, &values, (&work.shapes, forms))?;
            for &value in &values {
                next_types.push(cx.b.ty(value).clone());
            }
            Ok(values)
        })?;
        if let Some(end) = end {
            return Ok(end);
        }
        let more: Vec<usize> =
            after.changed(&before).into_iter().filter(|node| !assigned.contains(node)).collect();
        if !more.is_empty() {
            return Ok(Ended::Assigned(more));
        }
        if widened(types, &next_types, wide)? {
            return Ok(Ended::Wider);
        }
        let (test, _) = self.region(types, |cx, args| {
            let vals = enter(cx, args)?;
            let vals = cx.inline(&work.test, &vals, &work.name)?;
            let [pred] = &vals[..] else {
                return Err(LowerError::invalid("the condition of a loop gives one value"));
            };
            Ok(vec![match cx.predicate(pred)? {
                Predicate::Value(value) => value,
                Predicate::Known(known) => {
                    let byte = vec![u8::from(known)];
                    let known = mlc_tensor::Tensor::from_bytes(DType::Bool, &[], byte)?;
                    cx.b.constant(known)?
                }
            }])
        })?;
        let results = WhileLoop {}.build_many(&mut self.b, carried.to_vec(), test, body)?;
        let mut results = results.into_iter();
        let vals = forms
            .iter()
            .map(|form| Self::unpacked(form, &mut results))
            .collect::<LowerResult<Vec<_>>>()?;
        for (&node, value) in assigned.iter().zip(results) {
            self.variables.set(node, value);
        }
        Ok(Ended::Done(vals))
    }

    /// Declares that what a body yields has the extents of the loop variables where the file says
    /// that they do not change and inference could not tell.
    fn settle(
        &mut self,
        types: &[Type],
        values: &[Value],
        (shapes, forms): (&[PartialShape], &[Form]),
    ) -> LowerResult<()> {
        let carried = forms.iter().enumerate().filter(|(_, form)| !matches!(form, Form::Fixed(_)));
        for ((ty, &value), (index, form)) in types.iter().zip(values).zip(carried) {
            let (Some(ty), Some(Some(shape)), Form::Tensor) =
                (ty.as_tensor(), shapes.get(index), form)
            else {
                continue;
            };
            let have = self.shape(value)?;
            if have.len() != shape.len() || have.len() != ty.rank() {
                continue;
            }
            let told: Vec<Dim> = have
                .iter()
                .zip(shape)
                .map(|(have, told)| match told {
                    Some(n) if have.as_const().is_none() => Dim::Const(*n),
                    _ => have.clone(),
                })
                .collect();
            self.refine(value, &told)?;
        }
        Ok(())
    }
}

/// A loop of the source.
struct Loop {
    test: Arc<Graph>,
    body: Arc<Graph>,
    shapes: Vec<PartialShape>,
    name: String,
}

/// A loop with the types of its variables.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    work: &'a Loop,
    forms: &'a [Form],
    types: &'a [Type],
    assigned: &'a [usize],
}

/// How an attempt ended.
enum Ended {
    Done(Vec<Val>),
    /// Extents change that were taken for fixed.
    Wider,
    /// The body assigns to these variables.
    Assigned(Vec<usize>),
    /// The elements of the list that a loop variable is have these extents.
    Element(usize, Vec<Dim>),
}

/// Notes extents that a body does not keep; whether there are any.
fn widened(types: &[Type], next: &[Type], wide: &mut [Vec<bool>]) -> LowerResult<bool> {
    let mut more = false;
    for (i, ((ty, next), wide)) in types.iter().zip(next).zip(wide).enumerate() {
        let (Some(ty), Some(next)) = (ty.as_tensor(), next.as_tensor()) else { continue };
        if ty.rank() != next.rank() || ty.dtype != next.dtype {
            return Err(LowerError::argument(format!(
                "loop variable {i} is {ty} at first and {next} then"
            )));
        }
        for ((have, then), wide) in ty.shape.iter().zip(&next.shape).zip(wide) {
            if have != then && !*wide {
                *wide = true;
                more = true;
            }
        }
    }
    Ok(more)
}
