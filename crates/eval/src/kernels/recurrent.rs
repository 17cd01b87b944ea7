//! Recurrent layers: products in the wide type of `x`, states and activations in doubles.

use candle_core::{DType as Storage, Device, Tensor as Candle};
use mlc_ir::attr::{Activation, Direction};
use mlc_ir::ops::{Gru, Lstm, Rnn};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::activation::sigmoid;
use crate::kernels::elementwise::attribute;
use crate::kernels::linear::product;

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Tanh => x.tanh(),
        Activation::ScaledTanh => 1.7159 * (x * 2.0 / 3.0).tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::HardSigmoid | Activation::SigmoidHard => {
            if x.is_nan() {
                x
            } else {
                (0.2 * x + 0.5).clamp(0.0, 1.0)
            }
        }
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Linear => x,
    }
}

/// One walk along the steps.
struct Walk {
    /// `weight_ih · x + bias` of each step, in the order they are walked: `[s, b, gates·H]`.
    inputs: Vec<f64>,
    /// `weight_hhᵀ`: `[H, gates·H]`.
    recurrent: Candle,
    steps: usize,
    batch: usize,
    units: usize,
    /// `gates · H`.
    rows: usize,
}

fn doubles(t: &Candle) -> Result<Vec<f64>, EvalError> {
    Ok(t.flatten_all()?.to_dtype(Storage::F64)?.to_vec1()?)
}

/// The elements of an optional vector; zeros when it is absent.
fn vector_or_zeros(
    cx: &KernelCx<'_, '_>,
    name: &str,
    length: usize,
) -> Result<Vec<f64>, EvalError> {
    let values = match cx.opt_array(name)? {
        Some(array) => array.to_f64s()?,
        None => vec![0.0; length],
    };
    if values.len() == length {
        Ok(values)
    } else {
        let message = format!("`{name}` has {} elements, {length} are needed", values.len());
        Err(EvalError::undefined(message))
    }
}

impl Walk {
    /// `suffix` tells the operands of the walk, `biases` those that are added to the inputs.
    fn of(
        cx: &KernelCx<'_, '_>,
        suffix: &str,
        biases: &[&str],
        reverse: bool,
    ) -> Result<Self, EvalError> {
        let x = cx.array("x")?.candle();
        let (steps, batch, features) = x.dims3()?;
        let weight = |name: &str| -> Result<Candle, EvalError> {
            let weight = cx.array(&format!("{name}{suffix}"))?.candle();
            Ok(weight.to_dtype(x.dtype())?.t()?)
        };
        let (ih, recurrent) = (weight("weight_ih")?, weight("weight_hh")?);
        let (units, rows) = recurrent.dims2()?;
        if ih.dims2()? != (features, rows) {
            let message = format!("weights {:?} and {:?}", ih.dims(), recurrent.dims());
            return Err(EvalError::undefined(message));
        }
        let projected = product(&x.reshape((steps * batch, features))?, &ih)?;
        let mut inputs = doubles(&projected)?;
        for name in biases {
            let bias = vector_or_zeros(cx, name, rows)?;
            for row in inputs.chunks_mut(rows.max(1)) {
                row.iter_mut().zip(&bias).for_each(|(x, b)| *x += b);
            }
        }
        if reverse {
            inputs = inputs.chunks((batch * rows).max(1)).rev().flatten().copied().collect();
        }
        Ok(Self { inputs, recurrent, steps, batch, units, rows })
    }

    /// `weight_hh · h` for each of the batch: `[b, gates·H]`.
    fn product(&self, h: &[f64]) -> Result<Vec<f64>, EvalError> {
        let h = Candle::from_slice(h, (self.batch, self.units), &Device::Cpu)?;
        doubles(&product(&h.to_dtype(self.recurrent.dtype())?, &self.recurrent)?)
    }

