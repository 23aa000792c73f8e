//! Snapshots: what is restored and replayed to the end is what a whole replay comes to; a bad snapshot costs a longer replay;
//! what is removed is what two snapshots stand for; a journal that lost what a snapshot stands for is damaged.

use crate::stream::{SYMBOLS, Stream, instruments};
use keel_engine::{Engine, EngineConfig};
use keel_execution::ExecutionConfig;
use keel_gateway::{
    GatewayError, ReplayOptions, Replayed, SnapshotAuthor, SnapshotReport, Snapshots, SnapshotsParts, replay_journal,
    take_snapshot,
};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_model::{Instruments, Timestamp};
use keel_risk::RiskLimits;
use keel_store::snapshot::{list_snapshots, newest_snapshot};
use keel_store::{Durability, Journal, JournalOptions, StoreError, verify};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn make(instruments: &Instruments) -> impl FnMut() -> Result<Engine, String> + use<> {
    let config = EngineConfig {
        instruments: instruments.clone(),
        limits: RiskLimits { quote_asset: "USDT".parse().unwrap(), ..RiskLimits::default() },
        execution: ExecutionConfig { instance: 7, epoch: 99, ..ExecutionConfig::default() },
        ..EngineConfig::default()
    };
    move || Engine::new(config.clone(), Vec::new()).map_err(|error| error.to_string())
}

fn open(folder: &Path) -> Journal {
    let options = JournalOptions {
        durability: Durability::Process,
        segment_bytes: 1 << 16,
        ..JournalOptions::new(folder, "paper", 7)
    };
    Journal::open(options).unwrap().0
}

