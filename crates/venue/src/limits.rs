//! Rate limits: request weight and raw requests per address, unfilled orders per account, connections per address.
//!
//! Windows start at full minutes, seconds and days of the venue's clock. Too much is refused with 429; going on after
//! that is banned with 418. Both tables are bounded: accounts by their number, addresses by [`ADDRESSES_MAX`] (the one
//! that was idle longest goes first).

use crate::api_error::ApiError;
use crate::config::VenueLimits;
use crate::json::{Json, TimeUnit};
use keel_model::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Most addresses remembered.
const ADDRESSES_MAX: usize = 1_024;
/// The longest ban.
const BAN_MAX: Duration = Duration::from_secs(3 * 24 * 3_600);

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// One counting window.
#[derive(Clone, Copy, Debug)]
struct Window {
    length_ms: u64,
    start_ms: u64,
    count: u64,
}

impl Window {
    const fn new(length_ms: u64) -> Self {
        Self { length_ms, start_ms: 0, count: 0 }
    }

    fn roll(&mut self, now_ms: u64) {
        let start_ms = now_ms - now_ms % self.length_ms;
        if start_ms != self.start_ms {
            self.start_ms = start_ms;
            self.count = 0;
        }
    }

    fn at(&self, now_ms: u64) -> u64 {
        if now_ms - now_ms % self.length_ms == self.start_ms { self.count } else { 0 }
    }

    fn seconds_left(&self, now_ms: u64) -> u64 {
        (self.start_ms + self.length_ms).saturating_sub(now_ms).div_ceil(SECOND).max(1)
    }
}

#[derive(Debug)]
struct Address {
    weight: Window,
    raw: Window,
    refusals: Window,
    connections: Window,
    bans: u32,
    banned_until_ms: u64,
    seen_ms: u64,
}

impl Address {
    const fn new() -> Self {
        Self {
            weight: Window::new(MINUTE),
            raw: Window::new(5 * MINUTE),
            refusals: Window::new(MINUTE),
            connections: Window::new(5 * MINUTE),
            bans: 0,
            banned_until_ms: 0,
            seen_ms: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct AccountWindows {
    ten_seconds: Window,
    day: Window,
}

/// What an address or account has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Request weight in this minute.
    pub(crate) weight: u64,
    /// Unfilled orders in these ten seconds and this day, where an account is known.
    pub(crate) orders: Option<(u64, u64)>,
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: VenueLimits,
    addresses: HashMap<IpAddr, Address>,
    accounts: Vec<AccountWindows>,
}

impl Limiter {
    /// Counters for so many accounts.
    pub(crate) fn new(limits: VenueLimits, accounts: usize) -> Self {
        let windows = AccountWindows { ten_seconds: Window::new(10 * SECOND), day: Window::new(DAY) };
        Self { limits, addresses: HashMap::new(), accounts: vec![windows; accounts] }
    }

    fn address(&mut self, ip: IpAddr, now_ms: u64) -> &mut Address {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&ip) {
            let oldest = self.addresses.iter().min_by_key(|(_, address)| address.seen_ms).map(|(ip, _)| *ip);
            if let Some(oldest) = oldest {
                self.addresses.remove(&oldest);
            }
        }
        let address = self.addresses.entry(ip).or_insert_with(Address::new);
        address.seen_ms = now_ms;
        address
    }

    /// Counts a request of so much weight.
    pub(crate) fn charge(&mut self, ip: IpAddr, weight: u32, now: Timestamp) -> Result<u64, ApiError> {
        let now_ms = now.as_ms();
        let limits = self.limits.clone();
        let address = self.address(ip, now_ms);
        if address.banned_until_ms > now_ms {
            return Err(banned(address.banned_until_ms, now_ms));
        }
        address.weight.roll(now_ms);
        address.raw.roll(now_ms);
        address.weight.count += u64::from(weight);
        address.raw.count += 1;
        let over = |count: u64, limit: u32| limit > 0 && count > u64::from(limit);
        let (limit, per, window) = if over(address.weight.count, limits.request_weight_per_minute) {
            (limits.request_weight_per_minute, "1 MINUTE", address.weight)
        } else if over(address.raw.count, limits.raw_requests_per_5m) {
            (limits.raw_requests_per_5m, "5 MINUTE", address.raw)
        } else {
            return Ok(address.weight.count);
        };
        address.refusals.roll(now_ms);
        address.refusals.count += 1;
        if over(address.refusals.count, limits.refusals_before_ban) {
            let length = limits.ban.saturating_mul(1 << address.bans.min(12)).min(BAN_MAX);
            address.bans += 1;
            address.banned_until_ms = now_ms + u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2);
            return Err(banned(address.banned_until_ms, now_ms));
        }
        let retry_after_s = window.seconds_left(now_ms);
        let msg = format!(
            "Too much request weight used; current limit is {limit} request weight per {per}. \
             Please use WebSocket Streams for live updates to avoid polling the API."
        );
        let retry_at = now_ms + retry_after_s * SECOND;
        Err(refused(ApiError::new(-1003, msg).with_status(429), retry_after_s, retry_at, now_ms))
    }

