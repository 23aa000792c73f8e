//! Start is recovery, and it fails closed.

use super::*;

fn intent(id: ClientOrderId, size: &str) -> NewOrder {
    let strategy = StrategyId(0);
    NewOrder {
        client_order_id: id,
        strategy,
        ts_decided: Timestamp::from_ms(1_699_999_000_000),
        intent: buy(size, "59000"),
    }
}

fn old(sequence: u64) -> ClientOrderId {
    ClientOrderId { instance: 7, epoch: 2, sequence }
}

#[test]
fn start_is_refused_until_the_venue_has_told_everything() {
    let mut desk = Desk::new(config());
    desk.command(Command::Start);
    assert_eq!(desk.notices.last(), Some(&Notice::StartRefused(StartBlocker::OpenOrders)));
    let records = vec![RecoveredRecord::Intent(Timestamp::from_ms(1_699_999_000_000), intent(old(1), "0.1"))];
    desk.engine.recover(records, desk.ts(), &mut desk.out);
    desk.drain();
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    assert_eq!(desk.engine.start_blocker(), Some(StartBlocker::Fills));
    desk.execution(ExecutionEvent::Fills(vec![]));
    desk.execution(ExecutionEvent::Fills(vec![]));
    assert_eq!(desk.engine.start_blocker(), Some(StartBlocker::Balances));
    desk.balances("100000", "2");
    assert_eq!(desk.engine.start_blocker(), Some(StartBlocker::Unresolved(1)));
    assert!(desk.engine.risk().is_frozen(BTC), "an order that may be there holds its reservation");
    let not_found = |ms: u64| QueryOutcome::NotFound { venue_time_before: Some(Timestamp::from_ms(ms)) };
    desk.execution(ExecutionEvent::Query(old(1), not_found(1_700_000_000_000)));
    desk.command(Command::Start);
    assert_eq!(desk.notices.last(), Some(&Notice::StartRefused(StartBlocker::Unresolved(1))));
    desk.execution(ExecutionEvent::Query(old(1), not_found(1_700_000_016_001)));
    assert_eq!(desk.engine.start_blocker(), None);
    desk.command(Command::Start);
    assert!(desk.notices.contains(&Notice::Started));
    assert_eq!(desk.engine.risk().open_orders(), 0);
}

#[test]
fn what_happened_while_we_were_away_is_booked() {
    let mut desk = Desk::new(config());
    let ts = Timestamp::from_ms(1_699_999_000_000);
    let ack = SubmitAck {
        venue_order_id: VenueOrderId::new("v1").unwrap(),
        ts_event: ts,
        status: OrderStatus::New,
        reports: vec![],
    };
    let records = vec![
        RecoveredRecord::Intent(ts, intent(old(1), "0.1")),
        RecoveredRecord::Event(ts, ExecutionEvent::Submit(old(1), SubmitOutcome::Accepted(ack))),
    ];
    desk.engine.recover(records, desk.ts(), &mut desk.out);
    desk.drain();
    let since = desk.effects.iter().find_map(|effect| match effect {
        Effect::FetchFills(BTC, since) => Some(*since),
        _ => None,
    });
    assert_eq!(since, Some(Timestamp::from_ms(1_699_999_000_000 - 10_000)), "with overlap");
    let fill = Fill {
        trade_id: TradeId::new("5").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("59000"),
        quantity: quantity("0.1"),
        fee: Notional::ZERO,
        fee_asset: Asset::new("USDT").unwrap(),
        liquidity: Liquidity::Maker,
        ts_event: desk.ts(),
    };
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    desk.execution(ExecutionEvent::Fills(vec![(Some(old(1)), fill)]));
    desk.execution(ExecutionEvent::Fills(vec![]));
    desk.balances("94100", "2.1");
    desk.command(Command::Start);
    assert!(desk.notices.contains(&Notice::Started));
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"));
    assert_eq!(desk.engine.orders().open_count(), 0);
}

#[test]
fn i6_the_journal_of_a_run_gives_back_its_orders_fills_and_positions() {
    let mut desk = Desk::started();
    let mut records = Vec::new();
    let mut note = |desk: &Desk, id: ClientOrderId| {
        let order = desk.engine.orders().get(id).unwrap();
        records.push(RecoveredRecord::Intent(order.ts_created, order.new));
    };
    let filled = desk.live(buy("0.1", "60000"));
    note(&desk, filled);
    let resting = desk.live(buy("0.05", "59000"));
    note(&desk, resting);
    let mut events = vec![];
    for id in [filled, resting] {
        let ack = SubmitAck {
            venue_order_id: VenueOrderId::new(&format!("v{}", id.sequence)).unwrap(),
            ts_event: desk.ts(),
            status: OrderStatus::New,
            reports: vec![],
        };
        events.push(ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack)));
    }
    desk.fill(filled, "0.1", "0.1", OrderStatus::Filled);
    let trade = *desk
        .notices
        .iter()
        .rev()
        .find_map(|notice| match notice {
            Notice::Fill { fill, .. } => Some(fill),
            _ => None,
        })
        .unwrap();
    events.push(ExecutionEvent::Fills(vec![(Some(filled), trade)]));
    records.extend(events.into_iter().map(|event| RecoveredRecord::Event(desk.ts(), event)));
    let mut next = config();
    next.execution.epoch = 4;
    let mut again = Desk::new(next);
    again.now_ms = desk.now_ms + 60_000;
    again.engine.recover(records, again.ts(), &mut again.out);
    again.drain();
    assert_eq!(again.engine.portfolio().position(BTC), desk.engine.portfolio().position(BTC));
    assert_eq!(again.engine.orders().get(filled).unwrap().state, keel_execution::OrderState::Done);
    assert_eq!(again.engine.orders().get(resting).unwrap().state, keel_execution::OrderState::Unknown);
    // The stream repeats the fill: it was booked before the restart and is not booked again.
    again.execution(ExecutionEvent::Fills(vec![(Some(filled), trade)]));
    assert_eq!(again.engine.portfolio().position(BTC).quantity, quantity("0.1"));
    assert_eq!(again.engine.orders().counters().fills_repeated, 1);
}

