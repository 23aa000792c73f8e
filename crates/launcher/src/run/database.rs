//! The database beside trading: on a thread and a runtime of its own, at low priority, fed from the journal's files.
//!
//! Invariants: trading waits for it at one moment only, the start, for [`FIRST_LIMIT`] at most, to find out whether it is ours
//! at all; a database that cannot be used is an alarm, never a stop; at the end it gets its share of the stop and no more.

use super::parts::{Shared, group, groups};
use crate::config::DatabaseSettings;
use crate::error::LaunchError;
use keel_database::{Database, DatabaseOptions, DbError, JournalSource, Projection, ProjectionParts, ResourceSample};
use keel_execution::ExecutionConfig;
use keel_lifecycle::{
    Alert, CancellationToken, LeakSection, RestartPolicy, RunContext, Severity, StopContext, StopError, TaskKind,
};
use keel_store::{Journal, Recovered};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the start waits to learn whether the database is ours.
pub const FIRST_LIMIT: Duration = Duration::from_secs(2);
/// What the end may take: for the last records, for the thread, for the connections.
const LAST_RECORDS_LIMIT: Duration = Duration::from_millis(1_000);
const THREAD_LIMIT: Duration = Duration::from_millis(500);
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// Nothing that happens to the database stops the system, so there is no last restart.
const POLICY: RestartPolicy = RestartPolicy {
    backoff_initial: Duration::from_millis(250),
    backoff_max: Duration::from_secs(10),
    restarts_max: u32::MAX,
    window: Duration::from_secs(60),
};
/// How much lower than the rest of the program its threads are scheduled.
const NICENESS: i32 = 10;

/// The database of a run.
#[derive(Debug)]
pub struct DatabasePart {
    database: Database,
    begin: Option<oneshot::Sender<Projection>>,
    projection: Option<Projection>,
}

/// How the pool is used in a run and by the verbs.
#[must_use]
pub fn options(settings: &DatabaseSettings, mode: &str) -> DatabaseOptions {
    DatabaseOptions {
        connections_max: settings.connections_max,
        acquire_timeout: settings.acquire_timeout,
        busy_timeout: settings.busy_timeout,
        ..DatabaseOptions::new(settings.address.clone(), mode)
    }
}

/// Reaches the database, when one is configured. One that is not ours to write (of another mode, of a newer program) is an
/// error of the start; one that does not answer is told of, and tried again for as long as the run lasts.
pub async fn open(context: &RunContext, shared: &Shared) -> Result<(), LaunchError> {
    let Some(settings) = &shared.config.database else { return Ok(()) };
    let failed = |error: DbError| LaunchError::start("database", error);
    let options = DatabaseOptions {
        clock: context.clock.clone(),
        ledger: context.ledger.clone(),
        ..options(settings, &shared.config.mode.to_string())
    };
    let database = Database::open_lazy(options).map_err(failed)?;
    let (tell, told) = oneshot::channel();
    let (begin, begun) = oneshot::channel();
    let store = group(context, groups::STORE);
    let (for_thread, tasks) = (database.clone(), store.clone());
    let spawned = store.spawn_thread("database", TaskKind::Background, move |stop| {
        lower_priority();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot build the database's runtime: {error}"))?;
        runtime.block_on(async move {
            let first = tokio::time::timeout(FIRST_LIMIT, for_thread.prepare()).await;
            drop(tell.send(first.unwrap_or_else(|_| Err(not_in_time()))));
            let projection: Projection = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                begun = begun => match begun { Ok(projection) => projection, Err(_) => return },
            };
            let follow = move |token: CancellationToken| projection.clone().run(token);
            let here = tokio::runtime::Handle::current();
            drop(tasks.on(here).spawn_restartable("projection", POLICY, follow).ended().await);
        });
        Ok::<(), String>(())
    });
    spawned.map_err(|error| LaunchError::start("database", error))?.leave_to_group();
    let place = database.options().address.to_string();
    shared.parts.lock().database = Some(DatabasePart { database, begin: Some(begin), projection: None });
    match told.await.unwrap_or_else(|_| Err(not_in_time())) {
        Err(error) if error.is_final() => Err(failed(error)),
        Err(error) => {
            let message = format!("{place}: {error}. Trading begins without it; it is tried again all the time");
            let ts_ns = context.clock.now_ns();
            context.alerts.raise(Alert { severity: Severity::Warning, kind: "database", message, ts_ns });
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn not_in_time() -> DbError {
    let waited_ms = FIRST_LIMIT.as_millis() as u64;
    DbError::Timeout { what: "reach the database".into(), waited_ms, holders: "it does not answer".into() }
}

/// This thread and those that it starts get what the others leave.
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the database's threads keep the usual priority");
    }
}

