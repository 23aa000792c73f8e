//! Between engine and simulated venue: effects become requests, answers and reports become execution events.
//!
//! Answers arrive in the order of their requests, so what they answer waits in a queue of the same order.

use keel_engine::Effect;
use keel_marketdata::L2Rows;
use keel_model::{
    CancelOutcome, ClientOrderId, ExecutionEvent, InstrumentId, MarketEvent, NewOrder, NotSentReason, OrderType,
    QueryOutcome, ReplaceOutcome, SubmitOutcome, Timestamp, UnknownReason,
};
use keel_sim::{
    AccountId, DelayedVenue, Delivery, FilledAtOnce, MatchingEngine, OrderRef, Payload, SimAnswer, SimEvent,
    SimRequest, bridge,
};
use std::collections::VecDeque;

/// What an answer will be about.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Submit(ClientOrderId),
    Cancel(ClientOrderId),
    Replace {
        cancel_id: ClientOrderId,
        new_id: ClientOrderId,
    },
    /// With the venue's time before the question was sent.
    Query(ClientOrderId, Timestamp),
    OpenOrders(Option<InstrumentId>),
    Fills,
    Balances,
}

/// Most market orders that wait to be filled at once; more go the usual way.
const AT_ONCE_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Desk {
    venue: DelayedVenue,
    account: AccountId,
    recv_window_ms: u64,
    asked: VecDeque<Asked>,
    next_token: u64,
    /// Where ways take no time: market orders that nothing is sent before, oldest first, and since when.
    at_once: VecDeque<NewOrder>,
    at_once_since: Timestamp,
    /// Those of them that were filled whole, to be told.
    filled: VecDeque<(NewOrder, FilledAtOnce)>,
    is_instant: bool,
}

impl Desk {
    /// `is_instant`: ways take no time, and nothing is said twice; see [`DelayedVenue::set_terse`].
    pub(crate) fn new(venue: MatchingEngine, account: AccountId, recv_window_ms: u64, is_instant: bool) -> Self {
        let mut venue = DelayedVenue::new(venue);
        venue.set_terse(is_instant);
        Self {
            venue,
            account,
            recv_window_ms,
            asked: VecDeque::new(),
            next_token: 1,
            at_once: VecDeque::new(),
            at_once_since: Timestamp::ZERO,
            filled: VecDeque::new(),
            is_instant,
        }
    }

    pub(crate) const fn venue(&self) -> &MatchingEngine {
        self.venue.engine()
    }

    pub(crate) const fn account(&self) -> AccountId {
        self.account
    }

