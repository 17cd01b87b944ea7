//! Products of matrices. Floats are multiplied and summed in the wide type of the operands, integers
//! in 64 bits, wrapping.

use std::collections::BTreeMap;

use candle_core::{DType as Storage, Device, Tensor as Candle};
use mlc_ir::ops::linear::EinsumLabels;
use mlc_ir::ops::{Einsum, Linear, Matmul};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::broadcast::broadcast_shape;

/// Batched `[*B, m, k] · [*B, k, n]` of equal rank, batch axes broadcast.
pub(crate) fn product(x: &Candle, y: &Candle) -> Result<Candle, EvalError> {
    let rank = x.rank();
    let (m, k, n) = (x.dims()[rank - 2], x.dims()[rank - 1], y.dims()[rank - 1]);
    let batch = broadcast_shape(&x.dims()[..rank - 2], &y.dims()[..rank - 2])?;
    let shape: Vec<usize> = batch.iter().copied().chain([m, n]).collect();
    if k == 0 || shape.contains(&0) {
        return Ok(Candle::zeros(shape, x.dtype(), &Device::Cpu)?);
    }
    if x.dtype() == Storage::I64 {
        return int_product(x, y, &batch);
    }
    if batch.iter().product::<usize>() == 1 {
        let (x, y) = (x.reshape((m, k))?, as_matrix(y)?);
        return Ok(x.matmul(&y)?.reshape(shape)?);
    }
    let spread = |t: &Candle| -> Result<Candle, EvalError> {
        let own = &t.dims()[rank - 2..];
        let full: Vec<usize> = batch.iter().chain(own).copied().collect();
        let flat = (batch.iter().product::<usize>(), own[0], own[1]);
        Ok(t.broadcast_as(full)?.contiguous()?.reshape(flat)?)
    };
    Ok(spread(x)?.matmul(&spread(y)?)?.reshape(shape)?)
}

/// The one matrix of a tensor whose axes before the last two have extent 1; strides are kept.
fn as_matrix(t: &Candle) -> Result<Candle, EvalError> {
    let mut t = t.clone();
    while t.rank() > 2 {
        t = t.squeeze(0)?;
    }
    Ok(t)
}

fn int_product(x: &Candle, y: &Candle, batch: &[usize]) -> Result<Candle, EvalError> {
    let rank = x.rank();
    let (m, k, n) = (x.dims()[rank - 2], x.dims()[rank - 1], y.dims()[rank - 1]);
    let flat = |t: &Candle, rows: usize, columns: usize| -> Result<Vec<i64>, EvalError> {
        let full: Vec<usize> = batch.iter().copied().chain([rows, columns]).collect();
        Ok(t.broadcast_as(full)?.contiguous()?.flatten_all()?.to_vec1()?)
    };
    let (a, b) = (flat(x, m, k)?, flat(y, k, n)?);
    let mut out = vec![0i64; a.len() / k * n];
    for ((row, out), at) in a.chunks(k).zip(out.chunks_mut(n)).zip(0..) {
        let matrix = &b[at / m * k * n..][..k * n];
        for (&scale, other) in row.iter().zip(matrix.chunks(n)) {
            for (sum, &value) in out.iter_mut().zip(other) {
                *sum = sum.wrapping_add(scale.wrapping_mul(value));
            }
        }
    }
    let shape: Vec<usize> = batch.iter().copied().chain([m, n]).collect();
    Ok(Candle::from_vec(out, shape, &Device::Cpu)?)
}

/// Both in the wider of the two storage types.
fn alike(x: &Candle, y: &Candle) -> Result<(Candle, Candle), EvalError> {
    let wide = if y.dtype() == Storage::F64 { Storage::F64 } else { x.dtype() };
    Ok((x.to_dtype(wide)?, y.to_dtype(wide)?))
}

