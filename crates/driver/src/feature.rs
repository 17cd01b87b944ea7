//! What reports say of inputs, outputs and states.

use std::collections::BTreeMap;

use mlc_coreml::interface::{FeatureKey, Features};
use mlc_ir::{Param, ParamKind, Program, Type};
use mlc_target::io::ColorLayout;
use serde::Serialize;

/// An input, output or state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureReport {
    /// Its name.
    pub name: String,
    /// Its type, such as `f32[1,3,224,224]`.
    #[serde(rename = "type")]
    pub ty: String,
    /// How its extents may vary, where they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flexible: Option<FlexibleReport>,
    /// The channels of an image: `rgb`, `bgr`, `gray` or `gray-f16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<&'static str>,
    /// What the elements are where the caller leaves the input out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_value: Option<f32>,
    /// Text for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// How the extents of an input may vary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlexibleReport {
    /// The default shape.
    pub default_shape: Option<Vec<u64>>,
    /// Least and greatest value of each symbol in the type; no greatest one where there is none.
    pub ranges: BTreeMap<String, (i64, Option<i64>)>,
    /// The only shapes allowed; empty if all within the ranges are.
    pub enumerated: Vec<Vec<u64>>,
}

/// A type as the summary shows it: `f32[1,3,224,224]`.
fn short_type(ty: &Type) -> String {
    let tensor = |ty: &mlc_ir::TensorType| {
        let dims: Vec<String> = ty.shape.iter().map(ToString::to_string).collect();
        format!("{}[{}]", ty.dtype, dims.join(","))
    };
    match ty {
        Type::Tensor(ty) | Type::State(ty) => tensor(ty),
        ty => ty.to_string(),
    }
}

/// The word that `--image` takes.
fn layout(layout: ColorLayout) -> &'static str {
    match layout {
        ColorLayout::Rgb => "rgb",
        ColorLayout::Bgr => "bgr",
        ColorLayout::Grayscale => "gray",
        ColorLayout::GrayscaleFloat16 => "gray-f16",
    }
}

fn flexible(program: &Program, param: &Param, ty: &Type) -> Option<FlexibleReport> {
    let mut ranges = BTreeMap::new();
    ty.for_each_dim(&mut |dim| {
        dim.for_each_symbol(&mut |name| {
            let range = program.symbols.range(name);
            ranges.insert(name.to_owned(), (range.min, range.max));
        });
    });
    (!ranges.is_empty()).then(|| FlexibleReport {
        default_shape: param.default_shape.clone(),
        ranges,
        enumerated: param.enumerated.clone(),
    })
}

/// Inputs, outputs and states of a function.
pub(crate) fn features(
    program: &Program,
    main: &str,
    options: &Features,
) -> (Vec<FeatureReport>, Vec<FeatureReport>, Vec<FeatureReport>) {
    let Some(func) = program.function(main) else { return Default::default() };
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    let report = |name: &str, ty: &Type, flexible: Option<FlexibleReport>| {
        let known = options.get(&FeatureKey::new(main, name));
        FeatureReport {
            name: name.to_owned(),
            ty: short_type(ty),
            flexible,
            image: known.and_then(|feature| feature.image).map(layout),
            default_value: known.and_then(|feature| feature.default),
            description: known.map(|feature| feature.description.clone()).unwrap_or_default(),
        }
    };
    let of_kind = |kind| {
        let params = function.params.iter().zip(&body.args).filter(|(p, _)| p.kind == kind);
        params
            .map(|(param, &arg)| {
                let ty = function.ty(arg);
                report(&param.name, ty, flexible(program, param, ty))
            })
            .collect()
    };
    let outputs = function.outputs.iter().zip(&body.results);
    let outputs = outputs.map(|(output, &value)| report(&output.name, function.ty(value), None));
    (of_kind(ParamKind::Input), outputs.collect(), of_kind(ParamKind::State))
}
