//! Each control at its boundary, and closed when what it needs is missing.

use super::*;
use crate::denied::Control;
use crate::limits::InstrumentLimits;
use keel_model::{
    Balance, CancelOrder, ClientOrderId, Fill, Instrument, InstrumentStatus, Liquidity, OrderIntent, OrderPurpose,
    OrderType, TradeId,
};

mod edges;
mod guards;
mod properties;

const BTC: InstrumentId = InstrumentId(0);
const ETH: InstrumentId = InstrumentId(1);
const ETHBTC: InstrumentId = InstrumentId(2);
const PERP: InstrumentId = InstrumentId(3);

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn money(text: &str) -> Notional {
    text.parse().unwrap()
}

fn asset(text: &str) -> Asset {
    Asset::new(text).unwrap()
}

fn instrument(symbol: &str, base: &str, quote: &str, kind: InstrumentKind) -> Instrument {
    let lot = keel_model::instrument::LotRule {
        min: quantity("0.00001000"),
        max: quantity("9000.00000000"),
        step: quantity("0.00001000"),
    };
    Instrument {
        id: InstrumentId(0),
        symbol: keel_model::InlineStr::new(symbol).unwrap(),
        base: asset(base),
        quote: asset(quote),
        kind,
        status: InstrumentStatus::Trading,
        tick_size: price("0.01000000"),
        min_price: price("0.01000000"),
        max_price: price("1000000.00000000"),
        lot,
        market_lot: keel_model::instrument::LotRule::default(),
        min_notional: money("5.00000000"),
        min_notional_applies_to_market: true,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 5,
    }
}

fn instruments() -> Instruments {
    let mut all = Instruments::new();
    all.upsert(instrument("BTCUSDT", "BTC", "USDT", InstrumentKind::Spot)).unwrap();
    all.upsert(instrument("ETHUSDT", "ETH", "USDT", InstrumentKind::Spot)).unwrap();
    all.upsert(instrument("ETHBTC", "ETH", "BTC", InstrumentKind::Spot)).unwrap();
    all.upsert(instrument("BTCUSDT-PERP", "BTC", "USDT", InstrumentKind::LinearPerpetual)).unwrap();
    all
}

fn limits() -> RiskLimits {
    RiskLimits {
        order_notional_max: money("10000"),
        position_notional_max: money("30000"),
        gross_exposure_max: money("50000"),
        order_rate_per_s: 1_000,
        order_burst: 1_000,
        price_collar_bps: 100,
        daily_loss_max: money("1000"),
        open_orders_max: 20,
        open_orders_per_instrument_max: 10,
        duplicate_window_ms: 0,
        per_instrument: vec![(
            ETH,
            InstrumentLimits {
                order_quantity_max: Some(quantity("2")),
                position_quantity_max: Some(quantity("5")),
                ..InstrumentLimits::default()
            },
        )],
        ..RiskLimits::default()
    }
}

/// A service that trades, with quotes of 60,000 and 3,000 and money in the account.
struct Desk {
    risk: RiskService,
    now: Timestamp,
    next: u64,
}

impl Desk {
    fn new() -> Self {
        Self::with(limits())
    }

    fn with(limits: RiskLimits) -> Self {
        let risk = RiskService::new(limits, &instruments()).unwrap();
        let mut desk = Self { risk, now: Timestamp::from_ms(86_400_000 * 20_000), next: 1 };
        desk.risk.on_time(desk.now);
        desk.quote(BTC, "60000.00000000", "60000.01000000");
        desk.quote(ETH, "3000.00000000", "3000.01000000");
        desk.quote(ETHBTC, "0.05", "0.06");
        desk.quote(PERP, "60000.00", "60000.01");
        desk.balance("USDT", "100000");
        desk.balance("BTC", "2");
        desk.balance("ETH", "20");
        desk.risk.set_state(TradingState::Active);
        desk
    }

    fn quote(&mut self, id: InstrumentId, bid: &str, ask: &str) {
        self.risk.on_quote(id, price(bid), price(ask), self.now);
    }

