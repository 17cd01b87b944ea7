//! The text of requests, as flags and configuration files have it.

use mlc_tensor::DType;

use super::{AxisRequest, InputRequest};
use crate::dim::SymbolRange;

/// What is wrong with the text of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No `NAME=` in front.
    #[error("`{0}` is not NAME=VALUE")]
    NoName(String),
    /// Neither a shape nor an element type after the name.
    #[error("`{0}` asks for nothing")]
    Nothing(String),
    /// A shape that is none.
    #[error("`{0}` is no shape")]
    Shape(String),
    /// An element type that does not exist.
    #[error("no element type is called `{0}`")]
    Dtype(String),
    /// No `.AXIS` after the name of an input.
    #[error("`{0}` names no axis")]
    NoAxis(String),
    /// A range that is none.
    #[error("`{0}` is no range")]
    Range(String),
    /// A range without a value.
    #[error("the range {0} is empty")]
    Empty(String),
    /// A name that no symbol can have.
    #[error("`{0}` is no name for an extent")]
    Symbol(String),
}

impl RequestError {
    /// How it is written.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoName(_) | Self::Nothing(_) => {
                "write NAME=SHAPE, NAME=SHAPE:DTYPE or NAME=:DTYPE, such as x=1x3x224x224:f16"
            }
            Self::Shape(_) => "write extents joined by `x`, such as 1x3x224x224",
            Self::Dtype(_) => "write f16, f32, i32 or another type of the IR",
            Self::NoAxis(_) | Self::Range(_) | Self::Empty(_) | Self::Symbol(_) => {
                "write NAME.AXIS=SYMBOL:LEAST..GREATEST, such as x.1=seq:1..2048; a step may follow, \
                 as in x.1=seq:64..512:64"
            }
        }
    }
}

type Result<T> = std::result::Result<T, RequestError>;

/// `1x3x224x224`; an empty text is the shape of a scalar.
///
/// # Errors
/// It is no shape.
pub fn parse_shape(text: &str) -> Result<Vec<u64>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = || RequestError::Shape(text.to_owned());
    let extent = |word: &str| {
        let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        let extent: u64 = digits.then(|| word.parse().ok()).flatten()?;
        i64::try_from(extent).ok().map(|_| extent)
    };
    let shape: Vec<u64> = text.split('x').map(extent).collect::<Option<_>>().ok_or_else(wrong)?;
    let count = shape.iter().try_fold(1u64, |count, &extent| count.checked_mul(extent.max(1)));
    count.filter(|&count| count <= 1 << 48).map(|_| shape).ok_or_else(wrong)
}

/// An element type: the IR's name (`f16`), or the one of precisions and frameworks (`fp16`, `float16`,
/// `int32`).
///
/// # Errors
/// There is no such type.
pub fn parse_dtype(text: &str) -> Result<DType> {
    let short = [("float", "f"), ("fp", "f"), ("uint", "u"), ("int", "i")]
        .iter()
        .find_map(|(long, short)| Some(format!("{short}{}", text.strip_prefix(long)?)));
    DType::from_name(text)
        .or_else(|| DType::from_name(short.as_deref()?))
        .ok_or_else(|| RequestError::Dtype(text.to_owned()))
}

fn named(text: &str) -> Result<(&str, &str)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(RequestError::NoName(text.to_owned())),
    }
}

fn symbol(text: &str) -> Result<String> {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(text.to_owned());
    }
    Err(RequestError::Symbol(text.to_owned()))
}

