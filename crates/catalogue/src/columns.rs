//! One form for the columns of every kind, so that merging, cutting and writing are said once.

use crate::fixed::{NOT_A_NUMBER, power};
use crate::layout::Kind;
use crate::table::Dataset;
use keel_marketdata::columns::{BarColumns, FundingColumns, Interval, QuoteColumns, TradeColumns};

/// Columns of a kind. All have the same length but `ids` and `flags`, which only trades have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) kind: Kind,
    /// Of bars.
    pub(crate) interval: Option<Interval>,
    /// Of prices and of quantities.
    pub(crate) scales: [u8; 2],
    pub(crate) ts: Vec<u64>,
    pub(crate) ids: Vec<u64>,
    pub(crate) flags: Vec<bool>,
    pub(crate) numbers: Vec<Vec<i64>>,
}

/// Which scale each number column has: 0 prices, 1 quantities.
pub(crate) const fn groups(kind: Kind) -> &'static [usize] {
    match kind {
        Kind::Bars => &[0, 0, 0, 0, 1],
        Kind::Quotes => &[0, 0, 1, 1],
        Kind::Trades => &[0, 1],
        Kind::Funding => &[0],
    }
}

impl Columns {
    /// Out of a data set; `None` for a recording.
    pub(crate) fn of(data: Dataset) -> Option<Self> {
        let plain = |kind, scales, ts, numbers| Self {
            kind,
            interval: None,
            scales,
            ts,
            ids: Vec::new(),
            flags: Vec::new(),
            numbers,
        };
        Some(match data {
            Dataset::Bars(it) => Self {
                interval: Some(it.interval),
                ..plain(
                    Kind::Bars,
                    [it.price_scale, it.quantity_scale],
                    it.ts_open_ns,
                    vec![it.open, it.high, it.low, it.close, it.volume],
                )
            },
            Dataset::Quotes(it) => plain(
                Kind::Quotes,
                [it.price_scale, it.quantity_scale],
                it.ts_ns,
                vec![it.bid, it.ask, it.bid_quantity, it.ask_quantity],
            ),
            Dataset::Trades(it) => Self {
                ids: it.trade_id,
                flags: it.is_sell,
                ..plain(Kind::Trades, [it.price_scale, it.quantity_scale], it.ts_ns, vec![it.price, it.quantity])
            },
            Dataset::Funding(it) => plain(Kind::Funding, [it.rate_scale, 0], it.ts_ns, vec![it.rate]),
            Dataset::Recording(_) => return None,
        })
    }

    /// Back into a data set.
    pub(crate) fn into_dataset(self) -> Dataset {
        let [price_scale, quantity_scale] = self.scales;
        let mut numbers = self.numbers.into_iter();
        let mut next = || numbers.next().unwrap_or_default();
        match self.kind {
            Kind::Bars => Dataset::Bars(BarColumns {
                interval: self.interval.unwrap_or(Interval::MINUTE_1),
                price_scale,
                quantity_scale,
                ts_open_ns: self.ts,
                open: next(),
                high: next(),
                low: next(),
                close: next(),
                volume: next(),
            }),
            Kind::Quotes => Dataset::Quotes(QuoteColumns {
                price_scale,
                quantity_scale,
                ts_ns: self.ts,
                bid: next(),
                ask: next(),
                bid_quantity: next(),
                ask_quantity: next(),
            }),
            Kind::Trades => Dataset::Trades(TradeColumns {
                price_scale,
                quantity_scale,
                ts_ns: self.ts,
                trade_id: self.ids,
                price: next(),
                quantity: next(),
                is_sell: self.flags,
            }),
            Kind::Funding => Dataset::Funding(FundingColumns { rate_scale: price_scale, ts_ns: self.ts, rate: next() }),
        }
    }

    /// No rows.
    pub(crate) fn none(kind: Kind, interval: Option<Interval>) -> Self {
        Self {
            kind,
            interval,
            scales: [0, 0],
            ts: Vec::new(),
            ids: Vec::new(),
            flags: Vec::new(),
            numbers: vec![Vec::new(); groups(kind).len()],
        }
    }

