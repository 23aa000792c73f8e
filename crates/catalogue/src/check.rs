//! What is wrong with rows, all of it: gaps, doubled rows, disorder, values that cannot be, jumps of the price. Counts are whole;
//! of places only the first of each kind are kept.

use crate::error::Place;
use crate::fixed::NOT_A_NUMBER;
use crate::series::Span;
use crate::sound::{Flaw, flaws, may_share_times};
use crate::table::{Dataset, Raw};
use crate::time;
use serde::Serialize;

/// Places of each kind that a report names.
const EXAMPLES_MAX: usize = 10;
/// Gaps that a report keeps; all are counted.
const GAPS_MAX: usize = 10_000;

/// How to check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckOptions {
    /// A jump is a price that differs from the one before by more than this fraction of it.
    pub jump: f64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { jump: 0.1 }
    }
}

/// Missing bars: from the end of one bar to the start of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The time without bars.
    pub span: Span,
    /// From the start of the bar before to the start of the bar behind.
    pub distance_ns: u64,
    /// Bars that would fit into it.
    pub bars: u64,
    /// Row (from 0) behind the gap.
    pub row: usize,
}

/// One thing that was looked for: how often, and where first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How often.
    pub count: u64,
    /// The first places: row or line of the file, with the time.
    pub first: Vec<String>,
}

