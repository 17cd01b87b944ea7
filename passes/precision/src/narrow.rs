//! Rebuilds a function with half-precision ops.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::ops::{
    Cast, ClampedRelu, Clip, InstanceNorm, LayerNorm, Op, ReadState, Threshold, WriteState,
};
use mlc_ir::{Builder, ConstId, F64, Function, Node, Operands, Region, Type, Value};
use mlc_pass::{Rebuild, Result, Selector, Step, append_like};
use mlc_target::{DataType, Opset, signature, versions};
use mlc_tensor::{DType, Tensor};

use crate::facts::{LEAST, MASK, MAX, halved};
use crate::hazards::{Hazards, is_wide};
use crate::lift::Lift;

/// Parameters and outputs whose own type becomes f16, by position.
#[derive(Default)]
pub(crate) struct Features {
    params: BTreeSet<usize>,
    outputs: BTreeSet<usize>,
}

impl Features {
    /// Those of a wide type that `selectors` name; `unused` loses the selectors that name one.
    pub(crate) fn named(function: &Function, selectors: &[Selector], unused: &mut [bool]) -> Self {
        let body = &function.regions[function.body];
        let mut pick = |names: Vec<&str>, values: &[Value]| -> BTreeSet<usize> {
            let mut picked = BTreeSet::new();
            for (at, (name, &value)) in names.into_iter().zip(values).enumerate() {
                for (selector, unused) in selectors.iter().zip(unused.iter_mut()) {
                    if selector.is(name) {
                        *unused = false;
                        if wide(function.ty(value)).is_some() {
                            picked.insert(at);
                        }
                    }
                }
            }
            picked
        };
        let params = pick(function.params.iter().map(|p| p.name.as_str()).collect(), &body.args);
        let outputs =
            pick(function.outputs.iter().map(|o| o.name.as_str()).collect(), &body.results);
        Self { params, outputs }
    }
}

/// The element type of a tensor that half precision can stand for.
fn wide(ty: &Type) -> Option<DType> {
    ty.as_tensor().map(|ty| ty.dtype).filter(|&dtype| is_wide(dtype))
}

/// A region, a value, and whether it is clamped as a mask.
type Key = (Region, Value, bool);

pub(crate) struct Narrow {
    opset: Option<Opset>,
    hazards: Hazards,
    features: Features,
    /// The f16 form of a value, by the region it was made in and whether it is a clamped mask.
    halves: BTreeMap<Key, Value>,
    /// Keys of `halves`, oldest first.
    made: Vec<Key>,
    /// Whether states became f16.
    states: bool,
    /// Ops that compute in f16 now.
    pub(crate) turned: u64,
    pub(crate) changed: bool,
}

impl Narrow {
    pub(crate) fn new(opset: Option<Opset>, hazards: Hazards, features: Features) -> Self {
        Self {
            opset,
            hazards,
            features,
            halves: BTreeMap::new(),
            made: Vec::new(),
            states: false,
            turned: 0,
            changed: false,
        }
    }

    /// Whether the op takes half precision in this slot.
    fn takes_half(&self, op: &Op, slot: usize) -> bool {
        let spec = op.spec();
        let coordinates = matches!(op, Op::Resample(_) | Op::CropResize(_)) && slot == 1;
        if coordinates || matches!(op, Op::Range1d(_)) {
            return false;
        }
        let asked = self.opset.and_then(|opset| signature(spec.name, opset));
        let Some(signature) = asked.or_else(|| versions(spec.name).first()) else { return true };
        let allowed = signature.param(spec.operands[slot].name).and_then(|p| signature.allowed(p));
        allowed.is_none_or(|dtypes| dtypes.contains(&DataType::Fp16))
    }

    /// The f16 form of a wide value.
    fn half(&mut self, b: &mut Builder<'_>, value: Value, bound: f64) -> Result<Value> {
        let key = (b.region, value, bound < MAX);
        if let Some(&half) = self.halves.get(&key) {
            return Ok(half);
        }
        let constant = match b.function().def(value) {
            Some((_, data)) => match &data.op {
                Op::Cast(_) if b.tensor(data.operands.all()[0])?.dtype == DType::F16 => {
                    return Ok(data.operands.all()[0]);
                }
                Op::Const(op) => Some(op.value),
                _ => None,
            },
            None => None,
        };
        let half = match constant {
            Some(id) => {
                let tensor = halved(b.program.consts.get(id), bound)?;
                in_place_of(b, id, tensor)?
            }
            None => Cast { dtype: DType::F16 }.build(b, value)?,
        };
        self.halves.insert(key, half);
        self.made.push(key);
        Ok(half)
    }

