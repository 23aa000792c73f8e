//! Tests of the order book: sequence rules, data that cannot be, and a naive model.

use super::*;
use keel_model::Quantity;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ID: InstrumentId = InstrumentId(0);

fn level(price: i64, quantity: i64) -> Level {
    Level { price: Price::new(price, 2).unwrap(), quantity: Quantity::new(quantity, 3).unwrap() }
}
fn levels(of: &[(i64, i64)]) -> Vec<Level> {
    of.iter().map(|(price, quantity)| level(*price, *quantity)).collect()
}
fn snapshot(last: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> BookSnapshot {
    BookSnapshot { last_update_id: last, bids: levels(bids), asks: levels(asks), ..BookSnapshot::default() }
}
fn delta(first: u64, last: u64, previous: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> BookDelta {
    BookDelta {
        first_update_id: first,
        last_update_id: last,
        previous_update_id: previous,
        bids: levels(bids),
        asks: levels(asks),
        ..BookDelta::default()
    }
}
fn top(update_id: u64, bid: (i64, i64), ask: (i64, i64)) -> TopOfBook {
    TopOfBook {
        instrument: ID,
        ts_event: Timestamp::ZERO,
        ts_recv: Timestamp::from_ms(update_id),
        update_id,
        bid: level(bid.0, bid.1),
        ask: level(ask.0, ask.1),
    }
}
fn book() -> OrderBook {
    let mut book = OrderBook::new(ID);
    book.apply_snapshot(&snapshot(100, &[(1000, 5), (990, 7)], &[(1010, 4), (1020, 6)])).unwrap();
    book
}
fn sides(book: &OrderBook) -> (Vec<Level>, Vec<Level>) {
    (book.bids().collect(), book.asks().collect())
}

#[test]
fn a_snapshot_and_deltas_make_the_book() {
    let mut book = book();
    assert!(book.is_live());
    let applied = book.apply_delta(&delta(95, 105, 0, &[(1000, 0), (995, 3)], &[(1010, 9)])).unwrap();
    assert_eq!(applied, Applied::Yes);
    assert_eq!(sides(&book), (levels(&[(995, 3), (990, 7)]), levels(&[(1010, 9), (1020, 6)])));
    assert_eq!(book.spread(), Some(Price::new(15, 2).unwrap()));
    assert!((book.mid().unwrap() - 10.025).abs() < 1e-9);
    assert_eq!(book.update_id(), 105);
    book.apply_delta(&delta(106, 106, 0, &[(995, 0), (990, 0)], &[])).unwrap();
    assert_eq!((book.best_bid(), book.mid(), book.spread()), (None, None, None));
    assert!(book.is_live(), "an empty side is not an error");
}

#[test]
fn spot_deltas_must_follow_on_by_first_update_id() {
    let mut book = book();
    assert_eq!(book.apply_delta(&delta(90, 100, 0, &[(1000, 1)], &[])), Ok(Applied::Outdated));
    assert_eq!(book.best_bid(), Some(level(1000, 5)), "what the snapshot holds already is not applied again");
    book.apply_delta(&delta(99, 101, 0, &[], &[])).unwrap();
    book.apply_delta(&delta(102, 110, 0, &[], &[])).unwrap();
    let gap = book.apply_delta(&delta(112, 115, 0, &[], &[])).unwrap_err();
    let expected =
        SequenceGap { book_update_id: 110, first_update_id: 112, last_update_id: 115, previous_update_id: 0 };
    assert_eq!(gap, BookError::Gap(expected), "N-13");
    assert_eq!(book.state(), BookState::Broken);
    assert!(book.apply_delta(&delta(111, 120, 0, &[], &[])).is_err(), "a broken book waits for a snapshot");
    book.apply_snapshot(&snapshot(118, &[(1000, 1)], &[(1010, 1)])).unwrap();
    book.apply_delta(&delta(116, 120, 0, &[], &[])).unwrap();
    assert!(book.is_live());
    assert_eq!(book.error_count(), 2);
}

#[test]
fn a_first_delta_that_does_not_reach_back_to_the_snapshot_is_a_gap() {
    let mut book = book();
    assert!(matches!(book.apply_delta(&delta(102, 110, 0, &[], &[])), Err(BookError::Gap(_))));
    let mut late = OrderBook::new(ID);
    assert_eq!(late.apply_delta(&delta(1, 2, 0, &[], &[])), Err(BookError::NoSnapshot));
    assert_eq!(late.state(), BookState::Empty);
}

#[test]
fn futures_deltas_must_follow_on_by_previous_update_id() {
    let mut book = book();
    book.apply_delta(&delta(97, 108, 93, &[], &[])).unwrap();
    book.apply_delta(&delta(115, 120, 108, &[], &[])).unwrap();
    assert!(matches!(book.apply_delta(&delta(121, 130, 119, &[], &[])), Err(BookError::Gap(_))));
    let mut exact = self::book();
    exact.apply_delta(&delta(140, 150, 100, &[], &[])).unwrap();
    let mut gapped = self::book();
    assert!(gapped.apply_delta(&delta(140, 150, 130, &[], &[])).is_err());
}

#[test]
fn the_newer_of_depth_and_top_of_book_is_the_best_price() {
    let mut book = book();
    book.apply_top(&top(103, (1001, 2), (1009, 3))).unwrap();
    assert_eq!((book.best_bid(), book.best_ask()), (Some(level(1001, 2)), Some(level(1009, 3))));
    assert_eq!(book.apply_top(&top(102, (900, 2), (1009, 3))), Ok(Applied::Outdated));
    assert_eq!(book.bids().next(), Some(level(1000, 5)), "the depth is not touched");
    book.apply_delta(&delta(101, 104, 0, &[(1002, 1)], &[])).unwrap();
    assert_eq!((book.best_bid(), book.best_ask()), (Some(level(1002, 1)), Some(level(1010, 4))));
    assert_eq!(book.ts_recv(), Timestamp::from_ms(103));
}

#[test]
fn a_book_of_tops_alone_needs_no_snapshot_and_no_ids() {
    let mut book = OrderBook::new(ID);
    book.apply_top(&top(0, (1000, 1), (1010, 1))).unwrap();
    assert!(book.is_live());
    book.apply_top(&top(0, (1003, 1), (0, 0))).unwrap();
    assert_eq!((book.best_bid(), book.best_ask()), (Some(level(1003, 1)), None));
    book.reset();
    assert_eq!((book.state(), book.best_bid()), (BookState::Empty, None));
}

#[test]
fn data_that_cannot_be_is_refused_rc_16() {
    let impossible = [(-1, 5), (0, 5), (1000, -5)];
    for bad in impossible {
        let mut broken = book();
        let error = broken.apply_delta(&delta(101, 101, 0, &[bad], &[])).unwrap_err();
        assert!(matches!(error, BookError::ImpossibleLevel(_)), "{error}");
        assert_eq!(broken.state(), BookState::Broken);
        let mut topped = book();
        assert!(topped.apply_top(&top(101, bad, (1010, 1))).is_err());
        assert!(topped.is_live() && topped.best_bid() == Some(level(1000, 5)), "a bad top leaves the book as it is");
        assert!(OrderBook::new(ID).apply_snapshot(&snapshot(1, &[bad], &[])).is_err());
    }
}

#[test]
fn crossed_and_locked_books_are_not_decided_on() {
    for (bid, ask) in [(1010, 1010), (1011, 1010)] {
        let mut crossed = book();
        assert!(matches!(crossed.apply_delta(&delta(101, 101, 0, &[(bid, 1)], &[])), Err(BookError::Crossed { .. })));
        assert!(!crossed.is_live());
        assert!(matches!(book().apply_top(&top(101, (bid, 1), (ask, 1))), Err(BookError::Crossed { .. })));
        let mut fresh = OrderBook::new(ID);
        assert!(fresh.apply_snapshot(&snapshot(1, &[(bid, 1)], &[(ask, 1)])).is_err());
        assert!(!fresh.is_live());
    }
}

#[test]
fn a_tenfold_jump_is_not_believed() {
    let mut jumped = book();
    assert!(matches!(jumped.apply_top(&top(101, (10_020, 1), (10_200, 1))), Err(BookError::Jump { .. })), "V-25");
    assert!(jumped.is_live());
    jumped.apply_top(&top(102, (9_000, 1), (9_010, 1))).expect("ninefold is wild but possible");
    let mut fallen = book();
    let far = delta(101, 101, 0, &[(1000, 0), (990, 0), (90, 1)], &[(1010, 0), (1020, 0), (95, 1)]);
    assert!(matches!(fallen.apply_delta(&far), Err(BookError::Jump { .. })));
    assert!(!fallen.is_live());
    fallen.apply_snapshot(&snapshot(300, &[(90, 1)], &[(95, 1)])).expect("a snapshot is believed");
}

#[test]
fn a_full_side_gives_up_its_farthest_level() {
    let mut book = OrderBook::new(ID);
    let deep: Vec<_> = (0..LEVELS_MAX as i64).map(|at| (1_000_000 - at, 1)).collect();
    book.apply_snapshot(&snapshot(1, &deep, &[(1_000_010, 1)])).unwrap();
    book.apply_delta(&delta(2, 2, 0, &[(1_000_005, 2), (1_000_005 - 20_000, 3)], &[])).unwrap();
    let (bids, _) = sides(&book);
    assert_eq!((bids.len(), book.evicted_count()), (LEVELS_MAX, 2));
    assert_eq!(bids[0], level(1_000_005, 2));
    assert_eq!(bids.last(), Some(&level(1_000_000 - LEVELS_MAX as i64 + 2, 1)));
    assert!(bids.windows(2).all(|pair| pair[0].price > pair[1].price));
}

proptest! {
    #[test]
    fn whatever_comes_the_book_never_panics_and_a_live_one_is_sound(
        steps in prop::collection::vec((0u8..4, any::<[u64; 3]>(), prop::collection::vec((any::<i64>(), any::<i64>(), 0u8..=18), 0..6)), 0..30),
    ) {
        let mut book = OrderBook::new(ID);
        for (kind, ids, raw) in steps {
            let small = |id: u64| if id.is_multiple_of(3) { id } else { id % 5 };
            let levels: Vec<Level> = raw
                .iter()
                .map(|(price, quantity, scale)| Level {
                    price: Price::new(*price, *scale).unwrap(),
                    quantity: Quantity::new(*quantity, 18 - *scale).unwrap(),
                })
                .collect();
            let (bids, asks) = levels.split_at(levels.len() / 2);
            let _refused = match kind {
                0 => book.apply_snapshot(&BookSnapshot {
                    last_update_id: small(ids[0]),
                    bids: bids.to_vec(),
                    asks: asks.to_vec(),
                    ..BookSnapshot::default()
                }),
                1 => book.apply_delta(&BookDelta {
                    first_update_id: small(ids[0]),
                    last_update_id: small(ids[1]),
                    previous_update_id: small(ids[2]),
                    bids: bids.to_vec(),
                    asks: asks.to_vec(),
                    ..BookDelta::default()
                }),
                2 => book.apply_top(&TopOfBook {
                    update_id: small(ids[0]),
                    bid: bids.first().copied().unwrap_or_default(),
                    ask: asks.first().copied().unwrap_or_default(),
                    ..top(1, (1, 1), (2, 1))
                }),
                _ => {
                    book.reset();
                    Ok(Applied::Yes)
                }
            };
            if book.is_live() {
                let (bids, asks): (Vec<_>, Vec<_>) = sides(&book);
                prop_assert!(bids.windows(2).all(|pair| pair[0].price > pair[1].price));
                prop_assert!(asks.windows(2).all(|pair| pair[0].price < pair[1].price));
                prop_assert!(bids.iter().chain(&asks).all(|level| level.price.is_positive() && level.quantity.is_positive()));
                if let (Some(bid), Some(ask)) = (bids.first(), asks.first()) {
                    prop_assert!(bid.price < ask.price);
                }
                if let (Some(bid), Some(ask)) = (book.best_bid(), book.best_ask()) {
                    prop_assert!(bid.price < ask.price, "{bid:?} {ask:?}");
                }
            }
        }
    }
}

/// A book as a textbook writes it.
#[derive(Default)]
struct Naive {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl Naive {
    fn set(side: &mut BTreeMap<i64, i64>, price: i64, quantity: i64) {
        if quantity == 0 {
            side.remove(&price);
        } else {
            side.insert(price, quantity);
        }
    }
    fn sides(&self) -> (Vec<Level>, Vec<Level>) {
        let bids = self.bids.iter().rev().map(|(price, quantity)| level(*price, *quantity)).collect();
        (bids, self.asks.iter().map(|(price, quantity)| level(*price, *quantity)).collect())
    }
}

type Changes = Vec<(i64, i64)>;

fn changes(prices: std::ops::Range<i64>) -> impl Strategy<Value = Changes> {
    prop::collection::vec((prices, prop_oneof![Just(0), 1i64..50]), 0..25)
}

proptest! {
    #[test]
    fn the_book_equals_a_naive_model(
        first in (changes(900..1000), changes(1000..1100)),
        steps in prop::collection::vec((changes(900..1000), changes(1000..1100)), 0..40),
        rescale in 0u8..3,
    ) {
        let (mut book, mut naive) = (OrderBook::new(ID), Naive::default());
        let mut start = snapshot(10, &first.0, &first.1);
        // Venues pad their numbers; equal prices of unequal scale are one level.
        for level in start.bids.iter_mut().chain(&mut start.asks) {
            level.price = level.price.rescale(2 + rescale).unwrap();
        }
        book.apply_snapshot(&start).unwrap();
        for (id, (bids, asks)) in (10..).zip(std::iter::once(first).chain(steps)) {
            if id > 10 {
                book.apply_delta(&delta(id, id, 0, &bids, &asks)).unwrap();
            }
            bids.iter().for_each(|(price, quantity)| Naive::set(&mut naive.bids, *price, *quantity));
            asks.iter().for_each(|(price, quantity)| Naive::set(&mut naive.asks, *price, *quantity));
            prop_assert_eq!(sides(&book), naive.sides());
            prop_assert_eq!(book.best_bid(), naive.sides().0.first().copied());
            prop_assert_eq!(book.best_ask(), naive.sides().1.first().copied());
        }
    }
}

#[test]
fn a_fallen_last_price_is_believed_and_one_that_cannot_be_is_not() {
    let mut book = OrderBook::new(ID);
    for (price, ms) in [(5_000_000, 1), (100_000, 2), (100_000, 3), (9_000_000, 4)] {
        let last = level(price, 1);
        let applied = book.apply_last(last.price, last.quantity, Timestamp::from_ms(ms), Timestamp::from_ms(ms));
        assert_eq!((applied, book.best_bid()), (Ok(Applied::Yes), Some(last)));
    }
    let at = Timestamp::from_ms(5);
    assert!(book.apply_last(Price::ZERO, Quantity::from_int(1), at, at).is_err());
    assert_eq!(book.best_bid(), Some(level(9_000_000, 1)));
}
