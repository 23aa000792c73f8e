//! Recorded markets: liquidity taken once, queue positions, gaps, recordings without a snapshot.

use crate::world::*;
use keel_model::{BookDelta, BookSnapshot, Level, MarketEvent, OrderType, Side, TopOfBook, Trade, TradeId};
use keel_sim::{FeeModel, MarketKind, MatchingEngine, OrderRequest, OrderState, QueueModel, Reject, SimConfig};

fn world(queue: QueueModel) -> World {
    let mut engine = MatchingEngine::new(SimConfig { queue, fees: FeeModel::FREE, ..SimConfig::default() });
    engine.add_market(instrument(), MarketKind::External).unwrap();
    World::of(engine)
}

fn levels(rows: &[(&str, &str)]) -> Vec<Level> {
    rows.iter().map(|(at, size)| Level { price: price(at), quantity: quantity(size) }).collect()
}

fn snapshot(w: &mut World, id: u64, bids: &[(&str, &str)], asks: &[(&str, &str)]) {
    let event = BookSnapshot {
        instrument: ID,
        ts_recv: w.tick(),
        last_update_id: id,
        bids: levels(bids),
        asks: levels(asks),
        ..BookSnapshot::default()
    };
    w.engine.on_market(&MarketEvent::BookSnapshot(event)).unwrap();
    w.drain();
}

fn delta(w: &mut World, first: u64, last: u64, bids: &[(&str, &str)], asks: &[(&str, &str)]) {
    let event = BookDelta {
        instrument: ID,
        ts_recv: w.tick(),
        first_update_id: first,
        last_update_id: last,
        bids: levels(bids),
        asks: levels(asks),
        ..BookDelta::default()
    };
    w.engine.on_market(&MarketEvent::BookDelta(event)).unwrap();
    w.drain();
}

fn top(w: &mut World, id: u64, bid: (&str, &str), ask: (&str, &str)) {
    let event = TopOfBook {
        instrument: ID,
        ts_event: at(0),
        ts_recv: w.tick(),
        update_id: id,
        bid: levels(&[bid])[0],
        ask: levels(&[ask])[0],
    };
    w.engine.on_market(&MarketEvent::TopOfBook(event)).unwrap();
    w.drain();
}

fn trade(w: &mut World, id: u64, at: &str, size: &str, aggressor: Side) {
    let now = w.tick();
    let event = Trade {
        instrument: ID,
        ts_event: now,
        ts_recv: now,
        trade_id: TradeId::new(&id.to_string()).unwrap(),
        price: price(at),
        quantity: quantity(size),
        aggressor,
    };
    w.engine.on_market(&MarketEvent::Trade(event)).unwrap();
    w.drain();
}

fn depth(w: &World) -> (Vec<Level>, Vec<Level>) {
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    w.engine.depth(ID, 100, &mut bids, &mut asks).unwrap();
    (bids, asks)
}

fn standard(queue: QueueModel) -> World {
    let mut w = world(queue);
    snapshot(&mut w, 10, &[("60000", "1"), ("59990", "2")], &[("60010", "0.5"), ("60020", "2")]);
    w
}

#[test]
fn a_taker_consumes_recorded_levels_once_and_the_recorded_book_stays() {
    let mut w = standard(QueueModel::RiskAverse);
    let before = depth(&w);
    let order = w.market(w.alice, Side::Buy, "0.7");
    assert_eq!((order.state, order.cum_quote), (OrderState::Filled, money("42009")));
    assert_eq!(depth(&w), before);
    assert_eq!(w.engine.public_trades(ID).count(), 0, "the recorded tape stays as it was");
    // 0.5 at 60010 is gone for us: the next buy pays 60020.
    let next = w.market(w.alice, Side::Buy, "0.1");
    assert_eq!(next.cum_quote, money("6002"));
    // A top of book that repeats the same size shows nothing new; an added 0.2 can be taken.
    top(&mut w, 11, ("60000", "1"), ("60010", "0.5"));
    assert_eq!(w.market(w.alice, Side::Buy, "0.1").cum_quote, money("6002"));
    top(&mut w, 12, ("60000", "1"), ("60010", "0.7"));
    assert_eq!(w.market(w.alice, Side::Buy, "0.3").cum_quote, money("18004"));
    // A level that left and came back is new.
    delta(&mut w, 13, 13, &[], &[("60010", "0")]);
    delta(&mut w, 14, 14, &[], &[("60010", "0.5")]);
    assert_eq!(w.market(w.alice, Side::Buy, "0.1").cum_quote, money("6001"));
}

