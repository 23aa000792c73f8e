//! The `launcher` binary: outcome in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: a signal that comes before the handlers waits for them.
    keel_lifecycle::hold_signals();
    keel_launcher::main_with(std::env::args_os()).into()
}
