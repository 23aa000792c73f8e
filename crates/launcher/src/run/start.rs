//! The start: venue, journal and account side by side, then recovery, then trading. Start is recovery: the gate opens only
//! when the engine has compared its books with the venue's.

use super::emergency::Emergency;
use super::market::{self, Access};
use super::observe;
use super::parts::{Shared, control_group, group, groups};
use super::recover::{self, EngineMaker};
use super::venue::{VenueProcess, off_runtime, watch_end};
use super::{banner, database, strategies, summary};
use crate::config::secrets::Keys;
use crate::config::{Config, DurabilityChoice, Mode, Venue};
use crate::error::LaunchError;
use crate::out;
use keel_engine::{Engine, EngineConfig};
use keel_exchange::{Capabilities, ExchangeClient, ExchangeError, Subscription, UnknownResolution};
use keel_execution::{ExecutionConfig, UnknownRule};
use keel_gateway::{
    Coordinator, CoordinatorHandle, CoordinatorLimits, CoordinatorParts, EscapeLimits, EscapePath, EscapeScope,
    ExecutionSink, GatewayLimits, LaneCapacity, Lanes, LatencyRecorder, MarketSink, OpenOrderBoard, OrderGateway,
    OrderGatewayParts, RULES_INTERVAL, begin_session, watch_rules,
};
use keel_lifecycle::{RunContext, TaskKind};
use keel_model::{ExitPolicy, Instrument, Instruments, Timestamp};
use keel_store::{Durability, Journal, JournalOptions, Record, Recovered, SessionStart};
use keel_strategy::Strategy;
use std::sync::Arc;
use std::time::Duration;

/// The thread that opens the journal; the stop waits for it.
pub const OPEN_JOURNAL: &str = "open-journal";
/// How long the last words wait for the list of parts.
const LAST_LOOK_LIMIT: Duration = Duration::from_millis(50);
/// Longest wait for recovery.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for the first record of the session.
const SESSION_LIMIT: Duration = Duration::from_secs(5);
/// What the escape path of the watchdog may take; the watchdog itself waits a little longer.
const ESCAPE_LIMIT: Duration = Duration::from_millis(2_500);
/// An engine stuck in one event for this long is told of, and for this long stops the system.
const STUCK_ALERT: Duration = Duration::from_secs(1);
const STUCK_STOP: Duration = Duration::from_secs(10);

/// Brings everything up.
pub async fn start(
    context: RunContext,
    shared: Shared,
    keys: Option<Keys>,
    emergency: Emergency,
) -> Result<(), LaunchError> {
    let begun = bring_up(context, shared, keys, emergency).await;
    if let Err(error) = begun.as_ref()
        && error.is_final()
    {
        crate::restart::tell_parent_to_end(&error.to_string());
    }
    begun
}

async fn bring_up(
    context: RunContext,
    shared: Shared,
    keys: Option<Keys>,
    emergency: Emergency,
) -> Result<(), LaunchError> {
    prepare_for_the_worst(&context, &shared);
    // Side by side: the journal waits for the disk, the venue for its sockets.
    let (journal, access, database) = tokio::join!(
        open_journal(&context, &shared),
        market::open(&context, &shared, keys.as_ref()),
        database::open(&context, &shared)
    );
    let ((journal, recovered), access, ()) = (journal?, access?, database?);
    shared.parts.lock().epoch = Some(recovered.epoch);
    shared.parts.lock().venue_name.clone_from(&access.name);
    let client = access.client();
    shared.parts.lock().clients.push(client.clone());
    let instruments = Arc::new(instruments(client.as_ref(), &access, &shared.config).await?);
    client.set_instruments(instruments.clone());
    shared.parts.lock().instruments = instruments.clone();
    let symbols: Vec<String> = instruments.iter().map(|it| it.symbol.to_string()).collect();
    out::note(&banner::banner(&shared.config, &access.name, &symbols, &shared.folder));
    let trading = Trading { context, shared, instruments, journal };
    let engine = trading.assemble(recovered, &access, client).await?;
    let failed = |error| LaunchError::start("recovery", error);
    let is_halted = tokio::select! {
        started = engine.started(RECOVERY_LIMIT) => started.map(|()| false).map_err(failed)?,
        () = emergency.halted(&engine) => true,
    };
    trading.announce(&engine, is_halted);
    Ok(())
}

