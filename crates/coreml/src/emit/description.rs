//! Features of a function as the caller sees them.

use mlc_diag::{Diagnostic, codes};
use mlc_ir::{Function, Param, ParamKind, TensorType, Type};
use mlc_target::io::{
    ColorLayout, Direction, GRAYSCALE_UINT8_SINCE, MAX_RANK, SEVERAL_ENUMERATED_INPUTS_SINCE,
    STATE_DTYPE, STATES_SINCE, feature_dtype,
};
use mlc_tensor::DType;

use super::function::Emitted;
use super::types::fixed_extent;
use super::{Emission, names};
use crate::dtype::{data_type, dtype};
use crate::interface::{FeatureKey, FeatureOptions};
use crate::spec::array_feature_type::{
    DefaultOptionalValue, EnumeratedShapes, Shape, ShapeFlexibility, ShapeRange,
};
use crate::spec::image_feature_type::{
    EnumeratedImageSizes, ImageSize, ImageSizeRange, SizeFlexibility,
};
use crate::spec::{
    ArrayFeatureType, DictionaryFeatureType, FeatureDescription, FeatureType, FunctionDescription,
    ImageFeatureType, Int64FeatureType, SizeRange, StateFeatureType, StringFeatureType,
    dictionary_feature_type, feature_type, state_feature_type,
};

/// The description of `function`; what the opset does not take is reported to `cx`.
pub(super) fn describe(
    cx: &mut Emission<'_, '_>,
    function: &Function,
    emitted: &Emitted,
) -> FunctionDescription {
    let mut description = FunctionDescription { name: function.name.clone(), ..Default::default() };
    let body = &function.regions[function.body];
    let mut describer = Describer { cx, function };
    describer.check_counts();
    for ((param, &arg), name) in function.params.iter().zip(&body.args).zip(&emitted.params) {
        let feature = describer.param(param, function.ty(arg));
        let feature = describer.feature(&param.name, name, feature);
        match param.kind {
            ParamKind::Input => description.input.push(feature),
            ParamKind::State => description.state.push(feature),
        }
    }
    for ((output, &value), name) in function.outputs.iter().zip(&body.results).zip(&emitted.outputs)
    {
        let feature = describer.output(&output.name, function.ty(value));
        match feature {
            Some(feature_type::Type::StringType(_) | feature_type::Type::Int64Type(_)) => {
                description.predicted_feature_name = name.clone();
            }
            Some(feature_type::Type::DictionaryType(_)) => {
                description.predicted_probabilities_name = name.clone();
            }
            _ => {}
        }
        description.output.push(describer.feature(&output.name, name, feature));
    }
    description
}

struct Describer<'a, 'p, 'w> {
    cx: &'a mut Emission<'p, 'w>,
    function: &'a Function,
}

/// Extents of an array feature: the default ones and how they may vary.
struct Extents {
    default: Vec<u64>,
    /// Least and greatest extent of each axis; empty where shapes are enumerated.
    ranges: Vec<(u64, u64)>,
    enumerated: Vec<Vec<u64>>,
}

impl Extents {
    fn is_flexible(&self) -> bool {
        !self.enumerated.is_empty() || self.ranges.iter().any(|(low, high)| low != high)
    }
}

