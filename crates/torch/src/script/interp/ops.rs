//! Calls of ops: which overload is meant, and its arguments by name.

use mlc_ir::Dim;
use mlc_tensor::DType;

use super::super::ast::Name;
use super::call::Named;
use super::item::{Content, Item, NumberKind};
use super::{Eval, Interp, Stop};
use crate::dtype::{aten_scalar_type, aten_scalar_type_of};
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::schema::{ArgType, Base, Schema, SchemaArg, overloads};
use crate::lower::value::Val;

/// How freely arguments are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// As their types say.
    Exact,
    /// An int for a float, a tensor of one element for a number.
    Converted,
}

impl Interp<'_, '_, '_> {
    /// An op on values that are there.
    pub(super) fn apply(&mut self, op: &str, args: Vec<Item>, at: u32) -> Eval<Item> {
        self.call_op(at, &format!("aten.{op}"), args, Vec::new())
    }

    /// A call of `namespace.op`.
    pub(super) fn call_op(
        &mut self,
        at: u32,
        op: &str,
        args: Vec<Item>,
        named: Named,
    ) -> Eval<Item> {
        let op =
            op.strip_prefix("aten.prim.").map_or_else(|| op.to_owned(), |o| format!("prim.{o}"));
        if op == "prim.RaiseException" {
            let text = args.first().map(|item| self.text(item)).unwrap_or_default();
            return Err(Stop::Raised(text));
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.at = at;
        }
        let loc = self.loc(at, Some(&op));
        self.cx.b.loc = self.cx.b.program.intern_loc(loc);
        let args: Vec<Item> = args.into_iter().map(|item| self.usable(item, at)).collect();
        let poisoned = args.iter().chain(named.iter().map(|(_, item)| item));
        if poisoned.into_iter().any(|item| self.heap.is_poisoned(item)) {
            if !self.cx.covers(&op) && !self.is_builtin(&op) {
                let error = self.cx.unsupported_op(&op);
                self.report(error, at, &op);
            }
            return Ok(Item::Poison);
        }
        let result = match self.builtin(&op, &args, &named) {
            Some(result) => result,
            None => self.tensor_op(&op, &args, &named),
        };
        Ok(self.settle(result, at, &op))
    }

    fn tensor_op(&mut self, op: &str, args: &[Item], named: &[(Name, Item)]) -> LowerResult<Item> {
        if !self.cx.covers(op) {
            return Err(self.cx.unsupported_op(op));
        }
        let known = overloads(op);
        let chosen = [Fit::Exact, Fit::Converted].into_iter().find_map(|fit| {
            known.iter().find(|s| self.takes(s, (args, named), fit)).map(|s| (s, fit))
        });
        let Some((schema, fit)) = chosen else {
            let kinds: Vec<&str> = args.iter().map(Item::kind).collect();
            let message = format!("no overload takes {}", kinds.join(", "));
            return Err(LowerError::argument(message)
                .help("call the op with the arguments that PyTorch documents"));
        };
        self.quantizes = op.starts_with("aten.quantize_per_");
        let mut values = Vec::with_capacity(schema.args.len());
        for (i, arg) in schema.args.iter().enumerate() {
            let Some(item) = given(arg, i, args, named) else { continue };
            let val = self.argument(item, arg, fit)?;
            if arg.default.is_some_and(|text| is_default(&val, text)) {
                continue;
            }
            values.push((arg.name.to_owned(), val));
        }
        if schema.args.iter().all(|arg| arg.name != "out")
            && let Some((_, item)) = named.iter().find(|(name, _)| &**name == "out")
            && let Some(tensor) = item.tensor()
        {
            values.push(("out".to_owned(), Val::Tensor(tensor)));
        }
        let loc = self.cx.b.program.loc(self.cx.b.loc).clone();
        let mut call = Call::new(op, schema.overload, values, &loc);
        call.outputs = schema.results.len();
        let vals = self.cx.lower_call(&call)?;
        self.name_results(op, &vals);
        self.results(schema, vals)
    }

    /// Names values as an export would: by the op, with a number from the second on.
    fn name_results(&mut self, op: &str, vals: &[Val]) {
        let stem = op.rsplit('.').next().unwrap_or(op).trim_matches('_');
        for val in vals {
            let Val::Tensor(tensor) = val else { continue };
            let Some(value) = self.cx.nameless(*tensor) else { continue };
            let count = self.named.entry(stem.to_owned()).or_default();
            let name = if *count == 0 {
                stem.to_owned()
            } else {
                format!("{stem}_{count}", count = *count)
            };
            *count += 1;
            self.cx.b.name(value, &name);
        }
    }

    /// What the lowering gave, in the form of the op's results.
    fn results(&mut self, schema: &Schema, vals: Vec<Val>) -> LowerResult<Item> {
        for val in &vals {
            self.cx.know_extents(val);
        }
        match &schema.results[..] {
            [] => Ok(Item::NONE),
            [one] if one.list => {
                let mut vals = vals.into_iter();
                let items = match vals.next() {
                    Some(Val::List(items)) => items,
                    first => first.into_iter().chain(vals).collect(),
                };
                let items = items.into_iter().map(|val| self.item_of(val)).collect();
                Ok(Item::List(self.heap.add(Content::List(items))))
            }
            [_] => {
                let val = vals.into_iter().next();
                let val = val.ok_or_else(|| LowerError::invalid("the op gives no result"))?;
                Ok(self.item_of(val))
            }
            all => {
                let count = all.len();
                let mut items: Vec<Item> =
                    vals.into_iter().map(|val| self.item_of(val)).take(count).collect();
                items.resize(
                    count,
                    Item::absent(
                        mlc_diag::codes::UNSUPPORTED_ARGUMENT,
                        "this result of the op is not computed",
                        "use the other results alone",
                    ),
                );
                Ok(Item::tuple(items))
            }
        }
    }

    pub(super) fn item_of(&mut self, val: Val) -> Item {
        match val {
            Val::List(items) => {
                let items = items.into_iter().map(|val| self.item_of(val)).collect();
                Item::List(self.heap.add(Content::List(items)))
            }
            val => Item::Val(val),
        }
    }

    fn takes(&self, schema: &Schema, (args, named): (&[Item], &[(Name, Item)]), fit: Fit) -> bool {
        let positional = schema.args.iter().filter(|arg| !arg.named).count();
        if args.len() > positional
            || named.iter().any(|(name, _)| {
                // A result may be written to any tensor.
                &**name != "out" && schema.args.iter().all(|arg| arg.name != &**name)
            })
        {
            return false;
        }
        schema.args.iter().enumerate().all(|(i, arg)| match given(arg, i, args, named) {
            Some(item) => self.fits(item, arg.ty, fit),
            None => arg.default.is_some(),
        })
    }

    fn fits(&self, item: &Item, ty: ArgType, fit: Fit) -> bool {
        if item.is_none() {
            return ty.optional || ty.base == Base::Generator;
        }
        if !ty.list {
            return self.fits_base(item, ty.base, fit);
        }
        match self.heap.sequence(item) {
            Some(items) => items.iter().all(|item| {
                ty.optional_items && item.is_none() || self.fits_base(item, ty.base, fit)
            }),
            None => ty.single && self.fits_base(item, ty.base, fit),
        }
    }

    fn fits_base(&self, item: &Item, base: Base, fit: Fit) -> bool {
        let converted = fit == Fit::Converted;
        match (base, item) {
            (Base::Tensor, item) => item.tensor().is_some(),
            (Base::Scalar, Item::Val(val)) => {
                matches!(val, Val::Int(_) | Val::Float(_) | Val::Bool(_) | Val::Complex(..))
                    || converted && matches!(val, Val::Tensor(_))
            }
            (Base::Scalar, Item::Number(..))
            | (Base::Float, Item::Number(_, NumberKind::Float)) => true,
            (Base::Int | Base::DType | Base::Layout | Base::MemoryFormat, Item::Val(val)) => {
                matches!(val, Val::Int(_))
                    || converted && matches!(val, Val::Tensor(_) | Val::Bool(_))
            }
            (Base::Float | Base::Complex, Item::Val(val)) => {
                matches!(val, Val::Float(_))
                    || converted && matches!(val, Val::Int(_) | Val::Bool(_) | Val::Tensor(_))
            }
            (Base::Bool, Item::Val(val)) => {
                matches!(val, Val::Bool(_) | Val::Relation(_))
                    || converted && matches!(val, Val::Int(_) | Val::Tensor(_))
            }
            (Base::Bool, Item::Number(_, NumberKind::Bool)) => true,
            (Base::Str, Item::Val(Val::Str(_))) | (Base::Device, Item::Val(Val::Device(_))) => true,
            (Base::Device, Item::Val(Val::Str(_))) => converted,
            // Packed weights.
            (Base::Object, Item::List(_)) => true,
            _ => false,
        }
    }

    /// An item as the argument that it is given for.
    fn argument(&mut self, item: &Item, arg: &SchemaArg, fit: Fit) -> LowerResult<Val> {
        if item.is_none() {
            return Ok(Val::None);
        }
        if arg.ty.list
            && let Some(items) = self.heap.sequence(item)
        {
            let items = items.to_vec();
            let vals = items.iter().map(|item| self.one_argument(item, arg, fit));
            return vals.collect::<LowerResult<Vec<_>>>().map(Val::List);
        }
        self.one_argument(item, arg, fit)
    }

    fn one_argument(&mut self, item: &Item, arg: &SchemaArg, fit: Fit) -> LowerResult<Val> {
        if arg.ty.base == Base::Object {
            return self.deep(item, 0);
        }
        let wants_number = !matches!(arg.ty.base, Base::Tensor);
        let item = match item {
            Item::Val(Val::Tensor(_)) if wants_number && fit == Fit::Converted => {
                match arg.ty.base {
                    Base::Bool => self.bool_of(item)?,
                    Base::Float | Base::Complex => self.float_of(item)?,
                    Base::Scalar => self.scalar_of(item)?,
                    _ => self.int_of(item)?,
                }
            }
            item => item.clone(),
        };
        let val = match item {
            Item::Val(val) => val,
            Item::Number(tensor, _) => Val::Tensor(tensor),
            item => {
                return Err(LowerError::invalid(format!("`{}` is {}", arg.name, item.kind())));
            }
        };
        let number = |val: &Val| match val {
            Val::Int(dim) => dim.as_const(),
            Val::Bool(b) => Some(i64::from(*b)),
            _ => None,
        };
        let unknown = |what: &str| {
            LowerError::argument(format!("`{}` is {what} that is not known", arg.name))
        };
        Ok(match arg.ty.base {
            Base::DType => {
                let number = number(&val).ok_or_else(|| unknown("a dtype"))?;
                let dtype = match number {
                    12 if self.quantizes => Ok(DType::I8),
                    13 if self.quantizes => Ok(DType::U8),
                    14 if self.quantizes => Ok(DType::I32),
                    number => aten_scalar_type(number),
                };
                let refused = |e| LowerError::dtype(format!("`{}`: {e}", arg.name));
                Val::DType(dtype.map_err(refused)?)
            }
            Base::Layout => match number(&val) {
                Some(0) => Val::Layout(true),
                _ => return Err(LowerError::argument("only strided tensors have a counterpart")),
            },
            Base::MemoryFormat => Val::MemoryFormat(match number(&val) {
                Some(0) => "contiguous_format",
                Some(1) => "preserve_format",
                Some(2) => "channels_last",
                Some(3) => "channels_last_3d",
                _ => return Err(unknown("a memory format")),
            }),
            Base::Float => match val {
                Val::Int(Dim::Const(n)) => Val::Float(n as f64),
                Val::Bool(b) => Val::Float(f64::from(u8::from(b))),
                val => val,
            },
            Base::Bool => match val {
                Val::Int(Dim::Const(n)) => Val::Bool(n != 0),
                val => val,
            },
            Base::Int => match val {
                Val::Bool(b) => Val::Int(Dim::Const(i64::from(b))),
                val => val,
            },
            Base::Device => match val {
                Val::Str(text) => Val::Device(text),
                val => val,
            },
            _ => val,
        })
    }

    /// A list with its lists.
    fn deep(&self, item: &Item, depth: u32) -> LowerResult<Val> {
        let odd = || LowerError::invalid(format!("{} as packed weights", item.kind()));
        if let Item::Val(val) = item {
            return Ok(val.clone());
        }
        let items = self.heap.sequence(item).filter(|items| depth < 3 && items.len() <= 64);
        let items = items.ok_or_else(odd)?.iter();
        items.map(|item| self.deep(item, depth + 1)).collect::<LowerResult<_>>().map(Val::List)
    }

    /// The number that ATen has for an element type, as an item.
    pub(super) fn dtype_number(dtype: DType) -> LowerResult<Item> {
        aten_scalar_type_of(dtype)
            .map(Item::int)
            .ok_or_else(|| LowerError::dtype(format!("{dtype} has no number in torch")))
    }
}

/// The argument given for a parameter: by position, or by name.
fn given<'a>(
    arg: &SchemaArg,
    at: usize,
    args: &'a [Item],
    named: &'a [(Name, Item)],
) -> Option<&'a Item> {
    let positional = if arg.named { None } else { args.get(at) };
    positional.or_else(|| named.iter().find(|(name, _)| &**name == arg.name).map(|(_, item)| item))
}

/// Whether a value is the default that the table spells so.
fn is_default(val: &Val, text: &str) -> bool {
    match val {
        Val::None => text == "None",
        Val::Bool(b) => text == if *b { "True" } else { "False" },
        Val::Int(dim) => {
            dim.as_const().is_some_and(|n| text.parse() == Ok(n) || text.parse() == Ok(n as f64))
        }
        Val::Float(x) => text.parse() == Ok(*x),
        Val::Str(own) => own == text,
        Val::List(items) => match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            Some("") => items.is_empty(),
            Some(inner) => {
                let parts: Vec<&str> = inner.split(',').collect();
                parts.len() == items.len()
                    && items.iter().zip(parts).all(|(item, part)| is_default(item, part))
            }
            None => false,
        },
        _ => false,
    }
}
