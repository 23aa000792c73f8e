//! Order types, priority, fills, fees and balances.

use crate::world::*;
use keel_model::{ExecType, OrderType, Side, TimeInForce};
use keel_sim::{
    AmendRequest, CancelReplace, CancelRequest, CancelRestriction, ClientId, ExpiryReason, FeeModel, OrderRef,
    OrderRequest, OrderSize, OrderState, Reject, ReplaceMode, SimConfig, SimEvent,
};

#[test]
fn a_limit_order_rests_locks_its_cost_and_gives_it_back_on_cancel() {
    let mut w = World::new();
    let order = w.limit(w.alice, Side::Buy, "0.5", "60000.00");
    assert_eq!(order.state, OrderState::New);
    assert_eq!(w.story(), [(order.order_id, ExecType::New, OrderState::New)]);
    w.assert_funds(w.alice, "USDT", "70000", "30000");
    let canceled = w.cancel(w.alice, order.order_id).unwrap();
    assert_eq!(canceled.state, OrderState::Canceled);
    assert_eq!(w.state(&order), OrderState::Canceled);
    w.assert_funds(w.alice, "USDT", "100000", "0");
    assert_eq!(w.cancel(w.alice, order.order_id), Err(Reject::UnknownOrder));
}

#[test]
fn better_prices_trade_first_and_equal_prices_in_the_order_they_came() {
    let mut w = World::new();
    let late_best = w.limit(w.alice, Side::Sell, "0.1", "60001");
    let first = w.limit(w.alice, Side::Sell, "0.1", "60002");
    let second = w.limit(w.alice, Side::Sell, "0.1", "60002");
    let taker = w.limit(w.bob, Side::Buy, "0.25", "60002");
    assert_eq!(taker.state, OrderState::Filled);
    let filled: Vec<_> = w.reports().iter().filter(|r| r.is_maker).map(|r| (r.order.order_id, r.last_price)).collect();
    assert_eq!(
        filled,
        [(late_best.order_id, price("60001")), (first.order_id, price("60002")), (second.order_id, price("60002"))]
    );
    assert_eq!(w.state(&second), OrderState::PartiallyFilled);
    assert_eq!(w.order(&second).cum_quantity, quantity("0.05"));
}

#[test]
fn a_taker_gets_the_makers_price_and_the_rest_of_its_order_rests() {
    let mut w = World::new();
    w.limit(w.alice, Side::Sell, "0.1", "59000");
    let buy = w.limit(w.bob, Side::Buy, "0.3", "60000");
    assert_eq!(buy.state, OrderState::PartiallyFilled);
    assert_eq!(w.order(&buy).cum_quote, money("5900"));
    // 0.2 still open at 60000 is locked; 5900 was paid.
    w.assert_funds(w.bob, "USDT", "82100", "12000");
    w.assert_funds(w.bob, "BTC", "10.1", "0");
    w.assert_funds(w.alice, "USDT", "105900", "0");
    let top = w.engine.book_ticker(ID).unwrap();
    assert_eq!((top.bid.price, top.bid.quantity), (price("60000"), quantity("0.2")));
    assert!(top.ask.quantity.is_zero());
}

#[test]
fn fees_are_taken_from_what_is_received_at_eight_places() {
    let mut w = World::with(SimConfig {
        fees: FeeModel { maker: quantity("0.0002"), taker: quantity("0.001") },
        ..SimConfig::default()
    });
    w.limit(w.alice, Side::Sell, "0.333", "60000.01");
    w.market(w.bob, Side::Buy, "0.333");
    let reports = w.reports();
    let (maker, taker) = (
        reports.iter().find(|r| r.is_maker).unwrap(),
        reports.iter().find(|r| r.trade_id.is_some() && !r.is_maker).unwrap(),
    );
    assert_eq!((maker.fee, maker.fee_asset), (money("3.99600066"), Some(asset("USDT"))));
    assert_eq!((taker.fee, taker.fee_asset), (money("0.000333"), Some(asset("BTC"))));
    w.assert_funds(w.bob, "BTC", "10.332667", "0");
    w.assert_funds(w.alice, "USDT", "119976.00732934", "0");
    assert_eq!(w.engine.fees_collected(asset("BTC")), money("0.000333"));
    assert_eq!(w.engine.supply(asset("USDT")), money("200000"));
    assert_eq!(w.engine.supply(asset("BTC")), money("20"));
}

