//! Transcripts of order flows: what comes in (`>`), what follows, and where the order stands.

use super::*;
use crate::config::UnknownRule;
use expect_test::{Expect, expect};
use keel_model::order::ReasonText;
use keel_model::{
    CancelOutcome, ExecType, ExecutionReport, Fill, Liquidity, NotSentReason, Notional, OrderIntent, OrderPurpose,
    OrderSnapshot, OrderStatus, Price, QueryOutcome, Reject, ReplaceOutcome, Side, StrategyId, SubmitAck, TradeId,
    VenueOrderId,
};
use std::fmt::Write as _;

mod books;
mod properties;

const BTC: InstrumentId = InstrumentId(0);

fn id(sequence: u64) -> ClientOrderId {
    ClientOrderId { instance: 7, epoch: 1, sequence }
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn new_order(sequence: u64, quantity_text: &str) -> NewOrder {
    NewOrder {
        client_order_id: id(sequence),
        strategy: StrategyId(0),
        ts_decided: Timestamp::from_ms(1_000_000),
        intent: OrderIntent::limit(BTC, Side::Buy, quantity(quantity_text), price("100"), OrderPurpose::Entry),
    }
}

fn fill(trade: u64, quantity_text: &str) -> Fill {
    Fill {
        trade_id: TradeId::new(&trade.to_string()).unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("100"),
        quantity: quantity(quantity_text),
        fee: Notional::ZERO,
        fee_asset: keel_model::Asset::new("USDT").unwrap(),
        liquidity: Liquidity::Maker,
        ts_event: Timestamp::from_ms(1_000_000 + trade),
    }
}

fn report(sequence: u64, exec_type: ExecType, status: OrderStatus, cum: &str, fill: Option<Fill>) -> ExecutionReport {
    ExecutionReport {
        exec_type,
        client_order_id: Some(id(sequence)),
        venue_order_id: VenueOrderId::new("900").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        status,
        quantity: quantity("10"),
        price: Some(price("100")),
        cum_quantity: quantity(cum),
        fill,
        ts_event: Timestamp::from_ms(1_000_000),
        ts_recv: Timestamp::from_ms(1_000_000),
        text: ReasonText::EMPTY,
    }
}

fn snapshot(sequence: u64, status: OrderStatus, cum: &str) -> OrderSnapshot {
    OrderSnapshot {
        client_order_id: Some(id(sequence)),
        venue_order_id: VenueOrderId::new("900").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        order_type: Some(keel_model::OrderType::Limit),
        time_in_force: Some(keel_model::TimeInForce::Gtc),
        status,
        quantity: quantity("10"),
        price: Some(price("100")),
        stop_price: None,
        cum_quantity: quantity(cum),
        cum_quote: None,
        ts_event: Timestamp::from_ms(1_000_000),
    }
}

/// An order manager with a pen.
struct Desk {
    manager: OrderManager,
    now_ms: u64,
    text: String,
}

impl Desk {
    fn new() -> Self {
        Self::with(UnknownRule::Fence { staleness_bound_ms: 10_000, staleness_bound_degraded_ms: 60_000 })
    }

    fn with(unknown_rule: UnknownRule) -> Self {
        let config = ExecutionConfig { instance: 7, epoch: 1, unknown_rule, ..ExecutionConfig::default() };
        config.validate().unwrap();
        Self { manager: OrderManager::new(config), now_ms: 1_000_000, text: String::new() }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms)
    }

    fn submit(&mut self, sequence: u64) -> &mut Self {
        self.manager.restore_intent(new_order(sequence, "10"), self.now()).unwrap();
        writeln!(self.text, "> intent {}", id(sequence)).unwrap();
        self
    }

    fn sent(&mut self, sequence: u64) -> &mut Self {
        let signed_at = self.now();
        self.event(&ExecutionEvent::Sent { client_order_id: id(sequence), signed_at, recv_window_ms: 5_000 })
    }

    fn event(&mut self, event: &ExecutionEvent) -> &mut Self {
        writeln!(self.text, "> {}", name(event)).unwrap();
        let mut out = Vec::new();
        self.manager.on_event(event, self.now(), &mut out);
        self.write(&out)
    }

    fn report(&mut self, exec_type: ExecType, status: OrderStatus, cum: &str, fill: Option<Fill>) -> &mut Self {
        self.event(&ExecutionEvent::Report(report(1, exec_type, status, cum, fill)))
    }

    fn trade(&mut self, trade: u64, part: &str, cum: &str) -> &mut Self {
        let status = if cum == "10" { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        self.report(ExecType::Trade, status, cum, Some(fill(trade, part)))
    }

    fn cancel(&mut self, sequence: u64) -> &mut Self {
        let request = self.manager.cancel(id(sequence), self.now());
        let what = if request.is_some() { "sent" } else { "nothing to send" };
        writeln!(self.text, "> cancel {}: {what}", id(sequence)).unwrap();
        self
    }

    fn not_found(&mut self, venue_time_ms: u64) -> &mut Self {
        let venue_time_before = Some(Timestamp::from_ms(venue_time_ms));
        self.event(&ExecutionEvent::Query(id(1), QueryOutcome::NotFound { venue_time_before }))
    }

    fn found(&mut self, status: OrderStatus, cum: &str) -> &mut Self {
        self.event(&ExecutionEvent::Query(id(1), QueryOutcome::Found(snapshot(1, status, cum))))
    }

    /// Lets time pass; the manager's timer runs every 50 ms, as a driver would let it.
    fn wait(&mut self, ms: u64) -> &mut Self {
        writeln!(self.text, "> {ms} ms pass").unwrap();
        let start = self.now_ms;
        for at in (50..=ms).step_by(50) {
            self.now_ms = start + at;
            let mut out = Vec::new();
            self.manager.on_timer(self.now(), &mut out);
            if !out.is_empty() {
                writeln!(self.text, "  after {at} ms").unwrap();
            }
            self.write(&out);
        }
        self.now_ms = start + ms;
        self
    }

    fn write(&mut self, out: &[OrderAction]) -> &mut Self {
        for action in out {
            let line = match action {
                OrderAction::Changed { id, from, to, change } => match change {
                    Change::Plain => format!("{id}: {from} -> {to}"),
                    other => format!("{id}: {from} -> {to}, {other:?}"),
                },
                OrderAction::Filled { id, fill } => format!("{id}: fill {} of {}", fill.trade_id, fill.quantity),
                OrderAction::CancelRejected { id, .. } => format!("{id}: cancel refused"),
                OrderAction::Adopted { id } => format!("{id}: adopted"),
                OrderAction::Unfilled { id } => format!("{id}: unfilled for too long"),
                OrderAction::Query(query) => format!("ask about {}", query.client_order_id),
                OrderAction::FetchFills(_, since) => format!("ask for fills since {}", since.as_ms()),
                OrderAction::Cancel(cancel) => format!("cancel {} again", cancel.client_order_id),
                OrderAction::Alarm(alarm) => format!("ALARM {alarm}"),
            };
            writeln!(self.text, "  {line}").unwrap();
        }
        self
    }

    fn state(&self) -> OrderState {
        self.manager.get(id(1)).unwrap().state
    }

    fn expect(&self, expected: &Expect) {
        expected.assert_eq(&self.text);
    }
}

fn name(event: &ExecutionEvent) -> String {
    match event {
        ExecutionEvent::Armed(_) => "durable".to_owned(),
        ExecutionEvent::Sent { .. } => "first byte".to_owned(),
        ExecutionEvent::Submit(_, SubmitOutcome::Accepted(ack)) => format!("answer: accepted, {:?}", ack.status),
        ExecutionEvent::Submit(_, SubmitOutcome::Rejected(reject)) => format!("answer: rejected, {:?}", reject.reason),
        ExecutionEvent::Submit(_, outcome) => format!("answer: {outcome:?}"),
        ExecutionEvent::Cancel(_, CancelOutcome::Canceled(order)) => {
            format!("cancel answer: canceled, cum {}", order.cum_quantity)
        }
        ExecutionEvent::Cancel(_, CancelOutcome::Rejected(reject)) => {
            format!("cancel answer: rejected, {:?}", reject.reason)
        }
        ExecutionEvent::Cancel(_, outcome) => format!("cancel answer: {outcome:?}"),
        ExecutionEvent::Replace { .. } => "replace answer".to_owned(),
        ExecutionEvent::Query(_, QueryOutcome::Found(order)) => {
            format!("query answer: {:?}, cum {}", order.status, order.cum_quantity)
        }
        ExecutionEvent::Query(_, QueryOutcome::NotFound { venue_time_before }) => {
            format!("query answer: not found, venue time {}", venue_time_before.map_or(0, Timestamp::as_ms))
        }
        ExecutionEvent::Query(_, outcome) => format!("query answer: {outcome:?}"),
        ExecutionEvent::Report(report) => {
            format!("report {:?}, {:?}, cum {}", report.exec_type, report.status, report.cum_quantity)
        }
        ExecutionEvent::Fills(fills) => format!("{} fills told", fills.len()),
        ExecutionEvent::OpenOrders(_, orders) => format!("{} open orders told", orders.len()),
        ExecutionEvent::FillsOf { fills, .. } => format!("{} fills told", fills.len()),
        ExecutionEvent::Balances { .. } | ExecutionEvent::Transfer { .. } => "balances".to_owned(),
    }
}

fn ack(sequence: u64, status: OrderStatus, reports: Vec<ExecutionReport>) -> ExecutionEvent {
    let venue_order_id = VenueOrderId::new("900").unwrap();
    let ack = SubmitAck { venue_order_id, ts_event: Timestamp::from_ms(1_000_000), status, reports };
    ExecutionEvent::Submit(id(sequence), SubmitOutcome::Accepted(ack))
}

fn reject(reason: RejectReason) -> Reject {
    Reject { reason, code: -2010, text: ReasonText::EMPTY }
}

fn timeout() -> ExecutionEvent {
    ExecutionEvent::Submit(id(1), SubmitOutcome::Unknown(UnknownReason::Timeout))
}

#[test]
fn submit_ack_fill() {
    let mut desk = Desk::new();
    desk.submit(1).event(&ExecutionEvent::Armed(id(1))).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.trade(1, "4", "4").trade(2, "6", "10").wait(1_000);
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > durable
          k7-1-1: Intent -> Armed
        > first byte
          k7-1-1: Armed -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > report Trade, PartiallyFilled, cum 4
          k7-1-1: fill 1 of 4
        > report Trade, Filled, cum 10
          k7-1-1: fill 2 of 6
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
        > 1000 ms pass
    "#]]);
}

#[test]
fn v_08_fill_before_the_ack_is_normal() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).trade(1, "10", "10").event(&ack(1, OrderStatus::New, vec![]));
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > report Trade, Filled, cum 10
          k7-1-1: fill 1 of 10
          k7-1-1: Sent -> Live
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
        > answer: accepted, New
    "#]]);
    assert_eq!(desk.manager.counters().alarms, 0);
}

