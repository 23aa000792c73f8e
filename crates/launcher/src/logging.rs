//! Logs: for people or as JSON on stderr, and as JSON in a file that is begun anew each day. The number of files is bounded,
//! and so is the queue in front of them: when the disk is too slow, lines are dropped and counted, never waited for.
//!
//! Invariant: nothing that is logged holds a secret; keys are `SecretString`, which shows nothing.

use crate::config::LogSettings;
use crate::error::LaunchError;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{Layer, format::FmtSpan};
use tracing_subscriber::layer::{Layer as _, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Most lines that wait for the disk; further ones are dropped and counted.
const QUEUE_LINES_MAX: usize = 16_384;

/// What keeps the log going. [`Logging::flush`] writes out what waits and ends the thread.
#[derive(Clone, Debug, Default)]
pub struct Logging {
    guard: Arc<Mutex<Option<WorkerGuard>>>,
    dropped: Option<ErrorCounter>,
}

impl Logging {
    /// Writes out what waits and closes the file; idempotent. Later lines still reach stderr.
    pub fn flush(&self) {
        let guard = self.guard.lock().take();
        drop(guard);
    }

    /// Lines that the file has missed because the disk was too slow.
    #[must_use]
    pub fn lines_dropped(&self) -> usize {
        self.dropped.as_ref().map_or(0, ErrorCounter::dropped_lines)
    }
}

/// Logs to stderr and, when a folder is given, to a file in it. Has effect once per process.
pub fn start(settings: &LogSettings, folder: Option<&Path>, may_colour: bool) -> Result<Logging, LaunchError> {
    let (file_layer, logging) = match folder {
        None => (None, Logging::default()),
        Some(folder) => {
            let (writer, guard) = file(settings, folder)?;
            let dropped = Some(writer.error_counter());
            let layer =
                Layer::new().json().with_span_events(FmtSpan::NONE).with_writer(writer).with_filter(level_of(settings));
            (Some(layer), Logging { guard: Arc::new(Mutex::new(Some(guard))), dropped })
        }
    };
    crate::out::set_json(settings.is_json);
    let json =
        settings.is_json.then(|| Layer::new().json().with_writer(std::io::stderr).with_filter(level_of(settings)));
    let human = (!settings.is_json).then(|| {
        Layer::new()
            .compact()
            .with_target(false)
            .with_ansi(may_colour)
            .with_writer(std::io::stderr)
            .with_filter(level_of(settings))
    });
    // A second start in one process keeps the first subscriber, which is what tests need.
    drop(tracing_subscriber::registry().with(file_layer).with(json).with(human).try_init());
    Ok(logging)
}

/// Our own crates at the level asked for, those of others at warnings at most.
fn level_of(settings: &LogSettings) -> Targets {
    let own = LevelFilter::from_level(settings.level);
    let others = own.min(LevelFilter::WARN);
    ["keel", "launcher"]
        .into_iter()
        .fold(Targets::new().with_default(others), |targets, prefix| targets.with_target(prefix, own))
}

fn file(
    settings: &LogSettings,
    folder: &Path,
) -> Result<(tracing_appender::non_blocking::NonBlocking, WorkerGuard), LaunchError> {
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("launcher")
        .filename_suffix("log.jsonl")
        .max_log_files(settings.files_max)
        .build(folder)
        .map_err(|error| LaunchError::Io {
            what: "begin a log in",
            path: folder.to_path_buf(),
            source: std::io::Error::other(error),
            remedy: "choose a data folder that may be written (--data-dir)".into(),
        })?;
    Ok(NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE_LINES_MAX)
        .thread_name("log")
        .finish(appender))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_are_held_to_warnings() {
        let settings = LogSettings { level: tracing::Level::DEBUG, is_json: false, files_max: 3 };
        let targets = level_of(&settings);
        assert!(targets.would_enable("keel_gateway::lanes", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("hyper::proto", &tracing::Level::INFO));
        assert!(targets.would_enable("rustls", &tracing::Level::WARN));
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        for day in 1..=9 {
            std::fs::write(dir.path().join(format!("launcher.2020-01-0{day}.log.jsonl")), "old\n").unwrap();
        }
        let settings = LogSettings { level: tracing::Level::INFO, is_json: false, files_max: 3 };
        drop(file(&settings, dir.path()).unwrap());
        assert!(std::fs::read_dir(dir.path()).unwrap().count() <= 3);
    }
}
