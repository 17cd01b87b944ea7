//! What becomes of Python values where two ways of the program meet, or a loop closes.

use std::collections::BTreeMap;
use std::rc::Rc;

use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::super::ast::Name;
use super::Interp;
use super::collections::why;
use super::item::{Absent, Cell, Content, Item, NumberKind, Tuple};
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::{TensorId, Val};

/// An item whose tensors have the values that they have at one moment.
#[derive(Debug, Clone)]
pub(super) enum Frozen {
    Tensor(TensorId, Value),
    Number(Value, NumberKind),
    Tuple(Vec<Frozen>, Vec<Name>),
    List(Cell, Vec<Frozen>),
    /// Anything else.
    Item(Item),
    Broken(Rc<Absent>),
}

/// What a region yields for one part of an item.
#[derive(Debug, Clone)]
pub(super) enum Yield {
    Value(Value),
    Number(Value),
    Item(Item),
    /// Something of the type of that value, which nobody will look at.
    Like(Value),
}

/// How an item is put together from the results of a branch or loop.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Fixed(Item),
    /// The next result.
    Tensor,
    Int,
    Number(NumberKind),
    Tuple(Vec<Form>, Vec<Name>),
    List(Vec<Form>),
    Broken(Rc<Absent>),
}

/// Both sides of what is yielded.
pub(super) type Yields = Vec<(Yield, Yield)>;

