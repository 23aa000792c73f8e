//! A recording at full speed: in process, on a virtual clock, no socket, no journal. The engine, the strategies and risk are
//! the live ones; the same recording and configuration give the same state digest every time.

use super::parts::{Shared, groups};
use super::{start, strategies};
use crate::config::Replay as Recorded;
use crate::error::LaunchError;
use crate::{out, recording};
use keel_backtest::{Replay, ReplayConfig, ReplayReport};
use keel_exchange::binance::spot::capabilities;
use keel_lifecycle::{
    CancellationToken, Program, RunContext, StopPlan, StopReason, StopStep, TaskEnd, TaskKind, ThreadHandle,
};
use keel_model::MarketEvent;
use keel_sim::{LatencyModel, SimConfig};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Events between two looks at the token.
const LOOK_EVERY: u64 = 256;
/// The thread has ended when the plan has; this is for the case that it has not.
const JOIN_LIMIT: Duration = Duration::from_millis(100);
/// A request takes at least this long to the venue and back; more when the configuration says so.
const WAY: Duration = Duration::from_millis(1);

/// Where the replay's thread puts its end.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    report: Arc<Mutex<Option<ReplayReport>>>,
    thread: Arc<Mutex<Option<ThreadHandle<TaskEnd>>>>,
}

impl Ended {
    /// How it ended, when it did. Call it when the run is over: the thread is joined.
    pub fn take(&self) -> Option<ReplayReport> {
        if let Some(Err(error)) = self.thread.lock().take().map(|thread| thread.join_timeout(JOIN_LIMIT)) {
            tracing::error!(%error, "the replay's thread");
        }
        self.report.lock().take()
    }
}

/// The program of a replay at full speed.
pub fn program(
    context: &RunContext,
    shared: &Shared,
    recorded: Recorded,
    ended: Ended,
) -> Result<Program, LaunchError> {
    let group = context.supervisor.group(groups::ENGINE);
    let logging = shared.logging.clone();
    let plan = StopPlan::builder(shared.config.stop_total)
        .step(StopStep::new("close-gate", Duration::from_millis(100), |_| async { Ok(()) }).essential())
        .step(
            StopStep::stop_group("stop-coordinator", Duration::from_secs(10), group).after(&["close-gate"]).essential(),
        )
        .step(
            StopStep::new("telemetry", Duration::from_secs(1), move |_| async move {
                logging.flush();
                Ok(())
            })
            .after(&["stop-coordinator"]),
        )
        .build()
        .map_err(|error| LaunchError::start("stop plan", error))?;
    let (context, shared) = (context.clone(), shared.clone());
    Ok(Program::new(plan, async move {
        let group = context.supervisor.group(groups::ENGINE);
        let stop = context.stop.clone();
        let report_slot = ended.report.clone();
        let thread = group.spawn_thread("replay", TaskKind::Critical, move |token| {
            let report = replay(&shared, &recorded, &token)?;
            *report_slot.lock() = Some(report);
            stop.request(StopReason::Finished { what: "the recording".to_owned() });
            // Critical: to return before the stop is told would be a fault.
            while !token.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok::<(), LaunchError>(())
        });
        *ended.thread.lock() = Some(thread.map_err(|error| LaunchError::start("replay", error))?);
        Ok::<(), LaunchError>(())
    }))
}

fn replay(shared: &Shared, recorded: &Recorded, token: &CancellationToken) -> Result<ReplayReport, LaunchError> {
    let config = &shared.config;
    let contents = recording::scan(&recorded.file)?;
    let instruments =
        if config.symbols_are_default { contents.instruments } else { chosen(shared, &contents.instruments)? };
    shared.parts.lock().instruments = Arc::new(instruments.clone());
    shared.parts.lock().venue_name = "in process, simulated".to_owned();
    let symbols: Vec<String> = instruments.iter().map(|it| it.symbol.to_string()).collect();
    out::note(&super::banner::banner(config, "in process, simulated", &symbols, &shared.folder));
    out::note(&format!("recording: {} lines, {:.1} min", contents.frames, contents.length.as_secs_f64() / 60.0));
    if !contents.has_snapshot {
        out::note("warning: the recording has no book snapshot, so the book is the best bid and ask only");
    }
    let way = config.simulation_latency.max(WAY);
    let settings = ReplayConfig {
        engine: start::engine_config(config, &instruments, &capabilities(config.recv_window), shared.instance, 1),
        sim: SimConfig {
            seed: config.seed,
            latency: LatencyModel { order_in: way, report_out: way, ..LatencyModel::default() },
            publish_market_data: false,
            ..SimConfig::default()
        },
        balances: super::market::simulated_balances(&instruments),
        exit_policy: config.on_exit,
        ..ReplayConfig::default()
    };
    let failed = |error: keel_backtest::BacktestError| LaunchError::start("replay", error);
    let mut replay = Replay::new(settings, strategies::build(config, &instruments)?).map_err(failed)?;
    replay.observe(super::observe::counter(shared.tally.clone(), Arc::new(instruments.clone())));
    out::note("trading: ready");
    let mut events = 0u64;
    recording::play(&recorded.file, &instruments, |event: &MarketEvent| {
        replay.feed(event);
        events += 1;
        !events.is_multiple_of(LOOK_EVERY) || !token.is_cancelled()
    })?;
    let report = replay.finish();
    if report.refused_events > 0 {
        out::note(&format!("warning: {} events of the recording could not be used", report.refused_events));
    }
    Ok(report)
}

/// The instruments that were asked for, out of those the recording has.
fn chosen(shared: &Shared, all: &keel_model::Instruments) -> Result<keel_model::Instruments, LaunchError> {
    let mut chosen = keel_model::Instruments::new();
    for symbol in &shared.config.symbols {
        let instrument = all.by_symbol(symbol.as_str()).ok_or_else(|| {
            let has = all.iter().map(|it| it.symbol.to_string()).collect::<Vec<_>>().join(", ");
            LaunchError::start("recording", format!("it does not hold the instrument {symbol}; it holds {has}"))
        })?;
        chosen.upsert(instrument.clone());
    }
    Ok(chosen)
}
