//! Parent orders end to end: a scripted venue behind the whole engine.

use super::*;
use keel_execution::parents::{ParentNews, ParentRecord, Role};
use keel_model::parent::{Bracket, Iceberg, Oco, ParentEnd, ParentId, ParentPlan, Twap};
use keel_model::{NotSentReason, Reject, RejectReason};

mod random;

impl Desk {
    /// Lets the strategy ask for a plan.
    fn plan(&mut self, plan: impl Into<ParentPlan>) -> ParentId {
        self.script.lock().unwrap().plans.push(plan.into());
        self.quote("60000", "60000.01");
        *self.script.lock().unwrap().parents.last().unwrap()
    }

    fn end_parent(&mut self, id: ParentId, is_closing: bool) {
        self.script.lock().unwrap().end_parents.push((id, is_closing));
        self.quote("60000", "60000.01");
    }

    /// Children of a role, oldest first.
    fn children(&self, parent: ParentId, role: Role) -> Vec<ClientOrderId> {
        let known = self.engine.parents().get(parent);
        let children = known.into_iter().flat_map(|parent| parent.children());
        children.filter(|child| child.role == role).map(|child| child.id).collect()
    }

    fn child(&self, parent: ParentId, role: Role) -> ClientOrderId {
        *self.children(parent, role).last().unwrap_or_else(|| panic!("no {role:?}"))
    }

    fn intent(&self, id: ClientOrderId) -> OrderIntent {
        self.engine.orders().get(id).unwrap().new.intent
    }

    fn fill_all(&mut self, id: ClientOrderId) {
        let size = self.intent(id).quantity.to_string();
        self.fill(id, &size, &size, OrderStatus::Filled);
    }

    fn news(&self) -> Vec<ParentNews> {
        let of = |notice: &Notice| match notice {
            Notice::Parent { news, .. } => Some(*news),
            _ => None,
        };
        self.notices.iter().filter_map(of).collect()
    }

    fn is_ended(&self, end: ParentEnd) -> bool {
        self.news().last() == Some(&ParentNews::Ended(end))
    }

    fn refuse(&mut self, id: ClientOrderId, reason: RejectReason) {
        let reject = Reject { reason, code: -2010, text: ReasonText::EMPTY };
        self.execution(ExecutionEvent::Submit(id, SubmitOutcome::Rejected(reject)));
    }

    /// A bracket whose entry has filled and whose stop works.
    fn protected() -> (Self, ParentId, ClientOrderId) {
        let mut desk = Self::started();
        let id = desk.plan(bracket().target(price("63000")));
        let entry = desk.child(id, Role::Entry);
        desk.ack(entry);
        desk.fill(entry, "0.1", "0.1", OrderStatus::Filled);
        let stop = desk.child(id, Role::Stop);
        desk.ack(stop);
        (desk, id, stop)
    }
}

fn bracket() -> Bracket {
    Bracket::new(buy("0.1", "60000"), price("58000"))
}

#[test]
fn a_bracket_protects_each_part_of_its_entry_as_it_fills() {
    let mut desk = Desk::started();
    let id = desk.plan(bracket());
    let entry = desk.child(id, Role::Entry);
    assert!(desk.sent(entry), "{:?}", desk.notices);
    desk.ack(entry);
    assert!(desk.children(id, Role::Stop).is_empty(), "nothing to protect yet");
    desk.fill(entry, "0.04", "0.04", OrderStatus::PartiallyFilled);
    let first = desk.intent(desk.child(id, Role::Stop));
    assert_eq!((first.quantity, first.stop_price, first.side), (quantity("0.04"), Some(price("58000")), Side::Sell));
    assert_eq!((first.order_type, first.purpose), (OrderType::StopLoss, OrderPurpose::Protective));
    desk.fill(entry, "0.06", "0.1", OrderStatus::Filled);
    let stops = desk.children(id, Role::Stop);
    assert_eq!(stops.len(), 2, "what works is not touched for the rest");
    assert_eq!(desk.intent(stops[1]).quantity, quantity("0.06"));
    for stop in stops {
        desk.ack(stop);
        desk.fill_all(stop);
    }
    assert!(desk.is_ended(ParentEnd::Completed), "{:?}", desk.news());
    assert!(desk.engine.portfolio().position(BTC).quantity.is_zero());
    let told = desk.told();
    assert!(told.iter().any(|line| line.starts_with("parent Ended(Completed) filled 0.10")), "{told:?}");
}

