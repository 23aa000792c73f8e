//! Many combinations over one series of bars, in parts that fit the cache, on as many threads as wanted.
//!
//! Invariants: the outcome of a combination depends on bars, terms and itself alone; memory is bounded by the bars, the
//! outcomes and, for each thread, [`PART_MAX`] accounts with the series that they use.

use super::account::{Account, Diary};
use super::bars::Bars;
use super::cross;
use super::rule::{Beginning, Combination, FillAt, Outcome, Sides, Signals, Size, Terms, Test};
use super::series::{Series, Spread, Stream};
use super::simd::{BLOCK, Bits, Greater, TILE_BARS, TILE_WORDS, Tile, Width};
use super::tile::TilePrices;
use super::walk::{self, Exits, TileSignals};
use crate::SweepError;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The most combinations of which a thread holds the accounts at one time.
pub const PART_MAX: usize = 10_240;

/// Which bars: indicators see from..to, orders and days count from `trade_from` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// First bar that indicators see.
    pub from: usize,
    /// First bar that may be traded.
    pub trade_from: usize,
    /// One beyond the last.
    pub to: usize,
}

impl Stretch {
    /// All of them.
    #[must_use]
    pub const fn all(bars: &Bars) -> Self {
        Self { from: 0, trade_from: 0, to: bars.len() }
    }

    /// Does it lie within the bars?
    ///
    /// # Errors
    /// When it is empty or does not.
    pub const fn check(&self, bars: &Bars) -> Result<(), SweepError> {
        if self.from <= self.trade_from && self.trade_from < self.to && self.to <= bars.len() {
            Ok(())
        } else {
            Err(SweepError::NoBars)
        }
    }
}

/// How a job is carried out; changes no result.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    /// Instructions to compare by.
    pub width: Width,
    /// Threads, at least one.
    pub threads: usize,
    /// Set by others: stop as soon as possible.
    pub stop: &'a AtomicBool,
    /// Combination·bars done so far, for progress.
    pub done: &'a AtomicU64,
}

/// One combination as the kernels see it.
#[derive(Clone, Copy, Debug)]
struct Lane {
    index: usize,
    signals: Signals,
    stop: f64,
    stop_at: Option<Series>,
    target: f64,
    is_short_way: bool,
}

/// Outcomes in the order of the combinations.
///
/// # Errors
/// A combination, terms or a stretch that cannot be carried out; a thread that failed; [`SweepError::Stopped`].
pub fn run(
    bars: &Bars,
    stretch: Stretch,
    combinations: &[Combination],
    terms: &Terms,
    pace: Pace<'_>,
) -> Result<Vec<Outcome>, SweepError> {
    terms.check()?;
    stretch.check(bars)?;
    let mut lanes = lanes_of(combinations, terms)?;
    let inside =
        if stretch.from == 0 && stretch.to == bars.len() { None } else { Some(bars.slice(stretch.from, stretch.to)?) };
    let inside = inside.as_ref().unwrap_or(bars);
    let trade_from = stretch.trade_from - stretch.from;
    lanes.sort_by_key(|lane| {
        let (Series::Sma(above) | Series::Ema(above) | Series::EmaFromFirst(above)) = lane.signals.long.above else {
            return (lane.is_short_way, 0, lane.signals.long.below, lane.signals.long.above, lane.index);
        };
        (lane.is_short_way, above / BLOCK, lane.signals.long.below, lane.signals.long.above, lane.index)
    });
    let threads = pace.threads.clamp(1, lanes.len().max(1));
    let part = lanes.len().div_ceil(threads).clamp(1, PART_MAX);
    let parts: Vec<&[Lane]> = lanes.chunks(part).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Outcome)>, SweepError> {
        let mut found = Vec::new();
        while let Some(lanes) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(run_part(inside, trade_from, lanes, terms, pace)?);
        }
        Ok(found)
    };
    let mut outcomes = vec![Outcome::default(); combinations.len()];
    for found in on_threads(threads, work)? {
        for (index, outcome) in found {
            if let Some(slot) = outcomes.get_mut(index) {
                *slot = outcome;
            }
        }
    }
    Ok(outcomes)
}

fn lanes_of(combinations: &[Combination], terms: &Terms) -> Result<Vec<Lane>, SweepError> {
    let is_plain = terms.sides == Sides::LongOnly && terms.size == Size::AllIn && terms.fill == FillAt::Close;
    let lane = |(index, combination): (usize, &Combination)| {
        combination.check()?;
        let signals = combination.rule.signals();
        let has_exits = combination.stop > 0.0 || combination.target > 0.0 || combination.stop_at.is_some();
        Ok(Lane {
            index,
            signals,
            stop: combination.stop,
            stop_at: combination.stop_at,
            target: combination.target,
            is_short_way: is_plain && !has_exits && is_opposite(signals.long, signals.long_exit),
        })
    };
    combinations.iter().enumerate().map(lane).collect()
}

fn is_opposite(a: Test, b: Test) -> bool {
    a.above == b.above && a.below == b.below && a.is_negated != b.is_negated
}

