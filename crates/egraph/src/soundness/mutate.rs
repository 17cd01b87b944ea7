//! Programs like a given one, with other shapes, types, attributes, constants and uses.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{
    AttrKind, AttrValue, Builder, Dim, F64, Function, NodeData, Op, Operands, Param, Program,
    SymbolRange, TensorType, Trait, Type, Value,
};
use mlc_tensor::{DType, Tensor};

use super::draw::Draw;

/// Most elements of a value.
const MOST_ELEMENTS: u64 = 4096;
/// Extents that others are replaced by.
const EXTENTS: [i64; 8] = [1, 2, 3, 4, 5, 6, 8, 9];

/// What is done to a program as a whole.
struct Plan {
    /// What stands for each extent greater than 1.
    extents: BTreeMap<i64, i64>,
    /// What stands for `f32`.
    dtype: DType,
    /// How many axes are put before those of parameters.
    lead: Vec<i64>,
    /// An extent that is open in parameters.
    open: Option<i64>,
    /// How often attributes and constants change, in percent.
    changes: usize,
}

impl Plan {
    fn draw(program: &Program, draw: &mut Draw) -> Self {
        let mut seen = BTreeSet::new();
        for (_, function) in program.functions.iter() {
            for (_, value) in function.values.iter() {
                value.ty.for_each_dim(&mut |dim| {
                    seen.extend(dim.as_const().filter(|&n| n > 1));
                });
            }
        }
        let moves = draw.chance(70);
        let extents: BTreeMap<i64, i64> = seen
            .into_iter()
            .map(|n| (n, if moves && draw.chance(60) { draw.one(&EXTENTS) } else { n }))
            .collect();
        let lead = match draw.below(6) {
            0 => vec![draw.one(&EXTENTS)],
            1 => vec![1],
            _ => vec![],
        };
        let known: Vec<i64> = extents.values().copied().collect();
        let open = (!known.is_empty() && draw.chance(15)).then(|| draw.one(&known));
        Self {
            extents,
            dtype: draw.one(&[DType::F32, DType::F32, DType::F32, DType::F16, DType::I32]),
            lead,
            open,
            changes: draw.one(&[0, 10, 10, 25]),
        }
    }

    fn extent(&self, n: i64) -> i64 {
        self.extents.get(&n).copied().unwrap_or(n)
    }

    fn dtype(&self, dtype: DType) -> DType {
        if dtype == DType::F32 { self.dtype } else { dtype }
    }
}

/// A random program like `template`, if one comes out whose ops fit. It has one function, without nested
/// regions and states.
pub(super) fn mutate(template: &Program, draw: &mut Draw) -> Option<Program> {
    let (_, old) = template.functions.iter().next()?;
    let plan = Plan::draw(template, draw);
    let mut program = Program::new();
    program.symbols = template.symbols.clone();
    if plan.open.is_some() {
        program.symbols.declare("open", SymbolRange { min: 1, max: Some(16) });
    }
    let mut function = Function::new("main");
    let mut values: BTreeMap<Value, Value> = BTreeMap::new();
    for (param, &arg) in old.params.iter().zip(&old.regions[old.body].args) {
        let ty = parameter(&plan, old.ty(arg).as_tensor()?);
        let default = ty.shape.iter().map(|dim| size(&plan, dim)).collect::<Option<Vec<_>>>()?;
        if default.iter().product::<u64>() > MOST_ELEMENTS {
            return None;
        }
        let mut new = Param::input(param.name.clone());
        new.default_shape = Some(default);
        values.insert(arg, function.add_param(new, Type::Tensor(ty)));
    }
    let func = program.functions.push(function);
    let mut b = Builder::new(&mut program, func);
    let mut made = Vec::new();
    for &node in &old.regions[old.body].nodes {
        let data = &old.nodes[node];
        let results = match &data.op {
            Op::Const(payload) => {
                let tensor = constant(&plan, draw, template.consts.try_get(payload.value)?)?;
                vec![b.constant(tensor).ok()?]
            }
            _ => {
                let operands = operands(data, &values, draw)?;
                let op = attributes(&plan, draw, (&data.op, rank(&b, &operands)))?;
                let made_node = b.push(op, operands, Vec::new()).ok()?;
                b.results(made_node).to_vec()
            }
        };
        let fits =
            results.len() == data.results.len() && results.iter().all(|&v| is_small(b.ty(v)));
        if !fits {
            return None;
        }
        let is_const = matches!(data.op, Op::Const(_));
        made.extend(results.iter().copied().filter(|_| !is_const));
        values.extend(data.results.iter().copied().zip(results));
    }
    let mut outputs = Vec::new();
    for value in &old.regions[old.body].results {
        outputs.push(*values.get(value)?);
    }
    let watched = draw.chance(25);
    outputs.extend(made.into_iter().filter(|_| watched && draw.chance(40)));
    for (i, value) in outputs.into_iter().enumerate() {
        b.function_mut().add_output(format!("y{i}"), value);
    }
    Some(program)
}

