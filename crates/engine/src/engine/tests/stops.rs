//! Pauses, exit policies, emergency stop.

use super::*;

#[test]
fn exits_that_time_out_again_and_again_are_closed_at_the_market_once() {
    let mut config = config();
    config.execution.exit_timeout_ms = Some(1_000);
    config.execution.unfilled_timeout_ms = Some(60_000);
    config.exit_timeouts_max = 2;
    let mut desk = Desk::started_with(config);
    let bought = desk.live(buy("0.1", "60000"));
    desk.fill(bought, "0.1", "0.1", OrderStatus::Filled);
    let exit = OrderIntent::limit(BTC, Side::Sell, quantity("0.1"), price("61000"), OrderPurpose::Exit);
    let first = desk.live(exit);
    desk.wait(1_100);
    assert_eq!(desk.cancels(), [first]);
    desk.canceled(first, "0");
    desk.quote("60000", "60000.01");
    assert_eq!(desk.engine.orders().open_count(), 0, "the first time-out is the strategy's business");
    let second = desk.live(exit);
    desk.wait(1_100);
    desk.fill(second, "0.03", "0.03", OrderStatus::PartiallyFilled);
    desk.canceled(second, "0.03");
    let market = desk.engine.orders().open().next().expect("a market exit").new;
    assert_eq!((market.intent.order_type, market.intent.quantity), (OrderType::Market, quantity("0.07")));
    assert_eq!(market.strategy, keel_model::StrategyId(0));
    let told = desk.notices.iter().filter(|notice| matches!(notice, Notice::Unfilled { .. })).count();
    assert_eq!(told, 2);
}

#[test]
fn a_strategy_may_have_time_outs_of_its_own_and_plans_none() {
    let mut config = config();
    config.execution.unfilled_timeout_ms = Some(1_000);
    config.timeouts = vec![keel_execution::Timeouts { entry_ms: Some(3_000), exit_ms: None }];
    let mut desk = Desk::started_with(config);
    let order = desk.live(buy("0.01", "59000"));
    desk.wait(2_900);
    assert!(desk.cancels().is_empty());
    desk.wait(200);
    assert_eq!(desk.cancels(), [order]);
    let iceberg = keel_model::Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("59000"), quantity("0.05"));
    desk.script.lock().unwrap().plans.push(iceberg.into());
    desk.quote("60000", "60000.01");
    let piece = desk.engine.orders().open().last().unwrap().id();
    desk.ack(piece);
    desk.wait(10_000);
    assert_eq!(desk.cancels(), [order], "a plan knows itself when to give up");
}

fn position(desk: &mut Desk, size: &str) {
    let id = desk.live(buy(size, "60000"));
    desk.fill(id, size, size, OrderStatus::Filled);
}

fn protective(size: &str) -> OrderIntent {
    OrderIntent {
        order_type: OrderType::StopLossLimit,
        stop_price: Some(price("55000")),
        ..OrderIntent::limit(BTC, Side::Sell, quantity(size), price("54950"), OrderPurpose::Protective)
    }
}

#[test]
fn rc_21_pause_and_resume() {
    let mut desk = Desk::started();
    desk.command(Command::Pause);
    assert!(!desk.place(buy("0.01", "59000")).1);
    assert_eq!(desk.engine.status().trading_state, TradingState::Reducing);
    desk.command(Command::Resume);
    assert!(desk.place(buy("0.01", "59000")).1);
    let states: Vec<_> = desk.notices.iter().filter(|notice| matches!(notice, Notice::TradingState { .. })).collect();
    assert_eq!(states.len(), 3, "{states:?}");
}

#[test]
fn s_04_orders_of_the_strategies_last_call_are_refused() {
    let mut desk = Desk::started();
    desk.script.lock().unwrap().submit.push(buy("0.01", "59000"));
    desk.command(Command::StopStrategies);
    assert!(desk.told().contains(&"stop".to_owned()));
    assert!(desk.effects.iter().all(|effect| !matches!(effect, Effect::Submit(_))));
    desk.script.lock().unwrap().submit.push(buy("0.01", "59000"));
    desk.quote("60000", "60000.01");
    assert!(desk.effects.iter().all(|effect| !matches!(effect, Effect::Submit(_))), "and nobody calls them again");
}

