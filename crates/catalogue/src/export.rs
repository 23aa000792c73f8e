//! Rows as files for others: CSV with exact decimals, or Parquet like that of the catalogue.

use crate::columns::{Columns, groups};
use crate::error::CatalogueError;
use crate::fixed::{NOT_A_NUMBER, power};
use crate::layout::Kind;
use crate::table::Dataset;
use crate::{atomic, parquet_write, time};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes a data set as the name says: `.parquet`, `.csv` or `.csv.gz`. The file is there whole or not at all; one that is there
/// already is replaced.
pub fn write_file(path: &Path, data: Dataset) -> Result<u64, CatalogueError> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let Some(columns) = Columns::of(data) else {
        return Err(CatalogueError::layout(path, "a recorded session has no rows to export", "import it first"));
    };
    let rows = columns.len() as u64;
    if name.ends_with(".parquet") {
        parquet_write::write(path, &columns, Vec::new())?;
    } else if name.ends_with(".csv") {
        atomic::write_bytes(path, |file| csv(file, &columns))?;
    } else if name.ends_with(".csv.gz") {
        atomic::write_bytes(path, |file| {
            let mut gzip = BufWriter::new(GzEncoder::new(file, Compression::fast()));
            csv(&mut gzip, &columns)?;
            let gzip = gzip.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            gzip.finish().map(|_| ())
        })?;
    } else {
        return Err(CatalogueError::layout(
            path,
            "its name does not say what it is to be",
            "end it in .parquet, .csv or .csv.gz",
        ));
    }
    Ok(rows)
}

const fn header(kind: Kind) -> &'static str {
    match kind {
        Kind::Bars => "open_time,open,high,low,close,volume,close_time",
        Kind::Quotes => "ts,bid,ask,bid_quantity,ask_quantity",
        Kind::Trades => "ts,trade_id,price,quantity,is_buyer_maker",
        Kind::Funding => "ts,funding_rate",
    }
}

fn csv(to: &mut dyn Write, columns: &Columns) -> std::io::Result<()> {
    writeln!(to, "{}", header(columns.kind))?;
    let mut line = Vec::with_capacity(160);
    for (at, ts) in columns.ts.iter().enumerate() {
        line.clear();
        write!(line, "{}", time::iso(*ts))?;
        if let Some(id) = columns.ids.get(at) {
            write!(line, ",{id}")?;
        }
        for (column, group) in columns.numbers.iter().zip(groups(columns.kind)) {
            line.push(b',');
            let scale = columns.scales.get(*group).copied().unwrap_or(0);
            put_decimal(&mut line, column.get(at).copied().unwrap_or(NOT_A_NUMBER), scale)?;
        }
        if let Some(interval) = columns.interval {
            write!(line, ",{}", time::iso(interval.close_ns(*ts) - 1_000))?;
        }
        if let Some(flag) = columns.flags.get(at) {
            write!(line, ",{flag}")?;
        }
        line.push(b'\n');
        to.write_all(&line)?;
    }
    to.flush()
}

fn put_decimal(line: &mut Vec<u8>, mantissa: i64, scale: u8) -> std::io::Result<()> {
    if mantissa == NOT_A_NUMBER {
        return Ok(());
    }
    if mantissa < 0 {
        line.push(b'-');
    }
    let (digits, unit) = (mantissa.unsigned_abs(), power(scale).unsigned_abs());
    match scale {
        0 => write!(line, "{digits}"),
        _ => write!(line, "{}.{:0width$}", digits / unit, digits % unit, width = usize::from(scale)),
    }
}
