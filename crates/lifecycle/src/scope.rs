//! Cleaning up under a deadline: wait until all is done or the time is up, then cancel, then abort; every error is kept.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::runtime_now;

/// How long jobs may take to see that they are cancelled before they are aborted, at most; a tenth of the timeout else.
const CANCEL_GRACE_MAX: Duration = Duration::from_millis(50);

/// Runs closing jobs side by side under one deadline (S4-004…013).
///
/// The order is: wait until all are done or the deadline passes, cancel what is left, abort what ignores that. (Cancelling
/// first would give no close its time: D1.)
///
/// ```
/// use keel_lifecycle::CleanupScope;
/// use std::time::Duration;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let mut scope = CleanupScope::new(Duration::from_secs(5));
/// scope.spawn("session", async { Ok::<(), std::io::Error>(()) });
/// scope.spawn("cache", async { Err("disk full") });
/// let report = scope.finish().await;
/// assert_eq!(report.completed, 1);
/// assert_eq!(report.errors, [("cache".to_owned(), "disk full".to_owned())]);
/// # });
/// ```
#[derive(Debug)]
pub struct CleanupScope {
    timeout: Duration,
    deadline: Option<Instant>,
    token: CancellationToken,
    jobs: JoinSet<Result<(), String>>,
    names: Vec<(Id, String)>,
}

/// What became of the jobs of a [`CleanupScope`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// Jobs that ended well in time.
    pub completed: usize,
    /// Jobs that had not ended at the deadline and were cancelled or aborted.
    pub cut: Vec<String>,
    /// Jobs that failed or panicked, with their errors.
    pub errors: Vec<(String, String)>,
}

impl CleanupReport {
    /// Whether every job ended well in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cut.is_empty() && self.errors.is_empty()
    }
}

impl Default for CleanupScope {
    fn default() -> Self {
        Self::new(Duration::from_secs(5))
    }
}

