//! Exact decimals for money: `Price` and `Quantity` (64-bit mantissa) and `Notional` (128-bit mantissa).
//!
//! A value carries its own scale, so it prints, compares and adds without context: SHIB at 0.00001234 and BTC at
//! 61837.63 are both exact, and numbers keep the digits they came with (`"1.50"` prints `1.50`). Equality, order and hash
//! are by numeric value. Values of equal scale, the rule on one instrument, take the one-instruction path.
//! Nothing here rounds unless it is asked to, and everything that could overflow returns [`NumberError::Overflow`].

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

mod text;
mod trim;
mod wide;
use text::{write_ascii, write_decimal};
use trim::trim;
use wide::mul_div;

/// The most decimal places a [`Price`] or [`Quantity`] can have.
pub const SCALE_MAX: u8 = 18;
/// The most decimal places a [`Notional`] can have: a product of two values of [`SCALE_MAX`].
pub const WIDE_SCALE_MAX: u8 = 36;
const _: () = assert!(WIDE_SCALE_MAX == 2 * SCALE_MAX);

/// Powers of ten up to 10^38, the largest that fits 128 bits signed.
const POW10: [i128; 39] = {
    let mut table = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        #[allow(clippy::indexing_slicing, reason = "const evaluation; an index out of range fails the build")]
        {
            table[i] = table[i - 1] * 10;
        }
        i += 1;
    }
    table
};

#[inline]
fn pow10(exponent: u8) -> Option<i128> {
    POW10.get(usize::from(exponent)).copied()
}

/// Why a number could not be made or combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// No digits.
    #[error("a number was expected, found nothing")]
    Empty,
    /// A byte that does not belong into a decimal number.
    #[error("'{}' at position {at} does not belong into a decimal number (digits, one '.', a leading '-')", char::from(*.byte))]
    BadByte {
        /// The offending byte.
        byte: u8,
        /// Its zero-based position.
        at: usize,
    },
    /// More decimal places than the type holds.
    #[error("more than {max} decimal places")]
    TooPrecise {
        /// The most places allowed.
        max: u8,
    },
    /// The value does not fit the type.
    #[error("the number is too large to be held exactly")]
    Overflow,
    /// The operation would lose digits.
    #[error("the result is not exact at {scale} decimal places")]
    Inexact {
        /// The number of places asked for.
        scale: u8,
    },
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
}

/// How to round when rounding is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// To the nearest, halves away from zero.
    HalfUp,
    /// Towards zero.
    ToZero,
}

/// Divides with the given rounding; `divisor` must be positive.
#[inline]
fn div_round(value: i128, divisor: i128, rounding: Rounding) -> i128 {
    let (quotient, remainder) = (value / divisor, value % divisor);
    if remainder == 0 {
        return quotient;
    }
    match rounding {
        Rounding::ToZero => quotient,
        Rounding::Down if remainder < 0 => quotient - 1,
        Rounding::Up if remainder > 0 => quotient + 1,
        Rounding::HalfUp if remainder.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2) => {
            quotient + if value < 0 { -1 } else { 1 }
        }
        _ => quotient,
    }
}

