//! What the description says of features: default shapes, how extents may vary, images.

use mlc_target::io::ColorLayout;

use crate::interface::FeatureOptions;
use crate::spec::array_feature_type::{DefaultOptionalValue, ShapeFlexibility};
use crate::spec::image_feature_type::SizeFlexibility;
use crate::spec::{
    ArrayFeatureType, FeatureDescription, FunctionDescription, ImageFeatureType, ModelDescription,
    SizeRange, feature_type,
};

/// How the extents of an input may vary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flexibility {
    /// The shape to use where the program leaves extents open; empty if none is given.
    pub(super) default: Vec<u64>,
    /// Least and greatest extent of each axis; empty if none are given.
    pub(super) ranges: Vec<(i64, Option<i64>)>,
    /// The only shapes allowed; empty if any in range is.
    pub(super) enumerated: Vec<Vec<u64>>,
}

/// The interface of `function`.
pub(super) fn of_function(
    description: &ModelDescription,
    function: &str,
) -> Option<FunctionDescription> {
    if !description.functions.is_empty() {
        return description.functions.iter().find(|entry| entry.name == function).cloned();
    }
    (function == "main").then(|| FunctionDescription {
        name: function.to_owned(),
        input: description.input.clone(),
        output: description.output.clone(),
        state: description.state.clone(),
        predicted_feature_name: description.predicted_feature_name.clone(),
        predicted_probabilities_name: description.predicted_probabilities_name.clone(),
    })
}

/// Options and flexibility of a feature.
///
/// # Errors
/// A layout or a default that has no place in the IR, in words.
pub(super) fn feature(
    feature: &FeatureDescription,
) -> Result<(FeatureOptions, Flexibility), String> {
    let mut options =
        FeatureOptions { description: feature.short_description.clone(), ..Default::default() };
    let Some(ty) = &feature.r#type else { return Err("its type is missing".to_owned()) };
    let flexibility = match &ty.r#type {
        Some(feature_type::Type::MultiArrayType(array)) => {
            options.default = default(array, ty.is_optional)?;
            flexibility(array)?
        }
        Some(feature_type::Type::ImageType(image)) => {
            let layout = ColorLayout::ALL
                .into_iter()
                .find(|layout| layout.color_space() == image.color_space)
                .ok_or_else(|| format!("{} is no colour space", image.color_space))?;
            options.image = Some(layout);
            image_flexibility(image, layout)?
        }
        Some(
            feature_type::Type::StateType(_)
            | feature_type::Type::StringType(_)
            | feature_type::Type::Int64Type(_)
            | feature_type::Type::DictionaryType(_),
        ) => Flexibility::default(),
        Some(feature_type::Type::DoubleType(_) | feature_type::Type::SequenceType(_)) | None => {
            return Err("its kind is not supported".to_owned());
        }
    };
    if ty.is_optional && options.default.is_none() {
        return Err("it is optional without a default".to_owned());
    }
    Ok((options, flexibility))
}

fn default(array: &ArrayFeatureType, is_optional: bool) -> Result<Option<f32>, String> {
    match array.default_optional_value {
        None if is_optional => Ok(Some(0.0)),
        None => Ok(None),
        Some(_) if !is_optional => Err("it has a default and is not optional".to_owned()),
        Some(DefaultOptionalValue::FloatDefaultValue(x)) => Ok(Some(x)),
        Some(DefaultOptionalValue::IntDefaultValue(i)) if (i as f32) as i32 == i => {
            Ok(Some(i as f32))
        }
        Some(DefaultOptionalValue::DoubleDefaultValue(x)) if f64::from(x as f32) == x => {
            Ok(Some(x as f32))
        }
        Some(other) => Err(format!("its default {other:?} is no f32")),
    }
}

fn extents(shape: &[i64]) -> Result<Vec<u64>, String> {
    shape
        .iter()
        .map(|&d| u64::try_from(d).map_err(|_| format!("its shape {shape:?} is negative")))
        .collect()
}

fn range(range: &SizeRange) -> (i64, Option<i64>) {
    let low = i64::try_from(range.lower_bound).unwrap_or(i64::MAX);
    (low, (range.upper_bound >= 0).then_some(range.upper_bound))
}

fn flexibility(array: &ArrayFeatureType) -> Result<Flexibility, String> {
    let mut found = Flexibility { default: extents(&array.shape)?, ..Default::default() };
    match &array.shape_flexibility {
        Some(ShapeFlexibility::ShapeRange(ranges)) => {
            found.ranges = ranges.size_ranges.iter().map(range).collect();
        }
        Some(ShapeFlexibility::EnumeratedShapes(shapes)) => {
            found.enumerated =
                shapes.shapes.iter().map(|s| extents(&s.shape)).collect::<Result<_, _>>()?;
        }
        None => {}
    }
    Ok(found)
}

fn image_flexibility(image: &ImageFeatureType, layout: ColorLayout) -> Result<Flexibility, String> {
    let channels = layout.channels() as u64;
    let shape = |height: u64, width: u64| vec![1, channels, height, width];
    let size = extents(&[image.height, image.width])?;
    let mut found = Flexibility { default: shape(size[0], size[1]), ..Default::default() };
    match &image.size_flexibility {
        Some(SizeFlexibility::ImageSizeRange(sizes)) => {
            let fixed = [(1, Some(1)), (channels as i64, Some(channels as i64))];
            let sides = [sizes.height_range, sizes.width_range];
            let sides = sides.map(|side| side.as_ref().map_or((0, None), range));
            found.ranges = [fixed, sides].concat();
        }
        Some(SizeFlexibility::EnumeratedSizes(sizes)) => {
            found.enumerated = sizes.sizes.iter().map(|s| shape(s.height, s.width)).collect();
        }
        None => {}
    }
    Ok(found)
}
