//! A failing run made small: weaker plans are tried as long as one still fails.
//!
//! Invariant: what comes out still fails, and its transcript is of that run.

use crate::kit::Kit;
use crate::world::{Violation, World};
use keel_sim::FaultPlan;

/// A failing run, as small as it was made.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The weakest plan that still fails.
    pub plan: FaultPlan,
    /// What it violates.
    pub violation: Violation,
    /// What happened, line by line.
    pub transcript: Vec<String>,
}

/// Makes the failure of a seed small; `None` when the seed does not fail.
pub fn shrink(kit: &Kit, seed: u64) -> Result<Option<Failure>, String> {
    let fails = |plan: &FaultPlan| -> Result<bool, String> {
        Ok(World::run_plan(kit, seed, plan.clone(), false)?.violation().is_some())
    };
    let mut plan = World::plan(seed);
    if !fails(&plan)? {
        return Ok(None);
    }
    // Each round takes something away, so there are few of them; the bound is for plans that wander.
    for _ in 0..64 {
        let mut next = None;
        for weaker in plan.weaker() {
            if fails(&weaker)? {
                next = Some(weaker);
                break;
            }
        }
        match next {
            Some(weaker) => plan = weaker,
            None => break,
        }
    }
    let world = World::run_plan(kit, seed, plan.clone(), true)?;
    let Some(violation) = world.violation().cloned() else { return Ok(None) };
    Ok(Some(Failure { seed, plan, violation, transcript: world.transcript().to_vec() }))
}
