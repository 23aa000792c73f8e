//! The state that a replay of the journal has built up, as bytes, and back.
//!
//! Taken only of an engine that has replayed records and done nothing else, so that restoring it and replaying the rest gives
//! the state of a whole replay. Fields carry their names, and new ones have defaults: an older snapshot stays readable.
//! Instruments are known by their symbols, since their ids mean something within one run only. Invariant: after [`Engine::restore`]
//! the digest is the one that the snapshot was taken with; whoever restores compares.

use super::holds::HoldBook;
use super::operator::Standing;
use super::recovery::{Cursor, Replay};
use super::{Engine, Phase};
use crate::digest::{Bag, Part};
use crate::ledger::BalanceLedger;
use crate::owners::OwnerBook;
use keel_execution::{OrderManager, ParentBook};
use keel_model::ids::Symbol;
use keel_model::{ClientOrderId, InstrumentId, Portfolio, Timestamp};
use keel_risk::RiskImage;
use serde::{Deserialize, Serialize};

/// Version of what a snapshot means; fields with defaults do not raise it.
const VERSION: u32 = 1;

/// Why a snapshot cannot be taken or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The engine has begun to trade, or there is something in it that cannot be written.
    #[error("the state cannot be written as a snapshot: {0}")]
    Write(String),
    /// The bytes are not a snapshot of this kind.
    #[error("the snapshot cannot be read: {0}")]
    Read(String),
    /// A newer version of the program wrote it.
    #[error("the snapshot was written in version {found}, this program knows up to {VERSION}")]
    Newer {
        /// Version found.
        found: u32,
    },
    /// It has orders or positions in an instrument that this run does not trade.
    #[error(
        "the snapshot has orders or positions in {symbol}, which this run does not trade; add it to `venue.symbols`"
    )]
    UnknownInstrument {
        /// Its symbol.
        symbol: String,
    },
}

/// Everything that a replay builds up. Borrowed to write, owned to read; the fields are the same.
#[derive(Serialize)]
struct StateRef<'a> {
    version: u32,
    symbols: Vec<Symbol>,
    now: Timestamp,
    orders: &'a OrderManager,
    parents: &'a ParentBook,
    portfolio: &'a Portfolio,
    owners: &'a OwnerBook,
    strategies: &'a [String],
    risk: RiskImage,
    cursors: &'a [Cursor],
    venue_time: Timestamp,
    holds: &'a HoldBook,
    ledger: &'a BalanceLedger,
    reported_at: Timestamp,
    standing: Standing,
    fills: &'a Part,
    evicted: &'a Bag,
    replay: &'a Replay,
}

#[derive(Deserialize)]
struct State {
    version: u32,
    symbols: Vec<Symbol>,
    now: Timestamp,
    orders: OrderManager,
    #[serde(default)]
    parents: ParentBook,
    portfolio: Portfolio,
    #[serde(default)]
    owners: OwnerBook,
    #[serde(default)]
    strategies: Vec<String>,
    risk: RiskImage,
    #[serde(default)]
    cursors: Vec<Cursor>,
    #[serde(default)]
    venue_time: Timestamp,
    #[serde(default)]
    holds: HoldBook,
    #[serde(default)]
    ledger: BalanceLedger,
    #[serde(default)]
    reported_at: Timestamp,
    #[serde(default)]
    standing: Standing,
    fills: Part,
    evicted: Bag,
    #[serde(default)]
    replay: Replay,
}

impl Engine {
    /// The state that the records replayed so far have built up. Only between records of a replay.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        if self.phase != Phase::Recovering || self.reconciliation.was_asked() {
            return Err(SnapshotError::Write("trading has begun".into()));
        }
        let state = StateRef {
            version: VERSION,
            symbols: self.instruments.iter().map(|instrument| instrument.symbol).collect(),
            now: self.now,
            orders: &self.orders,
            parents: &self.parents,
            portfolio: &self.portfolio,
            owners: &self.owners,
            strategies: self.strategy_keys(),
            risk: self.risk.image(self.now),
            cursors: &self.cursors,
            venue_time: self.venue_time,
            holds: &self.holds,
            ledger: &self.ledger,
            reported_at: self.reported_at,
            standing: self.standing,
            fills: &self.fills_part,
            evicted: &self.evicted_part,
            replay: &self.replay,
        };
        rmp_serde::to_vec_named(&state).map_err(|error| SnapshotError::Write(error.to_string()))
    }

    /// Takes a snapshot over; the records after it are then replayed. Only on a fresh engine: on an error it is to be dropped.
    /// Answers whether instruments and strategies have the numbers that they had then, so that the digest must be the same.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<bool, SnapshotError> {
        let mut state: State = rmp_serde::from_slice(bytes).map_err(|error| SnapshotError::Read(error.to_string()))?;
        if state.version > VERSION {
            return Err(SnapshotError::Newer { found: state.version });
        }
        let table: Vec<Option<InstrumentId>> =
            state.symbols.iter().map(|symbol| self.instruments.by_symbol(symbol.as_str()).map(|it| it.id)).collect();
        let renumber = |id: InstrumentId| table.get(id.index()).copied().flatten();
        let symbols = std::mem::take(&mut state.symbols);
        let unknown = |id: InstrumentId| SnapshotError::UnknownInstrument {
            symbol: symbols.get(id.index()).map_or_else(|| format!("instrument {}", id.0), ToString::to_string),
        };
        self.orders.resume(state.orders, &renumber).map_err(unknown)?;
        state.parents.renumber(&renumber).map_err(unknown)?;
        state.portfolio.renumber(&renumber).map_err(unknown)?;
        self.risk.resume_from(state.risk, &renumber).map_err(unknown)?;
        state.holds.renumber(&renumber);
        if self.strategies.is_empty() {
            self.keys.clone_from(&state.strategies);
        }
        let is_same = state.strategies == self.keys && symbols.iter().eq(self.instruments.iter().map(|it| &it.symbol));
        let places = crate::owners::places(&state.strategies, &self.keys);
        self.orders.reassign(&|id| crate::owners::place(&places, id));
        state.parents.reassign(&|id| crate::owners::place(&places, id));
        self.owners.resume(state.owners, &|id| crate::owners::place(&places, id), &renumber).map_err(unknown)?;
        if let Some(risk) = &mut state.replay.risk {
            risk.carry_over(|id| renumber(id).ok_or_else(|| unknown(id)))?;
        }
        for (cursor, old) in state.cursors.into_iter().zip(0u32..) {
            let place = renumber(InstrumentId(old)).and_then(|id| self.cursors.get_mut(id.index()));
            if let Some(place) = place {
                *place = cursor;
            }
        }
        (self.parents, self.portfolio, self.holds) = (state.parents, state.portfolio, state.holds);
        (self.ledger, self.reported_at, self.standing) = (state.ledger, state.reported_at, state.standing);
        (self.now, self.venue_time, self.replay) = (state.now, state.venue_time, state.replay);
        self.replay.find_places(&self.keys);
        (self.fills_part, self.evicted_part) = (state.fills, state.evicted);
        self.risk.on_time(self.now);
        let open: Vec<ClientOrderId> = self.orders.open().map(keel_execution::Order::id).collect();
        for id in open {
            self.sync_order(id);
        }
        Ok(is_same)
    }

    /// Records replayed so far, those before the snapshot included.
    #[must_use]
    pub const fn replayed_total(&self) -> u64 {
        self.replay.records
    }
}
