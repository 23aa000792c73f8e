//! Trades from flat to flat, out of the fills of a run.
//!
//! A position that turns is two trades: the one that ends and the one that begins with the rest. Entry and exit prices are
//! averages; fees of the fill that turns are split by quantity. One open trade per strategy and instrument.
//!
//! On spot a fee taken in coins, and the step of the quantity, leave a rest that cannot be sold. A trade whose rest is such dust
//! has ended with its last exit. The dust counts in its profit at the price of that exit, and the next trade takes it over at
//! the same price. So the profits of all trades add up to what the balance gained and the dust at the last exit price.

use keel_model::{Fill, InstrumentId, Side, StrategyId};
use serde::Serialize;

mod open;

/// Words for why a trade ended, where the strategy's own word for the order ([`keel_strategy::Tag`]) does not say.
pub mod exit_reason {
    /// The strategy's exit order.
    pub const SIGNAL: &str = "signal";
    /// An order of the strategy that opens the other side.
    pub const REVERSAL: &str = "reversal";
    /// A protective stop.
    pub const STOP_LOSS: &str = "stop-loss";
    /// A protective order at a better price.
    pub const TARGET: &str = "target";
    /// The house closed it: exit policy, time-out, emergency.
    pub const HOUSE: &str = "house";
    /// The venue closed it: the margin was used up.
    pub const LIQUIDATION: &str = "liquidation";
}

/// One closed trade.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TradeRow {
    /// Time of the first entry; unit: nanoseconds since the Unix epoch.
    pub entry_ns: u64,
    /// Time of the last exit; unit: nanoseconds since the Unix epoch.
    pub exit_ns: u64,
    /// Largest quantity held.
    pub quantity: f64,
    /// Average price of entry.
    pub entry_price: f64,
    /// Average price of exit.
    pub exit_price: f64,
    /// Profit less fees, in the quote asset.
    pub pnl: f64,
    /// Fees in the quote asset.
    pub fees: f64,
    /// Instrument.
    pub instrument: InstrumentId,
    /// Strategy, by its place in the configuration.
    pub strategy: u16,
    /// Was it long?
    pub is_long: bool,
    /// Why it ended: the strategy's word for the order, or one of [`exit_reason`].
    pub exit_reason: &'static str,
}

impl TradeRow {
    /// Profit after fees as a share of what was put in; `None` when nothing was.
    #[must_use]
    pub fn profit_ratio(&self) -> Option<f64> {
        let stake = self.entry_price * self.quantity;
        (stake > 0.0).then(|| self.pnl / stake)
    }
}

/// What a fill did beside moving the position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// The fee where it is paid in money. Unit: quote asset.
    pub(crate) fee_quote: f64,
    /// The fee where it is taken from the coins that were bought. Unit: base asset.
    pub(crate) fee_base: f64,
    /// On spot, below this nothing can be sold; zero where the whole of a position can always be closed. Unit: base asset.
    pub(crate) dust: f64,
    /// Places of the quantity step.
    pub(crate) scale: u8,
}

/// A trade that is open, or whose rest is dust.
#[derive(Clone, Copy, Debug)]
struct Open {
    strategy: StrategyId,
    instrument: InstrumentId,
    /// Signed, as booked (fees in coins not subtracted), in lots of 10^-scale.
    held: i64,
    scale: u8,
    /// Of it, what earlier trades left.
    held_before: i64,
    largest: i64,
    entry_ns: u64,
    bought: f64,
    bought_value: f64,
    sold: f64,
    sold_value: f64,
    /// All fees, and those of them that were paid in money.
    fees: f64,
    fees_paid: f64,
    /// Coins that are booked and were taken as fees, those of earlier trades included.
    taken: f64,
    /// Coins that earlier trades left, and what they counted for.
    dust_before: f64,
    dust_value: f64,
    is_long: bool,
    /// The last exit, where there was one.
    exit: Option<Exit>,
}

#[derive(Clone, Copy, Debug)]
struct Exit {
    ns: u64,
    price: f64,
    reason: &'static str,
}

/// Follows fills.
#[derive(Debug, Default)]
pub(crate) struct TradeLog {
    open: Vec<Open>,
    /// Below this the rest of a position is dust, by place in `open`.
    dust: Vec<f64>,
    closed: Vec<TradeRow>,
    /// See [`Self::volume`].
    volume: f64,
}

