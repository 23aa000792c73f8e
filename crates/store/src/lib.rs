//! The append-only journal, the authority on what was intended and what happened.
//!
//! Invariants: a record whose ticket says so survives what its [`Durability`] promises; nothing in the middle changes
//! unseen (CRC32C per record, hash chain per batch); a torn tail is cut off, damage stops the start; after a failed write or
//! sync nothing is ever called durable again; one process per folder.

/// The operations on a disk that the journal needs.
pub mod disk;
/// Errors of this crate.
pub mod error;
mod frame;
mod head;
/// A journal in memory, for simulated crashes.
pub mod image;
/// Open, append, close.
pub mod journal;
mod lane;
/// One process per data folder.
pub mod lock;
/// Scheduling priority of the writer thread.
pub mod priority;
/// Verify, list and export without opening.
pub mod read;
/// What the journal holds.
pub mod record;
/// The way out of a damaged journal.
pub mod salvage;
mod scan;
/// The whole state at one place of the journal, and the removal of what lies before it.
pub mod snapshot;
/// Reading along behind the writer.
pub mod tail;
mod writer;

pub use disk::{Disk, SystemDisk};
pub use error::StoreError;
pub use journal::{Journal, JournalOptions, JournalStatus, Recovered};
pub use lane::Ticket;
pub use lock::FolderLock;
pub use read::{ExportFormat, VerifyReport, export, for_each, for_each_after, good_until, read_all, verify};
pub use record::{
    Decision, Entry, LatchRecord, RECORD_BYTES_MAX, RECORD_VERSION, Record, SessionStart, SnapshotMarker,
};
pub use snapshot::{Snapshot, SnapshotHeader};
pub use tail::{BatchEnd, JournalTail};

use serde::{Deserialize, Serialize};

/// What a ticket promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The record is on stable storage: it survives loss of power.
    #[default]
    Power,
    /// The record survives the end of the process; of the client order ids, a whole block is on stable storage.
    Lease,
    /// The record survives the end of the process.
    Process,
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Power => "power",
            Self::Lease => "lease",
            Self::Process => "process",
        })
    }
}

impl std::str::FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "power" => Ok(Self::Power),
            "lease" => Ok(Self::Lease),
            "process" => Ok(Self::Process),
            other => Err(format!("'{other}' is not a durability; use power, lease or process")),
        }
    }
}
