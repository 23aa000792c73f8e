//! From the command line to what is done.

use crate::cli::{Cli, Common, NewConfigArgs, RunArgs, Verb};
use crate::config::{self, text};
use crate::control;
use crate::error::LaunchError;
use crate::interrupt::interruptible;
use crate::journal::JournalVerb;
use crate::out;
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use keel_control::Ask;
use keel_lifecycle::ExitStatus;
use std::ffi::OsString;
use std::io::Write;

/// What came of the command line.
#[derive(Debug)]
pub enum Parsed {
    /// Something to do.
    Cli(Box<Cli>),
    /// Help, version or a usage error, already shown.
    Shown(ExitStatus),
}

/// Parses the command line. Help and version are successes; a usage error is exit code 1, not clap's 2.
#[must_use]
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_json = wants_json_log(&arguments);
    out::set_json(is_json);
    let no_colour = arguments.iter().any(|it| it == "--no-color" || it == "--no-colour") || !out::may_colour(false);
    let colour = if no_colour { ColorChoice::Never } else { ColorChoice::Auto };
    let arguments = help_as_flag(arguments);
    let matches = command().color(colour).try_get_matches_from(arguments);
    match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => Parsed::Cli(Box::new(cli)),
        Err(error) => {
            let is_failure = error.use_stderr();
            if is_failure && is_json {
                out::note(&error.render().to_string());
            } else {
                out::remember(error.print().and_then(|()| std::io::stdout().flush()));
            }
            Parsed::Shown(if is_failure { ExitStatus::Failed } else { ExitStatus::Clean })
        }
    }
}

/// The command line, with the flags hidden that mean nothing to a verb.
fn command() -> clap::Command {
    let hide = |verb: clap::Command, names: &[&str]| {
        names.iter().fold(verb, |verb, name| verb.mut_arg(name, |argument| argument.hide(true)))
    };
    Cli::command()
        .mut_subcommand("check", |verb| {
            let unused =
                ["confirm_live", "dry_run", "duration", "infinite", "auto_restart", "max_restarts", "restart_delay"];
            hide(verb, &unused)
        })
        .mut_subcommand("doctor", |verb| {
            let unused = [
                "confirm_live",
                "dry_run",
                "duration",
                "infinite",
                "auto_restart",
                "max_restarts",
                "restart_delay",
                "replay",
                "speed",
                "on_exit",
                "seed",
                "http",
            ];
            hide(verb, &unused)
        })
        .mut_subcommand("arm", |verb| hide(verb, &["confirm_live", "dry_run", "replay", "speed"]))
        .mut_subcommand("disarm", |verb| hide(verb, &["confirm_live", "dry_run", "replay", "speed"]))
        .mut_subcommand("show-config", |verb| hide(verb, &["confirm_live", "dry_run"]))
}

/// `launcher help` and `launcher help VERB` are `launcher --help` and `launcher VERB --help`.
fn help_as_flag(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|it| it == "help") {
        arguments.remove(1);
        arguments.push("--help".into());
    }
    arguments
}

/// Is the log on the terminal to be JSON? Looked for before anything is parsed, so that the errors of parsing are JSON, too.
fn wants_json_log(arguments: &[OsString]) -> bool {
    let is_flag =
        arguments.windows(2).any(|pair| matches!(pair, [flag, value] if flag == "--log-format" && value == "json"))
            || arguments.iter().any(|it| it == "--log-format=json");
    is_flag || std::env::var_os("KEEL__LOG__FORMAT").is_some_and(|value| value == "json")
}

