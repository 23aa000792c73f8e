//! Can rows be traded on? The first one that cannot is an error; `check` counts them all.

use crate::error::CatalogueError;
use crate::fixed::NOT_A_NUMBER;
use crate::table::{Dataset, Raw};
use keel_marketdata::columns::{BarColumns, QuoteColumns};

/// What is wrong with a row by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// A value is NaN, infinite, null or missing.
    NotANumber,
    /// A price that is zero or less, or a quantity below zero.
    NotPositive,
    /// High below low, or open or close outside of them; bid above ask.
    Impossible,
}

impl Flaw {
    /// For people.
    #[must_use]
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NotANumber => "a value is no number (NaN, null or empty)",
            Self::NotPositive => "a price is zero or negative, or a quantity is negative",
            Self::Impossible => "high is below low, open or close lies outside of them, or bid is above ask",
        }
    }
}

/// The flaw of a bar.
#[inline]
pub(crate) fn bar_flaw(open: i64, high: i64, low: i64, close: i64, volume: i64) -> Option<Flaw> {
    let least = open.min(high).min(low).min(close);
    if least > 0 && volume >= 0 && high >= open.max(close) && low <= open.min(close) {
        return None;
    }
    Some(if least.min(volume) == NOT_A_NUMBER {
        Flaw::NotANumber
    } else if least <= 0 || volume < 0 {
        Flaw::NotPositive
    } else {
        Flaw::Impossible
    })
}

/// The flaw of a quote.
#[inline]
pub(crate) fn quote_flaw(bid: i64, ask: i64, bid_quantity: i64, ask_quantity: i64) -> Option<Flaw> {
    let (price, quantity) = (bid.min(ask), bid_quantity.min(ask_quantity));
    if price > 0 && quantity >= 0 && bid <= ask {
        return None;
    }
    Some(if price.min(quantity) == NOT_A_NUMBER {
        Flaw::NotANumber
    } else if price <= 0 || quantity < 0 {
        Flaw::NotPositive
    } else {
        Flaw::Impossible
    })
}

/// The flaw of a trade.
#[inline]
pub(crate) fn trade_flaw(price: i64, quantity: i64) -> Option<Flaw> {
    match price.min(quantity) {
        NOT_A_NUMBER => Some(Flaw::NotANumber),
        _ if price <= 0 || quantity < 0 => Some(Flaw::NotPositive),
        _ => None,
    }
}

/// Calls `hear` with the flaw of each row, in order, until it says that it has heard enough.
pub(crate) fn flaws(data: &Dataset, mut hear: impl FnMut(usize, Flaw) -> bool) {
    let mut go = |flaws: &mut dyn Iterator<Item = Option<Flaw>>| {
        for (at, flaw) in flaws.enumerate() {
            if let Some(flaw) = flaw
                && !hear(at, flaw)
            {
                return;
            }
        }
    };
    match data {
        Dataset::Bars(bars) => go(&mut bar_flaws(bars)),
        Dataset::Quotes(quotes) => go(&mut quote_flaws(quotes)),
        Dataset::Trades(trades) => {
            go(&mut trades.price.iter().zip(&trades.quantity).map(|(price, quantity)| trade_flaw(*price, *quantity)));
        }
        Dataset::Funding(funding) => {
            go(&mut funding.rate.iter().map(|rate| (*rate == NOT_A_NUMBER).then_some(Flaw::NotANumber)));
        }
        Dataset::Recording(_) => {}
    }
}

fn bar_flaws(bars: &BarColumns) -> impl Iterator<Item = Option<Flaw>> {
    let prices = bars.open.iter().zip(&bars.high).zip(bars.low.iter().zip(&bars.close));
    prices.zip(&bars.volume).map(|(((open, high), (low, close)), volume)| bar_flaw(*open, *high, *low, *close, *volume))
}

fn quote_flaws(quotes: &QuoteColumns) -> impl Iterator<Item = Option<Flaw>> {
    let prices = quotes.bid.iter().zip(&quotes.ask);
    let quantities = quotes.bid_quantity.iter().zip(&quotes.ask_quantity);
    prices
        .zip(quantities)
        .map(|((bid, ask), (bid_quantity, ask_quantity))| quote_flaw(*bid, *ask, *bid_quantity, *ask_quantity))
}

/// Can two rows of this kind have the same time?
pub(crate) const fn may_share_times(data: &Dataset) -> bool {
    matches!(data, Dataset::Quotes(_) | Dataset::Trades(_) | Dataset::Recording(_))
}

/// Refuses the first row that is out of order, doubled, no number or impossible.
pub(crate) fn refuse_unsound(raw: &Raw) -> Result<(), CatalogueError> {
    let refused = |at: usize, cause: String, remedy: &'static str| CatalogueError::Row {
        path: raw.path.clone(),
        place: raw.place(at),
        cause,
        remedy,
    };
    let times = raw.data.times();
    let shares = may_share_times(&raw.data);
    let later = times.iter().skip(1);
    if let Some(before) = times.iter().zip(later).position(|(a, b)| if shares { b < a } else { b <= a }) {
        let (this, last) = (times.get(before + 1), times.get(before));
        let cause = if this == last {
            "its time is that of the row before"
        } else {
            "its time is before that of the row before"
        };
        return Err(refused(
            before + 1,
            cause.into(),
            "see all of them with `launcher data check`; `launcher data import` puts rows in order and drops equal ones",
        ));
    }
    refuse_flaws(raw)
}

/// Refuses the first row that is no number or impossible.
pub(crate) fn refuse_flaws(raw: &Raw) -> Result<(), CatalogueError> {
    let mut first = None;
    flaws(&raw.data, |at, flaw| {
        first = Some((at, flaw));
        false
    });
    match first {
        Some((at, flaw)) => Err(CatalogueError::Row {
            path: raw.path.clone(),
            place: raw.place(at),
            cause: flaw.words().into(),
            remedy: "see all of them with `launcher data check`; correct or fetch the data",
        }),
        None => Ok(()),
    }
}
