//! Parents under random orders of events, lost and repeated answers, refusals, price moves, and crashes that lose the tail of
//! the journal; judged by the venue's own books.
//!
//! `KEEL_PARENT_CASES=100000 cargo test -p keel-engine --release parents::random` runs more cases than the usual 256.

use super::*;
use keel_model::{CancelOrder, Liquidity};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, VecDeque};

/// An order at the venue.
#[derive(Clone, Copy, Debug)]
struct Working {
    intent: OrderIntent,
    cum: Quantity,
    is_open: bool,
    is_canceled: bool,
}

impl Working {
    fn leaves(&self) -> Quantity {
        if self.is_open { self.intent.quantity.checked_sub(self.cum).unwrap() } else { Quantity::ZERO }
    }
}

enum Request {
    Submit(NewOrder),
    Cancel(CancelOrder),
}

/// The engine, its journal, and a venue that does whatever the steps say.
struct World {
    engine: Engine,
    out: Outbox,
    now_ms: u64,
    bid: &'static str,
    epoch: u32,
    script: Arc<Mutex<Script>>,
    journal: Vec<RecoveredRecord>,
    /// Records up to here are durable: an order that has reached the venue is behind them.
    durable: usize,
    requests: VecDeque<(usize, Request)>,
    answers: VecDeque<ExecutionEvent>,
    orders: BTreeMap<ClientOrderId, Working>,
    trades: Vec<(ClientOrderId, Fill)>,
    told: Vec<ParentNews>,
    refusals: u32,
}

const BIDS: [&str; 6] = ["57000", "59000", "60000", "61500", "63000", "64000"];

