//! Recurrent layers and their cells.
//!
//! Layers of known weights become the ops `lstm` and `rnn`. The reset gate of torch's GRU acts after
//! the product with the state, which the op `gru` cannot say before iOS 18, and projections of an
//! LSTM's state have no op: those are loops over the steps, or the steps one after another where they
//! are few.

use mlc_ir::attr::{Activation, Direction, ScatterMode};
use mlc_ir::builder::Builder;
use mlc_ir::ops::{
    Add, Concat, ExpandDims, Fill, Gather, Less, Linear, Lstm, Matmul, Mul, Relu, Reverse, Rnn,
    Scatter, Sigmoid, Split, Stack, Sub, Tanh, Transpose, WhileLoop,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::Tensor;

use super::linear::affine;
use crate::lower::alias::select;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.lstm", lower: |cx, call| layers(cx, call, Cell::Lstm) },
    Lowering { name: "aten.gru", lower: |cx, call| layers(cx, call, Cell::Gru) },
    Lowering { name: "aten.rnn_tanh", lower: |cx, call| layers(cx, call, Cell::Tanh) },
    Lowering { name: "aten.rnn_relu", lower: |cx, call| layers(cx, call, Cell::Relu) },
    Lowering { name: "aten.lstm_cell", lower: |cx, call| one_step(cx, call, Cell::Lstm) },
    Lowering { name: "aten.gru_cell", lower: |cx, call| one_step(cx, call, Cell::Gru) },
    Lowering { name: "aten.rnn_tanh_cell", lower: |cx, call| one_step(cx, call, Cell::Tanh) },
    Lowering { name: "aten.rnn_relu_cell", lower: |cx, call| one_step(cx, call, Cell::Relu) },
];

/// Walks of at most this many steps are written out.
const FEW_STEPS: i64 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

impl Cell {
    fn name(self) -> &'static str {
        match self {
            Self::Lstm => "LSTM",
            Self::Gru => "GRU",
            Self::Tanh | Self::Relu => "RNN",
        }
    }
}

/// The weights of one walk over the steps: rows in blocks, one a gate, in torch's order.
#[derive(Clone, Copy)]
struct Walk {
    weight_ih: Value,
    weight_hh: Value,
    bias_ih: Option<Value>,
    bias_hh: Option<Value>,
    /// From the state of an LSTM to what it shows.
    projection: Option<Value>,
}

impl Walk {
    fn read(cx: &mut Cx<'_>, params: &[TensorId], has_biases: bool) -> LowerResult<Self> {
        let values = params.iter().map(|&p| cx.read(p)).collect::<LowerResult<Vec<_>>>()?;
        Ok(match (has_biases, &values[..]) {
            (true, &[weight_ih, weight_hh, bias_ih, bias_hh, ref rest @ ..]) if rest.len() < 2 => {
                Self {
                    weight_ih,
                    weight_hh,
                    bias_ih: Some(bias_ih),
                    bias_hh: Some(bias_hh),
                    projection: rest.first().copied(),
                }
            }
            (false, &[weight_ih, weight_hh, ref rest @ ..]) if rest.len() < 2 => Self {
                weight_ih,
                weight_hh,
                bias_ih: None,
                bias_hh: None,
                projection: rest.first().copied(),
            },
            _ => {
                let message = format!("{} parameters for one direction of a layer", values.len());
                return Err(LowerError::invalid(message));
            }
        })
    }

    /// Both biases as one constant; `None` within where there are none, `None` where one is not
    /// known.
    fn bias(&self, cx: &Cx<'_>) -> LowerResult<Option<Option<Tensor>>> {
        let (Some(ih), Some(hh)) = (self.bias_ih, self.bias_hh) else { return Ok(Some(None)) };
        let (Some(ih), Some(hh)) = (cx.b.constant_of(ih), cx.b.constant_of(hh)) else {
            return Ok(None);
        };
        if ih.shape() != hh.shape() {
            return Err(LowerError::invalid("the biases of a layer differ in length"));
        }
        let sum: Vec<f64> = ih.to_f64s()?.iter().zip(hh.to_f64s()?).map(|(a, b)| a + b).collect();
        Ok(Some(Some(Tensor::from_f64s(ih.dtype(), ih.shape(), &sum)?)))
    }

