//! The arguments of ops: which overload a call by position means, and what its arguments are called.
//!
//! The table, `schemas.txt`, holds every overload of the ops in the registry that takes a tensor or
//! makes one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Tensor,
    Scalar,
    Int,
    Float,
    Bool,
    Complex,
    Str,
    DType,
    Layout,
    MemoryFormat,
    Device,
    Generator,
    Object,
}

/// The type of an argument or result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArgType {
    pub(crate) base: Base,
    /// Whether it is a list.
    pub(crate) list: bool,
    /// Whether one item stands for the list.
    pub(crate) single: bool,
    /// Whether it may be None.
    pub(crate) optional: bool,
    /// Whether items of the list may be None.
    pub(crate) optional_items: bool,
}

/// An argument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchemaArg {
    pub(crate) name: &'static str,
    pub(crate) ty: ArgType,
    /// As the table spells it.
    pub(crate) default: Option<&'static str>,
    /// Whether it is passed by name alone.
    pub(crate) named: bool,
}

/// One overload of an op.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) overload: &'static str,
    pub(crate) args: Vec<SchemaArg>,
    pub(crate) results: Vec<ArgType>,
}

const TABLE: &str = include_str!("schemas.txt");

/// The overloads of `namespace.op`, in the order in which they are tried.
pub(crate) fn overloads(op: &str) -> &'static [Schema] {
    static ALL: OnceLock<BTreeMap<&'static str, Vec<Schema>>> = OnceLock::new();
    ALL.get_or_init(table).get(op).map_or(&[], Vec::as_slice)
}

fn table() -> BTreeMap<&'static str, Vec<Schema>> {
    let mut all: BTreeMap<&'static str, Vec<Schema>> = BTreeMap::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        if let Some((op, schema)) = parse(line) {
            all.entry(op).or_default().push(schema);
        }
    }
    all
}

fn parse(line: &'static str) -> Option<(&'static str, Schema)> {
    let mut words = line.split(' ');
    let (op, overload) = words.next()?.rsplit_once('.')?;
    let (mut args, mut named) = (Vec::new(), false);
    let mut results = vec![arg_type("T")?];
    while let Some(word) = words.next() {
        match word {
            "*" => named = true,
            ">" => {
                let list = words.next().unwrap_or_default();
                results =
                    list.split(',').filter(|ty| !ty.is_empty()).filter_map(arg_type).collect();
            }
            word => {
                let (name, rest) = word.split_once(':')?;
                let (ty, default) = match rest.split_once('=') {
                    Some((ty, default)) => (ty, Some(default)),
                    None => (rest, None),
                };
                args.push(SchemaArg { name, ty: arg_type(ty)?, default, named });
            }
        }
    }
    Some((op, Schema { overload, args, results }))
}

fn arg_type(text: &str) -> Option<ArgType> {
    let base = text.find(['?', '[']).unwrap_or(text.len());
    let (base, rest) = text.split_at(base);
    let base = match base {
        "T" => Base::Tensor,
        "s" => Base::Scalar,
        "i" => Base::Int,
        "f" => Base::Float,
        "b" => Base::Bool,
        "c" => Base::Complex,
        "str" => Base::Str,
        "dt" => Base::DType,
        "ly" => Base::Layout,
        "mf" => Base::MemoryFormat,
        "dv" => Base::Device,
        "gen" => Base::Generator,
        "obj" => Base::Object,
        _ => return None,
    };
    let list = rest.contains('[');
    Some(ArgType {
        base,
        list,
        single: list && !rest.contains("[]"),
        optional: rest.ends_with('?'),
        optional_items: list && rest.starts_with('?'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let (op, schema) = parse(line).unwrap_or_else(|| panic!("{line}"));
            assert!(op.contains('.') && !schema.overload.is_empty(), "{line}");
            let words = line.split(' ').skip(1).take_while(|word| *word != ">");
            assert_eq!(schema.args.len(), words.filter(|word| *word != "*").count(), "{line}");
        }
    }

    #[test]
    fn every_op_of_torch_in_the_registry_has_its_arguments() {
        let registry = crate::lower::registry();
        let missing: Vec<&str> = registry
            .names()
            .filter(|name| name.starts_with("aten.") && !name.starts_with("aten.sym_"))
            .filter(|name| overloads(name).is_empty())
            .collect();
        let none = ["aten.fabs", "aten.fill_diagonal", "aten.softsign"];
        assert_eq!(missing, none, "add their overloads to schemas.txt");
    }

    #[test]
    fn types_are_told_apart() {
        let schema = &overloads("aten.index_put_")[0];
        assert!(schema.args[1].ty.optional_items && schema.args[1].ty.list);
        let schema = &overloads("aten.max_pool2d")[0];
        assert!(schema.args[2].ty.single && schema.args[2].default == Some("[]"));
        assert_eq!(overloads("aten.lstm")[0].results.len(), 3);
        assert!(overloads("aten.where").iter().any(|s| s.results[0].list));
    }
}
