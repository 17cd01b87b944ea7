//! What ops cost, to order ways of computing the same; never a promise about time.
//!
//! Times are picoseconds, rounded up. Bandwidths and throughputs are the planner's anchors and fits that
//! others published for the engine (see the sources of each row); they order programs of one device and
//! say nothing across devices.

/// A class of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its name in options.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Picoseconds that each op costs besides its work.
    pub launch: u64,
    /// Picoseconds for a thousand floating-point operations.
    pub per_kflop: u64,
    /// Picoseconds for a thousand bytes that an op reads or writes.
    pub per_kbyte: u64,
    /// Picoseconds for a thousand bytes of constants in the package, besides reading them.
    pub per_const_kbyte: u64,
    /// How many times dearer moving elements across the last axis is than copying.
    pub last_axis: u64,
    /// What holds on the neural engine; `None` for what is no engine.
    pub engine: Option<Engine>,
    /// Where the numbers come from.
    pub source: &'static str,
}

/// Limits of a neural engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    /// Picoseconds for an op that it does not run: leaving it and coming back.
    pub leave: u64,
    /// Bytes that the last axis of a tensor is padded to a multiple of.
    pub row: u64,
    /// Most axes of a tensor.
    pub rank: usize,
    /// Greatest extent of an axis.
    pub extent: u64,
    /// Whether it has no textures, sorting and trigonometry.
    pub is_early: bool,
}

/// All classes of devices.
pub const DEVICES: &[Device] = &[
    Device {
        name: "latency",
        summary: "time on a device that is not known",
        launch: 5_000_000,
        per_kflop: 1_250,
        per_kbyte: 20_000,
        per_const_kbyte: 2_000,
        last_axis: 2,
        engine: None,
        source: "anchors of the planner for the engine: 800 GFLOP/s, 50 GB/s; launch is a choice",
    },
    Device {
        name: "size",
        summary: "bytes of the package",
        launch: 1_000,
        per_kflop: 0,
        per_kbyte: 0,
        per_const_kbyte: 1_000_000,
        last_axis: 1,
        engine: None,
        source: "bytes of the package; an op is about one byte of it in a thousand",
    },
    Device {
        name: "ane",
        summary: "time on the neural engine of M1 to M4 and A14 to A18",
        launch: 5_000_000,
        per_kflop: 308,
        per_kbyte: 111_000,
        per_const_kbyte: 25_000,
        last_axis: 4,
        engine: Some(Engine {
            leave: 230_000_000,
            row: 64,
            rank: 5,
            extent: 16_384,
            is_early: true,
        }),
        source: "published fit for the M1: 3.25 TFLOP/s, 9 GB/s, 0.23 ms a segment, 40 GB/s of weights",
    },
    Device {
        name: "ane-h17",
        summary: "time on the neural engine of M5 and A19",
        launch: 5_000_000,
        per_kflop: 113,
        per_kbyte: 17_600,
        per_const_kbyte: 6_900,
        last_axis: 4,
        engine: Some(Engine {
            leave: 110_000_000,
            row: 64,
            rank: 5,
            extent: 65_536,
            is_early: false,
        }),
        source: "published fit for the M5: 8.9 TFLOP/s, 57 GB/s, 0.11 ms a segment, 145 GB/s of weights",
    },
    Device {
        name: "gpu",
        summary: "time on the GPU",
        launch: 10_000_000,
        per_kflop: 8_334,
        per_kbyte: 25_000,
        per_const_kbyte: 2_000,
        last_axis: 2,
        engine: None,
        source: "anchors of the planner for the GPU: 120 GFLOP/s, 40 GB/s; launch is a choice",
    },
    Device {
        name: "cpu",
        summary: "time on the CPU",
        launch: 1_000_000,
        per_kflop: 50_000,
        per_kbyte: 100_000,
        per_const_kbyte: 2_000,
        last_axis: 2,
        engine: None,
        source: "anchors of the planner for the CPU: 20 GFLOP/s, 10 GB/s; launch is a choice",
    },
];

