//! Recorded sessions: unpacking, checking and reading frames. One line is the local receive time in ns, a space, and the
//! frame as it came: `{"stream":…,"data":…}`, or a REST depth answer, which is a snapshot of the book.
//!
//! A recording is read and checked whole before the venue starts, so that a damaged one is refused with the line number and
//! not found out halfway. It is held unpacked in one buffer that frames are cut from without copying, at most [`BYTES_MAX`].

use crate::error::RecordingError;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use keel_model::instrument::{LotRule, PercentPriceRule};
use keel_model::{
    Asset, BookDelta, BookSnapshot, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Level, MarketEvent,
    Notional, Price, Quantity, Side, Timestamp, TopOfBook, Trade, TradeId,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

/// Most bytes of an unpacked recording.
pub(crate) const BYTES_MAX: u64 = 1 << 30;
/// Longest line.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Quote assets, the longest first where one ends another.
const QUOTES: [&str; 11] = ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "DAI", "BTC", "ETH", "BNB", "EUR", "USD"];

/// One frame: when it was received and where it stands in the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameAt {
    pub(crate) recv: Timestamp,
    start: usize,
    end: usize,
}

/// A recording, read and checked.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) frames: Vec<FrameAt>,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) streams: Vec<String>,
    pub(crate) has_snapshot: bool,
    bytes: Bytes,
}

/// `{"stream":…,"data":…}`.
#[derive(Deserialize)]
struct Combined<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    last_update_id: u64,
    #[serde(borrow)]
    bids: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow)]
    asks: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Deserialize)]
struct DepthUpdate<'a> {
    #[serde(rename = "E")]
    event_ms: u64,
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(borrow)]
    b: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    #[serde(borrow)]
    a: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

#[derive(Deserialize)]
struct Ticker<'a> {
    u: u64,
    #[serde(borrow)]
    b: Cow<'a, str>,
    #[serde(borrow, rename = "B")]
    bid_quantity: Cow<'a, str>,
    #[serde(borrow)]
    a: Cow<'a, str>,
    #[serde(borrow, rename = "A")]
    ask_quantity: Cow<'a, str>,
}

#[derive(Deserialize)]
struct TradeFrame<'a> {
    t: u64,
    #[serde(borrow)]
    p: Cow<'a, str>,
    #[serde(borrow)]
    q: Cow<'a, str>,
    #[serde(rename = "T")]
    trade_ms: u64,
    m: bool,
}

/// Lines may be this much out of order, as in the launcher's replay at full speed; unit: nanoseconds.
const DISORDER_NS_MAX: u64 = 5_000_000_000;

/// What a frame is.
#[derive(Debug)]
pub(crate) struct ReadFrame {
    /// The stream that it came on; `None` for a REST answer.
    pub(crate) stream: Option<String>,
    /// Where its `data` stands in the frame.
    pub(crate) data: std::ops::Range<usize>,
    /// What it says, where the venue can use it.
    pub(crate) event: Option<MarketEvent>,
}

impl Recording {
    /// Reads and checks a file.
    pub(crate) fn load(path: &Path) -> Result<Self, RecordingError> {
        let read_error = |source| RecordingError::Read { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(read_error)?);
        let head = file.fill_buf().map_err(read_error)?;
        if head.is_empty() {
            return Err(RecordingError::Empty { path: path.to_owned() });
        }
        if !head.starts_with(&[0x1f, 0x8b]) {
            return Err(RecordingError::NotGzip { path: path.to_owned() });
        }
        let bytes = unpack(file, path)?;
        Self::check(bytes, path)
    }

