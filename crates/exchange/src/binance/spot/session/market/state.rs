//! What a market session knows of each instrument and of each stream.

use super::super::sync::BookSync;
use super::super::{Action, Now, ms};
use super::check::Check;
use crate::binance::spot::codec::encode::StreamName;
use crate::binance::spot::config::StreamConfig;
use crate::{FeedSink, Subscription};
use keel_model::ids::Symbol;
use keel_model::{FeedState, InstrumentId, Instruments, Level, TopOfBook, Trade};

/// First and longest pause between two questions for a snapshot of one book.
const SNAPSHOT_PAUSE_MS: (u64, u64) = (200, 10_000);
/// A snapshot that was asked for and has not come after this time is asked for again.
const SNAPSHOT_PATIENCE_MS: u64 = 15_000;
/// A stream is silent after this many of its usual intervals.
const INTERVALS_SILENT: u64 = 20;
/// Trades may pause: this many.
const INTERVALS_SILENT_TRADES: u64 = 50;
/// The patience with a silent stream doubles at most this often.
const STAGE_MAX: u32 = 6;

/// One instrument.
#[derive(Debug)]
pub(super) struct Instrument {
    pub(super) id: InstrumentId,
    symbol: Symbol,
    pub(super) wants_depth: bool,
    pub(super) state: FeedState,
    pub(super) sync: BookSync,
    pub(super) is_snapshot_asked: bool,
    snapshot_mono_ns: u64,
    pub(super) snapshot_failures: u32,
    last_top_update_id: u64,
    /// The best bid and ask that were told last.
    pub(super) last_top: Option<(Level, Level)>,
    last_trade_id: u64,
    silent_count: u32,
}

impl Instrument {
    /// Asks for a snapshot when one is waited for and none is on its way.
    pub(super) fn ask_snapshot(&mut self, now: Now, out: &mut Vec<Action>) {
        let is_late =
            self.is_snapshot_asked && now.mono_ns >= self.snapshot_mono_ns.saturating_add(ms(SNAPSHOT_PATIENCE_MS));
        let is_due = !self.is_snapshot_asked && now.mono_ns >= self.snapshot_mono_ns;
        if self.sync.is_buffering() && (is_late || is_due) {
            self.is_snapshot_asked = true;
            self.snapshot_mono_ns = now.mono_ns;
            out.push(Action::FetchSnapshot(self.id));
        }
    }

    /// The next question for a snapshot: at once, or after a pause that doubles with each failure.
    pub(super) fn retry_snapshot(&mut self, now: Now, has_failed: bool) {
        self.is_snapshot_asked = false;
        let (first, longest) = SNAPSHOT_PAUSE_MS;
        let pause_ms = match (has_failed, self.snapshot_failures) {
            (false, _) | (true, 0) => 0,
            (true, n) => first.saturating_mul(1 << n.min(16)).min(longest),
        };
        if has_failed {
            self.snapshot_failures = self.snapshot_failures.saturating_add(1);
        }
        self.snapshot_mono_ns = now.mono_ns + ms(pause_ms);
    }

    #[inline]
    pub(super) fn is_new_top(&mut self, top: &TopOfBook) -> bool {
        if top.update_id != 0 && top.update_id <= self.last_top_update_id {
            return false;
        }
        self.last_top_update_id = top.update_id;
        self.last_top = Some((top.bid, top.ask));
        true
    }

    #[inline]
    pub(super) fn is_new_trade(&mut self, trade: &Trade) -> bool {
        let id = trade
            .trade_id
            .as_str()
            .bytes()
            .fold(0u64, |sum, byte| sum.wrapping_mul(10).wrapping_add(u64::from(byte.wrapping_sub(b'0'))));
        if id <= self.last_trade_id {
            return false;
        }
        self.last_trade_id = id;
        true
    }
}

/// One stream of one instrument.
#[derive(Debug)]
pub(super) struct Stream {
    instrument: usize,
    pub(super) name: StreamName,
    /// Since when it should deliver: the subscription's acknowledgement; `None` before.
    pub(super) since_mono_ns: Option<u64>,
    pub(super) heard_mono_ns: u64,
    interval_ns: u64,
    stage: u32,
    pub(super) is_silent: bool,
    is_heard_on_next: bool,
    pub(super) check: Check,
}

