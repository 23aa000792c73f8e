//! The one pool of connections that everything in the process shares: taken by owner, checked before use, limited, closed once.
//!
//! Invariants: no more connections than `connections_max`; whoever needs one more waits, with a limit, and is told who holds
//! them; a connection that does not answer, or was left inside a transaction, is replaced, never handed out; `close` may be
//! called by anybody, any number of times, and each caller learns when it is done. Nothing here is on the way of an order.

use crate::owners::{Held, OwnerUse, Owners};
use crate::retry::Backoff;
use crate::timings::{TimingSummary, Timings};
use crate::{DatabaseAddress, DbError, Dialect, schema};
use futures_util::future::BoxFuture;
use keel_lifecycle::{Clock, Lease, LeaseKind, ResourceLedger};
use parking_lot::Mutex;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest wait for the connections of a file that is moved aside.
const CLOSE_OLD_LIMIT: Duration = Duration::from_secs(1);

/// How to use a database.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// Where it is.
    pub address: DatabaseAddress,
    /// `paper` or `live`.
    pub mode: String,
    /// Most connections at once.
    pub connections_max: u32,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Longest wait for another process's lock, in one attempt.
    pub busy_timeout: Duration,
    /// Attempts at a transaction that meets a lock.
    pub attempts_max: u32,
    /// The clock.
    pub clock: Clock,
    /// Where the pool is listed while it is open.
    pub ledger: ResourceLedger,
}

impl DatabaseOptions {
    /// The usual use of the database at `address`.
    #[must_use]
    pub fn new(address: DatabaseAddress, mode: impl Into<String>) -> Self {
        Self {
            address,
            mode: mode.into(),
            connections_max: 4,
            acquire_timeout: Duration::from_secs(2),
            busy_timeout: Duration::from_millis(250),
            attempts_max: 4,
            clock: Clock::system(),
            ledger: ResourceLedger::default(),
        }
    }
}

/// The pool; clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

type Trouble = Arc<Mutex<Option<DbError>>>;

#[derive(Debug)]
struct Inner {
    options: DatabaseOptions,
    /// Exchanged as a whole when a damaged file was moved aside.
    pool: Mutex<AnyPool>,
    owners: Owners,
    timings: Timings,
    lease: Mutex<Option<Lease>>,
    /// Why a fresh connection could not be used, and what is being tried again: the pool itself only says that time is up.
    trouble: Trouble,
    closing: CancellationToken,
}

/// A connection on loan to an owner; given back when dropped.
#[derive(Debug)]
pub struct OwnedConnection {
    connection: PoolConnection<Any>,
    token: CancellationToken,
    _held: Held,
}

impl OwnedConnection {
    /// Cancelled once the owner was released: whoever holds the connection gives it back.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl Deref for OwnedConnection {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for OwnedConnection {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// Figures of the pool.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PoolStatus {
    /// Connections open.
    pub open: u32,
    /// Of these, not on loan.
    pub idle: usize,
    /// Most that may be open.
    pub connections_max: u32,
    /// Use by owner.
    pub owners: Vec<OwnerUse>,
    /// How long transactions took, by name.
    pub timings: Vec<TimingSummary>,
}

