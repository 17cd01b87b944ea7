//! Lists, tuples, dicts and texts.

use std::rc::Rc;

use mlc_ir::Dim;

use super::super::ast::Name;
use super::Interp;
use super::item::{Absent, Cell, Content, Item};
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;

pub(super) const NAMES: &[&str] = &[
    "len",
    "append",
    "extend",
    "insert",
    "pop",
    "remove",
    "clear",
    "reverse",
    "sort",
    "sorted",
    "copy",
    "index",
    "count",
    "add",
    "add_",
    "mul",
    "list",
    "tuple",
    "__getitem__",
    "_set_item",
    "__delitem__",
    "Delete",
    "__contains__",
    "slice",
    "sum",
    "any",
    "all",
    "min",
    "max",
    "keys",
    "values",
    "items",
    "get",
    "update",
    "setdefault",
    "dict",
    "format",
    "percentFormat",
    "str",
    "lower",
    "upper",
    "strip",
    "lstrip",
    "rstrip",
    "find",
    "rfind",
    "split",
    "join",
    "replace",
    "startswith",
    "endswith",
    "eq",
    "ne",
    "select",
    "unbind",
];

impl Interp<'_, '_, '_> {
    /// Why a cell must not be used.
    pub(super) fn broken(&self, cell: Cell) -> LowerError {
        match self.heap.get(cell) {
            Content::Broken(why) => LowerError::new(why.code, why.message.clone()).help(why.help),
            _ => LowerError::invalid("an object of another kind"),
        }
    }

    /// A function of a list, tuple, dict or text; `None` if it is none.
    pub(super) fn collection(
        &mut self,
        name: &str,
        args: &[Item],
        named: &[(Name, Item)],
    ) -> Option<LowerResult<Item>> {
        if !NAMES.contains(&name) {
            return None;
        }
        let Some(first) = args.first() else {
            return match name {
                "list" => Some(Ok(self.new_list(Vec::new()))),
                "dict" => Some(Ok(Item::Dict(self.heap.add(Content::Dict(Vec::new()))))),
                _ => None,
            };
        };
        match first {
            Item::List(cell) | Item::Dict(cell)
                if matches!(self.heap.get(*cell), Content::Broken(_)) =>
            {
                Some(Err(self.broken(*cell)))
            }
            Item::List(_) | Item::Tuple(_) => self.sequence_function(name, args, named),
            Item::Dict(cell) => self.dict_function(*cell, name, args),
            Item::Val(Val::Str(text)) => {
                let text = text.clone();
                self.text_function(&text, name, args)
            }
            _ if name == "str" => Some(Ok(Item::str(self.text(first)))),
            _ => None,
        }
    }

    fn new_list(&mut self, items: Vec<Item>) -> Item {
        Item::List(self.heap.add(Content::List(items)))
    }

    fn sequence_function(
        &mut self,
        name: &str,
        args: &[Item],
        named: &[(Name, Item)],
    ) -> Option<LowerResult<Item>> {
        let items = self.heap.sequence(&args[0])?.to_vec();
        if let Item::List(cell) = args[0]
            && let Some(result) = self.list_change(cell, (name, items.clone()), args)
        {
            return Some(result);
        }
        Some(match (name, args) {
            ("len", [_]) => Ok(Item::int(items.len() as i64)),
            ("copy" | "list", [_]) => Ok(self.new_list(items)),
            ("tuple", [_]) => Ok(Item::tuple(items)),
            ("__getitem__" | "select", [of, index]) => self.get_item(of, index),
            ("add", [_, other]) => match self.heap.sequence(other) {
                Some(more) => {
                    let all = items.iter().chain(more).cloned().collect();
                    Ok(self.new_list(all))
                }
                None => return None,
            },
            ("mul", [_, times]) => match times {
                Item::Val(Val::Int(Dim::Const(n))) => {
                    repeated(&items, *n).map(|all| self.new_list(all))
                }
                _ => Err(LowerError::dynamic("the length of a list is not known")),
            },
            ("slice", [of, rest @ ..]) => match sliced(items.len(), rest, named) {
                Ok(at) => {
                    let part = at.into_iter().map(|i| items[i].clone()).collect();
                    Ok(match of {
                        Item::Tuple(_) => Item::tuple(part),
                        _ => self.new_list(part),
                    })
                }
                Err(error) => Err(error),
            },
            ("__contains__", [_, wanted]) => {
                self.found_in(&items, wanted).map(|at| Item::bool(at.is_some()))
            }
            ("index", [_, wanted]) => self.found_in(&items, wanted).and_then(|at| {
                at.map(|at| Item::int(at as i64))
                    .ok_or_else(|| LowerError::invalid("the value is not in the list"))
            }),
            ("eq" | "ne", [_, other]) => match self.heap.sequence(other).map(<[Item]>::to_vec) {
                Some(other) => self.equal(&items, &other).and_then(|equal| match name {
                    "eq" => Ok(equal),
                    _ => self.negated(&equal),
                }),
                None => Ok(Item::bool(name == "ne")),
            },
            ("sum", [_]) => self.folded("add", items, Item::int(0)),
            ("min" | "max", [_]) => self.folded(name, items, Item::NONE),
            ("min" | "max", [_, other]) => {
                let more = self.heap.sequence(other).unwrap_or_default().to_vec();
                let pairs: Vec<_> = items.into_iter().zip(more).collect();
                let all = pairs.iter().map(|(a, b)| self.arithmetic(name, a, b)).collect();
                let all: LowerResult<Vec<Item>> = all;
                all.map(|all| self.new_list(all))
            }
            ("all", [_]) => self.folded("__and__", items, Item::bool(true)),
            ("any", [_]) => self.folded("__or__", items, Item::bool(false)),
            ("sorted", [_, ..]) => sort(items, false).map(|items| self.new_list(items)),
            ("dict", [_]) => {
                let pair = |item: &Item| match self.heap.sequence(item) {
                    Some([key, value]) => Ok((key.clone(), value.clone())),
                    _ => Err(LowerError::invalid("a dict of what are no pairs")),
                };
                let pairs: LowerResult<Vec<_>> = items.iter().map(pair).collect();
                pairs.map(|pairs| Item::Dict(self.heap.add(Content::Dict(pairs))))
            }
            ("str", [of]) => Ok(Item::str(self.text(of))),
            _ => return None,
        })
    }

    /// A function that changes a list.
    fn list_change(
        &mut self,
        cell: Cell,
        (name, mut items): (&str, Vec<Item>),
        args: &[Item],
    ) -> Option<LowerResult<Item>> {
        let at = |item: &Item, len: usize| match item {
            Item::Val(Val::Int(Dim::Const(n))) => {
                let n = if *n < 0 { *n + len as i64 } else { *n };
                Ok(usize::try_from(n).unwrap_or(usize::MAX))
            }
            _ => Err(LowerError::dynamic("the place in a list is not known")),
        };
        let len = items.len();
        let mut result = Item::NONE;
        let changed: LowerResult<()> = (|| {
            match (name, args) {
                ("append", [_, item]) => items.push(item.clone()),
                ("extend" | "add_", [_, other]) => {
                    let more = self.heap.sequence(other);
                    let more =
                        more.ok_or_else(|| LowerError::invalid("a list is extended by no list"))?;
                    items.extend(more.iter().cloned());
                    if name == "add_" {
                        result = args[0].clone();
                    }
                }
                ("insert", [_, place, item]) => {
                    items.insert(at(place, len)?.min(len), item.clone());
                }
                ("pop", [_, rest @ ..]) => {
                    let place = rest.first().cloned().unwrap_or(Item::int(-1));
                    let place = at(&place, len)?;
                    if place >= len {
                        return Err(LowerError::invalid("nothing is there to be taken out"));
                    }
                    result = items.remove(place);
                }
                ("__delitem__" | "Delete", [_, place]) => {
                    let place = at(place, len)?;
                    if place >= len {
                        return Err(LowerError::invalid("nothing is there to be deleted"));
                    }
                    items.remove(place);
                }
                ("remove", [_, wanted]) => {
                    let place = self.found_in(&items, wanted)?;
                    let place =
                        place.ok_or_else(|| LowerError::invalid("the value is not in the list"))?;
                    items.remove(place);
                }
                ("clear", [_]) => items.clear(),
                ("reverse", [_]) => items.reverse(),
                ("sort", [_, rest @ ..]) => {
                    let down = matches!(rest.first(), Some(Item::Val(Val::Bool(true))));
                    items = sort(std::mem::take(&mut items), down)?;
                }
                ("_set_item", [of, place, item]) => {
                    let (of, place, item) = (of.clone(), place.clone(), item.clone());
                    self.set_item(&of, &place, item)?;
                    result = of;
                    return Err(LowerError::consequence());
                }
                _ => {}
            }
            Ok(())
        })();
        let known = matches!(
            name,
            "append"
                | "extend"
                | "add_"
                | "insert"
                | "pop"
                | "__delitem__"
                | "Delete"
                | "remove"
                | "clear"
                | "reverse"
                | "sort"
                | "_set_item"
        );
        if !known {
            return None;
        }
        Some(match changed {
            Ok(()) => {
                *self.heap.change(cell) = Content::List(items);
                Ok(result)
            }
            // Set in place already.
            Err(error) if error.consequence && name == "_set_item" => Ok(result),
            Err(error) => Err(error),
        })
    }

    fn folded(&mut self, op: &str, items: Vec<Item>, empty: Item) -> LowerResult<Item> {
        let mut items = items.into_iter();
        let Some(mut all) = items.next() else {
            return if empty.is_none() {
                Err(LowerError::invalid("the extreme of an empty list"))
            } else {
                Ok(empty)
            };
        };
        for item in items {
            all = self.arithmetic(op, &all, &item)?;
        }
        Ok(all)
    }

    /// Whether two items are equal, if that is known.
    fn known_equal(&mut self, a: &Item, b: &Item) -> LowerResult<bool> {
        let equal = match (a, b) {
            (a, b) if a.is_none() || b.is_none() => return Ok(a.is_none() && b.is_none()),
            (Item::Val(Val::Str(a)), Item::Val(Val::Str(b))) => return Ok(a == b),
            (Item::Val(Val::Str(_)), _) | (_, Item::Val(Val::Str(_))) => return Ok(false),
            (Item::Enum(a), Item::Enum(b)) => return Ok(a.class == b.class && a.name == b.name),
            (a, b) => {
                let parts = (
                    self.heap.sequence(a).map(<[Item]>::to_vec),
                    self.heap.sequence(b).map(<[Item]>::to_vec),
                );
                match parts {
                    (Some(a), Some(b)) => self.equal(&a, &b)?,
                    _ => self.arithmetic("eq", a, b)?,
                }
            }
        };
        match equal {
            Item::Val(Val::Bool(known)) => Ok(known),
            _ => Err(LowerError::dynamic("whether two values are equal is not known")),
        }
    }

    fn equal(&mut self, a: &[Item], b: &[Item]) -> LowerResult<Item> {
        if a.len() != b.len() {
            return Ok(Item::bool(false));
        }
        let mut all = Item::bool(true);
        for (a, b) in a.iter().zip(b) {
            let one = match (a, b) {
                (Item::Val(Val::Int(_)), Item::Val(Val::Int(_))) => self.arithmetic("eq", a, b)?,
                _ => Item::bool(self.known_equal(a, b)?),
            };
            all = self.arithmetic("__and__", &all, &one)?;
        }
        Ok(all)
    }

    fn found_in(&mut self, items: &[Item], wanted: &Item) -> LowerResult<Option<usize>> {
        for (at, item) in items.iter().enumerate() {
            if self.known_equal(item, wanted)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn dict_function(
        &mut self,
        cell: Cell,
        name: &str,
        args: &[Item],
    ) -> Option<LowerResult<Item>> {
        let Content::Dict(pairs) = self.heap.get(cell) else { return None };
        let mut pairs = pairs.clone();
        let (keys, values): (Vec<Item>, Vec<Item>) = pairs.iter().cloned().unzip();
        let missing = || LowerError::invalid("the key is not in the dict");
        Some((|| {
            let place = match args.get(1) {
                Some(key) if !matches!(name, "update" | "eq" | "ne") => {
                    self.found_in(&keys, key)?
                }
                _ => None,
            };
            let value = place.map(|at| values[at].clone());
            Ok(match (name, args) {
                ("len", [_]) => Item::int(keys.len() as i64),
                ("keys" | "list", [_]) => self.new_list(keys),
                ("values", [_]) => self.new_list(values),
                ("items", [_]) => {
                    let all = pairs.into_iter().map(|(k, v)| Item::tuple(vec![k, v])).collect();
                    self.new_list(all)
                }
                ("copy" | "dict", [_]) => Item::Dict(self.heap.add(Content::Dict(pairs))),
                ("__contains__", [_, _]) => Item::bool(value.is_some()),
                ("__getitem__", [_, _]) => value.ok_or_else(missing)?,
                ("get", [_, _, rest @ ..]) => {
                    value.unwrap_or_else(|| rest.first().cloned().unwrap_or(Item::NONE))
                }
                ("setdefault", [of, key, default]) => match value {
                    Some(value) => value,
                    None => {
                        self.set_item(of, key, default.clone())?;
                        default.clone()
                    }
                },
                ("_set_item", [of, key, item]) => {
                    self.set_item(of, key, item.clone())?;
                    Item::NONE
                }
                ("pop" | "__delitem__" | "Delete", [_, _, rest @ ..]) => match place {
                    Some(at) => {
                        let (_, value) = pairs.remove(at);
                        *self.heap.change(cell) = Content::Dict(pairs);
                        value
                    }
                    None => rest.first().cloned().ok_or_else(missing)?,
                },
                ("clear", [_]) => {
                    *self.heap.change(cell) = Content::Dict(Vec::new());
                    Item::NONE
                }
                ("update", [of, Item::Dict(other)]) => {
                    let Content::Dict(more) = self.heap.get(*other) else {
                        return Err(self.broken(*other));
                    };
                    for (key, item) in more.clone() {
                        self.set_item(of, &key, item)?;
                    }
                    Item::NONE
                }
                _ => return Err(LowerError::argument(format!("`{name}` of a dict"))),
            })
        })())
    }

    /// `of[index]`.
    pub(super) fn get_item(&mut self, of: &Item, index: &Item) -> LowerResult<Item> {
        match of {
            Item::Poison => Err(LowerError::consequence()),
            Item::Dict(cell) => {
                let result = self.dict_function(*cell, "__getitem__", &[of.clone(), index.clone()]);
                result.unwrap_or_else(|| Err(self.broken(*cell)))
            }
            Item::List(cell) if matches!(self.heap.get(*cell), Content::Broken(_)) => {
                Err(self.broken(*cell))
            }
            Item::Val(Val::Tensor(tensor)) => {
                let Item::Val(index @ Val::Int(_)) = index else {
                    return Err(LowerError::argument("a tensor is indexed by no integer"));
                };
                let args = [
                    ("self", Val::Tensor(*tensor)),
                    ("dim", Val::Int(Dim::Const(0))),
                    ("index", index.clone()),
                ];
                Ok(Item::Val(Val::Tensor(self.cx.call_tensor("aten.select", &args)?)))
            }
            Item::Val(Val::Str(text)) => {
                let chars: Vec<char> = text.chars().collect();
                let at = place(index, chars.len())?;
                Ok(Item::str(chars[at].to_string()))
            }
            of => {
                let Some(items) = self.heap.sequence(of) else {
                    return Err(LowerError::invalid(format!("{} cannot be indexed", of.kind())));
                };
                let at = place(index, items.len())?;
                Ok(items[at].clone())
            }
        }
    }

    /// `of[index] = item`.
    pub(super) fn set_item(&mut self, of: &Item, index: &Item, item: Item) -> LowerResult<Item> {
        match of {
            Item::Poison => Err(LowerError::consequence()),
            Item::List(cell) => {
                let len = self.heap.sequence(of).map_or(0, <[Item]>::len);
                let at = place(index, len)?;
                if let Content::List(items) = self.heap.change(*cell) {
                    items[at] = item;
                }
                Ok(Item::NONE)
            }
            Item::Dict(cell) => {
                let Content::Dict(pairs) = self.heap.get(*cell) else {
                    return Err(self.broken(*cell));
                };
                let keys: Vec<Item> = pairs.iter().map(|(key, _)| key.clone()).collect();
                let at = self.found_in(&keys, index)?;
                if let Content::Dict(pairs) = self.heap.change(*cell) {
                    match at {
                        Some(at) => pairs[at].1 = item,
                        None => pairs.push((index.clone(), item)),
                    }
                }
                Ok(Item::NONE)
            }
            of => Err(LowerError::argument(format!("an item of {} cannot be set", of.kind()))),
        }
    }

    /// What a value prints as.
    pub(super) fn text(&self, item: &Item) -> String {
        match item {
            Item::Val(Val::Str(text)) => text.clone(),
            Item::Val(Val::Int(dim)) => dim.to_string(),
            Item::Val(Val::Float(x)) => format!("{x:?}"),
            Item::Val(Val::Bool(b)) => if *b { "True" } else { "False" }.to_owned(),
            Item::Val(Val::None) => "None".to_owned(),
            item => match self.heap.sequence(item) {
                Some(items) if items.len() <= 64 => {
                    let shown: Vec<String> = items
                        .iter()
                        .map(|item| match self.heap.sequence(item) {
                            Some(_) => "…".to_owned(),
                            None => self.text(item),
                        })
                        .collect();
                    format!("[{}]", shown.join(", "))
                }
                _ => format!("<{}>", item.kind()),
            },
        }
    }

    fn text_function(
        &mut self,
        text: &str,
        name: &str,
        args: &[Item],
    ) -> Option<LowerResult<Item>> {
        let other = match args.get(1) {
            Some(Item::Val(Val::Str(other))) => Some(other.as_str()),
            _ => None,
        };
        Some(Ok(match (name, other) {
            ("len", _) => Item::int(text.chars().count() as i64),
            ("eq", Some(other)) => Item::bool(text == other),
            ("ne", Some(other)) => Item::bool(text != other),
            ("add", Some(other)) => Item::str(format!("{text}{other}")),
            ("__contains__", Some(other)) => Item::bool(text.contains(other)),
            ("startswith", Some(other)) => Item::bool(text.starts_with(other)),
            ("endswith", Some(other)) => Item::bool(text.ends_with(other)),
            // Over the whole text alone, which is what the two further arguments say then.
            ("find" | "rfind", Some(other)) if is_whole(text, &args[2..]) => {
                let at = if name == "find" { text.find(other) } else { text.rfind(other) };
                Item::int(at.map_or(-1, |at| text[..at].chars().count() as i64))
            }
            ("count", Some(other)) if !other.is_empty() && is_whole(text, &args[2..]) => {
                Item::int(text.matches(other).count() as i64)
            }
            ("lower", _) => Item::str(text.to_lowercase()),
            ("upper", _) => Item::str(text.to_uppercase()),
            ("strip", None) => Item::str(text.trim()),
            ("lstrip", None) => Item::str(text.trim_start()),
            ("rstrip", None) => Item::str(text.trim_end()),
            ("str", _) => Item::str(text),
            ("format", _) => {
                let mut rest = args[1..].iter();
                let mut out = String::new();
                let mut parts = text.split("{}");
                out.push_str(parts.next().unwrap_or_default());
                for part in parts {
                    if let Some(item) = rest.next() {
                        out.push_str(&self.text(item));
                    }
                    out.push_str(part);
                }
                Item::str(out)
            }
            ("percentFormat", _) => {
                let shown: Vec<String> = args[1..].iter().map(|item| self.text(item)).collect();
                Item::str(format!("{text} {}", shown.join(" ")))
            }
            ("__getitem__", _) => return Some(self.get_item(&args[0], args.get(1)?)),
            ("split", Some(other)) if !other.is_empty() => {
                let parts = text.split(other).map(Item::str).collect();
                self.new_list(parts)
            }
            ("join", _) => {
                let items = self.heap.sequence(args.get(1)?)?;
                let parts: Vec<String> = items.iter().map(|item| self.text(item)).collect();
                Item::str(parts.join(text))
            }
            ("replace", Some(other)) => match args.get(2) {
                Some(Item::Val(Val::Str(by))) => Item::str(text.replace(other, by)),
                _ => return None,
            },
            _ => return None,
        }))
    }
}

/// Whether these are the bounds of a whole text: none, or 0 and -1 or its length.
fn is_whole(text: &str, bounds: &[Item]) -> bool {
    let count = text.chars().count() as i64;
    let at = |item: &Item| match item {
        Item::Val(Val::Int(Dim::Const(n))) => Some(*n),
        _ => None,
    };
    bounds.first().is_none_or(|first| at(first) == Some(0))
        && bounds.get(1).is_none_or(|end| at(end).is_some_and(|n| n == -1 || n >= count))
}

/// A place in a sequence of `len` items.
fn place(index: &Item, len: usize) -> LowerResult<usize> {
    let n = match index {
        Item::Val(Val::Int(Dim::Const(n))) => *n,
        Item::Val(Val::Bool(b)) => i64::from(*b),
        _ => return Err(LowerError::dynamic("the place in a list is not known")),
    };
    let at = if n < 0 { n.saturating_add(len as i64) } else { n };
    usize::try_from(at)
        .ok()
        .filter(|&at| at < len)
        .ok_or_else(|| LowerError::invalid(format!("place {n} of {len}")))
}

/// Items a list may have by repetition.
const MAX_REPEATED: usize = 1 << 16;

fn repeated(items: &[Item], times: i64) -> LowerResult<Vec<Item>> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    let count = items.len().checked_mul(times).filter(|&n| n <= MAX_REPEATED);
    let count = count.ok_or_else(|| LowerError::argument("a list of too many items"))?;
    Ok(items.iter().cycle().take(count).cloned().collect())
}

