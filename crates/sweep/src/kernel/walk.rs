//! The general way: both sides, stops, targets, any size; from event to event through the bits of a tile.
//!
//! Within a bar the order is: what was decided before fills at the open ([`FillAt::NextOpen`]), stop and target are looked at
//! (the stop first, and at the open where the price gapped beyond), what the close decides fills there
//! ([`FillAt::Close`]), equity is taken at the close. An entry counts where its signal turns true, so that nothing is
//! entered again after a stop before the signal was off.

use super::account::{Account, Diary};
use super::cross::{edges, end_days};
use super::rule::{FillAt, Sides, Terms};
use super::simd::{Bits, TILE_BARS, TILE_WORDS, Tile};
use super::tile::TilePrices;

/// Signals of one combination over one tile.
#[derive(Clone, Copy, Debug)]
pub struct TileSignals {
    /// Enters long.
    pub long: Bits,
    /// Leaves long.
    pub long_exit: Bits,
    /// Enters short.
    pub short: Bits,
    /// Leaves short.
    pub short_exit: Bits,
}

/// Bits of [`Account::before`].
const LONG: u32 = 1;
const SHORT: u32 = 2;
const LONG_EDGE: u32 = 4;
const SHORT_EDGE: u32 = 8;
const LONG_EXIT: u32 = 16;
const SHORT_EXIT: u32 = 32;

/// The first set bit at or after `from`.
#[inline]
#[allow(clippy::indexing_slicing, reason = "words of a tile")]
fn next(bits: &Bits, from: usize) -> Option<usize> {
    let mut word = from / 64;
    if word >= TILE_WORDS {
        return None;
    }
    let mut rest = bits[word] & (u64::MAX << (from % 64));
    while rest == 0 {
        word += 1;
        rest = *bits.get(word)?;
    }
    Some(word * 64 + rest.trailing_zeros() as usize)
}

/// Where the signal turns true, not before bar `from`.
#[inline]
fn rising(bits: &Bits, before: bool, from: usize) -> Bits {
    let mut before = u64::from(before);
    let mut out = [0; TILE_WORDS];
    for (at, (out, word)) in out.iter_mut().zip(bits).enumerate() {
        let mut rise = edges(*word, before) & word;
        before = word >> 63;
        if from > at * 64 {
            rise &= u64::MAX.checked_shl((from - at * 64) as u32).unwrap_or(0);
        }
        *out = rise;
    }
    out
}

/// Everything one bar later.
#[inline]
fn later(bits: &Bits, before: bool) -> Bits {
    let mut before = u64::from(before);
    let mut out = [0; TILE_WORDS];
    for (out, word) in out.iter_mut().zip(bits) {
        *out = (word << 1) | before;
        before = word >> 63;
    }
    out
}

const fn last(bits: &Bits, bit: u32) -> u32 {
    let [.., word] = bits;
    if *word >> 63 == 1 { bit } else { 0 }
}

/// Stop and target of one combination.
#[derive(Clone, Copy, Debug)]
pub struct Exits<'a> {
    /// Share of the entry price against the position; 0: none.
    pub stop: f64,
    /// Series whose value at the decision is the stop instead.
    pub stop_at: Option<&'a Tile>,
    /// Share of the entry price for the position; 0: none.
    pub target: f64,
    /// May the bar that leaves by its signal enter the other side?
    pub can_reverse: bool,
}

/// Prices of stop and target of a position of `side` that was entered at `entry`, not a number where there is none;
/// `at` is the value of the series of stops where the entry was decided.
#[inline]
#[must_use]
pub fn levels(terms: &Terms, (stop, at, target): (f64, Option<f64>, f64), side: f64, entry: f64) -> (f64, f64) {
    let wanted = match at {
        Some(value) => value,
        None if stop > 0.0 => entry * (1.0 - side * stop),
        None => f64::NAN,
    };
    let stop = match terms.tick {
        tick if tick > 0.0 && side > 0.0 => on_tick((wanted / tick + 1e-9).floor(), tick),
        tick if tick > 0.0 => on_tick((wanted / tick - 1e-9).ceil(), tick),
        _ => wanted,
    };
    (stop, if target > 0.0 { entry * (1.0 + side * target) } else { f64::NAN })
}

