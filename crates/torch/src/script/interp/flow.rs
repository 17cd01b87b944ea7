//! Branches and loops: followed where the way is known, else made part of the program.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::Diagnostics;
use mlc_ir::ops::{Add, Less};
use mlc_ir::{Dim, Value};

use super::super::ast::{Expr, ExprKind, Name, Stmt};
use super::item::{Cell, Item};
use super::merge::{Form, Frozen, FrozenContent, Yield, Yields};
use super::scope::{always_raises, assigned};
use super::stmt::Flow;
use super::{Eval, Interp, Stop};
use crate::lower::Cx;
use crate::lower::control::{Filled, LoopParts, Open, Predicate, looped};
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;

/// Trips of a loop that are written out.
const MAX_TRIPS: i64 = 4096;

/// What a condition is.
pub(super) enum Truth {
    Known(bool),
    /// Known when the program runs.
    Runtime(Val),
    Poison,
}

/// One way of a branch.
struct Way {
    filled: Filled,
    vars: BTreeMap<Name, Frozen>,
    cells: BTreeMap<Cell, FrozenContent>,
    /// What the function returns, if it does.
    returned: Option<Frozen>,
}

impl<'m> Interp<'_, 'm, '_> {
    pub(super) fn truth(&mut self, item: &Item, at: u32) -> Truth {
        let item = self.usable(item.clone(), at);
        if matches!(item, Item::Poison) {
            return Truth::Poison;
        }
        match self.bool_of(&item) {
            Ok(Item::Val(Val::Bool(known))) => Truth::Known(known),
            Ok(Item::Val(val @ Val::Relation(_))) => Truth::Runtime(val),
            Ok(Item::Number(tensor, _)) => Truth::Runtime(Val::Tensor(tensor)),
            Ok(_) => Truth::Poison,
            Err(error) => {
                self.report(error, at, "condition");
                Truth::Poison
            }
        }
    }

    fn predicate(&mut self, val: &Val, at: u32) -> Result<Value, bool> {
        match self.cx.predicate(val) {
            Ok(Predicate::Value(value)) => Ok(value),
            Ok(Predicate::Known(known)) => Err(known),
            Err(error) => {
                self.report(error, at, "condition");
                Err(true)
            }
        }
    }

    /// `if condition: … else: …`
    pub(super) fn branch(
        &mut self,
        condition: Item,
        (then, otherwise): (&'m [Stmt], &'m [Stmt]),
        at: u32,
    ) -> Eval<Flow> {
        let pred = match self.truth(&condition, at) {
            Truth::Known(known) => return self.block(if known { then } else { otherwise }),
            Truth::Poison => {
                self.both_for_problems(then, otherwise)?;
                return Ok(Flow::Next);
            }
            Truth::Runtime(val) => match self.predicate(&val, at) {
                Ok(value) => value,
                Err(known) => return self.block(if known { then } else { otherwise }),
            },
        };
        // An exception is no result: the other way is taken.
        if always_raises(then) {
            return self.block(otherwise);
        }
        if always_raises(otherwise) {
            return self.block(then);
        }
        let mut names = assigned(then);
        names.extend(assigned(otherwise));
        let yes = match self.way(then, &names) {
            Err(Stop::Raised(_)) => return self.block(otherwise),
            way => way?,
        };
        let no = match self.way(otherwise, &names) {
            Err(Stop::Raised(_)) => return self.block(then),
            way => way?,
        };
        let joined = self.join(pred, (yes, no), &names);
        Ok(joined.unwrap_or_else(|error| {
            self.report(error, at, "if");
            self.poison(&names);
            Flow::Next
        }))
    }

    /// `then if condition else otherwise`
    pub(super) fn choose(
        &mut self,
        condition: &Item,
        (then, otherwise): (&'m Expr, &'m Expr),
        at: u32,
    ) -> Eval<Item> {
        match self.truth(condition, at) {
            Truth::Known(known) => self.eval(if known { then } else { otherwise }),
            Truth::Poison => Ok(Item::Poison),
            Truth::Runtime(val) => {
                let pred = match self.predicate(&val, at) {
                    Ok(value) => value,
                    Err(known) => return self.eval(if known { then } else { otherwise }),
                };
                let mut ways = Vec::new();
                for side in [then, otherwise] {
                    let open = self.open();
                    let item = self.eval(side);
                    let returned = item.as_ref().ok().map(|item| self.freeze(item));
                    let way = self.shut(open, BTreeMap::new(), returned);
                    item?;
                    ways.push(way);
                }
                let (Some(no), Some(yes)) = (ways.pop(), ways.pop()) else {
                    return Ok(Item::Poison);
                };
                match self.join(pred, (yes, no), &BTreeSet::new()) {
                    Ok(Flow::Return(item)) => Ok(item),
                    Ok(Flow::Next) => Ok(Item::NONE),
                    Err(error) => {
                        self.report(error, at, "if");
                        Ok(Item::Poison)
                    }
                }
            }
        }
    }

