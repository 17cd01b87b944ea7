//! Walks a function op by op.

use std::collections::BTreeMap;

use mlc_ir::{EntityId, FuncId, Function, NodeData, Op, ParamKind, Program, Region, Type, Value};
use mlc_tensor::Tensor;

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// A value while a function runs.
#[derive(Debug, Clone)]
pub enum EvalValue {
    /// A tensor.
    Array(Array),
    /// A list of tensors; none where no element was written.
    List(Vec<Option<Array>>),
    /// The state of that name.
    State(String),
    /// Strings, such as the label that `classify` gives.
    Strs(Vec<String>),
    /// A dictionary from labels to numbers, in order.
    Dict(Vec<(String, f64)>),
}

impl EvalValue {
    /// The array.
    ///
    /// # Errors
    /// It is another kind of value.
    pub fn array(&self) -> Result<&Array, EvalError> {
        match self {
            Self::Array(array) => Ok(array),
            _ => Err(EvalError::internal("a tensor is needed")),
        }
    }
}

impl From<Array> for EvalValue {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

/// The tensors that states hold, by name of the state.
pub type States = BTreeMap<String, Array>;

/// Sees each op's results as they are made.
pub type Observer<'o> = dyn FnMut(Value, &EvalValue) + 'o;

/// Elements from which on a constant is made where it is used and not kept, so that one op's weights are
/// in memory and not those of all.
const LATE: usize = 1 << 12;

/// Runs one function of a program.
pub struct Evaluator<'e> {
    program: &'e Program,
    function: &'e Function,
    values: Vec<Option<EvalValue>>,
    uses_left: Vec<u32>,
    depth: u32,
    draws: u64,
    observer: Option<Box<Observer<'e>>>,
}

impl<'e> Evaluator<'e> {
    /// An evaluator of `func`.
    #[must_use]
    pub fn new(program: &'e Program, func: FuncId) -> Self {
        let function = &program.functions[func];
        Self {
            program,
            function,
            values: vec![None; function.values.len()],
            uses_left: Vec::new(),
            depth: 0,
            draws: 0,
            observer: None,
        }
    }

    /// Shows each result to `observer` as it is made; large constants are made for each op that takes
    /// them.
    #[must_use]
    pub fn observed(mut self, observer: impl FnMut(Value, &EvalValue) + 'e) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &'e Program {
        self.program
    }

    /// States as a program starts with them: zeros.
    ///
    /// # Errors
    /// A state has a symbolic extent or an element type that cannot be evaluated.
    pub fn initial_states(&self) -> Result<States, EvalError> {
        let body = &self.function.regions[self.function.body];
        let mut states = States::new();
        for (param, &arg) in self.function.params.iter().zip(&body.args) {
            if let Type::State(ty) = self.function.ty(arg) {
                let shape = ty.static_shape().ok_or_else(|| {
                    EvalError::unsupported(format!("state `{}` has a symbolic extent", param.name))
                })?;
                let zero = vec![0; ty.dtype.size().unwrap_or(1)];
                let zeros = Tensor::splat(ty.dtype, &shape, &zero)?;
                states.insert(param.name.clone(), Array::from_tensor(&zeros)?);
            }
        }
        Ok(states)
    }

    /// Runs the function. `inputs` are the values of its parameters that are not states, in order;
    /// they are cast to the declared element types.
    ///
    /// # Errors
    /// Inputs that do not fit, or an op that cannot be evaluated.
    pub fn run(&mut self, inputs: &[Array], states: &mut States) -> Result<Outputs, EvalError> {
        let mut given = inputs.iter();
        let body = &self.function.regions[self.function.body];
        let mut args = Vec::new();
        for (param, &arg) in self.function.params.iter().zip(&body.args) {
            args.push(match param.kind {
                ParamKind::State => EvalValue::State(param.name.clone()),
                ParamKind::Input => {
                    let input = given.next().ok_or_else(|| {
                        EvalError::BadInput(format!("input `{}` is missing", param.name))
                    })?;
                    self.check_input(&param.name, arg, input)?.into()
                }
            });
        }
        if given.next().is_some() {
            return Err(EvalError::BadInput(format!("{} inputs are too many", inputs.len())));
        }
        self.count_uses();
        self.draws = 0;
        self.run_region(self.function.body, args, states)
    }

    fn check_input(&self, name: &str, arg: Value, input: &Array) -> Result<Array, EvalError> {
        let ty = self.function.ty(arg).as_tensor().ok_or_else(|| {
            EvalError::unsupported(format!("input `{name}` is {}", self.function.ty(arg)))
        })?;
        let fits = ty.rank() == input.rank()
            && ty.shape.iter().zip(input.shape()).all(|(dim, &n)| match dim.as_const() {
                Some(d) => d == n as i64,
                None => {
                    let (low, high) = self.program.symbols.bounds(dim);
                    low.is_none_or(|l| n as i64 >= l) && high.is_none_or(|h| n as i64 <= h)
                }
            });
        if !fits {
            let message = format!("input `{name}` is {:?}, {ty} is needed", input.shape());
            return Err(EvalError::BadInput(message));
        }
        input.cast(ty.dtype)
    }

    /// How often this was asked before in the run: what tells ops without a seed apart.
    pub(crate) fn next_draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws - 1
    }

    fn count_uses(&mut self) {
        let uses = mlc_ir::Uses::of(self.function);
        // Values of the body that nested regions use are kept until the end: they are counted as
        // used once more than they are.
        let mut counts = vec![0u32; self.function.values.len()];
        for (value, _) in self.function.values.iter() {
            counts[value.index()] = uses.count(value) as u32;
        }
        self.function.for_each_node(&mut |region, node| {
            if region != self.function.body {
                for &operand in self.function.nodes[node].operands.all() {
                    counts[operand.index()] += 1;
                }
            }
        });
        self.uses_left = counts;
    }

