//! The venue through real sockets: reqwest for REST, tokio-tungstenite for streams and the WebSocket API.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine's clock and spawn plain tasks; the product's rules are for the product"
)]

mod errors;
mod faults;
mod garbage;
mod lifecycle;
mod limits;
mod orders;
mod public;
mod replay;
mod streams;
mod support;
mod user;
mod ws_api;
