//! What a user asks of the inputs of a model: shapes, ranges, element types.
//!
//! A *request* speaks of one input by name. Sources that declare shapes are specialised by it
//! ([`Specialisation`]); sources that declare none take them from it ([`InputRequest::declare`]).

mod parse;
mod specialise;

use std::collections::BTreeMap;

use mlc_tensor::DType;

use crate::dim::{Dim, SymbolRange, Symbols};
use crate::program::Param;
use crate::types::TensorType;

pub use parse::{RequestError, parse_dtype, parse_shape};
pub use specialise::{Declared, Specialisation};

/// What is asked of one input. Every part may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputRequest {
    /// The input.
    pub name: String,
    /// Its extents. An axis that [`InputRequest::dynamic`] names has this extent by default.
    pub shape: Option<Vec<u64>>,
    /// The element type that the caller gives. A source without types takes it for its own; where the
    /// source has another, values are converted inside.
    pub dtype: Option<DType>,
    /// Axes that stay or become symbolic, by position.
    pub dynamic: BTreeMap<usize, AxisRequest>,
    /// The only shapes allowed; the first is the default one.
    pub enumerated: Vec<Vec<u64>>,
    /// The shape to use where extents may vary.
    pub default_shape: Option<Vec<u64>>,
}

/// How an axis may vary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisRequest {
    /// The name of its extent; axes that share one are equal.
    pub symbol: String,
    /// Least and greatest extent.
    pub range: SymbolRange,
    /// The extent is `range.min` plus a multiple of this.
    pub step: u64,
}

impl AxisRequest {
    /// The extent, its symbol declared: a multiple of the symbol where it grows in steps and the least
    /// extent is a whole number of them, else that many steps above the least extent.
    fn declare(&self, symbols: &mut Symbols) -> Dim {
        let step = i64::try_from(self.step).unwrap_or(i64::MAX).max(1);
        let least = if self.range.min % step == 0 { 0 } else { self.range.min };
        let range = SymbolRange {
            min: (self.range.min - least) / step,
            max: self.range.max.map(|max| max.saturating_sub(least).max(0) / step),
        };
        if !symbols.contains(&self.symbol) {
            symbols.declare(&self.symbol, range);
        }
        Dim::symbol(&self.symbol).mul(&Dim::Const(step)).add(&Dim::Const(least))
    }
}

impl InputRequest {
    /// Nothing asked of the input of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The flag that it comes from, for messages.
    #[must_use]
    pub fn flag(&self) -> &'static str {
        if self.shape.is_some() || self.dtype.is_some() {
            "--input"
        } else if !self.dynamic.is_empty() {
            "--dynamic"
        } else if !self.enumerated.is_empty() {
            "--enumerate"
        } else {
            "--default-shape"
        }
    }

    /// The request for `name` in a list.
    #[must_use]
    pub fn find<'a>(requests: &'a [Self], name: &str) -> Option<&'a Self> {
        requests.iter().find(|request| request.name == name)
    }

    /// The extents of an input whose source declares none, its symbols declared in `symbols`: those
    /// of the request, with a symbol for each axis that it makes dynamic or enumerates with different
    /// extents. `None` if the request has no shape.
    pub fn declare(&self, symbols: &mut Symbols) -> Option<Vec<Dim>> {
        let shapes: Vec<&Vec<u64>> = self.enumerated.iter().collect();
        let base = self.shape.as_ref().or(self.default_shape.as_ref());
        let base = shapes.first().copied().or(base)?;
        let mut dims = Vec::with_capacity(base.len());
        for (axis, &extent) in base.iter().enumerate() {
            if let Some(dynamic) = self.dynamic.get(&axis) {
                dims.push(dynamic.declare(symbols));
                continue;
            }
            let all = || shapes.iter().filter_map(|shape| shape.get(axis).copied());
            if all().any(|other| other != extent) {
                let low = all().min().and_then(|low| i64::try_from(low).ok());
                let high = all().max().and_then(|high| i64::try_from(high).ok());
                let name = format!("{}_{axis}", self.name);
                symbols.declare(&name, SymbolRange { min: low.unwrap_or(0), max: high });
                dims.push(Dim::symbol(&name));
                continue;
            }
            dims.push(Dim::from(extent));
        }
        Some(dims)
    }

    /// The parameter and type of an input whose source declares neither; `dtype` stands where the
    /// request has none. `None` if the request has no shape.
    pub fn declare_param(
        &self,
        dtype: DType,
        symbols: &mut Symbols,
    ) -> Option<(Param, TensorType)> {
        let shape = self.declare(symbols)?;
        let mut param = Param::input(self.name.clone());
        if shape.iter().any(|dim| dim.as_const().is_none()) {
            let default = self.default_shape.as_ref().or(self.shape.as_ref());
            param.default_shape = default.or(self.enumerated.first()).cloned();
        }
        Some((param, TensorType::new(self.dtype.unwrap_or(dtype), shape)))
    }
}
