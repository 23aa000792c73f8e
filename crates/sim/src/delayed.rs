//! The engine behind a connection that takes time: requests arrive after the latency model's way in, answers and reports
//! after its way out. Order is kept on both ways, as on one connection. Whoever drives it calls [`DelayedVenue::advance`]
//! and collects what has arrived with [`DelayedVenue::poll`].

use crate::config::LatencyModel;
use crate::engine::MatchingEngine;
use crate::event::{AccountTrade, ExecReport, SimEvent};
use crate::reject::Reject;
use crate::rng::Rng;
use crate::types::{
    AccountId, CancelReplace, CancelRequest, ClientId, OrderRef, OrderRequest, OrderState, OrderView, ReplaceResult,
};
use keel_marketdata::L2Rows;
use keel_model::{Balance, ExecType, InstrumentId, MarketEvent, Timestamp};
use std::collections::VecDeque;
use std::time::Duration;

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "requests wait in one reused queue; boxing would allocate per request")]
pub enum SimRequest {
    /// Place an order.
    Submit(OrderRequest),
    /// Cancel an order.
    Cancel(CancelRequest),
    /// Cancel one order and place another.
    CancelReplace(CancelReplace),
    /// Cancel all open orders on an instrument.
    CancelAll(InstrumentId),
    /// Ask about an order.
    Query(InstrumentId, OrderRef),
    /// Ask for the open orders on an instrument, or on all.
    OpenOrders(Option<InstrumentId>),
    /// Ask for the account's trades on an instrument since a time.
    Trades(InstrumentId, Timestamp),
    /// Ask for all balances.
    Balances,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "answers wait in one reused queue; boxing would allocate per answer")]
pub enum SimAnswer {
    /// The order placed and the fills it had at once, or why it was refused.
    Submit(Result<(OrderView, Vec<ExecReport>), Reject>),
    /// The order cancelled, or why not.
    Cancel(Result<OrderView, Reject>),
    /// Both halves, and the fills that the new order had at once.
    CancelReplace(Result<ReplaceResult, Reject>, Vec<ExecReport>),
    /// The orders cancelled.
    CancelAll(Result<Vec<OrderView>, Reject>),
    /// The order, or why there is none.
    Query(Result<OrderView, Reject>),
    /// The open orders.
    OpenOrders(Vec<OrderView>),
    /// The trades, each with the client id of its order (empty when that is no longer kept).
    Trades(Vec<(ClientId, AccountTrade)>),
    /// The balances.
    Balances(Vec<Balance>),
}

/// What has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "deliveries wait in one reused queue; boxing would allocate per report")]
pub enum Payload {
    /// The answer to the request that was sent with this token.
    Answer(u64, SimAnswer),
    /// A message of the account stream.
    Event(SimEvent),
    /// The request with this token was done, as the account stream has told ([`DelayedVenue::set_terse`]).
    Told(u64),
}

/// Something that arrives at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrives.
    pub at: Timestamp,
    /// What it is.
    pub payload: Payload,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    at: Timestamp,
    account: AccountId,
    token: u64,
    request: SimRequest,
}

/// The engine behind a connection that takes time.
#[derive(Debug)]
pub struct DelayedVenue {
    engine: MatchingEngine,
    latency: LatencyModel,
    rng: Rng,
    inbound: VecDeque<Pending>,
    outbound: VecDeque<Delivery>,
    last_in: Timestamp,
    last_out: Timestamp,
    is_terse: bool,
}

impl DelayedVenue {
    /// Most requests on their way at once; more are refused ([`Reject::VenueFull`]).
    pub const REQUESTS_MAX: usize = 1 << 16;
    /// Most answers and reports that wait to be polled before new requests are refused ([`Reject::VenueFull`]); reports of
    /// what was accepted before are never dropped.
    pub const DELIVERIES_MAX: usize = 1 << 18;

    /// Puts the engine behind its configured latency.
    #[must_use]
    pub fn new(engine: MatchingEngine) -> Self {
        let (latency, seed) = (engine.config().latency, engine.config().seed);
        Self {
            engine,
            latency,
            rng: Rng::fork(seed, 1),
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
            last_in: Timestamp::ZERO,
            last_out: Timestamp::ZERO,
            is_terse: false,
        }
    }