impl CleanupScope {
    /// A scope whose jobs have `timeout` from [`CleanupScope::start_deadline`] (or, without it, from the finish) on.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, deadline: None, token: CancellationToken::new(), jobs: JoinSet::new(), names: Vec::new() }
    }

    /// Starts the time. A second call changes nothing.
    pub fn start_deadline(&mut self) {
        let timeout = self.timeout;
        self.deadline.get_or_insert_with(|| runtime_now() + timeout);
    }

    /// What is left; the whole timeout if the time has not been started (S4-007).
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.map_or(self.timeout, |deadline| deadline.saturating_duration_since(runtime_now()))
    }

    /// Cancelled when the deadline has passed.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a job.
    pub fn spawn<E, F>(&mut self, name: impl Into<String>, job: F)
    where
        E: Display + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let handle = self.jobs.spawn(async move { job.await.map_err(|error| error.to_string()) });
        self.names.push((handle.id(), name.into()));
    }

    /// Waits for the jobs until the deadline, then cancels and at last aborts what is left.
    pub async fn finish(mut self) -> CleanupReport {
        self.start_deadline();
        let deadline = self.deadline.unwrap_or_else(runtime_now);
        let mut report = CleanupReport::default();
        self.collect(deadline, false, &mut report).await;
        if !self.jobs.is_empty() {
            self.token.cancel();
            let grace = (self.timeout / 10).min(CANCEL_GRACE_MAX);
            self.collect(deadline + grace / 2, true, &mut report).await;
            self.jobs.abort_all();
            // One that blocks its thread never ends; so this wait too has its limit.
            self.collect(deadline + grace, true, &mut report).await;
            report.cut.extend(self.names.drain(..).map(|(_, name)| name));
        }
        if report.is_clean() {
            tracing::debug!(completed = report.completed, "cleanup done");
        } else {
            tracing::warn!(errors = report.errors.len(), cut = ?report.cut, "cleanup done with errors");
        }
        report
    }

    /// The same for code that has failed already: its error is handed back untouched beside the report (S4-013).
    ///
    /// # Errors
    /// The error handed in, if any.
    pub async fn finish_with<T, E>(self, result: Result<T, E>) -> (Result<T, E>, CleanupReport) {
        let report = self.finish().await;
        (result, report)
    }

    async fn collect(&mut self, until: Instant, late: bool, report: &mut CleanupReport) {
        while let Ok(Some(joined)) = tokio::time::timeout_at(until, self.jobs.join_next_with_id()).await {
            let (id, outcome) = match joined {
                Ok((id, outcome)) => (id, Some(outcome)),
                Err(error) => {
                    let id = error.id();
                    let panic = error.try_into_panic().ok();
                    (id, panic.map(|panic| Err(format!("panicked: {}", crate::panics::message_of(panic.as_ref())))))
                }
            };
            let at = self.names.iter().position(|(known, _)| *known == id);
            let name = at.map(|at| self.names.swap_remove(at).1).unwrap_or_default();
            match outcome {
                Some(Err(error)) => {
                    tracing::warn!(job = name, error, "error during cleanup");
                    report.errors.push((name, error));
                }
                Some(Ok(())) if !late => report.completed += 1,
                Some(Ok(())) | None => report.cut.push(name),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    async fn sleeper(for_ms: u64) -> Result<(), String> {
        tokio::time::sleep(ms(for_ms)).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_is_enforced_s4_036() {
        let mut scope = CleanupScope::new(ms(500));
        scope.spawn("slow", sleeper(2000));
        let began = runtime_now();
        let report = scope.finish().await;
        let took = runtime_now() - began;
        assert_eq!(report.cut, ["slow"]);
        assert!(took >= ms(500) && took <= ms(600), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn errors_are_collected_and_do_not_stop_the_others_s4_037_d2() {
        let mut scope = CleanupScope::new(ms(1000));
        scope.spawn("bad", async { Err("value error") });
        scope.spawn("panicking", async { if true { panic!("bug") } else { Ok::<(), String>(()) } });
        scope.spawn("good", sleeper(100));
        let report = scope.finish().await;
        assert_eq!(report.completed, 1);
        let names: Vec<_> = report.errors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bad", "panicking"]);
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_get_their_time_before_anything_is_cancelled_d1_d3() {
        let mut scope = CleanupScope::new(ms(5000));
        scope.spawn("close", sleeper(10));
        let began = runtime_now();
        assert_eq!(scope.finish().await, CleanupReport { completed: 1, ..CleanupReport::default() });
        assert!(runtime_now() - began < ms(50), "it does not wait longer than the jobs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_jobs_under_one_deadline_s4_042_d4() {
        let mut scope = CleanupScope::new(ms(1000));
        for at in 0..100 {
            scope.spawn(format!("job {at}"), sleeper(at * 20));
        }
        let began = runtime_now();
        let report = scope.finish().await;
        assert!((48..=52).contains(&report.completed), "{}", report.completed);
        assert_eq!(report.completed + report.cut.len(), 100);
        assert!(runtime_now() - began <= ms(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_job_may_tidy_up_and_the_original_error_is_kept_s4_013() {
        let mut scope = CleanupScope::new(ms(100));
        let token = scope.token();
        scope.spawn("polite", async move {
            token.cancelled().await;
            Ok::<(), String>(())
        });
        assert_eq!(scope.remaining(), ms(100));
        let (result, report) = scope.finish_with(Err::<(), _>("the original error")).await;
        assert_eq!(result, Err("the original error"));
        assert_eq!(report.cut, ["polite"]);
    }

    #[tokio::test(start_paused = true)]
    async fn remaining_counts_down_once_started_s4_007() {
        let mut scope = CleanupScope::default();
        tokio::time::advance(ms(700)).await;
        assert_eq!(scope.remaining(), ms(5000));
        scope.start_deadline();
        tokio::time::advance(ms(700)).await;
        assert_eq!(scope.remaining(), ms(4300));
        scope.start_deadline();
        tokio::time::advance(ms(9000)).await;
        assert_eq!(scope.remaining(), Duration::ZERO);
    }
}
