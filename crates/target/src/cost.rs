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
    /// Picoseconds for an op that the engine does not run: leaving it and coming back.
    pub off_engine: u64,
    /// Where the numbers come from.
    pub source: &'static str,
}

/// All classes of devices.
pub const DEVICES: &[Device] = &[
    Device {
        name: "latency",
        launch: 5_000_000,
        per_kflop: 1_250,
        per_kbyte: 20_000,
        per_const_kbyte: 2_000,
        last_axis: 2,
        off_engine: 0,
        source: "anchors of the planner for the engine: 800 GFLOP/s, 50 GB/s; launch is a choice",
    },
    Device {
        name: "ane",
        launch: 5_000_000,
        per_kflop: 308,
        per_kbyte: 111_000,
        per_const_kbyte: 25_000,
        last_axis: 4,
        off_engine: 230_000_000,
        source: "published fit for the M1: 3.25 TFLOP/s, 9 GB/s, 0.23 ms a segment, 40 GB/s of weights",
    },
    Device {
        name: "size",
        launch: 1_000,
        per_kflop: 0,
        per_kbyte: 0,
        per_const_kbyte: 1_000_000,
        last_axis: 1,
        off_engine: 0,
        source: "bytes of the package; an op is about one byte of it in a thousand",
    },
];

/// Ops for which the planner's tables hold no engine cost, or that run in software there.
const OFF_ENGINE: &[&str] = &[
    "argsort",
    "band_part",
    "cumsum",
    "gather",
    "gather_along_axis",
    "gather_nd",
    "gru",
    "lstm",
    "non_maximum_suppression",
    "non_zero",
    "one_hot",
    "rnn",
    "scatter",
    "scatter_along_axis",
    "scatter_nd",
    "sliding_windows",
    "topk",
];

/// The device class of that name.
#[must_use]
pub fn device(name: &str) -> Option<&'static Device> {
    DEVICES.iter().find(|device| device.name == name)
}

/// Whether the engine runs ops of that name.
#[must_use]
pub fn runs_on_engine(op: &str) -> bool {
    !OFF_ENGINE.contains(&op)
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
        assert!(OFF_ENGINE.is_sorted());
    }
}
