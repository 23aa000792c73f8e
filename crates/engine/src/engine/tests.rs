//! The engine as a whole: a scripted strategy in front, a scripted venue behind.

use super::*;
use crate::outbox::{Effect, StartBlocker};
use keel_execution::ExecutionConfig;
use keel_model::instrument::LotRule;
use keel_model::order::ReasonText;
use keel_model::{
    Asset, Balance, BookDelta, BookSnapshot, CancelOutcome, ClientOrderId, Command, ExecType, ExecutionReport,
    ExitPolicy, FeedEvent, Fill, InlineStr, Instrument, InstrumentKind, InstrumentStatus, Level, Liquidity,
    MarketEvent, NewOrder, Notional, OrderIntent, OrderPurpose, OrderSnapshot, OrderStatus, OrderType, Price, Quantity,
    QueryOutcome, Side, StreamKind, SubmitAck, SubmitOutcome, TopOfBook, Trade, TradeId, UnknownReason, VenueOrderId,
};
use keel_risk::{Control, RiskLimits};
use keel_strategy::{OrderUpdate, OrderUpdateKind, Subscription};
use std::sync::{Arc, Mutex};

mod books;
mod flows;
mod guards;
mod parents;
mod recovery;
mod rules;
mod stops;
mod words;

const BTC: InstrumentId = InstrumentId(0);

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn money(text: &str) -> Notional {
    text.parse().unwrap()
}

fn instrument(symbol: &str, base: &str) -> Instrument {
    Instrument {
        id: InstrumentId(0),
        symbol: InlineStr::new(symbol).unwrap(),
        base: Asset::new(base).unwrap(),
        quote: Asset::new("USDT").unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: price("0.01"),
        min_price: price("0.01"),
        max_price: price("1000000"),
        lot: LotRule { min: quantity("0.00001"), max: quantity("9000"), step: quantity("0.00001") },
        market_lot: LotRule::default(),
        min_notional: money("5"),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

fn config() -> EngineConfig {
    let mut instruments = Instruments::new();
    instruments.upsert(instrument("BTCUSDT", "BTC")).unwrap();
    instruments.upsert(instrument("ETHUSDT", "ETH")).unwrap();
    let limits = RiskLimits {
        order_notional_max: money("10000"),
        position_notional_max: money("20000"),
        gross_exposure_max: money("20000"),
        duplicate_window_ms: 0,
        order_rate_per_s: 1_000,
        order_burst: 1_000,
        ..RiskLimits::default()
    };
    let execution = ExecutionConfig { instance: 7, epoch: 3, ..ExecutionConfig::default() };
    EngineConfig { instruments, limits, execution, reconcile_interval_ms: 0, ..EngineConfig::default() }
}

/// What the scripted strategy is to do at its next call, and what it was told.
#[derive(Debug, Default)]
struct Script {
    submit: Vec<OrderIntent>,
    cancel: Vec<ClientOrderId>,
    replace: Vec<(ClientOrderId, OrderIntent)>,
    plans: Vec<keel_model::ParentPlan>,
    /// Cancel these parents, or (`true`) close them.
    end_parents: Vec<(keel_model::ParentId, bool)>,
    parents: Vec<keel_model::ParentId>,
    /// Answer each denial with the same order again.
    insists: bool,
    told: Vec<String>,
    submitted: Vec<ClientOrderId>,
}

#[derive(Debug)]
struct Scripted {
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    fn act(&self, ctx: &mut Context<'_>) {
        let mut script = self.script.lock().unwrap();
        for intent in std::mem::take(&mut script.submit) {
            let id = ctx.submit(intent);
            script.submitted.push(id);
        }
        for id in std::mem::take(&mut script.cancel) {
            ctx.cancel(id);
        }
        for plan in std::mem::take(&mut script.plans) {
            let id = match plan {
                keel_model::ParentPlan::Bracket(plan) => ctx.bracket(plan),
                keel_model::ParentPlan::Oco(plan) => ctx.oco(plan),
                keel_model::ParentPlan::Twap(plan) => ctx.twap(plan),
                keel_model::ParentPlan::Iceberg(plan) => ctx.iceberg(plan),
            };
            script.parents.push(id);
        }
        for (id, is_closing) in std::mem::take(&mut script.end_parents) {
            if is_closing { ctx.close_parent(id) } else { ctx.cancel_parent(id) }
        }
        for (id, intent) in std::mem::take(&mut script.replace) {
            let id = ctx.replace(id, intent);
            script.submitted.push(id);
        }
    }

    fn told(&self, text: String) {
        self.script.lock().unwrap().told.push(text);
    }
}

impl Strategy for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription {
            instrument: BTC,
            top_of_book: true,
            depth: true,
            trades: true,
            bar_interval: Some(std::time::Duration::from_secs(1)),
        }]
    }
    fn on_start(&mut self, _ctx: &mut Context<'_>) {
        self.told("start".into());
    }
    fn on_top_of_book(&mut self, ctx: &mut Context<'_>, _top: &TopOfBook) {
        self.act(ctx);
    }
    fn on_trade(&mut self, _ctx: &mut Context<'_>, trade: &Trade) {
        self.told(format!("trade {}", trade.price));
    }
    fn on_bar(&mut self, _ctx: &mut Context<'_>, bar: &keel_model::Bar) {
        self.told(format!("bar {} {} {} {} {}", bar.open, bar.high, bar.low, bar.close, bar.volume));
    }
    fn on_fill(&mut self, ctx: &mut Context<'_>, id: ClientOrderId, fill: &Fill) {
        self.told(format!("{id} fill {} position {}", fill.quantity, ctx.position(BTC).quantity));
    }
    fn on_order(&mut self, ctx: &mut Context<'_>, update: &OrderUpdate) {
        let kind = format!("{:?}", update.kind);
        let kind = kind.split([' ', '(']).next().unwrap().to_owned();
        self.told(format!("{} {kind}", update.client_order_id));
        let insists = self.script.lock().unwrap().insists;
        if insists && matches!(update.kind, OrderUpdateKind::Denied(_)) {
            ctx.submit(buy("0.1", "59000"));
        }
    }
    fn on_parent(&mut self, _ctx: &mut Context<'_>, update: &keel_strategy::ParentUpdate) {
        self.told(format!("parent {:?} filled {} closed {}", update.kind, update.filled, update.closed));
    }
    fn on_feed(&mut self, _ctx: &mut Context<'_>, _instrument: InstrumentId, state: FeedState) {
        self.told(format!("feed {state:?}"));
    }
    fn on_stop(&mut self, ctx: &mut Context<'_>) {
        self.told("stop".into());
        self.act(ctx);
    }
}

