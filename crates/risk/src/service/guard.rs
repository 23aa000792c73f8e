//! Guards over time inside the service: breakers, kill switches, locks, counts, loss and drawdown. What a review needs is in
//! flags and sums; whatever is latched is looked at only while something is.

use super::{HOUSE, RiskService};
use crate::alerts::{Alerts, GuardEvent, KillCause};
use crate::breaker::{Breaker, BreakerKind, BreakerState};
use crate::denied::DenyReason;
use crate::guards::GuardLimits;
use crate::protections::{ClosedTrade, Lock, Protections};
use crate::row::{Row, Sized};
use crate::strategies::{CellFill, Name, StrategyRow};
use crate::units::notional_down;
use crate::window::{Counts, OrderCounts};
use keel_model::{
    ClientOrderId, Fill, InstrumentId, NewOrder, Notional, Price, RejectReason, RiskScope, Side, StrategyId, Timestamp,
};

/// Most strategies with a row of their own; fills of ids beyond count for the account alone.
const STRATEGIES_MAX: usize = 4_096;

/// What became of a request, as far as breakers care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The venue has the order.
    Accepted,
    /// The venue refused it.
    Rejected(RejectReason),
    /// Nobody knows.
    Unknown,
    /// It could not leave, though it should have.
    NotSent,
}

/// All guards of one account.
#[derive(Debug)]
pub(crate) struct Guards {
    pub(crate) limits: GuardLimits,
    /// Engine time: the largest that was told.
    pub(crate) now: Timestamp,
    /// Is anything of the account latched, locked or half-open, so that a review has to look closer?
    pub(crate) is_alert: bool,
    /// Does the account take nothing that opens or adds?
    pub(crate) is_shut: bool,
    breakers: [Breaker; BreakerKind::ACCOUNT.len()],
    pub(crate) strategies: Vec<StrategyRow>,
    pub(crate) protections: Protections,
    pub(crate) counts: OrderCounts,
    pub(crate) alerts: Alerts,
    killed_account: Option<KillCause>,
    killed_venue: Option<KillCause>,
    losses_in_a_row: u32,
    clock: Option<(u64, Timestamp)>,
    pub(crate) peak: i128,
    /// Has something changed that a restart must not forget?
    pub(crate) is_unsaved: bool,
    pub(super) drawdown_max: i128,
    pub(super) strategy_loss_max: i128,
    pub(super) strategy_drawdown_max: i128,
    probe_max: i128,
}

impl Guards {
    pub(crate) fn new(limits: GuardLimits) -> Self {
        let money = |value: Option<Notional>| value.and_then(notional_down).unwrap_or(i128::MAX);
        let breaker = |kind: BreakerKind| {
            let (count, window_ms) = match kind {
                BreakerKind::OrderErrors => (limits.order_errors.count, limits.order_errors.window_ms),
                BreakerKind::VenueErrors => (limits.venue_errors.count, limits.venue_errors.window_ms),
                _ => (0, 0),
            };
            let timeout_ms = if kind.is_about_losses() { limits.loss_timeout_ms } else { limits.breaker_timeout_ms };
            Breaker::new(count, window_ms, timeout_ms)
        };
        Self {
            limits,
            now: Timestamp::ZERO,
            is_alert: false,
            is_shut: false,
            breakers: BreakerKind::ACCOUNT.map(breaker),
            strategies: Vec::new(),
            protections: Protections::new(limits.protections),
            counts: OrderCounts::new(limits.count_window_ms),
            alerts: Alerts::new(),
            killed_account: None,
            killed_venue: None,
            losses_in_a_row: 0,
            clock: None,
            peak: 0,
            is_unsaved: false,
            drawdown_max: money(limits.drawdown_max),
            strategy_loss_max: money(limits.strategy_daily_loss_max),
            strategy_drawdown_max: money(limits.strategy_drawdown_max),
            probe_max: notional_down(limits.probe_notional_max).unwrap_or(0),
        }
    }

    pub(crate) fn breaker(&self, kind: BreakerKind) -> Option<&Breaker> {
        BreakerKind::ACCOUNT.iter().position(|it| *it == kind).and_then(|at| self.breakers.get(at))
    }

