//! Tests of the grid on the desk.

use super::*;
use crate::desk::{Answer, Desk, ID};
use crate::{Params, registry};

fn strategy(params: &Params) -> Grid {
    let all =
        params.over(&Params::new().with("levels_count", 3).with("step_bps", 100).with("order_notional_quote", 100));
    Grid::new(ID, &Settings::check(NAME, PARAMS, &all).unwrap()).unwrap()
}

fn tick(desk: &mut Desk, grid: &mut Grid, price: f64) {
    desk.tick(grid, 1_000, &format!("{price:.2}"), &format!("{:.2}", price + 0.02));
}

fn start(desk: &mut Desk, grid: &mut Grid, price: f64) {
    tick(desk, grid, price);
    desk.call(grid, |grid, ctx| grid.on_start(ctx));
}

fn prices(desk: &Desk, side: Side) -> Vec<f64> {
    let mut prices: Vec<f64> =
        desk.orders.iter().filter(|it| it.side == side).map(|it| it.price.unwrap().to_f64()).collect();
    prices.sort_by(f64::total_cmp);
    prices
}

#[test]
fn it_bids_below_the_market_within_its_levels_and_sells_each_buy_one_step_higher() {
    let (mut desk, mut grid) = (Desk::new("0", "100000"), strategy(&Params::new()));
    start(&mut desk, &mut grid, 60_000.0);
    let bids = prices(&desk, Side::Buy);
    assert!((3..=4).contains(&bids.len()), "{bids:?}");
    assert!(bids.windows(2).all(|pair| (pair[1] / pair[0] - 1.01).abs() < 1e-5) && bids[0] > 60_000.0 * 0.96);
    tick(&mut desk, &mut grid, bids.last().unwrap() - 1.0);
    assert_eq!(desk.fills.len(), 1);
    let asks = prices(&desk, Side::Sell);
    assert!(asks.len() == 1 && (asks[0] / bids.last().unwrap() - 1.01).abs() < 1e-5, "{asks:?} over {bids:?}");
    tick(&mut desk, &mut grid, asks[0] + 1.0);
    assert_eq!((desk.fills.len(), desk.last_tag()), (2, "entry"), "sold, and bid for again");
    assert!(desk.portfolio.position(ID).is_flat());
    assert!(desk.portfolio.position(ID).realized.is_positive());
}

#[test]
fn outside_its_levels_it_neither_chases_nor_adds() {
    let (mut desk, mut grid) = (Desk::new("0", "100000"), strategy(&Params::new()));
    start(&mut desk, &mut grid, 60_000.0);
    (0..40).for_each(|step| tick(&mut desk, &mut grid, 60_000.0 - 500.0 * f64::from(step)));
    let lowest = desk.fills.iter().map(|fill| fill.price.to_f64()).fold(f64::MAX, f64::min);
    assert!(lowest > 60_000.0 * 0.95, "{lowest}");
    assert!(desk.fills.len() <= 6 && prices(&desk, Side::Buy).is_empty());
    let submits = desk.submits.len();
    (0..40).for_each(|step| tick(&mut desk, &mut grid, 40_000.0 - 100.0 * f64::from(step)));
    assert_eq!(desk.submits.len(), submits);
}

#[test]
fn what_it_holds_and_bids_for_never_exceeds_its_inventory() {
    let params = Params::new().with("inventory_notional_max_quote", 250);
    let (mut desk, mut grid) = (Desk::new("0", "100000"), strategy(&params));
    start(&mut desk, &mut grid, 60_000.0);
    for step in 0..60 {
        tick(&mut desk, &mut grid, 60_000.0 - 60.0 * f64::from(step));
        let bids: f64 = desk
            .orders
            .iter()
            .filter(|it| it.side == Side::Buy)
            .map(|it| it.price.unwrap().to_f64() * it.leaves().to_f64())
            .sum();
        let held = desk.position().to_f64() * 60_000.0;
        assert!(bids + held <= 260.0, "{bids} + {held}");
    }
    assert_eq!(desk.fills.len(), 2);
}

