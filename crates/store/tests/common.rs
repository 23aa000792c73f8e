//! What the journal's tests share: records to write, disks that fail, and a way to lose power.
#![allow(dead_code, reason = "each test binary uses its own part")]

use keel_model::{
    CancelOrder, ClientOrderId, ExecutionEvent, InstrumentId, NewOrder, OrderIntent, OrderPurpose, Price, Quantity,
    Side, StrategyId, SubmitAck, SubmitOutcome, Timestamp, VenueOrderId,
};
use keel_store::disk::{Disk, SystemDisk};
use keel_store::{Durability, Journal, JournalOptions, Record};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn order(sequence: u64) -> NewOrder {
    NewOrder {
        client_order_id: ClientOrderId { instance: 7, epoch: 1, sequence },
        strategy: StrategyId(1),
        ts_decided: Timestamp::from_ns(1_700_000_000_000_000_000 + sequence),
        intent: OrderIntent::limit(
            InstrumentId(0),
            Side::Buy,
            Quantity::new(15_000, 5).unwrap(),
            Price::new(6_000_000 + i64::try_from(sequence % 1_000).unwrap(), 2).unwrap(),
            OrderPurpose::Entry,
        ),
    }
}

pub(crate) fn intent(sequence: u64) -> Record {
    Record::Intent(order(sequence))
}

pub(crate) fn cancel(sequence: u64) -> Record {
    let order = CancelOrder {
        client_order_id: ClientOrderId { instance: 7, epoch: 1, sequence },
        venue_order_id: None,
        instrument: InstrumentId(0),
    };
    Record::CancelIntent { ts: Timestamp::from_ns(sequence), order, is_escape: false }
}

pub(crate) fn accepted(sequence: u64) -> Record {
    let ack = SubmitAck {
        venue_order_id: VenueOrderId::new(&sequence.to_string()).unwrap(),
        ts_event: Timestamp::from_ms(sequence),
        status: keel_model::OrderStatus::New,
        reports: vec![],
    };
    let id = ClientOrderId { instance: 7, epoch: 1, sequence };
    Record::Execution(Timestamp::from_ns(sequence), ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack)))
}

pub(crate) fn options(folder: &Path) -> JournalOptions {
    JournalOptions { segment_bytes: 1 << 16, ..JournalOptions::new(folder, "paper", 7) }
}

/// Appends one record and waits until it is durable, so that each is a batch of its own.
pub(crate) fn put(journal: &Journal, record: &Record) {
    journal.append(record).unwrap().wait_blocking(SOON).unwrap();
}

/// Writes `count` records, each its own batch, and closes in order.
pub(crate) fn small_journal(folder: &Path, count: u64) {
    let (journal, _) = Journal::open(options(folder)).unwrap();
    for sequence in 1..=count {
        put(&journal, &intent(sequence));
    }
    journal.close(SOON).unwrap();
}

/// What a folder looks like when the power goes: everything written so far, but not closed.
pub(crate) fn snapshot_of(folder: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub(crate) fn policies() -> [Durability; 3] {
    [Durability::Power, Durability::Lease, Durability::Process]
}

/// A disk that fails or hangs when told to.
#[derive(Debug, Default)]
pub(crate) struct FaultyDisk {
    pub(crate) fail_writes: AtomicBool,
    pub(crate) fail_syncs: AtomicBool,
    pub(crate) fail_reserve: AtomicBool,
    pub(crate) syncs: AtomicU64,
    held: Mutex<bool>,
    released: Condvar,
}

impl FaultyDisk {
    /// Syncs hang from now on.
    pub(crate) fn hold(&self) {
        *self.held.lock() = true;
    }

    /// Syncs that hang go on.
    pub(crate) fn release(&self) {
        *self.held.lock() = false;
        self.released.notify_all();
    }
}

impl Disk for FaultyDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        if self.fail_reserve.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.reserve(file, bytes)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.fail_writes.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        drop(held);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.fail_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        SystemDisk.sync_data(file)
    }
}

/// A disk that knows what of each file is on stable storage. Once cut, only the thread that made it still reaches that.
#[derive(Debug)]
pub(crate) struct LosingDisk {
    maker: ThreadId,
    is_cut: AtomicBool,
    stable: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl LosingDisk {
    pub(crate) fn new() -> Self {
        Self { maker: std::thread::current().id(), is_cut: AtomicBool::new(false), stable: Mutex::default() }
    }

    /// From now on the writer's thread can make nothing durable.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// What `folder` looks like when the power is back: segments as they were synced, the rest (which is synced with each
    /// change) as it is.
    pub(crate) fn lose_power(&self, folder: &Path, to: &Path) {
        snapshot_of(folder, to);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "seg") {
                let known = self.stable.lock().get(&path.metadata().unwrap().ino()).cloned().unwrap_or_default();
                std::fs::write(to.join(path.file_name().unwrap()), known).unwrap();
            }
        }
    }
}

impl Disk for LosingDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        SystemDisk.reserve(file, bytes)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        SystemDisk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        if self.is_cut.load(Ordering::SeqCst) && std::thread::current().id() != self.maker {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0)?;
        self.stable.lock().insert(file.metadata()?.ino(), bytes);
        Ok(())
    }
}
