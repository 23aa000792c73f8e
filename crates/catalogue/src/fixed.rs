//! Decimal columns that share one scale, filled from text or doubles without losing a digit.
//!
//! The scale is the smallest that holds every value so far; a finer value widens what is there. What is no number (NaN, an empty
//! field, null) is kept as [`NOT_A_NUMBER`], so that rows keep their places and a check can name them.
//!
//! Files written by programs that compute with doubles hold values such as `218102.59507500002`. A double within four units of
//! its last place of a decimal of at most 13 digits stands for that decimal, and so does a text of 16 digits or more with more
//! than 8 of them behind the point; each is counted.

use keel_model::decimal::SCALE_MAX;

/// Stands for a value that is no number.
pub const NOT_A_NUMBER: i64 = i64::MIN;

/// Powers of ten that an `i64` holds.
pub(crate) const POWERS: [i64; 19] = {
    let mut powers = [1i64; 19];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};
/// The same as doubles; each is exact.
const POWERS_F: [f64; 19] = {
    let mut powers = [1f64; 19];
    let mut at = 0;
    while at < powers.len() {
        powers[at] = POWERS[at] as f64;
        at += 1;
    }
    powers
};
/// Below this (2^52) neighbouring decimals of one scale are different doubles, so that each double stands for one of them.
const EXACT_MAX: f64 = 4_503_599_627_370_496.0;
/// Below this at more than [`NOISE_SCALE`] places: 15 digits, beyond which a double is rather computed than quoted.
const FINE_MAX: f64 = 1e15;

const fn exact_max(scale: u8) -> f64 {
    if scale > NOISE_SCALE { FINE_MAX } else { EXACT_MAX }
}

pub(crate) const fn power(scale: u8) -> i64 {
    if scale <= SCALE_MAX { POWERS[scale as usize] } else { i64::MAX }
}

const fn power_f(scale: u8) -> f64 {
    if scale <= SCALE_MAX { POWERS_F[scale as usize] } else { f64::NAN }
}

/// Texts with more places than this, and a mantissa of 16 digits or more, may be noise.
const NOISE_SCALE: u8 = 8;
const NOISE_MANTISSA: u64 = 1_000_000_000_000_000;
/// The most digits of a decimal that a noisy value stands for.
const PLAIN_DIGITS: u32 = 13;

/// The short decimal beside a computed double.
fn snap(value: f64) -> Option<(i64, u8)> {
    let (mut mantissa, mut scale) = parse_decimal(format!("{value:.14e}").as_bytes()).ok()?;
    while mantissa % 10 == 0 && scale > 0 {
        (mantissa, scale) = (mantissa / 10, scale - 1);
    }
    let near = mantissa as f64 / power_f(scale);
    let is_short = mantissa.unsigned_abs().checked_ilog10().unwrap_or(0) < PLAIN_DIGITS;
    (is_short && (near - value).abs() <= 4.0 * f64::EPSILON * value.abs()).then_some((mantissa, scale))
}

/// Why a value does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Not a decimal number.
    Syntax,
    /// More digits than 64 bits hold at the scale that the other values need.
    TooBig,
    /// A double that no decimal of 15 digits prints as: the result of a computation.
    NotDecimal,
}

impl Unfit {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Syntax => "is no decimal number",
            Self::TooBig => "has more digits than 64 bits hold at the scale that the other values need",
            Self::NotDecimal => "is no decimal of at most 15 digits; it looks computed, not quoted",
        }
    }
}

/// Columns of one scale.
#[derive(Debug)]
pub(crate) struct Fixed<const N: usize> {
    pub(crate) scale: u8,
    /// Round to `scale` instead of widening?
    rounds: bool,
    /// Values that were read as the decimal beside them.
    pub(crate) snapped: u64,
    pub(crate) columns: [Vec<i64>; N],
}

impl<const N: usize> Fixed<N> {
    /// Starts at `scale`; with `rounds` finer values are rounded half to even, else they widen the scale.
    pub(crate) fn new(scale: u8, rounds: bool) -> Self {
        Self { scale, rounds, snapped: 0, columns: [const { Vec::new() }; N] }
    }

    /// Are finer values rounded?
    pub(crate) const fn rounds(&self) -> bool {
        self.rounds
    }