#[test]
fn a_restart_adopts_its_orders_and_sells_what_has_none() {
    let (mut desk, mut before) = (Desk::new("0", "100000"), strategy(&Params::new()));
    start(&mut desk, &mut before, 60_000.0);
    let low = prices(&desk, Side::Buy).last().unwrap() - 1.0;
    tick(&mut desk, &mut before, low);
    let (bids, asks) = (prices(&desk, Side::Buy), prices(&desk, Side::Sell));
    assert_eq!(asks.len(), 1);
    let (submits, cancels) = (desk.submits.len(), desk.cancels);
    let mut after = strategy(&Params::new());
    desk.call(&mut after, |grid, ctx| grid.on_start(ctx));
    tick(&mut desk, &mut after, low);
    assert_eq!((prices(&desk, Side::Buy), prices(&desk, Side::Sell)), (bids, asks.clone()), "all adopted");
    assert_eq!((desk.submits.len(), desk.cancels), (submits, cancels));
    // The venue lost the sale meanwhile: what is held gets a new one.
    desk.orders.retain(|order| order.side == Side::Buy);
    desk.call(&mut after, |_, _| {});
    desk.feed(&mut after, keel_model::FeedState::Live);
    let mut third = strategy(&Params::new());
    desk.portfolio = {
        let mut portfolio = desk.portfolio.clone();
        let free = |asset: &str, free: &str| keel_model::Balance {
            asset: asset.parse().unwrap(),
            free: free.parse().unwrap(),
            locked: Notional::ZERO,
        };
        portfolio.apply_balances(&[free("BTC", "0.00168"), free("USDT", "90000")], true, desk.now).unwrap();
        portfolio
    };
    desk.call(&mut third, |grid, ctx| grid.on_start(ctx));
    tick(&mut desk, &mut third, low);
    assert_eq!(prices(&desk, Side::Sell).len(), 1);
    tick(&mut desk, &mut third, asks[0] * 1.011);
    assert!(desk.portfolio.position(ID).is_flat());
}

#[test]
fn orders_off_the_lattice_are_cancelled_at_the_start() {
    let (mut desk, mut before) = (Desk::new("0", "100000"), strategy(&Params::new().with("step_bps", 70)));
    start(&mut desk, &mut before, 60_000.0);
    let old = desk.orders.len() as u32;
    let mut after = strategy(&Params::new());
    desk.call(&mut after, |grid, ctx| grid.on_start(ctx));
    (0..20).for_each(|_| desk.timer(&mut after, 1_000));
    assert!(desk.cancels >= old - 1, "{} of {old}", desk.cancels);
    let bids = prices(&desk, Side::Buy);
    assert!((3..=4).contains(&bids.len()), "{bids:?}");
}

#[test]
fn refusals_slow_each_cell_down() {
    let (mut desk, mut grid) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.answer = Answer::Deny;
    start(&mut desk, &mut grid, 60_000.0);
    (0..600).for_each(|_| desk.timer(&mut grid, 100));
    assert!((6..=20).contains(&desk.submits.len()), "{} orders within a minute", desk.submits.len());
    desk.answer = Answer::Accept;
    (0..600).for_each(|_| desk.timer(&mut grid, 100));
    assert!((3..=4).contains(&desk.orders.len()), "{}", desk.orders.len());
}

#[test]
fn what_is_denied_for_days_is_tried_a_few_times_an_hour() {
    let (mut desk, mut grid) = (Desk::new("0", "100000"), strategy(&Params::new()));
    desk.answer = Answer::Deny;
    start(&mut desk, &mut grid, 60_000.0);
    for minute in 0..2 * 1_440 {
        desk.tick(&mut grid, 60_000, &format!("{}.00", 60_000 - minute % 7), "60000.50");
    }
    assert!((20..=80).contains(&desk.submits.len()), "{} orders within two days", desk.submits.len());
}

#[test]
fn an_inventory_below_one_order_is_refused_and_the_grid_is_known_by_name() {
    let params = Params::new().with("inventory_notional_max_quote", 100);
    let error = registry::check(NAME, &params).unwrap_err().to_string();
    assert!(error.contains("it would never buy"), "{error}");
}

#[test]
fn after_an_exit_closed_everything_it_bids_again_instead_of_selling_what_is_gone() {
    let params = Params::new().with("levels_count", 3).with("step_bps", 100).with("exits.time_exit_s", 5);
    let mut strategy = registry::build(NAME, ID, &params).unwrap();
    let mut desk = Desk::perpetual();
    desk.tick(strategy.as_mut(), 1_000, "60000", "60000.02");
    desk.call(strategy.as_mut(), |grid, ctx| grid.on_start(ctx));
    for price in ["59300", "58700"] {
        desk.tick(strategy.as_mut(), 1_000, price, &format!("{price}.02"));
    }
    assert!(desk.position().is_positive());
    (0..100).for_each(|_| desk.timer(strategy.as_mut(), 100));
    assert!(desk.position().is_zero() && desk.tags.iter().any(|(_, tag)| *tag == Tag::TIME));
    assert!(desk.orders.iter().all(|order| order.side == Side::Buy) && !desk.orders.is_empty());
}
