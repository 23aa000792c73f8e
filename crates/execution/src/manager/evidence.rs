//! Reports, order snapshots and answers to questions: whatever the venue says about an order as a whole.

use super::{Actions, OrderManager};
use crate::action::{Alarm, Change, OrderAction};
use crate::cancel::CancelStep;
use crate::config::UnknownRule;
use crate::order::Order;
use crate::state::{OrderState, Step};
use keel_model::order::ReasonText;
use keel_model::{
    ClientOrderId, ExecType, ExecutionReport, Fill, InstrumentId, NewOrder, OrderIntent, OrderPurpose, OrderSnapshot,
    OrderStatus, OrderType, Quantity, QueryOutcome, Reject, RejectReason, TimeInForce, Timestamp, UnknownReason,
    VenueOrderId,
};
use keel_risk::HOUSE;
use std::time::Duration;

/// How far a signed timestamp may lie ahead of the venue's clock and still be taken; unit: milliseconds.
const SIGNED_AHEAD_MS_MAX: u64 = 1_000;
/// The first pause after a question that failed when it could have decided.
const FENCE_RETRY: Duration = Duration::from_millis(100);

impl OrderManager {
    /// A message of the account stream, or one that came with an answer.
    pub(super) fn on_report(&mut self, report: &ExecutionReport, now: Timestamp, out: &mut Actions) {
        let own = self.config.instance;
        let Some(id) = report.client_order_id.filter(|id| keel_model::mutant!(9, id.instance == own, true)) else {
            if report.exec_type != ExecType::Trade {
                self.foreign_order(report.venue_order_id, report.instrument, out);
            } else if let Some(fill) = &report.fill {
                self.foreign_fill(fill, out);
            }
            return;
        };
        if self.get(id).is_none() {
            let adopted = Self::adopted_order(report.instrument, report.side, None, None, report.quantity);
            self.adopt(OrderIntent { price: report.price, ..adopted }, id, report.venue_order_id, now, out);
        }
        self.learn(id, Some(report.venue_order_id), report.quantity);
        if let Some(fill) = &report.fill {
            self.apply_fill(id, fill, now, out);
        }
        if report.status == OrderStatus::Rejected && !report.cum_quantity.is_positive() {
            let reject = Reject { reason: RejectReason::Other, code: 0, text: report.text };
            self.step(id, Step::Refused, Change::Rejected(reject), now, out);
        } else if report.status.is_terminal() {
            self.ends(id, report.status, report.cum_quantity, now, out);
        } else {
            self.raise_cum(id, report.cum_quantity);
            self.step(id, Step::Exists, Change::Plain, now, out);
        }
    }

    /// An order as the venue describes it. `expected` is the id that was asked for.
    pub(super) fn on_snapshot(
        &mut self,
        snapshot: &OrderSnapshot,
        expected: Option<ClientOrderId>,
        now: Timestamp,
        out: &mut Actions,
    ) {
        // An answer to a question about one order of ours is about that order, even where a venue leaves the id out.
        let id = snapshot.client_order_id.or(expected).filter(|id| id.instance == self.config.instance);
        let Some(id) = id else {
            self.foreign_order(snapshot.venue_order_id, snapshot.instrument, out);
            return;
        };
        if self.get(id).is_none() {
            let (kind, time) = (snapshot.order_type, snapshot.time_in_force);
            let adopted = Self::adopted_order(snapshot.instrument, snapshot.side, kind, time, snapshot.quantity);
            let adopted = OrderIntent { price: snapshot.price, stop_price: snapshot.stop_price, ..adopted };
            self.adopt(adopted, id, snapshot.venue_order_id, now, out);
        }
        self.learn(id, Some(snapshot.venue_order_id), snapshot.quantity);
        if snapshot.status == OrderStatus::Rejected && !snapshot.cum_quantity.is_positive() {
            let reject = Reject { reason: RejectReason::Other, code: 0, text: ReasonText::EMPTY };
            self.step(id, Step::Refused, Change::Rejected(reject), now, out);
        } else if snapshot.status.is_terminal() {
            self.ends(id, snapshot.status, snapshot.cum_quantity, now, out);
        } else {
            self.raise_cum(id, snapshot.cum_quantity);
            self.step(id, Step::Exists, Change::Plain, now, out);
        }
    }