    fn check(bytes: Bytes, path: &Path) -> Result<Self, RecordingError> {
        let (mut frames, mut symbols, mut start) = (Vec::new(), Symbols::default(), 0);
        let mut last = Timestamp::ZERO;
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let bad = |cause: String| RecordingError::BadLine { path: path.to_owned(), line: at as u64 + 1, cause };
            let (from, until) = (start, start + line.len());
            start = until + 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = std::str::from_utf8(line).map_err(|_| bad("not UTF-8".to_owned()))?;
            let (time, frame) =
                text.split_once(' ').ok_or_else(|| bad("no space after the receive time".to_owned()))?;
            let ns: u64 = time.parse().map_err(|_| bad(format!("receive time '{}' is not a number", clip(time))))?;
            let recv = Timestamp::from_ns(ns);
            let back_ns = last.as_ns().saturating_sub(ns);
            if back_ns > DISORDER_NS_MAX {
                return Err(bad(format!(
                    "its time is {:.1} s before that of an earlier line, and at most {} s are let pass",
                    back_ns as f64 / 1e9,
                    DISORDER_NS_MAX / 1_000_000_000
                )));
            }
            // A little out of order: it comes when its turn is, never back in time.
            let recv = recv.max(last);
            last = recv;
            symbols.note(frame, recv).map_err(bad)?;
            frames.push(FrameAt { recv, start: from + time.len() + 1, end: until });
        }
        if frames.is_empty() {
            return Err(RecordingError::Empty { path: path.to_owned() });
        }
        let has_snapshot = symbols.has_snapshot;
        let (instruments, streams) = symbols.finish();
        if instruments.is_empty() {
            let cause = "no frame of a market stream ({\"stream\":\"<symbol>@…\",…}) in the whole file".to_owned();
            return Err(RecordingError::BadLine { path: path.to_owned(), line: 1, cause });
        }
        Ok(Self { frames, instruments, streams, has_snapshot, bytes })
    }

    /// A frame's bytes, shared.
    pub(crate) fn bytes(&self, frame: FrameAt) -> Bytes {
        self.bytes.slice(frame.start..frame.end)
    }

    /// Reads a frame; `instrument` finds a symbol's index, and a snapshot belongs to `only`.
    pub(crate) fn read(
        &self,
        frame: FrameAt,
        only: InstrumentId,
        instrument: impl Fn(&str) -> Option<InstrumentId>,
    ) -> Option<ReadFrame> {
        let text = std::str::from_utf8(self.bytes.get(frame.start..frame.end)?).ok()?;
        read_frame(text, frame.recv, only, instrument).ok()
    }
}

fn clip(text: &str) -> String {
    text.chars().take(32).collect()
}

/// Unpacks a gzip file, noting the last whole line when it breaks off.
fn unpack(file: impl Read, path: &Path) -> Result<Bytes, RecordingError> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(file).take(BYTES_MAX + 1);
    match limited.read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 > BYTES_MAX => {
            Err(RecordingError::TooLarge { path: path.to_owned(), max_mib: BYTES_MAX >> 20 })
        }
        Ok(_) => Ok(Bytes::from(bytes)),
        Err(error) => {
            let line = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            Err(RecordingError::Truncated { path: path.to_owned(), line, cause: error.to_string() })
        }
    }
}

