//! What holds in a recorded market whatever is recorded and ordered: locks are exact, nobody owes, what an account owns is
//! what its trades say, nothing rests against liquidity that is still to be had, queues never exceed what is shown, and
//! never more is filled than the market traded or showed.

use crate::world::*;
use keel_model::{
    BookDelta, BookSnapshot, ExecType, Level, MarketEvent, Notional, OrderType, Price, Quantity, Side, TimeInForce,
    TopOfBook, Trade, TradeId,
};
use keel_sim::{
    AccountId, CancelRequest, FeeModel, MarketKind, MatchingEngine, OrderRef, OrderRequest, QueueModel, SimConfig,
    SimEvent,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Snapshot(Vec<(i64, i64)>, Vec<(i64, i64)>),
    Delta(Vec<(i64, i64)>, Vec<(i64, i64)>),
    Top { bid: i64, gap: i64, sizes: (i64, i64) },
    Trade { at: i64, size: i64, buy: bool },
    Place { who: usize, buy: bool, kind: u8, size: i64, at: i64, tif: u8 },
    Cancel { who: usize, nth: usize },
}

fn side_levels() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((0..30i64, 0..500i64), 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (side_levels(), side_levels()).prop_map(|(bids, asks)| Step::Snapshot(bids, asks)),
        3 => (side_levels(), side_levels()).prop_map(|(bids, asks)| Step::Delta(bids, asks)),
        3 => (10..50i64, 1..8i64, (0..400i64, 0..400i64)).prop_map(|(bid, gap, sizes)| Step::Top { bid, gap, sizes }),
        3 => (10..50i64, 1..300i64, any::<bool>()).prop_map(|(at, size, buy)| Step::Trade { at, size, buy }),
        6 => (0..2usize, any::<bool>(), 0..6u8, 1..300i64, 10..50i64, 0..3u8)
            .prop_map(|(who, buy, kind, size, at, tif)| Step::Place { who, buy, kind, size, at, tif }),
        1 => (0..2usize, 0..5usize).prop_map(|(who, nth)| Step::Cancel { who, nth }),
    ]
}

fn cents(at: i64) -> Price {
    Price::new(100_000 + at, 2).unwrap()
}
fn steps(size: i64) -> Quantity {
    Quantity::new(size, 3).unwrap()
}

struct Run {
    engine: MatchingEngine,
    accounts: Vec<AccountId>,
    events: Vec<SimEvent>,
    now: u64,
}

impl Run {
    fn new(queue: QueueModel) -> Self {
        let fees = FeeModel { maker: quantity("0.00075"), taker: quantity("0.001") };
        let mut engine = MatchingEngine::new(SimConfig { fees, queue, ..SimConfig::default() });
        let mut rules = instrument();
        (rules.min_notional, rules.max_open_orders) = (money("0"), 0);
        engine.add_market(rules, MarketKind::External).unwrap();
        let funds = [(asset("BTC"), money("2")), (asset("USDT"), money("2000"))];
        let accounts = (0..2).map(|_| engine.add_account(&funds).unwrap()).collect();
        Self { engine, accounts, events: Vec::new(), now: 0 }
    }

    /// Takes one step; returns the most that the recorded market may have filled of resting orders by its trade.
    fn take(&mut self, step: &Step) {
        self.now += 1;
        let (now, id) = (at(self.now), self.now);
        // Bids lie in 0..30 and asks in 31..61 of snapshots and deltas, so that the recording itself is not crossed.
        let levels = |rows: &[(i64, i64)], up: i64| {
            let level = |(at, size): &(i64, i64)| Level { price: cents(at + up), quantity: steps(*size) };
            rows.iter().map(level).collect::<Vec<_>>()
        };
        let market = match step {
            Step::Snapshot(bids, asks) => MarketEvent::BookSnapshot(BookSnapshot {
                instrument: ID,
                ts_recv: now,
                last_update_id: id,
                bids: levels(bids, 0),
                asks: levels(asks, 31),
                ..BookSnapshot::default()
            }),
            Step::Delta(bids, asks) => MarketEvent::BookDelta(BookDelta {
                instrument: ID,
                ts_recv: now,
                first_update_id: id,
                last_update_id: id,
                bids: levels(bids, 0),
                asks: levels(asks, 31),
                ..BookDelta::default()
            }),
            Step::Top { bid, gap, sizes } => MarketEvent::TopOfBook(TopOfBook {
                instrument: ID,
                ts_event: now,
                ts_recv: now,
                update_id: id,
                bid: Level { price: cents(*bid), quantity: steps(sizes.0) },
                ask: Level { price: cents(bid + gap), quantity: steps(sizes.1) },
            }),
            Step::Trade { at: level, size, buy } => MarketEvent::Trade(Trade {
                instrument: ID,
                ts_event: now,
                ts_recv: now,
                trade_id: TradeId::new(&id.to_string()).unwrap(),
                price: cents(*level),
                quantity: steps(*size),
                aggressor: if *buy { Side::Buy } else { Side::Sell },
            }),
            Step::Place { who, buy, kind, size, at: level, tif } => {
                let request = place(*buy, *kind, *size, *level, *tif);
                self.engine.submit(now, self.accounts[*who], &request).ok();
                return;
            }
            Step::Cancel { who, nth } => {
                let open: Vec<_> = self.engine.open_orders(self.accounts[*who], ID).collect();
                if !open.is_empty() {
                    let request = CancelRequest::new(ID, OrderRef::Id(open[nth % open.len()].order_id));
                    self.engine.cancel(now, self.accounts[*who], &request).unwrap();
                }
                return;
            }
        };
        self.engine.on_market(&market).unwrap();
    }
}

