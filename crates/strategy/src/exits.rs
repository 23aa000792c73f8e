//! Exits that any strategy can have, set in the section `[exits]`: stop-loss, trailing stop, ROI table, time exit.
//!
//! Invariants: they only ever ask to close; the first that is due in the order stop-loss, trailing stop, ROI, time is the
//! reason; without rules nothing is ever due. Profit is measured at the price at which the position could be closed, against
//! its average entry price, fees not counted. After a restart the time held and the best price count from the restart.

use crate::Tag;
use crate::params::{ParamSpec, Settings, StrategyError};
use keel_model::{Position, Side, Timestamp};
use std::time::Duration;

/// What can be set in the section `[exits]`.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::real(
        "stop_loss_bps",
        0.0,
        9_999.0,
        "0",
        "basis points",
        "Loss from the average entry price at which a position is closed; 0: never.",
    )
    .swept("50", "500", "50"),
    ParamSpec::real(
        "trailing_stop_bps",
        0.0,
        9_999.0,
        "0",
        "basis points",
        "Distance from the best price since the entry at which a position is closed; 0: never.",
    )
    .swept("50", "500", "50"),
    ParamSpec::real(
        "trailing_start_bps",
        0.0,
        100_000.0,
        "0",
        "basis points",
        "The trailing stop begins once the profit has been this large; 0: at the entry.",
    )
    .fixed(),
    ParamSpec::text(
        "roi_table",
        ROI_CHARS_MAX,
        "",
        "",
        "Profit that is enough after so long, as `minutes:basis points`, such as `0:400,20:200,60:0`; empty: never.",
    ),
    ParamSpec::whole("time_exit_s", 0, 31_536_000, "0", "seconds", "A position held this long is closed; 0: never.")
        .fixed(),
];

/// Prefix of these parameters among those of a strategy.
pub const PREFIX: &str = "exits.";

const ROI_CHARS_MAX: usize = 400;
const ROI_STEPS_MAX: usize = 32;

/// What closes a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExitRules {
    stop_loss: Option<f64>,
    trailing_stop: Option<f64>,
    trailing_start: f64,
    /// Profit as a fraction that is enough from this time on; in the order of time.
    roi: Vec<(Duration, f64)>,
    time: Option<Duration>,
}

impl ExitRules {
    /// Out of checked values of [`PARAMS`].
    pub fn from_settings(settings: &Settings) -> Result<Self, StrategyError> {
        let some = |name| settings.real(name).map(|bps| (bps > 0.0).then_some(bps / 1e4));
        let (trailing_stop, trailing_start) = (some("trailing_stop_bps")?, settings.real("trailing_start_bps")? / 1e4);
        if trailing_stop.is_none() && trailing_start > 0.0 {
            let cause = "trailing_start_bps means nothing without trailing_stop_bps; set that one, too";
            return Err(settings.contradiction(cause));
        }
        let text = settings.text("roi_table")?;
        let time_s = settings.whole("time_exit_s")?;
        Ok(Self {
            stop_loss: some("stop_loss_bps")?,
            trailing_stop,
            trailing_start,
            roi: roi_table(&text).map_err(|cause| settings.contradiction(format!("roi_table `{text}`: {cause}")))?,
            time: (time_s > 0).then(|| Duration::from_secs(time_s)),
        })
    }

    /// Is nothing set?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn roi_table(text: &str) -> Result<Vec<(Duration, f64)>, String> {
    let mut steps: Vec<(Duration, f64)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let wrong = || format!("`{pair}` is not `minutes:basis points`, such as `20:200`");
        let (minutes, bps) = pair.split_once(':').ok_or_else(wrong)?;
        let minutes: u32 = minutes.trim().parse().map_err(|_| wrong())?;
        let bps: f64 = bps.trim().parse().map_err(|_| wrong())?;
        if !(-9_999.0..=1_000_000.0).contains(&bps) {
            return Err(format!("{bps} basis points are outside -9999 to 1000000"));
        }
        let after = Duration::from_secs(u64::from(minutes) * 60);
        if steps.last().is_some_and(|(last, _)| *last >= after) {
            return Err("the minutes must rise from pair to pair".to_owned());
        }
        steps.push((after, bps / 1e4));
    }
    if steps.len() > ROI_STEPS_MAX {
        return Err(format!("{} pairs; at most {ROI_STEPS_MAX}", steps.len()));
    }
    Ok(steps)
}

