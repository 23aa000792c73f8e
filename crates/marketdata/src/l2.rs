//! L2 data as columns: single level changes and trades in the order in which they happened, 33 bytes a row.
//!
//! A row is one level of one side as it is now (quantity zero removes it) or one public trade. The stream begins with an
//! empty book. Rows that follow each other with one receive time are one message: only its end is a state of the book.
//! Both times of the rows never run backwards. All columns have the same length.

use keel_model::Side;

/// Largest mantissa of a price or a quantity.
pub const MANTISSA_MAX: i64 = 1 << 60;

/// What a row says. The numbers are part of file forms: bit 0 is the side, bit 1 tells trades from levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum L2Kind {
    /// The bid level at the price has this quantity now.
    Bid = 0,
    /// The ask level at the price has this quantity now.
    Ask = 1,
    /// A trade whose taker bought.
    BuyTrade = 2,
    /// A trade whose taker sold.
    SellTrade = 3,
}

impl L2Kind {
    /// Is the row a level?
    #[must_use]
    #[inline]
    pub const fn is_level(self) -> bool {
        self as u8 & 2 == 0
    }

    /// 0 for bids and taking buyers, 1 for asks and taking sellers.
    #[must_use]
    #[inline]
    pub const fn side_index(self) -> usize {
        (self as u8 & 1) as usize
    }

    /// +1 for bids and taking buyers, −1 for asks and taking sellers.
    #[must_use]
    #[inline]
    pub const fn sign(self) -> i64 {
        1 - 2 * (self as u8 & 1) as i64
    }

    /// Which side of the book has changed; `None` for a trade.
    #[must_use]
    #[inline]
    pub const fn book_side(self) -> Option<Side> {
        match self {
            Self::Bid => Some(Side::Buy),
            Self::Ask => Some(Side::Sell),
            Self::BuyTrade | Self::SellTrade => None,
        }
    }

    /// The side of a trade's taker; `None` for a level.
    #[must_use]
    #[inline]
    pub const fn aggressor(self) -> Option<Side> {
        match self {
            Self::BuyTrade => Some(Side::Buy),
            Self::SellTrade => Some(Side::Sell),
            Self::Bid | Self::Ask => None,
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L2Row {
    /// The venue's time; unit: nanoseconds since the Unix epoch.
    pub ts_event_ns: u64,
    /// When it was received; unit: nanoseconds since the Unix epoch.
    pub ts_recv_ns: u64,
    /// Mantissa of the price.
    pub price: i64,
    /// Mantissa of the quantity.
    pub quantity: i64,
    /// What the row says.
    pub kind: L2Kind,
}

/// Level changes and trades of one instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct L2Columns {
    /// Scale of the prices.
    pub price_scale: u8,
    /// Scale of the quantities.
    pub quantity_scale: u8,
    /// The venue's times; unit: nanoseconds since the Unix epoch.
    pub ts_event_ns: Vec<u64>,
    /// Receive times; unit: nanoseconds since the Unix epoch.
    pub ts_recv_ns: Vec<u64>,
    /// Mantissas of the prices.
    pub price: Vec<i64>,
    /// Mantissas of the quantities.
    pub quantity: Vec<i64>,
    /// What each row says.
    pub kind: Vec<L2Kind>,
}

/// Why columns are no L2 data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L2Error {
    /// Columns of different lengths.
    #[error("the columns have different lengths; the file is damaged")]
    Length,
    /// A time before that of the row before.
    #[error("row {row}: its time is before that of the row before; sort the rows by time first")]
    Unsorted {
        /// Which row, from zero.
        row: usize,
    },
    /// A price that is not positive or a quantity that is negative, or a trade of nothing.
    #[error("row {row}: impossible price or quantity")]
    Impossible {
        /// Which row, from zero.
        row: usize,
    },
}

impl L2Columns {
    /// No rows yet.
    #[must_use]
    pub fn new(price_scale: u8, quantity_scale: u8) -> Self {
        Self { price_scale, quantity_scale, ..Self::default() }
    }

    /// Appends a row.
    pub fn push(&mut self, row: L2Row) {
        self.ts_event_ns.push(row.ts_event_ns);
        self.ts_recv_ns.push(row.ts_recv_ns);
        self.price.push(row.price);
        self.quantity.push(row.quantity);
        self.kind.push(row.kind);
    }

    /// Keeps the first `count` rows.
    pub fn truncate(&mut self, count: usize) {
        self.ts_event_ns.truncate(count);
        self.ts_recv_ns.truncate(count);
        self.price.truncate(count);
        self.quantity.truncate(count);
        self.kind.truncate(count);
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kind.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kind.is_empty()
    }

    /// Checks the columns once, so that they can be read without further checks.
    pub fn into_sound(self) -> Result<SoundL2, L2Error> {
        self.check().map(|()| SoundL2(self))
    }

    fn rows(&self) -> L2Rows<'_> {
        let length = [self.ts_event_ns.len(), self.ts_recv_ns.len(), self.price.len(), self.quantity.len()];
        let length = length.into_iter().fold(self.kind.len(), usize::min);
        L2Rows {
            price_scale: self.price_scale,
            quantity_scale: self.quantity_scale,
            ts_event_ns: self.ts_event_ns.get(..length).unwrap_or_default(),
            ts_recv_ns: self.ts_recv_ns.get(..length).unwrap_or_default(),
            price: self.price.get(..length).unwrap_or_default(),
            quantity: self.quantity.get(..length).unwrap_or_default(),
            kind: self.kind.get(..length).unwrap_or_default(),
        }
    }

