//! Command line, configuration, wiring, stop plan, exit code.

pub mod cli;
pub mod config;
pub mod control;
/// The verbs about the database.
pub mod database;
pub mod error;
/// Looking at a journal, and the way out of a damaged one.
pub mod journal;
pub mod logging;
pub mod out;
pub mod recording;
pub mod report;
pub mod restart;
pub mod run;
/// Settling an order where no bot runs.
pub mod settle;
pub mod verbs;

/// Names of the strategies that block for ever or panic. Only debug builds know them: they test the escape path.
pub const TEST_STRATEGIES: [&str; 2] = ["stuck-for-tests", "panic-for-tests"];

use keel_lifecycle::ExitStatus;

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
