//! Guards over time: each at its limit and one step over, closed when what it needs is missing, open for what reduces.

use super::*;
use crate::alerts::{GuardEvent, KillCause};
use crate::breaker::{BreakerKind, BreakerState};
use crate::guards::{BreakerLimit, GuardLimits, ProtectionLimits};
use crate::protections::LockCause;
use crate::service::Outcome;
use keel_model::{RejectReason, RiskScope};

const ONE: StrategyId = StrategyId(0);
const TWO: StrategyId = StrategyId(1);

fn guarded(guards: GuardLimits) -> Desk {
    let mut desk =
        Desk::with(RiskLimits { guards, open_orders_max: 1_000, open_orders_per_instrument_max: 1_000, ..limits() });
    desk.risk.set_strategies(["one", "two"].into_iter());
    desk
}

fn none() -> GuardLimits {
    GuardLimits::default()
}

impl Desk {
    fn by(&mut self, strategy: StrategyId, side: Side, size: &str, at: &str) -> Result<ClientOrderId, DenyReason> {
        let intent = OrderIntent::limit(BTC, side, quantity(size), price(at), OrderPurpose::Entry);
        let order = NewOrder { strategy, ..self.order(intent) };
        self.review_order(order)
    }

    /// Approved, filled and over.
    fn trade(&mut self, strategy: StrategyId, side: Side, size: &str, at: &str) -> Result<(), DenyReason> {
        let id = self.by(strategy, side, size, at)?;
        self.fill(Some(id), BTC, side, size, at);
        self.risk.release(BTC, id);
        Ok(())
    }

    /// Enters and leaves with this much profit (or loss) on 0.01 BTC.
    fn round_trip(&mut self, strategy: StrategyId, profit: i64) {
        self.trade(strategy, Side::Buy, "0.01", "60000").unwrap();
        let exit = (60_000 + profit * 100).to_string();
        self.fill_of(strategy, Side::Sell, "0.01", &exit, false);
    }

    fn fill_of(&mut self, strategy: StrategyId, side: Side, size: &str, at: &str, is_stop: bool) {
        let fill = Fill {
            trade_id: TradeId::new("1").unwrap(),
            instrument: BTC,
            side,
            price: price(at),
            quantity: quantity(size),
            fee: Notional::ZERO,
            fee_asset: asset("USDT"),
            liquidity: Liquidity::Taker,
            ts_event: self.now,
        };
        self.risk.on_fill_of(None, strategy, is_stop, &fill);
    }

    fn outcome(&mut self, id: ClientOrderId, outcome: Outcome) {
        let intent = OrderIntent::limit(BTC, Side::Buy, quantity("0.001"), price("59000"), OrderPurpose::Entry);
        let order = NewOrder { client_order_id: id, strategy: ONE, ts_decided: self.now, intent };
        self.risk.on_outcome(&order, outcome, self.now);
        if outcome != Outcome::Accepted {
            self.risk.release(BTC, id);
        }
    }

    fn events(&mut self) -> Vec<GuardEvent> {
        std::iter::from_fn(|| self.risk.take_guard_event()).collect()
    }
}

#[test]
fn rc_04_window_collar_denies_what_follows_a_spike() {
    let mut desk = guarded(GuardLimits { price_window_ms: 60_000, window_collar_bps: 100, ..none() });
    desk.pass(1_000);
    desk.quote(BTC, "60500.00", "60500.01");
    assert!(desk.buy("0.001", "60600").is_ok(), "exactly 1 % above the window's lowest mid price of 60,000");
    let denied = desk.buy("0.001", "60600.01").unwrap_err();
    assert_eq!(denied, DenyReason::WindowCollar { price: price("60600.01"), reference: price("60000"), bps_max: 100 });
    assert_eq!(denied.control().code(), "RC-04");
    desk.pass(60_000);
    desk.quote(BTC, "60500.00", "60500.01");
    assert!(desk.buy("0.001", "60600.01").is_ok(), "the low price has left the window");
}

