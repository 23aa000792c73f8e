//! One-cancels-the-other lists.

use crate::world::*;
use keel_model::{ExecType, OrderType, Side, TimeInForce};
use keel_sim::{
    AccountId, ClientId, ExpiryReason, ListStatus, OcoLeg, OcoRequest, OrderListView, OrderState, OrderView, Reject,
    SimEvent,
};

fn leg(order_type: OrderType, limit: Option<&str>, trigger: Option<&str>) -> OcoLeg {
    OcoLeg {
        client_order_id: ClientId::EMPTY,
        order_type,
        time_in_force: TimeInForce::Gtc,
        price: limit.map(price),
        stop_price: trigger.map(price),
    }
}

/// Sell 0.5: take profit at 61000, stop at 59000 with limit 58900.
fn sell_oco() -> OcoRequest {
    OcoRequest {
        list_client_order_id: client("list"),
        instrument: ID,
        side: Side::Sell,
        quantity: quantity("0.5"),
        above: leg(OrderType::LimitMaker, Some("61000"), None),
        below: leg(OrderType::StopLossLimit, Some("58900"), Some("59000")),
        stp_mode: None,
    }
}

fn place(account: AccountId, w: &mut World, request: &OcoRequest) -> Result<OrderListView, Reject> {
    let now = w.tick();
    let result = w.engine.submit_oco(now, account, request);
    w.drain();
    result
}

fn legs(w: &World, list: &OrderListView) -> [OrderView; 2] {
    list.orders.map(|(id, _)| w.engine.order(list.account, ID, keel_sim::OrderRef::Id(id)).unwrap())
}

#[test]
fn both_legs_lock_once() {
    let mut w = World::traded_at("60000");
    let list = place(w.alice, &mut w, &sell_oco()).unwrap();
    assert_eq!(list.status, ListStatus::Executing);
    w.assert_funds(w.alice, "BTC", "9.5", "0.5");
    let [above, below] = legs(&w, &list);
    assert!(above.is_working && !below.is_working);
    assert_eq!(above.list_id, Some(list.list_id));
    assert!(matches!(w.events[0], SimEvent::List(report) if report.is_new));
    let buy = OcoRequest {
        side: Side::Buy,
        above: leg(OrderType::StopLossLimit, Some("62000"), Some("61000")),
        below: leg(OrderType::LimitMaker, Some("59000"), None),
        ..sell_oco()
    };
    place(w.bob, &mut w, &buy).unwrap();
    w.assert_funds(w.bob, "USDT", "69000", "31000");
}

#[test]
fn a_fill_of_one_leg_expires_the_other_and_keeps_the_rest_locked() {
    let mut w = World::traded_at("60000");
    let list = place(w.alice, &mut w, &sell_oco()).unwrap();
    w.limit(w.bob, Side::Buy, "0.2", "61000");
    let [above, below] = legs(&w, &list);
    assert_eq!(above.state, OrderState::PartiallyFilled);
    assert_eq!((below.state, below.expiry_reason), (OrderState::Expired, ExpiryReason::OcoTrigger));
    w.assert_funds(w.alice, "BTC", "9.5", "0.3");
    assert_eq!(w.engine.order_list(w.alice, Ok(list.list_id)).unwrap().status, ListStatus::Executing);
    w.limit(w.bob, Side::Buy, "0.3", "61000");
    w.assert_funds(w.alice, "BTC", "9.5", "0");
    assert_eq!(w.engine.order_list(w.alice, Err(client("list"))).unwrap().status, ListStatus::AllDone);
    assert!(w.events.iter().any(|e| matches!(e, SimEvent::List(r) if r.list.status == ListStatus::AllDone)));
}

