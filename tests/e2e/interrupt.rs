//! Verbs that work through data end at once when they are told to, and never write over what they read.

use crate::harness::Launcher;
use rustix::process::Signal;
use std::fmt::Write;

const CONFIG: &str = include_str!("../../config/golden/ema_cross_bars.toml");

/// A launcher with a configuration and so many bars that go up and down.
fn launcher(bars: u64) -> Launcher {
    let launcher = Launcher::new();
    launcher.file("c.toml", CONFIG);
    let mut text = "ts_ns,open,high,low,close,volume\n".to_owned();
    for at in 1..=bars {
        let price = 30_000 + (at % 97) * 3;
        writeln!(
            text,
            "{},{price}.00,{price}.50,{price}.00,{price}.25,12.345",
            (1_577_836_800 + 60 * at) * 1_000_000_000
        )
        .unwrap();
    }
    launcher.file("bars.csv", text);
    launcher
}

fn files(launcher: &Launcher) -> Vec<String> {
    let entries = std::fs::read_dir(launcher.folder()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_signal_ends_the_verbs_that_work_through_data_and_nothing_is_half_written() {
    let launcher = launcher(200_000);
    let before = files(&launcher);
    let backtest = ["backtest", "-c", "c.toml", "--data", "bars.csv", "--out", "run.json"];
    let lookahead = ["lookahead-check", "-c", "c.toml", "--data", "bars.csv", "--cuts", "100"];
    let check = ["data", "check", "bars.csv"];
    let export = ["data", "export", "bars.csv", "--out", "out.csv"];
    for (arguments, signal, code) in [
        (&backtest[..], Signal::INT, 130),
        (&lookahead[..], Signal::INT, 130),
        (&check[..], Signal::INT, 130),
        (&export[..], Signal::INT, 130),
        (&backtest[..], Signal::TERM, 0),
        (&lookahead[..], Signal::HUP, 0),
    ] {
        let running = launcher.start(arguments);
        running.until_signals_are_held();
        running.signal(signal);
        running.wait().expect_code(code).expect_stderr("given up");
        assert_eq!(files(&launcher), before, "{arguments:?}");
    }
}

#[test]
fn an_import_that_is_interrupted_leaves_a_sound_catalogue_and_can_be_done_again() {
    let launcher = launcher(200_000);
    let import = ["data", "import", "bars.csv", "--as", "a/spot/BTCUSDT", "--data-dir", "d"];
    let mut running = launcher.start(&import);
    running.until_signals_are_held();
    running.signal(Signal::INT);
    running.until("given up");
    running.wait().expect_code(130);
    launcher.run(&import).expect_code(0);
    let check = launcher.run(&["data", "check", "--data-dir", "d"]).expect_code(0);
    assert!(check.stdout.contains("200000 bars of 1m") && check.stdout.contains("sound"), "{}", check.stdout);
}

#[test]
fn what_is_read_and_what_is_of_another_kind_is_never_written_over() {
    let launcher = launcher(300);
    let backtest = ["backtest", "-c", "c.toml", "--data", "bars.csv"];
    launcher.run(&[&backtest[..], &["--out", "r.json", "--html", "r.html"]].concat()).expect_code(0);
    launcher.file("mine.txt", "mine");
    let read = |name: &str| std::fs::read(launcher.folder().join(name)).unwrap();
    let before = ["bars.csv", "c.toml", "r.json", "mine.txt"].map(read);
    let input = "is read by this command";
    for (arguments, wanted) in [
        ([&backtest[..], &["--out", "./bars.csv", "--force"]].concat(), input),
        ([&backtest[..], &["--html", "c.toml", "--force"]].concat(), input),
        ([&backtest[..], &["--out", "x", "--html", "./x"]].concat(), "give each a file of its own"),
        ([&backtest[..], &["--out", "mine.txt"]].concat(), "--force"),
        (vec!["report", "r.json", "--html", "r.json", "--force"], input),
        (vec!["report", "r.json", "--html", "bars.csv", "--force"], input),
        (vec!["report", "r.json", "--html", "mine.txt"], "--force"),
        (vec!["plot", "r.json", "--out", "r.json"], input),
        (vec!["data", "export", "bars.csv", "--out", "bars.csv", "--force"], input),
    ] {
        launcher.run(&arguments).expect_code(1).expect_stderr(wanted);
    }
    assert_eq!(["bars.csv", "c.toml", "r.json", "mine.txt"].map(read), before);
    launcher.run(&[&backtest[..], &["--out", "r.json", "--html", "r.html"]].concat()).expect_code(0);
    launcher.run(&[&backtest[..], &["--out", "mine.txt", "--force"]].concat()).expect_code(0);
    let plot = ["plot", "r.json", "--from", "2023-01-01"];
    launcher.run(&plot).expect_code(1).expect_stderr("from 2020-01-01T00:01:00Z to 2020-01-01T05:00:00Z");
}
