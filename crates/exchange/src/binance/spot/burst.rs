//! Many cancels at once, over one connection of the WebSocket API: every request leaves before the first answer is awaited, so
//! that a slow venue holds none of them up. REST would need a connection for each request under way.
//!
//! Invariants: each order is told as sent at most once and as answered at most once; an answer is matched by its id, whatever
//! the order of the answers; requests beyond the request weight that is left are not sent and not told.

use super::codec::calls;
use super::http::RestPool;
use super::limits::Lane;
use super::session::LinkId;
use super::sign::Signer;
use super::symbols::SymbolTable;
use super::venue::BinanceSpot;
use super::ws::{LinkEvent, Links};
use crate::ExchangeError;
use crate::client::BurstSink;
use futures_util::FutureExt;
use keel_model::{CancelOrder, Instruments};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const LINK: LinkId = LinkId(1);
/// Weight of one cancel.
const WEIGHT: u64 = 1;

/// What a burst works with.
pub(super) struct Burst<'a> {
    pub(super) venue: &'a Arc<BinanceSpot>,
    pub(super) pool: &'a RestPool,
    pub(super) instruments: &'a Instruments,
    pub(super) symbols: &'a SymbolTable,
}

#[derive(Deserialize)]
struct Answer {
    id: usize,
    status: u16,
    #[serde(default)]
    result: serde_json::Value,
    #[serde(default)]
    error: serde_json::Value,
}

impl Burst<'_> {
    /// Sends all, then waits for the answers. Ends when each is answered or the connection does; drop it to stop waiting.
    pub(super) async fn cancel(&self, orders: &[CancelOrder], sink: &dyn BurstSink) -> Result<(), ExchangeError> {
        let signer = self.venue.need_signer()?;
        if self.venue.venue_clock.now().is_none() {
            self.venue.measure_clock(self.pool, Lane::Urgent).await?;
        }
        let config = &self.venue.config;
        let (connector, endpoint) = (self.venue.connector.clone(), self.venue.endpoints.ws_api.clone());
        let mut links = Links::new(connector, endpoint, "", "burst of cancels", config.connect_timeout_ms);
        links.connect(LINK);
        match links.next().await {
            LinkEvent::Connected(_) => {}
            LinkEvent::Closed(_, cause) => return Err(self.lost(cause)),
            LinkEvent::Text(..) | LinkEvent::Binary(..) | LinkEvent::Heard(_) => {}
        }
        let mut waiting = BTreeMap::new();
        for (at, order) in orders.iter().enumerate() {
            let Some(text) = self.request(at, order, signer) else { continue };
            if let Err(error) = self.venue.admit(Lane::Urgent, WEIGHT, 0) {
                tracing::warn!(%error, left = orders.len() - at, "no request weight is left for the other cancels");
                break;
            }
            links.send(LINK, text).await.map_err(|cause| self.lost(cause))?;
            sink.on_sent(order);
            waiting.insert(at, *order);
            // Answers that are there already are taken, so that the venue never waits for us.
            while let Some(event) = links.next().now_or_never() {
                self.take(&event, &mut waiting, sink)?;
            }
        }
        while !waiting.is_empty() {
            let event = links.next().await;
            self.take(&event, &mut waiting, sink)?;
        }
        links.close_all().await;
        Ok(())
    }

    fn request(&self, at: usize, order: &CancelOrder, signer: &Signer) -> Option<String> {
        let symbol = self.instruments.get(order.instrument)?.symbol.to_string();
        let timestamp_ms = self.venue.venue_clock.now()?.as_ms();
        Some(request(at, order, &symbol, signer, self.venue.config.recv_window_ms, timestamp_ms))
    }

    fn take(
        &self,
        event: &LinkEvent,
        waiting: &mut BTreeMap<usize, CancelOrder>,
        sink: &dyn BurstSink,
    ) -> Result<(), ExchangeError> {
        let bytes: &[u8] = match event {
            LinkEvent::Text(_, text) => text.as_bytes(),
            LinkEvent::Binary(_, data) => data,
            LinkEvent::Heard(_) | LinkEvent::Connected(_) => return Ok(()),
            LinkEvent::Closed(_, cause) => return Err(self.lost(cause.clone())),
        };
        let Ok(answer) = serde_json::from_slice::<Answer>(bytes) else {
            tracing::warn!("an answer to a burst of cancels cannot be read");
            return Ok(());
        };
        let Some(order) = waiting.remove(&answer.id) else { return Ok(()) };
        let body = if answer.error.is_null() { &answer.result } else { &answer.error };
        sink.on_outcome(&order, calls::cancel_outcome(answer.status, body.to_string().as_bytes(), self.symbols));
        Ok(())
    }

    fn lost(&self, cause: String) -> ExchangeError {
        let address = self.venue.endpoints.ws_api.authority();
        ExchangeError::Connect { venue: super::VENUE.into(), address, cause }
    }
}

/// One request; the signature is over the parameters in alphabetical order.
fn request(
    at: usize,
    order: &CancelOrder,
    symbol: &str,
    signer: &Signer,
    recv_window_ms: u64,
    timestamp_ms: u64,
) -> String {
    let (key, id) = (signer.api_key(), order.client_order_id);
    let payload = format!(
        "apiKey={key}&origClientOrderId={id}&recvWindow={recv_window_ms}&symbol={symbol}&timestamp={timestamp_ms}"
    );
    let signature = signer.signature(payload.as_bytes());
    let params = serde_json::json!({
        "apiKey": key, "origClientOrderId": id.to_string(), "recvWindow": recv_window_ms, "symbol": symbol,
        "timestamp": timestamp_ms, "signature": signature,
    });
    serde_json::json!({ "id": at, "method": "order.cancel", "params": params }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::spot::sign::Credentials;
    use keel_model::{ClientOrderId, InstrumentId};

    #[test]
    fn a_request_is_signed_over_its_parameters_in_alphabetical_order() {
        let signer = Signer::new(&Credentials::hmac("key", "secret")).unwrap();
        let id = ClientOrderId { instance: 1, epoch: 2, sequence: 3 };
        let order = CancelOrder { client_order_id: id, venue_order_id: None, instrument: InstrumentId(0) };
        let text = request(7, &order, "BTCUSDT", &signer, 5_000, 1_700_000_000_000);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["id"].as_u64(), value["method"].as_str()), (Some(7), Some("order.cancel")));
        let payload =
            format!("apiKey=key&origClientOrderId={id}&recvWindow=5000&symbol=BTCUSDT&timestamp=1700000000000");
        assert_eq!(value["params"]["signature"], signer.signature(payload.as_bytes()));
        let keys: Vec<&str> = payload.split('&').map(|pair| pair.split('=').next().unwrap()).collect();
        assert!(keys.is_sorted());
    }
}
