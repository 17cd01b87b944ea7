//! Constant arguments and defaults as attributes of the IR.

use mlc_ir::{AttrKind, AttrValue, ConstPool, F64};
use mlc_target::{DataType, DefaultValue, Param};
use mlc_tensor::DType;

use super::values::Literal;
use crate::dtype::dtype;

/// The attribute of `kind` that `literal` says; `None` where it says none of that kind.
pub(super) fn attribute(
    kind: AttrKind,
    literal: &Literal,
    consts: &mut ConstPool,
) -> Option<AttrValue> {
    let one = |items: Vec<i64>| match items[..] {
        [item] => Some(item),
        _ => None,
    };
    Some(match kind {
        AttrKind::Int | AttrKind::OptInt => AttrValue::Int(one(literal.ints()?)?),
        AttrKind::Float | AttrKind::OptFloat => AttrValue::Float(F64(literal.float()?)),
        AttrKind::Bool | AttrKind::OptBool => match literal.bools()?[..] {
            [item] => AttrValue::Bool(item),
            _ => return None,
        },
        AttrKind::Ints | AttrKind::OptInts => AttrValue::Ints(match literal {
            // The shape of list elements has names for extents that are not known.
            Literal::List(items) if items.iter().any(|item| item.strings().is_some()) => items
                .iter()
                .map(|item| match item {
                    Literal::Strings(_) => Some(-1),
                    item => one(item.ints()?),
                })
                .collect::<Option<_>>()?,
            literal => literal.ints()?,
        }),
        AttrKind::Bools => AttrValue::Bools(literal.bools()?),
        AttrKind::Strs => AttrValue::Strs(literal.strings()?),
        AttrKind::Str | AttrKind::Word(_) => AttrValue::Str(text(literal)?),
        AttrKind::DType => AttrValue::DType(dtype_of(&text(literal)?)?),
        AttrKind::Const => match literal {
            Literal::Tensor(tensor) => AttrValue::Const(consts.intern(tensor.clone())),
            Literal::Strings(_) | Literal::List(_) => return None,
        },
    })
}

fn text(literal: &Literal) -> Option<String> {
    let mut items = literal.strings()?;
    if items.len() == 1 { items.pop() } else { None }
}

fn dtype_of(name: &str) -> Option<DType> {
    name.parse::<DataType>().ok().map(dtype)
}

/// The attribute of `kind` that holds when an argument for `param` is left out. `None` where MIL
/// gives no value: what holds then is the default of the IR's table.
pub(super) fn default(kind: AttrKind, param: &Param) -> Option<AttrValue> {
    value(kind, param.default.as_ref()?)
}

fn value(kind: AttrKind, default: &DefaultValue) -> Option<AttrValue> {
    Some(match (kind, default) {
        (AttrKind::Int | AttrKind::OptInt, DefaultValue::Int(i)) => AttrValue::Int(*i),
        (AttrKind::Float | AttrKind::OptFloat, DefaultValue::Int(i)) => {
            AttrValue::Float(F64(*i as f64))
        }
        (AttrKind::Float | AttrKind::OptFloat, DefaultValue::Float(x)) => {
            // The table has some defaults as the f32 number next to a short decimal one.
            let short = (*x as f32).to_string().parse().unwrap_or(*x);
            AttrValue::Float(F64(if short as f32 == *x as f32 { short } else { *x }))
        }
        (AttrKind::Bool | AttrKind::OptBool, DefaultValue::Bool(b)) => AttrValue::Bool(*b),
        (AttrKind::Str | AttrKind::Word(_), DefaultValue::Str(text)) => {
            AttrValue::Str((*text).to_owned())
        }
        (AttrKind::DType, DefaultValue::Str(name)) => AttrValue::DType(dtype_of(name)?),
        (AttrKind::Ints | AttrKind::OptInts, DefaultValue::List(items)) => {
            let item = |item: &DefaultValue| match item {
                DefaultValue::Int(i) => Some(*i),
                _ => None,
            };
            AttrValue::Ints(items.iter().map(item).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// Whether `literal` only says what holds anyway when an argument for `param` is left out.
pub(super) fn says_default(literal: &Literal, param: &Param) -> bool {
    match &param.default {
        Some(DefaultValue::Int(i)) => {
            literal.ints() == Some(vec![*i]) || literal.float() == Some(*i as f64)
        }
        Some(DefaultValue::Float(x)) => {
            literal.float().is_some_and(|found| found as f32 == *x as f32)
        }
        Some(DefaultValue::Bool(b)) => literal.bools() == Some(vec![*b]),
        Some(DefaultValue::Str(text)) => literal.strings() == Some(vec![(*text).to_owned()]),
        Some(DefaultValue::List(_) | DefaultValue::Formula(_) | DefaultValue::Absent(_)) | None => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use mlc_ir::ops;
    use mlc_target::Opset;

    use super::*;

    /// A parameter that a program leaves out means the same in the IR's table and in MIL.
    #[test]
    fn defaults_of_the_table_are_those_of_mil() {
        let mut wrong = Vec::new();
        for spec in ops::specs() {
            let Some(signature) = mlc_target::signature(spec.name, Opset::Ios26) else { continue };
            let none = vec![None; spec.attrs.len()];
            let defaults = match mlc_ir::Op::from_attrs(spec.name, &none) {
                Some(Ok(op)) => op.defaults(),
                _ => continue,
            };
            for (attr, own) in spec.attrs.iter().zip(defaults) {
                let Some(param) = signature.param(attr.name) else { continue };
                let Some(mil) = default(attr.kind, param) else { continue };
                let mil = match mil {
                    AttrValue::Str(text) => text,
                    other => other.to_string(),
                };
                let own = match own {
                    Some(AttrValue::Str(text)) => text,
                    Some(other) => other.to_string(),
                    None => continue,
                };
                if own != mil {
                    wrong.push(format!("{}.{}: {own}, MIL has {mil}", spec.name, attr.name));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
