//! Market streams: subscribe, keep books in step, notice silence, roll over, reconnect.
//!
//! Invariants: an instrument is `Live` only while its book is in step with the venue and none of its streams is silent
//! (I14); events are handed on once and in order, also while two connections overlap; the old connection goes only when
//! the new one delivers (N-09); no pause, ping or resubscription leaves faster than the venue takes them.

use super::backoff::{Backoff, TakeConnect};
use super::link::Link;
use super::sync::{Join, Step};
use super::{Action, LinkId, Now, ms};
use crate::binance::spot::VENUE;
use crate::binance::spot::codec::decode::{Decoded, MarketDecoder};
use crate::binance::spot::codec::encode::{StreamName, subscribe_message};
use crate::binance::spot::config::StreamConfig;
use crate::binance::spot::symbols::SymbolTable;
use crate::{ExchangeError, FeedSink, Subscription};
use keel_model::{FeedState, InstrumentId, Instruments, MarketEvent, StreamKind};
use std::collections::BTreeMap;

mod check;
mod state;
use state::{Instrument, Streams};

/// Most streams of one connection: the venue takes 1,024.
pub const STREAMS_MAX: usize = 1_000;
/// Most streams in one control message.
const STREAMS_PER_MESSAGE: usize = 200;
/// A connection that held this long makes the next pause the shortest again.
const STABLE_MS: u64 = 10_000;

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarketCounts {
    /// Frames decoded.
    pub frames: u64,
    /// Frames of unknown kind or symbol.
    pub unknown: u64,
    /// Frames that could not be read.
    pub unreadable: u64,
    /// Events dropped because they were known already.
    pub duplicates: u64,
    /// Sequence gaps.
    pub gaps: u64,
    /// Connections that were lost.
    pub disconnects: u64,
    /// Roll-overs completed.
    pub roll_overs: u64,
    /// Streams that fell silent.
    pub silences: u64,
}

/// The session of one set of streams.
#[derive(Debug)]
pub struct MarketSession {
    decoder: MarketDecoder,
    core: Core,
}

/// Everything but the decoder, which lends its events while they are handled.
#[derive(Debug)]
struct Core {
    config: StreamConfig,
    streams: Streams,
    current: Option<Link>,
    next: Option<Link>,
    next_link_id: u64,
    next_request_id: u64,
    /// Which streams a control message was about, by link and id.
    requests: BTreeMap<u64, (LinkId, Vec<usize>)>,
    retry_mono_ns: Option<u64>,
    backoff: Backoff,
    down_since_mono_ns: Option<u64>,
    last_cause: String,
    unreadable_in_row: u32,
    counts: MarketCounts,
}

impl MarketSession {
    /// A session for these subscriptions, which must not be more than [`STREAMS_MAX`] streams.
    #[must_use]
    pub fn new(config: StreamConfig, instruments: &Instruments, subscriptions: &[Subscription], seed: u64) -> Self {
        let backoff = Backoff::new(config.backoff_min_ms, config.backoff_max_ms, seed);
        let core = Core {
            streams: Streams::new(instruments, subscriptions),
            config,
            current: None,
            next: None,
            next_link_id: 1,
            next_request_id: 1,
            requests: BTreeMap::new(),
            retry_mono_ns: Some(0),
            backoff,
            down_since_mono_ns: None,
            last_cause: String::new(),
            unreadable_in_row: 0,
            counts: MarketCounts::default(),
        };
        Self { decoder: MarketDecoder::new(SymbolTable::new(instruments)), core }
    }

    /// Counts so far.
    #[must_use]
    pub const fn counts(&self) -> MarketCounts {
        self.core.counts
    }

    /// The state of an instrument's streams.
    #[must_use]
    pub fn state(&self, instrument: InstrumentId) -> Option<FeedState> {
        self.core.streams.instrument(instrument).map(|one| one.state)
    }

    /// Time has passed: connects, keeps alive, notices silence, rolls over. To be called ten times a second.
    pub fn tick(&mut self, now: Now, budget: &mut TakeConnect<'_>, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        self.core.tick(now, budget, out, sink);
    }

    /// A connection is open.
    pub fn connected(&mut self, id: LinkId, now: Now, out: &mut Vec<Action>) {
        self.core.connected(id, now, out);
    }

    /// A ping or pong came.
    pub fn heard(&mut self, id: LinkId, now: Now) {
        if let Some(link) = self.core.link_mut(id) {
            link.heard(now);
        }
    }

    /// A connection could not be made or has ended.
    pub fn closed(&mut self, id: LinkId, cause: &str, now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        self.core.closed(id, cause, now, out, sink);
    }