fn buy(size: &str, at: &str) -> OrderIntent {
    OrderIntent::limit(BTC, Side::Buy, quantity(size), price(at), OrderPurpose::Entry)
}

/// An engine with both ends in hand.
struct Desk {
    engine: Engine,
    script: Arc<Mutex<Script>>,
    out: Outbox,
    now_ms: u64,
    trade: u64,
    notices: Vec<Notice>,
    effects: Vec<Effect>,
}

impl Desk {
    /// An engine before `Start`, with quotes and balances.
    fn new(config: EngineConfig) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let strategy = Scripted { script: Arc::clone(&script) };
        let engine = Engine::new(config, vec![Box::new(strategy)]).unwrap();
        let now_ms = 1_700_000_000_000;
        let (out, notices, effects) = (Outbox::new(), Vec::new(), Vec::new());
        Self { engine, script, out, now_ms, trade: 0, notices, effects }
    }

    /// Recovered and started.
    fn started() -> Self {
        Self::started_with(config())
    }

    fn started_with(config: EngineConfig) -> Self {
        let mut desk = Self::new(config);
        desk.engine.recover([], Timestamp::from_ms(desk.now_ms), &mut desk.out);
        desk.drain();
        assert!(desk.effects.contains(&Effect::FetchOpenOrders(None)));
        desk.effects.clear();
        desk.execution(ExecutionEvent::OpenOrders(None, vec![]));
        desk.balances("100000", "2");
        desk.quote("60000", "60000.01");
        desk.command(Command::Start);
        assert!(desk.notices.contains(&Notice::Started));
        desk
    }

    fn drain(&mut self) {
        for effect in self.out.drain() {
            match effect {
                Effect::Notify(notice) => self.notices.push(notice),
                effect => self.effects.push(effect),
            }
        }
    }

    fn event(&mut self, event: &Event) {
        self.engine.process(event, &mut self.out);
        self.drain();
    }

    fn ts(&self) -> Timestamp {
        Timestamp::from_ms(self.now_ms)
    }

    fn execution(&mut self, event: ExecutionEvent) {
        self.event(&Event::Execution(self.ts(), event));
    }

    fn command(&mut self, command: Command) {
        self.event(&Event::Command(self.ts(), command));
    }

    fn feed(&mut self, stream: StreamKind, state: FeedState) {
        self.event(&Event::Feed(self.ts(), FeedEvent::State(stream, state)));
    }

    fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now_ms += 50;
            self.event(&Event::Timer(self.ts()));
        }
    }

    fn quote(&mut self, bid: &str, ask: &str) {
        self.now_ms += 1;
        let level = |at: &str| Level { price: price(at), quantity: quantity("1") };
        let top = TopOfBook {
            instrument: BTC,
            ts_event: Timestamp::ZERO,
            ts_recv: self.ts(),
            update_id: 0,
            bid: level(bid),
            ask: level(ask),
        };
        self.event(&Event::Market(MarketEvent::TopOfBook(top)));
    }

    fn balances(&mut self, usdt: &str, btc: &str) {
        let balance = |name: &str, free: &str| Balance {
            asset: Asset::new(name).unwrap(),
            free: money(free),
            locked: Notional::ZERO,
        };
        let balances = vec![balance("USDT", usdt), balance("BTC", btc)];
        self.execution(ExecutionEvent::Balances { complete: true, balances, ts_event: self.ts() });
    }

    /// Lets the strategy place an order; answers its id and whether it was sent.
    fn place(&mut self, intent: OrderIntent) -> (ClientOrderId, bool) {
        self.script.lock().unwrap().submit.push(intent);
        self.quote("60000", "60000.01");
        let id = *self.script.lock().unwrap().submitted.last().unwrap();
        (id, self.sent(id))
    }

    fn sent(&self, id: ClientOrderId) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Submit(order) if order.client_order_id == id))
    }

    fn cancels(&self) -> Vec<ClientOrderId> {
        let of = |effect: &Effect| match effect {
            Effect::Cancel(cancel) => Some(cancel.client_order_id),
            _ => None,
        };
        self.effects.iter().filter_map(of).collect()
    }

    fn ack(&mut self, id: ClientOrderId) {
        let venue_order_id = VenueOrderId::new(&format!("v{}", id.sequence)).unwrap();
        let ack = SubmitAck { venue_order_id, ts_event: self.ts(), status: OrderStatus::New, reports: vec![] };
        self.execution(ExecutionEvent::Submit(id, SubmitOutcome::Accepted(ack)));
    }

    /// An order that works at the venue.
    fn live(&mut self, intent: OrderIntent) -> ClientOrderId {
        let (id, sent) = self.place(intent);
        assert!(sent, "{:?}", self.notices.last());
        self.ack(id);
        id
    }

    fn fill(&mut self, id: ClientOrderId, part: &str, cum: &str, status: OrderStatus) {
        self.trade += 1;
        let order = self.engine.orders().get(id).unwrap().new.intent;
        let fill = Fill {
            trade_id: TradeId::new(&self.trade.to_string()).unwrap(),
            instrument: order.instrument,
            side: order.side,
            price: order.price.unwrap_or(price("60000")),
            quantity: quantity(part),
            fee: Notional::ZERO,
            fee_asset: Asset::new("USDT").unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: self.ts(),
        };
        self.execution(ExecutionEvent::Report(ExecutionReport {
            exec_type: ExecType::Trade,
            client_order_id: Some(id),
            venue_order_id: VenueOrderId::new(&format!("v{}", id.sequence)).unwrap(),
            instrument: order.instrument,
            side: order.side,
            status,
            quantity: order.quantity,
            price: order.price,
            cum_quantity: quantity(cum),
            fill: Some(fill),
            ts_event: self.ts(),
            ts_recv: self.ts(),
            text: ReasonText::EMPTY,
        }));
    }

    fn snapshot(&self, id: ClientOrderId, status: OrderStatus, cum: &str) -> OrderSnapshot {
        let order = self.engine.orders().get(id).unwrap().new.intent;
        OrderSnapshot {
            client_order_id: Some(id),
            venue_order_id: VenueOrderId::new(&format!("v{}", id.sequence)).unwrap(),
            instrument: order.instrument,
            side: order.side,
            order_type: Some(order.order_type),
            time_in_force: Some(order.time_in_force),
            status,
            quantity: order.quantity,
            price: order.price,
            stop_price: order.stop_price,
            cum_quantity: quantity(cum),
            cum_quote: None,
            ts_event: self.ts(),
        }
    }

    fn canceled(&mut self, id: ClientOrderId, cum: &str) {
        let snapshot = self.snapshot(id, OrderStatus::Canceled, cum);
        self.execution(ExecutionEvent::Cancel(id, CancelOutcome::Canceled(snapshot)));
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().told)
    }

    /// The last denial that was told.
    fn denied(&self) -> Option<Control> {
        self.notices.iter().rev().find_map(|notice| match notice {
            Notice::Denied(denied, _) => Some(denied.control),
            _ => None,
        })
    }
}
