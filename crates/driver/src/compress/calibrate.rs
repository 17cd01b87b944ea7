//! What runs of a program show: what reaches each weight, and how far values reach.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mlc_compress::{Calibration, Moments};
use mlc_diag::Diagnostics;
use mlc_eval::{Array, EvalValue, Evaluator, conv_inputs};
use mlc_ir::ops::Conv;
use mlc_ir::{ConstId, FuncId, Function, Op, ParamKind, Program, Value};

use crate::reference::{Call, Reference, Runner};
use crate::verify::{LOSSY, VerifyOptions, evaluation, image_inputs, verify_against};
use crate::{Distance, Loaded, reference};

/// Most products of a call that are looked at for a weight.
const PRODUCTS: usize = 2048;

/// The functions of a program with runs of them, that others are compared with.
pub(super) struct Runs {
    functions: Vec<(FuncId, VerifyOptions, Reference)>,
}

/// What reaches one weight at one place.
enum Use {
    /// Rows of as many elements as the weight has columns.
    Rows { columns: usize },
    /// The windows of a convolution with a weight of this shape.
    Windows { op: Conv, shape: Vec<usize> },
}

impl Runs {
    /// Runs all functions of `loaded` on the inputs of a file or folder, or on made-up ones.
    ///
    /// # Errors
    /// Inputs that cannot be read or do not fit, or an op that cannot be evaluated.
    pub(super) fn of(
        loaded: &Loaded,
        calib: Option<&std::path::Path>,
        seed: u64,
    ) -> Result<Self, Diagnostics> {
        let given = calib.map_or(Ok(Vec::new()), reference::calibration)?;
        let program = &loaded.program;
        let mut functions = Vec::new();
        for (func, function) in program.functions.iter() {
            let images = image_inputs(loaded, function);
            let options = VerifyOptions { seed, images, ..VerifyOptions::new(LOSSY) };
            let runs = Runner::new(program, func, &options).reference(&given)?;
            functions.push((func, options, runs));
        }
        Ok(Self { functions })
    }

    /// How far the outputs of `after` are from those of `before`, whose runs these are.
    ///
    /// # Errors
    /// An output that is not finite, or an op that cannot be evaluated.
    pub(super) fn compare(
        &self,
        before: &Program,
        after: &Program,
    ) -> Result<Vec<(String, Distance)>, Diagnostics> {
        let mut found = Vec::new();
        for (func, options, runs) in &self.functions {
            let report = verify_against(runs, (before, *func), after, options)?;
            found.extend(report.samples.into_iter().flat_map(|sample| sample.outputs));
        }
        Ok(found)
    }

    /// The least ratio of an output, in dB; `None` where outputs cannot be had.
    pub(super) fn ratio(&self, before: &Program, after: &Program) -> Option<f64> {
        let outputs = self.compare(before, after).ok()?;
        Some(outputs.iter().map(|(_, d)| d.snr_db).fold(f64::INFINITY, f64::min))
    }

    /// The noise of the outputs as a share of their energy, on average over samples.
    pub(super) fn share(&self, before: &Program, after: &Program) -> Option<f64> {
        let outputs = self.compare(before, after).ok()?;
        let total: f64 = outputs.iter().map(|(_, d)| 10f64.powf(-d.snr_db / 10.0)).sum();
        Some(total / outputs.len().max(1) as f64)
    }

    /// What reaches the weights of `program`, which computes what was run, and its values.
    ///
    /// # Errors
    /// An op that cannot be evaluated.
    pub(super) fn calibrate(
        &self,
        program: &Program,
        feedback: bool,
    ) -> Result<Calibration, Diagnostics> {
        let seen = RefCell::new(Calibration { feedback, ..Calibration::default() });
        for (func, _, runs) in &self.functions {
            let uses = uses(program, &program.functions[*func]);
            for calls in &runs.samples {
                run(program, *func, calls, &|value, array| {
                    look(&mut seen.borrow_mut(), (*func, value), array, &uses);
                })?;
            }
        }
        let mut calibration = seen.into_inner();
        calibration.moments.values_mut().for_each(Moments::finish);
        Ok(calibration)
    }
}

