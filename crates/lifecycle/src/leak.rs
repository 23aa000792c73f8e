//! What is left when the system has stopped, compared with the baseline from before it started.
//!
//! Descriptors and threads are judged by count and kind, and named by what is new; leases, tasks and the caller's own
//! sections are named outright. What is meant to live until the process ends is listed, not counted.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::error::LifecycleError;
use crate::ledger::{LeaseInfo, LeaseKind, ResourceLedger};
use crate::proc::{Descriptor, DescriptorCounts, DescriptorKind, describe_socket, open_descriptors, threads};

/// Pause between two looks while things settle.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The process before the system started.
#[derive(Clone, Debug)]
pub struct Baseline {
    descriptors: Vec<Descriptor>,
    threads: Vec<(u32, String)>,
    at_mono_ns: u64,
}

impl Baseline {
    /// Looks at the process now.
    ///
    /// # Errors
    /// When `/proc/self` cannot be read.
    pub fn take(clock: &Clock) -> Result<Self, LifecycleError> {
        Ok(Self { descriptors: open_descriptors()?, threads: threads()?, at_mono_ns: clock.mono_ns() })
    }

    /// Whether a lease was taken after the baseline, so that what it stands for is not part of it.
    fn is_older_than(&self, lease: &LeaseInfo) -> bool {
        lease.since_mono_ns >= self.at_mono_ns
    }
}

/// Something that the caller adds to the report, such as orders that are not terminal or the size of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeakSection {
    /// What it is about.
    pub title: String,
    /// One line for each thing.
    pub lines: Vec<String>,
    /// Whether its lines are leaks; otherwise they are only listed (orders kept by policy).
    pub is_leak: bool,
}

impl LeakSection {
    /// Things that should not be there.
    pub fn leak(title: impl Into<String>, lines: Vec<String>) -> Self {
        Self { title: title.into(), lines, is_leak: true }
    }

    /// Things that people should know of.
    pub fn listed(title: impl Into<String>, lines: Vec<String>) -> Self {
        Self { title: title.into(), lines, is_leak: false }
    }
}

/// Descriptors of one kind, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DescriptorChange {
    /// The kind.
    pub kind: DescriptorKind,
    /// Before the start.
    pub before: usize,
    /// After the stop.
    pub after: usize,
}

/// What is left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeakReport {
    /// Supervised tasks that are still live, or had to be aborted after an orderly plan.
    pub tasks: Vec<String>,
    /// Tasks of the runtime that nobody supervises: spawned past the task groups.
    pub tasks_unnamed: usize,
    /// Threads that were not there before.
    pub threads: Vec<String>,
    /// Descriptors by kind, where they changed.
    pub descriptors: Vec<DescriptorChange>,
    /// Descriptors beyond the baseline, by what they refer to.
    pub descriptors_left: Vec<String>,
    /// Leases that are still held.
    pub leases: Vec<LeaseInfo>,
    /// Resources that were dropped without their close.
    pub dropped_unclosed: Vec<String>,
    /// Leases that are meant to live until the process ends.
    pub until_exit: Vec<LeaseInfo>,
    /// The caller's own sections.
    pub sections: Vec<LeakSection>,
    /// What could not be looked at.
    pub errors: Vec<String>,
}

impl LeakReport {
    /// How many things were left behind.
    #[must_use]
    pub fn count(&self) -> usize {
        let sections: usize =
            self.sections.iter().filter(|section| section.is_leak).map(|section| section.lines.len()).sum();
        self.tasks.len()
            + self.tasks_unnamed
            + self.threads.len()
            + self.descriptors_left.len()
            + self.leases.len()
            + self.dropped_unclosed.len()
            + self.errors.len()
            + sections
    }

