//! The world of one seed: a queue of happenings, the venue, the bots, what goes wrong, and the judge.
//!
//! Invariant: everything that happens follows from the kit, the seed and the plan; the trace is a hash over all of it.

mod boot;
mod calls;
mod duress;
mod judge;
mod links;
mod market;
mod process;

use crate::bot::Process;
use crate::coverage::{Coverage, CrashPoint, Met};
use crate::kit::{BOTS, Kit, LAG_BOUND_MS};
use duress::Clogs;
pub use duress::{Asked, Duress, Outage};
use judge::Book;
use keel_exchange::binance::spot::session::LinkId;
use keel_lifecycle::Clock;
use keel_model::{ClientOrderId, InstrumentId, Timestamp};
use keel_sim::rng::Rng;
use keel_sim::{AccountId, Fault, FaultPlan};
use keel_store::Durability;
use keel_store::image::JournalImage;
use keel_venue::{FaceAnswer, ReadView, VenueFace, VenueLimits};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

/// The wall time at which every world begins; unit: milliseconds.
pub(crate) const START_MS: u64 = 1_700_000_000_000;
/// How often bots are told the time; unit: milliseconds.
const TICK_MS: u64 = 100;
/// How long after the faults everything must be resolved; unit: milliseconds.
const HEALING_MS: u64 = 60_000;
/// How long it must stay quiet, after a whole comparison with the venue, before the judge looks; unit: milliseconds.
const QUIET_MS: u64 = 1_000;

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) params: Vec<u8>,
}

/// Something that will happen. What belongs to a process carries its epoch, and is nothing once that has ended.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Boot(usize),
    Timer(usize, u32),
    DiskWrite(usize, u32),
    DiskSynced(usize, u32),
    Arrive(usize, u32, usize, u32, Wire),
    Answer(usize, u32, usize, u32, FaceAnswer),
    Retry(usize, u32, usize, u32),
    LinkUp(usize, u32, LinkId),
    LinkDown(usize, u32, LinkId),
    LinkText(usize, u32, LinkId, String),
    LinkPong(usize, u32, LinkId),
    Frame(usize, u32, LinkId, String),
    Crowd,
    Weather,
    Duress,
}

/// Why a seed fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `I1`, `I2`, …
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

/// One bot of the account: its journal and what becomes of its processes.
#[derive(Debug)]
pub(crate) struct Bot {
    pub(crate) process: Option<Process>,
    pub(crate) journal: JournalImage,
    pub(crate) epoch: u32,
    /// Our wall clock less the true time; unit: milliseconds.
    pub(crate) offset_ms: i64,
    pub(crate) crash_plan: Vec<(CrashPoint, u32)>,
    pub(crate) point_counts: [u32; CrashPoint::ALL.len()],
    /// Orders that were closed as never accepted or refused, and not risen since.
    pub(crate) dead: BTreeSet<ClientOrderId>,
}

/// The world.
#[derive(Debug)]
pub struct World<'k> {
    pub(crate) kit: &'k Kit,
    pub(crate) plan: FaultPlan,
    pub(crate) rng: Rng,
    pub(crate) clock: Clock,
    pub(crate) venue: VenueFace,
    pub(crate) house: AccountId,
    pub(crate) bots: Vec<Bot>,
    pub(crate) book: Book,
    pub(crate) durability: Durability,
    duress: Duress,
    pub(crate) clogs: Clogs,
    pub(crate) asked: Asked,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Happening>>,
    free: Vec<usize>,
    ordinal: u64,
    pub(crate) now_ms: u64,
    pub(crate) is_healed: bool,
    /// The power failed under a policy that does not promise to survive it.
    pub(crate) is_beyond_promise: bool,
    quiet_since_ms: u64,
    pub(crate) venue_offset_ms: i64,
    pub(crate) coverage: Coverage,
    violation: Option<Violation>,
    trace: u64,
    happenings: u64,
    lines: Option<Vec<String>>,
}

impl<'k> World<'k> {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn plan(seed: u64) -> FaultPlan {
        FaultPlan::draw(&mut Rng::fork(seed, 0x706c_616e), LAG_BOUND_MS)
    }

    /// Runs a seed with its own plan.
    pub fn run(kit: &'k Kit, seed: u64) -> Result<Self, String> {
        Self::run_plan(kit, seed, Self::plan(seed), false)
    }

    /// Runs a seed with a given plan, and keeps a transcript if asked to.
    pub fn run_plan(kit: &'k Kit, seed: u64, plan: FaultPlan, is_told: bool) -> Result<Self, String> {
        Self::run_duress(kit, seed, plan, Duress::default(), is_told)
    }

    /// Runs a seed with its own plan under duress.
    pub fn run_under(kit: &'k Kit, seed: u64, duress: Duress) -> Result<Self, String> {
        Self::run_duress(kit, seed, duress.plan(Self::plan(seed)), duress, false)
    }