    /// Runs `step(state, input, recurrent)` for each step and each of the batch, where `state` are the
    /// values of all states of it, and gives `h` after each step, `[s, b, H]`.
    fn run(
        &self,
        h: &mut [f64],
        mut step: impl FnMut(usize, &mut [f64], &[f64], &[f64]) -> Result<(), EvalError>,
    ) -> Result<Vec<f64>, EvalError> {
        let mut all = Vec::with_capacity(self.steps * self.batch * self.units);
        for at in 0..self.steps {
            let recurrent = self.product(h)?;
            for row in 0..self.batch {
                let input = &self.inputs[(at * self.batch + row) * self.rows..][..self.rows];
                let recurrent = &recurrent[row * self.rows..][..self.rows];
                step(row, &mut h[row * self.units..][..self.units], input, recurrent)?;
            }
            all.extend_from_slice(h);
        }
        Ok(all)
    }
}

/// The elements of an initial state `[b, width]`, from column `from` on `units` of each row.
fn initial(
    cx: &KernelCx<'_, '_>,
    name: &str,
    walk: &Walk,
    from: usize,
) -> Result<Vec<f64>, EvalError> {
    let state = cx.array(name)?.candle();
    let (rows, columns) = state.dims2()?;
    if rows != walk.batch || from + walk.units > columns {
        let message = format!("`{name}` is {:?} for a batch of {}", state.dims(), walk.batch);
        return Err(EvalError::undefined(message));
    }
    doubles(&state.narrow(1, from, walk.units)?.contiguous()?)
}

/// The results of a layer that walks one way: `states` are those of each step, `last` the final ones.
fn outputs(
    cx: &KernelCx<'_, '_>,
    walk: &Walk,
    output_sequence: bool,
    (mut states, last): (Vec<f64>, Vec<Vec<f64>>),
) -> Result<Outputs, EvalError> {
    let dtype = cx.result_dtype(0)?;
    let (mut steps, size) = (walk.steps, walk.batch * walk.units);
    if !output_sequence {
        if steps == 0 {
            return Err(EvalError::undefined("there is no last step"));
        }
        states.drain(..(steps - 1) * size);
        steps = 1;
    }
    let shape = [steps, walk.batch, walk.units];
    let mut results = vec![Array::from_f64s(dtype, &shape, states)?.into()];
    for state in last {
        results.push(Array::from_f64s(dtype, &shape[1..], state)?.into());
    }
    Ok(results)
}

impl Kernel for Rnn {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let walk = Walk::of(cx, "", &["bias"], self.direction == Direction::Reverse)?;
        if walk.rows != walk.units {
            let message = format!("{} rows for {} units", walk.rows, walk.units);
            return Err(EvalError::undefined(message));
        }
        let mut h = initial(cx, "initial_h", &walk, 0)?;
        let states = walk.run(&mut h, |_, h, input, recurrent| {
            for (k, h) in h.iter_mut().enumerate() {
                *h = activate(self.activation, input[k] + recurrent[k]);
            }
            Ok(())
        })?;
        outputs(cx, &walk, self.output_sequence, (states, vec![h]))
    }
}

/// `r·h` of one of the batch times the rows of `weight_hh` of the candidate, given as `[H, H]`.
fn gated(rows: &Candle, gated: Vec<f64>) -> Result<Vec<f64>, EvalError> {
    let gated = Candle::from_vec(gated, (1, rows.dims()[0]), &Device::Cpu)?;
    doubles(&product(&gated.to_dtype(rows.dtype())?, rows)?)
}

impl Kernel for Gru {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let reverse = self.direction == Direction::Reverse;
        let biases: &[&str] =
            if self.reset_after { &["input_bias"] } else { &["bias", "input_bias"] };
        let walk = Walk::of(cx, "", biases, reverse)?;
        let hidden_bias = if self.reset_after {
            vector_or_zeros(cx, "bias", walk.rows)?
        } else {
            vec![0.0; walk.rows]
        };
        let n = walk.units;
        if walk.rows != 3 * n {
            return Err(EvalError::undefined(format!("{} rows for {n} units", walk.rows)));
        }
        let rows = walk.recurrent.narrow(1, n, n)?.contiguous()?;
        let gate = |x| activate(self.recurrent_activation, x);
        let mut h = initial(cx, "initial_h", &walk, 0)?;
        let states = walk.run(&mut h, |_, h, input, recurrent| {
            let hidden = |k: usize| recurrent[k] + hidden_bias[k];
            let r: Vec<f64> = (0..n).map(|k| gate(input[k] + hidden(k))).collect();
            let candidate: Vec<f64> = if self.reset_after {
                (0..n).map(|k| r[k] * hidden(n + k)).collect()
            } else {
                gated(&rows, r.iter().zip(&*h).map(|(r, h)| r * h).collect())?
            };
            for (k, h) in h.iter_mut().enumerate() {
                let z = gate(input[2 * n + k] + hidden(2 * n + k));
                let o = activate(self.activation, input[n + k] + candidate[k]);
                *h = (1.0 - z) * o + z * *h;
            }
            Ok(())
        })?;
        outputs(cx, &walk, self.output_sequence, (states, vec![h]))
    }
}