    fn balance(&mut self, name: &str, free: &str) {
        let balance = Balance { asset: asset(name), free: money(free), locked: Notional::ZERO };
        self.risk.on_balances(&[balance], false, self.now);
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(std::time::Duration::from_millis(ms));
    }

    fn order(&mut self, intent: OrderIntent) -> NewOrder {
        let client_order_id = ClientOrderId { instance: 1, epoch: 1, sequence: self.next };
        self.next += 1;
        NewOrder { client_order_id, strategy: StrategyId(0), ts_decided: self.now, intent }
    }

    fn review(&mut self, intent: OrderIntent) -> Result<ClientOrderId, DenyReason> {
        let order = self.order(intent);
        self.review_order(order)
    }

    fn review_order(&mut self, order: NewOrder) -> Result<ClientOrderId, DenyReason> {
        match self.risk.review(order, self.now) {
            Ok(approved) => Ok(approved.into_inner().client_order_id),
            Err(denied) => {
                assert_eq!(denied.control, denied.reason.control());
                Err(denied.reason)
            }
        }
    }

    fn limit(&mut self, id: InstrumentId, side: Side, size: &str, at: &str) -> Result<ClientOrderId, DenyReason> {
        self.review(OrderIntent::limit(id, side, quantity(size), price(at), OrderPurpose::Entry))
    }

    fn buy(&mut self, size: &str, at: &str) -> Result<ClientOrderId, DenyReason> {
        self.limit(BTC, Side::Buy, size, at)
    }

    fn sell(&mut self, size: &str, at: &str) -> Result<ClientOrderId, DenyReason> {
        self.limit(BTC, Side::Sell, size, at)
    }

    fn fill(&mut self, id: Option<ClientOrderId>, instrument: InstrumentId, side: Side, size: &str, at: &str) {
        let fill = Fill {
            trade_id: TradeId::new("1").unwrap(),
            instrument,
            side,
            price: price(at),
            quantity: quantity(size),
            fee: Notional::ZERO,
            fee_asset: asset("USDT"),
            liquidity: Liquidity::Taker,
            ts_event: self.now.plus(std::time::Duration::from_millis(1)),
        };
        self.risk.on_fill(id, &fill);
    }
}

#[test]
fn rc_01_order_quantity() {
    let mut desk = Desk::new();
    assert!(desk.limit(ETH, Side::Buy, "2", "3000").is_ok());
    let denied = desk.limit(ETH, Side::Buy, "2.00001", "3000").unwrap_err();
    assert_eq!(denied, DenyReason::OrderQuantity { quantity: quantity("2.00001"), max: quantity("2") });
}

#[test]
fn rc_02_order_notional() {
    let mut desk = Desk::new();
    assert!(desk.buy("0.16666", "60000").is_ok());
    assert_eq!(desk.buy("0.16667", "60000"), Err(DenyReason::OrderNotional));
    // A market order is valued at the touch plus the collar: 0.166 × 60,000.01 × 1.01 > 10,000.
    let market = OrderIntent::market(BTC, Side::Buy, quantity("0.16600"), OrderPurpose::Entry);
    assert_eq!(desk.review(market), Err(DenyReason::OrderNotional));
}

#[test]
fn rc_03_price_collar_on_the_aggressive_side_only() {
    let mut desk = Desk::new();
    assert!(desk.buy("0.01", "60600.01").is_ok(), "1 % through the ask of 60,000.01 is 60,600.0101");
    let denied = desk.buy("0.01", "60600.02").unwrap_err();
    assert_eq!(denied.control(), Control::PriceCollar);
    assert!(desk.buy("0.01", "30000").is_ok(), "a passive price harms nobody");
    let mut desk = Desk::new();
    assert!(desk.sell("0.01", "59400.00").is_ok());
    assert_eq!(desk.sell("0.01", "59399.99").unwrap_err().control(), Control::PriceCollar);
    let stop = |limit: &str| OrderIntent {
        order_type: OrderType::StopLossLimit,
        stop_price: Some(price("50000")),
        ..OrderIntent::limit(BTC, Side::Sell, quantity("0.01"), price(limit), OrderPurpose::Protective)
    };
    assert!(desk.review(stop("49500")).is_ok(), "a stop's limit is measured from its trigger");
    assert_eq!(desk.review(stop("49499.99")).unwrap_err().control(), Control::PriceCollar);
}

