//! What Binance spot can do and what may be assumed about it, from its documentation of 2026-07-21.

use crate::{Capabilities, UnknownResolution};
use keel_model::{OrderType, TimeInForce};
use std::time::Duration;

/// How far order queries may lag behind acceptance; an assumption, with the resurrection of an order as its alarm.
pub const STALENESS_BOUND: Duration = Duration::from_secs(10);
/// The same while the venue answers 5xx.
pub const STALENESS_BOUND_DEGRADED: Duration = Duration::from_secs(60);
/// A connection is closed by the venue after this time.
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// Capabilities with the receive window that the client signs with.
#[must_use]
pub const fn capabilities(recv_window: Duration) -> Capabilities {
    Capabilities {
        venue: super::VENUE,
        order_types: &[
            OrderType::Market,
            OrderType::Limit,
            OrderType::LimitMaker,
            OrderType::StopLoss,
            OrderType::StopLossLimit,
            OrderType::TakeProfit,
            OrderType::TakeProfitLimit,
        ],
        times_in_force: &[TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok],
        has_replace: true,
        has_reduce_only: false,
        cancel_all_hits_foreign_orders: true,
        client_order_id_length_max: 36,
        unknown_resolution: UnknownResolution::Fence {
            recv_window,
            staleness_bound: STALENESS_BOUND,
            staleness_bound_degraded: STALENESS_BOUND_DEGRADED,
        },
        connection_lifetime_max: Some(CONNECTION_LIFETIME),
    }
}
