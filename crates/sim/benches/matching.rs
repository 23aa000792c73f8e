//! Speed of the matching engine: orders a second, one core, events drained.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keel_model::{InstrumentId, Notional, OrderType, Price, Quantity, Side, Timestamp};
use keel_sim::{
    AccountId, CancelRequest, ClientId, MatchingEngine, OrderRef, OrderRequest, SimConfig, SimEvent, SyntheticMarket,
    default_specs,
};

const ID: InstrumentId = InstrumentId(0);

fn engine(accounts: usize, publish_market_data: bool) -> (MatchingEngine, Vec<AccountId>) {
    let mut engine = MatchingEngine::new(SimConfig { publish_market_data, ..SimConfig::default() });
    let mut instrument = default_specs().swap_remove(0).instrument;
    (instrument.max_open_orders, instrument.max_open_algo_orders) = (0, 0);
    let funds = [(instrument.base, Notional::from_int(1 << 40)), (instrument.quote, Notional::from_int(1 << 50))];
    engine.add_instrument(instrument).expect("a sound instrument");
    let accounts = (0..accounts).map(|_| engine.add_account(&funds).expect("sound funds")).collect();
    (engine, accounts)
}

fn limit(side: Side, cents: i64, number: u64) -> OrderRequest {
    let price = Price::new(6_000_000 + cents, 2).expect("a price");
    let mut text = [b'c'; 20];
    let mut rest = number;
    for byte in text.iter_mut().skip(1) {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let client = ClientId::new(std::str::from_utf8(&text).expect("digits")).expect("short");
    OrderRequest::limit(ID, side, Quantity::new(100, 5).expect("a quantity"), price).with_client_id(client)
}

/// Rests and cancels beside 10,000 open orders of the same account.
fn rest_and_cancel(c: &mut Criterion) {
    let (mut engine, accounts) = engine(1, true);
    let mut events: Vec<SimEvent> = Vec::new();
    let mut number = 0u64;
    for _ in 0..10_000 {
        number += 1;
        let request = limit(Side::Buy, -(number as i64 % 500) - 1, number);
        engine.submit(Timestamp::from_ms(number), accounts[0], &request).expect("rests");
    }
    let mut group = c.benchmark_group("matching");
    group.throughput(Throughput::Elements(2));
    group.bench_function("rest and cancel, 10k open", |b| {
        b.iter(|| {
            number += 1;
            let now = Timestamp::from_ms(number);
            let request = limit(Side::Buy, -(number as i64 % 500) - 1, number);
            let order = engine.submit(now, accounts[0], &request).expect("rests").order_id;
            engine.cancel(now, accounts[0], &CancelRequest::new(ID, OrderRef::Id(order))).expect("cancels");
            events.clear();
            engine.drain_events(&mut events);
        });
    });
    group.finish();
}

/// A maker and a taker that fills it: two orders, one trade, four reports.
fn trade(c: &mut Criterion) {
    let mut group = c.benchmark_group("matching");
    group.throughput(Throughput::Elements(2));
    for publish in [true, false] {
        let (mut engine, accounts) = engine(2, publish);
        let mut events: Vec<SimEvent> = Vec::new();
        let mut number = 0u64;
        let name = if publish { "maker and taker" } else { "maker and taker, no market data" };
        group.bench_function(name, |b| {
            b.iter(|| {
                number += 2;
                let now = Timestamp::from_us(number);
                engine.submit(now, accounts[0], &limit(Side::Sell, 0, number)).expect("rests");
                engine.submit(now, accounts[1], &limit(Side::Buy, 0, number + 1)).expect("fills");
                events.clear();
                engine.drain_events(&mut events);
            });
        });
    }
    group.finish();
}

/// One simulated second of the default synthetic market, two symbols.
fn synthetic_second(c: &mut Criterion) {
    let mut engine = MatchingEngine::new(SimConfig::default());
    let mut ms = 1_760_000_000_000;
    let mut market =
        SyntheticMarket::start(&mut engine, &default_specs(), Timestamp::from_ms(ms)).expect("sound instruments");
    let account = engine.add_account(&keel_sim::demo_balances()).expect("sound funds");
    let mut quote = limit(Side::Buy, -5_000_000, 0);
    quote.order_type = OrderType::LimitMaker;
    engine.submit(Timestamp::from_ms(ms), account, &quote).ok();
    let mut events: Vec<SimEvent> = Vec::new();
    c.bench_function("synthetic market, one second", |b| {
        b.iter(|| {
            ms += 1_000;
            market.step(&mut engine, Timestamp::from_ms(ms));
            events.clear();
            engine.drain_events(&mut events);
        });
    });
}

criterion_group!(benches, rest_and_cancel, trade, synthetic_second);
criterion_main!(benches);
