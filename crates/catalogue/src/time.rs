//! Times of files: whole numbers of seconds, milliseconds, microseconds or nanoseconds since the epoch (told by their size),
//! or ISO 8601 text in UTC.

/// Which unit a whole number is in, told by its size: each unit covers the years 1973 to 5138.
#[inline]
pub(crate) const fn guess_ns(number: u64) -> Option<u64> {
    let factor = match number {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(factor)
}

/// Nanoseconds since the epoch of a time as text; `None` when it is none.
#[inline]
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit >= 10 || number > u64::MAX / 10 - 10 {
            return parse_iso(text);
        }
        number = number * 10 + u64::from(digit);
    }
    if text.is_empty() { None } else { guess_ns(number) }
}

/// `2024-01-31`, then perhaps `T` or a blank and `12:34[:56[.123456789]]`, then perhaps `Z` or an offset; without one it is UTC.
fn parse_iso(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let year = digits(text.get(..4)?)?;
    let (month, day) = match (text.get(4)?, text.get(7)) {
        (b'-', Some(b'-')) => (digits(text.get(5..7)?)?, digits(text.get(8..10)?)?),
        _ => return None,
    };
    let is_date = (1..=12).contains(&month) && day >= 1 && day <= days_of_month(year, month);
    if !(1970..=2200).contains(&year) || !is_date {
        return None;
    }
    let midnight_s = days_from_civil(year, month, day) * 86_400;
    let rest = text.get(10..)?;
    let Some((b'T' | b' ' | b't', clock)) = rest.split_first() else {
        return if rest.is_empty() { midnight_s.checked_mul(1_000_000_000) } else { None };
    };
    let (hour, minute) = match clock {
        [h1, h2, b':', m1, m2, ..] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    let mut rest = clock.get(5..)?;
    let (mut second, mut nanos) = (0, 0);
    if let Some((b':', seconds)) = rest.split_first() {
        second = digits(seconds.get(..2)?)?;
        rest = seconds.get(2..)?;
        if let Some((b'.' | b',', fraction)) = rest.split_first() {
            let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&length) {
                return None;
            }
            nanos = digits(fraction.get(..length)?)? * 10u64.pow(9 - u32::try_from(length).ok()?);
            rest = fraction.get(length..)?;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset_s = offset_seconds(rest)?;
    let local_s = midnight_s + hour * 3_600 + minute * 60 + second;
    local_s.checked_add_signed(-offset_s)?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, clock) = match text {
        b"" | b"Z" | b"z" | b" UTC" | b"UTC" => return Some(0),
        [b'+', clock @ ..] => (1, clock),
        [b'-', clock @ ..] => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = match clock {
        [h1, h2] => (digits(&[*h1, *h2])?, 0),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    i64::try_from(hours * 3_600 + minutes * 60).ok().map(|seconds| sign * seconds)
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

const fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date not before it; after Howard Hinnant's `days_from_civil`.
pub(crate) const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a time; after Howard Hinnant's `civil_from_days`.
pub(crate) const fn civil(ts_ns: u64) -> (u64, u64, u64) {
    let z = ts_ns / 86_400_000_000_000 + 719_468;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + z / 146_097 * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// A time for people and files, UTC, with as many digits of the second as it needs: `2024-01-31T12:34:56Z`.
#[must_use]
pub fn iso(ts_ns: u64) -> String {
    let (year, month, day) = civil(ts_ns);
    let second = ts_ns / 1_000_000_000;
    let (hour, minute) = (second / 3_600 % 24, second / 60 % 60);
    let clock = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", second % 60);
    match ts_ns % 1_000_000_000 {
        0 => format!("{clock}Z"),
        nanos => format!("{clock}.{}Z", format!("{nanos:09}").trim_end_matches('0')),
    }
}

/// A time as a person or a file writes it: ISO 8601 in UTC, or a whole number since the epoch.
#[must_use]
pub fn from_text(text: &str) -> Option<u64> {
    parse(text.trim().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_one_instant_is_the_same_instant() {
        const WANTED: u64 = 1_704_067_200_000_000_000;
        for text in [
            "1704067200",
            "1704067200000",
            "1704067200000000",
            "1704067200000000000",
            "2024-01-01",
            "2024-01-01 00:00",
            "2024-01-01 00:00:00.000000",
            "2024-01-01T00:00:00Z",
            "2024-01-01T01:00:00+01:00",
            "2023-12-31T19:00:00-0500",
            "2024-01-01 00:00:00+00:00",
            "2024-01-01 00:00:00 UTC",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(WANTED), "{text}");
        }
        for text in [
            "",
            "x",
            "2024",
            "2024-13-01",
            "2024-02-30",
            "2024-01-01T25:00",
            "20240101",
            "-5",
            "2024-01-01T00:00:00.",
            "1e9",
        ] {
            assert!(parse(text.as_bytes()) != Some(WANTED), "{text}");
        }
        assert_eq!(parse(b"2024-02-30"), None);
        assert_eq!(parse(b"-5"), None);
    }

    #[test]
    fn days_and_dates_agree_for_two_centuries() {
        let mut day = 0;
        for year in 1970..2170 {
            for month in 1..=12 {
                for of_month in 1..=days_of_month(year, month) {
                    assert_eq!(days_from_civil(year, month, of_month), day);
                    assert_eq!(civil(day * 86_400_000_000_000 + 5), (year, month, of_month));
                    day += 1;
                }
            }
        }
    }

    #[test]
    fn times_print_as_they_are_read() {
        for text in ["2024-02-29T23:59:59Z", "2022-01-31T00:00:00.5Z", "1970-01-01T00:00:00.000000001Z"] {
            assert_eq!(iso(parse(text.as_bytes()).unwrap()), text);
        }
    }
}
