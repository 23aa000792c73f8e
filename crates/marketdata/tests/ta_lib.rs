//! Our streaming indicators against TA-Lib's own port: the same bar is the first, and every value agrees to 1e-9 of itself,
//! or of the price where the value is a small difference of large numbers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test binary")]

use keel_marketdata::{Adx, Atr, Bollinger, Cci, Donchian, Ema, Macd, Obv, Rsi, Sma, Stochastic};
use ta_lib::{Core, MAType, OutRange};

const BARS: usize = 20_000;

/// Bars of a random walk, the same each time.
struct Bars {
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Vec<f64>,
}

fn bars() -> Bars {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut bars = Bars { high: vec![], low: vec![], close: vec![], volume: vec![] };
    let mut price = 20_000.0_f64;
    for _ in 0..BARS {
        let open = price;
        price = (price + (random() - 0.5) * 40.0).max(100.0);
        bars.high.push(open.max(price) + random() * 10.0);
        bars.low.push(open.min(price) - random() * 10.0);
        bars.close.push(price);
        bars.volume.push(random() * 100.0);
    }
    bars
}

/// Compares from the first value on; `scale` is what the error is measured against where the value is smaller.
#[track_caller]
fn compare(name: &str, ours: &[Option<f64>], range: OutRange, theirs: &[f64], scale: f64) {
    let first = ours.iter().position(Option::is_some).unwrap();
    assert_eq!(
        (first, ours.len() - first),
        (range.beg_idx, range.count),
        "{name}: where the values begin and how many"
    );
    for (at, (ours, theirs)) in ours[first..].iter().zip(theirs).enumerate() {
        let ours = ours.unwrap();
        let bound = 1e-9 * theirs.abs().max(scale);
        assert!((ours - theirs).abs() <= bound, "{name} at {at}: ours {ours}, TA-Lib {theirs}");
    }
}

#[test]
fn averages_and_bands_are_those_of_ta_lib() {
    let (bars, core, last) = (bars(), Core::new(), BARS - 1);
    let close = &bars.close;
    for period in [2, 20, 55] {
        let mut out = vec![0.0; BARS];
        let (mut sma, mut ema) = (Sma::new(period).unwrap(), Ema::new(period).unwrap());
        let ours: Vec<_> = close.iter().map(|value| sma.update(*value)).collect();
        let range = core.sma(0, last, close, period as i32, &mut out).unwrap();
        compare("SMA", &ours, range, &out, 0.0);
        let ours: Vec<_> = close.iter().map(|value| ema.update(*value)).collect();
        let range = core.ema(0, last, close, period as i32, &mut out).unwrap();
        compare("EMA", &ours, range, &out, 0.0);
        let mut bands = Bollinger::new(period, 2.0).unwrap();
        let (mut upper, mut middle, mut lower) = (vec![0.0; BARS], vec![0.0; BARS], vec![0.0; BARS]);
        let ours: Vec<_> = close.iter().map(|value| bands.update(*value)).collect();
        let range = core
            .bbands(0, last, close, period as i32, 2.0, 2.0, MAType::SMA, &mut upper, &mut middle, &mut lower)
            .unwrap();
        let part = |pick: fn(&keel_marketdata::BollingerBands) -> f64| -> Vec<_> {
            ours.iter().map(|bands| bands.as_ref().map(pick)).collect()
        };
        compare("BB upper", &part(|bands| bands.upper), range, &upper, 0.0);
        compare("BB middle", &part(|bands| bands.middle), range, &middle, 0.0);
        compare("BB lower", &part(|bands| bands.lower), range, &lower, 0.0);
    }
}

