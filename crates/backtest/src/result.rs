//! What a backtest ends with: counts, exact balances, equity marks and closed trades; read by report, sweep and the verb.
//!
//! Money that is settled is exact ([`Notional`]); equity marks and figures of single trades are `f64`, for statistics only.
//! Lists are bounded: equity marks by [`MARKS_MAX`], the trades by the orders of the run.

use crate::trades::TradeRow;
use keel_engine::Effect;
use keel_model::{ClientOrderId, Fill, NewOrder, Notional, Price, Quantity, Timestamp};
use serde::Serialize;

/// Most marks of the equity curve; a longer run keeps every second, fourth, … bar.
pub const MARKS_MAX: usize = 1 << 20;

/// The account's worth over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EquityCurve {
    /// When; unit: nanoseconds since the Unix epoch; ascending.
    pub ts_ns: Vec<u64>,
    /// Balance and open profit, in the quote asset.
    pub equity: Vec<f64>,
}

impl EquityCurve {
    /// Simple returns from mark to mark; the first one from `start`. A mark after a worth of zero or less has no return
    /// and ends the series.
    #[must_use]
    pub fn returns(&self, start: f64) -> Vec<f64> {
        let mut before = start;
        let mut returns = Vec::with_capacity(self.equity.len());
        for equity in &self.equity {
            if before <= 0.0 {
                break;
            }
            returns.push(equity / before - 1.0);
            before = *equity;
        }
        returns
    }
}

/// One instrument at the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PositionEnd {
    /// The venue's symbol.
    pub symbol: String,
    /// Signed quantity, with the places of the lot step.
    pub quantity: Quantity,
    /// When what is open was entered, unit: nanoseconds since the Unix epoch; `None` when nothing is open, or only a rest
    /// that cannot be sold.
    pub entry_ns: Option<u64>,
    /// Average price of what is open; `None` when nothing is.
    pub entry_price: Option<Price>,
    /// Profit of what is open at the last price, fees not subtracted; `None` without a price.
    pub unrealized: Option<Notional>,
}

/// Spans without data, of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// Which series, such as `BTCUSDT bars 1m`.
    pub series: String,
    /// How many gaps.
    pub count: u64,
    /// Bars that are missing in them; zero for series without a fixed step.
    pub bars_missing: u64,
    /// The longest; unit: nanoseconds.
    pub longest_ns: u64,
}

/// Refused orders of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Who refused: a control of risk, or the venue.
    pub by: String,
    /// The first reason that was given.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// The end of a backtest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BacktestResult {
    /// The asset that money is in.
    pub quote_asset: String,
    /// Rows read: bars, quotes, trades, funding, or frames of a recording.
    pub rows: u64,
    /// Orders that left for the venue.
    pub orders: u64,
    /// Orders that risk refused.
    pub orders_denied: u64,
    /// Orders that the venue refused.
    pub orders_rejected: u64,
    /// What was refused, by whom and why.
    pub refusals: Vec<Refusal>,
    /// Fills, those by which the venue closed everything included.
    pub fills: u64,
    /// The position of a run with one instrument; `None` with several, see `positions`.
    pub final_position: Option<Quantity>,
    /// Every instrument at the end.
    pub positions: Vec<PositionEnd>,
    /// What the account began with, in the quote asset; for spot all assets at their first prices.
    pub start_balance: Notional,
    /// What the account has of the quote asset at the end; open profit of perpetuals is not in it. Eight places.
    pub final_balance: Notional,
    /// Balance, open profit and spot holdings at the last prices; `None` where a price is missing.
    pub final_equity: Option<Notional>,
    /// Value of everything bought and sold, in the quote asset.
    pub volume: f64,
    /// Fees paid in the quote asset.
    pub fees: Notional,
    /// Funding received (paid: negative).
    pub funding: Notional,
    /// Thread CPU time of the loop over decoded data.
    pub run_cpu_seconds: f64,
    /// Fingerprint of the trading state: the same data and settings give the same one.
    pub digest: String,
    /// Time of the first row; zero without one.
    pub first_ns: u64,
    /// Time of the last row; zero without one.
    pub last_ns: u64,
    /// Rows that could not be used (a price of zero or less, out of order, of an unknown instrument).
    pub rows_refused: u64,
    /// Gaps of each series.
    pub gaps: Vec<Gaps>,
    /// When the venue closed everything because the margin was used up.
    pub liquidated_ns: Option<u64>,
    /// The equity at the end of each UTC day.
    pub daily: EquityCurve,
    /// The equity after each bar (or each minute), when it was asked for.
    pub marks: EquityCurve,
    /// Trades from flat to flat, in the order of their ends.
    pub trades: Vec<TradeRow>,
    /// Orders and fills one by one, when they were asked for.
    pub log: OrderLog,
}

/// Orders and fills one by one; grows with the run, so it is kept on request only.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OrderLog {
    /// Every order that left for the venue.
    pub orders: Vec<NewOrder>,
    /// Every cancel that left for the venue, and when.
    pub cancels: Vec<(Timestamp, ClientOrderId)>,
    /// Every fill, with the order that it is of; [`ClientOrderId::default`] where the venue closed a position itself.
    pub fills: Vec<(ClientOrderId, Fill)>,
}

impl OrderLog {
    /// Notes what leaves for the venue.
    pub(crate) fn note(&mut self, now: Timestamp, effect: &Effect) {
        match effect {
            Effect::Submit(order) => self.orders.push(*order.get()),
            Effect::Replace(replace) => {
                let replace = replace.get();
                self.cancels.push((now, replace.cancel.client_order_id));
                self.orders.push(replace.new);
            }
            Effect::Cancel(cancel) => self.cancels.push((now, cancel.client_order_id)),
            _ => {}
        }
    }
}
