//! Whole-number arithmetic for the review. Prices and quantities are counted in units of the instrument's own scale, money
//! in units of 10^-8 of the quote asset: what we owe is rounded up, what we have is rounded down.

use keel_model::{Notional, Price, Quantity};

/// Decimal places of money inside risk.
pub(crate) const MONEY_SCALE: u8 = 8;

const POW10: [i64; 19] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
    10_000_000_000_000_000,
    100_000_000_000_000_000,
    1_000_000_000_000_000_000,
];

#[inline]
fn pow10(exponent: u8) -> Option<i64> {
    POW10.get(usize::from(exponent)).copied()
}

/// The same number at another scale, or `None` when it is not exact there or does not fit.
#[inline]
pub(crate) fn rescale(mantissa: i64, from: u8, to: u8) -> Option<i64> {
    if from == to {
        return Some(mantissa);
    }
    if from < to {
        return mantissa.checked_mul(pow10(to - from)?);
    }
    let factor = pow10(from - to)?;
    (mantissa % factor == 0).then(|| mantissa / factor)
}

#[inline]
pub(crate) fn price_units(price: Price, scale: u8) -> Option<i64> {
    rescale(price.mantissa(), price.scale(), scale)
}

#[inline]
pub(crate) fn quantity_units(quantity: Quantity, scale: u8) -> Option<i64> {
    rescale(quantity.mantissa(), quantity.scale(), scale)
}

/// `value · factor`; nearly always both it and the product fit a single word.
#[inline]
fn scaled_up(value: i128, factor: i64) -> Option<i128> {
    match i64::try_from(value).ok().and_then(|small| small.checked_mul(factor)) {
        Some(product) => Some(product.into()),
        None => value.checked_mul(factor.into()),
    }
}

/// `value · 10^-scale` as money, away from zero.
#[inline]
pub(crate) fn money_up(value: i128, scale: u8) -> Option<i128> {
    if scale <= MONEY_SCALE {
        return scaled_up(value, pow10(MONEY_SCALE - scale)?);
    }
    let factor = pow10_wide(scale - MONEY_SCALE)?;
    if let (Ok(small), Ok(divisor)) = (i64::try_from(value), i64::try_from(factor)) {
        let (quotient, rest) = (small / divisor, small % divisor);
        return Some(i128::from(quotient) + i128::from(rest.signum()));
    }
    let (quotient, rest) = (value / factor, value % factor);
    quotient.checked_add(rest.signum())
}

/// `value · 10^-scale` as money, towards minus infinity.
#[inline]
pub(crate) fn money_down(value: i128, scale: u8) -> Option<i128> {
    if scale <= MONEY_SCALE {
        return scaled_up(value, pow10(MONEY_SCALE - scale)?);
    }
    Some(value.div_euclid(pow10_wide(scale - MONEY_SCALE)?))
}

fn pow10_wide(exponent: u8) -> Option<i128> {
    if exponent <= 18 {
        return pow10(exponent).map(i128::from);
    }
    i128::from(pow10(18)?).checked_mul(pow10(exponent - 18)?.into())
}

/// A balance or limit as money, rounded down.
#[inline]
pub(crate) fn notional_down(value: Notional) -> Option<i128> {
    money_down(value.mantissa(), value.scale())
}

/// What is owed as money, rounded up.
#[inline]
pub(crate) fn notional_up(value: Notional) -> Option<i128> {
    money_up(value.mantissa(), value.scale())
}

/// How many units of `scale` a positive amount of an asset holds, rounded down.
pub(crate) fn units_within(money: i128, scale: u8) -> i64 {
    let units = if scale <= MONEY_SCALE {
        pow10(MONEY_SCALE - scale).map_or(0, |factor| money / i128::from(factor))
    } else {
        pow10_wide(scale - MONEY_SCALE).map_or(0, |factor| money.saturating_mul(factor))
    };
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// Money as a decimal, for people.
pub(crate) fn to_notional(money: i128) -> Notional {
    Notional::new(money, MONEY_SCALE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn money_rounds_what_is_owed_up_and_what_is_held_down(value in -1_000_000_000_000_000_000_000i128..1_000_000_000_000_000_000_000, scale in 0u8..=24) {
            let (down, up) = (money_down(value, scale), money_up(value, scale));
            if let (Some(down), Some(up)) = (down, up) {
                let exact = Notional::new(value, scale).unwrap();
                prop_assert!(to_notional(down) <= exact);
                prop_assert!(to_notional(up).abs().unwrap() >= exact.abs().unwrap());
                prop_assert!(up.abs_diff(down) <= 1);
            }
        }
        #[test]
        fn rescaling_is_exact_or_refused(mantissa: i64, from in 0u8..=18, to in 0u8..=18) {
            let price = Price::new(mantissa, from).unwrap();
            prop_assert_eq!(rescale(mantissa, from, to).map(|m| Price::new(m, to).unwrap()), price.rescale(to).ok());
        }
    }
}
