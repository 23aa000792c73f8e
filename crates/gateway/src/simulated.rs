//! A venue inside the process: real public data in, simulated fills out. For paper trading against a real market without
//! an account there, and for tests.
//!
//! The market data goes through the matching engine before it is conflated (wrap the feed's sink with
//! [`SimulatedVenue::feed_sink`]); orders rest in front of the recorded liquidity and never move it. Invariant: everything
//! that an account stream would say is said through the sink of [`SimulatedVenue::account_feed`], answers included.

use async_trait::async_trait;
use keel_exchange::{
    AccountFeed, AccountSink, Capabilities, ExchangeClient, ExchangeError, FeedSink, MarketDataFeed, SentInfo,
    UnknownResolution,
};
use keel_lifecycle::Clock;
use keel_model::{
    Asset, Balance, CancelOrder, CancelOutcome, ClientOrderId, ExecType, ExecutionReport, FeedState, Fill, InlineStr,
    Instrument, InstrumentId, Instruments, Liquidity, MarketEvent, NewOrder, NotSentReason, Notional, OrderSnapshot,
    OrderType, Price, QueryOrder, QueryOutcome, ReplaceOrder, ReplaceOutcome, StreamKind, SubmitAck, SubmitOutcome,
    TimeInForce, Timestamp, TradeId, UnknownReason, VenueOrderId,
};
use keel_sim::rng::Rng;
use keel_sim::{
    AccountId, AccountTrade, CancelReplace, CancelRequest, ClientId, ExecReport, LatencyModel, MarketKind,
    MatchingEngine, OrderRef, OrderRequest, OrderSize, OrderView, ReplaceMode, SimConfig, SimError, SimEvent,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The receive window that the simulated venue is told; it has no clock of its own to differ from ours.
const RECV_WINDOW: Duration = Duration::from_secs(5);

const CAPABILITIES: Capabilities = Capabilities {
    venue: "simulated",
    order_types: &[
        OrderType::Market,
        OrderType::Limit,
        OrderType::LimitMaker,
        OrderType::StopLoss,
        OrderType::StopLossLimit,
        OrderType::TakeProfit,
        OrderType::TakeProfitLimit,
    ],
    times_in_force: &[TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok],
    has_replace: true,
    has_reduce_only: false,
    cancel_all_hits_foreign_orders: false,
    client_order_id_length_max: 36,
    // Its books answer at once and always; what they do not have was never accepted.
    unknown_resolution: UnknownResolution::Fence {
        recv_window: RECV_WINDOW,
        staleness_bound: Duration::from_millis(1),
        staleness_bound_degraded: Duration::from_millis(1),
    },
    connection_lifetime_max: None,
};

#[derive(Debug)]
struct State {
    engine: MatchingEngine,
    account: AccountId,
    rng: Rng,
    events: Vec<SimEvent>,
    /// Reports made before the account stream was up; the stream brings none of them, as at a real venue.
    sink: Option<SinkSlot>,
}

struct SinkSlot(Arc<dyn AccountSink>);

impl std::fmt::Debug for SinkSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountSink")
    }
}

/// The venue; clones share it.
#[derive(Clone, Debug)]
pub struct SimulatedVenue {
    state: Arc<Mutex<State>>,
    instruments: Arc<Instruments>,
    latency: LatencyModel,
    clock: Clock,
}

impl SimulatedVenue {
    /// A venue that trades `instruments` under their own ids, with one account that holds `balances`.
    pub fn new(
        instruments: Arc<Instruments>,
        balances: &[(Asset, Notional)],
        config: SimConfig,
        clock: Clock,
    ) -> Result<Self, SimError> {
        // Market data comes from outside and need not come back out.
        let mut engine = MatchingEngine::new(SimConfig { publish_market_data: false, ..config });
        for instrument in instruments.iter() {
            engine.add_market(instrument.clone(), MarketKind::External)?;
        }
        let account = engine.add_account(balances)?;
        let rng = Rng::new(config.seed);
        let state = State { engine, account, rng, events: Vec::with_capacity(64), sink: None };
        Ok(Self { state: Arc::new(Mutex::new(state)), instruments, latency: config.latency, clock })
    }

    /// A client of its own; any number of them may be open.
    #[must_use]
    pub fn client(&self) -> SimulatedClient {
        SimulatedClient { venue: self.clone(), is_closed: AtomicBool::new(false) }
    }

    /// The account stream.
    #[must_use]
    pub fn account_feed(&self) -> Box<dyn AccountFeed> {
        Box::new(SimulatedAccountFeed { venue: self.clone() })
    }

    /// Puts the matching engine in front of `inner`: each event is matched against our orders, then handed on.
    #[must_use]
    pub fn feed_sink(&self, inner: Arc<dyn FeedSink>) -> Arc<dyn FeedSink> {
        Arc::new(MatchingSink { venue: self.clone(), inner })
    }