/// All instruments and streams of a session.
#[derive(Debug)]
pub(super) struct Streams {
    instruments: Vec<Instrument>,
    streams: Vec<Stream>,
    /// Dense index of an instrument → its place here and those of its streams, by name.
    places: Vec<Option<(usize, [Option<usize>; 3])>>,
}

const fn column(name: StreamName) -> usize {
    match name {
        StreamName::BookTicker => 0,
        StreamName::Depth => 1,
        StreamName::Trade => 2,
    }
}

impl Streams {
    pub(super) fn new(instruments: &Instruments, subscriptions: &[Subscription]) -> Self {
        let mut all = Self { instruments: Vec::new(), streams: Vec::new(), places: vec![None; instruments.len()] };
        for subscription in subscriptions {
            let Some(known) = instruments.get(subscription.instrument) else { continue };
            let Some(place) = all.places.get_mut(known.id.index()).filter(|place| place.is_none()) else { continue };
            let at = all.instruments.len();
            all.instruments.push(Instrument {
                id: known.id,
                symbol: known.symbol,
                wants_depth: subscription.depth,
                state: FeedState::Down,
                sync: BookSync::default(),
                is_snapshot_asked: false,
                snapshot_mono_ns: 0,
                snapshot_failures: 0,
                last_top_update_id: 0,
                last_top: None,
                last_trade_id: 0,
                silent_count: 0,
            });
            let mut columns = [None; 3];
            let wanted = [
                (subscription.top_of_book, StreamName::BookTicker),
                (subscription.depth, StreamName::Depth),
                (subscription.trades, StreamName::Trade),
            ];
            for (_, name) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
                if let Some(slot) = columns.get_mut(column(name)) {
                    *slot = Some(all.streams.len());
                }
                all.streams.push(Stream {
                    instrument: at,
                    name,
                    since_mono_ns: None,
                    heard_mono_ns: 0,
                    interval_ns: 0,
                    stage: 0,
                    is_silent: false,
                    is_heard_on_next: false,
                    check: Check::default(),
                });
            }
            *place = Some((at, columns));
        }
        all
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn instrument(&self, id: InstrumentId) -> Option<&Instrument> {
        let (at, _) = (*self.places.get(id.index())?)?;
        self.instruments.get(at)
    }

    #[inline]
    pub(super) fn instrument_mut(&mut self, id: InstrumentId) -> Option<&mut Instrument> {
        let (at, _) = (*self.places.get(id.index())?)?;
        self.instruments.get_mut(at)
    }

    pub(super) fn instruments_mut(&mut self) -> impl Iterator<Item = &mut Instrument> {
        self.instruments.iter_mut()
    }

    /// `btcusdt@depth@100ms`
    pub(super) fn name(&self, at: usize) -> Option<String> {
        let stream = self.streams.get(at)?;
        let symbol = self.instruments.get(stream.instrument)?.symbol.as_str().to_lowercase();
        Some(format!("{symbol}{}", stream.name.suffix()))
    }

    /// The venue acknowledged the subscription.
    pub(super) fn subscribed(&mut self, at: usize, now: Now) -> (Option<InstrumentId>, StreamName) {
        let Some(stream) = self.streams.get_mut(at) else { return (None, StreamName::Trade) };
        stream.since_mono_ns = Some(now.mono_ns);
        (self.instruments.get(stream.instrument).map(|one| one.id), stream.name)
    }

    /// A frame of a stream came. Answers whether the stream was silent.
    #[inline]
    pub(super) fn heard(&mut self, id: InstrumentId, name: StreamName, is_next: bool, now: Now) -> bool {
        let Some(Some((_, columns))) = self.places.get(id.index()) else { return false };
        let at = columns.get(column(name)).copied().flatten();
        let Some(stream) = at.and_then(|at| self.streams.get_mut(at)) else { return false };
        if stream.heard_mono_ns != 0 {
            let interval = now.mono_ns.saturating_sub(stream.heard_mono_ns);
            // Moving average over about sixteen frames.
            stream.interval_ns = stream.interval_ns - stream.interval_ns / 16 + interval / 16;
        }
        stream.heard_mono_ns = now.mono_ns;
        stream.is_heard_on_next |= is_next;
        stream.stage = 0;
        if stream.check.count != 0 {
            stream.check = Check::default();
        }
        let was_silent = stream.is_silent;
        if was_silent {
            stream.is_silent = false;
            let at = stream.instrument;
            if let Some(one) = self.instruments.get_mut(at) {
                one.silent_count = one.silent_count.saturating_sub(1);
            }
        }
        was_silent
    }

