//! The parts of an archive that lowering reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use mlc_tensor::Tensor;

use super::source::Sources;
use crate::archive::Archive;
use crate::pickle::{Pickle, Value, ValueId};
use crate::torch_save::{TensorReader, WeightError};

/// A pickle and the folder of its storages.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) pickle: Pickle,
    /// Ends in `/`.
    pub(crate) folder: String,
}

/// What an archive of `torch.jit.save` holds.
#[derive(Debug)]
pub struct ScriptModule {
    pub(crate) archive: Archive,
    pub(crate) data: Part,
    pub(crate) constants: Part,
    /// Inputs that the trace was made with.
    pub(crate) traced: Option<Part>,
    pub(crate) sources: Sources,
    /// Version of the format.
    pub(crate) version: u32,
}

/// An object of `data.pkl`: its class and its attributes.
pub(crate) struct Stored<'m> {
    pub(crate) class: String,
    pub(crate) attributes: &'m [(ValueId, ValueId)],
}

impl ScriptModule {
    /// The version of the archive's format.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Name of the file.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        self.archive.name()
    }

    /// The names of the inputs of `forward`, if it has `count` of them; those of the arguments alone
    /// are told where it has another number.
    #[must_use]
    pub fn input_names(&self, count: usize) -> Vec<String> {
        let Ok(forward) = super::interp::forward(self) else { return Vec::new() };
        let parameters = forward.function.parameters.get(1..).unwrap_or_default();
        let whole: Vec<String> = parameters.iter().map(|p| p.name.to_string()).collect();
        if whole.len() == count {
            return whole;
        }
        let width = |parameter: &super::ast::Parameter| {
            let ty = parameter.ty.as_ref().and_then(super::ast::Expr::type_parts);
            match ty {
                Some((head, items)) if head == "Tuple" => items.len(),
                Some((head, _)) if head == "List" => 0,
                _ => 1,
            }
        };
        let fixed: usize = parameters.iter().map(width).sum();
        let mut parts = Vec::new();
        for parameter in parameters {
            let ty = parameter.ty.as_ref().and_then(super::ast::Expr::type_parts);
            match ty {
                Some((head, items)) if head == "Tuple" => {
                    parts.extend((0..items.len()).map(|i| format!("{}_{i}", parameter.name)));
                }
                Some((head, _)) if head == "List" => {
                    // What is left for the one list that there is.
                    let left = count.saturating_sub(fixed);
                    parts.extend((0..left).map(|i| format!("{}_{i}", parameter.name)));
                }
                _ => parts.push(parameter.name.to_string()),
            }
        }
        if parts.len() >= count { parts } else { whole }
    }

    /// All tensors of the module by qualified name, in the order of the file, and whether each is a
    /// parameter. A tensor that cannot be had is left out.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Tensor, bool)> {
        let mut found = Vec::new();
        self.for_each_tensor(&mut |name, tensor, parameter, _| {
            if let Ok(tensor) = tensor {
                found.push((name, tensor, parameter));
            }
        });
        found
    }

    /// Calls `visit` with the name of each tensor attribute, the tensor, whether it is a parameter,
    /// and its value in `data.pkl`.
    pub(crate) fn for_each_tensor(
        &self,
        visit: &mut dyn FnMut(String, Result<Tensor, WeightError>, bool, ValueId),
    ) {
        let pickle = &self.data.pickle;
        let mut reader = TensorReader::new(pickle, &self.archive, &self.data.folder);
        let mut seen = BTreeSet::new();
        let mut open = vec![(String::new(), pickle.root())];
        while let Some((path, id)) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(stored) = self.object(id) else { continue };
            let class = self.sources.class(&stored.class);
            let mut inner = Vec::new();
            for &(key, value) in stored.attributes {
                let Some(name) = pickle.str(key) else { continue };
                let full = join(&path, name);
                if is_tensor(pickle, value) {
                    let parameter =
                        class.is_some_and(|c| c.parameters.iter().any(|own| &**own == name));
                    visit(full, reader.tensor(value), parameter, value);
                } else {
                    nested(pickle, full, value, &mut inner);
                }
            }
            open.extend(inner.into_iter().rev());
        }
    }

    /// The object that a value of `data.pkl` is.
    pub(crate) fn object(&self, id: ValueId) -> Option<Stored<'_>> {
        let pickle = &self.data.pickle;
        let Value::Object(object) = pickle.get(id) else { return None };
        let class = class_name(pickle, object.callable)?;
        let attributes = object.state.and_then(|state| pickle.pairs(state)).unwrap_or_default();
        Some(Stored { class, attributes })
    }
}

/// Objects in lists, tuples and dicts are reached through them.
fn nested(pickle: &Pickle, path: String, id: ValueId, open: &mut Vec<(String, ValueId)>) {
    match pickle.get(id) {
        Value::Object(_) => open.push((path, id)),
        Value::List(items) | Value::Tuple(items) => {
            for (i, &item) in items.iter().enumerate() {
                if let Value::Object(_) = pickle.get(item) {
                    open.push((join(&path, &i.to_string()), item));
                }
            }
        }
        _ => {}
    }
}

/// `path.name`, or the name alone where there is no path.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The qualified name of a class of the archive.
pub(crate) fn class_name(pickle: &Pickle, callable: ValueId) -> Option<String> {
    let (module, name) = pickle.global(callable)?;
    module.starts_with("__torch__").then(|| format!("{module}.{name}"))
}

/// Whether a value is the call that rebuilds a tensor.
pub(crate) fn is_tensor(pickle: &Pickle, id: ValueId) -> bool {
    let Value::Object(object) = pickle.get(id) else { return false };
    pickle.global(object.callable).is_some_and(|(module, name)| {
        module == "torch._utils" && name.starts_with("_rebuild_")
            || module == "torch._tensor" && name == "_rebuild_from_type_v2"
    })
}