/// Runs `work` on so many threads, this one among them.
fn on_threads<T: Send>(threads: usize, work: impl Fn() -> Result<T, SweepError> + Sync) -> Result<Vec<T>, SweepError> {
    let failed = |cause: String| SweepError::Backend { backend: "cpu".to_owned(), cause };
    std::thread::scope(|scope| {
        let mut others = Vec::new();
        for number in 1..threads {
            let builder = std::thread::Builder::new().name(format!("sweep-{number}"));
            let other = builder.spawn_scoped(scope, &work);
            others.push(other.map_err(|error| failed(format!("no thread: {error}")))?);
        }
        let own = work();
        let joined: Vec<_> = others.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let mut results = vec![own?];
        for result in joined {
            results.push(result.map_err(|_| failed("a thread panicked".to_owned()))??);
        }
        Ok(results)
    })
}

/// A test as places in the bank of series.
#[derive(Clone, Copy, Debug)]
struct Place {
    above: usize,
    below: usize,
    is_negated: bool,
}

/// Series of a part, each once.
#[derive(Default)]
struct Bank {
    places: BTreeMap<Series, usize>,
    sources: Vec<Source>,
    tiles: Vec<Tile>,
    /// Means and deviations by period, which bands of any width share.
    spreads: Vec<Spread>,
}

/// Where a series comes from.
enum Source {
    Own(Stream),
    /// So many deviations from the mean of a spread.
    Band(usize, f64),
}

#[allow(clippy::indexing_slicing, reason = "places come from `series`, which makes them")]
impl Bank {
    fn series(&mut self, series: Series) -> Result<usize, SweepError> {
        if let Some(place) = self.places.get(&series) {
            return Ok(*place);
        }
        let source = match series {
            Series::Band(period, bits) => {
                let known = self.spreads.iter().position(|spread| spread.period == period);
                if known.is_none() {
                    self.spreads.push(Spread::new(period)?);
                }
                Source::Band(known.unwrap_or(self.spreads.len() - 1), f64::from_bits(bits))
            }
            other => Source::Own(Stream::new(other)?),
        };
        self.sources.push(source);
        self.tiles.push([0.0; TILE_BARS]);
        self.places.insert(series, self.tiles.len() - 1);
        Ok(self.tiles.len() - 1)
    }

    fn place(&mut self, test: Test) -> Result<Place, SweepError> {
        Ok(Place { above: self.series(test.above)?, below: self.series(test.below)?, is_negated: test.is_negated })
    }

    fn fill(&mut self, bars: &Bars, from: usize, to: usize) {
        self.spreads.iter_mut().for_each(|spread| spread.fill(bars, from, to));
        for (source, tile) in self.sources.iter_mut().zip(&mut self.tiles) {
            match source {
                Source::Own(stream) => stream.fill(bars, from, to, tile),
                Source::Band(spread, deviations) => self.spreads[*spread].band(*deviations, tile),
            }
        }
    }

    fn bits(&self, greater: Greater, place: Place) -> Bits {
        let bits = greater.bits(&self.tiles[place.above], &self.tiles[place.below]);
        if place.is_negated { bits.map(|word| !word) } else { bits }
    }
}

/// A lane with its places and its books.
struct Row {
    long: Place,
    rest: [Place; 3],
    first: usize,
    stop: f64,
    stop_at: Option<usize>,
    target: f64,
    can_reverse: bool,
}

struct Part<'a> {
    rows: Vec<Row>,
    accounts: Vec<Account>,
    diaries: Vec<Diary>,
    bank: Bank,
    /// Rows that take the short way, in groups that compare with one series.
    groups: Vec<Range<usize>>,
    /// Rows before this one take the general way.
    general: usize,
    greater: Greater,
    terms: &'a Terms,
}

fn run_part(
    bars: &Bars,
    trade_from: usize,
    lanes: &[Lane],
    terms: &Terms,
    pace: Pace<'_>,
) -> Result<Vec<(usize, Outcome)>, SweepError> {
    let mut part = Part::new(lanes, trade_from, terms, pace.width)?;
    let mut prices = TilePrices::new(*terms);
    let mut from = 0;
    while from < bars.len() {
        if pace.stop.load(Ordering::Relaxed) {
            return Err(SweepError::Stopped);
        }
        let to = bars.len().min(from + TILE_BARS);
        part.bank.fill(bars, from, to);
        prices.fill(bars, from, to, trade_from);
        part.general_way(&prices, from);
        if terms.has_daily {
            part.short_way::<true>(&prices, from);
        } else {
            part.short_way::<false>(&prices, from);
        }
        pace.done.fetch_add(((to - from) * lanes.len()) as u64, Ordering::Relaxed);
        from = to;
    }
    let last = bars.close().last().copied().unwrap_or(f64::NAN);
    let outcome = |((lane, account), diary): ((&Lane, &Account), &Diary)| {
        (lane.index, account.outcome(terms.cash, last, diary.daily))
    };
    Ok(lanes.iter().zip(&part.accounts).zip(&part.diaries).map(outcome).collect())
}

