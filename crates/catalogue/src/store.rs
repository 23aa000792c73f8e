//! The catalogue: series in Parquet files under one folder, which DuckDB, Polars and pandas read as they are.
//!
//! A file is there whole or not at all; rows are in order, each once; what is damaged is named and never used. Writers of all
//! processes take turns; readers need no lock.

use crate::atomic;
use crate::columns::Columns;
use crate::error::CatalogueError;
use crate::merge::{Clash, OnConflict, merge, put_in_order};
use crate::options::ReadOptions;
use crate::parquet_read;
use crate::parquet_write;
use crate::read_with;
use crate::series::{SeriesKey, SeriesKind, Span, union};
use crate::table::{Dataset, Raw};
use std::fs;
use std::path::{Path, PathBuf};

/// Spans that one file may say it covers; what is beyond is fetched again when asked for.
const COVERED_MAX: usize = 4_096;
/// Files of one series: 300 years of days.
const FILES_MAX: usize = 110_000;

/// A folder of series.
#[derive(Clone, Debug)]
pub struct Catalogue {
    root: PathBuf,
}

/// What a series holds, by the footers of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub key: SeriesKey,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Time of the first row; `None` without rows.
    pub first_ns: Option<u64>,
    /// Time of the last row; `None` without rows.
    pub last_ns: Option<u64>,
    /// Times for which everything that its source has is here.
    pub covered: Vec<Span>,
}

/// What writing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that were not there.
    pub rows_new: u64,
    /// Rows that were there already.
    pub rows_known: u64,
    /// Rows that took the place of others.
    pub rows_replaced: u64,
    /// Files that were written.
    pub files: Vec<PathBuf>,
}

