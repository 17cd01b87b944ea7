//! Which line of the user's code a place in the serialized source comes from.

use std::sync::Arc;

use crate::graph::{is_internal, shorten};
use crate::pickle::{self, Pickle, Value, ValueId};

/// The lines that a file of source comes from, by offset; empty where the archive does not say.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// First byte of a range, and what says its place; sorted.
    ranges: Vec<(u32, ValueId)>,
    /// What the ids stand for, and the table of texts.
    said: Option<(Pickle, Option<ValueId>)>,
    /// Where the lines of the file itself end.
    ends: Vec<u32>,
}

/// Frames of one trace that are looked at.
const MAX_FRAMES: usize = 64;

/// Ranges without a place that are passed on the way to one with a place.
const MAX_PASSED: usize = 64;

impl Lines {
    /// Reads the ranges of a `.debug_pkl` entry about the file `text`. What cannot be read is left
    /// out.
    pub(crate) fn read(bytes: &[u8], text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let ends = ends.map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect();
        let Ok(pickle) = pickle::read(bytes) else { return Self { ends, ..Self::default() } };
        let root = pickle.sequence(pickle.root()).unwrap_or_default();
        // A format, a table of texts and the ranges, or in old files the ranges alone.
        let (table, list) = match root {
            [format, table, list] if pickle.str(*format).is_some() => (Some(*table), *list),
            _ => (None, pickle.root()),
        };
        // `(offset, (source, start, end), tag)`.
        let range = |id: &ValueId| {
            let [offset, range, ..] = pickle.sequence(*id)? else { return None };
            Some((u32::try_from(pickle.int(*offset)?).ok()?, *range))
        };
        let list = pickle.sequence(list).unwrap_or_default();
        let mut ranges: Vec<_> = list.iter().filter_map(range).collect();
        ranges.sort_by_key(|range| range.0);
        Self { ranges, said: Some((pickle, table)), ends }
    }

    /// The line of the serialized source itself, 1-based.
    pub(crate) fn own(&self, at: u32) -> u32 {
        let before = self.ends.partition_point(|&end| end < at);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// File and line of what stands at `at`.
    pub(crate) fn at(&self, at: u32) -> Option<(Arc<str>, u32)> {
        let (pickle, table) = self.said.as_ref()?;
        let table = table.and_then(|table| pickle.sequence(table)).unwrap_or_default();
        let reader = Reader { pickle, table };
        let next = self.ranges.partition_point(|range| range.0 <= at);
        let before = self.ranges[..next].iter().rev().take(MAX_PASSED);
        before.copied().find_map(|(_, range)| reader.place(range))
    }
}

struct Reader<'p> {
    pickle: &'p Pickle,
    table: &'p [ValueId],
}

impl Reader<'_> {
    /// `(text, file, first line)` with a range of the text.
    fn place(&self, range: ValueId) -> Option<(Arc<str>, u32)> {
        let [source, start, ..] = self.pickle.sequence(range)? else { return None };
        let [text, file, line] = self.pickle.sequence(*source)? else { return None };
        let text = self.text(*text)?;
        let start = usize::try_from(self.pickle.int(*start)?).ok()?;
        let before = text.as_bytes().get(..start.min(text.len()))?;
        let newlines = before.iter().filter(|&&b| b == b'\n').count();
        // A trace has its frames as text: `file(line): function`.
        if let Some(place) = frame(&text) {
            return Some(place);
        }
        let file = self.text(*file).filter(|file| !file.is_empty())?;
        let first = u32::try_from(self.pickle.int(*line)?).ok()?;
        let line = first.checked_add(u32::try_from(newlines).ok()?)?;
        Some((shorten(&file).into(), line))
    }

    /// A text, whole or as numbers of lines in the table.
    fn text(&self, id: ValueId) -> Option<String> {
        match self.pickle.get(id) {
            Value::Str(text) => Some(text.to_string()),
            Value::Int(_) => self.line(id).map(str::to_owned),
            Value::Object(object) => {
                let [list] = self.pickle.sequence(object.args)? else { return None };
                let mut text = String::new();
                for &line in self.pickle.sequence(*list)? {
                    text.push_str(self.line(line)?);
                    if text.len() > 1 << 20 {
                        return None;
                    }
                }
                Some(text)
            }
            _ => None,
        }
    }

    fn line(&self, id: ValueId) -> Option<&str> {
        let at = usize::try_from(self.pickle.int(id)?).ok()?;
        self.pickle.str(*self.table.get(at)?)
    }
}

/// The innermost frame that is not torch's own; the innermost one if all are.
fn frame(text: &str) -> Option<(Arc<str>, u32)> {
    let one = |line: &'_ str| -> Option<(usize, u32)> {
        let (place, function) = line.rsplit_once(')')?;
        let place = match function.starts_with(": ") {
            true => place,
            false => line.rsplit_once("): ")?.0,
        };
        let (file, line) = place.rsplit_once('(')?;
        Some((file.len(), line.parse().ok()?))
    };
    let mut innermost = None;
    for line in text.lines().take(MAX_FRAMES).map(str::trim) {
        let Some((end, number)) = one(line) else { continue };
        let file = &line[..end];
        if !is_internal(file) {
            return Some((shorten(file).into(), number));
        }
        innermost = innermost.or(Some((file, number)));
    }
    innermost.map(|(file, line)| (shorten(file).into(), line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_outside_of_torch_counts() {
        let text = "/opt/python3.11/site-packages/torch/nn/modules/conv.py(549): _conv_forward\n\
                    /srv/net.py(12): forward\n/srv/train.py(3): <module>\n";
        assert_eq!(frame(text), Some(("/srv/net.py".into(), 12)));
        assert_eq!(frame("nothing"), None);
    }
}
