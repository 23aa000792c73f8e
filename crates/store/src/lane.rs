//! The lanes between whoever appends and the writer thread, and the tickets that tell when a record is durable.
//!
//! Two lanes: the main one, and a small one for the escape path, which shares no lock with the main one and goes first.
//! Both are bounded by bytes; a full lane refuses the record, and the order is not sent.

use crate::frame::{self, Kind};
use crate::record::{RECORD_BYTES_MAX, Record};
use crate::writer::Writer;
use crate::{Durability, StoreError};
use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Client order ids that one lease makes safe under policy `lease`.
pub(crate) const LEASE_IDS: u64 = 1_024;

/// How often the writer looks for more before it sleeps: some 20 microseconds.
const LOOKS: u32 = 1_000;

/// How often whoever blocks on a ticket looks before it sleeps: some 100 microseconds.
const WAITER_LOOKS: u32 = 4_000;

/// Policy `process`: how often the writer looks while records are coming, and how often in a row without finding any before
/// it sleeps. Records that nobody waits for cost whoever appends them neither a write nor a wake-up then; they are written
/// with the next intent, or after one nap.
const NAP: Duration = Duration::from_millis(2);
const NAPS: u32 = 50;

/// Frames that wait for the writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Frames without sequence and checksum.
    pub(crate) bytes: Vec<u8>,
    /// Records appended to this lane so far.
    pub(crate) appended: u64,
    /// Must this batch be synced whatever the policy?
    pub(crate) must_sync: bool,
    leased_to: u64,
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) queue: Mutex<Queue>,
    bytes_max: usize,
    /// Records of this lane that are durable, in the sense of the policy.
    done: AtomicU64,
}

impl Lane {
    fn new(bytes_max: usize) -> Self {
        let queue = Queue { bytes: Vec::with_capacity(bytes_max.min(1 << 16)), ..Queue::default() };
        Self { queue: Mutex::new(queue), bytes_max, done: AtomicU64::new(0) }
    }
}

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneId {
    Escape = 0,
    Main = 1,
}

#[derive(Debug)]
struct Waiter {
    lane: LaneId,
    position: u64,
    waker: Waker,
}

/// Shared between the handles and the writer thread.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) lanes: [Lane; 2],
    pub(crate) durability: Durability,
    pub(crate) epoch: u32,
    /// The first failure; after it nothing becomes durable.
    failure: OnceLock<StoreError>,
    /// Why intents are refused although the journal still writes: no space for another segment.
    pub(crate) no_intents: OnceLock<StoreError>,
    pub(crate) is_closing: AtomicBool,
    /// Has the writer thread ended?
    is_ended: Mutex<bool>,
    /// The same, for a look without the lock.
    has_ended: AtomicBool,
    changed: Condvar,
    waiters: Mutex<Vec<Waiter>>,
    /// Records appended to both lanes so far.
    appended: AtomicU64,
    is_asleep: AtomicBool,
    pub(crate) writer: OnceLock<Thread>,
    /// The writer itself, for [`Self::write_through`].
    pub(crate) through: OnceLock<Weak<Mutex<Writer>>>,
}

impl Shared {
    pub(crate) fn new(durability: Durability, epoch: u32, lane_bytes_max: usize) -> Self {
        Self {
            lanes: [Lane::new(lane_bytes_max / 4), Lane::new(lane_bytes_max)],
            durability,
            epoch,
            failure: OnceLock::new(),
            no_intents: OnceLock::new(),
            is_closing: AtomicBool::new(false),
            is_ended: Mutex::new(false),
            has_ended: AtomicBool::new(false),
            changed: Condvar::new(),
            waiters: Mutex::new(Vec::new()),
            appended: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            writer: OnceLock::new(),
            through: OnceLock::new(),
        }
    }

