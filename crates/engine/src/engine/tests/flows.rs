//! Orders from wish to end, market data, and what the engine says about itself.

use super::*;
use expect_test::expect;

#[test]
fn an_order_from_wish_to_fill_is_told_in_order() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.1", "60000"));
    desk.fill(id, "0.04", "0.04", OrderStatus::PartiallyFilled);
    desk.fill(id, "0.06", "0.1", OrderStatus::Filled);
    expect![[r#"
        start
        k7-3-1 Accepted
        k7-3-1 fill 0.04 position 0.04
        k7-3-1 PartiallyFilled
        k7-3-1 fill 0.06 position 0.10
        k7-3-1 Filled"#]]
    .assert_eq(&desk.told().join("\n"));
    let status = desk.engine.status();
    assert_eq!((status.orders_total, status.fills_total, status.open_orders.len()), (1, 2, 0));
    assert_eq!(status.positions[0].quantity, quantity("0.1"));
    assert_eq!(status.positions[0].average_price, price("60000"));
    assert_eq!(status.positions[0].unrealized, Some(Notional::ZERO));
    assert_eq!(desk.engine.risk().open_orders(), 0);
}

#[test]
fn i14_nothing_is_decided_on_a_stream_that_is_not_live() {
    let mut desk = Desk::started();
    for state in [FeedState::Stale, FeedState::Resyncing, FeedState::Down] {
        desk.feed(StreamKind::Market(BTC), state);
        let (_, sent) = desk.place(buy("0.01", "59000"));
        assert!(!sent, "{state:?}");
        assert_eq!(desk.denied(), Some(Control::StaleData));
    }
    desk.feed(StreamKind::Market(BTC), FeedState::Live);
    assert!(desk.place(buy("0.01", "59000")).1);
}

#[test]
fn n_13_a_gap_in_the_book_stops_trading_until_the_next_snapshot() {
    let mut desk = Desk::started();
    let level = |at: &str, size: &str| Level { price: price(at), quantity: quantity(size) };
    let snapshot = |desk: &Desk, id| BookSnapshot {
        instrument: BTC,
        ts_recv: desk.ts(),
        last_update_id: id,
        bids: vec![level("60000", "1")],
        asks: vec![level("60000.01", "1")],
        ..BookSnapshot::default()
    };
    let first = snapshot(&desk, 10);
    desk.event(&Event::Market(MarketEvent::BookSnapshot(first)));
    let delta = BookDelta {
        instrument: BTC,
        ts_recv: desk.ts(),
        first_update_id: 15,
        last_update_id: 16,
        ..BookDelta::default()
    };
    desk.event(&Event::Market(MarketEvent::BookDelta(delta)));
    assert!(desk.notices.iter().any(|notice| matches!(notice, Notice::BookBroken { .. })));
    assert!(!desk.place(buy("0.01", "59000")).1);
    assert_eq!(desk.denied(), Some(Control::StaleData));
    let second = snapshot(&desk, 20);
    desk.event(&Event::Market(MarketEvent::BookSnapshot(second)));
    assert!(desk.place(buy("0.01", "59000")).1);
}

#[test]
fn bars_are_built_from_trades_and_closed_by_time() {
    let mut desk = Desk::started();
    desk.told();
    desk.now_ms = 1_700_000_010_000;
    for (ms, at, size) in [(0, "60000", "1"), (400, "60010", "2"), (900, "59990", "1"), (1_100, "60005", "1")] {
        let ts_recv = Timestamp::from_ms(1_700_000_010_000 + ms);
        let trade = Trade {
            instrument: BTC,
            ts_event: ts_recv,
            ts_recv,
            trade_id: TradeId::new("1").unwrap(),
            price: price(at),
            quantity: quantity(size),
            aggressor: Side::Buy,
        };
        desk.event(&Event::Market(MarketEvent::Trade(trade)));
    }
    desk.event(&Event::Timer(Timestamp::from_ms(1_700_000_012_000)));
    let bars: Vec<_> = desk.told().into_iter().filter(|line| line.starts_with("bar")).collect();
    assert_eq!(bars, ["bar 60000 60010 59990 59990 4", "bar 60005 60005 60005 60005 1"]);
}

#[test]
fn o_03_strategies_that_answer_each_denial_are_stopped_and_told() {
    let mut desk = Desk::started();
    desk.script.lock().unwrap().insists = true;
    desk.command(Command::Pause);
    let (_, sent) = desk.place(buy("0.1", "59000"));
    assert!(!sent);
    assert!(desk.notices.iter().any(|notice| matches!(notice, Notice::RequestsRefused { strategy: None, count: 1 })));
    // Over thousands of events the denials are told singly up to a rate, then counted.
    for _ in 0..1_000 {
        desk.place(buy("0.1", "59000"));
    }
    let singly = desk.notices.iter().filter(|notice| matches!(notice, Notice::Denied(..))).count();
    assert!(singly <= 200, "{singly} denials told singly in two seconds");
    assert!(desk.notices.iter().any(|notice| matches!(notice, Notice::DeniedMore { .. })));
    assert!(desk.effects.iter().all(|effect| !matches!(effect, Effect::Submit(_))));
}

#[test]
fn i5_an_unknown_outcome_freezes_its_instrument_until_it_is_resolved() {
    let mut desk = Desk::started();
    let (id, _) = desk.place(buy("0.1", "60000"));
    desk.execution(ExecutionEvent::Submit(id, SubmitOutcome::Unknown(UnknownReason::Timeout)));
    assert!(!desk.place(buy("0.01", "59000")).1);
    assert_eq!(desk.denied(), Some(Control::Position));
    desk.wait(100);
    assert!(desk.effects.iter().any(|effect| matches!(effect, Effect::Query(query) if query.client_order_id == id)));
    let found = desk.snapshot(id, OrderStatus::New, "0");
    desk.execution(ExecutionEvent::Query(id, QueryOutcome::Found(found)));
    assert!(desk.place(buy("0.01", "59000")).1, "resolved: the instrument is free again");
    assert_eq!(desk.engine.risk().open_orders(), 2);
}

#[test]
fn strategies_cancel_only_their_own_orders() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.01", "59000"));
    let foreign = ClientOrderId { sequence: 999, ..id };
    desk.script.lock().unwrap().cancel = vec![foreign, id, id];
    desk.quote("60000", "60000.01");
    assert_eq!(desk.cancels(), [id]);
    desk.canceled(id, "0");
    assert_eq!(desk.engine.risk().open_orders(), 0);
    assert_eq!(desk.engine.orders().open_count(), 0);
}

