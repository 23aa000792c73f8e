//! Watches the process's own resources: samples, a bounded history, graded alerts.
//!
//! It only tells; it never closes what somebody uses (S1-025, D15, D19).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::alert::{Alert, AlertHub, Severity};
use crate::clock::Clock;
use crate::error::LifecycleError;
use crate::ledger::{LeaseKind, ResourceLedger};
use crate::proc::ProcessSample;
use crate::supervisor::{TaskGroup, TaskHandle, TaskKind};

/// When the monitor samples and what it finds alarming. The defaults are S1-062…065.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonitorConfig {
    /// Time between samples.
    pub interval: Duration,
    /// Samples that are kept; the oldest is dropped.
    pub history_max: usize,
    /// Descriptors as a share of the soft limit: warning, error, critical.
    pub descriptors_ratio: [f64; 3],
    /// Resident memory in bytes: warning, error, critical.
    pub rss_bytes: [u64; 3],
    /// Threads: warning, error, critical.
    pub threads: [usize; 3],
    /// The same alert is not repeated within this time, unless it gets worse.
    pub cooldown: Duration,
}

/// Warning, error and critical of each figure, for reports (S1-050).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// Descriptors as a share of the soft limit.
    pub descriptors_ratio: [f64; 3],
    /// Resident memory; unit: bytes.
    pub rss_bytes: [u64; 3],
    /// Threads.
    pub threads: [usize; 3],
}

impl MonitorConfig {
    /// What it finds alarming.
    #[must_use]
    pub const fn thresholds(&self) -> Thresholds {
        Thresholds { descriptors_ratio: self.descriptors_ratio, rss_bytes: self.rss_bytes, threads: self.threads }
    }
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            history_max: 1000,
            descriptors_ratio: [0.70, 0.85, 0.95],
            rss_bytes: [1_500_000_000, 2_000_000_000, 2_500_000_000],
            threads: [200, 500, 1000],
            cooldown: Duration::from_secs(300),
        }
    }
}

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResourcePeak {
    /// Resident memory, bytes: the kernel's own high-water mark.
    pub rss_bytes_max: u64,
    /// Descriptors, over the samples.
    pub descriptors_max: usize,
    /// Threads, over the samples.
    pub threads_max: usize,
}

#[derive(Debug, Default)]
struct State {
    history: VecDeque<ProcessSample>,
    peak: ResourcePeak,
    errors: u64,
    raised: BTreeMap<&'static str, (Severity, u64)>,
}

/// Samples the process's resources. Clones share one history.
#[derive(Clone, Debug)]
pub struct ResourceMonitor {
    config: MonitorConfig,
    clock: Clock,
    ledger: ResourceLedger,
    alerts: AlertHub,
    state: Arc<Mutex<State>>,
}

impl ResourceMonitor {
    /// A monitor without samples.
    #[must_use]
    pub fn new(config: MonitorConfig, clock: Clock, ledger: ResourceLedger, alerts: AlertHub) -> Self {
        Self { config, clock, ledger, alerts, state: Arc::default() }
    }

    /// Samples at each interval until the group is stopped; one task of `group`.
    pub fn spawn(&self, group: &TaskGroup) -> TaskHandle {
        let monitor = self.clone();
        group.spawn_with("resources", TaskKind::Background, move |token| async move {
            loop {
                monitor.sample_and_judge();
                tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(monitor.config.interval) => {}
                }
            }
        })
    }

    /// Takes a sample now and keeps it. A failure is counted and never stops anything (S0-017).
    ///
    /// # Errors
    /// When `/proc/self` cannot be read.
    pub fn sample(&self) -> Result<ProcessSample, LifecycleError> {
        let sample = ProcessSample::take(&self.clock);
        let mut state = self.state.lock();
        match &sample {
            Ok(sample) => state.keep(*sample, self.config.history_max),
            Err(_) => state.errors += 1,
        }
        sample
    }

    /// What it finds alarming.
    #[must_use]
    pub const fn thresholds(&self) -> Thresholds {
        self.config.thresholds()
    }

    /// The samples kept, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<ProcessSample> {
        self.state.lock().history.iter().copied().collect()
    }

    /// The most that was seen so far.
    #[must_use]
    pub fn peak(&self) -> ResourcePeak {
        self.state.lock().peak
    }

    /// What is alarming now: each figure that has not recovered, with how bad it is.
    #[must_use]
    pub fn active(&self) -> Vec<(&'static str, Severity)> {
        self.state.lock().raised.iter().map(|(kind, (severity, _))| (*kind, *severity)).collect()
    }

    /// How many samples could not be taken.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.state.lock().errors
    }

    fn sample_and_judge(&self) {
        let Ok(sample) = self.sample() else { return };
        tracing::debug!(
            descriptors = sample.descriptors.total(),
            sockets = sample.descriptors.socket,
            rss_bytes = sample.rss_bytes,
            threads = sample.threads,
            leases = self.ledger.total(),
            children = self.ledger.count(LeaseKind::ChildProcess),
            "resources"
        );
        for alert in self.judge(&sample) {
            self.alerts.raise(alert);
        }
    }

    /// The alerts that this sample calls for, less those raised lately.
    fn judge(&self, sample: &ProcessSample) -> Vec<Alert> {
        let config = &self.config;
        let ratio = sample.descriptors_ratio();
        let open = sample.descriptors.total();
        let found = [
            (
                "descriptors",
                grade(&config.descriptors_ratio, ratio),
                format!(
                    "{open} of {} descriptors are open ({:.0} %); look for a leak or raise ulimit -n",
                    sample.descriptors_max,
                    ratio * 100.0
                ),
            ),
            (
                "memory",
                grade(&config.rss_bytes, sample.rss_bytes),
                format!("{} MB are resident; look for a growing cache", sample.rss_bytes / 1_000_000),
            ),
            (
                "threads",
                grade(&config.threads, sample.threads),
                format!("{} threads run; look for a leak", sample.threads),
            ),
        ];
        let now_mono_ns = self.clock.mono_ns();
        let mut state = self.state.lock();
        let mut alerts = Vec::new();
        for (kind, severity, message) in found {
            let Some(severity) = severity else {
                state.raised.remove(kind);
                continue;
            };
            let quiet = state.raised.get(kind).is_some_and(|(before, at)| {
                *before >= severity && Duration::from_nanos(now_mono_ns.saturating_sub(*at)) < config.cooldown
            });
            if !quiet {
                state.raised.insert(kind, (severity, now_mono_ns));
                alerts.push(Alert { severity, kind, message, ts_ns: sample.ts_ns });
            }
        }
        alerts
    }
}