#[test]
fn a_market_order_sweeps_the_book_and_the_rest_expires() {
    let mut w = World::new();
    w.limit(w.alice, Side::Sell, "0.1", "60000");
    w.limit(w.alice, Side::Sell, "0.1", "60010");
    let order = w.market(w.bob, Side::Buy, "0.5");
    assert_eq!((order.state, order.expiry_reason), (OrderState::Expired, ExpiryReason::InsufficientLiquidity));
    assert_eq!(order.cum_quantity, quantity("0.2"));
    assert_eq!(w.engine.last_fills().len(), 2);
    let empty = w.market(w.bob, Side::Sell, "0.5");
    assert_eq!((empty.state, empty.cum_quantity), (OrderState::Expired, quantity("0")));
    w.assert_funds(w.bob, "BTC", "10.2", "0");
}

#[test]
fn an_order_by_quote_amount_spends_at_most_that_in_whole_steps() {
    let mut w = World::new();
    w.limit(w.alice, Side::Sell, "0.01", "60000");
    w.limit(w.alice, Side::Sell, "1", "60100");
    let request =
        OrderRequest { size: OrderSize::Quote(quantity("1000")), ..OrderRequest::market(ID, Side::Buy, quantity("0")) };
    let order = w.submit(w.bob, request).unwrap();
    // 0.01 at 60000 leaves 400; 0.006 at 60100 costs 360.60, and another step 60.10 more than is left.
    assert_eq!(order.state, OrderState::Filled);
    assert_eq!((order.quantity, order.cum_quantity), (quantity("0.016"), quantity("0.016")));
    assert_eq!((order.quote_quantity, order.cum_quote), (quantity("1000"), money("960.6")));
    let nothing = OrderRequest { size: OrderSize::Quote(quantity("10")), ..request };
    assert_eq!(w.submit(w.bob, nothing), Err(Reject::NoLiquidity));
    let limit_by_quote = OrderRequest { size: OrderSize::Quote(quantity("10")), ..limit(Side::Buy, "1", "60000") };
    assert_eq!(w.submit(w.bob, limit_by_quote), Err(Reject::Shape));
}

#[test]
fn immediate_or_cancel_fills_what_it_can_and_expires() {
    let mut w = World::new();
    w.limit(w.alice, Side::Sell, "0.1", "60000");
    let order = w.submit(w.bob, with_tif(limit(Side::Buy, "0.3", "60000"), TimeInForce::Ioc)).unwrap();
    assert_eq!((order.state, order.expiry_reason), (OrderState::Expired, ExpiryReason::UnfilledIoc));
    assert_eq!(order.cum_quantity, quantity("0.1"));
    w.assert_funds(w.bob, "USDT", "94000", "0");
}

#[test]
fn fill_or_kill_fills_whole_or_not_at_all() {
    let mut w = World::new();
    w.limit(w.alice, Side::Sell, "0.1", "60000");
    w.limit(w.alice, Side::Sell, "0.1", "60001");
    w.limit(w.alice, Side::Sell, "0.1", "60002");
    let killed = w.submit(w.bob, with_tif(limit(Side::Buy, "0.3", "60001"), TimeInForce::Fok)).unwrap();
    assert_eq!((killed.state, killed.expiry_reason), (OrderState::Expired, ExpiryReason::UnfilledFok));
    assert_eq!(killed.cum_quantity, quantity("0"));
    w.assert_funds(w.bob, "USDT", "100000", "0");
    let filled = w.submit(w.bob, with_tif(limit(Side::Buy, "0.2", "60001"), TimeInForce::Fok)).unwrap();
    assert_eq!(filled.state, OrderState::Filled);
}

#[test]
fn a_post_only_order_rests_or_is_refused() {
    let mut w = World::new();
    w.limit(w.alice, Side::Sell, "0.1", "60000");
    assert_eq!(w.submit(w.bob, post_only(Side::Buy, "0.1", "60000")), Err(Reject::WouldTake));
    w.assert_funds(w.bob, "USDT", "100000", "0");
    let order = w.submit(w.bob, post_only(Side::Buy, "0.1", "59999.99")).unwrap();
    assert_eq!(order.state, OrderState::New);
}