    /// A data frame came.
    #[inline]
    pub fn frame(&mut self, id: LinkId, frame: &[u8], now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        let Self { decoder, core } = self;
        let is_next = match (&mut core.current, &mut core.next) {
            (Some(link), _) if link.id == id => {
                link.heard(now);
                false
            }
            (_, Some(link)) if link.id == id => {
                link.heard(now);
                true
            }
            _ => return,
        };
        core.counts.frames += 1;
        match decoder.decode(frame, now.wall) {
            Ok(Decoded::Market(event)) => {
                core.unreadable_in_row = 0;
                core.event(event, is_next, now, out, sink);
            }
            Ok(Decoded::Reply { id: request, error }) => core.reply(id, request, error, now, out, sink),
            Ok(Decoded::ServerShutdown) => core.leaving(id),
            Ok(Decoded::Unknown(what)) => {
                core.counts.unknown += 1;
                tracing::debug!(?what, "unknown frame skipped");
            }
            Err(error) => {
                core.counts.unreadable += 1;
                core.unreadable_in_row += 1;
                let excerpt = crate::binance::spot::classify::excerpt(frame);
                tracing::warn!(%error, excerpt, "unreadable frame of {VENUE} skipped");
                // A connection that sends nothing readable is of no use (N-15).
                if core.unreadable_in_row >= 10 {
                    core.unreadable_in_row = 0;
                    core.drop_link(id, "ten unreadable frames in a row", now, out, sink);
                }
            }
        }
    }

    /// A snapshot came, or could not be had.
    pub fn snapshot(
        &mut self,
        instrument: InstrumentId,
        body: Result<&[u8], &ExchangeError>,
        now: Now,
        out: &mut Vec<Action>,
        sink: &dyn FeedSink,
    ) {
        let Self { decoder, core } = self;
        let decoded = match body {
            Ok(body) => decoder.decode_snapshot(body, instrument, now.wall).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match decoded {
            Ok(event) => core.snapshot(instrument, event, now, out, sink),
            Err(cause) => {
                tracing::warn!(cause, instrument = instrument.0, "no depth snapshot; asking again");
                if let Some(one) = core.streams.instrument_mut(instrument) {
                    one.retry_snapshot(now, true);
                }
            }
        }
    }

    /// The book of an instrument was lost behind the sink: it is put in step anew.
    pub fn resync(&mut self, instrument: InstrumentId, now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        let Some(one) = self.core.streams.instrument_mut(instrument) else { return };
        if one.sync.is_live() {
            one.sync.start();
            one.set_state(FeedState::Resyncing, now, sink);
            one.retry_snapshot(now, true);
            one.ask_snapshot(now, out);
        }
    }

    /// Closes everything; for the end.
    pub fn stop(&mut self, out: &mut Vec<Action>) {
        for link in [self.core.current.take(), self.core.next.take()].into_iter().flatten() {
            out.push(Action::Close(link.id));
        }
        self.core.retry_mono_ns = None;
    }
}

impl Core {
    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        [self.current.as_mut(), self.next.as_mut()].into_iter().flatten().find(|link| link.id == id)
    }

    fn tick(&mut self, now: Now, budget: &mut TakeConnect<'_>, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        let links: Vec<LinkId> = [&self.current, &self.next].into_iter().flatten().map(|link| link.id).collect();
        for id in links {
            let config = self.config.clone();
            if self.link_mut(id).is_some_and(|link| !link.tick(&config, now, out)) {
                self.drop_link(id, "nothing heard, not even a pong", now, out, sink);
            }
        }
        self.watch_silence(now, out, sink);
        for one in self.streams.instruments_mut() {
            one.ask_snapshot(now, out);
        }
        self.end_overlap(now, out);
        self.connect(now, budget, out);
        self.check_outage(now, out);
    }

    /// Opens a connection where one is due: none is there, or the one there is at its end.
    fn connect(&mut self, now: Now, budget: &mut TakeConnect<'_>, out: &mut Vec<Action>) {
        let is_due = match &self.current {
            None => true,
            Some(link) => link.is_due(&self.config, now),
        };
        if !is_due || self.next.is_some() || self.retry_mono_ns.is_none_or(|at| now.mono_ns < at) {
            return;
        }
        if let Err(wait_ns) = budget(now.mono_ns) {
            tracing::warn!(wait_ms = wait_ns / 1_000_000, "the connect budget is used up; waiting");
            self.retry_mono_ns = Some(now.mono_ns + wait_ns);
            return;
        }
        let id = LinkId(self.next_link_id);
        self.next_link_id += 1;
        out.push(Action::Connect(id));
        let link = Link::new(id, now);
        match self.current {
            None => self.current = Some(link),
            Some(_) => self.next = Some(link),
        }
    }

