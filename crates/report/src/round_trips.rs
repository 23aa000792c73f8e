//! Closed trades out of fills, where nobody kept them: a position begins with the first fill from flat and ends when it is flat
//! again; a fill that turns it ends one trade and begins the next. Prices are averages, fees go with the fills.

use crate::run::{Direction, OpenPosition, Trade};
use std::collections::BTreeMap;

/// One fill.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// The instrument's name.
    pub instrument: String,
    /// When; unit: unix nanoseconds.
    pub ts_ns: i64,
    /// Bought?
    pub is_buy: bool,
    /// Price.
    pub price: f64,
    /// How much, in the base asset; above zero.
    pub quantity: f64,
    /// Fee in the currency of the account; below zero for a rebate.
    pub fee: f64,
}

/// A position that is being built or taken down.
#[derive(Debug)]
struct Building {
    direction: Direction,
    entry_ns: i64,
    bought: f64,
    bought_value: f64,
    sold: f64,
    sold_value: f64,
    fees: f64,
}

/// What is smaller than this share of the position is rounding, not a position.
const DUST: f64 = 1e-9;

impl Building {
    fn begin(fill: &Fill) -> Self {
        let direction = if fill.is_buy { Direction::Long } else { Direction::Short };
        Self { direction, entry_ns: fill.ts_ns, bought: 0.0, bought_value: 0.0, sold: 0.0, sold_value: 0.0, fees: 0.0 }
    }

    fn add(&mut self, is_buy: bool, quantity: f64, price: f64, fee: f64) {
        let (amount, value) =
            if is_buy { (&mut self.bought, &mut self.bought_value) } else { (&mut self.sold, &mut self.sold_value) };
        *amount += quantity;
        *value += quantity * price;
        self.fees += fee;
    }

    fn net(&self) -> f64 {
        let net = self.bought - self.sold;
        if net.abs() <= DUST * self.bought.max(self.sold) { 0.0 } else { net }
    }

    fn close(self, instrument: &str, exit_ns: i64) -> Trade {
        let (bought, sold) = (self.bought_value / self.bought, self.sold_value / self.sold);
        let (entry_price, exit_price) = match self.direction {
            Direction::Long => (bought, sold),
            Direction::Short => (sold, bought),
        };
        Trade {
            instrument: instrument.to_owned(),
            direction: self.direction,
            entry_ns: self.entry_ns,
            exit_ns,
            entry_price,
            exit_price,
            quantity: self.bought.max(self.sold),
            profit: self.sold_value - self.bought_value - self.fees,
            fees: self.fees,
            exit_reason: String::new(),
        }
    }
}

/// Closed trades in the order of their exits, and what is still open. `fills` must be in the order of time; what is not a finite
/// price and quantity above zero is left out.
#[must_use]
pub fn round_trips(fills: &[Fill]) -> (Vec<Trade>, Vec<OpenPosition>) {
    let mut open: BTreeMap<&str, Building> = BTreeMap::new();
    let mut closed = Vec::new();
    let is_whole = |fill: &&Fill| fill.price.is_finite() && fill.quantity.is_finite() && fill.quantity > 0.0;
    for fill in fills.iter().filter(is_whole) {
        let mut position = open.remove(fill.instrument.as_str()).unwrap_or_else(|| Building::begin(fill));
        let net = position.net();
        let is_against = net != 0.0 && (net > 0.0) != fill.is_buy;
        let turned = fill.quantity - net.abs();
        if is_against && turned > DUST * fill.quantity {
            // The fill closes all of it, and what is left of the fill opens the other way.
            let share = net.abs() / fill.quantity;
            position.add(fill.is_buy, net.abs(), fill.price, fill.fee * share);
            closed.push(position.close(&fill.instrument, fill.ts_ns));
            let mut next = Building::begin(fill);
            next.add(fill.is_buy, turned, fill.price, fill.fee * (1.0 - share));
            open.insert(&fill.instrument, next);
            continue;
        }
        position.add(fill.is_buy, fill.quantity, fill.price, fill.fee);
        if position.net() == 0.0 {
            closed.push(position.close(&fill.instrument, fill.ts_ns));
        } else {
            open.insert(&fill.instrument, position);
        }
    }
    let still_open = open.into_iter().map(|(instrument, position)| {
        let (quantity, value) = match position.direction {
            Direction::Long => (position.bought, position.bought_value),
            Direction::Short => (position.sold, position.sold_value),
        };
        OpenPosition {
            instrument: instrument.to_owned(),
            direction: position.direction,
            entry_ns: position.entry_ns,
            entry_price: value / quantity,
            quantity: position.net().abs(),
            unrealized: None,
        }
    });
    (closed, still_open.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(ts_ns: i64, is_buy: bool, price: f64, quantity: f64) -> Fill {
        Fill { instrument: "BTCUSDT".into(), ts_ns, is_buy, price, quantity, fee: 0.5 }
    }

    #[test]
    fn several_fills_make_one_trade_at_average_prices() {
        let fills = [
            fill(1, true, 100.0, 1.0),
            fill(2, true, 110.0, 1.0),
            fill(3, false, 120.0, 0.5),
            fill(4, false, 130.0, 1.5),
        ];
        let (closed, open) = round_trips(&fills);
        let [trade] = closed.as_slice() else { panic!("{closed:?}") };
        assert_eq!((trade.direction, trade.entry_ns, trade.exit_ns, trade.quantity), (Direction::Long, 1, 4, 2.0));
        assert_eq!((trade.entry_price, trade.exit_price), (105.0, 127.5));
        assert!((trade.profit - (255.0 - 210.0 - 2.0)).abs() < 1e-12 && open.is_empty());
    }

    #[test]
    fn a_fill_that_turns_the_position_ends_one_trade_and_begins_another() {
        let (closed, open) = round_trips(&[fill(1, true, 100.0, 1.0), fill(2, false, 90.0, 4.0)]);
        assert_eq!(closed.len(), 1);
        assert!((closed[0].profit - (-10.0 - 0.5 - 0.125)).abs() < 1e-12, "{closed:?}");
        let [rest] = open.as_slice() else { panic!("{open:?}") };
        assert_eq!((rest.direction, rest.quantity, rest.entry_price), (Direction::Short, 3.0, 90.0));
    }

    #[test]
    fn rounding_is_no_position_and_nonsense_is_left_out() {
        let mut fills: Vec<Fill> = (0..10).map(|at| fill(at, true, 10.0, 0.1)).collect();
        fills.push(fill(20, false, 11.0, 1.0));
        fills.extend([fill(21, true, f64::NAN, 1.0), fill(22, true, 1.0, 0.0), fill(23, true, 1.0, f64::INFINITY)]);
        let (closed, open) = round_trips(&fills);
        assert_eq!((closed.len(), open.len()), (1, 0));
    }
}
