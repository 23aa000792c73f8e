//! Tables in Parquet: ours, with the scales in the schema, and others', whose doubles are held against the decimals they print as.

use crate::columns::Columns;
use crate::error::{CatalogueError, Place};
use crate::fixed::{Fixed, NOT_A_NUMBER, Unfit, parse_decimal};
use crate::layout::{self, Kind, Layout, Slot};
use crate::options::ReadOptions;
use crate::schema::Stamp;
use crate::table::{Raw, Table};
use crate::time;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;

/// Rows of a batch: small enough to stay in the cache between the columns.
const BATCH_ROWS: usize = 16 * 1024;

/// Reads all rows; a file of ours is held against its own checksum.
pub(crate) fn read(path: &Path, file: File, options: &ReadOptions) -> Result<Raw, CatalogueError> {
    guarded(path, || read_rows(path, file, options))
}

/// The decoder takes some broken files for errors of its own and panics; here they are damaged files like the others.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, CatalogueError>) -> Result<T, CatalogueError> {
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(CatalogueError::damaged(path, text.unwrap_or("its decoder gave up")))
    })
}

fn read_rows(path: &Path, file: File, options: &ReadOptions) -> Result<Raw, CatalogueError> {
    let damaged = |error: &dyn std::fmt::Display| CatalogueError::damaged(path, error);
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
    let stamp = Stamp::of(builder.metadata().file_metadata()).map_err(|cause| damaged(&cause))?;
    let names: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
    let layout = layout::by_names(&names, options).map_err(|cause| {
        CatalogueError::layout(
            path,
            cause,
            "name a table of bars, quotes, trades or funding, or say what its columns are when it is taken in: \
             launcher data import FILE --as VENUE/MARKET/SYMBOL --columns time=…,close=…",
        )
    })?;
    // Rounded values, or bars of another length on purpose, are not those that were written.
    let is_as_written = (options.price_scale, options.quantity_scale, options.interval) == (None, None, None);
    let options = &stamp.as_ref().map_or_else(|| options.clone(), |stamp| stamp.options(options));
    let wanted: Vec<usize> =
        layout.slots.iter().enumerate().filter(|(_, slot)| **slot != Slot::Skip).map(|(at, _)| at).collect();
    let slots: Vec<Slot> = wanted.iter().filter_map(|at| layout.slots.get(*at).copied()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(&error))?;
    let mut table = Table::new(options);
    if let Some(stamp) = &stamp {
        stamp.widen(&mut table);
    }
    table.reserve(&layout, rows);
    for batch in reader {
        let batch = batch.map_err(|error| damaged(&error))?;
        let before = table.ts.len() as u64;
        for (slot, column) in slots.iter().zip(batch.columns()) {
            put(*slot, column, &mut table).map_err(|(at, cause)| CatalogueError::Row {
                path: path.into(),
                place: Place::Row(before + at as u64 + 1),
                cause,
                remedy: "export it again with decimals, or round on purpose when it is taken in: launcher data import … --price-scale, --quantity-scale",
            })?;
        }
    }
    let snapped = table.snapped();
    let data = match stamp {
        // A time in which nothing happened is kept as a file without rows.
        Some(stamp) if table.ts.is_empty() => stamp.no_rows(layout.kind).into_dataset(),
        Some(stamp) => match Columns::of(table.finish(&layout, path, options)?) {
            Some(columns) => {
                if is_as_written {
                    stamp.verify(&columns).map_err(|cause| damaged(&cause))?;
                }
                columns.into_dataset()
            }
            None => return Err(damaged(&"its kind is unknown")),
        },
        None => table.finish(&layout, path, options)?,
    };
    Ok(Raw { data, path: path.into(), first_line: None, snapped })
}

/// What the footer of a file of ours says; `None` for another's.
pub(crate) fn stamp(path: &Path) -> Result<Option<Stamp>, CatalogueError> {
    let file = File::open(path).map_err(|error| CatalogueError::read(path, error))?;
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&file).map_err(|error| CatalogueError::damaged(path, error))?;
    Stamp::of(metadata.file_metadata()).map_err(|cause| CatalogueError::damaged(path, cause))
}