#[test]
fn cancel_entries_keeps_what_protects_a_position() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let entry = desk.live(buy("0.05", "59000"));
    let stop = desk.live(protective("0.1"));
    desk.effects.clear();
    desk.command(Command::Wind(ExitPolicy::CancelEntries));
    assert_eq!(desk.cancels(), [entry]);
    assert!(!desk.engine.is_wound(), "not before the venue has confirmed it");
    desk.canceled(entry, "0");
    assert!(desk.engine.is_wound());
    assert_eq!(desk.engine.wind_progress().unwrap().orders_kept, 1);
    assert!(desk.notices.contains(&Notice::Wound(ExitPolicy::CancelEntries)));
    assert!(desk.engine.status().positions[0].is_protected);
    assert_eq!(desk.engine.cancels().map(|cancel| cancel.client_order_id).collect::<Vec<_>>(), [stop]);
}

#[test]
fn s_05_a_fill_between_cancel_and_close_is_booked() {
    let mut desk = Desk::started();
    let entry = desk.live(buy("0.05", "59000"));
    desk.command(Command::Wind(ExitPolicy::CancelAll));
    desk.fill(entry, "0.02", "0.02", OrderStatus::PartiallyFilled);
    assert!(!desk.engine.is_wound());
    desk.canceled(entry, "0.02");
    assert!(desk.engine.is_wound());
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.02"));
}

#[test]
fn an_order_of_unknown_outcome_is_cancelled_and_waited_for() {
    let mut desk = Desk::started();
    let (id, _) = desk.place(buy("0.05", "59000"));
    desk.execution(ExecutionEvent::Submit(id, SubmitOutcome::Unknown(UnknownReason::Timeout)));
    desk.command(Command::Wind(ExitPolicy::CancelEntries));
    assert_eq!(desk.cancels(), [id], "cancelling what may not exist is safe");
    assert_eq!(desk.engine.wind_progress().unwrap().unresolved, 1);
    desk.canceled(id, "0");
    assert!(desk.engine.is_wound());
}

#[test]
fn keep_leaves_everything_and_lists_it() {
    let mut desk = Desk::started();
    desk.live(buy("0.05", "59000"));
    desk.effects.clear();
    desk.command(Command::Wind(ExitPolicy::Keep));
    assert!(desk.cancels().is_empty() && desk.engine.is_wound());
    assert_eq!(desk.engine.status().open_orders.len(), 1);
    desk.command(Command::Resume);
    assert_eq!(desk.notices.last(), Some(&Notice::StartRefused(StartBlocker::Stopped)));
}

#[test]
fn flatten_cancels_first_and_then_closes_what_is_held() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let stop = desk.live(protective("0.1"));
    desk.effects.clear();
    desk.command(Command::Wind(ExitPolicy::Flatten));
    assert_eq!(desk.cancels(), [stop]);
    assert!(desk.effects.iter().all(|effect| !matches!(effect, Effect::Submit(_))), "the stop still holds the coins");
    desk.canceled(stop, "0");
    let close = desk.effects.iter().find_map(|effect| match effect {
        Effect::Submit(order) => Some(*order.get()),
        _ => None,
    });
    let close = close.unwrap();
    assert_eq!((close.intent.side, close.intent.quantity), (Side::Sell, quantity("0.1")));
    assert!(!desk.engine.is_wound());
    desk.ack(close.client_order_id);
    desk.wait(2_000);
    let submits = desk.effects.iter().filter(|effect| matches!(effect, Effect::Submit(_))).count();
    assert_eq!(submits, 1, "one closing order at a time");
    desk.fill(close.client_order_id, "0.1", "0.1", OrderStatus::Filled);
    assert!(desk.engine.is_wound());
}

