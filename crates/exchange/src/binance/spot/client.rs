//! The REST client of one account.
//!
//! Invariants: every call has a total deadline; a placement leaves at most once; outcomes follow the classifier, and
//! whatever may have left without a readable answer is `Unknown`; nothing is signed with a clock that was never measured.

use super::VENUE;
use super::burst::Burst;
use super::capabilities::capabilities;
use super::classify::{VenueError, Verdict, classify};
use super::codec::encode::{EncodeError, Query, encode_signed_submit_into};
use super::codec::{answers, calls};
use super::http::{Answer, Call, CallError, RestPool};
use super::limits::Lane;
use super::order_ids::OrderIds;
use super::sign::Signer;
use super::symbols::SymbolTable;
use super::transport::OWNER;
use super::venue::{BinanceSpot, call_error, success, unreadable};
use crate::{BurstSink, Capabilities, ClockOffset, ExchangeClient, ExchangeError, SentInfo};
use async_trait::async_trait;
use hyper::Method;
use keel_lifecycle::{Lease, LeaseKind};
use keel_model::{
    Balance, CancelOrder, CancelOutcome, ClientOrderId, Fill, Instrument, InstrumentId, Instruments, NewOrder,
    NotSentReason, OrderSnapshot, QueryOrder, QueryOutcome, RejectReason, ReplaceOrder, ReplaceOutcome, SubmitOutcome,
    Timestamp, UnknownReason,
};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::Duration;

/// Most pages of trades that are asked for at once; each has up to a thousand.
const TRADE_PAGES_MAX: usize = 20;

/// Orders and account of one account at Binance spot.
#[derive(Debug)]
pub struct BinanceSpotClient {
    venue: Arc<BinanceSpot>,
    pool: RestPool,
    capabilities: Capabilities,
    known: RwLock<Arc<Known>>,
    order_ids: Mutex<OrderIds>,
    lease: Mutex<Option<Lease>>,
}

/// The instruments of the run, by index and by symbol.
#[derive(Debug, Default)]
struct Known {
    instruments: Arc<Instruments>,
    symbols: SymbolTable,
}

/// A request that changes something, with no answer that could be judged.
enum NoAnswer {
    NotSent(NotSentReason),
    Unknown(UnknownReason),
}

impl BinanceSpotClient {
    pub(crate) fn new(venue: Arc<BinanceSpot>) -> Self {
        let pool = venue.pool(venue.config.connections_max);
        let lease = venue.ledger.lease_with_close(LeaseKind::HttpClient, OWNER, "rest client");
        Self {
            capabilities: capabilities(Duration::from_millis(venue.config.recv_window_ms)),
            pool,
            known: RwLock::default(),
            order_ids: Mutex::new(OrderIds::default()),
            lease: Mutex::new(Some(lease)),
            venue,
        }
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().clone()
    }

    /// The venue's time now, measured first where it is not known; unit: milliseconds.
    async fn signing_time(&self, lane: Lane) -> Result<(), ExchangeError> {
        if self.venue.venue_clock.now().is_none() {
            self.venue.measure_clock(&self.pool, lane).await?;
        }
        Ok(())
    }

    fn recv_window_ms(&self) -> u64 {
        self.venue.config.recv_window_ms
    }

