//! The venue's limits, kept from its own headers: request weight, order counts, and holds after 429 and 418.
//!
//! Invariants: what is admitted never exceeds the venue's limit by our own count; cancels and queries have a share that
//! nothing else may use; while a hold lasts nothing is admitted, and after it cancels go first (V-15, V-16). Overload:
//! what is not admitted is refused at once with the time to wait; nothing is queued here.

use super::codec::answers::RateLimit;

/// When something is asked: holds go by our monotonic clock, windows by the venue's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Our monotonic time; unit: milliseconds.
    pub mono_ms: u64,
    /// The venue's wall time, as far as it is known; unit: milliseconds.
    pub venue_ms: u64,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Cancels, and questions about orders: may use everything.
    Urgent,
    /// Placements.
    Order,
    /// Everything else.
    Background,
}

impl Lane {
    /// The share of the request weight that it may use; unit: percent.
    const fn share_percent(self) -> u64 {
        match self {
            Self::Urgent => 100,
            Self::Order => 85,
            Self::Background => 70,
        }
    }
}

/// How long only cancels and queries are admitted after a hold.
const CANCELS_FIRST_MS: u64 = 1_000;
/// "Too many new orders": the order count is used up, not the request weight.
const TOO_MANY_ORDERS: i64 = -1015;
/// Hold after a 429 that does not say how long.
const HOLD_DEFAULT_MS: u64 = 10_000;
/// Hold after a 418 (ban) that does not say how long: the shortest the venue gives.
const BAN_DEFAULT_MS: u64 = 120_000;
/// The longest hold that is believed.
pub(crate) const HOLD_MAX_MS: u64 = 3 * 24 * 3_600_000;

/// What an answer's headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitHeaders {
    /// `x-mbx-used-weight-1m`
    pub used_weight_1m: Option<u64>,
    /// `x-mbx-order-count-10s`
    pub order_count_10s: Option<u64>,
    /// `x-mbx-order-count-1d`
    pub order_count_1d: Option<u64>,
    /// `retry-after`; unit: seconds.
    pub retry_after_s: Option<u64>,
}

/// A count that starts anew with each window of the venue's clock.
#[derive(Clone, Copy, Debug)]
struct Window {
    length_ms: u64,
    limit: u64,
    index: u64,
    used: u64,
}

impl Window {
    const fn new(length_ms: u64, limit: u64) -> Self {
        Self { length_ms, limit, index: 0, used: 0 }
    }

    fn roll(&mut self, now_ms: u64) {
        // A clock that was set back begins a window too: the headers soon tell what is used of it.
        let index = now_ms / self.length_ms;
        if index != self.index {
            self.index = index;
            self.used = 0;
        }
    }

    /// Time until the window ends; unit: milliseconds.
    const fn left_ms(&self, now_ms: u64) -> u64 {
        self.length_ms - now_ms % self.length_ms
    }

    fn fits(&self, more: u64, share_percent: u64) -> bool {
        self.used.saturating_add(more) <= self.limit.saturating_mul(share_percent) / 100
    }
}

/// The limits of one address and account.
#[derive(Clone, Debug)]
pub struct RateLimits {
    weight: Window,
    orders_10s: Window,
    orders_1d: Window,
    held_until_ms: u64,
    is_banned: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            weight: Window::new(60_000, 6_000),
            orders_10s: Window::new(10_000, 100),
            orders_1d: Window::new(86_400_000, 200_000),
            held_until_ms: 0,
            is_banned: false,
        }
    }
}

impl RateLimits {
    /// Takes the limits that `exchangeInfo` states.
    pub fn configure(&mut self, limits: &[RateLimit]) {
        for limit in limits.iter().filter(|limit| limit.limit > 0) {
            match (limit.rate_limit_type.as_str(), limit.interval.as_str(), limit.interval_num) {
                ("REQUEST_WEIGHT", "MINUTE", 1) => self.weight.limit = limit.limit,
                ("ORDERS", "SECOND", 10) => self.orders_10s.limit = limit.limit,
                ("ORDERS", "DAY", 1) => self.orders_1d.limit = limit.limit,
                _ => {}
            }
        }
    }