    /// Weights and bias as constants, their blocks of rows in another order: what the ops take.
    fn constants(&self, cx: &mut Cx<'_>, order: &[usize]) -> LowerResult<Option<Constants>> {
        let known = |value| cx.b.constant_of(value).cloned();
        let (Some(ih), Some(hh)) = (known(self.weight_ih), known(self.weight_hh)) else {
            return Ok(None);
        };
        let Some(bias) = self.bias(cx)? else { return Ok(None) };
        if self.projection.is_some() {
            return Ok(None);
        }
        let mut place = |tensor: &Tensor| -> LowerResult<Value> {
            Ok(cx.b.constant(in_order(tensor, order)?)?)
        };
        let (weight_ih, weight_hh) = (place(&ih)?, place(&hh)?);
        let bias = bias.as_ref().map(place).transpose()?;
        Ok(Some(Constants { weight_ih, weight_hh, bias }))
    }
}

struct Constants {
    weight_ih: Value,
    weight_hh: Value,
    bias: Option<Value>,
}

/// A tensor whose first axis is cut into blocks, with the blocks in another order.
fn in_order(tensor: &Tensor, order: &[usize]) -> LowerResult<Tensor> {
    let blocks = order.len() as u64;
    let Some(rows) = tensor.shape().first().filter(|&&rows| rows % blocks == 0) else {
        return Err(LowerError::invalid(format!("no {blocks} gates in {:?}", tensor.shape())));
    };
    if blocks == 1 {
        return Ok(tensor.clone());
    }
    let mut shape = tensor.shape().to_vec();
    shape[0] = rows / blocks;
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let size = strides[0] * shape[0];
    let parts = order
        .iter()
        .map(|&block| tensor.strided(&shape, &strides, size * block as u64))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::concat(0, &parts)?)
}

/// The order of the gates of `lstm`, i f o g, by their places in torch's i f g o.
const LSTM_ORDER: &[usize] = &[0, 1, 3, 2];

/// Options of a stack of layers.
struct Stacked {
    layers: usize,
    directions: usize,
    has_biases: bool,
    batch_first: bool,
}

fn options(call: &Call<'_>, cell: Cell) -> LowerResult<Stacked> {
    if call.overload == "data" || call.has("batch_sizes") {
        let message = format!("an {} over a packed sequence", cell.name());
        return Err(LowerError::argument(message)
            .help("pass the padded tensor to the layer instead of a `PackedSequence`"));
    }
    let layers = call.int("num_layers")?;
    let layers = usize::try_from(layers)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| LowerError::invalid(format!("`num_layers` is {layers}")))?;
    let dropout = call.float_or("dropout", 0.0)?;
    if call.bool_or("train", false)? && dropout != 0.0 && layers > 1 {
        return Err(super::housekeeping::training("dropout between recurrent layers"));
    }
    Ok(Stacked {
        layers,
        directions: if call.bool_or("bidirectional", false)? { 2 } else { 1 },
        has_biases: call.bool_or("has_biases", true)?,
        batch_first: call.bool_or("batch_first", false)?,
    })
}

fn layers(cx: &mut Cx<'_>, call: &Call<'_>, cell: Cell) -> LowerResult<Vec<Val>> {
    let stacked = options(call, cell)?;
    let mut x = cx.read(call.tensor("input")?)?;
    if cx.b.tensor(x)?.rank() != 3 {
        return Err(LowerError::invalid("a recurrent layer takes steps, batch and features"));
    }
    let initial = match cell {
        Cell::Lstm => call.tensors("hx")?,
        _ => vec![call.tensor("hx")?],
    };
    if initial.len() != if cell == Cell::Lstm { 2 } else { 1 } {
        return Err(LowerError::invalid(format!("{} initial states", initial.len())));
    }
    let initial = initial.iter().map(|&s| cx.read(s)).collect::<LowerResult<Vec<_>>>()?;
    let params = call.tensors("params")?;
    let walks = stacked.layers.saturating_mul(stacked.directions);
    let each = params.len() / walks.max(1);
    if each == 0 || each * walks != params.len() {
        let message = format!("{} parameters for {walks} walks", params.len());
        return Err(LowerError::invalid(message));
    }
    let mut walks = params.chunks(each);
    if stacked.batch_first {
        x = cx.unary(Transpose { perm: vec![1, 0, 2] }, x)?;
    }
    let mut last: Vec<Vec<Value>> = vec![Vec::new(); initial.len()];
    for layer in 0..stacked.layers {
        let mut ways = Vec::new();
        for direction in 0..stacked.directions {
            let params = walks.next().unwrap_or_default();
            let walk = Walk::read(cx, params, stacked.has_biases)?;
            let at = Dim::Const((layer * stacked.directions + direction) as i64);
            let states = initial
                .iter()
                .map(|&state| select(cx, state, 0, &at))
                .collect::<LowerResult<Vec<_>>>()?;
            ways.push((walk, states));
        }
        let (sequence, states) = layer_of(cx, cell, x, &ways)?;
        x = sequence;
        for state in states {
            last.iter_mut().zip(state).for_each(|(all, one)| all.push(one));
        }
    }
    if stacked.batch_first {
        x = cx.unary(Transpose { perm: vec![1, 0, 2] }, x)?;
    }
    let mut results = vec![cx.fresh(x)];
    for all in last {
        let all = match all[..] {
            [one] => cx.unary(ExpandDims { axes: vec![0] }, one)?,
            _ => Stack { axis: 0 }.build(&mut cx.b, all)?,
        };
        let all = cx.fresh(all);
        if let (Cell::Lstm, Val::Tensor(tensor)) = (cell, &all) {
            // torch 2.7 declares the last states with one axis too many.
            cx.doubt(*tensor);
        }
        results.push(all);
    }
    Ok(results)
}