    /// Puts a value of another scale into a column.
    #[inline]
    pub(crate) fn push(&mut self, column: usize, mantissa: i64, scale: u8) -> Result<(), Unfit> {
        let value = self.fit(mantissa, scale)?;
        match self.columns.get_mut(column) {
            Some(values) => values.push(value),
            None => return Err(Unfit::Syntax),
        }
        Ok(())
    }

    #[inline]
    fn fit(&mut self, mantissa: i64, scale: u8) -> Result<i64, Unfit> {
        if mantissa == NOT_A_NUMBER || scale == self.scale {
            return Ok(mantissa);
        }
        if scale < self.scale {
            return mantissa.checked_mul(power(self.scale - scale)).ok_or(Unfit::TooBig);
        }
        let divisor = power(scale - self.scale);
        if mantissa % divisor == 0 {
            return Ok(mantissa / divisor);
        }
        if self.rounds {
            return Ok(round_half_even(mantissa, divisor));
        }
        let (mut mantissa, mut scale) = (mantissa, scale);
        while mantissa % 10 == 0 {
            (mantissa, scale) = (mantissa / 10, scale - 1);
        }
        self.widen(scale)?;
        Ok(mantissa)
    }

    /// Puts doubles into a column; on failure the number of the value that does not fit.
    pub(crate) fn extend_f64(&mut self, column: usize, values: &[f64]) -> Result<(), (usize, Unfit)> {
        if self.rounds {
            return self.extend_rounded(column, values);
        }
        let Some(target) = self.columns.get_mut(column) else { return Ok(()) };
        let start = target.len();
        if extend_exact(target, values, self.scale) {
            return Ok(());
        }
        target.truncate(start);
        match scale_of(values, self.scale) {
            Err((_, Unfit::NotDecimal)) => return self.extend_noisy(column, values),
            needed => self.widen(needed?).map_err(|unfit| (0, unfit))?,
        }
        let scale = self.scale;
        let Some(target) = self.columns.get_mut(column) else { return Ok(()) };
        for (at, value) in values.iter().enumerate() {
            target.push(exact_at(*value, scale).ok_or((at, Unfit::TooBig))?);
        }
        Ok(())
    }

    /// Some values are computed: each is looked at by itself.
    #[cold]
    fn extend_noisy(&mut self, column: usize, values: &[f64]) -> Result<(), (usize, Unfit)> {
        for (at, value) in values.iter().enumerate() {
            let exact = (0..=SCALE_MAX).find_map(|scale| Some((exact_mantissa(*value, scale)?, scale)));
            let (mantissa, scale) = match exact {
                Some(exact) => exact,
                None => {
                    self.snapped += 1;
                    snap(*value).ok_or((at, Unfit::NotDecimal))?
                }
            };
            self.push(column, mantissa, scale).map_err(|unfit| (at, unfit))?;
        }
        Ok(())
    }

    /// Puts a number as text into a column.
    #[inline]
    pub(crate) fn push_text(&mut self, column: usize, text: &[u8]) -> Result<(), Unfit> {
        let (mantissa, scale) = parse_decimal(text)?;
        if scale > NOISE_SCALE && mantissa.unsigned_abs() >= NOISE_MANTISSA && mantissa != NOT_A_NUMBER {
            return self.push_noisy(column, text, mantissa, scale);
        }
        self.push(column, mantissa, scale)
    }

    #[cold]
    fn push_noisy(&mut self, column: usize, text: &[u8], mantissa: i64, scale: u8) -> Result<(), Unfit> {
        let value = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok());
        match value.and_then(snap) {
            Some((mantissa, scale)) => {
                self.snapped += 1;
                self.push(column, mantissa, scale)
            }
            None => self.push(column, mantissa, scale),
        }
    }

    fn extend_rounded(&mut self, column: usize, values: &[f64]) -> Result<(), (usize, Unfit)> {
        let (factor, max) = (power_f(self.scale), EXACT_MAX);
        let Some(target) = self.columns.get_mut(column) else { return Ok(()) };
        for (at, value) in values.iter().enumerate() {
            let mantissa = (value * factor).round_ties_even();
            if value.is_finite() && mantissa.abs() >= max {
                return Err((at, Unfit::TooBig));
            }
            target.push(if value.is_finite() { mantissa as i64 } else { NOT_A_NUMBER });
        }
        Ok(())
    }

    /// Makes the scale at least this.
    #[cold]
    pub(crate) fn widen(&mut self, scale: u8) -> Result<(), Unfit> {
        if scale <= self.scale {
            return Ok(());
        }
        let factor = power(scale - self.scale);
        for value in self.columns.iter_mut().flatten().filter(|value| **value != NOT_A_NUMBER) {
            *value = value.checked_mul(factor).ok_or(Unfit::TooBig)?;
        }
        self.scale = scale;
        Ok(())
    }
}