    /// The venue says that an order is over, with `cum` filled.
    pub(super) fn ends(
        &mut self,
        id: ClientOrderId,
        status: OrderStatus,
        cum: Quantity,
        now: Timestamp,
        out: &mut Actions,
    ) {
        self.raise_cum(id, cum);
        self.tell_uncalled_end(id, status, out);
        if let Some(order) = self.order_mut(id) {
            // The first word about the end stands; a later fill completes it, it does not rename it.
            order.end = order.end.or(Some(status));
            if status == OrderStatus::Filled && order.new.intent.quantity > order.cum {
                order.cum = order.new.intent.quantity;
            }
        }
        self.step(id, Step::Ends, Change::Plain, now, out);
    }

    /// An order that was to work until it is cancelled, and ends without anybody having asked for it, is told (V-14).
    fn tell_uncalled_end(&mut self, id: ClientOrderId, status: OrderStatus, out: &mut Actions) {
        let Some(order) = self.get(id) else { return };
        let intent = &order.new.intent;
        let is_news = order.end.is_none() && !order.state.is_closed();
        let works_on = intent.time_in_force == TimeInForce::Gtc && intent.order_type != OrderType::Market;
        let is_uncalled = !order.is_cancel_wanted && !order.is_restored && !order.is_adopted;
        if is_news && works_on && is_uncalled && matches!(status, OrderStatus::Canceled | OrderStatus::Expired) {
            self.alarm(Alarm::EndedByVenue { id, instrument: intent.instrument, status }, out);
        }
    }

    /// Orders of somebody else are told once each and left alone.
    fn foreign_order(&mut self, venue_order_id: VenueOrderId, instrument: InstrumentId, out: &mut Actions) {
        if self.foreign.insert(instrument, &venue_order_id, Timestamp::ZERO) {
            self.alarm(Alarm::ForeignOrder { venue_order_id, instrument }, out);
        }
    }

    pub(super) fn foreign_fill(&mut self, fill: &Fill, out: &mut Actions) {
        if self.foreign_fills.insert(fill.instrument, &fill.trade_id, fill.ts_event) {
            self.alarm(Alarm::ForeignFill { trade_id: fill.trade_id, instrument: fill.instrument }, out);
        }
    }

    fn raise_cum(&mut self, id: ClientOrderId, cum: Quantity) {
        if let Some(order) = self.order_mut(id) {
            order.cum = keel_model::mutant!(7, order.cum.max(cum), cum.max(order.filled));
        }
    }

    fn learn(&mut self, id: ClientOrderId, venue_order_id: Option<VenueOrderId>, quantity: Quantity) {
        if let Some(order) = self.order_mut(id) {
            order.venue_order_id = venue_order_id.filter(|id| !id.is_empty()).or(order.venue_order_id);
            if order.is_adopted && order.new.intent.quantity.is_zero() {
                order.new.intent.quantity = quantity;
            }
        }
    }

    /// An answer to a question by client order id.
    pub(super) fn on_query(&mut self, id: ClientOrderId, outcome: &QueryOutcome, now: Timestamp, out: &mut Actions) {
        if let Some(order) = self.order_mut(id) {
            order.query.sent = Timestamp::ZERO;
        }
        match outcome {
            QueryOutcome::Found(snapshot) => {
                if let Some(order) = self.order_mut(id) {
                    order.query.stop();
                }
                self.on_snapshot(snapshot, Some(id), now, out);
                self.follow_cancel(id, now);
            }
            QueryOutcome::NotFound { venue_time_before } => self.on_not_found(id, *venue_time_before, now, out),
            QueryOutcome::Unknown(reason) => {
                self.note_unsure(*reason, now);
                keel_model::mutant!(
                    8,
                    self.query_later(id, None, now),
                    if let Some(order) = self.order_mut(id) {
                        order.query.stop()
                    }
                );
            }
        }
    }

    /// A cancel that was refused while the order was not there yet is sent again once the order is found open.
    fn follow_cancel(&mut self, id: ClientOrderId, now: Timestamp) {
        let (first_ms, max_ms) = (self.config.cancel_retry_ms, self.config.query_pause_ms_max);
        if let Some(order) = self.order_mut(id) {
            let is_wanted = order.is_cancel_wanted && order.state == OrderState::Live;
            if keel_model::mutant!(12, is_wanted, false) && order.step_cancel(CancelStep::Working) {
                let pause_ms = order.cancel_retry.pause_ms(first_ms, max_ms);
                order.cancel_retry.due = now.plus(Duration::from_millis(pause_ms));
            }
        }
    }

