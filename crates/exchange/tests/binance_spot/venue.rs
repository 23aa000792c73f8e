//! Client and feeds against the simulated venue: the whole way of an order, and the venue's bad days.

use crate::server::{PATIENCE, buy, id, until};
use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotClient, BinanceSpotConfig, Credentials};
use keel_exchange::{AccountFeed, AccountSink, ExchangeClient, ExchangeError, FeedSink, MarketDataFeed, Subscription};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_marketdata::OrderBook;
use keel_model::{
    Asset, Balance, CancelOrder, CancelOutcome, ExecType, ExecutionReport, FeedState, InstrumentId, InstrumentStatus,
    Instruments, MarketEvent, NewOrder, Notional, OrderIntent, OrderPurpose, OrderStatus, OrderType, Price, QueryOrder,
    QueryOutcome, RejectReason, ReplaceOrder, Side, StreamKind, SubmitOutcome, Timestamp, UnknownReason,
};
use keel_venue::{
    AccountConfig, FaultEffect, FaultMoment, FaultTarget, RequestFault, StreamTarget, VenueConfig, VenueContext,
    VenueHandle, VenueServer,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
const PRIVATE_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

#[derive(Debug, Default)]
struct Seen {
    books: Mutex<BTreeMap<u32, Book>>,
    trades: Mutex<u64>,
    market_states: Mutex<Vec<FeedState>>,
    reports: Mutex<Vec<ExecutionReport>>,
    balances: Mutex<BTreeMap<String, Balance>>,
    account_states: Mutex<Vec<FeedState>>,
    transfers: Mutex<Vec<(Asset, Notional)>>,
}

#[derive(Debug)]
struct Book {
    book: OrderBook,
    deltas: u64,
    errors: Vec<String>,
}

impl FeedSink for Seen {
    fn on_market(&self, event: &MarketEvent) {
        let id = event.instrument();
        let mut books = self.books.lock();
        let entry =
            books.entry(id.0).or_insert_with(|| Book { book: OrderBook::new(id), deltas: 0, errors: Vec::new() });
        let applied = match event {
            MarketEvent::BookSnapshot(snapshot) => entry.book.apply_snapshot(snapshot).map(|_| ()),
            MarketEvent::BookDelta(delta) => {
                entry.deltas += 1;
                entry.book.apply_delta(delta).map(|_| ())
            }
            MarketEvent::TopOfBook(top) => entry.book.apply_top(top).map(|_| ()),
            MarketEvent::Trade(_) => {
                *self.trades.lock() += 1;
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = applied {
            entry.errors.push(error.to_string());
        }
    }
    fn on_state(&self, stream: StreamKind, state: FeedState, _ts: Timestamp) {
        if stream == StreamKind::Market(InstrumentId(0)) {
            self.market_states.lock().push(state);
        }
    }
}

impl AccountSink for Seen {
    fn on_report(&self, report: ExecutionReport) {
        self.reports.lock().push(report);
    }
    fn on_balances(&self, balances: Vec<Balance>, _ts_event: Timestamp) {
        let mut known = self.balances.lock();
        for balance in balances {
            known.insert(balance.asset.as_str().to_owned(), balance);
        }
    }
    fn on_transfer(&self, asset: Asset, change: Notional, _ts_event: Timestamp) {
        self.transfers.lock().push((asset, change));
    }
    fn on_state(&self, state: FeedState, _ts: Timestamp) {
        self.account_states.lock().push(state);
    }
}

type Task = JoinHandle<Result<(), ExchangeError>>;

/// A venue with one account, a client of it and both feeds.
struct Rig {
    handle: VenueHandle,
    client: BinanceSpotClient,
    seen: Arc<Seen>,
    instruments: Arc<Instruments>,
    stop: CancellationToken,
    market: Task,
    account: Task,
    ledger: ResourceLedger,
}

fn account() -> AccountConfig {
    AccountConfig::hmac(KEY, SECRET)
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(|_| {}, |_| {}).await
    }

    async fn start_with(venue: impl FnOnce(&mut VenueConfig), change: impl FnOnce(&mut BinanceSpotConfig)) -> Self {
        let mut settings = VenueConfig::synthetic(0, 11);
        settings.accounts = vec![account()];
        venue(&mut settings);
        let handle = VenueServer::start(settings, VenueContext::standalone()).unwrap();
        let mut config = BinanceSpotConfig::loopback(handle.addr()).with_credentials(Credentials::hmac(KEY, SECRET));
        config.streams.backoff_min_ms = 10;
        config.streams.backoff_max_ms = 100;
        config.snapshot_levels = 5_000;
        change(&mut config);
        let ledger = ResourceLedger::default();
        let venue = BinanceSpot::new(config, Clock::system(), ledger.clone()).unwrap();
        let client = venue.client();
        let names = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
        let mut list = Instruments::new();
        for name in &names {
            let found = client.instruments(std::slice::from_ref(name)).await.unwrap();
            list.upsert(found[0].clone());
        }
        let instruments = Arc::new(list);
        client.set_instruments(instruments.clone());
        let all = |one: &keel_model::Instrument| Subscription {
            instrument: one.id,
            top_of_book: true,
            depth: true,
            trades: true,
        };
        let subscriptions = instruments.iter().map(all).collect();
        let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
        let feed = Box::new(venue.market_feed(instruments.clone(), subscriptions));
        let market = tokio::spawn(feed.run(seen.clone(), stop.clone()));
        let feed = Box::new(venue.account_feed(instruments.clone()).unwrap());
        let account = tokio::spawn(feed.run(seen.clone(), stop.clone()));
        let rig = Self { handle, client, seen, instruments, stop, market, account, ledger };
        rig.market_state(FeedState::Live).await;
        rig.account_states(&[FeedState::Live]).await;
        rig
    }

    async fn market_state(&self, expected: FeedState) {
        until(&format!("market {expected:?}"), || self.seen.market_states.lock().last() == Some(&expected)).await;
    }

    async fn account_states(&self, expected: &[FeedState]) {
        until(&format!("account {expected:?}"), || self.seen.account_states.lock().as_slice() == expected).await;
    }

    fn best(&self) -> (Price, Price) {
        let books = self.seen.books.lock();
        let book = &books[&0].book;
        (book.best_bid().unwrap().price, book.best_ask().unwrap().price)
    }

    async fn submit(&self, order: &NewOrder) -> SubmitOutcome {
        self.client.submit(order, &|_| {}).await
    }

    async fn query(&self, sequence: u64) -> QueryOutcome {
        self.client.query(&QueryOrder { client_order_id: id(sequence), instrument: InstrumentId(0) }).await
    }

    async fn cancel(&self, sequence: u64) -> CancelOutcome {
        let order = CancelOrder { client_order_id: id(sequence), venue_order_id: None, instrument: InstrumentId(0) };
        self.client.cancel(&order).await
    }

    async fn end(self) {
        self.stop.cancel();
        for task in [self.market, self.account] {
            tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
        }
        self.client.close().await.unwrap();
        assert_eq!(self.ledger.total(), 0, "{:?}", self.ledger.live());
        for book in self.seen.books.lock().values() {
            assert_eq!(book.errors, Vec::<String>::new());
        }
        let report = self.handle.stop(Duration::from_secs(5)).await;
        assert!(report.is_clean(), "{report:?}");
    }
}

fn market(sequence: u64, side: Side, quantity: &str) -> NewOrder {
    let mut order = buy(sequence, "1", "1");
    order.intent = OrderIntent::market(InstrumentId(0), side, quantity.parse().unwrap(), OrderPurpose::Entry);
    order
}

fn found(outcome: QueryOutcome) -> keel_model::OrderSnapshot {
    match outcome {
        QueryOutcome::Found(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn instruments_balances_books_and_trades_arrive() {
    let rig = Rig::start().await;
    let btc = rig.instruments.by_symbol("BTCUSDT").unwrap();
    assert_eq!((btc.status, btc.base.as_str(), btc.quote.as_str()), (InstrumentStatus::Trading, "BTC", "USDT"));
    assert!(btc.tick_size.is_positive() && btc.lot.max == "9000".parse().unwrap() && btc.min_notional.is_positive());
    let balances = rig.client.balances().await.unwrap();
    let of = |asset: &str| balances.iter().find(|balance| balance.asset.as_str() == asset).unwrap().free;
    assert_eq!(
        (of("USDT"), of("BTC"), of("ETH")),
        (Notional::from_int(100_000), Notional::from_int(2), Notional::from_int(20))
    );
    until("books move and trades come", || {
        rig.seen.books.lock().values().filter(|book| book.deltas >= 10).count() == 2 && *rig.seen.trades.lock() >= 4
    })
    .await;
    let (bid, ask) = rig.best();
    assert!(bid < ask);
    assert!(rig.seen.books.lock()[&0].book.is_live());
    rig.end().await;
}

#[tokio::test]
async fn v08_v09_a_market_order_fills_and_answer_stream_and_history_tell_the_same_fills() {
    let rig = Rig::start().await;
    let SubmitOutcome::Accepted(ack) = rig.submit(&market(1, Side::Buy, "0.50000")).await else { panic!() };
    assert_eq!(ack.status, OrderStatus::Filled);
    let answered: Vec<_> = ack.reports.iter().filter_map(|report| report.fill).collect();
    assert!(!answered.is_empty() && ack.reports.iter().all(|report| report.client_order_id == Some(id(1))));
    until("the stream tells the end", || {
        rig.seen.reports.lock().iter().any(|report| report.status == OrderStatus::Filled)
    })
    .await;
    let streamed: Vec<_> = rig.seen.reports.lock().iter().filter_map(|report| report.fill).collect();
    let ids = |fills: &[keel_model::Fill]| fills.iter().map(|fill| fill.trade_id).collect::<Vec<_>>();
    assert_eq!(ids(&streamed), ids(&answered));
    let history = rig.client.fills(InstrumentId(0), Timestamp::ZERO).await.unwrap();
    assert_eq!(history.iter().map(|(_, fill)| fill.trade_id).collect::<Vec<_>>(), ids(&answered));
    assert!(history.iter().all(|(owner, _)| *owner == Some(id(1))));
    for ((_, past), live) in history.iter().zip(&streamed) {
        assert_eq!(
            (past.price, past.quantity, past.fee, past.fee_asset),
            (live.price, live.quantity, live.fee, live.fee_asset)
        );
        assert_eq!((past.liquidity, past.side), (live.liquidity, live.side));
    }
    until("balances follow", || rig.seen.balances.lock().contains_key("BTC")).await;
    let streamed = rig.seen.balances.lock()["BTC"];
    let asked = rig.client.balances().await.unwrap();
    assert_eq!(asked.iter().find(|balance| balance.asset.as_str() == "BTC"), Some(&streamed));
    rig.end().await;
}

#[tokio::test]
async fn a_resting_order_is_found_listed_replaced_and_cancelled() {
    let rig = Rig::start().await;
    let order = buy(1, "50000.00", "0.01000");
    assert!(matches!(rig.submit(&order).await, SubmitOutcome::Accepted(ack) if ack.status == OrderStatus::New));
    let snapshot = found(rig.query(1).await);
    assert_eq!(
        (snapshot.status, snapshot.price, snapshot.quantity),
        (OrderStatus::New, order.intent.price, order.intent.quantity)
    );
    assert_eq!((snapshot.order_type, snapshot.client_order_id), (Some(OrderType::Limit), Some(id(1))));
    for scope in [None, Some(InstrumentId(0))] {
        let open = rig.client.open_orders(scope).await.unwrap();
        assert_eq!(open.iter().map(|order| order.client_order_id).collect::<Vec<_>>(), [Some(id(1))]);
    }
    assert!(rig.client.open_orders(Some(InstrumentId(1))).await.unwrap().is_empty());
    let cancel = CancelOrder { client_order_id: id(1), venue_order_id: None, instrument: InstrumentId(0) };
    let replace = ReplaceOrder { cancel, new: buy(2, "51000.00", "0.02000") };
    let outcome = rig.client.replace(&replace, &|info| assert_eq!(info.client_order_id, id(2))).await;
    assert!(
        matches!(&outcome.cancel, CancelOutcome::Canceled(order) if order.client_order_id == Some(id(1))),
        "{outcome:?}"
    );
    assert!(matches!(&outcome.new, SubmitOutcome::Accepted(_)), "{outcome:?}");
    assert!(matches!(rig.cancel(2).await, CancelOutcome::Canceled(order) if order.status == OrderStatus::Canceled));
    let CancelOutcome::Rejected(again) = rig.cancel(2).await else { panic!() };
    assert_eq!(again.reason, RejectReason::UnknownOrder);
    assert_eq!(found(rig.query(1).await).status, OrderStatus::Canceled);
    until("the stream tells both cancels", || {
        rig.seen.reports.lock().iter().filter(|report| report.exec_type == ExecType::Canceled).count() == 2
    })
    .await;
    let canceled: Vec<_> = rig
        .seen
        .reports
        .lock()
        .iter()
        .filter(|r| r.exec_type == ExecType::Canceled)
        .map(|r| r.client_order_id)
        .collect();
    assert_eq!(canceled, [Some(id(1)), Some(id(2))], "by the order's id, not by the cancel's");
    rig.end().await;
}

#[tokio::test]
async fn stop_orders_of_each_kind_are_accepted_and_told_as_what_they_are() {
    let rig = Rig::start().await;
    let base = buy(1, "70000.00", "0.01000");
    let kinds = [
        (OrderType::StopLoss, None, "80000"),
        (OrderType::StopLossLimit, Some("81000"), "80000"),
        (OrderType::TakeProfit, None, "40000"),
        (OrderType::TakeProfitLimit, Some("41000"), "40000"),
    ];
    for (at, (order_type, price, stop)) in kinds.into_iter().enumerate() {
        let mut order = NewOrder { client_order_id: id(at as u64 + 1), ..base };
        order.intent.order_type = order_type;
        order.intent.price = price.map(|text| text.parse().unwrap());
        order.intent.stop_price = Some(stop.parse().unwrap());
        let outcome = rig.submit(&order).await;
        assert!(matches!(outcome, SubmitOutcome::Accepted(_)), "{order_type:?}: {outcome:?}");
        let snapshot = found(rig.query(at as u64 + 1).await);
        assert_eq!((snapshot.order_type, snapshot.stop_price), (Some(order_type), order.intent.stop_price));
        assert!(matches!(rig.cancel(at as u64 + 1).await, CancelOutcome::Canceled(_)));
    }
    rig.end().await;
}

#[tokio::test]
async fn refusals_come_with_the_reason_that_decides_what_to_do() {
    let rig = Rig::start().await;
    let check = async |order: NewOrder, reason: RejectReason| match rig.submit(&order).await {
        SubmitOutcome::Rejected(reject) => assert_eq!(reject.reason, reason, "{reject:?}"),
        other => panic!("{reason:?}: {other:?}"),
    };
    check(buy(1, "50000.00", "9.00000"), RejectReason::InsufficientFunds).await;
    check(buy(2, "50000.001", "0.01000"), RejectReason::Filter).await;
    check(buy(3, "50000.00", "0.000001"), RejectReason::Filter).await;
    check(buy(4, "50000.00", "0.00002"), RejectReason::Filter).await;
    let mut crossing = buy(5, "65000.00", "0.01000");
    crossing.intent.order_type = OrderType::LimitMaker;
    check(crossing, RejectReason::WouldTake).await;
    let mut stop = buy(6, "50000.00", "0.01000");
    stop.intent.order_type = OrderType::StopLossLimit;
    stop.intent.stop_price = Some("50000".parse().unwrap());
    check(stop, RejectReason::WouldTrigger).await;
    assert!(matches!(rig.submit(&buy(7, "50000.00", "0.01000")).await, SubmitOutcome::Accepted(_)));
    check(buy(7, "50000.00", "0.01000"), RejectReason::DuplicateId).await;
    rig.end().await;
}

#[tokio::test]
async fn v01_v04_placements_of_unknown_outcome_are_found_by_asking() {
    let rig = Rig::start_with(|_| {}, |config| config.call_timeout_ms = 1_500).await;
    let faults = [
        (RequestFault::server_error_after_accept(1), UnknownReason::VenueUnsure),
        (RequestFault::hang_after_accept(1), UnknownReason::Timeout),
        (RequestFault::reset_after_accept(1), UnknownReason::ConnectionLost),
    ];
    for (at, (fault, reason)) in faults.into_iter().enumerate() {
        let sequence = at as u64 + 1;
        assert!(rig.handle.faults().request(fault));
        assert_eq!(rig.submit(&buy(sequence, "50000.00", "0.01000")).await, SubmitOutcome::Unknown(reason));
        assert_eq!(found(rig.query(sequence).await).status, OrderStatus::New);
    }
    assert_eq!(rig.handle.stats().orders, 3, "each was placed exactly once");
    let never = rig.query(99).await;
    assert!(matches!(never, QueryOutcome::NotFound { venue_time_before: Some(_) }), "{never:?}");
    // The same before execution: nothing is there, and the answer is just as unknown.
    let effect = FaultEffect::Error { status: 504, code: -1007, msg: "Timeout waiting for response".into() };
    let fault = RequestFault { target: FaultTarget::Placement, moment: FaultMoment::Before, effect, times: 1 };
    rig.handle.faults().request(fault);
    assert_eq!(rig.submit(&buy(4, "50000.00", "0.01000")).await, SubmitOutcome::Unknown(UnknownReason::VenueUnsure));
    assert!(matches!(rig.query(4).await, QueryOutcome::NotFound { .. }));
    rig.end().await;
}

#[tokio::test]
async fn v19_unknown_words_in_answers_are_unknown_outcomes_and_not_guesses() {
    let rig = Rig::start().await;
    let rewrite = |target, from: &str, to: &str| RequestFault {
        target,
        moment: FaultMoment::After,
        effect: FaultEffect::Rewrite { from: from.into(), to: to.into() },
        times: 1,
    };
    rig.handle.faults().request(rewrite(FaultTarget::Placement, "\"NEW\"", "\"FROZEN\""));
    assert_eq!(rig.submit(&buy(1, "50000.00", "0.01000")).await, SubmitOutcome::Unknown(UnknownReason::Unreadable));
    rig.handle.faults().request(rewrite(FaultTarget::Query, "\"NEW\"", "\"FROZEN\""));
    assert_eq!(rig.query(1).await, QueryOutcome::Unknown(UnknownReason::Unreadable));
    assert_eq!(found(rig.query(1).await).status, OrderStatus::New);
    rig.handle.faults().set_symbol_status("BTCUSDT", "PRE_AUCTION_9");
    let instruments = rig.client.instruments(&["BTCUSDT".to_owned()]).await.unwrap();
    assert_eq!(instruments[0].status, InstrumentStatus::Unknown);
    rig.end().await;
}

#[tokio::test]
async fn unknown_instruments_are_refused_with_their_names() {
    let rig = Rig::start().await;
    let error = rig.client.instruments(&["NOSUCHUSDT".to_owned()]).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Refused { code: -1121, .. }), "{error}");
    rig.end().await;
}

#[tokio::test]
async fn n13_lost_depth_updates_are_seen_and_the_book_is_in_step_again() {
    let rig = Rig::start().await;
    rig.handle.faults().skip_depth("BTCUSDT", 2);
    until("down and up again", || {
        rig.seen.market_states.lock().as_slice() == [FeedState::Live, FeedState::Resyncing, FeedState::Live]
    })
    .await;
    let deltas = rig.seen.books.lock()[&0].deltas;
    until("deltas flow", || rig.seen.books.lock()[&0].deltas > deltas + 5).await;
    rig.end().await;
}

#[tokio::test]
async fn n04_cut_streams_come_back_in_step_and_the_account_is_live_again() {
    let rig = Rig::start().await;
    assert_eq!(rig.handle.faults().cut(&StreamTarget::Market("btcusdt@trade".into())), 1);
    until("market back", || {
        rig.seen.market_states.lock().as_slice() == [FeedState::Live, FeedState::Down, FeedState::Live]
    })
    .await;
    assert_eq!(rig.handle.faults().cut(&StreamTarget::User(None)), 1);
    rig.account_states(&[FeedState::Live, FeedState::Down, FeedState::Live]).await;
    assert!(matches!(rig.submit(&market(1, Side::Sell, "0.10000")).await, SubmitOutcome::Accepted(_)));
    until("reports flow", || rig.seen.reports.lock().iter().any(|report| report.fill.is_some())).await;
    rig.end().await;
}

#[tokio::test]
async fn n09_a_venue_that_announces_its_shutdown_is_rolled_over_without_a_gap() {
    let rig = Rig::start_with(|_| {}, |config| config.streams.overlap_ms = 1_000).await;
    let before = rig.handle.stats().ws_connections;
    rig.handle.faults().announce_shutdown();
    until("both rolled over", || {
        let stats = rig.handle.stats();
        stats.ws_connections == before + 2 && stats.ws_open == 2
    })
    .await;
    let deltas = rig.seen.books.lock()[&0].deltas;
    until("deltas flow", || rig.seen.books.lock()[&0].deltas > deltas + 5).await;
    assert_eq!(*rig.seen.market_states.lock(), [FeedState::Live], "never anything else");
    assert_eq!(*rig.seen.account_states.lock(), [FeedState::Live, FeedState::Live], "the second one says: reconcile");
    rig.end().await;
}

#[tokio::test]
async fn t01_t02_a_venue_clock_that_jumps_is_measured_anew() {
    let rig = Rig::start().await;
    for (at, offset_ms) in [3_600_000, -86_400_000, 20_000].into_iter().enumerate() {
        rig.handle.faults().set_clock_offset_ms(offset_ms);
        let first = rig.submit(&buy(10 + at as u64, "50000.00", "0.01000")).await;
        let SubmitOutcome::Rejected(reject) = first else { panic!("{offset_ms}: {first:?}") };
        assert_eq!(reject.reason, RejectReason::Timestamp);
        let second = rig.submit(&buy(20 + at as u64, "50000.00", "0.01000")).await;
        assert!(matches!(second, SubmitOutcome::Accepted(_)), "{offset_ms}: {second:?}");
    }
    rig.end().await;
}

#[tokio::test]
async fn v15_v16_our_own_count_keeps_us_below_the_venues_limits() {
    let rig = Rig::start_with(|venue| venue.limits.orders_per_10s = 6, |_| {}).await;
    let mut accepted = 0;
    for sequence in 1..=30 {
        match rig.submit(&buy(sequence, "50000.00", "0.00100")).await {
            SubmitOutcome::Accepted(_) => accepted += 1,
            SubmitOutcome::NotSent(keel_model::NotSentReason::RateLimited) => {}
            other => panic!("the venue had to refuse: {other:?}"),
        }
    }
    assert!((6..=12).contains(&accepted), "{accepted}");
    assert!(matches!(rig.cancel(1).await, CancelOutcome::Canceled(_)), "cancels are not held up");
    rig.end().await;
}

#[tokio::test]
async fn v16_a_ban_is_honoured_and_said() {
    let rig = Rig::start().await;
    rig.handle.faults().ban(Duration::from_secs(300));
    let Err(ExchangeError::RateLimited { retry_after_ms, .. }) = rig.client.balances().await else { panic!() };
    assert!(retry_after_ms > 200_000, "{retry_after_ms}");
    let requests = rig.handle.stats().requests;
    for sequence in 1..=5 {
        assert!(matches!(rig.submit(&buy(sequence, "1", "1")).await, SubmitOutcome::NotSent(_)));
    }
    assert_eq!(rig.handle.stats().requests, requests, "not one more request");
    rig.end().await;
}

#[tokio::test]
async fn v23_a_revoked_key_is_an_authentication_reject_and_ends_the_account_feed() {
    let rig = Rig::start().await;
    assert!(rig.handle.faults().set_key_enabled(KEY, false));
    let SubmitOutcome::Rejected(reject) = rig.submit(&buy(1, "50000.00", "0.01000")).await else { panic!() };
    assert_eq!(reject.reason, RejectReason::Authentication);
    rig.handle.faults().cut(&StreamTarget::User(None));
    let ended = tokio::time::timeout(PATIENCE, rig.account).await.unwrap().unwrap();
    assert!(matches!(ended, Err(ExchangeError::Credentials { .. })), "{ended:?}");
    rig.stop.cancel();
    rig.market.await.unwrap().unwrap();
    rig.client.close().await.unwrap();
    assert_eq!(rig.ledger.total(), 0);
    rig.handle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn v21_a_deposit_from_outside_is_told_with_its_amount_and_the_balance() {
    let rig = Rig::start().await;
    assert!(rig.handle.faults().deposit(0, "USDT", Notional::from_int(5)));
    let five = [("USDT".parse().unwrap(), Notional::from_int(5))];
    until("the deposit", || *rig.seen.transfers.lock() == five).await;
    until("the new balance", || {
        rig.seen.balances.lock().get("USDT").is_some_and(|balance| balance.free == Notional::from_int(100_005))
    })
    .await;
    rig.end().await;
}

#[tokio::test]
async fn v14_an_order_that_the_venue_cancels_is_told() {
    let rig = Rig::start().await;
    let SubmitOutcome::Accepted(ack) = rig.submit(&buy(1, "50000.00", "0.01000")).await else { panic!() };
    assert!(rig.handle.faults().cancel_order(0, "BTCUSDT", ack.venue_order_id.as_str().parse().unwrap()));
    until("told", || {
        let reports = rig.seen.reports.lock();
        reports.iter().any(|report| report.status == OrderStatus::Canceled && report.client_order_id == Some(id(1)))
    })
    .await;
    rig.end().await;
}

#[tokio::test]
async fn an_ed25519_key_trades_and_streams() {
    use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePublicKey};
    let public = ed25519_dalek::SigningKey::from_pkcs8_pem(PRIVATE_PEM.trim()).unwrap().verifying_key();
    let public = public.to_public_key_pem(Default::default()).unwrap();
    let rig = Rig::start_with(
        |venue| venue.accounts = vec![AccountConfig::ed25519_pem(KEY, public)],
        |config| config.credentials = Some(Credentials::ed25519(KEY, PRIVATE_PEM)),
    )
    .await;
    assert!(matches!(rig.submit(&market(1, Side::Buy, "0.01000")).await, SubmitOutcome::Accepted(_)));
    until("reports flow", || rig.seen.reports.lock().iter().any(|report| report.fill.is_some())).await;
    rig.end().await;
}

#[tokio::test]
async fn n07_a_market_that_falls_silent_is_stale_and_live_again_when_it_speaks() {
    let rig = Rig::start_with(
        |_| {},
        |config| {
            config.streams.silence_min_ms = 700;
            config.streams.silence_max_ms = 20_000;
        },
    )
    .await;
    // A pace must be known first.
    until("a pace", || rig.seen.books.lock().get(&0).is_some_and(|book| book.deltas > 40)).await;
    rig.handle.faults().stall_market(true);
    rig.market_state(FeedState::Stale).await;
    rig.handle.faults().stall_market(false);
    rig.market_state(FeedState::Live).await;
    rig.end().await;
}
