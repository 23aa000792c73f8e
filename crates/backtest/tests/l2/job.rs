//! The market making job: its data, made by integer arithmetic, its strategy, its settings and its answers.
//!
//! Every 100 ms a post-only bid and ask of 0.01 at the best prices, cancelled and placed anew when the best price has moved,
//! no bid from a position of 0.05 on and no ask from −0.05 on; 1 ms to the venue and 1 ms back; an order fills whole once
//! trades at its price have taken more than stood in front of it. The answers are those of hftbacktest 2.4.4
//! (`NoPartialFillExchange`, `RiskAdverseQueueModel`, `ConstantLatency`) on the same rows.
#![allow(dead_code, unreachable_pub, reason = "shared by the test and the benchmark; each uses a part")]

use keel_backtest::{Replay, ReplayConfig, ReplayReport};
use keel_engine::{EngineConfig, Notice};
use keel_marketdata::{L2Columns, L2Kind, L2Row, SoundL2};
use keel_model::{
    Asset, ExitPolicy, Fill, InstrumentId, InstrumentKind, Instruments, Notional, OrderIntent, OrderPurpose, Price,
    Quantity, Side,
};
use keel_risk::RiskLimits;
use keel_sim::{FeeModel, FillModel, HistoryLimits, LatencyModel, QueueModel, SimConfig, default_specs};
use keel_strategy::{Context, OpenOrderState, Strategy, Subscription};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The instrument.
pub const ID: InstrumentId = InstrumentId(0);
/// Events before the extra deletions.
pub const EVENTS: usize = 10_000_000;
/// Rows that they make.
pub const ROWS: usize = 10_156_094;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
const START_NS: u64 = 1_700_000_000_000_000_000;

/// SplitMix64 in counter form.
fn random(index: u64) -> u64 {
    let z = 0x5EED_0003u64.wrapping_add((index + 1).wrapping_mul(GAMMA));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The rows that the first `events` events make: a walk of the middle, level changes up to 15 ticks from the touch, one
/// trade in eight events, and a deletion of the level that the middle has moved over. Tick 0.1, lot 0.001.
pub fn rows(events: usize) -> SoundL2 {
    columns(events).into_sound().unwrap()
}

/// The first `count` rows.
pub fn first_rows(count: usize) -> SoundL2 {
    let mut columns = columns(count);
    columns.truncate(count);
    columns.into_sound().unwrap()
}

/// As [`first_rows`], but received at once.
pub fn rows_without_latency(count: usize) -> L2Columns {
    let mut columns = columns(count);
    columns.truncate(count);
    columns.ts_recv_ns.clone_from(&columns.ts_event_ns);
    columns
}

fn columns(events: usize) -> L2Columns {
    let mut columns = L2Columns::new(1, 3);
    let (mut ts_event_ns, mut ts_recv_ns, mut walk) = (START_NS, 0u64, 100_000i64);
    let mut before = None;
    for index in 0..events as u64 {
        let a = random(index);
        let part = |shift: u32, mask: u64| ((a >> shift) & mask) as i64;
        ts_event_ns += 50_000 + (a & 0xfffff);
        ts_recv_ns = ts_recv_ns.max(ts_event_ns + 2_000_000 + ((a >> 20) & 0xfffff));
        if part(40, 0x3f) == 0 {
            walk += if part(46, 1) == 1 { 1 } else { -1 };
        }
        let x = walk.rem_euclid(400_000);
        let mid = 200_000 + if x < 200_000 { x } else { 400_000 - x };
        let mut push = |kind, price, quantity| {
            columns.push(L2Row { ts_event_ns, ts_recv_ns, price, quantity, kind });
        };
        match before.map_or(0, |before: i64| mid - before) {
            0 => {}
            1.. => push(L2Kind::Ask, mid, 0),
            _ => push(L2Kind::Bid, mid + 1, 0),
        }
        before = Some(mid);
        let is_buy = part(50, 1) == 1;
        if part(47, 7) == 0 {
            let kind = if is_buy { L2Kind::BuyTrade } else { L2Kind::SellTrade };
            push(kind, if is_buy { mid + 1 } else { mid }, 1 + part(55, 0x3f));
        } else {
            let (level, quantity) = (part(51, 0xf), part(55, 0x1ff));
            let quantity = if quantity == 0 && level == 0 { 1 } else { quantity };
            let kind = if is_buy { L2Kind::Bid } else { L2Kind::Ask };
            push(kind, if is_buy { mid - level } else { mid + 1 + level }, quantity);
        }
    }
    columns
}

/// Bid and ask at the touch, looked at with each timer.
#[derive(Debug)]
pub struct TouchMaker {
    quantity: Quantity,
    position_max: Quantity,
    /// Hear every change of the book as well, and do nothing with it.
    pub is_listening: bool,
}

impl TouchMaker {
    pub fn new() -> Self {
        Self { quantity: "0.01".parse().unwrap(), position_max: "0.05".parse().unwrap(), is_listening: false }
    }

    fn quote(&self, ctx: &mut Context<'_>, side: Side, wanted: Option<Price>, has: bool) {
        if let Some(price) = wanted.filter(|_| !has) {
            ctx.submit(OrderIntent::post_only(ID, side, self.quantity, price, OrderPurpose::Entry));
        }
    }
}

impl Strategy for TouchMaker {
    fn name(&self) -> &str {
        "touch-maker"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription { depth: self.is_listening, top_of_book: false, ..Subscription::top_of_book(ID) }]
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        let Some(book) = ctx.book(ID) else { return };
        let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) else { return };
        let position = ctx.position(ID).quantity;
        let bid = (position < self.position_max).then_some(bid.price);
        let ask = (position > Quantity::ZERO.checked_sub(self.position_max).unwrap()).then_some(ask.price);
        let (mut has_bid, mut has_ask) = (false, false);
        for order in ctx.open_orders().filter(|order| order.state == OpenOrderState::Live) {
            let (wanted, has) = match order.side {
                Side::Buy => (bid, &mut has_bid),
                Side::Sell => (ask, &mut has_ask),
            };
            if order.price == wanted {
                *has = true;
            } else {
                ctx.cancel(order.client_order_id);
            }
        }
        self.quote(ctx, Side::Buy, bid, has_bid);
        self.quote(ctx, Side::Sell, ask, has_ask);
    }
}