/// Parses ASCII decimal digits into (mantissa, scale) with at most `scale_max` places.
#[inline]
fn parse_i128(text: &[u8], scale_max: u8) -> Result<(i128, u8), NumberError> {
    let (negative, start) = match text.first() {
        Some(b'-') => (true, 1),
        _ => (false, 0),
    };
    let (mut mantissa, mut scale, mut digits, mut point) = (0i128, 0u32, 0u32, false);
    // Zeros after the last significant place are counted apart, so that padded numbers cannot overflow.
    let mut pending_zeros = 0u32;
    for (at, &byte) in text.iter().enumerate().skip(start) {
        match byte {
            b'0' if point => {
                pending_zeros += 1;
                digits += 1;
            }
            b'0'..=b'9' => {
                let places = if point { std::mem::take(&mut pending_zeros) + 1 } else { 1 };
                let factor = u8::try_from(places).ok().and_then(pow10).ok_or(NumberError::Overflow)?;
                mantissa = mantissa
                    .checked_mul(factor)
                    .and_then(|m| m.checked_add(i128::from(byte - b'0')))
                    .ok_or(NumberError::Overflow)?;
                digits += 1;
                if point {
                    scale += places;
                }
            }
            b'.' if !point && digits > 0 => point = true,
            _ => return Err(NumberError::BadByte { byte, at }),
        }
    }
    if digits == 0 {
        return Err(NumberError::Empty);
    }
    if scale > u32::from(scale_max) {
        return Err(NumberError::TooPrecise { max: scale_max });
    }
    // Give the padding back as far as it fits: "1.50" keeps two places.
    let keep = pending_zeros.min(u32::from(scale_max) - scale);
    let mut scale = scale as u8;
    for _ in 0..keep {
        match mantissa.checked_mul(10) {
            Some(wider) => {
                mantissa = wider;
                scale += 1;
            }
            None => break,
        }
    }
    Ok((if negative { -mantissa } else { mantissa }, scale))
}

/// Compares `a·10^-sa` with `b·10^-sb` exactly; never overflows.
fn cmp_wide(a: i128, sa: u8, b: i128, sb: u8) -> Ordering {
    if sa == sb {
        return a.cmp(&b);
    }
    if (a < 0) != (b < 0) {
        return a.cmp(&b);
    }
    let (a, sa) = trim(a, sa);
    let (b, sb) = trim(b, sb);
    let (low, high, flipped) = if sa < sb { ((a, sa), b, false) } else { ((b, sb), a, true) };
    let shift = sa.abs_diff(sb);
    let ordering = match pow10(shift).and_then(|factor| low.0.checked_mul(factor)) {
        Some(scaled) => scaled.cmp(&high),
        // The coarser value does not fit at the finer scale, so its magnitude is the larger one.
        None if low.0 < 0 => Ordering::Less,
        None => Ordering::Greater,
    };
    if flipped { ordering.reverse() } else { ordering }
}

