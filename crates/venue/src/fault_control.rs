//! The handle by which tests ask for faults while the venue runs.

use crate::config::LatencyConfig;
use crate::encode;
use crate::faults::{AcceptMode, RequestFault};
use crate::hub::{CUT, CloseReason, Conn, Frame};
use crate::venue::Venue;
use crate::ws::shutdown_notice;
use bytes::Bytes;
use keel_model::{Asset, Instrument, InstrumentStatus, Notional};
use keel_sim::{AccountId, CancelRequest, OrderRef};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Which connections a fault is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamTarget {
    /// Those that listen to a market stream, by its name.
    Market(String),
    /// Those that listen to an account (`None`: any), by its position among the accounts.
    User(Option<u32>),
    /// Every WebSocket connection.
    All,
}

/// A frame that a fault sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawFrame {
    /// Text as it is: half a JSON object, unknown words, a crossed book.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// Bytes that are no WebSocket frame, or one of any kind that the sender made up: invalid UTF-8, reserved bits.
    Garbage(Vec<u8>),
}

/// Faults of a running venue. All of them act at once; counted ones end by themselves.
#[derive(Clone, Debug)]
pub struct Faults {
    venue: Arc<Venue>,
}

impl Faults {
    pub(crate) fn new(venue: Arc<Venue>) -> Self {
        Self { venue }
    }

    /// Makes the next requests of a kind fail. False when too many faults wait already.
    pub fn request(&self, fault: RequestFault) -> bool {
        self.venue.faults.add(fault)
    }

    /// Forgets all request faults and serves streams and connections as usual again. The clock offset, statuses, revoked
    /// keys and bans stay.
    pub fn clear(&self) {
        self.venue.faults.clear();
        self.set_accept(AcceptMode::Serve);
        self.refuse_websockets(false);
        let mut core = self.venue.core.lock();
        core.is_market_stalled = false;
        core.user_faults = crate::core::UserFaults::default();
        core.skip_depth.clear();
    }

    /// What becomes of new connections.
    pub fn set_accept(&self, mode: AcceptMode) {
        *self.venue.faults.accept.lock() = mode;
        self.venue.faults.accept_changed.notify_one();
    }

    /// Answers WebSocket upgrades with 503.
    pub fn refuse_websockets(&self, is_on: bool) {
        self.venue.faults.refuses_ws.store(is_on, Ordering::Relaxed);
    }

    /// Extra latency of signed requests from now on.
    pub fn set_latency(&self, latency: LatencyConfig) {
        *self.venue.latency.lock() = latency;
    }

    /// Moves the venue's clock by so much.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.venue.faults.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Market streams send nothing while this is on; pings go on.
    pub fn stall_market(&self, is_on: bool) {
        self.venue.core.lock().is_market_stalled = is_on;
    }

    /// Account streams send nothing while this is on; what happens meanwhile is lost.
    pub fn stall_user(&self, is_on: bool) {
        self.venue.core.lock().user_faults.is_stalled = is_on;
    }

    /// The next so many account events are lost.
    pub fn drop_user_events(&self, count: u32) {
        self.venue.core.lock().user_faults.drop_next = count;
    }

    /// The next so many account events come twice.
    pub fn repeat_user_events(&self, count: u32) {
        self.venue.core.lock().user_faults.repeat_next = count;
    }

    /// The next so many depth updates of a symbol are lost: a gap in the sequence. False for an unknown symbol.
    pub fn skip_depth(&self, symbol: &str, count: u32) -> bool {
        let mut core = self.venue.core.lock();
        let Some(at) = core.symbol_index(symbol) else { return false };
        core.skip_depth.insert(at, count);
        true
    }

    fn conns(&self, target: &StreamTarget) -> Vec<Arc<Conn>> {
        let core = self.venue.core.lock();
        match target {
            StreamTarget::Market(name) => {
                core.stream_key(name).map(|key| core.hub.stream_conns(key)).unwrap_or_default()
            }
            StreamTarget::User(account) => core.hub.user_conns(*account),
            StreamTarget::All => core.hub.conns().cloned().collect(),
        }
    }

    /// Sends a frame of the caller's making; says to how many connections.
    pub fn send(&self, target: &StreamTarget, frame: &RawFrame) -> usize {
        let frame = match frame {
            RawFrame::Text(text) => Frame::Text(text.as_str().into()),
            RawFrame::Binary(bytes) => Frame::Binary(Bytes::from(bytes.clone())),
            RawFrame::Garbage(bytes) => Frame::Garbage(Bytes::from(bytes.clone())),
        };
        let conns = self.conns(target);
        conns.iter().for_each(|conn| conn.send(frame.clone()));
        conns.len()
    }

