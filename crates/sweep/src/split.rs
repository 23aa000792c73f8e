//! Which bars a search may see and which ones judge it: all, train and test, or a walk forward.

use crate::SweepError;
use crate::kernel::run::Stretch;

/// Bars that a search sees, and those after them that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Searched over.
    pub train: Stretch,
    /// Judged on; indicators warm up on the bars of `train`.
    pub test: Option<Stretch>,
}

/// The fewest bars of a train or test part.
pub const BARS_MIN: usize = 2;

/// Cuts `bars` bars: without a share everything is searched over; with `train` (0 to 1, both excluded) that share is searched
/// and the rest judges; with `forward` windows the same again and again, each test part following the one before, so that
/// together they are one unseen stretch (the share is 0.7 where none is given).
///
/// # Errors
/// A share outside 0 to 1, or windows so short that nothing is left.
pub fn windows(bars: usize, train: Option<f64>, forward: Option<u32>) -> Result<Vec<Window>, SweepError> {
    let all = Stretch { from: 0, trade_from: 0, to: bars };
    let bad = |cause: String| Err(SweepError::BadTerms(cause));
    if bars == 0 {
        return Err(SweepError::NoBars);
    }
    let share = match (train, forward) {
        (None, None) => return Ok(vec![Window { train: all, test: None }]),
        (share, _) => share.unwrap_or(0.7),
    };
    if !(share > 0.0 && share < 1.0) {
        return bad(format!("--train {share}: the share that is searched must lie between 0 and 1, such as 0.7"));
    }
    let count = forward.unwrap_or(1) as usize;
    if count == 0 {
        return bad("--walk-forward 0: give at least one window".to_owned());
    }
    // All of it is one train part and `count` test parts; train by test is share by rest.
    let test = (bars as f64 / (share / (1.0 - share) + count as f64)).floor() as usize;
    let first = bars.saturating_sub(test * count);
    if test < BARS_MIN || first < BARS_MIN {
        return bad(format!(
            "{bars} bars are too few for {count} windows with a share of {share}: a test part would have {test} bars; take fewer windows or more data"
        ));
    }
    let window = |at: usize| {
        let (from, middle) = (at * test, first + at * test);
        let to = middle + test;
        Window {
            train: Stretch { from, trade_from: from, to: middle },
            test: Some(Stretch { from, trade_from: middle, to }),
        }
    };
    Ok((0..count).map(window).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_parts_follow_each_other_without_gap_and_end_with_the_data() {
        for (bars, share, count) in [(1_000, 0.7, 1), (1_003, 0.5, 4), (99, 0.8, 7)] {
            let windows = windows(bars, Some(share), Some(count)).unwrap();
            assert_eq!(windows.len(), count as usize);
            for window in &windows {
                let test = window.test.unwrap();
                assert_eq!((window.train.to, window.train.from), (test.trade_from, test.from));
                let (train, test) = (window.train.to - window.train.from, test.to - test.trade_from);
                let got = train as f64 / (train + test) as f64;
                assert!((got - share).abs() < 0.15, "{bars} {share} {count}: {got}");
            }
            let tests: Vec<_> = windows.iter().filter_map(|window| window.test).collect();
            assert!(tests.windows(2).all(|pair| pair[0].to == pair[1].trade_from));
            assert_eq!(tests.last().unwrap().to, bars);
        }
    }

    #[test]
    fn no_share_is_everything_and_nonsense_is_refused() {
        assert_eq!(
            windows(10, None, None).unwrap(),
            [Window { train: Stretch { from: 0, trade_from: 0, to: 10 }, test: None }]
        );
        for (bars, share, count) in
            [(10, Some(1.0), None), (10, Some(0.0), None), (10, None, Some(0)), (10, None, Some(9))]
        {
            assert!(windows(bars, share, count).is_err(), "{bars} {share:?} {count:?}");
        }
        assert!(matches!(windows(0, None, None), Err(SweepError::NoBars)));
    }
}
