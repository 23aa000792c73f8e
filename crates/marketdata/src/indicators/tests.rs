//! Tests of the indicators against slow definitions written from the books.

use super::*;
use proptest::prelude::*;

fn close_to(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * a.abs().max(b.abs()).max(1e-9)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Wilder's smoothing, from the whole history.
fn wilder(values: &[f64], period: usize) -> Option<f64> {
    let (first, rest) = values.split_at_checked(period)?;
    Some(rest.iter().fold(mean(first), |average, value| (average * (period as f64 - 1.0) + value) / period as f64))
}

fn walk() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-50i32..=50, 1..300).prop_map(|steps| {
        steps
            .iter()
            .scan(60_000.0, |price, step| {
                *price += f64::from(*step) / 10.0;
                Some(*price)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn means_deviation_and_bands_equal_their_definitions(values in walk(), period in 1usize..40) {
        let (mut sma, mut ema) = (Sma::new(period).unwrap(), Ema::new(period).unwrap());
        let mut bands = Bollinger::new(period, 2.0).unwrap();
        let mut expected_ema = None;
        for at in 1..=values.len() {
            let seen = &values[..at];
            let now = seen[at - 1];
            expected_ema = match expected_ema {
                Some(before) => Some(before + 2.0 / (period as f64 + 1.0) * (now - before)),
                None => (at == period).then(|| mean(seen)),
            };
            let window = at.checked_sub(period).map(|from| &seen[from..]);
            let (got_sma, got_ema, got_bands) = (sma.update(now), ema.update(now), bands.update(now));
            prop_assert_eq!(got_sma.is_some(), at >= sma.warm_up());
            prop_assert_eq!(got_ema.is_some(), at >= ema.warm_up());
            let Some(window) = window else { continue };
            prop_assert!(close_to(got_sma.unwrap(), mean(window), 1e-12));
            prop_assert!(close_to(got_ema.unwrap(), expected_ema.unwrap(), 1e-12));
            let variance = window.iter().map(|v| (v - mean(window)).powi(2)).sum::<f64>() / period as f64;
            let got = got_bands.unwrap();
            prop_assert!((got.upper - got.middle - 2.0 * variance.sqrt()).abs() < 1e-6, "{:?} {}", got, variance.sqrt());
            prop_assert!(close_to(got.upper - got.middle, got.middle - got.lower, 1e-9));
        }
    }

    #[test]
    fn rsi_and_atr_equal_wilders_definitions(values in walk(), period in 1usize..30) {
        let (mut rsi, mut atr) = (Rsi::new(period).unwrap(), Atr::new(period).unwrap());
        let (mut gains, mut losses, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for (at, close) in values.iter().copied().enumerate() {
            let (high, low) = (close + 3.0, close - 2.0);
            if let Some(before) = at.checked_sub(1).map(|before| values[before]) {
                gains.push((close - before).max(0.0));
                losses.push((before - close).max(0.0));
                ranges.push((high - low).max((high - before).abs()).max((low - before).abs()));
            }
            let (got_rsi, got_atr) = (rsi.update(close), atr.update(high, low, close));
            prop_assert_eq!(got_rsi.is_some(), at + 1 >= rsi.warm_up());
            prop_assert_eq!(got_atr.is_some(), at + 1 >= atr.warm_up());
            if let (Some(gain), Some(loss)) = (wilder(&gains, period), wilder(&losses, period)) {
                let expected = if gain + loss > 0.0 { 100.0 * gain / (gain + loss) } else { 50.0 };
                prop_assert!((got_rsi.unwrap() - expected).abs() < 1e-6);
                prop_assert!(close_to(got_atr.unwrap(), wilder(&ranges, period).unwrap(), 1e-9));
            }
        }
    }
}

#[test]
fn rounding_errors_do_not_pile_up_over_millions_of_values() {
    let (mut sma, mut deviation) = (Sma::new(20).unwrap(), StdDev::new(20).unwrap());
    let mut last = [0.0; 20];
    let mut state = 7u64;
    for at in 0..2_000_003usize {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // A spike now and then is what makes running sums drift.
        let spike = if at % 10_007 == 0 { 1e9 } else { 0.0 };
        let value = 60_000.0 + (state >> 40) as f64 / 1e5 + spike;
        last[at % 20] = value;
        sma.update(value);
        deviation.update(value);
    }
    let exact_mean = mean(&last);
    let exact = (last.iter().map(|v| (v - exact_mean).powi(2)).sum::<f64>() / 20.0).sqrt();
    assert!(close_to(sma.value().unwrap(), exact_mean, 1e-11));
    assert!(close_to(deviation.value().unwrap(), exact, 1e-6), "{:?} {exact}", deviation.value());
}

#[test]
fn values_that_are_no_numbers_change_nothing() {
    let mut all = (Ema::new(2).unwrap(), Sma::new(2).unwrap(), StdDev::new(2).unwrap(), Rsi::new(2).unwrap());
    for value in [1.0, f64::NAN, 2.0, f64::INFINITY, 4.0, f64::NEG_INFINITY] {
        all.0.update(value);
        all.1.update(value);
        all.2.update(value);
        all.3.update(value);
    }
    assert_eq!(all.1.value(), Some(3.0));
    assert_eq!(all.2.value(), Some(1.0));
    assert_eq!(all.3.value(), Some(100.0));
    assert!((all.0.value().unwrap() - (1.5 + (4.0 - 1.5) * 2.0 / 3.0)).abs() < 1e-12, "V-25");
    let mut atr = Atr::new(1).unwrap();
    atr.update(5.0, 3.0, 4.0);
    assert_eq!(atr.update(f64::NAN, 3.0, 4.0), None);
    assert_eq!(atr.update(9.0, 6.0, 7.0), Some(5.0));
}

#[test]
fn impossible_settings_are_refused() {
    assert_eq!(Ema::new(0).unwrap_err(), IndicatorError::Period(0));
    assert_eq!(Sma::new(PERIOD_MAX + 1).unwrap_err(), IndicatorError::Period(PERIOD_MAX + 1));
    assert!(Bollinger::new(20, f64::NAN).is_err() && Bollinger::new(20, -1.0).is_err());
    assert!(Rsi::new(0).is_err() && Atr::new(0).is_err() && StdDev::new(0).is_err());
}

#[test]
fn a_supertrend_turns_when_a_close_crosses_its_line_and_its_line_only_tightens() {
    let mut trend = Supertrend::new(3, 1.0).unwrap();
    let mut lines = Vec::new();
    for step in 0..20 {
        let close = 100.0 + f64::from(step);
        lines.extend(trend.update(close + 1.0, close - 1.0, close));
    }
    assert_eq!(lines.len(), 20 - trend.warm_up() + 1);
    assert!(lines.iter().all(|value| value.is_up));
    assert!(lines.windows(2).all(|pair| pair[1].line >= pair[0].line));
    let below = lines.last().unwrap().line - 0.5;
    assert!(!trend.update(below + 1.0, below - 1.0, below).unwrap().is_up);
}

#[test]
fn a_keltner_channel_is_an_average_and_ranges_around_it() {
    let (mut keltner, mut ema, mut atr) =
        (Keltner::new(5, 3, 2.0).unwrap(), Ema::new(5).unwrap(), Atr::new(3).unwrap());
    for step in 0..30_u32 {
        let close = 100.0 + f64::from(step % 7);
        let got = keltner.update(close + 2.0, close - 1.0, close);
        let expected = ema.update(close).zip(atr.update(close + 2.0, close - 1.0, close));
        assert_eq!(got.map(|channel| (channel.middle, channel.upper)), expected.map(|(m, r)| (m, m + 2.0 * r)));
    }
}

#[test]
fn vwap_weighs_prices_by_volume_since_its_anchor() {
    let mut vwap = Vwap::new();
    assert_eq!(vwap.update_price(10.0, 0.0), None);
    assert_eq!(vwap.update_price(10.0, 1.0), Some(10.0));
    assert_eq!(vwap.update_price(20.0, 3.0), Some(17.5));
    assert_eq!(vwap.update_price(f64::NAN, 3.0), Some(17.5));
    vwap.anchor();
    assert_eq!(vwap.value(), None);
    assert_eq!(vwap.update(12.0, 9.0, 9.0, 2.0), Some(10.0));
}

#[test]
fn a_highest_value_is_that_of_the_window_whatever_comes() {
    let mut state = 7_u64;
    for period in [1, 2, 5, 16] {
        let (mut highest, mut all) = (window::Highest::new(period), Vec::new());
        for _ in 0..500 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            all.push((state >> 60) as f64);
            let expected =
                all.len().checked_sub(period).map(|from| all[from..].iter().copied().fold(f64::MIN, f64::max));
            assert_eq!(highest.push(*all.last().unwrap()), expected);
        }
    }
}
