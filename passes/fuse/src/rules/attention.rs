//! Attention from products, sums and softmax.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::Dim;
use mlc_ir::infer::{broadcast, normalize_axis};
use mlc_ir::ops::{
    Add, Concat, ExpandDims, LogicalNot, Matmul, Mul, RealDiv, Reshape, ScaledDotProductAttention,
    Select, Softmax, Tile, Transpose,
};
use mlc_tensor::DType;

use super::shape::extents;

pub(super) const FAMILY: Family = Family {
    name: "attention",
    source: include_str!("attention.rs"),
    rules: &[
        rule!(Close, "attention", ["matmul"], attention),
        rule!(Close, "grouped-attention", ["scaled_dot_product_attention"], grouped_attention),
        rule!(Close, "grouped-matmul", ["matmul"], grouped_matmul),
    ],
};

/// What is added to scores or chosen by.
enum Mask<'m> {
    /// A value that is added.
    Added(Class<'m>),
    /// The scores stay where it is true (or false, with `not`), elsewhere they are −∞.
    Kept { test: Class<'m>, not: bool },
    /// The same with a number so low that adding it leaves nothing of the scores.
    Low { test: Class<'m>, not: bool, low: f64 },
}

/// `query · keyᵀ · factor` and what is put over it, the outermost first.
struct Scores<'m> {
    query: Class<'m>,
    key: Class<'m>,
    /// Whether the last two axes of `query` are in the order of the op.
    queries_are_rows: bool,
    /// The same of `key`.
    keys_are_rows: bool,
    factor: f64,
    masks: Vec<Mask<'m>>,
}

/// Most ops between the product and the softmax.
const MOST_LAYERS: usize = 5;
/// Below it, a number added to a score of any useful size is that number in 32 bits.
const LOW: f64 = -1e30;

/// `softmax(q·kᵀ·s + mask) · v = scaled_dot_product_attention(q·s·√E, k, v, mask)`, the softmax along the last
/// axis, with sums and choices as masks; nothing is multiplied where `s` is `1/√E`
fn attention(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>().filter(|op| !op.transpose_y)?;
    let softmax = op.operand(0).find::<Softmax>()?;
    let (scores, value) = (softmax.operand(0), op.operand(1));
    let rank = scores.rank();
    let axis = normalize_axis(softmax.axis, rank).ok()?;
    // Scores of keys by queries, normalized along the keys, are the same the other way round.
    let keys = rank.checked_sub(if op.transpose_x { 2 } else { 1 })?;
    if axis != keys || rank < 3 || value.rank() != rank {
        return None;
    }
    if !m.has_op("scaled_dot_product_attention") {
        return None;
    }
    let mut found = parse(scores, MOST_LAYERS)?;
    if op.transpose_x {
        found.masks.is_empty().then_some(())?;
        std::mem::swap(&mut found.query, &mut found.key);
        std::mem::swap(&mut found.queries_are_rows, &mut found.keys_are_rows);
    }
    let dtype = m.ty()?.dtype;
    let same = [found.query, found.key, value].iter().all(|c| c.dtype() == Some(dtype));
    let batch = &m.ty()?.shape[..rank - 2];
    let alike = |class: &Class<'_>| class.rank() == rank && &class.shape()[..rank - 2] == batch;
    if !same || ![found.query, found.key, value].iter().all(alike) {
        return None;
    }
    let depth = if found.queries_are_rows { rank - 1 } else { rank - 2 };
    let width = found.query.shape()[depth].as_const().filter(|&n| n > 0)?;
    let factor = found.factor * (width as f64).sqrt();
    let slack = if dtype.bits() < 32 { 1e-3 } else { 1e-6 };
    let (query, key, factor) = without_factors(m, &found, (factor, slack));
    if !(1e-3..=1e3).contains(&factor.abs()) {
        return None;
    }
    let mask = found.mask(m, scores)?;
    let rows = |class: Build, are_rows: bool| match are_rows {
        true => class,
        false => m.build(Transpose::last_two(rank), [class]),
    };
    let key = rows(key, found.keys_are_rows);
    let query = rows(query, found.queries_are_rows);
    let query = match (factor - 1.0).abs() <= slack {
        true => query,
        false => m.build(Mul {}, [query, m.number(factor)?]),
    };
    let slots = vec![vec![query], vec![key], vec![value.into()], mask.into_iter().collect()];
    Some(Build::with_slots(ScaledDotProductAttention {}, slots))
}

/// The query and the key, without numbers that they are multiplied by, and the factor with these: as many
/// are left out as bring it to 1, all of them if nothing does.
fn without_factors(
    m: &Match<'_>,
    found: &Scores<'_>,
    (factor, slack): (f64, f64),
) -> (Build, Build, f64) {
    let ways = |class: Class<'_>| {
        let plain = std::iter::once((class.into(), 1.0));
        plain.chain(stripped(m, class, 3)).collect::<Vec<(Build, f64)>>()
    };
    let (queries, keys) = (ways(found.query), ways(found.key));
    let mut last = (found.query.into(), found.key.into(), factor);
    for (query, a) in &queries {
        for (key, b) in &keys {
            last = (query.clone(), key.clone(), factor * a * b);
            if (last.2 - 1.0).abs() <= slack {
                return last;
            }
        }
    }
    last
}

