//! Indicators over whole series at once: the same definitions as the streaming forms, several times as fast.
//!
//! Each function fills `out` (as long as the input) and answers the index of the first value; what lies before it is NaN.
//! Recurrences are taken eight values at a time: what a block makes of nothing is computed apart from what it inherits, so
//! that the chain from value to value is one step a block. Values that are not finite are not looked for: clean the series
//! first, or use the streaming forms, which skip them.

use super::{IndicatorError, check_period, check_width};

/// Values in one step of a recurrence.
const BLOCK: usize = 8;
/// Values after which moving sums are taken anew, so that rounding errors cannot pile up; at least four windows, so that
/// it costs next to nothing.
const ANEW_EVERY: usize = 1_024;

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// A period or width that is not possible.
    #[error(transparent)]
    Indicator(#[from] IndicatorError),
    /// Series of different lengths.
    #[error("series of {expected} and {found} values do not belong together; all inputs and outputs have one length")]
    Length {
        /// Length of the first series.
        expected: usize,
        /// Length of another one.
        found: usize,
    },
}

fn check_lengths(expected: usize, others: &[usize]) -> Result<(), BatchError> {
    match others.iter().find(|found| **found != expected) {
        Some(found) => Err(BatchError::Length { expected, found: *found }),
        None => Ok(()),
    }
}

/// First-order smoothing `v ← keep·v + weight·x`, a block at a time.
#[derive(Clone, Copy, Debug)]
struct Smoother {
    weight: f64,
    /// `keep` to the powers 1 to 8.
    powers: [f64; BLOCK],
    value: f64,
}

impl Smoother {
    fn new(weight: f64, value: f64) -> Self {
        let keep = 1.0 - weight;
        let mut powers = [keep; BLOCK];
        for at in 1..BLOCK {
            powers[at] = powers[at - 1] * keep;
        }
        Self { weight, powers, value }
    }

    #[inline(always)]
    fn step(&mut self, x: f64) -> f64 {
        self.value = self.powers[0] * self.value + self.weight * x;
        self.value
    }

    #[inline(always)]
    fn block(&mut self, x: &[f64; BLOCK]) -> [f64; BLOCK] {
        let keep = self.powers[0];
        let mut own = [0.0; BLOCK];
        own[0] = self.weight * x[0];
        for at in 1..BLOCK {
            own[at] = self.weight * x[at] + keep * own[at - 1];
        }
        let mut out = [0.0; BLOCK];
        for at in 0..BLOCK {
            out[at] = own[at] + self.powers[at] * self.value;
        }
        self.value = out[BLOCK - 1];
        out
    }
}

