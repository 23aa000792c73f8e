//! A strategy of the user's own: what `new-strategy` writes runs in backtest and paper as it is.
//!
//! The program of the example (`crates/launcher/examples/above_average.rs`, which is what `new-strategy` writes) is run in any
//! case. Building a written crate takes minutes on a cold machine, so that is asked for:
//! `KEEL_E2E_NEW_STRATEGY=1 cargo test -p keel-launcher --test e2e new_strategy`.

use crate::harness::{Ended, Launcher, Running};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bars of an hour, the price going up and down in turns.
fn bars() -> String {
    let mut text = String::from("ts_ns,open,high,low,close,volume\n");
    let mut price = 60_000.0_f64;
    for minute in 1..=600_u64 {
        let step = if (minute / 50).is_multiple_of(2) { 12.0 } else { -12.0 };
        let (open, close) = (price, price + step);
        let ts_ns = 1_700_000_040_000_000_000 + minute * 60_000_000_000;
        text +=
            &format!("{ts_ns},{open:.2},{:.2},{:.2},{close:.2},1.000\n", open.max(close) + 1.0, open.min(close) - 1.0);
        price = close;
    }
    text
}

/// The program on the launcher's folder.
fn program(launcher: &Launcher, binary: &Path, arguments: &[&str]) -> Ended {
    let mut command = launcher.command::<&str>(&[]);
    let mut own = Command::new(binary);
    own.args(arguments).current_dir(launcher.folder()).stdin(std::process::Stdio::null());
    for (name, value) in command.env("NO_COLOR", "1").get_envs() {
        match value {
            Some(value) => own.env(name, value),
            None => own.env_remove(name),
        };
    }
    Running::start(own).wait()
}

/// Backtest and paper of a program whose own strategy is `name`.
fn runs(launcher: &Launcher, binary: &Path, name: &str, config: &str) {
    launcher.file("bars.csv", bars());
    launcher.file("config.toml", config);
    let listed = program(launcher, binary, &["list-strategies", "--json"]).expect_code(0).stdout;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    assert!(listed.iter().any(|it| it["name"] == name && it["parameters"][2]["name"] == "average_bars_count"));
    let backtest = ["backtest", "-c", "config.toml", "--data", "bars.csv", "--json"];
    let result: serde_json::Value =
        serde_json::from_str(&program(launcher, binary, &backtest).expect_code(0).stdout).unwrap();
    assert_eq!(result["rows"], 600);
    assert!(result["fills"].as_u64().unwrap() >= 6, "{result}");
    let paper = program(launcher, binary, &["--paper", "-c", "config.toml", "--duration", "3"]).expect_code(0);
    assert!(paper.stderr.contains(name) || paper.stdout.contains(name), "{}", paper.stderr);
    let wrong = program(launcher, binary, &["--paper", "--strategy", "abov-average", "--duration", "1"]).expect_code(1);
    assert!(wrong.stderr.contains("list-strategies"), "{}", wrong.stderr);
}

#[test]
fn the_example_runs_in_backtest_and_paper() {
    let launcher = Launcher::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_launcher")).with_file_name("examples").join("above_average");
    if !binary.is_file() {
        eprintln!("SKIPPED: {} is not built; `cargo test -p keel-launcher` builds it", binary.display());
        return;
    }
    launcher.run(&["new-strategy", "above-average"]).expect_code(0);
    let config = std::fs::read_to_string(launcher.folder().join("above-average/config.toml")).unwrap();
    runs(&launcher, &binary, "above-average", &config);
}

#[test]
fn what_cannot_be_written_is_refused_with_its_reason() {
    let launcher = Launcher::new();
    for (name, cause) in
        [("My_First", "small letters"), ("ema-cross", "there is a strategy"), ("fn", "word of the language")]
    {
        launcher.run(&["new-strategy", name]).expect_code(1).expect_stderr(cause);
    }
    launcher.run(&["new-strategy", "mine", "--dir", "a/b"]).expect_code(0);
    launcher.run(&["new-strategy", "mine", "--dir", "a/b"]).expect_code(1).expect_stderr("stays as it is");
    launcher.run(&["new-strategy", "mine2", "--keel", "/nowhere"]).expect_code(1).expect_stderr("--keel");
    let json = launcher.run(&["new-strategy", "mine3", "--json"]).expect_code(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["name"], json["files"].as_array().unwrap().len()), (&"mine3".into(), 5));
}

#[test]
fn a_written_crate_builds_passes_its_test_and_runs() {
    if std::env::var_os("KEEL_E2E_NEW_STRATEGY").is_none() {
        eprintln!("SKIPPED: building a crate takes minutes; KEEL_E2E_NEW_STRATEGY=1 asks for it");
        return;
    }
    let launcher = Launcher::new();
    launcher.run(&["new-strategy", "my-first"]).expect_code(0);
    let folder = launcher.folder().join("my-first");
    // The workspace's own build folder: what is built of others is built once.
    let target: PathBuf = Path::new(env!("CARGO_BIN_EXE_launcher")).ancestors().nth(2).unwrap().to_path_buf();
    for arguments in [["build", "--offline"], ["test", "--offline"]] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).current_dir(&folder).env("CARGO_TARGET_DIR", &target);
        let ended = cargo.output().unwrap();
        assert!(ended.status.success(), "cargo {arguments:?}\n{}", String::from_utf8_lossy(&ended.stderr));
    }
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    runs(&launcher, &target.join("debug/my-first"), "my-first", &config);
}