/// A value without a number that it is multiplied by, perhaps before it is viewed or transposed, and the
/// number.
fn stripped(m: &Match<'_>, class: Class<'_>, depth: usize) -> Option<(Build, f64)> {
    if let Some((inner, c)) = scaled(class).filter(|(inner, _)| inner.ty() == class.ty()) {
        return Some((inner.into(), c));
    }
    let depth = depth.checked_sub(1)?;
    if let Some(op) = class.find::<Transpose>() {
        let (inner, c) = stripped(m, op.operand(0), depth)?;
        return Some((m.build(op.payload().clone(), [inner]), c));
    }
    let op = class.find::<Reshape>()?;
    let (inner, c) = stripped(m, op.operand(0), depth)?;
    Some((m.build(Reshape {}, [inner, op.operand(1).into()]), c))
}

/// An operand and the finite number that it is multiplied by.
fn scaled(class: Class<'_>) -> Option<(Class<'_>, f64)> {
    let by_mul = class.find_all::<Mul>().into_iter().find_map(|mul| mul.with_scalar());
    let by_div = || {
        let div = class.find::<RealDiv>()?;
        Some((div.operand(0), 1.0 / div.operand(1).scalar()?))
    };
    by_mul.or_else(by_div).filter(|(_, c)| c.is_finite() && *c != 0.0)
}