/// Puts mantissas of doubles behind `target`; false when one of them is not exact at this scale, and what was put there is of no use.
///
/// Rounds by adding 2^52, beyond which a double has no places: plain additions, which the compiler does several at a time.
fn extend_exact(target: &mut Vec<i64>, values: &[f64], scale: u8) -> bool {
    const SHIFT: f64 = 4_503_599_627_370_496.0;
    let (factor, max) = (power_f(scale), exact_max(scale));
    let mut is_exact = true;
    target.extend(values.iter().map(|value| {
        let product = value.abs() * factor;
        let shifted = product + SHIFT;
        let nearest = shifted - SHIFT;
        is_exact &= (nearest < max) & (nearest / factor == value.abs());
        let digits = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).cast_signed();
        // All ones for a negative value: the two's complement is the inverse and one more.
        let sign = value.to_bits().cast_signed() >> 63;
        (digits ^ sign).wrapping_sub(sign)
    }));
    is_exact
}

fn round_half_even(mantissa: i64, divisor: i64) -> i64 {
    let (floor, rest) = (mantissa.div_euclid(divisor), mantissa.rem_euclid(divisor));
    let twice = rest.unsigned_abs() * 2;
    let up = twice > divisor.unsigned_abs() || (twice == divisor.unsigned_abs() && floor % 2 != 0);
    floor + i64::from(up)
}

/// The smallest scale, at least `from`, at which every value is exact.
fn scale_of(values: &[f64], from: u8) -> Result<u8, (usize, Unfit)> {
    let mut scale = from;
    let mut rest = values;
    let mut done = 0;
    loop {
        let (factor, max) = (power_f(scale), exact_max(scale));
        let odd = rest.iter().position(|value| {
            let mantissa = (value * factor).round_ties_even();
            !(mantissa.abs() < max && mantissa / factor == *value)
        });
        let Some(at) = odd else { return Ok(scale) };
        let value = rest.get(at).copied().unwrap_or(f64::NAN);
        done += at;
        rest = rest.get(at..).unwrap_or_default();
        if exact_at(value, scale).is_some() {
            rest = rest.get(1..).unwrap_or_default();
            done += 1;
            continue;
        }
        let finer = (scale + 1..=SCALE_MAX).find(|scale| exact_at(value, *scale).is_some());
        let is_decimal =
            || (0..=SCALE_MAX).any(|scale| exact_mantissa(value, scale).is_some()) || value.abs() >= 9.2e18;
        scale = finer.ok_or_else(|| (done, if is_decimal() { Unfit::TooBig } else { Unfit::NotDecimal }))?;
    }
}

/// The double that stands for a mantissa, if the mantissa can be told from it again.
pub(crate) fn exact_double(mantissa: i64, scale: u8) -> Option<f64> {
    if mantissa == NOT_A_NUMBER {
        return None;
    }
    let (mut plain, mut places) = (mantissa, scale);
    if mantissa.unsigned_abs() >= 1 << 52 {
        while places > 0 && plain % 10 == 0 {
            (plain, places) = (plain / 10, places - 1);
        }
    }
    let value = plain as f64 / power_f(places);
    (exact_at(value, scale) == Some(mantissa)).then_some(value)
}

/// The mantissa at `scale` of a value that is exact at this or a coarser scale.
fn exact_at(value: f64, scale: u8) -> Option<i64> {
    (0..=scale).rev().find_map(|coarser| match exact_mantissa(value, coarser)? {
        NOT_A_NUMBER => Some(NOT_A_NUMBER),
        mantissa => mantissa.checked_mul(power(scale - coarser)),
    })
}

