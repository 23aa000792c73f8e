//! Numbers as text, without allocating.

use std::fmt;

/// Digits, a point and a sign of the longest number.
const TEXT_LENGTH_MAX: usize = 42;

#[allow(clippy::indexing_slicing, reason = "every index is below the buffer's fixed length by construction")]
pub(super) fn write_decimal(f: &mut fmt::Formatter<'_>, mantissa: i128, scale: u8) -> fmt::Result {
    let mut text = [b'0'; TEXT_LENGTH_MAX];
    let mut at = text.len();
    let (mut wide, mut written) = (mantissa.unsigned_abs(), 0u8);
    // Nineteen digits at a time, so that most numbers are divided in 64 bits alone.
    loop {
        let is_last = wide <= u128::from(u64::MAX);
        let (mut part, count) = if is_last {
            (wide as u64, 0)
        } else {
            let part = (wide % PART) as u64;
            wide /= PART;
            (part, 19)
        };
        let mut done = 0;
        while done < count || (is_last && (part > 0 || written <= scale)) {
            if written == scale && scale > 0 {
                at -= 1;
                text[at] = b'.';
            }
            at -= 1;
            text[at] = b'0' + (part % 10) as u8;
            part /= 10;
            (done, written) = (done + 1, written + 1);
        }
        if is_last {
            break;
        }
    }
    f.pad_integral(mantissa >= 0, "", std::str::from_utf8(&text[at..]).map_err(|_| fmt::Error)?)
}

/// Ten to the nineteenth: what a part of a number that is divided in 64 bits is below.
const PART: u128 = 10_000_000_000_000_000_000;

/// Writes `mantissa·10^-scale` as ASCII into `out` without allocating; returns the number of bytes, or `None` when it does not fit.
#[inline]
#[allow(clippy::indexing_slicing, reason = "every index is below the buffer's fixed length by construction")]
pub(super) fn write_ascii(mantissa: i64, scale: u8, out: &mut [u8]) -> Option<usize> {
    let mut digits = [0u8; 24];
    let mut at = digits.len();
    let mut rest = mantissa.unsigned_abs();
    let mut written = 0u8;
    while rest > 0 || written <= scale {
        if written == scale && scale > 0 {
            at -= 1;
            digits[at] = b'.';
        }
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        written += 1;
    }
    if mantissa < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    let text = &digits[at..];
    out.get_mut(..text.len())?.copy_from_slice(text);
    Some(text.len())
}
