//! The account feed: moves bytes between the WebSocket API's socket and the account session.
//!
//! Invariant: all sockets belong to the one future that [`AccountFeed::run`] is. The venue's clock is measured before each
//! connect while it is unknown, since the subscription is signed.

use super::http::RestPool;
use super::limits::Lane;
use super::market_feed::TICK;
use super::session::account::AccountSession;
use super::session::{Action, LinkId, Now};
use super::symbols::SymbolTable;
use super::venue::BinanceSpot;
use super::ws::{LinkEvent, Links};
use crate::{AccountFeed, AccountSink, ExchangeError};
use async_trait::async_trait;
use keel_model::Instruments;
use std::sync::Arc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The account stream of one account at Binance spot.
#[derive(Debug)]
pub struct BinanceSpotAccountFeed {
    venue: Arc<BinanceSpot>,
    session: AccountSession,
    links: Links,
    actions: Vec<Action>,
}

impl BinanceSpotAccountFeed {
    pub(crate) fn new(venue: Arc<BinanceSpot>, instruments: Arc<Instruments>) -> Self {
        let config = venue.config.streams.clone();
        let seed = venue.clock.now_ns().rotate_left(17);
        let session = AccountSession::new(config, venue.config.recv_window_ms, SymbolTable::new(&instruments), seed);
        let endpoint = venue.endpoints.ws_api.clone();
        let timeout_ms = venue.config.connect_timeout_ms;
        let links = Links::new(venue.connector.clone(), endpoint, "", "account stream", timeout_ms);
        Self { venue, session, links, actions: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { wall: self.venue.now(), mono_ns: self.venue.clock.mono_ns() }
    }

    fn event(&mut self, event: LinkEvent, sink: &dyn AccountSink) -> Result<(), ExchangeError> {
        let now = self.now();
        let venue_time = self.venue.venue_clock.now();
        let signer = self.venue.need_signer()?;
        let out = &mut self.actions;
        match event {
            LinkEvent::Text(id, text) => self.session.frame(id, text.as_bytes(), signer, venue_time, now, out, sink),
            LinkEvent::Binary(id, data) => self.session.frame(id, &data, signer, venue_time, now, out, sink),
            LinkEvent::Heard(id) => self.session.heard(id, now),
            LinkEvent::Closed(id, cause) => self.session.closed(id, &cause, now, sink),
            LinkEvent::Connected(_) => {}
        }
        Ok(())
    }

    async fn connected(&mut self, id: LinkId, pool: &RestPool, sink: &dyn AccountSink) -> Result<(), ExchangeError> {
        if self.venue.venue_clock.now().is_none()
            && let Err(error) = self.venue.measure_clock(pool, Lane::Background).await
        {
            self.links.close(id);
            let now = self.now();
            self.session.closed(id, &error.to_string(), now, sink);
            return Ok(());
        }
        let now = self.now();
        let signer = self.venue.need_signer()?;
        if let Some(time) = self.venue.venue_clock.now() {
            self.session.connected(id, signer, time, now, &mut self.actions);
        }
        Ok(())
    }

    async fn act(&mut self, sink: &dyn AccountSink) -> Result<(), ExchangeError> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                let sent = match action {
                    Action::Connect(id) => {
                        self.links.connect(id);
                        continue;
                    }
                    Action::Close(id) => {
                        self.links.close(id);
                        continue;
                    }
                    Action::MeasureClock => {
                        self.venue.venue_clock.invalidate();
                        continue;
                    }
                    Action::FetchSnapshot(_) => continue,
                    Action::GiveUp(error) => return Err(error),
                    Action::Send(id, text) => self.links.send(id, text).await.map_err(|cause| (id, cause)),
                    Action::Ping(id) => self.links.ping(id).await.map_err(|cause| (id, cause)),
                };
                if let Err((id, cause)) = sent {
                    let now = self.now();
                    self.session.closed(id, &cause, now, sink);
                }
            }
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        pool: &RestPool,
        sink: &dyn AccountSink,
        stop: &CancellationToken,
    ) -> Result<(), ExchangeError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => {
                    let now = self.now();
                    let mut take = |at| self.venue.connects.lock().take(at);
                    self.session.tick(now, &mut take, &mut self.actions, sink);
                }
                event = self.links.next() => match event {
                    LinkEvent::Connected(id) => tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(()),
                        handled = self.connected(id, pool, sink) => handled?,
                    },
                    // What has come is told, even if the stop comes at the same moment.
                    event => self.event(event, sink)?,
                },
            }
            self.act(sink).await?;
        }
    }
}

#[async_trait]
impl AccountFeed for BinanceSpotAccountFeed {
    async fn run(
        mut self: Box<Self>,
        sink: Arc<dyn AccountSink>,
        stop: CancellationToken,
    ) -> Result<(), ExchangeError> {
        let pool = self.venue.pool(1);
        let result = self.stream(&pool, sink.as_ref(), &stop).await;
        self.links.close_all().await;
        pool.close().await;
        result
    }
}
