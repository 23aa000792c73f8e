//! The order manager: orders in, evidence in; requests and news out.

use crate::action::{Alarm, Change, OrderAction};
use crate::cancel::CancelStep;
use crate::config::ExecutionConfig;
use crate::hash::FixedMap;
use crate::order::{CancelState, Order};
use crate::state::{Next, OrderState, Step, next};
use crate::trades::TradeMemory;
use keel_model::{
    CancelOrder, CancelOutcome, ClientOrderId, ExecutionEvent, InstrumentId, NewOrder, OrderStatus, Quantity,
    RejectReason, ReplaceOrder, SubmitOutcome, Timestamp, UnknownReason,
};
use keel_risk::Approved;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

mod evidence;
mod fills;
mod recovery;
mod settle;
mod snapshot;
mod timers;
mod unfilled;

pub use unfilled::Timeouts;

pub use settle::SettleError;

/// Most foreign orders and fills that are remembered as told.
const FOREIGN_COUNT_MAX: usize = 4_096;

pub(crate) type Actions = Vec<OrderAction>;

/// Why an order could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionError {
    /// The id was used before.
    #[error("client order id {0} was used before; ids are never reused")]
    DuplicateId(ClientOrderId),
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Orders taken from risk.
    pub submitted: u64,
    /// Refused by the venue.
    pub rejected: u64,
    /// Surely never left.
    pub abandoned: u64,
    /// Fills applied.
    pub fills: u64,
    /// Fills that came again.
    pub fills_repeated: u64,
    /// Times an outcome became unknown.
    pub unknown: u64,
    /// Orders proven to be never accepted.
    pub never_accepted: u64,
    /// Closed orders that rose again.
    pub resurrected: u64,
    /// Orders adopted from the venue.
    pub adopted: u64,
    /// Alarms raised.
    pub alarms: u64,
}

/// All orders of ours with their state machines. Serialised it is part of a snapshot: new fields need a default.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderManager {
    #[serde(skip)]
    config: ExecutionConfig,
    slots: Vec<Option<Order>>,
    free: Vec<u32>,
    index: FixedMap<ClientOrderId, u32>,
    /// Slots of orders that are not closed, oldest first.
    open: Vec<u32>,
    /// Closed orders, oldest first, with the time they closed.
    closed: VecDeque<(Timestamp, ClientOrderId)>,
    trades: TradeMemory,
    /// Foreign orders and fills that were told already; beyond the bound an old one may be told again.
    foreign: TradeMemory,
    foreign_fills: TradeMemory,
    counters: Counters,
    next_ordinal: u64,
    last_sequence: u64,
    /// When the venue last answered that it is not sure of itself.
    venue_unsure_at: Option<Timestamp>,
    /// Orders that left memory in the last call of `retire`.
    #[serde(skip)]
    evicted: Vec<Order>,
    #[serde(skip)]
    scratch: Vec<u32>,
    /// The slot that was looked for last; only a guess, which the order in it confirms.
    #[serde(skip)]
    recent: u32,
    /// Limits of the strategies of this run, by their number.
    #[serde(skip)]
    timeouts: Vec<Timeouts>,
}

impl OrderManager {
    /// Empty books.
    #[must_use]
    pub fn new(config: ExecutionConfig) -> Self {
        Self {
            config,
            slots: Vec::with_capacity(64),
            free: Vec::with_capacity(64),
            index: FixedMap::default(),
            open: Vec::with_capacity(64),
            closed: VecDeque::with_capacity(64),
            trades: TradeMemory::new(config.trade_ids_max),
            foreign: TradeMemory::new(FOREIGN_COUNT_MAX),
            foreign_fills: TradeMemory::new(FOREIGN_COUNT_MAX),
            counters: Counters::default(),
            next_ordinal: 1,
            last_sequence: 0,
            venue_unsure_at: None,
            evicted: Vec::new(),
            scratch: Vec::with_capacity(64),
            recent: 0,
            timeouts: Vec::new(),
        }
    }

