//! What was latched outlives a restart: frozen, written, read back; under other numbers, and from before there were guards.

use super::*;
use crate::snapshot::RiskSnapshot;

fn written(desk: &Desk) -> RiskSnapshot {
    postcard::from_bytes(&postcard::to_allocvec(&desk.risk.latches(desk.now)).unwrap()).unwrap()
}

/// A new run that found this snapshot in its journal.
fn next(guards: GuardLimits, names: [&'static str; 2], saved: &RiskSnapshot) -> Desk {
    let mut desk = guarded(guards);
    desk.now = saved.ts.plus(std::time::Duration::from_secs(1));
    desk.risk.set_strategies(names.into_iter());
    desk.risk.end_replay(Some(saved), desk.now);
    desk.risk.set_state(TradingState::Active);
    desk.quote(BTC, "60000.00", "60000.01");
    desk
}

#[test]
fn s2_029_a_restart_closes_no_breaker_lifts_no_lock_and_re_arms_nothing() {
    let protections = ProtectionLimits { cooldown_ms: 60_000, ..ProtectionLimits::default() };
    let guards = GuardLimits { loss_streak_count: 2, protections, ..errors() };
    let mut desk = guarded(guards);
    for step in 0..3 {
        let id = desk.buy("0.001", &format!("5900{step}")).unwrap();
        desk.outcome(id, Outcome::Unknown);
    }
    desk.risk.kill(RiskScope::Strategy(TWO), desk.now);
    desk.risk.kill(RiskScope::Instrument(ETH), desk.now);
    desk.fill_of(ONE, Side::Buy, "0.01", "60000", false);
    desk.fill_of(ONE, Side::Sell, "0.01", "59900", false);
    assert!(desk.risk.take_unsaved() && !desk.risk.take_unsaved(), "to be saved, once");
    let saved = written(&desk);
    assert_eq!(saved.guards, desk.risk.guards_snapshot());
    let mut desk = next(guards, ["one", "two"], &saved);
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::BreakerOpen(BreakerKind::VenueErrors)));
    desk.risk.rearm(RiskScope::Venue, desk.now);
    assert!(matches!(desk.buy("0.001", "59000"), Err(DenyReason::Locked { cause: LockCause::CoolDown, .. })));
    desk.risk.rearm(RiskScope::Instrument(BTC), desk.now);
    assert_eq!(desk.by(TWO, Side::Buy, "0.001", "59000"), Err(DenyReason::StrategyDisabled(KillCause::Person)));
    assert_eq!(desk.limit(ETH, Side::Buy, "1", "3000"), Err(DenyReason::Killed(RiskScope::Instrument(ETH))));
    desk.fill_of(ONE, Side::Buy, "0.01", "60000", false);
    desk.fill_of(ONE, Side::Sell, "0.01", "59900", false);
    assert!(matches!(desk.risk.breaker(BreakerKind::LossStreak), BreakerState::Open { .. }), "the row goes on");
}

#[test]
fn a_breaker_that_was_switched_off_by_configuration_is_not_taken_over_open() {
    let mut desk = guarded(errors());
    for step in 0..3 {
        let id = desk.buy("0.001", &format!("5900{step}")).unwrap();
        desk.outcome(id, Outcome::Unknown);
    }
    let saved = written(&desk);
    assert!(matches!(desk.risk.breaker(BreakerKind::VenueErrors), BreakerState::Open { .. }));
    let desk = next(none(), ["one", "two"], &saved);
    assert_eq!(desk.risk.breaker(BreakerKind::VenueErrors), BreakerState::Closed);
}

#[test]
fn a_disabled_strategy_is_known_by_its_name_after_a_restart() {
    let mut desk = guarded(none());
    desk.risk.kill(RiskScope::Strategy(ONE), desk.now);
    let saved = written(&desk);
    let desk = next(none(), ["two", "one"], &saved);
    assert_eq!(desk.risk.strategy_disabled(ONE), None);
    assert_eq!(desk.risk.strategy_disabled(TWO), Some(KillCause::Person), "`one` is the second now");
}

#[test]
fn s2_031_the_emergency_latch_outlives_restarts_until_a_person_re_arms() {
    let mut desk = guarded(none());
    desk.risk.emergency_stop();
    assert!(desk.risk.take_unsaved());
    let mut saved = written(&desk);
    for _ in 0..3 {
        let desk = next(none(), ["one", "two"], &saved);
        assert!(desk.risk.is_emergency() && desk.risk.state() == TradingState::Halted);
        saved = written(&desk);
    }
    saved.rearm(RiskScope::Account);
    let mut desk = next(none(), ["one", "two"], &saved);
    assert!(!desk.risk.is_emergency() && desk.buy("0.001", "59000").is_ok());
}

#[test]
fn rc_13_the_height_of_the_profit_outlives_a_restart() {
    let guards = GuardLimits { drawdown_max: Some(money("500")), ..none() };
    let mut desk = guarded(guards);
    desk.trade(ONE, Side::Buy, "0.1", "60000").unwrap();
    desk.quote(BTC, "57000", "57000");
    let saved = written(&desk);
    assert_eq!(saved.guards.drawdown, money("300"));
    let mut desk = next(guards, ["one", "two"], &saved);
    desk.fill_of(ONE, Side::Buy, "0.1", "60000", false);
    desk.quote(BTC, "58000.10", "58000.10");
    assert_eq!(desk.risk.breaker(BreakerKind::Drawdown), BreakerState::Closed);
    desk.quote(BTC, "58000", "58000");
    assert!(matches!(desk.risk.breaker(BreakerKind::Drawdown), BreakerState::Open { .. }), "300 then and 200 now");
}

#[test]
fn a_snapshot_from_before_there_were_guards_reads_as_none_and_a_newer_one_is_refused() {
    let desk = guarded(none());
    let mut now = desk.risk.snapshot(desk.now);
    now.guards = crate::snapshot::GuardSnapshot::default();
    let bytes = postcard::to_allocvec(&now).unwrap();
    let guards = postcard::to_allocvec(&now.guards).unwrap();
    let old = &bytes[..bytes.len() - guards.len()];
    assert_eq!(postcard::from_bytes::<RiskSnapshot>(old).unwrap(), now);
    let mut newer = bytes.clone();
    newer[old.len()] = 9;
    assert!(postcard::from_bytes::<RiskSnapshot>(&newer).is_err());
    for end in old.len() + 1..bytes.len() {
        assert!(postcard::from_bytes::<RiskSnapshot>(&bytes[..end]).is_err(), "cut off after {end} bytes");
    }
}

#[test]
fn carrying_over_drops_what_looks_back_and_refuses_what_is_killed() {
    let mut desk = guarded(none());
    let mut saved = written(&desk);
    let only_btc = |id: InstrumentId| if id == BTC { Ok(ETH) } else { Err(id) };
    saved.carry_over(only_btc).unwrap();
    assert_eq!(saved.positions.len(), 1);
    assert_eq!(saved.positions[0].0, ETH);
    desk.risk.kill(RiskScope::Instrument(PERP), desk.now);
    assert_eq!(written(&desk).carry_over(only_btc), Err(PERP));
}