#[test]
fn rc_05_position_counts_open_and_unknown_orders() {
    let mut desk = Desk::new();
    // 30,000 is the limit: 0.16 × 3 at 60,000 are 28,800; the fourth passes it.
    let first = desk.buy("0.16", "60000").unwrap();
    assert!(desk.buy("0.16", "59999").is_ok() && desk.buy("0.16", "59998").is_ok());
    assert_eq!(desk.buy("0.16", "59997"), Err(DenyReason::Position), "orders of one batch see each other");
    desk.fill(Some(first), BTC, Side::Buy, "0.16", "60000");
    assert_eq!(desk.buy("0.16", "59997"), Err(DenyReason::Position), "a filled order still counts, once");
    let unknown = NewOrder {
        client_order_id: first,
        ..desk.order(OrderIntent::market(BTC, Side::Buy, quantity("1"), OrderPurpose::Entry))
    };
    desk.risk.sync(&unknown, quantity("0"), true);
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::Frozen), "an unknown outcome freezes new exposure");
    assert!(desk.sell("0.1", "60000.01").is_ok(), "what only reduces still passes");
    desk.risk.release(BTC, first);
    assert!(desk.buy("0.00100", "59000").is_ok());
}

#[test]
fn rc_05_position_by_quantity() {
    let mut desk = Desk::new();
    desk.fill(None, ETH, Side::Buy, "3", "3000");
    assert!(desk.limit(ETH, Side::Buy, "2", "3000").is_ok());
    assert_eq!(desk.limit(ETH, Side::Buy, "0.01", "3000"), Err(DenyReason::Position));
}

#[test]
fn rc_06_gross_exposure_over_instruments() {
    let limits = RiskLimits { position_notional_max: money("30000"), gross_exposure_max: money("31000"), ..limits() };
    let mut desk = Desk::with(limits);
    desk.fill(None, BTC, Side::Buy, "0.5", "60000");
    assert_eq!(desk.risk.gross_exposure(), money("30000"));
    assert!(desk.limit(ETH, Side::Buy, "0.3", "3000").is_ok());
    assert_eq!(desk.limit(ETH, Side::Buy, "0.1", "3000"), Err(DenyReason::GrossExposure));
}

#[test]
fn rc_06_an_instrument_in_another_quote_asset_cannot_be_measured() {
    let mut desk = Desk::new();
    let intent = OrderIntent::limit(ETHBTC, Side::Buy, quantity("100"), price("0.05"), OrderPurpose::Entry);
    assert_eq!(desk.review(intent), Err(DenyReason::ForeignQuote));
}

#[test]
fn rc_07_balances_next_to_what_open_orders_hold() {
    let mut desk = Desk::with(RiskLimits { position_notional_max: money("50000"), ..limits() });
    desk.balance("USDT", "10000");
    assert!(desk.buy("0.1", "60000").is_ok());
    assert_eq!(desk.risk.available(asset("USDT")), Some(money("4000")));
    assert_eq!(desk.buy("0.1", "59000"), Err(DenyReason::Balance));
    assert!(desk.buy("0.06666", "60000").is_ok());
    desk.balance("BTC", "0.05");
    assert!(desk.sell("0.05", "60001").is_ok());
    assert_eq!(desk.sell("0.001", "60002"), Err(DenyReason::Balance), "on spot never more than is held");
}

#[test]
fn rc_07_a_balance_that_nobody_has_told_denies() {
    let mut risk = RiskService::new(limits(), &instruments()).unwrap();
    risk.set_state(TradingState::Active);
    let mut desk = Desk { risk, now: Timestamp::from_ms(1_000), next: 1 };
    desk.quote(BTC, "60000.00", "60000.01");
    assert_eq!(desk.buy("0.01", "60000"), Err(DenyReason::BalanceUnknown));
    desk.risk.on_balances(&[], true, desk.now);
    assert_eq!(desk.buy("0.01", "60000"), Err(DenyReason::Balance), "a complete report tells absence, too");
}

