//! The command line. It only says what was asked for; what it means is decided in `config` and `verbs`. A usage error
//! ends with exit code 1, never with clap's 2.

use crate::config::layers::Layers;
use crate::control::args::{
    CancelArgs, EmergencyArgs, FlattenArgs, RearmArgs, ReleaseArgs, SettleArgs, StopArgs, WaitArgs,
};
use crate::control::arm::ConfirmArgs;
use crate::error::LaunchError;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Trades live, unattended, and stops in order.
///
/// Without a verb it trades. Without a mode it trades on paper: a simulated exchange inside this process, no keys, no
/// network.
#[derive(Debug, Parser)]
#[command(name = "launcher", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What is common to all verbs.
    #[command(flatten)]
    pub common: Common,
    /// Flags of `run`, which is the verb when none is given.
    #[command(flatten)]
    pub run: RunArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

const EXAMPLES: &str = "Examples:
  launcher --paper --duration 60                 trade on paper for a minute
  launcher --paper --venue binance               real public data, simulated fills
  launcher --replay session.ws.gz --speed max    trade a recorded session as fast as it goes
  launcher --live --config live.toml --confirm-live main

Exit codes: 0 done or asked to stop, 130 Ctrl+C, 1 anything failed.";

/// Flags that every verb takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Common {
    /// Configuration file (TOML); may be repeated, the later wins; `-` reads stdin
    #[arg(short = 'c', long, global = true, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Folder for journal, logs, reports and the lock [default: ./keel-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Results as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// No colours (also with the variable NO_COLOR)
    #[arg(long, alias = "no-colour", global = true)]
    pub no_color: bool,
    /// Format of the log on the terminal
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log more
    #[arg(short = 'v', long = "debug", visible_alias = "verbose", global = true)]
    pub debug: bool,
}

/// Format of the log on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What becomes of open orders at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnExit {
    /// Cancel orders that would open or add; protective ones stay
    CancelEntries,
    /// Cancel every order of ours
    CancelAll,
    /// Leave everything as it is
    Keep,
    /// Cancel every order of ours and close positions
    Flatten,
}

