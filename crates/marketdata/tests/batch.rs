//! Batch forms equal their streaming forms, on every length around a block and a window.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test binary")]

use keel_marketdata::indicators::batch::{self, BatchError, BollingerOut, MacdOut};
use keel_marketdata::{Atr, Bollinger, Ema, Macd, Rsi, Sma};
use proptest::prelude::*;

fn series(steps: &[i32]) -> Vec<f64> {
    let mut price = 60_000.0;
    steps
        .iter()
        .map(|step| {
            price += f64::from(*step) / 10.0;
            price
        })
        .collect()
}

/// Compares `out` with what the streaming form says; `scale` is the least that an error is measured against.
#[track_caller]
fn same(first: usize, out: &[f64], streamed: &[Option<f64>], scale: f64) {
    for (at, (batch, stream)) in out.iter().zip(streamed).enumerate() {
        assert_eq!(batch.is_nan(), stream.is_none(), "value {at} of {}", out.len());
        assert_eq!(at >= first, stream.is_some(), "first value at {first}, looked at {at}");
        if let Some(stream) = stream {
            assert!((batch - stream).abs() <= 1e-9 * stream.abs().max(scale), "at {at}: {batch}, streaming {stream}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn batches_equal_streams(steps in prop::collection::vec(-50i32..=50, 0..300), period in 1usize..40) {
        let values = series(&steps);
        let (high, low): (Vec<_>, Vec<_>) = values.iter().map(|value| (value + 3.0, value - 2.0)).unzip();
        let mut out = vec![0.0; values.len()];
        let mut sma = Sma::new(period).unwrap();
        let first = batch::sma(&values, period, &mut out).unwrap();
        same(first, &out, &values.iter().map(|value| sma.update(*value)).collect::<Vec<_>>(), 0.0);
        let mut ema = Ema::new(period).unwrap();
        let first = batch::ema(&values, period, &mut out).unwrap();
        same(first, &out, &values.iter().map(|value| ema.update(*value)).collect::<Vec<_>>(), 0.0);
        let mut rsi = Rsi::new(period).unwrap();
        let first = batch::rsi(&values, period, &mut out).unwrap();
        same(first, &out, &values.iter().map(|value| rsi.update(*value)).collect::<Vec<_>>(), 1.0);
        let mut atr = Atr::new(period).unwrap();
        let first = batch::atr(&high, &low, &values, period, &mut out).unwrap();
        let streamed: Vec<_> = (0..values.len()).map(|at| atr.update(high[at], low[at], values[at])).collect();
        same(first, &out, &streamed, 0.0);
    }

    #[test]
    fn bands_and_macd_equal_streams(steps in prop::collection::vec(-50i32..=50, 0..300), period in 2usize..40) {
        let values = series(&steps);
        let count = values.len();
        let (mut a, mut b, mut c) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
        let mut bands = Bollinger::new(period, 2.0).unwrap();
        let streamed: Vec<_> = values.iter().map(|value| bands.update(*value)).collect();
        let mut out = BollingerOut { lower: &mut a, middle: &mut b, upper: &mut c };
        let first = batch::bollinger(&values, period, 2.0, &mut out).unwrap();
        same(first, &a, &streamed.iter().map(|it| it.map(|it| it.lower)).collect::<Vec<_>>(), 0.0);
        same(first, &b, &streamed.iter().map(|it| it.map(|it| it.middle)).collect::<Vec<_>>(), 0.0);
        same(first, &c, &streamed.iter().map(|it| it.map(|it| it.upper)).collect::<Vec<_>>(), 0.0);
        let periods = (period / 2, period, 9);
        prop_assume!(periods.0 > 0);
        let mut macd = Macd::new(periods.0, periods.1, periods.2).unwrap();
        let streamed: Vec<_> = values.iter().map(|value| macd.update(*value)).collect();
        let mut out = MacdOut { line: &mut a, signal: &mut b, histogram: &mut c };
        let first = batch::macd(&values, periods, &mut out).unwrap();
        same(first, &a, &streamed.iter().map(|it| it.map(|it| it.line)).collect::<Vec<_>>(), 1.0);
        same(first, &b, &streamed.iter().map(|it| it.map(|it| it.signal)).collect::<Vec<_>>(), 1.0);
        same(first, &c, &streamed.iter().map(|it| it.map(|it| it.histogram)).collect::<Vec<_>>(), 1.0);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (values, mut short, mut out) = (vec![1.0; 10], vec![0.0; 9], vec![0.0; 10]);
    assert_eq!(batch::sma(&values, 3, &mut short), Err(BatchError::Length { expected: 10, found: 9 }));
    assert!(batch::ema(&values, 0, &mut out).unwrap_err().to_string().contains("a period of 0 is not possible"));
    let mut macd = MacdOut { line: &mut out, signal: &mut short.clone(), histogram: &mut short };
    assert!(batch::macd(&values, (26, 12, 9), &mut macd).unwrap_err().to_string().contains("not below the slow one"));
}