impl Describer<'_, '_, '_> {
    fn options(&self, name: &str) -> FeatureOptions {
        let key = FeatureKey::new(self.function.name.as_str(), name);
        self.cx.options.features.get(&key).cloned().unwrap_or_default()
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.cx.found.push(diagnostic);
    }

    fn check_counts(&mut self) {
        let function = self.function;
        if function.params.is_empty() {
            let message = format!("function `{}` has neither an input nor a state", function.name);
            self.report(
                Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message)
                    .note("a Core ML function has at least one"),
            );
        }
        let enumerated = function.params.iter().filter(|p| !p.enumerated.is_empty()).count();
        let since = SEVERAL_ENUMERATED_INPUTS_SINCE;
        if enumerated > 1 && self.cx.opset() < since {
            let message =
                format!("{enumerated} inputs with enumerated shapes need {}", since.label());
            self.report(
                Diagnostic::new(codes::TARGET_TOO_OLD, message)
                    .help(format!("target {}, or enumerate the shapes of one input", since.label()))
                    .fix(format!("--target {since}")),
            );
        }
    }

    /// The feature `given` of the program, which is called `name` in the package.
    fn feature(
        &mut self,
        given: &str,
        name: &str,
        feature: Option<feature_type::Type>,
    ) -> FeatureDescription {
        if given != name {
            let message = format!("`{given}` is called `{name}` in the package");
            let note = if names::sanitize(given) == name {
                "a name has letters, digits and `_` only, and is none of MIL's words"
            } else {
                "the name was taken"
            };
            self.report(Diagnostic::new(codes::RENAMED_FEATURE, message).note(note));
        }
        let options = self.options(given);
        FeatureDescription {
            name: name.to_owned(),
            short_description: options.description,
            r#type: Some(FeatureType { is_optional: options.default.is_some(), r#type: feature }),
        }
    }

    fn param(&mut self, param: &Param, ty: &Type) -> Option<feature_type::Type> {
        match (param.kind, ty) {
            (ParamKind::State, Type::State(ty)) => self.state(param, ty),
            (ParamKind::Input, Type::Tensor(ty)) => {
                let options = self.options(&param.name);
                let extents = self.extents(param, ty)?;
                if let Some(layout) = options.image {
                    self.check_image(&param.name, ty, layout, Direction::Input);
                    return Some(feature_type::Type::ImageType(image(layout, &extents)));
                }
                let data_type = self.array_dtype(&param.name, ty, Direction::Input)?;
                let mut array = array(data_type, &extents);
                array.default_optional_value =
                    options.default.map(DefaultOptionalValue::FloatDefaultValue);
                Some(feature_type::Type::MultiArrayType(array))
            }
            _ => {
                let message = format!("parameter `{}` is {ty}", param.name);
                let note = "inputs are tensors; only states are state";
                self.report(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).note(note));
                None
            }
        }
    }

    fn state(&mut self, param: &Param, ty: &TensorType) -> Option<feature_type::Type> {
        let name = &param.name;
        if self.cx.opset() < STATES_SINCE {
            let since = STATES_SINCE;
            let message = format!("state `{name}` needs {}", since.label());
            self.report(
                Diagnostic::new(codes::TARGET_TOO_OLD, message)
                    .help(format!("target {}, or pass it in and out", since.label()))
                    .fix(format!("--target {since}")),
            );
        }
        if data_type(ty.dtype) != Some(STATE_DTYPE) {
            let message = format!("state `{name}` is {ty}, states are f16");
            self.report(Diagnostic::new(codes::STATE_DTYPE, message));
        }
        let extents: Option<Vec<u64>> =
            ty.shape.iter().map(|dim| fixed_extent(&self.cx.program.symbols, dim)).collect();
        let Some(default) = extents else {
            let message = format!("state `{name}` is {ty}, states have a fixed shape");
            self.report(Diagnostic::new(codes::DYNAMIC_SHAPE, message));
            return None;
        };
        let data_type =
            feature_dtype(STATE_DTYPE).expect("the state dtype is a feature dtype").code;
        let array = ArrayFeatureType { shape: signed(&default), data_type, ..Default::default() };
        let state = StateFeatureType { r#type: Some(state_feature_type::Type::ArrayType(array)) };
        Some(feature_type::Type::StateType(state))
    }

    fn array_dtype(&mut self, name: &str, ty: &TensorType, way: Direction) -> Option<i32> {
        let what = match way {
            Direction::Input => "input",
            Direction::Output => "output",
        };
        if ty.rank() > MAX_RANK {
            let message = format!("{what} `{name}` is {ty}, at most {MAX_RANK} axes work");
            self.report(Diagnostic::new(codes::RANK_LIMIT, message));
        }
        let opset = self.cx.opset();
        let Some(row) = data_type(ty.dtype).and_then(feature_dtype) else {
            let takes: Vec<&str> =
                mlc_target::io::feature_dtypes(opset, way).map(|d| dtype(d).name()).collect();
            let message = format!("{what} `{name}` cannot be {} in Core ML", ty.dtype);
            self.report(Diagnostic::new(codes::UNSUPPORTED_DTYPE, message).note(format!(
                "{} takes {}",
                opset.label(),
                takes.join(", ")
            )));
            return None;
        };
        let since = row.since(way);
        if since > opset {
            let message = format!("{what} `{name}` of {} needs {}", ty.dtype, since.label());
            self.report(
                Diagnostic::new(codes::TARGET_TOO_OLD, message)
                    .help(format!("target {}, or declare it f32", since.label()))
                    .fix(format!("--target {since}")),
            );
        }
        Some(row.code)
    }

    fn output(&mut self, name: &str, ty: &Type) -> Option<feature_type::Type> {
        match ty {
            Type::Tensor(ty) if ty.shape.is_empty() && ty.dtype == DType::Str => {
                Some(feature_type::Type::StringType(StringFeatureType {}))
            }
            Type::Tensor(ty) if ty.shape.is_empty() && ty.dtype == DType::I64 => {
                Some(feature_type::Type::Int64Type(Int64FeatureType {}))
            }
            Type::Dict { key, .. } => {
                use dictionary_feature_type::KeyType;
                let key_type = match key {
                    DType::Str => KeyType::StringKeyType(StringFeatureType {}),
                    _ => KeyType::Int64KeyType(Int64FeatureType {}),
                };
                let dictionary = DictionaryFeatureType { key_type: Some(key_type) };
                Some(feature_type::Type::DictionaryType(dictionary))
            }
            Type::Tensor(ty) => self.array_output(name, ty),
            _ => {
                let message = format!("output `{name}` is {ty}");
                let note = "outputs are tensors, or label and probabilities of a classifier";
                self.report(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).note(note));
                None
            }
        }
    }

    fn array_output(&mut self, name: &str, ty: &TensorType) -> Option<feature_type::Type> {
        let symbols = &self.cx.program.symbols;
        let fixed: Option<Vec<u64>> =
            ty.shape.iter().map(|dim| fixed_extent(symbols, dim)).collect();
        if let Some(layout) = self.options(name).image {
            self.check_image(name, ty, layout, Direction::Output);
            let extents = match fixed {
                Some(default) => Extents {
                    ranges: default.iter().map(|&d| (d, d)).collect(),
                    default,
                    enumerated: vec![],
                },
                None => Extents {
                    default: vec![1; 4],
                    ranges: vec![(1, u64::MAX); 4],
                    enumerated: vec![],
                },
            };
            return Some(feature_type::Type::ImageType(image(layout, &extents)));
        }
        let data_type = self.array_dtype(name, ty, Direction::Output)?;
        let shape = fixed.map(|shape| signed(&shape)).unwrap_or_default();
        let array = ArrayFeatureType { shape, data_type, ..Default::default() };
        Some(feature_type::Type::MultiArrayType(array))
    }

    fn check_image(&mut self, name: &str, ty: &TensorType, layout: ColorLayout, way: Direction) {
        let opset = self.cx.opset();
        if layout.since() > opset {
            let since = layout.since();
            let message = format!("image `{name}` of this layout needs {}", since.label());
            self.report(
                Diagnostic::new(codes::TARGET_TOO_OLD, message)
                    .help(format!("target {}", since.label()))
                    .fix(format!("--target {since}")),
            );
        }
        let has_bytes = layout == ColorLayout::Grayscale
            && way == Direction::Input
            && opset >= GRAYSCALE_UINT8_SINCE
            && ty.dtype == DType::U8;
        let is_type = data_type(ty.dtype) == Some(layout.program_dtype()) || has_bytes;
        let channels = layout.channels() as i64;
        let is_shape = matches!(&ty.shape[..], [n, c, _, _] if n.is(1) && c.is(channels));
        if !is_type || !is_shape {
            let dtype = dtype(layout.program_dtype());
            let message = format!("image `{name}` is {ty}");
            let note = format!("its type in the program is {dtype} of shape 1x{channels}xHxW");
            self.report(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).note(note));
        }
    }

    /// The extents of an input. Rank 0 is given as one element.
    fn extents(&mut self, param: &Param, ty: &TensorType) -> Option<Extents> {
        let name = &param.name;
        if ty.shape.is_empty() {
            return Some(Extents { default: vec![1], ranges: vec![(1, 1)], enumerated: vec![] });
        }
        if !param.enumerated.is_empty() {
            return self.enumerated(param, ty);
        }
        let mut ranges = Vec::new();
        for (axis, dim) in ty.shape.iter().enumerate() {
            let (low, high) = self.cx.program.symbols.bounds(dim);
            let low = low.and_then(|low| u64::try_from(low).ok()).unwrap_or(0);
            match high.and_then(|high| u64::try_from(high).ok()) {
                // Core ML has no arrays without elements, so a range begins at 1.
                Some(high) if high == low => ranges.push((low, high)),
                Some(high) => ranges.push((low.max(1), high)),
                None => {
                    let message =
                        format!("axis {axis} of input `{name}` ({dim}) has no upper bound");
                    self.report(
                        Diagnostic::new(codes::DYNAMIC_SHAPE, message)
                            .help("give the dimension a greatest value when exporting the model"),
                    );
                    return None;
                }
            }
        }
        let default = match &param.default_shape {
            Some(default) => default.clone(),
            None => ranges.iter().map(|range| range.0).collect(),
        };
        let is_inside = default.len() == ranges.len()
            && default.iter().zip(&ranges).all(|(d, (low, high))| (low..=high).contains(&d));
        if !is_inside {
            let message =
                format!("the default shape {default:?} of input `{name}` does not fit {ty}");
            self.report(Diagnostic::new(codes::INVALID_IR, message));
            return None;
        }
        Some(Extents { default, ranges, enumerated: vec![] })
    }

    fn enumerated(&mut self, param: &Param, ty: &TensorType) -> Option<Extents> {
        let name = &param.name;
        let default = match (&param.default_shape, param.enumerated.first()) {
            (Some(default), _) | (None, Some(default)) => default.clone(),
            (None, None) => return None,
        };
        let mut shapes = vec![default.clone()];
        for shape in &param.enumerated {
            if !shapes.contains(shape) {
                shapes.push(shape.clone());
            }
        }
        let fits = |shape: &Vec<u64>| {
            shape.len() == ty.rank()
                && shape.iter().zip(&ty.shape).all(|(&d, dim)| {
                    fixed_extent(&self.cx.program.symbols, dim).is_none_or(|fixed| fixed == d)
                })
        };
        let varies = |axis: usize| shapes.iter().any(|shape| shape.get(axis) != default.get(axis));
        let is_consistent = param.enumerated.contains(&default)
            && shapes.iter().all(fits)
            && ty.shape.iter().enumerate().all(|(axis, dim)| {
                varies(axis) == fixed_extent(&self.cx.program.symbols, dim).is_none()
            });
        if !is_consistent || shapes.len() < 2 {
            let message =
                format!("the enumerated shapes {shapes:?} of input `{name}` do not fit {ty}");
            let note = "there are two or more, the default is one of them, and exactly the axes \
                        that differ have symbols";
            self.report(Diagnostic::new(codes::INVALID_IR, message).note(note));
            return None;
        }
        Some(Extents { default, ranges: vec![], enumerated: shapes })
    }
}

