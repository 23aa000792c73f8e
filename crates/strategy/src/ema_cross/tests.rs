//! Tests of the moving-average cross on the desk.

use super::*;
use crate::Params;
use crate::desk::{Answer, Desk, ID, quantity};

fn strategy(params: &Params) -> EmaCross {
    let all = params.clone().with("fast_bars_count", 2).with("slow_bars_count", 4);
    EmaCross::new(ID, &Settings::check(NAME, PARAMS, &all).unwrap()).unwrap()
}

fn run(desk: &mut Desk, strategy: &mut EmaCross, closes: impl IntoIterator<Item = f64>) {
    for close in closes {
        desk.bar(strategy, close);
    }
}

fn up(from: f64, bars: usize) -> impl Iterator<Item = f64> {
    (0..bars).map(move |at| from + 10.0 * at as f64)
}
fn down(from: f64, bars: usize) -> impl Iterator<Item = f64> {
    (0..bars).map(move |at| from - 10.0 * at as f64)
}

#[test]
fn it_buys_when_the_averages_cross_up_and_sells_what_it_bought_when_they_cross_down() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    run(&mut desk, &mut strategy, up(60_000.0, 3));
    assert!(desk.submits.is_empty(), "no order before the averages are warm");
    run(&mut desk, &mut strategy, up(60_030.0, 5));
    assert_eq!(desk.fills.len(), 1, "one entry, however long the trend lasts");
    assert_eq!((desk.fills[0].side, desk.position()), (Side::Buy, quantity("0.00832")));
    run(&mut desk, &mut strategy, down(60_070.0, 8));
    assert_eq!((desk.fills.len(), desk.fills[1].side), (2, Side::Sell));
    assert!(desk.portfolio.position(ID).is_flat());
    run(&mut desk, &mut strategy, up(60_000.0, 8));
    assert_eq!(desk.fills.len(), 3, "and again");
}

#[test]
fn a_fee_taken_in_coins_is_not_sold_again() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.fee = 0.001;
    for _ in 0..3 {
        run(&mut desk, &mut strategy, up(60_000.0, 8));
        run(&mut desk, &mut strategy, down(60_070.0, 8));
    }
    assert_eq!(desk.fills.len(), 6);
    assert!(desk.position() < quantity("0.0001"), "only dust stays: {}", desk.position());
}

#[test]
fn a_limit_entry_reaches_through_the_spread_and_no_further_than_allowed() {
    let params = Params::new().with("entry", "limit").with("slippage_bps", 10);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    run(&mut desk, &mut strategy, up(60_000.0, 8));
    let intent = desk.submits[0].intent;
    assert_eq!((intent.order_type, intent.time_in_force), (OrderType::Limit, TimeInForce::Ioc));
    let ask = 60_030.03;
    assert!(intent.price.unwrap().to_f64() > ask && intent.price.unwrap().to_f64() <= ask * 1.001);
    assert_eq!(desk.fills.len(), 1);
}

#[test]
fn the_stop_protects_what_was_bought_and_goes_before_the_exit() {
    let params = Params::new().with("stop_loss_bps", 100);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    run(&mut desk, &mut strategy, up(60_000.0, 6));
    let stop = desk.orders[0];
    assert_eq!((stop.order_type, stop.purpose, stop.side), (OrderType::StopLoss, OrderPurpose::Protective, Side::Sell));
    assert_eq!((stop.quantity, desk.orders.len()), (desk.position(), 1));
    assert!((stop.stop_price.unwrap().to_f64() - desk.fills[0].price.to_f64() * 0.99).abs() < 0.011);
    run(&mut desk, &mut strategy, down(60_050.0, 8));
    assert_eq!((desk.fills.len(), desk.orders.len(), desk.cancels), (2, 0, 1), "stop cancelled, then sold");
    assert!(desk.portfolio.position(ID).is_flat());
}

#[test]
fn stopped_out_it_waits_for_the_next_cross() {
    let params = Params::new().with("stop_loss_bps", 10);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    run(&mut desk, &mut strategy, up(60_000.0, 6));
    desk.tick(&mut strategy, 10, "59900", "59900.03");
    assert_eq!((desk.fills.len(), desk.orders.len()), (2, 0));
    run(&mut desk, &mut strategy, up(60_060.0, 4));
    assert_eq!(desk.fills.len(), 2, "the averages never crossed down");
    run(&mut desk, &mut strategy, down(60_090.0, 8).chain(up(60_010.0, 8)));
    assert_eq!(desk.fills.len(), 3);
}

#[test]
fn a_stop_that_would_trigger_at_once_means_out() {
    let params = Params::new().with("stop_loss_bps", 1);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    run(&mut desk, &mut strategy, up(60_000.0, 3));
    desk.answer = Answer::Silence;
    run(&mut desk, &mut strategy, up(60_030.0, 1));
    assert_eq!(desk.submits.len(), 1);
    // The entry fills while the market falls through the stop.
    desk.orders[0].state = crate::OpenOrderState::Live;
    desk.answer = Answer::Reject(RejectReason::WouldTrigger);
    desk.tick(&mut strategy, 100, "60000", "60000.03");
    assert_eq!(desk.submits.last().unwrap().intent.purpose, OrderPurpose::Protective);
    desk.answer = Answer::Accept;
    for _ in 0..20 {
        desk.timer(&mut strategy, 100);
    }
    assert_eq!(desk.fills.len(), 2);
    assert!(desk.portfolio.position(ID).is_flat(), "not left without protection");
}

