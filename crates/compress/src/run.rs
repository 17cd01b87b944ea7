//! Compresses the weights of a program.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Place, Severity, codes};
use mlc_ir::{Action, FuncId, Node, Program, Rewriter};
use mlc_pass::{Changed, PassCx, PassError, Record, Result};
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde_json::{Map, Value as Json, json};

use crate::encode::{Misfit, Weight, encode, linear};
use crate::encoded::{Codes, Table};
use crate::float::HalfOr;
use crate::moments::{Calibration, Moments};
use crate::palette::cut;
use crate::quality::Quality;
use crate::scheme::Scheme;
use crate::site::{Candidate, Left, Selection, find};
use crate::spill::{LIMIT, Spill};
use crate::store::Stored;
use crate::{direct, halves};

/// A weight that was compressed, and how well.
pub(crate) struct Done {
    stored: Stored,
    bytes: u64,
    quality: Quality,
    notes: Vec<String>,
}

/// Why a weight stays as it is.
pub(crate) enum Kept {
    /// The scheme does not fit it.
    Misfit(String),
    /// It would be no smaller.
    Larger(u64),
}

/// What a pass compresses, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Job<'a> {
    /// The name of the pass.
    pub pass: &'static str,
    /// Which weights.
    pub selection: &'a Selection,
    /// How.
    pub scheme: &'a Scheme,
    /// The least signal-to-noise ratio of a weight, in dB; below it the pass fails.
    pub min_snr: Option<f64>,
}

/// Compresses the weights of the functions that `cx` names, each at most once however often it is
/// used, and records what came of each. One weight a thread is in memory at a time; what is compressed is
/// kept in memory up to a limit, and beyond it in a file. Where `cx` has a [`Calibration`] that asks for it, errors are made up for.
///
/// # Errors
/// A condition that is none, a weight that decodes to something worse than `min_snr`, or whose elements
/// cannot be read.
pub fn run(program: &mut Program, cx: &mut PassCx, job: &Job<'_>) -> Result<Changed> {
    let functions = cx.functions(program);
    let found = find(program, &functions, job.selection)
        .map_err(|error| Diagnostic::new(codes::BAD_ARGUMENT, error.to_string()))?;
    for condition in &found.idle {
        cx.report(idle(condition));
    }
    let calibration = cx.given::<Calibration>().filter(|given| given.feedback);
    let moments = |candidate: &Candidate| calibration?.moments.get(&candidate.id);
    if let Some(meter) = cx.meter() {
        meter.total(found.weights.iter().map(|(weight, _)| weight.tensor.byte_len()).sum());
    }
    let meter = cx.meter();
    let spill = Spill::new(LIMIT);
    let done: Vec<Result<Result<Done, Kept>>> = found
        .weights
        .par_iter()
        .with_max_len(1)
        .map(|(candidate, _)| {
            let mut done = compress(candidate, job.scheme, moments(candidate));
            if let Ok(Ok(done)) = &mut done {
                spill.keep(&mut done.stored);
            }
            candidate.tensor.release();
            if let Some(meter) = meter {
                meter.done(candidate.tensor.byte_len());
            }
            done
        })
        .collect();
    let spilled = spill.finish()?;
    let mut stored: BTreeMap<(FuncId, Node), (Stored, String)> = BTreeMap::new();
    let mut worst = Vec::new();
    for ((candidate, sites), done) in found.weights.into_iter().zip(done) {
        let scheme = job.scheme.to_string();
        match done? {
            Ok(done) => {
                cx.count("compressed", 1);
                cx.record(row(&candidate, &scheme, &done));
                if job.min_snr.is_some_and(|least| done.quality.snr_db < least) {
                    worst.push((candidate.name.clone(), done.quality.snr_db));
                }
                for site in sites {
                    let entry = (done.stored.clone(), candidate.name.clone());
                    stored.insert((site.func, site.node), entry);
                }
            }
            Err(why) => {
                cx.count("left", 1);
                let why = match why {
                    Kept::Misfit(why) => why,
                    Kept::Larger(bytes) => format!("{scheme} would take {bytes} bytes"),
                };
                cx.report(warning(&candidate.name, &format!("`{scheme}` does not fit: {why}")));
                cx.record(stays(&candidate, &why));
            }
        }
    }
    for Left { name, why, expected } in found.left {
        if !expected {
            cx.report(warning(&name, &why));
        }
        let fields = left(&why);
        cx.record(Record { name, fields });
    }
    if let (Some(least), Some((name, snr))) = (job.min_snr, worst.first()) {
        let message = format!("`{name}` decodes with a ratio of {snr:.1} dB, {least} is asked for");
        return Err(Diagnostic::new(codes::VERIFY_MISMATCH, message)
            .note(format!("{} weights are below that", worst.len()))
            .help("use more bits, smaller blocks, or leave them out with `skip`")
            .into());
    }
    let mut changed = false;
    for func in functions {
        changed |= Rewriter::run::<PassError>(program, func, Some(job.pass), &mut |b, node| {
            let Some((stored, name)) = stored.get(&(func, node)) else { return Ok(Action::Keep) };
            Ok(Action::Replace(vec![stored.build(b, name, &spilled)?]))
        })?;
    }
    Ok(Changed::from(changed))
}

fn warning(name: &str, why: &str) -> Diagnostic {
    let mut warning =
        Diagnostic::new(codes::UNSUPPORTED_ARGUMENT, format!("`{name}` stays: {why}"));
    warning.severity = Severity::Warning;
    warning.places.push(Place::Argument(name.into()));
    warning
}

