//! Bounded histories for statistics: prices by instrument, results of trades. Floats live here and end here.

use keel_model::{InstrumentId, Notional, Price, Timestamp};
use std::collections::VecDeque;
use std::time::Duration;

/// Most points of one history: a trading year of days.
pub const POINTS_MAX: usize = 252;
/// Least returns that a volatility is worth something with.
pub const RETURNS_MIN: usize = 20;
/// Least trades that Kelly's bet is worth something with.
pub const TRADES_MIN: usize = 20;

/// Returns of one instrument, from bar to bar; the last [`POINTS_MAX`] count, the oldest leaves first.
#[derive(Clone, Debug, Default)]
pub struct PriceHistory {
    last: Option<Price>,
    returns: VecDeque<f64>,
}

impl PriceHistory {
    /// Empty, with room for all points.
    #[must_use]
    pub fn new() -> Self {
        Self { last: None, returns: VecDeque::with_capacity(POINTS_MAX) }
    }

    /// Takes the price at the end of a bar. A price that is not positive breaks the row: no return is made up across it.
    pub fn push(&mut self, price: Price) {
        let before = self.last.take();
        if !price.is_positive() {
            return;
        }
        self.last = Some(price);
        let Some(before) = before else { return };
        let change = (price.to_f64() / before.to_f64()).ln();
        if !change.is_finite() {
            return;
        }
        if self.returns.len() >= POINTS_MAX {
            self.returns.pop_front();
        }
        self.returns.push_back(change);
    }

    /// How many returns are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.returns.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.returns.is_empty()
    }

    /// Standard deviation of one bar's return; `None` with fewer than [`RETURNS_MIN`], or when nothing moved.
    #[must_use]
    pub fn volatility(&self) -> Option<f64> {
        if self.returns.len() < RETURNS_MIN {
            return None;
        }
        let count = self.returns.len() as f64;
        let mean = self.returns.iter().sum::<f64>() / count;
        let squares: f64 = self.returns.iter().map(|it| (it - mean) * (it - mean)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        (deviation.is_finite() && deviation > 0.0).then_some(deviation)
    }
}

/// Price histories by instrument. An instrument that was not heard of for a while is forgotten.
#[derive(Clone, Debug)]
pub struct Histories {
    all: Vec<(InstrumentId, Timestamp, PriceHistory)>,
    stale_after: Duration,
}

impl Histories {
    /// Forgets an instrument this long after its last price.
    #[must_use]
    pub const fn new(stale_after: Duration) -> Self {
        Self { all: Vec::new(), stale_after }
    }

    /// Takes the price at the end of a bar, and forgets what is stale.
    pub fn push(&mut self, id: InstrumentId, price: Price, now: Timestamp) {
        self.evict(now);
        match self.all.iter_mut().find(|(known, _, _)| *known == id) {
            Some((_, ts, history)) => {
                *ts = now;
                history.push(price);
            }
            None => {
                let mut history = PriceHistory::new();
                history.push(price);
                self.all.push((id, now, history));
            }
        }
    }

    /// Forgets instruments that were not heard of for too long.
    pub fn evict(&mut self, now: Timestamp) {
        self.all.retain(|(_, ts, _)| now.since(*ts) <= self.stale_after);
    }

    /// The history of an instrument.
    #[must_use]
    pub fn get(&self, id: InstrumentId) -> Option<&PriceHistory> {
        self.all.iter().find(|(known, _, _)| *known == id).map(|(_, _, history)| history)
    }

    /// How many instruments are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// How trades went: how often they earn, and how much for how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// Share of trades that earn, from 0 to 1.
    pub win_rate: f64,
    /// Average gain over average loss.
    pub payoff: f64,
}

impl Edge {
    /// Kelly's fraction `w - (1 - w) / r`; negative where trades do not earn, `None` where the statistic is none.
    #[must_use]
    pub fn kelly_fraction(&self) -> Option<f64> {
        let is_share = (0.0..=1.0).contains(&self.win_rate);
        let is_payoff = self.payoff.is_finite() && self.payoff > 0.0;
        (is_share && is_payoff).then(|| self.win_rate - (1.0 - self.win_rate) / self.payoff)
    }
}

/// Results of trades; the last [`POINTS_MAX`] count, the oldest leaves first. Sums are exact.
#[derive(Clone, Debug, Default)]
pub struct TradeHistory {
    results: VecDeque<Notional>,
}

impl TradeHistory {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self { results: VecDeque::with_capacity(POINTS_MAX) }
    }

    /// Takes the profit of a trade, fees subtracted.
    pub fn push(&mut self, profit: Notional) {
        if self.results.len() >= POINTS_MAX {
            self.results.pop_front();
        }
        self.results.push_back(profit);
    }

    /// How many trades are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// How they went; `None` with fewer than [`TRADES_MIN`], or without a single gain or loss to measure by.
    #[must_use]
    pub fn edge(&self) -> Option<Edge> {
        if self.results.len() < TRADES_MIN {
            return None;
        }
        let sum_of = |is_wanted: fn(&Notional) -> bool| {
            let mut wanted = self.results.iter().filter(|it| is_wanted(it));
            let count = self.results.iter().filter(|it| is_wanted(it)).count();
            wanted.try_fold(Notional::ZERO, |sum, it| sum.checked_add(*it)).ok().map(|sum| (count, sum.to_f64().abs()))
        };
        let (wins, gained) = sum_of(|it| it.is_positive())?;
        let (losses, lost) = sum_of(|it| it.is_negative())?;
        if wins == 0 || losses == 0 {
            return None;
        }
        let payoff = (gained / wins as f64) / (lost / losses as f64);
        Some(Edge { win_rate: wins as f64 / self.results.len() as f64, payoff })
    }
}
