//! Command line, configuration, wiring, stop plan, exit code.

/// Files of market data through the live engine.
pub mod backtest;
pub mod cli;
pub mod config;
pub mod control;
pub mod data;
/// The verbs about the database.
pub mod database;
pub mod doctor;
/// Historical data into the catalogue.
pub mod download;
pub mod error;
pub mod health;
/// Verbs that end at once.
mod interrupt;
/// Looking at a journal, and the way out of a damaged one.
pub mod journal;
/// The strategies that can be run, with what can be set.
pub mod list_strategies;
pub mod logging;
pub mod logs;
/// Decisions with the future cut off.
pub mod lookahead;
/// A crate of the user's own.
pub mod new_strategy;
pub mod out;
/// What may be written over.
mod outputs;
pub mod plot;
pub mod record;
pub mod recording;
pub mod report;
pub mod resources;
pub mod restart;
pub mod run;
/// Settling an order where no bot runs.
pub mod settle;
/// Many sets of parameters over the same data.
pub mod sweep;
pub mod verbs;

/// Names of the strategies that block for ever or panic. Only debug builds know them: they test the escape path.
pub const TEST_STRATEGIES: [&str; 2] = ["stuck-for-tests", "panic-for-tests"];

use keel_lifecycle::ExitStatus;

/// The whole program with strategies of one's own: what `main` of such a program returns. They can be named in configuration
/// and run in backtest, sweep, paper and live like those of the house.
///
/// ```no_run
/// use keel_strategy::{Idle, StrategyInfo};
///
/// fn main() -> std::process::ExitCode {
///     let mine = StrategyInfo::new("mine", "does nothing", &[], |instrument, _| Ok(Box::new(Idle::new(instrument))));
///     keel_launcher::program(&[mine])
/// }
/// ```
#[must_use]
pub fn program(own: &[keel_strategy::StrategyInfo]) -> std::process::ExitCode {
    // First of all: a signal that comes before the handlers waits for them.
    keel_lifecycle::hold_signals();
    if let Err(error) = keel_strategy::registry::add(own) {
        out::note(&format!("error: {error}"));
        return ExitStatus::Failed.into();
    }
    // A panic here, such as of a library that gets no thread for the log, is a failure like any other: exit code 1. The hook
    // has told it.
    std::panic::catch_unwind(|| main_with(std::env::args_os())).map_or(std::process::ExitCode::FAILURE, Into::into)
}

/// Runs the program: outcome in, exit status out. Never panics on a closed pipe, never exits by itself.
#[must_use]
pub fn main_with(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitStatus {
    let status = match verbs::parse(arguments) {
        verbs::Parsed::Cli(cli) => match verbs::dispatch(*cli) {
            Ok(status) => status,
            Err(error) => {
                if error.is_final() {
                    restart::tell_parent_to_end(&error.to_string());
                }
                out::note(&format!("error: {error}"));
                ExitStatus::Failed
            }
        },
        verbs::Parsed::Shown(status) => status,
    };
    match out::stdout_error() {
        Some(error) if status == ExitStatus::Clean => {
            out::note(&format!("error: {error}"));
            ExitStatus::Failed
        }
        _ => status,
    }
}
