//! Speed of the exact engine, risk on: EMA cross over bars and quotes with accounts (the golden job), the job with fills at the
//! next open (W3), the cost of an order from thousands to a million, and the memory that a run needs beside its data. CPU time
//! of the loop alone, fastest of several runs; every answer that is known is checked.
//!
//! `cargo bench -p keel-backtest --bench golden`. Bars are made by the integer generator of the benchmark jobs (SplitMix64 in
//! counter form); the golden files of the EMA job are read where `KEEL_GOLDEN` names their folder. To profile: a part of a
//! job's name and a number of rows, such as `-- dense 20000`, and `KEEL_RUNS=1`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use keel_backtest::{BacktestResult, JobConfig, ReplayConfig, Rows, Series, run};
use keel_engine::EngineConfig;
use keel_marketdata::columns::{BarColumns, Interval, QuoteColumns};
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, ExitPolicy, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Notional, Price,
    Quantity, ids::Symbol,
};
use keel_risk::RiskLimits;
use keel_sim::{BarFill, FeeModel, MarketKind, SimConfig};
use keel_strategy::{Params, build};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

const ID: InstrumentId = InstrumentId(0);
const ROWS: usize = 1_000_000;
const RUNS: u32 = 5;

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn mix(seed: u64, at: usize) -> u64 {
    let mut z = seed.wrapping_add((at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One-minute bars of the benchmark jobs, in hundredths.
fn generated(count: usize) -> BarColumns {
    let mut bars = BarColumns::new(Interval::MINUTE_1, 2, 4);
    let (mut walk, mut before) = (2_000_000_i64, 3_000_000_i64);
    for at in 0..count {
        let a = mix(0x5EED_0001, at);
        let sum = (a & 0xffff) + ((a >> 16) & 0xffff) + ((a >> 32) & 0xffff) + (a >> 48);
        walk += (sum as i64 - 131_070) >> 5;
        let x = walk.rem_euclid(8_000_000);
        let close = 1_000_000 + if x < 4_000_000 { x } else { 8_000_000 - x };
        let b = mix(0x5EED_0002, at);
        bars.ts_open_ns.push((1_577_836_800_000 + 60_000 * at as u64) * 1_000_000);
        bars.open.push(before);
        bars.high.push(before.max(close) + (b & 0x3ff) as i64);
        bars.low.push(before.min(close) - ((b >> 10) & 0x3ff) as i64);
        bars.close.push(close);
        bars.volume.push(1 + ((b >> 20) & 0xf_ffff) as i64);
        before = close;
    }
    bars
}

/// A quote a tick to each side of each close, 100 ms apart.
fn quotes_of(bars: &BarColumns) -> QuoteColumns {
    let count = bars.len();
    QuoteColumns {
        price_scale: 2,
        quantity_scale: 3,
        ts_ns: (0..count as u64).map(|at| 1_704_067_200_000_000_000 + (at + 1) * 100_000_000).collect(),
        bid: bars.close.iter().map(|close| close - 1).collect(),
        ask: bars.close.iter().map(|close| close + 1).collect(),
        bid_quantity: bars.volume.clone(),
        ask_quantity: bars.volume.clone(),
    }
}

enum Data {
    Bars(BarColumns),
    Quotes(QuoteColumns),
}

impl Data {
    fn rows(&self) -> Rows<'_> {
        match self {
            Self::Bars(bars) => Rows::Bars(bars),
            Self::Quotes(quotes) => Rows::Quotes(quotes),
        }
    }
}

/// A golden file: numbers with fixed places, times in nanoseconds (of a bar: its end).
fn golden(name: &str) -> Option<Data> {
    let text = std::fs::read_to_string(format!("{}/{name}.csv", std::env::var("KEEL_GOLDEN").ok()?)).ok()?;
    let is_bars = name.starts_with("bars");
    let mut bars = BarColumns::new(Interval::MINUTE_1, 2, 3);
    let mut quotes = QuoteColumns { price_scale: 2, quantity_scale: 3, ..QuoteColumns::default() };
    for line in text.lines().skip(1) {
        let mut cells = line.split(',').map(|cell| cell.replace('.', "").parse::<i64>().unwrap());
        let mut next = || cells.next().unwrap();
        let time = next() as u64;
        if is_bars {
            bars.ts_open_ns.push(time - 60_000_000_000);
            for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume] {
                column.push(next());
            }
        } else {
            quotes.ts_ns.push(time);
            for column in [&mut quotes.bid, &mut quotes.ask, &mut quotes.bid_quantity, &mut quotes.ask_quantity] {
                column.push(next());
            }
        }
    }
    Some(if is_bars { Data::Bars(bars) } else { Data::Quotes(quotes) })
}

#[derive(Clone, Copy)]
struct Job {
    strategy: &'static str,
    fast: &'static str,
    slow: &'static str,
    warmup: &'static str,
    sides: &'static str,
    signal: &'static str,
    quantity: &'static str,
    balance: i64,
    fee: i64,
    fill: BarFill,
}

const GOLDEN: Job = Job {
    strategy: "ema-cross-flip",
    fast: "10",
    slow: "20",
    warmup: "0",
    sides: "both",
    signal: "level",
    quantity: "0.010",
    balance: 1_000_000,
    fee: 5,
    fill: BarFill::Close,
};
const W3: Job = Job {
    fast: "20",
    slow: "50",
    warmup: "51",
    sides: "long",
    signal: "cross",
    quantity: "1",
    balance: 10_000_000,
    fee: 10,
    fill: BarFill::NextOpen,
    ..GOLDEN
};
/// Changes sides with each price.
const DENSE: Job = Job { fast: "1", slow: "2", ..GOLDEN };
const IDLE: Job = Job { strategy: "idle", ..GOLDEN };

fn instrument() -> Instrument {
    let lot = Quantity::new(1, 3).unwrap();
    Instrument {
        id: ID,
        symbol: Symbol::new("BTCUSDT").unwrap(),
        base: Asset::new("BTC").unwrap(),
        quote: Asset::new("USDT").unwrap(),
        kind: InstrumentKind::LinearPerpetual,
        status: InstrumentStatus::Trading,
        tick_size: Price::new(1, 2).unwrap(),
        min_price: Price::ZERO,
        max_price: Price::ZERO,
        lot: LotRule { min: lot, max: Quantity::ZERO, step: lot },
        market_lot: LotRule::default(),
        min_notional: Notional::ZERO,
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    }
}

/// As `config/golden` sets it: every limit of risk is on, and wide.
fn config(job: &Job) -> JobConfig {
    let limits = RiskLimits {
        order_notional_max: Notional::from_int(1_000_000),
        position_notional_max: Notional::from_int(10_000_000),
        gross_exposure_max: Notional::from_int(100_000_000),
        leverage_max: 10,
        order_rate_per_s: 10_000,
        order_burst: 10_000,
        price_collar_bps: 5_000,
        reference_age_ms_max: 86_400_000,
        duplicate_window_ms: 0,
        daily_loss_max: Notional::from_int(1_000_000_000),
        ..RiskLimits::default()
    };
    let mut instruments = Instruments::new();
    instruments.upsert(instrument());
    let rate = Quantity::new(job.fee, 4).unwrap();
    let replay = ReplayConfig {
        engine: EngineConfig { instruments, limits, reconcile_interval_ms: 0, ..EngineConfig::default() },
        sim: SimConfig {
            fees: FeeModel { maker: rate, taker: rate },
            bar_fill: job.fill,
            leverage_max: 10,
            publish_market_data: false,
            ..SimConfig::default()
        },
        balances: vec![(Asset::new("USDT").unwrap(), Notional::from_int(job.balance))],
        timer_interval: Duration::from_secs(3_600),
        markets: vec![MarketKind::Touch],
        is_instant: true,
        exit_policy: ExitPolicy::Keep,
        ..ReplayConfig::default()
    };
    JobConfig { replay, ..JobConfig::default() }
}

fn once(job: &Job, rows: Rows<'_>) -> BacktestResult {
    let input = if matches!(rows, Rows::Bars(_)) { "bars" } else { "quotes" };
    let settings = [
        ("input", input),
        ("bar_s", "60"),
        ("fast_bars_count", job.fast),
        ("slow_bars_count", job.slow),
        ("warmup_count", job.warmup),
        ("sides", job.sides),
        ("signal", job.signal),
        ("order_quantity_base", job.quantity),
    ];
    let given = settings.iter().filter(|_| job.strategy != "idle");
    let params = given.fold(Params::new(), |params, (key, value)| params.with(key, value));
    let strategy = build(job.strategy, ID, &params).unwrap();
    run(config(job), &[Series { instrument: ID, rows }], vec![strategy], &cpu_seconds).unwrap()
}

/// Fastest of several runs, which must all come to the same.
fn fastest(job: &Job, rows: Rows<'_>) -> BacktestResult {
    let mut best = once(job, rows);
    let runs = std::env::var("KEEL_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    for _ in 1..runs {
        let next = once(job, rows);
        assert_eq!((next.orders, next.final_balance, &next.digest), (best.orders, best.final_balance, &best.digest));
        best.run_cpu_seconds = best.run_cpu_seconds.min(next.run_cpu_seconds);
    }
    best
}

/// One line; `idle` is what the rows alone cost, in seconds.
fn tell(name: &str, result: &BacktestResult, idle: f64) {
    let seconds = result.run_cpu_seconds;
    let per_row = seconds * 1e9 / result.rows as f64;
    let per_order = if result.orders > 0 { (seconds - idle).max(0.0) * 1e9 / result.orders as f64 } else { f64::NAN };
    println!(
        "{name:<22} {:>8} rows {:>8} orders {:>7.2} M rows/s {per_row:>8.1} ns/row {per_order:>8.0} ns/order  {} {}",
        result.rows,
        result.orders,
        result.rows as f64 / seconds / 1e6,
        result.final_balance,
        result.digest.get(..8).unwrap_or_default()
    );
}

fn first_bars(bars: &BarColumns, count: usize) -> BarColumns {
    let mut cut = bars.clone();
    cut.ts_open_ns.truncate(count);
    for column in [&mut cut.open, &mut cut.high, &mut cut.low, &mut cut.close, &mut cut.volume] {
        column.truncate(count);
    }
    cut
}

/// Largest resident memory so far; unit: KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() {
    let arguments = || std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let count = arguments().find_map(|argument| argument.parse().ok()).unwrap_or(ROWS);
    let only = arguments().find(|argument| argument.parse::<usize>().is_err());
    let is_wanted = |name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let bars = generated(count);
    let before = peak_kib();
    if is_wanted("memory") {
        once(&DENSE, Rows::Bars(&bars));
        println!("memory of a run beside its data: {} KiB", peak_kib() - before);
    }
    let quotes = quotes_of(&bars);
    let idle_bars = fastest(&IDLE, Rows::Bars(&bars));
    let idle_quotes = fastest(&IDLE, Rows::Quotes(&quotes));
    tell("idle, bars", &idle_bars, 0.0);
    tell("idle, quotes", &idle_quotes, 0.0);
    let idle_of = |rows: Rows<'_>| {
        let idle = if matches!(rows, Rows::Bars(_)) { &idle_bars } else { &idle_quotes };
        idle.run_cpu_seconds * rows.len() as f64 / count as f64
    };
    if is_wanted("w3") {
        let w3 = fastest(&W3, Rows::Bars(&bars));
        tell("W3", &w3, idle_of(Rows::Bars(&bars)));
        assert!(
            count != ROWS || (w3.orders, w3.final_equity.unwrap().to_string().as_str()) == (20_319, "9372197.61255000")
        );
    }
    for (name, rows) in [("ema, bars", Rows::Bars(&bars)), ("ema, quotes", Rows::Quotes(&quotes))] {
        if is_wanted(name) {
            tell(name, &fastest(&GOLDEN, rows), idle_of(rows));
        }
    }
    for (name, orders, balance) in [
        ("bars_100k", 9_137, "997712.87753390"),
        ("bars_1m", 90_483, "980807.29763100"),
        ("quotes_100k", 8_909, "997770.72645560"),
        ("quotes_1m", 90_405, "977861.05630880"),
    ] {
        if !is_wanted(name) {
            continue;
        }
        let Some(data) = golden(name) else {
            println!("SKIPPED: KEEL_GOLDEN names no folder with {name}.csv");
            continue;
        };
        let result = fastest(&GOLDEN, data.rows());
        tell(name, &result, idle_of(data.rows()));
        assert_eq!((result.orders, result.fills, result.final_balance.to_string().as_str()), (orders, orders, balance));
    }
    for part in [100, 10, 1] {
        if is_wanted("dense") {
            let cut = first_bars(&bars, count / part);
            tell("dense", &fastest(&DENSE, Rows::Bars(&cut)), idle_of(Rows::Bars(&cut)));
        }
    }
}
