//! Account stream frames and WebSocket API answers → reports and balances.
//!
//! Invariant: a message about our orders is never dropped in silence: what cannot be said in the model's words becomes
//! [`UserFrame::Reconcile`], which makes the system ask the venue instead of guessing.

use super::super::classify::VenueError;
use super::super::symbols::SymbolTable;
use super::answers::{ReadError, asset, known, notional, optional_price, ours, price, quantity, time, venue_order_id};
use super::words;
use keel_model::ids::InlineStr;
use keel_model::{Asset, Balance, ExecType, ExecutionReport, Fill, Liquidity, Notional, Timestamp, TradeId};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What a frame of the account connection is.
#[derive(Debug, PartialEq, Eq)]
pub enum UserFrame {
    /// About an order.
    Report(Box<ExecutionReport>),
    /// Balances that changed.
    Balances(Vec<Balance>, Timestamp),
    /// A deposit, withdrawal or transfer: asset, how much more there is, when.
    Transfer(Asset, Notional, Timestamp),
    /// Something changed that this message does not tell in full: ask the venue.
    Reconcile(&'static str),
    /// The subscription ended: subscribe again.
    Terminated,
    /// The venue will disconnect soon.
    ServerShutdown,
    /// The answer to a request of ours.
    Reply {
        /// Id of the request.
        id: u64,
        /// HTTP-like status.
        status: u16,
        /// Code and text, when it was refused.
        error: Option<VenueError>,
    },
    /// Well-formed and of no interest.
    Ignored,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer<'a> {
    #[serde(borrow, default)]
    event: Option<Event<'a>>,
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(borrow, default)]
    error: Option<ErrorBody<'a>>,
    /// Events of a listen-key stream stand alone.
    #[serde(borrow, default, rename = "e")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    code: i64,
    #[serde(borrow, default)]
    msg: Cow<'a, str>,
}

/// The fields of every account event, by Binance's letters.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow, rename = "e")]
    kind: Cow<'a, str>,
    #[serde(rename = "E")]
    event_time: i64,
    #[serde(borrow, rename = "s")]
    symbol: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "c")]
    client_order_id: Any<'a>,
    #[serde(borrow, rename = "C")]
    original_client_order_id: Any<'a>,
    #[serde(borrow, rename = "S")]
    side: Any<'a>,
    #[serde(borrow, rename = "x")]
    exec_type: Any<'a>,
    #[serde(borrow, rename = "X")]
    status: Any<'a>,
    #[serde(borrow, rename = "q")]
    quantity: Any<'a>,
    #[serde(borrow, rename = "p")]
    price: Any<'a>,
    #[serde(borrow, rename = "z")]
    cum_quantity: Any<'a>,
    #[serde(borrow, rename = "l")]
    last_quantity: Any<'a>,
    #[serde(borrow, rename = "L")]
    last_price: Any<'a>,
    #[serde(borrow, rename = "n")]
    commission: Any<'a>,
    #[serde(borrow, rename = "N")]
    commission_asset: Any<'a>,
    #[serde(borrow, rename = "i")]
    order_id: Any<'a>,
    #[serde(borrow, rename = "t")]
    trade_id: Any<'a>,
    #[serde(borrow, rename = "T")]
    transaction_time: Any<'a>,
    #[serde(borrow, rename = "u")]
    update_time: Any<'a>,
    #[serde(borrow, rename = "m")]
    is_maker: Any<'a>,
    #[serde(borrow, rename = "r")]
    reject_reason: Any<'a>,
    #[serde(borrow, rename = "eR")]
    expiry_reason: Any<'a>,
    #[serde(borrow, rename = "B")]
    balances: Any<'a>,
    #[serde(borrow, rename = "a")]
    transfer_asset: Any<'a>,
    #[serde(borrow, rename = "d")]
    transfer_change: Any<'a>,
}

