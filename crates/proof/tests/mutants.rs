//! Every wrong variant in the list is killed at its seed, and the right program passes there.

use keel_proof::mutants::{LIST, killed_by, list};
use keel_proof::{Kit, World};

#[test]
fn every_mutant_is_killed_at_its_seed() {
    let kit = Kit::new().unwrap();
    let mutants = list(LIST).unwrap();
    assert!(mutants.len() >= 40, "{} mutants", mutants.len());
    for mutant in &mutants {
        let right = World::run(&kit, mutant.seed).unwrap();
        assert_eq!(right.violation(), None, "seed {} without a mutant", mutant.seed);
        let killed = killed_by(&kit, mutant.number, mutant.seed).unwrap();
        assert!(killed.is_some(), "mutant {} lives at seed {}: {}", mutant.number, mutant.seed, mutant.what);
    }
}