/// What is told when the process must be ended by force. The report of an earlier run in this folder goes: it says nothing
/// about this one.
fn prepare_for_the_worst(context: &RunContext, shared: &Shared) {
    drop(std::fs::remove_file(shared.folder.join("report.json")));
    let shared = shared.clone();
    context.watchdog.on_left(move || {
        let (engine, instruments) = match shared.parts.try_lock_for(LAST_LOOK_LIMIT) {
            Some(parts) => (parts.engine.clone(), parts.instruments.clone()),
            None => return "open orders, open positions: not known, look at the venue".to_owned(),
        };
        let Some(engine) = engine else {
            return "open orders, open positions: trading had not begun or had ended".to_owned();
        };
        let left = summary::left_open(&engine.status(), &instruments);
        let section = |title: &str, lines: &[String]| match lines {
            [] => format!("{title}: none"),
            lines => format!("{title}: {}\n  {}", lines.len(), lines.join("\n  ")),
        };
        [
            section("still open: orders", &left.orders),
            section("order of unknown state", &left.unknown_orders),
            section("open positions", &left.positions),
        ]
        .join("\n")
    });
}

/// Whose books a journal holds: a folder of another mode or account is never opened.
pub fn books_of(config: &Config) -> String {
    match config.mode {
        Mode::Live => format!("{} {}", config.mode, config.account),
        Mode::Paper => config.mode.to_string(),
    }
}

/// Opens the journal on a thread of its own, because it waits for the disk.
async fn open_journal(context: &RunContext, shared: &Shared) -> Result<(Journal, Recovered), LaunchError> {
    let config = &shared.config;
    let durability = match config.durability {
        DurabilityChoice::Power => Durability::Power,
        DurabilityChoice::Lease => Durability::Lease,
        DurabilityChoice::Process => Durability::Process,
    };
    // The embedded venue's books end with the process; every other venue remembers the ids of earlier runs.
    let seconds = u32::try_from(context.clock.now_ns() / 1_000_000_000).unwrap_or(0);
    let options = JournalOptions {
        epoch_min: if matches!(config.venue, Venue::Embedded) { 0 } else { seconds },
        durability,
        clock: context.clock.clone(),
        ledger: context.ledger.clone(),
        ..JournalOptions::new(shared.folder.join("journal"), books_of(config), shared.instance)
    };
    let parts = shared.parts.clone();
    off_runtime(context, OPEN_JOURNAL, move || {
        let opened = Journal::open_unread(options).map_err(|error| LaunchError::start("journal", error))?;
        // Where the stop plan finds it even when nobody waits for it any more.
        parts.lock().journal = Some(opened.0.clone());
        Ok(opened)
    })
    .await?
}

/// Asks the venue for the instruments and checks that each that was asked for is there and can be traded.
pub async fn instruments(
    client: &dyn ExchangeClient,
    access: &Access,
    config: &Config,
) -> Result<Instruments, LaunchError> {
    let failed = |error: ExchangeError| LaunchError::start(&access.name, error);
    // A recording, or a simulated venue that may play one, says itself what it holds.
    let is_simulated = matches!(&config.venue, Venue::Remote(it) if it.is_simulated);
    let is_all = config.symbols_are_default && (config.replay.is_some() || is_simulated);
    let wanted: Vec<String> =
        if is_all { Vec::new() } else { config.symbols.iter().map(ToString::to_string).collect() };
    let (time, found) = tokio::join!(client.server_time(), client.instruments(&wanted));
    time.map_err(failed)?;
    let found: Vec<Instrument> = found.map_err(|error| match &error {
        ExchangeError::Refused { code: -1121 | -1100, .. } => unknown_symbol(&wanted.join(", "), &access.name),
        _ => failed(error),
    })?;
    let mut instruments = Instruments::new();
    for instrument in found {
        let symbol = instrument.symbol;
        if !instrument.status.is_tradable() {
            // Refusing would leave what is open there alone: orders and positions of an earlier run are looked after.
            out::note(&format!(
                "warning: {symbol} is {:?} at {}: nothing is placed on it and its entries are cancelled until it is open again",
                instrument.status, access.name
            ));
        }
        instruments
            .upsert(instrument)
            .ok_or_else(|| LaunchError::refused(&access.name, "too many instruments; name fewer in `venue.symbols`"))?;
    }
    if let Some(missing) = wanted.iter().find(|symbol| instruments.by_symbol(symbol).is_none()) {
        return Err(unknown_symbol(missing, &access.name));
    }
    let quotes: std::collections::BTreeSet<_> = instruments.iter().map(|it| it.quote).collect();
    if quotes.len() != 1 {
        let quotes = quotes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(LaunchError::refused(
            &access.name,
            format!(
                "the instruments are priced in different assets ({quotes}), and limits are in one; trade those of one quote asset per run"
            ),
        ));
    }
    Ok(instruments)
}

