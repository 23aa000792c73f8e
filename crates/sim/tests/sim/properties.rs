//! What holds for every sequence of requests: money is conserved, locks are exact, books are not crossed, priority is kept,
//! prevention prevents, and the same requests give the same events.

use crate::world::*;
use keel_model::{ExecType, OrderType, Side, TimeInForce};
use keel_sim::{
    AccountId, AmendRequest, CancelRequest, ClientId, FeeModel, HistoryLimits, MatchingEngine, OcoLeg, OcoRequest,
    OrderRef, OrderRequest, OrderSize, OrderState, OrderView, SimConfig, SimEvent, StpMode,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Debug)]
enum Action {
    Place { who: usize, buy: bool, kind: u8, size: i64, level: i64, trigger: i64, tif: u8, stp: u8 },
    Cancel { who: usize, nth: usize },
    CancelAll { who: usize },
    Amend { who: usize, nth: usize, size: i64 },
    Oco { who: usize, buy: bool, size: i64, gap: i64 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..3usize, any::<bool>(), 0..8u8, 1..400i64, 0..40i64, 0..40i64, 0..3u8, 0..5u8).prop_map(
            |(who, buy, kind, size, level, trigger, tif, stp)| Action::Place { who, buy, kind, size, level, trigger, tif, stp }
        ),
        2 => (0..3usize, 0..10usize).prop_map(|(who, nth)| Action::Cancel { who, nth }),
        1 => (0..3usize).prop_map(|who| Action::CancelAll { who }),
        1 => (0..3usize, 0..10usize, 1..400i64).prop_map(|(who, nth, size)| Action::Amend { who, nth, size }),
        2 => (0..3usize, any::<bool>(), 1..400i64, 1..20i64).prop_map(|(who, buy, size, gap)| Action::Oco { who, buy, size, gap }),
    ]
}

fn cents(level: i64) -> keel_model::Price {
    keel_model::Price::new(100_000 + level, 2).unwrap()
}
fn steps(size: i64) -> keel_model::Quantity {
    keel_model::Quantity::new(size, 3).unwrap()
}

struct Run {
    engine: MatchingEngine,
    accounts: Vec<AccountId>,
    events: Vec<SimEvent>,
    now: u64,
}

impl Run {
    fn new() -> Self {
        let fees = FeeModel { maker: quantity("0.00075"), taker: quantity("0.001") };
        let limits = HistoryLimits { closed_orders_max: 40, ..HistoryLimits::default() };
        let mut engine = MatchingEngine::new(SimConfig { fees, limits, ..SimConfig::default() });
        let mut rules = instrument();
        (rules.min_notional, rules.max_open_algo_orders) = (money("0"), 6);
        engine.add_instrument(rules).unwrap();
        let funds = [(asset("BTC"), money("2")), (asset("USDT"), money("2000"))];
        let accounts = (0..3).map(|_| engine.add_account(&funds).unwrap()).collect();
        Self { engine, accounts, events: Vec::new(), now: 0 }
    }

    fn act(&mut self, action: &Action) {
        self.now += 1;
        let now = at(self.now);
        match *action {
            Action::Place { who, buy, kind, size, level, trigger, tif, stp } => {
                let request = place(buy, kind, size, level, trigger, tif, stp);
                self.engine.submit(now, self.accounts[who], &request).ok();
            }
            Action::Cancel { who, nth } => {
                if let Some(order) = self.nth_open(who, nth) {
                    let request = CancelRequest::new(ID, OrderRef::Id(order.order_id));
                    self.engine.cancel(now, self.accounts[who], &request).unwrap();
                }
            }
            Action::CancelAll { who } => {
                self.engine.cancel_all(now, self.accounts[who], ID, &mut Vec::new()).ok();
                assert_eq!(self.engine.open_order_count(self.accounts[who], ID), 0);
            }
            Action::Amend { who, nth, size } => {
                if let Some(order) = self.nth_open(who, nth) {
                    let (order, quantity) = (OrderRef::Id(order.order_id), steps(size));
                    let request =
                        AmendRequest { instrument: ID, order, quantity, new_client_order_id: ClientId::EMPTY };
                    self.engine.amend(now, self.accounts[who], &request).ok();
                }
            }
            Action::Oco { who, buy, size, gap } => {
                let Some(last) = self.engine.last_price(ID) else { return };
                let offset = |ticks: i64| last.checked_add(keel_model::Price::new(ticks, 2).unwrap()).unwrap();
                let request = oco(buy, size, offset(gap), offset(-gap));
                self.engine.submit_oco(now, self.accounts[who], &request).ok();
            }
        }
        self.events.clear();
        self.engine.drain_events(&mut self.events);
    }

