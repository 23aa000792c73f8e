//! The answer of a cancel-replace: two outcomes, since one half may succeed alone (V-13).
//!
//! Invariant: each half is judged by its own part of the answer; what is missing or unreadable is `Unknown`.

use super::super::classify::{VenueError, Verdict, by_code, classify};
use super::super::symbols::SymbolTable;
use super::answers;
use keel_model::ids::InlineStr;
use keel_model::{CancelOutcome, Reject, RejectReason, ReplaceOutcome, SubmitOutcome, Timestamp, UnknownReason};
use serde_json::Value;

/// Reads the answer of `POST /api/v3/order/cancelReplace` in mode `STOP_ON_FAILURE`.
#[must_use]
pub fn outcome(status: u16, body: &[u8], symbols: &SymbolTable, ts_recv: Timestamp) -> ReplaceOutcome {
    if (500..=599).contains(&status) {
        if keel_model::mutant!(64, false, true) {
            return refused(&VenueError::read(body).reject(RejectReason::Other));
        }
        return both(UnknownReason::VenueUnsure);
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return whole(status, body);
    };
    // Partial and complete failures carry the halves under "data".
    let halves = if answer.get("cancelResult").is_some() { Some(&answer) } else { answer.get("data") };
    match halves.filter(|halves| halves.get("cancelResult").is_some()) {
        Some(halves) => ReplaceOutcome { cancel: cancel(halves, symbols), new: new(halves, symbols, ts_recv) },
        None => whole(status, body),
    }
}

/// An answer without halves: the request as a whole.
fn whole(status: u16, body: &[u8]) -> ReplaceOutcome {
    if status < 300 {
        return both(UnknownReason::Unreadable);
    }
    let error = VenueError::read(body);
    match classify(status, &error) {
        Verdict::Rejected(reason) => refused(&error.reject(reason)),
        Verdict::Unknown(reason) => both(reason),
    }
}

fn both(reason: UnknownReason) -> ReplaceOutcome {
    ReplaceOutcome { cancel: CancelOutcome::Unknown(reason), new: SubmitOutcome::Unknown(reason) }
}

/// The request as a whole was refused before either half.
const fn refused(reject: &Reject) -> ReplaceOutcome {
    ReplaceOutcome { cancel: CancelOutcome::Rejected(*reject), new: SubmitOutcome::Rejected(*reject) }
}

fn cancel(halves: &Value, symbols: &SymbolTable) -> CancelOutcome {
    let answer = halves.get("cancelResponse").map(Value::to_string).unwrap_or_default();
    match halves.get("cancelResult").and_then(Value::as_str) {
        Some("SUCCESS") => match answers::order(answer.as_bytes(), symbols) {
            Ok(snapshot) => CancelOutcome::Canceled(snapshot),
            Err(_) => CancelOutcome::Unknown(UnknownReason::Unreadable),
        },
        Some("FAILURE") => match verdict(&answer) {
            Ok(reject) => CancelOutcome::Rejected(reject),
            Err(reason) => CancelOutcome::Unknown(reason),
        },
        _ => CancelOutcome::Unknown(UnknownReason::Unclassified),
    }
}

fn new(halves: &Value, symbols: &SymbolTable, ts_recv: Timestamp) -> SubmitOutcome {
    let answer = halves.get("newOrderResponse").map(Value::to_string).unwrap_or_default();
    match halves.get("newOrderResult").and_then(Value::as_str) {
        Some("SUCCESS") => match answers::submit_ack(answer.as_bytes(), symbols, ts_recv) {
            Ok(ack) => SubmitOutcome::Accepted(ack),
            Err(_) => SubmitOutcome::Unknown(UnknownReason::Unreadable),
        },
        Some("FAILURE") => match verdict(&answer) {
            Ok(reject) => SubmitOutcome::Rejected(reject),
            Err(reason) => SubmitOutcome::Unknown(reason),
        },
        Some("NOT_ATTEMPTED") => SubmitOutcome::Rejected(Reject {
            reason: RejectReason::Other,
            code: -2022,
            text: InlineStr::truncated("not attempted: the cancel half failed"),
        }),
        _ => SubmitOutcome::Unknown(UnknownReason::Unclassified),
    }
}

fn verdict(answer: &str) -> Result<Reject, UnknownReason> {
    let error = VenueError::read(answer.as_bytes());
    let code = error.code.ok_or(UnknownReason::Unreadable)?;
    match by_code(code, &error.text) {
        Verdict::Rejected(reason) => Ok(error.reject(reason)),
        Verdict::Unknown(reason) => Err(reason),
    }
}

#[cfg(test)]
mod tests;