/// Sums of all beginnings of a block.
#[inline(always)]
fn prefix_sums(x: &[f64; BLOCK]) -> [f64; BLOCK] {
    let pairs = [x[0] + x[1], x[2] + x[3], x[4] + x[5], x[6] + x[7]];
    let (left, right) = (pairs[0] + pairs[1], pairs[2] + pairs[3]);
    let six = left + pairs[2];
    [x[0], pairs[0], pairs[0] + x[2], left, left + x[4], six, six + x[6], left + right]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Fills what has no value and answers whether any follows.
fn begin(out: &mut [f64], first: usize) -> bool {
    let first = first.min(out.len());
    out[..first].fill(f64::NAN);
    first < out.len()
}

/// Simple moving average.
///
/// # Errors
/// A period that is not possible, or series of different lengths.
pub fn sma(values: &[f64], period: usize, out: &mut [f64]) -> Result<usize, BatchError> {
    let period = check_period(period)?;
    check_lengths(values.len(), &[out.len()])?;
    let first = period - 1;
    if !begin(out, first) {
        return Ok(first);
    }
    let share = 1.0 / period as f64;
    let mut from = first;
    while from < values.len() {
        let to = values.len().min(from + ANEW_EVERY.max(4 * period));
        let mut sum: f64 = values[from + 1 - period..=from].iter().sum();
        out[from] = sum / period as f64;
        let (new, old) = (&values[from + 1..to], &values[from + 1 - period..to - period]);
        let (new, new_rest) = new.as_chunks::<BLOCK>();
        let (old, old_rest) = old.as_chunks::<BLOCK>();
        let (chunks, rest) = out[from + 1..to].as_chunks_mut::<BLOCK>();
        for ((chunk, new), old) in chunks.iter_mut().zip(new).zip(old) {
            let sums = prefix_sums(&std::array::from_fn(|at| new[at] - old[at]));
            for at in 0..BLOCK {
                chunk[at] = (sum + sums[at]) * share;
            }
            sum += sums[BLOCK - 1];
        }
        for ((slot, new), old) in rest.iter_mut().zip(new_rest).zip(old_rest) {
            sum += new - old;
            *slot = sum * share;
        }
        from = to;
    }
    Ok(first)
}

/// Exponential moving average, started from the mean of the first window.
///
/// # Errors
/// A period that is not possible, or series of different lengths.
pub fn ema(values: &[f64], period: usize, out: &mut [f64]) -> Result<usize, BatchError> {
    let period = check_period(period)?;
    check_lengths(values.len(), &[out.len()])?;
    let first = period - 1;
    if !begin(out, first) {
        return Ok(first);
    }
    let mut smoother = Smoother::new(2.0 / (period as f64 + 1.0), mean(&values[..period]));
    out[first] = smoother.value;
    let (blocks, rest) = values[period..].as_chunks::<BLOCK>();
    let (chunks, slots) = out[period..].as_chunks_mut::<BLOCK>();
    for (chunk, block) in chunks.iter_mut().zip(blocks) {
        *chunk = smoother.block(block);
    }
    for (slot, value) in slots.iter_mut().zip(rest) {
        *slot = smoother.step(*value);
    }
    Ok(first)
}

/// Wilder's relative strength index.
///
/// # Errors
/// A period that is not possible, or series of different lengths.
pub fn rsi(values: &[f64], period: usize, out: &mut [f64]) -> Result<usize, BatchError> {
    let period = check_period(period)?;
    check_lengths(values.len(), &[out.len()])?;
    if !begin(out, period) {
        return Ok(period);
    }
    let changes = |at: usize| values[at] - values[at - 1];
    let count = period as f64;
    let gain = (1..=period).map(|at| changes(at).max(0.0)).sum::<f64>() / count;
    let loss = (1..=period).map(|at| (-changes(at)).max(0.0)).sum::<f64>() / count;
    let (mut gain, mut loss) = (Smoother::new(1.0 / count, gain), Smoother::new(1.0 / count, loss));
    let index = |gain: f64, loss: f64| if gain + loss > 0.0 { 100.0 * gain / (gain + loss) } else { 50.0 };
    out[period] = index(gain.value, loss.value);
    let (now, now_rest) = values[period + 1..].as_chunks::<BLOCK>();
    let (before, before_rest) = values[period..values.len() - 1].as_chunks::<BLOCK>();
    let (chunks, slots) = out[period + 1..].as_chunks_mut::<BLOCK>();
    for ((chunk, now), before) in chunks.iter_mut().zip(now).zip(before) {
        let change: [f64; BLOCK] = std::array::from_fn(|at| now[at] - before[at]);
        let gains = gain.block(&change.map(|change| change.max(0.0)));
        let losses = loss.block(&change.map(|change| (-change).max(0.0)));
        for at in 0..BLOCK {
            let total = gains[at] + losses[at];
            chunk[at] = if total > 0.0 { 100.0 * gains[at] / total } else { 50.0 };
        }
    }
    for ((slot, now), before) in slots.iter_mut().zip(now_rest).zip(before_rest) {
        let change = now - before;
        *slot = index(gain.step(change.max(0.0)), loss.step((-change).max(0.0)));
    }
    Ok(period)
}

/// Wilder's average true range.
///
/// # Errors
/// A period that is not possible, or series of different lengths.
pub fn atr(high: &[f64], low: &[f64], close: &[f64], period: usize, out: &mut [f64]) -> Result<usize, BatchError> {
    let period = check_period(period)?;
    check_lengths(high.len(), &[low.len(), close.len(), out.len()])?;
    if !begin(out, period) {
        return Ok(period);
    }
    let range = |high: f64, low: f64, before: f64| high.max(before) - low.min(before);
    let first = (1..=period).map(|at| range(high[at], low[at], close[at - 1])).sum::<f64>() / period as f64;
    let mut smoother = Smoother::new(1.0 / period as f64, first);
    out[period] = first;
    let from = period + 1;
    let (highs, high_rest) = high[from..].as_chunks::<BLOCK>();
    let (lows, low_rest) = low[from..].as_chunks::<BLOCK>();
    let (closes, close_rest) = close[period..close.len() - 1].as_chunks::<BLOCK>();
    let (chunks, slots) = out[from..].as_chunks_mut::<BLOCK>();
    for (((chunk, high), low), before) in chunks.iter_mut().zip(highs).zip(lows).zip(closes) {
        *chunk = smoother.block(&std::array::from_fn(|at| range(high[at], low[at], before[at])));
    }
    for (((slot, high), low), before) in slots.iter_mut().zip(high_rest).zip(low_rest).zip(close_rest) {
        *slot = smoother.step(range(*high, *low, *before));
    }
    Ok(period)
}

/// Where [`macd`] writes to.
#[derive(Debug)]
pub struct MacdOut<'a> {
    /// Fast less slow average.
    pub line: &'a mut [f64],
    /// Average of the line.
    pub signal: &'a mut [f64],
    /// Line less signal.
    pub histogram: &'a mut [f64],
}

