//! What the journal holds. Each record carries the version that is needed to read it: new variants (of [`Record`] and of what
//! is in it) are added at the end and named in [`Record::version`]; older versions stay readable, and a program that meets a
//! newer one says so instead of calling it damaged.

use crate::StoreError;
use keel_model::ids::Symbol;
use keel_model::{CancelOrder, Command, ExecutionEvent, Finding, NewOrder, ReplaceOrder, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Newest version of the record format that this program writes and reads.
pub const RECORD_VERSION: u8 = 2;

/// The first version.
const FIRST_VERSION: u8 = 1;

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

/// What was decided about an order that a strategy wanted. What was approved stands in the journal as its intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Risk denied it; it never existed for the venue.
    Denied {
        /// What was wanted, by whom and when.
        order: NewOrder,
        /// The control that denied it, for example `RC-04`.
        control: String,
        /// What it found, in words.
        reason: String,
    },
    /// Denials beyond what is told singly, since the last such record.
    DeniedMore {
        /// How many.
        count: u64,
    },
}

/// Something was latched or released: the emergency stop, a circuit breaker, a protection. The last record of a name counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatchRecord {
    /// Which one, for example `emergency-stop` or `breaker/daily-loss`.
    pub name: String,
    /// Is it latched from now on?
    pub is_latched: bool,
    /// Why, and by whom.
    pub reason: String,
    /// What its owner needs to go on after a restart, in its own format; may be empty.
    pub state: Vec<u8>,
}

/// A snapshot of the state was made durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMarker {
    /// The last record that it covers.
    pub sequence: u64,
    /// State digest, 64 hexadecimal digits.
    pub digest: String,
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
    /// What a comparison with the venue found.
    Finding(Timestamp, Finding),
    /// What was decided about an order that is not sent.
    Decision(Timestamp, Decision),
    /// State of an order list or of an execution algorithm, in the format of its owner.
    Parent(Timestamp, Vec<u8>),
    /// A latch was set or released.
    Latch(Timestamp, LatchRecord),
    /// A snapshot was made durable.
    Snapshot(Timestamp, SnapshotMarker),
    /// What the strategy numbers of the run mean, by number: name and symbols. Second record of a run.
    Strategies(Vec<String>),
}

impl Record {
    /// The version that a program must know to read it. New variants get the version that brings them, here and nowhere else.
    #[must_use]
    #[allow(clippy::collapsible_match, reason = "one list for each type that may grow, each with its own last arm")]
    pub const fn version(&self) -> u8 {
        match self {
            Self::SessionStart(_)
            | Self::Intent(_)
            | Self::CancelIntent { .. }
            | Self::ReplaceIntent(_)
            | Self::RiskSnapshot(_)
            | Self::SessionEnd { .. }
            | Self::IdLease { .. } => FIRST_VERSION,
            Self::Execution(_, event) => match event {
                ExecutionEvent::Armed(_)
                | ExecutionEvent::Sent { .. }
                | ExecutionEvent::Submit(..)
                | ExecutionEvent::Cancel(..)
                | ExecutionEvent::Replace { .. }
                | ExecutionEvent::Query(..)
                | ExecutionEvent::Report(_)
                | ExecutionEvent::Fills(_)
                | ExecutionEvent::OpenOrders(..)
                | ExecutionEvent::Balances { .. } => FIRST_VERSION,
                #[allow(
                    unreachable_patterns,
                    reason = "variants that come later need a newer version without a change here"
                )]
                _ => RECORD_VERSION,
            },
            Self::Command(_, command) => match command {
                Command::Pause
                | Command::Resume
                | Command::ReduceOnly
                | Command::StopStrategies
                | Command::Wind(_)
                | Command::Cancel(_)
                | Command::EmergencyStop(_)
                | Command::Start => FIRST_VERSION,
                #[allow(
                    unreachable_patterns,
                    reason = "variants that come later need a newer version without a change here"
                )]
                _ => RECORD_VERSION,
            },
            _ => RECORD_VERSION,
        }
    }

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

    /// Is it a version that this program reads?
    pub(crate) fn check_version(version: u8, path: &Path, offset: usize) -> Result<(), StoreError> {
        if !(FIRST_VERSION..=RECORD_VERSION).contains(&version) {
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
        Ok(())
    }

    /// Reads a payload of a known version.
    pub(crate) fn decode(version: u8, payload: &[u8], path: &Path, offset: usize) -> Result<Self, StoreError> {
        Self::check_version(version, path, offset)?;
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
