//! The account stream: subscribe with a signature, keep alive, roll over, reconnect; each new subscription is `Live` again.
//!
//! Invariants: `Live` is said after every subscription, also the first, and after everything that the stream does not tell
//! in full, so that the system reconciles (N-08, N-10); no report is dropped but one that was handed on already, word for
//! word, while two connections overlap; keys that the venue refuses end the session, since retrying cannot help (V-23).

use super::backoff::{Backoff, TakeConnect};
use super::link::Link;
use super::{Action, LinkId, Now, ms};
use crate::binance::spot::VENUE;
use crate::binance::spot::classify::{VenueError, excerpt};
use crate::binance::spot::codec::encode::user_subscribe_message;
use crate::binance::spot::codec::user::{UserFrame, decode};
use crate::binance::spot::config::StreamConfig;
use crate::binance::spot::sign::Signer;
use crate::binance::spot::symbols::SymbolTable;
use crate::{AccountSink, ExchangeError};
use keel_model::{Asset, ExecutionReport, FeedState, Notional, Timestamp};
use std::collections::VecDeque;

/// Reports remembered to tell doubles apart while two connections overlap.
const REMEMBERED_MAX: usize = 512;
/// Announced transfers remembered to tell doubles apart.
const TRANSFERS_MAX: usize = 64;
/// A connection that held this long makes the next pause the shortest again.
const STABLE_MS: u64 = 10_000;
/// A subscription that is not answered within this time is tried on a new connection.
const SUBSCRIBE_PATIENCE_MS: u64 = 5_000;

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCounts {
    /// Reports handed on.
    pub reports: u64,
    /// Doubles dropped while two connections overlapped.
    pub duplicates: u64,
    /// Frames that could not be read.
    pub unreadable: u64,
    /// Connections that were lost.
    pub disconnects: u64,
    /// Subscriptions made.
    pub subscriptions: u64,
    /// Roll-overs completed.
    pub roll_overs: u64,
}

/// A connection and its subscription.
#[derive(Debug)]
struct AccountLink {
    link: Link,
    request: u64,
    asked_mono_ns: u64,
    is_subscribed: bool,
}

/// The session of one account's stream.
#[derive(Debug)]
pub struct AccountSession {
    config: StreamConfig,
    recv_window_ms: u64,
    symbols: SymbolTable,
    current: Option<AccountLink>,
    next: Option<AccountLink>,
    next_link_id: u64,
    next_request: u64,
    retry_mono_ns: u64,
    backoff: Backoff,
    is_live: bool,
    down_since_mono_ns: Option<u64>,
    last_cause: String,
    remembered: VecDeque<ExecutionReport>,
    transfers: VecDeque<(Asset, Notional, Timestamp)>,
    counts: AccountCounts,
}