/// A condition that names nothing, which is mostly a slip.
fn idle(condition: &str) -> Diagnostic {
    let message = format!("`{condition}` names no weight");
    let mut warning = Diagnostic::new(codes::BAD_ARGUMENT, message)
        .note("weights that a rule before it took are not named again")
        .help("`mlc inspect --weights` lists the constants; `threshold` leaves small ones out");
    warning.severity = Severity::Warning;
    warning
}

fn compress(
    candidate: &Candidate,
    scheme: &Scheme,
    moments: Option<&Moments>,
) -> Result<Result<Done, Kept>> {
    let tensor = &candidate.tensor;
    let shape: Vec<usize> = tensor.shape().iter().map(|&d| d as usize).collect();
    let Some(float) = HalfOr::of(tensor.dtype()) else {
        return Ok(Err(Kept::Misfit(format!("it is of {}", tensor.dtype()))));
    };
    let content = tensor.bytes()?;
    let (output, input) = (candidate.axes.output, candidate.axes.input);
    let weight = Weight { elements: &[], shape: &shape, float, output, input, moments };
    let made = match in_one_go(&content, weight, scheme) {
        Some(made) => made,
        None => {
            let elements = float.read(&content);
            encode(Weight { elements: &elements, ..weight }, scheme).and_then(|(encoded, notes)| {
                let quality = Quality::of(&elements, &encoded.decode());
                let stored = Stored::new(&encoded).map_err(|e| Misfit(e.to_string()))?;
                Ok((stored, quality, notes))
            })
        }
    };
    let (stored, quality, notes) = match made {
        Ok(made) => made,
        Err(misfit) => return Ok(Err(Kept::Misfit(misfit.to_string()))),
    };
    let bytes = stored.bytes();
    if bytes >= tensor.byte_len() {
        return Ok(Err(Kept::Larger(bytes)));
    }
    Ok(Ok(Done { stored, bytes, quality, notes }))
}

/// What is stored of a weight, how well, and what is to be said of it.
type Made = (Stored, Quality, Vec<String>);

/// What [`encode`] would make of the elements in `content`, without a copy of them; `None` where that
/// cannot be. The elements of `weight` are not heeded.
pub(crate) fn in_one_go(
    content: &[u8],
    weight: Weight<'_>,
    scheme: &Scheme,
) -> Option<Result<Made, Misfit>> {
    if scheme.prune.is_some() || weight.moments.is_some() || content.is_empty() {
        return None;
    }
    let mut notes = Vec::new();
    let shape: Vec<u64> = weight.shape.iter().map(|&d| d as u64).collect();
    let (body, quality) = match (&scheme.quantize, &scheme.palette) {
        (Some(quantize), None) => {
            let (linear, blocks) = linear(weight, quantize, false, &mut notes).ok()?;
            let made = match direct::quantize(content, weight.float, linear, &blocks)? {
                Ok(made) => made,
                Err(odd) => return Some(Err(Misfit::odd(odd))),
            };
            let like = Codes::of(&made.affine, quantize, &blocks);
            (Stored::packed_codes(weight.float, &shape, made.data, &like), made.quality)
        }
        (None, Some(palette)) => {
            let is_plain = !palette.channel_scale && palette.width <= 1;
            let bits = palette.bits_of_table()?;
            if !is_plain || weight.float != HalfOr::Half {
                return None;
            }
            let groups = cut(weight, palette, &mut notes).ok()?.groups;
            let made = match halves::index(content, &groups, (palette, bits))? {
                Ok(made) => made,
                Err(odd) => return Some(Err(Misfit::odd(odd))),
            };
            let like = Table {
                bits,
                indices: Vec::new(),
                entries: made.entries,
                groups: groups.counts(),
                width: 1,
                vector_axis: None,
                coded: made.coded,
                factors: None,
            };
            (Stored::packed_table(weight.float, &shape, made.data, &like), made.quality)
        }
        _ => return None,
    };
    let stored = body.map(Stored::packed).map_err(|error| Misfit(error.to_string()));
    Some(stored.map(|stored| (stored, quality, notes)))
}

fn row(candidate: &Candidate, scheme: &str, done: &Done) -> Record {
    let count = candidate.tensor.count().max(1);
    let mut fields = Map::new();
    fields.insert("shape".to_owned(), json!(candidate.tensor.shape()));
    fields.insert("users".to_owned(), json!(candidate.users));
    fields.insert("scheme".to_owned(), json!(scheme));
    fields.insert("bytes_before".to_owned(), json!(candidate.tensor.byte_len()));
    fields.insert("bytes".to_owned(), json!(done.bytes));
    fields.insert("bits".to_owned(), json!(done.bytes as f64 * 8.0 / count as f64));
    if let Ok(Json::Object(quality)) = serde_json::to_value(done.quality) {
        fields.extend(quality);
    }
    fields.insert("note".to_owned(), json!(done.notes.join("; ")));
    Record { name: candidate.name.clone(), fields }
}

fn stays(candidate: &Candidate, why: &str) -> Record {
    let mut fields = left(why);
    let bytes = candidate.tensor.byte_len();
    fields.insert("shape".to_owned(), json!(candidate.tensor.shape()));
    fields.insert("users".to_owned(), json!(candidate.users));
    fields.insert("bytes_before".to_owned(), json!(bytes));
    fields.insert("bytes".to_owned(), json!(bytes));
    Record { name: candidate.name.clone(), fields }
}

fn left(why: &str) -> Map<String, Json> {
    let mut fields = Map::new();
    fields.insert("scheme".to_owned(), json!("none"));
    fields.insert("note".to_owned(), json!(why));
    fields
}
