//! What travels beside orders and quotes: the words of orders, funding rates and mark prices.

use super::*;
use keel_model::{FundingRate, MarkPrice};
use keel_strategy::Tag;

#[derive(Debug, Default)]
struct Listener {
    told: Arc<Mutex<Vec<String>>>,
}

impl Strategy for Listener {
    fn name(&self) -> &str {
        "listener"
    }
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::bars(BTC, std::time::Duration::from_secs(60))]
    }
    fn on_funding(&mut self, ctx: &mut Context<'_>, funding: &FundingRate) {
        self.told.lock().unwrap().push(format!("funding {}", funding.rate));
        let id = ctx.submit_tagged(buy("0.1", "59000"), Tag::new("funding-pays"));
        self.told.lock().unwrap().push(format!("asked for {}", id.sequence));
    }
    fn on_mark_price(&mut self, _ctx: &mut Context<'_>, mark: &MarkPrice) {
        self.told.lock().unwrap().push(format!("mark {}", mark.price));
    }
}

#[test]
fn funding_and_mark_prices_reach_whoever_subscribed_to_the_instrument_and_orders_keep_their_word() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut engine = Engine::new(config(), vec![Box::new(Listener { told: Arc::clone(&told) })]).unwrap();
    let mut out = Outbox::default();
    let funding = |instrument, ms| {
        let ts = Timestamp::from_ms(ms);
        let rate = quantity("0.0003");
        Event::Market(MarketEvent::FundingRate(FundingRate {
            instrument,
            ts_event: ts,
            ts_recv: ts,
            rate,
            ts_next: ts,
        }))
    };
    engine.process(&funding(BTC, 1_000), &mut out);
    assert!(told.lock().unwrap().is_empty(), "not before the start");
    engine.phase = Phase::Running;
    engine.process(&funding(InstrumentId(1), 2_000), &mut out);
    engine.process(&funding(BTC, 3_000), &mut out);
    let ts = Timestamp::from_ms(4_000);
    let mark = MarkPrice { instrument: BTC, ts_event: ts, ts_recv: ts, price: price("60001.5") };
    engine.process(&Event::Market(MarketEvent::MarkPrice(mark)), &mut out);
    assert_eq!(*told.lock().unwrap(), ["funding 0.0003", "asked for 1", "mark 60001.5"]);
    let id = ClientOrderId { instance: 7, epoch: 3, sequence: 1 };
    assert_eq!(engine.tag(id).map(Tag::as_str), Some("funding-pays"));
    assert_eq!(engine.tag(ClientOrderId { sequence: 2, ..id }), None);
}
