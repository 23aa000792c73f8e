//! What one review costs: `cargo bench -p keel-risk --bench review`. All controls and guards on, a hundred orders open, the order
//! released again after each review. Percentiles over batches of ten, so that reading the clock does not count.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where it cannot go on")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use keel_model::instrument::LotRule;
use keel_model::{
    Asset, Balance, ClientOrderId, InlineStr, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments,
    NewOrder, Notional, OrderIntent, OrderPurpose, Price, Quantity, Side, StrategyId, Timestamp, TradingState,
};
use keel_risk::{BreakerLimit, GuardLimits, ProtectionLimits, RiskLimits, RiskService};
use std::hint::black_box;
use std::time::Instant;

const BATCH: u64 = 10;
const BATCHES: usize = 100_000;
const OPEN: u64 = 100;

fn instruments() -> Instruments {
    let mut all = Instruments::new();
    for (symbol, base) in [("BTCUSDT", "BTC"), ("ETHUSDT", "ETH")] {
        let step: Quantity = "0.00001000".parse().unwrap();
        all.upsert(Instrument {
            id: InstrumentId(0),
            symbol: InlineStr::new(symbol).unwrap(),
            base: Asset::new(base).unwrap(),
            quote: Asset::new("USDT").unwrap(),
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            tick_size: "0.01000000".parse().unwrap(),
            min_price: "0.01000000".parse().unwrap(),
            max_price: "1000000.00000000".parse().unwrap(),
            lot: LotRule { min: step, max: "9000.00000000".parse().unwrap(), step },
            market_lot: LotRule::default(),
            min_notional: "5.00000000".parse().unwrap(),
            min_notional_applies_to_market: true,
            max_notional: None,
            percent_price: None,
            max_open_orders: 200,
            max_open_algo_orders: 5,
        });
    }
    all
}

/// Every guard on, at limits that these orders do not reach.
fn guards() -> GuardLimits {
    let errors = BreakerLimit { count: 10, window_ms: 60_000 };
    GuardLimits {
        price_window_ms: 60_000,
        window_collar_bps: 500,
        volatility_bps: 2_000,
        unfilled_orders_max: 10_000,
        cancel_ratio_percent_max: 1_000,
        cancel_ratio_orders_min: 1,
        count_window_ms: 16,
        strategy_rate_per_s: 1_000_000,
        strategy_burst: 1_000_000,
        reentries_max: 1_000,
        reentry_window_ms: 60_000,
        drawdown_max: Some(Notional::from_int(1_000_000)),
        strategy_daily_loss_max: Some(Notional::from_int(1_000_000)),
        strategy_drawdown_max: Some(Notional::from_int(1_000_000)),
        cancel_on_disconnect_ms: 30_000,
        clock_offset_ms_max: 1_000,
        clock_age_ms_max: 10_000,
        liquidation_distance_bps_min: 1_000,
        maintenance_margin_bps: 50,
        order_errors: errors,
        venue_errors: errors,
        loss_streak_count: 5,
        breaker_timeout_ms: 60_000,
        loss_timeout_ms: 60_000,
        probe_notional_max: Notional::from_int(100),
        protections: ProtectionLimits { cooldown_ms: 1_000, ..ProtectionLimits::default() },
    }
}

fn main() {
    let limits = RiskLimits {
        order_rate_per_s: 1_000_000,
        order_burst: 1_000_000,
        position_notional_max: Notional::from_int(1_000_000),
        gross_exposure_max: Notional::from_int(1_000_000),
        open_orders_max: 1_000,
        open_orders_per_instrument_max: 1_000,
        guards: guards(),
        ..RiskLimits::default()
    };
    let mut risk = RiskService::new(limits, &instruments()).unwrap();
    let mut now = Timestamp::from_ms(1_700_000_000_000);
    let balance = |name: &str| Balance {
        asset: Asset::new(name).unwrap(),
        free: Notional::from_int(10_000_000),
        locked: Notional::ZERO,
    };
    risk.on_balances(&[balance("USDT"), balance("BTC"), balance("ETH")], true, now);
    risk.set_state(TradingState::Active);
    risk.set_strategies(["one", "two"].into_iter());
    risk.on_clock(Some(1_000_000), now);
    let mut sequence = 0;
    let mut order = |side, at: i64| {
        sequence += 1;
        let quantity: Quantity = "0.00100000".parse().unwrap();
        let price = Price::new(at, 2).unwrap();
        NewOrder {
            client_order_id: ClientOrderId { instance: 1, epoch: 1, sequence },
            strategy: StrategyId(0),
            ts_decided: Timestamp::from_ms(0),
            intent: OrderIntent::limit(InstrumentId(0), side, quantity, price, OrderPurpose::Entry),
        }
    };
    let (bid, ask): (Price, Price) = ("60000.00000000".parse().unwrap(), "60000.01000000".parse().unwrap());
    risk.on_quote(InstrumentId(0), bid, ask, now);
    for at in 0..OPEN {
        let (side, base) = if at % 2 == 0 { (Side::Buy, 5_990_000) } else { (Side::Sell, 6_010_000) };
        let resting = order(side, base + at as i64);
        let _kept = risk.review(resting, now).unwrap();
    }
    let mut samples = Vec::with_capacity(BATCHES);
    for batch in 0..BATCHES {
        now = Timestamp::from_ns(now.as_ns() + 100_000);
        risk.on_quote(InstrumentId(0), bid, ask, now);
        risk.on_clock(Some(1_000_000), now);
        risk.on_cancel(now);
        let orders: Vec<NewOrder> =
            (0..BATCH).map(|at| order(Side::Buy, 5_999_000 - (batch as i64 % 500) - at as i64 * 500)).collect();
        let start = Instant::now();
        for order in &orders {
            let _approved = black_box(risk.review(black_box(*order), now));
        }
        samples.push(start.elapsed().as_nanos() as u64 / BATCH);
        for order in &orders {
            assert!(risk.release(InstrumentId(0), order.client_order_id), "every order must have passed");
        }
    }
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    println!(
        "review with {OPEN} open orders, ns: p50 {} · p90 {} · p99 {} · max {}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}
