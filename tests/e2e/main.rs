//! The real binary, from the outside: what it prints, what it leaves, how it ends. Loopback only; every wait has a limit
//! that is far above what is expected, and none is a measurement.

mod backtest;
mod backtest_data;
mod bad_input;
mod bad_venue;
mod control;
mod data;
mod database;
mod download;
mod emergency;
mod escape;
mod harness;
mod interrupt;
mod journal;
mod live;
mod new_strategy;
mod operations;
mod output;
mod replay;
mod report;
mod run;
mod stop;
mod sweep;