    /// May a request of this weight leave now? Counts it; or says how long to wait; unit: milliseconds.
    pub fn admit(&mut self, now: Times, lane: Lane, weight: u64, orders: u64) -> Result<(), u64> {
        if now.mono_ms < self.held_until_ms {
            return Err(self.held_until_ms - now.mono_ms);
        }
        let cancels_first_until = self.held_until_ms.saturating_add(CANCELS_FIRST_MS);
        if self.held_until_ms > 0 && lane != Lane::Urgent && now.mono_ms < cancels_first_until {
            return Err(cancels_first_until - now.mono_ms);
        }
        self.is_banned = false;
        let now_ms = now.venue_ms;
        for window in [&mut self.weight, &mut self.orders_10s, &mut self.orders_1d] {
            window.roll(now_ms);
        }
        if !self.weight.fits(weight, lane.share_percent()) {
            return Err(self.weight.left_ms(now_ms));
        }
        if orders > 0 {
            for window in [&self.orders_10s, &self.orders_1d] {
                if !window.fits(orders, 100) {
                    return Err(window.left_ms(now_ms));
                }
            }
        }
        self.weight.used = self.weight.used.saturating_add(weight);
        self.orders_10s.used = self.orders_10s.used.saturating_add(orders);
        self.orders_1d.used = self.orders_1d.used.saturating_add(orders);
        Ok(())
    }

    /// Learns from an answer. Counts only rise within a window: other programs of this address and account count too.
    /// `code` is the venue's, of a refusal.
    pub fn observe(&mut self, now: Times, status: u16, code: Option<i64>, headers: &LimitHeaders) {
        let known = [
            (&mut self.weight, headers.used_weight_1m),
            (&mut self.orders_10s, headers.order_count_10s),
            (&mut self.orders_1d, headers.order_count_1d),
        ];
        for (window, used) in known {
            window.roll(now.venue_ms);
            window.used = window.used.max(used.unwrap_or_default());
        }
        if code == Some(TOO_MANY_ORDERS) {
            // Placements alone are limited; cancels go on.
            let full = if headers.order_count_1d.is_some_and(|count| count >= self.orders_1d.limit) {
                &mut self.orders_1d
            } else {
                &mut self.orders_10s
            };
            full.used = full.limit;
            return;
        }
        let default_ms = match status {
            429 => HOLD_DEFAULT_MS,
            418 => BAN_DEFAULT_MS,
            _ => return,
        };
        let hold_ms = headers.retry_after_s.map_or(default_ms, |s| s.saturating_mul(1_000)).clamp(1, HOLD_MAX_MS);
        self.held_until_ms = self.held_until_ms.max(now.mono_ms.saturating_add(hold_ms));
        self.is_banned |= status == 418;
    }

    /// Time until the hold ends, zero when there is none; unit: milliseconds.
    #[must_use]
    pub const fn held_ms(&self, now: Times) -> u64 {
        self.held_until_ms.saturating_sub(now.mono_ms)
    }

    /// Did the venue ban this address (418)?
    #[must_use]
    pub const fn is_banned(&self) -> bool {
        self.is_banned
    }

