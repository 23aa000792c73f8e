//! The projection as a task: follows the journal, for as long as it lives, whatever becomes of the database.
//!
//! Invariants: it reads files and never a lane of the trading system, so nothing it does or fails to do is felt there; what
//! waits in memory is one transaction, everything else waits in the journal; a database that does not answer is tried again
//! for ever, and told of within seconds; one that is damaged or gone is moved aside and built again.

use crate::place::{self, FileIdentity};
use crate::project::{JournalSource, OWNER, Projector, Step};
use crate::tables::RESOURCE_SAMPLES;
use crate::{Database, DbError, cursor};
use keel_lifecycle::{Alert, AlertHub, CancellationToken, Clock, Severity};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often it looks for new records, and at the file.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_AT_FILE: Duration = Duration::from_millis(500);
/// How often it looks whether somebody should be told.
const WATCH: Duration = Duration::from_millis(250);
/// Pauses after failures: doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The longest step; beyond it the step is given up and begun again.
const STEP_MAX: Duration = Duration::from_secs(20);
/// A person is reminded this often while nothing is better.
const REMIND: Duration = Duration::from_secs(60);
/// How often samples of the process's resources are written.
const SAMPLES: Duration = Duration::from_secs(1);

/// One look at what the process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceSample {
    /// When, unix nanoseconds.
    pub ts_ns: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// Tells a number that others change, or samples that others take.
pub type Ask<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// What a projection is made of.
#[derive(Clone)]
pub struct ProjectionParts {
    /// Where to.
    pub database: Database,
    /// Where from.
    pub source: JournalSource,
    /// Up to which record the journal is durable.
    pub durable: Ask<u64>,
    /// Samples that were taken so far, oldest first; may be empty.
    pub samples: Ask<Vec<ResourceSample>>,
    /// Behind for longer than this is told.
    pub lag_alarm: Duration,
    /// Where it is told.
    pub alerts: AlertHub,
    /// The clock.
    pub clock: Clock,
}

impl std::fmt::Debug for ProjectionParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProjectionParts").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Where a projection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ProjectionStatus {
    /// The last record that is in the database; zero before that is known.
    pub projected_sequence: u64,
    /// The last record that is durable in the journal.
    pub durable_sequence: u64,
    /// Records written in this run.
    pub written: u64,
    /// Since when it has been behind; unit: milliseconds; zero while it is not.
    pub behind_ms: u64,
    /// What went wrong last, while it is not over.
    pub error: Option<String>,
    /// Times the database was moved aside and built again.
    pub rebuilt: u64,
}

#[derive(Debug, Default)]
struct State {
    status: ProjectionStatus,
    behind_since: Option<u64>,
    told_at: Option<u64>,
}

/// The projection; clones share it. [`Projection::run`] is the task.
#[derive(Clone, Debug)]
pub struct Projection {
    parts: Arc<ProjectionParts>,
    state: Arc<Mutex<State>>,
    projected: Arc<AtomicU64>,
    /// The last record that will never be read again, plus one; zero before that is known.
    needed: Arc<AtomicU64>,
}

/// What the task itself holds.
struct Work {
    projector: Projector,
    is_prepared: bool,
    file: Option<FileIdentity>,
    looked_at_file: u64,
    sampled_at: u64,
    sampled_to: u64,
    pause: Duration,
}

impl Projection {
    /// A projection that has not begun.
    #[must_use]
    pub fn new(parts: ProjectionParts) -> Self {
        Self { parts: Arc::new(parts), state: Arc::default(), projected: Arc::default(), needed: Arc::default() }
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> ProjectionStatus {
        let durable_sequence = (self.parts.durable)();
        let state = self.state.lock();
        let behind_ms = state.behind_since.map_or(0, |since| self.parts.clock.since(since).as_millis() as u64);
        ProjectionStatus { durable_sequence, behind_ms, ..state.status.clone() }
    }

    /// The oldest record that it may still have to read, after a loss of memory too: the journal keeps everything from here
    /// on. Zero before it is known.
    #[must_use]
    pub fn min_sequence_needed(&self) -> u64 {
        self.needed.load(Ordering::Acquire)
    }

    /// The database that it writes.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.parts.database
    }

