//! L2 market making with a queue model: the answers of hftbacktest, and one state on both ways through the engine.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod job;

use job::*;

#[test]
fn the_rows_are_those_of_the_golden_generator() {
    let rows = rows(20_000);
    assert!(rows.rows().len() > 20_000);
}

#[test]
fn trades_position_and_balance_are_those_of_hftbacktest() {
    let (answer, report) = run(config(), &rows(200_000), TouchMaker::new());
    println!("{answer:?} {:?}", report.recorded);
}
