//! The account against the books: what is taken over and told, what holds, and what a person does about it.

use super::*;
use keel_model::{BalanceCause, Finding, HoldCause, Settlement};

const ETH: InstrumentId = InstrumentId(1);

fn asset(name: &str) -> Asset {
    Asset::new(name).unwrap()
}

/// Takes over what the scripted venue says, once per reconciliation that is asked for, until nothing is asked any more.
struct Account {
    usdt: &'static str,
    btc: &'static str,
}

impl Desk {
    /// Answers every question that was asked with these balances and no fills.
    fn answer(&mut self, account: &Account) {
        let asked = std::mem::take(&mut self.effects);
        for effect in asked {
            match effect {
                Effect::FetchOpenOrders(None) => {
                    let open: Vec<OrderSnapshot> = self
                        .engine
                        .orders()
                        .open()
                        .map(|order| self.snapshot(order.id(), OrderStatus::New, &order.filled.to_string()))
                        .collect();
                    self.execution(ExecutionEvent::OpenOrders(None, open));
                }
                Effect::FetchFills(instrument, since) => {
                    self.execution(ExecutionEvent::FillsOf { instrument, since, fills: vec![] });
                }
                Effect::FetchBalances => self.balances(account.usdt, account.btc),
                _ => {}
            }
        }
    }

    /// Lets `ms` pass; the venue answers each question at once.
    fn run(&mut self, ms: u64, account: &Account) {
        for _ in 0..ms / 50 {
            self.answer(account);
            self.wait(50);
        }
    }

    fn held(&self) -> Vec<(InstrumentId, HoldCause)> {
        self.engine.holds().iter().map(|hold| (hold.instrument, hold.cause)).collect()
    }
}

/// Running, with USDT 100,000 and BTC 2, compared every five seconds.
fn desk() -> Desk {
    let mut desk = Desk::started_with(EngineConfig { reconcile_interval_ms: 5_000, ..config() });
    desk.run(6_000, &Account { usdt: "100000", btc: "2" });
    assert_eq!(desk.held(), []);
    desk
}

#[test]
fn v_21_a_balance_that_does_not_add_up_holds_its_instruments_and_says_what_to_do() {
    let mut desk = desk();
    let less = Account { usdt: "100000", btc: "1.5" };
    desk.run(12_000, &less);
    assert_eq!(desk.held(), [(BTC, HoldCause::Balance)]);
    let status = desk.engine.status();
    let [hold] = status.holds.as_slice() else { panic!("{:?}", status.holds) };
    assert_eq!(
        hold.reason,
        "BTC does not add up: expected 2, the venue says 1.5 (-0.5); nobody announced a deposit or withdrawal"
    );
    assert!(hold.remedy.contains("releasing the instrument takes the venue's figure over"));
    assert!(desk.notices.iter().any(|notice| matches!(notice, Notice::Mismatch(it) if it.change == money("-0.5"))));
    assert!(!desk.place(buy("0.01", "59000")).1, "no new exposure");
    let told = desk.notices.len();
    desk.run(12_000, &less);
    let again = desk.notices.iter().skip(told).filter(|notice| matches!(notice, Notice::Mismatch(_))).count();
    assert_eq!(again, 0, "told once");
    desk.command(Command::Release(BTC));
    desk.run(6_000, &less);
    assert_eq!(desk.held(), []);
    assert!(desk.place(buy("0.01", "59000")).1);
    desk.run(12_000, &Account { usdt: "100000", btc: "1.4" });
    assert_eq!(desk.held(), [(BTC, HoldCause::Balance)], "the figure that was taken over is what counts from then on");
}

#[test]
fn v_21_an_announced_deposit_or_withdrawal_is_told_and_adopted() {
    let mut desk = desk();
    let (btc, change, ts_event) = (asset("BTC"), money("0.5"), desk.ts());
    desk.execution(ExecutionEvent::Transfer { asset: btc, change, ts_event });
    assert!(desk.notices.contains(&Notice::BalanceChanged { asset: btc, change, cause: BalanceCause::Announced }));
    desk.run(12_000, &Account { usdt: "100000", btc: "2.5" });
    assert_eq!(desk.held(), []);
}

