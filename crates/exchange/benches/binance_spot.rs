//! What the hot path costs: frames → events, orders → signed bytes. Run: `cargo bench -p keel-exchange`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keel_exchange::binance::spot::Credentials;
use keel_exchange::binance::spot::codec::decode::{Decoded, MarketDecoder};
use keel_exchange::binance::spot::codec::encode::{encode_signed_submit_into, encode_submit_into};
use keel_exchange::binance::spot::codec::user;
use keel_exchange::binance::spot::sign::Signer;
use keel_exchange::binance::spot::symbols::SymbolTable;
use keel_model::ids::Symbol;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, ClientOrderId, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, NewOrder, Notional,
    OrderIntent, OrderPurpose, Price, Side, StrategyId, Timestamp,
};
use std::hint::black_box;

const TOP: &str = r#"{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}"#;
const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;
const SHUFFLED: &str = r#"{"stream":"btcusdt@bookTicker","data":{"s":"BTCUSDT","u":50093239212,"b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}"#;

const REPORT: &str = r#"{"subscriptionId":0,"event":{"e":"executionReport","E":1499405658658,"s":"BTCUSDT","c":"k1-2-z","S":"BUY","o":"LIMIT","f":"GTC","q":"1.00000000","p":"61837.63000000","P":"0.00000000","F":"0.00000000","g":-1,"C":"","x":"TRADE","X":"PARTIALLY_FILLED","r":"NONE","i":4293153,"l":"0.40000000","z":"0.40000000","L":"61837.63000000","n":"0.00040000","N":"BTC","T":1499405658657,"t":77,"v":3,"I":8641984,"w":false,"m":true,"M":true,"O":1499405658657,"Z":"24735.05200000","Y":"24735.05200000","Q":"0.00000000","W":1499405658657,"V":"NONE"}}"#;

fn depth(levels: usize) -> String {
    let side = |from: i64, step: i64| {
        let level = |n: usize| {
            let price = Price::new((from + step * n as i64) * 1_000_000, 8).unwrap();
            format!(r#"["{price}","{}.{:08}"]"#, n % 7, 12_345_678 + n)
        };
        (0..levels).map(level).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,"b":[{}],"a":[{}]}}}}"#,
        side(6_183_763, -1),
        side(6_183_764, 1)
    )
}

fn instruments() -> Instruments {
    let mut list = Instruments::new();
    for symbol in ["ETHUSDT", "BTCUSDT"] {
        list.upsert(Instrument {
            id: InstrumentId(0),
            symbol: Symbol::new(symbol).unwrap(),
            base: Asset::truncated(symbol.trim_end_matches("USDT")),
            quote: Asset::new("USDT").unwrap(),
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            tick_size: Price::new(1, 2).unwrap(),
            min_price: Price::ZERO,
            max_price: Price::ZERO,
            lot: LotRule::default(),
            market_lot: LotRule::default(),
            min_notional: Notional::ZERO,
            min_notional_applies_to_market: false,
            max_notional: None,
            percent_price: None,
            max_open_orders: 0,
            max_open_algo_orders: 0,
        });
    }
    list
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let frames = [
        ("bookTicker", TOP.to_owned()),
        ("trade", TRADE.to_owned()),
        ("depth 20+20", depth(20)),
        ("bookTicker, unusual order", SHUFFLED.to_owned()),
    ];
    for (name, frame) in frames {
        let mut decoder = MarketDecoder::new(SymbolTable::new(&instruments()));
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let decoded = decoder.decode(black_box(frame.as_bytes()), Timestamp::from_ns(1)).unwrap();
                assert!(matches!(decoded, Decoded::Market(_)));
            });
        });
    }
    let symbols = SymbolTable::new(&instruments());
    group.throughput(Throughput::Bytes(REPORT.len() as u64));
    group.bench_function("executionReport", |b| {
        b.iter(|| user::decode(black_box(REPORT.as_bytes()), &symbols, Timestamp::from_ns(1)).unwrap());
    });
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let (price, quantity) = ("61837.63".parse().unwrap(), "0.00100000".parse().unwrap());
    let order = NewOrder {
        client_order_id: ClientOrderId { instance: 7, epoch: 12, sequence: 345_678 },
        strategy: StrategyId(0),
        ts_decided: Timestamp::ZERO,
        intent: OrderIntent::limit(InstrumentId(1), Side::Buy, quantity, price, OrderPurpose::Entry),
    };
    let mut out = Vec::with_capacity(512);
    group.bench_function("order, unsigned", |b| {
        b.iter(|| encode_submit_into(&mut out, "BTCUSDT", black_box(&order)).unwrap());
    });
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----";
    let hmac =
        Signer::new(&Credentials::hmac("key", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"));
    for (name, signer) in [("order, HMAC", hmac), ("order, Ed25519", Signer::new(&Credentials::ed25519("key", pem)))] {
        let signer = signer.unwrap();
        group.bench_function(name, |b| {
            b.iter(|| {
                let order = black_box(&order);
                encode_signed_submit_into(&mut out, &signer, "BTCUSDT", order, 5_000, 1_723_161_255_343).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
