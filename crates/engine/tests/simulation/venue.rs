//! The venue: accepts, fills, cancels, answers; with queries that lag within a promised bound.

use keel_model::order::ReasonText;
use keel_model::{
    Asset, ClientOrderId, ExecType, ExecutionReport, Fill, InstrumentId, Liquidity, Notional, OrderSnapshot,
    OrderStatus, OrderType, Price, Quantity, Side, TimeInForce, Timestamp, TradeId, VenueOrderId,
};

/// Queries lag no more than this behind acceptance; unit: milliseconds.
pub(crate) const LAG_MS_MAX: u64 = 2_000;

#[derive(Clone, Debug)]
pub(crate) struct VenueOrder {
    pub(crate) id: ClientOrderId,
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) price: Price,
    pub(crate) quantity: i64,
    pub(crate) filled: i64,
    pub(crate) status: OrderStatus,
    /// From when on queries show it.
    pub(crate) visible_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct VenueTrade {
    pub(crate) order: usize,
    pub(crate) quantity: i64,
    pub(crate) ts_ms: u64,
    pub(crate) visible_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Venue {
    pub(crate) orders: Vec<VenueOrder>,
    pub(crate) trades: Vec<VenueTrade>,
    pub(crate) position: [i64; 2],
}

pub(crate) fn lots(count: i64) -> Quantity {
    Quantity::new(count, 2).unwrap()
}

impl Venue {
    /// The worst positions that open orders could lead to.
    pub(crate) fn worst(&self, instrument: InstrumentId) -> i64 {
        let open = |side| {
            let of = |order: &&VenueOrder| {
                order.instrument == instrument && order.side == side && !order.status.is_terminal()
            };
            self.orders.iter().filter(of).map(|order| order.quantity - order.filled).sum::<i64>()
        };
        let held = self.position[instrument.index()];
        (held + open(Side::Buy)).abs().max((held - open(Side::Sell)).abs())
    }

    pub(crate) fn fill(&self, trade: usize) -> Fill {
        let (known, order) = (&self.trades[trade], &self.orders[self.trades[trade].order]);
        Fill {
            trade_id: TradeId::new(&(trade + 1).to_string()).unwrap(),
            instrument: order.instrument,
            side: order.side,
            price: order.price,
            quantity: lots(known.quantity),
            fee: Notional::ZERO,
            fee_asset: Asset::new("USDT").unwrap(),
            liquidity: Liquidity::Maker,
            ts_event: Timestamp::from_ms(known.ts_ms),
        }
    }

    pub(crate) fn report(
        &self,
        order: usize,
        exec_type: ExecType,
        trade: Option<usize>,
        now_ms: u64,
    ) -> ExecutionReport {
        let known = &self.orders[order];
        ExecutionReport {
            exec_type,
            client_order_id: Some(known.id),
            venue_order_id: VenueOrderId::new(&(order + 1).to_string()).unwrap(),
            instrument: known.instrument,
            side: known.side,
            status: known.status,
            quantity: lots(known.quantity),
            price: Some(known.price),
            cum_quantity: lots(known.filled),
            fill: trade.map(|trade| self.fill(trade)),
            ts_event: Timestamp::from_ms(now_ms),
            ts_recv: Timestamp::from_ms(now_ms),
            text: ReasonText::EMPTY,
        }
    }

    pub(crate) fn snapshot(&self, order: usize, now_ms: u64) -> OrderSnapshot {
        let known = &self.orders[order];
        OrderSnapshot {
            client_order_id: Some(known.id),
            venue_order_id: VenueOrderId::new(&(order + 1).to_string()).unwrap(),
            instrument: known.instrument,
            side: known.side,
            order_type: Some(OrderType::Limit),
            time_in_force: Some(TimeInForce::Gtc),
            status: known.status,
            quantity: lots(known.quantity),
            price: Some(known.price),
            stop_price: None,
            cum_quantity: lots(known.filled),
            cum_quote: None,
            ts_event: Timestamp::from_ms(now_ms),
        }
    }

    /// The order with an id, as queries show it now.
    pub(crate) fn visible(&self, id: ClientOrderId, now_ms: u64) -> Option<usize> {
        self.orders.iter().position(|order| order.id == id && order.visible_ms <= now_ms)
    }

    /// Trades that a question about an instrument since a time would show now.
    pub(crate) fn visible_fills(
        &self,
        instrument: InstrumentId,
        since: Timestamp,
        now_ms: u64,
    ) -> Vec<(Option<ClientOrderId>, Fill)> {
        let shown = self.trades.iter().enumerate().filter(|(_, trade)| {
            let order = &self.orders[trade.order];
            order.instrument == instrument && trade.visible_ms <= now_ms && Timestamp::from_ms(trade.ts_ms) >= since
        });
        shown.map(|(at, trade)| (Some(self.orders[trade.order].id), self.fill(at))).collect()
    }

    pub(crate) fn visible_open(&self, now_ms: u64) -> Vec<OrderSnapshot> {
        let open = self.orders.iter().enumerate();
        let open = open.filter(|(_, order)| !order.status.is_terminal() && order.visible_ms <= now_ms);
        open.map(|(at, _)| self.snapshot(at, now_ms)).collect()
    }
}