/// One layer in one direction or both: what it shows at every step, `[s, b, …]`, and the last states
/// of each direction.
fn layer_of(
    cx: &mut Cx<'_>,
    cell: Cell,
    x: Value,
    ways: &[(Walk, Vec<Value>)],
) -> LowerResult<(Value, Vec<Vec<Value>>)> {
    if cell == Cell::Lstm
        && let Some(results) = lstm(cx, x, ways)?
    {
        return Ok(results);
    }
    let (mut shown, mut last) = (Vec::new(), Vec::new());
    for (direction, (walk, states)) in ways.iter().enumerate() {
        let backwards = direction == 1;
        let steps = Reverse { axes: Some(vec![0]) };
        let input = if backwards { cx.unary(steps.clone(), x)? } else { x };
        let (mut sequence, states) = match rnn(cx, cell, input, (walk, states))? {
            Some(results) => results,
            None => over_steps(cx, cell, input, (walk, states))?,
        };
        if backwards {
            sequence = cx.unary(steps, sequence)?;
        }
        shown.push(sequence);
        last.push(states);
    }
    let sequence = match shown[..] {
        [one] => one,
        _ => Concat { axis: 2, interleave: false }.build(&mut cx.b, shown)?,
    };
    Ok((sequence, last))
}

/// The op `lstm`, if all weights are known and there is no projection.
fn lstm(
    cx: &mut Cx<'_>,
    x: Value,
    ways: &[(Walk, Vec<Value>)],
) -> LowerResult<Option<(Value, Vec<Vec<Value>>)>> {
    let mut constants = Vec::new();
    for (walk, _) in ways {
        let Some(known) = walk.constants(cx, LSTM_ORDER)? else { return Ok(None) };
        constants.push(known);
    }
    let [forwards, rest @ ..] = &constants[..] else { return Ok(None) };
    let back = rest.first();
    let mut initial = Vec::new();
    for state in 0..2 {
        let parts: Vec<Value> = ways.iter().filter_map(|way| way.1.get(state).copied()).collect();
        initial.push(match parts[..] {
            [one] => one,
            _ => Concat { axis: 1, interleave: false }.build(&mut cx.b, parts)?,
        });
    }
    let [h, c] = initial[..] else { return Ok(None) };
    let op = Lstm {
        direction: if back.is_some() { Direction::Bidirectional } else { Direction::Forward },
        output_sequence: true,
        recurrent_activation: Activation::Sigmoid,
        cell_activation: Activation::Tanh,
        activation: Activation::Tanh,
        clip: None,
    };
    let results = op.build_many(
        &mut cx.b,
        x,
        h,
        c,
        forwards.weight_ih,
        forwards.weight_hh,
        forwards.bias,
        None,
        back.map(|w| w.weight_ih),
        back.map(|w| w.weight_hh),
        back.and_then(|w| w.bias),
        None,
    )?;
    let [sequence, h, c] = results[..] else { return Err(LowerError::invalid("no results")) };
    if back.is_none() {
        return Ok(Some((sequence, vec![vec![h, c]])));
    }
    let (h, c) = (pieces(&mut cx.b, h, 2)?, pieces(&mut cx.b, c, 2)?);
    let last = h.into_iter().zip(c).map(|(h, c)| vec![h, c]).collect();
    Ok(Some((sequence, last)))
}

