//! Each rule of an instrument refuses with its own name, and the venue's words for it.

use crate::world::*;
use keel_model::{InstrumentStatus, OrderType, Side};
use keel_sim::{MatchingEngine, OrderRequest, Reject, SimConfig, SimError};

#[test]
fn every_filter_has_its_own_refusal() {
    let mut w = World::traded_at("60000");
    w.limit(w.bob, Side::Sell, "9", "60000");
    let cases = [
        (limit(Side::Buy, "0.1", "60000.001"), Reject::PriceFilter),
        (limit(Side::Buy, "0.1", "1000000.01"), Reject::PriceFilter),
        (limit(Side::Buy, "0.1", "0"), Reject::Shape),
        (limit(Side::Buy, "0.1", "-1"), Reject::Shape),
        (limit(Side::Buy, "0.1", "11999.99"), Reject::PercentPrice),
        (limit(Side::Sell, "0.1", "300000.01"), Reject::PercentPrice),
        (limit(Side::Buy, "0.0001", "60000"), Reject::LotSize),
        (limit(Side::Buy, "0.1005", "60000"), Reject::LotSize),
        (limit(Side::Buy, "100.001", "60000"), Reject::LotSize),
        (limit(Side::Buy, "0", "60000"), Reject::LotSize),
        (limit(Side::Buy, "-1", "60000"), Reject::LotSize),
        (OrderRequest::market(ID, Side::Buy, quantity("50.001")), Reject::MarketLotSize),
        (limit(Side::Sell, "9", "120000"), Reject::Notional),
        (stop(OrderType::StopLossLimit, Side::Sell, "0.1", "59000.005", Some("59000")), Reject::PriceFilter),
        (OrderRequest { price: None, ..limit(Side::Buy, "0.1", "60000") }, Reject::Shape),
        (OrderRequest { stop_price: Some(price("1")), ..limit(Side::Buy, "0.1", "60000") }, Reject::Shape),
        (
            OrderRequest { instrument: keel_model::InstrumentId(7), ..limit(Side::Buy, "0.1", "1") },
            Reject::UnknownInstrument,
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(w.submit(w.alice, request), Err(expected), "{request:?}");
        assert!(w.events.is_empty());
    }
    w.assert_funds(w.alice, "USDT", "100000", "0");
}

#[test]
fn the_least_value_holds_for_market_orders_at_the_average_price() {
    let mut w = World::traded_at("1000");
    w.limit(w.bob, Side::Sell, "1", "1000");
    assert_eq!(w.submit(w.alice, limit(Side::Buy, "0.004", "1000")), Err(Reject::Notional));
    assert_eq!(w.submit(w.alice, OrderRequest::market(ID, Side::Buy, quantity("0.004"))), Err(Reject::Notional));
    assert!(w.submit(w.alice, OrderRequest::market(ID, Side::Buy, quantity("0.005"))).is_ok());
}

#[test]
fn open_orders_and_stop_orders_are_counted() {
    let mut w = World::traded_at("60000");
    let trigger = stop(OrderType::StopLoss, Side::Sell, "0.01", "50000", None);
    w.submit(w.alice, trigger).unwrap();
    w.submit(w.alice, trigger).unwrap();
    assert_eq!(w.submit(w.alice, trigger), Err(Reject::MaxNumAlgoOrders));
    for _ in 0..8 {
        w.limit(w.alice, Side::Buy, "0.01", "40000");
    }
    assert_eq!(w.submit(w.alice, limit(Side::Buy, "0.01", "50000")), Err(Reject::MaxNumOrders));
    assert_eq!(w.engine.open_order_count(w.alice, ID), 10);
    // A triggered stop no longer counts as one that waits, and once filled as no open order at all.
    w.limit(w.bob, Side::Buy, "0.5", "50000");
    w.set_last("50000");
    assert_eq!(w.engine.open_order_count(w.alice, ID), 8);
}

#[test]
fn an_instrument_that_is_not_trading_takes_cancels_only() {
    let mut w = World::new();
    let order = w.limit(w.alice, Side::Buy, "0.1", "60000");
    let mut halted = instrument();
    halted.status = InstrumentStatus::CancelOnly;
    w.engine.update_instrument(halted).unwrap();
    assert_eq!(w.submit(w.alice, limit(Side::Buy, "0.1", "60000")), Err(Reject::NotTrading));
    assert!(w.cancel(w.alice, order.order_id).is_ok());
}

#[test]
fn instruments_finer_than_amounts_can_hold_and_duplicates_are_refused() {
    let mut engine = MatchingEngine::new(SimConfig::default());
    let mut fine = instrument();
    fine.tick_size = price("0.000000001");
    fine.lot.step = quantity("0.00000001");
    assert!(matches!(engine.add_instrument(fine), Err(SimError::TooFine { places: 17, .. })));
    engine.add_instrument(instrument()).unwrap();
    assert_eq!(engine.add_instrument(instrument()), Err(SimError::Duplicate("BTCUSDT".to_owned())));
}

#[test]
fn refusals_speak_the_words_of_the_real_venue() {
    for (reject, code, text) in [
        (Reject::PriceFilter, -1013, "Filter failure: PRICE_FILTER"),
        (Reject::Notional, -1013, "Filter failure: NOTIONAL"),
        (Reject::InsufficientBalance, -2010, "Account has insufficient balance for requested action."),
        (Reject::DuplicateClientId, -2010, "Duplicate order sent."),
        (Reject::UnknownOrder, -2011, "Unknown order sent."),
        (Reject::NoSuchOrder, -2013, "Order does not exist."),
        (Reject::WouldTake, -2010, "Order would immediately match and take."),
        (Reject::WouldTrigger, -2010, "Stop price would trigger immediately."),
    ] {
        assert_eq!(reject.binance(), (code, text));
        assert_eq!(reject.to_model().text.as_str(), text);
    }
}

#[test]
fn an_unknown_account_and_an_overdrawn_deposit_are_refused() {
    let mut w = World::new();
    let nobody = keel_sim::AccountId(99);
    assert_eq!(w.submit(nobody, limit(Side::Buy, "0.1", "60000")), Err(Reject::UnknownAccount));
    let overdrawn = w.engine.deposit(w.alice, asset("BTC"), money("-10.00000001"));
    assert_eq!(overdrawn, Err(SimError::Refused(Reject::InsufficientBalance)));
    let huge = w.engine.deposit(w.alice, asset("BTC"), money("100000000000000000000000000000"));
    assert_eq!(huge, Err(SimError::Refused(Reject::TooLarge)));
}