/// The integer `m` with `m · 10^-scale` nearest to `value` as doubles go; [`NOT_A_NUMBER`] for what is no number.
pub(crate) fn exact_mantissa(value: f64, scale: u8) -> Option<i64> {
    if !value.is_finite() {
        return Some(NOT_A_NUMBER);
    }
    if scale == 0 {
        return (value.trunc() == value && value.abs() < 9.2e18).then_some(value as i64);
    }
    let (factor, max) = (power_f(scale), exact_max(scale));
    let near = (value * factor).round_ties_even();
    // The product is rounded once more than the quotient: the true integer may be its neighbour.
    [near, near - 1.0, near + 1.0]
        .into_iter()
        .find(|mantissa| mantissa.abs() < max && mantissa / factor == value)
        .map(|mantissa| mantissa as i64)
}

/// Reads a decimal number: mantissa and scale. An empty field, `nan` and `null` are [`NOT_A_NUMBER`].
#[inline]
pub(crate) fn parse_decimal(text: &[u8]) -> Result<(i64, u8), Unfit> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // 18 digits always fit.
    if digits.len() > 19 {
        return parse_rare(text);
    }
    let (mut mantissa, mut point, mut count) = (0i64, None, 0usize);
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(i64::from(digit));
            count += 1;
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return parse_rare(text);
        }
    }
    if count == 0 || count > 18 {
        return parse_rare(text);
    }
    let scale = point.map_or(0, |at| digits.len() - at - 1);
    Ok((if is_negative { -mantissa } else { mantissa }, scale as u8))
}

