//! What the model keeps between calls: buffers, and inputs, that it writes.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::ops::{ReadState, WriteState};
use mlc_ir::{Def, Function, InputRequest, Param, TensorType, Type, Value, glob_matches};
use mlc_tensor::Tensor;

use super::Cx;
use super::alias::Owner;
use super::attempt::unique;
use super::error::{LowerError, LowerResult};
use super::value::TensorId;

/// What becomes of tensors that outlive a call and are written by the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StateMode {
    /// Buffers become states. Inputs stay inputs: the model computes with what it wrote, the
    /// caller's tensor stays as it is.
    #[default]
    Buffers,
    /// Buffers and inputs that are written become states.
    All,
    /// There are no states: a buffer is an input, and each new value is one more output, called
    /// `<name>_out`, after those of the model.
    Io,
}

/// How programs are lowered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LowerOptions {
    /// What becomes of tensors that the model writes.
    pub states: StateMode,
    /// Names of what becomes a state, as globs, if there are any: then other buffers become inputs and
    /// outputs, and inputs are treated as `states` says.
    pub state_globs: Vec<String>,
    /// What the user asks of inputs; element types are left to the caller.
    pub inputs: Vec<InputRequest>,
}

/// What becomes of one tensor that the model writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a state.
    State,
    /// It is an input, and its new value an output.
    Io,
    /// It is an input that the caller keeps.
    Plain,
}

impl LowerOptions {
    fn names_state(&self, name: &str) -> bool {
        self.state_globs.iter().any(|glob| glob_matches(glob, name))
    }

    /// What becomes of a buffer.
    pub(super) fn of_buffer(&self, name: &str) -> Fate {
        match self.states {
            _ if self.names_state(name) => Fate::State,
            StateMode::Buffers | StateMode::All if self.state_globs.is_empty() => Fate::State,
            _ => Fate::Io,
        }
    }

    /// What becomes of an input.
    pub(super) fn of_input(&self, name: &str) -> Fate {
        match self.states {
            _ if self.names_state(name) => Fate::State,
            StateMode::All if self.state_globs.is_empty() => Fate::State,
            StateMode::Io => Fate::Io,
            _ => Fate::Plain,
        }
    }

    /// The globs that name nothing that is written.
    pub(super) fn check_globs(&self, written: &BTreeSet<Owner>, found: &mut Diagnostics) {
        let names = || {
            written.iter().filter_map(|owner| match owner {
                Owner::Model(name) | Owner::Input(name) => Some(name.as_str()),
                Owner::Local => None,
            })
        };
        for glob in &self.state_globs {
            if names().any(|name| glob_matches(glob, name)) {
                continue;
            }
            let message = format!("the model writes to nothing that is called `{glob}`");
            let known: Vec<&str> = names().collect();
            let near = mlc_diag::nearest(glob, known.iter().copied());
            let help = match (near.first(), known.len()) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, 0) => {
                    "the model keeps nothing between calls; leave `--state` out".to_owned()
                }
                (None, _) => format!("it writes to {}", known.join(", ")),
            };
            found.push(
                Diagnostic::new(codes::BAD_ARGUMENT, message)
                    .at(Place::Argument("--state".into()))
                    .help(help),
            );
        }
    }
}

/// A tensor that is kept between calls.
pub(super) struct Kept {
    position: usize,
    name: String,
    tensor: TensorId,
    /// The state and the value it has at the start; none where it is an input.
    state: Option<(Value, Value)>,
}

/// What is known of the tensors that are kept, from earlier attempts.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The tensors that are written.
    pub(super) written: BTreeSet<Owner>,
    /// Those of them that nobody can see and that no state could hold.
    pub(super) dropped: BTreeSet<Owner>,
}

/// The tensors of one attempt that are kept.
#[derive(Default)]
pub(super) struct Store {
    kept: BTreeMap<Owner, Kept>,
    /// New values that the signature of the file lists.
    listed: BTreeMap<Owner, Value>,
}

impl Store {
    /// The tensor of that owner, if it is kept.
    pub(super) fn tensor(&self, owner: &Owner) -> Option<TensorId> {
        self.kept.get(owner).map(|kept| kept.tensor)
    }

    fn add(&mut self, owner: Owner, kept: Kept) {
        let position = self.kept.len();
        self.kept.insert(owner, Kept { position, ..kept });
    }

    /// The tensors that are kept, in the order of the file.
    fn in_order(&self) -> Vec<(&Owner, &Kept)> {
        let mut all: Vec<_> = self.kept.iter().collect();
        all.sort_by_key(|(_, kept)| kept.position);
        all
    }

    /// The new value that the signature lists for a tensor.
    pub(super) fn listed(&self, owner: &Owner) -> Option<Value> {
        self.listed.get(owner).copied()
    }

    /// The tensors that have such a value.
    pub(super) fn listed_owners(&self) -> impl Iterator<Item = &Owner> {
        self.listed.keys()
    }

    /// Notes the new value that the signature lists for a tensor.
    pub(super) fn list(&mut self, owner: Owner, value: Value) {
        self.listed.insert(owner, value);
    }
}