    /// Puts the matching engine behind `feed`, so that one task runs both.
    #[must_use]
    pub fn market_feed(&self, feed: Box<dyn MarketDataFeed>) -> Box<dyn MarketDataFeed> {
        Box::new(MatchedFeed { venue: self.clone(), feed })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.clock.run_ns())
    }

    /// Runs `act` on the engine and tells the account stream what happened.
    fn with<T>(&self, act: impl FnOnce(&mut MatchingEngine, AccountId) -> T) -> T {
        let now = self.now();
        let mut state = self.state.lock();
        let account = state.account;
        let result = act(&mut state.engine, account);
        let mut events = std::mem::take(&mut state.events);
        state.engine.drain_events(&mut events);
        let sink = state.sink.as_ref().map(|slot| slot.0.clone());
        if let Some(sink) = sink {
            // Under the lock, so that reports keep their order; sinks never block.
            for event in &events {
                tell(sink.as_ref(), event, account, now);
            }
        }
        events.clear();
        state.events = events;
        result
    }

    fn delays(&self) -> (Duration, Duration) {
        let mut state = self.state.lock();
        let mut jitter = |span: Duration| {
            let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            Duration::from_nanos(if span_ns == 0 { 0 } else { state.rng.below(span_ns) })
        };
        let latency = self.latency;
        (latency.order_in + jitter(latency.order_in_jitter), latency.report_out + jitter(latency.report_out_jitter))
    }
}

fn tell(sink: &dyn AccountSink, event: &SimEvent, account: AccountId, now: Timestamp) {
    match event {
        SimEvent::Execution(report) if report.order.account == account => sink.on_report(report_of(report, now)),
        SimEvent::Balances(update) if update.account == account => {
            sink.on_balances(vec![update.base, update.quote], update.ts);
        }
        _ => {}
    }
}

// ── From the simulator's words to ours ──

fn client_id_of(id: &ClientId) -> Option<ClientOrderId> {
    id.as_str().parse().ok()
}

fn venue_id_of(order_id: u64) -> VenueOrderId {
    InlineStr::truncated(&order_id.to_string())
}

fn given(price: Price) -> Option<Price> {
    (!price.is_zero()).then_some(price)
}

fn report_of(report: &ExecReport, now: Timestamp) -> ExecutionReport {
    let order = &report.order;
    ExecutionReport {
        exec_type: report.exec_type,
        client_order_id: client_id_of(&order.client_order_id),
        venue_order_id: venue_id_of(order.order_id),
        instrument: order.instrument,
        side: order.side,
        status: order.state.to_model(),
        quantity: order.quantity,
        price: given(order.price),
        cum_quantity: order.cum_quantity,
        fill: fill_of_report(report),
        ts_event: report.ts_transact,
        ts_recv: now,
        text: InlineStr::EMPTY,
    }
}

fn fill_of_report(report: &ExecReport) -> Option<Fill> {
    if report.exec_type != ExecType::Trade {
        return None;
    }
    Some(Fill {
        trade_id: trade_id_of(report.trade_id?),
        instrument: report.order.instrument,
        side: report.order.side,
        price: report.last_price,
        quantity: report.last_quantity,
        fee: report.fee,
        fee_asset: report.fee_asset?,
        liquidity: liquidity_of(report.is_maker),
        ts_event: report.ts_transact,
    })
}

fn fill_of_trade(trade: &AccountTrade) -> Fill {
    Fill {
        trade_id: trade_id_of(trade.trade_id),
        instrument: trade.instrument,
        side: trade.side,
        price: trade.price,
        quantity: trade.quantity,
        fee: trade.fee,
        fee_asset: trade.fee_asset,
        liquidity: liquidity_of(trade.is_maker),
        ts_event: trade.ts,
    }
}

fn trade_id_of(id: u64) -> TradeId {
    InlineStr::truncated(&id.to_string())
}

const fn liquidity_of(is_maker: bool) -> Liquidity {
    if is_maker { Liquidity::Maker } else { Liquidity::Taker }
}

fn snapshot_of(order: &OrderView) -> OrderSnapshot {
    OrderSnapshot {
        client_order_id: client_id_of(&order.client_order_id),
        venue_order_id: venue_id_of(order.order_id),
        instrument: order.instrument,
        side: order.side,
        order_type: Some(order.order_type),
        time_in_force: Some(order.time_in_force),
        status: order.state.to_model(),
        quantity: order.quantity,
        price: given(order.price),
        stop_price: given(order.stop_price),
        cum_quantity: order.cum_quantity,
        cum_quote: Some(order.cum_quote),
        ts_event: order.ts_updated,
    }
}

