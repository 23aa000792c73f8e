//! Guards through the engine: emergency stop as a state, latches over a restart, kill switches, breakers, a lost account
//! stream.

use super::*;
use keel_model::{NotSentReason, Reject, RejectReason, RiskScope};
use keel_risk::{BreakerKind, BreakerLimit, BreakerState, GuardEvent, GuardLimits, KillCause, RiskSnapshot};

fn guarded(guards: GuardLimits) -> EngineConfig {
    let base = config();
    EngineConfig { limits: RiskLimits { guards, ..base.limits.clone() }, ..base }
}

fn position(desk: &mut Desk, size: &str) {
    let id = desk.live(buy(size, "60000"));
    desk.fill(id, size, size, OrderStatus::Filled);
}

fn protective(size: &str) -> OrderIntent {
    OrderIntent {
        order_type: OrderType::StopLossLimit,
        stop_price: Some(price("55000")),
        ..OrderIntent::limit(BTC, Side::Sell, quantity(size), price("54900"), OrderPurpose::Protective)
    }
}

impl Desk {
    fn stop_now(&mut self) {
        self.effects.clear();
        self.notices.clear();
        self.command(Command::EmergencyStop("a person pressed the button".into()));
    }

    fn reject(&mut self, id: ClientOrderId, reason: RejectReason) {
        let reject = Reject { reason, code: -1, text: ReasonText::EMPTY };
        self.execution(ExecutionEvent::Submit(id, SubmitOutcome::Rejected(reject)));
    }

    fn latches(&self) -> Option<RiskSnapshot> {
        self.notices.iter().rev().find_map(|notice| match notice {
            Notice::Latches(latches) => Some((**latches).clone()),
            _ => None,
        })
    }

    fn report(&self) -> keel_model::EmergencyReport {
        self.engine.status().emergency.expect("an emergency")
    }

    fn guard_events(&self) -> Vec<GuardEvent> {
        let of = |notice: &Notice| match notice {
            Notice::Guard(event) => Some(*event),
            _ => None,
        };
        self.notices.iter().filter_map(of).collect()
    }
}

#[test]
fn s2_032_the_emergency_stop_latches_saves_tells_and_then_cancels() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let entry = desk.live(buy("0.05", "59000"));
    desk.stop_now();
    let at = |wanted: fn(&Notice) -> bool| desk.notices.iter().position(wanted);
    let saved = at(|notice| matches!(notice, Notice::Latches(_))).unwrap();
    let told = at(|notice| matches!(notice, Notice::EmergencyStop(_))).unwrap();
    let wound = at(|notice| matches!(notice, Notice::Winding(_))).unwrap();
    assert!(saved < told && told < wound);
    assert!(desk.latches().unwrap().is_emergency);
    let report = desk.report();
    assert_eq!((report.is_persisted, report.is_notified), (false, false), "nobody has confirmed it yet");
    assert_eq!((report.orders, report.orders_confirmed), (1, 0));
    assert_eq!((report.positions, report.positions_closed), (1, 0));
    assert_eq!(report.unprotected, [BTC]);
    desk.engine.note_emergency_persisted();
    desk.engine.note_emergency_notified();
    desk.canceled(entry, "0");
    assert_eq!((desk.report().orders_confirmed, desk.report().is_complete()), (1, false));
    let close = desk.engine.orders().open().next().unwrap().id();
    desk.ack(close);
    desk.fill(close, "0.1", "0.1", OrderStatus::Filled);
    assert!(desk.report().is_complete(), "{:?}", desk.report());
    assert!(desk.report().unprotected.is_empty());
}

#[test]
fn s2_031_an_emergency_stop_is_single_flight() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let entry = desk.live(buy("0.05", "59000"));
    desk.stop_now();
    let cancels = desk.cancels();
    for _ in 0..5 {
        desk.command(Command::EmergencyStop("again".into()));
    }
    assert_eq!(desk.cancels(), cancels);
    assert_eq!(desk.report().reason, "a person pressed the button", "the first reason stays");
    desk.canceled(entry, "0");
    for _ in 0..5 {
        desk.command(Command::EmergencyStop("again".into()));
    }
    assert_eq!(desk.engine.orders().open_count(), 1, "one closing order");
}

