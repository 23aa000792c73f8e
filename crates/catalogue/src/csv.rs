//! Tables as text: comma, semicolon or tab between the fields, with or without a header, packed or not.
//!
//! One pass over the bytes; each number becomes a mantissa without a detour over doubles. A malformed line is an error with its
//! line number; a value that is no number (`NaN`, empty) is kept as such and left to the checks.

use crate::error::{CatalogueError, Place};
use crate::fixed::{NOT_A_NUMBER, Unfit, parse_decimal};
use crate::layout::{self, Layout, Slot};
use crate::options::ReadOptions;
use crate::source::Blocks;
use crate::table::{Raw, Table};
use crate::time;
use std::borrow::Cow;
use std::path::Path;

/// How one file is cut into fields.
struct Form {
    layout: Layout,
    separator: u8,
}

/// Reads all rows.
pub(crate) fn read(path: &Path, mut blocks: Blocks, options: &ReadOptions) -> Result<Raw, CatalogueError> {
    let mut table = Table::new(options);
    let mut form: Option<Form> = None;
    let mut lines = 0u64;
    let mut first_line = 1;
    while let Some(mut block) = blocks.next_block(path)? {
        let ready = match form.take() {
            Some(form) => form,
            None => {
                let (made, has_header, rest) = begin(path, block, options)?;
                block = rest;
                lines = u64::from(has_header);
                first_line = lines + 1;
                made
            }
        };
        rows(path, block, &ready, &mut table, &mut lines)?;
        form = Some(ready);
    }
    let Some(form) = form else {
        return Err(CatalogueError::layout(path, "it is empty", "fetch or export it again"));
    };
    let snapped = table.snapped();
    Ok(Raw {
        data: table.finish(&form.layout, path, options)?,
        path: path.into(),
        first_line: Some(first_line),
        snapped,
    })
}

/// Looks at the first line: the form, whether that line is a header, and the bytes behind it.
fn begin<'a>(path: &Path, block: &'a [u8], options: &ReadOptions) -> Result<(Form, bool, &'a [u8]), CatalogueError> {
    let block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
    let end = block.iter().position(|byte| *byte == b'\n').unwrap_or(block.len());
    let line = block.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let separator = *b",;\t".iter().max_by_key(|mark| line.iter().filter(|byte| byte == mark).count()).unwrap_or(&b',');
    let fields: Vec<&[u8]> = line.split(|byte| *byte == separator).map(unquoted).collect();
    let refused = |cause: String| {
        let remedy = "name a table of bars, quotes, trades or funding, or say what its columns are when it is taken in: \
             launcher data import FILE --as VENUE/MARKET/SYMBOL --columns time=…,close=…";
        CatalogueError::layout(path, cause, remedy)
    };
    let is_data =
        |field: &&[u8]| time::parse(field).is_some() || parse_decimal(field).is_ok_and(|(it, _)| it != NOT_A_NUMBER);
    if fields.iter().filter(|field| is_data(field)).count() * 2 > fields.len() {
        let layout = layout::by_fields(&fields, options).map_err(refused)?;
        return Ok((Form { layout, separator }, false, block));
    }
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') || std::str::from_utf8(line).is_err() {
        return Err(refused("it is neither text nor Parquet, gzip or zip".into()));
    }
    let names: Vec<Cow<'_, str>> = fields.iter().map(|field| String::from_utf8_lossy(field)).collect();
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let layout = layout::by_names(&names, options).map_err(refused)?;
    Ok((Form { layout, separator }, true, block.get(end + 1..).unwrap_or_default()))
}

fn unquoted(field: &[u8]) -> &[u8] {
    match field {
        [b'"', inner @ .., b'"'] => inner,
        _ => field,
    }
}

/// Puts the rows of a block into the table.
fn rows(path: &Path, mut block: &[u8], form: &Form, table: &mut Table, lines: &mut u64) -> Result<(), CatalogueError> {
    while !block.is_empty() {
        *lines += 1;
        let (mut line, rest) = match memchr::memchr(b'\n', block) {
            Some(end) => (block.get(..end).unwrap_or_default(), block.get(end + 1..).unwrap_or_default()),
            None => (block, &[][..]),
        };
        block = rest;
        if let [before @ .., b'\r'] = line {
            line = before;
        }
        if let Err(cause) = row(line, form, table) {
            // Blank lines at the end are harmless; in the middle they shift the numbers of rows.
            if line.is_empty() && block.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
                return Ok(());
            }
            return Err(CatalogueError::Row {
                path: path.into(),
                place: Place::Line(*lines),
                cause: cause.words(line),
                remedy: "correct the line, or fetch or export the file again",
            });
        }
    }
    Ok(())
}

