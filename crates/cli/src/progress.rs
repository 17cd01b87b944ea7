//! Shows how far a command is.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use mlc_driver::Observer;

use crate::args::Progress;
use crate::render::{Output, say};

/// Draws a bar on a terminal, or prints lines, or nothing; shows programs on stderr.
pub(crate) struct Shower {
    bar: Option<ProgressBar>,
    plain: bool,
}

impl Shower {
    pub(crate) fn new(output: &Output) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let draw = output.progress == Progress::Auto && terminal && !output.quiet && !output.json;
        let bar = draw.then(|| {
            let style = ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {msg}");
            let bar = ProgressBar::new(0);
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, plain: output.progress == Progress::Plain && !output.quiet }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Shower {
    fn start(&mut self, pass: &str, index: usize, count: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(count as u64);
            bar.set_position(index as u64);
            bar.set_message(pass.to_owned());
        }
        if self.plain {
            say(&format!("[{}/{count}] {pass}", index + 1));
        }
    }

    fn show(&mut self, heading: &str, text: &str) {
        let print = || say(&format!("// ---- {heading} ----\n{text}"));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}
