//! Tests of RSI mean reversion, and of the trader beneath it, on the desk.

use super::*;
use crate::desk::{Answer, Desk, ID};
use crate::{OpenOrderState, Params, registry};
use keel_model::{OrderPurpose, OrderType, RejectReason, TradingState};

fn strategy(params: &Params) -> Box<dyn Strategy> {
    let all = Params::new().with("rsi_bars_count", 3).with("atr_bars_count", 3).with("trend_bars_count", 4);
    let all = all.with("stop_atr", 20);
    registry::build(NAME, ID, &params.over(&all)).unwrap()
}

/// Bars that bring the market to `to` by `step`.
fn go(desk: &mut Desk, strategy: &mut dyn Strategy, from: f64, step: f64, bars: usize) -> f64 {
    (0..bars).fold(from, |price, _| {
        desk.bar(strategy, price + step);
        price + step
    })
}

#[test]
fn it_buys_an_oversold_market_once_with_a_stop_at_the_venue_and_sells_the_bounce() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    let mut price = go(&mut desk, strategy.as_mut(), 60_000.0, 5.0, 4);
    price = go(&mut desk, strategy.as_mut(), price, -20.0, 4);
    assert_eq!((desk.fills.len(), desk.fills[0].side, desk.tags[0].1), (1, Side::Buy, Tag::ENTRY));
    let stop = desk.orders[0];
    assert_eq!((stop.order_type, stop.purpose, stop.side), (OrderType::StopLoss, OrderPurpose::Protective, Side::Sell));
    assert_eq!((stop.quantity, desk.orders.len(), desk.last_tag()), (desk.position(), 1, "stop-loss"));
    assert!(stop.stop_price.unwrap() < desk.fills[0].price);
    go(&mut desk, strategy.as_mut(), price, 15.0, 6);
    assert_eq!((desk.fills.len(), desk.orders.len(), desk.cancels), (2, 0, 1), "stop cancelled, then sold");
    assert!(["signal", "target"].contains(&desk.last_tag()), "{}", desk.last_tag());
}

#[test]
fn the_target_closes_between_bars() {
    let params = Params::new().with("exit_rsi", 70).with("target_atr", 1);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    let price = go(&mut desk, strategy.as_mut(), 60_000.0, -20.0, 4);
    assert_eq!(desk.fills.len(), 1);
    let text = |price: f64| format!("{price:.2}");
    desk.tick(strategy.as_mut(), 10, &text(price + 500.0), &text(price + 500.03));
    assert_eq!((desk.fills.len(), desk.last_tag()), (2, "target"));
    assert!(desk.portfolio.position(ID).is_flat());
}

#[test]
fn stopped_out_by_the_venue_it_waits_for_the_next_visit_to_the_zone() {
    let params = Params::new().with("stop_atr", 1);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    let price = go(&mut desk, strategy.as_mut(), 60_000.0, -20.0, 8);
    assert!(desk.fills.len() >= 2, "bought and stopped out");
    assert!(desk.portfolio.position(ID).is_flat() && desk.orders.is_empty());
    let fills = desk.fills.len();
    let price = go(&mut desk, strategy.as_mut(), price, -20.0, 5);
    assert_eq!(desk.fills.len(), fills, "it never left the zone");
    let price = go(&mut desk, strategy.as_mut(), price, 20.0, 6);
    go(&mut desk, strategy.as_mut(), price, -20.0, 3);
    assert_eq!(desk.fills.len(), fills + 1);
}

#[test]
fn it_sells_the_rip_of_a_downtrend_on_a_perpetual_and_never_on_spot() {
    let params = Params::new().with("direction", "short").with("trend_bars_count", 30).with("overbought", 60);
    for is_perpetual in [true, false] {
        let mut desk = if is_perpetual { Desk::perpetual() } else { Desk::new("5", "100000") };
        let mut strategy = strategy(&params);
        let price = go(&mut desk, strategy.as_mut(), 60_000.0, -50.0, 40);
        let price = go(&mut desk, strategy.as_mut(), price, 15.0, 5);
        if !is_perpetual {
            assert!(desk.submits.is_empty(), "short only on perpetuals");
            continue;
        }
        assert_eq!((desk.fills.len(), desk.fills[0].side), (1, Side::Sell));
        let stop = desk.orders[0];
        assert_eq!((stop.order_type, stop.side), (OrderType::StopLoss, Side::Buy));
        assert!(stop.stop_price.unwrap() > desk.fills[0].price);
        go(&mut desk, strategy.as_mut(), price, -40.0, 4);
        assert!(desk.portfolio.position(ID).is_flat() && desk.orders.is_empty());
        assert!(desk.submits.iter().skip(1).all(|new| new.intent.reduce_only), "whatever follows only reduces");
    }
}

#[test]
fn a_trailing_stop_of_the_exits_moves_up_with_the_market_and_only_up() {
    let params = Params::new()
        .with("exit_rsi", 70)
        .with("overbought", 99)
        .with("target_atr", 100)
        .with("exits.trailing_stop_bps", 5);
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
    let price = go(&mut desk, strategy.as_mut(), 60_000.0, -20.0, 4);
    let stop_of = |desk: &Desk| desk.orders[0].stop_price.unwrap();
    let first = stop_of(&desk);
    let text = |price: f64| format!("{price:.2}");
    desk.tick(strategy.as_mut(), 1_000, &text(price + 60.0), &text(price + 60.03));
    let second = stop_of(&desk);
    assert!(second > first, "{second} is not above {first}");
    desk.tick(strategy.as_mut(), 1_000, &text(price + 50.0), &text(price + 50.03));
    assert_eq!((stop_of(&desk), desk.orders.len()), (second, 1));
    desk.tick(strategy.as_mut(), 1_000, &text(price - 60.0), &text(price - 59.97));
    assert!(desk.portfolio.position(ID).is_flat());
    assert_eq!(desk.last_tag(), "trailing-stop");
}