#[test]
fn v_09_the_same_trade_over_stream_and_answer_counts_once() {
    let mut desk = Desk::new();
    let reports = vec![report(1, ExecType::Trade, OrderStatus::PartiallyFilled, "4", Some(fill(1, "4")))];
    desk.submit(1).sent(1).trade(1, "4", "4").event(&ack(1, OrderStatus::PartiallyFilled, reports));
    desk.event(&ExecutionEvent::Fills(vec![(Some(id(1)), fill(1, "4"))])).trade(1, "4", "4");
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > report Trade, PartiallyFilled, cum 4
          k7-1-1: fill 1 of 4
          k7-1-1: Sent -> Live
        > answer: accepted, PartiallyFilled
        > 1 fills told
        > report Trade, PartiallyFilled, cum 4
    "#]]);
    assert_eq!(desk.manager.get(id(1)).unwrap().filled, quantity("4"));
    assert_eq!(desk.manager.counters().fills_repeated, 3);
}

#[test]
fn v_01_timeout_after_acceptance_is_found_by_asking() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&timeout()).wait(100).found(OrderStatus::New, "0");
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: Unknown(Timeout)
          k7-1-1: Sent -> Unknown, Unknown(Timeout)
        > 100 ms pass
          after 50 ms
          ask about k7-1-1
        > query answer: New, cum 0
          k7-1-1: Unknown -> Live
    "#]]);
    assert_eq!(desk.state(), OrderState::Live);
}