#[test]
fn stop_loss_and_take_profit_wait_for_the_last_price_and_then_trade_at_market() {
    let cases = [
        (OrderType::StopLoss, Side::Sell, "59000", "59000"),
        (OrderType::StopLoss, Side::Buy, "61000", "61000.5"),
        (OrderType::TakeProfit, Side::Sell, "61000", "61000"),
        (OrderType::TakeProfit, Side::Buy, "59000", "58999.99"),
    ];
    for (order_type, side, trigger, touched) in cases {
        let mut w = World::traded_at("60000");
        let order = w.submit(w.alice, stop(order_type, side, "0.1", trigger, None)).unwrap();
        assert!(!order.is_working && order.state == OrderState::New);
        w.set_last(if trigger < "60000" { "59000.01" } else { "60999.99" });
        assert!(!w.order(&order).is_working, "{order_type:?} {side:?} too early");
        // Liquidity for the triggered order, then the trade that triggers it.
        let (bid, ask) = if trigger < "60000" { ("58000", "60000") } else { ("60000", "62000") };
        w.limit(w.bob, Side::Buy, "1", bid);
        w.limit(w.bob, Side::Sell, "1", ask);
        w.set_last(touched);
        let done = w.order(&order);
        assert_eq!(done.state, OrderState::Filled, "{order_type:?} {side:?}");
        assert!(done.is_working && done.ts_working > done.ts_created);
        let own = w.engine.account_trades(w.alice, ID).count();
        assert_eq!(own, 1);
        assert_eq!(w.funds(w.alice, "USDT").1, "0");
        assert_eq!(w.funds(w.alice, "BTC").1, "0");
    }
}

#[test]
fn a_stop_limit_order_enters_the_book_at_its_limit_when_triggered() {
    let mut w = World::traded_at("60000");
    let order = w.submit(w.alice, stop(OrderType::StopLossLimit, Side::Sell, "0.1", "59000", Some("58950"))).unwrap();
    w.assert_funds(w.alice, "BTC", "9.9", "0.1");
    assert_eq!(w.engine.book_ticker(ID).unwrap().ask.quantity, quantity("0"));
    w.set_last("58990");
    assert_eq!(w.state(&order), OrderState::New);
    assert!(w.order(&order).is_working);
    assert_eq!(w.engine.book_ticker(ID).unwrap().ask.price, price("58950"));
    let profit = w.submit(w.bob, stop(OrderType::TakeProfitLimit, Side::Buy, "0.1", "58000", Some("58000"))).unwrap();
    w.assert_funds(w.bob, "USDT", "94200", "5800");
    w.limit(w.bob, Side::Buy, "0.1", "58950");
    assert_eq!(w.state(&order), OrderState::Filled);
    assert!(!w.order(&profit).is_working);
}

#[test]
fn a_stop_that_is_reached_already_is_refused() {
    let mut w = World::traded_at("60000");
    for (order_type, side, trigger) in [
        (OrderType::StopLoss, Side::Sell, "60000"),
        (OrderType::StopLoss, Side::Buy, "59999"),
        (OrderType::TakeProfit, Side::Sell, "59000"),
        (OrderType::TakeProfit, Side::Buy, "60001"),
    ] {
        let result = w.submit(w.alice, stop(order_type, side, "0.1", trigger, None));
        assert_eq!(result, Err(Reject::WouldTrigger), "{order_type:?} {side:?}");
    }
    let mut untraded = World::new();
    let result = untraded.submit(untraded.alice, stop(OrderType::StopLoss, Side::Sell, "0.1", "59000", None));
    assert_eq!(result, Err(Reject::NoLastPrice));
}

