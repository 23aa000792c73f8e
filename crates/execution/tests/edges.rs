//! Edges of the order manager and of parent orders through their public faces, each at its bound and one step beyond: what a
//! changed comparison would let through.

use keel_execution::parents::{PARENTS_MAX, ParentAction, ParentBook, ParentNews, Role, Surroundings};
use keel_execution::{ExecutionConfig, OrderAction, OrderManager};
use keel_model::instrument::LotRule;
use keel_model::order::ReasonText;
use keel_model::parent::{Bracket, Oco, ParentEnd, ParentId, Twap};
use keel_model::{
    Asset, ClientOrderId, ExecType, ExecutionEvent, ExecutionReport, InlineStr, Instrument, InstrumentId,
    InstrumentKind, InstrumentStatus, NewOrder, NotSentReason, Notional, OrderIntent, OrderPurpose, Price, Quantity,
    QueryOutcome, Side, StrategyId, SubmitOutcome, Timestamp, UnknownReason,
};
use keel_model::{OrderStatus, VenueOrderId};
use std::time::Duration;

const BTC: InstrumentId = InstrumentId(0);
const START: Timestamp = Timestamp::from_ms(1_000_000);

fn id(sequence: u64) -> ClientOrderId {
    ClientOrderId { instance: 7, epoch: 1, sequence }
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn at(ms: u64) -> Timestamp {
    START.plus(Duration::from_millis(ms))
}

fn manager() -> OrderManager {
    OrderManager::new(ExecutionConfig { instance: 7, epoch: 1, ..ExecutionConfig::default() })
}

fn rules() -> Instrument {
    let lot = LotRule { min: quantity("0.00001"), max: quantity("9000"), step: quantity("0.00001") };
    Instrument {
        id: BTC,
        symbol: InlineStr::new("BTCUSDT").unwrap(),
        base: Asset::new("BTC").unwrap(),
        quote: Asset::new("USDT").unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: price("0.01"),
        min_price: price("0.01"),
        max_price: price("1000000"),
        lot,
        market_lot: LotRule::default(),
        min_notional: Notional::from_int(5),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

fn around(rules: &Instrument, ms: u64) -> Surroundings<'_> {
    Surroundings {
        now: at(ms),
        rules,
        bid: Some(price("100")),
        ask: Some(price("100.01")),
        held: Quantity::ZERO,
        closable: Quantity::ZERO,
        is_protecting_only: false,
        may_open: true,
    }
}

fn book() -> ParentBook {
    let mut book = ParentBook::default();
    book.begin();
    book
}

fn is_looked_at(book: &mut ParentBook) -> bool {
    let mut dirty = Vec::new();
    book.take_dirty(&mut dirty);
    !dirty.is_empty()
}

/// What one look places.
fn placed(book: &mut ParentBook, parent: ParentId, orders: &OrderManager, ms: u64) -> Vec<Quantity> {
    let (rules, mut out) = (rules(), Vec::new());
    book.step(parent, &around(&rules, ms), orders, &mut out);
    let of = |action: &ParentAction| match action {
        ParentAction::Place { intent, .. } => Some(intent.quantity),
        _ => None,
    };
    out.iter().filter_map(of).collect()
}

#[test]
fn n_06_a_question_is_asked_again_when_it_is_due_and_not_before() {
    let mut manager = manager();
    let intent = OrderIntent::limit(BTC, Side::Buy, quantity("10"), price("100"), OrderPurpose::Entry);
    let new = NewOrder { client_order_id: id(1), strategy: StrategyId(0), ts_decided: START, intent };
    manager.restore_intent(new, START).unwrap();
    let mut out = Vec::new();
    let sent = ExecutionEvent::Sent { client_order_id: id(1), signed_at: START, recv_window_ms: 5_000 };
    manager.on_event(&sent, START, &mut out);
    let lost = ExecutionEvent::Submit(id(1), SubmitOutcome::Unknown(UnknownReason::Timeout));
    manager.on_event(&lost, START, &mut out);
    let asked = |manager: &mut OrderManager, ms: u64| {
        let mut out = Vec::new();
        manager.on_timer(at(ms), &mut out);
        out.iter().filter(|action| matches!(action, OrderAction::Query(_))).count()
    };
    let first_ms = ExecutionConfig::default().query_first_ms;
    assert_eq!((asked(&mut manager, first_ms - 1), asked(&mut manager, first_ms)), (0, 1));
    assert_eq!(asked(&mut manager, first_ms), 0, "under way");
    let failed = ExecutionEvent::Query(id(1), QueryOutcome::Unknown(UnknownReason::Timeout));
    manager.on_event(&failed, at(first_ms), &mut out);
    assert_eq!(asked(&mut manager, first_ms), 0, "answered, and the next is not due yet");
    assert_eq!(asked(&mut manager, first_ms + 60_000), 1);
}

#[test]
fn only_exits_that_are_held_back_wait_for_prices() {
    let mut both_rest = book();
    both_rest.create(
        ParentId(id(1)),
        StrategyId(0),
        Oco::entry(BTC, Side::Buy, quantity("1"), price("90"), price("110")).into(),
        START,
    );
    assert!(!both_rest.is_watched(), "both legs are at the venue");
    let mut one_rests = book();
    one_rests.create(
        ParentId(id(1)),
        StrategyId(0),
        Oco::exit(BTC, Side::Sell, quantity("1"), price("110"), price("90")).into(),
        START,
    );
    assert!(one_rests.is_watched() && is_looked_at(&mut one_rests));
    one_rests.note_quote(InstrumentId(1));
    assert!(!is_looked_at(&mut one_rests), "the price of another instrument");
    one_rests.note_quote(BTC);
    assert!(is_looked_at(&mut one_rests));
}

#[test]
fn the_last_slice_of_a_twap_comes_again_after_a_quarter_of_an_interval() {
    let (mut book, orders, parent) = (book(), manager(), ParentId(id(1)));
    let plan = Twap::new(BTC, Side::Buy, quantity("10"), 20_000).slices(2).limit(price("100"));
    book.create(parent, StrategyId(0), plan.into(), START);
    assert_eq!(placed(&mut book, parent, &orders, 0), [quantity("5")]);
    assert!(placed(&mut book, parent, &orders, 9_999).is_empty(), "each slice once");
    assert_eq!(
        placed(&mut book, parent, &orders, 10_000),
        [quantity("10")],
        "nothing has filled, so all of it is late"
    );
    assert!(placed(&mut book, parent, &orders, 12_499).is_empty());
    assert_eq!(placed(&mut book, parent, &orders, 12_500), [quantity("10")], "the last one may come again");
}

#[test]
fn entries_are_cancelled_of_the_brackets_that_are_meant_and_once() {
    let mut book = book();
    let buy = OrderIntent::limit(BTC, Side::Buy, quantity("1"), price("100"), OrderPurpose::Entry);
    for sequence in [1, 2] {
        let strategy = StrategyId(u16::try_from(sequence).unwrap());
        book.create(ParentId(id(sequence)), strategy, Bracket::new(buy, price("90")).into(), START);
    }
    let twap = Twap::new(BTC, Side::Buy, quantity("10"), 20_000).slices(2);
    book.create(ParentId(id(3)), StrategyId(1), twap.into(), START);
    let cancelled = |book: &mut ParentBook, strategy: u16| {
        let mut out = Vec::new();
        book.cancel_entries(|parent| parent.strategy == StrategyId(strategy), &mut out);
        out.len()
    };
    assert_eq!(cancelled(&mut book, 1), 1, "not the other's, and no TWAP");
    assert_eq!(cancelled(&mut book, 1), 0, "once");
    assert_eq!(cancelled(&mut book, 2), 1);
}

#[test]
fn what_was_given_up_before_it_left_is_counted() {
    let mut manager = manager();
    let intent = OrderIntent::limit(BTC, Side::Buy, quantity("10"), price("100"), OrderPurpose::Entry);
    for sequence in [1, 2] {
        let new = NewOrder { client_order_id: id(sequence), strategy: StrategyId(0), ts_decided: START, intent };
        manager.restore_intent(new, START).unwrap();
        let not_sent = ExecutionEvent::Submit(id(sequence), SubmitOutcome::NotSent(NotSentReason::NotDurable));
        manager.on_event(&not_sent, START, &mut Vec::new());
    }
    assert_eq!((manager.counters().abandoned, manager.counters().submitted), (2, 2));
    assert_eq!((manager.counters().rejected, manager.counters().never_accepted), (0, 0));
}

fn told(sequence: u64) -> ExecutionEvent {
    ExecutionEvent::Report(ExecutionReport {
        exec_type: ExecType::New,
        client_order_id: Some(id(sequence)),
        venue_order_id: VenueOrderId::new("900").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        status: OrderStatus::New,
        quantity: quantity("10"),
        price: Some(price("100")),
        cum_quantity: Quantity::ZERO,
        fill: None,
        ts_event: START,
        ts_recv: START,
        text: ReasonText::EMPTY,
    })
}

#[test]
fn the_venues_id_is_learned_from_its_reports_for_orders_of_ours_and_adopted_ones() {
    let (mut manager, mut out) = (manager(), Vec::new());
    let intent = OrderIntent::limit(BTC, Side::Buy, quantity("10"), price("100"), OrderPurpose::Entry);
    let new = NewOrder { client_order_id: id(1), strategy: StrategyId(0), ts_decided: START, intent };
    manager.restore_intent(new, START).unwrap();
    for sequence in 1..=3 {
        manager.on_event(&told(sequence), START, &mut out);
        assert_eq!(manager.get(id(sequence)).unwrap().venue_order_id, VenueOrderId::new("900").ok(), "{sequence}");
    }
    assert_eq!(manager.counters().adopted, 2);
}

#[test]
fn there_is_room_for_so_many_parents_and_not_for_one_more() {
    let mut book = book();
    let plan = Twap::new(BTC, Side::Buy, quantity("10"), 20_000).slices(2);
    for sequence in 1..=PARENTS_MAX as u64 {
        assert!(book.has_room(), "{sequence}");
        book.create(ParentId(id(sequence)), StrategyId(0), plan.into(), START);
    }
    assert!(!book.has_room());
}

#[test]
fn a_child_is_known_by_its_parent_and_nobody_else_is() {
    let mut book = book();
    let plan = Twap::new(BTC, Side::Buy, quantity("10"), 20_000).slices(2);
    book.create(ParentId(id(1)), StrategyId(0), plan.into(), START);
    book.link(ParentId(id(1)), id(2), Role::Slice, quantity("5"));
    assert_eq!((book.parent_of(id(2)), book.parent_of(id(3))), (Some(ParentId(id(1))), None));
}

/// What one look tells about the end of a parent.
fn ended(book: &mut ParentBook, parent: ParentId, orders: &OrderManager, ms: u64) -> Option<ParentEnd> {
    let (rules, mut out) = (rules(), Vec::new());
    book.step(parent, &around(&rules, ms), orders, &mut out);
    out.iter().find_map(|action| match action {
        ParentAction::Tell { news: ParentNews::Ended(end), .. } => Some(*end),
        _ => None,
    })
}

#[test]
fn a_pair_of_exits_that_is_cancelled_has_ended_as_cancelled_while_nothing_has_filled() {
    let (mut book, orders, parent) = (book(), manager(), ParentId(id(1)));
    book.create(
        parent,
        StrategyId(0),
        Oco::exit(BTC, Side::Sell, quantity("1"), price("110"), price("90")).into(),
        START,
    );
    book.cancel(parent);
    assert_eq!(ended(&mut book, parent, &orders, 0), Some(ParentEnd::Canceled));
}