#[test]
fn flatten_closes_in_pieces_what_is_larger_than_one_order_may_be() {
    let mut desk = Desk::started();
    position(&mut desk, "0.15");
    position(&mut desk, "0.15");
    desk.effects.clear();
    desk.command(Command::Wind(ExitPolicy::Flatten));
    let mut pieces = 0;
    while !desk.engine.is_wound() {
        let order = desk.effects.iter().find_map(|effect| match effect {
            Effect::Submit(order) => Some(*order.get()),
            _ => None,
        });
        let order = order.expect("a closing order");
        desk.effects.clear();
        desk.ack(order.client_order_id);
        let size = order.intent.quantity.to_string();
        desk.fill(order.client_order_id, &size, &size, OrderStatus::Filled);
        pieces += 1;
        assert!(pieces <= 5, "it has to end");
    }
    assert_eq!(pieces, 2, "18,000 in orders of at most 10,000");
    assert!(desk.engine.status().positions.is_empty());
}

/// The closing order that waits for an answer.
fn closing(desk: &Desk) -> Option<ClientOrderId> {
    desk.engine.orders().open().next().map(keel_execution::Order::id)
}

/// Answers each closing order within `ms` like this.
fn answer_closings(desk: &mut Desk, ms: u64, outcome: &SubmitOutcome) -> usize {
    let mut count = 0;
    for _ in 0..ms / 50 {
        if let Some(id) = closing(desk) {
            desk.execution(ExecutionEvent::Submit(id, outcome.clone()));
            count += 1;
        }
        desk.wait(50);
    }
    count
}

fn refused() -> SubmitOutcome {
    let reason = keel_model::RejectReason::Other;
    SubmitOutcome::Rejected(keel_model::Reject { reason, code: -1, text: ReasonText::EMPTY })
}

/// Positions left, and given up.
fn left(desk: &Desk) -> (usize, usize) {
    let progress = desk.engine.wind_progress().unwrap();
    (progress.positions_left, progress.positions_given_up)
}

fn close_all(desk: &mut Desk) {
    let id = closing(desk).expect("a closing order");
    desk.ack(id);
    let size = desk.engine.orders().get(id).unwrap().new.intent.quantity.to_string();
    desk.fill(id, &size, &size, OrderStatus::Filled);
}

fn wounds(desk: &Desk) -> Vec<ExitPolicy> {
    let of = |notice: &Notice| match notice {
        Notice::Wound(policy) => Some(*policy),
        _ => None,
    };
    desk.notices.iter().filter_map(of).collect()
}

#[test]
fn flatten_gives_up_after_its_tries_and_says_so() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    desk.command(Command::Wind(ExitPolicy::Flatten));
    assert_eq!(answer_closings(&mut desk, 5_000, &refused()), 5);
    assert_eq!(left(&desk), (0, 1));
    assert!(!desk.engine.is_wound(), "what is still held is not wound");
    assert_eq!(desk.engine.status().positions.len(), 1, "what stayed open is in the status");
    assert!(wounds(&desk).is_empty());
}

#[test]
fn an_emergency_stop_closes_once_the_connection_is_back_however_long_that_takes() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    desk.command(Command::EmergencyStop("a person pressed the button".into()));
    let lost = SubmitOutcome::NotSent(keel_model::NotSentReason::NotConnected);
    let tries = answer_closings(&mut desk, 30_000, &lost);
    assert!((6..=31).contains(&tries), "about once a second while the price is fresh: {tries}");
    assert_eq!(left(&desk), (1, 0), "what never left is no try");
    desk.quote("60000", "60000.01");
    desk.wait(1_100);
    close_all(&mut desk);
    assert!(desk.engine.is_wound() && desk.engine.status().positions.is_empty());
}

#[test]
fn tries_made_while_a_stream_is_down_do_not_count() {
    for stream in [StreamKind::Market(BTC), StreamKind::Account] {
        let mut desk = Desk::started();
        position(&mut desk, "0.1");
        desk.feed(stream, FeedState::Stale);
        desk.command(Command::EmergencyStop("a person pressed the button".into()));
        answer_closings(&mut desk, 20_000, &refused());
        assert_eq!(left(&desk), (1, 0), "{stream:?}");
        desk.feed(stream, FeedState::Live);
        desk.quote("60000", "60000.01");
        desk.wait(1_100);
        assert!(closing(&desk).is_some(), "{stream:?}: it goes on by itself");
    }
}

