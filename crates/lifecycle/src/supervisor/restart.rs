//! Restartable tasks: exponential backoff with a little spread, and a budget of restarts within a window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::task::TaskEnd;
use crate::reason::{StopReason, StopSignal};

/// How often and how fast a task is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Wait before the first restart; doubled each time.
    pub backoff_initial: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Most restarts within `window`; one more asks for the stop.
    pub restarts_max: u32,
    /// Restarts older than this no longer count, and a run that lasted longer starts again at `backoff_initial`.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff_initial: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            restarts_max: 10,
            window: Duration::from_secs(600),
        }
    }
}

/// The restarts of one task within the window. Bounded by `restarts_max`.
#[derive(Debug)]
pub(super) struct Budget {
    policy: RestartPolicy,
    seed: u64,
    recent: VecDeque<tokio::time::Instant>,
    streak: u32,
}

impl Budget {
    pub(super) fn new(policy: RestartPolicy, name: &str) -> Self {
        // FNV-1a: spreads tasks that fail together, and is the same in each run.
        let seed = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self { policy, seed, recent: VecDeque::new(), streak: 0 }
    }

    /// The wait before the next restart, or `None` when the budget is used up.
    pub(super) fn next(&mut self, now: tokio::time::Instant, ran_for: Duration) -> Option<Duration> {
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > self.policy.window) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.policy.restarts_max as usize {
            return None;
        }
        self.recent.push_back(now);
        self.streak = if ran_for > self.policy.window { 0 } else { self.streak.saturating_add(1) };
        let doubled = self
            .policy
            .backoff_initial
            .saturating_mul(1_u32.checked_shl(self.streak.saturating_sub(1)).unwrap_or(u32::MAX));
        let base = doubled.min(self.policy.backoff_max);
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Between 80 % and 100 % of the base, so that the maximum stays the maximum.
        let permille = 800 + u32::try_from((self.seed >> 33) % 201).unwrap_or(0);
        Some(base.saturating_mul(permille) / 1000)
    }

    pub(super) fn used(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }
}

/// What to do after a restartable task has ended: wait and go round again (true), or leave (false).
pub(super) async fn after_end(
    name: &str,
    end: &TaskEnd,
    budget: &mut Budget,
    ran_for: Duration,
    token: &CancellationToken,
    stop: &StopSignal,
) -> bool {
    let last = match end {
        TaskEnd::Finished => "returned".to_owned(),
        TaskEnd::Failed(error) => format!("failed: {error}"),
        TaskEnd::Panicked(message) => format!("panicked: {message}"),
        TaskEnd::Aborted | TaskEnd::Refused => return false,
    };
    let Some(wait) = budget.next(crate::clock::runtime_now(), ran_for) else {
        stop.request(StopReason::RestartsExhausted { task: name.to_owned(), restarts: budget.used(), last });
        return false;
    };
    tracing::warn!(task = name, last, restart = budget.used(), wait_ms = wait.as_millis() as u64, "restarting");
    tokio::select! {
        biased;
        () = token.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_the_maximum_and_the_budget_ends_it() {
        let policy = RestartPolicy {
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_millis(350),
            restarts_max: 4,
            window: Duration::from_secs(60),
        };
        let mut budget = Budget::new(policy, "a/b");
        let now = crate::clock::runtime_now();
        for base_ms in [100, 200, 350, 350] {
            let wait = budget.next(now, Duration::ZERO).expect("within budget");
            assert!(
                wait <= Duration::from_millis(base_ms) && wait >= Duration::from_millis(base_ms * 8 / 10),
                "{wait:?}"
            );
        }
        assert_eq!(budget.next(now, Duration::ZERO), None);
        let later = now + Duration::from_secs(61);
        let wait = budget.next(later, Duration::from_secs(61)).expect("old restarts no longer count");
        assert!(wait <= Duration::from_millis(100), "a long run starts the backoff again: {wait:?}");
    }
}