#[test]
fn v_13_a_replacement_is_one_request_where_the_venue_can_and_two_where_not() {
    for has_replace in [true, false] {
        let mut desk = Desk::started_with(EngineConfig { has_replace, ..config() });
        let old = desk.live(buy("0.01", "59000"));
        desk.script.lock().unwrap().replace = vec![(old, buy("0.01", "59001"))];
        desk.quote("60000", "60000.01");
        let new = *desk.script.lock().unwrap().submitted.last().unwrap();
        let is_one = desk.effects.iter().any(|effect| {
            matches!(effect, Effect::Replace(replace)
            if replace.cancel.client_order_id == old && replace.new.client_order_id == new)
        });
        assert_eq!(is_one, has_replace);
        assert_eq!(desk.cancels(), if has_replace { vec![] } else { vec![old] });
        assert_eq!(desk.sent(new), !has_replace);
        let cancel = CancelOutcome::Canceled(desk.snapshot(old, OrderStatus::Canceled, "0"));
        if has_replace {
            let outcome = keel_model::ReplaceOutcome { cancel, new: SubmitOutcome::Unknown(UnknownReason::Timeout) };
            desk.execution(ExecutionEvent::Replace { cancel_id: old, new_id: new, outcome });
            assert!(desk.engine.risk().is_frozen(BTC), "the halves have their own outcomes");
        }
    }
}

