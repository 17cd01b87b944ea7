//! What the caller of a model sees: names, shapes, element types, images, labels.
//!
//! Requests name features as the source does; new names come last. They change the source itself, so
//! that what is verified is what was asked for.

mod classifier;
mod names;
mod request;
mod shapes;
mod types;

use std::collections::BTreeMap;

use mlc_coreml::interface::{FeatureKey, FeatureOptions};
use mlc_diag::{Diagnostic, Diagnostics, Place, codes, nearest};
use mlc_ir::{FuncId, Function, InputRequest, ParamKind, Program};
use mlc_target::Opset;
use mlc_target::io::{Direction, FEATURE_DTYPES, feature_dtype};
use mlc_tensor::DType;

use crate::Loaded;
use crate::feed::Feed;

pub(crate) use names::{carried, single_features};
pub use request::{Channels, ClassifierRequest, ImageRequest, Labels, OutputRequest};

/// What is asked of the features of the function to convert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InterfaceOptions {
    /// Shapes, ranges and element types of inputs.
    pub inputs: Vec<InputRequest>,
    /// The outputs to keep, in order; all if empty.
    pub outputs: Vec<OutputRequest>,
    /// Inputs and outputs that are images.
    pub images: Vec<ImageRequest>,
    /// Labels for the probabilities of an output.
    pub classifier: Option<ClassifierRequest>,
    /// Inputs that the caller may leave out, and the number that all their elements are then.
    pub optional: Vec<(String, f32)>,
    /// Text for people, by feature.
    pub descriptions: Vec<(String, String)>,
    /// Old and new names of inputs, outputs and states.
    pub renames: Vec<(String, String)>,
}

/// Features whose element type the user asked for, by position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pinned {
    inputs: BTreeMap<usize, DType>,
    outputs: BTreeMap<usize, DType>,
}

impl InterfaceOptions {
    /// The same, with features named as the source does where a flag has the name that one gets.
    #[must_use]
    pub(crate) fn by_source_names(&self) -> Self {
        let old: BTreeMap<&str, &str> =
            self.renames.iter().map(|(old, new)| (new.as_str(), old.as_str())).collect();
        let is_old = |name: &str| self.renames.iter().any(|(old, _)| old == name);
        let source = |name: &mut String| {
            if let Some(old) = old.get(name.as_str()).filter(|_| !is_old(name)) {
                (*old).clone_into(name);
            }
        };
        let mut options = self.clone();
        options.inputs.iter_mut().for_each(|request| source(&mut request.name));
        options.outputs.iter_mut().for_each(|request| source(&mut request.name));
        options.images.iter_mut().for_each(|request| source(&mut request.name));
        options.optional.iter_mut().for_each(|(name, _)| source(name));
        options.descriptions.iter_mut().for_each(|(name, _)| source(name));
        if let Some(output) = options.classifier.as_mut().and_then(|c| c.output.as_mut()) {
            source(output);
        }
        options
    }
}

impl Pinned {
    /// Whether a feature is of half precision because the user said so.
    pub(crate) fn has_half(&self) -> bool {
        self.inputs.values().chain(self.outputs.values()).any(|&dtype| dtype == DType::F16)
    }

    /// What `program`, made for `opset`, has otherwise.
    pub(crate) fn check(&self, program: &Program, name: &str, opset: Opset) -> Diagnostics {
        let mut found = Diagnostics::new();
        let Some(func) = program.function(name) else { return found };
        let function = &program.functions[func];
        let body = &function.regions[function.body];
        let inputs = self.inputs.iter().map(|(&at, &dtype)| {
            let name = function.params.get(at).map(|param| &param.name);
            ("input", Direction::Input, name, body.args.get(at), dtype)
        });
        let outputs = self.outputs.iter().map(|(&at, &dtype)| {
            let name = function.outputs.get(at).map(|output| &output.name);
            ("output", Direction::Output, name, body.results.get(at), dtype)
        });
        for (what, way, name, value, dtype) in inputs.chain(outputs) {
            let (Some(name), Some(&value)) = (name, value) else { continue };
            let Some(ty) = function.ty(value).as_tensor() else { continue };
            if ty.dtype == dtype {
                continue;
            }
            let since = mlc_coreml::dtype::data_type(dtype).and_then(feature_dtype);
            let place = Place::Argument(format!("--{what} {name}").into());
            found.push(match since.map(|row| row.since(way)).filter(|&since| since > opset) {
                Some(since) => Diagnostic::new(
                    codes::TARGET_TOO_OLD,
                    format!("{what} `{name}` of {dtype} needs {}", since.label()),
                )
                .at(place)
                .help(format!("target {}, or leave the type out", since.label()))
                .fix(format!("--target {since}")),
                None => Diagnostic::new(
                    codes::UNSUPPORTED_DTYPE,
                    format!("{what} `{name}` becomes {}, {dtype} was asked for", ty.dtype),
                )
                .at(place),
            });
        }
        found
    }
}

