//! What `--data` names: files, or series of the catalogue in the data folder; cut by `--from` and `--to`, and files of one series
//! put together. Equal rows of several files are taken once and told, contradicting ones are refused.

use super::setup::{DataArg, Loaded};
use crate::config::Config;
use crate::error::LaunchError;
use crate::out;
use clap::Args;
use keel_catalogue::{Catalogue, CatalogueError, Dataset, Joiner, SeriesKey, Source, Span, time_from_text};
use keel_model::InstrumentId;

/// Which part of the data is used.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Between {
    /// Only data from this time on, UTC: 2024-01-31 or 2024-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<u64>,
    /// Only data before this time, UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<u64>,
}

fn time(text: &str) -> Result<u64, String> {
    time_from_text(text)
        .ok_or_else(|| format!("'{text}' is no time; write it as 2024-01-31 or 2024-01-31T12:00:00Z (UTC)"))
}

impl Between {
    fn span(self) -> Result<Span, LaunchError> {
        let span = Span::new(self.from.unwrap_or(0), self.to.unwrap_or(u64::MAX));
        if span.from_ns >= span.to_ns {
            return Err(LaunchError::Usage("--from is not before --to; swap them".into()));
        }
        Ok(span)
    }

    const fn is_all(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// The rows of one series of one instrument.
#[derive(Debug)]
pub(super) struct OneSeries {
    pub(super) symbol: String,
    pub(super) data: Dataset,
}

/// All data, each series once.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) series: Vec<OneSeries>,
    /// Rows that several files had.
    pub(super) doubled: u64,
}

impl OneSeries {
    pub(super) fn into_loaded(self, instrument: InstrumentId) -> Loaded {
        Loaded { instrument, data: self.data }
    }
}

fn failed(error: CatalogueError) -> LaunchError {
    LaunchError::refused("data", error)
}

/// The series that an argument names; a file of that name comes first.
pub fn series_of(arg: &DataArg) -> Option<SeriesKey> {
    if arg.file.exists() {
        return None;
    }
    arg.file.to_str()?.parse().ok()
}

/// Of which instrument an argument is: what it says, what its series says, or the first that is configured.
pub fn symbol_of(config: &Config, arg: &DataArg) -> String {
    let of_series = || series_of(arg).map(|key| key.symbol);
    let first = || config.symbols.first().map(ToString::to_string).unwrap_or_default();
    arg.symbol.clone().or_else(of_series).unwrap_or_else(first)
}

fn read(catalogue: &Catalogue, arg: &DataArg, between: Between) -> Result<Dataset, LaunchError> {
    let span = between.span()?;
    let name = arg.file.display();
    let (data, whole) = if let Some(key) = series_of(arg) {
        let data = catalogue.read(&key, span).map_err(failed)?;
        if data.is_empty() && catalogue.files(&key).map_err(failed)?.is_empty() {
            let root = catalogue.root().display();
            return Err(LaunchError::refused(
                "data",
                format!(
                    "there is neither a file {name} nor such a series in the catalogue {root}; see what it holds with \
                     `data list`, or get it with download-data or data import"
                ),
            ));
        }
        (data, false)
    } else {
        let data = keel_catalogue::read_file(&arg.file).map_err(failed)?;
        let whole = data.len();
        (data.within(span), whole == 0)
    };
    match &data {
        Dataset::Recording(_) if !between.is_all() => Err(LaunchError::refused(
            "data",
            "a recorded session is played whole; leave --from and --to out, or import it (data import)",
        )),
        Dataset::Recording(_) => Ok(data),
        rows if rows.is_empty() && (whole || between.is_all()) => {
            let cause = format!("{name} holds no rows of {}", rows.name());
            Err(LaunchError::refused("data", format!("{cause}; name a file with data")))
        }
        rows if rows.is_empty() => {
            let cause = format!("{name} holds no rows of {} between --from and --to", rows.name());
            Err(LaunchError::refused("data", format!("{cause}; widen them")))
        }
        _ => Ok(data),
    }
}

/// Reads everything that was named.
pub(super) fn load(config: &Config, data: &[DataArg], between: Between) -> Result<Sources, LaunchError> {
    let catalogue = Catalogue::of_data_dir(&config.data_dir);
    let mut found: Vec<(String, Joiner)> = Vec::new();
    let mut recordings = Vec::new();
    for arg in data {
        let (symbol, rows) = (symbol_of(config, arg), read(&catalogue, arg, between)?);
        let known = found.iter_mut().find(|(of, joiner)| *of == symbol && joiner.fits(&rows));
        let source = Source { name: arg.file.display().to_string(), data: rows };
        if let Some((_, joiner)) = known {
            joiner.add(source).map_err(failed)?;
        } else if matches!(source.data, Dataset::Recording(_)) {
            recordings.push(OneSeries { symbol, data: source.data });
        } else if let Some(joiner) = Joiner::new(source) {
            warn_of_symbol(config, &symbol);
            found.push((symbol, joiner));
        }
    }
    let doubled = found.iter().map(|(_, joiner)| joiner.doubled()).sum();
    if doubled > 0 {
        out::note(&format!("note: {doubled} rows are in several of the files; each is taken once"));
    }
    let joined = found.into_iter().map(|(symbol, joiner)| OneSeries { symbol, data: joiner.into_dataset() });
    Ok(Sources { series: joined.chain(recordings).collect(), doubled })
}

/// Data of an instrument that a configuration which names instruments does not name.
fn warn_of_symbol(config: &Config, symbol: &str) {
    if config.symbols_are_default || config.symbols.iter().any(|known| known.as_str() == symbol) {
        return;
    }
    let known = config.symbols.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    out::note(&format!(
        "warning: the data is of {symbol}, and `venue.symbols` of the configuration is {known}; {symbol} is traded in this run"
    ));
}
