//! The inputs and attributes of one node, and which attributes were read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use mlc_ir::Value;
use mlc_tensor::DType;

use super::error::{LowerError, LowerResult};
use super::value::{List, Val};
use crate::dtype::data_type;
use crate::graph::attr::PartialShape;
use crate::graph::{Attr, Graph, Node};

/// Attributes that cannot change the result of any op.
const HARMLESS: &[&str] = &[
    "use_locking",
    "validate_shape",
    "swap_memory",
    "parallel_iterations",
    "use_cudnn_on_gpu",
    "config",
    "config_proto",
    "executor_type",
    "is_training_only",
    "output_shapes",
    "shape_and_slices",
    "debug_name",
    "allowed_devices",
    "container",
    "is_stateless",
    "num_original_outputs",
    "name",
    "tensor_array_name",
    "lower_using_switch_merge",
    "grad_a",
    "grad_b",
    "grad_x",
    "grad_y",
    "identical_element_shapes",
    "clear_after_read",
];

/// A call of an op. Every attribute must be read: what a lowering does not look at is an error
/// (`unread-argument`). Attributes that hold element types are exempt, for inputs have theirs, and so
/// are those that hold nothing, and those whose name begins with an underscore, which only annotate.
#[derive(Debug)]
pub struct Call<'a> {
    /// The op.
    pub op: &'a str,
    /// The node's name.
    pub name: &'a str,
    inputs: Vec<Val>,
    attrs: &'a BTreeMap<String, Attr>,
    read: Rc<RefCell<BTreeSet<&'a str>>>,
}

impl<'a> Call<'a> {
    /// The call that `node` makes with these inputs.
    #[must_use]
    pub fn new(node: &'a Node, inputs: Vec<Val>) -> Self {
        Self { op: &node.op, name: &node.name, inputs, attrs: &node.attrs, read: Rc::default() }
    }

    /// The same call with other inputs; attributes that it reads count as read here.
    #[must_use]
    pub fn with_inputs(&self, inputs: Vec<Val>) -> Self {
        let read = Rc::clone(&self.read);
        Self { op: self.op, name: self.name, inputs, attrs: self.attrs, read }
    }

    /// All inputs.
    #[must_use]
    pub fn inputs(&self) -> &[Val] {
        &self.inputs
    }

    /// Input number `index`.
    ///
    /// # Errors
    /// There is none.
    pub fn input(&self, index: usize) -> LowerResult<&Val> {
        self.inputs
            .get(index)
            .ok_or_else(|| LowerError::invalid(format!("input {index} is missing")))
    }

    /// Whether there is an input of that number.
    #[must_use]
    pub fn has_input(&self, index: usize) -> bool {
        index < self.inputs.len()
    }

    /// Input number `index`, a tensor.
    ///
    /// # Errors
    /// There is none, or it is something else.
    pub fn tensor(&self, index: usize) -> LowerResult<Value> {
        match self.input(index)? {
            Val::Tensor(value) => Ok(*value),
            Val::Complex(..) => {
                Err(LowerError::dtype(format!("input {index} is complex, which has no lowering")))
            }
            other => Err(wrong(index, other, "a tensor")),
        }
    }

    /// Input number `index`, a list.
    ///
    /// # Errors
    /// There is none, or it is something else.
    pub fn list(&self, index: usize) -> LowerResult<&List> {
        match self.input(index)? {
            Val::List(list) => Ok(list),
            other => Err(wrong(index, other, "a list")),
        }
    }

    /// Inputs from number `from` on, all tensors.
    ///
    /// # Errors
    /// One is something else.
    pub fn tensors(&self, from: usize) -> LowerResult<Vec<Value>> {
        (from..self.inputs.len()).map(|index| self.tensor(index)).collect()
    }