#[test]
fn v_21_a_change_of_one_asset_while_the_stream_was_away_is_told_and_adopted() {
    let mut desk = desk();
    desk.feed(StreamKind::Account, FeedState::Down);
    desk.wait(500);
    desk.feed(StreamKind::Account, FeedState::Live);
    desk.run(6_000, &Account { usdt: "90000", btc: "2" });
    assert_eq!(desk.held(), []);
    let (usdt, change) = (asset("USDT"), money("-10000"));
    assert!(desk.notices.contains(&Notice::BalanceChanged { asset: usdt, change, cause: BalanceCause::Outside }));
    let adopted =
        |notice: &Notice| matches!(notice, Notice::Found(Finding::Balance { total, .. }) if *total == money("90000"));
    assert!(desk.notices.iter().any(adopted), "it outlives a restart");
    assert_eq!(desk.engine.status().trading_state, TradingState::Active);
}

#[test]
fn o_06_a_trade_by_hand_while_we_were_away_holds_the_instrument() {
    let mut desk = desk();
    desk.feed(StreamKind::Account, FeedState::Down);
    desk.feed(StreamKind::Account, FeedState::Live);
    desk.run(6_000, &Account { usdt: "94000", btc: "2.1" });
    assert!(desk.held().contains(&(BTC, HoldCause::Balance)), "{:?}", desk.held());
    let status = desk.engine.status();
    assert!(
        status.holds[0].reason.contains("looks like a trade that is not in our books"),
        "{}",
        status.holds[0].reason
    );
}

#[test]
fn v_21_less_than_our_position_holds_even_after_a_gap() {
    let mut desk = desk();
    let id = desk.live(buy("0.1", "60000"));
    desk.fill(id, "0.1", "0.1", OrderStatus::Filled);
    desk.run(6_000, &Account { usdt: "94000", btc: "2.1" });
    assert_eq!(desk.held(), [], "our own trade adds up");
    desk.feed(StreamKind::Account, FeedState::Down);
    desk.feed(StreamKind::Account, FeedState::Live);
    desk.run(6_000, &Account { usdt: "94000", btc: "0.05" });
    assert_eq!(desk.held(), [(BTC, HoldCause::Position)]);
    assert!(desk.engine.status().holds[0].reason.contains("our position is 0.1 BTC, the venue has 0.05"));
}

#[test]
fn a_negative_balance_holds_at_once() {
    let mut desk = desk();
    desk.balances("100000", "-0.1");
    assert_eq!(desk.held(), [(BTC, HoldCause::Balance)]);
}

#[test]
fn rc_20_missed_trades_are_fetched_before_anything_is_judged() {
    let mut desk = desk();
    let id = desk.live(buy("0.1", "60000"));
    // The stream is silent about the fill (N-08); the next comparison asks for fills, and the balances fit them.
    desk.run(4_000, &Account { usdt: "100000", btc: "2" });
    desk.answer(&Account { usdt: "100000", btc: "2" });
    desk.wait(5_100);
    let asked = std::mem::take(&mut desk.effects);
    let since = asked.iter().find_map(|effect| match effect {
        Effect::FetchFills(BTC, since) => Some(*since),
        _ => None,
    });
    let fill = Fill {
        trade_id: TradeId::new("900").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("60000"),
        quantity: quantity("0.1"),
        fee: money("0.0001"),
        fee_asset: asset("BTC"),
        liquidity: Liquidity::Maker,
        ts_event: desk.ts(),
    };
    // Balances first: they do not add up yet.
    desk.balances("94000", "2.0999");
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    let fills = vec![(Some(id), fill)];
    desk.execution(ExecutionEvent::FillsOf { instrument: BTC, since: since.unwrap(), fills });
    desk.execution(ExecutionEvent::FillsOf { instrument: ETH, since: since.unwrap(), fills: vec![] });
    let found = desk.snapshot(id, OrderStatus::Filled, "0.1");
    desk.execution(ExecutionEvent::Query(id, QueryOutcome::Found(found)));
    desk.run(12_000, &Account { usdt: "94000", btc: "2.0999" });
    assert_eq!(desk.held(), []);
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"));
}