macro_rules! narrow {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default)]
        pub struct $name {
            mantissa: i64,
            scale: u8,
        }

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

            /// `mantissa · 10^-scale`. Errors when `scale` exceeds [`SCALE_MAX`].
            pub const fn new(mantissa: i64, scale: u8) -> Result<Self, NumberError> {
                if scale > SCALE_MAX {
                    return Err(NumberError::TooPrecise { max: SCALE_MAX });
                }
                Ok(Self { mantissa, scale })
            }

            /// A whole number.
            #[must_use]
            pub const fn from_int(value: i64) -> Self {
                Self { mantissa: value, scale: 0 }
            }

            /// Parses ASCII decimal text as venues send it; no sign but `-`, no exponent, no spaces.
            #[inline]
            pub fn parse_bytes(text: &[u8]) -> Result<Self, NumberError> {
                if let Some((mantissa, scale)) = parse_short(text) {
                    return Ok(Self { mantissa, scale });
                }
                let (mantissa, scale) = parse_i128(text, SCALE_MAX)?;
                Self::fit(mantissa, scale)
            }

            /// The digits without the point.
            #[must_use]
            pub const fn mantissa(self) -> i64 {
                self.mantissa
            }

            /// The number of decimal places.
            #[must_use]
            pub const fn scale(self) -> u8 {
                self.scale
            }

            /// Is this zero?
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.mantissa == 0
            }

            /// Is this greater than zero?
            #[must_use]
            pub const fn is_positive(self) -> bool {
                self.mantissa > 0
            }

            /// Is this less than zero?
            #[must_use]
            pub const fn is_negative(self) -> bool {
                self.mantissa < 0
            }

            /// The magnitude. Errors only for the most negative mantissa.
            pub fn abs(self) -> Result<Self, NumberError> {
                Ok(Self { mantissa: self.mantissa.checked_abs().ok_or(NumberError::Overflow)?, scale: self.scale })
            }

            /// The value with the opposite sign.
            #[allow(clippy::should_implement_trait, reason = "it can fail, `std::ops::Neg` cannot say so")]
            pub fn neg(self) -> Result<Self, NumberError> {
                Ok(Self { mantissa: self.mantissa.checked_neg().ok_or(NumberError::Overflow)?, scale: self.scale })
            }

            /// The exact sum.
            #[inline]
            pub fn checked_add(self, other: Self) -> Result<Self, NumberError> {
                if self.scale == other.scale {
                    if let Some(mantissa) = self.mantissa.checked_add(other.mantissa) {
                        return Ok(Self { mantissa, scale: self.scale });
                    }
                }
                self.add_wide(i128::from(other.mantissa), other.scale)
            }

            /// The exact difference.
            #[inline]
            pub fn checked_sub(self, other: Self) -> Result<Self, NumberError> {
                if self.scale == other.scale {
                    if let Some(mantissa) = self.mantissa.checked_sub(other.mantissa) {
                        return Ok(Self { mantissa, scale: self.scale });
                    }
                }
                self.add_wide(-i128::from(other.mantissa), other.scale)
            }

            /// The exact product with a whole number.
            pub fn checked_mul_int(self, factor: i64) -> Result<Self, NumberError> {
                Self::fit(i128::from(self.mantissa) * i128::from(factor), self.scale)
            }

            /// The same number with exactly `scale` places. Errors when digits would be lost or it does not fit.
            pub fn rescale(self, scale: u8) -> Result<Self, NumberError> {
                if scale == self.scale {
                    return Ok(self);
                }
                if scale > SCALE_MAX {
                    return Err(NumberError::TooPrecise { max: SCALE_MAX });
                }
                let (mantissa, from) = trim(i128::from(self.mantissa), self.scale);
                if from > scale {
                    return Err(NumberError::Inexact { scale });
                }
                let factor = pow10(scale - from).ok_or(NumberError::Overflow)?;
                let mantissa = mantissa.checked_mul(factor).ok_or(NumberError::Overflow)?;
                Ok(Self { mantissa: i64::try_from(mantissa).map_err(|_| NumberError::Overflow)?, scale })
            }

            /// The nearest multiple of `step` in the given direction. Errors when `step` is not positive.
            pub fn round_to_step(self, step: Self, rounding: Rounding) -> Result<Self, NumberError> {
                if step.mantissa <= 0 {
                    return Err(NumberError::DivisionByZero);
                }
                let scale = self.scale.max(step.scale);
                let value = widen(self.mantissa, self.scale, scale)?;
                let unit = widen(step.mantissa, step.scale, scale)?;
                let multiple = div_round(value, unit, rounding).checked_mul(unit).ok_or(NumberError::Overflow)?;
                Self::fit_at(multiple, scale, step.scale)
            }

            /// Is this a whole multiple of `step`? A zero step allows everything.
            #[must_use]
            pub fn is_multiple_of(self, step: Self) -> bool {
                if step.mantissa == 0 {
                    return true;
                }
                if self.scale == step.scale {
                    return self.mantissa % step.mantissa == 0;
                }
                let scale = self.scale.max(step.scale);
                match (widen(self.mantissa, self.scale, scale), widen(step.mantissa, step.scale, scale)) {
                    (Ok(value), Ok(unit)) => value % unit == 0,
                    _ => false,
                }
            }

            /// Nearest double; for indicators and display, never for money.
            #[must_use]
            #[inline]
            pub fn to_f64(self) -> f64 {
                const POW: [f64; 19] = [
                    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
                    1e18,
                ];
                self.mantissa as f64 / POW.get(usize::from(self.scale)).copied().unwrap_or(f64::NAN)
            }

            /// The double rounded to `scale` places; for indicator values that become order prices. Errors for NaN, infinity and overflow.
            pub fn from_f64(value: f64, scale: u8, rounding: Rounding) -> Result<Self, NumberError> {
                let factor = pow10(scale).filter(|_| scale <= SCALE_MAX).ok_or(NumberError::TooPrecise { max: SCALE_MAX })?;
                let scaled = value * factor as f64;
                let whole = match rounding {
                    Rounding::Down => scaled.floor(),
                    Rounding::Up => scaled.ceil(),
                    Rounding::HalfUp => scaled.round(),
                    Rounding::ToZero => scaled.trunc(),
                };
                if !whole.is_finite() || whole.abs() >= 9.2e18 {
                    return Err(NumberError::Overflow);
                }
                Ok(Self { mantissa: whole as i64, scale })
            }

            /// Without trailing zeros: the shortest text of the same number.
            #[must_use]
            pub fn normalized(self) -> Self {
                let (mantissa, scale) = trim(i128::from(self.mantissa), self.scale);
                Self { mantissa: i64::try_from(mantissa).unwrap_or(self.mantissa), scale }
            }

            /// Writes the decimal text into `out` without allocating; returns its length, or `None` when `out` is too short
            /// (24 bytes always suffice).
            #[inline]
            pub fn write_to(self, out: &mut [u8]) -> Option<usize> {
                write_ascii(self.mantissa, self.scale, out)
            }

            fn add_wide(self, other: i128, other_scale: u8) -> Result<Self, NumberError> {
                let scale = self.scale.max(other_scale);
                let a = widen(self.mantissa, self.scale, scale)?;
                let factor = pow10(scale - other_scale).ok_or(NumberError::Overflow)?;
                let b = other.checked_mul(factor).ok_or(NumberError::Overflow)?;
                Self::fit(a.checked_add(b).ok_or(NumberError::Overflow)?, scale)
            }

            /// Fits a wide mantissa, giving up trailing zeros where that makes it fit.
            fn fit(mantissa: i128, scale: u8) -> Result<Self, NumberError> {
                if let Ok(mantissa) = i64::try_from(mantissa) {
                    return Self::new(mantissa, scale);
                }
                let (mantissa, scale) = trim(mantissa, scale);
                Self::new(i64::try_from(mantissa).map_err(|_| NumberError::Overflow)?, scale)
            }

            fn fit_at(mantissa: i128, scale: u8, wanted: u8) -> Result<Self, NumberError> {
                let value = Self::fit(mantissa, scale)?;
                Ok(value.rescale(wanted).unwrap_or(value))
            }
        }

        impl PartialEq for $name {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                if self.scale == other.scale {
                    return self.mantissa.cmp(&other.mantissa);
                }
                // 64 bits times 10^18 fit into 128 bits, so the coarser one can always be brought to the finer scale.
                let up = |mantissa: i64, by: u8| i128::from(mantissa) * pow10(by).unwrap_or(1);
                let scale = self.scale.max(other.scale);
                up(self.mantissa, scale - self.scale).cmp(&up(other.mantissa, scale - other.scale))
            }
        }
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                let value = self.normalized();
                value.mantissa.hash(state);
                value.scale.hash(state);
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_decimal(f, i128::from(self.mantissa), self.scale)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = NumberError;
            fn from_str(text: &str) -> Result<Self, NumberError> {
                Self::parse_bytes(text.as_bytes())
            }
        }
        text_serde!($name);
    };
}