#[test]
fn a_cancel_that_fails_stops_no_other_and_is_told_as_what_it_is() {
    let mut desk = Desk::started();
    let orders: Vec<_> = (0..3).map(|step| desk.live(buy("0.01", &format!("5900{step}")))).collect();
    desk.stop_now();
    assert_eq!(desk.cancels(), orders);
    let reject = Reject { reason: RejectReason::Other, code: -1, text: ReasonText::EMPTY };
    desk.execution(ExecutionEvent::Cancel(orders[0], CancelOutcome::Rejected(reject)));
    desk.canceled(orders[1], "0");
    desk.execution(ExecutionEvent::Cancel(orders[2], CancelOutcome::Unknown(UnknownReason::Timeout)));
    let report = desk.report();
    assert_eq!((report.orders, report.orders_confirmed), (3, 1), "only what the venue has confirmed");
}

#[test]
fn protective_orders_stay_until_their_position_can_be_closed() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let stop = desk.live(protective("0.1"));
    let entry = desk.live(buy("0.05", "59000"));
    desk.feed(StreamKind::Market(BTC), FeedState::Stale);
    desk.stop_now();
    assert_eq!(desk.cancels(), [entry]);
    assert!(desk.report().unprotected.is_empty());
    desk.canceled(entry, "0");
    desk.wait(3_000);
    assert_eq!(desk.cancels(), [entry], "without a price nothing can be closed: the protection stays");
    desk.feed(StreamKind::Market(BTC), FeedState::Live);
    desk.quote("60000", "60000.01");
    assert_eq!(desk.cancels(), [entry, stop]);
    desk.canceled(stop, "0");
    assert_eq!(desk.report().unprotected, [BTC], "shown as such while the closing order works");
    let close = desk.engine.orders().open().next().unwrap().new;
    assert_eq!((close.intent.side, close.intent.quantity), (Side::Sell, quantity("0.1")));
}

#[test]
fn s2_031_a_restart_keeps_the_emergency_latch_until_a_person_re_arms_it() {
    let mut desk = Desk::started();
    desk.stop_now();
    let saved = desk.latches().unwrap();
    for records in [
        vec![RecoveredRecord::Risk(Box::new(saved.clone()))],
        // The latch was not written, but the command was.
        vec![RecoveredRecord::Command(saved.ts, Command::EmergencyStop("x".into()))],
    ] {
        let mut next = Desk::new(config());
        next.engine.recover(records, Timestamp::from_ms(next.now_ms), &mut next.out);
        next.execution(ExecutionEvent::OpenOrders(None, vec![]));
        next.balances("100000", "2");
        next.quote("60000", "60000.01");
        for instrument in [BTC, InstrumentId(1)] {
            let since = next.ts();
            next.execution(ExecutionEvent::FillsOf { instrument, since, fills: vec![] });
        }
        next.command(Command::Start);
        assert!(next.notices.contains(&Notice::StartRefused(StartBlocker::Emergency)), "{:?}", next.notices);
        next.command(Command::Resume);
        assert!(!next.notices.contains(&Notice::Started));
        next.command(Command::Rearm(RiskScope::Account));
        assert!(!next.latches().unwrap().is_emergency, "the release is saved like the latch");
        next.command(Command::Start);
        assert!(next.notices.contains(&Notice::Started), "{:?}", next.notices);
        next.live(buy("0.01", "59000"));
    }
}

#[test]
fn a_re_arming_after_the_latch_was_saved_counts_when_the_journal_is_replayed() {
    let mut desk = Desk::started();
    desk.stop_now();
    let saved = desk.latches().unwrap();
    let rearm = RecoveredRecord::Command(saved.ts, Command::Rearm(RiskScope::Account));
    let mut next = Desk::new(config());
    let records = vec![RecoveredRecord::Risk(Box::new(saved)), rearm];
    next.engine.recover(records, Timestamp::from_ms(next.now_ms), &mut next.out);
    assert!(!next.engine.risk().is_emergency());
}