fn unknown_symbol(symbol: &str, venue: &str) -> LaunchError {
    LaunchError::refused(
        venue,
        format!(
            "it does not know the instrument {symbol}; `launcher list-markets` shows what it trades, `venue.symbols` or --symbols names it"
        ),
    )
}

/// What is needed to put a trading system together.
struct Trading {
    context: RunContext,
    shared: Shared,
    instruments: Arc<Instruments>,
    journal: Journal,
}

impl Trading {
    async fn assemble(
        &self,
        recovered: Recovered,
        access: &Access,
        client: Arc<dyn ExchangeClient>,
    ) -> Result<CoordinatorHandle, LaunchError> {
        let strategies = strategies::build(&self.shared.config, &self.instruments)?;
        let subscriptions = subscriptions(&strategies, &self.instruments);
        let rules_client = client.clone();
        let connected = access.connect(&self.context, &self.shared.config, &self.instruments, client, subscriptions)?;
        connected.client.set_instruments(self.instruments.clone());
        connected.escape_client.set_instruments(self.instruments.clone());
        connected.books_client.set_instruments(self.instruments.clone());
        {
            let mut parts = self.shared.parts.lock();
            parts.clients.push(connected.client.clone());
            parts.clients.push(connected.escape_client.clone());
            parts.clients.push(connected.books_client.clone());
        }
        drop(strategies);
        let maker = EngineMaker::new(&self.shared, &self.instruments, connected.client.capabilities(), &recovered);
        let engine = recover::replay(&self.context, &self.journal, &recovered, &maker).await?;
        self.begin_session(&recovered).await?;
        database::follow(&self.context, &self.shared, &self.journal, &recovered, maker.execution());
        let keys = Record::Strategies(engine.strategy_keys().to_vec());
        drop(self.journal.append(&keys).map_err(|error| LaunchError::start("journal", error))?);
        recover::start_snapshots(&self.context, &self.journal, &recovered, &maker)?;
        let lanes = Arc::new(Lanes::new(LaneCapacity::default(), self.context.stop.clone()));
        let account = Arc::new(ExecutionSink::new(lanes.clone(), self.context.clock.clone()));
        let clients = (connected.client.clone(), connected.books_client.clone());
        let (coordinator, handle) = self.coordinator(engine, &lanes, &account, clients);
        let escape = Arc::new(EscapePath {
            board: handle.board().clone(),
            client: connected.escape_client,
            journal: self.journal.clone(),
            gate: self.shared.gate.clone(),
            clock: self.context.clock.clone(),
            limits: EscapeLimits::default(),
        });
        self.arm_escape(&escape);
        {
            let mut parts = self.shared.parts.lock();
            parts.engine = Some(handle.clone());
            parts.escape = Some(escape);
        }
        let spawn = |name: &str| group(&self.context, name);
        let account_feed = connected.account_feed;
        spawn(groups::ACCOUNT).spawn_with("account", TaskKind::Critical, |stop| account_feed.run(account, stop));
        let (market_feed, sink) = (connected.market_feed, Arc::new(MarketSink::new(lanes)));
        spawn(groups::MARKET).spawn_with("market", TaskKind::Critical, |stop| market_feed.run(sink, stop));
        spawn(groups::ENGINE).spawn_with("coordinator", TaskKind::Critical, |stop| coordinator.run(stop));
        let (engine, known) = (handle.clone(), self.instruments.clone());
        spawn(groups::MARKET).spawn_with("rules", TaskKind::Background, |stop| {
            watch_rules(rules_client, engine, known, RULES_INTERVAL, stop)
        });
        let watch = handle.clone();
        let stop_signal = self.context.stop.clone();
        control_group(&self.context).spawn_with("engine-watch", TaskKind::Background, |token| {
            watch.watch_engine(stop_signal, STUCK_ALERT, STUCK_STOP, token)
        });
        Ok(handle)
    }

