//! What the measurements share: frames, an engine that trades, a venue that answers at once, percentiles.

use flate2::read::MultiGzDecoder;
use hdrhistogram::Histogram;
use keel_engine::{Effect, Engine, EngineConfig, Outbox};
use keel_exchange::binance::spot::codec::decode::{Decoded, MarketDecoder};
use keel_exchange::binance::spot::symbols::SymbolTable;
use keel_execution::ExecutionConfig;
use keel_marketdata::RecordingReader;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, Balance, CancelOutcome, Command, Event, ExecType, ExecutionEvent, ExecutionReport, Fill, Instrument,
    InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Liquidity, MarketEvent, NewOrder, Notional,
    OrderIntent, OrderPurpose, OrderSnapshot, OrderStatus, Price, Quantity, Side, SubmitAck, SubmitOutcome,
    TimeInForce, Timestamp, TopOfBook, TradeId, VenueOrderId, order::ReasonText,
};
use keel_risk::RiskLimits;
use keel_strategy::{Context, Strategy, Subscription};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

pub(crate) const ID: InstrumentId = InstrumentId(0);
pub(crate) const SYMBOL: &str = "BTCUSDT";

pub(crate) fn instruments() -> Instruments {
    let number = |text: &str| text.parse().unwrap();
    let mut instruments = Instruments::new();
    instruments.upsert(Instrument {
        id: ID,
        symbol: SYMBOL.parse().unwrap(),
        base: "BTC".parse().unwrap(),
        quote: "USDT".parse().unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: "0.01".parse().unwrap(),
        min_price: "0.01".parse().unwrap(),
        max_price: "1000000".parse().unwrap(),
        lot: LotRule { min: number("0.00001"), max: number("9000"), step: number("0.00001") },
        market_lot: LotRule { min: Quantity::ZERO, max: number("100"), step: Quantity::ZERO },
        min_notional: "5".parse().unwrap(),
        min_notional_applies_to_market: true,
        max_notional: Some("9000000".parse().unwrap()),
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    });
    instruments
}

/// A recorded or generated frame with its receive time.
pub(crate) struct Frame {
    pub(crate) recv_ns: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The frames of the spot recording, or generated ones where it is missing. Says which.
pub(crate) fn frames() -> (Vec<Frame>, &'static str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ws/binance-spot-btcusdt-20240808.ws.gz");
    let Ok(file) = File::open(&path) else {
        println!("the recording is missing ({}); frames are generated", path.display());
        return (generated(), "generated");
    };
    let mut reader = RecordingReader::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
    let mut frames = Vec::new();
    while let Some(next) = reader.next_frame() {
        let frame = next.unwrap();
        frames.push(Frame { recv_ns: frame.recv_ns, bytes: frame.frame.to_vec() });
    }
    (frames, "recorded, BTCUSDT spot 2024-08-08")
}

pub(crate) fn generated() -> Vec<Frame> {
    let mut cents = 6_183_763u64;
    let mut state = 1u64;
    (0..40_000u64)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            cents = cents + (state >> 33) % 7 - 3;
            let (bid, ask) = (cents, cents + 1);
            let text = format!(
                "{{\"stream\":\"btcusdt@bookTicker\",\"data\":{{\"u\":{},\"s\":\"BTCUSDT\",\"b\":\"{}.{:02}000000\",\"B\":\"3.78826000\",\"a\":\"{}.{:02}000000\",\"A\":\"1.54698000\"}}}}",
                50_093_239_212 + at, bid / 100, bid % 100, ask / 100, ask % 100
            );
            Frame { recv_ns: 1_723_161_254_000_000_000 + at * 8_000_000, bytes: text.into_bytes() }
        })
        .collect()
}

/// Only the best bid and ask.
pub(crate) fn is_book_ticker(frame: &Frame) -> bool {
    frame.bytes.windows(12).take(40).any(|window| window == b"@bookTicker\"")
}

pub(crate) fn decoder() -> MarketDecoder {
    MarketDecoder::new(SymbolTable::new(&instruments()))
}

pub(crate) fn decode(decoder: &mut MarketDecoder, frame: &Frame) -> Option<MarketEvent> {
    let ts_recv = Timestamp::from_ns(frame.recv_ns);
    if frame.bytes.starts_with(b"{\"lastUpdateId\"") {
        return decoder.decode_snapshot(&frame.bytes, ID, ts_recv).ok().cloned();
    }
    match decoder.decode(&frame.bytes, ts_recv).unwrap() {
        Decoded::Market(event) => Some(event.clone()),
        _ => None,
    }
}

