//! How orders leave and answers come back.
//!
//! A placement: intent into the journal ► durable ► the gate is read, last ► the client signs and sends ► the answer goes
//! into the execution lane. A cancel never waits for the journal. Invariants: no first byte without a durable intent and an
//! open gate; every placement is answered exactly once, also when its task is aborted or panics; nothing is resent here.
//!
//! Bounds: at most `submits_max`, `cancels_max`, `questions_max` requests under way; what comes on top is answered at once
//! as not sent (or, for questions, not asked), and the engine decides when to try again.

use crate::gate::SubmitGate;
use crate::lanes::Lanes;
use crate::latency::{LatencyRecorder, Stage};
use keel_exchange::{ExchangeClient, ExchangeError, SentInfo};
use keel_lifecycle::{Clock, StopReason, StopSignal, TaskGroup, TaskKind};
use keel_model::{
    CancelOrder, CancelOutcome, ClientOrderId, ExecutionEvent, InstrumentId, NewOrder, NotSentReason, OrderIntent,
    QueryOrder, QueryOutcome, ReplaceOrder, ReplaceOutcome, SubmitOutcome, Timestamp, UnknownReason,
};
use keel_risk::Approved;
use keel_store::{Journal, Record, StoreError, Ticket};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

/// Bounds of the order gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Placements under way.
    pub submits_max: usize,
    /// Cancels under way.
    pub cancels_max: usize,
    /// Queries and fetches under way.
    pub questions_max: usize,
    /// Longest wait for an intent to become durable; then the order is not sent and the stop is asked for.
    pub durable_timeout: Duration,
    /// Longest wait for any answer, above the client's own deadline.
    pub answer_timeout: Duration,
    /// How often a fetch is tried before it is left to the engine's next schedule.
    pub fetch_attempts_max: u32,
    /// Pause before the second try of a fetch, doubled each time.
    pub fetch_pause: Duration,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            submits_max: 256,
            cancels_max: 1_024,
            questions_max: 256,
            durable_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(30),
            fetch_attempts_max: 3,
            fetch_pause: Duration::from_millis(200),
        }
    }
}

/// What the order gateway works with.
#[derive(Clone, Debug)]
pub struct OrderGatewayParts {
    /// The venue.
    pub client: Arc<dyn ExchangeClient>,
    /// The venue over connections of its own: what the books are compared with comes from here (RC-20), so that a comparison
    /// neither waits for trading nor holds it up.
    pub books_client: Arc<dyn ExchangeClient>,
    /// Where answers go.
    pub lanes: Arc<Lanes>,
    /// Where intents become durable.
    pub journal: Journal,
    /// Read last before each placement.
    pub gate: Arc<SubmitGate>,
    /// Measures each stage.
    pub latency: Arc<LatencyRecorder>,
    /// Runs the requests.
    pub group: TaskGroup,
    /// Asked for when orders can no longer be made durable.
    pub stop: StopSignal,
    /// The run's clock.
    pub clock: Clock,
    /// Bounds.
    pub limits: GatewayLimits,
}

/// Requests under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Placements.
    pub submits: usize,
    /// Cancels.
    pub cancels: usize,
    /// Queries and fetches.
    pub questions: usize,
}

/// Sends requests and brings answers back.
#[derive(Debug)]
pub struct OrderGateway {
    parts: OrderGatewayParts,
    submits: AtomicUsize,
    cancels: AtomicUsize,
    questions: AtomicUsize,
    sent_total: AtomicU64,
    changed: Notify,
    /// The runtime that requests run on: that of whoever made the gateway.
    home: Option<Id>,
}

/// Which counter a request holds.
#[derive(Clone, Copy, Debug)]
enum Class {
    Submit,
    Cancel,
    Question,
}

/// Holds a place among the requests under way.
struct Place {
    gateway: Arc<OrderGateway>,
    class: Class,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gateway.counter(self.class).0.fetch_sub(1, Ordering::AcqRel);
        self.gateway.changed.notify_waiters();
    }
}

/// Gives a placement its one answer, whatever becomes of its task.
struct Answer {
    gateway: Arc<OrderGateway>,
    kind: AnswerKind,
    is_sent: AtomicBool,
    is_given: bool,
}

