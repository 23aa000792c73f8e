//! Kernels against their scalar twin, combination by combination, for each width; and the published answers.

#[path = "../benches/support/golden_bars.rs"]
mod golden_bars;

use keel_sweep::SweepError;
use keel_sweep::kernel::bars::Bars;
use keel_sweep::kernel::rule::{Beginning, Combination, FillAt, Outcome, Rule, Sides, Size, Terms};
use keel_sweep::kernel::run::{PART_MAX, Pace, Stretch, run};
use keel_sweep::kernel::scalar;
use keel_sweep::kernel::series::Series;
use keel_sweep::kernel::simd::Width;
use std::sync::atomic::{AtomicBool, AtomicU64};

fn go(
    bars: &Bars,
    stretch: Stretch,
    combinations: &[Combination],
    terms: &Terms,
    width: Width,
    threads: usize,
) -> Vec<Outcome> {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    run(bars, stretch, combinations, terms, Pace { width, threads, stop: &stop, done: &done }).unwrap()
}

fn rules() -> Vec<Rule> {
    vec![
        Rule::SmaCross { fast: 3, slow: 9 },
        Rule::SmaCross { fast: 5, slow: 9 },
        Rule::SmaCross { fast: 1, slow: 700 },
        Rule::EmaCross { fast: 4, slow: 11 },
        Rule::EmaCross { fast: 12, slow: 60 },
        Rule::EmaFlip { fast: 3, slow: 8, first: 7, is_long_at_equal: true },
        Rule::EmaFlip { fast: 3, slow: 8, first: 11, is_long_at_equal: false },
        Rule::Rsi { period: 7, oversold: 30.0, overbought: 65.0 },
        Rule::Rsi { period: 14, oversold: 45.0, overbought: 50.0 },
        Rule::Bollinger { period: 20, width: 1.5 },
        Rule::Bollinger { period: 5, width: 0.0 },
        Rule::Breakout { entry: 30, exit: 10 },
        Rule::Breakout { entry: 2, exit: 5 },
    ]
}

fn combinations() -> Vec<Combination> {
    let exits = [(0.0, 0.0), (0.002, 0.0), (0.0, 0.003), (0.001, 0.001), (0.01, 0.04)];
    let with = |rule: Rule| exits.map(|(stop, target)| Combination { rule, stop, stop_at: None, target });
    let at =
        |rule: Rule| Combination { stop_at: Some(Series::band(20, 0.0)), target: 0.01, ..Combination::plain(rule) };
    rules().into_iter().flat_map(with).chain(rules().into_iter().map(at)).collect()
}

fn all_terms() -> Vec<Terms> {
    let mut all = Vec::new();
    for sides in [Sides::LongOnly, Sides::LongShort] {
        for size in [
            Size::AllIn,
            Size::Quantity(0.01),
            Size::Notional { value: 500.0, step: 0.0001 },
            // Far beyond the money: some are ruined.
            Size::Notional { value: 60_000.0, step: 0.0 },
        ] {
            for fill in [FillAt::Close, FillAt::NextOpen] {
                for beginning in [Beginning::AwaitCross, Beginning::AtOnce] {
                    let base = Terms::new(1_000.0);
                    let has_daily = fill == FillAt::Close;
                    all.push(Terms {
                        sides,
                        size,
                        fill,
                        beginning,
                        fee: 0.0005,
                        slippage: 0.0002,
                        tick: 0.01,
                        has_daily,
                        ..base
                    });
                }
            }
        }
    }
    all
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + b.abs())
}

fn same(a: &Outcome, b: &Outcome) -> bool {
    (a.orders, a.trades, a.wins, a.daily.days) == (b.orders, b.trades, b.wins, b.daily.days)
        && near(a.total_return, b.total_return)
        && near(a.max_drawdown, b.max_drawdown)
        && near(a.gross_profit, b.gross_profit)
        && near(a.gross_loss, b.gross_loss)
        && a.daily.powers.iter().zip(&b.daily.powers).all(|(a, b)| near(*a, *b))
        && near(a.daily.downside, b.daily.downside)
}

/// Three-hour bars, so that days and tiles end at different places.
fn bars(count: usize) -> Bars {
    let minutes = golden_bars::bars(count);
    let ts = minutes.ts_open_ns().iter().map(|ts| ts + (ts - minutes.ts_open_ns()[0]) * 179).collect();
    let of = |prices: &[f64]| prices.to_vec();
    Bars::new(ts, of(minutes.open()), of(minutes.high()), of(minutes.low()), of(minutes.close())).unwrap()
}

#[test]
fn each_rule_under_all_terms_equals_its_twin_for_each_width() {
    let bars = bars(1_700);
    let combinations = combinations();
    let (mut orders, mut ruined) = (0, 0);
    for terms in all_terms() {
        let twins: Vec<Outcome> = combinations
            .iter()
            .map(|combination| scalar::run(&bars, Stretch::all(&bars), combination, &terms).unwrap())
            .collect();
        for width in Width::ALL {
            let outcomes = go(&bars, Stretch::all(&bars), &combinations, &terms, width, 1);
            for ((outcome, twin), combination) in outcomes.iter().zip(&twins).zip(&combinations) {
                assert!(same(outcome, twin), "{width:?} {combination:?} {terms:?}\n{outcome:#?}\ntwin {twin:#?}");
                orders += outcome.orders;
                ruined += u32::from(outcome.max_drawdown <= -1.0);
            }
        }
    }
    assert!(orders > 100_000 && ruined > 100, "{orders} orders, {ruined} ruined: the test meets what it is about");
}

