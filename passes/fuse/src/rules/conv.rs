//! Convolutions with constant weights.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::ops::{Add, BatchNorm, Conv, Mul, Reshape, Rsqrt, Sub};

pub(super) const FAMILY: Family = Family {
    name: "conv",
    source: include_str!("conv.rs"),
    rules: &[
        rule!(Close, "conv-bias", ["add"], conv_bias),
        rule!(Close, "conv-scale", ["mul"], conv_scale),
        rule!(Close, "conv-batch-norm", ["batch_norm"], conv_batch_norm),
    ],
};

/// The elements of a constant that differ along the channels alone, as a vector of one or `channels`
/// elements; `rank` is that of what it is broadcast to.
fn along_channels(m: &Match<'_>, c: Class<'_>, (rank, channels): (usize, u64)) -> Option<Build> {
    c.constant()?;
    let mut shape = c.static_shape()?;
    while shape.len() < rank {
        shape.insert(0, 1);
    }
    let single = shape.iter().all(|&n| n == 1);
    let along = shape.iter().enumerate().all(|(i, &n)| n == if i == 1 { channels } else { 1 });
    if !single && !along {
        return None;
    }
    let count = if single { 1 } else { i64::try_from(channels).ok()? };
    Some(m.build(Reshape {}, [c.into(), m.ints(&[count])?]))
}

/// `conv(x, W, b) · c = conv(x, W·c, b·c)` for a constant `c` along the channels
fn conv_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let conv = inner.find::<Conv>()?;
    let weight = conv.operand(1);
    weight.constant()?;
    let channels = weight.static_shape()?[0];
    if inner.ty() != m.ty() || weight.dtype() != c.dtype() {
        return None;
    }
    let flat = along_channels(m, c, (inner.rank(), channels))?;
    let mut column = vec![1; weight.rank()];
    column[0] = -1;
    let scaled =
        m.build(Mul {}, [weight.into(), m.build(Reshape {}, [flat.clone(), m.ints(&column)?])]);
    let mut operands = vec![conv.operand(0).into(), scaled];
    if let Some(bias) = conv.opt(2) {
        bias.constant().filter(|_| bias.dtype() == c.dtype())?;
        operands.push(m.build(Mul {}, [bias.into(), flat]));
    }
    Some(Build::of(conv.payload().clone(), operands))
}

/// `conv(x, W, b) + c = conv(x, W, b + c)` for a constant `c` along the channels
fn conv_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let conv = inner.find::<Conv>()?;
    conv.operand(1).constant()?;
    let channels = conv.operand(1).static_shape()?[0];
    let mut shape = c.static_shape()?;
    while shape.len() < inner.rank() {
        shape.insert(0, 1);
    }
    let along = shape.iter().enumerate().all(|(i, &d)| d == if i == 1 { channels } else { 1 });
    if !along || inner.ty() != m.ty() {
        return None;
    }
    let flat = m.build(Reshape {}, [c.into(), m.ints(&[i64::try_from(channels).ok()?])?]);
    let bias = match conv.opt(2) {
        Some(bias) => {
            bias.constant()?;
            m.build(Add {}, [bias.into(), flat])
        }
        None => flat,
    };
    let operands = [conv.operand(0).into(), conv.operand(1).into(), bias];
    Some(m.build(conv.payload().clone(), operands))
}

/// `batch_norm(conv(x, W, b)) = conv(x, W·g, (b − mean)·g + beta)` with `g = gamma / √(variance + ε)`
fn conv_batch_norm(m: &Match<'_>) -> Option<Build> {
    let norm = m.op::<BatchNorm>()?;
    let conv = norm.operand(0).find::<Conv>()?;
    let weight = conv.operand(1);
    let constant = |class: &Class<'_>| class.constant().is_some();
    let parts = [norm.operand(1), norm.operand(2), weight];
    let given = [norm.opt(3), norm.opt(4), conv.opt(2)];
    if !parts.iter().chain(given.iter().flatten()).all(constant) {
        return None;
    }
    let same = parts.iter().chain(given.iter().flatten()).all(|c| c.dtype() == weight.dtype());
    let channels = i64::try_from(weight.static_shape()?[0]).ok().filter(|_| same)?;
    let [gamma, beta, bias] = given;
    let rsqrt = m.build(Rsqrt { epsilon: norm.epsilon }, [norm.operand(2).into()]);
    let scale = match gamma {
        Some(gamma) => m.build(Mul {}, [gamma.into(), rsqrt]),
        None => rsqrt,
    };
    let mut column = vec![1; weight.rank()];
    column[0] = channels;
    let along = m.build(Reshape {}, [scale.clone(), m.ints(&column)?]);
    let scaled = m.build(Mul {}, [weight.into(), along]);
    let centred = match bias {
        Some(bias) => m.build(Sub {}, [bias.into(), norm.operand(1).into()]),
        None => m.build(Mul {}, [norm.operand(1).into(), m.number(-1.0)?]),
    };
    let shift = m.build(Mul {}, [centred, scale]);
    let shift = match beta {
        Some(beta) => m.build(Add {}, [shift, beta.into()]),
        None => shift,
    };
    Some(m.build(conv.payload().clone(), [conv.operand(0).into(), scaled, shift]))
}
