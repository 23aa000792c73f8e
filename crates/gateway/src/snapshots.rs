//! Snapshots beside the run: a thread of its own replays what the journal holds on books of its own and writes the state.
//!
//! The engine does nothing for it and waits for nothing; what is written is what a replay comes to, by construction. Only
//! records that are durable are covered. One snapshot at a time; while one is made, the records for the next gather in the
//! journal. Failures are told and tried again after as many records as a snapshot is due after: trading never waits. A snapshot
//! is never worth a late stop: the last one has a limit, is given up when that has passed, and costs the next start a longer
//! replay and nothing else.

use crate::GatewayError;
use crate::replay::{ReplayOptions, Replayed, encode, replay_journal};
use keel_engine::Engine;
use keel_lifecycle::{Clock, Deadline, LeaseKind, ResourceLedger, ThreadHandle, spawn_thread};
use keel_model::{Instruments, Timestamp};
use keel_store::record::SnapshotMarker;
use keel_store::snapshot::{Truncated, list_snapshots, sync_segment, truncate, write_snapshot};
use keel_store::{Journal, Record, SnapshotHeader, priority};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the thread looks how far the journal is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How many times as many segments stay for a reader that does not keep up: a database that never comes back must not fill
/// the disk.
const PATIENCE: usize = 4;

/// Makes a fresh engine, configured as the one that trades; its strategies are never called.
pub type MakeEngine = Box<dyn FnMut() -> Result<Engine, String> + Send>;

/// What snapshots are taken of, and when.
pub struct SnapshotsParts {
    /// The journal that the run writes.
    pub journal: Journal,
    /// Records that it held when it was opened.
    pub records_before: u64,
    /// The last record that a snapshot stands for.
    pub covered: u64,
    /// A snapshot is due after so many records.
    pub records_interval: u64,
    /// Segments that stay even where a snapshot stands for them.
    pub segments_kept: usize,
    /// The oldest record that somebody else still has to read; what he needs stays, up to [`PATIENCE`] times as many segments.
    pub needed: Box<dyn Fn() -> u64 + Send>,
    /// Instruments of the run.
    pub instruments: Arc<Instruments>,
    /// Makes the books that the thread replays on.
    pub make: MakeEngine,
    /// Which bot.
    pub instance: u32,
    /// `paper`, `live`, …
    pub mode: String,
    /// Version of the program.
    pub program: String,
    /// The run's clock.
    pub clock: Clock,
    /// Where the thread is listed.
    pub ledger: ResourceLedger,
}

impl fmt::Debug for SnapshotsParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotsParts").field("records_interval", &self.records_interval).finish_non_exhaustive()
    }
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Where it is.
    pub path: PathBuf,
    /// What it is of.
    pub header: SnapshotHeader,
    /// Its size; unit: bytes.
    pub bytes: usize,
    /// Records that were replayed for it.
    pub records: u64,
    /// What was removed because of it.
    pub truncated: Truncated,
}

/// Who writes a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotAuthor {
    /// Which bot.
    pub instance: u32,
    /// `paper`, `live`, …
    pub mode: String,
    /// Version of the program.
    pub program: String,
    /// When.
    pub ts: Timestamp,
}

/// Replays what the journal in `folder` holds and writes the state as a snapshot; `None` when the newest snapshot stands for
/// all of it already.
pub fn take_snapshot(
    folder: &Path,
    instruments: &Instruments,
    make: &mut dyn FnMut() -> Result<Engine, String>,
    author: &SnapshotAuthor,
    segments_kept: usize,
    is_cut: &dyn Fn() -> bool,
) -> Result<Option<SnapshotReport>, GatewayError> {
    let options = ReplayOptions { is_cut: Some(is_cut), ..ReplayOptions::default() };
    let (engine, replayed) = replay_journal(folder, instruments, make, &options)?;
    if replayed.records == 0 {
        return Ok(None);
    }
    let Replayed { symbols, report, records, sequence, .. } = replayed;
    let go_on = || if is_cut() { Err(GatewayError::Ended) } else { Ok(()) };
    go_on()?;
    let state = engine.snapshot().map_err(|error| GatewayError::Snapshot { cause: error.to_string() })?;
    let payload = encode(&symbols, &state)?;
    drop(state);
    go_on()?;
    let header = SnapshotHeader {
        instance: author.instance,
        mode: author.mode.clone(),
        program: author.program.clone(),
        ts: author.ts,
        sequence,
        segment: report.end_segment,
        offset: report.end_offset,
        chain: report.chain_bytes,
        digest: engine.digest().to_string(),
    };
    drop(engine);
    go_on()?;
    sync_segment(folder, header.segment)?;
    go_on()?;
    let path = write_snapshot(folder, &header, &payload)?;
    let truncated = truncate(folder, segments_kept)?;
    Ok(Some(SnapshotReport { path, header, bytes: payload.len(), records, truncated }))
}

#[derive(Debug, Default)]
struct Shared {
    /// The run is over: one last snapshot until then, then end.
    finish_until: Mutex<Option<Deadline>>,
    changed: Condvar,
    /// Give up what is being made.
    is_cut: AtomicBool,
}

