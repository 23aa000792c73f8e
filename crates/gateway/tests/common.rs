//! What the gateway's tests share: a scripted venue, a disk that hangs, strategies that misbehave, and a whole run on them.

use async_trait::async_trait;
use keel_engine::{Engine, EngineConfig, Notice};
use keel_exchange::{Capabilities, ExchangeClient, ExchangeError, SentInfo, UnknownResolution};
use keel_execution::{ExecutionConfig, UnknownRule};
use keel_gateway::{
    Coordinator, CoordinatorHandle, CoordinatorLimits, CoordinatorParts, EscapeLimits, EscapePath, ExecutionSink,
    GatewayLimits, LaneCapacity, Lanes, LatencyRecorder, OpenOrderBoard, OrderGateway, OrderGatewayParts, SubmitGate,
    begin_session, recovered_records,
};
use keel_lifecycle::{Clock, Supervisor, TaskKind};
use keel_model::*;
use keel_risk::{Approved, RiskLimits, RiskService};
use keel_store::disk::{Disk, SystemDisk};
use keel_store::{Durability, Journal, JournalOptions, SessionStart};
use keel_strategy::{Context, Strategy, Subscription};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const BTC: InstrumentId = InstrumentId(0);

pub(crate) fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    let lot = instrument::LotRule {
        min: Quantity::new(1, 5).unwrap(),
        max: Quantity::new(9_000, 0).unwrap(),
        step: Quantity::new(1, 5).unwrap(),
    };
    let added = instruments.upsert(Instrument {
        id: InstrumentId(0),
        symbol: "BTCUSDT".parse().unwrap(),
        base: "BTC".parse().unwrap(),
        quote: "USDT".parse().unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: Price::new(1, 2).unwrap(),
        min_price: Price::new(1, 2).unwrap(),
        max_price: Price::new(1_000_000, 0).unwrap(),
        lot,
        market_lot: instrument::LotRule::default(),
        min_notional: Notional::from_int(5),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    });
    assert_eq!(added, Some(BTC));
    instruments
}

pub(crate) fn top(price: i64, ts: Timestamp) -> MarketEvent {
    let level =
        |price: i64| Level { price: Price::new(price, 2).unwrap(), quantity: Quantity::new(100_000, 5).unwrap() };
    MarketEvent::TopOfBook(TopOfBook {
        instrument: BTC,
        ts_event: ts,
        ts_recv: ts,
        update_id: ts.as_ns(),
        bid: level(price * 100 - 1),
        ask: level(price * 100 + 1),
    })
}

pub(crate) fn trade(price: i64, quantity: i64, ts: Timestamp) -> MarketEvent {
    MarketEvent::Trade(Trade {
        instrument: BTC,
        ts_event: ts,
        ts_recv: ts,
        trade_id: TradeId::new("1").unwrap(),
        price: Price::new(price * 100, 2).unwrap(),
        quantity: Quantity::new(quantity, 5).unwrap(),
        aggressor: Side::Sell,
    })
}

pub(crate) fn buy(price: i64, purpose: OrderPurpose) -> OrderIntent {
    OrderIntent::limit(BTC, Side::Buy, Quantity::new(100, 5).unwrap(), Price::new(price * 100, 2).unwrap(), purpose)
}

pub(crate) fn balances() -> Vec<Balance> {
    vec![Balance { asset: "USDT".parse().unwrap(), free: Notional::from_int(100_000), locked: Notional::ZERO }]
}

fn now(clock: &Clock) -> Timestamp {
    Timestamp::from_ns(clock.now_ns())
}

/// Orders approved by a real risk service, since nothing else can approve one.
pub(crate) fn approved(purpose: OrderPurpose, count: u64) -> Vec<Approved<NewOrder>> {
    let limits = RiskLimits { order_burst: 10_000, duplicate_window_ms: 0, ..RiskLimits::default() };
    let mut risk = RiskService::new(limits, &instruments()).unwrap();
    let ts = now(&Clock::system());
    risk.on_time(ts);
    risk.on_balances(&balances(), true, ts);
    risk.on_feed(BTC, true);
    risk.on_quote(BTC, Price::new(6_000_000, 2).unwrap(), Price::new(6_000_001, 2).unwrap(), ts);
    risk.set_state(TradingState::Active);
    (1..=count)
        .map(|sequence| {
            let client_order_id = ClientOrderId { instance: 7, epoch: 1, sequence };
            let order =
                NewOrder { client_order_id, strategy: StrategyId(0), ts_decided: ts, intent: buy(59_900, purpose) };
            risk.review(order, ts).unwrap()
        })
        .collect()
}