    fn connected(&mut self, id: LinkId, now: Now, out: &mut Vec<Action>) {
        let Some(link) = self.link_mut(id) else { return };
        link.opened(now);
        let all: Vec<usize> = (0..self.streams.len()).collect();
        self.streams.clear_next();
        for chunk in all.chunks(STREAMS_PER_MESSAGE) {
            self.control(id, true, chunk, now, out);
        }
    }

    fn control(&mut self, id: LinkId, subscribe: bool, streams: &[usize], now: Now, out: &mut Vec<Action>) {
        let request = self.next_request_id;
        self.next_request_id += 1;
        let names: Vec<String> = streams.iter().filter_map(|at| self.streams.name(*at)).collect();
        let text = subscribe_message(request, subscribe, &names);
        if let Some(link) = self.link_mut(id) {
            link.send(text, now, out);
            if subscribe {
                self.requests.insert(request, (id, streams.to_vec()));
            }
        }
    }

    fn reply(
        &mut self,
        id: LinkId,
        request: u64,
        error: Option<i64>,
        now: Now,
        out: &mut Vec<Action>,
        sink: &dyn FeedSink,
    ) {
        if let Some(code) = error {
            let cause = format!("the venue refused a subscription (code {code})");
            return self.drop_link(id, &cause, now, out, sink);
        }
        let Some((link, streams)) = self.requests.remove(&request) else { return };
        if link != id {
            return;
        }
        let is_current = self.current.as_ref().is_some_and(|link| link.id == id);
        for at in streams {
            let (instrument, name) = self.streams.subscribed(at, now);
            let Some(one) = instrument.and_then(|id| self.streams.instrument_mut(id)) else { continue };
            if name == StreamName::Depth && is_current && !one.sync.is_live() && !one.sync.is_buffering() {
                one.sync.start();
                one.retry_snapshot(now, false);
                one.ask_snapshot(now, out);
            } else if !one.wants_depth {
                one.set_state(FeedState::Live, now, sink);
            }
        }
        self.down_since_mono_ns = None;
    }

