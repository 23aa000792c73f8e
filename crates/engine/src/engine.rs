//! The engine: events in, effects out.

use crate::config::{EngineConfig, EngineError};
use crate::digest::{Bag, Part};
use crate::ledger::BalanceLedger;
use crate::outbox::{Notice, Outbox};
use crate::owners::OwnerBook;
use crate::tags::TagBook;
use keel_execution::parents::ParentAction;
use keel_execution::{OrderAction, OrderManager, ParentBook};
use keel_marketdata::{BarBuilder, OrderBook};
use keel_model::{
    Balance, ClientOrderId, Event, ExecutionEvent, FeedState, InstrumentId, Instruments, ParentId, Portfolio,
    StrategyId, Timestamp, TradingState,
};
use keel_risk::RiskService;
use keel_strategy::{Context, Lent, OpenOrder, OrderIdGenerator, Strategy, StrategyRequest};

mod actions;
mod commands;
mod emergency;
mod feeds;
mod holds;
mod market;
mod operator;
mod parents;
mod reconcile;
mod recovery;
mod requests;
mod risk_glue;
mod rows;
mod rules;
mod snapshot;
mod status;
mod unfilled;
mod wind;

pub use holds::HoldBook;
pub use recovery::RecoveredRecord;
pub use snapshot::SnapshotError;
pub use status::MISSING;
pub use wind::WindProgress;

use actions::News;
use emergency::Emergency;
use recovery::{Cursor, Reconciliation, Replay};
use status::Totals;
use wind::Wind;

/// How often strategies may answer news about their own requests within one event.
const ROUNDS_MAX: usize = 8;
/// Denials told singly per second of engine time; more are counted.
const DENIALS_TOLD_PER_S_MAX: u32 = 50;

/// Who hears what about one instrument.
#[derive(Clone, Debug, Default)]
struct Route {
    top: Vec<u16>,
    depth: Vec<u16>,
    trades: Vec<u16>,
    all: Vec<u16>,
    bars: Vec<u16>,
}

/// Bars of one instrument and length, and who hears them.
#[derive(Debug)]
struct BarFeed {
    builder: BarBuilder,
    strategies: Vec<u16>,
}

/// How far the run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before `Start`.
    Recovering,
    /// Strategies are called.
    Running,
    /// Strategies are called no more.
    Stopped,
}

/// The single owner of all trading state.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    instruments: Instruments,
    books: Vec<OrderBook>,
    feeds: Vec<FeedState>,
    account_feed: FeedState,
    portfolio: Portfolio,
    owners: OwnerBook,
    /// What tells the strategies apart over restarts.
    keys: Vec<String>,
    risk: RiskService,
    orders: OrderManager,
    parents: ParentBook,
    parents_dirty: Vec<ParentId>,
    parent_actions: Vec<ParentAction>,
    exit_timeouts: unfilled::ExitTimeouts,
    strategies: Vec<Box<dyn Strategy>>,
    routes: Vec<Route>,
    bars: Vec<BarFeed>,
    open_views: Vec<OpenOrder>,
    ids: OrderIdGenerator,
    tags: TagBook,
    // Buffers that are emptied within each event and keep their room.
    requests: Vec<StrategyRequest>,
    requests_spare: Vec<StrategyRequest>,
    /// Whose requests are in the buffer: strategy, and where its requests end.
    askers: Vec<(u16, usize)>,
    askers_spare: Vec<(u16, usize)>,
    actions: Vec<OrderAction>,
    actions_spare: Vec<OrderAction>,
    news: Vec<News>,
    news_spare: Vec<News>,
    now: Timestamp,
    phase: Phase,
    /// The state that was asked for; what risk allows may be narrower.
    wanted: TradingState,
    told: TradingState,
    reconciliation: Reconciliation,
    replay: Replay,
    cursors: Vec<Cursor>,
    /// The latest time of the venue that an answer has brought, and what it was when the last questions were sent.
    venue_time: Timestamp,
    venue_time_asked: Timestamp,
    holds: HoldBook,
    ledger: BalanceLedger,
    /// When the venue's last complete report of balances came in.
    reported_at: Timestamp,
    wind: Option<Wind>,
    emergency: Option<Emergency>,
    /// Instruments that are not open for trading.
    closed: Vec<InstrumentId>,
    /// Since when the account stream is not live.
    account_lost: Option<Timestamp>,
    standing: operator::Standing,
    market_events: u64,
    /// What the journal held when it was read: what the status tells of this run starts from here.
    base: Totals,
    fills_part: Part,
    evicted_part: Bag,
    denials: (u64, u32, u64),
}

