//! Whatever is asked for and whatever becomes of it: what was approved never adds up to more than the limits, and the
//! cached sums are the sums.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Submit(bool, u32, i32),
    Fill(usize, u32),
    Release(usize),
    Unknown(usize),
    Quote(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<bool>(), 1u32..20_000, -300i32..300).prop_map(|(buy, size, at)| Step::Submit(buy, size, at)),
        2 => (0usize..8, 1u32..20_000).prop_map(|(which, size)| Step::Fill(which, size)),
        1 => (0usize..8).prop_map(Step::Release),
        1 => (0usize..8).prop_map(Step::Unknown),
        1 => (-200i32..200).prop_map(Step::Quote),
    ]
}

fn size(units: u32) -> Quantity {
    Quantity::new(units.into(), 5).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn rc_05_rc_07_approved_orders_never_pass_the_limits(steps in prop::collection::vec(step(), 1..120)) {
        let limits = RiskLimits { daily_loss_max: money("1000000"), ..limits() };
        let mut desk = Desk::with(limits);
        let mut open: BTreeMap<ClientOrderId, (NewOrder, Quantity)> = BTreeMap::new();
        let (mut position, mut unknown) = (Quantity::ZERO, std::collections::BTreeSet::new());
        for step in steps {
            desk.pass(1);
            let pick = |which: usize| open.keys().nth(which).copied();
            match step {
                Step::Submit(buy, units, at) => {
                    let side = if buy { Side::Buy } else { Side::Sell };
                    let at = Price::new(6_000_000 + i64::from(at), 2).unwrap();
                    let order = desk.order(OrderIntent::limit(BTC, side, size(units), at, OrderPurpose::Entry));
                    if desk.review_order(order).is_ok() {
                        open.insert(order.client_order_id, (order, order.intent.quantity));
                    }
                }
                Step::Fill(which, units) => if let Some(id) = pick(which) {
                    let (order, left) = open[&id];
                    let part = size(units).min(left);
                    let left = left.checked_sub(part).unwrap();
                    let at = order.intent.price.unwrap().to_string();
                    desk.fill(Some(id), BTC, order.intent.side, &part.to_string(), &at);
                    let signed = if order.intent.side == Side::Buy { part } else { part.neg().unwrap() };
                    position = position.checked_add(signed).unwrap();
                    open.insert(id, (order, left));
                    if left.is_zero() {
                        desk.risk.release(BTC, id);
                        open.remove(&id);
                        unknown.remove(&id);
                    }
                },
                Step::Release(which) => if let Some(id) = pick(which) {
                    prop_assert!(desk.risk.release(BTC, id));
                    open.remove(&id);
                    unknown.remove(&id);
                },
                Step::Unknown(which) => if let Some(id) = pick(which) {
                    let (order, left) = open[&id];
                    let is_unknown = unknown.insert(id);
                    if !is_unknown { unknown.remove(&id); }
                    desk.risk.sync(&order, left, is_unknown);
                },
                Step::Quote(at) => {
                    let bid = Price::new(6_000_000 + i64::from(at), 2).unwrap();
                    let ask = Price::new(6_000_001 + i64::from(at), 2).unwrap();
                    desk.risk.on_quote(BTC, bid, ask, desk.now);
                }
            }
            let sum = |side: Side| open.values().filter(|(order, _)| order.intent.side == side)
                .fold(Quantity::ZERO, |sum, (_, left)| sum.checked_add(*left).unwrap());
            let snapshot = desk.risk.snapshot(desk.now);
            prop_assert_eq!(snapshot.positions[0].1, position);
            prop_assert_eq!(snapshot.reservations.len(), open.len());
            prop_assert_eq!(desk.risk.is_frozen(BTC), !unknown.is_empty());
            // 1 % of room: the price may move after the approval, the quantity may not.
            let high = position.checked_add(sum(Side::Buy)).unwrap().abs().unwrap();
            let low = position.checked_sub(sum(Side::Sell)).unwrap().abs().unwrap();
            prop_assert!(Notional::of(price("60000"), high.max(low)) <= money("30300"), "{position} {high} {low}");
            let held = money("2").to_quantity().unwrap().checked_add(position).unwrap();
            prop_assert!(sum(Side::Sell) <= held, "sells {} of {held}", sum(Side::Sell));
            let reserved: BTreeMap<_, _> = snapshot.reserved.iter().copied().collect();
            prop_assert_eq!(reserved[&asset("BTC")], Notional::from(sum(Side::Sell)));
        }
    }
}
