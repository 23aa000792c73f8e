//! Sizes at their limits, and for whatever numbers come: never above the budget, always whole steps, never from a number that
//! is none.

use super::*;
use crate::desk::{ID, price, quantity};
use crate::{Params, Settings};
use keel_model::instrument::LotRule;
use keel_model::{InstrumentStatus, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

fn instrument() -> Instrument {
    Instrument {
        id: ID,
        symbol: "BTCUSDT".parse().unwrap(),
        base: "BTC".parse().unwrap(),
        quote: "USDT".parse().unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: price("0.01"),
        min_price: price("0.01"),
        max_price: price("1000000"),
        lot: LotRule { min: quantity("0.00001"), max: quantity("9000"), step: quantity("0.00001") },
        market_lot: LotRule::default(),
        min_notional: "5".parse().unwrap(),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

fn money(text: &str) -> Notional {
    text.parse().unwrap()
}

fn facts() -> SizingFacts {
    SizingFacts::new(money("100000"), price("60000"))
}

fn size(sizing: Sizing, facts: &SizingFacts) -> Result<Quantity, SizingError> {
    sizing.quantity(facts, &instrument())
}

#[test]
fn fixed_sizes_and_shares_of_the_equity_round_down_to_the_step() {
    assert_eq!(size(Sizing::FixedQuantity(quantity("0.123456")), &facts()), Ok(quantity("0.12345")));
    assert_eq!(size(Sizing::FixedValue(money("1000")), &facts()), Ok(quantity("0.01666")));
    assert_eq!(size(Sizing::FixedValue(money("600")), &facts()), Ok(quantity("0.01")), "a whole step stays whole");
    assert_eq!(size(Sizing::FixedValue(money("599.999999")), &facts()), Ok(quantity("0.00999")));
    assert_eq!(size(Sizing::EquityShare { share_bps: 600 }, &facts()), Ok(quantity("0.1")));
}

#[test]
fn risk_per_trade_is_what_the_stop_loses_and_capped_however_near_it_is() {
    let rule = Sizing::RiskPerTrade { risk_bps: 50, share_bps_max: 10_000 };
    assert_eq!(size(rule, &facts()), Err(SizingError::Missing("a stop price")));
    let stop = |at: &str| SizingFacts { stop: Some(price(at)), ..facts() };
    assert_eq!(size(rule, &stop("59000")), Ok(quantity("0.5")), "500 at risk over 1,000 a coin");
    assert_eq!(size(rule, &stop("61000")), Ok(quantity("0.5")), "for a short as well");
    assert_eq!(size(rule, &stop("59999.99")), Ok(quantity("1.66666")), "the whole equity and no more");
    assert_eq!(size(rule, &stop("60000")), Err(SizingError::NotPositive("the distance from price to stop")));
    assert_eq!(size(rule, &stop("0")), Err(SizingError::NotPositive("the stop price")));
}

#[test]
fn volatility_target_and_kelly_come_from_statistics_and_are_capped() {
    let rule = Sizing::VolatilityTarget { target_bps: 20, share_bps_max: 5_000 };
    let at = |volatility| SizingFacts { volatility: Some(volatility), ..facts() };
    assert_eq!(size(rule, &at(0.02)), Ok(quantity("0.16666")), "a tenth of the equity");
    assert_eq!(size(rule, &at(0.000_001)), Ok(quantity("0.83333")), "half of it at most");
    for bad in [f64::NAN, f64::INFINITY, 0.0, -0.1] {
        assert_eq!(size(rule, &at(bad)), Err(SizingError::NotPositive("the volatility")), "{bad}");
    }
    let kelly = Sizing::Kelly { part_percent: 50, share_bps_max: 5_000 };
    let with = |win_rate, payoff| SizingFacts { edge: Some(Edge { win_rate, payoff }), ..facts() };
    assert_eq!(size(kelly, &with(0.6, 1.0)), Ok(quantity("0.16666")), "half of 0.2");
    assert_eq!(size(kelly, &with(0.5, 1.0)), Err(SizingError::NoEdge));
    assert_eq!(size(kelly, &with(1.0, 1.0)), Ok(quantity("0.83333")));
    assert_eq!(size(kelly, &with(f64::NAN, 1.0)), Err(SizingError::NotPositive("the statistic of trades")));
    assert_eq!(size(kelly, &with(0.6, 0.0)), Err(SizingError::NotPositive("the statistic of trades")));
    assert_eq!(size(kelly, &facts()), Err(SizingError::Missing("trades to look back on")));
}

#[test]
fn nothing_comes_of_nothing() {
    let rules = [
        Sizing::FixedQuantity(Quantity::ZERO),
        Sizing::FixedValue(money("-1")),
        Sizing::EquityShare { share_bps: 100 },
        Sizing::RiskPerTrade { risk_bps: 100, share_bps_max: 100 },
        Sizing::VolatilityTarget { target_bps: 100, share_bps_max: 100 },
    ];
    for equity in ["0", "-5"] {
        for rule in rules {
            let poor = SizingFacts { equity: money(equity), stop: Some(price("1")), volatility: Some(0.1), ..facts() };
            assert!(size(rule, &poor).is_err(), "{rule:?} with {equity}");
        }
    }
    let free = SizingFacts { price: Price::ZERO, ..facts() };
    assert_eq!(size(Sizing::FixedValue(money("5")), &free), Err(SizingError::NotPositive("the price")));
}

#[test]
fn the_rule_comes_from_parameters() {
    let rule =
        |params: Params| Settings::check("demo", &SIZING_PARAMS, &params).and_then(|it| Sizing::from_settings(&it));
    assert_eq!(rule(Params::new()), Ok(Sizing::FixedValue(money("500"))));
    let risk = Params::new().with("sizing", "risk").with("sizing_risk_bps", 25).with("sizing_share_bps", 2_000);
    assert_eq!(rule(risk), Ok(Sizing::RiskPerTrade { risk_bps: 25, share_bps_max: 2_000 }));
    assert_eq!(rule(Params::new().with("sizing", "equity")), Ok(Sizing::EquityShare { share_bps: 1_000 }));
    let kelly = Params::new().with("sizing", "kelly");
    assert_eq!(rule(kelly), Ok(Sizing::Kelly { part_percent: 25, share_bps_max: 1_000 }));
    assert!(rule(Params::new().with("sizing_risk_bps", 0)).is_err());
    assert!(rule(Params::new().with("sizing", "martingale")).is_err());
}

#[test]
fn s2_040_histories_are_bounded_and_a_bad_price_makes_no_return() {
    let mut history = PriceHistory::new();
    for step in 0..10_000i64 {
        history.push(Price::new(10_000 + step % 7, 2).unwrap());
    }
    assert_eq!(history.len(), history::POINTS_MAX);
    assert!(history.volatility().is_some());
    let mut history = PriceHistory::new();
    for at in ["100", "0", "100", "-5", "110"] {
        history.push(price(at));
    }
    assert!(history.is_empty() && history.volatility().is_none());
    let mut flat = PriceHistory::new();
    (0..100).for_each(|_| flat.push(price("100")));
    assert_eq!(flat.volatility(), None, "what does not move has no volatility to aim with");
    let mut trades = TradeHistory::new();
    (0..1_000).for_each(|step| trades.push(Notional::from_int(if step % 3 == 0 { -10 } else { 10 })));
    assert_eq!(trades.len(), history::POINTS_MAX);
    assert_eq!(trades.edge().map(|edge| edge.payoff), Some(1.0));
}

#[test]
fn s2_041_instruments_that_are_not_heard_of_are_forgotten() {
    let mut all = Histories::new(Duration::from_secs(60));
    let at = |s: u64| Timestamp::from_ms(s * 1_000);
    all.push(InstrumentId(0), price("1"), at(0));
    all.push(InstrumentId(1), price("1"), at(50));
    all.evict(at(60));
    assert_eq!(all.len(), 2);
    all.push(InstrumentId(1), price("1"), at(61));
    assert!(all.get(InstrumentId(0)).is_none() && all.get(InstrumentId(1)).is_some());
}

#[test]
fn a_size_within_the_rules_of_the_instrument_or_none() {
    let mut desk = crate::desk::Desk::new("1", "40000");
    let mut idle = crate::Idle::new(ID);
    desk.tick(&mut idle, 1, "59999.99", "60000.01");
    desk.call(&mut idle, |_, ctx| {
        assert_eq!(ctx.equity("USDT".parse().unwrap()), Some(money("99999.99")), "40,000 and a coin at the bid");
        let facts = SizingFacts::new(money("100000"), price("60000"));
        let kind = OrderType::Limit;
        assert_eq!(ctx.size(&Sizing::EquityShare { share_bps: 600 }, ID, &facts, kind), Ok(quantity("0.1")));
        let dust = Sizing::FixedValue(money("4.99"));
        assert_eq!(ctx.size(&dust, ID, &facts, kind), Err(SizingError::Untradable));
        assert_eq!(ctx.size(&dust, InstrumentId(9), &facts, kind), Err(SizingError::Missing("the instrument")));
    });
}

proptest! {
    #[test]
    fn sizes_are_whole_steps_within_the_budget(
        equity in 1i64..10_000_000_000_000,
        at in 1i64..100_000_000,
        distance in 1i64..1_000_000,
        bps in 1u32..10_000,
        volatility in 1e-9f64..10.0,
        win_rate in 0.0f64..=1.0,
        payoff in 1e-3f64..1e3,
    ) {
        let (equity, at) = (Notional::new(equity.into(), 2).unwrap(), Price::new(at, 2).unwrap());
        let stop = Price::new(at.mantissa() + distance, 2).unwrap();
        let facts = SizingFacts {
            stop: Some(stop),
            volatility: Some(volatility),
            edge: Some(Edge { win_rate, payoff }),
            ..SizingFacts::new(equity, at)
        };
        let budget = equity.checked_mul(Quantity::new(bps.into(), 4).unwrap()).unwrap();
        let rules = [
            Sizing::FixedValue(budget),
            Sizing::EquityShare { share_bps: bps },
            Sizing::RiskPerTrade { risk_bps: bps, share_bps_max: bps },
            Sizing::VolatilityTarget { target_bps: bps, share_bps_max: bps },
            Sizing::Kelly { part_percent: 100, share_bps_max: bps },
        ];
        for rule in rules {
            let Ok(quantity) = rule.quantity(&facts, &instrument()) else { continue };
            prop_assert!(quantity.is_multiple_of(instrument().lot.step), "{rule:?} {quantity}");
            prop_assert!(!quantity.is_negative());
            prop_assert!(Notional::of(at, quantity) <= budget, "{rule:?} {quantity}");
            if let Sizing::RiskPerTrade { .. } = rule {
                prop_assert!(Notional::of(stop.checked_sub(at).unwrap(), quantity) <= budget);
            }
            if matches!(rule, Sizing::FixedValue(_) | Sizing::EquityShare { .. }) {
                let more = quantity.checked_add(instrument().lot.step).unwrap();
                prop_assert!(Notional::of(at, more) > budget, "{rule:?}: one step more would fit");
            }
        }
    }
}