#[test]
fn a_target_takes_the_place_of_the_stop_and_gives_it_back() {
    let (mut desk, id, stop) = Desk::protected();
    desk.quote("63000", "63000.01");
    assert_eq!(desk.cancels(), [stop]);
    assert!(desk.children(id, Role::Target).is_empty(), "never both: on spot the asset is there once");
    desk.canceled(stop, "0");
    let target = desk.child(id, Role::Target);
    assert_eq!((desk.intent(target).price, desk.intent(target).quantity), (Some(price("63000")), quantity("0.1")));
    desk.ack(target);
    desk.fill(target, "0.03", "0.03", OrderStatus::PartiallyFilled);
    desk.quote("60400", "60400.01");
    desk.canceled(target, "0.03");
    let stop = desk.child(id, Role::Stop);
    assert_eq!(desk.intent(stop).quantity, quantity("0.07"));
    desk.ack(stop);
    desk.fill_all(stop);
    assert!(desk.is_ended(ParentEnd::Completed));
}

#[test]
fn s_05_a_fill_between_cancel_and_close_is_counted_and_nothing_is_sold_twice() {
    let (mut desk, id, stop) = Desk::protected();
    desk.quote("63000", "63000.01");
    assert_eq!(desk.cancels(), [stop]);
    // The stop fills while its cancel is on the way.
    desk.fill(stop, "0.06", "0.06", OrderStatus::PartiallyFilled);
    desk.canceled(stop, "0.06");
    assert_eq!(desk.intent(desk.child(id, Role::Target)).quantity, quantity("0.04"));
}

#[test]
fn a_stop_that_would_trigger_at_once_becomes_a_close_at_the_market() {
    let mut desk = Desk::started();
    let id = desk.plan(bracket());
    let entry = desk.child(id, Role::Entry);
    desk.ack(entry);
    desk.fill_all(entry);
    let stop = desk.child(id, Role::Stop);
    desk.refuse(stop, RejectReason::WouldTrigger);
    desk.wait(1_000);
    let close = desk.child(id, Role::Close);
    let intent = desk.intent(close);
    assert_eq!((intent.order_type, intent.quantity, intent.side), (OrderType::Market, quantity("0.1"), Side::Sell));
    desk.ack(close);
    desk.fill_all(close);
    assert!(desk.is_ended(ParentEnd::Completed));
}

#[test]
fn a_position_that_cannot_be_protected_is_never_so_in_silence() {
    let mut desk = Desk::started();
    let id = desk.plan(bracket());
    let entry = desk.child(id, Role::Entry);
    desk.ack(entry);
    desk.fill_all(entry);
    for _ in 0..3_000 {
        desk.wait(100);
        desk.quote("60000", "60000.01");
        let stop = desk.child(id, Role::Stop);
        if desk.engine.orders().get(stop).is_some_and(|order| order.state == keel_execution::OrderState::Intent) {
            desk.refuse(stop, RejectReason::TooManyOrders);
        }
    }
    let tries = desk.children(id, Role::Stop).len();
    assert_eq!(tries, 10, "tries are bounded");
    let told = desk.news();
    assert_eq!(
        told,
        [ParentNews::Unprotected { quantity: quantity("0.1") }, ParentNews::GaveUp { quantity: quantity("0.1") }]
    );
    assert!(desk.engine.risk().is_held(BTC));
    assert_eq!(desk.engine.status().parents[0].unprotected, quantity("0.1"));
    assert!(!desk.engine.status().positions[0].is_protected);
    // A person says: try again.
    desk.command(Command::Resume);
    desk.wait(100);
    let stop = desk.child(id, Role::Stop);
    assert_eq!(desk.children(id, Role::Stop).len(), 11);
    assert!(desk.sent(stop), "{:?}", &desk.notices[desk.notices.len() - 6..]);
    desk.ack(stop);
    desk.wait(100);
    assert_eq!(desk.news().last(), Some(&ParentNews::Protected));
}

