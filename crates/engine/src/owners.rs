//! Whose position is it? Each fill belongs to the strategy that placed the order, so that two strategies on one instrument
//! find their own part again after a restart, and no more.
//!
//! The rule: a fill counts for the strategy of its order. A closing order of the house takes from the strategies that hold the
//! other side, in their order, up to what each holds. What is left (adopted orders, orders of a strategy that this run does not
//! have, a settlement without an owner) is nobody's: no strategy adopts it; it is told as unattributed and is closed by a
//! flatten or by hand. Invariant: all parts together are the position of the account.

use keel_model::{Fill, InstrumentId, Instruments, Portfolio, PortfolioError, Position, Quantity, Side, StrategyId};
use keel_risk::HOUSE;
use keel_strategy::Strategy;
use serde::{Deserialize, Serialize};

/// The strategy id of orders whose strategy this run does not have.
pub const NOBODY: StrategyId = StrategyId(u16::MAX - 1);

/// Positions by strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerBook {
    own: Vec<Portfolio>,
    nobodys: Portfolio,
}

impl OwnerBook {
    /// Flat, for `count` strategies.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { own: vec![Portfolio::new(); count], nobodys: Portfolio::new() }
    }

    /// Books a fill of an order of `strategy`.
    pub fn book(&mut self, strategy: StrategyId, fill: &Fill) -> Result<(), PortfolioError> {
        if let Some(own) = self.own.get_mut(usize::from(strategy.0)) {
            return own.apply_fill(fill);
        }
        if strategy != HOUSE {
            return self.nobodys.apply_fill(fill);
        }
        let mut left = fill.quantity;
        for own in &mut self.own {
            let held = own.position(fill.instrument).quantity;
            let closes = match fill.side {
                Side::Sell => held,
                Side::Buy => held.neg()?,
            };
            let part = closes.min(left);
            if part.is_positive() {
                own.apply_fill(&Fill { quantity: part, ..*fill })?;
                left = left.checked_sub(part)?;
            }
        }
        if left.is_positive() {
            self.nobodys.apply_fill(&Fill { quantity: left, ..*fill })?;
        }
        Ok(())
    }

    /// What a strategy itself has bought and sold.
    #[must_use]
    pub fn own(&self, strategy: StrategyId) -> Option<&Portfolio> {
        self.own.get(usize::from(strategy.0))
    }

    /// What is nobody's.
    #[must_use]
    pub const fn nobodys(&self) -> &Portfolio {
        &self.nobodys
    }

    /// Positions that are nobody's and not flat.
    pub fn unattributed(&self) -> impl Iterator<Item = (InstrumentId, Quantity)> + '_ {
        let open = self.nobodys.positions().filter(|position| !position.is_flat());
        open.map(|position| (position.instrument, position.quantity))
    }

    /// Takes over what an earlier run left: `strategy` says who has a place of then now, `instrument` likewise.
    pub fn resume(
        &mut self,
        saved: Self,
        strategy: &dyn Fn(StrategyId) -> StrategyId,
        instrument: &dyn Fn(InstrumentId) -> Option<InstrumentId>,
    ) -> Result<(), InstrumentId> {
        for (portfolio, old) in saved.own.into_iter().zip(0u16..) {
            self.take_over(strategy(StrategyId(old)), portfolio, instrument)?;
        }
        self.take_over(NOBODY, saved.nobodys, instrument)
    }

    fn take_over(
        &mut self,
        strategy: StrategyId,
        mut portfolio: Portfolio,
        instrument: &dyn Fn(InstrumentId) -> Option<InstrumentId>,
    ) -> Result<(), InstrumentId> {
        portfolio.renumber(instrument)?;
        if let Some(own) = self.own.get_mut(usize::from(strategy.0)) {
            *own = portfolio;
            return Ok(());
        }
        // Several may have become nobody's; what each holds is added up at what it cost.
        let positions: Vec<Position> = portfolio.positions().filter(|it| !it.is_flat()).copied().collect();
        for position in positions {
            let side = if position.quantity.is_positive() { Side::Buy } else { Side::Sell };
            let quantity = position.quantity.abs().unwrap_or_default();
            let Ok(price) = position.average_price(8) else { continue };
            // A price is only kept for show; the quantity is what counts.
            let added = self.nobodys.add_position(position.instrument, side, price, quantity);
            debug_assert!(added.is_ok(), "it fitted where it came from");
        }
        Ok(())
    }
}

