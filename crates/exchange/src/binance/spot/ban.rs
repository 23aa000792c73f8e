//! A ban (418) of this address, remembered over restarts (V-16): a program that is started again inside a ban would only
//! prolong it.
//!
//! Invariants: while a ban lasts no socket is opened and no request leaves; within a run its end goes by monotonic time; in the
//! file it is a time of day. A file that cannot be read stops the start: it is not taken for "no ban". Three days at most are
//! believed.

use super::limits::HOLD_MAX_MS;
use crate::ExchangeError;
use keel_lifecycle::Clock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    venue: String,
    until_ms: u64,
    until_utc: String,
}

/// The end of the ban, on both clocks; unit: milliseconds.
#[derive(Clone, Copy, Debug)]
struct End {
    wall_ms: u64,
    mono_ms: u64,
}

/// The ban of one address at one venue.
#[derive(Debug)]
pub(crate) struct Ban {
    venue: String,
    file: Option<PathBuf>,
    clock: Clock,
    end: Mutex<Option<End>>,
}

impl Ban {
    /// Reads what an earlier run left. `venue` is the address whose ban it is: another venue's does not concern us.
    pub(crate) fn new(venue: &str, file: Option<PathBuf>, clock: Clock) -> Result<Self, ExchangeError> {
        let ban = Self { venue: venue.to_owned(), file, clock, end: Mutex::new(None) };
        let Some(saved) = ban.file.as_deref().map_or(Ok(None), read)? else { return Ok(ban) };
        let now_ms = ban.clock.now_ms();
        if saved.venue == ban.venue && saved.until_ms > now_ms {
            let left_ms = (saved.until_ms - now_ms).min(HOLD_MAX_MS);
            *ban.end.lock() = Some(ban.end_after(left_ms));
            tracing::error!(
                until = saved.until_utc,
                "{} has banned this address; nothing is sent before",
                super::VENUE
            );
        }
        Ok(ban)
    }

    fn end_after(&self, left_ms: u64) -> End {
        let mono_ms = self.clock.mono_ns() / 1_000_000;
        End { wall_ms: self.clock.now_ms().saturating_add(left_ms), mono_ms: mono_ms.saturating_add(left_ms) }
    }

    /// The venue has banned us for this long.
    pub(crate) fn begin(&self, left_ms: u64) {
        let end = self.end_after(left_ms.min(HOLD_MAX_MS));
        *self.end.lock() = Some(end);
        let Some(file) = &self.file else { return };
        let saved = Saved { venue: self.venue.clone(), until_ms: end.wall_ms, until_utc: utc(end.wall_ms) };
        if let Err(error) = write(file, &saved) {
            tracing::error!(%error, file = %file.display(), "the ban could not be saved: do not start again before {}", saved.until_utc);
        }
    }

    /// Is there no ban? An error that says until when there is one.
    pub(crate) fn check(&self) -> Result<(), ExchangeError> {
        let mut end = self.end.lock();
        let Some(until) = *end else { return Ok(()) };
        let left_ms = until.mono_ms.saturating_sub(self.clock.mono_ns() / 1_000_000);
        if left_ms == 0 {
            *end = None;
            return Ok(());
        }
        Err(ExchangeError::Banned { venue: super::VENUE.into(), until_utc: utc(until.wall_ms), left_ms })
    }
}

fn read(file: &Path) -> Result<Option<Saved>, ExchangeError> {
    let wrong = |cause: String| ExchangeError::Unreadable {
        venue: super::VENUE.into(),
        place: format!("the saved ban {}", file.display()),
        cause: format!("{cause}; remove the file if you are sure that the venue does not ban this address"),
        excerpt: String::new(),
    };
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn write(file: &Path, saved: &Saved) -> io::Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(saved).map_err(io::Error::other)?)?;
    std::fs::File::open(&beside)?.sync_all()?;
    std::fs::rename(&beside, file)
}

/// A time of day in words: `2026-07-01T12:30:00Z`.
fn utc(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms / 1_000 % 86_400);
    // Civil date from days since 1970, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_in_words() {
        for (s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(s * 1_000), text);
        }
    }
}