/// Ops that an engine leaves to other units, by the rule that says so. The rules are those of the
/// published guides of the engine's compiler.
const OFF_ENGINE: &[(&str, &[&str])] = &[
    ("ane-control-flow", &["cond", "while_loop"]),
    (
        "ane-cpu-placed",
        &[
            "gather",
            "gather_along_axis",
            "gather_nd",
            "non_maximum_suppression",
            "range_1d",
            "reduce_argmax",
            "reduce_argmin",
        ],
    ),
    ("ane-cumsum", &["cumsum"]),
    (
        "ane-no-path",
        &[
            "acos",
            "asin",
            "atanh",
            "band_part",
            "cosh",
            "gru",
            "logical_and",
            "logical_or",
            "logical_xor",
            "lstm",
            "mod",
            "non_zero",
            "one_hot",
            "random_bernoulli",
            "random_categorical",
            "random_normal",
            "reduce_prod",
            "reverse_sequence",
            "rnn",
            "scatter",
            "scatter_along_axis",
            "scatter_nd",
            "shape",
            "sinh",
            "sliding_windows",
            "tan",
        ],
    ),
];

/// Ops that early engines leave to other units.
const OFF_EARLY_ENGINE: &[(&str, &[&str])] = &[
    ("ane-floor-sort", &["argsort", "topk"]),
    ("ane-floor-texture", &["affine", "crop_resize", "resample"]),
];

/// The device class of that name.
#[must_use]
pub fn device(name: &str) -> Option<&'static Device> {
    DEVICES.iter().find(|device| device.name == name)
}

impl Engine {
    /// The rule by which the engine leaves ops of that name to other units.
    #[must_use]
    pub fn refusal(&self, op: &str) -> Option<&'static str> {
        let early = if self.is_early { OFF_EARLY_ENGINE } else { &[] };
        let rules = OFF_ENGINE.iter().chain(early);
        rules.into_iter().find(|(_, ops)| ops.contains(&op)).map(|(rule, _)| *rule)
    }
}

impl Device {
    /// The cost of an op that does `flops` operations and moves `bytes`.
    #[must_use]
    pub fn time(&self, flops: u64, bytes: u64) -> u64 {
        let compute = flops.saturating_mul(self.per_kflop).div_ceil(1000);
        let memory = bytes.saturating_mul(self.per_kbyte).div_ceil(1000);
        self.launch.saturating_add(compute.max(memory))
    }

    /// The cost of a constant of `bytes`.
    #[must_use]
    pub fn constant(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.per_const_kbyte).div_ceil(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_is_never_cheaper() {
        for device in DEVICES {
            let times = [(0, 0), (1000, 0), (1000, 1000), (1 << 20, 1 << 20), (u64::MAX, 1 << 20)];
            assert!(
                times
                    .windows(2)
                    .all(|w| device.time(w[0].0, w[0].1) <= device.time(w[1].0, w[1].1))
            );
            assert!(device.time(0, 0) > 0 && device.constant(1) > 0, "{}", device.name);
        }
    }

    #[test]
    fn every_op_that_engines_refuse_exists_once() {
        let all: Vec<&str> =
            OFF_ENGINE.iter().chain(OFF_EARLY_ENGINE).flat_map(|(_, ops)| *ops).copied().collect();
        let mut once = all.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(all.len(), once.len());
        let known: Vec<&str> = crate::ops().collect();
        for op in all {
            assert!(known.contains(&op), "{op}");
        }
        let engine = |name| device(name).and_then(|device| device.engine).unwrap();
        assert_eq!(engine("ane").refusal("topk"), Some("ane-floor-sort"));
        assert_eq!(engine("ane-h17").refusal("topk"), None);
        assert_eq!(engine("ane").refusal("conv"), None);
    }
}
