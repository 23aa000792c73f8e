//! How far the download is: a bar where a person looks on, a line at each tenth otherwise.

use crate::out;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keel_history::{PieceDone, Progress, Request};
use parking_lot::Mutex;
use std::sync::Arc;

/// Lines of one request off a terminal.
const LINES: u64 = 10;

/// Tells of one request after the other.
#[derive(Debug)]
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    name: String,
    planned: u64,
    done: u64,
    rows: u64,
    bytes: u64,
    lines: u64,
}

/// A bar on a terminal, lines elsewhere.
pub(super) fn start() -> Arc<Bar> {
    let bar = out::is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} [{wide_bar}] {pos}/{len} {msg} {elapsed}");
        match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }
    });
    Arc::new(Bar { bar, state: Mutex::default() })
}

impl Bar {
    /// From here on it is about this request.
    pub(super) fn begin(&self, request: &Request) {
        let name = format!("{} {}", request.symbol, request.kind);
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(0);
            bar.set_prefix(name.clone());
        }
        *self.state.lock() = State { name, ..State::default() };
    }

    /// Away with the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Bar {
    fn planned(&self, pieces: u64) {
        let mut state = self.state.lock();
        state.planned += pieces;
        if let Some(bar) = &self.bar {
            bar.set_length(state.planned);
        }
    }

    fn bytes(&self, count: u64) {
        let mut state = self.state.lock();
        state.bytes += count;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{:.1} MB", state.bytes as f64 / 1e6));
        }
    }

    fn done(&self, piece: &PieceDone) {
        let mut state = self.state.lock();
        state.done += 1;
        state.rows += piece.rows;
        if let Some(bar) = &self.bar {
            bar.set_position(state.done);
            return;
        }
        let lines = state.done * LINES / state.planned.max(state.done).max(1);
        if lines > state.lines {
            state.lines = lines;
            let State { name, planned, done, rows, bytes, .. } = &*state;
            let mb = *bytes as f64 / 1e6;
            out::note(&format!("{name}: {done} of {planned} pieces, {rows} rows, {mb:.1} MB; last {}", piece.name));
        }
    }

    fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| out::note(text)),
            None => out::note(text),
        }
    }
}
