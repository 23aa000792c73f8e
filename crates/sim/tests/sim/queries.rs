//! Queries, bounded histories, market data events.

use crate::world::*;
use keel_model::{Side, Timestamp};
use keel_sim::{FeeModel, HistoryLimits, KlineSpan, MatchingEngine, OrderRef, Reject, SimConfig, SimEvent};

#[test]
fn order_and_trade_queries_see_what_happened_in_order() {
    let mut w = World::new();
    let sell = w.limit(w.alice, Side::Sell, "0.3", "60000");
    let first = w.market(w.bob, Side::Buy, "0.1");
    let second = w.market(w.bob, Side::Buy, "0.1");
    let bought: Vec<_> = w.engine.orders(w.bob, ID, 0).map(|view| view.order_id).collect();
    assert_eq!(bought, [first.order_id, second.order_id]);
    assert_eq!(w.engine.orders(w.bob, ID, second.order_id).count(), 1);
    assert_eq!(w.engine.orders(w.bob, ID, 0).next_back().unwrap().order_id, second.order_id);
    let trades: Vec<_> = w.engine.account_trades(w.alice, ID).map(|trade| (trade.trade_id, trade.order_id)).collect();
    assert_eq!(trades, [(1, sell.order_id), (2, sell.order_id)]);
    assert_eq!(w.engine.open_orders(w.alice, ID).count(), 1);
    assert_eq!(w.engine.order(w.bob, ID, OrderRef::Id(sell.order_id)), Err(Reject::NoSuchOrder), "not Bob's");
    let public: Vec<_> = w.engine.public_trades(ID).collect();
    assert_eq!(public.len(), 2);
    assert_eq!((public[1].buyer_order_id, public[1].seller_order_id), (second.order_id, sell.order_id));
    assert_eq!(public[1].aggressor, Side::Buy);
}

#[test]
fn histories_are_bounded_and_open_orders_are_never_dropped() {
    let limits = HistoryLimits {
        closed_orders_max: 50,
        account_trades_max: 20,
        public_trades_max: 30,
        ..HistoryLimits::default()
    };
    let mut w = World::with(SimConfig { limits, fees: FeeModel::FREE, ..SimConfig::default() });
    let resting = w.limit(w.alice, Side::Buy, "0.001", "50000");
    for round in 0..500u64 {
        let sell = w.submit(w.alice, limit(Side::Sell, "0.001", "60000")).unwrap();
        w.market(w.bob, Side::Buy, "0.001");
        if round % 2 == 0 {
            let order = w.limit(w.bob, Side::Buy, "0.001", "50000");
            w.cancel(w.bob, order.order_id).unwrap();
        }
        assert!(w.engine.order(w.alice, ID, OrderRef::Id(sell.order_id)).is_ok());
    }
    assert!(w.engine.order(w.alice, ID, OrderRef::Id(resting.order_id)).is_ok());
    let kept = w.engine.orders(w.alice, ID, 0).count() + w.engine.orders(w.bob, ID, 0).count();
    assert_eq!(kept, 51);
    assert_eq!(w.engine.account_trades(w.alice, ID).count(), 20);
    assert_eq!(w.engine.public_trades(ID).count(), 30);
    assert_eq!(w.engine.orders(w.alice, ID, 0).next().unwrap().order_id, resting.order_id);
}

#[test]
fn undrained_events_shed_market_data_and_never_account_events() {
    let limits = HistoryLimits { events_max: 10, ..HistoryLimits::default() };
    let mut engine = MatchingEngine::new(SimConfig { limits, ..SimConfig::default() });
    engine.add_instrument(instrument()).unwrap();
    let mut w = World::of(engine);
    let mut refused = 0;
    for _ in 0..9 {
        let now = w.tick();
        refused += usize::from(w.engine.submit(now, w.alice, &limit(Side::Buy, "0.01", "50000")).is_err());
    }
    assert!(w.engine.events_dropped() > 0);
    w.drain();
    assert_eq!(w.reports().len() + refused, 9);
    assert!(refused > 0, "nobody drains: new orders are refused");
}