#[test]
fn v_11_the_cursor_follows_the_venues_clock_per_instrument_with_an_overlap() {
    let mut desk = Desk::started();
    let since_of = |desk: &mut Desk| {
        desk.effects.clear();
        desk.command(Command::Reconcile);
        let of = |id| {
            desk.effects.iter().find_map(move |effect| match effect {
                Effect::FetchFills(instrument, since) if *instrument == id => Some(*since),
                _ => None,
            })
        };
        (of(BTC).unwrap(), of(ETH).unwrap())
    };
    since_of(&mut desk);
    let fill = |trade: &str, at_ms: u64| Fill {
        trade_id: TradeId::new(trade).unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("60000"),
        quantity: quantity("0.01"),
        fee: Notional::ZERO,
        fee_asset: asset("USDT"),
        liquidity: Liquidity::Maker,
        ts_event: Timestamp::from_ms(at_ms),
    };
    // Ids that do not grow with time, and a venue whose clock runs an hour ahead of ours.
    let ahead = 1_700_003_600_000;
    let own = ClientOrderId { instance: 7, epoch: 1, sequence: 1 };
    let fills = vec![(Some(own), fill("9", ahead)), (Some(own), fill("3", ahead + 5))];
    desk.execution(ExecutionEvent::FillsOf { instrument: BTC, since: desk.ts(), fills: fills.clone() });
    desk.execution(ExecutionEvent::FillsOf { instrument: ETH, since: desk.ts(), fills: vec![] });
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    desk.balances("100000", "2");
    let (btc, eth) = since_of(&mut desk);
    assert_eq!(btc, Timestamp::from_ms(ahead + 5 - 10_000));
    assert!(eth < btc, "each instrument has a cursor of its own");
    // What comes again in the overlap is not booked again.
    let before = desk.engine.portfolio().position(BTC).quantity;
    desk.execution(ExecutionEvent::FillsOf { instrument: BTC, since: btc, fills });
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, before);
}

#[test]
fn t_03_after_standing_still_nothing_is_opened_before_the_venue_was_asked() {
    let mut desk = Desk::started();
    desk.command(Command::Reconcile);
    assert!(!desk.place(buy("0.01", "59000")).1);
    desk.answer(&Account { usdt: "100000", btc: "2" });
    assert!(desk.place(buy("0.01", "59000")).1);
}

#[test]
fn v_12_foreign_orders_are_told_and_hold_only_where_that_is_asked_for() {
    let foreign = |desk: &Desk| {
        let id = ClientOrderId { instance: 7, epoch: 3, sequence: 1 };
        OrderSnapshot { client_order_id: None, ..desk.snapshot(id, OrderStatus::New, "0") }
    };
    for holds_on_foreign in [false, true] {
        let mut desk = Desk::started_with(EngineConfig { holds_on_foreign, ..config() });
        desk.live(buy("0.01", "59000"));
        let order = foreign(&desk);
        desk.execution(ExecutionEvent::OpenOrders(None, vec![order]));
        assert!(desk.notices.iter().any(|notice| matches!(notice, Notice::Alarm { .. })));
        assert_eq!(desk.held(), if holds_on_foreign { vec![(BTC, HoldCause::Foreign)] } else { vec![] });
        assert!(desk.cancels().is_empty(), "left alone");
    }
}