/// Buys and sells in turn, through the spread, on each `every`-th tick.
#[derive(Debug)]
pub(crate) struct EveryKth {
    every: u64,
    ticks: u64,
    side: Side,
}

impl EveryKth {
    pub(crate) fn new(every: u64) -> Self {
        Self { every, ticks: 0, side: Side::Buy }
    }
}

impl Strategy for EveryKth {
    fn name(&self) -> &str {
        "every-kth"
    }
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(ID)]
    }
    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, top: &TopOfBook) {
        self.ticks += 1;
        if !self.ticks.is_multiple_of(self.every) {
            return;
        }
        let price = if self.side == Side::Buy { top.ask.price } else { top.bid.price };
        // Quantities differ, so that the control against duplicate orders has nothing to say.
        let step = self.ticks / self.every / 2 % 100;
        let quantity = Quantity::new(100 + step as i64, 5).unwrap();
        let mut intent = OrderIntent::limit(ID, self.side, quantity, price, OrderPurpose::Entry);
        intent.time_in_force = TimeInForce::Ioc;
        ctx.submit(intent);
        self.side = self.side.opposite();
    }
}

pub(crate) fn limits() -> RiskLimits {
    RiskLimits {
        order_notional_max: Notional::from_int(10_000),
        position_notional_max: Notional::from_int(50_000),
        gross_exposure_max: Notional::from_int(100_000),
        order_rate_per_s: 1_000_000,
        order_burst: 1_000_000,
        daily_loss_max: Notional::from_int(1_000_000),
        ..RiskLimits::default()
    }
}

pub(crate) fn engine_config(instance: u32, epoch: u32) -> EngineConfig {
    let execution = ExecutionConfig { instance, epoch, ..ExecutionConfig::default() };
    EngineConfig { instruments: instruments(), limits: limits(), execution, ..EngineConfig::default() }
}

pub(crate) fn balances() -> Vec<Balance> {
    let balance = |asset: &str, free: i64| Balance {
        asset: Asset::new(asset).unwrap(),
        free: Notional::from_int(free),
        locked: Notional::ZERO,
    };
    vec![balance("BTC", 2), balance("USDT", 100_000)]
}

/// An engine that has recovered, knows its balances and trades.
pub(crate) fn engine(strategies: Vec<Box<dyn Strategy>>, now: Timestamp) -> Engine {
    let mut engine = Engine::new(engine_config(7, 3), strategies).unwrap();
    let mut out = Outbox::new();
    engine.recover([], now, &mut out);
    engine.process(&Event::Execution(now, ExecutionEvent::OpenOrders(None, vec![])), &mut out);
    let told = ExecutionEvent::Balances { complete: true, balances: balances(), ts_event: now };
    engine.process(&Event::Execution(now, told), &mut out);
    assert_eq!(engine.start_blocker(), None);
    engine.process(&Event::Command(now, Command::Start), &mut out);
    out.drain();
    engine
}

/// Answers effects as a venue that fills what crosses and rests the rest. Counts what it did.
#[derive(Debug, Default)]
pub(crate) struct QuickVenue {
    pub(crate) orders: u64,
    pub(crate) fills: u64,
    pub(crate) cancels: u64,
    resting: Vec<NewOrder>,
    answers: Vec<ExecutionEvent>,
    trades: u64,
}

impl QuickVenue {
    /// Takes what the engine asked for and answers it, until nothing is asked for any more.
    pub(crate) fn answer(&mut self, engine: &mut Engine, out: &mut Outbox, now: Timestamp) {
        while !out.is_empty() {
            for effect in out.drain() {
                match effect {
                    Effect::Submit(approved) => self.take(approved.into_inner(), now),
                    Effect::Cancel(cancel) => {
                        let resting =
                            self.resting.iter().position(|order| order.client_order_id == cancel.client_order_id);
                        let Some(at) = resting else { continue };
                        let order = self.resting.swap_remove(at);
                        self.cancels += 1;
                        let outcome = CancelOutcome::Canceled(snapshot(&order, OrderStatus::Canceled, now));
                        self.answers.push(ExecutionEvent::Cancel(order.client_order_id, outcome));
                    }
                    _ => {}
                }
            }
            for at in 0..self.answers.len() {
                engine.process_execution(now, &self.answers[at], out);
            }
            self.answers.clear();
        }
    }

    /// Fills resting orders that the market has reached.
    pub(crate) fn match_resting(
        &mut self,
        engine: &mut Engine,
        bid: Price,
        ask: Price,
        out: &mut Outbox,
        now: Timestamp,
    ) {
        let is_reached = |order: &NewOrder| match (order.intent.side, order.intent.price) {
            (Side::Buy, Some(price)) => price >= ask,
            (Side::Sell, Some(price)) => price <= bid,
            (_, None) => false,
        };
        while let Some(at) = self.resting.iter().position(is_reached) {
            let order = self.resting.swap_remove(at);
            let report = self.fill(&order, now);
            engine.process_execution(now, &ExecutionEvent::Report(report), out);
            self.answer(engine, out, now);
        }
    }

