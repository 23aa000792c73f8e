//! Whole runs: recovery, unknown outcomes, winding, the escape path, full lanes.

use crate::common::{FakeVenue, Habit, OnSubmit, SOON, start, until};
use keel_engine::Notice;
use keel_gateway::{EscapeOutcome, EscapeScope, GateLevel, GatewayError, LaneCapacity, Lanes, WindOutcome};
use keel_lifecycle::{StopReason, StopSignal};
use keel_model::{Command, ExecutionEvent, ExitPolicy, OrderStatus, Timestamp, TradingState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_waits_for_the_account_stream_before_it_asks_the_venue() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(1)).await;
    run.quote();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(venue.all_calls().is_empty(), "a fill between the answers and the stream would be seen by nobody");
    assert_eq!(run.gate.level(), GateLevel::Shut);
    let error = run.handle.started(Duration::from_millis(10)).await.unwrap_err();
    assert!(error.to_string().contains("account stream"), "{error}");
    run.trade().await;
    assert_eq!(run.gate.level(), GateLevel::Open);
    assert!(venue.calls("open_orders") >= 1 && venue.calls("balances") >= 1);
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v01_an_unknown_outcome_is_asked_about_and_resolved() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(1)).await;
    run.trade().await;
    venue.on_submit(OnSubmit::AcceptSilently);
    run.quote();
    until("asked", || venue.calls("query") >= 1).await;
    let is_live = || run.handle.status().open_orders.iter().any(|order| order.state == "Live");
    until("found to be live", is_live).await;
    assert_eq!(venue.calls("submit"), 1, "nothing is ever resent");
    assert_eq!(run.handle.wind(ExitPolicy::CancelAll, SOON, SOON).await, WindOutcome::Wound);
    assert!(venue.open().is_empty());
    let end = run.end().await;
    assert_eq!(end.open_orders, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v02_an_order_that_never_arrived_is_given_up_only_past_the_fence() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(1)).await;
    run.trade().await;
    venue.on_submit(OnSubmit::LoseRequest);
    run.quote();
    until("asked", || venue.calls("query") >= 1).await;
    // The signed window is 5 s: "not found" proves nothing yet.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(run.handle.board().len(), 1);
    let resolved = || run.handle.board().is_empty();
    until("given up", resolved).await;
    assert_eq!(venue.calls("submit"), 1);
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_is_recovery_and_finds_the_orders_of_the_former_run() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(2)).await;
    run.trade().await;
    venue.on_submit(OnSubmit::Accept);
    run.quote();
    until("one accepted", || venue.open().len() == 1).await;
    venue.on_submit(OnSubmit::AcceptSilently);
    venue.answers_queries.store(false, Ordering::SeqCst);
    run.quote();
    until("one unknown", || venue.open().len() == 2).await;
    assert!(run.handle.settled(SOON).await);
    // The process dies here: nothing is wound, no session is closed; what was written is on disk.
    let crashed = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), crashed.path().join(file.file_name())).unwrap();
    }
    run.end().await;
    venue.answers_queries.store(true, Ordering::SeqCst);

    let run = start(crashed.path(), &venue, Habit::Place(0)).await;
    assert_eq!(run.epoch, 2);
    assert!(run.handle.started(Duration::from_millis(50)).await.is_err(), "not before the venue has answered");
    run.trade().await;
    assert_eq!(run.handle.board().len(), 2);
    let live = || run.handle.status().open_orders.iter().filter(|order| order.state == "Live").count();
    until("both are known to be live", || live() == 2).await;
    assert_eq!(run.handle.wind(ExitPolicy::CancelEntries, SOON, SOON).await, WindOutcome::Wound);
    assert!(venue.open().is_empty());
    assert_eq!(venue.calls("submit"), 2, "nothing was sent again");
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o05_the_escape_path_cancels_while_a_strategy_blocks_the_engine() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::BlockAfterTwo).await;
    run.trade().await;
    run.quote();
    run.quote();
    until("two orders", || venue.open().len() == 2).await;
    assert!(run.handle.settled(SOON).await);
    run.quote();
    let watch = run.handle.watch_heartbeat();
    let watch = parking_lot::Mutex::new(watch);
    until("stuck", || watch.lock().look() > Duration::from_millis(50)).await;

    // A runtime of its own, as the control thread has; the trading runtime's workers are not needed.
    let (handle, escape) = (run.handle.clone(), run.escape());
    let control = std::thread::Builder::new()
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(handle.wind_or_escape(ExitPolicy::CancelEntries, &escape, Duration::from_secs(8)))
        })
        .unwrap();
    until("escaped", || control.is_finished()).await;
    let (outcome, report) = control.join().unwrap();
    let report = report.unwrap();
    assert!(matches!(outcome, WindOutcome::Stuck(_)), "{outcome:?}");
    assert_eq!(report.orders.len(), 2);
    let is_confirmed = |outcome: &EscapeOutcome| *outcome == EscapeOutcome::Confirmed(OrderStatus::Canceled);
    assert!(report.orders.iter().all(|(_, outcome)| is_confirmed(outcome)), "{report}");
    assert!(venue.open().is_empty() && run.gate.level() == GateLevel::Shut);

    // Once the strategy lets go, the engine hears what happened meanwhile and ends in order.
    run.unblock.store(true, Ordering::SeqCst);
    assert_eq!(run.handle.wind(ExitPolicy::CancelEntries, SOON, SOON).await, WindOutcome::Wound);
    run.end().await;
    let entries = keel_store::read_all(folder.path()).unwrap();
    let escapes =
        entries.iter().filter(|e| matches!(e.record, keel_store::Record::CancelIntent { is_escape: true, .. })).count();
    assert_eq!(escapes, 2, "the escape path has a journal lane of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p17_a_strategy_that_panics_stops_the_system_and_the_escape_path_cancels() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::PanicAfterTwo).await;
    run.trade().await;
    run.quote();
    run.quote();
    until("two orders", || venue.open().len() == 2).await;
    run.quote();
    until("the stop is asked for", || run.supervisor.stop_signal().is_requested()).await;
    assert!(matches!(&run.supervisor.stop_signal().reasons()[0], StopReason::TaskPanicked { .. }));
    assert!(matches!(run.handle.command(Command::Pause), Err(GatewayError::Ended)));
    let (outcome, report) = run.handle.wind_or_escape(ExitPolicy::CancelAll, &run.escape(), SOON).await;
    assert_eq!(outcome, WindOutcome::Ended);
    assert_eq!(report.unwrap().unconfirmed(), 0);
    assert!(venue.open().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_the_escape_path_ends_in_time_and_names_what_is_not_confirmed() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(3)).await;
    run.trade().await;
    for _ in 0..3 {
        run.quote();
    }
    until("three orders", || venue.open().len() == 3).await;
    venue.answers_cancels.store(false, Ordering::SeqCst);
    let report = run.escape().cancel_all(EscapeScope::All, Duration::from_millis(200)).await;
    assert_eq!((report.orders.len(), report.unconfirmed()), (3, 3), "{report}");
    assert!(report.to_string().contains("NOT CONFIRMED"), "{report}");
    assert!(venue.calls("cancel") >= 6, "cancelling again is safe and was tried");
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_reach_the_engine_and_keep_it_from_trading() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(10)).await;
    run.trade().await;
    run.handle.command(Command::StopStrategies).unwrap();
    until("reducing", || run.handle.status().trading_state == TradingState::Reducing).await;
    run.quote();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(venue.calls("submit"), 0);
    assert!(run.notices.lock().iter().any(|notice| matches!(notice, Notice::Started)));
    let end = run.end().await;
    assert!(end.is_saved && end.open_orders == 0 && end.digest.len() == 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_runs_have_equal_digests() {
    let mut digests = Vec::new();
    for _ in 0..2 {
        let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
        let run = start(folder.path(), &venue, Habit::Place(2)).await;
        run.trade().await;
        run.quote();
        run.quote();
        until("two orders", || venue.open().len() == 2).await;
        assert_eq!(run.handle.wind(ExitPolicy::CancelAll, SOON, SOON).await, WindOutcome::Wound);
        digests.push(run.end().await.digest);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t04_an_engine_that_is_stuck_is_told_of_and_stops_the_system() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::BlockAfterTwo).await;
    run.trade().await;
    let watch = run.handle.clone().watch_engine(
        run.supervisor.stop_signal(),
        Duration::from_millis(20),
        Duration::from_millis(60),
        run.supervisor.root_token(),
    );
    drop(run.supervisor.group("watch").spawn("engine-watch", keel_lifecycle::TaskKind::Background, watch));
    run.quote();
    run.quote();
    until("two orders", || venue.open().len() == 2).await;
    assert!(!run.supervisor.stop_signal().is_requested());
    run.quote();
    until("the stop is asked for", || run.supervisor.stop_signal().is_requested()).await;
    let reasons = run.supervisor.stop_signal().reasons();
    assert!(matches!(&reasons[0], StopReason::Fault { what } if what.contains("stuck in one event")), "{reasons:?}");
    run.unblock.store(true, Ordering::SeqCst);
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o05_an_emergency_stop_lowers_the_gate_before_the_engine_hears_of_it() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::BlockAfterTwo).await;
    run.trade().await;
    run.quote();
    run.quote();
    until("two orders", || venue.open().len() == 2).await;
    run.quote();
    run.handle.command(Command::EmergencyStop("a person said so".to_owned())).unwrap();
    assert_eq!(run.gate.level(), GateLevel::ExitsOnly, "although the engine is stuck");
    run.unblock.store(true, Ordering::SeqCst);
    until("cancelled", || venue.open().is_empty()).await;
    run.end().await;
}

