//! From records to rows: the journal folded by the same pure order machine that the engine runs, so that a row says what the
//! engine said. A pure function of the records: folding a journal twice gives the same rows.
//!
//! Bounded: closed orders and trade ids leave memory as they do in the engine; rows wait only until the next [`Fold::take`].

mod translate;

use crate::tables::{
    ALARMS, BALANCES, DECISIONS, FEES, FILLS, LATCHES, ORDER_CHANGES, ORDERS, POSITIONS, Row, SESSIONS, Table,
};
use keel_execution::{CancelState, Change, ExecutionConfig, Order, OrderAction, OrderManager, OrderState};
use keel_model::{
    Asset, ClientOrderId, Command, ExecutionEvent, Fill, Finding, InstrumentId, NewOrder, Notional, OrderIntent,
    OrderStatus, Portfolio, Timestamp, TradeId,
};
use keel_store::{Decision, Entry, Record, SessionStart};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use translate::Symbols;

/// How often the order machine is told the time; the engine's own beat.
const BEAT: Duration = Duration::from_millis(50);

/// A run, as its first and last record say.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Session {
    start: SessionStart,
    sequence: u64,
    end: Option<(Timestamp, String, bool)>,
}

/// The state of a journal up to a record, and the rows that changed since they were last taken.
#[derive(Debug)]
pub(crate) struct Fold {
    journal_id: i64,
    orders: OrderManager,
    portfolio: Portfolio,
    symbols: Symbols,
    session: Option<Session>,
    now: Timestamp,
    beat: Timestamp,
    actions: Vec<OrderAction>,
    /// Place of the record at hand, and of the next row that comes of it.
    sequence: u64,
    part: u64,
    changed_orders: BTreeMap<ClientOrderId, Option<String>>,
    changed_positions: BTreeSet<InstrumentId>,
    changed_fees: BTreeSet<Asset>,
    changed_balances: BTreeMap<Asset, Timestamp>,
    sessions: BTreeMap<u32, Row>,
    changes: Vec<Row>,
    fills: BTreeMap<(String, TradeId), Row>,
    decisions: Vec<Row>,
    alarms: Vec<Row>,
    latches: BTreeMap<String, Row>,
}

const fn ns(ts: Timestamp) -> u64 {
    let ns = ts.as_ns();
    // A database's whole numbers are signed.
    if ns > i64::MAX as u64 { i64::MAX as u64 } else { ns }
}

/// An exact decimal, without zeros at its end.
fn money(value: impl Into<Notional>) -> Value {
    Value::String(value.into().normalized().to_string())
}

impl Fold {
    /// Before the first record. `config` is the engine's own, so that its time-outs are the same.
    pub(crate) fn new(journal_id: i64, config: ExecutionConfig) -> Self {
        Self {
            journal_id,
            orders: OrderManager::new(config),
            portfolio: Portfolio::new(),
            symbols: Symbols::default(),
            session: None,
            now: Timestamp::ZERO,
            beat: Timestamp::ZERO,
            actions: Vec::new(),
            sequence: 0,
            part: 0,
            changed_orders: BTreeMap::new(),
            changed_positions: BTreeSet::new(),
            changed_fees: BTreeSet::new(),
            changed_balances: BTreeMap::new(),
            sessions: BTreeMap::new(),
            changes: Vec::new(),
            fills: BTreeMap::new(),
            decisions: Vec::new(),
            alarms: Vec::new(),
            latches: BTreeMap::new(),
        }
    }

    /// The state, for [`Self::restore`] by the same program. Rows that wait are not in it.
    pub(crate) fn save(&self) -> Option<Vec<u8>> {
        let state = (&self.orders, &self.portfolio, &self.symbols, &self.session, self.now, self.beat);
        postcard::to_stdvec(&state).ok()
    }

    /// Goes on from a state that was saved; `None` when it cannot be read.
    pub(crate) fn restore(journal_id: i64, config: ExecutionConfig, state: &[u8]) -> Option<Self> {
        type Saved = (OrderManager, Portfolio, Symbols, Option<Session>, Timestamp, Timestamp);
        let mut fold = Self::new(journal_id, config);
        let (saved, portfolio, symbols, session, now, beat): Saved = postcard::from_bytes(state).ok()?;
        fold.orders.resume(saved, &|id: InstrumentId| Some(id)).ok()?;
        (fold.portfolio, fold.symbols, fold.session, fold.now, fold.beat) = (portfolio, symbols, session, now, beat);
        Some(fold)
    }

