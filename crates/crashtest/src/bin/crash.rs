//! The command of the crash test: `crash sweep`, `crash random 2000`, `crash signals 1000`, …; see `crash --help`.

use clap::{Parser, Subcommand};
use keel_crashtest::random::{self, Blow};
use keel_crashtest::strike::{self, SURFACES};
use keel_crashtest::sweep::{self, Plan};
use keel_crashtest::{Bench, CrashError, Effect, Phase, Surface};
use keel_lifecycle::Clock;
use std::path::PathBuf;
use std::process::ExitCode;

/// Kills, starves and cuts off the real launcher, and judges what it left behind.
#[derive(Debug, Parser)]
#[command(name = "crash")]
struct Cli {
    /// The launcher under test [default: the one beside this program]
    #[arg(long, global = true)]
    launcher: Option<PathBuf>,
    /// Where the folders of the tests go
    #[arg(long, global = true, default_value = "target/crash")]
    root: PathBuf,
    /// Tests at once
    #[arg(long, global = true, default_value_t = 2)]
    jobs: u32,
    /// Seed of instants
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// SIGKILL (or an error) at every n-th system call of every phase
    Sweep {
        /// Only this phase
        #[arg(long)]
        phase: Option<String>,
        /// Only this call
        #[arg(long)]
        syscall: Option<String>,
        /// Only every so many calls
        #[arg(long, default_value_t = 1)]
        stride: u32,
        /// Instead of SIGKILL the call fails: EIO, ENOSPC; with a + behind it, every later one, too
        #[arg(long)]
        error: Option<String>,
        /// Instead of SIGKILL the call and all later ones answer so many microseconds late
        #[arg(long)]
        slow_us: Option<u64>,
        /// Forget how far an earlier sweep came
        #[arg(long)]
        fresh: bool,
    },
    /// SIGKILL at random instants
    Random { count: u32 },
    /// SIGSEGV at random instants
    Segv { count: u32 },
    /// SIGINT, SIGTERM and SIGHUP at random instants
    Signals { count: u32 },
    /// SIGSTOP for three seconds
    Freeze { count: u32 },
    /// Stopped and started again at once
    Restarts { count: u32 },
    /// Kill, and what was not yet synced is cut off or zeroed
    Power { count: u32 },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool, CrashError> {
    let beside = || std::env::current_exe().unwrap_or_default().with_file_name("launcher");
    let bench = Bench::new(&cli.launcher.clone().unwrap_or_else(beside), &cli.root)?;
    let tell = |line: &str| eprintln!("{line}");
    let clock = Clock::system();
    let began_ns = clock.mono_ns();
    let chains = |blow, count| random::strikes(&bench, blow, count, cli.seed, cli.jobs, &tell);
    let result = match &cli.verb {
        Verb::Sweep { .. } => {
            let is_good = sweep_all(cli, &bench, &tell)?;
            println!("took {:.0} s", clock.since(began_ns).as_secs_f64());
            return Ok(is_good);
        }
        Verb::Random { count } => chains(Blow::Kill, *count)?,
        Verb::Segv { count } => chains(Blow::Segv, *count)?,
        Verb::Signals { count } => chains(Blow::Ask, *count)?,
        Verb::Freeze { count } => chains(Blow::Freeze, *count)?,
        Verb::Restarts { count } => chains(Blow::Restart, *count)?,
        Verb::Power { count } => {
            strike::probe()?;
            random::power_losses(&bench, *count, cli.seed, &tell)?
        }
    };
    println!("{result}\ntook {:.0} s", clock.since(began_ns).as_secs_f64());
    Ok(result.violations.is_empty())
}

fn sweep_all(cli: &Cli, bench: &Bench, tell: &(dyn Fn(&str) + Sync)) -> Result<bool, CrashError> {
    let Verb::Sweep { phase, syscall, stride, error, slow_us, fresh } = &cli.verb else { return Ok(true) };
    strike::probe()?;
    let effect = match (error.as_deref(), slow_us) {
        (None, None) => Effect::Kill,
        (None, Some(us)) => Effect::Slow(*us),
        (Some("EIO"), _) => Effect::FailOnce("EIO"),
        (Some("ENOSPC"), _) => Effect::FailOnce("ENOSPC"),
        (Some("EIO+"), _) => Effect::FailFromThen("EIO"),
        (Some("ENOSPC+"), _) => Effect::FailFromThen("ENOSPC"),
        (Some(other), _) => return Err(CrashError::Usage(format!("'{other}': choose EIO, ENOSPC, EIO+ or ENOSPC+"))),
    };
    let name = match &effect {
        Effect::Kill => "kill".to_owned(),
        Effect::FailOnce(error) => (*error).to_owned(),
        Effect::FailFromThen(error) => format!("{error}-on"),
        Effect::Slow(us) => format!("slow{us}"),
    };
    let state = bench.root.join(format!("sweep-{name}-{stride}.json"));
    if *fresh {
        // It may not be there.
        drop(std::fs::remove_file(&state));
    }
    let plan = Plan {
        phases: match phase {
            Some(name) => vec![Phase::find(name)?],
            None => Phase::ALL.to_vec(),
        },
        surfaces: match syscall {
            Some(name) => vec![*Surface::find(name)?],
            None => SURFACES.to_vec(),
        },
        effect,
        stride: *stride,
        first: 1,
        jobs: cli.jobs,
        state: Some(state),
    };
    let swept = sweep::sweep(bench, &plan, tell)?;
    println!("{}", swept.table());
    for (what, violations, evidence) in &swept.violations {
        println!("{what}");
        violations.iter().for_each(|violation| println!("  {violation}"));
        println!("  evidence: {}", evidence.as_deref().unwrap_or(&bench.root).display());
    }
    Ok(swept.violations.is_empty() && swept.is_complete())
}
