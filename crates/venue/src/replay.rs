//! Showing a recorded session: frames go out as they were, at their own pace or another, and through the matching engine, so
//! that accounts' orders trade with the recorded market.
//!
//! At full speed the pace is that of the subscribers: the replay waits while a queue is more than half full, and drops a
//! reader that makes no room for [`PATIENCE`].

use crate::config::{ReplaySpeed, ReplayStart};
use crate::hub::Frame;
use crate::recording::{FrameAt, ReadFrame, Recording};
use crate::replay_book::ReplayBook;
use crate::stream_name::{Scope, StreamKey, StreamKind};
use crate::venue::Venue;
use keel_model::{BookDelta, InstrumentId, Level, MarketEvent, Side, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

/// How long a reader may make no room at full speed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames between two looks at the clock and the queues at full speed.
const CHUNK: usize = 64;
/// Updates kept for the first snapshot.
const EARLY_MAX: usize = 4_096;

/// A recording on its way out.
#[derive(Debug)]
pub(crate) struct Replay {
    recording: Recording,
    speed: ReplaySpeed,
    start: ReplayStart,
    next: usize,
    has_warned: bool,
    /// Updates before the first snapshot, which is often older than they are; at most [`EARLY_MAX`], the oldest go first.
    early: VecDeque<BookDelta>,
}

impl Replay {
    /// Prepares a recording.
    pub(crate) fn new(recording: Recording, speed: ReplaySpeed, start: ReplayStart) -> Self {
        Self { recording, speed, start, next: 0, has_warned: false, early: VecDeque::new() }
    }

    /// Shows what comes before the first whole book at once, so that there is a market from the start. Without a snapshot
    /// that is the first frame alone, and a warning.
    pub(crate) fn lead_in(&mut self, venue: &Venue) {
        for name in &self.recording.streams {
            let mut core = venue.core.lock();
            let Some(key) = core.stream_key(name) else { continue };
            let Scope::Symbol(at) = key.scope else { continue };
            if let Some(symbol) = core.symbols.get_mut(at as usize) {
                symbol.recorded.insert(key.kind);
            }
        }
        if !self.recording.has_snapshot {
            tracing::warn!(
                "the recording has no snapshot of the book: the venue shows the best bid and ask and the levels that \
                 changed, not the whole depth"
            );
        }
        while let Some(frame) = self.recording.frames.get(self.next).copied() {
            self.next += 1;
            let is_snapshot = self.show(venue, frame);
            if is_snapshot || !self.recording.has_snapshot {
                return;
            }
        }
    }

    /// Runs to the end, or until told to stop.
    pub(crate) async fn run(mut self, venue: Arc<Venue>, token: CancellationToken) {
        if self.start == ReplayStart::OnFirstSubscriber {
            tokio::select! {
                () = venue.subscribed.cancelled() => {}
                () = token.cancelled() => return,
            }
        }
        match self.speed {
            ReplaySpeed::Max => self.run_max(&venue, &token).await,
            ReplaySpeed::Real => self.run_paced(&venue, &token, 1.0).await,
            ReplaySpeed::Times(factor) => self.run_paced(&venue, &token, factor).await,
        }
        if self.next >= self.recording.frames.len() {
            venue.counters.is_replay_finished.store(true, Ordering::Release);
            tracing::info!(frames = self.next, "the recording has ended");
        }
        // The market stands still from here on; the venue goes on.
        token.cancelled().await;
    }

    async fn run_paced(&mut self, venue: &Venue, token: &CancellationToken, factor: f64) {
        let Some(first) = self.recording.frames.get(self.next).map(|frame| frame.recv) else { return };
        let began = Instant::now();
        while let Some(frame) = self.recording.frames.get(self.next).copied() {
            let due = began + frame.recv.since(first).div_f64(factor);
            if due > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = token.cancelled() => return,
                }
            } else if token.is_cancelled() {
                return;
            }
            self.next += 1;
            self.show(venue, frame);
        }
    }

    async fn run_max(&mut self, venue: &Venue, token: &CancellationToken) {
        while self.next < self.recording.frames.len() {
            for _ in 0..CHUNK {
                let Some(frame) = self.recording.frames.get(self.next).copied() else { break };
                self.next += 1;
                self.show(venue, frame);
            }
            tokio::task::yield_now().await;
            let began = Instant::now();
            loop {
                if token.is_cancelled() {
                    return;
                }
                if makes_room(venue, began) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Sends one frame out and takes it in; says whether it was a snapshot.
    fn show(&mut self, venue: &Venue, frame: FrameAt) -> bool {
        venue.counters.frames_replayed.fetch_add(1, Ordering::Relaxed);
        let now = venue.now();
        let mut core = venue.core.lock();
        let only = self.recording.instruments.first().map_or(InstrumentId(0), |instrument| instrument.id);
        let find = |lower: &str| core.symbols.iter().find(|symbol| symbol.lower == lower).map(|symbol| symbol.id);
        let Some(read) = self.recording.read(frame, only, find) else { return false };
        let bytes = self.recording.bytes(frame);
        if let Some(key) = read.stream.as_deref().and_then(|name| core.stream_key(name)) {
            let is_skipped = match key.scope {
                Scope::Symbol(at) if matches!(key.kind, StreamKind::Depth { .. }) => core.is_depth_skipped(at),
                _ => false,
            };
            if core.hub.is_wanted(key) && !core.is_market_stalled && !is_skipped {
                send(&core.hub, key, bytes, &read);
            }
        }
        let Some(event) = read.event else { return false };
        let event = at_time(event, now);
        let is_snapshot = matches!(event, MarketEvent::BookSnapshot(_));
        if !self.take_in(venue, &mut core, &event) && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(frame = self.next, "the recording has a gap in its book updates");
        }
        core.pump(&venue.limiter);
        is_snapshot
    }

    /// Feeds engine, recorded book and depth streams; false when the book's numbering has a gap.
    fn take_in(&mut self, venue: &Venue, core: &mut crate::core::Core, event: &MarketEvent) -> bool {
        if let Err(reject) = core.engine.on_market(event) {
            tracing::warn!(frame = self.next, %reject, "the matching engine did not take a recorded frame");
        }
        let id = event.instrument();
        let Some(symbol) = core.symbols.iter_mut().find(|symbol| symbol.id == id) else { return true };
        match event {
            MarketEvent::BookSnapshot(snapshot) => {
                let is_newer = symbol.book.as_ref().is_none_or(|book| snapshot.last_update_id >= book.update_id());
                if !is_newer {
                    return true;
                }
                let mut book = ReplayBook::new(snapshot);
                for delta in self.early.drain(..).filter(|delta| delta.instrument == id) {
                    book.apply(&delta);
                }
                symbol.note_depth_id(book.update_id());
                symbol.book = Some(book);
                true
            }
            MarketEvent::BookDelta(delta) => {
                let Some(book) = symbol.book.as_mut() else {
                    if self.early.len() >= EARLY_MAX {
                        self.early.pop_front();
                    }
                    self.early.push_back(delta.clone());
                    return true;
                };
                let follows = book.apply(delta);
                for (side, levels) in [(Side::Buy, &delta.bids), (Side::Sell, &delta.asks)] {
                    levels.iter().for_each(|level: &Level| symbol.note_depth(side, *level, delta.last_update_id));
                }
                if !follows {
                    venue.counters.replay_gaps.fetch_add(1, Ordering::Relaxed);
                }
                follows
            }
            _ => true,
        }
    }
}

/// Is there room in every queue? Readers that make none for too long are dropped.
fn makes_room(venue: &Venue, began: Instant) -> bool {
    let core = venue.core.lock();
    if !core.hub.has_room() {
        if began.elapsed() < PATIENCE {
            return false;
        }
        core.hub.drop_slow();
    }
    true
}

/// The frame in both forms, without copying it.
fn send(hub: &crate::hub::Hub, key: StreamKey, bytes: bytes::Bytes, read: &ReadFrame) {
    let raw = bytes.slice(read.data.clone());
    match (Utf8Bytes::try_from(raw), Utf8Bytes::try_from(bytes)) {
        (Ok(raw), Ok(combined)) => hub.publish_recorded(key, &raw, &combined),
        _ => hub.publish_frame(key, &Frame::Binary(bytes::Bytes::new())),
    }
}

/// The event as if it had been received now: the venue's accounts live on the wall clock.
fn at_time(event: MarketEvent, now: Timestamp) -> MarketEvent {
    match event {
        MarketEvent::Trade(event) => MarketEvent::Trade(keel_model::Trade { ts_recv: now, ..event }),
        MarketEvent::TopOfBook(event) => MarketEvent::TopOfBook(keel_model::TopOfBook { ts_recv: now, ..event }),
        MarketEvent::BookDelta(event) => MarketEvent::BookDelta(keel_model::BookDelta { ts_recv: now, ..event }),
        MarketEvent::BookSnapshot(event) => {
            MarketEvent::BookSnapshot(keel_model::BookSnapshot { ts_recv: now, ..event })
        }
        other => other,
    }
}
