//! Self-trade prevention in every mode.

use crate::world::*;
use keel_model::{ExecType, Side, TimeInForce};
use keel_sim::{ExpiryReason, OrderRequest, OrderState, StpMode};

fn with_mode(request: OrderRequest, mode: StpMode) -> OrderRequest {
    OrderRequest { stp_mode: Some(mode), ..request }
}

/// Alice has 0.2 resting at 60000 in front of Bob's 0.2 at 60001, and buys 0.3 at 60001 in the given mode.
fn run(mode: StpMode) -> (World, keel_sim::OrderView, keel_sim::OrderView) {
    let mut w = World::new();
    let own = w.limit(w.alice, Side::Sell, "0.2", "60000");
    w.limit(w.bob, Side::Sell, "0.2", "60001");
    let taker = w.submit(w.alice, with_mode(limit(Side::Buy, "0.3", "60001"), mode)).unwrap();
    let (own, taker) = (w.order(&own), w.order(&taker));
    (w, own, taker)
}

#[test]
fn expire_maker_takes_the_resting_order_out_and_goes_on() {
    let (w, own, taker) = run(StpMode::ExpireMaker);
    assert_eq!((own.state, own.expiry_reason), (OrderState::ExpiredInMatch, ExpiryReason::SelfTrade));
    assert_eq!((taker.state, taker.cum_quantity), (OrderState::PartiallyFilled, quantity("0.2")));
    w.assert_funds(w.alice, "BTC", "10.2", "0");
    let prevented = w.reports().into_iter().find(|r| r.exec_type == ExecType::TradePrevention).copied().unwrap();
    assert_eq!(prevented.order.order_id, own.order_id);
    assert_eq!(prevented.counter_order_id, Some(taker.order_id));
    assert!(prevented.prevented_match_id.is_some());
}

#[test]
fn expire_taker_ends_the_incoming_order() {
    let (w, own, taker) = run(StpMode::ExpireTaker);
    assert_eq!(own.state, OrderState::New);
    assert_eq!((taker.state, taker.cum_quantity), (OrderState::ExpiredInMatch, quantity("0")));
    w.assert_funds(w.alice, "USDT", "100000", "0");
}

#[test]
fn expire_both_ends_both() {
    let (w, own, taker) = run(StpMode::ExpireBoth);
    assert_eq!((own.state, taker.state), (OrderState::ExpiredInMatch, OrderState::ExpiredInMatch));
    w.assert_funds(w.alice, "USDT", "100000", "0");
    w.assert_funds(w.alice, "BTC", "10", "0");
}

#[test]
fn decrement_takes_the_smaller_open_quantity_from_both() {
    let (w, own, taker) = run(StpMode::Decrement);
    assert_eq!((own.state, own.prevented_quantity), (OrderState::ExpiredInMatch, quantity("0.2")));
    assert_eq!(taker.prevented_quantity, quantity("0.2"));
    assert_eq!((taker.state, taker.cum_quantity), (OrderState::Filled, quantity("0.1")));
    w.assert_funds(w.alice, "BTC", "10.1", "0");
    w.assert_funds(w.alice, "USDT", "93999.9", "0");

    let mut w = World::new();
    let own = w.limit(w.alice, Side::Sell, "0.5", "60000");
    let taker = w.submit(w.alice, with_mode(limit(Side::Buy, "0.3", "60001"), StpMode::Decrement)).unwrap();
    assert_eq!(w.state(&taker), OrderState::ExpiredInMatch);
    assert_eq!((w.order(&own).remaining(), w.state(&own)), (quantity("0.2"), OrderState::New));
    w.assert_funds(w.alice, "BTC", "9.8", "0.2");
    assert_eq!(w.engine.level_quantity(ID, Side::Sell, price("60000")), quantity("0.2"));
    w.market(w.bob, Side::Buy, "0.2");
    assert_eq!(w.state(&own), OrderState::Filled);
}

#[test]
fn without_prevention_an_account_trades_with_itself_and_owns_the_same_as_before() {
    let (w, own, taker) = run(StpMode::None);
    assert_eq!((own.state, taker.state), (OrderState::Filled, OrderState::Filled));
    w.assert_funds(w.alice, "BTC", "10.1", "0");
    assert_eq!(w.engine.account_trades(w.alice, ID).count(), 3);
}

#[test]
fn fill_or_kill_does_not_count_on_orders_that_prevention_would_take() {
    for (mode, expected) in [
        (StpMode::ExpireMaker, OrderState::Expired),
        (StpMode::ExpireTaker, OrderState::Expired),
        (StpMode::Decrement, OrderState::Expired),
        (StpMode::None, OrderState::Filled),
    ] {
        let mut w = World::new();
        let own = w.limit(w.alice, Side::Sell, "0.2", "60000");
        w.limit(w.bob, Side::Sell, "0.2", "60001");
        let request = with_tif(with_mode(limit(Side::Buy, "0.3", "60001"), mode), TimeInForce::Fok);
        let taker = w.submit(w.alice, request).unwrap();
        assert_eq!(taker.state, expected, "{mode:?}");
        let untouched = if mode == StpMode::None { OrderState::Filled } else { OrderState::New };
        assert_eq!(w.state(&own), untouched, "{mode:?}");
    }
}