/// What an LSTM's walk gives: `h` of each step, the last `h`, the last `c`.
type LstmStates = (Vec<f64>, Vec<f64>, Vec<f64>);

/// One walk of an LSTM; its operands end in `suffix`, its initial states begin at column `from`.
fn lstm_walk(
    op: &Lstm,
    cx: &KernelCx<'_, '_>,
    walk: &Walk,
    (suffix, from): (&str, usize),
) -> Result<LstmStates, EvalError> {
    let n = walk.units;
    if walk.rows != 4 * n {
        return Err(EvalError::undefined(format!("{} rows for {n} units", walk.rows)));
    }
    let peephole = vector_or_zeros(cx, &format!("peephole{suffix}"), 3 * n)?;
    let clip = op.clip.map(|clip| attribute(cx, clip.0)).transpose()?;
    let mut h = initial(cx, "initial_h", walk, from)?;
    let mut c = initial(cx, "initial_c", walk, from)?;
    let gate = |x| activate(op.recurrent_activation, x);
    let states = walk.run(&mut h, |row, h, input, recurrent| {
        let sum = |block: usize, k: usize| input[block * n + k] + recurrent[block * n + k];
        for (k, (h, c)) in h.iter_mut().zip(&mut c[row * n..][..n]).enumerate() {
            let i = gate(sum(0, k) + peephole[k] * *c);
            let f = gate(sum(1, k) + peephole[n + k] * *c);
            let g = activate(op.cell_activation, sum(3, k));
            *c = f * *c + i * g;
            if let Some(clip) = clip {
                *c = c.max(-clip).min(clip);
            }
            let o = gate(sum(2, k) + peephole[2 * n + k] * *c);
            *h = o * activate(op.activation, *c);
        }
        Ok(())
    })?;
    Ok((states, h, c))
}

fn both_ways(op: &Lstm, cx: &KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
    let forward = Walk::of(cx, "", &["bias"], false)?;
    let back = Walk::of(cx, "_back", &["bias_back"], true)?;
    let (ahead, h, c) = lstm_walk(op, cx, &forward, ("", 0))?;
    let (behind, h_back, c_back) = lstm_walk(op, cx, &back, ("_back", forward.units))?;
    let (steps, batch, n) = (forward.steps, forward.batch, forward.units);
    if back.units != n {
        return Err(EvalError::undefined("both directions need the same number of units"));
    }
    let dtype = cx.result_dtype(0)?;
    let join = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.chunks(n.max(1)).zip(b.chunks(n.max(1))).flat_map(|(a, b)| [a, b].concat()).collect()
    };
    let state = |a: &[f64], b: &[f64]| Array::from_f64s(dtype, &[batch, 2 * n], join(a, b));
    let (length, all) = if op.output_sequence {
        let size = (batch * n).max(1);
        let aligned: Vec<f64> = behind.chunks(size).rev().flatten().copied().collect();
        (steps, join(&ahead, &aligned))
    } else if steps == 0 {
        return Err(EvalError::undefined("there is no last step"));
    } else {
        (1, join(&h, &h_back))
    };
    let all = Array::from_f64s(dtype, &[length, batch, 2 * n], all)?;
    Ok(vec![all.into(), state(&h, &h_back)?.into(), state(&c, &c_back)?.into()])
}

impl Kernel for Lstm {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        if self.direction == Direction::Bidirectional {
            return both_ways(self, cx);
        }
        let walk = Walk::of(cx, "", &["bias"], self.direction == Direction::Reverse)?;
        let (states, h, c) = lstm_walk(self, cx, &walk, ("", 0))?;
        outputs(cx, &walk, self.output_sequence, (states, vec![h, c]))
    }
}
