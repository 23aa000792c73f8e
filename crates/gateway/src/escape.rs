//! The escape path: cancels our open orders when the engine cannot.
//!
//! It holds what it needs and shares nothing that a stuck engine could hold: the published ids, a client of its own (own
//! connection, own signing), a journal lane of its own. It runs on the control thread's runtime, needs no task and no
//! worker of the trading runtime, and ends within its limit. Orders are cancelled one by one by client id, side by side: a
//! venue's cancel-all would hit foreign and protective orders.

use crate::board::{OpenOrderBoard, PublishedOrder};
use crate::gate::{GateLevel, SubmitGate};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use keel_exchange::{BurstSink, ExchangeClient};
use keel_lifecycle::Clock;
use keel_model::{
    CancelOrder, CancelOutcome, ClientOrderId, OrderPurpose, OrderStatus, QueryOrder, QueryOutcome, Timestamp,
};
use keel_store::{Journal, Record};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which orders are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapeScope {
    /// All but protective orders.
    KeepProtective,
    /// All.
    All,
}

/// What the venue confirmed about one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EscapeOutcome {
    /// It is over; in this status.
    Confirmed(OrderStatus),
    /// The venue says that it has no such order. It may never have been accepted, or have been over for long.
    NotFound,
    /// Nothing was confirmed; the last answer.
    Unconfirmed(String),
    /// It protects a position and was left.
    Kept,
}

impl fmt::Display for EscapeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed(status) => write!(f, "confirmed {status:?}"),
            Self::NotFound => f.write_str("the venue has no such order"),
            Self::Unconfirmed(last) => write!(f, "NOT CONFIRMED ({last})"),
            Self::Kept => f.write_str("kept, it protects a position"),
        }
    }
}

/// What the escape path did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EscapeReport {
    /// Every published order, in the order of their ids.
    pub orders: Vec<(ClientOrderId, EscapeOutcome)>,
    /// How long it took; unit: milliseconds.
    pub took_ms: u64,
    /// Cancels that went out without a record in the journal.
    pub unrecorded: usize,
    /// From the beginning until each order's request had been handed to the system; unit: milliseconds. `None` when that was
    /// not done for each.
    pub handed_over_ms: Option<u64>,
}

impl EscapeReport {
    /// Orders of which nothing is confirmed: they may still be open at the venue.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.orders.iter().filter(|(_, outcome)| matches!(outcome, EscapeOutcome::Unconfirmed(_))).count()
    }
}

impl fmt::Display for EscapeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.orders.len();
        write!(f, "escape path: {total} open orders, {} not confirmed, {} ms", self.unconfirmed(), self.took_ms)?;
        self.orders.iter().try_for_each(|(id, outcome)| write!(f, "\n  {id}: {outcome}"))
    }
}

/// Bounds of the escape path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapeLimits {
    /// Cancels under way at once.
    pub parallel_max: usize,
    /// Tries per order, as long as nothing is confirmed; cancelling again is safe.
    pub attempts_max: u32,
    /// Pause before another try.
    pub pause: Duration,
    /// From this many orders on they go out as one burst, where the client can: none waits for the answer to another.
    pub burst_from: usize,
    /// How long the answers to a burst are waited for before what is left is cancelled one by one.
    pub burst_limit: Duration,
}

impl Default for EscapeLimits {
    fn default() -> Self {
        Self {
            parallel_max: 64,
            attempts_max: 5,
            pause: Duration::from_millis(100),
            burst_from: 8,
            burst_limit: Duration::from_secs(3),
        }
    }
}

/// The escape path of one account.
#[derive(Debug)]
pub struct EscapePath {
    /// The published orders.
    pub board: Arc<OpenOrderBoard>,
    /// A client of its own.
    pub client: Arc<dyn ExchangeClient>,
    /// The journal; only its escape lane is used.
    pub journal: Journal,
    /// Closed first.
    pub gate: Arc<SubmitGate>,
    /// The run's clock.
    pub clock: Clock,
    /// Bounds.
    pub limits: EscapeLimits,
}

#[derive(Default)]
struct Progress {
    outcomes: BTreeMap<ClientOrderId, EscapeOutcome>,
    unrecorded: usize,
    /// Orders whose first request was handed to the system.
    handed_over: BTreeSet<ClientOrderId>,
    handed_over_mono_ns: u64,
}

/// Notes what becomes of a burst.
struct Notes<'a> {
    progress: &'a Mutex<Progress>,
    clock: &'a Clock,
}

impl BurstSink for Notes<'_> {
    fn on_sent(&self, order: &CancelOrder) {
        self.progress.lock().hand_over(order.client_order_id, self.clock);
    }

    fn on_outcome(&self, order: &CancelOrder, outcome: CancelOutcome) {
        let seen = match outcome {
            CancelOutcome::Canceled(snapshot) => EscapeOutcome::Confirmed(snapshot.status),
            other => EscapeOutcome::Unconfirmed(format!("{other:?}")),
        };
        self.progress.lock().outcomes.insert(order.client_order_id, seen);
    }
}

impl Progress {
    fn hand_over(&mut self, id: ClientOrderId, clock: &Clock) {
        if self.handed_over.insert(id) {
            self.handed_over_mono_ns = clock.mono_ns();
        }
    }
}

impl EscapePath {
    /// Shuts the gate and cancels the published orders. Returns within `limit`, with what was confirmed until then.
    pub async fn cancel_all(&self, scope: EscapeScope, limit: Duration) -> EscapeReport {
        self.gate.close(GateLevel::Shut);
        self.cancel_published(scope, limit).await
    }

