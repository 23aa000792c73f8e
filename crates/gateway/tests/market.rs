//! The market lane when it is full, the inline engine, and the simulated venue behind the real traits.

use crate::common::{BTC, FakeVenue, Habit, SOON, buy, instruments, start, top, trade, until};
use keel_exchange::{AccountSink, ExchangeClient};
use keel_gateway::lanes::Batch;
use keel_gateway::{LaneCapacity, Lanes, MarketSink, SimulatedVenue};
use keel_lifecycle::{Clock, StopSignal};
use keel_model::*;
use keel_sim::SimConfig;
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

fn lanes(market: usize) -> Lanes {
    Lanes::new(LaneCapacity { market, ..LaneCapacity::default() }, StopSignal::default())
}

fn drain(lanes: &Lanes) -> Vec<Event> {
    let mut batch = Batch::default();
    lanes.take(Timestamp::from_ns(99), &mut batch);
    batch.market.into()
}

fn delta(first: u64, last: u64, bids: &[(i64, i64)]) -> MarketEvent {
    let level = |(price, quantity): &(i64, i64)| Level {
        price: Price::new(*price, 2).unwrap(),
        quantity: Quantity::new(*quantity, 0).unwrap(),
    };
    MarketEvent::BookDelta(BookDelta {
        instrument: BTC,
        first_update_id: first,
        last_update_id: last,
        bids: bids.iter().map(level).collect(),
        ..BookDelta::default()
    })
}

#[test]
fn r05_a_full_market_lane_keeps_the_newest_top_and_counts_shed_trades() {
    let lanes = lanes(3);
    for n in 1..=10 {
        lanes.push_market(&top(60_000 + n, Timestamp::from_ns(n.unsigned_abs())));
        lanes.push_market(&trade(60_000, 1, Timestamp::from_ns(n.unsigned_abs())));
    }
    let events = drain(&lanes);
    assert_eq!(events.len(), 5, "three queued, one newest top, one count: {events:?}");
    assert_eq!(events[3], Event::Market(top(60_010, Timestamp::from_ns(10))));
    let lost = FeedEvent::TradesLost { instrument: BTC, count: 9 };
    assert_eq!(events[4], Event::Feed(Timestamp::from_ns(99), lost));
    assert_eq!(lanes.status().trades_lost, 9);
    // Room again: nothing is conflated any more.
    lanes.push_market(&trade(60_000, 1, Timestamp::from_ns(11)));
    assert_eq!(drain(&lanes).len(), 1);
}

#[test]
fn v25_a_broken_book_is_asked_for_anew_once() {
    let lanes = Arc::new(lanes(3));
    let sink = MarketSink::new(lanes.clone());
    assert_eq!(keel_exchange::FeedSink::take_resync(&sink), None);
    lanes.ask_resync(BTC);
    lanes.ask_resync(BTC);
    assert_eq!(keel_exchange::FeedSink::take_resync(&sink), Some(BTC));
    assert_eq!(keel_exchange::FeedSink::take_resync(&sink), None);
}

#[test]
fn a_snapshot_takes_the_place_of_older_deltas_and_states_come_after_the_data() {
    let lanes = lanes(0);
    lanes.push_market(&delta(1, 2, &[(100, 1)]));
    let snapshot = BookSnapshot { instrument: BTC, last_update_id: 5, ..BookSnapshot::default() };
    lanes.push_market(&MarketEvent::BookSnapshot(snapshot.clone()));
    lanes.push_market(&delta(6, 6, &[(101, 2)]));
    let state = FeedEvent::State(StreamKind::Market(BTC), FeedState::Live);
    lanes.push_feed(Timestamp::from_ns(7), state);
    let expected = vec![
        Event::Market(MarketEvent::BookSnapshot(snapshot)),
        Event::Market(delta(6, 6, &[(101, 2)])),
        Event::Feed(Timestamp::from_ns(7), state),
    ];
    assert_eq!(drain(&lanes), expected);
}

