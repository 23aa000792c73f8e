//! Crashes at one named point alone, and connections that all stop and resume in an order of chance: the judge of the
//! simulation test finds nothing. Longer: `KEEL_SIM_SEEDS=2000 cargo test --release -p keel-proof --test duress`.

use keel_proof::coverage::Met;
use keel_proof::{Asked, CrashPoint, Duress, Kit, Outage, World};

/// Seeds of each test.
fn seeds() -> u64 {
    std::env::var("KEEL_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}

/// Every crash of these runs is at this point.
fn dies(point: CrashPoint) {
    let kit = Kit::new().unwrap();
    let duress = Duress { crash_point: Some(point), ..Duress::default() };
    let mut crashes = 0;
    for seed in 0..seeds() {
        let world = World::run_under(&kit, seed, duress).unwrap();
        assert_eq!(world.violation(), None, "seed {seed}, crashes at {point:?}");
        crashes += world.coverage().crashes(point);
        let elsewhere = CrashPoint::ALL.iter().filter(|other| **other != point);
        assert_eq!(elsewhere.map(|other| world.coverage().crashes(*other)).sum::<u64>(), 0);
    }
    assert!(crashes >= seeds() / 4, "only {crashes} crashes at {point:?}");
}

#[test]
fn p_01_before_the_intent_is_appended() {
    dies(CrashPoint::BeforeIntent);
}

#[test]
fn p_02_the_intent_is_appended_and_not_durable() {
    dies(CrashPoint::IntentAppended);
}

#[test]
fn p_03_the_intent_is_durable_and_nothing_was_sent() {
    dies(CrashPoint::IntentDurable);
}

#[test]
fn p_04_the_placement_has_been_sent() {
    dies(CrashPoint::PlacementSent);
}

#[test]
fn p_05_an_answer_has_come_and_is_not_appended() {
    dies(CrashPoint::AnswerBeforeAppend);
}

#[test]
fn p_06_an_answer_is_appended_and_not_applied() {
    dies(CrashPoint::AnswerAppended);
}

#[test]
fn p_07_a_fill_has_come_and_is_not_appended() {
    dies(CrashPoint::FillBeforeAppend);
}

#[test]
fn p_08_a_fill_is_appended_and_not_applied() {
    dies(CrashPoint::FillAppended);
}

#[test]
fn p_09_an_end_was_applied_and_what_it_asks_for_is_not_done() {
    dies(CrashPoint::EndApplied);
}

#[test]
fn p_10_what_an_end_asks_for_is_done() {
    dies(CrashPoint::EndWorkedOff);
}

#[test]
fn p_11_started_and_nothing_read() {
    dies(CrashPoint::BootBeforeReplay);
}

#[test]
fn p_12_the_journal_is_read_and_nothing_was_asked() {
    dies(CrashPoint::BootAfterReplay);
}

#[test]
fn p_13_the_venue_is_being_asked() {
    dies(CrashPoint::BootReconciling);
}

#[test]
fn p_14_a_batch_is_written_and_not_synced() {
    dies(CrashPoint::BatchWritten);
}

#[test]
fn n_20_all_connections_stop_one_by_one_and_resume_in_an_order_of_chance() {
    let kit = Kit::new().unwrap();
    let duress = Duress { is_clogged: true, ..Duress::default() };
    let mut clogs = 0;
    for seed in 0..3 * seeds() {
        let world = World::run_under(&kit, seed, duress).unwrap();
        assert_eq!(world.violation(), None, "seed {seed}");
        clogs += world.clogs();
    }
    assert!(clogs >= 3 * seeds(), "only {clogs} times did everything stop");
}

/// Runs an outage; of both bots together.
fn out_for(kit: &Kit, outage: Outage, seed: u64) -> World<'_> {
    let world = World::run_under(kit, seed, Duress { outage: Some(outage), ..Duress::default() }).unwrap();
    assert_eq!(world.violation(), None, "seed {seed}");
    eprintln!("{outage:?}, seed {seed}: {:?}", world.asked());
    world
}

/// Orders are accepted after the outage, too.
fn trades_again(world: &World<'_>) {
    let (before, all) = (world.asked().accepted_before, world.coverage().count(Met::OrdersAccepted));
    eprintln!("{before} orders before the venue came back, {all} in all");
    assert!(all > before);
}

/// Dozens of orders want to be cancelled or looked up all the while: quickly at first, rarely in the long run.
fn is_calm(asked: &Asked, minutes: u64) {
    assert!(asked.requests_per_min_max <= 2_400, "{asked:?}");
    assert!(asked.requests <= minutes * 700, "{asked:?}");
}

#[test]
fn n_11_an_hour_of_maintenance_is_waited_for_without_a_hot_loop_and_trading_goes_on_after_it() {
    let kit = Kit::new().unwrap();
    for seed in 0..2 {
        let world = out_for(&kit, Outage { minutes: 60, is_whole: true }, seed);
        let asked = world.asked();
        assert!(asked.placements <= 40, "no new exposure without the account stream: {asked:?}");
        // Two bots, twelve times five minutes, and the budget that the kit gives each.
        assert!(asked.connects <= 2 * 12 * 200, "within the budget of connects: {asked:?}");
        is_calm(asked, 60);
        trades_again(&world);
    }
}

#[test]
fn v_17_503_for_100_minutes_also_to_cancels_is_bounded_and_ends_with_the_venues_truth() {
    let kit = Kit::new().unwrap();
    for seed in 0..2 {
        let world = out_for(&kit, Outage { minutes: 100, is_whole: false }, seed);
        let asked = world.asked();
        assert!(asked.cancels > 0 && asked.placements > 0, "{asked:?}");
        is_calm(asked, 100);
        assert!(world.coverage().count(Met::Unknown) > 0);
        trades_again(&world);
    }
}