#[test]
fn rc_04_window_collar_on_the_sell_side_and_never_for_what_reduces() {
    let mut desk = guarded(GuardLimits { price_window_ms: 60_000, window_collar_bps: 100, ..none() });
    desk.pass(1_000);
    desk.quote(BTC, "59500.00", "59500.01");
    assert!(desk.sell("0.001", "59400").is_ok(), "1 % below the highest");
    assert_eq!(desk.sell("0.001", "59399.99").unwrap_err().control(), Control::WindowCollar);
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    assert!(desk.sell("0.01", "59399.98").is_ok(), "a stop must get out");
}

#[test]
fn rc_04_prices_that_are_not_believed_are_not_in_the_window() {
    let mut desk = guarded(GuardLimits { price_window_ms: 60_000, window_collar_bps: 100, ..none() });
    desk.quote(BTC, "0.01", "0.01");
    desk.quote(BTC, "60000.00", "59000.00");
    desk.quote(BTC, "60000.00", "60000.01");
    desk.pass(1_000);
    desk.quote(BTC, "60000.00", "60000.01");
    assert_eq!(desk.risk.rows[0].window.range(), Some((6_000_000, 6_000_000)));
    assert!(desk.buy("0.001", "60600").is_ok());
}

#[test]
fn rc_09_orders_that_nothing_fills() {
    let mut desk = guarded(GuardLimits { unfilled_orders_max: 3, count_window_ms: 16_000, ..none() });
    let first = desk.buy("0.001", "59000").unwrap();
    assert!(desk.buy("0.001", "59001").is_ok() && desk.buy("0.001", "59002").is_ok());
    assert_eq!(desk.buy("0.001", "59003"), Err(DenyReason::UnfilledOrders));
    desk.fill(Some(first), BTC, Side::Buy, "0.0005", "59000");
    desk.fill(Some(first), BTC, Side::Buy, "0.0005", "59000");
    assert!(desk.buy("0.001", "59003").is_ok(), "one filled, and counts once");
    assert_eq!(desk.buy("0.001", "59004"), Err(DenyReason::UnfilledOrders));
    assert!(desk.sell("0.001", "61000").is_ok(), "what only reduces passes");
    desk.pass(8_000);
    desk.quote(BTC, "60000.00", "60000.01");
    assert_eq!(desk.buy("0.001", "59004"), Err(DenyReason::UnfilledOrders));
    desk.pass(8_000);
    desk.quote(BTC, "60000.00", "60000.01");
    assert!(desk.buy("0.001", "59004").is_ok(), "the window has passed");
}

#[test]
fn rc_09_cancels_per_order() {
    let guards =
        GuardLimits { cancel_ratio_percent_max: 50, cancel_ratio_orders_min: 4, count_window_ms: 60_000, ..none() };
    let mut desk = guarded(guards);
    for step in 0..3 {
        desk.buy("0.001", &format!("5900{step}")).unwrap();
        desk.risk.on_cancel(desk.now);
    }
    assert!(desk.buy("0.001", "59003").is_ok(), "three orders are too few to judge");
    assert_eq!(desk.buy("0.001", "59004"), Err(DenyReason::CancelRatio), "3 of 4 are more than half");
    desk.pass(60_000);
    desk.quote(BTC, "60000.00", "60000.01");
    for step in 0..4 {
        desk.buy("0.001", &format!("5901{step}")).unwrap();
    }
    desk.risk.on_cancel(desk.now);
    desk.risk.on_cancel(desk.now);
    assert!(desk.buy("0.001", "59020").is_ok(), "2 of 4 are just half");
}