    /// The operands with those in f16 that may be, or nothing if there are none.
    fn operands(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Option<Operands>> {
        let (op, old) = {
            let data = &b.function().nodes[node];
            (data.op.clone(), data.operands.clone())
        };
        let lift = self.hazards.lifted.get(&node).copied();
        let mut operands = Operands::new();
        let mut any = false;
        for slot in 0..old.slots() {
            let mut values = Vec::new();
            for &value in old.slot(slot) {
                if wide(b.ty(value)).is_none() || !self.takes_half(&op, slot) {
                    values.push(value);
                    continue;
                }
                any = true;
                if let Some(lift) = lift.filter(|_| Lift::has(slot)) {
                    values.push(lift.constant(b, value)?);
                    continue;
                }
                let guard = matches!(op, Op::Add(_) | Op::Maximum(_));
                let epsilon = b.constant_of(value).filter(|_| guard && self.is_raised(node));
                if let Some(shape) = epsilon.map(|tensor| tensor.shape().to_vec()) {
                    values.push(b.constant(Tensor::full(DType::F16, &shape, LEAST)?)?);
                    continue;
                }
                let bound = self.hazards.masks.get(&(node, value)).copied().unwrap_or(MAX);
                values.push(self.half(b, value, bound)?);
            }
            operands.push_slot(values);
        }
        Ok(any.then_some(operands))
    }

    fn is_raised(&self, node: Node) -> bool {
        self.hazards.raised.contains(&node)
    }

    /// The op in f16, its results cast back to what they were.
    fn narrowed(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Step> {
        let region = b.region;
        let (made, linked) = (self.made.len(), b.function().regions[region].nodes.len());
        let Some(operands) = self.operands(b, node)? else { return Ok(Step::Keep) };
        let op = match self.is_raised(node) {
            true => raised(&b.function().nodes[node].op),
            false => bounded(&b.function().nodes[node].op),
        };
        let Ok(mut results) = append_like(b, node, op, operands) else {
            // What does not fit in f16 stays, without the casts that were made for it.
            b.function_mut().regions[region].nodes.truncate(linked);
            for key in self.made.drain(made..) {
                self.halves.remove(&key);
            }
            return Ok(Step::Keep);
        };
        if let Some(lift) = self.hazards.lifted.get(&node) {
            for result in &mut results {
                *result = lift.lowered(b, *result)?;
            }
        }
        self.turned += 1;
        self.changed = true;
        self.back(b, node, results)
    }

    fn back(&mut self, b: &mut Builder<'_>, node: Node, results: Vec<Value>) -> Result<Step> {
        let old = b.results(node).to_vec();
        let mut values = Vec::new();
        for (old, new) in old.into_iter().zip(results) {
            let want = b.ty(old).as_tensor().map(|ty| ty.dtype);
            let has = b.ty(new).as_tensor().map(|ty| ty.dtype);
            match want {
                Some(dtype) if want != has => {
                    // The op keeps the name, unless it is that of an output.
                    let body = b.function().body;
                    if !b.function().regions[body].results.contains(&old) {
                        let name = b.function_mut().values[old].name.take();
                        b.function_mut().values[new].name = name;
                    }
                    values.push(Cast { dtype }.build(b, new)?);
                }
                _ => values.push(new),
            }
        }
        Ok(Step::Replace(values))
    }
}

impl Rebuild for Narrow {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        if region != b.function().body {
            return Ok(arg);
        }
        let (half, dtype) = match b.ty(arg) {
            Type::State(held) if is_wide(held.dtype) => {
                self.states = true;
                (Type::State(held.with_dtype(DType::F16)), None)
            }
            Type::Tensor(ty) if self.features.params.contains(&index) => {
                (Type::Tensor(ty.with_dtype(DType::F16)), Some(ty.dtype))
            }
            _ => return Ok(arg),
        };
        self.changed = true;
        b.function_mut().values[arg].ty = half;
        match dtype {
            Some(dtype) => Ok(Cast { dtype }.build(b, arg)?),
            None => Ok(arg),
        }
    }

    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Step> {
        let data = &b.function().nodes[node];
        let operands = data.operands.all().to_vec();
        match &data.op {
            Op::ReadState(_) if self.states && wide(b.ty(data.results[0])).is_some() => {
                let results = ReadState {}.build_many(b, operands[0])?;
                self.back(b, node, results)
            }
            Op::WriteState(_) if wide(b.ty(operands[1])).is_some() => {
                let half = self.half(b, operands[1], MAX)?;
                WriteState {}.build_many(b, operands[0], half)?;
                Ok(Step::Replace(Vec::new()))
            }
            Op::Const(_) | Op::Cast(_) | Op::Identity(_) | Op::ReadState(_) | Op::WriteState(_) => {
                Ok(Step::Keep)
            }
            _ if !data.regions.is_empty() || self.hazards.kept.contains(&node) => Ok(Step::Keep),
            _ => self.narrowed(b, node),
        }
    }

    fn leave(&mut self, b: &mut Builder<'_>, region: Region, results: &mut [Value]) -> Result<()> {
        if region == b.function().body {
            for at in self.features.outputs.clone() {
                self.changed = true;
                results[at] = self.half(b, results[at], MAX)?;
            }
        }
        Ok(())
    }
}

/// The constant `tensor` under the name of the constant `id`.
pub(crate) fn in_place_of(b: &mut Builder<'_>, id: ConstId, tensor: Tensor) -> Result<Value> {
    if let Some(name) = b.program.consts.name(id).map(str::to_owned) {
        b.program.consts.intern_named(tensor.clone(), &name);
    }
    Ok(b.constant(tensor)?)
}

/// The op with the least epsilon of half precision.
fn raised(op: &Op) -> Op {
    let epsilon = F64(LEAST);
    match bounded(op) {
        Op::LayerNorm(op) => LayerNorm { epsilon, ..op }.into(),
        Op::InstanceNorm(_) => InstanceNorm { epsilon }.into(),
        Op::Clip(op) => Clip { alpha: epsilon, ..op }.into(),
        Op::Threshold(_) => Threshold { alpha: epsilon }.into(),
        op => op,
    }
}

/// The op with bounds that f16 cannot hold replaced by its greatest finite numbers.
fn bounded(op: &Op) -> Op {
    let fit = |x: F64| if x.0.is_finite() { F64(x.0.clamp(-MAX, MAX)) } else { x };
    match op {
        Op::Clip(op) => Clip { alpha: fit(op.alpha), beta: fit(op.beta) }.into(),
        Op::ClampedRelu(op) => ClampedRelu { alpha: fit(op.alpha), beta: fit(op.beta) }.into(),
        Op::Threshold(op) => Threshold { alpha: fit(op.alpha) }.into(),
        op => op.clone(),
    }
}

const _: () = assert!(MASK * 2.0 <= MAX, "two masks may be added");