impl Table {
    fn reserve(&mut self, layout: &Layout, rows: usize) {
        // A broken file may claim any number of rows; beyond this the columns grow as they are filled.
        let rows = rows.min(1024 * 1024);
        self.ts.reserve_exact(rows);
        let (prices, quantities) = match layout.kind {
            Kind::Bars => (4, 1),
            Kind::Quotes => (2, 2),
            Kind::Trades => (1, 1),
            Kind::Funding => (1, 0),
        };
        self.prices.columns.iter_mut().take(prices).for_each(|column| column.reserve_exact(rows));
        self.quantities.columns.iter_mut().take(quantities).for_each(|column| column.reserve_exact(rows));
        if layout.kind == Kind::Trades {
            self.ids.reserve_exact(rows);
            self.is_sell.reserve_exact(rows);
        }
    }
}

/// Row of the batch and what is wrong there.
type Wrong = (usize, String);

fn put(slot: Slot, column: &ArrayRef, table: &mut Table) -> Result<(), Wrong> {
    match slot {
        Slot::Skip => Ok(()),
        Slot::Time | Slot::CloseTime => times(column, &mut table.ts),
        Slot::Price(to) => numbers(column, &mut table.prices, usize::from(to)),
        Slot::Quantity(to) => numbers(column, &mut table.quantities, usize::from(to)),
        Slot::Id => ids(column, &mut table.ids),
        Slot::BuyerIsMaker | Slot::Side => sides(slot, column, &mut table.is_sell),
    }
}

fn no_nulls(column: &ArrayRef) -> Result<(), Wrong> {
    match (0..column.len()).find(|at| column.null_count() > 0 && column.is_null(*at)) {
        Some(at) => Err((at, "the time, id or side is null".into())),
        None => Ok(()),
    }
}

fn unusable(column: &ArrayRef, what: &str) -> Wrong {
    (0, format!("a column of type {} is no {what}", column.data_type()))
}

fn times(column: &ArrayRef, ts: &mut Vec<u64>) -> Result<(), Wrong> {
    fn scaled<T: ArrowPrimitiveType<Native = i64>>(
        column: &ArrayRef,
        factor: u64,
        ts: &mut Vec<u64>,
    ) -> Result<(), Wrong> {
        for (at, value) in column.as_primitive::<T>().values().iter().enumerate() {
            let ns = u64::try_from(*value).ok().and_then(|value| value.checked_mul(factor));
            ts.push(ns.ok_or_else(|| (at, format!("the time {value} lies before 1970 or too far ahead")))?);
        }
        Ok(())
    }
    no_nulls(column)?;
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => scaled::<TimestampSecondType>(column, 1_000_000_000, ts),
        DataType::Timestamp(TimeUnit::Millisecond, _) => scaled::<TimestampMillisecondType>(column, 1_000_000, ts),
        DataType::Timestamp(TimeUnit::Microsecond, _) => scaled::<TimestampMicrosecondType>(column, 1_000, ts),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => scaled::<TimestampNanosecondType>(column, 1, ts),
        DataType::Date32 => each(column.as_primitive::<Date32Type>().values(), ts, |days| {
            u64::try_from(*days).ok().map(|days| days * 86_400_000_000_000)
        }),
        DataType::Int64 => each(column.as_primitive::<Int64Type>().values(), ts, |number| {
            u64::try_from(*number).ok().and_then(time::guess_ns)
        }),
        DataType::UInt64 => each(column.as_primitive::<UInt64Type>().values(), ts, |number| time::guess_ns(*number)),
        DataType::Utf8 => texts(column, |text| time::parse(text.as_bytes()), ts, "time"),
        _ => Err(unusable(column, "time")),
    }
}

fn each<T: std::fmt::Display>(values: &[T], to: &mut Vec<u64>, read: impl Fn(&T) -> Option<u64>) -> Result<(), Wrong> {
    for (at, value) in values.iter().enumerate() {
        to.push(read(value).ok_or_else(|| (at, format!("`{value}` is no time or id")))?);
    }
    Ok(())
}

fn texts<T>(column: &ArrayRef, read: impl Fn(&str) -> Option<T>, to: &mut Vec<T>, what: &str) -> Result<(), Wrong> {
    for (at, text) in column.as_string::<i32>().iter().enumerate() {
        let text = text.unwrap_or_default();
        to.push(
            read(text).ok_or_else(|| (at, format!("`{}` is no {what}", text.chars().take(40).collect::<String>())))?,
        );
    }
    Ok(())
}

