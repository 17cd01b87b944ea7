//! What `convert` prints in the end.

use std::time::Duration;

use mlc_driver::{ConvertReport, FeatureReport, Stages, Tolerance};

/// `102.4 MB`
pub(crate) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 || unit == "GB" {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{n} B")
}

fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

fn features(all: &[FeatureReport]) -> String {
    let one = |f: &FeatureReport| {
        let image = f.image.map(|layout| format!(" ({layout} image)")).unwrap_or_default();
        let optional = if f.default_value.is_some() { " (optional)" } else { "" };
        format!("{} {}{image}{optional}", f.name, f.ty)
    };
    let shown: Vec<String> = all.iter().take(4).map(one).collect();
    let more = if all.len() > 4 { format!(" and {} more", all.len() - 4) } else { String::new() };
    shown.join(", ") + &more
}

/// The summary, a line an entry; at most twelve.
pub(crate) fn lines(report: &ConvertReport, time: Duration, peak: Option<u64>) -> Vec<String> {
    let ops: usize = report.functions.iter().map(|(_, n)| n).sum();
    let change = ops as i64 - report.source_ops as i64;
    let names: Vec<&str> = report.functions.iter().map(|(name, _)| name.as_str()).collect();
    let states = match report.states.len() {
        0 => "no states".to_owned(),
        n => format!("{n} states"),
    };
    let sign = if change < 0 { "−" } else { "+" };
    let mut lines = vec![
        format!("{} → {}", report.input, report.output),
        format!(
            "source    {}, {} ops, {} parameters",
            report.source,
            report.source_ops,
            count(report.parameters)
        ),
        format!("program   {}: {ops} ops ({sign}{}), {states}", names.join(", "), change.abs()),
        format!(
            "inputs    {}          outputs  {}",
            features(&report.inputs),
            features(&report.outputs)
        ),
        target(report),
    ];
    let kept = match report.kept_fp32 {
        0 => String::new(),
        n => format!(", {n} ops kept fp32"),
    };
    let search = report.search.as_ref().map_or_else(String::new, |search| {
        let reached =
            search.reached_db.map_or("no difference".to_owned(), |db| format!("{db:.1} dB"));
        let (count, runs) = (search.kept.len(), search.runs);
        format!(", {reached} with {count} ops chosen in {runs} runs for {} dB", search.asked_db)
    });
    lines.push(format!("precision {}{kept}{search}", report.precision.as_str()));
    let shared = match report.shared_weights {
        0 => String::new(),
        n => format!(", {n} weights shared"),
    };
    let size = report.model_bytes + report.weight_bytes;
    let size = match size {
        0 => "nothing written".to_owned(),
        size => format!("{}{shared}", bytes(size)),
    };
    lines.push(format!("size      {} → {size}", bytes(report.source_bytes)));
    lines.push(verify(report));
    let warnings: Vec<String> = report
        .diagnostics
        .items()
        .iter()
        .map(|d| match d.places.len() {
            0 | 1 => d.code.to_string(),
            n => format!("{} ×{n}", d.code),
        })
        .collect();
    if !warnings.is_empty() {
        lines.push(format!("warnings  {}   (mlc explain CODE)", warnings.join(", ")));
    }
    let id = if report.id.is_empty() {
        "none".to_owned()
    } else {
        format!("blake3:{}", &report.id[..report.id.len().min(16)])
    };
    let peak = peak.map_or_else(String::new, |peak| format!(", peak {}", bytes(peak)));
    lines.push(format!("id        {id}   {:.2} s{peak}", time.as_secs_f64()));
    lines
}

fn target(report: &ConvertReport) -> String {
    let target = &report.target;
    let why = target.because.first().map_or_else(String::new, |why| {
        let more = match target.because.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        format!(": {why}{more}")
    });
    let needs = label(&target.needs);
    match &target.asked {
        Some(asked) => format!("target    {} (asked), needs {needs}{why}", label(asked)),
        None => format!("target    {} (the lowest that fits){why}", label(&target.target)),
    }
}

/// `iOS 17` of `ios17`.
fn label(name: &str) -> String {
    let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let (system, version) = name.split_at(digits);
    let system = match system {
        "ios" => "iOS",
        "macos" => "macOS",
        "tvos" => "tvOS",
        "watchos" => "watchOS",
        "visionos" => "visionOS",
        other => other,
    };
    format!("{system} {version}")
}

fn verify(report: &ConvertReport) -> String {
    let Some(verify) = &report.verify else { return "verify    not compared".to_owned() };
    let worst = &verify.worst;
    let figure = match verify.tolerance {
        _ if worst.differing == 0 => "equal".to_owned(),
        Tolerance::Relative(_) => format!("relative error {:.1e}", worst.relative),
        Tolerance::SnrDb(_) => format!("SNR {:.1} dB", worst.snr_db),
    };
    let inputs = match verify.samples.len() {
        1 => "1 input".to_owned(),
        n => format!("{n} inputs"),
    };
    let verdict = if verify.agrees { "ok" } else { "no" };
    format!("verify    {inputs}, {figure}, max |Δ| {:.1e}: {verdict}", worst.max_abs)
}

/// One line about how long the stages took.
pub(crate) fn stages(stages: &Stages) -> String {
    let ms = |seconds: f64| seconds * 1e3;
    format!(
        "stages (ms): import {:.2}, reference {:.2}, passes {:.2}, verify {:.2}, emission {:.2}",
        ms(stages.import),
        ms(stages.reference),
        ms(stages.passes),
        ms(stages.verify),
        ms(stages.emission)
    )
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, label};

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(51_200_000), "51.2 MB");
        assert_eq!(count(25_600_000), "25.6 M");
    }

    #[test]
    fn systems_are_written_as_apple_does() {
        assert_eq!(label("ios17"), "iOS 17");
        assert_eq!(label("macos26"), "macOS 26");
    }
}
