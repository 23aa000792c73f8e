//! The job that backtesters are compared by, against an independent count in whole numbers.

use crate::desk::*;
use keel_backtest::{Rows, Series, run};
use keel_model::{InstrumentKind, Notional};
use keel_strategy::{Params, build};

/// Orders, position in thousandths and balance in 10^-8, of the golden job: averages of 10 and 20, from the 20th input on, 0.010
/// a side; `touch` gives the price of a buy and of a sell in cents.
fn count(inputs: &[f64], touch: impl Fn(usize) -> (i64, i64)) -> (u64, i64, i128) {
    let (mut fast, mut slow) = (inputs[0], inputs[0]);
    let (mut orders, mut position, mut entry, mut balance) = (0, 0i64, 0i64, 1_000_000i128 * 100_000_000);
    for (at, x) in inputs.iter().enumerate() {
        if at > 0 {
            fast = 2.0 / 11.0 * x + (1.0 - 2.0 / 11.0) * fast;
            slow = 2.0 / 21.0 * x + (1.0 - 2.0 / 21.0) * slow;
        }
        let wanted = if fast >= slow { 10 } else { -10 };
        if at < 19 || wanted == position {
            continue;
        }
        let (buy, sell) = touch(at);
        let price = if wanted > 0 { buy } else { sell };
        // Cents · 0.01 · 0.0005 is a whole number of 10^-8.
        let fee = i128::from(price) * 5;
        if position != 0 {
            balance += i128::from((price - entry) * position.signum()) * 10_000 - fee;
            orders += 1;
        }
        balance -= fee;
        (orders, position, entry) = (orders + 1, wanted, price);
    }
    (orders, position, balance)
}

fn shown(balance: i128) -> Notional {
    Notional::new(balance, 8).unwrap()
}

#[test]
fn the_golden_job_on_bars_is_exact_to_the_last_digit() {
    for seed in 1..=5 {
        let columns = walk(seed, 4_000);
        let closes: Vec<f64> = columns.close.iter().map(|close| *close as f64 / 100.0).collect();
        let (orders, position, balance) = count(&closes, |at| (columns.close[at], columns.close[at]));
        assert!(orders > 300, "{orders}");
        let params = [("order_quantity_base", "0.010")];
        let result = on_bars(config(InstrumentKind::LinearPerpetual), &columns, flip(&params));
        assert_eq!((result.rows, result.orders, result.fills), (4_000, orders, orders));
        assert_eq!(result.final_position.unwrap().to_string(), format!("{}0.010", if position < 0 { "-" } else { "" }));
        assert_eq!(result.final_balance.to_string(), shown(balance).to_string());
        assert_eq!((result.orders_denied, result.orders_rejected, result.rows_refused), (0, 0, 0));
        assert_eq!(result.trades.len() as u64, orders / 2, "each trade is an entry and an exit; the last is open");
        let realized: f64 = result.trades.iter().map(|trade| trade.pnl).sum();
        let last_fee = result.log.fills.last().unwrap().1.fee.to_f64();
        let total = shown(balance).to_f64() - 1_000_000.0;
        assert!((realized - last_fee - total).abs() < 1e-6, "{realized} {total}");
        // The books of the engine and those of the venue are two counts of the same.
        assert_eq!(result.positions[0].quantity, result.final_position.unwrap());
        let open = result.positions[0].unrealized.unwrap();
        assert_eq!(result.final_equity.unwrap(), result.final_balance.checked_add(open).unwrap());
    }
}

#[test]
fn the_golden_job_on_quotes_is_exact_to_the_last_digit() {
    for seed in 1..=3 {
        let columns = quotes(seed, 4_000);
        let middle = |at: usize| (columns.bid[at] as f64 / 100.0 + columns.ask[at] as f64 / 100.0) / 2.0;
        let inputs: Vec<f64> = (0..columns.len()).map(middle).collect();
        let (orders, _, balance) = count(&inputs, |at| (columns.ask[at], columns.bid[at]));
        let params = [("input", "quotes"), ("order_quantity_base", "0.010")];
        let series = [Series { instrument: ID, rows: Rows::Quotes(&columns) }];
        let result = run(config(InstrumentKind::LinearPerpetual), &series, flip(&params), &|| 0.0).unwrap();
        assert_eq!((result.orders, result.fills), (orders, orders));
        assert_eq!(result.final_balance, shown(balance));
    }
}