/// Runs a function on the inputs of `calls` and shows each tensor.
fn run(
    program: &Program,
    func: FuncId,
    calls: &[Call],
    look: &dyn Fn(Value, &Array),
) -> Result<(), Diagnostics> {
    let function = &program.functions[func];
    let fail = |error| evaluation("calibration", &error);
    let mut evaluator = Evaluator::new(program, func).observed(|value, result: &EvalValue| {
        if let EvalValue::Array(array) = result {
            look(value, array);
        }
    });
    let mut states = evaluator.initial_states().map_err(fail)?;
    let args = function.regions[function.body].args.iter().zip(&function.params);
    let args: Vec<Value> =
        args.filter(|(_, p)| p.kind == ParamKind::Input).map(|(&arg, _)| arg).collect();
    for call in calls {
        for (&arg, input) in args.iter().zip(&call.inputs) {
            look(arg, input);
        }
        evaluator.run(&call.inputs, &mut states).map_err(fail)?;
    }
    Ok(())
}

/// By value the weights that it is multiplied with.
fn uses(program: &Program, function: &Function) -> BTreeMap<Value, Vec<(ConstId, Use)>> {
    let mut found: BTreeMap<Value, Vec<(ConstId, Use)>> = BTreeMap::new();
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        let operand = |slot: usize| data.operands.slot(slot).first().copied();
        if data.operands.slots() < 2 {
            return;
        }
        let (Some(x), Some(weight)) = (operand(0), operand(1)) else { return };
        let constant = function.def(weight).and_then(|(_, def)| match &def.op {
            Op::Const(payload) => Some(payload.value),
            _ => None,
        });
        let Some(id) = constant else { return };
        let Some(tensor) = program.consts.try_get(id) else { return };
        let shape: Vec<usize> = tensor.shape().iter().map(|&d| d as usize).collect();
        let use_ = match (&data.op, &shape[..]) {
            (Op::Linear(_), &[_, columns]) => Use::Rows { columns },
            (Op::Matmul(op), &[rows, columns]) if !op.transpose_x => {
                Use::Rows { columns: if op.transpose_y { columns } else { rows } }
            }
            (Op::Conv(op), _) => Use::Windows { op: op.clone(), shape },
            _ => return,
        };
        found.entry(x).or_default().push((id, use_));
    });
    found
}

fn look(
    seen: &mut Calibration,
    (func, value): (FuncId, Value),
    array: &Array,
    uses: &BTreeMap<Value, Vec<(ConstId, Use)>>,
) {
    if !array.dtype().is_float() {
        return;
    }
    if let Ok(Some((low, high))) = array.finite_range() {
        let (low, high) = (low as f32, high as f32);
        let range = seen.ranges.entry((func, value)).or_insert((low, high));
        *range = (range.0.min(low), range.1.max(high));
    }
    let Some(uses) = uses.get(&value) else { return };
    let Ok(elements) = array.to_f32s() else { return };
    for (id, use_) in uses {
        match use_ {
            Use::Rows { columns } => {
                let moments = seen.moments.entry(*id).or_insert_with(|| Moments::new(*columns, 1));
                let rows = elements.len() / (*columns).max(1);
                let step = rows.div_ceil(PRODUCTS).max(1);
                let shown: Vec<f32> = elements
                    .chunks_exact((*columns).max(1))
                    .step_by(step)
                    .flatten()
                    .copied()
                    .collect();
                if moments.columns() == *columns {
                    moments.add(0, &shown);
                }
            }
            Use::Windows { op, shape } => {
                let columns: usize = shape[1..].iter().product();
                let groups = usize::try_from(op.groups).unwrap_or(1).max(1);
                let moments =
                    seen.moments.entry(*id).or_insert_with(|| Moments::new(columns, groups));
                if moments.columns() != columns || moments.groups() != groups {
                    continue;
                }
                // Shapes that do not fit have failed in the run.
                let _ = conv_inputs(op, array, (shape, PRODUCTS), &mut |group, inputs| {
                    moments.add(group, inputs);
                });
            }
        }
    }
}