/// Flags of a run.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Trade play money (the default)
    #[arg(long, conflicts_with = "live")]
    pub paper: bool,
    /// Trade real money; needs keys and a confirmation
    #[arg(long)]
    pub live: bool,
    /// Confirm live trading by naming the account
    #[arg(long, value_name = "ACCOUNT")]
    pub confirm_live: Option<String>,
    /// Without a verb: the pre-flight checks only, like `check`. With `run`: paper, never live
    #[arg(long)]
    pub dry_run: bool,
    /// How long to trade: seconds, or 90s, 15m, 1h30m [default: until stopped]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub duration: Option<Duration>,
    /// Trade until stopped (the default)
    #[arg(long, conflicts_with = "duration")]
    pub infinite: bool,
    /// embedded, binance, binance-testnet, or the address of a `launcher venue`
    #[arg(long, value_name = "VENUE")]
    pub venue: Option<String>,
    /// Instruments to trade, comma-separated
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',')]
    pub symbols: Vec<String>,
    /// Strategies to run, comma-separated
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub strategy: Vec<String>,
    /// Trade a recorded session and end with it
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Speed of the recording: 1, N or max
    #[arg(long, value_name = "SPEED", requires = "replay", allow_negative_numbers = true)]
    pub speed: Option<String>,
    /// What becomes of open orders at the end [default: cancel-entries]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub on_exit: Option<OnExit>,
    /// Seed of the simulated market
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Serve the web page, JSON API and metrics of this run on this loopback address [default without one: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    pub http: Option<String>,
    /// Start again after a failure
    #[arg(long)]
    pub auto_restart: bool,
    /// The most restarts
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_restarts: Option<u32>,
    /// Wait before the first restart: seconds, or 90s, 15m; doubles with each failure
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub restart_delay: Option<Duration>,
    /// The simulated venue's throw-away account; keys of real accounts are never taken from the command line
    #[arg(long, value_name = "KEY:SECRET")]
    pub account: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Trade (the default)
    #[command(visible_alias = "trade")]
    Run(RunArgs),
    /// Trade files of market data with the live engine, and tell what it was worth
    #[command(visible_alias = "backtesting")]
    Backtest(crate::backtest::BacktestArgs),
    /// Try many sets of parameters of one strategy over the same data
    #[command(visible_alias = "hyperopt")]
    Sweep(crate::sweep::SweepArgs),
    /// Download historical data into the catalogue: bars, trades, book tickers, funding
    DownloadData(crate::download::DownloadArgs),
    /// Does a strategy decide the same when the future is cut off?
    LookaheadCheck(crate::lookahead::LookaheadArgs),
    /// Pre-flight: configuration, clock, connectivity, permissions, filters, risk limits, streams
    Check(RunArgs),
    /// Run the simulated venue by itself, speaking Binance's spot protocol on loopback
    Venue(VenueArgs),
    /// How a running bot stands: state, orders, positions, holds, streams
    Status,
    /// Is a running bot well? Exit code 0 and HEALTHY, or 1 and what is not; kept as health_check_YYYYMMDD.json
    Health,
    /// What a running bot holds: descriptors by kind, memory, threads, tasks, leases, and how they grow
    Resources(crate::resources::ResourcesArgs),
    /// Is everything around a bot right? Configuration, disk, limits, secrets, journal, lock, clock, database
    Doctor(RunArgs),
    /// The end of the newest log
    Logs(crate::logs::LogsArgs),
    /// Stop a running bot in order, and wait for its end
    Stop(StopArgs),
    /// Nothing new that adds exposure; open orders stay. Holds over restarts until `resume`
    Pause(WaitArgs),
    /// Trade again after `pause`, `reduce-only` or `flatten`
    Resume(WaitArgs),
    /// As pause, and open orders that would add exposure are cancelled
    ReduceOnly(WaitArgs),
    /// Cancel one order of ours by its client order id, or all of them
    Cancel(CancelArgs),
    /// Cancel orders and close positions while the bot runs; it stays paused until `resume`
    Flatten(FlattenArgs),
    /// Stop trading now and for good: latch, cancel everything of ours, close positions
    EmergencyStop(EmergencyArgs),
    /// Lift the latch of an emergency stop or of a breaker, after a person has looked
    Rearm(RearmArgs),
    /// Let a held instrument be traded again, after a person has looked
    Release(ReleaseArgs),
    /// Say what became of an order that the venue cannot tell about
    Settle(SettleArgs),
    /// First step to live trading: show what would be traded, and a one-time code
    Arm(RunArgs),
    /// Second step: take the code; the same start, and each restart of it, is then armed
    Confirm(ConfirmArgs),
    /// Take the arming of the account away
    Disarm(RunArgs),
    /// Check, print, replay or repair the journal of a run
    Journal(crate::journal::JournalArgs),
    /// Print every effective setting and where it came from
    ShowConfig(RunArgs),
    /// The local catalogue of market data: what it holds, checks, imports, exports
    Data(crate::data::DataArgs),
    /// Keep a live feed in a file that `--replay` can play
    Record(crate::record::RecordArgs),
    /// Write a documented configuration file
    NewConfig(NewConfigArgs),
    /// Write a crate with a strategy of your own that runs in backtest, paper and live as it is
    NewStrategy(crate::new_strategy::NewStrategyArgs),
    /// Exchanges that can be traded
    ListExchanges,
    /// Instruments of the venue
    ListMarkets(ListMarketsArgs),
    /// Bar lengths that strategies can ask for
    ListTimeframes,
    /// Strategies that can be run; with --json also what can be set, with range, default and unit
    ListStrategies,
    /// What was traded, newest first, out of the database
    ShowTrades(ShowTradesArgs),
    /// The database: how far it is, or build it again from the journals
    Database(DatabaseArgs),
    /// What a run or a series of daily returns was worth: table, JSON, one HTML file
    Report(crate::report::ReportArgs),
    /// The prices of a saved run with entries, exits and indicators, as one HTML file
    #[command(visible_alias = "plot-dataframe")]
    Plot(crate::plot::PlotArgs),
}

/// Flags of `show-trades`.
#[derive(Clone, Debug, Args)]
pub struct ShowTradesArgs {
    /// Only of this instrument
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Option<String>,
    /// The most trades
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
}

/// Flags of `database`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DatabaseArgs {
    /// What to do
    #[command(subcommand)]
    pub what: DatabaseVerb,
}

/// What to do with the database.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum DatabaseVerb {
    /// Which journals it knows, and how far it is in each
    Status,
    /// Make all rows anew from the journals of the data folder
    Rebuild,
}

/// Flags of `venue`.
#[derive(Clone, Debug, Args)]
pub struct VenueArgs {
    /// Port on 127.0.0.1; 0 takes a free one and says which
    #[arg(long, default_value_t = 9080, value_name = "PORT")]
    pub port: u16,
    /// Seed of the synthetic market
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Serve a recorded session instead of the synthetic market
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Speed of the recording: 1, N or max
    #[arg(long, value_name = "SPEED", requires = "replay", allow_negative_numbers = true)]
    pub speed: Option<String>,
    /// An account of this venue; may be repeated. Without one there are two funded demo accounts
    #[arg(long, value_name = "KEY:SECRET")]
    pub account: Vec<String>,
    /// Write down what happens to the accounts' orders and balances, one JSON object a line, before clients hear of it
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Stop by itself after this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub duration: Option<Duration>,
}

