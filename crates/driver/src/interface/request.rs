//! The text of flags about outputs, images and classifiers.

use std::collections::BTreeMap;
use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::request::parse_dtype;
use mlc_target::io::ColorLayout;
use mlc_tensor::DType;

use crate::input::file_problem;

fn bad(flag: &str, message: impl Into<String>, help: &str) -> Diagnostics {
    Diagnostic::new(codes::BAD_ARGUMENT, message).at(Place::Argument(flag.into())).help(help).into()
}

/// An output to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRequest {
    /// Its name in the source.
    pub name: String,
    /// The element type that the caller gets; that of the source if `None`.
    pub dtype: Option<DType>,
}

impl OutputRequest {
    /// `y` or `y=:f16`.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let help = "write --output NAME or --output NAME=:DTYPE; `-o` names the package";
        let (name, dtype) = match text.split_once('=') {
            None => (text, None),
            Some((name, value)) => {
                let word = value.strip_prefix(':').ok_or_else(|| {
                    bad("--output", format!("`{value}` is no `:DTYPE`; outputs have the shapes that the program gives them"), help)
                })?;
                (
                    name,
                    Some(parse_dtype(word).map_err(|e| bad("--output", e.to_string(), e.help()))?),
                )
            }
        };
        if name.is_empty() {
            return Err(bad("--output", format!("`{text}` names no output"), help));
        }
        Ok(Self { name: name.to_owned(), dtype })
    }
}

/// Which channels an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One.
    Gray,
}

impl Channels {
    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// An input or output that the caller gives or gets as an image.
///
/// `(v · scale − mean) / std` is computed of each value, by channel in the order that the model has
/// them: for an input it is what the model gets of the pixel `v`, for an output it is the pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRequest {
    /// The feature.
    pub name: String,
    /// Its channels.
    pub channels: Channels,
    /// Half-precision values of one channel rather than bytes.
    pub half: bool,
    /// Factor, 1 if nothing is to be done.
    pub scale: f64,
    /// What is taken away; one for all channels, or one each.
    pub mean: Vec<f64>,
    /// What is divided by; one for all channels, or one each.
    pub std: Vec<f64>,
}

const IMAGE_HELP: &str = "write --image NAME=rgb|bgr|gray, then as wanted \
                          ,scale=1/255,mean=A/B/C,std=A/B/C";

impl ImageRequest {
    /// An image without arithmetic.
    pub fn new(name: impl Into<String>, channels: Channels) -> Self {
        let (mean, std) = (vec![0.0], vec![1.0]);
        Self { name: name.into(), channels, half: false, scale: 1.0, mean, std }
    }

    /// `x=rgb,scale=1/255,mean=0.485/0.456/0.406,std=0.229/0.224/0.225`; `gray-f16` is the layout of
    /// half-precision values.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let wrong = |message: String| bad("--image", message, IMAGE_HELP);
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| wrong(format!("`{text}` is not NAME=LAYOUT")))?;
        let mut parts = value.split(',');
        let (channels, half) = match parts.next().unwrap_or_default() {
            "rgb" => (Channels::Rgb, false),
            "bgr" => (Channels::Bgr, false),
            "gray" => (Channels::Gray, false),
            "gray-f16" => (Channels::Gray, true),
            other => return Err(wrong(format!("`{other}` is no layout of an image"))),
        };
        let mut image = Self { half, ..Self::new(name, channels) };
        let mut seen = BTreeMap::new();
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| wrong(format!("`{part}` is not KEY=NUMBERS")))?;
            if seen.insert(key, ()).is_some() {
                return Err(wrong(format!("`{key}` is given twice")));
            }
            let numbers = || -> Option<Vec<f64>> {
                let all: Option<Vec<f64>> = value
                    .split('/')
                    .map(|word| word.parse::<f64>().ok().filter(|x| x.is_finite()))
                    .collect();
                all.filter(|all| all.len() == 1 || all.len() == channels.count())
            };
            match key {
                "scale" => {
                    image.scale =
                        ratio(value).ok_or_else(|| wrong(format!("`{value}` is no scale")))?;
                }
                "mean" => {
                    image.mean = numbers().ok_or_else(|| {
                        wrong(format!("`{value}` is no mean of {} channels", channels.count()))
                    })?;
                }
                "std" => {
                    image.std =
                        numbers().filter(|all| all.iter().all(|&x| x != 0.0)).ok_or_else(|| {
                            wrong(format!(
                                "`{value}` is no deviation of {} channels",
                                channels.count()
                            ))
                        })?;
                }
                _ => return Err(wrong(format!("`{key}` is no key of an image"))),
            }
        }
        Ok(image)
    }

    /// The layout of the feature.
    #[must_use]
    pub fn layout(&self) -> ColorLayout {
        match (self.channels, self.half) {
            (Channels::Rgb, _) => ColorLayout::Rgb,
            (Channels::Bgr, _) => ColorLayout::Bgr,
            (Channels::Gray, false) => ColorLayout::Grayscale,
            (Channels::Gray, true) => ColorLayout::GrayscaleFloat16,
        }
    }

    /// Factor and summand of each channel: the arithmetic is `v · factor + summand`.
    #[must_use]
    pub fn arithmetic(&self) -> Vec<(f64, f64)> {
        let at = |all: &[f64], channel: usize| all.get(channel).or(all.first()).copied();
        (0..self.channels.count())
            .map(|channel| {
                let mean = at(&self.mean, channel).unwrap_or(0.0);
                let std = at(&self.std, channel).unwrap_or(1.0);
                (self.scale / std, -mean / std)
            })
            .collect()
    }
}