// ── Venue ──

/// What the venue does with the next placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSubmit {
    /// Takes it and says so.
    Accept,
    /// Refuses it.
    Reject,
    /// Takes it; the answer is lost.
    AcceptSilently,
    /// The request is lost after the first byte; the venue never sees it.
    LoseRequest,
    /// Waits without sending a byte.
    HangBeforeFirstByte,
    /// Sends, then never answers.
    HangAfterFirstByte,
    /// The client panics after the first byte.
    Panic,
}

#[derive(Debug, Default)]
struct Book {
    orders: BTreeMap<ClientOrderId, OrderSnapshot>,
    calls: Vec<String>,
}

/// A venue with a script. Clients made by [`FakeVenue::client`] share its books.
#[derive(Clone, Debug)]
pub(crate) struct FakeVenue {
    book: Arc<Mutex<Book>>,
    on_submit: Arc<Mutex<OnSubmit>>,
    /// Does it answer cancels?
    pub(crate) answers_cancels: Arc<AtomicBool>,
    pub(crate) answers_queries: Arc<AtomicBool>,
    next_id: Arc<AtomicU64>,
    is_quick: Arc<AtomicBool>,
    sent: Arc<Mutex<(u64, Option<Instant>)>>,
    clock: Clock,
    capabilities: Capabilities,
    /// What it says of its instruments; it refuses a question about one that is not there.
    pub(crate) rules: Arc<Mutex<Vec<Instrument>>>,
}

impl FakeVenue {
    pub(crate) fn new() -> Self {
        Self {
            book: Arc::default(),
            on_submit: Arc::new(Mutex::new(OnSubmit::Accept)),
            answers_cancels: Arc::new(AtomicBool::new(true)),
            answers_queries: Arc::new(AtomicBool::new(true)),
            next_id: Arc::new(AtomicU64::new(1)),
            is_quick: Arc::default(),
            sent: Arc::default(),
            rules: Arc::new(Mutex::new(instruments().iter().cloned().collect())),
            clock: Clock::system(),
            capabilities: Capabilities {
                venue: "fake",
                order_types: &[OrderType::Limit, OrderType::Market],
                times_in_force: &[TimeInForce::Gtc],
                has_replace: false,
                has_reduce_only: false,
                cancel_all_hits_foreign_orders: true,
                client_order_id_length_max: 36,
                unknown_resolution: UnknownResolution::Hold,
                connection_lifetime_max: None,
            },
        }
    }

    /// A venue that refuses everything at once and remembers only when it was called.
    pub(crate) fn quick() -> Self {
        let venue = Self::new();
        venue.on_submit(OnSubmit::Reject);
        venue.is_quick.store(true, Ordering::SeqCst);
        venue
    }

    pub(crate) fn sent_total(&self) -> u64 {
        self.sent.lock().0
    }

    pub(crate) fn last_sent(&self) -> Instant {
        self.sent.lock().1.expect("something was sent")
    }

    pub(crate) fn on_submit(&self, what: OnSubmit) {
        *self.on_submit.lock() = what;
    }

    pub(crate) fn client(&self) -> Arc<dyn ExchangeClient> {
        Arc::new(self.clone())
    }

    pub(crate) fn calls(&self, prefix: &str) -> usize {
        self.book.lock().calls.iter().filter(|call| call.starts_with(prefix)).count()
    }

    pub(crate) fn all_calls(&self) -> Vec<String> {
        self.book.lock().calls.clone()
    }

    pub(crate) fn open(&self) -> Vec<ClientOrderId> {
        let book = self.book.lock();
        book.orders.iter().filter(|(_, order)| !order.status.is_terminal()).map(|(id, _)| *id).collect()
    }

