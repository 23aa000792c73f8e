//! Tests of the market decoder: both paths against each other, against recordings and against rubbish.

use super::*;
use crate::binance::spot::testing::{instruments, recording};
use proptest::prelude::*;

const TS: Timestamp = Timestamp::from_ns(42);

const TOP: &str =
    r#"{"u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}"#;
const TRADE: &str = r#"{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}"#;
const DELTA: &str = r#"{"e":"depthUpdate","E":1672515782136,"s":"ETHUSDT","U":157,"u":160,"b":[["0.0024","10"],["0.00000002","0.00000000"]],"a":[["0.0026","100"]]}"#;

fn decoder() -> MarketDecoder {
    MarketDecoder::new(SymbolTable::new(&instruments(&["BTCUSDT", "ETHUSDT"])))
}

fn combined(stream: &str, data: &str) -> String {
    format!(r#"{{"stream":"{stream}","data":{data}}}"#)
}

fn market(frame: &str) -> MarketEvent {
    match decoder().decode(frame.as_bytes(), TS) {
        Ok(Decoded::Market(event)) => event.clone(),
        other => panic!("{frame}: {other:?}"),
    }
}

/// What the tolerant path alone makes of a frame.
fn tolerantly(frame: &[u8]) -> Result<Option<MarketEvent>, DecodeError> {
    let mut decoder = decoder();
    match tolerant::decode(frame, TS, &decoder.symbols, &mut decoder.slots)? {
        tolerant::Found::Event(hit) => Ok(Some(decoder.slot(hit).clone())),
        _ => Ok(None),
    }
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

#[test]
fn book_ticker_raw_and_combined() {
    for frame in [TOP.to_owned(), combined("btcusdt@bookTicker", TOP)] {
        let mut decoder = decoder();
        let Ok(Decoded::Market(MarketEvent::TopOfBook(top))) = decoder.decode(frame.as_bytes(), TS) else {
            panic!("{frame}")
        };
        assert_eq!((top.instrument, top.update_id, top.ts_recv), (InstrumentId(0), 400_900_217, TS));
        assert_eq!(top.ts_event, Timestamp::ZERO, "spot sends no time");
        assert_eq!((top.bid.price, top.bid.quantity), (price("25.3519"), quantity("31.21")));
        assert_eq!((top.ask.price, top.ask.quantity), (price("25.3652"), quantity("40.66")));
        assert_eq!(decoder.path_counts(), (1, 0));
    }
}

#[test]
fn trades_name_the_taker_and_may_name_the_orders() {
    let with_orders = TRADE.replace(r#""T":"#, r#""b":88,"a":50,"T":"#);
    for (frame, side) in [
        (TRADE.to_owned(), Side::Sell),
        (with_orders, Side::Sell),
        (combined("btcusdt@trade", &TRADE.replace("\"m\":true", "\"m\":false")), Side::Buy),
    ] {
        let mut decoder = decoder();
        let Ok(Decoded::Market(MarketEvent::Trade(trade))) = decoder.decode(frame.as_bytes(), TS) else {
            panic!("{frame}")
        };
        assert_eq!((trade.trade_id.as_str(), trade.aggressor), ("12345", side));
        assert_eq!((trade.price, trade.quantity), (price("0.001"), quantity("100")));
        assert_eq!(trade.ts_event, Timestamp::from_ms(1_672_515_782_136));
        assert_eq!(decoder.path_counts(), (1, 0));
    }
}

#[test]
fn depth_updates_reuse_their_buffers() {
    let mut decoder = decoder();
    for _ in 0..2 {
        let Ok(Decoded::Market(MarketEvent::BookDelta(delta))) = decoder.decode(DELTA.as_bytes(), TS) else { panic!() };
        assert_eq!((delta.instrument, delta.first_update_id, delta.last_update_id), (InstrumentId(1), 157, 160));
        assert_eq!((delta.bids.len(), delta.asks.len(), delta.previous_update_id), (2, 1, 0));
        assert_eq!((delta.bids[1].price, delta.bids[1].quantity), (price("0.00000002"), Quantity::ZERO));
        assert!(delta.bids.capacity() < 16);
    }
    assert_eq!(decoder.path_counts(), (2, 0));
    let empty = r#"{"e":"depthUpdate","E":1,"s":"ETHUSDT","U":1,"u":1,"b":[],"a":[]}"#;
    let Ok(Decoded::Market(MarketEvent::BookDelta(delta))) = decoder.decode(empty.as_bytes(), TS) else { panic!() };
    assert!(delta.bids.is_empty() && delta.asks.is_empty());
}

#[test]
fn v19_any_field_order_new_fields_and_futures_frames_are_read() {
    let shuffled = r#" { "data" : {"A":"40.66000000","a":"25.36520000","new":{"x":[1,{"y":null}]},"B":"31.21000000","b":"25.35190000","s":"BTC\u0055SDT","u":400900217} , "stream":"x" } "#;
    assert_eq!(market(shuffled), market(TOP));
    let futures = r#"{"e":"bookTicker","u":7,"E":5,"T":4,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4","st":1}"#;
    let MarketEvent::TopOfBook(top) = market(futures) else { panic!() };
    assert_eq!((top.ts_event, top.update_id), (Timestamp::from_ms(4), 7));
    let futures = DELTA.replace(r#""b":["#, r#""pu":156,"b":["#);
    let MarketEvent::BookDelta(delta) = market(&futures) else { panic!() };
    assert_eq!(delta.previous_update_id, 156);
    let microseconds = TRADE.replace("1672515782136", "1672515782136789");
    let MarketEvent::Trade(trade) = market(&microseconds) else { panic!() };
    assert_eq!(trade.ts_event, Timestamp::from_us(1_672_515_782_136_789));
}

#[test]
fn partial_books_and_snapshots_take_their_symbol_from_the_stream_or_the_caller() {
    let book = r#"{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"],["0.003","1"]]}"#;
    let MarketEvent::BookSnapshot(partial) = market(&combined("ethusdt@depth5", book)) else { panic!() };
    assert_eq!((partial.instrument, partial.last_update_id, partial.asks.len()), (InstrumentId(1), 160, 2));
    let mut decoder = decoder();
    assert_eq!(decoder.decode(book.as_bytes(), TS), Ok(Decoded::Unknown(UnknownFrame::Shape)), "two instruments");
    let MarketEvent::BookSnapshot(fetched) = decoder.decode_snapshot(book.as_bytes(), InstrumentId(1), TS).unwrap()
    else {
        panic!()
    };
    assert_eq!(fetched, &partial);
    let spaced = book.replace(',', " ,\n");
    assert_eq!(
        decoder.decode_snapshot(spaced.as_bytes(), InstrumentId(1), TS).unwrap(),
        &MarketEvent::BookSnapshot(partial)
    );
    let mut single = MarketDecoder::new(SymbolTable::new(&instruments(&["ETHUSDT"])));
    assert!(matches!(single.decode(book.as_bytes(), TS), Ok(Decoded::Market(MarketEvent::BookSnapshot(_)))));
}

#[test]
fn control_frames_are_told_apart() {
    let mut decoder = decoder();
    let mut check = |frame: &str, expected: Decoded<'_>| {
        assert_eq!(decoder.decode(frame.as_bytes(), TS), Ok(expected), "{frame}");
    };
    check(r#"{"result":null,"id":3}"#, Decoded::Reply { id: 3, error: None });
    check(r#"{"error":{"code":2,"msg":"Invalid request"},"id":4}"#, Decoded::Reply { id: 4, error: Some(2) });
    check(r#"{"e":"serverShutdown","E":1770123456789}"#, Decoded::ServerShutdown);
    check(r#"{"stream":"x","data":{"e":"serverShutdown","E":1}}"#, Decoded::ServerShutdown);
    check(r#"{"event":{"e":"serverShutdown","E":1}}"#, Decoded::ServerShutdown);
}

#[test]
fn v19_what_is_unknown_is_skipped_and_said() {
    let mut decoder = decoder();
    let event = |name| Decoded::Unknown(UnknownFrame::Event(InlineStr::truncated(name)));
    let symbol = |name| Decoded::Unknown(UnknownFrame::Symbol(Symbol::truncated(name)));
    let shape = || Decoded::Unknown(UnknownFrame::Shape);
    let mut check = |frame: String, expected: Decoded<'_>| {
        assert_eq!(decoder.decode(frame.as_bytes(), TS), Ok(expected), "{frame}");
    };
    check(r#"{"e":"aggTrade","E":1,"a":5,"s":"BTCUSDT","p":"1","q":"1"}"#.into(), event("aggTrade"));
    check(r#"{"e":"forceOrder","o":{"s":"BTCUSDT"}}"#.into(), event("forceOrder"));
    check(TOP.replace("BTC", "XYZ"), symbol("XYZUSDT"));
    check(TRADE.replace("BTC", "btc"), symbol("btcUSDT"));
    check("{}".into(), shape());
    check(r#"{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}"#.into(), shape());
    check(r#"{"a":1,"b":2}"#.into(), shape());
}

#[test]
fn n15_what_cannot_be_read_is_a_typed_error_and_never_a_panic() {
    let nested = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let deep = format!("{{\"b\":{nested}}}");
    // A field that nobody reads is skipped without recursion, however deep it is.
    let skipped = TOP.replace("{\"u\"", &format!("{{\"x\":{nested},\"u\""));
    assert_eq!(market(&skipped), market(TOP));
    let many = format!(
        r#"{{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[{}["1","1"]],"a":[]}}"#,
        r#"["1","1"],"#.repeat(LEVELS_MAX)
    );
    let twice = TOP.replace("{\"u\"", "{\"u\":1,\"u\"");
    let big = vec![b' '; FRAME_BYTES_MAX + 1];
    let malformed = |frame: &[u8]| matches!(decoder().decode(frame, TS), Err(DecodeError::Malformed { .. }));
    for frame in
        ["", "x", "[]", "null", "\"text\"", "{\"u\":1", &deep, &twice, &format!("{TOP}{TOP}"), &format!("{TOP}}}")]
    {
        assert!(malformed(frame.as_bytes()), "{}", &frame[..frame.len().min(60)]);
    }
    assert_eq!(decoder().decode(&big, TS), Err(DecodeError::TooLarge { bytes: big.len(), max: FRAME_BYTES_MAX }));
    assert_eq!(decoder().decode(b"{\"s\":\"\xff\xfe\"}", TS), Err(DecodeError::NotUtf8 { at: 6 }));
    assert_eq!(decoder().decode(many.as_bytes(), TS), Err(DecodeError::TooManyLevels));
    let field = |frame: String, event, field| {
        assert_eq!(decoder().decode(frame.as_bytes(), TS), Err(DecodeError::Field { event, field }), "{frame}");
    };
    field(TRADE.replace(r#""m":true,"#, ""), "trade", "m");
    field(TRADE.replace(r#""t":12345"#, r#""t":"12345""#), "trade", "t");
    field(TRADE.replace(r#""p":"0.001""#, r#""p":0.001"#), "trade", "p");
    field(DELTA.replace(r#""a":[["0.0026","100"]]"#, r#""a":[1,2]"#), "depthUpdate", "a");
    for (from, to) in
        [("0.001", "NaN"), ("0.001", "1e3"), ("0.001", ""), ("0.001", "99999999999999999999999"), ("0.001", "0x1")]
    {
        let frame = TRADE.replace(&format!("\"{from}\""), &format!("\"{to}\""));
        let error = decoder().decode(frame.as_bytes(), TS).map(|_| ()).unwrap_err();
        assert!(matches!(error, DecodeError::Number { event: "trade", field: "p", .. }), "{to}: {error}");
    }
}

fn check_recording(name: &str, symbol: &str, frames_expected: usize, kinds_expected: Option<[usize; 4]>) {
    let Some(frames) = recording(name) else { return };
    assert_eq!(frames.len(), frames_expected);
    let mut decoder = MarketDecoder::new(SymbolTable::new(&instruments(&[symbol])));
    let mut twin = MarketDecoder::new(SymbolTable::new(&instruments(&[symbol])));
    let mut kinds = [0usize; 4];
    for (at, (time, frame)) in frames.iter().enumerate() {
        let ts_recv = Timestamp::from_ns(*time);
        let event = match decoder.decode(frame, ts_recv) {
            Ok(Decoded::Market(event)) => event,
            other => panic!("frame {at}: {other:?}"),
        };
        assert_eq!((event.instrument(), event.ts_recv()), (InstrumentId(0), ts_recv));
        kinds[match event {
            MarketEvent::TopOfBook(_) => 0,
            MarketEvent::Trade(_) => 1,
            MarketEvent::BookDelta(_) => 2,
            _ => 3,
        }] += 1;
        if at % 5 == 0 {
            let tolerant::Found::Event(hit) = tolerant::decode(frame, ts_recv, &twin.symbols, &mut twin.slots).unwrap()
            else {
                panic!("frame {at}")
            };
            assert_eq!(event, twin.slot(hit), "the two paths disagree on frame {at}");
        }
    }
    if let Some(expected) = kinds_expected {
        assert_eq!(kinds, expected);
        assert!(decoder.path_counts().1 <= 1, "spot frames take the fast path: {:?}", decoder.path_counts());
    }
}

#[test]
fn every_frame_of_the_btc_recording_is_read_and_both_paths_agree() {
    check_recording("binance-spot-btcusdt-20240808.ws.gz", "BTCUSDT", 41_249, Some([28_040, 9_757, 3_451, 1]));
}

#[test]
fn every_frame_of_the_eth_recording_is_read_and_both_paths_agree() {
    check_recording("binance-spot-ethusdt-20240808.ws.gz", "ETHUSDT", 33_618, None);
}

#[test]
fn every_frame_of_the_futures_recording_is_read() {
    check_recording("binance-usdm-btcusdt-20240808.ws.gz", "BTCUSDT", 93_954, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn n15_arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ignored = decoder().decode(&bytes, TS).is_ok();
        let _ignored = decoder().decode_snapshot(&bytes, InstrumentId(0), TS).is_ok();
    }

    /// A frame with some bytes changed, removed or doubled: no panic, and what the fast path accepts the tolerant path
    /// accepts with the same result.
    #[test]
    fn n15_mutated_frames_never_panic_and_the_fast_path_never_guesses(
        which in 0usize..6,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 0..5),
    ) {
        let source = [TOP.to_owned(), TRADE.to_owned(), DELTA.to_owned(), combined("btcusdt@bookTicker", TOP),
            combined("btcusdt@trade", TRADE), combined("ethusdt@depth@100ms", DELTA)];
        let mut frame = source[which].clone().into_bytes();
        for (at, kind, byte) in edits {
            if frame.is_empty() { break }
            let at = at.index(frame.len());
            match kind {
                0 => frame[at] = byte,
                1 => { frame.remove(at); }
                2 => frame.insert(at, byte),
                _ => frame[at] = b"0123456789.\"[]{},:-eE\\ntrue"[usize::from(byte) % 27],
            }
        }
        let mut decoder = decoder();
        let fast = fast::decode(&frame, TS, &decoder.symbols, &mut decoder.slots);
        if let Some(hit) = fast {
            let event = decoder.slot(hit).clone();
            prop_assert_eq!(tolerantly(&frame), Ok(Some(event)), "{}", String::from_utf8_lossy(&frame));
        }
        let _ignored = decoder.decode(&frame, TS).is_ok();
    }

    #[test]
    fn a_depth_update_of_any_levels_round_trips(
        bids in prop::collection::vec((0u64..10_000_000_000, 0u64..10_000_000_000), 0..50),
        asks in prop::collection::vec((0u64..10_000_000_000, 0u64..10_000_000_000), 0..50),
        places in 0usize..9,
    ) {
        let text = |value: u64| {
            let price = Price::new(value as i64, places as u8).unwrap();
            price.to_string()
        };
        let side = |levels: &[(u64, u64)]| {
            let list: Vec<String> =
                levels.iter().map(|(p, q)| format!(r#"["{}","{}"]"#, text(*p), text(*q))).collect();
            format!("[{}]", list.join(","))
        };
        let frame = format!(
            r#"{{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":{},"a":{}}}"#, side(&bids), side(&asks)
        );
        let MarketEvent::BookDelta(delta) = market(&frame) else { panic!() };
        for (levels, source) in [(&delta.bids, &bids), (&delta.asks, &asks)] {
            let back: Vec<(String, String)> =
                levels.iter().map(|level| (level.price.to_string(), level.quantity.to_string())).collect();
            let expected: Vec<(String, String)> = source.iter().map(|(p, q)| (text(*p), text(*q))).collect();
            prop_assert_eq!(back, expected);
        }
    }
}
