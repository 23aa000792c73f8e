//! What one order costs the engine, from the first thousands to the millionth of one session: decision, review, booking, sent,
//! acknowledged, filled, closed, retired. The cost must not grow with the orders that have been: closed orders leave memory by
//! age and by number, and nothing is looked up by walking over them.
//!
//! `cargo bench -p keel-engine --bench orders` prints the cost of one order in windows of the session, how far they lie apart,
//! and what the process holds in memory. `KEEL_ORDERS=100000` makes the session shorter, `KEEL_RESTING=1000` keeps more orders
//! open all the time. Measured is the thread's own computing time; compared are the cheapest windows of the first and of the last
//! tenth of the session. It fails when the last tenth costs over 10 % more than the first, five sessions in a row.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, reason = "a bench may")]

use keel_engine::{Effect, Engine, EngineConfig, Notice, Outbox};
use keel_execution::ExecutionConfig;
use keel_model::instrument::LotRule;
use keel_model::order::ReasonText;
use keel_model::{
    Asset, Balance, ClientOrderId, Command, Event, ExecType, ExecutionEvent, ExecutionReport, Fill, Instrument,
    InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Level, Liquidity, MarketEvent, NewOrder, Notional,
    OrderIntent, OrderPurpose, OrderStatus, Price, Quantity, Side, SubmitAck, SubmitOutcome, Timestamp, TopOfBook,
    TradeId, VenueOrderId,
};
use keel_risk::RiskLimits;
use keel_strategy::{Context, Strategy, Subscription};
use rustix::time::{ClockId, clock_gettime};

const BTC: InstrumentId = InstrumentId(0);
const START_MS: u64 = 1_700_000_000_000;
/// Orders of one measured window.
const WINDOW: usize = 10_000;
/// How much dearer than the first tenth of the session the last may be.
const SPREAD_MAX: f64 = 1.10;
/// A box that does something else at times gets more than one chance.
const SESSIONS_MAX: usize = 5;

/// Buys, then sells what it bought, one order per quote.
#[derive(Debug)]
struct Churn {
    buy: OrderIntent,
    resting: Vec<OrderIntent>,
    is_long: bool,
}

impl Strategy for Churn {
    fn name(&self) -> &str {
        "churn"
    }
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(BTC)]
    }
    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, _top: &TopOfBook) {
        if let Some(intent) = self.resting.pop() {
            ctx.submit(intent);
            return;
        }
        let side = if self.is_long { Side::Sell } else { Side::Buy };
        let purpose = if self.is_long { OrderPurpose::Exit } else { OrderPurpose::Entry };
        self.is_long = !self.is_long;
        ctx.submit(OrderIntent { side, purpose, ..self.buy });
    }
}

fn instrument() -> Instrument {
    let quantity = |text: &str| text.parse::<Quantity>().unwrap();
    Instrument {
        id: BTC,
        symbol: "BTCUSDT".parse().unwrap(),
        base: "BTC".parse().unwrap(),
        quote: "USDT".parse().unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: "0.01".parse().unwrap(),
        min_price: "0.01".parse().unwrap(),
        max_price: "1000000".parse().unwrap(),
        lot: LotRule { min: quantity("0.00001"), max: quantity("9000"), step: quantity("0.00001") },
        market_lot: LotRule::default(),
        min_notional: "5".parse().unwrap(),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    }
}

struct Session {
    engine: Engine,
    out: Outbox,
    now_us: u64,
    trade: u64,
}

impl Session {
    fn new(resting: usize) -> Self {
        let mut instruments = Instruments::new();
        instruments.upsert(instrument()).unwrap();
        let limits = RiskLimits {
            order_notional_max: Notional::from_int(10_000_000),
            position_notional_max: Notional::from_int(1_000_000_000),
            gross_exposure_max: Notional::from_int(1_000_000_000),
            duplicate_window_ms: 0,
            order_rate_per_s: 1_000_000,
            order_burst: 1_000_000,
            open_orders_max: 10_000,
            open_orders_per_instrument_max: 10_000,
            ..RiskLimits::default()
        };
        let execution = ExecutionConfig { instance: 1, epoch: 1, ..ExecutionConfig::default() };
        let config =
            EngineConfig { instruments, limits, execution, reconcile_interval_ms: 0, ..EngineConfig::default() };
        let price: Price = "60000".parse().unwrap();
        let size: Quantity = "0.001".parse().unwrap();
        let far: Price = "59000".parse().unwrap();
        let far = OrderIntent::limit(BTC, Side::Buy, size, far, OrderPurpose::Entry);
        let buy = OrderIntent::limit(BTC, Side::Buy, size, price, OrderPurpose::Entry);
        let strategy = Churn { buy, resting: vec![far; resting], is_long: false };
        let engine = Engine::new(config, vec![Box::new(strategy)]).unwrap();
        let mut session = Self { engine, out: Outbox::new(), now_us: START_MS * 1_000, trade: 0 };
        session.engine.recover([], session.ts(), &mut session.out);
        session.event(Event::Execution(session.ts(), ExecutionEvent::OpenOrders(None, vec![])));
        let balance = |name: &str, free| Balance { asset: Asset::new(name).unwrap(), free, locked: Notional::ZERO };
        let balances = vec![balance("USDT", Notional::from_int(100_000_000)), balance("BTC", Notional::from_int(100))];
        let ts_event = session.ts();
        session.event(Event::Execution(ts_event, ExecutionEvent::Balances { complete: true, balances, ts_event }));
        session.event(Event::Command(session.ts(), Command::Start));
        for _ in 0..resting {
            session.quote(false);
        }
        assert_eq!(session.engine.orders().open_count(), resting);
        session
    }