    fn nth_open(&self, who: usize, nth: usize) -> Option<OrderView> {
        let open: Vec<_> = self.engine.open_orders(self.accounts[who], ID).collect();
        (!open.is_empty()).then(|| open[nth % open.len()])
    }
}

fn place(buy: bool, kind: u8, size: i64, level: i64, trigger: i64, tif: u8, stp: u8) -> OrderRequest {
    let side = if buy { Side::Buy } else { Side::Sell };
    let order_type = [
        OrderType::Limit,
        OrderType::Limit,
        OrderType::Limit,
        OrderType::LimitMaker,
        OrderType::Market,
        OrderType::StopLoss,
        OrderType::StopLossLimit,
        OrderType::TakeProfitLimit,
    ][kind as usize];
    let size = match order_type {
        OrderType::Market if tif == 2 => OrderSize::Quote(steps(size * 1_000)),
        _ => OrderSize::Base(steps(size)),
    };
    OrderRequest {
        order_type,
        size,
        time_in_force: [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok][tif as usize],
        price: order_type.has_price().then(|| cents(level)),
        stop_price: order_type.has_stop_price().then(|| cents(trigger)),
        stp_mode: Some(
            [StpMode::None, StpMode::ExpireMaker, StpMode::ExpireTaker, StpMode::ExpireBoth, StpMode::Decrement]
                [stp as usize],
        ),
        ..OrderRequest::market(ID, side, steps(1))
    }
}

fn oco(buy: bool, size: i64, above: keel_model::Price, below: keel_model::Price) -> OcoRequest {
    let leg = |order_type: OrderType, at| OcoLeg {
        client_order_id: ClientId::EMPTY,
        order_type,
        time_in_force: TimeInForce::Gtc,
        price: order_type.has_price().then_some(at),
        stop_price: order_type.has_stop_price().then_some(at),
    };
    let (upper, lower) = if buy {
        (OrderType::StopLossLimit, OrderType::LimitMaker)
    } else {
        (OrderType::LimitMaker, OrderType::StopLossLimit)
    };
    OcoRequest {
        list_client_order_id: ClientId::EMPTY,
        instrument: ID,
        side: if buy { Side::Buy } else { Side::Sell },
        quantity: steps(size),
        above: leg(upper, above),
        below: leg(lower, below),
        stp_mode: None,
    }
}

fn assert_conserved(run: &Run) {
    assert_eq!(run.engine.supply(asset("BTC")), money("6"));
    assert_eq!(run.engine.supply(asset("USDT")), money("6000"));
    for account in &run.accounts {
        for balance in run.engine.balances(*account) {
            assert!(!balance.free.is_negative() && !balance.locked.is_negative(), "{balance:?}");
        }
    }
}

fn assert_not_crossed(run: &Run) {
    let top = run.engine.book_ticker(ID).unwrap();
    if top.bid.quantity.is_positive() && top.ask.quantity.is_positive() {
        assert!(top.bid.price < top.ask.price, "{top:?}");
    }
}

/// What is locked is what open orders need; a pending list needs the larger of its legs, once.
fn assert_locks(run: &Run) {
    for account in &run.accounts {
        let mut needs: BTreeMap<&str, keel_model::Notional> = BTreeMap::new();
        let mut lists: HashMap<u64, Vec<(&str, keel_model::Notional)>> = HashMap::new();
        for order in run.engine.open_orders(*account, ID) {
            let left = order.remaining();
            let (name, need) = match order.side {
                Side::Sell => ("BTC", keel_model::Notional::from(left)),
                Side::Buy => {
                    let at = if order.price.is_positive() { order.price } else { order.stop_price };
                    ("USDT", keel_model::Notional::of(at, left))
                }
            };
            match order.list_id {
                Some(list) => lists.entry(list).or_default().push((name, need)),
                None => {
                    let sum = needs.entry(name).or_default();
                    *sum = sum.checked_add(need).unwrap();
                }
            }
        }
        for legs in lists.into_values() {
            let (name, need) = legs.into_iter().max_by_key(|(_, need)| *need).unwrap();
            let sum = needs.entry(name).or_default();
            *sum = sum.checked_add(need).unwrap();
        }
        for name in ["BTC", "USDT"] {
            let locked = run.engine.balance(*account, asset(name)).locked;
            assert_eq!(locked, needs.get(name).copied().unwrap_or_default(), "{name} of {account:?}");
        }
    }
}

