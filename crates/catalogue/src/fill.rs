//! What can be done about missing bars without a source: flat bars at the last close.

use crate::error::CatalogueError;
use keel_marketdata::columns::BarColumns;

/// Bars that filling may add; beyond it is an error, since a wrong time would ask for millions of years.
const FILLED_MAX: u64 = 100_000_000;

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
}