    /// A signed question, asked once more after a refused timestamp.
    async fn signed_get(
        &self,
        what: &'static str,
        path: &'static str,
        cost: (Lane, u64),
        fill: impl Fn(&mut Query<'_>) + Send + Sync,
    ) -> Result<Answer, ExchangeError> {
        success(what, self.signed_answer(what, path, cost, fill).await?)
    }

    /// The answer of a signed question, whatever it says; asked once more after a refused timestamp.
    async fn signed_answer(
        &self,
        what: &'static str,
        path: &'static str,
        cost: (Lane, u64),
        fill: impl Fn(&mut Query<'_>) + Send + Sync,
    ) -> Result<Answer, ExchangeError> {
        let first = self.signed_get_once(what, path, cost, &fill).await?;
        if first.status == 400 && VenueError::read(&first.body).code == Some(-1021) {
            self.venue.venue_clock.invalidate();
            return self.signed_get_once(what, path, cost, &fill).await;
        }
        Ok(first)
    }

    async fn signed_get_once(
        &self,
        what: &'static str,
        path: &'static str,
        (lane, weight): (Lane, u64),
        fill: &(impl Fn(&mut Query<'_>) + Send + Sync),
    ) -> Result<Answer, ExchangeError> {
        let signer = self.venue.need_signer()?;
        self.signing_time(lane).await?;
        self.venue.admit(lane, weight, 0)?;
        let said = |query: &mut Query<'_>| {
            fill(query);
            Ok(())
        };
        let make = || self.signed(signer, Method::GET, path, said).map(|(call, _)| call);
        let answer = self.pool.call(lane, make).await.map_err(|error| call_error(what, &self.pool, error))?;
        self.venue.observe(&answer);
        Ok(answer)
    }

    /// A signed request, and the time that was signed.
    fn signed(
        &self,
        signer: &Signer,
        method: Method,
        path: &'static str,
        fill: impl FnOnce(&mut Query<'_>) -> Result<(), EncodeError>,
    ) -> Option<(Call, Timestamp)> {
        let signed_at = self.venue.venue_clock.now()?;
        let mut params = Vec::with_capacity(512);
        calls::signed_into(&mut params, signer, self.recv_window_ms(), signed_at.as_ms(), fill).ok()?;
        let api_key = Some(signer.api_key().to_owned());
        Some((Call { method, path, params, api_key }, Timestamp::from_ms(signed_at.as_ms())))
    }

    /// What a request that changes something needs before it is made: keys, a venue clock, room in the limits.
    async fn ready(&self, lane: Lane, orders: u64) -> Result<&Signer, NotSentReason> {
        if self.pool.is_closed() {
            return Err(NotSentReason::Closed);
        }
        let signer = self.venue.signer.as_ref().ok_or(NotSentReason::NotExpressible)?;
        self.signing_time(lane).await.map_err(|error| not_sent(&error))?;
        self.venue.admit(lane, 1, orders).map_err(|error| not_sent(&error))?;
        Ok(signer)
    }

    /// Sends a request that changes something, once.
    async fn send<F>(&self, lane: Lane, make: F) -> Result<Answer, NoAnswer>
    where
        F: FnOnce() -> Option<Call> + Send,
    {
        let answer = self.pool.call(lane, make).await.map_err(|error| match error {
            CallError::NotConnected(error) => {
                tracing::warn!(%error, "a request did not leave");
                NoAnswer::NotSent(NotSentReason::NotConnected)
            }
            CallError::NotMade => NoAnswer::NotSent(NotSentReason::NotExpressible),
            CallError::Closed => NoAnswer::NotSent(NotSentReason::Closed),
            CallError::Timeout => NoAnswer::Unknown(UnknownReason::Timeout),
            CallError::Lost(cause) => {
                tracing::warn!(cause, "the connection was lost with a request under way");
                NoAnswer::Unknown(UnknownReason::ConnectionLost)
            }
        })?;
        self.venue.observe(&answer);
        Ok(answer)
    }

    /// Forgets the venue's clock where an answer refused our time.
    fn heed_refused_time(&self, answer: &Answer) {
        if answer.status >= 400
            && classify(answer.status, &VenueError::read(&answer.body)) == Verdict::Rejected(RejectReason::Timestamp)
        {
            self.venue.venue_clock.invalidate();
        }
    }

    async fn submit_inner(
        &self,
        order: &NewOrder,
        on_sent: &(dyn Fn(SentInfo) + Send + Sync),
    ) -> Result<SubmitOutcome, NotSentReason> {
        let known = self.known();
        let instrument = known.instruments.get(order.intent.instrument).ok_or(NotSentReason::NotExpressible)?;
        let signer = self.ready(Lane::Order, 1).await?;
        let make = || {
            let signed_at = self.venue.venue_clock.now()?;
            let mut params = Vec::with_capacity(512);
            let (symbol, window, time) = (instrument.symbol.as_str(), self.recv_window_ms(), signed_at.as_ms());
            encode_signed_submit_into(&mut params, signer, symbol, order, window, time).ok()?;
            on_sent(self.sent_info(order.client_order_id, time));
            let api_key = Some(signer.api_key().to_owned());
            Some(Call { method: Method::POST, path: "/api/v3/order", params, api_key })
        };
        let answer = match self.send(Lane::Order, make).await {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent(reason)) => return Err(reason),
            Err(NoAnswer::Unknown(reason)) => return Ok(SubmitOutcome::Unknown(reason)),
        };
        self.heed_refused_time(&answer);
        let outcome = calls::submit_outcome(answer.status, &answer.body, &known.symbols, self.venue.now());
        if let SubmitOutcome::Accepted(ack) = &outcome {
            self.order_ids.lock().learn(ack.venue_order_id.as_str(), order.client_order_id);
        }
        Ok(outcome)
    }

    fn sent_info(&self, client_order_id: ClientOrderId, time_ms: u64) -> SentInfo {
        SentInfo {
            client_order_id,
            signed_at: Timestamp::from_ms(time_ms),
            recv_window_ms: self.venue.config.recv_window_ms,
        }
    }

    async fn cancel_inner(&self, cancel: &CancelOrder) -> Result<CancelOutcome, NotSentReason> {
        let known = self.known();
        let instrument = known.instruments.get(cancel.instrument).ok_or(NotSentReason::NotExpressible)?;
        let signer = self.ready(Lane::Urgent, 0).await?;
        let make = || {
            let fill =
                |query: &mut Query<'_>| calls::one_order(query, instrument.symbol.as_str(), cancel.client_order_id);
            self.signed(signer, Method::DELETE, calls::ORDER, fill).map(|(call, _)| call)
        };
        let answer = match self.send(Lane::Urgent, make).await {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent(reason)) => return Err(reason),
            Err(NoAnswer::Unknown(reason)) => return Ok(CancelOutcome::Unknown(reason)),
        };
        self.heed_refused_time(&answer);
        Ok(calls::cancel_outcome(answer.status, &answer.body, &known.symbols))
    }

    async fn replace_inner(
        &self,
        replace: &ReplaceOrder,
        on_sent: &(dyn Fn(SentInfo) + Send + Sync),
    ) -> Result<ReplaceOutcome, NotSentReason> {
        let known = self.known();
        let instrument = known.instruments.get(replace.new.intent.instrument).ok_or(NotSentReason::NotExpressible)?;
        if replace.cancel.instrument != replace.new.intent.instrument {
            return Err(NotSentReason::NotExpressible);
        }
        let signer = self.ready(Lane::Order, 1).await?;
        let make = || {
            let fill = |query: &mut Query<'_>| calls::cancel_replace(query, instrument.symbol.as_str(), replace);
            let (call, signed_at) = self.signed(signer, Method::POST, calls::CANCEL_REPLACE, fill)?;
            on_sent(self.sent_info(replace.new.client_order_id, signed_at.as_ms()));
            Some(call)
        };
        let answer = match self.send(Lane::Order, make).await {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent(reason)) => return Err(reason),
            Err(NoAnswer::Unknown(reason)) => {
                let (cancel, new) = (CancelOutcome::Unknown(reason), SubmitOutcome::Unknown(reason));
                return Ok(ReplaceOutcome { cancel, new });
            }
        };
        self.heed_refused_time(&answer);
        let outcome = calls::replace_outcome(answer.status, &answer.body, &known.symbols, self.venue.now());
        if let SubmitOutcome::Accepted(ack) = &outcome.new {
            self.order_ids.lock().learn(ack.venue_order_id.as_str(), replace.new.client_order_id);
        }
        Ok(outcome)
    }

    async fn query_inner(&self, query: &QueryOrder) -> Result<QueryOutcome, ExchangeError> {
        const WHAT: &str = "an order";
        let known = self.known();
        let Some(instrument) = known.instruments.get(query.instrument) else {
            return Ok(QueryOutcome::Unknown(UnknownReason::Unclassified));
        };
        // The answer "not found" carries no time; so the time is asked before.
        let venue_time_before = self.venue.measure_clock(&self.pool, Lane::Urgent).await.ok();
        let answer = self
            .signed_answer(WHAT, calls::ORDER, (Lane::Urgent, 4), |params| {
                // A client order id always fits; see the constant beside it.
                let _fits = calls::one_order(params, instrument.symbol.as_str(), query.client_order_id).is_ok();
            })
            .await?;
        let id = query.client_order_id;
        let outcome = calls::query_outcome(answer.status, &answer.body, &known.symbols, id, venue_time_before)
            .map_err(|cause| unreadable(WHAT, cause, &answer.body))?;
        if let QueryOutcome::Found(snapshot) = &outcome {
            self.order_ids.lock().learn(snapshot.venue_order_id.as_str(), id);
        }
        Ok(outcome)
    }

    async fn trades_page(
        &self,
        instrument: &Instrument,
        symbols: &SymbolTable,
        since: Timestamp,
        from_id: Option<i64>,
    ) -> Result<Vec<(i64, i64, Fill)>, ExchangeError> {
        const WHAT: &str = "our trades";
        let answer = self
            .signed_get(WHAT, calls::MY_TRADES, (Lane::Background, 20), |query| {
                calls::trades_page(query, instrument.symbol.as_str(), since, from_id);
            })
            .await?;
        answers::my_trades(&answer.body, symbols).map_err(|cause| unreadable(WHAT, cause, &answer.body))
    }

    /// Learns which of our ids belong to venue ids that are not known yet, from the venue's list of all orders.
    async fn learn_order_ids(&self, instrument: &Instrument, trades: &[(i64, i64, Fill)]) -> Result<(), ExchangeError> {
        const WHAT: &str = "our orders";
        let mut first_unknown = {
            let ids = self.order_ids.lock();
            trades.iter().map(|(order, _, _)| *order).filter(|order| !ids.is_known(*order)).min()
        };
        for _ in 0..TRADE_PAGES_MAX {
            let Some(from) = first_unknown.and_then(|id| u64::try_from(id).ok()) else { break };
            let answer = self
                .signed_get(WHAT, calls::ALL_ORDERS, (Lane::Background, 20), |query| {
                    calls::orders_page(query, instrument.symbol.as_str(), from);
                })
                .await?;
            let orders = answers::order_ids(&answer.body).map_err(|cause| unreadable(WHAT, cause, &answer.body))?;
            let mut ids = self.order_ids.lock();
            for (order, id) in &orders {
                ids.learn_number(*order, *id);
            }
            let last = orders.iter().map(|(order, _)| *order).max().unwrap_or_default();
            let rest = trades.iter().map(|(order, _, _)| *order).filter(|order| *order > last && !ids.is_known(*order));
            first_unknown = if orders.len() < calls::ROWS_PER_PAGE { None } else { rest.min() };
        }
        Ok(())
    }
}

fn not_sent(error: &ExchangeError) -> NotSentReason {
    match error {
        ExchangeError::RateLimited { .. } | ExchangeError::Banned { .. } => NotSentReason::RateLimited,
        ExchangeError::Closed { .. } => NotSentReason::Closed,
        _ => NotSentReason::NotConnected,
    }
}

#[async_trait]
impl ExchangeClient for BinanceSpotClient {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn clock_offset(&self) -> ClockOffset {
        let known = |(offset_ns, round_trip_ns)| ClockOffset::Known { offset_ns, round_trip_ns };
        self.venue.clock_offset_ns().map_or(ClockOffset::Unknown, known)
    }

