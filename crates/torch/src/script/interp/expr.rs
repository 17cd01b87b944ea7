//! Expressions.

use std::rc::Rc;

use mlc_diag::codes;

use super::super::ast::{Binary, Expr, ExprKind, Unary};
use super::flow::Truth;
use super::item::{Content, Item};
use super::{Eval, Interp, stored};
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;

impl<'m> Interp<'_, 'm, '_> {
    pub(super) fn eval(&mut self, expr: &'m Expr) -> Eval<Item> {
        self.deeper(expr.at, |interp| interp.expr(expr))
    }

    pub(super) fn eval_all(&mut self, exprs: &'m [Expr]) -> Eval<Vec<Item>> {
        exprs.iter().map(|expr| self.eval(expr)).collect()
    }

    fn expr(&mut self, expr: &'m Expr) -> Eval<Item> {
        Ok(match &expr.kind {
            ExprKind::None => Item::NONE,
            ExprKind::Bool(b) => Item::bool(*b),
            ExprKind::Int(n) => Item::int(*n),
            ExprKind::Float(x) => Item::float(*x),
            ExprKind::Imaginary(x) => Item::Val(Val::Complex(0.0, *x)),
            ExprKind::Str(text) => Item::str(text.clone()),
            ExprKind::Name(name) => match self.vars().get(name).cloned() {
                Some(item) => item,
                None => {
                    let error = LowerError::invalid(format!("the name `{name}` is not defined"));
                    self.settle(Err(error), expr.at, name)
                }
            },
            ExprKind::Attr(of, name) => self.attr(expr, of, name)?,
            ExprKind::Index(of, index) => {
                let (of, index) = (self.eval(of)?, self.eval(index)?);
                let (of, index) = (self.usable(of, expr.at), self.usable(index, expr.at));
                let item = self.get_item(&of, &index);
                self.settle(item, expr.at, "subscript")
            }
            ExprKind::Call(callee, args, named) => self.call(expr.at, callee, (args, named))?,
            ExprKind::List(items) => {
                let items = self.eval_all(items)?;
                Item::List(self.heap.add(Content::List(items)))
            }
            ExprKind::Tuple(items) => Item::tuple(self.eval_all(items)?),
            ExprKind::Dict(pairs) => {
                let mut all = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    all.push((self.eval(key)?, self.eval(value)?));
                }
                Item::Dict(self.heap.add(Content::Dict(all)))
            }
            ExprKind::Unary(operator, of) => {
                let of = self.eval(of)?;
                let op = match operator {
                    Unary::Minus => "neg",
                    Unary::Invert => "bitwise_not",
                    Unary::Not => "__not__",
                };
                self.apply(op, vec![of], expr.at)?
            }
            ExprKind::Binary(Binary::Call(op), left, right) => {
                let args = vec![self.eval(left)?, self.eval(right)?];
                self.apply(op, args, expr.at)?
            }
            ExprKind::Binary(operator, left, right) => {
                let left = self.eval(left)?;
                let stops = *operator == Binary::Or;
                match self.truth(&left, expr.at) {
                    Truth::Known(known) if known == stops => left,
                    Truth::Known(_) => self.eval(right)?,
                    Truth::Poison => Item::Poison,
                    Truth::Runtime(_) => {
                        let right = self.eval(right)?;
                        let op = if stops { "__or__" } else { "__and__" };
                        self.apply(op, vec![left, right], expr.at)?
                    }
                }
            }
            ExprKind::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.eval(condition)?;
                self.choose(&condition, (then, otherwise), expr.at)?
            }
        })
    }

    /// `of.name`.
    fn attr(&mut self, expr: &'m Expr, of: &'m Expr, name: &str) -> Eval<Item> {
        if let Some(path) = expr.path()
            && let Some(root) = path.split('.').next()
            && !self.vars().contains_key(root)
        {
            let item = self.global(&path);
            return Ok(self.settle(item, expr.at, &path));
        }
        let of = self.eval(of)?;
        let of = self.usable(of, expr.at);
        let item = self.attribute_of(&of, name);
        Ok(self.settle(item, expr.at, name))
    }

    /// What a dotted name means that begins with no variable: a constant, a member of an
    /// enumeration, or a function.
    fn global(&mut self, path: &str) -> LowerResult<Item> {
        if let Some(number) = path.strip_prefix("CONSTANTS.c") {
            let at = number.parse::<usize>().ok();
            return at.and_then(|at| self.constants.get(at)).cloned().ok_or_else(|| {
                LowerError::new(codes::CORRUPT_ARCHIVE, format!("there is no constant `{path}`"))
            });
        }
        if let Some((class, member)) = path.rsplit_once('.')
            && let Some(about) = self.module.sources.class(class)
            && let Some((_, value)) = about.values.iter().find(|(name, _)| &**name == member)
        {
            let value = match &value.kind {
                ExprKind::Int(n) => Item::int(*n),
                ExprKind::Float(x) => Item::float(*x),
                ExprKind::Str(text) => Item::str(text.clone()),
                ExprKind::Bool(b) => Item::bool(*b),
                _ => return Err(LowerError::invalid(format!("`{path}` is no literal"))),
            };
            if about.base.as_deref() == Some("Enum") {
                return Ok(stored::enum_of(self.module, class, value));
            }
            return Ok(value);
        }
        if self.module.sources.function(path).is_some() {
            return Ok(Item::Function(path.into()));
        }
        Err(LowerError::invalid(format!("the name `{path}` is not defined")))
    }

    /// An attribute of an item.
    pub(super) fn attribute_of(&mut self, of: &Item, name: &str) -> LowerResult<Item> {
        match of {
            Item::Poison => Err(LowerError::consequence()),
            Item::Object(cell) => {
                let Content::Object(object) = self.heap.get(*cell) else {
                    return Err(self.broken(*cell));
                };
                if let Some(item) = object.attributes.get(name) {
                    return Ok(item.clone());
                }
                let class = Rc::clone(&object.class);
                self.class_value(&class, name)
            }
            Item::Tuple(tuple) => {
                let at = tuple.fields.iter().position(|field| &**field == name);
                let item = at.and_then(|at| tuple.items.get(at)).cloned();
                item.ok_or_else(|| LowerError::invalid(format!("a tuple has no field `{name}`")))
            }
            Item::Enum(member) => match name {
                "value" => Ok(member.value.clone()),
                "name" => Ok(Item::str(member.name.clone())),
                _ => Err(LowerError::invalid(format!("an enumeration has no `{name}`"))),
            },
            of => self.tensor_attribute(of, name),
        }
    }

    /// A value that stands in a class.
    fn class_value(&mut self, class: &str, name: &str) -> LowerResult<Item> {
        let about = self.module.sources.class(class);
        let value = about.and_then(|c| c.values.iter().find(|(own, _)| &**own == name));
        match value {
            Some((_, literal)) => self.literal(literal),
            None => Err(LowerError::invalid(format!("`{class}` has no attribute `{name}`"))),
        }
    }

    /// A literal outside of any function.
    pub(super) fn literal(&mut self, expr: &Expr) -> LowerResult<Item> {
        let all = |interp: &mut Self, items: &[Expr]| {
            items.iter().map(|item| interp.literal(item)).collect::<LowerResult<Vec<_>>>()
        };
        Ok(match &expr.kind {
            ExprKind::None => Item::NONE,
            ExprKind::Bool(b) => Item::bool(*b),
            ExprKind::Int(n) => Item::int(*n),
            ExprKind::Float(x) => Item::float(*x),
            ExprKind::Imaginary(x) => Item::Val(Val::Complex(0.0, *x)),
            ExprKind::Str(text) => Item::str(text.clone()),
            ExprKind::Tuple(items) => Item::tuple(all(self, items)?),
            ExprKind::List(items) => {
                let items = all(self, items)?;
                Item::List(self.heap.add(Content::List(items)))
            }
            ExprKind::Dict(pairs) => {
                let mut out = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    out.push((self.literal(key)?, self.literal(value)?));
                }
                Item::Dict(self.heap.add(Content::Dict(out)))
            }
            ExprKind::Attr(..) => match expr.path() {
                Some(path) => self.global(&path)?,
                None => return Err(LowerError::invalid("a default that is no literal")),
            },
            ExprKind::Call(callee, args, _) if !args.is_empty() => {
                let path = callee.path().unwrap_or_default();
                let last = args.len() - 1;
                match path.as_str() {
                    "annotate" | "unchecked_cast" => self.literal(&args[last])?,
                    "torch.device" => match &args[0].kind {
                        ExprKind::Str(kind) => Item::Val(Val::Device(kind.clone())),
                        _ => return Err(LowerError::invalid("a device is named by text")),
                    },
                    _ => return Err(LowerError::invalid("a default that is no literal")),
                }
            }
            _ => return Err(LowerError::invalid("a default that is no literal")),
        })
    }
}
