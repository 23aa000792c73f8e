//! What the engine tells: log lines for people, and counts for the summary.

use super::recent::Recent;
use keel_engine::Notice;
use keel_execution::parents::{ParentNews, ParentState};
use keel_execution::{Alarm, Change, OrderState};
use keel_model::{
    BalanceCause, ClientOrderId, ExitPolicy, FeedState, Finding, InstrumentStatus, Instruments, StreamKind, Timestamp,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most alarms that the summary repeats; further ones are counted.
const ALARMS_MAX: usize = 20;

/// What was told so far.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
    alarms: Vec<String>,
    ended_at_stop: Option<u64>,
}

impl Tally {
    fn count(&mut self, what: &'static str, by: u64) {
        *self.counts.entry(what).or_default() += by;
    }

    fn alarm(&mut self, text: String) {
        self.count("alarms", 1);
        if self.alarms.len() < ALARMS_MAX {
            self.alarms.push(text);
        }
    }

    /// What is worth a line in the summary.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let counts = self.counts.iter().map(|(what, count)| format!("{what}: {count}"));
        counts.chain(self.alarms.iter().cloned()).collect()
    }
}

/// Hears the engine.
pub fn observer(
    tally: Arc<Mutex<Tally>>,
    recent: Option<Arc<Recent>>,
    instruments: Arc<Instruments>,
) -> keel_gateway::NoticeObserver {
    Box::new(move |ts: Timestamp, notice: &Notice| {
        observe(&tally, &instruments, notice);
        if let Some(recent) = &recent {
            recent.note(ts, notice, &instruments);
        }
    })
}

/// Hears the engine and counts, without log lines: on virtual time they would tell nothing but the wrong time.
pub fn counter(tally: Arc<Mutex<Tally>>, instruments: Arc<Instruments>) -> keel_gateway::NoticeObserver {
    Box::new(move |_ts: Timestamp, notice: &Notice| {
        tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
            observe(&tally, &instruments, notice);
        });
    })
}

fn observe(tally: &Mutex<Tally>, instruments: &Instruments, notice: &Notice) {
    let symbol = |id| super::summary::symbol(id, instruments);
    match notice {
        Notice::Fill { id, fill, .. } => {
            tracing::info!(
                order = %id, side = ?fill.side, quantity = %fill.quantity.normalized(), price = %fill.price.normalized(), liquidity = ?fill.liquidity,
                "fill {}", symbol(fill.instrument)
            );
        }
        Notice::Order { id, from, to, change, .. } => on_order(tally, *id, *from, *to, *change),
        Notice::Denied(denied, _) => tracing::info!(%denied, "denied by risk"),
        Notice::DeniedMore { count } => tracing::info!(count, "further denials by risk"),
        Notice::Alarm { alarm, held } => {
            let held = held.map(symbol);
            if matches!(alarm, Alarm::ForeignOrder { .. } | Alarm::ForeignFill { .. }) {
                let held = held.as_deref().unwrap_or("none");
                tally.lock().count("foreign orders and fills seen and left alone", 1);
                tracing::warn!(%alarm, held, "not ours");
            } else {
                tracing::warn!(%alarm, held = held.as_deref().unwrap_or("none"), "alarm");
                tally.lock().alarm(held.map_or_else(|| alarm.to_string(), |held| format!("{alarm} ({held} is held)")));
            }
        }
        Notice::Feed(stream, state) => on_feed(tally, *stream, *state, &symbol),
        Notice::TradesLost { instrument, count } => {
            tally.lock().count("trades lost: the market lane was full", *count);
            tracing::warn!(count, "trades lost on {}: the strategy is too slow for the feed", symbol(*instrument));
        }
        Notice::BookBroken { instrument, error } => {
            tally.lock().count("books that had to be fetched anew", 1);
            tracing::warn!(%error, "the book of {} waits for a snapshot", symbol(*instrument));
        }
        Notice::Found(finding) => on_finding(tally, finding, &symbol),
        other => on_books(tally, other, &symbol),
    }
}

