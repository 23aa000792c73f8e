//! One strike from beginning to judgement: prepare, strike, start again until nothing is unknown, compare.

use crate::check::{self, Facts, Violation};
use crate::error::CrashError;
use crate::phase::{self, Phase};
use crate::place::{Bench, Ended, Place, Run};
use crate::strike::{Effect, Strike};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest run of a launcher; beyond it, it hangs.
pub const RUN_LIMIT: Duration = Duration::from_secs(60);
/// How often what comes before a strike is done again.
const PREPARE_RETRIES_MAX: u32 = 4;
/// Durations of the starts after a strike. The first is enough unless an order may never have left: that is known only when
/// its receive window and the staleness bound have passed.
const RECOVERY_DURATIONS: [&str; 3] = ["0.3", "2.5", "10"];

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Was the run struck, or was it over before?
    pub was_struck: bool,
    /// How the struck run ended.
    pub ended: Option<Ended>,
    /// What there was to compare.
    pub facts: Facts,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Kept when something is wrong.
    pub evidence: Option<PathBuf>,
}

/// Strikes one run of a phase.
pub fn strike(bench: &Bench, name: &str, phase: Phase, strike: &Strike, seed: u64) -> Result<Outcome, CrashError> {
    let place = prepared(bench, name, phase, seed)?;
    let running = place.launch("struck", &phase.run(), Some(strike))?;
    let stderr = running.stderr.clone();
    let ended = running.wait(RUN_LIMIT)?;
    let mut violations = Vec::new();
    let was_struck = match strike.effect {
        Effect::Kill => ended.was_killed(),
        Effect::FailOnce(_) | Effect::FailFromThen(_) | Effect::Slow(_) => was_injected(&place),
    };
    judge_end(&place, &stderr, &ended, strike, was_struck, &mut violations);
    finish(place, was_struck, Some(ended), violations)
}

/// A place where what comes before the strike went well. On a machine that is busy with other things a short run may end
/// before it could trade; then it is done again.
fn prepared(bench: &Bench, name: &str, phase: Phase, seed: u64) -> Result<Place, CrashError> {
    let mut tries = 0;
    loop {
        let place = Place::open(bench, name, seed)?;
        match phase.prepare(&place) {
            Ok(()) => return Ok(place),
            Err(error) if tries >= PREPARE_RETRIES_MAX => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// `strace` marks a call that it made fail.
fn was_injected(place: &Place) -> bool {
    let trace = std::fs::read(place.folder.join("struck.strace")).unwrap_or_default();
    trace.windows(b"(INJECTED)".len()).any(|it| it == b"(INJECTED)")
        || trace.windows(b"(DELAYED)".len()).any(|it| it == b"(DELAYED)")
}

/// Exit 1 is right for a run that ends while an order is still of unknown state, or before it could trade.
fn may_fail(place: &Place, stderr: &Path) -> bool {
    let said = std::fs::read_to_string(stderr).unwrap_or_default();
    if said.contains("the duration ended before trading began") {
        return true;
    }
    let text = std::fs::read_to_string(place.report()).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    report["left"]["unknown_orders"].as_array().is_some_and(|it| !it.is_empty())
}

fn judge_end(
    place: &Place,
    stderr: &Path,
    ended: &Ended,
    strike: &Strike,
    was_struck: bool,
    violations: &mut Vec<Violation>,
) {
    let mut add = |what: String| violations.push(Violation { invariant: "I9", what });
    if ended.is_overdue {
        add(format!("the run did not end within {RUN_LIMIT:?} after {strike}"));
    } else if !was_struck && ended.code != Some(0) && !(ended.code == Some(1) && may_fail(place, stderr)) {
        add(format!("the run was not struck and ended with {ended:?}"));
    } else if strike.effect != Effect::Kill && !matches!(ended.code, Some(0 | 1)) {
        add(format!("after {strike} the run ended with {ended:?} instead of exit code 0 or 1"));
    }
}

/// Starts again until nothing is unknown, compares, and keeps or removes the folder.
pub fn finish(
    place: Place,
    was_struck: bool,
    ended: Option<Ended>,
    mut violations: Vec<Violation>,
) -> Result<Outcome, CrashError> {
    if let Some(violation) = recover(&place)? {
        violations.push(violation);
    }
    let (facts, found) = check::judge(&place)?;
    violations.extend(found);
    violations.extend(replays(&place)?);
    let evidence = if violations.is_empty() {
        place.discard();
        None
    } else {
        Some(place.keep())
    };
    Ok(Outcome { was_struck, ended, facts, violations, evidence })
}

/// Starts the launcher until a start ends with nothing unknown.
pub fn recover(place: &Place) -> Result<Option<Violation>, CrashError> {
    let mut last = None;
    for (at, duration) in RECOVERY_DURATIONS.iter().enumerate() {
        let name = format!("recovery-{at}");
        let running = place.launch(&name, &phase::recovery(duration), None)?;
        let path = running.stderr.clone();
        let ended = running.wait(RUN_LIMIT)?;
        if ended.code == Some(0) {
            return Ok(None);
        }
        // Exit 1 because an order is of unknown state is right; then time has to pass.
        last = Some(Violation {
            invariant: "I7",
            what: format!("the start after the strike ended with {ended:?}: {}", path.display()),
        });
        if ended.is_overdue || ended.signal.is_some() {
            break;
        }
    }
    Ok(last)
}

/// The journal replays to the state that each run wrote at its end.
fn replays(place: &Place) -> Result<Option<Violation>, CrashError> {
    let journal = place.journal().display().to_string();
    let rules = place.folder.join("base.toml").display().to_string();
    let running = place.ask("replay", &["journal", "replay", "-c", &rules, &journal])?;
    let path = running.stderr.clone();
    let ended = running.wait(RUN_LIMIT)?;
    let what = || format!("the journal does not replay: {ended:?}: {}", path.display());
    Ok((ended.code != Some(0)).then(|| Violation { invariant: "I6", what: what() }))
}

/// Runs something to its end and says how it ended.
pub fn run_to_end(place: &Place, name: &str, run: &Run) -> Result<Ended, CrashError> {
    place.launch(name, run, None)?.wait(RUN_LIMIT)
}