    fn fill(&self, id: ClientOrderId) -> OrderSnapshot {
        let mut book = self.book.lock();
        let order = book.orders.get_mut(&id).unwrap();
        order.status = OrderStatus::Filled;
        order.cum_quantity = order.quantity;
        *order
    }

    fn call(&self, what: String) {
        self.book.lock().calls.push(what);
    }

    fn take(&self, order: &NewOrder) -> OrderSnapshot {
        let number = self.next_id.fetch_add(1, Ordering::SeqCst);
        let snapshot = OrderSnapshot {
            client_order_id: Some(order.client_order_id),
            venue_order_id: VenueOrderId::new(&number.to_string()).unwrap(),
            instrument: order.intent.instrument,
            side: order.intent.side,
            order_type: Some(order.intent.order_type),
            time_in_force: Some(order.intent.time_in_force),
            status: OrderStatus::New,
            quantity: order.intent.quantity,
            price: order.intent.price,
            stop_price: None,
            cum_quantity: Quantity::ZERO,
            cum_quote: None,
            ts_event: now(&self.clock),
        };
        self.book.lock().orders.insert(order.client_order_id, snapshot);
        snapshot
    }
}

#[async_trait]
impl ExchangeClient for FakeVenue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn instruments(&self, symbols: &[String]) -> Result<Vec<Instrument>, ExchangeError> {
        self.call("instruments".to_owned());
        let rules = self.rules.lock().clone();
        let is_there = |symbol: &String| rules.iter().any(|it| it.symbol.as_str() == symbol);
        if !symbols.iter().all(is_there) {
            let (venue, what, text) = ("fake".into(), "the instruments".into(), "Invalid symbol.".into());
            return Err(ExchangeError::Refused { venue, what, status: 400, code: -1121, text });
        }
        Ok(rules)
    }

    fn set_instruments(&self, _instruments: Arc<Instruments>) {}

    async fn server_time(&self) -> Result<Timestamp, ExchangeError> {
        Ok(now(&self.clock))
    }

    async fn submit(&self, order: &NewOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> SubmitOutcome {
        if self.is_quick.load(Ordering::Relaxed) {
            let signed_at = now(&self.clock);
            let mut sent = self.sent.lock();
            *sent = (sent.0 + 1, Some(Instant::now()));
            drop(sent);
            on_sent(SentInfo { client_order_id: order.client_order_id, signed_at, recv_window_ms: 5_000 });
            return SubmitOutcome::Rejected(Reject {
                reason: RejectReason::Other,
                code: -1,
                text: "quick".parse().unwrap(),
            });
        }
        self.call(format!("submit {}", order.client_order_id));
        let what = *self.on_submit.lock();
        if what == OnSubmit::HangBeforeFirstByte {
            std::future::pending::<()>().await;
        }
        let signed_at = now(&self.clock);
        on_sent(SentInfo { client_order_id: order.client_order_id, signed_at, recv_window_ms: 5_000 });
        self.call(format!("sent {}", order.client_order_id));
        tokio::task::yield_now().await;
        match what {
            OnSubmit::Accept => {
                let order = self.take(order);
                SubmitOutcome::Accepted(SubmitAck {
                    venue_order_id: order.venue_order_id,
                    ts_event: order.ts_event,
                    status: order.status,
                    reports: vec![],
                })
            }
            OnSubmit::Reject => SubmitOutcome::Rejected(Reject {
                reason: RejectReason::InsufficientFunds,
                code: -2010,
                text: "insufficient".parse().unwrap(),
            }),
            OnSubmit::AcceptSilently => {
                self.take(order);
                SubmitOutcome::Unknown(UnknownReason::Timeout)
            }
            OnSubmit::LoseRequest => SubmitOutcome::Unknown(UnknownReason::ConnectionLost),
            OnSubmit::HangBeforeFirstByte | OnSubmit::HangAfterFirstByte => std::future::pending().await,
            OnSubmit::Panic => panic!("the adapter has a bug"),
        }
    }

    async fn cancel(&self, cancel: &CancelOrder) -> CancelOutcome {
        self.call(format!("cancel {}", cancel.client_order_id));
        if !self.answers_cancels.load(Ordering::SeqCst) {
            return CancelOutcome::Unknown(UnknownReason::Timeout);
        }
        let mut book = self.book.lock();
        match book.orders.get_mut(&cancel.client_order_id) {
            Some(order) if !order.status.is_terminal() => {
                order.status = OrderStatus::Canceled;
                CancelOutcome::Canceled(*order)
            }
            _ => CancelOutcome::Rejected(Reject {
                reason: RejectReason::UnknownOrder,
                code: -2011,
                text: "Unknown order sent.".parse().unwrap(),
            }),
        }
    }

    async fn replace(&self, _replace: &ReplaceOrder, _on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> ReplaceOutcome {
        unreachable!("this venue has no cancel-replace")
    }

    async fn query(&self, query: &QueryOrder) -> QueryOutcome {
        self.call(format!("query {}", query.client_order_id));
        if !self.answers_queries.load(Ordering::SeqCst) {
            return QueryOutcome::Unknown(UnknownReason::Timeout);
        }
        match self.book.lock().orders.get(&query.client_order_id) {
            Some(order) => QueryOutcome::Found(*order),
            None => QueryOutcome::NotFound { venue_time_before: Some(now(&self.clock)) },
        }
    }

    async fn open_orders(&self, _instrument: Option<InstrumentId>) -> Result<Vec<OrderSnapshot>, ExchangeError> {
        self.call("open_orders".to_owned());
        Ok(self.book.lock().orders.values().filter(|order| !order.status.is_terminal()).copied().collect())
    }

    async fn fills(
        &self,
        _instrument: InstrumentId,
        _since: Timestamp,
    ) -> Result<Vec<(Option<ClientOrderId>, Fill)>, ExchangeError> {
        self.call("fills".to_owned());
        Ok(vec![])
    }

    async fn balances(&self) -> Result<Vec<Balance>, ExchangeError> {
        self.call("balances".to_owned());
        Ok(balances())
    }

    async fn close(&self) -> Result<(), ExchangeError> {
        Ok(())
    }
}

// ── Disk ──

/// A disk whose syncs hang or fail when told to.
#[derive(Debug, Default)]
pub(crate) struct SlowDisk {
    held: Mutex<bool>,
    released: Condvar,
    pub(crate) fails: AtomicBool,
}

impl SlowDisk {
    pub(crate) fn hold(&self) {
        *self.held.lock() = true;
    }

    pub(crate) fn release(&self) {
        *self.held.lock() = false;
        self.released.notify_all();
    }
}

impl Disk for SlowDisk {
    fn reserve(&self, file: &File, bytes: u64) -> std::io::Result<()> {
        SystemDisk.reserve(file, bytes)
    }

    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        SystemDisk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> std::io::Result<()> {
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        drop(held);
        if self.fails.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("the disk is on fire"));
        }
        SystemDisk.sync_data(file)
    }
}

