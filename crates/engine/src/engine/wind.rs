//! The way out: open orders and positions are brought to what the exit policy asks for, confirmed by the venue.

use super::Engine;
use crate::outbox::{Notice, Outbox};
use keel_execution::{Order, OrderState};
use keel_model::{
    ClientOrderId, ExitPolicy, FeedState, InstrumentId, NewOrder, OrderIntent, OrderPurpose, OrderType, Quantity, Side,
    Timestamp,
};
use keel_risk::HOUSE;
use std::time::Duration;

/// Pause between two tries to close one position.
const FLATTEN_PAUSE: Duration = Duration::from_millis(250);

/// Pause after a try that does not count: it never left, or nobody would have told us what became of it.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// An exit policy under way.
#[derive(Clone, Debug)]
pub(super) struct Wind {
    policy: ExitPolicy,
    /// Only these; empty for all.
    instruments: Vec<InstrumentId>,
    /// Asked for by a person while the run goes on.
    is_while_running: bool,
    tries: Vec<Tries>,
    is_told: bool,
    /// A weaker policy that was asked for meanwhile: it has what it wants once this one has.
    asked: Option<ExitPolicy>,
}

/// Closing orders of one instrument.
#[derive(Clone, Copy, Debug)]
struct Tries {
    instrument: InstrumentId,
    /// In a row without the position getting smaller; those that never left the program or were made while a stream that
    /// they need was down do not count.
    count: u32,
    ts_last: Timestamp,
    /// Until the next try.
    pause: Duration,
    /// The last try that was counted.
    counted: Option<ClientOrderId>,
    /// What was held at the last try.
    held: Quantity,
}

impl Tries {
    const fn new(instrument: InstrumentId, held: Quantity) -> Self {
        Self { instrument, count: 0, ts_last: Timestamp::ZERO, pause: FLATTEN_PAUSE, counted: None, held }
    }
}

/// How much a policy asks for, compared with others.
const fn strength(policy: ExitPolicy) -> u8 {
    match policy {
        ExitPolicy::Keep => 0,
        ExitPolicy::CancelEntries => 1,
        ExitPolicy::CancelAll => 2,
        ExitPolicy::Flatten => 3,
    }
}

impl Wind {
    pub(super) const fn new(policy: ExitPolicy) -> Self {
        Self {
            policy,
            instruments: Vec::new(),
            is_while_running: false,
            tries: Vec::new(),
            is_told: false,
            asked: None,
        }
    }

    /// Takes a weaker policy in: what is under way for all instruments stands, and the other is told with it. `false` when the
    /// other asks for as much or more.
    pub(super) fn take_in(&mut self, weaker: ExitPolicy) -> bool {
        let stands = !self.is_while_running && strength(weaker) < strength(self.policy);
        if stands {
            (self.asked, self.is_told) = (Some(weaker), false);
        }
        stands
    }

    /// A person asks again: what could not be closed, of one instrument or of all, is tried anew.
    pub(super) fn try_again(&mut self, instrument: Option<InstrumentId>) {
        self.tries.retain(|tries| instrument.is_some_and(|id| id != tries.instrument));
        self.is_told = false;
    }

    /// A flatten that does not end the run, of one instrument or of all.
    pub(super) fn while_running(instrument: Option<InstrumentId>) -> Self {
        Self { instruments: instrument.into_iter().collect(), is_while_running: true, ..Self::new(ExitPolicy::Flatten) }
    }

    pub(super) const fn is_while_running(&self) -> bool {
        self.is_while_running
    }

    pub(super) const fn policy(&self) -> ExitPolicy {
        self.policy
    }

    pub(super) fn instruments(&self) -> &[InstrumentId] {
        &self.instruments
    }

    /// One more instrument, where not all are meant already.
    pub(super) fn add_instrument(&mut self, id: InstrumentId) {
        self.is_told = false;
        if !self.instruments.is_empty() && !self.instruments.contains(&id) {
            self.instruments.push(id);
        }
    }

    /// Lets go of instruments; `false` when there were some and none is left.
    pub(super) fn keep_instruments(&mut self, keep: impl Fn(InstrumentId) -> bool) -> bool {
        let was_all = self.instruments.is_empty();
        self.instruments.retain(|id| keep(*id));
        was_all || !self.instruments.is_empty()
    }

    fn covers(&self, id: InstrumentId) -> bool {
        self.instruments.is_empty() || self.instruments.contains(&id)
    }
}

