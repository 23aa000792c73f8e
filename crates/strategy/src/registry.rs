//! The strategies that can be named in configuration, with what they do and what can be set.

use crate::params::{ParamSpec, Params, Settings, StrategyError, nearest};
use crate::{EmaCross, Idle, MarketMaker, Strategy, ema_cross, market_maker};
use keel_model::InstrumentId;

/// A strategy that can be built by name.
#[derive(Clone, Copy, Debug)]
pub struct StrategyInfo {
    /// Name in configuration.
    pub name: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// What can be set.
    pub params: &'static [ParamSpec],
    make: Make,
}

/// A built strategy, or why it cannot be.
pub type Made = Result<Box<dyn Strategy>, StrategyError>;
type Make = fn(InstrumentId, &Settings) -> Made;

/// All strategies that can be built by name.
#[must_use]
pub const fn strategies() -> &'static [StrategyInfo] {
    const ALL: &[StrategyInfo] = &[
        StrategyInfo {
            name: market_maker::NAME,
            description: "post-only bid and ask around the middle of the book, moved with the market and with what is held",
            params: market_maker::PARAMS,
            make: |instrument, settings| Ok(Box::new(MarketMaker::new(instrument, settings)?)),
        },
        StrategyInfo {
            name: ema_cross::NAME,
            description: "long while the fast moving average of the bars is above the slow one",
            params: ema_cross::PARAMS,
            make: |instrument, settings| Ok(Box::new(EmaCross::new(instrument, settings)?)),
        },
        StrategyInfo {
            name: "idle",
            description: "listens and does nothing; for measuring an idle system",
            params: &[],
            make: |instrument, _| Ok(Box::new(Idle::new(instrument))),
        },
    ];
    ALL
}

/// What is known about a strategy. `-` and `_` in the name make no difference.
pub fn find(name: &str) -> Result<&'static StrategyInfo, StrategyError> {
    let plain = name.replace('_', "-");
    strategies().iter().find(|info| info.name == plain).ok_or_else(|| StrategyError::UnknownStrategy {
        name: name.to_owned(),
        nearest: nearest(name, strategies().iter().map(|info| info.name)),
    })
}

/// Checks parameters without building anything.
pub fn check(name: &str, params: &Params) -> Result<(), StrategyError> {
    build(name, InstrumentId::default(), params).map(drop)
}

/// Builds a strategy that trades one instrument.
pub fn build(name: &str, instrument: InstrumentId, params: &Params) -> Made {
    let info = find(name)?;
    (info.make)(instrument, &Settings::check(info.name, info.params, params)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_built_from_its_defaults_and_documents_each_parameter() {
        for info in strategies() {
            let strategy = build(info.name, InstrumentId(4), &Params::new()).unwrap();
            assert_eq!(strategy.name(), info.name);
            assert!(strategy.subscriptions().iter().all(|wanted| wanted.instrument == InstrumentId(4)));
            assert!(!strategy.subscriptions().is_empty() && !info.description.is_empty());
            for spec in info.params {
                assert!(spec.description.len() > 10, "{}.{} is not documented", info.name, spec.name);
                let has_unit = ["_s", "_ms", "_bps", "_count", "_quote"].iter().any(|unit| spec.name.ends_with(unit));
                assert!(has_unit || spec.unit.is_empty(), "{}.{}: the unit comes last", info.name, spec.name);
            }
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_one_that_may_be_meant() {
        let error = build("market-makr", InstrumentId(0), &Params::new()).unwrap_err();
        assert_eq!(error.to_string(), "there is no strategy `market-makr`; did you mean `market-maker`?");
        assert!(find("ema_cross").is_ok(), "an underscore is as good");
        assert_eq!(check("grid", &Params::new()).unwrap_err().to_string(), "there is no strategy `grid`");
    }

    #[test]
    fn averages_in_the_wrong_order_are_refused() {
        let params = Params::new().with("fast_bars_count", 20).with("slow_bars_count", 20);
        let error = check("ema-cross", &params).unwrap_err();
        assert!(error.to_string().contains("fast_bars_count 20 is not below slow_bars_count 20"), "{error}");
    }
}