/// A value whose type depends on the event.
#[derive(Default)]
enum Any<'a> {
    #[default]
    Nothing,
    Bool(bool),
    Number(i64),
    Text(Cow<'a, str>),
    Balances(Vec<BalanceBody<'a>>),
    /// A list, an object or a number of another kind.
    Other,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct BalanceBody<'a> {
    #[serde(borrow, rename = "a")]
    asset: Cow<'a, str>,
    #[serde(borrow, rename = "f")]
    free: Cow<'a, str>,
    #[serde(borrow, rename = "l")]
    locked: Cow<'a, str>,
}

/// An element of a list: a balance, or something else.
struct Element<'a>(Option<BalanceBody<'a>>);

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Element<'de>, M::Error> {
        let body = BalanceBody::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Element(Some(body)))
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Element<'de>, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element(None))
    }
    fn visit_str<E>(self, _: &str) -> Result<Element<'de>, E> {
        Ok(Element(None))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Element<'de>, E> {
        Ok(Element(None))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Element<'de>, E> {
        Ok(Element(None))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Element<'de>, E> {
        Ok(Element(None))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Element<'de>, E> {
        Ok(Element(None))
    }
    fn visit_unit<E>(self) -> Result<Element<'de>, E> {
        Ok(Element(None))
    }
}