/// The makers of one request are filled from the best price on, and at one price in the order of their ids unless a
/// triggered order came later to the level; levels' totals are the sums of their orders.
fn assert_levels(run: &Run) {
    let mut totals: BTreeMap<(Side, keel_model::Price), keel_model::Quantity> = BTreeMap::new();
    for account in &run.accounts {
        for order in run.engine.open_orders(*account, ID).filter(|order| order.is_working) {
            let total = totals.entry((order.side, order.price)).or_default();
            *total = total.checked_add(order.remaining()).unwrap();
        }
    }
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    run.engine.depth(ID, 1_000, &mut bids, &mut asks).unwrap();
    let shown: BTreeMap<_, _> = bids
        .iter()
        .map(|level| ((Side::Buy, level.price), level.quantity))
        .chain(asks.iter().map(|level| ((Side::Sell, level.price), level.quantity)))
        .collect();
    assert_eq!(shown, totals);
}

fn assert_reports(run: &Run) {
    let mut buyers: HashMap<u64, (AccountId, StpMode, bool)> = HashMap::new();
    for event in &run.events {
        let SimEvent::Execution(report) = event else { continue };
        let order = &report.order;
        assert!(order.cum_quantity <= order.quantity);
        if order.state == OrderState::Filled {
            assert_eq!(order.cum_quantity.checked_add(order.prevented_quantity).unwrap(), order.quantity);
        }
        if order.time_in_force == TimeInForce::Fok && order.order_type == OrderType::Limit && !order.state.is_open() {
            let is_whole = order.cum_quantity == order.quantity || order.cum_quantity.is_zero();
            assert!(is_whole, "fill or kill: {order:?}");
        }
        if let (ExecType::Trade, Some(id)) = (report.exec_type, report.trade_id) {
            if order.order_type == OrderType::LimitMaker {
                assert!(report.is_maker, "post-only took");
            }
            if order.price.is_positive() {
                let is_within = match order.side {
                    Side::Buy => report.last_price <= order.price,
                    Side::Sell => report.last_price >= order.price,
                };
                assert!(is_within, "traded beyond its limit: {report:?}");
            }
            // Both sides of each trade are reported; the taker's mode decides.
            match buyers.remove(&id) {
                None => {
                    buyers.insert(id, (order.account, order.stp_mode, report.is_maker));
                }
                Some((account, mode, other_is_maker)) => {
                    assert_ne!(other_is_maker, report.is_maker);
                    let taker_mode = if other_is_maker { order.stp_mode } else { mode };
                    assert!(account != order.account || taker_mode == StpMode::None, "traded with itself");
                }
            }
        }
    }
    assert!(buyers.is_empty(), "a trade has two sides");
}

fn assert_priority(run: &Run) {
    // Within one taker order, prices only get worse.
    let mut last: Option<(u64, Side, keel_model::Price)> = None;
    for event in &run.events {
        let SimEvent::Execution(report) = event else { continue };
        if report.exec_type != ExecType::Trade || report.is_maker {
            continue;
        }
        let current = (report.order.order_id, report.order.side, report.last_price);
        if let Some((id, side, before)) = last.filter(|(id, ..)| *id == current.0) {
            let is_worse = if side == Side::Buy { current.2 >= before } else { current.2 <= before };
            assert!(is_worse, "order {id} got {before} and then {}", current.2);
        }
        last = Some(current);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_holds_after_every_request(actions in prop::collection::vec(action(), 1..120)) {
        let mut run = Run::new();
        for action in &actions {
            run.act(action);
            assert_conserved(&run);
            assert_not_crossed(&run);
            assert_locks(&run);
            assert_levels(&run);
            assert_reports(&run);
            assert_priority(&run);
        }
    }

    #[test]
    fn the_same_requests_give_the_same_events(actions in prop::collection::vec(action(), 1..80)) {
        let (mut a, mut b) = (Run::new(), Run::new());
        for action in &actions {
            a.act(action);
            b.act(action);
            prop_assert_eq!(&a.events, &b.events);
        }
    }

    #[test]
    fn equal_prices_are_served_in_the_order_they_came(sizes in prop::collection::vec(1..50i64, 2..9), taken in 1..200i64) {
        let mut w = World::new();
        let makers: Vec<_> = sizes.iter().map(|size| {
            w.submit(w.alice, OrderRequest::limit(ID, Side::Sell, steps(*size), price("10000"))).unwrap()
        }).collect();
        w.submit(w.bob, OrderRequest::market(ID, Side::Buy, steps(taken.max(5)))).unwrap();
        let mut left = taken.max(5);
        for (maker, size) in makers.iter().zip(&sizes) {
            let filled = left.min(*size);
            prop_assert_eq!(w.order(maker).cum_quantity, steps(filled));
            left -= filled;
        }
    }
}