/// Text in readable formats (no float can sneak in), digits and scale in binary ones.
macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    (self.mantissa, self.scale).serialize(serializer)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(|error| de::Error::custom(format!("'{text}': {error}")))
                } else {
                    let (mantissa, scale) = Deserialize::deserialize(deserializer)?;
                    Self::new(mantissa, scale).map_err(de::Error::custom)
                }
            }
        }
    };
}

/// The usual case in one pass: at most 18 digits, so that the mantissa cannot overflow 64 bits.
#[inline]
fn parse_short(text: &[u8]) -> Option<(i64, u8)> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let (mut mantissa, mut point_at) = (0i64, usize::MAX);
    for (at, &byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(i64::from(digit));
        } else if byte == b'.' && point_at == usize::MAX && at > 0 {
            point_at = at;
        } else {
            return None;
        }
    }
    if point_at == usize::MAX {
        return if text.len() <= 18 { Some((mantissa, 0)) } else { None };
    }
    Some((mantissa, (text.len() - 1 - point_at) as u8))
}

#[inline]
fn widen(mantissa: i64, from: u8, to: u8) -> Result<i128, NumberError> {
    let factor = pow10(to.saturating_sub(from)).ok_or(NumberError::Overflow)?;
    i128::from(mantissa).checked_mul(factor).ok_or(NumberError::Overflow)
}