/// The op `rnn`, if that is the cell and all weights are known.
fn rnn(
    cx: &mut Cx<'_>,
    cell: Cell,
    x: Value,
    (walk, states): (&Walk, &[Value]),
) -> LowerResult<Option<(Value, Vec<Value>)>> {
    let activation = match cell {
        Cell::Tanh => Activation::Tanh,
        Cell::Relu => Activation::Relu,
        Cell::Lstm | Cell::Gru => return Ok(None),
    };
    let (Some(known), &[state]) = (walk.constants(cx, &[0])?, states) else { return Ok(None) };
    let op = Rnn { direction: Direction::Forward, output_sequence: true, activation };
    let (ih, hh, bias) = (known.weight_ih, known.weight_hh, known.bias);
    match op.build_many(&mut cx.b, x, state, ih, hh, bias)?[..] {
        [sequence, last] => Ok(Some((sequence, vec![last]))),
        _ => Err(LowerError::invalid("no results")),
    }
}

/// A walk written as steps: one after another where they are few, else a loop.
fn over_steps(
    cx: &mut Cx<'_>,
    cell: Cell,
    x: Value,
    (walk, states): (&Walk, &[Value]),
) -> LowerResult<(Value, Vec<Value>)> {
    let gates = affine(cx, x, walk.weight_ih, walk.bias_ih)?;
    let steps = cx.b.tensor(x)?.shape[0].clone();
    if let Some(count) = steps.as_const().filter(|n| (1..=FEW_STEPS).contains(n)) {
        let (mut states, mut shown) = (states.to_vec(), Vec::new());
        for t in 0..count {
            let gates = select(cx, gates, 0, &Dim::Const(t))?;
            states = step(&mut cx.b, cell, gates, (walk, &states))?;
            shown.extend(states.first());
        }
        let sequence = Stack { axis: 0 }.build(&mut cx.b, shown)?;
        return Ok((sequence, states));
    }
    let Some(&shown) = states.first() else { return Err(LowerError::invalid("no state")) };
    let ty = cx.b.tensor(shown)?.clone();
    let mut shape = ty.shape.clone();
    shape.insert(0, steps.clone());
    let shape = dims::vector(cx, &shape)?;
    let zero = cx.b.scalar(ty.dtype, 0.0)?;
    let room = Fill {}.build(&mut cx.b, shape, Some(zero))?;
    let (start, end) = (cx.b.int(0)?, dims::scalar(cx, &steps)?);
    let mut carried = vec![start, room];
    carried.extend(states);
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        carried,
        |b, args| Ok(Less {}.build(b, args[0], end)?),
        |b, args| {
            let (at, room, states) = (args[0], args[1], &args[2..]);
            let now = Gather { axis: 0, batch_dims: 0, validate_indices: false };
            let now = now.build(b, gates, at)?;
            let states = step(b, cell, now, (walk, states))?;
            let place = ExpandDims { axes: vec![0] }.build(b, at)?;
            let row = ExpandDims { axes: vec![0] }.build(b, states[0])?;
            let write = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
            let room = write.build(b, room, place, row)?;
            let one = b.int(1)?;
            let mut next = vec![Add {}.build(b, at, one)?, room];
            next.extend(states);
            Ok(next)
        },
    )?;
    match &results[..] {
        [_, sequence, states @ ..] => Ok((*sequence, states.to_vec())),
        _ => Err(LowerError::invalid("no results")),
    }
}

/// `x · weightᵀ + bias`
fn product(
    b: &mut Builder<'_>,
    x: Value,
    weight: Value,
    bias: Option<Value>,
) -> LowerResult<Value> {
    let known = |value: Value| b.constant_of(value).is_some();
    if known(weight) && bias.is_none_or(known) {
        return Ok(Linear {}.build(b, x, weight, bias)?);
    }
    let y = Matmul { transpose_x: false, transpose_y: true }.build(b, x, weight)?;
    Ok(match bias {
        Some(bias) => Add {}.build(b, y, bias)?,
        None => y,
    })
}