/// Appends records and waits until they are written.
fn put(journal: &Journal, stream: &mut Stream, count: usize) {
    for (number, record) in stream.take(count).enumerate() {
        loop {
            match journal.append(&record) {
                Ok(ticket) if number + 1 == count => break ticket.wait_blocking(SOON).unwrap(),
                Ok(_) => break,
                Err(StoreError::LaneFull { .. }) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn snapshot(folder: &Path, segments_kept: usize) -> Result<Option<SnapshotReport>, GatewayError> {
    let known = instruments(&SYMBOLS);
    let author =
        SnapshotAuthor { instance: 7, mode: "paper".into(), program: "test".into(), ts: Timestamp::from_ns(1) };
    take_snapshot(folder, &known, &mut make(&known), &author, segments_kept, &|| false)
}

fn replay(folder: &Path, ignores_snapshots: bool) -> Result<(Engine, Replayed), GatewayError> {
    let known = instruments(&SYMBOLS);
    let options = ReplayOptions { ignores_snapshots, ..ReplayOptions::default() };
    replay_journal(folder, &known, &mut make(&known), &options)
}

/// How many streams: few in the usual run, as many as `KEEL_SEEDS` says for a long one.
fn seeds() -> u64 {
    std::env::var("KEEL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Everything that a start goes on from.
fn state(engine: &Engine) -> String {
    let mut status = engine.status();
    status.open_orders.sort_by_key(|order| order.client_order_id);
    format!(
        "{}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{}",
        engine.digest(),
        engine.orders().all(),
        engine.orders().counters(),
        engine.portfolio(),
        engine.risk().snapshot(engine.now()),
        engine.holds(),
        status,
        engine.replayed_total(),
    )
}

fn assert_same(left: &Engine, right: &Engine, what: &str) {
    let (left, right) = (state(left), state(right));
    if left != right {
        let differs = left.lines().zip(right.lines()).enumerate().find(|(_, (a, b))| a != b);
        panic!("{what}: {differs:?}");
    }
}

#[test]
fn d_08_restored_from_a_snapshot_anywhere_is_what_a_whole_replay_comes_to() {
    for seed in 0..seeds() {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path());
        let mut stream = Stream::new(seed);
        for part in 0..6 {
            put(&journal, &mut stream, 40 + (seed as usize * 37 + part * 91) % 300);
            let taken = snapshot(folder.path(), usize::MAX).unwrap().unwrap();
            let (whole, _) = replay(folder.path(), true).unwrap();
            assert_eq!(taken.header.digest, whole.digest().to_string(), "seed {seed}, part {part}");
        }
        put(&journal, &mut stream, 150);
        let (whole, all) = replay(folder.path(), true).unwrap();
        let (resumed, rest) = replay(folder.path(), false).unwrap();
        assert!(rest.snapshot_sequence > 0 && rest.records == 150, "{rest:?}");
        assert_eq!(all.records, rest.snapshot_sequence + rest.records);
        assert_same(&whole, &resumed, &format!("seed {seed}"));
        let mut both = [whole, resumed].map(|mut engine| {
            let mut out = keel_engine::Outbox::new();
            engine.end_replay(Timestamp::from_ns(1_800_000_000_000_000_000), &mut out);
            (format!("{:?}", out.effects()), engine)
        });
        assert_eq!(both[0].0, both[1].0, "seed {seed}: what the venue is asked");
        let [left, right] = &mut both;
        assert_same(&left.1, &right.1, &format!("seed {seed}, after the end of the replay"));
        journal.close(SOON).unwrap();
    }
}

#[test]
fn d_08_segments_before_the_older_of_two_snapshots_go_and_the_rest_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut stream = Stream::new(5);
    let first = folder.path().join("journal-00000001.seg");
    put(&journal, &mut stream, 1_500);
    assert_eq!(snapshot(folder.path(), 1).unwrap().unwrap().truncated.segments, 0, "one snapshot is not enough");
    let whole = replay(folder.path(), true).unwrap().0;
    put(&journal, &mut stream, 1_500);
    let taken = snapshot(folder.path(), 1).unwrap().unwrap();
    assert!(taken.truncated.segments > 0 && !first.exists());
    assert_eq!(snapshot(folder.path(), 1).unwrap(), None, "nothing has come since");
    let report = verify(folder.path()).unwrap();
    assert!(report.records < report.records_total && report.records_total == 3_000, "{report:?}");
    let (resumed, replayed) = replay(folder.path(), false).unwrap();
    assert_eq!((replayed.records, replayed.sequence), (0, 3_000));
    assert_eq!(resumed.digest().to_string(), taken.header.digest);
    // The older one still leads there.
    let newest = newest_snapshot(folder.path()).unwrap().unwrap();
    std::fs::remove_file(&newest.path).unwrap();
    let (longer, replayed) = replay(folder.path(), false).unwrap();
    assert_eq!((replayed.snapshot_sequence, replayed.sequence), (1_500, 3_000));
    assert_same(&resumed, &longer, "from the older snapshot");
    assert_ne!(whole.digest(), resumed.digest());
    journal.close(SOON).unwrap();
    // And a start goes on where it was.
    let journal = open(folder.path());
    put(&journal, &mut stream, 100);
    journal.close(SOON).unwrap();
    assert_eq!(replay(folder.path(), false).unwrap().1.sequence, 3_100);
}

#[test]
fn d_04_a_bad_snapshot_costs_a_longer_replay_and_two_stop_the_start_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut stream = Stream::new(6);
    for _ in 0..3 {
        put(&journal, &mut stream, 1_200);
        snapshot(folder.path(), 1).unwrap().unwrap();
    }
    journal.close(SOON).unwrap();
    let good = replay(folder.path(), false).unwrap().0;
    let snapshots = list_snapshots(folder.path()).unwrap();
    assert_eq!(snapshots.len(), 2);
    let spoil = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    spoil(&snapshots[0].1);
    let (longer, replayed) = replay(folder.path(), false).unwrap();
    assert_eq!(replayed.snapshot_sequence, 2_400);
    assert_same(&good, &longer, "from the older snapshot");
    spoil(&snapshots[1].1);
    let error = replay(folder.path(), false).unwrap_err().to_string();
    assert!(error.contains("damaged") || error.contains("hash of the snapshot"), "{error}");
    let error = Journal::open(JournalOptions::new(folder.path(), "paper", 7)).unwrap_err().to_string();
    assert!(error.contains("no snapshot that can be read stands for them"), "{error}");
}

#[test]
fn d_04_a_flipped_bit_anywhere_in_a_snapshot_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    put(&journal, &mut Stream::new(7), 3);
    let taken = snapshot(folder.path(), 1).unwrap().unwrap();
    journal.close(SOON).unwrap();
    let good = std::fs::read(&taken.path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        std::fs::write(&taken.path, &bad).unwrap();
        assert!(keel_store::snapshot::read_snapshot(&taken.path).is_err(), "byte {at}");
    }
    let report = verify(folder.path()).unwrap();
    assert_eq!(report.damaged_snapshots.len(), 1, "and verification tells of it: {report:?}");
    for cut in (0..good.len()).step_by(13) {
        std::fs::write(&taken.path, &good[..cut]).unwrap();
        assert!(keel_store::snapshot::read_snapshot(&taken.path).is_err(), "cut at {cut}");
    }
}

#[test]
fn d_04_a_journal_that_lost_what_a_snapshot_stands_for_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut stream = Stream::new(8);
    put(&journal, &mut stream, 20);
    let before = std::fs::read(folder.path().join("journal-00000001.seg")).unwrap();
    put(&journal, &mut stream, 20);
    snapshot(folder.path(), 1).unwrap().unwrap();
    drop(journal);
    std::thread::sleep(Duration::from_millis(50));
    let head = std::fs::read(folder.path().join("HEAD")).unwrap();
    std::fs::write(folder.path().join("journal-00000001.seg"), before).unwrap();
    let error = verify(folder.path()).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    std::fs::write(folder.path().join("HEAD"), head).unwrap();
    assert!(replay(folder.path(), false).is_err());
}

#[test]
fn instruments_are_known_by_name_when_a_later_run_numbers_them_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut stream = Stream::new(9);
    put(&journal, &mut stream, 600);
    snapshot(folder.path(), 1).unwrap().unwrap();
    put(&journal, &mut stream, 200);
    let turned = instruments(&["ETHUSDT", "XYZUSDT", "BTCUSDT"]);
    let on = |ignores_snapshots| {
        let options = ReplayOptions { ignores_snapshots, ..ReplayOptions::default() };
        replay_journal(folder.path(), &turned, &mut make(&turned), &options).unwrap().0
    };
    // Numbers of instruments are part of the running hash over fills, so the digest cannot be the same; the books are.
    let (resumed, whole) = (on(false), on(true));
    assert_eq!(format!("{:?}", resumed.orders().all()), format!("{:?}", whole.orders().all()));
    assert_eq!(resumed.portfolio(), whole.portfolio());
    assert_eq!(resumed.risk().snapshot(resumed.now()), whole.risk().snapshot(whole.now()));
    let missing = instruments(&["ETHUSDT"]);
    let outcome = replay_journal(folder.path(), &missing, &mut make(&missing), &ReplayOptions::default());
    assert!(outcome.unwrap_err().to_string().contains("BTCUSDT"));
    journal.close(SOON).unwrap();
}

