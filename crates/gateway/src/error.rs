//! Errors of the gateway, named by cause.

use keel_exchange::ExchangeError;
use keel_store::StoreError;

/// Why the gateway could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The command lane is full: the engine does not keep up or stands still.
    #[error("the command lane is full ({capacity} commands wait): the engine does not keep up; try again")]
    CommandLaneFull {
        /// How many fit.
        capacity: usize,
    },
    /// The coordinator has ended.
    #[error("the engine has ended; nothing more can be commanded")]
    Ended,
    /// The journal refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The venue could not be asked.
    #[error("recovery cannot ask the venue for {what}: {cause}")]
    Recovery {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        cause: ExchangeError,
    },
    /// Recovery did not come to an end in time: trading does not begin.
    #[error(
        "recovery was not complete after {waited_ms} ms: {missing}. Trading does not begin; check the venue and the account, \
         then start again"
    )]
    RecoveryTimeout {
        /// How long was waited; unit: milliseconds.
        waited_ms: u64,
        /// What was still missing.
        missing: String,
    },
    /// The journal names an instrument that the venue no longer lists.
    #[error(
        "the journal has an open order on {symbol}, which this run does not trade: add it to the instruments of the configuration"
    )]
    UnknownInstrument {
        /// Its symbol.
        symbol: String,
    },
    /// No engine can be made to replay the journal on.
    #[error("{cause}")]
    Engine {
        /// Why not.
        cause: String,
    },
    /// A snapshot cannot be taken or used.
    #[error("the snapshot of the journal cannot be used: {cause}")]
    Snapshot {
        /// Why not.
        cause: String,
    },
    /// The engine refused a record of the journal.
    #[error("the journal cannot be replayed: record {sequence}: {cause}")]
    Replay {
        /// Which record.
        sequence: u64,
        /// Why not.
        cause: String,
    },
}

impl GatewayError {
    /// May the same call succeed later without a change on our side?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::CommandLaneFull { .. } | Self::RecoveryTimeout { .. } => true,
            Self::Store(error) => error.is_retryable(),
            Self::Recovery { cause, .. } => cause.is_retryable(),
            Self::Ended
            | Self::UnknownInstrument { .. }
            | Self::Engine { .. }
            | Self::Snapshot { .. }
            | Self::Replay { .. } => false,
        }
    }
}