/// `x` cut into equal parts along its last axis.
fn pieces(b: &mut Builder<'_>, x: Value, count: i64) -> LowerResult<Vec<Value>> {
    let axis = b.tensor(x)?.rank() as i64 - 1;
    let parts =
        Split { num_splits: Some(count), split_sizes: None, axis }.build_many(b, x)?.to_vec();
    match parts.len() as i64 == count {
        true => Ok(parts),
        false => Err(LowerError::invalid("the gates do not divide")),
    }
}

/// The states after one step; `gates` is `W x + b`, and the first state is what the cell shows.
fn step(
    b: &mut Builder<'_>,
    cell: Cell,
    gates: Value,
    (walk, states): (&Walk, &[Value]),
) -> LowerResult<Vec<Value>> {
    let &[shown, ref rest @ ..] = states else { return Err(LowerError::invalid("no state")) };
    let own = product(b, shown, walk.weight_hh, walk.bias_hh)?;
    match (cell, rest) {
        (Cell::Lstm, &[c]) => {
            let all = Add {}.build(b, gates, own)?;
            let parts = pieces(b, all, 4)?;
            let i = Sigmoid {}.build(b, parts[0])?;
            let f = Sigmoid {}.build(b, parts[1])?;
            let g = Tanh {}.build(b, parts[2])?;
            let o = Sigmoid {}.build(b, parts[3])?;
            let kept = Mul {}.build(b, f, c)?;
            let added = Mul {}.build(b, i, g)?;
            let c = Add {}.build(b, kept, added)?;
            let open = Tanh {}.build(b, c)?;
            let mut h = Mul {}.build(b, o, open)?;
            if let Some(projection) = walk.projection {
                h = product(b, h, projection, None)?;
            }
            Ok(vec![h, c])
        }
        (Cell::Gru, []) => {
            let (x, own) = (pieces(b, gates, 3)?, pieces(b, own, 3)?);
            let r = Add {}.build(b, x[0], own[0])?;
            let r = Sigmoid {}.build(b, r)?;
            let z = Add {}.build(b, x[1], own[1])?;
            let z = Sigmoid {}.build(b, z)?;
            let reset = Mul {}.build(b, r, own[2])?;
            let new = Add {}.build(b, x[2], reset)?;
            let new = Tanh {}.build(b, new)?;
            let gap = Sub {}.build(b, shown, new)?;
            let kept = Mul {}.build(b, gap, z)?;
            Ok(vec![Add {}.build(b, new, kept)?])
        }
        (Cell::Tanh | Cell::Relu, []) => {
            let sum = Add {}.build(b, gates, own)?;
            Ok(vec![if cell == Cell::Tanh {
                Tanh {}.build(b, sum)?
            } else {
                Relu {}.build(b, sum)?
            }])
        }
        _ => Err(LowerError::invalid(format!("{} states", states.len()))),
    }
}

/// A cell: one step of rows `[b, features]`, or of one row.
fn one_step(cx: &mut Cx<'_>, call: &Call<'_>, cell: Cell) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("input")?)?;
    let states = match cell {
        Cell::Lstm => call.tensors("hx")?,
        _ => vec![call.tensor("hx")?],
    };
    let states = states.iter().map(|&s| cx.read(s)).collect::<LowerResult<Vec<_>>>()?;
    let mut bias = |name: &str| call.opt_tensor(name)?.map(|b| cx.read(b)).transpose();
    let (bias_ih, bias_hh) = (bias("b_ih")?, bias("b_hh")?);
    let walk = Walk {
        weight_ih: cx.read(call.tensor("w_ih")?)?,
        weight_hh: cx.read(call.tensor("w_hh")?)?,
        bias_ih,
        bias_hh,
        projection: None,
    };
    let gates = affine(cx, x, walk.weight_ih, walk.bias_ih)?;
    let states = step(&mut cx.b, cell, gates, (&walk, &states))?;
    Ok(states.into_iter().map(|state| cx.fresh(state)).collect())
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;

    #[test]
    fn blocks_of_rows_change_places() {
        let rows: Vec<i64> = (0..16).collect();
        let weight = Tensor::from_i64s(DType::I32, &[8, 2], &rows).unwrap();
        let sorted = in_order(&weight, LSTM_ORDER).unwrap();
        let want = [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11];
        assert_eq!(sorted.shape(), [8, 2]);
        assert_eq!(sorted.to_i64s().unwrap(), want);
        assert!(in_order(&weight, &[0, 1, 2]).is_err());
    }
}
