//! Too few descriptors, no thread, no terminal.

use crate::{bench, can_strike, converges, place};
use keel_crashtest::trial::{self, RUN_LIMIT};
use keel_crashtest::{Effect, Ended, Phase, Place, Strike, Surface, phase};
use rustix::process::Signal;

#[track_caller]
fn no_panic(place: &Place, name: &str, ended: &Ended) {
    let said = std::fs::read_to_string(place.folder.join(format!("{name}.err"))).unwrap_or_default();
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn r_01_with_few_descriptors_it_trades_or_refuses_and_loses_nothing() {
    let bench = bench();
    let place = place(&bench);
    let mut last = None;
    for limit in [16, 32, 64] {
        let name = format!("nofile-{limit}");
        let prefix = ["prlimit".to_owned(), format!("--nofile={limit}")];
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        let ended = place.launch_through(&prefix, &name, &Phase::Fill.run()).unwrap().wait(RUN_LIMIT).unwrap();
        no_panic(&place, &name, &ended);
        last = Some(ended);
    }
    assert_eq!(last.as_ref().and_then(|it| it.code), Some(0), "64 descriptors are enough: {last:?}");
    // And where descriptors run out in mid-trade.
    let running = place.launch_through(&["env"], "nofile-lowered", &Phase::Fill.run()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(150));
    let lower = ["--pid".to_owned(), running.pid().to_string(), "--nofile=16".to_owned()];
    let is_lowered = std::process::Command::new("prlimit").args(&lower).status().unwrap().success();
    let ended = running.wait(RUN_LIMIT).unwrap();
    assert!(is_lowered, "the run had ended before its limit was lowered");
    no_panic(&place, "nofile-lowered", &ended);
    converges(place, Some(ended));
}

#[test]
fn r_06_without_a_thread_it_ends_with_exit_1_and_nothing_hangs() {
    if !can_strike() {
        return;
    }
    for n in 1..=4 {
        let bench = bench();
        let strike = Strike { surface: *Surface::find("clone3").unwrap(), n, effect: Effect::FailFromThen("EAGAIN") };
        let outcome = trial::strike(&bench.bench, "struck", Phase::Submit, &strike, 5).unwrap();
        crate::assert_fine(&outcome, &bench.bench.root.join("struck"));
        let ended = outcome.ended.unwrap();
        assert!(outcome.was_struck && ended.code == Some(1), "{strike}: {ended:?}");
    }
}

#[test]
fn s_09_a_closed_or_full_terminal_is_no_reason_to_stop() {
    let bench = bench();
    let place = place(&bench);
    for (name, redirect) in [("closed", ">&- 2>&-"), ("full", ">/dev/full 2>/dev/full")] {
        let script = format!("exec \"$0\" \"$@\" {redirect}");
        let running = place.launch_through(&["sh", "-c", &script], name, &Phase::Fill.run()).unwrap();
        let ended = running.wait(RUN_LIMIT).unwrap();
        assert!(matches!(ended.code, Some(0 | 1)), "{name}: {ended:?}");
        let log = std::fs::read_dir(place.data().join("logs")).unwrap().flatten().next().unwrap();
        let log = std::fs::read_to_string(log.path()).unwrap();
        assert!(!log.contains("panicked"), "{name}: {log}");
    }
    let mut running = place.launch_through(&["sh", "-c", "\"$0\" \"$@\" 2>&1 | head -c 300"], "pipe", &phase::busy());
    let running = running.as_mut().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(800));
    running.signal(Signal::KILL);
    let holder = keel_store::FolderLock::holder(&place.data()).unwrap_or_default();
    let pid = holder.split_whitespace().find_map(|word| word.trim_matches(',').parse::<i32>().ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
    }
    let deadline = place.clock().deadline(RUN_LIMIT);
    while keel_store::FolderLock::holder(&place.data()).is_some() && !deadline.is_past() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    converges(place, None);
}