narrow!(
    /// A price per unit, in the quote asset; signed, since spreads and some derivatives go below zero.
    Price
);
narrow!(
    /// An amount of the base asset or of contracts; signed, so that positions can be short.
    Quantity
);

/// A value in money (quote asset, fee asset, balance): 128-bit mantissa, up to 36 decimal places.
#[derive(Clone, Copy, Default)]
pub struct Notional {
    mantissa: i128,
    scale: u8,
}

impl Notional {
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// `mantissa · 10^-scale`. Errors when `scale` exceeds [`WIDE_SCALE_MAX`].
    pub const fn new(mantissa: i128, scale: u8) -> Result<Self, NumberError> {
        if scale > WIDE_SCALE_MAX {
            return Err(NumberError::TooPrecise { max: WIDE_SCALE_MAX });
        }
        Ok(Self { mantissa, scale })
    }

    /// A whole number.
    #[must_use]
    pub const fn from_int(value: i64) -> Self {
        Self { mantissa: value as i128, scale: 0 }
    }

    /// `price · quantity`, exact; cannot overflow.
    #[must_use]
    #[inline]
    pub const fn of(price: Price, quantity: Quantity) -> Self {
        Self { mantissa: price.mantissa as i128 * quantity.mantissa as i128, scale: price.scale + quantity.scale }
    }

    /// The digits without the point.
    #[must_use]
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// The number of decimal places.
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Is this zero?
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// Is this greater than zero?
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    /// Is this less than zero?
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The magnitude.
    pub fn abs(self) -> Result<Self, NumberError> {
        Ok(Self { mantissa: self.mantissa.checked_abs().ok_or(NumberError::Overflow)?, scale: self.scale })
    }

    /// The value with the opposite sign.
    #[allow(clippy::should_implement_trait, reason = "it can fail, `std::ops::Neg` cannot say so")]
    pub fn neg(self) -> Result<Self, NumberError> {
        Ok(Self { mantissa: self.mantissa.checked_neg().ok_or(NumberError::Overflow)?, scale: self.scale })
    }

    /// The exact sum.
    #[inline]
    pub fn checked_add(self, other: Self) -> Result<Self, NumberError> {
        if self.scale == other.scale
            && let Some(mantissa) = self.mantissa.checked_add(other.mantissa)
        {
            return Ok(Self { mantissa, scale: self.scale });
        }
        let ((a, sa), (b, sb)) = (trim(self.mantissa, self.scale), trim(other.mantissa, other.scale));
        let scale = sa.max(sb);
        let up = |mantissa: i128, from: u8| pow10(scale - from).and_then(|factor| mantissa.checked_mul(factor));
        let sum = up(a, sa).zip(up(b, sb)).and_then(|(a, b)| a.checked_add(b)).ok_or(NumberError::Overflow)?;
        Ok(Self { mantissa: sum, scale })
    }

    /// The exact difference.
    #[inline]
    pub fn checked_sub(self, other: Self) -> Result<Self, NumberError> {
        self.checked_add(other.neg()?)
    }