#[test]
fn wilders_indicators_are_those_of_ta_lib() {
    let (bars, core, last) = (bars(), Core::new(), BARS - 1);
    let Bars { high, low, close, .. } = &bars;
    for period in [2, 14, 30] {
        let (mut out, mut other) = (vec![0.0; BARS], vec![0.0; BARS]);
        let mut rsi = Rsi::new(period).unwrap();
        let ours: Vec<_> = close.iter().map(|value| rsi.update(*value)).collect();
        let range = core.rsi(0, last, close, period as i32, &mut out).unwrap();
        compare("RSI", &ours, range, &out, 1.0);
        let mut atr = Atr::new(period).unwrap();
        let ours: Vec<_> = (0..BARS).map(|at| atr.update(high[at], low[at], close[at])).collect();
        let range = core.atr(0, last, high, low, close, period as i32, &mut out).unwrap();
        compare("ATR", &ours, range, &out, 0.0);
        let mut adx = Adx::new(period).unwrap();
        let ours: Vec<_> = (0..BARS).map(|at| adx.update(high[at], low[at], close[at])).collect();
        let range = core.adx(0, last, high, low, close, period as i32, &mut out).unwrap();
        let index: Vec<_> = ours.iter().map(|value| value.map(|value| value.adx)).collect();
        compare("ADX", &index, range, &out, 1.0);
        // The indicators are known earlier than the index; compared where both are.
        let known = |range: OutRange| (range.beg_idx..range.beg_idx + range.count).zip(0..);
        let ranges = [
            core.plus_di(0, last, high, low, close, period as i32, &mut out).unwrap(),
            core.minus_di(0, last, high, low, close, period as i32, &mut other).unwrap(),
        ];
        for ((at, nth), (_, other_nth)) in known(ranges[0]).zip(known(ranges[1])) {
            let Some(value) = ours[at] else { continue };
            assert!((value.plus - out[nth]).abs() <= 1e-9 * out[nth].max(1.0), "+DI at {at}");
            assert!((value.minus - other[other_nth]).abs() <= 1e-9 * other[other_nth].max(1.0), "-DI at {at}");
        }
    }
}

#[test]
fn oscillators_are_those_of_ta_lib() {
    let (bars, core, last) = (bars(), Core::new(), BARS - 1);
    let Bars { high, low, close, .. } = &bars;
    let (mut first, mut second, mut third) = (vec![0.0; BARS], vec![0.0; BARS], vec![0.0; BARS]);
    for (fast, slow, signal) in [(12, 26, 9), (3, 10, 16)] {
        let mut macd = Macd::new(fast, slow, signal).unwrap();
        let ours: Vec<_> = close.iter().map(|value| macd.update(*value)).collect();
        let periods = (fast as i32, slow as i32, signal as i32);
        let range =
            core.macd(0, last, close, periods.0, periods.1, periods.2, &mut first, &mut second, &mut third).unwrap();
        let part = |pick: fn(&keel_marketdata::MacdValue) -> f64| -> Vec<_> {
            ours.iter().map(|value| value.as_ref().map(pick)).collect()
        };
        // Differences of averages of the price: the price is the scale of what rounding does to them.
        compare("MACD", &part(|value| value.line), range, &first, 1.0);
        compare("MACD signal", &part(|value| value.signal), range, &second, 1.0);
        compare("MACD histogram", &part(|value| value.histogram), range, &third, 1.0);
    }
    let mut stochastic = Stochastic::new(14, 3, 3).unwrap();
    let ours: Vec<_> = (0..BARS).map(|at| stochastic.update(high[at], low[at], close[at])).collect();
    let range =
        core.stoch(0, last, high, low, close, 14, 3, MAType::SMA, 3, MAType::SMA, &mut first, &mut second).unwrap();
    let k: Vec<_> = ours.iter().map(|value| value.map(|value| value.k)).collect();
    let d: Vec<_> = ours.iter().map(|value| value.map(|value| value.d)).collect();
    compare("%K", &k, range, &first, 1.0);
    compare("%D", &d, range, &second, 1.0);
    let mut cci = Cci::new(20).unwrap();
    let ours: Vec<_> = (0..BARS).map(|at| cci.update(high[at], low[at], close[at])).collect();
    let range = core.cci(0, last, high, low, close, 20, &mut first).unwrap();
    compare("CCI", &ours, range, &first, 1.0);
}

#[test]
fn channels_and_volume_are_those_of_ta_lib() {
    let (bars, core, last) = (bars(), Core::new(), BARS - 1);
    let Bars { high, low, close, volume } = &bars;
    let mut out = vec![0.0; BARS];
    let mut donchian = Donchian::new(20).unwrap();
    let ours: Vec<_> = (0..BARS).map(|at| donchian.update(high[at], low[at])).collect();
    let range = core.max(0, last, high, 20, &mut out).unwrap();
    compare("MAX", &ours.iter().map(|channel| channel.map(|it| it.upper)).collect::<Vec<_>>(), range, &out, 0.0);
    let range = core.min(0, last, low, 20, &mut out).unwrap();
    compare("MIN", &ours.iter().map(|channel| channel.map(|it| it.lower)).collect::<Vec<_>>(), range, &out, 0.0);
    let mut obv = Obv::new();
    let ours: Vec<_> = (0..BARS).map(|at| obv.update(close[at], volume[at])).collect();
    let range = core.obv(0, last, close, volume, &mut out).unwrap();
    compare("OBV", &ours, range, &out, 1.0);
}