#[test]
fn fill_or_kill_and_post_only_look_at_what_is_still_to_be_had() {
    let mut w = standard(QueueModel::RiskAverse);
    let fok = |size| with_tif(limit(Side::Buy, size, "60010"), keel_model::TimeInForce::Fok);
    assert_eq!(w.submit(w.alice, fok("0.6")).unwrap().state, OrderState::Expired);
    assert_eq!(w.submit(w.alice, fok("0.5")).unwrap().state, OrderState::Filled);
    assert!(w.submit(w.alice, post_only(Side::Buy, "0.1", "60010")).is_ok());
    assert_eq!(w.submit(w.bob, post_only(Side::Buy, "0.1", "60020")), Err(Reject::WouldTake));
    // An order by quote amount reaches through the recorded levels.
    let request = OrderRequest {
        size: keel_sim::OrderSize::Quote(quantity("600.20")),
        ..OrderRequest::market(ID, Side::Buy, quantity("0"))
    };
    assert_eq!(w.submit(w.bob, request).unwrap().cum_quantity, quantity("0.01"));
}

#[test]
fn a_resting_order_waits_behind_the_queue_shown_when_it_came() {
    let mut w = standard(QueueModel::RiskAverse);
    let order = w.limit(w.alice, Side::Buy, "0.3", "60000");
    assert_eq!(w.engine.queue_ahead(order.order_id), quantity("1"));
    trade(&mut w, 1, "60000", "0.6", Side::Sell);
    assert_eq!(w.engine.queue_ahead(order.order_id), quantity("0.4"));
    // A cancel somewhere in the queue does not help a pessimist, but the level cannot hold less than what is in front.
    delta(&mut w, 11, 11, &[("60000", "0.35")], &[]);
    assert_eq!(w.engine.queue_ahead(order.order_id), quantity("0.35"));
    trade(&mut w, 2, "60000", "0.5", Side::Sell);
    assert_eq!(w.order(&order).cum_quantity, quantity("0.15"));
    let report = w.reports()[0];
    assert!(report.is_maker && report.trade_id.unwrap() > 1 << 41);
    trade(&mut w, 3, "60000", "0.5", Side::Sell);
    assert_eq!(w.state(&order), OrderState::Filled);
    w.assert_funds(w.alice, "BTC", "10.3", "0");
}

#[test]
fn a_trade_through_the_price_fills_at_the_orders_price_up_to_the_traded_quantity() {
    let mut w = standard(QueueModel::RiskAverse);
    let order = w.limit(w.alice, Side::Buy, "0.3", "60000");
    trade(&mut w, 1, "59999.99", "0.2", Side::Sell);
    assert_eq!((w.order(&order).cum_quantity, w.order(&order).cum_quote), (quantity("0.2"), money("12000")));
    let sell = w.limit(w.bob, Side::Sell, "0.1", "60010");
    trade(&mut w, 2, "60011", "5", Side::Buy);
    assert_eq!(w.order(&sell).cum_quote, money("6001"));
}

#[test]
fn a_recorded_book_that_comes_to_the_orders_price_fills_it() {
    let mut w = standard(QueueModel::RiskAverse);
    let order = w.limit(w.alice, Side::Buy, "0.3", "60000");
    top(&mut w, 20, ("59995", "1"), ("60000", "0.2"));
    assert_eq!(w.order(&order).cum_quantity, quantity("0.2"));
    assert_eq!(w.state(&order), OrderState::PartiallyFilled);
    top(&mut w, 21, ("59995", "1"), ("59999", "3"));
    assert_eq!(w.state(&order), OrderState::Filled);
    assert_eq!(w.order(&order).cum_quote, money("18000"));
}

#[test]
fn queue_models_differ_in_what_a_cancel_is_worth() {
    for (queue, ahead_after_cancel) in
        [(QueueModel::RiskAverse, "0.8"), (QueueModel::Proportional, "0.6"), (QueueModel::Front, "0")]
    {
        let mut w = standard(queue);
        let order = w.limit(w.alice, Side::Buy, "0.3", "60000");
        trade(&mut w, 1, "60000", "0.2", Side::Sell);
        if queue == QueueModel::Front {
            assert_eq!(w.order(&order).cum_quantity, quantity("0.2"));
            continue;
        }
        // 1.0 shown: 0.2 traded; then 1 more came behind and 0.25 of 2 cancelled beside the trade.
        delta(&mut w, 11, 11, &[("60000", "2")], &[]);
        assert_eq!(w.engine.queue_ahead(order.order_id), quantity("0.8"), "{queue:?}");
        delta(&mut w, 12, 12, &[("60000", "1.5")], &[]);
        assert_eq!(w.engine.queue_ahead(order.order_id), quantity(ahead_after_cancel), "{queue:?}");
    }
}

#[test]
fn accounts_trade_with_each_other_in_price_and_queue_order() {
    let mut w = standard(QueueModel::RiskAverse);
    let inside = w.limit(w.alice, Side::Sell, "0.1", "60005");
    let buy = w.market(w.bob, Side::Buy, "0.2");
    assert_eq!(w.state(&inside), OrderState::Filled);
    assert_eq!(buy.cum_quote, money("12001.5"));
    // At an equal price what stood in front comes first: 0.4 is left of the recorded level.
    let behind = w.limit(w.alice, Side::Sell, "0.1", "60010");
    w.market(w.bob, Side::Buy, "0.4");
    assert_eq!(w.order(&behind).cum_quantity, quantity("0"));
    w.market(w.bob, Side::Buy, "0.1");
    assert_eq!(w.state(&behind), OrderState::Filled);
}