    fn run_duress(kit: &'k Kit, seed: u64, plan: FaultPlan, duress: Duress, is_told: bool) -> Result<Self, String> {
        let mut rng = Rng::fork(seed, 0x77_6f72_6c64);
        let durability = match rng.below(4) {
            0 => Durability::Process,
            _ => Durability::Power,
        };
        let limits = if rng.below(4) == 0 {
            VenueLimits { orders_per_10s: 25, ..VenueLimits::unlimited() }
        } else {
            VenueLimits::unlimited()
        };
        let clock = Clock::manual_at(START_MS * 1_000_000);
        let venue = kit.venue(seed, clock.clone(), limits)?;
        let house = venue.with_engine(|engine, _| engine.add_house_account());
        let mut world = Self {
            kit,
            bots: Vec::with_capacity(BOTS),
            rng,
            clock,
            venue,
            house,
            book: Book::default(),
            durability,
            duress,
            clogs: Clogs::default(),
            asked: Asked::default(),
            queue: BinaryHeap::with_capacity(256),
            slots: Vec::with_capacity(256),
            free: Vec::new(),
            ordinal: 0,
            now_ms: 0,
            is_healed: false,
            is_beyond_promise: false,
            quiet_since_ms: 0,
            venue_offset_ms: 0,
            coverage: Coverage::default(),
            violation: None,
            trace: seed,
            happenings: 0,
            lines: is_told.then(Vec::new),
            plan,
        };
        for at in 0..BOTS {
            let bot = world.make_bot(at);
            world.bots.push(bot);
        }
        world.open_market();
        (0..BOTS).for_each(|bot| world.at(0, Happening::Boot(bot)));
        world.at(150, Happening::Crowd);
        world.at(70, Happening::Weather);
        world.begin_duress();
        world.live()?;
        world.judge()?;
        Ok(world)
    }

    fn make_bot(&mut self, at: usize) -> Bot {
        let mut crash_plan = Vec::new();
        for _ in 0..self.plan.crashes_max {
            let point = CrashPoint::ALL.get(self.rng.below(14) as usize).copied().unwrap_or(CrashPoint::BeforeIntent);
            let most = if matches!(
                point,
                CrashPoint::BootBeforeReplay | CrashPoint::BootAfterReplay | CrashPoint::BootReconciling
            ) {
                2
            } else {
                8
            };
            let nth = 1 + self.rng.below(most) as u32;
            // At one point alone it strikes early, so that every point is met.
            crash_plan.push(self.duress.crash_point.map_or((point, nth), |only| (only, 1 + nth / 3)));
        }
        let offset_ms = if at == 0 { self.plan.skew_ms } else { -self.plan.skew_ms / 2 };
        Bot {
            process: None,
            journal: JournalImage::new(at as u32 + 1, self.durability),
            epoch: 0,
            offset_ms,
            crash_plan,
            point_counts: [0; CrashPoint::ALL.len()],
            dead: BTreeSet::new(),
        }
    }

    // ── Time ──