#[test]
fn v_02_never_accepted_only_past_the_fence_of_the_venue_clock() {
    let mut desk = Desk::new();
    // Signed at 1_000_000 for 5_000 ms; the bound is 10_000 ms: the fence is 1_015_000, and it must be passed.
    desk.submit(1).sent(1).event(&timeout()).wait(100);
    desk.not_found(1_000_100).not_found(1_014_999).not_found(1_015_000);
    assert_eq!(desk.state(), OrderState::Unknown, "I5: at the fence is not past it");
    desk.not_found(1_015_001);
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: Unknown(Timeout)
          k7-1-1: Sent -> Unknown, Unknown(Timeout)
        > 100 ms pass
          after 50 ms
          ask about k7-1-1
        > query answer: not found, venue time 1000100
        > query answer: not found, venue time 1014999
        > query answer: not found, venue time 1015000
        > query answer: not found, venue time 1015001
          k7-1-1: Unknown -> NeverAccepted
    "#]]);
    assert_eq!(desk.state(), OrderState::NeverAccepted);
}

#[test]
fn v_03_a_hundred_times_not_found_proves_nothing() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&timeout());
    for _ in 0..100 {
        desk.not_found(1_003_000);
        desk.event(&ExecutionEvent::Query(id(1), QueryOutcome::NotFound { venue_time_before: None }));
    }
    assert_eq!(desk.state(), OrderState::Unknown);
}

