//! What guards remember over a restart: taken from the service, and given back to it.

use super::RiskService;
use crate::breaker::BreakerKind;
use crate::protections::Lock;
use crate::snapshot::{BreakerView, GuardSnapshot, StrategyView};
use crate::units::{notional_down, to_notional};
use keel_model::{InstrumentId, RiskScope, StrategyId, Timestamp};

impl RiskService {
    /// Guards that are not at rest, and what they remember.
    #[must_use]
    pub fn guards_snapshot(&self) -> GuardSnapshot {
        let account = BreakerKind::ACCOUNT.iter().filter_map(|kind| {
            let breaker = self.guards.breaker(*kind).filter(|breaker| !breaker.is_closed())?;
            let (state, since) = (breaker.state(), breaker.since());
            Some(BreakerView { kind: *kind, scope: RiskScope::Account, state, since })
        });
        let rows = || self.rows.iter().zip(0u32..).map(|(row, id)| (row, RiskScope::Instrument(InstrumentId(id))));
        let volatile = rows().filter(|(row, _)| !row.volatility.is_closed()).map(|(row, scope)| {
            let (state, since) = (row.volatility.state(), row.volatility.since());
            BreakerView { kind: BreakerKind::Volatility, scope, state, since }
        });
        let strategies = || self.guards.strategies.iter().zip(0u16..).map(|(row, id)| (row, StrategyId(id)));
        let (account_killed, venue_killed) = self.guards.killed();
        let kills = [(RiskScope::Account, account_killed), (RiskScope::Venue, venue_killed)].into_iter();
        let kills = kills.chain(rows().map(|(row, scope)| (scope, row.killed)));
        let kills = kills.chain(strategies().map(|(row, id)| (RiskScope::Strategy(id), row.killed)));
        GuardSnapshot {
            breakers: account.chain(volatile).collect(),
            kills: kills.filter_map(|(scope, cause)| cause.map(|cause| (scope, cause))).collect(),
            locks: self.guards.protections.locks().to_vec(),
            losses_in_a_row: self.guards.losses_in_a_row(),
            drawdown: to_notional(self.guards.peak.saturating_sub(self.net())),
            strategies: strategies()
                .map(|(row, id)| StrategyView {
                    id,
                    name: row.name,
                    day_pnl: to_notional(row.pnl.saturating_sub(row.day_base)),
                    drawdown: to_notional(row.peak.saturating_sub(row.pnl)),
                })
                .collect(),
            trades: self.guards.protections.trades().copied().collect(),
        }
    }

    /// Takes over what a former run had latched. Breakers that a replay opened after `saved_at` stand as they are.
    pub(crate) fn restore_guards(&mut self, saved: &GuardSnapshot, saved_at: Timestamp) {
        for kind in BreakerKind::ACCOUNT {
            let view = saved.breakers.iter().find(|it| it.kind == kind);
            let Some(breaker) = self.guards.breaker_mut(kind).filter(|it| it.since() <= saved_at) else { continue };
            match view {
                // Switched off since.
                Some(_) if kind.is_of_venue() && breaker.is_off() => {}
                Some(view) => breaker.restore(view.state, view.since),
                // Today's loss was counted from the fills: it counts whatever was saved.
                None if kind == BreakerKind::DailyLoss => {}
                None => {
                    breaker.close(saved_at);
                }
            }
        }
        for view in saved.breakers.iter().filter(|it| it.kind == BreakerKind::Volatility) {
            if let RiskScope::Instrument(id) = view.scope
                && let Some(row) = self.rows.get_mut(id.index())
            {
                row.volatility.restore(view.state, view.since);
                row.refresh();
            }
        }
        let by_name = self.strategies_by_name(saved);
        let scope_now = |scope: RiskScope| match scope {
            RiskScope::Strategy(id) => {
                by_name.iter().find(|(old, _)| *old == id).map(|(_, new)| RiskScope::Strategy(*new))
            }
            scope => Some(scope),
        };
        for (scope, cause) in &saved.kills {
            if let Some(scope) = scope_now(*scope) {
                self.kill_for(scope, *cause, saved_at);
            }
        }
        let locks: Vec<Lock> =
            saved.locks.iter().filter_map(|it| scope_now(it.scope).map(|scope| Lock { scope, ..*it })).collect();
        self.guards.protections.restore(&saved.trades, &locks);
        self.guards.set_losses_in_a_row(saved.losses_in_a_row);
        let drawdown = notional_down(saved.drawdown).unwrap_or(0);
        self.guards.peak = self.guards.peak.max(self.net().saturating_add(drawdown));
        for view in &saved.strategies {
            let new = by_name.iter().find(|(old, _)| *old == view.id).map(|(_, new)| usize::from(new.0));
            let Some(row) = new.and_then(|at| self.guards.strategies.get_mut(at)) else { continue };
            let drawdown = notional_down(view.drawdown).unwrap_or(0);
            row.peak = row.peak.max(row.pnl.saturating_add(drawdown));
        }
    }

    /// Ids of a former run and what they are now: strategies are known by their names, and by their numbers where they have none.
    fn strategies_by_name(&self, saved: &GuardSnapshot) -> Vec<(StrategyId, StrategyId)> {
        let find = |view: &StrategyView| {
            let known = self.guards.strategies.iter().zip(0u16..).map(|(row, id)| (row.name, StrategyId(id)));
            let mut known =
                known.filter(|(name, id)| if view.name.is_empty() { *id == view.id } else { *name == view.name });
            known.next().map(|(_, id)| (view.id, id))
        };
        saved.strategies.iter().filter_map(find).collect()
    }
}
