//! Every n of every phase and kind of system call, until n is past the end; resumable, on several jobs at once.
//!
//! Invariants: a cell of the table is done only when two runs in a row ended unstruck; what was done stands in the state file
//! after each strike, so an interrupted sweep goes on where it was; the first violation stops the sweep.

use crate::check::{Facts, Violation};
use crate::error::CrashError;
use crate::phase::Phase;
use crate::place::Bench;
use crate::strike::{Effect, Strike, Surface};
use crate::trial;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Unstruck runs in a row after which n is past the end: threads race, so one may be chance.
const PAST_THE_END: u32 = 2;

/// What to sweep.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which phases.
    pub phases: Vec<Phase>,
    /// Which calls.
    pub surfaces: Vec<Surface>,
    /// What happens there.
    pub effect: Effect,
    /// Every so many calls; 1 is every one.
    pub stride: u32,
    /// The first n.
    pub first: u32,
    /// Strikes at once.
    pub jobs: u32,
    /// Where it is written down how far it came; `None`: nowhere.
    pub state: Option<PathBuf>,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The next n.
    next: u32,
    /// Runs.
    pub runs: u32,
    /// Runs that were struck.
    pub struck: u32,
    /// Unstruck runs in a row.
    misses: u32,
    /// Is n past the end?
    pub is_done: bool,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// By phase and call.
    pub cells: BTreeMap<String, Cell>,
    /// What there was to compare.
    pub facts: Facts,
    /// The first thing that was wrong, and where its evidence is.
    pub violations: Vec<(String, Vec<Violation>, Option<PathBuf>)>,
}

impl Swept {
    /// Runs that were struck.
    #[must_use]
    pub fn struck(&self) -> u32 {
        self.cells.values().map(|cell| cell.struck).sum()
    }

    /// Is every cell past its end?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.cells.values().all(|cell| cell.is_done)
    }

    /// For people: one line a call, one column a phase.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<&str, BTreeMap<&str, Cell>> = BTreeMap::new();
        for (key, cell) in &self.cells {
            if let Some((phase, call)) = key.split_once('/') {
                rows.entry(call).or_default().insert(phase, *cell);
            }
        }
        let head = Phase::ALL.map(|phase| format!("{:>10}", phase.name())).concat();
        let mut text = format!("{:<16}{head}", "strikes at");
        for (call, cells) in &rows {
            let shown = Phase::ALL.map(|phase| match cells.get(phase.name()) {
                None => format!("{:>10}", "-"),
                Some(cell) => format!("{:>10}", format!("{}{}", cell.struck, if cell.is_done { "" } else { "…" })),
            });
            text.push_str(&format!("\n{call:<16}{}", shown.concat()));
        }
        let (facts, runs) = (self.facts, self.cells.values().map(|cell| cell.runs).sum::<u32>());
        text.push_str(&format!(
            "\n{} strikes in {runs} runs; compared {} intents, {} orders, {} trades, {} starts; violations: {}",
            self.struck(),
            facts.intents,
            facts.orders,
            facts.trades,
            facts.sessions,
            self.violations.len()
        ));
        text
    }
}

/// What the jobs share.
struct Shared<'a> {
    bench: &'a Bench,
    plan: &'a Plan,
    waiting: Mutex<Vec<(Phase, Surface)>>,
    swept: Mutex<Swept>,
    tell: &'a (dyn Fn(&str) + Sync),
}

/// Sweeps. `tell` hears of each cell that is done and of each violation.
pub fn sweep(bench: &Bench, plan: &Plan, tell: &(dyn Fn(&str) + Sync)) -> Result<Swept, CrashError> {
    let mut waiting: Vec<(Phase, Surface)> =
        plan.phases.iter().flat_map(|phase| plan.surfaces.iter().map(|surface| (*phase, *surface))).collect();
    // Taken from the end.
    waiting.reverse();
    let mut swept = Swept { cells: read_state(plan.state.as_deref())?, ..Swept::default() };
    for (phase, surface) in &waiting {
        let fresh = Cell { next: plan.first, ..Cell::default() };
        swept.cells.entry(key(*phase, *surface)).or_insert(fresh);
    }
    let shared = Shared { bench, plan, waiting: Mutex::new(waiting), swept: Mutex::new(swept), tell };
    let outcomes: Vec<Result<(), CrashError>> = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..plan.jobs.max(1)).map(|job| (job, &shared)).collect();
        let jobs: Vec<_> = jobs.into_iter().map(|(job, shared)| scope.spawn(move || shared.work(job))).collect();
        jobs.into_iter()
            .map(|job| job.join().unwrap_or_else(|_| Err(CrashError::Usage("a job of the sweep panicked".into()))))
            .collect()
    });
    outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(shared.swept.into_inner())
}

fn key(phase: Phase, surface: Surface) -> String {
    format!("{}/{}", phase.name(), surface.name)
}

impl Shared<'_> {
    fn work(&self, job: u32) -> Result<(), CrashError> {
        loop {
            let Some((phase, surface)) = self.waiting.lock().pop() else { return Ok(()) };
            self.cell(job, phase, surface)?;
            if !self.swept.lock().violations.is_empty() {
                return Ok(());
            }
        }
    }

    fn cell(&self, job: u32, phase: Phase, surface: Surface) -> Result<(), CrashError> {
        let key = key(phase, surface);
        loop {
            let cell = self.swept.lock().cells.get(&key).copied().unwrap_or_default();
            if cell.is_done || !self.swept.lock().violations.is_empty() {
                return Ok(());
            }
            let strike = Strike { surface, n: cell.next, effect: self.plan.effect.clone() };
            let name = format!("{}-{}-{}-job{job}", phase.name(), surface.name.replace(':', "-"), cell.next);
            let outcome = trial::strike(self.bench, &name, phase, &strike, u64::from(cell.next))?;
            let mut swept = self.swept.lock();
            swept.facts.add(outcome.facts);
            if !outcome.violations.is_empty() {
                let what = format!("{}: {strike}", phase.name());
                let lines: Vec<_> = outcome.violations.iter().map(|it| format!("\n  {it}")).collect();
                (self.tell)(&format!("VIOLATION {what}{}", lines.concat()));
                swept.violations.push((what, outcome.violations, outcome.evidence));
                return Ok(());
            }
            let cell = swept.cells.entry(key.clone()).or_default();
            cell.next += self.plan.stride.max(1);
            cell.runs += 1;
            if outcome.was_struck {
                (cell.struck, cell.misses) = (cell.struck + 1, 0);
            } else {
                cell.misses += 1;
                cell.is_done = cell.misses >= PAST_THE_END;
            }
            let done = cell.is_done.then_some(cell.struck);
            write_state(self.plan.state.as_deref(), &swept.cells)?;
            drop(swept);
            if let Some(struck) = done {
                (self.tell)(&format!("{key}: {struck} strikes, past the end"));
            }
        }
    }
}

fn read_state(path: Option<&Path>) -> Result<BTreeMap<String, Cell>, CrashError> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| CrashError::unreadable(path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(CrashError::io("read", path, source)),
    }
}

fn write_state(path: Option<&Path>, cells: &BTreeMap<String, Cell>) -> Result<(), CrashError> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(cells).map_err(|error| CrashError::unreadable(path, error))?;
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(|source| CrashError::io("write", path, source))
}