    pub(crate) fn at(&mut self, delay_ms: u64, happening: Happening) {
        self.ordinal += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(happening);
                slot
            }
            None => {
                self.slots.push(Some(happening));
                self.slots.len() - 1
            }
        };
        self.queue.push(Reverse((self.now_ms + delay_ms, self.ordinal, slot)));
    }

    /// What a bot's clock says.
    pub(crate) fn wall(&self, bot: usize) -> Timestamp {
        let offset_ms = self.bots[bot].offset_ms;
        Timestamp::from_ms((START_MS + self.now_ms).saturating_add_signed(offset_ms))
    }

    fn live(&mut self) -> Result<(), String> {
        let end_ms = self.plan.faults_ms + HEALING_MS;
        while let Some(Reverse((at_ms, _, slot))) = self.queue.pop() {
            if at_ms > self.now_ms {
                self.clock.advance(Duration::from_millis(at_ms - self.now_ms));
                self.now_ms = at_ms;
            }
            let Some(happening) = self.slots[slot].take() else { continue };
            self.free.push(slot);
            if at_ms >= self.plan.faults_ms && !self.is_healed {
                self.heal();
            }
            if self.violation.is_some() || at_ms > end_ms || self.is_over() {
                return Ok(());
            }
            self.happenings += 1;
            self.happen(happening)?;
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.is_healed = true;
        self.note(|| "── the faults stop ──".to_owned());
        self.quiet_since_ms = self.now_ms;
        for bot in &self.bots {
            if let Some(process) = &bot.process {
                process.quiet();
            }
        }
        self.calm_market();
    }

    /// Has everything been resolved for so long that a comparison with the venue has come round since?
    fn is_over(&mut self) -> bool {
        if !self.is_healed {
            return false;
        }
        let is_quiet = self.bots.iter().all(|bot| {
            bot.process.as_ref().is_some_and(|process| {
                process.is_started
                    && process.is_compared
                    && process.waiting.is_empty()
                    && process.engine.orders().doubted_count() == 0
                    && process
                        .engine
                        .orders()
                        .open()
                        .all(|order| order.state == keel_execution::OrderState::Live && !order.is_cancel_wanted)
            })
        });
        if !is_quiet {
            self.quiet_since_ms = self.now_ms;
        }
        self.now_ms >= self.quiet_since_ms + QUIET_MS
    }

    fn is_current(&self, bot: usize, epoch: u32) -> bool {
        self.bots[bot].epoch == epoch && self.bots[bot].process.is_some()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        let of = match &happening {
            Happening::Timer(bot, epoch)
            | Happening::DiskWrite(bot, epoch)
            | Happening::DiskSynced(bot, epoch)
            | Happening::Answer(bot, epoch, ..)
            | Happening::Retry(bot, epoch, ..)
            | Happening::LinkUp(bot, epoch, _)
            | Happening::LinkDown(bot, epoch, _)
            | Happening::LinkText(bot, epoch, ..)
            | Happening::LinkPong(bot, epoch, _)
            | Happening::Frame(bot, epoch, ..) => Some((*bot, *epoch)),
            Happening::Boot(_) | Happening::Arrive(..) | Happening::Crowd | Happening::Weather | Happening::Duress => {
                None
            }
        };
        if let Some((bot, epoch)) = of {
            if !self.is_current(bot, epoch) {
                return Ok(());
            }
            self.set_process_clock(bot);
        }
        match happening {
            Happening::Boot(bot) => self.boot(bot)?,
            Happening::Timer(bot, _) => self.timer(bot),
            Happening::DiskWrite(bot, _) => self.disk_write(bot),
            Happening::DiskSynced(bot, _) => self.disk_synced(bot),
            Happening::Arrive(bot, epoch, call, request, wire) => self.arrive(bot, epoch, call, request, &wire),
            Happening::Answer(bot, _, call, request, answer) => self.answered(bot, call, request, &answer),
            Happening::Retry(bot, _, call, request) => self.retry(bot, call, request),
            Happening::LinkUp(bot, _, link) => self.link_up(bot, link),
            Happening::LinkDown(bot, _, link) => self.link_down(bot, link, "cut"),
            Happening::LinkText(bot, _, link, text) => self.link_text(bot, link, &text),
            Happening::LinkPong(bot, _, link) => self.link_pong(bot, link),
            Happening::Frame(bot, _, link, text) => self.frame(bot, link, &text),
            Happening::Crowd => self.crowd(),
            Happening::Weather => self.weather(),
            Happening::Duress => self.strike(),
        }
        Ok(())
    }

    pub(crate) fn set_process_clock(&mut self, bot: usize) {
        let now_ns = (START_MS + self.now_ms) * 1_000_000;
        if let Some(process) = &self.bots[bot].process {
            process.clock.advance_to_ns(now_ns);
        }
    }

    // ── Chance ──

    /// Does a fault strike?
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let is_it = self.rng.below(1_000_000) < self.plan.chance(fault) && !self.is_healed;
        if is_it {
            self.coverage.fault(fault);
        }
        is_it
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.rng.below(high.saturating_sub(low) + 1)
    }

    /// As of when a question is answered.
    pub(crate) fn view(&mut self) -> Option<ReadView> {
        if self.strikes(Fault::LagBeyond) {
            let beyond_ms = self.between(LAG_BOUND_MS, 4 * LAG_BOUND_MS);
            return Some(ReadView { lag: Duration::from_millis(beyond_ms), jitter_ms: 0, salt: 0 });
        }
        if self.plan.lag_ms_max == 0 || !self.strikes(Fault::Lag) {
            return None;
        }
        let jitter_ms = self.plan.jitter_ms_max;
        let lag_ms_max = self.plan.lag_ms_max - jitter_ms;
        let lag_ms = if self.plan.is_edge { lag_ms_max } else { self.rng.below(lag_ms_max + 1) };
        Some(ReadView { lag: Duration::from_millis(lag_ms), jitter_ms, salt: self.plan.recv_window_ms })
    }

    // ── What is told ──

    /// Everything that happens goes into the trace; words only where a transcript is kept.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>6} {}", self.now_ms, line()));
        }
    }

    /// Mixes bytes into the trace.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        let mut trace = self.trace ^ self.now_ms.rotate_left(20);
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            trace = (trace ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
        self.trace = trace;
    }

    pub(crate) fn bad(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            self.note(|| format!("VIOLATION {invariant}: {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }

    pub(crate) const fn is_judged(&self) -> bool {
        !self.plan.is_byzantine
    }

    /// What was violated, if anything.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Hash over everything that happened.
    #[must_use]
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    /// What was met.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// How many things happened, and how long it took in the world; unit: milliseconds.
    #[must_use]
    pub const fn size(&self) -> (u64, u64) {
        (self.happenings, self.now_ms)
    }

    /// The lines of the transcript, if one was kept.
    #[must_use]
    pub fn transcript(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    pub(crate) fn instrument_ids() -> [InstrumentId; 2] {
        [InstrumentId(0), InstrumentId(1)]
    }

    pub(crate) fn met(&mut self, what: Met) {
        self.coverage.met(what);
    }
}
