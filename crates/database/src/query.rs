//! Questions that people ask: the trades, and how far each journal is.

use crate::{Database, DbError, Dialect};
use sqlx::Row;

/// One fill, as text: numbers are exact.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TradeRow {
    /// When it was booked, unix nanoseconds.
    pub ts_booked_ns: i64,
    /// Instrument.
    pub symbol: String,
    /// `Buy` or `Sell`.
    pub side: String,
    /// Quantity.
    pub quantity: String,
    /// Price.
    pub price: String,
    /// Price times quantity.
    pub value: String,
    /// Fee; negative for a rebate.
    pub fee: String,
    /// What the fee was paid in.
    pub fee_asset: String,
    /// `Maker` or `Taker`.
    pub liquidity: String,
    /// Number of the strategy within its run.
    pub strategy: i64,
    /// Our order.
    pub client_order_id: String,
    /// The venue's trade.
    pub trade_id: String,
    /// Which bot.
    pub instance: i64,
}

/// How far one journal is in the database.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JournalRow {
    /// Which bot.
    pub instance: i64,
    /// Folder in which it was last seen.
    pub folder: String,
    /// `paper` or `live`.
    pub mode: String,
    /// The last record that is in the database.
    pub projected_sequence: i64,
    /// Orders.
    pub orders: i64,
    /// Fills.
    pub fills: i64,
    /// Runs.
    pub sessions: i64,
}

const OWNER: &str = "query";

impl Database {
    /// The newest trades, newest first; of one instrument when it is named.
    pub async fn trades(&self, symbol: Option<&str>, count_max: u32) -> Result<Vec<TradeRow>, DbError> {
        let what = "list the trades";
        let fail = |error: sqlx::Error| DbError::of(what, &error);
        let mut connection = self.acquire(OWNER).await?;
        let rows = sqlx::query(
            "SELECT f.ts_booked_ns, f.symbol, f.side, CAST(f.quantity AS TEXT), CAST(f.price AS TEXT),
                    CAST(f.value AS TEXT), CAST(f.fee AS TEXT), f.fee_asset, f.liquidity, f.strategy,
                    f.client_order_id, f.trade_id, j.instance
             FROM fills AS f JOIN journals AS j ON j.journal_id = f.journal_id
             WHERE f.symbol = $1 OR $1 = ''
             ORDER BY f.ts_booked_ns DESC, f.sequence DESC LIMIT $2",
        )
        .bind(symbol.unwrap_or_default())
        .bind(i64::from(count_max))
        .fetch_all(&mut *connection)
        .await
        .map_err(fail)?;
        let trade = |row: sqlx::any::AnyRow| {
            Ok(TradeRow {
                ts_booked_ns: row.try_get(0)?,
                symbol: row.try_get(1)?,
                side: row.try_get(2)?,
                quantity: row.try_get(3)?,
                price: row.try_get(4)?,
                value: row.try_get(5)?,
                fee: row.try_get(6)?,
                fee_asset: row.try_get(7)?,
                liquidity: row.try_get(8)?,
                strategy: row.try_get(9)?,
                client_order_id: row.try_get(10)?,
                trade_id: row.try_get(11)?,
                instance: row.try_get(12)?,
            })
        };
        rows.into_iter().map(trade).collect::<Result<_, _>>().map_err(fail)
    }

    /// Every journal that the database knows.
    pub async fn journals(&self) -> Result<Vec<JournalRow>, DbError> {
        let fail = |error: sqlx::Error| DbError::of("list the journals", &error);
        let mut connection = self.acquire(OWNER).await?;
        let rows = sqlx::query(
            "SELECT instance, folder, mode, projected_sequence,
                    (SELECT COUNT(*) FROM orders AS o WHERE o.journal_id = j.journal_id),
                    (SELECT COUNT(*) FROM fills AS f WHERE f.journal_id = j.journal_id),
                    (SELECT COUNT(*) FROM sessions AS s WHERE s.journal_id = j.journal_id)
             FROM journals AS j ORDER BY born_ns",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(fail)?;
        let journal = |row: sqlx::any::AnyRow| {
            Ok(JournalRow {
                instance: row.try_get(0)?,
                folder: row.try_get(1)?,
                mode: row.try_get(2)?,
                projected_sequence: row.try_get(3)?,
                orders: row.try_get(4)?,
                fills: row.try_get(5)?,
                sessions: row.try_get(6)?,
            })
        };
        rows.into_iter().map(journal).collect::<Result<_, _>>().map_err(fail)
    }

    /// Is there anything at all? For SQLite: the file; a server is asked.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.dialect() == Dialect::Postgres || self.options().address.path().is_some_and(std::path::Path::exists)
    }
}