#[test]
fn a_person_who_asks_again_has_what_was_given_up_tried_again() {
    let again = [Command::EmergencyStop("again".into()), Command::Flatten(None), Command::Flatten(Some(BTC))];
    for command in again {
        let mut desk = Desk::started();
        position(&mut desk, "0.1");
        desk.command(Command::EmergencyStop("a person pressed the button".into()));
        answer_closings(&mut desk, 5_000, &refused());
        assert_eq!((left(&desk), closing(&desk)), ((0, 1), None));
        desk.command(command.clone());
        assert_eq!(left(&desk), (1, 0), "{command:?}");
        desk.wait(100);
        close_all(&mut desk);
        assert!(desk.engine.is_wound(), "{command:?}");
    }
}

#[test]
fn a_flatten_of_one_instrument_that_was_given_up_is_tried_again_when_asked_for() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    desk.command(Command::Flatten(Some(BTC)));
    answer_closings(&mut desk, 5_000, &refused());
    assert_eq!(left(&desk), (0, 1));
    desk.command(Command::Flatten(Some(BTC)));
    desk.wait(100);
    close_all(&mut desk);
    assert!(desk.engine.is_wound());
}

#[test]
fn a_stop_right_after_an_emergency_stop_does_not_throw_the_closing_away() {
    for policy in [ExitPolicy::CancelEntries, ExitPolicy::CancelAll, ExitPolicy::Keep] {
        let mut desk = Desk::started();
        position(&mut desk, "0.1");
        let entry = desk.live(buy("0.05", "59000"));
        desk.command(Command::EmergencyStop("a person pressed the button".into()));
        desk.command(Command::StopStrategies);
        desk.command(Command::Wind(policy));
        assert_eq!(desk.engine.status().operator.winding.unwrap().policy, ExitPolicy::Flatten);
        desk.canceled(entry, "0");
        desk.wait(500);
        assert!(!desk.engine.is_wound() && wounds(&desk).is_empty(), "{policy:?}: a position is open");
        close_all(&mut desk);
        assert_eq!(wounds(&desk), [ExitPolicy::Flatten, policy], "the stop hears it with the flatten");
        desk.command(Command::Wind(policy));
        assert_eq!(wounds(&desk).last(), Some(&policy), "and after it");
        assert_eq!(wounds(&desk).len(), 4);
    }
}

#[test]
fn a_stop_is_not_told_that_all_is_confirmed_when_the_emergency_gave_up_closing() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    desk.command(Command::EmergencyStop("a person pressed the button".into()));
    answer_closings(&mut desk, 5_000, &refused());
    assert_eq!(left(&desk), (0, 1));
    desk.command(Command::Wind(ExitPolicy::CancelEntries));
    desk.wait(2_000);
    assert!(!desk.engine.is_wound() && wounds(&desk).is_empty());
    assert_eq!(left(&desk), (0, 1));
}

#[test]
fn rc_18_emergency_stop_halts_cancels_and_closes() {
    let mut desk = Desk::started();
    position(&mut desk, "0.1");
    let entry = desk.live(buy("0.05", "59000"));
    desk.effects.clear();
    desk.command(Command::EmergencyStop("a person pressed the button".into()));
    assert_eq!(desk.engine.status().trading_state, TradingState::Halted);
    assert_eq!(desk.cancels(), [entry]);
    desk.canceled(entry, "0");
    assert!(desk.effects.iter().any(|effect| matches!(effect, Effect::Submit(order) if order.is_reducing())));
    desk.command(Command::Resume);
    assert_eq!(desk.notices.last(), Some(&Notice::StartRefused(StartBlocker::Emergency)));
    assert_eq!(desk.engine.status().trading_state, TradingState::Halted);
}

#[test]
fn risk_is_frozen_before_it_is_cleared() {
    let mut desk = Desk::started();
    desk.live(buy("0.05", "59000"));
    let saved = desk.engine.freeze_risk();
    assert_eq!((saved.reservations.len(), saved.trading_state), (1, TradingState::Halted));
    assert!(desk.engine.clear_risk(&saved));
    assert_eq!(desk.engine.risk().open_orders(), 0);
}
