//! Errors of the venue layer; each answers two questions: is it worth retrying, and is the outcome known?

/// Why a call that is not a placement, cancel or query failed. Those have outcomes of their own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No connection could be made.
    #[error("cannot reach {venue} at {address}: {cause}; check the network and the address")]
    Connect {
        /// Venue name.
        venue: String,
        /// Host and port.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// No answer within the deadline.
    #[error("{venue} did not answer {what} within {after_ms} ms")]
    Timeout {
        /// Venue name.
        venue: String,
        /// The call.
        what: String,
        /// The deadline; unit: milliseconds.
        after_ms: u64,
    },
    /// The venue refused.
    #[error("{venue} refused {what}: {text} (HTTP {status}, code {code})")]
    Refused {
        /// Venue name.
        venue: String,
        /// The call.
        what: String,
        /// HTTP status.
        status: u16,
        /// The venue's code, zero when it gave none.
        code: i64,
        /// The venue's words.
        text: String,
    },
    /// We are rate limited or banned until the given time.
    #[error("{venue} limits our requests; next call is allowed in {retry_after_ms} ms")]
    RateLimited {
        /// Venue name.
        venue: String,
        /// How long to wait; unit: milliseconds.
        retry_after_ms: u64,
    },
    /// The venue has banned this address (418).
    #[error(
        "{venue} has banned this address until {until_utc}, another {left_ms} ms; nothing is sent before, and starting again does not help"
    )]
    Banned {
        /// Venue name.
        venue: String,
        /// When it ends, as a time of day.
        until_utc: String,
        /// How much longer; unit: milliseconds.
        left_ms: u64,
    },
    /// The answer or frame could not be read.
    #[error("{venue} sent something unreadable in {place}: {cause}; excerpt: {excerpt}")]
    Unreadable {
        /// Venue name.
        venue: String,
        /// Stream or call.
        place: String,
        /// What is wrong.
        cause: String,
        /// The first bytes, control characters escaped.
        excerpt: String,
    },
    /// The keys are missing or not usable.
    #[error("keys for {venue}: {cause}")]
    Credentials {
        /// Venue name.
        venue: String,
        /// What is wrong and what to do.
        cause: String,
    },
    /// The client is closed.
    #[error("the client of {venue} is closed")]
    Closed {
        /// Venue name.
        venue: String,
    },
}

impl ExchangeError {
    /// May the same call succeed later without a change on our side?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::RateLimited { .. }
            | Self::Banned { .. }
            | Self::Unreadable { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Credentials { .. } | Self::Closed { .. } => false,
        }
    }

    /// Is it certain that the venue did nothing?
    #[must_use]
    pub const fn is_outcome_known(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::RateLimited { .. }
            | Self::Banned { .. }
            | Self::Credentials { .. }
            | Self::Closed { .. } => true,
            Self::Refused { status, .. } => *status < 500,
            Self::Timeout { .. } | Self::Unreadable { .. } => false,
        }
    }
}
