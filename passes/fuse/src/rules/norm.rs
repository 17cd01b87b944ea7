//! Normalizations from means, squares and roots, and their parameters.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::F64;
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{
    Add, BatchNorm, InstanceNorm, L2Norm, LayerNorm, Mul, RealDiv, ReduceL2Norm, ReduceMean,
    ReduceSum, ReduceSumSquare, Reshape, Rsqrt, Sqrt, Square, Sub,
};
use mlc_tensor::Tensor;

use super::conv::{along_channels, put_together};

pub(super) const FAMILY: Family = Family {
    name: "norm",
    source: include_str!("norm.rs"),
    rules: &[
        rule!(Close, "layer-norm", ["mul", "real_div", "sub"], layer_norm),
        rule!(Close, "layer-norm-of-shift", ["add"], layer_norm_of_shift),
        rule!(Close, "layer-norm-scale", ["mul"], layer_norm_scale),
        rule!(Close, "layer-norm-bias", ["add"], layer_norm_bias),
        rule!(Close, "instance-norm-scale", ["mul"], instance_norm_scale),
        rule!(Close, "instance-norm-bias", ["add"], instance_norm_bias),
        rule!(Close, "batch-norm", ["add"], batch_norm),
        rule!(Close, "batch-norm-scale", ["mul"], batch_norm_scale),
        rule!(Close, "batch-norm-bias", ["add"], batch_norm_bias),
        rule!(Close, "l2-norm", ["mul", "real_div"], l2_norm),
    ],
};

/// The axes of a reduction, in rising order; none where it is of no floats.
fn reduced(x: Class<'_>, axes: Option<&Vec<i64>>) -> Option<Vec<usize>> {
    x.dtype().filter(|dtype| dtype.is_float())?;
    match axes {
        Some(axes) => normalize_axes(axes, x.rank()).ok(),
        None => Some((0..x.rank()).collect()),
    }
}

/// What a class is the mean of and over which axes, all kept.
fn mean_of(class: Class<'_>) -> Option<(Class<'_>, Vec<usize>)> {
    let mean = class.find::<ReduceMean>().filter(|mean| mean.keep_dims)?;
    let axes = reduced(mean.operand(0), mean.axes.as_ref())?;
    Some((mean.operand(0), axes))
}

/// `x` and the axes, where `z` is `x` less its mean; `either` allows the negative too.
fn centred(z: Class<'_>, either: bool) -> Option<(Class<'_>, Vec<usize>)> {
    z.find_all::<Sub>().into_iter().find_map(|sub| {
        let mut pairs = sub.pairs().into_iter().take(if either { 2 } else { 1 });
        pairs.find_map(|(x, mean)| {
            let (own, axes) = mean_of(mean)?;
            (own == x && x.ty() == z.ty()).then_some((x, axes))
        })
    })
}

/// A value over axes, with what is added to its variance.
struct Spread<'m> {
    x: Class<'m>,
    axes: Vec<usize>,
    epsilon: f64,
}

impl Spread<'_> {
    fn normalized(&self, m: &Match<'_>) -> Build {
        let axes = Some(self.axes.iter().map(|&axis| axis as i64).collect());
        m.build(LayerNorm { axes, epsilon: F64(self.epsilon) }, [self.x.into()])
    }

    fn is_of(&self, (x, axes): &(Class<'_>, Vec<usize>)) -> bool {
        self.x == *x && self.axes == *axes
    }
}