#[test]
fn rc_10_repeated_execution_disables_the_strategy_until_a_person_re_arms_it() {
    let mut desk = guarded(GuardLimits { reentries_max: 3, reentry_window_ms: 10_000, ..none() });
    for _ in 0..4 {
        desk.trade(ONE, Side::Buy, "0.001", "60000").unwrap();
    }
    assert_eq!(desk.by(ONE, Side::Buy, "0.001", "60000"), Err(DenyReason::Repeated), "the fourth entry after a fill");
    assert_eq!(desk.risk.strategy_disabled(ONE), Some(KillCause::Repeated));
    assert_eq!(desk.events(), [GuardEvent::Killed { scope: RiskScope::Strategy(ONE), cause: KillCause::Repeated }]);
    let disabled = DenyReason::StrategyDisabled(KillCause::Repeated);
    assert_eq!((disabled.control().code(), DenyReason::Repeated.control().code()), ("RC-10", "RC-10"));
    desk.pass(1_000_000);
    desk.quote(BTC, "60000.00", "60000.01");
    desk.risk.on_time(desk.now);
    assert_eq!(desk.by(ONE, Side::Buy, "0.001", "60000"), Err(disabled), "time does not end it");
    desk.risk.resume();
    assert_eq!(desk.by(ONE, Side::Buy, "0.001", "60000"), Err(disabled), "nor does a resume");
    assert!(desk.by(ONE, Side::Sell, "0.001", "60001").is_ok(), "it may get out");
    assert!(desk.by(TWO, Side::Buy, "0.001", "60000").is_ok(), "others go on");
    desk.risk.rearm(RiskScope::Strategy(ONE), desk.now);
    assert!(desk.by(ONE, Side::Buy, "0.001", "59999").is_ok());
}

#[test]
fn rc_10_entries_within_the_window_only_and_orders_without_a_fill_do_not_count() {
    let mut desk = guarded(GuardLimits { reentries_max: 2, reentry_window_ms: 10_000, ..none() });
    for step in 0..20 {
        desk.by(ONE, Side::Buy, "0.001", &format!("590{step:02}")).unwrap();
    }
    for _ in 0..10 {
        desk.trade(ONE, Side::Buy, "0.001", "60000").unwrap();
        desk.pass(5_000);
        desk.quote(BTC, "60000.00", "60000.01");
    }
    assert_eq!(desk.risk.strategy_disabled(ONE), None, "two in ten seconds are allowed");
}

#[test]
fn o_03_a_runaway_that_fills_and_enters_again_is_stopped_within_the_first_n() {
    let mut desk = guarded(GuardLimits { reentries_max: 100, reentry_window_ms: 60_000, ..none() });
    let mut passed = 0;
    for _ in 0..100_000 {
        passed += u32::from(desk.trade(ONE, Side::Buy, "0.001", "60000").is_ok());
        passed += u32::from(desk.trade(ONE, Side::Sell, "0.001", "60000").is_ok());
        desk.now = desk.now.plus(std::time::Duration::from_micros(500));
    }
    assert!(passed <= 2 * 101, "{passed} orders passed");
    assert_eq!(desk.risk.strategy_disabled(ONE), Some(KillCause::Repeated));
}

#[test]
fn rc_08_one_strategy_does_not_use_up_the_rate_of_the_others() {
    let mut desk = guarded(GuardLimits { strategy_rate_per_s: 10, strategy_burst: 5, ..none() });
    for step in 0..5 {
        desk.by(ONE, Side::Buy, "0.001", &format!("5900{step}")).unwrap();
    }
    assert_eq!(desk.by(ONE, Side::Buy, "0.001", "59005"), Err(DenyReason::Rate));
    assert!(desk.by(TWO, Side::Buy, "0.001", "59005").is_ok());
    desk.pass(200);
    assert!(desk.by(ONE, Side::Buy, "0.001", "59006").is_ok());
}

