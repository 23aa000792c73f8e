//! Time bars from trades or prices, aligned to multiples of their length since the Unix epoch.
//!
//! Invariants: bars follow each other without overlap, by receive time; a span without trades gives a flat bar at the last
//! close with volume zero, so that indicators keep time; after a silence of more than [`FLAT_BARS_MAX`] spans the bars in
//! between are left out, not made up; nothing allocates.

use keel_model::{Bar, InstrumentId, NumberError, Price, Quantity, Timestamp};
use std::time::Duration;

/// The shortest bar.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest bar.
pub const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// The most flat bars in a row; a longer silence is a gap.
pub const FLAT_BARS_MAX: u64 = 1_000;

/// Why a bar could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarError {
    /// Not between a second and a day, or not a divisor of the day.
    #[error("bars of {0:?} cannot be built: a length is a whole number of seconds that divides a day (1 s to 1 d)")]
    Interval(Duration),
    /// The volume does not fit.
    #[error("volume of a bar: {0}")]
    Volume(#[from] NumberError),
    /// A trade received before the span that is being built.
    #[error("a trade of time {got} belongs to a bar that closed at {closed}")]
    Late {
        /// Its time.
        got: Timestamp,
        /// End of the last closed bar.
        closed: Timestamp,
    },
    /// A price that is not positive or a volume that is negative (RC-16).
    #[error("impossible trade: price {price}, quantity {quantity}; it is not used")]
    Impossible {
        /// The price.
        price: Price,
        /// The quantity.
        quantity: Quantity,
    },
}

/// Builds the bars of one instrument and length. Per event: first [`Self::advance`] until it answers `None`, then [`Self::add`].
#[derive(Clone, Debug)]
pub struct BarBuilder {
    instrument: InstrumentId,
    interval_ns: u64,
    current: Option<Bar>,
    flat_in_a_row: u64,
}

impl BarBuilder {
    /// A builder of bars of `interval`: whole seconds that divide a day.
    pub fn new(instrument: InstrumentId, interval: Duration) -> Result<Self, BarError> {
        let is_whole = interval.subsec_nanos() == 0;
        if !is_whole || interval < INTERVAL_MIN || !INTERVAL_MAX.as_secs().is_multiple_of(interval.as_secs()) {
            return Err(BarError::Interval(interval));
        }
        let interval_ns = interval.as_secs() * 1_000_000_000;
        Ok(Self { instrument, interval_ns, current: None, flat_in_a_row: 0 })
    }

    /// Which instrument.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// Length of the bars.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns)
    }

    /// The bar that is being built, for display.
    #[must_use]
    pub const fn current(&self) -> Option<&Bar> {
        self.current.as_ref()
    }

    /// The next bar that `now` closes; ask until `None`.
    #[inline]
    pub fn advance(&mut self, now: Timestamp) -> Option<Bar> {
        if now < self.current.as_ref()?.ts_close {
            return None;
        }
        self.close(now)
    }

    fn close(&mut self, now: Timestamp) -> Option<Bar> {
        let mut bar = self.current.take()?;
        bar.is_closed = true;
        bar.ts_recv = now;
        self.flat_in_a_row = if bar.volume.is_zero() { self.flat_in_a_row + 1 } else { 0 };
        let spans_behind = now.as_ns().saturating_sub(bar.ts_close.as_ns()) / self.interval_ns;
        if self.flat_in_a_row < FLAT_BARS_MAX && spans_behind < FLAT_BARS_MAX {
            self.current = Some(self.open(bar.ts_close, bar.close));
        }
        Some(bar)
    }

    /// Adds a trade, or a price with quantity zero. Bars that its time closes must have been taken with [`Self::advance`].
    #[inline]
    pub fn add(&mut self, price: Price, quantity: Quantity, ts_recv: Timestamp) -> Result<(), BarError> {
        if !price.is_positive() || quantity.is_negative() {
            return Err(BarError::Impossible { price, quantity });
        }
        let Some(bar) = &mut self.current else {
            let start = Timestamp::from_ns(ts_recv.as_ns() - ts_recv.as_ns() % self.interval_ns);
            self.current = Some(Bar { volume: quantity, ts_recv, ..self.open(start, price) });
            return Ok(());
        };
        if ts_recv < bar.ts_open {
            return Err(BarError::Late { got: ts_recv, closed: bar.ts_open });
        }
        let volume = bar.volume.checked_add(quantity)?;
        // A bar that was opened flat by the clock takes its open from the first trade in it.
        if bar.ts_recv == Timestamp::ZERO {
            (bar.open, bar.high, bar.low) = (price, price, price);
        }
        bar.high = bar.high.max(price);
        bar.low = bar.low.min(price);
        (bar.close, bar.volume, bar.ts_recv) = (price, volume, ts_recv);
        Ok(())
    }

    fn open(&self, ts_open: Timestamp, price: Price) -> Bar {
        Bar {
            instrument: self.instrument,
            ts_open,
            ts_close: Timestamp::from_ns(ts_open.as_ns().saturating_add(self.interval_ns)),
            ts_recv: Timestamp::ZERO,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: Quantity::ZERO,
            is_closed: false,
        }
    }
}

#[cfg(test)]
mod tests;
