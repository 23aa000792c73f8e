//! The writer thread: the only place that writes to the journal's files.
//!
//! One batch at a time: take what waits in both lanes, number and chain it, write it in one call, sync it as the policy
//! says, then acknowledge. While a batch is on its way to the disk the next one gathers, which is the group commit.
//! A failed write or sync is never retried as if nothing had happened (D-02): the journal is poisoned, and stays so.

use crate::disk::Disk;
use crate::frame::{self, Chain, SEAL_BYTES, SEGMENT_HEADER, SegmentHeader};
use crate::head::Head;
use crate::lane::{LaneId, Shared};
use crate::lock::FolderLock;
use crate::priority::{self, Priority};
use crate::scan::segment_path;
use crate::{Durability, StoreError};
use keel_lifecycle::Clock;
use parking_lot::Mutex;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// The writer looks around at least this often.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Space ahead of the end that is overwritten with zeros while there is nothing else to do: a sync then needs no change of
/// the file system's own tables.
const ZERO_AHEAD: usize = 1 << 18;

/// Figures of the writer, readable from any thread.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) records: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) sync_ns_last: AtomicU64,
    pub(crate) sync_ns_max: AtomicU64,
    /// Monotonic time at which the write or sync in progress began; zero when none is.
    pub(crate) busy_since_ns: AtomicU64,
    pub(crate) priority: AtomicU8,
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Clock,
    pub(crate) folder: PathBuf,
    /// Held until the thread ends.
    pub(crate) lock: FolderLock,
    pub(crate) file: File,
    pub(crate) segment: u32,
    pub(crate) segment_bytes: usize,
    pub(crate) offset: usize,
    pub(crate) sequence: u64,
    pub(crate) chain: Chain,
    pub(crate) head: Head,
    /// Below this much space, intents are refused unless another segment is ready.
    pub(crate) reserve_bytes: usize,
    /// Bytes up to here were overwritten with zeros.
    pub(crate) zeroed_to: usize,
    pub(crate) spare: Option<File>,
    pub(crate) spare_failed: bool,
    pub(crate) taken: [u64; 2],
    pub(crate) must_sync: bool,
    /// Nothing may be written after the orderly end.
    pub(crate) is_finished: bool,
    pub(crate) out: Vec<u8>,
    pub(crate) main: Vec<u8>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("segment", &self.segment).field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// Says that the writer has ended, however it ends.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(&StoreError::Poisoned { cause: "the journal's thread panicked".to_owned() });
        }
        self.0.end();
    }
}

/// Creates a segment file of full length; nothing in it yet.
pub(crate) fn create_segment(disk: &dyn Disk, path: &Path, bytes: usize) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::io("create", path, &error))?;
    disk.reserve(&file, bytes as u64).map_err(|error| StoreError::io("reserve space for", path, &error))?;
    Ok(file)
}

/// Makes new names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| StoreError::io("sync", folder, &error))
}

/// The body of the thread. The writer is held only while there is something to do, so that whoever appends may write for
/// itself where the policy asks for no sync ([`Writer::write_through`]).
pub(crate) fn run(writer: &Mutex<Writer>) {
    let (shared, stats) = {
        let writer = writer.lock();
        (writer.shared.clone(), writer.stats.clone())
    };
    let _end = EndGuard(shared.clone());
    if shared.durability != Durability::Process {
        let priority = priority::raise_current_thread();
        stats.priority.store(priority as u8, Ordering::Relaxed);
        match priority {
            Priority::RealTime => tracing::debug!("the journal's thread runs with real-time priority"),
            Priority::Nice | Priority::Normal => tracing::info!(
                got = ?priority,
                "the journal's thread may not have real-time priority (CAP_SYS_NICE): on a loaded machine orders wait for it"
            ),
        }
    }
    while shared.failure().is_none() {
        let outcome = writer.lock().turn();
        match outcome {
            Ok(Turn::Worked) => {}
            Ok(Turn::Idle { seen }) => shared.sleep(seen, SLEEP_MAX),
            Ok(Turn::Closed) => return,
            Err(error) => {
                stats.busy_since_ns.store(0, Ordering::Release);
                shared.fail(&error);
            }
        }
    }
}

/// What one turn of the writer came to.
enum Turn {
    Worked,
    /// Nothing to do after this many records.
    Idle {
        seen: u64,
    },
    Closed,
}

