//! The tolerant path of the market decoder: any field order, unknown fields skipped, futures frames and partial books too.
//!
//! Invariant: what it accepts is valid UTF-8 and valid JSON (nesting limited by the parser); what lacks a field or has one
//! of another type is an error that names it. Memory is bounded by the frame and by [`LEVELS_MAX`].

use super::super::symbols::SymbolTable;
use super::decode::{DecodeError, Hit, LEVELS_MAX, Slots, UnknownFrame, venue_time};
use keel_model::ids::{InlineStr, Symbol};
use keel_model::{
    BookSnapshot, InstrumentId, Level, MarketEvent, NumberError, Price, Quantity, Side, Timestamp, TradeId,
};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What the tolerant path found.
pub(super) enum Found {
    Event(Hit),
    Reply { id: u64, error: Option<i64> },
    ServerShutdown,
    Unknown(UnknownFrame),
}

pub(super) fn decode(
    frame: &[u8],
    ts_recv: Timestamp,
    symbols: &SymbolTable,
    slots: &mut Slots,
) -> Result<Found, DecodeError> {
    let outer = parse(frame)?;
    let Frame { stream, data, fields } = outer;
    let stream_symbol =
        stream.text().and_then(|name| name.split('@').next()).and_then(|name| symbols.get_lowercase(name));
    let fields = match data {
        Some(inner) => inner.fields,
        None => fields,
    };
    if let Some(found) = control(&fields) {
        return Ok(found);
    }
    match fields.event_type.text() {
        Some("trade") => trade(&fields, ts_recv, symbols, slots),
        Some("depthUpdate") => delta(&fields, ts_recv, symbols, slots),
        Some("bookTicker") => top(&fields, ts_recv, symbols, slots),
        Some("serverShutdown") => Ok(Found::ServerShutdown),
        Some(other) => Ok(Found::Unknown(UnknownFrame::Event(InlineStr::truncated(other)))),
        None if fields.bids.is_some() && fields.asks.is_some() => {
            let Some(instrument) = stream_symbol.or_else(|| symbols.only()) else {
                return Ok(Found::Unknown(UnknownFrame::Shape));
            };
            let MarketEvent::BookSnapshot(event) = &mut slots.snapshot else {
                return Ok(Found::Unknown(UnknownFrame::Shape));
            };
            fill_snapshot(&fields, instrument, ts_recv, event)?;
            Ok(Found::Event(Hit::Snapshot))
        }
        None if fields.bid.is_some() && fields.ask.is_some() && fields.last_id.is_some() => {
            top(&fields, ts_recv, symbols, slots)
        }
        None => Ok(Found::Unknown(UnknownFrame::Shape)),
    }
}

pub(super) fn snapshot(
    body: &[u8],
    instrument: InstrumentId,
    ts_recv: Timestamp,
    event: &mut BookSnapshot,
) -> Result<(), DecodeError> {
    fill_snapshot(&parse(body)?.fields, instrument, ts_recv, event)
}

fn parse(frame: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let text = std::str::from_utf8(frame).map_err(|error| DecodeError::NotUtf8 { at: error.valid_up_to() })?;
    serde_json::from_str(text).map_err(|error| DecodeError::Malformed { cause: error.to_string() })
}

fn control(fields: &Fields<'_>) -> Option<Found> {
    if !fields.is_result_seen && fields.error_code.is_none() {
        return None;
    }
    let id = fields.id.number().unwrap_or_default();
    Some(Found::Reply { id, error: fields.error_code })
}

