//! How fast the path from a market data frame to a signed order is, and what it allocates.
//!
//! `cargo bench -p keel-engine --bench hot_path [-- frame|events|loopback]` prints three tables:
//! frame in → signed order bytes; decoded events a second; the same path over a loopback WebSocket beside a bare echo.
//! With `--check` it fails where a figure misses its target by more than what a shared machine explains.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends where it cannot go on"
)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts its own peer thread")]
#![allow(missing_docs, reason = "a program, not a library")]

mod counting;
mod events;
mod frame;
mod loopback;
mod product;
mod setup;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut misses = Vec::new();
    if wants("frame") {
        frame::run(&mut misses);
    }
    if wants("events") {
        events::run(&mut misses);
    }
    if wants("loopback") {
        loopback::run(&mut misses);
    }
    for miss in &misses {
        println!("MISSED: {miss}");
    }
    assert!(misses.is_empty() || !arguments.iter().any(|word| word == "--check"), "targets were missed");
}
