//! Writes one file of each kind and prints what is in it as JSON, for the test with DuckDB, Polars and pandas
//! (`tests/third_party/parquet.py`): `cargo run -p keel-catalogue --example write_samples -- FOLDER`.

use keel_catalogue::{Catalogue, Dataset, OnConflict, SeriesKey, SeriesKind};
use keel_marketdata::columns::{BarColumns, FundingColumns, Interval, QuoteColumns, TradeColumns};

const START: u64 = 1_706_742_000_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let catalogue = Catalogue::new(folder);
    let mut bars = BarColumns::new(Interval::MINUTE_1, 2, 5);
    for at in 0..10_000u64 {
        let price = 6_183_763 + (at * 7_919 % 10_007) as i64;
        bars.ts_open_ns.push(START + at * 60_000_000_000);
        bars.open.push(price);
        bars.high.push(price + 11);
        bars.low.push(price - 13);
        bars.close.push(price + 5);
        bars.volume.push((at * 104_729 % 99_991) as i64);
    }
    let sums = [&bars.open, &bars.high, &bars.low, &bars.close, &bars.volume].map(|it| it.iter().sum::<i64>());
    let trades = TradeColumns {
        price_scale: 2,
        quantity_scale: 8,
        ts_ns: vec![START + 5, START + 123_456_789],
        trade_id: vec![7, 9_007_199_254_740_993],
        price: vec![6_183_763, 1],
        quantity: vec![154_698_000, 1],
        is_sell: vec![true, false],
    };
    let quotes = QuoteColumns {
        price_scale: 2,
        quantity_scale: 3,
        ts_ns: vec![START + 1, START + 2],
        bid: vec![100, 101],
        ask: vec![103, 104],
        bid_quantity: vec![0, 1],
        ask_quantity: vec![3, 4],
    };
    let funding = FundingColumns { rate_scale: 8, ts_ns: vec![START], rate: vec![-10_000] };
    for (kind, data) in [
        (SeriesKind::Bars(Interval::MINUTE_1), Dataset::Bars(bars)),
        (SeriesKind::Trades, Dataset::Trades(trades)),
        (SeriesKind::Quotes, Dataset::Quotes(quotes)),
        (SeriesKind::Funding, Dataset::Funding(funding)),
    ] {
        catalogue.write(&SeriesKey::new("venue", "spot", "BTCUSDT", kind)?, data, None, OnConflict::Replace)?;
    }
    let [open, high, low, close, volume] = sums;
    println!(
        "{{\"rows\": 10000, \"open\": {open}, \"high\": {high}, \"low\": {low}, \"close\": {close}, \"volume\": {volume}, \"start_ns\": {START}}}"
    );
    Ok(())
}
