//! Tests of the market maker on the desk.

use super::*;
use crate::desk::{Answer, Desk, ID, quantity};
use crate::{Params, build};
use keel_model::RejectReason;
use proptest::prelude::*;

fn strategy(params: &Params) -> MarketMaker {
    MarketMaker::new(ID, &Settings::check(NAME, PARAMS, params).unwrap()).unwrap()
}

fn started(base: &str, quote: &str, params: &Params) -> (Desk, MarketMaker) {
    let (mut desk, mut strategy) = (Desk::new(base, quote), strategy(params));
    desk.call(&mut strategy, |strategy, ctx| strategy.on_start(ctx));
    (desk, strategy)
}

fn prices(desk: &Desk) -> (Vec<f64>, Vec<f64>) {
    let of = |side| {
        let own = desk.orders.iter().filter(|order| order.side == side);
        own.map(|order| order.price.unwrap().to_f64()).collect()
    };
    (of(Side::Buy), of(Side::Sell))
}

#[test]
fn it_quotes_both_sides_post_only_at_half_the_spread_from_the_middle() {
    let params = Params::new().with("half_spread_bps", 2);
    let (mut desk, mut strategy) = started("2", "100000", &params);
    desk.tick(&mut strategy, 10, "59999.98", "60000.02");
    assert_eq!(prices(&desk), (vec![59_988.0], vec![60_012.0]));
    assert!(desk.orders.iter().all(|order| order.order_type == OrderType::LimitMaker));
    assert!(desk.orders.iter().all(|order| order.quantity == quantity("0.00833")), "500 USDT each");
}

#[test]
fn small_moves_leave_the_quotes_and_larger_ones_move_them_cancel_first() {
    let params = Params::new().with("half_spread_bps", 2).with("requote_bps", 1).with("requote_interval_ms", 100);
    let (mut desk, mut strategy) = started("2", "100000", &params);
    desk.tick(&mut strategy, 10, "59999.98", "60000.02");
    for _ in 0..50 {
        desk.tick(&mut strategy, 50, "60004.98", "60005.02");
    }
    assert_eq!((desk.submits.len(), desk.cancels), (2, 0), "5 is within a basis point of 60,000");
    desk.tick(&mut strategy, 50, "60009.98", "60010.02");
    assert_eq!((desk.submits.len(), desk.cancels, desk.orders.len()), (2, 2, 0), "first away with the old ones");
    desk.tick(&mut strategy, 50, "60009.98", "60010.02");
    assert_eq!(desk.submits.len(), 2, "not before the interval is over");
    desk.tick(&mut strategy, 50, "60009.98", "60010.02");
    assert_eq!(desk.submits.len(), 4);
    assert_eq!(prices(&desk), (vec![59_997.99], vec![60_022.01]));
}

#[test]
fn a_wild_market_cannot_make_it_flood_the_venue() {
    let params = Params::new().with("requote_interval_ms", 250).with("requote_bps", 0);
    let (mut desk, mut strategy) = started("2", "100000", &params);
    for at in 0..10_000u32 {
        let bid = 60_000.0 + f64::from(at * 7919 % 1000);
        desk.tick(&mut strategy, 1, &format!("{bid:.2}"), &format!("{:.2}", bid + 0.03));
    }
    let requests = desk.submits.len() as u32 + desk.cancels;
    assert!(requests <= 2 * 41 + 82, "{requests} requests in ten seconds");
}

#[test]
fn quotes_never_cross_the_other_side() {
    let params = Params::new().with("half_spread_bps", 0).with("skew_bps", 0);
    let (mut desk, mut strategy) = started("2", "100000", &params);
    desk.tick(&mut strategy, 10, "60000.00", "60000.01");
    let (bids, asks) = prices(&desk);
    assert_eq!((bids, asks), (vec![60_000.0], vec![60_000.01]), "a one-tick market is joined, not crossed");
    assert!(desk.fills.is_empty());
}

#[test]
fn inventory_shifts_both_quotes_and_a_full_one_ends_one_side() {
    let params = Params::new()
        .with("half_spread_bps", 1)
        .with("skew_bps", 10)
        .with("inventory_notional_max_quote", 1200)
        .with("requote_interval_ms", 1);
    let (mut desk, mut strategy) = started("2", "100000", &params);
    desk.tick(&mut strategy, 10, "59999.98", "60000.02");
    let (bid, ask) = (prices(&desk).0[0], prices(&desk).1[0]);
    // Both bids are hit; the market comes back each time.
    for _ in 0..2 {
        desk.tick(&mut strategy, 1_000, "59900", "59900.04");
        desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
        desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
    }
    assert!(desk.fills.iter().filter(|fill| fill.side == Side::Buy).count() >= 2, "{:?}", desk.fills);
    let (bids, asks) = prices(&desk);
    assert!(bids.is_empty() || bids[0] < bid - 10.0);
    assert!(asks[0] < ask, "offered cheaper to get rid of it");
    for _ in 0..20 {
        desk.tick(&mut strategy, 1_000, "59800", "59800.04");
        desk.tick(&mut strategy, 1_000, "59700", "59700.04");
    }
    let held = desk.position().to_f64() * 59_700.0;
    assert!(held <= 1_200.0, "{held} USDT held, 1,200 are allowed");
}

