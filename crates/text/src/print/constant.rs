//! Constants: inline ones and weights.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use mlc_ir::{AttrValue, ConstId, Dim, Function, Program, Type};
use mlc_tensor::{DType, DTypeKind, Recipe, Source, Tensor};

use super::{PrintOptions, ty};
use crate::INLINE_ELEMENTS;
use crate::float::{decode, f64_text, read_bits};
use crate::names::{self, Taken};

/// How the constants of some functions are printed.
pub(super) struct Constants {
    /// What stands for a constant: `@name` of a weight, or a literal with its name if it has one.
    texts: BTreeMap<ConstId, String>,
    /// Weights in order of first use.
    weights: Vec<ConstId>,
}

impl Constants {
    /// The constants that `functions` use.
    pub(super) fn of(program: &Program, functions: &[&Function]) -> Self {
        let mut used = Vec::new();
        for function in functions {
            function.for_each_node(&mut |_, node| {
                for value in function.nodes[node].op.attrs() {
                    if let AttrValue::Const(id) = value
                        && program.consts.try_get(id).is_some()
                    {
                        used.push(id);
                    }
                }
            });
        }
        let mut this = Self { texts: BTreeMap::new(), weights: Vec::new() };
        let mut weight_names = Taken::default();
        // Equal literals become one constant when they are read, which has the first of their names.
        let mut inline: BTreeMap<(DType, Vec<u64>, String), Option<&str>> = BTreeMap::new();
        let mut literals = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for id in used.into_iter().filter(|id| seen.insert(*id)) {
            let tensor = program.consts.get(id);
            let name = program.consts.name(id);
            match literal(tensor) {
                Some(text) => {
                    let key = (tensor.dtype(), tensor.shape().to_vec(), text);
                    let first = inline.entry(key.clone()).or_insert(None);
                    *first = first.or(name);
                    literals.push((id, key));
                }
                None => {
                    let name = match name {
                        Some(name) => weight_names.unique(name),
                        None => {
                            let number = this.weights.len();
                            weight_names.unique(&format!("w{number}"))
                        }
                    };
                    this.texts.insert(id, names::global(&name));
                    this.weights.push(id);
                }
            }
        }
        for (id, key) in literals {
            let text = match inline.get(&key).copied().flatten() {
                Some(name) => format!("{} {}", names::global(name), key.2),
                None => key.2,
            };
            this.texts.insert(id, text);
        }
        this
    }

    /// What stands for a constant that one of the functions uses.
    pub(super) fn text(&self, id: ConstId) -> String {
        self.texts.get(&id).cloned().unwrap_or_else(|| names::global(&format!("missing {id:?}")))
    }

    pub(super) fn has_weights(&self) -> bool {
        !self.weights.is_empty()
    }

    pub(super) fn write_weights(
        &self,
        out: &mut dyn Write,
        program: &Program,
        options: &PrintOptions,
    ) -> fmt::Result {
        if self.weights.is_empty() {
            return Ok(());
        }
        out.write_str("weights {\n")?;
        for &id in &self.weights {
            let tensor = program.consts.get(id);
            write!(out, "  {} : {} = ", self.text(id), tensor_type(tensor))?;
            write_source(out, tensor, options)?;
            out.write_str("\n")?;
        }
        out.write_str("}\n")
    }
}

/// The type of a tensor as text.
pub(super) fn tensor_type(tensor: &Tensor) -> String {
    let shape: Vec<Dim> = tensor.shape().iter().map(|&d| Dim::from(d)).collect();
    ty::text(&Type::tensor(tensor.dtype(), shape))
}

/// The literal of a small tensor; `None` for one that is large or cannot be read.
fn literal(tensor: &Tensor) -> Option<String> {
    if tensor.count() > INLINE_ELEMENTS {
        return None;
    }
    let bytes = tensor.bytes().ok()?;
    if (bytes.len() as u64) < tensor.byte_len() {
        return None;
    }
    let mut out = String::new();
    let mut next = 0;
    if tensor.count() == 0 {
        return Some("[]".to_owned());
    }
    nested(&mut out, tensor.shape(), &mut |out| {
        out.push_str(&element(&bytes, next, tensor.dtype()));
        next += 1;
    });
    Some(out)
}

fn nested(out: &mut String, shape: &[u64], element: &mut dyn FnMut(&mut String)) {
    let Some((&len, rest)) = shape.split_first() else { return element(out) };
    out.push('[');
    for i in 0..len {
        if i > 0 {
            out.push_str(", ");
        }
        nested(out, rest, element);
    }
    out.push(']');
}

/// Element `index` of `bytes`.
fn element(bytes: &[u8], index: usize, dtype: DType) -> String {
    if dtype.kind() == DTypeKind::Complex {
        let part = if dtype == DType::C64 { DType::F32 } else { DType::F64 };
        let at = |i| decode(read_bits(bytes, i, part.bits()), part);
        return format!("({}, {})", at(2 * index), at(2 * index + 1));
    }
    decode(read_bits(bytes, index, dtype.bits()), dtype)
}

fn write_source(out: &mut dyn Write, tensor: &Tensor, options: &PrintOptions) -> fmt::Result {
    match tensor.source() {
        Source::Mapped { file, offset } => {
            let relative =
                options.base_dir.as_ref().and_then(|base| file.path().strip_prefix(base).ok());
            let path = relative.unwrap_or_else(|| file.path()).to_string_lossy();
            write!(out, "file({}, {offset})", names::quote(&path))
        }
        Source::Bytes(bytes) => {
            out.write_str("hex(\"")?;
            for byte in bytes.iter() {
                write!(out, "{byte:02x}")?;
            }
            out.write_str("\")")
        }
        Source::Splat(bytes) => write!(out, "splat({})", element(bytes, 0, tensor.dtype())),
        Source::Random { seed, scale } => {
            write!(out, "random({seed}, {})", f64_text(f64::from_bits(*scale)))
        }
        Source::Recipe(recipe) => write_recipe(out, recipe, options),
    }
}

fn write_recipe(out: &mut dyn Write, recipe: &Recipe, options: &PrintOptions) -> fmt::Result {
    let operand = |out: &mut dyn Write, of: &Tensor| {
        write_source(out, of, options)?;
        write!(out, " : {}", tensor_type(of))
    };
    match recipe {
        Recipe::Strided { of, offset, strides } => {
            out.write_str("strided(")?;
            operand(out, of)?;
            write!(out, ", strides = {strides:?}, offset = {offset}")?;
        }
        Recipe::Reshape(of) => {
            out.write_str("reshape(")?;
            operand(out, of)?;
        }
        Recipe::Transpose { of, perm } => {
            out.write_str("transpose(")?;
            operand(out, of)?;
            write!(out, ", {perm:?}")?;
        }
        Recipe::Cast(of) => {
            out.write_str("cast(")?;
            operand(out, of)?;
        }
        Recipe::Concat { axis, parts } => {
            write!(out, "concat({axis}")?;
            for part in parts {
                out.write_str(", ")?;
                operand(out, part)?;
            }
        }
        Recipe::Zip { op, operands: [x, y] } => {
            write!(out, "{}(", op.name())?;
            operand(out, x)?;
            out.write_str(", ")?;
            operand(out, y)?;
        }
    }
    out.write_str(")")
}
