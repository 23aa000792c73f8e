//! What the columns of a file are: told by their names, or without a header by the venues' known field counts.

use crate::options::{ReadOptions, TimeMeans};

/// What kind of rows a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bars.
    Bars,
    /// Best bids and asks.
    Quotes,
    /// Public trades, single or aggregated.
    Trades,
    /// Funding of a perpetual.
    Funding,
}

impl Kind {
    /// Its name in messages and paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bars => "bars",
            Self::Quotes => "quotes",
            Self::Trades => "trades",
            Self::Funding => "funding",
        }
    }
}

/// What becomes of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Not ours.
    Skip,
    /// When the row began or happened.
    Time,
    /// When the bar ended.
    CloseTime,
    /// Number of the price column: open, high, low, close; bid, ask; price; rate.
    Price(u8),
    /// Number of the quantity column: volume; bid, ask; quantity.
    Quantity(u8),
    /// The venue's trade id.
    Id,
    /// Was the buyer the maker, that is, the taker the seller? `true`/`false`.
    BuyerIsMaker,
    /// The taker's side: `buy`/`sell`.
    Side,
}

/// Kind and slots of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    /// One for each field.
    pub(crate) slots: Vec<Slot>,
    /// Is `Slot::Time` (or, without one, `Slot::CloseTime`) the end of a bar?
    pub(crate) time_is_close: bool,
}

/// Names by which a column is known, in lower case with everything but letters and digits left out.
const NAMES: &[(Slot, &[&str])] = &[
    (Slot::Price(0), &["open", "o", "openprice", "firsttradeprice"]),
    (Slot::Price(1), &["high", "h", "highprice"]),
    (Slot::Price(2), &["low", "l", "lowprice"]),
    (Slot::Price(3), &["close", "c", "closeprice"]),
    (Slot::Quantity(0), &["volume", "v", "vol", "basevolume", "volumebase"]),
];
const BAR_TIME: &[&str] = &[
    "opentime",
    "tsopen",
    "timestamp",
    "ts",
    "time",
    "date",
    "datetime",
    "tsevent",
    "t",
    "start",
    "starttime",
    "unix",
    "tsns",
];
const BAR_CLOSE_TIME: &[&str] = &["closetime", "tsclose", "endtime"];
const EVENT_TIME: &[&str] = &[
    "tsns",
    "ts",
    "transactiontime",
    "transacttime",
    "timestamp",
    "time",
    "date",
    "datetime",
    "tsevent",
    "calctime",
    "fundingtime",
    "eventtime",
    "t",
];
const QUOTES: &[(Slot, &[&str])] = &[
    (Slot::Price(0), &["bid", "bidprice", "bestbidprice", "bestbid"]),
    (Slot::Price(1), &["ask", "askprice", "bestaskprice", "bestask"]),
    (Slot::Quantity(0), &["bidsize", "bidqty", "bidquantity", "bestbidqty", "bidamount", "bidvolume"]),
    (Slot::Quantity(1), &["asksize", "askqty", "askquantity", "bestaskqty", "askamount", "askvolume"]),
];
const TRADES: &[(Slot, &[&str])] = &[
    (Slot::Price(0), &["price", "p"]),
    (Slot::Quantity(0), &["qty", "quantity", "size", "amount", "q"]),
    (Slot::Id, &["id", "tradeid", "aggtradeid", "a"]),
];
const TAKER: &[(Slot, &[&str])] = &[
    (Slot::BuyerIsMaker, &["isbuyermaker", "buyerismaker", "wasthebuyerthemaker", "issell", "m"]),
    (Slot::Side, &["side", "takerside", "aggressorside", "aggressor"]),
];
const FUNDING: &[(Slot, &[&str])] = &[(Slot::Price(0), &["lastfundingrate", "fundingrate", "rate"])];

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The layout by column names; `Err` says what is missing.
pub(crate) fn by_names(names: &[&str], options: &ReadOptions) -> Result<Layout, String> {
    let plain: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let renamed: Vec<&str> = names
        .iter()
        .zip(&plain)
        .map(|(name, own)| match options.columns.iter().find(|(_, theirs)| theirs == name) {
            Some((ours, _)) => ours.as_str(),
            None => own.as_str(),
        })
        .collect();
    if let Some((_, missing)) = options.columns.iter().find(|(_, theirs)| !names.contains(&theirs.as_str())) {
        return Err(format!("there is no column `{missing}` among {}", names.join(", ")));
    }
    let has = |slots: &[(Slot, &[&str])]| slots.iter().all(|(_, known)| find(&renamed, known).is_some());
    let kind = if has(NAMES) {
        Kind::Bars
    } else if has(QUOTES) {
        Kind::Quotes
    } else if has(TRADES) {
        Kind::Trades
    } else if has(FUNDING) {
        Kind::Funding
    } else {
        return Err(unknown(names, &renamed));
    };
    let mut slots = vec![Slot::Skip; names.len()];
    let mut take = |wanted: &[(Slot, &[&str])]| {
        for (slot, known) in wanted {
            if let Some(place) = find(&renamed, known).and_then(|at| slots.get_mut(at)) {
                *place = *slot;
            }
        }
    };
    match kind {
        Kind::Bars => take(NAMES),
        Kind::Quotes => take(QUOTES),
        Kind::Trades => {
            take(TRADES);
            let taker = TAKER.iter().find(|(_, known)| find(&renamed, known).is_some());
            take(&[*taker.ok_or("no column says who the taker was (`is_buyer_maker` or `side`)")?]);
        }
        Kind::Funding => take(FUNDING),
    }
    let time_is_close = take_time(kind, &renamed, &mut slots, options)?;
    Ok(Layout { kind, slots, time_is_close })
}