    async fn instruments(&self, symbols: &[String]) -> Result<Vec<Instrument>, ExchangeError> {
        const WHAT: &str = "the instruments";
        let mut params = Vec::new();
        if !symbols.is_empty() {
            let list = serde_json::to_string(symbols).unwrap_or_default();
            Query::new(&mut params).text("symbols", &list);
        }
        let answer = self.venue.get(&self.pool, WHAT, "/api/v3/exchangeInfo", params, (Lane::Background, 20)).await?;
        let info = answers::exchange_info(&answer.body).map_err(|cause| unreadable(WHAT, cause, &answer.body))?;
        self.venue.limits.lock().configure(&info.rate_limits);
        for (symbol, cause) in info.skipped.iter().take(10) {
            tracing::warn!(symbol, cause, "an instrument of {VENUE} cannot be read and is left out");
        }
        // All that was asked for, or nothing: a run must not start with half of its instruments.
        if let Some(missing) =
            symbols.iter().find(|symbol| !info.instruments.iter().any(|i| i.symbol.as_str() == **symbol))
        {
            let cause = format!("instrument {missing} is not in the answer, or is no spot instrument");
            return Err(unreadable(WHAT, cause, b""));
        }
        Ok(info.instruments)
    }

    fn set_instruments(&self, instruments: Arc<Instruments>) {
        let symbols = SymbolTable::new(&instruments);
        *self.known.write() = Arc::new(Known { instruments, symbols });
    }

