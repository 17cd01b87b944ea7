//! Elements between space, channels and batch; padding.

use mlc_egraph::{Build, Class, Family, Found, Match, rule};
use mlc_ir::attr::{PadMode, PadType};
use mlc_ir::ops::{
    AvgPool, BatchToSpace, Conv, DepthToSpace, Pad, PixelShuffle, PixelUnshuffle, Reshape,
    SpaceToBatch, SpaceToDepth, Transpose,
};
use mlc_ir::{Dim, F64};

use super::shape::viewed;
use super::transpose::axes;

pub(super) const FAMILY: Family = Family {
    name: "rearrange",
    source: include_str!("rearrange.rs"),
    rules: &[
        rule!(Exact, "pixel-shuffle", ["reshape"], pixel_shuffle),
        rule!(Exact, "pixel-unshuffle", ["reshape"], pixel_unshuffle),
        rule!(Close, "dilated-conv", ["batch_to_space"], dilated_conv),
        rule!(Close, "pad-conv", ["conv"], pad_conv),
        rule!(Close, "pad-avg-pool", ["avg_pool"], pad_avg_pool),
        rule!(Exact, "pad-of-pad", ["pad"], pad_of_pad),
        rule!(Close, "conv-of-line", ["squeeze", "reshape"], conv_of_line),
    ],
};

/// `x`, the extents that it is cut into, and the order of these that is merged again.
type Shuffled<'m> = (Class<'m>, Vec<i64>, Vec<i64>);

fn shuffled<'m>(m: &'m Match<'m>) -> Option<Shuffled<'m>> {
    m.op::<Reshape>()?;
    let swapped = m.operand(0).find::<Transpose>()?;
    let cut = swapped.operand(0);
    let x = viewed(cut)?;
    let sizes =
        cut.static_shape()?.into_iter().map(i64::try_from).collect::<Result<_, _>>().ok()?;
    (x.rank() == 4 && m.ty()?.rank() == 4).then_some((x, sizes, axes(&swapped.perm)?))
}

fn has_shape(shape: &[Dim], wanted: [i64; 4]) -> bool {
    shape.len() == 4 && shape.iter().zip(wanted).all(|(dim, n)| dim.is(n))
}

/// `merge(swap(cut(x))) = pixel_shuffle(x)`, or `depth_to_space(x)` where the pixels come before the channels
fn pixel_shuffle(m: &Match<'_>) -> Option<Build> {
    let (x, sizes, perm) = shuffled(m)?;
    let [n, a, b, c, height, width] = sizes[..] else { return None };
    let (channels, f, same) = match perm[..] {
        [0, 1, 4, 2, 5, 3] => (a, b, c),
        [0, 3, 4, 1, 5, 2] => (c, a, b),
        _ => return None,
    };
    let fits = f == same
        && f > 1
        && has_shape(x.shape(), [n, channels * f * f, height, width])
        && has_shape(&m.ty()?.shape, [n, channels, height * f, width * f]);
    let by_depth = perm[1] == 3;
    fits.then(|| match by_depth {
        true => m.build(DepthToSpace { block_size: f }, [x.into()]),
        false => m.build(PixelShuffle { upscale_factor: f }, [x.into()]),
    })
}

/// `merge(swap(cut(x))) = pixel_unshuffle(x)`, or `space_to_depth(x)` where the pixels come before the
/// channels
fn pixel_unshuffle(m: &Match<'_>) -> Option<Build> {
    let (x, sizes, perm) = shuffled(m)?;
    let [n, channels, height, f, width, same] = sizes[..] else { return None };
    let by_depth = match perm[..] {
        [0, 1, 3, 5, 2, 4] => false,
        [0, 3, 5, 1, 2, 4] => true,
        _ => return None,
    };
    let fits = f == same
        && f > 1
        && (by_depth || m.has_op("pixel_unshuffle"))
        && has_shape(x.shape(), [n, channels, height * f, width * f])
        && has_shape(&m.ty()?.shape, [n, channels * f * f, height, width]);
    fits.then(|| match by_depth {
        true => m.build(SpaceToDepth { block_size: f }, [x.into()]),
        false => m.build(PixelUnshuffle { downscale_factor: f }, [x.into()]),
    })
}

/// Padding before and after each of `count` spatial axes; none where it depends on the extents.
fn padding(pad_type: PadType, pad: &[i64], count: usize) -> Option<Vec<i64>> {
    match pad_type {
        PadType::Valid => Some(vec![0; 2 * count]),
        PadType::Custom if pad.len() == 2 * count => Some(pad.to_vec()),
        _ => None,
    }
}

fn are_ones(list: &[i64]) -> bool {
    list.iter().all(|&n| n == 1)
}

/// `batch_to_space(conv(space_to_batch(x))) = conv(x)` dilated by the block, padded by what is padded less
/// what is cut off
fn dilated_conv(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<BatchToSpace>()?;
    let conv = outer.operand(0).find::<Conv>()?;
    let inner = conv.operand(0).find::<SpaceToBatch>()?;
    let block = &inner.block_shape;
    let plain = are_ones(&conv.strides) && are_ones(&conv.dilations);
    if *block != outer.block_shape || block.len() != 2 || !plain {
        return None;
    }
    let own = padding(conv.pad_type, &conv.pad, 2)?;
    let mut pad = Vec::new();
    for i in 0..4 {
        let given = inner.paddings.get(i)?.checked_sub(*outer.crops.get(i)?)?;
        pad.push(given.checked_add(own[i].checked_mul(block[i / 2])?)?);
    }
    // Open extents that the block need not divide are another shape.
    let known = |dim: &Dim| dim.as_const().is_some_and(|n| n > 0);
    if !m.ty()?.shape[2..].iter().all(known) || pad.iter().any(|&n| n < 0) {
        return None;
    }
    let op = Conv {
        strides: vec![1, 1],
        pad_type: PadType::Custom,
        pad,
        dilations: block.clone(),
        groups: conv.groups,
    };
    Some(Build::with_slots(op, vec![inner.slot(0), conv.slot(1), conv.slot(2)]))
}

