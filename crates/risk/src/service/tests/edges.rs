//! Edges of single rules, each as it is exactly at its bound and one step beyond: what a changed comparison or a forgotten
//! call would let through.

use super::*;
use crate::breaker::BreakerKind;
use crate::denied::Filter;
use crate::guards::{BreakerLimit, GuardLimits, ProtectionLimits};
use crate::limits::LimitError;
use crate::protections::{LockCause, Protections};
use crate::service::Outcome;
use crate::snapshot::RiskSnapshot;
use crate::strategies::{Cell, CellFill};
use crate::units::{money_up, units_within};
use crate::window::PriceWindow;
use keel_model::RiskScope;

const ONE: StrategyId = StrategyId(0);

fn desk_of(change: impl FnOnce(&mut Instrument)) -> Desk {
    let mut btc = instrument("BTCUSDT", "BTC", "USDT", InstrumentKind::Spot);
    change(&mut btc);
    let mut desk = Desk::new();
    desk.risk.set_instrument(&btc).unwrap();
    desk
}

#[test]
fn rc_17_prices_at_the_venues_bounds_pass_and_a_tick_beyond_does_not() {
    let mut desk = desk_of(|btc| (btc.min_price, btc.max_price) = (price("59900"), price("60100")));
    assert!(desk.buy("0.001", "59900").is_ok() && desk.buy("0.001", "60100").is_ok());
    for beyond in ["59899.99", "60100.01"] {
        assert_eq!(desk.buy("0.001", beyond), Err(DenyReason::Filter(Filter::Price)), "{beyond}");
    }
    assert_eq!(desk.buy("0.001", "60000.001"), Err(DenyReason::Filter(Filter::Price)), "off the tick");
}

#[test]
fn rc_17_quantities_at_the_lots_bounds_pass_and_a_step_beyond_does_not() {
    let mut desk = desk_of(|btc| (btc.lot.min, btc.lot.max) = (quantity("0.01"), quantity("0.1")));
    assert!(desk.buy("0.01", "60000").is_ok() && desk.buy("0.1", "60000").is_ok());
    for beyond in ["0.00999", "0.10001"] {
        assert_eq!(desk.buy(beyond, "60000"), Err(DenyReason::Filter(Filter::Lot)), "{beyond}");
    }
}

#[test]
fn rc_17_a_value_of_exactly_the_venues_largest_passes() {
    let mut desk = desk_of(|btc| btc.max_notional = Some(money("600")));
    assert!(desk.buy("0.01", "60000").is_ok());
    assert_eq!(desk.buy("0.01001", "60000"), Err(DenyReason::Filter(Filter::Notional)));
}

#[test]
fn limits_that_are_equal_are_in_order_and_quantities_too() {
    let equal = money("10000");
    let all = RiskLimits {
        order_notional_max: equal,
        position_notional_max: equal,
        gross_exposure_max: equal,
        open_orders_max: 10,
        open_orders_per_instrument_max: 10,
        duplicate_window_ms: 86_400_000,
        ..limits()
    };
    all.validate().unwrap();
    let late = RiskLimits { duplicate_window_ms: 86_400_001, ..all.clone() };
    assert!(matches!(late.validate(), Err(LimitError::TooLarge { name: "duplicate_window_ms", .. })));
    let with = |order: &str, position: &str| {
        let own = InstrumentLimits {
            order_quantity_max: Some(quantity(order)),
            position_quantity_max: Some(quantity(position)),
            ..InstrumentLimits::default()
        };
        RiskLimits { per_instrument: vec![(ETH, own)], ..all.clone() }.validate()
    };
    assert!(with("5", "5").is_ok() && with("4.99", "5").is_ok());
    assert!(with("5.01", "5").is_err(), "an order larger than the position may ever be");
}