    // ── Requests ──

    /// Takes an approved order into the books as `Intent` and gives the approval back for sending.
    pub fn submit(&mut self, order: Approved<NewOrder>, now: Timestamp) -> Result<Approved<NewOrder>, ExecutionError> {
        self.book_intent(*order.get(), now)?;
        Ok(order)
    }

    /// Takes the new half of an approved cancel-replace into the books and marks the old order as being cancelled.
    pub fn replace(
        &mut self,
        replace: Approved<ReplaceOrder>,
        now: Timestamp,
    ) -> Result<Approved<ReplaceOrder>, ExecutionError> {
        self.book_intent(replace.get().new, now)?;
        if let Some(old) = self.order_mut(replace.get().cancel.client_order_id) {
            old.is_cancel_wanted = true;
            old.step_cancel(CancelStep::Asked);
            old.cancel_retry.sent = now;
        }
        Ok(replace)
    }

    fn book_intent(&mut self, new: NewOrder, now: Timestamp) -> Result<(), ExecutionError> {
        let id = new.client_order_id;
        if self.index.contains_key(&id) {
            return Err(ExecutionError::DuplicateId(id));
        }
        self.insert(Order::new(new, now, 0));
        if id.epoch == self.config.epoch {
            self.last_sequence = self.last_sequence.max(id.sequence);
        }
        self.counters.submitted += 1;
        Ok(())
    }

    /// Wants an order cancelled. Answers the request to send, or `None` when one is under way, the order is closed, or it
    /// is not ours. A cancel of an order whose placement is not answered yet is followed up until the order is closed.
    pub fn cancel(&mut self, id: ClientOrderId, now: Timestamp) -> Option<CancelOrder> {
        let order = self.order_mut(id)?;
        if order.state.is_closed() || order.state == OrderState::Settling {
            return None;
        }
        order.is_cancel_wanted = true;
        if !order.step_cancel(CancelStep::Asked) {
            return None;
        }
        order.cancel_retry.sent = now;
        order.cancel_retry.due = Timestamp::ZERO;
        Some(order.cancel_request())
    }

    // ── Evidence ──

    /// Takes one execution event. Requests and news are appended to `out`.
    pub fn on_event(&mut self, event: &ExecutionEvent, now: Timestamp, out: &mut Actions) {
        match event {
            ExecutionEvent::Armed(id) => self.step(*id, Step::Armed, Change::Plain, now, out),
            ExecutionEvent::Sent { client_order_id, signed_at, recv_window_ms } => {
                if let Some(order) = self.order_mut(*client_order_id) {
                    // A repeated signature can only be later; the later one decides the fence.
                    order.signed_at = order.signed_at.max(Some(*signed_at));
                    order.recv_window_ms = order.recv_window_ms.max(*recv_window_ms);
                }
                self.step(*client_order_id, Step::Sent, Change::Plain, now, out);
            }
            ExecutionEvent::Submit(id, outcome) => self.on_submit(*id, outcome, now, out),
            ExecutionEvent::Cancel(id, outcome) => self.on_cancel(*id, outcome, now, out),
            ExecutionEvent::Replace { cancel_id, new_id, outcome } => {
                self.on_cancel(*cancel_id, &outcome.cancel, now, out);
                self.on_submit(*new_id, &outcome.new, now, out);
            }
            ExecutionEvent::Query(id, outcome) => self.on_query(*id, outcome, now, out),
            ExecutionEvent::Report(report) => self.on_report(report, now, out),
            ExecutionEvent::Fills(fills) | ExecutionEvent::FillsOf { fills, .. } => self.on_fills(fills, now, out),
            ExecutionEvent::OpenOrders(scope, orders) => self.on_open_orders(*scope, orders, now, out),
            ExecutionEvent::Balances { .. } | ExecutionEvent::Transfer { .. } => {}
        }
    }

