//! Operands: slots, values and literals.

use mlc_diag::codes;
use mlc_ir::{Arity, OpSpec};
use mlc_tensor::DType;

use super::function::FunctionCx;
use crate::ast::{ArgAst, ArgValue, Literal, LiteralKind, OpAst, Spanned, TypeAst};

/// An operand before literals have an element type.
pub(super) enum Given<'t> {
    Value(mlc_ir::Value),
    Literal(&'t Literal, Option<&'t TypeAst>),
}

impl FunctionCx<'_, '_> {
    /// What each slot gets; `None` if something is wrong or poisoned.
    pub(super) fn slots<'t>(
        &mut self,
        ast: &'t OpAst,
        spec: &OpSpec,
    ) -> Option<Vec<Vec<Given<'t>>>> {
        let mut args: Vec<Option<&ArgAst>> = vec![None; spec.operands.len()];
        let mut sound = true;
        for arg in &ast.args {
            match self.slot_of(arg, spec, &args) {
                Some(at) => args[at] = Some(arg),
                None => sound = false,
            }
        }
        let mut slots = Vec::new();
        for (slot, arg) in spec.operands.iter().zip(args) {
            let given = match arg {
                Some(arg) => self.given(&arg.value, slot.arity),
                None if slot.arity == Arity::One => {
                    let message = format!("`{}` needs the operand `{}`", spec.name, slot.name);
                    self.lower.problem(codes::TYPE_MISMATCH, ast.span, message);
                    None
                }
                None => Some(Vec::new()),
            };
            sound &= given.is_some();
            slots.push(given.unwrap_or_default());
        }
        sound.then_some(slots)
    }

    /// The slot of an operand, given those that are filled.
    fn slot_of(
        &mut self,
        arg: &ArgAst,
        spec: &OpSpec,
        filled: &[Option<&ArgAst>],
    ) -> Option<usize> {
        if let Some(name) = &arg.slot {
            let Some(at) = spec.operand(&name.item) else {
                let message = format!("`{}` has no operand `{}`", spec.name, name.item);
                self.lower.unknown(
                    (codes::TYPE_MISMATCH, name.span),
                    (message, &name.item),
                    spec.operands.iter().map(|slot| slot.name),
                );
                return None;
            };
            if filled[at].is_some() {
                self.lower.duplicate(name.span, &format!("operand `{}`", name.item));
                return None;
            }
            return Some(at);
        }
        let free = (0..spec.operands.len())
            .find(|&at| filled[at].is_none() && spec.operands[at].arity != Arity::Opt);
        if free.is_none() {
            let names: Vec<String> = spec
                .operands
                .iter()
                .map(|slot| match slot.arity {
                    Arity::One => format!("`{}`", slot.name),
                    Arity::Opt => format!("`{} = %…`", slot.name),
                    Arity::Many => format!("`{} = [%…]`", slot.name),
                })
                .collect();
            let message = format!("`{}` has no slot for this operand", spec.name);
            let mut problem =
                self.lower.source.problem(codes::TYPE_MISMATCH, arg.value.span, message);
            if !names.is_empty() {
                problem = problem.note(format!("its operands are {}", names.join(", ")));
            }
            self.lower.report(problem);
        }
        free
    }

    fn given<'t>(&mut self, arg: &'t Spanned<ArgValue>, arity: Arity) -> Option<Vec<Given<'t>>> {
        if arity != Arity::Many {
            return match &arg.item {
                ArgValue::List(_) => {
                    let message = "one value is needed here, not a list";
                    self.lower.problem(codes::TYPE_MISMATCH, arg.span, message);
                    None
                }
                one => Some(vec![self.one(one)?]),
            };
        }
        match &arg.item {
            ArgValue::List(items) => {
                let found: Vec<_> = items.iter().map(|item| self.item(item)).collect();
                found.into_iter().collect()
            }
            ArgValue::Literal(Literal { kind: LiteralKind::List(items), .. }, None) => {
                Some(items.iter().map(|item| Given::Literal(item, None)).collect())
            }
            _ => {
                let message = "a list such as `[%a, %b]` is needed here";
                self.lower.problem(codes::TYPE_MISMATCH, arg.span, message);
                None
            }
        }
    }

    fn item<'t>(&mut self, item: &'t Spanned<ArgValue>) -> Option<Given<'t>> {
        if let ArgValue::List(_) = item.item {
            let message = "one value is needed here, not a list";
            self.lower.problem(codes::TYPE_MISMATCH, item.span, message);
            return None;
        }
        self.one(&item.item)
    }

    fn one<'t>(&mut self, value: &'t ArgValue) -> Option<Given<'t>> {
        match value {
            ArgValue::Value(name) => self.value(name).map(Given::Value),
            ArgValue::Literal(literal, ty) => Some(Given::Literal(literal, ty.as_ref())),
            ArgValue::List(_) => None,
        }
    }

    /// The element types of the operands that are values, each once, in order.
    pub(super) fn dtypes(&self, slots: &[Vec<Given<'_>>]) -> Vec<DType> {
        let mut found = Vec::new();
        let function = &self.lower.program.functions[self.func];
        for given in slots.iter().flatten() {
            if let Given::Value(value) = given
                && let Some(ty) = function.ty(*value).as_tensor()
                && !found.contains(&ty.dtype)
            {
                found.push(ty.dtype);
            }
        }
        found
    }
}
