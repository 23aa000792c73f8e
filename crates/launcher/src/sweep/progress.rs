//! How far a sweep is: a bar where a person looks on, a line at each tenth otherwise.

use crate::out;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines off a terminal.
const LINES: u64 = 10;

/// Tells of trials.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    lines: u64,
}

impl Progress {
    /// A bar on a terminal, lines elsewhere; so many of so many trials are done.
    pub(super) fn new((done, target): (u64, u64)) -> Self {
        let bar = out::is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(target), ProgressDrawTarget::stderr());
            bar.set_position(done);
            let style = ProgressStyle::with_template("sweep [{wide_bar}] {pos}/{len} {per_sec} {elapsed}, {eta} left");
            match style {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            }
        });
        Self { bar, lines: done * LINES / target.max(1) }
    }

    /// So many of so many are done.
    pub(super) fn tell(&mut self, (done, target): (u64, u64)) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let lines = done * LINES / target.max(1);
        if lines > self.lines {
            self.lines = lines;
            out::note(&format!("sweep: {done} of {target} trials"));
        }
    }

    /// Away with the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
