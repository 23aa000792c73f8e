//! The `launcher` binary: outcome in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    keel_launcher::main_with(std::env::args_os()).into()
}