#[test]
fn lengths_around_a_tile_and_windows_longer_than_the_bars() {
    for count in [1, 2, 63, 64, 65, 511, 512, 513, 1_023, 1_024, 1_025] {
        let bars = bars(count);
        for terms in [all_terms()[0], all_terms()[21]] {
            let combinations = combinations();
            let outcomes = go(&bars, Stretch::all(&bars), &combinations, &terms, Width::widest(), 2);
            for (outcome, combination) in outcomes.iter().zip(&combinations) {
                let twin = scalar::run(&bars, Stretch::all(&bars), combination, &terms).unwrap();
                assert!(same(outcome, &twin), "{count} bars {combination:?}\n{outcome:#?}\ntwin {twin:#?}");
            }
        }
    }
}

#[test]
fn a_stretch_warms_up_before_it_trades() {
    let bars = bars(1_500);
    let stretch = Stretch { from: 100, trade_from: 777, to: 1_400 };
    for terms in [all_terms()[0], all_terms()[1], all_terms()[17], all_terms()[30]] {
        let combinations = combinations();
        let outcomes = go(&bars, stretch, &combinations, &terms, Width::widest(), 1);
        for (outcome, combination) in outcomes.iter().zip(&combinations) {
            let twin = scalar::run(&bars, stretch, combination, &terms).unwrap();
            assert!(same(outcome, &twin), "{combination:?} {terms:?}\n{outcome:#?}\ntwin {twin:#?}");
        }
    }
}

#[test]
fn width_threads_and_order_change_no_bit() {
    let bars = bars(1_200);
    let pair = |at: usize| Combination::plain(Rule::SmaCross { fast: 1 + at % 97, slow: 2 + at % 89 });
    let combinations: Vec<_> = (0..PART_MAX + 500).map(pair).collect();
    let terms = Terms { fee: 0.001, has_daily: true, ..Terms::new(100.0) };
    let expected = go(&bars, Stretch::all(&bars), &combinations, &terms, Width::Scalar, 1);
    for width in Width::ALL {
        assert_eq!(go(&bars, Stretch::all(&bars), &combinations, &terms, width, 3), expected);
    }
    let turned: Vec<_> = combinations.iter().rev().copied().collect();
    let outcomes = go(&bars, Stretch::all(&bars), &turned, &terms, Width::widest(), 2);
    assert!(outcomes.into_iter().rev().eq(expected));
}

#[test]
fn published_answers_of_a_thousand_pairs_over_a_hundred_thousand_bars() {
    let bars = golden_bars::bars(100_000);
    let (fast, slow) = golden_bars::grid(1_000);
    let pair = |fast: usize, slow: usize| Combination::plain(Rule::SmaCross { fast, slow });
    let combinations: Vec<_> = fast.iter().flat_map(|f| slow.iter().map(move |s| pair(*f, *s))).collect();
    let terms = Terms { fee: 0.001, ..Terms::new(100.0) };
    let outcomes = go(&bars, Stretch::all(&bars), &combinations, &terms, Width::widest(), 2);
    assert_eq!(outcomes.iter().map(|o| u64::from(o.orders)).sum::<u64>(), 1_142_463);
    let total: f64 = outcomes.iter().map(|o| o.total_return).sum();
    assert!((total - -657.167_173_820_9).abs() < 1e-9, "{total}");
}

#[test]
fn bad_bars_terms_and_rules_are_refused_and_say_why() {
    let one = |price: f64| Bars::new(vec![0], vec![1.0], vec![1.0], vec![price], vec![1.0]);
    for price in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = one(price).unwrap_err();
        assert!(matches!(error, SweepError::BadPrice { at: 0, what: "low", .. }), "{error}");
    }
    assert!(matches!(Bars::new(vec![], vec![], vec![], vec![], vec![]), Err(SweepError::NoBars)));
    let bars = one(1.0).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let pace = Pace { width: Width::Scalar, threads: 1, stop: &stop, done: &done };
    let run_with = |combination, terms: Terms| run(&bars, Stretch::all(&bars), &[combination], &terms, pace);
    let plain = Combination::plain(Rule::SmaCross { fast: 1, slow: 2 });
    let error = |result: Result<Vec<Outcome>, SweepError>| result.unwrap_err().to_string();
    assert!(error(run_with(plain, Terms { fee: 1.0, ..Terms::new(1.0) })).contains("fee of 1"));
    assert!(error(run_with(plain, Terms::new(f64::NAN))).contains("money of NaN"));
    assert!(error(run_with(Combination { stop: 1.0, ..plain }, Terms::new(1.0))).contains("below 1"));
    let zero = Combination::plain(Rule::EmaCross { fast: 0, slow: 2 });
    assert!(error(run_with(zero, Terms::new(1.0))).contains("window of 0 bars"));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(run_with(plain, Terms::new(1.0)), Err(SweepError::Stopped)));
}
