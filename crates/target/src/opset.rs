//! Versions of ML Programs and the target names that choose them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::nearest::closest;

/// A version of the ML Program format, named after the first iOS release that runs it.
///
/// Ordered: a later opset runs everything an earlier one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opset {
    /// iOS 15, specification version 6, `CoreML5`.
    Ios15,
    /// iOS 16, specification version 7, `CoreML6`.
    Ios16,
    /// iOS 17, specification version 8, `CoreML7`.
    Ios17,
    /// iOS 18, specification version 9, `CoreML8`.
    Ios18,
    /// iOS 26, specification version 10, `CoreML9`: the ops of iOS 18 and int8 arrays as features.
    Ios26,
}

impl Opset {
    /// All opsets, oldest first.
    pub const ALL: [Self; 5] = [Self::Ios15, Self::Ios16, Self::Ios17, Self::Ios18, Self::Ios26];

    /// `Model.specificationVersion` of a package for this opset.
    pub const fn spec_version(self) -> i32 {
        match self {
            Self::Ios15 => 6,
            Self::Ios16 => 7,
            Self::Ios17 => 8,
            Self::Ios18 => 9,
            Self::Ios26 => 10,
        }
    }

    /// The opset string of a program's functions, such as `CoreML7`.
    pub const fn opset_string(self) -> &'static str {
        match self {
            Self::Ios15 => "CoreML5",
            Self::Ios16 => "CoreML6",
            Self::Ios17 => "CoreML7",
            Self::Ios18 => "CoreML8",
            Self::Ios26 => "CoreML9",
        }
    }

    /// The opset with this `Model.specificationVersion`; `None` for versions without ML Programs and unknown ones.
    pub fn from_spec_version(version: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|opset| opset.spec_version() == version)
    }

    /// The opset with this opset string, compared exactly.
    pub fn from_opset_string(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|opset| opset.opset_string() == name)
    }

    /// The name for messages, such as `iOS 17`.
    pub fn label(self) -> String {
        Target::from(self).label()
    }
}

/// Prints the iOS target name, such as `ios17`.
impl fmt::Display for Opset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Target::from(*self).fmt(f)
    }
}

/// Parses any target name and keeps its opset: `macos14` is [`Opset::Ios17`].
impl FromStr for Opset {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        name.parse().map(Target::opset)
    }
}

/// An operating system that runs ML Programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Os {
    /// iOS and iPadOS.
    Ios,
    /// macOS.
    Macos,
    /// tvOS.
    Tvos,
    /// watchOS.
    Watchos,
    /// visionOS.
    Visionos,
}

impl Os {
    /// All systems.
    pub const ALL: [Self; 5] = [Self::Ios, Self::Macos, Self::Tvos, Self::Watchos, Self::Visionos];

    /// The name as the vendor writes it, such as `macOS`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ios => "iOS",
            Self::Macos => "macOS",
            Self::Tvos => "tvOS",
            Self::Watchos => "watchOS",
            Self::Visionos => "visionOS",
        }
    }

    /// The first major version of the system that runs `opset`; `None` where it has no release of its own.
    const fn version(self, opset: Opset) -> Option<u32> {
        match (self, opset) {
            (_, Opset::Ios26) => Some(26),
            (Self::Ios | Self::Tvos, Opset::Ios15) => Some(15),
            (Self::Ios | Self::Tvos, Opset::Ios16) => Some(16),
            (Self::Ios | Self::Tvos, Opset::Ios17) => Some(17),
            (Self::Ios | Self::Tvos, Opset::Ios18) => Some(18),
            (Self::Macos, Opset::Ios15) => Some(12),
            (Self::Macos, Opset::Ios16) => Some(13),
            (Self::Macos, Opset::Ios17) => Some(14),
            (Self::Macos, Opset::Ios18) => Some(15),
            (Self::Watchos, Opset::Ios15) => Some(8),
            (Self::Watchos, Opset::Ios16) => Some(9),
            (Self::Watchos, Opset::Ios17) => Some(10),
            (Self::Watchos, Opset::Ios18) => Some(11),
            (Self::Visionos, Opset::Ios18) => Some(2),
            (Self::Visionos, Opset::Ios15 | Opset::Ios16 | Opset::Ios17) => None,
        }
    }
}

/// A system release to compile for: a system, and the opset its release brought.
///
/// Parses and prints as the system's name and major version in lower case (`macos14`); parsing ignores ASCII case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    os: Os,
    opset: Opset,
    version: u32,
}

