//! Every rule of an instrument at its boundary.
use super::*;
use crate::OrderPurpose::Entry;

pub(crate) fn btcusdt() -> Instrument {
    let q = |text: &str| text.parse::<Quantity>().unwrap();
    let p = |text: &str| text.parse::<Price>().unwrap();
    Instrument {
        id: InstrumentId(0),
        symbol: Symbol::new("BTCUSDT").unwrap(),
        base: Asset::new("BTC").unwrap(),
        quote: Asset::new("USDT").unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: p("0.01"),
        min_price: p("0.01"),
        max_price: p("1000000.00"),
        lot: LotRule { min: q("0.00001"), max: q("9000"), step: q("0.00001") },
        market_lot: LotRule { min: q("0"), max: q("100"), step: q("0") },
        min_notional: "5".parse().unwrap(),
        min_notional_applies_to_market: true,
        max_notional: Some("9000000".parse().unwrap()),
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

fn limit(quantity: &str, price: &str) -> OrderIntent {
    OrderIntent::limit(InstrumentId(0), Side::Buy, quantity.parse().unwrap(), price.parse().unwrap(), Entry)
}

#[test]
fn boundaries_of_each_rule() {
    let instrument = btcusdt();
    let ok = |intent: &OrderIntent| instrument.check(intent, None).is_ok();
    assert!(ok(&limit("0.00010", "50000.00")));
    assert!(!ok(&limit("0.00009", "50000.00")), "value 4.5 is below 5");
    assert!(ok(&limit("0.00001", "500000.00")) && !ok(&limit("0.000005", "1000000.00")));
    assert!(ok(&limit("9000", "1000.00")) && !ok(&limit("9000.00001", "999.00")));
    assert!(!ok(&limit("0.001", "50000.001")), "off the tick");
    assert!(!ok(&limit("0.0010001", "50000.00")), "off the step");
    assert!(!ok(&limit("0.1", "1000000.01")) && !ok(&limit("-1", "50000.00")) && !ok(&limit("1", "0")));
    assert!(!ok(&limit("181", "50000.00")), "value above nine million");
}

#[test]
fn market_orders_obey_their_own_lot_rule_and_need_no_price() {
    let instrument = btcusdt();
    let market = |quantity: &str| OrderIntent::market(InstrumentId(0), Side::Sell, quantity.parse().unwrap(), Entry);
    let reference = Some("50000".parse().unwrap());
    assert!(instrument.check(&market("100"), reference).is_ok());
    assert!(matches!(instrument.check(&market("100.00001"), reference), Err(FilterViolation::QuantityBounds { .. })));
    let priced = OrderIntent { price: reference, ..market("1") };
    assert_eq!(instrument.check(&priced, None), Err(FilterViolation::PriceShape));
}

#[test]
fn what_is_not_trading_takes_no_order() {
    for status in [InstrumentStatus::CancelOnly, InstrumentStatus::Halted, InstrumentStatus::Unknown] {
        let instrument = Instrument { status, ..btcusdt() };
        assert_eq!(instrument.check(&limit("1", "50000.00"), None), Err(FilterViolation::NotTradable));
    }
}

#[test]
fn an_instrument_keeps_its_index_when_its_filters_change() {
    let mut all = Instruments::new();
    let id = all.upsert(btcusdt()).unwrap();
    let other = all.upsert(Instrument { symbol: Symbol::new("ETHUSDT").unwrap(), ..btcusdt() }).unwrap();
    assert_ne!(id, other);
    assert_eq!(all.upsert(Instrument { tick_size: Price::from_int(1), ..btcusdt() }), Some(id));
    assert_eq!((all.len(), all.get(id).unwrap().tick_size), (2, Price::from_int(1)));
}
