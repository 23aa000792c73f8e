//! The stop plan, step by step as in ARCHITECTURE.md, "Stopping".

use super::database;
use super::parts::{Shared, control_group, group, groups};
use super::recover::REPLAY_JOURNAL;
use super::start::OPEN_JOURNAL;
use super::venue::START_VENUE;
use keel_gateway::{CoordinatorHandle, GateLevel, Snapshots, SubmitGate, WindOutcome};
use keel_lifecycle::{LeaseKind, PlanError, RunContext, StopContext, StopError, StopPlan, StopStep, TaskKind};
use keel_model::{Command, ExitPolicy};
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// How often a waiting step looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Longest time for the last snapshot, and at most half of what is left of the step. It is only a shorter next start: what has
/// to be on disk is the journal.
const LAST_SNAPSHOT_LIMIT: Duration = Duration::from_secs(1);
/// Longest wait for the balances after the exit policy.
const LAST_BALANCES_LIMIT: Duration = Duration::from_millis(500);

/// Of the limit of the strategies' stop, kept when it waits for an emergency stop's closing orders.
const CLOSING_MARGIN: Duration = Duration::from_millis(200);

/// What the gate lets through while we stop: closing orders for `flatten`, and where an emergency stop has lowered the gate
/// before, because it is closing positions.
#[must_use]
pub fn gate_level(policy: ExitPolicy, gate: &SubmitGate) -> GateLevel {
    match policy {
        _ if gate.is_closing() => gate.level().min(GateLevel::ExitsOnly),
        ExitPolicy::Flatten => GateLevel::ExitsOnly,
        ExitPolicy::CancelEntries | ExitPolicy::CancelAll | ExitPolicy::Keep => GateLevel::Shut,
    }
}

/// Builds the plan.
pub fn build(context: &RunContext, shared: &Shared) -> Result<StopPlan, PlanError> {
    let is_flatten = shared.config.on_exit == ExitPolicy::Flatten;
    // Closing at a price needs a price.
    let before_streams = if is_flatten { "stop-coordinator" } else { "stop-strategies" };
    let step = |name: &'static str, limit: Duration| Step { name, limit, shared: shared.clone() };
    let streams = StopStep::stop_group("stop-market-streams", MS(10_000), group(context, groups::MARKET));
    let account = StopStep::stop_group("stop-account-streams", MS(2_000), group(context, groups::ACCOUNT));
    let engine = group(context, groups::ENGINE);
    let (for_wind, for_sweep) = (context.clone(), context.clone());
    let (for_venue, for_store) = (context.clone(), context.clone());
    StopPlan::builder(shared.config.stop_total)
        .step(step("close-gate", MS(100)).run(close_gate).essential())
        .step(step("stop-strategies", MS(1_000)).run(stop_strategies).after(&["close-gate"]))
        .step(streams.after(&[before_streams]).closes())
        .step(step("settle-in-flight", MS(3_000)).run(settle).after(&["stop-strategies"]))
        .step(
            step("stop-coordinator", MS(10_000))
                .run(move |shared, stop| wind(for_wind, shared, stop))
                .after(&["settle-in-flight"])
                .essential(),
        )
        .step(account.after(&["stop-coordinator"]).closes())
        .step(StopStep::stop_group("stop-risk", MS(1_000), engine).after(&["stop-account-streams"]).essential())
        .step(
            step("close-exchanges", MS(5_000))
                .run(close_exchanges)
                .after(&["stop-risk", "stop-market-streams"])
                .closes(),
        )
        .step(
            step("stop-venue", MS(2_000))
                .run(move |shared, stop| stop_venue(for_venue, shared, stop))
                .after(&["close-exchanges"])
                .closes(),
        )
        .step(
            step("flush-store", MS(3_000))
                .run(move |shared, stop| flush_store(for_store, shared, stop))
                .after(&["close-exchanges"])
                .essential(),
        )
        .step(
            step("pending-tasks", MS(5_000))
                .run(move |_, stop| pending_tasks(for_sweep, stop))
                .after(&["flush-store", "stop-venue"])
                .closes(),
        )
        .step(step("telemetry", MS(1_000)).run(telemetry).after(&["pending-tasks"]))
        .build()
}

/// A step that acts on what the run shares.
struct Step {
    name: &'static str,
    limit: Duration,
    shared: Shared,
}