    fn on_submit(&mut self, id: ClientOrderId, outcome: &SubmitOutcome, now: Timestamp, out: &mut Actions) {
        match outcome {
            SubmitOutcome::Accepted(ack) => {
                if let Some(order) = self.order_mut(id) {
                    order.venue_order_id = Some(ack.venue_order_id);
                }
                self.step(id, Step::Exists, Change::Plain, now, out);
                for report in &ack.reports {
                    self.on_report(report, now, out);
                }
                let cum = ack.reports.iter().map(|report| report.cum_quantity).max();
                match cum {
                    _ if !ack.status.is_terminal() => {}
                    Some(cum) => self.ends(id, ack.status, cum, now, out),
                    None if ack.status == OrderStatus::Filled => self.ends(id, ack.status, Quantity::ZERO, now, out),
                    None => {
                        // Over, but how much of it was filled the answer does not say.
                        if let Some(order) = self.order_mut(id).filter(|order| !order.state.is_closed()) {
                            order.query.start(now);
                        }
                    }
                }
            }
            // We never send an id twice: if the venue has one like it, it may well have this one.
            SubmitOutcome::Rejected(reject) if reject.reason == RejectReason::DuplicateId => {
                self.step(id, Step::Unsure, Change::Unknown(UnknownReason::Unclassified), now, out);
            }
            SubmitOutcome::Rejected(reject) => self.step(id, Step::Refused, Change::Rejected(*reject), now, out),
            SubmitOutcome::NotSent(reason) => self.step(id, Step::NotSent, Change::NotSent(*reason), now, out),
            SubmitOutcome::Unknown(reason) => {
                self.note_unsure(*reason, now);
                self.step(id, keel_model::mutant!(18, Step::Unsure, Step::NotSent), Change::Unknown(*reason), now, out);
            }
        }
    }

    fn on_cancel(&mut self, id: ClientOrderId, outcome: &CancelOutcome, now: Timestamp, out: &mut Actions) {
        let (first_ms, pause_ms_max) = (self.config.cancel_retry_ms, self.config.query_pause_ms_max);
        let Some(order) = self.order_mut(id) else { return };
        order.cancel_retry.sent = Timestamp::ZERO;
        match outcome {
            CancelOutcome::Canceled(snapshot) => {
                order.step_cancel(CancelStep::Canceled);
                self.on_snapshot(snapshot, Some(id), now, out);
                if let Some(order) = self.order_mut(id).filter(|order| order.state == OrderState::Live) {
                    // Cancelled, it says, and shows an order that works: the order itself is asked.
                    order.query.start(now);
                }
            }
            CancelOutcome::Rejected(_) if keel_model::mutant!(16, false, true) => {
                let cum = order.cum;
                self.ends(id, OrderStatus::Canceled, cum, now, out);
            }
            CancelOutcome::Rejected(reject) => {
                order.step_cancel(CancelStep::Refused);
                if !order.state.is_closed() {
                    // Over already, or not there yet: the order itself will tell.
                    order.query.start(now);
                    out.push(OrderAction::CancelRejected { id, reject: *reject });
                }
            }
            CancelOutcome::NotSent(_) | CancelOutcome::Unknown(_) => {
                order.step_cancel(CancelStep::Lost);
                let pause_ms = order.cancel_retry.pause_ms(first_ms, pause_ms_max);
                order.cancel_retry.due =
                    keel_model::mutant!(17, now.plus(Duration::from_millis(pause_ms)), Timestamp::ZERO);
                if let CancelOutcome::Unknown(reason) = outcome {
                    self.note_unsure(*reason, now);
                }
            }
        }
    }

    fn note_unsure(&mut self, reason: UnknownReason, now: Timestamp) {
        if reason == UnknownReason::VenueUnsure {
            self.venue_unsure_at = Some(now);
        }
    }

