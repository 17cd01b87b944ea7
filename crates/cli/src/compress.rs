//! `mlc compress` and `mlc decompress`.

use std::time::Instant;

use mlc_diag::Diagnostics;
use mlc_driver::{Budget, CompressOptions, CompressReport, Driver, Goal, Kind, Recipe, WeightRow};

use crate::Outcome;
use crate::args::{CompressArgs, DecompressArgs, Shared};
use crate::convert::{bad, levels, target};
use crate::progress::Shower;
use crate::render::{Output, say};
use crate::summary::bytes;

/// Rows of the table that are printed without `-v`.
const ROWS: usize = 20;

pub(crate) fn compress(
    driver: &Driver,
    args: &CompressArgs,
    shared: &Shared,
    output: &Output,
) -> Outcome {
    let options = CompressOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        from: args.from.as_deref().map(str::parse::<Kind>).transpose()?,
        target: args.target.as_deref().map(target).transpose()?,
        goal: goal(args)?,
        min_snr: args.min_snr,
        verify: !args.no_verify,
        seed: args.seed,
        calib: args.calib.clone(),
        recompress: args.recompress,
        levels: levels(shared)?,
        force: args.force,
    };
    if let Some(path) = &args.table {
        mlc_driver::check_output(path, args.force)?;
    }
    let report = run(driver, &options, output)?;
    if let Some(path) = &args.table {
        let text = mlc_driver::csv(&report.weights);
        mlc_driver::write_text(path, text.as_bytes(), args.force)?;
    }
    Ok(())
}

fn positive(flag: &str, number: f64) -> Result<f64, Diagnostics> {
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err(bad(flag, format!("{number} is no positive number")).into())
    }
}

fn goal(args: &CompressArgs) -> Result<Goal, Diagnostics> {
    if let Some(text) = &args.max_bytes {
        return Ok(Goal::Budget(Budget::Bytes(size("--max-bytes", text)?)));
    }
    if let Some(bits) = args.bits {
        return Ok(Goal::Budget(Budget::Bits(positive("--bits", bits)?)));
    }
    if let Some(snr) = args.min_psnr {
        return Ok(Goal::Budget(Budget::Snr(positive("--min-psnr", snr)?)));
    }
    Ok(Goal::Compress(Recipe::read(args.recipe.as_deref().unwrap_or_default())?))
}

/// `50M` and the like; units are powers of a thousand.
pub(crate) fn size(flag: &str, text: &str) -> Result<u64, Diagnostics> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match text[end..].trim_end_matches(['b', 'B']) {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "m" | "M" => Some(1e6),
        "g" | "G" => Some(1e9),
        _ => None,
    };
    let number = text[..end].trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0);
    match (number, unit) {
        (Some(number), Some(unit)) => Ok((number * unit) as u64),
        _ => Err(bad(flag, format!("`{text}` is no size"))
            .help("write 500000, 500k, 50M or 2G")
            .into()),
    }
}

pub(crate) fn decompress(
    driver: &Driver,
    args: &DecompressArgs,
    shared: &Shared,
    output: &Output,
) -> Outcome {
    let options = CompressOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        from: args.from.as_deref().map(str::parse::<Kind>).transpose()?,
        target: args.target.as_deref().map(target).transpose()?,
        goal: Goal::Decompress,
        min_snr: None,
        verify: true,
        seed: 0,
        calib: None,
        recompress: false,
        levels: levels(shared)?,
        force: args.force,
    };
    run(driver, &options, output).map(drop)
}

fn run(
    driver: &Driver,
    options: &CompressOptions,
    output: &Output,
) -> Result<CompressReport, Diagnostics> {
    if output.json && options.output.as_os_str() == "-" {
        return Err(bad("-o", "`--json` and the text of `-o -` would both go to stdout").into());
    }
    let start = Instant::now();
    let mut shower = Shower::new(output);
    let result = driver.compress(options, &mut shower);
    shower.finish();
    let report = result?;
    output.report("compress", &report, &report.diagnostics, || {
        if !output.quiet {
            let all = output.verbose > 0;
            for line in lines(&report, all) {
                say(&line);
            }
            say(&format!("  {:.2} s", start.elapsed().as_secs_f64()));
        }
        Ok(())
    })?;
    Ok(report)
}

/// The table and the summary.
fn lines(report: &CompressReport, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.weights.is_empty() {
        lines.push(format!(
            "  {:<36} {:>16} {:<20} {:>6} {:>10} {:>8} {:>9} {:>9}",
            "weight", "shape", "scheme", "bits", "bytes", "SNR dB", "cosine", "max |Δ|"
        ));
    }
    // The worst ones are worth seeing first.
    let mut rows: Vec<&WeightRow> = report.weights.iter().collect();
    rows.sort_by(|a, b| a.snr_db.total_cmp(&b.snr_db));
    let shown = if all { rows.len() } else { ROWS };
    for row in rows.iter().take(shown) {
        let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
        let note = if row.note.is_empty() { String::new() } else { format!("  {}", row.note) };
        lines.push(if row.scheme == "none" {
            format!("  {:<36} {:>16} {:<20}{note}", row.name, shape.join("x"), "stays")
        } else {
            format!(
                "  {:<36} {:>16} {:<20} {:>6.2} {:>10} {:>8.1} {:>9.6} {:>9.1e}{note}",
                row.name,
                shape.join("x"),
                row.scheme,
                row.bits,
                bytes(row.bytes),
                row.snr_db,
                row.cosine,
                row.max_error
            )
        });
    }
    if rows.len() > shown {
        lines.push(format!("  and {} more, which are better (-v shows all)", rows.len() - shown));
    }
    let ratio = report.bytes_before as f64 / report.bytes.max(1) as f64;
    lines.push(format!(
        "  {} → {}  {} → {} ({ratio:.2}×), for {}",
        report.input,
        report.output,
        bytes(report.bytes_before),
        bytes(report.bytes),
        report.target
    ));
    if !report.curve.is_empty() {
        lines.push("  size and SNR that are to be had (≈ estimated):".to_owned());
    }
    for point in &report.curve {
        let mark = if point.measured { "  this one, measured" } else { " ≈" };
        lines.push(format!("    {:>10} {:>8.1} dB{mark}", bytes(point.bytes), point.snr_db));
    }
    for (name, distance) in &report.outputs {
        lines.push(format!(
            "  output {name}: SNR {:.1} dB, max |Δ| {:.1e}",
            distance.snr_db, distance.max_abs
        ));
    }
    lines
}