/// What is wrong with a line.
enum Wrong {
    Fields { found: usize, wanted: usize },
    Field { at: usize, words: &'static str },
}

impl Wrong {
    #[cold]
    fn words(&self, line: &[u8]) -> String {
        if line.is_empty() {
            return "it is blank".into();
        }
        match self {
            Self::Fields { found, wanted } => format!("it has {found} fields and not {wanted}"),
            Self::Field { at, words } => {
                let field = line.split(|byte| matches!(byte, b',' | b';' | b'\t')).nth(*at).unwrap_or_default();
                let shown: String = String::from_utf8_lossy(field).chars().take(40).collect();
                format!("field {} `{shown}` {words}", at + 1)
            }
        }
    }
}

#[inline]
fn row(line: &[u8], form: &Form, table: &mut Table) -> Result<(), Wrong> {
    let slots = form.layout.slots.as_slice();
    let mut rest = Some(line);
    for (at, slot) in slots.iter().enumerate() {
        let Some(left) = rest else { return Err(Wrong::Fields { found: at, wanted: slots.len() }) };
        let field = match left.iter().position(|byte| *byte == form.separator) {
            Some(end) => {
                rest = left.get(end + 1..);
                left.get(..end).unwrap_or_default()
            }
            None => {
                rest = None;
                left
            }
        };
        if *slot != Slot::Skip {
            let field = if field.first() == Some(&b'"') { unquoted(field) } else { field };
            put(*slot, field, table).map_err(|words| Wrong::Field { at, words })?;
        }
    }
    match rest {
        None => Ok(()),
        Some(_) => Err(Wrong::Fields {
            found: line.iter().filter(|byte| **byte == form.separator).count() + 1,
            wanted: slots.len(),
        }),
    }
}

#[inline]
fn put(slot: Slot, field: &[u8], table: &mut Table) -> Result<(), &'static str> {
    match slot {
        Slot::Skip => {}
        Slot::Price(column) => table.prices.push_text(usize::from(column), field).map_err(Unfit::words)?,
        Slot::Quantity(column) => table.quantities.push_text(usize::from(column), field).map_err(Unfit::words)?,
        Slot::Time | Slot::CloseTime => table.ts.push(time::parse(field).ok_or("is no time")?),
        Slot::Id => {
            let text = std::str::from_utf8(field).map_err(|_| "is no trade id")?;
            table.ids.push(text.parse().map_err(|_| "is no trade id")?);
        }
        Slot::BuyerIsMaker => table.is_sell.push(layout::is_bool(field).ok_or("is neither true nor false")?),
        Slot::Side => table.is_sell.push(match field {
            b"sell" | b"SELL" | b"Sell" | b"s" | b"S" | b"-1" => true,
            b"buy" | b"BUY" | b"Buy" | b"b" | b"B" | b"1" => false,
            _ => return Err("is neither buy nor sell"),
        }),
    }
    Ok(())
}

