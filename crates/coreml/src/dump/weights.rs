//! The table of a weight file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use mlc_target::DataType;

use super::list::SHOWN;
use super::scalar;
use crate::blob::{BitWidth, Blob, BlobReader, unpack};
use crate::spec::{Model, mil};
use crate::values::blob_values;

/// Prints position, type, shape, size, digest and first elements of every blob. The shape is the one
/// of the values that name the blob.
pub(super) fn write_table(
    out: &mut dyn Write,
    model: &Model,
    name: &str,
    reader: &BlobReader<'_>,
) -> io::Result<()> {
    let mut shapes: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (blob, value) in blob_values(model) {
        if blob.file_name == name {
            shapes.entry(blob.offset).or_default().insert(type_text(value));
        }
    }
    writeln!(out, "weights {name:?} {{ # {} blobs, {} bytes", reader.count(), reader.byte_len())?;
    for blob in reader.blobs() {
        match blob {
            Ok(blob) => {
                let used = shapes.remove(&blob.offset());
                writeln!(out, "  {}", row(&blob, used.unwrap_or_default()))?;
            }
            Err(error) => writeln!(out, "  # {error}")?,
        }
    }
    for (offset, shapes) in shapes {
        let shapes = joined(shapes);
        match reader.blob_at(offset) {
            Ok(_) => writeln!(out, "  # {offset} {shapes}: not counted by the header")?,
            Err(error) => writeln!(out, "  # {offset} {shapes}: {error}")?,
        }
    }
    writeln!(out, "}}")
}

fn row(blob: &Blob<'_>, shapes: BTreeSet<String>) -> String {
    let spec = blob.spec();
    let shapes = if shapes.is_empty() { "unused".to_owned() } else { joined(shapes) };
    let first = first_elements(blob).join(", ");
    let more = if spec.element_count() > SHOWN as u64 { ", ..." } else { "" };
    format!(
        "{}: {} {shapes}, {} bytes, blake3 {}, [{first}{more}]",
        blob.offset(),
        spec.dtype(),
        spec.byte_len(),
        blob.digest(),
    )
}

fn joined(shapes: BTreeSet<String>) -> String {
    shapes.into_iter().collect::<Vec<_>>().join(" | ")
}

/// Shape of a tensor value, `?` for what is not constant.
fn type_text(value: &mil::Value) -> String {
    let ty = value.r#type.as_ref().and_then(|ty| ty.r#type.as_ref());
    let Some(mil::value_type::Type::TensorType(tensor)) = ty else { return "no tensor".to_owned() };
    let dims = tensor.dimensions.iter().map(|dimension| match &dimension.dimension {
        Some(mil::dimension::Dimension::Constant(constant)) => constant.size.to_string(),
        Some(mil::dimension::Dimension::Unknown(_)) | None => "?".to_owned(),
    });
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}

fn first_elements(blob: &Blob<'_>) -> Vec<String> {
    let (dtype, payload) = (blob.spec().dtype(), blob.payload());
    let count = usize::try_from(blob.spec().element_count()).unwrap_or(SHOWN).min(SHOWN);
    let bits = dtype.bits().unwrap_or(8);
    let packed = BitWidth::from_bits(bits).and_then(|width| unpack(payload, width, count).ok());
    let texts = |bytes: &[u8], width: usize, dtype: DataType| -> Vec<String> {
        bytes.chunks(width).take(count).filter_map(|chunk| scalar::element(dtype, chunk)).collect()
    };
    match packed {
        Some(elements) => texts(&elements, 1, dtype),
        None => texts(payload, (bits as usize / 8).max(1), dtype),
    }
}
