//! What range the elements of each value lie in.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, codes};
use mlc_ir::attr::PadMode;
use mlc_ir::ops::Op;
use mlc_ir::{Dim, Function, Node, NodeData, Program, Region, Trait, Value};
use mlc_pass::Result;
use mlc_tensor::DType;

use crate::facts::{FactBook, MAX};
use crate::interval::Interval;

/// What is said of values, by name.
pub(crate) struct Declared {
    /// Ranges of values.
    pub(crate) ranges: BTreeMap<String, Interval>,
    /// How near to zero what is guarded against it comes, by the results of guards.
    pub(crate) least: BTreeMap<String, f64>,
}

/// Reads `name=least`.
pub(crate) fn least(texts: &[String]) -> Result<BTreeMap<String, f64>> {
    let read = |text: &String| {
        let (name, least) = text.rsplit_once('=')?;
        Some((name.to_owned(), least.trim().parse::<f64>().ok()?))
    };
    let wrong = |text: &String| {
        Diagnostic::new(codes::BAD_ARGUMENT, format!("`{text}` is no least number of a value"))
            .help("write `name=least`, such as `norm_1=0.01`")
    };
    texts.iter().map(|text| Ok(read(text).ok_or_else(|| wrong(text))?)).collect()
}

/// Reads `name=lo..hi`.
pub(crate) fn declared(texts: &[String]) -> Result<BTreeMap<String, Interval>> {
    let read = |text: &String| {
        let (name, range) = text.rsplit_once('=')?;
        let (lo, hi) = range.split_once("..")?;
        let range = Interval::new(lo.trim().parse().ok()?, hi.trim().parse().ok()?)?;
        Some((name.to_owned(), range))
    };
    let wrong = |text: &String| {
        Diagnostic::new(codes::BAD_ARGUMENT, format!("`{text}` is no range of a value"))
            .help("write `name=lo..hi` with finite ends, such as `image=0..255`")
    };
    texts.iter().map(|text| Ok(read(text).ok_or_else(|| wrong(text))?)).collect()
}

/// Constants that are clamped where an op uses them.
pub(crate) type Clamped = BTreeMap<(Node, Value), f64>;

/// The range of each value of a function that has a known one.
///
/// Sound: what a value holds lies in its range, if what parameters hold lies in theirs. Bodies of
/// loops are left out, as each trip may go further.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    known: BTreeMap<Value, Interval>,
}

impl Ranges {
    /// Ranges from constants, ops with bounded results, and what is `declared`.
    pub(crate) fn of(
        (program, function): (&Program, &Function),
        clamped: &Clamped,
        declared: &Declared,
        facts: &mut FactBook,
    ) -> Result<Self> {
        let mut ranges = Self::default();
        let body = &function.regions[function.body];
        for (param, &arg) in function.params.iter().zip(&body.args) {
            if let Some(&range) = declared.ranges.get(&param.name) {
                ranges.known.insert(arg, range);
            }
        }
        let mut walk = Walk { program, function, clamped, declared, facts };
        walk.region(&mut ranges, function.body)?;
        ranges.back(function);
        Ok(ranges)
    }

    /// What overflows did so before it was moved.
    fn back(&mut self, function: &Function) {
        let mut nodes = Vec::new();
        function.for_each_node(&mut |_, node| nodes.push(node));
        for &node in nodes.iter().rev() {
            let data = &function.nodes[node];
            let moves = data.op.spec().traits.has(Trait::View)
                || matches!(
                    data.op,
                    Op::Relu(_)
                        | Op::Identity(_)
                        | Op::Split(_)
                        | Op::SliceByIndex(_)
                        | Op::SliceBySize(_)
                        | Op::Tile(_)
                        | Op::Reverse(_)
                        | Op::MaxPool(_)
                        | Op::ReduceMax(_)
                );
            let Some(&operand) = data.operands.slot(0).first().filter(|_| moves) else { continue };
            let far = data.results.iter().filter_map(|&result| self.get(result));
            let far =
                far.filter(|range| range.tight && range.reach() > MAX).reduce(Interval::union);
            if let Some(range) = far {
                self.known.entry(operand).or_insert(range);
            }
        }
    }

    pub(crate) fn get(&self, value: Value) -> Option<Interval> {
        self.known.get(&value).copied()
    }

