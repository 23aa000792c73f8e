//! What a run meets besides what its plan draws: crashes at one point alone, connections that clog, a venue that is out for
//! hours.
//!
//! Invariants: without duress nothing here draws a random number; what a clogged connection carries is late, never lost.

use super::{Happening, Wire, World};
use crate::coverage::{CrashPoint, Met};
use crate::kit::BOTS;
use keel_sim::{Fault, FaultPlan};

/// What a run is to meet besides its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duress {
    /// Every crash strikes at this point.
    pub crash_point: Option<CrashPoint>,
    /// All connections stop one by one and resume in an order of chance, again and again (N-20).
    pub is_clogged: bool,
    /// The venue answers 503 for a long time, and nothing else goes wrong.
    pub outage: Option<Outage>,
}

/// A venue that answers 503 to every request and carries none out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// How long; unit: minutes.
    pub minutes: u64,
    /// Are the streams gone, too, as in maintenance? Else they go on, and the time is told.
    pub is_whole: bool,
}

/// What reached the venue while it was out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests.
    pub requests: u64,
    /// Those among them that would place an order.
    pub placements: u64,
    /// Those among them that would cancel one.
    pub cancels: u64,
    /// Connects of account streams.
    pub connects: u64,
    /// Orders that the venue had accepted when it came back.
    pub accepted_before: u64,
    /// The most requests within any one minute of it.
    pub requests_per_min_max: u64,
    minute: u64,
    in_minute: u64,
}

/// When an outage begins; unit: milliseconds.
const OUTAGE_FROM_MS: u64 = 3_000;
/// How long there is trading after it, before the judge comes; unit: milliseconds.
const AFTER_OUTAGE_MS: u64 = 60_000;

impl Duress {
    /// The plan of a run under it.
    pub(super) fn plan(&self, mut plan: FaultPlan) -> FaultPlan {
        if self.crash_point.is_some() {
            plan.crashes_max = plan.crashes_max.max(1);
            plan.chance_ppm[Fault::Crash as usize] = plan.chance(Fault::Crash).max(1);
        }
        if let Some(outage) = self.outage {
            plan.chance_ppm = [0; Fault::COUNT];
            plan.is_byzantine = false;
            plan.faults_ms = OUTAGE_FROM_MS + outage.minutes * 60_000 + AFTER_OUTAGE_MS;
        }
        plan
    }
}

/// A connection of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pipe {
    /// Requests and their answers.
    Requests,
    /// The account stream.
    Account,
}

/// How many kinds of connections a bot has.
const PIPES: usize = 2;
/// Longest pause between the stops of two connections; unit: milliseconds.
const STOP_GAP_MS: u64 = 400;
/// How long a connection may stand still after the last one has stopped; unit: milliseconds.
const STILL_MS_MAX: u64 = 9_000;

/// From when until when each connection stands still; unit: milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clogs {
    still: [[(u64, u64); PIPES]; BOTS],
    pub(crate) count: u64,
}