#[test]
fn a_guard_that_is_half_configured_is_refused() {
    let guards = |guards: GuardLimits| RiskLimits { guards, ..limits() }.validate();
    let counted = BreakerLimit { count: 3, window_ms: 0 };
    assert!(guards(GuardLimits { order_errors: counted, ..GuardLimits::default() }).is_err());
    assert!(guards(GuardLimits { venue_errors: counted, ..GuardLimits::default() }).is_err());
    assert!(guards(GuardLimits { breaker_timeout_ms: 1_000, ..GuardLimits::default() }).is_err(), "tries with nothing");
    assert!(guards(GuardLimits { loss_timeout_ms: 1_000, ..GuardLimits::default() }).is_err(), "tries with nothing");
    assert!(guards(GuardLimits::default()).is_ok());
}

#[test]
fn what_passed_and_what_was_denied_is_counted() {
    let mut desk = Desk::new();
    assert_eq!((desk.risk.approved_total(), desk.risk.denied_total()), (0, 0));
    for at in ["59000", "59001", "59002"] {
        desk.buy("0.001", at).unwrap();
    }
    for _ in 0..2 {
        desk.buy("0.001", "70000").unwrap_err();
    }
    assert_eq!((desk.risk.approved_total(), desk.risk.denied_total()), (3, 2));
}

#[test]
fn what_can_be_closed_is_the_position_less_what_is_being_closed() {
    let mut desk = Desk::new();
    assert_eq!(desk.risk.closable(BTC, Side::Sell), Quantity::ZERO);
    desk.fill(None, BTC, Side::Buy, "0.5", "60000");
    assert_eq!(desk.risk.closable(BTC, Side::Sell), quantity("0.5"));
    desk.sell("0.1", "60100").unwrap();
    assert_eq!(desk.risk.closable(BTC, Side::Sell), quantity("0.4"));
    assert_eq!(desk.risk.closable(BTC, Side::Buy), Quantity::ZERO);
    desk.fill(None, PERP, Side::Sell, "0.2", "60000");
    assert_eq!(desk.risk.closable(PERP, Side::Buy), quantity("0.2"));
}

#[test]
fn rc_06_open_orders_are_valued_anew_when_the_price_moves() {
    let mut desk = Desk::new();
    desk.buy("0.1", "60000").unwrap();
    let before = desk.risk.gross_exposure();
    desk.quote(BTC, "60300", "60300");
    assert_ne!(desk.risk.gross_exposure(), before, "nothing is held, yet the order may fill");
    let flat = desk.risk.gross_exposure();
    desk.quote(ETH, "3010", "3010");
    assert_eq!(desk.risk.gross_exposure(), flat, "nothing is open there");
}

#[test]
fn s2_016_a_persons_resume_closes_the_breakers() {
    let guards = GuardLimits {
        venue_errors: BreakerLimit { count: 1, window_ms: 30_000 },
        probe_notional_max: money("100"),
        ..GuardLimits::default()
    };
    let mut desk = Desk::with(RiskLimits { guards, ..limits() });
    let id = desk.buy("0.001", "59000").unwrap();
    let intent = OrderIntent::limit(BTC, Side::Buy, quantity("0.001"), price("59000"), OrderPurpose::Entry);
    let order = NewOrder { client_order_id: id, strategy: ONE, ts_decided: desk.now, intent };
    desk.risk.on_outcome(&order, Outcome::Unknown, desk.now);
    assert_eq!(desk.buy("0.001", "59001"), Err(DenyReason::BreakerOpen(BreakerKind::VenueErrors)));
    let opened = desk.risk.guards_snapshot().breakers;
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].since, desk.now, "when it opened is told and saved");
    assert!(desk.risk.resume());
    assert!(desk.buy("0.001", "59001").is_ok());
    assert!(desk.risk.guards_snapshot().breakers.is_empty());
}

#[test]
fn s2_016_a_half_open_breaker_knows_the_order_that_tries_it() {
    let guards = GuardLimits {
        venue_errors: BreakerLimit { count: 1, window_ms: 30_000 },
        breaker_timeout_ms: 1_000,
        probe_notional_max: money("100"),
        ..GuardLimits::default()
    };
    let mut desk = Desk::with(RiskLimits { guards, ..limits() });
    let id = desk.buy("0.001", "59000").unwrap();
    let intent = OrderIntent::limit(BTC, Side::Buy, quantity("0.001"), price("59000"), OrderPurpose::Entry);
    let order = NewOrder { client_order_id: id, strategy: ONE, ts_decided: desk.now, intent };
    desk.risk.on_outcome(&order, Outcome::Unknown, desk.now);
    desk.risk.release(BTC, id);
    desk.pass(1_000);
    desk.quote(BTC, "60000", "60000.01");
    desk.risk.on_time(desk.now);
    desk.buy("0.001", "59000").unwrap();
    assert_eq!(desk.buy("0.001", "59001"), Err(DenyReason::ProbePending(BreakerKind::VenueErrors)));
}

