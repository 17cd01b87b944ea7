//! `einsum` of two operands as a product of matrices.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::ops::linear::EinsumLabels;
use mlc_ir::ops::{Matmul, ReduceSum, Reshape, Transpose};
use mlc_ir::{Builder, Value};
use mlc_pass::Result;

/// An operand with its letters.
struct Labelled {
    value: Value,
    letters: Vec<char>,
}

/// The product of the two operands; nothing for another number of them, letters that an operand has
/// twice, extents that are not known, and ones that stretch.
pub(crate) fn product(
    b: &mut Builder<'_>,
    equation: &str,
    operands: &[Value],
) -> Result<Option<Value>> {
    let labels = EinsumLabels::parse(equation)?;
    let ([x, y], [left, right]) = (operands, &labels.operands[..]) else { return Ok(None) };
    let mut extents: BTreeMap<char, i64> = BTreeMap::new();
    for (value, letters) in [(*x, left), (*y, right)] {
        let Some(shape) = b.tensor(value)?.static_shape() else { return Ok(None) };
        let distinct: BTreeSet<&char> = letters.iter().collect();
        if distinct.len() != letters.len() {
            return Ok(None);
        }
        for (&letter, extent) in letters.iter().zip(shape) {
            let Ok(extent) = i64::try_from(extent) else { return Ok(None) };
            if *extents.entry(letter).or_insert(extent) != extent {
                return Ok(None);
            }
        }
    }
    let kept = |letter: char| labels.result.contains(&letter);
    let left = without(b, (*x, left), &|c| kept(c) || right.contains(&c))?;
    let right = without(b, (*y, right), &|c| kept(c) || left.letters.contains(&c))?;
    let both = |c: &char| left.letters.contains(c) && right.letters.contains(c);
    let pick = |letters: &[char], wanted: &dyn Fn(&char) -> bool| -> Vec<char> {
        letters.iter().copied().filter(|c| wanted(c)).collect()
    };
    let batch = pick(&left.letters, &|c| both(c) && kept(*c));
    let inner = pick(&left.letters, &|c| both(c) && !kept(*c));
    let rows = pick(&left.letters, &|c| !both(c));
    let columns = pick(&right.letters, &|c| !both(c));
    let size = |letters: &[char]| letters.iter().map(|c| extents[c]).product::<i64>();
    let sizes = [size(&batch), size(&rows), size(&inner), size(&columns)];
    let x = matrix(b, &left, ([&batch, &rows, &inner], [sizes[0], sizes[1], sizes[2]]))?;
    let y = matrix(b, &right, ([&batch, &inner, &columns], [sizes[0], sizes[2], sizes[3]]))?;
    let product = Matmul { transpose_x: false, transpose_y: false }.build(b, x, y)?;
    let groups = [batch, rows, columns];
    let letters: Vec<char> = groups.concat();
    let value = if groups.iter().all(|group| group.len() == 1) {
        product
    } else {
        let shape: Vec<i64> = letters.iter().map(|c| extents[c]).collect();
        let shape = b.ints(&shape)?;
        Reshape {}.build(b, product, shape)?
    };
    Ok(Some(ordered(b, &Labelled { value, letters }, &labels.result)?))
}

/// The operand summed over the letters that `keep` refuses.
fn without(
    b: &mut Builder<'_>,
    (value, letters): (Value, &[char]),
    keep: &dyn Fn(char) -> bool,
) -> Result<Labelled> {
    let gone = |(_, c): &(usize, &char)| !keep(**c);
    let axes: Vec<i64> = letters.iter().enumerate().filter(gone).map(|(i, _)| i as i64).collect();
    let value = match axes.is_empty() {
        true => value,
        false => ReduceSum { axes: Some(axes), keep_dims: false }.build(b, value)?,
    };
    Ok(Labelled { value, letters: letters.iter().copied().filter(|&c| keep(c)).collect() })
}

/// The operand as a stack of matrices.
fn matrix(
    b: &mut Builder<'_>,
    operand: &Labelled,
    (groups, sizes): ([&Vec<char>; 3], [i64; 3]),
) -> Result<Value> {
    let letters: Vec<char> = groups.into_iter().flatten().copied().collect();
    let value = ordered(b, operand, &letters)?;
    if groups.iter().all(|group| group.len() == 1) {
        return Ok(value);
    }
    let shape = b.ints(&sizes)?;
    Ok(Reshape {}.build(b, value, shape)?)
}

/// The operand with its axes in the order of `letters`, which are its own.
fn ordered(b: &mut Builder<'_>, operand: &Labelled, letters: &[char]) -> Result<Value> {
    let place = |c: &char| operand.letters.iter().position(|own| own == c);
    let perm: Vec<i64> = letters.iter().filter_map(place).map(|at| at as i64).collect();
    if perm.iter().enumerate().all(|(i, &at)| i as i64 == at) {
        return Ok(operand.value);
    }
    Ok(Transpose { perm }.build(b, operand.value)?)
}