    fn poison(&mut self, names: &BTreeSet<Name>) {
        for name in names {
            self.vars().insert(name.clone(), Item::Poison);
        }
    }

    /// Looks at both ways where it is not known which one is taken because of an earlier problem.
    fn both_for_problems(&mut self, then: &'m [Stmt], otherwise: &'m [Stmt]) -> Eval<()> {
        for body in [then, otherwise] {
            match self.block(body) {
                Err(Stop::Fatal) => return Err(Stop::Fatal),
                _ => self.poison(&assigned(body)),
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Open {
        self.heap.enter();
        self.regions += 1;
        self.cx.enter(&[])
    }

    fn shut(&mut self, open: Open, vars: BTreeMap<Name, Frozen>, returned: Option<Frozen>) -> Way {
        let changed = self.heap.leave();
        let cells = changed
            .into_iter()
            .map(|(cell, content)| (cell, self.freeze_content(&content)))
            .collect();
        self.regions -= 1;
        Way { filled: self.cx.leave(open, Vec::new()), vars, cells, returned }
    }

    /// Takes one way of a branch of the program.
    fn way(&mut self, body: &'m [Stmt], names: &BTreeSet<Name>) -> Eval<Way> {
        let saved: Vec<(Name, Option<Item>)> =
            names.iter().map(|name| (name.clone(), self.vars().get(name).cloned())).collect();
        let open = self.open();
        let flow = self.block(body);
        let mut vars = BTreeMap::new();
        for name in names {
            if let Some(item) = self.vars().get(name).cloned() {
                vars.insert(name.clone(), self.freeze(&item));
            }
        }
        let returned = match &flow {
            Ok(Flow::Return(item)) => Some(self.freeze(item)),
            _ => None,
        };
        let way = self.shut(open, vars, returned);
        for (name, item) in saved {
            match item {
                Some(item) => drop(self.vars().insert(name, item)),
                None => drop(self.vars().remove(&name)),
            }
        }
        flow.map(|_| way)
    }

    /// Makes the branch of two ways, and gives names and cells what they are behind it.
    fn join(
        &mut self,
        pred: Value,
        (mut yes, mut no): (Way, Way),
        names: &BTreeSet<Name>,
    ) -> LowerResult<Flow> {
        let mut yields = Yields::new();
        let returned = match (&yes.returned, &no.returned) {
            (Some(a), Some(b)) => Some(self.merge(a, b, &mut yields)),
            (None, None) => None,
            _ => {
                return Err(LowerError::argument(
                    "one way of a branch returns and the other goes on",
                )
                .help("return at the end of the function alone"));
            }
        };
        let mut forms: Vec<(Name, Form)> = Vec::new();
        if returned.is_none() {
            for name in names {
                if let (Some(a), Some(b)) = (yes.vars.get(name), no.vars.get(name)) {
                    forms.push((name.clone(), self.merge(a, b, &mut yields)));
                }
            }
        }
        let cells = self.merge_cells(&yes.cells, &no.cells, &mut yields);
        let mut results = Vec::new();
        if !yields.is_empty() || yes.filled.writes() || no.filled.writes() {
            for (way, first) in [(&mut yes, true), (&mut no, false)] {
                let wanted: Vec<&Yield> =
                    yields.iter().map(|(a, b)| if first { a } else { b }).collect();
                let resumed = self.cx.resume(&way.filled);
                let values: LowerResult<Vec<Value>> =
                    wanted.into_iter().map(|what| self.realize(what)).collect();
                self.cx.suspend(resumed);
                way.filled.results = values?;
            }
            results = self.cx.cond(pred, &yes.filled, &no.filled)?;
        }
        let mut results = results.into_iter();
        let returned = match &returned {
            Some(form) => Some(self.rebuild(form, &mut results)?),
            None => None,
        };
        for (name, form) in &forms {
            let item = self.rebuild(form, &mut results)?;
            self.vars().insert(name.clone(), item);
        }
        for (cell, form) in &cells {
            self.set_cell(*cell, form, &mut results)?;
        }
        Ok(match returned {
            Some(item) => Flow::Return(item),
            None => Flow::Next,
        })
    }

    /// `while condition: …`
    pub(super) fn while_loop(&mut self, condition: &'m Expr, body: &'m [Stmt]) -> Eval<Flow> {
        for _ in 0..=MAX_TRIPS {
            let item = self.eval(condition)?;
            match self.truth(&item, condition.at) {
                Truth::Known(false) => return Ok(Flow::Next),
                Truth::Known(true) => {
                    if let flow @ Flow::Return(_) = self.block(body)? {
                        return Ok(flow);
                    }
                }
                Truth::Poison => {
                    self.both_for_problems(body, &[])?;
                    return Ok(Flow::Next);
                }
                Truth::Runtime(_) => break,
            }
        }
        self.runtime_loop(Test::While(condition), body, condition.at)
    }

    /// `for target in over: …`
    pub(super) fn for_loop(
        &mut self,
        target: &'m Expr,
        over: &'m Expr,
        body: &'m [Stmt],
    ) -> Eval<Flow> {
        let range = match &over.kind {
            ExprKind::Call(callee, args, _)
                if callee.as_name().is_some_and(|n| &**n == "range") =>
            {
                Some(self.eval_all(args)?)
            }
            _ => None,
        };
        let Some(range) = range else {
            let items = self.eval(over)?;
            let Some(items) = self.heap.sequence(&items).map(<[Item]>::to_vec) else {
                let error = LowerError::argument(format!("a loop over {}", items.kind()));
                self.report(error, over.at, "for");
                return Ok(Flow::Next);
            };
            return self.unrolled(target, items, body);
        };
        let zero = Item::int(0);
        let one = Item::int(1);
        let (low, high, step) = match &range[..] {
            [high] => (&zero, high, &one),
            [low, high] => (low, high, &one),
            [low, high, step] => (low, high, step),
            _ => return Ok(Flow::Next),
        };
        if range.iter().any(|item| matches!(item, Item::Poison)) {
            self.both_for_problems(body, &[])?;
            return Ok(Flow::Next);
        }
        let count = self.range_length(low, high, step);
        let count = match self.settle(count, over.at, "range") {
            Item::Val(Val::Int(count)) => count,
            _ => return Ok(Flow::Next),
        };
        let (first, step) = match (low, step) {
            (Item::Val(Val::Int(first)), Item::Val(Val::Int(step))) => {
                (first.clone(), step.clone())
            }
            _ => return Ok(Flow::Next),
        };
        if let Some(known) = count.as_const().filter(|&n| n <= MAX_TRIPS) {
            let place = |i: i64| first.add(&step.mul(&Dim::Const(i)));
            let items = (0..known).map(|i| Item::Val(Val::Int(place(i)))).collect();
            return self.unrolled(target, items, body);
        }
        self.runtime_loop(Test::Count { target, count, first, step }, body, over.at)
    }

    fn unrolled(&mut self, target: &'m Expr, items: Vec<Item>, body: &'m [Stmt]) -> Eval<Flow> {
        for item in items {
            self.assign(target, item)?;
            if let flow @ Flow::Return(_) = self.block(body)? {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// A loop of the program.
    fn runtime_loop(&mut self, test: Test<'m>, body: &'m [Stmt], at: u32) -> Eval<Flow> {
        let names = assigned(body);
        let mut carried = Vec::new();
        let mut first = Vec::new();
        for name in &names {
            if let Some(item) = self.vars().get(name).cloned() {
                let frozen = self.freeze(&item);
                carried.push((name.clone(), self.carried(&frozen, &mut first)));
            }
        }
        let saved: Vec<(Name, Option<Item>)> =
            names.iter().map(|name| (name.clone(), self.vars().get(name).cloned())).collect();
        let outcome = self.make_loop((test, body), &carried, &first);
        for (name, item) in saved {
            match item {
                Some(item) => drop(self.vars().insert(name, item)),
                None => drop(self.vars().remove(&name)),
            }
        }
        let (results, skipped) = match outcome {
            Ok(outcome) => outcome,
            Err(Ok(stop)) => return Err(stop),
            Err(Err(error)) => {
                self.report(error, at, "loop");
                self.poison(&names);
                return Ok(Flow::Next);
            }
        };
        let mut results = results.into_iter().skip(skipped);
        for (name, form) in &carried {
            let item = self.rebuild(form, &mut results);
            let item = self.settle(item, at, "loop");
            self.vars().insert(name.clone(), item);
        }
        Ok(Flow::Next)
    }

    /// The results of a loop of the program, and how many of them to skip.
    fn make_loop(
        &mut self,
        (test, body): (Test<'m>, &'m [Stmt]),
        carried: &[(Name, Form)],
        first: &[Yield],
    ) -> Result<(Vec<Value>, usize), Result<Stop, LowerError>> {
        let skipped = usize::from(matches!(test, Test::Count { .. }));
        let mut initial = Vec::new();
        let mut end = None;
        let made: LowerResult<()> = (|| {
            if let Test::Count { count, .. } = &test {
                initial.push(self.cx.b.int(0)?);
                end = Some(dims::scalar(self.cx, count)?);
            }
            for what in first {
                initial.push(self.realize(what)?);
            }
            Ok(())
        })();
        made.map_err(Err)?;
        let known = self.found.clone();
        let mut parts = Trip { interp: self, test, body, carried, end, known, stop: None };
        let results = looped(&mut parts, &initial);
        if let Some(stop) = parts.stop.take() {
            return Err(Ok(stop));
        }
        results.map(|results| (results, skipped)).map_err(Err)
    }
}

/// When a loop goes on.
enum Test<'m> {
    While(&'m Expr),
    /// For a number of trips.
    Count {
        target: &'m Expr,
        count: Dim,
        first: Dim,
        step: Dim,
    },
}

/// One trip of a loop of the program.
struct Trip<'t, 'i, 'm, 'p> {
    interp: &'t mut Interp<'i, 'm, 'p>,
    test: Test<'m>,
    body: &'m [Stmt],
    carried: &'t [(Name, Form)],
    /// The number of trips, where they are counted.
    end: Option<Value>,
    /// Problems that were known before.
    known: Diagnostics,
    stop: Option<Stop>,
}

impl Trip<'_, '_, '_, '_> {
    /// Gives the names their values at the start of a trip.
    fn start(&mut self, args: &[Value]) -> LowerResult<()> {
        // An earlier run may have found the same problems.
        *self.interp.found = self.known.clone();
        let mut args = args.iter().copied().skip(usize::from(self.end.is_some()));
        for (name, form) in self.carried {
            let item = self.interp.rebuild(form, &mut args)?;
            self.interp.vars().insert(name.clone(), item);
        }
        Ok(())
    }

    fn stopped<T>(&mut self, stop: Stop) -> LowerResult<T> {
        self.stop = Some(stop);
        Err(LowerError::consequence())
    }
}

impl<'p> LoopParts<'p> for Trip<'_, '_, '_, 'p> {
    fn cx(&mut self) -> &mut Cx<'p> {
        self.interp.cx
    }

    fn test(&mut self, args: &[Value]) -> LowerResult<Value> {
        if let (Some(end), [counter, ..]) = (self.end, args) {
            return self.interp.cx.binary(Less {}, *counter, end);
        }
        let Test::While(condition) = self.test else {
            return Err(LowerError::invalid("a loop without a condition"));
        };
        self.start(args)?;
        let item = match self.interp.eval(condition) {
            Ok(item) => item,
            Err(stop) => return self.stopped(stop),
        };
        match self.interp.truth(&item, condition.at) {
            Truth::Known(known) => self.interp.cx.going_on(Predicate::Known(known)),
            Truth::Runtime(val) => {
                let pred = self.interp.cx.predicate(&val)?;
                self.interp.cx.going_on(pred)
            }
            Truth::Poison => Err(LowerError::consequence()),
        }
    }

    fn body(&mut self, args: &[Value]) -> LowerResult<Vec<Value>> {
        self.start(args)?;
        let mut next = Vec::new();
        if let (Test::Count { target, first, step, .. }, [counter, ..]) = (&self.test, args) {
            let one = self.interp.cx.b.int(1)?;
            next.push(self.interp.cx.binary(Add {}, *counter, one)?);
            let at = self.interp.runtime_int(*counter)?;
            let at = Item::Val(Val::Int(first.add(&step.mul(&at))));
            if let Err(stop) = self.interp.assign(target, at) {
                return self.stopped(stop);
            }
        }
        self.interp.heap.enter();
        self.interp.regions += 1;
        let flow = self.interp.block(self.body);
        self.interp.regions -= 1;
        let mut yields = Vec::new();
        let mut outcome = Ok(());
        for (name, form) in self.carried {
            let item = self.interp.vars().get(name).cloned().unwrap_or(Item::Poison);
            let frozen = self.interp.freeze(&item);
            outcome = outcome.and(self.interp.next_values(form, &frozen, &mut yields));
        }
        let changed = self.interp.heap.leave();
        match flow {
            Ok(Flow::Next) => {}
            Ok(Flow::Return(_)) => {
                return Err(LowerError::argument("a function returns from within a loop")
                    .help("return at the end of the function alone"));
            }
            Err(stop) => return self.stopped(stop),
        }
        outcome?;
        if !changed.is_empty() {
            return Err(LowerError::argument(
                "a list, dict or attribute changes in a loop whose number of trips is not known",
            )
            .help("write to a tensor of known size instead, or give the inputs fixed shapes"));
        }
        for what in &yields {
            next.push(self.interp.realize(what)?);
        }
        Ok(next)
    }
}