    /// Request weight used in the current minute, and its limit.
    #[must_use]
    pub const fn weight_used(&self) -> (u64, u64) {
        (self.weight.used, self.weight.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So long after the start of a minute, a day and our own clock.
    const fn at(milliseconds: u64) -> Times {
        Times { mono_ms: 5_000 + milliseconds, venue_ms: 86_400_000 + milliseconds }
    }

    #[test]
    fn cancels_keep_a_share_that_orders_cannot_use() {
        let mut limits = RateLimits::default();
        limits.configure(&[RateLimit {
            rate_limit_type: "REQUEST_WEIGHT".into(),
            interval: "MINUTE".into(),
            interval_num: 1,
            limit: 100,
        }]);
        limits.observe(at(0), 200, None, &LimitHeaders { used_weight_1m: Some(69), ..LimitHeaders::default() });
        assert_eq!(limits.admit(at(0), Lane::Background, 1, 0), Ok(()));
        assert_eq!(limits.admit(at(0), Lane::Background, 1, 0), Err(60_000));
        for _ in 0..15 {
            assert_eq!(limits.admit(at(1_000), Lane::Order, 1, 0), Ok(()));
        }
        assert_eq!(limits.admit(at(1_000), Lane::Order, 1, 0), Err(59_000));
        assert_eq!(limits.admit(at(1_000), Lane::Urgent, 15, 0), Ok(()));
        assert_eq!(limits.admit(at(1_000), Lane::Urgent, 1, 0), Err(59_000));
        assert_eq!(limits.admit(at(60_000), Lane::Background, 1, 0), Ok(()), "a new minute starts anew");
    }

    #[test]
    fn order_counts_are_respected_and_do_not_hold_cancels() {
        let mut limits = RateLimits::default();
        limits.observe(at(0), 200, None, &LimitHeaders { order_count_10s: Some(99), ..LimitHeaders::default() });
        assert_eq!(limits.admit(at(0), Lane::Order, 1, 1), Ok(()));
        assert_eq!(limits.admit(at(0), Lane::Order, 1, 1), Err(10_000));
        assert_eq!(limits.admit(at(0), Lane::Urgent, 1, 0), Ok(()));
        assert_eq!(limits.admit(at(10_000), Lane::Order, 1, 1), Ok(()));
        limits.observe(
            at(20_000),
            200,
            None,
            &LimitHeaders { order_count_1d: Some(200_000), ..LimitHeaders::default() },
        );
        assert!(limits.admit(at(20_000), Lane::Order, 1, 1).unwrap_err() > 10_000);
    }

    #[test]
    fn v15_a_429_holds_everything_for_retry_after_and_then_cancels_go_first() {
        let mut limits = RateLimits::default();
        limits.observe(at(0), 429, None, &LimitHeaders { retry_after_s: Some(7), ..LimitHeaders::default() });
        assert_eq!(limits.admit(at(0), Lane::Urgent, 1, 0), Err(7_000));
        assert_eq!(limits.admit(at(6_999), Lane::Urgent, 1, 0), Err(1));
        assert_eq!(limits.admit(at(7_000), Lane::Order, 1, 1), Err(1_000));
        assert_eq!(limits.admit(at(7_000), Lane::Urgent, 1, 0), Ok(()));
        assert_eq!(limits.admit(at(8_000), Lane::Order, 1, 1), Ok(()));
    }

    #[test]
    fn v16_a_ban_without_a_time_lasts_two_minutes_and_one_with_a_silly_time_three_days() {
        let mut limits = RateLimits::default();
        limits.observe(at(0), 418, None, &LimitHeaders::default());
        assert!(limits.is_banned());
        assert_eq!(limits.held_ms(at(0)), 120_000);
        limits.observe(at(0), 418, None, &LimitHeaders { retry_after_s: Some(u64::MAX), ..LimitHeaders::default() });
        assert_eq!(limits.held_ms(at(0)), HOLD_MAX_MS);
        // A shorter hold that comes later does not shorten it.
        limits.observe(at(0), 429, None, &LimitHeaders { retry_after_s: Some(1), ..LimitHeaders::default() });
        assert_eq!(limits.held_ms(at(0)), HOLD_MAX_MS);
        assert_eq!(limits.admit(at(HOLD_MAX_MS), Lane::Urgent, 1, 0), Ok(()));
        assert!(!limits.is_banned());
    }

    #[test]
    fn headers_of_an_earlier_window_do_not_lower_the_count() {
        let mut limits = RateLimits::default();
        assert_eq!(limits.admit(at(0), Lane::Urgent, 50, 0), Ok(()));
        limits.observe(at(0), 200, None, &LimitHeaders { used_weight_1m: Some(20), ..LimitHeaders::default() });
        assert_eq!(limits.weight_used(), (50, 6_000));
    }

    #[test]
    fn too_many_orders_holds_placements_and_not_cancels() {
        let mut limits = RateLimits::default();
        limits.observe(at(0), 429, Some(-1015), &LimitHeaders::default());
        assert_eq!(limits.admit(at(1), Lane::Order, 1, 1), Err(9_999));
        assert_eq!(limits.admit(at(1), Lane::Urgent, 1, 0), Ok(()));
        assert_eq!(limits.admit(at(10_000), Lane::Order, 1, 1), Ok(()));
    }

    #[test]
    fn t02_a_venue_clock_that_is_set_back_neither_ends_a_hold_nor_blocks_for_a_day() {
        let mut limits = RateLimits::default();
        let back = |milliseconds: u64| Times { mono_ms: 5_000 + milliseconds, venue_ms: 3_600_000 + milliseconds };
        limits.observe(at(0), 200, None, &LimitHeaders { used_weight_1m: Some(6_000), ..LimitHeaders::default() });
        assert!(limits.admit(at(1), Lane::Urgent, 1, 0).is_err());
        assert_eq!(limits.admit(back(2), Lane::Urgent, 1, 0), Ok(()));
        limits.observe(back(3), 429, None, &LimitHeaders { retry_after_s: Some(60), ..LimitHeaders::default() });
        assert_eq!(limits.admit(at(4), Lane::Urgent, 1, 0), Err(59_999));
    }
}
