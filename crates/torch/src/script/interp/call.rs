//! Calls: of ops, of methods and functions of the archive, of classes, of Python's own functions.

use std::rc::Rc;

use super::super::ast::{Expr, ExprKind, Function, Name, Parameter};
use super::super::source::Code;
use super::item::{Content, Item, ObjectData, Tuple};
use super::stmt::Flow;
use super::{Eval, Frame, Interp};
use crate::lower::error::LowerError;
use crate::lower::value::Val;

/// Arguments of a call as they stand in the source.
pub(super) type Args<'m> = (&'m [Expr], &'m [(Name, Expr)]);

/// Arguments by name.
pub(super) type Named = Vec<(Name, Item)>;

impl<'m> Interp<'_, 'm, '_> {
    pub(super) fn call(&mut self, at: u32, callee: &'m Expr, args: Args<'m>) -> Eval<Item> {
        if let Some(path) = callee.path() {
            let root = path.split('.').next().unwrap_or_default();
            if !self.vars().contains_key(root) {
                let closure = self.frames.last().and_then(|frame| frame.closures.get(&*path));
                if let Some(&function) = closure {
                    return self.call_closure(function, args);
                }
                return self.call_path(at, &path, args);
            }
        }
        let ExprKind::Attr(of, method) = &callee.kind else {
            let of = self.eval(callee)?;
            if let Item::Function(path) = &of {
                return self.call_path(at, path, args);
            }
            let error = LowerError::invalid(format!("{} cannot be called", of.kind()));
            return Ok(self.settle(Err(error), at, "call"));
        };
        let of = self.eval(of)?;
        let of = self.usable(of, at);
        let (positional, named) = self.arguments(args)?;
        self.method(at, (of, method), positional, named)
    }

    fn arguments(&mut self, (args, named): Args<'m>) -> Eval<(Vec<Item>, Named)> {
        let positional = self.eval_all(args)?;
        let mut by_name = Vec::with_capacity(named.len());
        for (name, expr) in named {
            by_name.push((name.clone(), self.eval(expr)?));
        }
        Ok((positional, by_name))
    }

    /// `of.method(…)`.
    fn method(
        &mut self,
        at: u32,
        (of, method): (Item, &str),
        args: Vec<Item>,
        named: Named,
    ) -> Eval<Item> {
        match &of {
            Item::Object(cell) => {
                let Content::Object(object) = self.heap.get(*cell) else {
                    let error = self.broken(*cell);
                    return Ok(self.settle(Err(error), at, method));
                };
                let class = Rc::clone(&object.class);
                let Some(code) = self.module.sources.method(&class, method) else {
                    let error = LowerError::invalid(format!("`{class}` has no method `{method}`"));
                    return Ok(self.settle(Err(error), at, method));
                };
                let mut all = vec![of];
                all.extend(args);
                self.call_code(code, all, named)
            }
            Item::Poison => Ok(Item::Poison),
            _ => {
                let mut all = vec![of];
                all.extend(args);
                self.call_op(at, &format!("aten.{method}"), all, named)
            }
        }
    }

    /// A call of what is named by a path.
    fn call_path(&mut self, at: u32, path: &str, args: Args<'m>) -> Eval<Item> {
        if let Some(special) = self.special(at, path, args)? {
            return Ok(special);
        }
        if let Some((class, "__new__")) = path.rsplit_once('.') {
            let data = ObjectData { class: class.into(), ..ObjectData::default() };
            return Ok(Item::Object(self.heap.add(Content::Object(data))));
        }
        let (positional, named) = self.arguments(args)?;
        if let Some(op) = path.strip_prefix("torch.") {
            return self.call_op(at, &format!("aten.{op}"), positional, named);
        }
        if let Some(op) = path.strip_prefix("ops.") {
            return self.call_op(at, op, positional, named);
        }
        if let Some(code) = self.module.sources.function(path) {
            return self.call_code(code, positional, named);
        }
        if let Some(class) = self.module.sources.class(path) {
            if class.base.as_deref() == Some("Enum") {
                let value = positional.into_iter().next().unwrap_or(Item::NONE);
                return Ok(super::stored::enum_of(self.module, path, value));
            }
            let fields: Vec<Name> = class.attributes.iter().map(|(name, _)| name.clone()).collect();
            let mut items = positional;
            for (name, item) in named {
                if fields.get(items.len()) == Some(&name) {
                    items.push(item);
                }
            }
            return Ok(Item::Tuple(Rc::new(Tuple { items, fields })));
        }
        if !path.contains('.') {
            return self.call_op(at, &format!("aten.{path}"), positional, named);
        }
        let error = LowerError::invalid(format!("`{path}` is not in the file"));
        Ok(self.settle(Err(error), at, path))
    }