    fn coordinator(
        &self,
        engine: Engine,
        lanes: &Arc<Lanes>,
        account: &Arc<ExecutionSink>,
        (client, books_client): (Arc<dyn ExchangeClient>, Arc<dyn ExchangeClient>),
    ) -> (Coordinator, CoordinatorHandle) {
        let latency = Arc::new(LatencyRecorder::new());
        let (stop, clock) = (self.context.stop.clone(), self.context.clock.clone());
        let gateway = OrderGateway::new(OrderGatewayParts {
            client,
            books_client,
            lanes: lanes.clone(),
            journal: self.journal.clone(),
            gate: self.shared.gate.clone(),
            latency: latency.clone(),
            group: group(&self.context, groups::REQUESTS),
            stop: stop.clone(),
            clock: clock.clone(),
            limits: GatewayLimits::default(),
        });
        Coordinator::new(CoordinatorParts {
            engine,
            // Replayed already.
            records: Vec::new(),
            lanes: lanes.clone(),
            gateway,
            account: Some(account.clone()),
            journal: self.journal.clone(),
            gate: self.shared.gate.clone(),
            board: Arc::new(OpenOrderBoard::new()),
            latency,
            stop,
            clock,
            observer: observe::observer(
                self.shared.tally.clone(),
                self.shared.recent.clone(),
                self.instruments.clone(),
            ),
            limits: CoordinatorLimits::default(),
        })
    }

    /// The first record of the run: every later id in the journal refers to its symbols.
    async fn begin_session(&self, recovered: &Recovered) -> Result<(), LaunchError> {
        if recovered.torn_tail_bytes > 0 {
            tracing::warn!(
                bytes = recovered.torn_tail_bytes,
                "journal: torn tail truncated, the last write was cut short"
            );
        }
        if !recovered.was_clean {
            tracing::warn!(
                records = recovered.records_total,
                "the last run did not end in order; its orders are looked up at the venue"
            );
        }
        let config = &self.shared.config;
        let start = SessionStart {
            ts: Timestamp::from_ns(self.context.clock.now_ns()),
            instance: recovered.instance,
            epoch: recovered.epoch,
            mode: config.mode.to_string(),
            program: format!("keel launcher {}", env!("CARGO_PKG_VERSION")),
            config_hash: super::config_hash(config),
            symbols: self.instruments.iter().map(|it| it.symbol).collect(),
        };
        begin_session(&self.journal, start, SESSION_LIMIT).await.map_err(|error| LaunchError::start("journal", error))
    }

    /// What the watchdog does when the trading runtime no longer answers.
    fn arm_escape(&self, escape: &Arc<EscapePath>) {
        let (escape, policy) = (escape.clone(), self.shared.config.on_exit);
        self.context.watchdog.on_escape(move |_cause| {
            let escape = escape.clone();
            async move {
                match scope(policy) {
                    Some(scope) => escape.cancel_all(scope, ESCAPE_LIMIT).await.to_string(),
                    None => format!("orders are kept, as the exit policy says: {}", escape.board.len()),
                }
            }
        });
    }

    fn announce(&self, engine: &CoordinatorHandle, is_halted: bool) {
        let took = self.context.clock.since(self.shared.began_mono_ns);
        if is_halted {
            out::note(
                "trading: HALTED, an emergency stop is latched; look at `launcher status`, then `launcher rearm`",
            );
        } else {
            out::note(&format!("trading: ready after {:.0} ms", took.as_secs_f64() * 1e3));
        }
        drop(self.context.monitor.sample());
        super::heartbeat::spawn(&self.context, &self.shared, engine.clone());
        let venue = self.shared.parts.lock().venue.as_ref().map(VenueProcess::handle);
        if let Some(venue) = venue.filter(|_| self.shared.config.replay.is_some()) {
            let stop = self.context.stop.clone();
            control_group(&self.context)
                .spawn_with("recording", TaskKind::Background, |token| watch_end(venue, stop, token));
        }
    }
}

