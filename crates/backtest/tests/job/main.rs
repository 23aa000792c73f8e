//! Backtests over columns: exact answers against an independent count, what fills when on bars, several series, and what must
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers of its documentation")]
//! not happen.

mod bars;
mod desk;
mod golden;
mod lookahead;
mod perpetual;
mod series;
mod spot;
