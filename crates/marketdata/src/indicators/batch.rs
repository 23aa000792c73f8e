//! Indicators over whole series at once: the same definitions as the streaming forms, several times as fast.
//!
//! Each function fills `out` (as long as the input) and answers the index of the first value; what lies before it is NaN.
//! Recurrences are taken eight values at a time, each from the value eight before it, so that the chain from value to value
//! is one step a block. Values that are not finite are not looked for: clean the series
//! first, or use the streaming forms, which skip them.

use super::{IndicatorError, check_period, check_width};
use crate::vector::wide;

/// Values in one step of a recurrence.
const BLOCK: usize = 8;
/// Values that go through all steps of an indicator together, while they are in the nearest cache.
const TILE: usize = 512;
/// Values after which moving sums are taken anew, so that rounding errors cannot pile up; at least four windows, so that
/// it costs next to nothing.
const ANEW_EVERY: usize = 1_024;

/// Least share of the largest sum of squares of a stretch that may be left of one, before its bands are taken anew.
const LEFT_MIN: f64 = 1.0 / 65_536.0;

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
///
/// Within: `u = v / weight` and `u[n] = keep⁸·u[n−8] + Σ keepʲ·x[n−j]` for j below 8, whose sum is made of two, four and eight
/// inputs in three steps; each step looks back as far as it has summed. So no value of a block waits for another.
#[derive(Clone, Copy, Debug)]
struct Smoother {
    weight: f64,
    /// `keep` to the powers 1, 2, 4 and 8.
    keep: [f64; 4],
    /// The last value, scaled; the only state before the first block and after the last.
    last: f64,
    is_begun: bool,
    /// The last block: its last input, its last sums of two and of four inputs, its scaled values.
    input: f64,
    twos: [f64; 2],
    fours: [f64; 4],
    scaled: [f64; BLOCK],
}

impl Smoother {
    fn new(weight: f64, value: f64) -> Self {
        let keep = 1.0 - weight;
        let (two, four) = (keep * keep, (keep * keep) * (keep * keep));
        Self {
            weight,
            keep: [keep, two, four, four * four],
            last: value / weight,
            is_begun: false,
            input: 0.0,
            twos: [0.0; 2],
            fours: [0.0; 4],
            scaled: [0.0; BLOCK],
        }
    }

    #[inline(always)]
    fn value(&self) -> f64 {
        self.weight * self.last
    }

    #[inline(always)]
    fn step(&mut self, x: f64) -> f64 {
        self.last = self.keep[0] * self.last + x;
        self.value()
    }

    /// Smoothes a stretch. Only the last one may have a length that is no multiple of [`BLOCK`].
    fn run(&mut self, x: &[f64], out: &mut [f64]) {
        *self = wide(Self::run_any, (*self, x, out));
    }

    #[inline(always)]
    fn run_any((mut smoother, x, out): (Self, &[f64], &mut [f64])) -> Self {
        let (blocks, rest) = x.as_chunks::<BLOCK>();
        let (chunks, slots) = out.as_chunks_mut::<BLOCK>();
        let mut work = chunks.iter_mut().zip(blocks);
        if !smoother.is_begun
            && let Some((chunk, block)) = work.next()
        {
            smoother.is_begun = true;
            *chunk = smoother.first_block(block);
        }
        for (chunk, block) in work {
            *chunk = smoother.block(block);
        }
        for (slot, value) in slots.iter_mut().zip(rest) {
            *slot = smoother.step(*value);
        }
        smoother
    }

    /// Smoothes a stretch in two ways and takes the one from the other; what holds for [`Smoother::run`] holds here.
    #[inline(always)]
    fn run_difference((mut one, mut other, x, out): (Self, Self, &[f64], &mut [f64])) -> (Self, Self) {
        let (blocks, rest) = x.as_chunks::<BLOCK>();
        let (chunks, slots) = out.as_chunks_mut::<BLOCK>();
        let mut work = chunks.iter_mut().zip(blocks);
        if !one.is_begun
            && let Some((chunk, block)) = work.next()
        {
            (one.is_begun, other.is_begun) = (true, true);
            let (upper, lower) = (one.first_block(block), other.first_block(block));
            *chunk = block_of(|at| upper[at] - lower[at]);
        }
        for (chunk, block) in work {
            let (upper, lower) = (one.block(block), other.block(block));
            *chunk = block_of(|at| upper[at] - lower[at]);
        }
        for (slot, value) in slots.iter_mut().zip(rest) {
            *slot = one.step(*value) - other.step(*value);
        }
        (one, other)
    }

