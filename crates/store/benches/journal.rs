//! Figures of the journal: append, durable hand-off against a bare write and sync, group commit, replay.
//! Run with `cargo bench -p keel-store`. The disk decides most of it: figures of two machines do not compare.
#![allow(missing_docs, reason = "a bench binary")]
#![allow(clippy::disallowed_methods, reason = "it measures")]

use hdrhistogram::Histogram;
use keel_model::{
    ClientOrderId, InstrumentId, NewOrder, OrderIntent, OrderPurpose, Price, Quantity, Side, StrategyId, Timestamp,
};
use keel_store::{Durability, Journal, JournalOptions, Record, StoreError, for_each};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn intent(sequence: u64) -> Record {
    Record::Intent(NewOrder {
        client_order_id: ClientOrderId { instance: 7, epoch: 1, sequence },
        strategy: StrategyId(1),
        ts_decided: Timestamp::from_ns(1_700_000_000_000_000_000 + sequence),
        intent: OrderIntent::limit(
            InstrumentId(0),
            Side::Buy,
            Quantity::new(15_000, 5).unwrap(),
            Price::new(6_000_000, 2).unwrap(),
            OrderPurpose::Entry,
        ),
    })
}

fn print(name: &str, histogram: &Histogram<u64>) {
    println!(
        "{name:<46} p50 {:>9} ns   p99 {:>9} ns   max {:>10} ns",
        histogram.value_at_quantile(0.5),
        histogram.value_at_quantile(0.99),
        histogram.max()
    );
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap()
}

fn append(durability: Durability, pause: Duration) -> Histogram<u64> {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) =
        Journal::open(JournalOptions { durability, ..JournalOptions::new(folder.path(), "bench", 1) }).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut times = histogram();
    for sequence in 1..=20_000 {
        let record = intent(sequence);
        let start = Instant::now();
        let ticket = journal.append(&record);
        times.record(elapsed_ns(start)).unwrap();
        drop(ticket.unwrap());
        let wait = Instant::now();
        while wait.elapsed() < pause {
            std::hint::spin_loop();
        }
    }
    journal.close(SOON).unwrap();
    times
}

fn durable(durability: Durability) -> Histogram<u64> {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) =
        Journal::open(JournalOptions { durability, ..JournalOptions::new(folder.path(), "bench", 1) }).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let mut times = histogram();
    for sequence in 1..=1_000 {
        let record = intent(sequence);
        let start = Instant::now();
        journal.append(&record).unwrap().wait_blocking(SOON).unwrap();
        times.record(elapsed_ns(start)).unwrap();
    }
    journal.close(SOON).unwrap();
    times
}

/// The same write and sync without a journal around them, on a thread with the priority that the journal's has: what is
/// compared is the hand-over, not the scheduler.
fn bare() -> Histogram<u64> {
    let measure = || {
        keel_store::priority::raise_current_thread();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![0; 1 << 20], 0).unwrap();
        file.sync_all().unwrap();
        let mut times = histogram();
        for at in 0..1_000 {
            let start = Instant::now();
            file.write_all_at(&[7; 140], at * 140).unwrap();
            file.sync_data().unwrap();
            times.record(elapsed_ns(start)).unwrap();
        }
        times
    };
    std::thread::scope(|scope| scope.spawn(measure).join().unwrap())
}

/// In turn, so that both see the same machine; the median of the ratios counts.
fn hand_over() {
    let mut ratios: Vec<f64> = (0..5)
        .map(|_| {
            let (bare, durable) = (bare(), durable(Durability::Power));
            print("bare preallocated write + fdatasync", &bare);
            print("durable hand-off and back, power", &durable);
            durable.value_at_quantile(0.5) as f64 / bare.value_at_quantile(0.5) as f64
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("durable hand-off and back / bare, p50, median of 5: {:.2} (target 1.5)", ratios[2]);
}

fn group_commit(durability: Durability) -> f64 {
    const RECORDS: u64 = 400_000;
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) =
        Journal::open(JournalOptions { durability, ..JournalOptions::new(folder.path(), "bench", 1) }).unwrap();
    let start = Instant::now();
    let mut last = None;
    for sequence in 1..=RECORDS {
        let record = intent(sequence);
        loop {
            match journal.append(&record) {
                Ok(ticket) => break last = Some(ticket),
                Err(StoreError::LaneFull { .. }) => std::thread::sleep(Duration::from_micros(200)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    last.unwrap().wait_blocking(SOON).unwrap();
    let rate = RECORDS as f64 / start.elapsed().as_secs_f64();
    journal.close(SOON).unwrap();
    let start = Instant::now();
    let mut records = 0u64;
    for_each(folder.path(), &mut |_| {
        records += 1;
        Ok(())
    })
    .unwrap();
    println!("replay: {:.0} records/s", records as f64 / start.elapsed().as_secs_f64());
    rate
}

fn main() {
    print("append, process, back to back", &append(Durability::Process, Duration::ZERO));
    print("append, process, each 20 us", &append(Durability::Process, Duration::from_micros(20)));
    print("append, power, each 20 us", &append(Durability::Power, Duration::from_micros(20)));
    hand_over();
    print("durable hand-off and back, process", &durable(Durability::Process));
    for durability in [Durability::Power, Durability::Process] {
        println!("group commit, {durability}: {:.0} records/s", group_commit(durability));
    }
    println!("size of Record: {} bytes", std::mem::size_of::<Record>());
}
