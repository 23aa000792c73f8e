//! How fast a journal becomes rows: `cargo run --release -p keel-database --example projection_speed -- [RECORDS] [ADDRESS…]`.
//! Without an address, a SQLite file beside the journal; a PostgreSQL address must name a database that may be emptied.
#![allow(clippy::disallowed_methods, reason = "it measures with the machine's clock")]

#[allow(dead_code, reason = "each user of the books needs its own part of them")]
#[path = "../tests/database/books.rs"]
mod books;

use books::{INSTANCE, SOON, Writer};
use keel_database::{Database, DatabaseAddress, DatabaseOptions, JournalSource, rebuild};
use keel_model::Side;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let records: u64 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let journal = books::open(&folder.path().join("journal"));
    let mut writer = Writer::new(&journal);
    writer.begin(&["BTCUSDT", "ETHUSDT"]);
    let mut sequence = 0;
    while writer.records < records {
        sequence += 1;
        let order = writer.place(sequence, if sequence % 2 == 0 { Side::Buy } else { Side::Sell }, 0);
        if sequence % 3 == 0 {
            writer.fill(&order, 200, 200);
        } else {
            writer.cancel(&order, 0);
        }
    }
    writer.end();
    journal.close(SOON)?;
    let file = DatabaseAddress::file(folder.path().join("keel.sqlite"));
    let mut addresses = vec![file];
    for text in arguments {
        addresses.push(DatabaseAddress::parse(&text, Path::new("."))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for address in addresses {
        let name = address.to_string();
        let (records, rows, took) = runtime.block_on(async {
            let database = Database::open(DatabaseOptions::new(address, "paper")).await?;
            let source = JournalSource::new(folder.path().join("journal"), INSTANCE, "paper");
            let began = Instant::now();
            let built = rebuild(&database, &source).await?;
            let took = began.elapsed().as_secs_f64();
            let mut rows: i64 = 0;
            let mut connection = database.acquire("count").await?;
            for sql in [
                "SELECT COUNT(*) FROM orders",
                "SELECT COUNT(*) FROM order_changes",
                "SELECT COUNT(*) FROM fills",
                "SELECT COUNT(*) FROM decisions",
            ] {
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
                rows += count;
            }
            drop(connection);
            database.close(SOON).await?;
            Ok::<_, Box<dyn std::error::Error>>((built.records, rows, took))
        })?;
        writeln!(
            std::io::stdout(),
            "{name}: {records} records became {rows} rows in {took:.2} s: {:.0} records/s, {:.0} rows/s",
            records as f64 / took,
            rows as f64 / took
        )?;
    }
    Ok(())
}
