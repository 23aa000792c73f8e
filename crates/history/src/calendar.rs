//! Days and months of the Gregorian calendar in UTC, as far as archive names need them. After Howard Hinnant's `civil` algorithms.

use keel_catalogue::Span;

/// Nanoseconds of a day.
pub(crate) const DAY_NS: u64 = 86_400_000_000_000;

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
}

impl Day {
    /// The day in which `ns` (since 1970-01-01) lies.
    pub(crate) const fn of(ns: u64) -> Self {
        let z = ns / DAY_NS + 719_468;
        let of_era = z % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + z / 146_097 * 400 + if month <= 2 { 1 } else { 0 };
        Self { year, month, day: of_year - (153 * shifted + 2) / 5 + 1 }
    }

    /// Its start; unit: nanoseconds since 1970-01-01.
    pub(crate) const fn start_ns(self) -> u64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let year_of_era = year % 400;
        let shifted = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let of_year = (153 * shifted + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = year / 400 * 146_097 + of_era;
        days.saturating_sub(719_468) * DAY_NS
    }

    /// The day itself.
    pub(crate) const fn span(ns: u64) -> Span {
        let start_ns = ns - ns % DAY_NS;
        Span::new(start_ns, start_ns + DAY_NS)
    }

    /// The month in which `ns` lies.
    pub(crate) const fn month_span(ns: u64) -> Span {
        let day = Self::of(ns);
        let first = Self { day: 1, ..day };
        let next = if day.month == 12 {
            Self { year: day.year + 1, month: 1, day: 1 }
        } else {
            Self { month: day.month + 1, ..first }
        };
        Span::new(first.start_ns(), next.start_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_two_centuries_is_the_day_after_the_one_before() {
        let mut before = Day { year: 1969, month: 12, day: 31 };
        for number in 0..73_000 {
            let ns = number * DAY_NS;
            let day = Day::of(ns + 17);
            assert_eq!(day.start_ns(), ns);
            let is_next = (day.day == before.day + 1 && day.month == before.month) || day.day == 1;
            assert!(is_next, "{before:?} {day:?}");
            before = day;
        }
    }

    #[test]
    fn months_end_where_the_next_begins() {
        let december = Day { year: 2024, month: 12, day: 1 }.start_ns();
        let month = Day::month_span(december + 5 * DAY_NS);
        assert_eq!(month.to_ns, Day { year: 2025, month: 1, day: 1 }.start_ns());
        let february = Day::month_span(Day { year: 2024, month: 2, day: 29 }.start_ns());
        assert_eq!((february.to_ns - february.from_ns) / DAY_NS, 29);
    }
}