/// Flags of `new-config`.
#[derive(Clone, Debug, Args)]
pub struct NewConfigArgs {
    /// Where to write; an existing file is never overwritten [default: stdout]
    pub file: Option<PathBuf>,
    /// For live trading
    #[arg(long)]
    pub live: bool,
}

/// Flags of `list-markets`.
#[derive(Clone, Debug, Args)]
pub struct ListMarketsArgs {
    /// embedded, binance, binance-testnet, or the address of a `launcher venue`
    #[arg(long, value_name = "VENUE")]
    pub venue: Option<String>,
    /// Only these, comma-separated
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',')]
    pub symbols: Vec<String>,
}

impl RunArgs {
    /// Flags given before the verb `run` count as if they stood behind it; those behind it win.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        Self {
            paper: self.paper || before.paper,
            live: self.live || before.live,
            confirm_live: self.confirm_live.or(before.confirm_live),
            dry_run: self.dry_run || before.dry_run,
            duration: self.duration.or(before.duration),
            infinite: self.infinite || before.infinite,
            venue: self.venue.or(before.venue),
            symbols: list(self.symbols, before.symbols),
            strategy: list(self.strategy, before.strategy),
            replay: self.replay.or(before.replay),
            speed: self.speed.or(before.speed),
            on_exit: self.on_exit.or(before.on_exit),
            seed: self.seed.or(before.seed),
            http: self.http.or(before.http),
            auto_restart: self.auto_restart || before.auto_restart,
            max_restarts: self.max_restarts.or(before.max_restarts),
            restart_delay: self.restart_delay.or(before.restart_delay),
            account: self.account.or(before.account),
        }
    }

    /// `run --dry-run` is paper, never live.
    pub fn dry_run_is_paper(mut self) -> Result<Self, LaunchError> {
        if self.dry_run && self.live {
            return Err(LaunchError::Usage(
                "`run --dry-run` is paper and never live; leave out --live, or use `check --live` for the pre-flight"
                    .into(),
            ));
        }
        self.paper |= self.dry_run;
        Ok(self)
    }

    /// Puts the flags on top of the other layers.
    pub fn apply(&self, layers: &mut Layers) -> Result<(), LaunchError> {
        if self.paper && self.live {
            return Err(LaunchError::Usage("--paper and --live exclude each other; leave one out".into()));
        }
        if self.paper {
            layers.add_flag("--paper", "run", "mode", "paper")?;
        }
        if self.live {
            layers.add_flag("--live", "run", "mode", "live")?;
        }
        if let Some(address) = &self.http {
            layers.add_flag("--http", "observe", "address", address)?;
        }
        if let Some(duration) = self.duration {
            layers.add_flag("--duration", "run", "duration_s", &duration.as_secs_f64().to_string())?;
        }
        if self.infinite {
            layers.add_flag("--infinite", "run", "duration_s", "0")?;
        }
        if let Some(venue) = &self.venue {
            add_venue(layers, venue)?;
        }
        if !self.symbols.is_empty() {
            layers.add_flag("--symbols", "venue", "symbols", &self.symbols.join(","))?;
        }
        if !self.strategy.is_empty() {
            layers.add_flag("--strategy", "strategy", "names", &self.strategy.join(","))?;
        }
        if let Some(file) = &self.replay {
            layers.add_flag("--replay", "replay", "file", path_text("--replay", file)?)?;
        }
        if let Some(speed) = &self.speed {
            layers.add_flag("--speed", "replay", "speed", speed)?;
        }
        if let Some(policy) = self.on_exit.and_then(|policy| policy.to_possible_value()) {
            layers.add_flag("--on-exit", "run", "on_exit", policy.get_name())?;
        }
        if let Some(seed) = self.seed {
            layers.add_flag("--seed", "run", "seed", &seed.to_string())?;
        }
        self.apply_restart(layers)
    }

    fn apply_restart(&self, layers: &mut Layers) -> Result<(), LaunchError> {
        if self.auto_restart {
            layers.add_flag("--auto-restart", "restart", "auto", "true")?;
        }
        if let Some(count) = self.max_restarts {
            layers.add_flag("--max-restarts", "restart", "restarts_max_count", &count.to_string())?;
        }
        if let Some(delay) = self.restart_delay {
            layers.add_flag("--restart-delay", "restart", "delay_s", &delay.as_secs_f64().to_string())?;
        }
        Ok(())
    }
}

