//! One tile of prices with what trading at them costs.

use super::bars::Bars;
use super::rule::{FillAt, Size, Terms};
use super::simd::{TILE_BARS, TILE_WORDS, Tile};
use super::span::SpanTable;

/// Prices of a tile; beyond `bars` nothing means anything.
#[derive(Debug)]
pub struct TilePrices {
    /// Bars in the tile.
    pub bars: usize,
    /// Quantity for one unit of money, fee and slippage paid.
    pub per_cash: Tile,
    /// Money for one unit of quantity, fee and slippage paid.
    pub per_unit: Tile,
    /// What a market order pays to buy.
    pub buy: Tile,
    /// What a market order brings when it sells.
    pub sell: Tile,
    /// First prices.
    pub open: Tile,
    /// Highest prices.
    pub high: Tile,
    /// Lowest prices.
    pub low: Tile,
    /// Last prices.
    pub close: Tile,
    /// Highest high of each 64 bars.
    pub high_of: [f64; TILE_WORDS],
    /// Lowest low of each 64 bars.
    pub low_of: [f64; TILE_WORDS],
    /// Highest and lowest close of each 64 bars.
    pub close_of: [(f64, f64); TILE_WORDS],
    /// Bars that end a day, ascending.
    pub day_ends: Vec<u16>,
    /// Closes as spans.
    pub spans: SpanTable,
    /// Terms that the costs come from.
    pub terms: Terms,
}

#[allow(clippy::indexing_slicing, reason = "the caller cuts the bars into tiles")]
impl TilePrices {
    /// Nothing in it yet.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            bars: 0,
            per_cash: [0.0; TILE_BARS],
            per_unit: [0.0; TILE_BARS],
            buy: [0.0; TILE_BARS],
            sell: [0.0; TILE_BARS],
            open: [0.0; TILE_BARS],
            high: [0.0; TILE_BARS],
            low: [0.0; TILE_BARS],
            close: [0.0; TILE_BARS],
            high_of: [0.0; TILE_WORDS],
            low_of: [0.0; TILE_WORDS],
            close_of: [(0.0, 0.0); TILE_WORDS],
            day_ends: Vec::new(),
            spans: SpanTable::default(),
            terms,
        }
    }

    /// Takes bars from..to, at most a tile; days count when they end at bar `trade_from` or later.
    pub fn fill(&mut self, bars: &Bars, from: usize, to: usize, trade_from: usize) {
        let count = to - from;
        self.bars = count;
        self.open[..count].copy_from_slice(&bars.open()[from..to]);
        self.high[..count].copy_from_slice(&bars.high()[from..to]);
        self.low[..count].copy_from_slice(&bars.low()[from..to]);
        self.close[..count].copy_from_slice(&bars.close()[from..to]);
        let (fee, slippage) = (self.terms.fee, self.terms.slippage);
        for at in 0..count {
            let price = match self.terms.fill {
                FillAt::Close => self.close[at],
                FillAt::NextOpen => self.open[at],
            };
            self.buy[at] = price * (1.0 + slippage);
            self.sell[at] = price * (1.0 - slippage);
            self.per_cash[at] = 1.0 / (self.buy[at] * (1.0 + fee));
            self.per_unit[at] = self.sell[at] * (1.0 - fee);
        }
        for word in 0..TILE_WORDS {
            let range = (word * 64).min(count)..((word + 1) * 64).min(count);
            let highest = |prices: &[f64]| prices.iter().fold(0.0, |highest: f64, price| highest.max(*price));
            let lowest = |prices: &[f64]| prices.iter().fold(f64::INFINITY, |lowest: f64, price| lowest.min(*price));
            self.high_of[word] = highest(&self.high[range.clone()]);
            self.low_of[word] = lowest(&self.low[range.clone()]);
            self.close_of[word] = (highest(&self.close[range.clone()]), lowest(&self.close[range]));
        }
        self.day_ends.clear();
        if self.terms.has_daily {
            self.day_ends
                .extend((from.max(trade_from)..to).filter(|at| bars.is_day_end(*at)).map(|at| (at - from) as u16));
        }
        self.spans.fill(&self.close[..count]);
    }

    /// Quantity of a position of `side` (1 or −1) that is entered at `price`; 0 where the money is not enough for a step.
    #[inline]
    #[must_use]
    pub fn quantity(&self, cash: f64, price: f64, side: f64) -> f64 {
        side * quantity(&self.terms, cash, price)
    }
}

/// Quantity that is entered at `price` with `cash`.
#[inline]
#[must_use]
pub fn quantity(terms: &Terms, cash: f64, price: f64) -> f64 {
    match terms.size {
        Size::AllIn => cash * (1.0 / (price * (1.0 + terms.fee))),
        Size::Quantity(quantity) => quantity,
        Size::Notional { value, step } if step > 0.0 => (value / price / step + 1e-9).floor() * step,
        Size::Notional { value, .. } => value / price,
    }
}
