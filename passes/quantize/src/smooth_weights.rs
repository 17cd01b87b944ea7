//! The pass `smooth-weights`.

use std::collections::BTreeMap;

use mlc_compress::{Calibration, Reached, Scheme, scaled, smooth};
use mlc_diag::{Diagnostic, codes};
use mlc_ir::{Action, Op, Program, Rewriter};
use mlc_pass::{Changed, Numerics, Pass, PassCx, PassError, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::neighbours::{self, Edits, Meeting, meetings};

/// Scales of channels move from what reaches weights into the weights, so that quantization does less
/// damage: what makes the value is divided by them (gain and offset of a normalization, a gain of its
/// own, or the rows of the layer before), the columns of all weights it reaches are multiplied.
///
/// ```mlc before (scales=["n=2,0.5"])
/// func @f(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
///   %g = const [4.0, 1.0] : tensor<2xf32>
///   %n = layer_norm %x, gamma = %g {axes = [-1]}
///   %w = const [[1.0, 2.0], [3.0, 4.0]] : tensor<2x2xf32>
///   %y = linear %n, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
///   %g = const [2.0, 2.0] : tensor<2xf32>
///   %n = layer_norm %x, gamma = %g {axes = [-1]}
///   %w = const [[2.0, 1.0], [6.0, 2.0]] : tensor<2x2xf32>
///   %y = linear %n, %w
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothWeights {
    /// How weights are going to be compressed.
    scheme: String,
    /// Whether what reaches them is going to be of 8 bits.
    activations: bool,
    /// Scales of values by name, such as `n=2,0.5`, in place of those that calibration finds.
    scales: Vec<String>,
}

impl Pass for SmoothWeights {
    fn name(&self) -> &'static str {
        "smooth-weights"
    }

    fn phase(&self) -> Phase {
        Phase::Compress
    }

    fn numerics(&self) -> Numerics {
        Numerics::Narrower
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let given = given(&self.scales)?;
        let calibration = cx.given::<Calibration>();
        if calibration.is_none() && given.is_empty() {
            return Err(crate::uncalibrated(self.name()).into());
        }
        let scheme = match (calibration, &self.scheme[..]) {
            (None, "") => Scheme::default(),
            (_, text) => text
                .parse::<Scheme>()
                .map_err(|e| Diagnostic::new(codes::BAD_ARGUMENT, e.to_string()))?,
        };
        let mut edits = Edits::new();
        let mut rows = Vec::new();
        for meeting in meetings(program, &cx.functions(program)) {
            let reach = Reach { program, meeting: &meeting };
            let factors = match (given.get(&meeting.name), calibration) {
                (Some(factors), _) => Some(factors.clone()),
                (None, Some(calibration)) => {
                    reach.best((&scheme, self.activations), calibration, &edits)?
                }
                (None, None) => None,
            };
            if let Some(factors) = factors
                && reach.smooth(&factors, &mut edits)?
            {
                rows.push(meeting.name);
            }
        }
        cx.count("smoothed", rows.len() as u64);
        for name in rows {
            cx.record(crate::activation(&name, "smooth", "scales moved into weights"));
        }
        let mut changed = false;
        for func in cx.functions(program) {
            changed |=
                Rewriter::run::<PassError>(program, func, Some(self.name()), &mut |b, node| {
                    let Op::Const(payload) = &b.function().nodes[node].op else {
                        return Ok(Action::Keep);
                    };
                    let Some(tensor) = edits.get(&payload.value) else { return Ok(Action::Keep) };
                    Ok(Action::Replace(vec![b.constant(tensor.clone())?]))
                })?;
        }
        Ok(Changed::from(changed))
    }
}

/// Scales by name.
fn given(texts: &[String]) -> Result<BTreeMap<String, Vec<f32>>> {
    let parse = |text: &String| {
        let (name, list) = text.split_once('=')?;
        let scales: Option<Vec<f32>> = list.split(',').map(|x| x.trim().parse().ok()).collect();
        let good = |x: &f32| x.is_finite() && *x > 0.0;
        scales.filter(|scales| scales.iter().all(good)).map(|scales| (name.to_owned(), scales))
    };
    let wrong = |text: &String| {
        let message = format!("`{text}` is no list of scales; write name=2,0.5");
        Diagnostic::new(codes::BAD_ARGUMENT, message)
    };
    texts.iter().map(|text| parse(text).ok_or_else(|| wrong(text).into())).collect()
}

struct Reach<'a> {
    program: &'a Program,
    meeting: &'a Meeting,
}

impl Reach<'_> {
    /// The scales with the least error, if some are better than none.
    fn best(
        &self,
        (scheme, activations): (&Scheme, bool),
        calibration: &Calibration,
        edits: &Edits,
    ) -> Result<Option<Vec<f32>>> {
        let mut read = Vec::new();
        for consumer in &self.meeting.consumers {
            let moments = calibration.moments.get(&consumer.id);
            match (neighbours::read(self.program, edits, consumer.id)?, moments) {
                (Some(weight), Some(moments)) => read.push((weight, moments, consumer.axes)),
                _ => return Ok(None),
            }
        }
        let reached: Vec<Reached<'_>> = read
            .iter()
            .map(|(weight, moments, axes)| Reached { weight: weight.shown(*axes), moments })
            .collect();
        Ok(smooth(&reached, self.meeting.channels, scheme, activations))
    }

    /// Moves scales; says whether they fit.
    fn smooth(&self, factors: &[f32], edits: &mut Edits) -> Result<bool> {
        let mut made = Vec::new();
        for consumer in &self.meeting.consumers {
            let read = neighbours::read(self.program, edits, consumer.id)?;
            let Some(read) = read else { return Ok(false) };
            let scaled = scaled(read.shown(consumer.axes), factors);
            let Some(elements) = scaled else { return Ok(false) };
            made.push((consumer.id, read.tensor(&elements)?));
        }
        for &id in &self.meeting.producers {
            let Some(read) = neighbours::read(self.program, edits, id)? else { return Ok(false) };
            let run = (read.elements.len() / factors.len().max(1)).max(1);
            let pairs = read.elements.iter().enumerate();
            let divided: Vec<f32> = pairs.map(|(at, &x)| x / factors[at / run]).collect();
            made.push((id, read.tensor(&divided)?));
        }
        edits.extend(made);
        Ok(true)
    }
}