// ── Strategies ──

/// What the test's strategy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Places one order per quote, up to so many.
    Place(u32),
    /// Places two orders, then blocks its thread for ever at the third quote.
    BlockAfterTwo,
    /// Places two orders, then panics at the third quote.
    PanicAfterTwo,
}

#[derive(Debug)]
pub(crate) struct TestStrategy {
    habit: Habit,
    quotes: u32,
    /// Lets a blocked strategy go, so that the test can end.
    pub(crate) unblock: Arc<AtomicBool>,
}

impl Strategy for TestStrategy {
    fn name(&self) -> &str {
        "test"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(BTC)]
    }

    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, _top: &TopOfBook) {
        self.quotes += 1;
        let price = 59_000 + i64::from(self.quotes % 500);
        match (self.habit, self.quotes) {
            (Habit::Place(max), n) if n <= max => drop(ctx.submit(buy(price, OrderPurpose::Entry))),
            (Habit::BlockAfterTwo | Habit::PanicAfterTwo, 1 | 2) => drop(ctx.submit(buy(price, OrderPurpose::Entry))),
            (Habit::BlockAfterTwo, 3) => {
                while !self.unblock.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            (Habit::PanicAfterTwo, 3) => panic!("a strategy with a bug"),
            _ => {}
        }
    }
}

