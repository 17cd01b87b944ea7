//! Values of the archive's pickles as items.

use std::collections::BTreeMap;
use std::rc::Rc;

use mlc_diag::{Diagnostics, codes};
use mlc_ir::Dim;
use mlc_tensor::{DType, Source, Tensor};

use super::super::ast::{ExprKind, Name};
use super::super::module::{Part, ScriptModule, class_name, is_tensor, join};
use super::item::{Cell, Content, EnumItem, Heap, Item, ObjectData};
use crate::lower::Cx;
use crate::lower::attempt::Attempt;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;
use crate::pickle::{Object, Value, ValueId};
use crate::torch_save::{Quantized, Scales, TensorReader, WeightError};

/// Values may be nested this deep.
const MAX_NESTING: u32 = 100;

/// Makes items of one pickle. Every tensor becomes a tensor of the program at once, so that they all
/// stand before any branch or loop.
pub(super) struct Loader<'l, 'a, 'p> {
    pub(super) module: &'l ScriptModule,
    pub(super) part: &'l Part,
    pub(super) heap: &'l mut Heap,
    pub(super) attempt: &'l mut Attempt<'a>,
    pub(super) cx: &'l mut Cx<'p>,
    pub(super) found: &'l mut Diagnostics,
    /// Objects that take their state by a method, with it, innermost first.
    pub(super) restored: Vec<(Item, Item)>,
    made: BTreeMap<ValueId, Item>,
    /// Tensors by where their bytes lie: what shares memory in torch does so here.
    places: BTreeMap<(u64, DType, Vec<u64>), Item>,
    reader: TensorReader<'l>,
    depth: u32,
}

impl<'l, 'a, 'p> Loader<'l, 'a, 'p> {
    pub(super) fn new(
        (module, part): (&'l ScriptModule, &'l Part),
        heap: &'l mut Heap,
        (attempt, cx): (&'l mut Attempt<'a>, &'l mut Cx<'p>),
        found: &'l mut Diagnostics,
    ) -> Self {
        let reader = TensorReader::new(&part.pickle, &module.archive, &part.folder);
        let (made, places) = (BTreeMap::new(), BTreeMap::new());
        let restored = Vec::new();
        Self { module, part, heap, attempt, cx, found, restored, made, places, reader, depth: 0 }
    }

    /// The item that a value is; `name` is its qualified name.
    pub(super) fn item(&mut self, id: ValueId, name: &str) -> Item {
        if let Some(item) = self.made.get(&id) {
            return item.clone();
        }
        if self.depth >= MAX_NESTING {
            return Item::absent(
                codes::CORRUPT_ARCHIVE,
                format!("`{name}` is nested more than {MAX_NESTING} levels deep"),
                "keep the module's attributes flat",
            );
        }
        self.depth += 1;
        let item = self.make(id, name);
        self.depth -= 1;
        self.made.insert(id, item.clone());
        item
    }

    fn items(&mut self, ids: &[ValueId], name: &str) -> Vec<Item> {
        ids.iter().enumerate().map(|(i, &id)| self.item(id, &join(name, &i.to_string()))).collect()
    }

    fn make(&mut self, id: ValueId, name: &str) -> Item {
        let part = self.part;
        match part.pickle.get(id) {
            Value::None => Item::NONE,
            Value::Bool(b) => Item::bool(*b),
            Value::Int(n) => Item::int(*n),
            Value::Float(x) => Item::float(*x),
            Value::Str(text) => Item::str(text.to_string()),
            Value::Tuple(ids) => {
                let items = self.items(ids, name);
                Item::tuple(items)
            }
            Value::List(ids) => self.list(Some(id), ids, name),
            Value::Dict(pairs) => self.dict(Some(id), pairs, name),
            Value::Object(_) if is_tensor(&part.pickle, id) => self.tensor(id, name, false),
            Value::Object(object) => self.object(id, object, name),
            _ => unsupported(name, &part.pickle.describe(id)),
        }
    }

    fn list(&mut self, own: Option<ValueId>, ids: &[ValueId], name: &str) -> Item {
        let cell = self.heap.add(Content::List(Vec::new()));
        // A list may hold itself.
        own.map(|id| self.made.insert(id, Item::List(cell)));
        let items = self.items(ids, name);
        *self.heap.change(cell) = Content::List(items);
        Item::List(cell)
    }

