//! Who gets which frame: market stream subscribers by stream, account subscribers by account.
//!
//! A frame is encoded at most once per form (raw or combined, milliseconds or microseconds) and shared by its receivers.
//! Every connection has a bounded queue; one that is full belongs to a reader that is too slow, and that connection is
//! dropped with a reason, so that nobody else waits and memory stays bounded.

use crate::json::{Json, TimeUnit};
use crate::stream_name::{StreamKey, StreamKind};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

/// Most account stream subscriptions of one connection at once.
pub(crate) const USER_SUBSCRIPTIONS_MAX: usize = 1_000;

/// Something to be written to a connection.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// A text frame.
    Text(Utf8Bytes),
    /// A binary frame; only faults send one.
    Binary(Bytes),
    /// Bytes that are no WebSocket frame at all; only faults send them.
    Garbage(Bytes),
}

/// Why the venue ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseReason {
    /// WebSocket close code.
    pub(crate) code: u16,
    /// Words for the peer.
    pub(crate) text: &'static str,
    /// Without a close frame, as when a cable is cut?
    pub(crate) is_abrupt: bool,
}

/// The reader does not keep up.
pub(crate) const SLOW_CONSUMER: CloseReason =
    CloseReason { code: 1008, text: "slow consumer: too many frames are waiting", is_abrupt: false };
/// A fault was asked for.
pub(crate) const CUT: CloseReason = CloseReason { code: 1006, text: "cut", is_abrupt: true };
/// The venue stops.
pub(crate) const GOING_AWAY: CloseReason = CloseReason { code: 1001, text: "server shutdown", is_abrupt: false };

/// Counters of what was sent.
#[derive(Debug, Default)]
pub(crate) struct HubCounters {
    pub(crate) frames: AtomicU64,
    pub(crate) slow_dropped: AtomicU64,
}

/// One WebSocket connection as the rest of the venue sees it.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Its number.
    pub(crate) id: u64,
    queue: mpsc::Sender<Frame>,
    /// Wrap frames as `{"stream":…,"data":…}`?
    pub(crate) is_combined: AtomicBool,
    /// Unit of times.
    pub(crate) unit: TimeUnit,
    /// Is it a WebSocket API connection (else market streams)?
    pub(crate) is_api: bool,
    /// Cancelled when the venue ends the connection.
    pub(crate) ended: CancellationToken,
    reason: OnceLock<CloseReason>,
    counters: Arc<HubCounters>,
}

impl Conn {
    /// A connection with a queue of at most `frames_max`.
    pub(crate) fn new(
        id: u64,
        is_api: bool,
        is_combined: bool,
        unit: TimeUnit,
        frames_max: usize,
        counters: Arc<HubCounters>,
    ) -> (Arc<Self>, mpsc::Receiver<Frame>) {
        let (queue, frames) = mpsc::channel(frames_max);
        let conn = Self {
            id,
            queue,
            is_combined: AtomicBool::new(is_combined),
            unit,
            is_api,
            ended: CancellationToken::new(),
            reason: OnceLock::new(),
            counters,
        };
        (Arc::new(conn), frames)
    }

    /// Queues a frame; a full queue ends the connection.
    pub(crate) fn send(&self, frame: Frame) {
        match self.queue.try_send(frame) {
            Ok(()) => {
                self.counters.frames.fetch_add(1, Ordering::Relaxed);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                if self.end(SLOW_CONSUMER) {
                    self.counters.slow_dropped.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(connection = self.id, "dropped: {}", SLOW_CONSUMER.text);
                }
            }
        }
    }

    /// Queues a text frame.
    pub(crate) fn send_text(&self, text: impl Into<Utf8Bytes>) {
        self.send(Frame::Text(text.into()));
    }

    /// Ends the connection; false when it was ended before.
    pub(crate) fn end(&self, reason: CloseReason) -> bool {
        let is_first = self.reason.set(reason).is_ok();
        self.ended.cancel();
        is_first
    }

