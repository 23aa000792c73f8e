//! Several series, gaps, warm-up, and data that cannot be used.

use crate::desk::*;
use keel_backtest::{BacktestError, Rows, Series, run};
use keel_marketdata::columns::{BarColumns, Interval};
use keel_model::{Bar, InstrumentId, InstrumentKind, Side};
use keel_strategy::{Context, Strategy, Subscription};
use std::sync::{Arc, Mutex};

/// Writes down every bar that it hears: instrument, length in minutes, minute of its close.
#[derive(Debug)]
struct Listener {
    wants: Vec<(InstrumentId, u64)>,
    heard: Arc<Mutex<Vec<(u32, u64, u64)>>>,
}

impl Strategy for Listener {
    fn name(&self) -> &str {
        "listener"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        self.wants.iter().map(|(id, minutes)| Subscription::bars(*id, MINUTE * *minutes as u32)).collect()
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        assert_eq!(ctx.now(), bar.ts_close, "a bar is known when it has closed");
        let minutes = bar.ts_close.since(bar.ts_open).as_secs() / 60;
        let at = (bar.ts_close.as_ns() - START_NS) / 60_000_000_000;
        self.heard.lock().unwrap().push((bar.instrument.0, minutes, at));
    }
}

fn hours(rows: usize) -> BarColumns {
    let mut columns = BarColumns::new(Interval::Seconds(180), 2, 3);
    for at in 0..rows {
        columns.ts_open_ns.push(START_NS + at as u64 * 180_000_000_000);
        for column in [&mut columns.open, &mut columns.high, &mut columns.low, &mut columns.close, &mut columns.volume]
        {
            column.push(10_000);
        }
    }
    columns
}