#[test]
fn v_14_a_stop_that_the_venue_ends_is_placed_again() {
    let (mut desk, id, stop) = Desk::protected();
    let snapshot = desk.snapshot(stop, OrderStatus::Expired, "0");
    desk.execution(ExecutionEvent::Query(stop, QueryOutcome::Found(snapshot)));
    assert_eq!(desk.news().first(), Some(&ParentNews::Unprotected { quantity: quantity("0.1") }), "told at once");
    desk.wait(1_000);
    let again = desk.child(id, Role::Stop);
    assert_ne!(again, stop);
    desk.ack(again);
    desk.wait(100);
    assert_eq!(desk.news().last(), Some(&ParentNews::Protected));
}

#[test]
fn v_24_a_plan_that_would_trade_with_an_order_of_ours_is_denied_and_over() {
    let mut desk = Desk::started();
    let bought = desk.live(buy("0.1", "60000"));
    desk.fill_all(bought);
    let resting = OrderIntent::limit(BTC, Side::Sell, quantity("0.05"), price("60010"), OrderPurpose::Exit);
    let resting = desk.live(resting);
    let id = desk.plan(Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("60020"), quantity("0.05")));
    assert_eq!(desk.denied(), Some(Control::SelfMatch));
    assert!(desk.children(id, Role::Slice).iter().all(|child| !desk.sent(*child)));
    // The resting order goes, and the plan goes on.
    desk.script.lock().unwrap().cancel.push(resting);
    desk.quote("60000", "60000.01");
    desk.canceled(resting, "0");
    desk.wait(1_000);
    assert!(desk.sent(desk.child(id, Role::Slice)));
}

#[test]
fn cancelling_a_bracket_cancels_its_entry_and_keeps_what_protects() {
    let mut desk = Desk::started();
    let id = desk.plan(bracket());
    let entry = desk.child(id, Role::Entry);
    desk.ack(entry);
    desk.fill(entry, "0.04", "0.04", OrderStatus::PartiallyFilled);
    let stop = desk.child(id, Role::Stop);
    desk.ack(stop);
    desk.end_parent(id, false);
    assert_eq!(desk.cancels(), [entry]);
    desk.canceled(entry, "0.04");
    desk.wait(2_000);
    assert_eq!(desk.cancels(), [entry]);
    assert_eq!(desk.engine.parents().open_count(), 1);
    desk.end_parent(id, true);
    assert_eq!(desk.cancels(), [entry, stop]);
    desk.canceled(stop, "0");
    let close = desk.child(id, Role::Close);
    desk.ack(close);
    desk.fill_all(close);
    assert!(desk.is_ended(ParentEnd::Completed));
}

#[test]
fn an_entry_that_does_not_fill_in_time_is_cancelled_and_the_bracket_is_over() {
    let mut desk = Desk::started();
    let id = desk.plan(bracket().entry_timeout_ms(5_000));
    let entry = desk.child(id, Role::Entry);
    desk.ack(entry);
    desk.wait(4_900);
    assert!(desk.cancels().is_empty());
    desk.wait(200);
    assert_eq!(desk.cancels(), [entry]);
    desk.canceled(entry, "0");
    assert!(desk.is_ended(ParentEnd::Canceled));
    // And its late fill is protected all the same (V-10).
    desk.fill(entry, "0.1", "0.1", OrderStatus::Filled);
    assert_eq!(desk.intent(desk.child(id, Role::Stop)).quantity, quantity("0.1"));
    assert_eq!(desk.engine.parents().open_count(), 1);
}

