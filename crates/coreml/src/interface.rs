//! What a package says of itself beside its program: text, and how features look to the caller.

use std::collections::BTreeMap;

use mlc_target::io::ColorLayout;

/// Text about a model for people and tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelMetadata {
    /// What the model does.
    pub short_description: String,
    /// Version of the model.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// Under which terms it may be used.
    pub license: String,
    /// Free keys and values; the build record stands here too.
    pub user_defined: BTreeMap<String, String>,
}

/// Names an input, output or state of a function by the names of the IR program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureKey {
    /// The function.
    pub function: String,
    /// The feature.
    pub name: String,
}

impl FeatureKey {
    /// The feature `name` of `function`.
    pub fn new(function: impl Into<String>, name: impl Into<String>) -> Self {
        Self { function: function.into(), name: name.into() }
    }
}

/// How a feature looks to the caller, where its type in the program does not say it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureOptions {
    /// The caller gives or gets an image; the program sees `[1, channels, height, width]`.
    pub image: Option<ColorLayout>,
    /// The input may be left out; every element is then this number.
    pub default: Option<f32>,
    /// Text for people.
    pub description: String,
}

/// Options by feature; one without an entry is a plain array.
pub type Features = BTreeMap<FeatureKey, FeatureOptions>;
