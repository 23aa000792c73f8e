//! What the journal holds. The format is versioned: new variants are added at the end, a changed variant raises
//! [`RECORD_VERSION`]; older versions stay readable, newer ones are refused.

use crate::StoreError;
use keel_model::ids::Symbol;
use keel_model::{CancelOrder, Command, ExecutionEvent, NewOrder, ReplaceOrder, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the record format that this program writes.
pub const RECORD_VERSION: u8 = 1;

/// The largest payload of a record; unit: bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// A run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStart {
    /// When, on the run's clock.
    pub ts: Timestamp,
    /// Which bot: one number per account and data folder.
    pub instance: u32,
    /// Which start of it.
    pub epoch: u32,
    /// `paper`, `live`, …
    pub mode: String,
    /// Version of the program.
    pub program: String,
    /// Hash of the effective configuration, hexadecimal.
    pub config_hash: String,
    /// Symbols by instrument id: the ids in the records that follow mean these.
    pub symbols: Vec<Symbol>,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "records are passed by reference; boxing would allocate per report")]
pub enum Record {
    /// A run begins.
    SessionStart(SessionStart),
    /// An order is about to be sent.
    Intent(NewOrder),
    /// A cancel is about to be sent.
    CancelIntent {
        /// When.
        ts: Timestamp,
        /// Which order.
        order: CancelOrder,
        /// Was it sent by the control thread because the engine was stuck?
        is_escape: bool,
    },
    /// A cancel-replace is about to be sent.
    ReplaceIntent(ReplaceOrder),
    /// News about our orders and our account, in the order in which the engine saw them.
    Execution(Timestamp, ExecutionEvent),
    /// An instruction to the engine.
    Command(Timestamp, Command),
    /// State of the risk service, in its own format.
    RiskSnapshot(Vec<u8>),
    /// A run ends in order. Without it, the run was cut off.
    SessionEnd {
        /// When.
        ts: Timestamp,
        /// State digest, 64 hexadecimal digits.
        digest: String,
        /// Did the stop go as planned?
        is_clean: bool,
    },
    /// Policy `lease`: client order ids up to `up_to` may have been used even if their intents are missing.
    IdLease {
        /// The epoch they belong to.
        epoch: u32,
        /// Largest sequence that may have been used.
        up_to: u64,
    },
}

impl Record {
    /// Does it open exposure, so that it is refused once space runs out?
    #[must_use]
    pub const fn is_intent(&self) -> bool {
        matches!(self, Self::Intent(_) | Self::ReplaceIntent(_))
    }

    /// The largest order sequence that it names as intended; zero when none.
    pub(crate) const fn intent_sequence(&self) -> u64 {
        match self {
            Self::Intent(order) => order.client_order_id.sequence,
            Self::ReplaceIntent(replace) => replace.new.client_order_id.sequence,
            _ => 0,
        }
    }

    /// Appends the payload to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        postcard::serialize_with_flavor(self, Append(out))
            .map_err(|error| StoreError::Encode { cause: error.to_string() })
    }

    /// Reads a payload of a known version.
    pub(crate) fn decode(version: u8, payload: &[u8], path: &Path, offset: usize) -> Result<Self, StoreError> {
        if version != RECORD_VERSION {
            return Err(if version > RECORD_VERSION {
                StoreError::NewerFormat {
                    path: path.to_path_buf(),
                    found: u32::from(version),
                    known: u32::from(RECORD_VERSION),
                }
            } else {
                StoreError::corrupt(path, offset, format!("record version {version} never existed"))
            });
        }
        let (record, rest) = postcard::take_from_bytes(payload).map_err(|error| {
            StoreError::corrupt(path, offset, format!("the checksum is right but the record cannot be read: {error}"))
        })?;
        if !rest.is_empty() {
            return Err(StoreError::corrupt(path, offset, format!("{} bytes too many in a record", rest.len())));
        }
        Ok(record)
    }
}

/// A record with its place in the order of all records of a journal, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Place in the order of all records.
    pub sequence: u64,
    /// The record.
    pub record: Record,
}

/// Lets postcard append to a vector that is reused, instead of making one per record.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