/// Gives the function called `main` the interface that `options` ask for. Gives the types to keep.
///
/// # Errors
/// Everything that does not fit the source, or contradicts another request.
pub(crate) fn apply(
    source: &mut Loaded,
    main: &str,
    options: &InterfaceOptions,
) -> Result<Pinned, Diagnostics> {
    let Some(func) = source.program.function(main) else { return Ok(Pinned::default()) };
    let mut found = Diagnostics::new();
    let options = &beyond_source(&source.program.functions[func], options);
    check_names(&source.program.functions[func], options, &mut found);
    let kept: Vec<String> = options.outputs.iter().map(|output| output.name.clone()).collect();
    found.extend(names::keep(&mut source.program, func, &kept));
    found.extend(shapes::specialise(&mut source.program, func, options));
    optional(&source.program.functions[func], options, &mut found);
    if found.has_errors() {
        return Err(found);
    }
    let mut pinned = types::change(&mut source.program, func, options, &mut found)?;
    if let Some(classifier) = &options.classifier {
        classifier::add(&mut source.program, func, classifier, &mut pinned, &mut found);
    }
    found.extend(names::rename(&mut source.program, func, &options.renames));
    if found.has_errors() {
        return Err(found);
    }
    let features = std::mem::take(&mut source.package.features);
    let mut features = carried(features, &source.program.functions[func], &options.renames);
    let renamed = |name: &str| {
        let new = options.renames.iter().rfind(|(old, _)| old == name);
        FeatureKey::new(main, new.map_or(name, |(_, new)| new))
    };
    let mut set = |name: &str, change: &dyn Fn(&mut FeatureOptions)| {
        change(features.entry(renamed(name)).or_default());
    };
    for image in &options.images {
        let layout = image_of(options, &image.name).map(|image| image.layout());
        set(&image.name, &|feature| feature.image = layout);
    }
    for (name, value) in &options.optional {
        set(name, &|feature| feature.default = Some(*value));
    }
    for (name, text) in &options.descriptions {
        set(name, &|feature| feature.description.clone_from(text));
    }
    source.package.features = features;
    Ok(pinned)
}

/// The options without types that Core ML has not and the source has: those say what the source takes,
/// where its file does not, and become what each type of the source becomes.
fn beyond_source(function: &Function, options: &InterfaceOptions) -> InterfaceOptions {
    let mut options = options.clone();
    let args = &function.regions[function.body].args;
    for request in &mut options.inputs {
        let own = function.params.iter().zip(args).find(|(param, _)| param.name == request.name);
        let own = own.and_then(|(_, &arg)| function.ty(arg).as_tensor()).map(|ty| ty.dtype);
        let taken = |dtype| mlc_coreml::dtype::data_type(dtype).and_then(feature_dtype).is_some();
        request.dtype = request.dtype.filter(|&dtype| own != Some(dtype) || taken(dtype));
    }
    options
}

/// The image that is asked for under that name; `--input x=:f16` makes a grey one half-precision.
fn image_of(options: &InterfaceOptions, name: &str) -> Option<ImageRequest> {
    let mut image = options.images.iter().rfind(|image| image.name == name)?.clone();
    image.half |= asked_dtype(options, name) == Some(DType::F16);
    Some(image)
}

/// The element type that is asked for a feature.
fn asked_dtype(options: &InterfaceOptions, name: &str) -> Option<DType> {
    let input = InputRequest::find(&options.inputs, name).and_then(|request| request.dtype);
    let output = options.outputs.iter().rfind(|output| output.name == name);
    input.or(output.and_then(|output| output.dtype))
}

