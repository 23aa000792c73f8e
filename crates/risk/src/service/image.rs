//! What a replay of the journal builds up in the service, as part of a snapshot of the whole state: positions, cash, balances
//! and reservations. Rules, limits and rates are this run's; prices come from the market.

use super::RiskService;
use crate::ledger::AssetRow;
use crate::row::Reservation;
use crate::snapshot::RiskSnapshot;
use crate::strategies::{Cell, Name, StrategyRow};
use crate::units::rescale;
use keel_model::{InstrumentId, StrategyId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a replay has built up. Opaque: it is only ever given back to [`RiskService::resume_from`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RiskImage {
    rows: Vec<RowImage>,
    assets: Vec<AssetRow>,
    pnl: i128,
    fees: i128,
    day: u64,
    day_base: i128,
    latches: RiskSnapshot,
    /// Height of the profit.
    peak: i128,
    #[serde(default)]
    strategies: Vec<StrategyImage>,
}

/// A strategy's share; known by its name, and by its number where it has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StrategyImage {
    name: Name,
    number: usize,
    pnl: i128,
    day_base: i128,
    peak: i128,
    /// With the scales of price and quantity that it is in.
    cells: Vec<(InstrumentId, (u8, u8), Cell)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RowImage {
    instrument: InstrumentId,
    price_scale: u8,
    quantity_scale: u8,
    position: i64,
    cash: i128,
    pnl: i128,
    last_price: i64,
    is_held: bool,
    open: Vec<Reservation>,
}

impl RowImage {
    /// In the scales of this run; `None` when they cannot hold it.
    fn rescaled(mut self, price_scale: u8, quantity_scale: u8) -> Option<Self> {
        let (from, to) = ((self.price_scale, self.quantity_scale), (price_scale, quantity_scale));
        if from != to {
            let price = |value: i64| rescale(value, from.0, to.0);
            let quantity = |value: i64| rescale(value, from.1, to.1);
            self.cash = rescale(i64::try_from(self.cash).ok()?, from.0 + from.1, to.0 + to.1)?.into();
            self.position = quantity(self.position)?;
            self.last_price = price(self.last_price).unwrap_or(0);
            for own in &mut self.open {
                (own.remaining, own.price) = (quantity(own.remaining)?, price(own.price)?);
                own.stop = own.stop.and_then(price);
            }
        }
        Some(self)
    }
}

impl RiskService {
    /// Takes what a replay has built up.
    #[must_use]
    pub fn image(&self, now: Timestamp) -> RiskImage {
        let rows = self.rows.iter().zip(0u32..).map(|(row, id)| RowImage {
            instrument: InstrumentId(id),
            price_scale: row.price_scale,
            quantity_scale: row.quantity_scale,
            position: row.position,
            cash: row.cash,
            pnl: row.pnl,
            last_price: row.last_price,
            is_held: row.is_held,
            open: row.open.clone(),
        });
        RiskImage {
            rows: rows.collect(),
            assets: self.ledger.assets().to_vec(),
            pnl: self.pnl,
            fees: self.fees,
            day: self.day,
            day_base: self.day_base,
            peak: self.guards.peak,
            strategies: self.strategy_images(),
            latches: RiskSnapshot { reservations: Vec::new(), ..self.snapshot(now) },
        }
    }

    /// Goes on from an image. `renumber` answers this run's id of an instrument of the image; the instrument that has none, or
    /// whose numbers do not fit this run's scales, is the error. Called once, on a fresh service.
    pub fn resume_from(
        &mut self,
        image: RiskImage,
        renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>,
    ) -> Result<(), InstrumentId> {
        let mut latches = image.latches;
        latches.positions.clear();
        latches.carry_over(|id| renumber(id).ok_or(id))?;
        for mut asset in image.assets {
            // Reservations are added below, in this run's slots.
            asset.reserved = 0;
            self.ledger.take_over(asset);
        }
        for saved in image.rows {
            let old = saved.instrument;
            let is_empty = saved.position == 0 && saved.cash == 0 && saved.open.is_empty();
            let Some(new) = renumber(old) else {
                if is_empty {
                    continue;
                }
                return Err(old);
            };
            let Some(row) = self.rows.get_mut(new.index()) else { return Err(old) };
            let saved = saved.rescaled(row.price_scale, row.quantity_scale).ok_or(old)?;
            for own in saved.open {
                self.add(new, own);
            }
            let Some(row) = self.rows.get_mut(new.index()) else { return Err(old) };
            (row.position, row.cash, row.pnl) = (saved.position, saved.cash, saved.pnl);
            (row.last_price, row.is_held) = (saved.last_price, saved.is_held);
            self.update_exposure(new);
        }
        (self.pnl, self.fees) = (image.pnl, image.fees);
        self.resume_strategies(image.strategies, renumber);
        self.restore(&latches);
        (self.day, self.day_base) = (image.day, image.day_base);
        self.guards.peak = image.peak;
        Ok(())
    }

    fn strategy_images(&self) -> Vec<StrategyImage> {
        let image =
            |(number, row): (usize, &StrategyRow)| {
                let cells =
                    row.cells.iter().zip(&self.rows).zip(0u32..).map(|((cell, rules), id)| {
                        (InstrumentId(id), (rules.price_scale, rules.quantity_scale), *cell)
                    });
                let cells = cells.filter(|(_, _, cell)| !cell.is_untouched()).collect();
                StrategyImage { name: row.name, number, pnl: row.pnl, day_base: row.day_base, peak: row.peak, cells }
            };
        self.guards.strategies.iter().enumerate().map(image).collect()
    }

    /// A strategy that this run does not have leaves its share behind; the account's own sums have it.
    fn resume_strategies(
        &mut self,
        images: Vec<StrategyImage>,
        renumber: &dyn Fn(InstrumentId) -> Option<InstrumentId>,
    ) {
        for image in images {
            if image.name.is_empty()
                && let Ok(id) = u16::try_from(image.number)
            {
                // Nobody announced it then: it gets its row as its first order would give it one.
                let _row = self.guards.strategy_mut(StrategyId(id), self.rows.len());
            }
            let is_same = |number: usize, name: Name| {
                if image.name.is_empty() { number == image.number } else { name == image.name }
            };
            let at = self.guards.strategies.iter().enumerate().position(|(number, row)| is_same(number, row.name));
            let Some(row) = at.and_then(|at| self.guards.strategies.get_mut(at)) else { continue };
            (row.pnl, row.day_base, row.peak) = (image.pnl, image.day_base, image.peak);
            for (old, scales, mut cell) in image.cells {
                let Some(new) = renumber(old) else { continue };
                let Some(rules) = self.rows.get(new.index()) else { continue };
                if scales != (rules.price_scale, rules.quantity_scale) {
                    cell.rescale(scales, (rules.price_scale, rules.quantity_scale));
                }
                if let Some(place) = row.cells.get_mut(new.index()) {
                    *place = cell;
                }
            }
        }
    }
}
