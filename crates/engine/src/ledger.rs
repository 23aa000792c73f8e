//! Do the balances add up? What each balance is expected to be, trade by trade, against what the venue reports.
//!
//! What is expected of an asset: its first total that the venue told, and since then each fill (base, quote and fee, in whatever
//! asset), each transfer that the venue announced, and each change from outside that was taken over. A report of the venue is
//! true for one moment, and trades go on around that moment; so it adds up when it equals what was expected at *any* moment
//! from a lag before its question until now. Arithmetic is exact; one unit of the eighth decimal place is allowed for each trade
//! whose value has more places than venues keep.
//!
//! Invariants: no float; nothing is taken over silently; what does not add up is first asked about again, and judged only when
//! the same difference is found twice. Bounded: assets by [`ASSETS_MAX`], recent changes by [`RECENT_MAX`]; a report that is
//! older than what is remembered is not judged.

use keel_model::{Asset, Balance, Notional, NumberError, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Most assets that are followed; further ones are not judged.
pub const ASSETS_MAX: usize = 1_024;
/// Most recent changes that are remembered.
pub const RECENT_MAX: usize = 4_096;
/// How long a change is remembered at least, as far as there is room.
const RECENT_AGE: Duration = Duration::from_secs(180);
/// Most differences that one look may leave open; more mean that trades run faster than looks, and the next look decides.
const DIFFERENCES_MAX: usize = 256;
/// Looks without an agreement after which the difference is judged even though it changed from look to look.
const LOOKS_MAX: u32 = 6;
/// Decimal places that venues keep.
const VENUE_SCALE: u8 = 8;

/// One change of one balance.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Change {
    asset: Asset,
    change: Notional,
    /// The venue's time.
    ts: Timestamp,
}

/// What is expected of one asset.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    asset: Asset,
    expected: Option<Notional>,
    /// Trades up to this time of the venue are contained in what was first told or last taken over.
    as_of: Timestamp,
    /// The venue's time of the last report that added up.
    fitted_at: Timestamp,
    /// Trades whose value had more places than venues keep, since.
    rounded: u32,
    /// Was something away (the stream, or this program) since it last added up?
    has_gap: bool,
    /// Differences that every look since it last added up could have seen.
    doubts: Vec<Notional>,
    looks: u32,
    is_judged: bool,
}

/// What a look at one asset found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It adds up.
    Fits,
    /// The first word about it: taken as what is expected from now on.
    First {
        /// Total.
        total: Notional,
    },
    /// It does not add up; a second look will tell whether that stays so.
    Doubt,
    /// It does not add up, twice over.
    Differs(Difference),
    /// It cannot be told from this report.
    NotJudged,
}

/// A balance that does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Asset.
    pub asset: Asset,
    /// What was expected.
    pub ours: Notional,
    /// What the venue says.
    pub venues: Notional,
    /// The venue's less ours.
    pub change: Notional,
    /// Was something away since it last added up?
    pub has_gap: bool,
}

/// A complete report of the venue that waits to be judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Report {
    totals: Vec<(Asset, Notional)>,
    /// The venue's time before it was asked.
    ts: Timestamp,
}

/// What is expected of each balance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BalanceLedger {
    rows: Vec<Row>,
    recent: VecDeque<Change>,
    /// Changes up to this time of the venue may have been forgotten.
    forgotten: Timestamp,
    report: Option<Report>,
}

impl BalanceLedger {
    /// A balance changed by a trade or an announced transfer, at the venue's time `ts`.
    pub fn add(&mut self, asset: Asset, change: Notional, ts: Timestamp) -> Result<(), NumberError> {
        let is_rounded = change.normalized().scale() > VENUE_SCALE;
        if let Some(row) = self.rows.iter_mut().find(|row| row.asset == asset) {
            if let Some(expected) = row.expected.filter(|_| ts > row.as_of) {
                row.expected = Some(expected.checked_add(change)?);
            }
            row.rounded = row.rounded.saturating_add(u32::from(is_rounded));
        } else {
            self.row_mut(asset);
        }
        self.remember(Change { asset, change, ts });
        Ok(())
    }

    fn remember(&mut self, change: Change) {
        // Mostly the newest; late ones find their place by the venue's time, behind those of the same time.
        let mut at = self.recent.len();
        while at > 0 && self.recent.get(at - 1).is_some_and(|before| before.ts > change.ts) {
            at -= 1;
        }
        self.recent.insert(at, change);
        let newest = self.recent.back().map_or(Timestamp::ZERO, |change| change.ts);
        while self.recent.len() > RECENT_MAX
            || self.recent.front().is_some_and(|oldest| newest.since(oldest.ts) > RECENT_AGE)
        {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.forgotten = self.forgotten.max(oldest.ts);
        }
    }