fn top(
    fields: &Fields<'_>,
    ts_recv: Timestamp,
    symbols: &SymbolTable,
    slots: &mut Slots,
) -> Result<Found, DecodeError> {
    const EVENT: &str = "bookTicker";
    let instrument = match instrument(EVENT, fields, symbols)? {
        Ok(instrument) => instrument,
        Err(unknown) => return Ok(Found::Unknown(unknown)),
    };
    let MarketEvent::TopOfBook(event) = &mut slots.top else { return Ok(Found::Unknown(UnknownFrame::Shape)) };
    event.instrument = instrument;
    event.update_id = fields.last_id.need_number(EVENT, "u")?;
    event.bid = Level { price: fields.bid.price(EVENT, "b")?, quantity: fields.bid_quantity.quantity(EVENT, "B")? };
    event.ask = Level { price: fields.ask.price(EVENT, "a")?, quantity: fields.ask_quantity.quantity(EVENT, "A")? };
    event.ts_event =
        fields.trade_time.number().or_else(|| fields.event_time.number()).map_or(Timestamp::ZERO, venue_time);
    event.ts_recv = ts_recv;
    Ok(Found::Event(Hit::Top))
}

fn trade(
    fields: &Fields<'_>,
    ts_recv: Timestamp,
    symbols: &SymbolTable,
    slots: &mut Slots,
) -> Result<Found, DecodeError> {
    const EVENT: &str = "trade";
    let instrument = match instrument(EVENT, fields, symbols)? {
        Ok(instrument) => instrument,
        Err(unknown) => return Ok(Found::Unknown(unknown)),
    };
    let MarketEvent::Trade(event) = &mut slots.trade else { return Ok(Found::Unknown(UnknownFrame::Shape)) };
    event.instrument = instrument;
    event.trade_id = TradeId::truncated(&fields.trade_id.need_number(EVENT, "t")?.to_string());
    event.price = fields.price.price(EVENT, "p")?;
    event.quantity = fields.quantity.quantity(EVENT, "q")?;
    event.ts_event = venue_time(fields.trade_time.need_number(EVENT, "T")?);
    event.aggressor = match fields.is_buyer_maker {
        Any::Bool(true) => Side::Sell,
        Any::Bool(false) => Side::Buy,
        _ => return Err(DecodeError::Field { event: EVENT, field: "m" }),
    };
    event.ts_recv = ts_recv;
    Ok(Found::Event(Hit::Trade))
}

fn delta(
    fields: &Fields<'_>,
    ts_recv: Timestamp,
    symbols: &SymbolTable,
    slots: &mut Slots,
) -> Result<Found, DecodeError> {
    const EVENT: &str = "depthUpdate";
    let instrument = match instrument(EVENT, fields, symbols)? {
        Ok(instrument) => instrument,
        Err(unknown) => return Ok(Found::Unknown(unknown)),
    };
    let MarketEvent::BookDelta(event) = &mut slots.delta else { return Ok(Found::Unknown(UnknownFrame::Shape)) };
    event.instrument = instrument;
    event.ts_event = venue_time(fields.event_time.need_number(EVENT, "E")?);
    event.first_update_id = fields.first_id.need_number(EVENT, "U")?;
    event.last_update_id = fields.last_id.need_number(EVENT, "u")?;
    event.previous_update_id = fields.previous_id.number().unwrap_or_default();
    fields.bid.levels(EVENT, "b", &mut event.bids)?;
    fields.ask.levels(EVENT, "a", &mut event.asks)?;
    event.ts_recv = ts_recv;
    Ok(Found::Event(Hit::Delta))
}

fn fill_snapshot(
    fields: &Fields<'_>,
    instrument: InstrumentId,
    ts_recv: Timestamp,
    event: &mut BookSnapshot,
) -> Result<(), DecodeError> {
    const EVENT: &str = "depth snapshot";
    event.instrument = instrument;
    event.last_update_id = fields.last_update_id.need_number(EVENT, "lastUpdateId")?;
    fields.bids.levels(EVENT, "bids", &mut event.bids)?;
    fields.asks.levels(EVENT, "asks", &mut event.asks)?;
    event.ts_event =
        fields.trade_time.number().or_else(|| fields.event_time.number()).map_or(Timestamp::ZERO, venue_time);
    event.ts_recv = ts_recv;
    Ok(())
}

type Known = Result<InstrumentId, UnknownFrame>;