/// The nice value of the calling thread.
fn nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // After the name in parentheses: state, …, priority (16th), nice (17th).
    stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap()
}

/// Snapshots of `journal` beside a run; `before` is called in the thread that makes one, before it begins.
fn beside(journal: &Journal, interval: u64, clock: &Clock, mut before: impl FnMut() + Send + 'static) -> Snapshots {
    let known = instruments(&SYMBOLS);
    let mut fresh = make(&known);
    let parts = SnapshotsParts {
        journal: journal.clone(),
        records_before: 0,
        covered: 0,
        records_interval: interval,
        segments_kept: 64,
        needed: Box::new(|| u64::MAX),
        instruments: Arc::new(known),
        make: Box::new(move || {
            before();
            fresh()
        }),
        instance: 7,
        mode: "paper".into(),
        program: "test".into(),
        clock: clock.clone(),
        ledger: ResourceLedger::default(),
    };
    Snapshots::start(parts).unwrap()
}

fn drafts(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".new")).count()
}

#[test]
fn r_03_a_last_snapshot_whose_time_is_over_is_given_up_and_nothing_of_it_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    put(&journal, &mut Stream::new(11), 50);
    journal.close(SOON).unwrap();
    let clock = Clock::manual();
    // So slow a machine that a second passes before the replay has begun.
    let slow = clock.clone();
    let mut snapshots = beside(&journal, u64::MAX, &clock, move || assert!(slow.advance(Duration::from_secs(1))));
    snapshots.begin_finish(Duration::from_millis(999));
    snapshots.join();
    assert!(snapshots.has_ended() && drafts(folder.path()) == 0);
    assert_eq!(list_snapshots(folder.path()).unwrap(), vec![], "a snapshot was made although its time was over");
    let mut snapshots = beside(&journal, u64::MAX, &clock, || ());
    snapshots.begin_finish(Duration::from_millis(999));
    snapshots.join();
    assert_eq!(list_snapshots(folder.path()).unwrap().len(), 1, "in time it is made");
}

#[test]
fn r_03_the_last_snapshot_has_normal_priority_and_waits_for_none_beside_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    put(&journal, &mut Stream::new(12), 2_000);
    let (tell, told) = sync_channel(8);
    let (go_on, wait) = sync_channel::<()>(0);
    let mut is_first = true;
    let mut snapshots = beside(&journal, 1_000, &Clock::system(), move || {
        tell.send(nice()).unwrap();
        if std::mem::take(&mut is_first) {
            wait.recv().unwrap();
        }
    });
    assert_eq!(told.recv_timeout(SOON).unwrap(), 15, "beside the run it lets others go first");
    journal.close(SOON).unwrap();
    snapshots.begin_finish(SOON);
    go_on.send(()).unwrap();
    snapshots.join();
    assert_eq!(told.recv_timeout(SOON).unwrap(), nice(), "the last one does not");
    assert!(told.try_recv().is_err(), "more than these two were begun");
    let made = list_snapshots(folder.path()).unwrap();
    assert_eq!(made.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [2_000], "the first was given up");
}