    /// Why the connection was ended by the venue.
    pub(crate) fn reason(&self) -> CloseReason {
        self.reason.get().copied().unwrap_or(GOING_AWAY)
    }

    /// Is at least half of the queue free?
    pub(crate) fn has_room(&self) -> bool {
        self.ended.is_cancelled() || self.queue.capacity() * 2 >= self.queue.max_capacity()
    }
}

#[derive(Debug)]
struct Sub {
    conn: Arc<Conn>,
    name: Arc<str>,
}

/// How an account subscriber wants its events.
#[derive(Clone, Debug)]
pub(crate) enum UserForm {
    /// WebSocket API: `{"subscriptionId":…,"event":…}`.
    Subscription(u64),
    /// listenKey: bare, or `{"stream":"<listenKey>","data":…}` on a combined connection.
    ListenKey(Arc<str>),
}

#[derive(Debug)]
struct UserSub {
    conn: Arc<Conn>,
    form: UserForm,
}

/// The subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    streams: HashMap<StreamKey, Vec<Sub>>,
    users: Vec<Vec<UserSub>>,
    conns: HashMap<u64, Arc<Conn>>,
}

impl Hub {
    /// A hub for so many accounts.
    pub(crate) fn new(accounts: usize) -> Self {
        Self { users: (0..accounts).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// Registers a connection.
    pub(crate) fn add(&mut self, conn: Arc<Conn>) {
        self.conns.insert(conn.id, conn);
    }

    /// Forgets a connection and all its subscriptions.
    pub(crate) fn remove(&mut self, id: u64) {
        self.conns.remove(&id);
        self.streams.retain(|_, subs| {
            subs.retain(|sub| sub.conn.id != id);
            !subs.is_empty()
        });
        for subs in &mut self.users {
            subs.retain(|sub| sub.conn.id != id);
        }
    }

    /// All connections.
    pub(crate) fn conns(&self) -> impl Iterator<Item = &Arc<Conn>> {
        self.conns.values()
    }

    /// Subscribes to a stream; a second time is harmless.
    pub(crate) fn subscribe(&mut self, key: StreamKey, name: &str, conn: &Arc<Conn>) {
        let subs = self.streams.entry(key).or_default();
        if !subs.iter().any(|sub| sub.conn.id == conn.id) {
            subs.push(Sub { conn: conn.clone(), name: Arc::from(name) });
        }
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, key: StreamKey, id: u64) {
        if let Some(subs) = self.streams.get_mut(&key) {
            subs.retain(|sub| sub.conn.id != id);
            if subs.is_empty() {
                self.streams.remove(&key);
            }
        }
    }

    /// Does anybody listen to this stream?
    pub(crate) fn is_wanted(&self, key: StreamKey) -> bool {
        self.streams.contains_key(&key)
    }

    /// Does anybody listen to any market stream?
    pub(crate) fn has_market_subscribers(&self) -> bool {
        !self.streams.is_empty()
    }

    /// The streams that somebody listens to and that satisfy `keep`.
    pub(crate) fn wanted(&self, keep: impl Fn(StreamKind) -> bool) -> Vec<StreamKey> {
        self.streams.keys().copied().filter(|key| keep(key.kind)).collect()
    }

    /// Number of market stream subscriptions, and of account subscriptions.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.streams.values().map(Vec::len).sum(), self.users.iter().map(Vec::len).sum())
    }

    /// Is there room for more in every queue of a market stream subscriber?
    pub(crate) fn has_room(&self) -> bool {
        self.conns.values().all(|conn| conn.has_room())
    }

    /// Ends connections that have no room.
    pub(crate) fn drop_slow(&self) {
        for conn in self.conns.values().filter(|conn| !conn.has_room()) {
            if conn.end(SLOW_CONSUMER) {
                conn.counters.slow_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Sends a market event; `make` writes the raw payload.
    pub(crate) fn publish(&self, key: StreamKey, make: impl Fn(TimeUnit) -> String) {
        let Some(subs) = self.streams.get(&key) else { return };
        let mut raw: [Option<Utf8Bytes>; 2] = [None, None];
        let mut combined: [Option<Utf8Bytes>; 2] = [None, None];
        for sub in subs {
            let unit = sub.conn.unit;
            let at = usize::from(unit == TimeUnit::Microseconds);
            let (Some(raw), Some(combined)) = (raw.get_mut(at), combined.get_mut(at)) else { continue };
            let plain = raw.get_or_insert_with(|| make(unit).into());
            let text = if sub.conn.is_combined.load(Ordering::Relaxed) {
                combined.get_or_insert_with(|| wrap_stream(&sub.name, plain.as_str()).into()).clone()
            } else {
                plain.clone()
            };
            sub.conn.send(Frame::Text(text));
        }
    }

    /// Sends a frame that exists in both forms already.
    pub(crate) fn publish_recorded(&self, key: StreamKey, raw: &Utf8Bytes, combined: &Utf8Bytes) {
        for sub in self.streams.get(&key).into_iter().flatten() {
            let is_combined = sub.conn.is_combined.load(Ordering::Relaxed);
            sub.conn.send(Frame::Text(if is_combined { combined.clone() } else { raw.clone() }));
        }
    }

    /// Sends any frame to the subscribers of a stream; for faults.
    pub(crate) fn publish_frame(&self, key: StreamKey, frame: &Frame) {
        for sub in self.streams.get(&key).into_iter().flatten() {
            sub.conn.send(frame.clone());
        }
    }

    /// Subscribes to an account's events.
    pub(crate) fn subscribe_user(&mut self, account: u32, conn: &Arc<Conn>, form: UserForm) {
        if let Some(subs) = self.users.get_mut(account as usize) {
            subs.push(UserSub { conn: conn.clone(), form });
        }
    }

    /// Ends account subscriptions of a connection that `which` names; says how many.
    pub(crate) fn unsubscribe_user(&mut self, id: u64, which: impl Fn(&UserForm) -> bool) -> usize {
        let mut ended = 0;
        for subs in &mut self.users {
            let before = subs.len();
            subs.retain(|sub| sub.conn.id != id || !which(&sub.form));
            ended += before - subs.len();
        }
        ended
    }

    /// Does anybody listen to this account?
    pub(crate) fn is_user_wanted(&self, account: u32) -> bool {
        self.users.get(account as usize).is_some_and(|subs| !subs.is_empty())
    }

    /// Sends an account event; `make` writes the bare payload.
    pub(crate) fn publish_user(&self, account: u32, make: impl Fn(TimeUnit) -> String) {
        let Some(subs) = self.users.get(account as usize) else { return };
        let mut raw: [Option<String>; 2] = [None, None];
        for sub in subs {
            let at = usize::from(sub.conn.unit == TimeUnit::Microseconds);
            let Some(slot) = raw.get_mut(at) else { continue };
            let plain = slot.get_or_insert_with(|| make(sub.conn.unit));
            sub.conn.send_text(wrap_user(plain, &sub.form, &sub.conn));
        }
    }

    /// Ends the connections that listen to an account; for faults.
    pub(crate) fn user_conns(&self, account: Option<u32>) -> Vec<Arc<Conn>> {
        let wanted = |at: usize| account.is_none_or(|account| account as usize == at);
        let lists = self.users.iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, subs)| subs);
        lists.flatten().map(|sub| sub.conn.clone()).collect()
    }

    /// Connections that listen to a stream; for faults.
    pub(crate) fn stream_conns(&self, key: StreamKey) -> Vec<Arc<Conn>> {
        self.streams.get(&key).into_iter().flatten().map(|sub| sub.conn.clone()).collect()
    }
}

fn wrap_stream(name: &str, data: &str) -> String {
    let mut out = String::with_capacity(data.len() + name.len() + 24);
    out.push_str("{\"stream\":\"");
    out.push_str(name);
    out.push_str("\",\"data\":");
    out.push_str(data);
    out.push('}');
    out
}

/// An account event as one subscriber wants it.
pub(crate) fn wrap_user(plain: &str, form: &UserForm, conn: &Conn) -> String {
    match form {
        UserForm::Subscription(id) => Json::object(conn.unit, |j| {
            j.num("subscriptionId", *id);
            j.raw("event", plain);
        }),
        UserForm::ListenKey(key) if conn.is_combined.load(Ordering::Relaxed) => wrap_stream(key, plain),
        UserForm::ListenKey(_) => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream_name::Scope;

    fn conn(id: u64, is_combined: bool, frames_max: usize) -> (Arc<Conn>, mpsc::Receiver<Frame>) {
        Conn::new(id, false, is_combined, TimeUnit::Milliseconds, frames_max, Arc::default())
    }

    fn text(frames: &mut mpsc::Receiver<Frame>) -> String {
        match frames.try_recv().unwrap() {
            Frame::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    const KEY: StreamKey = StreamKey { scope: Scope::Symbol(0), kind: StreamKind::Trade };

    #[test]
    fn frames_are_encoded_once_per_form() {
        let mut hub = Hub::new(1);
        let ((a, mut a_frames), (b, mut b_frames)) = (conn(1, false, 8), conn(2, true, 8));
        let (c, mut c_frames) = conn(3, false, 8);
        for conn in [&a, &b, &c] {
            hub.add(conn.clone());
            hub.subscribe(KEY, "btcusdt@trade", conn);
            hub.subscribe(KEY, "btcusdt@trade", conn);
        }
        let made = std::cell::Cell::new(0);
        hub.publish(KEY, |_| {
            made.set(made.get() + 1);
            "{}".to_owned()
        });
        assert_eq!(made.get(), 1);
        assert_eq!(text(&mut a_frames), "{}");
        assert_eq!(text(&mut b_frames), r#"{"stream":"btcusdt@trade","data":{}}"#);
        assert_eq!(text(&mut c_frames), "{}");
        assert_eq!(hub.counts(), (3, 0));
        hub.remove(1);
        hub.unsubscribe(KEY, 2);
        hub.unsubscribe(KEY, 3);
        assert!(!hub.has_market_subscribers());
    }

    #[test]
    fn r_04_a_slow_reader_is_dropped_with_a_reason_and_nobody_else() {
        let mut hub = Hub::new(1);
        let ((slow, _kept), (fast, mut frames)) = (conn(1, false, 2), conn(2, false, 64));
        for conn in [&slow, &fast] {
            hub.add(conn.clone());
            hub.subscribe(KEY, "btcusdt@trade", conn);
        }
        for _ in 0..5 {
            hub.publish(KEY, |_| "{}".to_owned());
        }
        assert!(slow.ended.is_cancelled());
        assert_eq!(slow.reason(), SLOW_CONSUMER);
        assert!(!fast.ended.is_cancelled());
        assert_eq!((0..5).map(|_| text(&mut frames)).count(), 5);
        assert_eq!(slow.counters.slow_dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn account_events_are_wrapped_as_each_subscriber_wants() {
        let mut hub = Hub::new(2);
        let ((api, mut api_frames), (old, mut old_frames)) = (conn(1, false, 8), conn(2, true, 8));
        hub.subscribe_user(1, &api, UserForm::Subscription(3));
        hub.subscribe_user(1, &old, UserForm::ListenKey(Arc::from("key")));
        hub.publish_user(0, |_| panic!("nobody listens"));
        hub.publish_user(1, |_| "{\"e\":1}".to_owned());
        assert_eq!(text(&mut api_frames), r#"{"subscriptionId":3,"event":{"e":1}}"#);
        assert_eq!(text(&mut old_frames), r#"{"stream":"key","data":{"e":1}}"#);
        assert_eq!(hub.unsubscribe_user(1, |form| matches!(form, UserForm::Subscription(3))), 1);
        assert_eq!(hub.counts(), (0, 1));
    }
}
