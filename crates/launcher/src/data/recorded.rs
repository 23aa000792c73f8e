//! Quotes and trades out of a recorded session, through the decoder that trades on it.

use crate::error::LaunchError;
use crate::recording;
use keel_catalogue::{Dataset, SeriesKind};
use keel_marketdata::columns::{QuoteColumns, TradeColumns};
use keel_model::{Instrument, MarketEvent, TopOfBook, Trade};
use std::path::Path;

/// The quotes and the trades of one symbol: times are when they were received.
pub(super) fn rows(path: &Path, symbol: Option<&str>) -> Result<Vec<(Option<SeriesKind>, Dataset)>, LaunchError> {
    let refused = |cause: String| LaunchError::refused(format!("recording {}", path.display()), cause);
    let contents = recording::scan(path)?;
    let known: Vec<String> = contents.instruments.iter().map(|it| it.symbol.to_string()).collect();
    let wanted = symbol.ok_or_else(|| LaunchError::Usage("--as: write venue/market/symbol".into()))?;
    let Some(instrument) = contents.instruments.by_symbol(wanted) else {
        return Err(refused(format!(
            "it has nothing of {wanted}, only of {}; name one of them with --as",
            known.join(", ")
        )));
    };
    let mut rows = Rows::new(instrument);
    let mut wrong = None;
    recording::play(path, &contents.instruments, |event| {
        let taken = match event {
            MarketEvent::TopOfBook(top) if top.instrument == instrument.id => rows.quote(top),
            MarketEvent::Trade(trade) if trade.instrument == instrument.id => rows.trade(trade),
            _ => Ok(()),
        };
        wrong = taken.err();
        wrong.is_none()
    })?;
    if let Some(cause) = wrong {
        return Err(refused(cause));
    }
    let Rows { quotes, trades, .. } = rows;
    let sets = [(SeriesKind::Quotes, Dataset::Quotes(quotes)), (SeriesKind::Trades, Dataset::Trades(trades))];
    let sets: Vec<_> =
        sets.into_iter().filter(|(_, data)| !data.is_empty()).map(|(kind, data)| (Some(kind), data)).collect();
    if sets.is_empty() {
        return Err(refused("it has neither quotes nor trades".into()));
    }
    Ok(sets)
}

/// What was heard so far, at the instrument's own scales.
struct Rows {
    scales: (u8, u8),
    quotes: QuoteColumns,
    trades: TradeColumns,
    /// Lines may be a little out of order; rows are not.
    last_ns: u64,
}

impl Rows {
    fn new(instrument: &Instrument) -> Self {
        let scales = (instrument.tick_size.normalized().scale(), instrument.lot.step.normalized().scale());
        let (price_scale, quantity_scale) = scales;
        Self {
            scales,
            quotes: QuoteColumns { price_scale, quantity_scale, ..QuoteColumns::default() },
            trades: TradeColumns { price_scale, quantity_scale, ..TradeColumns::default() },
            last_ns: 0,
        }
    }

    fn at(&mut self, ns: u64) -> u64 {
        self.last_ns = self.last_ns.max(ns);
        self.last_ns
    }

    fn price(&self, price: keel_model::Price) -> Result<i64, String> {
        let fits = price.rescale(self.scales.0).map_err(|_| format!("the price {price} is finer than the tick"))?;
        Ok(fits.mantissa())
    }

    fn quantity(&self, quantity: keel_model::Quantity) -> Result<i64, String> {
        let fits =
            quantity.rescale(self.scales.1).map_err(|_| format!("the quantity {quantity} is finer than the step"))?;
        Ok(fits.mantissa())
    }

    fn quote(&mut self, top: &TopOfBook) -> Result<(), String> {
        let ts = self.at(top.ts_recv.as_ns());
        let (bid, ask) = (self.price(top.bid.price)?, self.price(top.ask.price)?);
        let (bid_quantity, ask_quantity) = (self.quantity(top.bid.quantity)?, self.quantity(top.ask.quantity)?);
        let quotes = &mut self.quotes;
        quotes.ts_ns.push(ts);
        quotes.bid.push(bid);
        quotes.ask.push(ask);
        quotes.bid_quantity.push(bid_quantity);
        quotes.ask_quantity.push(ask_quantity);
        Ok(())
    }

    fn trade(&mut self, trade: &Trade) -> Result<(), String> {
        let ts = self.at(trade.ts_recv.as_ns());
        let id = trade.trade_id.as_str();
        let id = id.parse().map_err(|_| format!("the trade id `{id}` is no number"))?;
        let (price, quantity) = (self.price(trade.price)?, self.quantity(trade.quantity)?);
        let trades = &mut self.trades;
        trades.ts_ns.push(ts);
        trades.trade_id.push(id);
        trades.price.push(price);
        trades.quantity.push(quantity);
        trades.is_sell.push(trade.aggressor == keel_model::Side::Sell);
        Ok(())
    }
}