impl Interp<'_, '_, '_> {
    pub(super) fn freeze(&mut self, item: &Item) -> Frozen {
        let read = |interp: &mut Self, tensor: TensorId| interp.cx.read(tensor);
        match item {
            Item::Val(Val::Tensor(tensor)) => match read(self, *tensor) {
                Ok(value) => Frozen::Tensor(*tensor, value),
                Err(error) => Frozen::Broken(why(&error.message)),
            },
            Item::Number(tensor, kind) => match read(self, *tensor) {
                Ok(value) => Frozen::Number(value, *kind),
                Err(error) => Frozen::Broken(why(&error.message)),
            },
            Item::Tuple(tuple) => Frozen::Tuple(
                tuple.items.iter().map(|item| self.freeze(item)).collect(),
                tuple.fields.clone(),
            ),
            Item::List(cell) => match self.heap.sequence(item).map(<[Item]>::to_vec) {
                Some(items) => {
                    Frozen::List(*cell, items.iter().map(|item| self.freeze(item)).collect())
                }
                None => Frozen::Item(item.clone()),
            },
            item => Frozen::Item(item.clone()),
        }
    }

    /// What an item is that is `a` on one way and `b` on the other.
    pub(super) fn merge(&mut self, a: &Frozen, b: &Frozen, yields: &mut Yields) -> Form {
        let broken = |message: &str| Form::Broken(why(message));
        let mut pair = |a: Yield, b: Yield, form: Form| {
            yields.push((a, b));
            form
        };
        match (a, b) {
            (Frozen::Item(Item::Poison), _) | (_, Frozen::Item(Item::Poison)) => {
                Form::Fixed(Item::Poison)
            }
            (Frozen::Broken(why), _) | (_, Frozen::Broken(why)) => Form::Broken(Rc::clone(why)),
            (Frozen::Tensor(x, _), Frozen::Tensor(y, _)) if x == y => {
                Form::Fixed(Item::Val(Val::Tensor(*x)))
            }
            (Frozen::Tensor(_, x), Frozen::Tensor(_, y)) => {
                pair(Yield::Value(*x), Yield::Value(*y), Form::Tensor)
            }
            (Frozen::Tensor(_, x), Frozen::Item(Item::Absent(_))) => {
                pair(Yield::Value(*x), Yield::Like(*x), Form::Tensor)
            }
            (Frozen::Item(Item::Absent(_)), Frozen::Tensor(_, y)) => {
                pair(Yield::Like(*y), Yield::Value(*y), Form::Tensor)
            }
            (Frozen::Item(Item::Absent(_)), Frozen::Item(known))
            | (Frozen::Item(known), Frozen::Item(Item::Absent(_))) => Form::Fixed(known.clone()),
            (Frozen::List(x, _), Frozen::List(y, _)) if x == y => Form::Fixed(Item::List(*x)),
            (Frozen::List(_, x), Frozen::List(_, y)) if x.len() == y.len() => {
                Form::List(self.merge_all(x, y, yields))
            }
            (Frozen::Tuple(x, fields), Frozen::Tuple(y, _)) if x.len() == y.len() => {
                Form::Tuple(self.merge_all(x, y, yields), fields.clone())
            }
            (Frozen::List(..), Frozen::List(..)) => {
                broken("a list has another length on each way of a branch")
            }
            (Frozen::Item(x), Frozen::Item(y)) if same(x, y) => Form::Fixed(x.clone()),
            (a, b) => match (number(a), number(b)) {
                (Some((x, kind)), Some((y, other))) if kind == other => pair(
                    x,
                    y,
                    match kind {
                        Kind::Int => Form::Int,
                        Kind::Float => Form::Number(NumberKind::Float),
                        Kind::Bool => Form::Number(NumberKind::Bool),
                    },
                ),
                _ => broken(&format!(
                    "a value is {} on one way of a branch and {} on the other",
                    kind_of(a),
                    kind_of(b)
                )),
            },
        }
    }

    pub(super) fn merge_all(
        &mut self,
        a: &[Frozen],
        b: &[Frozen],
        yields: &mut Yields,
    ) -> Vec<Form> {
        a.iter().zip(b).map(|(a, b)| self.merge(a, b, yields)).collect()
    }

    /// A value of the program for what is yielded.
    pub(super) fn realize(&mut self, what: &Yield) -> LowerResult<Value> {
        match what {
            Yield::Value(value) => Ok(*value),
            Yield::Number(value) => {
                let dtype = self.cx.b.tensor(*value)?.dtype;
                if dtype == DType::Bool { Ok(*value) } else { self.cx.cast(*value, DType::F32) }
            }
            Yield::Like(value) => {
                let ty = self.cx.b.tensor(*value)?.clone();
                let size = ty.shape.iter().map(|dim| Val::Int(dim.clone())).collect();
                let args = [("size", Val::List(size)), ("dtype", Val::DType(ty.dtype))];
                let zeros = self.cx.call_tensor("aten.zeros", &args)?;
                self.cx.read(zeros)
            }
            Yield::Item(Item::Val(Val::Int(dim))) => dims::scalar(self.cx, dim),
            Yield::Item(item) => {
                let tensor = self.tensor_of(item)?;
                self.cx.read(tensor)
            }
        }
    }

    /// The item that results make.
    pub(super) fn rebuild(
        &mut self,
        form: &Form,
        results: &mut dyn Iterator<Item = Value>,
    ) -> LowerResult<Item> {
        let mut next = || results.next().ok_or_else(|| LowerError::invalid("too few results"));
        Ok(match form {
            Form::Fixed(item) => item.clone(),
            Form::Tensor => {
                let value = next()?;
                let val = self.cx.fresh(value);
                self.cx.know_extents(&val);
                Item::Val(val)
            }
            Form::Int => {
                let value = next()?;
                Item::Val(Val::Int(self.runtime_int(value)?))
            }
            Form::Number(kind) => {
                let value = next()?;
                Item::Number(self.cx.fresh_tensor(value), *kind)
            }
            Form::Tuple(forms, fields) => {
                let items = self.rebuild_all(forms, results)?;
                Item::Tuple(Rc::new(Tuple { items, fields: fields.clone() }))
            }
            Form::List(forms) => {
                let items = self.rebuild_all(forms, results)?;
                Item::List(self.heap.add(Content::List(items)))
            }
            Form::Broken(why) => Item::Absent(Rc::clone(why)),
        })
    }

    pub(super) fn rebuild_all(
        &mut self,
        forms: &[Form],
        results: &mut dyn Iterator<Item = Value>,
    ) -> LowerResult<Vec<Item>> {
        forms.iter().map(|form| self.rebuild(form, results)).collect()
    }

    /// How an item is carried around a loop; its first values go to `yields`.
    pub(super) fn carried(&mut self, item: &Frozen, yields: &mut Vec<Yield>) -> Form {
        match item {
            Frozen::Tensor(_, value) => {
                yields.push(Yield::Value(*value));
                Form::Tensor
            }
            Frozen::Tuple(items, fields) => {
                Form::Tuple(items.iter().map(|i| self.carried(i, yields)).collect(), fields.clone())
            }
            Frozen::List(_, items) => {
                Form::List(items.iter().map(|i| self.carried(i, yields)).collect())
            }
            Frozen::Broken(why) => Form::Broken(Rc::clone(why)),
            item => match number(item) {
                Some((first, kind)) => {
                    yields.push(first);
                    match kind {
                        Kind::Int => Form::Int,
                        Kind::Float => Form::Number(NumberKind::Float),
                        Kind::Bool => Form::Number(NumberKind::Bool),
                    }
                }
                None => match item {
                    Frozen::Item(item) => Form::Fixed(item.clone()),
                    _ => Form::Broken(why("a value cannot be carried around a loop")),
                },
            },
        }
    }

    /// What an item that has this form at the start of a trip yields at its end.
    pub(super) fn next_values(
        &mut self,
        form: &Form,
        item: &Frozen,
        yields: &mut Vec<Yield>,
    ) -> LowerResult<()> {
        let changed = |what: &str| {
            LowerError::argument(format!("{what} in a loop whose number of trips is not known"))
                .help("keep the kind and the length of what the loop carries")
        };
        match (form, item) {
            (Form::Tensor, Frozen::Tensor(_, value)) => yields.push(Yield::Value(*value)),
            (Form::Tuple(forms, _), Frozen::Tuple(items, _))
            | (Form::List(forms), Frozen::List(_, items)) => {
                if forms.len() != items.len() {
                    return Err(changed("a list changes its length"));
                }
                for (form, item) in forms.iter().zip(items) {
                    self.next_values(form, item, yields)?;
                }
            }
            (Form::Broken(_), _) => {}
            (_, Frozen::Item(Item::Poison)) => return Err(LowerError::consequence()),
            (Form::Fixed(before), Frozen::Item(now)) if same(before, now) => {}
            (form, item) => match (form, number(item)) {
                (Form::Int, Some((next, Kind::Int)))
                | (Form::Number(NumberKind::Float), Some((next, Kind::Float)))
                | (Form::Number(NumberKind::Bool), Some((next, Kind::Bool))) => yields.push(next),
                _ => return Err(changed("a value becomes one of another kind")),
            },
        }
        Ok(())
    }

    /// The contents of cells that changed on either way, as forms.
    pub(super) fn merge_cells(
        &mut self,
        yes: &BTreeMap<Cell, FrozenContent>,
        no: &BTreeMap<Cell, FrozenContent>,
        yields: &mut Yields,
    ) -> Vec<(Cell, CellForm)> {
        let cells: std::collections::BTreeSet<Cell> =
            yes.keys().chain(no.keys()).copied().collect();
        let mut forms = Vec::new();
        for cell in cells {
            let now = self.heap.get(cell).clone();
            let now = self.freeze_content(&now);
            let (a, b) = (yes.get(&cell).unwrap_or(&now), no.get(&cell).unwrap_or(&now));
            let form = match (a, b) {
                (FrozenContent::List(a), FrozenContent::List(b)) if a.len() == b.len() => {
                    CellForm::List(self.merge_all(a, b, yields))
                }
                (FrozenContent::Dict(a), FrozenContent::Dict(b))
                    if a.len() == b.len() && a.iter().zip(b).all(|((a, _), (b, _))| same(a, b)) =>
                {
                    let pairs = a.iter().zip(b);
                    CellForm::Dict(
                        pairs
                            .map(|((key, a), (_, b))| (key.clone(), self.merge(a, b, yields)))
                            .collect(),
                    )
                }
                (FrozenContent::Object(a), FrozenContent::Object(b)) => {
                    let names = a.iter().filter(|(name, _)| b.contains_key(*name));
                    let names: Vec<_> = names.map(|(name, item)| (name.clone(), item)).collect();
                    CellForm::Object(
                        names
                            .into_iter()
                            .map(|(name, item)| {
                                let form = self.merge(item, &b[&name], yields);
                                (name, form)
                            })
                            .collect(),
                    )
                }
                _ => CellForm::Broken(why(
                    "a list or dict has another length on each way of a branch",
                )),
            };
            forms.push((cell, form));
        }
        forms
    }

    pub(super) fn freeze_content(&mut self, content: &Content) -> FrozenContent {
        match content {
            Content::List(items) => {
                FrozenContent::List(items.iter().map(|item| self.freeze(item)).collect())
            }
            Content::Dict(pairs) => FrozenContent::Dict(
                pairs.iter().map(|(key, item)| (key.clone(), self.freeze(item))).collect(),
            ),
            Content::Object(object) => FrozenContent::Object(
                object
                    .attributes
                    .iter()
                    .map(|(name, item)| (name.clone(), self.freeze(item)))
                    .collect(),
            ),
            Content::Broken(_) => FrozenContent::Broken,
        }
    }

    pub(super) fn set_cell(
        &mut self,
        cell: Cell,
        form: &CellForm,
        results: &mut dyn Iterator<Item = Value>,
    ) -> LowerResult<()> {
        match form {
            CellForm::List(forms) => {
                let items = self.rebuild_all(forms, results)?;
                *self.heap.change(cell) = Content::List(items);
            }
            CellForm::Dict(pairs) => {
                let mut out = Vec::with_capacity(pairs.len());
                for (key, form) in pairs {
                    out.push((key.clone(), self.rebuild(form, results)?));
                }
                *self.heap.change(cell) = Content::Dict(out);
            }
            CellForm::Object(attributes) => {
                for (name, form) in attributes {
                    let item = self.rebuild(form, results)?;
                    if let Content::Object(object) = self.heap.change(cell) {
                        let before = object.attributes.insert(name.clone(), item);
                        object.before.entry(name.clone()).or_insert(before);
                    }
                }
            }
            CellForm::Broken(why) => *self.heap.change(cell) = Content::Broken(Rc::clone(why)),
        }
        Ok(())
    }

    /// An integer of the program as an extent. It may be negative.
    pub(super) fn runtime_int(&mut self, value: Value) -> LowerResult<Dim> {
        let dim = dims::from_scalar(self.cx, value)?;
        if let Some(name) = dim.as_symbol()
            && self.cx.b.program.symbols.is_fresh(name)
        {
            let (min, max) = (i64::from(i32::MIN), Some(i64::from(i32::MAX)));
            let name = name.to_owned();
            self.cx.b.program.symbols.declare(&name, mlc_ir::SymbolRange { min, max });
        }
        Ok(dim)
    }
}