#[test]
fn rc_13_drawdown_from_the_height_latches_exactly_at_its_limit() {
    let mut desk = guarded(GuardLimits { drawdown_max: Some(money("500")), ..none() });
    desk.trade(ONE, Side::Buy, "0.1", "60000").unwrap();
    desk.quote(BTC, "63000", "63000");
    desk.quote(BTC, "58000.10", "58000.10");
    assert!(desk.buy("0.001", "58000").is_ok(), "499.99 below the height of 300");
    desk.quote(BTC, "58000", "58000");
    assert_eq!(desk.buy("0.001", "58000"), Err(DenyReason::BreakerOpen(BreakerKind::Drawdown)));
    assert_eq!(desk.risk.state(), TradingState::Reducing);
    assert!(desk.sell("0.1", "58001").is_ok(), "closing stays possible");
    desk.quote(BTC, "63000", "63000");
    desk.risk.on_time(desk.now.plus(std::time::Duration::from_secs(86_400)));
    assert!(desk.buy("0.001", "58000").is_err(), "neither the price nor a new day ends it");
    assert!(desk.risk.resume());
    assert!(desk.buy("0.001", "58000").is_ok());
}

#[test]
fn rc_13_loss_and_drawdown_of_one_strategy_disable_that_one() {
    let guards = GuardLimits { strategy_daily_loss_max: Some(money("50")), ..none() };
    let mut desk = guarded(guards);
    desk.trade(ONE, Side::Buy, "0.01", "60000").unwrap();
    desk.trade(TWO, Side::Buy, "0.001", "60000").unwrap();
    desk.quote(BTC, "55000.02", "55000.02");
    assert_eq!(desk.risk.strategy_day_pnl(ONE), money("-49.9998"));
    assert!(desk.by(ONE, Side::Buy, "0.001", "55000").is_ok());
    desk.quote(BTC, "55000", "55000");
    assert_eq!(desk.by(ONE, Side::Buy, "0.001", "55000"), Err(DenyReason::StrategyDisabled(KillCause::DailyLoss)));
    assert!(desk.by(TWO, Side::Buy, "0.001", "55000").is_ok());
    assert_eq!(DenyReason::StrategyDisabled(KillCause::DailyLoss).control().code(), "RC-13");
    let mut desk = guarded(GuardLimits { strategy_drawdown_max: Some(money("50")), ..none() });
    desk.trade(ONE, Side::Buy, "0.01", "60000").unwrap();
    desk.quote(BTC, "64000", "64000");
    desk.quote(BTC, "59000", "59000");
    assert_eq!(desk.risk.strategy_disabled(ONE), Some(KillCause::Drawdown));
}

#[test]
fn rc_13_what_the_house_closes_is_the_strategies_result() {
    let mut desk = guarded(GuardLimits { strategy_daily_loss_max: Some(money("1000")), ..none() });
    desk.trade(ONE, Side::Buy, "0.02", "60000").unwrap();
    desk.trade(TWO, Side::Buy, "0.01", "60000").unwrap();
    desk.fill_of(HOUSE, Side::Sell, "0.03", "59000", false);
    assert_eq!((desk.risk.strategy_day_pnl(ONE), desk.risk.strategy_day_pnl(TWO)), (money("-20"), money("-10")));
    desk.quote(BTC, "56000", "56000");
    assert_eq!(desk.risk.strategy_day_pnl(ONE), money("-20"), "it holds nothing any more");
}

