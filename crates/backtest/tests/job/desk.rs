//! What the tests share: one perpetual, columns out of plain numbers, a seeded market, and a strategy that follows a script.

use keel_backtest::{BacktestResult, JobConfig, ReplayConfig, Rows, Series, run};
use keel_engine::EngineConfig;
use keel_marketdata::columns::{BarColumns, Interval, QuoteColumns};
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, Bar, ClientOrderId, ExitPolicy, Fill, Instrument, InstrumentId, InstrumentKind, InstrumentStatus,
    Instruments, Notional, OrderIntent, OrderPurpose, OrderType, Quantity, Side,
};
use keel_risk::{GuardLimits, RiskLimits};
use keel_sim::{FeeModel, MarketKind, SimConfig};
use keel_strategy::{Context, OrderUpdate, OrderUpdateKind, Params, Strategy, Subscription, build};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const ID: InstrumentId = InstrumentId(0);
pub const MINUTE: Duration = Duration::from_secs(60);
/// 2024-01-01T00:00:00Z.
pub const START_NS: u64 = 1_704_067_200_000_000_000;

pub fn asset(text: &str) -> Asset {
    Asset::new(text).unwrap()
}

pub fn money(text: &str) -> Notional {
    text.parse().unwrap()
}

pub fn instrument(symbol: &str, kind: InstrumentKind) -> Instrument {
    Instrument {
        id: ID,
        symbol: keel_model::ids::Symbol::new(symbol).unwrap(),
        base: asset(symbol.strip_suffix("USDT").unwrap()),
        quote: asset("USDT"),
        kind,
        status: InstrumentStatus::Trading,
        tick_size: "0.01".parse().unwrap(),
        min_price: "0".parse().unwrap(),
        max_price: "0".parse().unwrap(),
        lot: LotRule { min: "0.001".parse().unwrap(), max: Quantity::ZERO, step: "0.001".parse().unwrap() },
        market_lot: LotRule::default(),
        min_notional: Notional::ZERO,
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    }
}

/// A perpetual, a million to begin with, five basis points, limits that are on and wide.
pub fn config(kind: InstrumentKind) -> JobConfig {
    config_of(&[instrument("BTCUSDT", kind)])
}

pub fn config_of(all: &[Instrument]) -> JobConfig {
    let mut instruments = Instruments::new();
    for one in all {
        instruments.upsert(one.clone());
    }
    let wide = Notional::from_int(1_000_000_000);
    let limits = RiskLimits {
        order_notional_max: wide,
        position_notional_max: wide,
        gross_exposure_max: wide,
        daily_loss_max: wide,
        leverage_max: 100,
        order_rate_per_s: 10_000,
        order_burst: 10_000,
        price_collar_bps: 5_000,
        reference_age_ms_max: 86_400_000,
        reference_jump_bps_max: 1_000_000,
        duplicate_window_ms: 0,
        guards: GuardLimits::default(),
        ..RiskLimits::default()
    };
    let fee: Quantity = "0.0005".parse().unwrap();
    let mut engine = EngineConfig { instruments, limits, reconcile_interval_ms: 0, ..EngineConfig::default() };
    engine.execution.instance = 7;
    JobConfig {
        replay: ReplayConfig {
            markets: vec![MarketKind::Touch; engine.instruments.len()],
            engine,
            sim: SimConfig {
                fees: FeeModel { maker: fee, taker: fee },
                leverage_max: 100,
                publish_market_data: false,
                ..SimConfig::default()
            },
            balances: vec![(asset("USDT"), Notional::from_int(1_000_000))],
            timer_interval: Duration::from_secs(3_600),
            is_instant: true,
            exit_policy: ExitPolicy::Keep,
            ..ReplayConfig::default()
        },
        has_log: true,
        ..JobConfig::default()
    }
}

/// One-minute bars of (open, high, low, close, volume) in cents and thousandths.
pub fn bars(rows: &[(i64, i64, i64, i64, i64)]) -> BarColumns {
    let mut columns = BarColumns::new(Interval::MINUTE_1, 2, 3);
    for (at, (open, high, low, close, volume)) in rows.iter().enumerate() {
        columns.ts_open_ns.push(START_NS + at as u64 * 60_000_000_000);
        columns.open.push(*open);
        columns.high.push(*high);
        columns.low.push(*low);
        columns.close.push(*close);
        columns.volume.push(*volume);
    }
    columns
}

/// A seeded walk.
pub fn walk(seed: u64, rows: usize) -> BarColumns {
    let mut rng = keel_sim::rng::Rng::new(seed);
    let mut close = 5_000_000i64;
    let row = |_| {
        let open = close;
        close = (close + rng.between(-4_000, 4_000)).max(100_000);
        let high = open.max(close) + rng.between(0, 1_500);
        let low = (open.min(close) - rng.between(0, 1_500)).max(1);
        (open, high, low, close, rng.between(1_000, 500_000))
    };
    bars(&(0..rows).map(row).collect::<Vec<_>>())
}

