//! Recurrent layers. `x` is `[s, b, I]`: steps, batch, features.
//!
//! `reverse` walks the steps from the last to the first; the sequence of results is in the order they
//! are made, so that its first is of the last step. Only `lstm` can be `bidirectional`: it joins both
//! walks along the last axis, both in the order of the steps of `x`. Without `output_sequence` the
//! first result holds the state after the walk alone, `[1, b, …]`.
#![expect(clippy::too_many_arguments, reason = "a builder takes an argument an operand")]

use crate::attr::{Activation, Direction, F64};
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, meet};
use crate::types::Type;

op! {
    /// `h′ = activation(weight_ih · x + weight_hh · h + bias)`; `weight_ih` is `[H, I]`, `weight_hh`
    /// `[H, H]`, `bias` `[H]`, absent zeros. Results: the states `[s or 1, b, H]`, the last `[b, H]`.
    "rnn" = Rnn(x: One, initial_h: One, weight_ih: One, weight_hh: One, bias: Opt) -> 2 {
        direction: Direction = Direction::Forward,
        output_sequence: bool = false,
        activation: Activation = Activation::Tanh,
    } + Pure => infer_rnn;

    /// `h′ = (1 − z)·o + z·h`; `r, z = recurrent_activation(W x + b + R h)`,
    /// `o = activation(W x + b + R (r·h))`. `weight_ih` is `[3H, I]`, `weight_hh` `[3H, H]`, `bias`
    /// `[3H]`, each in the order r, o, z. `input_bias` (iOS 18) `[3H]` is one more bias; with
    /// `reset_after` (iOS 18) it is alone added to `W x`, and
    /// `o = activation(W x + input_bias + r·(R h + bias))`. Absent biases are zeros. Results: the
    /// states `[s or 1, b, H]`, the last `[b, H]`.
    "gru" = Gru(
        x: One, initial_h: One, weight_ih: One, weight_hh: One, bias: Opt, input_bias: Opt,
    ) -> 2 {
        direction: Direction = Direction::Forward,
        output_sequence: bool = false,
        recurrent_activation: Activation = Activation::Sigmoid,
        activation: Activation = Activation::Tanh,
        reset_after: bool = false,
    } + Pure => infer_gru;

    /// `c′ = clamp(f·c + i·g, −clip, clip)`, `h′ = o·activation(c′)`;
    /// `i, f = recurrent_activation(W x + R h + b + p·c)`, `g = cell_activation(W x + R h + b)`,
    /// `o = recurrent_activation(W x + R h + b + p·c′)`. `weight_ih` is `[4H, I]`, `weight_hh`
    /// `[4H, H]`, `bias` `[4H]`, each in the order i, f, o, g; `peephole` `[3H]` in the order i, f,
    /// o. Absent biases and peepholes are zeros, no `clip` clamps nothing. The operands `…_back` are
    /// those of the walk backwards of a `bidirectional` one, whose `initial_h` and `initial_c` are
    /// `[b, 2H]`, forwards first. Results: the states `[s or 1, b, H or 2H]`, the last `h` and the
    /// last `c`, `[b, H or 2H]`.
    "lstm" = Lstm(
        x: One, initial_h: One, initial_c: One, weight_ih: One, weight_hh: One, bias: Opt,
        peephole: Opt, weight_ih_back: Opt, weight_hh_back: Opt, bias_back: Opt,
        peephole_back: Opt,
    ) -> 3 {
        direction: Direction = Direction::Forward,
        output_sequence: bool = false,
        recurrent_activation: Activation = Activation::Sigmoid,
        cell_activation: Activation = Activation::Tanh,
        activation: Activation = Activation::Tanh,
        clip: Option<F64> = None,
    } + Pure => infer_lstm;
}

/// The names of the operands of one walk.
struct Walk<'n> {
    weight_ih: &'n str,
    weight_hh: &'n str,
    /// Vectors of as many elements as `weight_ih` has rows.
    biases: &'n [&'n str],
    /// Number of blocks of rows.
    gates: i64,
}

impl Walk<'_> {
    /// Checks the weights and gives the number of units `H`.
    fn units(&self, cx: &InferCx<'_>) -> OpResult<Dim> {
        let (x, ih, hh) = (cx.tensor("x")?, cx.float(self.weight_ih)?, cx.float(self.weight_hh)?);
        let wrong = |what: &str| {
            let (ih_name, hh_name) = (self.weight_ih, self.weight_hh);
            OpError::shape(format!("`{ih_name}` is {ih}, `{hh_name}` {hh}: {what}"))
        };
        let ([rows, features], [hidden_rows, units]) = (&ih.shape[..], &hh.shape[..]) else {
            return Err(wrong("rank 2 is needed"));
        };
        let wanted = units.mul(&Dim::Const(self.gates));
        if !may_equal(rows, &wanted) || !may_equal(hidden_rows, &wanted) {
            return Err(wrong(&format!("{wanted} rows are needed")));
        }
        if !may_equal(features, &x.shape[2]) {
            return Err(wrong(&format!("the last axis of `x` is {}", x.shape[2])));
        }
        for name in self.biases {
            vector(cx, name, &wanted)?;
        }
        Ok(units.clone())
    }
}

/// Checks that an optional operand is a vector of `length` elements.
fn vector(cx: &InferCx<'_>, name: &str, length: &Dim) -> OpResult<()> {
    let Some(ty) = cx.opt_tensor(name)? else { return Ok(()) };
    match &ty.shape[..] {
        [extent] if may_equal(extent, length) && ty.dtype.is_float() => Ok(()),
        _ => Err(OpError::shape(format!("`{name}` is {ty}, {length} floats are needed"))),
    }
}

