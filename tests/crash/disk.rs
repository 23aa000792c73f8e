//! The disk is full, fails, hangs or may not be written.

use crate::{assert_fine, bench, can_strike, converges, place};
use keel_crashtest::trial::{self, RUN_LIMIT};
use keel_crashtest::{Effect, Phase, Strike, Surface, phase};

/// Strikes the disk in a phase; the run must end by itself, and the next start must find everything.
#[track_caller]
fn strike(phase: Phase, call: &str, n: u32, effect: Effect) -> Option<i32> {
    let bench = bench();
    let strike = Strike { surface: *Surface::find(call).unwrap(), n, effect };
    let outcome = trial::strike(&bench.bench, "struck", phase, &strike, 3).unwrap();
    assert_fine(&outcome, &bench.bench.root.join("struck"));
    assert!(outcome.was_struck, "{strike} never happened");
    outcome.ended.and_then(|ended| ended.code)
}

#[test]
fn d_01_on_a_full_disk_no_order_leaves_without_a_durable_intent() {
    if can_strike() {
        assert_eq!(strike(Phase::Fill, "pwrite64", 12, Effect::FailFromThen("ENOSPC")), Some(1));
        assert_eq!(strike(Phase::Submit, "pwrite64", 1, Effect::FailFromThen("ENOSPC")), Some(1));
    }
}

#[test]
fn d_02_a_failed_sync_is_never_tried_again_as_if_it_were_fine() {
    if can_strike() {
        assert_eq!(strike(Phase::Fill, "fdatasync", 15, Effect::FailOnce("EIO")), Some(1));
        assert_eq!(strike(Phase::Fill, "pwrite64", 15, Effect::FailOnce("EIO")), Some(1));
    }
}

#[test]
fn d_03_a_slow_disk_is_waited_for_and_nothing_is_lost() {
    if can_strike() {
        let code = strike(Phase::Submit, "fdatasync", 4, Effect::Slow(150_000));
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
    }
}

#[test]
fn d_07_a_folder_that_cannot_be_written_is_refused_with_the_remedy() {
    let bench = bench();
    let place = place(&bench);
    let mut run = phase::recovery("1");
    run.data = Some("/proc/keel-data".into());
    let running = place.launch("refused", &run, None).unwrap();
    let said = running.stderr.clone();
    let ended = running.wait(RUN_LIMIT).unwrap();
    let said = std::fs::read_to_string(said).unwrap();
    assert_eq!(ended.code, Some(1), "{said}");
    assert!(said.contains("/proc/keel-data") && said.contains("--data-dir"), "{said}");
    assert!(!said.contains("trading: ready") && !said.contains("panicked"), "{said}");
    converges(place, Some(ended));
}
