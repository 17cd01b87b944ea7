//! The tensors in an archive of `torch.save`, and in the pickles of `torch.jit.save`.

use std::collections::BTreeMap;

use mlc_tensor::{DType, Tensor, TensorError};

use crate::archive::{Archive, ArchiveError, Blob};
use crate::pickle::{self, Made, Object, Pickle, PickleError, Value, ValueId};

/// Rebuild functions nested in one another.
const MAX_NESTING: u32 = 16;
/// Elements a view may have however small its storage is.
const FREE_ELEMENTS: u64 = 1 << 24;
/// Elements a view may have beyond that, as a multiple of its storage's.
const VIEW_RATIO: u64 = 64;

/// Why a stored tensor cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    /// Its bytes, or the pickle that describes it, cannot be read from the archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The pickle that describes it is broken.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// Dtype, shape and bytes do not fit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The storage has fewer bytes than it is said to have.
    #[error("storage `{key}` should have {needed} bytes and has {found}")]
    ShortStorage {
        /// Name of the storage.
        key: String,
        /// What its description says.
        needed: u64,
        /// What is there.
        found: u64,
    },
    /// A size, stride or offset below zero.
    #[error("{what} is {value}")]
    Negative {
        /// Which.
        what: &'static str,
        /// The value.
        value: i64,
    },
    /// A view that repeats its elements absurdly often.
    #[error("shape {shape:?} repeats the {elements} elements of its storage too often")]
    Repeated {
        /// Shape of the view.
        shape: Vec<u64>,
        /// Elements of the storage.
        elements: u64,
    },
    /// The description is not built as torch builds it.
    #[error("{what} is {found}")]
    Malformed {
        /// What is described.
        what: &'static str,
        /// What stands there instead.
        found: String,
    },
    /// The archive was written on a big-endian machine.
    #[error("its bytes are big-endian")]
    BigEndian,
    /// An element type that has no counterpart here.
    #[error("element type `{name}` is not supported")]
    DType {
        /// Its name in torch.
        name: String,
    },
    /// A layout other than strided, or a conjugated or negated view.
    #[error("{what} tensors are not supported")]
    Form {
        /// Which form.
        what: String,
    },
    /// Something that is no tensor.
    #[error("it is {found}, not a plain tensor")]
    NotTensor {
        /// What it is.
        found: String,
    },
}

impl WeightError {
    /// Whether the file is broken, rather than sound but beyond what is read here.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        !matches!(self, Self::DType { .. } | Self::Form { .. } | Self::NotTensor { .. })
    }
}

/// Tensors by name; each one or the reason why it cannot be had.
pub type Weights = BTreeMap<String, Result<Tensor, WeightError>>;

/// A view of a storage as torch describes it; sizes, strides and offset count elements.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) sizes: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) offset: i64,
}

impl View {
    /// The tensor that this view of `storage` is; a range of the file when it is contiguous.
    pub(crate) fn of(&self, storage: &Blob, dtype: DType) -> Result<Tensor, WeightError> {
        let shape = natural("a size", &self.sizes)?;
        let mut strides = natural("a stride", &self.strides)?;
        let offset = natural("the storage offset", &[self.offset])?[0];
        if shape.contains(&0) {
            return Ok(Tensor::from_bytes(dtype, &shape, Vec::new())?);
        }
        let flat = storage.elements(dtype)?;
        let elements = flat.count() as u64;
        let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let limit = elements.saturating_mul(VIEW_RATIO).max(FREE_ELEMENTS);
        if count.is_none_or(|count| count > limit) {
            return Err(WeightError::Repeated { shape, elements });
        }
        if strides.len() == shape.len() {
            // The stride of an axis of one element says nothing.
            let mut dense = 1;
            for (&size, stride) in shape.iter().zip(&mut strides).rev() {
                if size == 1 {
                    *stride = dense;
                }
                dense *= size;
            }
        }
        Ok(flat.strided(&shape, &strides, offset)?)
    }
}

fn natural(what: &'static str, values: &[i64]) -> Result<Vec<u64>, WeightError> {
    let one = |&value| u64::try_from(value).map_err(|_| WeightError::Negative { what, value });
    values.iter().map(one).collect()
}

/// A quantized tensor: integers and what they stand for.
#[derive(Debug)]
pub(crate) struct Quantized {
    pub(crate) integers: Tensor,
    pub(crate) scales: Scales,
}

