//! How long transactions took, by name.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time that is told apart; unit: microseconds.
const LONGEST_US: u64 = 600_000_000;

#[derive(Debug)]
struct Timing {
    histogram: Histogram<u64>,
    failures: u64,
}

/// One histogram per name; there are as many names as there are in the program.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    all: Mutex<BTreeMap<&'static str, Timing>>,
}

/// How long transactions of one name took.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TimingSummary {
    /// The name.
    pub name: &'static str,
    /// How many.
    pub count: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Half took less; unit: microseconds.
    pub p50_us: u64,
    /// 99 of 100 took less; unit: microseconds.
    pub p99_us: u64,
    /// The longest; unit: microseconds.
    pub max_us: u64,
}

impl Timings {
    pub(crate) fn record(&self, name: &'static str, took: Duration, is_ok: bool) {
        let mut all = self.all.lock();
        if !all.contains_key(name) {
            let Ok(histogram) = Histogram::new_with_bounds(1, LONGEST_US, 2) else { return };
            all.insert(name, Timing { histogram, failures: 0 });
        }
        if let Some(timing) = all.get_mut(name) {
            timing.histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US).max(1));
            timing.failures += u64::from(!is_ok);
        }
    }

    pub(crate) fn summary(&self) -> Vec<TimingSummary> {
        let summary = |(name, timing): (&&'static str, &Timing)| TimingSummary {
            name,
            count: timing.histogram.len(),
            failures: timing.failures,
            p50_us: timing.histogram.value_at_quantile(0.5),
            p99_us: timing.histogram.value_at_quantile(0.99),
            max_us: timing.histogram.max(),
        };
        self.all.lock().iter().map(summary).collect()
    }
}
