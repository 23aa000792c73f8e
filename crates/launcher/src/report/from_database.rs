//! A paper or live run out of the database: its fills become closed trades, and the equity moves when a trade closes.

use super::ReportArgs;
use crate::cli::Common;
use crate::database;
use crate::error::LaunchError;
use keel_database::{JournalRow, TradeRow};
use keel_report::{EquityPoint, Fill, Run, round_trips};

/// The most fills that are read: the newest.
const FILLS_MAX: u32 = 1_000_000;

/// The run that was asked for.
pub(super) fn run(common: &Common, args: &ReportArgs) -> Result<Run, LaunchError> {
    let (mode, mut journals, mut rows) = database::fills(common, FILLS_MAX)?;
    let is_cut = rows.len() >= FILLS_MAX as usize;
    let journal = match args.instance {
        Some(wanted) => journals.into_iter().rfind(|journal| journal.instance == i64::from(wanted)),
        None => journals.pop(),
    };
    let journal = journal.ok_or_else(|| {
        let wanted = args.instance.map_or_else(|| "a run".to_owned(), |wanted| format!("bot {wanted}"));
        LaunchError::refused("database", format!("{wanted} is not in it; `launcher database status` lists what is"))
    })?;
    rows.retain(|row| row.instance == journal.instance);
    rows.reverse();
    build(&mode, &journal, &rows, args.start_balance, is_cut)
}

fn build(
    mode: &str,
    journal: &JournalRow,
    rows: &[TradeRow],
    start_balance: Option<f64>,
    is_cut: bool,
) -> Result<Run, LaunchError> {
    let currency = currency(rows)?;
    let mut notes = Vec::new();
    let (fills, unvalued) = fills(rows, &currency)?;
    if !unvalued.is_empty() {
        notes.push(format!("Fees in {} have no price here and are not counted.", unvalued.join(", ")));
    }
    if is_cut {
        notes.push(format!("Only the newest {FILLS_MAX} fills of the database were read."));
    }
    let (trades, open) = round_trips(&fills);
    notes
        .push("Equity moves when a trade closes: what open positions gain or lose in between is not in it.".to_owned());
    if start_balance.is_none() {
        notes.push("The start balance is not known: figures of returns need --start-balance.".to_owned());
    }
    let start_equity = start_balance.unwrap_or(0.0);
    let mut equity = start_equity;
    let points = trades.iter().map(|trade| {
        equity += trade.profit;
        EquityPoint { ts_ns: trade.exit_ns, equity }
    });
    let points = points.collect();
    let mut symbols: Vec<&str> = rows.iter().map(|row| row.symbol.as_str()).collect();
    symbols.sort_unstable();
    symbols.dedup();
    Ok(Run {
        title: format!("{mode} run on {}", if symbols.is_empty() { "nothing".to_owned() } else { symbols.join(", ") }),
        kind: mode.to_owned(),
        currency,
        facts: vec![("Bot".into(), journal.instance.to_string()), ("Journal".into(), journal.folder.clone())],
        notes,
        start_ns: rows.first().map_or(0, |row| row.ts_booked_ns),
        end_ns: rows.last().map_or(0, |row| row.ts_booked_ns),
        start_equity,
        equity: points,
        orders: u64::try_from(journal.orders).ok(),
        fills: Some(fills.len() as u64),
        fees: Some(fills.iter().map(|fill| fill.fee).sum()),
        volume: Some(fills.iter().map(|fill| fill.price * fill.quantity).sum()),
        trades,
        open,
        prices: Vec::new(),
    })
}

/// The asset that prices are in: the one that every symbol ends with.
fn currency(rows: &[TradeRow]) -> Result<String, LaunchError> {
    const KNOWN: [&str; 12] =
        ["USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD", "EUR", "TRY", "BTC", "ETH", "BNB", "JPY"];
    if rows.is_empty() {
        return Ok(String::new());
    }
    let fits = |asset: &str| rows.iter().all(|row| row.symbol.len() > asset.len() && row.symbol.ends_with(asset));
    let paid = rows.iter().map(|row| row.fee_asset.as_str()).filter(|asset| !asset.is_empty());
    let found = paid.chain(KNOWN).find(|asset| fits(asset));
    found.map(ToOwned::to_owned).ok_or_else(|| {
        LaunchError::refused(
            "report",
            "the instruments of this run are not quoted in one asset; their money does not add up",
        )
    })
}

