//! Several files of one series as one: equal rows are taken once and counted, contradicting ones are refused with both files and
//! the time. The order in which the files are named does not matter.

use crate::columns::Columns;
use crate::error::CatalogueError;
use crate::merge::{Clash, OnConflict, merge};
use crate::series::Span;
use crate::table::Dataset;
use crate::time;

/// Rows, and where they come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file or the series, as the user named it.
    pub name: String,
    /// Its rows, in order.
    pub data: Dataset,
}

/// The rows of one series, put together file by file.
#[derive(Clone, Debug)]
pub struct Joiner {
    columns: Columns,
    /// Names, with the first and the last time of each.
    sources: Vec<(String, u64, u64)>,
    doubled: u64,
}

impl Joiner {
    /// Begins with a first file; `None` for a recording, which is no columns.
    #[must_use]
    pub fn new(source: Source) -> Option<Self> {
        let columns = Columns::of(source.data)?;
        let ends = columns.ts.first().zip(columns.ts.last());
        let sources = ends.map(|(first, last)| (source.name, *first, *last)).into_iter().collect();
        Some(Self { columns, sources, doubled: 0 })
    }

    /// Are these rows of the same kind, and bars of the same length?
    #[must_use]
    pub fn fits(&self, data: &Dataset) -> bool {
        let interval = match data {
            Dataset::Bars(bars) => Some(bars.interval),
            _ => None,
        };
        !matches!(data, Dataset::Recording(_))
            && self.columns.kind.name() == data.name()
            && self.columns.interval == interval
    }

    /// Adds a file that fits. Errors: a row of a time (of trades: of an id) that another file has otherwise, values too fine to be
    /// held side by side.
    pub fn add(&mut self, source: Source) -> Result<(), CatalogueError> {
        let Source { name, data } = source;
        let Some(new) = Columns::of(data) else { return Ok(()) };
        let (total, span) = (new.len() as u64, (new.ts.first().copied(), new.ts.last().copied()));
        let old = std::mem::replace(&mut self.columns, Columns::none(new.kind, new.interval));
        match merge(old, new, OnConflict::Refuse) {
            Ok((columns, merged)) => {
                self.columns = columns;
                self.doubled += total - merged.new.min(total);
                if let (Some(first), Some(last)) = span {
                    self.sources.push((name, first, last));
                }
                Ok(())
            }
            Err(Clash::Rows { at_ns, old, new }) => {
                let has = |(_, first, last): &&(String, u64, u64)| (*first..=*last).contains(&at_ns);
                let other = self.sources.iter().find(has).or(self.sources.first());
                let other = other.map_or_else(String::new, |(name, _, _)| name.clone());
                Err(CatalogueError::Contradiction { old: other, new: name, time: time::iso(at_ns), values: [old, new] })
            }
            Err(clash @ Clash::Scales) => Err(CatalogueError::Series(format!("{name}: {clash}"))),
        }
    }

    /// Rows that were there more than once.
    #[must_use]
    pub const fn doubled(&self) -> u64 {
        self.doubled
    }

    /// All rows, in order.
    #[must_use]
    pub fn into_dataset(self) -> Dataset {
        self.columns.into_dataset()
    }
}

impl Dataset {
    /// The rows with times in `span` (of bars: their opens); a recording as it is.
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        let times = self.times();
        let from = times.partition_point(|ts| *ts < span.from_ns);
        let to = times.partition_point(|ts| *ts < span.to_ns).max(from);
        if (from, to) == (0, times.len()) {
            return self;
        }
        match Columns::of(self.clone()) {
            Some(columns) => columns.part(from, to).into_dataset(),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_marketdata::columns::{BarColumns, Interval};

    fn bars(rows: &[(u64, i64)]) -> Dataset {
        let column: Vec<i64> = rows.iter().map(|(_, close)| *close).collect();
        Dataset::Bars(BarColumns {
            ts_open_ns: rows.iter().map(|(minute, _)| minute * 60_000_000_000).collect(),
            open: column.clone(),
            high: column.clone(),
            low: column.clone(),
            close: column.clone(),
            volume: column,
            ..BarColumns::new(Interval::MINUTE_1, 2, 3)
        })
    }

    fn source(name: &str, rows: &[(u64, i64)]) -> Source {
        Source { name: name.into(), data: bars(rows) }
    }

    #[test]
    fn equal_rows_of_overlapping_files_are_taken_once_in_any_order() {
        let (a, b) = (source("a", &[(1, 10), (2, 20), (3, 30)]), source("b", &[(3, 30), (4, 40)]));
        for (first, second) in [(a.clone(), b.clone()), (b, a)] {
            let mut joiner = Joiner::new(first).unwrap();
            assert!(joiner.fits(&second.data));
            joiner.add(second.clone()).unwrap();
            joiner.add(second).unwrap();
            assert!(joiner.doubled() >= 3, "{}", joiner.doubled());
            assert_eq!(joiner.into_dataset(), bars(&[(1, 10), (2, 20), (3, 30), (4, 40)]));
        }
    }

    #[test]
    fn contradicting_rows_are_refused_with_both_files_and_the_time() {
        let mut joiner = Joiner::new(source("january", &[(1, 10), (2, 20)])).unwrap();
        joiner.add(source("february", &[(3, 30), (4, 40)])).unwrap();
        let error = joiner.add(source("other", &[(4, 41)])).unwrap_err().to_string();
        assert!(error.contains("february") && error.contains("other") && !error.contains("january"), "{error}");
        assert!(error.contains("1970-01-01T00:04:00Z") && error.contains("0.41"), "{error}");
    }

    #[test]
    fn bars_of_another_length_do_not_fit_and_a_span_cuts_at_the_opens() {
        let joiner = Joiner::new(source("a", &[(1, 10)])).unwrap();
        assert!(!joiner.fits(&Dataset::Bars(BarColumns::new(Interval::Seconds(3_600), 2, 3))));
        let cut = bars(&[(1, 10), (2, 20), (3, 30)]).within(Span::new(120_000_000_000, 180_000_000_000));
        assert_eq!(cut, bars(&[(2, 20)]));
    }
}