    /// Counts a new WebSocket connection; false when there are too many.
    pub(crate) fn connect(&mut self, ip: IpAddr, now: Timestamp) -> bool {
        let (now_ms, limit) = (now.as_ms(), self.limits.ws_connections_per_5m);
        let address = self.address(ip, now_ms);
        address.connections.roll(now_ms);
        address.connections.count += 1;
        limit == 0 || address.connections.count <= u64::from(limit)
    }

    /// Counts so many new orders, or refuses them all.
    pub(crate) fn charge_orders(&mut self, account: u32, count: u64, now: Timestamp) -> Result<(), ApiError> {
        let now_ms = now.as_ms();
        let (short, day) = (self.limits.orders_per_10s, self.limits.orders_per_day);
        let Some(windows) = self.accounts.get_mut(account as usize) else { return Ok(()) };
        windows.ten_seconds.roll(now_ms);
        windows.day.roll(now_ms);
        for (window, limit, per) in [(windows.ten_seconds, short, "10 SECOND"), (windows.day, day, "1 DAY")] {
            if limit > 0 && window.count + count > u64::from(limit) {
                let msg = format!("Too many new orders; current limit is {limit} orders per {per}.");
                let retry_after_s = window.seconds_left(now_ms);
                let error = ApiError::new(-1015, msg).with_status(429);
                return Err(refused(error, retry_after_s, now_ms + retry_after_s * SECOND, now_ms));
            }
        }
        windows.ten_seconds.count += count;
        windows.day.count += count;
        Ok(())
    }

    /// An order traded for the first time: it counts no more (as a maker it takes four more with it).
    pub(crate) fn first_fill(&mut self, account: u32, is_maker: bool, now: Timestamp) {
        let now_ms = now.as_ms();
        let credit = if is_maker { 5 } else { 1 };
        if let Some(windows) = self.accounts.get_mut(account as usize) {
            for window in [&mut windows.ten_seconds, &mut windows.day] {
                window.roll(now_ms);
                window.count = window.count.saturating_sub(credit);
            }
        }
    }

    /// What has been used.
    pub(crate) fn used(&self, ip: IpAddr, account: Option<u32>, now: Timestamp) -> Used {
        let now_ms = now.as_ms();
        let weight = self.addresses.get(&ip).map_or(0, |address| address.weight.at(now_ms));
        let windows = account.and_then(|account| self.accounts.get(account as usize));
        Used { weight, orders: windows.map(|w| (w.ten_seconds.at(now_ms), w.day.at(now_ms))) }
    }

    /// Writes the order limits with what is used of them.
    pub(crate) fn write_orders(&self, j: &mut Json, used: (u64, u64)) {
        write_limit(j, "ORDERS", "SECOND", 10, self.limits.orders_per_10s, Some(used.0));
        write_limit(j, "ORDERS", "DAY", 1, self.limits.orders_per_day, Some(used.1));
    }

    /// Writes the weight limit with what is used of it.
    pub(crate) fn write_weight(&self, j: &mut Json, used: u64) {
        write_limit(j, "REQUEST_WEIGHT", "MINUTE", 1, self.limits.request_weight_per_minute, Some(used));
    }

    /// Lifts every ban and forgets what addresses used.
    pub(crate) fn forgive(&mut self) {
        self.addresses.clear();
    }

    /// Bans an address from now on.
    pub(crate) fn ban(&mut self, ip: IpAddr, length: Duration, now: Timestamp) {
        let until_ms = now.plus(length).as_ms();
        self.address(ip, now.as_ms()).banned_until_ms = until_ms;
    }
}

/// Writes the limits as `exchangeInfo` shows them.
pub(crate) fn write_limits(j: &mut Json, limits: &VenueLimits) {
    write_limit(j, "REQUEST_WEIGHT", "MINUTE", 1, limits.request_weight_per_minute, None);
    write_limit(j, "ORDERS", "SECOND", 10, limits.orders_per_10s, None);
    write_limit(j, "ORDERS", "DAY", 1, limits.orders_per_day, None);
    write_limit(j, "RAW_REQUESTS", "MINUTE", 5, limits.raw_requests_per_5m, None);
}