    /// The attribute of that name.
    #[must_use]
    pub fn attr(&self, name: &str) -> Option<&'a Attr> {
        let (key, attr) = self.attrs.get_key_value(name)?;
        self.read.borrow_mut().insert(key.as_str());
        Some(attr)
    }

    /// Marks attributes as read that cannot change the result.
    pub fn ignore(&self, names: &[&str]) {
        for name in names {
            let _ = self.attr(name);
        }
    }

    /// The names of attributes that nobody read.
    #[must_use]
    pub fn unread(&self) -> Vec<&'a str> {
        let read = self.read.borrow();
        self.attrs
            .iter()
            .filter(|(name, attr)| {
                !name.starts_with('_')
                    && !HARMLESS.contains(&name.as_str())
                    && !matches!(
                        attr,
                        Attr::Type(_) | Attr::Types(_) | Attr::Parameter(_) | Attr::Empty
                    )
                    && !read.contains(name.as_str())
            })
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// An integer attribute, with its default.
    ///
    /// # Errors
    /// It is something else.
    pub fn int_or(&self, name: &str, default: i64) -> LowerResult<i64> {
        match self.attr(name) {
            None => Ok(default),
            Some(Attr::Int(n)) => Ok(*n),
            Some(_) => Err(ill_typed(name, "an int")),
        }
    }

    /// An integer attribute.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn int(&self, name: &str) -> LowerResult<i64> {
        match self.attr(name) {
            Some(Attr::Int(n)) => Ok(*n),
            _ => Err(ill_typed(name, "an int")),
        }
    }

    /// A float attribute, with its default.
    ///
    /// # Errors
    /// It is something else.
    pub fn float_or(&self, name: &str, default: f64) -> LowerResult<f64> {
        match self.attr(name) {
            None => Ok(default),
            Some(Attr::Float(x)) => Ok(f64::from(*x)),
            Some(_) => Err(ill_typed(name, "a float")),
        }
    }

    /// A truth value, with its default.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool_or(&self, name: &str, default: bool) -> LowerResult<bool> {
        match self.attr(name) {
            None => Ok(default),
            Some(Attr::Bool(b)) => Ok(*b),
            Some(_) => Err(ill_typed(name, "a bool")),
        }
    }

    /// A text attribute, with its default.
    ///
    /// # Errors
    /// It is something else.
    pub fn text_or(&self, name: &str, default: &'a str) -> LowerResult<&'a str> {
        match self.attr(name) {
            None => Ok(default),
            Some(Attr::Text(text)) => {
                std::str::from_utf8(text).map_err(|_| ill_typed(name, "UTF-8 text"))
            }
            Some(_) => Err(ill_typed(name, "text")),
        }
    }

    /// A list of integers; empty where it is missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn ints(&self, name: &str) -> LowerResult<Vec<i64>> {
        match self.attr(name) {
            None | Some(Attr::Empty) => Ok(Vec::new()),
            Some(Attr::Ints(list)) => Ok(list.clone()),
            Some(_) => Err(ill_typed(name, "a list of ints")),
        }
    }

    /// A list of floats; empty where it is missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn floats(&self, name: &str) -> LowerResult<Vec<f64>> {
        match self.attr(name) {
            None | Some(Attr::Empty) => Ok(Vec::new()),
            Some(Attr::Floats(list)) => Ok(list.iter().map(|&x| f64::from(x)).collect()),
            Some(_) => Err(ill_typed(name, "a list of floats")),
        }
    }

    /// A list of texts; empty where it is missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, name: &str) -> LowerResult<Vec<&'a str>> {
        match self.attr(name) {
            None | Some(Attr::Empty) => Ok(Vec::new()),
            Some(Attr::Texts(list)) => list
                .iter()
                .map(|text| std::str::from_utf8(text).map_err(|_| ill_typed(name, "UTF-8 texts")))
                .collect(),
            Some(_) => Err(ill_typed(name, "a list of texts")),
        }
    }

    /// A shape; of unknown rank where it is missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn shape(&self, name: &str) -> LowerResult<PartialShape> {
        match self.attr(name) {
            None | Some(Attr::Empty) => Ok(None),
            Some(Attr::Shape(shape)) => Ok(shape.clone()),
            Some(_) => Err(ill_typed(name, "a shape")),
        }
    }

    /// An element type.
    ///
    /// # Errors
    /// It is missing, not supported or something else.
    pub fn dtype(&self, name: &str) -> LowerResult<DType> {
        match self.attr(name) {
            Some(Attr::Type(number)) => {
                data_type(*number).map_err(|error| LowerError::dtype(error.to_string()))
            }
            _ => Err(ill_typed(name, "an element type")),
        }
    }

    /// An element type, with its default.
    ///
    /// # Errors
    /// It is not supported or something else.
    pub fn dtype_or(&self, name: &str, default: DType) -> LowerResult<DType> {
        if self.attrs.contains_key(name) { self.dtype(name) } else { Ok(default) }
    }

    /// A graph that the node holds or calls.
    pub(super) fn graph(
        &self,
        name: &str,
        library: &crate::graph::Library,
    ) -> LowerResult<Arc<Graph>> {
        match self.attr(name) {
            Some(Attr::Graph(graph)) => Ok(Arc::clone(graph)),
            Some(Attr::Func(function)) => library
                .get(function)
                .cloned()
                .ok_or_else(|| LowerError::invalid(format!("there is no function `{function}`"))),
            _ => Err(ill_typed(name, "a function")),
        }
    }
}

fn wrong(index: usize, val: &Val, want: &str) -> LowerError {
    LowerError::argument(format!("input {index} is {}, {want} is needed", val.kind()))
}

fn ill_typed(name: &str, want: &str) -> LowerError {
    LowerError::invalid(format!("attribute `{name}` is not {want}"))
}