#[allow(clippy::indexing_slicing, reason = "rows, accounts and diaries have one length; groups are ranges of them")]
impl<'a> Part<'a> {
    fn new(lanes: &[Lane], trade_from: usize, terms: &'a Terms, width: Width) -> Result<Self, SweepError> {
        let mut bank = Bank::default();
        let mut rows = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let signals = lane.signals;
            let long = bank.place(signals.long)?;
            let rest = if lane.is_short_way {
                [long; 3]
            } else {
                [bank.place(signals.long_exit)?, bank.place(signals.short)?, bank.place(signals.short_exit)?]
            };
            let stop_at = lane.stop_at.map(|series| bank.series(series)).transpose()?;
            let first = signals.first.max(trade_from);
            let Lane { stop, target, .. } = *lane;
            rows.push(Row { long, rest, first, stop, stop_at, target, can_reverse: signals.can_reverse });
        }
        let general = lanes.iter().filter(|lane| !lane.is_short_way).count();
        let mut groups: Vec<Range<usize>> = Vec::new();
        for at in general..rows.len() {
            match groups.last_mut() {
                Some(group) if group.len() < BLOCK && rows[group.start].long.below == rows[at].long.below => {
                    group.end = at + 1;
                }
                _ => groups.push(at..at + 1),
            }
        }
        Ok(Self {
            accounts: vec![Account::new(terms.cash); rows.len()],
            diaries: vec![Diary { day_equity: terms.cash, ..Diary::default() }; rows.len()],
            rows,
            bank,
            groups,
            general,
            greater: Greater::new(width),
            terms,
        })
    }

    /// First bar of the tile whose signal counts, and the bits below it that are taken as off.
    fn begin(&self, row: usize, from: usize) -> (usize, usize) {
        let first = self.rows[row].first;
        match self.terms.beginning {
            Beginning::AwaitCross => ((first + 1).saturating_sub(from), 0),
            Beginning::AtOnce => (first.saturating_sub(from), first.saturating_sub(from)),
        }
    }

    fn short_way<const DAILY: bool>(&mut self, prices: &TilePrices, from: usize) {
        for group in &self.groups {
            let below = &self.bank.tiles[self.rows[group.start].long.below];
            let above = |at: usize| &self.bank.tiles[self.rows[(group.start + at).min(group.end - 1)].long.above];
            let mut bits = if group.len() == 1 {
                let [none, ..] = [[0; TILE_WORDS]; BLOCK];
                [self.greater.bits(above(0), below), none, none, none]
            } else {
                self.greater.block(std::array::from_fn(above), below)
            };
            for (row, bits) in group.clone().zip(&mut bits) {
                let (account, diary) = (&mut self.accounts[row], &mut self.diaries[row]);
                let Row { first, long, .. } = self.rows[row];
                if long.is_negated {
                    *bits = bits.map(|word| !word);
                }
                if from + prices.bars <= first {
                    if DAILY {
                        cross::end_days((account.cash, 0.0), diary, prices, &mut 0, prices.bars);
                    }
                    continue;
                }
                let start = match self.terms.beginning {
                    Beginning::AwaitCross => (first + 1).saturating_sub(from),
                    Beginning::AtOnce => {
                        clear_below(bits, first.saturating_sub(from));
                        first.saturating_sub(from)
                    }
                };
                cross::step::<DAILY>(account, diary, bits, start, prices);
            }
        }
    }

    fn general_way(&mut self, prices: &TilePrices, from: usize) {
        let has_short = self.terms.sides == Sides::LongShort;
        for row in 0..self.general {
            let (start, off) = self.begin(row, from);
            let Row { long, rest: [long_exit, short, short_exit], first, stop, stop_at, target, can_reverse } =
                self.rows[row];
            if from + prices.bars <= first {
                let cash = self.accounts[row].cash;
                cross::end_days((cash, 0.0), &mut self.diaries[row], prices, &mut 0, prices.bars);
                continue;
            }
            let of = |place: Place| self.bank.bits(self.greater, place);
            let none = [0; TILE_WORDS];
            let mut signals = TileSignals {
                long: of(long),
                long_exit: of(long_exit),
                short: if has_short { of(short) } else { none },
                short_exit: if has_short { of(short_exit) } else { none },
            };
            clear_below(&mut signals.long, off);
            clear_below(&mut signals.short, off);
            let exits = Exits { stop, stop_at: stop_at.map(|at| &self.bank.tiles[at]), target, can_reverse };
            walk::step(&mut self.accounts[row], &mut self.diaries[row], &signals, start, exits, prices);
        }
    }
}

/// Bits below `from` become 0.
fn clear_below(bits: &mut Bits, from: usize) {
    for (at, word) in bits.iter_mut().enumerate() {
        if from > at * 64 {
            *word &= u64::MAX.checked_shl((from - at * 64) as u32).unwrap_or(0);
        }
    }
}
