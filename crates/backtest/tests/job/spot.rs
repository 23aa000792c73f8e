//! Spot with fees taken in coins: trades end although a rest is left, and their profits add up.

use crate::desk::*;
use keel_backtest::{BacktestResult, Rows, Series, run};
use keel_marketdata::columns::BarColumns;
use keel_model::{InstrumentKind, Notional, Side};
use keel_strategy::{Params, build};

/// Profits of all trades, and what they must be: what the balance gained, and the coins that are left at the last exit price.
fn sums(result: &BacktestResult, coins_left: f64) -> (f64, f64) {
    let gained = result.final_balance.checked_sub(result.start_balance).unwrap().to_f64();
    let last = result.log.fills.iter().rev().find(|(_, fill)| fill.side == Side::Sell).unwrap().1.price.to_f64();
    (result.trades.iter().map(|trade| trade.pnl).sum(), gained + coins_left * last)
}

/// Coins that were bought, less fees in coins, less what was sold.
fn coins_left(result: &BacktestResult) -> f64 {
    let fills = result.log.fills.iter().map(|(_, fill)| {
        let fee = if fill.side == Side::Buy { fill.fee.to_f64() } else { 0.0 };
        fill.quantity.to_f64() * fill.side.sign() as f64 - fee
    });
    fills.sum()
}

#[test]
fn round_trips_with_a_fee_in_coins_are_trades_and_their_profits_add_up_to_the_balance() {
    let columns = walk(11, 400);
    let acts: Vec<Act> = (0..30)
        .flat_map(|trip| {
            [Act::market(10 + trip * 10, Side::Buy, "1"), Act::market(15 + trip * 10, Side::Sell, "0.999")]
        })
        .collect();
    let (strategies, heard) = Script::following(&acts, &[]);
    let result = on_bars(config(InstrumentKind::Spot), &columns, strategies);
    assert_eq!((result.fills, result.trades.len()), (60, 30), "{:?}", crate::desk::heard(&heard));
    let left = coins_left(&result);
    assert!((left - 30.0 * 0.0005).abs() < 1e-9, "each trip leaves half a step: {left}");
    let (sum, wanted) = sums(&result, left);
    assert!((sum - wanted).abs() < 1e-6, "{sum} {wanted}");
    for trade in &result.trades {
        assert!(trade.is_long && (trade.quantity - 1.0).abs() < 1e-12 && trade.exit_ns > trade.entry_ns, "{trade:?}");
        let plain = (trade.exit_price - trade.entry_price) * 0.999 - trade.fees;
        assert!((trade.pnl - plain).abs() < 0.1 + 0.016 * 4_000.0, "no trade pays for another one: {trade:?}");
    }
}

#[test]
fn a_strategy_on_spot_has_as_many_trades_as_entries() {
    let columns = walk(3, 4_000);
    let params = Params::new().with("bar_s", 60);
    for name in ["rsi-reversion", "ema-cross", "bollinger-breakout"] {
        let strategies = vec![build(name, ID, &params).unwrap()];
        let result = on_bars(config(InstrumentKind::Spot), &columns, strategies);
        let entries = result.log.fills.iter().filter(|(_, fill)| fill.side == Side::Buy).count();
        let counts = (result.trades.len(), &result.refusals, &result.positions);
        assert!(entries > 20 && result.trades.len().abs_diff(entries) <= 1, "{name}: {entries} {counts:?}");
        if result.trades.len() == entries {
            let (sum, wanted) = sums(&result, coins_left(&result));
            assert!((sum - wanted).abs() < 1e-6, "{name}: {sum} {wanted}");
        }
    }
}

/// Bars that close at midnight end their day, the first and the last bar included.
#[test]
fn a_bar_that_closes_at_midnight_belongs_to_the_day_that_ends() {
    let mut columns: BarColumns = walk(9, 2 * 1_440 + 1);
    for time in &mut columns.ts_open_ns {
        // The first bar closes at midnight.
        *time -= 60_000_000_000;
    }
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.has_marks = true;
    let series = [Series { instrument: ID, rows: Rows::Bars(&columns) }];
    let result = run(job, &series, flip(&[]), &|| 0.0).unwrap();
    let day = 86_400_000_000_000;
    assert_eq!(result.daily.ts_ns, [START_NS, START_NS + day, START_NS + 2 * day]);
    let at = |bar: usize| result.marks.equity[bar];
    assert_eq!(result.daily.equity[..2], [at(0), at(1_440)]);
    assert_eq!(result.final_equity.map(Notional::to_f64), result.daily.equity.last().copied());
    assert!(at(1_440) != at(1_441) && result.orders > 50);
}
