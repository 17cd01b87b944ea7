//! Random programs, made from the op table.
//!
//! Operands and attributes are drawn by the kinds that the table and the signatures give them, and
//! an op that inference refuses is drawn again: what comes out is typed. Ops that need regions, lists,
//! states, stored weights or shapes that belong together are built by recipes. Extents may be symbols.
//! The same seed gives the same program.

mod recipes;

use mlc_ir::ops::specs;
use mlc_ir::{
    Arity, AttrKind, AttrSpec, AttrValue, Builder, Dim, F64, Function, Node, Op, OpSpec, Operands,
    Param, Program, SymbolRange, Trait, Type, Value,
};
use mlc_target::{OpSignature, Opset, ParamDtype};
use mlc_tensor::{DType, Tensor};

/// How often an op is drawn before another one is taken.
const TRIES: usize = 250;
/// Greatest value of a symbol.
const MAX_SYMBOL: i64 = 6;
/// Most elements of a value.
const MAX_ELEMENTS: i64 = 2048;
/// Most axes of a value.
const MAX_RANK: usize = 5;
/// Equations of `einsum` that Core ML has.
const EQUATIONS: [&str; 2] = ["nchw,nwhu->nchu", "chw,whr->chr"];

/// A program with one function `main` of about `ops` ops besides constants, all of whose values that
/// nothing uses are outputs.
#[must_use]
pub fn generate(seed: u64, ops: usize) -> Program {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let mut draw = Draw::new(seed);
    let mut values = Vec::new();
    let extents = [draw.extent(), draw.extent(), draw.extent()];
    let symbol = (draw.below(5) == 0).then(|| Dim::symbol("n"));
    if symbol.is_some() {
        program.symbols.declare("n", SymbolRange { min: 1, max: Some(MAX_SYMBOL) });
    }
    for i in 0..2 + draw.below(2) {
        let dtype = draw.one(&[DType::F32, DType::F32, DType::F16, DType::I32, DType::Bool]);
        let rank = draw.one(&[1, 2, 3, 4, 4, 5]);
        let mut shape: Vec<Dim> = (0..rank).map(|_| Dim::Const(draw.one(&extents))).collect();
        if let Some(symbol) = &symbol {
            let at = draw.below(rank);
            shape[at] = symbol.clone();
        }
        let ty = Type::tensor(dtype, shape);
        values.push(function.add_param(Param::input(format!("x{i}")), ty));
    }
    let func = program.functions.push(function);
    let candidates: Vec<&'static OpSpec> = specs().filter(|spec| spec.name != "const").collect();
    let mut builder = Builder::new(&mut program, func);
    let (mut outputs, mut has_classifier) = (Vec::new(), false);
    for _ in 0..ops {
        let spec = draw.one(&candidates);
        if let Some(recipe) = recipes::recipe(spec.name) {
            // A function has one classifier.
            let is_classifier = spec.name == "classify";
            if !is_classifier || !std::mem::replace(&mut has_classifier, true) {
                let made = cook(&mut builder, &mut draw, recipe, &values);
                values.extend(made.values);
                outputs.extend(made.outputs);
            }
            continue;
        }
        for _ in 0..TRIES {
            if let Some(node) = attempt(&mut builder, &mut draw, (spec, &extents), &values) {
                values.extend(builder.results(node));
                break;
            }
        }
    }
    let uses = mlc_ir::Uses::of(builder.function());
    outputs.extend(values.iter().copied().filter(|&v| uses.count(v) == 0));
    if outputs.is_empty() {
        outputs.extend(values.last());
    }
    for (i, value) in outputs.into_iter().enumerate() {
        builder.function_mut().add_output(format!("y{i}"), value);
    }
    program
}

/// What a recipe makes, on a copy of the program that takes its place if the recipe succeeds.
fn cook(
    b: &mut Builder<'_>,
    draw: &mut Draw,
    recipe: recipes::Recipe,
    values: &[Value],
) -> recipes::Made {
    let (mut trial, func) = (b.program.clone(), b.func);
    let made = {
        let mut b = Builder::new(&mut trial, func);
        recipe(&mut recipes::Kitchen { b: &mut b, draw, values })
    };
    match made {
        Ok(made) => {
            *b.program = trial;
            made
        }
        Err(_) => recipes::Made::default(),
    }
}

