//! `launcher report`: what a series of daily returns was worth.

use crate::cli::{Common, ReportArgs};
use crate::error::LaunchError;
use crate::out;
use keel_lifecycle::ExitStatus;
use keel_report::{DailyReturns, DailyStatistics, to_json, to_table};
use std::io::BufReader;
use std::path::Path;

/// Reads the series and prints every figure with its convention.
pub fn report(common: &Common, args: &ReportArgs) -> Result<ExitStatus, LaunchError> {
    let series = read(&args.returns)?;
    let statistics = DailyStatistics::new(series.values(), args.periods);
    if common.json {
        let mut object = to_json(statistics.figures());
        let day = |date: Option<&jiff::civil::Date>| date.map(ToString::to_string).into();
        object.insert("first_day".into(), day(series.dates().first()));
        object.insert("last_day".into(), day(series.dates().last()));
        out::line(&serde_json::Value::Object(object).to_string());
    } else {
        out::line(to_table(statistics.figures()).trim_end());
    }
    Ok(ExitStatus::Clean)
}

fn read(path: &Path) -> Result<DailyReturns, LaunchError> {
    let refused = |cause: String| LaunchError::Start { what: format!("returns {}", path.display()), cause };
    let io = |source| LaunchError::Io {
        what: "read the returns in",
        path: path.to_path_buf(),
        source,
        remedy: "name a CSV file with the header date,return; `-` reads stdin".into(),
    };
    if path.as_os_str() == "-" {
        return DailyReturns::read(std::io::stdin().lock()).map_err(|error| refused(error.to_string()));
    }
    let file = std::fs::File::open(path).map_err(io)?;
    DailyReturns::read(BufReader::new(file)).map_err(|error| refused(error.to_string()))
}