    pub(crate) fn append(self: &Arc<Self>, id: LaneId, record: &Record) -> Result<Ticket, StoreError> {
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        if let Some(cause) = self.no_intents.get().filter(|_| record.is_intent()) {
            return Err(cause.clone());
        }
        if self.is_closing.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let lane = self.lane(id);
        let mut queue = lane.queue.lock();
        let before = queue.appended;
        if self.durability == Durability::Lease {
            self.lease_ids(&mut queue, record)?;
        }
        push_frame(&mut queue, record, lane.bytes_max)?;
        let position = queue.appended;
        drop(queue);
        // Pairs with the writer: it announces its sleep, then looks once more. Sequentially consistent, or both might look
        // before either is seen.
        self.appended.fetch_add(position - before, Ordering::SeqCst);
        // An order waits for its intent; nothing waits for the rest.
        let is_urgent = id == LaneId::Main && self.durability == Durability::Process && record.is_intent();
        let is_written = is_urgent && self.write_through();
        if !is_written && self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::SeqCst) {
            self.unpark();
        }
        Ok(Ticket { shared: self.clone(), lane: id, position, waker: None })
    }

    /// Policy `process`: a write into the system's memory costs less than waking another thread for it. The escape lane
    /// never does this: it must not wait for a disk.
    fn write_through(&self) -> bool {
        let Some(writer) = self.through.get().and_then(Weak::upgrade) else { return false };
        // The writer thread, or somebody else, is at it: what was appended is picked up there or by the wake-up below.
        let Some(mut writer) = writer.try_lock() else { return false };
        if let Err(error) = writer.write_through() {
            drop(writer);
            self.fail(&error);
        }
        true
    }

    /// Policy `lease`: makes a block of ids durable before the first of them is used.
    fn lease_ids(&self, queue: &mut Queue, record: &Record) -> Result<(), StoreError> {
        let sequence = record.intent_sequence();
        if sequence > queue.leased_to {
            let up_to = sequence.saturating_add(LEASE_IDS);
            push_frame(queue, &Record::IdLease { epoch: self.epoch, up_to }, usize::MAX)?;
            queue.leased_to = up_to;
            queue.must_sync = true;
        }
        Ok(())
    }

    fn lane(&self, id: LaneId) -> &Lane {
        let [escape, main] = &self.lanes;
        match id {
            LaneId::Escape => escape,
            LaneId::Main => main,
        }
    }

    fn unpark(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Bytes that wait for the writer.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.queue.lock().bytes.len()).sum()
    }

    /// For the writer: sleeps until more than `seen` records were appended, or the journal closes, or `limit` has passed.
    /// At first it only looks, since the next record often follows at once and waking a thread costs more than looking.
    pub(crate) fn sleep(&self, seen: u64, limit: Duration) {
        let has_work = || self.appended.load(Ordering::SeqCst) > seen || self.is_closing.load(Ordering::SeqCst);
        for _ in 0..LOOKS {
            if has_work() {
                return;
            }
            std::hint::spin_loop();
        }
        if self.durability == Durability::Process {
            for _ in 0..NAPS {
                std::thread::park_timeout(NAP);
                if has_work() {
                    return;
                }
            }
        }
        self.is_asleep.store(true, Ordering::SeqCst);
        if !has_work() {
            std::thread::park_timeout(limit);
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    /// For the writer: `done[i]` records of lane `i` are durable.
    pub(crate) fn acknowledge(&self, done: [u64; 2]) {
        for (lane, done) in self.lanes.iter().zip(done) {
            lane.done.store(done, Ordering::Release);
        }
        self.wake();
    }

    /// Nothing becomes durable from now on. The first failure is kept.
    pub(crate) fn fail(&self, cause: &StoreError) {
        let failure = match cause {
            StoreError::Poisoned { .. } => cause.clone(),
            cause => StoreError::Poisoned { cause: cause.to_string() },
        };
        if self.failure.set(failure).is_ok() {
            tracing::error!(%cause, "the journal failed; no further order is sent, cancels still work");
        }
        self.wake();
    }

    pub(crate) fn failure(&self) -> Option<&StoreError> {
        self.failure.get()
    }

    /// For the writer: it has ended.
    pub(crate) fn end(&self) {
        *self.is_ended.lock() = true;
        self.has_ended.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let mut waiters = self.waiters.lock();
        let failed = self.failure.get().is_some() || self.has_ended.load(Ordering::Acquire);
        waiters.retain(|waiter| {
            let is_waiting = !failed && self.lane(waiter.lane).done.load(Ordering::Acquire) < waiter.position;
            if !is_waiting {
                waiter.waker.wake_by_ref();
            }
            is_waiting
        });
        drop(waiters);
        // Taking the lock orders this after the check of whoever is about to wait.
        drop(self.is_ended.lock());
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.unpark();
    }

    /// Waits until the writer has ended.
    pub(crate) fn wait_ended(&self, limit: Duration) -> bool {
        let mut is_ended = self.is_ended.lock();
        if !*is_ended {
            self.changed.wait_while_for(&mut is_ended, |ended| !*ended, limit);
        }
        *is_ended
    }

    fn state_of(&self, lane: LaneId, position: u64) -> Option<Result<(), StoreError>> {
        // Read before the count: what the writer wrote last is acknowledged before it ends.
        let has_ended = self.has_ended.load(Ordering::Acquire);
        if self.lane(lane).done.load(Ordering::Acquire) >= position {
            return Some(Ok(()));
        }
        if let Some(failure) = self.failure.get() {
            return Some(Err(failure.clone()));
        }
        // Appended while the journal was being closed: nobody writes it any more.
        has_ended.then_some(Err(StoreError::Closed))
    }
}

fn push_frame(queue: &mut Queue, record: &Record, bytes_max: usize) -> Result<(), StoreError> {
    let at = frame::begin(&mut queue.bytes);
    let refused = match record.encode(&mut queue.bytes) {
        Err(error) => Some(error),
        Ok(()) => {
            let (total, bytes) = (queue.bytes.len() + 4, queue.bytes.len() - at - frame::FRAME_HEADER);
            if bytes > RECORD_BYTES_MAX {
                Some(StoreError::TooLarge { bytes, max: RECORD_BYTES_MAX })
            } else if total > bytes_max {
                Some(if at == 0 {
                    StoreError::TooLarge { bytes, max: bytes_max }
                } else {
                    StoreError::LaneFull { bytes: at }
                })
            } else {
                None
            }
        }
    };
    if let Some(error) = refused {
        queue.bytes.truncate(at);
        return Err(error);
    }
    frame::end(&mut queue.bytes, at, Kind::Record, record.version());
    queue.appended += 1;
    Ok(())
}

/// Tells when an appended record is durable in the sense of the policy. Dropping it takes nothing back.
///
/// Await it inside a runtime (it never blocks a worker), or call [`Ticket::wait_blocking`] on a plain thread.
#[derive(Debug)]
#[must_use = "a record is durable only once its ticket says so"]
pub struct Ticket {
    shared: Arc<Shared>,
    lane: LaneId,
    position: u64,
    waker: Option<Waker>,
}

impl Ticket {
    /// Is the record durable, or is it known that it never will be? `None`: not yet decided.
    #[must_use]
    pub fn try_wait(&self) -> Option<Result<(), StoreError>> {
        self.shared.state_of(self.lane, self.position)
    }

    /// Blocks the calling thread until the record is durable, at most for `limit`.
    pub fn wait_blocking(&self, limit: Duration) -> Result<(), StoreError> {
        // A sync mostly takes less than putting a thread to sleep and waking it again costs.
        for _ in 0..WAITER_LOOKS {
            if let Some(decided) = self.try_wait() {
                return decided;
            }
            std::hint::spin_loop();
        }
        let mut ended = self.shared.is_ended.lock();
        let undecided = |_: &mut bool| self.try_wait().is_none();
        self.shared.changed.wait_while_for(&mut ended, undecided, limit);
        drop(ended);
        self.try_wait().unwrap_or(Err(StoreError::Timeout {
            what: "make a record durable",
            waited_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }))
    }
}

impl Future for Ticket {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(state) = self.try_wait() {
            return Poll::Ready(state);
        }
        let is_registered = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !is_registered {
            let waker = context.waker().clone();
            let waiter = Waiter { lane: self.lane, position: self.position, waker: waker.clone() };
            self.shared.waiters.lock().push(waiter);
            self.waker = Some(waker);
        }
        // The writer may have acknowledged between the first look and the registration.
        self.try_wait().map_or(Poll::Pending, Poll::Ready)
    }
}