    fn dict(&mut self, own: Option<ValueId>, pairs: &[(ValueId, ValueId)], name: &str) -> Item {
        let cell = self.heap.add(Content::Dict(Vec::new()));
        own.map(|id| self.made.insert(id, Item::Dict(cell)));
        let mut out = Vec::with_capacity(pairs.len());
        for &(key, value) in pairs {
            let below = match self.part.pickle.get(key) {
                Value::Str(text) => text.to_string(),
                Value::Int(n) => n.to_string(),
                _ => "key".to_owned(),
            };
            let key = self.item(key, name);
            out.push((key, self.item(value, &join(name, &below))));
        }
        *self.heap.change(cell) = Content::Dict(out);
        Item::Dict(cell)
    }

    fn tensor(&mut self, id: ValueId, name: &str, parameter: bool) -> Item {
        if let Some(quantized) = self.reader.quantized(id) {
            let made = quantized.map_err(|error| error.to_string()).and_then(|quantized| {
                self.dequantized(&quantized, name).map_err(|error| error.message)
            });
            return made.unwrap_or_else(|message| {
                Item::absent(
                    codes::UNSUPPORTED_SIGNATURE,
                    format!("cannot read `{name}`: {message}"),
                    "call `.dequantize()` on it first",
                )
            });
        }
        match self.reader.tensor(id) {
            Ok(tensor) => self.placed(&tensor, name, parameter),
            Err(error) => {
                let code = match &error {
                    WeightError::DType { .. } => codes::UNSUPPORTED_DTYPE,
                    e if e.is_corrupt() => codes::CORRUPT_WEIGHTS,
                    _ => codes::UNSUPPORTED_SIGNATURE,
                };
                let help = match &error {
                    WeightError::Form { .. } => "call `.dequantize()` or `.to_dense()` on it first",
                    _ => "save the module again",
                };
                Item::absent(code, format!("cannot read `{name}`: {error}"), help)
            }
        }
    }

    /// The floats that a quantized tensor stands for.
    fn dequantized(&mut self, quantized: &Quantized, name: &str) -> LowerResult<Item> {
        let dtype = quantized.integers.dtype();
        let integers = self.cx.model(&quantized.integers, name)?;
        let mut args = vec![("input", integers), ("dtype", Val::DType(dtype))];
        let op = match &quantized.scales {
            Scales::Tensor(scale, zero_point) => {
                args.push(("scale", Val::Float(*scale)));
                args.push(("zero_point", Val::Int(Dim::Const(*zero_point))));
                "quantized_decomposed.dequantize_per_tensor"
            }
            Scales::Channel(scales, zero_points, axis) => {
                args.push(("scales", self.cx.model(scales, &format!("{name}.scales"))?));
                let zero_points = self.cx.model(zero_points, &format!("{name}.zero_points"))?;
                args.push(("zero_points", zero_points));
                args.push(("axis", Val::Int(Dim::Const(*axis))));
                "quantized_decomposed.dequantize_per_channel"
            }
        };
        let tensor = self.cx.call_tensor(op, &args)?;
        self.cx.set_quantized(tensor, dtype);
        Ok(Item::Val(Val::Tensor(tensor)))
    }

    fn placed(&mut self, tensor: &Tensor, name: &str, parameter: bool) -> Item {
        let place = match tensor.source() {
            Source::Mapped { offset, .. } => {
                Some((*offset, tensor.dtype(), tensor.shape().to_vec()))
            }
            _ => None,
        };
        if let Some(known) = place.as_ref().and_then(|place| self.places.get(place)) {
            return known.clone();
        }
        let made = if parameter {
            self.cx.model(tensor, name)
        } else {
            self.attempt.buffer(self.cx, (name, tensor), self.found)
        };
        let item = match made {
            Ok(val) => Item::Val(val),
            Err(LowerError { code, message, .. }) => {
                Item::absent(code, message, "keep it in another form")
            }
        };
        place.map(|place| self.places.insert(place, item.clone()));
        item
    }

