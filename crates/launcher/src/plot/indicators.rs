//! Indicators of a chart, by name: `ema:20`, `sma:50`, `bollinger:20:2`, `rsi:14`.

use crate::error::LaunchError;
use keel_marketdata::indicators::{Bollinger, Ema, Rsi, Sma};
use keel_report::{Bar, Line};

/// The longest period.
const PERIOD_MAX: usize = 100_000;

/// One indicator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Indicator {
    /// Exponential average of closes.
    Ema(usize),
    /// Plain average of closes.
    Sma(usize),
    /// Average of closes and bands this many deviations away.
    Bollinger(usize, f64),
    /// Relative strength of closes.
    Rsi(usize),
}

impl Indicator {
    /// Reads a name with its periods.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("'{text}' is no indicator; there are ema:20, sma:50, bollinger:20:2, rsi:14");
        let mut parts = text.trim().split(':');
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let period = parts.next().and_then(|it| it.parse::<usize>().ok()).filter(|it| (2..=PERIOD_MAX).contains(it));
        let period = period.ok_or_else(wanted)?;
        let width = parts.next().map(|it| it.parse::<f64>().ok().filter(|it| it.is_finite() && *it > 0.0));
        if parts.next().is_some() {
            return Err(wanted());
        }
        match (name.as_str(), width) {
            ("ema", None) => Ok(Self::Ema(period)),
            ("sma", None) => Ok(Self::Sma(period)),
            ("rsi", None) => Ok(Self::Rsi(period)),
            ("bollinger", None) => Ok(Self::Bollinger(period, 2.0)),
            ("bollinger", Some(Some(width))) => Ok(Self::Bollinger(period, width)),
            _ => Err(wanted()),
        }
    }
}

/// The lines of `wanted` over `bars`.
pub(super) fn lines(wanted: &[Indicator], bars: &[Bar]) -> Result<Vec<Line>, LaunchError> {
    let failed = |error: keel_marketdata::indicators::IndicatorError| LaunchError::refused("indicator", error);
    let mut lines = Vec::new();
    let mut add = |name: String, is_overlay: bool, value: &mut dyn FnMut(f64) -> Option<f64>| {
        let points = bars.iter().filter_map(|bar| Some((bar.ts_ns, value(bar.close)?))).collect();
        lines.push(Line { name, is_overlay, points });
    };
    for indicator in wanted {
        match *indicator {
            Indicator::Ema(period) => {
                let mut ema = Ema::new(period).map_err(failed)?;
                add(format!("EMA {period}"), true, &mut |close| ema.update(close));
            }
            Indicator::Sma(period) => {
                let mut sma = Sma::new(period).map_err(failed)?;
                add(format!("SMA {period}"), true, &mut |close| sma.update(close));
            }
            Indicator::Rsi(period) => {
                let mut rsi = Rsi::new(period).map_err(failed)?;
                add(format!("RSI {period}"), false, &mut |close| rsi.update(close));
            }
            Indicator::Bollinger(period, width) => {
                for (name, pick) in [("upper", 0), ("middle", 1), ("lower", 2)] {
                    let mut bands = Bollinger::new(period, width).map_err(failed)?;
                    add(format!("Bollinger {period} {name}"), true, &mut |close| {
                        let value = bands.update(close)?;
                        Some([value.upper, value.middle, value.lower][pick])
                    });
                }
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_nonsense_is_refused() {
        assert_eq!(Indicator::parse("EMA:20"), Ok(Indicator::Ema(20)));
        assert_eq!(Indicator::parse("bollinger:20:2.5"), Ok(Indicator::Bollinger(20, 2.5)));
        for text in
            ["", "ema", "ema:", "ema:1", "ema:x", "ema:-5", "ema:20:2", "rsi:14:1:1", "bollinger:20:x", "macd:12"]
        {
            assert!(Indicator::parse(text).unwrap_err().contains("there are ema:20"), "{text}");
        }
    }

    #[test]
    fn lines_begin_when_they_are_warm() {
        let bar = |at: i64| Bar { ts_ns: at, open: 1.0, high: 1.0, low: 1.0, close: at as f64 };
        let bars: Vec<Bar> = (0..10).map(bar).collect();
        let lines = lines(&[Indicator::Sma(4), Indicator::Rsi(3)], &bars).unwrap();
        assert_eq!((lines[0].name.as_str(), lines[0].points[0], lines[0].is_overlay), ("SMA 4", (3, 1.5), true));
        assert_eq!((lines[1].points[0], lines[1].is_overlay), ((3, 100.0), false));
    }
}