/// Begins to follow the journal. `execution` is the engine's own.
pub fn follow(
    context: &RunContext,
    shared: &Shared,
    journal: &Journal,
    recovered: &Recovered,
    execution: ExecutionConfig,
) {
    let Some(settings) = &shared.config.database else { return };
    let (before, journal, monitor) = (recovered.records_total, journal.clone(), context.monitor.clone());
    let mut parts = shared.parts.lock();
    let Some(part) = &mut parts.database else { return };
    let mut source = JournalSource::new(journal.folder(), recovered.instance, shared.config.mode.to_string());
    source.execution = ExecutionConfig { epoch: source.execution.epoch, ..execution };
    let sample = |sample: keel_lifecycle::ProcessSample| ResourceSample {
        ts_ns: sample.ts_ns,
        rss_bytes: sample.rss_bytes,
        descriptors: sample.descriptors.total() as u64,
        threads: sample.threads as u64,
    };
    let projection = Projection::new(ProjectionParts {
        database: part.database.clone(),
        source,
        durable: Arc::new(move || before + journal.status().records),
        samples: Arc::new(move || monitor.history().into_iter().map(sample).collect()),
        lag_alarm: settings.lag_alarm,
        alerts: context.alerts.clone(),
        clock: context.clock.clone(),
    });
    part.projection = Some(projection.clone());
    if let Some(begin) = part.begin.take() {
        drop(begin.send(projection));
    }
}

/// Tells the oldest record that the database still has to read; without a database none.
#[must_use]
pub fn needed(shared: &Shared) -> Box<dyn Fn() -> u64 + Send> {
    let parts = shared.parts.clone();
    let is_wanted = shared.config.database.is_some();
    Box::new(move || match parts.lock().database.as_ref().map(|part| part.projection.clone()) {
        Some(projection) => projection.map_or(0, |projection| projection.min_sequence_needed()),
        // Given up by the stop, it may still have to read what it did not come to.
        None if is_wanted => 0,
        None => u64::MAX,
    })
}

/// The end, after the journal was closed: the last records, then the thread, then the connections. A database that does not
/// follow loses nothing: the journal has it all.
pub async fn finish(context: &RunContext, shared: &Shared, stop: &StopContext) -> Result<(), StopError> {
    let Some(mut part) = shared.parts.lock().database.take() else { return Ok(()) };
    let share = |limit: Duration| limit.min(stop.inner_limit() / 2);
    if let Some(projection) = part.projection.take() {
        let behind = projection.drained(share(LAST_RECORDS_LIMIT)).await;
        if behind > 0 {
            let cause = projection.status().error.unwrap_or_else(|| "there was no time for more".to_owned());
            stop.note(format!(
                "the database lags {behind} records behind the journal: {cause}; `launcher database rebuild` brings them"
            ));
        }
    }
    drop(part.begin.take());
    let ended = group(context, groups::STORE).stop(share(THREAD_LIMIT)).await;
    if let Err(error) = part.database.close(share(CLOSE_LIMIT)).await {
        stop.note(format!("{error}; its connections are given up"));
        part.database.abandon();
    }
    shared.parts.lock().closed_database = Some(part.database);
    ended.into_result()
}

/// Connections that are still open at the very end.
#[must_use]
pub fn left(shared: &Shared) -> LeakSection {
    let open = shared.parts.lock().closed_database.as_ref().map_or(0, |database| database.status().open);
    let lines = if open == 0 { Vec::new() } else { vec![format!("{open} connections of the pool")] };
    LeakSection::leak("database connections", lines)
}
