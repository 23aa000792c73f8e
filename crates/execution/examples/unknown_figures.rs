//! How long an order of unknown outcome stays unknown, over many seeds, on virtual time.
//!
//! The order manager is asked to place orders whose answers are lost. The venue has some of them; its order queries lag behind
//! acceptance by up to the staleness bound, questions and answers take their time, some get lost, and for spells the venue
//! answers 5xx. Told are: from the unknown outcome to "found" (against 2 s, for orders that queries can see), from the signature
//! to "never accepted" (against receive window + bound + 1 s), and wrong closings, of which there must be none.
//!
//! Run: `cargo run --release -p keel-execution --example unknown_figures -- [SEEDS]` (default 20000)

use keel_execution::{ExecutionConfig, OrderAction, OrderManager, OrderState, UnknownRule};
use keel_model::{
    ClientOrderId, ExecutionEvent, InstrumentId, NewOrder, OrderIntent, OrderPurpose, OrderSnapshot, OrderStatus,
    QueryOutcome, Side, StrategyId, SubmitOutcome, Timestamp, UnknownReason, VenueOrderId,
};

/// The order manager is told the time this often, as the coordinator does; unit: milliseconds.
const TICK_MS: u64 = 50;
const BOUND_MS: u64 = 10_000;
const BOUND_DEGRADED_MS: u64 = 60_000;
const WINDOW_MS: u64 = 5_000;
/// How far the venue's clock is from ours.
const SKEW_MS: u64 = 3_700;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// What became of one order.
struct Run {
    is_accepted: bool,
    /// From the unknown outcome until queries could show it.
    hidden_ms: u64,
    is_degraded: bool,
    /// From the unknown outcome to the end of not knowing.
    unknown_ms: u64,
    /// From the signature to the same.
    frozen_ms: u64,
    is_wrong: bool,
}

fn config(rule: UnknownRule) -> ExecutionConfig {
    ExecutionConfig {
        instance: 1,
        epoch: 1,
        unknown_rule: rule,
        recv_window_ms: WINDOW_MS,
        ..ExecutionConfig::default()
    }
}

fn run(seed: u64) -> Run {
    let mut random = Random(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1);
    let rule = UnknownRule::Fence { staleness_bound_ms: BOUND_MS, staleness_bound_degraded_ms: BOUND_DEGRADED_MS };
    let mut manager = OrderManager::new(config(rule));
    let start = 1_700_000_000_000 + random.below(1_000_000);
    let id = ClientOrderId { instance: 1, epoch: 1, sequence: 1 };
    let (size, price) = ("1".parse().unwrap_or_default(), "100".parse().unwrap_or_default());
    let intent = OrderIntent::limit(InstrumentId(0), Side::Buy, size, price, OrderPurpose::Entry);
    let ts = Timestamp::from_ms(start);
    let new = NewOrder { client_order_id: id, strategy: StrategyId(0), ts_decided: ts, intent };
    let mut out = Vec::new();
    let taken = manager.restore_intent(new, ts).is_ok();
    debug_assert!(taken, "the first order of its id");
    let signed = start + SKEW_MS;
    let signed_at = Timestamp::from_ms(signed);
    manager.on_event(&ExecutionEvent::Sent { client_order_id: id, signed_at, recv_window_ms: WINDOW_MS }, ts, &mut out);
    // The request is taken within its window, or never; the queries show it after a lag within the bound of the time.
    let is_accepted = random.chance(600);
    let is_degraded = random.chance(200);
    // Mostly at once; now and then only just within its window.
    let accepted_at = signed + if random.chance(950) { random.below(20) } else { random.below(WINDOW_MS) };
    let bound = if is_degraded { BOUND_DEGRADED_MS } else { BOUND_MS };
    // Nearly always at once; now and then late, up to the bound.
    let lag_ms = if random.chance(950) { random.below(100) } else { random.below(bound) };
    let unknown_at = start + 20 + random.below(400);
    let reason = if is_degraded { UnknownReason::VenueUnsure } else { UnknownReason::Timeout };
    let outcome = ExecutionEvent::Submit(id, SubmitOutcome::Unknown(reason));
    manager.on_event(&outcome, Timestamp::from_ms(unknown_at), &mut out);
    let mut answers: Vec<(u64, QueryOutcome)> = Vec::new();
    let mut now = unknown_at;
    loop {
        now += 1;
        let ts = Timestamp::from_ms(now);
        if let Some(at) = answers.iter().position(|(due, _)| *due <= now) {
            let (_, outcome) = answers.swap_remove(at);
            manager.on_event(&ExecutionEvent::Query(id, outcome), ts, &mut out);
        }
        if now.is_multiple_of(TICK_MS) {
            manager.on_timer(ts, &mut out);
        }
        for action in out.drain(..) {
            if !matches!(action, OrderAction::Query(_)) {
                continue;
            }
            let (there, back) = (1 + random.below(40), 1 + random.below(40));
            let venue_now = now + SKEW_MS + there;
            let is_seen = is_accepted && venue_now >= accepted_at + lag_ms;
            let is_unsure = is_degraded && random.chance(100);
            let outcome = match () {
                () if is_unsure => QueryOutcome::Unknown(UnknownReason::VenueUnsure),
                () if random.chance(20) => QueryOutcome::Unknown(UnknownReason::Timeout),
                () if is_seen => QueryOutcome::Found(found(&new, venue_now)),
                // The time was asked for before the question.
                () => QueryOutcome::NotFound { venue_time_before: Some(Timestamp::from_ms(venue_now - there)) },
            };
            answers.push((now + there + back, outcome));
        }
        let state = manager.get(id).map(|order| order.state);
        if state != Some(OrderState::Unknown) || now > unknown_at + 600_000 {
            let is_wrong = match state {
                Some(OrderState::Live) => !is_accepted,
                Some(OrderState::NeverAccepted) => is_accepted,
                _ => true,
            };
            let (unknown_ms, frozen_ms) = (now - unknown_at, now + SKEW_MS - signed);
            let hidden_ms = (accepted_at + lag_ms).saturating_sub(unknown_at + SKEW_MS);
            return Run { is_accepted, hidden_ms, is_degraded, unknown_ms, frozen_ms, is_wrong };
        }
    }
}

