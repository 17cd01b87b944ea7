//! What an op costs on a device, from its payload and the types of its operands and results.

use mlc_ir::ops::{Conv, ConvTranspose, Linear, Matmul, ScaledDotProductAttention, Transpose};
use mlc_ir::{Dim, Op, Payload, Program, Symbols, TensorType, Trait, Type, Value};
use mlc_target::cost::{Device, Engine};
use mlc_tensor::DType;

/// The extent that an open one without a useful upper bound is taken for.
const OPEN: i64 = 128;
/// The greatest upper bound of an open extent that is believed.
const BELIEVED: i64 = 4096;

/// Costs of ops on a class of devices.
#[derive(Debug, Clone, Copy)]
pub struct Cost<'a> {
    /// The class of devices.
    pub device: &'static Device,
    /// Ranges of symbols.
    pub symbols: &'a Symbols,
}

impl Cost<'_> {
    /// The cost of an op with operands and results of these types, in picoseconds; at least 1. What a
    /// constant costs stands in its own op.
    #[must_use]
    pub fn op(&self, op: &Op, operands: &[&Type], results: &[&Type]) -> u64 {
        let bytes =
            |types: &[&Type]| types.iter().map(|ty| self.bytes(ty)).fold(0, u64::saturating_add);
        if matches!(op, Op::Const(_)) {
            let stored = results.iter().filter_map(|ty| ty.as_tensor()).map(|ty| self.dense(ty));
            return self.device.constant(stored.fold(0, u64::saturating_add)).max(1);
        }
        let traits = op.spec().traits;
        let (read, written) = (bytes(operands), bytes(results));
        let moved = match traits.has(Trait::View) {
            // Only a permutation of axes moves elements.
            true => self.moved(op, read.saturating_add(written)),
            false => read.saturating_add(written),
        };
        let mut time = self.device.time(self.flops(op, operands, results), moved);
        if let Some(engine) = &self.device.engine
            && (engine.refusal(op.spec().name).is_some()
                || !results.iter().all(|ty| self.fits(engine, ty)))
        {
            time = time.saturating_add(engine.leave);
        }
        time.max(1)
    }

    fn moved(&self, op: &Op, bytes: u64) -> u64 {
        let Some(transpose) = Transpose::of(op) else { return 0 };
        let last = transpose.perm.len() as i64 - 1;
        let keeps_last = transpose.perm.last().is_some_and(|&p| p == last || p == -1);
        if keeps_last { bytes } else { bytes.saturating_mul(self.device.last_axis) }
    }

    fn flops(&self, op: &Op, operands: &[&Type], results: &[&Type]) -> u64 {
        let tensor =
            |types: &[&Type], i: usize| types.get(i).and_then(|ty| ty.as_tensor().cloned());
        let elements = |ty: Option<TensorType>| ty.map_or(0, |ty| self.count(&ty));
        let out = elements(tensor(results, 0));
        let at = |i: usize, axis_from_end: usize| {
            let ty = tensor(operands, i)?;
            let axis = ty.rank().checked_sub(axis_from_end + 1)?;
            Some(self.extent(&ty.shape[axis]))
        };
        if Conv::of(op).is_some() {
            let weight = tensor(operands, 1);
            let rows = weight.as_ref().map_or(1, |w| self.extent(&w.shape[0])).max(1);
            return 2u64.saturating_mul(out).saturating_mul(elements(weight) / rows);
        }
        if ConvTranspose::of(op).is_some() {
            let weight = tensor(operands, 1);
            let rows = weight.as_ref().map_or(1, |w| self.extent(&w.shape[0])).max(1);
            let input = elements(tensor(operands, 0));
            return 3u64.saturating_mul(input).saturating_mul(elements(weight) / rows);
        }
        if Linear::of(op).is_some() {
            return out.saturating_mul(2).saturating_mul(at(0, 0).unwrap_or(1));
        }
        if let Some(matmul) = Matmul::of(op) {
            let depth = at(0, usize::from(matmul.transpose_x)).unwrap_or(1);
            return out.saturating_mul(2).saturating_mul(depth);
        }
        if ScaledDotProductAttention::of(op).is_some() {
            return out.saturating_mul(4).saturating_mul(at(1, 1).unwrap_or(1));
        }
        let read = operands.iter().filter_map(|ty| ty.as_tensor());
        let most = read.map(|ty| self.count(ty)).fold(out, u64::max);
        let weight = if op.spec().family.ends_with("activation") { 4 } else { 1 };
        if op.spec().traits.has(Trait::View) { 0 } else { most.saturating_mul(weight) }
    }

    /// Whether the engine computes a value: it has no wide integers and no doubles.
    fn fits(&self, engine: &Engine, ty: &Type) -> bool {
        ty.as_tensor().is_some_and(|ty| {
            let dtypes = [DType::F16, DType::F32, DType::Bool, DType::I8, DType::U8];
            dtypes.contains(&ty.dtype)
                && ty.rank() <= engine.rank
                && ty.shape.iter().all(|dim| self.extent(dim) <= engine.extent)
        })
    }

    /// The bytes that a tensor takes where it is computed with; rows are padded on an engine.
    fn tensor_bytes(&self, ty: &TensorType) -> u64 {
        let all = self.dense(ty);
        let (Some(engine), Some(last)) = (&self.device.engine, ty.shape.last()) else { return all };
        let row = ty.dtype.bytes_for(self.extent(last)).filter(|&row| row > 0);
        let padded = row.and_then(|row| {
            Some((all / row).saturating_mul(row.checked_next_multiple_of(engine.row)?))
        });
        padded.unwrap_or(all)
    }

    fn dense(&self, ty: &TensorType) -> u64 {
        ty.dtype.bytes_for(self.count(ty)).unwrap_or(0)
    }

    fn bytes(&self, ty: &Type) -> u64 {
        match ty {
            Type::Tensor(ty) | Type::State(ty) => self.tensor_bytes(ty),
            Type::List { element, length } => {
                let each = self.tensor_bytes(element);
                each.saturating_mul(self.extent(length))
            }
            Type::Tuple(_) | Type::Dict { .. } => 0,
        }
    }

    fn count(&self, ty: &TensorType) -> u64 {
        ty.shape.iter().fold(1, |n, dim| n.saturating_mul(self.extent(dim)))
    }

    fn extent(&self, dim: &Dim) -> u64 {
        let n = match dim.as_const() {
            Some(n) => n,
            None => {
                let (low, high) = self.symbols.bounds(dim);
                let open = low.unwrap_or(0).max(OPEN);
                high.filter(|&high| high <= BELIEVED).unwrap_or(open)
            }
        };
        u64::try_from(n).unwrap_or(0)
    }
}