/// The variance that a class is, perhaps with a number added.
fn variance(class: Class<'_>) -> Option<Spread<'_>> {
    let (plain, epsilon) = match class.find::<Add>().and_then(|add| add.with_scalar()) {
        Some(found) => found,
        None => (class, 0.0),
    };
    let (square, axes) = mean_of(plain)?;
    let z = match square.find::<Square>() {
        Some(square) => square.operand(0),
        None => {
            let mul = square.find::<Mul>()?;
            (mul.operand(0) == mul.operand(1)).then(|| mul.operand(0))?
        }
    };
    let (x, own) = centred(z, true)?;
    (own == axes && (0.0..=1.0).contains(&epsilon)).then_some(Spread { x, axes, epsilon })
}

/// The variance of which a class is the inverse root.
fn inverse_root(class: Class<'_>) -> Option<Spread<'_>> {
    let rsqrt = class.find::<Rsqrt>()?;
    let found = variance(rsqrt.operand(0))?;
    let epsilon = found.epsilon + rsqrt.epsilon.0;
    Some(Spread { epsilon, ..found })
}

/// The same, perhaps times a constant.
fn scaled_inverse_root(class: Class<'_>) -> Option<(Spread<'_>, Option<Class<'_>>)> {
    if let Some(found) = inverse_root(class) {
        return Some((found, None));
    }
    let (inner, gamma) = class.find::<Mul>()?.with_constant()?;
    Some((inverse_root(inner)?, Some(gamma)))
}

/// `(x − μ) · (1/√(σ² + ε)) = layer_norm(x)`, also divided by the root, with `x` and `μ` scaled one by one,
/// or with a constant factor in between
fn layer_norm(m: &Match<'_>) -> Option<Build> {
    if let Some(mul) = m.op::<Mul>() {
        let (spread, gamma) = mul.pairs().into_iter().find_map(|(z, scale)| {
            let (spread, gamma) = scaled_inverse_root(scale)?;
            spread.is_of(&centred(z, false)?).then_some((spread, gamma))
        })?;
        return match gamma {
            Some(gamma) => Some(m.build(Mul {}, [spread.normalized(m), gamma.into()])),
            None => (spread.x.ty() == m.ty()).then(|| spread.normalized(m)),
        };
    }
    if let Some(div) = m.op::<RealDiv>() {
        let spread = variance(div.operand(1).find::<Sqrt>()?.operand(0))?;
        let fits = spread.is_of(&centred(div.operand(0), false)?) && spread.x.ty() == m.ty();
        return fits.then(|| spread.normalized(m));
    }
    let sub = m.op::<Sub>()?;
    let (spread, gamma) = scaled_difference(sub.operand(0), sub.operand(1))?;
    match gamma {
        Some(gamma) => Some(m.build(Mul {}, [spread.normalized(m), gamma.into()])),
        None => (spread.x.ty() == m.ty()).then(|| spread.normalized(m)),
    }
}

/// The spread and the factor `γ`, where `left` is `x · r` and `right` is `μ · r`, `r` being `γ/√(σ² + ε)`.
fn scaled_difference<'m>(
    left: Class<'m>,
    right: Class<'m>,
) -> Option<(Spread<'m>, Option<Class<'m>>)> {
    scaled(left, |spread, scale| scaled_mean(right, (spread, scale)).filter(|&sign| sign == 1.0))
        .map(|(spread, gamma, _)| (spread, gamma))
}

/// The spread and the factor `γ` where a class is `x · r`, and what `rest` finds for it and `r`.
fn scaled<'m, T>(
    class: Class<'m>,
    rest: impl Fn(&Spread<'m>, Class<'m>) -> Option<T>,
) -> Option<(Spread<'m>, Option<Class<'m>>, T)> {
    let products = class.find_all::<Mul>();
    products.into_iter().flat_map(|mul| mul.pairs()).find_map(|(x, scale)| {
        let (spread, gamma) = scaled_inverse_root(scale)?;
        if spread.x != x {
            return None;
        }
        let found = rest(&spread, scale)?;
        Some((spread, gamma, found))
    })
}

/// 1 where a class is `μ · r`, −1 where it is `−μ · r`.
fn scaled_mean(class: Class<'_>, (spread, scale): (&Spread<'_>, Class<'_>)) -> Option<f64> {
    let is_mean = |class: Class<'_>| mean_of(class).is_some_and(|found| spread.is_of(&found));
    class.find_all::<Mul>().into_iter().flat_map(|mul| mul.pairs()).find_map(|(left, right)| {
        if right == scale && is_mean(left) {
            return Some(1.0);
        }
        let is_negative = |class: Class<'_>| {
            let found = class.find::<Mul>().and_then(|mul| mul.with_scalar());
            found.is_some_and(|(mean, minus)| minus == -1.0 && is_mean(mean))
        };
        if right == scale && is_negative(left) {
            return Some(-1.0);
        }
        right.scalar().filter(|&minus| minus == -1.0)?;
        let mut inner = left.find_all::<Mul>().into_iter().flat_map(|mul| mul.pairs());
        inner.any(|(mean, other)| other == scale && is_mean(mean)).then_some(-1.0)
    })
}