/// Long numbers, exponents, signs, and what is no number.
#[cold]
fn parse_rare(text: &[u8]) -> Result<(i64, u8), Unfit> {
    let text = std::str::from_utf8(text).map_err(|_| Unfit::Syntax)?.trim();
    let lower = text.to_ascii_lowercase();
    if matches!(lower.trim_start_matches(['-', '+']), "" | "nan" | "null" | "none" | "na" | "n/a" | "inf" | "infinity")
    {
        return Ok((NOT_A_NUMBER, 0));
    }
    let (number, exponent) = match lower.split_once('e') {
        Some((number, exponent)) => (number, exponent.parse::<i32>().map_err(|_| Unfit::Syntax)?),
        None => (lower.as_str(), 0),
    };
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1i128, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
        return Err(Unfit::Syntax);
    }
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.len() > 36 || exponent.abs() > 60 {
        return Err(Unfit::TooBig);
    }
    let mut mantissa = if digits.is_empty() { 0 } else { digits.parse::<i128>().map_err(|_| Unfit::Syntax)? };
    let mut scale = i32::try_from(fraction.len()).unwrap_or(i32::MAX) - exponent;
    while scale > 0 && mantissa % 10 == 0 && mantissa != 0 {
        (mantissa, scale) = (mantissa / 10, scale - 1);
    }
    if mantissa == 0 {
        return Ok((0, 0));
    }
    while scale < 0 {
        mantissa = mantissa.checked_mul(10).ok_or(Unfit::TooBig)?;
        scale += 1;
    }
    let mantissa = i64::try_from(sign * mantissa).map_err(|_| Unfit::TooBig)?;
    match u8::try_from(scale) {
        Ok(scale) if scale <= SCALE_MAX && mantissa != NOT_A_NUMBER => Ok((mantissa, scale)),
        _ => Err(Unfit::TooBig),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_as_they_are_written() {
        for (text, wanted) in [
            ("0", (0, 0)),
            ("-1.50", (-150, 2)),
            ("46319.0", (463_190, 1)),
            (".5", (5, 1)),
            ("5.", (5, 0)),
            ("1e-05", (1, 5)),
            ("1.5E3", (1500, 0)),
            ("0.000000000000000001", (1, 18)),
            ("9223372036854775807", (i64::MAX, 0)),
            ("123456789012345678.000000", (123_456_789_012_345_678, 0)),
            (" 7 ", (7, 0)),
            ("NaN", (NOT_A_NUMBER, 0)),
            ("", (NOT_A_NUMBER, 0)),
            ("-inf", (NOT_A_NUMBER, 0)),
        ] {
            assert_eq!(parse_decimal(text.as_bytes()), Ok(wanted), "{text}");
        }
        for (text, unfit) in [
            ("x", Unfit::Syntax),
            ("1.2.3", Unfit::Syntax),
            ("1,5", Unfit::Syntax),
            ("0x10", Unfit::Syntax),
            ("9223372036854775808", Unfit::TooBig),
            ("1e99", Unfit::TooBig),
            ("0.1234567890123456789", Unfit::TooBig),
        ] {
            assert_eq!(parse_decimal(text.as_bytes()), Err(unfit), "{text}");
        }
    }

    #[test]
    fn a_finer_value_widens_what_is_there_and_zeros_at_the_end_do_not() {
        let mut fixed = Fixed::<2>::new(0, false);
        fixed.push(0, 6_183_763_000_000, 8).unwrap();
        fixed.push(1, NOT_A_NUMBER, 0).unwrap();
        assert_eq!((fixed.scale, &fixed.columns[0][..]), (2, &[6_183_763i64][..]));
        fixed.push(0, 5, 3).unwrap();
        assert_eq!((fixed.scale, &fixed.columns[0][..], fixed.columns[1][0]), (3, &[61_837_630, 5][..], NOT_A_NUMBER));
        assert_eq!(fixed.push(0, i64::MAX, 0), Err(Unfit::TooBig));
        let mut rounded = Fixed::<1>::new(1, true);
        for (mantissa, wanted) in [(125, 12), (135, 14), (-125, -12), (126, 13)] {
            rounded.push(0, mantissa, 2).unwrap();
            assert_eq!(rounded.columns[0].last(), Some(&wanted), "{mantissa}");
        }
    }

    #[test]
    fn computed_doubles_are_refused_and_rounded_only_when_asked() {
        let mut fixed = Fixed::<1>::new(0, false);
        assert_eq!(fixed.extend_f64(0, &[1.5, 1.0 / 3.0]), Err((1, Unfit::NotDecimal)));
        let mut rounded = Fixed::<1>::new(4, true);
        rounded.extend_f64(0, &[0.1 + 0.2, f64::NAN]).unwrap();
        assert_eq!(rounded.columns[0], [3_000, NOT_A_NUMBER]);
    }

    #[test]
    fn noise_of_doubles_is_taken_off_and_long_decimals_are_kept() {
        let mut fixed = Fixed::<1>::new(0, false);
        fixed.extend_f64(0, &[1.5, 0.1 + 0.2, f64::NAN, 218_102.595_075_000_02]).unwrap();
        assert_eq!((fixed.scale, fixed.snapped), (6, 2));
        assert_eq!(fixed.columns[0], [1_500_000, 300_000, NOT_A_NUMBER, 218_102_595_075]);
        let mut texts = Fixed::<1>::new(0, false);
        for text in ["420687.75197499996", "0.30000000000000004", "12345678.12340001", "0.00000012345"] {
            texts.push_text(0, text.as_bytes()).unwrap();
        }
        assert_eq!((texts.scale, texts.snapped), (11, 2));
        let shown: Vec<String> = texts.columns[0].iter().map(|it| (*it as f64 / 1e11).to_string()).collect();
        assert_eq!(shown, ["420687.751975", "0.3", "12345678.12340001", "0.00000012345"]);
    }

    proptest! {
        #[test]
        fn doubles_of_decimals_give_the_decimals_back(
            values in proptest::collection::vec((-999_999_999_999_999i64..=999_999_999_999_999, 0u8..=10), 1..40)
        ) {
            let doubles: Vec<f64> = values.iter().map(|(m, s)| m.to_string().parse::<f64>().unwrap() / power_f(*s)).collect();
            let mut fixed = Fixed::<1>::new(0, false);
            match fixed.extend_f64(0, &doubles) {
                Ok(()) => {
                    for ((mantissa, scale), read) in values.iter().zip(&fixed.columns[0]) {
                        let wide = i128::from(*mantissa) * 10i128.pow(u32::from(18 - scale));
                        prop_assert_eq!(wide, i128::from(*read) * 10i128.pow(u32::from(18 - fixed.scale)));
                    }
                }
                Err((_, unfit)) => prop_assert_eq!(unfit, Unfit::TooBig),
            }
        }
    }
}
