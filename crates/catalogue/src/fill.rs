//! What is done about missing bars: nothing, flat bars at the last close, or bars from a source.

use crate::columns::Columns;
use crate::error::CatalogueError;
use crate::merge::{OnConflict, merge};
use crate::series::{SeriesKey, Span, missing, union};
use crate::table::Dataset;
use keel_marketdata::columns::BarColumns;

/// Bars that filling may add; beyond it is an error, since a wrong time would ask for millions of years.
const FILLED_MAX: u64 = 100_000_000;

/// What is done about missing bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// They stay missing.
    #[default]
    None,
    /// Flat bars at the last close, without volume.
    Forward,
}

/// Something that has bars which a file lacks: venue archives, a REST service.
pub trait BarSource {
    /// The rows of a series within `span`, in order and sound; none where there are none.
    ///
    /// Errors: a message for people, with cause and remedy.
    fn fetch(&mut self, key: &SeriesKey, span: Span) -> Result<Dataset, String>;
}

/// Puts flat bars at the last close, without volume, where bars are missing. Returns how many.
///
/// Errors: a month (whose length differs), or more than 100,000,000 bars.
pub fn fill_forward(bars: &mut BarColumns) -> Result<u64, CatalogueError> {
    let Some(length) = bars.interval.length_ns() else {
        return Err(CatalogueError::Series("bars of months are not filled; fill shorter ones".into()));
    };
    let pairs = bars.ts_open_ns.iter().zip(bars.ts_open_ns.iter().skip(1));
    let lacking: u64 = pairs.map(|(open, next)| (next.saturating_sub(*open) / length).saturating_sub(1)).sum();
    if lacking == 0 {
        return Ok(0);
    }
    if lacking > FILLED_MAX {
        return Err(CatalogueError::Series(format!(
            "{lacking} bars are missing, and at most {FILLED_MAX} are filled in; check the times of the data"
        )));
    }
    let mut filled = BarColumns::new(bars.interval, bars.price_scale, bars.quantity_scale);
    let rows = bars.open.iter().zip(&bars.high).zip(bars.low.iter().zip(&bars.close)).zip(&bars.volume);
    let mut last: Option<(u64, i64)> = None;
    for (open_ns, (((open, high), (low, close)), volume)) in bars.ts_open_ns.iter().zip(rows) {
        if let Some((before, price)) = last {
            let mut at = before + length;
            while at < *open_ns {
                push(&mut filled, at, [price; 4], 0);
                at += length;
            }
        }
        push(&mut filled, *open_ns, [*open, *high, *low, *close], *volume);
        last = Some((*open_ns, *close));
    }
    *bars = filled;
    Ok(lacking)
}

fn push(bars: &mut BarColumns, ts_open_ns: u64, [open, high, low, close]: [i64; 4], volume: i64) {
    bars.ts_open_ns.push(ts_open_ns);
    bars.open.push(open);
    bars.high.push(high);
    bars.low.push(low);
    bars.close.push(close);
    bars.volume.push(volume);
}

/// Puts what a source has into the gaps of `data` within `span`. Returns how many rows came.
pub fn fill_from(
    source: &mut dyn BarSource,
    key: &SeriesKey,
    data: Dataset,
    span: Span,
) -> Result<(Dataset, u64), CatalogueError> {
    let Dataset::Bars(bars) = &data else {
        return Err(CatalogueError::Series(format!("{key}: only bars have gaps that can be told")));
    };
    let held = bars.ts_open_ns.iter().map(|open| Span::new(*open, bars.interval.close_ns(*open))).collect();
    let gaps = missing(span, &union(held));
    let failed = |cause: String| CatalogueError::Series(format!("{key}: {cause}"));
    let Some(mut all) = Columns::of(data) else { return Err(failed("it is a recording".into())) };
    let mut came = 0;
    for gap in gaps {
        let Some(new) = Columns::of(source.fetch(key, gap).map_err(failed)?) else { continue };
        if new.kind != all.kind || new.interval != all.interval {
            return Err(failed("the source sent rows of another kind".into()));
        }
        let (merged, counts) = merge(all, new, OnConflict::Refuse).map_err(failed)?;
        all = merged;
        came += counts.new;
    }
    Ok((all.into_dataset(), came))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_marketdata::columns::Interval;

    const MINUTE: u64 = 60_000_000_000;

    fn bars(minutes: &[u64]) -> BarColumns {
        let mut bars = BarColumns::new(Interval::MINUTE_1, 2, 0);
        for minute in minutes {
            push(&mut bars, minute * MINUTE, [100 + *minute as i64; 4], 7);
        }
        bars
    }

    #[test]
    fn missing_bars_become_flat_ones_without_volume() {
        let mut filled = bars(&[1, 2, 5]);
        assert_eq!(fill_forward(&mut filled).unwrap(), 2);
        assert_eq!(filled.ts_open_ns, [1, 2, 3, 4, 5].map(|minute| minute * MINUTE));
        assert_eq!((&filled.close[..], &filled.volume[..]), (&[101, 102, 102, 102, 105][..], &[7, 7, 0, 0, 7][..]));
        assert_eq!(fill_forward(&mut filled).unwrap(), 0);
        let message = fill_forward(&mut bars(&[0, 300_000_000])).unwrap_err().to_string();
        assert!(message.contains("at most"), "{message}");
    }

    struct Has(BarColumns, Vec<Span>);

    impl BarSource for Has {
        fn fetch(&mut self, _: &SeriesKey, span: Span) -> Result<Dataset, String> {
            self.1.push(span);
            let mut part = BarColumns::new(self.0.interval, 2, 0);
            for (at, open) in self.0.ts_open_ns.iter().enumerate() {
                if (span.from_ns..span.to_ns).contains(open) {
                    push(&mut part, *open, [self.0.close[at]; 4], 7);
                }
            }
            Ok(Dataset::Bars(part))
        }
    }

    #[test]
    fn a_source_is_asked_for_the_gaps_only() {
        let key = "x/y/z/1m".parse().unwrap();
        let mut source = Has(bars(&[0, 1, 2, 3, 4, 5, 6]), Vec::new());
        let (data, came) =
            fill_from(&mut source, &key, Dataset::Bars(bars(&[1, 2, 5])), Span::new(0, 7 * MINUTE)).unwrap();
        assert_eq!((data, came), (Dataset::Bars(bars(&[0, 1, 2, 3, 4, 5, 6])), 4));
        let minute = |from: u64, to: u64| Span::new(from * MINUTE, to * MINUTE);
        assert_eq!(source.1, [minute(0, 1), minute(3, 5), minute(6, 7)]);
    }
}