/// Appends an op of that kind with operands from `values` and new constants, if inference takes what
/// was drawn and the results are neither empty nor large.
fn attempt(
    b: &mut Builder<'_>,
    draw: &mut Draw,
    (spec, extents): (&'static OpSpec, &[i64]),
    values: &[Value],
) -> Option<Node> {
    let signature = mlc_target::signature(spec.name, Opset::Ios18)?;
    let mut planned: Vec<Vec<Operand>> = Vec::new();
    let mut drawing =
        Drawing { b, draw, extents, signature, values, domains: Vec::new(), first: None };
    for operand in spec.operands {
        let count = match operand.arity {
            Arity::One => 1,
            Arity::Opt => drawing.draw.below(2),
            Arity::Many => 1 + drawing.draw.below(3),
        };
        let mut slot = Vec::new();
        for _ in 0..count {
            slot.push(drawing.operand(operand.name)?);
        }
        planned.push(slot);
    }
    let rank = planned.iter().flatten().find_map(|operand| drawing.rank(operand)).unwrap_or(1);
    let mut attrs = spec.attrs.iter().map(|attr| attribute(draw, attr, rank)).collect::<Vec<_>>();
    if let (true, Some(seed)) =
        (spec.traits.has(Trait::Random), spec.attrs.iter().position(|attr| attr.name == "seed"))
    {
        // Without one, no two runs agree.
        attrs[seed] = Some(AttrValue::Int(draw.below(100) as i64));
    }
    let op = Op::from_attrs(spec.name, &attrs)?.ok()?;
    // On a copy, so that constants of what is refused are not left behind.
    let mut trial = b.program.clone();
    let (func, region) = (b.func, b.region);
    let node = {
        let mut trial = Builder::new(&mut trial, func);
        trial.region = region;
        let mut operands = Operands::new();
        for slot in planned {
            let mut given = Vec::new();
            for operand in slot {
                given.push(match operand {
                    Operand::Value(value) => value,
                    Operand::Constant(tensor) => trial.constant(tensor).ok()?,
                });
            }
            operands.push_slot(given);
        }
        let node = trial.push(op, operands, Vec::new()).ok()?;
        let fits = trial.results(node).iter().all(|&value| is_small(trial.ty(value)));
        fits.then_some(node)?
    };
    *b.program = trial;
    Some(node)
}

/// Whether the extents are numbers or follow from the symbol of the inputs, and there are neither none
/// nor many elements.
fn is_small(ty: &Type) -> bool {
    let Type::Tensor(ty) = ty else { return false };
    let mut is_known = true;
    let count = |n: i64| {
        let extents = ty
            .shape
            .iter()
            .map(|dim| dim.substitute(&|name| (name == "n").then_some(Dim::Const(n))).as_const());
        extents.collect::<Option<Vec<i64>>>().map(|extents| extents.iter().product::<i64>())
    };
    for n in [1, MAX_SYMBOL] {
        is_known &= count(n).is_some_and(|count| count > 0 && count <= MAX_ELEMENTS);
    }
    is_known && ty.rank() <= MAX_RANK
}

/// What an operand is to be.
enum Operand {
    Value(Value),
    Constant(Tensor),
}

/// Draws the operands of one op.
struct Drawing<'a, 'b> {
    b: &'a Builder<'b>,
    draw: &'a mut Draw,
    extents: &'a [i64],
    signature: &'static OpSignature,
    values: &'a [Value],
    /// Element types that domains have already.
    domains: Vec<(&'static str, DType)>,
    /// The shape of the first operand.
    first: Option<Vec<u64>>,
}

impl Drawing<'_, '_> {
    fn operand(&mut self, name: &str) -> Option<Operand> {
        let param = self.signature.param(name)?;
        let mut allowed: Vec<DType> = match self.signature.allowed(param) {
            Some(allowed) => {
                let taken = DType::all().filter(|&d| {
                    mlc_coreml::dtype::data_type(d).is_some_and(|d| allowed.contains(&d))
                });
                taken.collect()
            }
            None => vec![DType::F32, DType::F16, DType::I32, DType::Bool],
        };
        if let ParamDtype::Domain(id) = param.dtype
            && let Some((_, dtype)) = self.domains.iter().find(|(domain, _)| *domain == id)
        {
            allowed = vec![*dtype];
        }
        let fits = |&&value: &&Value| {
            self.b.ty(value).as_tensor().is_some_and(|ty| allowed.contains(&ty.dtype))
        };
        let values: Vec<Value> = self.values.iter().filter(fits).copied().collect();
        let is_computed = !param.constant && !values.is_empty() && self.draw.below(4) > 0;
        let (operand, dtype) = if is_computed {
            let alike =
                |&value: &Value| self.static_shape(value).is_some_and(|s| self.first == Some(s));
            let alike: Vec<Value> = values.iter().copied().filter(alike).collect();
            let prefers_alike = !alike.is_empty() && self.draw.below(2) == 0;
            let value = self.draw.one(if prefers_alike { &alike } else { &values });
            (Operand::Value(value), self.b.tensor(value).ok()?.dtype)
        } else {
            let usual = [DType::F32, DType::F16, DType::I32, DType::Bool, DType::I8, DType::U8];
            let usual: Vec<DType> = usual.into_iter().filter(|d| allowed.contains(d)).collect();
            let dtype = if usual.is_empty() { *allowed.first()? } else { self.draw.one(&usual) };
            (Operand::Constant(self.constant(dtype)?), dtype)
        };
        if let ParamDtype::Domain(id) = param.dtype {
            self.domains.push((id, dtype));
        }
        if self.first.is_none() {
            self.first = match &operand {
                Operand::Value(value) => self.static_shape(*value),
                Operand::Constant(tensor) => Some(tensor.shape().to_vec()),
            };
        }
        Some(operand)
    }

    fn static_shape(&self, value: Value) -> Option<Vec<u64>> {
        self.b.ty(value).as_tensor()?.static_shape()
    }

    /// A constant of rank 0 to 5, often of a shape that goes with the first operand; integers are small and seldom negative, so that they can be extents,
    /// bounds and indices.
    fn constant(&mut self, dtype: DType) -> Option<Tensor> {
        let rank = self.draw.one(&[0, 1, 1, 1, 2, 3, 4, 5]);
        let extent = |draw: &mut Draw| match draw.below(4) {
            0 => draw.extent(),
            _ => draw.one(self.extents),
        };
        let shape: Vec<u64> = match (&self.first, self.draw.below(2)) {
            // Bounds of slices and repetitions have a number for each axis.
            (Some(first), 0) if dtype.is_int() => vec![first.len() as u64],
            (Some(first), 0) => first.clone(),
            _ => (0..rank).map(|_| extent(self.draw) as u64).collect(),
        };
        let count = shape.iter().product::<u64>() as usize;
        if count > MAX_ELEMENTS as usize {
            return None;
        }
        let low = if dtype.is_int() && self.draw.below(6) == 0 { -1 } else { 0 };
        let number = |draw: &mut Draw| match () {
            () if dtype == DType::Bool => draw.below(2) as f64,
            () if dtype.is_float() => draw.float(),
            () => (low + draw.below(4) as i64) as f64,
        };
        let numbers: Vec<f64> = (0..count).map(|_| number(self.draw)).collect();
        Tensor::from_f64s(dtype, &shape, &numbers).ok()
    }

    fn rank(&self, operand: &Operand) -> Option<usize> {
        match operand {
            Operand::Value(value) => Some(self.b.tensor(*value).ok()?.rank()),
            Operand::Constant(tensor) => Some(tensor.shape().len()),
        }
    }
}

/// A value of the kind, or none for the default.
fn attribute(draw: &mut Draw, attr: &AttrSpec, rank: usize) -> Option<AttrValue> {
    if !attr.required && draw.below(2) == 0 {
        return None;
    }
    let length = |draw: &mut Draw| match draw.below(4) {
        0 => draw.below(rank.max(1)),
        1 => 2 * rank.saturating_sub(2),
        2 => rank.saturating_sub(2),
        _ => rank,
    };
    Some(match attr.kind {
        AttrKind::Int | AttrKind::OptInt => AttrValue::Int(draw.int()),
        AttrKind::Float | AttrKind::OptFloat => AttrValue::Float(F64(draw.float())),
        AttrKind::Bool | AttrKind::OptBool => AttrValue::Bool(draw.below(2) == 1),
        AttrKind::Ints | AttrKind::OptInts if draw.below(4) == 0 => {
            AttrValue::Ints(draw.permutation(rank))
        }
        AttrKind::Ints | AttrKind::OptInts => {
            AttrValue::Ints((0..length(draw)).map(|_| draw.int()).collect())
        }
        AttrKind::Bools => {
            AttrValue::Bools((0..length(draw)).map(|_| draw.below(2) == 1).collect())
        }
        AttrKind::DType => AttrValue::DType(draw.one(&[
            DType::F32,
            DType::F16,
            DType::I32,
            DType::Bool,
            DType::U8,
        ])),
        AttrKind::Word(words) => AttrValue::Word(draw.one(words)),
        AttrKind::Str => AttrValue::Str(draw.one(&EQUATIONS).to_owned()),
        AttrKind::Strs | AttrKind::Const => return None,
    })
}

/// A sequence of numbers from a seed (SplitMix64).
struct Draw(u64);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for `n` = 0.
    fn below(&mut self, n: usize) -> usize {
        self.next().checked_rem(n as u64).unwrap_or(0) as usize
    }

    fn one<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn extent(&mut self) -> i64 {
        self.one(&[1, 2, 3, 4, 6, 8])
    }

    fn int(&mut self) -> i64 {
        self.one(&[-2, -1, 0, 0, 1, 1, 1, 2, 2, 3, 4])
    }

    fn float(&mut self) -> f64 {
        self.one(&[-1.5, -0.5, 0.0, 0.125, 0.25, 0.5, 1.0, 1.0, 2.0, 3.0])
    }

    fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut items: Vec<i64> = (0..n as i64).collect();
        for i in (1..n).rev() {
            items.swap(i, self.below(i + 1));
        }
        items
    }
}