impl Common {
    /// Puts the flags on top of the other layers.
    pub fn apply(&self, layers: &mut Layers) -> Result<(), LaunchError> {
        if let Some(dir) = &self.data_dir {
            layers.add_flag("--data-dir", "run", "data_dir", path_text("--data-dir", dir)?)?;
        }
        if let Some(format) = self.log_format.and_then(|format| format.to_possible_value()) {
            layers.add_flag("--log-format", "log", "format", format.get_name())?;
        }
        if self.debug {
            layers.add_flag("--debug", "log", "level", "debug")?;
        }
        Ok(())
    }
}

/// `--venue` takes a name or the address of a `launcher venue`.
pub(crate) fn add_venue(layers: &mut Layers, venue: &str) -> Result<(), LaunchError> {
    if venue.contains("://") {
        layers.add_flag("--venue", "venue", "name", "embedded")?;
        return layers.add_flag("--venue", "venue", "url", venue);
    }
    layers.add_flag("--venue", "venue", "url", "")?;
    layers.add_flag("--venue", "venue", "name", venue)
}

fn path_text<'a>(flag: &str, path: &'a std::path::Path) -> Result<&'a str, LaunchError> {
    path.to_str().ok_or_else(|| LaunchError::Usage(format!("{flag}: the path is not UTF-8; rename it")))
}

/// Seconds as a number, or units: `90s`, `15m`, `1h30m`, `1d`. Each unit at most once, the larger first.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: &[(char, u64)] = &[('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    const LONGEST_S: f64 = 31_536_000.0;
    let wanted = "write seconds, or units such as 90s, 15m, 1h30m";
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let mut rest = text;
            let mut total = 0.0;
            let mut units = UNITS;
            while !rest.is_empty() {
                let digits = rest
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .ok_or_else(|| format!("'{rest}' has no unit; {wanted}"))?;
                let (number, tail) = rest.split_at(digits);
                let number: f64 = number.parse().map_err(|_| format!("'{text}' is not a time; {wanted}"))?;
                let word: String = tail.chars().take_while(char::is_ascii_alphabetic).collect();
                let at = units.iter().position(|(unit, _)| word == unit.to_string()).ok_or_else(|| {
                    format!("unit '{word}' in '{text}' is unknown, repeated or out of order; {wanted}")
                })?;
                total += units.get(at).map_or(0.0, |(_, seconds)| number * (*seconds as f64));
                units = units.get(at + 1..).unwrap_or_default();
                rest = tail.get(word.len()..).unwrap_or_default();
            }
            total
        }
    };
    if !seconds.is_finite() || seconds <= 0.0 || seconds > LONGEST_S {
        return Err(format!("'{text}' is not within 0 and 365d; {wanted}"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("'{text}' is not a time; {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_seconds_or_units() {
        for (text, seconds) in
            [("60", 60.0), ("0.5", 0.5), ("90s", 90.0), ("15m", 900.0), ("1h30m", 5400.0), ("1d2h3m4.5s", 93_784.5)]
        {
            assert_eq!(parse_duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in
            ["", "0", "-1", "nan", "inf", "1e12", "60ms", "1m1h", "1m1m", "m", "1.2.3s", "5 m", "soon", "1h30", "400d"]
        {
            let message = parse_duration(text);
            assert!(message.is_err(), "{text:?} was taken as {message:?}");
        }
    }

    #[test]
    fn the_verb_may_be_left_out_and_flags_may_stand_on_either_side() {
        let cli = Cli::try_parse_from(["launcher", "--paper", "--duration", "60"]).unwrap();
        assert!(cli.verb.is_none() && cli.run.paper && cli.run.duration == Some(Duration::from_secs(60)));
        let cli = Cli::try_parse_from([
            "launcher",
            "--duration",
            "5",
            "--seed",
            "1",
            "trade",
            "--seed",
            "2",
            "--data-dir",
            "x",
        ])
        .unwrap();
        let Some(Verb::Run(run)) = cli.verb else { panic!("not run") };
        let run = run.or(cli.run);
        assert_eq!((run.duration, run.seed), (Some(Duration::from_secs(5)), Some(2)));
        assert_eq!(cli.common.data_dir, Some(PathBuf::from("x")));
    }

    #[test]
    fn a_feature_that_is_not_there_is_not_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(!help.contains("\n  top"), "top is in the help");
        for verb in [
            "download-data",
            "run",
            "check",
            "venue",
            "show-config",
            "new-config",
            "list-exchanges",
            "list-markets",
            "list-timeframes",
            "list-strategies",
            "status",
            "health",
            "resources",
            "doctor",
            "logs",
            "stop",
            "pause",
            "resume",
            "reduce-only",
            "cancel",
            "flatten",
            "emergency-stop",
            "rearm",
            "release",
            "settle",
            "arm",
            "confirm",
            "disarm",
        ] {
            assert!(help.contains(&format!("\n  {verb}")), "{verb} is not in the help\n{help}");
        }
    }
}
