//! The pass `palettize-weights`.

use mlc_compress::{Job, Scheme, Selection};
use mlc_diag::{Diagnostic, codes};
use mlc_ir::Program;
use mlc_pass::{Changed, Numerics, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Weights are indices into tables of 2, 4, 8, 16, 64 or 256 entries; see `mlc_compress::Scheme` for the
/// names of schemes. What is pruned in the same scheme is not stored.
///
/// ```mlc before (scheme=lut2,threshold=0)
/// func @f(%x: tensor<1x8xf32>) -> tensor<1x2xf32> {
///   %w = const [[0.5, 2.0, 2.0, -1.0, 0.5, -1.0, 0.5, 4.0], [4.0, 2.0, -1.0, 0.5, 0.5, 4.0, 4.0, 4.0]] : tensor<2x8xf32>
///   %y = linear %x, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x8xf32>) -> tensor<1x2xf32> {
///   %i = const [[1, 2, 2, 0, 1, 0, 1, 3], [3, 2, 0, 1, 1, 3, 3, 3]] : tensor<2x8xu2>
///   %t = const [[[[-1.0], [0.5], [2.0], [4.0]]]] : tensor<1x1x4x1xf32>
///   %w = constexpr_lut_to_dense %i, %t
///   %y = linear %x, %w
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PalettizeWeights {
    /// What is done, such as `lut4`, `lut4-g16` or `prune-50+lut6`.
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

impl Default for PalettizeWeights {
    fn default() -> Self {
        let Selection { only, skip, threshold, limit } = Selection::default();
        Self { scheme: "lut6".to_owned(), only, skip, threshold, limit, min_snr: None }
    }
}

impl Pass for PalettizeWeights {
    fn name(&self) -> &'static str {
        "palettize-weights"
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
        if scheme.palette.is_none() {
            let message = format!("`palettize-weights` does not do `{}`", self.scheme);
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                .help("it does lut1 to lut8; `quantize-weights` does integers, `prune-weights` prunes")
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