/// The position that is watched.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Watched {
    /// +1 long, −1 short.
    sign: f64,
    entry: f64,
    opened: Timestamp,
    best: f64,
}

/// Watches one position and says when and why it is to be closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Exits {
    rules: ExitRules,
    watched: Option<Watched>,
}

impl Exits {
    /// Watches nothing yet.
    #[must_use]
    pub const fn new(rules: ExitRules) -> Self {
        Self { rules, watched: None }
    }

    /// Follows position and price, where `price` is what closing would get; answers why it is to be closed now, if it is.
    pub fn update(&mut self, position: &Position, price: f64, now: Timestamp) -> Option<Tag> {
        let quantity = position.quantity.to_f64();
        if quantity == 0.0 || self.rules.is_empty() {
            self.watched = None;
            return None;
        }
        let sign = quantity.signum();
        let entry = position.cost.to_f64() / quantity;
        let watched = match &mut self.watched {
            Some(watched) if watched.sign == sign => watched,
            slot => slot.insert(Watched { sign, entry, opened: now, best: price }),
        };
        watched.entry = entry;
        if (price - watched.best) * sign > 0.0 {
            watched.best = price;
        }
        let watched = *watched;
        let profit = (price / entry - 1.0) * sign;
        if let Some((stop, tag)) = self.stop()
            && (price - stop) * sign <= 0.0
        {
            return Some(tag);
        }
        let held = now.since(watched.opened);
        let roi = self.rules.roi.iter().rev().find(|(after, _)| held >= *after);
        if roi.is_some_and(|(_, enough)| profit >= *enough) {
            return Some(Tag::ROI);
        }
        self.rules.time.filter(|longest| held >= *longest).map(|_| Tag::TIME)
    }

    /// Nothing worth closing is held: the next position counts from its own beginning.
    pub const fn reset(&mut self) {
        self.watched = None;
    }

    /// Where a protective stop belongs now, and what its fill would be called; `None` without a position or such a rule.
    #[must_use]
    pub fn stop(&self) -> Option<(f64, Tag)> {
        let Watched { sign, entry, best, .. } = self.watched?;
        let fixed = self.rules.stop_loss.map(|distance| (entry * (1.0 - sign * distance), Tag::STOP_LOSS));
        let has_begun = (best / entry - 1.0) * sign >= self.rules.trailing_start;
        let trailing = self.rules.trailing_stop.filter(|_| has_begun);
        let trailing = trailing.map(|distance| (best * (1.0 - sign * distance), Tag::TRAILING_STOP));
        match (fixed, trailing) {
            // The tighter one, and the stop-loss where they agree.
            (Some(fixed), Some(trailing)) if (trailing.0 - fixed.0) * sign > 0.0 => Some(trailing),
            (Some(fixed), _) => Some(fixed),
            (None, trailing) => trailing,
        }
    }

    /// How far the trailing stop is from the best price, as a fraction; it is not worth moving it by much less.
    #[must_use]
    pub const fn trailing_distance(&self) -> Option<f64> {
        self.rules.trailing_stop
    }