#[test]
fn a_top_of_book_newer_than_the_deltas_wins_until_they_catch_up() {
    let mut w = standard(QueueModel::RiskAverse);
    top(&mut w, 15, ("60005", "0.1"), ("60010", "0.5"));
    assert_eq!(depth(&w).0[0].price, price("60005"));
    // An older top and an older delta change nothing about it.
    top(&mut w, 9, ("50000", "1"), ("50001", "1"));
    delta(&mut w, 11, 12, &[("60007", "3")], &[]);
    assert_eq!(depth(&w).0[0], Level { price: price("60005"), quantity: quantity("0.1") });
    delta(&mut w, 13, 16, &[("60006", "1")], &[]);
    assert_eq!(depth(&w).0[0].price, price("60006"));
    assert_eq!(w.engine.recorded_status(ID).unwrap().gaps, 0);
    delta(&mut w, 18, 19, &[], &[]);
    assert_eq!(w.engine.recorded_status(ID).unwrap().gaps, 1);
}

#[test]
fn a_recording_without_a_snapshot_gives_the_top_and_a_partial_depth() {
    let mut w = world(QueueModel::RiskAverse);
    assert!(!w.engine.recorded_status(ID).unwrap().has_snapshot);
    assert_eq!(w.engine.last_price(ID), None);
    delta(&mut w, 1, 2, &[("60001", "1"), ("59000", "4")], &[("60300", "1")]);
    top(&mut w, 5, ("60000", "1"), ("60010", "0.5"));
    let (bids, asks) = depth(&w);
    assert_eq!(bids.iter().map(|level| level.price).collect::<Vec<_>>(), [price("60000"), price("59000")]);
    assert_eq!(asks.len(), 2);
    let order = w.market(w.alice, Side::Buy, "0.5");
    assert_eq!(order.state, OrderState::Filled);
    // Stop orders refer to the middle of the book until something trades.
    let stop_order = w.submit(w.alice, stop(OrderType::StopLoss, Side::Sell, "0.1", "59500", None)).unwrap();
    trade(&mut w, 1, "59500", "0.1", Side::Sell);
    assert_eq!(w.state(&stop_order), OrderState::Filled);
}

#[test]
fn a_snapshot_older_than_the_deltas_around_it_is_followed_by_them() {
    let mut w = world(QueueModel::RiskAverse);
    delta(&mut w, 1, 5, &[("59000", "1")], &[]);
    delta(&mut w, 6, 8, &[("59990", "0"), ("59980", "3")], &[]);
    top(&mut w, 9, ("60000", "0.7"), ("60010", "0.5"));
    snapshot(&mut w, 6, &[("60000", "1"), ("59990", "2")], &[("60010", "0.5"), ("60020", "2")]);
    let (bids, asks) = depth(&w);
    assert_eq!(bids, levels(&[("60000", "0.7"), ("59980", "3")]));
    assert_eq!(asks, levels(&[("60010", "0.5"), ("60020", "2")]));
    delta(&mut w, 9, 10, &[("59970", "1")], &[]);
    assert_eq!(w.engine.recorded_status(ID).unwrap().gaps, 0);
    // An old snapshot without need changes nothing; after a gap any snapshot is taken.
    snapshot(&mut w, 4, &[("50000", "1")], &[("70000", "1")]);
    assert_eq!(depth(&w).0.len(), 3);
    delta(&mut w, 13, 14, &[("59960", "1")], &[]);
    assert_eq!(w.engine.recorded_status(ID).unwrap().gaps, 1);
    snapshot(&mut w, 12, &[("59990", "1")], &[("60030", "1")]);
    assert_eq!(depth(&w).0, levels(&[("59990", "1"), ("59960", "1")]));
}

#[test]
fn a_side_that_runs_empty_and_numbers_that_do_not_fit_are_survived() {
    let mut w = standard(QueueModel::RiskAverse);
    top(&mut w, 30, ("60000", "1"), ("0", "0"));
    assert!(depth(&w).1.is_empty());
    assert_eq!(w.market(w.alice, Side::Buy, "0.1").state, OrderState::Expired);
    trade(&mut w, 1, "60000.005", "0.1", Side::Sell);
    delta(&mut w, 31, 31, &[("59990", "1.00059")], &[]);
    let status = w.engine.recorded_status(ID).unwrap();
    assert_eq!(status.unreadable, 1);
    assert_eq!(w.engine.level_quantity(ID, Side::Buy, price("59990")), quantity("1"));
}

#[test]
fn events_for_a_market_of_accounts_are_refused() {
    let mut w = World::new();
    let event = MarketEvent::BookDelta(BookDelta { instrument: ID, ts_recv: at(1), ..BookDelta::default() });
    assert_eq!(w.engine.on_market(&event), Err(Reject::UnknownInstrument));
    assert_eq!(w.engine.recorded_status(ID), None);
}
