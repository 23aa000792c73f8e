//! The venue changes the rules of an instrument while we trade it.

use super::*;

impl Desk {
    fn told_rules(&mut self, change: impl FnOnce(&mut Instrument)) {
        let mut rules = self.engine.instruments().get(BTC).unwrap().clone();
        change(&mut rules);
        self.notices.clear();
        self.command(Command::Instrument(Box::new(rules)));
    }
}

#[test]
fn v_20_a_halt_cancels_entries_keeps_exits_and_pauses_until_it_is_over() {
    for status in [InstrumentStatus::Halted, InstrumentStatus::CancelOnly, InstrumentStatus::Unknown] {
        let mut desk = Desk::started();
        let held = desk.live(buy("0.01", "60000"));
        desk.fill(held, "0.01", "0.01", OrderStatus::Filled);
        let entry = desk.live(buy("0.01", "59000"));
        let exit = OrderIntent::limit(BTC, Side::Sell, quantity("0.01"), price("61000"), OrderPurpose::Exit);
        let exit = desk.live(exit);
        // One is on its way when the news comes.
        let (late, _) = desk.place(buy("0.01", "58000"));
        desk.effects.clear();
        desk.told_rules(|rules| rules.status = status);
        assert!(
            desk.notices.iter().any(|notice| matches!(notice, Notice::Instrument { to, .. } if *to == status)),
            "{:?}",
            desk.notices
        );
        assert!(desk.cancels().contains(&entry) && !desk.cancels().contains(&exit), "{status:?}: {:?}", desk.cancels());
        desk.ack(late);
        desk.wait(100);
        assert!(desk.cancels().contains(&late), "{status:?}: it is cancelled once it is there");
        desk.notices.clear();
        let (refused, _) = desk.place(buy("0.01", "57500"));
        assert!(!desk.sent(refused), "{status:?}");
        assert_eq!(desk.denied(), Some(Control::Instrument), "{status:?}");
        // Once more the same says nothing new; trading again is told.
        desk.told_rules(|_| {});
        assert!(desk.notices.is_empty(), "{:?}", desk.notices);
        desk.told_rules(|rules| rules.status = InstrumentStatus::Trading);
        let (placed, _) = desk.place(buy("0.01", "57600"));
        assert!(desk.sent(placed), "{status:?}: {:?}", desk.notices);
    }
}

#[test]
fn v_18_new_filters_count_from_the_next_order_on_and_books_stay_exact() {
    let mut desk = Desk::started();
    let id = desk.live(buy("0.01", "60000"));
    desk.fill(id, "0.01", "0.01", OrderStatus::Filled);
    let open = desk.live(buy("0.01", "59000"));
    let before = desk.engine.portfolio().position(BTC);
    // A finer tick, a coarser lot, a larger least value.
    desk.told_rules(|rules| {
        rules.tick_size = price("0.001");
        rules.lot.min = quantity("0.002");
        rules.min_notional = money("100");
    });
    assert_eq!(desk.engine.portfolio().position(BTC), before);
    assert!(desk.engine.orders().get(open).is_some_and(|order| order.state == keel_execution::OrderState::Live));
    let (fine, _) = desk.place(buy("0.01", "58000.123"));
    assert!(desk.sent(fine), "{:?}", desk.notices);
    for too_small in [buy("0.001", "58000"), buy("0.002", "40000")] {
        desk.notices.clear();
        let (id, _) = desk.place(too_small);
        assert!(!desk.sent(id));
        assert!(desk.denied().is_some());
    }
    desk.fill(open, "0.01", "0.01", OrderStatus::Filled);
    assert_eq!(desk.engine.portfolio().position(BTC).quantity, quantity("0.02"));
    assert!(!desk.engine.holds().is_held(BTC));
    // Another instrument under the same number is not believed.
    desk.told_rules(|rules| rules.base = "XYZ".parse().unwrap());
    assert!(desk.notices.is_empty());
}
