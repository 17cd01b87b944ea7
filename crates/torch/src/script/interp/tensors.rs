//! What a program asks of tensors as Python values: sizes, types, numbers.

use mlc_ir::Dim;
use mlc_tensor::{DType, DTypeKind, Tensor};

use super::super::ast::Name;
use super::Interp;
use super::item::{Content, Item, NumberKind};
use crate::lower::control::Predicate;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::layout::is_packed;
use crate::lower::value::{TensorId, Val};

/// Functions of tensors that are computed here.
pub(super) const NAMES: &[&str] = &[
    "size",
    "dim",
    "ndimension",
    "numel",
    "sym_size",
    "sym_numel",
    "len",
    "item",
    "Int",
    "Float",
    "Bool",
    "int",
    "float",
    "bool",
    "IntImplicit",
    "FloatImplicit",
    "ScalarImplicit",
    "NumToTensor",
    "dtype",
    "device",
    "layout",
    "shape",
    "is_floating_point",
    "is_complex",
    "is_signed",
    "is_contiguous",
    "is_cuda",
    "requires_grad",
    "is_leaf",
    "stride",
    "tolist",
    "element_size",
    "is_sparse",
    "is_quantized",
    "result_type",
    "storage_offset",
    "type",
    "is_same_size",
    "as_tensor",
    "tensor",
    "_shape_as_tensor",
    "to_dense",
    "cpu",
    "cuda",
    "requires_grad_",
    "data",
    "get_device",
    "is_conj",
    "is_neg",
    "is_nonzero",
    "promote_types",
    "can_cast",
    "ndim",
    "is_cpu",
    "is_nested",
    "is_mkldnn",
    "is_meta",
    "is_mps",
    "is_xpu",
    "is_ipu",
    "is_vulkan",
    "itemsize",
    "grad",
    "retains_grad",
];

