//! The market data feed: moves bytes between sockets and market sessions.
//!
//! Invariant: all sockets and requests belong to the one future that [`MarketDataFeed::run`] is, so that it can neither
//! leak nor outlive its stop.

use super::codec::encode::Query;
use super::http::RestPool;
use super::limits::Lane;
use super::session::market::{MarketSession, STREAMS_MAX};
use super::session::{Action, LinkId, Now};
use super::venue::BinanceSpot;
use super::ws::{LinkEvent, Links};
use crate::{ExchangeError, FeedSink, MarketDataFeed, Subscription};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use keel_model::{InstrumentId, Instruments};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often sessions look at the time.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Connections for snapshots.
const SNAPSHOT_CONNECTIONS: usize = 2;

/// Market data of Binance spot.
#[derive(Debug)]
pub struct BinanceSpotMarketFeed {
    venue: Arc<BinanceSpot>,
    instruments: Arc<Instruments>,
    subscriptions: Vec<Subscription>,
}

/// One subscription per instrument, with everything that any of them asks for.
fn merged(subscriptions: &[Subscription]) -> Vec<Subscription> {
    let mut all: BTreeMap<InstrumentId, Subscription> = BTreeMap::new();
    for one in subscriptions.iter().filter(|one| one.top_of_book || one.depth || one.trades) {
        let known = all.entry(one.instrument).or_insert(*one);
        known.top_of_book |= one.top_of_book;
        known.depth |= one.depth;
        known.trades |= one.trades;
    }
    all.into_values().collect()
}

type Snapshots = FuturesUnordered<BoxFuture<'static, (InstrumentId, Result<Bytes, ExchangeError>)>>;

impl BinanceSpotMarketFeed {
    pub(crate) const fn new(
        venue: Arc<BinanceSpot>,
        instruments: Arc<Instruments>,
        subscriptions: Vec<Subscription>,
    ) -> Self {
        Self { venue, instruments, subscriptions }
    }

    /// As many sessions as the venue's limit of streams per connection asks for.
    fn sessions(&self) -> Vec<MarketSession> {
        let per_instrument = 3;
        let subscriptions = merged(&self.subscriptions);
        let chunks = subscriptions.chunks(STREAMS_MAX / per_instrument);
        let config = &self.venue.config.streams;
        let seed = self.venue.clock.now_ns();
        let session =
            |(at, chunk)| MarketSession::new(config.clone(), &self.instruments, chunk, seed.wrapping_add(at as u64));
        chunks.enumerate().map(session).collect()
    }
}

#[async_trait]
impl MarketDataFeed for BinanceSpotMarketFeed {
    async fn run(self: Box<Self>, sink: Arc<dyn FeedSink>, stop: CancellationToken) -> Result<(), ExchangeError> {
        let pool = Arc::new(self.venue.pool(SNAPSHOT_CONNECTIONS));
        let sessions = self.sessions();
        if sessions.is_empty() {
            // Nothing to stream is no reason to end.
            stop.cancelled().await;
        }
        let shards = sessions.into_iter().map(|session| {
            Shard::new(self.venue.clone(), pool.clone(), self.instruments.clone(), session, sink.clone())
                .run(stop.clone())
        });
        let result = try_join_all(shards).await;
        pool.close().await;
        result.map(|_| ())
    }
}

/// One session with its links.
struct Shard {
    venue: Arc<BinanceSpot>,
    pool: Arc<RestPool>,
    instruments: Arc<Instruments>,
    session: MarketSession,
    sink: Arc<dyn FeedSink>,
    links: Links,
    snapshots: Snapshots,
    actions: Vec<Action>,
    /// Does the sink keep frames?
    keeps_frames: bool,
}

impl Shard {
    fn new(
        venue: Arc<BinanceSpot>,
        pool: Arc<RestPool>,
        instruments: Arc<Instruments>,
        session: MarketSession,
        sink: Arc<dyn FeedSink>,
    ) -> Self {
        let timeout_ms = venue.config.connect_timeout_ms;
        let endpoint = venue.endpoints.stream.clone();
        let links = Links::new(venue.connector.clone(), endpoint, "/stream", "market stream", timeout_ms);
        let keeps_frames = sink.wants_frames();
        let (snapshots, actions) = (Snapshots::new(), Vec::new());
        Self { venue, pool, instruments, session, sink, links, snapshots, actions, keeps_frames }
    }