#[test]
fn rc_07_a_fill_is_not_spent_twice_and_not_counted_twice() {
    let mut desk = Desk::new();
    desk.balance("USDT", "10000");
    let id = desk.buy("0.1", "60000").unwrap();
    desk.fill(Some(id), BTC, Side::Buy, "0.1", "60000");
    assert_eq!(desk.risk.available(asset("USDT")), Some(money("4000")));
    desk.pass(10);
    desk.balance("USDT", "4000");
    assert_eq!(desk.risk.available(asset("USDT")), Some(money("4000")), "the report contains the fill");
    assert_eq!(desk.risk.available(asset("BTC")), Some(money("2.1")));
}

#[test]
fn rc_07_derivatives_by_leverage() {
    let mut desk = Desk::new();
    desk.balance("USDT", "6000");
    assert!(desk.limit(PERP, Side::Sell, "0.09", "60000").is_ok(), "going short needs no base asset");
    assert_eq!(desk.limit(PERP, Side::Sell, "0.02", "60000"), Err(DenyReason::Balance));
}

#[test]
fn rc_08_and_o_03_a_runaway_strategy_is_stopped_within_the_burst() {
    let mut desk = Desk::with(RiskLimits { order_rate_per_s: 10, order_burst: 20, ..limits() });
    let mut passed = 0;
    for _ in 0..10_000 {
        let outcome = desk.buy("0.001", "59000");
        passed += u32::from(outcome.is_ok());
        desk.now = desk.now.plus(std::time::Duration::from_micros(100));
        if let Ok(id) = outcome {
            desk.risk.release(BTC, id);
        }
    }
    assert_eq!(passed, 20, "in one second of hammering nothing passes after the burst");
    desk.pass(1_000);
    assert!(desk.buy("0.001", "59000").is_ok());
}

#[test]
fn rc_11_duplicates_within_the_window() {
    let mut desk = Desk::with(RiskLimits { duplicate_window_ms: 50, ..limits() });
    assert!(desk.buy("0.01", "59000").is_ok());
    assert_eq!(desk.buy("0.01", "59000"), Err(DenyReason::Duplicate));
    assert!(desk.buy("0.01", "59000.01").is_ok(), "another price is another order");
    desk.pass(50);
    assert!(desk.buy("0.01", "59000").is_ok());
}

#[test]
fn rc_12_v_24_orders_of_ours_do_not_trade_with_each_other() {
    let mut desk = Desk::new();
    let resting = desk.sell("0.01", "60100").unwrap();
    assert!(desk.buy("0.01", "60099.99").is_ok());
    assert_eq!(desk.buy("0.01", "60100"), Err(DenyReason::SelfMatch { price: price("60100") }));
    let market = OrderIntent::market(BTC, Side::Buy, quantity("0.01"), OrderPurpose::Entry);
    assert_eq!(desk.review(market), Err(DenyReason::SelfMatch { price: price("60100") }));
    desk.risk.release(BTC, resting);
    assert!(desk.review(market).is_ok());
}

#[test]
fn rc_12_an_order_behind_a_far_trigger_is_not_in_the_book_yet() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    let stop = OrderIntent {
        order_type: OrderType::StopLossLimit,
        stop_price: Some(price("55000")),
        ..OrderIntent::limit(BTC, Side::Sell, quantity("0.1"), price("54900"), OrderPurpose::Protective)
    };
    desk.review(stop).unwrap();
    assert!(desk.buy("0.01", "59000").is_ok(), "the stop is 8 % away");
    desk.quote(BTC, "55555.00", "55555.00");
    assert_eq!(desk.buy("0.01", "55000"), Err(DenyReason::SelfMatch { price: price("54900") }), "within 1 %");
}

