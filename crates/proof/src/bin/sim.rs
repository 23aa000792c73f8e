//! `cargo run --release -p keel-proof --bin sim -- SEEDS [--from N] [--threads N]`: runs the simulation test on all cores, tells
//! what was covered, and prints the smallest transcript of the first seed that fails. `--seed N` tells one run. `--twice` runs
//! each seed once more, and it must come to the same trace.
//!
//! Exit code 1 when a seed fails, when a second run differs or, over 100,000 seeds or more, when something was never met.

use keel_proof::shrink::shrink;
use keel_proof::{Coverage, Kit, Violation, World};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// From so many seeds on, everything must have been met.
const COMPLETE_FROM: u64 = 100_000;
/// Seeds that a thread takes at a time.
const BATCH: u64 = 16;

struct Options {
    seeds: u64,
    from: u64,
    threads: usize,
    one: Option<u64>,
    is_twice: bool,
}

fn options() -> Result<Options, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { seeds: 10_000, from: 0, threads: cores, one: None, is_twice: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = |name: &str| -> Result<u64, String> {
            let text = words.next().ok_or_else(|| format!("{name} needs a number"))?;
            text.replace('_', "").parse().map_err(|_| format!("{name} needs a number, not '{text}'"))
        };
        match word.as_str() {
            "--from" => options.from = number("--from")?,
            "--threads" => options.threads = usize::try_from(number("--threads")?).unwrap_or(1).max(1),
            "--seed" => options.one = Some(number("--seed")?),
            "--twice" => options.is_twice = true,
            text => {
                options.seeds = text.replace([',', '_'], "").parse().map_err(|_| format!("'{text}' is no number"))?
            }
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Totals {
    coverage: Coverage,
    failures: BTreeMap<u64, Violation>,
    happenings: u64,
    world_ms: u64,
    trace: u64,
}

/// Runs batches of seeds until none is left.
fn work(options: &Options, next: &AtomicU64) -> Result<Totals, String> {
    let kit = Kit::new()?;
    let mut totals = Totals::default();
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first >= options.seeds {
            return Ok(totals);
        }
        for seed in first..(first + BATCH).min(options.seeds) {
            let seed = options.from + seed;
            let world = World::run(&kit, seed)?;
            if options.is_twice {
                let again = World::run(&kit, seed)?;
                if (again.trace(), again.size()) != (world.trace(), world.size()) {
                    let what = format!("trace {:016x}, then {:016x}", world.trace(), again.trace());
                    totals.failures.insert(seed, Violation { invariant: "same seed, same run", what });
                }
            }
            totals.trace = totals.trace.wrapping_add(world.trace());
            totals.coverage.add(world.coverage());
            let (happenings, world_ms) = world.size();
            totals.happenings += happenings;
            totals.world_ms += world_ms;
            if let Some(violation) = world.violation() {
                totals.failures.insert(seed, violation.clone());
            }
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a measuring tool on plain threads: there is no supervisor and no run's clock here"
)]
fn run_all(options: &Options) -> Result<(Totals, f64), String> {
    let begun = std::time::Instant::now();
    let next = AtomicU64::new(0);
    let parts: Vec<Result<Totals, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(|| work(options, &next))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))).collect()
    });
    let mut totals = Totals::default();
    for part in parts {
        let part = part?;
        totals.coverage.add(&part.coverage);
        totals.failures.extend(part.failures);
        totals.happenings += part.happenings;
        totals.world_ms += part.world_ms;
        totals.trace = totals.trace.wrapping_add(part.trace);
    }
    Ok((totals, begun.elapsed().as_secs_f64()))
}

fn tell_failure(seed: u64) -> Result<(), String> {
    let Some(failure) = shrink(&Kit::new()?, seed)? else { return Ok(()) };
    println!("seed {seed} fails: {} {}", failure.violation.invariant, failure.violation.what);
    println!("smallest plan: {:?}", failure.plan);
    let from = failure.transcript.len().saturating_sub(200);
    failure.transcript.iter().skip(from).for_each(|line| println!("  {line}"));
    Ok(())
}

fn tell_one(seed: u64) -> Result<bool, String> {
    let kit = Kit::new()?;
    let world = World::run_plan(&kit, seed, World::plan(seed), true)?;
    world.transcript().iter().for_each(|line| println!("{line}"));
    println!("trace {:016x}, {:?}, {:?}", world.trace(), world.size(), world.violation());
    Ok(world.violation().is_none())
}

fn run() -> Result<bool, String> {
    let options = options()?;
    if let Some(seed) = options.one {
        return tell_one(seed);
    }
    let (totals, seconds) = run_all(&options)?;
    for (row, count) in totals.coverage.rows() {
        println!("{count:>12}  {row}{}", if count == 0 { "  NEVER MET" } else { "" });
    }
    let missing = totals.coverage.rows().iter().filter(|(_, count)| *count == 0).count();
    println!(
        "{} seeds in {seconds:.1} s on {} threads: {:.0} seeds/s, {:.1} million happenings, {:.1} days in the world, {} violations, {missing} rows never met, traces {:016x}",
        options.seeds,
        options.threads,
        options.seeds as f64 / seconds,
        totals.happenings as f64 / 1e6,
        totals.world_ms as f64 / 86_400_000.0,
        totals.failures.len(),
        totals.trace,
    );
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (seed, violation) in &totals.failures {
        kinds.entry(violation.invariant).or_insert((0, *seed)).0 += 1;
    }
    for (kind, (count, seed)) in kinds {
        println!("{count:>8} × {kind}, first at seed {seed}");
    }
    for (seed, violation) in totals.failures.iter().take(12) {
        println!("seed {seed}: {} {}", violation.invariant, violation.what);
    }
    if let Some(seed) = totals.failures.keys().next() {
        tell_failure(*seed)?;
    }
    Ok(totals.failures.is_empty() && (missing == 0 || options.seeds < COMPLETE_FROM))
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::FAILURE
        }
    }
}