    #[inline]
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        if self.at_once.is_empty() { self.venue.next_at() } else { Some(self.at_once_since) }
    }

    /// Is nothing on its way?
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.at_once.is_empty() && self.venue.is_idle()
    }

    pub(crate) const fn venue_mut(&mut self) -> &mut MatchingEngine {
        self.venue.engine_mut()
    }

    /// Is the market of the instrument known by its best prices alone?
    pub(crate) fn is_touch(&self, instrument: InstrumentId) -> bool {
        self.venue.engine().is_touch(instrument)
    }

    /// What has happened at the venue without a request is on its way from now on.
    pub(crate) fn collect(&mut self, at: Timestamp) {
        self.venue.collect_events(at);
    }

    /// `false` when the venue does not know the instrument.
    pub(crate) fn on_market(&mut self, event: &MarketEvent) -> bool {
        self.venue.on_market(event).is_ok()
    }

    /// Rows of a recorded market before `until`, at the venue's times; how many were taken, `None` when the venue does not
    /// know the instrument.
    pub(crate) fn on_rows(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, until: Timestamp) -> Option<usize> {
        self.venue.on_rows(instrument, rows, until).ok()
    }

    /// Lets the venue act on what has reached it by `at`; how much has come back by then and waits for [`Self::take`]. What
    /// was filled at once comes after that, by [`Self::first_filled`].
    pub(crate) fn arrivals(&mut self, at: Timestamp) -> usize {
        while let Some(order) = self.at_once.front() {
            let intent = &order.intent;
            let (instrument, side, quantity) = (intent.instrument, intent.side, intent.quantity);
            let (venue, is_reduce_only) = (self.venue.engine_mut(), intent.reduce_only);
            let filled = venue.fill_at_once(at, self.account, instrument, side, quantity, is_reduce_only);
            let Some(filled) = filled else { break };
            self.filled.extend(self.at_once.pop_front().map(|order| (order, filled)));
        }
        let before = self.venue.waiting(at);
        if !self.at_once.is_empty() {
            self.send_usually(at);
        }
        self.venue.advance(at);
        // What was filled at once is told before what the orders after it came to.
        if self.filled.is_empty() { self.venue.waiting(at) } else { before }
    }

    /// The next order that was filled at once and is not told yet.
    #[inline]
    pub(crate) fn first_filled(&self) -> Option<&(NewOrder, FilledAtOnce)> {
        self.filled.front()
    }

    /// It is being told.
    #[inline]
    pub(crate) fn drop_first_filled(&mut self) {
        self.filled.pop_front();
    }

    /// Sends the orders that were to be filled at once the usual way: something comes after them, or they take longer.
    #[cold]
    fn send_usually(&mut self, now: Timestamp) {
        while let Some(order) = self.at_once.pop_front() {
            // There was room when they came. One that found none is asked about, as any that is not answered.
            self.send_request(
                now,
                Asked::Submit(order.client_order_id),
                SimRequest::Submit(bridge::order_request(&order)),
            );
        }
    }

    /// What has come back by `at`, one after the other, in the engine's words; `Some(None)` for what it does not hear.
    #[inline]
    pub(crate) fn take(&mut self, at: Timestamp) -> Option<Option<ExecutionEvent>> {
        let Self { venue, asked, .. } = self;
        venue.take(at, |delivery| read(asked, delivery))
    }

    /// Sends an effect on its way; what the engine must hear at once goes to `immediate`.
    pub(crate) fn send(&mut self, now: Timestamp, effect: Effect, immediate: &mut Vec<ExecutionEvent>) {
        match effect {
            Effect::Submit(approved) => {
                let order = approved.into_inner();
                let id = order.client_order_id;
                let may_fill_at_once = self.is_instant && order.intent.order_type == OrderType::Market;
                if may_fill_at_once && self.at_once.len() < AT_ONCE_MAX && self.venue.is_way_in_free() {
                    self.at_once.push_back(order);
                    self.at_once_since = now;
                    immediate.push(self.sent(id, now));
                } else if self.request(now, Asked::Submit(id), SimRequest::Submit(bridge::order_request(&order))) {
                    immediate.push(self.sent(id, now));
                } else {
                    immediate.push(ExecutionEvent::Submit(id, SubmitOutcome::NotSent(NotSentReason::RateLimited)));
                }
            }
            Effect::Replace(approved) => {
                let order = approved.into_inner();
                let (cancel_id, new_id) = (order.cancel.client_order_id, order.new.client_order_id);
                let request = SimRequest::CancelReplace(bridge::replace_request(&order));
                if self.request(now, Asked::Replace { cancel_id, new_id }, request) {
                    immediate.push(self.sent(new_id, now));
                } else {
                    let outcome = ReplaceOutcome {
                        cancel: CancelOutcome::NotSent(NotSentReason::RateLimited),
                        new: SubmitOutcome::NotSent(NotSentReason::RateLimited),
                    };
                    immediate.push(ExecutionEvent::Replace { cancel_id, new_id, outcome });
                }
            }
            Effect::Cancel(cancel) => {
                let id = cancel.client_order_id;
                if !self.request(now, Asked::Cancel(id), SimRequest::Cancel(bridge::cancel_request(&cancel))) {
                    immediate.push(ExecutionEvent::Cancel(id, CancelOutcome::NotSent(NotSentReason::RateLimited)));
                }
            }
            Effect::Query(query) => {
                let id = query.client_order_id;
                let order = OrderRef::Client(bridge::client_id(id));
                if !self.request(now, Asked::Query(id, now), SimRequest::Query(query.instrument, order)) {
                    immediate.push(ExecutionEvent::Query(id, QueryOutcome::Unknown(UnknownReason::Timeout)));
                }
            }
            // The engine asks again for what is not answered.
            Effect::FetchOpenOrders(scope) => {
                self.request(now, Asked::OpenOrders(scope), SimRequest::OpenOrders(scope));
            }
            Effect::FetchFills(instrument, since) => {
                self.request(now, Asked::Fills, SimRequest::Trades(instrument, since));
            }
            Effect::FetchBalances => {
                self.request(now, Asked::Balances, SimRequest::Balances);
            }
            Effect::Notify(_) => {}
        }
    }

    const fn sent(&self, client_order_id: ClientOrderId, now: Timestamp) -> ExecutionEvent {
        ExecutionEvent::Sent { client_order_id, signed_at: now, recv_window_ms: self.recv_window_ms }
    }

    fn request(&mut self, now: Timestamp, asked: Asked, request: SimRequest) -> bool {
        if !self.at_once.is_empty() {
            self.send_usually(now);
        }
        self.send_request(now, asked, request)
    }

    fn send_request(&mut self, now: Timestamp, asked: Asked, request: SimRequest) -> bool {
        let is_sent = self.venue.send(now, self.account, self.next_token, request).is_ok();
        if is_sent {
            self.next_token += 1;
            self.asked.push_back(asked);
        }
        is_sent
    }
}