impl Kernel for Linear {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, weight) = alike(cx.array("x")?.candle(), cx.array("weight")?.candle())?;
        let (rows, columns) = weight.dims2()?;
        let mut shape = x.dims().to_vec();
        let inner = shape.pop().unwrap_or(0);
        if inner != columns {
            let message = format!("{:?} by {:?}", x.dims(), weight.dims());
            return Err(EvalError::undefined(message));
        }
        let count: usize = shape.iter().product();
        let mut y = product(&x.reshape((count, inner))?, &weight.t()?)?;
        if let Some(bias) = cx.opt_array("bias")? {
            let (wide, bias) = alike(&y, bias.candle())?;
            y = wide.broadcast_add(&bias)?;
        }
        shape.push(rows);
        cx.one(y.reshape(shape)?)
    }
}

impl Kernel for Matmul {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (mut x, mut y) = alike(cx.array("x")?.candle(), cx.array("y")?.candle())?;
        let (vector_x, vector_y) = (x.rank() == 1, y.rank() == 1);
        if vector_x {
            x = x.unsqueeze(0)?;
        }
        if vector_y {
            y = y.unsqueeze(1)?;
        }
        if self.transpose_x {
            x = x.t()?;
        }
        if self.transpose_y {
            y = y.t()?;
        }
        while x.rank() < y.rank() {
            x = x.unsqueeze(0)?;
        }
        while y.rank() < x.rank() {
            y = y.unsqueeze(0)?;
        }
        let rank = x.rank();
        if x.dims()[rank - 1] != y.dims()[rank - 2] {
            let message = format!("{:?} by {:?}", x.dims(), y.dims());
            return Err(EvalError::undefined(message));
        }
        let mut z = product(&x, &y)?;
        if vector_y {
            z = z.squeeze(z.rank() - 1)?;
        }
        if vector_x {
            z = z.squeeze(rank - 2)?;
        }
        cx.one(z)
    }
}

/// A tensor with a letter for each axis, each letter once.
struct Labelled {
    letters: Vec<char>,
    data: Candle,
}

impl Labelled {
    /// Axes of the same letter joined to their diagonal; axes of extent 1 stretch.
    fn new(
        letters: &[char],
        data: &Candle,
        extents: &BTreeMap<char, usize>,
    ) -> Result<Self, EvalError> {
        let full: Vec<usize> = letters.iter().map(|c| extents[c]).collect();
        let mut own =
            Self { letters: letters.to_vec(), data: data.broadcast_as(full)?.contiguous()? };
        while let Some((first, second)) = own.repeated() {
            // The diagonal of an n × n block is every (n+1)-th of its elements.
            let n = own.data.dims()[first];
            let mut order: Vec<usize> =
                (0..own.letters.len()).filter(|&i| i != first && i != second).collect();
            let kept: Vec<usize> = order.iter().map(|&i| own.data.dims()[i]).collect();
            let letters = order.iter().map(|&i| own.letters[i]).chain([own.letters[first]]);
            let letters: Vec<char> = letters.collect();
            order.extend([first, second]);
            let outer: usize = kept.iter().product();
            let flat = own.data.permute(order)?.contiguous()?.reshape((outer, n * n))?;
            let index: Vec<u32> = (0..n).map(|i| (i * (n + 1)) as u32).collect();
            let diagonal = flat.index_select(&Candle::from_vec(index, n, &Device::Cpu)?, 1)?;
            let shape: Vec<usize> = kept.into_iter().chain([n]).collect();
            own = Self { letters, data: diagonal.reshape(shape)? };
        }
        Ok(own)
    }

    fn repeated(&self) -> Option<(usize, usize)> {
        (1..self.letters.len()).find_map(|j| {
            self.letters[..j].iter().position(|c| *c == self.letters[j]).map(|i| (i, j))
        })
    }

