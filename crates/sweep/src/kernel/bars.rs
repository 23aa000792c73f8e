//! Prices that kernels read: double precision, checked once.
//!
//! Invariants: all columns have one length greater than zero; each price is finite and positive.

use crate::SweepError;
use keel_marketdata::columns::BarColumns;

const DAY_NS: u64 = 86_400_000_000_000;

/// Bars of one instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    ts_open_ns: Vec<u64>,
    open: Vec<f64>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
}

impl Bars {
    /// Takes columns of one length.
    ///
    /// # Errors
    /// Nothing at all, or a price that is not positive.
    pub fn new(
        ts_open_ns: Vec<u64>,
        open: Vec<f64>,
        high: Vec<f64>,
        low: Vec<f64>,
        close: Vec<f64>,
    ) -> Result<Self, SweepError> {
        let bars = close.len();
        if bars == 0 {
            return Err(SweepError::NoBars);
        }
        if [ts_open_ns.len(), open.len(), high.len(), low.len()].iter().any(|length| *length != bars) {
            return Err(SweepError::BadTerms("columns of bars have different lengths".to_owned()));
        }
        for (what, column) in [("open", &open), ("high", &high), ("low", &low), ("close", &close)] {
            if let Some((at, value)) =
                column.iter().enumerate().find(|(_, value)| !(value.is_finite() && **value > 0.0))
            {
                return Err(SweepError::BadPrice { at, what, value: *value });
            }
        }
        Ok(Self { ts_open_ns, open, high, low, close })
    }

    /// Exact bars as double precision.
    ///
    /// # Errors
    /// As [`Bars::new`].
    pub fn from_columns(columns: &BarColumns) -> Result<Self, SweepError> {
        let scale = 10f64.powi(i32::from(columns.price_scale));
        let prices = |mantissas: &[i64]| mantissas.iter().map(|mantissa| *mantissa as f64 / scale).collect();
        Self::new(
            columns.ts_open_ns.clone(),
            prices(&columns.open),
            prices(&columns.high),
            prices(&columns.low),
            prices(&columns.close),
        )
    }

    /// Bars from..to by themselves.
    ///
    /// # Errors
    /// A range that is empty or outside.
    pub fn slice(&self, from: usize, to: usize) -> Result<Self, SweepError> {
        let cut = |column: &[f64]| column.get(from..to).map(<[f64]>::to_vec).filter(|cut| !cut.is_empty());
        let ts_open_ns = self.ts_open_ns.get(from..to).map(<[u64]>::to_vec);
        match (ts_open_ns, cut(&self.open), cut(&self.high), cut(&self.low), cut(&self.close)) {
            (Some(ts_open_ns), Some(open), Some(high), Some(low), Some(close)) => {
                Ok(Self { ts_open_ns, open, high, low, close })
            }
            _ => Err(SweepError::NoBars),
        }
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.close.len()
    }

    /// Never: a set of bars has at least one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.close.is_empty()
    }

    /// First prices.
    #[must_use]
    pub fn open(&self) -> &[f64] {
        &self.open
    }

    /// Highest prices.
    #[must_use]
    pub fn high(&self) -> &[f64] {
        &self.high
    }

    /// Lowest prices.
    #[must_use]
    pub fn low(&self) -> &[f64] {
        &self.low
    }

    /// Last prices.
    #[must_use]
    pub fn close(&self) -> &[f64] {
        &self.close
    }

    /// Starts. Unit: nanoseconds since the Unix epoch.
    #[must_use]
    pub fn ts_open_ns(&self) -> &[u64] {
        &self.ts_open_ns
    }

    /// Is bar `at` the last of its UTC day, or of all?
    #[must_use]
    pub fn is_day_end(&self, at: usize) -> bool {
        match (self.ts_open_ns.get(at), self.ts_open_ns.get(at + 1)) {
            (Some(this), Some(next)) => this / DAY_NS != next / DAY_NS,
            _ => true,
        }
    }
}
