//! Market data as it flows: each event names its instrument, the venue's time (`ts_event`, zero when the venue sends none)
//! and ours (`ts_recv`). Order and staleness go by `ts_recv`.

use crate::{InstrumentId, Price, Quantity, Side, Timestamp, TradeId};
use serde::{Deserialize, Serialize};

/// One price level of a book; a quantity of zero in a delta removes the level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Price of the level.
    pub price: Price,
    /// Total quantity resting there.
    pub quantity: Quantity,
}

/// A public trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Instrument traded.
    pub instrument: InstrumentId,
    /// The venue's time of the trade.
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// The venue's trade id.
    pub trade_id: TradeId,
    /// Trade price.
    pub price: Price,
    /// Trade quantity.
    pub quantity: Quantity,
    /// Side of the taker.
    pub aggressor: Side,
}

/// Best bid and ask. A side without orders has quantity zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopOfBook {
    /// Instrument quoted.
    pub instrument: InstrumentId,
    /// The venue's time, zero when it sends none (Binance spot bookTicker).
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// The venue's book sequence number, zero when it sends none.
    pub update_id: u64,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
}

/// Changes of a book since the previous delta. Kept in reusable buffers: decoders clear and refill the vectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookDelta {
    /// Instrument quoted.
    pub instrument: InstrumentId,
    /// The venue's time.
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// First update id contained (Binance `U`).
    pub first_update_id: u64,
    /// Last update id contained (Binance `u`).
    pub last_update_id: u64,
    /// Last update id of the previous delta where the venue says it (Binance futures `pu`), else zero.
    pub previous_update_id: u64,
    /// Changed bid levels.
    pub bids: Vec<Level>,
    /// Changed ask levels.
    pub asks: Vec<Level>,
}

/// A whole book, or its best levels, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookSnapshot {
    /// Instrument quoted.
    pub instrument: InstrumentId,
    /// The venue's time, zero when it sends none.
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// Update id that the snapshot includes.
    pub last_update_id: u64,
    /// Bids, best first.
    pub bids: Vec<Level>,
    /// Asks, best first.
    pub asks: Vec<Level>,
}

/// Open, high, low, close and volume over a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Instrument traded.
    pub instrument: InstrumentId,
    /// Start of the span, inclusive.
    pub ts_open: Timestamp,
    /// End of the span, exclusive.
    pub ts_close: Timestamp,
    /// When we received (or built) it.
    pub ts_recv: Timestamp,
    /// First trade price.
    pub open: Price,
    /// Highest trade price.
    pub high: Price,
    /// Lowest trade price.
    pub low: Price,
    /// Last trade price.
    pub close: Price,
    /// Base volume.
    pub volume: Quantity,
    /// Is the bar final? A bar that is still being built is only for display.
    pub is_closed: bool,
}

/// Funding of a perpetual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundingRate {
    /// Instrument.
    pub instrument: InstrumentId,
    /// The venue's time.
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// Rate per funding period, as a plain fraction.
    pub rate: Quantity,
    /// When it is paid next.
    pub ts_next: Timestamp,
}

/// Mark price of a perpetual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkPrice {
    /// Instrument.
    pub instrument: InstrumentId,
    /// The venue's time.
    pub ts_event: Timestamp,
    /// When we received it.
    pub ts_recv: Timestamp,
    /// Mark price.
    pub price: Price,
}

/// Any market data event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarketEvent {
    /// A public trade.
    Trade(Trade),
    /// Best bid and ask.
    TopOfBook(TopOfBook),
    /// Changes of a book.
    BookDelta(BookDelta),
    /// A whole book.
    BookSnapshot(BookSnapshot),
    /// A bar.
    Bar(Bar),
    /// Funding rate.
    FundingRate(FundingRate),
    /// Mark price.
    MarkPrice(MarkPrice),
}

impl MarketEvent {
    /// The instrument the event is about.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        match self {
            Self::Trade(event) => event.instrument,
            Self::TopOfBook(event) => event.instrument,
            Self::BookDelta(event) => event.instrument,
            Self::BookSnapshot(event) => event.instrument,
            Self::Bar(event) => event.instrument,
            Self::FundingRate(event) => event.instrument,
            Self::MarkPrice(event) => event.instrument,
        }
    }

    /// When we received it.
    #[must_use]
    pub const fn ts_recv(&self) -> Timestamp {
        match self {
            Self::Trade(event) => event.ts_recv,
            Self::TopOfBook(event) => event.ts_recv,
            Self::BookDelta(event) => event.ts_recv,
            Self::BookSnapshot(event) => event.ts_recv,
            Self::Bar(event) => event.ts_recv,
            Self::FundingRate(event) => event.ts_recv,
            Self::MarkPrice(event) => event.ts_recv,
        }
    }
}
