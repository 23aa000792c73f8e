//! What a run meets besides what its plan draws: crashes at one point alone, connections that clog.
//!
//! Invariants: without duress nothing here draws a random number; what a clogged connection carries is late, never lost.

use super::{Happening, World};
use crate::coverage::CrashPoint;
use crate::kit::BOTS;

/// What a run is to meet besides its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duress {
    /// Every crash strikes at this point.
    pub crash_point: Option<CrashPoint>,
    /// All connections stop one by one and resume in an order of chance, again and again (N-20).
    pub is_clogged: bool,
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
    /// Stops every connection, one after the other in an order of chance, and draws when each goes on.
    pub(super) fn clog(&mut self) {
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
        self.at(resumed_ms - self.now_ms + pause_ms, Happening::Clog);
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
