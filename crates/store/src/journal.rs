//! The journal as the rest of the system sees it: open, append, close.

use crate::disk::{Disk, SystemDisk};
use crate::frame::{SEGMENT_HEADER, SegmentHeader};
use crate::head::Head;
use crate::lane::{LaneId, Shared, Ticket};
use crate::lock::FolderLock;
use crate::priority::Priority;
use crate::record::{Entry, Record};
use crate::scan::{self, End, Pass, Scan, Torn, Visit, segment_path};
use crate::snapshot::{Place, Snapshot, newest_snapshot, remove_draft};
use crate::writer::{Stats, Writer, create_segment, run, sync_folder};
use crate::{Durability, StoreError};
use keel_lifecycle::{Clock, LeaseKind, ResourceLedger, ThreadHandle, spawn_thread};
use parking_lot::Mutex;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Smallest segment; smaller ones could not hold a batch.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 16;

/// How to open a journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The folder; made when it is missing (its parent must exist or be creatable too).
    pub folder: PathBuf,
    /// What "durable" means.
    pub durability: Durability,
    /// `paper`, `live`, …: a folder of one mode is never opened in another.
    pub mode: String,
    /// Which bot, for a fresh folder; an existing one keeps its own.
    pub instance: u32,
    /// The least epoch of this start. A folder that was copied back in time, or emptied, would count epochs again that the
    /// venue has seen; a number that grows by itself, such as the seconds of the clock, keeps client order ids new. 0: the
    /// next one of the folder.
    pub epoch_min: u32,
    /// Size of a segment, 64 KiB to 256 MiB; reserved ahead.
    pub segment_bytes: u64,
    /// Most bytes that may wait for the writer; then records are refused. At most a quarter of a segment.
    pub lane_bytes_max: usize,
    /// Space that intents may not use, so that cancels and closing records fit.
    pub reserve_bytes: usize,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clock, for measuring only.
    pub clock: Clock,
    /// Where the writer thread is listed.
    pub ledger: ResourceLedger,
}

impl JournalOptions {
    /// The usual journal in `folder`: durable against loss of power, segments of 16 MiB.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, mode: impl Into<String>, instance: u32) -> Self {
        Self {
            folder: folder.into(),
            durability: Durability::Power,
            mode: mode.into(),
            instance,
            epoch_min: 0,
            segment_bytes: 1 << 24,
            lane_bytes_max: 1 << 20,
            reserve_bytes: 1 << 18,
            disk: Arc::new(SystemDisk),
            clock: Clock::system(),
            ledger: ResourceLedger::default(),
        }
    }

    fn checked(mut self) -> Self {
        self.segment_bytes = self.segment_bytes.clamp(SEGMENT_BYTES_MIN, scan::SEGMENT_BYTES_MAX);
        let segment = usize::try_from(self.segment_bytes).unwrap_or(1 << 24);
        self.lane_bytes_max = self.lane_bytes_max.clamp(4 << 10, segment / 4);
        self.reserve_bytes = self.reserve_bytes.clamp(4 << 10, segment / 4);
        self
    }
}

/// What an earlier run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Which bot.
    pub instance: u32,
    /// This start; durable already.
    pub epoch: u32,
    /// Everything recorded since the snapshot, oldest first; empty when a visitor was given.
    pub records: Vec<Entry>,
    /// How many records there are.
    pub records_total: u64,
    /// Bytes of an interrupted write that were cut off the end.
    pub torn_tail_bytes: u64,
    /// Did the last run close its journal in order? True for a fresh folder.
    pub was_clean: bool,
    /// Was there no journal before?
    pub is_fresh: bool,
    /// The snapshot that stands for the records before those.
    pub snapshot: Option<Snapshot>,
}

/// Where a journal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEnd {
    /// Records in it.
    pub records_total: u64,
    /// Hash over all of it, 64 hexadecimal digits.
    pub chain: String,
}

/// Figures of a running journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStatus {
    /// Records written in this run.
    pub records: u64,
    /// Batches written in this run.
    pub batches: u64,
    /// Bytes written in this run.
    pub bytes: u64,
    /// Bytes that wait for the writer.
    pub pending_bytes: usize,
    /// How long the last write and sync took; unit: nanoseconds.
    pub sync_ns_last: u64,
    /// How long the slowest took; unit: nanoseconds.
    pub sync_ns_max: u64,
    /// How long the write or sync in progress has been under way; zero when none is (D-03).
    pub stuck_ns: u64,
    /// Scheduling priority of the writer.
    pub priority: Priority,
}