/// `x · r + (β − μ·r) = layer_norm(x) · γ + β` with `r = γ/√(σ² + ε)`
fn layer_norm_of_shift(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Add>()?.pairs();
    let (spread, gamma, beta) = pairs.into_iter().find_map(|(product, shift)| {
        scaled(product, |spread, scale| offset(shift, (spread, scale)))
    })?;
    let mut y = spread.normalized(m);
    if let Some(gamma) = gamma {
        y = m.build(Mul {}, [y, gamma.into()]);
    }
    match beta {
        Some(beta) => Some(m.build(Add {}, [y, beta.into()])),
        None => (gamma.is_some() || spread.x.ty() == m.ty()).then_some(y),
    }
}

/// `β` where a class is `β − μ·r`; the inner `None` where it is `−μ·r`.
fn offset<'m>(class: Class<'m>, of: (&Spread<'m>, Class<'m>)) -> Option<Option<Class<'m>>> {
    if scaled_mean(class, of) == Some(-1.0) {
        return Some(None);
    }
    let by_sub = class
        .find_all::<Sub>()
        .into_iter()
        .find(|sub| scaled_mean(sub.operand(1), of) == Some(1.0));
    if let Some(sub) = by_sub {
        return Some(Some(sub.operand(0)));
    }
    let mut sums = class.find_all::<Add>().into_iter().flat_map(|add| add.pairs());
    sums.find(|(y, _)| scaled_mean(*y, of) == Some(-1.0)).map(|(_, beta)| Some(beta))
}

/// A constant as a parameter over some axes of a value of that shape, if it differs along these alone and
/// has their extents.
fn parameter(m: &Match<'_>, c: Class<'_>, (x, axes): (Class<'_>, &[usize])) -> Option<Build> {
    let own = c.static_shape()?;
    let lead = x.rank().checked_sub(own.len())?;
    let mut extents = Vec::new();
    for (axis, dim) in x.shape().iter().enumerate() {
        let n = axis.checked_sub(lead).map_or(1, |i| own[i]);
        match axes.contains(&axis) {
            true => {
                let extent = i64::try_from(n).ok().filter(|&n| dim.is(n))?;
                extents.push(extent);
            }
            false if n == 1 => {}
            false => return None,
        }
    }
    (c.dtype() == x.dtype()).then(|| Some(m.build(Reshape {}, [c.into(), m.ints(&extents)?])))?
}

/// `layer_norm(x; γ, β) · c = layer_norm(x; γ·c, β·c)` for a constant `c` over the axes
fn layer_norm_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let norm = inner.find::<LayerNorm>()?;
    let axes = reduced(norm.operand(0), norm.axes.as_ref())?;
    let c = parameter(m, c, (inner, &axes)).filter(|_| inner.ty() == m.ty())?;
    let scaled = |old: Option<Class<'_>>| put_together(m, Mul {}, (old, inner.dtype()), c.clone());
    let gamma = scaled(norm.opt(1))?;
    let beta = match norm.opt(2) {
        Some(beta) => vec![scaled(Some(beta))?],
        None => vec![],
    };
    let slots = vec![norm.slot(0), vec![gamma], beta];
    Some(Build::with_slots(norm.payload().clone(), slots))
}