/// What a cell holds, with its tensors' values.
pub(super) enum FrozenContent {
    List(Vec<Frozen>),
    Dict(Vec<(Item, Frozen)>),
    Object(BTreeMap<Name, Frozen>),
    Broken,
}

/// How the contents of a cell are put together.
pub(super) enum CellForm {
    List(Vec<Form>),
    Dict(Vec<(Item, Form)>),
    Object(Vec<(Name, Form)>),
    Broken(Rc<Absent>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Float,
    Bool,
}

fn number(item: &Frozen) -> Option<(Yield, Kind)> {
    match item {
        Frozen::Number(value, NumberKind::Float) => Some((Yield::Number(*value), Kind::Float)),
        Frozen::Number(value, NumberKind::Bool) => Some((Yield::Number(*value), Kind::Bool)),
        Frozen::Item(item @ Item::Val(Val::Int(_))) => Some((Yield::Item(item.clone()), Kind::Int)),
        Frozen::Item(item @ Item::Val(Val::Float(_))) => {
            Some((Yield::Item(item.clone()), Kind::Float))
        }
        Frozen::Item(item @ Item::Val(Val::Bool(_) | Val::Relation(_))) => {
            Some((Yield::Item(item.clone()), Kind::Bool))
        }
        _ => None,
    }
}

fn kind_of(item: &Frozen) -> &'static str {
    match item {
        Frozen::Tensor(..) => "a tensor",
        Frozen::Number(_, NumberKind::Float) => "a float",
        Frozen::Number(_, NumberKind::Bool) => "a bool",
        Frozen::Tuple(..) => "a tuple",
        Frozen::List(..) => "a list",
        Frozen::Item(item) => item.kind(),
        Frozen::Broken(_) => "a value that is not there",
    }
}

/// Whether two items that are no tensors are one.
fn same(a: &Item, b: &Item) -> bool {
    match (a, b) {
        (Item::Val(a), Item::Val(b)) => a == b,
        (Item::List(a), Item::List(b))
        | (Item::Dict(a), Item::Dict(b))
        | (Item::Object(a), Item::Object(b)) => a == b,
        (Item::Enum(a), Item::Enum(b)) => a.class == b.class && a.name == b.name,
        (Item::Function(a), Item::Function(b)) => a == b,
        (Item::Absent(_), Item::Absent(_)) => true,
        _ => false,
    }
}