/// Scores as a product with factors and masks over it.
fn parse(class: Class<'_>, layers: usize) -> Option<Scores<'_>> {
    if let Some(matmul) = class.find_all::<Matmul>().iter().max_by_key(|op| op.transpose_y) {
        return (!matmul.transpose_x).then(|| Scores {
            query: matmul.operand(0),
            key: matmul.operand(1),
            queries_are_rows: true,
            keys_are_rows: matmul.transpose_y,
            factor: 1.0,
            masks: Vec::new(),
        });
    }
    let layers = layers.checked_sub(1)?;
    let inner = |inner: Class<'_>| inner.ty() == class.ty();
    if let Some((product, c)) = scaled(class).filter(|(product, _)| inner(*product)) {
        let mut found = parse(product, layers)?;
        found.factor *= c;
        return found.masks.is_empty().then_some(found);
    }
    for add in class.find_all::<Add>() {
        for (product, mask) in add.pairs() {
            if let Some(mut found) =
                Some(product).filter(|p| inner(*p)).and_then(|p| parse(p, layers))
            {
                found.masks.insert(0, Mask::Added(mask));
                return Some(found);
            }
        }
    }
    let select = class.find::<Select>()?;
    let (test, yes, no) = (select.operand(0), select.operand(1), select.operand(2));
    let (product, not, low) = match (yes.scalar(), no.scalar()) {
        (None, Some(low)) => (yes, false, low),
        (Some(low), None) => (no, true, low),
        _ => return None,
    };
    let mut found = parse(Some(product).filter(|p| inner(*p))?, layers)?;
    let mask = if low == f64::NEG_INFINITY || (low < -1e3 && keeps_some(test, not)) {
        Mask::Kept { test, not }
    } else if low <= LOW && class.dtype()?.bits() >= 32 {
        Mask::Low { test, not, low }
    } else {
        return None;
    };
    found.masks.insert(0, mask);
    Some(found)
}

/// Whether each row of a constant keeps an element.
fn keeps_some(test: Class<'_>, not: bool) -> bool {
    let row = test.static_shape().and_then(|shape| shape.last().copied()).unwrap_or(0);
    let Ok(row @ 1..) = usize::try_from(row) else { return false };
    let small = test.constant().filter(|tensor| tensor.count() <= 1 << 20);
    let Some(numbers) = small.and_then(|tensor| tensor.to_i64s().ok()) else { return false };
    numbers.chunks(row).all(|row| row.iter().any(|&n| (n == 0) == not))
}

impl<'m> Scores<'m> {
    /// The masks as one operand for scores of that class; the inner `None` is no mask.
    fn mask(&self, m: &'m Match<'m>, scores: Class<'m>) -> Option<Option<Build>> {
        let shape = scores.shape();
        let last = shape.last()?;
        let mut spread: Vec<Dim> = Vec::new();
        for mask in &self.masks {
            let (Mask::Added(class)
            | Mask::Kept { test: class, .. }
            | Mask::Low { test: class, .. }) = mask;
            spread = broadcast(&spread, class.shape()).ok()?;
        }
        // The op broadcasts all axes of the mask but the last.
        let fits = spread.last() == Some(last)
            && broadcast(&spread, shape).is_ok_and(|whole| whole == shape);
        match &self.masks[..] {
            [] => Some(None),
            _ if !fits => None,
            [Mask::Kept { test, not: false }] => Some(Some((*test).into())),
            [Mask::Kept { test, not: true }] => {
                Some(Some(m.build(LogicalNot {}, [(*test).into()])))
            }
            masks => {
                let parts = masks.iter().map(|mask| added(m, mask)).collect::<Option<Vec<_>>>()?;
                let sum = |sum, part| m.build(Add {}, [sum, part]);
                Some(parts.into_iter().reduce(sum))
            }
        }
    }
}

/// A mask as a sum.
fn added(m: &Match<'_>, mask: &Mask<'_>) -> Option<Build> {
    let dtype = m.ty()?.dtype;
    let chosen = |test: Class<'_>, not: bool, low: f64| {
        let (zero, low) = (m.number(0.0)?, m.number(low)?);
        let (yes, no) = if not { (low, zero) } else { (zero, low) };
        (test.dtype() == Some(DType::Bool)).then(|| m.build(Select {}, [test.into(), yes, no]))
    };
    match *mask {
        Mask::Added(class) => (class.dtype() == Some(dtype)).then(|| class.into()),
        Mask::Kept { test, not } => chosen(test, not, f64::NEG_INFINITY),
        Mask::Low { test, not, low } => chosen(test, not, low),
    }
}