    /// Which streams are silent for longer than their pace lets expect, and are not yet known to be at this stage.
    pub(super) fn silent(&self, config: &StreamConfig, now: Now) -> Vec<usize> {
        let is_over = |stream: &Stream| {
            let Some(since) = stream.since_mono_ns else { return false };
            let (low, high) = (ms(config.silence_min_ms), ms(config.silence_max_ms.max(config.silence_min_ms)));
            let limit = match stream.name {
                StreamName::Trade => stream.interval_ns.saturating_mul(INTERVALS_SILENT_TRADES).max(high),
                // Before a stream has a pace it gets the longest patience.
                _ if stream.interval_ns == 0 => high,
                _ => stream.interval_ns.saturating_mul(INTERVALS_SILENT).clamp(low, high),
            };
            let limit = limit.saturating_mul(1 << stream.stage.min(STAGE_MAX));
            now.mono_ns.saturating_sub(stream.heard_mono_ns.max(since)) >= limit
        };
        self.streams.iter().enumerate().filter(|(_, stream)| is_over(stream)).map(|(at, _)| at).collect()
    }

    /// Every stream with the instrument that it is of.
    pub(super) fn with_instruments(&mut self) -> impl Iterator<Item = (&mut Stream, &Instrument)> {
        let instruments = &self.instruments;
        self.streams.iter_mut().filter_map(|stream| {
            let one = instruments.get(stream.instrument)?;
            Some((stream, one))
        })
    }

    /// How far the comparisons of each stream have come.
    pub(super) fn checks(&self) -> impl Iterator<Item = &Check> {
        self.streams.iter().map(|stream| &stream.check)
    }

    /// A stream is silent: says so, and answers whether the connection should be renewed (else: subscribe anew).
    pub(super) fn escalate(&mut self, at: usize, now: Now, sink: &dyn FeedSink) -> bool {
        let Some(stream) = self.streams.get_mut(at) else { return false };
        stream.since_mono_ns = Some(now.mono_ns);
        stream.stage = stream.stage.saturating_add(1);
        stream.check = Check::default();
        let renew = stream.stage % 2 == 0;
        let was_silent = std::mem::replace(&mut stream.is_silent, true);
        if let Some(one) = self.instruments.get_mut(stream.instrument) {
            one.silent_count += u32::from(!was_silent);
            if one.state == FeedState::Live {
                one.set_state(FeedState::Stale, now, sink);
            }
        }
        renew
    }

    /// Says `Live` where the book is in step and no stream is silent.
    pub(super) fn recovered(&mut self, id: InstrumentId, now: Now, sink: &dyn FeedSink) {
        if let Some(one) = self.instrument_mut(id)
            && (!one.wants_depth || one.sync.is_live())
        {
            let state = if one.silent_count == 0 { FeedState::Live } else { FeedState::Stale };
            one.set_state(state, now, sink);
        }
    }

    pub(super) fn all_heard_on_next(&self) -> bool {
        self.streams.iter().all(|stream| stream.is_heard_on_next)
    }

    pub(super) fn clear_next(&mut self) {
        for stream in &mut self.streams {
            stream.is_heard_on_next = false;
        }
    }

    /// No connection: every instrument is down, and what comes next is not compared with what was before.
    pub(super) fn down(&mut self, now: Now, sink: &dyn FeedSink) {
        for stream in &mut self.streams {
            stream.since_mono_ns = None;
            stream.heard_mono_ns = 0;
            stream.is_silent = false;
            stream.check = Check::default();
        }
        for one in &mut self.instruments {
            one.sync.stop();
            one.is_snapshot_asked = false;
            one.snapshot_failures = 0;
            one.last_top_update_id = 0;
            one.last_top = None;
            one.last_trade_id = 0;
            one.silent_count = 0;
            one.set_state(FeedState::Down, now, sink);
        }
    }
}
