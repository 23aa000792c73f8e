//! `a · b / c` through 256 bits, so that a ratio of exact numbers is rounded once and never overflows on the way.

use super::NumberError;

/// Returns `a·b/c`, rounded half away from zero. Errors when `c` is zero or the result does not fit 128 bits.
pub(super) fn mul_div(a: i128, b: i128, c: i128) -> Result<i128, NumberError> {
    if c == 0 {
        return Err(NumberError::DivisionByZero);
    }
    let negative = (a < 0) ^ (b < 0) ^ (c < 0);
    let (a, b, c) = (a.unsigned_abs(), b.unsigned_abs(), c.unsigned_abs());
    let (quotient, remainder) = match a.checked_mul(b) {
        Some(product) => (product / c, product % c),
        None => {
            let (high, low) = mul_wide(a, b);
            div_wide(high, low, c).ok_or(NumberError::Overflow)?
        }
    };
    let rounded = if remainder >= c - remainder { quotient.checked_add(1) } else { Some(quotient) };
    let magnitude = rounded.and_then(|q| i128::try_from(q).ok()).ok_or(NumberError::Overflow)?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// The 256-bit product as (high, low).
fn mul_wide(a: u128, b: u128) -> (u128, u128) {
    const MASK: u128 = u64::MAX as u128;
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & MASK, b >> 64, b & MASK);
    let low = a_low * b_low;
    let (cross_1, cross_2) = (a_high * b_low, a_low * b_high);
    let middle = (low >> 64) + (cross_1 & MASK) + (cross_2 & MASK);
    let high = a_high * b_high + (cross_1 >> 64) + (cross_2 >> 64) + (middle >> 64);
    (high, (middle << 64) | (low & MASK))
}

/// Divides a 256-bit number bit by bit; `None` when the quotient does not fit 128 bits.
fn div_wide(high: u128, low: u128, divisor: u128) -> Option<(u128, u128)> {
    if high >= divisor {
        return None;
    }
    let (mut remainder, mut quotient) = (high, 0u128);
    for bit in (0..128).rev() {
        let carry = remainder >> 127;
        remainder = (remainder << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry == 1 || remainder >= divisor {
            remainder = remainder.wrapping_sub(divisor);
            quotient |= 1;
        }
    }
    Some((quotient, remainder))
}