impl InputRequest {
    /// `x=1x3x224x224:f16`; the shape, or `:` and the element type, may be left out.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse_input(text: &str) -> Result<Self> {
        let (name, value) = named(text)?;
        let (shape, dtype) = match value.split_once(':') {
            Some((shape, dtype)) => (shape, Some(parse_dtype(dtype)?)),
            None => (value, None),
        };
        let shape = if shape.is_empty() { None } else { Some(parse_shape(shape)?) };
        if shape.is_none() && dtype.is_none() {
            return Err(RequestError::Nothing(text.to_owned()));
        }
        Ok(Self { shape, dtype, ..Self::new(name) })
    }

    /// `x.1=seq:1..2048` or `x.1=seq:64..512:64`. Without an upper bound (`seq:1..`) the source's stands.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse_dynamic(text: &str) -> Result<Self> {
        let (place, value) = named(text)?;
        let no_axis = || RequestError::NoAxis(place.to_owned());
        let (name, axis) = place.rsplit_once('.').ok_or_else(no_axis)?;
        let axis: usize = axis.parse().map_err(|_| no_axis())?;
        if name.is_empty() {
            return Err(no_axis());
        }
        let mut parts = value.split(':');
        let name_of_extent = symbol(parts.next().unwrap_or_default())?;
        let wrong = || RequestError::Range(value.to_owned());
        let (low, high) =
            parts.next().and_then(|range| range.split_once("..")).ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<i64>().ok().filter(|&n| n >= 0);
        let min = number(low).ok_or_else(wrong)?;
        let max = if high.is_empty() { None } else { Some(number(high).ok_or_else(wrong)?) };
        let step = match parts.next() {
            None => 1,
            Some(step) => step.parse().ok().filter(|&step| step > 0).ok_or_else(wrong)?,
        };
        if parts.next().is_some() {
            return Err(wrong());
        }
        if max.is_some_and(|max| max < min) {
            return Err(RequestError::Empty(format!("{low}..{high}")));
        }
        let range = SymbolRange { min, max };
        let mut request = Self::new(name);
        request.dynamic.insert(axis, AxisRequest { symbol: name_of_extent, range, step });
        Ok(request)
    }

    /// `x=1x3x224x224,1x3x512x512`.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse_enumerate(text: &str) -> Result<Self> {
        let (name, value) = named(text)?;
        let enumerated = value.split(',').map(parse_shape).collect::<Result<Vec<_>>>()?;
        let rank = enumerated.first().map_or(0, Vec::len);
        if rank == 0 || enumerated.iter().any(|shape| shape.len() != rank) {
            return Err(RequestError::Shape(value.to_owned()));
        }
        Ok(Self { enumerated, ..Self::new(name) })
    }

    /// `x=1x3x224x224`.
    ///
    /// # Errors
    /// It is written otherwise.
    pub fn parse_default(text: &str) -> Result<Self> {
        let (name, value) = named(text)?;
        if value.is_empty() {
            return Err(RequestError::Shape(value.to_owned()));
        }
        Ok(Self { default_shape: Some(parse_shape(value)?), ..Self::new(name) })
    }

    /// Adds what `other` asks of the same input. A part that both have is taken from `other`, whose
    /// flag stands later, but axes add up.
    pub fn merge(&mut self, other: Self) {
        self.shape = other.shape.or(self.shape.take());
        self.dtype = other.dtype.or(self.dtype);
        self.default_shape = other.default_shape.or(self.default_shape.take());
        if !other.enumerated.is_empty() {
            self.enumerated = other.enumerated;
        }
        self.dynamic.extend(other.dynamic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_part_of_an_input_may_be_left_out() {
        let both = InputRequest::parse_input("x=1x3x8x8:f16").unwrap();
        assert_eq!((both.shape, both.dtype), (Some(vec![1, 3, 8, 8]), Some(DType::F16)));
        let dtype = InputRequest::parse_input("x=:int32").unwrap();
        assert_eq!((dtype.shape, dtype.dtype), (None, Some(DType::I32)));
        let shape = InputRequest::parse_input("x.y=4").unwrap();
        assert_eq!((&*shape.name, shape.shape, shape.dtype), ("x.y", Some(vec![4]), None));
        for wrong in ["x", "=4", "x=", "x=:", "x=4x", "x=-1", "x=4:half", "x=99999999999999999999"]
        {
            assert!(InputRequest::parse_input(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_have_an_axis_a_name_and_bounds() {
        let request = InputRequest::parse_dynamic("a.b.1=seq:1..2048:32").unwrap();
        assert_eq!(request.name, "a.b");
        let range = SymbolRange { min: 1, max: Some(2048) };
        let wanted = AxisRequest { symbol: "seq".to_owned(), range, step: 32 };
        assert_eq!(request.dynamic[&1], wanted);
        assert_eq!(InputRequest::parse_dynamic("x.0=n:2..").unwrap().dynamic[&0].range.max, None);
        for wrong in ["x=n:1..2", "x.n=n:1..2", "x.0=n", "x.0=n:2..1", "x.0=2:1..2", "x.0=n:1..2:0"]
        {
            assert!(InputRequest::parse_dynamic(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sources_without_shapes_take_them_from_requests() {
        let mut request = InputRequest::parse_input("x=1x16:i32").unwrap();
        request.merge(InputRequest::parse_dynamic("x.1=seq:1..64").unwrap());
        let mut symbols = crate::Symbols::default();
        let (param, ty) = request.declare_param(DType::F32, &mut symbols).unwrap();
        assert_eq!(ty.to_string(), "tensor<1x(seq)xi32>");
        assert_eq!(param.default_shape, Some(vec![1, 16]));
        let request = InputRequest::parse_enumerate("y=1x4,1x8").unwrap();
        let (_, ty) = request.declare_param(DType::F32, &mut symbols).unwrap();
        assert_eq!(ty.to_string(), "tensor<1x(y_1)xf32>");
        assert_eq!(symbols.range("y_1"), SymbolRange { min: 4, max: Some(8) });
    }
}
