//! How long an order takes from the frame that caused it to the venue's answer, stage by stage.
//!
//! Times are of the run's clock, in nanoseconds. A stage that ends before it began (a clock that was set back) counts as
//! zero; a stage longer than a minute counts as a minute.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::fmt;

/// Longest time that is told apart; unit: nanoseconds.
const NS_MAX: u64 = 60_000_000_000;

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the receipt of the frame to the engine's decision.
    FrameToDecision = 0,
    /// From the decision until the intent is durable.
    DecisionToDurable = 1,
    /// From durable to signed bytes, right before the first one leaves.
    DurableToSigned = 2,
    /// From signed bytes to the venue's answer.
    SignedToAck = 3,
    /// From the receipt of the frame to the venue's answer.
    FrameToAck = 4,
}

const STAGES: [(Stage, &str); 5] = [
    (Stage::FrameToDecision, "frame → decision"),
    (Stage::DecisionToDurable, "decision → durable"),
    (Stage::DurableToSigned, "durable → signed"),
    (Stage::SignedToAck, "signed → ack"),
    (Stage::FrameToAck, "frame → ack"),
];

/// Figures of one stage; all times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSummary {
    /// Its name.
    pub name: &'static str,
    /// How many were measured; with none, the figures below mean nothing.
    pub count: u64,
    /// Half took at most this long.
    pub p50_ns: u64,
    /// 99 of 100 took at most this long.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Figures of all stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySummary {
    /// In the order of [`Stage`].
    pub stages: [StageSummary; 5],
}

impl LatencySummary {
    /// One stage.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> StageSummary {
        let [a, b, c, d, e] = self.stages;
        match stage {
            Stage::FrameToDecision => a,
            Stage::DecisionToDurable => b,
            Stage::DurableToSigned => c,
            Stage::SignedToAck => d,
            Stage::FrameToAck => e,
        }
    }
}

/// One stage as a histogram of upper bounds, for metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct StageBuckets {
    /// Its name.
    pub name: &'static str,
    /// Upper bounds in seconds, each with how many took at most as long.
    pub buckets: Vec<(f64, u64)>,
    /// All of them together; unit: seconds.
    pub sum_s: f64,
    /// How many were measured.
    pub count: u64,
}

/// Upper bounds of [`StageBuckets`]; unit: nanoseconds.
const BOUNDS_NS: [u64; 14] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Collects latencies; clones of an `Arc` of it are held by everything that measures.
pub struct LatencyRecorder {
    histograms: Mutex<[Histogram<u64>; 5]>,
}

impl fmt::Debug for LatencyRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyRecorder").field("summary", &self.summary()).finish()
    }
}

impl Default for LatencyRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyRecorder {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        // Automatic growth up to the bound of `record`; two digits are what a p99 can carry.
        let make = || {
            let mut histogram = Histogram::new_with_bounds(1, NS_MAX, 2)
                .unwrap_or_else(|_| unreachable!("the bounds are constants that the histogram accepts"));
            histogram.auto(false);
            histogram
        };
        Self { histograms: Mutex::new([make(), make(), make(), make(), make()]) }
    }

    /// Records one stage from `from_ns` to `to_ns`.
    pub fn record(&self, stage: Stage, from_ns: u64, to_ns: u64) {
        let took = to_ns.saturating_sub(from_ns).clamp(1, NS_MAX);
        let mut histograms = self.histograms.lock();
        if let Some(histogram) = histograms.get_mut(stage as usize) {
            histogram.saturating_record(took);
        }
    }

    /// The stages as histograms with fixed bounds.
    #[must_use]
    pub fn buckets(&self) -> Vec<StageBuckets> {
        let histograms = self.histograms.lock();
        let stages = STAGES.iter().filter_map(|(stage, name)| Some((*name, histograms.get(*stage as usize)?)));
        stages
            .map(|(name, histogram)| StageBuckets {
                name,
                buckets: BOUNDS_NS.map(|bound| (bound as f64 / 1e9, histogram.count_between(0, bound))).to_vec(),
                sum_s: if histogram.is_empty() { 0.0 } else { histogram.mean() * histogram.len() as f64 / 1e9 },
                count: histogram.len(),
            })
            .collect()
    }

    /// The figures so far.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let histograms = self.histograms.lock();
        let figure = |(stage, name): (Stage, &'static str)| {
            let empty = StageSummary { name, count: 0, p50_ns: 0, p99_ns: 0, max_ns: 0 };
            histograms.get(stage as usize).map_or(empty, |histogram| StageSummary {
                name,
                count: histogram.len(),
                p50_ns: histogram.value_at_quantile(0.50),
                p99_ns: histogram.value_at_quantile(0.99),
                max_ns: histogram.max(),
            })
        };
        LatencySummary { stages: STAGES.map(figure) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_cumulate_and_end_with_all() {
        let recorder = LatencyRecorder::new();
        for took_us in [1, 2, 40, 3_000, 30_000_000] {
            recorder.record(Stage::FrameToAck, 0, took_us * 1_000);
        }
        let stages = recorder.buckets();
        let last = stages.last().unwrap();
        assert_eq!((last.name, last.count), ("frame → ack", 5));
        assert!(last.buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        let below = |bound: f64| last.buckets.iter().find(|it| it.0 == bound).unwrap().1;
        assert_eq!((below(2.5e-6), below(5e-5), below(5e-3), below(10.0)), (2, 3, 4, 4));
        assert!((last.sum_s / 30.003_043 - 1.0).abs() < 0.01, "{}", last.sum_s);
        assert!(stages.iter().take(4).all(|stage| stage.count == 0 && stage.sum_s == 0.0));
    }

    #[test]
    fn stages_are_kept_apart_and_clocks_set_back_do_no_harm() {
        let recorder = LatencyRecorder::new();
        for took in 1..=100 {
            recorder.record(Stage::SignedToAck, 1_000, 1_000 + took * 1_000_000);
        }
        recorder.record(Stage::FrameToDecision, 500, 400);
        recorder.record(Stage::FrameToAck, 0, u64::MAX);
        let summary = recorder.summary();
        let ack = summary.stage(Stage::SignedToAck);
        assert_eq!(ack.count, 100);
        assert!((49_000_000..=51_000_000).contains(&ack.p50_ns) && (98_000_000..=101_000_000).contains(&ack.p99_ns));
        assert_eq!(summary.stage(Stage::FrameToDecision).max_ns, 1);
        assert!(summary.stage(Stage::FrameToAck).max_ns >= NS_MAX);
        assert_eq!(summary.stage(Stage::DecisionToDurable).count, 0);
    }
}