#[test]
fn rc_18_kill_switches_of_every_scope_let_only_reducing_orders_through_until_re_armed() {
    for scope in [RiskScope::Account, RiskScope::Venue, RiskScope::Instrument(BTC), RiskScope::Strategy(ONE)] {
        let mut desk = guarded(none());
        desk.trade(ONE, Side::Buy, "0.1", "60000").unwrap();
        desk.risk.kill(scope, desk.now);
        desk.risk.kill(scope, desk.now);
        assert_eq!(desk.events().len(), 1, "{scope}: told once");
        let denied = desk.by(ONE, Side::Buy, "0.001", "59000").unwrap_err();
        assert_eq!(denied.control(), Control::KillSwitch, "{scope}");
        assert!(desk.by(ONE, Side::Sell, "0.05", "60001").is_ok(), "{scope}: closing stays possible");
        let others = match scope {
            RiskScope::Account | RiskScope::Venue => false,
            RiskScope::Instrument(_) => desk.limit(ETH, Side::Buy, "1", "3000").is_ok(),
            RiskScope::Strategy(_) => desk.by(TWO, Side::Buy, "0.001", "59000").is_ok(),
        };
        assert_eq!(others, !matches!(scope, RiskScope::Account | RiskScope::Venue), "{scope}");
        desk.risk.resume();
        assert!(desk.by(ONE, Side::Buy, "0.001", "59001").is_err(), "{scope}: a resume is not a re-arming");
        desk.risk.rearm(RiskScope::Instrument(ETH), desk.now);
        assert!(desk.by(ONE, Side::Buy, "0.001", "59002").is_err(), "{scope}: nor is that of another scope");
        desk.risk.rearm(scope, desk.now);
        assert!(desk.by(ONE, Side::Buy, "0.001", "59003").is_ok(), "{scope}");
    }
}

#[test]
fn rc_18_re_arming_the_account_covers_everything() {
    let mut desk = guarded(none());
    for scope in [RiskScope::Account, RiskScope::Venue, RiskScope::Instrument(BTC), RiskScope::Strategy(ONE)] {
        desk.risk.kill(scope, desk.now);
    }
    desk.risk.emergency_stop();
    desk.risk.rearm(RiskScope::Account, desk.now);
    assert!(!desk.risk.is_emergency());
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::Halted), "the state is set by whoever starts again");
    desk.risk.set_state(TradingState::Active);
    assert!(desk.buy("0.001", "59000").is_ok());
}

#[test]
fn rc_23_the_venues_clock_must_be_known_and_near() {
    let mut desk = guarded(GuardLimits { clock_offset_ms_max: 500, clock_age_ms_max: 10_000, ..none() });
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::ClockUnknown), "nobody has measured");
    assert!(desk.sell("0.001", "60001").is_ok(), "what reduces passes");
    desk.risk.on_clock(Some(500_000_000), desk.now);
    assert!(desk.buy("0.001", "59000").is_ok());
    desk.risk.on_clock(Some(500_000_001), desk.now);
    assert_eq!(desk.buy("0.001", "59001"), Err(DenyReason::ClockOffset { offset_ms: 500 }));
    assert_eq!(DenyReason::ClockUnknown.control().code(), "RC-23");
    desk.risk.on_clock(Some(0), desk.now);
    desk.pass(10_000);
    assert!(desk.buy("0.001", "59001").is_ok());
    desk.pass(1);
    desk.quote(BTC, "60000.00", "60000.01");
    assert_eq!(desk.buy("0.001", "59002"), Err(DenyReason::ClockUnknown), "too long ago");
    desk.risk.on_clock(None, desk.now);
    assert_eq!(desk.buy("0.001", "59002"), Err(DenyReason::ClockUnknown));
}

fn errors() -> GuardLimits {
    GuardLimits {
        order_errors: BreakerLimit { count: 10, window_ms: 60_000 },
        venue_errors: BreakerLimit { count: 3, window_ms: 30_000 },
        breaker_timeout_ms: 60_000,
        probe_notional_max: money("100"),
        ..none()
    }
}

