//! Market stream frames → [`MarketEvent`]s: a fast path for Binance's usual field order, a tolerant one for everything else.
//!
//! Invariants: the fast path assumes nothing, it verifies every byte of the frame and otherwise leaves the frame to the
//! tolerant path; both give the same event for the same frame; no frame panics or allocates without bound. The fast path
//! does not allocate once the level buffers have grown. Events live in the decoder and are borrowed until the next call.

use super::super::symbols::SymbolTable;
use super::fast;
use super::tolerant;
use keel_model::ids::{InlineStr, Symbol};
use keel_model::{
    BookDelta, BookSnapshot, InstrumentId, Level, MarketEvent, NumberError, Price, Quantity, Side, Timestamp,
    TopOfBook, Trade, TradeId,
};

/// The largest frame that is looked at; larger ones are refused. A 5,000-level snapshot is about 300 KB.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// The most levels of one side in one frame; more are refused.
pub const LEVELS_MAX: usize = 20_000;

/// Why a frame could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than any frame has.
    #[error("frame of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most allowed.
        max: usize,
    },
    /// Not text.
    #[error("not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// First offending byte.
        at: usize,
    },
    /// Not JSON, not the expected types, or nested too deep.
    #[error("malformed: {cause}")]
    Malformed {
        /// What the parser said.
        cause: String,
    },
    /// A field that the event needs is missing or of another type.
    #[error("{event} without a usable field '{field}'")]
    Field {
        /// Event type.
        event: &'static str,
        /// Field.
        field: &'static str,
    },
    /// A number that is none, or does not fit.
    #[error("{event}, field '{field}': {cause}")]
    Number {
        /// Event type.
        event: &'static str,
        /// Field.
        field: &'static str,
        /// What is wrong with it.
        cause: NumberError,
    },
    /// More price levels than [`LEVELS_MAX`].
    #[error("more than {max} levels on one side", max = LEVELS_MAX)]
    TooManyLevels,
}

/// What a frame is.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Market data.
    Market(&'a MarketEvent),
    /// The answer to a control message of ours.
    Reply {
        /// Id of the control message.
        id: u64,
        /// The venue's error code, when it refused.
        error: Option<i64>,
    },
    /// The venue will disconnect soon.
    ServerShutdown,
    /// Well-formed, but nothing we know or asked for. Skipped.
    Unknown(UnknownFrame),
}

/// What is unknown about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFrame {
    /// An event type.
    Event(InlineStr<23>),
    /// A symbol that is not in the table.
    Symbol(Symbol),
    /// An object without anything that we look for.
    Shape,
}

/// Which of the decoder's events was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Top,
    Trade,
    Delta,
    Snapshot,
}

/// The events that decoding fills, kept so that buffers are reused.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) top: MarketEvent,
    pub(super) trade: MarketEvent,
    pub(super) delta: MarketEvent,
    pub(super) snapshot: MarketEvent,
}

/// Decodes the market stream frames of one venue; one per connection or recording.
#[derive(Debug)]
pub struct MarketDecoder {
    symbols: SymbolTable,
    slots: Slots,
    fast_hits: u64,
    slow_hits: u64,
}

impl MarketDecoder {
    /// A decoder that knows these symbols.
    #[must_use]
    pub fn new(symbols: SymbolTable) -> Self {
        let id = InstrumentId::default();
        let ts = Timestamp::ZERO;
        let (price, quantity) = (Price::ZERO, Quantity::ZERO);
        let level = Level { price, quantity };
        let top = TopOfBook { instrument: id, ts_event: ts, ts_recv: ts, update_id: 0, bid: level, ask: level };
        let trade_id = TradeId::EMPTY;
        let aggressor = Side::Buy;
        let trade = Trade { instrument: id, ts_event: ts, ts_recv: ts, trade_id, price, quantity, aggressor };
        let slots = Slots {
            top: MarketEvent::TopOfBook(top),
            trade: MarketEvent::Trade(trade),
            delta: MarketEvent::BookDelta(BookDelta::default()),
            snapshot: MarketEvent::BookSnapshot(BookSnapshot::default()),
        };
        Self { symbols, slots, fast_hits: 0, slow_hits: 0 }
    }

    /// The symbols it knows.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// How many frames took the fast path and how many the tolerant one.
    #[must_use]
    pub const fn path_counts(&self) -> (u64, u64) {
        (self.fast_hits, self.slow_hits)
    }

    /// Decodes one frame, raw or combined (`{"stream":…,"data":…}`). The event is valid until the next call.
    #[inline]
    pub fn decode(&mut self, frame: &[u8], ts_recv: Timestamp) -> Result<Decoded<'_>, DecodeError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge { bytes: frame.len(), max: FRAME_BYTES_MAX });
        }
        let hit = match fast::decode(frame, ts_recv, &self.symbols, &mut self.slots) {
            Some(hit) => {
                self.fast_hits += 1;
                hit
            }
            None => {
                self.slow_hits += 1;
                match tolerant::decode(frame, ts_recv, &self.symbols, &mut self.slots)? {
                    tolerant::Found::Event(hit) => hit,
                    tolerant::Found::Reply { id, error } => return Ok(Decoded::Reply { id, error }),
                    tolerant::Found::ServerShutdown => return Ok(Decoded::ServerShutdown),
                    tolerant::Found::Unknown(what) => return Ok(Decoded::Unknown(what)),
                }
            }
        };
        Ok(Decoded::Market(self.slot(hit)))
    }

    /// Decodes the answer of `GET /api/v3/depth`, which does not name its symbol.
    pub fn decode_snapshot(
        &mut self,
        body: &[u8],
        instrument: InstrumentId,
        ts_recv: Timestamp,
    ) -> Result<&MarketEvent, DecodeError> {
        if body.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge { bytes: body.len(), max: FRAME_BYTES_MAX });
        }
        let MarketEvent::BookSnapshot(snapshot) = &mut self.slots.snapshot else {
            return Err(DecodeError::Field { event: "snapshot", field: "lastUpdateId" });
        };
        if fast::snapshot(body, instrument, ts_recv, snapshot).is_none() {
            tolerant::snapshot(body, instrument, ts_recv, snapshot)?;
        }
        Ok(&self.slots.snapshot)
    }

    #[inline]
    const fn slot(&self, hit: Hit) -> &MarketEvent {
        match hit {
            Hit::Top => &self.slots.top,
            Hit::Trade => &self.slots.trade,
            Hit::Delta => &self.slots.delta,
            Hit::Snapshot => &self.slots.snapshot,
        }
    }
}

/// The venue's time: milliseconds, or microseconds where the stream was asked for them.
#[inline]
pub(super) const fn venue_time(value: u64) -> Timestamp {
    // 10^14 ms is the year 5138; 10^14 µs is March 1973.
    if value >= 100_000_000_000_000 { Timestamp::from_us(value) } else { Timestamp::from_ms(value) }
}

#[cfg(test)]
mod tests;