// ── A whole run ──

pub(crate) struct Run {
    pub(crate) venue: FakeVenue,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) handle: CoordinatorHandle,
    pub(crate) gateway: Arc<OrderGateway>,
    pub(crate) gate: Arc<SubmitGate>,
    pub(crate) account: Arc<ExecutionSink>,
    pub(crate) supervisor: Supervisor,
    pub(crate) journal: Journal,
    pub(crate) disk: Arc<SlowDisk>,
    pub(crate) notices: Arc<Mutex<Vec<Notice>>>,
    pub(crate) unblock: Arc<AtomicBool>,
    pub(crate) clock: Clock,
    pub(crate) epoch: u32,
    pub(crate) inline: keel_gateway::InlineSink,
    thread: Option<keel_lifecycle::ThreadHandle<keel_lifecycle::TaskEnd>>,
}

pub(crate) fn limits() -> RiskLimits {
    RiskLimits { order_burst: 1_000_000, duplicate_window_ms: 0, ..RiskLimits::default() }
}

/// Starts a run on `folder` and `venue`; the account stream is not up yet.
pub(crate) async fn start(folder: &Path, venue: &FakeVenue, habit: Habit) -> Run {
    start_with(folder, venue, habit, Durability::Power).await
}

/// The same with a durability.
pub(crate) async fn start_with(folder: &Path, venue: &FakeVenue, habit: Habit, durability: Durability) -> Run {
    let disk = Arc::new(SlowDisk::default());
    let supervisor = Supervisor::default();
    let options = JournalOptions {
        segment_bytes: 1 << 18,
        durability,
        disk: disk.clone(),
        ledger: supervisor.ledger(),
        ..JournalOptions::new(folder, "paper", 7)
    };
    let (journal, recovered) = Journal::open(options).unwrap();
    let (clock, instruments) = (supervisor.clock(), instruments());
    let records = recovered_records(recovered.records, &instruments).unwrap();
    let session = SessionStart {
        instance: recovered.instance,
        epoch: recovered.epoch,
        symbols: instruments.iter().map(|instrument| instrument.symbol).collect(),
        ..SessionStart::default()
    };
    begin_session(&journal, session, SOON).await.unwrap();
    let lanes = Arc::new(Lanes::new(LaneCapacity::default(), supervisor.stop_signal()));
    let gate = Arc::new(SubmitGate::new());
    let latency = Arc::new(LatencyRecorder::new());
    let gateway = OrderGateway::new(OrderGatewayParts {
        client: venue.client(),
        books_client: venue.client(),
        lanes: lanes.clone(),
        journal: journal.clone(),
        gate: gate.clone(),
        latency: latency.clone(),
        group: supervisor.group("execution").on(tokio::runtime::Handle::current()),
        stop: supervisor.stop_signal(),
        clock: clock.clone(),
        limits: GatewayLimits { durable_timeout: Duration::from_millis(300), ..GatewayLimits::default() },
    });
    let account = Arc::new(ExecutionSink::new(lanes.clone(), clock.clone()));
    let config = EngineConfig {
        instruments,
        limits: limits(),
        execution: ExecutionConfig {
            instance: recovered.instance,
            epoch: recovered.epoch,
            unknown_rule: UnknownRule::Fence { staleness_bound_ms: 1, staleness_bound_degraded_ms: 1 },
            recv_window_ms: 100,
            query_first_ms: 1,
            query_pause_ms_max: 50,
            cancel_retry_ms: 10,
            ..ExecutionConfig::default()
        },
        ..EngineConfig::default()
    };
    let unblock = Arc::new(AtomicBool::new(false));
    let strategy = TestStrategy { habit, quotes: 0, unblock: unblock.clone() };
    let engine = Engine::new(config, vec![Box::new(strategy)]).unwrap();
    let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let heard = notices.clone();
    let (coordinator, handle) = Coordinator::new(CoordinatorParts {
        engine,
        records,
        lanes: lanes.clone(),
        gateway: gateway.clone(),
        account: Some(account.clone()),
        journal: journal.clone(),
        gate: gate.clone(),
        board: Arc::new(OpenOrderBoard::new()),
        latency,
        stop: supervisor.stop_signal(),
        clock: clock.clone(),
        observer: Box::new(move |_, notice| heard.lock().push(notice.clone())),
        limits: CoordinatorLimits { timer_interval: Duration::from_millis(5), ..CoordinatorLimits::default() },
    });
    let inline = coordinator.inline_sink();
    let group = supervisor.group("coordinator");
    let thread = match habit {
        // Else the blocked worker might hold up the timers that the test waits with.
        Habit::BlockAfterTwo => Some(coordinator.spawn_thread(&group).unwrap()),
        _ => {
            drop(group.spawn_with("engine", TaskKind::Critical, move |token| coordinator.run(token)));
            None
        }
    };
    Run {
        venue: venue.clone(),
        lanes,
        handle,
        gateway,
        gate,
        account,
        supervisor,
        journal,
        disk,
        notices,
        unblock,
        clock,
        epoch: recovered.epoch,
        inline,
        thread,
    }
}

