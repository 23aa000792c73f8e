//! Six indicators over 10,000,000 bars (job W1): ours in batch and streaming beside the crates `ta-lib` (both forms) and `yata`
//! (streaming), on the same series in the same run, in CPU time, fastest of several passes; and whether the values agree.
//!
//! `cargo bench -p keel-marketdata --bench indicators`; the number of bars may be given: `-- 1000000`. Built for any
//! processor, as it is shipped; yata's figures are better where it is built for one that fuses (`RUSTFLAGS=-Ctarget-cpu=native`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use keel_marketdata::indicators::batch::{self, BollingerOut, MacdOut};
use keel_marketdata::{Atr, Bollinger, Ema, Macd, Rsi, Sma};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use ta_lib::{Core, MAType};
use yata::core::Method;
use yata::methods::{EMA, RMA, SMA, StDev};

const PASSES: usize = 7;
/// Bars that streams see before the clock runs.
const OPEN: usize = 100;

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

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Fastest pass; unit: CPU ns per bar.
fn time(count: usize, mut job: impl FnMut()) -> f64 {
    (0..PASSES)
        .map(|_| {
            let start = cpu_ns();
            job();
            (cpu_ns() - start) / count as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// Largest relative distance, where both have values.
fn distance(ours: &[f64], theirs: &[f64], first: usize, scale: f64) -> f64 {
    ours[first..].iter().zip(theirs).map(|(a, b)| (a - b).abs() / b.abs().max(scale)).fold(0.0, f64::max)
}

/// Runs a stream over a series, value by value, each pass from its start.
fn stream<S: Clone>(values: &[f64], out: &mut [f64], stream: &S, update: impl Fn(&mut S, f64) -> f64) -> f64 {
    time(values.len(), || pass(values, out, stream.clone(), &update))
}

#[inline(never)]
fn pass<S>(values: &[f64], out: &mut [f64], mut stream: S, update: impl Fn(&mut S, f64) -> f64) {
    for (value, out) in values.iter().zip(out) {
        *out = update(&mut stream, *value);
    }
}

type Three = (f64, f64, f64);

/// Runs a stream with three results over a series.
fn stream3<S: Clone>(
    values: &[f64],
    [a, b, c]: [&mut Vec<f64>; 3],
    stream: &S,
    update: impl Fn(&mut S, f64) -> Three,
) -> f64 {
    time(values.len(), || pass3(values, (&mut *a, &mut *b, &mut *c), stream.clone(), &update))
}

#[inline(never)]
fn pass3<S>(
    values: &[f64],
    (a, b, c): (&mut [f64], &mut [f64], &mut [f64]),
    mut stream: S,
    update: impl Fn(&mut S, f64) -> Three,
) {
    for (((value, a), b), c) in values.iter().zip(a).zip(b).zip(c) {
        (*a, *b, *c) = update(&mut stream, *value);
    }
}

/// Runs a stream over bars.
fn stream_bars<S: Clone>(
    bars: &Bars,
    out: &mut [f64],
    stream: &S,
    update: impl Fn(&mut S, f64, f64, f64) -> f64,
) -> f64 {
    time(bars.close.len(), || pass_bars(bars, out, stream.clone(), &update))
}

#[inline(never)]
fn pass_bars<S>(bars: &Bars, out: &mut [f64], mut stream: S, update: impl Fn(&mut S, f64, f64, f64) -> f64) {
    for (((high, low), close), out) in bars.high.iter().zip(&bars.low).zip(&bars.close).zip(out) {
        *out = update(&mut stream, *high, *low, *close);
    }
}

#[derive(Default)]
struct Row {
    name: &'static str,
    batch: f64,
    batch_ta_lib: f64,
    stream: f64,
    stream_ta_lib: f64,
    stream_yata: f64,
    /// Batch and streaming to TA-Lib.
    distance: [f64; 2],
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let bars = bars(count);
    let mut buffers: Vec<Vec<f64>> = vec![vec![0.0; count]; 6];
    let rows = [
        sma(&bars, &mut buffers),
        ema(&bars, &mut buffers),
        rsi(&bars, &mut buffers),
        atr(&bars, &mut buffers),
        macd(&bars, &mut buffers),
        bollinger(&bars, &mut buffers),
    ];
    println!("{count} bars, CPU ns per bar, fastest of {PASSES}");
    println!(
        "{:<8} {:>8} {:>8} | {:>9} {:>8} {:>8} | distance of batch, streaming",
        "", "batch", "ta-lib", "streaming", "ta-lib", "yata"
    );
    let line = |name: &str, v: [f64; 5], end: String| {
        println!("{name:<8} {:>8.2} {:>8.2} | {:>9.2} {:>8.2} {:>8.2} | {end}", v[0], v[1], v[2], v[3], v[4]);
    };
    let values = |row: &Row| [row.batch, row.batch_ta_lib, row.stream, row.stream_ta_lib, row.stream_yata];
    let mut sum = [0.0; 5];
    for row in &rows {
        line(row.name, values(row), format!("{:.1e} {:.1e}", row.distance[0], row.distance[1]));
        assert!(row.distance.iter().all(|far| *far <= 1e-9), "{} is not TA-Lib's", row.name);
        sum = std::array::from_fn(|at| sum[at] + values(row)[at]);
    }
    line("sum", sum, String::new());
}

fn sma(bars: &Bars, buffers: &mut [Vec<f64>]) -> Row {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [ours, theirs, ..] = buffers else { return Row::default() };
    let batch = time(count, || sink(black_box(batch::sma(close, 20, ours).unwrap())));
    let batch_ta_lib = time(count, || sink(black_box(core.sma(0, count - 1, close, 20, theirs).unwrap())));
    let far = distance(ours, theirs, 19, 0.0);
    let own = Sma::new(20).unwrap();
    let streaming = stream(close, ours, &own, |own, x| own.update(x).unwrap_or(0.0));
    let far_stream = distance(ours, theirs, 19, 0.0);
    let other = core.sma_open(&close[..OPEN], 20).unwrap().0;
    let stream_ta_lib = stream(close, ours, &other, |other, x| other.update(x).unwrap_or(0.0));
    let other = SMA::new(20, &close[0]).unwrap();
    let stream_yata = stream(close, ours, &other, |other, x| other.next(&x));
    Row {
        name: "SMA 20",
        batch,
        batch_ta_lib,
        stream: streaming,
        stream_ta_lib,
        stream_yata,
        distance: [far, far_stream],
    }
}

fn ema(bars: &Bars, buffers: &mut [Vec<f64>]) -> Row {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [ours, theirs, ..] = buffers else { return Row::default() };
    let batch = time(count, || sink(black_box(batch::ema(close, 20, ours).unwrap())));
    let batch_ta_lib = time(count, || sink(black_box(core.ema(0, count - 1, close, 20, theirs).unwrap())));
    let far = distance(ours, theirs, 19, 0.0);
    let own = Ema::new(20).unwrap();
    let streaming = stream(close, ours, &own, |own, x| own.update(x).unwrap_or(0.0));
    let far_stream = distance(ours, theirs, 19, 0.0);
    let other = core.ema_open(&close[..OPEN], 20).unwrap().0;
    let stream_ta_lib = stream(close, ours, &other, |other, x| other.update(x).unwrap_or(0.0));
    let other = EMA::new(20, &close[0]).unwrap();
    let stream_yata = stream(close, ours, &other, |other, x| other.next(&x));
    Row {
        name: "EMA 20",
        batch,
        batch_ta_lib,
        stream: streaming,
        stream_ta_lib,
        stream_yata,
        distance: [far, far_stream],
    }
}

fn rsi(bars: &Bars, buffers: &mut [Vec<f64>]) -> Row {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [ours, theirs, ..] = buffers else { return Row::default() };
    let batch = time(count, || sink(black_box(batch::rsi(close, 14, ours).unwrap())));
    let batch_ta_lib = time(count, || sink(black_box(core.rsi(0, count - 1, close, 14, theirs).unwrap())));
    let far = distance(ours, theirs, 14, 1.0);
    let own = Rsi::new(14).unwrap();
    let streaming = stream(close, ours, &own, |own, x| own.update(x).unwrap_or(0.0));
    let far_stream = distance(ours, theirs, 14, 1.0);
    let other = core.rsi_open(&close[..OPEN], 14).unwrap().0;
    let stream_ta_lib = stream(close, ours, &other, |other, x| other.update(x).unwrap_or(0.0));
    let other = (RMA::new(14, &0.0).unwrap(), RMA::new(14, &0.0).unwrap(), close[0]);
    let stream_yata = stream(close, ours, &other, |(up, down, before), x| {
        let change = x - *before;
        *before = x;
        let (gain, loss) = (up.next(&change.max(0.0)), down.next(&(-change).max(0.0)));
        if gain + loss > 0.0 { 100.0 * gain / (gain + loss) } else { 50.0 }
    });
    Row {
        name: "RSI 14",
        batch,
        batch_ta_lib,
        stream: streaming,
        stream_ta_lib,
        stream_yata,
        distance: [far, far_stream],
    }
}

fn atr(bars: &Bars, buffers: &mut [Vec<f64>]) -> Row {
    let (core, count) = (Core::new(), bars.close.len());
    let Bars { high, low, close } = bars;
    let [ours, theirs, ..] = buffers else { return Row::default() };
    let batch = time(count, || sink(black_box(batch::atr(high, low, close, 14, ours).unwrap())));
    let batch_ta_lib = time(count, || sink(black_box(core.atr(0, count - 1, high, low, close, 14, theirs).unwrap())));
    let far = distance(ours, theirs, 14, 0.0);
    let own = Atr::new(14).unwrap();
    let streaming = stream_bars(bars, ours, &own, |own, high, low, close| own.update(high, low, close).unwrap_or(0.0));
    let far_stream = distance(ours, theirs, 14, 0.0);
    let other = core.atr_open(&high[..OPEN], &low[..OPEN], &close[..OPEN], 14).unwrap().0;
    let stream_ta_lib =
        stream_bars(bars, ours, &other, |other, high, low, close| other.update(high, low, close).unwrap_or(0.0));
    let other = (RMA::new(14, &0.0).unwrap(), close[0]);
    let stream_yata = stream_bars(bars, ours, &other, |(other, before), high, low, close| {
        let range = high.max(*before) - low.min(*before);
        *before = close;
        other.next(&range)
    });
    Row {
        name: "ATR 14",
        batch,
        batch_ta_lib,
        stream: streaming,
        stream_ta_lib,
        stream_yata,
        distance: [far, far_stream],
    }
}

fn macd(bars: &Bars, buffers: &mut [Vec<f64>]) -> Row {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [a, b, c, d, e, f] = buffers else { return Row::default() };
    let batch = time(count, || {
        let mut out = MacdOut { line: a, signal: b, histogram: c };
        sink(black_box(batch::macd(close, (12, 26, 9), &mut out).unwrap()));
    });
    let batch_ta_lib = time(count, || sink(black_box(core.macd(0, count - 1, close, 12, 26, 9, d, e, f).unwrap())));
    // Differences of averages: measured against one thousandth of the price.
    let far = [(&a, &d), (&b, &e), (&c, &f)].map(|(a, d)| distance(a, d, 33, 20.0)).into_iter().fold(0.0, f64::max);
    let own = Macd::new(12, 26, 9).unwrap();
    let streaming = stream3(close, [a, b, c], &own, |own, x| {
        own.update(x).map_or((0.0, 0.0, 0.0), |v| (v.line, v.signal, v.histogram))
    });
    let far_stream =
        [(&a, &d), (&b, &e), (&c, &f)].map(|(a, d)| distance(a, d, 33, 20.0)).into_iter().fold(0.0, f64::max);
    let other = core.macd_open(&close[..OPEN], 12, 26, 9).unwrap().0;
    let stream_ta_lib = stream3(close, [a, b, c], &other, |other, x| other.update(x).unwrap_or((0.0, 0.0, 0.0)));
    let (fast, slow) = (EMA::new(12, &close[0]).unwrap(), EMA::new(26, &close[0]).unwrap());
    let signal = EMA::new(9, &0.0).unwrap();
    let stream_yata = stream3(close, [a, b, c], &(fast, slow, signal), |(fast, slow, signal), x| {
        let line = fast.next(&x) - slow.next(&x);
        let signal = signal.next(&line);
        (line, signal, line - signal)
    });
    Row {
        name: "MACD",
        batch,
        batch_ta_lib,
        stream: streaming,
        stream_ta_lib,
        stream_yata,
        distance: [far, far_stream],
    }
}

fn bollinger(bars: &Bars, buffers: &mut [Vec<f64>]) -> Row {
    let (core, close, count) = (Core::new(), &bars.close, bars.close.len());
    let [a, b, c, d, e, f] = buffers else { return Row::default() };
    let batch = time(count, || {
        let mut out = BollingerOut { lower: a, middle: b, upper: c };
        sink(black_box(batch::bollinger(close, 20, 2.0, &mut out).unwrap()));
    });
    let batch_ta_lib = time(count, || {
        sink(black_box(core.bbands(0, count - 1, close, 20, 2.0, 2.0, MAType::SMA, d, e, f).unwrap()));
    });
    let far = [(&c, &d), (&b, &e), (&a, &f)].map(|(a, d)| distance(a, d, 19, 0.0)).into_iter().fold(0.0, f64::max);
    let own = Bollinger::new(20, 2.0).unwrap();
    let streaming = stream3(close, [a, b, c], &own, |own, x| {
        own.update(x).map_or((0.0, 0.0, 0.0), |v| (v.lower, v.middle, v.upper))
    });
    let far_stream =
        [(&c, &d), (&b, &e), (&a, &f)].map(|(a, d)| distance(a, d, 19, 0.0)).into_iter().fold(0.0, f64::max);
    let other = core.bbands_open(&close[..OPEN], 20, 2.0, 2.0, MAType::SMA).unwrap().0;
    let stream_ta_lib = stream3(close, [a, b, c], &other, |other, x| other.update(x).unwrap_or((0.0, 0.0, 0.0)));
    let (mean, deviation) = (SMA::new(20, &close[0]).unwrap(), StDev::new(20, &close[0]).unwrap());
    let stream_yata = stream3(close, [a, b, c], &(mean, deviation), |(mean, deviation), x| {
        let (middle, reach) = (mean.next(&x), 2.0 * deviation.next(&x));
        (middle - reach, middle, middle + reach)
    });
    Row {
        name: "BB 20/2",
        batch,
        batch_ta_lib,
        stream: streaming,
        stream_ta_lib,
        stream_yata,
        distance: [far, far_stream],
    }
}