/// Does what was asked for.
pub fn dispatch(cli: Cli) -> Result<ExitStatus, LaunchError> {
    let Cli { common, run, verb } = cli;
    match verb {
        // Without a verb, `--dry-run` is the pre-flight; with `run` it is paper.
        None if run.dry_run => {
            out::note("dry run: the pre-flight checks only, nothing is traded; to trade play money use --paper");
            crate::run::ask::check(&common, &run)
        }
        None => crate::run::run(&common, &run),
        Some(Verb::Venue(_)) if common.data_dir.is_some() => Err(LaunchError::Usage(
            "--data-dir means nothing to `venue`, which writes nothing but its --log; leave it out".into(),
        )),
        Some(Verb::NewConfig(_)) if common.json => {
            Err(LaunchError::Usage("--json means nothing to `new-config`, which writes TOML; leave it out".into()))
        }
        Some(Verb::Backtest(args)) => interruptible(move || crate::backtest::backtest(&common, &args)),
        Some(Verb::Sweep(args)) => crate::sweep::sweep(&common, &args),
        Some(Verb::DownloadData(args)) => crate::download::download(&common, &args),
        Some(Verb::LookaheadCheck(args)) => interruptible(move || crate::lookahead::check(&common, &args)),
        Some(Verb::Run(args)) => crate::run::run(&common, &args.or(run).dry_run_is_paper()?),
        Some(Verb::Venue(args)) => crate::run::venue::serve(&common, &args),
        Some(Verb::Check(args)) => crate::run::ask::check(&common, &args.or(run)),
        Some(Verb::ListMarkets(args)) => crate::run::ask::list_markets(&common, &args),
        Some(Verb::ShowConfig(args)) => show_config(&common, &args.or(run)),
        Some(Verb::Data(args)) => crate::data::run(common, args),
        Some(Verb::Record(args)) => crate::record::record(&common, &args),
        Some(Verb::NewConfig(args)) => new_config(&args),
        Some(Verb::Arm(args)) => control::arm::arm(&common, &args.or(run)),
        Some(Verb::Confirm(args)) => control::arm::confirm(&common, &args),
        Some(Verb::Disarm(args)) => control::arm::disarm(&common, &args.or(run)),
        Some(Verb::Status) => control::status(&common),
        Some(Verb::Health) => crate::health::health(&common),
        Some(Verb::Resources(args)) => crate::resources::resources(&common, &args),
        Some(Verb::Doctor(args)) => crate::doctor::doctor(&common, &args.or(run)),
        Some(Verb::Logs(args)) => crate::logs::logs(&common, args),
        Some(Verb::Stop(args)) => control::stop(&common, &args),
        Some(Verb::Pause(wait)) => control::simple(&common, Ask::Pause {}, &wait),
        Some(Verb::Resume(wait)) => control::simple(&common, Ask::Resume {}, &wait),
        Some(Verb::ReduceOnly(wait)) => control::simple(&common, Ask::ReduceOnly {}, &wait),
        Some(Verb::Cancel(args)) => control::cancel(&common, &args),
        Some(Verb::Flatten(args)) => control::flatten(&common, &args),
        Some(Verb::EmergencyStop(args)) => control::emergency_stop(&common, &args),
        Some(Verb::Rearm(args)) => control::rearm(&common, &args),
        Some(Verb::Release(args)) => control::release(&common, &args),
        Some(Verb::Settle(args)) => control::settle(&common, &args),
        // Its copy is the way out of a damaged journal: it is made to the end.
        Some(Verb::Journal(args)) if matches!(args.verb, JournalVerb::Repair(_)) => crate::journal::run(&common, &args),
        Some(Verb::Journal(args)) => interruptible(move || crate::journal::run(&common, &args)),
        Some(Verb::ListExchanges) => list_exchanges(&common),
        Some(Verb::ListTimeframes) => list_timeframes(&common),
        Some(Verb::Report(args)) => interruptible(move || crate::report::report(&common, &args)),
        Some(Verb::Plot(args)) => interruptible(move || crate::plot::plot(&common, &args)),
        Some(Verb::ListStrategies) => crate::list_strategies::run(&common),
        Some(Verb::NewStrategy(args)) => crate::new_strategy::run(&common, &args),
        Some(Verb::ShowTrades(args)) => interruptible(move || crate::database::show_trades(&common, &args)),
        Some(Verb::Database(args)) => interruptible(move || crate::database::database(&common, &args)),
    }
}

fn show_config(common: &Common, run: &RunArgs) -> Result<ExitStatus, LaunchError> {
    let layers = config::load_layers(common, run)?;
    config::validate(&layers)?;
    if common.json {
        out::line(&text::effective_json(&layers).to_string());
    } else {
        out::line(&text::effective(&layers));
    }
    Ok(ExitStatus::Clean)
}

fn new_config(args: &NewConfigArgs) -> Result<ExitStatus, LaunchError> {
    let text = text::documented(args.live);
    let Some(path) = args.file.as_ref().filter(|path| path.as_os_str() != "-") else {
        out::line(&text);
        return Ok(ExitStatus::Clean);
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| LaunchError::Io {
        what: "write the configuration",
        path: path.clone(),
        source,
        remedy: "name a new file in a folder of yours; existing files are never overwritten".into(),
    })?;
    out::note(&format!("wrote {}; look at it with: launcher show-config --config {0}", path.display()));
    Ok(ExitStatus::Clean)
}

pub(crate) fn show_list(common: &Common, head: &[&str], rows: &[Vec<String>]) {
    if common.json {
        let entries = rows.iter().map(|row| {
            let fields =
                head.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), serde_json::Value::from(cell.clone())));
            serde_json::Value::Object(fields.collect())
        });
        out::line(&serde_json::Value::Array(entries.collect()).to_string());
        return;
    }
    let mut table = vec![head.iter().map(|cell| (*cell).to_owned()).collect()];
    table.extend_from_slice(rows);
    out::line(&out::table(&table));
}

fn list_exchanges(common: &Common) -> Result<ExitStatus, LaunchError> {
    let rows = [
        ["embedded", "simulated", "simulated exchange inside this process; no keys, no network"],
        ["binance", "real", "Binance spot; paper: real public data with simulated fills"],
        ["binance-testnet", "testnet", "Binance spot testnet; needs testnet keys and --live"],
    ];
    show_list(common, &["name", "kind", "what"], &rows.map(|row| row.map(str::to_owned).to_vec()));
    Ok(ExitStatus::Clean)
}

fn list_timeframes(common: &Common) -> Result<ExitStatus, LaunchError> {
    let rows = [
        ("1s", 1),
        ("5s", 5),
        ("15s", 15),
        ("30s", 30),
        ("1m", 60),
        ("3m", 180),
        ("5m", 300),
        ("15m", 900),
        ("30m", 1_800),
        ("1h", 3_600),
        ("4h", 14_400),
        ("1d", 86_400),
    ];
    let rows: Vec<_> = rows.iter().map(|(name, seconds)| vec![(*name).to_owned(), seconds.to_string()]).collect();
    show_list(common, &["name", "seconds"], &rows);
    Ok(ExitStatus::Clean)
}