    pub(crate) fn breaker_mut(&mut self, kind: BreakerKind) -> Option<&mut Breaker> {
        BreakerKind::ACCOUNT.iter().position(|it| *it == kind).and_then(|at| self.breakers.get_mut(at))
    }

    pub(crate) fn is_open(&self, kind: BreakerKind) -> bool {
        self.breaker(kind).is_some_and(Breaker::is_open)
    }

    pub(crate) const fn losses_in_a_row(&self) -> u32 {
        self.losses_in_a_row
    }

    pub(crate) const fn set_losses_in_a_row(&mut self, count: u32) {
        self.losses_in_a_row = count;
    }

    /// What is killed of account and venue.
    pub(crate) const fn killed(&self) -> (Option<KillCause>, Option<KillCause>) {
        (self.killed_account, self.killed_venue)
    }

    pub(crate) fn refresh(&mut self) {
        let any_open = self.breakers.iter().any(Breaker::is_open);
        let is_killed = self.killed_account.is_some() || self.killed_venue.is_some();
        self.is_shut = any_open || is_killed;
        let half_open = self.breakers.iter().any(|breaker| !breaker.is_closed());
        self.is_alert = self.is_shut || half_open || !self.protections.locks().is_empty();
    }

    fn tell(&mut self, event: GuardEvent) {
        self.alerts.push(self.now, event);
        self.is_unsaved = true;
        self.refresh();
    }

    /// The strategy's row; strategies that nobody announced get one. The house has none, and neither have the other ids at
    /// the end of the range, which stand for what is nobody's: rows are as many as the largest id.
    pub(crate) fn strategy_mut(&mut self, id: StrategyId, instruments: usize) -> Option<&mut StrategyRow> {
        let at = usize::from(id.0);
        if id == HOUSE || at >= STRATEGIES_MAX {
            return None;
        }
        while self.strategies.len() <= at {
            self.strategies.push(StrategyRow::new(Name::EMPTY, &self.limits, instruments));
        }
        self.strategies.get_mut(at)
    }

    fn open(&mut self, kind: BreakerKind) -> bool {
        let now = self.now;
        let Some(breaker) = self.breaker_mut(kind) else { return false };
        if !breaker.open(now) {
            return false;
        }
        self.tell_opened(kind);
        true
    }

    fn tell_opened(&mut self, kind: BreakerKind) {
        let until = match self.breaker(kind).map(Breaker::state) {
            Some(BreakerState::Open { until }) => until,
            _ => None,
        };
        self.tell(GuardEvent::BreakerOpened { kind, scope: RiskScope::Account, until });
    }

    /// Latches and locks that stand in the way of an order that opens or adds.
    #[cold]
    fn check_latched(&self, order: &NewOrder, value: i128, now: Timestamp) -> Result<(), DenyReason> {
        if self.killed_account.is_some() {
            return Err(DenyReason::Killed(RiskScope::Account));
        }
        if self.killed_venue.is_some() {
            return Err(DenyReason::Killed(RiskScope::Venue));
        }
        for (kind, breaker) in BreakerKind::ACCOUNT.iter().zip(&self.breakers) {
            self.check_breaker(*kind, breaker, value)?;
        }
        match self.protections.find(order.intent.instrument, order.strategy, now) {
            Some(lock) => Err(DenyReason::Locked { cause: lock.cause, until: lock.until }),
            None => Ok(()),
        }
    }

    fn check_breaker(&self, kind: BreakerKind, breaker: &Breaker, value: i128) -> Result<(), DenyReason> {
        match breaker.state() {
            BreakerState::Closed => Ok(()),
            BreakerState::Open { .. } if kind == BreakerKind::DailyLoss => Err(DenyReason::DailyLoss),
            BreakerState::Open { .. } => Err(DenyReason::BreakerOpen(kind)),
            BreakerState::HalfOpen { probe: Some(_) } => Err(DenyReason::ProbePending(kind)),
            BreakerState::HalfOpen { probe: None } if value > self.probe_max => Err(DenyReason::ProbeTooLarge(kind)),
            BreakerState::HalfOpen { probe: None } => Ok(()),
        }
    }