fn find(names: &[&str], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|known| names.iter().position(|name| name == known))
}

/// Finds the time column. `ts_ns` of bars is their end, as benchmark files have it; every other time of a bar is its start
/// unless its name or the options say otherwise.
fn take_time(kind: Kind, names: &[&str], slots: &mut [Slot], options: &ReadOptions) -> Result<bool, String> {
    let mut set = |at: usize, slot: Slot| {
        if let Some(place) = slots.get_mut(at) {
            *place = slot;
        }
    };
    if kind != Kind::Bars {
        let at = find(names, EVENT_TIME).ok_or("no column is a time (`ts`, `time`, `timestamp`)")?;
        set(at, Slot::Time);
        return Ok(false);
    }
    if let Some(at) = find(names, BAR_TIME) {
        set(at, Slot::Time);
        let is_close = names.get(at) == Some(&"tsns");
        return Ok(options.time.map_or(is_close, |means| means == TimeMeans::Close));
    }
    if let Some(at) = find(names, BAR_CLOSE_TIME) {
        set(at, Slot::CloseTime);
        return Ok(true);
    }
    // A table's unnamed index is often its time.
    match names.iter().position(|name| name.is_empty() || *name == "unnamed0") {
        Some(at) => set(at, Slot::Time),
        None => return Err("no column is a time (`timestamp`, `open_time`, `date`)".into()),
    }
    Ok(options.time == Some(TimeMeans::Close))
}

/// What is missing of the kind that comes closest.
fn unknown(names: &[&str], renamed: &[&str]) -> String {
    let missing = |slots: &[(Slot, &[&str])]| -> Vec<String> {
        let without = slots.iter().filter(|(_, known)| find(renamed, known).is_none());
        without.filter_map(|(_, known)| known.first().map(|name| (*name).to_owned())).collect()
    };
    let candidates = [("bars", NAMES), ("quotes", QUOTES), ("trades", TRADES)];
    let best = candidates
        .iter()
        .map(|(kind, slots)| (*kind, slots.len(), missing(slots)))
        .filter(|(_, count, missing)| missing.len() < *count)
        .min_by_key(|(_, _, missing)| missing.len());
    match best {
        Some((kind, _, missing)) => {
            format!(
                "its columns ({}) are neither quotes, trades nor whole bars: for {kind}, {} is missing",
                names.join(", "),
                missing.join(", ")
            )
        }
        None => format!("its columns ({}) are not those of bars, quotes, trades or funding", names.join(", ")),
    }
}

/// The layout of a file without header, by the number and the looks of the fields of its first line.
pub(crate) fn by_fields(fields: &[&[u8]], options: &ReadOptions) -> Result<Layout, String> {
    use Slot::{BuyerIsMaker, Id, Price, Quantity, Skip, Time};
    let is_word = |at: usize| fields.get(at).is_some_and(|field| is_bool(field).is_some());
    let bars = [Time, Price(0), Price(1), Price(2), Price(3), Quantity(0)];
    let (kind, slots): (Kind, &[Slot]) = match fields.len() {
        // Binance Vision: klines.
        12 => (Kind::Bars, &bars),
        // aggTrades: id, price, quantity, first, last, time, maker[, best match]
        7 | 8 if is_word(6) && !is_word(5) => {
            (Kind::Trades, &[Id, Price(0), Quantity(0), Skip, Skip, Time, BuyerIsMaker])
        }
        // trades: id, price, quantity, quote quantity, time, maker[, best match]
        6 | 7 if is_word(5) => (Kind::Trades, &[Id, Price(0), Quantity(0), Skip, Time, BuyerIsMaker]),
        6 => (Kind::Bars, &bars),
        count => return Err(format!("it has no header and {count} fields a line, which fits no known form")),
    };
    let mut slots = slots.to_vec();
    slots.resize(fields.len(), Slot::Skip);
    let time_is_close = kind == Kind::Bars && options.time == Some(TimeMeans::Close);
    Ok(Layout { kind, slots, time_is_close })
}

