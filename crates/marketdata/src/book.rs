//! One instrument's order book, kept from snapshots, deltas and top-of-book updates.
//!
//! Invariants: each side is strictly sorted and holds no empty level; a book that is [`BookState::Live`] is not crossed;
//! a delta that does not follow on, or data that cannot be (RC-16), never leaves a book that looks usable: the state says
//! so until the next snapshot. Depth and top of book are kept apart, since the fast top stream runs ahead of the deltas;
//! [`OrderBook::best_bid`] and [`OrderBook::best_ask`] answer from whichever is newer. No allocation in steady state.

use keel_model::{BookDelta, BookSnapshot, InstrumentId, Level, Price, Quantity, Timestamp, TopOfBook};

mod rows;
mod side;
pub use rows::RowsApplied;
use side::BookSide;
pub use side::Levels;

/// The most levels kept per side. When a side is full, the level farthest from the top makes room.
pub const LEVELS_MAX: usize = 10_000;

/// A best price that moves by more than this factor at once is not believed (RC-16).
pub const JUMP_FACTOR_MAX: i64 = 10;

/// Deltas are missing between what the book holds and what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "order book gap: the book is at update {book_update_id}, the next delta covers {first_update_id}..={last_update_id} (after {previous_update_id}); a new snapshot is needed"
)]
pub struct SequenceGap {
    /// The last update the book holds.
    pub book_update_id: u64,
    /// First update of the delta.
    pub first_update_id: u64,
    /// Last update of the delta.
    pub last_update_id: u64,
    /// What the delta says came before it; zero where the venue does not say.
    pub previous_update_id: u64,
}

/// Why an update was not believed. Unless it says otherwise, the book is unusable until the next snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// Updates are missing.
    #[error(transparent)]
    Gap(#[from] SequenceGap),
    /// A delta came before any snapshot; the book stays as it is.
    #[error("an order book delta came before a snapshot; it cannot be applied")]
    NoSnapshot,
    /// The best bid is not below the best ask. A crossed top of book is only refused, it does not spoil the book.
    #[error("crossed book: best bid {bid} is not below best ask {ask}; the data is not used")]
    Crossed {
        /// Best bid.
        bid: Price,
        /// Best ask.
        ask: Price,
    },
    /// A price that is not positive or a quantity that is negative. The update is refused as a whole.
    #[error("impossible level: price {}, quantity {}; the update is not used", .0.price, .0.quantity)]
    ImpossibleLevel(Level),
    /// Prices or quantities with so many digits that they cannot be held side by side exactly.
    #[error("prices or quantities of one side do not fit together exactly; the update is not used")]
    DoesNotFit,
    /// A best price moved by more than [`JUMP_FACTOR_MAX`]. A jumping top of book is only refused.
    #[error("the price jumped from {before} to {after}, more than tenfold at once; the data is not used")]
    Jump {
        /// Best price before.
        before: Price,
        /// Best price after.
        after: Price,
    },
}

/// May the book be decided on?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BookState {
    /// Nothing came yet.
    #[default]
    Empty,
    /// Current, as far as the data goes.
    Live,
    /// A gap, a cross or impossible data: waits for a snapshot.
    Broken,
}

/// What became of an update that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The book changed.
    Yes,
    /// The update is older than the book; nothing changed.
    Outdated,
}

/// The order book of one instrument.
#[derive(Clone, Debug)]
pub struct OrderBook {
    instrument: InstrumentId,
    state: BookState,
    bids: BookSide,
    asks: BookSide,
    has_depth: bool,
    is_first_after_snapshot: bool,
    update_id: u64,
    ts_recv: Timestamp,
    top: Option<TopOfBook>,
    /// Is the top the last price alone?
    is_last_price: bool,
    errors: u64,
}

impl OrderBook {
    /// An empty book.
    #[must_use]
    pub const fn new(instrument: InstrumentId) -> Self {
        Self {
            instrument,
            state: BookState::Empty,
            bids: BookSide::bids(),
            asks: BookSide::asks(),
            has_depth: false,
            is_first_after_snapshot: false,
            update_id: 0,
            ts_recv: Timestamp::ZERO,
            top: None,
            is_last_price: false,
            errors: 0,
        }
    }

    /// Which instrument.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// May the book be decided on?
    #[must_use]
    pub const fn state(&self) -> BookState {
        self.state
    }