    /// Takes the next record.
    pub(crate) fn add(&mut self, entry: Entry) {
        (self.sequence, self.part) = (entry.sequence, 0);
        match entry.record {
            Record::SessionStart(start) => self.on_start(start),
            Record::Intent(new) => {
                self.advance(new.ts_decided);
                self.on_intent(new, "order");
            }
            Record::ReplaceIntent(replace) => {
                self.advance(replace.new.ts_decided);
                let old = replace.cancel.client_order_id;
                self.orders.cancel(old, self.now);
                self.changed_orders.entry(old).or_default();
                self.on_intent(replace.new, "replace");
            }
            Record::CancelIntent { ts, order, is_escape } => {
                self.advance(ts);
                let id = order.client_order_id;
                self.orders.cancel(id, self.now);
                self.changed_orders.entry(id).or_default();
                let symbol = self.symbols.own(order.instrument);
                let symbol = self.symbols.name(symbol);
                let reason = is_escape.then_some("the engine was stuck");
                self.decide("cancel", ts, json!({ "id": id.to_string(), "symbol": symbol, "reason": reason }));
            }
            Record::Execution(ts, event) => self.on_event(ts, event),
            Record::Command(ts, command) => self.on_command(ts, &command),
            Record::SessionEnd { ts, digest, is_clean } => {
                self.advance(ts);
                if let Some(session) = &mut self.session {
                    session.end = Some((ts, digest, is_clean));
                }
                self.session_row();
            }
            Record::Decision(ts, decision) => self.on_decision(ts, decision),
            Record::Latch(ts, latch) => {
                self.advance(ts);
                let row = json!([self.journal_id, latch.name, latch.is_latched, latch.reason, self.sequence, ns(ts)]);
                self.latches.insert(latch.name, cells(row));
            }
            Record::Finding(ts, finding) => self.on_finding(ts, &finding),
            // Of no table: formats of their owners, and marks of the journal itself.
            _ => {}
        }
    }

    /// Time moves with the records, as it does in the engine.
    fn advance(&mut self, ts: Timestamp) {
        self.now = self.now.max(ts);
        if self.now.since(self.beat) >= BEAT {
            self.beat = self.now;
            self.orders.on_timer(self.now, &mut self.actions);
            self.orders.take_evicted();
            self.pump();
        }
    }

    fn on_start(&mut self, start: SessionStart) {
        self.advance(start.ts);
        self.symbols.begin(&start.symbols);
        if self.session.is_some() {
            self.orders.begin_recovery(self.now, &mut self.actions);
            self.pump();
        }
        self.session = Some(Session { start, sequence: self.sequence, end: None });
        self.session_row();
    }

    fn on_intent(&mut self, mut new: NewOrder, kind: &'static str) {
        new.intent.instrument = self.symbols.own(new.intent.instrument);
        let id = new.client_order_id;
        if self.orders.restore_intent(new, new.ts_decided).is_ok() {
            self.changed_orders.entry(id).or_default();
            self.change(id, OrderState::Draft, OrderState::Intent, None);
        }
        self.decide_order(kind, &new, None, None, new.ts_decided);
    }

    fn on_event(&mut self, ts: Timestamp, mut event: ExecutionEvent) {
        self.advance(ts);
        self.symbols.event(&mut event);
        if let ExecutionEvent::Balances { complete, balances, ts_event } = &event {
            let before: Vec<Asset> = self.portfolio.balances().iter().map(|balance| balance.asset).collect();
            match self.portfolio.apply_balances(balances, *complete, *ts_event) {
                Ok(true) => {
                    let named = balances.iter().map(|balance| balance.asset);
                    let gone = before.into_iter().filter(|_| *complete);
                    self.changed_balances.extend(named.chain(gone).map(|asset| (asset, *ts_event)));
                }
                Ok(false) => {}
                Err(error) => self.alarm("booking", None, true, &error.to_string()),
            }
        }
        // What the venue says of an order may change it without a change of state.
        let touched = touched(&event);
        for id in touched {
            self.changed_orders.entry(id).or_default();
        }
        self.orders.on_event(&event, self.now, &mut self.actions);
        self.pump();
    }

