//! Kills, signals and restarts at random instants.
//!
//! Invariants: instants come from a seed, so a run can be repeated as far as the machine repeats itself; each chain of kills
//! goes on with one venue and one journal, so that a kill also hits the recovery from the kill before.

use crate::check::{Facts, Violation};
use crate::error::CrashError;
use crate::phase;
use crate::place::{Bench, Place, Run};
use crate::trial::{self, RUN_LIMIT};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// Kills on one journal before it is judged.
const CHAIN: u32 = 10;

/// A small generator (splitmix64): the instants need no more.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % if bound == 0 { 1 } else { bound }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    /// Strikes.
    pub strikes: u32,
    /// What there was to compare.
    pub facts: Facts,
    /// What was wrong, and where its evidence is.
    pub violations: Vec<(Violation, PathBuf)>,
}

impl std::fmt::Display for Chains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let facts = self.facts;
        write!(
            f,
            "{} strikes; compared {} intents, {} orders, {} trades, {} starts; violations: {}",
            self.strikes,
            facts.intents,
            facts.orders,
            facts.trades,
            facts.sessions,
            self.violations.len()
        )?;
        for (violation, folder) in &self.violations {
            write!(f, "\n  {violation}\n    evidence: {}", folder.display())?;
        }
        Ok(())
    }
}

/// What strikes a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL at a random instant: of the boot, of trading, or of the stop after SIGTERM.
    Kill,
    /// SIGINT, SIGTERM or SIGHUP at a random instant; the exit code must be right.
    Ask,
    /// As `Kill`, by SIGSEGV: the program gets no word in either.
    Segv,
    /// Stopped for three seconds and continued, then asked to stop.
    Freeze,
    /// Asked to stop as soon as it is ready, and started again at once.
    Restart,
}

/// Strikes `count` times, `jobs` chains at once, and judges after each chain.
pub fn strikes(
    bench: &Bench,
    blow: Blow,
    count: u32,
    seed: u64,
    jobs: u32,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Chains, CrashError> {
    let jobs = jobs.max(1);
    let results: Vec<Result<Chains, CrashError>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..jobs)
            .map(|job| {
                let share = count / jobs + u32::from(job < count % jobs);
                scope.spawn(move || one_job(bench, blow, share, seed.wrapping_add(u64::from(job) << 32), job, tell))
            })
            .collect();
        let panicked = || CrashError::Usage("a job panicked".into());
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    let mut all = Chains::default();
    for chains in results {
        let chains = chains?;
        all.strikes += chains.strikes;
        all.facts.add(chains.facts);
        all.violations.extend(chains.violations);
    }
    Ok(all)
}