fn instrument(event: &'static str, fields: &Fields<'_>, symbols: &SymbolTable) -> Result<Known, DecodeError> {
    let symbol = fields.symbol.text().ok_or(DecodeError::Field { event, field: "s" })?;
    Ok(symbols.get(symbol.as_bytes()).ok_or_else(|| UnknownFrame::Symbol(Symbol::truncated(symbol))))
}

/// A value whose type depends on the event it is in: `b` is a price, an order id or a list of levels.
#[derive(Debug, Default)]
enum Any<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Number(u64),
    Bool(bool),
    Levels(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    TooManyLevels,
    Other,
}

impl Any<'_> {
    const fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    const fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    fn need_number(&self, event: &'static str, field: &'static str) -> Result<u64, DecodeError> {
        self.number().ok_or(DecodeError::Field { event, field })
    }

    fn price(&self, event: &'static str, field: &'static str) -> Result<Price, DecodeError> {
        let text = self.text().ok_or(DecodeError::Field { event, field })?;
        Price::parse_bytes(text.as_bytes()).map_err(|cause| DecodeError::Number { event, field, cause })
    }

    fn quantity(&self, event: &'static str, field: &'static str) -> Result<Quantity, DecodeError> {
        let text = self.text().ok_or(DecodeError::Field { event, field })?;
        Quantity::parse_bytes(text.as_bytes()).map_err(|cause| DecodeError::Number { event, field, cause })
    }

    fn levels(&self, event: &'static str, field: &'static str, out: &mut Vec<Level>) -> Result<(), DecodeError> {
        out.clear();
        let pairs = match self {
            Self::Levels(pairs) => pairs,
            Self::TooManyLevels => return Err(DecodeError::TooManyLevels),
            _ => return Err(DecodeError::Field { event, field }),
        };
        let number = |cause: NumberError| DecodeError::Number { event, field, cause };
        for (price, quantity) in pairs {
            out.push(Level {
                price: Price::parse_bytes(price.as_bytes()).map_err(number)?,
                quantity: Quantity::parse_bytes(quantity.as_bytes()).map_err(number)?,
            });
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Frame<'a> {
    stream: Any<'a>,
    data: Option<Box<Frame<'a>>>,
    fields: Fields<'a>,
}

/// Every field of every market event, by the letters Binance uses.
#[derive(Debug, Default)]
struct Fields<'a> {
    event_type: Any<'a>,
    event_time: Any<'a>,
    symbol: Any<'a>,
    first_id: Any<'a>,
    last_id: Any<'a>,
    previous_id: Any<'a>,
    bid: Any<'a>,
    ask: Any<'a>,
    bid_quantity: Any<'a>,
    ask_quantity: Any<'a>,
    trade_id: Any<'a>,
    trade_time: Any<'a>,
    price: Any<'a>,
    quantity: Any<'a>,
    is_buyer_maker: Any<'a>,
    last_update_id: Any<'a>,
    bids: Any<'a>,
    asks: Any<'a>,
    id: Any<'a>,
    is_result_seen: bool,
    error_code: Option<i64>,
}

