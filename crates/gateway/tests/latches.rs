//! What risk decides is in the journal, and a latch that is in the journal holds the next start.

use crate::common::{FakeVenue, Habit, SOON, start, until};
use keel_exchange::AccountSink as _;
use keel_model::{Command, FeedState, RiskScope};
use keel_risk::RiskSnapshot;
use keel_store::{Decision, Record};
use std::path::Path;
use std::time::Duration;

fn records(folder: &Path) -> Vec<Record> {
    keel_store::read_all(folder).unwrap().into_iter().map(|entry| entry.record).collect()
}

fn latches(records: &[Record]) -> Vec<RiskSnapshot> {
    let of = |record: &Record| match record {
        Record::RiskSnapshot(bytes) => Some(postcard::from_bytes(bytes).unwrap()),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rc_18_denials_and_latches_are_in_the_journal_and_an_emergency_holds_the_next_start() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(2)).await;
    run.trade().await;
    run.quote();
    until("an order", || venue.open().len() == 1).await;
    run.handle.command(Command::Kill(RiskScope::Account, "a drill".to_owned())).unwrap();
    until("entries cancelled", || venue.open().is_empty()).await;
    run.quote();
    until("a denial", || run.handle.status().orders_denied == 1).await;
    assert_eq!(run.handle.status().guards.len(), 1);
    run.handle.command(Command::EmergencyStop("a drill".to_owned())).unwrap();
    let report = || run.handle.status().emergency.clone().unwrap_or_default();
    until("durable, told and done", || report().is_complete()).await;
    run.end().await;

    let written = records(folder.path());
    let denied = written.iter().find_map(|record| match record {
        Record::Decision(_, Decision::Denied { order, control, reason }) => {
            Some((*order, control.clone(), reason.clone()))
        }
        _ => None,
    });
    let (order, control, reason) = denied.expect("the denial is in the journal");
    assert_eq!((order.strategy.0, control.as_str()), (0, "RC-18"));
    assert!(reason.contains("kill switch of the account"), "{reason}");
    let saved = latches(&written);
    assert!(!saved[0].is_emergency && saved[0].guards.kills.len() == 1, "saved when the switch was thrown");
    assert!(saved[1].is_emergency, "and when the emergency stop was");

    let run = start(folder.path(), &venue, Habit::Place(1)).await;
    run.account.on_state(FeedState::Live, run.now());
    let error = run.handle.started(Duration::from_millis(500)).await.unwrap_err();
    assert!(error.to_string().contains("emergency stop is latched"), "{error}");
    run.quote();
    assert_eq!(run.handle.status().orders_total, 0);
    run.handle.command(Command::Rearm(RiskScope::Account)).unwrap();
    run.handle.started(SOON).await.unwrap();
    run.quote();
    until("it trades again", || venue.open().len() == 1).await;
    run.end().await;
    assert!(!latches(&records(folder.path())).last().unwrap().is_emergency);
}
