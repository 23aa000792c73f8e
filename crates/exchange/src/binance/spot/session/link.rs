//! One connection: what waits to be sent, paced to what the venue takes, and whether it is alive.
//!
//! Invariants: at most [`CONTROLS_PER_S_MAX`] control messages leave within a second (the venue cuts the connection above
//! five, pings and pongs included); a connection without any frame is asked with a ping and then called dead (N-05).

use super::{Action, LinkId, Now, ms};
use crate::binance::spot::config::StreamConfig;
use std::collections::VecDeque;

/// Control messages per second that we send; one less than the venue takes, for the pong that may come between.
pub const CONTROLS_PER_S_MAX: usize = 4;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// On its way.
    Connecting,
    /// Frames may come.
    Open,
}

/// One connection of a session.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its number.
    pub id: LinkId,
    /// Where it stands.
    pub phase: Phase,
    /// Since when it is open.
    pub opened_mono_ns: u64,
    /// The venue said that it will close it.
    pub is_leaving: bool,
    heard_mono_ns: u64,
    is_pinged: bool,
    waiting: VecDeque<String>,
    sent_mono_ns: VecDeque<u64>,
}

impl Link {
    /// A connection that was asked for.
    #[must_use]
    pub const fn new(id: LinkId, now: Now) -> Self {
        Self {
            id,
            phase: Phase::Connecting,
            opened_mono_ns: now.mono_ns,
            is_leaving: false,
            heard_mono_ns: now.mono_ns,
            is_pinged: false,
            waiting: VecDeque::new(),
            sent_mono_ns: VecDeque::new(),
        }
    }

    /// It is open.
    pub const fn opened(&mut self, now: Now) {
        self.phase = Phase::Open;
        self.opened_mono_ns = now.mono_ns;
        self.heard_mono_ns = now.mono_ns;
    }

    /// Is it open?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// A frame of any kind came.
    pub const fn heard(&mut self, now: Now) {
        self.heard_mono_ns = now.mono_ns;
        self.is_pinged = false;
    }

    /// Sends now, or as soon as the pace allows.
    pub fn send(&mut self, text: String, now: Now, out: &mut Vec<Action>) {
        self.waiting.push_back(text);
        self.flush(now, out);
    }

    /// How many messages wait for the pace.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    fn may_send(&mut self, now: Now) -> bool {
        while self.sent_mono_ns.front().is_some_and(|sent| now.mono_ns >= sent + ms(1_000)) {
            self.sent_mono_ns.pop_front();
        }
        self.is_open() && self.sent_mono_ns.len() < CONTROLS_PER_S_MAX
    }

    fn flush(&mut self, now: Now, out: &mut Vec<Action>) {
        while !self.waiting.is_empty() && self.may_send(now) {
            if let Some(text) = self.waiting.pop_front() {
                self.sent_mono_ns.push_back(now.mono_ns);
                out.push(Action::Send(self.id, text));
            }
        }
    }

    /// Sends what waited and asks a silent peer. Answers `false` when the connection is dead.
    pub fn tick(&mut self, config: &StreamConfig, now: Now, out: &mut Vec<Action>) -> bool {
        if !self.is_open() {
            return true;
        }
        let silent_ns = now.mono_ns.saturating_sub(self.heard_mono_ns);
        if silent_ns >= ms(config.dead_after_ms) {
            return false;
        }
        if silent_ns >= ms(config.ping_after_ms) && !self.is_pinged && self.may_send(now) {
            self.is_pinged = true;
            self.sent_mono_ns.push_back(now.mono_ns);
            out.push(Action::Ping(self.id));
        }
        self.flush(now, out);
        true
    }

    /// Is it time for its successor?
    #[must_use]
    pub fn is_due(&self, config: &StreamConfig, now: Now) -> bool {
        self.is_open() && (self.is_leaving || now.mono_ns >= self.opened_mono_ns.saturating_add(ms(config.lifetime_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::Timestamp;

    fn at(milliseconds: u64) -> Now {
        Now { wall: Timestamp::from_ms(milliseconds), mono_ns: ms(milliseconds) }
    }

    #[test]
    fn never_more_than_four_control_messages_leave_within_a_second() {
        let mut link = Link::new(LinkId(1), at(0));
        let mut out = Vec::new();
        link.send("early".into(), at(0), &mut out);
        assert!(out.is_empty(), "nothing is sent before the connection is open");
        link.opened(at(0));
        for n in 0..20 {
            link.send(n.to_string(), at(1), &mut out);
        }
        let mut times = vec![1; out.len()];
        for time in (2..10_000).step_by(10) {
            out.clear();
            link.heard(at(time));
            assert!(link.tick(&StreamConfig::default(), at(time), &mut out));
            times.extend(out.iter().map(|_| time));
        }
        assert_eq!((times.len(), link.waiting_count()), (21, 0));
        assert!(times.windows(5).all(|run| run[4] - run[0] >= 1_000), "{times:?}");
    }

    #[test]
    fn n05_a_silent_connection_is_pinged_once_and_then_dead_within_ten_seconds() {
        let config = StreamConfig::default();
        let mut link = Link::new(LinkId(1), at(0));
        link.opened(at(0));
        let mut out = Vec::new();
        let mut dead_at = None;
        for time in (0..20_000).step_by(100) {
            if !link.tick(&config, at(time), &mut out) {
                dead_at = Some(time);
                break;
            }
        }
        assert_eq!(out, [Action::Ping(LinkId(1))]);
        assert_eq!(dead_at, Some(10_000));
    }
}