    /// Is the book current, as far as the data goes?
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, BookState::Live)
    }

    /// Did a snapshot come, so that deltas can follow it?
    #[must_use]
    pub const fn has_depth(&self) -> bool {
        self.has_depth
    }

    /// Updates refused since the start (gaps, crosses, impossible data); for metrics.
    #[must_use]
    pub const fn error_count(&self) -> u64 {
        self.errors
    }

    /// Forgets everything but the error count, as after a disconnect.
    pub fn reset(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.has_depth = false;
        self.is_first_after_snapshot = false;
        self.update_id = 0;
        self.top = None;
        self.state = BookState::Empty;
    }

    /// Replaces the depth by a snapshot. A snapshot that cannot be is refused and breaks the book.
    pub fn apply_snapshot(&mut self, snapshot: &BookSnapshot) -> Result<Applied, BookError> {
        let checked = check_levels(&snapshot.bids).and_then(|()| check_levels(&snapshot.asks));
        checked.map_err(|error| self.broken(error))?;
        let filled = self.bids.fill(&snapshot.bids).and_then(|()| self.asks.fill(&snapshot.asks));
        filled.map_err(|_| self.broken(BookError::DoesNotFit))?;
        self.has_depth = true;
        self.is_first_after_snapshot = true;
        self.update_id = snapshot.last_update_id;
        self.ts_recv = self.ts_recv.max(snapshot.ts_recv);
        if self.top.is_some_and(|top| top.update_id <= self.update_id) {
            self.top = None;
        }
        if let (Some(bid), Some(ask)) = (self.bids.best(), self.asks.best())
            && bid.price >= ask.price
        {
            return Err(self.broken(BookError::Crossed { bid: bid.price, ask: ask.price }));
        }
        self.state = BookState::Live;
        Ok(Applied::Yes)
    }

    /// Applies changes since the last update. Rules: what the book already holds is ignored; the first delta after a
    /// snapshot must reach back to it; each later one must follow on, by `previous_update_id` where the venue sends it
    /// (futures), else by `first_update_id` (spot).
    pub fn apply_delta(&mut self, delta: &BookDelta) -> Result<Applied, BookError> {
        if !self.has_depth {
            self.errors += 1;
            return Err(BookError::NoSnapshot);
        }
        if delta.last_update_id <= self.update_id {
            return Ok(Applied::Outdated);
        }
        if let Err(gap) = self.check_sequence(delta) {
            return Err(self.broken(gap.into()));
        }
        let checked = check_levels(&delta.bids).and_then(|()| check_levels(&delta.asks));
        checked.map_err(|error| self.broken(error))?;
        let before = (self.bids.best(), self.asks.best());
        let set = self.bids.set_all(&delta.bids).and_then(|()| self.asks.set_all(&delta.asks));
        set.map_err(|_| self.broken(BookError::DoesNotFit))?;
        self.update_id = delta.last_update_id;
        self.is_first_after_snapshot = false;
        self.ts_recv = self.ts_recv.max(delta.ts_recv);
        let after = (self.bids.best(), self.asks.best());
        check_best(before, after).map_err(|error| self.broken(error))?;
        Ok(Applied::Yes)
    }

    /// Takes a best bid and ask. One older than the book is ignored; one that cannot be is refused and leaves the book.
    pub fn apply_top(&mut self, top: &TopOfBook) -> Result<Applied, BookError> {
        if top.update_id != 0 && top.update_id < self.top.map_or(0, |known| known.update_id).max(self.update_id) {
            return Ok(Applied::Outdated);
        }
        let checked = check_levels(&[top.bid, top.ask]).and_then(|()| {
            let now = (present(top.bid), present(top.ask));
            check_best((self.best_bid(), self.best_ask()), now)
        });
        if let Err(error) = checked {
            self.errors += 1;
            return Err(error);
        }
        self.top = Some(*top);
        self.is_last_price = false;
        self.ts_recv = self.ts_recv.max(top.ts_recv);
        if matches!(self.state, BookState::Empty) {
            self.state = BookState::Live;
        }
        Ok(Applied::Yes)
    }

    /// Where nothing better is known, the last price (the close of a bar, a trade) stands for both sides: bid and ask are one
    /// price. Quotes and depth take its place and are never replaced by it. Something was traded there, so that it is believed
    /// however far it is from the one before: a wrong quote is followed by a right one, a fallen price stays fallen. Whether a jump
    /// may be decided on at once is for risk to say.
    pub fn apply_last(
        &mut self,
        price: Price,
        quantity: Quantity,
        ts_event: Timestamp,
        ts_recv: Timestamp,
    ) -> Result<Applied, BookError> {
        if self.has_depth || (self.top.is_some() && !self.is_last_price) {
            return Ok(Applied::Outdated);
        }
        // A bar without trades has a price, too; the quantity only says that there is one.
        let quantity = if quantity.is_positive() { quantity } else { Quantity::from_int(1) };
        let level = Level { price, quantity };
        if !level.price.is_positive() {
            self.errors += 1;
            return Err(BookError::ImpossibleLevel(level));
        }
        let instrument = self.instrument;
        self.top = Some(TopOfBook { instrument, ts_event, ts_recv, update_id: 0, bid: level, ask: level });
        (self.is_last_price, self.state) = (true, BookState::Live);
        self.ts_recv = self.ts_recv.max(ts_recv);
        Ok(Applied::Yes)
    }

    /// The best bid, from depth or top of book, whichever is newer.
    #[must_use]
    #[inline]
    pub fn best_bid(&self) -> Option<Level> {
        match &self.top {
            Some(top) if self.is_top_newer(top) => present(top.bid),
            _ => self.bids.best(),
        }
    }

    /// The best ask, from depth or top of book, whichever is newer.
    #[must_use]
    #[inline]
    pub fn best_ask(&self) -> Option<Level> {
        match &self.top {
            Some(top) if self.is_top_newer(top) => present(top.ask),
            _ => self.asks.best(),
        }
    }

    /// The middle of best bid and ask as a float, for indicators; `None` while a side is empty.
    #[must_use]
    #[inline]
    pub fn mid(&self) -> Option<f64> {
        let (bid, ask) = (self.best_bid()?, self.best_ask()?);
        Some((bid.price.to_f64() + ask.price.to_f64()) * 0.5)
    }

    /// Best ask less best bid; `None` while a side is empty.
    #[must_use]
    pub fn spread(&self) -> Option<Price> {
        self.best_ask()?.price.checked_sub(self.best_bid()?.price).ok()
    }

    /// Bid levels of the depth, best first.
    #[must_use]
    pub fn bids(&self) -> Levels<'_> {
        self.bids.iter()
    }

    /// Ask levels of the depth, best first.
    #[must_use]
    pub fn asks(&self) -> Levels<'_> {
        self.asks.iter()
    }

    /// The last update that the depth holds; zero without depth.
    #[must_use]
    pub const fn update_id(&self) -> u64 {
        self.update_id
    }

    /// When the newest data in the book was received.
    #[must_use]
    pub const fn ts_recv(&self) -> Timestamp {
        self.ts_recv
    }

    /// Levels that had to make room because a side was full; for metrics.
    #[must_use]
    pub const fn evicted_count(&self) -> u64 {
        self.bids.evicted() + self.asks.evicted()
    }

    #[inline]
    fn is_top_newer(&self, top: &TopOfBook) -> bool {
        !self.has_depth || top.update_id > self.update_id || top.update_id == 0
    }

    fn check_sequence(&self, delta: &BookDelta) -> Result<(), SequenceGap> {
        let next = self.update_id.saturating_add(1);
        let follows = match (delta.previous_update_id, self.is_first_after_snapshot) {
            (0, false) => delta.first_update_id == next,
            (0, true) => delta.first_update_id <= next,
            (previous, false) => previous == self.update_id,
            (previous, true) => previous <= self.update_id || delta.first_update_id <= next,
        };
        if follows && self.state != BookState::Broken {
            return Ok(());
        }
        Err(SequenceGap {
            book_update_id: self.update_id,
            first_update_id: delta.first_update_id,
            last_update_id: delta.last_update_id,
            previous_update_id: delta.previous_update_id,
        })
    }

    #[cold]
    fn broken(&mut self, error: BookError) -> BookError {
        self.state = BookState::Broken;
        self.errors += 1;
        error
    }
}