/// What the escape path cancels under an exit policy.
const fn scope(policy: ExitPolicy) -> Option<EscapeScope> {
    match policy {
        ExitPolicy::CancelEntries => Some(EscapeScope::KeepProtective),
        ExitPolicy::CancelAll | ExitPolicy::Flatten => Some(EscapeScope::All),
        ExitPolicy::Keep => None,
    }
}

/// What all strategies together want to hear. The top of the book is always needed: risk judges by it.
fn subscriptions(strategies: &[Box<dyn Strategy>], instruments: &Instruments) -> Vec<Subscription> {
    let wishes: Vec<keel_strategy::Subscription> = strategies.iter().flat_map(|it| it.subscriptions()).collect();
    let of = |instrument: &Instrument| {
        let own = || wishes.iter().filter(|wish| wish.instrument == instrument.id);
        Subscription {
            instrument: instrument.id,
            top_of_book: true,
            depth: own().any(|wish| wish.depth),
            trades: own().any(|wish| wish.trades || wish.bar_interval.is_some()),
        }
    };
    instruments.iter().map(of).collect()
}

/// The engine's configuration; the same for live, paper and replay.
#[must_use]
pub fn engine_config(
    config: &Config,
    instruments: &Instruments,
    capabilities: &Capabilities,
    instance: u32,
    epoch: u32,
) -> EngineConfig {
    let risk = &config.risk;
    let unknown_rule = unknown_rule(capabilities.unknown_resolution, config.staleness_bound);
    EngineConfig {
        instruments: instruments.clone(),
        limits: risk.limits(instruments.iter().next().map(|it| it.quote).unwrap_or_default()),
        execution: ExecutionConfig {
            instance,
            epoch,
            unknown_rule,
            recv_window_ms: whole_ms(config.recv_window).max(1),
            unfilled_timeout_ms: config.entry_timeout.map(whole_ms),
            exit_timeout_ms: config.exit_timeout.map(whole_ms),
            ..ExecutionConfig::default()
        },
        has_replace: capabilities.has_replace,
        reconcile_interval_ms: whole_ms(config.reconcile_interval),
        holds_on_foreign: config.holds_on_foreign,
        exit_timeouts_max: config.exit_timeouts_max,
        ..EngineConfig::default()
    }
}

/// What resolves an order of unknown outcome. Repeating a request under an idempotency key is not done here: nothing is ever
/// resent, so such a venue is held like one that offers nothing.
fn unknown_rule(resolution: UnknownResolution, bound: Option<Duration>) -> UnknownRule {
    match resolution {
        UnknownResolution::Fence { staleness_bound, staleness_bound_degraded, .. } => {
            let bound = bound.unwrap_or(staleness_bound);
            UnknownRule::Fence {
                staleness_bound_ms: whole_ms(bound),
                staleness_bound_degraded_ms: whole_ms(staleness_bound_degraded.max(bound)),
            }
        }
        UnknownResolution::IdempotencyKey(_) | UnknownResolution::Hold => UnknownRule::Hold,
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_02_v_06_only_a_fence_proves_that_an_order_was_never_accepted() {
        let second = Duration::from_secs(1);
        let fence = UnknownResolution::Fence {
            recv_window: second * 5,
            staleness_bound: second * 10,
            staleness_bound_degraded: second * 60,
        };
        let rule =
            |bound, degraded| UnknownRule::Fence { staleness_bound_ms: bound, staleness_bound_degraded_ms: degraded };
        assert_eq!(unknown_rule(fence, None), rule(10_000, 60_000));
        assert_eq!(unknown_rule(fence, Some(second * 2)), rule(2_000, 60_000));
        assert_eq!(unknown_rule(fence, Some(second * 90)), rule(90_000, 90_000), "never less while the venue errs");
        assert_eq!(unknown_rule(UnknownResolution::IdempotencyKey(second), None), UnknownRule::Hold);
        assert_eq!(unknown_rule(UnknownResolution::Hold, Some(second)), UnknownRule::Hold);
    }
}