#[test]
fn s2_028_an_exit_policy_that_cancels_entries_keeps_protecting() {
    let mut desk = Desk::started();
    let id = desk.plan(bracket());
    let entry = desk.child(id, Role::Entry);
    desk.ack(entry);
    desk.fill(entry, "0.04", "0.04", OrderStatus::PartiallyFilled);
    let stop = desk.child(id, Role::Stop);
    desk.ack(stop);
    desk.command(Command::Wind(ExitPolicy::CancelEntries));
    assert_eq!(desk.cancels(), [entry]);
    // A fill races the cancel: it is protected even now.
    desk.fill(entry, "0.03", "0.07", OrderStatus::PartiallyFilled);
    desk.canceled(entry, "0.07");
    let late = desk.child(id, Role::Stop);
    assert_eq!(desk.intent(late).quantity, quantity("0.03"));
    desk.ack(late);
    assert!(desk.engine.is_wound());
    assert_eq!(desk.engine.wind_progress().unwrap().orders_kept, 2);
    assert_eq!(desk.engine.parents().open_count(), 1, "the next start goes on with it");
}

#[test]
fn s2_024_a_flatten_takes_the_positions_of_brackets_over() {
    let (mut desk, _, stop) = Desk::protected();
    let twap = desk.plan(Twap::new(BTC, Side::Buy, quantity("0.1"), 10_000));
    let slice = desk.child(twap, Role::Slice);
    desk.command(Command::Wind(ExitPolicy::Flatten));
    assert_eq!(desk.engine.parents().open_count(), 0);
    assert_eq!(desk.cancels(), [stop, slice]);
    desk.execution(ExecutionEvent::Submit(slice, SubmitOutcome::NotSent(NotSentReason::GateClosed)));
    desk.canceled(stop, "0");
    desk.wait(500);
    let order = desk.engine.orders().open().next().unwrap();
    assert_eq!((order.new.intent.order_type, order.new.intent.quantity), (OrderType::Market, quantity("0.1")));
}

#[test]
fn an_oco_entry_takes_from_one_leg_what_the_other_fills() {
    let mut desk = Desk::started();
    let id = desk.plan(Oco::entry(BTC, Side::Buy, quantity("0.1"), price("59000"), price("61000")));
    let (limit, stop) = (desk.child(id, Role::Target), desk.child(id, Role::Stop));
    assert!(desk.sent(limit) && desk.sent(stop), "{:?}", desk.notices);
    desk.ack(limit);
    desk.ack(stop);
    desk.fill(limit, "0.04", "0.04", OrderStatus::PartiallyFilled);
    assert_eq!(desk.cancels(), [stop]);
    desk.canceled(stop, "0");
    let rest = desk.child(id, Role::Stop);
    assert_eq!(desk.intent(rest).quantity, quantity("0.06"));
    desk.ack(rest);
    desk.fill(limit, "0.06", "0.1", OrderStatus::Filled);
    assert_eq!(desk.cancels(), [stop, rest]);
    // Both may fill: the position is the truth, and it is told.
    desk.fill_all(rest);
    assert!(desk.news().contains(&ParentNews::Overfilled { quantity: quantity("0.06") }));
    assert!(desk.is_ended(ParentEnd::Completed));
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.16"));
}

#[test]
fn the_end_of_one_leg_of_an_oco_is_the_end_of_both() {
    for venue_ends_it in [true, false] {
        let mut desk = Desk::started();
        let id = desk.plan(Oco::entry(BTC, Side::Buy, quantity("0.1"), price("59000"), price("61000")));
        let (limit, stop) = (desk.child(id, Role::Target), desk.child(id, Role::Stop));
        desk.ack(limit);
        if venue_ends_it {
            desk.ack(stop);
            desk.canceled(stop, "0");
        } else {
            desk.refuse(stop, RejectReason::WouldTrigger);
        }
        assert_eq!(desk.cancels(), [limit]);
        desk.canceled(limit, "0");
        assert!(desk.is_ended(ParentEnd::Failed));
        assert_eq!(desk.engine.orders().open_count(), 0);
    }
}