impl Count {
    fn add(&mut self, place: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < EXAMPLES_MAX {
            self.first.push(place());
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows.
    pub rows: u64,
    /// Earliest time.
    pub first_ns: Option<u64>,
    /// Latest time.
    pub last_ns: Option<u64>,
    /// Where bars are missing, the first 10,000 of them; only between rows that are in order.
    pub gaps: Vec<Gap>,
    /// How many gaps.
    pub gaps_count: u64,
    /// Bars that are missing in all of them.
    pub bars_missing: u64,
    /// Rows with the time (and id) of the row before and the same values.
    pub doubled: Count,
    /// Rows with the time (and id) of the row before and other values.
    pub contradicting: Count,
    /// Rows before the row before them.
    pub disordered: Count,
    /// Bars that do not begin at a multiple of their length.
    pub misaligned: Count,
    /// Rows with a value that is no number.
    pub not_a_number: Count,
    /// Rows with a price of zero or less, or a quantity below zero.
    pub not_positive: Count,
    /// Bars with high below low or open or close outside; quotes with the bid above the ask.
    pub impossible: Count,
    /// Bars without volume; they occur in quiet markets.
    pub zero_volume: u64,
    /// Prices that jump.
    pub jumps: Count,
    /// Values with the noise of computed doubles, read as the short decimals beside them.
    pub noisy_values: u64,
}

impl Report {
    /// Can the rows be traded on as they are? Gaps, bars without volume and jumps happen in real markets.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let wrong = self.doubled.count
            + self.contradicting.count
            + self.disordered.count
            + self.misaligned.count
            + self.not_a_number.count
            + self.not_positive.count
            + self.impossible.count;
        wrong == 0
    }

    /// Gaps by the distance of the rows on both sides, the most frequent first: nanoseconds and how many; of the first 10,000 gaps.
    #[must_use]
    pub fn gap_distances(&self) -> Vec<(u64, u64)> {
        let mut counts = std::collections::BTreeMap::<u64, u64>::new();
        for gap in &self.gaps {
            *counts.entry(gap.distance_ns).or_default() += 1;
        }
        let mut distances: Vec<_> = counts.into_iter().collect();
        distances.sort_by_key(|(distance, count)| (std::cmp::Reverse(*count), *distance));
        distances
    }
}

/// Checks all rows of a file.
#[must_use]
pub fn check(raw: &Raw, options: &CheckOptions) -> Report {
    let data = &raw.data;
    let times = data.times();
    let mut report = Report {
        rows: data.len() as u64,
        first_ns: times.iter().min().copied(),
        last_ns: times.iter().max().copied(),
        noisy_values: raw.snapped,
        ..Report::default()
    };
    let place = |at: usize| told(raw.place(at), times.get(at).copied().unwrap_or(0));
    flaws(data, |at, flaw| {
        let count = match flaw {
            Flaw::NotANumber => &mut report.not_a_number,
            Flaw::NotPositive => &mut report.not_positive,
            Flaw::Impossible => &mut report.impossible,
        };
        count.add(|| place(at));
        true
    });
    order(data, &place, &mut report);
    if let Dataset::Bars(bars) = data {
        report.zero_volume = bars.volume.iter().filter(|volume| **volume == 0).count() as u64;
        // Weeks begin on Mondays, months on the first: only fixed lengths up to a day are multiples.
        let day = 86_400_000_000_000u64;
        let length = bars.interval.length_ns().filter(|length| day.is_multiple_of(*length));
        let is_odd = |open: u64| length.is_some_and(|length| !open.is_multiple_of(length));
        // A bar right behind another one begins as it did.
        let mut odd = times.first().is_some_and(|open| is_odd(*open));
        if odd {
            report.misaligned.add(|| place(0));
        }
        for (at, (open, next)) in times.iter().zip(times.iter().skip(1)).enumerate() {
            let end = bars.interval.close_ns(*open);
            if *next != end {
                odd = is_odd(*next);
                if *next > end {
                    gap(&mut report, at + 1, *open, Span::new(end, *next));
                }
            }
            if odd {
                report.misaligned.add(|| place(at + 1));
            }
        }
    }
    jumps(data, options.jump, &place, &mut report);
    report
}

fn told(place: Place, ts_ns: u64) -> String {
    format!("{place} ({})", time::iso(ts_ns))
}

fn gap(report: &mut Report, row: usize, open_ns: u64, span: Span) {
    let length = (span.from_ns - open_ns).max(1);
    let bars = (span.to_ns - span.from_ns) / length;
    report.gaps_count += 1;
    report.bars_missing += bars;
    if report.gaps.len() < GAPS_MAX {
        report.gaps.push(Gap { span, distance_ns: span.to_ns - open_ns, bars, row });
    }
}

/// Rows against the row before.
fn order(data: &Dataset, place: &impl Fn(usize) -> String, report: &mut Report) {
    let times = data.times();
    let shares = may_share_times(data);
    for (at, (before, now)) in times.iter().zip(times.iter().skip(1)).enumerate() {
        if now > before {
            continue;
        }
        if now < before {
            report.disordered.add(|| place(at + 1));
        } else if !shares {
            match same_row(data, at, at + 1) {
                true => report.doubled.add(|| place(at + 1)),
                false => report.contradicting.add(|| place(at + 1)),
            }
        } else if let Dataset::Trades(trades) = data
            && trades.trade_id.get(at) == trades.trade_id.get(at + 1)
        {
            match same_row(data, at, at + 1) {
                true => report.doubled.add(|| place(at + 1)),
                false => report.contradicting.add(|| place(at + 1)),
            }
        }
    }
}

fn same_row(data: &Dataset, a: usize, b: usize) -> bool {
    fn same<T: PartialEq>(column: &[T], a: usize, b: usize) -> bool {
        column.get(a) == column.get(b)
    }
    match data {
        Dataset::Bars(it) => {
            [&it.open, &it.high, &it.low, &it.close, &it.volume].iter().all(|column| same(column, a, b))
        }
        Dataset::Quotes(it) => {
            [&it.bid, &it.ask, &it.bid_quantity, &it.ask_quantity].iter().all(|column| same(column, a, b))
        }
        Dataset::Trades(it) => same(&it.price, a, b) && same(&it.quantity, a, b) && same(&it.is_sell, a, b),
        Dataset::Funding(it) => same(&it.rate, a, b),
        Dataset::Recording(_) => false,
    }
}

/// Prices that are further from the one before than `most` of it; bars side by side only.
fn jumps(data: &Dataset, most: f64, place: &impl Fn(usize) -> String, report: &mut Report) {
    let prices: &[i64] = match data {
        Dataset::Bars(bars) => &bars.close,
        Dataset::Quotes(quotes) => &quotes.bid,
        Dataset::Trades(trades) => &trades.price,
        Dataset::Funding(_) | Dataset::Recording(_) => return,
    };
    for (at, (before, now)) in prices.iter().zip(prices.iter().skip(1)).enumerate() {
        // After a gap the price may be anywhere.
        if let Dataset::Bars(bars) = data
            && bars
                .ts_open_ns
                .get(at)
                .zip(bars.ts_open_ns.get(at + 1))
                .is_some_and(|(a, b)| *b > bars.interval.close_ns(*a))
        {
            continue;
        }
        let distance = now.abs_diff(*before) as f64;
        if distance > most * *before as f64 && *before > 0 && *now != NOT_A_NUMBER {
            report.jumps.add(|| place(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::read_raw_text;

    fn checked(rows: &str) -> Report {
        let raw = read_raw_text(&format!("timestamp,open,high,low,close,volume\n{rows}")).unwrap();
        check(&raw, &CheckOptions::default())
    }

    #[test]
    fn each_fault_is_counted_and_named_with_its_line_and_time() {
        let report = checked(
            "2024-01-01 00:00,10,11,9,10,5\n\
             2024-01-01 00:01,10,11,9,10,0\n\
             2024-01-01 00:01,10,11,9,10,0\n\
             2024-01-01 00:01,10,11,9,10,1\n\
             2024-01-01 00:05,10,11,9,NaN,5\n\
             2024-01-01 00:06,10,9,11,10,5\n\
             2024-01-01 00:07,-1,11,9,10,5\n\
             2024-01-01 00:04,10,11,9,10,5\n\
             2024-01-01 00:05,20,21,19,20,5\n\
             2024-01-01 00:06:30,20,21,19,20,5\n",
        );
        let counts = [
            &report.doubled,
            &report.contradicting,
            &report.disordered,
            &report.not_a_number,
            &report.impossible,
            &report.not_positive,
            &report.misaligned,
            &report.jumps,
        ];
        assert!(counts.iter().all(|count| count.count == 1), "{report:#?}");
        assert_eq!(report.doubled.first, ["line 4 (2024-01-01T00:01:00Z)"]);
        assert_eq!(report.not_a_number.first, ["line 6 (2024-01-01T00:05:00Z)"]);
        assert_eq!(report.jumps.first, ["line 10 (2024-01-01T00:05:00Z)"]);
        assert_eq!((report.rows, report.zero_volume, report.is_sound()), (10, 2, false));
    }

    #[test]
    fn gaps_are_whole_missing_bars() {
        let report = checked(
            "2024-01-01 00:00,1,1,1,1,1\n2024-01-01 00:01,1,1,1,1,1\n2024-01-01 00:04,1,1,1,1,1\n2024-01-01 00:05,1,1,1,1,1\n",
        );
        let gap = report.gaps[0];
        assert_eq!((report.gaps_count, report.bars_missing, gap.bars, gap.row), (1, 2, 2, 2));
        assert_eq!(gap.span.to_string(), "2024-01-01T00:02:00Z to 2024-01-01T00:04:00Z");
        assert!(report.is_sound(), "gaps are no fault of the rows");
        assert_eq!(report.gap_distances(), [(180_000_000_000, 1)]);
    }
}
