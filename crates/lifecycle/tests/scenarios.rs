//! The stop of a real process under real signals: every scenario of the design's table.
//!
//! This binary has no libtest harness: started with `KEEL_STOP_SCENARIO` set it is the child that stops, otherwise it is
//! the test that starts the children and looks at their exit codes and last lines.

#[path = "scenarios/cases.rs"]
mod cases;
#[path = "scenarios/child.rs"]
mod child;
#[path = "scenarios/harness.rs"]
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::var(harness::SCENARIO) {
        Ok(scenario) => child::run(&scenario),
        Err(_) => harness::run(cases::CASES),
    }
}