/// `layer_norm(x; γ, β) + c = layer_norm(x; γ, β + c)` for a constant `c` over the axes
fn layer_norm_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let norm = inner.find::<LayerNorm>()?;
    let axes = reduced(norm.operand(0), norm.axes.as_ref())?;
    let c = parameter(m, c, (inner, &axes)).filter(|_| inner.ty() == m.ty())?;
    let beta = put_together(m, Add {}, (norm.opt(2), inner.dtype()), c)?;
    let slots = vec![norm.slot(0), norm.slot(1), vec![beta]];
    Some(Build::with_slots(norm.payload().clone(), slots))
}

/// `x`, `γ`, `β` and `ε` of an instance norm, or of a layer norm that is one.
type Instance<'m> = (Class<'m>, Option<Class<'m>>, Option<Class<'m>>, F64);

fn instance(class: Class<'_>) -> Option<Instance<'_>> {
    if let Some(norm) = class.find::<InstanceNorm>() {
        return Some((norm.operand(0), norm.opt(1), norm.opt(2), norm.epsilon));
    }
    let norm = class.find::<LayerNorm>()?;
    let x = norm.operand(0);
    let axes = reduced(x, norm.axes.as_ref())?;
    let plain = norm.opt(1).is_none() && norm.opt(2).is_none();
    let fits = plain && (3..=4).contains(&x.rank()) && axes.iter().copied().eq(2..x.rank());
    fits.then_some((x, None, None, norm.epsilon))
}

/// A constant along the channels of `x` as a vector.
fn channel_vector(m: &Match<'_>, c: Class<'_>, x: Class<'_>) -> Option<Build> {
    let channels = u64::try_from(x.shape().get(1)?.as_const()?).ok()?;
    let count = c.constant()?.count() as u64;
    if count != channels || c.dtype() != x.dtype() || c.rank() > x.rank() {
        return None;
    }
    along_channels(m, c, (x.rank(), channels))
}

/// `instance_norm(x; γ, β) · c = instance_norm(x; γ·c, β·c)` for a constant `c` along the channels; a
/// `layer_norm` without parameters over the axes after them is one, too
fn instance_norm_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let (x, gamma, beta, epsilon) = instance(inner)?;
    let c = channel_vector(m, c, inner).filter(|_| inner.ty() == m.ty())?;
    let scaled = |old: Option<Class<'_>>| put_together(m, Mul {}, (old, inner.dtype()), c.clone());
    let gamma = scaled(gamma)?;
    let beta = match beta {
        Some(beta) => vec![scaled(Some(beta))?],
        None => vec![],
    };
    Some(Build::with_slots(InstanceNorm { epsilon }, vec![vec![x.into()], vec![gamma], beta]))
}

/// `instance_norm(x; γ, β) + c = instance_norm(x; γ, β + c)` for a constant `c` along the channels
fn instance_norm_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let (x, gamma, beta, epsilon) = instance(inner)?;
    let c = channel_vector(m, c, inner).filter(|_| inner.ty() == m.ty())?;
    let beta = put_together(m, Add {}, (beta, inner.dtype()), c)?;
    let gamma = gamma.into_iter().map(Build::from).collect();
    Some(Build::with_slots(InstanceNorm { epsilon }, vec![vec![x.into()], gamma, vec![beta]]))
}

/// `x · γ + β = batch_norm(x; 0, 1, γ, β)` for constants along several channels, without epsilon
fn batch_norm(m: &Match<'_>) -> Option<Build> {
    let (scaled, beta) = m.op::<Add>()?.with_constant()?;
    let (x, gamma) = scaled.find::<Mul>()?.with_constant()?;
    let dtype = x.dtype().filter(|dtype| dtype.is_float())?;
    let channels = u64::try_from(x.shape().get(1)?.as_const()?).ok().filter(|&n| n > 1)?;
    let fits = (3..=5).contains(&x.rank()) && x.ty() == m.ty() && scaled.ty() == m.ty();
    if !fits {
        return None;
    }
    let gamma = channel_vector(m, gamma, x)?;
    let beta = channel_vector(m, beta, x)?;
    let equal = |x: f64| Some(m.constant(Tensor::full(dtype, &[channels], x).ok()?));
    let (mean, variance) = (equal(0.0)?, equal(1.0)?);
    let op = BatchNorm { epsilon: F64(0.0) };
    Some(Build::of(op, vec![x.into(), mean, variance, gamma, beta]))
}