fn one_job(
    bench: &Bench,
    blow: Blow,
    count: u32,
    seed: u64,
    job: u32,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Chains, CrashError> {
    let mut chains = Chains::default();
    let mut dice = Dice::new(seed);
    while chains.strikes < count {
        let links = CHAIN.min(count - chains.strikes);
        let name = format!("{blow:?}-seed{seed:x}-{}-job{job}", chains.strikes).to_lowercase();
        let place = Place::open(bench, &name, dice.below(1 << 32))?;
        let mut violations = Vec::new();
        for link in 0..links {
            violations.extend(one_strike(&place, blow, &format!("run-{link}"), &mut dice)?);
            chains.strikes += 1;
        }
        let outcome = trial::finish(place, true, None, violations)?;
        chains.facts.add(outcome.facts);
        if let Some(folder) = outcome.evidence {
            for violation in outcome.violations {
                tell(&format!("VIOLATION {violation}\n  evidence: {}", folder.display()));
                chains.violations.push((violation, folder.clone()));
            }
            break;
        }
        if chains.strikes.is_multiple_of(100) {
            tell(&format!("{blow:?}: {} of {count} in job {job}", chains.strikes));
        }
    }
    Ok(chains)
}

/// One run and its blow; what is wrong with how it ended.
fn one_strike(place: &Place, blow: Blow, name: &str, dice: &mut Dice) -> Result<Option<Violation>, CrashError> {
    let mut running = place.launch(name, &phase::busy(), None)?;
    match blow {
        Blow::Kill | Blow::Segv => {
            let signal = if blow == Blow::Kill { Signal::KILL } else { Signal::SEGV };
            match dice.below(3) {
                0 => pause_us(dice.below(40_000)),
                1 => pause_us(dice.below(400_000)),
                _ => {
                    running.until("trading: ready", RUN_LIMIT);
                    pause_us(dice.below(150_000));
                    running.signal(Signal::TERM);
                    pause_us(dice.below(25_000));
                }
            }
            running.signal(signal);
            if blow == Blow::Segv {
                // A first one from outside only takes Rust's own handler away, which waits for the fault to come again; and two
                // that come before the process runs are one.
                for _ in 0..40 {
                    pause_us(2_000);
                    running.signal(signal);
                }
            }
            let ended = running.wait(RUN_LIMIT)?;
            let is_right = ended.was_killed() || ended.code == Some(0);
            Ok((!is_right).then(|| ended_wrong("was killed", &ended)))
        }
        Blow::Ask => {
            // A process that has not got as far as its handlers dies of the signal, as any process does.
            let kinds = [(Signal::INT, 130), (Signal::TERM, 0), (Signal::HUP, 0)];
            let (signal, code) = kinds.get(dice.below(3) as usize).copied().unwrap_or((Signal::TERM, 0));
            pause_us(if dice.below(2) == 0 { dice.below(60_000) } else { dice.below(500_000) });
            running.signal(signal);
            let ended = running.wait(RUN_LIMIT)?;
            let is_right = ended.code == Some(code) || ended.signal == Some(signal.as_raw());
            Ok((!is_right).then(|| ended_wrong(&format!("was asked by {signal:?}"), &ended)))
        }
        Blow::Freeze => {
            running.until("trading: ready", RUN_LIMIT);
            pause_us(dice.below(200_000));
            running.signal(Signal::STOP);
            pause_us(3_000_000);
            running.signal(Signal::CONT);
            pause_us(500_000);
            running.signal(Signal::TERM);
            let ended = running.wait(RUN_LIMIT)?;
            // An order that was under way may stay unknown for longer than this run: exit 1, and the next start knows.
            let is_right = matches!(ended.code, Some(0 | 1));
            Ok((!is_right).then(|| ended_wrong("was stopped for 3 s", &ended)))
        }
        Blow::Restart => {
            let ready = running.until("trading: ready", RUN_LIMIT);
            running.signal(Signal::TERM);
            let ended = running.wait(RUN_LIMIT)?;
            Ok((!ready || ended.code != Some(0)).then(|| ended_wrong("was started at once after the last", &ended)))
        }
    }
}

fn ended_wrong(how: &str, ended: &crate::place::Ended) -> Violation {
    Violation { invariant: "I9", what: format!("a run that {how} ended with {ended:?}") }
}

fn pause_us(us: u64) {
    std::thread::sleep(Duration::from_micros(us));
}

/// Loss of power: a run is killed, and then everything that was written after the last answered `fdatasync` is cut off or
/// overwritten with zeros from a random place on. What was called durable must be enough.
pub fn power_losses(bench: &Bench, count: u32, seed: u64, tell: &(dyn Fn(&str) + Sync)) -> Result<Chains, CrashError> {
    let mut chains = Chains::default();
    let mut dice = Dice::new(seed);
    for at in 0..count {
        let place = Place::open(bench, &format!("power-seed{seed:x}-{at}"), dice.below(1 << 32))?;
        let run: Run = phase::busy();
        let lost = crate::power::watched(&place, "run", &run, Duration::from_micros(50_000 + dice.below(300_000)))?;
        if let Some(loss) = lost {
            loss.apply(&mut dice)?;
        }
        chains.strikes += 1;
        let outcome = trial::finish(place, true, None, Vec::new())?;
        chains.facts.add(outcome.facts);
        if let Some(folder) = outcome.evidence {
            for violation in outcome.violations {
                tell(&format!("VIOLATION {violation}\n  evidence: {}", folder.display()));
                chains.violations.push((violation, folder.clone()));
            }
            break;
        }
    }
    Ok(chains)
}