    /// Whether nothing was left behind.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.count() == 0
    }

    /// A second signal cut the steps that close connections: what they had no time for is listed, not judged. Tasks that could
    /// not be aborted and threads stay leaks.
    pub(crate) fn forgive_what_was_cut(&mut self) {
        let mut cut = std::mem::take(&mut self.descriptors_left);
        let leases = std::mem::take(&mut self.leases);
        cut.extend(leases.into_iter().map(|lease| format!("{} {}/{}", lease.kind, lease.owner, lease.name)));
        cut.append(&mut self.dropped_unclosed);
        let unnamed = std::mem::take(&mut self.tasks_unnamed);
        cut.extend((0..unnamed).map(|_| "a task without a name".to_owned()));
        if !cut.is_empty() {
            self.sections.push(LeakSection::listed("cut by a second signal", cut));
        }
    }

    /// A table for people: one line for each kind of thing, and below it what was left.
    #[must_use]
    pub fn table(&self) -> String {
        let leases = |leases: &[LeaseInfo]| {
            leases.iter().map(|l| format!("{} {}/{}", l.kind, l.owner, l.name)).collect::<Vec<_>>()
        };
        let unnamed = vec!["spawned outside a task group, so it has no name".to_owned(); self.tasks_unnamed];
        let mut rows = vec![
            ("tasks".to_owned(), self.tasks.clone(), true),
            ("tasks, unnamed".to_owned(), unnamed, true),
            ("threads".to_owned(), self.threads.clone(), true),
            ("descriptors".to_owned(), self.descriptors_left.clone(), true),
            ("leases".to_owned(), leases(&self.leases), true),
            ("dropped unclosed".to_owned(), self.dropped_unclosed.clone(), true),
            ("not looked at".to_owned(), self.errors.clone(), true),
        ];
        if !self.until_exit.is_empty() {
            rows.push(("kept until exit".to_owned(), leases(&self.until_exit), false));
        }
        rows.extend(self.sections.iter().map(|s| (s.title.clone(), s.lines.clone(), s.is_leak)));
        let width = rows.iter().map(|(title, ..)| title.len()).max().unwrap_or(0);
        let mut lines = vec![format!("{:<width$}  left", "resource")];
        for (title, what, is_leak) in rows {
            let mark = if is_leak && !what.is_empty() { "  LEAK" } else { "" };
            lines.push(format!("{title:<width$}  {:>4}{mark}", what.len()));
            lines.extend(what.iter().map(|line| format!("{:<width$}        {line}", "")));
        }
        for change in &self.descriptors {
            lines.push(format!(
                "descriptors of kind {}: {} before, {} after",
                change.kind.as_str(),
                change.before,
                change.after
            ));
        }
        lines.join("\n")
    }

    /// The report for machines, on one line.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

/// Looks for what is left.
#[derive(Debug)]
pub struct LeakCheck<'a> {
    /// The process before the start.
    pub baseline: &'a Baseline,
    /// The leases.
    pub ledger: &'a ResourceLedger,
    /// For waiting.
    pub clock: &'a Clock,
    /// How long things may take to settle: threads leave `/proc` a moment after they were joined.
    pub settle: Duration,
}

