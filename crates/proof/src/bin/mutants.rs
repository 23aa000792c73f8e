//! `cargo run --release -p keel-proof --features mutants --bin mutants`: does the simulation test kill every wrong variant that
//! `mutants.txt` lists, each at its seed? `-- --search MAX [NUMBER…]` looks for the first killing seed of each (or of those
//! numbers) and prints the list anew.
//!
//! Exit code 1 when one lives, or when a right program fails at one of the seeds.

use keel_proof::mutants::{LIST, Mutant, killed_by, list};
use keel_proof::{Kit, World};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn search(mutants: &[Mutant], seeds: u64) -> Result<bool, String> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(u16, Option<u64>)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let work = || -> Result<(), String> {
            let kit = Kit::new()?;
            while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut killer = None;
                for seed in 0..seeds {
                    // A seed that fails without a mutant proves nothing.
                    let is_killed = killed_by(&kit, mutant.number, seed)?.is_some();
                    if is_killed && World::run(&kit, seed)?.violation().is_none() {
                        killer = Some(seed);
                        break;
                    }
                }
                found.lock().map_err(|error| error.to_string())?.push((mutant.number, killer));
            }
            Ok(())
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        ends.filter_map(Result::err).collect()
    });
    if let Some(error) = failed.into_iter().next() {
        return Err(error);
    }
    let found = found.into_inner().map_err(|error| error.to_string())?;
    for mutant in mutants {
        let killer = found.iter().find(|(number, _)| *number == mutant.number).and_then(|(_, killer)| *killer);
        let seed = killer.map_or_else(|| "LIVES".to_owned(), |seed| seed.to_string());
        println!("{}\t{seed}\t{}", mutant.number, mutant.what);
    }
    let alive = found.iter().filter(|(_, killer)| killer.is_none()).count();
    eprintln!("{} of {} killed within {seeds} seeds", mutants.len() - alive, mutants.len());
    Ok(alive == 0)
}

fn verify(mutants: &[Mutant]) -> Result<bool, String> {
    let kit = Kit::new()?;
    let mut is_good = true;
    for mutant in mutants {
        if let Some(violation) = World::run(&kit, mutant.seed)?.violation() {
            println!("seed {} fails without a mutant: {violation:?}", mutant.seed);
            is_good = false;
        }
        match killed_by(&kit, mutant.number, mutant.seed)? {
            Some(how) => {
                println!("mutant {:>3} killed at seed {:>6}: {}  [{how}]", mutant.number, mutant.seed, mutant.what)
            }
            None => {
                println!("mutant {:>3} LIVES at seed {}: {}", mutant.number, mutant.seed, mutant.what);
                is_good = false;
            }
        }
    }
    println!("{} mutants, {}", mutants.len(), if is_good { "all killed" } else { "NOT all killed" });
    Ok(is_good)
}

fn main() -> ExitCode {
    // A mutant may well panic; that is a kill, and its words are of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let mut words = std::env::args().skip(1);
    let result = list(LIST).and_then(|mut mutants| match (words.next().as_deref(), words.next()) {
        (Some("--search"), most) => {
            let numbers: Vec<u16> = words.filter_map(|text| text.parse().ok()).collect();
            mutants.retain(|mutant| numbers.is_empty() || numbers.contains(&mutant.number));
            search(&mutants, most.and_then(|text| text.parse().ok()).unwrap_or(20_000))
        }
        _ => verify(&mutants),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::FAILURE
        }
    }
}