#[test]
fn fills_at_the_next_open_are_exact_too() {
    let columns = walk(9, 5_000);
    let closes: Vec<f64> = columns.close.iter().map(|close| *close as f64 / 100.0).collect();
    let (mut fast, mut slow, mut position, mut pending) = (closes[0], closes[0], 0i64, 0i64);
    let (mut cash, mut orders) = (1_000_000i128 * 100_000_000, 0u64);
    let mut entry = 0i64;
    for (at, close) in closes.iter().enumerate().skip(1) {
        let open = columns.open[at];
        if pending != 0 {
            // One unit: cents · 10^6 is the value in 10^-8, and 0.0005 of it the fee.
            cash -= i128::from(open) * 500;
            if pending > 0 {
                entry = open;
            } else {
                cash += i128::from(open - entry) * 1_000_000;
            }
            (position, orders, pending) = (position + pending, orders + 1, 0);
        }
        let was_above = fast > slow;
        fast = 2.0 / 21.0 * close + (1.0 - 2.0 / 21.0) * fast;
        slow = 2.0 / 51.0 * close + (1.0 - 2.0 / 51.0) * slow;
        if at >= 50 && position == 0 && fast > slow && !was_above {
            pending = 1;
        } else if at >= 50 && position == 1 && fast < slow && was_above {
            pending = -1;
        }
    }
    let params = [
        ("fast_bars_count", "20"),
        ("slow_bars_count", "50"),
        ("warmup_count", "51"),
        ("sides", "long"),
        ("signal", "cross"),
        ("order_quantity_base", "1"),
    ];
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.replay.sim.bar_fill = keel_sim::BarFill::NextOpen;
    let result = on_bars(job, &columns, flip(&params));
    assert!(orders > 20, "{orders}");
    assert_eq!((result.fills, result.final_balance), (orders, shown(cash)));
    assert!(result.log.fills.iter().all(|(_, fill)| fill.ts_event.as_ns() % 60_000_000_000 == 0));
}

#[test]
fn the_same_data_and_settings_give_the_same_digest() {
    let columns = walk(3, 2_000);
    let once = || on_bars(config(InstrumentKind::LinearPerpetual), &columns, flip(&[]));
    let first = once();
    assert_eq!(once(), first);
    assert_ne!(on_bars(config(InstrumentKind::LinearPerpetual), &walk(4, 2_000), flip(&[])).digest, first.digest);
}

/// While the venue publishes its market it fills every order the usual way, step by step.
#[test]
fn orders_that_are_filled_at_once_come_to_the_same_as_those_that_go_step_by_step() {
    let (columns, quoted) = (walk(5, 4_000), quotes(5, 4_000));
    let (bars, quotes) = (Rows::Bars(&columns), Rows::Quotes(&quoted));
    let (perpetual, spot) = (InstrumentKind::LinearPerpetual, InstrumentKind::Spot);
    let cross = || vec![build("ema-cross", ID, &Params::new().with("bar_s", 60)).unwrap()];
    let both = |input| flip(&[("input", input), ("order_quantity_base", "0.010")]);
    let run_all = |is_published: bool| {
        let once = |kind, rows, strategies| {
            let mut job = config(kind);
            job.replay.sim.publish_market_data = is_published;
            run(job, &[Series { instrument: ID, rows }], strategies, &|| 0.0).unwrap()
        };
        [once(perpetual, bars, both("bars")), once(perpetual, quotes, both("quotes")), once(spot, bars, cross())]
    };
    let at_once = run_all(false);
    assert!(at_once.iter().all(|result| result.fills > 20), "{:?}", at_once.each_ref().map(|result| result.fills));
    assert_eq!(run_all(true), at_once);
}
