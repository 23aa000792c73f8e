//! What goes wrong in one simulated run, and how often: drawn from a seed, counted, and weakened piece by piece when a failing
//! run is made small. Pure: the driver asks whether a fault strikes and does it.
//!
//! Invariants: the same seed draws the same plan; a fault whose chance is zero never strikes; asking costs one random number
//! whether or not it strikes.

use crate::rng::Rng;

/// How much less than promised replicas lag, so that steps of the venue's clock do not break the promise; unit: milliseconds.
const LAG_MARGIN_MS: u64 = 300;

/// One kind of fault. The order is that of [`Fault::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No connection: the request does not leave (N-02).
    NotConnected,
    /// The request is lost on its way (V-02).
    LoseRequest,
    /// A placement reaches the venue late, perhaps after its sender gave up (V-01, V-06).
    LateRequest,
    /// The answer is lost (V-01).
    LoseAnswer,
    /// The answer comes late, perhaps after its reader gave up.
    LateAnswer,
    /// The request is carried out and answered with a 5xx or a code that says nothing (V-04).
    Unsure,
    /// The request is refused by a firewall or proxy in words that are not the venue's (V-04).
    Unreadable,
    /// A definitive refusal, truly.
    Refuse,
    /// A definitive refusal of what was accepted: a lie (V-05).
    Lie,
    /// 429 with a time to wait (V-15).
    RateLimit,
    /// A report does not arrive (N-13).
    LoseReport,
    /// A report arrives twice (N-14, V-09).
    RepeatReport,
    /// A report arrives after later ones (N-14).
    ReorderReport,
    /// The account stream breaks off.
    CutStream,
    /// The account stream says nothing for a while; its connection stays (N-08).
    SilentStream,
    /// The venue ends the subscription (N-10).
    EndStream,
    /// A connection attempt fails.
    RefuseStream,
    /// An answer about an order that is over tells less than was filled: a lie (V-05, V-10).
    LieCount,
    /// A request that seemed not to leave left all the same: a lie of what lies between.
    LieNotSent,
    /// A question is answered by a replica that lags, within its bound (V-03, V-10, V-11).
    Lag,
    /// A question is answered by a replica that lags beyond its bound (V-03).
    LagBeyond,
    /// The venue ends an order that nobody asked it to end (V-14).
    EndOrder,
    /// Somebody trades by hand on the same account (V-12, O-06).
    Foreign,
    /// Filters or trading status change (V-18, V-20).
    Filters,
    /// Our clock steps (T-02).
    ClockStep,
    /// The venue's clock steps a little (V-26).
    VenueClockStep,
    /// The venue's clock steps further than the bound allows for (V-26).
    VenueClockJump,
    /// The process ends at a named point (P-01 … P-14).
    Crash,
    /// The power fails at a named point (P-16).
    PowerLoss,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 29] = [
        Self::NotConnected,
        Self::LoseRequest,
        Self::LateRequest,
        Self::LoseAnswer,
        Self::LateAnswer,
        Self::Unsure,
        Self::Unreadable,
        Self::Refuse,
        Self::Lie,
        Self::RateLimit,
        Self::LoseReport,
        Self::RepeatReport,
        Self::ReorderReport,
        Self::CutStream,
        Self::SilentStream,
        Self::EndStream,
        Self::RefuseStream,
        Self::LieCount,
        Self::LieNotSent,
        Self::Lag,
        Self::LagBeyond,
        Self::EndOrder,
        Self::Foreign,
        Self::Filters,
        Self::ClockStep,
        Self::VenueClockStep,
        Self::VenueClockJump,
        Self::Crash,
        Self::PowerLoss,
    ];

    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its chance in a million at its worst: per request, report, tick or start, whatever it strikes at.
    const fn worst_ppm(self) -> u64 {
        match self {
            Self::NotConnected | Self::Refuse => 150_000,
            Self::LoseRequest | Self::LateRequest | Self::LoseAnswer | Self::LateAnswer | Self::Unsure => 300_000,
            Self::Unreadable | Self::Lie | Self::LieNotSent => 100_000,
            Self::RateLimit => 30_000,
            Self::LoseReport | Self::RepeatReport => 400_000,
            Self::ReorderReport => 500_000,
            Self::CutStream | Self::SilentStream | Self::EndStream => 15_000,
            Self::LieCount => 400_000,
            Self::RefuseStream => 400_000,
            Self::Lag => 1_000_000,
            Self::LagBeyond => 300_000,
            Self::EndOrder => 60_000,
            Self::Foreign | Self::Filters => 20_000,
            Self::ClockStep | Self::VenueClockStep => 10_000,
            Self::VenueClockJump => 5_000,
            // Drawn once per run; see the driver.
            Self::Crash | Self::PowerLoss => 1_000_000,
        }
    }

    /// Does it break what the design assumes of a venue, so that wrong conclusions must be noticed instead of avoided?
    #[must_use]
    pub const fn is_byzantine(self) -> bool {
        matches!(self, Self::Lie | Self::LieCount | Self::LieNotSent | Self::LagBeyond | Self::VenueClockJump)
    }
}

