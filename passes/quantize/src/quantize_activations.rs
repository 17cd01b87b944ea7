//! The pass `quantize-activations`.

use std::collections::BTreeMap;

use mlc_compress::Calibration;
use mlc_diag::{Diagnostic, codes};
use mlc_ir::ops::{Dequantize, Quantize};
use mlc_ir::{Action, Builder, FuncId, Node, Op, OpError, Program, Region, Rewriter, Value};
use mlc_pass::{Changed, Numerics, Pass, PassCx, PassError, Phase, Result};
use mlc_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// What ops multiply weights with goes through 8-bit integers, over the range that calibration saw or
/// that is given: symmetric ones, or with a zero point where the range lies much to one side.
///
/// ```mlc before (ranges=["x=-127..100"])
/// func @f(%x: tensor<1x2xf32>, %w: tensor<2x2xf32>) -> tensor<1x2xf32> {
///   %y = linear %x, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x2xf32>, %w: tensor<2x2xf32>) -> tensor<1x2xf32> {
///   %s = const 1.0 : tensor<f32>
///   %q = quantize %x, scale = %s {output_dtype = i8}
///   %d = dequantize %q, scale = %s
///   %y = linear %d, %w
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeActivations {
    /// Kinds of the ops whose operands are quantized.
    ops: Vec<String>,
    /// Ranges of values by name, such as `x=-1..1`, which count before those of calibration.
    ranges: Vec<String>,
}

impl Default for QuantizeActivations {
    fn default() -> Self {
        let ops = ["conv", "linear", "matmul"].map(str::to_owned).to_vec();
        Self { ops, ranges: Vec::new() }
    }
}

/// Scale and zero point.
type Affine = (f32, i64);

impl Pass for QuantizeActivations {
    fn name(&self) -> &'static str {
        "quantize-activations"
    }

    fn phase(&self) -> Phase {
        Phase::Compress
    }

    fn numerics(&self) -> Numerics {
        Numerics::Lossy
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let given = given(&self.ranges)?;
        let calibration = cx.given::<Calibration>();
        if calibration.is_none() && given.is_empty() {
            return Err(crate::uncalibrated(self.name()).into());
        }
        let mut wanted: BTreeMap<(FuncId, Node, usize), Affine> = BTreeMap::new();
        let mut left = Vec::new();
        for func in cx.functions(program) {
            let function = &program.functions[func];
            function.for_each_node(&mut |_, node| {
                let name = function.nodes[node].op.spec().name;
                if !self.ops.iter().any(|op| op == name) {
                    return;
                }
                for (at, &value) in function.nodes[node].operands.all().iter().enumerate() {
                    let is_input = at == 0 || name == "add" || name == "matmul";
                    let Some(ty) = function.ty(value).as_tensor() else { continue };
                    if !is_input || !ty.dtype.is_float() || is_constant(program, func, value) {
                        continue;
                    }
                    let name = function.values[value].name.as_deref().unwrap_or_default();
                    let seen = || calibration?.ranges.get(&(func, value)).copied();
                    let range = given.get(name).copied().or_else(seen);
                    match range.and_then(|range| affine(range, ty.dtype)) {
                        Some(affine) => drop(wanted.insert((func, node, at), affine)),
                        None => left.push(function.values[value].name.clone()),
                    }
                }
            });
        }
        for name in left.into_iter().flatten() {
            let why = "no range of it was seen that 8-bit integers can hold";
            cx.record(crate::activation(&name, "none", why));
        }
        cx.count("quantized", wanted.len() as u64);
        let mut changed = false;
        for func in cx.functions(program) {
            let mut made: BTreeMap<(Region, Value), Value> = BTreeMap::new();
            changed |=
                Rewriter::run::<PassError>(program, func, Some(self.name()), &mut |b, node| {
                    let data = b.function().nodes[node].clone();
                    let mut operands = data.operands.clone();
                    let mut is_changed = false;
                    for (at, value) in operands.all_mut().iter_mut().enumerate() {
                        let Some(&affine) = wanted.get(&(func, node, at)) else { continue };
                        let key = (b.region, *value);
                        *value = match made.get(&key) {
                            Some(&rounded) => rounded,
                            None => rounded(b, *value, affine)?,
                        };
                        made.insert(key, *value);
                        is_changed = true;
                    }
                    if !is_changed {
                        return Ok(Action::Keep);
                    }
                    let node = b.push(data.op, operands, data.regions.to_vec())?;
                    Ok(Action::Replace(b.results(node).to_vec()))
                })?;
        }
        Ok(Changed::from(changed))
    }
}

