//! The slice of the simulation test that CI runs.

use keel_proof::coverage::Met;
use keel_proof::{Coverage, Kit, World};

/// Seeds of the slice; `KEEL_SIM_SEEDS` runs more.
fn seeds() -> u64 {
    std::env::var("KEEL_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[test]
fn i1_to_i7_no_order_is_lost_or_doubled_by_any_seed() {
    let kit = Kit::new().unwrap();
    let mut coverage = Coverage::default();
    for seed in 0..seeds() {
        let world = World::run(&kit, seed).unwrap();
        coverage.add(world.coverage());
        if let Some(violation) = world.violation() {
            panic!("seed {seed}: {violation:?}; `just sim-seed {seed}` tells the run");
        }
    }
    for met in [Met::Trades, Met::Unknown, Met::NeverAccepted, Met::TornTails] {
        assert!(coverage.count(met) > 0 || seeds() < 300, "the test must meet what it is about: {met:?}");
    }
}

#[test]
fn seeds_that_failed_once_pass() {
    let kit = Kit::new().unwrap();
    for line in include_str!("../regressions.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (seed, what) = line.split_once('\t').unwrap();
        let world = World::run(&kit, seed.parse().unwrap()).unwrap();
        assert_eq!(world.violation(), None, "seed {seed}, which once found: {what}");
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_byte() {
    let kit = Kit::new().unwrap();
    for seed in 0..30 {
        let (one, two) = (World::run(&kit, seed).unwrap(), World::run(&kit, seed).unwrap());
        assert_eq!((one.trace(), one.size()), (two.trace(), two.size()), "seed {seed}");
    }
}
