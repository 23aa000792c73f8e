//! The process's own figures for whoever asks: the report of S1-050, what is held by whom, and how fast it grows.
//!
//! Nothing here waits or allocates without a bound: samples and leases are bounded where they are kept.

use keel_lifecycle::{
    Clock, DescriptorKind, LeaseKind, Lifecycle, ProcessSample, ResourceLedger, ResourceMonitor, Supervisor,
    open_descriptors, threads,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Samples of the monitor that an answer lists, and points that growth is computed from.
const HISTORY_SHOWN: usize = 120;
/// Below this span a rate per hour says nothing but that the run has begun; unit: seconds.
const GROWTH_SPAN_MIN_S: f64 = 600.0;

/// Where the figures are.
#[derive(Clone, Debug)]
pub struct Figures {
    monitor: ResourceMonitor,
    ledger: ResourceLedger,
    tasks: Supervisor,
    clock: Clock,
}

impl Figures {
    /// Of a process.
    #[must_use]
    pub fn of(lifecycle: &Lifecycle) -> Self {
        let tasks = lifecycle.supervisor();
        Self {
            monitor: lifecycle.monitor().clone(),
            ledger: tasks.ledger(),
            clock: tasks.clock(),
            tasks: tasks.clone(),
        }
    }

    /// How many resources of a kind are held.
    #[must_use]
    pub fn leases(&self, kind: LeaseKind) -> u64 {
        self.ledger.count(kind)
    }

    /// How many tasks run.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.live_tasks().len()
    }

    /// S1-050, in its words; alerts of before are added by whoever keeps them.
    #[must_use]
    pub fn report(&self) -> Map<String, Value> {
        let history = self.monitor.history();
        let now = ProcessSample::take(&self.clock).ok().or_else(|| history.last().copied());
        let statistics = |of: &dyn Fn(&ProcessSample) -> f64| {
            let all = || history.iter().chain(now.as_ref()).map(of);
            let count = all().count();
            json!({
                "current": now.as_ref().map(of),
                "avg": (count > 0).then(|| all().sum::<f64>() / count as f64),
                "max": all().reduce(f64::max),
                "min": all().reduce(f64::min),
            })
        };
        let megabytes = |sample: &ProcessSample| sample.rss_bytes as f64 / 1e6;
        let files = |sample: &ProcessSample| sample.descriptors.total() as f64;
        let active: Vec<Value> = self
            .monitor
            .active()
            .into_iter()
            .map(|(kind, severity)| json!({ "kind": kind, "severity": severity }))
            .collect();
        let report = json!({
            "timestamp": self.clock.now_ns(),
            "current_metrics": {
                "open_files": now.map(|it| it.descriptors.total()),
                "max_files": now.map(|it| it.descriptors_max),
                "memory_mb": now.as_ref().map(megabytes),
                "memory_percent": now.map(|it| it.rss_bytes as f64 / memory_bytes() * 100.0).filter(|it| it.is_finite()),
                "processes": 1 + self.ledger.count(LeaseKind::ChildProcess),
                "threads": now.map(|it| it.threads),
                "network_connections": now.map(|it| it.descriptors.socket),
                "tasks": self.tasks(),
            },
            "sockets_by_state": sockets_by_state(),
            "statistics": { "memory": statistics(&megabytes), "file_descriptors": statistics(&files) },
            "active_alerts": active,
            "thresholds": self.monitor.thresholds(),
        });
        if let Value::Object(report) = report { report } else { Map::new() }
    }

    /// What is held, by whom, and how it grows.
    #[must_use]
    pub fn resources(&self) -> Value {
        let leases: Vec<Value> = LeaseKind::ALL
            .iter()
            .map(|kind| json!({ "kind": kind, "live": self.ledger.count(*kind), "peak": self.ledger.peak(*kind) }))
            .collect();
        let history = self.monitor.history();
        let shown = history.get(history.len().saturating_sub(HISTORY_SHOWN)..).unwrap_or_default();
        let tasks: Vec<Value> = self
            .tasks
            .live_tasks()
            .iter()
            .map(|task| {
                let age_s = self.clock.since(task.since_mono_ns).as_secs();
                json!({ "name": task.name, "age_s": age_s, "is_thread": task.is_thread, "is_cancelled": task.cancelled })
            })
            .collect();
        let now = ProcessSample::take(&self.clock).ok();
        let descriptors: Map<String, Value> = DescriptorKind::ALL
            .iter()
            .filter_map(|kind| Some((kind.as_str().to_owned(), now?.descriptors.get(*kind).into())))
            .collect();
        let names: Vec<String> = threads().unwrap_or_default().into_iter().map(|(_, name)| name).collect();
        json!({
            "descriptors": descriptors,
            "leases": leases,
            "held": self.ledger.live(),
            "tasks": tasks,
            "threads": names,
            "growth": growth(&thinned(&history)),
            "history": shown,
            "peak": self.monitor.peak(),
        })
    }
}

