//! Schemes, and their short names.
//!
//! A name is made of parts joined by `+`, each with settings behind `-`:
//!
//! - `w8`, `w4`: linear quantization. `tensor`, `channel` (the default), `block32`, which are 32 input
//!   channels, or `block1x32` with an extent for each axis, 0 for the whole one; `axis0` for blocks
//!   along another axis; `asym`; `unsigned`; `absmax`, `mse` (the default), `refine`.
//! - `lut1`, `lut2`, `lut3`, `lut4`, `lut6`, `lut8`: tables. `g16` a table for 16 channels; `axis1`;
//!   `pcs` a scale a channel; `v2` vectors of two; `uniform`; `i8` tables of 8-bit integers. `lut-unique`
//!   has as many bits as the distinct elements need, and `lut(-1,0,0.5,2)` is a table of one's own.
//! - `prune-50`: half of the elements, `prune-2:4`: two of four, `prune-t0.01`: those up to 0.01.
//!   `block4` and `channel` for runs and whole channels, `dim1` for the axis.

use std::fmt;
use std::str::FromStr;

use mlc_diag::nearest;
use thiserror::Error;

use crate::encode::Weight;
use crate::linear::Method;
use crate::prune::Prune;

/// What shares a scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granularity {
    /// The whole tensor.
    Tensor,
    /// An output channel.
    Channel,
    /// So many input channels of an output channel, or so many along an axis.
    Block(usize, Option<usize>),
    /// So many along each axis; 0 for all.
    Blocks(Vec<usize>),
}

/// Linear quantization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantize {
    /// 4 or 8.
    pub bits: u32,
    /// Whether integers are signed.
    pub signed: bool,
    /// Whether zero stands in the middle.
    pub symmetric: bool,
    /// What shares a scale.
    pub granularity: Granularity,
    /// How scales are chosen.
    pub method: Method,
}

impl Quantize {
    /// Signed, symmetric, a scale a channel, the least squared error.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        let granularity = Granularity::Channel;
        Self { bits, signed: true, symmetric: true, granularity, method: Method::Mse }
    }
}

/// What shares a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// The whole tensor.
    Tensor,
    /// So many channels in a row.
    Channels(usize),
}

/// How entries are chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Tables {
    /// With the least squared error.
    KMeans,
    /// In equal steps from the least to the greatest element.
    Uniform,
    /// The distinct elements.
    Unique,
    /// These.
    Custom(Vec<f32>),
}

/// Palettization.
#[derive(Debug, Clone, PartialEq)]
pub struct Palette {
    /// 1, 2, 3, 4, 6 or 8; not heeded for distinct or given entries.
    pub bits: u32,
    /// How entries are chosen.
    pub tables: Tables,
    /// What shares a table.
    pub grouping: Grouping,
    /// The axis of groups and vectors; that of output channels if `None`.
    pub axis: Option<usize>,
    /// Elements of an entry.
    pub width: usize,
    /// Whether elements are scaled to at most 1 first: those of each output channel, or those that
    /// differ in the output channel alone, whichever leaves less of an error.
    pub channel_scale: bool,
    /// Whether tables are of 8-bit integers.
    pub int8_tables: bool,
}

impl Palette {
    /// One table of the best entries.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        Self {
            bits,
            tables: Tables::KMeans,
            grouping: Grouping::Tensor,
            axis: None,
            width: 1,
            channel_scale: false,
            int8_tables: false,
        }
    }
}

impl Palette {
    /// Bits of an index where the elements have no say in it.
    pub(crate) fn bits_of_table(&self) -> Option<u32> {
        (self.tables != Tables::Unique).then_some(self.bits)
    }
}

/// Pruning; axes are those of the weight where they are not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pruning {
    /// Elements up to a magnitude.
    Threshold(f64),
    /// A fraction.
    Sparsity(f64),
    /// A fraction of the runs of so many elements, along an axis or the output axis.
    Block(f64, usize, Option<usize>),
    /// So many of so many, along an axis or the input axis.
    NofM(usize, usize, Option<usize>),
    /// A fraction of the channels, of an axis or the output axis.
    Channel(f64, Option<usize>),
}