impl Drop for Run {
    /// A test that fails must end, too.
    fn drop(&mut self) {
        self.unblock.store(true, Ordering::SeqCst);
        self.disk.release();
    }
}

impl Run {
    pub(crate) fn now(&self) -> Timestamp {
        now(&self.clock)
    }

    /// The account stream comes up, recovery goes through, trading begins.
    pub(crate) async fn trade(&self) {
        use keel_exchange::AccountSink as _;
        self.account.on_state(FeedState::Live, self.now());
        self.handle.started(SOON).await.unwrap();
    }

    pub(crate) fn quote(&self) {
        self.lanes.push_market(&top(60_000, self.now()));
    }

    /// The venue fills an order completely and says so over the account stream.
    pub(crate) fn fill(&self, id: ClientOrderId, trade: u64) {
        use keel_exchange::AccountSink as _;
        let order = self.venue.fill(id);
        let fill = Fill {
            trade_id: TradeId::new(&trade.to_string()).unwrap(),
            instrument: order.instrument,
            side: order.side,
            price: order.price.unwrap(),
            quantity: order.quantity,
            fee: Notional::new(1, 3).unwrap(),
            fee_asset: "USDT".parse().unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: self.now(),
        };
        self.account.on_report(ExecutionReport {
            exec_type: ExecType::Trade,
            client_order_id: Some(id),
            venue_order_id: order.venue_order_id,
            instrument: order.instrument,
            side: order.side,
            status: OrderStatus::Filled,
            quantity: order.quantity,
            price: order.price,
            cum_quantity: order.quantity,
            fill: Some(fill),
            ts_event: self.now(),
            ts_recv: self.now(),
            text: "".parse().unwrap(),
        });
    }

    pub(crate) fn escape(&self) -> EscapePath {
        EscapePath {
            board: self.handle.board().clone(),
            client: self.venue.client(),
            journal: self.journal.clone(),
            gate: self.gate.clone(),
            clock: self.clock.clone(),
            limits: EscapeLimits { pause: Duration::from_millis(5), ..EscapeLimits::default() },
        }
    }

    /// Ends the coordinator in order and closes the journal.
    pub(crate) async fn end(mut self) -> keel_gateway::CoordinatorEnd {
        let report = self.supervisor.group("coordinator").stop(SOON).await;
        assert!(report.is_clean(), "{report}");
        let report = self.supervisor.group("execution").stop(Duration::from_secs(1)).await;
        assert!(report.stuck.is_empty(), "{report}");
        if let Some(thread) = self.thread.take() {
            assert_eq!(thread.join().unwrap(), keel_lifecycle::TaskEnd::Finished);
        }
        let journal = self.journal.clone();
        let end = self.handle.end().expect("the coordinator has ended");
        drop(self);
        journal.close(SOON).unwrap();
        end
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not in time: {what}");
}
