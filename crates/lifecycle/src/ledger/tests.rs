//! Tests of the ledger.

use super::*;
use proptest::prelude::*;

#[test]
fn register_and_release_are_counted_by_kind_s1_051() {
    let ledger = ResourceLedger::default();
    let file = ledger.lease(LeaseKind::File, "store", "a");
    let other = ledger.lease(LeaseKind::File, "history", String::from("b"));
    assert_eq!((ledger.count(LeaseKind::File), ledger.total()), (2, 2));
    assert_eq!(ledger.live_of("history").len(), 1);
    assert_eq!(ledger.live()[0].name, "a");
    drop(file);
    drop(other);
    assert_eq!((ledger.count(LeaseKind::File), ledger.peak(LeaseKind::File)), (0, 2));
    assert!(ledger.live().is_empty());
}

#[test]
fn dropping_without_close_is_a_leak_and_closing_is_not_s3_006() {
    let ledger = ResourceLedger::default();
    ledger.lease_with_close(LeaseKind::HttpClient, "exchange", "binance rest").close();
    assert_eq!(ledger.dropped_unclosed(), (vec![], 0));
    drop(ledger.lease_with_close(LeaseKind::HttpClient, "exchange", "binance rest"));
    let (names, count) = ledger.dropped_unclosed();
    assert_eq!((names[0].as_str(), count), ("http_client exchange/binance rest", 1));
    assert_eq!(ledger.total(), 0);
}

#[test]
fn a_full_ledger_still_counts() {
    let ledger = ResourceLedger::default();
    let leases: Vec<_> = (0..LEASES_NAMED_MAX + 3).map(|_| ledger.lease(LeaseKind::Other, "t", "x")).collect();
    assert_eq!(ledger.unnamed(), 3);
    assert_eq!(ledger.total(), (LEASES_NAMED_MAX + 3) as u64);
    drop(leases);
    assert_eq!((ledger.unnamed(), ledger.total()), (0, 0));
}

#[test]
fn until_exit_is_marked() {
    let ledger = ResourceLedger::default();
    let _log = ledger.lease(LeaseKind::File, "launcher", "log").until_exit();
    assert!(ledger.live()[0].until_exit);
}

proptest! {
    #[test]
    fn any_order_of_drops_leaves_exact_counts(ops in proptest::collection::vec((any::<bool>(), 0usize..13, 0usize..16), 1..200)) {
        let ledger = ResourceLedger::default();
        let mut held: Vec<Lease> = Vec::new();
        for (take, kind, at) in ops {
            if take || held.is_empty() {
                held.push(ledger.lease(LeaseKind::ALL[kind], "t", format!("n{at}")));
            } else {
                drop(held.swap_remove(at % held.len()));
            }
            prop_assert_eq!(ledger.total() as usize, held.len());
            prop_assert_eq!(ledger.live().len(), held.len());
            for kind in LeaseKind::ALL {
                prop_assert_eq!(ledger.count(kind) as usize, held.iter().filter(|l| l.kind() == kind).count());
            }
        }
    }
}