#[test]
fn refusals_slow_it_down_instead_of_being_hammered_at() {
    for answer in [Answer::Deny, Answer::Reject(RejectReason::InsufficientFunds)] {
        let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
        desk.answer = answer;
        run(&mut desk, &mut strategy, up(60_000.0, 6));
        for _ in 0..600 {
            desk.timer(&mut strategy, 100);
        }
        assert!((4..=12).contains(&desk.submits.len()), "{} orders within a minute", desk.submits.len());
        desk.answer = Answer::Accept;
        for _ in 0..400 {
            desk.timer(&mut strategy, 100);
        }
        assert_eq!(desk.fills.len(), 1, "and it comes back by itself");
    }
}

#[test]
fn while_an_order_is_on_its_way_nothing_else_is_asked_for() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.answer = Answer::Silence;
    run(&mut desk, &mut strategy, up(60_000.0, 6).chain(down(60_050.0, 20)).chain(up(59_900.0, 20)));
    assert_eq!(desk.submits.len(), 1);
    assert_eq!(desk.cancels, 0);
}

#[test]
fn without_money_or_with_trading_halted_it_asks_for_nothing() {
    let (mut desk, mut halted) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.trading_state = TradingState::Halted;
    run(&mut desk, &mut halted, up(60_000.0, 10));
    assert!(desk.submits.is_empty());
    let tiny = Params::new().with("order_notional_quote", 4);
    let (mut desk, mut tiny) = (Desk::new("0", "100000"), strategy(&tiny));
    run(&mut desk, &mut tiny, up(60_000.0, 10));
    assert!(desk.submits.is_empty(), "4 USDT is below the least order");
}

#[test]
fn after_a_restart_it_knows_its_stop_and_its_position() {
    let params = Params::new().with("stop_loss_bps", 100);
    let (mut desk, mut before) = (Desk::new("0", "100000"), strategy(&params));
    run(&mut desk, &mut before, up(60_000.0, 6));
    let mut after = strategy(&params);
    desk.call(&mut after, |strategy, ctx| strategy.on_start(ctx));
    run(&mut desk, &mut after, up(60_060.0, 6));
    assert_eq!((desk.fills.len(), desk.orders.len()), (1, 1), "neither bought nor protected twice");
    run(&mut desk, &mut after, down(60_110.0, 10));
    assert!(desk.portfolio.position(ID).is_flat() && desk.orders.is_empty());
}

#[test]
fn it_never_sells_what_another_strategy_bought() {
    let (mut desk, mut strategy) = (Desk::new("2", "100000"), strategy(&Params::new()));
    desk.call(&mut strategy, |strategy, ctx| strategy.on_start(ctx));
    let fill = keel_model::Fill {
        trade_id: "other".parse().unwrap(),
        instrument: ID,
        side: Side::Buy,
        price: "60000".parse().unwrap(),
        quantity: quantity("1"),
        fee: Notional::ZERO,
        fee_asset: "USDT".parse().unwrap(),
        liquidity: keel_model::Liquidity::Maker,
        ts_event: desk.now,
    };
    desk.portfolio.apply_fill(&fill).unwrap();
    run(&mut desk, &mut strategy, down(60_000.0, 10));
    assert!(desk.submits.is_empty());
    run(&mut desk, &mut strategy, up(60_000.0, 8).chain(down(60_070.0, 8)));
    assert_eq!((desk.fills.len(), desk.position()), (2, quantity("1")), "its own round trip and nothing else");
}

#[test]
fn on_a_perpetual_it_sells_what_it_bought_and_only_reduces() {
    let (mut desk, mut strategy) = (Desk::perpetual(), strategy(&Params::new().with("stop_loss_bps", 500)));
    run(&mut desk, &mut strategy, up(60_000.0, 8));
    run(&mut desk, &mut strategy, down(60_070.0, 8));
    assert_eq!(desk.fills.len(), 2);
    assert!(desk.portfolio.position(ID).is_flat() && desk.orders.is_empty());
    assert!(desk.submits.iter().skip(1).all(|new| new.intent.reduce_only));
}

#[test]
fn what_fees_in_coins_leave_in_the_books_is_not_held_for_ever() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    (desk.fee, _) = (0.005, desk.take_small_orders());
    for _ in 0..3 {
        run(&mut desk, &mut strategy, up(60_000.0, 8));
        run(&mut desk, &mut strategy, down(60_070.0, 8));
    }
    assert_eq!(desk.fills.len(), 6, "it trades on, although the rest could be sold by its size");
    let mut after = super::tests::strategy(&Params::new());
    desk.call(&mut after, |strategy, ctx| strategy.on_start(ctx));
    run(&mut desk, &mut after, up(60_000.0, 8).chain(down(60_070.0, 8)));
    assert_eq!(desk.fills.len(), 8, "over a restart, too");
}