impl World {
    fn new() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let mut world = Self {
            engine: Self::engine(1, &script),
            out: Outbox::new(),
            now_ms: 1_700_000_000_000,
            bid: "60000",
            epoch: 1,
            script,
            journal: Vec::new(),
            durable: 0,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            orders: BTreeMap::new(),
            trades: Vec::new(),
            told: Vec::new(),
            refusals: 0,
        };
        world.recover();
        world
    }

    fn engine(epoch: u32, script: &Arc<Mutex<Script>>) -> Engine {
        let mut config = config();
        config.execution.epoch = epoch;
        Engine::new(config, vec![Box::new(Scripted { script: Arc::clone(script) })]).unwrap()
    }

    fn ts(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms)
    }

    /// Starts from the journal; the venue answers each question.
    fn recover(&mut self) {
        self.engine.recover(self.journal.clone(), self.ts(), &mut self.out);
        self.drain();
        for _ in 0..2_000 {
            self.deliver_all();
            self.quote();
            if self.engine.start_blocker().is_none() {
                break;
            }
            self.now_ms += 100;
            self.event(Event::Timer(self.ts()));
        }
        self.event(Event::Command(self.ts(), Command::Start));
        assert_eq!(self.engine.start_blocker(), None, "the start must succeed once the venue has answered");
    }

    /// The process is gone; of the journal at least what is durable is left, and nothing that was not sent was sent.
    fn crash(&mut self, keep: u16) {
        let extra = self.journal.len() - self.durable;
        self.journal.truncate(self.durable + usize::from(keep) % (extra + 1));
        self.durable = self.journal.len();
        self.requests.clear();
        self.answers.clear();
        self.epoch += 1;
        self.now_ms += 2_000;
        self.engine = Self::engine(self.epoch, &self.script);
        self.out = Outbox::new();
        self.recover();
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::Execution(ts, execution) => self.journal.push(RecoveredRecord::Event(*ts, execution.clone())),
            Event::Command(ts, command) => self.journal.push(RecoveredRecord::Command(*ts, command.clone())),
            _ => {}
        }
        self.engine.process(&event, &mut self.out);
        self.drain();
    }

    fn execution(&mut self, event: ExecutionEvent) {
        self.event(Event::Execution(self.ts(), event));
    }

    fn quote(&mut self) {
        self.now_ms += 1;
        let level = |at: &str| Level { price: price(at), quantity: quantity("1") };
        let ask = price(self.bid).checked_add(price("0.01")).unwrap().to_string();
        let (bid, ask) = (level(self.bid), level(&ask));
        let top = TopOfBook { instrument: BTC, ts_event: Timestamp::ZERO, ts_recv: self.ts(), update_id: 0, bid, ask };
        self.event(Event::Market(MarketEvent::TopOfBook(top)));
    }

    /// What the engine asks for goes on its way; what must survive goes into the journal, in the order in which it is told.
    fn drain(&mut self) {
        let effects: Vec<_> = self.out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Submit(order) => {
                    let order = order.into_inner();
                    self.journal.push(RecoveredRecord::Intent(order.ts_decided, order));
                    self.requests.push_back((self.journal.len(), Request::Submit(order)));
                }
                Effect::Replace(_) => unreachable!("the venue has none"),
                Effect::Cancel(cancel) => self.requests.push_back((0, Request::Cancel(cancel))),
                Effect::Query(query) => {
                    let id = query.client_order_id;
                    let found = self.orders.contains_key(&id).then(|| self.snapshot(id));
                    // An order that is still on its way has not been seen by the venue: the clock before the question was early.
                    let is_under_way = self.is_under_way(id);
                    let late = Timestamp::from_ms(self.now_ms + 60_000);
                    let outcome = match found {
                        Some(found) => QueryOutcome::Found(found),
                        None => QueryOutcome::NotFound { venue_time_before: (!is_under_way).then_some(late) },
                    };
                    self.answers.push_back(ExecutionEvent::Query(id, outcome));
                }
                Effect::FetchOpenOrders(_) => {
                    let open = self.orders.iter().filter(|(_, order)| order.is_open).map(|(id, _)| *id);
                    let open = open.map(|id| self.snapshot(id)).collect();
                    self.answers.push_back(ExecutionEvent::OpenOrders(None, open));
                }
                Effect::FetchFills(instrument, _) => {
                    let of = |(id, fill): &(ClientOrderId, Fill)| (Some(*id), *fill);
                    let fills = self.trades.iter().filter(|(_, fill)| fill.instrument == instrument).map(of).collect();
                    self.answers.push_back(ExecutionEvent::Fills(fills));
                }
                Effect::FetchBalances => {
                    let balances = self.balances();
                    self.answers.push_back(balances);
                }
                Effect::Notify(Notice::ParentRecord(record)) => {
                    self.journal.push(RecoveredRecord::Parent(self.ts(), record));
                }
                Effect::Notify(Notice::Found(finding)) => {
                    self.journal.push(RecoveredRecord::Finding(self.ts(), finding));
                }
                Effect::Notify(Notice::Parent { news, .. }) => self.told.push(news),
                Effect::Notify(_) => {}
            }
        }
    }

    fn is_under_way(&self, id: ClientOrderId) -> bool {
        self.requests.iter().any(|(_, it)| matches!(it, Request::Submit(order) if order.client_order_id == id))
    }

    fn balances(&self) -> ExecutionEvent {
        let (mut btc, mut usdt) = (money("2"), money("1000000"));
        for (_, fill) in &self.trades {
            let (base, quote) = (Notional::from(fill.quantity), Notional::of(fill.price, fill.quantity));
            match fill.side {
                Side::Buy => (btc, usdt) = (btc.checked_add(base).unwrap(), usdt.checked_sub(quote).unwrap()),
                Side::Sell => (btc, usdt) = (btc.checked_sub(base).unwrap(), usdt.checked_add(quote).unwrap()),
            }
        }
        let balance =
            |name: &str, free: Notional| Balance { asset: Asset::new(name).unwrap(), free, locked: Notional::ZERO };
        let balances = vec![balance("USDT", usdt), balance("BTC", btc)];
        ExecutionEvent::Balances { complete: true, balances, ts_event: self.ts() }
    }

    fn snapshot(&self, id: ClientOrderId) -> OrderSnapshot {
        let order = self.orders[&id];
        let status = match (order.is_open, order.is_canceled) {
            (true, _) if order.cum.is_zero() => OrderStatus::New,
            (true, _) => OrderStatus::PartiallyFilled,
            (false, true) => OrderStatus::Canceled,
            (false, false) => OrderStatus::Filled,
        };
        OrderSnapshot {
            client_order_id: Some(id),
            venue_order_id: venue_id(id),
            instrument: BTC,
            side: order.intent.side,
            order_type: Some(order.intent.order_type),
            time_in_force: Some(order.intent.time_in_force),
            status,
            quantity: order.intent.quantity,
            price: order.intent.price,
            stop_price: order.intent.stop_price,
            cum_quantity: order.cum,
            cum_quote: None,
            ts_event: self.ts(),
        }
    }

    /// The next request reaches the venue. `mood` decides what it does with it and whether its answer arrives.
    fn serve(&mut self, mood: u16) {
        let Some((index, request)) = self.requests.pop_front() else { return };
        self.durable = self.durable.max(index);
        match request {
            Request::Submit(order) => {
                let id = order.client_order_id;
                if mood % 8 == 1 {
                    self.refusals += 1;
                    let would_trigger = order.intent.stop_price.is_some() && mood % 16 == 1;
                    let reason = if would_trigger { RejectReason::WouldTrigger } else { RejectReason::TooManyOrders };
                    let reject = Reject { reason, code: -2010, text: ReasonText::EMPTY };
                    self.answers.push_back(ExecutionEvent::Submit(id, SubmitOutcome::Rejected(reject)));
                    return;
                }
                let signed_at = order.ts_decided;
                self.execution(ExecutionEvent::Sent { client_order_id: id, signed_at, recv_window_ms: 5_000 });
                let working = Working { intent: order.intent, cum: Quantity::ZERO, is_open: true, is_canceled: false };
                assert!(self.orders.insert(id, working).is_none(), "{id} came twice");
                let ack = SubmitAck {
                    venue_order_id: venue_id(id),
                    ts_event: self.ts(),
                    status: OrderStatus::New,
                    reports: vec![],
                };
                let outcome = match mood % 8 {
                    2 => SubmitOutcome::Unknown(UnknownReason::Timeout),
                    _ => SubmitOutcome::Accepted(ack),
                };
                if mood % 8 != 3 {
                    self.answers.push_back(ExecutionEvent::Submit(id, outcome));
                }
                if order.intent.order_type == OrderType::Market {
                    self.fill(id, order.intent.quantity);
                }
            }
            Request::Cancel(cancel) => {
                let id = cancel.client_order_id;
                let outcome = match self.orders.get_mut(&id) {
                    Some(order) if order.is_open => {
                        (order.is_open, order.is_canceled) = (false, true);
                        CancelOutcome::Canceled(self.snapshot(id))
                    }
                    _ => CancelOutcome::Rejected(Reject {
                        reason: RejectReason::UnknownOrder,
                        code: -2011,
                        text: ReasonText::EMPTY,
                    }),
                };
                let outcome = if mood % 8 == 2 { CancelOutcome::Unknown(UnknownReason::Timeout) } else { outcome };
                self.answers.push_back(ExecutionEvent::Cancel(id, outcome));
            }
        }
    }

    /// The venue fills a part of an order.
    fn fill(&mut self, id: ClientOrderId, size: Quantity) {
        let number = self.trades.len() + 1;
        let (ts, now) = (self.ts(), self.bid);
        let Some(order) = self.orders.get_mut(&id).filter(|order| order.is_open) else { return };
        order.cum = order.cum.checked_add(size).unwrap();
        order.is_open = order.cum < order.intent.quantity;
        let order = *order;
        let fill = Fill {
            trade_id: TradeId::new(&number.to_string()).unwrap(),
            instrument: BTC,
            side: order.intent.side,
            price: order.intent.price.unwrap_or(price(now)),
            quantity: size,
            fee: Notional::ZERO,
            fee_asset: Asset::new("USDT").unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: ts,
        };
        self.trades.push((id, fill));
        self.answers.push_back(ExecutionEvent::Report(ExecutionReport {
            exec_type: ExecType::Trade,
            client_order_id: Some(id),
            venue_order_id: venue_id(id),
            instrument: BTC,
            side: order.intent.side,
            status: if order.is_open { OrderStatus::PartiallyFilled } else { OrderStatus::Filled },
            quantity: order.intent.quantity,
            price: order.intent.price,
            cum_quantity: order.cum,
            fill: Some(fill),
            ts_event: ts,
            ts_recv: ts,
            text: ReasonText::EMPTY,
        }));
        self.answers.push_back(self.balances());
    }

    fn fill_some(&mut self, choice: u16) {
        let open: Vec<_> = self.orders.iter().filter(|(_, order)| order.is_open).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[usize::from(choice) % open.len()];
        let leaves = self.orders[&id].leaves();
        let third = keel_model::parent::part_of(leaves, 1, 3).rescale(5).unwrap_or(leaves);
        let size = if choice.is_multiple_of(2) || !third.is_positive() { leaves } else { third };
        self.fill(id, size);
    }

    fn answer(&mut self, choice: u16, is_repeated: bool) {
        if self.answers.is_empty() {
            return;
        }
        let at = usize::from(choice) % self.answers.len().min(3);
        let event = if is_repeated { self.answers.get(at).cloned() } else { self.answers.remove(at) };
        if let Some(event) = event {
            self.execution(event);
        }
    }

    fn deliver_all(&mut self) {
        for _ in 0..10_000 {
            match self.answers.pop_front() {
                Some(event) => self.execution(event),
                None => return,
            }
        }
        panic!("no end of answers");
    }

    fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            self.event(Event::Timer(self.ts()));
        }
        self.quote();
    }

    /// Everything that is under way arrives, nothing more is refused, and time passes.
    fn quiesce(&mut self) {
        for _ in 0..400 {
            while !self.requests.is_empty() {
                self.serve(0);
            }
            self.deliver_all();
            self.wait(300);
        }
    }

    fn filled(&self, side: Side) -> Quantity {
        let of = |(_, fill): &&(ClientOrderId, Fill)| fill.side == side;
        self.trades
            .iter()
            .filter(of)
            .map(|(_, fill)| fill.quantity)
            .fold(Quantity::ZERO, |a, b| a.checked_add(b).unwrap())
    }

    fn working(&self, side: Side) -> Quantity {
        let open = self.orders.values().filter(|order| order.intent.side == side).map(Working::leaves);
        open.fold(Quantity::ZERO, |a, b| a.checked_add(b).unwrap())
    }

    fn step(&mut self, kind: u8, choice: u16) {
        match kind {
            0..=2 => self.serve(choice),
            3..=5 => self.answer(choice, false),
            6 => self.answer(choice, true),
            7..=8 => self.fill_some(choice),
            9 => self.bid = BIDS[usize::from(choice) % BIDS.len()],
            10..=11 => self.wait(100 + u64::from(choice % 20) * 100),
            12 if choice.is_multiple_of(4) => self.crash(choice / 4),
            13 if choice.is_multiple_of(8) => self.end_parent(choice.is_multiple_of(16)),
            _ => self.quote(),
        }
    }

    fn end_parent(&mut self, is_closing: bool) {
        let id = self.script.lock().unwrap().parents.last().copied();
        if let Some(id) = id {
            self.script.lock().unwrap().end_parents.push((id, is_closing));
            self.quote();
        }
    }
}

