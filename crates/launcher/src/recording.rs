//! Recorded sessions: a gzip file with one frame a line. Opening one, reading it through once to learn what it holds, and
//! playing its events.
//!
//! The first reading checks every line, so a broken recording is refused before anything trades on it.

use crate::error::LaunchError;
use flate2::read::MultiGzDecoder;
use keel_exchange::binance::spot::codec::decode::{Decoded, MarketDecoder};
use keel_exchange::binance::spot::symbols::SymbolTable;
use keel_marketdata::RecordingReader;
use keel_model::ids::Symbol;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Level, MarketEvent, Notional,
    Price, Quantity, Timestamp,
};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

const BUFFER_BYTES: usize = 256 * 1024;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Most instruments of one recording.
const INSTRUMENTS_MAX: usize = 200;
/// Assets that prices are in, longest names first.
const QUOTES: [&str; 14] =
    ["FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BIDR", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "DAI", "USD"];

/// Lines may be this much out of order; a recording whose time runs back further is two recordings, or a broken one.
const DISORDER_MAX: Duration = Duration::from_secs(5);

/// Opens a recording, or says why it is none.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, LaunchError> {
    let failed = |error: std::io::Error| refuse(path, error, "check path and permissions");
    // Looked at before it is opened: to open a pipe waits for a writer, for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(refuse(path, "it is not a regular file", "name a recording; save a pipe to a file first"));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = [0u8; 2];
    let read = file.read(&mut magic).map_err(failed)?;
    if read == 0 {
        return Err(refuse(path, "it is empty", "record or fetch it again"));
    }
    if read < 2 || magic != MAGIC {
        return Err(refuse(path, "it is not gzip", "compress it: gzip FILE"));
    }
    let whole = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole))))
}

fn refuse(path: &Path, cause: impl ToString, remedy: &str) -> LaunchError {
    LaunchError::Recording { path: path.to_path_buf(), cause: cause.to_string(), remedy: remedy.into() }
}

fn runs_backwards(path: &Path, line: u64, back: Duration) -> LaunchError {
    refuse(
        path,
        format!(
            "line {line} of the recording is broken: its time is {:.1} s before that of an earlier line, and at most {} s are \
             let pass",
            back.as_secs_f64(),
            DISORDER_MAX.as_secs()
        ),
        "put the lines in order, or replay each recording by itself",
    )
}

/// What a recording holds.
#[derive(Debug)]
pub struct Contents {
    /// Instruments in the order in which they appear.
    pub instruments: Instruments,
    /// Lines.
    pub frames: u64,
    /// From the first to the last line.
    pub length: Duration,
    /// Has it a book snapshot? Without one there is only the best bid and ask.
    pub has_snapshot: bool,
}