/// What has arrived, in the engine's words; `None` for what the engine does not hear.
fn read(asked: &mut VecDeque<Asked>, delivery: &Delivery) -> Option<ExecutionEvent> {
    let at = delivery.at;
    match &delivery.payload {
        Payload::Event(SimEvent::Execution(report)) => Some(ExecutionEvent::Report(bridge::report(report, at))),
        Payload::Event(SimEvent::Balances(update)) => {
            Some(ExecutionEvent::Balances { complete: false, balances: bridge::balances(update), ts_event: update.ts })
        }
        Payload::Event(_) => None,
        Payload::Told(_) => {
            asked.pop_front();
            None
        }
        Payload::Answer(_, answer) => answered(asked.pop_front()?, answer, at),
    }
}

fn answered(asked: Asked, answer: &SimAnswer, at: Timestamp) -> Option<ExecutionEvent> {
    Some(match (asked, answer) {
        (Asked::Submit(id), SimAnswer::Submit(result)) => {
            ExecutionEvent::Submit(id, bridge::submit_outcome(result, at))
        }
        (Asked::Cancel(id), SimAnswer::Cancel(result)) => ExecutionEvent::Cancel(id, bridge::cancel_outcome(result)),
        (Asked::Replace { cancel_id, new_id }, SimAnswer::CancelReplace(result, fills)) => {
            let outcome = bridge::replace_outcome(result, fills, at);
            ExecutionEvent::Replace { cancel_id, new_id, outcome }
        }
        (Asked::Query(id, asked), SimAnswer::Query(result)) => {
            ExecutionEvent::Query(id, bridge::query_outcome(result, asked))
        }
        (Asked::OpenOrders(scope), SimAnswer::OpenOrders(orders)) => {
            ExecutionEvent::OpenOrders(scope, orders.iter().map(bridge::snapshot).collect())
        }
        (Asked::Fills, SimAnswer::Trades(trades)) => ExecutionEvent::Fills(bridge::fills(trades)),
        (Asked::Balances, SimAnswer::Balances(balances)) => {
            ExecutionEvent::Balances { complete: true, balances: balances.clone(), ts_event: at }
        }
        // Answers keep the order of their requests; anything else is no answer to us.
        _ => return None,
    })
}