    /// Are these columns what they should be?
    pub fn check(&self) -> Result<(), L2Error> {
        let rows = self.rows();
        let longest = [self.ts_event_ns.len(), self.ts_recv_ns.len(), self.price.len(), self.quantity.len()];
        if longest.into_iter().fold(self.kind.len(), usize::max) != rows.len() {
            return Err(L2Error::Length);
        }
        for times in [rows.ts_event_ns, rows.ts_recv_ns] {
            let before = times.windows(2).position(|pair| matches!(pair, [a, b] if a > b));
            if let Some(at) = before {
                return Err(L2Error::Unsorted { row: at + 1 });
            }
        }
        let is_possible = |row: &L2Row| {
            let least = i64::from(row.kind.aggressor().is_some());
            (1..=MANTISSA_MAX).contains(&row.price) && (least..=MANTISSA_MAX).contains(&row.quantity)
        };
        match rows.iter().position(|row| !is_possible(&row)) {
            Some(row) => Err(L2Error::Impossible { row }),
            None => Ok(()),
        }
    }
}

/// Columns that were checked: sorted, possible, of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundL2(L2Columns);

impl SoundL2 {
    /// All rows, for reading.
    #[must_use]
    pub fn rows(&self) -> L2Rows<'_> {
        self.0.rows()
    }
}

/// Rows of [`SoundL2`], borrowed; all slices have the same length.
#[derive(Clone, Copy, Debug)]
pub struct L2Rows<'a> {
    /// Scale of the prices.
    pub price_scale: u8,
    /// Scale of the quantities.
    pub quantity_scale: u8,
    /// The venue's times; unit: nanoseconds since the Unix epoch.
    pub ts_event_ns: &'a [u64],
    /// Receive times; unit: nanoseconds since the Unix epoch.
    pub ts_recv_ns: &'a [u64],
    /// Mantissas of the prices.
    pub price: &'a [i64],
    /// Mantissas of the quantities.
    pub quantity: &'a [i64],
    /// What each row says.
    pub kind: &'a [L2Kind],
}

impl<'a> L2Rows<'a> {
    /// How many rows.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.kind.len()
    }

    /// Are there none?
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.kind.is_empty()
    }

    /// One row.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> Option<L2Row> {
        Some(L2Row {
            ts_event_ns: *self.ts_event_ns.get(at)?,
            ts_recv_ns: *self.ts_recv_ns.get(at)?,
            price: *self.price.get(at)?,
            quantity: *self.quantity.get(at)?,
            kind: *self.kind.get(at)?,
        })
    }

    /// The rows from `from` on.
    #[must_use]
    #[inline]
    pub fn since(&self, from: usize) -> Self {
        self.range(from, self.len())
    }

    /// The rows `from..to`.
    #[must_use]
    #[inline]
    pub fn range(&self, from: usize, to: usize) -> Self {
        Self {
            ts_event_ns: self.ts_event_ns.get(from..to).unwrap_or_default(),
            ts_recv_ns: self.ts_recv_ns.get(from..to).unwrap_or_default(),
            price: self.price.get(from..to).unwrap_or_default(),
            quantity: self.quantity.get(from..to).unwrap_or_default(),
            kind: self.kind.get(from..to).unwrap_or_default(),
            ..*self
        }
    }

    /// All rows in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = L2Row> + 'a {
        let times = self.ts_event_ns.iter().zip(self.ts_recv_ns);
        let all = times.zip(self.price).zip(self.quantity).zip(self.kind);
        all.map(|((((ts_event_ns, ts_recv_ns), price), quantity), kind)| L2Row {
            ts_event_ns: *ts_event_ns,
            ts_recv_ns: *ts_recv_ns,
            price: *price,
            quantity: *quantity,
            kind: *kind,
        })
    }

    /// How many rows the message has that begins at `from`: rows with its receive time.
    #[must_use]
    pub fn message_length(&self, from: usize) -> usize {
        let Some(first) = self.ts_recv_ns.get(from) else { return 0 };
        self.ts_recv_ns.get(from..).unwrap_or_default().iter().take_while(|time| *time == first).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ts: u64, price: i64, quantity: i64, kind: L2Kind) -> L2Row {
        L2Row { ts_event_ns: ts, ts_recv_ns: ts + 5, price, quantity, kind }
    }

    #[test]
    fn rows_come_back_as_they_were_put_in_and_bad_ones_are_named() {
        let mut columns = L2Columns::new(1, 3);
        let all = [row(1, 10, 5, L2Kind::Bid), row(1, 12, 0, L2Kind::Ask), row(4, 12, 1, L2Kind::BuyTrade)];
        all.into_iter().for_each(|row| columns.push(row));
        assert_eq!(columns.check(), Ok(()));
        assert_eq!(columns.rows().iter().collect::<Vec<_>>(), all);
        assert_eq!(columns.rows().since(1).get(0), Some(all[1]));
        assert_eq!((columns.rows().message_length(0), columns.rows().message_length(2)), (2, 1));
        columns.push(row(3, 12, 1, L2Kind::Bid));
        assert_eq!(columns.check(), Err(L2Error::Unsorted { row: 3 }));
        (columns.ts_event_ns[3], columns.ts_recv_ns[3]) = (9, 9);
        columns.quantity[2] = 0;
        assert_eq!(columns.check(), Err(L2Error::Impossible { row: 2 }), "a trade of nothing");
        columns.price.pop();
        assert_eq!(columns.check(), Err(L2Error::Length));
        assert_eq!(columns.rows().len(), 3);
        assert!(columns.into_sound().is_err());
    }
}