/// Reads a recording through once: every line is checked.
pub fn scan(path: &Path) -> Result<Contents, LaunchError> {
    let mut found = Found::default();
    let (mut first_ns, mut last_ns) = (None, 0u64);
    let mut reader = RecordingReader::new(open(path)?);
    let mut decoder = MarketDecoder::new(SymbolTable::new(&found.instruments));
    while let Some(frame) = reader.next_frame() {
        let frame = frame.map_err(|error| refuse(path, error, "record or fetch it again"))?;
        let back = Duration::from_nanos(last_ns.saturating_sub(frame.recv_ns));
        if back > DISORDER_MAX {
            let line = reader.lines_read();
            return Err(runs_backwards(path, line, back));
        }
        (first_ns, last_ns) = (first_ns.or(Some(frame.recv_ns)), last_ns.max(frame.recv_ns));
        if is_snapshot(frame.frame) {
            found.has_snapshot = true;
            continue;
        }
        if found.learn(frame.frame) {
            decoder = MarketDecoder::new(SymbolTable::new(&found.instruments));
        }
        let decoded = decoder.decode(frame.frame, Timestamp::from_ns(frame.recv_ns));
        let line_is_bad = match decoded {
            Ok(Decoded::Market(event)) => {
                found.observe(event);
                None
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(cause) = line_is_bad {
            let line = reader.lines_read();
            return Err(refuse(
                path,
                format!("line {line} of the recording is broken: {cause}"),
                "record or fetch it again",
            ));
        }
    }
    let instruments = found.finish();
    if instruments.is_empty() {
        return Err(refuse(
            path,
            "no line of it is market data of an instrument",
            "name a recording of Binance spot streams",
        ));
    }
    let length = Duration::from_nanos(last_ns.saturating_sub(first_ns.unwrap_or(0)));
    Ok(Contents { instruments, frames: reader.lines_read(), length, has_snapshot: found.has_snapshot })
}

/// Plays the events one by one until `hear` says that it has heard enough. A snapshot names no instrument; it belongs to the
/// only one there is.
pub fn play(
    path: &Path,
    instruments: &Instruments,
    mut hear: impl FnMut(&MarketEvent) -> bool,
) -> Result<(), LaunchError> {
    let mut reader = RecordingReader::new(open(path)?);
    let mut decoder = MarketDecoder::new(SymbolTable::new(instruments));
    let only = (instruments.len() == 1).then(InstrumentId::default);
    while let Some(frame) = reader.next_frame() {
        let frame = frame.map_err(|error| refuse(path, error, "record or fetch it again"))?;
        let ts_recv = Timestamp::from_ns(frame.recv_ns);
        let broken = |error: &dyn std::fmt::Display| refuse(path, error, "record or fetch it again");
        let goes_on = if is_snapshot(frame.frame) {
            match only {
                Some(id) => hear(decoder.decode_snapshot(frame.frame, id, ts_recv).map_err(|error| broken(&error))?),
                None => true,
            }
        } else {
            match decoder.decode(frame.frame, ts_recv).map_err(|error| broken(&error))? {
                Decoded::Market(event) => hear(event),
                _ => true,
            }
        };
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// The answer of a REST depth request, as recorders store it between the frames.
fn is_snapshot(frame: &[u8]) -> bool {
    frame.starts_with(b"{\"lastUpdateId\"")
}

/// What was found so far.
#[derive(Default)]
struct Found {
    instruments: Instruments,
    scales: Vec<(u8, u8)>,
    has_snapshot: bool,
}

impl Found {
    /// Looks for a symbol that is not known yet; true when there was one.
    fn learn(&mut self, frame: &[u8]) -> bool {
        let Some(symbol) = symbol_of(frame) else { return false };
        if self.instruments.by_symbol(symbol).is_some() || self.instruments.len() >= INSTRUMENTS_MAX {
            return false;
        }
        let Some(instrument) = made_up(symbol, 8, 8) else { return false };
        self.scales.push((0, 0));
        self.instruments.upsert(instrument).is_some()
    }

    /// Remembers how fine prices and quantities are.
    fn observe(&mut self, event: &MarketEvent) {
        let Some(scales) = self.scales.get_mut(event.instrument().index()) else { return };
        let mut see = |price: Price, quantity: Quantity| {
            scales.0 = scales.0.max(price.normalized().scale());
            scales.1 = scales.1.max(quantity.normalized().scale());
        };
        match event {
            MarketEvent::Trade(trade) => see(trade.price, trade.quantity),
            MarketEvent::TopOfBook(top) => [top.bid, top.ask].iter().for_each(|level| see(level.price, level.quantity)),
            MarketEvent::BookDelta(delta) => {
                delta.bids.iter().chain(&delta.asks).for_each(|level: &Level| see(level.price, level.quantity));
            }
            _ => {}
        }
    }

    /// The instruments: Binance's own rules where they are known, else what the recording shows.
    fn finish(&mut self) -> Instruments {
        let known = keel_sim::default_specs();
        let mut instruments = Instruments::new();
        for (instrument, (price_scale, quantity_scale)) in self.instruments.iter().zip(&self.scales) {
            let own = known.iter().map(|spec| &spec.instrument).find(|it| it.symbol == instrument.symbol);
            let fits = |it: &&Instrument| it.tick_size.normalized().scale() >= *price_scale;
            let made = own
                .filter(fits)
                .cloned()
                .or_else(|| made_up(&instrument.symbol.to_string(), *price_scale, *quantity_scale));
            if let Some(made) = made {
                instruments.upsert(made);
            }
        }
        instruments
    }
}

/// The symbol that a frame is about: the text behind `"s":"`.
fn symbol_of(frame: &[u8]) -> Option<&str> {
    const MARK: &[u8] = b"\"s\":\"";
    let at = frame.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let rest = frame.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(rest.get(..end)?)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// An instrument by what a recording shows of it.
fn made_up(symbol: &str, price_scale: u8, quantity_scale: u8) -> Option<Instrument> {
    let quote = QUOTES.iter().find(|quote| symbol.len() > quote.len() && symbol.ends_with(**quote))?;
    let base = symbol.strip_suffix(quote)?;
    let step = Quantity::new(1, quantity_scale).ok()?;
    let lot = LotRule { min: step, max: Quantity::from_int(9_000_000), step };
    Some(Instrument {
        id: InstrumentId::default(),
        symbol: Symbol::new(symbol).ok()?,
        base: Asset::new(base).ok()?,
        quote: Asset::new(quote).ok()?,
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: Price::new(1, price_scale).ok()?,
        min_price: Price::ZERO,
        max_price: Price::ZERO,
        lot,
        market_lot: lot,
        min_notional: Notional::from_int(5),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    fn write(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    const TOP: &str = r#"1723161254087891268 {"stream":"xyzusdt@bookTicker","data":{"u":9,"s":"XYZUSDT","b":"0.01230000","B":"3.50000000","a":"0.01240000","A":"1.00000000"}}"#;

    #[test]
    fn what_is_no_recording_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (path, wanted) in [
            (dir.path().join("none"), "No such file"),
            (write(&dir, "empty", b""), "it is empty; record or fetch it again"),
            (write(&dir, "short", b"\x1f"), "it is not gzip"),
            (write(&dir, "text", b"1 {}\n"), "it is not gzip; compress it"),
            (dir.path().to_owned(), "not a regular file"),
            (write(&dir, "nothing", &gzip("")), "the recording is empty"),
            (write(&dir, "nonsense", &gzip("hello\nworld\n")), "this is not a recording: no space in `hello`"),
            (write(&dir, "other", &gzip("1 {\"result\":null,\"id\":1}\n")), "no line of it is market data"),
            (write(&dir, "cut", &gzip(&format!("{TOP}\n"))[..40]), "truncated"),
            (write(&dir, "broken", &gzip(&format!("{TOP}\n5 {{\"s\":\"XYZUSDT\",\n"))), "line 2"),
        ] {
            let message = scan(&path).err().unwrap_or_else(|| panic!("{wanted}")).to_string();
            assert!(
                message.contains(wanted) || (wanted == "truncated" && message.contains("cut-off")),
                "{message}\n  not {wanted}"
            );
        }
    }

    #[test]
    fn time_that_runs_backwards_is_refused_with_its_line_and_small_disorder_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (back_s, is_refused) in [(4, false), (6, true)] {
            let second = TOP.replace("1723161254", &(1_723_161_254 - back_s).to_string());
            let path = write(&dir, "back", &gzip(&format!("{TOP}\n{second}\n")));
            let scanned = scan(&path);
            assert_eq!(scanned.is_err(), is_refused, "{back_s} s back");
            if let Err(error) = scanned {
                let message = error.to_string();
                assert!(message.contains("line 2 ") && message.contains("6.0 s before"), "{message}");
            }
        }
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no mkfifo");
            return;
        }
        let message = scan(&path).unwrap_err().to_string();
        assert!(message.contains("it is not a regular file"), "{message}");
    }

    #[test]
    fn instruments_come_from_the_recording() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(
            &dir,
            "good",
            &gzip(&format!(
                "{TOP}\n{}\n",
                TOP.replace("XYZ", "BTC").replace("0.0123", "61000.13").replace("0.0124", "61000.14")
            )),
        );
        let contents = scan(&path).unwrap();
        let (made, known) =
            (contents.instruments.by_symbol("XYZUSDT").unwrap(), contents.instruments.by_symbol("BTCUSDT").unwrap());
        assert_eq!((made.base.as_str(), made.quote.as_str()), ("XYZ", "USDT"));
        assert_eq!((made.tick_size, made.lot.step), (Price::new(1, 4).unwrap(), Quantity::new(1, 1).unwrap()));
        assert_eq!((known.tick_size, contents.frames, contents.has_snapshot), (Price::new(1, 2).unwrap(), 2, false));
        let mut heard = 0;
        play(&path, &contents.instruments, |_| {
            heard += 1;
            true
        })
        .unwrap();
        assert_eq!(heard, 2);
    }

    #[test]
    fn every_line_of_the_recorded_sessions_is_an_event() {
        for (name, symbol) in [("btc", "BTCUSDT"), ("eth", "ETHUSDT")] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ws");
            let path = folder.join(format!("binance-spot-{name}usdt-20240808.ws.gz"));
            if !path.exists() {
                eprintln!("SKIPPED: no recording {}", path.display());
                continue;
            }
            let contents = scan(&path).unwrap();
            assert!(contents.instruments.by_symbol(symbol).is_some() && contents.instruments.len() == 1);
            assert!(contents.has_snapshot && contents.length > Duration::from_secs(300));
            let mut heard = 0;
            play(&path, &contents.instruments, |_| {
                heard += 1;
                true
            })
            .unwrap();
            assert_eq!(heard, contents.frames);
        }
    }
}