    /// No rows of the same kind, interval and scales.
    pub(crate) fn empty_like(&self) -> Self {
        Self { scales: self.scales, ..Self::none(self.kind, self.interval) }
    }

    pub(crate) const fn len(&self) -> usize {
        self.ts.len()
    }

    /// Brings the values to finer scales; false when 64 bits do not hold one of them, and nothing is of use then.
    #[must_use]
    pub(crate) fn rescale(&mut self, scales: [u8; 2]) -> bool {
        for (column, group) in self.numbers.iter_mut().zip(groups(self.kind)) {
            let (from, to) = (self.scales.get(*group).copied(), scales.get(*group).copied());
            let (Some(from), Some(to)) = (from, to) else { return false };
            if to < from {
                return false;
            }
            if to > from {
                let factor = power(to - from);
                for value in column.iter_mut().filter(|value| **value != NOT_A_NUMBER) {
                    let Some(wider) = value.checked_mul(factor) else { return false };
                    *value = wider;
                }
            }
        }
        self.scales = scales;
        true
    }

    /// The rows `from..to`, put behind those of `target`.
    pub(crate) fn copy_to(&self, target: &mut Self, from: usize, to: usize) {
        fn add<T: Copy>(target: &mut Vec<T>, source: &[T], from: usize, to: usize) {
            target.extend_from_slice(source.get(from..to.min(source.len())).unwrap_or_default());
        }
        add(&mut target.ts, &self.ts, from, to);
        add(&mut target.ids, &self.ids, from, to);
        add(&mut target.flags, &self.flags, from, to);
        for (target, source) in target.numbers.iter_mut().zip(&self.numbers) {
            add(target, source, from, to);
        }
    }

    /// The rows `from..to` by themselves.
    pub(crate) fn part(&self, from: usize, to: usize) -> Self {
        let mut part = self.empty_like();
        self.copy_to(&mut part, from, to);
        part
    }

    /// The rows in the order of `order`.
    pub(crate) fn gather(&self, order: &[usize]) -> Self {
        fn pick<T: Copy>(source: &[T], order: &[usize]) -> Vec<T> {
            if source.is_empty() {
                Vec::new()
            } else {
                order.iter().filter_map(|at| source.get(*at).copied()).collect()
            }
        }
        Self {
            kind: self.kind,
            interval: self.interval,
            scales: self.scales,
            ts: pick(&self.ts, order),
            ids: pick(&self.ids, order),
            flags: pick(&self.flags, order),
            numbers: self.numbers.iter().map(|column| pick(column, order)).collect(),
        }
    }

    /// Have two rows the same values?
    pub(crate) fn same_row(&self, a: usize, b: usize) -> bool {
        self.ts.get(a) == self.ts.get(b)
            && self.ids.get(a) == self.ids.get(b)
            && self.flags.get(a) == self.flags.get(b)
            && self.numbers.iter().all(|column| column.get(a) == column.get(b))
    }

    /// What tells rows apart: the time, and of trades the id. (Quotes of one time are told apart by their order.)
    pub(crate) fn key(&self, at: usize) -> (u64, u64) {
        (self.ts.get(at).copied().unwrap_or(0), self.ids.get(at).copied().unwrap_or(0))
    }

    /// A row as people read it.
    pub(crate) fn shown(&self, at: usize) -> String {
        let value = |(column, group): (&Vec<i64>, &usize)| {
            decimal(column.get(at).copied().unwrap_or(NOT_A_NUMBER), self.scales.get(*group).copied().unwrap_or(0))
        };
        let mut values: Vec<String> = self.numbers.iter().zip(groups(self.kind)).map(value).collect();
        values.extend(self.ids.get(at).map(|id| format!("id {id}")));
        values.join(" ")
    }
}

/// A mantissa as a plain decimal.
pub(crate) fn decimal(mantissa: i64, scale: u8) -> String {
    if mantissa == NOT_A_NUMBER {
        return "NaN".into();
    }
    if scale == 0 {
        return mantissa.to_string();
    }
    let (sign, digits) = (if mantissa < 0 { "-" } else { "" }, mantissa.unsigned_abs());
    let unit = power(scale).unsigned_abs();
    format!("{sign}{}.{:0width$}", digits / unit, digits % unit, width = usize::from(scale))
}
