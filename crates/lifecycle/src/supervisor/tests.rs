//! Tests of the supervisor under paused time.

use super::*;
use crate::ledger::LeaseKind;
use crate::reason::StopReason;
use std::sync::atomic::{AtomicU32, Ordering};

const SECOND: Duration = Duration::from_secs(1);

async fn reason_of(spawn: impl FnOnce(&TaskGroup)) -> StopReason {
    let supervisor = Supervisor::default();
    spawn(&supervisor.group("g"));
    supervisor.stop_signal().requested().await.reason
}

#[tokio::test(start_paused = true)]
async fn critical_task_that_ends_in_any_way_asks_for_the_stop() {
    let reason = reason_of(|g| {
        drop(g.spawn("t", TaskKind::Critical, async {
            if true {
                panic!("boom")
            }
        }))
    })
    .await;
    assert!(
        matches!(&reason, StopReason::TaskPanicked { task, message } if task == "g/t" && message.starts_with("boom")),
        "{reason}"
    );
    let reason = reason_of(|g| drop(g.spawn("t", TaskKind::Critical, async { Err::<(), _>("bad book") }))).await;
    assert_eq!(reason, StopReason::TaskFailed { task: "g/t".into(), error: "bad book".into() });
    let reason = reason_of(|g| drop(g.spawn("t", TaskKind::Critical, async {}))).await;
    assert_eq!(reason, StopReason::TaskReturned { task: "g/t".into() });
}

#[tokio::test(start_paused = true)]
async fn critical_task_that_ends_after_its_token_asks_for_nothing() {
    let supervisor = Supervisor::default();
    let group = supervisor.group("g");
    let handle = group.spawn_with("t", TaskKind::Critical, |token| async move { token.cancelled().await });
    tokio::task::yield_now().await;
    let report = group.stop(SECOND).await;
    assert_eq!(report, GroupReport { group: "g".into(), ended: 1, ..GroupReport::default() });
    assert_eq!(handle.ended().await, TaskEnd::Finished);
    assert!(!supervisor.stop_signal().is_requested());
    assert!(supervisor.registry().is_empty());
}

#[tokio::test(start_paused = true)]
async fn background_task_may_end_and_its_failures_are_recorded() {
    let supervisor = Supervisor::default();
    let group = supervisor.group("jobs");
    group.spawn("fine", TaskKind::Background, async {});
    group.spawn("bad", TaskKind::Background, async { Err::<(), _>("no disk") });
    group.spawn("worse", TaskKind::Background, async {
        if true {
            panic!("bug")
        }
    });
    assert!(group.stop(SECOND).await.is_clean());
    assert!(!supervisor.stop_signal().is_requested());
    assert_eq!((supervisor.background_errors(), supervisor.background_panics()), (1, 1));
    let failed: Vec<_> = supervisor.failures().into_iter().map(|f| (f.task, f.panicked)).collect();
    assert_eq!(failed, [("jobs/bad".to_owned(), false), ("jobs/worse".to_owned(), true)]);
}

#[tokio::test(start_paused = true)]
async fn straggler_is_aborted_and_named_within_the_limit() {
    let supervisor = Supervisor::default();
    let group = supervisor.group("execution");
    group.spawn("order-manager", TaskKind::Critical, std::future::pending::<()>());
    group.spawn_with("polite", TaskKind::Critical, |token| async move { token.cancelled().await });
    let began = crate::clock::runtime_now();
    let report = group.stop(SECOND).await;
    assert!(crate::clock::runtime_now() - began <= SECOND);
    assert_eq!(report.stragglers, ["execution/order-manager"]);
    assert_eq!((report.ended, report.stuck.len()), (1, 0));
    assert!(report.into_result().unwrap_err().to_string().contains("execution/order-manager"));
}

#[tokio::test(start_paused = true)]
async fn token_tree_reaches_every_task_and_a_group_stops_alone() {
    let supervisor = Supervisor::default();
    let (a, b) = (supervisor.group("a"), supervisor.group("exchange/b"));
    let in_a = a.spawn_with("t", TaskKind::Critical, |token| async move { token.cancelled().await });
    let in_b = b.spawn_with("t", TaskKind::Critical, |token| async move { token.cancelled().await });
    assert!(a.stop(SECOND).await.is_clean());
    assert!(in_a.is_finished() && !in_b.is_finished());
    assert!(!b.token().is_cancelled() && !in_b.token().is_cancelled());
    let report = supervisor.stop_all(SECOND).await;
    assert!(report.is_clean() && in_b.is_finished());
    assert_eq!(b.spawn("late", TaskKind::Critical, async {}).ended().await, TaskEnd::Refused);
    assert!(!supervisor.stop_signal().is_requested());
}

#[tokio::test(start_paused = true)]
async fn restartable_task_is_made_anew_until_its_budget_is_used_up() {
    let supervisor = Supervisor::default();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let policy = RestartPolicy { restarts_max: 3, ..RestartPolicy::default() };
    let handle = supervisor.group("streams").spawn_restartable("binance", policy, move |_| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match run {
                0 => Err("reset by peer"),
                1 => panic!("decoder"),
                _ => Ok(()),
            }
        }
    });
    let reason = supervisor.stop_signal().requested().await.reason;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    assert_eq!(
        reason,
        StopReason::RestartsExhausted { task: "streams/binance".into(), restarts: 3, last: "returned".into() }
    );
    assert_eq!(handle.ended().await, TaskEnd::Finished);
}

