//! The constants of a program.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlc_tensor::Tensor;

use crate::entity::{Arena, EntityId, entity};

entity! {
    /// A constant of a program. Equal tensors (by handle, not by bytes) have equal ids.
    ConstId, "c"
}

/// The tensors of a program, each once, with a name for the large ones.
#[derive(Debug, Clone, Default)]
pub struct ConstPool {
    tensors: Arena<ConstId, (Tensor, Option<Arc<str>>)>,
    ids: BTreeMap<Tensor, ConstId>,
}

impl ConstPool {
    /// The id of `tensor`, new or known.
    pub fn intern(&mut self, tensor: Tensor) -> ConstId {
        if let Some(&id) = self.ids.get(&tensor) {
            return id;
        }
        let id = self.tensors.push((tensor.clone(), None));
        self.ids.insert(tensor, id);
        id
    }

    /// As [`ConstPool::intern`], and names it if it has no name yet.
    pub fn intern_named(&mut self, tensor: Tensor, name: &str) -> ConstId {
        let id = self.intern(tensor);
        let slot = &mut self.tensors[id].1;
        if slot.is_none() {
            *slot = Some(name.into());
        }
        id
    }

    /// The tensor.
    #[must_use]
    pub fn get(&self, id: ConstId) -> &Tensor {
        &self.tensors[id].0
    }

    /// The tensor, if there is one of that id.
    #[must_use]
    pub fn try_get(&self, id: ConstId) -> Option<&Tensor> {
        (id.index() < self.tensors.len()).then(|| self.get(id))
    }

    /// The name it was given, such as the parameter's in the source.
    #[must_use]
    pub fn name(&self, id: ConstId) -> Option<&str> {
        self.tensors[id].1.as_deref()
    }

    /// All constants in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (ConstId, &Tensor)> {
        self.tensors.iter().map(|(id, item)| (id, &item.0))
    }
}