#[derive(Clone, Copy)]
enum AnswerKind {
    Submit(ClientOrderId),
    Replace { cancel_id: ClientOrderId, new_id: ClientOrderId },
}

impl Answer {
    fn give(mut self, event: ExecutionEvent) {
        self.is_given = true;
        self.gateway.push(event);
    }

    /// The answer for a request that ended without one.
    fn fallback(&self) -> SubmitOutcome {
        if self.is_sent.load(Ordering::Acquire) {
            SubmitOutcome::Unknown(UnknownReason::ConnectionLost)
        } else {
            SubmitOutcome::NotSent(NotSentReason::Closed)
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.is_given {
            return;
        }
        let new = self.fallback();
        let event = match self.kind {
            AnswerKind::Submit(id) => ExecutionEvent::Submit(id, new),
            AnswerKind::Replace { cancel_id, new_id } => {
                let outcome = ReplaceOutcome { cancel: cancel_half(&new), new };
                ExecutionEvent::Replace { cancel_id, new_id, outcome }
            }
        };
        self.gateway.push(event);
    }
}

/// What the placement half of a cancel-replace says about its cancel half, where both share one fate.
fn cancel_half(new: &SubmitOutcome) -> CancelOutcome {
    match new {
        SubmitOutcome::NotSent(reason) => CancelOutcome::NotSent(*reason),
        SubmitOutcome::Unknown(reason) => CancelOutcome::Unknown(*reason),
        SubmitOutcome::Accepted(_) | SubmitOutcome::Rejected(_) => CancelOutcome::Unknown(UnknownReason::Unclassified),
    }
}

impl OrderGateway {
    /// A gateway with nothing under way. Made inside the runtime that its group is bound to.
    #[must_use]
    pub fn new(parts: OrderGatewayParts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            submits: AtomicUsize::new(0),
            cancels: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            sent_total: AtomicU64::new(0),
            changed: Notify::new(),
            home: Handle::try_current().ok().map(|home| home.id()),
        })
    }

    fn counter(&self, class: Class) -> (&AtomicUsize, usize) {
        let limits = &self.parts.limits;
        match class {
            Class::Submit => (&self.submits, limits.submits_max),
            Class::Cancel => (&self.cancels, limits.cancels_max),
            Class::Question => (&self.questions, limits.questions_max),
        }
    }

    /// A place among the requests under way, or `None` when all are taken.
    fn place(self: &Arc<Self>, class: Class) -> Option<Place> {
        let (counter, max) = self.counter(class);
        let take = |taken: usize| (taken < max).then_some(taken + 1);
        counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Place { gateway: self.clone(), class })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ns(self.parts.clock.run_ns())
    }

    fn push(&self, event: ExecutionEvent) {
        self.parts.lanes.push_execution(self.now(), event);
    }

    /// Runs a request: its first step at once, on the caller's turn, so that a placement whose intent is durable already
    /// leaves without a hand-over; the rest as a task of the group. Called from another runtime, all of it is the task's.
    fn run(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        let mut future = Box::pin(future);
        let is_at_home = Handle::try_current().is_ok_and(|here| Some(here.id()) == self.home);
        if !is_at_home {
            return self.spawn(name, future);
        }
        // The task polls once more with a waker of its own, so none is needed here.
        let mut context = Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => self.spawn(name, future),
            // Supervision counts and names it; the engine goes on.
            Err(panic) => {
                drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
                self.spawn(name, async move { resume_unwind(panic) });
            }
        }
    }

    fn spawn(&self, name: &str, future: impl Future<Output = ()> + Send + 'static) {
        // The handle is not needed: the task is supervised by its group and answers into the lane.
        drop(self.parts.group.spawn(name, TaskKind::Background, future));
    }

    /// How far the venue's clock may be off at most; `None` when nobody knows.
    pub(crate) fn clock_offset_ns_max(&self) -> Option<u64> {
        self.parts.client.clock_offset().most_ns()
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        InFlight {
            submits: self.submits.load(Ordering::Acquire),
            cancels: self.cancels.load(Ordering::Acquire),
            questions: self.questions.load(Ordering::Acquire),
        }
    }

    /// Placements whose first byte has left.
    #[must_use]
    pub fn sent_total(&self) -> u64 {
        self.sent_total.load(Ordering::Relaxed)
    }

    /// Waits until no placement and no cancel is under way; `false` when some still are after `limit`.
    pub async fn settled(&self, limit: Duration) -> bool {
        let all = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let now = self.in_flight();
                if now.submits == 0 && now.cancels == 0 {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    // ── Placements ──

    /// Places an order. `frame` is the receive time of what caused it.
    pub fn submit(self: &Arc<Self>, order: Approved<NewOrder>, frame: Timestamp) {
        let order = order.into_inner();
        let id = order.client_order_id;
        let decided = self.now();
        self.parts.latency.record(Stage::FrameToDecision, frame.as_ns(), decided.as_ns());
        // Appended here and not in the task, so that the journal's order is the order of the decisions.
        let ticket = self.parts.journal.append(&Record::Intent(order));
        let answer = self.answer(AnswerKind::Submit(id));
        let Some(place) = self.place(Class::Submit) else {
            return answer.give(ExecutionEvent::Submit(id, SubmitOutcome::NotSent(NotSentReason::RateLimited)));
        };
        let gateway = self.clone();
        self.run("submit", async move {
            let outcome = gateway.send_submit(&order, ticket, &answer, decided).await;
            if matches!(outcome, SubmitOutcome::Accepted(_) | SubmitOutcome::Rejected(_)) {
                let now = gateway.now().as_ns();
                gateway.parts.latency.record(Stage::FrameToAck, frame.as_ns(), now);
            }
            answer.give(ExecutionEvent::Submit(id, outcome));
            drop(place);
        });
    }

    fn answer(self: &Arc<Self>, kind: AnswerKind) -> Answer {
        Answer { gateway: self.clone(), kind, is_sent: AtomicBool::new(false), is_given: false }
    }

    async fn send_submit(
        &self,
        order: &NewOrder,
        ticket: Result<Ticket, StoreError>,
        answer: &Answer,
        decided: Timestamp,
    ) -> SubmitOutcome {
        if let Err(reason) = self.arm(order, ticket, decided).await {
            return SubmitOutcome::NotSent(reason);
        }
        let armed = self.now();
        let signed_ns = AtomicU64::new(0);
        let on_sent = |sent: SentInfo| self.on_sent(&sent, armed, &signed_ns, answer);
        let outcome = self.guarded(&order.intent, answer, self.parts.client.submit(order, &on_sent)).await;
        self.record_ack(&signed_ns);
        outcome.unwrap_or_else(SubmitOutcome::NotSent)
    }

    /// Waits until the intent is durable and reads the gate.
    async fn arm(
        &self,
        order: &NewOrder,
        ticket: Result<Ticket, StoreError>,
        decided: Timestamp,
    ) -> Result<(), NotSentReason> {
        let parts = &self.parts;
        let waited = match ticket.as_ref().ok().and_then(Ticket::try_wait) {
            Some(decided) => Ok(decided),
            None => tokio::select! {
                biased;
                () = parts.gate.refuses(&order.intent) => return Err(NotSentReason::GateClosed),
                waited = tokio::time::timeout(parts.limits.durable_timeout, async { ticket?.await }) => waited,
            },
        };
        match waited {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // A lane that is full for a moment refuses this order only; anything else is the end of the journal.
                if !error.is_retryable() {
                    parts.stop.request(StopReason::Fault { what: error.to_string() });
                }
                tracing::error!(order = %order.client_order_id, %error, "the intent is not durable; the order is not sent");
                return Err(NotSentReason::NotDurable);
            }
            Err(_) => {
                let waited_ms = parts.limits.durable_timeout.as_millis();
                let what = format!("the journal did not make an intent durable within {waited_ms} ms (slow disk)");
                parts.stop.request(StopReason::Fault { what });
                return Err(NotSentReason::NotDurable);
            }
        }
        let now = self.now();
        parts.latency.record(Stage::DecisionToDurable, decided.as_ns(), now.as_ns());
        if !parts.gate.admits(&order.intent) {
            return Err(NotSentReason::GateClosed);
        }
        parts.lanes.push_execution(now, ExecutionEvent::Armed(order.client_order_id));
        Ok(())
    }

    /// Called by the client right before the first byte leaves.
    fn on_sent(&self, sent: &SentInfo, armed: Timestamp, signed_ns: &AtomicU64, answer: &Answer) {
        answer.is_sent.store(true, Ordering::Release);
        self.sent_total.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        signed_ns.store(now.as_ns(), Ordering::Relaxed);
        self.parts.latency.record(Stage::DurableToSigned, armed.as_ns(), now.as_ns());
        let SentInfo { client_order_id, signed_at, recv_window_ms } = *sent;
        self.parts.lanes.push_execution(now, ExecutionEvent::Sent { client_order_id, signed_at, recv_window_ms });
    }

    fn record_ack(&self, signed_ns: &AtomicU64) {
        let signed_ns = signed_ns.load(Ordering::Relaxed);
        if signed_ns > 0 {
            self.parts.latency.record(Stage::SignedToAck, signed_ns, self.now().as_ns());
        }
    }

    /// Runs a placement under the gate: while its first byte has not left (the client may wait for a connection or for its
    /// rate limit), a closing gate takes it back. After the first byte only the answer counts.
    async fn guarded<T: FromTimeout>(
        &self,
        intent: &OrderIntent,
        answer: &Answer,
        request: impl Future<Output = T>,
    ) -> Result<T, NotSentReason> {
        let deadline = tokio::time::sleep(self.parts.limits.answer_timeout);
        tokio::pin!(request, deadline);
        let is_sent = || answer.is_sent.load(Ordering::Acquire);
        let gate = self.parts.gate.refuses(intent);
        tokio::pin!(gate);
        // The gate is looked at before the request may go on.
        tokio::select! {
            biased;
            () = &mut gate => {}
            outcome = &mut request => return Ok(outcome),
            () = &mut deadline => {
                return if is_sent() { Ok(T::timed_out()) } else { Err(NotSentReason::NotConnected) };
            }
        }
        if !is_sent() {
            return Err(NotSentReason::GateClosed);
        }
        tokio::select! {
            outcome = &mut request => Ok(outcome),
            () = &mut deadline => Ok(T::timed_out()),
        }
    }

    /// Cancels one order and places another in one request. Under the same rules as a placement.
    pub fn replace(self: &Arc<Self>, replace: Approved<ReplaceOrder>, frame: Timestamp) {
        let replace = replace.into_inner();
        let (cancel_id, new_id) = (replace.cancel.client_order_id, replace.new.client_order_id);
        let decided = self.now();
        self.parts.latency.record(Stage::FrameToDecision, frame.as_ns(), decided.as_ns());
        let ticket = self.parts.journal.append(&Record::ReplaceIntent(replace));
        let answer = self.answer(AnswerKind::Replace { cancel_id, new_id });
        let not_sent =
            |reason| ReplaceOutcome { cancel: CancelOutcome::NotSent(reason), new: SubmitOutcome::NotSent(reason) };
        let event = move |outcome| ExecutionEvent::Replace { cancel_id, new_id, outcome };
        let Some(place) = self.place(Class::Submit) else {
            return answer.give(event(not_sent(NotSentReason::RateLimited)));
        };
        let gateway = self.clone();
        self.run("replace", async move {
            let outcome = match gateway.arm(&replace.new, ticket, decided).await {
                Err(reason) => not_sent(reason),
                Ok(()) => {
                    let (armed, signed_ns) = (gateway.now(), AtomicU64::new(0));
                    let on_sent = |sent: SentInfo| gateway.on_sent(&sent, armed, &signed_ns, &answer);
                    let request = gateway.parts.client.replace(&replace, &on_sent);
                    let outcome = gateway.guarded(&replace.new.intent, &answer, request).await;
                    gateway.record_ack(&signed_ns);
                    outcome.unwrap_or_else(not_sent)
                }
            };
            answer.give(event(outcome));
            drop(place);
        });
    }

    // ── Cancels ──

    /// Cancels an order. The journal is told, but not waited for.
    pub fn cancel(self: &Arc<Self>, cancel: CancelOrder) {
        let record = Record::CancelIntent { ts: self.now(), order: cancel, is_escape: false };
        match self.parts.journal.append(&record) {
            Ok(ticket) => drop(ticket),
            Err(error) => tracing::warn!(order = %cancel.client_order_id, %error, "a cancel is sent without a record"),
        }
        let id = cancel.client_order_id;
        let Some(place) = self.place(Class::Cancel) else {
            return self.push(ExecutionEvent::Cancel(id, CancelOutcome::NotSent(NotSentReason::RateLimited)));
        };
        let gateway = self.clone();
        self.run("cancel", async move {
            let limit = gateway.parts.limits.answer_timeout;
            let outcome = tokio::time::timeout(limit, gateway.parts.client.cancel(&cancel)).await;
            let outcome = outcome.unwrap_or(CancelOutcome::Unknown(UnknownReason::Timeout));
            gateway.push(ExecutionEvent::Cancel(id, outcome));
            drop(place);
        });
    }

    // ── Questions ──

    /// Asks about an order.
    pub fn query(self: &Arc<Self>, query: QueryOrder) {
        let id = query.client_order_id;
        let Some(place) = self.place(Class::Question) else {
            return self.push(ExecutionEvent::Query(id, QueryOutcome::Unknown(UnknownReason::Timeout)));
        };
        let gateway = self.clone();
        self.run("query", async move {
            let limit = gateway.parts.limits.answer_timeout;
            let outcome = tokio::time::timeout(limit, gateway.parts.client.query(&query)).await;
            let outcome = outcome.unwrap_or(QueryOutcome::Unknown(UnknownReason::Timeout));
            gateway.push(ExecutionEvent::Query(id, outcome));
            drop(place);
        });
    }

    /// Asks for open orders.
    pub fn fetch_open_orders(self: &Arc<Self>, instrument: Option<InstrumentId>) {
        self.fetch("open orders", move |gateway| async move {
            let orders = gateway.parts.books_client.open_orders(instrument).await?;
            Ok(ExecutionEvent::OpenOrders(instrument, orders))
        });
    }

    /// Asks for the fills of an instrument since a time.
    pub fn fetch_fills(self: &Arc<Self>, instrument: InstrumentId, since: Timestamp) {
        self.fetch("fills", move |gateway| async move {
            let fills = gateway.parts.books_client.fills(instrument, since).await?;
            Ok(ExecutionEvent::FillsOf { instrument, since, fills })
        });
    }

    /// Asks for all balances. The venue's time is asked first: what the stream says later than that is newer.
    pub fn fetch_balances(self: &Arc<Self>) {
        self.fetch("balances", move |gateway| async move {
            let ts_event = gateway.parts.books_client.server_time().await?;
            let balances = gateway.parts.books_client.balances().await?;
            Ok(ExecutionEvent::Balances { complete: true, balances, ts_event })
        });
    }

    fn fetch<F, Fut>(self: &Arc<Self>, what: &'static str, ask: F)
    where
        F: Fn(Arc<Self>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<ExecutionEvent, ExchangeError>> + Send + 'static,
    {
        let Some(place) = self.place(Class::Question) else {
            tracing::warn!(what, "too many questions under way; the engine will ask again");
            return;
        };
        let gateway = self.clone();
        self.run(what, async move {
            let limits = gateway.parts.limits;
            let mut pause = limits.fetch_pause;
            for attempt in 1..=limits.fetch_attempts_max {
                let error = match tokio::time::timeout(limits.answer_timeout, ask(gateway.clone())).await {
                    Ok(Ok(event)) => {
                        gateway.push(event);
                        break;
                    }
                    Ok(Err(error)) => error,
                    Err(_) => continue,
                };
                tracing::warn!(what, attempt, %error, "the venue did not answer");
                if !error.is_retryable() {
                    break;
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            drop(place);
        });
    }
}

/// What an outcome is when no answer came in time although bytes had left.
trait FromTimeout {
    fn timed_out() -> Self;
}

impl FromTimeout for SubmitOutcome {
    fn timed_out() -> Self {
        Self::Unknown(UnknownReason::Timeout)
    }
}

impl FromTimeout for ReplaceOutcome {
    fn timed_out() -> Self {
        Self {
            cancel: CancelOutcome::Unknown(UnknownReason::Timeout),
            new: SubmitOutcome::Unknown(UnknownReason::Timeout),
        }
    }
}
