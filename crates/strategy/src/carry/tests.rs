//! Tests of the carry on a desk with a spot instrument and its perpetual.

use super::*;
use crate::desk::{Answer, Desk, ID, PERPETUAL, quantity};
use crate::{Params, registry};

fn strategy(params: &Params) -> Carry {
    Carry::new(ID, PERPETUAL, &Settings::check(NAME, PARAMS, params).unwrap()).unwrap()
}

/// Both markets, the perpetual so many basis points above spot.
fn quote(desk: &mut Desk, carry: &mut Carry, basis_bps: f64) {
    desk.tick(carry, 100, "60000", "60000.02");
    let perpetual = 60_000.0 * (1.0 + basis_bps / 1e4);
    desk.tick_of(carry, PERPETUAL, 100, &format!("{perpetual:.2}"), &format!("{:.2}", perpetual + 0.02));
}

fn sides(desk: &Desk) -> Vec<(InstrumentId, Side)> {
    desk.fills.iter().map(|fill| (fill.instrument, fill.side)).collect()
}

#[test]
fn it_opens_both_legs_evenly_when_funding_pays_and_closes_both_when_it_does_not() {
    let (mut desk, mut carry) = (Desk::pair("0", "100000"), strategy(&Params::new()));
    quote(&mut desk, &mut carry, 5.0);
    assert!(desk.submits.is_empty(), "no funding rate yet");
    desk.funding(&mut carry, PERPETUAL, 1.9);
    assert!(desk.submits.is_empty(), "not enough");
    desk.funding(&mut carry, PERPETUAL, 2.0);
    assert_eq!(sides(&desk), [(ID, Side::Buy), (PERPETUAL, Side::Sell)]);
    assert_eq!(desk.position_of(ID), desk.position_of(PERPETUAL).neg().unwrap());
    assert_eq!(desk.position_of(ID), quantity("0.01666"));
    quote(&mut desk, &mut carry, 3.0);
    desk.funding(&mut carry, PERPETUAL, 0.5);
    assert_eq!(desk.fills.len(), 2, "still pays");
    desk.funding(&mut carry, PERPETUAL, -0.1);
    assert_eq!(sides(&desk)[2..], [(PERPETUAL, Side::Buy), (ID, Side::Sell)]);
    assert!(desk.position_of(ID).is_zero() && desk.position_of(PERPETUAL).is_zero());
    assert_eq!(desk.last_tag(), "funding");
}

#[test]
fn it_waits_for_the_basis_that_was_asked_for() {
    let (mut desk, mut carry) = (Desk::pair("0", "100000"), strategy(&Params::new().with("basis_min_bps", 4)));
    quote(&mut desk, &mut carry, 3.0);
    desk.funding(&mut carry, PERPETUAL, 5.0);
    assert!(desk.submits.is_empty());
    quote(&mut desk, &mut carry, 5.0);
    assert_eq!(desk.fills.len(), 2);
}

#[test]
fn legs_that_stay_uneven_are_closed_and_it_waits_for_the_next_period() {
    let (mut desk, mut carry) = (Desk::pair("0", "100000"), strategy(&Params::new().with("leg_timeout_s", 5)));
    quote(&mut desk, &mut carry, 5.0);
    desk.answer = Answer::Silence;
    desk.funding(&mut carry, PERPETUAL, 5.0);
    // The spot leg fills; from here on the venue refuses.
    desk.orders[0].state = crate::OpenOrderState::Live;
    desk.answer = Answer::Deny;
    quote(&mut desk, &mut carry, 5.0);
    assert_eq!(sides(&desk), [(ID, Side::Buy)]);
    let asked = desk.submits.len();
    (0..40).for_each(|_| desk.timer(&mut carry, 100));
    assert!(desk.submits.len() - asked <= 5, "it does not hammer");
    desk.answer = Answer::Accept;
    (0..400).for_each(|_| desk.timer(&mut carry, 100));
    let last = desk.last_tag();
    assert!(desk.position_of(ID).is_zero() || desk.position_of(ID) == desk.position_of(PERPETUAL).neg().unwrap());
    assert!(["uneven-legs", "funding"].contains(&last), "{last}");
}

#[test]
fn given_up_it_stays_out_until_the_next_funding_period() {
    let (mut desk, mut carry) = (Desk::pair("0", "100000"), strategy(&Params::new().with("leg_timeout_s", 1)));
    quote(&mut desk, &mut carry, 5.0);
    desk.funding(&mut carry, PERPETUAL, 5.0);
    assert_eq!(desk.fills.len(), 2);
    // Somebody closes the spot leg by hand; the house books it on this strategy.
    carry.wants = true;
    carry.uneven_since = Some(Timestamp::ZERO);
    let legs = Legs { spot: Quantity::ZERO, short: quantity("0.01666") };
    desk.call(&mut carry, |_, _| {});
    let mut own = std::mem::replace(&mut carry, strategy(&Params::new().with("leg_timeout_s", 1)));
    desk.call(&mut carry, |_, ctx| {
        let markets = own.markets(ctx).unwrap();
        own.watch_evenness(ctx, legs, &markets);
    });
    assert!(!own.wants);
    desk.funding(&mut own, PERPETUAL, 9.0);
    assert!(!own.wants, "not within this period");
    (0..37).for_each(|_| desk.timer(&mut own, 100_000));
    desk.funding(&mut own, PERPETUAL, 9.0);
    assert!(own.wants);
}

#[test]
fn after_a_restart_it_keeps_what_was_open_and_evens_it() {
    let (mut desk, mut before) = (Desk::pair("0", "100000"), strategy(&Params::new()));
    quote(&mut desk, &mut before, 5.0);
    desk.funding(&mut before, PERPETUAL, 5.0);
    let mut after = strategy(&Params::new());
    desk.call(&mut after, |strategy, ctx| strategy.on_start(ctx));
    quote(&mut desk, &mut after, 5.0);
    assert_eq!(desk.fills.len(), 2, "neither opened twice nor closed");
    desk.funding(&mut after, PERPETUAL, -1.0);
    assert!(desk.position_of(ID).is_zero() && desk.position_of(PERPETUAL).is_zero());
}

#[test]
fn it_needs_both_instruments_and_takes_no_exits() {
    let error = registry::build(NAME, ID, &Params::new()).unwrap_err().to_string();
    assert!(error.contains("spot instrument and a perpetual"), "{error}");
    let error = registry::check(NAME, &Params::new().with("exits.stop_loss_bps", 100)).unwrap_err().to_string();
    assert!(error.contains("two legs"), "{error}");
    let error = registry::check(NAME, &Params::new().with("exit_funding_bps", 2)).unwrap_err().to_string();
    assert!(error.contains("is not below enter_funding_bps"), "{error}");
    let error = registry::build_for(NAME, &keel_model::Instruments::new(), &Params::new()).unwrap_err().to_string();
    assert!(error.contains("this run has none"), "{error}");
}