#[test]
fn v_06_a_person_settles_an_order_that_nothing_accounts_for() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.1", "59000"));
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    let not_found = ExecutionEvent::Query(id, QueryOutcome::NotFound { venue_time_before: None });
    desk.execution(not_found.clone());
    desk.wait(60_000);
    desk.execution(not_found);
    assert_eq!(desk.held(), [(BTC, HoldCause::Missing)]);
    let settle = |filled: &str, at: Option<&str>| Command::Settle {
        client_order_id: id,
        settlement: Settlement::Ended { filled: quantity(filled), price: at.map(price) },
    };
    desk.command(Command::Settle { client_order_id: id, settlement: Settlement::NeverAccepted });
    assert!(matches!(desk.notices.last(), Some(Notice::SettleRefused { .. })), "the venue had it");
    desk.command(settle("0.04", None));
    let Some(Notice::SettleRefused { error }) = desk.notices.last() else { panic!() };
    assert!(error.to_string().contains("say at which average price"), "{error}");
    desk.command(settle("0.04", Some("59000")));
    assert_eq!(desk.engine.orders().get(id).unwrap().state, keel_execution::OrderState::Done);
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.04"));
    assert_eq!(desk.engine.risk().open_orders(), 0);
    desk.command(Command::Release(BTC));
    assert_eq!(desk.held(), []);
}

#[test]
fn v_06_an_order_at_work_cannot_be_settled() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.1", "59000"));
    desk.command(Command::Settle { client_order_id: id, settlement: Settlement::NeverAccepted });
    let Some(Notice::SettleRefused { error }) = desk.notices.last() else { panic!() };
    assert_eq!(error.to_string(), format!("order {id} works at the venue; cancel it instead of settling it"));
}

#[test]
fn v_06_a_settlement_and_holds_outlive_a_restart_and_let_the_start_go_on() {
    let id = ClientOrderId { instance: 7, epoch: 2, sequence: 1 };
    let ts = Timestamp::from_ms(1_699_999_000_000);
    let new = NewOrder { client_order_id: id, strategy: StrategyId(0), ts_decided: ts, intent: buy("0.1", "59000") };
    let venue_order_id = VenueOrderId::new("v1").unwrap();
    let ack = SubmitAck { venue_order_id, ts_event: ts, status: OrderStatus::New, reports: vec![] };
    let hold = keel_model::Hold { instrument: BTC, cause: HoldCause::Missing, since: ts, reason: "why".into() };
    let mut records = vec![
        RecoveredRecord::Intent(ts, new),
        RecoveredRecord::Event(ts, ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack))),
        RecoveredRecord::Finding(ts, Finding::Held(hold.clone())),
    ];
    let start = |records: &[RecoveredRecord]| {
        let mut desk = Desk::new(config());
        desk.engine.recover(records.to_vec(), desk.ts(), &mut desk.out);
        desk.drain();
        desk.effects.clear();
        desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
        for instrument in [BTC, ETH] {
            desk.execution(ExecutionEvent::FillsOf { instrument, since: ts, fills: vec![] });
        }
        desk.balances("100000", "2");
        desk
    };
    let before = start(&records);
    assert_eq!(before.engine.start_blocker(), Some(StartBlocker::Unresolved(1)));
    assert_eq!(before.engine.status().holds[0].reason, "why");
    let settlement = Settlement::Ended { filled: Quantity::ZERO, price: None };
    records.push(RecoveredRecord::Command(ts, Command::Settle { client_order_id: id, settlement }));
    let settled = start(&records);
    assert_eq!(settled.engine.start_blocker(), None);
    assert_eq!(settled.held(), [(BTC, HoldCause::Missing)], "settled, but nobody has released the instrument");
    records.push(RecoveredRecord::Command(ts, Command::Release(BTC)));
    assert_eq!(start(&records).held(), []);
}

#[test]
fn v_21_a_difference_found_at_the_start_is_judged_before_trading_begins() {
    let ts = Timestamp::from_ms(1_699_999_000_000);
    let total = |name: &str, total: &str| {
        let (change, cause) = (Notional::ZERO, BalanceCause::First);
        let (asset, total) = (asset(name), money(total));
        RecoveredRecord::Finding(ts, Finding::Balance { asset, total, change, cause, as_of: ts })
    };
    let mut desk = Desk::new(config());
    desk.engine.recover([total("BTC", "2"), total("USDT", "100000")], desk.ts(), &mut desk.out);
    desk.drain();
    let differs = Account { usdt: "94000", btc: "2.1" };
    desk.answer(&differs);
    assert_eq!(desk.engine.start_blocker(), Some(StartBlocker::Doubt));
    desk.run(1_000, &differs);
    assert_eq!(desk.engine.start_blocker(), None);
    assert!(desk.held().contains(&(BTC, HoldCause::Balance)), "a trade that nobody of us made");
    assert!(desk.held().contains(&(ETH, HoldCause::Balance)), "its quote asset is the same");
}