/// Engine and venue for the job: risk on, with limits that such a strategy would have.
pub fn config() -> ReplayConfig {
    let mut instrument = default_specs().swap_remove(0).instrument;
    instrument.kind = InstrumentKind::LinearPerpetual;
    instrument.tick_size = "0.1".parse().unwrap();
    instrument.min_price = instrument.tick_size;
    instrument.lot.step = "0.001".parse().unwrap();
    instrument.lot.min = instrument.lot.step;
    let mut instruments = Instruments::new();
    instruments.upsert(instrument);
    let limits = RiskLimits {
        order_rate_per_s: 100,
        order_burst: 100,
        duplicate_window_ms: 0,
        position_notional_max: Notional::from_int(10_000),
        daily_loss_max: Notional::from_int(100_000),
        ..RiskLimits::default()
    };
    let latency = LatencyModel {
        order_in: Duration::from_millis(1),
        report_out: Duration::from_millis(1),
        ..LatencyModel::default()
    };
    // What a backtest asks the venue for afterwards.
    let histories = HistoryLimits {
        closed_orders_max: 256,
        account_trades_max: 1_024,
        public_trades_max: 0,
        klines_second_max: 0,
        klines_minute_max: 10,
        ..HistoryLimits::default()
    };
    let mut engine = EngineConfig { instruments, limits, ..EngineConfig::default() };
    (engine.execution.closed_orders_max, engine.execution.trade_ids_max) = (256, 4_096);
    let fees = FeeModel { maker: "0.0002".parse().unwrap(), taker: "0.0005".parse().unwrap() };
    ReplayConfig {
        engine,
        sim: SimConfig {
            fees,
            latency,
            queue: QueueModel::RiskAverse,
            fills: FillModel::Whole,
            limits: histories,
            publish_market_data: false,
            ..SimConfig::default()
        },
        balances: vec![(Asset::new("USDT").unwrap(), Notional::from_int(100_000))],
        exit_policy: ExitPolicy::CancelAll,
        ..ReplayConfig::default()
    }
}

/// What the job ends with, in hftbacktest's words: the balance is what sales have brought less what purchases have cost,
/// fees apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub orders: u64,
    pub trades: u64,
    pub position: String,
    pub balance: String,
    pub fee: String,
}

impl Answer {
    pub fn new(orders: u64, trades: u64, position: &str, balance: &str, fee: &str) -> Self {
        Self { orders, trades, position: position.to_owned(), balance: balance.to_owned(), fee: fee.to_owned() }
    }
}

/// Sums over the fills.
#[derive(Debug, Default)]
struct Sums {
    position: Notional,
    balance: Notional,
    fee: Notional,
}

impl Sums {
    fn add(&mut self, fill: &Fill) {
        let value = Notional::of(fill.price, fill.quantity);
        let quantity = Notional::from(fill.quantity);
        let (position, balance) = match fill.side {
            Side::Buy => (self.position.checked_add(quantity), self.balance.checked_sub(value)),
            Side::Sell => (self.position.checked_sub(quantity), self.balance.checked_add(value)),
        };
        (self.position, self.balance) = (position.unwrap(), balance.unwrap());
        self.fee = self.fee.checked_add(fill.fee).unwrap();
    }
}

/// Runs the job.
pub fn run(config: ReplayConfig, rows: &SoundL2, strategy: TouchMaker) -> (Answer, ReplayReport) {
    let mut replay = Replay::new(config, vec![Box::new(strategy)]).unwrap();
    let sums = Arc::new(Mutex::new(Sums::default()));
    let heard = Arc::clone(&sums);
    replay.observe(Box::new(move |_, notice| {
        if let Notice::Fill { fill, .. } = notice {
            heard.lock().unwrap().add(fill);
        }
    }));
    replay.feed_l2(ID, rows);
    let report = replay.finish();
    let sums = sums.lock().unwrap();
    let text = |value: Notional| value.normalized().to_string();
    let (orders, trades) = (report.status.orders_total, report.status.fills_total);
    let answer = Answer::new(orders, trades, &text(sums.position), &text(sums.balance), &text(sums.fee));
    (answer, report)
}