/// `1/255` or `0.5`.
fn ratio(text: &str) -> Option<f64> {
    let (p, q) = text.split_once('/').unwrap_or((text, "1"));
    let (p, q): (f64, f64) = (p.parse().ok()?, q.parse().ok()?);
    Some(p / q).filter(|x| x.is_finite() && *x != 0.0)
}

/// The names of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// Words.
    Strings(Vec<String>),
    /// Numbers.
    Ints(Vec<i64>),
}

impl Labels {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Strings(all) => all.len(),
            Self::Ints(all) => all.len(),
        }
    }
}

/// What makes a classifier of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifierRequest {
    /// A label for each probability, in order.
    pub labels: Labels,
    /// The output with the probabilities; the only one if `None`.
    pub output: Option<String>,
    /// The output with the label of the greatest probability.
    pub label_name: String,
    /// The output with the dictionary from labels to probabilities; `<output>_probs` if `None`.
    pub probabilities_name: Option<String>,
}

const CLASSIFIER_HELP: &str = "write --classifier FILE, then as wanted \
                               ,output=NAME,label=NAME,probabilities=NAME,type=string|int64";

impl ClassifierRequest {
    /// `labels.txt`, one label a line, then keys: `labels.txt,output=scores,label=classLabel`. Labels
    /// that are all integers are numbers, unless `type=string` is among the keys.
    ///
    /// # Errors
    /// It is written otherwise, or the file cannot be read, has no label, or one twice.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let keys = ["output", "label", "probabilities", "type"];
        let mut file = text;
        let mut given = BTreeMap::new();
        while let Some((front, last)) = file.rsplit_once(',')
            && let Some((key, value)) = last.split_once('=')
            && keys.contains(&key)
        {
            if value.is_empty() || given.insert(key, value).is_some() {
                let message = format!("`{key}` is given twice or not at all");
                return Err(bad("--classifier", message, CLASSIFIER_HELP));
            }
            file = front;
        }
        let wanted = given.get("type").copied();
        if !matches!(wanted, None | Some("string" | "int64")) {
            let message = format!("`{}` is no type of labels", wanted.unwrap_or_default());
            return Err(bad("--classifier", message, CLASSIFIER_HELP));
        }
        let own = |key: &str| given.get(key).map(|&name| name.to_owned());
        Ok(Self {
            labels: read(Path::new(file), wanted)?,
            output: own("output"),
            label_name: own("label").unwrap_or_else(|| "classLabel".to_owned()),
            probabilities_name: own("probabilities"),
        })
    }
}

fn read(path: &Path, wanted: Option<&str>) -> Result<Labels, Diagnostics> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| file_problem(codes::FILE_NOT_FOUND, path, format!("cannot be read: {e}")))?;
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    let mut seen = BTreeMap::new();
    let mut found = Diagnostics::new();
    for (at, line) in lines.iter().enumerate() {
        let place = Place::Text {
            file: path.to_string_lossy().as_ref().into(),
            line: u32::try_from(at + 1).unwrap_or(u32::MAX),
            column: 1,
            len: u32::try_from(line.len()).unwrap_or(1).max(1),
        };
        if line.is_empty() {
            found.push(Diagnostic::new(codes::BAD_ARGUMENT, "a line without a label").at(place));
        } else if let Some(before) = seen.insert(*line, at + 1) {
            let message = format!("label `{line}` stands twice, first in line {before}");
            let note = "the dictionary of probabilities holds each label once";
            found.push(
                Diagnostic::new(codes::BAD_ARGUMENT, message)
                    .at(place)
                    .note(note)
                    .help("give each class a label of its own"),
            );
        }
    }
    if lines.is_empty() {
        found.push(file_problem(codes::BAD_ARGUMENT, path, "the file has no label"));
    }
    if found.has_errors() {
        return Err(found);
    }
    let numbers: Option<Vec<i64>> = lines
        .iter()
        .map(|line| line.parse().ok().filter(|n: &i64| n.to_string() == **line))
        .collect();
    match (wanted, numbers) {
        (Some("string"), _) | (None, None) => {
            Ok(Labels::Strings(lines.iter().map(|&line| line.to_owned()).collect()))
        }
        (_, Some(numbers)) => Ok(Labels::Ints(numbers)),
        (_, None) => Err(file_problem(codes::BAD_ARGUMENT, path, "labels that are no integers")
            .help("leave `type=int64` out")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_layout_and_arithmetic() {
        let image = ImageRequest::parse("x=rgb,scale=1/255,mean=0.5/0.25/0,std=0.5").unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        let made = image.arithmetic();
        assert!(made.iter().all(|&(factor, _)| close(factor, 2.0 / 255.0)));
        assert!(close(made[0].1, -1.0) && close(made[1].1, -0.5) && close(made[2].1, 0.0));
        assert_eq!(ImageRequest::parse("x=gray").unwrap().layout(), ColorLayout::Grayscale);
        let wrong =
            ["x", "x=hsv", "x=rgb,scale=0", "x=rgb,mean=1/2", "x=gray,std=0", "x=rgb,size=4"];
        for text in wrong {
            assert!(ImageRequest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn outputs_have_a_name_and_a_type() {
        let output = OutputRequest::parse("y=:fp16").unwrap();
        assert_eq!((&*output.name, output.dtype), ("y", Some(DType::F16)));
        assert_eq!(OutputRequest::parse("y").unwrap().dtype, None);
        for text in ["", "=:f16", "y=2x3", "y=:what"] {
            assert!(OutputRequest::parse(text).is_err(), "{text}");
        }
    }
}