#[test]
fn v_04_while_the_venue_answers_5xx_the_fence_is_wider() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1);
    desk.event(&ExecutionEvent::Submit(id(1), SubmitOutcome::Unknown(UnknownReason::VenueUnsure)));
    desk.wait(20_000).not_found(1_020_000);
    assert_eq!(desk.state(), OrderState::Unknown, "the degraded bound of 60 s holds");
    desk.wait(41_000).not_found(1_061_000);
    assert_eq!(desk.state(), OrderState::NeverAccepted, "60 s without a 5xx: the usual bound holds again");
}

#[test]
fn v_06_without_a_fence_an_unknown_order_is_held_and_told() {
    let mut desk = Desk::with(UnknownRule::Hold);
    desk.submit(1).sent(1).event(&timeout());
    desk.wait(40_000).not_found(2_000_000);
    assert_eq!(desk.state(), OrderState::Unknown);
    assert!(desk.text.contains("ALARM order k7-1-1 has been Unknown for"), "{}", desk.text);
}

#[test]
fn v_05_a_late_trade_of_a_disproved_order_is_applied_with_an_alarm() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&timeout()).not_found(1_015_001).trade(1, "4", "4");
    desk.wait(50).found(OrderStatus::Canceled, "4");
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: Unknown(Timeout)
          k7-1-1: Sent -> Unknown, Unknown(Timeout)
        > query answer: not found, venue time 1015001
          k7-1-1: Unknown -> NeverAccepted
        > report Trade, PartiallyFilled, cum 4
          k7-1-1: fill 1 of 4
          ALARM order k7-1-1 was NeverAccepted and has risen again by NewTrade
          k7-1-1: NeverAccepted -> Live, Resurrected
        > 50 ms pass
          after 50 ms
          ask about k7-1-1
        > query answer: Canceled, cum 4
          ALARM order k7-1-1 was ended by the venue: Canceled
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
    "#]]);
}

#[test]
fn v_05_a_rejected_order_that_lives_is_resurrected() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1);
    desk.event(&ExecutionEvent::Submit(id(1), SubmitOutcome::Rejected(reject(RejectReason::InsufficientFunds))));
    desk.event(&ExecutionEvent::OpenOrders(None, vec![snapshot(1, OrderStatus::New, "0")]));
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: rejected, InsufficientFunds
          k7-1-1: Sent -> Rejected, Rejected(Reject { reason: InsufficientFunds, code: -2010, text: "" })
        > 1 open orders told
          ALARM order k7-1-1 was Rejected and has risen again by Exists
          k7-1-1: Rejected -> Live, Resurrected
    "#]]);
}