#[test]
fn triggered_orders_trigger_others_in_turn() {
    let mut w = World::traded_at("60000");
    let first = w.submit(w.alice, stop(OrderType::StopLoss, Side::Sell, "0.1", "59500", None)).unwrap();
    let second = w.submit(w.alice, stop(OrderType::StopLoss, Side::Sell, "0.1", "59000", None)).unwrap();
    w.limit(w.bob, Side::Buy, "0.1", "59500");
    w.limit(w.bob, Side::Buy, "0.1", "59000");
    w.limit(w.bob, Side::Buy, "0.1", "58000");
    // Trades at 59500; the first stop then trades at 59000, which triggers the second, which trades at 58000.
    let third = w.engine.add_account(&[(asset("BTC"), money("1"))]).unwrap();
    w.market(third, Side::Sell, "0.1");
    assert_eq!((w.state(&first), w.state(&second)), (OrderState::Filled, OrderState::Filled));
    assert_eq!(w.engine.last_fills().len(), 1, "the fills of the order submitted, not of those it triggered");
    assert_eq!(w.engine.last_price(ID), Some(price("58000")));
}

#[test]
fn a_triggered_market_stop_without_funds_expires_and_owes_nothing() {
    let mut w = World::traded_at("60000");
    let order = w.submit(w.alice, stop(OrderType::StopLoss, Side::Buy, "1.5", "61000", None)).unwrap();
    w.assert_funds(w.alice, "USDT", "8500", "91500");
    w.limit(w.bob, Side::Sell, "1", "66000");
    w.limit(w.bob, Side::Sell, "1", "70000");
    w.set_last("61000");
    let done = w.order(&order);
    assert_eq!((done.state, done.expiry_reason), (OrderState::Expired, ExpiryReason::InsufficientBalance));
    // 1 at 66000, then as many steps at 70000 as 34000 pays for: 0.485.
    assert_eq!(done.cum_quantity, quantity("1.485"));
    w.assert_funds(w.alice, "USDT", "50", "0");
}

#[test]
fn orders_that_the_account_cannot_pay_are_refused() {
    let mut w = World::new();
    assert_eq!(w.submit(w.alice, limit(Side::Buy, "2", "60000")), Err(Reject::InsufficientBalance));
    assert_eq!(w.submit(w.alice, limit(Side::Sell, "10.001", "60000")), Err(Reject::InsufficientBalance));
    w.limit(w.bob, Side::Sell, "5", "60000");
    assert_eq!(w.submit(w.alice, OrderRequest::market(ID, Side::Buy, quantity("2"))), Err(Reject::InsufficientBalance));
    w.limit(w.alice, Side::Sell, "10", "70000");
    assert_eq!(
        w.submit(w.alice, OrderRequest::market(ID, Side::Sell, quantity("0.001"))),
        Err(Reject::InsufficientBalance)
    );
}

#[test]
fn a_client_id_is_unique_among_open_orders_only() {
    let mut w = World::new();
    let named = limit(Side::Buy, "0.1", "50000").with_client_id(client("mine"));
    let first = w.submit(w.alice, named).unwrap();
    assert_eq!(w.submit(w.alice, named), Err(Reject::DuplicateClientId));
    assert!(w.submit(w.bob, named).is_ok(), "another account may use it");
    w.cancel(w.alice, first.order_id).unwrap();
    let second = w.submit(w.alice, named).unwrap();
    assert_ne!(first.order_id, second.order_id);
    let found = w.engine.order(w.alice, ID, OrderRef::Client(client("mine"))).unwrap();
    assert_eq!(found.order_id, second.order_id, "the open one is meant");
    assert_eq!(w.engine.order(w.alice, ID, OrderRef::Id(first.order_id)).unwrap().state, OrderState::Canceled);
    let unnamed = w.limit(w.alice, Side::Buy, "0.1", "50000");
    assert!(!unnamed.client_order_id.is_empty());
}

#[test]
fn a_cancel_reports_its_own_id_and_the_original_one() {
    let mut w = World::new();
    w.submit(w.alice, limit(Side::Buy, "0.1", "50000").with_client_id(client("mine"))).unwrap();
    let request = CancelRequest {
        instrument: ID,
        order: OrderRef::Client(client("mine")),
        cancel_client_id: client("cancel-1"),
        restriction: CancelRestriction::Any,
    };
    let now = w.tick();
    w.engine.cancel(now, w.alice, &request).unwrap();
    w.drain();
    let report = w.reports()[0];
    assert_eq!((report.request_client_id, report.order.client_order_id), (client("cancel-1"), client("mine")));
    assert_eq!(report.exec_type, ExecType::Canceled);
    assert!(w.events.iter().any(|event| matches!(event, SimEvent::Balances(update) if update.account == w.alice)));
}

