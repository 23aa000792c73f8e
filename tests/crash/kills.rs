//! Killed, asked to stop, frozen and started again, at chosen calls and at random instants.

use crate::{assert_fine, bench, can_strike, converges, place};
use keel_crashtest::random::{self, Blow, Chains, Dice};
use keel_crashtest::trial::{self, RUN_LIMIT};
use keel_crashtest::{Effect, Phase, Strike, Surface, phase};
use rustix::process::Signal;
use std::time::Duration;

#[track_caller]
fn fine(chains: &Chains) {
    assert!(chains.violations.is_empty(), "{chains}");
}

#[test]
fn p_15_a_kill_at_a_system_call_loses_and_doubles_nothing() {
    if !can_strike() {
        return;
    }
    let bench = bench();
    // A few of each phase; the sweep takes every one.
    let chosen = [
        (Phase::Submit, "pwrite64", 5),
        (Phase::Submit, "fdatasync", 9),
        (Phase::Submit, "writev", 6),
        (Phase::Fill, "writev", 12),
        (Phase::Fill, "recvfrom", 40),
        (Phase::Cancel, "fdatasync", 20),
        (Phase::Boot, "rename", 1),
        (Phase::Boot, "openat:journal", 2),
        (Phase::Shutdown, "writev", 25),
        (Phase::Snapshot, "fsync", 2),
    ];
    let mut struck = 0;
    for (phase, call, n) in chosen {
        let strike = Strike { surface: *Surface::find(call).unwrap(), n, effect: Effect::Kill };
        let name = format!("{}-{n}", phase.name());
        let outcome = trial::strike(&bench.bench, &name, phase, &strike, u64::from(n)).unwrap();
        assert_fine(&outcome, &bench.bench.root.join(name));
        struck += u32::from(outcome.was_struck);
    }
    assert!(struck >= 8, "only {struck} of {} were struck", chosen.len());
}

#[test]
fn p_01_to_p_14_kills_at_random_instants_lose_and_double_nothing() {
    let bench = bench();
    let chains = random::strikes(&bench.bench, Blow::Kill, 30, 11, 2, &|line| eprintln!("{line}")).unwrap();
    fine(&chains);
    assert!(chains.facts.orders > 0 && chains.facts.sessions > 10, "{chains}");
}

#[test]
fn p_18_a_crash_of_the_program_itself_is_as_a_kill() {
    let bench = bench();
    fine(&random::strikes(&bench.bench, Blow::Segv, 4, 12, 2, &|line| eprintln!("{line}")).unwrap());
}

#[test]
fn p_16_what_was_not_synced_is_lost_with_the_power_and_is_not_missed() {
    if !can_strike() {
        return;
    }
    let bench = bench();
    let chains = random::power_losses(&bench.bench, 3, 13, &|line| eprintln!("{line}")).unwrap();
    fine(&chains);
    assert!(chains.facts.orders > 0, "{chains}");
}

#[test]
fn p_19_killed_twenty_times_during_recovery_it_still_converges() {
    let bench = bench();
    let place = place(&bench);
    let mut dice = Dice::new(14);
    for at in 0..21 {
        let mut running = place.launch(&format!("run-{at}"), &phase::busy(), None).unwrap();
        if at == 0 {
            assert!(running.until("trading: ready", RUN_LIMIT));
            std::thread::sleep(Duration::from_millis(400));
        } else {
            std::thread::sleep(Duration::from_millis(5 + dice.below(60)));
        }
        running.signal(Signal::KILL);
        running.wait(RUN_LIMIT).unwrap();
    }
    assert!(converges(place, None).facts.orders > 0);
}

#[test]
fn p_20_a_second_instance_is_refused_and_says_who_holds_the_folder() {
    let bench = bench();
    let place = place(&bench);
    let mut first = place.launch("first", &phase::busy(), None).unwrap();
    assert!(first.until("trading: ready", RUN_LIMIT));
    let second = place.launch("second", &phase::busy(), None).unwrap();
    let said = second.stderr.clone();
    let ended = second.wait(RUN_LIMIT).unwrap();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.contains(&format!("pid {}", first.pid())), "{said}");
    first.signal(Signal::TERM);
    assert_eq!(first.wait(RUN_LIMIT).unwrap().code, Some(0));
    converges(place, None);
}

#[test]
fn s_01_a_signal_at_any_instant_stops_in_order_with_the_right_exit_code() {
    let bench = bench();
    fine(&random::strikes(&bench.bench, Blow::Ask, 20, 15, 2, &|line| eprintln!("{line}")).unwrap());
}

#[test]
fn s_10_started_again_at_once_it_finds_nothing_in_its_way() {
    let bench = bench();
    fine(&random::strikes(&bench.bench, Blow::Restart, 10, 16, 1, &|line| eprintln!("{line}")).unwrap());
}

#[test]
fn t_03_stopped_for_three_seconds_it_goes_on_with_the_venues_truth() {
    let bench = bench();
    fine(&random::strikes(&bench.bench, Blow::Freeze, 1, 17, 1, &|line| eprintln!("{line}")).unwrap());
}
