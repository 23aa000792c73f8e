//! Our own Parquet files: doubles that are held against their decimals, a footer that says what they are.

use crate::columns::{Columns, groups};
use crate::error::CatalogueError;
use crate::fixed::exact_double;
use crate::layout::Kind;
use crate::schema::{Stamp, schema};
use crate::{atomic, time};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use keel_marketdata::columns::Interval;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::path::Path;
use std::sync::Arc;

/// Rows of a row group; groups are read in parallel by other programs.
const GROUP_ROWS: usize = 128 * 1024;
/// Rows that are handed over at once.
const BATCH_ROWS: usize = 16 * 1024;

/// Writes the rows, which are in order; the file is there whole or not at all.
pub(crate) fn write(path: &Path, columns: &Columns, covered: Vec<(u64, u64)>) -> Result<(), CatalogueError> {
    let stamp = Stamp::of_columns(columns, covered);
    let schema = schema(columns.kind);
    atomic::write(path, |file| {
        let failed = |error: parquet::errors::ParquetError| match error {
            parquet::errors::ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => CatalogueError::write(path, *source),
                Err(other) => CatalogueError::write(path, std::io::Error::other(other.to_string())),
            },
            other => CatalogueError::write(path, std::io::Error::other(other.to_string())),
        };
        let mut writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties(columns, &stamp))).map_err(failed)?;
        let mut from = 0;
        while from < columns.len() {
            let to = (from + BATCH_ROWS).min(columns.len());
            let arrays = arrays(columns, from, to).map_err(|(at, value)| {
                let place = time::iso(columns.key(at).0);
                let cause = format!("the value {value} at {place} has more digits than a double holds");
                CatalogueError::layout(path, cause, "round it on purpose: --price-scale, --quantity-scale")
            })?;
            let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|error| {
                CatalogueError::layout(path, error, "this is an error of the program; please report it")
            })?;
            writer.write(&batch).map_err(failed)?;
            from = to;
        }
        writer.close().map_err(failed).map(|_| ())
    })
}

fn properties(columns: &Columns, stamp: &Stamp) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("keel ", env!("CARGO_PKG_VERSION")).into())
        .set_key_value_metadata(Some(stamp.pairs()));
    for field in schema(columns.kind).fields() {
        let is_count =
            matches!(field.data_type(), arrow_schema::DataType::Timestamp(..) | arrow_schema::DataType::UInt64);
        let path = ColumnPath::from(field.name().as_str());
        if is_count {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

/// The rows `from..to` as Arrow; on failure the row and the value that no double stands for.
fn arrays(columns: &Columns, from: usize, to: usize) -> Result<Vec<ArrayRef>, (usize, String)> {
    let ts = columns.ts.get(from..to).unwrap_or_default();
    let nanos = || -> ArrayRef {
        let values = ts.iter().map(|ns| ns.cast_signed());
        Arc::new(TimestampNanosecondArray::from_iter_values(values).with_timezone("UTC"))
    };
    let mut numbers = Vec::with_capacity(5);
    for (column, group) in columns.numbers.iter().zip(groups(columns.kind)) {
        let scale = columns.scales.get(*group).copied().unwrap_or(0);
        let mut values = Vec::with_capacity(to - from);
        for (at, mantissa) in column.iter().enumerate().take(to).skip(from) {
            let value = exact_double(*mantissa, scale);
            values.push(value.ok_or_else(|| (at, crate::columns::decimal(*mantissa, scale)))?);
        }
        numbers.push(Arc::new(Float64Array::from(values)) as ArrayRef);
    }
    Ok(match columns.kind {
        Kind::Bars => {
            let interval = columns.interval.unwrap_or(Interval::MINUTE_1);
            let micros = |values: &mut dyn Iterator<Item = u64>| -> ArrayRef {
                let values = values.map(|ns| (ns / 1_000).cast_signed());
                Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
            };
            let mut arrays = vec![micros(&mut ts.iter().copied())];
            arrays.append(&mut numbers);
            // The last microsecond of the bar, as the venue writes it.
            arrays.push(micros(&mut ts.iter().map(|open| interval.close_ns(*open) - 1_000)));
            arrays
        }
        Kind::Quotes | Kind::Funding => {
            let mut arrays = vec![nanos()];
            arrays.append(&mut numbers);
            arrays
        }
        Kind::Trades => {
            let ids = columns.ids.get(from..to).unwrap_or_default().to_vec();
            let flags = columns.flags.get(from..to).unwrap_or_default().to_vec();
            let mut arrays = vec![nanos(), Arc::new(UInt64Array::from(ids)) as ArrayRef];
            arrays.append(&mut numbers);
            arrays.push(Arc::new(BooleanArray::from(flags)));
            arrays
        }
    })
}