#[test]
fn rc_18_a_kill_switch_cancels_what_would_open_and_leaves_what_protects() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let stop = desk.live(protective("0.1"));
    let entry = desk.live(buy("0.05", "59000"));
    desk.effects.clear();
    desk.command(Command::Kill(RiskScope::Instrument(BTC), "delisted".into()));
    assert_eq!(desk.cancels(), [entry]);
    assert!(desk.engine.orders().get(stop).is_some_and(|order| !order.is_cancel_wanted));
    desk.place(buy("0.01", "58000"));
    assert_eq!(desk.denied(), Some(Control::KillSwitch));
    let views = desk.engine.status().guards;
    assert_eq!((views.len(), views[0].name.as_str()), (1, "kill-switch"));
    desk.command(Command::Resume);
    desk.place(buy("0.01", "58000"));
    assert_eq!(desk.denied(), Some(Control::KillSwitch), "a resume is not a re-arming");
    desk.command(Command::Rearm(RiskScope::Instrument(BTC)));
    assert!(desk.engine.status().guards.is_empty());
    desk.live(buy("0.01", "58000"));
}

#[test]
fn s2_016_refused_orders_open_the_breaker_which_is_told_shown_and_saved() {
    let order_errors = BreakerLimit { count: 3, window_ms: 60_000 };
    let probe_notional_max = money("1000");
    let guards = GuardLimits { order_errors, breaker_timeout_ms: 1_000, probe_notional_max, ..GuardLimits::default() };
    let mut desk = Desk::started_with(guarded(guards));
    for step in 0..3 {
        let (id, sent) = desk.place(buy("0.01", &format!("5900{step}")));
        assert!(sent);
        desk.reject(id, RejectReason::Filter);
    }
    assert!(matches!(
        desk.guard_events().as_slice(),
        [GuardEvent::BreakerOpened { kind: BreakerKind::OrderErrors, scope: RiskScope::Account, until: Some(_) }]
    ));
    let saved = desk.latches().unwrap();
    assert!(matches!(saved.guards.breakers[0].state, BreakerState::Open { .. }));
    assert_eq!(desk.engine.status().trading_state, TradingState::Reducing);
    assert_eq!(desk.engine.status().guards[0].name, "breaker/order-errors");
    desk.place(buy("0.01", "59010"));
    assert_eq!(desk.denied(), Some(Control::Breaker));
    desk.wait(1_000);
    let (probe, sent) = desk.place(buy("0.01", "59011"));
    assert!(sent, "a small one tries out");
    desk.ack(probe);
    assert_eq!(desk.engine.risk().breaker(BreakerKind::OrderErrors), BreakerState::Closed);
    assert_eq!(desk.engine.status().trading_state, TradingState::Active);
}

#[test]
fn s2_016_answers_that_do_not_come_open_the_venues_breaker() {
    let venue_errors = BreakerLimit { count: 2, window_ms: 30_000 };
    let mut desk = Desk::started_with(guarded(GuardLimits { venue_errors, ..GuardLimits::default() }));
    let (first, _) = desk.place(buy("0.01", "59000"));
    desk.execution(ExecutionEvent::Submit(first, SubmitOutcome::Unknown(UnknownReason::Timeout)));
    assert!(desk.guard_events().is_empty());
    let found = desk.snapshot(first, OrderStatus::New, "0");
    desk.execution(ExecutionEvent::Query(first, QueryOutcome::Found(found)));
    let (held_back, sent) = desk.place(buy("0.01", "59002"));
    assert!(sent);
    desk.execution(ExecutionEvent::Submit(held_back, SubmitOutcome::NotSent(NotSentReason::RateLimited)));
    assert!(desk.guard_events().is_empty(), "what we held back ourselves says nothing about the venue");
    let (second, sent) = desk.place(buy("0.01", "59001"));
    assert!(sent);
    desk.execution(ExecutionEvent::Submit(second, SubmitOutcome::Unknown(UnknownReason::VenueUnsure)));
    let opened = |event: &GuardEvent| matches!(event, GuardEvent::BreakerOpened { kind: BreakerKind::VenueErrors, .. });
    assert!(desk.guard_events().iter().any(opened), "{:?}", desk.guard_events());
}