fn request_of(order: &NewOrder) -> OrderRequest {
    let intent = &order.intent;
    OrderRequest {
        client_order_id: sim_id(order.client_order_id),
        instrument: intent.instrument,
        side: intent.side,
        order_type: intent.order_type,
        time_in_force: intent.time_in_force,
        size: OrderSize::Base(intent.quantity),
        price: intent.price,
        stop_price: intent.stop_price,
        stp_mode: None,
        reduce_only: intent.reduce_only,
    }
}

fn sim_id(id: ClientOrderId) -> ClientId {
    InlineStr::truncated(&id.to_string())
}

fn cancel_of(cancel: &CancelOrder) -> CancelRequest {
    CancelRequest::new(cancel.instrument, OrderRef::Client(sim_id(cancel.client_order_id)))
}

fn accepted(order: &OrderView, fills: &[ExecReport], now: Timestamp) -> SubmitOutcome {
    SubmitOutcome::Accepted(SubmitAck {
        venue_order_id: venue_id_of(order.order_id),
        ts_event: order.ts_created,
        status: order.state.to_model(),
        reports: fills.iter().map(|report| report_of(report, now)).collect(),
    })
}

// ── Client ──

/// [`ExchangeClient`] of a [`SimulatedVenue`].
#[derive(Debug)]
pub struct SimulatedClient {
    venue: SimulatedVenue,
    is_closed: AtomicBool,
}

impl SimulatedClient {
    fn check_open(&self) -> Result<(), ExchangeError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(ExchangeError::Closed { venue: CAPABILITIES.venue.to_owned() });
        }
        Ok(())
    }

    fn sent(&self, id: ClientOrderId, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) {
        let recv_window_ms = u64::try_from(RECV_WINDOW.as_millis()).unwrap_or(u64::MAX);
        on_sent(SentInfo { client_order_id: id, signed_at: self.venue.now(), recv_window_ms });
    }
}

#[async_trait]
impl ExchangeClient for SimulatedClient {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    async fn instruments(&self, symbols: &[String]) -> Result<Vec<Instrument>, ExchangeError> {
        self.check_open()?;
        let wanted = |instrument: &&Instrument| {
            symbols.is_empty() || symbols.iter().any(|symbol| symbol.as_str() == instrument.symbol.as_str())
        };
        Ok(self.venue.instruments.iter().filter(wanted).cloned().collect())
    }

    /// The ids are those that the venue was made with.
    fn set_instruments(&self, _instruments: Arc<Instruments>) {}

    async fn server_time(&self) -> Result<Timestamp, ExchangeError> {
        self.check_open()?;
        Ok(self.venue.now())
    }