#[test]
fn n_19_without_the_account_stream_no_new_exposure_and_then_a_reconciliation() {
    let mut desk = Desk::started();
    desk.feed(StreamKind::Account, FeedState::Down);
    assert!(!desk.place(buy("0.01", "59000")).1);
    assert_eq!(desk.denied(), Some(Control::TradingState));
    desk.effects.clear();
    desk.feed(StreamKind::Account, FeedState::Live);
    assert!(desk.effects.contains(&Effect::FetchOpenOrders(None)) && desk.effects.contains(&Effect::FetchBalances));
    assert!(!desk.place(buy("0.01", "59000")).1, "not before the venue has answered");
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    desk.balances("100000", "2");
    assert!(!desk.place(buy("0.01", "59000")).1);
    desk.execution(ExecutionEvent::Fills(vec![]));
    desk.execution(ExecutionEvent::Fills(vec![]));
    assert!(desk.place(buy("0.01", "59000")).1);
    assert!(desk.notices.contains(&Notice::Reconciled));
}

#[test]
fn rc_13_the_daily_loss_is_told_once_and_reduces() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.1", "60000"));
    desk.fill(id, "0.1", "0.1", OrderStatus::Filled);
    desk.quote("54000", "54000.01");
    desk.quote("53000", "53000.01");
    let told = desk.notices.iter().filter(|notice| matches!(notice, Notice::DailyLoss { .. })).count();
    assert_eq!((told, desk.engine.status().trading_state), (1, TradingState::Reducing));
}

#[test]
fn fees_and_profit_add_up_in_the_status() {
    let mut desk = Desk::started();
    let bought = desk.live(buy("0.1", "60000"));
    desk.fill(bought, "0.1", "0.1", OrderStatus::Filled);
    let sell = OrderIntent::limit(BTC, Side::Sell, quantity("0.1"), price("60100"), OrderPurpose::Exit);
    let sold = desk.live(sell);
    desk.fill(sold, "0.1", "0.1", OrderStatus::Filled);
    let status = desk.engine.status();
    assert_eq!((status.realized, status.positions.len()), (money("10"), 0));
    assert_eq!(desk.engine.risk().day_pnl(), money("10"));
}

#[test]
fn i6_equal_events_give_equal_digests_and_ids_do_not_count() {
    let run = |epoch: u32, shift_ms: u64, size: &str| {
        let mut config = config();
        config.execution.epoch = epoch;
        let mut desk = Desk::new(config);
        desk.now_ms += shift_ms;
        desk.engine.recover([], Timestamp::from_ms(desk.now_ms), &mut desk.out);
        desk.drain();
        desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
        desk.balances("100000", "2");
        desk.quote("60000", "60000.01");
        desk.command(Command::Start);
        let first = desk.live(buy(size, "60000"));
        desk.fill(first, "0.04", "0.04", OrderStatus::PartiallyFilled);
        desk.live(buy("0.01", "59000"));
        desk.engine.digest().to_string()
    };
    let digest = run(3, 0, "0.1");
    assert_eq!(digest.len(), 64);
    assert_eq!(run(3, 0, "0.1"), digest);
    assert_eq!(run(9, 77_000, "0.1"), digest, "epochs and wall times are left out");
    assert_ne!(run(3, 0, "0.10001"), digest);
}

#[test]
fn i6_the_digest_does_not_depend_on_when_closed_orders_leave_memory() {
    let run = |closed_orders_max: usize| {
        let mut config = config();
        config.execution.closed_orders_max = closed_orders_max;
        let mut desk = Desk::started_with(config);
        for step in 0..40 {
            let id = desk.live(buy("0.01", &format!("590{step:02}")));
            desk.canceled(id, "0");
            desk.wait(50);
        }
        (desk.engine.digest(), desk.engine.orders().all().len())
    };
    let ((few, kept_few), (many, kept_many)) = (run(16), run(1_000));
    assert_eq!((kept_few, kept_many), (16, 40));
    assert_eq!(few, many);
}