/// Ranges by name.
fn given(texts: &[String]) -> Result<BTreeMap<String, (f32, f32)>> {
    let parse = |text: &String| {
        let (name, range) = text.split_once('=')?;
        let (low, high) = range.split_once("..")?;
        Some((name.to_owned(), (low.parse().ok()?, high.parse().ok()?)))
    };
    texts
        .iter()
        .map(|text| {
            parse(text).ok_or_else(|| {
                let message = format!("`{text}` is no range; write name=-1..1");
                Diagnostic::new(codes::BAD_ARGUMENT, message).into()
            })
        })
        .collect()
}

/// Constants, and weights that are stored compressed.
fn is_constant(program: &Program, func: FuncId, value: Value) -> bool {
    let def = program.functions[func].def(value);
    def.is_some_and(|(_, node)| {
        matches!(node.op, Op::Const(_)) || node.op.spec().traits.has(mlc_ir::Trait::Constexpr)
    })
}

/// Scale and zero point of signed 8-bit integers for a range; `None` where the scale is no number of
/// the type.
fn affine((low, high): (f32, f32), dtype: DType) -> Option<Affine> {
    let (low, high) = (f64::from(low).min(0.0), f64::from(high).max(0.0));
    let whole = low.abs().max(high);
    // A zero point pays where a good part of a symmetric range would stay empty.
    let (scale, zero) = if high - low < 1.5 * whole {
        let scale = (high - low) / 255.0;
        (scale, (-128.0 - low / scale).round())
    } else {
        (whole / 127.0, 0.0)
    };
    let (least, most) = if dtype == DType::F16 { (6e-8, 65504.0) } else { (1e-30, 1e30) };
    let fits = scale > least && whole < most && zero.is_finite();
    fits.then_some((scale as f32, zero as i64))
}

fn rounded(b: &mut Builder<'_>, value: Value, (scale, zero): Affine) -> Result<Value, PassError> {
    let dtype = b.tensor(value)?.dtype;
    let scale = b.scalar(dtype, f64::from(scale))?;
    let zero = match zero {
        0 => None,
        zero => {
            let tensor = Tensor::from_i64s(DType::I8, &[], &[zero]);
            Some(b.constant(tensor.map_err(|e| OpError::ty(e.to_string()))?)?)
        }
    };
    let quantize = Quantize { axis: None, output_dtype: DType::I8 };
    let codes = quantize.build(b, value, zero, scale)?;
    Ok(Dequantize { axis: None }.build(b, codes, zero, scale)?)
}

#[cfg(test)]
mod tests {
    use super::affine;
    use mlc_tensor::DType;

    #[test]
    fn ranges_to_one_side_have_a_zero_point() {
        assert_eq!(affine((-1.27, 1.0), DType::F32).map(|a| a.1), Some(0));
        assert_eq!(affine((0.0, 2.55), DType::F32).map(|a| a.1), Some(-128));
        assert_eq!(affine((-2.55, 0.0), DType::F32).map(|a| a.1), Some(127));
        assert_eq!(affine((0.0, 0.0), DType::F32), None);
        assert_eq!(affine((0.0, 1e-6), DType::F16), None);
    }
}
