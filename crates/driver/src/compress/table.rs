//! What became of each weight, as rows.

use std::collections::BTreeSet;

use mlc_pass::Report;
use serde::Serialize;
use serde_json::{Map, Value};

/// What became of a weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightRow {
    /// Its name.
    pub name: String,
    /// Extents.
    pub shape: Vec<u64>,
    /// Kinds of the ops that use it.
    pub users: Vec<String>,
    /// What was done; `none` if it stays.
    pub scheme: String,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes: u64,
    /// Bits an element, scales and tables included.
    pub bits: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Signal-to-noise ratio in dB.
    pub snr_db: f64,
    /// Cosine of the angle between before and after.
    pub cosine: f64,
    /// Greatest absolute error.
    pub max_error: f64,
    /// How the scheme was changed to fit, or why the weight stays.
    pub note: String,
}

/// The rows of all passes that recorded some. What one pass compressed the next one finds compressed,
/// which is no row of its own.
pub(crate) fn rows(report: &Report) -> Vec<WeightRow> {
    let records = || report.runs.iter().flat_map(|run| &run.records);
    let stays = |record: &mlc_pass::Record| text(&record.fields, "scheme") == "none";
    let done: BTreeSet<&str> = records().filter(|r| !stays(r)).map(|r| r.name.as_str()).collect();
    let mut told = BTreeSet::new();
    records()
        .filter(|r| !stays(r) || (!done.contains(r.name.as_str()) && told.insert(r.name.as_str())))
        .map(|record| {
            let fields = &record.fields;
            WeightRow {
                name: record.name.clone(),
                shape: list(fields, "shape").iter().filter_map(Value::as_u64).collect(),
                users: list(fields, "users")
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                scheme: text(fields, "scheme"),
                bytes_before: fields.get("bytes_before").and_then(Value::as_u64).unwrap_or(0),
                bytes: fields.get("bytes").and_then(Value::as_u64).unwrap_or(0),
                bits: number(fields, "bits"),
                mse: number(fields, "mse"),
                snr_db: number(fields, "snr_db"),
                cosine: number(fields, "cosine"),
                max_error: number(fields, "max_error"),
                note: text(fields, "note"),
            }
        })
        .collect()
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    fields.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A number; JSON has no infinity, which is what a missing ratio is.
fn number(fields: &Map<String, Value>, name: &str) -> f64 {
    fields.get(name).and_then(Value::as_f64).unwrap_or(f64::INFINITY)
}

/// The rows as CSV, with a line of names first.
#[must_use]
pub fn csv(rows: &[WeightRow]) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut out = String::from(
        "name,shape,users,scheme,bytes_before,bytes,bits,mse,snr_db,cosine,max_error,note\n",
    );
    for row in rows {
        let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
        out += &format!(
            "{},{},{},{},{},{},{:.4},{:e},{:.3},{:.9},{:e},{}\n",
            quoted(&row.name),
            shape.join("x"),
            row.users.join(" "),
            row.scheme,
            row.bytes_before,
            row.bytes,
            row.bits,
            row.mse,
            row.snr_db,
            row.cosine,
            row.max_error,
            quoted(&row.note)
        );
    }
    out
}