fn signed(shape: &[u64]) -> Vec<i64> {
    shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
}

fn size_range(&(low, high): &(u64, u64)) -> SizeRange {
    // -1 is unbounded; only image outputs have it.
    SizeRange { lower_bound: low, upper_bound: i64::try_from(high).unwrap_or(-1) }
}

fn array(data_type: i32, extents: &Extents) -> ArrayFeatureType {
    let shape_flexibility = if !extents.is_flexible() {
        None
    } else if extents.enumerated.is_empty() {
        let size_ranges = extents.ranges.iter().map(size_range).collect();
        Some(ShapeFlexibility::ShapeRange(ShapeRange { size_ranges }))
    } else {
        let shapes = extents.enumerated.iter().map(|s| Shape { shape: signed(s) }).collect();
        Some(ShapeFlexibility::EnumeratedShapes(EnumeratedShapes { shapes }))
    };
    ArrayFeatureType {
        shape: signed(&extents.default),
        data_type,
        shape_flexibility,
        ..Default::default()
    }
}

/// Height and width stand last.
fn image(layout: ColorLayout, extents: &Extents) -> ImageFeatureType {
    let last_two = |shape: &[u64]| match shape {
        [.., height, width] => (*height, *width),
        _ => (0, 0),
    };
    let (height, width) = last_two(&extents.default);
    let size_flexibility = if !extents.is_flexible() {
        None
    } else if let [.., rows, columns] = &extents.ranges[..] {
        Some(SizeFlexibility::ImageSizeRange(ImageSizeRange {
            width_range: Some(size_range(columns)),
            height_range: Some(size_range(rows)),
        }))
    } else {
        let sizes = extents.enumerated.iter().map(|shape| {
            let (height, width) = last_two(shape);
            ImageSize { width, height }
        });
        Some(SizeFlexibility::EnumeratedSizes(EnumeratedImageSizes { sizes: sizes.collect() }))
    };
    ImageFeatureType {
        width: i64::try_from(width).unwrap_or(i64::MAX),
        height: i64::try_from(height).unwrap_or(i64::MAX),
        color_space: layout.color_space(),
        size_flexibility,
    }
}
