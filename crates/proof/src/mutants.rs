//! Wrong variants of the product's rules and the seeds that kill them.
//!
//! Invariant: a mutant is killed when the judge finds a violation, or when the run does not come to its end.

use crate::kit::Kit;
use crate::world::World;
use keel_model::mutant;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The list: number, tab, seed, tab, what is wrong.
pub const LIST: &str = include_str!("../mutants.txt");

/// One wrong variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its number in the code.
    pub number: u16,
    /// A seed that kills it.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
}

/// Reads a list.
pub fn list(text: &str) -> Result<Vec<Mutant>, String> {
    let mut mutants = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut parts = line.splitn(3, '\t');
        let (number, seed, what) = (parts.next(), parts.next(), parts.next());
        let number = number.and_then(|text| text.parse().ok());
        let (Some(number), Some(seed), Some(what)) = (number, seed, what) else {
            return Err(format!("mutants.txt: '{line}' is not number, seed and words, separated by tabs"));
        };
        mutants.push(Mutant { number, seed: seed.parse().unwrap_or_default(), what: what.to_owned() });
    }
    Ok(mutants)
}

/// Runs a seed with a mutant; how it was killed, if it was.
pub fn killed_by(kit: &Kit, number: u16, seed: u64) -> Result<Option<String>, String> {
    mutant::choose(number);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        World::run(kit, seed).map(|world| world.violation().map(|found| format!("{} {}", found.invariant, found.what)))
    }));
    mutant::choose(0);
    match ended {
        Ok(violation) => violation,
        Err(_) => Ok(Some("panic".to_owned())),
    }
}
