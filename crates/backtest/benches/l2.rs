//! Speed of the market making job on L2 rows with a queue model: `cargo bench -p keel-backtest --bench l2`.
//!
//! CPU seconds of this thread from the first row to the last, on rows in memory; the best and the middle of the runs. The
//! answer is checked. `EVENTS=n` takes fewer events, `RUNS=n` more runs.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark")]

#[path = "../tests/l2/job.rs"]
mod job;

use job::*;

/// Time that this thread has spent on a processor. Unit: seconds.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn main() {
    let (events, runs) = (number("EVENTS", EVENTS), number("RUNS", 5).max(1));
    let rows = rows(events);
    let mut times = Vec::new();
    for _ in 0..runs {
        let begin = cpu_s();
        let (answer, report) = run(config(), &rows, TouchMaker::new());
        times.push(cpu_s() - begin);
        if times.len() == 1 {
            println!("{answer:?}, state {}", report.digest);
        }
        if events == EVENTS {
            assert_eq!(answer, Answer::new(103_987, 74_839, "-0.01", "298.777", "4485.8035942"));
        }
    }
    times.sort_by(f64::total_cmp);
    let (best, middle) = (times[0], times[runs / 2]);
    let rate = |seconds: f64| rows.rows().len() as f64 / seconds / 1e6;
    println!(
        "{} rows: best {best:.3} s = {:.1} M/s, middle {middle:.3} s = {:.1} M/s, of {runs} runs",
        rows.rows().len(),
        rate(best),
        rate(middle)
    );
}