#[test]
fn i14_a_delta_too_large_to_merge_is_given_up_and_the_stream_is_resyncing() {
    let lanes = lanes(0);
    for n in 0..6_000i64 {
        lanes.push_market(&delta(n.unsigned_abs() + 1, n.unsigned_abs() + 1, &[(n + 1, 1)]));
    }
    let events = drain(&lanes);
    let resyncing = FeedEvent::State(StreamKind::Market(BTC), FeedState::Resyncing);
    assert_eq!(events, vec![Event::Feed(Timestamp::from_ns(99), resyncing)]);
}

proptest! {
    #[test]
    fn merged_deltas_leave_the_same_book_as_single_ones(
        updates in proptest::collection::vec(proptest::collection::vec((1i64..20, 0i64..5), 1..5), 1..40),
        capacity in 0usize..6,
    ) {
        let lanes = lanes(capacity);
        let mut expected = BTreeMap::new();
        for (n, levels) in updates.iter().enumerate() {
            let id = n as u64 + 1;
            lanes.push_market(&delta(id, id, levels));
            expected.extend(levels.iter().copied());
        }
        let (mut book, mut last) = (BTreeMap::new(), 0);
        for event in drain(&lanes) {
            let Event::Market(MarketEvent::BookDelta(delta)) = event else { panic!("only deltas went in") };
            prop_assert_eq!(delta.first_update_id, last + 1, "no gap");
            last = delta.last_update_id;
            for level in delta.bids {
                book.insert(level.price.mantissa(), level.quantity.mantissa());
            }
        }
        prop_assert_eq!(book, expected);
        prop_assert_eq!(last, updates.len() as u64);
    }
}

#[test]
fn spent_books_are_used_again_and_keep_nothing_of_their_past() {
    let lanes = lanes(8);
    lanes.push_market(&delta(1, 1, &[(1, 1), (2, 2), (3, 3)]));
    let mut spent: Vec<MarketEvent> =
        drain(&lanes).into_iter().map(|event| if let Event::Market(m) = event { m } else { panic!() }).collect();
    lanes.recycle(&mut spent);
    assert!(spent.is_empty());
    lanes.push_market(&delta(2, 2, &[(9, 9)]));
    assert_eq!(drain(&lanes), vec![Event::Market(delta(2, 2, &[(9, 9)]))]);
}

// ── Simulated venue ──

#[derive(Default)]
struct Heard {
    reports: Mutex<Vec<ExecutionReport>>,
    balances: AtomicU64,
    is_live: Mutex<Option<FeedState>>,
}

impl AccountSink for Heard {
    fn on_report(&self, report: ExecutionReport) {
        self.reports.lock().push(report);
    }
    fn on_balances(&self, _balances: Vec<Balance>, _ts_event: Timestamp) {
        self.balances.fetch_add(1, Ordering::SeqCst);
    }
    fn on_state(&self, state: FeedState, _ts: Timestamp) {
        *self.is_live.lock() = Some(state);
    }
}

fn new_order(sequence: u64, intent: OrderIntent) -> NewOrder {
    let client_order_id = ClientOrderId { instance: 1, epoch: 1, sequence };
    NewOrder { client_order_id, strategy: StrategyId(0), ts_decided: Timestamp::ZERO, intent }
}