fn write_limit(j: &mut Json, kind: &str, interval: &str, number: u32, limit: u32, count: Option<u64>) {
    // "None" is shown as a limit that nobody reaches, since clients expect a number.
    let limit = if limit == 0 { 1_000_000_000 } else { limit };
    j.item_obj(|j| {
        j.str("rateLimitType", kind);
        j.str("interval", interval);
        j.num("intervalNum", number);
        j.num("limit", limit);
        if let Some(count) = count {
            j.num("count", count);
        }
    });
}

fn refused(mut error: ApiError, retry_after_s: u64, retry_at_ms: u64, now_ms: u64) -> ApiError {
    error.retry_after_s = Some(retry_after_s);
    error.data = Some(Json::object(TimeUnit::Milliseconds, |j| {
        j.num("serverTime", now_ms);
        j.num("retryAfter", retry_at_ms);
    }));
    error
}

fn banned(until_ms: u64, now_ms: u64) -> ApiError {
    let msg = format!(
        "Way too much request weight used; IP banned until {until_ms}. \
         Please use WebSocket Streams for live updates to avoid bans."
    );
    let seconds = until_ms.saturating_sub(now_ms).div_ceil(SECOND).max(1);
    refused(ApiError::new(-1003, msg).with_status(418), seconds, until_ms, now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(1_700_000_040_000 + ms)
    }

    #[test]
    fn v_15_v_16_too_much_weight_is_429_and_going_on_is_418_with_a_growing_ban() {
        let limits = VenueLimits { request_weight_per_minute: 10, refusals_before_ban: 2, ..VenueLimits::default() };
        let mut limiter = Limiter::new(limits, 0);
        assert_eq!(limiter.charge(IP, 10, at(0)).unwrap(), 10);
        let error = limiter.charge(IP, 1, at(1_000)).unwrap_err();
        assert_eq!((error.status, error.code, error.retry_after_s), (429, -1003, Some(59)));
        assert!(
            error.msg.starts_with("Too much request weight used; current limit is 10 request weight per 1 MINUTE.")
        );
        assert_eq!(limiter.charge(IP, 1, at(1_001)).unwrap_err().status, 429);
        let ban = limiter.charge(IP, 1, at(1_002)).unwrap_err();
        assert_eq!((ban.status, ban.retry_after_s), (418, Some(120)));
        assert_eq!(limiter.charge(IP, 1, at(60_000)).unwrap_err().status, 418, "the ban outlasts the window");
        assert_eq!(limiter.charge(IP, 1, at(121_100)).unwrap(), 1);
        for _ in 0..2 {
            assert_eq!(limiter.charge(IP, 20, at(121_200)).unwrap_err().status, 429);
        }
        assert_eq!(limiter.charge(IP, 1, at(121_300)).unwrap_err().retry_after_s, Some(240));
        limiter.forgive();
        assert!(limiter.charge(IP, 1, at(121_400)).is_ok());
    }

    #[test]
    fn unfilled_orders_are_counted_per_account_and_fills_give_back() {
        let limits = VenueLimits { orders_per_10s: 2, ..VenueLimits::default() };
        let mut limiter = Limiter::new(limits, 2);
        limiter.charge_orders(0, 2, at(0)).unwrap();
        let error = limiter.charge_orders(0, 1, at(1)).unwrap_err();
        assert_eq!((error.status, error.code), (429, -1015));
        assert_eq!(error.msg, "Too many new orders; current limit is 2 orders per 10 SECOND.");
        limiter.charge_orders(1, 1, at(1)).unwrap();
        limiter.first_fill(0, false, at(2));
        limiter.charge_orders(0, 1, at(3)).unwrap();
        limiter.first_fill(0, true, at(4));
        assert_eq!(limiter.used(IP, Some(0), at(5)).orders, Some((0, 0)));
        limiter.charge_orders(0, 2, at(10_000)).unwrap();
        assert_eq!(limiter.used(IP, Some(0), at(10_001)), Used { weight: 0, orders: Some((2, 2)) });
    }

    #[test]
    fn n_12_connections_are_limited_and_zero_means_no_limit() {
        let mut limiter = Limiter::new(VenueLimits { ws_connections_per_5m: 2, ..VenueLimits::default() }, 0);
        assert!(limiter.connect(IP, at(0)) && limiter.connect(IP, at(1)) && !limiter.connect(IP, at(2)));
        assert!(limiter.connect(IP, at(300_000)));
        let mut free = Limiter::new(VenueLimits::unlimited(), 1);
        for _ in 0..10_000 {
            assert!(free.charge(IP, 100, at(0)).is_ok() && free.connect(IP, at(0)));
            free.charge_orders(0, 1, at(0)).unwrap();
        }
    }
}
