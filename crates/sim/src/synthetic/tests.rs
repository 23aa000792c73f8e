//! The synthetic market: what the specification of the embedded venue asks for, over ten simulated minutes.

use super::*;
use crate::config::SimConfig;
use crate::engine::KlineSpan;
use crate::event::SimEvent;

const T0: u64 = 1_760_000_030_000;

fn market(seed: u64) -> (MatchingEngine, SyntheticMarket) {
    let mut engine = MatchingEngine::new(SimConfig { seed, ..SimConfig::default() });
    let market = SyntheticMarket::start(&mut engine, &default_specs(), Timestamp::from_ms(T0)).unwrap();
    (engine, market)
}

fn run(seed: u64, seconds: u64, mut each: impl FnMut(&MatchingEngine, Timestamp)) -> Vec<SimEvent> {
    let (mut engine, mut market) = market(seed);
    let mut events = Vec::new();
    for step in 1..=seconds * 20 {
        let now = Timestamp::from_ms(T0 + step * 50);
        market.step(&mut engine, now);
        engine.drain_events(&mut events);
        each(&engine, now);
    }
    events
}

#[test]
fn starts_at_the_stated_prices_with_a_history_of_one_thousand_minutes() {
    let (engine, _) = market(1);
    for (id, start) in [(0, 60_000), (1, 3_000)] {
        let id = InstrumentId(id);
        assert_eq!(engine.last_price(id), Some(Price::from_int(start)));
        let klines = engine.klines(id, KlineSpan::Seconds(60), None, None, 2_000).unwrap();
        let with_trades: Vec<_> = klines.iter().filter(|kline| kline.trades > 0).collect();
        assert_eq!(with_trades.len(), 1_000);
        assert_eq!(with_trades[999].close, Price::from_int(start));
        for pair in with_trades.windows(2) {
            assert_eq!(pair[0].ts_close, pair[1].ts_open);
            assert_eq!(pair[0].close, pair[1].open);
            assert_eq!(pair[0].last_trade_id.unwrap() + 1, pair[1].first_trade_id.unwrap());
            assert!(pair[0].low <= pair[0].open.min(pair[0].close) && pair[0].high >= pair[0].open.max(pair[0].close));
        }
        assert!(engine.ticker_24h(id).unwrap().volume.is_positive());
    }
}

#[test]
fn always_has_depth_a_spread_of_three_ticks_and_two_trades_a_second() {
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    let three_ticks = Price::new(3, 2).unwrap();
    let events = run(7, 120, |engine, _| {
        for id in [InstrumentId(0), InstrumentId(1)] {
            engine.depth(id, 100, &mut bids, &mut asks).unwrap();
            assert!(bids.len() >= 20 && asks.len() >= 20, "{} {}", bids.len(), asks.len());
            assert!(bids.len() <= 60 && asks.len() <= 60, "{} {}", bids.len(), asks.len());
            assert!(asks[0].price.checked_sub(bids[0].price).unwrap() >= three_ticks);
        }
    });
    for id in [InstrumentId(0), InstrumentId(1)] {
        let mut seconds = [0u32; 120];
        for event in &events {
            if let SimEvent::Trade(trade) = event
                && trade.instrument == id
            {
                seconds[((trade.ts.as_ms() - T0) / 1000).min(119) as usize] += 1;
            }
        }
        assert!(seconds.iter().all(|count| *count >= 2), "{seconds:?}");
    }
}

#[test]
fn moves_enough_within_a_minute_for_averages_to_cross() {
    let mut total = 0;
    for seed in 0..10 {
        let mut closes = Vec::new();
        run(seed, 60, |engine, now| {
            if now.as_ms() % 1000 == 0 {
                closes.push(engine.last_price(InstrumentId(0)).unwrap().to_f64());
            }
        });
        let (mut fast, mut slow, mut crosses, mut above) = (closes[0], closes[0], 0, false);
        for close in closes {
            fast += (close - fast) * 2.0 / 6.0;
            slow += (close - slow) * 2.0 / 21.0;
            if (fast > slow) != above {
                above = !above;
                crosses += 1;
            }
        }
        assert!(crosses >= 1, "seed {seed}: {crosses}");
        total += crosses;
    }
    assert!(total >= 25, "{total} crosses in ten minutes");
}

#[test]
fn the_same_seed_gives_the_same_market_and_another_seed_another() {
    let (a, b, c) = (run(3, 20, |_, _| {}), run(3, 20, |_, _| {}), run(4, 20, |_, _| {}));
    assert!(a.len() > 1_000);
    assert_eq!(a, b);
    assert_ne!(a, c);
}

#[test]
fn a_quote_inside_the_spread_is_filled_by_the_house_takers() {
    let (mut engine, mut market) = market(11);
    let account = engine.add_account(&demo_balances()).unwrap();
    let id = InstrumentId(0);
    for step in 1..=1_200u64 {
        let now = Timestamp::from_ms(T0 + step * 50);
        market.step(&mut engine, now);
        if step % 4 == 0 {
            engine.cancel_all(now, account, id, &mut Vec::new()).ok();
            let top = engine.book_ticker(id).unwrap();
            let tick = Price::new(1, 2).unwrap();
            let bid = top.bid.price.checked_add(tick).unwrap();
            let size = Quantity::new(100, 5).unwrap();
            let mut request = OrderRequest::limit(id, Side::Buy, size, bid);
            request.order_type = keel_model::OrderType::LimitMaker;
            engine.submit(now, account, &request).unwrap();
        }
    }
    let trades: Vec<_> = engine.account_trades(account, id).collect();
    assert!(trades.len() >= 5, "{}", trades.len());
    assert!(trades.iter().all(|trade| trade.is_maker));
    assert_eq!(market.refused(), 0);
}

#[test]
fn a_long_gap_is_skipped_and_the_house_is_not_kept_in_histories() {
    let (mut engine, mut market) = market(5);
    market.step(&mut engine, Timestamp::from_ms(T0 + 3_600_000));
    let mut events = Vec::new();
    engine.drain_events(&mut events);
    assert!(events.len() < 20_000);
    assert!(events.iter().all(|event| !matches!(event, SimEvent::Execution(_) | SimEvent::Balances(_))));
    assert!(engine.store.slots_in_use() < 200);
}
