//! Whatever the venue says in whatever order: fills are counted once, nothing closes without proof, nothing panics.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[allow(clippy::large_enum_variant, reason = "a few dozen of them, in a test")]
#[derive(Clone, Debug)]
enum Input {
    Event(ExecutionEvent),
    Cancel(u64),
    Wait(u64),
}

fn status() -> impl Strategy<Value = OrderStatus> {
    prop::sample::select(vec![
        OrderStatus::PendingNew,
        OrderStatus::New,
        OrderStatus::PartiallyFilled,
        OrderStatus::Filled,
        OrderStatus::PendingCancel,
        OrderStatus::Canceled,
        OrderStatus::Rejected,
        OrderStatus::Expired,
    ])
}

/// Trade `n` is always the same trade: of one order, with one quantity.
fn trade_of(number: u64) -> (u64, Fill) {
    (1 + number % 3, fill(number, &(1 + number % 4).to_string()))
}

fn input() -> impl Strategy<Value = Input> {
    let seq = 1u64..=3;
    let cum = 0u64..=10;
    prop_oneof![
        (1u64..20, status(), cum.clone()).prop_map(|(number, status, cum)| {
            let (sequence, fill) = trade_of(number);
            Input::Event(ExecutionEvent::Report(report(
                sequence,
                ExecType::Trade,
                status,
                &cum.to_string(),
                Some(fill),
            )))
        }),
        (seq.clone(), status(), cum.clone()).prop_map(|(sequence, status, cum)| {
            Input::Event(ExecutionEvent::Report(report(sequence, ExecType::Status, status, &cum.to_string(), None)))
        }),
        prop::collection::vec(1u64..20, 0..4).prop_map(|numbers| {
            let fills = numbers.into_iter().map(trade_of).map(|(sequence, fill)| (Some(id(sequence)), fill));
            Input::Event(ExecutionEvent::Fills(fills.collect()))
        }),
        (seq.clone(), status(), cum.clone()).prop_map(|(sequence, status, cum)| {
            let found = QueryOutcome::Found(snapshot(sequence, status, &cum.to_string()));
            Input::Event(ExecutionEvent::Query(id(sequence), found))
        }),
        (seq.clone(), 990_000u64..1_050_000).prop_map(|(sequence, ms)| {
            let venue_time_before = Some(Timestamp::from_ms(ms));
            Input::Event(ExecutionEvent::Query(id(sequence), QueryOutcome::NotFound { venue_time_before }))
        }),
        seq.clone().prop_map(|sequence| Input::Event(ack(sequence, OrderStatus::New, vec![]))),
        seq.clone().prop_map(|sequence| {
            let unknown = SubmitOutcome::Unknown(UnknownReason::Timeout);
            Input::Event(ExecutionEvent::Submit(id(sequence), unknown))
        }),
        seq.clone().prop_map(|sequence| {
            let rejected = SubmitOutcome::Rejected(reject(RejectReason::Filter));
            Input::Event(ExecutionEvent::Submit(id(sequence), rejected))
        }),
        seq.clone().prop_map(|sequence| {
            let sent = ExecutionEvent::Sent {
                client_order_id: id(sequence),
                signed_at: Timestamp::from_ms(1_000_000),
                recv_window_ms: 5_000,
            };
            Input::Event(sent)
        }),
        seq.clone().prop_map(|sequence| {
            let refused = CancelOutcome::Rejected(reject(RejectReason::UnknownOrder));
            Input::Event(ExecutionEvent::Cancel(id(sequence), refused))
        }),
        (prop::collection::vec((seq.clone(), cum), 0..3)).prop_map(|list| {
            let list = list.into_iter().map(|(sequence, cum)| snapshot(sequence, OrderStatus::New, &cum.to_string()));
            Input::Event(ExecutionEvent::OpenOrders(None, list.collect()))
        }),
        seq.prop_map(Input::Cancel),
        (1u64..5_000).prop_map(Input::Wait),
    ]
}

/// Does one step lead from here to there? A full fill ends a working order without a word of the venue.
fn is_in_table(from: OrderState, to: OrderState) -> bool {
    Step::ALL.into_iter().any(|step| matches!(next(from, step), Next::To(at) | Next::Resurrect(at) if at == to))
}