fn venue_id(id: ClientOrderId) -> VenueOrderId {
    VenueOrderId::new(&format!("v{}-{}", id.epoch, id.sequence)).unwrap()
}

fn plans() -> [ParentPlan; 7] {
    [
        bracket().into(),
        bracket().target(price("63000")).into(),
        bracket().target(price("63000")).entry_timeout_ms(3_000).into(),
        Twap::new(BTC, Side::Buy, quantity("0.1"), 10_000)
            .slices(7)
            .limit(price("60500"))
            .randomise_bps(5_000, 3)
            .into(),
        Twap::new(BTC, Side::Buy, quantity("0.1"), 5_000).slices(3).into(),
        Iceberg::new(BTC, Side::Buy, quantity("0.1"), price("60000"), quantity("0.03")).randomise_bps(3_000, 9).into(),
        Oco::entry(BTC, Side::Buy, quantity("0.1"), price("59000"), price("61000")).into(),
    ]
}

fn check_always(world: &World, plan: &ParentPlan) {
    let bought = world.filled(Side::Buy);
    let total = bought.checked_add(world.working(Side::Buy)).unwrap();
    // Both legs of an OCO may fill; each of them only once.
    let legs = if matches!(plan, ParentPlan::Oco(_)) { 2 } else { 1 };
    assert!(
        total <= plan.quantity().checked_mul_int(legs).unwrap(),
        "bought {bought}, working {}",
        world.working(Side::Buy)
    );
    let sold = world.filled(Side::Sell).checked_add(world.working(Side::Sell)).unwrap();
    assert!(sold <= bought, "sold or for sale {sold}, bought {bought}");
}

