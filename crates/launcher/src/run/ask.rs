//! Verbs that ask a venue and trade nothing: `check`, the pre-flight, and `list-markets`.
//!
//! Both run under the same lifecycle as trading: signals, deadlines, an orderly stop, nothing left behind.

use super::market::{self, Access};
use super::parts::{Parts, Shared};
use super::{folder, plan, start};
use crate::cli::{Common, ListMarketsArgs, RunArgs};
use crate::config::secrets::Keys;
use crate::config::{self, Config, Mode, Venue};
use crate::error::LaunchError;
use crate::{logging, out, verbs};
use keel_exchange::{AccountSink, ExchangeClient, ExchangeError, FeedSink, Subscription};
use keel_lifecycle::{Clock, ExitStatus, Lifecycle, LifecycleConfig, Program, RunContext, StopReason, TaskKind};
use keel_model::{Balance, ExecutionReport, FeedState, Instruments, MarketEvent, StreamKind, Timestamp};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest wait for a stream to come up.
const STREAM_LIMIT: Duration = Duration::from_secs(15);
/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One line of the pre-flight.
#[derive(Clone, Debug)]
struct Row {
    what: &'static str,
    is_good: bool,
    detail: String,
}

type Rows = Arc<Mutex<Vec<Row>>>;

/// `launcher check`: everything that a run needs, without trading.
pub fn check(common: &Common, args: &RunArgs) -> Result<ExitStatus, LaunchError> {
    let clock = Clock::system();
    let layers = config::load_layers(common, args)?;
    let config = config::validate(&layers)?;
    let keys = super::keys(&config, args)?;
    let rows = Rows::default();
    let add = |what, is_good, detail: String| rows.lock().push(Row { what, is_good, detail });
    let files = common.config.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    add("configuration", true, if files.is_empty() { "defaults, variables and flags".to_owned() } else { files });
    let origin = keys.as_ref().map_or_else(|| "none needed".to_owned(), |keys| format!("from {}", keys.origin));
    add("keys", true, origin);
    match folder::probe(&config) {
        Ok(detail) => add("data folder", true, detail),
        Err(error) => add("data folder", false, error.to_string()),
    }
    let risk = &config.risk;
    add(
        "risk limits",
        true,
        format!(
            "order {}, position {}, daily loss {}",
            risk.order_notional_max, risk.position_notional_max, risk.daily_loss_max
        ),
    );
    let for_asking = rows.clone();
    let status = under_lifecycle(common, config, clock, "the check", move |context, shared| async move {
        ask_all(&context, &shared, keys, &for_asking).await
    })?;
    let rows = rows.lock().clone();
    let table: Vec<_> = rows
        .iter()
        .map(|row| vec![row.what.to_owned(), if row.is_good { "ok" } else { "FAILED" }.to_owned(), row.detail.clone()])
        .collect();
    verbs::show_list(common, &["check", "result", "detail"], &table);
    let failed = rows.iter().filter(|row| !row.is_good).count();
    if failed > 0 {
        out::note(&format!("{failed} {} failed; nothing was traded", if failed == 1 { "check" } else { "checks" }));
        return Ok(status.and(ExitStatus::Failed));
    }
    Ok(status)
}

/// `launcher list-markets`: what the venue trades.
pub fn list_markets(common: &Common, args: &ListMarketsArgs) -> Result<ExitStatus, LaunchError> {
    let run = RunArgs { venue: args.venue.clone(), symbols: args.symbols.clone(), ..RunArgs::default() };
    let layers = config::load_layers(common, &run)?;
    let mut config = config::validate(&layers)?;
    // Public data: no keys, whatever the mode.
    config.mode = Mode::Paper;
    let table: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let for_asking = table.clone();
    let status = under_lifecycle(common, config, Clock::system(), "the question", move |context, shared| async move {
        let access = market::open(&context, &shared, None).await?;
        let client = access.client();
        shared.parts.lock().clients.push(client.clone());
        let config = &shared.config;
        let wanted: Vec<String> = if config.symbols_are_default {
            Vec::new()
        } else {
            config.symbols.iter().map(ToString::to_string).collect()
        };
        let found = client.instruments(&wanted).await.map_err(|error| LaunchError::start(&access.name, error))?;
        let rows = found.iter().map(|it| {
            [
                it.symbol.to_string(),
                format!("{:?}", it.status),
                it.base.to_string(),
                it.quote.to_string(),
                it.tick_size.normalized().to_string(),
                it.lot.step.normalized().to_string(),
                it.min_notional.normalized().to_string(),
            ]
            .to_vec()
        });
        *for_asking.lock() = rows.collect();
        Ok(())
    })?;
    if status == ExitStatus::Clean {
        verbs::show_list(common, &["symbol", "status", "base", "quote", "tick", "step", "min_notional"], &table.lock());
    }
    Ok(status)
}