/// What a program costs on a device: its ops, those of nested regions once.
#[must_use]
pub fn program_cost(program: &Program, device: &'static Device) -> u64 {
    let cost = Cost { device, symbols: &program.symbols };
    let mut sum = 0u64;
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            let data = &function.nodes[node];
            let types =
                |values: &[Value]| values.iter().map(|&v| function.ty(v)).collect::<Vec<_>>();
            let own = cost.op(&data.op, &types(data.operands.all()), &types(&data.results));
            sum = sum.saturating_add(own);
        });
    }
    sum
}

#[cfg(test)]
mod tests {
    use mlc_ir::ops::{Relu, Reshape};
    use mlc_target::cost::device;

    use super::*;

    fn tensor(shape: &[i64]) -> Type {
        Type::tensor(DType::F32, shape.iter().map(|&d| Dim::Const(d)).collect::<Vec<_>>())
    }

    #[test]
    fn costs_follow_what_is_moved() {
        let symbols = Symbols::default();
        let cost = Cost { device: device("latency").unwrap(), symbols: &symbols };
        let (wide, narrow) = (tensor(&[1, 512, 512]), tensor(&[1, 4, 4]));
        let relu = Op::from(Relu {});
        assert!(cost.op(&relu, &[&wide], &[&wide]) > cost.op(&relu, &[&narrow], &[&narrow]));
        let perm = |perm: &[i64]| Op::from(Transpose { perm: perm.to_vec() });
        let moved = |op: &Op| cost.op(op, &[&wide], &[&wide]);
        assert!(moved(&perm(&[0, 2, 1])) > moved(&perm(&[1, 0, 2])));
        assert!(moved(&Op::from(Reshape {})) < moved(&perm(&[1, 0, 2])));
        let open = Type::tensor(DType::F32, vec![Dim::symbol("s")]);
        assert!(cost.op(&relu, &[&open], &[&open]) > 0);
    }

    #[test]
    fn the_engine_has_no_wide_integers() {
        let symbols = Symbols::default();
        let cost = Cost { device: device("ane").unwrap(), symbols: &symbols };
        let add = Op::from(mlc_ir::ops::Add {});
        let at = |dtype| {
            let ty = Type::tensor(dtype, vec![Dim::Const(4)]);
            cost.op(&add, &[&ty, &ty], &[&ty])
        };
        assert!(at(DType::I32) > 2 * at(DType::F16));
        // Rows of one element take 64 bytes.
        let relu = Op::from(Relu {});
        let (column, row) = (tensor(&[1, 4096, 1]), tensor(&[1, 1, 4096]));
        assert!(cost.op(&relu, &[&column], &[&column]) > 4 * cost.op(&relu, &[&row], &[&row]));
        let wide = tensor(&[1, 1, 1, 1, 1, 4]);
        assert!(cost.op(&relu, &[&wide], &[&wide]) > 230_000_000);
    }
}
