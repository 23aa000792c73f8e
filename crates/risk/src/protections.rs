//! Protections after losing trades: cool-down, stop-loss guard, drawdown of closed trades, low profit. Each sets a lock with
//! an end; nothing that opens or adds passes a lock.
//!
//! Bounded: the last [`TRADES_MAX`] trades count, the oldest leaves first; at most [`LOCKS_MAX`] locks stand at once, one for
//! each scope and cause, and one that finds no room locks the whole account instead.

use crate::guards::ProtectionLimits;
use crate::units::notional_down;
use keel_model::{InstrumentId, RiskScope, StrategyId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

/// Most trades remembered.
pub const TRADES_MAX: usize = 252;
/// Most locks at once.
pub const LOCKS_MAX: usize = 256;

/// Why a lock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockCause {
    /// Rest after a trade.
    CoolDown,
    /// Too many trades that ended in a protective order.
    StopLossGuard,
    /// Closed trades fell too far from their height.
    MaxDrawdown,
    /// The instrument did not earn what it has to.
    LowProfit,
}

impl fmt::Display for LockCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CoolDown => "cool-down",
            Self::StopLossGuard => "stop-loss guard",
            Self::MaxDrawdown => "max-drawdown protection",
            Self::LowProfit => "low profit",
        })
    }
}

/// Nothing that opens or adds passes within the scope until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// What it covers.
    pub scope: RiskScope,
    /// Why.
    pub cause: LockCause,
    /// Until when.
    pub until: Timestamp,
}

/// A round trip of one strategy in one instrument: from flat to flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedTrade {
    /// When it ended.
    pub ts: Timestamp,
    /// Whose.
    pub strategy: StrategyId,
    /// Which instrument.
    pub instrument: InstrumentId,
    /// Profit, fees subtracted; unit: 10^-8 of the quote asset.
    pub profit_e8: i128,
    /// Did a protective order end it?
    pub is_stop: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Protections {
    limits: ProtectionLimits,
    drawdown_max: i128,
    low_profit_min: i128,
    trades: VecDeque<ClosedTrade>,
    locks: Vec<Lock>,
}

impl Protections {
    pub(crate) fn new(limits: ProtectionLimits) -> Self {
        let drawdown_max = limits.drawdown_max.and_then(notional_down).unwrap_or(i128::MAX);
        let low_profit_min = notional_down(limits.low_profit_min).unwrap_or(i128::MAX);
        let trades = VecDeque::with_capacity(if limits.is_on() { TRADES_MAX } else { 0 });
        Self { limits, drawdown_max, low_profit_min, trades, locks: Vec::with_capacity(LOCKS_MAX) }
    }

    pub(crate) fn locks(&self) -> &[Lock] {
        &self.locks
    }

    /// The lock that stands in the way of an order, if any.
    pub(crate) fn find(&self, instrument: InstrumentId, strategy: StrategyId, now: Timestamp) -> Option<&Lock> {
        self.locks.iter().find(|lock| {
            now < lock.until
                && match lock.scope {
                    RiskScope::Account | RiskScope::Venue => true,
                    RiskScope::Instrument(id) => id == instrument,
                    RiskScope::Strategy(id) => id == strategy,
                }
        })
    }

    /// A trade is over. Answers the locks that it set, in a fixed-size list.
    pub(crate) fn on_trade(&mut self, trade: ClosedTrade) -> [Option<Lock>; 4] {
        if !self.limits.is_on() {
            return [None; 4];
        }
        if self.trades.len() >= TRADES_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
        let limits = self.limits;
        let here = RiskScope::Instrument(trade.instrument);
        let cool = (limits.cooldown_ms > 0).then_some((here, LockCause::CoolDown, limits.cooldown_ms));
        let stops = self.within(limits.stop_loss_window_ms, trade.ts);
        let stops = stops.filter(|it| it.instrument == trade.instrument && it.is_stop).count();
        let is_stopped = limits.stop_loss_count > 0 && stops >= limits.stop_loss_count as usize;
        let stop = is_stopped.then_some((here, LockCause::StopLossGuard, limits.stop_loss_lock_ms));
        let drawdown = (limits.drawdown_max.is_some() && self.drawdown(trade.ts) >= self.drawdown_max).then_some((
            RiskScope::Account,
            LockCause::MaxDrawdown,
            limits.drawdown_lock_ms,
        ));
        let own = self.within(limits.low_profit_window_ms, trade.ts).filter(|it| it.instrument == trade.instrument);
        let (count, sum) = own.fold((0u32, 0i128), |(count, sum), it| (count + 1, sum.saturating_add(it.profit_e8)));
        let is_low = limits.low_profit_count > 0 && count >= limits.low_profit_count && sum < self.low_profit_min;
        let low = is_low.then_some((here, LockCause::LowProfit, limits.low_profit_lock_ms));
        [cool, stop, drawdown, low].map(|lock| {
            lock.map(|(scope, cause, lock_ms)| {
                let until = Timestamp::from_ns(trade.ts.as_ns().saturating_add(lock_ms.saturating_mul(1_000_000)));
                self.add(Lock { scope, cause, until })
            })
        })
    }

    fn within(&self, window_ms: u64, now: Timestamp) -> impl Iterator<Item = &ClosedTrade> {
        let window_ns = window_ms.saturating_mul(1_000_000);
        self.trades.iter().filter(move |trade| now.as_ns().saturating_sub(trade.ts.as_ns()) < window_ns)
    }

    /// How far the sum of closed trades is below its height within the window.
    fn drawdown(&self, now: Timestamp) -> i128 {
        let (mut sum, mut height) = (0i128, 0i128);
        for trade in self.within(self.limits.drawdown_window_ms, now) {
            sum = sum.saturating_add(trade.profit_e8);
            height = height.max(sum);
        }
        height.saturating_sub(sum)
    }