/// The append-only journal; clones are handles of the same one. The writer ends when the last handle is dropped, but
/// only [`Journal::close`] waits for it.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    stats: Arc<Stats>,
    clock: Clock,
    folder: PathBuf,
    thread: Mutex<Option<ThreadHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Journal {
    /// Opens or makes the journal in a folder: takes the lock, reads and checks everything, cuts off a torn tail, raises
    /// the epoch and makes it durable, starts the writer.
    pub fn open(options: JournalOptions) -> Result<(Self, Recovered), StoreError> {
        let mut records = Vec::new();
        let (journal, mut recovered) = Self::open_with(options, &mut |entry| {
            records.push(entry);
            Ok(())
        })?;
        recovered.records = records;
        Ok((journal, recovered))
    }

    /// Like [`Journal::open`], but checks the earlier records without decoding them; they are read afterwards, once it is
    /// known what to do with them ([`crate::for_each_after`]).
    pub fn open_unread(options: JournalOptions) -> Result<(Self, Recovered), StoreError> {
        Self::open_checked(options, None)
    }

    /// Like [`Journal::open`], but hands each earlier record to `visit` instead of collecting them.
    pub fn open_with(
        options: JournalOptions,
        visit: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
    ) -> Result<(Self, Recovered), StoreError> {
        Self::open_checked(options, Some(visit))
    }

    fn open_checked(options: JournalOptions, visit: Option<Visit<'_>>) -> Result<(Self, Recovered), StoreError> {
        let options = options.checked();
        let folder = options.folder.as_path();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| StoreError::io("create the folder", folder, &error))?;
        let lock = FolderLock::acquire(folder, &format!("{} run", options.mode))?;
        let old = Head::read(folder)?;
        if let Some(head) = old.as_ref().filter(|head| head.mode != options.mode) {
            return Err(StoreError::Foreign {
                path: folder.to_path_buf(),
                found: head.mode.clone(),
                wanted: options.mode.clone(),
            });
        }
        let snapshot = newest_snapshot(folder)?;
        let places = snapshot.iter().map(|it| Place::from(&it.header)).collect();
        let start = snapshot.as_ref().map(|it| it.header.segment);
        let covered = snapshot.as_ref().map_or(0, |it| it.header.sequence);
        let found = match visit {
            None => scan::scan(folder, &mut Pass::new(old.clone(), places, start, None))?,
            Some(visit) => {
                let mut later = |entry: Entry| if entry.sequence > covered { visit(entry) } else { Ok(()) };
                scan::scan(folder, &mut Pass::new(old.clone(), places, start, Some(&mut later)))?
            }
        };
        if old.is_none() && (found.records > 0 || found.segments > 1) {
            return Err(StoreError::corrupt(&folder.join("HEAD"), 0, "the head file is missing"));
        }
        let torn_tail_bytes = found.torn.as_ref().map_or(0, |torn| (torn.to - torn.from) as u64);
        cut_off(options.disk.as_ref(), found.torn.as_ref())?;
        let (file, end) = open_end(&options, folder, &found)?;
        let head = next_head(&options, old.as_ref(), &end)?;
        head.write(folder)?;
        remove_draft(folder);
        let recovered = Recovered {
            instance: head.instance,
            epoch: head.epoch,
            records: Vec::new(),
            records_total: end.sequence,
            torn_tail_bytes,
            was_clean: old.as_ref().is_none_or(|head| head.is_clean),
            is_fresh: old.is_none(),
            snapshot,
        };
        Ok((Self::start(options, lock, file, end, head, found.spare)?, recovered))
    }

    fn start(
        options: JournalOptions,
        lock: FolderLock,
        file: File,
        end: End,
        head: Head,
        spare: Option<u32>,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(options.durability, head.epoch, options.lane_bytes_max));
        let stats = Arc::new(Stats::default());
        let segment_bytes = usize::try_from(options.segment_bytes).unwrap_or(1 << 24);
        let spare = spare.filter(|number| *number == end.segment + 1);
        let writer = Writer {
            shared: shared.clone(),
            stats: stats.clone(),
            clock: options.clock.clone(),
            lock,
            file,
            segment: end.segment,
            segment_bytes,
            offset: end.offset,
            sequence: end.sequence,
            chain: end.chain,
            head,
            // Whatever waits in the lanes when intents begin to be refused must fit before the reserve is touched.
            reserve_bytes: options.reserve_bytes + options.lane_bytes_max * 5 / 4,
            zeroed_to: end.offset,
            spare: spare.and_then(|number| {
                create_segment(options.disk.as_ref(), &segment_path(&options.folder, number), segment_bytes).ok()
            }),
            spare_failed: false,
            taken: [0, 0],
            must_sync: false,
            is_finished: false,
            out: Vec::with_capacity(1 << 16),
            main: Vec::with_capacity(1 << 16),
            folder: options.folder.clone(),
            disk: options.disk,
        };
        let lease = options.ledger.lease(LeaseKind::Thread, "store", "journal");
        let (own, writer) = (shared.clone(), Arc::new(Mutex::new(writer)));
        shared.through.get_or_init(|| Arc::downgrade(&writer));
        let thread = spawn_thread("journal", lease, move || {
            own.writer.get_or_init(std::thread::current);
            run(&writer);
        })
        .map_err(|error| StoreError::Thread { cause: error.to_string() })?;
        let inner =
            Inner { shared, stats, clock: options.clock, folder: options.folder, thread: Mutex::new(Some(thread)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Appends a record. Never waits for a sync: await the ticket to know that it is durable. Under the policy `process` an
    /// intent is written before this returns, if nobody else is writing; other records within milliseconds. Refused when
    /// the lane is full, when the journal has failed or is closed, and, for intents, when space runs out.
    pub fn append(&self, record: &Record) -> Result<Ticket, StoreError> {
        self.inner.shared.append(LaneId::Main, record)
    }

    /// Appends a record on the lane of the escape path, which shares no lock with the main one and goes first.
    pub fn append_escape(&self, record: &Record) -> Result<Ticket, StoreError> {
        self.inner.shared.append(LaneId::Escape, record)
    }

    /// Is everything in order? The error says why intents are refused.
    pub fn health(&self) -> Result<(), StoreError> {
        let shared = &self.inner.shared;
        match shared.failure().or_else(|| shared.no_intents.get()) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Figures of this run.
    #[must_use]
    pub fn status(&self) -> JournalStatus {
        let stats = &self.inner.stats;
        let busy_since = stats.busy_since_ns.load(Ordering::Acquire);
        JournalStatus {
            records: stats.records.load(Ordering::Relaxed),
            batches: stats.batches.load(Ordering::Relaxed),
            bytes: stats.bytes.load(Ordering::Relaxed),
            pending_bytes: self.inner.shared.pending_bytes(),
            sync_ns_last: stats.sync_ns_last.load(Ordering::Relaxed),
            sync_ns_max: stats.sync_ns_max.load(Ordering::Relaxed),
            stuck_ns: if busy_since == 0 { 0 } else { self.inner.clock.mono_ns().saturating_sub(busy_since) },
            priority: stats.priority(),
        }
    }

    /// Which epoch this run writes.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.inner.shared.epoch
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Refuses further records, writes and syncs what waits, marks the end as orderly and releases the folder. Blocks
    /// the calling thread, at most for `limit`; in a runtime use [`Journal::begin_close`] and poll
    /// [`Journal::is_closed`]. Idempotent.
    pub fn close(&self, limit: Duration) -> Result<(), StoreError> {
        self.begin_close();
        if !self.inner.shared.wait_ended(limit) {
            return Err(StoreError::Timeout {
                what: "close",
                waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            });
        }
        if let Some(thread) = self.inner.thread.lock().take() {
            thread.join().map_err(|error| StoreError::Poisoned { cause: error.to_string() })?;
        }
        self.inner.shared.failure().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Refuses further records and lets the writer finish.
    pub fn begin_close(&self) {
        self.inner.shared.close();
    }

    /// Has the writer ended?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.shared.wait_ended(Duration::ZERO)
    }
}

/// Overwrites a torn tail with zeros, durably, so that it cannot be mistaken for anything later.
fn cut_off(disk: &dyn Disk, torn: Option<&Torn>) -> Result<(), StoreError> {
    let Some(torn) = torn else { return Ok(()) };
    tracing::warn!(
        path = %torn.path.display(),
        from = torn.from,
        bytes = torn.to - torn.from,
        "the last write was interrupted; its rest is cut off"
    );
    let zero = || -> std::io::Result<()> {
        let file = File::options().write(true).open(&torn.path)?;
        disk.write_all_at(&file, &vec![0; torn.to - torn.from], torn.from as u64)?;
        disk.sync_data(&file)
    };
    zero().map_err(|error| StoreError::io("cut off the torn end of", &torn.path, &error))
}

/// Opens the segment that the next batch goes to, with what is in it durable; makes the first one in a fresh folder.
fn open_end(options: &JournalOptions, folder: &Path, found: &Scan) -> Result<(File, End), StoreError> {
    let mut end = found.end.clone();
    let is_first = end.segment == 0;
    end.segment = end.segment.max(1);
    let path = segment_path(folder, end.segment);
    let bytes = usize::try_from(options.segment_bytes).unwrap_or(1 << 24);
    let file = create_segment(options.disk.as_ref(), &path, bytes)?;
    if is_first {
        let header = SegmentHeader { number: 1, first_sequence: 1, chain: end.chain };
        options
            .disk
            .write_all_at(&file, &header.to_bytes(), 0)
            .and_then(|()| options.disk.sync_data(&file))
            .map_err(|error| StoreError::io("write", &path, &error))?;
        sync_folder(folder)?;
        end.offset = SEGMENT_HEADER;
    } else {
        // Of a process that died, the last batches may be in the system's memory only. The head is about to vouch for them:
        // without this, a loss of power would turn them into durable records that are gone. The name of the segment is
        // durable before anything is in it (`Writer::roll`).
        options.disk.sync_data(&file).map_err(|error| StoreError::io("sync", &path, &error))?;
    }
    Ok((file, end))
}

fn next_head(options: &JournalOptions, old: Option<&Head>, end: &End) -> Result<Head, StoreError> {
    let epoch = old.map_or(0, |head| head.epoch).checked_add(1).ok_or_else(|| StoreError::NotAJournal {
        path: options.folder.clone(),
        cause: "all epochs are used up; start with a fresh data folder".to_owned(),
    })?;
    let epoch = epoch.max(options.epoch_min);
    Ok(Head {
        instance: old.map_or(options.instance, |head| head.instance),
        epoch,
        mode: options.mode.clone(),
        sequence: end.sequence,
        chain: end.chain,
        is_clean: false,
    })
}