    /// Smoothes a stretch and takes the result from it; what holds for [`Smoother::run`] holds here.
    #[inline(always)]
    fn run_and_subtract((mut smoother, x, out, left): (Self, &[f64], &mut [f64], &mut [f64])) -> Self {
        let (blocks, rest) = x.as_chunks::<BLOCK>();
        let (chunks, slots) = out.as_chunks_mut::<BLOCK>();
        let (left, left_slots) = left.as_chunks_mut::<BLOCK>();
        let mut work = chunks.iter_mut().zip(left).zip(blocks);
        if !smoother.is_begun
            && let Some(((chunk, left), block)) = work.next()
        {
            smoother.is_begun = true;
            *chunk = smoother.first_block(block);
            *left = block_of(|at| block[at] - chunk[at]);
        }
        for ((chunk, left), block) in work {
            let smooth = smoother.block(block);
            *chunk = smooth;
            *left = block_of(|at| block[at] - smooth[at]);
        }
        for ((slot, left), value) in slots.iter_mut().zip(left_slots).zip(rest) {
            *slot = smoother.step(*value);
            *left = value - *slot;
        }
        smoother
    }

    /// The first block, value by value.
    #[inline(always)]
    fn first_block(&mut self, x: &[f64; BLOCK]) -> [f64; BLOCK] {
        let (twos, fours) = self.sums(x);
        let mut scaled = [0.0; BLOCK];
        for at in 0..BLOCK {
            self.last = self.keep[0] * self.last + x[at];
            scaled[at] = self.last;
        }
        self.remember(x, &twos, &fours, scaled)
    }

    #[inline(always)]
    fn block(&mut self, x: &[f64; BLOCK]) -> [f64; BLOCK] {
        let (twos, fours) = self.sums(x);
        let mut scaled = [0.0; BLOCK];
        for at in 0..BLOCK {
            let eight = fours[at] + self.keep[2] * if at < 4 { self.fours[at] } else { fours[at - 4] };
            scaled[at] = eight + self.keep[3] * self.scaled[at];
        }
        self.remember(x, &twos, &fours, scaled)
    }

    /// Sums of two and of four inputs.
    #[inline(always)]
    fn sums(&self, x: &[f64; BLOCK]) -> ([f64; BLOCK], [f64; BLOCK]) {
        let twos = block_of(|at| x[at] + self.keep[0] * if at < 1 { self.input } else { x[at - 1] });
        let fours = block_of(|at| twos[at] + self.keep[1] * if at < 2 { self.twos[at] } else { twos[at - 2] });
        (twos, fours)
    }

    #[inline(always)]
    fn remember(
        &mut self,
        x: &[f64; BLOCK],
        twos: &[f64; BLOCK],
        fours: &[f64; BLOCK],
        scaled: [f64; BLOCK],
    ) -> [f64; BLOCK] {
        self.input = x[BLOCK - 1];
        self.twos = [twos[BLOCK - 2], twos[BLOCK - 1]];
        self.fours = [fours[BLOCK - 4], fours[BLOCK - 3], fours[BLOCK - 2], fours[BLOCK - 1]];
        self.scaled = scaled;
        self.last = scaled[BLOCK - 1];
        block_of(|at| self.weight * scaled[at])
    }
}

/// A block made of each place's value.
#[inline(always)]
fn block_of(mut value: impl FnMut(usize) -> f64) -> [f64; BLOCK] {
    let mut block = [0.0; BLOCK];
    for (at, slot) in block.iter_mut().enumerate() {
        *slot = value(at);
    }
    block
}

/// Sums of all beginnings of a block.
#[inline(always)]
fn prefix_sums(x: &[f64; BLOCK]) -> [f64; BLOCK] {
    let pairs = [x[0] + x[1], x[2] + x[3], x[4] + x[5], x[6] + x[7]];
    let (left, right) = (pairs[0] + pairs[1], pairs[2] + pairs[3]);
    let six = left + pairs[2];
    [x[0], pairs[0], pairs[0] + x[2], left, left + x[4], six, six + x[6], left + right]
}

/// One instruction where both are numbers.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
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
    wide(sma_body, (values, period, out))
}

