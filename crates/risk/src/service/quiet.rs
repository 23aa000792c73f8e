//! Can prices alone make a guard act soon? While they cannot, many quotes may be taken before anybody looks at the answers.

use super::RiskService;
use keel_model::InstrumentId;

impl RiskService {
    /// Is every limit that prices alone can reach farther away than what is held of the instrument is worth, twice over, and
    /// nothing else watches single prices?
    #[must_use]
    pub fn is_far_from_guards(&self, instrument: InstrumentId) -> bool {
        if self.guards.limits.volatility_bps != 0 {
            return false;
        }
        let Some(row) = self.rows.get(instrument.index()) else { return false };
        let value = i128::from(row.position.abs()) * i128::from(row.valuation());
        let at_stake = crate::units::money_up(value, row.price_scale + row.quantity_scale).unwrap_or(i128::MAX);
        let far = at_stake.saturating_mul(2);
        let net = self.net();
        let is_account_far = self.loss_max.saturating_add(net.saturating_sub(self.day_base)) > far
            && self.guards.drawdown_max.saturating_sub(self.guards.peak.saturating_sub(net)) > far;
        is_account_far
            && self.guards.strategies.iter().all(|strategy| {
                let (day, fall) =
                    (strategy.day_base.saturating_sub(strategy.pnl), strategy.peak.saturating_sub(strategy.pnl));
                self.guards.strategy_loss_max.saturating_sub(day) > far
                    && self.guards.strategy_drawdown_max.saturating_sub(fall) > far
            })
    }
}
