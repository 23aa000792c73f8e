//! The strategies that can be named in configuration, with what they do and what can be set: those of the house, and those
//! that a program adds at its start.
//!
//! Invariants: a name means one strategy; what was added is there for the whole life of the program; a strategy is only ever
//! built from checked values of its declared parameters.

use crate::params::{ParamSpec, Params, Settings, StrategyError, nearest};
use crate::{
    BollingerBreakout, Carry, EmaCross, Grid, Guarded, Idle, MarketMaker, RsiReversion, Strategy, bollinger_breakout,
    carry, ema_cross, grid, market_maker, rsi_reversion,
};
use keel_model::{InstrumentId, InstrumentKind, Instruments};
use std::sync::OnceLock;

/// A strategy that can be built by name.
#[derive(Clone, Copy, Debug)]
pub struct StrategyInfo {
    /// Name in configuration: small letters, digits and dashes.
    pub name: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// What can be set.
    pub params: &'static [ParamSpec],
    holds_exits: bool,
    make: Make,
}

/// A built strategy, or why it cannot be.
pub type Made = Result<Box<dyn Strategy>, StrategyError>;

/// How a strategy is made, and of which instruments.
#[derive(Clone, Copy, Debug)]
enum Make {
    /// One of each instrument.
    Each(fn(InstrumentId, &Settings) -> Made),
    /// One of each spot instrument that has a perpetual on the same pair: spot first, perpetual second.
    SpotAndPerpetual(fn(InstrumentId, InstrumentId, &Settings) -> Made),
}

impl StrategyInfo {
    /// A strategy that trades one instrument; a run has one of it for each instrument.
    #[must_use]
    pub const fn new(
        name: &'static str,
        description: &'static str,
        params: &'static [ParamSpec],
        make: fn(InstrumentId, &Settings) -> Made,
    ) -> Self {
        Self { name, description, params, holds_exits: false, make: Make::Each(make) }
    }

    /// A strategy that trades a spot instrument together with the perpetual of the same base and quote asset; a run has one
    /// of it for each such pair. `make` is given spot and perpetual.
    #[must_use]
    pub const fn of_pair(
        name: &'static str,
        description: &'static str,
        params: &'static [ParamSpec],
        make: fn(InstrumentId, InstrumentId, &Settings) -> Made,
    ) -> Self {
        Self { name, description, params, holds_exits: false, make: Make::SpotAndPerpetual(make) }
    }

    /// It carries out the exits of [`Settings::exits`] itself, as one built on [`crate::Trader`] does. Without this word they
    /// are watched from outside, by [`crate::Guarded`].
    #[must_use]
    pub const fn with_own_exits(self) -> Self {
        Self { holds_exits: true, ..self }
    }

    /// Does it carry out exits itself?
    #[must_use]
    pub const fn has_own_exits(&self) -> bool {
        self.holds_exits
    }

    /// Does it need a spot instrument and a perpetual?
    #[must_use]
    pub const fn is_of_pair(&self) -> bool {
        matches!(self.make, Make::SpotAndPerpetual(_))
    }

    /// Puts exits around it, where they are set and it does not have them itself.
    fn guard(&self, strategy: Box<dyn Strategy>, instrument: InstrumentId, settings: &Settings) -> Made {
        if self.holds_exits || settings.exits().is_empty() {
            return Ok(strategy);
        }
        Ok(Box::new(Guarded::new(strategy, instrument, settings.exits().clone())))
    }

    fn without_exits(&self, settings: &Settings) -> Result<(), StrategyError> {
        if settings.exits().is_empty() {
            return Ok(());
        }
        Err(settings.contradiction(
            "the section [exits] is not for a strategy of two legs: closing one leaves the other open; leave it empty",
        ))
    }

