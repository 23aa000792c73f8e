//! The sweep itself: batch after batch, written down as it goes, then the winners once more on the exact level.

use super::exact::Runs;
use super::files;
use super::progress::Progress;
use super::setup::told;
use crate::backtest::setup::Prepared;
use crate::config::Config;
use crate::error::LaunchError;
use crate::out;
use keel_lifecycle::Clock;
use keel_strategy::Params;
use keel_sweep::SweepError;
use keel_sweep::backend::{Control, CpuBackend, SweepBackend};
use keel_sweep::fast::{self, Market};
use keel_sweep::kernel::bars::Bars;
use keel_sweep::kernel::rule::Outcome;
use keel_sweep::kernel::run::Stretch;
use keel_sweep::sweep::{Batch, Level, Plan, Sweep};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A state is written when this much time has passed, and so many times what writing it takes. Unit: nanoseconds.
const SAVE_EVERY_NS: u64 = 500_000_000;
const SAVE_SHARE: u64 = 20;

/// A sweep that can begin.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) bench: Bench,
}

/// What trials are made with.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) config: Config,
    pub(super) prepared: Prepared,
    /// Data as kernels read it, on the fast level.
    pub(super) bars: Option<Bars>,
    pub(super) market: Option<Market>,
    pub(super) cpu: CpuBackend,
    pub(super) threads: usize,
    pub(super) control: Arc<Control>,
    pub(super) folder: PathBuf,
    pub(super) is_resume: bool,
    pub(super) best_count: usize,
    pub(super) verify_count: usize,
}

/// A winner of the fast level on both levels.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) window: usize,
    pub(super) point: u64,
    pub(super) fast: Outcome,
    pub(super) exact: Outcome,
}

/// What a sweep ends with.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) sweep: Sweep,
    pub(super) verified: Vec<Verified>,
    /// Was everything tried?
    pub(super) is_complete: bool,
    pub(super) device: String,
    pub(super) folder: PathBuf,
    pub(super) best_count: usize,
    /// CPU time of all threads of this process on trials. Unit: seconds.
    pub(super) cpu_s: f64,
    /// Combination·bars of this process, verification not counted.
    pub(super) combination_bars: u64,
    /// Trials that were there at the beginning.
    pub(super) resumed: u64,
}

/// CPU time of the process; unit: seconds.
fn process_cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

impl Work {
    /// All of it.
    pub(super) fn run(self, clock: &Clock) -> Result<Ended, LaunchError> {
        let Self { plan, bench } = self;
        let place = files::Place::open(&bench.folder)?;
        let mut sweep = bench.begin(plan, &place)?;
        let resumed = sweep.progress().0;
        let mut progress = Progress::new(sweep.progress());
        let (mut saved_ns, mut cost_ns) = (clock.mono_ns(), 0);
        let (cpu_before, mut combination_bars) = (process_cpu_s(), 0);
        let mut is_complete = true;
        while let Some((window, batch)) = sweep.next().map_err(told)? {
            if bench.control.stop.load(Ordering::Relaxed) {
                is_complete = false;
                break;
            }
            match bench.evaluate(sweep.plan(), &batch) {
                Ok(Some(outcomes)) => sweep.tell(window, &batch, &outcomes),
                Ok(None) => {
                    is_complete = false;
                    break;
                }
                Err(error) => {
                    // What was done before is kept, whatever went wrong after it.
                    place.save(&sweep)?;
                    return Err(error);
                }
            }
            combination_bars += ((batch.stretch.to - batch.stretch.from) * batch.points.len()) as u64;
            progress.tell(sweep.progress());
            let now_ns = clock.mono_ns();
            if now_ns.saturating_sub(saved_ns) > SAVE_EVERY_NS.max(SAVE_SHARE * cost_ns) {
                place.save(&sweep)?;
                saved_ns = clock.mono_ns();
                cost_ns = saved_ns.saturating_sub(now_ns);
            }
        }
        let cpu_s = process_cpu_s() - cpu_before;
        place.save(&sweep)?;
        progress.finish();
        let verified = if is_complete { bench.verify(&sweep)? } else { Vec::new() };
        place.write_results(&sweep)?;
        let ended = Ended {
            device: if sweep.plan().level == Level::Fast {
                bench.cpu.name()
            } else {
                format!("event engine, {} threads", bench.threads)
            },
            sweep,
            verified,
            is_complete,
            folder: bench.folder.clone(),
            best_count: bench.best_count,
            cpu_s,
            combination_bars,
            resumed,
        };
        if let Err(cause) = super::database::record(&bench.config, &ended, clock.now_ns()) {
            out::note(&format!(
                "warning: the results are in {}, but not in the database: {cause}",
                ended.folder.display()
            ));
        }
        Ok(ended)
    }
}