/// Scale and zero point of a quantized tensor.
#[derive(Debug)]
pub(crate) enum Scales {
    /// One of each.
    Tensor(f64, i64),
    /// One of each for every place along an axis.
    Channel(Tensor, Tensor, i64),
}

/// Makes tensors out of the values of a pickle.
#[derive(Debug)]
pub struct TensorReader<'a> {
    pickle: &'a Pickle,
    archive: &'a Archive,
    /// The folder of the storages, such as `archive/data/`.
    folder: String,
    storages: BTreeMap<String, Blob>,
}

impl<'a> TensorReader<'a> {
    /// A reader whose storages are the entries below `folder`, which ends in `/`.
    #[must_use]
    pub fn new(pickle: &'a Pickle, archive: &'a Archive, folder: &str) -> Self {
        Self { pickle, archive, folder: folder.to_owned(), storages: BTreeMap::new() }
    }

    /// The tensor that `id` is. Equal storages give equal sources.
    ///
    /// # Errors
    /// It is no tensor, one of a kind that is not read, or its bytes do not fit.
    pub fn tensor(&mut self, id: ValueId) -> Result<Tensor, WeightError> {
        match self.pickle.get(id) {
            Value::Object(object) => self.rebuild(object.callable, object, 0),
            _ => Err(WeightError::NotTensor { found: self.pickle.describe(id) }),
        }
    }

