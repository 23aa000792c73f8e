//! SMA cross, long only, all in, fee 0.1 %, 100,000 bars × 1,000 and 10,000 pairs: the answers, then pair·bars per CPU second.
//!
//! `cargo bench -p keel-sweep --bench sma_cross [-- scalar|avx2|avx512]`; a wrong answer is a panic.

#[path = "support/golden_bars.rs"]
mod golden_bars;
use keel_sweep::kernel::bars::Bars;
use keel_sweep::kernel::rule::{Combination, Rule, Sides, Size, Terms};
use keel_sweep::kernel::run::{Pace, Stretch, run};
use keel_sweep::kernel::simd::Width;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// CPU seconds of all threads of this process so far.
fn cpu_seconds() -> f64 {
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0)
    };
    std::fs::read_dir("/proc/self/task").expect("/proc").flatten().map(of).sum::<f64>() / 1e9
}

fn peak_rss_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("kB") / 1024.0
}

fn main() {
    const BARS: usize = 100_000;
    const RUNS: usize = 5;
    let wanted = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    let bars = golden_bars::bars(BARS);
    for (pairs, orders, returns, drawdowns) in [
        (1_000, 1_142_463, -657.167_173_820_9, None),
        (10_000, 5_573_336, -4_381.254_676_078_6, Some(-4_491.450_664_058_1)),
    ] {
        let (fast, slow) = golden_bars::grid(pairs);
        let pair = |fast: usize, slow: usize| Combination::plain(Rule::SmaCross { fast, slow });
        let combinations: Vec<_> = fast.iter().flat_map(|f| slow.iter().map(move |s| pair(*f, *s))).collect();
        for has_daily in [false, true] {
            let terms = Terms { fee: 0.001, has_daily, ..Terms::new(100.0) };
            for width in Width::ALL.into_iter().filter(|width| width.is_supported()) {
                if wanted.as_ref().is_some_and(|wanted| wanted != width.name()) {
                    continue;
                }
                let mut seconds = Vec::new();
                for _ in 0..RUNS {
                    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
                    let pace = Pace { width, threads: 1, stop: &stop, done: &done };
                    let begin = cpu_seconds();
                    let outcomes = run(&bars, Stretch::all(&bars), &combinations, &terms, pace).expect("a sweep");
                    seconds.push(cpu_seconds() - begin);
                    assert_eq!(outcomes.iter().map(|o| u64::from(o.orders)).sum::<u64>(), orders, "orders");
                    let total: f64 = outcomes.iter().map(|o| o.total_return).sum();
                    assert!((total / returns - 1.0).abs() < 1e-12, "returns {total}");
                    let deepest: f64 = outcomes.iter().map(|o| o.max_drawdown).sum();
                    assert!(drawdowns.is_none_or(|d: f64| (deepest / d - 1.0).abs() < 1e-12), "drawdowns {deepest}");
                }
                seconds.sort_by(f64::total_cmp);
                let median = seconds[RUNS / 2];
                println!(
                    "{pairs:>6} pairs  {:<7} daily {has_daily:<5}  {median:.4} CPU s  {:.2} G pair·bars/CPU s  peak RSS {:.0} MiB",
                    width.name(),
                    (BARS * pairs) as f64 / median / 1e9,
                    peak_rss_mib(),
                );
            }
        }
    }
    families(&bars);
}

/// Speed of the other rules, long and short under a stop and a target, which go the general way.
fn families(bars: &Bars) {
    let grid = |rule: fn(usize, usize) -> Rule| -> Vec<Combination> {
        let exits = |rule| Combination { rule, stop: 0.02, stop_at: None, target: 0.04 };
        (5..45).flat_map(|a| (50..100).map(move |b| exits(rule(a, b)))).collect()
    };
    for (name, combinations) in [
        ("EMA cross", grid(|fast, slow| Rule::EmaCross { fast, slow })),
        ("RSI", grid(|a, b| Rule::Rsi { period: 2 + b / 5, oversold: a as f64, overbought: 100.0 - a as f64 })),
        ("Bollinger", grid(|a, b| Rule::Bollinger { period: b, width: a as f64 / 10.0 })),
        ("breakout", grid(|exit, entry| Rule::Breakout { entry, exit })),
    ] {
        let terms = Terms {
            fee: 0.001,
            sides: Sides::LongShort,
            size: Size::Notional { value: 50.0, step: 0.0 },
            has_daily: true,
            ..Terms::new(100.0)
        };
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let pace = Pace { width: Width::widest(), threads: 1, stop: &stop, done: &done };
        let begin = cpu_seconds();
        let outcomes = run(bars, Stretch::all(bars), &combinations, &terms, pace).expect("a sweep");
        let spent = cpu_seconds() - begin;
        let orders: u64 = outcomes.iter().map(|o| u64::from(o.orders)).sum();
        let speed = (bars.len() * combinations.len()) as f64 / spent / 1e9;
        println!(
            "{name:<10} long/short, stop, target  {orders:>9} orders  {spent:.4} CPU s  {speed:.2} G combination·bars/CPU s"
        );
    }
}