#[test]
fn rc_13_a_snapshot_without_the_days_loss_does_not_close_its_breaker() {
    let mut desk = Desk::new();
    let calm = desk.risk.snapshot(desk.now);
    desk.fill(None, BTC, Side::Buy, "0.5", "60000");
    desk.quote(BTC, "57000", "57000");
    assert!(desk.risk.snapshot(desk.now).is_loss_latched, "1,500 lost, 1,000 allowed");
    let late = RiskSnapshot { ts: desk.now.plus(std::time::Duration::from_secs(1)), ..calm };
    desk.risk.restore(&late);
    assert!(desk.risk.snapshot(desk.now).is_loss_latched, "counted from the fills, whatever was saved");
}

#[test]
fn rc_18_a_strategy_without_a_name_is_known_by_its_number_after_a_restart() {
    let mut old = Desk::new();
    old.risk.set_strategies(["", ""].into_iter());
    old.risk.kill(RiskScope::Strategy(StrategyId(1)), old.now);
    let saved = old.risk.snapshot(old.now);
    let mut new = Desk::new();
    new.risk.set_strategies(["", ""].into_iter());
    new.risk.restore(&saved);
    assert!(new.risk.strategy_disabled(ONE).is_none());
    assert!(new.risk.strategy_disabled(StrategyId(1)).is_some());
}

#[test]
fn s2_029_breakers_and_locks_of_an_instrument_that_is_gone_are_dropped_and_others_follow_theirs() {
    let mut desk = Desk::new();
    let lock = |scope| crate::protections::Lock { scope, cause: LockCause::CoolDown, until: desk.now };
    let locks = vec![lock(RiskScope::Account), lock(RiskScope::Instrument(BTC)), lock(RiskScope::Instrument(PERP))];
    let mut saved = desk.risk.snapshot(desk.now);
    saved.guards.locks = locks;
    saved.carry_over(|id| if id == BTC { Ok(ETH) } else { Err(id) }).unwrap_or_default();
    let scopes: Vec<_> = saved.guards.locks.iter().map(|lock| lock.scope).collect();
    assert_eq!(scopes, [RiskScope::Account, RiskScope::Instrument(ETH)]);
    saved.is_loss_latched = true;
    saved.guards.drawdown = money("5");
    saved.resume();
    assert!(!saved.is_loss_latched && saved.guards.drawdown == Notional::ZERO && saved.guards.locks.len() == 2);
    desk.risk.restore(&saved);
}

#[test]
fn nothing_is_restored_into_protections_that_are_off_and_nothing_over_what_is_known() {
    let trade = |ms| crate::protections::ClosedTrade {
        ts: Timestamp::from_ms(ms),
        strategy: ONE,
        instrument: BTC,
        profit_e8: -1,
        is_stop: true,
    };
    let mut off = Protections::new(ProtectionLimits::default());
    off.restore(&[trade(1)], &[]);
    assert_eq!(off.trades().count(), 0);
    let mut on = Protections::new(ProtectionLimits { cooldown_ms: 1, ..ProtectionLimits::default() });
    on.restore(&[trade(1), trade(2)], &[]);
    on.restore(&[trade(3)], &[]);
    assert_eq!(on.trades().map(|trade| trade.ts).collect::<Vec<_>>(), [Timestamp::from_ms(1), Timestamp::from_ms(2)]);
}

#[test]
fn low_profit_that_asks_for_no_trades_is_off() {
    let rest = ProtectionLimits { cooldown_ms: 1_000, low_profit_min: money("1"), ..ProtectionLimits::default() };
    let mut all = Protections::new(rest);
    let locks = all.on_trade(crate::protections::ClosedTrade {
        ts: Timestamp::from_ms(1_000_000),
        strategy: ONE,
        instrument: BTC,
        profit_e8: -1,
        is_stop: false,
    });
    assert_eq!(locks.iter().flatten().map(|lock| lock.cause).collect::<Vec<_>>(), [LockCause::CoolDown]);
}