fn levels(list: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<Vec<Level>, String> {
    list.iter().map(|(price, quantity)| level(price, quantity)).collect()
}

fn level(price: &str, quantity: &str) -> Result<Level, String> {
    let price = Price::parse_bytes(price.as_bytes()).map_err(|error| format!("price: {error}"))?;
    let quantity = Quantity::parse_bytes(quantity.as_bytes()).map_err(|error| format!("quantity: {error}"))?;
    Ok(Level { price, quantity })
}

/// Reads a frame or says what is wrong with it.
fn read_frame(
    text: &str,
    recv: Timestamp,
    only: InstrumentId,
    instrument: impl Fn(&str) -> Option<InstrumentId>,
) -> Result<ReadFrame, String> {
    if text.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    if !text.starts_with("{\"stream\"") {
        return read_rest(text, recv, only);
    }
    let combined: Combined<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let data = combined.data.get();
    // `data` is a part of `text`, so the difference of the addresses is its place.
    let start = (data.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let range = start..start + data.len();
    let (lower, kind) = combined.stream.split_once('@').unwrap_or((&combined.stream, ""));
    let Some(id) = instrument(lower) else {
        return Ok(ReadFrame { stream: Some(combined.stream.into_owned()), data: range, event: None });
    };
    let event = read_data(data, kind, id, recv)?;
    Ok(ReadFrame { stream: Some(combined.stream.into_owned()), data: range, event })
}

fn read_rest(text: &str, recv: Timestamp, only: InstrumentId) -> Result<ReadFrame, String> {
    let snapshot: Snapshot<'_> = serde_json::from_str(text)
        .map_err(|error| format!("neither a combined stream frame nor a depth snapshot: {error}"))?;
    let event = MarketEvent::BookSnapshot(BookSnapshot {
        instrument: only,
        ts_event: Timestamp::ZERO,
        ts_recv: recv,
        last_update_id: snapshot.last_update_id,
        bids: levels(&snapshot.bids)?,
        asks: levels(&snapshot.asks)?,
    });
    Ok(ReadFrame { stream: None, data: 0..text.len(), event: Some(event) })
}

fn read_data(data: &str, kind: &str, id: InstrumentId, recv: Timestamp) -> Result<Option<MarketEvent>, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    Ok(Some(match kind {
        "depth" | "depth@100ms" | "depth@1000ms" => {
            let update: DepthUpdate<'_> = serde_json::from_str(data).map_err(wrong)?;
            MarketEvent::BookDelta(BookDelta {
                instrument: id,
                ts_event: Timestamp::from_ms(update.event_ms),
                ts_recv: recv,
                first_update_id: update.first,
                last_update_id: update.last,
                previous_update_id: 0,
                bids: levels(&update.b)?,
                asks: levels(&update.a)?,
            })
        }
        "bookTicker" => {
            let ticker: Ticker<'_> = serde_json::from_str(data).map_err(wrong)?;
            MarketEvent::TopOfBook(TopOfBook {
                instrument: id,
                ts_event: Timestamp::ZERO,
                ts_recv: recv,
                update_id: ticker.u,
                bid: level(&ticker.b, &ticker.bid_quantity)?,
                ask: level(&ticker.a, &ticker.ask_quantity)?,
            })
        }
        "trade" => {
            let trade: TradeFrame<'_> = serde_json::from_str(data).map_err(wrong)?;
            let at = level(&trade.p, &trade.q)?;
            MarketEvent::Trade(Trade {
                instrument: id,
                ts_event: Timestamp::from_ms(trade.trade_ms),
                ts_recv: recv,
                trade_id: TradeId::truncated(&trade.t.to_string()),
                price: at.price,
                quantity: at.quantity,
                aggressor: if trade.m { Side::Sell } else { Side::Buy },
            })
        }
        _ => return Ok(None),
    }))
}

/// What the frames say about the symbols: their names and how fine their numbers are.
#[derive(Debug, Default)]
struct Symbols {
    scales: BTreeMap<String, (u8, u8)>,
    streams: Vec<String>,
    has_snapshot: bool,
}

impl Symbols {
    fn note(&mut self, frame: &str, recv: Timestamp) -> Result<(), String> {
        let read = read_frame(frame, recv, InstrumentId(0), |_| Some(InstrumentId(0)))?;
        let Some(stream) = read.stream else {
            self.has_snapshot = true;
            return Ok(());
        };
        if !self.streams.contains(&stream) && self.streams.len() < 1_024 {
            self.streams.push(stream.clone());
        }
        let Some((lower, _)) = stream.split_once('@') else { return Ok(()) };
        let scale = self.scales.entry(lower.to_owned()).or_insert((0, 0));
        let mut note = |price: Price, quantity: Quantity| {
            *scale = (scale.0.max(price.normalized().scale()), scale.1.max(quantity.normalized().scale()));
        };
        match &read.event {
            Some(MarketEvent::Trade(trade)) => note(trade.price, trade.quantity),
            Some(MarketEvent::TopOfBook(top)) => {
                note(top.bid.price, top.bid.quantity);
                note(top.ask.price, top.ask.quantity);
            }
            Some(MarketEvent::BookDelta(delta)) => {
                delta.bids.iter().chain(&delta.asks).for_each(|level| note(level.price, level.quantity));
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> (Vec<Instrument>, Vec<String>) {
        let instruments = self.scales.into_iter().enumerate();
        let instruments = instruments.map(|(at, (lower, scales))| instrument(at as u32, &lower, scales)).collect();
        (instruments, self.streams)
    }
}

/// An instrument as far as a recording tells: tick and lot from its numbers, Binance's usual bounds for the rest.
fn instrument(id: u32, lower: &str, (price_scale, quantity_scale): (u8, u8)) -> Instrument {
    let symbol = lower.to_uppercase();
    let quote = QUOTES.into_iter().find(|quote| symbol.len() > quote.len() && symbol.ends_with(quote)).unwrap_or("");
    let base = symbol.strip_suffix(quote).unwrap_or(&symbol);
    let tick = Price::new(1, price_scale).unwrap_or(Price::ZERO);
    let step = Quantity::new(1, quantity_scale).unwrap_or(Quantity::ZERO);
    let (five, fifth) = (Quantity::from_int(5), Quantity::new(2, 1).unwrap_or(Quantity::ZERO));
    Instrument {
        id: InstrumentId(id),
        symbol: keel_model::InlineStr::truncated(&symbol),
        base: Asset::truncated(base),
        quote: Asset::truncated(if quote.is_empty() { "QUOTE" } else { quote }),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: tick,
        min_price: tick,
        max_price: Price::from_int(1_000_000),
        lot: LotRule { min: step, max: Quantity::from_int(9_000), step },
        market_lot: LotRule { min: Quantity::ZERO, max: Quantity::from_int(9_000), step: Quantity::ZERO },
        min_notional: Notional::from_int(5),
        min_notional_applies_to_market: true,
        max_notional: Some(Notional::from_int(9_000_000)),
        percent_price: Some(PercentPriceRule { bid_up: five, bid_down: fifth, ask_up: five, ask_down: fifth }),
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

#[cfg(test)]
mod tests;