    fn row_mut(&mut self, asset: Asset) -> Option<&mut Row> {
        if let Some(at) = self.rows.iter().position(|row| row.asset == asset) {
            return self.rows.get_mut(at);
        }
        if self.rows.len() >= ASSETS_MAX {
            return None;
        }
        self.rows.push(Row {
            asset,
            expected: None,
            as_of: Timestamp::ZERO,
            fitted_at: Timestamp::ZERO,
            rounded: 0,
            has_gap: true,
            doubts: Vec::new(),
            looks: 0,
            is_judged: false,
        });
        self.rows.last_mut()
    }

    /// Takes over what an earlier run expected.
    pub fn restore(&mut self, asset: Asset, total: Notional, as_of: Timestamp) {
        if let Some(row) = self.row_mut(asset) {
            (row.expected, row.as_of, row.fitted_at, row.has_gap) = (Some(total), as_of, as_of, true);
            row.calm();
        }
    }

    /// Something was away: what the venue announced meanwhile was heard by nobody.
    pub fn note_gap(&mut self) {
        for row in &mut self.rows {
            row.has_gap = true;
        }
    }

    /// A complete report came in; `ts` is the venue's time before it was asked.
    pub fn note_report(&mut self, balances: &[Balance], ts: Timestamp) {
        let mut totals: Vec<(Asset, Notional)> = Vec::with_capacity(balances.len());
        for balance in balances {
            if let Ok(total) = balance.total() {
                totals.push((balance.asset, total));
            }
        }
        self.report = Some(Report { totals, ts });
    }

    /// Is a report waiting to be judged?
    #[must_use]
    pub const fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Is there an asset in doubt that is not judged yet?
    #[must_use]
    pub fn has_doubts(&self) -> bool {
        self.rows.iter().any(|row| row.looks > 0 && !row.is_judged)
    }

    /// Is there an asset in doubt that is not judged yet, after something was away?
    #[must_use]
    pub fn has_doubts_after_gap(&self) -> bool {
        self.rows.iter().any(|row| row.looks > 0 && !row.is_judged && row.has_gap)
    }

    /// From when on, by the venue's clock, trades are to be looked for that would explain what is in doubt.
    #[must_use]
    pub fn doubts_since(&self) -> Option<Timestamp> {
        self.rows.iter().filter(|row| row.looks > 0 && !row.is_judged).map(|row| row.fitted_at).min()
    }

    /// What is expected of an asset; `None` before the venue's first word.
    #[must_use]
    pub fn expected(&self, asset: Asset) -> Option<Notional> {
        self.rows.iter().find(|row| row.asset == asset)?.expected
    }

