//! Activations from the ops that spell them.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::F64;
use mlc_ir::ops::{
    Abs, Add, Clip, Exp, Greater, GreaterEqual, Inverse, LeakyRelu, LinearActivation, Log, Maximum,
    Minimum, Mul, Prelu, RealDiv, Relu, Relu6, ScaledTanh, Select, Sigmoid, SigmoidHard, Silu,
    Softplus, Softsign, Tanh,
};

pub(super) const FAMILY: Family = Family {
    name: "activation",
    source: include_str!("activation.rs"),
    rules: &[
        rule!(Close, "silu", ["mul"], silu),
        rule!(Close, "silu-of-quotient", ["real_div"], silu_of_quotient),
        rule!(Close, "sigmoid-of-exp", ["real_div", "inverse"], sigmoid_of_exp),
        rule!(Close, "sigmoid-of-tanh", ["add", "mul"], sigmoid_of_tanh),
        rule!(Close, "softplus", ["log"], softplus),
        rule!(Close, "softplus-of-parts", ["add"], softplus_of_parts),
        rule!(Close, "softsign", ["real_div"], softsign),
        rule!(Close, "scaled-tanh", ["mul"], scaled_tanh),
        rule!(Close, "tanh-of-scaled", ["tanh", "scaled_tanh"], tanh_of_scaled),
        rule!(Close, "linear-activation", ["add"], linear_activation),
        rule!(Close, "leaky-relu", ["maximum"], leaky_relu),
        rule!(Close, "leaky-relu-of-select", ["select"], leaky_relu_of_select),
        rule!(Exact, "prelu-to-leaky-relu", ["prelu"], prelu_to_leaky_relu),
        rule!(Close, "sigmoid-hard", ["mul"], sigmoid_hard),
        rule!(Close, "sigmoid-hard-of-clip", ["clip"], sigmoid_hard_of_clip),
        rule!(Close, "hard-swish", ["mul"], hard_swish),
        rule!(Exact, "relu-of-relu", ["relu"], relu_of_relu),
        rule!(Exact, "clip-to-relu6", ["clip"], clip_to_relu6),
        rule!(Exact, "maximum-of-minimum", ["maximum"], maximum_of_minimum),
    ],
};

/// `x · sigmoid(x) = silu(x)`
fn silu(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Mul>()?.pairs();
    let (x, _) = pairs
        .into_iter()
        .find(|(x, gate)| gate.find::<Sigmoid>().is_some_and(|sigmoid| sigmoid.operand(0) == *x))?;
    Some(m.build(Silu {}, [x.into()]))
}

