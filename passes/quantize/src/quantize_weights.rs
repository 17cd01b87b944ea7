//! The pass `quantize-weights`.

use mlc_compress::{Job, Scheme, Selection};
use mlc_diag::{Diagnostic, codes};
use mlc_ir::Program;
use mlc_pass::{Changed, Numerics, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Weights are integers of 4 or 8 bits with scales, `ŵ = (q − z)·s`; see `mlc_compress::Scheme` for the
/// names of schemes. What is pruned in the same scheme is not stored.
///
/// ```mlc before (scheme=w8-absmax,threshold=0)
/// func @f(%x: tensor<1x8xf32>) -> tensor<1x2xf32> {
///   %w = const [[-127.0, 64.0, 32.0, 0.0, 1.0, 2.0, 3.0, 4.0], [127.0, -127.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]] : tensor<2x8xf32>
///   %y = linear %x, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x8xf32>) -> tensor<1x2xf32> {
///   %q = const [[-127, 64, 32, 0, 1, 2, 3, 4], [127, -127, 1, 1, 2, 2, 3, 3]] : tensor<2x8xi8>
///   %s = const [[1.0], [1.0]] : tensor<2x1xf32>
///   %w = constexpr_blockwise_shift_scale %q, %s
///   %y = linear %x, %w
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeWeights {
    /// What is done, such as `w8`, `w4-block32` or `prune-2:4+w8`.
    scheme: String,
    /// Weights that are compressed: names, kinds of ops that use them, module paths; all if empty.
    only: Vec<String>,
    /// Weights that stay as they are.
    skip: Vec<String>,
    /// Weights of at most so many elements stay as they are.
    threshold: u64,
    /// Weights of more elements stay as they are; 0 for no limit.
    limit: u64,
    /// The least signal-to-noise ratio of a weight in dB; the pass fails below it.
    min_snr: Option<f64>,
}

impl Default for QuantizeWeights {
    fn default() -> Self {
        let Selection { only, skip, threshold, limit } = Selection::default();
        Self { scheme: "w8".to_owned(), only, skip, threshold, limit, min_snr: None }
    }
}

impl Pass for QuantizeWeights {
    fn name(&self) -> &'static str {
        "quantize-weights"
    }

    fn phase(&self) -> Phase {
        Phase::Compress
    }

    fn numerics(&self) -> Numerics {
        Numerics::Lossy
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let parsed = self.scheme.parse::<Scheme>();
        let scheme = parsed.map_err(|e| Diagnostic::new(codes::BAD_ARGUMENT, e.to_string()))?;
        if scheme.quantize.is_none() {
            let message = format!("`quantize-weights` does not do `{}`", self.scheme);
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                .help("it does w8 and w4; `palettize-weights` does tables, `prune-weights` prunes")
                .into());
        }
        let selection = Selection {
            only: self.only.clone(),
            skip: self.skip.clone(),
            threshold: self.threshold,
            limit: self.limit,
        };
        let job = Job {
            pass: self.name(),
            selection: &selection,
            scheme: &scheme,
            min_snr: self.min_snr,
        };
        mlc_compress::run(program, cx, &job)
    }
}
