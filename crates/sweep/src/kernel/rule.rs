//! Rules, terms and outcomes: the language between sweeps and backends.

use super::series::Series;
use crate::SweepError;
use serde::{Deserialize, Serialize};

/// When to be in the market; each has the signals of [`Rule::signals`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Long while the fast simple average is above the slow one.
    SmaCross {
        /// Bars of the fast average.
        fast: usize,
        /// Bars of the slow average.
        slow: usize,
    },
    /// Long while the fast exponential average is above the slow one.
    EmaCross {
        /// Bars of the fast average.
        fast: usize,
        /// Bars of the slow average.
        slow: usize,
    },
    /// Long while the fast average is above the slow one, both begun with the first close instead of a mean.
    EmaFlip {
        /// Bars of the fast average.
        fast: usize,
        /// Bars of the slow average.
        slow: usize,
        /// The first bar that is looked at, from 0.
        first: usize,
        /// Is it long while the two are equal?
        is_long_at_equal: bool,
    },
    /// Long from RSI below `oversold` until it is above `overbought`; short the other way round.
    Rsi {
        /// Bars of the index.
        period: usize,
        /// Lower threshold, 0 to 100.
        oversold: f64,
        /// Upper threshold, 0 to 100.
        overbought: f64,
    },
    /// Long from a close above the upper band until one below the middle; short the other way round, but not in the bar that
    /// leaves.
    Bollinger {
        /// Bars of the bands.
        period: usize,
        /// Distance of the bands in deviations.
        width: f64,
    },
    /// Long from a close above the highest high of `entry` bars before until one below the lowest low of `exit` bars before;
    /// short the other way round.
    Breakout {
        /// Bars of the channel that is entered from.
        entry: usize,
        /// Bars of the channel that is left by.
        exit: usize,
    },
}

/// True while one series is above another, or while it is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// This one …
    pub above: Series,
    /// … is above this one …
    pub below: Series,
    /// … or is not.
    pub is_negated: bool,
}

/// What enters and leaves: entries count where they turn true, exits while they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signals {
    /// Enters long.
    pub long: Test,
    /// Leaves long.
    pub long_exit: Test,
    /// Enters short.
    pub short: Test,
    /// Leaves short.
    pub short_exit: Test,
    /// The first bar at which the series say something.
    pub first: usize,
    /// May the bar that leaves by its signal enter the other side?
    pub can_reverse: bool,
}

const fn when(above: Series, below: Series) -> Test {
    Test { above, below, is_negated: false }
}

impl Rule {
    /// The comparisons that it consists of.
    #[must_use]
    pub fn signals(&self) -> Signals {
        let cross = |fast: Series, slow: Series, first: usize| {
            let up = when(fast, slow);
            let down = Test { is_negated: true, ..up };
            Signals { long: up, long_exit: down, short: down, short_exit: up, first, can_reverse: true }
        };
        match *self {
            Self::SmaCross { fast, slow } => cross(Series::Sma(fast), Series::Sma(slow), fast.max(slow) - 1),
            Self::EmaCross { fast, slow } => cross(Series::Ema(fast), Series::Ema(slow), fast.max(slow) - 1),
            Self::EmaFlip { fast, slow, first, is_long_at_equal } => {
                let (fast, slow) = (Series::EmaFromFirst(fast), Series::EmaFromFirst(slow));
                let (up, down) = (when(fast, slow), when(slow, fast));
                let not = |test: Test| Test { is_negated: !test.is_negated, ..test };
                let up = if is_long_at_equal { not(down) } else { up };
                Signals { long: up, long_exit: not(up), short: not(up), short_exit: up, first, can_reverse: true }
            }
            Self::Rsi { period, oversold, overbought } => {
                let rsi = Series::Rsi(period);
                let (low, high) = (when(Series::constant(oversold), rsi), when(rsi, Series::constant(overbought)));
                Signals { long: low, long_exit: high, short: high, short_exit: low, first: period, can_reverse: true }
            }
            Self::Bollinger { period, width } => {
                let band = |deviations: f64| Series::band(period, deviations);
                Signals {
                    long: when(Series::Close, band(width)),
                    long_exit: when(band(0.0), Series::Close),
                    short: when(band(-width), Series::Close),
                    short_exit: when(Series::Close, band(0.0)),
                    first: period - 1,
                    can_reverse: false,
                }
            }
            Self::Breakout { entry, exit } => Signals {
                long: when(Series::Close, Series::Highest(entry)),
                long_exit: when(Series::Lowest(exit), Series::Close),
                short: when(Series::Lowest(entry), Series::Close),
                short_exit: when(Series::Close, Series::Highest(exit)),
                first: entry.max(exit),
                can_reverse: true,
            },
        }
    }

    fn check(&self) -> Result<(), SweepError> {
        let bad = |cause: String| Err(SweepError::BadTerms(cause));
        let windows = match *self {
            Self::SmaCross { fast, slow } | Self::EmaCross { fast, slow } | Self::EmaFlip { fast, slow, .. } => {
                [fast, slow]
            }
            Self::Rsi { period, .. } | Self::Bollinger { period, .. } => [period, period],
            Self::Breakout { entry, exit } => [entry, exit],
        };
        if let Some(window) = windows.into_iter().find(|window| !(1..=Series::WINDOW_MAX).contains(window)) {
            return bad(format!("a window of {window} bars is not possible; from 1 to {}", Series::WINDOW_MAX));
        }
        match *self {
            Self::Rsi { oversold, overbought, .. } if !(oversold.is_finite() && overbought.is_finite()) => {
                bad(format!("thresholds {oversold} and {overbought} of an RSI are not both numbers"))
            }
            Self::Bollinger { width, .. } if !(width.is_finite() && width >= 0.0) => {
                bad(format!("a width of {width} deviations is not possible"))
            }
            _ => Ok(()),
        }
    }
}