    /// The results of a `cond` are those of either branch.
    fn joined(&mut self, function: &Function, node: Node) {
        let data = &function.nodes[node];
        for (at, &result) in data.results.iter().enumerate() {
            let ends = data.regions.iter().map(|&branch| {
                function.regions[branch].results.get(at).and_then(|&value| self.get(value))
            });
            let both: Option<Vec<Interval>> = ends.collect();
            if let Some(range) = both.and_then(|all| all.into_iter().reduce(Interval::union)) {
                self.known.insert(result, range);
            }
        }
    }
}

struct Walk<'a> {
    program: &'a Program,
    function: &'a Function,
    clamped: &'a Clamped,
    declared: &'a Declared,
    facts: &'a mut FactBook,
}

impl Walk<'_> {
    fn region(&mut self, ranges: &mut Ranges, region: Region) -> Result<()> {
        let function = self.function;
        for &node in &function.regions[region].nodes {
            let data = &function.nodes[node];
            if let (Op::Const(_), [value]) = (&data.op, &data.results[..]) {
                if let Some(tensor) = self.program.constant_of(function, *value)
                    && tensor.dtype().size().is_some()
                    && let Some(range) = self.facts.span(tensor)?
                {
                    ranges.known.insert(*value, range);
                }
                continue;
            }
            if matches!(data.op, Op::Cond(_)) {
                for &branch in &data.regions {
                    self.region(ranges, branch)?;
                }
                ranges.joined(function, node);
                continue;
            }
            self.results(ranges, node);
        }
        Ok(())
    }

    fn results(&self, ranges: &mut Ranges, node: Node) {
        let function = self.function;
        let data = &function.nodes[node];
        let looked = Looked { ranges, function, node, data, clamped: self.clamped };
        let range = looked.result();
        let masks = data.operands.all().iter().any(|&x| self.clamped.contains_key(&(node, x)));
        for &result in &data.results {
            let Some(ty) = function.ty(result).as_tensor() else { continue };
            let name = function.values[result].name.as_deref();
            let said = name.and_then(|name| self.declared.ranges.get(name)).filter(|_| !masks);
            let Some(range) = said.copied().or(range) else { continue };
            // Integers that could leave their type wrap around.
            let wraps = ty
                .dtype
                .int_range()
                .is_some_and(|(lo, hi)| range.lo < lo as f64 || range.hi > hi as f64);
            if !wraps {
                ranges.known.insert(result, range);
            }
        }
    }
}

/// An op and what is known of its operands.
struct Looked<'a> {
    ranges: &'a Ranges,
    function: &'a Function,
    node: Node,
    data: &'a NodeData,
    clamped: &'a Clamped,
}

