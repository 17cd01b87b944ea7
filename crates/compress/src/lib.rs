//! Compression of weights: what a scheme makes of a tensor, and of the constants of a program.
//!
//! Words: a *weight* is a constant of floats with at least two axes; a [`Scheme`] says what is done to
//! it, and has a short name such as `w4-block32`; an [`Encoded`] weight decodes to floats again, and
//! [`Quality`] says how far those are from the weight.
//!
//! **Invariant:** every weight is decoded again before it is stored; the distance is recorded.
//! **Invariant:** results do not depend on threads.
//! **Invariant:** ops are made in the form of the newest opset; `legalize` gives them an older one.

mod blocks;
mod direct;
mod encode;
mod encoded;
mod feedback;
mod filter;
mod float;
mod halves;
pub mod kmeans;
mod linear;
mod moments;
mod palette;
mod prune;
mod quality;
mod run;
mod scheme;
mod short;
mod site;
mod smooth;
mod spill;
mod store;
mod survey;
pub mod vectors;

pub use blocks::{Blocks, Indivisible};
pub use encode::{Misfit, Weight, encode};
pub use encoded::{Body, Codes, Encoded, Table};
pub use filter::FilterError;
pub use float::HalfOr;
pub use linear::{Affine, Linear, Method};
pub use moments::{Calibration, Moments};
pub use prune::Prune;
pub use quality::Quality;
pub use run::{Job, run};
pub use scheme::{Granularity, Grouping, Palette, Pruning, Quantize, Scheme, SchemeError, Tables};
pub use site::{Axes, Candidate, Selection, Site};
pub use smooth::{Reached, scaled, smooth};
pub use survey::{Choice, Surveyed, survey};