impl AccountSession {
    /// A session that knows these symbols.
    #[must_use]
    pub fn new(config: StreamConfig, recv_window_ms: u64, symbols: SymbolTable, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.backoff_min_ms, config.backoff_max_ms, seed),
            config,
            recv_window_ms,
            symbols,
            current: None,
            next: None,
            next_link_id: 1,
            next_request: 1,
            retry_mono_ns: 0,
            is_live: false,
            down_since_mono_ns: None,
            last_cause: String::new(),
            remembered: VecDeque::new(),
            transfers: VecDeque::new(),
            counts: AccountCounts::default(),
        }
    }

    /// Counts so far.
    #[must_use]
    pub const fn counts(&self) -> AccountCounts {
        self.counts
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut AccountLink> {
        [self.current.as_mut(), self.next.as_mut()].into_iter().flatten().find(|link| link.link.id == id)
    }

    /// Time has passed. To be called ten times a second.
    pub fn tick(&mut self, now: Now, budget: &mut TakeConnect<'_>, out: &mut Vec<Action>, sink: &dyn AccountSink) {
        let links: Vec<LinkId> = [&self.current, &self.next].into_iter().flatten().map(|link| link.link.id).collect();
        for id in links {
            let config = self.config.clone();
            let Some(link) = self.link_mut(id) else { continue };
            let is_alive = link.link.tick(&config, now, out);
            let is_waiting = link.link.is_open() && !link.is_subscribed;
            if !is_alive {
                self.drop_link(id, "nothing heard, not even a pong", now, out, sink);
            } else if is_waiting && now.mono_ns >= link.asked_mono_ns.saturating_add(ms(SUBSCRIBE_PATIENCE_MS)) {
                self.drop_link(id, "the subscription was not answered", now, out, sink);
            }
        }
        self.connect(now, budget, out);
        self.check_outage(now, out);
    }

    fn connect(&mut self, now: Now, budget: &mut TakeConnect<'_>, out: &mut Vec<Action>) {
        let is_due = self.current.as_ref().is_none_or(|link| link.link.is_due(&self.config, now));
        if !is_due || self.next.is_some() || now.mono_ns < self.retry_mono_ns {
            return;
        }
        if let Err(wait_ns) = budget(now.mono_ns) {
            tracing::warn!(wait_ms = wait_ns / 1_000_000, "the connect budget is used up; waiting");
            self.retry_mono_ns = now.mono_ns + wait_ns;
            return;
        }
        let id = LinkId(self.next_link_id);
        self.next_link_id += 1;
        out.push(Action::Connect(id));
        let link =
            AccountLink { link: Link::new(id, now), request: 0, asked_mono_ns: now.mono_ns, is_subscribed: false };
        match self.current {
            None => self.current = Some(link),
            Some(_) => self.next = Some(link),
        }
    }

    /// A connection is open; `venue_time` is the venue's clock, to sign with.
    pub fn connected(&mut self, id: LinkId, signer: &Signer, venue_time: Timestamp, now: Now, out: &mut Vec<Action>) {
        if let Some(link) = self.link_mut(id) {
            link.link.opened(now);
            self.subscribe(id, signer, venue_time, now, out);
        }
    }

    fn subscribe(&mut self, id: LinkId, signer: &Signer, venue_time: Timestamp, now: Now, out: &mut Vec<Action>) {
        let request = self.next_request;
        self.next_request += 1;
        let text = user_subscribe_message(request, signer, self.recv_window_ms, venue_time.as_ms());
        if let Some(link) = self.link_mut(id) {
            link.request = request;
            link.asked_mono_ns = now.mono_ns;
            link.is_subscribed = false;
            link.link.send(text, now, out);
        }
    }

    /// A ping or pong came.
    pub fn heard(&mut self, id: LinkId, now: Now) {
        if let Some(link) = self.link_mut(id) {
            link.link.heard(now);
        }
    }

    /// A data frame came.
    #[allow(
        clippy::too_many_arguments,
        reason = "all of them are inputs of one step; a struct for them would be made and taken apart at once"
    )]
    pub fn frame(
        &mut self,
        id: LinkId,
        frame: &[u8],
        signer: &Signer,
        venue_time: Option<Timestamp>,
        now: Now,
        out: &mut Vec<Action>,
        sink: &dyn AccountSink,
    ) {
        let Some(link) = self.link_mut(id) else { return };
        link.link.heard(now);
        match decode(frame, &self.symbols, now.wall) {
            Ok(UserFrame::Report(report)) => self.report(*report, sink),
            Ok(UserFrame::Balances(balances, ts_event)) => sink.on_balances(balances, ts_event),
            Ok(UserFrame::Transfer(asset, change, ts_event)) => self.transfer(asset, change, ts_event, sink),
            Ok(UserFrame::Reconcile(cause)) => self.reconcile(cause, now, sink),
            Ok(UserFrame::Terminated) => {
                tracing::warn!("the account subscription at {VENUE} ended; subscribing anew");
                match venue_time {
                    Some(time) => self.subscribe(id, signer, time, now, out),
                    None => self.drop_link(id, "the subscription ended", now, out, sink),
                }
            }
            Ok(UserFrame::ServerShutdown) => {
                if let Some(link) = self.link_mut(id) {
                    link.link.is_leaving = true;
                    self.retry_mono_ns = 0;
                }
            }
            Ok(UserFrame::Reply { id: request, status, error }) => {
                self.reply(id, request, status, error, now, out, sink)
            }
            Ok(UserFrame::Ignored) => {}
            Err(cause) => {
                self.counts.unreadable += 1;
                let excerpt = excerpt(frame);
                tracing::error!(cause, excerpt, "unreadable account frame");
                // It may have been about an order of ours.
                self.reconcile("an account message could not be read", now, sink);
            }
        }
    }

    fn report(&mut self, report: ExecutionReport, sink: &dyn AccountSink) {
        let same = ExecutionReport { ts_recv: Timestamp::ZERO, ..report };
        if self.next.is_some() && self.remembered.contains(&same) {
            self.counts.duplicates += 1;
            return;
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(same);
        self.counts.reports += 1;
        sink.on_report(report);
    }

    /// An announcement has no number: word for word the same one is the same one.
    fn transfer(&mut self, asset: Asset, change: Notional, ts_event: Timestamp, sink: &dyn AccountSink) {
        let same = (asset, change, ts_event);
        if self.transfers.contains(&same) {
            self.counts.duplicates += 1;
            return;
        }
        if self.transfers.len() >= TRANSFERS_MAX {
            self.transfers.pop_front();
        }
        self.transfers.push_back(same);
        sink.on_transfer(asset, change, ts_event);
    }

    fn reconcile(&mut self, cause: &str, now: Now, sink: &dyn AccountSink) {
        tracing::info!(cause, "the account needs a look at the venue's books");
        if self.is_live {
            sink.on_state(FeedState::Live, now.wall);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of them are inputs of one step")]
    fn reply(
        &mut self,
        id: LinkId,
        request: u64,
        status: u16,
        error: Option<VenueError>,
        now: Now,
        out: &mut Vec<Action>,
        sink: &dyn AccountSink,
    ) {
        let Some(link) = self.link_mut(id).filter(|link| link.request == request && !link.is_subscribed) else {
            return;
        };
        // "Already active" on this connection is what was asked for.
        let code = error.as_ref().and_then(|error| error.code);
        if status == 200 || code == Some(-2035) {
            link.is_subscribed = true;
            self.counts.subscriptions += 1;
            return self.subscribed(id, now, out, sink);
        }
        let text = error.map(|error| error.text).unwrap_or_default();
        match code {
            Some(-2015 | -2014 | -1022 | -1002) => out.push(Action::GiveUp(ExchangeError::Credentials {
                venue: VENUE.into(),
                cause: format!(
                    "the account stream was refused: {text}; check the key, its permissions and its addresses"
                ),
            })),
            Some(-1021) => {
                out.push(Action::MeasureClock);
                self.drop_link(id, "the venue refused our time", now, out, sink);
            }
            _ => self.drop_link(id, &format!("the subscription was refused: {text} ({status})"), now, out, sink),
        }
    }

    fn subscribed(&mut self, id: LinkId, now: Now, out: &mut Vec<Action>, sink: &dyn AccountSink) {
        self.down_since_mono_ns = None;
        if self.next.as_ref().is_some_and(|link| link.link.id == id) {
            // The new connection delivers: the old one may go. What both told is not told twice.
            self.promote(out);
            self.counts.roll_overs += 1;
        }
        self.is_live = true;
        sink.on_state(FeedState::Live, now.wall);
    }

    fn promote(&mut self, out: &mut Vec<Action>) {
        if let Some(old) = self.current.take() {
            out.push(Action::Close(old.link.id));
        }
        self.current = self.next.take();
        self.backoff.reset();
    }

    fn drop_link(&mut self, id: LinkId, cause: &str, now: Now, out: &mut Vec<Action>, sink: &dyn AccountSink) {
        if self.link_mut(id).is_some() {
            out.push(Action::Close(id));
            self.closed(id, cause, now, sink);
        }
    }

    /// A connection could not be made or has ended.
    pub fn closed(&mut self, id: LinkId, cause: &str, now: Now, sink: &dyn AccountSink) {
        let Some(link) = self.link_mut(id) else { return };
        let was_stable = link.is_subscribed && now.mono_ns >= link.link.opened_mono_ns.saturating_add(ms(STABLE_MS));
        if was_stable {
            self.backoff.reset();
        }
        self.counts.disconnects += 1;
        self.last_cause = cause.chars().take(200).collect();
        tracing::warn!(cause, "account connection of {VENUE} ended");
        let pause_ms = self.backoff.next_ms();
        self.retry_mono_ns = now.mono_ns + ms(pause_ms);
        if self.next.as_ref().is_some_and(|link| link.link.id == id) {
            self.next = None;
            return;
        }
        self.current = None;
        self.current = self.next.take();
        if self.is_live {
            self.is_live = false;
            sink.on_state(FeedState::Down, now.wall);
        }
        self.down_since_mono_ns.get_or_insert(now.mono_ns);
    }

    fn check_outage(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(since) = self.down_since_mono_ns else { return };
        let after_ms = self.config.outage_max_ms;
        if after_ms > 0 && now.mono_ns >= since.saturating_add(ms(after_ms)) {
            out.push(Action::GiveUp(ExchangeError::Connect {
                venue: VENUE.into(),
                address: "account stream".into(),
                cause: format!("no connection for {after_ms} ms; last cause: {}", self.last_cause),
            }));
        }
    }

    /// Closes everything; for the end.
    pub fn stop(&mut self, out: &mut Vec<Action>) {
        for link in [self.current.take(), self.next.take()].into_iter().flatten() {
            out.push(Action::Close(link.link.id));
        }
        self.retry_mono_ns = u64::MAX;
    }
}

#[cfg(test)]
mod tests;