#[test]
fn s2_016_ten_refused_orders_open_the_breaker_and_a_small_one_closes_it() {
    let mut desk = guarded(errors());
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    for step in 0..9 {
        let id = desk.buy("0.001", &format!("5900{step}")).unwrap();
        desk.outcome(id, Outcome::Rejected(RejectReason::Filter));
    }
    for step in 0..20 {
        let id = desk.buy("0.001", &format!("591{step:02}")).unwrap();
        desk.outcome(id, Outcome::Rejected(RejectReason::WouldTake));
    }
    let id = desk.buy("0.001", "59200").unwrap();
    assert_eq!(desk.risk.breaker(BreakerKind::OrderErrors), BreakerState::Closed, "post-only refusals are no errors");
    desk.outcome(id, Outcome::Rejected(RejectReason::InsufficientFunds));
    let until = Some(desk.now.plus(std::time::Duration::from_secs(60)));
    assert_eq!(desk.risk.breaker(BreakerKind::OrderErrors), BreakerState::Open { until });
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::BreakerOpen(BreakerKind::OrderErrors)));
    assert!(desk.sell("0.001", "60001").is_ok(), "what reduces passes");
    assert_eq!(desk.risk.state(), TradingState::Reducing);
    desk.pass(60_000);
    desk.quote(BTC, "60000.00", "60000.01");
    desk.risk.on_time(desk.now);
    assert_eq!(desk.risk.state(), TradingState::Active, "half-open");
    assert_eq!(desk.buy("0.002", "59000"), Err(DenyReason::ProbeTooLarge(BreakerKind::OrderErrors)));
    let probe = desk.buy("0.001", "59000").unwrap();
    assert_eq!(desk.buy("0.001", "59001"), Err(DenyReason::ProbePending(BreakerKind::OrderErrors)), "one at a time");
    desk.outcome(probe, Outcome::Rejected(RejectReason::Filter));
    assert_eq!(desk.buy("0.001", "59001"), Err(DenyReason::BreakerOpen(BreakerKind::OrderErrors)), "open again");
    desk.pass(60_000);
    desk.quote(BTC, "60000.00", "60000.01");
    desk.risk.on_time(desk.now);
    let probe = desk.buy("0.001", "59002").unwrap();
    desk.outcome(probe, Outcome::Accepted);
    assert_eq!(desk.risk.breaker(BreakerKind::OrderErrors), BreakerState::Closed);
    assert!(desk.buy("0.01", "59003").is_ok());
    let told = desk.events();
    assert!(matches!(told.first(), Some(GuardEvent::BreakerOpened { kind: BreakerKind::OrderErrors, .. })));
    assert!(matches!(told.last(), Some(GuardEvent::BreakerClosed { kind: BreakerKind::OrderErrors, .. })));
    assert_eq!(told.len(), 5);
}

#[test]
fn s2_016_three_unsure_answers_in_thirty_seconds_open_the_venues_breaker() {
    let mut desk = guarded(errors());
    let steps = [(0, Outcome::Unknown), (30_000, Outcome::NotSent), (1, Outcome::Unknown)];
    for (step, (wait_ms, outcome)) in steps.into_iter().enumerate() {
        desk.pass(wait_ms);
        desk.quote(BTC, "60000.00", "60000.01");
        let id = desk.buy("0.001", &format!("5900{step}")).unwrap();
        desk.outcome(id, outcome);
    }
    assert_eq!(desk.risk.breaker(BreakerKind::VenueErrors), BreakerState::Closed, "the first is out of the window");
    let id = desk.buy("0.001", "59100").unwrap();
    desk.outcome(id, Outcome::Rejected(RejectReason::RateLimit));
    assert!(matches!(desk.risk.breaker(BreakerKind::VenueErrors), BreakerState::Open { .. }));
    desk.risk.rearm(RiskScope::Venue, desk.now);
    assert!(desk.buy("0.001", "59101").is_ok(), "a person closes it");
}