impl LeakCheck<'_> {
    /// Looks until nothing is left or the time to settle is over. Blocks the calling thread; call it outside a runtime.
    #[must_use]
    pub fn run(&self) -> LeakReport {
        let deadline = self.clock.deadline(self.settle);
        loop {
            let report = self.look();
            if report.is_clean() || deadline.is_past() || self.clock.is_manual() {
                return report;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn look(&self) -> LeakReport {
        let mut report = LeakReport::default();
        let (until_exit, held): (Vec<_>, Vec<_>) = self.ledger.live().into_iter().partition(|lease| lease.until_exit);
        match open_descriptors() {
            Ok(now) => self.compare_descriptors(&now, &until_exit, &mut report),
            Err(error) => report.errors.push(error.to_string()),
        }
        match threads() {
            Ok(now) => report.threads = self.new_threads(&now, &until_exit),
            Err(error) => report.errors.push(error.to_string()),
        }
        report.leases = held;
        report.until_exit = until_exit;
        let (names, count) = self.ledger.dropped_unclosed();
        report.dropped_unclosed = names;
        let unlisted = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(report.dropped_unclosed.len());
        if unlisted > 0 {
            report.dropped_unclosed.push(format!("and {unlisted} more"));
        }
        report
    }

    fn compare_descriptors(&self, now: &[Descriptor], until_exit: &[LeaseInfo], report: &mut LeakReport) {
        let (before, after) = (DescriptorCounts::of(&self.baseline.descriptors), DescriptorCounts::of(now));
        for kind in DescriptorKind::ALL {
            let (before, after) = (before.get(kind), after.get(kind));
            if before != after {
                report.descriptors.push(DescriptorChange { kind, before, after });
            }
            // Drivers and terminals keep device nodes open for good, so those are shown and not judged.
            let allowed = until_exit
                .iter()
                .filter(|lease| descriptor_kind(lease.kind) == Some(kind) && self.baseline.is_older_than(lease));
            let allowed = allowed.count();
            let beyond = after.saturating_sub(before + allowed);
            if kind == DescriptorKind::Device || beyond == 0 {
                continue;
            }
            let new = now.iter().filter(|d| d.kind == kind && !self.baseline.descriptors.contains(d));
            let mut names: Vec<String> = new.map(describe).collect();
            names.truncate(beyond);
            names.resize(beyond, format!("a {} that looks like one from before", kind.as_str()));
            report.descriptors_left.append(&mut names);
        }
    }

    fn new_threads(&self, now: &[(u32, String)], until_exit: &[LeaseInfo]) -> Vec<String> {
        let allowed =
            until_exit.iter().filter(|lease| lease.kind == LeaseKind::Thread && self.baseline.is_older_than(lease));
        let allowed = allowed.count();
        let beyond = now.len().saturating_sub(self.baseline.threads.len() + allowed);
        let known = |tid: u32| self.baseline.threads.iter().any(|(before, _)| *before == tid);
        let mut names: Vec<String> = now.iter().filter(|(tid, _)| !known(*tid)).map(|(_, name)| name.clone()).collect();
        names.truncate(beyond);
        names
    }
}

fn descriptor_kind(kind: LeaseKind) -> Option<DescriptorKind> {
    match kind {
        LeaseKind::File | LeaseKind::TempFile | LeaseKind::Database => Some(DescriptorKind::File),
        LeaseKind::HttpClient | LeaseKind::Websocket | LeaseKind::TcpSocket | LeaseKind::Listener => {
            Some(DescriptorKind::Socket)
        }
        LeaseKind::Timer => Some(DescriptorKind::Anon),
        LeaseKind::ChildProcess => Some(DescriptorKind::Pipe),
        LeaseKind::Task | LeaseKind::Thread | LeaseKind::GpuBuffer | LeaseKind::Other => None,
    }
}

fn describe(descriptor: &Descriptor) -> String {
    let what = describe_socket(&descriptor.target).unwrap_or_else(|| descriptor.target.clone());
    format!("fd {} {} {what}", descriptor.fd, descriptor.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Descriptors and threads are the whole process's, and other tests run beside this one; so the process-wide checks
    // with real leaks are in tests/, one process each.

    #[test]
    fn leases_and_sections_count_and_kept_ones_do_not() {
        let (ledger, clock) = (ResourceLedger::default(), Clock::system());
        let baseline = Baseline::take(&clock).unwrap();
        let _log = ledger.lease(LeaseKind::File, "launcher", "log").until_exit();
        let lost = ledger.lease(LeaseKind::Websocket, "exchange", "binance market");
        drop(ledger.lease_with_close(LeaseKind::HttpClient, "exchange", "binance rest"));
        let check = LeakCheck { baseline: &baseline, ledger: &ledger, clock: &clock, settle: Duration::ZERO };
        let mut report = check.look();
        assert_eq!(report.leases.len(), 1);
        assert_eq!(report.until_exit.len(), 1);
        assert_eq!(report.dropped_unclosed, ["http_client exchange/binance rest"]);
        (report.threads, report.descriptors_left) = (vec![], vec![]);
        report.sections.push(LeakSection::listed("orders kept by policy", vec!["stop-loss 7".into()]));
        assert_eq!(report.count(), 2);
        report.sections.push(LeakSection::leak("orders of unknown state", vec!["K-1".into(), "K-2".into()]));
        assert_eq!(report.count(), 4);
        let table = report.table();
        for needle in ["websocket exchange/binance market", "stop-loss 7", "K-2", "file launcher/log"] {
            assert!(table.contains(needle), "{needle} is missing in\n{table}");
        }
        assert!(
            serde_json::from_str::<serde_json::Value>(&report.json()).unwrap()["leases"][0]["name"] == "binance market"
        );
        drop(lost);
    }

    #[test]
    fn beyond_the_baseline_is_named_by_what_is_new_s1_053() {
        let (ledger, clock) = (ResourceLedger::default(), Clock::system());
        let file = |fd, target: &str| Descriptor { fd, kind: DescriptorKind::of(target), target: target.into() };
        let baseline = Baseline {
            descriptors: vec![file(3, "/a"), file(4, "socket:[1]")],
            threads: vec![(1, "main".into())],
            at_mono_ns: 0,
        };
        let check = LeakCheck { baseline: &baseline, ledger: &ledger, clock: &clock, settle: Duration::ZERO };
        let mut report = LeakReport::default();
        check.compare_descriptors(&[file(3, "/a"), file(4, "socket:[9]"), file(5, "/b")], &[], &mut report);
        assert_eq!(report.descriptors_left, ["fd 5 file /b"], "one socket went and one came: no leak");
        assert_eq!(report.descriptors, [DescriptorChange { kind: DescriptorKind::File, before: 1, after: 2 }]);
        let threads = check.new_threads(&[(1, "main".into()), (9, "sleeper".into())], &[]);
        assert_eq!(threads, ["sleeper"]);
    }
}