impl<'de> Deserialize<'de> for Element<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Any<'de>, E> {
        Ok(Any::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Any<'de>, E> {
        Ok(Any::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Any<'de>, E> {
        Ok(Any::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Any<'de>, E> {
        Ok(Any::Number(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Any<'de>, E> {
        Ok(i64::try_from(value).map_or(Any::Other, Any::Number))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Any<'de>, E> {
        Ok(Any::Other)
    }
    fn visit_unit<E>(self) -> Result<Any<'de>, E> {
        Ok(Any::Nothing)
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Any<'de>, S::Error> {
        let mut balances = Vec::new();
        let mut is_whole = true;
        while let Some(Element(element)) = seq.next_element::<Element<'de>>()? {
            is_whole &= element.is_some();
            balances.extend(element.filter(|_| is_whole));
        }
        Ok(if is_whole { Any::Balances(balances) } else { Any::Other })
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Any<'de>, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Any::Other)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Any<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

impl Any<'_> {
    fn text(&self, field: &str) -> Result<&str, ReadError> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(format!("event without '{field}'")),
        }
    }

    const fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

/// Reads one frame of the account connection.
pub fn decode(frame: &[u8], symbols: &SymbolTable, ts_recv: Timestamp) -> Result<UserFrame, ReadError> {
    if frame.len() > super::decode::FRAME_BYTES_MAX {
        return Err(format!("frame of {} bytes", frame.len()));
    }
    let outer: Outer<'_> = serde_json::from_slice(frame).map_err(|error| error.to_string())?;
    if let Some(event) = outer.event {
        return event_frame(&event, symbols, ts_recv);
    }
    if outer.kind.is_some() {
        let event: Event<'_> = serde_json::from_slice(frame).map_err(|error| error.to_string())?;
        return event_frame(&event, symbols, ts_recv);
    }
    if let Some(status) = outer.status {
        let id = match outer.id {
            Some(serde_json::Value::Number(number)) => number.as_u64().unwrap_or_default(),
            Some(serde_json::Value::String(text)) => text.parse().unwrap_or_default(),
            _ => 0,
        };
        let error = outer.error.map(|body| VenueError { code: Some(body.code), text: body.msg.into_owned() });
        return Ok(UserFrame::Reply { id, status, error });
    }
    Ok(UserFrame::Ignored)
}

fn event_frame(event: &Event<'_>, symbols: &SymbolTable, ts_recv: Timestamp) -> Result<UserFrame, ReadError> {
    match event.kind.as_ref() {
        "executionReport" => report(event, symbols, ts_recv),
        "outboundAccountPosition" => balances(event),
        "balanceUpdate" => transfer(event),
        "externalLockUpdate" => Ok(UserFrame::Reconcile("funds were locked or freed by another product of the venue")),
        "eventStreamTerminated" | "listenKeyExpired" => Ok(UserFrame::Terminated),
        "serverShutdown" => Ok(UserFrame::ServerShutdown),
        // Each order of a list has reports of its own.
        _ => Ok(UserFrame::Ignored),
    }
}

fn balances(event: &Event<'_>) -> Result<UserFrame, ReadError> {
    let list = match &event.balances {
        Any::Balances(list) => list,
        _ => return Err("outboundAccountPosition without 'B'".to_owned()),
    };
    let mut changed = Vec::with_capacity(list.len());
    for line in list {
        let (free, locked) = (notional(&line.free)?, notional(&line.locked)?);
        changed.push(Balance { asset: asset(&line.asset)?, free, locked });
    }
    let ts_event = time(event.update_time.number().unwrap_or(event.event_time));
    Ok(UserFrame::Balances(changed, ts_event))
}

fn transfer(event: &Event<'_>) -> Result<UserFrame, ReadError> {
    let (name, change) = (event.transfer_asset.text("a")?, event.transfer_change.text("d")?);
    let ts_event = time(event.transaction_time.number().unwrap_or(event.event_time));
    Ok(UserFrame::Transfer(asset(name)?, notional(change)?, ts_event))
}

fn report(event: &Event<'_>, symbols: &SymbolTable, ts_recv: Timestamp) -> Result<UserFrame, ReadError> {
    let symbol = event.symbol.as_deref().ok_or("executionReport without 's'")?;
    let Ok(instrument) = known(symbol, symbols) else {
        return Ok(UserFrame::Reconcile("an order of an instrument that is not of this run changed"));
    };
    let Some(status) = words::order_status(event.status.text("X")?) else {
        return Ok(UserFrame::Reconcile("an order got a status that is not known"));
    };
    let exec_word = event.exec_type.text("x")?;
    let exec_type = words::exec_type(exec_word).unwrap_or(ExecType::Status);
    let side_word = event.side.text("S")?;
    let side = words::side(side_word).ok_or_else(|| format!("unknown side '{side_word}'"))?;
    let ts_event = time(event.transaction_time.number().unwrap_or(event.event_time));
    // A cancel has an id of its own in 'c'; the order's is then in 'C'.
    let original = event.original_client_order_id.text("C").unwrap_or_default();
    let id = if original.is_empty() { event.client_order_id.text("c")? } else { original };
    let fill = if exec_type == ExecType::Trade {
        Some(Fill {
            trade_id: TradeId::truncated(&event.trade_id.number().ok_or("trade without 't'")?.to_string()),
            instrument,
            side,
            price: price(event.last_price.text("L")?)?,
            quantity: quantity(keel_model::mutant!(70, event.last_quantity.text("l")?, event.cum_quantity.text("z")?))?,
            fee: event.commission.text("n").map_or(Ok(Notional::ZERO), notional)?,
            fee_asset: asset(event.commission_asset.text("N").unwrap_or_default())?,
            liquidity: if matches!(event.is_maker, Any::Bool(true)) { Liquidity::Maker } else { Liquidity::Taker },
            ts_event,
        })
    } else {
        None
    };
    Ok(UserFrame::Report(Box::new(ExecutionReport {
        exec_type,
        client_order_id: ours(id),
        venue_order_id: venue_order_id(event.order_id.number().ok_or("executionReport without 'i'")?),
        instrument,
        side,
        status,
        quantity: quantity(event.quantity.text("q")?)?,
        price: optional_price(event.price.text("p").ok())?,
        cum_quantity: quantity(keel_model::mutant!(69, event.cum_quantity.text("z")?, event.quantity.text("q")?))?,
        fill,
        ts_event,
        ts_recv,
        text: reason(event),
    })))
}

/// The venue's word for a refusal or expiry, where there is one.
fn reason(event: &Event<'_>) -> keel_model::order::ReasonText {
    let words = [event.reject_reason.text("r").unwrap_or_default(), event.expiry_reason.text("eR").unwrap_or_default()];
    let said = words.into_iter().find(|word| !word.is_empty() && *word != "NONE").unwrap_or_default();
    InlineStr::truncated(said)
}

#[cfg(test)]
mod tests;
