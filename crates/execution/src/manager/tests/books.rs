//! Foreign and adopted orders, restart, bad fills, retention, time-outs.

use super::*;

#[test]
fn v_12_foreign_orders_are_told_once_and_left_alone() {
    let mut desk = Desk::new();
    let foreign = OrderSnapshot { client_order_id: None, ..snapshot(1, OrderStatus::New, "0") };
    desk.event(&ExecutionEvent::OpenOrders(None, vec![foreign]));
    desk.event(&ExecutionEvent::OpenOrders(None, vec![foreign]));
    desk.event(&ExecutionEvent::Fills(vec![(None, fill(5, "1"))]));
    desk.expect(&expect![[r#"
        > 1 open orders told
          ALARM foreign order 900 on this account; it is left alone
        > 1 open orders told
        > 1 fills told
          ALARM foreign fill 5 on this account; it is not booked
    "#]]);
    assert_eq!(desk.manager.open_count(), 0);
}

#[test]
fn v_12_orders_with_our_prefix_are_adopted() {
    let mut desk = Desk::new();
    let old = ClientOrderId { epoch: 0, ..id(55) };
    let listed = OrderSnapshot { client_order_id: Some(old), ..snapshot(1, OrderStatus::PartiallyFilled, "2") };
    desk.event(&ExecutionEvent::OpenOrders(None, vec![listed])).wait(50);
    desk.event(&ExecutionEvent::Fills(vec![(Some(old), fill(5, "2"))]));
    let clash =
        ExecutionReport { client_order_id: Some(id(77)), ..report(1, ExecType::New, OrderStatus::New, "0", None) };
    desk.event(&ExecutionEvent::Report(clash));
    desk.expect(&expect![[r#"
        > 1 open orders told
          k7-0-1j: adopted
          ALARM order k7-0-1j carries our prefix but is not in our books: adopted
          k7-0-1j: Unknown -> Live
        > 50 ms pass
          after 50 ms
          ask for fills since 0
        > 1 fills told
          k7-0-1j: fill 5 of 2
        > report New, New, cum 0
          k7-1-25: adopted
          ALARM order k7-1-25 carries a number of ours that was not given out: another process trades under this instance
          k7-1-25: Unknown -> Live
    "#]]);
}

#[test]
fn what_is_missing_on_the_list_of_open_orders_is_only_asked_about() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.event(&ExecutionEvent::OpenOrders(None, vec![])).wait(50);
    assert_eq!(desk.state(), OrderState::Live);
    assert!(desk.text.contains("ask about k7-1-1"));
    desk.not_found(9_000_000);
    assert_eq!(desk.state(), OrderState::Live, "I5: what was at the venue once was accepted");
}

#[test]
fn restart_makes_open_orders_unknown_and_asks_about_each() {
    let mut desk = Desk::new();
    desk.submit(1).submit(2).submit(3);
    desk.event(&ack(2, OrderStatus::New, vec![]));
    desk.event(&ExecutionEvent::Submit(id(3), SubmitOutcome::Rejected(reject(RejectReason::Filter))));
    let mut out = Vec::new();
    desk.manager.begin_recovery(desk.now(), &mut out);
    desk.text += "> restart\n";
    desk.write(&out).wait(50);
    // The first was never sent for all we know: the first venue time after the restart bounds its signature.
    desk.not_found(1_000_050);
    desk.not_found(1_016_050).not_found(1_016_051);
    desk.event(&ExecutionEvent::Query(
        id(2),
        QueryOutcome::NotFound { venue_time_before: Some(Timestamp::from_ms(9_000_000)) },
    ));
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > intent k7-1-2
        > intent k7-1-3
        > answer: accepted, New
          k7-1-2: Intent -> Live
        > answer: rejected, Filter
          k7-1-3: Intent -> Rejected, Rejected(Reject { reason: Filter, code: -2010, text: "" })
        > restart
          k7-1-1: Intent -> Unknown, Unknown(Restart)
          k7-1-2: Live -> Unknown, Unknown(Restart)
        > 50 ms pass
          after 50 ms
          ask about k7-1-1
          ask about k7-1-2
        > query answer: not found, venue time 1000050
        > query answer: not found, venue time 1016050
        > query answer: not found, venue time 1016051
          k7-1-1: Unknown -> NeverAccepted
        > query answer: not found, venue time 9000000
    "#]]);
    // The second was at the venue: however late it is not found, it was accepted.
    for ms in [9_000_000, 99_000_000] {
        let venue_time_before = Some(Timestamp::from_ms(ms));
        desk.event(&ExecutionEvent::Query(id(2), QueryOutcome::NotFound { venue_time_before }));
    }
    assert_eq!(desk.manager.get(id(2)).unwrap().state, OrderState::Unknown);
}

#[test]
fn bad_fills_are_not_booked() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.event(&ExecutionEvent::Fills(vec![(Some(id(1)), fill(1, "-3")), (Some(id(1)), fill(2, "0"))]));
    assert_eq!(desk.manager.get(id(1)).unwrap().filled, Quantity::ZERO);
    desk.trade(3, "8", "8").trade(4, "8", "16");
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > 2 fills told
          ALARM fill 1 of order k7-1-1 has an impossible quantity or price; it is not booked
          ALARM fill 2 of order k7-1-1 has an impossible quantity or price; it is not booked
        > report Trade, PartiallyFilled, cum 8
          k7-1-1: fill 3 of 8
        > report Trade, PartiallyFilled, cum 16
          k7-1-1: fill 4 of 8
          ALARM order k7-1-1 of 10 filled 16
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
    "#]]);
}

#[test]
fn s2_037_closed_orders_leave_memory_by_age_and_by_number() {
    let config =
        ExecutionConfig { instance: 7, closed_orders_max: 16, trade_ids_max: 1_024, ..ExecutionConfig::default() };
    let mut desk = Desk::new();
    desk.manager = OrderManager::new(config);
    for sequence in 1..=100 {
        desk.submit(sequence);
        desk.event(&ExecutionEvent::Submit(id(sequence), SubmitOutcome::NotSent(NotSentReason::GateClosed)));
    }
    desk.wait(50);
    assert_eq!(desk.manager.all().len(), 16);
    assert!(desk.manager.get(id(84)).is_none() && desk.manager.get(id(85)).is_some());
    assert_eq!(desk.manager.take_evicted().count(), 84);
    desk.now_ms += 25 * 3_600_000;
    desk.wait(50);
    assert_eq!(desk.manager.all().len(), 0);
}

#[test]
fn unfilled_entries_are_cancelled_after_their_time() {
    let mut desk = Desk::new();
    desk.manager = OrderManager::new(ExecutionConfig {
        instance: 7,
        unfilled_timeout_ms: Some(5_000),
        ..ExecutionConfig::default()
    });
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![])).wait(6_000);
    assert_eq!(desk.text.matches("cancel k7-1-1 again").count(), 1);
    assert_eq!(desk.text.matches("unfilled for too long").count(), 1);
}

#[test]
fn an_id_is_never_taken_twice() {
    let mut desk = Desk::new();
    desk.submit(1);
    assert_eq!(desk.manager.restore_intent(new_order(1, "1"), desk.now()), Err(ExecutionError::DuplicateId(id(1))));
}

#[test]
fn v_13_a_list_that_still_shows_a_done_order_is_doubted_only_beyond_the_bound_of_lag() {
    let done_at_bound = |late_ms: u64| {
        let mut desk = Desk::new();
        desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![])).trade(1, "10", "10");
        assert_eq!(desk.state(), OrderState::Done);
        desk.now_ms += 10_000 + late_ms;
        desk.event(&ExecutionEvent::OpenOrders(None, vec![snapshot(1, OrderStatus::New, "0")]));
        assert_eq!(desk.state(), OrderState::Done, "a list alone raises nothing");
        desk.text.contains("ask about")
    };
    assert!(!done_at_bound(0), "a replica may lag so far");
    assert!(done_at_bound(1));
}

