//! Fewer points for a chart, without losing what matters: the first, the last, and the lowest and highest of each stretch of
//! time stay exactly as they were.

use crate::run::Bar;

/// Keeps at most `2·buckets + 2` of `points` (time in nanoseconds, value; in the order of time): the first, the last, and of
/// each of `buckets` equal stretches of time the lowest and the highest. Values that are not finite are left out.
#[must_use]
pub fn extremes(points: &[(i64, f64)], buckets: usize) -> Vec<(i64, f64)> {
    let finite: Vec<(i64, f64)> = points.iter().copied().filter(|point| point.1.is_finite()).collect();
    let (Some(first), Some(last)) = (finite.first().copied(), finite.last().copied()) else { return Vec::new() };
    if finite.len() <= buckets.saturating_mul(2).saturating_add(2) {
        return finite;
    }
    let mut kept = Vec::with_capacity(buckets * 2 + 2);
    kept.push(first);
    for stretch in stretches(&finite, buckets, |point| point.0) {
        let lowest = stretch.iter().copied().reduce(|best, point| if point.1 < best.1 { point } else { best });
        let highest = stretch.iter().copied().reduce(|best, point| if point.1 > best.1 { point } else { best });
        let (Some(lowest), Some(highest)) = (lowest, highest) else { continue };
        let (early, late) = if lowest.0 <= highest.0 { (lowest, highest) } else { (highest, lowest) };
        push_new(&mut kept, early);
        push_new(&mut kept, late);
    }
    push_new(&mut kept, last);
    kept
}

/// Joins bars until at most `count_max` are left: first open, highest high, lowest low, last close and its time.
#[must_use]
pub fn joined(bars: &[Bar], count_max: usize) -> Vec<Bar> {
    if bars.len() <= count_max {
        return bars.to_vec();
    }
    let join = |stretch: &[Bar]| {
        let mut bars = stretch.iter().copied();
        let first = bars.next()?;
        Some(bars.fold(first, |all, bar| Bar {
            ts_ns: bar.ts_ns,
            open: all.open,
            high: all.high.max(bar.high),
            low: all.low.min(bar.low),
            close: bar.close,
        }))
    };
    stretches(bars, count_max, |bar| bar.ts_ns).filter_map(join).collect()
}

/// Every n-th of `items`, so that at most `count_max` are left; and n.
#[must_use]
pub fn every_nth<T: Clone>(items: &[T], count_max: usize) -> (Vec<T>, usize) {
    let step = items.len().div_ceil(count_max.max(1)).max(1);
    (items.iter().step_by(step).cloned().collect(), step)
}

fn push_new(kept: &mut Vec<(i64, f64)>, point: (i64, f64)) {
    if kept.last().is_none_or(|last| last.0 != point.0 || last.1.to_bits() != point.1.to_bits()) {
        kept.push(point);
    }
}

/// The items of each of `count` equal stretches of time, those without any left out.
fn stretches<T>(items: &[T], count: usize, time: impl Fn(&T) -> i64) -> impl Iterator<Item = &[T]> {
    let from = items.first().map_or(0, &time);
    let span = items.last().map_or(0, &time).saturating_sub(from).max(1);
    let count = i128::try_from(count.max(1)).unwrap_or(1);
    let place = move |item: &T| {
        let at = i128::from(time(item).saturating_sub(from));
        (at * count / i128::from(span)).min(count - 1)
    };
    items.chunk_by(move |a, b| place(a) == place(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_stay_as_they_are() {
        let points = [(0, 1.0), (1, f64::NAN), (2, 3.0)];
        assert_eq!(extremes(&points, 10), [(0, 1.0), (2, 3.0)]);
        assert_eq!(extremes(&[], 10), []);
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn many_points_keep_the_ends_the_lowest_and_the_highest() {
        let points: Vec<(i64, f64)> = (0..100_000)
            .map(|at| {
                let spike = match at {
                    33_333 => 900.0,
                    77_777 => -900.0,
                    _ => 0.0,
                };
                (at * 7, (at as f64 / 500.0).sin() + spike)
            })
            .collect();
        let kept = extremes(&points, 500);
        assert!(kept.len() <= 1_002, "{}", kept.len());
        assert_eq!((kept[0], *kept.last().unwrap()), (points[0], *points.last().unwrap()));
        assert!(kept.contains(&points[33_333]) && kept.contains(&points[77_777]));
        assert!(kept.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn joined_bars_keep_highs_lows_and_ends() {
        let bars: Vec<Bar> = (0..10_007)
            .map(|at| {
                let base = at as f64;
                Bar { ts_ns: at, open: base, high: base + 2.0, low: base - 2.0, close: base + 1.0 }
            })
            .collect();
        let joined = joined(&bars, 100);
        assert!(joined.len() <= 100);
        assert_eq!((joined[0].open, joined[0].low), (0.0, -2.0));
        let last = joined.last().unwrap();
        assert_eq!((last.close, last.high, last.ts_ns), (10_007.0, 10_008.0, 10_006));
        assert!(joined.windows(2).all(|pair| pair[0].close == pair[1].open));
    }

    #[test]
    fn gaps_leave_no_empty_bars_and_one_instant_is_one_stretch() {
        let bar = |ts_ns| Bar { ts_ns, open: 1.0, high: 1.0, low: 1.0, close: 1.0 };
        let bars: Vec<Bar> = (0..10).chain(1_000..1_010).map(bar).collect();
        assert_eq!(joined(&bars, 10).len(), 2);
        assert_eq!(joined(&[bar(5); 20], 10).len(), 1);
        assert_eq!(every_nth(&[1, 2, 3, 4, 5], 2), (vec![1, 4], 3));
        assert_eq!(every_nth::<u8>(&[], 2), (vec![], 1));
    }
}