    /// "Not found" proves non-acceptance only past the fence, by the venue's own clock, read before the question was sent.
    fn on_not_found(&mut self, id: ClientOrderId, venue_time: Option<Timestamp>, now: Timestamp, out: &mut Actions) {
        let (rule, window_ms) = (self.config.unknown_rule, self.config.recv_window_ms);
        let bound_ms = self.bound_ms(now);
        let Some(order) = self.order_mut(id) else { return };
        match order.state {
            // What was at the venue once was accepted, whatever a question says now.
            OrderState::Unknown if order.was_accepted => return self.on_accepted_not_found(id, now, out),
            OrderState::Unknown => {}
            // Only an unknown order is asked about until its fence has passed: in a replay this is what a later start found out.
            OrderState::Intent | OrderState::Armed | OrderState::Sent => {}
            // An order that lives here and is not found there: replica lag, or worse. Keep asking; it never closes by this.
            OrderState::Live | OrderState::Settling => return self.on_accepted_not_found(id, now, out),
            _ => {
                order.query.stop();
                return;
            }
        }
        let UnknownRule::Fence { .. } = rule else {
            self.query_later(id, None, now);
            return;
        };
        let Some(venue_time) = venue_time else {
            self.query_later(id, None, now);
            return;
        };
        let signed = order.signed_at.unwrap_or_else(|| {
            // Signed before the outcome became unknown, so at the latest now; and never further ahead than the venue takes.
            *order.signed_before.get_or_insert(venue_time.plus(Duration::from_millis(SIGNED_AHEAD_MS_MAX)))
        });
        let window_ms = if order.recv_window_ms == 0 { window_ms } else { order.recv_window_ms };
        let valid_ms = keel_model::mutant!(2, window_ms, 0);
        let late_ms = keel_model::mutant!(3, keel_model::mutant!(4, bound_ms, bound_ms / 3), 0);
        let signed_at = keel_model::mutant!(6, signed, order.ts_created);
        let fence = signed_at.plus(Duration::from_millis(valid_ms.saturating_add(late_ms)));
        let is_known_unknown = order.state == OrderState::Unknown;
        let is_past = keel_model::mutant!(5, venue_time > fence, order.query.attempts >= 3);
        if keel_model::mutant!(1, is_past, true) {
            if !is_known_unknown {
                self.step(id, Step::Unsure, Change::Unknown(UnknownReason::Restart), now, out);
            }
            self.step(id, Step::Disproved, Change::Plain, now, out);
        } else if is_known_unknown {
            self.query_later(id, Some(fence.since(venue_time)), now);
        }
    }

    /// An order that the venue once had, and does not know now: lag at first, beyond the bound of lag a contradiction that a
    /// person must look at. It is asked about further on and never closed by this: fills may be owed.
    fn on_accepted_not_found(&mut self, id: ClientOrderId, now: Timestamp, out: &mut Actions) {
        self.query_later(id, None, now);
        // An answer may be as old as a question may take: what is heard beyond the bound must have been asked beyond it.
        let bound = Duration::from_millis(self.bound_ms(now).saturating_add(self.config.query_timeout_ms));
        let Some(order) = self.order_mut(id) else { return };
        if order.not_found_since == Timestamp::ZERO {
            order.not_found_since = now;
        }
        if order.is_missing || now.since(order.not_found_since) <= bound {
            return;
        }
        (order.is_missing, order.is_doubted) = (true, false);
        let instrument = order.new.intent.instrument;
        self.alarm(Alarm::Missing { id, instrument }, out);
    }

    /// How far the venue's answers may lag: longer while it answers 5xx; the overlap of fills where nothing is assumed.
    #[must_use]
    pub fn lag_max(&self, now: Timestamp) -> Duration {
        let overlap_ms = self.config.fills_overlap_ms;
        Duration::from_millis(match self.config.unknown_rule {
            UnknownRule::Fence { .. } => self.bound_ms(now).max(overlap_ms),
            UnknownRule::Hold => overlap_ms,
        })
    }

    /// How far queries may lag: longer while the venue answers 5xx.
    fn bound_ms(&self, now: Timestamp) -> u64 {
        let UnknownRule::Fence { staleness_bound_ms, staleness_bound_degraded_ms } = self.config.unknown_rule else {
            return u64::MAX;
        };
        let degraded = Duration::from_millis(staleness_bound_degraded_ms);
        match self.venue_unsure_at {
            Some(at) if now.since(at) <= degraded => staleness_bound_degraded_ms,
            _ => staleness_bound_ms,
        }
    }

