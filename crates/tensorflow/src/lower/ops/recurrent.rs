//! Recurrent cells and blocks.

use mlc_ir::ops::{Add, Clip, Mul, Sigmoid, Split, Sub, Tanh};
use mlc_ir::{F64, Value};

use super::join::{joined, stacked};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "BlockLSTM", lower: |cx, call| block_lstm(cx, call, GateOrder::Icfo) },
    Lowering { name: "BlockLSTMV2", lower: |cx, call| block_lstm(cx, call, GateOrder::Ifco) },
    Lowering { name: "GRUBlockCell", lower: gru_cell },
    Lowering { name: "LSTMBlockCell", lower: lstm_cell },
];

/// Columns of the weights, a quarter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateOrder {
    /// Input, cell, forget, output.
    Icfo,
    /// Input, forget, cell, output.
    Ifco,
}

/// A cell: its weights and how it computes.
struct Cell {
    weight: Value,
    bias: Value,
    /// Peepholes of input, forget and output gate.
    peephole: Option<[Value; 3]>,
    forget_bias: f64,
    clip: Option<f64>,
    order: GateOrder,
}

/// All results of one step, in the order of the op.
struct Step {
    i: Value,
    cs: Value,
    f: Value,
    o: Value,
    ci: Value,
    co: Value,
    h: Value,
}

impl Step {
    fn all(&self) -> [Value; 7] {
        [self.i, self.cs, self.f, self.o, self.ci, self.co, self.h]
    }
}

impl Cell {
    fn step(&self, cx: &mut Cx<'_>, x: Value, cs: Value, h: Value) -> LowerResult<Step> {
        let both = joined(cx, vec![x, h], 1)?;
        let gates = super::linear::product(cx, both, self.weight, (false, false))?;
        let gates = cx.binary(Add {}, gates, self.bias)?;
        let split = Split { num_splits: Some(4), split_sizes: None, axis: 1 };
        let parts = split.build_many(&mut cx.b, gates)?;
        let [first, second, third, fourth] = parts[..] else {
            return Err(LowerError::invalid("four gates are needed"));
        };
        let (i, ci, f, o) = match self.order {
            GateOrder::Icfo => (first, second, third, fourth),
            GateOrder::Ifco => (first, third, second, fourth),
        };
        let seen = |cx: &mut Cx<'_>, gate: Value, at: usize, state: Value| match self.peephole {
            Some(peephole) => {
                let look = cx.binary(Mul {}, state, peephole[at])?;
                cx.binary(Add {}, gate, look)
            }
            None => Ok(gate),
        };
        let forget_bias = cx.scalar_like(f, self.forget_bias)?;
        let f = if self.forget_bias == 0.0 { f } else { cx.binary(Add {}, f, forget_bias)? };
        let (i, f) = (seen(cx, i, 0, cs)?, seen(cx, f, 1, cs)?);
        let (i, f) = (cx.unary(Sigmoid {}, i)?, cx.unary(Sigmoid {}, f)?);
        let ci = cx.unary(Tanh {}, ci)?;
        let (kept, new) = (cx.binary(Mul {}, f, cs)?, cx.binary(Mul {}, i, ci)?);
        let mut cs = cx.binary(Add {}, kept, new)?;
        if let Some(clip) = self.clip {
            cs = cx.unary(Clip { alpha: F64(-clip), beta: F64(clip) }, cs)?;
        }
        let o = seen(cx, o, 2, cs)?;
        let o = cx.unary(Sigmoid {}, o)?;
        let co = cx.unary(Tanh {}, cs)?;
        let h = cx.binary(Mul {}, o, co)?;
        Ok(Step { i, cs, f, o, ci, co, h })
    }
}

fn cell(
    call: &Call<'_>,
    (weight, bias): (Value, Value),
    peepholes: [Value; 3],
    (order, default_clip): (GateOrder, f64),
) -> LowerResult<Cell> {
    let forget_bias = match order {
        GateOrder::Icfo => call.float_or("forget_bias", 1.0)?,
        GateOrder::Ifco => 0.0,
    };
    let clip = call.float_or("cell_clip", default_clip)?;
    let peephole = call.bool_or("use_peephole", false)?.then_some(peepholes);
    let clip = (clip > 0.0).then_some(clip);
    Ok(Cell { weight, bias, peephole, forget_bias, clip, order })
}

