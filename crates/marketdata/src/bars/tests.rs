//! Tests of the bar builder.

use super::*;
use proptest::prelude::*;

fn second(at: u64) -> Timestamp {
    Timestamp::from_ms(at * 1_000)
}
fn price(value: i64) -> Price {
    Price::from_int(value)
}
fn quantity(value: i64) -> Quantity {
    Quantity::from_int(value)
}

fn feed(builder: &mut BarBuilder, p: i64, q: i64, ts: Timestamp) -> Vec<Bar> {
    let mut closed = Vec::new();
    while let Some(bar) = builder.advance(ts) {
        closed.push(bar);
    }
    builder.add(price(p), quantity(q), ts).unwrap();
    closed
}

#[test]
fn a_bar_holds_open_high_low_close_and_volume_of_its_span() {
    let mut builder = BarBuilder::new(InstrumentId(3), Duration::from_secs(60)).unwrap();
    for (at, p) in [(61, 10), (62, 14), (100, 8), (119, 9)] {
        assert!(feed(&mut builder, p, 2, second(at)).is_empty());
    }
    assert!(!builder.current().unwrap().is_closed);
    let closed = feed(&mut builder, 20, 1, second(120));
    assert_eq!(closed.len(), 1);
    let bar = closed[0];
    assert_eq!((bar.ts_open, bar.ts_close), (second(60), second(120)));
    assert_eq!((bar.open, bar.high, bar.low, bar.close), (price(10), price(14), price(8), price(9)));
    assert_eq!((bar.volume, bar.is_closed, bar.instrument), (quantity(8), true, InstrumentId(3)));
    assert_eq!(builder.current().unwrap().open, price(20), "the next bar opens with its own first trade");
}

#[test]
fn silence_gives_flat_bars_so_that_indicators_keep_time() {
    let mut builder = BarBuilder::new(InstrumentId(0), Duration::from_secs(1)).unwrap();
    feed(&mut builder, 5, 1, second(10));
    let closed = feed(&mut builder, 7, 1, second(14));
    assert_eq!(closed.len(), 4);
    assert!(closed[1..].iter().all(|bar| bar.volume.is_zero() && bar.open == price(5) && bar.close == price(5)));
    assert!(closed.windows(2).all(|pair| pair[0].ts_close == pair[1].ts_open));
}

#[test]
fn a_long_silence_is_a_gap_and_is_not_filled_with_inventions() {
    let mut builder = BarBuilder::new(InstrumentId(0), Duration::from_secs(1)).unwrap();
    feed(&mut builder, 5, 1, second(10));
    let closed = feed(&mut builder, 7, 1, second(100_000));
    assert_eq!(closed.len(), 1, "only the bar that had a trade");
    assert_eq!(builder.current().unwrap().ts_open, second(100_000));
}

#[test]
fn lengths_that_do_not_divide_a_day_are_refused() {
    for interval in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(7), Duration::from_secs(172_800)]
    {
        assert_eq!(BarBuilder::new(InstrumentId(0), interval).unwrap_err(), BarError::Interval(interval));
    }
    for seconds in [1, 5, 60, 300, 900, 3_600, 14_400, 86_400] {
        assert!(BarBuilder::new(InstrumentId(0), Duration::from_secs(seconds)).is_ok(), "{seconds}");
    }
}

#[test]
fn impossible_prices_never_enter_a_bar() {
    let mut builder = BarBuilder::new(InstrumentId(0), Duration::from_secs(1)).unwrap();
    for (p, q) in [(0, 1), (-5, 1), (5, -1)] {
        assert!(matches!(builder.add(price(p), quantity(q), second(1)), Err(BarError::Impossible { .. })), "RC-16");
    }
    assert!(builder.current().is_none());
    builder.add(price(5), quantity(1), second(9)).unwrap();
    assert!(matches!(builder.add(price(5), quantity(1), second(8)), Err(BarError::Late { .. })));
}

proptest! {
    #[test]
    fn bars_never_overlap_and_lose_no_volume(steps in prop::collection::vec((0u64..4_000, 1i64..1_000, 0i64..50), 1..200)) {
        let mut builder = BarBuilder::new(InstrumentId(0), Duration::from_secs(5)).unwrap();
        let (mut now, mut total, mut seen) = (1_000_000u64, 0, 0);
        let mut last_close = Timestamp::ZERO;
        for (step, p, q) in steps {
            now += step;
            total += q;
            for bar in feed(&mut builder, p, q, Timestamp::from_ms(now)) {
                prop_assert!(bar.ts_open >= last_close && bar.low <= bar.open && bar.open <= bar.high);
                prop_assert!(bar.low <= bar.close && bar.close <= bar.high && bar.ts_close <= Timestamp::from_ms(now));
                last_close = bar.ts_close;
                seen += bar.volume.mantissa();
            }
        }
        prop_assert_eq!(seen + builder.current().unwrap().volume.mantissa(), total);
    }
}
