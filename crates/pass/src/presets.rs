//! The pipelines behind `-O0` to `-O3`.

use mlc_diag::Diagnostics;

use crate::pipeline::Pipeline;

/// An optimization level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// Nothing but what emission needs.
    O0,
    /// Cheap passes.
    O1,
    /// The default.
    O2,
    /// Everything.
    O3,
}

impl Preset {
    /// All levels.
    pub const ALL: [Self; 4] = [Self::O0, Self::O1, Self::O2, Self::O3];

    /// Its name, such as `O2`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::O0 => "O0",
            Self::O1 => "O1",
            Self::O2 => "O2",
            Self::O3 => "O3",
        }
    }

    /// The text of its file.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::O0 => include_str!("../presets/O0.pipeline"),
            Self::O1 => include_str!("../presets/O1.pipeline"),
            Self::O2 => include_str!("../presets/O2.pipeline"),
            Self::O3 => include_str!("../presets/O3.pipeline"),
        }
    }
}

/// The pipeline of a level, without precision and legalization, which the driver adds.
///
/// # Errors
/// `bad-pipeline` in the file of the preset.
pub fn preset(preset: Preset) -> Result<Pipeline, Diagnostics> {
    Pipeline::parse_named(preset.text(), preset.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_pipeline() {
        for level in Preset::ALL {
            assert!(!preset(level).unwrap().items.is_empty(), "{}", level.name());
        }
    }
}