/// Runs questions under a lifecycle and stops in order.
pub(crate) fn under_lifecycle<F, Fut>(
    common: &Common,
    config: Config,
    clock: Clock,
    what: &'static str,
    ask: F,
) -> Result<ExitStatus, LaunchError>
where
    F: FnOnce(RunContext, Shared) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), LaunchError>> + Send + 'static,
{
    let mut log = config.log.clone();
    if !common.debug {
        log.level = log.level.min(tracing::Level::WARN);
    }
    let logging = logging::start(&log, None, out::may_colour(common.no_color))?;
    let shared = Shared {
        config: Arc::new(config),
        effective: Arc::default(),
        recent: None,
        parts: Arc::new(Mutex::new(Parts::default())),
        gate: Arc::default(),
        tally: Arc::default(),
        logging,
        folder: PathBuf::new(),
        instance: 1,
        began_mono_ns: clock.mono_ns(),
    };
    let lifecycle = Lifecycle::start(LifecycleConfig::default()).map_err(|error| LaunchError::start("start", error))?;
    let outcome = lifecycle.run(move |context| {
        let plan = plan::build(context, &shared).map_err(|error| LaunchError::start("stop plan", error))?;
        let (context, stop) = (context.clone(), context.stop.clone());
        Ok::<_, LaunchError>(Program::new(plan, async move {
            ask(context, shared).await?;
            stop.request(StopReason::Finished { what: what.to_owned() });
            Ok::<(), LaunchError>(())
        }))
    });
    for reason in outcome.reasons.iter().filter(|reason| reason.is_failure()) {
        out::note(&format!("error: {reason}"));
    }
    if outcome.errors == 0 { Ok(outcome.status()) } else { Ok(outcome.finish()) }
}

/// Asks everything that can be asked; what fails is a row, and the questions that can still be asked are.
async fn ask_all(context: &RunContext, shared: &Shared, keys: Option<Keys>, rows: &Rows) -> Result<(), LaunchError> {
    let add = |what, is_good, detail: String| rows.lock().push(Row { what, is_good, detail });
    let access = match market::open(context, shared, keys.as_ref()).await {
        Ok(access) => access,
        Err(error) => {
            add("venue", false, error.to_string());
            return Ok(());
        }
    };
    let client = access.client();
    shared.parts.lock().clients.push(client.clone());
    if !ask_time(context, shared, &access, client.as_ref(), rows).await {
        return Ok(());
    }
    let instruments = match start::instruments(client.as_ref(), &access, &shared.config).await {
        Ok(instruments) => Arc::new(instruments),
        Err(error) => {
            add("instruments", false, error.to_string());
            return Ok(());
        }
    };
    client.set_instruments(instruments.clone());
    ask_instruments(&shared.config, &instruments, rows);
    if matches!(shared.config.venue, Venue::Embedded) || keys.is_some() {
        ask_account(client.as_ref(), rows).await;
    }
    ask_streams(context, shared, &access, &instruments, client, rows).await;
    Ok(())
}

async fn ask_time(
    context: &RunContext,
    shared: &Shared,
    access: &Access,
    client: &dyn ExchangeClient,
    rows: &Rows,
) -> bool {
    let began = context.clock.mono_ns();
    let time = client.server_time().await;
    let took_ms = context.clock.since(began).as_secs_f64() * 1e3;
    let mut rows = rows.lock();
    if let Err(error) = time {
        rows.push(Row { what: "connectivity", is_good: false, detail: error.to_string() });
        return false;
    }
    rows.push(Row {
        what: "connectivity",
        is_good: true,
        detail: format!("{} answered in {took_ms:.1} ms", access.name),
    });
    let (offset_ns, trip_ns) = access.clock_offset_ns().unwrap_or_default();
    let offset_ms = offset_ns as f64 / 1e6;
    // The offset is measured and used when signing, so only a wild one is a failure: this machine's clock is then wrong.
    let is_good = offset_ms.abs() < shared.config.recv_window.as_secs_f64() * 1e3;
    let remedy = if is_good { "" } else { "; set this machine's clock (NTP)" };
    let detail = format!("{offset_ms:.1} ms, measured within {:.1} ms{remedy}", trip_ns as f64 / 1e6);
    rows.push(Row { what: "clock offset", is_good, detail });
    true
}

