//! Requests → query strings, and control messages of the streams.
//!
//! Invariants: nothing is allocated once the buffer has grown; what cannot be said in the venue's protocol is an error and
//! leaves nothing half-written that could be signed; values are percent-encoded before they are signed.

use super::super::sign::Signer;
use super::words;
use keel_model::ids::CLIENT_ORDER_ID_LENGTH_MAX;
use keel_model::{ClientOrderId, NewOrder, OrderType, Price, Quantity};

/// Why an order cannot be said in Binance's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A price is missing, or there is one where the type has none.
    #[error("the order's price or stop price does not go with its type")]
    PriceShape,
    /// A price or quantity is not positive.
    #[error("price and quantity must be positive")]
    NotPositive,
    /// The client order id is longer than the venue takes.
    #[error("the client order id does not fit")]
    ClientOrderId,
}

/// A query string under construction in a caller's buffer.
#[derive(Debug)]
pub struct Query<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Query<'a> {
    /// Starts anew in `out`; its capacity is kept.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.clear();
        Self { out }
    }

    /// `name=value`, the value percent-encoded.
    #[inline]
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        percent_encode(value.as_bytes(), self.out);
        self
    }

    /// `name=value` for a whole number.
    #[inline]
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = value;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
            at -= 1;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(at..).unwrap_or_default());
        self
    }

    /// `name=value` for a price.
    #[inline]
    pub fn price(&mut self, name: &str, value: Price) -> &mut Self {
        let mut text = [0u8; 24];
        let length = value.write_to(&mut text);
        self.decimal(name, &text, length)
    }

    /// `name=value` for a quantity.
    #[inline]
    pub fn quantity(&mut self, name: &str, value: Quantity) -> &mut Self {
        let mut text = [0u8; 24];
        let length = value.write_to(&mut text);
        self.decimal(name, &text, length)
    }

    #[inline]
    fn decimal(&mut self, name: &str, text: &[u8], length: Option<usize>) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(length.and_then(|length| text.get(..length)).unwrap_or_default());
        self
    }

    /// `name=value` for a client order id.
    #[inline]
    pub fn client_order_id(&mut self, name: &str, id: ClientOrderId) -> Result<&mut Self, EncodeError> {
        let mut text = [0u8; CLIENT_ORDER_ID_LENGTH_MAX];
        let length = id.write_to(&mut text).ok_or(EncodeError::ClientOrderId)?;
        self.name(name);
        self.out.extend_from_slice(text.get(..length).ok_or(EncodeError::ClientOrderId)?);
        Ok(self)
    }

    /// Receive window and timestamp, then the signature over everything so far.
    #[inline]
    pub fn sign(&mut self, signer: &Signer, recv_window_ms: u64, timestamp_ms: u64) {
        self.number("recvWindow", recv_window_ms).number("timestamp", timestamp_ms);
        signer.append_signature(self.out);
    }

    #[inline]
    fn name(&mut self, name: &str) {
        if !self.out.is_empty() {
            self.out.push(b'&');
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'=');
    }
}

/// Appends `text` percent-encoded as `application/x-www-form-urlencoded` values are signed: everything but `A–Z a–z 0–9 - _ . ~`.
pub fn percent_encode(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(byte);
        } else {
            let (high, low) = (HEX.get(usize::from(byte >> 4)), HEX.get(usize::from(byte & 15)));
            out.extend([b'%', high.copied().unwrap_or(b'0'), low.copied().unwrap_or(b'0')]);
        }
    }
}

/// Writes the parameters of a placement, without receive window, timestamp and signature, into `out`.
#[inline]
pub fn encode_submit_into(out: &mut Vec<u8>, symbol: &str, order: &NewOrder) -> Result<(), EncodeError> {
    let mut query = Query::new(out);
    query.text("symbol", symbol);
    append_order(&mut query, order)
}

/// Writes a whole signed placement into `out`: what leaves as the body of `POST /api/v3/order`.
#[inline]
pub fn encode_signed_submit_into(
    out: &mut Vec<u8>,
    signer: &Signer,
    symbol: &str,
    order: &NewOrder,
    recv_window_ms: u64,
    timestamp_ms: u64,
) -> Result<(), EncodeError> {
    encode_submit_into(out, symbol, order)?;
    Query { out }.sign(signer, recv_window_ms, timestamp_ms);
    Ok(())
}

/// The order's own parameters, shared by placement and cancel-replace.
pub fn append_order(query: &mut Query<'_>, order: &NewOrder) -> Result<(), EncodeError> {
    let intent = &order.intent;
    let order_type = intent.order_type;
    if intent.price.is_some() != order_type.has_price() || intent.stop_price.is_some() != order_type.has_stop_price() {
        return Err(EncodeError::PriceShape);
    }
    let prices_positive = [intent.price, intent.stop_price].into_iter().flatten().all(Price::is_positive);
    if !intent.quantity.is_positive() || !prices_positive {
        return Err(EncodeError::NotPositive);
    }
    query.text("side", words::side_word(intent.side)).text("type", words::order_type_word(order_type));
    // Binance refuses a time in force with the types that have only one.
    if matches!(order_type, OrderType::Limit | OrderType::StopLossLimit | OrderType::TakeProfitLimit) {
        query.text("timeInForce", words::time_in_force_word(intent.time_in_force));
    }
    query.quantity("quantity", intent.quantity);
    if let Some(price) = intent.price {
        query.price("price", price);
    }
    if let Some(price) = intent.stop_price {
        query.price("stopPrice", price);
    }
    query.client_order_id("newClientOrderId", order.client_order_id)?.text("newOrderRespType", "FULL");
    Ok(())
}

/// What is subscribed to of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// `<symbol>@bookTicker`
    BookTicker,
    /// `<symbol>@depth@100ms`
    Depth,
    /// `<symbol>@trade`
    Trade,
}

impl StreamName {
    /// What stands after the symbol.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::BookTicker => "@bookTicker",
            Self::Depth => "@depth@100ms",
            Self::Trade => "@trade",
        }
    }
}

/// `{"method":"SUBSCRIBE","params":[…],"id":n}` or its opposite.
#[must_use]
pub fn subscribe_message(id: u64, subscribe: bool, streams: &[String]) -> String {
    let method = if subscribe { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
    let params = serde_json::to_string(streams).unwrap_or_else(|_| String::from("[]"));
    format!("{{\"method\":\"{method}\",\"params\":{params},\"id\":{id}}}")
}

/// `userDataStream.subscribe.signature` of the WebSocket API: the account stream on this connection.
#[must_use]
pub fn user_subscribe_message(id: u64, signer: &Signer, recv_window_ms: u64, timestamp_ms: u64) -> String {
    // The signature is over the parameters in alphabetical order.
    let key = signer.api_key();
    let payload = format!("apiKey={key}&recvWindow={recv_window_ms}&timestamp={timestamp_ms}");
    let signature = signer.signature(payload.as_bytes());
    let params = serde_json::json!({
        "apiKey": key, "recvWindow": recv_window_ms, "timestamp": timestamp_ms, "signature": signature,
    });
    serde_json::json!({ "id": id, "method": "userDataStream.subscribe.signature", "params": params }).to_string()
}

#[cfg(test)]
mod tests;