/// One set of parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combination {
    /// When to be in the market.
    pub rule: Rule,
    /// Leaves at this share of the entry price against the position; 0: no stop.
    pub stop: f64,
    /// Leaves at the value that this series had where the entry was decided, instead of at a share.
    pub stop_at: Option<Series>,
    /// Leaves at this share of the entry price for the position; 0: no target.
    pub target: f64,
}

impl Combination {
    /// A rule alone.
    #[must_use]
    pub const fn plain(rule: Rule) -> Self {
        Self { rule, stop: 0.0, stop_at: None, target: 0.0 }
    }

    /// Can a kernel carry it out?
    ///
    /// # Errors
    /// What is wrong with which value.
    pub fn check(&self) -> Result<(), SweepError> {
        let is_share = |value: f64| value.is_finite() && value >= 0.0;
        if !is_share(self.stop) || self.stop >= 1.0 || !is_share(self.target) {
            return Err(SweepError::BadTerms(format!(
                "a stop of {} and a target of {} are not shares of a price; the stop must be below 1",
                self.stop, self.target
            )));
        }
        self.rule.check()
    }
}

/// Which positions are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Long or nothing.
    LongOnly,
    /// Long, short or nothing.
    LongShort,
}

/// How large a position is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// All the money that there is, fee included; a short position of the same value.
    AllIn,
    /// A fixed quantity. Unit: base asset.
    Quantity(f64),
    /// A fixed value, in whole steps of the quantity.
    Notional {
        /// Value. Unit: quote asset.
        value: f64,
        /// Step of the quantity; 0: none. Unit: base asset.
        step: f64,
    },
}

/// Where an order fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillAt {
    /// At the close that decided.
    Close,
    /// At the open that follows; what the last close decides is not filled.
    NextOpen,
}

/// What a signal that is there from the first bar means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing: wait until it has been off.
    AwaitCross,
    /// Enter at once.
    AtOnce,
}

/// Under which terms all combinations of a job trade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Money at the beginning. Unit: quote asset.
    pub cash: f64,
    /// Share of the value of each fill.
    pub fee: f64,
    /// Share of the price that a market order loses.
    pub slippage: f64,
    /// Which positions.
    pub sides: Sides,
    /// How large.
    pub size: Size,
    /// Step of the price, on which stops lie, away from the position; 0: none.
    pub tick: f64,
    /// Where orders fill.
    pub fill: FillAt,
    /// What a signal at the beginning means.
    pub beginning: Beginning,
    /// Daily returns are wanted (Sharpe, Sortino and what else is made of them).
    pub has_daily: bool,
}

impl Terms {
    /// All in, long only, at the close, no costs.
    #[must_use]
    pub const fn new(cash: f64) -> Self {
        Self {
            cash,
            fee: 0.0,
            slippage: 0.0,
            tick: 0.0,
            sides: Sides::LongOnly,
            size: Size::AllIn,
            fill: FillAt::Close,
            beginning: Beginning::AwaitCross,
            has_daily: false,
        }
    }

    /// Can a kernel carry them out?
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), SweepError> {
        let is_rate = |value: f64| (0.0..1.0).contains(&value);
        let size = match self.size {
            Size::AllIn => 1.0,
            Size::Quantity(quantity) => quantity,
            Size::Notional { value, step } if step.is_finite() && step >= 0.0 => value,
            Size::Notional { .. } => f64::NAN,
        };
        if !is_rate(self.fee) || !is_rate(self.slippage) {
            let cause = format!("a fee of {} and a slippage of {} must be from 0 to below 1", self.fee, self.slippage);
            return Err(SweepError::BadTerms(cause));
        }
        if !(self.tick.is_finite() && self.tick >= 0.0) {
            return Err(SweepError::BadTerms(format!("a price step of {} is not possible", self.tick)));
        }
        if !(self.cash.is_finite() && self.cash > 0.0 && size.is_finite() && size > 0.0) {
            let cause = format!("money of {} and a size of {size} must be positive numbers", self.cash);
            return Err(SweepError::BadTerms(cause));
        }
        Ok(())
    }
}

/// Sums over daily returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Daily {
    /// Days.
    pub days: u32,
    /// Σ r, Σ r², Σ r³, Σ r⁴.
    pub powers: [f64; 4],
    /// Σ min(r, 0)².
    pub downside: f64,
}

impl Daily {
    /// One more day.
    #[inline]
    pub fn add(&mut self, r: f64) {
        self.days += 1;
        let square = r * r;
        self.powers[0] += r;
        self.powers[1] += square;
        self.powers[2] += square * r;
        self.powers[3] += square * square;
        self.downside += if r < 0.0 { square } else { 0.0 };
    }
}

/// What a combination came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Equity at the end by the beginning, less 1; −1 is a total loss.
    pub total_return: f64,
    /// Least equity by the peak before it, less 1; at the closes and exits.
    pub max_drawdown: f64,
    /// Orders, all filled.
    pub orders: u32,
    /// Closed trades.
    pub trades: u32,
    /// Closed trades that made something.
    pub wins: u32,
    /// Sum of what winning trades made. Unit: quote asset.
    pub gross_profit: f64,
    /// Sum of what losing trades lost, positive. Unit: quote asset.
    pub gross_loss: f64,
    /// Daily returns; nothing unless [`Terms::has_daily`].
    pub daily: Daily,
}