fn ask_instruments(config: &Config, instruments: &Instruments, rows: &Rows) {
    let mut rows = rows.lock();
    for instrument in instruments.iter() {
        let fits = instrument.min_notional <= config.risk.order_notional_max;
        let remedy = if fits { "" } else { "; `risk.order_notional_max_quote` is below the least value of an order" };
        let detail = format!(
            "{}: tick {}, step {}, least value {}{remedy}",
            instrument.symbol,
            instrument.tick_size.normalized(),
            instrument.lot.step.normalized(),
            instrument.min_notional.normalized()
        );
        rows.push(Row { what: "filters", is_good: fits, detail });
    }
}

async fn ask_account(client: &dyn ExchangeClient, rows: &Rows) {
    let (balances, orders) = tokio::join!(client.balances(), client.open_orders(None));
    let mut rows = rows.lock();
    let mut add = |what, result: Result<String, ExchangeError>| {
        let is_good = result.is_ok();
        rows.push(Row { what, is_good, detail: result.unwrap_or_else(|error| error.to_string()) });
    };
    let shown = |balances: Vec<Balance>| {
        let each = balances.iter().map(|it| format!("{} {}", it.free.normalized(), it.asset));
        each.collect::<Vec<_>>().join(", ")
    };
    add("account", balances.map(|balances| format!("key and signature accepted; free: {}", shown(balances))));
    add("open orders", orders.map(|orders| format!("{} on this account", orders.len())));
}

/// Remembers which streams have come up.
#[derive(Debug, Default)]
struct Seen {
    market: Mutex<BTreeSet<StreamKind>>,
    account: AtomicBool,
}

impl FeedSink for Seen {
    fn on_market(&self, event: &MarketEvent) {
        self.market.lock().insert(StreamKind::Market(event.instrument()));
    }

    fn on_state(&self, _stream: StreamKind, _state: FeedState, _ts: Timestamp) {}
}

impl AccountSink for Seen {
    fn on_report(&self, _report: ExecutionReport) {}

    fn on_balances(&self, _balances: Vec<Balance>, _ts_event: Timestamp) {}

    fn on_state(&self, state: FeedState, _ts: Timestamp) {
        self.account.store(state == FeedState::Live, Ordering::Release);
    }
}

async fn ask_streams(
    context: &RunContext,
    shared: &Shared,
    access: &Access,
    instruments: &Arc<Instruments>,
    client: Arc<dyn ExchangeClient>,
    rows: &Rows,
) {
    let all = Subscription { instrument: keel_model::InstrumentId(0), top_of_book: true, depth: false, trades: false };
    let subscriptions = instruments.iter().map(|it| Subscription { instrument: it.id, ..all }).collect();
    let connected = match access.connect(context, &shared.config, instruments, client, subscriptions) {
        Ok(connected) => connected,
        Err(error) => return rows.lock().push(Row { what: "streams", is_good: false, detail: error.to_string() }),
    };
    shared.parts.lock().clients.extend([connected.client, connected.books_client, connected.escape_client]);
    let seen = Arc::new(Seen::default());
    let began = context.clock.mono_ns();
    let (market_feed, account_feed) = (connected.market_feed, connected.account_feed);
    let (for_market, for_account) = (seen.clone(), seen.clone());
    let market = super::parts::group(context, super::parts::groups::MARKET);
    market.spawn_with("market", TaskKind::Background, |stop| market_feed.run(for_market, stop));
    let account = super::parts::group(context, super::parts::groups::ACCOUNT);
    account.spawn_with("account", TaskKind::Background, |stop| account_feed.run(for_account, stop));
    let is_up = || (seen.market.lock().len() == instruments.len(), seen.account.load(Ordering::Acquire));
    while is_up() != (true, true) && context.clock.since(began) < STREAM_LIMIT {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let took_ms = context.clock.since(began).as_secs_f64() * 1e3;
    let told = |is_good: bool, what: &str| {
        if is_good {
            format!("{what} within {took_ms:.0} ms")
        } else {
            format!("nothing came within {} s", STREAM_LIMIT.as_secs())
        }
    };
    let (market, account) = is_up();
    let mut rows = rows.lock();
    rows.push(Row { what: "market streams", is_good: market, detail: told(market, "data of every instrument") });
    rows.push(Row { what: "account stream", is_good: account, detail: told(account, "up") });
}
