//! Batch and streaming forms of the six usual indicators over a long series: every value within 1e-9 of TA-Lib's own port, the
//! width of Bollinger bands within 1e-10 of windows taken one by one, spikes included.
//!
//! The default is a short slice; all 10,000,000 bars: `just indicators-long`, or
//! `KEEL_BARS=10000000 cargo test --release -p keel-marketdata --test ta_lib_long`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test binary")]

use keel_marketdata::indicators::batch::{self, BollingerOut, MacdOut};
use keel_marketdata::{Atr, Bollinger, Ema, Macd, Rsi, Sma};
use ta_lib::{Core, MAType};

fn count() -> usize {
    std::env::var("KEEL_BARS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

struct Bars {
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
}

/// A random walk, the same each time; each `spike_every`-th close is ten times too high.
fn bars(count: usize, spike_every: usize) -> Bars {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut price = 20_000.0_f64;
    let mut bars = Bars { high: vec![], low: vec![], close: vec![] };
    for at in 1..=count {
        let open = price;
        price = (price + (random() - 0.5) * 20.0).max(1_000.0);
        bars.high.push(open.max(price) + random() * 5.0);
        bars.low.push(open.min(price) - random() * 5.0);
        bars.close.push(if at % spike_every == 0 { price * 10.0 } else { price });
    }
    bars
}

/// `theirs` begins with the value at `first`.
#[track_caller]
fn same(name: &str, ours: &[f64], theirs: &[f64], first: usize, scale: f64) {
    for (at, (ours, theirs)) in ours[first..].iter().zip(theirs).enumerate() {
        let far = (ours - theirs).abs();
        assert!(far <= 1e-9 * theirs.abs().max(scale), "{name} at {}: ours {ours}, TA-Lib {theirs}", at + first);
    }
}

#[test]
fn averages_over_a_long_series_are_those_of_ta_lib() {
    let (bars, core) = (bars(count(), usize::MAX), Core::new());
    let (close, last) = (&bars.close, bars.close.len() - 1);
    let (mut ours, mut theirs) = (vec![0.0; close.len()], vec![0.0; close.len()]);
    core.sma(0, last, close, 20, &mut theirs).unwrap();
    batch::sma(close, 20, &mut ours).unwrap();
    same("SMA", &ours, &theirs, 19, 0.0);
    let mut sma = Sma::new(20).unwrap();
    close.iter().zip(&mut ours).for_each(|(x, out)| *out = sma.update(*x).unwrap_or(0.0));
    same("streaming SMA", &ours, &theirs, 19, 0.0);
    core.ema(0, last, close, 20, &mut theirs).unwrap();
    batch::ema(close, 20, &mut ours).unwrap();
    same("EMA", &ours, &theirs, 19, 0.0);
    let mut ema = Ema::new(20).unwrap();
    close.iter().zip(&mut ours).for_each(|(x, out)| *out = ema.update(*x).unwrap_or(0.0));
    same("streaming EMA", &ours, &theirs, 19, 0.0);
}

#[test]
fn wilders_indicators_over_a_long_series_are_those_of_ta_lib() {
    let (bars, core) = (bars(count(), usize::MAX), Core::new());
    let Bars { high, low, close } = &bars;
    let last = close.len() - 1;
    let (mut ours, mut theirs) = (vec![0.0; close.len()], vec![0.0; close.len()]);
    core.rsi(0, last, close, 14, &mut theirs).unwrap();
    batch::rsi(close, 14, &mut ours).unwrap();
    same("RSI", &ours, &theirs, 14, 1.0);
    let mut rsi = Rsi::new(14).unwrap();
    close.iter().zip(&mut ours).for_each(|(x, out)| *out = rsi.update(*x).unwrap_or(0.0));
    same("streaming RSI", &ours, &theirs, 14, 1.0);
    core.atr(0, last, high, low, close, 14, &mut theirs).unwrap();
    batch::atr(high, low, close, 14, &mut ours).unwrap();
    same("ATR", &ours, &theirs, 14, 0.0);
    let mut atr = Atr::new(14).unwrap();
    for (((high, low), close), out) in high.iter().zip(low).zip(close).zip(&mut ours) {
        *out = atr.update(*high, *low, *close).unwrap_or(0.0);
    }
    same("streaming ATR", &ours, &theirs, 14, 0.0);
}

#[test]
fn macd_over_a_long_series_is_that_of_ta_lib() {
    let (bars, core) = (bars(count(), usize::MAX), Core::new());
    let (close, zeros) = (&bars.close, vec![0.0; bars.close.len()]);
    let (mut a, mut b, mut c) = (zeros.clone(), zeros.clone(), zeros.clone());
    let (mut d, mut e, mut f) = (zeros.clone(), zeros.clone(), zeros);
    core.macd(0, close.len() - 1, close, 12, 26, 9, &mut d, &mut e, &mut f).unwrap();
    let mut out = MacdOut { line: &mut a, signal: &mut b, histogram: &mut c };
    batch::macd(close, (12, 26, 9), &mut out).unwrap();
    // Differences of averages: measured against one thousandth of the price.
    [(&a, &d), (&b, &e), (&c, &f)].into_iter().for_each(|(ours, theirs)| same("MACD", ours, theirs, 33, 20.0));
    let mut macd = Macd::new(12, 26, 9).unwrap();
    for (at, x) in close.iter().enumerate() {
        let Some(value) = macd.update(*x) else { continue };
        (a[at], b[at], c[at]) = (value.line, value.signal, value.histogram);
    }
    [(&a, &d), (&b, &e), (&c, &f)]
        .into_iter()
        .for_each(|(ours, theirs)| same("streaming MACD", ours, theirs, 33, 20.0));
}

#[test]
fn bands_over_a_long_series_are_those_of_ta_lib_and_as_wide_as_exact_windows() {
    let (plain, spiky, core) = (bars(count(), usize::MAX), bars(count(), 10_007), Core::new());
    let zeros = vec![0.0; plain.close.len()];
    let (mut a, mut b, mut c) = (zeros.clone(), zeros.clone(), zeros.clone());
    let (mut d, mut e, mut f) = (zeros.clone(), zeros.clone(), zeros);
    core.bbands(0, plain.close.len() - 1, &plain.close, 20, 2.0, 2.0, MAType::SMA, &mut d, &mut e, &mut f).unwrap();
    for (close, is_plain) in [(&plain.close, true), (&spiky.close, false)] {
        let mut out = BollingerOut { lower: &mut a, middle: &mut b, upper: &mut c };
        batch::bollinger(close, 20, 2.0, &mut out).unwrap();
        if is_plain {
            [(&c, &d), (&b, &e), (&a, &f)].into_iter().for_each(|(ours, theirs)| same("bands", ours, theirs, 19, 0.0));
        }
        let mut bands = Bollinger::new(20, 2.0).unwrap();
        for (at, x) in close.iter().enumerate() {
            let Some(value) = bands.update(*x) else { continue };
            let window = &close[at - 19..=at];
            let mean = window[0] + window.iter().map(|value| value - window[0]).sum::<f64>() / 20.0;
            let reach = 2.0 * (window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 20.0).sqrt();
            // A width that is a difference of bands has lost what the price has more digits than it.
            let bound = 1e-10 * reach + 4.0 * f64::EPSILON * mean;
            for (name, lower, upper) in [("streaming", value.lower, value.upper), ("batch", a[at], c[at])] {
                let far = ((upper - lower) / 2.0 - reach).abs();
                assert!(far <= bound, "{name} width at {at}: {} and exactly {reach}", (upper - lower) / 2.0);
            }
        }
    }
}
