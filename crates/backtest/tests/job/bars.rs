//! What fills when on bars.

use crate::desk::*;
use keel_backtest::{BacktestResult, JobConfig};
use keel_model::{InstrumentKind, OrderType, Side};
use keel_sim::BarFill;

type Row = (i64, i64, i64, i64, i64);
const CALM: Row = (10_000, 10_050, 9_950, 10_000, 100_000);

fn perpetual() -> JobConfig {
    config(InstrumentKind::LinearPerpetual)
}

fn play(job: JobConfig, rows: &[Row], acts: &[Act], on_fill: &[Act]) -> (BacktestResult, Vec<(usize, String)>) {
    let (script, ears) = Script::following(acts, on_fill);
    let result = on_bars(job, &bars(rows), script);
    (result, heard(&ears))
}

fn fills(result: &BacktestResult) -> Vec<String> {
    let line = |(_, fill): &(_, keel_model::Fill)| format!("{:?} {} at {}", fill.side, fill.quantity, fill.price);
    result.log.fills.iter().map(line).collect()
}

#[test]
fn a_market_order_fills_at_the_close_it_was_decided_on_or_at_the_next_open() {
    let rows = [CALM, (10_010, 10_030, 9_990, 10_020, 100_000), CALM];
    let act = [Act::market(1, Side::Buy, "1.000")];
    let (result, ears) = play(perpetual(), &rows, &act, &[]);
    assert_eq!((fills(&result), ears), (vec!["Buy 1.000 at 100.00".into()], vec![(1, "Buy 1.000 at 100.00".into())]));
    let mut job = perpetual();
    job.replay.sim.bar_fill = BarFill::NextOpen;
    let (result, ears) = play(job.clone(), &rows, &act, &[]);
    assert_eq!(ears, [(1, "Buy 1.000 at 100.10".into())], "heard before the second bar");
    assert_eq!(result.log.fills[0].1.ts_event.as_ns(), START_NS + 60_000_000_000, "at the open, not at the close");
    let (result, _) = play(job, &rows, &[Act::market(3, Side::Buy, "1.000")], &[]);
    assert_eq!((result.orders, result.fills), (1, 0), "after the last bar there is no open");
}

