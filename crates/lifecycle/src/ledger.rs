//! Who holds what: every socket, file, thread, buffer … is a named, owned [`Lease`] as long as it lives.
//!
//! Invariants: a lease is released exactly once, by dropping or closing it; counts by kind are exact; registering and
//! releasing costs well under a microsecond, so that nobody has a reason to go without. Overload: beyond
//! [`LEASES_NAMED_MAX`] live leases only the counts are kept, and `unnamed` says how many have no entry.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::Clock;

/// What a lease stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum LeaseKind {
    /// A task that no task group supervises.
    Task,
    /// An OS thread.
    Thread,
    /// An HTTP client with its idle connections.
    HttpClient,
    /// A WebSocket session.
    Websocket,
    /// A bare TCP socket.
    TcpSocket,
    /// A listening socket.
    Listener,
    /// An open file.
    File,
    /// A temporary file or folder.
    TempFile,
    /// A database or a pool of connections to one.
    Database,
    /// A child process.
    ChildProcess,
    /// Device memory.
    GpuBuffer,
    /// A timer.
    Timer,
    /// Anything else.
    Other,
}

impl LeaseKind {
    /// Every kind.
    pub const ALL: [LeaseKind; 13] = [
        Self::Task,
        Self::Thread,
        Self::HttpClient,
        Self::Websocket,
        Self::TcpSocket,
        Self::Listener,
        Self::File,
        Self::TempFile,
        Self::Database,
        Self::ChildProcess,
        Self::GpuBuffer,
        Self::Timer,
        Self::Other,
    ];

    /// The name that reports use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Thread => "thread",
            Self::HttpClient => "http_client",
            Self::Websocket => "websocket",
            Self::TcpSocket => "tcp_socket",
            Self::Listener => "listener",
            Self::File => "file",
            Self::TempFile => "temp_file",
            Self::Database => "database",
            Self::ChildProcess => "child_process",
            Self::GpuBuffer => "gpu_buffer",
            Self::Timer => "timer",
            Self::Other => "other",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for LeaseKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Most live leases that are kept by name.
pub const LEASES_NAMED_MAX: usize = 65_536;
/// Most names of leases dropped without their close that are kept.
const UNCLOSED_MAX: usize = 64;
const KINDS: usize = LeaseKind::ALL.len();

/// What is known of a live lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeaseInfo {
    /// What it stands for.
    pub kind: LeaseKind,
    /// Which part of the system holds it.
    pub owner: &'static str,
    /// Its name, for people.
    pub name: String,
    /// Since when, on the monotonic clock.
    pub since_mono_ns: u64,
    /// Whether it is meant to live until the process ends (a log file, a lock file), and so is no leak.
    pub until_exit: bool,
}

#[derive(Debug)]
struct Entry {
    kind: LeaseKind,
    owner: &'static str,
    name: Cow<'static, str>,
    since_mono_ns: u64,
    until_exit: bool,
}

#[derive(Debug)]
enum Slot {
    Free { next: Option<u32> },
    Used(Entry),
}

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Option<u32>,
    unclosed: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    slots: Mutex<Slots>,
    live: [AtomicU64; KINDS],
    peak: [AtomicU64; KINDS],
    unnamed: AtomicU64,
    dropped_unclosed: AtomicU64,
    clock: Clock,
}

/// The register of leases. Clones share it.
///
/// ```
/// use keel_lifecycle::{LeaseKind, ResourceLedger};
/// let ledger = ResourceLedger::default();
/// let lease = ledger.lease(LeaseKind::File, "store", "journal segment 7");
/// assert_eq!(ledger.count(LeaseKind::File), 1);
/// drop(lease);
/// assert_eq!(ledger.count(LeaseKind::File), 0);
/// ```
#[derive(Clone, Debug)]
pub struct ResourceLedger {
    shared: Arc<Shared>,
}

impl Default for ResourceLedger {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl ResourceLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let shared = Shared {
            slots: Mutex::new(Slots::default()),
            live: std::array::from_fn(|_| AtomicU64::new(0)),
            peak: std::array::from_fn(|_| AtomicU64::new(0)),
            unnamed: AtomicU64::new(0),
            dropped_unclosed: AtomicU64::new(0),
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Registers a resource; it counts as held until the lease is dropped. Name it so that a person knows where to look.
    pub fn lease(&self, kind: LeaseKind, owner: &'static str, name: impl Into<Cow<'static, str>>) -> Lease {
        self.register(kind, owner, name.into(), false)
    }

    /// Registers a resource that must be closed by [`Lease::close`], such as a client with open connections. Dropping it
    /// unclosed is reported as a leak even though the system may have reclaimed it (S3-006, S3-007).
    pub fn lease_with_close(&self, kind: LeaseKind, owner: &'static str, name: impl Into<Cow<'static, str>>) -> Lease {
        self.register(kind, owner, name.into(), true)
    }