    async fn server_time(&self) -> Result<Timestamp, ExchangeError> {
        self.venue.measure_clock(&self.pool, Lane::Urgent).await
    }

    async fn submit(&self, order: &NewOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> SubmitOutcome {
        self.submit_inner(order, on_sent).await.unwrap_or_else(SubmitOutcome::NotSent)
    }

    async fn cancel(&self, cancel: &CancelOrder) -> CancelOutcome {
        self.cancel_inner(cancel).await.unwrap_or_else(CancelOutcome::NotSent)
    }

    async fn cancel_many(&self, orders: &[CancelOrder], sink: &dyn BurstSink) -> Result<bool, ExchangeError> {
        let known = self.known();
        if self.pool.is_closed() {
            return Ok(false);
        }
        let burst =
            Burst { venue: &self.venue, pool: &self.pool, instruments: &known.instruments, symbols: &known.symbols };
        burst.cancel(orders, sink).await.map(|()| true)
    }

    async fn replace(&self, replace: &ReplaceOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> ReplaceOutcome {
        self.replace_inner(replace, on_sent).await.unwrap_or_else(|reason| ReplaceOutcome {
            cancel: CancelOutcome::NotSent(reason),
            new: SubmitOutcome::NotSent(reason),
        })
    }

    async fn query(&self, query: &QueryOrder) -> QueryOutcome {
        self.query_inner(query).await.unwrap_or_else(|error| {
            tracing::warn!(%error, id = %query.client_order_id, "an order could not be asked about");
            QueryOutcome::Unknown(match error {
                ExchangeError::Timeout { .. } => UnknownReason::Timeout,
                ExchangeError::Connect { .. } | ExchangeError::Closed { .. } => UnknownReason::ConnectionLost,
                ExchangeError::Unreadable { .. } => UnknownReason::Unreadable,
                ExchangeError::Refused { status: 500.., .. } => UnknownReason::VenueUnsure,
                _ => UnknownReason::Unclassified,
            })
        })
    }

    async fn open_orders(&self, instrument: Option<InstrumentId>) -> Result<Vec<OrderSnapshot>, ExchangeError> {
        const WHAT: &str = "the open orders";
        let known = self.known();
        let symbol = instrument.and_then(|id| known.instruments.get(id)).map(|instrument| instrument.symbol);
        let weight = if symbol.is_some() { 6 } else { 80 };
        let answer = self
            .signed_get(WHAT, calls::OPEN_ORDERS, (Lane::Urgent, weight), |query| {
                if let Some(symbol) = &symbol {
                    query.text("symbol", symbol.as_str());
                }
            })
            .await?;
        let orders =
            answers::orders(&answer.body, &known.symbols).map_err(|cause| unreadable(WHAT, cause, &answer.body))?;
        let mut ids = self.order_ids.lock();
        for order in &orders {
            if let Some(id) = order.client_order_id {
                ids.learn(order.venue_order_id.as_str(), id);
            }
        }
        Ok(orders)
    }

    async fn fills(
        &self,
        instrument: InstrumentId,
        since: Timestamp,
    ) -> Result<Vec<(Option<ClientOrderId>, Fill)>, ExchangeError> {
        let known = self.known();
        let Some(instrument) = known.instruments.get(instrument) else { return Ok(Vec::new()) };
        let mut trades: Vec<(i64, i64, Fill)> = Vec::new();
        let mut from_id = None;
        for _ in 0..TRADE_PAGES_MAX {
            let page = self.trades_page(instrument, &known.symbols, since, from_id).await?;
            let length = page.len();
            trades.extend(page);
            from_id = trades.last().map(|(_, id, _)| id.saturating_add(1));
            if length < calls::ROWS_PER_PAGE {
                break;
            }
        }
        self.learn_order_ids(instrument, &trades).await?;
        let ids = self.order_ids.lock();
        Ok(trades.into_iter().map(|(order, _, fill)| (ids.get(order), fill)).collect())
    }

    async fn balances(&self) -> Result<Vec<Balance>, ExchangeError> {
        const WHAT: &str = "the account";
        let answer = self.signed_get(WHAT, calls::ACCOUNT, (Lane::Background, 20), calls::balances).await?;
        let (balances, _) = answers::account(&answer.body).map_err(|cause| unreadable(WHAT, cause, &answer.body))?;
        Ok(balances)
    }

    async fn close(&self) -> Result<(), ExchangeError> {
        let all_ended = self.pool.close().await;
        let lease = self.lease.lock().take();
        if let Some(lease) = lease {
            lease.close();
        }
        if all_ended {
            return Ok(());
        }
        Err(ExchangeError::Timeout { venue: VENUE.into(), what: "the end of calls under way".into(), after_ms: 2_000 })
    }
}

impl Drop for BinanceSpotClient {
    fn drop(&mut self) {
        if self.lease.lock().is_some() {
            tracing::error!("leak: the client of {VENUE} was dropped without close(); its sockets close now");
        }
    }
}