/// Memory of the machine; unit: bytes.
fn memory_bytes() -> f64 {
    let system = rustix::system::sysinfo();
    system.totalram as f64 * f64::from(system.mem_unit)
}

/// Sockets of this process: those of TCP by state, all others as `other`. `None` where the kernel does not tell.
fn sockets_by_state() -> Option<BTreeMap<&'static str, usize>> {
    let own: BTreeSet<String> = open_descriptors()
        .ok()?
        .into_iter()
        .filter_map(|it| Some(it.target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut counts = BTreeMap::new();
    let mut named = 0;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut fields = line.split_whitespace();
            let (state, inode) = (fields.nth(3), fields.nth(5));
            if inode.is_some_and(|inode| own.contains(inode)) {
                *counts.entry(state_name(state.unwrap_or_default())).or_default() += 1;
                named += 1;
            }
        }
    }
    counts.insert("other", own.len().saturating_sub(named));
    Some(counts)
}

/// Names of `include/net/tcp_states.h`.
fn state_name(hex: &str) -> &'static str {
    const NAMES: [&str; 12] = [
        "unknown",
        "established",
        "syn_sent",
        "syn_recv",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
    ];
    u8::from_str_radix(hex, 16).ok().and_then(|at| NAMES.get(usize::from(at))).copied().unwrap_or("unknown")
}

/// At most [`HISTORY_SHOWN`] samples, evenly over all of them, the newest included.
fn thinned(samples: &[ProcessSample]) -> Vec<ProcessSample> {
    let step = samples.len().div_ceil(HISTORY_SHOWN).max(1);
    let mut kept: Vec<_> = samples.iter().rev().step_by(step).copied().collect();
    kept.reverse();
    kept
}

/// Growth an hour by the median of the slopes between all pairs of samples (Theil and Sen), which a few outliers do not move.
fn growth(samples: &[ProcessSample]) -> Value {
    let span_s = match (samples.first(), samples.last()) {
        (Some(first), Some(last)) => last.ts_ns.saturating_sub(first.ts_ns) as f64 / 1e9,
        _ => 0.0,
    };
    let rate = |of: &dyn Fn(&ProcessSample) -> f64| {
        if span_s < GROWTH_SPAN_MIN_S {
            return None;
        }
        let mut slopes = Vec::new();
        for (at, early) in samples.iter().enumerate() {
            for late in samples.iter().skip(at + 1) {
                let hours = late.ts_ns.saturating_sub(early.ts_ns) as f64 / 3.6e12;
                if hours > 0.0 {
                    slopes.push((of(late) - of(early)) / hours);
                }
            }
        }
        slopes.sort_by(f64::total_cmp);
        slopes.get(slopes.len() / 2).copied()
    };
    json!({
        "span_s": span_s,
        "memory_bytes_per_h": rate(&|it| it.rss_bytes as f64),
        "descriptors_per_h": rate(&|it| it.descriptors.total() as f64),
        "threads_per_h": rate(&|it| it.threads as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_lifecycle::DescriptorCounts;

    fn sample(second: u64, rss_bytes: u64, file: usize) -> ProcessSample {
        let descriptors = DescriptorCounts { file, ..DescriptorCounts::default() };
        ProcessSample {
            ts_ns: second * 1_000_000_000,
            descriptors,
            descriptors_max: 100,
            threads: 3,
            rss_bytes,
            rss_bytes_max: rss_bytes,
        }
    }

    #[test]
    fn growth_is_told_in_spite_of_an_outlier_and_only_over_a_span_that_tells() {
        let mut samples: Vec<_> = (0..61).map(|at| sample(at * 10, 1_000_000 + at * 1_000, 7)).collect();
        samples[30].rss_bytes = 900_000_000;
        let told = growth(&samples);
        assert_eq!(told["span_s"], 600.0);
        let rate = told["memory_bytes_per_h"].as_f64().unwrap();
        assert!((rate - 360_000.0).abs() < 1.0, "{rate}");
        assert_eq!((told["descriptors_per_h"].as_f64(), told["threads_per_h"].as_f64()), (Some(0.0), Some(0.0)));
        let long: Vec<_> = (0..1_000).map(|at| sample(at * 5, 1, 7)).collect();
        let kept = thinned(&long);
        assert!(kept.len() <= HISTORY_SHOWN && kept.len() > 100 && kept.last() == long.last(), "{}", kept.len());
        assert!(growth(&samples[..3])["memory_bytes_per_h"].is_null() && growth(&[])["descriptors_per_h"].is_null());
    }

    #[test]
    fn s1_050_own_sockets_are_counted_by_state() {
        let before = sockets_by_state().unwrap().get("listen").copied().unwrap_or(0);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let found = sockets_by_state().unwrap();
        assert!(found["listen"] > before.saturating_sub(1) && found["established"] >= 1, "{found:?}");
        drop((listener, client));
        assert_eq!((state_name("0A"), state_name("08"), state_name("zz")), ("listen", "close_wait", "unknown"));
    }
}
