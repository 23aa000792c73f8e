//! Tests of the chunked side against a tree, with its own invariants checked at each step.

use super::*;
use std::collections::BTreeMap;

fn level(price: i64, quantity: i64) -> Level {
    Level { price: Price::new(price, 2).unwrap(), quantity: Quantity::new(quantity, 3).unwrap() }
}

fn check(side: &BookSide, model: &BTreeMap<i64, i64>) {
    let mut before = i64::MIN;
    let mut length = 0;
    assert_eq!((side.order.len(), side.order.len() + side.free.len()), (side.firsts.len(), side.chunks.len()));
    for (position, first) in side.firsts.iter().enumerate() {
        let chunk = side.chunk(position).unwrap();
        assert!((1..=CHUNK).contains(&chunk.length), "a chunk of {}", chunk.length);
        assert_eq!(chunk.keys().first(), Some(first));
        for key in chunk.keys() {
            assert!(*key > before, "{key} after {before}");
            before = *key;
        }
        length += chunk.length;
    }
    assert_eq!((length, side.iter().len()), (side.length, side.length));
    let expected = model.iter().map(|(price, quantity)| level(*price, *quantity));
    if side.sign > 0 {
        assert!(side.iter().eq(expected.rev()));
    } else {
        assert!(side.iter().eq(expected));
    }
    assert_eq!(side.best(), side.iter().next());
}

/// A generator of numbers that is the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end) as i64
    }
}

#[test]
fn a_side_that_grows_shrinks_and_grows_again_equals_a_tree() {
    for mut side in [BookSide::bids(), BookSide::asks()] {
        let (mut model, mut numbers) = (BTreeMap::new(), Numbers(42));
        for step in 0..3_000 {
            // Long phases of growth and of decay, some of them around one price.
            let (center, width) = if step % 1_000 < 700 { (10_000, 3_000) } else { (11_000, 50) };
            let is_decay = (step / 250) % 2 == 1;
            let changes: Vec<Level> = (0..numbers.below(40))
                .map(|_| {
                    let price = center + numbers.below(width);
                    let is_removal = numbers.below(10) < if is_decay { 8 } else { 2 };
                    let quantity = if is_removal { 0 } else { 1 + numbers.below(1_000) };
                    if quantity == 0 {
                        model.remove(&price);
                    } else {
                        model.insert(price, quantity);
                    }
                    level(price, quantity)
                })
                .collect();
            side.set_all(&changes).unwrap();
            if step % 7 == 0 {
                check(&side, &model);
            }
        }
        check(&side, &model);
        assert!(side.chunks.len() < 200, "{} chunks for {} levels", side.chunks.len(), side.length);
        for price in model.keys().copied().collect::<Vec<_>>() {
            side.set_all(&[level(price, 0)]).unwrap();
            model.remove(&price);
        }
        check(&side, &model);
        assert_eq!(side.best(), None);
    }
}

#[test]
fn a_snapshot_in_any_order_is_taken() {
    let mut numbers = Numbers(7);
    let mut side = BookSide::asks();
    let shuffled: Vec<Level> = (0..2_000).map(|at| level(1_000 + at * 7_919 % 2_000, 1 + numbers.below(9))).collect();
    let mut sorted = shuffled.clone();
    sorted.sort_by_key(|level| level.price);
    let model: BTreeMap<i64, i64> =
        sorted.iter().map(|level| (level.price.mantissa(), level.quantity.mantissa())).collect();
    for levels in [shuffled, sorted] {
        side.fill(&levels).unwrap();
        check(&side, &model);
    }
}

#[test]
fn finer_numbers_bring_the_whole_side_to_their_scale() {
    let mut side = BookSide::bids();
    let text =
        |price: &str, quantity: &str| Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() };
    side.fill(&[text("100", "3"), text("99", "1")]).unwrap();
    side.set_all(&[text("99.995", "0.25"), text("99.0", "0"), text("100.000", "2.5")]).unwrap();
    let expected = [text("100", "2.5"), text("99.995", "0.25")];
    assert!(side.iter().eq(expected));
    let huge = text("9000000000000000000", "1");
    assert_eq!(side.set_all(&[huge]), Err(DoesNotFit));
    side.fill(&[huge]).unwrap();
    assert_eq!(side.best(), Some(huge), "a snapshot starts anew");
}

#[test]
fn nothing_is_kept_from_before_when_chunks_are_used_again() {
    let mut side = BookSide::bids();
    for round in 0..50 {
        let levels: Vec<Level> = (0..300).map(|at| level(10_000 - at - round, 1 + at)).collect();
        side.fill(&levels).unwrap();
        assert!(side.iter().eq(levels.iter().copied()));
    }
    assert!(side.chunks.len() <= 300 / CHUNK_FILL + 1, "{} chunks", side.chunks.len());
}

fn set_row(side: &mut BookSide, price: i64, quantity: i64) {
    let key = price * side.sign;
    let ladder = side.ladder_mut().unwrap();
    if quantity == 0 {
        ladder.remove(key);
    } else {
        *ladder.entry(key).unwrap() = quantity;
    }
    side.bound_ladder();
}

#[test]
fn rows_and_deltas_keep_the_same_levels() {
    let mut numbers = Numbers(3);
    for (mut rows, mut deltas) in [(BookSide::bids(), BookSide::bids()), (BookSide::asks(), BookSide::asks())] {
        for step in 0..4_000 {
            let width = if step % 100 == 0 { 100_000 } else { 60 };
            let (price, quantity) = (200_000 + step / 3 + numbers.below(width), numbers.below(3));
            rows.take_scales(2, 3).unwrap();
            if step % 500 == 250 {
                rows.set_all(&[level(price, quantity)]).unwrap();
            } else {
                set_row(&mut rows, price, quantity);
            }
            deltas.set_all(&[level(price, quantity)]).unwrap();
            assert_eq!(rows.best(), deltas.best());
            if step % 50 == 0 {
                assert!(rows.iter().eq(deltas.iter()));
                assert_eq!(rows.iter().len(), deltas.iter().len());
            }
        }
        assert!(rows.ladder.is_some());
        assert_eq!(rows.take_scales(1, 3), None, "finer already");
        assert!(rows.ladder.is_none() && rows.iter().eq(deltas.iter()));
        rows.clear();
        rows.take_scales(1, 3).unwrap();
        for price in 1..=LEVELS_MAX as i64 + 5 {
            set_row(&mut rows, price, 1);
        }
        assert_eq!((rows.iter().len(), rows.evicted()), (LEVELS_MAX, 5));
    }
}