/// So many price steps, as the same number that a file's price is read as: 6646 × 0.01 would lie above 66.46, and a high that
/// touches the stop would miss it.
#[inline]
fn on_tick(count: f64, tick: f64) -> f64 {
    let parts = (1.0 / tick).round();
    if parts >= 1.0 && (parts * tick - 1.0).abs() < 1e-9 { count / parts } else { count * tick }
}

/// One account on its way through one tile.
struct Walk<'a> {
    account: &'a mut Account,
    diary: &'a mut Diary,
    prices: &'a TilePrices,
    exits: Exits<'a>,
    /// First bar whose close has not been taken yet.
    path: usize,
    next_day: usize,
}

/// Price at which a bar (open, high, low) takes a position of `side` out at its stop or target, or none. The stop comes first.
#[inline]
#[must_use]
pub fn exit_price(
    terms: &Terms,
    (stop, target): (f64, f64),
    side: f64,
    (open, high, low): (f64, f64, f64),
) -> Option<f64> {
    let is_long = side > 0.0;
    // A level that is not a number is never reached.
    if if is_long { low <= stop } else { high >= stop } {
        let price = if is_long { stop.min(open) } else { stop.max(open) };
        return Some(price * (1.0 - side * terms.slippage));
    }
    if if is_long { high >= target } else { low <= target } {
        return Some(if is_long { target.max(open) } else { target.min(open) });
    }
    None
}

#[allow(clippy::indexing_slicing, reason = "bars of a tile")]
impl Walk<'_> {
    /// Closes up to bar `to` are taken with the position as it is; answers false when everything is lost.
    fn pass(&mut self, to: usize) -> bool {
        let owned = (self.account.cash, self.account.quantity);
        let lost = self.account.follow(self.prices, self.path, to);
        if self.prices.terms.has_daily {
            end_days(owned, self.diary, self.prices, &mut self.next_day, lost.unwrap_or(to));
            end_days((self.account.cash, self.account.quantity), self.diary, self.prices, &mut self.next_day, to);
        }
        self.path = to;
        lost.is_none()
    }

    fn enter(&mut self, bar: usize, side: f64) {
        let price = if side > 0.0 { self.prices.buy[bar] } else { self.prices.sell[bar] };
        let account = &mut *self.account;
        let quantity = self.prices.quantity(account.cash, price, side);
        if quantity == 0.0 || account.cash <= 0.0 {
            return;
        }
        account.staked = account.cash;
        account.cash = if side > 0.0 && matches!(self.prices.terms.size, super::rule::Size::AllIn) {
            0.0
        } else {
            account.cash - quantity * price - quantity.abs() * price * self.prices.terms.fee
        };
        account.quantity = quantity;
        account.orders += 1;
        let decided = |tile: &Tile| match (self.prices.terms.fill, bar) {
            (FillAt::Close, _) => tile[bar],
            (FillAt::NextOpen, 0) => self.diary.stop_before,
            (FillAt::NextOpen, _) => tile[bar - 1],
        };
        let Exits { stop, stop_at, target, .. } = self.exits;
        let at = stop_at.map(decided);
        (self.diary.stop, self.diary.target) = levels(&self.prices.terms, (stop, at, target), side, price);
    }

    fn leave(&mut self, price: f64) -> bool {
        let account = &mut *self.account;
        account.cash += account.quantity * price - account.quantity.abs() * price * self.prices.terms.fee;
        account.quantity = 0.0;
        account.orders += 1;
        if account.cash <= 0.0 {
            account.lose_all();
            return false;
        }
        account.book_trade();
        account.mark(account.cash);
        true
    }

    /// The first bar of from..to that reaches stop or target, and the price.
    fn stopped(&self, side: f64, from: usize, to: usize) -> Option<(usize, f64)> {
        let (prices, levels) = (self.prices, (self.diary.stop, self.diary.target));
        if levels.0.is_nan() && levels.1.is_nan() {
            return None;
        }
        let reaches = |open, high, low| exit_price(&prices.terms, levels, side, (open, high, low));
        let mut at = from;
        while at < to {
            let end = to.min((at / 64 + 1) * 64);
            if reaches(prices.open[at], prices.high_of[at / 64], prices.low_of[at / 64]).is_some() {
                let bar = |bar| reaches(prices.open[bar], prices.high[bar], prices.low[bar]).map(|price| (bar, price));
                if let Some(found) = (at..end).find_map(bar) {
                    return Some(found);
                }
            }
            at = end;
        }
        None
    }

    /// Leaves the open position at the first of stop, target and signal; answers the first bar of another entry, or none
    /// when it stays open or all is lost.
    fn leave_at(&mut self, side: f64, exit: &Bits, entered: Option<usize>) -> Option<usize> {
        let is_open_fill = self.prices.terms.fill == FillAt::NextOpen;
        let signal = next(exit, entered.map_or(0, |bar| bar + 1)).filter(|bar| *bar < self.prices.bars);
        let limit = signal.map_or(self.prices.bars, |bar| if is_open_fill { bar } else { bar + 1 });
        let first = entered.map_or(0, |bar| if is_open_fill { bar } else { bar + 1 });
        let stopped = self.stopped(side, first, limit);
        let (bar, price) = match (stopped, signal) {
            (Some(found), _) => found,
            (None, Some(bar)) if side > 0.0 => (bar, self.prices.sell[bar]),
            (None, Some(bar)) => (bar, self.prices.buy[bar]),
            (None, None) => return None,
        };
        // Stopped out in the bar of its entry: its close was never held.
        let is_alive = self.pass(bar.max(self.path));
        // After a stop the open of that bar is over; after a signal it may be that nothing is entered in that bar.
        let is_over = if stopped.is_some() { is_open_fill } else { !self.exits.can_reverse };
        (is_alive && self.leave(price)).then_some(bar + usize::from(is_over))
    }
}