    /// Says nothing twice, for ways that take no time: an answer does not repeat the fills that the account stream has just
    /// told, and that an order was accepted is not told where its first fill follows at once.
    pub const fn set_terse(&mut self, is_terse: bool) {
        self.is_terse = is_terse;
    }

    /// The engine, to ask it what no connection is needed for.
    #[must_use]
    pub const fn engine(&self) -> &MatchingEngine {
        &self.engine
    }

    /// The engine, to set it up.
    pub const fn engine_mut(&mut self) -> &mut MatchingEngine {
        &mut self.engine
    }

    /// Sends a request; the answer carries the token. Returns when the request arrives.
    pub fn send(
        &mut self,
        now: Timestamp,
        account: AccountId,
        token: u64,
        request: SimRequest,
    ) -> Result<Timestamp, Reject> {
        if self.inbound.len() >= Self::REQUESTS_MAX || self.outbound.len() >= Self::DELIVERIES_MAX {
            return Err(Reject::VenueFull);
        }
        let delay = delay(&mut self.rng, self.latency.order_in, self.latency.order_in_jitter);
        let at = now.plus(delay).max(self.last_in);
        self.last_in = at;
        self.inbound.push_back(Pending { at, account, token, request });
        Ok(at)
    }

    /// Is nothing on its way?
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_empty()
    }

    /// Is nothing on its way in, and room for much on its way out?
    #[must_use]
    pub fn is_way_in_free(&self) -> bool {
        self.inbound.is_empty() && self.outbound.len() < Self::DELIVERIES_MAX / 2
    }

    /// Executes every request that has arrived by `now`, each at its own time.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(pending) = self.inbound.pop_front_if(|pending| pending.at <= now) {
            if self.is_terse
                && let SimRequest::Submit(request) = &pending.request
            {
                self.submit_terse(&pending, request);
                continue;
            }
            let answer = self.execute(&pending);
            self.answer(&pending, answer);
        }
    }

    fn answer(&mut self, pending: &Pending, answer: SimAnswer) {
        let at = self.arrival(pending.at);
        // The account stream tells of it first, as it mostly does.
        self.collect(at);
        self.outbound.push_back(Delivery { at, payload: Payload::Answer(pending.token, answer) });
    }

    /// A placement of which the account stream tells everything where it fills at once.
    fn submit_terse(&mut self, pending: &Pending, request: &OrderRequest) {
        match self.engine.submit(pending.at, pending.account, request) {
            Ok(order) if order.state == OrderState::Filled => {
                let at = self.arrival(pending.at);
                self.collect(at);
                self.outbound.push_back(Delivery { at, payload: Payload::Told(pending.token) });
            }
            result => self.answer(pending, SimAnswer::Submit(result.map(|order| (order, Vec::new())))),
        }
    }

    /// Feeds an event of a recorded market, after every request that arrived before it.
    pub fn on_market(&mut self, event: &MarketEvent) -> Result<(), Reject> {
        self.advance(event.ts_recv());
        self.engine.on_market(event)?;
        if self.engine.has_events() {
            let at = self.arrival(event.ts_recv());
            self.collect(at);
        }
        Ok(())
    }

    /// Feeds the rows of a recorded market before `until`, at the venue's own times; no request may arrive before that. Stops
    /// behind the first row after which something is reported; returns how many rows were taken.
    pub fn on_rows(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, until: Timestamp) -> Result<usize, Reject> {
        let taken = self.engine.on_rows(instrument, rows, until)?;
        if self.engine.has_events() {
            let at = self.arrival(self.engine.now());
            self.collect(at);
        }
        Ok(taken)
    }

    /// Sends what has happened at the venue at `at` without a request on its way to the client.
    pub fn collect_events(&mut self, at: Timestamp) {
        if self.engine.has_events() {
            let at = self.arrival(at);
            self.collect(at);
        }
    }

    /// Appends everything that has arrived by `now`.
    pub fn poll(&mut self, now: Timestamp, out: &mut Vec<Delivery>) {
        while let Some(delivery) = self.outbound.pop_front_if(|delivery| delivery.at <= now) {
            out.push(delivery);
        }
    }

    /// How much has arrived by `now` and waits to be taken.
    #[must_use]
    pub fn waiting(&self, now: Timestamp) -> usize {
        self.outbound.iter().take_while(|delivery| delivery.at <= now).count()
    }

    /// Has what has arrived first read, if it has by `now`, and drops it.
    #[inline]
    pub fn take<R>(&mut self, now: Timestamp, read: impl FnOnce(&Delivery) -> R) -> Option<R> {
        let result = read(self.outbound.front().filter(|delivery| delivery.at <= now)?);
        self.outbound.pop_front();
        Some(result)
    }

    /// When something happens next without anything new: a request arrives at the venue or a report at the client.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        let request = self.inbound.front().map(|pending| pending.at);
        let report = self.outbound.front().map(|delivery| delivery.at);
        match (request, report) {
            (Some(request), Some(report)) => Some(request.min(report)),
            (request, report) => request.or(report),
        }
    }

    fn arrival(&mut self, sent: Timestamp) -> Timestamp {
        let delay = delay(&mut self.rng, self.latency.report_out, self.latency.report_out_jitter);
        self.last_out = sent.plus(delay).max(self.last_out);
        self.last_out
    }

    /// Sends the account events on their way; market data has its own feed.
    fn collect(&mut self, at: Timestamp) {
        let events = &mut self.engine.events;
        for (at_event, event) in events.iter().enumerate() {
            let next = events.get(at_event + 1);
            if self.is_terse && next.is_some_and(|next| is_filled_at_once(event, next)) {
                continue;
            }
            if matches!(event, SimEvent::Execution(_) | SimEvent::List(_) | SimEvent::Balances(_)) {
                self.outbound.push_back(Delivery { at, payload: Payload::Event(*event) });
            }
        }
        events.clear();
    }

    fn execute(&mut self, pending: &Pending) -> SimAnswer {
        let (engine, now, account) = (&mut self.engine, pending.at, pending.account);
        match &pending.request {
            SimRequest::Submit(request) => {
                let result = engine.submit(now, account, request);
                SimAnswer::Submit(result.map(|view| (view, engine.last_fills().to_vec())))
            }
            SimRequest::Cancel(request) => SimAnswer::Cancel(engine.cancel(now, account, request)),
            SimRequest::CancelReplace(request) => {
                let result = engine.cancel_replace(now, account, request);
                SimAnswer::CancelReplace(result, engine.last_fills().to_vec())
            }
            SimRequest::CancelAll(instrument) => {
                let mut orders = Vec::new();
                let result = engine.cancel_all(now, account, *instrument, &mut orders);
                SimAnswer::CancelAll(result.map(|()| orders))
            }
            SimRequest::Query(instrument, order) => SimAnswer::Query(engine.order(account, *instrument, *order)),
            SimRequest::OpenOrders(instrument) => {
                let all = engine.instruments().map(|known| known.id);
                let asked = all.filter(|id| instrument.is_none_or(|instrument| instrument == *id));
                SimAnswer::OpenOrders(asked.flat_map(|id| engine.open_orders(account, id)).collect())
            }
            SimRequest::Trades(instrument, since) => {
                // Times never run back, so that the recent ones are the last.
                let trades = engine.account_trades(account, *instrument).rev();
                let mut recent: Vec<_> = trades.take_while(|trade| trade.ts >= *since).collect();
                recent.reverse();
                let named = recent.into_iter().map(|trade| {
                    let order = engine.order(account, *instrument, OrderRef::Id(trade.order_id));
                    (order.map_or(ClientId::EMPTY, |order| order.client_order_id), *trade)
                });
                SimAnswer::Trades(named.collect())
            }
            SimRequest::Balances => SimAnswer::Balances(engine.balances(account)),
        }
    }
}

/// Is the next event a fill of the order whose acceptance this one tells?
fn is_filled_at_once(event: &SimEvent, next: &SimEvent) -> bool {
    let (SimEvent::Execution(event), SimEvent::Execution(next)) = (event, next) else { return false };
    event.exec_type == ExecType::New && next.exec_type == ExecType::Trade && event.order.order_id == next.order.order_id
}

fn delay(rng: &mut Rng, least: Duration, jitter: Duration) -> Duration {
    let jitter = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
    if jitter == 0 {
        return least;
    }
    least.saturating_add(Duration::from_nanos(rng.below(jitter.saturating_add(1))))
}
