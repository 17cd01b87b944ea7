//! The lowerings, a file a family.

mod activation;
mod adaptive_pool;
mod affine;
mod arithmetic;
mod arrange;
mod attention;
mod axes;
mod bits;
mod boxes;
mod calls;
mod compare;
mod complex;
mod conv;
pub(super) mod create;
mod einsum;
mod embedding;
mod fft;
mod fold;
mod grid;
mod housekeeping;
mod index;
mod indices;
mod istft;
mod join;
mod linear;
mod loss;
mod margin;
mod mask;
mod native_attention;
mod norm;
mod numeric;
mod pad;
mod pool;
mod qtensor;
mod quantized;
mod random;
mod recurrent;
mod reduction;
mod refused;
mod resize;
mod roi;
mod scan;

mod scatter;
mod singular;
mod slice;
mod solve;
mod sort;
mod special;
mod spellings;
mod statistics;
mod stft;
mod taper;
mod unary;
mod vector_norm;
mod view;
mod weights;

use super::registry::{Lowering, Registry};

const FAMILIES: &[&[Lowering]] = &[
    activation::LOWERINGS,
    vector_norm::LOWERINGS,
    scan::LOWERINGS,
    reduction::LOWERINGS,
    pool::LOWERINGS,
    native_attention::LOWERINGS,
    norm::LOWERINGS,
    linear::LOWERINGS,
    einsum::LOWERINGS,
    conv::LOWERINGS,
    attention::LOWERINGS,
    adaptive_pool::LOWERINGS,
    arithmetic::LOWERINGS,
    boxes::LOWERINGS,
    compare::LOWERINGS,
    complex::LOWERINGS,
    housekeeping::LOWERINGS,
    unary::LOWERINGS,
    embedding::LOWERINGS,
    taper::LOWERINGS,
    random::LOWERINGS,
    recurrent::LOWERINGS,
    fft::LOWERINGS,
    stft::LOWERINGS,
    fold::LOWERINGS,
    grid::LOWERINGS,
    resize::LOWERINGS,
    sort::LOWERINGS,
    mask::LOWERINGS,
    loss::LOWERINGS,
    quantized::LOWERINGS,
    qtensor::LOWERINGS,
    scatter::LOWERINGS,
    index::LOWERINGS,
    create::LOWERINGS,
    pad::LOWERINGS,
    join::LOWERINGS,
    slice::LOWERINGS,
    view::LOWERINGS,
    roi::LOWERINGS,
    singular::LOWERINGS,
    affine::LOWERINGS,
    special::LOWERINGS,
    solve::LOWERINGS,
    statistics::LOWERINGS,
    numeric::LOWERINGS,
    margin::LOWERINGS,
    bits::LOWERINGS,
    arrange::LOWERINGS,
];

/// The table of all lowerings.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(FAMILIES, spellings::SPELLINGS)
        .with_complex(complex::COMPLEX)
        .with_complex(istft::COMPLEX)
        .with_refusals(refused::REFUSALS, refused::KINDS)
}
