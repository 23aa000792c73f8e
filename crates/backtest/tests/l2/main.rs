//! L2 market making with a queue model: the answers of hftbacktest, and one state on every way through engine and venue.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod job;

use job::*;
use keel_backtest::{Replay, ReplayConfig};
use keel_marketdata::{L2Kind, L2Row};
use keel_model::{
    BookDelta, BookSnapshot, ExitPolicy, Level, MarketEvent, Price, Quantity, Side, Timestamp, Trade, TradeId,
};
use keel_sim::{FillModel, QueueModel, SimConfig};
use std::time::Duration;

#[test]
fn the_rows_are_those_of_the_golden_generator() {
    let rows = first_rows(200_000);
    let row = |at| rows.rows().get(at).unwrap();
    let is = |kind, ts_event_ns, ts_recv_ns, price, quantity| L2Row { ts_event_ns, ts_recv_ns, price, quantity, kind };
    assert_eq!(row(0), is(L2Kind::Bid, 1_700_000_000_000_991_220, 1_700_000_000_003_401_242, 299_991, 344));
    assert_eq!(row(3), is(L2Kind::Ask, 1_700_000_000_002_232_214, 1_700_000_000_004_784_913, 300_014, 52));
    assert_eq!(row(50), is(L2Kind::SellTrade, 1_700_000_000_029_100_134, 1_700_000_000_031_206_557, 300_000, 8));
    assert_eq!(row(199_999), is(L2Kind::Ask, 1_700_000_112_875_853_834, 1_700_000_112_878_411_738, 299_962, 372));
}

#[test]
fn trades_position_balance_and_fee_are_those_of_hftbacktest() {
    let answers = [
        (20_000, Answer::new(208, 155, "0.03", "-899.912", "9.2994688")),
        (50_000, Answer::new(524, 390, "0", "0.07", "23.398094")),
        (200_000, Answer::new(2_052, 1_507, "0.03", "-899.855", "90.4153134")),
    ];
    for (count, expected) in answers {
        let (answer, report) = run(config(), &first_rows(count), TouchMaker::new());
        assert_eq!(answer, expected, "{count} rows");
        assert!(report.is_wound && report.status.open_orders.is_empty());
        assert_eq!(report.refused_events, 0);
        assert!(report.recorded.iter().all(|(_, market)| market.unreadable == 0 && market.crossed == 0));
    }
}

/// Settings under which fills come about in different ways.
fn variants() -> Vec<ReplayConfig> {
    let with = |queue, fills| {
        let mut config = config();
        config.sim = SimConfig { queue, fills, ..config.sim };
        config
    };
    let mut jittery = with(QueueModel::Proportional, FillModel::Recorded);
    jittery.sim.latency.order_in_jitter = Duration::from_millis(3);
    jittery.sim.latency.report_out_jitter = Duration::from_millis(2);
    // Near enough to be looked at with some positions, and near enough to act.
    let limited = |loss: &str| {
        let mut config = with(QueueModel::RiskAverse, FillModel::Whole);
        config.engine.limits.daily_loss_max = loss.parse().unwrap();
        config
    };
    vec![
        with(QueueModel::RiskAverse, FillModel::Whole),
        with(QueueModel::RiskAverse, FillModel::Recorded),
        with(QueueModel::Front, FillModel::Recorded),
        jittery,
        limited("620"),
        limited("10"),
    ]
}

#[test]
fn rows_in_spans_and_message_by_message_end_in_the_same_state() {
    let rows = first_rows(60_000);
    let mut digests = Vec::new();
    for config in variants() {
        let mut listening = TouchMaker::new();
        listening.is_listening = true;
        let (spans, by_spans) = run(config.clone(), &rows, TouchMaker::new());
        let (singly, one_by_one) = run(config, &rows, listening);
        assert_eq!(spans, singly);
        assert_eq!(by_spans.digest, one_by_one.digest);
        assert_eq!(by_spans.status, one_by_one.status);
        assert_eq!(by_spans.venue_balances, one_by_one.venue_balances);
        assert_eq!(by_spans.recorded, one_by_one.recorded);
        assert!(spans.trades > 3, "{spans:?}");
        digests.push(by_spans.digest);
    }
    digests.dedup();
    assert!(digests.len() > 2, "the settings matter");
}

/// The same rows as whole events, which a recording would hold.
fn events(count: usize) -> Vec<MarketEvent> {
    let columns = rows_without_latency(count);
    let start = Timestamp::from_ns(columns.ts_event_ns[0]);
    let mut events = vec![MarketEvent::BookSnapshot(BookSnapshot {
        instrument: ID,
        ts_event: start,
        ts_recv: start,
        ..BookSnapshot::default()
    })];
    let mut update_id = 0;
    for at in 0..count {
        let ts = Timestamp::from_ns(columns.ts_event_ns[at]);
        let price = Price::new(columns.price[at], columns.price_scale).unwrap();
        let quantity = Quantity::new(columns.quantity[at], columns.quantity_scale).unwrap();
        let aggressor = if columns.kind[at] == L2Kind::BuyTrade { Side::Buy } else { Side::Sell };
        if columns.kind[at].aggressor().is_some() {
            let trade_id = TradeId::EMPTY;
            let (ts_event, ts_recv, instrument) = (ts, ts, ID);
            events.push(MarketEvent::Trade(Trade {
                instrument,
                ts_event,
                ts_recv,
                trade_id,
                price,
                quantity,
                aggressor,
            }));
            continue;
        }
        update_id += 1;
        let level = vec![Level { price, quantity }];
        let (bids, asks) = if columns.kind[at] == L2Kind::Bid { (level, vec![]) } else { (vec![], level) };
        events.push(MarketEvent::BookDelta(BookDelta {
            instrument: ID,
            ts_event: ts,
            ts_recv: ts,
            first_update_id: update_id,
            last_update_id: update_id,
            previous_update_id: 0,
            bids,
            asks,
        }));
    }
    events
}

#[test]
fn rows_and_whole_events_end_in_the_same_state() {
    const COUNT: usize = 20_000;
    for config in variants() {
        let rows = rows_without_latency(COUNT).into_sound().unwrap();
        let (answer, by_rows) = run(config.clone(), &rows, TouchMaker::new());
        let mut replay = Replay::new(config, vec![Box::new(TouchMaker::new())]).unwrap();
        replay.feed_all(events(COUNT));
        let by_events = replay.finish();
        assert_eq!(by_rows.digest, by_events.digest, "{answer:?}");
        assert_eq!(by_rows.status.fills_total, by_events.status.fills_total);
        assert_eq!(by_rows.venue_balances, by_events.venue_balances);
    }
}

#[test]
fn rows_of_an_unknown_instrument_are_counted_and_left_out() {
    let mut replay = Replay::new(config(), vec![Box::new(TouchMaker::new())]).unwrap();
    replay.feed_l2(keel_model::InstrumentId(7), &first_rows(1_000));
    let report = replay.finish();
    assert_eq!((report.refused_events, report.status.orders_total), (1_000, 0));
}

#[test]
fn what_is_kept_at_the_end_is_wound_down_by_the_policy() {
    let config = ReplayConfig { exit_policy: ExitPolicy::Flatten, ..config() };
    let (answer, report) = run(config, &first_rows(20_000), TouchMaker::new());
    assert_eq!(answer.position, "0");
    assert!(report.is_wound);
}