    fn on_command(&mut self, ts: Timestamp, command: &Command) {
        self.advance(ts);
        if let Command::Settle { client_order_id, settlement } = command {
            let (id, out) = (*client_order_id, &mut self.actions);
            // Refused then, it is refused now.
            if let Err(error) = self.orders.settle_by_hand(id, *settlement, Asset::EMPTY, true, self.now, out) {
                tracing::debug!(%error, "a settlement that was refused then, too");
            }
            self.changed_orders.entry(id).or_default();
            self.pump();
        }
        self.decide("command", ts, json!({ "reason": format!("{command:?}") }));
    }

    fn on_decision(&mut self, ts: Timestamp, decision: Decision) {
        self.advance(ts);
        match decision {
            Decision::Denied { mut order, control, reason } => {
                order.intent.instrument = self.symbols.own(order.intent.instrument);
                self.decide_order("denied", &order, Some(&control), Some(&reason), ts);
            }
            Decision::DeniedMore { count } => {
                self.decide("denied-more", ts, json!({ "reason": format!("{count} further denials") }));
            }
        }
    }

    fn on_finding(&mut self, ts: Timestamp, finding: &Finding) {
        self.advance(ts);
        match finding {
            Finding::Held(hold) => {
                let symbol = self.symbols.own(hold.instrument);
                self.alarm("held", Some(symbol), true, &hold.reason);
            }
            Finding::Balance { asset, total, change, cause, .. } if !change.is_zero() => {
                let text = format!(
                    "{asset}: {} of it, {} more than expected: {cause:?}",
                    total.normalized(),
                    change.normalized()
                );
                self.alarm("balance", None, false, &text);
            }
            Finding::Balance { .. } => {}
        }
    }

