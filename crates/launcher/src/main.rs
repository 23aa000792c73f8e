//! The `launcher` binary: outcome in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: a signal that comes before the handlers waits for them.
    keel_lifecycle::hold_signals();
    // A panic here, such as of a library that gets no thread for the log, is a failure like any other: exit code 1. The hook
    // has told it.
    std::panic::catch_unwind(|| keel_launcher::main_with(std::env::args_os())).map_or(ExitCode::FAILURE, Into::into)
}