    /// Waits until everything that is durable is in the database, at most for `limit`; answers how many records are not.
    pub async fn drained(&self, limit: Duration) -> u64 {
        let deadline = self.parts.clock.deadline(limit);
        loop {
            let behind = (self.parts.durable)().saturating_sub(self.projected.load(Ordering::Acquire));
            if behind == 0 || deadline.is_past() {
                return behind;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Follows the journal until `stop` is cancelled. Spawn it as a restartable task of a runtime beside trading.
    pub async fn run(self, stop: CancellationToken) -> Result<(), DbError> {
        let parts = &self.parts;
        let mut work = Work {
            projector: Projector::new(parts.database.clone(), parts.source.clone()),
            is_prepared: false,
            file: None,
            looked_at_file: 0,
            sampled_at: parts.clock.mono_ns(),
            sampled_to: 0,
            pause: PAUSE_FIRST,
        };
        while !stop.is_cancelled() {
            let pause = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                pause = self.watched(&mut work) => pause,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// One step, with a look at the clock beside it. Answers how long to rest.
    async fn watched(&self, work: &mut Work) -> Duration {
        let done = {
            let step = tokio::time::timeout(STEP_MAX, self.step(work));
            tokio::pin!(step);
            loop {
                tokio::select! {
                    biased;
                    done = &mut step => break done,
                    () = tokio::time::sleep(WATCH) => self.watch(None),
                }
            }
        };
        let done = done.unwrap_or_else(|_| {
            let waited_ms = STEP_MAX.as_millis() as u64;
            Err(DbError::Timeout { what: "project".into(), waited_ms, holders: "the database does not answer".into() })
        });
        match done {
            Ok(step) => {
                work.pause = PAUSE_FIRST;
                self.watch(None);
                if step == Step::Wrote { Duration::ZERO } else { LOOK }
            }
            Err(error) => self.on_error(work, error).await,
        }
    }

    async fn step(&self, work: &mut Work) -> Result<Step, DbError> {
        let database = &self.parts.database;
        self.look_at_file(work)?;
        if !work.is_prepared {
            database.prepare().await?;
            work.is_prepared = true;
            work.file = database.options().address.path().map(place::look).transpose()?;
        }
        let step = work.projector.step((self.parts.durable)()).await?;
        if let Some(sequence) = work.projector.sequence() {
            self.projected.store(sequence, Ordering::Release);
            self.needed.store(work.projector.saved().unwrap_or(0) + 1, Ordering::Release);
            let mut state = self.state.lock();
            state.status.projected_sequence = sequence;
            state.status.written = work.projector.written;
            state.status.error = None;
        }
        if step == Step::UpToDate {
            self.write_samples(work).await?;
        }
        Ok(step)
    }

    /// Is the file still the one that was opened? SQLite itself would go on with one that was deleted (D-06).
    fn look_at_file(&self, work: &mut Work) -> Result<(), DbError> {
        let (Some(path), Some(known)) = (self.parts.database.options().address.path(), work.file) else {
            return Ok(());
        };
        if self.parts.clock.since(work.looked_at_file) < LOOK_AT_FILE {
            return Ok(());
        }
        work.looked_at_file = self.parts.clock.mono_ns();
        if place::look(path)? == known {
            return Ok(());
        }
        let what = format!("look at {}", path.display());
        Err(DbError::Corrupt { what, cause: "another file stands in its place".into() })
    }

    async fn write_samples(&self, work: &mut Work) -> Result<(), DbError> {
        if self.parts.clock.since(work.sampled_at) < SAMPLES {
            return Ok(());
        }
        let samples = (self.parts.samples)();
        let (to, instance) = (work.sampled_to, self.parts.source.instance);
        let fresh = samples.iter().filter(|sample| sample.ts_ns > to);
        let rows: Vec<_> = fresh
            .map(|it| {
                vec![json!(instance), json!(it.ts_ns), json!(it.rss_bytes), json!(it.descriptors), json!(it.threads)]
            })
            .collect();
        if !rows.is_empty() {
            let (json, dialect) =
                (Arc::new(vec![(&RESOURCE_SAMPLES, cursor::to_json(&rows))]), self.parts.database.dialect());
            let written = self.parts.database.with_tx("samples", OWNER, |c| {
                let json = json.clone();
                Box::pin(async move { cursor::write(c, dialect, &json).await })
            });
            written.await?;
        }
        work.sampled_at = self.parts.clock.mono_ns();
        work.sampled_to = samples.last().map_or(to, |sample| sample.ts_ns);
        Ok(())
    }

    /// Nothing is lost by an error: what waits in memory is kept, and the rest stands in the journal.
    async fn on_error(&self, work: &mut Work, error: DbError) -> Duration {
        self.watch(Some(&error));
        if matches!(error, DbError::Corrupt { .. }) && self.parts.database.options().address.path().is_some() {
            match self.replace_file(&error).await {
                Ok(()) => {
                    work.projector.lose_place();
                    (work.is_prepared, work.file) = (false, None);
                    return Duration::ZERO;
                }
                Err(error) => self.watch(Some(&error)),
            }
        }
        if matches!(
            error,
            DbError::Other { .. } | DbError::Integrity { .. } | DbError::Journal(_) | DbError::Truncated(_)
        ) {
            // The schema may be gone, or the journal may have been replaced: look everything up again.
            work.projector.lose_place();
            work.is_prepared = false;
        }
        let pause = work.pause;
        work.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }

    async fn replace_file(&self, error: &DbError) -> Result<(), DbError> {
        let aside = self.parts.database.replace_file().await?;
        self.projected.store(0, Ordering::Release);
        self.needed.store(0, Ordering::Release);
        {
            let mut state = self.state.lock();
            state.status.rebuilt += 1;
            state.status.projected_sequence = 0;
        }
        let kept = aside.map_or_else(String::new, |path| format!("; what was there is kept as {}", path.display()));
        self.raise(
            Severity::Error,
            format!(
                "{error}{kept}. Rows of earlier sessions come back with `launcher database rebuild` once this run has ended"
            ),
        );
        Ok(())
    }

    /// Tells a person, once and then every now and then, that the database is behind, and that it is not any more.
    fn watch(&self, error: Option<&DbError>) {
        let clock = &self.parts.clock;
        let (now, durable) = (clock.mono_ns(), (self.parts.durable)());
        let projected = self.projected.load(Ordering::Acquire);
        let mut state = self.state.lock();
        if let Some(error) = error {
            state.status.error = Some(error.to_string());
        }
        if projected >= durable && state.status.error.is_none() {
            state.behind_since = None;
            if state.told_at.take().is_some() {
                drop(state);
                self.raise(Severity::Info, format!("the database has caught up with the journal: record {projected}"));
            }
            return;
        }
        let since = *state.behind_since.get_or_insert(now);
        let is_due = state.told_at.is_none_or(|at| clock.since(at) >= REMIND);
        if clock.since(since) < self.parts.lag_alarm || !is_due {
            return;
        }
        state.told_at = Some(now);
        let slow = || "it is slower than the journal grows".to_owned();
        let cause = state.status.error.clone().or_else(|| self.parts.database.trouble()).unwrap_or_else(slow);
        drop(state);
        let behind = durable.saturating_sub(projected);
        let for_s = clock.since(since).as_secs_f64();
        self.raise(
            Severity::Warning,
            format!("the database lags {behind} records behind the journal, for {for_s:.1} s: {cause}. Trading is not affected"),
        );
    }

    fn raise(&self, severity: Severity, message: String) {
        self.parts.alerts.raise(Alert { severity, kind: "database", message, ts_ns: self.parts.clock.now_ns() });
    }
}
