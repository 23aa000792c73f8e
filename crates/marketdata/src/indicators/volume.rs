//! Volume: on-balance volume (as TA-Lib defines it) and the volume-weighted average price.

/// On-balance volume: the sum of volumes, each with the sign of its price change. Begins with the first volume.
#[derive(Clone, Debug, Default)]
pub struct Obv {
    before: Option<f64>,
    sum: f64,
}

impl Obv {
    /// An empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self { before: None, sum: 0.0 }
    }

    /// Takes close and volume of a bar and answers the sum.
    #[inline]
    pub fn update(&mut self, close: f64, volume: f64) -> Option<f64> {
        if close.is_finite() && volume.is_finite() {
            match self.before.replace(close) {
                None => self.sum = volume,
                Some(before) if close > before => self.sum += volume,
                Some(before) if close < before => self.sum -= volume,
                Some(_) => {}
            }
        }
        self.value()
    }

    /// The sum.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.before.map(|_| self.sum)
    }

    /// Bars needed for the first value.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        1
    }
}

/// Volume-weighted average price since its anchor: call [`Vwap::anchor`] at the start of a day or of whatever it is for.
#[derive(Clone, Debug, Default)]
pub struct Vwap {
    turnover: f64,
    volume: f64,
}

impl Vwap {
    /// Anchored here.
    #[must_use]
    pub const fn new() -> Self {
        Self { turnover: 0.0, volume: 0.0 }
    }

    /// Begins anew.
    pub const fn anchor(&mut self) {
        (self.turnover, self.volume) = (0.0, 0.0);
    }

    /// Takes high, low, close and volume of a bar and answers the average of the typical prices.
    #[inline]
    pub fn update(&mut self, high: f64, low: f64, close: f64, volume: f64) -> Option<f64> {
        self.update_price((high + low + close) / 3.0, volume)
    }

    /// Takes price and quantity of a trade and answers the average.
    #[inline]
    pub fn update_price(&mut self, price: f64, quantity: f64) -> Option<f64> {
        if price.is_finite() && quantity.is_finite() && quantity > 0.0 {
            self.turnover += price * quantity;
            self.volume += quantity;
        }
        self.value()
    }

    /// The average; `None` before anything was traded.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.volume > 0.0).then(|| self.turnover / self.volume)
    }

    /// Bars needed for the first value.
    #[must_use]
    pub const fn warm_up(&self) -> usize {
        1
    }
}