impl Pruning {
    /// The same with the axes of a weight; `None` where the axis has less than two runs, which is told.
    pub(crate) fn on(self, weight: Weight<'_>, notes: &mut Vec<String>) -> Option<Prune> {
        let mut axis = |asked: Option<usize>, default: usize| match asked {
            Some(axis) if axis >= weight.shape.len() => {
                notes.push(format!("axis {default} in place of {axis}, which is not there"));
                default
            }
            asked => asked.unwrap_or(default),
        };
        let (prune, runs) = match self {
            Self::Threshold(limit) => (Prune::Threshold(limit), None),
            Self::Sparsity(sparsity) => (Prune::Sparsity(sparsity), None),
            Self::Block(sparsity, size, asked) => {
                let axis = axis(asked, weight.output);
                (Prune::Block { sparsity, size, axis }, Some((size, axis)))
            }
            Self::NofM(n, m, asked) => {
                let axis = axis(asked, weight.input);
                (Prune::NofM { n, m, axis }, Some((m, axis)))
            }
            Self::Channel(sparsity, asked) => {
                (Prune::Channel { sparsity, axis: axis(asked, weight.output) }, None)
            }
        };
        if let Some((size, axis)) = runs
            && size > weight.shape[axis] / 2
        {
            let extent = weight.shape[axis];
            notes.push(format!("not pruned: {extent} channels are less than two runs of {size}"));
            return None;
        }
        Some(prune)
    }
}

