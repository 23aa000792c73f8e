//! The price of a market that is known by its best prices alone: quotes, or bars.
//!
//! Invariants: both prices are positive or there is none; what may still be taken at them never grows but with new data.

use keel_model::Side;

/// No bound on what can be taken.
pub(crate) const UNBOUNDED: i64 = i64::MAX;

/// Best prices now and what can be taken at them, in integers of the instrument.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TouchBook {
    pub(crate) bid: i64,
    pub(crate) ask: i64,
    pub(crate) bid_left: i64,
    pub(crate) ask_left: i64,
    /// The price that marks positions: of a bar, or the middle of a quote. Zero before any data.
    pub(crate) mark: i64,
    /// Have quotes or trades come? Then bars are signals only and set no price.
    pub(crate) is_quoted: bool,
    /// The bar that is being gone through.
    pub(crate) bar: Option<BarWalk>,
}

/// Where the walk through a bar is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BarWalk {
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close: i64,
    /// Orders from this id on were placed while the bar was gone through: the way of the price after that is not known.
    pub(crate) first_new_order: u64,
    pub(crate) steps: u32,
    pub(crate) is_open: bool,
}

impl BarWalk {
    /// Does the price go down first? Taken from where the bar closed: away from it first.
    pub(crate) const fn is_down_first(&self) -> bool {
        self.close >= self.open
    }
}

impl TouchBook {
    /// Price and quantity that can be had on a side; `None` when nothing is left.
    pub(crate) const fn available(&self, side: Side) -> Option<(i64, i64)> {
        let (price, left) = match side {
            Side::Buy => (self.bid, self.bid_left),
            Side::Sell => (self.ask, self.ask_left),
        };
        if price > 0 && left > 0 { Some((price, left)) } else { None }
    }

    /// Takes a quantity away from both sides of a bar, or from one of a quote.
    pub(crate) const fn take(&mut self, side: Side, quantity: i64) {
        if self.is_quoted {
            let left = match side {
                Side::Buy => &mut self.bid_left,
                Side::Sell => &mut self.ask_left,
            };
            if *left != UNBOUNDED {
                *left = left.saturating_sub(quantity);
            }
        } else if self.bid_left != UNBOUNDED {
            // A bar's volume is one budget.
            self.bid_left = self.bid_left.saturating_sub(quantity);
            self.ask_left = self.bid_left;
        }
    }
}