impl Looked<'_> {
    fn slot(&self, slot: usize) -> Option<Interval> {
        let &value = self.data.operands.slot(slot).first()?;
        let ty = self.function.ty(value).as_tensor()?;
        if ty.dtype == DType::Bool {
            return Interval::new(0.0, 1.0);
        }
        self.seen(value)
    }

    /// The range of an operand as the op sees it.
    fn seen(&self, value: Value) -> Option<Interval> {
        let range = self.ranges.get(value)?;
        match self.clamped.get(&(self.node, value)) {
            Some(&bound) => range.clamp(-bound, bound),
            None => Some(range),
        }
    }

    /// What holds every operand of a slot.
    fn all(&self, slot: usize) -> Option<Interval> {
        let operands = self.data.operands.slot(slot);
        Self::joined(operands.iter().map(|&value| self.seen(value)))
    }

    /// What holds the elements of all; of those that are known where one of them overflows already,
    /// which the others do not change.
    fn joined(ranges: impl Iterator<Item = Option<Interval>>) -> Option<Interval> {
        let (mut known, mut whole) = (None::<Interval>, true);
        for range in ranges {
            whole &= range.is_some();
            known = match (known, range) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
        }
        known.filter(|range| whole || range.reach() > MAX)
    }

    fn extents(&self, slot: usize) -> Option<&[Dim]> {
        let &value = self.data.operands.slot(slot).first()?;
        Some(&self.function.ty(value).as_tensor()?.shape)
    }

    /// How many elements of the operand make one of the result.
    fn folded(&self) -> Option<f64> {
        let count = |shape: &[Dim]| -> Option<f64> {
            shape.iter().map(|d| d.as_const().map(|n| n as f64)).product()
        };
        let result = &self.function.ty(*self.data.results.first()?).as_tensor()?.shape;
        Some(count(self.extents(0)?)? / count(result)?.max(1.0))
    }

    /// How many products one element of a `linear` or `matmul` sums.
    fn inner(&self) -> Option<f64> {
        let from_end = match &self.data.op {
            Op::Matmul(op) if op.transpose_x => 2,
            _ => 1,
        };
        let shape = self.extents(0)?;
        let axis = shape.len().checked_sub(from_end.min(shape.len()))?;
        shape.get(axis)?.as_const().map(|n| n as f64)
    }

    fn result(&self) -> Option<Interval> {
        self.bounded().or_else(|| self.unary()).or_else(|| self.binary()).or_else(|| self.moved())
    }

    /// Ops whose results have bounds whatever the operands are.
    fn bounded(&self) -> Option<Interval> {
        match &self.data.op {
            Op::Sigmoid(_) | Op::Softmax(_) | Op::SigmoidHard(_) => Interval::new(0.0, 1.0),
            Op::Tanh(_) | Op::Sin(_) | Op::Cos(_) | Op::Erf(_) | Op::Sign(_) | Op::Softsign(_) => {
                Interval::new(-1.0, 1.0)
            }
            Op::Atan(_) => Interval::new(-1.6, 1.6),
            Op::Relu6(_) => match self.slot(0) {
                Some(x) => x.clamp(0.0, 6.0),
                None => Interval::new(0.0, 6.0),
            },
            Op::Clip(op) => match self.slot(0) {
                Some(x) => x.clamp(op.alpha.0, op.beta.0),
                None => Interval::new(op.alpha.0, op.beta.0),
            },
            Op::ScaledTanh(op) => Interval::new(-op.alpha.0.abs(), op.alpha.0.abs()),
            _ => None,
        }
    }

    fn unary(&self) -> Option<Interval> {
        let x = self.slot(0)?;
        match &self.data.op {
            Op::Relu(_) => x.monotone(|x| x.max(0.0)),
            Op::LeakyRelu(op) => {
                let alpha = op.alpha.0;
                let f = |x: f64| if x < 0.0 { x * alpha } else { x };
                if alpha >= 0.0 { x.monotone(f) } else { None }
            }
            Op::LinearActivation(op) => x.monotone(|x| op.alpha.0 * x + op.beta.0),
            Op::Threshold(op) => x.monotone(|x| x.max(op.alpha.0)),
            Op::Abs(_) => x.even(|x| x),
            Op::Square(_) | Op::ReduceSumSquare(_) => {
                let square = x.even(|x| x * x)?;
                if matches!(self.data.op, Op::Square(_)) {
                    Some(square)
                } else {
                    square.times(self.folded()?)
                }
            }
            Op::Cosh(_) => x.even(f64::cosh),
            Op::Sinh(_) => x.monotone(f64::sinh),
            Op::Exp(_) => x.monotone(f64::exp),
            Op::Exp2(_) => x.monotone(f64::exp2),
            Op::Softplus(_) => x.monotone(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            // Both stay above −0.3, and below their argument where that is positive.
            Op::Silu(_) | Op::Gelu(_) => {
                let bounds = Interval::new(-0.3, x.hi.max(0.0))?;
                Some(Interval { tight: x.tight, ..bounds })
            }
            Op::Ceil(_) => x.monotone(f64::ceil),
            Op::Floor(_) => x.monotone(f64::floor),
            Op::Round(_) => x.monotone(f64::round_ties_even),
            Op::Sqrt(_) if x.lo >= 0.0 => x.monotone(f64::sqrt),
            Op::Log(op) if x.lo >= 0.0 => x.monotone(|x| (x + op.epsilon.0).ln()),
            Op::Rsqrt(op) if x.lo >= 0.0 => x.monotone(|x| (x + op.epsilon.0).sqrt().recip()),
            Op::Inverse(op) if x.lo >= 0.0 => x.monotone(|x| (x + op.epsilon.0).recip()),
            Op::Cast(op) => cast(x, op.dtype),
            Op::ReduceSum(_) | Op::ReduceL1Norm(_) => {
                let x = if matches!(self.data.op, Op::ReduceSum(_)) { x } else { x.even(|x| x)? };
                x.times(self.folded()?)
            }
            Op::ReduceL2Norm(_) => {
                let count = self.folded()?;
                x.even(|x| x * x)?.times(count)?.monotone(f64::sqrt)
            }
            Op::Cumsum(op) => {
                let shape = self.extents(0)?;
                let axis = mlc_ir::infer::normalize_axis(op.axis, shape.len()).ok()?;
                let count = shape.get(axis)?.as_const()? as f64;
                Some(x.union(x.times(count)?).union(Interval::new(0.0, 0.0)?))
            }
            _ => None,
        }
    }

    fn binary(&self) -> Option<Interval> {
        let (x, y) = (self.slot(0)?, self.slot(1)?);
        let longest = |product: Interval| -> Option<Interval> {
            let sum = product.times(self.inner()?)?;
            let bias = match self.data.operands.slot(2) {
                [] => Interval::new(0.0, 0.0)?,
                _ => self.slot(2)?,
            };
            Some(sum.corners(bias, |a, b| a + b)?.loose())
        };
        let same = self.data.operands.slot(0) == self.data.operands.slot(1);
        match &self.data.op {
            Op::Add(_) => x.corners(y, |a, b| a + b),
            Op::Sub(_) => x.corners(y, |a, b| a - b),
            Op::Mul(_) if same => x.even(|x| x * x),
            Op::Mul(_) => x.corners(y, |a, b| a * b),
            Op::RealDiv(_) if y.least() > 0.0 => x.corners(y, |a, b| a / b),
            Op::Maximum(_) => x.corners(y, f64::max),
            Op::Minimum(_) => x.corners(y, f64::min),
            Op::Pow(_) if y.lo == y.hi => match y.lo {
                p if x.lo > 0.0 => x.monotone(|x| x.powf(p)),
                p if p > 0.0 && p % 2.0 == 0.0 => x.even(|x| x.powf(p)),
                p if p > 0.0 && p % 2.0 == 1.0 => x.monotone(|x| x.powf(p)),
                p if p > 0.0 && x.lo >= 0.0 => x.monotone(|x| x.powf(p)),
                _ => None,
            },
            Op::Linear(_) | Op::Matmul(_) => longest(x.corners(y, |a, b| a * b)?),
            _ => None,
        }
    }

    /// Ops whose results hold elements of their operands, averages of them, or zeros beside them.
    fn moved(&self) -> Option<Interval> {
        let op = &self.data.op;
        if op.spec().traits.has(Trait::View) {
            return self.slot(0);
        }
        match op {
            Op::Identity(_)
            | Op::Tile(_)
            | Op::Split(_)
            | Op::SliceByIndex(_)
            | Op::SliceBySize(_)
            | Op::Reverse(_)
            | Op::ReverseSequence(_)
            | Op::SlidingWindows(_)
            | Op::Gather(_)
            | Op::GatherAlongAxis(_)
            | Op::GatherNd(_)
            | Op::PixelShuffle(_)
            | Op::PixelUnshuffle(_)
            | Op::DepthToSpace(_)
            | Op::SpaceToDepth(_)
            | Op::BatchToSpace(_)
            | Op::Crop(_)
            | Op::MaxPool(_)
            | Op::UpsampleNearestNeighbor(_)
            | Op::UpsampleBilinear(_)
            | Op::ResizeNearestNeighbor(_)
            | Op::ResizeBilinear(_)
            | Op::ReduceMax(_)
            | Op::ReduceMin(_)
            | Op::ReduceMean(_) => self.slot(0),
            Op::BandPart(_) | Op::AvgPool(_) | Op::SpaceToBatch(_) => {
                Some(self.slot(0)?.union(Interval::new(0.0, 0.0)?))
            }
            Op::Pad(op) if op.mode == PadMode::Constant => {
                Some(self.slot(0)?.union(Interval::new(op.constant_val.0, op.constant_val.0)?))
            }
            Op::Pad(_) => self.slot(0),
            Op::Select(_) => Self::joined([self.slot(1), self.slot(2)].into_iter()),
            Op::Fill(_) | Op::FillLike(_) => match self.data.operands.slot(1) {
                [] => Interval::new(0.0, 0.0),
                _ => self.slot(1),
            },
            Op::Concat(_) | Op::Stack(_) => self.all(0),
            Op::ScaledDotProductAttention(_) => self.slot(2),
            _ => None,
        }
    }
}

/// Floats that become integers are cut and saturate.
fn cast(x: Interval, to: DType) -> Option<Interval> {
    if to.is_int() {
        let (lo, hi) = to.int_range()?;
        return x.monotone(|x| x.trunc().clamp(lo as f64, hi as f64));
    }
    if to == DType::Bool { Interval::new(0.0, 1.0) } else { Some(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let read = |text: &str| declared(&[text.to_owned()]);
        let image = read("a=b=-1..255.5").unwrap();
        assert_eq!(image["a=b"], Interval::new(-1.0, 255.5).unwrap());
        for wrong in ["x", "x=1", "x=2..1", "x=0..inf", "x=nan..1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
