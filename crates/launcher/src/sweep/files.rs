//! The folder of a sweep: its state, and its results as CSV and Parquet. Each file is written beside and moved into place, so
//! that a reader and a kill at any moment meet the old file or the new one, never a part.

use crate::error::LaunchError;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use keel_store::FolderLock;
use keel_sweep::figures::Figures;
use keel_sweep::sweep::Sweep;
use parquet::arrow::ArrowWriter;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STATE: &str = "state.bin";
/// Rows of a Parquet row group and of what is held in memory for it.
const ROWS: usize = 65_536;

/// The folder, ours alone while this lives.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    _lock: FolderLock,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LaunchError {
    let path = path.to_path_buf();
    move |source| LaunchError::Io { what, path, source, remedy: "look at its rights and the room on the disk".into() }
}

impl Place {
    /// Makes the folder and takes it.
    pub(super) fn open(folder: &Path) -> Result<Self, LaunchError> {
        std::fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
        let lock = FolderLock::acquire(folder, "sweep").map_err(|error| LaunchError::Locked(error.to_string()))?;
        Ok(Self { folder: folder.to_path_buf(), _lock: lock })
    }

    pub(super) fn state_path(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// The state that was written last, if one was.
    pub(super) fn load(&self) -> Result<Option<Vec<u8>>, LaunchError> {
        let path = self.state_path();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Writes the state down.
    pub(super) fn save(&self, sweep: &Sweep) -> Result<(), LaunchError> {
        let bytes = sweep.state().map_err(|error| LaunchError::start("sweep", error))?;
        self.replace(STATE, |file| file.write_all(&bytes))
    }

    /// Writes the results of all trials.
    pub(super) fn write_results(&self, sweep: &Sweep) -> Result<(), LaunchError> {
        self.replace("results.csv", |file| csv(sweep, file))?;
        self.replace("results.parquet", |file| parquet(sweep, file).map_err(std::io::Error::other))
    }

    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), LaunchError> {
        let (path, beside) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        let written = (|| {
            let mut file = BufWriter::new(File::create(&beside)?);
            write(&mut file)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            std::fs::rename(&beside, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|error| {
            // A full disk leaves no half file behind.
            drop(std::fs::remove_file(&beside));
            failed("write", &path)(error)
        })
    }
}

/// Figures of a trial that may not be defined, by name.
pub(super) fn optional(figures: &Figures) -> [(&'static str, Option<f64>); 6] {
    [
        ("cagr", figures.cagr),
        ("sharpe", figures.sharpe),
        ("sortino", figures.sortino),
        ("calmar", figures.calmar),
        ("profit_factor", figures.profit_factor),
        ("win_rate", figures.win_rate),
    ]
}

fn csv(sweep: &Sweep, file: &mut impl Write) -> std::io::Result<()> {
    let plan = sweep.plan();
    let names = plan.space.dimensions().iter().map(|dimension| dimension.name.as_str());
    let names: Vec<&str> = names.collect();
    let optional_names: Vec<&str> = optional(&Figures::default()).iter().map(|(name, _)| *name).collect();
    writeln!(
        file,
        "window,point,{},score,total_return,max_drawdown,orders,trades,{}",
        names.join(","),
        optional_names.join(",")
    )?;
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for window in 0..plan.windows.len() {
        for trial in sweep.trials(window) {
            let figures = Figures::of(&trial.outcome);
            // A text may hold a comma.
            let quoted = |value: &str| if value.contains([',', '"']) { format!("{value:?}") } else { value.to_owned() };
            let values: Vec<String> = plan.space.values(trial.point).into_iter().map(quoted).collect();
            let Figures { total_return, max_drawdown, orders, trades, .. } = figures;
            write!(file, "{window},{},{},{}", trial.point, values.join(","), text(sweep.score(&figures)))?;
            write!(file, ",{total_return},{max_drawdown},{orders},{trades}")?;
            for (_, value) in optional(&figures) {
                write!(file, ",{}", text(value))?;
            }
            writeln!(file)?;
        }
    }
    Ok(())
}

type Rows<'a> = &'a [(u64, &'a keel_sweep::sweep::Trial)];

fn parquet(sweep: &Sweep, file: &mut BufWriter<File>) -> Result<(), parquet::errors::ParquetError> {
    let schema = table(sweep, &[])?.schema();
    let mut writer = ArrowWriter::try_new(file, schema, None)?;
    let windows = sweep.plan().windows.len();
    let mut rows = Vec::with_capacity(ROWS);
    for window in 0..windows {
        for trial in sweep.trials(window) {
            rows.push((window as u64, trial));
            if rows.len() == ROWS {
                writer.write(&table(sweep, &rows)?)?;
                rows.clear();
            }
        }
    }
    writer.write(&table(sweep, &rows)?)?;
    writer.close().map(drop)
}

/// Parameters as text, as they are given; everything else as numbers.
fn table(sweep: &Sweep, rows: Rows<'_>) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let space = &sweep.plan().space;
    let figures: Vec<Figures> = rows.iter().map(|(_, trial)| Figures::of(&trial.outcome)).collect();
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        ("window".into(), Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.0))), false),
        ("point".into(), Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.1.point))), false),
    ];
    for (at, dimension) in space.dimensions().iter().enumerate() {
        let values = rows.iter().map(|row| space.values(row.1.point).get(at).map(|value| (*value).to_owned()));
        columns.push((dimension.name.clone(), Arc::new(StringArray::from_iter(values)), false));
    }
    let real = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let count = |values: Vec<u32>| -> ArrayRef { Arc::new(UInt32Array::from(values)) };
    let scores: Float64Array = figures.iter().map(|it| sweep.score(it)).collect();
    columns.push(("score".into(), Arc::new(scores), true));
    columns.push(("total_return".into(), real(figures.iter().map(|it| it.total_return).collect()), false));
    columns.push(("max_drawdown".into(), real(figures.iter().map(|it| it.max_drawdown).collect()), false));
    columns.push(("orders".into(), count(figures.iter().map(|it| it.orders).collect()), false));
    columns.push(("trades".into(), count(figures.iter().map(|it| it.trades).collect()), false));
    for (at, (name, _)) in optional(&Figures::default()).into_iter().enumerate() {
        let values: Float64Array =
            figures.iter().map(|it| optional(it).get(at).and_then(|(_, value)| *value)).collect();
        columns.push((name.to_owned(), Arc::new(values), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns)
}