/// A seeded walk of quotes, ten a second.
pub fn quotes(seed: u64, rows: usize) -> QuoteColumns {
    let mut rng = keel_sim::rng::Rng::new(seed);
    let mut mid = 5_000_000i64;
    let mut columns = QuoteColumns { price_scale: 2, quantity_scale: 3, ..QuoteColumns::default() };
    for at in 0..rows {
        mid += rng.between(-300, 300);
        let half = rng.between(1, 50);
        columns.ts_ns.push(START_NS + (at as u64 + 1) * 100_000_000);
        columns.bid.push(mid - half);
        columns.ask.push(mid + half);
        columns.bid_quantity.push(rng.between(100, 20_000));
        columns.ask_quantity.push(rng.between(100, 20_000));
    }
    columns
}

pub fn flip(params: &[(&str, &str)]) -> Vec<Box<dyn Strategy>> {
    flip_on(ID, params)
}

pub fn flip_on(id: InstrumentId, params: &[(&str, &str)]) -> Vec<Box<dyn Strategy>> {
    let params = params.iter().fold(Params::new(), |all, (name, value)| all.with(name, value));
    vec![build("ema-cross-flip", id, &params).unwrap()]
}

pub fn on_bars(config: JobConfig, bars: &BarColumns, strategies: Vec<Box<dyn Strategy>>) -> BacktestResult {
    run(config, &[Series { instrument: ID, rows: Rows::Bars(bars) }], strategies, &|| 0.0).unwrap()
}

/// What a scripted strategy does when it has seen so many bars.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub after_bars: usize,
    pub side: Side,
    pub quantity: &'static str,
    pub order_type: OrderType,
    pub price: Option<&'static str>,
    pub stop: Option<&'static str>,
    pub purpose: OrderPurpose,
}

impl Act {
    pub fn market(after_bars: usize, side: Side, quantity: &'static str) -> Self {
        let purpose = OrderPurpose::Entry;
        Self { after_bars, side, quantity, order_type: OrderType::Market, price: None, stop: None, purpose }
    }

    pub fn limit(after_bars: usize, side: Side, quantity: &'static str, price: &'static str) -> Self {
        Self { order_type: OrderType::Limit, price: Some(price), ..Self::market(after_bars, side, quantity) }
    }

    pub fn stop(after_bars: usize, side: Side, quantity: &'static str, stop: &'static str) -> Self {
        let purpose = OrderPurpose::Protective;
        let order_type = OrderType::StopLoss;
        Self { order_type, stop: Some(stop), purpose, ..Self::market(after_bars, side, quantity) }
    }

    fn intent(&self) -> OrderIntent {
        let quantity = self.quantity.parse().unwrap();
        let mut intent = OrderIntent::market(ID, self.side, quantity, self.purpose);
        intent.order_type = self.order_type;
        intent.price = self.price.map(|price| price.parse().unwrap());
        intent.stop_price = self.stop.map(|price| price.parse().unwrap());
        intent
    }
}

/// What a scripted strategy heard: how many bars it had seen, and what.
pub type Heard = Arc<Mutex<Vec<(usize, String)>>>;

/// Follows a script, and may answer each fill of an entry with more.
#[derive(Debug)]
pub struct Script {
    acts: Vec<Act>,
    /// Placed when the first entry has filled.
    on_fill: Vec<Act>,
    seen: usize,
    heard: Heard,
}

impl Script {
    pub fn following(acts: &[Act], on_fill: &[Act]) -> (Vec<Box<dyn Strategy>>, Heard) {
        let heard = Heard::default();
        let script = Self { acts: acts.to_vec(), on_fill: on_fill.to_vec(), seen: 0, heard: Arc::clone(&heard) };
        (vec![Box::new(script)], heard)
    }

    fn note(&self, what: String) {
        self.heard.lock().unwrap().push((self.seen, what));
    }
}

impl Strategy for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::bars(ID, MINUTE)]
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, _bar: &Bar) {
        self.seen += 1;
        for act in self.acts.iter().filter(|act| act.after_bars == self.seen) {
            ctx.submit(act.intent());
        }
    }

    fn on_fill(&mut self, ctx: &mut Context<'_>, _id: ClientOrderId, fill: &Fill) {
        self.note(format!("{:?} {} at {}", fill.side, fill.quantity, fill.price));
        for act in std::mem::take(&mut self.on_fill) {
            ctx.submit(act.intent());
        }
    }

    fn on_order(&mut self, _ctx: &mut Context<'_>, update: &OrderUpdate) {
        match update.kind {
            OrderUpdateKind::Denied(reason) => self.note(format!("denied: {reason}")),
            OrderUpdateKind::Rejected(reject) => self.note(format!("rejected: {}", reject.text)),
            OrderUpdateKind::Expired => self.note(format!("expired after {}", update.cum_quantity)),
            _ => {}
        }
    }
}

pub fn heard(heard: &Heard) -> Vec<(usize, String)> {
    heard.lock().unwrap().clone()
}
