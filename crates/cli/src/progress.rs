//! Shows how far a command is.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mlc_driver::{Meter, Observer};

use crate::args::Progress;
use crate::render::{Output, say};

/// Passes, while none of them tells more.
const PASSES: &str = "{spinner} {bar:24} {pos}/{len} {msg}";

/// Draws a bar on a terminal, or prints lines, or nothing; shows programs on stderr.
pub(crate) struct Shower {
    bar: Option<ProgressBar>,
    plain: bool,
}

impl Shower {
    pub(crate) fn new(output: &Output) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let draw = output.progress == Progress::Auto && terminal && !output.quiet && !output.json;
        let bar = draw.then(|| ProgressBar::new(0));
        Self { bar, plain: output.progress == Progress::Plain && !output.quiet }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar of bytes, with how many a second and how long it still takes.
#[derive(Debug)]
struct Bar(ProgressBar);

impl Meter for Bar {
    fn total(&self, bytes: u64) {
        let template =
            "{spinner} {bar:24} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.reset();
        self.0.set_length(bytes);
    }

    fn done(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

/// Seconds between two lines of a log.
const LINES: Duration = Duration::from_secs(5);

/// Lines of a log, now and then.
#[derive(Debug)]
struct Lines {
    pass: String,
    start: Instant,
    total: AtomicU64,
    done: AtomicU64,
    told: Mutex<Instant>,
}

impl Meter for Lines {
    fn total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn done(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let Ok(mut told) = self.told.try_lock() else { return };
        let total = self.total.load(Ordering::Relaxed);
        if told.elapsed() < LINES && done < total {
            return;
        }
        *told = Instant::now();
        let seconds = self.start.elapsed().as_secs_f64().max(1e-3);
        let speed = done as f64 / seconds;
        say(&format!(
            "  {}: {:.1} of {:.1} MB, {:.1} MB/s, {:.0} s left",
            self.pass,
            done as f64 / 1e6,
            total as f64 / 1e6,
            speed / 1e6,
            total.saturating_sub(done) as f64 / speed.max(1.0)
        ));
    }
}

impl Observer for Shower {
    fn start(&mut self, pass: &str, index: usize, count: usize) {
        if let Some(bar) = &self.bar {
            if let Ok(style) = ProgressStyle::with_template(PASSES) {
                bar.set_style(style);
            }
            bar.set_length(count as u64);
            bar.set_position(index as u64);
            bar.set_message(pass.to_owned());
        }
        if self.plain {
            say(&format!("[{}/{count}] {pass}", index + 1));
        }
    }

    fn meter(&mut self, pass: &str) -> Option<Arc<dyn Meter>> {
        if let Some(bar) = &self.bar {
            return Some(Arc::new(Bar(bar.clone())));
        }
        self.plain.then(|| {
            let (pass, now) = (pass.to_owned(), Instant::now());
            let (total, done) = (AtomicU64::new(0), AtomicU64::new(0));
            let lines = Lines { pass, start: now, total, done, told: Mutex::new(now) };
            Arc::new(lines) as Arc<dyn Meter>
        })
    }

    fn show(&mut self, heading: &str, text: &str) {
        let print = || say(&format!("// ---- {heading} ----\n{text}"));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}
