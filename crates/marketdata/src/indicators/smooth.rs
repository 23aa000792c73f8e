//! Exponential smoothing of a stream: the plain mean of the first values, then `v ← keep·v + weight·x`.
//!
//! Each value is taken from the last but one, `keep²·v₋₂ + keep·weight·x₋₁ + weight·x`, so that two chains of values run side
//! by side; that is the same recurrence, twice as fast where updates follow each other closely.

use super::{IndicatorError, check_period};

/// A smoothed value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothed {
    period: usize,
    seen: usize,
    weight: f64,
    keep: f64,
    keep_twice: f64,
    value: f64,
    /// The value before the last.
    before: f64,
    /// What the last input weighed.
    input: f64,
}

impl Smoothed {
    /// Weight 2/(n+1).
    pub(super) fn exponential(period: usize) -> Result<Self, IndicatorError> {
        let weight = 2.0 / (check_period(period)? as f64 + 1.0);
        Ok(Self::new(period, weight, 1.0 - weight))
    }

    /// Weight 1/n, as Wilder took it.
    pub(super) fn wilder(period: usize) -> Result<Self, IndicatorError> {
        let count = check_period(period)? as f64;
        let keep = (count - 1.0) / count;
        Ok(Self::new(period, 1.0 - keep, keep))
    }

    const fn new(period: usize, weight: f64, keep: f64) -> Self {
        Self { period, seen: 0, weight, keep, keep_twice: keep * keep, value: 0.0, before: 0.0, input: 0.0 }
    }

    /// Takes a value.
    #[inline]
    pub(super) fn push(&mut self, value: f64) {
        if self.seen < self.period {
            *self = self.begun(value);
        } else {
            self.push_warm(value);
        }
    }

    /// Takes a value once it is warm.
    #[inline(always)]
    pub(super) fn push_warm(&mut self, value: f64) {
        let input = self.weight * value;
        let next = self.keep_twice * self.before + (self.keep * self.input + input);
        (self.before, self.value, self.input) = (self.value, next, input);
    }

    /// While it warms up, `value` is the plain mean. By value, so that an average in a loop can stay in registers.
    #[cold]
    fn begun(self, value: f64) -> Self {
        let seen = self.seen + 1;
        let mean = self.value + (value - self.value) / seen as f64;
        Self { seen, value: mean, before: mean, input: self.weight * mean, ..self }
    }

    #[inline]
    pub(super) const fn is_warm(&self) -> bool {
        self.seen >= self.period
    }

    /// The value, meaningful once it is warm.
    #[inline]
    pub(super) const fn raw(&self) -> f64 {
        self.value
    }

    #[inline]
    pub(super) fn value(&self) -> Option<f64> {
        self.is_warm().then_some(self.value)
    }

    pub(super) const fn period(&self) -> usize {
        self.period
    }
}
