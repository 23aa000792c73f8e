//! How a file is to be read where it does not say so itself.

use keel_marketdata::columns::Interval;

/// What the time of a bar means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeMeans {
    /// Its start.
    Open,
    /// Its end.
    Close,
}

/// How a file is to be read. The default takes everything from the file and changes no digit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Length of the bars; told by the distance of the rows when not given.
    pub interval: Option<Interval>,
    /// Round prices half to even to this many places, instead of keeping every digit.
    pub price_scale: Option<u8>,
    /// Round quantities half to even to this many places, instead of keeping every digit.
    pub quantity_scale: Option<u8>,
    /// What the time of a bar means; told by the column's name when not given.
    pub time: Option<TimeMeans>,
    /// Our name of a column and the file's: `("time", "when")`.
    pub columns: Vec<(String, String)>,
}