#[test]
fn an_oco_exit_protects_what_is_held_and_no_more() {
    let mut desk = Desk::started();
    let bought = desk.live(buy("0.1", "60000"));
    desk.fill_all(bought);
    let id = desk.plan(Oco::exit(BTC, Side::Sell, quantity("0.5"), price("63000"), price("58000")));
    let stop = desk.child(id, Role::Stop);
    assert_eq!(desk.intent(stop).quantity, quantity("0.1"));
    desk.ack(stop);
    // The strategy sells half by itself: the exit follows.
    let half = OrderIntent::limit(BTC, Side::Sell, quantity("0.05"), price("60000"), OrderPurpose::Exit);
    desk.place(half);
    desk.canceled(stop, "0");
    desk.wait(100);
    assert_eq!(desk.engine.parents().open_count(), 1);
}

#[test]
fn a_twap_spreads_its_quantity_and_carries_over_what_a_slice_left() {
    let mut desk = Desk::started();
    let plan = Twap::new(BTC, Side::Buy, quantity("0.1"), 10_000).slices(5).limit(price("60000.01"));
    let id = desk.plan(plan);
    let mut sizes = Vec::new();
    for slice in 0..5 {
        let child = desk.child(id, Role::Slice);
        sizes.push(desk.intent(child).quantity.to_string());
        desk.ack(child);
        if slice == 1 {
            desk.fill(child, "0.005", "0.005", OrderStatus::PartiallyFilled);
            desk.wait(2_000);
            assert_eq!(desk.cancels(), [child], "what the slice left is carried over");
            desk.canceled(child, "0.005");
        } else {
            desk.fill_all(child);
            desk.wait(2_000);
        }
    }
    assert_eq!(
        sizes,
        ["0.02000", "0.02000", "0.03500", "0.02000", "0.02000"]
            .map(|it| it.to_owned())
            .map(|it| { it.parse::<Quantity>().unwrap().to_string() })
    );
    assert!(desk.is_ended(ParentEnd::Completed));
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"));
}

#[test]
fn a_twap_whose_time_is_over_says_what_it_did() {
    let mut desk = Desk::started();
    let id = desk.plan(Twap::new(BTC, Side::Buy, quantity("0.1"), 4_000).slices(4).limit(price("60000")));
    let child = desk.child(id, Role::Slice);
    desk.ack(child);
    for _ in 0..60 {
        desk.wait(100);
        for id in desk.cancels() {
            desk.canceled(id, "0");
        }
        desk.effects.retain(|effect| !matches!(effect, Effect::Cancel(_)));
        let open: Vec<_> = desk.engine.orders().open().map(|order| order.id()).collect();
        for id in open {
            desk.ack(id);
        }
    }
    assert!(desk.is_ended(ParentEnd::Expired), "{:?}", desk.news());
    assert_eq!(desk.engine.orders().open_count(), 0);
}

#[test]
fn a_twap_takes_no_more_than_its_part_of_the_public_volume() {
    let mut desk = Desk::started();
    let plan = Twap::new(BTC, Side::Buy, quantity("0.1"), 10_000).slices(5).participation_bps_max(1_000);
    let id = desk.plan(plan);
    assert!(desk.children(id, Role::Slice).is_empty(), "nothing was traded yet");
    let trade = Trade {
        instrument: BTC,
        ts_event: desk.ts(),
        ts_recv: desk.ts(),
        trade_id: TradeId::new("1").unwrap(),
        price: price("60000"),
        quantity: quantity("0.1"),
        aggressor: Side::Buy,
    };
    desk.event(&Event::Market(MarketEvent::Trade(trade)));
    desk.wait(100);
    assert_eq!(desk.intent(desk.child(id, Role::Slice)).quantity, quantity("0.01"));
}