#[test]
fn bad_input_negative_quantities_and_trades_out_of_order_lose_nothing_and_hold() {
    let mut desk = desk();
    let id = desk.live(buy("0.1", "60000"));
    desk.fill(id, "0.06", "0.1", OrderStatus::PartiallyFilled);
    desk.fill(id, "0.04", "0.06", OrderStatus::PartiallyFilled);
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"), "order does not matter");
    assert_eq!(desk.held(), []);
    let fill = Fill {
        trade_id: TradeId::new("bad").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("60000"),
        quantity: quantity("-0.1"),
        fee: Notional::ZERO,
        fee_asset: asset("USDT"),
        liquidity: Liquidity::Maker,
        ts_event: desk.ts(),
    };
    desk.execution(ExecutionEvent::FillsOf { instrument: BTC, since: desk.ts(), fills: vec![(Some(id), fill)] });
    assert_eq!(desk.held(), [(BTC, HoldCause::Order)]);
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"), "not booked");
}

#[test]
fn bad_input_a_fill_of_an_order_never_sent_is_booked_adopted_and_holds() {
    let mut desk = desk();
    let never = ClientOrderId { instance: 7, epoch: 3, sequence: 4_711 };
    let fill = Fill {
        trade_id: TradeId::new("77").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("60000"),
        quantity: quantity("0.1"),
        fee: Notional::ZERO,
        fee_asset: asset("USDT"),
        liquidity: Liquidity::Maker,
        ts_event: desk.ts(),
    };
    desk.execution(ExecutionEvent::FillsOf { instrument: BTC, since: desk.ts(), fills: vec![(Some(never), fill)] });
    assert_eq!(
        desk.engine.portfolio().position(BTC).quantity,
        quantity("0.1"),
        "a fill with our prefix is never dropped"
    );
    assert_eq!(desk.held(), [(BTC, HoldCause::Order)]);
}

/// Places what it is told to, and remembers what it holds by its own account.
#[derive(Debug)]
struct Holder {
    name: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Strategy for Holder {
    fn name(&self) -> &str {
        self.name
    }
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(BTC)]
    }
    fn on_start(&mut self, ctx: &mut Context<'_>) {
        let own = ctx.own_position(BTC).quantity.normalized();
        self.seen.lock().unwrap().push(format!("{} {own} of {}", self.name, ctx.position(BTC).quantity.normalized()));
    }
}