    /// Element type and shape of the dense tensor that `id` is. Its elements need not be in the archive:
    /// torch leaves those of example inputs out.
    pub(crate) fn declared(&self, id: ValueId) -> Option<(DType, Vec<u64>)> {
        let Value::Object(object) = self.pickle.get(id) else { return None };
        let args = self.pickle.sequence(object.args)?;
        let (_, name) = self.pickle.global(object.callable)?;
        let dtype = match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => {
                let Value::Persistent(storage) = self.pickle.get(*args.first()?) else {
                    return None;
                };
                let class = *self.pickle.sequence(*storage)?.get(1)?;
                storage_dtype(self.pickle.global(class)?.1).ok()?
            }
            "_rebuild_tensor_v3" => self.dtype(args.get(6)).ok()?,
            _ => return None,
        };
        let sizes = self.view(args).ok()?.sizes;
        Some((dtype, natural("a size", &sizes).ok()?))
    }

    /// The quantized tensor that `id` is; `None` if it is something else.
    pub(crate) fn quantized(&mut self, id: ValueId) -> Option<Result<Quantized, WeightError>> {
        let pickle = self.pickle;
        let Value::Object(object) = pickle.get(id) else { return None };
        let is = pickle.global(object.callable) == Some(("torch._utils", "_rebuild_qtensor"));
        is.then(|| {
            let args = pickle.sequence(object.args).unwrap_or_default();
            let (blob, dtype) = self.storage(args.first())?;
            let Some(dtype) = dtype else {
                return self.malformed("the storage's element type", args.first().copied());
            };
            let integers = self.view(args)?.of(&blob, dtype)?;
            let params = args.get(4).and_then(|&id| pickle.sequence(id)).unwrap_or_default();
            let scales = match params {
                [_, scale, zero_point] => match (pickle.get(*scale), pickle.int(*zero_point)) {
                    (Value::Float(scale), Some(zero_point)) => Scales::Tensor(*scale, zero_point),
                    _ => return self.malformed("the scale of a quantized tensor", Some(*scale)),
                },
                [_, scales, zero_points, axis] => {
                    let Some(axis) = pickle.int(*axis) else {
                        return self.malformed("the axis of a quantized tensor", Some(*axis));
                    };
                    Scales::Channel(self.tensor(*scales)?, self.tensor(*zero_points)?, axis)
                }
                _ => return self.malformed("how a tensor is quantized", args.get(4).copied()),
            };
            Ok(Quantized { integers, scales })
        })
    }

    fn malformed<T>(&self, what: &'static str, id: Option<ValueId>) -> Result<T, WeightError> {
        let found = id.map_or_else(|| "missing".to_owned(), |id| self.pickle.describe(id));
        Err(WeightError::Malformed { what, found })
    }

    fn rebuild(
        &mut self,
        function: ValueId,
        object: &Object,
        depth: u32,
    ) -> Result<Tensor, WeightError> {
        let unknown = |pickle: &Pickle| WeightError::NotTensor {
            found: format!("an object made by {}", pickle.describe(function)),
        };
        let args = self.pickle.sequence(object.args).unwrap_or(&[]);
        let name = match self.pickle.global(function) {
            Some((_, name)) if depth <= MAX_NESTING && object.made == Made::Call => name,
            _ => return Err(unknown(self.pickle)),
        };
        match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => {
                self.check_flags(args.get(6))?;
                let (blob, dtype) = self.storage(args.first())?;
                let Some(dtype) = dtype else {
                    return self.malformed("the storage's element type", args.first().copied());
                };
                self.view(args)?.of(&blob, dtype)
            }
            "_rebuild_tensor_v3" => {
                self.check_flags(args.get(7))?;
                let (blob, _) = self.storage(args.first())?;
                let dtype = self.dtype(args.get(6))?;
                self.view(args)?.of(&blob, dtype)
            }
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => {
                match args.first().map(|&id| self.pickle.get(id)) {
                    Some(Value::Object(inner)) => self.rebuild(inner.callable, inner, depth + 1),
                    _ => self.malformed("a parameter's tensor", args.first().copied()),
                }
            }
            "_rebuild_from_type_v2" => self.rebuild_typed(args, depth),
            "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => {
                Err(WeightError::Form { what: "sparse".into() })
            }
            "_rebuild_qtensor" => Err(WeightError::Form { what: "quantized".into() }),
            _ => Err(unknown(self.pickle)),
        }
    }

    /// `_rebuild_from_type_v2(function, class, args, state)`: a tensor with attributes, or of a
    /// subclass; the plain classes only.
    fn rebuild_typed(&mut self, args: &[ValueId], depth: u32) -> Result<Tensor, WeightError> {
        let &[function, class, inner, ..] = args else {
            return self.malformed("a typed tensor", args.first().copied());
        };
        match self.pickle.global(class) {
            Some(("torch" | "torch._tensor", "Tensor"))
            | Some(("torch.nn.parameter", "Parameter" | "Buffer")) => {}
            _ => return Err(WeightError::NotTensor { found: self.pickle.describe(class) }),
        }
        let call = Object {
            made: Made::Call,
            callable: function,
            args: inner,
            kwargs: None,
            state: None,
            items: Vec::new(),
            appended: Vec::new(),
        };
        self.rebuild(function, &call, depth + 1)
    }

    /// Refuses views that are conjugated or negated when they are read.
    fn check_flags(&self, metadata: Option<&ValueId>) -> Result<(), WeightError> {
        let Some(pairs) = metadata.and_then(|&id| self.pickle.pairs(id)) else { return Ok(()) };
        for &(key, value) in pairs {
            if let (Some(name @ ("conj" | "neg")), Value::Bool(true)) =
                (self.pickle.str(key), self.pickle.get(value))
            {
                let what = if name == "conj" { "conjugated" } else { "negated" };
                return Err(WeightError::Form { what: what.into() });
            }
        }
        Ok(())
    }

    fn view(&self, args: &[ValueId]) -> Result<View, WeightError> {
        let ints = |id: Option<&ValueId>| -> Option<Vec<i64>> {
            self.pickle.sequence(*id?)?.iter().map(|&i| self.pickle.int(i)).collect()
        };
        let Some(offset) = args.get(1).and_then(|&id| self.pickle.int(id)) else {
            return self.malformed("the storage offset", args.get(1).copied());
        };
        let Some(sizes) = ints(args.get(2)) else {
            return self.malformed("the size", args.get(2).copied());
        };
        let Some(strides) = ints(args.get(3)) else {
            return self.malformed("the stride", args.get(3).copied());
        };
        Ok(View { sizes, strides, offset })
    }

    /// The bytes of a storage, and its element type unless it is untyped.
    fn storage(&mut self, id: Option<&ValueId>) -> Result<(Blob, Option<DType>), WeightError> {
        let pickle = self.pickle;
        let tuple = match id.map(|&id| pickle.get(id)) {
            Some(Value::Persistent(inner)) => pickle.sequence(*inner).unwrap_or(&[]),
            _ => return self.malformed("a tensor's storage", id.copied()),
        };
        let &[tag, class, key, _, count, ..] = tuple else {
            return self.malformed("a storage id", id.copied());
        };
        let (Some("storage"), Some((_, class)), Some(key), Some(count)) =
            (pickle.str(tag), pickle.global(class), pickle.str(key), pickle.int(count))
        else {
            return self.malformed("a storage id", id.copied());
        };
        let dtype = match class {
            "UntypedStorage" => None,
            class => Some(storage_dtype(class)?),
        };
        let blob = match self.storages.get(key) {
            Some(blob) => blob.clone(),
            None => {
                let blob = self.archive.blob(&format!("{}{key}", self.folder))?;
                self.storages.insert(key.to_owned(), blob.clone());
                blob
            }
        };
        let size = dtype.and_then(DType::size).unwrap_or(1) as u64;
        let needed = natural("a storage's size", &[count])?[0].saturating_mul(size);
        if needed > blob.len() {
            let found = blob.len();
            return Err(WeightError::ShortStorage { key: key.to_owned(), needed, found });
        }
        Ok((blob, dtype))
    }

    fn dtype(&self, id: Option<&ValueId>) -> Result<DType, WeightError> {
        match id.and_then(|&id| self.pickle.global(id)) {
            Some(("torch", name)) => {
                dtype_of(name).ok_or_else(|| WeightError::DType { name: name.to_owned() })
            }
            _ => self.malformed("the element type", id.copied()),
        }
    }
}