    /// Books what the order machine tells. What it asks for was asked then.
    fn pump(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                OrderAction::Changed { id, from, to, change } => {
                    let reason = reason_of(change);
                    self.change(id, from, to, reason.as_deref());
                    let slot = self.changed_orders.entry(id).or_default();
                    *slot = reason.or(slot.take());
                }
                OrderAction::Filled { id, fill } => self.on_fill(id, &fill),
                OrderAction::CancelRejected { id, reject } => {
                    let reason = format!("cancel refused: {:?} {} {}", reject.reason, reject.code, reject.text);
                    self.changed_orders.insert(id, Some(reason));
                }
                OrderAction::Adopted { id } => {
                    self.changed_orders.entry(id).or_default();
                }
                OrderAction::Alarm(alarm) => {
                    let name = format!("{alarm:?}");
                    let kind: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
                    self.alarm(&kind, None, alarm.holds(), &alarm.to_string());
                }
                // Requests and hints for strategies: dealt with then.
                _ => {}
            }
        }
        self.actions = actions;
    }

    fn on_fill(&mut self, id: ClientOrderId, fill: &Fill) {
        if let Err(error) = self.portfolio.apply_fill(fill) {
            self.alarm("booking", Some(fill.instrument), true, &error.to_string());
        }
        self.changed_orders.entry(id).or_default();
        self.changed_positions.insert(fill.instrument);
        self.changed_fees.insert(fill.fee_asset);
        let strategy = self.orders.get(id).map(|order| order.new.strategy.0);
        let symbol = self.symbols.name(fill.instrument);
        let row = json!([
            self.journal_id,
            symbol,
            fill.trade_id.as_str(),
            id.to_string(),
            strategy,
            format!("{:?}", fill.side),
            money(Notional::of(fill.price, keel_model::Quantity::from_int(1))),
            money(fill.quantity),
            money(Notional::of(fill.price, fill.quantity)),
            money(fill.fee),
            fill.fee_asset.as_str(),
            format!("{:?}", fill.liquidity),
            ns(fill.ts_event),
            ns(self.now),
            self.sequence,
        ]);
        self.fills.insert((symbol, fill.trade_id), cells(row));
    }

    fn change(&mut self, id: ClientOrderId, from: OrderState, to: OrderState, reason: Option<&str>) {
        self.part += 1;
        let row = json!([
            self.journal_id,
            self.sequence,
            self.part,
            id.to_string(),
            from.as_str(),
            to.as_str(),
            reason,
            ns(self.now)
        ]);
        self.changes.push(cells(row));
    }

    fn alarm(&mut self, kind: &str, symbol: Option<InstrumentId>, is_holding: bool, message: &str) {
        self.part += 1;
        let symbol = symbol.map(|id| self.symbols.name(id));
        let row = json!([self.journal_id, self.sequence, self.part, kind, symbol, is_holding, message, ns(self.now)]);
        self.alarms.push(cells(row));
    }

    fn decide_order(&mut self, kind: &str, new: &NewOrder, control: Option<&str>, reason: Option<&str>, ts: Timestamp) {
        let intent = &new.intent;
        let symbol = self.symbols.name(intent.instrument);
        let row = json!([
            self.journal_id,
            self.sequence,
            kind,
            new.client_order_id.to_string(),
            new.strategy.0,
            symbol,
            format!("{:?}", intent.side),
            format!("{:?}", intent.order_type),
            format!("{:?}", intent.purpose),
            money(intent.quantity),
            intent.price.map(price),
            intent.stop_price.map(price),
            control,
            reason,
            ns(ts),
        ]);
        self.decisions.push(cells(row));
    }

    fn decide(&mut self, kind: &str, ts: Timestamp, mut what: Value) {
        let mut take = |name: &str| what.get_mut(name).map(Value::take).unwrap_or_default();
        let (id, symbol, reason) = (take("id"), take("symbol"), take("reason"));
        let none = Value::Null;
        let row = json!([
            self.journal_id,
            self.sequence,
            kind,
            id,
            none,
            symbol,
            none,
            none,
            none,
            none,
            none,
            none,
            none,
            reason,
            ns(ts)
        ]);
        self.decisions.push(cells(row));
    }

    fn session_row(&mut self) {
        let Some(Session { start, sequence, end }) = &self.session else { return };
        let symbols: Vec<&str> = start.symbols.iter().map(|symbol| symbol.as_str()).collect();
        let row = json!([
            self.journal_id,
            start.epoch,
            sequence,
            start.mode,
            start.program,
            start.config_hash,
            symbols.join(","),
            ns(start.ts),
            end.as_ref().map(|(ts, ..)| ns(*ts)),
            end.as_ref().map(|(_, digest, _)| digest),
            end.as_ref().map(|(.., is_clean)| is_clean),
        ]);
        self.sessions.insert(start.epoch, cells(row));
    }

    /// The rows that changed since the last call, by table; at most one row per key.
    pub(crate) fn take(&mut self) -> Vec<(&'static Table, Vec<Row>)> {
        let orders = std::mem::take(&mut self.changed_orders);
        let orders = orders.into_iter().filter_map(|(id, reason)| self.order_row(id, reason)).collect();
        let positions =
            std::mem::take(&mut self.changed_positions).into_iter().map(|id| self.position_row(id)).collect();
        let id = self.journal_id;
        let fees = std::mem::take(&mut self.changed_fees).into_iter().filter(|asset| !asset.is_empty());
        let fees = fees.map(|asset| cells(json!([id, asset.as_str(), money(self.portfolio.fee_in(asset))]))).collect();
        let balances = std::mem::take(&mut self.changed_balances).into_iter().map(|(asset, ts)| {
            let balance = self.portfolio.balance(asset);
            cells(json!([id, asset.as_str(), money(balance.free), money(balance.locked), ns(ts)]))
        });
        let balances = balances.collect();
        let all = [
            (&SESSIONS, std::mem::take(&mut self.sessions).into_values().collect()),
            (&ORDERS, orders),
            (&ORDER_CHANGES, std::mem::take(&mut self.changes)),
            (&FILLS, std::mem::take(&mut self.fills).into_values().collect()),
            (&POSITIONS, positions),
            (&FEES, fees),
            (&BALANCES, balances),
            (&DECISIONS, std::mem::take(&mut self.decisions)),
            (&ALARMS, std::mem::take(&mut self.alarms)),
            (&LATCHES, std::mem::take(&mut self.latches).into_values().collect::<Vec<Row>>()),
        ];
        all.into_iter().filter(|(_, rows)| !rows.is_empty()).collect()
    }

    fn position_row(&self, id: InstrumentId) -> Row {
        let position = self.portfolio.position(id);
        cells(json!([
            self.journal_id,
            self.symbols.name(id),
            money(position.quantity),
            money(position.cost),
            money(position.realized),
            money(position.bought),
            money(position.sold),
            ns(self.now),
        ]))
    }

    fn order_row(&self, id: ClientOrderId, reason: Option<String>) -> Option<Row> {
        let order = self.orders.get(id)?;
        let OrderIntent { instrument, side, order_type, time_in_force, quantity, reduce_only, purpose, .. } =
            order.new.intent;
        Some(cells(json!([
            self.journal_id,
            id.to_string(),
            id.epoch,
            id.sequence,
            order.venue_order_id.map(|id| id.to_string()),
            order.new.strategy.0,
            self.symbols.name(instrument),
            format!("{side:?}"),
            format!("{order_type:?}"),
            format!("{time_in_force:?}"),
            format!("{purpose:?}"),
            reduce_only,
            money(quantity),
            order.new.intent.price.map(price),
            order.new.intent.stop_price.map(price),
            order.state.as_str(),
            status_of(order),
            money(order.filled),
            money(order.cum),
            order.state.is_closed(),
            order.is_adopted,
            order.is_resurrected,
            ns(order.ts_created),
            ns(order.ts_changed),
            reason,
        ])))
    }
}