#[test]
fn an_iceberg_shows_a_part_and_refills_it_until_all_is_done() {
    let mut desk = Desk::started();
    desk.plan(Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("60000"), quantity("0.03")).post_only());
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let open: Vec<_> = desk.engine.orders().open().map(|order| order.id()).collect();
        assert_eq!(open.len(), 1, "one piece at a time");
        sizes.push(desk.intent(open[0]).quantity);
        assert_eq!(desk.intent(open[0]).order_type, OrderType::LimitMaker);
        desk.ack(open[0]);
        desk.fill_all(open[0]);
    }
    assert_eq!(sizes, [quantity("0.03"), quantity("0.03"), quantity("0.03"), quantity("0.01")]);
    assert!(desk.is_ended(ParentEnd::Completed));
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"));
}

#[test]
fn i1_a_piece_of_unknown_outcome_is_waited_for_and_not_placed_again() {
    let mut desk = Desk::started();
    let id = desk.plan(Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("60000"), quantity("0.05")));
    let first = desk.child(id, Role::Slice);
    desk.execution(ExecutionEvent::Submit(first, SubmitOutcome::Unknown(UnknownReason::Timeout)));
    desk.wait(5_000);
    assert_eq!(desk.children(id, Role::Slice), [first]);
    let found = desk.snapshot(first, OrderStatus::New, "0");
    desk.execution(ExecutionEvent::Query(first, QueryOutcome::Found(found)));
    desk.fill_all(first);
    assert_eq!(desk.children(id, Role::Slice).len(), 2);
}

#[test]
fn a_cancelled_algorithm_cancels_its_piece_and_places_no_other() {
    let mut desk = Desk::started();
    let id = desk.plan(Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("60000"), quantity("0.05")));
    let piece = desk.child(id, Role::Slice);
    desk.ack(piece);
    desk.end_parent(id, false);
    assert_eq!(desk.cancels(), [piece]);
    desk.fill(piece, "0.02", "0.02", OrderStatus::PartiallyFilled);
    desk.canceled(piece, "0.02");
    assert!(desk.is_ended(ParentEnd::Canceled));
    desk.wait(1_000);
    assert_eq!(desk.engine.orders().open_count(), 0);
}

#[test]
fn plans_that_cannot_be_are_refused_with_a_reason() {
    let mut desk = Desk::started();
    let wrong: [ParentPlan; 5] = [
        bracket().target(price("57000")).into(),
        Bracket::new(buy("0.1", "57000"), price("58000")).into(),
        Twap::new(BTC, Side::Buy, quantity("0.0001"), 10_000).slices(100).limit(price("60000")).into(),
        Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("60000"), quantity("0.2")).into(),
        Twap::new(InstrumentId(9), Side::Buy, quantity("1"), 10_000).into(),
    ];
    for plan in wrong {
        desk.told();
        desk.plan(plan);
        let told = desk.told();
        assert!(told.iter().any(|line| line.starts_with("parent Refused")), "{plan:?}: {told:?}");
        assert_eq!(desk.engine.parents().open_count(), 0);
        assert_eq!(desk.engine.orders().open_count(), 0);
    }
}

#[test]
fn i4_a_child_is_in_the_journal_before_its_intent() {
    let mut desk = Desk::started();
    desk.script.lock().unwrap().plans.push(bracket().into());
    desk.now_ms += 1;
    let level = |at: &str| Level { price: price(at), quantity: quantity("1") };
    let (bid, ask) = (level("60000"), level("60000.01"));
    let top = TopOfBook { instrument: BTC, ts_event: Timestamp::ZERO, ts_recv: desk.ts(), update_id: 0, bid, ask };
    desk.engine.process(&Event::Market(MarketEvent::TopOfBook(top)), &mut desk.out);
    let told = desk.out.drain().filter_map(|effect| match effect {
        Effect::Notify(Notice::ParentRecord(ParentRecord::Created { .. })) => Some("created".to_owned()),
        Effect::Notify(Notice::ParentRecord(ParentRecord::Child { child, .. })) => Some(format!("child {child}")),
        Effect::Submit(order) => Some(format!("submit {}", order.client_order_id)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["created", "child k7-3-2", "submit k7-3-2"]);
}