    fn now(&self) -> Now {
        Now { wall: self.venue.now(), mono_ns: self.venue.clock.mono_ns() }
    }

    async fn run(mut self, stop: CancellationToken) -> Result<(), ExchangeError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = stop.cancelled();
        tokio::pin!(stopped);
        let result = loop {
            tokio::select! {
                biased;
                () = &mut stopped => break Ok(()),
                _ = tick.tick() => self.tick(),
                event = self.links.next() => self.event(event),
                Some((instrument, body)) = self.snapshots.next(), if !self.snapshots.is_empty() => {
                    let now = self.now();
                    let body = body.as_ref().map(Bytes::as_ref);
                    if self.keeps_frames && let Ok(body) = body {
                        self.sink.on_frame(body, Some(instrument), now.wall);
                    }
                    self.session.snapshot(instrument, body, now, &mut self.actions, self.sink.as_ref());
                }
            }
            if let Err(error) = self.act().await {
                break Err(error);
            }
        };
        self.snapshots.clear();
        self.links.close_all().await;
        result
    }

    fn tick(&mut self) {
        let now = self.now();
        let mut take = |at| self.venue.connects.lock().take(at);
        self.session.tick(now, &mut take, &mut self.actions, self.sink.as_ref());
        // As many as there are instruments, at most: a sink that never ends asking must not hold up the feed.
        for _ in 0..self.instruments.len() {
            let Some(instrument) = self.sink.take_resync() else { break };
            self.session.resync(instrument, now, &mut self.actions, self.sink.as_ref());
        }
    }

    #[inline]
    fn event(&mut self, event: LinkEvent) {
        let now = self.now();
        let sink = self.sink.as_ref();
        if self.keeps_frames {
            match &event {
                LinkEvent::Text(_, text) => sink.on_frame(text.as_bytes(), None, now.wall),
                LinkEvent::Binary(_, data) => sink.on_frame(data, None, now.wall),
                _ => {}
            }
        }
        match event {
            LinkEvent::Text(id, text) => self.session.frame(id, text.as_bytes(), now, &mut self.actions, sink),
            LinkEvent::Binary(id, data) => self.session.frame(id, &data, now, &mut self.actions, sink),
            LinkEvent::Heard(id) => self.session.heard(id, now),
            LinkEvent::Connected(id) => self.session.connected(id, now, &mut self.actions),
            LinkEvent::Closed(id, cause) => self.session.closed(id, &cause, now, &mut self.actions, sink),
        }
    }

    /// Does what the session asked for; new wishes that come of it are done too.
    async fn act(&mut self) -> Result<(), ExchangeError> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Connect(id) => self.links.connect(id),
                    Action::Send(id, text) => {
                        let sent = self.links.send(id, text).await;
                        self.lost(id, sent);
                    }
                    Action::Ping(id) => {
                        let sent = self.links.ping(id).await;
                        self.lost(id, sent);
                    }
                    Action::Close(id) => self.links.close(id),
                    Action::FetchSnapshot(instrument) => self.fetch_snapshot(instrument),
                    Action::MeasureClock => {}
                    Action::GiveUp(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn lost(&mut self, id: LinkId, sent: Result<(), String>) {
        if let Err(cause) = sent {
            let now = self.now();
            self.session.closed(id, &cause, now, &mut self.actions, self.sink.as_ref());
        }
    }

    fn fetch_snapshot(&self, id: InstrumentId) {
        let Some(symbol) = self.instruments.get(id).map(|instrument| instrument.symbol) else { return };
        let (venue, pool) = (self.venue.clone(), self.pool.clone());
        let fetch = async move {
            let levels = venue.config.snapshot_levels;
            let weight = match levels {
                0..=100 => 5,
                101..=500 => 25,
                501..=1_000 => 50,
                _ => 250,
            };
            let mut params = Vec::new();
            Query::new(&mut params).text("symbol", symbol.as_str()).number("limit", u64::from(levels));
            let cost = (Lane::Background, weight);
            let answer = venue.get(&pool, "a depth snapshot", "/api/v3/depth", params, cost).await;
            (id, answer.map(|answer| answer.body))
        };
        self.snapshots.push(fetch.boxed());
    }
}