fn numbers<const N: usize>(column: &ArrayRef, to: &mut Fixed<N>, at: usize) -> Result<(), Wrong> {
    match column.data_type() {
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            let shown = |row: usize| array.values().get(row).copied().unwrap_or(f64::NAN);
            if array.null_count() == 0 {
                return to.extend_f64(at, array.values()).map_err(|(row, unfit)| told(row, shown(row), unfit));
            }
            let values: Vec<f64> = array.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
            to.extend_f64(at, &values).map_err(|(row, unfit)| told(row, shown(row), unfit))
        }
        // A float of 32 bits stands for the shortest decimal that prints as it.
        DataType::Float32 => push_each(column.as_primitive::<Float32Type>().iter(), to, at, |value| {
            parse_decimal(value.to_string().as_bytes())
        }),
        DataType::Int64 => push_each(column.as_primitive::<Int64Type>().iter(), to, at, |value| Ok((value, 0))),
        DataType::Int32 => {
            push_each(column.as_primitive::<Int32Type>().iter(), to, at, |value| Ok((i64::from(value), 0)))
        }
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            push_each(column.as_primitive::<Decimal128Type>().iter(), to, at, move |value| {
                let mantissa = i64::try_from(value).map_err(|_| Unfit::TooBig)?;
                Ok((mantissa, u8::try_from(scale).ok().filter(|scale| *scale <= 18).ok_or(Unfit::TooBig)?))
            })
        }
        DataType::Utf8 => {
            for (row, text) in column.as_string::<i32>().iter().enumerate() {
                let text = text.unwrap_or_default();
                to.push_text(at, text.as_bytes()).map_err(|unfit| told(row, text, unfit))?;
            }
            Ok(())
        }
        _ => Err(unusable(column, "number")),
    }
}

fn told(row: usize, value: impl std::fmt::Display, unfit: Unfit) -> Wrong {
    (row, format!("`{value}` {}", unfit.words()))
}

fn push_each<T: std::fmt::Display + Copy, const N: usize>(
    values: impl Iterator<Item = Option<T>>,
    to: &mut Fixed<N>,
    column: usize,
    read: impl Fn(T) -> Result<(i64, u8), Unfit>,
) -> Result<(), Wrong> {
    for (row, value) in values.enumerate() {
        let pushed = match value {
            Some(value) => read(value)
                .and_then(|(mantissa, scale)| to.push(column, mantissa, scale))
                .map_err(|unfit| told(row, value, unfit)),
            None => to.push(column, NOT_A_NUMBER, 0).map_err(|unfit| told(row, "null", unfit)),
        };
        pushed?;
    }
    Ok(())
}

fn ids(column: &ArrayRef, to: &mut Vec<u64>) -> Result<(), Wrong> {
    no_nulls(column)?;
    match column.data_type() {
        DataType::Int64 => each(column.as_primitive::<Int64Type>().values(), to, |id| u64::try_from(*id).ok()),
        DataType::UInt64 => each(column.as_primitive::<UInt64Type>().values(), to, |id| Some(*id)),
        DataType::Utf8 => texts(column, |text| text.parse().ok(), to, "trade id"),
        _ => Err(unusable(column, "trade id")),
    }
}

fn sides(slot: Slot, column: &ArrayRef, to: &mut Vec<bool>) -> Result<(), Wrong> {
    no_nulls(column)?;
    match column.data_type() {
        DataType::Boolean if slot == Slot::BuyerIsMaker => {
            to.extend(column.as_boolean().values().iter());
            Ok(())
        }
        DataType::Utf8 => texts(column, |text| side(slot, text), to, "side"),
        _ => Err(unusable(column, "side")),
    }
}

fn side(slot: Slot, text: &str) -> Option<bool> {
    match (slot, text.to_ascii_lowercase().as_str()) {
        (Slot::BuyerIsMaker, text) => layout::is_bool(text.as_bytes()),
        (_, "sell" | "s") => Some(true),
        (_, "buy" | "b") => Some(false),
        _ => None,
    }
}