/// Names that images, defaults and texts give to features that are not there.
fn check_names(function: &Function, options: &InterfaceOptions, found: &mut Diagnostics) {
    let params = || function.params.iter().map(|param| param.name.as_str());
    let outputs = || function.outputs.iter().map(|output| output.name.as_str());
    let dtypes = options.inputs.iter().map(|request| ("--input", &request.name, request.dtype));
    let outputs_too =
        options.outputs.iter().map(|request| ("--output", &request.name, request.dtype));
    for (flag, name, dtype) in dtypes.chain(outputs_too) {
        let problem = dtype.and_then(|dtype| check_dtype(&format!("{flag} {name}"), name, dtype));
        found.extend(problem);
    }
    let mut check = |flag: &str, name: &str, known: Vec<&str>| {
        if !known.contains(&name) {
            found.push(unknown(flag, name, &known));
        }
    };
    for image in &options.images {
        check("--image", &image.name, params().chain(outputs()).collect());
    }
    for (name, _) in &options.optional {
        check("--optional", name, params().collect());
    }
    for (name, _) in &options.descriptions {
        let label = options.classifier.as_ref().map(|classifier| classifier.label_name.as_str());
        check("--describe", name, params().chain(outputs()).chain(label).collect());
    }
    for (name, _) in &options.renames {
        let made = options.classifier.iter().flat_map(|classifier| {
            [Some(classifier.label_name.as_str()), classifier.probabilities_name.as_deref()]
        });
        check("--rename", name, params().chain(outputs()).chain(made.flatten()).collect());
    }
    for (flag, names) in [
        ("--image", options.images.iter().map(|image| &image.name).collect::<Vec<_>>()),
        ("--optional", options.optional.iter().map(|(name, _)| name).collect()),
        ("--output", options.outputs.iter().map(|output| &output.name).collect()),
        ("--rename", options.renames.iter().map(|(name, _)| name).collect()),
    ] {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                let message = format!("`{name}` is given twice");
                found.push(
                    Diagnostic::new(codes::BAD_ARGUMENT, message).at(Place::Argument(flag.into())),
                );
            }
        }
    }
}

pub(crate) fn unknown(flag: &str, name: &str, known: &[&str]) -> Diagnostic {
    let near = nearest(name, known.iter().copied());
    let help = match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", known.join(", ")),
    };
    Diagnostic::new(codes::BAD_ARGUMENT, format!("the model has no feature `{name}`"))
        .at(Place::Argument(flag.into()))
        .help(help)
}

/// Types that array features may have in some version.
fn check_dtype(flag: &str, name: &str, dtype: DType) -> Option<Diagnostic> {
    let known = mlc_coreml::dtype::data_type(dtype).and_then(feature_dtype).is_some();
    let takes: Vec<&str> =
        FEATURE_DTYPES.iter().map(|row| mlc_coreml::dtype::dtype(row.dtype).name()).collect();
    (!known).then(|| {
        Diagnostic::new(codes::UNSUPPORTED_DTYPE, format!("`{name}` cannot be {dtype} in Core ML"))
            .at(Place::Argument(flag.into()))
            .note(format!("arrays of features are {}", takes.join(", ")))
            .help(match dtype {
                DType::I64 => "ask for i32; values are converted inside",
                _ => "leave the type out: each type of the source has its own counterpart",
            })
    })
}

/// Whether inputs that may be left out are such as Core ML can fill.
fn optional(function: &Function, options: &InterfaceOptions, found: &mut Diagnostics) {
    for (name, value) in &options.optional {
        let at = function.params.iter().position(|param| param.name == *name);
        let Some(at) = at else { continue };
        let param = &function.params[at];
        let arg = function.regions[function.body].args[at];
        let ints = function.ty(arg).as_tensor().is_some_and(|ty| !ty.dtype.is_float());
        let why = if param.kind == ParamKind::State {
            "it is a state"
        } else if options.images.iter().any(|image| image.name == *name) {
            "it is an image"
        } else if !param.enumerated.is_empty() {
            "its shapes are listed"
        } else if ints && value.fract() != 0.0 {
            "it holds integers and its default is none"
        } else {
            continue;
        };
        let message = format!("input `{name}` cannot be optional: {why}");
        found.push(
            Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message)
                .at(Place::Argument("--optional".into())),
        );
    }
}

/// What inputs get where a run is not told: the default where they may be left out, pixels where they
/// are images.
pub(crate) fn usual_feeds(source: &Loaded, function: &Function) -> Vec<(String, Feed)> {
    let is_input = |name: &str| {
        let mut params = function.params.iter().filter(|param| param.kind == ParamKind::Input);
        params.any(|param| param.name == name)
    };
    let here = source.package.features.iter();
    here.filter(|(key, _)| key.function == function.name && is_input(&key.name))
        .filter_map(|(key, feature)| {
            let image = feature.image.map(|_| Feed::Pixels(0));
            let default = feature.default.map(|value| Feed::Fill(f64::from(value)));
            Some((key.name.clone(), default.or(image)?))
        })
        .collect()
}

/// Drops what nothing uses any more, so that it is not in the way.
fn tidy(program: &mut Program, func: FuncId) {
    mlc_ir::remove_unused(&mut program.functions[func]);
}
