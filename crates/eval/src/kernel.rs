//! What a kernel sees and gives.

use mlc_ir::{Function, NodeData, Type, Value};
use mlc_tensor::{DType, TensorError};

use crate::array::Array;
use crate::interp::{EvalValue, Evaluator, States};

/// Why evaluation stopped.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Something the evaluator does not compute.
    #[error("{0}")]
    Unsupported(String),
    /// Operand values for which the op is not defined, such as an index out of range.
    #[error("{0}")]
    Undefined(String),
    /// Inputs that do not fit the function.
    #[error("{0}")]
    BadInput(String),
    /// A fault of the evaluator or an invalid program.
    #[error("{0}")]
    Internal(String),
    /// A constant that cannot be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The tensor library's.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An error in an op, with its name.
    #[error("`{op}`: {error}")]
    InOp {
        /// The op.
        op: &'static str,
        /// Its location, as text.
        at: String,
        /// What happened.
        error: Box<EvalError>,
    },
}

impl EvalError {
    /// Something the evaluator does not compute.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }

    /// Operand values for which the op is not defined.
    pub fn undefined(message: impl Into<String>) -> Self {
        Self::Undefined(message.into())
    }

    /// A fault of the evaluator or an invalid program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }
}

/// The results of an op.
pub type Outputs = Vec<EvalValue>;

/// The reference kernel of an op; implemented for each payload type.
pub trait Kernel {
    /// Computes the results from the operands in `cx`.
    ///
    /// # Errors
    /// See [`EvalError`].
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError>;
}

/// The operands of one op and what it needs of its surroundings.
pub struct KernelCx<'a, 'e> {
    pub(crate) evaluator: &'a mut Evaluator<'e>,
    pub(crate) function: &'a Function,
    pub(crate) node: &'a NodeData,
    pub(crate) operands: Vec<Vec<EvalValue>>,
    pub(crate) states: &'a mut States,
}

impl KernelCx<'_, '_> {
    fn slot(&self, name: &str) -> &[EvalValue] {
        self.node
            .op
            .spec()
            .operand(name)
            .and_then(|i| self.operands.get(i))
            .map_or(&[], Vec::as_slice)
    }

    /// The value of a slot.
    ///
    /// # Errors
    /// It has none.
    pub fn value(&self, name: &str) -> Result<&EvalValue, EvalError> {
        self.slot(name)
            .first()
            .ok_or_else(|| EvalError::internal(format!("operand `{name}` is missing")))
    }

    /// The values of a slot that takes many.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<EvalValue> {
        self.slot(name).to_vec()
    }

    /// The array of a slot.
    ///
    /// # Errors
    /// It has none, or another kind of value.
    pub fn array(&self, name: &str) -> Result<&Array, EvalError> {
        self.value(name)?.array()
    }

    /// The array of an optional slot.
    ///
    /// # Errors
    /// It has another kind of value.
    pub fn opt_array(&self, name: &str) -> Result<Option<&Array>, EvalError> {
        self.slot(name).first().map(EvalValue::array).transpose()
    }

    /// The arrays of a slot that takes many.
    ///
    /// # Errors
    /// One is another kind of value.
    pub fn arrays(&self, name: &str) -> Result<Vec<&Array>, EvalError> {
        self.slot(name).iter().map(EvalValue::array).collect()
    }

    /// The declared element type of result `index`.
    ///
    /// # Errors
    /// There is no such tensor result.
    pub fn result_dtype(&self, index: usize) -> Result<DType, EvalError> {
        self.result_type(index)?
            .as_tensor()
            .map(|ty| ty.dtype)
            .ok_or_else(|| EvalError::internal(format!("result {index} is no tensor")))
    }

    /// The declared type of result `index`.
    ///
    /// # Errors
    /// There is no such result.
    pub fn result_type(&self, index: usize) -> Result<&Type, EvalError> {
        self.node
            .results
            .get(index)
            .map(|&value| self.function.ty(value))
            .ok_or_else(|| EvalError::internal(format!("no result {index}")))
    }

    /// One result: `data` rounded to the declared element type.
    ///
    /// # Errors
    /// Candle's.
    pub fn one(&self, data: candle_core::Tensor) -> Result<Outputs, EvalError> {
        Ok(vec![Array::new(self.result_dtype(0)?, data)?.into()])
    }

    /// One result: floats rounded to the declared element type.
    ///
    /// # Errors
    /// The count is not that of the shape.
    pub fn one_f32s(&self, shape: &[usize], values: Vec<f32>) -> Result<Outputs, EvalError> {
        Ok(vec![Array::from_f32s(self.result_dtype(0)?, shape, values)?.into()])
    }

    /// One result: doubles rounded to the declared element type.
    ///
    /// # Errors
    /// The count is not that of the shape.
    pub fn one_f64s(&self, shape: &[usize], values: Vec<f64>) -> Result<Outputs, EvalError> {
        Ok(vec![Array::from_f64s(self.result_dtype(0)?, shape, values)?.into()])
    }

    /// One result: integers wrapped to the declared element type.
    ///
    /// # Errors
    /// The count is not that of the shape.
    pub fn one_i64s(&self, shape: &[usize], values: Vec<i64>) -> Result<Outputs, EvalError> {
        Ok(vec![Array::from_i64s(self.result_dtype(0)?, shape, values)?.into()])
    }

    /// Runs nested region `index` with `args` for its arguments, and gives what it yields.
    ///
    /// # Errors
    /// What an op in it gives.
    pub fn run_region(&mut self, index: usize, args: Vec<EvalValue>) -> Result<Outputs, EvalError> {
        let region = *self
            .node
            .regions
            .get(index)
            .ok_or_else(|| EvalError::internal(format!("no region {index}")))?;
        self.evaluator.run_region(region, args, self.states)
    }

    /// How often this was asked before in the run: what tells random ops without a seed apart.
    pub fn next_draw(&mut self) -> u64 {
        self.evaluator.next_draw()
    }

    /// The tensor that a state holds.
    ///
    /// # Errors
    /// There is no such state.
    pub fn read_state(&self, name: &str) -> Result<Array, EvalError> {
        let key = self.state_key(name)?;
        self.states
            .get(&key)
            .cloned()
            .ok_or_else(|| EvalError::internal(format!("no state `{key}`")))
    }

    /// Stores a tensor in a state.
    ///
    /// # Errors
    /// The operand is no state.
    pub fn write_state(&mut self, name: &str, array: Array) -> Result<(), EvalError> {
        let key = self.state_key(name)?;
        self.states.insert(key, array);
        Ok(())
    }

    fn state_key(&self, name: &str) -> Result<String, EvalError> {
        match self.value(name)? {
            EvalValue::State(key) => Ok(key.clone()),
            _ => Err(EvalError::internal(format!("operand `{name}` is no state"))),
        }
    }

    /// The constants and symbols around; for kernels that read a constant lazily.
    #[must_use]
    pub fn program(&self) -> &mlc_ir::Program {
        self.evaluator.program()
    }

    /// The values of the operand slots, by position in the entry.
    #[must_use]
    pub fn operand_ids(&self, slot: usize) -> &[Value] {
        self.node.operands.slot(slot)
    }
}
