//! The Arrow schema of our own files, and what their footer says about them: kind, interval, scales, what time they cover and a
//! checksum over every value.
//!
//! Prices and quantities are doubles for the sake of other programs; each is the double nearest to a decimal of the stated scale,
//! which is held against it when it is written and again when it is read.

use crate::layout::{Kind, Layout};
use crate::options::ReadOptions;
use crate::table::{Dataset, Table};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use keel_marketdata::columns::{BarColumns, FundingColumns, Interval, QuoteColumns, TradeColumns};
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
    pub(crate) checksum: u32,
}

impl Stamp {
    /// For new data.
    pub(crate) fn new(data: &Dataset, covered: Vec<(u64, u64)>) -> Self {
        let (interval, price_scale, quantity_scale) = match data {
            Dataset::Bars(bars) => (Some(bars.interval), bars.price_scale, bars.quantity_scale),
            Dataset::Quotes(quotes) => (None, quotes.price_scale, quotes.quantity_scale),
            Dataset::Trades(trades) => (None, trades.price_scale, trades.quantity_scale),
            Dataset::Funding(funding) => (None, funding.rate_scale, 0),
            Dataset::Recording(_) => (None, 0, 0),
        };
        let mut stamp = Self { interval, price_scale, quantity_scale, covered, rows: data.len() as u64, checksum: 0 };
        stamp.checksum = stamp.checksum_over(data);
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

    /// Are these the values that were written? Not asked of values that were rounded on the way.
    pub(crate) fn verify(&self, data: &Dataset) -> Result<(), String> {
        let read = Self::new(data, self.covered.clone());
        if self.rows != read.rows {
            return Err(format!("it has {} rows, and {} were written", read.rows, self.rows));
        }
        let same_scales = (self.price_scale, self.quantity_scale) == (read.price_scale, read.quantity_scale);
        let same_interval = self.interval == read.interval;
        if same_scales && same_interval && self.checksum != read.checksum {
            return Err("the checksum over its values does not agree".into());
        }
        Ok(())
    }

    /// CRC-32C over scales, interval, covered times and every column.
    fn checksum_over(&self, data: &Dataset) -> u32 {
        let interval = self.interval.map(|interval| interval.to_string()).unwrap_or_default();
        let head = format!("{} {} {} {:?} {interval}", self.rows, self.price_scale, self.quantity_scale, self.covered);
        let mut sum = crc32c::crc32c(head.as_bytes());
        let mut chunk = Vec::with_capacity(8 * 1024);
        let mut add = |words: &mut dyn Iterator<Item = u64>| {
            loop {
                chunk.clear();
                chunk.extend(words.take(1024).flat_map(u64::to_le_bytes));
                if chunk.is_empty() {
                    break;
                }
                sum = crc32c::crc32c_append(sum, &chunk);
            }
        };
        let mut signed = |values: &[i64]| add(&mut values.iter().map(|value| value.cast_unsigned()));
        match data {
            Dataset::Bars(it) => {
                [&it.open, &it.high, &it.low, &it.close, &it.volume].into_iter().for_each(|it| signed(it))
            }
            Dataset::Quotes(it) => {
                [&it.bid, &it.ask, &it.bid_quantity, &it.ask_quantity].into_iter().for_each(|it| signed(it));
            }
            Dataset::Trades(it) => [&it.price, &it.quantity].into_iter().for_each(|it| signed(it)),
            Dataset::Funding(it) => signed(&it.rate),
            Dataset::Recording(_) => {}
        }
        add(&mut data.times().iter().copied());
        if let Dataset::Trades(it) = data {
            add(&mut it.trade_id.iter().copied());
            add(&mut it.is_sell.iter().map(|is_sell| u64::from(*is_sell)));
        }
        sum
    }
}

/// No rows of a kind; what a file of ours holds for a time in which nothing happened.
pub(crate) fn empty(layout: &Layout, options: &ReadOptions) -> Dataset {
    match layout.kind {
        Kind::Bars => Dataset::Bars(BarColumns::new(options.interval.unwrap_or(Interval::MINUTE_1), 0, 0)),
        Kind::Quotes => Dataset::Quotes(QuoteColumns::default()),
        Kind::Trades => Dataset::Trades(TradeColumns::default()),
        Kind::Funding => Dataset::Funding(FundingColumns::default()),
    }
}