/// The plan of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// Chance of each kind, in a million, by the order of [`Fault::ALL`].
    pub chance_ppm: [u64; Fault::COUNT],
    /// Does the venue break its promises in this run?
    pub is_byzantine: bool,
    /// Is what is late or lags always as late as its bound allows? Wrong margins show in such runs alone.
    pub is_edge: bool,
    /// How late a late request or answer is at most; unit: milliseconds.
    pub late_ms_max: u64,
    /// How far a lagging replica is behind at most; unit: milliseconds.
    pub lag_ms_max: u64,
    /// How much later than others single orders and trades become visible, within `lag_ms_max`; unit: milliseconds.
    pub jitter_ms_max: u64,
    /// How far our clock is off at the start; unit: milliseconds.
    pub skew_ms: i64,
    /// Time that a sync takes; unit: milliseconds.
    pub sync_ms: u64,
    /// Receive window; unit: milliseconds.
    pub recv_window_ms: u64,
    /// How long things go wrong; unit: milliseconds.
    pub faults_ms: u64,
    /// How many crashes are planned at most.
    pub crashes_max: u64,
}

impl FaultPlan {
    /// Draws a plan: each kind is left out in a third of the runs, so that it is also seen what the others do alone.
    /// `lag_bound_ms` is what the venue promises of its replicas.
    #[must_use]
    pub fn draw(rng: &mut Rng, lag_bound_ms: u64) -> Self {
        let is_byzantine = rng.below(8) == 0;
        let mut chance_ppm = [0; Fault::COUNT];
        for (chance, fault) in chance_ppm.iter_mut().zip(Fault::ALL) {
            let (is_out, drawn) = (rng.below(3) == 0, rng.below(fault.worst_ppm()));
            if !is_out && (is_byzantine || !fault.is_byzantine()) {
                *chance = drawn;
            }
        }
        let between = |rng: &mut Rng, low: u64, high: u64| low + rng.below(high - low + 1);
        let lag_ms_max = rng.below(lag_bound_ms.saturating_sub(LAG_MARGIN_MS));
        let plan = Self {
            chance_ppm,
            is_byzantine,
            is_edge: false,
            late_ms_max: between(rng, 100, 9_000),
            lag_ms_max,
            jitter_ms_max: if rng.below(2) == 0 { 0 } else { rng.below(lag_ms_max + 1) },
            skew_ms: match rng.below(4) {
                0 => rng.between(-30_000, 30_000),
                _ => rng.between(-900, 900),
            },
            sync_ms: rng.below(9),
            recv_window_ms: between(rng, 1_000, 4_000),
            faults_ms: between(rng, 4_000, 14_000),
            crashes_max: rng.below(4),
        };
        if rng.below(12) == 1 { plan.at_the_edge(rng, lag_bound_ms) } else { plan }
    }

    /// Requests that arrive right before they expire, answers and reports that are lost, replicas that lag as far as they may
    /// (and further, if the venue breaks its promises): what a fence has to get right to the millisecond.
    fn at_the_edge(mut self, rng: &mut Rng, lag_bound_ms: u64) -> Self {
        let often = [Fault::LateRequest, Fault::LoseAnswer, Fault::LoseReport];
        for fault in often {
            self.set_chance(fault, 200_000 + rng.below(500_000));
        }
        self.set_chance(Fault::Lag, 900_000);
        if self.is_byzantine {
            self.set_chance(Fault::LagBeyond, 700_000);
        }
        self.is_edge = true;
        (self.lag_ms_max, self.jitter_ms_max) = (lag_bound_ms.saturating_sub(LAG_MARGIN_MS + 1), 0);
        self.recv_window_ms = 2_500 + rng.below(1_501);
        self.late_ms_max = self.recv_window_ms;
        self
    }

    /// The chance of a kind, in a million.
    #[must_use]
    pub fn chance(&self, fault: Fault) -> u64 {
        self.chance_ppm.get(fault as usize).copied().unwrap_or_default()
    }

    /// Sets the chance of a kind, in a million.
    pub fn set_chance(&mut self, fault: Fault, ppm: u64) {
        if let Some(chance) = self.chance_ppm.get_mut(fault as usize) {
            *chance = ppm;
        }
    }

    /// Plans that are weaker than this one in one respect each, the boldest first: what a failing run is made small with.
    #[must_use]
    pub fn weaker(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                plans.push(plan);
            }
        };
        with(&|plan| plan.faults_ms /= 2);
        with(&|plan| plan.faults_ms = plan.faults_ms * 4 / 5);
        with(&|plan| plan.crashes_max = 0);
        with(&|plan| plan.crashes_max = plan.crashes_max.saturating_sub(1));
        for fault in Fault::ALL {
            with(&|plan| plan.set_chance(fault, 0));
        }
        with(&|plan| plan.lag_ms_max = 0);
        with(&|plan| plan.jitter_ms_max = 0);
        with(&|plan| plan.is_edge = false);
        with(&|plan| plan.skew_ms = 0);
        with(&|plan| plan.sync_ms = 0);
        plans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_kinds_is_that_of_the_list_and_byzantine_faults_need_a_byzantine_run() {
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at);
        }
        let mut seen = [false; Fault::COUNT];
        for seed in 0..500 {
            let plan = FaultPlan::draw(&mut Rng::new(seed), 2_000);
            assert_eq!(plan, FaultPlan::draw(&mut Rng::new(seed), 2_000));
            assert!(plan.lag_ms_max + 300 <= 2_000 && plan.jitter_ms_max <= plan.lag_ms_max);
            for fault in Fault::ALL {
                seen[fault as usize] |= plan.chance(fault) > 0;
                assert!(plan.is_byzantine || !fault.is_byzantine() || plan.chance(fault) == 0);
            }
            assert!(plan.weaker().iter().all(|weaker| *weaker != plan));
        }
        assert!(seen.iter().all(|seen| *seen), "{seen:?}");
    }
}