#[inline(always)]
fn sma_body((values, period, out): (&[f64], usize, &mut [f64])) -> Result<usize, BatchError> {
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
            let sums = prefix_sums(&block_of(|at| new[at] - old[at]));
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
    out[first] = smoother.value();
    smoother.run(&values[period..], &mut out[period..]);
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
    let change = |at: usize| values[at] - values[at - 1];
    let count = period as f64;
    let gain = (1..=period).map(|at| change(at).max(0.0)).sum::<f64>() / count;
    let loss = (1..=period).map(|at| (-change(at)).max(0.0)).sum::<f64>() / count;
    let (mut gain, mut loss) = (Smoother::new(1.0 / count, gain), Smoother::new(1.0 / count, loss));
    out[period] = index(gain.value(), loss.value());
    let (mut up, mut down) = ([0.0; TILE], [0.0; TILE]);
    let (mut gains, mut losses) = ([0.0; TILE], [0.0; TILE]);
    let values = now_and_before(values, period + 1);
    for (out, (now, before)) in out[period + 1..].chunks_mut(TILE).zip(values) {
        wide(changes, (now, before, &mut up, &mut down));
        gain.run(&up[..out.len()], &mut gains[..out.len()]);
        loss.run(&down[..out.len()], &mut losses[..out.len()]);
        wide(indices, (&gains, &losses, out));
    }
    Ok(period)
}

#[inline(always)]
fn changes((now, before, up, down): (&[f64], &[f64], &mut [f64], &mut [f64])) {
    for (((up, down), now), before) in up.iter_mut().zip(down).zip(now).zip(before) {
        let change = now - before;
        *up = larger(change, 0.0);
        *down = *up - change;
    }
}

#[inline(always)]
fn indices((gains, losses, out): (&[f64], &[f64], &mut [f64])) {
    for ((out, gain), loss) in out.iter_mut().zip(gains).zip(losses) {
        *out = index(*gain, *loss);
    }
}

/// The index of what is won and lost; 50 while nothing moved. Divides before it looks, so that there is no branch.
#[inline(always)]
fn index(gain: f64, loss: f64) -> f64 {
    let total = gain + loss;
    let index = 100.0 * gain / total;
    if total > 0.0 { index } else { 50.0 }
}

/// Tiles of values from an index on, each beside what is one earlier.
#[inline(always)]
fn now_and_before(values: &[f64], from: usize) -> impl Iterator<Item = (&[f64], &[f64])> {
    values[from..].chunks(TILE).zip(values[from - 1..values.len() - 1].chunks(TILE))
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
    let first = (1..=period).map(|at| true_range(high[at], low[at], close[at - 1])).sum::<f64>() / period as f64;
    let mut smoother = Smoother::new(1.0 / period as f64, first);
    out[period] = first;
    let from = period + 1;
    let mut ranges = [0.0; TILE];
    let bars = high[from..].chunks(TILE).zip(low[from..].chunks(TILE)).zip(close[period..].chunks(TILE));
    for (out, ((high, low), before)) in out[from..].chunks_mut(TILE).zip(bars) {
        wide(true_ranges, (high, low, before, &mut ranges));
        smoother.run(&ranges[..out.len()], out);
    }
    Ok(period)
}

#[inline(always)]
fn true_ranges((high, low, before, ranges): (&[f64], &[f64], &[f64], &mut [f64])) {
    for (((range, high), low), before) in ranges.iter_mut().zip(high).zip(low).zip(before) {
        *range = true_range(*high, *low, *before);
    }
}