    fn register(&self, kind: LeaseKind, owner: &'static str, name: Cow<'static, str>, must_close: bool) -> Lease {
        let live = self.shared.live[kind.index()].fetch_add(1, Ordering::Relaxed) + 1;
        if live > self.shared.peak[kind.index()].load(Ordering::Relaxed) {
            self.shared.peak[kind.index()].fetch_max(live, Ordering::Relaxed);
        }
        let entry = Entry { kind, owner, name, since_mono_ns: self.shared.clock.mono_ns(), until_exit: false };
        let slot = self.shared.slots.lock().insert(entry);
        if slot.is_none() {
            self.shared.unnamed.fetch_add(1, Ordering::Relaxed);
        }
        Lease { shared: self.shared.clone(), slot, kind, must_close }
    }

    /// How many leases of this kind are live.
    #[must_use]
    pub fn count(&self, kind: LeaseKind) -> u64 {
        self.shared.live[kind.index()].load(Ordering::Relaxed)
    }

    /// The most leases of this kind that were live at once.
    #[must_use]
    pub fn peak(&self, kind: LeaseKind) -> u64 {
        self.shared.peak[kind.index()].load(Ordering::Relaxed)
    }

    /// How many leases are live, of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        LeaseKind::ALL.into_iter().map(|kind| self.count(kind)).sum()
    }

    /// How many live leases have no entry because the ledger was full.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        self.shared.unnamed.load(Ordering::Relaxed)
    }

    /// The live leases, oldest first. Readable from any thread.
    #[must_use]
    pub fn live(&self) -> Vec<LeaseInfo> {
        self.select(|_| true)
    }

    /// The live leases of one owner (S2-023, S2-047).
    #[must_use]
    pub fn live_of(&self, owner: &str) -> Vec<LeaseInfo> {
        self.select(|entry| entry.owner == owner)
    }

    fn select(&self, keep: impl Fn(&Entry) -> bool) -> Vec<LeaseInfo> {
        let slots = self.shared.slots.lock();
        let mut out: Vec<LeaseInfo> = slots
            .slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Used(entry) if keep(entry) => Some(LeaseInfo {
                    kind: entry.kind,
                    owner: entry.owner,
                    name: entry.name.to_string(),
                    since_mono_ns: entry.since_mono_ns,
                    until_exit: entry.until_exit,
                }),
                _ => None,
            })
            .collect();
        drop(slots);
        out.sort_by(|a, b| a.since_mono_ns.cmp(&b.since_mono_ns).then_with(|| a.name.cmp(&b.name)));
        out
    }

    /// Names of resources that were dropped without their close (the first few) and how many there were.
    #[must_use]
    pub fn dropped_unclosed(&self) -> (Vec<String>, u64) {
        let names = self.shared.slots.lock().unclosed.clone();
        (names, self.shared.dropped_unclosed.load(Ordering::Relaxed))
    }
}

impl Slots {
    fn insert(&mut self, entry: Entry) -> Option<u32> {
        if let Some(index) = self.free {
            let slot = self.slots.get_mut(index as usize)?;
            if let Slot::Free { next } = slot {
                self.free = *next;
                *slot = Slot::Used(entry);
                return Some(index);
            }
        }
        if self.slots.len() >= LEASES_NAMED_MAX {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot::Used(entry));
        Some(index)
    }

    fn remove(&mut self, index: u32) -> Option<Entry> {
        let slot = self.slots.get_mut(index as usize)?;
        if matches!(slot, Slot::Free { .. }) {
            return None;
        }
        let old = std::mem::replace(slot, Slot::Free { next: self.free });
        self.free = Some(index);
        match old {
            Slot::Used(entry) => Some(entry),
            Slot::Free { .. } => None,
        }
    }
}

/// One held resource. Keep it beside the resource, so that both go together.
#[must_use = "the resource counts as released as soon as its lease is dropped"]
pub struct Lease {
    shared: Arc<Shared>,
    slot: Option<u32>,
    kind: LeaseKind,
    must_close: bool,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("kind", &self.kind).field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Lease {
    /// What the lease stands for.
    #[must_use]
    pub fn kind(&self) -> LeaseKind {
        self.kind
    }

    /// Releases the lease after the resource was closed in order.
    pub fn close(mut self) {
        self.must_close = false;
    }

    /// Marks the resource as one that lives until the process ends: listed, but no leak.
    pub fn until_exit(self) -> Self {
        if let Some(index) = self.slot
            && let Some(Slot::Used(entry)) = self.shared.slots.lock().slots.get_mut(index as usize)
        {
            entry.until_exit = true;
        }
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.live[self.kind.index()].fetch_sub(1, Ordering::Relaxed);
        let Some(index) = self.slot else {
            self.shared.unnamed.fetch_sub(1, Ordering::Relaxed);
            if self.must_close {
                self.shared.dropped_unclosed.fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        let mut slots = self.shared.slots.lock();
        let entry = slots.remove(index);
        if !self.must_close {
            drop(slots);
            drop(entry);
            return;
        }
        let Some(entry) = entry else { return };
        let name = format!("{} {}/{}", entry.kind, entry.owner, entry.name);
        if slots.unclosed.len() < UNCLOSED_MAX {
            slots.unclosed.push(name.clone());
        }
        drop(slots);
        self.shared.dropped_unclosed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(resource = name, "leak: dropped without its close");
    }
}

#[cfg(test)]
mod tests;