    /// Are there no rules?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// The side that closes a position; `None` when it is flat.
#[must_use]
pub fn closing_side(position: &Position) -> Option<Side> {
    match position.quantity {
        quantity if quantity.is_positive() => Some(Side::Sell),
        quantity if quantity.is_negative() => Some(Side::Buy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;
    use keel_model::InstrumentId;

    fn rules(params: &Params) -> Result<ExitRules, StrategyError> {
        ExitRules::from_settings(&Settings::check("exits", PARAMS, params)?)
    }

    fn position(side: Side, price: &str) -> Position {
        let mut position = Position::flat(InstrumentId(0));
        position.apply(side, price.parse().unwrap(), "2".parse().unwrap()).unwrap();
        position
    }

    /// The first exit on a path of prices, one each minute, and when.
    fn first(params: Params, side: Side, prices: &[f64]) -> Option<(usize, &'static str)> {
        let mut exits = Exits::new(rules(&params).unwrap());
        let position = position(side, "100");
        prices.iter().enumerate().find_map(|(minute, price)| {
            let now = Timestamp::from_ms(1_000_000 + minute as u64 * 60_000);
            exits.update(&position, *price, now).map(|tag| (minute, tag.as_str()))
        })
    }

    #[test]
    fn the_stop_loss_closes_at_its_distance_on_either_side() {
        let params = || Params::new().with("stop_loss_bps", 200);
        assert_eq!(first(params(), Side::Buy, &[100.0, 98.01, 98.0]), Some((2, "stop-loss")));
        assert_eq!(first(params(), Side::Sell, &[100.0, 101.99, 102.0]), Some((2, "stop-loss")));
        assert_eq!(first(params(), Side::Sell, &[100.0, 90.0, 101.9]), None);
    }

    #[test]
    fn the_trailing_stop_follows_the_best_price_from_its_start_on() {
        let params = || Params::new().with("trailing_stop_bps", 100);
        assert_eq!(first(params(), Side::Buy, &[100.0, 110.0, 109.0, 108.9]), Some((3, "trailing-stop")));
        assert_eq!(first(params(), Side::Sell, &[100.0, 90.0, 90.8, 90.9]), Some((3, "trailing-stop")));
        let late = params().with("trailing_start_bps", 500);
        assert_eq!(
            first(late.clone(), Side::Buy, &[100.0, 104.0, 101.0, 105.0, 104.0, 103.9]),
            Some((5, "trailing-stop"))
        );
        let both = late.with("stop_loss_bps", 300);
        assert_eq!(first(both, Side::Buy, &[100.0, 96.9]), Some((1, "stop-loss")));
    }

    #[test]
    fn the_roi_table_is_content_with_less_as_time_goes_by() {
        let params = || Params::new().with("roi_table", "0:400, 2:200,4:-50");
        assert_eq!(first(params(), Side::Buy, &[103.9, 104.0]), Some((1, "roi")));
        assert_eq!(first(params(), Side::Buy, &[100.0, 103.0, 102.0]), Some((2, "roi")));
        assert_eq!(first(params(), Side::Buy, &[99.6, 99.6, 99.6, 99.6, 99.6]), Some((4, "roi")));
        assert_eq!(first(params(), Side::Sell, &[100.0, 101.0, 98.0]), Some((2, "roi")));
        let late = Params::new().with("roi_table", "2:0");
        assert_eq!(first(late, Side::Buy, &[150.0, 150.0, 150.0]), Some((2, "roi")), "nothing is enough before");
    }

    #[test]
    fn time_closes_what_nothing_else_did_and_counts_anew_for_the_next_position() {
        let mut exits = Exits::new(rules(&Params::new().with("time_exit_s", 120)).unwrap());
        let at = |s: u64| Timestamp::from_ms(1_000_000 + s * 1_000);
        let (long, short) = (position(Side::Buy, "100"), position(Side::Sell, "100"));
        assert_eq!(exits.update(&long, 100.0, at(0)), None);
        assert_eq!(exits.update(&long, 100.0, at(120)), Some(Tag::TIME));
        assert_eq!(exits.update(&short, 100.0, at(121)), None, "turned");
        assert_eq!(exits.update(&Position::flat(InstrumentId(0)), 100.0, at(122)), None);
        assert_eq!(exits.update(&short, 100.0, at(200)), None);
        assert_eq!(exits.update(&short, 100.0, at(320)), Some(Tag::TIME));
    }

    #[test]
    fn without_rules_nothing_is_due_and_nonsense_is_refused() {
        assert!(rules(&Params::new()).unwrap().is_empty());
        assert_eq!(first(Params::new(), Side::Buy, &[1.0, 1e9]), None);
        for (table, cause) in [
            ("5", "not `minutes:basis points`"),
            ("5:x", "not `minutes:basis points`"),
            ("-5:1", "not `minutes:basis points`"),
            ("5:1,5:2", "must rise"),
            ("0:NaN", "outside"),
            ("0:1e9", "outside"),
        ] {
            let error = rules(&Params::new().with("roi_table", table)).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
        let error = rules(&Params::new().with("trailing_start_bps", 5)).unwrap_err().to_string();
        assert!(error.contains("means nothing without trailing_stop_bps"), "{error}");
    }
}
