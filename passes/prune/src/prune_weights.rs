//! The pass `prune-weights`.

use mlc_compress::{Job, Scheme, Selection};
use mlc_diag::{Diagnostic, codes};
use mlc_ir::Program;
use mlc_pass::{Changed, Numerics, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Weights keep their largest elements, and a bit for each element that says whether it is kept; see
/// `mlc_compress::Scheme` for the names of schemes.
///
/// ```mlc before (scheme=prune-t0.0,threshold=0)
/// func @f(%x: tensor<1x8xf32>) -> tensor<1x2xf32> {
///   %w = const [[0.0, 2.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]] : tensor<2x8xf32>
///   %y = linear %x, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x8xf32>) -> tensor<1x2xf32> {
///   %m = const [[0, 1, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0]] : tensor<2x8xu1>
///   %v = const [2.0, -1.0, 0.5] : tensor<3xf32>
///   %w = constexpr_sparse_to_dense %v, %m
///   %y = linear %x, %w
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneWeights {
    /// What is done, such as `prune-50`, `prune-2:4` or `prune-t0.01`.
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

impl Default for PruneWeights {
    fn default() -> Self {
        let Selection { only, skip, threshold, limit } = Selection::default();
        Self { scheme: "prune-50".to_owned(), only, skip, threshold, limit, min_snr: None }
    }
}

impl Pass for PruneWeights {
    fn name(&self) -> &'static str {
        "prune-weights"
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
        if scheme.prune.is_none() || scheme.quantize.is_some() || scheme.palette.is_some() {
            let message = format!("`prune-weights` does not do `{}`", self.scheme);
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                .help("it does prune-50, prune-2:4 and the like alone; joint schemes belong to the pass of their other part")
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