#[test]
fn v_18_cells_keep_their_worth_when_scales_change() {
    let fill = |signed, price| CellFill { signed, price, fee: 0, scale: 3, dust: 0 };
    let mut cell = Cell::default();
    assert!(cell.is_untouched());
    cell.on_fill(&fill(5, 200));
    assert!(!cell.is_untouched());
    assert_eq!(cell.mark(300, 3), 500 * 100_000, "5 · 100 at three decimals");
    cell.rescale((2, 1), (4, 3));
    assert_eq!(cell.position, 500);
    assert_eq!(cell.mark(30_000, 7), 0, "the same worth in finer units");
    cell.rescale((4, 3), (2, 1));
    assert_eq!((cell.position, cell.mark(300, 3)), (5, 0), "and back");
}

#[test]
fn money_is_rounded_up_only_where_something_is_left() {
    for scale in [9u8, 12, 18, 20, 26] {
        let unit = 10i128.pow(u32::from(scale) - 8);
        for (value, up) in [(0, 0), (7 * unit, 7), (7 * unit + 1, 8), (-7 * unit, -7), (-7 * unit - 1, -8)] {
            assert_eq!(money_up(value, scale), Some(up), "{value} at {scale}");
        }
    }
    let unit = 10i128.pow(18);
    assert_eq!((money_up(100 * unit, 26), money_up(-100 * unit, 26)), (Some(100), Some(-100)), "wider than 64 bits");
    assert_eq!((money_up(100 * unit + 1, 26), money_up(-100 * unit - 1, 26)), (Some(101), Some(-101)));
    assert_eq!(money_up(7, 6), Some(700));
    assert_eq!((units_within(799, 6), units_within(799, 8)), (7, 799));
    assert_eq!((units_within(799, 10), units_within(1, 11)), (79_900, 1_000));
}

#[test]
fn rc_04_a_window_of_prices_turns_by_as_many_parts_as_have_passed() {
    let mut window = PriceWindow::new(16_000);
    let at = |ms: u64| Timestamp::from_ms(1_600_000_000 + ms);
    window.note(90, at(0));
    window.note(100, at(15_000));
    assert_eq!(window.range(), Some((90, 100)), "fifteen parts later the first is still in it");
    window.note(110, at(16_000));
    assert_eq!(window.range(), Some((100, 110)));
    window.note(105, at(31_000));
    assert_eq!(window.range(), Some((105, 110)));
}

#[test]
fn rc_12_an_order_that_is_replaced_does_not_match_itself() {
    let mut desk = Desk::new();
    for (side, from, to) in [(Side::Buy, "59990", "59995"), (Side::Sell, "60010", "60005")] {
        let old = desk.limit(BTC, side, "0.01", from).unwrap();
        let new = desk.order(OrderIntent::limit(BTC, side, quantity("0.01"), price(to), OrderPurpose::Entry));
        let replace =
            ReplaceOrder { cancel: CancelOrder { client_order_id: old, venue_order_id: None, instrument: BTC }, new };
        assert!(desk.risk.review_replace(replace, desk.now).is_ok(), "{side:?}");
    }
}

#[test]
fn rc_14_an_order_that_is_replaced_makes_room_for_the_one_that_follows() {
    let mut desk = Desk::with(RiskLimits { open_orders_per_instrument_max: 1, ..limits() });
    let old = desk.buy("0.01", "59990").unwrap();
    assert!(desk.buy("0.01", "59991").is_err(), "one is all that may be open");
    let new = desk.order(OrderIntent::limit(BTC, Side::Buy, quantity("0.01"), price("59995"), OrderPurpose::Entry));
    let replace =
        ReplaceOrder { cancel: CancelOrder { client_order_id: old, venue_order_id: None, instrument: BTC }, new };
    assert!(desk.risk.review_replace(replace, desk.now).is_ok());
}
