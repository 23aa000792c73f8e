//! The venue's state behind one lock: the matching engine, the subscriptions and what is derived from the engine's events.
//!
//! Every request takes the lock, runs on the engine, and hands the events on with [`Core::pump`] before it lets go, so that
//! subscribers see events in the order they happened. Critical sections are short: no IO and no waiting in them.

mod intervals;
mod symbol;

use symbol::PendingDepth;
pub(crate) use symbol::Symbol;

use crate::encode::{self, AggTrade, OrderLabels};
use crate::hub::{Conn, Hub, UserForm};
use crate::json::TimeUnit;
use crate::limits::Limiter;
use crate::log::EventLog;
use crate::replica::ReportLog;
use crate::stats::Counters;
use crate::stream_name::{Scope, StreamKey, StreamKind};
use keel_model::{InstrumentId, Price, Quantity, Side, Timestamp};
use keel_sim::rng::Rng;
use keel_sim::{AccountId, BookChange, ClientId, ExecReport, MatchingEngine, OrderId, PublicTrade, SimEvent};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Aggregate trades kept per symbol.
const AGG_TRADES_MAX: usize = 10_000;
/// Orders whose labels are kept; the oldest are forgotten first.
const LABELS_MAX: usize = 65_536;
/// Amendments and prevented matches kept; the oldest are forgotten first.
const AMENDMENTS_MAX: usize = 10_000;

/// One amendment of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amendment {
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    pub(crate) order_id: OrderId,
    pub(crate) execution_id: u64,
    pub(crate) old_id: ClientId,
    pub(crate) new_id: ClientId,
    pub(crate) old_quantity: Quantity,
    pub(crate) new_quantity: Quantity,
    pub(crate) ts: Timestamp,
}

/// A match that self-trade prevention prevented.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreventedMatch {
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    pub(crate) id: u64,
    pub(crate) taker: OrderId,
    pub(crate) maker: OrderId,
    pub(crate) price: Price,
    pub(crate) taker_quantity: Option<Quantity>,
    pub(crate) maker_quantity: Option<Quantity>,
    pub(crate) ts: Timestamp,
}

/// Faults of the account streams; each counts down.
#[derive(Debug, Default)]
pub(crate) struct UserFaults {
    pub(crate) drop_next: u32,
    pub(crate) repeat_next: u32,
    pub(crate) is_stalled: bool,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Core {
    /// The matching engine.
    pub(crate) engine: MatchingEngine,
    /// The subscriptions.
    pub(crate) hub: Hub,
    /// The symbols, by dense index.
    pub(crate) symbols: Vec<Symbol>,
    /// Market data streams send nothing.
    pub(crate) is_market_stalled: bool,
    /// So many depth events of a symbol are swallowed.
    pub(crate) skip_depth: HashMap<u32, u32>,
    /// Faults of account streams.
    pub(crate) user_faults: UserFaults,
    /// Amendments, oldest first.
    pub(crate) amendments: VecDeque<Amendment>,
    /// Prevented matches, oldest first.
    pub(crate) prevented: VecDeque<PreventedMatch>,
    /// All reports, for a venue that is driven by hand.
    pub(crate) reports: ReportLog,
    by_name: HashMap<String, u32>,
    events: Vec<SimEvent>,
    /// Where all of it is written down, if anywhere.
    pub(crate) log: Option<EventLog>,
    labels: HashMap<OrderId, OrderLabels>,
    label_order: VecDeque<OrderId>,
    ids: Rng,
    counters: Arc<Counters>,
}

impl Core {
    /// The state around an engine that has its instruments and accounts.
    pub(crate) fn new(engine: MatchingEngine, accounts: usize, ids: Rng, counters: Arc<Counters>) -> Self {
        let symbols: Vec<Symbol> = engine.instruments().map(Symbol::new).collect();
        let by_name = symbols.iter().enumerate().map(|(at, symbol)| (symbol.name.clone(), at as u32)).collect();
        Self {
            engine,
            hub: Hub::new(accounts),
            symbols,
            is_market_stalled: false,
            skip_depth: HashMap::new(),
            user_faults: UserFaults::default(),
            amendments: VecDeque::new(),
            prevented: VecDeque::new(),
            reports: ReportLog::default(),
            by_name,
            events: Vec::with_capacity(256),
            log: None,
            labels: HashMap::new(),
            label_order: VecDeque::new(),
            ids,
            counters,
        }
    }