    /// Its section in a configuration file.
    #[must_use]
    pub fn section(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The strategies of the house.
const HOUSE: &[StrategyInfo] = &[
    StrategyInfo::new(
        market_maker::NAME,
        "post-only bid and ask around the middle of the book, moved with the market and with what is held",
        market_maker::PARAMS,
        |instrument, settings| Ok(Box::new(MarketMaker::new(instrument, settings)?)),
    ),
    StrategyInfo::new(
        ema_cross::NAME,
        "long while the fast moving average of the bars is above the slow one",
        ema_cross::PARAMS,
        |instrument, settings| Ok(Box::new(EmaCross::new(instrument, settings)?)),
    ),
    StrategyInfo::new(
        crate::ema_cross_flip::NAME,
        "long or short by the side of the fast moving average, with a fixed quantity, on bars or quotes",
        crate::ema_cross_flip::PARAMS,
        |instrument, settings| Ok(Box::new(crate::EmaCrossFlip::new(instrument, settings)?)),
    ),
    StrategyInfo::new(
        rsi_reversion::NAME,
        "buys oversold and, on perpetuals, sells overbought markets, with stop and target in average true ranges",
        rsi_reversion::PARAMS,
        |instrument, settings| Ok(Box::new(RsiReversion::new(instrument, settings)?)),
    )
    .with_own_exits(),
    StrategyInfo::new(
        bollinger_breakout::NAME,
        "goes with a close outside the Bollinger bands, until one beyond their middle",
        bollinger_breakout::PARAMS,
        |instrument, settings| Ok(Box::new(BollingerBreakout::new(instrument, settings)?)),
    )
    .with_own_exits(),
    StrategyInfo::new(
        grid::NAME,
        "a bounded ladder of post-only buys below the market, each sold one step higher",
        grid::PARAMS,
        |instrument, settings| Ok(Box::new(Grid::new(instrument, settings)?)),
    ),
    StrategyInfo::of_pair(
        carry::NAME,
        "long spot and short the perpetual of the same pair while funding pays for it",
        carry::PARAMS,
        |spot, perpetual, settings| Ok(Box::new(Carry::new(spot, perpetual, settings)?)),
    ),
    StrategyInfo::new("idle", "listens and does nothing; for measuring an idle system", &[], |instrument, _| {
        Ok(Box::new(Idle::new(instrument)))
    }),
];

static ALL: OnceLock<Vec<StrategyInfo>> = OnceLock::new();

/// Why strategies cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The strategies were asked for before.
    #[error("strategies are added once, at the start of the program, before anything asks for them")]
    TooLate,
    /// A name that cannot stand in a configuration file.
    #[error("`{0}` is not a name for a strategy: use small letters, digits and dashes, beginning with a letter")]
    BadName(&'static str),
    /// A name that is taken.
    #[error("there is a strategy `{0}` already: choose another name")]
    Taken(&'static str),
}

/// Adds strategies to those of the house. Once, before anything asks for them.
pub fn add(own: &[StrategyInfo]) -> Result<(), RegistryError> {
    let mut all = HOUSE.to_vec();
    for info in own {
        let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !info.name.starts_with(|c: char| c.is_ascii_lowercase()) || !info.name.chars().all(is_letter) {
            return Err(RegistryError::BadName(info.name));
        }
        if all.iter().any(|known| known.name == info.name) {
            return Err(RegistryError::Taken(info.name));
        }
        all.push(*info);
    }
    ALL.set(all).map_err(|_| RegistryError::TooLate)
}

/// All strategies that can be built by name.
#[must_use]
pub fn strategies() -> &'static [StrategyInfo] {
    ALL.get_or_init(|| HOUSE.to_vec())
}

/// What is known about a strategy. `-` and `_` in the name make no difference.
pub fn find(name: &str) -> Result<&'static StrategyInfo, StrategyError> {
    let plain = name.replace('_', "-");
    strategies().iter().find(|info| info.name == plain).ok_or_else(|| StrategyError::UnknownStrategy {
        name: name.to_owned(),
        nearest: nearest(name, strategies().iter().map(|info| info.name)),
    })
}

/// Checks parameters without keeping what is built.
pub fn check(name: &str, params: &Params) -> Result<(), StrategyError> {
    let info = find(name)?;
    let settings = Settings::check(info.name, info.params, params)?;
    match info.make {
        Make::Each(make) => make(InstrumentId(0), &settings),
        Make::SpotAndPerpetual(make) => {
            info.without_exits(&settings).and_then(|()| make(InstrumentId(0), InstrumentId(1), &settings))
        }
    }
    .map(drop)
}

/// Builds a strategy that trades one instrument.
pub fn build(name: &str, instrument: InstrumentId, params: &Params) -> Made {
    let info = find(name)?;
    let settings = Settings::check(info.name, info.params, params)?;
    match info.make {
        Make::Each(make) => info.guard(make(instrument, &settings)?, instrument, &settings),
        Make::SpotAndPerpetual(_) => Err(StrategyError::Instruments {
            strategy: info.name,
            cause: "it trades a spot instrument and a perpetual together, not one instrument".to_owned(),
        }),
    }
}

/// Builds what a strategy is in a run: one for each instrument, or one for each pair of spot and perpetual.
pub fn build_for(
    name: &str,
    instruments: &Instruments,
    params: &Params,
) -> Result<Vec<Box<dyn Strategy>>, StrategyError> {
    let info = find(name)?;
    let settings = Settings::check(info.name, info.params, params)?;
    let make = match info.make {
        Make::Each(make) => {
            let one = |it: &keel_model::Instrument| info.guard(make(it.id, &settings)?, it.id, &settings);
            return instruments.iter().map(one).collect();
        }
        Make::SpotAndPerpetual(make) => make,
    };
    info.without_exits(&settings)?;
    let pairs: Vec<_> = spot_and_perpetual(instruments).collect();
    if pairs.is_empty() {
        let cause =
            "it needs a spot instrument and a perpetual of the same base and quote asset, and this run has none";
        return Err(StrategyError::Instruments { strategy: info.name, cause: cause.to_owned() });
    }
    pairs.into_iter().map(|(spot, perpetual)| make(spot, perpetual, &settings)).collect()
}

/// Each spot instrument with the first perpetual of the same base and quote asset.
fn spot_and_perpetual(instruments: &Instruments) -> impl Iterator<Item = (InstrumentId, InstrumentId)> + '_ {
    let spots = instruments.iter().filter(|instrument| instrument.kind == InstrumentKind::Spot);
    spots.filter_map(|spot| {
        let fits = |it: &&keel_model::Instrument| {
            it.kind == InstrumentKind::LinearPerpetual && (it.base, it.quote) == (spot.base, spot.quote)
        };
        instruments.iter().find(fits).map(|perpetual| (spot.id, perpetual.id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_built_from_its_defaults_and_documents_each_parameter() {
        for info in strategies() {
            check(info.name, &Params::new()).unwrap();
            assert!(!info.description.is_empty());
            if !info.is_of_pair() {
                let strategy = build(info.name, InstrumentId(4), &Params::new()).unwrap();
                assert_eq!(strategy.name(), info.name);
                assert!(strategy.subscriptions().iter().all(|wanted| wanted.instrument == InstrumentId(4)));
                assert!(!strategy.subscriptions().is_empty());
            }
            for spec in info.params {
                assert!(spec.description.len() > 10, "{}.{} is not documented", info.name, spec.name);
                let has_unit =
                    ["_s", "_ms", "_bps", "_count", "_quote", "_base"].iter().any(|unit| spec.name.ends_with(unit));
                assert!(has_unit || spec.unit.is_empty(), "{}.{}: the unit comes last", info.name, spec.name);
                for value in spec.sweep_values() {
                    let params = Params::new().with(spec.name, value);
                    Settings::check(info.name, info.params, &params).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_one_that_may_be_meant() {
        let error = build("market-makr", InstrumentId(0), &Params::new()).unwrap_err();
        assert_eq!(error.to_string(), "there is no strategy `market-makr`; did you mean `market-maker`?");
        assert!(find("ema_cross").is_ok(), "an underscore is as good");
        assert_eq!(check("martingale", &Params::new()).unwrap_err().to_string(), "there is no strategy `martingale`");
    }

    #[test]
    fn averages_in_the_wrong_order_are_refused() {
        let params = Params::new().with("fast_bars_count", 20).with("slow_bars_count", 20);
        let error = check("ema-cross", &params).unwrap_err();
        assert!(error.to_string().contains("fast_bars_count 20 is not below slow_bars_count 20"), "{error}");
    }

    #[test]
    fn names_that_are_taken_or_cannot_be_written_down_are_not_added() {
        let of = |name| StrategyInfo::new(name, "x", &[], |instrument, _| Ok(Box::new(Idle::new(instrument))));
        assert_eq!(add(&[of("idle")]), Err(RegistryError::Taken("idle")));
        assert_eq!(add(&[of("mine"), of("mine")]), Err(RegistryError::Taken("mine")));
        for name in ["", "Mine", "my_own", "1st", "-x", "my own"] {
            assert_eq!(add(&[of(name)]), Err(RegistryError::BadName(name)));
        }
    }
}
