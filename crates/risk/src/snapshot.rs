//! The frozen state: taken when trading ends, saved, and only then may the service be cleared. A restart that does not find
//! it starts with what it can rebuild and with the day's loss at zero; one that does keeps latches over the restart.

use crate::alerts::KillCause;
use crate::breaker::{BreakerKind, BreakerState};
use crate::protections::{ClosedTrade, Lock};
use keel_model::{
    Asset, ClientOrderId, InlineStr, InstrumentId, Notional, Quantity, RiskScope, Side, StrategyId, Timestamp,
    TradingState,
};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What one open order held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationView {
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Side.
    pub side: Side,
    /// Quantity that may still fill.
    pub remaining: Quantity,
    /// Is its outcome unknown?
    pub is_unknown: bool,
}

/// The whole state of risk at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskSnapshot {
    /// When it was frozen.
    pub ts: Timestamp,
    /// Trading state.
    pub trading_state: TradingState,
    /// Is the emergency stop latched?
    pub is_emergency: bool,
    /// Is the daily loss latched?
    pub is_loss_latched: bool,
    /// UTC day of the loss account, counted from the epoch.
    pub day: u64,
    /// Profit since the day began, fees included.
    pub day_pnl: Notional,
    /// Orders approved.
    pub approved_total: u64,
    /// Orders denied.
    pub denied_total: u64,
    /// Gross exposure, projected.
    pub gross_exposure: Notional,
    /// Positions as risk counts them.
    pub positions: Vec<(InstrumentId, Quantity)>,
    /// Instruments held after a mismatch.
    pub held: Vec<InstrumentId>,
    /// What open orders hold, in the order of their ids.
    pub reservations: Vec<ReservationView>,
    /// What open orders hold of each asset.
    pub reserved: Vec<(Asset, Notional)>,
    /// Guards over time. Snapshots that were written before there were any read as none.
    pub guards: GuardSnapshot,
}

impl RiskSnapshot {
    /// Instrument ids mean other instruments in another run: carries them over. A held or killed instrument that `id` does
    /// not know is an error.
    pub fn carry_over<E>(&mut self, id: impl Fn(InstrumentId) -> Result<InstrumentId, E>) -> Result<(), E> {
        for held in &mut self.held {
            *held = id(*held)?;
        }
        for (scope, _) in &mut self.guards.kills {
            if let RiskScope::Instrument(instrument) = scope {
                *instrument = id(*instrument)?;
            }
        }
        // What only looks back is dropped with its instrument.
        let known = |instrument: &mut InstrumentId| id(*instrument).map(|new| *instrument = new).is_ok();
        let known_scope = |scope: &mut RiskScope| match scope {
            RiskScope::Instrument(instrument) => known(instrument),
            _ => true,
        };
        self.positions.retain_mut(|(instrument, _)| known(instrument));
        self.reservations.retain_mut(|it| known(&mut it.instrument));
        self.guards.breakers.retain_mut(|it| known_scope(&mut it.scope));
        self.guards.locks.retain_mut(|it| known_scope(&mut it.scope));
        self.guards.trades.retain_mut(|it| known(&mut it.instrument));
        Ok(())
    }

    /// A person resumed after it was saved: breakers count no more. Kill switches, locks and the emergency stop do.
    pub fn resume(&mut self) {
        self.is_loss_latched = false;
        self.guards.breakers.clear();
        self.guards.drawdown = Notional::ZERO;
    }

    /// A person re-armed a scope after it was saved: what was latched within it counts no more.
    pub fn rearm(&mut self, scope: RiskScope) {
        if scope == RiskScope::Account {
            self.resume();
            self.is_emergency = false;
            self.guards = GuardSnapshot::default();
            return;
        }
        self.guards.breakers.retain(|it| it.scope != scope && (scope != RiskScope::Venue || !it.kind.is_of_venue()));
        self.guards.kills.retain(|(it, _)| *it != scope);
        self.guards.locks.retain(|it| it.scope != scope);
        if let RiskScope::Strategy(id) = scope {
            self.guards.strategies.retain(|it| it.id != id);
        }
    }
}

/// A breaker that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// What it watches.
    pub kind: BreakerKind,
    /// What it covers.
    pub scope: RiskScope,
    /// Its state.
    pub state: BreakerState,
    /// Since when.
    pub since: Timestamp,
}

/// What a strategy lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyView {
    /// Its number in the run that saved it.
    pub id: StrategyId,
    /// Its name, cut to 31 bytes: what it is known by in the next run.
    pub name: InlineStr<31>,
    /// Profit of the UTC day.
    pub day_pnl: Notional,
    /// How far its profit is below its height.
    pub drawdown: Notional,
}

/// What guards remember over a restart. Lists are bounded by instruments, strategies and the guards' own limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSnapshot {
    /// Breakers that are not closed.
    pub breakers: Vec<BreakerView>,
    /// Kill switches that are thrown.
    pub kills: Vec<(RiskScope, KillCause)>,
    /// Locks that stand.
    pub locks: Vec<Lock>,
    /// Losing trades in a row.
    pub losses_in_a_row: u32,
    /// How far the profit is below its height.
    pub drawdown: Notional,
    /// Strategies.
    pub strategies: Vec<StrategyView>,
    /// Trades that protections look back on.
    pub trades: Vec<ClosedTrade>,
}

/// Version of what [`GuardSnapshot`] writes behind the version itself.
const GUARDS_VERSION: u8 = 1;

type Body =
    (Vec<BreakerView>, Vec<(RiskScope, KillCause)>, Vec<Lock>, u32, Notional, Vec<StrategyView>, Vec<ClosedTrade>);

impl Serialize for GuardSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = (
            &self.breakers,
            &self.kills,
            &self.locks,
            self.losses_in_a_row,
            self.drawdown,
            &self.strategies,
            &self.trades,
        );
        (GUARDS_VERSION, body).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GuardSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tail;
        impl<'de> Visitor<'de> for Tail {
            type Value = GuardSnapshot;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the state of guards")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<GuardSnapshot, A::Error> {
                // The end of the text right here: it was written before there were guards.
                let Ok(Some(version)) = seq.next_element::<u8>() else { return Ok(GuardSnapshot::default()) };
                if version != GUARDS_VERSION {
                    return Err(A::Error::custom(format!(
                        "state of guards in version {version}, known is {GUARDS_VERSION}"
                    )));
                }
                let body: Option<Body> = seq.next_element()?;
                let body = body.ok_or_else(|| A::Error::custom("the state of guards is cut off"))?;
                let (breakers, kills, locks, losses_in_a_row, drawdown, strategies, trades) = body;
                Ok(GuardSnapshot { breakers, kills, locks, losses_in_a_row, drawdown, strategies, trades })
            }
        }
        deserializer.deserialize_tuple(2, Tail)
    }
}