    /// The exact product with a rate (fee, percentage), given as a plain decimal.
    pub fn checked_mul(self, rate: Quantity) -> Result<Self, NumberError> {
        let (a, sa) = trim(self.mantissa, self.scale);
        let (b, sb) = trim(i128::from(rate.mantissa), rate.scale);
        let mantissa = a.checked_mul(b).ok_or(NumberError::Overflow)?;
        Self::new(mantissa, sa + sb)
    }

    /// `self · numerator / denominator`, rounded half away from zero to `scale` places.
    pub fn mul_div(self, numerator: Quantity, denominator: Quantity, scale: u8) -> Result<Self, NumberError> {
        if denominator.mantissa == 0 {
            return Err(NumberError::DivisionByZero);
        }
        // value = mantissa·n·10^(scale + ds) / (d·10^(own + ns)); the powers are cancelled first.
        let up = i32::from(scale) + i32::from(denominator.scale);
        let down = i32::from(self.scale) + i32::from(numerator.scale);
        let shift = up - down;
        let factor = u8::try_from(shift.unsigned_abs()).ok().and_then(pow10).ok_or(NumberError::Overflow)?;
        let (top, bottom) = if shift >= 0 {
            (i128::from(numerator.mantissa).checked_mul(factor), Some(i128::from(denominator.mantissa)))
        } else {
            (Some(i128::from(numerator.mantissa)), i128::from(denominator.mantissa).checked_mul(factor))
        };
        let (top, bottom) = top.zip(bottom).ok_or(NumberError::Overflow)?;
        Self::new(mul_div(self.mantissa, top, bottom)?, scale)
    }

    /// The price at which `quantity` is worth `self`, rounded half away from zero to `scale` places.
    pub fn price_per(self, quantity: Quantity, scale: u8) -> Result<Price, NumberError> {
        let value = self.mul_div(Quantity::from_int(1), quantity, scale)?;
        Price::new(i64::try_from(value.mantissa).map_err(|_| NumberError::Overflow)?, scale)
    }

    /// The value rounded to `scale` places.
    pub fn round(self, scale: u8, rounding: Rounding) -> Result<Self, NumberError> {
        if scale >= self.scale {
            return Ok(self);
        }
        let divisor = pow10(self.scale - scale).ok_or(NumberError::Overflow)?;
        Self::new(div_round(self.mantissa, divisor, rounding), scale)
    }

    /// The same number as a quantity of an asset, where it fits exactly.
    pub fn to_quantity(self) -> Result<Quantity, NumberError> {
        let (mantissa, scale) = trim(self.mantissa, self.scale);
        Quantity::new(i64::try_from(mantissa).map_err(|_| NumberError::Overflow)?, scale)
    }

    /// Without trailing zeros: the shortest text of the same number.
    #[must_use]
    pub const fn normalized(self) -> Self {
        let (mantissa, scale) = trim(self.mantissa, self.scale);
        Self { mantissa, scale }
    }

    /// Nearest double; for statistics and display, never for money.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 / 10f64.powi(i32::from(self.scale))
    }
}

impl From<Quantity> for Notional {
    fn from(quantity: Quantity) -> Self {
        Self { mantissa: i128::from(quantity.mantissa), scale: quantity.scale }
    }
}

impl PartialEq for Notional {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Notional {}
impl PartialOrd for Notional {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Notional {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_wide(self.mantissa, self.scale, other.mantissa, other.scale)
    }
}
impl Hash for Notional {
    fn hash<H: Hasher>(&self, state: &mut H) {
        trim(self.mantissa, self.scale).hash(state);
    }
}
impl fmt::Display for Notional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.mantissa, self.scale)
    }
}
impl fmt::Debug for Notional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Notional {
    type Err = NumberError;
    fn from_str(text: &str) -> Result<Self, NumberError> {
        let (mantissa, scale) = parse_i128(text.as_bytes(), WIDE_SCALE_MAX)?;
        Self::new(mantissa, scale)
    }
}
text_serde!(Notional);

#[cfg(test)]
mod tests;