impl TradeLog {
    /// Books a fill.
    pub(crate) fn on_fill(&mut self, strategy: StrategyId, fill: &Fill, terms: Terms, reason: &'static str) {
        let at = self.open.iter().position(|open| open.strategy == strategy && open.instrument == fill.instrument);
        let at = at.unwrap_or_else(|| {
            self.open.push(Open::flat(strategy, fill, terms.scale));
            self.dust.push(terms.dust);
            self.open.len() - 1
        });
        let (Some(open), Some(dust)) = (self.open.get_mut(at), self.dust.get_mut(at)) else { return };
        *dust = terms.dust;
        let Ok(quantity) = fill.quantity.rescale(open.scale) else { return };
        let mut left = quantity.mantissa();
        let part = 1.0 / left.max(1) as f64;
        let sign = fill.side.sign();
        if open.held.signum() == -sign {
            let closed = left.min(open.held.abs());
            open.add(fill, closed, terms, closed as f64 * part);
            open.exit = Some(Exit { ns: fill.ts_event.as_ns(), price: fill.price.to_f64(), reason });
            left -= closed;
            if open.held == 0 {
                self.closed.extend(open.row());
                *open = Open::flat(strategy, fill, terms.scale);
            }
        }
        if left > 0 {
            if open.is_over(terms.dust) {
                self.closed.extend(open.row());
                open.carry_over();
            }
            if open.held == open.held_before {
                (open.entry_ns, open.is_long) = (fill.ts_event.as_ns(), fill.side == Side::Buy);
            }
            open.add(fill, left, terms, left as f64 * part);
        }
    }

    /// All trades that have ended, in the order of their ends.
    pub(crate) fn into_closed(self) -> Vec<TradeRow> {
        let mut closed = self.closed;
        let over = self.open.iter().zip(&self.dust).filter(|(open, dust)| open.is_over(**dust));
        closed.extend(over.filter_map(|(open, _)| open.row()));
        closed.sort_by_key(|trade| trade.exit_ns);
        closed
    }
}

impl Open {
    fn flat(strategy: StrategyId, fill: &Fill, scale: u8) -> Self {
        Self {
            strategy,
            instrument: fill.instrument,
            held: 0,
            scale: scale.max(fill.quantity.scale()),
            held_before: 0,
            largest: 0,
            entry_ns: 0,
            bought: 0.0,
            bought_value: 0.0,
            sold: 0.0,
            sold_value: 0.0,
            fees: 0.0,
            fees_paid: 0.0,
            taken: 0.0,
            dust_before: 0.0,
            dust_value: 0.0,
            is_long: true,
            exit: None,
        }
    }

    /// Coins, of so many lots.
    fn coins(&self, lots: i64) -> f64 {
        lots as f64 / 10f64.powi(i32::from(self.scale))
    }

    /// What is held and there.
    fn there(&self) -> f64 {
        self.coins(self.held) - self.taken
    }

    /// Has it been left again, but for a rest that cannot be sold?
    fn is_over(&self, dust: f64) -> bool {
        // A whole step is none, whatever the sums of fractions say.
        self.exit.is_some() && (self.there() - self.dust_before).abs() < dust * (1.0 - 1e-9)
    }

    /// After the end: what is left is there for the next trade, at the price it has counted for.
    fn carry_over(&mut self) {
        let (there, price) = (self.there(), self.exit.map_or(0.0, |exit| exit.price));
        *self = Self {
            held_before: self.held,
            largest: 0,
            bought: 0.0,
            bought_value: 0.0,
            sold: 0.0,
            sold_value: 0.0,
            fees: 0.0,
            fees_paid: 0.0,
            dust_before: there,
            dust_value: there * price,
            exit: None,
            ..*self
        };
    }

    /// `share` of the fill's fee belongs to these lots.
    fn add(&mut self, fill: &Fill, lots: i64, terms: Terms, share: f64) {
        let (quantity, price) = (self.coins(lots), fill.price.to_f64());
        let value = quantity * price;
        match fill.side {
            Side::Buy => (self.bought, self.bought_value) = (self.bought + quantity, self.bought_value + value),
            Side::Sell => (self.sold, self.sold_value) = (self.sold + quantity, self.sold_value + value),
        }
        self.held += fill.side.sign() * lots;
        self.largest = self.largest.max((self.held - self.held_before).abs());
        self.fees_paid += terms.fee_quote * share;
        self.taken += terms.fee_base * share;
        self.fees += (terms.fee_quote + terms.fee_base * price) * share;
    }

