//! Messages as indented text.

use std::collections::BTreeMap;
use std::io::Write;

use super::list::{self, FULL_MAX, SHOWN};
use super::{DumpError, scalar};
use crate::blob::BlobDigest;
use crate::schema::{Field, Kind, Message, schema};
use crate::unknown::map_key;
use crate::wire::{MAX_DEPTH, Span, WireError, WireField, WireValue};

/// Columns of a line, as far as messages can be broken.
const WIDTH: usize = 100;
const TENSOR_VALUE: &str = "CoreML.Specification.MILSpec.TensorValue.";
const LIST_VALUE: &str = "CoreML.Specification.MILSpec.ListValue";

/// A line of text or a message that may take several.
enum Item<'a> {
    Line(String),
    Message { label: String, span: Span<'a>, ty: &'static Message },
}

/// Prints the fields of the message that `span` encodes, one level deeper than `depth - 1`.
pub(super) fn write_message(
    out: &mut dyn Write,
    span: Span<'_>,
    ty: &'static Message,
    depth: usize,
) -> Result<(), DumpError> {
    if depth > MAX_DEPTH {
        return Err(WireError::TooDeep.into());
    }
    let indent = depth * 2;
    for item in items(span, ty)? {
        match item {
            Item::Line(line) => writeln!(out, "{:indent$}{line}", "")?,
            Item::Message { label, span, ty } => {
                let room = WIDTH.saturating_sub(indent + label.len() + " {  }".len());
                match inline(span, ty, room)? {
                    Some(text) => writeln!(out, "{:indent$}{}", "", braced(&label, &text))?,
                    None => {
                        writeln!(out, "{:indent$}{label} {{", "")?;
                        write_message(out, span, ty, depth + 1)?;
                        writeln!(out, "{:indent$}}}", "")?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The fields on one line, if they fit in `room` columns and none of them is a comment.
fn inline(span: Span<'_>, ty: &'static Message, room: usize) -> Result<Option<String>, WireError> {
    // Text takes at least a quarter of the columns that the encoding takes bytes.
    if span.bytes.len() > 4 * WIDTH {
        return Ok(None);
    }
    let mut text = String::new();
    for item in items(span, ty)? {
        if text.len() > room {
            return Ok(None);
        }
        if !text.is_empty() {
            text.push(' ');
        }
        match item {
            Item::Line(line) if line.contains('#') => return Ok(None),
            Item::Line(line) => text.push_str(&line),
            Item::Message { label, span, ty } => {
                let Some(inner) = inline(span, ty, room.saturating_sub(text.len()))? else {
                    return Ok(None);
                };
                text.push_str(&braced(&label, &inner));
            }
        }
    }
    Ok((text.len() <= room).then_some(text))
}

fn braced(label: &str, text: &str) -> String {
    match text {
        "" => format!("{label} {{}}"),
        text => format!("{label} {{ {text} }}"),
    }
}

fn items<'a>(span: Span<'a>, ty: &'static Message) -> Result<Vec<Item<'a>>, WireError> {
    let mut known: BTreeMap<u32, Vec<WireField<'a>>> = BTreeMap::new();
    let mut unknown: BTreeMap<u32, Vec<WireField<'a>>> = BTreeMap::new();
    for field in span.fields() {
        let field = field?;
        match ty.field(field.number) {
            Some(declared) if !declared.accepts(&field.value) => {
                let name = format!("{}.{}", ty.name, declared.name);
                return Err(WireError::Mismatch { field: name, offset: field.offset });
            }
            Some(_) => known.entry(field.number).or_default().push(field),
            None => unknown.entry(field.number).or_default().push(field),
        }
    }
    let mut items = Vec::new();
    for (number, fields) in known {
        if let Some(declared) = ty.field(number) {
            push_field(&mut items, ty, declared, &fields)?;
        }
    }
    for (number, fields) in unknown {
        items.extend(fields.iter().map(|field| Item::Line(unknown_line(number, field))));
    }
    Ok(items)
}

fn push_field<'a>(
    items: &mut Vec<Item<'a>>,
    ty: &Message,
    declared: &'static Field,
    fields: &[WireField<'a>],
) -> Result<(), WireError> {
    let name = &declared.name;
    let is_tensor = ty.name.starts_with(TENSOR_VALUE);
    match &declared.kind {
        Kind::Message(inner) => {
            let inner = schema().message(*inner);
            let spans = fields.iter().filter_map(|field| match field.value {
                WireValue::Bytes(span) => Some(span),
                WireValue::Varint(_) | WireValue::Fixed32(_) | WireValue::Fixed64(_) => None,
            });
            if inner.is_map_entry {
                return push_map(items, name, inner, spans.collect());
            }
            let is_long = ty.name == LIST_VALUE && fields.len() > FULL_MAX;
            let shown = if is_long { SHOWN } else { usize::MAX };
            items.extend(spans.take(shown).map(|span| Item::Message {
                label: name.clone(),
                span,
                ty: inner,
            }));
            if is_long {
                items.push(Item::Line(rest_of_list(name, fields)));
            }
        }
        kind if declared.repeated => {
            let text = list::text(&format!("{}.{name}", ty.name), kind, fields, is_tensor)?;
            items.push(Item::Line(format!("{name}: {text}")));
        }
        kind => {
            for field in fields {
                let full_name = format!("{}.{name}", ty.name);
                let text = match is_tensor {
                    true => list::single(&full_name, kind, field)?,
                    false => scalar_text(&full_name, kind, field)?,
                };
                items.push(Item::Line(format!("{name}: {text}")));
            }
        }
    }
    Ok(())
}

fn scalar_text(name: &str, kind: &Kind, field: &WireField<'_>) -> Result<String, WireError> {
    scalar::text(kind, field.value)
        .ok_or_else(|| WireError::Utf8 { field: name.to_owned(), offset: field.offset })
}

/// Entries ordered by key. A missing value is the default of its type.
fn push_map<'a>(
    items: &mut Vec<Item<'a>>,
    name: &str,
    entry: &'static Message,
    mut entries: Vec<Span<'a>>,
) -> Result<(), WireError> {
    entries.sort_by_key(|entry| map_key(*entry));
    let Some(value) = entry.field(2) else { return Ok(()) };
    for span in entries {
        let key = String::from_utf8_lossy(map_key(span).unwrap_or_default()).into_owned();
        let label = format!("{name}[{key:?}]");
        let fields: Vec<_> = span.fields().collect::<Result<_, _>>()?;
        let found = fields.iter().rfind(|field| field.number == 2);
        if let Some(found) = found.filter(|found| !value.accepts(&found.value)) {
            return Err(WireError::Mismatch { field: label, offset: found.offset });
        }
        match (&value.kind, found.map(|field| field.value)) {
            (Kind::Message(inner), found) => {
                let span = match found {
                    Some(WireValue::Bytes(span)) => span,
                    _ => Span { bytes: &[], offset: span.offset },
                };
                items.push(Item::Message { label, span, ty: schema().message(*inner) });
            }
            (kind, _) => {
                let text = match found {
                    Some(field) => scalar_text(&label, kind, field)?,
                    None => "\"\"".to_owned(),
                };
                items.push(Item::Line(format!("{label}: {text}")));
            }
        }
        let unknown = fields.iter().filter(|field| entry.field(field.number).is_none());
        items.extend(unknown.map(|field| Item::Line(unknown_line(field.number, field))));
    }
    Ok(())
}

fn unknown_line(number: u32, field: &WireField<'_>) -> String {
    let what = match field.value {
        WireValue::Varint(value) => format!("varint {value}"),
        WireValue::Fixed32(bits) => format!("fixed32 {bits:#x}"),
        WireValue::Fixed64(bits) => format!("fixed64 {bits:#x}"),
        WireValue::Bytes(span) => {
            format!("{} bytes, blake3 {}", span.bytes.len(), BlobDigest::of(span.bytes))
        }
    };
    format!("# unknown field {number}: {what}")
}

/// Stands for the values of a list literal that are not printed.
fn rest_of_list(name: &str, fields: &[WireField<'_>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for field in fields {
        if let WireValue::Bytes(span) = field.value {
            hasher.update(&(span.bytes.len() as u64).to_le_bytes()).update(span.bytes);
        }
    }
    let digest = BlobDigest::from_bytes(*hasher.finalize().as_bytes());
    let count = fields.len();
    format!("# {count} {name}, {} not shown, blake3 of all {digest}", count - SHOWN)
}
