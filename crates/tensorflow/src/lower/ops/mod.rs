//! The lowerings, a file a family.

mod activation;
mod axes;
mod compare;
mod complex;
mod conv;
mod convert;
mod detect;
mod elementwise;
mod fft;
mod fused;
mod gather;
mod gradient;
mod housekeeping;
mod image;
mod join;
mod linear;
mod list;
mod loss;
mod matrix;
mod norm;
mod pool;
mod quantize;
mod random;
mod rearrange;
mod recurrent;
mod reduction;
mod resize;
mod scan;
mod shape;
mod slice;
mod sort;
mod special;

use super::registry::{Lowering, Registry};

pub(super) use complex::is_partwise;

const FAMILIES: &[&[Lowering]] = &[
    activation::LOWERINGS,
    compare::LOWERINGS,
    complex::LOWERINGS,
    conv::LOWERINGS,
    convert::LOWERINGS,
    detect::LOWERINGS,
    elementwise::LOWERINGS,
    fft::LOWERINGS,
    fused::LOWERINGS,
    gather::LOWERINGS,
    gradient::LOWERINGS,
    housekeeping::LOWERINGS,
    image::LOWERINGS,
    join::LOWERINGS,
    linear::LOWERINGS,
    list::LOWERINGS,
    loss::LOWERINGS,
    matrix::LOWERINGS,
    norm::LOWERINGS,
    pool::LOWERINGS,
    quantize::LOWERINGS,
    random::LOWERINGS,
    rearrange::LOWERINGS,
    recurrent::LOWERINGS,
    reduction::LOWERINGS,
    resize::LOWERINGS,
    scan::LOWERINGS,
    shape::LOWERINGS,
    slice::LOWERINGS,
    sort::LOWERINGS,
    special::LOWERINGS,
];

/// The table of all lowerings.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(FAMILIES)
}