#[test]
fn candles_are_built_from_trades_and_flat_where_nothing_traded() {
    let mut w = World::new();
    let house = w.engine.add_house_account();
    let taker = w.engine.add_house_account();
    let base = T0.as_ms() / 60_000 * 60_000;
    let trade = |w: &mut World, ms: u64, at: &str| {
        let now = Timestamp::from_ms(base + ms);
        w.engine.submit(now, house, &limit(Side::Sell, "0.1", at)).unwrap();
        w.engine.submit(now, taker, &keel_sim::OrderRequest::market(ID, Side::Buy, quantity("0.1"))).unwrap();
    };
    for (ms, at) in [(60_000, "100"), (61_000, "120"), (119_000, "90"), (300_500, "110")] {
        trade(&mut w, ms, at);
    }
    let minutes = w.engine.klines(ID, KlineSpan::Seconds(60), None, None, 10).unwrap();
    assert_eq!(minutes.len(), 5);
    let first = minutes[0];
    assert_eq!(
        (first.open, first.high, first.low, first.close),
        (price("100"), price("120"), price("90"), price("90"))
    );
    assert_eq!((first.volume, first.trades, first.is_closed), (quantity("0.3"), 3, true));
    assert_eq!(first.quote_volume, money("31"));
    assert_eq!(first.taker_buy_volume, quantity("0.3"));
    for flat in &minutes[1..4] {
        assert_eq!((flat.open, flat.close, flat.trades), (price("90"), price("90"), 0));
    }
    assert!(!minutes[4].is_closed);
    let five = w.engine.klines(ID, KlineSpan::Seconds(300), None, None, 10).unwrap();
    let total: u64 = five.iter().map(|kline| kline.trades).sum();
    assert_eq!(total, 4);
    let seconds = w.engine.klines(ID, KlineSpan::Seconds(1), Some(base + 60_000), Some(base + 62_000), 10).unwrap();
    assert_eq!(seconds.iter().map(|kline| kline.close).collect::<Vec<_>>(), [price("100"), price("120"), price("120")]);
    let from = w.engine.klines(ID, KlineSpan::Seconds(60), Some(base + 120_000), None, 2).unwrap();
    assert_eq!(from.iter().map(|kline| kline.ts_open.as_ms() - base).collect::<Vec<_>>(), [120_000, 180_000]);
    let day = w.engine.ticker_24h(ID).unwrap();
    assert_eq!((day.open, day.high, day.low, day.last), (price("100"), price("120"), price("90"), price("110")));
    assert_eq!((day.trades, day.volume), (4, quantity("0.4")));
    assert_eq!(w.engine.average_price(ID), Some(price("105")));
}

#[test]
fn spans_begin_where_calendars_say() {
    const DAY: u64 = 86_400_000;
    // 2024-02-29 12:00 UTC, a Thursday.
    let noon = 1_709_208_000_000;
    assert_eq!(KlineSpan::Seconds(86_400).start(noon), 1_709_164_800_000);
    assert_eq!(KlineSpan::Week.start(noon), 1_709_164_800_000 - 3 * DAY);
    assert_eq!(KlineSpan::Month.start(noon), 1_706_745_600_000);
    assert_eq!(KlineSpan::Month.next(1_706_745_600_000), 1_709_251_200_000);
    assert_eq!(KlineSpan::Month.start(1_709_251_200_000), 1_709_251_200_000);
    assert_eq!(KlineSpan::Month.next(KlineSpan::Month.start(1_735_689_599_999)), 1_735_689_600_000);
}

#[test]
fn book_events_rebuild_the_book() {
    let mut w = World::new();
    let mut rebuilt = std::collections::BTreeMap::new();
    let mut last_id = 0;
    let mut apply = |w: &World| {
        for event in &w.events {
            if let SimEvent::Book(change) = event {
                assert_eq!(change.update_id, last_id + 1, "numbered without gaps");
                last_id = change.update_id;
                if change.level.quantity.is_zero() {
                    rebuilt.remove(&(change.side, change.level.price));
                } else {
                    rebuilt.insert((change.side, change.level.price), change.level.quantity);
                }
            }
        }
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        let id = w.engine.depth(ID, 100, &mut bids, &mut asks).unwrap();
        assert_eq!(id, last_id);
        assert_eq!(rebuilt.len(), bids.len() + asks.len());
        for (side, levels) in [(Side::Buy, &bids), (Side::Sell, &asks)] {
            for level in levels {
                assert_eq!(rebuilt.get(&(side, level.price)), Some(&level.quantity));
            }
        }
    };
    for (account, side, size, at) in [
        (0, Side::Sell, "0.3", "60000"),
        (0, Side::Sell, "0.3", "60010"),
        (1, Side::Buy, "0.2", "59990"),
        (1, Side::Buy, "0.5", "60010"),
        (1, Side::Buy, "0.5", "60010"),
        (0, Side::Sell, "0.9", "59990"),
    ] {
        let account = if account == 0 { w.alice } else { w.bob };
        let order = w.limit(account, side, size, at);
        apply(&w);
        if w.order(&order).state.is_open() && size == "0.5" {
            w.cancel(account, order.order_id).unwrap();
            apply(&w);
        }
    }
}

#[test]
fn time_never_runs_backwards() {
    let mut w = World::new();
    w.engine.submit(at(100), w.alice, &limit(Side::Buy, "0.1", "50000")).unwrap();
    let order = w.engine.submit(at(5), w.alice, &limit(Side::Buy, "0.1", "50000")).unwrap();
    assert_eq!((w.engine.now(), order.ts_created), (at(100), at(100)));
}
