//! What adds up and what does not, with trades around the moment of the report.

use super::*;

const LAG: Duration = Duration::from_secs(10);

fn asset(text: &str) -> Asset {
    Asset::new(text).unwrap()
}

fn money(text: &str) -> Notional {
    text.parse().unwrap()
}

fn ms(value: u64) -> Timestamp {
    Timestamp::from_ms(1_700_000_000_000 + value)
}

/// A ledger that was told 100 at the time zero.
fn told() -> BalanceLedger {
    let mut ledger = BalanceLedger::default();
    report(&mut ledger, "100", 0);
    assert_eq!(ledger.look(asset("USDT"), LAG), Ok(Look::First { total: money("100") }));
    ledger
}

fn report(ledger: &mut BalanceLedger, total: &str, at: u64) {
    let balance = Balance { asset: asset("USDT"), free: money(total), locked: Notional::ZERO };
    ledger.note_report(&[balance], ms(at));
}

fn look(ledger: &mut BalanceLedger, total: &str, at: u64) -> Look {
    report(ledger, total, at);
    ledger.look(asset("USDT"), LAG).unwrap()
}

#[test]
fn v_21_a_balance_adds_up_to_the_last_unit_with_fees_and_rebates() {
    let mut ledger = told();
    ledger.add(asset("USDT"), money("-12.34567891"), ms(10)).unwrap();
    ledger.add(asset("USDT"), money("-0.01234567"), ms(10)).unwrap();
    ledger.add(asset("USDT"), money("0.00000001"), ms(11)).unwrap();
    assert_eq!(ledger.expected(asset("USDT")), Some(money("87.64197543")));
    assert_eq!(look(&mut ledger, "87.64197543", 60_000), Look::Fits);
    assert_eq!(look(&mut ledger, "87.64197542", 60_000), Look::Doubt, "one unit less is not the same");
}

#[test]
fn v_21_values_with_more_places_than_venues_keep_allow_one_unit_each_and_no_more() {
    let mut ledger = told();
    ledger.add(asset("USDT"), money("-1.000000005"), ms(10)).unwrap();
    assert_eq!(look(&mut ledger, "99", 60_000), Look::Fits);
    assert_eq!(look(&mut ledger, "98.99999999", 60_000), Look::Fits);
    assert_eq!(look(&mut ledger, "98.99999998", 60_000), Look::Doubt);
}

#[test]
fn rc_20_trades_around_the_moment_of_a_report_are_no_difference() {
    let mut ledger = told();
    for n in 1..=5u64 {
        ledger.add(asset("USDT"), money("-1"), ms(20_000 + n)).unwrap();
    }
    // Asked at 20,003: the venue may have answered before, between or after the trades that followed, or from a lagging copy.
    for total in ["100", "99", "98", "97", "96", "95"] {
        assert_eq!(look(&mut ledger, total, 20_003), Look::Fits, "{total}");
    }
    assert_eq!(look(&mut ledger, "94.5", 20_003), Look::Doubt);
    // Long after them only the sum of all counts.
    assert_eq!(look(&mut ledger, "96", 60_000), Look::Doubt);
    assert_eq!(look(&mut ledger, "95", 60_000), Look::Fits);
}

#[test]
fn rc_20_a_difference_is_judged_when_two_looks_agree_and_not_before() {
    let mut ledger = told();
    assert_eq!(look(&mut ledger, "93", 1_000), Look::Doubt);
    assert!(ledger.has_doubts());
    let found = Difference {
        asset: asset("USDT"),
        ours: money("100"),
        venues: money("93"),
        change: money("-7"),
        has_gap: false,
    };
    assert_eq!(look(&mut ledger, "93", 3_000), Look::Differs(found));
    ledger.note_judged(asset("USDT"));
    assert_eq!(look(&mut ledger, "93", 5_000), Look::NotJudged, "told once");
    assert!(!ledger.has_doubts());
    assert!(ledger.forgive(asset("USDT")));
    assert_eq!(look(&mut ledger, "93", 7_000), Look::First { total: money("93") });
    assert_eq!(look(&mut ledger, "93", 9_000), Look::Fits);
}

