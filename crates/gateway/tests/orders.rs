//! Placements and cancels on their way out: durable first, the gate last, answered exactly once.

use crate::common::{FakeVenue, Habit, OnSubmit, Run, SOON, approved, start, until};
use keel_gateway::{GateLevel, Stage};
use keel_model::{CancelOrder, Command, ExecutionEvent, NotSentReason, OrderPurpose, SubmitOutcome, UnknownReason};
use keel_store::{Record, read_all};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A run whose strategy is silent: the test hands orders to the gateway itself and reads the journal for the answers.
async fn quiet(folder: &tempfile::TempDir, venue: &FakeVenue) -> Run {
    let run = start(folder.path(), venue, Habit::Place(0)).await;
    run.trade().await;
    run
}

/// Every answer to placements, as the engine heard them.
fn answers(folder: &tempfile::TempDir) -> Vec<SubmitOutcome> {
    let entries = read_all(folder.path()).unwrap();
    entries
        .into_iter()
        .filter_map(|entry| match entry.record {
            Record::Execution(_, ExecutionEvent::Submit(_, outcome)) => Some(outcome),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_no_byte_leaves_before_the_intent_is_durable() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    run.disk.hold();
    let order = approved(OrderPurpose::Entry, 1).pop().unwrap();
    run.gateway.submit(order, run.now());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(venue.calls("submit"), 0, "the disk hangs, so nothing may have been sent");
    run.disk.release();
    until("sent after the disk is back", || venue.calls("sent") == 1).await;
    until("answered", || run.gateway.in_flight().submits == 0).await;
    let end = run.end().await;
    assert!(end.is_saved);
    assert!(matches!(answers(&folder)[..], [SubmitOutcome::Accepted(_)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d03_an_intent_that_does_not_become_durable_in_time_is_not_sent_and_the_system_stops() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    run.disk.hold();
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    until("given up", || run.gateway.in_flight().submits == 0).await;
    assert!(run.supervisor.stop_signal().is_requested());
    run.disk.release();
    run.end().await;
    assert_eq!(venue.calls("submit"), 0);
    assert_eq!(answers(&folder), [SubmitOutcome::NotSent(NotSentReason::NotDurable)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d02_after_a_failed_sync_no_order_leaves_and_the_gate_is_shut() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    run.disk.fails.store(true, Ordering::SeqCst);
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    until("refused", || run.gateway.in_flight().submits == 0).await;
    until("noticed", || run.supervisor.stop_signal().is_requested() && run.gate.level() == GateLevel::Shut).await;
    assert_eq!(venue.calls("submit"), 0);
    // The run can still end, and says that nothing was saved.
    let report = run.supervisor.group("coordinator").stop(SOON).await;
    assert!(report.is_clean(), "{report}");
    assert!(!run.handle.end().unwrap().is_saved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_never_waits_for_the_journal() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    let order = approved(OrderPurpose::Entry, 1).pop().unwrap();
    let id = order.get().client_order_id;
    run.gateway.submit(order, run.now());
    until("accepted", || venue.open().len() == 1).await;
    run.disk.hold();
    run.gateway.cancel(CancelOrder { client_order_id: id, venue_order_id: None, instrument: crate::common::BTC });
    until("cancelled at the venue while the disk hangs", || venue.open().is_empty()).await;
    run.disk.release();
    run.end().await;
    let is_recorded = |record: &Record| matches!(record, Record::CancelIntent { order, is_escape: false, .. } if order.client_order_id == id);
    assert!(read_all(folder.path()).unwrap().iter().any(|entry| is_recorded(&entry.record)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s04_behind_a_closed_gate_nothing_is_sent() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    run.gate.close(GateLevel::ExitsOnly);
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    until("answered", || run.gateway.in_flight().submits == 0).await;
    assert_eq!(venue.calls("submit"), 0);
    run.end().await;
    assert_eq!(answers(&folder), [SubmitOutcome::NotSent(NotSentReason::GateClosed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_gate_that_closes_while_the_intent_waits_for_the_disk_holds_the_order_back() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    run.disk.hold();
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    run.gate.close(GateLevel::Shut);
    until("answered although the disk hangs", || run.gateway.in_flight().submits == 0).await;
    run.disk.release();
    run.end().await;
    assert_eq!(venue.calls("submit"), 0);
    assert_eq!(answers(&folder), [SubmitOutcome::NotSent(NotSentReason::GateClosed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i8_a_gate_that_closes_while_the_client_waits_takes_the_order_back() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    venue.on_submit(OnSubmit::HangBeforeFirstByte);
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    until("with the client", || venue.calls("submit") == 1).await;
    run.gate.close(GateLevel::Shut);
    until("taken back", || run.gateway.in_flight().submits == 0).await;
    assert_eq!(venue.calls("sent"), 0);
    run.end().await;
    assert_eq!(answers(&folder), [SubmitOutcome::NotSent(NotSentReason::GateClosed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_placement_whose_task_is_aborted_after_its_first_byte_is_unknown() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    venue.on_submit(OnSubmit::HangAfterFirstByte);
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    until("sent", || venue.calls("sent") == 1).await;
    run.gate.close(GateLevel::Shut);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(run.gateway.in_flight().submits, 1, "after the first byte only the answer counts");
    drop(run.supervisor.group("execution").abort_all());
    until("answered", || run.gateway.in_flight().submits == 0).await;
    run.end().await;
    assert_eq!(answers(&folder), [SubmitOutcome::Unknown(UnknownReason::ConnectionLost)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p17_a_panic_in_the_adapter_leaves_an_unknown_order_not_a_lost_one() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    venue.on_submit(OnSubmit::Panic);
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    until("answered", || run.gateway.in_flight().submits == 0).await;
    assert_eq!(run.supervisor.background_panics(), 1);
    run.end().await;
    assert_eq!(answers(&folder), [SubmitOutcome::Unknown(UnknownReason::ConnectionLost)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_answered_as_what_it_is() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(1)).await;
    run.trade().await;
    venue.on_submit(OnSubmit::Reject);
    run.quote();
    until("sent", || venue.calls("sent") == 1).await;
    until("closed", || run.handle.board().is_empty() && run.gateway.in_flight().submits == 0).await;
    let end = run.end().await;
    assert_eq!((end.status.orders_total, end.status.orders_rejected, end.open_orders), (1, 1, 0));
    assert!(matches!(answers(&folder)[..], [SubmitOutcome::Rejected(_)]));
}

#[tokio::test]
async fn s01_the_gate_is_closed_from_another_thread_while_every_worker_is_blocked() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    // The runtime has this one thread, and it does not yield until the gate is closed.
    run.gateway.submit(approved(OrderPurpose::Entry, 1).pop().unwrap(), run.now());
    let gate = run.gate.clone();
    let control = std::thread::Builder::new().spawn(move || {
        let began = std::time::Instant::now();
        gate.close(GateLevel::Shut);
        began.elapsed()
    });
    let took = control.unwrap().join().unwrap();
    until("answered", || run.gateway.in_flight().submits == 0).await;
    assert_eq!(venue.calls("submit"), 0);
    assert!(took < Duration::from_millis(10), "{took:?}");
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_placements_than_may_be_under_way_are_answered_at_once() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = quiet(&folder, &venue).await;
    venue.on_submit(OnSubmit::HangAfterFirstByte);
    for order in approved(OrderPurpose::Entry, 40) {
        run.gateway.submit(order, run.now());
    }
    until("all sent", || venue.calls("sent") == 40).await;
    assert_eq!(run.gateway.in_flight().submits, 40);
    assert!(!run.gateway.settled(Duration::from_millis(20)).await);
    drop(run.supervisor.group("execution").abort_all());
    assert!(run.gateway.settled(SOON).await);
    run.end().await;
    assert_eq!(answers(&folder).len(), 40, "each is answered exactly once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_holds_the_intent_before_anything_about_the_order() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(3)).await;
    run.trade().await;
    for _ in 0..3 {
        run.quote();
    }
    until("three orders", || venue.open().len() == 3).await;
    assert!(run.handle.settled(SOON).await);
    until("acks measured", || run.handle.latency().stage(Stage::FrameToAck).count == 3).await;
    let latency = run.handle.latency();
    for stage in [Stage::FrameToDecision, Stage::DecisionToDurable, Stage::DurableToSigned, Stage::SignedToAck] {
        assert_eq!(latency.stage(stage).count, 3, "{stage:?}");
    }
    run.handle.command(Command::Pause).unwrap();
    run.end().await;
    let entries = read_all(folder.path()).unwrap();
    for id in venue.open() {
        let intent = entries.iter().position(|e| matches!(&e.record, Record::Intent(new) if new.client_order_id == id));
        let sent = entries.iter().position(
            |e| matches!(&e.record, Record::Execution(_, ExecutionEvent::Sent { client_order_id, .. }) if *client_order_id == id),
        );
        let ack = entries
            .iter()
            .position(|e| matches!(&e.record, Record::Execution(_, ExecutionEvent::Submit(of, _)) if *of == id));
        assert!(intent.unwrap() < sent.unwrap() && sent.unwrap() < ack.unwrap());
    }
    assert!(matches!(entries.last().unwrap().record, Record::SessionEnd { is_clean: false, .. }), "orders are open");
}