    /// What guards say to an order that opens or adds.
    #[inline]
    pub(crate) fn check(
        &self,
        row: &Row,
        order: &NewOrder,
        sized: &Sized,
        value: i128,
        counts: Counts,
        now: Timestamp,
    ) -> Result<(), DenyReason> {
        if self.is_alert {
            self.check_latched(order, value, now)?;
        }
        if row.is_guarded {
            if row.killed.is_some() {
                return Err(DenyReason::Killed(RiskScope::Instrument(order.intent.instrument)));
            }
            self.check_breaker(BreakerKind::Volatility, &row.volatility, value)?;
        }
        if let Some(strategy) = self.strategies.get(usize::from(order.strategy.0)) {
            if let Some(cause) = strategy.killed {
                return Err(DenyReason::StrategyDisabled(cause));
            }
            if strategy.enters_too_often(order.intent.instrument.index(), now) {
                return Err(DenyReason::Repeated);
            }
        }
        if self.limits.window_collar_bps > 0 {
            check_window(row, sized, self.limits.window_collar_bps)?;
        }
        self.check_counts(counts)?;
        self.check_clock(now)
    }

    #[inline]
    fn check_counts(&self, counts: Counts) -> Result<(), DenyReason> {
        let limits = &self.limits;
        if limits.unfilled_orders_max > 0 && counts.unfilled >= limits.unfilled_orders_max {
            return Err(DenyReason::UnfilledOrders);
        }
        let is_counted = limits.cancel_ratio_percent_max > 0 && counts.orders >= limits.cancel_ratio_orders_min.max(1);
        if is_counted
            && u64::from(counts.cancels) * 100 > u64::from(counts.orders) * u64::from(limits.cancel_ratio_percent_max)
        {
            return Err(DenyReason::CancelRatio);
        }
        Ok(())
    }

    #[inline]
    fn check_clock(&self, now: Timestamp) -> Result<(), DenyReason> {
        if self.limits.clock_offset_ms_max == 0 {
            return Ok(());
        }
        let age_ns_max = self.limits.clock_age_ms_max.saturating_mul(1_000_000);
        match self.clock {
            Some((_, as_of)) if now.as_ns().saturating_sub(as_of.as_ns()) > age_ns_max => Err(DenyReason::ClockUnknown),
            Some((offset_ns, _)) if offset_ns > self.limits.clock_offset_ms_max.saturating_mul(1_000_000) => {
                Err(DenyReason::ClockOffset { offset_ms: offset_ns / 1_000_000 })
            }
            Some(_) => Ok(()),
            None => Err(DenyReason::ClockUnknown),
        }
    }
}

/// The collar over a window (RC-04): a buy not above the lowest, a sell not below the highest mid price of the window by more
/// than the collar. Without a price in the window nothing opens.
#[inline]
fn check_window(row: &Row, order: &Sized, bps: u32) -> Result<(), DenyReason> {
    let (low, high) = row.window.range().ok_or(DenyReason::NoReference)?;
    let (reference, through) = match order.side {
        Side::Buy => (low, i128::from(order.price) - i128::from(low)),
        Side::Sell => (high, i128::from(high) - i128::from(order.price)),
    };
    if through * 10_000 <= i128::from(reference) * i128::from(bps) {
        return Ok(());
    }
    let price = |units| Price::new(units, row.price_scale).unwrap_or_default();
    Err(DenyReason::WindowCollar { price: price(order.price), reference: price(reference), bps_max: bps })
}