#[test]
fn v_05_an_order_that_was_to_be_cancelled_and_rises_again_is_cancelled() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).cancel(1);
    desk.event(&ExecutionEvent::Cancel(id(1), CancelOutcome::NotSent(NotSentReason::NotConnected)));
    desk.event(&ExecutionEvent::Submit(id(1), SubmitOutcome::Rejected(reject(RejectReason::InsufficientFunds))));
    desk.event(&ExecutionEvent::OpenOrders(None, vec![snapshot(1, OrderStatus::New, "0")])).wait(50);
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > cancel k7-1-1: sent
        > cancel answer: NotSent(NotConnected)
        > answer: rejected, InsufficientFunds
          k7-1-1: Sent -> Rejected, Rejected(Reject { reason: InsufficientFunds, code: -2010, text: "" })
        > 1 open orders told
          ALARM order k7-1-1 was Rejected and has risen again by Exists
          k7-1-1: Rejected -> Live, Resurrected
        > 50 ms pass
          after 50 ms
          ask about k7-1-1
          cancel k7-1-1 again
    "#]]);
}

#[test]
fn v_07_cancel_races_a_fill() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![])).cancel(1).cancel(1);
    desk.trade(1, "10", "10");
    desk.event(&ExecutionEvent::Cancel(id(1), CancelOutcome::Rejected(reject(RejectReason::UnknownOrder))));
    desk.wait(1_000);
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > cancel k7-1-1: sent
        > cancel k7-1-1: nothing to send
        > report Trade, Filled, cum 10
          k7-1-1: fill 1 of 10
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
        > cancel answer: rejected, UnknownOrder
        > 1000 ms pass
    "#]]);
}

#[test]
fn v_07_cancel_wins_with_a_part_filled_and_the_fill_comes_later() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![])).cancel(1);
    desk.event(&ExecutionEvent::Cancel(id(1), CancelOutcome::Canceled(snapshot(1, OrderStatus::Canceled, "3"))));
    assert_eq!(desk.state(), OrderState::Settling, "V-10: not over before the fills add up");
    desk.wait(100).event(&ExecutionEvent::Fills(vec![(Some(id(1)), fill(1, "3"))]));
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > cancel k7-1-1: sent
        > cancel answer: canceled, cum 3
          k7-1-1: Live -> Settling
        > 100 ms pass
          after 50 ms
          ask for fills since 990000
        > 1 fills told
          k7-1-1: fill 1 of 3
          k7-1-1: Settling -> Done
    "#]]);
    assert_eq!(desk.state(), OrderState::Done);
}

#[test]
fn v_10_a_terminal_report_before_the_last_fill_settles() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.report(ExecType::Canceled, OrderStatus::Canceled, "7", None);
    desk.trade(1, "4", "4").wait(50).trade(2, "3", "7");
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > report Canceled, Canceled, cum 7
          ALARM order k7-1-1 was ended by the venue: Canceled
          k7-1-1: Live -> Settling
        > report Trade, PartiallyFilled, cum 4
          k7-1-1: fill 1 of 4
        > 50 ms pass
          after 50 ms
          ask for fills since 990000
        > report Trade, PartiallyFilled, cum 7
          k7-1-1: fill 2 of 3
          k7-1-1: Settling -> Done
    "#]]);
}

#[test]
fn v_11_a_gap_in_the_count_is_asked_for_while_the_order_works() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.trade(2, "3", "7").wait(50).event(&ExecutionEvent::Fills(vec![(Some(id(1)), fill(1, "4"))])).wait(500);
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > report Trade, PartiallyFilled, cum 7
          k7-1-1: fill 2 of 3
        > 50 ms pass
          after 50 ms
          ask for fills since 990000
        > 1 fills told
          k7-1-1: fill 1 of 4
        > 500 ms pass
    "#]]);
}

#[test]
fn a_cancel_that_outruns_its_order_is_followed_up() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).cancel(1);
    desk.event(&ExecutionEvent::Cancel(id(1), CancelOutcome::Rejected(reject(RejectReason::UnknownOrder))));
    desk.event(&ack(1, OrderStatus::New, vec![])).wait(50);
    desk.event(&ExecutionEvent::Cancel(id(1), CancelOutcome::Canceled(snapshot(1, OrderStatus::Canceled, "0"))));
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > cancel k7-1-1: sent
        > cancel answer: rejected, UnknownOrder
          k7-1-1: cancel refused
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > 50 ms pass
          after 50 ms
          cancel k7-1-1 again
        > cancel answer: canceled, cum 0
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
    "#]]);
}