fn parameter(plan: &Plan, ty: &TensorType) -> TensorType {
    let lead = plan.lead.iter().map(|&n| Dim::Const(n));
    let own = ty.shape.iter().map(|dim| match dim.as_const().map(|n| plan.extent(n)) {
        Some(n) if plan.open == Some(n) => Dim::symbol("open"),
        Some(n) => Dim::Const(n),
        None => dim.clone(),
    });
    TensorType::new(plan.dtype(ty.dtype), lead.chain(own).collect::<Vec<_>>())
}

/// The extent that a parameter has in runs.
fn size(plan: &Plan, dim: &Dim) -> Option<u64> {
    let n = match (dim.as_const(), plan.open) {
        (Some(n), _) => n,
        (None, Some(open)) => open,
        (None, None) => 3,
    };
    u64::try_from(n).ok()
}

fn is_small(ty: &Type) -> bool {
    let Some(ty) = ty.as_tensor() else { return false };
    let sizes = ty.shape.iter().map(|dim| dim.as_const().map_or(8, |n| n.max(0) as u64));
    ty.rank() <= 6 && sizes.product::<u64>() <= MOST_ELEMENTS
}

fn operands(data: &NodeData, values: &BTreeMap<Value, Value>, draw: &mut Draw) -> Option<Operands> {
    let mut slots: Vec<Vec<Value>> = Vec::new();
    for slot in 0..data.operands.slots() {
        let given = data.operands.slot(slot).iter().map(|value| values.get(value).copied());
        slots.push(given.collect::<Option<_>>()?);
    }
    if data.op.spec().traits.has(Trait::Commutative) && draw.chance(30) {
        slots.swap(0, 1);
    }
    let mut operands = Operands::new();
    slots.into_iter().for_each(|slot| operands.push_slot(slot));
    Some(operands)
}

fn rank(b: &Builder<'_>, operands: &Operands) -> usize {
    let first = operands.all().first().and_then(|&v| b.tensor(v).ok());
    first.map_or(1, TensorType::rank)
}

/// The op with some attributes changed, and all of them following the axes that were added.
fn attributes(plan: &Plan, draw: &mut Draw, (op, rank): (&Op, usize)) -> Option<Op> {
    let spec = op.spec();
    let lead = plan.lead.len() as i64;
    let mut values = Vec::new();
    for (attr, mut value) in spec.attrs.iter().zip(op.attrs()) {
        let shift = |axis: &mut i64| *axis += if *axis >= 0 { lead } else { 0 };
        match (&mut value, attr.name) {
            (AttrValue::Int(axis), "axis") => shift(axis),
            (AttrValue::Ints(axes), "axes") => axes.iter_mut().for_each(shift),
            (AttrValue::Ints(perm), "perm") => {
                perm.iter_mut().for_each(shift);
                let before: Vec<i64> = (0..lead).collect();
                perm.splice(0..0, before);
            }
            (AttrValue::Ints(sizes), "split_sizes" | "output_shape") => {
                sizes.iter_mut().for_each(|n| *n = plan.extent(*n));
            }
            _ => {}
        }
        if draw.chance(plan.changes) {
            value = changed(value, draw, (attr.kind, attr.name, rank));
        }
        values.push(Some(value));
    }
    Op::from_attrs(spec.name, &values)?.ok()
}