    // ── The machine ──

    /// Moves an order by the table and starts or stops its schedules.
    pub(crate) fn step(&mut self, id: ClientOrderId, step: Step, change: Change, now: Timestamp, out: &mut Actions) {
        let Some(slot) = self.find(id) else { return };
        let Some(order) = self.slot_mut(slot) else { return };
        let from = order.state;
        order.was_accepted |= matches!(step, Step::Exists | Step::NewTrade | Step::Ends);
        if matches!(step, Step::Exists | Step::NewTrade | Step::Ends) {
            (order.is_missing, order.is_doubted, order.not_found_since) = (false, false, Timestamp::ZERO);
        }
        match next(from, step) {
            Next::Stay => {}
            Next::To(to) => {
                debug_assert!(!from.is_closed(), "a closed order only moves by resurrection");
                self.enter(slot, to, change, now, out);
            }
            Next::Resurrect(_) if keel_model::mutant!(22, false, true) => {}
            Next::Resurrect(to) => {
                order.is_resurrected = true;
                self.open.push(slot);
                self.counters.resurrected += 1;
                self.alarm(Alarm::Resurrected { id, from, step }, out);
                self.enter(slot, to, Change::Resurrected, now, out);
                if let Some(order) = self.slot_mut(slot) {
                    order.query.start(now);
                }
            }
            Next::Conflict => {
                order.query.start(now);
                self.alarm(Alarm::Conflict { id, state: from, step }, out);
            }
        }
        if matches!(step, Step::Exists | Step::NewTrade | Step::Ends) {
            self.settle(slot, now, out);
        }
    }

    fn enter(&mut self, slot: u32, to: OrderState, change: Change, now: Timestamp, out: &mut Actions) {
        let (query_first_ms, is_unknown) = (self.config.query_first_ms, to == OrderState::Unknown);
        let Some(order) = self.slot_mut(slot) else { return };
        let (id, from) = (order.id(), order.state);
        order.state = to;
        order.ts_changed = now;
        match to {
            OrderState::Unknown => {
                order.unresolved_since = now;
                order.is_stuck_told = false;
                order.query.stop();
                order.query.start(now.plus(Duration::from_millis(query_first_ms)));
            }
            OrderState::Settling => {
                order.unresolved_since = now;
                order.is_stuck_told = false;
                order.query.stop();
            }
            OrderState::Live => {
                order.query.stop();
                // Also one that was given up when the order seemed to be over: it has risen, and is still to go.
                let is_to_go = order.is_cancel_wanted
                    && (order.step_cancel(CancelStep::Working)
                        || (order.cancel == CancelState::Unknown && !order.cancel_retry.is_running()));
                if is_to_go {
                    order.cancel_retry.due = now;
                }
            }
            _ if to.is_closed() => {
                order.query.stop();
                order.fills.stop();
                order.cancel_retry.stop();
            }
            _ => {}
        }
        self.counters.unknown += u64::from(is_unknown);
        if to.is_closed() {
            // Most orders that close are young: looked for from the end, and the order of birth is kept.
            if let Some(at) = self.open.iter().rposition(|open| *open == slot) {
                self.open.remove(at);
            }
            self.closed.push_back((now, id));
            match to {
                OrderState::Rejected => self.counters.rejected += 1,
                OrderState::Abandoned => self.counters.abandoned += 1,
                OrderState::NeverAccepted => self.counters.never_accepted += 1,
                _ => {}
            }
        }
        out.push(OrderAction::Changed { id, from, to, change });
    }

