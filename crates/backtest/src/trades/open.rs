//! Trades that have not ended: when they began, and their end by the venue's hand.

use super::{Open, Terms, TradeLog, exit_reason};
use keel_model::{Fill, InstrumentId, Quantity};

impl TradeLog {
    /// Counts what a fill was worth.
    pub(crate) fn count_volume(&mut self, fill: &Fill) {
        self.volume += fill.price.to_f64() * fill.quantity.to_f64();
    }

    /// Value of everything bought and sold so far. Unit: quote asset.
    pub(crate) const fn volume(&self) -> f64 {
        self.volume
    }

    /// When the open position of an instrument was entered, of several strategies the first; `None` when it is flat, or a
    /// rest that cannot be sold.
    pub(crate) fn entered_ns(&self, instrument: InstrumentId) -> Option<u64> {
        let open = self.open.iter().zip(&self.dust).filter(|(open, dust)| {
            open.instrument == instrument && open.held != open.held_before && !open.is_over(**dust)
        });
        open.map(|(open, _)| open.entry_ns).min()
    }

    /// The venue has closed everything that is held of the fill's instrument, at its price: every open trade ends.
    pub(crate) fn close_by_venue(&mut self, fill: &Fill) {
        let of = |open: &Open| {
            let quantity = Quantity::new(open.held.abs(), open.scale).ok()?;
            let side = if open.held > 0 { keel_model::Side::Sell } else { keel_model::Side::Buy };
            let terms = Terms { scale: open.scale, ..Terms::default() };
            Some((open.strategy, Fill { side, quantity, ..*fill }, terms))
        };
        let held = self.open.iter().filter(|open| open.instrument == fill.instrument && open.held != 0);
        let closing: Vec<_> = held.filter_map(of).collect();
        for (strategy, fill, terms) in closing {
            self.on_fill(strategy, &fill, terms, exit_reason::LIQUIDATION);
        }
    }
}