fn check_at_end(world: &World, plan: &ParentPlan) {
    let held = world.filled(Side::Buy).checked_sub(world.filled(Side::Sell)).unwrap();
    assert_eq!(world.engine.portfolio().position(BTC).quantity, held, "each fill counts once");
    assert_eq!(world.engine.orders().unresolved_count(), 0);
    if matches!(plan, ParentPlan::Oco(_)) {
        let bought = world.filled(Side::Buy);
        let is_told = world.told.iter().any(|news| matches!(news, ParentNews::Overfilled { .. }));
        assert!(bought < plan.quantity() || world.working(Side::Buy).is_zero(), "one is done, the other is gone");
        assert_eq!(bought > plan.quantity(), is_told, "an over-fill is told");
    }
    if !matches!(plan, ParentPlan::Bracket(_)) {
        return;
    }
    let is_dust = Notional::of(price("57000"), held) < money("6");
    let has_given_up = world.told.iter().any(|news| matches!(news, ParentNews::GaveUp { .. }));
    let parent = world.engine.status().parents.first().map(|parent| parent.unprotected);
    let covered = world.working(Side::Sell);
    assert!(
        is_dust || covered == held || has_given_up || parent.is_some_and(|it| it.is_positive()),
        "held {held}, exits {covered}, told {:?}, parents {:?}",
        world.told,
        world.engine.status().parents
    );
    if !has_given_up && !is_dust {
        assert_eq!(
            covered,
            held,
            "nothing is refused any more, so it must be protected: {:?}",
            world.engine.status().parents
        );
    }
}

