//! Does a strategy decide the same when the future is cut off?
//!
//! The driver hands out one row at a time, so that a strategy cannot see what comes; but it may have got hold of the future by
//! another way, such as a table that an earlier run filled. So the data is cut off, really, at several moments; the runs begin
//! with the shortest, then comes the whole twice; and up to each cut every run must have decided the same. Decisions are what
//! leaves for the venue: orders with everything in them, and cancels, each with its time.
//!
//! What cannot be caught: a strategy that reads the future from outside the process, the same in every run.

use crate::job::{JobConfig, Rows, Series, run};
use crate::replay::BacktestError;
use crate::result::OrderLog;
use keel_marketdata::columns::{BarColumns, FundingColumns, QuoteColumns, TradeColumns};
use keel_model::{ClientOrderId, ExitPolicy, NewOrder, Timestamp};
use keel_strategy::Strategy;

/// Something that left for the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// An order.
    Order(NewOrder),
    /// A cancel, and when.
    Cancel(Timestamp, ClientOrderId),
}

impl Decision {
    /// When it was made.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Order(order) => order.ts_decided,
            Self::Cancel(at, _) => *at,
        }
    }
}

/// Two runs decided differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the decision, from zero.
    pub number: usize,
    /// What was decided with the future cut off.
    pub cut: Option<Decision>,
    /// What was decided with more of it there.
    pub more: Option<Decision>,
}

/// One moment at which the future was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last moment of the data; unit: nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Decisions until then.
    pub decisions: usize,
    /// The first difference to a run that had more of the future; `None` when there was none.
    pub difference: Option<Difference>,
}

/// The first decision, made by `at`, in which two runs differ.
#[must_use]
pub fn first_difference(cut: &[Decision], more: &[Decision], at: Timestamp) -> Option<Difference> {
    let by_then = |all: &[Decision]| all.iter().take_while(|one| one.at() <= at).count();
    let (cut, more) = (cut.get(..by_then(cut))?, more.get(..by_then(more))?);
    let number = (0..cut.len().max(more.len())).find(|number| cut.get(*number) != more.get(*number))?;
    Some(Difference { number, cut: cut.get(number).copied(), more: more.get(number).copied() })
}

/// Compares each run with every one that had more of the future; `runs` are (last moment, decisions), shortest first.
#[must_use]
pub fn compare(runs: &[(u64, Vec<Decision>)]) -> Vec<Cut> {
    let one = |(number, (at_ns, own)): (usize, &(u64, Vec<Decision>))| {
        let at = Timestamp::from_ns(*at_ns);
        let longer = runs.get(number + 1..).unwrap_or_default();
        let difference = longer.iter().find_map(|(_, more)| first_difference(own, more, at));
        Cut { at_ns: *at_ns, decisions: own.iter().take_while(|one| one.at() <= at).count(), difference }
    };
    runs.iter().enumerate().map(one).collect()
}

/// Moments that split the data into `cuts` + 1 parts of equally many rows of the longest series, and its end twice.
#[must_use]
pub fn moments(series: &[Series<'_>], cuts: usize) -> Vec<u64> {
    let Some(longest) = series.iter().max_by_key(|one| one.rows.len()) else { return Vec::new() };
    let rows = longest.rows.len();
    let at = |number: usize| longest.rows.due((rows * number / (cuts + 1)).max(1) - 1);
    let mut moments: Vec<u64> = (1..=cuts).filter_map(at).collect();
    moments.dedup();
    let last = series.iter().filter_map(|one| one.rows.due(one.rows.len().checked_sub(1)?)).max();
    moments.retain(|moment| Some(*moment) < last);
    moments.extend(last);
    moments.extend(last);
    moments
}

/// Runs with the future cut off at `cuts` moments and compares what was decided. `make` builds fresh strategies for each run.
pub fn check<E: From<BacktestError>>(
    config: &JobConfig,
    series: &[Series<'_>],
    cuts: usize,
    mut make: impl FnMut() -> Result<Vec<Box<dyn Strategy>>, E>,
) -> Result<Vec<Cut>, E> {
    let mut job = config.clone();
    job.has_log = true;
    // What the end does is no decision.
    job.replay.exit_policy = ExitPolicy::Keep;
    let mut runs = Vec::new();
    for moment in moments(series, cuts) {
        let owned: Vec<Owned> = series.iter().map(|one| Owned::until(&one.rows, moment)).collect();
        let part: Vec<Series<'_>> = series
            .iter()
            .zip(&owned)
            .map(|(one, owned)| Series { instrument: one.instrument, rows: owned.rows() })
            .collect();
        let result = run(job.clone(), &part, make()?, &|| 0.0)?;
        runs.push((moment, decisions(&result.log)));
    }
    Ok(compare(&runs))
}

/// Orders and cancels in the order of their times.
#[must_use]
pub fn decisions(log: &OrderLog) -> Vec<Decision> {
    let orders = log.orders.iter().map(|order| Decision::Order(*order));
    let cancels = log.cancels.iter().map(|(at, id)| Decision::Cancel(*at, *id));
    let mut all: Vec<Decision> = orders.chain(cancels).collect();
    all.sort_by_key(Decision::at);
    all
}

/// A series of which the future is not there.
#[derive(Debug)]
enum Owned {
    Bars(BarColumns),
    Quotes(QuoteColumns),
    Trades(TradeColumns),
    Funding(FundingColumns),
}

fn head<T: Copy>(column: &[T], rows: usize) -> Vec<T> {
    column.get(..rows).unwrap_or(column).to_vec()
}

impl Owned {
    fn until(rows: &Rows<'_>, moment: u64) -> Self {
        let count = (0..rows.len()).take_while(|at| rows.due(*at).is_some_and(|due| due <= moment)).count();
        match rows {
            Rows::Bars(bars) => Self::Bars(BarColumns {
                ts_open_ns: head(&bars.ts_open_ns, count),
                open: head(&bars.open, count),
                high: head(&bars.high, count),
                low: head(&bars.low, count),
                close: head(&bars.close, count),
                volume: head(&bars.volume, count),
                ..**bars
            }),
            Rows::Quotes(quotes) => Self::Quotes(QuoteColumns {
                ts_ns: head(&quotes.ts_ns, count),
                bid: head(&quotes.bid, count),
                ask: head(&quotes.ask, count),
                bid_quantity: head(&quotes.bid_quantity, count),
                ask_quantity: head(&quotes.ask_quantity, count),
                ..**quotes
            }),
            Rows::Trades(trades) => Self::Trades(TradeColumns {
                ts_ns: head(&trades.ts_ns, count),
                trade_id: head(&trades.trade_id, count),
                price: head(&trades.price, count),
                quantity: head(&trades.quantity, count),
                is_sell: head(&trades.is_sell, count),
                ..**trades
            }),
            Rows::Funding(funding) => Self::Funding(FundingColumns {
                ts_ns: head(&funding.ts_ns, count),
                rate: head(&funding.rate, count),
                ..**funding
            }),
        }
    }

    const fn rows(&self) -> Rows<'_> {
        match self {
            Self::Bars(bars) => Rows::Bars(bars),
            Self::Quotes(quotes) => Rows::Quotes(quotes),
            Self::Trades(trades) => Rows::Trades(trades),
            Self::Funding(funding) => Rows::Funding(funding),
        }
    }
}