    async fn submit(&self, order: &NewOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> SubmitOutcome {
        if self.check_open().is_err() {
            return SubmitOutcome::NotSent(NotSentReason::Closed);
        }
        let (way_in, way_out) = self.venue.delays();
        self.sent(order.client_order_id, on_sent);
        tokio::time::sleep(way_in).await;
        let now = self.venue.now();
        let outcome = self.venue.with(|engine, account| match engine.submit(now, account, &request_of(order)) {
            Ok(view) => accepted(&view, engine.last_fills(), now),
            Err(reject) => SubmitOutcome::Rejected(reject.to_model()),
        });
        tokio::time::sleep(way_out).await;
        outcome
    }

    async fn cancel(&self, cancel: &CancelOrder) -> CancelOutcome {
        if self.check_open().is_err() {
            return CancelOutcome::NotSent(NotSentReason::Closed);
        }
        let (way_in, way_out) = self.venue.delays();
        tokio::time::sleep(way_in).await;
        let now = self.venue.now();
        let result = self.venue.with(|engine, account| engine.cancel(now, account, &cancel_of(cancel)));
        tokio::time::sleep(way_out).await;
        match result {
            Ok(view) => CancelOutcome::Canceled(snapshot_of(&view)),
            Err(reject) => CancelOutcome::Rejected(reject.to_model()),
        }
    }

    async fn replace(&self, replace: &ReplaceOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> ReplaceOutcome {
        if self.check_open().is_err() {
            let reason = NotSentReason::Closed;
            return ReplaceOutcome { cancel: CancelOutcome::NotSent(reason), new: SubmitOutcome::NotSent(reason) };
        }
        let (way_in, way_out) = self.venue.delays();
        self.sent(replace.new.client_order_id, on_sent);
        tokio::time::sleep(way_in).await;
        let now = self.venue.now();
        let request = CancelReplace {
            cancel: cancel_of(&replace.cancel),
            new: request_of(&replace.new),
            mode: ReplaceMode::StopOnFailure,
        };
        let outcome = self.venue.with(|engine, account| match engine.cancel_replace(now, account, &request) {
            Err(reject) => ReplaceOutcome {
                cancel: CancelOutcome::Rejected(reject.to_model()),
                new: SubmitOutcome::Rejected(reject.to_model()),
            },
            Ok(result) => ReplaceOutcome {
                cancel: match &result.cancel {
                    Ok(view) => CancelOutcome::Canceled(snapshot_of(view)),
                    Err(reject) => CancelOutcome::Rejected(reject.to_model()),
                },
                new: match (&result.new, &result.cancel) {
                    (Some(Ok(view)), _) => accepted(view, engine.last_fills(), now),
                    (Some(Err(reject)), _) | (None, Err(reject)) => SubmitOutcome::Rejected(reject.to_model()),
                    (None, Ok(_)) => SubmitOutcome::Unknown(UnknownReason::Unclassified),
                },
            },
        });
        tokio::time::sleep(way_out).await;
        outcome
    }

    async fn query(&self, query: &QueryOrder) -> QueryOutcome {
        if self.check_open().is_err() {
            return QueryOutcome::Unknown(UnknownReason::ConnectionLost);
        }
        let venue_time_before = Some(self.venue.now());
        let which = OrderRef::Client(sim_id(query.client_order_id));
        match self.venue.with(|engine, account| engine.order(account, query.instrument, which)) {
            Ok(view) => QueryOutcome::Found(snapshot_of(&view)),
            Err(_) => QueryOutcome::NotFound { venue_time_before },
        }
    }

    async fn open_orders(&self, instrument: Option<InstrumentId>) -> Result<Vec<OrderSnapshot>, ExchangeError> {
        self.check_open()?;
        let all: Vec<InstrumentId> = self.venue.instruments.iter().map(|known| known.id).collect();
        let wanted = instrument.map_or(all, |one| vec![one]);
        Ok(self.venue.with(|engine, account| {
            let of = |id: InstrumentId| engine.open_orders(account, id).map(|view| snapshot_of(&view));
            wanted.iter().copied().flat_map(of).collect()
        }))
    }

    async fn fills(
        &self,
        instrument: InstrumentId,
        since: Timestamp,
    ) -> Result<Vec<(Option<ClientOrderId>, Fill)>, ExchangeError> {
        self.check_open()?;
        Ok(self.venue.with(|engine, account| {
            let trades = engine.account_trades(account, instrument).filter(|trade| trade.ts >= since);
            let with_order = |trade: &AccountTrade| {
                let order = engine.order(account, instrument, OrderRef::Id(trade.order_id)).ok();
                (order.and_then(|view| client_id_of(&view.client_order_id)), fill_of_trade(trade))
            };
            trades.map(with_order).collect()
        }))
    }

    async fn balances(&self) -> Result<Vec<Balance>, ExchangeError> {
        self.check_open()?;
        let is_held = |balance: &Balance| !(balance.free.is_zero() && balance.locked.is_zero());
        Ok(self.venue.with(|engine, account| engine.balances(account).into_iter().filter(is_held).collect()))
    }

    async fn close(&self) -> Result<(), ExchangeError> {
        self.is_closed.store(true, Ordering::Release);
        Ok(())
    }
}

// ── Feeds ──

#[derive(Debug)]
struct SimulatedAccountFeed {
    venue: SimulatedVenue,
}

#[async_trait]
impl AccountFeed for SimulatedAccountFeed {
    async fn run(self: Box<Self>, sink: Arc<dyn AccountSink>, stop: CancellationToken) -> Result<(), ExchangeError> {
        self.venue.state.lock().sink = Some(SinkSlot(sink.clone()));
        sink.on_state(FeedState::Live, self.venue.now());
        stop.cancelled().await;
        self.venue.state.lock().sink = None;
        sink.on_state(FeedState::Down, self.venue.now());
        Ok(())
    }
}

struct MatchingSink {
    venue: SimulatedVenue,
    inner: Arc<dyn FeedSink>,
}

impl FeedSink for MatchingSink {
    fn on_market(&self, event: &MarketEvent) {
        self.venue.with(|engine, _| {
            if let Err(reject) = engine.on_market(event) {
                tracing::debug!(%reject, "the simulated venue does not trade this instrument");
            }
        });
        self.inner.on_market(event);
    }

    fn on_state(&self, stream: StreamKind, state: FeedState, ts: Timestamp) {
        self.inner.on_state(stream, state, ts);
    }

    fn take_resync(&self) -> Option<InstrumentId> {
        self.inner.take_resync()
    }
}

#[derive(Debug)]
struct MatchedFeed {
    venue: SimulatedVenue,
    feed: Box<dyn MarketDataFeed>,
}

#[async_trait]
impl MarketDataFeed for MatchedFeed {
    async fn run(self: Box<Self>, sink: Arc<dyn FeedSink>, stop: CancellationToken) -> Result<(), ExchangeError> {
        let sink = self.venue.feed_sink(sink);
        self.feed.run(sink, stop).await
    }
}