impl Target {
    /// The first release of `os` that brought `opset`, if there is one.
    pub fn new(os: Os, opset: Opset) -> Option<Self> {
        os.version(opset).map(|version| Self { os, opset, version })
    }

    /// All targets, by system and then by opset.
    pub fn all() -> impl Iterator<Item = Self> {
        Os::ALL
            .into_iter()
            .flat_map(|os| Opset::ALL.into_iter().filter_map(move |opset| Self::new(os, opset)))
    }

    /// The system.
    pub const fn os(self) -> Os {
        self.os
    }

    /// The newest opset the release runs.
    pub const fn opset(self) -> Opset {
        self.opset
    }

    /// The major version of the system.
    pub const fn version(self) -> u32 {
        self.version
    }

    /// The name for messages, such as `macOS 14`.
    pub fn label(self) -> String {
        format!("{} {}", self.os.label(), self.version)
    }
}

/// The iOS release of the opset.
impl From<Opset> for Target {
    fn from(opset: Opset) -> Self {
        Self::new(Os::Ios, opset).expect("iOS has a release for every opset")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Padding and alignment of the caller apply to the whole name.
        f.pad(&format!("{}{}", self.os.label().to_ascii_lowercase(), self.version))
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        Self::all().find(|target| name.eq_ignore_ascii_case(&target.to_string())).ok_or_else(|| {
            let known: Vec<String> = Self::all().map(|target| target.to_string()).collect();
            let nearest = closest(name, known.iter().map(String::as_str));
            UnknownTarget {
                name: name.to_owned(),
                nearest: nearest.into_iter().map(str::to_owned).collect(),
            }
        })
    }
}

/// A target name that is not in the list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not a target{}", suggestion(nearest))]
pub struct UnknownTarget {
    /// The name as given.
    pub name: String,
    /// The known names nearest to it, closest first; may be empty.
    pub nearest: Vec<String>,
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    format!(", nearest: {}", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Opset, Os, Target};

    #[test]
    fn every_system_name_chooses_its_opset() {
        let rows: [(&[&str], Opset); 5] = [
            (&["ios15", "macos12", "tvos15", "watchos8"], Opset::Ios15),
            (&["ios16", "macos13", "tvos16", "watchos9"], Opset::Ios16),
            (&["ios17", "macos14", "tvos17", "watchos10"], Opset::Ios17),
            (&["ios18", "macos15", "tvos18", "watchos11", "visionos2"], Opset::Ios18),
            (&["ios26", "macos26", "tvos26", "watchos26", "visionos26"], Opset::Ios26),
        ];
        let mut count = 0;
        for (names, opset) in rows {
            for name in names {
                assert_eq!(name.parse(), Ok(opset), "{name}");
                assert_eq!(name.parse::<Target>().unwrap().to_string(), *name);
                count += 1;
            }
        }
        assert_eq!(Target::all().count(), count);
    }

    #[test]
    fn case_is_ignored_and_labels_are_the_vendors() {
        let target: Target = "macOS14".parse().unwrap();
        assert_eq!((target.os(), target.opset()), (Os::Macos, Opset::Ios17));
        assert_eq!(target.label(), "macOS 14");
        assert_eq!(Opset::Ios16.label(), "iOS 16");
        assert_eq!(format!("{:>7}|{:<6}|", Opset::Ios16, target), "  ios16|macos14|");
    }

    #[test]
    fn unknown_names_come_with_the_nearest() {
        let error = "ios14".parse::<Target>().unwrap_err();
        assert_eq!(error.nearest, ["ios15", "ios16", "ios17"]);
        assert_eq!(
            error.to_string(),
            "`ios14` is not a target, nearest: `ios15`, `ios16`, `ios17`"
        );
        assert_eq!(
            "android".parse::<Target>().unwrap_err().to_string(),
            "`android` is not a target"
        );
        for name in ["", " ios17", "ios", "ios017", "visionos17", "ios12"] {
            assert!(name.parse::<Target>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn versions_and_strings_go_both_ways() {
        for (index, opset) in Opset::ALL.into_iter().enumerate() {
            let version = 6 + i32::try_from(index).unwrap();
            assert_eq!(opset.spec_version(), version);
            assert_eq!(opset.opset_string(), format!("CoreML{}", version - 1));
            assert_eq!(Opset::from_spec_version(version), Some(opset));
            assert_eq!(Opset::from_opset_string(opset.opset_string()), Some(opset));
        }
        assert!(Opset::ALL.is_sorted());
        assert_eq!(Opset::from_spec_version(5), None);
        assert_eq!(Opset::from_opset_string("CoreML10"), None);
    }
}