/// How far the exit policy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindProgress {
    /// Orders that the policy wants gone and the venue has not confirmed to be gone.
    pub orders_left: usize,
    /// Orders of unknown outcome or with fills missing.
    pub unresolved: usize,
    /// Placements that the venue has not answered.
    pub in_flight: usize,
    /// Positions that the policy wants closed and that can still be closed.
    pub positions_left: usize,
    /// Positions that the policy wants closed and that could not be, in as many tries as are allowed.
    pub positions_given_up: usize,
    /// Orders that the venue had accepted and does not know any more: nothing is left to cancel, and they stay unaccounted for.
    pub orders_missing: usize,
    /// Orders that stay by policy.
    pub orders_kept: usize,
}

impl WindProgress {
    /// Is nothing left to do or to wait for?
    #[must_use]
    pub const fn is_wound(&self) -> bool {
        let positions = self.positions_left + self.positions_given_up;
        self.orders_left == 0 && self.unresolved == 0 && self.in_flight == 0 && positions == 0
    }
}

impl Engine {
    /// How far the exit policy has come; `None` while none is under way.
    #[must_use]
    pub fn wind_progress(&self) -> Option<WindProgress> {
        let wind = self.wind.as_ref()?;
        let mut progress = WindProgress::default();
        for order in self.orders.open().filter(|order| wind.covers(order.new.intent.instrument)) {
            if order.is_missing {
                progress.orders_missing += 1;
                continue;
            }
            match order.state {
                OrderState::Unknown | OrderState::Settling => progress.unresolved += 1,
                OrderState::Intent | OrderState::Armed | OrderState::Sent => progress.in_flight += 1,
                _ => {}
            }
            if self.is_unwanted(wind.policy, order) {
                progress.orders_left += 1;
            } else {
                progress.orders_kept += 1;
            }
        }
        if wind.policy == ExitPolicy::Flatten {
            let is_left = |id| wind.covers(id) && self.closing_order(id).is_some();
            for instrument in self.instruments.iter().filter(|it| is_left(it.id)) {
                let tries = wind.tries.iter().find(|tries| tries.instrument == instrument.id);
                // The last try counts as given up only once it is over.
                let is_working = self.is_worked_on(instrument.id);
                match tries.map_or(0, |tries| tries.count) < self.config.flatten_attempts_max || is_working {
                    true => progress.positions_left += 1,
                    false => progress.positions_given_up += 1,
                }
            }
        }
        Some(progress)
    }

    /// Does the policy of the stop that is under way have what it wants, confirmed by the venue?
    #[must_use]
    pub fn is_wound(&self) -> bool {
        self.wind_progress().is_some_and(|progress| progress.is_wound())
    }

    /// Does the policy want the order gone? Exits and protective orders stay only while there is a position that they reduce.
    pub(super) fn is_unwanted(&self, policy: ExitPolicy, order: &Order) -> bool {
        let reduces = || {
            let held = self.portfolio.position(order.new.intent.instrument).quantity;
            match order.new.intent.side {
                Side::Sell => held.is_positive(),
                Side::Buy => held.is_negative(),
            }
        };
        match policy {
            ExitPolicy::Keep => false,
            ExitPolicy::CancelAll | ExitPolicy::Flatten => true,
            ExitPolicy::CancelEntries => order.new.intent.purpose == OrderPurpose::Entry || !reduces(),
        }
    }

    /// One more step of the exit policy. Cancels what has to go; once nothing is open, closes positions if asked for.
    pub(super) fn wind_step(&mut self, out: &mut Outbox) {
        self.drop_released();
        let Some(policy) = self.wind.as_ref().map(|wind| wind.policy) else { return };
        if policy != ExitPolicy::Keep {
            self.cancel_unwanted(policy, out);
        }
        if policy == ExitPolicy::Flatten {
            self.flatten(out);
        }
        if self.is_wound()
            && let Some(wind) = self.wind.as_mut().filter(|wind| !wind.is_told)
        {
            wind.is_told = true;
            out.notify(if wind.is_while_running { Notice::Flattened } else { Notice::Wound(policy) });
            if let Some(asked) = wind.asked.take() {
                out.notify(Notice::Wound(asked));
            }
        }
    }

    fn cancel_unwanted(&mut self, policy: ExitPolicy, out: &mut Outbox) {
        // The house's own closing orders are what flattening waits for; they end by themselves.
        let is_target = |engine: &Self, order: &Order| {
            let is_closing = order.new.strategy == HOUSE && !order.is_adopted;
            let is_covered = engine.wind.as_ref().is_some_and(|wind| wind.covers(order.new.intent.instrument));
            let is_kept = policy == ExitPolicy::Flatten && engine.still_protects(order);
            let is_target = is_covered && !is_closing && !is_kept && engine.is_unwanted(policy, order);
            is_target && !order.is_cancel_wanted && order.state.may_fill()
        };
        let targets: Vec<_> = self.orders.open().filter(|order| is_target(self, order)).map(Order::id).collect();
        for id in targets {
            self.cancel(id, out);
        }
    }