#[test]
fn a_volatile_instrument_opens_its_own_breaker_and_tries_once_it_is_calm() {
    let guards = GuardLimits { price_window_ms: 16_000, volatility_bps: 100, ..errors() };
    let mut desk = guarded(guards);
    desk.quote(BTC, "60600", "60600");
    assert!(desk.buy("0.001", "60000").is_ok(), "exactly 1 % in the window");
    desk.quote(BTC, "60600.01", "60600.01");
    assert_eq!(desk.buy("0.001", "60000"), Err(DenyReason::BreakerOpen(BreakerKind::Volatility)));
    assert!(desk.limit(ETH, Side::Buy, "1", "3000").is_ok(), "others go on");
    for _ in 0..59 {
        desk.pass(1_000);
        desk.quote(BTC, "60600.01", "60600.01");
    }
    desk.quote(BTC, "61300", "61300");
    desk.pass(1_000);
    desk.quote(BTC, "61300", "61300");
    desk.risk.on_time(desk.now);
    assert!(matches!(desk.risk.volatility_breaker(BTC), BreakerState::Open { .. }), "still moving: no try");
    for _ in 0..60 {
        desk.pass(1_000);
        desk.quote(BTC, "61300", "61300");
    }
    desk.risk.on_time(desk.now);
    let probe = desk.buy("0.001", "61000").unwrap();
    assert_eq!(desk.buy("0.001", "61001"), Err(DenyReason::ProbePending(BreakerKind::Volatility)));
    desk.outcome(probe, Outcome::Accepted);
    assert!(desk.buy("0.01", "61001").is_ok());
}

#[test]
fn losing_trades_in_a_row_open_a_breaker_and_one_that_earns_ends_the_row() {
    let mut desk = guarded(GuardLimits { loss_streak_count: 3, ..none() });
    for profit in [-1, -1, 1, -1, -1] {
        desk.round_trip(ONE, profit);
    }
    assert_eq!(desk.risk.breaker(BreakerKind::LossStreak), BreakerState::Closed);
    desk.round_trip(TWO, -1);
    assert_eq!(desk.risk.breaker(BreakerKind::LossStreak), BreakerState::Open { until: None });
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::BreakerOpen(BreakerKind::LossStreak)));
    desk.risk.resume();
    assert!(desk.buy("0.001", "59000").is_ok());
}

#[test]
fn a_breaker_of_losses_with_a_time_closes_after_a_trade_that_earns() {
    let guards =
        GuardLimits { loss_streak_count: 1, loss_timeout_ms: 1_000, probe_notional_max: money("700"), ..none() };
    let mut desk = guarded(guards);
    let wait = |desk: &mut Desk| {
        desk.pass(1_000);
        desk.quote(BTC, "60000.00", "60000.01");
        desk.risk.on_time(desk.now);
    };
    desk.round_trip(ONE, -1);
    wait(&mut desk);
    desk.round_trip(ONE, -1);
    assert!(matches!(desk.risk.breaker(BreakerKind::LossStreak), BreakerState::Open { .. }), "the try lost, too");
    wait(&mut desk);
    desk.round_trip(ONE, 1);
    assert_eq!(desk.risk.breaker(BreakerKind::LossStreak), BreakerState::Closed);
}

#[test]
fn protections_lock_the_instrument_and_say_until_when() {
    let protections = ProtectionLimits { cooldown_ms: 5_000, ..ProtectionLimits::default() };
    let mut desk = guarded(GuardLimits { protections, ..none() });
    desk.round_trip(ONE, 1);
    let until = desk.now.plus(std::time::Duration::from_secs(5));
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::Locked { cause: LockCause::CoolDown, until }));
    assert!(desk.limit(ETH, Side::Buy, "1", "3000").is_ok());
    desk.pass(4_999);
    assert!(desk.buy("0.001", "59000").is_err());
    desk.pass(1);
    assert!(desk.buy("0.001", "59000").is_ok());
    desk.round_trip(ONE, 1);
    desk.risk.rearm(RiskScope::Instrument(BTC), desk.now);
    assert!(desk.buy("0.001", "59001").is_ok(), "a person lifts it");
}