#[test]
fn rc_10_a_strategy_that_fills_and_enters_again_is_disabled_and_its_entries_go() {
    let guards = GuardLimits { reentries_max: 2, reentry_window_ms: 60_000, ..GuardLimits::default() };
    let mut desk = Desk::started_with(guarded(guards));
    let resting = desk.live(buy("0.01", "59000"));
    for _ in 0..3 {
        position(&mut desk, "0.01");
    }
    desk.effects.clear();
    let (_, sent) = desk.place(buy("0.01", "60000"));
    assert!(!sent);
    assert_eq!(desk.denied(), Some(Control::Repeated));
    let strategy = RiskScope::Strategy(StrategyId(0));
    assert_eq!(desk.guard_events(), [GuardEvent::Killed { scope: strategy, cause: KillCause::Repeated }]);
    assert_eq!(desk.cancels(), [resting]);
    desk.command(Command::Rearm(strategy));
    desk.live(buy("0.01", "60000"));
}

#[test]
fn rc_19_entries_are_cancelled_when_the_account_stream_is_gone_for_too_long() {
    let guards = GuardLimits { cancel_on_disconnect_ms: 5_000, ..GuardLimits::default() };
    let mut desk = Desk::started_with(guarded(guards));
    position(&mut desk, "0.1");
    let stop = desk.live(protective("0.1"));
    let entry = desk.live(buy("0.05", "59000"));
    desk.effects.clear();
    desk.feed(StreamKind::Account, FeedState::Down);
    desk.wait(5_000);
    assert!(desk.cancels().is_empty(), "exactly at the limit nothing happens");
    desk.wait(50);
    assert_eq!(desk.cancels(), [entry]);
    assert!(desk.notices.iter().any(|it| matches!(it, Notice::Disconnected { orders: 1, gone_ms: 5_050 })));
    desk.canceled(entry, "0");
    desk.wait(5_000);
    assert_eq!(desk.cancels(), [entry], "once, and {stop} protects");
}

#[test]
fn rc_19_a_stream_that_comes_back_in_time_cancels_nothing() {
    let guards = GuardLimits { cancel_on_disconnect_ms: 5_000, ..GuardLimits::default() };
    let mut desk = Desk::started_with(guarded(guards));
    desk.live(buy("0.05", "59000"));
    desk.effects.clear();
    for _ in 0..3 {
        desk.feed(StreamKind::Account, FeedState::Down);
        desk.wait(3_000);
        desk.feed(StreamKind::Account, FeedState::Stale);
        desk.wait(1_000);
        desk.feed(StreamKind::Account, FeedState::Live);
        desk.wait(100);
    }
    assert!(desk.cancels().is_empty());
}

#[test]
fn rc_23_what_the_driver_measures_reaches_the_review() {
    let guards = GuardLimits { clock_offset_ms_max: 500, clock_age_ms_max: 10_000, ..GuardLimits::default() };
    let mut desk = Desk::started_with(guarded(guards));
    desk.place(buy("0.01", "59000"));
    assert_eq!(desk.denied(), Some(Control::Clock), "nobody has measured");
    desk.engine.note_clock(Some(100), desk.ts());
    desk.live(buy("0.01", "59000"));
    desk.engine.note_clock(Some(600_000_000), desk.ts());
    let (_, sent) = desk.place(buy("0.01", "59001"));
    assert!(!sent);
}

#[test]
fn latches_are_saved_when_they_change_and_not_otherwise() {
    let mut desk = Desk::started();
    desk.notices.clear();
    position(&mut desk, "0.1");
    desk.wait(2_000);
    assert!(desk.latches().is_none());
    desk.quote("49000", "49000.01");
    desk.wait(1_050);
    desk.quote("49000", "49000.01");
    let saved = desk.latches().expect("the day's loss is latched");
    assert!(saved.is_loss_latched && saved.reservations.is_empty());
}