#[inline(always)]
fn true_range(high: f64, low: f64, before: f64) -> f64 {
    larger(high, before) - smaller(low, before)
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
    let mut line = quick.value() - calm.value();
    let mut sum = line;
    for value in &values[slow..=first] {
        line = quick.step(*value) - calm.step(*value);
        sum += line;
    }
    let mut average = Smoother::new(weight(signal), sum / signal as f64);
    (out.line[first], out.signal[first]) = (line, average.value());
    out.histogram[first] = line - average.value();
    let from = first + 1;
    let lines = out.line[from..].chunks_mut(TILE);
    let others = out.signal[from..].chunks_mut(TILE).zip(out.histogram[from..].chunks_mut(TILE));
    for ((values, line), (signal, bar)) in values[from..].chunks(TILE).zip(lines).zip(others) {
        (quick, calm) = wide(Smoother::run_difference, (quick, calm, values, line));
        average = wide(Smoother::run_and_subtract, (average, line, signal, bar));
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
/// the width right to about 1e-11 wherever the price is; where it jumps, windows are taken one by one.
///
/// # Errors
/// A period or width that is not possible, or series of different lengths.
pub fn bollinger(values: &[f64], period: usize, width: f64, out: &mut BollingerOut<'_>) -> Result<usize, BatchError> {
    wide(bollinger_body, (values, period, width, out))
}

#[inline(always)]
fn bollinger_body(
    (values, period, width, out): (&[f64], usize, f64, &mut BollingerOut<'_>),
) -> Result<usize, BatchError> {
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
    #[inline(always)]
    fn fill(self) {
        let (window, new) = self.values.split_at(self.period);
        let reference = mean(window);
        let share = 1.0 / self.period as f64;
        let sum: f64 = window.iter().map(|value| value - reference).sum();
        let squares: f64 = window.iter().map(|value| (value - reference).powi(2)).sum();
        (self.middle[0], self.upper[0]) = (sum, squares);
        let sums_out = (&mut self.middle[1..], &mut self.upper[1..]);
        let peak = running_sums(reference, (self.values, new), (sum, squares), sums_out);
        // What is left of the largest sum must be more than what rounding lost on the way.
        let (least, mut is_worn) = (peak * LEFT_MIN * share, false);
        for ((lower, middle), upper) in self.lower.iter_mut().zip(&mut *self.middle).zip(&mut *self.upper) {
            let mean = *middle * share;
            let variance = *upper * share - mean * mean;
            is_worn |= variance < least;
            let reach = self.width * larger(variance, 0.0).sqrt();
            *middle = reference + mean;
            (*lower, *upper) = (*middle - reach, *middle + reach);
        }
        if is_worn {
            self.fill_window_by_window();
        }
    }

    /// Where a spike leaves a window, nearly nothing is left of the sums.
    #[cold]
    fn fill_window_by_window(self) {
        let slots = self.lower.iter_mut().zip(self.middle).zip(self.upper);
        for (window, ((lower, middle), upper)) in self.values.windows(self.period).zip(slots) {
            let first = window[0];
            let mean = first + mean_of(window.iter().map(|value| value - first), self.period);
            let variance = mean_of(window.iter().map(|value| (value - mean).powi(2)), self.period);
            let reach = self.width * variance.sqrt();
            (*lower, *middle, *upper) = (mean - reach, mean, mean + reach);
        }
    }
}

fn mean_of(values: impl Iterator<Item = f64>, count: usize) -> f64 {
    values.sum::<f64>() / count as f64
}

/// Sums of the distances to the reference, and of their squares, of each window that follows the first; answers the largest
/// sum of squares.
#[inline(always)]
fn running_sums(
    reference: f64,
    (old, new): (&[f64], &[f64]),
    (mut sum, mut squares): (f64, f64),
    (sums, squares_out): (&mut [f64], &mut [f64]),
) -> f64 {
    let mut peaks = [squares; BLOCK];
    let old = &old[..new.len()];
    let (new, new_rest) = new.as_chunks::<BLOCK>();
    let (old, old_rest) = old.as_chunks::<BLOCK>();
    let (sums, sums_rest) = sums.as_chunks_mut::<BLOCK>();
    let (turns, turns_rest) = squares_out.as_chunks_mut::<BLOCK>();
    for (((new, old), sums), turns) in new.iter().zip(old).zip(sums).zip(turns) {
        let steps = prefix_sums(&block_of(|at| new[at] - old[at]));
        // a² − b² as (a − b)(a + b), both as distances.
        let square_steps =
            prefix_sums(&block_of(|at| (new[at] - old[at]) * ((new[at] - reference) + (old[at] - reference))));
        *sums = block_of(|at| sum + steps[at]);
        let turned = block_of(|at| squares + square_steps[at]);
        *turns = turned;
        peaks = block_of(|at| larger(turned[at], peaks[at]));
        sum += steps[BLOCK - 1];
        squares += square_steps[BLOCK - 1];
    }
    for (((new, old), slot), turn) in new_rest.iter().zip(old_rest).zip(sums_rest).zip(turns_rest) {
        sum += new - old;
        squares += (new - old) * ((new - reference) + (old - reference));
        (*slot, *turn) = (sum, squares);
        peaks[0] = larger(squares, peaks[0]);
    }
    peaks.iter().fold(0.0, |peak, next| larger(*next, peak))
}