    fn object(&mut self, id: ValueId, object: &Object, name: &str) -> Item {
        let pickle = &self.part.pickle;
        if let Some(class) = class_name(pickle, object.callable) {
            return self.instance((id, &class), object, name);
        }
        let args = pickle.sequence(object.args).unwrap_or_default();
        match (pickle.global(object.callable), args) {
            // Lists and dicts with their element types.
            (Some(("torch.jit._pickle", _)), [inner, ..]) => self.item(*inner, name),
            (Some(("torch", "Size")), [inner, ..]) => self.item(*inner, name),
            (Some(("torch", "device")), [kind, ..]) => {
                Item::Val(Val::Device(pickle.str(*kind).unwrap_or("cpu").to_owned()))
            }
            (Some((_, "complex")), [re, im]) => {
                let part = |id: ValueId| match pickle.get(id) {
                    Value::Float(x) => *x,
                    Value::Int(n) => *n as f64,
                    _ => f64::NAN,
                };
                Item::Val(Val::Complex(part(*re), part(*im)))
            }
            (Some(("collections", "OrderedDict")), _) => {
                self.dict(Some(id), &object.items.clone(), name)
            }
            _ => unsupported(name, &pickle.describe(id)),
        }
    }

    /// An object of a class of the archive.
    fn instance(&mut self, (id, class): (ValueId, &str), object: &Object, name: &str) -> Item {
        let module = self.module;
        // Packed weights of linear layers are saved as what they are made of.
        if class == "__torch__.torch.classes.quantized.LinearPackedParamsBase"
            && let Some(parts) = object.state.and_then(|state| self.part.pickle.sequence(state))
        {
            return self.list(None, parts, name);
        }
        let Some(about) = module.sources.class(class) else {
            let message =
                format!("`{name}` is an object of `{class}`, whose code is not in the file");
            return Item::absent(
                codes::UNSUPPORTED_SIGNATURE,
                message,
                "keep tensors and numbers in the module, not objects of torch's own classes",
            );
        };
        if about.base.as_deref() == Some("Enum") {
            // The argument is the value itself, not a tuple that holds it.
            let value = match self.part.pickle.sequence(object.args) {
                Some([value]) => *value,
                _ => object.args,
            };
            let value = self.item(value, name);
            return enum_of(module, class, value);
        }
        let data = ObjectData {
            class: class.into(),
            path: name.into(),
            stored: true,
            ..ObjectData::default()
        };
        let cell = self.heap.add(Content::Object(data));
        self.made.insert(id, Item::Object(cell));
        let own = about.methods.iter().any(|method| &*method.name == "__setstate__");
        if let Some(state) = object.state.filter(|_| own) {
            let state = self.item(state, name);
            self.restored.push((Item::Object(cell), state));
            return Item::Object(cell);
        }
        let state = object.state.and_then(|state| self.part.pickle.pairs(state));
        let mut attributes = BTreeMap::new();
        for &(key, value) in state.unwrap_or_default() {
            let Some(key) = self.part.pickle.str(key) else { continue };
            let full = join(name, key);
            let item = if is_tensor(&self.part.pickle, value) && !self.made.contains_key(&value) {
                let parameter = about.parameters.iter().any(|own| &**own == key);
                let item = self.tensor(value, &full, parameter);
                self.made.insert(value, item.clone());
                item
            } else {
                self.item(value, &full)
            };
            attributes.insert(Name::from(key), item);
        }
        self.fill(cell, attributes)
    }

    fn fill(&mut self, cell: Cell, attributes: BTreeMap<Name, Item>) -> Item {
        if let Content::Object(object) = self.heap.change(cell) {
            object.attributes = attributes;
        }
        Item::Object(cell)
    }
}

/// The member of an enumeration that has this value.
pub(super) fn enum_of(module: &ScriptModule, class: &str, value: Item) -> Item {
    let same = |literal: &ExprKind| match (literal, &value) {
        (ExprKind::Int(a), Item::Val(Val::Int(Dim::Const(b)))) => a == b,
        (ExprKind::Float(a), Item::Val(Val::Float(b))) => a == b,
        (ExprKind::Str(a), Item::Val(Val::Str(b))) => a == b,
        _ => false,
    };
    let values = module.sources.class(class).map(|class| class.values.as_slice());
    let member = values.unwrap_or_default().iter().find(|(_, literal)| same(&literal.kind));
    let Some((name, _)) = member else {
        return Item::absent(
            codes::CORRUPT_ARCHIVE,
            format!("no member of `{class}` has the value that is stored"),
            "save the module again",
        );
    };
    let name = name.to_string();
    Item::Enum(Rc::new(EnumItem { class: class.to_owned(), name, value }))
}

fn unsupported(name: &str, what: &str) -> Item {
    Item::absent(
        codes::UNSUPPORTED_SIGNATURE,
        format!("`{name}` is {what}, which has no counterpart"),
        "keep tensors, numbers and texts in the module",
    )
}