#[test]
fn slippage_makes_takers_worse_off_on_both_sides() {
    let mut job = perpetual();
    job.replay.sim.slippage_bps = 10;
    let acts = [Act::market(1, Side::Buy, "1.000"), Act::market(2, Side::Sell, "1.000")];
    let (result, _) = play(job, &[CALM, CALM, CALM], &acts, &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 100.10", "Sell 1.000 at 99.90"]);
}

#[test]
fn a_resting_limit_fills_at_its_price_only_when_the_price_went_through_it() {
    let touched = (10_000, 10_050, 9_900, 10_000, 100_000);
    let through = (10_000, 10_050, 9_899, 10_000, 100_000);
    let gap = (9_800, 9_850, 9_790, 9_800, 100_000);
    let buy = [Act::limit(1, Side::Buy, "1.000", "99.00")];
    assert_eq!(fills(&play(perpetual(), &[CALM, touched, touched], &buy, &[]).0), [""; 0]);
    assert_eq!(fills(&play(perpetual(), &[CALM, through], &buy, &[]).0), ["Buy 1.000 at 99.00"]);
    let (result, _) = play(perpetual(), &[CALM, gap], &buy, &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 99.00"], "a gap does not make a resting order cheaper");
    assert_eq!(result.log.fills[0].1.liquidity, keel_model::Liquidity::Maker);
    let sell = [Act::limit(1, Side::Sell, "1.000", "100.50")];
    assert_eq!(fills(&play(perpetual(), &[CALM, CALM], &sell, &[]).0), [""; 0]);
    assert_eq!(fills(&play(perpetual(), &[CALM, (10_000, 10_051, 9_950, 10_000, 1)], &sell, &[]).0).len(), 1);
}

#[test]
fn the_bar_that_an_order_was_placed_on_does_not_fill_it() {
    let wild = (10_000, 12_000, 8_000, 10_000, 100_000);
    let acts = [Act::limit(1, Side::Buy, "1.000", "99.00"), Act::stop(1, Side::Sell, "1.000", "98.00")];
    assert_eq!(fills(&play(perpetual(), &[wild, CALM], &acts, &[]).0), [""; 0], "what has passed is past");
}

#[test]
fn a_stop_fills_at_its_trigger_or_at_an_open_beyond_it() {
    let entry = Act::market(1, Side::Buy, "1.000");
    let stop = Act::stop(1, Side::Sell, "1.000", "99.00");
    let through = (10_000, 10_050, 9_850, 10_000, 100_000);
    let (result, _) = play(perpetual(), &[CALM, through], &[entry, stop], &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 100.00", "Sell 1.000 at 99.00"]);
    assert_eq!(result.trades[0].exit_reason, "stop-loss");
    let gap = (9_700, 9_750, 9_650, 9_700, 100_000);
    let (result, _) = play(perpetual(), &[CALM, gap], &[entry, stop], &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 100.00", "Sell 1.000 at 97.00"], "the gap is the trader's loss");
}

#[test]
fn where_a_bar_reaches_stop_and_target_the_stop_comes_first() {
    let entry = Act::market(1, Side::Buy, "1.000");
    let exits = [Act::stop(1, Side::Sell, "1.000", "99.00"), Act::limit(1, Side::Sell, "1.000", "101.00")];
    // Whatever way the bar closes.
    for close in [9_990, 10_010] {
        let both = (10_000, 10_200, 9_800, close, 100_000);
        let (result, ears) = play(perpetual(), &[CALM, both], &[entry, exits[0], exits[1]], &[]);
        assert_eq!(fills(&result)[..2], ["Buy 1.000 at 100.00", "Sell 1.000 at 99.00"], "{ears:?}");
    }
}

#[test]
fn an_exit_placed_within_a_bar_may_be_stopped_in_it_but_does_not_win_in_it() {
    let entry = Act::limit(1, Side::Buy, "1.000", "99.50");
    let wild = (10_000, 10_300, 9_800, 10_000, 100_000);
    let target = Act::limit(0, Side::Sell, "1.000", "101.00");
    let (result, _) = play(perpetual(), &[CALM, wild, CALM], &[entry], &[target]);
    assert_eq!(fills(&result), ["Buy 1.000 at 99.50"], "the way after the fill is not known");
    let (result, _) = play(perpetual(), &[CALM, wild, wild], &[entry], &[target]);
    assert_eq!(fills(&result), ["Buy 1.000 at 99.50", "Sell 1.000 at 101.00"], "the next bar may");
    let stop = Act::stop(0, Side::Sell, "1.000", "99.00");
    let (result, ears) = play(perpetual(), &[CALM, wild, CALM], &[entry], &[stop, target]);
    assert_eq!(fills(&result), ["Buy 1.000 at 99.50", "Sell 1.000 at 99.00"], "{ears:?}");
}

#[test]
fn take_profits_need_the_price_to_go_through_and_come_after_stops() {
    let entry = Act::market(1, Side::Buy, "1.000");
    let target = Act { order_type: OrderType::TakeProfit, ..Act::stop(1, Side::Sell, "1.000", "101.00") };
    let touched = (10_000, 10_100, 9_990, 10_050, 100_000);
    let through = (10_000, 10_101, 9_990, 10_050, 100_000);
    assert_eq!(fills(&play(perpetual(), &[CALM, touched], &[entry, target], &[]).0).len(), 1);
    let (result, _) = play(perpetual(), &[CALM, through], &[entry, target], &[]);
    assert_eq!(fills(&result)[1], "Sell 1.000 at 101.00");
    assert_eq!(result.trades[0].exit_reason, "target");
}

#[test]
fn no_more_than_its_share_of_a_bars_volume_fills() {
    let mut job = perpetual();
    // A tenth of a volume of 10 is 1.
    job.replay.sim.participation_bps = 1_000;
    let thin = (10_000, 10_050, 9_800, 10_000, 10_000);
    let (result, ears) = play(job.clone(), &[thin, thin, thin], &[Act::market(1, Side::Buy, "1.500")], &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 100.00"]);
    assert!(ears.iter().any(|(_, what)| what == "expired after 1.000"), "{ears:?}");
    let (result, _) = play(job, &[thin, thin, thin], &[Act::limit(1, Side::Buy, "1.500", "99.00")], &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 99.00", "Buy 0.500 at 99.00"], "a resting order waits for the next bar");
}

#[test]
fn a_bar_that_cannot_be_is_refused_and_counted() {
    let crossed = (10_000, 9_000, 9_500, 10_000, 1);
    let (result, _) = play(perpetual(), &[CALM, crossed, (0, 0, 0, 0, 0), CALM], &[], &[]);
    assert_eq!((result.rows, result.rows_refused), (4, 2));
}

#[test]
fn an_order_that_takes_its_time_finds_the_price_of_its_arrival() {
    let mut job = perpetual();
    job.replay.is_instant = false;
    job.replay.timer_interval = MINUTE;
    job.replay.sim.latency.order_in = std::time::Duration::from_secs(5);
    job.replay.sim.latency.report_out = std::time::Duration::from_secs(5);
    let rows = [CALM, (10_010, 10_030, 9_990, 10_020, 100_000), (10_040, 10_060, 10_030, 10_050, 100_000), CALM];
    let act = [Act::market(1, Side::Buy, "1.000")];
    let (result, ears) = play(job.clone(), &rows, &act, &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 100.00"], "the last close is all that is known");
    assert_eq!(result.log.fills[0].1.ts_event.as_ns(), START_NS + 65_000_000_000);
    assert_eq!(ears.len(), 1);
    job.replay.sim.bar_fill = BarFill::NextOpen;
    let (result, _) = play(job, &rows, &act, &[]);
    assert_eq!(fills(&result), ["Buy 1.000 at 100.40"], "too late for the open of the second bar");
}

#[test]
fn the_stop_of_an_entry_that_fills_after_a_gap_rests_from_the_first_price_on() {
    let calm = (10_000, 10_000, 10_000, 10_000, 1_000_000);
    let mut rows = vec![calm; 30];
    rows[27] = (10_000, 10_100, 10_000, 10_100, 1_000_000);
    // After the gap: entered at the open, stopped within the same bar.
    rows[28] = (10_080, 10_080, 9_900, 10_050, 1_000_000);
    let mut columns = bars(&rows);
    columns.ts_open_ns.iter_mut().skip(28).for_each(|time| *time += 13 * 3_600_000_000_000);
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.replay.sim.bar_fill = keel_sim::BarFill::NextOpen;
    let params = keel_strategy::Params::new().with("bar_s", 60).with("order_notional_quote", 5_000);
    let result = on_bars(job, &columns, vec![keel_strategy::build("bollinger-breakout", ID, &params).unwrap()]);
    let fills: Vec<(u64, String)> =
        result.log.fills.iter().map(|(_, fill)| (fill.ts_event.as_ns(), fill.price.to_string())).collect();
    let open = columns.ts_open_ns[28];
    assert_eq!(fills, [(open, "100.80".to_owned()), (open + 60_000_000_000, "100.05".to_owned())]);
    assert_eq!(result.trades[0].exit_reason, "stop-loss");
}
