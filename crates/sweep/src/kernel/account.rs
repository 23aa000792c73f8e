//! What one combination owns and what it has been through: equity, peak, drawdown, counts; advanced span by span.
//!
//! Equity is `cash + quantity · price`. An all-in long position has no cash, so that its equity is proportional to the price
//! and a whole span is taken in one step ([`Account::hold`]); any other position is followed bar by bar where a bound says
//! that its peak or drawdown can change ([`Account::follow`]). Equity of nothing or less is a total loss: the account is
//! closed with nothing.

use super::rule::{Daily, Outcome};
use super::span::Span;
use super::tile::TilePrices;

/// Account of one combination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Account {
    /// Money not invested; quote asset.
    pub cash: f64,
    /// Position, negative when short; base asset.
    pub quantity: f64,
    /// Highest equity so far.
    pub peak: f64,
    /// Least ratio of equity to the peak before it; 1 without a drawdown.
    pub fall: f64,
    /// Equity before the open position was entered.
    pub staked: f64,
    /// Sum of what winning trades made.
    pub gross_profit: f64,
    /// Sum of what losing trades lost, positive.
    pub gross_loss: f64,
    /// Orders so far.
    pub orders: u32,
    /// Closed trades that made something.
    pub wins: u32,
    /// Closed trades.
    pub trades: u32,
    /// Signals at the bar before, one bit each; whose is whose is the walker's affair.
    pub before: u32,
}

/// What only some jobs follow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Diary {
    /// Price at which the open position is stopped out; not a number: none.
    pub stop: f64,
    /// Price at which the open position takes its profit; not a number: none.
    pub target: f64,
    /// Value of the series of stops at the last bar of the tile before.
    pub stop_before: f64,
    /// Equity at the last end of a day.
    pub day_equity: f64,
    /// Daily returns.
    pub daily: Daily,
}

impl Account {
    /// Nothing but cash.
    #[must_use]
    pub const fn new(cash: f64) -> Self {
        Self {
            cash,
            quantity: 0.0,
            peak: cash,
            fall: 1.0,
            staked: cash,
            gross_profit: 0.0,
            gross_loss: 0.0,
            orders: 0,
            wins: 0,
            trades: 0,
            before: 0,
        }
    }

    /// Equity was `equity` at one instant.
    #[inline]
    pub fn mark(&mut self, equity: f64) {
        if equity > self.peak {
            self.peak = equity;
        } else if equity < self.peak * self.fall {
            self.fall = equity / self.peak;
        }
    }

    /// An all-in long position was held over two neighbouring spans.
    #[inline]
    pub fn hold(&mut self, (first, second): (Span, Span)) {
        let highest = first.highest.max(second.highest);
        let lowest = first.lowest.min(second.lowest);
        let inside = first.fall.min(second.fall);
        let is_deeper = (self.quantity * lowest < self.peak * self.fall)
            | (inside < self.fall)
            | (second.lowest < first.highest * self.fall);
        if is_deeper {
            let from_peak = self.quantity * lowest / self.peak;
            self.fall = self.fall.min(from_peak).min(first.then(second).fall);
        }
        self.peak = self.peak.max(self.quantity * highest);
    }

    /// Any position was held at the closes of bars from..to of a tile; answers the bar of a total loss.
    #[allow(clippy::indexing_slicing, reason = "bars of a tile")]
    pub fn follow(&mut self, prices: &TilePrices, from: usize, to: usize) -> Option<usize> {
        if from >= to || self.quantity == 0.0 {
            return None;
        }
        if self.cash == 0.0 && self.quantity > 0.0 {
            self.hold(prices.spans.halves(from, to));
            return None;
        }
        let mut at = from;
        while at < to {
            let end = to.min((at / 64 + 1) * 64);
            let (highest, lowest) = prices.close_of[at / 64];
            let (a, b) = (self.cash + self.quantity * highest, self.cash + self.quantity * lowest);
            let (most, least) = (a.max(b), a.min(b));
            // Whatever the order of the bars, nothing in them can be a new peak or a deeper fall.
            if most > self.peak || least < self.peak * self.fall || least <= 0.0 {
                for (bar, close) in prices.close[at..end].iter().enumerate() {
                    let equity = self.cash + self.quantity * close;
                    if equity <= 0.0 {
                        // The closing order of whoever lent the rest.
                        self.orders += 1;
                        self.lose_all();
                        return Some(at + bar);
                    }
                    self.mark(equity);
                }
            }
            at = end;
        }
        None
    }

    /// Nothing is left.
    pub fn lose_all(&mut self) {
        self.quantity = 0.0;
        self.cash = 0.0;
        self.fall = 0.0;
        self.book_trade();
    }

    /// Has everything been lost?
    #[must_use]
    pub const fn is_ruined(&self) -> bool {
        self.fall <= 0.0
    }

    /// A position was closed and `cash` holds all that is left.
    #[inline]
    pub const fn book_trade(&mut self) {
        let made = self.cash - self.staked;
        self.trades += 1;
        self.wins += (made > 0.0) as u32;
        self.gross_profit += made.max(0.0);
        self.gross_loss += (-made).max(0.0);
    }

    /// What it all came to, with the last price.
    #[must_use]
    pub fn outcome(&self, start_cash: f64, last: f64, daily: Daily) -> Outcome {
        Outcome {
            total_return: (self.cash + self.quantity * last) / start_cash - 1.0,
            max_drawdown: self.fall - 1.0,
            orders: self.orders,
            trades: self.trades,
            wins: self.wins,
            gross_profit: self.gross_profit,
            gross_loss: self.gross_loss,
            daily,
        }
    }
}

impl Diary {
    /// A day ended with `equity`.
    #[inline]
    pub fn end_day(&mut self, equity: f64) {
        if self.day_equity > 0.0 {
            self.daily.add(equity / self.day_equity - 1.0);
        }
        self.day_equity = equity;
    }
}