/// `batch_norm(x; γ, β) · c = batch_norm(x; γ·c, β·c)` for a constant `c` along the channels
fn batch_norm_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let norm = inner.find::<BatchNorm>()?;
    let c = channel_vector(m, c, inner).filter(|_| inner.ty() == m.ty())?;
    let scaled = |old: Option<Class<'_>>| put_together(m, Mul {}, (old, inner.dtype()), c.clone());
    let gamma = scaled(norm.opt(3))?;
    let beta = match norm.opt(4) {
        Some(beta) => vec![scaled(Some(beta))?],
        None => vec![],
    };
    let slots = vec![norm.slot(0), norm.slot(1), norm.slot(2), vec![gamma], beta];
    Some(Build::with_slots(norm.payload().clone(), slots))
}

/// `batch_norm(x; γ, β) + c = batch_norm(x; γ, β + c)` for a constant `c` along the channels
fn batch_norm_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let norm = inner.find::<BatchNorm>()?;
    let c = channel_vector(m, c, inner).filter(|_| inner.ty() == m.ty())?;
    let beta = put_together(m, Add {}, (norm.opt(4), inner.dtype()), c)?;
    let slots = vec![norm.slot(0), norm.slot(1), norm.slot(2), norm.slot(3), vec![beta]];
    Some(Build::with_slots(norm.payload().clone(), slots))
}

/// `x` and the axes, where a class is the sum of the squares of `x` over axes that are kept.
fn sum_of_squares(class: Class<'_>) -> Option<(Class<'_>, Vec<usize>)> {
    if let Some(sum) = class.find::<ReduceSumSquare>().filter(|sum| sum.keep_dims) {
        return Some((sum.operand(0), reduced(sum.operand(0), sum.axes.as_ref())?));
    }
    let sum = class.find::<ReduceSum>().filter(|sum| sum.keep_dims)?;
    let square = sum.operand(0).find::<Square>()?;
    Some((square.operand(0), reduced(square.operand(0), sum.axes.as_ref())?))
}

/// The same with a number added.
fn shifted_squares(class: Class<'_>) -> Option<(Class<'_>, Vec<usize>, f64)> {
    if let Some((x, axes)) = sum_of_squares(class) {
        return Some((x, axes, 0.0));
    }
    let (sum, c) = class.find::<Add>()?.with_scalar()?;
    let (x, axes) = sum_of_squares(sum)?;
    Some((x, axes, c))
}

/// `x / √(Σ x² + ε) = l2_norm(x)`, summed over the last three axes or those of them that are not 1
fn l2_norm(m: &Match<'_>) -> Option<Build> {
    let (x, axes, epsilon) = match m.op::<Mul>() {
        Some(mul) => mul.pairs().into_iter().find_map(|(x, scale)| {
            let rsqrt = scale.find::<Rsqrt>()?;
            let (own, axes, c) = shifted_squares(rsqrt.operand(0))?;
            (own == x).then(|| (x, axes, c + rsqrt.epsilon.0))
        })?,
        None => {
            let div = m.op::<RealDiv>()?;
            let root = div.operand(1);
            let (own, axes, c) = match root.find::<ReduceL2Norm>().filter(|norm| norm.keep_dims) {
                Some(norm) => (norm.operand(0), reduced(norm.operand(0), norm.axes.as_ref())?, 0.0),
                None => shifted_squares(root.find::<Sqrt>()?.operand(0))?,
            };
            (own == div.operand(0)).then_some((own, axes, c))?
        }
    };
    let first = x.rank().checked_sub(3)?;
    let is_whole = axes.iter().all(|&axis| axis >= first)
        && (first..x.rank()).all(|axis| axes.contains(&axis) || x.shape()[axis].is(1));
    let fits = is_whole && (0.0..=1.0).contains(&epsilon) && x.ty() == m.ty();
    fits.then(|| m.build(L2Norm { epsilon: F64(epsilon) }, [x.into()]))
}