#[inline]
fn present(level: Level) -> Option<Level> {
    level.quantity.is_positive().then_some(level)
}

fn check_levels(levels: &[Level]) -> Result<(), BookError> {
    match levels.iter().find(|level| !level.price.is_positive() || level.quantity.is_negative()) {
        // A side without orders is written with price and quantity zero.
        Some(level) if !level.price.is_zero() || !level.quantity.is_zero() => Err(BookError::ImpossibleLevel(*level)),
        _ => Ok(()),
    }
}

type Best = (Option<Level>, Option<Level>);

/// Neither crossed nor jumped?
#[inline]
fn check_best(before: Best, after: Best) -> Result<(), BookError> {
    if let (Some(bid), Some(ask)) = after
        && bid.price >= ask.price
    {
        return Err(BookError::Crossed { bid: bid.price, ask: ask.price });
    }
    check_jump(before.0, after.0)?;
    check_jump(before.1, after.1)
}

#[inline]
fn check_jump(before: Option<Level>, after: Option<Level>) -> Result<(), BookError> {
    let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
    if before.price.scale() == after.price.scale() {
        // As below, in whole numbers.
        let (one, other) = (before.price.mantissa(), after.price.mantissa());
        if one.min(other).checked_mul(JUMP_FACTOR_MAX).is_some_and(|most| one.max(other) <= most) {
            return Ok(());
        }
    }
    let (low, high) =
        if before.price <= after.price { (before.price, after.price) } else { (after.price, before.price) };
    match low.checked_mul_int(JUMP_FACTOR_MAX) {
        Ok(most) if high > most => Err(BookError::Jump { before: before.price, after: after.price }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
