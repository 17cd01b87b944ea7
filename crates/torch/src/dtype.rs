//! The enumerations of the export schema. Their numbers are not those of ATen.

use mlc_tensor::DType;

/// A `ScalarType` that has no element type here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScalarTypeError {
    /// A type of torch that is not supported.
    #[error("element type {0} is not supported")]
    Unsupported(&'static str),
    /// No type has this number.
    #[error("no element type has the number {0}")]
    Unknown(i64),
}

impl ScalarTypeError {
    /// The type's name in torch, or `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unsupported(name) => name,
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The element type that a `ScalarType` number means.
///
/// # Errors
/// No type has the number, or its type is not supported.
pub fn scalar_type(number: i64) -> Result<DType, ScalarTypeError> {
    Ok(match number {
        1 => DType::U8,
        2 => DType::I8,
        3 => DType::I16,
        4 => DType::I32,
        5 => DType::I64,
        6 => DType::F16,
        7 => DType::F32,
        8 => DType::F64,
        9 => return Err(ScalarTypeError::Unsupported("complex32")),
        10 => DType::C64,
        11 => DType::C128,
        12 => DType::Bool,
        13 => DType::Bf16,
        28 => DType::U16,
        29 => DType::F8E4M3,
        30 => DType::F8E5M2,
        31 => return Err(ScalarTypeError::Unsupported("float8_e4m3fnuz")),
        32 => return Err(ScalarTypeError::Unsupported("float8_e5m2fnuz")),
        33 => return Err(ScalarTypeError::Unsupported("float8_e8m0fnu")),
        34 => DType::U32,
        35 => DType::U64,
        other => return Err(ScalarTypeError::Unknown(other)),
    })
}

/// The element types by the number that ATen, and so TorchScript, has for them.
const ATEN: &[(i64, DType)] = &[
    (0, DType::U8),
    (1, DType::I8),
    (2, DType::I16),
    (3, DType::I32),
    (4, DType::I64),
    (5, DType::F16),
    (6, DType::F32),
    (7, DType::F64),
    (9, DType::C64),
    (10, DType::C128),
    (11, DType::Bool),
    (15, DType::Bf16),
    (23, DType::F8E5M2),
    (24, DType::F8E4M3),
    (27, DType::U16),
    (28, DType::U32),
    (29, DType::U64),
];

/// The element type that a number of ATen's `ScalarType` means.
///
/// # Errors
/// No type has the number, or its type is not supported.
pub fn aten_scalar_type(number: i64) -> Result<DType, ScalarTypeError> {
    let name = match number {
        8 => "complex32",
        12 => "qint8",
        13 => "quint8",
        14 => "qint32",
        16 => "quint4x2",
        17 => "quint2x4",
        18..=22 => "bits",
        25 => "float8_e5m2fnuz",
        26 => "float8_e4m3fnuz",
        _ => {
            let known = ATEN.iter().find(|(own, _)| *own == number);
            return known.map(|(_, dtype)| *dtype).ok_or(ScalarTypeError::Unknown(number));
        }
    };
    Err(ScalarTypeError::Unsupported(name))
}

/// The number that ATen has for an element type.
#[must_use]
pub fn aten_scalar_type_of(dtype: DType) -> Option<i64> {
    ATEN.iter().find(|(_, own)| *own == dtype).map(|(number, _)| *number)
}

/// How a tensor's elements lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// Coordinates and values.
    SparseCoo,
    /// Compressed rows.
    SparseCsr,
    /// Compressed columns.
    SparseCsc,
    /// Compressed rows of blocks.
    SparseBsr,
    /// Compressed columns of blocks.
    SparseBsc,
    /// oneDNN's own.
    Mkldnn,
    /// Offset and strides; the usual one.
    Strided,
}

impl Layout {
    /// Its name in torch.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SparseCoo => "sparse_coo",
            Self::SparseCsr => "sparse_csr",
            Self::SparseCsc => "sparse_csc",
            Self::SparseBsr => "sparse_bsr",
            Self::SparseBsc => "sparse_bsc",
            Self::Mkldnn => "mkldnn",
            Self::Strided => "strided",
        }
    }
}

/// The layout that a number means.
#[must_use]
pub fn layout(number: i64) -> Option<Layout> {
    Some(match number {
        1 => Layout::SparseCoo,
        2 => Layout::SparseCsr,
        3 => Layout::SparseCsc,
        4 => Layout::SparseBsr,
        5 => Layout::SparseBsc,
        6 => Layout::Mkldnn,
        7 => Layout::Strided,
        _ => return None,
    })
}

/// The order of axes in memory that an op asks for; values do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemoryFormat {
    /// Row-major.
    Contiguous,
    /// Channels innermost, two spatial axes.
    ChannelsLast,
    /// Channels innermost, three spatial axes.
    ChannelsLast3d,
    /// That of the operand.
    Preserve,
}

/// The memory format that a number means.
#[must_use]
pub fn memory_format(number: i64) -> Option<MemoryFormat> {
    Some(match number {
        1 => MemoryFormat::Contiguous,
        2 => MemoryFormat::ChannelsLast,
        3 => MemoryFormat::ChannelsLast3d,
        4 => MemoryFormat::Preserve,
        _ => return None,
    })
}