    /// With axes in the order of `letters`, which are all of its own.
    fn ordered(&self, letters: &[char]) -> Result<Candle, EvalError> {
        let order = letters
            .iter()
            .map(|c| {
                let at = self.letters.iter().position(|own| own == c);
                at.ok_or_else(|| EvalError::internal(format!("no axis `{c}`")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.data.permute(order)?.contiguous()?)
    }

    /// Sums over the letters that `keep` refuses.
    fn summed(self, keep: impl Fn(char) -> bool) -> Result<Self, EvalError> {
        let axes: Vec<usize> =
            (0..self.letters.len()).filter(|&i| !keep(self.letters[i])).collect();
        if axes.is_empty() {
            return Ok(self);
        }
        let letters: Vec<char> = self.letters.iter().copied().filter(|&c| keep(c)).collect();
        let rest: Vec<char> = self.letters.iter().copied().filter(|&c| !keep(c)).collect();
        let order: Vec<char> = letters.iter().chain(&rest).copied().collect();
        let data = self.ordered(&order)?;
        let shape = data.dims()[..letters.len()].to_vec();
        let length: usize = data.dims()[letters.len()..].iter().product();
        let ones = Candle::ones((length, 1), data.dtype(), &Device::Cpu)?;
        let rows: usize = shape.iter().product();
        let data = product(&data.reshape((rows, length))?, &ones)?.reshape(shape)?;
        Ok(Self { letters, data })
    }

    /// The product, summed over the letters of both that `keep` refuses.
    fn times(self, other: Self, keep: impl Fn(char) -> bool) -> Result<Self, EvalError> {
        let left = self.summed(|c| keep(c) || other.letters.contains(&c))?;
        let right = other.summed(|c| keep(c) || left.letters.contains(&c))?;
        let pick = |of: &[char], take: &dyn Fn(char) -> bool| -> Vec<char> {
            of.iter().copied().filter(|&c| take(c)).collect()
        };
        let both = |c: char| left.letters.contains(&c) && right.letters.contains(&c);
        let batch = pick(&left.letters, &|c| both(c) && keep(c));
        let inner = pick(&left.letters, &|c| both(c) && !keep(c));
        let rows = pick(&left.letters, &|c| !both(c));
        let columns = pick(&right.letters, &|c| !both(c));
        let a = left.ordered(&[&batch[..], &rows, &inner].concat())?;
        let b = right.ordered(&[&batch[..], &inner, &columns].concat())?;
        let (nb, nr, nc) = (batch.len(), rows.len(), columns.len());
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        let shape = [&a.dims()[..nb + nr], &b.dims()[b.rank() - nc..]].concat();
        let (b_batch, m, k) =
            (count(&a.dims()[..nb]), count(&a.dims()[nb..nb + nr]), count(&a.dims()[nb + nr..]));
        let n = count(&b.dims()[b.rank() - nc..]);
        let data = product(&a.reshape((b_batch, m, k))?, &b.reshape((b_batch, k, n))?)?;
        let letters = [&batch[..], &rows, &columns].concat();
        Ok(Self { letters, data: data.reshape(shape)? })
    }
}

impl Kernel for Einsum {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let labels =
            EinsumLabels::parse(&self.equation).map_err(|e| EvalError::internal(e.to_string()))?;
        let arrays = cx.arrays("values")?;
        let mut extents: BTreeMap<char, usize> = BTreeMap::new();
        for (letters, array) in labels.operands.iter().zip(&arrays) {
            for (&letter, &d) in letters.iter().zip(array.shape()) {
                let known = extents.entry(letter).or_insert(d);
                if *known == 1 {
                    *known = d;
                } else if d != 1 && d != *known {
                    let message = format!("`{letter}` has the extents {known} and {d}");
                    return Err(EvalError::undefined(message));
                }
            }
        }
        let mut parts = Vec::with_capacity(arrays.len());
        for (letters, array) in labels.operands.iter().zip(&arrays) {
            parts.push(Labelled::new(letters, array.candle(), &extents)?);
        }
        let mut parts = parts.into_iter();
        let mut total =
            parts.next().ok_or_else(|| EvalError::internal("einsum without operands"))?;
        while let Some(next) = parts.next() {
            let later = parts.as_slice();
            total = total.times(next, |c| {
                labels.result.contains(&c) || later.iter().any(|p| p.letters.contains(&c))
            })?;
        }
        let total = total.summed(|c| labels.result.contains(&c))?;
        cx.one(total.ordered(&labels.result)?)
    }
}
