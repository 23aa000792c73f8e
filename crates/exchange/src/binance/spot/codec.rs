//! Bytes in, bytes out: frames → events, requests → signed bytes, answers → outcomes. No IO, no clock.

/// Answers of the REST and WebSocket APIs → model values.
pub mod answers;
/// What each signed request says and what its answer means.
pub mod calls;
/// Market stream frames → events.
pub mod decode;
/// Requests → query strings and control messages.
pub mod encode;
mod fast;
/// The two halves of a cancel-replace.
pub mod replace;
mod tolerant;
/// Account stream frames → reports and balances.
pub mod user;
/// Binance's words for our enums.
pub mod words;
