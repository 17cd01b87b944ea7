//! Control flow: ops with nested regions.
//!
//! Regions see the values around them. In a loop the extents of the arguments say what holds at
//! every iteration: a number; an extent that the initial value has and the body keeps; or a symbol
//! of its own for one that changes.

use std::collections::{BTreeMap, BTreeSet};

use mlc_tensor::DType;

use crate::builder::Builder;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal};
use crate::program::{Region, Value};
use crate::types::Type;

op! {
    /// What `true_fn` yields if `pred`, else what `false_fn` yields; only that region is run.
    "cond" = Cond(pred: One) -> inferred [true_fn, false_fn] {} + Control => infer_cond;

    /// `v = loop_vars; while cond(v) { v = body(v) }`, then `v`.
    "while_loop" = WhileLoop(loop_vars: Many) -> inferred [cond, body] {} + Control
        => infer_while_loop;
}

fn extents(ty: &Type) -> Vec<Dim> {
    let mut dims = Vec::new();
    ty.for_each_dim(&mut |dim| dims.push(dim.clone()));
    dims
}

/// Whether two types differ in extents alone.
fn same_kind(a: &Type, b: &Type) -> bool {
    let blank = |ty: &Type| ty.map_dims(&mut |_| Dim::Const(0));
    blank(a) == blank(b)
}

/// The type with its extents replaced by `dims`, in order.
fn with_extents(ty: &Type, dims: Vec<Dim>) -> Type {
    let mut dims = dims.into_iter();
    ty.map_dims(&mut |dim| dims.next().unwrap_or_else(|| dim.clone()))
}

fn check_scalar_bool(ty: &Type, what: &str) -> OpResult<()> {
    match ty.as_tensor() {
        Some(ty) if ty.dtype == DType::Bool && ty.rank() == 0 => Ok(()),
        _ => Err(OpError::ty(format!("{what} is {ty}, a scalar of bool is needed"))),
    }
}

fn region<'a>(cx: &InferCx<'a>, index: usize) -> OpResult<(Vec<&'a Type>, Vec<&'a Type>)> {
    cx.region(index).ok_or_else(|| OpError::ty(format!("region {index} is missing")))
}

fn infer_cond(_: &Cond, cx: &InferCx<'_>) -> OpResult<Inferred> {
    check_scalar_bool(cx.ty("pred")?, "`pred`")?;
    let (first, second) = (region(cx, 0)?, region(cx, 1)?);
    if !first.0.is_empty() || !second.0.is_empty() {
        return Err(OpError::ty("`true_fn` and `false_fn` take no arguments"));
    }
    if first.1.len() != second.1.len() {
        let (a, b) = (first.1.len(), second.1.len());
        return Err(OpError::ty(format!("`true_fn` yields {a} values, `false_fn` {b}")));
    }
    let mut inferred = Inferred::default();
    for (i, (a, b)) in first.1.into_iter().zip(second.1).enumerate() {
        if !same_kind(a, b) || matches!(a, Type::State(_)) {
            return Err(OpError::ty(format!("result {i} is {a} or {b}")));
        }
        let either = |(a, b): (Dim, Dim)| if a == b { a } else { Dim::Unknown };
        let dims = extents(a).into_iter().zip(extents(b)).map(either).collect();
        let content =
            cx.region_content(0, i).filter(|&known| cx.region_content(1, i) == Some(known));
        let result = Inferred::ty(with_extents(a, dims)).with_content(content.map(<[Dim]>::to_vec));
        inferred.results.extend(result.results);
    }
    Ok(inferred)
}

fn infer_while_loop(_: &WhileLoop, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let initial = cx.types("loop_vars");
    let (cond, body) = (region(cx, 0)?, region(cx, 1)?);
    match cond.1[..] {
        [test] => check_scalar_bool(test, "what `cond` yields")?,
        _ => return Err(OpError::ty(format!("`cond` yields {} values, not one", cond.1.len()))),
    }
    for (what, types) in [
        ("arguments of `cond`", &cond.0),
        ("arguments of `body`", &body.0),
        ("results of `body`", &body.1),
    ] {
        if types.len() != initial.len() {
            let message = format!("{} {what} for {} loop variables", types.len(), initial.len());
            return Err(OpError::ty(message));
        }
        for (i, (ty, initial)) in types.iter().zip(&initial).enumerate() {
            if !same_kind(ty, initial) || matches!(ty, Type::State(_)) {
                let message = format!("loop variable {i} is {initial}, but {ty} among the {what}");
                return Err(OpError::ty(message));
            }
        }
    }
    let mut seen = BTreeMap::new();
    let mut results = Vec::new();
    for (i, ty) in initial.iter().enumerate() {
        let mut dims = Vec::new();
        let [first, arg, next] = [ty, body.0[i], body.1[i]].map(extents);
        for ((first, arg), next) in first.into_iter().zip(arg).zip(next) {
            dims.push(loop_extent(&first, &arg, &next).map_err(|error| {
                OpError::shape(format!("loop variable {i} is {ty}: {}", error.message))
            })?);
            let Some(symbol) = arg.as_symbol() else { continue };
            let known = seen.entry(symbol.to_owned()).or_insert((first.clone(), next.clone()));
            if *known != (first, next) {
                let message = format!("`{symbol}` stands for two extents of loop variables");
                return Err(OpError::shape(message));
            }
        }
        check_test_argument(i, cond.0[i], body.0[i])?;
        results.push(with_extents(ty, dims));
    }
    Ok(Inferred::many(results))
}