/// Rows of text, for tests.
#[cfg(test)]
pub(crate) fn read_raw_text(text: &str) -> Result<Raw, CatalogueError> {
    let bytes = std::io::Cursor::new(text.as_bytes().to_vec());
    read(Path::new("test.csv"), Blocks::new(Box::new(bytes)), &ReadOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    fn read_it(text: &str) -> Result<Dataset, String> {
        read_raw_text(text).map(|raw| raw.data).map_err(|error| error.to_string())
    }

    const HEAD: &str = "timestamp,open,high,low,close,volume\n";

    #[test]
    fn bars_are_read_exactly_whatever_separates_the_fields_and_ends_the_lines() {
        let plain = format!(
            "{HEAD}2022-01-01 00:00:00,46319.0,46385.5,46319,46377,23.7295\n2022-01-01 00:01:00,46377,46411,46377,46411,1.5\n"
        );
        let wanted = read_it(&plain).unwrap();
        let Dataset::Bars(bars) = &wanted else { panic!("not bars") };
        assert_eq!((bars.price_scale, bars.quantity_scale, bars.interval.to_string()), (1, 4, "1m".into()));
        assert_eq!((&bars.high[..], &bars.volume[..]), (&[463_855, 464_110][..], &[237_295, 15_000][..]));
        for other in [
            plain.replace('\n', "\r\n"),
            plain.replace(',', ";"),
            plain.replace(',', "\t"),
            format!("\u{feff}{plain}"),
            plain.trim_end().to_owned(),
            format!("{plain}\n\n"),
            plain.replace("2022-01-01 00:00:00", "\"2022-01-01 00:00:00\""),
            plain.replace("2022-01-01 00:00:00", "1640995200000").replace("2022-01-01 00:01:00", "1640995260000"),
        ] {
            assert_eq!(read_it(&other).as_ref(), Ok(&wanted), "{other}");
        }
    }

    #[test]
    fn a_broken_line_is_named_with_its_number_and_field() {
        let good = "2022-01-01 00:00:00,1,2,1,2,5\n";
        for (line, wanted) in [
            ("2022-01-01 00:01:00,1,2,1,2\n", "line 3: it has 5 fields and not 6"),
            ("2022-01-01 00:01:00,1,2,1,2,3,4\n", "line 3: it has 7 fields and not 6"),
            ("yesterday,1,2,1,2,3\n", "line 3: field 1 `yesterday` is no time"),
            ("2022-01-01 00:01:00,1,x,1,2,3\n", "line 3: field 3 `x` is no decimal number"),
            ("2022-01-01 00:01:00,1,2,1,99999999999999999999,3\n", "line 3: field 5"),
            ("\n", "line 3: it is blank"),
        ] {
            let message = read_it(&format!("{HEAD}{good}{line}{good}")).unwrap_err();
            assert!(message.contains(wanted), "{message}\n  not {wanted}");
        }
    }

    #[test]
    fn a_file_that_is_no_table_is_refused() {
        for (text, wanted) in [
            ("", "it is empty"),
            (HEAD, "no rows"),
            ("\n", "are not those of"),
            ("hello world\n", "are not those of bars"),
            ("\u{1}\u{2}\u{3}\n", "neither text nor"),
            ("2022-01-01,1,2\n", "no header and 3 fields"),
        ] {
            let message = read_it(text).unwrap_err();
            assert!(message.contains(wanted), "{message}\n  not {wanted}");
        }
    }

    #[test]
    fn venue_archives_are_read_with_and_without_header_in_either_unit() {
        let row = "1704067200000,42283.58000000,42554.57000000,42261.02000000,42475.23000000,1271.68108000,1704070799999,53957248.97378900,47134,682.57581000,28957416.81964500,0";
        let next = row.replace("1704067200000", "1704070800000");
        let header = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore";
        let plain = read_it(&format!("{row}\n{next}\n")).unwrap();
        assert_eq!(read_it(&format!("{header}\n{row}\n{next}\n")), Ok(plain.clone()));
        let micros = format!("{row}\n{next}\n").replace("00000,4228", "00000000,4228");
        assert_eq!(read_it(&micros), Ok(plain.clone()));
        let Dataset::Bars(bars) = plain else { panic!("not bars") };
        assert_eq!((bars.interval.to_string().as_str(), bars.price_scale, bars.quantity_scale), ("1h", 2, 5));
        let trades = read_it("5,61837.64000000,0.00100000,61.8,1723161254024,False,True\n").unwrap();
        let Dataset::Trades(trades) = trades else { panic!("not trades") };
        assert_eq!((trades.trade_id[0], trades.price[0], trades.is_sell[0]), (5, 6_183_764, false));
        assert_eq!(trades.ts_ns[0], 1_723_161_254_024_000_000);
    }

    #[test]
    fn the_time_of_benchmark_bars_is_their_end() {
        let text = "ts_ns,open,high,low,close,volume\n1704067260000000000,1,2,1,2,5\n1704067320000000000,1,2,1,2,5\n";
        let Ok(Dataset::Bars(bars)) = read_it(text) else { panic!("not bars") };
        assert_eq!(bars.ts_open_ns[0], 1_704_067_200_000_000_000);
    }
}
