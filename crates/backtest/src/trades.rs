//! Trades from flat to flat, out of the fills of a run.
//!
//! A position that turns is two trades: the one that ends and the one that begins with the rest. Entry and exit prices are
//! averages; fees of the fill that turns are split by quantity. One open trade per strategy and instrument.

use keel_model::{Fill, InstrumentId, Side, StrategyId};
use serde::Serialize;

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

/// A trade that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    strategy: StrategyId,
    instrument: InstrumentId,
    /// Signed, in lots of 10^-scale of the first fill.
    held: i64,
    scale: u8,
    largest: i64,
    entry_ns: u64,
    bought: f64,
    bought_value: f64,
    sold: f64,
    sold_value: f64,
    fees: f64,
    is_long: bool,
}

/// Follows fills.
#[derive(Debug, Default)]
pub(crate) struct TradeLog {
    open: Vec<Open>,
    closed: Vec<TradeRow>,
}

impl TradeLog {
    /// Books a fill whose fee, in the quote asset, is `fee_quote`.
    pub(crate) fn on_fill(&mut self, strategy: StrategyId, fill: &Fill, fee_quote: f64, reason: &'static str) {
        let at = self.open.iter().position(|open| open.strategy == strategy && open.instrument == fill.instrument);
        let at = at.unwrap_or_else(|| {
            self.open.push(Open::flat(strategy, fill));
            self.open.len() - 1
        });
        let Some(open) = self.open.get_mut(at) else { return };
        let Ok(quantity) = fill.quantity.rescale(open.scale) else { return };
        let mut left = quantity.mantissa();
        let per_lot = fee_quote / (left.max(1)) as f64;
        let sign = fill.side.sign();
        if open.held.signum() == -sign {
            let closed = left.min(open.held.abs());
            open.add(fill, closed, per_lot);
            left -= closed;
            if open.held == 0 {
                self.closed.push(open.close(fill.ts_event.as_ns(), reason));
                *open = Open::flat(strategy, fill);
            }
        }
        if left > 0 {
            if open.held == 0 {
                (open.entry_ns, open.is_long) = (fill.ts_event.as_ns(), fill.side == Side::Buy);
            }
            open.add(fill, left, per_lot);
        }
    }

    pub(crate) fn into_closed(self) -> Vec<TradeRow> {
        self.closed
    }
}

impl Open {
    fn flat(strategy: StrategyId, fill: &Fill) -> Self {
        Self {
            strategy,
            instrument: fill.instrument,
            held: 0,
            scale: fill.quantity.scale(),
            largest: 0,
            entry_ns: 0,
            bought: 0.0,
            bought_value: 0.0,
            sold: 0.0,
            sold_value: 0.0,
            fees: 0.0,
            is_long: true,
        }
    }

    fn add(&mut self, fill: &Fill, lots: i64, fee_per_lot: f64) {
        let quantity = lots as f64 / 10f64.powi(i32::from(self.scale));
        let value = quantity * fill.price.to_f64();
        match fill.side {
            Side::Buy => (self.bought, self.bought_value) = (self.bought + quantity, self.bought_value + value),
            Side::Sell => (self.sold, self.sold_value) = (self.sold + quantity, self.sold_value + value),
        }
        self.held += fill.side.sign() * lots;
        self.largest = self.largest.max(self.held.abs());
        self.fees += fee_per_lot * lots as f64;
    }

    fn close(&self, exit_ns: u64, exit_reason: &'static str) -> TradeRow {
        let price = |value: f64, quantity: f64| if quantity > 0.0 { value / quantity } else { 0.0 };
        let (bought, sold) = (price(self.bought_value, self.bought), price(self.sold_value, self.sold));
        let (entry_price, exit_price) = if self.is_long { (bought, sold) } else { (sold, bought) };
        TradeRow {
            entry_ns: self.entry_ns,
            exit_ns,
            quantity: self.largest as f64 / 10f64.powi(i32::from(self.scale)),
            entry_price,
            exit_price,
            pnl: self.sold_value - self.bought_value - self.fees,
            fees: self.fees,
            instrument: self.instrument,
            strategy: self.strategy.0,
            is_long: self.is_long,
            exit_reason,
        }
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

    #[test]
    fn a_position_that_turns_is_two_trades() {
        let mut log = TradeLog::default();
        let mut book = |side, price, quantity, at, reason| {
            log.on_fill(StrategyId(0), &fill(side, price, quantity, at), 0.5, reason);
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
}