/// Moving average convergence and divergence; all three begin with the first signal.
///
/// # Errors
/// Periods that are not possible, or series of different lengths.
pub fn macd(
    values: &[f64],
    (fast, slow, signal): (usize, usize, usize),
    out: &mut MacdOut<'_>,
) -> Result<usize, BatchError> {
    let (fast, slow, signal) = (check_period(fast)?, check_period(slow)?, check_period(signal)?);
    if fast >= slow {
        return Err(IndicatorError::Order { fast, slow }.into());
    }
    check_lengths(values.len(), &[out.line.len(), out.signal.len(), out.histogram.len()])?;
    let first = slow + signal - 2;
    if !(begin(out.line, first) & begin(out.signal, first) & begin(out.histogram, first)) {
        return Ok(first);
    }
    let weight = |period: usize| 2.0 / (period as f64 + 1.0);
    let mut quick = Smoother::new(weight(fast), mean(&values[slow - fast..slow]));
    let mut calm = Smoother::new(weight(slow), mean(&values[..slow]));
    let mut line = quick.value - calm.value;
    let mut sum = line;
    for value in &values[slow..=first] {
        line = quick.step(*value) - calm.step(*value);
        sum += line;
    }
    let mut average = Smoother::new(weight(signal), sum / signal as f64);
    (out.line[first], out.signal[first]) = (line, average.value);
    out.histogram[first] = line - average.value;
    let (blocks, rest) = values[first + 1..].as_chunks::<BLOCK>();
    let (lines, line_rest) = out.line[first + 1..].as_chunks_mut::<BLOCK>();
    let (signals, signal_rest) = out.signal[first + 1..].as_chunks_mut::<BLOCK>();
    let (bars, bar_rest) = out.histogram[first + 1..].as_chunks_mut::<BLOCK>();
    for (((block, line), signal), bar) in blocks.iter().zip(lines).zip(signals).zip(bars) {
        let (upper, lower) = (quick.block(block), calm.block(block));
        *line = std::array::from_fn(|at| upper[at] - lower[at]);
        *signal = average.block(line);
        *bar = std::array::from_fn(|at| line[at] - signal[at]);
    }
    for (((value, line), signal), bar) in rest.iter().zip(line_rest).zip(signal_rest).zip(bar_rest) {
        *line = quick.step(*value) - calm.step(*value);
        *signal = average.step(*line);
        *bar = *line - *signal;
    }
    Ok(first)
}

