//! The six phases: what a launcher does while it is struck, and what was done before.

use crate::error::CrashError;
use crate::place::{Place, Run};
use rustix::process::Signal;
use std::time::Duration;

/// Quotes at the touch, moved often: many fills, many cancels.
const BUSY: &str = "[market_maker]\nquote_notional_quote = \"200\"\nlevels_count = 3\nhalf_spread_bps = 0.0\n\
    level_step_bps = 0.2\nrequote_bps = 0.2\nrequote_interval_ms = 20\n";
/// Quotes far from the market that stay: submits only.
const FAR: &str = "[market_maker]\nquote_notional_quote = \"200\"\nlevels_count = 4\nhalf_spread_bps = 20.0\n\
    level_step_bps = 5.0\nrequote_bps = 500.0\nrequote_interval_ms = 20\n";
/// Quotes far from the market that follow each tick of it: submits and cancels.
const RESTLESS: &str = "[market_maker]\nquote_notional_quote = \"200\"\nlevels_count = 2\nhalf_spread_bps = 20.0\n\
    level_step_bps = 5.0\nrequote_bps = 0.0\nrequote_interval_ms = 20\n";
/// Trades nothing.
const IDLE: &str = "[strategy]\nnames = [\"idle\"]\n";
/// Longest wait for a run that prepares a phase.
const PREPARE_LIMIT: Duration = Duration::from_secs(60);

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Orders are placed, into an empty journal.
    Submit,
    /// Orders are filled.
    Fill,
    /// Orders are cancelled, one by one and all at the end.
    Cancel,
    /// A start after a kill in mid-trade, with open orders and fills that nobody was told of.
    Boot,
    /// Orders are cancelled and positions closed at the end.
    Shutdown,
    /// A start on a journal that has been written by several runs: what is known is summed up.
    Snapshot,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Submit, Self::Fill, Self::Cancel, Self::Boot, Self::Shutdown, Self::Snapshot];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Fill => "fill",
            Self::Cancel => "cancel",
            Self::Boot => "boot",
            Self::Shutdown => "shutdown",
            Self::Snapshot => "snapshot",
        }
    }

    /// Finds one by its name.
    pub fn find(name: &str) -> Result<Self, CrashError> {
        Self::ALL.into_iter().find(|it| it.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            CrashError::Usage(format!("there is no phase '{name}'; choose one of {names}"))
        })
    }

    /// The run that is struck.
    #[must_use]
    pub fn run(self) -> Run {
        match self {
            Self::Submit => run(FAR, "0.3", "keep"),
            Self::Fill => run(BUSY, "0.5", "cancel-entries"),
            Self::Cancel => run(RESTLESS, "0.35", "cancel-all"),
            Self::Boot => run(IDLE, "0.25", "keep"),
            Self::Shutdown => run(BUSY, "0.3", "flatten"),
            Self::Snapshot => run(IDLE, "0.25", "cancel-all"),
        }
    }

    /// What happens before, on the same venue and journal.
    pub fn prepare(self, place: &Place) -> Result<(), CrashError> {
        match self {
            Self::Submit | Self::Fill | Self::Cancel => Ok(()),
            Self::Boot => killed_in_mid_trade(place),
            Self::Shutdown => ended(place, "before", &run(BUSY, "0.25", "keep")),
            Self::Snapshot => {
                ended(place, "before-1", &run(BUSY, "0.2", "cancel-entries"))?;
                ended(place, "before-2", &run(BUSY, "0.2", "keep"))
            }
        }
    }
}

fn run(config: &str, duration: &str, on_exit: &str) -> Run {
    let arguments = ["--duration", duration, "--on-exit", on_exit].map(str::to_owned).to_vec();
    Run { arguments, config: config.to_owned(), data: None }
}

/// The run after a strike: it trades nothing, and cancels what is open. Longer runs see the fence of an order pass that may
/// never have left.
#[must_use]
pub fn recovery(duration: &str) -> Run {
    run(IDLE, duration, "cancel-all")
}

/// A run that trades much until it is ended from outside.
#[must_use]
pub fn busy() -> Run {
    let arguments = ["--infinite", "--on-exit", "cancel-entries"].map(str::to_owned).to_vec();
    Run { arguments, config: BUSY.to_owned(), data: None }
}

fn ended(place: &Place, name: &str, run: &Run) -> Result<(), CrashError> {
    let running = place.launch(name, run, None)?;
    let path = running.stderr.clone();
    let ended = running.wait(PREPARE_LIMIT)?;
    if ended.code == Some(0) {
        return Ok(());
    }
    Err(CrashError::Setup { what: format!("the run before the strike ended with {ended:?}"), path })
}

fn killed_in_mid_trade(place: &Place) -> Result<(), CrashError> {
    let mut running = place.launch("before", &busy(), None)?;
    if !running.until("trading: ready", PREPARE_LIMIT) {
        return Err(CrashError::Setup {
            what: "the run before the strike never traded".into(),
            path: running.stderr.clone(),
        });
    }
    std::thread::sleep(Duration::from_millis(250));
    running.signal(Signal::KILL);
    running.wait(PREPARE_LIMIT)?;
    Ok(())
}