#[test]
fn a_full_execution_lane_asks_for_the_stop_and_loses_nothing() {
    let stop = StopSignal::default();
    let capacity = LaneCapacity { execution: 8, execution_reserve: 8, command: 2, market: 4 };
    let lanes = Arc::new(Lanes::new(capacity, stop.clone()));
    let id = keel_model::ClientOrderId { instance: 1, epoch: 1, sequence: 1 };
    for n in 1..=8 {
        assert!(!stop.is_requested(), "{n}");
        lanes.push_execution(Timestamp::from_ns(n), ExecutionEvent::Armed(id));
    }
    assert!(stop.is_requested());
    assert!(matches!(&stop.reasons()[0], StopReason::Fault { what } if what.contains("execution lane is full")));
    for n in 9..=16 {
        lanes.push_execution(Timestamp::from_ns(n), ExecutionEvent::Armed(id));
    }
    assert_eq!((lanes.status().execution, lanes.status().execution_lost), (16, 0));
    lanes.push_execution(Timestamp::from_ns(17), ExecutionEvent::Armed(id));
    assert_eq!(lanes.status().execution_lost, 1, "beyond the reserve it is counted");
    lanes.push_command(Timestamp::ZERO, Command::Pause).unwrap();
    lanes.push_command(Timestamp::ZERO, Command::Pause).unwrap();
    let error = lanes.push_command(Timestamp::ZERO, Command::Pause).unwrap_err();
    assert!(matches!(error, GatewayError::CommandLaneFull { capacity: 2 }) && error.is_retryable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_the_journal_of_a_run_rebuilds_its_orders_and_positions() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(3)).await;
    run.trade().await;
    for _ in 0..3 {
        run.quote();
    }
    until("three orders", || venue.open().len() == 3).await;
    let filled = venue.open()[0];
    run.fill(filled, 7);
    until("booked", || !run.handle.status().positions.is_empty()).await;
    assert_eq!(run.handle.wind(ExitPolicy::CancelAll, SOON, SOON).await, WindOutcome::Wound);
    let first = run.end().await;
    assert_eq!(first.status.fills_total, 1);

    // Nothing happened in between, so the second run finds what the first one left, and ends the same.
    let run = start(folder.path(), &venue, Habit::Place(0)).await;
    run.trade().await;
    let second = run.end().await;
    let held = |end: &keel_gateway::CoordinatorEnd| {
        end.status.positions.iter().map(|it| (it.instrument, it.quantity, it.average_price)).collect::<Vec<_>>()
    };
    assert_eq!(held(&second), held(&first));
    // Counts and money are of one run each: nothing of the first is counted twice.
    let counted = |end: &keel_gateway::CoordinatorEnd| (end.status.orders_total, end.status.fills_total);
    assert_eq!((counted(&first), counted(&second)), ((3, 1), (0, 0)));
    assert!(second.status.realized.is_zero() && second.status.fees.is_zero() && second.status.fees_by_asset.is_empty());
    assert_eq!(second.open_orders, 0);
}