impl Step {
    fn run<F, Fut>(self, run: F) -> StopStep
    where
        F: FnOnce(Shared, StopContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StopError>> + Send + 'static,
    {
        let Self { name, limit, shared } = self;
        StopStep::new(name, limit, move |stop| run(shared, stop))
    }
}

/// No new exposure leaves from here on. The signal's own thread has closed the gate already; this says so in the report.
async fn close_gate(shared: Shared, _stop: StopContext) -> Result<(), StopError> {
    shared.gate.close(gate_level(shared.config.on_exit, &shared.gate));
    Ok(())
}

/// Strategies see no more events. Waits until the engine has taken the command.
async fn stop_strategies(shared: Shared, stop: StopContext) -> Result<(), StopError> {
    let Some(engine) = shared.engine() else { return Ok(()) };
    if engine.phase().has_ended {
        return Ok(());
    }
    // Read first: an engine that takes the command at once shows no other beat until its next timer.
    let before = engine.beats();
    engine.command(Command::StopStrategies).map_err(StopError::new)?;
    while engine.lanes().command > 0 || engine.beats() == before {
        if stop.inner_limit().is_zero() {
            return Err("the engine has not taken the command: a strategy blocks".into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // Closing at a price needs a price, and the market streams end after this step.
    let is_emergency = shared.gate.level() == GateLevel::ExitsOnly && shared.config.on_exit != ExitPolicy::Flatten;
    while is_emergency && is_closing(&engine) && stop.inner_limit() > CLOSING_MARGIN {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Is an emergency stop still closing positions, or has nobody told yet that it began to?
fn is_closing(engine: &CoordinatorHandle) -> bool {
    let operator = &engine.status().operator;
    let wind = operator.winding.as_ref().filter(|_| operator.is_emergency);
    wind.is_none_or(|wind| wind.policy == ExitPolicy::Flatten && wind.positions_left > 0)
}

/// Answers to what was already sent.
async fn settle(shared: Shared, stop: StopContext) -> Result<(), StopError> {
    let Some(engine) = shared.engine() else { return Ok(()) };
    if engine.settled(stop.inner_limit()).await {
        return Ok(());
    }
    let left = engine.in_flight();
    Err(format!("{} placements and {} cancels are not answered", left.submits, left.cancels).into())
}

/// Open orders and positions as the exit policy wants them, confirmed by the venue; by the escape path where the engine
/// cannot.
async fn wind(context: RunContext, shared: Shared, stop: StopContext) -> Result<(), StopError> {
    let policy = shared.config.on_exit;
    let (engine, escape) = {
        let parts = shared.parts.lock();
        (parts.engine.clone(), parts.escape.clone())
    };
    let (Some(engine), Some(escape)) = (engine, escape) else { return Ok(()) };
    if !engine.phase().is_started && engine.board().is_empty() {
        stop.note("trading had not begun; nothing to cancel");
        return Ok(());
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let limit = stop.inner_limit();
    let awaited = engine.clone();
    // On the control thread, so that it works while the trading runtime is blocked.
    let task = control_group(&context).spawn("wind", TaskKind::Background, async move {
        let ended = engine.wind_or_escape(policy, &escape, limit).await;
        drop(tell.send(ended));
    });
    drop(task);
    let Ok((outcome, report)) = told.await else { return Err("the control thread did not answer".into()) };
    if let Some(report) = &report {
        report.to_string().lines().for_each(|line| stop.note(line));
    }
    match (outcome, report) {
        (WindOutcome::Wound, _) => {
            last_balances(&awaited, &stop).await;
            Ok(())
        }
        (outcome, _) if policy == ExitPolicy::Keep && outcome == WindOutcome::Ended => Ok(()),
        (outcome, Some(report)) if report.unconfirmed() == 0 => {
            Err(format!("the engine could not ({outcome:?}); each cancel of the escape path was answered").into())
        }
        (outcome, _) => {
            Err(format!("not confirmed by the venue ({outcome:?}); awaited: {}", waiting_for(&awaited)).into())
        }
    }
}

/// Balances as they are after the last cancel, for the final status. They are asked for when the exit policy is done; where
/// the venue does not answer in time, the status says what was known before.
async fn last_balances(engine: &CoordinatorHandle, stop: &StopContext) {
    let waited = async {
        while engine.in_flight().questions > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(stop.inner_limit().min(LAST_BALANCES_LIMIT), waited).await.is_err() {
        stop.note("the venue did not answer the last question for balances in time; those shown may be older");
    }
}

/// What the venue still owes us, in words.
fn waiting_for(engine: &CoordinatorHandle) -> String {
    let (orders, left) = (engine.board().len(), engine.in_flight());
    format!(
        "the end of {orders} open orders, answers to {} placements and {} cancels; is the venue reachable?",
        left.submits, left.cancels
    )
}

/// Refuses new calls, ends those under way, closes every connection; side by side.
async fn close_exchanges(shared: Shared, _stop: StopContext) -> Result<(), StopError> {
    let clients = std::mem::take(&mut shared.parts.lock().clients);
    let mut closing = tokio::task::JoinSet::new();
    for client in clients {
        closing.spawn(async move { client.close().await });
    }
    let mut errors = Vec::new();
    while let Some(closed) = closing.join_next().await {
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => errors.push(error.to_string()),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ").into()) }
}

/// Waits for a thread of the start that nobody else waits for any more, so that what it has made can be closed.
async fn helper_ended(context: &RunContext, name: &str, stop: &StopContext) -> Result<(), StopError> {
    while context.ledger.live().iter().any(|lease| lease.kind == LeaseKind::Thread && lease.name == name) {
        if stop.inner_limit().is_zero() {
            return Err(format!("the thread {name} of the start has not ended").into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// The embedded venue, if any.
async fn stop_venue(context: RunContext, shared: Shared, stop: StopContext) -> Result<(), StopError> {
    helper_ended(&context, START_VENUE, &stop).await?;
    let venue = shared.parts.lock().venue.take();
    match venue {
        Some(venue) => venue.stop(stop.inner_limit()).await.map_err(StopError::new),
        None => Ok(()),
    }
}

/// The journal is written, synced and closed.
async fn flush_store(context: RunContext, shared: Shared, stop: StopContext) -> Result<(), StopError> {
    // A stop during the start may find the journal half open.
    helper_ended(&context, OPEN_JOURNAL, &stop).await?;
    helper_ended(&context, REPLAY_JOURNAL, &stop).await?;
    // The engine has ended; what it holds of the trading runtime goes before that is looked at for leaks.
    shared.release();
    let Some(journal) = shared.parts.lock().journal.take() else {
        return database::finish(&context, &shared, &stop).await;
    };
    journal.begin_close();
    while !journal.is_closed() {
        if stop.inner_limit().is_zero() {
            return Err("the journal's writer has not ended".into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let closed = journal.close(stop.inner_limit()).map_err(StopError::new);
    let snapshots = shared.parts.lock().snapshots.take();
    // Side by side: the last snapshot, and the last records on their way into the database.
    let snapshot = async {
        if let Some(snapshots) = snapshots {
            last_snapshot(snapshots, &stop).await;
        }
    };
    let ((), database) = tokio::join!(snapshot, database::finish(&context, &shared, &stop));
    closed.and(database)
}

/// A last snapshot, given up when its time is over: without it the next start reads more. It never fails the step.
async fn last_snapshot(mut snapshots: Snapshots, stop: &StopContext) {
    snapshots.begin_finish(LAST_SNAPSHOT_LIMIT.min(stop.inner_limit() / 2));
    while !snapshots.has_ended() {
        if stop.inner_limit().is_zero() {
            stop.note("the last snapshot of the journal was not finished");
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    snapshots.join();
}

/// What still runs is told, then aborted, by name.
async fn pending_tasks(context: RunContext, stop: StopContext) -> Result<(), StopError> {
    let mut left = Vec::new();
    for name in groups::ALL {
        let report = group(&context, name).stop(stop.inner_limit()).await;
        if !report.is_clean() {
            left.push(report.to_string());
        }
    }
    if left.is_empty() { Ok(()) } else { Err(left.join("; ").into()) }
}

/// Logs are flushed last.
async fn telemetry(shared: Shared, stop: StopContext) -> Result<(), StopError> {
    let dropped = shared.logging.lines_dropped();
    if dropped > 0 {
        stop.note(format!("{dropped} log lines were dropped because the disk was too slow"));
    }
    shared.logging.flush();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_lowers_the_gate_no_further_than_an_emergency_that_is_closing_has() {
        let gate = SubmitGate::new();
        assert!(gate.open());
        assert_eq!(gate_level(ExitPolicy::CancelEntries, &gate), GateLevel::Shut);
        assert_eq!(gate_level(ExitPolicy::Flatten, &gate), GateLevel::ExitsOnly);
        gate.close(GateLevel::ExitsOnly);
        for policy in [ExitPolicy::CancelEntries, ExitPolicy::CancelAll, ExitPolicy::Keep, ExitPolicy::Flatten] {
            gate.close(gate_level(policy, &gate));
            assert_eq!(gate.level(), GateLevel::ExitsOnly, "{policy:?}");
        }
        gate.close(GateLevel::Shut);
        assert_eq!(gate_level(ExitPolicy::Flatten, &gate), GateLevel::Shut, "it never rises");
    }
}