    /// Closes a settling order whose fills add up; asks for the fills that are missing otherwise.
    fn settle(&mut self, slot: u32, now: Timestamp, out: &mut Actions) {
        let first_ms = self.config.query_first_ms;
        let Some(order) = self.slot_mut(slot) else { return };
        if order.state == OrderState::Done && order.cum > order.filled {
            // The venue counts more than we have: there is a trade that nobody told.
            let id = order.id();
            self.step(id, Step::NewTrade, Change::Plain, now, out);
            return;
        }
        if order.state.is_closed() {
            return;
        }
        debug_assert!(order.cum >= order.filled, "the venue's count includes every fill that we know");
        let id = order.id();
        let is_full = order.new.intent.quantity.is_positive() && order.filled >= order.new.intent.quantity;
        if is_full && order.end.is_none() {
            // Nothing is left to fill: it is over whether or not the venue has said so.
            order.end = Some(keel_model::OrderStatus::Filled);
        }
        if order.end.is_some() && order.state == OrderState::Live {
            self.enter(slot, OrderState::Settling, Change::Plain, now, out);
        }
        let Some(order) = self.slot_mut(slot) else { return };
        if keel_model::mutant!(15, order.cum > order.filled, false) {
            order.fills.start(now.plus(Duration::from_millis(first_ms)));
        } else {
            order.fills.stop();
            if order.state == OrderState::Settling {
                self.step(id, Step::Settled, Change::Plain, now, out);
            }
        }
    }

    pub(crate) fn alarm(&mut self, alarm: Alarm, out: &mut Actions) {
        self.counters.alarms += 1;
        out.push(OrderAction::Alarm(alarm));
    }

    // ── Books ──

    fn insert(&mut self, mut order: Order) -> u32 {
        order.ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        let id = order.id();
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = Some(order);
                }
                slot
            }
            None => {
                self.slots.push(Some(order));
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.index.insert(id, slot);
        self.open.push(slot);
        self.recent = slot;
        slot
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> Option<&mut Order> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn slot(&self, slot: u32) -> Option<&Order> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The slot of an order. Most questions are about the order that the last one was about.
    #[inline]
    fn find(&self, id: ClientOrderId) -> Option<u32> {
        match self.slot(self.recent) {
            Some(order) if order.id() == id => Some(self.recent),
            _ => self.index.get(&id).copied(),
        }
    }

    pub(crate) fn order_mut(&mut self, id: ClientOrderId) -> Option<&mut Order> {
        let slot = self.find(id)?;
        self.recent = slot;
        self.slot_mut(slot)
    }

    /// An order that memory holds, open or closed.
    #[must_use]
    pub fn get(&self, id: ClientOrderId) -> Option<&Order> {
        self.slot(self.find(id)?)
    }

    /// Orders that are not closed, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Order> {
        self.open.iter().filter_map(|slot| self.slot(*slot))
    }

    /// How many orders are not closed.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Open orders of one instrument.
    pub fn open_of(&self, instrument: InstrumentId) -> impl Iterator<Item = &Order> {
        self.open().filter(move |order| order.new.intent.instrument == instrument)
    }

    /// Every order that memory holds, in the order of birth.
    #[must_use]
    pub fn all(&self) -> Vec<&Order> {
        let mut all: Vec<&Order> = self.slots.iter().flatten().collect();
        all.sort_unstable_by_key(|order| order.ordinal);
        all
    }

    /// Open orders that were not on a complete list of the venue and about which it has not answered yet.
    #[must_use]
    pub fn doubted_count(&self) -> usize {
        self.open().filter(|order| order.is_doubted).count()
    }

    /// Orders whose outcome or whose fills are still owed.
    #[must_use]
    pub fn unresolved_count(&self) -> usize {
        self.open().filter(|order| order.is_unresolved()).count()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &ExecutionConfig {
        &self.config
    }

    /// The memory of applied trades.
    #[must_use]
    pub const fn trades(&self) -> &TradeMemory {
        &self.trades
    }

    /// Closed orders that left memory in the last [`Self::retire`], oldest first; the next one drops them.
    pub fn take_evicted(&mut self) -> std::vec::Drain<'_, Order> {
        self.evicted.drain(..)
    }
}

#[cfg(test)]
mod tests;