    /// Is there an order of ours that will end by itself? One that the venue had and does not know any more will not: nobody
    /// waits for it. Its reservation stays, so that what it may have closed already is not closed twice.
    fn is_worked_on(&self, instrument: InstrumentId) -> bool {
        self.orders.open_of(instrument).any(|order| !order.is_missing)
    }

    /// Sends one closing order per instrument at a time, and only once nothing else of ours works on it. A position larger than
    /// one order may be goes in pieces. Next to a missing order, what is certain is closed.
    fn flatten(&mut self, out: &mut Outbox) {
        for index in 0..self.instruments.len() {
            let instrument = InstrumentId(u32::try_from(index).unwrap_or(u32::MAX));
            let is_covered = self.wind.as_ref().is_some_and(|wind| wind.covers(instrument));
            if !is_covered || self.is_worked_on(instrument) {
                continue;
            }
            let Some(intent) = self.closing_order(instrument) else { continue };
            let (now, tries_max) = (self.now, self.config.flatten_attempts_max);
            let is_blind = self.account_feed != FeedState::Live || self.feeds.get(index) != Some(&FeedState::Live);
            let Some(wind) = self.wind.as_mut() else { return };
            let held = self.portfolio.position(instrument).quantity.abs().unwrap_or_default();
            let at = match wind.tries.iter().position(|tries| tries.instrument == instrument) {
                Some(at) => at,
                None => {
                    wind.tries.push(Tries::new(instrument, held));
                    wind.tries.len() - 1
                }
            };
            let Some(tries) = wind.tries.get_mut(at) else { continue };
            if held < tries.held {
                *tries = Tries::new(instrument, held);
            }
            let has_not_left = |id| self.orders.get(id).is_some_and(|order| order.state == OrderState::Abandoned);
            if tries.counted.take_if(|id| has_not_left(*id)).is_some() {
                (tries.count, tries.pause) = (tries.count.saturating_sub(1), LOST_PAUSE);
            }
            if tries.count >= tries_max || now.since(tries.ts_last) < tries.pause {
                continue;
            }
            let client_order_id = self.ids.next_id();
            tries.ts_last = now;
            self.submit(NewOrder { client_order_id, strategy: HOUSE, ts_decided: now, intent }, out);
            // What risk stops (it wants a fresh price) says as little of the position as what is not sent.
            let counts = !is_blind && self.orders.get(client_order_id).is_some();
            if let Some(tries) = self.wind.as_mut().and_then(|wind| wind.tries.get_mut(at)) {
                (tries.pause, tries.counted) = match counts {
                    true => (FLATTEN_PAUSE, Some(client_order_id)),
                    false => (LOST_PAUSE, None),
                };
                tries.count += u32::from(counts);
            }
        }
    }

    /// The market order that closes the position of an instrument; `None` when there is none, or when what is left is too
    /// small for the venue.
    pub(super) fn closing_order(&self, instrument: InstrumentId) -> Option<OrderIntent> {
        let held = self.portfolio.position(instrument).quantity;
        let side = if held.is_positive() { Side::Sell } else { Side::Buy };
        if held.is_zero() {
            return None;
        }
        let rules = self.instruments.get(instrument)?;
        // While a closing order works, what it will close is not free; the position itself is then what is left.
        let free = self.risk.closable(instrument, side);
        let closable = if self.is_worked_on(instrument) { held.abs().ok()? } else { free };
        let reference = self.books.get(instrument.index()).and_then(|book| match side {
            Side::Sell => book.best_bid(),
            Side::Buy => book.best_ask(),
        });
        let mut quantity = closable;
        for max in [rules.lot.max, rules.market_lot.max].into_iter().filter(|max| max.is_positive()) {
            quantity = quantity.min(max);
        }
        if let Some(max) = reference.and_then(|level| self.risk.market_order_max(instrument, side, level.price)) {
            quantity = quantity.min(max);
        }
        let quantity = rules.round_quantity(quantity, OrderType::Market).ok()?;
        let intent = OrderIntent::market(instrument, side, quantity, OrderPurpose::Exit);
        let is_dust = rules.check(&intent, reference.map(|level| level.price)).is_err();
        (quantity > Quantity::ZERO && !is_dust).then_some(intent)
    }
}