    fn leaving(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id) {
            tracing::info!("{VENUE} announced a shutdown of this connection; rolling over");
            link.is_leaving = true;
            self.retry_mono_ns = Some(0);
        }
    }

    #[inline]
    fn event(&mut self, event: &MarketEvent, is_next: bool, now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        let id = event.instrument();
        let name = match event {
            MarketEvent::TopOfBook(_) => StreamName::BookTicker,
            MarketEvent::BookDelta(_) => StreamName::Depth,
            MarketEvent::Trade(_) => StreamName::Trade,
            _ => return,
        };
        let was_silent = self.streams.heard(id, name, is_next, now);
        let Some(one) = self.streams.instrument_mut(id) else { return };
        let is_new = match event {
            MarketEvent::TopOfBook(top) => one.is_new_top(top),
            MarketEvent::Trade(trade) => one.is_new_trade(trade),
            MarketEvent::BookDelta(delta) => {
                let step = one.sync.delta(delta);
                match step {
                    Step::Deliver | Step::Buffered => {}
                    Step::Skip => self.counts.duplicates += 1,
                    Step::DeliverFrom(first_update_id) => {
                        let mut rest = delta.clone();
                        rest.first_update_id = first_update_id;
                        sink.on_market(&MarketEvent::BookDelta(rest));
                    }
                    Step::Gap => {
                        self.counts.gaps += 1;
                        tracing::warn!(instrument = id.0, "sequence gap: the book waits for a new snapshot");
                        one.set_state(FeedState::Resyncing, now, sink);
                        one.retry_snapshot(now, true);
                        one.ask_snapshot(now, out);
                    }
                }
                if step == Step::Deliver {
                    sink.on_market(event);
                }
                if was_silent {
                    self.streams.recovered(id, now, sink);
                }
                return;
            }
            _ => false,
        };
        if is_new {
            sink.on_market(event);
        } else {
            self.counts.duplicates += 1;
        }
        if was_silent {
            self.streams.recovered(id, now, sink);
        }
    }

    fn snapshot(
        &mut self,
        id: InstrumentId,
        event: &MarketEvent,
        now: Now,
        out: &mut Vec<Action>,
        sink: &dyn FeedSink,
    ) {
        let MarketEvent::BookSnapshot(snapshot) = event else { return };
        let Some(one) = self.streams.instrument_mut(id) else { return };
        one.is_snapshot_asked = false;
        if one.sync.is_live() || !one.wants_depth {
            // Asked for to be compared with.
            return self.streams.compare(snapshot, now);
        }
        match one.sync.snapshot(snapshot.last_update_id) {
            Join::Unwanted => {}
            Join::TooOld => one.retry_snapshot(now, true),
            Join::Joined => {
                sink.on_market(event);
                let is_whole = one.sync.drain(|delta| sink.on_market(delta));
                if is_whole {
                    one.snapshot_failures = 0;
                    self.streams.recovered(id, now, sink);
                } else {
                    self.counts.gaps += 1;
                    one.set_state(FeedState::Resyncing, now, sink);
                    one.retry_snapshot(now, true);
                    one.ask_snapshot(now, out);
                }
            }
        }
    }

    /// A stream that is silent for longer than its own pace lets expect, or that the venue's book has left behind, is subscribed anew, then the connection is renewed;
    /// each time the patience doubles (N-07).
    fn watch_silence(&mut self, now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        let Some(id) = self.current.as_ref().filter(|link| link.is_open()).map(|link| link.id) else { return };
        for instrument in self.streams.ask_to_compare(&self.config, now) {
            out.push(Action::FetchSnapshot(instrument));
        }
        let mut silent = self.streams.silent(&self.config, now);
        let behind: Vec<usize> = self.streams.left_behind(now).filter(|at| !silent.contains(at)).collect();
        silent.extend(behind);
        let mut must_renew = false;
        for at in silent {
            self.counts.silences += 1;
            let renew = self.streams.escalate(at, now, sink);
            tracing::warn!(stream = self.streams.name(at), renew, "stream is silent");
            if renew {
                must_renew = true;
            } else {
                self.control(id, false, &[at], now, out);
                self.control(id, true, &[at], now, out);
            }
        }
        if must_renew {
            self.drop_link(id, "a stream stayed silent", now, out, sink);
            self.retry_mono_ns = Some(now.mono_ns);
        }
    }

    /// The old connection goes when every stream was heard on the new one, or after the overlap.
    fn end_overlap(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(next) = self.next.as_ref().filter(|link| link.is_open()) else { return };
        let is_over = now.mono_ns >= next.opened_mono_ns.saturating_add(ms(self.config.overlap_ms));
        let is_subscribed = next.waiting_count() == 0 && self.requests.values().all(|(link, _)| *link != next.id);
        if is_subscribed && (is_over || self.streams.all_heard_on_next()) {
            self.promote(out);
            self.counts.roll_overs += 1;
        }
    }

    /// The new connection takes over.
    fn promote(&mut self, out: &mut Vec<Action>) {
        if let Some(old) = self.current.take() {
            out.push(Action::Close(old.id));
            self.requests.retain(|_, (link, _)| *link != old.id);
        }
        self.current = self.next.take();
        self.streams.clear_next();
        self.backoff.reset();
    }

    /// Closes a connection from our side.
    fn drop_link(&mut self, id: LinkId, cause: &str, now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        if self.link_mut(id).is_some() {
            out.push(Action::Close(id));
            self.closed(id, cause, now, out, sink);
        }
    }

    fn closed(&mut self, id: LinkId, cause: &str, now: Now, out: &mut Vec<Action>, sink: &dyn FeedSink) {
        let Some(link) = self.link_mut(id) else { return };
        let was_stable = link.is_open() && now.mono_ns >= link.opened_mono_ns.saturating_add(ms(STABLE_MS));
        if was_stable {
            self.backoff.reset();
        }
        self.counts.disconnects += 1;
        self.last_cause = cause.chars().take(200).collect();
        tracing::warn!(cause, "market connection of {VENUE} ended");
        self.requests.retain(|_, (link, _)| *link != id);
        let pause_ms = self.backoff.next_ms();
        self.retry_mono_ns = Some(now.mono_ns + ms(pause_ms));
        if self.next.as_ref().is_some_and(|link| link.id == id) {
            self.next = None;
            self.streams.clear_next();
            return;
        }
        self.current = None;
        if self.next.as_ref().is_some_and(Link::is_open) {
            // The new connection was up before the old one went: nothing is lost that it does not carry on.
            self.promote(out);
            return;
        }
        // A connection on its way becomes the only one.
        self.current = self.next.take();
        self.streams.down(now, sink);
        self.down_since_mono_ns.get_or_insert(now.mono_ns);
    }

    fn check_outage(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(since) = self.down_since_mono_ns else { return };
        let after_ms = self.config.outage_max_ms;
        if after_ms > 0 && now.mono_ns >= since.saturating_add(ms(after_ms)) {
            out.push(Action::GiveUp(ExchangeError::Connect {
                venue: VENUE.into(),
                address: "market streams".into(),
                cause: format!("no connection for {after_ms} ms; last cause: {}", self.last_cause),
            }));
        }
    }
}

/// What an instrument's state is called in the sink.
const fn kind(instrument: InstrumentId) -> StreamKind {
    StreamKind::Market(instrument)
}

impl Instrument {
    fn set_state(&mut self, state: FeedState, now: Now, sink: &dyn FeedSink) {
        if self.state != state {
            self.state = state;
            sink.on_state(kind(self.id), state, now.wall);
        }
    }
}

#[cfg(test)]
mod tests;