    fn ts(&self) -> Timestamp {
        Timestamp::from_us(self.now_us)
    }

    fn event(&mut self, event: Event) {
        self.engine.process(&event, &mut self.out);
    }

    /// One quote, one order, and all that becomes of it.
    fn quote(&mut self, is_filled: bool) {
        self.now_us += 1_000;
        let level = |at: &str| Level { price: at.parse().unwrap(), quantity: Quantity::from_int(1) };
        let (bid, ask) = (level("60000"), level("60000.01"));
        let top = TopOfBook { instrument: BTC, ts_event: self.ts(), ts_recv: self.ts(), update_id: 0, bid, ask };
        self.event(Event::Market(MarketEvent::TopOfBook(top)));
        let mut submitted = None;
        for effect in self.out.drain() {
            match effect {
                Effect::Submit(order) => submitted = Some(order.into_inner()),
                Effect::Notify(Notice::Denied(denied, _)) => panic!("{}: {}", denied.control, denied.reason),
                _ => {}
            }
        }
        self.answer(&submitted.expect("the order was not sent"), is_filled);
        if self.now_us.is_multiple_of(50_000) {
            self.event(Event::Timer(self.ts()));
        }
        self.out.drain();
    }

    fn answer(&mut self, order: &NewOrder, is_filled: bool) {
        let (ts, id) = (self.ts(), order.client_order_id);
        let sent = ExecutionEvent::Sent { client_order_id: id, signed_at: ts, recv_window_ms: 5_000 };
        self.event(Event::Execution(ts, sent));
        let venue_order_id = VenueOrderId::new(&id.sequence.to_string()).unwrap();
        let ack = SubmitAck { venue_order_id, ts_event: ts, status: OrderStatus::New, reports: vec![] };
        self.event(Event::Execution(ts, ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack))));
        if is_filled {
            let report = self.fill(id, &order.intent, venue_order_id);
            self.event(Event::Execution(ts, ExecutionEvent::Report(report)));
        }
    }

    fn fill(&mut self, id: ClientOrderId, intent: &OrderIntent, venue_order_id: VenueOrderId) -> ExecutionReport {
        self.trade += 1;
        let ts = self.ts();
        let fill = Fill {
            trade_id: TradeId::new(&self.trade.to_string()).unwrap(),
            instrument: BTC,
            side: intent.side,
            price: intent.price.unwrap_or_default(),
            quantity: intent.quantity,
            fee: Notional::ZERO,
            fee_asset: Asset::new("USDT").unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: ts,
        };
        ExecutionReport {
            exec_type: ExecType::Trade,
            client_order_id: Some(id),
            venue_order_id,
            instrument: BTC,
            side: intent.side,
            status: OrderStatus::Filled,
            quantity: intent.quantity,
            price: intent.price,
            cum_quantity: intent.quantity,
            fill: Some(fill),
            ts_event: ts,
            ts_recv: ts,
            text: ReasonText::EMPTY,
        }
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Resident memory of this process; unit: MiB.
fn resident_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0.0);
    pages * 4_096.0 / 1_048_576.0
}

/// What this thread has computed; unit: nanoseconds. Waiting for a core that others use is not the cost of an order.
fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Nanoseconds per order of each window after the first.
fn measure(orders: usize, resting: usize) -> Vec<f64> {
    let mut session = Session::new(resting);
    let mut windows = Vec::new();
    for window in 0..orders / WINDOW {
        let begun = cpu_ns();
        for _ in 0..WINDOW {
            session.quote(true);
        }
        let ns = (cpu_ns() - begun) as f64 / WINDOW as f64;
        if window > 0 {
            windows.push(ns);
        }
        if [1, 10, 50, 100].contains(&(window + 1)) {
            let kept = session.engine.orders().all().len();
            println!(
                "{:>9} orders: {ns:>7.0} ns each, {kept} in memory, {:.1} MiB",
                (window + 1) * WINDOW,
                resident_mib()
            );
        }
    }
    windows
}

/// The cheapest window of a stretch: what a neighbour on the same core or cache costs is not the cost of an order.
fn least(windows: &[f64]) -> f64 {
    windows.iter().copied().fold(f64::INFINITY, f64::min)
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let orders = if is_bench { number("KEEL_ORDERS", 1_000_000) } else { 3 * WINDOW };
    let resting = number("KEEL_RESTING", 100);
    println!("one order from decision to retirement, {resting} others open all the time");
    for session in 1..=SESSIONS_MAX {
        let windows = measure(orders, resting);
        let tenth = (windows.len() / 10).max(1);
        let (first, last) = (least(&windows[..tenth]), least(&windows[windows.len() - tenth..]));
        let ratio = last / first;
        println!("first tenth {first:.0} ns, last tenth {last:.0} ns: {:+.1} %", (ratio - 1.0) * 100.0);
        if ratio <= SPREAD_MAX || !is_bench {
            return;
        }
        println!("session {session} of {SESSIONS_MAX} grew");
    }
    panic!("the cost of an order grows with the orders that have been");
}