impl Writer {
    fn turn(&mut self) -> Result<Turn, StoreError> {
        match self.take() {
            Some(0) if self.prepare()? => Ok(Turn::Worked),
            Some(0) => Ok(Turn::Idle { seen: self.taken.iter().sum() }),
            Some(_) => self.write_batch().map(|()| Turn::Worked),
            None => {
                self.is_finished = true;
                self.finish()?;
                tracing::debug!(folder = %self.lock.path().display(), "journal closed");
                Ok(Turn::Closed)
            }
        }
    }

    /// Writes what waits on the thread that appended it, without a hand-over: for the policy that asks for no sync.
    pub(crate) fn write_through(&mut self) -> Result<(), StoreError> {
        if self.is_finished {
            return Ok(());
        }
        match self.take() {
            None | Some(0) => Ok(()),
            Some(_) => self.write_batch(),
        }
    }

    /// Takes what waits. Returns how many records that is, or `None` once the journal is closing and empty.
    fn take(&mut self) -> Option<u64> {
        let is_closing = self.shared.is_closing.load(Ordering::SeqCst);
        let before = self.taken;
        self.out.clear();
        self.main.clear();
        let [escape, main] = &self.shared.lanes;
        {
            let mut queue = escape.queue.lock();
            std::mem::swap(&mut queue.bytes, &mut self.out);
            self.taken[LaneId::Escape as usize] = queue.appended;
        }
        {
            let mut queue = main.queue.lock();
            std::mem::swap(&mut queue.bytes, &mut self.main);
            self.taken[LaneId::Main as usize] = queue.appended;
            self.must_sync |= std::mem::take(&mut queue.must_sync);
        }
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, &mut self.main);
        } else {
            self.out.extend_from_slice(&self.main);
        }
        let records = self.taken.iter().sum::<u64>() - before.iter().sum::<u64>();
        if records == 0 && is_closing { None } else { Some(records) }
    }

    fn write_batch(&mut self) -> Result<(), StoreError> {
        let needed = self.out.len() + SEAL_BYTES;
        if self.offset + needed > self.segment_bytes {
            self.roll()?;
        }
        let count = frame::finish_frames(&mut self.out, self.sequence + 1);
        self.chain = frame::next_chain(&self.chain, &self.out);
        self.sequence += count;
        frame::seal(&mut self.out, self.sequence, &self.chain);

        let started = self.clock.mono_ns().max(1);
        self.stats.busy_since_ns.store(started, Ordering::Release);
        self.write_at_end()?;
        let must_sync = match self.shared.durability {
            Durability::Power => true,
            Durability::Lease => std::mem::take(&mut self.must_sync),
            Durability::Process => false,
        };
        if must_sync {
            self.sync(started)?;
        }
        self.stats.busy_since_ns.store(0, Ordering::Release);
        self.stats.records.fetch_add(count, Ordering::Relaxed);
        self.stats.batches.fetch_add(1, Ordering::Relaxed);
        self.stats.bytes.fetch_add(needed as u64, Ordering::Relaxed);
        self.shared.acknowledge(self.taken);
        self.check_reserve();
        Ok(())
    }

    fn write_at_end(&mut self) -> Result<(), StoreError> {
        self.disk
            .write_all_at(&self.file, &self.out, self.offset as u64)
            .map_err(|error| StoreError::io("write", &segment_path(&self.folder, self.segment), &error))?;
        self.offset += self.out.len();
        self.zeroed_to = self.zeroed_to.max(self.offset);
        Ok(())
    }

    fn sync(&mut self, started: u64) -> Result<(), StoreError> {
        self.disk
            .sync_data(&self.file)
            .map_err(|error| StoreError::io("sync", &segment_path(&self.folder, self.segment), &error))?;
        let took = self.clock.mono_ns().saturating_sub(started);
        self.stats.sync_ns_last.store(took, Ordering::Relaxed);
        self.stats.sync_ns_max.fetch_max(took, Ordering::Relaxed);
        Ok(())
    }

    /// Nothing waits: prepares what the next batches need. Returns whether there was something to prepare.
    fn prepare(&mut self) -> Result<bool, StoreError> {
        if self.spare.is_none() && !self.spare_failed {
            self.begin_disk_work();
            self.make_spare();
            self.stats.busy_since_ns.store(0, Ordering::Release);
            return Ok(true);
        }
        let is_short_of_zeros = self.zeroed_to < self.segment_bytes && self.zeroed_to - self.offset < ZERO_AHEAD / 2;
        if self.shared.durability == Durability::Process || !is_short_of_zeros {
            return Ok(false);
        }
        let length = ZERO_AHEAD.min(self.segment_bytes - self.zeroed_to);
        self.out.clear();
        self.out.resize(length, 0);
        let path = segment_path(&self.folder, self.segment);
        self.begin_disk_work();
        self.disk
            .write_all_at(&self.file, &self.out, self.zeroed_to as u64)
            .and_then(|()| self.disk.sync_data(&self.file))
            .map_err(|error| StoreError::io("write", &path, &error))?;
        self.stats.busy_since_ns.store(0, Ordering::Release);
        self.zeroed_to += length;
        Ok(true)
    }

    /// A disk that hangs is seen whatever is being done on it (D-03).
    fn begin_disk_work(&self) {
        self.stats.busy_since_ns.store(self.clock.mono_ns().max(1), Ordering::Release);
    }

    fn make_spare(&mut self) {
        let path = segment_path(&self.folder, self.segment + 1);
        match create_segment(self.disk.as_ref(), &path, self.segment_bytes) {
            Ok(file) => self.spare = Some(file),
            Err(error) => {
                self.spare_failed = true;
                tracing::warn!(%error, "no further segment can be reserved; the journal goes on in the present one");
            }
        }
    }

    /// D-01: as long as cancels and closing records still fit, nothing new may be intended without space for it.
    fn check_reserve(&mut self) {
        if self.spare.is_some() || self.segment_bytes.saturating_sub(self.offset) >= self.reserve_bytes {
            return;
        }
        let path = segment_path(&self.folder, self.segment + 1);
        match create_segment(self.disk.as_ref(), &path, self.segment_bytes) {
            Ok(file) => self.spare = Some(file),
            Err(error) => {
                if self.shared.no_intents.set(error.clone()).is_ok() {
                    tracing::error!(%error, "the journal refuses intents; cancels and reports use the reserve");
                }
            }
        }
    }

    /// Goes on in the next segment. Its header is durable before the first batch in it.
    fn roll(&mut self) -> Result<(), StoreError> {
        let number = self.segment + 1;
        let path = segment_path(&self.folder, number);
        let next = match self.spare.take() {
            Some(file) => file,
            None => create_segment(self.disk.as_ref(), &path, self.segment_bytes)?,
        };
        let header = SegmentHeader { number, first_sequence: self.sequence + 1, chain: self.chain };
        self.disk
            .sync_data(&self.file)
            .and_then(|()| self.disk.write_all_at(&next, &header.to_bytes(), 0))
            .and_then(|()| self.disk.sync_data(&next))
            .map_err(|error| StoreError::io("write", &path, &error))?;
        sync_folder(&self.folder)?;
        self.file = next;
        self.segment = number;
        self.offset = SEGMENT_HEADER;
        self.zeroed_to = SEGMENT_HEADER;
        self.spare_failed = false;
        Ok(())
    }

    /// The orderly end: everything durable, the head says so, reserved space given back.
    fn finish(&mut self) -> Result<(), StoreError> {
        let path = segment_path(&self.folder, self.segment);
        self.disk.sync_data(&self.file).map_err(|error| StoreError::io("sync", &path, &error))?;
        self.head.sequence = self.sequence;
        self.head.chain = self.chain;
        self.head.is_clean = true;
        self.head.write(&self.folder)?;
        let is_trimmed = self.file.set_len(self.offset as u64).and_then(|()| self.file.sync_all());
        if let Err(error) = is_trimmed {
            tracing::warn!(path = %path.display(), %error, "reserved space of the journal is not given back");
        }
        if self.spare.take().is_some() {
            let spare = segment_path(&self.folder, self.segment + 1);
            if let Err(error) = std::fs::remove_file(&spare) {
                tracing::warn!(path = %spare.display(), %error, "the reserved segment stays");
            }
        }
        Ok(())
    }
}

impl Stats {
    pub(crate) fn priority(&self) -> Priority {
        match self.priority.load(Ordering::Relaxed) {
            2 => Priority::RealTime,
            1 => Priority::Nice,
            _ => Priority::Normal,
        }
    }
}