impl Bench {
    fn begin(&self, plan: Plan, place: &files::Place) -> Result<Sweep, LaunchError> {
        let state = place.load()?;
        match state {
            Some(bytes) if self.is_resume => {
                let sweep = Sweep::resume(plan, &bytes).map_err(|cause| {
                    let path = place.state_path();
                    told(SweepError::State { path, cause: format!("{cause}; begin anew without --resume") })
                })?;
                let (done, target) = sweep.progress();
                out::note(&if done < target {
                    format!("goes on with trial {} of {target}", done + 1)
                } else {
                    format!("all {target} trials were made before")
                });
                Ok(sweep)
            }
            Some(_) => {
                out::note("the same sweep was here before; begun anew (with --resume it would go on)");
                Sweep::new(plan).map_err(told)
            }
            None => {
                if self.is_resume {
                    out::note("there is nothing to go on from; begun anew");
                }
                Sweep::new(plan).map_err(told)
            }
        }
    }

    /// Outcomes of a batch; `None` when somebody asked to stop.
    fn evaluate(&self, plan: &Plan, batch: &Batch) -> Result<Option<Vec<Outcome>>, LaunchError> {
        let sets: Vec<Params> = batch.points.iter().map(|point| plan.space.params(*point)).collect();
        let result = match (plan.level, &self.bars, &self.market) {
            (Level::Fast, Some(bars), Some(market)) => {
                let backends: [&dyn SweepBackend; 1] = [&self.cpu];
                let stretch = (bars, batch.stretch);
                fast::evaluate(plan.space.strategy(), &sets, market, stretch, &backends, &self.control).map_err(told)
            }
            _ => self.exactly(&sets, batch.stretch),
        };
        match result {
            // Whatever an interrupted batch says, it is not kept.
            _ if self.control.stop.load(Ordering::Relaxed) => Ok(None),
            other => other.map(Some),
        }
    }

    fn exactly(&self, sets: &[Params], stretch: Stretch) -> Result<Vec<Outcome>, LaunchError> {
        Runs::new(&self.config, &self.prepared, stretch).all(sets, self.threads, &self.control)
    }

    /// The best of each window's fast search once more by the event engine.
    fn verify(&self, sweep: &Sweep) -> Result<Vec<Verified>, LaunchError> {
        let mut verified = Vec::new();
        if sweep.plan().level != Level::Fast || self.verify_count == 0 {
            return Ok(verified);
        }
        for (window, parts) in sweep.plan().windows.iter().enumerate() {
            let best = sweep.best(window, self.verify_count);
            let sets: Vec<Params> = best.iter().map(|trial| sweep.plan().space.params(trial.point)).collect();
            let exact = match self.exactly(&sets, parts.train) {
                _ if self.control.stop.load(Ordering::Relaxed) => return Ok(verified),
                exact => exact?,
            };
            let both = best.iter().zip(exact);
            verified.extend(both.map(|(trial, exact)| Verified {
                window,
                point: trial.point,
                fast: trial.outcome,
                exact,
            }));
        }
        Ok(verified)
    }
}