/// What is done to a weight. Where both are there, a table is quantized.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scheme {
    /// What becomes zero first.
    pub prune: Option<Pruning>,
    /// Integers.
    pub quantize: Option<Quantize>,
    /// Tables.
    pub palette: Option<Palette>,
}

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{part}` is no scheme{}", if help.is_empty() { String::new() } else { format!(": {help}") })]
pub struct SchemeError {
    /// What was not understood.
    pub part: String,
    /// What would be.
    pub help: String,
}

fn wrong(part: &str, help: impl Into<String>) -> SchemeError {
    SchemeError { part: part.to_owned(), help: help.into() }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let mut scheme = Self::default();
        for part in parts(text) {
            if let Some(given) = part.strip_prefix("lut(") {
                scheme.palette = Some(custom(part, given)?);
                continue;
            }
            let (head, settings) = part.split_once('-').unwrap_or((part, ""));
            let settings: Vec<&str> = settings.split('-').filter(|s| !s.is_empty()).collect();
            match head {
                "w8" | "w4" => scheme.quantize = Some(quantize(part, head, &settings)?),
                "prune" => scheme.prune = Some(pruning(part, &settings)?),
                _ if head.starts_with("lut") => {
                    scheme.palette = Some(palette(part, &head[3..], &settings)?);
                }
                _ => {
                    let known =
                        ["w8", "w4", "lut1", "lut2", "lut3", "lut4", "lut6", "lut8", "prune-50"];
                    let near = nearest(head, known);
                    let known = if near.is_empty() { known.to_vec() } else { near };
                    return Err(wrong(part, format!("use {}", known.join(", "))));
                }
            }
        }
        if scheme.palette.is_some() && scheme.quantize.is_some() {
            return Err(wrong(text, "tables of 8-bit integers are `lut4-i8`"));
        }
        Ok(scheme)
    }
}

/// What stands between the `+` that are in no brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '+' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

/// A table of given entries, with settings behind the bracket.
fn custom(part: &str, given: &str) -> Result<Palette, SchemeError> {
    let help = "write the entries as lut(-1,0,0.5,2), and g16, axis1, v2, pcs or i8 behind it";
    let Some((list, settings)) = given.split_once(')') else { return Err(wrong(part, help)) };
    let entries: Result<Vec<f32>, _> = list.split(',').map(|x| x.trim().parse()).collect();
    let entries = entries.map_err(|_| wrong(part, help))?;
    let settings: Vec<&str> = settings.split('-').filter(|s| !s.is_empty()).collect();
    let mut palette = palette(part, "8", &settings)?;
    if palette.tables != Tables::KMeans {
        return Err(wrong(part, help));
    }
    let count = entries.len() / palette.width;
    let fits = entries.len().is_multiple_of(palette.width) && (1..=256).contains(&count);
    if !fits || entries.iter().any(|x| !x.is_finite()) {
        return Err(wrong(
            part,
            "a table has 1 to 256 entries, finite numbers, each as wide as `v` says",
        ));
    }
    palette.bits = [1, 2, 3, 4, 6, 8].into_iter().find(|bits| count <= 1 << bits).unwrap_or(8);
    palette.tables = Tables::Custom(entries);
    Ok(palette)
}

fn number<T: FromStr>(setting: &str, prefix: &str) -> Option<T> {
    setting.strip_prefix(prefix)?.parse().ok()
}

fn quantize(part: &str, head: &str, settings: &[&str]) -> Result<Quantize, SchemeError> {
    let mut quantize = Quantize::new(if head == "w4" { 4 } else { 8 });
    let mut axis = None;
    for setting in settings {
        match *setting {
            "tensor" => quantize.granularity = Granularity::Tensor,
            "channel" => quantize.granularity = Granularity::Channel,
            "asym" => quantize.symmetric = false,
            "unsigned" => quantize.signed = false,
            "absmax" => quantize.method = Method::AbsMax,
            "mse" => quantize.method = Method::Mse,
            "refine" => quantize.method = Method::Refine,
            setting => match (blocks(setting), number(setting, "axis")) {
                (Some(granularity), _) => quantize.granularity = granularity,
                (_, Some(asked)) => axis = Some(asked),
                _ => {
                    let known = "tensor, channel, block32, block1x32, axis0, asym, unsigned, absmax, \
                                 mse, refine";
                    return Err(wrong(part, format!("`{setting}` is none of {known}")));
                }
            },
        }
    }
    match (&mut quantize.granularity, axis) {
        (_, None) => {}
        (Granularity::Block(_, along), axis) => *along = axis,
        _ => return Err(wrong(part, "an axis goes with blocks, as in `w4-block32-axis0`")),
    }
    Ok(quantize)
}

/// `block32`, or `block1x32` with an extent for each axis.
fn blocks(setting: &str) -> Option<Granularity> {
    let sizes = setting.strip_prefix("block")?;
    let sizes: Vec<usize> = sizes.split('x').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    match sizes[..] {
        [0] | [] => None,
        [size] => Some(Granularity::Block(size, None)),
        _ => Some(Granularity::Blocks(sizes)),
    }
}

fn palette(part: &str, bits: &str, settings: &[&str]) -> Result<Palette, SchemeError> {
    let bits_of = |text: &str| text.parse().ok().filter(|b| [1, 2, 3, 4, 6, 8].contains(b));
    let mut palette = match (bits, bits_of(bits)) {
        ("", _) => Palette { tables: Tables::Unique, ..Palette::new(8) },
        (_, Some(bits)) => Palette::new(bits),
        _ => return Err(wrong(part, "tables have indices of 1, 2, 3, 4, 6 or 8 bits")),
    };
    for setting in settings {
        match *setting {
            "uniform" => palette.tables = Tables::Uniform,
            "unique" => palette.tables = Tables::Unique,
            "pcs" => palette.channel_scale = true,
            "i8" => palette.int8_tables = true,
            setting => {
                match (number(setting, "axis"), number(setting, "g"), number(setting, "v")) {
                    (Some(axis), ..) => palette.axis = Some(axis),
                    (_, Some(size), _) if size > 0 => palette.grouping = Grouping::Channels(size),
                    (.., Some(width)) if width > 0 => palette.width = width,
                    _ => {
                        let known = "g16, axis1, v2, pcs, i8, uniform, unique";
                        return Err(wrong(part, format!("`{setting}` is none of {known}")));
                    }
                }
            }
        }
    }
    if bits.is_empty() && palette.tables != Tables::Unique {
        return Err(wrong(part, "it needs a number of bits, such as `lut4`"));
    }
    if palette.width > 1 && matches!(palette.tables, Tables::Uniform | Tables::Unique) {
        return Err(wrong(part, "vectors are clustered by k-means, or their table is given"));
    }
    Ok(palette)
}

fn pruning(part: &str, settings: &[&str]) -> Result<Pruning, SchemeError> {
    let help = "write prune-50, prune-2:4 or prune-t0.01, and block4, channel or dim1 behind it";
    let Some((amount, rest)) = settings.split_first() else { return Err(wrong(part, help)) };
    let mut axis = None;
    let (mut block, mut channel) = (None, false);
    for setting in rest {
        match (*setting, number(setting, "dim"), number(setting, "block")) {
            ("channel", ..) => channel = true,
            (_, Some(at), _) => axis = Some(at),
            (_, _, Some(size)) if size > 1 => block = Some(size),
            _ => return Err(wrong(part, help)),
        }
    }
    if let Some((n, m)) = amount.split_once(':') {
        return match (n.parse(), m.parse()) {
            (Ok(n), Ok(m)) if n <= m && m > 0 && block.is_none() && !channel => {
                Ok(Pruning::NofM(n, m, axis))
            }
            _ => Err(wrong(part, help)),
        };
    }
    if let Some(limit) = number::<f64>(amount, "t") {
        let fits = limit >= 0.0 && limit.is_finite() && rest.is_empty();
        return if fits { Ok(Pruning::Threshold(limit)) } else { Err(wrong(part, help)) };
    }
    let percent: f64 = amount.parse().map_err(|_| wrong(part, help))?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(wrong(part, "a fraction is 0 to 100 percent"));
    }
    let fraction = percent / 100.0;
    match (block, channel) {
        (Some(size), false) => Ok(Pruning::Block(fraction, size, axis)),
        (None, true) => Ok(Pruning::Channel(fraction, axis)),
        (None, false) if axis.is_none() => Ok(Pruning::Sparsity(fraction)),
        _ => Err(wrong(part, help)),
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.prune.map(|p| p.to_string()),
            self.quantize.as_ref().map(|q| q.to_string()),
            self.palette.as_ref().map(ToString::to_string),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join("+"))
    }
}

impl fmt::Display for Pruning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = match self {
            Self::Block(.., axis) | Self::NofM(.., axis) | Self::Channel(_, axis) => *axis,
            _ => None,
        };
        match self {
            Self::Threshold(limit) => write!(f, "prune-t{limit}")?,
            Self::Sparsity(t) => write!(f, "prune-{}", t * 100.0)?,
            Self::Block(t, size, _) => write!(f, "prune-{}-block{size}", t * 100.0)?,
            Self::NofM(n, m, _) => write!(f, "prune-{n}:{m}")?,
            Self::Channel(t, _) => write!(f, "prune-{}-channel", t * 100.0)?,
        }
        axis.map_or(Ok(()), |axis| write!(f, "-dim{axis}"))
    }
}

impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.bits)?;
        match &self.granularity {
            Granularity::Tensor => f.write_str("-tensor")?,
            Granularity::Channel => {}
            Granularity::Block(size, None) => write!(f, "-block{size}")?,
            Granularity::Block(size, Some(axis)) => write!(f, "-block{size}-axis{axis}")?,
            Granularity::Blocks(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
                write!(f, "-block{}", sizes.join("x"))?;
            }
        }
        f.write_str(if self.symmetric { "" } else { "-asym" })?;
        f.write_str(if self.signed { "" } else { "-unsigned" })?;
        f.write_str(match self.method {
            Method::AbsMax => "-absmax",
            Method::Mse => "",
            Method::Refine => "-refine",
        })
    }
}

impl fmt::Display for Palette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tables {
            Tables::Unique => f.write_str("lut-unique")?,
            Tables::Uniform => write!(f, "lut{}-uniform", self.bits)?,
            Tables::KMeans => write!(f, "lut{}", self.bits)?,
            Tables::Custom(entries) => {
                let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
                write!(f, "lut({})", entries.join(","))?;
            }
        }
        if let Grouping::Channels(size) = self.grouping {
            write!(f, "-g{size}")?;
        }
        if let Some(axis) = self.axis {
            write!(f, "-axis{axis}")?;
        }
        if self.width > 1 {
            write!(f, "-v{}", self.width)?;
        }
        f.write_str(if self.channel_scale { "-pcs" } else { "" })?;
        f.write_str(if self.int8_tables { "-i8" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_as_they_were_read() {
        for name in [
            "w8",
            "w4-block32",
            "w8-tensor-asym-unsigned-refine",
            "lut6",
            "lut4-g16",
            "lut4-v2",
            "lut3-uniform",
            "lut-unique",
            "lut2-g8-axis1-pcs-i8",
            "w4-block8-axis0",
            "w8-block1x16x0x0-asym",
            "prune-50+lut(-1,0,0.5,2.25)-g4",
            "lut(0,0,1,-1)-v2",
            "prune-2:4+w8",
            "prune-50",
            "prune-75-block4-dim1+lut4",
            "prune-t0.01",
            "prune-30-channel",
        ] {
            let scheme: Scheme = name.parse().unwrap();
            assert_eq!(scheme.to_string(), name);
        }
    }

    #[test]
    fn other_names_are_refused_with_what_is_near() {
        for (name, part) in [
            ("w9", "use w4, w8"),
            ("lut5", "1, 2, 3, 4, 6 or 8"),
            ("w4-blok32", "`blok32` is none of"),
            ("lut4+w8", "lut4-i8"),
            ("prune", "write prune-50"),
            ("prune-5:4", "write prune-50"),
            ("prune-120", "0 to 100"),
            ("lut4-v2-uniform", "k-means"),
            ("lut(1,2", "lut(-1,0,0.5,2)"),
            ("lut(1,x)", "lut(-1,0,0.5,2)"),
            ("lut(1,2,3)-v2", "as wide as"),
            ("w8-axis1", "goes with blocks"),
            ("w4-block0", "`block0`"),
        ] {
            let error = name.parse::<Scheme>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
