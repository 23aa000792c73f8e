//! The Arrow schema of our own files, and what their footer says about them: kind, interval, scales, what time they cover and a
//! checksum over every value.
//!
//! Prices and quantities are doubles for the sake of other programs; each is the double nearest to a decimal of the stated scale,
//! which is held against it when it is written and again when it is read.

use crate::columns::Columns;
use crate::layout::Kind;
use crate::options::ReadOptions;
use crate::table::Table;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use keel_marketdata::columns::Interval;
use parquet::file::metadata::{FileMetaData, KeyValue};
use std::sync::Arc;

/// Version of the form; a higher one is refused.
const VERSION: u32 = 1;

/// Schema of a kind.
#[must_use]
pub fn schema(kind: Kind) -> Arc<Schema> {
    let time = |name: &str, unit| Field::new(name, DataType::Timestamp(unit, Some("UTC".into())), false);
    let number = |name: &str| Field::new(name, DataType::Float64, false);
    let fields = match kind {
        Kind::Bars => vec![
            time("open_time", TimeUnit::Microsecond),
            number("open"),
            number("high"),
            number("low"),
            number("close"),
            number("volume"),
            time("close_time", TimeUnit::Microsecond),
        ],
        Kind::Quotes => vec![
            time("ts", TimeUnit::Nanosecond),
            number("bid"),
            number("ask"),
            number("bid_quantity"),
            number("ask_quantity"),
        ],
        Kind::Trades => vec![
            time("ts", TimeUnit::Nanosecond),
            Field::new("trade_id", DataType::UInt64, false),
            number("price"),
            number("quantity"),
            Field::new("is_buyer_maker", DataType::Boolean, false),
        ],
        Kind::Funding => vec![time("ts", TimeUnit::Nanosecond), number("funding_rate")],
    };
    Arc::new(Schema::new(fields))
}

/// What a file of ours says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) interval: Option<Interval>,
    pub(crate) price_scale: u8,
    pub(crate) quantity_scale: u8,
    /// Times that were asked for when the rows were fetched: within them a missing row is missing at its source.
    pub(crate) covered: Vec<(u64, u64)>,
    pub(crate) rows: u64,
    pub(crate) first_ns: Option<u64>,
    pub(crate) last_ns: Option<u64>,
    pub(crate) checksum: u32,
}

impl Stamp {
    /// For new data.
    pub(crate) fn of_columns(columns: &Columns, covered: Vec<(u64, u64)>) -> Self {
        let [price_scale, quantity_scale] = columns.scales;
        let mut stamp = Self {
            interval: columns.interval,
            price_scale,
            quantity_scale,
            covered,
            rows: columns.len() as u64,
            first_ns: columns.ts.first().copied(),
            last_ns: columns.ts.last().copied(),
            checksum: 0,
        };
        stamp.checksum = stamp.checksum_over(columns);
        stamp
    }

