//! A small world for the tests: one instrument with round rules, two or three accounts, short ways to place orders.

use keel_model::instrument::{LotRule, PercentPriceRule};
use keel_model::{
    Asset, ExecType, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Notional, OrderType, Price, Quantity,
    Side, TimeInForce, Timestamp,
};
use keel_sim::{
    AccountId, CancelRequest, ClientId, ExecReport, FeeModel, MatchingEngine, OrderId, OrderRef, OrderRequest,
    OrderState, OrderView, Reject, SimConfig, SimEvent,
};

pub const ID: InstrumentId = InstrumentId(0);
pub const T0: Timestamp = Timestamp::from_ms(1_760_000_000_000);

pub fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(T0.as_ms() + ms)
}
pub fn price(text: &str) -> Price {
    text.parse().unwrap()
}
pub fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}
pub fn money(text: &str) -> Notional {
    text.parse().unwrap()
}
pub fn asset(text: &str) -> Asset {
    Asset::new(text).unwrap()
}
pub fn client(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

/// BTCUSDT with a tick of 0.01 and a step of 0.001; at most ten orders and two stop orders.
pub fn instrument() -> Instrument {
    let (five, fifth) = (quantity("5"), quantity("0.2"));
    Instrument {
        id: ID,
        symbol: keel_model::InlineStr::new("BTCUSDT").unwrap(),
        base: asset("BTC"),
        quote: asset("USDT"),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: price("0.01000000"),
        min_price: price("0.01"),
        max_price: price("1000000"),
        lot: LotRule { min: quantity("0.001"), max: quantity("100"), step: quantity("0.00100000") },
        market_lot: LotRule { min: quantity("0"), max: quantity("50"), step: quantity("0") },
        min_notional: money("5"),
        min_notional_applies_to_market: true,
        max_notional: Some(money("1000000")),
        percent_price: Some(PercentPriceRule { bid_up: five, bid_down: fifth, ask_up: five, ask_down: fifth }),
        max_open_orders: 10,
        max_open_algo_orders: 2,
    }
}

pub struct World {
    pub engine: MatchingEngine,
    pub alice: AccountId,
    pub bob: AccountId,
    pub events: Vec<SimEvent>,
    pub ms: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with(SimConfig { fees: FeeModel::FREE, ..SimConfig::default() })
    }

    pub fn with(config: SimConfig) -> Self {
        let mut engine = MatchingEngine::new(config);
        engine.add_instrument(instrument()).unwrap();
        Self::of(engine)
    }

    pub fn of(mut engine: MatchingEngine) -> Self {
        let funds = [(asset("BTC"), money("10")), (asset("USDT"), money("100000"))];
        let alice = engine.add_account(&funds).unwrap();
        let bob = engine.add_account(&funds).unwrap();
        Self { engine, alice, bob, events: Vec::new(), ms: 0 }
    }

    /// A world whose last price is `last`.
    pub fn traded_at(last: &str) -> Self {
        let mut world = Self::new();
        world.set_last(last);
        world
    }

    pub fn set_last(&mut self, last: &str) {
        let house = self.engine.add_house_account();
        let sell = limit(Side::Sell, "0.1", last);
        let now = self.tick();
        self.engine.submit(now, house, &sell).unwrap();
        let other = self.engine.add_house_account();
        let buy = OrderRequest { time_in_force: TimeInForce::Ioc, ..limit(Side::Buy, "0.1", last) };
        self.engine.submit(now, other, &buy).unwrap();
        self.drain();
    }

    pub fn tick(&mut self) -> Timestamp {
        self.ms += 1;
        at(self.ms)
    }

    pub fn submit(&mut self, account: AccountId, request: OrderRequest) -> Result<OrderView, Reject> {
        let now = self.tick();
        let result = self.engine.submit(now, account, &request);
        self.drain();
        result
    }

    pub fn limit(&mut self, account: AccountId, side: Side, size: &str, at: &str) -> OrderView {
        self.submit(account, limit(side, size, at)).unwrap()
    }

    pub fn market(&mut self, account: AccountId, side: Side, size: &str) -> OrderView {
        self.submit(account, OrderRequest::market(ID, side, quantity(size))).unwrap()
    }

    pub fn cancel(&mut self, account: AccountId, order: OrderId) -> Result<OrderView, Reject> {
        let now = self.tick();
        let result = self.engine.cancel(now, account, &CancelRequest::new(ID, OrderRef::Id(order)));
        self.drain();
        result
    }

    /// Forgets earlier events and keeps the new ones.
    pub fn drain(&mut self) {
        self.events.clear();
        self.engine.drain_events(&mut self.events);
    }

    pub fn order(&self, view: &OrderView) -> OrderView {
        self.engine.order(view.account, ID, OrderRef::Id(view.order_id)).unwrap()
    }

    pub fn state(&self, view: &OrderView) -> OrderState {
        self.order(view).state
    }

    pub fn reports(&self) -> Vec<&ExecReport> {
        let reports = self.events.iter();
        reports.filter_map(|event| if let SimEvent::Execution(report) = event { Some(report) } else { None }).collect()
    }

    /// Of each report since the last request: (order id, why, state).
    pub fn story(&self) -> Vec<(OrderId, ExecType, OrderState)> {
        self.reports().iter().map(|report| (report.order.order_id, report.exec_type, report.order.state)).collect()
    }

    /// (free, locked) as text without trailing zeros.
    pub fn funds(&self, account: AccountId, name: &str) -> (String, String) {
        let balance = self.engine.balance(account, asset(name));
        (balance.free.normalized().to_string(), balance.locked.normalized().to_string())
    }

    pub fn assert_funds(&self, account: AccountId, name: &str, free: &str, locked: &str) {
        assert_eq!(self.funds(account, name), (free.to_owned(), locked.to_owned()), "{name} of {account:?}");
    }
}

pub fn limit(side: Side, size: &str, at: &str) -> OrderRequest {
    OrderRequest::limit(ID, side, quantity(size), price(at))
}

pub fn post_only(side: Side, size: &str, at: &str) -> OrderRequest {
    OrderRequest { order_type: OrderType::LimitMaker, ..limit(side, size, at) }
}

pub fn with_tif(request: OrderRequest, time_in_force: TimeInForce) -> OrderRequest {
    OrderRequest { time_in_force, ..request }
}

pub fn stop(order_type: OrderType, side: Side, size: &str, trigger: &str, limit_price: Option<&str>) -> OrderRequest {
    OrderRequest {
        order_type,
        price: limit_price.map(price),
        stop_price: Some(price(trigger)),
        ..OrderRequest::market(ID, side, quantity(size))
    }
}