impl Catalogue {
    /// The catalogue in a folder, which need not be there yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The catalogue of a data folder: `<data-dir>/catalogue`.
    #[must_use]
    pub fn of_data_dir(data_dir: &Path) -> Self {
        Self::new(data_dir.join("catalogue"))
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts rows into a series: in order, equal ones once.
    ///
    /// `covered` says for which times the rows are all that their source has; without it, bars cover the time that they lie in,
    /// gaps left out, and other rows the time from the first to the last.
    ///
    /// Errors: a value that cannot be, rows that contradict each other or kept ones, a damaged file, a value no double stands for,
    /// the system's.
    pub fn write(
        &self,
        key: &SeriesKey,
        data: Dataset,
        covered: Option<&[Span]>,
        on_conflict: OnConflict,
    ) -> Result<Written, CatalogueError> {
        let name = data.name();
        let refused =
            || CatalogueError::Series(format!("{key} holds {}, and these are {name}", key.kind.rows().name()));
        let folder = self.root.join(key.folder());
        let (data, _) = put_in_order(Raw { data, path: folder.clone(), first_line: None, snapped: 0 })?;
        let columns = Columns::of(data).ok_or_else(refused)?;
        let is_kind = columns.kind == key.kind.rows();
        let is_interval = match key.kind {
            SeriesKind::Bars(interval) => columns.interval == Some(interval),
            _ => true,
        };
        if !is_kind || !is_interval {
            return Err(refused());
        }
        let covered = match covered {
            Some(covered) => union(covered.to_vec()),
            None => spans_of(&columns),
        };
        let lock = atomic::lock(&self.root)?;
        atomic::sweep(&lock, &folder);
        let mut written = Written::default();
        for span in partitions(key.kind, &columns, &covered) {
            let (from, to) = rows_within(&columns.ts, span);
            let covered: Vec<Span> = covered.iter().filter_map(|it| it.intersect(span)).collect();
            let path = folder.join(format!("{}.parquet", key.kind.partition(span.from_ns)));
            self.write_part(key, &path, columns.part(from, to), covered, on_conflict, &mut written)?;
        }
        Ok(written)
    }

    fn write_part(
        &self,
        key: &SeriesKey,
        path: &Path,
        new: Columns,
        mut covered: Vec<Span>,
        on_conflict: OnConflict,
        written: &mut Written,
    ) -> Result<(), CatalogueError> {
        let total = new.len() as u64;
        let all = if path.exists() {
            let old_covered = covered_of(path)?;
            let is_new_cover =
                !old_covered.is_empty() && union([old_covered.clone(), covered.clone()].concat()) == old_covered;
            covered.extend(&old_covered);
            let Some(old) = Columns::of(read_with(path, &ReadOptions::default())?) else { return Ok(()) };
            let conflict = |cause: Clash| CatalogueError::Conflict {
                series: key.to_string(),
                cause: cause.to_string(),
                remedy: "nothing was changed; take the new rows with --replace, or leave what is kept",
            };
            let (all, merged) = merge(old, new, on_conflict).map_err(conflict)?;
            written.rows_new += merged.new;
            written.rows_replaced += merged.replaced;
            written.rows_known += total - merged.new.min(total) - merged.replaced.min(total);
            if merged.new + merged.replaced == 0 && is_new_cover {
                return Ok(());
            }
            all
        } else {
            written.rows_new += total;
            new
        };
        let mut covered = union(covered);
        covered.truncate(COVERED_MAX);
        parquet_write::write(path, &all, covered.iter().map(|span| (span.from_ns, span.to_ns)).collect())?;
        written.files.push(path.into());
        Ok(())
    }

    /// The rows of a series with times in `span`; an empty data set when there are none. A damaged file is an error.
    pub fn read(&self, key: &SeriesKey, span: Span) -> Result<Dataset, CatalogueError> {
        let mut all: Option<Columns> = None;
        for path in self.files(key)? {
            let stamp = parquet_read::stamp(&path)?.ok_or_else(|| not_ours(&path))?;
            let is_outside = match (stamp.first_ns, stamp.last_ns) {
                (Some(first), Some(last)) => first >= span.to_ns || last < span.from_ns,
                _ => true,
            };
            if is_outside {
                continue;
            }
            let Some(mut part) = Columns::of(read_with(&path, &ReadOptions::default())?) else { continue };
            let (from, to) = rows_within(&part.ts, span);
            if (from, to) != (0, part.len()) {
                part = part.part(from, to);
            }
            all = Some(match all {
                None => part,
                Some(before) => {
                    merge(before, part, OnConflict::Refuse).map_err(|cause| CatalogueError::damaged(&path, cause))?.0
                }
            });
        }
        Ok(all.unwrap_or_else(|| nothing(key.kind)).into_dataset())
    }

    /// Times for which everything that its source has is kept, in order and apart.
    pub fn covered(&self, key: &SeriesKey) -> Result<Vec<Span>, CatalogueError> {
        let mut spans = Vec::new();
        for path in self.files(key)? {
            spans.extend(covered_of(&path)?);
        }
        Ok(union(spans))
    }

    /// The files of a series, in the order of time.
    pub fn files(&self, key: &SeriesKey) -> Result<Vec<PathBuf>, CatalogueError> {
        parquet_files(&self.root.join(key.folder()))
    }

    /// What each series holds, and what could not be read.
    pub fn list(&self) -> Result<(Vec<Held>, Vec<CatalogueError>), CatalogueError> {
        let (mut held, mut broken) = (Vec::new(), Vec::new());
        let mut folders = vec![(self.root.clone(), Vec::<String>::new())];
        while let Some((folder, parts)) = folders.pop() {
            if let Some(key) = SeriesKey::of_folder(&parts) {
                let files = parquet_files(&folder)?;
                if !files.is_empty() {
                    held.push(held_of(key, &files, &mut broken));
                }
                continue;
            }
            // Deeper than any series.
            if parts.len() < 5 {
                for (name, path) in subfolders(&folder)? {
                    folders.push((path, [parts.clone(), vec![name]].concat()));
                }
            }
        }
        held.sort_by(|a, b| a.key.cmp(&b.key));
        Ok((held, broken))
    }
}

fn not_ours(path: &Path) -> CatalogueError {
    CatalogueError::layout(
        path,
        "it was not written by this program",
        "take it away and import it: launcher data import FILE",
    )
}

fn held_of(key: SeriesKey, files: &[PathBuf], broken: &mut Vec<CatalogueError>) -> Held {
    let mut held = Held { key, rows: 0, files: 0, bytes: 0, first_ns: None, last_ns: None, covered: Vec::new() };
    for path in files {
        match parquet_read::stamp(path).and_then(|stamp| stamp.ok_or_else(|| not_ours(path))) {
            Ok(stamp) => {
                held.rows += stamp.rows;
                held.files += 1;
                held.bytes += fs::metadata(path).map_or(0, |found| found.len());
                held.first_ns = held.first_ns.or(stamp.first_ns);
                held.last_ns = stamp.last_ns.or(held.last_ns);
                held.covered.extend(stamp.covered.iter().map(|(from, to)| Span::new(*from, *to)));
            }
            Err(error) => broken.push(error),
        }
    }
    held.covered = union(std::mem::take(&mut held.covered));
    held
}

fn covered_of(path: &Path) -> Result<Vec<Span>, CatalogueError> {
    let stamp = parquet_read::stamp(path)?.ok_or_else(|| not_ours(path))?;
    Ok(stamp.covered.iter().map(|(from, to)| Span::new(*from, *to)).collect())
}

fn nothing(kind: SeriesKind) -> Columns {
    let interval = match kind {
        SeriesKind::Bars(interval) => Some(interval),
        _ => None,
    };
    Columns::none(kind.rows(), interval)
}

/// Parquet files of a folder by name; none when the folder is not there.
fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let failed = |error| CatalogueError::read(folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|extension| extension == "parquet") && !is_hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn subfolders(folder: &Path) -> Result<Vec<(String, PathBuf)>, CatalogueError> {
    let failed = |error| CatalogueError::read(folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.is_dir()
            && let Some(name) = path.file_name()
        {
            found.push((name.to_string_lossy().into_owned(), path.clone()));
        }
    }
    Ok(found)
}

/// First and last (exclusive) row with a time in `span`.
fn rows_within(ts: &[u64], span: Span) -> (usize, usize) {
    let from = ts.partition_point(|ns| *ns < span.from_ns);
    let to = ts.partition_point(|ns| *ns < span.to_ns);
    (from, to.max(from))
}

/// The times of partitions that rows or covered times touch.
fn partitions(kind: SeriesKind, columns: &Columns, covered: &[Span]) -> Vec<Span> {
    let rows = columns.ts.first().zip(columns.ts.last()).map(|(first, last)| Span::new(*first, last.saturating_add(1)));
    let mut parts = Vec::new();
    for whole in union(covered.iter().copied().chain(rows).collect()) {
        let mut from = whole.from_ns;
        while from < whole.to_ns && parts.len() < FILES_MAX {
            let end = kind.partition_end(from);
            parts.push(Span::new(start_of(kind, from), end));
            from = end;
        }
    }
    parts.sort_unstable();
    parts.dedup();
    // Between two covered times there may be partitions without rows.
    parts.retain(|part| {
        let (from, to) = rows_within(&columns.ts, *part);
        to > from || covered.iter().any(|span| span.intersect(*part).is_some())
    });
    parts
}

/// Begin of the partition that holds `ts_ns`.
fn start_of(kind: SeriesKind, ts_ns: u64) -> u64 {
    let name = kind.partition(ts_ns);
    let date = match name.len() {
        4 => format!("{name}-01-01"),
        7 => format!("{name}-01"),
        _ => name,
    };
    crate::time::from_text(&date).unwrap_or(0)
}

/// The times that rows cover by themselves: bars side by side are one span; other rows lie in one.
fn spans_of(columns: &Columns) -> Vec<Span> {
    let Some(interval) = columns.interval else {
        let ends = columns.ts.first().zip(columns.ts.last());
        return ends.map(|(first, last)| Span::new(*first, last + 1)).into_iter().collect();
    };
    let mut spans: Vec<Span> = Vec::new();
    for open in &columns.ts {
        let close = interval.close_ns(*open);
        match spans.last_mut() {
            Some(last) if last.to_ns == *open => last.to_ns = close,
            _ => spans.push(Span::new(*open, close)),
        }
    }
    spans
}
