//! What a replay ends with.

use crate::desk::Desk;
use keel_engine::{Engine, StateDigest};
use keel_model::{
    Asset, Balance, Instrument, InstrumentId, Notional, NumberError, Price, Quantity, StatusSnapshot, Timestamp,
};
use keel_sim::RecordedStatus;

/// The end of a replay.
#[derive(Clone, Debug)]
pub struct ReplayReport {
    /// Fingerprint of the trading state.
    pub digest: StateDigest,
    /// The engine's last status: orders, fills, positions, balances.
    pub status: StatusSnapshot,
    /// Fees paid, by asset.
    pub fees: Vec<(Asset, Notional)>,
    /// What the account is worth more than at the start, fees included, both valued at the last prices in the limits' quote
    /// asset; `None` when a price is missing.
    pub pnl: Option<Notional>,
    /// The account as the venue has it.
    pub venue_balances: Vec<Balance>,
    /// Did the exit policy get what it wanted in time?
    pub is_wound: bool,
    /// Time of the first event; `None` when there was none.
    pub started_at: Option<Timestamp>,
    /// Time of the end.
    pub ended_at: Timestamp,
    /// Market events that named no known instrument.
    pub refused_events: u64,
    /// How complete the recorded market of each instrument was.
    pub recorded: Vec<(InstrumentId, RecordedStatus)>,
}

pub(crate) fn make(
    engine: &Engine,
    desk: &Desk,
    start: &[(Asset, Notional)],
    is_wound: bool,
    started_at: Option<Timestamp>,
    ended_at: Timestamp,
    refused_events: u64,
) -> ReplayReport {
    let venue = desk.venue();
    let venue_balances = venue.balances(desk.account());
    let recorded =
        engine.instruments().iter().filter_map(|known| Some((known.id, venue.recorded_status(known.id)?))).collect();
    ReplayReport {
        digest: engine.digest(),
        status: engine.status(),
        fees: engine.portfolio().fees().to_vec(),
        pnl: pnl(engine, desk, start, &venue_balances),
        venue_balances,
        is_wound,
        started_at,
        ended_at,
        refused_events,
        recorded,
    }
}

fn pnl(engine: &Engine, desk: &Desk, start: &[(Asset, Notional)], end: &[Balance]) -> Option<Notional> {
    let quote = engine.risk().limits().quote_asset;
    let mut sum = Notional::ZERO;
    for balance in end {
        let before = start.iter().filter(|(asset, _)| *asset == balance.asset);
        let before = before.map(|(_, amount)| *amount).try_fold(Notional::ZERO, Notional::checked_add).ok()?;
        let change = balance.total().ok()?.checked_sub(before).ok()?;
        if change.is_zero() {
            continue;
        }
        let worth = if balance.asset == quote {
            change
        } else {
            let is_priced = |known: &&Instrument| known.base == balance.asset && known.quote == quote;
            let instrument = engine.instruments().iter().find(is_priced)?;
            times(change, middle(engine, instrument.id).or_else(|| desk.venue().last_price(instrument.id))?).ok()?
        };
        sum = sum.checked_add(worth).ok()?;
    }
    Some(sum.normalized())
}

fn times(amount: Notional, price: Price) -> Result<Notional, NumberError> {
    amount.checked_mul(Quantity::new(price.mantissa(), price.scale())?)
}

/// The middle of the book, exact.
fn middle(engine: &Engine, instrument: InstrumentId) -> Option<Price> {
    let book = engine.book(instrument)?;
    let sum = book.best_bid()?.price.checked_add(book.best_ask()?.price).ok()?;
    let tenth = Price::new(sum.mantissa().checked_mul(5)?, sum.scale().checked_add(1)?).ok()?;
    Some(tenth.normalized())
}