#[test]
fn n_06_a_question_without_an_answer_is_repeated_when_its_time_is_over_and_not_before() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&timeout());
    let config = ExecutionConfig::default();
    let mut asked_at = Vec::new();
    for ms in 0..=(config.query_timeout_ms + config.query_first_ms + 5) {
        let mut out = Vec::new();
        desk.manager.on_timer(Timestamp::from_ms(1_000_000 + ms), &mut out);
        if out.iter().any(|action| matches!(action, OrderAction::Query(_))) {
            asked_at.push(ms);
        }
    }
    let first = config.query_first_ms;
    assert_eq!(asked_at, [first, first + config.query_timeout_ms], "to the millisecond");
}

#[test]
fn v_10_missing_fills_are_asked_for_once_per_instrument_and_again_when_the_time_is_over() {
    let mut desk = Desk::new();
    let eth = InstrumentId(1);
    for sequence in 1..=3 {
        let mut new = new_order(sequence, "10");
        if sequence == 3 {
            new.intent.instrument = eth;
        }
        desk.manager.restore_intent(new, desk.now()).unwrap();
        desk.sent(sequence).event(&ack(sequence, OrderStatus::New, vec![]));
    }
    for sequence in 1..=3 {
        let mut over = report(sequence, ExecType::Trade, OrderStatus::Filled, "10", None);
        over.instrument = if sequence == 3 { eth } else { BTC };
        desk.event(&ExecutionEvent::Report(over));
    }
    let config = ExecutionConfig::default();
    let mut asked = Vec::new();
    for ms in 0..=(config.query_timeout_ms + config.query_first_ms + 5) {
        let mut out = Vec::new();
        desk.manager.on_timer(Timestamp::from_ms(1_000_000 + ms), &mut out);
        let of = |action: &OrderAction| match action {
            OrderAction::FetchFills(instrument, _) => Some((ms, *instrument)),
            _ => None,
        };
        asked.extend(out.iter().filter_map(of));
    }
    let times: Vec<u64> = asked.iter().map(|(ms, _)| *ms).collect();
    assert_eq!(asked.iter().filter(|(_, id)| *id == BTC).count(), asked.iter().filter(|(_, id)| *id == eth).count());
    assert_eq!(times.len(), 4, "two instruments, twice: {asked:?}");
    assert_eq!(times[2] - times[0], config.query_timeout_ms, "not before the first question's time is over");
}

#[test]
fn an_answer_that_says_over_but_not_how_much_is_followed_by_a_question_and_filled_by_waiting_for_fills() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::Canceled, vec![])).wait(1_000);
    assert!(desk.text.contains("ask about k7-1-1"), "how much of it was filled is not known: {}", desk.text);
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::Filled, vec![]));
    assert_eq!(desk.state(), OrderState::Settling, "filled means all of it; the fills are awaited");
}

#[test]
fn an_adopted_order_keeps_the_venues_id_and_none_where_none_was_told() {
    let old = |sequence| ClientOrderId { epoch: 0, ..id(sequence) };
    let mut desk = Desk::new();
    let known = OrderSnapshot { client_order_id: Some(old(1)), ..snapshot(1, OrderStatus::New, "0") };
    let nameless = OrderSnapshot { client_order_id: Some(old(2)), venue_order_id: VenueOrderId::default(), ..known };
    desk.event(&ExecutionEvent::OpenOrders(None, vec![known, nameless]));
    let venue_id = |sequence| desk.manager.get(old(sequence)).unwrap().venue_order_id;
    assert_eq!((venue_id(1), venue_id(2)), (VenueOrderId::new("900").ok(), None));
}
