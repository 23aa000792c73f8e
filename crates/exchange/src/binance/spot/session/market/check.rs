//! Quiet streams of a book, compared with the book over REST (N-07): a quiet market and a stream that has silently died look
//! the same from the stream alone.
//!
//! Invariants: a stream is compared first after the shortest silence, then ever more rarely; only what the venue's own book
//! contradicts, and is not put right by a late frame, is called silent before its pace says so.

use super::super::{Now, ms};
use super::state::Streams;
use crate::binance::spot::codec::encode::StreamName;
use crate::binance::spot::config::StreamConfig;
use keel_model::{BookSnapshot, FeedState, InstrumentId};

/// The pause between two comparisons doubles at most this often.
const DOUBLINGS_MAX: u32 = 6;
/// A comparison that has not been answered after this time is made again.
const PATIENCE_MS: u64 = 15_000;
/// Frames that were on their way get so much time.
const GRACE_MS: u64 = 2_000;

/// How far the comparisons of one stream have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Check {
    /// How many were made since it was heard last.
    pub(super) count: u32,
    asked_mono_ns: u64,
    is_asked: bool,
    /// When the venue's book was found to be further.
    behind_mono_ns: Option<u64>,
}

impl Streams {
    /// Instruments whose book is to be asked for, because a stream of it is quiet.
    pub(super) fn ask_to_compare(&mut self, config: &StreamConfig, now: Now) -> Vec<InstrumentId> {
        let mut asked: Vec<InstrumentId> = Vec::new();
        for (stream, one) in self.with_instruments().filter(|(_, one)| one.state == FeedState::Live) {
            let check = &mut stream.check;
            let Some(since) = stream.since_mono_ns else { continue };
            let from = stream.heard_mono_ns.max(since).max(check.asked_mono_ns);
            let pause = match (check.is_asked, check.behind_mono_ns) {
                (_, Some(_)) => continue,
                (true, None) => ms(PATIENCE_MS),
                (false, None) => ms(config.silence_min_ms).saturating_mul(1 << check.count.min(DOUBLINGS_MAX)),
            };
            if stream.name == StreamName::Trade || stream.is_silent || now.mono_ns.saturating_sub(from) < pause {
                continue;
            }
            *check =
                Check { count: check.count.saturating_add(1), asked_mono_ns: now.mono_ns, is_asked: true, ..*check };
            if !asked.contains(&one.id) {
                asked.push(one.id);
            }
        }
        asked
    }

    /// The venue's book has come: which streams are behind it?
    pub(super) fn compare(&mut self, snapshot: &BookSnapshot, now: Now) {
        let Some(one) = self.instrument(snapshot.instrument) else { return };
        let is_depth_behind = one.sync.last_update_id().is_some_and(|known| known < snapshot.last_update_id);
        let best = snapshot.bids.first().zip(snapshot.asks.first());
        let is_top_behind = one.last_top.zip(best).is_some_and(|((bid, ask), best)| (&bid, &ask) != best);
        for (stream, one) in self.with_instruments() {
            if one.id != snapshot.instrument || !std::mem::take(&mut stream.check.is_asked) {
                continue;
            }
            let is_behind = match stream.name {
                StreamName::Depth => is_depth_behind,
                StreamName::BookTicker => is_top_behind,
                StreamName::Trade => false,
            };
            stream.check.behind_mono_ns = is_behind.then_some(now.mono_ns);
        }
    }

    /// Streams that the venue's book has left behind for good.
    pub(super) fn left_behind(&self, now: Now) -> impl Iterator<Item = usize> {
        let is_it = move |behind: u64| now.mono_ns >= behind.saturating_add(ms(GRACE_MS));
        self.checks().enumerate().filter(move |(_, check)| check.behind_mono_ns.is_some_and(is_it)).map(|(at, _)| at)
    }
}