impl World<'_> {
    pub(super) fn begin_duress(&mut self) {
        if self.duress.is_clogged {
            self.at(900, Happening::Duress);
        }
        if let Some(outage) = self.duress.outage {
            self.at(OUTAGE_FROM_MS, Happening::Duress);
            self.at(OUTAGE_FROM_MS + outage.minutes * 60_000, Happening::Duress);
        }
    }

    /// What is to be met begins, or begins again.
    pub(super) fn strike(&mut self) {
        match self.outage() {
            Some(outage) if outage.is_whole => self.break_streams_off(),
            Some(_) => {}
            None => self.end_outage(),
        }
        if self.duress.is_clogged {
            self.clog();
        }
    }

    // ── The venue is out ──

    fn outage(&self) -> Option<Outage> {
        let until_ms = |outage: &Outage| OUTAGE_FROM_MS + outage.minutes * 60_000;
        self.duress.outage.filter(|outage| (OUTAGE_FROM_MS..until_ms(outage)).contains(&self.now_ms))
    }

    /// The venue is back; quotes are fresh again.
    fn end_outage(&mut self) {
        self.asked.accepted_before = self.coverage.count(Met::OrdersAccepted);
        for bot in 0..BOTS {
            self.set_process_clock(bot);
            self.quote(bot);
        }
    }

    fn break_streams_off(&mut self) {
        for bot in 0..BOTS {
            let epoch = self.bots[bot].epoch;
            let links: Vec<_> =
                self.bots[bot].process.iter().flat_map(|process| process.peers.iter().map(|peer| peer.id)).collect();
            links.into_iter().for_each(|link| self.at(0, Happening::LinkDown(bot, epoch, link)));
        }
    }

    /// Does the venue answer this with 503? Counts it.
    pub(super) fn is_out(&mut self, wire: &Wire) -> bool {
        let Some(outage) = self.outage() else { return false };
        if !outage.is_whole && wire.path == keel_exchange::binance::spot::codec::calls::TIME {
            return false;
        }
        let minute = self.now_ms / 60_000;
        let asked = &mut self.asked;
        asked.requests += 1;
        asked.placements += u64::from(wire.method == "POST");
        asked.cancels += u64::from(wire.method == "DELETE");
        asked.in_minute = if asked.minute == minute { asked.in_minute + 1 } else { 1 };
        asked.minute = minute;
        asked.requests_per_min_max = asked.requests_per_min_max.max(asked.in_minute);
        true
    }

    /// Are account streams refused? Counts the attempt.
    pub(super) fn refuses_streams(&mut self) -> bool {
        let is_refused = self.outage().is_some_and(|outage| outage.is_whole);
        self.asked.connects += u64::from(is_refused);
        is_refused
    }

    /// What reached the venue while it was out.
    #[must_use]
    pub const fn asked(&self) -> &Asked {
        &self.asked
    }

    // ── Connections that clog ──

    /// Stops every connection, one after the other in an order of chance, and draws when each goes on.
    fn clog(&mut self) {
        if self.is_healed {
            return;
        }
        let mut left: Vec<(usize, usize)> = (0..BOTS).flat_map(|bot| (0..PIPES).map(move |pipe| (bot, pipe))).collect();
        let (mut from_ms, mut stops) = (self.now_ms, Vec::new());
        while !left.is_empty() {
            let at = self.rng.below(left.len() as u64) as usize;
            stops.push((left.swap_remove(at), from_ms));
            from_ms += self.between(1, STOP_GAP_MS);
        }
        let mut resumed_ms = from_ms;
        for ((bot, pipe), stop_ms) in stops {
            let until_ms = from_ms + self.between(1, STILL_MS_MAX);
            resumed_ms = resumed_ms.max(until_ms);
            self.clogs.still[bot][pipe] = (stop_ms, until_ms);
            self.note(|| format!("connection {pipe} of bot {bot} stands still from {stop_ms} to {until_ms}"));
        }
        self.clogs.count += 1;
        let pause_ms = self.between(500, 2_000);
        self.at(resumed_ms - self.now_ms + pause_ms, Happening::Duress);
    }

    /// Something on a connection that takes this long, if it does not stand still.
    pub(super) fn carry(&mut self, bot: usize, pipe: Pipe, delay_ms: u64, what: Happening) {
        let due_ms = self.now_ms + delay_ms;
        let (from_ms, until_ms) = self.clogs.still[bot][pipe as usize];
        let is_still = (from_ms..until_ms).contains(&due_ms) && !self.is_healed;
        let delay_ms = if is_still { until_ms - self.now_ms } else { delay_ms };
        self.at(delay_ms, what);
    }

    /// How often all connections have stopped.
    #[must_use]
    pub const fn clogs(&self) -> u64 {
        self.clogs.count
    }
}
