//! Errors of the database, named by cause. Every message says place, cause and remedy; none holds a password.

use sqlx::error::ErrorKind;

/// Why the database could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// The address is not one.
    #[error("database address: {cause}; write sqlite:///folder/file.sqlite or postgres://user@host/name")]
    Address {
        /// What is wrong with it; never the address itself, which may hold a password.
        cause: String,
    },
    /// A row breaks a rule of the schema. Never repeated: it would break it again.
    #[error("{what}: the database refuses a row: {cause}; this is a fault of the program, report it with the journal")]
    Integrity {
        /// What was being done.
        what: String,
        /// The database's words.
        cause: String,
    },
    /// Somebody else holds a lock. Repeated a few times before it is told.
    #[error("{what}: the database is locked by somebody else ({cause}); end what holds it")]
    Busy {
        /// What was being done.
        what: String,
        /// The database's words.
        cause: String,
    },
    /// Not done in time.
    #[error("{what}: not done within {waited_ms} ms; {holders}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long; unit: milliseconds.
        waited_ms: u64,
        /// Who holds connections, by owner.
        holders: String,
    },
    /// The pool is closed, or its owner was released.
    #[error("{what}: the database is closed")]
    Closed {
        /// What was tried.
        what: String,
    },
    /// The server or the file cannot be reached.
    #[error("{what}: the database cannot be reached: {cause}; is it running, and may it be read?")]
    Unreachable {
        /// What was being done.
        what: String,
        /// What the system or the server said.
        cause: String,
    },
    /// Name, password or rights are wrong.
    #[error("{what}: the database refuses us: {cause}; check user, password and rights")]
    Refused {
        /// What was being done.
        what: String,
        /// The server's words.
        cause: String,
    },
    /// No space is left for it.
    #[error("{what}: no space for the database: {cause}; free space. Trading goes on, the journal keeps everything")]
    NoSpace {
        /// What was being done.
        what: String,
        /// The database's words.
        cause: String,
    },
    /// A newer program made it.
    #[error(
        "{place} was made by a newer program (schema {found}, this one knows {known}); use that program, or another database"
    )]
    NewerSchema {
        /// Which database.
        place: String,
        /// Schema found.
        found: i64,
        /// Newest schema known.
        known: i64,
    },
    /// It belongs to another kind of run.
    #[error("{place} belongs to {found} runs, this one is {wanted}; they never share a database: name another one")]
    WrongMode {
        /// Which database.
        place: String,
        /// Mode found.
        found: String,
        /// Mode wanted.
        wanted: String,
    },
    /// The file is damaged, is no database, or is gone.
    #[error("{what}: {cause}; it is moved aside and built again from the journal")]
    Corrupt {
        /// What was being done.
        what: String,
        /// What was found.
        cause: String,
    },
    /// The journal cannot be read.
    #[error("the journal: {0}")]
    Journal(keel_store::StoreError),
    /// The journal no longer holds what would be needed.
    #[error("{0}")]
    Truncated(String),
    /// Anything else.
    #[error("{what}: {cause}")]
    Other {
        /// What was being done.
        what: String,
        /// The database's words.
        cause: String,
    },
}

impl From<keel_store::StoreError> for DbError {
    fn from(error: keel_store::StoreError) -> Self {
        Self::Journal(error)
    }
}

impl DbError {
    /// May the same call succeed at once or soon, without a change on our side?
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Timeout { .. } | Self::Unreachable { .. })
    }

    /// Is it certain that nothing was written? After a lost connection it is not: ask before doing it again.
    #[must_use]
    pub const fn is_outcome_known(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Unreachable { .. } | Self::Other { .. })
    }

    /// Does it need another configuration, so that waiting never helps?
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::NewerSchema { .. } | Self::WrongMode { .. })
    }

    /// One word for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Integrity { .. } => "integrity",
            Self::Busy { .. } => "busy",
            Self::Timeout { .. } => "timeout",
            Self::Closed { .. } => "closed",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::NoSpace { .. } => "no_space",
            Self::NewerSchema { .. } => "newer_schema",
            Self::WrongMode { .. } => "wrong_mode",
            Self::Corrupt { .. } => "corrupt",
            Self::Journal(_) => "journal",
            Self::Truncated(_) => "truncated",
            Self::Other { .. } => "other",
        }
    }

    /// Names an error of the driver by its cause.
    pub(crate) fn of(what: &str, error: &sqlx::Error) -> Self {
        let (what, cause) = (what.to_owned(), error.to_string());
        match error {
            sqlx::Error::Database(inner) => {
                let code = inner.code().unwrap_or_default().into_owned();
                let cause = inner.message().to_owned();
                match inner.kind() {
                    ErrorKind::UniqueViolation
                    | ErrorKind::ForeignKeyViolation
                    | ErrorKind::NotNullViolation
                    | ErrorKind::CheckViolation
                    | ErrorKind::ExclusionViolation => Self::Integrity { what, cause },
                    _ => Self::of_code(what, &code, cause),
                }
            }
            sqlx::Error::Configuration(_) => Self::Address { cause },
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::NoSpace { what, cause },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Unreachable { what, cause }
            }
            sqlx::Error::PoolTimedOut => Self::Timeout { what, waited_ms: 0, holders: String::new() },
            sqlx::Error::PoolClosed => Self::Closed { what },
            sqlx::Error::Migrate(error) => Self::of_migration(what, error),
            _ => Self::Other { what, cause },
        }
    }

    /// SQLite's numbers have at most four digits, PostgreSQL's SQLSTATEs always five.
    fn of_code(what: String, code: &str, cause: String) -> Self {
        if code.len() == 5 {
            return Self::of_sqlstate(what, code, cause);
        }
        let cause = format!("{cause} (code {code})");
        // The low byte is the kind; the rest says more about it.
        match code.parse::<u32>().map_or(0, |code| code & 0xff) {
            5 | 6 => Self::Busy { what, cause },
            11 | 26 => Self::Corrupt { what, cause },
            13 => Self::NoSpace { what, cause },
            3 | 8 | 14 | 23 => Self::Unreachable { what, cause },
            10 => Self::Unreachable { what, cause },
            19 => Self::Integrity { what, cause },
            _ => Self::Other { what, cause },
        }
    }

    fn of_sqlstate(what: String, code: &str, cause: String) -> Self {
        let text = format!("{cause} (SQLSTATE {code})");
        match code {
            "55P03" | "40001" | "40P01" | "55006" => Self::Busy { what, cause: text },
            "57014" => Self::Timeout { what, waited_ms: 0, holders: cause },
            "53100" => Self::NoSpace { what, cause: text },
            "53300" | "57P01" | "57P02" | "57P03" | "58000" | "58030" => Self::Unreachable { what, cause: text },
            "XX001" | "XX002" => Self::Corrupt { what, cause: text },
            "3D000" => Self::Refused { what, cause: text },
            _ => match code.get(..2) {
                Some("23") => Self::Integrity { what, cause: text },
                Some("08") => Self::Unreachable { what, cause: text },
                Some("28") | Some("42") if code.starts_with("28") || code == "42501" => {
                    Self::Refused { what, cause: text }
                }
                _ => Self::Other { what, cause: text },
            },
        }
    }

    fn of_migration(what: String, error: &sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(inner) => Self::of(&what, inner),
            sqlx::migrate::MigrateError::ExecuteMigration(inner, _) => Self::of(&what, inner),
            other => Self::Other { what, cause: other.to_string() },
        }
    }
}
