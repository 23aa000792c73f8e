//! The plan under paused time: validation, each cell of the tables, and random plans.

use super::*;
use crate::clock::runtime_now;
use crate::reason::Urgency;
use parking_lot::Mutex;
use proptest::prelude::*;
use std::sync::Arc;
use tokio::sync::watch;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a step of a test does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Done(u64),
    Fail(u64),
    Panic(u64),
    Hang,
}

type Log = Arc<Mutex<Vec<(String, &'static str)>>>;

fn act(name: &str, deadline_ms: u64, act: Act, log: &Log) -> StopStep {
    let (name_in, log) = (name.to_owned(), log.clone());
    StopStep::new(name, ms(deadline_ms), move |_| async move {
        log.lock().push((name_in.clone(), "start"));
        let outcome = match act {
            Act::Done(after) => {
                tokio::time::sleep(ms(after)).await;
                Ok(())
            }
            Act::Fail(after) => {
                tokio::time::sleep(ms(after)).await;
                Err(StopError::new("no"))
            }
            Act::Panic(after) => {
                tokio::time::sleep(ms(after)).await;
                panic!("boom")
            }
            Act::Hang => std::future::pending().await,
        };
        log.lock().push((name_in, "end"));
        outcome
    })
}

async fn run(plan: StopPlan) -> StopReport {
    plan.run(watch::channel(Urgency::Orderly).1).await
}

/// Runs the plan and raises the urgency at the given times.
async fn run_hurried(plan: StopPlan, raises: &[(u64, Urgency)]) -> StopReport {
    let (sender, receiver) = watch::channel(Urgency::Orderly);
    let began = runtime_now();
    let hurry = async {
        for (at, urgency) in raises {
            tokio::time::sleep_until(began + ms(*at)).await;
            sender.send_replace(*urgency);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { report = plan.run(receiver) => report, () = hurry => unreachable!() }
}

fn outcomes(report: &StopReport) -> Vec<(&str, String)> {
    report.steps.iter().map(|step| (step.name.as_str(), step.outcome.to_string())).collect()
}

/// The design's own table, with the given step replaced.
fn design_plan(total_ms: u64, acts: &[(&str, Act)], log: &Log) -> StopPlan {
    let rows: &[(&str, &[&str], u64, bool)] = &[
        ("close-gate", &[], 100, true),
        ("stop-strategies", &["close-gate"], 1_000, false),
        ("stop-gpu", &["close-gate"], 2_000, false),
        ("stop-market-streams", &["stop-strategies"], 10_000, false),
        ("settle-in-flight", &["stop-strategies"], 3_000, false),
        ("stop-coordinator", &["settle-in-flight"], 10_000, true),
        ("stop-account-streams", &["stop-coordinator"], 2_000, false),
        ("stop-risk", &["stop-account-streams"], 1_000, true),
        ("close-exchanges", &["stop-risk", "stop-market-streams"], 5_000, false),
        ("stop-venue", &["close-exchanges"], 2_000, false),
        ("flush-store", &["close-exchanges", "stop-gpu"], 3_000, true),
        ("pending-tasks", &["flush-store"], 5_000, false),
        ("telemetry", &["pending-tasks"], 1_000, false),
    ];
    let mut builder = StopPlan::builder(ms(total_ms));
    for (name, after, deadline_ms, essential) in rows {
        let what = acts.iter().find(|(step, _)| step == name).map_or(Act::Done(1), |(_, act)| *act);
        let step = act(name, *deadline_ms, what, log).after(after);
        builder.push(if *essential { step.essential() } else { step });
    }
    builder.build().unwrap()
}

const ALL_STEPS: usize = 13;

#[test]
fn bad_plans_are_refused_with_their_cause() {
    let log = Log::default();
    let step = |name: &str| act(name, 100, Act::Done(0), &log);
    let build = |steps: Vec<StopStep>| {
        let mut builder = StopPlan::builder(ms(250));
        steps.into_iter().for_each(|step| builder.push(step));
        builder.build().map(|_| ()).unwrap_err()
    };
    assert_eq!(build(vec![step("a"), step("a")]), PlanError::DuplicateName("a".into()));
    assert_eq!(build(vec![step("")]), PlanError::EmptyName);
    assert_eq!(build(vec![act("a", 0, Act::Done(0), &log)]), PlanError::ZeroDeadline("a".into()));
    let unknown = PlanError::UnknownPredecessor { step: "a".into(), predecessor: "b".into() };
    assert_eq!(build(vec![step("a").after(&["b"])]), unknown);
    let circle = vec![step("a").after(&["c"]), step("b").after(&["a"]), step("c").after(&["b"]), step("d")];
    assert_eq!(build(circle), PlanError::Cycle(vec!["a".into(), "b".into(), "c".into()]));
    assert_eq!(build(vec![step("a").after(&["a"])]), PlanError::Cycle(vec!["a".into()]));
    let chain = vec![step("a").essential(), step("b").essential().after(&["a"]), step("c").essential().after(&["b"])];
    assert_eq!(build(chain), PlanError::ReserveExceedsTotal { needed: ms(300), total: ms(250) });
    let many = (0..=STEPS_MAX).map(|at| step(&format!("s{at}"))).collect();
    assert_eq!(build(many), PlanError::TooManySteps { count: STEPS_MAX + 1, max: STEPS_MAX });
}

#[test]
fn essential_steps_side_by_side_share_their_reserve() {
    let log = Log::default();
    let step = |name: &str| act(name, 100, Act::Done(0), &log).essential();
    assert!(StopPlan::builder(ms(100)).step(step("a")).step(step("b")).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn every_step_of_the_design_runs_once_in_order_when_all_is_well() {
    let log = Log::default();
    let report = run(design_plan(30_000, &[], &log)).await;
    assert!(report.is_clean() && report.steps.len() == ALL_STEPS, "{}", report.table());
    let log = log.lock();
    let at = |name: &str, what: &str| log.iter().position(|(n, w)| n == name && *w == what).unwrap();
    for (before, after) in [
        ("close-gate", "stop-strategies"),
        ("stop-strategies", "stop-market-streams"),
        ("settle-in-flight", "stop-coordinator"),
        ("stop-coordinator", "stop-account-streams"),
        ("stop-account-streams", "stop-risk"),
        ("stop-risk", "close-exchanges"),
        ("stop-market-streams", "close-exchanges"),
        ("stop-gpu", "flush-store"),
        ("flush-store", "pending-tasks"),
        ("pending-tasks", "telemetry"),
    ] {
        assert!(at(before, "end") < at(after, "start"), "{before} ends before {after} starts");
    }
    assert_eq!(log.len(), 2 * ALL_STEPS, "each step once");
}

#[tokio::test(start_paused = true)]
async fn s_06_each_step_of_the_design_may_fail_panic_or_hang_and_the_others_still_run_s3_017_s3_024() {
    let names: Vec<String> = {
        let plan = design_plan(30_000, &[], &Log::default());
        plan.step_names().iter().map(|name| (*name).to_owned()).collect()
    };
    for name in &names {
        for (what, expected) in [
            (Act::Fail(2), StepOutcome::Failed("no".into())),
            (Act::Panic(2), StepOutcome::Panicked("boom".into())),
            (Act::Hang, StepOutcome::DeadlinePassed),
        ] {
            let log = Log::default();
            let report = run(design_plan(30_000, &[(name, what)], &log)).await;
            assert_eq!(report.steps.len(), ALL_STEPS);
            for step in &report.steps {
                if step.name != *name {
                    assert_eq!(step.outcome, StepOutcome::Done, "{} while {name} {what:?}", step.name);
                } else if let (StepOutcome::Panicked(message), StepOutcome::Panicked(_)) = (&step.outcome, &expected) {
                    assert!(message.starts_with("boom"), "{message}");
                } else {
                    assert_eq!(step.outcome, expected, "{name} {what:?}");
                }
            }
            assert_eq!(report.failures(), 1);
            assert!(report.took <= report.total);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_deadline_of_the_design_is_kept() {
    let log = Log::default();
    let hang_all: Vec<(&str, Act)> =
        ["stop-strategies", "stop-gpu", "settle-in-flight", "stop-coordinator", "flush-store"]
            .into_iter()
            .map(|name| (name, Act::Hang))
            .collect();
    let report = run(design_plan(30_000, &hang_all, &log)).await;
    for (name, deadline_ms) in [
        ("stop-strategies", 1_000),
        ("stop-gpu", 2_000),
        ("settle-in-flight", 3_000),
        ("stop-coordinator", 10_000),
        ("flush-store", 3_000),
    ] {
        let step = report.step(name).unwrap();
        assert_eq!((step.took.as_millis(), step.budget), (deadline_ms, ms(deadline_ms as u64)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn essential_steps_get_their_full_time_out_of_a_short_total_s3_025() {
    // Everything hangs; the total leaves 15 s, of which the essential chain needs 14.1 s.
    let log = Log::default();
    let all: Vec<String> = design_plan(30_000, &[], &log).step_names().iter().map(|n| (*n).to_owned()).collect();
    let hang: Vec<(&str, Act)> = all.iter().map(|name| (name.as_str(), Act::Hang)).collect();
    let report = run(design_plan(15_000, &hang, &log)).await;
    for (name, deadline_ms) in
        [("close-gate", 100), ("stop-coordinator", 10_000), ("stop-risk", 1_000), ("flush-store", 3_000)]
    {
        assert_eq!(report.step(name).unwrap().took, ms(deadline_ms), "{name}\n{}", report.table());
    }
    assert!(report.took <= ms(15_000), "{:?}", report.took);
    assert_eq!(report.steps.len(), ALL_STEPS);
    assert_eq!(report.step("telemetry").unwrap().outcome, StepOutcome::NoTimeLeft);
}

#[tokio::test(start_paused = true)]
async fn independent_steps_run_side_by_side_s3_020() {
    // Three exchanges of 5 s each take 5 s, not 15.
    let log = Log::default();
    let mut builder = StopPlan::builder(ms(30_000));
    for venue in ["binance", "kraken", "bybit"] {
        builder.push(act(&format!("close-{venue}"), 5_000, Act::Hang, &log));
    }
    let report = run(builder.build().unwrap()).await;
    assert_eq!(report.took, ms(5_000));
    assert_eq!(report.failures(), 3);
}

#[tokio::test(start_paused = true)]
async fn second_signal_cuts_optional_steps_and_essential_ones_go_on() {
    let log = Log::default();
    let acts = [("settle-in-flight", Act::Done(2_900)), ("stop-gpu", Act::Hang), ("stop-coordinator", Act::Done(500))];
    let report = run_hurried(design_plan(30_000, &acts, &log), &[(100, Urgency::Urgent)]).await;
    for step in &report.steps {
        let before = ["stop-strategies", "stop-market-streams"].contains(&step.name.as_str());
        let expected = if step.essential || before { StepOutcome::Done } else { StepOutcome::CutByUrgency };
        assert_eq!(step.outcome, expected, "{}", step.name);
    }
    assert!(report.is_clean(), "optional steps cut by a second signal alone are no failure");
    assert!(report.took < ms(700), "{:?}", report.took);
    assert_eq!(report.urgency, Urgency::Urgent);
}

#[tokio::test(start_paused = true)]
async fn third_signal_ends_everything_at_once() {
    let log = Log::default();
    let acts = [("stop-coordinator", Act::Hang)];
    let report = run_hurried(design_plan(30_000, &acts, &log), &[(50, Urgency::Urgent), (60, Urgency::Abort)]).await;
    assert_eq!(report.took, ms(60));
    assert_eq!(report.steps.len(), ALL_STEPS, "the report is complete");
    for name in ["stop-coordinator", "stop-risk", "flush-store"] {
        assert_eq!(report.step(name).unwrap().outcome, StepOutcome::Aborted);
    }
    assert_eq!(report.failures(), 3, "essential steps that were not done are failures");
}

#[tokio::test(start_paused = true)]
async fn essential_step_behind_a_chain_of_cut_ones_starts_at_once_beside_a_long_one() {
    // The steps are added last one first, so that no single pass in their order can get through the chain.
    let log = Log::default();
    let plan = StopPlan::builder(ms(10_000))
        .step(act("flush", 1_000, Act::Done(1), &log).essential().after(&["b"]))
        .step(act("b", 1_000, Act::Done(1), &log).after(&["a"]))
        .step(act("a", 1_000, Act::Done(1), &log))
        .step(act("orders", 5_000, Act::Done(3_000), &log).essential())
        .build()
        .unwrap();
    let report = plan.run(watch::channel(Urgency::Urgent).1).await;
    assert_eq!(report.step("flush").unwrap().started, Some(Duration::ZERO), "{}", report.table());
    assert!(report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn urgency_raised_before_the_plan_starts_counts() {
    let log = Log::default();
    let report = design_plan(30_000, &[], &log).run(watch::channel(Urgency::Urgent).1).await;
    assert!(report.is_clean());
    assert!(report.steps.iter().all(|step| step.started.is_some() == step.essential));
}

#[tokio::test(start_paused = true)]
async fn a_step_sees_its_time_and_its_notes_are_reported() {
    let step = StopStep::new("stop-coordinator", ms(1_000), |context: StopContext| async move {
        assert_eq!(context.remaining(), ms(1_000));
        assert_eq!(context.inner_limit(), ms(900));
        assert_eq!(context.urgency(), Urgency::Orderly);
        context.note("kept by policy: stop-loss K-7");
        Ok(())
    });
    let report = run(StopPlan::builder(ms(5_000)).step(step).build().unwrap()).await;
    assert_eq!(outcomes(&report), [("stop-coordinator", "done".to_owned())]);
    assert!(report.table().contains("kept by policy: stop-loss K-7"), "{}", report.table());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["steps"][0]["result"], "done");
    assert_eq!(json["steps"][0]["notes"][0], "kept by policy: stop-loss K-7");
}

#[tokio::test(start_paused = true)]
async fn every_caller_of_stop_gets_the_same_report_s3_016_s3_057_d7_d14() {
    let log = Log::default();
    let plan = StopPlan::builder(ms(5_000)).step(act("a", 1_000, Act::Done(100), &log)).build().unwrap();
    let stopper = Stopper::new(plan, watch::channel(Urgency::Orderly).1);
    let twin = stopper.clone();
    let (first, second, third) = tokio::join!(stopper.stop(), stopper.stop(), twin.stop());
    let later = stopper.stop().await;
    assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &third) && Arc::ptr_eq(&first, &later));
    assert_eq!(log.lock().len(), 2, "the plan ran once");
    assert!(stopper.report().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_stop_goes_on_when_its_first_caller_goes_away() {
    let log = Log::default();
    let plan = StopPlan::builder(ms(5_000)).step(act("a", 1_000, Act::Done(100), &log)).build().unwrap();
    let stopper = Stopper::new(plan, watch::channel(Urgency::Orderly).1);
    assert!(tokio::time::timeout(ms(10), stopper.stop()).await.is_err());
    assert!(stopper.stop().await.is_clean());
    assert_eq!(log.lock().len(), 2);
}

#[test]
fn callers_hear_that_the_runtime_went_away_under_the_stop() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plan = StopPlan::builder(ms(60_000)).step(act("a", 50_000, Act::Hang, &Log::default())).build().unwrap();
    let stopper = Stopper::new(plan, watch::channel(Urgency::Orderly).1);
    runtime.block_on(async { tokio::time::timeout(ms(10), stopper.stop()).await.unwrap_err() });
    drop(runtime);
    let report = stopper.report().unwrap();
    assert_eq!(report.steps[0].outcome, StepOutcome::Lost);
    assert_eq!(report.failures(), 1);
}

/// A random step: what it does, its deadline, whether it is essential, and a mask of predecessors among the earlier ones.
#[derive(Clone, Debug)]
struct Random {
    act: Act,
    deadline_ms: u64,
    essential: bool,
    after: u16,
}

fn random_step() -> impl Strategy<Value = Random> {
    let acts = prop_oneof![
        4 => (0u64..400).prop_map(Act::Done),
        1 => (0u64..400).prop_map(Act::Fail),
        1 => (0u64..400).prop_map(Act::Panic),
        2 => Just(Act::Hang),
    ];
    (acts, 1u64..300, any::<bool>(), any::<u16>()).prop_map(|(act, deadline_ms, essential, after)| Random {
        act,
        deadline_ms,
        essential,
        after,
    })
}

/// Names are shuffled against the order of dependence, so that the plan cannot rely on it.
fn build_random(steps: &[Random], total_ms: u64, log: &Log) -> Result<StopPlan, PlanError> {
    let mut builder = StopPlan::builder(ms(total_ms));
    let mut made: Vec<StopStep> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let after: Vec<String> =
            (0..at.min(16)).filter(|p| step.after >> p & 1 == 1).map(|p| format!("s{p}")).collect();
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let one = act(&format!("s{at}"), step.deadline_ms, step.act, log).after(&after);
        made.push(if step.essential { one.essential() } else { one });
    }
    made.into_iter().rev().for_each(|step| builder.push(step));
    builder.build()
}

fn check_random(steps: &[Random], total_ms: u64, raises: &[(u64, Urgency)]) -> Result<(), TestCaseError> {
    let log = Log::default();
    let plan = match build_random(steps, total_ms, &log) {
        Ok(plan) => plan,
        Err(error) => {
            prop_assert!(matches!(error, PlanError::ReserveExceedsTotal { .. }), "{}", error);
            return Ok(());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let report = runtime.block_on(run_hurried(plan, raises));
    // The report is complete: one line for each step.
    let mut names: Vec<_> = report.steps.iter().map(|step| step.name.clone()).collect();
    names.sort();
    let mut expected: Vec<_> = (0..steps.len()).map(|at| format!("s{at}")).collect();
    expected.sort();
    prop_assert_eq!(names, expected);
    // Total time within the budget.
    prop_assert!(report.took <= ms(total_ms), "{:?} of {} ms", report.took, total_ms);
    for (at, step) in steps.iter().enumerate() {
        let name = format!("s{at}");
        let line = report.step(&name).unwrap();
        // At most once.
        let starts = log.lock().iter().filter(|(n, what)| *n == name && *what == "start").count();
        prop_assert!(starts <= 1);
        let Some(started) = line.started else { continue };
        // Not before every predecessor has ended.
        for predecessor in (0..at.min(16)).filter(|p| step.after >> p & 1 == 1) {
            let before = report.step(&format!("s{predecessor}")).unwrap();
            if let Some(before_started) = before.started {
                prop_assert!(before_started + before.took <= started);
            }
        }
        // Within its own deadline, and an essential step gets all of it.
        prop_assert!(line.took <= line.budget && line.budget <= ms(step.deadline_ms));
        if step.essential {
            prop_assert_eq!(line.budget, ms(step.deadline_ms));
        }
        let in_time = |after: u64| ms(after) < line.budget;
        match (&line.outcome, step.act) {
            (StepOutcome::Aborted | StepOutcome::CutByUrgency, _) => prop_assert!(!raises.is_empty()),
            (outcome, Act::Done(after)) if in_time(after) => prop_assert_eq!(outcome, &StepOutcome::Done),
            (outcome, Act::Fail(after)) if in_time(after) => prop_assert!(matches!(outcome, StepOutcome::Failed(_))),
            (outcome, Act::Panic(after)) if in_time(after) => prop_assert!(matches!(outcome, StepOutcome::Panicked(_))),
            (outcome, Act::Hang) => prop_assert_eq!(outcome, &StepOutcome::DeadlinePassed),
            (_, _) => {}
        }
    }
    // Without hurry, an essential step is always started.
    if raises.is_empty() {
        let all_started = report.steps.iter().all(|step| step.started.is_some() || !step.essential);
        prop_assert!(all_started, "{}", report.table());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_plans_keep_the_invariants(
        steps in proptest::collection::vec(random_step(), 0..14),
        total_ms in 50u64..2_500,
        raises in prop_oneof![
            3 => Just(vec![]),
            1 => (0u64..800).prop_map(|at| vec![(at, Urgency::Urgent)]),
            1 => (0u64..800, 0u64..800).prop_map(|(at, more)| vec![(at, Urgency::Urgent), (at + more, Urgency::Abort)]),
        ],
    ) {
        check_random(&steps, total_ms, &raises)?;
    }
}