    /// Cuts connections off without a farewell; says how many.
    pub fn cut(&self, target: &StreamTarget) -> usize {
        self.conns(target).iter().filter(|conn| conn.end(CUT)).count()
    }

    /// Closes connections with a code and words; says how many.
    pub fn close(&self, target: &StreamTarget, code: u16, text: &'static str) -> usize {
        let reason = CloseReason { code, text, is_abrupt: false };
        self.conns(target).iter().filter(|conn| conn.end(reason)).count()
    }

    /// Says `serverShutdown` on every WebSocket connection, and goes on; says on how many.
    pub fn announce_shutdown(&self) -> usize {
        let conns = self.conns(&StreamTarget::All);
        conns.iter().for_each(|conn| conn.send_text(shutdown_notice(conn, &self.venue)));
        conns.len()
    }

    /// Ends all listenKeys now.
    pub fn expire_listen_keys(&self) {
        self.venue.expire_listen_keys(true);
    }

    /// Revokes a key, or makes it valid again; false when there is none such.
    pub fn set_key_enabled(&self, api_key: &str, is_enabled: bool) -> bool {
        self.venue.keys.set_enabled(api_key, is_enabled)
    }

    /// Takes away a key's right to trade, or gives it back; false when there is none such.
    pub fn set_key_can_trade(&self, api_key: &str, can_trade: bool) -> bool {
        self.venue.keys.set_can_trade(api_key, can_trade)
    }

    /// Bans the loopback address for a while: 418 on every request.
    pub fn ban(&self, length: Duration) {
        let now = self.venue.now();
        self.venue.limiter.lock().ban(IpAddr::V4(Ipv4Addr::LOCALHOST), length, now);
    }

    /// Lifts all bans and forgets the weight used.
    pub fn forgive(&self) {
        self.venue.limiter.lock().forgive();
    }

    /// Shows a status word for a symbol, known or not; it is open for orders only under `TRADING`. False for an unknown symbol.
    pub fn set_symbol_status(&self, symbol: &str, word: &str) -> bool {
        let mut core = self.venue.core.lock();
        let Some(at) = core.symbol_index(symbol) else { return false };
        let Some(entry) = core.symbols.get_mut(at as usize) else { return false };
        entry.status_word = (word != "TRADING").then(|| word.to_owned());
        let id = entry.id;
        let Some(mut instrument) = core.engine.instrument(id).cloned() else { return false };
        instrument.status = match word {
            "TRADING" => InstrumentStatus::Trading,
            "CANCEL_ONLY" => InstrumentStatus::CancelOnly,
            _ => InstrumentStatus::Halted,
        };
        core.engine.update_instrument(instrument).is_ok()
    }

    /// Changes a symbol's filters; false when they cannot be had (another tick or lot scale, an unknown symbol).
    pub fn change_filters(&self, symbol: &str, change: impl FnOnce(&mut Instrument)) -> bool {
        let mut core = self.venue.core.lock();
        let Some(id) = core.symbol(symbol).map(|symbol| symbol.id) else { return false };
        let Some(mut instrument) = core.engine.instrument(id).cloned() else { return false };
        change(&mut instrument);
        core.engine.update_instrument(instrument).is_ok()
    }

    /// Adds to (or takes from) an account's balance from outside, and tells its stream; false when it cannot be done.
    pub fn deposit(&self, account: u32, asset: &str, amount: Notional) -> bool {
        let Ok(name) = Asset::new(asset) else { return false };
        let now = self.venue.now();
        let mut core = self.venue.core.lock();
        let id = AccountId(account);
        if core.engine.deposit(id, name, amount).is_err() {
            return false;
        }
        let balance = core.engine.balance(id, name);
        core.publish_user(id, |unit| encode::balance_update(unit, now, asset, amount));
        core.publish_user(id, |unit| encode::account_position_of(unit, now, &[balance]));
        true
    }

    /// The venue itself cancels an order of an account; false when it is not open.
    pub fn cancel_order(&self, account: u32, symbol: &str, order_id: u64) -> bool {
        let now = self.venue.now();
        let mut core = self.venue.core.lock();
        let Some(id) = core.symbol(symbol).map(|symbol| symbol.id) else { return false };
        let request = CancelRequest::new(id, OrderRef::Id(order_id));
        let is_done = core.engine.cancel(now, AccountId(account), &request).is_ok();
        core.pump(&self.venue.limiter);
        is_done
    }
}
