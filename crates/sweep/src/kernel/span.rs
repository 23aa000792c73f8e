//! Highest, lowest and deepest fall of any span of a tile in constant time: a disjoint sparse table.
//!
//! A span is summed up by (highest, lowest, fall), where fall is the least ratio of a price to the highest price at or before
//! it; two neighbouring spans compose to `(max, min, min(fall, fall', lowest'/highest))`. The table holds, for each power of
//! two 2^k and each bar i, the summary from i up to the next multiple of 2^k, or from the multiple before i up to i, so that
//! a span [from, to) is two entries at the level of the highest bit in which `from` and `to` differ.

use super::simd::TILE_BARS;

/// Levels: bits of an index in 0..=TILE_BARS.
const LEVELS: usize = TILE_BARS.ilog2() as usize + 1;
/// Entries of a level: one for each bar, one for the end.
const ROW: usize = TILE_BARS + 1;

/// What a path of prices over a span comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(32))]
pub struct Span {
    /// Highest price.
    pub highest: f64,
    /// Lowest price.
    pub lowest: f64,
    /// Least ratio of a price to the highest at or before it; 1 when it only rises.
    pub fall: f64,
}

impl Span {
    /// No bars.
    pub const EMPTY: Self = Self { highest: 0.0, lowest: f64::INFINITY, fall: 1.0 };

    /// One bar.
    #[must_use]
    pub const fn of(price: f64) -> Self {
        Self { highest: price, lowest: price, fall: 1.0 }
    }

    /// This one, then `next`.
    #[inline]
    #[must_use]
    pub const fn then(self, next: Self) -> Self {
        let across = if self.highest > 0.0 { next.lowest / self.highest } else { 1.0 };
        Self {
            highest: self.highest.max(next.highest),
            lowest: self.lowest.min(next.lowest),
            fall: self.fall.min(next.fall).min(across),
        }
    }
}

/// Spans of one tile.
#[derive(Debug)]
pub struct SpanTable {
    rows: Vec<Span>,
}

impl Default for SpanTable {
    fn default() -> Self {
        Self { rows: vec![Span::EMPTY; LEVELS * ROW] }
    }
}

#[allow(clippy::indexing_slicing, reason = "indices are at most TILE_BARS; the table is made for them")]
impl SpanTable {
    /// Takes the prices of a tile, at most [`TILE_BARS`]; spans beyond them mean nothing.
    pub fn fill(&mut self, prices: &[f64]) {
        let bars = prices.len().min(TILE_BARS);
        for level in 0..LEVELS {
            let row = &mut self.rows[level * ROW..(level + 1) * ROW];
            let half = 1 << level;
            let mut middle = half;
            // Blocks of twice `half`: suffixes up to the middle, prefixes from it.
            while middle - half <= bars {
                let mut suffix = Span::EMPTY;
                for at in (middle - half..middle.min(bars)).rev() {
                    suffix = Span::of(prices[at]).then(suffix);
                    row[at] = suffix;
                }
                let mut prefix = Span::EMPTY;
                for at in middle..(middle + half).min(bars + 1) {
                    row[at] = prefix;
                    if at < bars {
                        prefix = prefix.then(Span::of(prices[at]));
                    }
                }
                middle += 2 * half;
            }
        }
    }

    /// The two neighbouring spans that make up [from, to), 0 ≤ from < to ≤ the number of bars; the second may be empty.
    #[inline]
    #[must_use]
    pub fn halves(&self, from: usize, to: usize) -> (Span, Span) {
        let level = (from ^ to | 1).ilog2() as usize;
        (self.rows[level * ROW + from], self.rows[level * ROW + to])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_span_equals_the_loop_over_its_bars() {
        let prices: Vec<f64> = (0..TILE_BARS as u64).map(|i| 100.0 + (i * 7_919 % 613) as f64 / 8.0).collect();
        for bars in [1, 2, 63, 64, 65, 300, TILE_BARS] {
            let mut table = SpanTable::default();
            table.fill(&prices[..bars]);
            for from in 0..bars {
                let mut looped = Span::EMPTY;
                for to in from + 1..=bars {
                    looped = looped.then(Span::of(prices[to - 1]));
                    let (first, second) = table.halves(from, to);
                    assert_eq!(first.then(second), looped, "{bars} bars, [{from}, {to})");
                }
            }
        }
    }
}