#[test]
fn cancels_keep_to_their_restriction_and_to_their_account() {
    let mut w = World::new();
    let order = w.limit(w.alice, Side::Sell, "0.2", "60000");
    let request = |restriction| CancelRequest { restriction, ..CancelRequest::new(ID, OrderRef::Id(order.order_id)) };
    let now = w.tick();
    let result = w.engine.cancel(now, w.alice, &request(CancelRestriction::OnlyPartiallyFilled));
    assert_eq!(result, Err(Reject::CancelRestriction));
    assert_eq!(w.engine.cancel(now, w.bob, &request(CancelRestriction::Any)), Err(Reject::UnknownOrder));
    w.market(w.bob, Side::Buy, "0.1");
    let now = w.tick();
    assert_eq!(w.engine.cancel(now, w.alice, &request(CancelRestriction::OnlyNew)), Err(Reject::CancelRestriction));
    assert!(w.engine.cancel(now, w.alice, &request(CancelRestriction::OnlyPartiallyFilled)).is_ok());
    let both = OrderRef::Both(order.order_id, client("other"));
    assert_eq!(w.engine.cancel(now, w.alice, &CancelRequest::new(ID, both)), Err(Reject::UnknownOrder));
}

#[test]
fn cancel_all_ends_every_open_order_of_the_account_on_the_instrument() {
    let mut w = World::new();
    for size in ["0.1", "0.2", "0.3"] {
        w.limit(w.alice, Side::Buy, size, "50000");
    }
    let other = w.limit(w.bob, Side::Buy, "0.1", "50000");
    let (mut out, now) = (Vec::new(), w.tick());
    w.engine.cancel_all(now, w.alice, ID, &mut out).unwrap();
    assert_eq!(out.len(), 3);
    assert!(out.iter().all(|view| view.state == OrderState::Canceled));
    w.assert_funds(w.alice, "USDT", "100000", "0");
    assert_eq!(w.state(&other), OrderState::New);
    assert_eq!(w.engine.cancel_all(now, w.alice, ID, &mut out), Err(Reject::UnknownOrder));
}

#[test]
fn cancel_replace_stops_or_goes_on_when_the_cancel_fails() {
    let mut w = World::new();
    let old = w.limit(w.alice, Side::Buy, "0.1", "50000");
    let request = CancelReplace {
        cancel: CancelRequest::new(ID, OrderRef::Id(old.order_id)),
        new: limit(Side::Buy, "0.1", "51000"),
        mode: ReplaceMode::StopOnFailure,
    };
    let now = w.tick();
    let both = w.engine.cancel_replace(now, w.alice, &request).unwrap();
    assert_eq!(both.cancel.unwrap().order_id, old.order_id);
    assert_eq!(both.new.unwrap().unwrap().price, price("51000"));
    let stopped = w.engine.cancel_replace(now, w.alice, &request).unwrap();
    assert_eq!((stopped.cancel, stopped.new), (Err(Reject::UnknownOrder), None));
    let on =
        w.engine.cancel_replace(now, w.alice, &CancelReplace { mode: ReplaceMode::AllowFailure, ..request }).unwrap();
    assert!(on.cancel.is_err() && on.new.unwrap().is_ok());
    // A new order that breaks a filter stops everything before the cancel.
    let open = w.limit(w.alice, Side::Buy, "0.1", "50000");
    let broken = CancelReplace {
        cancel: CancelRequest::new(ID, OrderRef::Id(open.order_id)),
        new: limit(Side::Buy, "0.1", "51000.001"),
        mode: ReplaceMode::AllowFailure,
    };
    let now = w.tick();
    assert_eq!(w.engine.cancel_replace(now, w.alice, &broken), Err(Reject::PriceFilter));
    assert_eq!(w.state(&open), OrderState::New);
    // A new order that cannot be paid leaves the old one cancelled: one half alone.
    let dear = CancelReplace { new: limit(Side::Buy, "9", "50000"), ..broken };
    let half = w.engine.cancel_replace(now, w.alice, &dear).unwrap();
    assert!(half.cancel.is_ok());
    assert_eq!(half.new, Some(Err(Reject::InsufficientBalance)));
}