#[test]
fn without_coins_only_bids_and_without_money_only_offers() {
    let (mut desk, mut broke) = started("0", "100000", &Params::new());
    desk.tick(&mut broke, 10, "59999.98", "60000.02");
    assert_eq!((prices(&desk).0.len(), prices(&desk).1.len()), (1, 0));
    let (mut desk, mut rich) = started("2", "1", &Params::new());
    desk.tick(&mut rich, 10, "59999.98", "60000.02");
    assert_eq!((prices(&desk).0.len(), prices(&desk).1.len()), (0, 1));
    let (mut desk, mut partly) = started("2", "300", &Params::new());
    desk.tick(&mut partly, 10, "59999.98", "60000.02");
    let bid = desk.orders.iter().find(|order| order.side == Side::Buy).unwrap();
    assert!(Notional::of(bid.price.unwrap(), bid.quantity) <= Notional::from_int(300));
}

#[test]
fn no_quotes_without_a_current_market() {
    let (mut desk, mut strategy) = started("2", "100000", &Params::new());
    desk.tick(&mut strategy, 10, "59999.98", "60000.02");
    assert_eq!(desk.orders.len(), 2);
    desk.now = desk.now.plus(Duration::from_secs(1));
    desk.feed(&mut strategy, FeedState::Stale);
    assert!(desk.orders.is_empty(), "I14");
    desk.timer(&mut strategy, 5_000);
    assert!(desk.orders.is_empty());
    desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
    assert_eq!(desk.orders.len(), 2, "it is back with the market");
}

#[test]
fn halted_it_withdraws_and_reducing_it_only_reduces() {
    let (mut desk, mut strategy) = started("2", "100000", &Params::new());
    desk.tick(&mut strategy, 10, "59999.98", "60000.02");
    desk.trading_state = TradingState::Halted;
    desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
    assert!(desk.orders.is_empty());
    desk.trading_state = TradingState::Active;
    desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
    desk.tick(&mut strategy, 1_000, "59900.00", "59900.04");
    assert!(desk.position().is_positive());
    desk.trading_state = TradingState::Reducing;
    for _ in 0..4 {
        desk.tick(&mut strategy, 1_000, "59900.00", "59900.04");
    }
    assert_eq!((prices(&desk).0.len(), prices(&desk).1.len()), (0, 1), "long, so it only offers");
}

#[test]
fn refusals_slow_it_down_and_an_order_under_way_is_waited_for() {
    for answer in [Answer::Deny, Answer::Reject(RejectReason::WouldTake)] {
        let (mut desk, mut strategy) = started("2", "100000", &Params::new());
        desk.answer = answer;
        for _ in 0..600 {
            desk.timer(&mut strategy, 50);
            desk.tick(&mut strategy, 50, "59999.98", "60000.02");
        }
        assert!(desk.submits.len() <= 2 * 14, "{} orders within a minute", desk.submits.len());
    }
    let (mut desk, mut strategy) = started("2", "100000", &Params::new());
    desk.answer = Answer::Silence;
    for _ in 0..100 {
        desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
    }
    assert_eq!(desk.submits.len(), 2, "no second order beside an unanswered one");
}

#[test]
fn several_levels_stand_a_step_apart_and_stop_where_the_inventory_would_be_too_large() {
    let params =
        Params::new().with("levels_count", 5).with("level_step_bps", 10).with("inventory_notional_max_quote", 1_500);
    let (mut desk, mut strategy) = started("2", "100000", &params);
    desk.tick(&mut strategy, 1_000, "59999.98", "60000.02");
    let (bids, asks) = prices(&desk);
    assert_eq!((bids.len(), asks.len()), (3, 3), "three quotes of 500 fit into 1,500");
    for pair in bids.windows(2).chain(asks.windows(2)) {
        let step = f64::abs(pair[0] - pair[1]);
        assert!((step - 60.0).abs() < 0.05, "{step} apart");
    }
}

#[test]
fn a_market_maker_that_could_never_quote_is_refused() {
    let params = Params::new().with("quote_notional_quote", 500).with("inventory_notional_max_quote", 400);
    assert!(build(NAME, ID, &params).unwrap_err().to_string().contains("it would never quote"));
}

proptest! {
    #[test]
    fn whatever_the_market_does_the_account_stays_sound(
        steps in prop::collection::vec((1u64..2_000, -400i64..400, 1i64..20, 0u8..20), 1..150),
        base in 0i64..3, quote in 0i64..2_000,
    ) {
        let params = Params::new().with("inventory_notional_max_quote", 1_500).with("half_spread_bps", 0.3);
        let (mut desk, mut strategy) = started(&base.to_string(), &quote.to_string(), &params);
        let mut bid = 6_000_000i64;
        for (ms, step, spread, event) in steps {
            bid += step;
            desk.answer = match event {
                0 => Answer::Deny,
                1 => Answer::Reject(RejectReason::Other),
                _ => Answer::Accept,
            };
            let text = |ticks: i64| format!("{}.{:02}", ticks / 100, ticks % 100);
            // The desk itself refuses what an account on spot cannot do.
            desk.tick(&mut strategy, ms, &text(bid), &text(bid + spread));
            let (bids, asks) = prices(&desk);
            prop_assert!(bids.len() <= 1 && asks.len() <= 1);
        }
    }
}