#[test]
fn rc_13_daily_loss_latches_until_a_person_resumes() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    desk.quote(BTC, "56000", "56000.02");
    assert!(!desk.risk.take_breach() && desk.risk.state() == TradingState::Active);
    desk.quote(BTC, "50000", "50000.02");
    assert_eq!(desk.risk.day_pnl(), money("-999.999"), "at the mid price");
    desk.quote(BTC, "49999.98", "50000.02");
    assert!(desk.risk.take_breach() && !desk.risk.take_breach(), "told once");
    assert_eq!(desk.risk.state(), TradingState::Reducing);
    desk.quote(BTC, "59000", "59000.02");
    desk.pass(2_000);
    desk.quote(BTC, "59000", "59000.02");
    assert_eq!(desk.buy("0.01", "59000"), Err(DenyReason::DailyLoss), "the latch stays when the price is back");
    assert!(desk.sell("0.1", "59000").is_ok(), "closing stays possible");
    assert!(desk.risk.resume());
    assert!(desk.buy("0.01", "58000").is_ok());
}

#[test]
fn rc_14_open_orders() {
    let mut desk = Desk::new();
    let ids: Vec<_> = (0..10).map(|step| desk.buy("0.001", &format!("5900{step}")).unwrap()).collect();
    assert_eq!(desk.buy("0.001", "58000").unwrap_err().control(), Control::Instrument);
    desk.risk.release(BTC, ids[0]);
    assert!(desk.buy("0.001", "58000").is_ok());
    let mut desk = Desk::with(RiskLimits { open_orders_max: 3, open_orders_per_instrument_max: 3, ..limits() });
    assert!((0..3).all(|step| desk.buy("0.001", &format!("5900{step}")).is_ok()));
    assert_eq!(desk.limit(ETH, Side::Buy, "1", "3000").unwrap_err().control(), Control::OpenOrders);
}

#[test]
fn rc_15_stale_or_missing_data_denies() {
    let mut desk = Desk::new();
    desk.pass(10_000);
    assert!(desk.buy("0.001", "59000").is_ok());
    desk.pass(1);
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::StaleReference { age_ms: 10_001 }));
    desk.quote(BTC, "60000", "60000.01");
    desk.risk.on_feed(BTC, false);
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::FeedNotLive));
    desk.risk.on_feed(BTC, true);
    assert!(desk.buy("0.001", "59000").is_ok());
    let mut risk = RiskService::new(limits(), &instruments()).unwrap();
    risk.set_state(TradingState::Active);
    let mut desk = Desk { risk, now: Timestamp::from_ms(1_000), next: 1 };
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::NoReference));
}

#[test]
fn rc_16_v_25_insane_quotes_deny() {
    for (bid, ask) in [("60000.02", "60000.01"), ("0", "60000"), ("60000", "0"), ("-1", "60000")] {
        let mut desk = Desk::new();
        desk.quote(BTC, bid, ask);
        assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::BadReference), "{bid} {ask}");
        desk.quote(BTC, "60000.00", "60000.01");
        assert!(desk.buy("0.001", "59000").is_ok(), "a good quote heals");
    }
    let mut desk = Desk::new();
    desk.quote(BTC, "600000.00", "600000.01");
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::ReferenceJump), "tenfold at once");
    desk.pass(999);
    desk.quote(BTC, "600000.00", "600000.01");
    assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::ReferenceJump));
    desk.pass(1);
    desk.quote(BTC, "600000.00", "600000.01");
    assert!(desk.buy("0.001", "590000").is_ok(), "a price that holds is believed");
}

#[test]
fn rc_17_unknown_forbidden_and_halted_instruments() {
    let mut desk = Desk::with(RiskLimits { instruments_allowed: Some(vec![BTC]), ..limits() });
    assert_eq!(desk.limit(ETH, Side::Buy, "1", "3000"), Err(DenyReason::NotAllowed));
    assert_eq!(desk.limit(InstrumentId(99), Side::Buy, "1", "3000"), Err(DenyReason::UnknownInstrument));
    for status in [InstrumentStatus::CancelOnly, InstrumentStatus::Halted, InstrumentStatus::Unknown] {
        let halted = Instrument { status, ..instruments().get(BTC).unwrap().clone() };
        desk.risk.set_instrument(&halted).unwrap();
        assert_eq!(desk.buy("0.001", "59000"), Err(DenyReason::NotTradable));
    }
}