#[test]
fn after_a_restart_it_knows_its_stop_and_gets_a_target_again() {
    let (mut desk, mut before) = (Desk::new("0", "100000"), strategy(&Params::new()));
    let price = go(&mut desk, before.as_mut(), 60_000.0, -20.0, 4);
    assert_eq!((desk.fills.len(), desk.orders.len()), (1, 1));
    let mut after = strategy(&Params::new());
    desk.call(after.as_mut(), |strategy, ctx| strategy.on_start(ctx));
    let price = go(&mut desk, after.as_mut(), price, -1.0, 5);
    assert_eq!((desk.fills.len(), desk.orders.len(), desk.cancels), (1, 1, 0), "neither bought nor protected twice");
    desk.tick(after.as_mut(), 10, &format!("{:.2}", price + 900.0), &format!("{:.2}", price + 900.03));
    assert_eq!((desk.fills.len(), desk.orders.len(), desk.last_tag()), (2, 0, "target"));
}

#[test]
fn a_stop_that_the_venue_does_not_trigger_is_carried_out_without_it() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    let price = go(&mut desk, strategy.as_mut(), 60_000.0, -20.0, 4);
    desk.orders[0].state = OpenOrderState::Pending;
    let low = |at: f64| (format!("{:.2}", price - at), format!("{:.2}", price - at + 0.03));
    let (bid, ask) = low(900.0);
    desk.tick(strategy.as_mut(), 10, &bid, &ask);
    assert_eq!(desk.fills.len(), 1, "left to the venue at first");
    for _ in 0..60 {
        desk.timer(strategy.as_mut(), 100);
    }
    assert_eq!((desk.fills.len(), desk.last_tag()), (2, "stop-loss"));
    assert!(desk.portfolio.position(ID).is_flat() && desk.orders.is_empty());
}

#[test]
fn refusals_slow_it_down_and_an_old_signal_is_given_up() {
    for answer in [Answer::Deny, Answer::Reject(RejectReason::InsufficientFunds)] {
        let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
        desk.answer = answer;
        let price = go(&mut desk, strategy.as_mut(), 60_000.0, -20.0, 4);
        (0..600).for_each(|_| desk.timer(strategy.as_mut(), 100));
        assert!((4..=12).contains(&desk.submits.len()), "{} orders within a minute", desk.submits.len());
        go(&mut desk, strategy.as_mut(), price, 20.0, 3);
        desk.answer = Answer::Accept;
        (0..1_000).for_each(|_| desk.timer(strategy.as_mut(), 100));
        assert!(desk.fills.is_empty(), "the market is not oversold any more");
    }
}

#[test]
fn while_an_order_is_on_its_way_or_trading_is_halted_nothing_is_asked_for() {
    let (mut desk, mut silent) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.answer = Answer::Silence;
    let price = go(&mut desk, silent.as_mut(), 60_000.0, -20.0, 20);
    go(&mut desk, silent.as_mut(), price, 20.0, 20);
    assert_eq!((desk.submits.len(), desk.cancels), (1, 0));
    let (mut desk, mut halted) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.trading_state = TradingState::Halted;
    go(&mut desk, halted.as_mut(), 60_000.0, -20.0, 20);
    assert!(desk.submits.is_empty());
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let error = registry::check(NAME, &Params::new().with("exit_rsi", 80)).unwrap_err().to_string();
    assert!(error.contains("exit_rsi 80 is not between"), "{error}");
    let error = registry::check(NAME, &Params::new().with("bar_s", 7)).unwrap_err().to_string();
    assert!(error.contains("bar_s 7 does not divide a day"), "{error}");
    let error = registry::check(NAME, &Params::new().with("exits.stop_los_bps", 7)).unwrap_err().to_string();
    assert!(error.contains("did you mean `stop_loss_bps`"), "{error}");
}

#[test]
fn what_fees_in_coins_leave_in_the_books_is_not_held_for_ever() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.fee = 0.005;
    desk.take_small_orders();
    let mut price = 60_000.0;
    for _ in 0..3 {
        price = go(&mut desk, strategy.as_mut(), price, -20.0, 5);
        price = go(&mut desk, strategy.as_mut(), price, 20.0, 5);
    }
    assert_eq!(desk.fills.len(), 6);
}

#[test]
fn between_bars_without_quotes_it_asks_for_nothing() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    let price = go(&mut desk, strategy.as_mut(), 60_000.0, -20.0, 4);
    let asked = desk.submits.len();
    desk.now = desk.now.plus(Duration::from_secs(60));
    desk.call(strategy.as_mut(), |strategy, ctx| {
        assert!(ctx.book(ID).is_some() && ctx.fresh_book(ID).is_none());
        strategy.on_timer(ctx);
    });
    assert_eq!((desk.submits.len(), desk.cancels), (asked, 0), "{price}");
}
