//! Strategies on the fast level: the same outcomes as their rule's twin, and a reason wherever there is no kernel.

#[path = "../benches/support/golden_bars.rs"]
#[allow(dead_code, reason = "each file takes what it needs of them")]
mod golden_bars;

use keel_strategy::{Params, registry};
use keel_sweep::backend::{Control, CpuBackend, SweepBackend, cheapest};
use keel_sweep::fast::{Market, evaluate, kernel};
use keel_sweep::kernel::rule::FillAt;
use keel_sweep::kernel::run::Stretch;
use keel_sweep::kernel::scalar;
use keel_sweep::kernel::simd::Width;

const MARKET: Market = Market {
    cash: 10_000.0,
    fee: 0.0005,
    slippage: 0.0,
    quantity_step: 0.001,
    tick: 0.01,
    bar_s: 60,
    can_short: true,
    fill: FillAt::Close,
};

fn refused(name: &str, params: &Params, market: &Market) -> String {
    kernel(registry::find(name).unwrap(), params, market).unwrap_err().to_string()
}

#[test]
fn what_no_kernel_does_is_refused_with_the_setting_that_asks_for_it() {
    let params = Params::new;
    for (name, params, wanted) in [
        ("market-maker", params(), "no kernel of its own"),
        ("ema-cross", params().with("entry", "limit"), "entry = \"limit\""),
        ("ema-cross", params().with("bar_s", 300), "bar_s 300 over bars of 60 s"),
        ("ema-cross", params().with("bar_s", 60).with("exits.stop_loss_bps", 50), "section [exits]"),
        ("ema-cross-flip", params().with("input", "quotes"), "input = \"quotes\""),
        ("bollinger-breakout", params().with("squeeze_bps", 10), "squeeze_bps"),
        ("ema-cross", params().with("fast_bars_count", 0), "`0` is not a whole number"),
    ] {
        let cause = refused(name, &params, &MARKET);
        assert!(cause.contains(wanted), "{name}: {cause}");
    }
    let spot = Market { can_short: false, ..MARKET };
    assert!(refused("ema-cross-flip", &Params::new(), &spot).contains("sells short on a spot market"));
    let stray = kernel(registry::find("bollinger-breakout").unwrap(), &Params::new(), &spot).unwrap();
    assert_eq!(stray.terms.sides, keel_sweep::kernel::rule::Sides::LongOnly, "on spot it is long only");
}

#[test]
fn sets_of_different_sizes_are_evaluated_together_and_equal_their_twins() {
    let bars = golden_bars::bars(3_000);
    let strategy = registry::find("ema-cross").unwrap();
    let sets: Vec<Params> = (0..60)
        .map(|at| {
            let params = Params::new().with("bar_s", 60).with("fast_bars_count", 2 + at % 7);
            let params = params.with("slow_bars_count", 10 + at % 11).with("stop_loss_bps", (at % 3) * 20);
            params.with("order_notional_quote", 100 * (1 + at % 4))
        })
        .collect();
    let cpu = CpuBackend::with_width(Width::widest(), 2);
    let backends: [&dyn SweepBackend; 1] = [&cpu];
    let stretch = Stretch { from: 10, trade_from: 500, to: 2_900 };
    let outcomes = evaluate(strategy, &sets, &MARKET, (&bars, stretch), &backends, &Control::default()).unwrap();
    for (params, outcome) in sets.iter().zip(&outcomes) {
        let made = kernel(strategy, params, &MARKET).unwrap();
        let twin = scalar::run(&bars, stretch, &made.combination, &made.terms).unwrap();
        assert_eq!((outcome.orders, outcome.daily.days), (twin.orders, twin.daily.days), "{params:?}");
        assert!((outcome.total_return - twin.total_return).abs() < 1e-12, "{params:?}");
        assert!(outcome.orders > 20, "{params:?}");
    }
}

#[test]
fn the_device_with_the_least_expected_time_gets_the_job() {
    let bars = golden_bars::bars(100);
    let made = kernel(registry::find("ema-cross-flip").unwrap(), &Params::new(), &MARKET).unwrap();
    let combinations = vec![made.combination; 50];
    let job = keel_sweep::backend::Job {
        bars: &bars,
        stretch: Stretch::all(&bars),
        combinations: &combinations,
        terms: &made.terms,
    };
    assert_eq!(job.combination_bars(), 5_000);
    let (slow, quick) = (CpuBackend::with_width(Width::Scalar, 1), CpuBackend::with_width(Width::Avx2, 2));
    let chosen = cheapest(&[&slow, &quick], &job).unwrap();
    assert_eq!(chosen.name(), "cpu (avx2, 2 threads)");
    assert!(slow.seconds(&job) > quick.seconds(&job));
    assert!(cheapest(&[], &job).is_none());
}

#[test]
fn a_bar_that_just_touches_a_stop_on_the_tick_fills_it() {
    use keel_sweep::kernel::rule::Terms;
    use keel_sweep::kernel::walk::{exit_price, levels};
    let terms = Terms { tick: 0.01, ..Terms::new(1_000.0) };
    for cents in 1..200_000_i32 {
        // As files are read: the nearest number of the decimal text.
        let price = f64::from(cents) / 100.0;
        let (stop, _) = levels(&terms, (0.0, Some(price - 0.002), 0.0), -1.0, price);
        assert_eq!(stop, price, "a short's stop is rounded up to the tick");
        assert_eq!(exit_price(&terms, (stop, f64::NAN), -1.0, (price - 0.05, price, price - 0.05)), Some(price));
        let (stop, _) = levels(&terms, (0.0, Some(price + 0.002), 0.0), 1.0, price);
        assert_eq!(exit_price(&terms, (stop, f64::NAN), 1.0, (price + 0.05, price + 0.05, price)), Some(price));
    }
    let terms = Terms { tick: 5.0, ..terms };
    assert_eq!(levels(&terms, (0.0, Some(12.0), 0.0), -1.0, 10.0).0, 15.0);
}
