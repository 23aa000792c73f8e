//! What the venue says: its log, line by line, as orders, trades and balances of its first account.
//!
//! Invariant: a gap in the numbers, a line that is not whole or an order that is accepted twice is an error or a finding,
//! never skipped.

use crate::error::CrashError;
use keel_model::{Notional, Price, Quantity};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// One line.
#[derive(Debug, Deserialize)]
struct Line {
    seq: u64,
    kind: String,
    account: u64,
    #[serde(default)]
    exec: String,
    #[serde(default)]
    symbol: String,
    #[serde(default)]
    client_order_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    side: String,
    #[serde(default)]
    quantity: String,
    #[serde(default)]
    price: String,
    #[serde(default)]
    cum_quantity: String,
    trade_id: Option<u64>,
    #[serde(default)]
    last_quantity: String,
    #[serde(default)]
    last_price: String,
    #[serde(default)]
    fee: String,
    #[serde(default)]
    fee_asset: String,
    #[serde(default)]
    asset: String,
    #[serde(default)]
    free: String,
    #[serde(default)]
    locked: String,
}

/// A trade of one order, by both sides' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The client id of the order.
    pub order: String,
    /// Is our side the buyer?
    pub is_buy: bool,
    /// How much.
    pub quantity: Quantity,
    /// At what price.
    pub price: Price,
    /// The fee.
    pub fee: Notional,
    /// In what.
    pub fee_asset: String,
}

/// An order at the venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueOrder {
    /// Its instrument.
    pub symbol: String,
    /// Is it a buy?
    pub is_buy: bool,
    /// Ordered.
    pub quantity: Quantity,
    /// Limit price; zero when there is none.
    pub price: Price,
    /// Filled.
    pub cum_quantity: Quantity,
    /// The last status.
    pub status: String,
    /// How often an order with this client id was accepted.
    pub accepted: u32,
}

impl VenueOrder {
    /// Can something still happen to it?
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "NEW" | "PARTIALLY_FILLED" | "PENDING_NEW" | "PENDING_CANCEL")
    }
}

/// Everything of the first account.
#[derive(Clone, Debug, Default)]
pub struct VenueBook {
    /// Orders by client id.
    pub orders: BTreeMap<String, VenueOrder>,
    /// Trades by instrument and the venue's trade id.
    pub trades: BTreeMap<(String, String), Trade>,
    /// Free and locked by asset.
    pub balances: BTreeMap<String, (Notional, Notional)>,
    /// Trade ids that the venue itself gave twice.
    pub trades_repeated: u32,
    /// Lines read.
    pub lines: u64,
}

/// Reads the log. A last line without its end is left out: the venue may be writing it.
pub fn read(path: &Path) -> Result<VenueBook, CrashError> {
    let text = std::fs::read_to_string(path).map_err(|source| CrashError::io("read", path, source))?;
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let mut book = VenueBook::default();
    for (line, expected) in whole.lines().zip(1u64..) {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| CrashError::unreadable(path, format!("line {expected}: {error}")))?;
        if line.seq != expected {
            return Err(CrashError::unreadable(path, format!("line {expected} has the number {}", line.seq)));
        }
        book.lines = expected;
        if line.account == 0 {
            book.take(&line).map_err(|cause| CrashError::unreadable(path, format!("line {expected}: {cause}")))?;
        }
    }
    Ok(book)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number"))
}

impl VenueBook {
    fn take(&mut self, line: &Line) -> Result<(), String> {
        if line.kind == "balance" {
            self.balances.insert(line.asset.clone(), (number(&line.free)?, number(&line.locked)?));
            return Ok(());
        }
        let order = VenueOrder {
            symbol: line.symbol.clone(),
            is_buy: line.side == "BUY",
            quantity: number(&line.quantity)?,
            price: number(&line.price)?,
            cum_quantity: number(&line.cum_quantity)?,
            status: line.status.clone(),
            accepted: u32::from(line.exec == "NEW"),
        };
        self.orders
            .entry(line.client_order_id.clone())
            .and_modify(|known| {
                known.accepted += order.accepted;
                known.status.clone_from(&order.status);
                known.cum_quantity = order.cum_quantity;
            })
            .or_insert(order);
        if let Some(id) = line.trade_id {
            let trade = Trade {
                order: line.client_order_id.clone(),
                is_buy: line.side == "BUY",
                quantity: number(&line.last_quantity)?,
                price: number(&line.last_price)?,
                fee: number(&line.fee)?,
                fee_asset: line.fee_asset.clone(),
            };
            if self.trades.insert((line.symbol.clone(), id.to_string()), trade).is_some() {
                self.trades_repeated += 1;
            }
        }
        Ok(())
    }
}