#[test]
fn rc_17_v_18_filters_of_the_venue() {
    use crate::denied::Filter;
    let mut desk = Desk::new();
    let cases = [
        ("0.001", "59000.001", Filter::Price),
        ("0.000001", "59000", Filter::Lot),
        ("0.00001", "59000", Filter::Notional),
        ("0.001", "0", Filter::PriceShape),
        ("-0.001", "59000", Filter::Lot),
        ("9000.00001", "59000", Filter::Lot),
    ];
    for (size, at, filter) in cases {
        assert_eq!(desk.buy(size, at), Err(DenyReason::Filter(filter)), "{size} at {at}");
    }
    let no_price = OrderIntent {
        price: None,
        ..OrderIntent::limit(BTC, Side::Buy, quantity("1"), price("1"), OrderPurpose::Entry)
    };
    assert_eq!(desk.review(no_price), Err(DenyReason::Filter(Filter::PriceShape)));
    // The tick gets finer while an order is open: nothing is lost, and the new rule holds.
    let open = desk.buy("0.1", "59000").unwrap();
    let finer =
        Instrument { tick_size: price("0.001"), min_price: price("0.001"), ..instruments().get(BTC).unwrap().clone() };
    desk.risk.set_instrument(&finer).unwrap();
    desk.quote(BTC, "60000.001", "60000.002");
    assert_eq!(desk.risk.available(asset("USDT")), Some(money("94100")));
    assert!(desk.buy("0.001", "59000.001").is_ok());
    assert!(desk.risk.release(BTC, open));
}

#[test]
fn rc_18_emergency_stop_lets_only_the_house_reduce() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    desk.risk.emergency_stop();
    assert_eq!(desk.risk.state(), TradingState::Halted);
    let close = OrderIntent::market(BTC, Side::Sell, quantity("0.1"), OrderPurpose::Exit);
    assert_eq!(desk.review(close), Err(DenyReason::EmergencyStop));
    let house = |desk: &mut Desk, intent| NewOrder { strategy: HOUSE, ..desk.order(intent) };
    let open = house(&mut desk, OrderIntent::market(BTC, Side::Buy, quantity("0.01"), OrderPurpose::Entry));
    assert_eq!(desk.review_order(open).unwrap_err().control(), Control::TradingState);
    let closing = house(&mut desk, close);
    assert!(desk.review_order(closing).is_ok());
    assert!(!desk.risk.resume() && !desk.risk.set_state(TradingState::Active), "only a new start ends it");
}

#[test]
fn rc_21_states() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    desk.risk.set_state(TradingState::Reducing);
    assert_eq!(desk.buy("0.01", "59000"), Err(DenyReason::OnlyReducing));
    assert_eq!(desk.sell("0.11", "60001"), Err(DenyReason::OnlyReducing), "one step too far turns the position");
    assert!(desk.sell("0.06", "60001").is_ok());
    assert_eq!(desk.sell("0.05", "60002"), Err(DenyReason::OnlyReducing), "open orders count as filled");
    assert!(desk.sell("0.04", "60002").is_ok());
    desk.risk.set_state(TradingState::Halted);
    assert_eq!(desk.sell("0.01", "60003"), Err(DenyReason::Halted));
    let risk = RiskService::new(limits(), &instruments()).unwrap();
    assert_eq!(risk.state(), TradingState::Halted, "the first state");
}

#[test]
fn rc_21_reduce_only_orders_may_not_open() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    let sell = |size: &str| OrderIntent {
        reduce_only: true,
        ..OrderIntent::limit(BTC, Side::Sell, quantity(size), price("60001"), OrderPurpose::Exit)
    };
    assert_eq!(desk.review(sell("0.10001")), Err(DenyReason::NotReducing));
    assert!(desk.review(sell("0.1")).is_ok());
}