    /// Runs a region with `args` for its arguments.
    pub(crate) fn run_region(
        &mut self,
        region: Region,
        args: Outputs,
        states: &mut States,
    ) -> Result<Outputs, EvalError> {
        if self.depth > 64 {
            return Err(EvalError::unsupported("regions are nested more than 64 deep"));
        }
        let function = self.function;
        let data = &function.regions[region];
        if data.args.len() != args.len() {
            return Err(EvalError::internal("arguments do not match the region"));
        }
        for (&arg, value) in data.args.iter().zip(args) {
            self.values[arg.index()] = Some(value);
        }
        self.depth += 1;
        for &node in &data.nodes {
            let node = &function.nodes[node];
            if self.late(&node.op).is_some() {
                continue;
            }
            let outputs = self.run_node(node, states).map_err(|error| match error {
                error @ (EvalError::InOp { .. } | EvalError::BadInput(_)) => error,
                error => EvalError::InOp {
                    op: node.op.spec().name,
                    at: self.program.loc(node.loc).to_string(),
                    error: Box::new(error),
                },
            })?;
            for (&result, output) in node.results.iter().zip(outputs) {
                if let Some(observer) = &mut self.observer {
                    observer(result, &output);
                }
                self.values[result.index()] = Some(output);
            }
            if region == function.body {
                self.release(node);
            }
        }
        self.depth -= 1;
        data.results.iter().map(|&result| self.get(result)).collect()
    }

    /// The constant that `op` stands for, if it is made late.
    fn late(&self, op: &Op) -> Option<&'e Tensor> {
        let Op::Const(payload) = op else { return None };
        self.program.consts.try_get(payload.value).filter(|tensor| tensor.count() >= LATE)
    }

    fn get(&mut self, value: Value) -> Result<EvalValue, EvalError> {
        if let Some(known) = &self.values[value.index()] {
            return Ok(known.clone());
        }
        let function = self.function;
        let late = function.def(value).and_then(|(_, data)| self.late(&data.op));
        let tensor = late.ok_or_else(|| EvalError::internal(format!("{value:?} has no value")))?;
        let made = EvalValue::from(Array::from_tensor(tensor)?);
        tensor.release();
        check_result(function.ty(value), &made)?;
        if let Some(observer) = &mut self.observer {
            observer(value, &made);
        }
        if self.depth > 1 {
            // Regions run again and again.
            self.values[value.index()] = Some(made.clone());
        }
        Ok(made)
    }

    fn release(&mut self, node: &NodeData) {
        for &operand in node.operands.all() {
            let left = &mut self.uses_left[operand.index()];
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.values[operand.index()] = None;
            }
        }
        for &result in &node.results {
            if self.uses_left[result.index()] == 0 {
                self.values[result.index()] = None;
            }
        }
    }

    fn run_node(&mut self, node: &NodeData, states: &mut States) -> Result<Outputs, EvalError> {
        let slots = node.operands.slots();
        let operands = (0..slots)
            .map(|i| node.operands.slot(i).iter().map(|&v| self.get(v)).collect())
            .collect::<Result<Vec<Vec<_>>, _>>()?;
        let function = self.function;
        let mut cx = KernelCx { evaluator: self, function, node, operands, states };
        let outputs = dispatch(&node.op, &mut cx)?;
        if outputs.len() != node.results.len() {
            let message = format!("{} results, {} needed", outputs.len(), node.results.len());
            return Err(EvalError::internal(message));
        }
        for (&result, output) in node.results.iter().zip(&outputs) {
            check_result(function.ty(result), output)?;
        }
        Ok(outputs)
    }
}

/// The declared type of a result must hold for what was computed: a check of inference.
fn check_result(ty: &Type, output: &EvalValue) -> Result<(), EvalError> {
    let (Type::Tensor(ty), EvalValue::Array(array)) = (ty, output) else { return Ok(()) };
    let fits = ty.dtype == array.dtype()
        && ty.rank() == array.rank()
        && ty
            .shape
            .iter()
            .zip(array.shape())
            .all(|(dim, &n)| dim.as_const().is_none_or(|d| d == n as i64));
    if fits {
        Ok(())
    } else {
        let message =
            format!("computed {:?} of {}, {ty} is declared", array.shape(), array.dtype());
        Err(EvalError::internal(message))
    }
}

macro_rules! dispatch_all {
    ($($Name:ident)*) => {
        fn dispatch(op: &Op, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
            match op { $(Op::$Name(payload) => payload.eval(cx),)* }
        }
    };
}
mlc_ir::for_each_op!(dispatch_all);

/// The results of one op on constant operands: how constants are folded. `operands` are given slot
/// by slot.
///
/// # Errors
/// The op has regions or effects, or cannot be evaluated.
pub fn fold(op: &Op, operands: &[Vec<Tensor>]) -> Result<Vec<Tensor>, EvalError> {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("fold"));
    let mut builder = mlc_ir::Builder::new(&mut program, func);
    let mut slots = mlc_ir::Operands::new();
    for slot in operands {
        let values = slot
            .iter()
            .map(|tensor| builder.constant(tensor.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| EvalError::internal(e.to_string()))?;
        slots.push_slot(values);
    }
    let node = builder
        .push(op.clone(), slots, Vec::new())
        .map_err(|e| EvalError::internal(e.to_string()))?;
    for (i, value) in builder.results(node).to_vec().into_iter().enumerate() {
        builder.function_mut().add_output(format!("y{i}"), value);
    }
    let outputs = Evaluator::new(&program, func).run(&[], &mut States::new())?;
    outputs.iter().map(|output| output.array()?.to_tensor()).collect()
}