/// Starts strategies of these names on records of an earlier run; answers what each saw and what is nobody's.
fn start_holders(names: &[&'static str], records: Vec<RecoveredRecord>) -> (Vec<String>, String) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let strategies: Vec<Box<dyn Strategy>> =
        names.iter().map(|name| Box::new(Holder { name, seen: Arc::clone(&seen) }) as Box<dyn Strategy>).collect();
    let mut engine = Engine::new(config(), strategies).unwrap();
    let (mut out, now) = (Outbox::new(), Timestamp::from_ms(1_700_000_000_000));
    engine.recover(records, now, &mut out);
    let tell = |engine: &mut Engine, event| engine.process(&Event::Execution(now, event), &mut Outbox::new());
    tell(&mut engine, ExecutionEvent::OpenOrders(None, vec![]));
    for instrument in [BTC, ETH] {
        tell(&mut engine, ExecutionEvent::FillsOf { instrument, since: now, fills: vec![] });
    }
    let free = |name: &str, free: &str| Balance { asset: asset(name), free: money(free), locked: Notional::ZERO };
    let balances = vec![free("BTC", "5"), free("USDT", "100000")];
    tell(&mut engine, ExecutionEvent::Balances { complete: true, balances, ts_event: now });
    engine.process(&Event::Command(now, Command::Start), &mut out);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let nobodys = engine.status().positions.first().map(|it| it.unattributed.normalized().to_string());
    (seen, nobodys.unwrap_or_default())
}

#[test]
fn two_strategies_on_one_instrument_find_their_own_part_after_a_restart_and_what_is_nobodys_is_told() {
    let ts = Timestamp::from_ms(1_699_999_000_000);
    let mut records = vec![
        RecoveredRecord::Session(ts),
        RecoveredRecord::Strategies(vec!["one@BTCUSDT".into(), "two@BTCUSDT".into()]),
    ];
    for (sequence, strategy, side, size) in
        [(1, 0, Side::Buy, "0.3"), (2, 1, Side::Buy, "0.1"), (3, 0, Side::Sell, "0.1"), (4, 1, Side::Buy, "0.05")]
    {
        let id = ClientOrderId { instance: 7, epoch: 2, sequence };
        let intent = OrderIntent::limit(BTC, side, quantity(size), price("60000"), OrderPurpose::Entry);
        let new = NewOrder { client_order_id: id, strategy: StrategyId(strategy), ts_decided: ts, intent };
        let fill = Fill {
            trade_id: TradeId::new(&sequence.to_string()).unwrap(),
            instrument: BTC,
            side,
            price: price("60000"),
            quantity: quantity(size),
            fee: Notional::ZERO,
            fee_asset: asset("USDT"),
            liquidity: Liquidity::Maker,
            ts_event: ts,
        };
        records.push(RecoveredRecord::Intent(ts, new));
        records.push(RecoveredRecord::Event(ts, ExecutionEvent::Fills(vec![(Some(id), fill)])));
    }
    let (seen, nobodys) = start_holders(&["one", "two"], records.clone());
    assert_eq!((seen, nobodys), (vec!["one 0.2 of 0.35".into(), "two 0.15 of 0.35".into()], "0".into()));
    // In another order, each still finds its own.
    let (seen, nobodys) = start_holders(&["two", "one"], records.clone());
    assert_eq!((seen, nobodys), (vec!["two 0.15 of 0.35".into(), "one 0.2 of 0.35".into()], "0".into()));
    // One that is no more leaves its part to nobody; the other does not take it.
    let (seen, nobodys) = start_holders(&["two"], records.clone());
    assert_eq!((seen, nobodys), (vec!["two 0.15 of 0.35".into()], "0.2".into()));
    // Over a snapshot, too.
    let mut engine = Engine::new(config(), vec![]).unwrap();
    engine.recover(records, ts, &mut Outbox::new());
    assert_eq!(engine.owners().unattributed().map(|(_, held)| held).collect::<Vec<_>>(), [quantity("0.35")]);
}

/// Running, long 1 BTC, with an order of `side` at work that the venue then does not know any more.
fn with_missing(side: Side, size: &str, at: &str) -> (Desk, ClientOrderId) {
    let mut desk = Desk::started();
    for _ in 0..2 {
        let id = desk.live(buy("0.1", "60000"));
        desk.fill(id, "0.1", "0.1", OrderStatus::Filled);
    }
    let purpose = if side == Side::Buy { OrderPurpose::Entry } else { OrderPurpose::Exit };
    let id = desk.live(OrderIntent::limit(BTC, side, quantity(size), price(at), purpose));
    desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
    let not_found = ExecutionEvent::Query(id, QueryOutcome::NotFound { venue_time_before: None });
    desk.execution(not_found.clone());
    desk.wait(60_000);
    desk.execution(not_found);
    desk.quote("60000", "60000.01");
    desk.effects.clear();
    (desk, id)
}

/// The market orders that were sent: side and quantity.
fn closings(desk: &Desk) -> Vec<(Side, String)> {
    let of = |effect: &Effect| match effect {
        Effect::Submit(order) if order.intent.order_type == OrderType::Market => {
            Some((order.intent.side, order.intent.quantity.normalized().to_string()))
        }
        _ => None,
    };
    desk.effects.iter().filter_map(of).collect()
}

#[test]
fn s_03_flatten_does_not_wait_for_a_missing_order_and_closes_what_is_certain() {
    // A buy that may have filled cannot have closed anything: the whole position is certain.
    let (mut desk, _) = with_missing(Side::Buy, "0.1", "59000");
    desk.command(Command::Wind(ExitPolicy::Flatten));
    desk.wait(500);
    let sold: Vec<(Side, String)> = closings(&desk);
    assert_eq!(
        sold.first().map(|(side, _)| *side),
        Some(Side::Sell),
        "{:?} {:?}",
        desk.engine.wind_progress(),
        desk.notices.iter().rev().take(4).collect::<Vec<_>>()
    );
    // A sell of half of it may have closed that half: only the other half is certain.
    let (mut desk, id) = with_missing(Side::Sell, "0.12", "61000");
    desk.command(Command::Wind(ExitPolicy::Flatten));
    desk.wait(500);
    assert_eq!(closings(&desk), [(Side::Sell, "0.08".to_owned())]);
    let closing = desk.engine.orders().open().find(|order| order.id() != id).unwrap().id();
    desk.ack(closing);
    desk.fill(closing, "0.08", "0.08", OrderStatus::Filled);
    desk.wait(500);
    assert!(desk.engine.is_wound(), "{:?}", desk.engine.wind_progress());
    let progress = desk.engine.wind_progress().unwrap();
    assert_eq!((progress.orders_missing, progress.positions_left), (1, 0), "it stays told");
    let status = desk.engine.status();
    assert_eq!((status.open_orders.len(), status.open_orders[0].state.as_str()), (1, MISSING));
    assert_eq!(status.positions[0].quantity, quantity("0.12"));
}

#[test]
fn p_19_twenty_crashes_during_recovery_in_a_row_still_converge() {
    let ts = Timestamp::from_ms(1_699_999_000_000);
    let id = ClientOrderId { instance: 7, epoch: 1, sequence: 1 };
    let new = NewOrder { client_order_id: id, strategy: StrategyId(0), ts_decided: ts, intent: buy("0.1", "60000") };
    let mut records = vec![RecoveredRecord::Intent(ts, new)];
    let fill = Fill {
        trade_id: TradeId::new("1").unwrap(),
        instrument: BTC,
        side: Side::Buy,
        price: price("60000"),
        quantity: quantity("0.1"),
        fee: Notional::ZERO,
        fee_asset: asset("USDT"),
        liquidity: Liquidity::Maker,
        ts_event: ts,
    };
    let mut starts = 0;
    loop {
        let mut settings = config();
        settings.execution.epoch = 2 + starts;
        let mut desk = Desk::new(settings);
        desk.now_ms += u64::from(starts) * 1_000;
        desk.engine.recover(records.clone(), desk.ts(), &mut desk.out);
        desk.drain();
        let since = desk.ts();
        let found = OrderSnapshot { cum_quantity: quantity("0.1"), ..desk.snapshot(id, OrderStatus::Filled, "0.1") };
        // What the venue answers to each start; each crash comes after one more of the answers.
        let answers = [
            ExecutionEvent::OpenOrders(None, vec![]),
            ExecutionEvent::Query(id, QueryOutcome::Found(found)),
            ExecutionEvent::FillsOf { instrument: BTC, since, fills: vec![(Some(id), fill)] },
            ExecutionEvent::FillsOf { instrument: ETH, since, fills: vec![] },
        ];
        let until = if starts < 20 { starts as usize % (answers.len() + 1) } else { answers.len() };
        for answer in answers.into_iter().take(until) {
            records.push(RecoveredRecord::Event(desk.ts(), answer.clone()));
            desk.execution(answer);
        }
        starts += 1;
        if starts <= 20 {
            assert_ne!(desk.engine.start_blocker(), None, "no start before everything is told");
            continue;
        }
        desk.balances("94000", "2.1");
        desk.command(Command::Start);
        assert!(desk.notices.contains(&Notice::Started), "{:?}", desk.engine.start_blocker());
        assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.1"), "once");
        assert_eq!((desk.engine.orders().open_count(), desk.held()), (0, vec![]));
        return;
    }
}