impl Shared {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    fn is_finishing(&self) -> bool {
        self.finish_until.lock().is_some()
    }
}

/// The thread that takes snapshots. Dropping it cuts what it is making.
#[derive(Debug)]
pub struct Snapshots {
    shared: Arc<Shared>,
    clock: Clock,
    thread: Option<ThreadHandle<()>>,
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.begin_finish(Duration::ZERO);
    }
}

impl Snapshots {
    /// Starts the thread.
    pub fn start(parts: SnapshotsParts) -> Result<Self, GatewayError> {
        let shared = Arc::new(Shared::default());
        let clock = parts.clock.clone();
        let lease = parts.ledger.lease(LeaseKind::Thread, "store", "snapshots");
        let worker = Worker { parts: Arc::new(Mutex::new(parts)), shared: shared.clone() };
        let thread = spawn_thread("snapshots", lease, move || worker.run())
            .map_err(|error| GatewayError::Snapshot { cause: error.to_string() })?;
        Ok(Self { shared, clock, thread: Some(thread) })
    }

    /// The journal is closed: one last snapshot, at the priority of the caller and for `limit` at most, then the thread ends.
    /// One that is being made beside the run is given up: the last one covers more.
    pub fn begin_finish(&self, limit: Duration) {
        self.shared.finish_until.lock().get_or_insert_with(|| self.clock.deadline(limit));
        self.shared.changed.notify_all();
    }

    /// Has the thread ended?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(ThreadHandle::is_finished)
    }

    /// Waits for the thread after [`Self::has_ended`].
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && let Err(error) = thread.join()
        {
            tracing::warn!(%error, "the thread that takes snapshots panicked");
        }
    }
}

struct Worker {
    parts: Arc<Mutex<SnapshotsParts>>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(self) {
        let mut tried = self.parts.lock().covered;
        loop {
            let finish_until = {
                let mut finish_until = self.shared.finish_until.lock();
                if finish_until.is_none() {
                    self.shared.changed.wait_for(&mut finish_until, LOOK_INTERVAL);
                }
                finish_until.clone()
            };
            if let Some(until) = finish_until {
                let shared = &self.shared;
                return take(&mut self.parts.lock(), true, &|| shared.is_cut() || until.is_past());
            }
            let (written, interval) = {
                let parts = self.parts.lock();
                (parts.records_before.saturating_add(parts.journal.status().records), parts.records_interval)
            };
            if written.saturating_sub(tried) >= interval {
                tried = written;
                self.take_in_background();
            }
        }
    }

    /// On a thread that lets every other go first. It makes one snapshot and ends: without a privilege its priority cannot be
    /// raised again, and the last snapshot is not to wait behind the whole machine.
    fn take_in_background(&self) {
        let (parts, shared) = (self.parts.clone(), self.shared.clone());
        let lease = parts.lock().ledger.lease(LeaseKind::Thread, "store", "snapshot");
        let taken = spawn_thread("snapshot", lease, move || {
            priority::lower_current_thread();
            take(&mut parts.lock(), false, &|| shared.is_cut() || shared.is_finishing());
        });
        if let Err(error) = taken.and_then(ThreadHandle::join) {
            tracing::warn!(%error, "no snapshot was taken; the next start reads more of the journal");
        }
    }
}

fn take(parts: &mut SnapshotsParts, is_last: bool, is_cut: &dyn Fn() -> bool) {
    let started = parts.clock.mono_ns();
    let author = SnapshotAuthor {
        instance: parts.instance,
        mode: parts.mode.clone(),
        program: parts.program.clone(),
        ts: Timestamp::from_ns(parts.clock.now_ns()),
    };
    let folder = parts.journal.folder().to_path_buf();
    // The newest snapshot so far is the older of two afterwards; segments before it go.
    let older = list_snapshots(&folder).ok().and_then(|all| all.first().map(|(sequence, _)| *sequence)).unwrap_or(0);
    let is_needed = (parts.needed)() <= older;
    let segments_kept = parts.segments_kept.saturating_mul(if is_needed { PATIENCE } else { 1 });
    let taken = take_snapshot(&folder, &parts.instruments, &mut *parts.make, &author, segments_kept, is_cut);
    let took_ms = parts.clock.since(started).as_millis();
    match taken {
        Ok(None) => {}
        Ok(Some(report)) => {
            let (sequence, removed) = (report.header.sequence, report.truncated.segments);
            tracing::info!(
                sequence,
                replayed = report.records,
                bytes = report.bytes,
                segments_removed = removed,
                took_ms,
                "snapshot of the journal"
            );
            let marker = SnapshotMarker { sequence, digest: report.header.digest };
            if !is_last && let Err(error) = parts.journal.append(&Record::Snapshot(author.ts, marker)) {
                tracing::debug!(%error, "the journal does not say that a snapshot was taken");
            }
        }
        Err(GatewayError::Ended) if is_last => {
            tracing::warn!(
                took_ms,
                "the last snapshot was given up, its time is over; the next start reads more of the journal"
            );
        }
        Err(GatewayError::Ended) => tracing::info!(took_ms, "a snapshot was given up: the run ends"),
        Err(error) => tracing::warn!(%error, "no snapshot was taken; the next start reads more of the journal"),
    }
}