impl Engine {
    /// Makes an engine. It is `Halted` until recovery is complete and [`keel_model::Command::Start`] has come.
    pub fn new(config: EngineConfig, strategies: Vec<Box<dyn Strategy>>) -> Result<Self, EngineError> {
        config.execution.validate()?;
        let max = usize::from(u16::MAX - 1);
        if strategies.len() > max {
            return Err(EngineError::TooManyStrategies { max });
        }
        let instruments = config.instruments.clone();
        let mut risk = RiskService::new(config.limits.clone(), &instruments)?;
        risk.set_strategies(strategies.iter().map(|strategy| strategy.name()));
        let (routes, bars) = Self::route(&instruments, &strategies)?;
        let mut orders = OrderManager::new(config.execution);
        orders.set_timeouts(config.timeouts.clone());
        Ok(Self {
            books: instruments.iter().map(|instrument| OrderBook::new(instrument.id)).collect(),
            feeds: vec![FeedState::Live; instruments.len()],
            account_feed: FeedState::Live,
            portfolio: Portfolio::new(),
            owners: OwnerBook::new(strategies.len()),
            keys: crate::owners::keys(&strategies, &instruments),
            risk,
            orders,
            parents: ParentBook::default(),
            parents_dirty: Vec::new(),
            parent_actions: Vec::new(),
            exit_timeouts: unfilled::ExitTimeouts::default(),
            ids: OrderIdGenerator::new(config.execution.instance, config.execution.epoch),
            tags: TagBook::default(),
            cursors: vec![Cursor::default(); instruments.len()],
            closed: Self::closed_ones(&instruments),
            instruments,
            config,
            strategies,
            routes,
            bars,
            open_views: Vec::with_capacity(64),
            requests: Vec::with_capacity(64),
            requests_spare: Vec::with_capacity(64),
            askers: Vec::with_capacity(16),
            askers_spare: Vec::with_capacity(16),
            actions: Vec::with_capacity(64),
            actions_spare: Vec::with_capacity(64),
            news: Vec::with_capacity(64),
            news_spare: Vec::with_capacity(64),
            now: Timestamp::ZERO,
            phase: Phase::Recovering,
            wanted: TradingState::Halted,
            told: TradingState::Halted,
            reconciliation: Reconciliation::at_start(),
            replay: Replay::default(),
            venue_time: Timestamp::ZERO,
            venue_time_asked: Timestamp::ZERO,
            holds: HoldBook::default(),
            ledger: BalanceLedger::default(),
            reported_at: Timestamp::ZERO,
            wind: None,
            emergency: None,
            account_lost: None,
            standing: operator::Standing::default(),
            market_events: 0,
            base: Totals::default(),
            fills_part: Part::default(),
            evicted_part: Bag::default(),
            denials: (0, 0, 0),
        })
    }

    fn route(
        instruments: &Instruments,
        strategies: &[Box<dyn Strategy>],
    ) -> Result<(Vec<Route>, Vec<BarFeed>), EngineError> {
        let mut routes = vec![Route::default(); instruments.len()];
        let mut bars: Vec<BarFeed> = Vec::new();
        let join = |list: &mut Vec<u16>, wanted: bool, at: u16| {
            if wanted && !list.contains(&at) {
                list.push(at);
            }
        };
        for (strategy, at) in strategies.iter().zip(0u16..) {
            let name = || strategy.name().to_owned();
            for wish in strategy.subscriptions() {
                let route = routes.get_mut(wish.instrument.index());
                let route = route.ok_or_else(|| EngineError::UnknownInstrument { strategy: name() })?;
                join(&mut route.top, wish.top_of_book, at);
                join(&mut route.depth, wish.depth, at);
                join(&mut route.trades, wish.trades, at);
                join(&mut route.all, true, at);
                let Some(interval) = wish.bar_interval else { continue };
                let same = |feed: &BarFeed| {
                    feed.builder.instrument() == wish.instrument && feed.builder.interval() == interval
                };
                match bars.iter_mut().find(|feed| same(feed)) {
                    Some(feed) => join(&mut feed.strategies, true, at),
                    None => {
                        let builder = BarBuilder::new(wish.instrument, interval)
                            .map_err(|error| EngineError::Bars { strategy: name(), error })?;
                        route.bars.push(u16::try_from(bars.len()).unwrap_or(u16::MAX));
                        bars.push(BarFeed { builder, strategies: vec![at] });
                    }
                }
            }
        }
        Ok((routes, bars))
    }