/// `1 + e^(−x)`, as a class: its `x`.
fn one_plus_exp_of_negative(class: Class<'_>) -> Option<Class<'_>> {
    let (power, _) = class.find::<Add>()?.with_scalar().filter(|(_, one)| *one == 1.0)?;
    exp_of_negative(power)
}

/// `e^(−x)`, as a class: its `x`.
fn exp_of_negative(class: Class<'_>) -> Option<Class<'_>> {
    let power = class.find::<Exp>()?.operand(0);
    let (x, _) = power.find::<Mul>()?.with_scalar().filter(|(_, minus)| *minus == -1.0)?;
    Some(x)
}

/// `x / (1 + e^(−x)) = silu(x)`
fn silu_of_quotient(m: &Match<'_>) -> Option<Build> {
    let div = m.op::<RealDiv>()?;
    let x = one_plus_exp_of_negative(div.operand(1))?;
    (x == div.operand(0) && x.ty() == m.ty()).then(|| m.build(Silu {}, [x.into()]))
}

/// `1 / (1 + e^(−x)) = sigmoid(x)`, as a quotient or an inverse
fn sigmoid_of_exp(m: &Match<'_>) -> Option<Build> {
    let x = match m.op::<Inverse>() {
        Some(inverse) => {
            let sum = inverse.operand(0);
            match inverse.epsilon.0 {
                1.0 => exp_of_negative(sum)?,
                epsilon if epsilon.abs() <= 1e-30 => one_plus_exp_of_negative(sum)?,
                _ => return None,
            }
        }
        None => {
            let div = m.op::<RealDiv>()?;
            div.operand(0).scalar().filter(|&one| one == 1.0)?;
            one_plus_exp_of_negative(div.operand(1))?
        }
    };
    (x.ty() == m.ty()).then(|| m.build(Sigmoid {}, [x.into()]))
}

/// `(1 + tanh(x/2))/2 = sigmoid(x)`, the half inside or outside
fn sigmoid_of_tanh(m: &Match<'_>) -> Option<Build> {
    let tanh = match m.op::<Mul>() {
        Some(mul) => {
            let (sum, _) = mul.with_scalar().filter(|(_, c)| *c == 0.5)?;
            sum.find::<Add>()?.with_scalar().filter(|(_, one)| *one == 1.0)?.0
        }
        None => {
            let (scaled, _) = m.op::<Add>()?.with_scalar().filter(|(_, c)| *c == 0.5)?;
            scaled.find::<Mul>()?.with_scalar().filter(|(_, c)| *c == 0.5)?.0
        }
    };
    let x = match tanh.find::<ScaledTanh>() {
        Some(op) => (op.alpha.0 == 1.0 && op.beta.0 == 0.5).then(|| op.operand(0))?,
        None => {
            let argument = tanh.find::<Tanh>()?.operand(0);
            argument.find::<Mul>()?.with_scalar().filter(|(_, c)| *c == 0.5)?.0
        }
    };
    (x.ty() == m.ty()).then(|| m.build(Sigmoid {}, [x.into()]))
}

/// `ln(1 + eˣ) = softplus(x)`, which stays finite where the power does not
fn softplus(m: &Match<'_>) -> Option<Build> {
    let log = m.op::<Log>()?;
    let x = match log.epsilon.0 {
        1.0 => log.operand(0).find::<Exp>()?.operand(0),
        epsilon if epsilon.abs() <= 1e-30 => {
            let sum = log.operand(0).find::<Add>()?.with_scalar();
            sum.filter(|(_, one)| *one == 1.0)?.0.find::<Exp>()?.operand(0)
        }
        _ => return None,
    };
    (x.ty() == m.ty()).then(|| m.build(Softplus {}, [x.into()]))
}

/// `max(x, 0) + ln(1 + e^(−|x|)) = softplus(x)`
fn softplus_of_parts(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Add>()?.pairs();
    let x = pairs.into_iter().find_map(|(rectified, rest)| {
        let x = rectified.find::<Relu>()?.operand(0);
        let log = rest.find::<Log>()?;
        let size = match log.epsilon.0 {
            1.0 => exp_of_negative(log.operand(0))?,
            epsilon if epsilon.abs() <= 1e-30 => one_plus_exp_of_negative(log.operand(0))?,
            _ => return None,
        };
        size.find::<Abs>().is_some_and(|abs| abs.operand(0) == x).then_some(x)
    })?;
    (x.ty() == m.ty()).then(|| m.build(Softplus {}, [x.into()]))
}

/// `x / (1 + |x|) = softsign(x)`
fn softsign(m: &Match<'_>) -> Option<Build> {
    let div = m.op::<RealDiv>()?;
    let x = div.operand(0);
    x.dtype().filter(|dtype| dtype.is_float())?;
    let sum = div.operand(1).find::<Add>()?.with_scalar().filter(|(_, one)| *one == 1.0)?;
    let fits = sum.0.find::<Abs>()?.operand(0) == x && x.ty() == m.ty();
    fits.then(|| m.build(Softsign {}, [x.into()]))
}

/// Whether a number is one that every precision holds well as an attribute.
fn is_moderate(c: f64) -> bool {
    c == 0.0 || (1e-3..=1e3).contains(&c.abs())
}

/// `a · tanh(b·x) = scaled_tanh(x; a, b)`
fn scaled_tanh(m: &Match<'_>) -> Option<Build> {
    let (inner, a) = m.op::<Mul>()?.with_scalar().filter(|(_, a)| is_moderate(*a))?;
    let (x, alpha, beta) = match inner.find::<ScaledTanh>() {
        Some(op) => (op.operand(0), op.alpha.0, op.beta.0),
        None => (inner.find::<Tanh>()?.operand(0), 1.0, 1.0),
    };
    let op = ScaledTanh { alpha: F64(a * alpha), beta: F64(beta) };
    (is_moderate(a * alpha) && x.ty() == m.ty()).then(|| m.build(op, [x.into()]))
}

/// `tanh(b·x) = scaled_tanh(x; 1, b)`
fn tanh_of_scaled(m: &Match<'_>) -> Option<Build> {
    let (alpha, beta) = match m.op::<ScaledTanh>() {
        Some(op) => (op.alpha, op.beta.0),
        None => (F64(1.0), 1.0),
    };
    let (x, b) = m.operand(0).find::<Mul>()?.with_scalar()?;
    let fits = is_moderate(b) && is_moderate(b * beta) && x.ty() == m.ty();
    fits.then(|| m.build(ScaledTanh { alpha, beta: F64(b * beta) }, [x.into()]))
}

/// `a·x + b = linear_activation(x; a, b)`
fn linear_activation(m: &Match<'_>) -> Option<Build> {
    let (inner, b) = m.op::<Add>()?.with_scalar().filter(|(_, b)| is_moderate(*b))?;
    let (x, a) = inner.find::<Mul>()?.with_scalar().filter(|(_, a)| is_moderate(*a))?;
    let fits = x.dtype()?.is_float() && x.ty() == m.ty();
    fits.then(|| m.build(LinearActivation { alpha: F64(a), beta: F64(b) }, [x.into()]))
}

/// `max(x, a·x) = leaky_relu(x, a)` for `0 ≤ a ≤ 1`
fn leaky_relu(m: &Match<'_>) -> Option<Build> {
    m.ty().filter(|ty| ty.dtype.is_float())?;
    let pairs = m.op::<Maximum>()?.pairs();
    let (x, slope) = pairs.into_iter().find_map(|(x, scaled)| {
        let (own, slope) = scaled.find::<Mul>()?.with_scalar()?;
        (own == x && x.ty() == m.ty()).then_some((x, slope))
    })?;
    (0.0..=1.0).contains(&slope).then(|| m.build(LeakyRelu { alpha: F64(slope) }, [x.into()]))
}

/// `x > 0 ? x : a·x = leaky_relu(x, a)`, and with `≥`
fn leaky_relu_of_select(m: &Match<'_>) -> Option<Build> {
    let select = m.op::<Select>()?;
    let (test, x) = (select.operand(0), select.operand(1));
    x.dtype().filter(|dtype| dtype.is_float())?;
    let (own, slope) = select.operand(2).find::<Mul>()?.with_scalar()?;
    let compared = test
        .find::<Greater>()
        .map(|op| (op.operand(0), op.operand(1)))
        .or_else(|| test.find::<GreaterEqual>().map(|op| (op.operand(0), op.operand(1))))?;
    let fits = compared.0 == x && compared.1.scalar() == Some(0.0) && own == x && x.ty() == m.ty();
    (fits && slope.is_finite()).then(|| m.build(LeakyRelu { alpha: F64(slope) }, [x.into()]))
}

/// `prelu(x, a) = leaky_relu(x, a)` where all slopes are equal
fn prelu_to_leaky_relu(m: &Match<'_>) -> Option<Build> {
    let prelu = m.op::<Prelu>()?;
    let slope = prelu.operand(1).scalar()?;
    Some(m.build(LeakyRelu { alpha: F64(slope) }, [prelu.operand(0).into()]))
}

/// `clip(x + b, 0, c) · (1/c) = sigmoid_hard(x; 1/c, b/c)`
fn sigmoid_hard(m: &Match<'_>) -> Option<Build> {
    let (inner, scale) = m.op::<Mul>()?.with_scalar()?;
    let bounded = |high: f64| (high * scale - 1.0).abs() < 1e-6;
    let clipped = match inner.find::<Relu6>() {
        Some(relu6) if bounded(6.0) => relu6.operand(0),
        _ => inner.find::<Clip>().filter(|c| c.alpha.0 == 0.0 && bounded(c.beta.0))?.operand(0),
    };
    let (x, b) = clipped.find::<Add>()?.with_scalar()?;
    let hard = SigmoidHard { alpha: F64(scale), beta: F64(b * scale) };
    (x.ty() == m.ty()).then(|| m.build(hard, [x.into()]))
}

/// `clip(a·x + b, 0, 1) = sigmoid_hard(x; a, b)`
fn sigmoid_hard_of_clip(m: &Match<'_>) -> Option<Build> {
    let clip = m.op::<Clip>().filter(|c| c.alpha.0 == 0.0 && c.beta.0 == 1.0)?;
    let line = clip.operand(0);
    let (x, a, b) = match line.find::<LinearActivation>() {
        Some(op) => (op.operand(0), op.alpha.0, op.beta.0),
        None => {
            let (scaled, b) = line.find::<Add>()?.with_scalar()?;
            let (x, a) = scaled.find::<Mul>()?.with_scalar()?;
            (x, a, b)
        }
    };
    let fits = is_moderate(a) && is_moderate(b) && x.ty() == m.ty();
    fits.then(|| m.build(SigmoidHard { alpha: F64(a), beta: F64(b) }, [x.into()]))
}

/// `x · clip(y + b, 0, c) · (1/c) = x · sigmoid_hard(y; 1/c, b/c)`, the number in any place
fn hard_swish(m: &Match<'_>) -> Option<Build> {
    let root = m.op::<Mul>()?;
    let (products, scale) = match root.with_scalar() {
        Some((inner, scale)) => (inner.find_all::<Mul>(), scale),
        None => (vec![root], 1.0),
    };
    let hard = |clipped: Class<'_>, scale: f64| {
        let bounded = |high: f64| (high * scale - 1.0).abs() < 1e-6;
        let sum = match clipped.find::<Relu6>() {
            Some(relu6) if bounded(6.0) => relu6.operand(0),
            _ => {
                clipped.find::<Clip>().filter(|c| c.alpha.0 == 0.0 && bounded(c.beta.0))?.operand(0)
            }
        };
        let (y, b) = sum.find::<Add>()?.with_scalar()?;
        let op = SigmoidHard { alpha: F64(scale), beta: F64(b * scale) };
        (y.ty() == sum.ty()).then(|| m.build(op, [y.into()]))
    };
    products.iter().flat_map(mlc_egraph::Found::pairs).find_map(|(x, clipped)| {
        if let Some(gate) = hard(clipped, scale).filter(|_| x.ty() == m.ty()) {
            return Some(m.build(Mul {}, [x.into(), gate]));
        }
        let (x, c) = x.find::<Mul>()?.with_scalar()?;
        let gate = hard(clipped, scale * c).filter(|_| x.ty() == m.ty())?;
        Some(m.build(Mul {}, [x.into(), gate]))
    })
}

/// `relu(relu(x)) = relu(x)`
fn relu_of_relu(m: &Match<'_>) -> Option<Build> {
    m.op::<Relu>()?;
    let inner = m.operand(0).find::<Relu>()?;
    Some(inner.class().into())
}

/// `clip(x, 0, 6) = relu6(x)`
fn clip_to_relu6(m: &Match<'_>) -> Option<Build> {
    let clip = m.op::<Clip>()?;
    (clip.alpha == F64(0.0) && clip.beta == F64(6.0))
        .then(|| m.build(Relu6 {}, [clip.operand(0).into()]))
}

/// `max(min(x, b), a) = clip(x, a, b)` for `a ≤ b`
fn maximum_of_minimum(m: &Match<'_>) -> Option<Build> {
    let (inner, low) = m.op::<Maximum>()?.with_scalar()?;
    let (x, high) = inner.find::<Minimum>()?.with_scalar()?;
    x.dtype().filter(|dtype| dtype.is_float())?;
    let ordered = low <= high && x.ty() == m.ty();
    ordered.then(|| m.build(Clip { alpha: F64(low), beta: F64(high) }, [x.into()]))
}