    /// Plans the next question: growing pauses, but not past the moment at which the fence can decide.
    pub(super) fn query_later(&mut self, id: ClientOrderId, until_fence: Option<Duration>, now: Timestamp) {
        let (first_ms, max_ms) = (self.config.query_first_ms, self.config.query_pause_ms_max);
        let Some(order) = self.order_mut(id).filter(|order| !order.state.is_closed()) else { return };
        let mut pause = Duration::from_millis(order.query.pause_ms(first_ms, max_ms));
        if let Some(left) = until_fence {
            order.fence_at = now.plus(left);
            pause = pause.min(left + Duration::from_millis(5)).max(Duration::from_millis(first_ms.min(20)));
        } else if order.fence_at != Timestamp::ZERO {
            // The question failed: asked again at the fence, and past it after as long as the fence is past.
            let wait = order.fence_at.since(now).max(now.since(order.fence_at)).max(FENCE_RETRY);
            pause = pause.min(wait + Duration::from_millis(5));
        }
        order.query.due = now.plus(pause);
    }

    /// All open orders of an instrument or of the account. It is a list of what exists; what is missing on it is only asked
    /// about, since the list may be older than our orders.
    pub(super) fn on_open_orders(
        &mut self,
        scope: Option<InstrumentId>,
        orders: &[OrderSnapshot],
        now: Timestamp,
        out: &mut Actions,
    ) {
        for snapshot in orders {
            self.on_snapshot_hit(snapshot, now, out);
        }
        let mut missing = std::mem::take(&mut self.scratch);
        missing.clear();
        missing.extend(self.open.iter().copied().filter(|slot| {
            self.slot(*slot).is_some_and(|order| {
                let in_scope = scope.is_none_or(|id| id == order.new.intent.instrument);
                let listed = || orders.iter().any(|snapshot| snapshot.client_order_id == Some(order.id()));
                in_scope && order.state == OrderState::Live && !listed()
            })
        }));
        for slot in &missing {
            if keel_model::mutant!(10, false, true) {
                continue;
            }
            let id = self.slot(*slot).map(Order::id);
            if let Some(id) = id.filter(|_| keel_model::mutant!(11, false, true)) {
                self.ends(id, OrderStatus::Canceled, Quantity::ZERO, now, out);
                continue;
            }
            if let Some(order) = self.slot_mut(*slot) {
                order.is_doubted = !order.is_missing;
                order.query.start(now);
            }
        }
        self.scratch = missing;
    }

    /// A hit on a list of open orders. Lists may be served from a replica that lags: for an order that is done here, the
    /// order itself is asked instead of believing the list.
    fn on_snapshot_hit(&mut self, snapshot: &OrderSnapshot, now: Timestamp, out: &mut Actions) {
        let done = snapshot.client_order_id.and_then(|id| self.get(id)).filter(|order| order.state == OrderState::Done);
        match done.map(|order| (order.query_request(), order.ts_changed)) {
            Some((query, closed)) => {
                if now.since(closed) > Duration::from_millis(self.bound_ms(now)) {
                    out.push(OrderAction::Query(query));
                }
            }
            None => self.on_snapshot(snapshot, None, now, out),
        }
    }

    fn adopted_order(
        instrument: InstrumentId,
        side: keel_model::Side,
        order_type: Option<OrderType>,
        time_in_force: Option<TimeInForce>,
        quantity: Quantity,
    ) -> OrderIntent {
        let order_type = order_type.unwrap_or(OrderType::Limit);
        let purpose = if order_type.has_stop_price() { OrderPurpose::Protective } else { OrderPurpose::Entry };
        OrderIntent {
            instrument,
            side,
            order_type,
            time_in_force: time_in_force.unwrap_or(TimeInForce::Gtc),
            quantity,
            price: None,
            stop_price: None,
            reduce_only: false,
            purpose,
        }
    }

    /// Takes an order that carries our prefix into the books.
    pub(super) fn adopt(
        &mut self,
        intent: OrderIntent,
        id: ClientOrderId,
        venue_order_id: VenueOrderId,
        now: Timestamp,
        out: &mut Actions,
    ) {
        let new = NewOrder { client_order_id: id, strategy: HOUSE, ts_decided: now, intent };
        let mut order = Order::new(new, now, 0);
        order.state = OrderState::Unknown;
        order.is_adopted = true;
        order.venue_order_id = Some(venue_order_id).filter(|id| !id.is_empty());
        self.insert(order);
        self.counters.adopted += 1;
        out.push(OrderAction::Adopted { id });
        let epoch = self.config.epoch;
        let was_given_out = id.epoch < epoch || (id.epoch == epoch && id.sequence <= self.last_sequence);
        self.alarm(if was_given_out { Alarm::Adopted { id } } else { Alarm::IdClash { id } }, out);
    }
}