#[test]
fn instruments_and_lengths_are_merged_by_time_the_shorter_bar_first_at_the_same_moment() {
    let both = [
        instrument("BTCUSDT", InstrumentKind::LinearPerpetual),
        instrument("ETHUSDT", InstrumentKind::LinearPerpetual),
    ];
    let (minute, other, long) = (walk(1, 6), walk(2, 6), hours(2));
    let second = InstrumentId(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Listener { wants: vec![(ID, 1), (ID, 3), (second, 1)], heard: Arc::clone(&heard) };
    let series = [
        Series { instrument: ID, rows: Rows::Bars(&long) },
        Series { instrument: ID, rows: Rows::Bars(&minute) },
        Series { instrument: second, rows: Rows::Bars(&other) },
    ];
    let result = run(config_of(&both), &series, vec![Box::new(listener)], &|| 0.0).unwrap();
    let expected = [
        (0, 1, 1),
        (1, 1, 1),
        (0, 1, 2),
        (1, 1, 2),
        (0, 1, 3),
        (1, 1, 3),
        (0, 3, 3),
        (0, 1, 4),
        (1, 1, 4),
        (0, 1, 5),
        (1, 1, 5),
        (0, 1, 6),
        (1, 1, 6),
        (0, 3, 6),
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
    assert_eq!((result.rows, result.positions.len(), result.final_position), (14, 2, None));
}

#[test]
fn two_instruments_trade_on_one_account() {
    let both = [
        instrument("BTCUSDT", InstrumentKind::LinearPerpetual),
        instrument("ETHUSDT", InstrumentKind::LinearPerpetual),
    ];
    let (one, other) = (walk(1, 1_500), walk(2, 1_500));
    let alone = |columns: &BarColumns| on_bars(config(InstrumentKind::LinearPerpetual), columns, flip(&[]));
    let series = [
        Series { instrument: ID, rows: Rows::Bars(&one) },
        Series { instrument: InstrumentId(1), rows: Rows::Bars(&other) },
    ];
    let strategies = flip_on(ID, &[]).into_iter().chain(flip_on(InstrumentId(1), &[])).collect();
    let result = run(config_of(&both), &series, strategies, &|| 0.0).unwrap();
    let (first, second) = (alone(&one), alone(&other));
    assert_eq!(result.orders, first.orders + second.orders);
    let sum = first.final_balance.checked_add(second.final_balance).unwrap();
    assert_eq!(result.final_balance, sum.checked_sub(money("1000000")).unwrap(), "one account, both results");
}

#[test]
fn gaps_are_counted_and_nothing_is_made_up_for_them() {
    let mut columns = walk(1, 100);
    for time in columns.ts_open_ns.iter_mut().skip(40) {
        *time += 5 * 60_000_000_000;
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Listener { wants: vec![(ID, 1)], heard: Arc::clone(&heard) };
    let result = on_bars(config(InstrumentKind::LinearPerpetual), &columns, vec![Box::new(listener)]);
    let gaps = &result.gaps[0];
    assert_eq!((gaps.series.as_str(), gaps.count, gaps.bars_missing), ("BTCUSDT bars 1m", 1, 5));
    assert_eq!(gaps.longest_ns, 300_000_000_000);
    assert_eq!(heard.lock().unwrap().len(), 100);
}

#[test]
fn while_it_warms_up_a_strategy_sees_everything_and_opens_nothing() {
    let columns = walk(5, 1_000);
    let full = on_bars(config(InstrumentKind::LinearPerpetual), &columns, flip(&[]));
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.warmup_rows = 500;
    let warm = on_bars(job, &columns, flip(&[]));
    assert!(warm.orders > 0 && warm.orders < full.orders);
    let begins = warm.log.orders[0].ts_decided.as_ns();
    assert!(begins > START_NS + 500 * 60_000_000_000, "{begins}");
    assert_eq!(warm.orders_denied, 0, "what was refused while it warmed up is not counted");
    // The averages are those of the whole history: from the first common entry on, both runs do the same.
    let times = |result: &keel_backtest::BacktestResult| -> Vec<u64> {
        result.log.orders.iter().map(|order| order.ts_decided.as_ns()).collect()
    };
    let (all, late) = (times(&full), times(&warm));
    assert_eq!(late[late.len() - 20..], all[all.len() - 20..]);
}

#[test]
fn rows_that_run_backwards_and_accounts_in_two_currencies_are_refused() {
    let mut columns = walk(1, 10);
    columns.ts_open_ns.swap(3, 4);
    let series = [Series { instrument: ID, rows: Rows::Bars(&columns) }];
    let refused = run(config(InstrumentKind::LinearPerpetual), &series, flip(&[]), &|| 0.0).unwrap_err();
    assert_eq!(refused.to_string(), "BTCUSDT bars 1m: row 4 is older than the one before it; sort the data first");
    let mut other = instrument("ETHUSDT", InstrumentKind::Spot);
    other.quote = asset("EUR");
    let both = config_of(&[instrument("BTCUSDT", InstrumentKind::Spot), other]);
    assert!(matches!(run(both, &[], Vec::new(), &|| 0.0), Err(BacktestError::QuoteAssets { .. })));
}

#[test]
fn no_rows_and_no_trades_are_an_end_like_any_other() {
    let empty = walk(1, 0);
    let result = on_bars(config(InstrumentKind::LinearPerpetual), &empty, flip(&[]));
    assert_eq!((result.rows, result.orders, result.fills), (0, 0, 0));
    assert_eq!(result.final_balance.to_string(), "1000000.00000000");
    assert!(result.daily.equity.is_empty() && result.trades.is_empty());
    let idle = vec![keel_strategy::build("idle", ID, &keel_strategy::Params::new()).unwrap()];
    let result = on_bars(config(InstrumentKind::LinearPerpetual), &walk(1, 3_000), idle);
    assert_eq!(result.daily.equity, [1_000_000.0; 3], "two days that ended, and the last one");
}

#[test]
fn marks_are_kept_for_each_bar_when_asked_for() {
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.has_marks = true;
    let columns = walk(1, 300);
    let result = on_bars(job, &columns, flip(&[]));
    assert_eq!(result.marks.equity.len(), 300);
    assert_eq!(result.marks.equity.last().copied(), result.final_equity.map(keel_model::Notional::to_f64));
    assert_eq!(result.marks.ts_ns[0], START_NS + 60_000_000_000);
}

#[test]
fn a_decision_is_the_same_when_the_future_is_cut_off() {
    let columns = walk(8, 1_200);
    let cut = |rows: usize| {
        let mut part = columns.clone();
        for column in [&mut part.open, &mut part.high, &mut part.low, &mut part.close, &mut part.volume] {
            column.truncate(rows);
        }
        part.ts_open_ns.truncate(rows);
        on_bars(config(InstrumentKind::LinearPerpetual), &part, flip(&[])).log.orders
    };
    let whole = cut(1_200);
    for rows in [100, 333, 801, 1_199] {
        let part = cut(rows);
        assert_eq!(part.as_slice(), &whole[..part.len()], "{rows}");
    }
}

#[test]
fn trades_alone_are_a_market_too() {
    let mut trades = keel_marketdata::columns::TradeColumns { price_scale: 2, quantity_scale: 3, ..Default::default() };
    for (at, price) in [10_000, 10_000, 9_990, 9_980, 10_020, 10_030].into_iter().enumerate() {
        trades.ts_ns.push(START_NS + at as u64 * 30_000_000_000);
        trades.trade_id.push(at as u64 + 1);
        trades.price.push(price);
        trades.quantity.push(500);
        trades.is_sell.push(false);
    }
    // Bars are built of the trades; the first closes with the trade after a minute.
    let fills = |act: Act| -> Vec<String> {
        let mut job = config(InstrumentKind::LinearPerpetual);
        job.replay.engine.has_trade_prices = true;
        let (script, _) = Script::following(&[act], &[]);
        let series = [Series { instrument: ID, rows: Rows::Trades(&trades) }];
        let result = run(job, &series, script, &|| 0.0).unwrap();
        result.log.fills.iter().map(|(_, it)| format!("{:?} {} at {}", it.side, it.quantity, it.price)).collect()
    };
    let through = fills(Act::limit(1, Side::Buy, "0.800", "99.85"));
    assert_eq!(through, ["Buy 0.500 at 99.85"], "no more than was traded, through the price");
    assert_eq!(fills(Act::market(2, Side::Sell, "0.800")), ["Sell 0.800 at 100.20"]);
}