    /// What everything that is expected comes to, to be saved: asset, total, and up to which time of the venue its trades
    /// are contained.
    pub fn all_expected(&self) -> impl Iterator<Item = (Asset, Notional, Timestamp)> + '_ {
        self.rows.iter().filter_map(|row| row.expected.map(|total| (row.asset, total, row.as_of)))
    }

    /// The venue's last word about an asset in the report at hand; zero when the report leaves it out.
    #[must_use]
    pub fn reported(&self, asset: Asset) -> Option<Notional> {
        let report = self.report.as_ref()?;
        Some(report.totals.iter().find(|(known, _)| *known == asset).map_or(Notional::ZERO, |(_, total)| *total))
    }

    /// Up to which time of the venue trades are contained in what was first told or last taken over.
    #[must_use]
    pub fn as_of(&self, asset: Asset) -> Timestamp {
        self.rows.iter().find(|row| row.asset == asset).map_or(Timestamp::ZERO, |row| row.as_of)
    }

    /// Every asset that is followed or reported.
    #[must_use]
    pub fn assets(&self) -> Vec<Asset> {
        let mut all: Vec<Asset> = self.rows.iter().map(|row| row.asset).collect();
        for (asset, _) in self.report.iter().flat_map(|report| report.totals.iter()) {
            if !all.contains(asset) {
                all.push(*asset);
            }
        }
        all
    }

    /// The report is done with.
    pub fn drop_report(&mut self) {
        self.report = None;
    }

    /// Looks at one asset of the report at hand. `lag_max` is how far the venue's answers may lag. Trades that were
    /// missed must have been asked for before.
    pub fn look(&mut self, asset: Asset, lag_max: Duration) -> Result<Look, NumberError> {
        let Some((total, ts)) = self.reported(asset).zip(self.report.as_ref().map(|report| report.ts)) else {
            return Ok(Look::NotJudged);
        };
        let Some(row) = self.row_mut(asset) else { return Ok(Look::NotJudged) };
        let Some(expected) = row.expected else { return self.first_word(asset, total, ts) };
        let (tolerance, as_of) = (Notional::new(i128::from(row.rounded), VENUE_SCALE)?, row.as_of);
        if ts < self.forgotten || ts < as_of {
            return Ok(Look::NotJudged);
        }
        // What was expected at the end of each change, from now back to a lag before the question.
        let earliest = ts.minus(lag_max).max(self.forgotten);
        let mut differences = Vec::new();
        let (mut at_that_time, mut ours) = (expected, expected);
        let mut note = |expected: Notional| -> Result<bool, NumberError> {
            let difference = total.checked_sub(expected)?;
            if differences.len() < DIFFERENCES_MAX {
                differences.push(difference.normalized());
            }
            Ok(difference.abs()? <= tolerance)
        };
        let mut fits = note(expected)?;
        for change in self.recent.iter().rev().take_while(|change| change.ts > earliest) {
            if change.asset != asset {
                continue;
            }
            at_that_time = at_that_time.checked_sub(change.change)?;
            if change.ts > ts {
                ours = at_that_time;
            }
            fits = note(at_that_time)? || fits;
        }
        let Some(row) = self.rows.iter_mut().find(|row| row.asset == asset) else { return Ok(Look::NotJudged) };
        if fits {
            row.calm();
            (row.has_gap, row.fitted_at) = (false, ts);
            return Ok(Look::Fits);
        }
        if row.is_judged {
            return Ok(Look::NotJudged);
        }
        Ok(row.doubt(differences, total, ours))
    }

    /// The first total that the venue tells is what everything later is compared with.
    fn first_word(&mut self, asset: Asset, total: Notional, ts: Timestamp) -> Result<Look, NumberError> {
        let later = self.recent.iter().filter(|change| change.asset == asset && change.ts > ts);
        let expected = later.map(|change| change.change).try_fold(total, Notional::checked_add)?;
        let Some(row) = self.row_mut(asset) else { return Ok(Look::NotJudged) };
        (row.expected, row.as_of, row.fitted_at) = (Some(expected), ts, ts);
        (row.rounded, row.has_gap) = (0, false);
        row.calm();
        Ok(Look::First { total: expected })
    }

    /// Takes a difference over: from now on it is expected. Answers the total that is expected now and as of when.
    pub fn adopt(&mut self, asset: Asset, change: Notional) -> Result<Option<(Notional, Timestamp)>, NumberError> {
        let Some(row) = self.rows.iter_mut().find(|row| row.asset == asset) else { return Ok(None) };
        let Some(expected) = row.expected else { return Ok(None) };
        let expected = expected.checked_add(change)?;
        (row.expected, row.has_gap) = (Some(expected), false);
        row.calm();
        Ok(Some((expected, row.as_of)))
    }

    /// A difference is told and held: no further looks until a person has released it.
    pub fn note_judged(&mut self, asset: Asset) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.asset == asset) {
            row.is_judged = true;
        }
    }

    /// A person has looked: the venue's next word about the asset is the first one again, if it had been judged.
    pub fn forgive(&mut self, asset: Asset) -> bool {
        let Some(row) = self.rows.iter_mut().find(|row| row.asset == asset && row.is_judged) else { return false };
        row.expected = None;
        row.calm();
        true
    }
}

impl Row {
    fn calm(&mut self) {
        self.doubts.clear();
        (self.looks, self.is_judged) = (0, false);
    }

    /// Keeps the differences that this look and all before could have seen; two looks that agree are a judgement.
    fn doubt(&mut self, differences: Vec<Notional>, total: Notional, ours: Notional) -> Look {
        self.looks = self.looks.saturating_add(1);
        if self.looks == 1 {
            self.doubts = differences;
            return Look::Doubt;
        }
        self.doubts.retain(|known| differences.contains(known));
        // Trades on the way leave several differences possible; the one by the venue's own clock is the likeliest.
        let by_clock = total.checked_sub(ours).unwrap_or_default().normalized();
        let likeliest = self.doubts.iter().find(|known| **known == by_clock).or(self.doubts.first());
        let change = match likeliest {
            Some(change) => *change,
            None if self.looks < LOOKS_MAX => {
                self.doubts = differences;
                return Look::Doubt;
            }
            None => by_clock,
        };
        let ours = total.checked_sub(change).unwrap_or(ours).normalized();
        let (asset, has_gap) = (self.asset, self.has_gap);
        Look::Differs(Difference { asset, ours, venues: total.normalized(), change, has_gap })
    }
}

#[cfg(test)]
mod tests;
