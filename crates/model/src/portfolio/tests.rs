//! Long, short, turning, partial closes, fees in any asset: to the last digit.
use super::*;
use crate::{Liquidity, TradeId};
use proptest::prelude::*;

fn position(fills: &[(Side, &str, &str)]) -> Position {
    let mut position = Position::flat(InstrumentId(0));
    for (side, price, quantity) in fills {
        position.apply(*side, price.parse().unwrap(), quantity.parse().unwrap()).unwrap();
    }
    position
}
fn value(text: &str) -> Notional {
    text.parse().unwrap()
}

#[test]
fn a_long_is_opened_added_to_and_closed() {
    let open = position(&[(Side::Buy, "100", "1"), (Side::Buy, "110", "1")]);
    assert_eq!((open.quantity, open.cost), ("2".parse().unwrap(), value("210")));
    assert_eq!(open.average_price(2).unwrap().to_string(), "105.00");
    assert_eq!(open.unrealized("120".parse().unwrap()).unwrap(), value("30"));
    let part = position(&[(Side::Buy, "100", "1"), (Side::Buy, "110", "1"), (Side::Sell, "120", "0.5")]);
    assert_eq!((part.realized, part.cost), (value("7.5"), value("157.5")));
}

#[test]
fn a_short_profits_when_the_price_falls() {
    let short = position(&[(Side::Sell, "100", "2")]);
    assert_eq!(short.unrealized("90".parse().unwrap()).unwrap(), value("20"));
    let closed = position(&[(Side::Sell, "100", "2"), (Side::Buy, "90", "2")]);
    assert!(closed.is_flat());
    assert_eq!((closed.realized, closed.cost), (value("20"), Notional::ZERO));
}

#[test]
fn a_fill_larger_than_the_position_turns_it() {
    let turned = position(&[(Side::Buy, "100", "1"), (Side::Sell, "120", "3")]);
    assert_eq!((turned.quantity, turned.realized, turned.cost), ("-2".parse().unwrap(), value("20"), value("-240")));
    assert_eq!(turned.average_price(0).unwrap(), Price::from_int(120));
}

#[test]
fn a_fill_without_quantity_is_refused_and_changes_nothing() {
    let mut held = position(&[(Side::Buy, "100", "1")]);
    let before = held;
    assert!(held.apply(Side::Sell, Price::from_int(1), Quantity::ZERO).is_err());
    assert!(held.apply(Side::Sell, Price::from_int(1), Quantity::from_int(-1)).is_err());
    assert_eq!(held, before);
}

#[test]
fn fees_add_up_in_any_asset_rebates_included() {
    let mut portfolio = Portfolio::new();
    for (id, fee, asset) in [("1", "0.001", "BNB"), ("2", "0.075", "USDT"), ("3", "-0.002", "BNB")] {
        let fill = Fill {
            trade_id: TradeId::new(id).unwrap(),
            instrument: InstrumentId(3),
            side: Side::Buy,
            price: Price::from_int(75),
            quantity: Quantity::from_int(1),
            fee: value(fee),
            fee_asset: Asset::new(asset).unwrap(),
            liquidity: Liquidity::Taker,
            ts_event: Timestamp::ZERO,
        };
        portfolio.apply_fill(&fill).unwrap();
    }
    assert_eq!(portfolio.fee_in(Asset::new("BNB").unwrap()), value("-0.001"));
    assert_eq!(portfolio.fee_in(Asset::new("USDT").unwrap()), value("0.075"));
    assert_eq!(portfolio.position(InstrumentId(3)).quantity, Quantity::from_int(3));
    assert_eq!(portfolio.positions().count(), 1);
}

#[test]
fn an_older_balance_report_does_not_overwrite_a_newer_one() {
    let usdt = |free: i64| Balance {
        asset: Asset::new("USDT").unwrap(),
        free: Notional::from_int(free),
        locked: Notional::ZERO,
    };
    let mut portfolio = Portfolio::new();
    assert!(portfolio.apply_balances(&[usdt(10)], true, Timestamp::from_ms(2)).unwrap());
    assert!(!portfolio.apply_balances(&[usdt(99)], true, Timestamp::from_ms(1)).unwrap());
    assert_eq!(portfolio.balance(Asset::new("USDT").unwrap()).free, Notional::from_int(10));
}

proptest! {
    /// Cash flow identity: realised + unrealised = value of what is held − all that was paid + all that was received.
    #[test]
    fn profit_equals_the_cash_flow(fills in proptest::collection::vec((any::<bool>(), 1i64..1_000_000, 1i64..1_000_000), 1..40), last in 1i64..1_000_000) {
        let mut position = Position::flat(InstrumentId(0));
        let mut cash = Notional::ZERO;
        for (buy, price, quantity) in fills {
            let (price, quantity) = (Price::new(price, 2).unwrap(), Quantity::new(quantity, 5).unwrap());
            let side = if buy { Side::Buy } else { Side::Sell };
            position.apply(side, price, quantity).unwrap();
            let paid = Notional::of(price, quantity);
            cash = if buy { cash.checked_sub(paid).unwrap() } else { cash.checked_add(paid).unwrap() };
        }
        let last = Price::new(last, 2).unwrap();
        let profit = position.realized.checked_add(position.unrealized(last).unwrap()).unwrap();
        let worth = cash.checked_add(Notional::of(last, position.quantity)).unwrap();
        prop_assert_eq!(profit, worth);
        prop_assert_eq!(position.bought.checked_sub(position.sold).unwrap(), position.quantity);
    }
}
