//! Removing trailing zeros, in 64 bits wherever they suffice: numbers are brought to their shortest form everywhere.

/// Removes trailing zeros after the point.
#[inline]
pub(super) const fn trim(mut mantissa: i128, mut scale: u8) -> (i128, u8) {
    const EIGHT: i128 = 100_000_000;
    // Division of 128 bits is slow: eight zeros at once until 64 bits suffice.
    while mantissa as i64 as i128 != mantissa {
        if scale >= 8 && mantissa % EIGHT == 0 {
            mantissa /= EIGHT;
            scale -= 8;
        } else if scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        } else {
            return (mantissa, scale);
        }
    }
    trim_narrow(mantissa as i64, scale)
}

/// As [`trim`], within 64 bits.
#[inline]
const fn trim_narrow(mut mantissa: i64, mut scale: u8) -> (i128, u8) {
    while scale >= 8 && mantissa % 100_000_000 == 0 {
        mantissa /= 100_000_000;
        scale -= 8;
    }
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    (mantissa as i128, scale)
}
