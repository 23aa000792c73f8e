//! A seeded test of order safety: the real engine, risk and order manager against a venue that loses, delays, repeats,
//! reorders and lies within its promises, with crashes of the bot at every awkward moment.
//!
//! Single-threaded, a pure function of the seed. The oracles judge from the venue's own log:
//! I1 nothing doubled · I2 nothing lost · I3 positions equal · I4 fills equal · I5 no false end · I6 the journal gives back the
//! state · I7 everything is resolved a while after the faults stop. Wrong gateways (see [`bot::Wrong`]) must be caught.
//!
//! `KEEL_SIM_SEEDS=100000 cargo test --release -p keel-engine --test simulation` runs more seeds.

mod bot;
mod venue;
mod world;

use bot::Wrong;
use world::World;

fn seeds(default: u64) -> u64 {
    std::env::var("KEEL_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn i1_to_i7_no_order_is_lost_or_doubled_by_any_seed() {
    let count = seeds(400);
    let (mut orders, mut trades, mut crashes, mut unknown, mut never) = (0, 0, 0, 0, 0);
    for seed in 0..count {
        let world = World::run(seed, Wrong::Nothing);
        if let Some(violation) = &world.violation {
            panic!("seed {seed}: {violation}\n{}", world.transcript());
        }
        orders += world.venue.orders.len();
        trades += world.venue.trades.len();
        crashes += world.crashes;
        unknown += world.unknown_total;
        never += world.never_accepted_total;
    }
    println!(
        "{count} seeds: {orders} orders, {trades} trades, {crashes} crashes, {unknown} unknown, {never} disproved"
    );
    assert!(orders > count as usize && trades > count as usize, "the test must trade");
    assert!(crashes > 0 && unknown > 0 && never > 0, "the test must meet what it is about");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let (one, two) = (World::run(seed, Wrong::Nothing), World::run(seed, Wrong::Nothing));
        assert_eq!(one.trace(), two.trace(), "seed {seed}");
    }
}

#[test]
fn wrong_gateways_are_caught() {
    for wrong in Wrong::ALL {
        let found = (0..3_000).find(|seed| World::run(*seed, wrong).violation.is_some());
        let Some(seed) = found else { panic!("{wrong:?} passes 3,000 seeds: the oracles are blind to it") };
        println!("{wrong:?} is caught by seed {seed}: {}", World::run(seed, wrong).violation.unwrap());
    }
}