    /// Calls whose arguments are not all values.
    fn special(&mut self, at: u32, path: &str, (args, named): Args<'m>) -> Eval<Option<Item>> {
        Ok(Some(match (path, args) {
            ("annotate" | "unchecked_cast", [ty, value]) => {
                let item = self.eval(value)?;
                // A tensor where a number is wanted is written as a cast.
                let number = match ty.path().filter(|_| item.tensor().is_some()).as_deref() {
                    Some("int") => self.int_of(&item),
                    Some("float") => self.float_of(&item),
                    Some("number") => self.scalar_of(&item),
                    Some("bool") => self.bool_of(&item),
                    _ => Ok(item),
                };
                self.settle(number, at, "annotate")
            }
            ("uninitialized", _) => Item::absent(
                mlc_diag::codes::INVALID_GRAPH,
                "a value is used that was never set",
                "set it on every path",
            ),
            ("getattr", [of, name]) => {
                let of = self.eval(of)?;
                let ExprKind::Str(name) = &name.kind else { return Ok(None) };
                let of = self.usable(of, at);
                let item = self.attribute_of(&of, name);
                self.settle(item, at, name)
            }
            ("isinstance" | "ops.prim.isinstance", [value, ty]) => {
                let value = self.eval(value)?;
                Item::bool(self.is_instance(&value, ty))
            }
            // What runs at the side runs here.
            ("fork" | "ops.prim.fork" | "torch.fork" | "awaitable", [callee, rest @ ..]) => {
                return self.call(at, callee, (rest, named)).map(Some);
            }
            ("torch.wait" | "wait" | "ops.prim.awaitable_wait" | "torch.awaitable_wait", [of]) => {
                self.eval(of)?
            }
            _ => return Ok(None),
        }))
    }

    /// Runs a function of the archive.
    pub(super) fn call_code(
        &mut self,
        code: Code<'m>,
        args: Vec<Item>,
        named: Named,
    ) -> Eval<Item> {
        let path = match args.first() {
            Some(Item::Object(cell)) => match self.heap.get(*cell) {
                Content::Object(object) if object.stored => Rc::clone(&object.path),
                _ => self.frames.last().map(|f| Rc::clone(&f.path)).unwrap_or_default(),
            },
            _ => self.frames.last().map(|f| Rc::clone(&f.path)).unwrap_or_default(),
        };
        let (vars, closures) = Default::default();
        self.enter(Frame { vars, closures, code, path, at: 0 }, args, named)
    }

    /// Runs a function that stands within the one that runs, and sees its names.
    fn call_closure(&mut self, function: &'m Function, args: Args<'m>) -> Eval<Item> {
        let (positional, named) = self.arguments(args)?;
        let Some(outer) = self.frames.last() else { return Ok(Item::Poison) };
        let frame = Frame {
            vars: outer.vars.clone(),
            closures: outer.closures.clone(),
            code: Code { function, file: outer.code.file },
            path: Rc::clone(&outer.path),
            at: 0,
        };
        self.enter(frame, positional, named)
    }

    fn enter(&mut self, frame: Frame<'m>, args: Vec<Item>, named: Named) -> Eval<Item> {
        let at = self.frames.last().map_or(0, |frame| frame.at);
        let code = frame.code;
        self.deeper(at, |interp| {
            interp.frames.push(frame);
            interp.bind(&code.function.parameters, args, named, at);
            let result = interp.block(&code.function.body);
            interp.frames.pop();
            Ok(match result? {
                Flow::Return(item) => item,
                Flow::Next => Item::NONE,
            })
        })
    }

    fn bind(&mut self, parameters: &'m [Parameter], args: Vec<Item>, named: Named, at: u32) {
        let count = args.len();
        let mut args = args.into_iter();
        for parameter in parameters {
            let given = args
                .next()
                .or_else(|| named.iter().find(|(n, _)| *n == parameter.name).map(|n| n.1.clone()));
            let item = match (given, &parameter.default) {
                (Some(item), _) => item,
                (None, Some(default)) => {
                    let item = self.literal(default);
                    self.settle(item, at, &parameter.name)
                }
                (None, None) => {
                    let message = format!("the argument `{}` is missing", parameter.name);
                    self.settle(Err(LowerError::invalid(message)), at, "call")
                }
            };
            self.vars().insert(parameter.name.clone(), item);
        }
        if count > parameters.len() {
            let message = format!("{count} arguments for {} parameters", parameters.len());
            self.report(LowerError::invalid(message), at, "call");
        }
    }

    /// Whether an item is of a type.
    fn is_instance(&self, item: &Item, ty: &Expr) -> bool {
        let Some((head, arguments)) = ty.type_parts() else {
            return match &ty.kind {
                ExprKind::Tuple(types) => types.iter().any(|ty| self.is_instance(item, ty)),
                _ => false,
            };
        };
        match (head.as_str(), item) {
            ("Any", _) => true,
            ("NoneType", item) => item.is_none(),
            ("Optional", item) => {
                item.is_none() || arguments.first().is_some_and(|ty| self.is_instance(item, ty))
            }
            ("Tensor", Item::Val(Val::Tensor(_))) | ("int", Item::Val(Val::Int(_))) => true,
            ("float", Item::Val(Val::Float(_))) | ("str", Item::Val(Val::Str(_))) => true,
            ("bool", Item::Val(Val::Bool(_) | Val::Relation(_))) => true,
            ("List" | "list", Item::List(_)) => {
                let items = self.heap.sequence(item).unwrap_or_default();
                arguments
                    .first()
                    .is_none_or(|ty| items.iter().all(|item| self.is_instance(item, ty)))
            }
            ("Tuple" | "tuple", Item::Tuple(tuple)) => {
                let items = &tuple.items;
                arguments.is_empty()
                    || arguments.len() == items.len()
                        && items.iter().zip(arguments).all(|(i, ty)| self.is_instance(i, ty))
            }
            ("Dict" | "dict", Item::Dict(_)) => true,
            (class, Item::Object(cell)) => match self.heap.get(*cell) {
                Content::Object(object) => &*object.class == class,
                _ => false,
            },
            (class, Item::Enum(member)) => member.class == class,
            _ => false,
        }
    }
}