fn lstm_cell(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let all = call.tensors(0)?;
    let [x, cs, h, weight, wci, wcf, wco, bias] = all[..] else {
        return Err(LowerError::invalid("eight inputs are needed"));
    };
    let cell = cell(call, (weight, bias), [wci, wcf, wco], (GateOrder::Icfo, 3.0))?;
    let step = cell.step(cx, x, cs, h)?;
    Ok(step.all().into_iter().map(Val::Tensor).collect())
}

/// All steps of a sequence `[t, b, i]`; steps from `seq_len_max` on give zeros.
fn block_lstm(cx: &mut Cx<'_>, call: &Call<'_>, order: GateOrder) -> LowerResult<Vec<Val>> {
    let all = call.tensors(0)?;
    let [length, x, cs, h, weight, wci, wcf, wco, bias] = all[..] else {
        return Err(LowerError::invalid("nine inputs are needed"));
    };
    let clip = if order == GateOrder::Icfo { 3.0 } else { 0.0 };
    let cell = cell(call, (weight, bias), [wci, wcf, wco], (order, clip))?;
    let shape = cx.shape(x)?;
    let steps = shape[0].as_const().filter(|n| (1..=1024).contains(n)).ok_or_else(|| {
        LowerError::dynamic("the number of steps is not known at compile time")
            .help("fix the length of the sequence with `--input`")
    })?;
    let known = cx.ints(length).and_then(|all| all.first().copied());
    let count = known.unwrap_or(steps).clamp(0, steps);
    let (mut cs, mut h) = (cs, h);
    let mut columns: [Vec<Value>; 7] = Default::default();
    for t in 0..steps {
        let zero = cx.scalar_like(h, 0.0)?;
        if t >= count && known.is_some() {
            let shape = cx.shape(h)?;
            let zeros = cx.filled(&shape, zero)?;
            columns.iter_mut().for_each(|column| column.push(zeros));
            continue;
        }
        let at = cx.b.int(t)?;
        let now = super::join::gathered(cx, x, at, 0)?;
        let step = cell.step(cx, now, cs, h)?;
        (cs, h) = (step.cs, step.h);
        for (column, value) in columns.iter_mut().zip(step.all()) {
            column.push(match known {
                Some(_) => value,
                None => {
                    let length = cx.cast(length, mlc_tensor::DType::I32)?;
                    let running = cx.binary(mlc_ir::ops::Greater {}, length, at)?;
                    cx.select(running, value, zero)?
                }
            });
        }
    }
    columns.into_iter().map(|column| stacked(cx, column, 0).map(Val::Tensor)).collect()
}

/// `u` and `r` from `[x, h]`; `c` from `[x, r·h]`; `h' = u·h + (1 − u)·c`.
fn gru_cell(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let all = call.tensors(0)?;
    let [x, h, weight_ru, weight_c, bias_ru, bias_c] = all[..] else {
        return Err(LowerError::invalid("six inputs are needed"));
    };
    let both = joined(cx, vec![x, h], 1)?;
    let gates = super::linear::product(cx, both, weight_ru, (false, false))?;
    let gates = cx.binary(Add {}, gates, bias_ru)?;
    let gates = cx.unary(Sigmoid {}, gates)?;
    let split = Split { num_splits: Some(2), split_sizes: None, axis: 1 };
    let parts = split.build_many(&mut cx.b, gates)?;
    let [r, u] = parts[..] else { return Err(LowerError::invalid("two gates are needed")) };
    let reset = cx.binary(Mul {}, r, h)?;
    let both = joined(cx, vec![x, reset], 1)?;
    let c = super::linear::product(cx, both, weight_c, (false, false))?;
    let c = cx.binary(Add {}, c, bias_c)?;
    let c = cx.unary(Tanh {}, c)?;
    let one = cx.scalar_like(u, 1.0)?;
    let rest = cx.binary(Sub {}, one, u)?;
    let (kept, new) = (cx.binary(Mul {}, u, h)?, cx.binary(Mul {}, rest, c)?);
    let h = cx.binary(Add {}, kept, new)?;
    Ok([r, u, c, h].into_iter().map(Val::Tensor).collect())
}
