//! The command line of `launcher data`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Flags of `data`.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// What to do
    #[command(subcommand)]
    pub what: DataVerb,
}

/// What to do with data.
#[derive(Clone, Debug, Subcommand)]
pub enum DataVerb {
    /// What the catalogue holds
    List,
    /// Gaps, doubled rows, disorder, values that cannot be: of files, of series, or of the whole catalogue
    Check(CheckArgs),
    /// Put files into the catalogue: CSV (also .gz and .zip), Parquet, recorded sessions
    Import(ImportArgs),
    /// Write a series or a file as CSV or Parquet
    Export(ExportArgs),
}

/// Flags of `data check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Files, or series such as binance/spot/BTCUSDT/1m [default: everything in the catalogue]
    #[arg(value_name = "FILE|SERIES")]
    pub what: Vec<String>,
    /// Length of the bars, where the file does not show it
    #[arg(long, value_name = "LENGTH")]
    pub interval: Option<String>,
    /// A jump is a price that differs from the one before by more than this
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, allow_negative_numbers = true)]
    pub jump: f64,
}

/// Flags of `data import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Where it belongs: venue/market/symbol, for example binance/spot/BTCUSDT
    #[arg(long = "as", value_name = "SERIES")]
    pub series: String,
    /// Length of the bars, where the file does not show it
    #[arg(long, value_name = "LENGTH")]
    pub interval: Option<String>,
    /// What the time of a bar means, where its name does not say it
    #[arg(long, value_enum, value_name = "MEANING")]
    pub time: Option<TimeWord>,
    /// Names of columns: ours=theirs, comma-separated, for example time=when,close=last
    #[arg(long, value_name = "PAIRS", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Round prices to this many places, instead of keeping every digit
    #[arg(long, value_name = "PLACES", value_parser = clap::value_parser!(u8).range(0..=18))]
    pub price_scale: Option<u8>,
    /// Round quantities to this many places, instead of keeping every digit
    #[arg(long, value_name = "PLACES", value_parser = clap::value_parser!(u8).range(0..=18))]
    pub quantity_scale: Option<u8>,
    /// Rows that contradict what is kept take its place
    #[arg(long)]
    pub replace: bool,
}

/// What the time of a bar means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeWord {
    /// Its start
    Open,
    /// Its end
    Close,
}

/// Flags of `data export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// A series such as binance/spot/BTCUSDT/1m, or a file
    #[arg(value_name = "SERIES|FILE")]
    pub series: String,
    /// Where to: a name that ends in .csv, .csv.gz or .parquet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// First instant: 2024-01-31 or 2024-01-31T12:00:00Z (UTC) [default: the first row]
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// The end, exclusive [default: the last row]
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// What is done about missing bars
    #[arg(long, value_enum, value_name = "WAY", default_value_t = FillWord::None)]
    pub fill: FillWord,
    /// Replace a file that is there; what is exported is never replaced
    #[arg(long)]
    pub force: bool,
}

/// What is done about missing bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FillWord {
    /// They stay missing
    None,
    /// Flat bars at the last close, without volume
    Forward,
    /// They are asked for at the venue first, and kept
    Fetch,
}