fn run(plan: &ParentPlan, steps: &[(u8, u16)]) {
    let mut world = World::new();
    world.script.lock().unwrap().plans.push(*plan);
    world.quote();
    for (kind, choice) in steps {
        world.step(*kind, *choice);
        check_always(&world, plan);
    }
    world.quiesce();
    check_always(&world, plan);
    check_at_end(&world, plan);
}

#[test]
fn s_05_an_entry_that_filled_before_the_crash_is_protected_after_it() {
    for lost in [0, 1, 2, 3] {
        let mut world = World::new();
        world.script.lock().unwrap().plans.push(bracket().into());
        world.quote();
        world.serve(0);
        world.deliver_all();
        world.fill_some(0);
        if lost > 0 {
            // The fill was heard and the stop decided; its intent may or may not be in the journal, and nothing left.
            world.deliver_all();
        }
        world.crash(lost);
        world.serve(0);
        let stop = world.orders.values().find(|order| order.intent.side == Side::Sell).expect("a stop at the venue");
        assert_eq!((stop.intent.quantity, stop.intent.stop_price), (quantity("0.1"), Some(price("58000"))));
        world.quiesce();
        check_at_end(&world, &bracket().into());
        assert_eq!(world.working(Side::Sell), quantity("0.1"), "once and not twice");
    }
}

#[test]
fn both_legs_of_an_oco_are_kept_over_a_crash_and_the_end_of_one_ends_the_other() {
    let plan: ParentPlan = Oco::entry(BTC, Side::Buy, quantity("0.1"), price("59000"), price("61000")).into();
    let mut world = World::new();
    world.script.lock().unwrap().plans.push(plan);
    world.quote();
    world.serve(0);
    world.serve(0);
    world.deliver_all();
    world.crash(7);
    assert_eq!(world.working(Side::Buy), quantity("0.2"), "both work on");
    assert!(world.requests.is_empty());
    world.fill_some(0);
    world.crash(0);
    world.quiesce();
    check_at_end(&world, &plan);
    assert!(world.working(Side::Buy).is_zero());
    assert_eq!(world.told.last(), Some(&ParentNews::Ended(ParentEnd::Completed)));
}

#[test]
fn v_07_v_08_v_09_v_10_v_11_n_14_parents_keep_their_promises_in_any_order_of_events_and_over_crashes() {
    let cases = std::env::var("KEEL_PARENT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let steps = proptest::collection::vec((0u8..14, any::<u16>()), 1..150);
    runner
        .run(&(0usize..7, steps), |(plan, steps)| {
            run(&plans()[plan], &steps);
            Ok(())
        })
        .unwrap();
}
