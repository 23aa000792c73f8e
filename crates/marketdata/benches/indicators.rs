//! Six indicators over 10,000,000 bars (job W1): ours in batch and streaming beside the `ta-lib` crate, on the same series in
//! the same run, fastest of several passes; and whether the values agree to 1e-9.
//!
//! `cargo bench -p keel-marketdata --bench indicators`; the number of bars may be given: `-- 1000000`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use keel_marketdata::indicators::batch::{self, BollingerOut, MacdOut};
use keel_marketdata::{Atr, Bollinger, Ema, Macd, Rsi, Sma};
use std::hint::black_box;
use std::time::Instant;
use ta_lib::{Core, MAType};

const PASSES: usize = 5;

struct Bars {
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
}

fn bars(count: usize) -> Bars {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut price = 20_000.0_f64;
    let mut bars = Bars { high: vec![], low: vec![], close: vec![] };
    for _ in 0..count {
        let open = price;
        price = (price + (random() - 0.5) * 20.0).max(1_000.0);
        bars.high.push(open.max(price) + random() * 5.0);
        bars.low.push(open.min(price) - random() * 5.0);
        bars.close.push(price);
    }
    bars
}

/// Takes a result that nobody looks at.
fn sink<T>(_: T) {}

/// Fastest pass; unit: ns per bar.
fn time(count: usize, mut job: impl FnMut()) -> f64 {
    (0..PASSES)
        .map(|_| {
            let start = Instant::now();
            job();
            start.elapsed().as_nanos() as f64 / count as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// Largest relative distance, where both have values.
fn distance(ours: &[f64], theirs: &[f64], first: usize, scale: f64) -> f64 {
    ours[first..].iter().zip(theirs).map(|(a, b)| (a - b).abs() / b.abs().max(scale)).fold(0.0, f64::max)
}

struct Row {
    name: &'static str,
    batch: f64,
    stream: f64,
    other: f64,
    distance: f64,
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let bars = bars(count);
    let mut buffers: Vec<Vec<f64>> = vec![vec![0.0; count]; 6];
    let rows = [averages(&bars, &mut buffers), wilders(&bars, &mut buffers), wide(&bars, &mut buffers)].concat_rows();
    println!("{count} bars, ns per bar, fastest of {PASSES}");
    println!("{:<10} {:>8} {:>10} {:>8} {:>12}", "", "batch", "streaming", "ta-lib", "distance");
    for row in &rows {
        println!("{:<10} {:>8.2} {:>10.2} {:>8.2} {:>12.1e}", row.name, row.batch, row.stream, row.other, row.distance);
        assert!(row.distance <= 1e-9, "{} is not TA-Lib's", row.name);
    }
    let sum = |pick: fn(&Row) -> f64| rows.iter().map(pick).sum::<f64>();
    println!(
        "{:<10} {:>8.2} {:>10.2} {:>8.2}",
        "sum",
        sum(|row| row.batch),
        sum(|row| row.stream),
        sum(|row| row.other)
    );
}

trait ConcatRows {
    fn concat_rows(self) -> Vec<Row>;
}

impl<const N: usize> ConcatRows for [Vec<Row>; N] {
    fn concat_rows(self) -> Vec<Row> {
        self.into_iter().flatten().collect()
    }
}

fn averages(bars: &Bars, buffers: &mut [Vec<f64>]) -> Vec<Row> {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [ours, theirs, ..] = buffers else { return vec![] };
    let mut rows = Vec::new();
    let batch_ns = time(count, || sink(black_box(batch::sma(close, 20, ours).unwrap())));
    let other = time(count, || sink(black_box(core.sma(0, count - 1, close, 20, theirs).unwrap())));
    let far = distance(ours, theirs, 19, 0.0);
    let mut sma = Sma::new(20).unwrap();
    let stream = time(count, || close.iter().zip(&mut *ours).for_each(|(x, out)| *out = sma.update(*x).unwrap_or(0.0)));
    rows.push(Row { name: "SMA 20", batch: batch_ns, stream, other, distance: far });
    let batch_ns = time(count, || sink(black_box(batch::ema(close, 20, ours).unwrap())));
    let other = time(count, || sink(black_box(core.ema(0, count - 1, close, 20, theirs).unwrap())));
    let far = distance(ours, theirs, 19, 0.0);
    let mut ema = Ema::new(20).unwrap();
    let stream = time(count, || close.iter().zip(&mut *ours).for_each(|(x, out)| *out = ema.update(*x).unwrap_or(0.0)));
    rows.push(Row { name: "EMA 20", batch: batch_ns, stream, other, distance: far });
    rows
}

fn wilders(bars: &Bars, buffers: &mut [Vec<f64>]) -> Vec<Row> {
    let (core, count) = (Core::new(), bars.close.len());
    let Bars { high, low, close } = bars;
    let [ours, theirs, ..] = buffers else { return vec![] };
    let mut rows = Vec::new();
    let batch_ns = time(count, || sink(black_box(batch::rsi(close, 14, ours).unwrap())));
    let other = time(count, || sink(black_box(core.rsi(0, count - 1, close, 14, theirs).unwrap())));
    let far = distance(ours, theirs, 14, 1.0);
    let mut rsi = Rsi::new(14).unwrap();
    let stream = time(count, || close.iter().zip(&mut *ours).for_each(|(x, out)| *out = rsi.update(*x).unwrap_or(0.0)));
    rows.push(Row { name: "RSI 14", batch: batch_ns, stream, other, distance: far });
    let batch_ns = time(count, || sink(black_box(batch::atr(high, low, close, 14, ours).unwrap())));
    let other = time(count, || sink(black_box(core.atr(0, count - 1, high, low, close, 14, theirs).unwrap())));
    let far = distance(ours, theirs, 14, 0.0);
    let mut atr = Atr::new(14).unwrap();
    let stream = time(count, || {
        for (((high, low), close), out) in high.iter().zip(low).zip(close).zip(&mut *ours) {
            *out = atr.update(*high, *low, *close).unwrap_or(0.0);
        }
    });
    rows.push(Row { name: "ATR 14", batch: batch_ns, stream, other, distance: far });
    rows
}

fn wide(bars: &Bars, buffers: &mut [Vec<f64>]) -> Vec<Row> {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [a, b, c, d, e, f] = buffers else { return vec![] };
    let mut rows = Vec::new();
    let batch_ns = time(count, || {
        let mut out = MacdOut { line: a, signal: b, histogram: c };
        sink(black_box(batch::macd(close, (12, 26, 9), &mut out).unwrap()));
    });
    let other = time(count, || sink(black_box(core.macd(0, count - 1, close, 12, 26, 9, d, e, f).unwrap())));
    // Differences of averages: measured against one thousandth of the price.
    let far = [(&a, &d), (&b, &e), (&c, &f)].map(|(a, d)| distance(a, d, 33, 20.0)).into_iter().fold(0.0, f64::max);
    let mut macd = Macd::new(12, 26, 9).unwrap();
    let stream = time(count, || {
        for (at, x) in close.iter().enumerate() {
            let Some(value) = macd.update(*x) else { continue };
            (a[at], b[at], c[at]) = (value.line, value.signal, value.histogram);
        }
    });
    rows.push(Row { name: "MACD", batch: batch_ns, stream, other, distance: far });
    let batch_ns = time(count, || {
        let mut out = BollingerOut { lower: a, middle: b, upper: c };
        sink(black_box(batch::bollinger(close, 20, 2.0, &mut out).unwrap()));
    });
    let other = time(count, || {
        sink(black_box(core.bbands(0, count - 1, close, 20, 2.0, 2.0, MAType::SMA, d, e, f).unwrap()));
    });
    let far = [(&c, &d), (&b, &e), (&a, &f)].map(|(a, d)| distance(a, d, 19, 0.0)).into_iter().fold(0.0, f64::max);
    let mut bands = Bollinger::new(20, 2.0).unwrap();
    let stream = time(count, || {
        for (at, x) in close.iter().enumerate() {
            let Some(value) = bands.update(*x) else { continue };
            (a[at], b[at], c[at]) = (value.lower, value.middle, value.upper);
        }
    });
    rows.push(Row { name: "BB 20/2", batch: batch_ns, stream, other, distance: far });
    rows
}