/// How much is padded with that number before and after each of the last `count` axes, the others left
/// alone.
fn amounts(op: &Found<'_, Pad>, (number, count): (f64, usize)) -> Option<Vec<i64>> {
    let fits = op.mode == PadMode::Constant && op.constant_val.0 == number;
    let mut pad = op.operand(1).ints().filter(|_| fits)?;
    while pad.len() > 2 * count {
        if pad[..2] != [0, 0] {
            return None;
        }
        pad.drain(..2);
    }
    while pad.len() < 2 * count {
        pad.splice(0..0, [0, 0]);
    }
    pad.iter().all(|&n| n >= 0).then_some(pad)
}

/// What is padded, and how much.
fn padded(class: Class<'_>, of: (f64, usize)) -> Option<(Class<'_>, Vec<i64>)> {
    let op = class.find::<Pad>()?;
    Some((op.operand(0), amounts(&op, of)?))
}

/// `conv(pad(x)) = conv(x)` with more padding, for zeros around the spatial axes
fn pad_conv(m: &Match<'_>) -> Option<Build> {
    let conv = m.op::<Conv>()?;
    let count = conv.operand(0).rank().checked_sub(2)?;
    let (x, more) = padded(conv.operand(0), (0.0, count))?;
    let own = padding(conv.pad_type, &conv.pad, count)?;
    let pad = own.iter().zip(&more).map(|(a, b)| a.checked_add(*b)).collect::<Option<_>>()?;
    let op = Conv { pad_type: PadType::Custom, pad, ..conv.payload().clone() };
    Some(Build::with_slots(op, vec![vec![x.into()], conv.slot(1), conv.slot(2)]))
}

/// `avg_pool(pad(x)) = avg_pool(x)` with more padding, where padding counts and is at most half a window
fn pad_avg_pool(m: &Match<'_>) -> Option<Build> {
    let pool = m.op::<AvgPool>()?;
    let count = pool.kernel_sizes.len();
    let counts = !pool.exclude_padding_from_average && !pool.ceil_mode;
    let (x, more) = padded(pool.operand(0), (0.0, count)).filter(|_| counts)?;
    let own = padding(pool.pad_type, &pool.pad, count)?;
    let pad: Vec<i64> =
        own.iter().zip(&more).map(|(a, b)| a.checked_add(*b)).collect::<Option<_>>()?;
    let fits = pad.iter().enumerate().all(|(i, &n)| n <= pool.kernel_sizes[i / 2] / 2);
    let op = AvgPool { pad_type: PadType::Custom, pad, ..pool.payload().clone() };
    fits.then(|| m.build(op, [x.into()]))
}

/// `pad(pad(x)) = pad(x)` with the sum of both, for one constant
fn pad_of_pad(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<Pad>().filter(|op| op.mode == PadMode::Constant)?;
    let rank = m.ty()?.rank();
    let number = outer.constant_val.0;
    let own = amounts(&outer, (number, rank))?;
    let (x, more) = padded(outer.operand(0), (number, rank))?;
    let sum: Vec<i64> =
        own.iter().zip(&more).map(|(a, b)| a.checked_add(*b)).collect::<Option<_>>()?;
    let op = Pad { mode: PadMode::Constant, constant_val: F64(number) };
    Some(m.build(op, [x.into(), m.ints(&sum)?]))
}

/// `squeeze(conv(expand_dims(x))) = conv(x)` over one axis, where the window does not reach along the other
fn conv_of_line(m: &Match<'_>) -> Option<Build> {
    let wide = m.operand(0);
    let conv = wide.find::<Conv>()?;
    let x = viewed(conv.operand(0))?;
    let weight = conv.operand(1);
    let window = weight.constant().and_then(|_| weight.static_shape())?;
    let (from, to) = (conv.operand(0).shape(), &m.ty()?.shape);
    if window.len() != 4 || x.rank() != 3 || to.len() != 3 {
        return None;
    }
    let line = [2, 3].into_iter().find(|&axis| {
        let without = |shape: &[Dim]| {
            let mut shape = shape.to_vec();
            shape.remove(axis);
            shape
        };
        let single = from[axis].is(1) && wide.shape()[axis].is(1) && window[axis] == 1;
        single && without(from) == x.shape() && without(wide.shape()) == *to
    })?;
    let own = padding(conv.pad_type, &conv.pad, 2)?;
    let other = 5 - line;
    let of = |list: &[i64]| list.get(other - 2).map_or(vec![], |&n| vec![n]);
    let none = own[2 * (line - 2)..][..2] == [0, 0];
    let op = Conv {
        strides: of(&conv.strides),
        pad_type: PadType::Custom,
        pad: own[2 * (other - 2)..][..2].to_vec(),
        dilations: of(&conv.dilations),
        groups: conv.groups,
    };
    let mut shape: Vec<i64> =
        window.iter().map(|&n| i64::try_from(n)).collect::<Result<_, _>>().ok()?;
    shape.remove(line);
    let row = m.build(Reshape {}, [weight.into(), m.ints(&shape)?]);
    none.then(|| Build::with_slots(op, vec![vec![x.into()], vec![row], conv.slot(2)]))
}