/// The places that `[start:end:step]` takes.
fn sliced(len: usize, rest: &[Item], named: &[(Name, Item)]) -> LowerResult<Vec<usize>> {
    let get = |at: usize, name: &str, default: Option<i64>| {
        let item = rest.get(at).or_else(|| named.iter().find(|n| &*n.0 == name).map(|n| &n.1));
        match item {
            None | Some(Item::Val(Val::None)) => Ok(default),
            Some(Item::Val(Val::Int(Dim::Const(n)))) => Ok(Some(*n)),
            Some(_) => Err(LowerError::dynamic("the part of a list is not known")),
        }
    };
    let step = get(2, "step", Some(1))?.unwrap_or(1);
    if step < 1 {
        return Err(LowerError::argument("a list is sliced backwards"));
    }
    let len = len as i64;
    let clamp = |n: i64| if n < 0 { n.saturating_add(len).max(0) } else { n.min(len) };
    let start = clamp(get(0, "start", Some(0))?.unwrap_or(0));
    let end = clamp(get(1, "end", Some(len))?.unwrap_or(len));
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok((start..end).step_by(step).filter_map(|i| usize::try_from(i).ok()).collect())
}

fn sort(mut items: Vec<Item>, down: bool) -> LowerResult<Vec<Item>> {
    let number = |item: &Item| match item {
        Item::Val(Val::Int(dim)) => dim.as_const().map(|n| n as f64),
        Item::Val(Val::Float(x)) => Some(*x),
        _ => None,
    };
    let word = |item: &Item| match item {
        Item::Val(Val::Str(text)) => Some(text.clone()),
        _ => None,
    };
    if items.iter().all(|item| number(item).is_some()) {
        items.sort_by(|a, b| number(a).unwrap_or(0.0).total_cmp(&number(b).unwrap_or(0.0)));
    } else if items.iter().all(|item| word(item).is_some()) {
        items.sort_by_key(word);
    } else {
        return Err(LowerError::argument("a list of what has no known order is sorted"));
    }
    if down {
        items.reverse();
    }
    Ok(items)
}

/// A value that must not be used.
pub(super) fn why(message: &str) -> Rc<Absent> {
    Rc::new(Absent {
        code: mlc_diag::codes::UNSUPPORTED_ARGUMENT,
        message: message.to_owned(),
        help: "make both ways give the same kind of value",
    })
}
