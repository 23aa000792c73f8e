//! A made-up market for tests without recordings: the synthetic market's public events as a feed; and common settings.

use keel_backtest::ReplayConfig;
use keel_engine::EngineConfig;
use keel_model::{
    Asset, ExitPolicy, InstrumentId, Instruments, MarketEvent, Notional, Timestamp, TopOfBook, Trade, TradeId,
};
use keel_sim::{LatencyModel, MatchingEngine, SimConfig, SimEvent, SyntheticMarket, default_specs};
use keel_strategy::{Params, Strategy, build};
use std::time::Duration;

pub const BTC: InstrumentId = InstrumentId(0);

pub fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    for spec in default_specs() {
        instruments.upsert(spec.instrument);
    }
    instruments
}

pub fn asset(text: &str) -> Asset {
    Asset::new(text).unwrap()
}

pub fn config(instruments: Instruments) -> ReplayConfig {
    let mut engine = EngineConfig { instruments, ..EngineConfig::default() };
    engine.execution.instance = 7;
    let latency = LatencyModel {
        order_in: Duration::from_millis(2),
        order_in_jitter: Duration::from_millis(1),
        report_out: Duration::from_millis(2),
        report_out_jitter: Duration::from_millis(1),
    };
    ReplayConfig {
        engine,
        sim: SimConfig { seed: 42, latency, publish_market_data: false, ..SimConfig::default() },
        balances: keel_sim::demo_balances(),
        exit_policy: ExitPolicy::CancelAll,
        ..ReplayConfig::default()
    }
}

pub fn strategies(names: &[&str]) -> Vec<Box<dyn Strategy>> {
    names.iter().map(|name| build(name, BTC, &Params::new()).unwrap()).collect()
}

/// Top of book and trades of the synthetic BTCUSDT and ETHUSDT over some seconds.
pub fn made_up(seed: u64, seconds: u64) -> Vec<MarketEvent> {
    let start = 1_760_000_000_000u64;
    let mut engine = MatchingEngine::new(SimConfig { seed, ..SimConfig::default() });
    let mut market = SyntheticMarket::start(&mut engine, &default_specs(), Timestamp::from_ms(start)).unwrap();
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for step in 1..=seconds * 100 {
        market.step(&mut engine, Timestamp::from_ms(start + step * 10));
        engine.drain_events(&mut events);
        for event in events.drain(..) {
            match event {
                SimEvent::Top(top) => out.push(MarketEvent::TopOfBook(TopOfBook {
                    instrument: top.instrument,
                    ts_event: top.ts,
                    ts_recv: top.ts,
                    update_id: top.update_id,
                    bid: top.bid,
                    ask: top.ask,
                })),
                SimEvent::Trade(trade) => out.push(MarketEvent::Trade(Trade {
                    instrument: trade.instrument,
                    ts_event: trade.ts,
                    ts_recv: trade.ts,
                    trade_id: TradeId::new(&trade.trade_id.to_string()).unwrap(),
                    price: trade.price,
                    quantity: trade.quantity,
                    aggressor: trade.aggressor,
                })),
                _ => {}
            }
        }
    }
    out
}

pub fn total(balances: &[keel_model::Balance], name: &str) -> Notional {
    let found = balances.iter().find(|balance| balance.asset == asset(name)).unwrap();
    found.total().unwrap()
}
