//! Market data in files: reading whatever users have, exactly; keeping it in a Parquet catalogue that other programs read
//! directly; checking it and filling what is missing.
//!
//! Nothing is used silently that is damaged, out of order, doubled or no number: [`read_file`] refuses it with file and line or
//! row. No digit is changed on the way unless rounding was asked for.

mod atomic;
mod check;
mod columns;
mod csv;
mod error;
mod export;
mod fill;
mod fixed;
mod join;
mod layout;
mod merge;
mod options;
mod parquet_read;
mod parquet_write;
mod schema;
mod series;
mod sound;
mod source;
mod store;
mod table;
mod time;
mod zip;

pub use atomic::{HalfFile, give_up};
pub use check::{CheckOptions, Count, Gap, Report, check};
pub use error::{CatalogueError, Place};
pub use export::write_file;
pub use fill::fill_forward;
pub use fixed::NOT_A_NUMBER;
pub use join::{Joiner, Source};
pub use layout::Kind;
pub use merge::{OnConflict, Ordered, put_in_order};
pub use options::{ReadOptions, TimeMeans};
pub use schema::schema;
pub use series::{SeriesKey, SeriesKind, Span, missing, union};
pub use store::{Catalogue, Held, Written};
pub use table::{Dataset, Raw};
pub use time::{from_text as time_from_text, iso as time_to_text};

use source::{Blocks, Packing};
use std::path::Path;

/// Market data of a file, in order and sound: bars, quotes, trades or funding from CSV (plain, gzip, zip) or Parquet, or the
/// path of a recorded session. What the file holds is told by its content.
///
/// Errors: not there, damaged, unknown columns, or a row that is out of order, doubled, no number or impossible.
pub fn read_file(path: impl AsRef<Path>) -> Result<Dataset, CatalogueError> {
    read_with(path.as_ref(), &ReadOptions::default())
}

/// [`read_file`] for a file that does not say everything itself.
pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Dataset, CatalogueError> {
    let raw = read_raw(path, options)?;
    sound::refuse_unsound(&raw)?;
    Ok(raw.data)
}

/// A file as it is, for checks: rows may be out of order, doubled, no numbers or impossible.
pub fn read_raw(path: &Path, options: &ReadOptions) -> Result<Raw, CatalogueError> {
    let (file, packing) = source::open(path)?;
    if packing == Packing::Parquet {
        return parquet_read::read(path, file, options);
    }
    if source::is_recording(path, packing)? {
        if packing != Packing::Gzip {
            return Err(CatalogueError::layout(
                path,
                "it is a recorded session, but not gzip",
                "compress it: gzip FILE",
            ));
        }
        return Ok(Raw { data: Dataset::Recording(path.into()), path: path.into(), first_line: None, snapped: 0 });
    }
    let text = source::text(path, file, packing)?;
    csv::read(path, Blocks::new(text), options)
}
