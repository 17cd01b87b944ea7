//! Axes and layouts.

use mlc_ir::Value;
use mlc_ir::infer::normalize_axis;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};

/// An axis counted from the front; negative ones count from the end.
pub(super) fn axis(given: i64, rank: usize) -> LowerResult<usize> {
    Ok(normalize_axis(given, rank)?)
}

/// Axes from an input that must be known, sorted, each once.
pub(super) fn axes(cx: &Cx<'_>, given: Value, rank: usize) -> LowerResult<Vec<usize>> {
    let mut all = cx
        .need_ints(given, "axis")?
        .into_iter()
        .map(|at| axis(at, rank))
        .collect::<LowerResult<Vec<_>>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Where the channels of images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Channels are the axis after the batch.
    First,
    /// Channels are the last axis.
    Last,
}

impl Layout {
    /// The layout that the attribute `data_format` names, of tensors with `spatial` spatial axes.
    pub(super) fn of(call: &Call<'_>, spatial: usize) -> LowerResult<Self> {
        let default = if spatial == 3 { "NDHWC" } else { "NHWC" };
        match call.text_or("data_format", default)? {
            "NHWC" | "NDHWC" | "NWC" | "CHANNELS_LAST" => Ok(Self::Last),
            "NCHW" | "NCDHW" | "NCW" | "CHANNELS_FIRST" => Ok(Self::First),
            other => Err(LowerError::argument(format!("`data_format` is `{other}`"))),
        }
    }

    /// The axis of channels in a tensor of that rank.
    pub(super) fn channel_axis(self, rank: usize) -> usize {
        match self {
            Self::First => 1,
            Self::Last => rank - 1,
        }
    }

    /// The numbers of `list` for spatial axes; those for batch and channels must be 1.
    pub(super) fn spatial(self, list: &[i64], rank: usize, name: &str) -> LowerResult<Vec<i64>> {
        if list.is_empty() {
            return Ok(vec![1; rank - 2]);
        }
        if list.len() != rank {
            return Err(LowerError::invalid(format!("`{name}` is {list:?} for rank {rank}")));
        }
        let channels = self.channel_axis(rank);
        if list[0] != 1 || list[channels] != 1 {
            return Err(LowerError::argument(format!(
                "`{name}` is {list:?}, which is not 1 for batch and channels"
            )));
        }
        Ok((1..rank).filter(|&axis| axis != channels).map(|axis| list[axis]).collect())
    }
}

/// `x` with channels after the batch.
pub(super) fn channels_first(cx: &mut Cx<'_>, x: Value, layout: Layout) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    if layout == Layout::First || rank < 3 {
        return Ok(x);
    }
    let mut perm = vec![0, rank - 1];
    perm.extend(1..rank - 1);
    cx.transpose(x, &perm)
}

/// `x`, whose channels are after the batch, in its own layout again.
pub(super) fn restored(cx: &mut Cx<'_>, x: Value, layout: Layout) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    if layout == Layout::First || rank < 3 {
        return Ok(x);
    }
    let mut perm = vec![0];
    perm.extend(2..rank);
    perm.push(1);
    cx.transpose(x, &perm)
}