impl RiskService {
    /// Announces the strategies by name, in the order of their ids. What a former run latched comes back by name.
    pub fn set_strategies<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let count = self.rows.len();
        for (name, id) in names.zip(0u16..) {
            if let Some(row) = self.guards.strategy_mut(StrategyId(id), count) {
                row.name = Name::truncated(name);
            }
        }
    }

    /// Is there something that guards did and nobody was told, or that is to be saved?
    #[inline]
    #[must_use]
    pub const fn has_guard_news(&self) -> bool {
        self.guards.alerts.has_news() || self.guards.is_unsaved
    }

    /// The next thing that a guard did.
    pub fn take_guard_event(&mut self) -> Option<GuardEvent> {
        self.guards.alerts.take()
    }

    /// Has something changed since the last call that a restart must not forget?
    #[inline]
    pub fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.guards.is_unsaved)
    }

    /// What guards did within the last day, oldest first; bounded.
    pub fn alerts(&self) -> impl Iterator<Item = &(Timestamp, GuardEvent)> {
        self.guards.alerts.iter()
    }

    /// Locks that stand.
    #[must_use]
    pub fn locks(&self) -> &[Lock] {
        self.guards.protections.locks()
    }

    /// Is there a price that may decide, on an instrument that may be traded: could an order pass that reduces?
    #[must_use]
    pub fn can_trade(&self, instrument: InstrumentId, now: Timestamp) -> bool {
        self.rows.get(instrument.index()).is_some_and(|row| {
            row.is_allowed && row.is_tradable && row.check_reference(now, self.limits.reference_age_ms_max).is_ok()
        })
    }

    /// Trades that protections look back on, oldest first; bounded.
    pub fn closed_trades(&self) -> impl Iterator<Item = &ClosedTrade> {
        self.guards.protections.trades()
    }

    /// State of an account's breaker.
    #[must_use]
    pub fn breaker(&self, kind: BreakerKind) -> BreakerState {
        self.guards.breaker(kind).map(Breaker::state).unwrap_or_default()
    }

    /// State of an instrument's volatility breaker.
    #[must_use]
    pub fn volatility_breaker(&self, instrument: InstrumentId) -> BreakerState {
        self.rows.get(instrument.index()).map(|row| row.volatility.state()).unwrap_or_default()
    }

    /// Why a strategy is disabled, if it is.
    #[must_use]
    pub fn strategy_disabled(&self, strategy: StrategyId) -> Option<KillCause> {
        self.guards.strategies.get(usize::from(strategy.0)).and_then(|row| row.killed)
    }

    /// Profit of one strategy since the UTC day began, fees subtracted where they can be valued.
    #[must_use]
    pub fn strategy_day_pnl(&self, strategy: StrategyId) -> Notional {
        let row = self.guards.strategies.get(usize::from(strategy.0));
        crate::units::to_notional(row.map_or(0, |row| row.pnl.saturating_sub(row.day_base)))
    }

    // ── Kill switch (RC-18) ──

    /// From now on nothing that opens or adds passes within the scope, until a person re-arms it.
    pub fn kill(&mut self, scope: RiskScope, now: Timestamp) {
        self.kill_for(scope, KillCause::Person, now);
    }

    pub(super) fn kill_for(&mut self, scope: RiskScope, cause: KillCause, now: Timestamp) {
        self.guards.now = self.guards.now.max(now);
        let count = self.rows.len();
        let slot = match scope {
            RiskScope::Account => Some(&mut self.guards.killed_account),
            RiskScope::Venue => Some(&mut self.guards.killed_venue),
            RiskScope::Instrument(id) => self.rows.get_mut(id.index()).map(|row| &mut row.killed),
            RiskScope::Strategy(id) => self.guards.strategy_mut(id, count).map(|row| &mut row.killed),
        };
        let Some(slot) = slot.filter(|slot| slot.is_none()) else { return };
        *slot = Some(cause);
        if let RiskScope::Instrument(id) = scope
            && let Some(row) = self.rows.get_mut(id.index())
        {
            row.refresh();
        }
        self.guards.tell(GuardEvent::Killed { scope, cause });
    }

    /// A person re-arms what was latched within the scope: kill switches, breakers, locks. The account's scope covers
    /// everything, the emergency stop included; the trading state stays what it is until somebody sets it.
    pub fn rearm(&mut self, scope: RiskScope, now: Timestamp) {
        self.guards.now = self.guards.now.max(now);
        let is_all = scope == RiskScope::Account;
        if is_all {
            self.is_emergency = false;
            self.guards.killed_account = None;
        }
        if is_all || scope == RiskScope::Venue {
            self.guards.killed_venue = None;
            self.close_breaker(BreakerKind::OrderErrors);
            self.close_breaker(BreakerKind::VenueErrors);
        }
        if is_all {
            self.close_loss_breakers();
        }
        for (row, id) in self.rows.iter_mut().zip(0u32..) {
            if is_all || scope == RiskScope::Instrument(InstrumentId(id)) {
                row.killed = None;
                row.volatility.close(now);
                row.refresh();
            }
        }
        for (row, id) in self.guards.strategies.iter_mut().zip(0u16..) {
            if is_all || scope == RiskScope::Strategy(StrategyId(id)) {
                row.rearm();
            }
        }
        self.guards.protections.lift(scope);
        self.guards.is_unsaved = true;
        self.guards.refresh();
    }

    /// Closes every breaker, as a person's resume does; kill switches and locks stay.
    pub(super) fn close_breakers(&mut self) {
        self.close_breaker(BreakerKind::OrderErrors);
        self.close_breaker(BreakerKind::VenueErrors);
        self.close_loss_breakers();
        let now = self.guards.now;
        for row in &mut self.rows {
            row.volatility.close(now);
            row.refresh();
        }
        self.guards.is_unsaved = true;
        self.guards.refresh();
    }

    fn close_loss_breakers(&mut self) {
        self.breach = false;
        self.day_base = self.net();
        self.guards.peak = self.net();
        self.guards.losses_in_a_row = 0;
        for kind in [BreakerKind::LossStreak, BreakerKind::DailyLoss, BreakerKind::Drawdown] {
            self.close_breaker(kind);
        }
    }

    fn close_breaker(&mut self, kind: BreakerKind) {
        let now = self.guards.now;
        if self.guards.breaker_mut(kind).is_some_and(|breaker| breaker.close(now)) {
            self.guards.tell(GuardEvent::BreakerClosed { kind, scope: RiskScope::Account });
        }
    }

    // ── What happens ──

    /// What became of a request.
    pub fn on_outcome(&mut self, order: &NewOrder, outcome: Outcome, now: Timestamp) {
        self.guards.now = self.guards.now.max(now);
        let kind = match outcome {
            // Not mistakes: a post-only order that would take, a stop that would trigger, an order that is gone already.
            Outcome::Rejected(RejectReason::WouldTake | RejectReason::WouldTrigger | RejectReason::UnknownOrder) => {
                None
            }
            Outcome::Rejected(RejectReason::RateLimit | RejectReason::Timestamp | RejectReason::Authentication) => {
                Some(BreakerKind::VenueErrors)
            }
            Outcome::Rejected(_) => Some(BreakerKind::OrderErrors),
            Outcome::Unknown | Outcome::NotSent => Some(BreakerKind::VenueErrors),
            Outcome::Accepted => {
                self.succeed(order);
                None
            }
        };
        let now = self.guards.now;
        if let Some(kind) = kind
            && self.guards.breaker_mut(kind).is_some_and(|breaker| breaker.fail(now))
        {
            self.guards.tell_opened(kind);
        }
    }

    /// The venue took an order: breakers of errors and volatility that were trying out with it close.
    fn succeed(&mut self, order: &NewOrder) {
        let (id, now) = (order.client_order_id, self.guards.now);
        let is_probe = |breaker: &Breaker| breaker.state() == BreakerState::HalfOpen { probe: Some(id) };
        for kind in [BreakerKind::OrderErrors, BreakerKind::VenueErrors] {
            if self.guards.breaker_mut(kind).is_some_and(|breaker| is_probe(breaker) && breaker.succeed(now)) {
                self.guards.tell(GuardEvent::BreakerClosed { kind, scope: RiskScope::Account });
            }
        }
        let instrument = order.intent.instrument;
        if let Some(row) = self.rows.get_mut(instrument.index())
            && is_probe(&row.volatility)
            && row.volatility.succeed(now)
        {
            row.refresh();
            let scope = RiskScope::Instrument(instrument);
            self.guards.tell(GuardEvent::BreakerClosed { kind: BreakerKind::Volatility, scope });
        }
    }

    /// A cancel was asked for.
    pub fn on_cancel(&mut self, now: Timestamp) {
        self.guards.counts.on_cancel(now);
    }

    /// What is known of the venue's clock: how far it is off, uncertainty included, or nothing.
    pub fn on_clock(&mut self, offset_ns: Option<u64>, now: Timestamp) {
        self.guards.clock = offset_ns.map(|offset_ns| (offset_ns, now));
    }

    /// An order that opens or adds was approved.
    #[inline]
    pub(super) fn guard_entry(&mut self, order: &NewOrder, now: Timestamp) {
        let (instrument, id) = (order.intent.instrument, order.client_order_id);
        if let Some(strategy) = self.guards.strategies.get_mut(usize::from(order.strategy.0)) {
            strategy.on_entry(instrument.index(), now);
        }
        if self.guards.is_alert {
            self.guards.breakers.iter_mut().for_each(|breaker| breaker.begin_probe(id));
        }
        if let Some(row) = self.rows.get_mut(instrument.index()).filter(|row| row.is_guarded) {
            row.volatility.begin_probe(id);
        }
    }

    /// An order is over.
    pub(super) fn guard_release(&mut self, instrument: InstrumentId, id: ClientOrderId) {
        if self.guards.is_alert {
            self.guards.breakers.iter_mut().for_each(|breaker| breaker.end_probe(id));
        }
        if let Some(row) = self.rows.get_mut(instrument.index()).filter(|row| row.is_guarded) {
            row.volatility.end_probe(id);
        }
    }

    /// A new price of an instrument: does it move too far?
    #[inline]
    pub(super) fn guard_price(&mut self, instrument: InstrumentId, ts: Timestamp) {
        let bps = self.guards.limits.volatility_bps;
        if bps == 0 {
            return;
        }
        let Some(row) = self.rows.get_mut(instrument.index()) else { return };
        if row.volatility.is_open() || !row.window.spans_more_than(bps) {
            return;
        }
        if row.volatility.open(ts) {
            row.refresh();
            let until = match row.volatility.state() {
                BreakerState::Open { until } => until,
                _ => None,
            };
            self.guards.now = self.guards.now.max(ts);
            let scope = RiskScope::Instrument(instrument);
            self.guards.tell(GuardEvent::BreakerOpened { kind: BreakerKind::Volatility, scope, until });
        }
    }

    /// A fill, after it was booked: the share of its strategy, the end of round trips.
    pub(super) fn guard_fill(
        &mut self,
        owner: StrategyId,
        is_stop: bool,
        fill: &Fill,
        signed: i64,
        price: i64,
        fee: i128,
    ) {
        let Some(row) = self.rows.get(fill.instrument.index()).filter(|row| !row.is_foreign_quote) else { return };
        let scale = row.price_scale + row.quantity_scale;
        let cell_fill = CellFill { signed, price, fee, scale, dust: row.dust() };
        if owner != HOUSE {
            self.book_cell(owner, is_stop, fill, &cell_fill);
            return;
        }
        // The house closes what strategies hold.
        let mut left = signed;
        for at in 0..self.guards.strategies.len() {
            let held = self.guards.strategies.get(at).and_then(|row| row.cells.get(fill.instrument.index()));
            let held = held.map_or(0, |cell| cell.position);
            if left == 0 || held == 0 || (held > 0) == (left > 0) {
                continue;
            }
            let part = left.saturating_abs().min(held.saturating_abs()).saturating_mul(left.signum());
            left = left.saturating_sub(part);
            let share = fee.saturating_mul(part.into()).checked_div(signed.into()).unwrap_or(0);
            let id = StrategyId(u16::try_from(at).unwrap_or(u16::MAX));
            self.book_cell(id, is_stop, fill, &CellFill { signed: part, fee: share, ..cell_fill });
        }
    }

    fn book_cell(&mut self, owner: StrategyId, is_stop: bool, fill: &Fill, cell_fill: &CellFill) {
        let (index, count) = (fill.instrument.index(), self.rows.len());
        let valuation = self.rows.get(index).map_or(0, Row::valuation);
        let Some(row) = self.guards.strategy_mut(owner, count) else { return };
        let profit = row.cells.get_mut(index).and_then(|cell| cell.on_fill(cell_fill));
        row.mark(index, valuation, cell_fill.scale);
        self.check_strategy(owner);
        let Some(profit_e8) = profit else { return };
        self.on_round_trip(ClosedTrade {
            ts: self.guards.now,
            strategy: owner,
            instrument: fill.instrument,
            profit_e8,
            is_stop,
        });
    }

    fn on_round_trip(&mut self, trade: ClosedTrade) {
        let is_loss = trade.profit_e8 < 0;
        self.guards.losses_in_a_row = if is_loss { self.guards.losses_in_a_row.saturating_add(1) } else { 0 };
        let streak_max = self.guards.limits.loss_streak_count;
        if streak_max > 0 && self.guards.losses_in_a_row >= streak_max && self.guards.open(BreakerKind::LossStreak) {
            self.guards.losses_in_a_row = 0;
        }
        let now = self.guards.now;
        for kind in [BreakerKind::LossStreak, BreakerKind::DailyLoss, BreakerKind::Drawdown] {
            let is_half_open = matches!(self.breaker(kind), BreakerState::HalfOpen { .. });
            if !is_half_open {
                continue;
            }
            if is_loss {
                self.guards.open(kind);
            } else if self.guards.breaker_mut(kind).is_some_and(|breaker| breaker.succeed(now)) {
                self.guards.tell(GuardEvent::BreakerClosed { kind, scope: RiskScope::Account });
            }
        }
        for lock in self.guards.protections.on_trade(trade).into_iter().flatten() {
            self.guards.tell(GuardEvent::Locked { scope: lock.scope, cause: lock.cause, until: lock.until });
        }
    }

    // ── Loss and drawdown (RC-13) ──

    pub(super) fn check_loss(&mut self) {
        let net = self.net();
        if net.saturating_sub(self.day_base) <= -self.loss_max && self.guards.open(BreakerKind::DailyLoss) {
            self.breach = true;
        }
        self.guards.peak = self.guards.peak.max(net);
        if self.guards.peak.saturating_sub(net) >= self.guards.drawdown_max {
            self.guards.open(BreakerKind::Drawdown);
        }
    }

    /// Values what each strategy holds of an instrument.
    #[inline]
    pub(super) fn mark_strategies(&mut self, instrument: InstrumentId) {
        let Some(row) = self.rows.get(instrument.index()) else { return };
        let (price, scale) = (row.valuation(), row.price_scale + row.quantity_scale);
        for at in 0..self.guards.strategies.len() {
            let Some(strategy) = self.guards.strategies.get_mut(at) else { break };
            if strategy.cells.get(instrument.index()).is_some_and(|cell| cell.position != 0) {
                strategy.mark(instrument.index(), price, scale);
                self.check_strategy(StrategyId(u16::try_from(at).unwrap_or(u16::MAX)));
            }
        }
    }

    fn check_strategy(&mut self, id: StrategyId) {
        let Some(row) = self.guards.strategies.get(usize::from(id.0)).filter(|row| row.killed.is_none()) else {
            return;
        };
        let cause = if row.day_base.saturating_sub(row.pnl) >= self.guards.strategy_loss_max {
            KillCause::DailyLoss
        } else if row.peak.saturating_sub(row.pnl) >= self.guards.strategy_drawdown_max {
            KillCause::Drawdown
        } else {
            return;
        };
        self.kill_for(RiskScope::Strategy(id), cause, self.guards.now);
    }

    /// Time has passed: open breakers may try, locks end, alerts are forgotten.
    pub(super) fn guard_time(&mut self, now: Timestamp) {
        self.guards.now = self.guards.now.max(now);
        let now = self.guards.now;
        for kind in BreakerKind::ACCOUNT {
            if !self.guards.breaker_mut(kind).is_some_and(|breaker| breaker.on_time(now)) {
                continue;
            }
            // A new account of losses begins with the try.
            match kind {
                BreakerKind::DailyLoss => self.day_base = self.net(),
                BreakerKind::Drawdown => self.guards.peak = self.net(),
                _ => {}
            }
            self.guards.tell(GuardEvent::BreakerHalfOpen { kind, scope: RiskScope::Account });
        }
        let bps = self.guards.limits.volatility_bps;
        for (row, id) in self.rows.iter_mut().zip(0u32..).filter(|(row, _)| row.is_guarded) {
            if !row.volatility.on_time(now) {
                continue;
            }
            let scope = RiskScope::Instrument(InstrumentId(id));
            // Still moving: not even a try.
            if row.window.spans_more_than(bps) {
                row.volatility.open(now);
                continue;
            }
            row.refresh();
            self.guards.tell(GuardEvent::BreakerHalfOpen { kind: BreakerKind::Volatility, scope });
        }
        if !self.guards.protections.locks().is_empty() && self.guards.protections.on_time(now) {
            self.guards.refresh();
        }
        self.guards.alerts.on_time(now);
    }
}
