//! What each signed request of the client says, and what its answer means: everything between the model's values and the
//! bytes of a REST call, without the call. Shared by the client and by whatever drives the adapter without sockets.
//!
//! Invariant: an answer proves what the classifier says and no more; one that is about another order is unreadable.

use super::super::classify::{VenueError, Verdict, classify};
use super::super::sign::Signer;
use super::super::symbols::SymbolTable;
use super::encode::{EncodeError, Query, append_order};
use super::{answers, replace};
use keel_model::{
    CancelOutcome, ClientOrderId, OrderSnapshot, QueryOutcome, ReplaceOrder, ReplaceOutcome, SubmitOutcome, Timestamp,
    UnknownReason,
};

/// `POST`, `GET` and `DELETE` of one order.
pub const ORDER: &str = "/api/v3/order";
/// Cancel and place in one request.
pub const CANCEL_REPLACE: &str = "/api/v3/order/cancelReplace";
/// Open orders.
pub const OPEN_ORDERS: &str = "/api/v3/openOrders";
/// All orders of an instrument.
pub const ALL_ORDERS: &str = "/api/v3/allOrders";
/// Trades of an instrument.
pub const MY_TRADES: &str = "/api/v3/myTrades";
/// Balances.
pub const ACCOUNT: &str = "/api/v3/account";
/// The venue's time.
pub const TIME: &str = "/api/v3/time";
/// Rows of a page of orders or trades.
pub const ROWS_PER_PAGE: usize = 1_000;

/// Writes a signed request into `out`.
pub fn signed_into(
    out: &mut Vec<u8>,
    signer: &Signer,
    recv_window_ms: u64,
    timestamp_ms: u64,
    fill: impl FnOnce(&mut Query<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let mut query = Query::new(out);
    fill(&mut query)?;
    query.sign(signer, recv_window_ms, timestamp_ms);
    Ok(())
}

/// A cancel, or a question about an order.
pub fn one_order(query: &mut Query<'_>, symbol: &str, id: ClientOrderId) -> Result<(), EncodeError> {
    query.text("symbol", symbol);
    query.client_order_id("origClientOrderId", id).map(|_| ())
}

/// A cancel-replace.
pub fn cancel_replace(query: &mut Query<'_>, symbol: &str, replace: &ReplaceOrder) -> Result<(), EncodeError> {
    query.text("symbol", symbol);
    append_order(query, &replace.new)?;
    query.text("cancelReplaceMode", "STOP_ON_FAILURE");
    query.client_order_id("cancelOrigClientOrderId", replace.cancel.client_order_id).map(|_| ())
}

/// A page of trades: from a trade id on, or since a time.
pub fn trades_page(query: &mut Query<'_>, symbol: &str, since: Timestamp, from_id: Option<i64>) {
    query.text("symbol", symbol);
    match from_id.and_then(|id| u64::try_from(id).ok()) {
        Some(id) => query.number("fromId", id),
        None => query.number("startTime", since.as_ms()),
    };
    query.number("limit", ROWS_PER_PAGE as u64);
}

/// A page of orders from a venue id on.
pub fn orders_page(query: &mut Query<'_>, symbol: &str, from: u64) {
    query.text("symbol", symbol).number("orderId", from).number("limit", ROWS_PER_PAGE as u64);
}

/// All balances that are not zero.
pub fn balances(query: &mut Query<'_>) {
    query.text("omitZeroBalances", "true");
}

const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}

/// What the answer of a placement means.
#[must_use]
pub fn submit_outcome(status: u16, body: &[u8], symbols: &SymbolTable, ts_recv: Timestamp) -> SubmitOutcome {
    if is_success(status) {
        return match answers::submit_ack(body, symbols, ts_recv) {
            Ok(ack) => SubmitOutcome::Accepted(ack),
            Err(_) if keel_model::mutant!(67, false, true) => {
                SubmitOutcome::NotSent(keel_model::NotSentReason::NotConnected)
            }
            Err(cause) => {
                tracing::error!(cause, "the answer of a placement cannot be read; its outcome is unknown");
                SubmitOutcome::Unknown(UnknownReason::Unreadable)
            }
        };
    }
    let error = VenueError::read(body);
    match classify(status, &error) {
        Verdict::Rejected(reason) => SubmitOutcome::Rejected(error.reject(reason)),
        Verdict::Unknown(reason) => SubmitOutcome::Unknown(reason),
    }
}

/// What the answer of a cancel means.
#[must_use]
pub fn cancel_outcome(status: u16, body: &[u8], symbols: &SymbolTable) -> CancelOutcome {
    if is_success(status) {
        return match answers::order(body, symbols) {
            Ok(snapshot) => CancelOutcome::Canceled(snapshot),
            Err(cause) => {
                tracing::error!(cause, "the answer of a cancel cannot be read; its outcome is unknown");
                CancelOutcome::Unknown(UnknownReason::Unreadable)
            }
        };
    }
    let error = VenueError::read(body);
    match classify(status, &error) {
        Verdict::Rejected(reason) => CancelOutcome::Rejected(error.reject(reason)),
        Verdict::Unknown(reason) => CancelOutcome::Unknown(reason),
    }
}

/// What the answer of a cancel-replace means: two outcomes.
#[must_use]
pub fn replace_outcome(status: u16, body: &[u8], symbols: &SymbolTable, ts_recv: Timestamp) -> ReplaceOutcome {
    replace::outcome(status, body, symbols, ts_recv)
}

/// What the answer of a question about the order `id` means. `venue_time_before` is a time of the venue that was answered
/// before the question was sent.
pub fn query_outcome(
    status: u16,
    body: &[u8],
    symbols: &SymbolTable,
    id: ClientOrderId,
    venue_time_before: Option<Timestamp>,
) -> Result<QueryOutcome, answers::ReadError> {
    if is_success(status) {
        let snapshot: OrderSnapshot = answers::order(body, symbols)?;
        if snapshot.client_order_id != Some(id) {
            return Err("the answer is about another order".to_owned());
        }
        return Ok(QueryOutcome::Found(snapshot));
    }
    Ok(match (status, VenueError::read(body).code) {
        (400..=499, _) if keel_model::mutant!(66, false, true) => QueryOutcome::NotFound { venue_time_before },
        (400..=499, Some(-2013)) => QueryOutcome::NotFound { venue_time_before },
        (500.., _) => QueryOutcome::Unknown(UnknownReason::VenueUnsure),
        _ => QueryOutcome::Unknown(UnknownReason::Unclassified),
    })
}