fn found(new: &NewOrder, venue_ms: u64) -> OrderSnapshot {
    OrderSnapshot {
        client_order_id: Some(new.client_order_id),
        venue_order_id: VenueOrderId::truncated("1"),
        instrument: new.intent.instrument,
        side: new.intent.side,
        order_type: Some(new.intent.order_type),
        time_in_force: Some(new.intent.time_in_force),
        status: OrderStatus::New,
        quantity: new.intent.quantity,
        price: new.intent.price,
        stop_price: None,
        cum_quantity: keel_model::Quantity::ZERO,
        cum_quote: None,
        ts_event: Timestamp::from_ms(venue_ms),
    }
}

fn percentiles(name: &str, limit_ms: u64, mut values: Vec<u64>) -> bool {
    values.sort_unstable();
    let at = |part: usize| values.get((values.len().saturating_sub(1)) * part / 1_000).copied().unwrap_or_default();
    let (p50, p99, max) = (at(500), at(990), at(1_000));
    println!(
        "{name:<46} n {:>7}  p50 {p50:>6} ms  p99 {p99:>6} ms  max {max:>6} ms  limit {limit_ms} ms",
        values.len()
    );
    p99 <= limit_ms
}

fn main() {
    let seeds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let runs: Vec<Run> = (1..=seeds).map(run).collect();
    let of = |want: &dyn Fn(&Run) -> bool, value: &dyn Fn(&Run) -> u64| {
        runs.iter().filter(|run| want(run)).map(value).collect::<Vec<u64>>()
    };
    let never = |bound: u64| WINDOW_MS + bound + 1_000;
    let is_good = [
        percentiles(
            "found, from the unknown outcome",
            2_000,
            of(&|it| it.is_accepted && it.hidden_ms == 0, &|it| it.unknown_ms),
        ),
        percentiles(
            "found, from when the venue's queries show it",
            2_000,
            of(&|it| it.is_accepted, &|it| it.unknown_ms.saturating_sub(it.hidden_ms)),
        ),
        percentiles(
            "never accepted, frozen from the signature",
            never(BOUND_MS),
            of(&|it| !it.is_accepted && !it.is_degraded, &|it| it.frozen_ms),
        ),
        percentiles(
            "never accepted while the venue answers 5xx",
            never(BOUND_DEGRADED_MS),
            of(&|it| !it.is_accepted && it.is_degraded, &|it| it.frozen_ms),
        ),
    ];
    let wrong = runs.iter().filter(|run| run.is_wrong).count();
    println!("false terminals: {wrong} of {seeds}");
    assert!(wrong == 0 && is_good.iter().all(|good| *good), "a figure is out of its limit");
}