/// Fills with their fees in the currency, and the assets of fees that cannot be put into it.
fn fills(rows: &[TradeRow], currency: &str) -> Result<(Vec<Fill>, Vec<String>), LaunchError> {
    let mut unvalued: Vec<String> = Vec::new();
    let mut fills = Vec::with_capacity(rows.len());
    for row in rows {
        let number = |what: &str, text: &str| {
            let refused =
                || LaunchError::refused("database", format!("trade {}: {what} '{text}' is no number", row.trade_id));
            text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(refused)
        };
        let (price, fee) = (number("price", &row.price)?, number("fee", &row.fee)?);
        let fee = match row.fee_asset.as_str() {
            asset if asset == currency => fee,
            asset if !asset.is_empty() && row.symbol.strip_suffix(currency) == Some(asset) => fee * price,
            _ if fee == 0.0 => 0.0,
            asset => {
                if !unvalued.iter().any(|known| known == asset) {
                    unvalued.push(asset.to_owned());
                }
                0.0
            }
        };
        fills.push(Fill {
            instrument: row.symbol.clone(),
            ts_ns: row.ts_booked_ns,
            is_buy: row.side == "Buy",
            price,
            quantity: number("quantity", &row.quantity)?,
            fee,
        });
    }
    Ok((fills, unvalued))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: i64, symbol: &str, side: &str, price: &str, fee: (&str, &str)) -> TradeRow {
        TradeRow {
            ts_booked_ns: at * 1_000_000_000,
            symbol: symbol.into(),
            side: side.into(),
            quantity: "0.5".into(),
            price: price.into(),
            value: String::new(),
            fee: fee.0.into(),
            fee_asset: fee.1.into(),
            liquidity: "Taker".into(),
            strategy: 0,
            client_order_id: String::new(),
            trade_id: at.to_string(),
            instance: 1,
        }
    }

    fn journal() -> JournalRow {
        JournalRow {
            instance: 1,
            folder: "x".into(),
            mode: "paper".into(),
            projected_sequence: 1,
            orders: 3,
            fills: 2,
            sessions: 1,
        }
    }

    #[test]
    fn fees_count_in_the_quote_asset_whatever_they_were_paid_in() {
        let rows = [
            row(1, "BTCUSDT", "Buy", "100", ("0.001", "BTC")),
            row(2, "BTCUSDT", "Sell", "110", ("0.2", "USDT")),
            row(3, "BTCUSDT", "Buy", "100", ("0.3", "BNB")),
        ];
        let run = build("paper", &journal(), &rows, Some(1000.0), false).unwrap();
        assert_eq!((run.currency.as_str(), run.trades.len(), run.open.len()), ("USDT", 1, 1));
        assert!((run.trades[0].profit - (5.0 - 0.1 - 0.2)).abs() < 1e-12);
        assert!(run.notes[0].contains("BNB") && (run.fees.unwrap() - 0.3).abs() < 1e-12);
        assert!((run.equity[0].equity - 1004.7).abs() < 1e-9);
    }

    #[test]
    fn no_fills_and_several_quote_assets_are_told() {
        let run = build("paper", &journal(), &[], None, false).unwrap();
        assert_eq!((run.trades.len(), run.start_ns, run.currency.as_str()), (0, 0, ""));
        let rows = [row(1, "BTCUSDT", "Buy", "1", ("0", "")), row(2, "ETHBTC", "Buy", "1", ("0", ""))];
        assert!(build("paper", &journal(), &rows, None, false).unwrap_err().to_string().contains("one asset"));
        let rows = [row(1, "BTCUSDT", "Buy", "NaN", ("0", ""))];
        assert!(build("paper", &journal(), &rows, None, false).unwrap_err().to_string().contains("price 'NaN'"));
    }
}