#[test]
fn a_cancel_without_an_answer_is_sent_again_with_growing_pauses() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![])).cancel(1);
    for _ in 0..3 {
        desk.event(&ExecutionEvent::Cancel(id(1), CancelOutcome::Unknown(UnknownReason::Timeout))).wait(1_000);
    }
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > cancel k7-1-1: sent
        > cancel answer: Unknown(Timeout)
        > 1000 ms pass
          after 200 ms
          cancel k7-1-1 again
        > cancel answer: Unknown(Timeout)
        > 1000 ms pass
          after 400 ms
          cancel k7-1-1 again
        > cancel answer: Unknown(Timeout)
        > 1000 ms pass
          after 800 ms
          cancel k7-1-1 again
    "#]]);
}

#[test]
fn v_13_a_replacement_may_succeed_by_half() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.submit(2).cancel(1);
    let cancel = CancelOutcome::Canceled(snapshot(1, OrderStatus::Canceled, "0"));
    let new = SubmitOutcome::Rejected(reject(RejectReason::Filter));
    let outcome = ReplaceOutcome { cancel, new };
    desk.event(&ExecutionEvent::Replace { cancel_id: id(1), new_id: id(2), outcome });
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > intent k7-1-2
        > cancel k7-1-1: sent
        > replace answer
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
          k7-1-2: Intent -> Rejected, Rejected(Reject { reason: Filter, code: -2010, text: "" })
    "#]]);
}

#[test]
fn v_14_an_order_that_the_venue_ends_by_itself_is_told() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.report(ExecType::Expired, OrderStatus::Expired, "0", None).report(
        ExecType::Expired,
        OrderStatus::Expired,
        "0",
        None,
    );
    desk.expect(&expect![[r#"
        > intent k7-1-1
        > first byte
          k7-1-1: Intent -> Sent
        > answer: accepted, New
          k7-1-1: Sent -> Live
        > report Expired, Expired, cum 0
          ALARM order k7-1-1 was ended by the venue: Expired
          k7-1-1: Live -> Settling
          k7-1-1: Settling -> Done
        > report Expired, Expired, cum 0
    "#]]);
}

#[test]
fn orders_that_never_left_are_abandoned() {
    for reason in [NotSentReason::GateClosed, NotSentReason::NotDurable, NotSentReason::NotConnected] {
        let mut desk = Desk::new();
        desk.submit(1).event(&ExecutionEvent::Submit(id(1), SubmitOutcome::NotSent(reason)));
        assert_eq!(desk.state(), OrderState::Abandoned);
        assert_eq!(desk.manager.open_count(), 0);
    }
}

#[test]
fn a_duplicate_id_reject_proves_nothing() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1);
    desk.event(&ExecutionEvent::Submit(id(1), SubmitOutcome::Rejected(reject(RejectReason::DuplicateId))));
    assert_eq!(desk.state(), OrderState::Unknown);
}

#[test]
fn an_accepted_order_that_the_venue_no_longer_knows_is_an_alarm_and_never_closes_by_itself() {
    let mut desk = Desk::new();
    desk.submit(1).sent(1).event(&ack(1, OrderStatus::New, vec![]));
    desk.event(&ExecutionEvent::OpenOrders(None, vec![]));
    assert_eq!(desk.manager.doubted_count(), 1);
    let not_found = ExecutionEvent::Query(id(1), QueryOutcome::NotFound { venue_time_before: None });
    desk.event(&not_found);
    let order = desk.manager.get(id(1)).unwrap();
    assert!(!order.is_missing, "lag is possible");
    desk.wait(60_000).event(&not_found);
    let order = desk.manager.get(id(1)).unwrap();
    assert!(order.is_missing);
    assert_eq!((order.state, desk.manager.doubted_count(), desk.manager.open_count()), (OrderState::Live, 0, 1));
    assert_eq!(desk.manager.counters().alarms, 1, "told once");
    desk.event(&not_found);
    assert_eq!(desk.manager.counters().alarms, 1, "told once");
    // Found again: it is what the venue says.
    desk.event(&ExecutionEvent::Query(id(1), QueryOutcome::Found(snapshot(1, OrderStatus::New, "0"))));
    assert!(!desk.manager.get(id(1)).unwrap().is_missing);
}