#[tokio::test(start_paused = true)]
async fn restartable_task_waiting_to_restart_stops_at_once() {
    let supervisor = Supervisor::default();
    let group = supervisor.group("streams");
    let policy = RestartPolicy { backoff_initial: Duration::from_secs(30), ..RestartPolicy::default() };
    group.spawn_restartable("x", policy, |_| async { Err::<(), _>("down") });
    tokio::time::sleep(SECOND).await;
    let began = crate::clock::runtime_now();
    assert!(group.stop(SECOND).await.is_clean());
    assert!(crate::clock::runtime_now() - began < Duration::from_millis(10));
    assert_eq!(supervisor.stop_signal().reasons(), []);
}

#[tokio::test(start_paused = true)]
async fn panic_while_a_cancelled_task_is_dropped_hurts_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let supervisor = Supervisor::default();
    let group = supervisor.group("g");
    group.spawn("bomb", TaskKind::Critical, async {
        let _bomb = Bomb;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    let report = group.stop(SECOND).await;
    assert_eq!(report.stragglers, ["g/bomb"]);
    assert!(supervisor.registry().is_empty());
}

#[test]
fn task_spawned_without_a_runtime_is_reported_not_a_panic() {
    let supervisor = Supervisor::default();
    let handle = supervisor.group("g").spawn("t", TaskKind::Critical, async {});
    assert!(handle.is_finished());
    assert!(matches!(&supervisor.stop_signal().reasons()[..], [StopReason::TaskFailed { task, .. }] if task == "g/t"));
}

#[test]
fn group_bound_to_another_runtime_spawns_there() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supervisor = Supervisor::default().on(runtime.handle().clone());
    let handle = supervisor.group("g").spawn("t", TaskKind::Background, async {});
    assert_eq!(runtime.block_on(handle.ended()), TaskEnd::Finished);
}

#[test]
fn supervised_thread_is_named_stopped_and_judged_like_a_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supervisor = Supervisor::default();
    let group = supervisor.group("store");
    let thread = group
        .spawn_thread("journal", TaskKind::Critical, |token: CancellationToken| {
            while !token.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
        })
        .unwrap();
    assert_eq!(supervisor.registry().names(), ["store/journal"]);
    assert_eq!(supervisor.ledger().count(LeaseKind::Thread), 1);
    let report = runtime.block_on(group.stop(Duration::from_secs(20)));
    assert!(report.is_clean(), "{report}");
    assert_eq!(thread.join().unwrap(), TaskEnd::Finished);
    assert!(!supervisor.stop_signal().is_requested());
    assert_eq!(supervisor.ledger().total(), 0);

    let other = supervisor.group("engine");
    let thread = other.spawn_thread("loop", TaskKind::Critical, |_| Err::<(), _>("lane full")).unwrap();
    assert_eq!(thread.join().unwrap(), TaskEnd::Failed("lane full".into()));
    assert_eq!(
        supervisor.stop_signal().reasons(),
        [StopReason::TaskFailed { task: "engine/loop".into(), error: "lane full".into() }]
    );
}

#[test]
fn blocked_task_is_named_by_two_readings_of_the_registry() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let supervisor = Supervisor::default().on(runtime.handle().clone());
    let group = supervisor.group("strategies");
    let (release, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let (entered, has_entered) = std::sync::mpsc::sync_channel::<()>(1);
    group.spawn_with("stuck", TaskKind::Background, |token| async move {
        entered.send(()).unwrap();
        wait.recv().unwrap();
        token.cancelled().await;
    });
    group.spawn_with("idle", TaskKind::Critical, |token| async move { token.cancelled().await });
    has_entered.recv().unwrap();
    let earlier = supervisor.live_tasks();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(supervisor.registry().blocked_since(&earlier), ["strategies/stuck"]);
    release.send(()).unwrap();
    let is_free = (0..5000).any(|_| {
        std::thread::sleep(Duration::from_millis(2));
        supervisor.registry().blocked_since(&earlier).is_empty()
    });
    assert!(is_free, "it goes on and is live, so it blocks nobody any more");
    assert!(runtime.block_on(group.stop(Duration::from_secs(20))).is_clean());
}

#[tokio::test(start_paused = true)]
async fn s_07_a_cleanup_that_is_asked_for_a_hundred_times_at_once_happens_once_and_tells_all_the_same() {
    let supervisor = Supervisor::default();
    let group = supervisor.group("g");
    let cleaned = Arc::new(AtomicU32::new(0));
    for name in ["a", "b", "c"] {
        let cleaned = cleaned.clone();
        drop(group.spawn_with(name, TaskKind::Critical, move |token| async move {
            token.cancelled().await;
            tokio::time::sleep(SECOND / 4).await;
            cleaned.fetch_add(1, Ordering::SeqCst);
        }));
    }
    tokio::task::yield_now().await;
    let mut stops = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let group = group.clone();
        stops.spawn(async move { group.stop(SECOND).await });
    }
    let reports = stops.join_all().await;
    let all_ended = GroupReport { group: "g".into(), ended: 3, ..GroupReport::default() };
    assert_eq!(reports, vec![all_ended.clone(); 100]);
    assert_eq!(group.stop(SECOND).await, GroupReport { ended: 0, ..all_ended }, "nothing is left for a later one");
    assert_eq!(cleaned.load(Ordering::SeqCst), 3);
    assert!(supervisor.registry().is_empty() && !supervisor.stop_signal().is_requested());
}
