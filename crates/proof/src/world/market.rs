//! Everybody else: a crowd that quotes and trades, somebody who trades by hand on our account, the venue's own whims.

use super::{Happening, World};
use keel_model::{InstrumentStatus, Price, Quantity, Side, TimeInForce};
use keel_sim::{CancelRequest, Fault, OrderRef, OrderRequest, OrderView, StpMode};

fn cents(mantissa: i64) -> Price {
    Price::new(mantissa, 2).unwrap_or(Price::ZERO)
}

fn lots(mantissa: i64) -> Quantity {
    Quantity::new(mantissa, 2).unwrap_or(Quantity::ZERO)
}

impl World<'_> {
    /// The crowd's quotes, wide enough that ours fit between them.
    pub(super) fn open_market(&mut self) {
        let house = self.house;
        self.venue.with_engine(|engine, now| {
            for instrument in Self::instrument_ids() {
                for (side, price) in [(Side::Buy, 9_990), (Side::Sell, 10_010)] {
                    let request = OrderRequest::limit(instrument, side, lots(100_000_000), cents(price));
                    {
                        let _refused = engine.submit(now, house, &request).is_err();
                    }
                }
            }
        });
    }

    /// Somebody trades.
    pub(super) fn crowd(&mut self) {
        if self.is_healed {
            return;
        }
        let delay_ms = self.between(40, 350);
        self.at(delay_ms, Happening::Crowd);
        let instrument = Self::instrument_ids()[self.rng.below(2) as usize];
        let side = if self.rng.below(2) == 0 { Side::Buy } else { Side::Sell };
        let through = self.rng.below(4) == 0;
        let price = match (side, through) {
            (Side::Sell, false) => self.rng.between(9_991, 9_996),
            (Side::Sell, true) => 9_990,
            (Side::Buy, false) => self.rng.between(10_004, 10_009),
            (Side::Buy, true) => 10_010,
        };
        let quantity = lots(1 + self.rng.below(10) as i64);
        let request = OrderRequest {
            time_in_force: TimeInForce::Ioc,
            stp_mode: Some(StpMode::None),
            ..OrderRequest::limit(instrument, side, quantity, cents(price))
        };
        let house = self.house;
        self.venue.with_engine(|engine, now| {
            let _refused = engine.submit(now, house, &request).is_err();
        });
        self.after_venue();
    }

    /// What the venue and the operator come up with.
    pub(super) fn weather(&mut self) {
        if self.is_healed {
            return;
        }
        self.at(100, Happening::Weather);
        if self.strikes(Fault::EndOrder) {
            self.end_an_order();
        }
        if self.strikes(Fault::Foreign) {
            self.trade_by_hand();
        }
        if self.strikes(Fault::Filters) {
            self.change_filters(false);
        }
        if self.strikes(Fault::VenueClockStep) {
            self.venue_offset_ms = self.rng.between(-100, 100);
            self.venue.set_clock_offset_ms(self.venue_offset_ms);
        }
        if self.strikes(Fault::VenueClockJump) {
            self.venue_offset_ms += self.rng.between(-8_000, 8_000);
            self.venue.set_clock_offset_ms(self.venue_offset_ms);
        }
        self.after_venue();
    }

    /// The faults are over: rules are as they were.
    pub(super) fn calm_market(&mut self) {
        self.change_filters(true);
    }

    fn end_an_order(&mut self) {
        let Some(order) = self.pick_open() else { return };
        self.note(|| format!("the venue ends {}", order.client_order_id));
        let request = CancelRequest::new(order.instrument, OrderRef::Id(order.order_id));
        self.venue.with_engine(|engine, now| {
            let _refused = engine.cancel(now, order.account, &request).is_err();
        });
    }

    fn pick_open(&mut self) -> Option<OrderView> {
        let account = keel_sim::AccountId(0);
        let open: Vec<OrderView> = self.venue.with_engine(|engine, _| {
            Self::instrument_ids()
                .into_iter()
                .flat_map(|id| engine.open_orders(account, id).collect::<Vec<_>>())
                .collect()
        });
        let at = self.rng.below(open.len().max(1) as u64) as usize;
        open.get(at).copied()
    }

    /// A person places an order on our account by hand.
    fn trade_by_hand(&mut self) {
        let instrument = Self::instrument_ids()[self.rng.below(2) as usize];
        let quantity = lots(1 + self.rng.below(5) as i64);
        let is_market = self.rng.below(2) == 0;
        let request = if is_market {
            OrderRequest::market(instrument, Side::Buy, quantity)
        } else {
            OrderRequest::limit(instrument, Side::Buy, quantity, cents(9_991))
        };
        self.note(|| "a person trades by hand".to_owned());
        self.venue.with_engine(|engine, now| {
            let _refused = engine.submit(now, keel_sim::AccountId(0), &request).is_err();
        });
    }

    fn change_filters(&mut self, is_calm: bool) {
        let instrument = Self::instrument_ids()[self.rng.below(2) as usize];
        let kind = self.rng.below(4);
        self.venue.with_engine(|engine, _| {
            for id in Self::instrument_ids() {
                let Some(mut rules) = engine.instrument(id).cloned() else { continue };
                if is_calm || id == instrument {
                    rules.status = InstrumentStatus::Trading;
                    rules.lot.min = lots(1);
                    rules.max_open_orders = 200;
                }
                if !is_calm && id == instrument {
                    match kind {
                        0 => rules.status = InstrumentStatus::Halted,
                        1 => rules.lot.min = lots(5),
                        2 => rules.max_open_orders = 2,
                        _ => {}
                    }
                }
                let _kept = engine.update_instrument(rules).is_err();
            }
        });
    }
}