#[test]
fn a_trigger_of_the_stop_leg_expires_the_limit_leg() {
    let mut w = World::traded_at("60000");
    let list = place(w.alice, &mut w, &sell_oco()).unwrap();
    w.set_last("59000");
    let [above, below] = legs(&w, &list);
    assert_eq!((above.state, above.expiry_reason), (OrderState::Expired, ExpiryReason::OcoTrigger));
    assert!(below.is_working && below.state == OrderState::New);
    assert_eq!(w.engine.book_ticker(ID).unwrap().ask.price, price("58900"));
    w.assert_funds(w.alice, "BTC", "9.5", "0.5");
    w.cancel(w.alice, below.order_id).unwrap();
    w.assert_funds(w.alice, "BTC", "10", "0");
    assert!(w.engine.order_lists(w.alice, true).is_empty());
    assert_eq!(w.engine.order_lists(w.alice, false).len(), 1);
}

#[test]
fn cancelling_one_leg_or_the_list_cancels_both() {
    let mut w = World::traded_at("60000");
    let list = place(w.alice, &mut w, &sell_oco()).unwrap();
    w.cancel(w.alice, list.orders[1].0).unwrap();
    assert_eq!(legs(&w, &list).map(|leg| leg.state), [OrderState::Canceled; 2]);
    w.assert_funds(w.alice, "BTC", "10", "0");
    assert_eq!(w.story().iter().filter(|(_, exec_type, _)| *exec_type == ExecType::Canceled).count(), 2);

    let list = place(w.alice, &mut w, &sell_oco()).unwrap();
    let (mut out, now) = (Vec::new(), w.tick());
    let done = w.engine.cancel_list(now, w.alice, ID, Err(client("list")), &mut out).unwrap();
    assert_eq!((done.list_id, done.status, out.len()), (list.list_id, ListStatus::AllDone, 2));
    let again = w.engine.cancel_list(now, w.alice, ID, Ok(list.list_id), &mut out);
    assert_eq!(again, Err(Reject::UnknownOrder));
    place(w.alice, &mut w, &sell_oco()).unwrap();
    let (mut out, now) = (Vec::new(), w.tick());
    w.engine.cancel_all(now, w.alice, ID, &mut out).unwrap();
    assert_eq!(out.len(), 2);
    w.assert_funds(w.alice, "BTC", "10", "0");
}

#[test]
fn lists_with_wrong_prices_types_or_ids_are_refused_and_change_nothing() {
    let mut w = World::traded_at("60000");
    let good = sell_oco();
    let below_market = OcoRequest { above: leg(OrderType::LimitMaker, Some("59500"), None), ..good };
    assert_eq!(place(w.alice, &mut w, &below_market), Err(Reject::ListPrices));
    let two_limits = OcoRequest { below: leg(OrderType::LimitMaker, Some("59000"), None), ..good };
    assert_eq!(place(w.alice, &mut w, &two_limits), Err(Reject::ListTypes));
    let swapped = OcoRequest { above: good.below, below: good.above, ..good };
    assert_eq!(place(w.alice, &mut w, &swapped), Err(Reject::ListTypes));
    let mut same = good;
    (same.above.client_order_id, same.below.client_order_id) = (client("x"), client("x"));
    assert_eq!(place(w.alice, &mut w, &same), Err(Reject::DuplicateClientId));
    let dear = OcoRequest { quantity: quantity("10.001"), ..good };
    assert_eq!(place(w.alice, &mut w, &dear), Err(Reject::InsufficientBalance));
    w.assert_funds(w.alice, "BTC", "10", "0");
    assert_eq!(w.engine.open_orders(w.alice, ID).count(), 0);
    assert!(w.engine.order_lists(w.alice, false).is_empty());
}

#[test]
fn a_market_stop_leg_sells_at_market_when_triggered() {
    let mut w = World::traded_at("60000");
    let request = OcoRequest { below: leg(OrderType::StopLoss, None, Some("59000")), ..sell_oco() };
    let list = place(w.alice, &mut w, &request).unwrap();
    w.limit(w.bob, Side::Buy, "1", "58000");
    w.set_last("58999");
    let [above, below] = legs(&w, &list);
    assert_eq!((above.state, below.state), (OrderState::Expired, OrderState::Filled));
    w.assert_funds(w.alice, "BTC", "9.5", "0");
    w.assert_funds(w.alice, "USDT", "129000", "0");
}