#[test]
fn held_instruments_only_reduce_until_a_person_resumes() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    desk.risk.hold(BTC);
    assert_eq!(desk.buy("0.01", "59000"), Err(DenyReason::Held));
    assert!(desk.sell("0.05", "60001").is_ok());
    assert!(desk.limit(ETH, Side::Buy, "1", "3000").is_ok(), "others go on");
    desk.risk.resume();
    assert!(desk.buy("0.01", "59000").is_ok());
}

#[test]
fn a_replacement_counts_what_it_replaces_as_given_back() {
    let mut desk = Desk::new();
    desk.balance("BTC", "0.1");
    let old = desk.sell("0.1", "60100").unwrap();
    let new = desk.order(OrderIntent::limit(BTC, Side::Sell, quantity("0.1"), price("60050"), OrderPurpose::Entry));
    assert_eq!(desk.review_order(new), Err(DenyReason::Balance));
    let cancel = CancelOrder { client_order_id: old, venue_order_id: None, instrument: BTC };
    let new = NewOrder { client_order_id: ClientOrderId { sequence: 99, ..new.client_order_id }, ..new };
    assert!(desk.risk.review_replace(ReplaceOrder { cancel, new }, desk.now).is_ok());
    assert_eq!(desk.risk.open_orders(), 2, "both hold until the old one's end is known");
    desk.risk.release(BTC, old);
    assert_eq!(desk.risk.available(asset("BTC")), Some(Notional::ZERO));
}

#[test]
fn s2_029_d12_the_state_is_frozen_and_saved_before_it_is_cleared() {
    let mut desk = Desk::new();
    desk.fill(None, BTC, Side::Buy, "0.1", "60000");
    desk.quote(BTC, "50000", "49999");
    desk.quote(BTC, "45000", "45000.02");
    let open = desk.sell("0.05", "60500");
    assert_eq!(open, Err(DenyReason::ReferenceJump));
    desk.pass(1_000);
    desk.quote(BTC, "45000", "45000.02");
    desk.sell("0.05", "60500").unwrap();
    let saved = desk.risk.freeze(desk.now);
    assert_eq!(saved.trading_state, TradingState::Halted);
    assert!(saved.is_loss_latched);
    assert_eq!(saved.reservations.len(), 1);
    desk.fill(None, ETH, Side::Buy, "1", "3000");
    assert!(!desk.risk.clear(&saved), "the state has moved on since it was saved");
    let saved = desk.risk.freeze(desk.now);
    assert!(desk.risk.clear(&saved));
    assert_eq!(desk.risk.open_orders(), 0);
    assert_eq!(desk.risk.available(asset("BTC")), Some(money("2.1")));
    let mut next = RiskService::new(limits(), &instruments()).unwrap();
    next.restore(&saved);
    assert_eq!(next.day_pnl(), saved.day_pnl, "the day's loss outlives the restart");
    next.set_state(TradingState::Active);
    assert_eq!(next.state(), TradingState::Reducing, "so does the latch");
}

#[test]
fn limits_are_checked_alone_and_against_each_other() {
    let bad = [
        RiskLimits { order_notional_max: Notional::ZERO, ..limits() },
        RiskLimits { daily_loss_max: money("-1"), ..limits() },
        RiskLimits { gross_exposure_max: money("1"), ..limits() },
        RiskLimits { position_notional_max: money("1000000000000001"), ..limits() },
        RiskLimits { order_notional_max: money("40000"), ..limits() },
        RiskLimits { price_collar_bps: 5_001, ..limits() },
        RiskLimits { order_rate_per_s: 0, ..limits() },
        RiskLimits { open_orders_per_instrument_max: 21, ..limits() },
        RiskLimits { quote_asset: Asset::EMPTY, ..limits() },
        RiskLimits { reference_age_ms_max: 0, ..limits() },
    ];
    for limits in bad {
        assert!(RiskService::new(limits.clone(), &instruments()).is_err(), "{limits:?}");
    }
    limits().validate().unwrap();
    RiskLimits::default().validate().unwrap();
}