/// A truth value as files write it.
pub(crate) fn is_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"true" | b"True" | b"TRUE" | b"t" => Some(true),
        b"false" | b"False" | b"FALSE" | b"f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(header: &str) -> Result<Layout, String> {
        by_names(&header.split(',').collect::<Vec<_>>(), &ReadOptions::default())
    }

    fn unnamed(line: &str) -> Result<Layout, String> {
        by_fields(&line.split(',').map(str::as_bytes).collect::<Vec<_>>(), &ReadOptions::default())
    }

    #[test]
    fn known_headers_tell_their_kind() {
        for (header, kind, time_is_close) in [
            ("timestamp,open,high,low,close,volume", Kind::Bars, false),
            ("ts_ns,open,high,low,close,volume", Kind::Bars, true),
            ("ts_ns,bid,ask,bid_size,ask_size", Kind::Quotes, false),
            ("Date,Open,High,Low,Close,Volume", Kind::Bars, false),
            (",open,high,low,close,volume", Kind::Bars, false),
            ("ts,open,high,low,close,volume,turnover", Kind::Bars, false),
            ("open,high,low,close,volume,close_time", Kind::Bars, true),
            (
                "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
                Kind::Bars,
                false,
            ),
            ("id,price,qty,quote_qty,time,is_buyer_maker", Kind::Trades, false),
            (
                "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
                Kind::Trades,
                false,
            ),
            (
                "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
                Kind::Quotes,
                false,
            ),
            ("calc_time,funding_interval_hours,last_funding_rate", Kind::Funding, false),
        ] {
            let layout = named(header).unwrap_or_else(|error| panic!("{header}: {error}"));
            assert_eq!((layout.kind, layout.time_is_close), (kind, time_is_close), "{header}");
        }
        for (header, wanted) in [
            ("timestamp,open,high,low,volume", "for bars, close is missing"),
            ("open,high,low,close,volume", "no column is a time"),
            ("time,price,quantity,id", "who the taker was"),
            ("x,y,z", "are not those of"),
        ] {
            let message = named(header).unwrap_err();
            assert!(message.contains(wanted), "{header}: {message}");
        }
    }

    #[test]
    fn files_without_header_are_told_by_their_fields() {
        for (line, kind, time) in [
            ("1704067200000,1,2,0.5,1.5,10,1704067259999,15,3,5,7,0", Kind::Bars, 0),
            ("1704067200000,1,2,0.5,1.5,10", Kind::Bars, 0),
            ("5,1.5,2,3,1704067200000,True,True", Kind::Trades, 4),
            ("5,1.5,2,3,1704067200000,true", Kind::Trades, 4),
            ("5,1.5,2,3,4,1704067200000,true", Kind::Trades, 5),
            ("5,1.5,2,3,4,1704067200000,true,true", Kind::Trades, 5),
        ] {
            let layout = unnamed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(
                (layout.kind, layout.slots.iter().position(|slot| *slot == Slot::Time)),
                (kind, Some(time)),
                "{line}"
            );
            assert_eq!(layout.slots.len(), line.split(',').count());
        }
        assert!(unnamed("1,2,3").is_err());
    }

    #[test]
    fn columns_of_any_name_can_be_named() {
        let options = ReadOptions {
            columns: vec![("time".into(), "when".into()), ("close".into(), "last px".into())],
            ..ReadOptions::default()
        };
        let layout = by_names(&["when", "open", "high", "low", "last px", "volume"], &options).unwrap();
        assert_eq!((layout.slots[0], layout.slots[4]), (Slot::Time, Slot::Price(3)));
        let message = by_names(&["ts", "open", "high", "low", "close", "volume"], &options).unwrap_err();
        assert!(message.contains("no column `when`"), "{message}");
    }
}
