//! What a report is made of: plain numbers of one run. Whoever has a run (backtest result, database, series of returns)
//! fills this in; nothing here knows where it came from. Times are unix nanoseconds, UTC; money is in `Run::currency`.

use serde::{Deserialize, Serialize};

/// Nanoseconds in a day.
pub const DAY_NS: i64 = 86_400_000_000_000;

/// The value of the account at one time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(i64, f64)", into = "(i64, f64)")]
pub struct EquityPoint {
    /// When; unit: unix nanoseconds.
    pub ts_ns: i64,
    /// What the account was worth.
    pub equity: f64,
}

impl From<(i64, f64)> for EquityPoint {
    fn from((ts_ns, equity): (i64, f64)) -> Self {
        Self { ts_ns, equity }
    }
}

impl From<EquityPoint> for (i64, f64) {
    fn from(point: EquityPoint) -> Self {
        (point.ts_ns, point.equity)
    }
}

/// Which way a position went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Bought first.
    Long,
    /// Sold first.
    Short,
}

impl Direction {
    /// The word for people and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Long => "long",
            Self::Short => "short",
        }
    }

    /// `1` or `-1`.
    #[must_use]
    pub const fn sign(self) -> f64 {
        match self {
            Self::Long => 1.0,
            Self::Short => -1.0,
        }
    }
}

/// One closed trade: a position from its entry to its exit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// The instrument's name.
    pub instrument: String,
    /// Which way.
    pub direction: Direction,
    /// When it was entered; unit: unix nanoseconds.
    pub entry_ns: i64,
    /// When it was left; unit: unix nanoseconds.
    pub exit_ns: i64,
    /// Average price of the entry.
    pub entry_price: f64,
    /// Average price of the exit.
    pub exit_price: f64,
    /// How much, in the base asset; above zero.
    pub quantity: f64,
    /// Profit after fees.
    pub profit: f64,
    /// Fees of entry and exit.
    pub fees: f64,
    /// Why it was left, in the strategy's word.
    pub exit_reason: String,
}

impl Trade {
    /// What was put in: quantity at the entry price.
    #[must_use]
    pub fn stake(&self) -> f64 {
        (self.quantity * self.entry_price).abs()
    }

    /// Profit after fees as a share of what was put in; 0 of nothing.
    #[must_use]
    pub fn profit_ratio(&self) -> f64 {
        let ratio = self.profit / self.stake();
        if ratio.is_finite() { ratio } else { 0.0 }
    }

    /// How long it was open; unit: seconds.
    #[must_use]
    pub fn open_s(&self) -> f64 {
        seconds(self.exit_ns.saturating_sub(self.entry_ns))
    }
}

/// A position that was still open at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenPosition {
    /// The instrument's name.
    pub instrument: String,
    /// Which way.
    pub direction: Direction,
    /// When it was entered; unit: unix nanoseconds.
    pub entry_ns: i64,
    /// Average price of the entry.
    pub entry_price: f64,
    /// How much, in the base asset; above zero.
    pub quantity: f64,
    /// Profit at the last price, fees not subtracted; `None` where that price is not known.
    #[serde(default)]
    pub unrealized: Option<f64>,
}

/// Open, high, low and close of one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// When it closed; unit: unix nanoseconds.
    pub ts_ns: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
}

/// An indicator's values.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name, such as `EMA 20`.
    pub name: String,
    /// Is it drawn over the price? If not, it gets a chart of its own.
    pub is_overlay: bool,
    /// Time in unix nanoseconds, value; in the order of time.
    pub points: Vec<(i64, f64)>,
}

/// The market of one instrument during the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// The instrument's name.
    pub instrument: String,
    /// Bars in the order of time.
    pub bars: Vec<Bar>,
    /// Indicators.
    pub lines: Vec<Line>,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What stands at the top.
    pub title: String,
    /// `backtest`, `paper`, `live` or `returns`.
    pub kind: String,
    /// What the money is counted in; empty for bare returns.
    pub currency: String,
    /// What is worth knowing of how it was made: name, value.
    pub facts: Vec<(String, String)>,
    /// What a reader must know before believing a figure.
    pub notes: Vec<String>,
    /// When it began; unit: unix nanoseconds.
    pub start_ns: i64,
    /// When it ended; unit: unix nanoseconds.
    pub end_ns: i64,
    /// What the account was worth at the start.
    pub start_equity: f64,
    /// What the account was worth, in the order of time; the start is not repeated.
    pub equity: Vec<EquityPoint>,
    /// Closed trades, in the order of their exits.
    pub trades: Vec<Trade>,
    /// What was still open at the end.
    pub open: Vec<OpenPosition>,
    /// Orders sent; `None` when nobody counted.
    pub orders: Option<u64>,
    /// Fills; `None` when nobody counted.
    pub fills: Option<u64>,
    /// All fees paid, those of open positions included; `None`: those of the closed trades.
    pub fees: Option<f64>,
    /// Value of everything bought and sold; `None`: that of the closed trades and of the entries of what is open.
    pub volume: Option<f64>,
    /// The markets; may be empty. Not part of a saved run: the data files hold them.
    #[serde(skip)]
    pub prices: Vec<Prices>,
}

/// Nanoseconds as seconds.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "times are shown and divided, never added up")]
pub const fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
