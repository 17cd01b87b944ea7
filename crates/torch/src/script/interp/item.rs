//! What the names of a program stand for while it is interpreted.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mlc_diag::Code;
use mlc_ir::Dim;

use super::super::ast::Name;
use crate::lower::value::{TensorId, Val};

/// A Python value.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A value without parts; never a list.
    Val(Val),
    /// A number that is known only when the program runs, as a tensor of rank 0.
    Number(TensorId, NumberKind),
    Tuple(Rc<Tuple>),
    List(Cell),
    Dict(Cell),
    Object(Cell),
    Enum(Rc<EnumItem>),
    /// A free function of the archive, by its qualified name.
    Function(Rc<str>),
    /// What could not be computed; the reason was reported.
    Poison,
    /// What must not be used, and why.
    Absent(Rc<Absent>),
}

/// The kinds of numbers that are not known at compile time. Integers are extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberKind {
    Float,
    Bool,
}

#[derive(Debug)]
pub(super) struct Tuple {
    pub(super) items: Vec<Item>,
    /// Names of the items, of a named tuple.
    pub(super) fields: Vec<Name>,
}

/// A member of an enumeration.
#[derive(Debug)]
pub(super) struct EnumItem {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) value: Item,
}

/// Why something must not be used.
#[derive(Debug)]
pub(super) struct Absent {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// Names something that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell(usize);

/// What a cell holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    List(Vec<Item>),
    Dict(Vec<(Item, Item)>),
    Object(ObjectData),
    /// Something that differs between the ways that lead here.
    Broken(Rc<Absent>),
}

/// A module, or another object of a class of the archive.
#[derive(Debug, Clone, Default)]
pub(super) struct ObjectData {
    /// Qualified name.
    pub(super) class: Rc<str>,
    /// From the root; empty for the root and for objects that the program makes.
    pub(super) path: Rc<str>,
    /// Whether it is part of the archive.
    pub(super) stored: bool,
    pub(super) attributes: BTreeMap<Name, Item>,
    /// Attributes that were written, with the value they had before.
    pub(super) before: BTreeMap<Name, Option<Item>>,
}

/// All cells. What is changed within a branch or loop of the program can be taken back.
#[derive(Debug, Default)]
pub(super) struct Heap {
    cells: Vec<Content>,
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    /// Cells that there were when it was entered.
    cells: usize,
    before: BTreeMap<Cell, Content>,
}

impl Heap {
    pub(super) fn add(&mut self, content: Content) -> Cell {
        self.cells.push(content);
        Cell(self.cells.len() - 1)
    }

    pub(super) fn get(&self, cell: Cell) -> &Content {
        &self.cells[cell.0]
    }

    /// To change it.
    pub(super) fn change(&mut self, cell: Cell) -> &mut Content {
        if let Some(region) = self.regions.last_mut()
            && cell.0 < region.cells
            && !region.before.contains_key(&cell)
        {
            region.before.insert(cell, self.cells[cell.0].clone());
        }
        &mut self.cells[cell.0]
    }

    pub(super) fn enter(&mut self) {
        self.regions.push(Region { cells: self.cells.len(), before: BTreeMap::new() });
    }

    /// Takes back what was changed since [`Heap::enter`]; gives what those cells held.
    pub(super) fn leave(&mut self) -> BTreeMap<Cell, Content> {
        let Some(region) = self.regions.pop() else { return BTreeMap::new() };
        let mut changed = BTreeMap::new();
        for (cell, before) in region.before {
            changed.insert(cell, std::mem::replace(&mut self.cells[cell.0], before));
        }
        changed
    }

    /// All objects of the archive, in the order of their making.
    pub(super) fn stored_objects(&self) -> impl Iterator<Item = &ObjectData> {
        self.cells.iter().filter_map(|content| match content {
            Content::Object(object) if object.stored => Some(object),
            _ => None,
        })
    }

    /// Takes the attributes that objects have now for those that they are stored with.
    pub(super) fn settle_objects(&mut self) {
        for content in &mut self.cells {
            if let Content::Object(object) = content {
                object.before.clear();
            }
        }
    }

    /// The items of a list or tuple.
    pub(super) fn sequence<'h>(&'h self, item: &'h Item) -> Option<&'h [Item]> {
        match item {
            Item::Tuple(tuple) => Some(&tuple.items),
            Item::List(cell) => match self.get(*cell) {
                Content::List(items) => Some(items),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether something in it could not be computed.
    pub(super) fn is_poisoned(&self, item: &Item) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![item.clone()];
        while let Some(item) = open.pop() {
            match &item {
                Item::Poison => return true,
                Item::Tuple(tuple) => open.extend(tuple.items.iter().cloned()),
                Item::List(cell) if seen.insert(*cell) => {
                    open.extend(self.sequence(&item).into_iter().flatten().cloned());
                }
                _ => {}
            }
        }
        false
    }
}

impl Item {
    pub(super) const NONE: Self = Self::Val(Val::None);

    pub(super) fn int(n: i64) -> Self {
        Self::Val(Val::Int(Dim::Const(n)))
    }

    pub(super) fn bool(b: bool) -> Self {
        Self::Val(Val::Bool(b))
    }

    pub(super) fn float(x: f64) -> Self {
        Self::Val(Val::Float(x))
    }

    pub(super) fn str(text: impl Into<String>) -> Self {
        Self::Val(Val::Str(text.into()))
    }

    pub(super) fn tensor(&self) -> Option<TensorId> {
        match self {
            Self::Val(Val::Tensor(tensor)) => Some(*tensor),
            _ => None,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Val(Val::None))
    }

    pub(super) fn tuple(items: Vec<Self>) -> Self {
        Self::Tuple(Rc::new(Tuple { items, fields: Vec::new() }))
    }

    pub(super) fn absent(code: Code, message: impl Into<String>, help: &'static str) -> Self {
        Self::Absent(Rc::new(Absent { code, message: message.into(), help }))
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Val(val) => val.kind(),
            Self::Number(_, NumberKind::Float) => "a float of the program",
            Self::Number(_, NumberKind::Bool) => "a bool of the program",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Object(_) => "an object",
            Self::Enum(_) => "a member of an enumeration",
            Self::Function(_) => "a function",
            Self::Poison | Self::Absent(_) => "a value that is not there",
        }
    }
}
