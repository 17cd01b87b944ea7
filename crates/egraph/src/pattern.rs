//! Rules as data: two functions of one list of parameters, and guards.

use std::collections::BTreeMap;

use mlc_ir::{FuncId, Function, NodeData, Op, Program, Trait, Value};
use mlc_tensor::Tensor;

use crate::build::Build;
use crate::matching::{Class, Found, Match};

/// What must hold of the values that a pattern's parameters stand for. A parameter is its position;
/// [`Guard::RESULT`] stands for what is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// It is a constant.
    Constant(usize),
    /// It is a constant of equal elements.
    Scalar(usize),
    /// It is of a floating-point type.
    Float(usize),
    /// Its extents are numbers.
    Static(usize),
    /// It has that many axes.
    Rank(usize, usize),
    /// It has that extent along an axis; negative ones count from the end.
    Extent(usize, i64, i64),
    /// Both have one type.
    SameType(usize, usize),
    /// Both have one element type.
    SameDtype(usize, usize),
}

impl Guard {
    /// The position that stands for the result.
    pub const RESULT: usize = usize::MAX;
}

/// Why two functions are no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A function is missing.
    #[error("there is no function `{0}`")]
    Missing(&'static str),
    /// Parameters differ.
    #[error("parameters of `before` and `after` differ")]
    Parameters,
    /// Not exactly one output.
    #[error("`{0}` has {1} outputs, one is needed")]
    Outputs(&'static str, usize),
    /// Types of the outputs differ.
    #[error("`before` gives {0}, `after` {1}")]
    Types(String, String),
    /// The output of the pattern is no op.
    #[error("`before` gives a parameter or a constant, an op is needed")]
    NoRoot,
    /// An op that patterns cannot have.
    #[error("`{0}` has regions, effects or several results; patterns have none of these")]
    Op(&'static str),
    /// A parameter of the pattern that does not occur in it.
    #[error("parameter `{0}` is not used in `before`")]
    Unused(String),
}

/// A pattern and what it is replaced by.
#[derive(Debug)]
pub struct Pattern {
    program: Program,
    before: FuncId,
    after: FuncId,
    guards: Vec<Guard>,
    root: &'static str,
}

impl Pattern {
    /// The rule that `before` of `program` is `after` of it, where `guards` hold.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn new(program: Program, guards: Vec<Guard>) -> Result<Self, PatternError> {
        let function = |name| program.function(name).ok_or(PatternError::Missing(name));
        let (before, after) = (function("before")?, function("after")?);
        let params = |func: FuncId| -> Vec<String> {
            program.functions[func].params.iter().map(|param| param.name.clone()).collect()
        };
        if params(before) != params(after) {
            return Err(PatternError::Parameters);
        }
        let outputs = [(before, "before"), (after, "after")].map(|(func, name)| {
            let function = &program.functions[func];
            match function.regions[function.body].results[..] {
                [one] => Ok((function.ty(one).clone(), one)),
                ref all => Err(PatternError::Outputs(name, all.len())),
            }
        });
        let [left, right] = outputs;
        let ((left, result), (right, _)) = (left?, right?);
        if left != right {
            return Err(PatternError::Types(left.to_string(), right.to_string()));
        }
        for func in [before, after] {
            check_ops(&program.functions[func])?;
        }
        let function = &program.functions[before];
        let root = match function.def(result) {
            Some((_, data)) if !matches!(data.op, Op::Const(_)) => data.op.spec().name,
            _ => return Err(PatternError::NoRoot),
        };
        let uses = mlc_ir::Uses::of(function);
        for (param, &arg) in function.params.iter().zip(&function.regions[function.body].args) {
            if uses.count(arg) == 0 {
                return Err(PatternError::Unused(param.name.clone()));
            }
        }
        Ok(Self { program, before, after, guards, root })
    }

    /// MIL's name of the op that it is tried on.
    #[must_use]
    pub fn root(&self) -> &'static str {
        self.root
    }

    /// The left side as a program of its own, on which the rule fires.
    #[must_use]
    pub fn template(&self) -> Program {
        let mut template = Program::new();
        template.symbols = self.program.symbols.clone();
        template.consts = self.program.consts.clone();
        let mut function = self.program.functions[self.before].clone();
        "main".clone_into(&mut function.name);
        // Locations are of the program that a function stands in.
        let unknown = template.intern_loc(mlc_diag::Loc::unknown());
        for node in function.regions[function.body].nodes.clone() {
            function.nodes[node].loc = unknown;
        }
        template.functions.push(function);
        template
    }

    /// What the op of a match is replaced by.
    pub(crate) fn apply(&self, m: &Match<'_>) -> Option<Build> {
        let function = &self.program.functions[self.before];
        let body = &function.regions[function.body];
        let mut bound = Bound::new();
        let (_, data) = function.def(*body.results.first()?)?;
        let search = Search { program: &self.program, function };
        if !search.op(data, &m.any(), &mut bound) {
            return None;
        }
        let at = |position: usize| match position {
            Guard::RESULT => Some(m.root()),
            position => bound.get(body.args.get(position)?).copied(),
        };
        if !self.guards.iter().all(|guard| holds(guard, &at).unwrap_or(false)) {
            return None;
        }
        self.built(m, &|position| at(position).map(Build::from))
    }

    fn built(&self, m: &Match<'_>, at: &dyn Fn(usize) -> Option<Build>) -> Option<Build> {
        let function = &self.program.functions[self.after];
        let body = &function.regions[function.body];
        let mut made: BTreeMap<Value, Build> = BTreeMap::new();
        for (position, &arg) in body.args.iter().enumerate() {
            made.insert(arg, at(position)?);
        }
        let dtype = m.ty()?.dtype;
        for &node in &body.nodes {
            let data = &function.nodes[node];
            let build = match self.program.constant_of(function, *data.results.first()?) {
                // Numbers are of the type of what is computed.
                Some(tensor) if tensor.dtype().is_float() && dtype.is_float() => {
                    m.constant(tensor.cast(dtype).ok()?)
                }
                Some(tensor) => m.constant(tensor.clone()),
                None => {
                    let mut slots = Vec::new();
                    for slot in 0..data.operands.slots() {
                        let values = data.operands.slot(slot).iter();
                        let builds = values.map(|value| made.get(value).cloned());
                        slots.push(builds.collect::<Option<Vec<_>>>()?);
                    }
                    Build::with_slots(data.op.clone(), slots)
                }
            };
            made.insert(*data.results.first()?, build);
        }
        made.get(body.results.first()?).cloned()
    }
}