    /// Sets a lock, or moves the end of the one that stands. Answers what stands now.
    pub(crate) fn add(&mut self, lock: Lock) -> Lock {
        if let Some(known) = self.locks.iter_mut().find(|it| it.scope == lock.scope && it.cause == lock.cause) {
            known.until = known.until.max(lock.until);
            return *known;
        }
        if self.locks.len() >= LOCKS_MAX - 1 {
            // No room: closed is the safe side. The last place is kept for this one.
            let wide = Lock { scope: RiskScope::Account, ..lock };
            match self.locks.iter_mut().find(|it| it.scope == RiskScope::Account) {
                Some(known) => known.until = known.until.max(wide.until),
                None => self.locks.push(wide),
            }
            return wide;
        }
        self.locks.push(lock);
        lock
    }

    /// Drops locks that are over; answers whether there were any.
    pub(crate) fn on_time(&mut self, now: Timestamp) -> bool {
        let before = self.locks.len();
        self.locks.retain(|lock| now < lock.until);
        before != self.locks.len()
    }

    /// A person lifts the locks of a scope; the account's scope covers all. Answers whether there were any.
    pub(crate) fn lift(&mut self, scope: RiskScope) -> bool {
        let before = self.locks.len();
        self.locks.retain(|lock| scope != RiskScope::Account && lock.scope != scope);
        before != self.locks.len()
    }

    /// The trades remembered, oldest first.
    pub(crate) fn trades(&self) -> impl Iterator<Item = &ClosedTrade> {
        self.trades.iter()
    }

    /// Takes over what a former run remembered.
    pub(crate) fn restore(&mut self, trades: &[ClosedTrade], locks: &[Lock]) {
        if self.limits.is_on() && self.trades.is_empty() {
            self.trades.extend(trades.iter().skip(trades.len().saturating_sub(TRADES_MAX)));
        }
        for lock in locks {
            self.add(*lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BTC: InstrumentId = InstrumentId(0);
    const ETH: InstrumentId = InstrumentId(1);
    const S: StrategyId = StrategyId(0);

    fn at(s: u64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + s * 1_000)
    }

    fn trade(s: u64, instrument: InstrumentId, profit: i128, is_stop: bool) -> ClosedTrade {
        ClosedTrade { ts: at(s), strategy: S, instrument, profit_e8: profit * 100_000_000, is_stop }
    }

    fn limits() -> ProtectionLimits {
        ProtectionLimits::default()
    }

    #[test]
    fn a_cool_down_rests_the_instrument_and_no_other() {
        let mut all = Protections::new(ProtectionLimits { cooldown_ms: 5_000, ..limits() });
        all.on_trade(trade(0, BTC, 1, false));
        assert_eq!(all.find(BTC, S, at(4)).map(|lock| lock.cause), Some(LockCause::CoolDown));
        assert!(all.find(BTC, S, at(5)).is_none() && all.find(ETH, S, at(1)).is_none());
        assert!(!all.on_time(at(4)) && all.on_time(at(5)) && all.locks().is_empty());
    }

    #[test]
    fn the_stop_loss_guard_counts_stops_of_the_window_only() {
        let guard = ProtectionLimits {
            stop_loss_count: 3,
            stop_loss_window_ms: 60_000,
            stop_loss_lock_ms: 600_000,
            ..limits()
        };
        let mut all = Protections::new(guard);
        for (s, is_stop) in [(0, true), (1, true), (2, false), (60, true)] {
            all.on_trade(trade(s, BTC, -1, is_stop));
        }
        assert!(all.locks().is_empty(), "the first stop is just out of the window, the third was none");
        all.on_trade(trade(60, BTC, -1, true));
        assert_eq!(
            all.locks(),
            [Lock { scope: RiskScope::Instrument(BTC), cause: LockCause::StopLossGuard, until: at(660) }]
        );
    }

    #[test]
    fn a_drawdown_of_closed_trades_locks_everything_exactly_at_its_limit() {
        let guard = ProtectionLimits {
            drawdown_max: Some(keel_model::Notional::from_int(10)),
            drawdown_window_ms: 60_000,
            drawdown_lock_ms: 60_000,
            ..limits()
        };
        let mut all = Protections::new(guard);
        all.on_trade(trade(0, BTC, 20, false));
        all.on_trade(trade(1, ETH, -9, false));
        assert!(all.locks().is_empty());
        all.on_trade(trade(2, BTC, -1, false));
        assert!(all.find(ETH, S, at(3)).is_some() && all.lift(RiskScope::Account) && all.locks().is_empty());
    }

    #[test]
    fn low_profit_needs_enough_trades() {
        let guard = ProtectionLimits {
            low_profit_count: 2,
            low_profit_window_ms: 60_000,
            low_profit_lock_ms: 60_000,
            ..limits()
        };
        let mut all = Protections::new(guard);
        all.on_trade(trade(0, BTC, -5, false));
        assert!(all.locks().is_empty());
        all.on_trade(trade(1, BTC, 5, false));
        assert!(all.locks().is_empty(), "nothing lost is what is asked for");
        all.on_trade(trade(2, BTC, -1, false));
        assert_eq!(all.locks().len(), 1);
    }

    #[test]
    fn s2_040_trades_and_locks_are_bounded_and_a_lock_without_room_locks_all() {
        let mut all = Protections::new(ProtectionLimits { cooldown_ms: 5_000, ..limits() });
        for id in 0..1_000 {
            all.on_trade(trade(0, InstrumentId(id), 1, false));
        }
        assert_eq!((all.trades().count(), all.locks().len()), (TRADES_MAX, LOCKS_MAX));
        assert!(all.find(InstrumentId(99_999), S, at(1)).is_some());
    }
}