/// The types of the results of a layer whose states, `initial`, have `width` elements each.
fn results(
    cx: &InferCx<'_>,
    initial: &[&str],
    width: &Dim,
    output_sequence: bool,
) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    let mut batch = x.shape[1].clone();
    for name in initial {
        let state = cx.float(name)?;
        let [rows, columns] = &state.shape[..] else {
            return Err(OpError::shape(format!("`{name}` is {state}, rank 2 is needed")));
        };
        if !may_equal(rows, &batch) || !may_equal(columns, width) {
            let message = format!("`{name}` is {state}, {batch}x{width} is needed");
            return Err(OpError::shape(message));
        }
        batch = meet(&batch, rows);
    }
    let dtype = cx.same_dtype(&[&["x"], initial].concat())?;
    let steps = if output_sequence { x.shape[0].clone() } else { Dim::Const(1) };
    if !output_sequence && x.shape[0].is(0) {
        return Err(OpError::shape(format!("`x` is {x}: there is no last step")));
    }
    let mut types = vec![Type::tensor(dtype, [steps, batch.clone(), width.clone()])];
    for _ in initial {
        types.push(Type::tensor(dtype, [batch.clone(), width.clone()]));
    }
    Ok(Inferred::many(types))
}

fn check_rank(cx: &InferCx<'_>) -> OpResult<()> {
    let x = cx.float("x")?;
    if x.rank() == 3 { Ok(()) } else { Err(OpError::shape(format!("`x` is {x}, not of rank 3"))) }
}

fn one_way(direction: Direction) -> OpResult<()> {
    match direction {
        Direction::Forward | Direction::Reverse => Ok(()),
        Direction::Bidirectional => {
            Err(OpError::attr("`direction` is `bidirectional`, which only `lstm` takes"))
        }
    }
}

fn infer_rnn(op: &Rnn, cx: &InferCx<'_>) -> OpResult<Inferred> {
    check_rank(cx)?;
    one_way(op.direction)?;
    let walk = Walk { weight_ih: "weight_ih", weight_hh: "weight_hh", biases: &["bias"], gates: 1 };
    results(cx, &["initial_h"], &walk.units(cx)?, op.output_sequence)
}

fn infer_gru(op: &Gru, cx: &InferCx<'_>) -> OpResult<Inferred> {
    check_rank(cx)?;
    one_way(op.direction)?;
    let biases = &["bias", "input_bias"];
    let walk = Walk { weight_ih: "weight_ih", weight_hh: "weight_hh", biases, gates: 3 };
    results(cx, &["initial_h"], &walk.units(cx)?, op.output_sequence)
}

fn infer_lstm(op: &Lstm, cx: &InferCx<'_>) -> OpResult<Inferred> {
    check_rank(cx)?;
    if let Some(clip) = op.clip.filter(|clip| clip.0 <= 0.0 || clip.0.is_nan()) {
        return Err(OpError::attr(format!("`clip` is {clip}, more than 0 is needed")));
    }
    let walk = Walk { weight_ih: "weight_ih", weight_hh: "weight_hh", biases: &["bias"], gates: 4 };
    let mut width = walk.units(cx)?;
    let three = Dim::Const(3);
    vector(cx, "peephole", &width.mul(&three))?;
    let back = ["weight_ih_back", "weight_hh_back", "bias_back", "peephole_back"];
    if op.direction == Direction::Bidirectional {
        let walk = Walk {
            weight_ih: "weight_ih_back",
            weight_hh: "weight_hh_back",
            biases: &["bias_back"],
            gates: 4,
        };
        let units = walk.units(cx)?;
        if !may_equal(&units, &width) {
            let message = format!("{width} units forwards, {units} backwards");
            return Err(OpError::shape(message));
        }
        vector(cx, "peephole_back", &units.mul(&three))?;
        width = meet(&width, &units).mul(&Dim::Const(2));
    } else if let Some(name) = back.into_iter().find(|name| cx.value(name).is_some()) {
        let message = format!("`{name}` is given, but `direction` is not `bidirectional`");
        return Err(OpError::attr(message));
    }
    results(cx, &["initial_h", "initial_c"], &width, op.output_sequence)
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::Lstm;
    use crate::attr::{Activation, Direction};
    use crate::dim::Dim;
    use crate::ops::testing::{infer_result, tensor};

    #[test]
    fn both_directions_join() {
        let (s, b) = (Dim::symbol("s"), Dim::symbol("b"));
        let f32s = |shape: &[Dim]| tensor(DType::F32, shape);
        let (ih, hh) = (f32s(&[16.into(), 3.into()]), f32s(&[16.into(), 4.into()]));
        let state = f32s(&[b.clone(), 8.into()]);
        let run = |direction| {
            let op = Lstm {
                direction,
                output_sequence: true,
                recurrent_activation: Activation::Sigmoid,
                cell_activation: Activation::Tanh,
                activation: Activation::Tanh,
                clip: None,
            };
            let x = f32s(&[s.clone(), b.clone(), 3.into()]);
            infer_result(
                |b, v| {
                    let back = [Some(v[3]), Some(v[4])];
                    op.build(
                        b, v[0], v[1], v[2], v[3], v[4], None, None, back[0], back[1], None, None,
                    )
                },
                &[x, state.clone(), state.clone(), ih.clone(), hh.clone()],
            )
        };
        let shape = [s.clone(), b.clone(), 8.into()];
        assert_eq!(run(Direction::Bidirectional).unwrap().shape, shape);
        assert!(run(Direction::Forward).is_err());
    }
}