#[test]
fn v_11_a_trade_that_becomes_visible_late_explains_the_difference() {
    let mut ledger = told();
    assert_eq!(look(&mut ledger, "93", 1_000), Look::Doubt);
    ledger.add(asset("USDT"), money("-7"), ms(900)).unwrap();
    assert_eq!(look(&mut ledger, "93", 3_000), Look::Fits);
    assert!(!ledger.has_doubts());
}

#[test]
fn rc_20_a_difference_is_found_under_steady_trading() {
    let mut ledger = told();
    let mut found = None;
    for round in 1..=3u64 {
        let at = round * 5_000;
        for n in 0..20u64 {
            ledger.add(asset("USDT"), money("-0.1"), ms(at + n * 10)).unwrap();
        }
        // The venue answered in the middle of the trades; it has 3 less than it should.
        let seen = money("97").checked_sub(money(&format!("{}", (round - 1) * 2 + 1))).unwrap();
        if let Look::Differs(difference) = look(&mut ledger, &seen.to_string(), at + 95) {
            found = Some(difference.change);
        }
    }
    assert_eq!(found, Some(money("-3")));
}

#[test]
fn a_trade_before_the_first_word_is_contained_in_it_however_late_it_comes() {
    let mut ledger = told();
    ledger.add(asset("USDT"), money("-7"), ms(0)).unwrap();
    assert_eq!(look(&mut ledger, "100", 60_000), Look::Fits);
}

#[test]
fn an_adopted_change_counts_and_a_restored_total_goes_on() {
    let mut ledger = told();
    ledger.note_gap();
    assert_eq!(look(&mut ledger, "150", 1_000), Look::Doubt);
    let Look::Differs(found) = look(&mut ledger, "150", 2_000) else { panic!() };
    assert!(found.has_gap);
    let (total, as_of) = ledger.adopt(asset("USDT"), found.change).unwrap().unwrap();
    assert_eq!((total, as_of), (money("150"), ms(0)));
    assert_eq!(look(&mut ledger, "150", 3_000), Look::Fits);
    let mut next = BalanceLedger::default();
    next.restore(asset("USDT"), total, as_of);
    next.add(asset("USDT"), money("-1"), ms(5_000)).unwrap();
    assert_eq!(look(&mut next, "149", 9_000), Look::Fits);
}

#[test]
fn an_asset_that_the_report_leaves_out_is_at_zero() {
    let mut ledger = told();
    ledger.note_report(&[], ms(1_000));
    assert_eq!(ledger.look(asset("USDT"), LAG), Ok(Look::Doubt));
    ledger.add(asset("USDT"), money("-100"), ms(500)).unwrap();
    assert_eq!(ledger.look(asset("USDT"), LAG), Ok(Look::Fits));
}

#[test]
fn i_12_memory_is_bounded_and_a_report_from_before_it_is_not_judged() {
    let mut ledger = told();
    for n in 0..RECENT_MAX as u64 + 100 {
        ledger.add(asset("USDT"), money("-0.0001"), ms(n)).unwrap();
    }
    assert_eq!(ledger.recent.len(), RECENT_MAX);
    assert_eq!(look(&mut ledger, "1", 50), Look::NotJudged);
    for n in 0..ASSETS_MAX + 10 {
        ledger.add(asset(&format!("A{n}")), money("1"), ms(9_000_000)).unwrap();
    }
    assert_eq!(ledger.rows.len(), ASSETS_MAX);
}

#[test]
fn numbers_that_do_not_fit_are_an_error() {
    let mut ledger = BalanceLedger::default();
    let huge = Notional::new(i128::MAX, 0).unwrap();
    ledger.restore(asset("USDT"), huge, ms(0));
    assert!(ledger.add(asset("USDT"), huge, ms(1)).is_err());
}