    fn take(&mut self, order: NewOrder, now: Timestamp) {
        self.orders += 1;
        let client_order_id = order.client_order_id;
        self.answers.push(ExecutionEvent::Sent { client_order_id, signed_at: now, recv_window_ms: 5_000 });
        let rests = order.intent.time_in_force == TimeInForce::Gtc && order.intent.price.is_some();
        let outcome = if rests {
            self.resting.push(order);
            let status = OrderStatus::New;
            let ack = SubmitAck { venue_order_id: venue_order_id(&order), ts_event: now, status, reports: Vec::new() };
            SubmitOutcome::Accepted(ack)
        } else {
            self.fill_at_once(&order, now)
        };
        self.answers.push(ExecutionEvent::Submit(client_order_id, outcome));
    }

    /// The answer to an order that is filled when it comes.
    pub(crate) fn fill_at_once(&mut self, order: &NewOrder, now: Timestamp) -> SubmitOutcome {
        let reports = vec![self.fill(order, now)];
        let venue_order_id = venue_order_id(order);
        SubmitOutcome::Accepted(SubmitAck { venue_order_id, ts_event: now, status: OrderStatus::Filled, reports })
    }

    fn fill(&mut self, order: &NewOrder, now: Timestamp) -> ExecutionReport {
        self.fills += 1;
        self.trades += 1;
        let price = order.intent.price.unwrap_or_else(|| Price::from_int(60_000));
        let fill = Fill {
            trade_id: TradeId::new(&self.trades.to_string()).unwrap(),
            instrument: ID,
            side: order.intent.side,
            price,
            quantity: order.intent.quantity,
            fee: Notional::ZERO,
            fee_asset: "USDT".parse().unwrap(),
            liquidity: Liquidity::Taker,
            ts_event: now,
        };
        ExecutionReport {
            exec_type: ExecType::Trade,
            client_order_id: Some(order.client_order_id),
            venue_order_id: venue_order_id(order),
            instrument: ID,
            side: order.intent.side,
            status: OrderStatus::Filled,
            quantity: order.intent.quantity,
            price: order.intent.price,
            cum_quantity: order.intent.quantity,
            fill: Some(fill),
            ts_event: now,
            ts_recv: now,
            text: ReasonText::EMPTY,
        }
    }
}

fn venue_order_id(order: &NewOrder) -> VenueOrderId {
    VenueOrderId::new(&order.client_order_id.sequence.to_string()).unwrap()
}

fn snapshot(order: &NewOrder, status: OrderStatus, now: Timestamp) -> OrderSnapshot {
    OrderSnapshot {
        client_order_id: Some(order.client_order_id),
        venue_order_id: venue_order_id(order),
        instrument: ID,
        side: order.intent.side,
        order_type: Some(order.intent.order_type),
        time_in_force: Some(order.intent.time_in_force),
        status,
        quantity: order.intent.quantity,
        price: order.intent.price,
        stop_price: None,
        cum_quantity: Quantity::ZERO,
        cum_quote: None,
        ts_event: now,
    }
}

/// CPU time of this thread: what others do on a shared machine is not in it.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds, three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap()
}

pub(crate) fn row(name: &str, histogram: &Histogram<u64>) {
    let micro = |value: u64| format!("{:.2}", value as f64 / 1e3);
    println!(
        "  {name:<44} {:>9} {:>9} {:>9} {:>10} {:>9}",
        micro(histogram.value_at_quantile(0.5)),
        micro(histogram.value_at_quantile(0.99)),
        micro(histogram.value_at_quantile(0.999)),
        micro(histogram.max()),
        histogram.len()
    );
}

pub(crate) fn header(title: &str) {
    println!("\n{title}\n  {:<44} {:>9} {:>9} {:>9} {:>10} {:>9}", "µs", "p50", "p99", "p99.9", "max", "count");
}

pub(crate) fn target(misses: &mut Vec<String>, name: &str, got: f64, limit: f64, is_upper: bool) {
    let is_met = if is_upper { got <= limit } else { got >= limit };
    let relation = if is_upper { "≤" } else { "≥" };
    let verdict = if is_met { "met" } else { "MISSED" };
    println!("  target: {name} {relation} {limit} … {got:.3} {verdict}");
    if !is_met {
        misses.push(format!("{name}: {got:.3}, target {relation} {limit}"));
    }
}