impl Database {
    /// A pool that connects when it is first used.
    pub fn open_lazy(options: DatabaseOptions) -> Result<Self, DbError> {
        let trouble = Trouble::default();
        let pool = pool_of(&options, &trouble)?;
        let lease = options.ledger.lease_with_close(LeaseKind::Database, "database", options.address.to_string());
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                pool: Mutex::new(pool),
                owners: Owners::default(),
                timings: Timings::default(),
                lease: Mutex::new(Some(lease)),
                trouble,
                closing: CancellationToken::new(),
            }),
        })
    }

    /// A pool whose database was reached, is ours and has the newest schema.
    pub async fn open(options: DatabaseOptions) -> Result<Self, DbError> {
        let database = Self::open_lazy(options)?;
        match database.prepare().await {
            Ok(()) => Ok(database),
            Err(error) => {
                // What stays open is closed in the background by the pool itself.
                drop(database.close(Duration::from_secs(1)).await);
                Err(error)
            }
        }
    }

    /// Like [`Self::open`]; a damaged SQLite file is moved aside first. Answers where it is now.
    pub async fn open_anew(options: DatabaseOptions) -> Result<(Self, Option<PathBuf>), DbError> {
        let path = options.address.path().map(std::path::Path::to_path_buf);
        let is_damaged = path
            .as_ref()
            .is_some_and(|path| path.exists() && matches!(crate::place::look(path), Err(DbError::Corrupt { .. })));
        let database = Self::open_lazy(options)?;
        let prepared = if is_damaged {
            Err(DbError::Corrupt { what: "open the database".into(), cause: "it is damaged".into() })
        } else {
            database.prepare().await
        };
        match prepared {
            Ok(()) => Ok((database, None)),
            Err(DbError::Corrupt { .. }) if path.is_some() => {
                let aside = database.replace_file().await?;
                database.prepare().await?;
                Ok((database, aside))
            }
            Err(error) => {
                drop(database.close(CLOSE_OLD_LIMIT).await);
                Err(error)
            }
        }
    }

    /// Gives up waiting for connections that do not close: their sockets go with whoever holds them.
    pub fn abandon(&self) {
        self.inner.closing.cancel();
        if let Some(lease) = self.inner.lease.lock().take() {
            lease.close();
        }
    }

    /// Brings the schema up to date; twice is the same as once.
    pub async fn prepare(&self) -> Result<(), DbError> {
        let options = &self.inner.options;
        if let Some(path) = options.address.path() {
            crate::place::create_private(path);
        }
        let mut backoff = Backoff::new(options.attempts_max, options.clock.mono_ns());
        loop {
            let mut connection = self.acquire("schema").await?;
            let place = options.address.to_string();
            let done = schema::prepare(&mut connection, self.dialect(), &place, &options.mode).await;
            drop(connection);
            match done {
                Err(error) if matches!(error, DbError::Busy { .. }) => match backoff.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                done => return done,
            }
        }
    }

    /// Which database.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.inner.options.address.dialect()
    }

    fn pool(&self) -> AnyPool {
        self.inner.pool.lock().clone()
    }

    /// A damaged or vanished SQLite file is moved aside, and the next use makes a fresh one. Answers where the old one is.
    pub(crate) async fn replace_file(&self) -> Result<Option<PathBuf>, DbError> {
        let options = &self.inner.options;
        let what = "move the database aside".to_owned();
        let Some(path) = options.address.path() else {
            return Err(DbError::Other { what, cause: "it is no file".into() });
        };
        if self.is_closed() {
            return Err(DbError::Closed { what });
        }
        let fresh = pool_of(options, &self.inner.trouble)?;
        let old = std::mem::replace(&mut *self.inner.pool.lock(), fresh);
        // Whoever still holds a connection of the old file gives it back in his own time.
        drop(tokio::time::timeout(CLOSE_OLD_LIMIT, old.close()).await);
        crate::place::move_aside(path, options.clock.now_ms())
    }

    /// How it is used.
    #[must_use]
    pub fn options(&self) -> &DatabaseOptions {
        &self.inner.options
    }

    /// Takes a connection on loan for `owner`. Waits while all are out, at most for the time-out; a connection is asked
    /// whether it still lives before it is handed out.
    pub async fn acquire(&self, owner: &'static str) -> Result<OwnedConnection, DbError> {
        let what = format!("{owner}: take a connection");
        let token = self.inner.owners.token(owner);
        if token.is_cancelled() || self.is_closed() {
            return Err(DbError::Closed { what });
        }
        let (limit, pool) = (self.inner.options.acquire_timeout, self.pool());
        let taken = tokio::select! {
            biased;
            () = token.cancelled() => return Err(DbError::Closed { what }),
            taken = tokio::time::timeout(limit + Duration::from_millis(100), pool.acquire()) => taken,
        };
        match taken {
            Ok(Ok(connection)) => Ok(OwnedConnection { connection, token, _held: self.inner.owners.hold(owner) }),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(self.timed_out(what, limit)),
            Ok(Err(error)) => Err(DbError::of(&what, &error)),
        }
    }

    fn timed_out(&self, what: String, limit: Duration) -> DbError {
        let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        if let Some(error) = self.inner.trouble.lock().clone() {
            return error;
        }
        match self.inner.owners.holders() {
            Some(holders) => DbError::Timeout { what, waited_ms, holders },
            None => DbError::Unreachable { what, cause: format!("no connection within {waited_ms} ms") },
        }
    }

    /// What is being tried again at this moment, if anything.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.inner.trouble.lock().as_ref().map(ToString::to_string)
    }

    /// Does `work` in one transaction: all of it or nothing. A lock of somebody else is waited for a few times, with growing
    /// pauses of uneven length; then the error is logged once, with its context, and handed on unchanged.
    pub async fn with_tx<T, F>(&self, name: &'static str, owner: &'static str, mut work: F) -> Result<T, DbError>
    where
        F: for<'c> FnMut(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, DbError>> + Send,
        T: Send,
    {
        let clock = self.inner.options.clock.clone();
        let began = clock.mono_ns();
        let mut backoff = Backoff::new(self.inner.options.attempts_max, began);
        let done = loop {
            match self.attempt(name, owner, &mut work).await {
                Err(error) if matches!(error, DbError::Busy { .. }) => match backoff.next() {
                    Some(pause) => {
                        *self.inner.trouble.lock() = Some(error);
                        tokio::time::sleep(pause).await;
                    }
                    None => break Err(error),
                },
                done => break done,
            }
        };
        if done.is_ok() {
            *self.inner.trouble.lock() = None;
        }
        let took = clock.since(began);
        self.inner.timings.record(name, took, done.is_ok());
        if let Err(error) = &done {
            let (kind, attempts) = (error.kind(), backoff.attempts());
            tracing::warn!(transaction = name, owner, kind, attempts, took_ms = took.as_millis() as u64, %error, "database");
        }
        done
    }

    async fn attempt<T, F>(&self, name: &'static str, owner: &'static str, work: &mut F) -> Result<T, DbError>
    where
        F: for<'c> FnMut(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, DbError>> + Send,
        T: Send,
    {
        let mut connection = self.acquire(owner).await?;
        let fail = |error: sqlx::Error| DbError::of(name, &error);
        // SQLite: the lock is taken at the beginning, so that it is waited for and not failed on in the middle.
        let begin = match self.dialect() {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        let token = connection.token.clone();
        // Dropped without a commit, whatever the reason, it is rolled back.
        let mut transaction = connection.begin_with(begin).await.map_err(fail)?;
        let done = tokio::select! {
            biased;
            () = token.cancelled() => Err(DbError::Closed { what: name.to_owned() }),
            done = work(&mut transaction) => done,
        };
        match done {
            Ok(value) => transaction.commit().await.map_err(fail).map(|()| value),
            Err(error) => {
                // The error that counts is the first one. Where the rollback fails, as after a full disk, which ends the
                // transaction behind the pool's back, the connection is replaced before its next use.
                drop(transaction.rollback().await);
                Err(error)
            }
        }
    }

    /// The owner gets no further connection, its transactions under way are rolled back, and this waits until it has given
    /// back what it holds. Answers how many it still holds at the end of `limit`: zero is the rule.
    pub async fn release_owner(&self, owner: &'static str, limit: Duration) -> usize {
        self.inner.owners.release(owner);
        let deadline = self.inner.options.clock.deadline(limit);
        while self.inner.owners.held(owner) > 0 && !deadline.is_past() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.inner.owners.held(owner)
    }

    /// Closes all connections, those on loan as soon as they come back. Any number of callers; each waits until it is done,
    /// at most for `limit`.
    pub async fn close(&self, limit: Duration) -> Result<(), DbError> {
        self.inner.closing.cancel();
        let closed = tokio::time::timeout(limit, self.pool().close()).await;
        if closed.is_err() {
            let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let holders = self.inner.owners.holders().unwrap_or_else(|| "the database does not answer".to_owned());
            return Err(DbError::Timeout { what: "close the database".to_owned(), waited_ms, holders });
        }
        if let Some(lease) = self.inner.lease.lock().take() {
            lease.close();
        }
        Ok(())
    }

    /// Was closing begun?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closing.is_cancelled()
    }

    /// Figures of the pool.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let pool = self.pool();
        PoolStatus {
            open: pool.size(),
            idle: pool.num_idle(),
            connections_max: self.inner.options.connections_max,
            owners: self.inner.owners.all(),
            timings: self.inner.timings.summary(),
        }
    }
}

