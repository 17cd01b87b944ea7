//! Finds where a result stopped being finite.

use std::cell::RefCell;

use mlc_diag::Loc;
use mlc_eval::{Array, EvalValue, Evaluator, States};
use mlc_ir::{FuncId, Op, Program, Value};

/// The first op whose result is NaN or plus infinity. Minus infinity alone is how masks are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Overflow {
    /// The op.
    pub(crate) op: &'static str,
    /// Where it comes from.
    pub(crate) loc: Loc,
    /// Element type of its result.
    pub(crate) dtype: &'static str,
    /// Whether the result is NaN where it is not infinite.
    pub(crate) nan: bool,
    /// Greatest absolute value among the ops before it.
    pub(crate) greatest_before: f64,
}

/// Runs `func` once more and looks at each result.
pub(crate) fn first(
    program: &Program,
    func: FuncId,
    inputs: &[Array],
    mut states: States,
) -> Option<Overflow> {
    let function = &program.functions[func];
    let seen: RefCell<(Option<(Value, bool)>, f64)> = RefCell::new((None, 0.0));
    let observe = |value: Value, result: &EvalValue| {
        let mut seen = seen.borrow_mut();
        let constant =
            matches!(function.def(value), Some((_, node)) if matches!(node.op, Op::Const(_)));
        let (None, false, Ok(array)) = (seen.0, constant, result.array()) else { return };
        if !array.dtype().is_float() {
            return;
        }
        let Ok(values) = array.to_f32s() else { return };
        let nan = values.iter().any(|x| x.is_nan());
        if nan || values.contains(&f32::INFINITY) {
            seen.0 = Some((value, nan));
            return;
        }
        let finite = values.iter().filter(|x| x.is_finite());
        seen.1 = finite.fold(seen.1, |m, x| m.max(f64::from(x.abs())));
    };
    // What the run comes to does not matter: what was seen until then does.
    let _ = Evaluator::new(program, func).observed(&observe).run(inputs, &mut states);
    let (found, greatest_before) = seen.into_inner();
    let (value, nan) = found?;
    let (_, node) = function.def(value)?;
    Some(Overflow {
        op: node.op.spec().name,
        loc: program.loc(node.loc).clone(),
        dtype: function.ty(value).as_tensor().map_or("", |ty| ty.dtype.name()),
        nan,
        greatest_before,
    })
}
