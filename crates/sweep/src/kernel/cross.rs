//! The short way: all-in, long while one series is above another, no stop; each position is a span of the tile.

use super::account::{Account, Diary};
use super::simd::Bits;
use super::tile::TilePrices;

/// Bits that differ from the bar before; `before` is the bar before the word.
#[inline]
#[must_use]
pub const fn edges(word: u64, before: u64) -> u64 {
    word ^ ((word << 1) | before)
}

/// Days that end before bar `to` of the tile, from the `next`-th on, with so much cash and so large a position.
#[inline]
#[allow(clippy::indexing_slicing, reason = "bars of a tile")]
pub fn end_days(owned: (f64, f64), diary: &mut Diary, prices: &TilePrices, next: &mut usize, to: usize) {
    while let Some(bar) = prices.day_ends.get(*next).map(|bar| usize::from(*bar)).filter(|bar| *bar < to) {
        diary.end_day(owned.0 + owned.1 * prices.close[bar]);
        *next += 1;
    }
}

/// Takes one account through one tile. `up` is the signal; edges before bar `from` of the tile do not count.
#[allow(clippy::indexing_slicing, reason = "a bit's place in a tile is below TILE_BARS")]
#[inline]
pub fn step<const DAILY: bool>(account: &mut Account, diary: &mut Diary, up: &Bits, from: usize, prices: &TilePrices) {
    let mut before = u64::from(account.before);
    let mut held_from = 0;
    let mut next_day = 0;
    for (at, word) in up.iter().copied().enumerate() {
        let mut changed = edges(word, before);
        before = word >> 63;
        if from > at * 64 {
            changed &= u64::MAX.checked_shl((from - at * 64) as u32).unwrap_or(0);
        }
        while changed != 0 {
            let bit = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let bar = at * 64 + bit;
            if DAILY {
                end_days((account.cash, account.quantity), diary, prices, &mut next_day, bar);
            }
            if word >> bit & 1 == 1 {
                account.staked = account.cash;
                account.quantity = account.cash * prices.per_cash[bar];
                account.cash = 0.0;
                account.orders += 1;
                held_from = bar;
            } else if account.quantity > 0.0 {
                account.hold(prices.spans.halves(held_from, bar));
                account.cash = account.quantity * prices.per_unit[bar];
                account.quantity = 0.0;
                account.orders += 1;
                account.book_trade();
                account.mark(account.cash);
            }
        }
    }
    account.before = before as u32;
    if account.quantity > 0.0 {
        account.hold(prices.spans.halves(held_from, prices.bars));
    }
    if DAILY {
        end_days((account.cash, account.quantity), diary, prices, &mut next_day, prices.bars);
    }
}