impl Cx<'_> {
    /// A state, and the tensor that it holds when the program starts.
    ///
    /// # Errors
    /// Its extents are not known.
    pub(super) fn state(
        &mut self,
        owner: Owner,
        (name, ty): (String, TensorType),
        store: &mut Store,
    ) -> LowerResult<TensorId> {
        if ty.static_shape().is_none() {
            return Err(LowerError::dynamic(format!("state `{name}` is {ty}"))
                .help("fix its extents when exporting, or convert with `--states=io`"));
        }
        let param = Param::state(name.clone());
        let state = self.b.function_mut().add_param(param, Type::State(ty));
        let value = ReadState {}.build(&mut self.b, state)?;
        let tensor = self.allocate(value, owner.clone());
        store.add(owner, Kept { position: 0, name, tensor, state: Some((state, value)) });
        Ok(tensor)
    }

    /// An input whose new value will be an output.
    pub(super) fn kept_input(
        &mut self,
        owner: Owner,
        (name, value): (String, Value),
        store: &mut Store,
    ) -> TensorId {
        let tensor = self.allocate(value, owner.clone());
        store.add(owner, Kept { position: 0, name, tensor, state: None });
        tensor
    }

    /// Gives what is kept its new value; gives the owners whose value cannot be kept and that nobody
    /// can see.
    pub(super) fn keep(&mut self, store: &Store) -> LowerResult<BTreeSet<Owner>> {
        let mut last = BTreeMap::new();
        for (owner, kept) in &store.kept {
            let value = match store.listed(owner) {
                Some(value) => value,
                None => self.read(kept.tensor)?,
            };
            last.insert(owner.clone(), value);
        }
        let hidden = hidden(self.b.function(), store, &last);
        if !hidden.is_empty() {
            return Ok(hidden);
        }
        let function = self.b.function();
        let mut taken: BTreeSet<String> = function
            .params
            .iter()
            .map(|param| param.name.clone())
            .chain(function.outputs.iter().map(|output| output.name.clone()))
            .collect();
        for (owner, kept) in store.in_order() {
            let value = last[owner];
            match kept.state {
                Some((state, _)) => drop(WriteState {}.build_many(&mut self.b, state, value)?),
                None => {
                    let name = unique(&format!("{}_out", kept.name), &mut taken);
                    self.b.function_mut().add_output(name, value);
                }
            }
        }
        Ok(BTreeSet::new())
    }
}

/// Integers that are kept and that neither an output nor another state depends on, such as the number
/// of batches a normalization has seen. Core ML keeps no integers.
fn hidden(function: &Function, store: &Store, last: &BTreeMap<Owner, Value>) -> BTreeSet<Owner> {
    let mut hidden = BTreeMap::new();
    let mut roots = function.regions[function.body].results.clone();
    for (owner, kept) in &store.kept {
        match kept.state {
            Some((_, value))
                if function.ty(value).as_tensor().is_some_and(|t| t.dtype.is_int()) =>
            {
                hidden.insert(owner.clone(), value);
            }
            _ => roots.push(last[owner]),
        }
    }
    if hidden.is_empty() {
        return BTreeSet::new();
    }
    let mut seen = BTreeSet::new();
    loop {
        reach(function, std::mem::take(&mut roots), &mut seen);
        hidden.retain(|owner, value| {
            let stays = !seen.contains(value);
            if !stays {
                roots.push(last[owner]);
            }
            stays
        });
        if roots.is_empty() {
            return hidden.into_keys().collect();
        }
    }
}

/// Adds to `seen` what the values in `open` are computed from.
fn reach(function: &Function, mut open: Vec<Value>, seen: &mut BTreeSet<Value>) {
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        let Def::Result(node, _) = function.values[value].def else { continue };
        open.extend(function.nodes[node].operands.all());
        let mut regions = function.nodes[node].regions.to_vec();
        while let Some(region) = regions.pop() {
            let data = &function.regions[region];
            open.extend(&data.results);
            for &inner in &data.nodes {
                open.extend(function.nodes[inner].operands.all());
                regions.extend(&function.nodes[inner].regions);
            }
        }
    }
}

/// A warning unless all elements are zero, which is what states hold before anyone sets them.
pub(super) fn check_start(name: &str, tensor: &Tensor, found: &mut Diagnostics) {
    let zero = tensor.bytes().is_ok_and(|bytes| {
        bytes.iter().all(|&byte| byte == 0)
            || (tensor.dtype().is_float()
                && tensor.to_f64s().is_ok_and(|all| all.iter().all(|&x| x == 0.0)))
    });
    if !zero {
        let message = format!("buffer `{name}` does not start with zeros, its state does");
        found.push(Diagnostic::new(codes::STATE_INITIAL_VALUE, message).help(
            "write the buffer's value to the state before the first prediction, \
             or convert with `--states=io`",
        ));
    }
}

/// What is said of a write that the caller does not see.
pub(super) fn unseen_write(name: &str) -> Diagnostic {
    let message = format!("input `{name}` is changed in place; the caller's tensor stays as it is");
    Diagnostic::new(codes::INPUT_MUTATION, message).help(
        "`--states=io` gives the new value as an output, `--states=all` makes the input a state",
    )
}

/// What is said of a write that nothing depends on.
pub(super) fn unused_state(name: &str) -> Diagnostic {
    let message = format!("buffer `{name}` of integers is counted up for nobody and left out");
    Diagnostic::new(codes::UNUSED_STATE, message).note("no output and no other state depends on it")
}