impl Interp<'_, '_, '_> {
    /// A function of a tensor, or one that makes a tensor of Python's values.
    pub(super) fn tensor_function(
        &mut self,
        name: &str,
        args: &[Item],
        named: &[(Name, Item)],
    ) -> Option<LowerResult<Item>> {
        if let ("tensor" | "as_tensor", [data, rest @ ..]) = (name, args) {
            return Some(self.new_tensor(data, rest, named));
        }
        if let ("promote_types", [a, b]) = (name, args) {
            return Some(self.promoted(a, b));
        }
        if let ("NumToTensor", [number @ (Item::Val(_) | Item::Number(..))]) = (name, args) {
            return Some(self.tensor_of(number).map(|x| Item::Val(Val::Tensor(x))));
        }
        if let ("type", [of @ Item::Val(Val::Device(_))]) = (name, args) {
            return Some(self.tensor_attribute(of, name));
        }
        let x = args.first()?.tensor()?;
        Some(match (name, args) {
            ("data" | "to_dense" | "cpu" | "cuda" | "requires_grad_", _) => Ok(args[0].clone()),
            ("size" | "sym_size" | "shape", [_]) => self.shape_of(x),
            ("size" | "sym_size", [_, axis]) => self.extent_of(x, axis),
            ("stride", [_, ..]) => self.stride_of(x, args.get(1)),
            ("len", [_]) => self.extent_of(x, &Item::int(0)),
            ("dim" | "ndimension", [_]) => self.cx.rank(x).map(|rank| Item::int(rank as i64)),
            ("numel" | "sym_numel", [_]) => self.extents(x).map(|shape| {
                let count = shape.iter().fold(Dim::Const(1), |n, dim| n.mul(dim));
                Item::Val(Val::Int(count))
            }),
            ("item" | "ScalarImplicit", [of]) => self.scalar_of(of),
            ("Int" | "int" | "IntImplicit", [of]) => self.int_of(of),
            ("Float" | "float" | "FloatImplicit", [of]) => self.float_of(of),
            ("Bool" | "bool" | "is_nonzero", [of]) => self.bool_of(of),
            ("dtype" | "device" | "layout" | "is_cuda" | "requires_grad" | "is_leaf", [of])
            | (
                "is_sparse" | "is_quantized" | "ndim" | "is_cpu" | "is_nested" | "is_mkldnn",
                [of],
            )
            | ("is_meta" | "is_mps" | "is_xpu" | "is_ipu" | "is_vulkan", [of])
            | ("itemsize" | "grad" | "retains_grad", [of]) => self.tensor_attribute(of, name),
            ("is_floating_point", [_]) => {
                self.cx.dtype(x).map(|t| Item::bool(t.kind() == DTypeKind::Float))
            }
            ("is_complex", [_]) => {
                self.cx.dtype(x).map(|t| Item::bool(t.kind() == DTypeKind::Complex))
            }
            ("is_signed", [_]) => self.cx.dtype(x).map(|t| {
                Item::bool(t != DType::Bool && t.int_range().is_none_or(|(low, _)| low < 0))
            }),
            ("is_conj" | "is_neg", [_]) => Ok(Item::bool(false)),
            ("is_contiguous", [_]) => {
                let (shape, strides) = (self.extents(x), self.strides(x));
                shape.and_then(|shape| Ok(Item::bool(is_packed(&shape, &strides?))))
            }
            ("storage_offset", [_]) => Ok(Item::int(0)),
            ("get_device", [_]) => Ok(Item::int(-1)),
            ("element_size", [_]) => {
                self.cx.dtype(x).map(|t| Item::int(t.size().unwrap_or(1) as i64))
            }
            ("is_same_size", [_, other]) => self.same_size(x, other),
            ("_shape_as_tensor", [_]) => self.extents(x).and_then(|shape| {
                let value = dims::vector(self.cx, &shape)?;
                let value = self.cx.cast(value, DType::I64)?;
                Ok(Item::Val(self.cx.fresh(value)))
            }),
            ("result_type", [a, b]) => self.promoted(a, b),
            ("tolist", [_, ..]) => self.known_list(x),
            _ => return None,
        })
    }

    /// An attribute of a tensor or number.
    pub(super) fn tensor_attribute(&mut self, of: &Item, name: &str) -> LowerResult<Item> {
        let Some(x) = of.tensor() else {
            return match (name, of) {
                ("type", Item::Val(Val::Device(kind))) => {
                    Ok(Item::str(kind.split(':').next().unwrap_or(kind)))
                }
                ("index", Item::Val(Val::Device(_))) => Ok(Item::NONE),
                _ => Err(LowerError::invalid(format!("{} has no attribute `{name}`", of.kind()))),
            };
        };
        Ok(match name {
            "shape" => return self.shape_of(x),
            "dtype" => Self::dtype_number(self.cx.dtype(x)?)?,
            "device" => Item::Val(Val::Device("cpu".to_owned())),
            "layout" => Item::int(0),
            "ndim" => Item::int(self.cx.rank(x)? as i64),
            "is_cuda" | "is_sparse" | "is_quantized" | "is_mkldnn" | "is_meta" | "is_mps"
            | "is_xpu" | "is_ipu" | "is_vulkan" | "is_nested" | "requires_grad"
            | "retains_grad" => Item::bool(false),
            "is_leaf" | "is_cpu" => Item::bool(true),
            "grad" | "grad_fn" => Item::NONE,
            "data" => of.clone(),
            "itemsize" => Item::int(self.cx.dtype(x)?.size().unwrap_or(1) as i64),
            "T" | "mT" | "H" | "mH" | "real" | "imag" => {
                let op = match name {
                    "T" => "aten.numpy_T",
                    "mT" | "mH" => "aten.mT",
                    "H" => "aten.t",
                    name => {
                        if name == "real" {
                            "aten.real"
                        } else {
                            "aten.imag"
                        }
                    }
                };
                Item::Val(Val::Tensor(self.cx.call_tensor(op, &[("self", Val::Tensor(x))])?))
            }
            _ => return Err(LowerError::invalid(format!("a tensor has no attribute `{name}`"))),
        })
    }

    /// The extents of a tensor, such that each can be read while the program runs.
    pub(super) fn extents(&mut self, x: TensorId) -> LowerResult<Vec<Dim>> {
        let shape = self.cx.shape(x)?;
        if shape.contains(&Dim::Unknown) {
            return Err(LowerError::dynamic("an extent of the tensor is not known"));
        }
        self.cx.know_extents(&Val::Tensor(x));
        Ok(shape)
    }

    fn shape_of(&mut self, x: TensorId) -> LowerResult<Item> {
        let items = self.extents(x)?.into_iter().map(|dim| Item::Val(Val::Int(dim))).collect();
        Ok(Item::List(self.heap.add(Content::List(items))))
    }

    fn axis(&self, axis: &Item, rank: usize) -> LowerResult<usize> {
        let Item::Val(Val::Int(Dim::Const(n))) = axis else {
            return Err(LowerError::dynamic("the axis is not known"));
        };
        let at = if *n < 0 { n + rank as i64 } else { *n };
        usize::try_from(at)
            .ok()
            .filter(|&at| at < rank)
            .ok_or_else(|| LowerError::invalid(format!("axis {n} of a tensor with {rank} axes")))
    }

    fn extent_of(&mut self, x: TensorId, axis: &Item) -> LowerResult<Item> {
        let shape = self.extents(x)?;
        let at = self.axis(axis, shape.len())?;
        Ok(Item::Val(Val::Int(shape[at].clone())))
    }

    fn strides(&mut self, x: TensorId) -> LowerResult<Vec<Dim>> {
        self.extents(x)?;
        self.cx.strides(x).map(<[Dim]>::to_vec).ok_or_else(|| {
            LowerError::dynamic("how the tensor lies in memory is not known")
                .help("call `.contiguous()` on it before")
        })
    }

    fn stride_of(&mut self, x: TensorId, axis: Option<&Item>) -> LowerResult<Item> {
        let strides = self.strides(x)?;
        if let Some(axis) = axis {
            let at = self.axis(axis, strides.len())?;
            return Ok(Item::Val(Val::Int(strides[at].clone())));
        }
        let items = strides.into_iter().map(|dim| Item::Val(Val::Int(dim))).collect();
        Ok(Item::List(self.heap.add(Content::List(items))))
    }

    fn same_size(&mut self, x: TensorId, other: &Item) -> LowerResult<Item> {
        let Some(y) = other.tensor() else {
            return Err(LowerError::invalid("the size of what is no tensor"));
        };
        let (a, b) = (self.extents(x)?, self.extents(y)?);
        if a.len() != b.len() {
            return Ok(Item::bool(false));
        }
        let mut all = Item::bool(true);
        for (a, b) in a.into_iter().zip(b) {
            let equal = self.arithmetic("eq", &Item::Val(Val::Int(a)), &Item::Val(Val::Int(b)))?;
            all = self.arithmetic("__and__", &all, &equal)?;
        }
        Ok(all)
    }

    fn promoted(&mut self, a: &Item, b: &Item) -> LowerResult<Item> {
        use crate::lower::value::{Operand, Scalar};
        let one = |item: &Item| match item {
            Item::Val(Val::Tensor(t)) => Ok(Operand::Tensor(*t)),
            Item::Number(t, _) => Ok(Operand::Tensor(*t)),
            Item::Val(Val::Int(dim)) => Ok(Operand::Scalar(Scalar::Int(dim.clone()))),
            Item::Val(Val::Float(x)) => Ok(Operand::Scalar(Scalar::Float(*x))),
            Item::Val(Val::Bool(b)) => Ok(Operand::Scalar(Scalar::Bool(*b))),
            item => Err(LowerError::invalid(format!("the type of {}", item.kind()))),
        };
        let number = |item: &Item| match item {
            Item::Val(Val::Int(Dim::Const(n))) => crate::dtype::aten_scalar_type(*n).ok(),
            _ => None,
        };
        if let (Some(a), Some(b)) = (number(a), number(b)) {
            return Self::dtype_number(crate::lower::promote::join(a, b));
        }
        let (a, b) = (one(a)?, one(b)?);
        Self::dtype_number(self.cx.promoted(&[&a, &b])?)
    }

    /// The elements of a tensor that is known.
    fn known_list(&mut self, x: TensorId) -> LowerResult<Item> {
        let Some(tensor) = self.cx.known(x)?.filter(|t| t.shape().len() == 1) else {
            return Err(LowerError::dynamic("the elements of the tensor are not known"));
        };
        let items = known_items(&tensor)?;
        Ok(Item::List(self.heap.add(Content::List(items))))
    }

    /// The one element of a tensor as the Python number of its kind.
    pub(super) fn scalar_of(&mut self, of: &Item) -> LowerResult<Item> {
        let Some(x) = of.tensor() else { return Ok(of.clone()) };
        match self.cx.dtype(x)?.kind() {
            DTypeKind::Bool => self.bool_of(of),
            DTypeKind::Int => self.int_of(of),
            _ => self.float_of(of),
        }
    }

    fn one_known(&mut self, x: TensorId) -> LowerResult<Option<Item>> {
        match self.cx.known(x)? {
            Some(tensor) if tensor.count() == 1 => Ok(known_items(&tensor)?.into_iter().next()),
            _ => Ok(None),
        }
    }

    pub(super) fn int_of(&mut self, of: &Item) -> LowerResult<Item> {
        let whole = |x: f64| {
            let fits = x.is_finite() && x.abs() < 9.2e18;
            fits.then(|| Item::int(x as i64))
                .ok_or_else(|| LowerError::invalid(format!("{x} as an integer")))
        };
        let x = match of {
            Item::Val(Val::Int(_)) => return Ok(of.clone()),
            Item::Val(Val::Float(x)) => return whole(x.trunc()),
            Item::Val(Val::Bool(b)) => return Ok(Item::int(i64::from(*b))),
            Item::Val(Val::Str(text)) => {
                let parsed = text.trim().parse().map(Item::int);
                return parsed.map_err(|_| LowerError::invalid(format!("`{text}` as an integer")));
            }
            Item::Val(Val::Relation(_)) => self.tensor_of(of)?,
            Item::Val(Val::Tensor(x)) | Item::Number(x, _) => *x,
            of => return Err(LowerError::invalid(format!("{} as an integer", of.kind()))),
        };
        match self.one_known(x)? {
            Some(Item::Val(Val::Float(x))) => return whole(x.trunc()),
            Some(Item::Val(Val::Bool(b))) => return Ok(Item::int(i64::from(b))),
            Some(known) => return Ok(known),
            None => {}
        }
        let mut value = self.cx.read(x)?;
        match self.cx.dtype(x)?.kind() {
            DTypeKind::Int => {}
            DTypeKind::Float | DTypeKind::Bool => value = self.cx.cast(value, DType::I32)?,
            _ => return Err(LowerError::dtype("a complex number as an integer")),
        }
        Ok(Item::Val(Val::Int(dims::from_scalar(self.cx, value)?)))
    }

    pub(super) fn float_of(&mut self, of: &Item) -> LowerResult<Item> {
        let x = match of {
            Item::Val(Val::Float(_)) | Item::Number(_, NumberKind::Float) => return Ok(of.clone()),
            Item::Val(Val::Bool(b)) => return Ok(Item::float(f64::from(u8::from(*b)))),
            Item::Val(Val::Int(Dim::Const(n))) => return Ok(Item::float(*n as f64)),
            Item::Val(Val::Str(text)) => {
                let parsed = text.trim().parse().map(Item::float);
                return parsed.map_err(|_| LowerError::invalid(format!("`{text}` as a float")));
            }
            Item::Val(Val::Complex(..)) => {
                return Err(LowerError::dtype("a complex number as a float"));
            }
            of => self.tensor_of(of)?,
        };
        if let Some(known) = self.one_known(x)? {
            return self.float_of(&known);
        }
        let value = self.cx.read(x)?;
        let value = match self.cx.dtype(x)?.kind() {
            DTypeKind::Float => value,
            DTypeKind::Int | DTypeKind::Bool => self.cx.cast(value, DType::F32)?,
            _ => return Err(LowerError::dtype("a complex number as a float")),
        };
        let value = self.cx.reshape(value, &[])?;
        Ok(Item::Number(self.cx.fresh_tensor(value), NumberKind::Float))
    }

    pub(super) fn bool_of(&mut self, of: &Item) -> LowerResult<Item> {
        match of {
            Item::Val(Val::Bool(_) | Val::Relation(_)) => return Ok(of.clone()),
            Item::Number(_, NumberKind::Bool) => return Ok(of.clone()),
            Item::Val(Val::None) => return Ok(Item::bool(false)),
            Item::Val(Val::Float(x)) => return Ok(Item::bool(*x != 0.0)),
            Item::Val(Val::Str(text)) => return Ok(Item::bool(!text.is_empty())),
            Item::Val(Val::Int(_)) => return self.arithmetic("ne", of, &Item::int(0)),
            Item::Val(Val::Tensor(_)) | Item::Number(..) => {}
            Item::Tuple(_) | Item::List(_) => {
                let filled = self.heap.sequence(of).is_some_and(|items| !items.is_empty());
                return Ok(Item::bool(filled));
            }
            Item::Dict(cell) => {
                let Content::Dict(pairs) = self.heap.get(*cell) else {
                    return Err(self.broken(*cell));
                };
                return Ok(Item::bool(!pairs.is_empty()));
            }
            of => return Err(LowerError::invalid(format!("{} as a bool", of.kind()))),
        }
        let x = self.tensor_of(of)?;
        if let Some(known) = self.one_known(x)? {
            return self.bool_of(&known);
        }
        match self.cx.predicate(&Val::Tensor(x))? {
            Predicate::Known(known) => Ok(Item::bool(known)),
            Predicate::Value(value) => {
                Ok(Item::Number(self.cx.fresh_tensor(value), NumberKind::Bool))
            }
        }
    }

    /// `torch.tensor(data)`.
    fn new_tensor(
        &mut self,
        data: &Item,
        rest: &[Item],
        named: &[(Name, Item)],
    ) -> LowerResult<Item> {
        let dtype = named.iter().find(|(name, _)| &**name == "dtype").map(|(_, item)| item);
        let dtype = match dtype.or(rest.first()) {
            Some(Item::Val(Val::Int(Dim::Const(n)))) => Some(
                crate::dtype::aten_scalar_type(*n)
                    .map_err(|e| LowerError::dtype(format!("`dtype`: {e}")))?,
            ),
            _ => None,
        };
        let made = match data.tensor() {
            Some(tensor) => self.cx.call_tensor("aten.clone", &[("self", Val::Tensor(tensor))])?,
            None => self.stacked(data, 0)?,
        };
        let dtype = match dtype {
            Some(dtype) => dtype,
            None => return Ok(Item::Val(Val::Tensor(made))),
        };
        let args = [("self", Val::Tensor(made)), ("dtype", Val::DType(dtype))];
        Ok(Item::Val(Val::Tensor(self.cx.call_tensor("aten.to", &args)?)))
    }

    /// Nested lists of numbers as a tensor.
    fn stacked(&mut self, data: &Item, depth: u32) -> LowerResult<TensorId> {
        let Some(items) = self.heap.sequence(data).map(<[Item]>::to_vec) else {
            return self.tensor_of(data);
        };
        if depth > 8 {
            return Err(LowerError::argument("a tensor of so many nested lists"));
        }
        if items.is_empty() {
            let empty = Tensor::from_bytes(DType::F32, &[0], Vec::new())?;
            let value = self.cx.b.constant(empty)?;
            return Ok(self.cx.fresh_tensor(value));
        }
        if let Some(tensor) = known_vector(&items)? {
            let value = self.cx.b.constant(tensor)?;
            return Ok(self.cx.fresh_tensor(value));
        }
        let mut parts = Vec::with_capacity(items.len());
        for item in &items {
            parts.push(Val::Tensor(self.stacked(item, depth + 1)?));
        }
        self.cx.call_tensor("aten.stack", &[("tensors", Val::List(parts))])
    }
}

