//! What a person says while the run goes on: pause, reduce-only, cancel all, flatten; and what is told about it.
//!
//! Invariants: a pause outlives everything but a resume, the restart of the program included (the journal's commands are
//! replayed); under reduce-only nothing that would add exposure stays open, whoever placed it; a flatten goes on until a
//! person resumes, so that a late fill is closed, too. Before the books were compared with the venue's nothing is closed.

use super::wind::Wind;
use super::{Engine, Phase};
use crate::outbox::{Notice, Outbox, StartBlocker};
use keel_execution::Order;
use keel_model::{
    ClientOrderId, Command, ExitPolicy, HoldCause, InstrumentId, OperatorView, Quantity, Side, StreamKind, StreamView,
    TradingState, WindView,
};
use keel_risk::HOUSE;
use serde::{Deserialize, Serialize};

/// What a person has said that holds until a person says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) is_paused: bool,
    pub(super) is_reduce_only: bool,
}

impl Engine {
    /// No new exposure; open orders stay.
    pub(super) fn pause(&mut self) {
        self.standing.is_paused = true;
        if self.wanted == TradingState::Active {
            self.wanted = TradingState::Reducing;
            self.apply_state();
        }
    }

    /// As a pause, and what is open and would add exposure goes.
    pub(super) fn reduce_only(&mut self, out: &mut Outbox) {
        self.pause();
        self.standing.is_reduce_only = true;
        self.cancel_adding(out);
    }

    /// The state that the start asks for: what a person said before the start, or before a restart, stands.
    pub(super) const fn wanted_at_start(&self) -> TradingState {
        if self.standing.is_paused { TradingState::Reducing } else { TradingState::Active }
    }

    /// A person resumed.
    pub(super) fn end_standing(&mut self) {
        self.standing = Standing::default();
        if self.wind.as_ref().is_some_and(Wind::is_while_running) {
            self.wind = None;
        }
    }

    /// What a person said in an earlier run and nobody has taken back.
    pub(super) fn replay_standing(&mut self, command: &Command) {
        match command {
            Command::Pause | Command::Flatten(None) => self.standing.is_paused = true,
            Command::ReduceOnly => self.standing = Standing { is_paused: true, is_reduce_only: true },
            Command::Resume => self.standing = Standing::default(),
            _ => {}
        }
    }

    /// Follows each event while reduce-only is on: an order that was on its way then is cancelled once it is open.
    pub(super) fn keep_reducing(&mut self, out: &mut Outbox) {
        if self.standing.is_reduce_only && self.wind.is_none() {
            self.cancel_adding(out);
        }
    }

    fn cancel_adding(&mut self, out: &mut Outbox) {
        let adding = self.adding_orders();
        self.cancel_where(out, |_, order| adding.contains(&order.id()));
    }

    /// Open orders that would add exposure: those on the side of the position, and those against it beyond what is held, the
    /// house's own closing orders aside.
    pub(super) fn adding_orders(&self) -> Vec<ClientOrderId> {
        let mut room: Vec<(InstrumentId, Quantity)> = Vec::new();
        let mut adding = Vec::new();
        for order in self.orders.open() {
            let instrument = order.new.intent.instrument;
            let held = self.portfolio.position(instrument).quantity;
            let is_against = match order.new.intent.side {
                Side::Sell => held.is_positive(),
                Side::Buy => held.is_negative(),
            };
            let at = room.iter().position(|(known, _)| *known == instrument).unwrap_or_else(|| {
                room.push((instrument, held.abs().unwrap_or_default()));
                room.len() - 1
            });
            let left = room.get_mut(at).filter(|_| is_against).and_then(|(_, left)| {
                let less = left.checked_sub(order.leaves()).ok()?;
                (!less.is_negative()).then_some((left, less))
            });
            match left {
                Some((left, less)) => *left = less,
                None if order.new.strategy == HOUSE && !order.is_adopted => {}
                None => adding.push(order.id()),
            }
        }
        adding
    }

    /// Every order of ours goes; positions and the trading state stay.
    pub(super) fn cancel_every(&mut self, out: &mut Outbox) {
        self.wind_parents(ExitPolicy::CancelAll, &[], out);
        self.cancel_where(out, |_, _| true);
    }

    pub(super) fn cancel_where(&mut self, out: &mut Outbox, is_wanted_gone: impl Fn(&Self, &Order) -> bool) {
        let targets: Vec<_> = self
            .orders
            .open()
            .filter(|order| !order.is_cancel_wanted && order.state.may_fill() && is_wanted_gone(self, order))
            .map(Order::id)
            .collect();
        for id in targets {
            self.cancel(id, out);
        }
    }

    /// Cancels orders and closes positions while the run goes on. One instrument is held until a person releases it or
    /// resumes; all of them are a pause.
    pub(super) fn flatten_while_running(&mut self, instrument: Option<InstrumentId>, out: &mut Outbox) {
        if self.phase == Phase::Stopped {
            if let Some(wind) = self.wind.as_mut().filter(|wind| wind.policy() == ExitPolicy::Flatten) {
                // The end is closing everything already: what it has given up is tried again.
                wind.try_again(instrument);
                out.notify(Notice::Winding(ExitPolicy::Flatten));
                return;
            }
            out.notify(Notice::StartRefused(StartBlocker::Stopped));
            return;
        }
        match instrument {
            None => {
                self.pause();
                self.wind = Some(Wind::while_running(None));
            }
            Some(id) if self.instruments.get(id).is_some() => {
                self.hold(id, HoldCause::Operator, "an operator has it flattened".to_owned(), out);
                match self.wind.as_mut().filter(|wind| wind.is_while_running()) {
                    Some(wind) => {
                        wind.add_instrument(id);
                        wind.try_again(Some(id));
                    }
                    None => self.wind = Some(Wind::while_running(Some(id))),
                }
            }
            Some(_) => return,
        }
        out.notify(Notice::Winding(ExitPolicy::Flatten));
        self.wind_parents(ExitPolicy::Flatten, instrument.as_slice(), out);
    }

    /// Instruments that a person has released in the meantime are no longer flattened.
    pub(super) fn drop_released(&mut self) {
        let Some(mut wind) = self.wind.take() else { return };
        if wind.keep_instruments(|id| self.holds.is_held(id)) {
            self.wind = Some(wind);
        }
    }

    /// What an operator looks at first.
    pub(super) fn operator_view(&self) -> OperatorView {
        let account = StreamView { stream: StreamKind::Account, state: self.account_feed };
        let market = self.instruments.iter().filter_map(|known| {
            let state = *self.feeds.get(known.id.index())?;
            Some(StreamView { stream: StreamKind::Market(known.id), state })
        });
        OperatorView {
            is_paused: self.standing.is_paused,
            is_reduce_only: self.standing.is_reduce_only,
            is_emergency: self.risk.is_emergency(),
            streams: std::iter::once(account).chain(market).collect(),
            winding: self.wind_view(),
        }
    }

    fn wind_view(&self) -> Option<WindView> {
        let (wind, progress) = (self.wind.as_ref()?, self.wind_progress()?);
        Some(WindView {
            policy: wind.policy(),
            instruments: wind.instruments().to_vec(),
            orders_left: progress.orders_left,
            unresolved: progress.unresolved,
            in_flight: progress.in_flight,
            positions_left: progress.positions_left,
            positions_given_up: progress.positions_given_up,
            orders_missing: progress.orders_missing,
            is_done: progress.is_wound(),
        })
    }
}
