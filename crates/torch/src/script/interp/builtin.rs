//! Functions of Python that are computed here.

use mlc_diag::codes;
use mlc_ir::Dim;

use super::super::ast::Name;
use super::Interp;
use super::item::Item;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;

/// Functions that do something besides the program, or tell what it does not depend on.
const IGNORED: &[&str] = &[
    "warn",
    "Print",
    "print",
    "manual_seed",
    "_set_grad_enabled",
    "set_grad_enabled",
    "_assert_tensor_metadata",
    "AutogradZero",
    "backward",
];

/// Functions of [`Interp::identity`].
const IDENTITY: &[&str] = &[
    "__is__",
    "__isnot__",
    "is_grad_enabled",
    "is_autocast_enabled",
    "is_autocast_cpu_enabled",
    "is_tracing",
    "get_autocast_enabled",
    "is_scripting",
    "_is_scripting",
    "enum_name",
    "enum_value",
    "_unwrap_optional",
    "unwrap_optional",
    "unchecked_unwrap_optional",
    "TupleIndex",
    "rangelist",
    "annotate",
    "Uninitialized",
    "__range_length",
    "__derive_index",
];

impl Interp<'_, '_, '_> {
    /// Whether a function is computed here for some arguments.
    pub(super) fn is_builtin(&self, op: &str) -> bool {
        let Some(name) = short(op) else { return false };
        IGNORED.contains(&name)
            || IDENTITY.contains(&name)
            || super::collections::NAMES.contains(&name)
            || super::numbers::is_number_function(name)
            || super::tensors::NAMES.contains(&name)
    }

    /// Computes a function of Python; `None` if it is an op on tensors.
    pub(super) fn builtin(
        &mut self,
        op: &str,
        args: &[Item],
        named: &[(Name, Item)],
    ) -> Option<LowerResult<Item>> {
        let name = short(op)?;
        if IGNORED.contains(&name) {
            return Some(Ok(Item::NONE));
        }
        if let Some(result) = self.identity(name, args) {
            return Some(result);
        }
        if let Some(result) = self.tensor_function(name, args, named) {
            return Some(result);
        }
        if args.iter().any(|item| item.tensor().is_some())
            && !args.first().is_some_and(|item| matches!(item, Item::List(_) | Item::Dict(_)))
        {
            return None;
        }
        if let Some(result) = self.collection(name, args, named) {
            return Some(result);
        }
        self.number_function(name, args)
    }

    /// What asks for identity, types and the state of Python.
    fn identity(&mut self, name: &str, args: &[Item]) -> Option<LowerResult<Item>> {
        let same = |a: &Item, b: &Item| match (a, b) {
            (a, b) if a.is_none() || b.is_none() => Some(a.is_none() && b.is_none()),
            (Item::Val(a), Item::Val(b)) => Some(a == b),
            (Item::List(a), Item::List(b)) | (Item::Dict(a), Item::Dict(b)) => Some(a == b),
            (Item::Object(a), Item::Object(b)) => Some(a == b),
            (Item::Enum(a), Item::Enum(b)) => Some(a.class == b.class && a.name == b.name),
            // An op that gives back its operand gives it under its own name.
            (a, b) => Some(a.tensor()? == b.tensor()?),
        };
        let unknown = || LowerError::argument("whether two values are one is not known");
        Some(match (name, args) {
            ("__is__", [a, b]) => same(a, b).map(Item::bool).ok_or_else(unknown),
            ("__isnot__", [a, b]) => same(a, b).map(|is| Item::bool(!is)).ok_or_else(unknown),
            ("eq" | "ne", [Item::Enum(a), Item::Enum(b)]) => {
                let equal = a.class == b.class && a.name == b.name;
                Ok(Item::bool(equal == (name == "eq")))
            }
            ("eq" | "ne", [a, b]) if a.is_none() || b.is_none() => {
                Ok(Item::bool((a.is_none() && b.is_none()) == (name == "eq")))
            }
            ("is_grad_enabled" | "is_autocast_enabled" | "is_autocast_cpu_enabled", _)
            | ("is_tracing" | "get_autocast_enabled", _) => Ok(Item::bool(false)),
            ("is_scripting" | "_is_scripting", []) => Ok(Item::bool(true)),
            ("enum_name", [Item::Enum(member)]) => Ok(Item::str(member.name.clone())),
            ("enum_value", [Item::Enum(member)]) => Ok(member.value.clone()),
            (
                "_unwrap_optional"
                | "unwrap_optional"
                | "unchecked_unwrap_optional"
                | "TupleIndex"
                | "rangelist"
                | "annotate"
                | "Uninitialized",
                [one],
            ) => {
                if one.is_none() {
                    Err(LowerError::new(codes::INVALID_GRAPH, "None where a value is needed"))
                } else {
                    Ok(one.clone())
                }
            }
            ("device", [kind, ..]) => match kind {
                Item::Val(Val::Str(kind)) => Ok(Item::Val(Val::Device(kind.clone()))),
                Item::Val(Val::Device(_)) => Ok(kind.clone()),
                _ => return None,
            },
            ("__range_length", [low, high, step]) => self.range_length(low, high, step),
            ("__derive_index", [at, start, step]) => (|| {
                let product = self.arithmetic("mul", at, step)?;
                self.arithmetic("add", &product, start)
            })(),
            _ => return None,
        })
    }

    /// The number of steps of a range.
    pub(super) fn range_length(
        &mut self,
        low: &Item,
        high: &Item,
        step: &Item,
    ) -> LowerResult<Item> {
        let dim = |item: &Item| match item {
            Item::Val(Val::Int(dim)) => Ok(dim.clone()),
            item => Err(LowerError::invalid(format!("a range over {}", item.kind()))),
        };
        let (low, high, step) = (dim(low)?, dim(high)?, dim(step)?);
        let step = step
            .as_const()
            .filter(|&step| step != 0)
            .ok_or_else(|| LowerError::dynamic("the step of a range is not known, or 0"))?;
        let (distance, step) =
            if step > 0 { (high.sub(&low), step) } else { (low.sub(&high), step.saturating_neg()) };
        let count = distance.ceil_div(&Dim::Const(step));
        Ok(Item::Val(Val::Int(count.maximum(&Dim::Const(0)))))
    }
}

/// The name of a function of Python; `None` for ops of other libraries.
fn short(op: &str) -> Option<&str> {
    op.strip_prefix("aten.").or_else(|| op.strip_prefix("prim."))
}