/// The elements of a tensor as items.
fn known_items(tensor: &Tensor) -> LowerResult<Vec<Item>> {
    Ok(match tensor.dtype().kind() {
        DTypeKind::Int => tensor.to_i64s()?.into_iter().map(Item::int).collect(),
        DTypeKind::Float => tensor.to_f64s()?.into_iter().map(Item::float).collect(),
        DTypeKind::Bool => tensor.bytes()?.iter().map(|&b| Item::bool(b != 0)).collect(),
        _ => return Err(LowerError::dtype("the elements of a complex tensor")),
    })
}

/// A vector of numbers that are known and of one kind.
fn known_vector(items: &[Item]) -> LowerResult<Option<Tensor>> {
    let shape = [items.len() as u64];
    let ints: Option<Vec<i64>> = items
        .iter()
        .map(|item| match item {
            Item::Val(Val::Int(dim)) => dim.as_const(),
            _ => None,
        })
        .collect();
    if let Some(ints) = ints {
        return Ok(Some(Tensor::from_i64s(DType::I64, &shape, &ints)?));
    }
    let floats: Option<Vec<f64>> = items
        .iter()
        .map(|item| match item {
            Item::Val(Val::Float(x)) => Some(*x),
            Item::Val(Val::Int(dim)) => dim.as_const().map(|n| n as f64),
            _ => None,
        })
        .collect();
    if let Some(floats) = floats {
        return Ok(Some(Tensor::from_f64s(DType::F32, &shape, &floats)?));
    }
    let bools: Option<Vec<u8>> = items
        .iter()
        .map(|item| match item {
            Item::Val(Val::Bool(b)) => Some(u8::from(*b)),
            _ => None,
        })
        .collect();
    Ok(bools.map(|bools| Tensor::from_bytes(DType::Bool, &shape, bools)).transpose()?)
}
