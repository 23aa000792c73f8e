//! The venue's rules are asked for while the run goes on.

use crate::common::{BTC, FakeVenue, Habit, start, until};
use keel_gateway::watch_rules;
use keel_model::{Command, InstrumentStatus};
use keel_store::{Record, read_all};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v_20_a_halt_or_a_delisting_is_found_out_by_asking_and_entries_are_cancelled() {
    let (folder, venue) = (tempfile::tempdir().unwrap(), FakeVenue::new());
    let run = start(folder.path(), &venue, Habit::Place(1)).await;
    run.trade().await;
    let known = Arc::new(crate::common::instruments());
    let (client, handle) = (venue.client(), run.handle.clone());
    let group = run.supervisor.group("rules");
    let _task = group.spawn_with("rules", keel_lifecycle::TaskKind::Background, move |stop| {
        watch_rules(client, handle, known, Duration::from_millis(10), stop)
    });
    run.quote();
    until("an entry is open", || venue.open().len() == 1).await;
    // The venue leaves one out of its answer: it does not know it any more.
    venue.rules.lock().retain(|rules| rules.id != BTC);
    until("it is cancelled", || venue.open().is_empty()).await;
    assert!(venue.calls("instruments") > 1);
    assert!(group.stop(crate::common::SOON).await.is_clean());
    run.end().await;
    let told = read_all(folder.path()).unwrap().into_iter().find_map(|entry| match entry.record {
        Record::Command(_, Command::Instrument(rules)) => Some(rules.status),
        _ => None,
    });
    assert_eq!(told, Some(InstrumentStatus::Unknown));
}
