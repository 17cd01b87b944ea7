//! Copies of what a region computes.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::ops::Identity;
use mlc_ir::{Builder, Node, Op, OpResult, Region, RegionData, Value};

use crate::Yields;

/// Appends the ops of `region` at the cursor with `args` for its arguments; gives what it yields.
///
/// # Errors
/// An op does not fit these arguments. What was appended until then is used by nobody.
pub(crate) fn inline(b: &mut Builder<'_>, region: Region, args: &[Value]) -> OpResult<Vec<Value>> {
    let data = b.function().regions[region].clone();
    let mut map: BTreeMap<Value, Value> =
        data.args.iter().copied().zip(args.iter().copied()).collect();
    for &node in &data.nodes {
        copy(b, node, &mut map)?;
    }
    Ok(resolved(&data.results, &map))
}

fn resolved(values: &[Value], map: &BTreeMap<Value, Value>) -> Vec<Value> {
    values.iter().map(|value| map.get(value).copied().unwrap_or(*value)).collect()
}

fn copy(b: &mut Builder<'_>, node: Node, map: &mut BTreeMap<Value, Value>) -> OpResult<()> {
    let mut data = b.function().nodes[node].clone();
    for operand in data.operands.all_mut() {
        *operand = map.get(operand).copied().unwrap_or(*operand);
    }
    let mut regions = Vec::with_capacity(data.regions.len());
    for &region in &data.regions {
        regions.push(copy_region(b, region, map)?);
    }
    let outside = std::mem::replace(&mut b.loc, data.loc);
    let made = b.push(data.op, data.operands, regions);
    b.loc = outside;
    let results = b.results(made?).to_vec();
    map.extend(data.results.iter().copied().zip(results));
    Ok(())
}

fn copy_region(
    b: &mut Builder<'_>,
    region: Region,
    map: &mut BTreeMap<Value, Value>,
) -> OpResult<Region> {
    let function = b.function_mut();
    let data = function.regions[region].clone();
    let new = function.regions.push(RegionData::default());
    for &arg in &data.args {
        let ty = function.ty(arg).clone();
        let copied = function.add_arg(new, ty);
        map.insert(arg, copied);
    }
    let outside = std::mem::replace(&mut b.region, new);
    let copied = data.nodes.iter().try_for_each(|&node| copy(b, node, map));
    b.region = outside;
    copied?;
    b.function_mut().regions[new].results = resolved(&data.results, map);
    Ok(new)
}

/// `values` in place of the results of `node`, with outputs kept apart; ops of the region from number
/// `start` on were made for them.
///
/// # Errors
/// None for values of a valid program.
pub(crate) fn apart(
    b: &mut Builder<'_>,
    (node, start): (Node, usize),
    values: Vec<Value>,
    yields: &mut Yields,
) -> OpResult<Vec<Value>> {
    let new: BTreeSet<Value> = b.function().regions[b.region].nodes[start..]
        .iter()
        .filter(|&&node| !matches!(b.function().nodes[node].op, Op::Const(_)))
        .flat_map(|&node| b.results(node).iter().copied())
        .collect();
    let results = b.results(node).to_vec();
    let one = |(from, to): (Value, Value)| {
        let may = if new.contains(&to) {
            yields.replace_by_new(from, to)
        } else {
            yields.replace(b, from, to)
        };
        if may { Ok(to) } else { Identity {}.build(b, to) }
    };
    results.into_iter().zip(values).map(one).collect()
}
