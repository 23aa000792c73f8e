//! The `launcher` binary: the strategies of the house and nothing else; outcome in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    keel_launcher::program(&[])
}