fn cells(row: Value) -> Row {
    match row {
        Value::Array(cells) => cells,
        other => vec![other],
    }
}

fn price(price: keel_model::Price) -> Value {
    money(Notional::of(price, keel_model::Quantity::from_int(1)))
}

/// Orders that an event is about.
fn touched(event: &ExecutionEvent) -> Vec<ClientOrderId> {
    match event {
        ExecutionEvent::Armed(id)
        | ExecutionEvent::Sent { client_order_id: id, .. }
        | ExecutionEvent::Submit(id, _)
        | ExecutionEvent::Cancel(id, _)
        | ExecutionEvent::Query(id, _) => vec![*id],
        ExecutionEvent::Replace { cancel_id, new_id, .. } => vec![*cancel_id, *new_id],
        ExecutionEvent::Report(report) => report.client_order_id.into_iter().collect(),
        ExecutionEvent::Fills(fills) | ExecutionEvent::FillsOf { fills, .. } => {
            fills.iter().filter_map(|(id, _)| *id).collect()
        }
        ExecutionEvent::OpenOrders(_, orders) => orders.iter().filter_map(|order| order.client_order_id).collect(),
        ExecutionEvent::Balances { .. } | ExecutionEvent::Transfer { .. } => Vec::new(),
    }
}

fn reason_of(change: Change) -> Option<String> {
    match change {
        Change::Plain => None,
        Change::Rejected(reject) => Some(format!("refused: {:?} {} {}", reject.reason, reject.code, reject.text)),
        Change::NotSent(reason) => Some(format!("not sent: {reason:?}")),
        Change::Unknown(reason) => Some(format!("unknown: {reason:?}")),
        Change::Resurrected => Some("risen again".to_owned()),
    }
}

/// FIX words where there is one, ours where there is none.
fn status_of(order: &Order) -> String {
    if order.is_missing {
        return "Missing".to_owned();
    }
    match order.state {
        OrderState::Draft | OrderState::Intent | OrderState::Armed | OrderState::Sent => "PendingNew".to_owned(),
        OrderState::Live if order.cancel == CancelState::Sent => "PendingCancel".to_owned(),
        OrderState::Live if order.filled.is_positive() => "PartiallyFilled".to_owned(),
        OrderState::Live => "New".to_owned(),
        OrderState::Settling | OrderState::Done => {
            let is_full = order.filled == order.new.intent.quantity;
            let end = order.end.unwrap_or(if is_full { OrderStatus::Filled } else { OrderStatus::Canceled });
            format!("{end:?}")
        }
        state => state.as_str().to_owned(),
    }
}