impl State {
    fn keep(&mut self, sample: ProcessSample, history_max: usize) {
        while self.history.len() >= history_max.max(1) {
            self.history.pop_front();
        }
        self.history.push_back(sample);
        self.peak.rss_bytes_max = self.peak.rss_bytes_max.max(sample.rss_bytes_max);
        self.peak.descriptors_max = self.peak.descriptors_max.max(sample.descriptors.total());
        self.peak.threads_max = self.peak.threads_max.max(sample.threads);
    }
}

/// The severity that a value reaches against rising limits.
fn grade<T: PartialOrd>(limits: &[T; 3], value: T) -> Option<Severity> {
    let [warning, error, critical] = limits;
    if value > *critical {
        Some(Severity::Critical)
    } else if value > *error {
        Some(Severity::Error)
    } else if value > *warning {
        Some(Severity::Warning)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::DescriptorCounts;
    use crate::supervisor::Supervisor;

    fn monitor(clock: Clock, history_max: usize) -> ResourceMonitor {
        let config = MonitorConfig { history_max, ..MonitorConfig::default() };
        ResourceMonitor::new(config, clock.clone(), ResourceLedger::new(clock), AlertHub::default())
    }

    fn sample(files: usize, rss_bytes: u64) -> ProcessSample {
        let descriptors = DescriptorCounts { file: files, ..DescriptorCounts::default() };
        ProcessSample { ts_ns: 1, descriptors, descriptors_max: 100, threads: 3, rss_bytes, rss_bytes_max: rss_bytes }
    }

    #[test]
    fn thresholds_are_graded_and_repeated_only_after_the_cooldown_or_when_worse() {
        // S1-062, S1-063, S1-064, S1-065
        let clock = Clock::manual();
        let monitor = monitor(clock.clone(), 10);
        let raised =
            |files, rss| monitor.judge(&sample(files, rss)).iter().map(|a| (a.kind, a.severity)).collect::<Vec<_>>();
        assert_eq!(raised(70, 0), []);
        assert_eq!(raised(71, 0), [("descriptors", Severity::Warning)]);
        assert_eq!(raised(75, 0), [], "the same within the cooldown");
        assert_eq!(raised(86, 2_600_000_000), [("descriptors", Severity::Error), ("memory", Severity::Critical)]);
        clock.advance(Duration::from_secs(301));
        assert_eq!(raised(96, 0), [("descriptors", Severity::Critical)]);
        assert_eq!(monitor.active(), [("descriptors", Severity::Critical)]);
        assert_eq!(raised(10, 0), []);
        assert_eq!(monitor.active(), []);
        assert_eq!(raised(71, 0), [("descriptors", Severity::Warning)], "it had recovered, so it is news");
    }

    #[test]
    fn history_is_bounded_and_peaks_are_kept() {
        let monitor = monitor(Clock::manual(), 3);
        for files in [5, 50, 6, 7, 8] {
            monitor.state.lock().keep(sample(files, 1000), 3);
        }
        assert_eq!(monitor.history().iter().map(|s| s.descriptors.file).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(monitor.peak().descriptors_max, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn it_samples_at_each_interval_until_stopped_s1_052() {
        let supervisor = Supervisor::default();
        let group = supervisor.group("telemetry");
        let monitor = monitor(Clock::system(), 1000);
        monitor.spawn(&group);
        tokio::time::sleep(Duration::from_secs(95)).await;
        assert_eq!(monitor.history().len(), 4);
        assert!(monitor.peak().rss_bytes_max > 0 && monitor.errors() == 0);
        assert!(group.stop(Duration::from_secs(1)).await.is_clean());
    }

    #[tokio::test]
    async fn alerts_reach_every_listener() {
        let hub = AlertHub::default();
        let (mut a, mut b) = (hub.subscribe(), hub.subscribe());
        hub.raise(Alert { severity: Severity::Error, kind: "test", message: "m".into(), ts_ns: 7 });
        assert_eq!(a.recv().await.unwrap(), b.recv().await.unwrap());
    }
}