    /// Takes one event. What it asks for and tells is appended to `out`.
    pub fn process(&mut self, event: &Event, out: &mut Outbox) {
        match event {
            Event::Market(market) => self.process_market(market, out),
            Event::Execution(ts, execution) => self.process_execution(*ts, execution, out),
            Event::Command(ts, command) => {
                self.advance(*ts);
                self.on_command(command, out);
                self.finish(out);
            }
            Event::Feed(ts, feed) => {
                self.advance(*ts);
                self.on_feed(feed, out);
                self.finish(out);
            }
            Event::Timer(ts) => self.process_timer(*ts, out),
        }
    }

    /// Takes news about our orders and our account; as [`Self::process`] without wrapping.
    pub fn process_execution(&mut self, ts: Timestamp, event: &ExecutionEvent, out: &mut Outbox) {
        self.advance(ts);
        self.risk.on_time(self.now);
        let mut actions = std::mem::take(&mut self.actions);
        self.orders.on_event(event, self.now, &mut actions);
        self.actions = actions;
        match event {
            ExecutionEvent::Balances { complete, balances, ts_event } => {
                self.on_balances(balances, *complete, *ts_event, out);
            }
            ExecutionEvent::Transfer { asset, change, ts_event } => self.on_transfer(*asset, *change, *ts_event, out),
            _ => {}
        }
        self.pump(out);
        self.note_answer(event, out);
        self.finish(out);
    }

    /// Takes some balances as the account stream tells them; as [`Self::process_execution`] with
    /// [`ExecutionEvent::Balances`], borrowed.
    pub fn process_balances(&mut self, ts: Timestamp, balances: &[Balance], ts_event: Timestamp, out: &mut Outbox) {
        self.advance(ts);
        self.risk.on_time(self.now);
        self.on_balances(balances, false, ts_event, out);
        self.pump(out);
        self.finish(out);
    }

    /// Takes word that a placement has left, from a driver whose ways take no time: what follows from it is done together with
    /// the next event.
    pub fn note_sent(&mut self, id: ClientOrderId, signed_at: Timestamp, recv_window_ms: u64, out: &mut Outbox) {
        let event = ExecutionEvent::Sent { client_order_id: id, signed_at, recv_window_ms };
        if self.parents.has_children() {
            return self.process_execution(signed_at, &event, out);
        }
        self.advance(signed_at);
        let mut actions = std::mem::take(&mut self.actions);
        self.orders.on_event(&event, self.now, &mut actions);
        self.actions = actions;
    }

    /// Tells the time: drives every time-out and schedule.
    pub fn process_timer(&mut self, ts: Timestamp, out: &mut Outbox) {
        self.advance(ts);
        let now = self.now;
        self.risk.on_time(now);
        let mut actions = std::mem::take(&mut self.actions);
        self.orders.on_timer(now, &mut actions);
        self.actions = actions;
        self.pump(out);
        self.note_evicted();
        self.parents.note_time();
        self.reconcile_on_time(out);
        self.cancel_on_disconnect(out);
        for index in 0..self.routes.len() {
            self.advance_bars(InstrumentId(u32::try_from(index).unwrap_or(u32::MAX)), out);
        }
        if self.phase == Phase::Running {
            for at in 0..self.strategies.len() {
                self.call(at, |strategy, ctx| strategy.on_timer(ctx));
            }
            self.pump(out);
        }
        self.tell_more_denials(out);
        self.finish(out);
    }

    #[inline]
    fn advance(&mut self, ts: Timestamp) {
        self.now = self.now.max(ts);
    }

    /// What follows each event: breaches, the exit policy, a changed state.
    #[inline]
    fn finish(&mut self, out: &mut Outbox) {
        if self.risk.has_guard_news() {
            self.tell_guards(out);
        }
        if self.risk.take_breach() {
            out.notify(Notice::DailyLoss { day_pnl: self.risk.day_pnl() });
        }
        // Looked at here, so that an event without chores calls none of them.
        if !self.exit_timeouts.to_close.is_empty() {
            self.close_timed_out(out);
        }
        if !self.parents.is_idle() {
            self.step_parents(out);
        }
        if self.wind.is_some() {
            self.wind_step(out);
        }
        if self.standing.is_reduce_only {
            self.keep_reducing(out);
        }
        if !self.closed.is_empty() {
            self.keep_closed_empty(out);
        }
        let state = self.risk.state();
        if state != self.told {
            out.notify(Notice::TradingState { from: self.told, to: state });
            self.told = state;
        }
    }