/// Where [`bollinger`] writes to.
#[derive(Debug)]
pub struct BollingerOut<'a> {
    /// Mean less width deviations.
    pub lower: &'a mut [f64],
    /// Mean.
    pub middle: &'a mut [f64],
    /// Mean plus width deviations.
    pub upper: &'a mut [f64],
}

/// Bollinger bands with the deviation of the population. Distances are measured from the mean of a nearby window, which keeps
/// the width right to about 1e-12 wherever the price is.
///
/// # Errors
/// A period or width that is not possible, or series of different lengths.
pub fn bollinger(values: &[f64], period: usize, width: f64, out: &mut BollingerOut<'_>) -> Result<usize, BatchError> {
    let (period, width) = (check_period(period)?, check_width(width)?);
    check_lengths(values.len(), &[out.lower.len(), out.middle.len(), out.upper.len()])?;
    let first = period - 1;
    if !(begin(out.lower, first) & begin(out.middle, first) & begin(out.upper, first)) {
        return Ok(first);
    }
    let mut from = first;
    while from < values.len() {
        let to = values.len().min(from + (ANEW_EVERY / 4).max(4 * period));
        let span = BandSpan {
            values: &values[from + 1 - period..to],
            period,
            width,
            lower: &mut out.lower[from..to],
            middle: &mut out.middle[from..to],
            upper: &mut out.upper[from..to],
        };
        span.fill();
        from = to;
    }
    Ok(first)
}

/// A stretch of bands that shares one reference.
struct BandSpan<'a> {
    /// One window before the first band, then the values that follow it.
    values: &'a [f64],
    period: usize,
    width: f64,
    lower: &'a mut [f64],
    middle: &'a mut [f64],
    upper: &'a mut [f64],
}

impl BandSpan<'_> {
    fn fill(self) {
        let (window, new) = self.values.split_at(self.period);
        let reference = mean(window);
        let share = 1.0 / self.period as f64;
        let mut sum: f64 = window.iter().map(|value| value - reference).sum();
        let mut squares: f64 = window.iter().map(|value| (value - reference).powi(2)).sum();
        let band = |sum: f64, squares: f64| {
            let mean = sum * share;
            let reach = self.width * (squares * share - mean * mean).max(0.0).sqrt();
            (reference + mean - reach, reference + mean, reference + mean + reach)
        };
        (self.lower[0], self.middle[0], self.upper[0]) = band(sum, squares);
        let old = &self.values[..new.len()];
        let (new, new_rest) = new.as_chunks::<BLOCK>();
        let (old, old_rest) = old.as_chunks::<BLOCK>();
        let (lowers, lower_rest) = self.lower[1..].as_chunks_mut::<BLOCK>();
        let (middles, middle_rest) = self.middle[1..].as_chunks_mut::<BLOCK>();
        let (uppers, upper_rest) = self.upper[1..].as_chunks_mut::<BLOCK>();
        for ((((new, old), lower), middle), upper) in new.iter().zip(old).zip(lowers).zip(middles).zip(uppers) {
            let sums = prefix_sums(&std::array::from_fn(|at| new[at] - old[at]));
            // a² − b² as (a − b)(a + b), both as distances.
            let turns = prefix_sums(&std::array::from_fn(|at| {
                (new[at] - old[at]) * ((new[at] - reference) + (old[at] - reference))
            }));
            for at in 0..BLOCK {
                (lower[at], middle[at], upper[at]) = band(sum + sums[at], squares + turns[at]);
            }
            sum += sums[BLOCK - 1];
            squares += turns[BLOCK - 1];
        }
        let slots = lower_rest.iter_mut().zip(middle_rest).zip(upper_rest);
        for (((lower, middle), upper), (new, old)) in slots.zip(new_rest.iter().zip(old_rest)) {
            sum += new - old;
            squares += (new - old) * ((new - reference) + (old - reference));
            (*lower, *middle, *upper) = band(sum, squares);
        }
    }
}