impl<'a> Fields<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Any<'a>> {
        Some(match key {
            "e" => &mut self.event_type,
            "E" => &mut self.event_time,
            "s" => &mut self.symbol,
            "U" => &mut self.first_id,
            "u" => &mut self.last_id,
            "pu" => &mut self.previous_id,
            "b" => &mut self.bid,
            "a" => &mut self.ask,
            "B" => &mut self.bid_quantity,
            "A" => &mut self.ask_quantity,
            "t" => &mut self.trade_id,
            "T" => &mut self.trade_time,
            "p" => &mut self.price,
            "q" => &mut self.quantity,
            "m" => &mut self.is_buyer_maker,
            "lastUpdateId" => &mut self.last_update_id,
            "bids" => &mut self.bids,
            "asks" => &mut self.asks,
            "id" => &mut self.id,
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Frame<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FrameVisitor;
        impl<'de> Visitor<'de> for FrameVisitor {
            type Value = Frame<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Frame<'de>, M::Error> {
                let mut frame = Frame::default();
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    match key.as_ref() {
                        "stream" => frame.stream = map.next_value()?,
                        "data" | "event" => frame.data = map.next_value::<Nested<'de>>()?.0,
                        "result" => {
                            map.next_value::<IgnoredAny>()?;
                            frame.fields.is_result_seen = true;
                        }
                        "error" => frame.fields.error_code = Some(map.next_value::<ErrorBody>()?.code),
                        other => match frame.fields.slot(other) {
                            Some(slot) if slot.is_some() => {
                                return Err(M::Error::custom(format_args!("field '{other}' twice")));
                            }
                            Some(slot) => *slot = map.next_value()?,
                            None => {
                                map.next_value::<IgnoredAny>()?;
                            }
                        },
                    }
                }
                Ok(frame)
            }
        }
        deserializer.deserialize_map(FrameVisitor)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    code: i64,
}

/// An object, or something else that is skipped (array streams).
struct Nested<'a>(Option<Box<Frame<'a>>>);

macro_rules! ignore_scalars {
    ($value:expr) => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

impl<'de> Deserialize<'de> for Nested<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NestedVisitor;
        impl<'de> Visitor<'de> for NestedVisitor {
            type Value = Nested<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            ignore_scalars!(Nested(None));
            fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Nested(None))
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Nested(None))
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Nested(None))
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Nested(None))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
                let inner = serde::de::value::MapAccessDeserializer::new(map);
                Frame::deserialize(inner).map(|frame| Nested(Some(Box::new(frame))))
            }
        }
        deserializer.deserialize_any(NestedVisitor)
    }
}

impl<'de> Deserialize<'de> for Any<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = Any<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            ignore_scalars!(Any::Other);
            fn visit_bool<E: Error>(self, value: bool) -> Result<Any<'de>, E> {
                Ok(Any::Bool(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Any<'de>, E> {
                Ok(Any::Number(value))
            }
            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Any<'de>, E> {
                Ok(Any::Text(Cow::Borrowed(value)))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Any<'de>, E> {
                Ok(Any::Text(Cow::Owned(value.to_owned())))
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Any<'de>, S::Error> {
                let mut levels = Vec::new();
                let mut result = Ok(());
                while let Some(pair) = seq.next_element::<Pair<'de>>()? {
                    match pair {
                        Pair::Level(..) if levels.len() >= LEVELS_MAX => result = Err(Any::TooManyLevels),
                        Pair::Level(price, quantity) => levels.push((price, quantity)),
                        Pair::Other => result = Err(Any::Other),
                    }
                }
                Ok(match result {
                    Ok(()) => Any::Levels(levels),
                    Err(other) => other,
                })
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Any<'de>, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Any::Other)
            }
        }
        deserializer.deserialize_any(AnyVisitor)
    }
}

/// `["price","quantity"]`, with whatever else follows in it.
enum Pair<'a> {
    Level(Cow<'a, str>, Cow<'a, str>),
    Other,
}

impl<'de> Deserialize<'de> for Pair<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = Pair<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a price level")
            }
            ignore_scalars!(Pair::Other);
            fn visit_bool<E: Error>(self, _: bool) -> Result<Pair<'de>, E> {
                Ok(Pair::Other)
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Pair<'de>, E> {
                Ok(Pair::Other)
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Pair<'de>, E> {
                Ok(Pair::Other)
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Pair<'de>, S::Error> {
                let price = seq.next_element::<Any<'de>>()?;
                let quantity = seq.next_element::<Any<'de>>()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                match (price, quantity) {
                    (Some(Any::Text(price)), Some(Any::Text(quantity))) => Ok(Pair::Level(price, quantity)),
                    _ => Ok(Pair::Other),
                }
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pair<'de>, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Pair::Other)
            }
        }
        deserializer.deserialize_any(PairVisitor)
    }
}