/// The extent after the loop of one that is `first` before it, `arg` in the body and `next` in what
/// the body yields.
fn loop_extent(first: &Dim, arg: &Dim, next: &Dim) -> OpResult<Dim> {
    let number = arg.as_const().is_some();
    let own_symbol = arg.as_symbol().is_some() && arg != first;
    if !(arg == first || own_symbol || (number && may_equal(first, arg))) {
        return Err(OpError::shape(format!("the argument of the body has {arg} for {first}")));
    }
    match next {
        next if next == arg => Ok(if own_symbol { first.clone() } else { arg.clone() }),
        next if number && may_equal(next, arg) => Ok(arg.clone()),
        _ if own_symbol => Ok(Dim::Unknown),
        next => Err(OpError::shape(format!(
            "the body turns {arg} into {next}; its argument needs a symbol of its own"
        ))),
    }
}

/// The argument of the condition must hold for every value that the one of the body can have.
fn check_test_argument(index: usize, test: &Type, body: &Type) -> OpResult<()> {
    for (own, dim) in extents(test).iter().zip(&extents(body)) {
        let number = own.as_const().is_some() && may_equal(own, dim);
        if own != dim && !number && own.as_symbol().is_none() {
            let message = format!("argument {index} is {test} in `cond`, {body} in `body`");
            return Err(OpError::shape(message));
        }
    }
    Ok(())
}

impl Cond {
    /// Appends the op with the regions that two callbacks fill, and gives its results.
    ///
    /// # Errors
    /// What a callback gives, or results that differ in more than extents.
    pub fn build_with<E: From<OpError>>(
        b: &mut Builder<'_>,
        pred: Value,
        true_fn: impl FnOnce(&mut Builder<'_>) -> Result<Vec<Value>, E>,
        false_fn: impl FnOnce(&mut Builder<'_>) -> Result<Vec<Value>, E>,
    ) -> Result<Vec<Value>, E> {
        let true_fn = b.region(&[], |b, _| true_fn(b))?;
        let false_fn = b.region(&[], |b, _| false_fn(b))?;
        Ok(Self {}.build_many(b, pred, true_fn, false_fn)?)
    }
}

impl WhileLoop {
    /// Appends the op with the regions that two callbacks fill, and gives its results. Extents that
    /// the body changes get symbols of their own: the callbacks are called again, with arguments of
    /// wider types, until the types hold for every iteration.
    ///
    /// # Errors
    /// What a callback gives, or a loop variable that changes in more than extents.
    pub fn build_with<E: From<OpError>>(
        b: &mut Builder<'_>,
        loop_vars: Vec<Value>,
        mut cond: impl FnMut(&mut Builder<'_>, &[Value]) -> Result<Value, E>,
        mut body: impl FnMut(&mut Builder<'_>, &[Value]) -> Result<Vec<Value>, E>,
    ) -> Result<Vec<Value>, E> {
        let mut types: Vec<Type> = loop_vars.iter().map(|&v| b.ty(v).clone()).collect();
        let mut own = BTreeSet::new();
        loop {
            let step = b.region(&types, |b, args| body(b, args))?;
            if !widen(b, &mut types, &mut own, step) {
                let test = b.region(&types, |b, args| Ok::<_, E>(vec![cond(b, args)?]))?;
                return Ok(Self {}.build_many(b, loop_vars, test, step)?);
            }
        }
    }
}

/// Gives each extent that `body` changes and that is not one of the symbols in `own` one more of
/// those. Says whether there was any: at most as often as there are extents.
fn widen(b: &mut Builder<'_>, types: &mut [Type], own: &mut BTreeSet<Dim>, body: Region) -> bool {
    let results = b.function().regions[body].results.clone();
    let before = own.len();
    for (ty, &result) in types.iter_mut().zip(&results) {
        let next = b.ty(result).clone();
        if !same_kind(ty, &next) {
            continue;
        }
        let mut next = extents(&next).into_iter();
        *ty = ty.map_dims(&mut |dim| {
            if next.next().is_none_or(|next| next == *dim) || own.contains(dim) {
                return dim.clone();
            }
            let symbol = b.program.symbols.fresh();
            own.insert(symbol.clone());
            symbol
        });
    }
    own.len() > before
}
