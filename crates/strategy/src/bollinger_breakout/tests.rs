//! Tests of the Bollinger breakout on the desk.

use super::*;
use crate::desk::{Desk, ID};
use crate::{Params, registry};

fn strategy(params: &Params) -> Box<dyn Strategy> {
    registry::build(NAME, ID, &params.over(&Params::new().with("bars_count", 5).with("width", "1.5"))).unwrap()
}

fn run(desk: &mut Desk, strategy: &mut dyn Strategy, closes: &[f64]) {
    closes.iter().for_each(|close| desk.bar(strategy, *close));
}

const CALM: [f64; 6] = [60_000.0, 60_001.0, 60_000.0, 60_001.0, 60_000.0, 60_001.0];

#[test]
fn it_goes_with_a_close_above_the_bands_until_one_below_their_middle() {
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new()));
    run(&mut desk, strategy.as_mut(), &CALM);
    assert!(desk.submits.is_empty(), "inside the bands");
    run(&mut desk, strategy.as_mut(), &[60_050.0, 60_100.0, 60_150.0]);
    assert_eq!((desk.fills.len(), desk.fills[0].side), (1, Side::Buy));
    assert_eq!((desk.orders.len(), desk.last_tag()), (1, "stop-loss"), "the middle protects it");
    run(&mut desk, strategy.as_mut(), &[60_140.0, 60_060.0]);
    assert_eq!((desk.fills.len(), desk.orders.len(), desk.last_tag()), (2, 0, "signal"));
    assert!(desk.portfolio.position(ID).is_flat());
}

#[test]
fn below_the_bands_it_is_short_on_a_perpetual_and_out_of_spot() {
    let fall = [59_950.0, 59_900.0];
    let (mut desk, mut perpetual) = (Desk::perpetual(), strategy(&Params::new()));
    run(&mut desk, perpetual.as_mut(), &CALM);
    run(&mut desk, perpetual.as_mut(), &fall);
    assert_eq!((desk.fills.len(), desk.fills[0].side), (1, Side::Sell));
    run(&mut desk, perpetual.as_mut(), &[60_050.0]);
    assert!(desk.portfolio.position(ID).is_flat());
    let (mut desk, mut spot) = (Desk::new("1", "100000"), strategy(&Params::new()));
    run(&mut desk, spot.as_mut(), &CALM);
    run(&mut desk, spot.as_mut(), &fall);
    assert!(desk.submits.is_empty());
}

#[test]
fn one_direction_and_a_squeeze_keep_it_out() {
    for params in [Params::new().with("direction", "short"), Params::new().with("squeeze_bps", "0.1")] {
        let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&params));
        run(&mut desk, strategy.as_mut(), &CALM);
        run(&mut desk, strategy.as_mut(), &[60_050.0, 60_100.0]);
        assert!(desk.submits.is_empty(), "{params:?}");
    }
    let (mut desk, mut strategy) = (Desk::new("0", "100000"), strategy(&Params::new().with("squeeze_bps", 10)));
    run(&mut desk, strategy.as_mut(), &CALM);
    run(&mut desk, strategy.as_mut(), &[60_050.0]);
    assert_eq!(desk.fills.len(), 1, "the bands were close together before");
}