    /// Out of a footer; `None` for a file that is not ours.
    pub(crate) fn of(metadata: &FileMetaData) -> Result<Option<Self>, String> {
        let pairs: &[KeyValue] = metadata.key_value_metadata().map_or(&[], Vec::as_slice);
        let get = |key: &str| pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref());
        let Some(version) = get("keel.version") else { return Ok(None) };
        if version.parse::<u32>().ok().is_none_or(|version| version > VERSION) {
            return Err(format!("it is of form {version}, and this program knows up to {VERSION}"));
        }
        let number = |key: &str| {
            get(key).and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| format!("its footer has no {key}"))
        };
        let scale = |key: &str| {
            number(key)
                .and_then(|it| u8::try_from(it).ok().filter(|it| *it <= 18).ok_or_else(|| format!("its {key} is {it}")))
        };
        let interval = match get("keel.interval") {
            Some(text) => Some(text.parse::<Interval>().map_err(|error| error.to_string())?),
            None => None,
        };
        let covered = get("keel.covered").unwrap_or_default();
        let covered = covered.split(' ').filter(|span| !span.is_empty()).map(|span| {
            let ends = span.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
            ends.ok_or_else(|| format!("its footer has a covered time `{span}`"))
        });
        let checksum = get("keel.crc32c").and_then(|text| u32::from_str_radix(text, 16).ok());
        Ok(Some(Self {
            interval,
            price_scale: scale("keel.price_scale")?,
            quantity_scale: scale("keel.quantity_scale")?,
            covered: covered.collect::<Result<_, _>>()?,
            rows: number("keel.rows")?,
            first_ns: get("keel.first_ns").and_then(|text| text.parse().ok()),
            last_ns: get("keel.last_ns").and_then(|text| text.parse().ok()),
            checksum: checksum.ok_or("its footer has no checksum")?,
        }))
    }

    /// For the footer.
    pub(crate) fn pairs(&self) -> Vec<KeyValue> {
        let covered: Vec<String> = self.covered.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        let mut pairs = vec![
            KeyValue::new("keel.version".to_owned(), VERSION.to_string()),
            KeyValue::new("keel.price_scale".to_owned(), self.price_scale.to_string()),
            KeyValue::new("keel.quantity_scale".to_owned(), self.quantity_scale.to_string()),
            KeyValue::new("keel.covered".to_owned(), covered.join(" ")),
            KeyValue::new("keel.rows".to_owned(), self.rows.to_string()),
            KeyValue::new("keel.crc32c".to_owned(), format!("{:08x}", self.checksum)),
        ];
        let times = [("keel.first_ns", self.first_ns), ("keel.last_ns", self.last_ns)];
        let times = times.into_iter().filter_map(|(key, ns)| Some(KeyValue::new(key.to_owned(), ns?.to_string())));
        pairs.extend(times);
        if let Some(interval) = self.interval {
            pairs.push(KeyValue::new("keel.interval".to_owned(), interval.to_string()));
        }
        pairs
    }

    /// The file's own interval goes before what is guessed, not before what is asked for.
    pub(crate) fn options(&self, options: &ReadOptions) -> ReadOptions {
        ReadOptions { interval: options.interval.or(self.interval), ..options.clone() }
    }

    /// The file's own scales, so that it reads back as it was written.
    pub(crate) fn widen(&self, table: &mut Table) {
        if !table.prices.rounds() {
            table.prices.scale = self.price_scale;
        }
        if !table.quantities.rounds() {
            table.quantities.scale = self.quantity_scale;
        }
    }

    /// No rows of a kind.
    pub(crate) fn no_rows(&self, kind: Kind) -> Columns {
        Columns { scales: [self.price_scale, self.quantity_scale], ..Columns::none(kind, self.interval) }
    }

    /// Are these the values that were written, read in the file's own scales and interval?
    pub(crate) fn verify(&self, columns: &Columns) -> Result<(), String> {
        if self.rows != columns.len() as u64 {
            return Err(format!("it has {} rows, and {} were written", columns.len(), self.rows));
        }
        if *self != Self::of_columns(columns, self.covered.clone()) {
            return Err("the checksum over its values does not agree".into());
        }
        Ok(())
    }

    /// CRC-32C over scales, interval, covered times and every column.
    fn checksum_over(&self, columns: &Columns) -> u32 {
        let interval = self.interval.map(|interval| interval.to_string()).unwrap_or_default();
        let head = format!("{} {} {} {:?} {interval}", self.rows, self.price_scale, self.quantity_scale, self.covered);
        let mut sum = crc32c::crc32c(head.as_bytes());
        sum = add(sum, &columns.ts, |word| *word);
        for column in &columns.numbers {
            sum = add(sum, column, |value| value.cast_unsigned());
        }
        sum = add(sum, &columns.ids, |word| *word);
        add(sum, &columns.flags, |flag| u64::from(*flag))
    }
}

/// The checksum goes on over values as little-endian words.
fn add<T>(mut sum: u32, values: &[T], word: impl Fn(&T) -> u64) -> u32 {
    let mut bytes = [0u8; 8 * 512];
    for part in values.chunks(512) {
        for (place, value) in bytes.chunks_exact_mut(8).zip(part) {
            place.copy_from_slice(&word(value).to_le_bytes());
        }
        sum = crc32c::crc32c_append(sum, bytes.get(..part.len() * 8).unwrap_or_default());
    }
    sum
}
