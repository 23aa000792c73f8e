//! Where kernels run: the processor here, other devices behind the same call.
//!
//! Contract of a backend: outcomes in the order of the combinations; counts exactly and figures to 1e-10 relative those of
//! [`crate::kernel::scalar`]; an error rather than a partial answer; memory of its own bounded, whatever the job (a job that is
//! too large is cut into pieces). A backend looks at [`Control::stop`] at least every second.

use crate::SweepError;
use crate::kernel::bars::Bars;
use crate::kernel::rule::{Combination, FillAt, Outcome, Sides, Size, Terms};
use crate::kernel::run::{Pace, Stretch, run};
use crate::kernel::simd::Width;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What is to be computed.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Prices.
    pub bars: &'a Bars,
    /// Which of them.
    pub stretch: Stretch,
    /// Sets of parameters.
    pub combinations: &'a [Combination],
    /// How all of them trade.
    pub terms: &'a Terms,
}

impl Job<'_> {
    /// Combinations times bars.
    #[must_use]
    pub const fn combination_bars(&self) -> u64 {
        (self.stretch.to - self.stretch.from) as u64 * self.combinations.len() as u64
    }
}

/// Between a job and who waits for it.
#[derive(Debug, Default)]
pub struct Control {
    /// Set: stop as soon as possible, with [`SweepError::Stopped`].
    pub stop: AtomicBool,
    /// Combination·bars done since the beginning.
    pub done: AtomicU64,
}

/// A device that runs kernels.
pub trait SweepBackend: Debug + Send + Sync {
    /// Name in reports, such as `cpu (avx512, 2 threads)`.
    fn name(&self) -> String;

    /// Cost model: wall seconds that the job is expected to take here, device start-up and transfers included; infinite for
    /// a job that this device cannot do. Cheap, and starts no device.
    fn seconds(&self, job: &Job<'_>) -> f64;

    /// Does the job.
    ///
    /// # Errors
    /// A job that cannot be done at all, a device that failed, [`SweepError::Stopped`].
    fn run(&self, job: &Job<'_>, control: &Control) -> Result<Vec<Outcome>, SweepError>;
}

/// The backend with the least expected time; the first of equals.
#[must_use]
pub fn cheapest<'a>(backends: &[&'a dyn SweepBackend], job: &Job<'_>) -> Option<&'a dyn SweepBackend> {
    let timed = backends.iter().map(|backend| (backend.seconds(job), *backend));
    timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, backend)| backend)
}

/// The processor.
#[derive(Clone, Copy, Debug)]
pub struct CpuBackend {
    /// Instructions to compare by.
    pub width: Width,
    /// Threads, at least one.
    pub threads: usize,
    /// Seconds for a combination·bar on one thread: crosses that go the short way, everything else.
    pub rates: [f64; 2],
}

impl CpuBackend {
    /// The widest instructions of the machine on so many threads; rates of a server core of 2023.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self::with_width(Width::widest(), threads)
    }

    /// The same with a width of one's choice.
    #[must_use]
    pub const fn with_width(width: Width, threads: usize) -> Self {
        let rates = match width {
            Width::Avx512 => [1.9e-10, 1.6e-9],
            Width::Avx2 => [2.2e-10, 1.8e-9],
            Width::Scalar => [4.6e-10, 2.5e-9],
        };
        Self { width, threads, rates }
    }
}

impl SweepBackend for CpuBackend {
    fn name(&self) -> String {
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        format!("cpu ({}, {threads})", self.width.name())
    }

    fn seconds(&self, job: &Job<'_>) -> f64 {
        let terms = job.terms;
        let is_short = terms.sides == Sides::LongOnly && terms.size == Size::AllIn && terms.fill == FillAt::Close;
        let [short, general] = self.rates;
        job.combination_bars() as f64 * if is_short { short } else { general } / self.threads.max(1) as f64
    }

    fn run(&self, job: &Job<'_>, control: &Control) -> Result<Vec<Outcome>, SweepError> {
        let pace = Pace { width: self.width, threads: self.threads, stop: &control.stop, done: &control.done };
        run(job.bars, job.stretch, job.combinations, job.terms, pace)
    }
}