/// What a comparison with the venue brought to light.
fn on_finding(tally: &Mutex<Tally>, finding: &Finding, symbol: &dyn Fn(keel_model::InstrumentId) -> String) {
    match finding {
        Finding::Held(hold) => {
            let (name, remedy) = (symbol(hold.instrument), hold.cause.remedy());
            tally.lock().count("instruments held until a person looks", 1);
            tracing::error!(reason = hold.reason, remedy, "{name} is held: nothing that opens or adds is taken there");
        }
        Finding::Balance { asset, total, cause, .. } => {
            tracing::debug!(%asset, total = %total.normalized(), ?cause, "expected from now on");
        }
    }
}

/// Balances, and what a person says about orders and instruments.
fn on_books(tally: &Mutex<Tally>, notice: &Notice, symbol: &dyn Fn(keel_model::InstrumentId) -> String) {
    match notice {
        Notice::BalanceChanged { asset, change, cause } => {
            let text = match cause {
                BalanceCause::Announced => "announced by the venue",
                _ => "from outside while this program or the account stream was away; taken over",
            };
            tally.lock().alarm(format!("{asset} changed by {} without a trade: {text}", change.normalized()));
            tracing::warn!(%asset, change = %change.normalized(), text, "a balance changed without a trade");
        }
        Notice::Mismatch(found) => {
            let (asset, ours, venues) = (found.asset, found.ours, found.venues);
            tally.lock().alarm(format!("{asset} does not add up: expected {ours}, the venue says {venues}"));
            tracing::error!(%asset, %ours, %venues, change = %found.change, "a balance does not add up");
        }
        Notice::Released { instrument, holds } => {
            tracing::warn!(holds, "{} was released by a person", symbol(*instrument));
        }
        Notice::Settled { id, settlement } => {
            tally.lock().alarm(format!("order {id} was settled by a person: {settlement:?}"));
            tracing::warn!(order = %id, ?settlement, "an order was settled by a person");
        }
        Notice::SettleRefused { error } => tracing::error!(%error, "a settlement was not taken"),
        Notice::Instrument { instrument, from, to } => on_rules(tally, &symbol(*instrument), *from, *to),
        other => on_state(tally, other),
    }
}

/// The venue changed the rules of an instrument.
fn on_rules(tally: &Mutex<Tally>, symbol: &str, from: InstrumentStatus, to: InstrumentStatus) {
    if to.is_tradable() {
        return tracing::warn!(?from, "{symbol} is open for trading, under rules that have changed");
    }
    tally.lock().alarm(format!("{symbol} is not open for trading any more: {to:?}"));
    tracing::error!(?from, ?to, "{symbol} is not open for trading: entries are cancelled, nothing is placed");
}

fn on_feed(
    tally: &Mutex<Tally>,
    stream: StreamKind,
    state: FeedState,
    symbol: &dyn Fn(keel_model::InstrumentId) -> String,
) {
    let name = match stream {
        StreamKind::Account => "the account stream".to_owned(),
        StreamKind::Market(id) => format!("market data of {}", symbol(id)),
    };
    match state {
        FeedState::Live => tracing::debug!("{name} is live"),
        FeedState::Resyncing => {
            tally.lock().count("resyncs of market data", 1);
            tracing::info!("{name} is being synchronised");
        }
        FeedState::Stale | FeedState::Down => {
            tally.lock().count("streams that were stale or down", 1);
            tracing::warn!(?state, "{name}");
        }
    }
}

fn on_order(tally: &Mutex<Tally>, id: ClientOrderId, from: OrderState, to: OrderState, change: Change) {
    if to == OrderState::Done
        && let Some(ended) = tally.lock().ended_at_stop.as_mut()
    {
        *ended += 1;
    }
    let why = match change {
        Change::Plain => return tracing::debug!(order = %id, %from, %to, "order"),
        Change::Rejected(reject) => {
            format!("the venue refused it: {:?}, code {}, {}", reject.reason, reject.code, reject.text)
        }
        Change::NotSent(reason) => format!("it was not sent: {reason:?}"),
        Change::Unknown(reason) => format!("its fate is not known: {reason:?}"),
        Change::Resurrected => "it has risen again".to_owned(),
    };
    tracing::info!(order = %id, %to, why, "order");
}