/// A pool that connects when it is first used.
fn pool_of(options: &DatabaseOptions, trouble: &Trouble) -> Result<AnyPool, DbError> {
    sqlx::any::install_default_drivers();
    let connect: AnyConnectOptions =
        options.address.url().parse().map_err(|error| DbError::of("read the address", &error))?;
    let (dialect, busy_ms) = (options.address.dialect(), options.busy_timeout.as_millis());
    let trouble = trouble.clone();
    Ok(AnyPoolOptions::new()
        .min_connections(0)
        .max_connections(options.connections_max.max(1))
        .acquire_timeout(options.acquire_timeout)
        .acquire_slow_threshold(Duration::from_secs(3_600))
        .idle_timeout(Duration::from_secs(600))
        .max_lifetime(None)
        .test_before_acquire(true)
        // The test above has waited for a rollback that was under way. What is in a transaction still, never gets out of it.
        .before_acquire(|connection, _| {
            let is_fit = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_fit) })
        })
        .after_connect(move |connection, _| {
            let trouble = trouble.clone();
            Box::pin(async move {
                let settled = settle(connection, dialect, busy_ms).await;
                *trouble.lock() = settled.as_ref().err().map(|error| DbError::of("connect", error));
                settled
            })
        })
        .connect_lazy_with(connect.disable_statement_logging()))
}

/// What every new connection is told before its first use.
async fn settle(connection: &mut AnyConnection, dialect: Dialect, busy_ms: u128) -> Result<(), sqlx::Error> {
    match dialect {
        Dialect::Sqlite => {
            let busy = format!("PRAGMA busy_timeout = {busy_ms}");
            connection.execute(sqlx::AssertSqlSafe(busy)).await?;
            connection.execute("PRAGMA journal_mode = WAL").await?;
            connection.execute("PRAGMA synchronous = FULL").await?;
            connection.execute("PRAGMA foreign_keys = ON").await?;
            connection.execute("PRAGMA trusted_schema = OFF").await?;
        }
        Dialect::Postgres => {
            let wait = format!("SET lock_timeout = {}", busy_ms.max(1));
            connection.execute(sqlx::AssertSqlSafe(wait)).await?;
            connection.execute("SET statement_timeout = 30000").await?;
            connection.execute("SET application_name = 'keel'").await?;
        }
    }
    Ok(())
}