fn check_ops(function: &Function) -> Result<(), PatternError> {
    for &node in &function.regions[function.body].nodes {
        let data = &function.nodes[node];
        let spec = data.op.spec();
        let plain = spec.traits.has(Trait::Pure) && data.regions.is_empty();
        if !plain || data.results.len() != 1 {
            return Err(PatternError::Op(spec.name));
        }
    }
    Ok(())
}

type Bound<'m> = BTreeMap<Value, Class<'m>>;

struct Search<'p> {
    program: &'p Program,
    function: &'p Function,
}

impl Search<'_> {
    /// Whether `found` is the op `data` of the pattern; binds parameters.
    fn op<'m>(&self, data: &NodeData, found: &Found<'m, Op>, bound: &mut Bound<'m>) -> bool {
        if *found.payload() != data.op {
            return false;
        }
        let slots: Vec<Vec<Class<'m>>> =
            (0..data.operands.slots()).map(|slot| found.operands(slot)).collect();
        let before = bound.clone();
        if self.slots(data, &slots, bound) {
            return true;
        }
        *bound = before.clone();
        if data.op.spec().traits.has(Trait::Commutative) && slots.len() == 2 {
            let swapped = [slots[1].clone(), slots[0].clone()];
            if self.slots(data, &swapped, bound) {
                return true;
            }
            *bound = before;
        }
        false
    }

    fn slots<'m>(&self, data: &NodeData, given: &[Vec<Class<'m>>], bound: &mut Bound<'m>) -> bool {
        given.iter().enumerate().all(|(slot, given)| {
            let wanted = data.operands.slot(slot);
            wanted.len() == given.len()
                && wanted.iter().zip(given).all(|(&value, &class)| self.value(value, class, bound))
        })
    }

    fn value<'m>(&self, value: Value, class: Class<'m>, bound: &mut Bound<'m>) -> bool {
        let Some((_, data)) = self.function.def(value) else {
            return *bound.entry(value).or_insert(class) == class;
        };
        if let Some(wanted) = self.program.constant_of(self.function, value) {
            return is_constant(class, wanted);
        }
        class.ops().iter().any(|found| self.op(data, found, bound))
    }
}

/// Whether a class is the constant of a pattern: of equal elements in any shape, or the same tensor.
fn is_constant(class: Class<'_>, wanted: &Tensor) -> bool {
    if let Some(number) = crate::constants::uniform(wanted) {
        return class.is(number);
    }
    let Some(tensor) = class.constant() else { return false };
    tensor.shape() == wanted.shape() && tensor.count() <= 64 && tensor.to_f64s() == wanted.to_f64s()
}

fn holds<'m>(guard: &Guard, at: &dyn Fn(usize) -> Option<Class<'m>>) -> Option<bool> {
    Some(match *guard {
        Guard::Constant(x) => at(x)?.constant().is_some(),
        Guard::Scalar(x) => at(x)?.scalar().is_some(),
        Guard::Float(x) => at(x)?.dtype()?.is_float(),
        Guard::Static(x) => at(x)?.static_shape().is_some(),
        Guard::Rank(x, rank) => at(x)?.rank() == rank,
        Guard::Extent(x, axis, extent) => {
            let shape = at(x)?.shape();
            let axis = mlc_ir::infer::normalize_axis(axis, shape.len()).ok()?;
            shape[axis].is(extent)
        }
        Guard::SameType(x, y) => at(x)?.ty() == at(y)?.ty(),
        Guard::SameDtype(x, y) => at(x)?.dtype() == at(y)?.dtype(),
    })
}
