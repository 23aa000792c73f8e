//! Starting, trading, stopping and repeating on made-up markets.

use crate::market::*;
use keel_backtest::{BacktestError, Replay, ReplayConfig, ReplayReport};
use keel_engine::Notice;
use keel_model::{Event, ExitPolicy, FeedEvent, FeedState, Instruments, Notional, StreamKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn run(config: ReplayConfig, names: &[&str], seed: u64, seconds: u64) -> ReplayReport {
    let mut replay = Replay::new(config, strategies(names)).unwrap();
    replay.feed_all(made_up(seed, seconds));
    replay.finish()
}

#[test]
fn both_examples_trade_and_the_books_of_engine_and_venue_agree() {
    let report = run(config(instruments()), &["market-maker", "ema-cross"], 1, 60);
    assert!(report.status.orders_total > 10, "{}", report.status.orders_total);
    assert!(report.status.fills_total > 2, "{}", report.status.fills_total);
    assert!(report.is_wound);
    assert!(report.status.open_orders.is_empty());
    for balance in &report.venue_balances {
        assert!(balance.locked.is_zero(), "{balance:?}");
        let ours = report.status.balances.iter().find(|ours| ours.asset == balance.asset).unwrap();
        assert_eq!(ours.free, balance.free, "engine and venue agree");
    }
    let fees = report.fees.iter().filter(|(_, fee)| fee.is_positive()).count();
    assert!(fees > 0);
    assert!(report.pnl.is_some());
    assert_eq!(report.refused_events, 0);
    assert!(report.recorded.iter().all(|(_, status)| !status.has_snapshot && status.unreadable == 0));
}

#[test]
fn the_same_events_and_settings_give_the_same_digest_every_time() {
    let first = run(config(instruments()), &["market-maker", "ema-cross"], 5, 30);
    assert!(first.status.fills_total > 0);
    for _ in 0..20 {
        let again = run(config(instruments()), &["market-maker", "ema-cross"], 5, 30);
        assert_eq!(again.digest, first.digest);
        assert_eq!(again.status, first.status);
        assert_eq!(again.pnl, first.pnl);
    }
    let mut other = config(instruments());
    other.sim.latency.order_in = Duration::from_millis(150);
    assert_ne!(run(other, &["market-maker", "ema-cross"], 5, 30).digest, first.digest, "latency matters");
}

#[test]
fn profit_is_what_positions_made_less_fees() {
    let report = run(config(instruments()), &["market-maker"], 3, 60);
    assert!(report.status.fills_total > 0);
    // The account's change in value at the end's prices: whatever was traded, nothing was made up.
    let start = [("USDT", "100000"), ("BTC", "2"), ("ETH", "20")];
    let changed = start.iter().filter(|(name, amount)| total(&report.venue_balances, name) != amount.parse().unwrap());
    assert_eq!(changed.count(), 2, "BTC and USDT changed");
    let (pnl, traded) = (report.pnl.unwrap().to_f64(), report.status.fills_total as f64 * 500.0);
    assert!(pnl.abs() < traded * 0.01, "{pnl} on about {traded} traded");
}

#[test]
fn nothing_is_sent_before_the_account_is_known_and_nothing_trades_after_the_end() {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let mut replay = Replay::new(config(instruments()), strategies(&["market-maker"])).unwrap();
    replay.observe(Box::new(move |at, notice| heard.lock().unwrap().push((at, notice.clone()))));
    let events = made_up(2, 20);
    replay.feed_all(events.clone());
    let report = replay.finish();
    let notices = notices.lock().unwrap();
    let position = |wanted: fn(&Notice) -> bool| notices.iter().position(|(_, notice)| wanted(notice));
    let reconciled = position(|notice| matches!(notice, Notice::Reconciled)).unwrap();
    let started = position(|notice| matches!(notice, Notice::Started)).unwrap();
    let first_order = position(|notice| matches!(notice, Notice::Order { .. })).unwrap();
    assert!(reconciled < started && started < first_order);
    assert!(notices[started].0 > events[0].ts_recv(), "the answers took their time");
    assert!(position(|notice| matches!(notice, Notice::Wound(ExitPolicy::CancelAll))).is_some());
    assert!(notices.is_sorted_by_key(|(at, _)| *at), "time never runs backwards");
    assert!(report.ended_at >= events.last().unwrap().ts_recv());
}

#[test]
fn the_end_follows_the_exit_policy() {
    let with = |exit_policy, seed| {
        let mut config = ReplayConfig { exit_policy, ..config(instruments()) };
        // One closing order must be allowed to hold the whole position.
        let limits = &mut config.engine.limits;
        limits.order_notional_max = Notional::from_int(10_000);
        limits.position_notional_max = Notional::from_int(10_000);
        run(config, &["market-maker", "ema-cross"], seed, 40)
    };
    let holds = |seed: &u64| !with(ExitPolicy::Keep, *seed).status.positions.is_empty();
    let seed = (1..10).find(holds).expect("a run that ends with something to close");
    let keep = with(ExitPolicy::Keep, seed);
    assert!(keep.is_wound && !keep.status.open_orders.is_empty());
    let flat = with(ExitPolicy::Flatten, seed);
    assert!(flat.is_wound && flat.status.open_orders.is_empty());
    assert!(flat.status.positions.iter().all(|position| position.quantity.abs().unwrap() < "0.0001".parse().unwrap()));
    let cancelled = with(ExitPolicy::CancelAll, seed);
    assert!(cancelled.is_wound && cancelled.status.open_orders.is_empty());
}

#[test]
fn a_stream_that_is_told_to_be_down_stops_new_orders() {
    let mut replay = Replay::new(config(instruments()), strategies(&["market-maker"])).unwrap();
    let events = made_up(4, 20);
    let half = events.len() / 2;
    for event in &events[..half] {
        replay.feed(event);
    }
    let down = FeedEvent::State(StreamKind::Market(BTC), FeedState::Down);
    replay.command(&Event::Feed(replay.now(), down));
    let before = replay.status().orders_total;
    assert!(before > 0);
    let soon = replay.now().plus(Duration::from_secs(5));
    replay.run_until(soon);
    assert_eq!(replay.status().orders_total, before);
    assert!(replay.status().open_orders.is_empty(), "without a live book there are no quotes");
}

#[test]
fn nothing_at_all_is_a_result_too() {
    let report = Replay::new(config(instruments()), strategies(&["market-maker"])).unwrap().finish();
    assert_eq!((report.status.orders_total, report.started_at, report.is_wound), (0, None, true));
    let unknown = made_up(1, 1);
    let mut only_eth = Instruments::new();
    let mut eth = instruments().by_symbol("ETHUSDT").unwrap().clone();
    eth.id = BTC;
    only_eth.upsert(eth);
    let mut replay = Replay::new(config(only_eth), Vec::new()).unwrap();
    let of_no_instrument = unknown.iter().filter(|event| event.instrument() != BTC).count();
    replay.feed_all(unknown);
    assert_eq!(replay.finish().refused_events, of_no_instrument as u64);
    let zero = ReplayConfig { timer_interval: Duration::ZERO, ..config(instruments()) };
    assert!(matches!(Replay::new(zero, Vec::new()), Err(BacktestError::TimerInterval)));
}
