//! How fast candles are imported and checked: rows per second on one thread, from our Parquet, from another program's Parquet,
//! from CSV and from packed CSV. `cargo bench -p keel-catalogue --bench read [-- ROWS]`; the answer of each job is verified.

use keel_catalogue::{
    Catalogue, CheckOptions, Dataset, OnConflict, ReadOptions, SeriesKey, SeriesKind, Span, check, read_raw, write_file,
};
use keel_marketdata::columns::{BarColumns, Interval};
use std::io::Write;
use std::path::Path;

/// Runs of each job; the fastest counts.
const RUNS: usize = 5;

fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

fn bars(rows: u64) -> BarColumns {
    let mut bars = BarColumns::new(Interval::SECOND_1, 2, 5);
    let (mut state, mut price) = (42u64, 6_000_000i64);
    let mut next = |most: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % most as u64) as i64
    };
    for at in 0..rows {
        let open = price;
        price += next(2_001) - 1_000;
        bars.ts_open_ns.push(1_704_067_200_000_000_000 + at * 1_000_000_000);
        bars.open.push(open);
        bars.high.push(open.max(price) + next(300));
        bars.low.push(open.min(price) - next(300));
        bars.close.push(price);
        bars.volume.push(next(5_000_000));
    }
    bars
}

fn job(name: &str, path: &Path, rows: u64, sum: i64) {
    let bytes = std::fs::metadata(path).expect("a file").len();
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let began = cpu_seconds();
        // Enough repetitions for the clock of 10 ms.
        for _ in 0..3 {
            let raw = read_raw(path, &ReadOptions::default()).expect("read");
            let report = check(&raw, &CheckOptions::default());
            let Dataset::Bars(read) = &raw.data else { panic!("not bars") };
            assert_eq!((report.rows, report.is_sound(), report.gaps_count), (rows, true, 0), "{name}");
            assert_eq!(read.close.iter().sum::<i64>(), sum, "{name}");
        }
        best = best.min((cpu_seconds() - began) / 3.0);
    }
    println!(
        "{name:<28} {:>6.1} M rows/s  {:>6.1} ns/row  {:>5.1} bytes/row  {:>7.0} MB/s",
        rows as f64 / best / 1e6,
        best * 1e9 / rows as f64,
        bytes as f64 / rows as f64,
        bytes as f64 / best / 1e6
    );
}

fn main() {
    let rows = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(2_000_000u64);
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let made = bars(rows);
    let sum = made.close.iter().sum();
    let data = Dataset::Bars(made.clone());
    let began = cpu_seconds();
    write_file(&at("ours.parquet"), data.clone()).expect("write");
    println!("writing Parquet             {:>6.1} M rows/s", rows as f64 / (cpu_seconds() - began) / 1e6);
    write_file(&at("exported.csv"), data.clone()).expect("write");
    write_file(&at("exported.csv.gz"), data.clone()).expect("write");
    let mut plain = std::io::BufWriter::new(std::fs::File::create(at("plain.csv")).expect("create"));
    writeln!(plain, "timestamp,open,high,low,close,volume").expect("write");
    let price = |it: i64| format!("{}.{:02}", it / 100, it % 100);
    for row in 0..made.len() {
        let (open, high, low, close) = (made.open[row], made.high[row], made.low[row], made.close[row]);
        let (ts, volume) = (made.ts_open_ns[row] / 1_000_000, made.volume[row]);
        let prices = [open, high, low, close].map(price).join(",");
        writeln!(plain, "{ts},{prices},{}.{:05}", volume / 100_000, volume % 100_000).expect("write");
    }
    plain.into_inner().expect("flush");
    job("Parquet, ours", &at("ours.parquet"), rows, sum);
    job("CSV, milliseconds", &at("plain.csv"), rows, sum);
    job("CSV, ISO times", &at("exported.csv"), rows, sum);
    job("CSV, gzip", &at("exported.csv.gz"), rows, sum);
    let catalogue = Catalogue::new(at("catalogue"));
    let key = SeriesKey::new("bench", "spot", "BTCUSDT", SeriesKind::Bars(Interval::SECOND_1)).expect("a key");
    let began = cpu_seconds();
    catalogue.write(&key, data, None, OnConflict::Refuse).expect("write");
    println!("into the catalogue          {:>6.1} M rows/s", rows as f64 / (cpu_seconds() - began) / 1e6);
    let began = cpu_seconds();
    let read = catalogue.read(&key, Span::new(0, u64::MAX)).expect("read");
    println!("out of the catalogue        {:>6.1} M rows/s", rows as f64 / (cpu_seconds() - began) / 1e6);
    assert_eq!(read, Dataset::Bars(made));
}