/// A value of rank 4 and how often each of its heads, axis 1, stands in a class, one copy after another.
fn repeated(class: Class<'_>) -> Option<(Class<'_>, i64)> {
    let merged = class.find::<Reshape>()?.operand(0);
    let wide = if let Some(tile) = merged.find::<Tile>() {
        let reps = tile.operand(1).ints()?;
        let single = reps.iter().enumerate().all(|(i, &n)| i == 2 || n == 1);
        (reps.len() == 5 && single).then(|| tile.operand(0))?
    } else {
        let concat = merged.find::<Concat>().filter(|concat| !concat.interleave)?;
        let values = concat.operands(0);
        let first = *values.first()?;
        let along = normalize_axis(concat.axis, merged.rank()).ok()? == 2;
        (along && values.iter().all(|value| *value == first)).then_some(first)?
    };
    let x = match wide.find::<ExpandDims>() {
        Some(expand) => {
            let axis = normalize_axis(*expand.axes.first()?, 5).ok()?;
            (expand.axes.len() == 1 && axis == 2).then(|| expand.operand(0))?
        }
        None => wide.find::<Reshape>()?.operand(0),
    };
    let [batch, heads, rows, columns] = x.shape() else { return None };
    let one = Dim::Const(1);
    if wide.shape() != [batch, heads, &one, rows, columns].map(Clone::clone) {
        return None;
    }
    let [b, all, r, c] = class.shape() else { return None };
    let (many, few) = (all.as_const()?, heads.as_const().filter(|&n| n > 0)?);
    let copies = many / few;
    let fits = (b, r, c) == (batch, rows, columns)
        && many == few * copies
        && copies > 1
        && merged.shape().get(2).is_some_and(|n| n.is(copies));
    fits.then_some((x, copies))
}

/// `sdpa(q, repeat(k), repeat(v)) = split(sdpa(merge(q), k, v))`: the queries of the heads that share a key
/// stand below one another
fn grouped_attention(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<ScaledDotProductAttention>()?;
    let query = op.operand(0);
    let ((key, copies), (value, same)) = (repeated(op.operand(1))?, repeated(op.operand(2))?);
    let [batch, _, rows, width] = query.shape() else { return None };
    let [_, heads, ..] = key.shape() else { return None };
    if copies != same || value.shape()[1] != *heads {
        return None;
    }
    let mask = match op.opt(3) {
        None => vec![],
        Some(mask) => vec![grouped_mask(m, mask, (copies, rows))?],
    };
    let tall = rows.mul(&Dim::Const(copies));
    let merged = [batch.clone(), heads.clone(), tall, width.clone()];
    let merged = m.build(Reshape {}, [query.into(), extents(m, &merged)?]);
    let slots = vec![vec![merged], vec![key.into()], vec![value.into()], mask];
    let y = Build::with_slots(ScaledDotProductAttention {}, slots);
    Some(m.build(Reshape {}, [y, extents(m, &m.ty()?.shape)?]))
}

/// A mask that is one for all heads, for queries of `copies` heads below one another.
fn grouped_mask(m: &Match<'_>, mask: Class<'_>, (copies, rows): (i64, &Dim)) -> Option<Build> {
    let shape = mask.shape();
    let at = shape.len().checked_sub(2)?;
    if shape.len() > 2 && !shape[at - 1].is(1) {
        return None;
    }
    // One row for all needs no copies.
    if shape[at].is(1) {
        return Some(mask.into());
    }
    if shape[at] != *rows {
        return None;
    }
    let mut reps = vec![1; shape.len()];
    reps[at] = copies;
    Some(m.build(Tile {}, [mask.into(), m.ints(&reps)?]))
}

/// `matmul(x, repeat(y)) = split(matmul(merge(x), y))`: the rows of the heads that share `y` stand below one
/// another
fn grouped_matmul(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>().filter(|op| !op.transpose_x)?;
    let x = op.operand(0);
    let (y, copies) = repeated(op.operand(1))?;
    let [batch, all, rows, width] = x.shape() else { return None };
    let [own, heads, ..] = y.shape() else { return None };
    let fits = own == batch && all.as_const()? == heads.as_const()? * copies;
    if !fits {
        return None;
    }
    let tall = rows.mul(&Dim::Const(copies));
    let merged = [batch.clone(), heads.clone(), tall, width.clone()];
    let merged = m.build(Reshape {}, [x.into(), extents(m, &merged)?]);
    let product = m.build(op.payload().clone(), [merged, y.into()]);
    Some(m.build(Reshape {}, [product, extents(m, &m.ty()?.shape)?]))
}