#[tokio::test]
async fn the_simulated_venue_fills_our_orders_from_the_market_it_is_shown() {
    let clock = Clock::system();
    let money = [("USDT".parse().unwrap(), Notional::from_int(100_000))];
    let venue = SimulatedVenue::new(Arc::new(instruments()), &money, SimConfig::default(), clock.clone()).unwrap();
    let (client, heard, stop) = (venue.client(), Arc::new(Heard::default()), CancellationToken::new());
    let feed = venue.account_feed();
    let sink: Arc<dyn AccountSink> = heard.clone();
    let token = stop.clone();
    let supervisor = keel_lifecycle::Supervisor::default();
    let task = supervisor
        .group("account")
        .spawn("feed", keel_lifecycle::TaskKind::Background, async move { feed.run(sink, token).await });
    until("the stream is up", || *heard.is_live.lock() == Some(FeedState::Live)).await;

    let quiet = Arc::new(lanes(16));
    let market = venue.feed_sink(Arc::new(MarketSink::new(quiet.clone())));
    let now = || Timestamp::from_ns(clock.now_ns());
    market.on_market(&top(60_000, now()));
    assert_eq!(quiet.status().market, 1, "what is matched is handed on");

    let sent = AtomicU64::new(0);
    let order = new_order(1, buy(59_990, OrderPurpose::Entry));
    let outcome = client.submit(&order, &|_| sent.store(1, Ordering::SeqCst)).await;
    assert!(matches!(outcome, SubmitOutcome::Accepted(ref ack) if ack.status == OrderStatus::New), "{outcome:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    assert_eq!(client.open_orders(None).await.unwrap().len(), 1);

    // The market falls through our price.
    market.on_market(&trade(59_980, 1_000_000, now()));
    until("filled", || heard.reports.lock().iter().any(|report| report.status == OrderStatus::Filled)).await;
    let fills = client.fills(BTC, Timestamp::ZERO).await.unwrap();
    assert_eq!(fills.len(), 1);
    assert_eq!(fills[0].0, Some(order.client_order_id));
    assert_eq!(fills[0].1.quantity, order.intent.quantity);
    let query = QueryOrder { client_order_id: order.client_order_id, instrument: BTC };
    assert!(matches!(client.query(&query).await, QueryOutcome::Found(found) if found.status == OrderStatus::Filled));
    let held = client.balances().await.unwrap();
    assert!(held.iter().any(|balance| balance.asset.as_str() == "BTC"), "{held:?}");
    assert!(heard.balances.load(Ordering::SeqCst) > 0);

    // Cancels, refusals, what it never had, and the end.
    let order = new_order(2, buy(59_000, OrderPurpose::Entry));
    assert!(matches!(client.submit(&order, &|_| {}).await, SubmitOutcome::Accepted(_)));
    let cancel = CancelOrder { client_order_id: order.client_order_id, venue_order_id: None, instrument: BTC };
    assert!(matches!(client.cancel(&cancel).await, CancelOutcome::Canceled(o) if o.status == OrderStatus::Canceled));
    assert!(
        matches!(client.cancel(&cancel).await, CancelOutcome::Rejected(r) if r.reason == RejectReason::UnknownOrder)
    );
    let dear = OrderIntent { quantity: Quantity::new(900, 0).unwrap(), ..buy(59_000, OrderPurpose::Entry) };
    let outcome = client.submit(&new_order(3, dear), &|_| {}).await;
    assert!(matches!(outcome, SubmitOutcome::Rejected(r) if r.reason == RejectReason::InsufficientFunds));
    let query = QueryOrder { client_order_id: new_order(4, dear).client_order_id, instrument: BTC };
    assert!(matches!(client.query(&query).await, QueryOutcome::NotFound { venue_time_before: Some(_) }));
    client.close().await.unwrap();
    assert!(matches!(client.submit(&order, &|_| {}).await, SubmitOutcome::NotSent(NotSentReason::Closed)));
    stop.cancel();
    task.ended().await;
    assert_eq!(*heard.is_live.lock(), Some(FeedState::Down));
}

#[tokio::test]
async fn the_inline_engine_trades_on_the_sockets_own_task() {
    use keel_exchange::FeedSink as _;
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(2)).await;
    run.inline.on_market(&top(60_000, run.now()));
    assert_eq!(run.lanes.status().market, 1, "before recovery, data waits in the lane");
    run.trade().await;
    until("the lane is empty", || run.lanes.status().market == 0).await;
    run.inline.on_market(&top(60_000, run.now()));
    assert_eq!(run.lanes.status().market, 0, "nothing was handed over");
    run.inline.on_market(&top(60_001, run.now()));
    until("two orders", || venue.open().len() == 2).await;
    assert!(run.handle.settled(SOON).await);
    run.end().await;
}

#[tokio::test]
async fn r04_a_flood_of_quotes_reaches_the_engine_conflated_and_order_news_are_not_lost() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(3)).await;
    run.trade().await;
    for _ in 0..50_000 {
        run.quote();
    }
    until("three orders in spite of the flood", || venue.open().len() == 3).await;
    until("all acked", || run.handle.status().open_orders.iter().filter(|order| order.state == "Live").count() == 3)
        .await;
    let status = run.lanes.status();
    assert!(status.conflated > 0 && status.execution_lost == 0, "{status:?}");
    assert!(run.handle.settled(SOON).await);
    run.end().await;
}