#[test]
fn cancel_replace_looks_at_the_market_after_the_cancel() {
    let mut w = World::new();
    let own = w.limit(w.alice, Side::Sell, "0.1", "60000");
    let request = CancelReplace {
        cancel: CancelRequest::new(ID, OrderRef::Id(own.order_id)),
        new: post_only(Side::Buy, "0.1", "60000"),
        mode: ReplaceMode::StopOnFailure,
    };
    let now = w.tick();
    let both = w.engine.cancel_replace(now, w.alice, &request).unwrap();
    assert_eq!(both.new.unwrap().unwrap().state, OrderState::New, "its own order no longer stands in the way");
    let other = w.limit(w.bob, Side::Sell, "0.1", "60001");
    let old = w.limit(w.alice, Side::Buy, "0.1", "50000");
    let taking = CancelReplace {
        cancel: CancelRequest::new(ID, OrderRef::Id(old.order_id)),
        new: post_only(Side::Buy, "0.1", "60001"),
        mode: ReplaceMode::StopOnFailure,
    };
    let now = w.tick();
    let half = w.engine.cancel_replace(now, w.alice, &taking).unwrap();
    assert!(half.cancel.is_ok());
    assert_eq!(half.new, Some(Err(Reject::WouldTake)));
    assert_eq!(w.state(&other), OrderState::New);
}

#[test]
fn an_amended_order_keeps_its_place_and_gives_back_what_it_no_longer_needs() {
    let mut w = World::new();
    let first = w.limit(w.alice, Side::Sell, "0.5", "60000");
    let third = w.engine.add_account(&[(asset("BTC"), money("1"))]).unwrap();
    let second = w.limit(third, Side::Sell, "0.5", "60000");
    let request = AmendRequest {
        instrument: ID,
        order: OrderRef::Id(first.order_id),
        quantity: quantity("0.2"),
        new_client_order_id: ClientId::EMPTY,
    };
    let now = w.tick();
    let amended = w.engine.amend(now, w.alice, &request).unwrap();
    assert_eq!(amended.quantity, quantity("0.2"));
    w.assert_funds(w.alice, "BTC", "9.8", "0.2");
    assert_eq!(w.engine.level_quantity(ID, Side::Sell, price("60000")), quantity("0.7"));
    w.market(w.bob, Side::Buy, "0.3");
    assert_eq!(w.state(&first), OrderState::Filled);
    assert_eq!(w.order(&second).cum_quantity, quantity("0.1"));
    let now = w.tick();
    let up = AmendRequest { order: OrderRef::Id(second.order_id), quantity: quantity("0.6"), ..request };
    assert_eq!(w.engine.amend(now, third, &up), Err(Reject::AmendQuantity));
    let below = AmendRequest { quantity: quantity("0.1"), ..up };
    assert_eq!(w.engine.amend(now, third, &below), Err(Reject::AmendQuantity));
}

#[test]
fn a_test_order_is_checked_and_leaves_no_trace() {
    let mut w = World::new();
    let now = w.tick();
    assert_eq!(w.engine.test_order(now, w.alice, &limit(Side::Buy, "0.1", "60000")), Ok(()));
    assert_eq!(w.engine.test_order(now, w.alice, &limit(Side::Buy, "9", "60000")), Err(Reject::InsufficientBalance));
    w.drain();
    assert!(w.events.is_empty());
    assert_eq!(w.engine.open_orders(w.alice, ID).count(), 0);
    w.assert_funds(w.alice, "USDT", "100000", "0");
}

#[test]
fn a_house_account_may_owe_and_nothing_is_reported_about_it() {
    let mut w = World::new();
    let house = w.engine.add_house_account();
    w.submit(house, limit(Side::Sell, "5", "60000")).unwrap();
    assert!(w.reports().is_empty());
    w.market(w.alice, Side::Buy, "1");
    assert!(w.reports().iter().all(|report| report.order.account == w.alice));
    assert_eq!(w.engine.supply(asset("BTC")), money("20"));
    assert_eq!(w.engine.supply(asset("USDT")), money("200000"));
}
