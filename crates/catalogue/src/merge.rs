//! Rows put in order, rows put together: equal ones are kept once, different ones of the same time are refused or replaced.

use crate::columns::Columns;
use crate::error::CatalogueError;
use crate::layout::Kind;
use crate::sound::refuse_flaws;
use crate::table::{Dataset, Raw};
use crate::time;

/// What becomes of rows that contradict what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// An error that names the first of them; nothing changes.
    #[default]
    Refuse,
    /// The new ones take the place of the old ones.
    Replace,
}

/// What had to be done to rows to put them in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// Rows that were not in order.
    pub moved: u64,
    /// Rows that were there twice.
    pub doubled: u64,
}

/// The rows of a file in order, equal ones once. Errors: a value that cannot be, two different rows of one time (of one id among
/// trades).
pub fn put_in_order(raw: Raw) -> Result<(Dataset, Ordered), CatalogueError> {
    refuse_flaws(&raw)?;
    let backwards = raw.data.times().windows(2).filter(|pair| matches!(pair, [a, b] if b < a)).count() as u64;
    let Raw { data, path, first_line, snapped } = raw;
    let places = Raw { data: Dataset::Recording(path.clone()), path, first_line, snapped };
    let Some(columns) = Columns::of(data) else {
        let cause = "it is a recorded session";
        return Err(CatalogueError::layout(&places.path, cause, "replay it, or import its quotes and trades"));
    };
    if is_in_order(&columns) {
        return Ok((columns.into_dataset(), Ordered::default()));
    }
    let order = order_of(&columns);
    let mut kept: Vec<usize> = Vec::with_capacity(order.len());
    for at in order {
        let last = kept.last().copied();
        match last {
            Some(last) if columns.kind != Kind::Quotes && columns.key(last) == columns.key(at) => {
                if !columns.same_row(last, at) {
                    return Err(CatalogueError::Row {
                        path: places.path.clone(),
                        place: places.place(at.max(last)),
                        cause: format!(
                            "it has the time {} of {} and other values ({} and {})",
                            time::iso(columns.key(at).0),
                            places.place(at.min(last)),
                            columns.shown(at.max(last)),
                            columns.shown(at.min(last)),
                        ),
                        remedy: "remove the wrong one",
                    });
                }
            }
            _ => kept.push(at),
        }
    }
    let done = Ordered { moved: backwards, doubled: (columns.len() - kept.len()) as u64 };
    Ok((columns.gather(&kept).into_dataset(), done))
}

/// Is each row behind the one before it? Quotes may share a time.
fn is_in_order(columns: &Columns) -> bool {
    match columns.kind {
        Kind::Quotes => columns.ts.is_sorted(),
        Kind::Trades => (1..columns.len()).all(|at| columns.key(at - 1) < columns.key(at)),
        Kind::Bars | Kind::Funding => columns.ts.is_sorted_by(|before, now| before < now),
    }
}

/// Row numbers by key; rows of equal keys stay in their order.
fn order_of(columns: &Columns) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|at| match columns.kind {
        Kind::Trades => columns.key(*at),
        _ => (columns.ts.get(*at).copied().unwrap_or(0), 0),
    });
    order
}

/// What a merge came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Rows that were not there.
    pub(crate) new: u64,
    /// Rows that took the place of others.
    pub(crate) replaced: u64,
}

/// Why rows cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clash {
    /// Their scales are too far apart.
    Scales,
    /// Two rows of one time (and id) differ.
    Rows {
        /// The time. Unit: nanoseconds.
        at_ns: u64,
        /// The row that was there.
        old: String,
        /// The row that came.
        new: String,
    },
}

impl std::fmt::Display for Clash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scales => {
                f.write_str("the new values are so much finer than those kept that 64 bits do not hold both")
            }
            Self::Rows { at_ns, old, new } => {
                write!(f, "the row of {} is kept as {old} and comes as {new}", time::iso(*at_ns))
            }
        }
    }
}

/// Rows `new` put into `old`; both are in order. Errors say which rows differ.
pub(crate) fn merge(mut old: Columns, mut new: Columns, on_conflict: OnConflict) -> Result<(Columns, Merged), Clash> {
    let [a, b] = old.scales;
    let [c, d] = new.scales;
    let scales = [a.max(c), b.max(d)];
    if !old.rescale(scales) || !new.rescale(scales) {
        return Err(Clash::Scales);
    }
    let mut merged = Merged::default();
    if old.ts.last() < new.ts.first() {
        merged.new = new.len() as u64;
        new.copy_to(&mut old, 0, new.len());
        return Ok((old, merged));
    }
    let mut all = old.empty_like();
    let (mut at, mut with) = (0, 0);
    while at < old.len() && with < new.len() {
        let (mine, theirs) = (old.key(at), new.key(with));
        if mine < theirs {
            let end = run(&old, at, |key| key < theirs);
            old.copy_to(&mut all, at, end);
            at = end;
        } else if theirs < mine {
            let end = run(&new, with, |key| key < mine);
            new.copy_to(&mut all, with, end);
            merged.new += (end - with) as u64;
            with = end;
        } else {
            let (old_end, new_end) = (run(&old, at, |key| key == mine), run(&new, with, |key| key == mine));
            let (ours, other) = (old.part(at, old_end), new.part(with, new_end));
            match join_group(&ours, &other) {
                Some(joined) => {
                    merged.new += (joined.len() - ours.len()) as u64;
                    joined.copy_to(&mut all, 0, joined.len());
                }
                None if on_conflict == OnConflict::Replace => {
                    merged.replaced += other.len() as u64;
                    other.copy_to(&mut all, 0, other.len());
                }
                None => {
                    return Err(Clash::Rows { at_ns: mine.0, old: ours.shown(0), new: other.shown(0) });
                }
            }
            (at, with) = (old_end, new_end);
        }
    }
    merged.new += (new.len() - with) as u64;
    old.copy_to(&mut all, at, old.len());
    new.copy_to(&mut all, with, new.len());
    Ok((all, merged))
}

/// End of the rows from `at` on whose keys hold.
fn run(columns: &Columns, at: usize, holds: impl Fn((u64, u64)) -> bool) -> usize {
    (at..columns.len()).find(|row| !holds(columns.key(*row))).unwrap_or(columns.len())
}

/// Rows of one key: the same in both, or one part of the other (two fetches that met within one instant).
fn join_group<'a>(old: &'a Columns, new: &'a Columns) -> Option<&'a Columns> {
    let (short, long) = if old.len() <= new.len() { (old, new) } else { (new, old) };
    let count = short.len();
    let is_begin = *short == long.part(0, count);
    let is_end = || *short == long.part(long.len() - count, long.len());
    (is_begin || is_end()).then_some(long)
}