fn storage_dtype(class: &str) -> Result<DType, WeightError> {
    Ok(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::Bf16,
        "LongStorage" => DType::I64,
        "IntStorage" | "QInt32Storage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" | "QInt8Storage" => DType::I8,
        "ByteStorage" | "QUInt8Storage" => DType::U8,
        "BoolStorage" => DType::Bool,
        "ComplexFloatStorage" => DType::C64,
        "ComplexDoubleStorage" => DType::C128,
        other => return Err(WeightError::DType { name: other.to_owned() }),
    })
}

/// The element type of `torch.<name>`.
fn dtype_of(name: &str) -> Option<DType> {
    Some(match name {
        "uint8" => DType::U8,
        "int8" => DType::I8,
        "int16" | "short" => DType::I16,
        "int32" | "int" => DType::I32,
        "int64" | "long" => DType::I64,
        "uint16" => DType::U16,
        "uint32" => DType::U32,
        "uint64" => DType::U64,
        "float16" | "half" => DType::F16,
        "float32" | "float" => DType::F32,
        "float64" | "double" => DType::F64,
        "bfloat16" => DType::Bf16,
        "bool" => DType::Bool,
        "complex64" => DType::C64,
        "complex128" => DType::C128,
        "float8_e4m3fn" => DType::F8E4M3,
        "float8_e5m2" => DType::F8E5M2,
        _ => return None,
    })
}

/// The pickle of a `torch.save` archive and the folder of its entries.
///
/// # Errors
/// It is no such archive, big-endian, or its pickle is broken.
pub(crate) fn open(archive: &Archive) -> Result<(Pickle, String), WeightError> {
    let marker = "data.pkl";
    let at =
        |e: &str| e.strip_suffix(marker).filter(|p| p.matches('/').count() <= 1).map(String::from);
    let prefix = archive.entries().find_map(at);
    let prefix = prefix.ok_or_else(|| ArchiveError::Missing { entry: marker.to_owned() })?;
    let order = format!("{prefix}byteorder");
    if archive.says_big_endian(&order)? {
        return Err(WeightError::BigEndian);
    }
    let blob = archive.blob(&format!("{prefix}{marker}"))?;
    let bytes = blob.bytes().map_err(ArchiveError::from)?;
    Ok((pickle::read(&bytes)?, prefix))
}

/// The dict of tensors that a `torch.save` archive holds.
///
/// # Errors
/// The archive or its pickle is broken, or does not hold a dict. What is wrong with one tensor
/// stands at its name in the result.
pub fn state_dict(archive: &Archive) -> Result<Weights, WeightError> {
    let (pickle, prefix) = open(archive)?;
    let mut reader = TensorReader::new(&pickle, archive, &format!("{prefix}data/"));
    let Some(pairs) = pickle.pairs(pickle.root()) else {
        return Err(WeightError::Malformed {
            what: "the state dict",
            found: pickle.describe(pickle.root()),
        });
    };
    let mut weights = Weights::new();
    for &(key, value) in pairs {
        let Some(name) = pickle.str(key) else {
            let found = pickle.describe(key);
            return Err(WeightError::Malformed { what: "a name in the state dict", found });
        };
        weights.insert(name.to_owned(), reader.tensor(value));
    }
    Ok(weights)
}

/// The one tensor that a `torch.save` archive holds.
///
/// # Errors
/// As [`state_dict`] and [`TensorReader::tensor`].
pub(crate) fn single(archive: &Archive) -> Result<Tensor, WeightError> {
    let (pickle, prefix) = open(archive)?;
    TensorReader::new(&pickle, archive, &format!("{prefix}data/")).tensor(pickle.root())
}