    /// Cancels the published orders and leaves the gate as it is, so that an engine that answers again may still close
    /// positions. Returns within `limit`, with what was confirmed until then.
    pub async fn cancel_published(&self, scope: EscapeScope, limit: Duration) -> EscapeReport {
        let began = self.clock.mono_ns();
        let orders = self.board.read();
        let progress = Mutex::new(Progress::default());
        let mut waiting = VecDeque::new();
        for order in orders.iter() {
            let is_kept = scope == EscapeScope::KeepProtective && order.purpose == OrderPurpose::Protective;
            let first =
                if is_kept { EscapeOutcome::Kept } else { EscapeOutcome::Unconfirmed("not tried in time".to_owned()) };
            progress.lock().outcomes.insert(order.id(), first);
            if !is_kept {
                waiting.push_back(*order);
            }
        }
        let wanted = waiting.len();
        // What is not done at the limit is dropped; its last answer stands in `progress`.
        let all = async {
            self.cancel_burst(&mut waiting, &progress).await;
            self.cancel_each(waiting, &progress).await;
        };
        let is_in_time = tokio::time::timeout(limit, all).await.is_ok();
        if !is_in_time {
            tracing::error!(limit_ms = limit.as_millis(), "the escape path ran out of time");
        }
        let progress = progress.into_inner();
        let took = self.clock.since(began);
        EscapeReport {
            orders: progress.outcomes.into_iter().collect(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            unrecorded: progress.unrecorded,
            handed_over_ms: (progress.handed_over.len() == wanted)
                .then(|| progress.handed_over_mono_ns.saturating_sub(began) / 1_000_000),
        }
    }

    /// Many orders leave as one burst; those that it confirmed are taken from `waiting`.
    async fn cancel_burst(&self, waiting: &mut VecDeque<PublishedOrder>, progress: &Mutex<Progress>) {
        if waiting.len() < self.limits.burst_from {
            return;
        }
        let orders: Vec<CancelOrder> = waiting.iter().map(|order| order.cancel).collect();
        orders.iter().for_each(|order| self.note_intent(*order, progress));
        let notes = Notes { progress, clock: &self.clock };
        match tokio::time::timeout(self.limits.burst_limit, self.client.cancel_many(&orders, &notes)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the burst of cancels broke off; what is left goes one by one"),
            Err(_) => tracing::warn!("the venue has not answered the whole burst of cancels; what is left goes again"),
        }
        let progress = progress.lock();
        let is_confirmed =
            |order: &PublishedOrder| matches!(progress.outcomes.get(&order.id()), Some(EscapeOutcome::Confirmed(_)));
        waiting.retain(|order| !is_confirmed(order));
    }

    fn note_intent(&self, order: CancelOrder, progress: &Mutex<Progress>) {
        let record = Record::CancelIntent { ts: Timestamp::from_ns(self.clock.run_ns()), order, is_escape: true };
        match self.journal.append_escape(&record) {
            Ok(ticket) => drop(ticket),
            Err(_) => progress.lock().unrecorded += 1,
        }
    }

    async fn cancel_each(&self, mut waiting: VecDeque<PublishedOrder>, progress: &Mutex<Progress>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < self.limits.parallel_max {
                let Some(order) = waiting.pop_front() else { break };
                under_way.push(self.cancel_one(order.cancel, progress));
            }
            if under_way.next().await.is_none() {
                return;
            }
        }
    }

    async fn cancel_one(&self, order: CancelOrder, progress: &Mutex<Progress>) {
        let id = order.client_order_id;
        self.note_intent(order, progress);
        for attempt in 1..=self.limits.attempts_max {
            let outcome = self.try_cancel(&order).await;
            let is_done = !matches!(outcome, EscapeOutcome::Unconfirmed(_));
            {
                let mut progress = progress.lock();
                // Told late rather than early: by its answer.
                progress.hand_over(id, &self.clock);
                progress.outcomes.insert(id, outcome);
            }
            if is_done {
                return;
            }
            if attempt < self.limits.attempts_max {
                tokio::time::sleep(self.limits.pause).await;
            }
        }
    }

    async fn try_cancel(&self, order: &CancelOrder) -> EscapeOutcome {
        match self.client.cancel(order).await {
            CancelOutcome::Canceled(snapshot) => EscapeOutcome::Confirmed(snapshot.status),
            CancelOutcome::NotSent(reason) => EscapeOutcome::Unconfirmed(format!("not sent: {reason:?}")),
            CancelOutcome::Unknown(reason) => EscapeOutcome::Unconfirmed(format!("no clear answer: {reason:?}")),
            CancelOutcome::Rejected(reject) => {
                // Over already, or still on its way in: the order itself will tell.
                let query = QueryOrder { client_order_id: order.client_order_id, instrument: order.instrument };
                match self.client.query(&query).await {
                    QueryOutcome::Found(found) if found.status.is_terminal() => EscapeOutcome::Confirmed(found.status),
                    QueryOutcome::Found(found) => EscapeOutcome::Unconfirmed(format!(
                        "cancel refused ({}), the order is {:?}",
                        reject.text, found.status
                    )),
                    QueryOutcome::NotFound { .. } => EscapeOutcome::NotFound,
                    QueryOutcome::Unknown(reason) => EscapeOutcome::Unconfirmed(format!(
                        "cancel refused ({}), no answer about the order: {reason:?}",
                        reject.text
                    )),
                }
            }
        }
    }
}