    /// A symbol's index by its name.
    pub(crate) fn symbol_index(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// A symbol by its name.
    pub(crate) fn symbol(&self, name: &str) -> Option<&Symbol> {
        self.symbols.get(*self.by_name.get(name)? as usize)
    }

    /// A symbol's name by the engine's index.
    pub(crate) fn name_of(&self, id: InstrumentId) -> &str {
        self.symbols.iter().find(|symbol| symbol.id == id).map_or("", |symbol| symbol.name.as_str())
    }

    /// The stream that a name means.
    pub(crate) fn stream_key(&self, name: &str) -> Option<StreamKey> {
        crate::stream_name::parse(name, |lower| {
            self.symbols.iter().position(|symbol| symbol.lower == lower).and_then(|at| u32::try_from(at).ok())
        })
    }

    /// A made-up client order id of Binance's shape.
    pub(crate) fn make_id(&mut self) -> ClientId {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let text: String =
            (0..22).map(|_| char::from(DIGITS.get(self.ids.below(62) as usize).copied().unwrap_or(b'0'))).collect();
        ClientId::truncated(&text)
    }

    /// A made-up secret word of 60 letters, such as a listenKey.
    pub(crate) fn make_key(&mut self) -> String {
        (0..3).map(|_| self.make_id().to_string()).collect::<String>().chars().take(60).collect()
    }

    /// Keeps a client's labels of an order.
    pub(crate) fn set_labels(&mut self, order: OrderId, labels: OrderLabels) {
        if labels == OrderLabels::default() {
            return;
        }
        if self.label_order.len() >= LABELS_MAX
            && let Some(oldest) = self.label_order.pop_front()
        {
            self.labels.remove(&oldest);
        }
        self.labels.insert(order, labels);
        self.label_order.push_back(order);
    }

    /// A client's labels of an order.
    pub(crate) fn labels(&self, order: OrderId) -> OrderLabels {
        self.labels.get(&order).copied().unwrap_or_default()
    }

    /// Remembers an amendment.
    pub(crate) fn add_amendment(&mut self, amendment: Amendment) {
        if self.amendments.len() >= AMENDMENTS_MAX {
            self.amendments.pop_front();
        }
        self.amendments.push_back(amendment);
    }

    /// Takes the engine's events in and writes them down, without handing them on yet.
    pub(crate) fn collect(&mut self) {
        let known = self.events.len();
        self.engine.drain_events(&mut self.events);
        let Some(log) = &mut self.log else { return };
        for event in self.events.iter().skip(known) {
            match event {
                SimEvent::Execution(report) => {
                    let at = self.symbols.iter().find(|symbol| symbol.id == report.order.instrument);
                    log.execution(at.map_or("", |symbol| symbol.name.as_str()), report);
                }
                SimEvent::Balances(update) => log.balances(update),
                SimEvent::List(_) | SimEvent::Trade(_) | SimEvent::Book(_) | SimEvent::Top(_) => {}
            }
        }
    }

    /// The last execution report taken in that is about an order.
    pub(crate) fn last_report(&self, order: OrderId) -> Option<&ExecReport> {
        self.events.iter().rev().find_map(|event| match event {
            SimEvent::Execution(report) if report.order.order_id == order => Some(report),
            _ => None,
        })
    }

    /// Subscribes a connection to a market stream.
    pub(crate) fn subscribe(&mut self, name: &str, conn: &Arc<Conn>) {
        let Some(key) = self.stream_key(name) else { return };
        if let (Scope::Symbol(at), StreamKind::Depth { fast }) = (key.scope, key.kind)
            && let Some(symbol) = self.symbols.get_mut(at as usize)
        {
            let update_id = symbol.update_id;
            if let Some(slot) = symbol.pending.get_mut(usize::from(fast)) {
                slot.get_or_insert_with(|| PendingDepth::new(update_id));
            }
        }
        self.hub.subscribe(key, name, conn);
    }

    /// Ends a subscription to a market stream.
    pub(crate) fn unsubscribe(&mut self, name: &str, id: u64) {
        if let Some(key) = self.stream_key(name) {
            self.hub.unsubscribe(key, id);
        }
    }

    /// Hands all events on.
    pub(crate) fn pump(&mut self, limiter: &Mutex<Limiter>) {
        self.collect();
        let mut events = std::mem::take(&mut self.events);
        for event in &events {
            match event {
                SimEvent::Execution(report) => self.on_execution(report, limiter),
                SimEvent::List(report) => {
                    let symbol = self.name_of(report.list.instrument).to_owned();
                    let make = |unit: TimeUnit| encode::list_status(unit, &symbol, report);
                    self.publish_user(report.list.account, make);
                }
                SimEvent::Balances(update) => {
                    self.publish_user(update.account, |unit| encode::account_position(unit, update));
                }
                SimEvent::Trade(trade) => self.on_trade(trade),
                SimEvent::Book(change) => self.on_book(change),
                SimEvent::Top(top) => {
                    let Some(at) = self.position(top.instrument) else { continue };
                    if let Some(symbol) = self.symbols.get_mut(at as usize) {
                        symbol.is_changed = true;
                    }
                    let key = StreamKey { scope: Scope::Symbol(at), kind: StreamKind::BookTicker };
                    self.publish(key, |unit, symbol| encode::book_ticker_event(unit, symbol, top));
                }
            }
        }
        events.clear();
        self.events = events;
        self.close_aggs();
    }

    fn position(&self, id: InstrumentId) -> Option<u32> {
        let at = self.symbols.iter().position(|symbol| symbol.id == id)?;
        u32::try_from(at).ok()
    }

    /// Notes a prevented match; each of the two orders may report it.
    fn note_prevented(&mut self, report: &ExecReport) {
        let (Some(id), Some(counter)) = (report.prevented_match_id, report.counter_order_id) else { return };
        let order = &report.order;
        let (taker, maker) = (order.order_id.max(counter), order.order_id.min(counter));
        let is_known = self.prevented.back().is_some_and(|last| last.id == id);
        if !is_known {
            if self.prevented.len() >= AMENDMENTS_MAX {
                self.prevented.pop_front();
            }
            self.prevented.push_back(PreventedMatch {
                account: order.account,
                instrument: order.instrument,
                id,
                taker,
                maker,
                price: report.prevented_price,
                taker_quantity: None,
                maker_quantity: None,
                ts: report.ts_transact,
            });
        }
        let Some(last) = self.prevented.back_mut() else { return };
        let side = if order.order_id == taker { &mut last.taker_quantity } else { &mut last.maker_quantity };
        *side = Some(report.last_prevented_quantity);
    }

    fn on_execution(&mut self, report: &ExecReport, limiter: &Mutex<Limiter>) {
        let account = report.order.account;
        self.reports.note(report);
        self.note_prevented(report);
        if encode::is_first_fill(report) {
            limiter.lock().first_fill(account.0, report.is_maker, report.ts_transact);
        }
        if report.trade_id.is_some() {
            self.counters.fills.fetch_add(1, Ordering::Relaxed);
        }
        if !self.hub.is_user_wanted(account.0) {
            return;
        }
        let symbol = self.name_of(report.order.instrument).to_owned();
        let labels = self.labels(report.order.order_id);
        self.publish_user(account, |unit| encode::execution_report(unit, &symbol, report, labels));
    }

    /// Sends an event to an account's subscribers, as far as faults let it pass.
    pub(crate) fn publish_user(&mut self, account: AccountId, make: impl Fn(TimeUnit) -> String) {
        if self.user_faults.is_stalled || !self.hub.is_user_wanted(account.0) {
            return;
        }
        if self.user_faults.drop_next > 0 {
            self.user_faults.drop_next -= 1;
            return;
        }
        self.hub.publish_user(account.0, &make);
        if self.user_faults.repeat_next > 0 {
            self.user_faults.repeat_next -= 1;
            self.hub.publish_user(account.0, &make);
        }
    }

    /// Sends a derived market event, unless the stream is a recorded one or stalled.
    fn publish(&self, key: StreamKey, make: impl Fn(TimeUnit, &str) -> String) {
        if self.is_market_stalled || !self.hub.is_wanted(key) {
            return;
        }
        let Scope::Symbol(at) = key.scope else { return };
        let Some(symbol) = self.symbols.get(at as usize) else { return };
        if !symbol.recorded.contains(&key.kind) {
            self.hub.publish(key, |unit| make(unit, &symbol.name));
        }
    }

    fn on_trade(&mut self, trade: &PublicTrade) {
        let Some(at) = self.position(trade.instrument) else { return };
        let scope = Scope::Symbol(at);
        self.publish(StreamKey { scope, kind: StreamKind::Trade }, |unit, name| encode::trade_event(unit, name, trade));
        let Some(symbol) = self.symbols.get_mut(at as usize) else { return };
        symbol.is_changed = true;
        symbol.last_trade = trade.ts;
        let taker_order = if trade.aggressor == Side::Buy { trade.buyer_order_id } else { trade.seller_order_id };
        if let Some(open) = &mut symbol.open_agg {
            let is_same = open.price == trade.price
                && open.aggressor == trade.aggressor
                && open.taker_order == taker_order
                && open.ts == trade.ts;
            if let (true, Ok(quantity)) = (is_same, open.quantity.checked_add(trade.quantity)) {
                open.quantity = quantity;
                open.last = trade.trade_id;
                return;
            }
        }
        self.close_agg(at);
        let Some(symbol) = self.symbols.get_mut(at as usize) else { return };
        symbol.open_agg = Some(AggTrade {
            id: symbol.next_agg,
            price: trade.price,
            quantity: trade.quantity,
            first: trade.trade_id,
            last: trade.trade_id,
            ts: trade.ts,
            aggressor: trade.aggressor,
            taker_order,
        });
        symbol.next_agg += 1;
    }

    fn close_agg(&mut self, at: u32) {
        let Some(symbol) = self.symbols.get_mut(at as usize) else { return };
        let Some(agg) = symbol.open_agg.take() else { return };
        if symbol.aggs.len() >= AGG_TRADES_MAX {
            symbol.aggs.pop_front();
        }
        symbol.aggs.push_back(agg);
        let key = StreamKey { scope: Scope::Symbol(at), kind: StreamKind::AggTrade };
        self.publish(key, |unit, name| encode::agg_trade_event(unit, name, &agg));
    }

    fn close_aggs(&mut self) {
        for at in 0..self.symbols.len() as u32 {
            self.close_agg(at);
        }
    }

    fn on_book(&mut self, change: &BookChange) {
        let Some(at) = self.position(change.instrument) else { return };
        let Some(symbol) = self.symbols.get_mut(at as usize) else { return };
        // A recorded book that had its snapshot counts by the recording's own ids.
        if symbol.book.is_none() {
            symbol.note_depth(change.side, change.level, change.update_id);
        }
    }

    /// Sends an account event of the venue's own making to whoever listens under one form.
    pub(crate) fn tell_user(&self, conn: &Conn, form: &UserForm, plain: &str) {
        conn.send_text(crate::hub::wrap_user(plain, form, conn));
    }
}