/// Do at most two steps lead from here to there? One event may answer a cancel and show the order at work.
fn is_cancel_in_table(from: crate::CancelState, to: crate::CancelState) -> bool {
    let steps = || crate::CancelStep::ALL.into_iter();
    from == to || steps().any(|first| from.next(first) == to || steps().any(|then| from.next(first).next(then) == to))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn v_09_v_10_n_14_i4_i5_any_sequence_of_news_keeps_the_books_right(inputs in prop::collection::vec(input(), 1..80)) {
        let mut desk = Desk::new();
        for sequence in 1..=3 {
            desk.submit(sequence);
        }
        let mut booked: BTreeMap<TradeId, (ClientOrderId, Quantity)> = BTreeMap::new();
        let mut told: BTreeMap<TradeId, ()> = BTreeMap::new();
        let mut out = Vec::new();
        let mut states = [OrderState::Intent; 3];
        let mut cancels = [crate::CancelState::None; 3];
        for input in inputs {
            out.clear();
            match &input {
                Input::Event(event) => {
                    match event {
                        ExecutionEvent::Report(report) => told.extend(report.fill.map(|fill| (fill.trade_id, ()))),
                        ExecutionEvent::Fills(fills) => told.extend(fills.iter().map(|(_, fill)| (fill.trade_id, ()))),
                        _ => {}
                    }
                    let now = desk.now();
                    desk.manager.on_event(event, now, &mut out);
                }
                Input::Cancel(sequence) => {
                    let now = desk.now();
                    let _request = desk.manager.cancel(id(*sequence), now);
                }
                Input::Wait(ms) => {
                    desk.now_ms += ms;
                    let now = desk.now();
                    desk.manager.on_timer(now, &mut out);
                }
            }
            for action in &out {
                if let OrderAction::Changed { id, from, to, .. } = action {
                    let state = &mut states[id.sequence as usize - 1];
                    prop_assert_eq!(*state, *from, "each move begins where the last one ended");
                    prop_assert!(is_in_table(*from, *to), "{} -> {} is not in the table", from, to);
                    *state = *to;
                }
                match action {
                    OrderAction::Filled { id, fill } => {
                        prop_assert!(booked.insert(fill.trade_id, (*id, fill.quantity)).is_none(), "I4: booked twice");
                    }
                    OrderAction::Changed { to: OrderState::NeverAccepted, .. } => {
                        let past = matches!(&input, Input::Event(ExecutionEvent::Query(_, QueryOutcome::NotFound {
                            venue_time_before: Some(time) })) if time.as_ms() > 1_015_000 || time.as_ms() > 1_000_000);
                        prop_assert!(past, "I5: disproved by {input:?}");
                    }
                    _ => {}
                }
            }
            for sequence in 1..=3 {
                let order = desk.manager.get(id(sequence)).unwrap();
                let sum = booked.values().filter(|(owner, _)| *owner == id(sequence));
                let sum = sum.fold(Quantity::ZERO, |sum, (_, part)| sum.checked_add(*part).unwrap());
                prop_assert_eq!(order.filled, sum, "I3: the order's count is the sum of its fills");
                prop_assert!(order.cum >= order.filled);
                prop_assert_eq!(order.state, states[sequence as usize - 1], "each move is told");
                let before = std::mem::replace(&mut cancels[sequence as usize - 1], order.cancel);
                prop_assert!(is_cancel_in_table(before, order.cancel), "{:?} -> {:?}", before, order.cancel);
                if order.state == OrderState::Done {
                    prop_assert_eq!(order.cum, order.filled, "V-10: done only when the fills add up");
                }
                if order.state == OrderState::NeverAccepted {
                    prop_assert!(!order.was_accepted, "I5: what was there was accepted");
                }
                let is_listed = desk.manager.open().any(|open| open.id() == id(sequence));
                prop_assert_eq!(is_listed, !order.state.is_closed());
            }
        }
        prop_assert_eq!(booked.len(), told.len(), "I2: a trade that was told is booked");
    }
}