fn on_wound(tally: &Mutex<Tally>, policy: ExitPolicy) {
    let at_exit = super::banner::exit_name(policy);
    let ended = tally.lock().ended_at_stop.take().unwrap_or_default();
    match ended {
        _ if policy == ExitPolicy::Keep => {
            tracing::info!(at_exit, "orders and positions stay as they are: nothing was asked")
        }
        0 => tracing::info!(at_exit, "nothing to cancel"),
        ended => tracing::info!(at_exit, ended, "orders are as the exit policy asks for, confirmed by the venue"),
    }
}

/// Brackets, OCO pairs, TWAP and iceberg orders.
fn on_parent(tally: &Mutex<Tally>, about: &ParentState, news: ParentNews) {
    let (id, filled, closed) = (about.id, about.filled.normalized(), about.closed.normalized());
    match news {
        ParentNews::Unprotected { quantity } => {
            tally.lock().alarm(format!("{quantity} of the position of {id} has no exit at the venue"));
            tracing::error!(%id, %quantity, "a position has no exit at the venue; it is tried again");
        }
        ParentNews::GaveUp { quantity } => {
            tally.lock().alarm(format!("the exit of {id} could not be placed: {quantity} is unprotected"));
            tracing::error!(%id, %quantity, "the exit could not be placed; place one or close the position, then resume");
        }
        ParentNews::Protected => tracing::info!(%id, "the position is protected again"),
        ParentNews::Overfilled { quantity } => {
            tally.lock().alarm(format!("both legs of {id} have filled, {quantity} more than was wanted"));
            tracing::error!(%id, %quantity, "both legs have filled; the position is what the fills say");
        }
        ParentNews::Ended(end) => tracing::info!(%id, ?end, %filled, %closed, "a parent order is over"),
    }
}

fn on_state(tally: &Mutex<Tally>, notice: &Notice) {
    match notice {
        Notice::TradingState { from, to } => tracing::info!(?from, ?to, "what risk allows has changed"),
        Notice::DailyLoss { day_pnl } => {
            tally.lock().alarm(format!("the daily loss limit was reached at {day_pnl}"));
            tracing::warn!(%day_pnl, "the daily loss limit is reached: nothing that opens or adds is taken");
        }
        Notice::StartRefused(blocker) => tracing::warn!(%blocker, "the start was refused"),
        Notice::Started => tracing::info!("trading has begun"),
        Notice::RequestsRefused { strategy, count } => {
            tally.lock().count("requests of strategies beyond the bound", u64::from(*count));
            tracing::warn!(?strategy, count, "a strategy asked for more in one event than is taken");
        }
        Notice::Winding(policy) => {
            tally.lock().ended_at_stop = Some(0);
            tracing::info!(at_exit = super::banner::exit_name(*policy), "the exit policy is carried out");
        }
        Notice::Wound(policy) => on_wound(tally, *policy),
        Notice::EmergencyStop(reason) => {
            tally.lock().alarm(format!("emergency stop: {reason}"));
            tracing::error!(reason, "emergency stop");
        }
        Notice::Killed { scope, reason } => {
            tally.lock().alarm(format!("kill switch of {scope}: {reason}"));
            tracing::error!(%scope, reason, "kill switch: nothing that opens or adds is taken until a person re-arms it");
        }
        Notice::Rearmed(scope) => tracing::warn!(%scope, "a person has re-armed what was latched"),
        Notice::Guard(event) => {
            tally.lock().count("breakers, locks and kill switches of risk", 1);
            tracing::warn!("{event}");
        }
        Notice::Disconnected { gone_ms, orders } => {
            tally.lock().count(
                "entries cancelled because the account stream was gone",
                u64::try_from(*orders).unwrap_or(u64::MAX),
            );
            tracing::warn!(gone_ms, orders, "the account stream is gone for too long: entries are cancelled");
        }
        Notice::Parent { about, news } => on_parent(tally, about, *news),
        Notice::Unfilled { id, purpose, .. } => {
            tracing::info!(%id, ?purpose, "an order has not filled in time and is cancelled");
        }
        Notice::Reconciling => tracing::debug!("comparing with the venue"),
        Notice::Reconciled => tracing::debug!("compared with the venue"),
        Notice::Booking { instrument, error } => {
            tally.lock().alarm(format!("a fill could not be booked: {error}"));
            tracing::error!(?instrument, %error, "a fill could not be booked");
        }
        _ => {}
    }
}
