//! The pass `precision`.

use mlc_diag::{Diagnostic, Severity, codes};
use mlc_ir::{FuncId, Program};
use mlc_pass::{Changed, Numerics, Pass, PassCx, Phase, Result, Selector, rebuild};
use mlc_target::Opset;
use serde::{Deserialize, Serialize};

use crate::facts::FactBook;
use crate::hazards::{Hazards, find};
use crate::narrow::{Features, Narrow};
use crate::ranges::{self, Declared};

/// A float type to compute in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    /// Half precision.
    #[default]
    Fp16,
    /// The type each op has: half stays half, single stays single.
    Fp32,
}

/// Computes floats of f32 and bf16 in f16: each op gets its operands cast, and its results are cast
/// back where something that stays wide uses them. Parameters and outputs keep their types, but for
/// those that `io` names; values that loops carry stay wide.
///
/// What stays in f32: ops that `keep` selects; ops with an attribute or a constant that f16 rounds to
/// zero or to infinity, and the divisions that an `epsilon` guards; what positions are computed with;
/// loops that end by a comparison of floats;
/// ops with a result that overflows or vanishes in f16 by interval arithmetic, and what uses it;
/// norms of numbers whose squares overflow; ops that take f32 alone in opset `target` (in the first opset that has them, without `target`).
/// A layer whose weights would all lose digits is lifted by a power of two instead, where its result is only added.
/// A constant that only masks (it reaches a softmax alone, or is a branch of a `select` that
/// is computed on) is clamped
/// instead. Constants and results beyond the range of f16 are reported. Intervals come from
/// constants, from ops with bounded results, and from `ranges` such as `image=0..255`, which hold for
/// the parameters and values of that name. The epsilon of a norm, a sum or a bound that `least` says to guard far
/// greater values than half precision's least number becomes that number.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = exp %x
///   %y = mul %1, 0.5
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = cast %x {dtype = f16}
///   %2 = exp %1
///   %3 = mul %2, 0.5
///   %y = cast %3 {dtype = f32}
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Precision {
    /// The float type: `fp16` or `fp32`.
    to: Float,
    /// Ops that stay in single precision: kinds, name globs, module paths.
    keep: Vec<String>,
    /// Inputs and outputs that become half precision too.
    io: Vec<String>,
    /// Ranges of parameters and values: `name=lo..hi`.
    ranges: Vec<String>,
    /// How near to zero what is guarded against it comes, by the result of the guard: `name=least`, the variance of
    /// what a norm is given, the other operand of a sum or a bound.
    least: Vec<String>,
    /// The system it is for, where some ops compute in half precision only from one on.
    target: Option<String>,
}

impl Pass for Precision {
    fn name(&self) -> &'static str {
        "precision"
    }

    fn phase(&self) -> Phase {
        Phase::Precision
    }

    fn numerics(&self) -> Numerics {
        if self.to == Float::Fp16 { Numerics::Narrower } else { Numerics::Same }
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let opset = match &self.target {
            Some(name) => Some(
                name.parse::<Opset>()
                    .map_err(|error| Diagnostic::new(codes::UNKNOWN_TARGET, error.to_string()))?,
            ),
            None => None,
        };
        if self.to == Float::Fp32 {
            return Ok(Changed::No);
        }
        let declared = Declared {
            ranges: ranges::declared(&self.ranges)?,
            least: ranges::least(&self.least)?,
        };
        let mut facts = FactBook::default();
        let mut changed = false;
        let select = |texts: &[String]| texts.iter().cloned().map(Selector::new).collect();
        let (keep, io): (Vec<Selector>, Vec<Selector>) = (select(&self.keep), select(&self.io));
        let mut unused = vec![true; keep.len() + io.len()];
        for func in cx.functions(program) {
            let mut hazards = find(program, &program.functions[func], (&mut facts, &declared), cx)?;
            add_kept(program, func, (&keep, &mut unused), &mut hazards);
            cx.count("ops kept", hazards.kept.len() as u64);
            let function = &program.functions[func];
            let features = Features::named(function, &io, &mut unused[keep.len()..]);
            let mut narrow = Narrow::new(opset, hazards, features);
            rebuild(program, func, self.name(), &mut narrow)?;
            changed |= narrow.changed;
            cx.count("ops in fp16", narrow.turned);
        }
        for (selector, _) in keep.iter().chain(&io).zip(unused).filter(|(_, unused)| *unused) {
            let message = format!("`{}` selects nothing", selector.text());
            let mut warning = Diagnostic::new(codes::BAD_ARGUMENT, message);
            warning.severity = Severity::Warning;
            cx.report(warning);
        }
        Ok(Changed::from(changed))
    }
}

fn add_kept(
    program: &Program,
    func: FuncId,
    (keep, unused): (&[Selector], &mut [bool]),
    hazards: &mut Hazards,
) {
    let function = &program.functions[func];
    function.for_each_node(&mut |_, node| {
        for (selector, unused) in keep.iter().zip(unused.iter_mut()) {
            if selector.names(program, function, node) {
                *unused = false;
                hazards.kept.insert(node);
            }
        }
    });
}