#[test]
fn rc_07_distance_to_liquidation_on_perpetuals() {
    let guards = GuardLimits { liquidation_distance_bps_min: 2_000, maintenance_margin_bps: 100, ..none() };
    let wide = RiskLimits {
        leverage_max: 100,
        order_notional_max: money("30000"),
        position_notional_max: money("30000"),
        guards,
        ..limits()
    };
    let mut desk = Desk::with(wide);
    // e ≥ g · (0.01 + 0.2 · 1.01) = 0.212 g; 0.1 BTC at 60,000.00 (mid) is 6,000: 1,272 of balance.
    desk.balance("USDT", "1272.00");
    assert!(desk.limit(PERP, Side::Sell, "0.1", "60000").is_ok(), "short, exactly at the distance");
    desk.balance("USDT", "1271.99");
    let mut desk = Desk::with(RiskLimits { leverage_max: 100, guards, ..limits() });
    desk.balance("USDT", "1271.99");
    assert_eq!(desk.limit(PERP, Side::Sell, "0.1", "60000"), Err(DenyReason::Liquidation));
    assert_eq!(desk.limit(PERP, Side::Buy, "0.1", "60000"), Err(DenyReason::Liquidation));
    desk.fill(None, PERP, Side::Sell, "0.1", "60000");
    let reduce = OrderIntent {
        reduce_only: true,
        ..OrderIntent::limit(PERP, Side::Buy, quantity("0.1"), price("60000"), OrderPurpose::Exit)
    };
    assert!(desk.review(reduce).is_ok(), "what reduces passes");
}

#[test]
fn rc_07_an_open_loss_brings_liquidation_nearer_and_a_gain_does_not_keep_it_off() {
    let guards = GuardLimits { liquidation_distance_bps_min: 2_000, maintenance_margin_bps: 100, ..none() };
    let mut desk = Desk::with(RiskLimits { leverage_max: 100, guards, ..limits() });
    desk.balance("USDT", "1400");
    desk.fill(None, PERP, Side::Buy, "0.1", "60000");
    assert!(desk.limit(PERP, Side::Buy, "0.001", "60000").is_ok());
    desk.quote(PERP, "58000", "58000");
    assert_eq!(desk.limit(PERP, Side::Buy, "0.001", "58000"), Err(DenyReason::Liquidation), "1,200 against 5,858");
}

#[test]
fn rc_05_short_positions_on_perpetuals_count_like_long_ones() {
    let mut desk = Desk::new();
    assert!(desk.limit(PERP, Side::Sell, "0.16", "60000").is_ok());
    assert!(desk.limit(PERP, Side::Sell, "0.16", "60001").is_ok());
    assert!(desk.limit(PERP, Side::Sell, "0.16", "60002").is_ok());
    assert_eq!(desk.limit(PERP, Side::Sell, "0.16", "60003"), Err(DenyReason::Position));
}

#[test]
fn numbers_that_do_not_fit_deny() {
    let mut desk = Desk::with(RiskLimits {
        order_notional_max: Notional::from_int(1_000_000_000_000_000),
        position_notional_max: Notional::from_int(1_000_000_000_000_000),
        gross_exposure_max: Notional::from_int(1_000_000_000_000_000),
        ..limits()
    });
    desk.fill(None, PERP, Side::Buy, "90000000000", "60000");
    desk.fill(None, PERP, Side::Buy, "90000000000", "60000");
    let denied = desk.limit(PERP, Side::Buy, "1", "60000").unwrap_err();
    assert!(matches!(denied, DenyReason::Overflow | DenyReason::Position | DenyReason::GrossExposure), "{denied:?}");
}

mod restart;

#[test]
fn what_is_nobodys_gets_no_row_and_neither_do_the_thousands_before_it() {
    let mut desk = guarded(none());
    desk.trade(ONE, Side::Buy, "0.01", "60000").unwrap();
    let rows = desk.risk.guards_snapshot().strategies.len();
    desk.fill_of(StrategyId(u16::MAX - 1), Side::Buy, "0.01", "60000", false);
    assert_eq!(desk.risk.guards_snapshot().strategies.len(), rows);
}