    /// Calls one strategy with everything it may see. Its requests wait in the buffer.
    #[inline]
    fn call(&mut self, at: usize, handler: impl FnOnce(&mut dyn Strategy, &mut Context<'_>)) {
        let Some(strategy) = self.strategies.get_mut(at) else { return };
        let (number, before) = (u16::try_from(at).unwrap_or(u16::MAX), self.requests.len());
        let mut context = Context::new(Lent {
            strategy: StrategyId(number),
            now: self.now,
            trading_state: self.risk.state(),
            instruments: &self.instruments,
            books: &self.books,
            portfolio: &self.portfolio,
            own: self.owners.own(StrategyId(number)),
            open_orders: &self.open_views,
            ids: &mut self.ids,
            requests: &mut self.requests,
        });
        handler(strategy.as_mut(), &mut context);
        if self.requests.len() != before {
            self.askers.push((number, self.requests.len()));
        }
    }

    /// Works off requests, actions and news until none is left. Strategies may answer news with requests, but not without
    /// end: what is left after [`ROUNDS_MAX`] rounds is refused and told.
    #[inline]
    fn pump(&mut self, out: &mut Outbox) {
        if self.requests.is_empty() && self.actions.is_empty() {
            return;
        }
        self.pump_rounds(out);
    }

    fn pump_rounds(&mut self, out: &mut Outbox) {
        for _ in 0..ROUNDS_MAX {
            if self.requests.is_empty() && self.actions.is_empty() && self.news.is_empty() {
                return;
            }
            self.work_off_requests(out);
            let mut actions = std::mem::replace(&mut self.actions, std::mem::take(&mut self.actions_spare));
            for action in &actions {
                self.on_action(action, out);
            }
            self.sync_touched(&actions);
            actions.clear();
            self.actions_spare = actions;
            let mut news = std::mem::replace(&mut self.news, std::mem::take(&mut self.news_spare));
            for item in news.drain(..) {
                self.tell_strategy(&item);
            }
            self.news_spare = news;
        }
        let left = self.requests.len();
        if left > 0 {
            self.requests.clear();
            self.askers.clear();
            let count = u32::try_from(left).unwrap_or(u32::MAX);
            out.notify(Notice::RequestsRefused { strategy: None, count });
        }
    }

    fn work_off_requests(&mut self, out: &mut Outbox) {
        let mut requests = std::mem::replace(&mut self.requests, std::mem::take(&mut self.requests_spare));
        let mut askers = std::mem::replace(&mut self.askers, std::mem::take(&mut self.askers_spare));
        let mut from = 0;
        for (strategy, end) in askers.drain(..) {
            for request in requests.get(from..end).unwrap_or_default() {
                self.on_request(StrategyId(strategy), request, out);
            }
            from = end;
        }
        requests.clear();
        (self.requests_spare, self.askers_spare) = (requests, askers);
    }

    /// The order manager, for reading.
    #[must_use]
    pub const fn orders(&self) -> &OrderManager {
        &self.orders
    }

    /// Brackets, OCO pairs, TWAP and iceberg orders, for reading.
    #[must_use]
    pub const fn parents(&self) -> &ParentBook {
        &self.parents
    }

    /// The risk service, for reading.
    #[must_use]
    pub const fn risk(&self) -> &RiskService {
        &self.risk
    }

    /// Positions, balances and fees.
    #[must_use]
    pub const fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// Positions by strategy.
    #[must_use]
    pub const fn owners(&self) -> &OwnerBook {
        &self.owners
    }

    /// The word that a strategy gave an order, such as `stop-loss`; for reports. Only orders of this run have one, and only
    /// the youngest [`crate::tags::TAGS_MAX`].
    #[must_use]
    pub fn tag(&self, id: keel_model::ClientOrderId) -> Option<keel_strategy::Tag> {
        self.tags.get(id)
    }

    /// The instruments of the run.
    #[must_use]
    pub const fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// The book of an instrument.
    #[must_use]
    pub fn book(&self, instrument: InstrumentId) -> Option<&OrderBook> {
        self.books.get(instrument.index())
    }

    /// Engine time: the largest time that any event has brought.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Market events taken so far.
    #[must_use]
    pub const fn market_events(&self) -> u64 {
        self.market_events
    }

    /// What tells the strategies apart over restarts, by their id: name and symbols, and a number where that is not enough.
    #[must_use]
    pub fn strategy_keys(&self) -> &[String] {
        &self.keys
    }

    /// Names of the strategies, by their id.
    pub fn strategy_names(&self) -> impl Iterator<Item = &str> {
        self.strategies.iter().map(|strategy| strategy.name())
    }

    /// Freezes risk and takes its state, to be saved before anything is cleared.
    pub fn freeze_risk(&mut self) -> keel_risk::RiskSnapshot {
        self.wanted = TradingState::Halted;
        self.risk.freeze(self.now)
    }

    /// Drops risk's reservations after its frozen state was saved; `false`, and nothing is dropped, when it has changed since.
    pub fn clear_risk(&mut self, saved: &keel_risk::RiskSnapshot) -> bool {
        self.risk.clear(saved)
    }
}

#[cfg(test)]
mod tests;
