//! Command line, configuration, wiring, stop plan, exit code.
