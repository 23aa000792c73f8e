//! The `launcher` binary: outcome in, exit code out.
fn main() {}