    /// The trade as it ended; `None` before an exit.
    fn row(&self) -> Option<TradeRow> {
        let exit = self.exit?;
        let price = |value: f64, quantity: f64| if quantity > 0.0 { value / quantity } else { 0.0 };
        let (bought, sold) = (price(self.bought_value, self.bought), price(self.sold_value, self.sold));
        let (entry_price, exit_price) = if self.is_long { (bought, sold) } else { (sold, bought) };
        let (paid, got) = (self.bought_value + self.dust_value + self.fees_paid, self.sold_value);
        Some(TradeRow {
            entry_ns: self.entry_ns,
            exit_ns: exit.ns,
            quantity: self.coins(self.largest),
            entry_price,
            exit_price,
            pnl: got - paid + self.there() * exit.price,
            fees: self.fees,
            instrument: self.instrument,
            strategy: self.strategy.0,
            is_long: self.is_long,
            exit_reason: exit.reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::{Asset, Liquidity, Notional, Timestamp, TradeId};

    fn fill(side: Side, price: &str, quantity: &str, at: u64) -> Fill {
        Fill {
            trade_id: TradeId::EMPTY,
            instrument: InstrumentId(0),
            side,
            price: price.parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            fee: Notional::ZERO,
            fee_asset: Asset::new("USDT").unwrap(),
            liquidity: Liquidity::Taker,
            ts_event: Timestamp::from_ns(at),
        }
    }

    const PAID: Terms = Terms { fee_quote: 0.5, fee_base: 0.0, dust: 0.0, scale: 1 };

    #[test]
    fn a_position_that_turns_is_two_trades() {
        let mut log = TradeLog::default();
        let mut book = |side, price, quantity, at, reason| {
            log.on_fill(StrategyId(0), &fill(side, price, quantity, at), PAID, reason);
        };
        book(Side::Buy, "100", "1.0", 1, exit_reason::SIGNAL);
        book(Side::Buy, "110", "1.0", 2, exit_reason::SIGNAL);
        book(Side::Sell, "120", "3.0", 3, exit_reason::REVERSAL);
        book(Side::Buy, "115", "1.0", 4, exit_reason::STOP_LOSS);
        let trades = log.into_closed();
        let [long, short] = trades.as_slice() else { panic!("{trades:?}") };
        assert_eq!((long.entry_ns, long.exit_ns, long.is_long, long.quantity), (1, 3, true, 2.0));
        assert_eq!((long.entry_price, long.exit_price, long.exit_reason), (105.0, 120.0, exit_reason::REVERSAL));
        assert!((long.pnl - (30.0 - 1.0 - 0.5 * 2.0 / 3.0)).abs() < 1e-12, "{}", long.pnl);
        assert_eq!((short.entry_price, short.exit_price, short.is_long), (120.0, 115.0, false));
        assert!((short.pnl - (5.0 - 0.5 - 0.5 / 3.0)).abs() < 1e-12, "{}", short.pnl);
        assert_eq!(short.exit_reason, "stop-loss");
        assert!((short.profit_ratio().unwrap() - short.pnl / 120.0).abs() < 1e-15);
    }

    #[test]
    fn what_a_fee_in_coins_and_the_step_leave_ends_the_trade_and_goes_into_the_next() {
        let mut log = TradeLog::default();
        let mut balance = 0.0;
        let mut book = |side: Side, price: &str, quantity: &str, fee_base: f64, fee_quote: f64, at| {
            let fill = fill(side, price, quantity, at);
            balance -= fill.price.to_f64() * fill.quantity.to_f64() * side.sign() as f64 + fee_quote;
            let terms = Terms { fee_quote, fee_base, dust: 0.01, scale: 3 };
            log.on_fill(StrategyId(0), &fill, terms, exit_reason::SIGNAL);
        };
        // 1 bought, 0.9985 there; sold in two pieces of which the second is smaller than what may be sold alone.
        book(Side::Buy, "100", "1", 0.0015, 0.0, 1);
        book(Side::Sell, "110", "0.99", 0.0, 0.1, 2);
        book(Side::Sell, "110", "0.008", 0.0, 0.01, 3);
        // Half of it sold is no end.
        book(Side::Buy, "200", "1", 0.0015, 0.0, 4);
        book(Side::Sell, "190", "0.5", 0.0, 0.1, 5);
        book(Side::Buy, "200", "0.5", 0.00075, 0.0, 6);
        book(Side::Sell, "220", "0.997", 0.0, 0.2, 7);
        let trades = log.into_closed();
        let [first, second] = trades.as_slice() else { panic!("{trades:?}") };
        assert_eq!((first.entry_ns, first.exit_ns, first.quantity, first.is_long), (1, 3, 1.0, true));
        assert!((first.pnl - (0.998 * 110.0 - 100.0 - 0.11 + 0.0005 * 110.0)).abs() < 1e-9, "{}", first.pnl);
        assert!((first.fees - (0.15 + 0.11)).abs() < 1e-9, "{}", first.fees);
        assert_eq!((second.entry_ns, second.exit_ns, second.quantity), (4, 7, 1.0));
        let left = 0.0005 + (1.5 - 0.00225 - 1.497);
        let sum: f64 = trades.iter().map(|trade| trade.pnl).sum();
        assert!((sum - (balance + left * 220.0)).abs() < 1e-9, "{sum} {balance}");
    }
}
