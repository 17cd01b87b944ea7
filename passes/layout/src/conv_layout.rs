//! The pass `conv-layout`.

use mlc_ir::{
    Action, Builder, FuncId, Function, Node, Op, OpError, Program, Rewriter, Value, remove_unused,
};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::lifted::{Images, is_sequence};
use crate::moves::{boundary, moved};
use crate::on_images::visit;
use crate::sink_transposes::sink;

/// Computes on sequences `[b, s, c]` as on images `[b, c, 1, s]`, and on images whose channels come last as on
/// ones whose channels come first: a `linear` is a convolution with a window
/// of one element, as the neural engine has it. Done where a function has `least` of them, for sequences, for images
/// or for both, whichever leaves least to transpose; where that is a quarter more than before, nothing is done.
///
/// ```mlc before
/// func @f(%x: tensor<1x8x2xf32>) -> tensor<1x8x2xf32> {
///   %v = const [[1.0, 2.0], [3.0, 4.0]] : tensor<2x2xf32>
///   %1 = linear %x, %v
///   %2 = relu %1
///   %y = linear %2, %v
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x8x2xf32>) -> tensor<1x8x2xf32> {
///   %1 = transpose %x {perm = [0, 2, 1]}
///   %2 = expand_dims %1 {axes = [2]}
///   %v = const [[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]] : tensor<2x2x1x1xf32>
///   %3 = conv %2, %v {strides = [1, 1], pad = [0, 0, 0, 0], dilations = [1, 1]}
///   %4 = relu %3
///   %w = const [[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]] : tensor<2x2x1x1xf32>
///   %5 = conv %4, %w {strides = [1, 1], pad = [0, 0, 0, 0], dilations = [1, 1]}
///   %6 = squeeze %5 {axes = [2]}
///   %y = transpose %6 {perm = [0, 2, 1]}
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvLayout {
    /// Fewest `linear` on sequences that a function has.
    least: usize,
}

impl Default for ConvLayout {
    fn default() -> Self {
        Self { least: 2 }
    }
}

impl Pass for ConvLayout {
    fn name(&self) -> &'static str {
        "conv-layout"
    }

    fn phase(&self) -> Phase {
        Phase::Optimize
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let (mut changed, mut convs) = (false, 0);
        for func in cx.functions(program) {
            let counts = Ranks::ALL.map(|ranks| ranks.linears(&program.functions[func]));
            let before = moved(&program.functions[func]);
            let mut best: Option<(u64, Ranks)> = None;
            for (ranks, count) in Ranks::ALL.into_iter().zip(counts) {
                // Where all are of one rank, the whole is one of the others.
                if count < self.least || (ranks == Ranks::Both && counts[1..].contains(&count)) {
                    continue;
                }
                let mut tried = program.clone();
                convert(&mut tried, func, ranks)?;
                sink(&mut tried, func, true)?;
                remove_unused(&mut tried.functions[func]);
                let after = moved(&tried.functions[func]);
                if after <= before + before / 4 + boundary(&program.functions[func])
                    && best.is_none_or(|(least, _)| after < least)
                {
                    best = Some((after, ranks));
                }
            }
            if let Some((_, ranks)) = best {
                let made = convert(program, func, ranks)?;
                changed |= made > 0;
                convs += made;
            }
        }
        cx.count("linear as conv", convs);
        Ok(Changed::from(changed))
    }
}

/// The sequences that are computed as images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranks {
    Both,
    Sequences,
    Images,
}

impl Ranks {
    const ALL: [Self; 3] = [Self::Both, Self::Sequences, Self::Images];

    fn has(self, rank: usize) -> bool {
        match self {
            Self::Both => true,
            Self::Sequences => rank == 3,
            Self::Images => rank == 4,
        }
    }

    /// How many `linear` a function has on such sequences.
    fn linears(self, function: &Function) -> usize {
        let body = &function.regions[function.body].nodes;
        let is_one = |&&node: &&Node| {
            let data = &function.nodes[node];
            let x = data.operands.all().first().and_then(|&x| function.ty(x).as_tensor());
            matches!(data.op, Op::Linear(_))
                && x.is_some_and(|x| is_sequence(x) && self.has(x.rank()))
        };
        body.iter().filter(is_one).count()
    }
}

/// Computes on images in the body of a function; how many `linear` became convolutions.
fn convert(program: &mut Program, func: FuncId, ranks: Ranks) -> Result<u64> {
    let body = program.functions[func].body;
    let (mut images, mut convs) = (Images::default(), 0);
    Rewriter::run::<OpError>(program, func, Some("conv-layout"), &mut |b, node| {
        // What regions compute is left as it is.
        if b.region != body {
            return Ok(Action::Keep);
        }
        let data = &b.function().nodes[node];
        let (linear, old) = (matches!(data.op, Op::Linear(_)), data.results.clone());
        let rank = data.operands.all().first().and_then(|&x| b.ty(x).as_tensor());
        if linear && !rank.is_some_and(|x| ranks.has(x.rank())) {
            return Ok(Action::Keep);
        }
        let Some(values) = visit(b, node, &mut images)? else { return Ok(Action::Keep) };
        name_images(b, (&old, &values), &images);
        // Of equal extents that have two names, inference may have taken the other.
        if old.iter().zip(&values).any(|(&old, &new)| b.ty(old) != b.ty(new)) {
            return Ok(Action::Keep);
        }
        convs += u64::from(linear);
        Ok(Action::Replace(values))
    })?;
    Ok(convs)
}

/// Gives images the names of what they stand for, outputs aside.
fn name_images(b: &mut Builder<'_>, (old, new): (&[Value], &[Value]), images: &Images) {
    let function = b.function_mut();
    for (&old, &new) in old.iter().zip(new) {
        let Some(image) = images.get(new) else { continue };
        if !function.regions[function.body].results.contains(&old)
            && function.values[image].name.is_none()
        {
            function.values[image].name = function.values[old].name.take();
        }
    }
}