/// Takes one account through one tile; signals before bar `from` of the tile do not count.
pub fn step(
    account: &mut Account,
    diary: &mut Diary,
    signals: &TileSignals,
    from: usize,
    exits: Exits<'_>,
    prices: &TilePrices,
) {
    if account.is_ruined() {
        return;
    }
    let was = |bit: u32| account.before & bit != 0;
    let has_short = prices.terms.sides == Sides::LongShort;
    let mut long = rising(&signals.long, was(LONG), from);
    let mut short = if has_short { rising(&signals.short, was(SHORT), from) } else { [0; TILE_WORDS] };
    let (mut long_exit, mut short_exit) = (signals.long_exit, signals.short_exit);
    let before = last(&signals.long, LONG)
        | last(&signals.short, SHORT)
        | last(&long, LONG_EDGE)
        | last(&short, SHORT_EDGE)
        | last(&long_exit, LONG_EXIT)
        | last(&short_exit, SHORT_EXIT);
    if prices.terms.fill == FillAt::NextOpen {
        (long, short) = (later(&long, was(LONG_EDGE)), later(&short, was(SHORT_EDGE)));
        long_exit = later(&long_exit, was(LONG_EXIT));
        short_exit = later(&short_exit, was(SHORT_EXIT));
    }
    account.before = before;
    let mut walk = Walk { account, diary, prices, exits, path: 0, next_day: 0 };
    let (mut at, mut entered) = (0, None);
    loop {
        if walk.account.quantity != 0.0 {
            let side = walk.account.quantity.signum();
            match walk.leave_at(side, if side > 0.0 { &long_exit } else { &short_exit }, entered) {
                Some(bar) => at = bar,
                None => break,
            }
        }
        let bar = next(&long, at).unwrap_or(usize::MAX).min(next(&short, at).unwrap_or(usize::MAX));
        if bar >= prices.bars {
            break;
        }
        walk.pass(bar);
        let is_long = next(&long, bar) == Some(bar);
        walk.enter(bar, if is_long { 1.0 } else { -1.0 });
        entered = Some(bar);
        at = bar + 1;
    }
    walk.pass(prices.bars);
    if let Some(tile) = exits.stop_at {
        // What lies beyond the last bar repeats it.
        diary.stop_before = tile[TILE_BARS - 1];
    }
}