fn changed(
    value: AttrValue,
    draw: &mut Draw,
    (kind, name, rank): (AttrKind, &str, usize),
) -> AttrValue {
    match value {
        AttrValue::Int(n) => AttrValue::Int(n + draw.one(&[-1, 1, 1, 2])),
        AttrValue::Float(x) => {
            AttrValue::Float(F64(draw.one(&[0.0, 1.0, -1.0, 6.0, x.0 * 2.0, x.0 + 0.5, 1e-3])))
        }
        AttrValue::Bool(b) => AttrValue::Bool(!b),
        AttrValue::Ints(_) if name == "perm" => AttrValue::Ints(draw.permutation(rank)),
        AttrValue::Ints(mut all) if !all.is_empty() => {
            let at = draw.below(all.len());
            all[at] += draw.one(&[-1, 1, 1, 2]);
            AttrValue::Ints(all)
        }
        AttrValue::Bools(mut all) if !all.is_empty() => {
            let at = draw.below(all.len());
            all[at] = !all[at];
            AttrValue::Bools(all)
        }
        AttrValue::Word(word) => match kind {
            AttrKind::Word(words) => AttrValue::Word(draw.one(words)),
            _ => AttrValue::Word(word),
        },
        other => other,
    }
}

fn constant(plan: &Plan, draw: &mut Draw, old: &Tensor) -> Option<Tensor> {
    let dtype = plan.dtype(old.dtype());
    if dtype == DType::Str {
        return Some(old.clone());
    }
    if !old.dtype().is_float() {
        return integers(plan, draw, old);
    }
    let mut shape: Vec<u64> =
        old.shape().iter().map(|&n| plan.extent(n as i64).max(0) as u64).collect();
    let same_shape = shape == old.shape();
    let kept = same_shape && !draw.chance(plan.changes * 2);
    if kept && !draw.chance(plan.changes) {
        return old.cast(dtype).ok();
    }
    let numbers = match kept {
        true => old.to_f64s().ok()?,
        false => {
            let count = usize::try_from(shape.iter().product::<u64>()).ok()?;
            let all = draw.chance(15).then(|| draw.one(&[0.0, 1.0, -1.0, 0.5]));
            // Parameters of norms, such as variances, must often not be negative.
            let low = if old.to_f64s().ok()?.iter().all(|&x| x >= 0.0) { 0.0 } else { -3.0 };
            (0..count).map(|_| all.unwrap_or_else(|| draw.float().max(low))).collect()
        }
    };
    // A number means the same with axes of extent 1 before it.
    if shape.is_empty() && draw.chance(20) {
        shape = vec![1; draw.below(4)];
    }
    Tensor::from_f64s(dtype, &shape, &numbers).ok()
}

/// Integers are extents, bounds and indices: they follow the extents, and seldom change.
fn integers(plan: &Plan, draw: &mut Draw, old: &Tensor) -> Option<Tensor> {
    let mut numbers = old.to_i64s().ok()?;
    if old.dtype().is_int() {
        numbers.iter_mut().for_each(|n| *n = plan.extent(*n));
        if !numbers.is_empty() && draw.chance(plan.changes) {
            let at = draw.below(numbers.len());
            numbers[at] += draw.one(&[-1, 1]);
        }
    }
    Tensor::from_i64s(old.dtype(), old.shape(), &numbers).ok()
}
