//! The rules, by family.

mod activation;
mod algebra;
mod arithmetic;
mod attention;
mod broadcast;
mod cast;
mod conv;
mod fill;
mod gelu;
mod index;
mod join;
mod linear;
mod norm;
mod parallel;
mod quantized;
mod rearrange;
mod rectifier;
mod reduction;
mod resize;
mod shape;
mod slice;
mod softmax;
mod transpose;
mod views;

use mlc_egraph::Family;

/// All families, in the order in which their rules are tried.
pub const FAMILIES: &[Family] = &[
    arithmetic::FAMILY,
    algebra::FAMILY,
    activation::FAMILY,
    gelu::FAMILY,
    rectifier::FAMILY,
    norm::FAMILY,
    reduction::FAMILY,
    softmax::FAMILY,
    attention::FAMILY,
    shape::FAMILY,
    slice::FAMILY,
    rearrange::FAMILY,
    cast::FAMILY,
    quantized::FAMILY,
    views::FAMILY,
    index::FAMILY,
    fill::FAMILY,
    broadcast::FAMILY,
    resize::FAMILY,
    transpose::FAMILY,
    join::FAMILY,
    linear::FAMILY,
    conv::FAMILY,
    parallel::FAMILY,
];

#[cfg(test)]
mod tests {
    use super::FAMILIES;

    #[test]
    fn the_table_is_sound() {
        let problems = mlc_egraph::table_problems(FAMILIES);
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