#[test]
fn questions_without_an_answer_are_asked_again() {
    let mut desk = Desk::new(config());
    desk.engine.recover([], desk.ts(), &mut desk.out);
    desk.drain();
    desk.effects.clear();
    desk.wait(10_000);
    assert!(desk.effects.is_empty());
    desk.wait(100);
    assert!(desk.effects.contains(&Effect::FetchOpenOrders(None)) && desk.effects.contains(&Effect::FetchBalances));
}

#[test]
fn rc_20_the_books_are_compared_every_now_and_then() {
    let mut desk = Desk::started_with(EngineConfig { reconcile_interval_ms: 5_000, ..config() });
    desk.effects.clear();
    let id = desk.live(buy("0.1", "60000"));
    desk.wait(5_100);
    assert_eq!(desk.effects.iter().filter(|effect| **effect == Effect::FetchOpenOrders(None)).count(), 1);
    assert!(desk.place(buy("0.01", "59000")).1, "a routine comparison stops nobody");
    // The stream has been silent about a fill (N-08): the list no longer shows the order, so it is asked about.
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    desk.effects.clear();
    desk.wait(100);
    assert!(desk.effects.iter().any(|effect| matches!(effect, Effect::Query(query) if query.client_order_id == id)));
    let found = desk.snapshot(id, OrderStatus::Filled, "0.1");
    desk.execution(ExecutionEvent::Query(id, QueryOutcome::Found(found)));
    desk.wait(100);
    assert!(desk.effects.iter().any(|effect| matches!(effect, Effect::FetchFills(BTC, _))));
}

#[test]
fn rc_13_a_replay_before_any_quote_is_not_a_loss_and_a_real_loss_of_today_is() {
    let ts = Timestamp::from_ms(1_700_000_000_000 - 60_000);
    let fill = |trade: &str, side, at: &str| Fill {
        trade_id: TradeId::new(trade).unwrap(),
        instrument: BTC,
        side,
        price: price(at),
        quantity: quantity("0.1"),
        fee: Notional::ZERO,
        fee_asset: Asset::new("USDT").unwrap(),
        liquidity: Liquidity::Maker,
        ts_event: ts,
    };
    let replay = |ts: Timestamp, sold_at: &str| {
        let sell = NewOrder {
            intent: OrderIntent::limit(BTC, Side::Sell, quantity("0.1"), price(sold_at), OrderPurpose::Exit),
            ..intent(old(2), "0.1")
        };
        let fills = vec![(Some(old(1)), fill("1", Side::Buy, "59000")), (Some(old(2)), fill("2", Side::Sell, sold_at))];
        let records = vec![
            RecoveredRecord::Intent(ts, intent(old(1), "0.1")),
            RecoveredRecord::Intent(ts, sell),
            RecoveredRecord::Event(ts, ExecutionEvent::Fills(fills)),
        ];
        let mut desk = Desk::new(config());
        desk.engine.recover(records, desk.ts(), &mut desk.out);
        desk.drain();
        desk.engine.risk().snapshot(desk.ts()).is_loss_latched
    };
    assert!(!replay(ts, "58000"), "-100 is within the limit of 500, also while the position was open without a quote");
    assert!(replay(ts, "50000"), "-900 of today outlive the restart");
    assert!(!replay(Timestamp::from_ms(1_700_000_000_000 - 3 * 86_400_000), "50000"), "another day's loss is history");
}

#[test]
fn counts_are_of_this_run_and_start_where_the_journal_ends() {
    let mut desk = Desk::new(config());
    let ts = Timestamp::from_ms(1_699_999_000_000);
    let reject = keel_model::Reject { reason: keel_model::RejectReason::Filter, code: -1013, text: ReasonText::EMPTY };
    let records = vec![
        RecoveredRecord::Intent(ts, intent(old(1), "0.1")),
        RecoveredRecord::Event(ts, ExecutionEvent::Submit(old(1), SubmitOutcome::Rejected(reject))),
    ];
    desk.engine.recover(records, desk.ts(), &mut desk.out);
    assert_eq!(desk.engine.orders().counters().submitted, 1);
    let status = desk.engine.status();
    assert_eq!((status.orders_total, status.orders_rejected), (0, 0));
}

#[test]
fn after_the_account_stream_came_back_an_order_off_the_list_is_asked_about_before_exposure_is_allowed() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.1", "59000"));
    desk.feed(StreamKind::Account, FeedState::Down);
    desk.feed(StreamKind::Account, FeedState::Live);
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    for _ in 0..desk.engine.instruments().len() {
        desk.execution(ExecutionEvent::Fills(vec![]));
    }
    desk.balances("100000", "2");
    assert_eq!(desk.engine.status().trading_state, TradingState::Reducing, "one question is open");
    let not_found = ExecutionEvent::Query(id, QueryOutcome::NotFound { venue_time_before: None });
    desk.execution(not_found.clone());
    desk.wait(60_000);
    desk.execution(not_found);
    let status = desk.engine.status();
    assert_eq!(status.open_orders[0].state, MISSING);
    assert_eq!(status.trading_state, TradingState::Active);
    assert!(desk.engine.risk().snapshot(desk.ts()).held.contains(&BTC), "the instrument waits for a person");
}