/// What tells strategies apart over restarts: name and symbols, and a number where that is not enough.
#[must_use]
pub fn keys(strategies: &[Box<dyn Strategy>], instruments: &Instruments) -> Vec<String> {
    let mut keys: Vec<String> = Vec::with_capacity(strategies.len());
    for strategy in strategies {
        let mut symbols: Vec<String> = strategy
            .subscriptions()
            .iter()
            .filter_map(|wish| instruments.get(wish.instrument))
            .map(|instrument| instrument.symbol.to_string())
            .collect();
        symbols.sort_unstable();
        symbols.dedup();
        let name = format!("{}@{}", strategy.name(), symbols.join(","));
        let same = keys.iter().filter(|key| **key == name || key.starts_with(&format!("{name}#"))).count();
        keys.push(if same == 0 { name } else { format!("{name}#{}", same + 1) });
    }
    keys
}

/// Where the strategies of an earlier run stand in this one, by what they are called and what they trade.
#[must_use]
pub fn places(then: &[String], now: &[String]) -> Vec<StrategyId> {
    let find = |key: &String| {
        let at = now.iter().position(|known| known == key).and_then(|at| u16::try_from(at).ok());
        at.map_or(NOBODY, StrategyId)
    };
    then.iter().map(find).collect()
}

/// The place of a strategy of then. The house stays the house; where nothing is known of then, places are as they were.
#[must_use]
pub fn place(places: &[StrategyId], id: StrategyId) -> StrategyId {
    if id == HOUSE || places.is_empty() {
        return id;
    }
    places.get(usize::from(id.0)).copied().unwrap_or(NOBODY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::{Asset, Liquidity, Notional, Timestamp, TradeId};

    const BTC: InstrumentId = InstrumentId(0);

    fn fill(side: Side, quantity: &str) -> Fill {
        Fill {
            trade_id: TradeId::new("1").unwrap(),
            instrument: BTC,
            side,
            price: "100".parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            fee: Notional::ZERO,
            fee_asset: Asset::EMPTY,
            liquidity: Liquidity::Taker,
            ts_event: Timestamp::ZERO,
        }
    }

    fn held(book: &OwnerBook) -> Vec<String> {
        let own = [StrategyId(0), StrategyId(1)].map(|id| book.own(id).unwrap().position(BTC).quantity);
        own.into_iter().chain([book.nobodys().position(BTC).quantity]).map(|it| it.normalized().to_string()).collect()
    }

    #[test]
    fn each_fill_belongs_to_the_strategy_of_its_order_and_the_rest_to_nobody() {
        let mut book = OwnerBook::new(2);
        book.book(StrategyId(0), &fill(Side::Buy, "3")).unwrap();
        book.book(StrategyId(1), &fill(Side::Sell, "1")).unwrap();
        book.book(NOBODY, &fill(Side::Sell, "0.5")).unwrap();
        assert_eq!(held(&book), ["3", "-1", "-0.5"], "it takes nothing from the others");
        book.book(HOUSE, &fill(Side::Buy, "1.25")).unwrap();
        assert_eq!(held(&book), ["3", "0", "-0.25"], "the house closes for whoever is short, nobody last");
        assert_eq!(book.unattributed().count(), 1);
    }

    #[test]
    fn a_closing_order_of_the_house_takes_from_those_who_hold_in_their_order() {
        let mut book = OwnerBook::new(2);
        book.book(StrategyId(0), &fill(Side::Buy, "3")).unwrap();
        book.book(StrategyId(1), &fill(Side::Buy, "2")).unwrap();
        book.book(HOUSE, &fill(Side::Sell, "4")).unwrap();
        assert_eq!(held(&book), ["0", "1", "0"]);
        book.book(HOUSE, &fill(Side::Sell, "1")).unwrap();
        assert_eq!(held(&book), ["0", "0", "0"]);
    }

    #[test]
    fn a_strategy_that_is_no_more_leaves_its_position_to_nobody_and_others_keep_theirs() {
        let mut before = OwnerBook::new(2);
        before.book(StrategyId(0), &fill(Side::Buy, "3")).unwrap();
        before.book(StrategyId(1), &fill(Side::Buy, "2")).unwrap();
        let mut now = OwnerBook::new(2);
        let moved = |id: StrategyId| if id == StrategyId(1) { StrategyId(0) } else { NOBODY };
        now.resume(before, &moved, &Some).unwrap();
        assert_eq!(held(&now), ["2", "0", "3"]);
    }
}