fn place(buy: bool, kind: u8, size: i64, level: i64, tif: u8) -> OrderRequest {
    let order_type = [
        OrderType::Limit,
        OrderType::Limit,
        OrderType::LimitMaker,
        OrderType::Market,
        OrderType::StopLossLimit,
        OrderType::TakeProfit,
    ][kind as usize];
    OrderRequest {
        order_type,
        time_in_force: [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok][tif as usize],
        price: order_type.has_price().then(|| cents(level)),
        stop_price: order_type.has_stop_price().then(|| cents(level)),
        ..OrderRequest::market(ID, if buy { Side::Buy } else { Side::Sell }, steps(size))
    }
}

fn assert_accounts(run: &Run) {
    for account in &run.accounts {
        let (mut base, mut quote) = (money("2"), money("2000"));
        for trade in run.engine.account_trades(*account, ID) {
            let amount = Notional::from(trade.quantity);
            let (bought, paid) = match trade.side {
                Side::Buy => (amount.checked_sub(trade.fee).unwrap(), trade.quote.neg_of()),
                Side::Sell => (amount.neg_of(), trade.quote.checked_sub(trade.fee).unwrap()),
            };
            base = base.checked_add(bought).unwrap();
            quote = quote.checked_add(paid).unwrap();
        }
        let (mut need_base, mut need_quote) = (Notional::ZERO, Notional::ZERO);
        for order in run.engine.open_orders(*account, ID) {
            let left = order.remaining();
            assert!(left.is_positive());
            let at = if order.price.is_positive() { order.price } else { order.stop_price };
            match order.side {
                Side::Sell => need_base = need_base.checked_add(Notional::from(left)).unwrap(),
                Side::Buy => need_quote = need_quote.checked_add(Notional::of(at, left)).unwrap(),
            }
        }
        for (name, total, need) in [("BTC", base, need_base), ("USDT", quote, need_quote)] {
            let balance = run.engine.balance(*account, asset(name));
            assert_eq!(balance.total().unwrap(), total, "{name}: what the trades say");
            assert_eq!(balance.locked, need, "{name}: what open orders need");
            assert!(!balance.free.is_negative(), "{name}: {balance:?}");
        }
    }
}

trait NegOf {
    fn neg_of(self) -> Self;
}
impl NegOf for Notional {
    fn neg_of(self) -> Self {
        Notional::ZERO.checked_sub(self).unwrap()
    }
}

fn assert_queues(run: &Run) {
    for account in &run.accounts {
        for order in run.engine.open_orders(*account, ID).filter(|order| order.is_working) {
            let shown = run.engine.level_quantity(ID, order.side, order.price);
            let ahead = run.engine.queue_ahead(order.order_id);
            assert!(ahead <= shown, "{ahead} in front of {shown} shown");
        }
    }
}

/// What the market trades is the most that it fills; a recorded trade is shared, not multiplied.
fn assert_fills(run: &Run, step: &Step) {
    let mut maker = Quantity::ZERO;
    for event in &run.events {
        let SimEvent::Execution(report) = event else { continue };
        if report.exec_type != ExecType::Trade {
            continue;
        }
        if report.order.price.is_positive() {
            let is_within = match report.order.side {
                Side::Buy => report.last_price <= report.order.price,
                Side::Sell => report.last_price >= report.order.price,
            };
            assert!(is_within, "{report:?}");
        }
        if report.is_maker {
            maker = maker.checked_add(report.last_quantity).unwrap();
        }
    }
    if let Step::Trade { size, .. } = step {
        let triggered = run.events.iter().any(|event| {
            matches!(event, SimEvent::Execution(report) if report.exec_type == ExecType::Trade && !report.is_maker)
        });
        assert!(triggered || maker <= steps(*size), "{maker} filled by a trade of {size} steps");
    }
}

fn assert_book_of_accounts(run: &Run) {
    let mut best: [Option<Price>; 2] = [None, None];
    for account in &run.accounts {
        for order in run.engine.open_orders(*account, ID).filter(|order| order.is_working) {
            match order.side {
                Side::Buy => best[0] = best[0].max(Some(order.price)),
                Side::Sell => best[1] = Some(best[1].map_or(order.price, |known| known.min(order.price))),
            }
        }
    }
    if let [Some(bid), Some(ask)] = best {
        assert!(bid < ask, "accounts' orders stand crossed: {bid} {ask}");
    }
    let top = run.engine.book_ticker(ID).unwrap();
    if top.bid.quantity.is_positive() && top.ask.quantity.is_positive() {
        assert!(top.bid.price < top.ask.price, "{top:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_holds_after_every_step(
        steps in prop::collection::vec(step(), 1..120),
        queue in prop_oneof![Just(QueueModel::RiskAverse), Just(QueueModel::Proportional), Just(QueueModel::Front)],
    ) {
        let mut run = Run::new(queue);
        for step in &steps {
            run.take(step);
            run.events.clear();
            run.engine.drain_events(&mut run.events);
            assert_accounts(&run);
            assert_queues(&run);
            assert_fills(&run, step);
            assert_book_of_accounts(&run);
        }
    }
}
