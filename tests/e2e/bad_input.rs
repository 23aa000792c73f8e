//! Bad flags, keys, values, files: each ends with exit code 1, and the message names the place and the next step.

use crate::harness::Launcher;
use std::os::unix::fs::PermissionsExt;

#[test]
fn wrong_command_lines_are_exit_1_and_say_what_to_do_never_clap_s_2() {
    let launcher = Launcher::new();
    for (arguments, wanted) in [
        (&["--papr"][..], "'--paper'"),
        (&["--no-such-thing"], "unexpected argument '--no-such-thing'"),
        (&["traid"], "'trade'"),
        (&["backtest"], "--data"),
        (&["--duration", "60ms"], "unit 'ms' in '60ms' is unknown"),
        (&["--duration", "-5"], "--duration"),
        (&["--duration", "0"], "'0' is not within 0 and 365d"),
        (&["--duration", "soon"], "write seconds, or units such as 90s, 15m, 1h30m"),
        (&["--paper", "--live"], "'--paper' cannot be used with '--live'"),
        (&["--live", "run", "--paper"], "--paper and --live exclude each other"),
        (&["--duration", "5", "--infinite"], "cannot be used with"),
        (&["--on-exit", "panic"], "cancel-entries, cancel-all, keep, flatten"),
        (&["--speed", "max"], "--replay <FILE>"),
        (&["--seed", "many"], "invalid value 'many' for '--seed <N>'"),
        (
            &["--venue", "bitstamp"],
            "`venue.name` is `bitstamp`; write \"embedded\" or \"binance\" or \"binance-testnet\"",
        ),
        (&["--venue", "http://10.1.2.3:9080"], "paper orders go only to a simulated venue"),
        (&["--venue", "binance-testnet"], "so it is not paper"),
        (&["--strategy", "market-makr"], "did you mean `market-maker`?"),
        (&["--symbols", "btcusdt"], "'btcusdt' is not a symbol"),
        (&["--max-restarts", "-1"], "--max-restarts"),
        (&["venue", "--data-dir", "x"], "--data-dir means nothing to `venue`"),
        (&["new-config", "--json"], "--json means nothing to `new-config`"),
        (&["--replay", "x", "--speed", "-1"], "`replay.speed`: -1 is outside 0.01 to 100000"),
        (&["--duration", "-1"], "'-1' is not within 0 and 365d"),
        (&["--venue", "http://127.0.0.1:1"], "--account KEY:SECRET"),
        (&["venue", "--port", "70000"], "70000 is not in 0..=65535"),
        (&["show-config", "--config", "none.toml"], "cannot read the configuration none.toml"),
    ] {
        let ended = launcher.run(arguments).expect_code(1);
        assert!(ended.stderr.contains(wanted), "{arguments:?}\n  gave {}\n  not  {wanted}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{arguments:?} wrote to stdout: {}", ended.stdout);
    }
    assert!(!launcher.folder().join("keel-data").exists(), "a refused command line left a data folder behind");
}

#[test]
fn help_and_version_are_successes() {
    let launcher = Launcher::new();
    for (arguments, wanted) in [
        (&["--help"][..], "Exit codes: 0"),
        (&["help"], "Exit codes: 0"),
        (&["help", "run"], "--on-exit"),
        (&["--version"], "launcher 0"),
        (&["run", "--help"], "--on-exit"),
    ] {
        assert!(launcher.run(arguments).expect_code(0).stdout.contains(wanted));
    }
}

#[test]
fn a_missing_recording_is_told_once_and_never_tried_again() {
    let launcher = Launcher::new();
    for speed in ["1", "max"] {
        let ended = launcher.run(&["--replay", "none.gz", "--speed", speed, "--auto-restart", "--restart-delay", "1"]);
        let ended = ended.expect_code(1).expect_stderr("error: recording none.gz: No such file or directory");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
}

#[test]
fn the_help_of_a_verb_lists_only_what_means_something_to_it() {
    let launcher = Launcher::new();
    let help = launcher.run(&["check", "--help"]).expect_code(0).stdout;
    for flag in ["--auto-restart", "--max-restarts", "--restart-delay", "--duration", "--infinite", "--confirm-live"] {
        assert!(!help.contains(flag), "{flag}\n{help}");
    }
    assert!(help.contains("--venue") && help.contains("--symbols"), "{help}");
}

#[test]
fn wrong_configurations_name_file_line_key_and_remedy() {
    let launcher = Launcher::new();
    for (text, wanted) in [
        (&b"[runn]\nseed = 1\n"[..], "c.toml, line 1: unknown section `runn`; did you mean `run`?"),
        (b"[run]\nseedd = 1\n", "c.toml, line 2: unknown key `run.seedd`; did you mean `seed`?"),
        (b"[run]\nduration_s = \"90s\"\n", "c.toml, line 2: `run.duration_s` is the text \"90s\""),
        (b"[stop]\ntotal_ms = 5\n", "c.toml, line 2: `stop.total_ms` is 5, outside 15000 to 600000"),
        (
            b"[risk]\norder_notional_max_quote = '10'\n[market_maker]\nquote_notional_quote = '150'\n",
            "c.toml, line 2: `market_maker.quote_notional_quote` is 150, above `risk.order_notional_max_quote` 10",
        ),
        (b"[run]\nmode = 'live'\n", "c.toml, line 2: `run.mode` is live, but `venue.name` is embedded"),
        (b"[run]\n# caf\xe9\n", "c.toml, line 2: byte 11 is not UTF-8; save the file as UTF-8"),
        (b"[run\n", "c.toml, line 1"),
        (b"[credentials]\napi_secret = 'x'\n", "keys never stand in the configuration"),
    ] {
        launcher.file("c.toml", text);
        let ended = launcher.run(&["-c", "c.toml", "--duration", "1"]).expect_code(1);
        assert!(
            ended.stderr.contains(wanted),
            "{}\n  gave {}\n  not  {wanted}",
            String::from_utf8_lossy(text),
            ended.stderr
        );
    }
    let mut command = launcher.command(&["show-config"]);
    command.env("KEEL__RUN__SEDE", "1");
    crate::harness::Running::start(command)
        .wait()
        .expect_code(1)
        .expect_stderr("variable KEEL__RUN__SEDE: unknown key `run.sede`; did you mean `seed`?");
}

#[test]
fn an_unreadable_configuration_is_named() {
    let launcher = Launcher::new();
    let path = launcher.file("c.toml", "");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        eprintln!("SKIPPED: this user may read every file");
        return;
    }
    launcher.run(&["show-config", "-c", "c.toml"]).expect_code(1).expect_stderr("Permission denied");
}

#[test]
fn layers_win_in_the_documented_order_and_show_where_they_come_from() {
    let launcher = Launcher::new();
    launcher.file("a.toml", "[run]\nseed = 2\nduration_s = 5\non_exit = 'keep'\n");
    launcher.file("b.toml", "[run]\nseed = 3\nduration_s = 6\n");
    let mut command =
        launcher.command(&["show-config", "--json", "-c", "a.toml", "-c", "b.toml", "--duration", "1h30m"]);
    command.env("KEEL__RUN__SEED", "4");
    let ended = crate::harness::Running::start(command).wait().expect_code(0);
    let entries: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    let found = |key: &str| {
        let entry = entries.iter().find(|entry| entry["key"] == key).unwrap_or_else(|| panic!("no {key}"));
        (entry["value"].clone(), entry["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(found("run.seed"), (4.into(), "variable KEEL__RUN__SEED".into()));
    assert_eq!(found("run.duration_s"), (5400.0.into(), "command line, --duration".into()));
    assert_eq!(found("run.on_exit"), ("keep".into(), "a.toml, line 4".into()));
    assert_eq!(found("run.mode"), ("paper".into(), "default".into()));
}

#[test]
fn a_new_configuration_is_complete_and_never_overwrites() {
    let launcher = Launcher::new();
    launcher.run(&["new-config", "my.toml"]).expect_code(0);
    launcher.run(&["show-config", "-c", "my.toml"]).expect_code(0);
    launcher.run(&["new-config", "my.toml"]).expect_code(1).expect_stderr("existing files are never overwritten");
    launcher
        .run(&["new-config", "none/my.toml"])
        .expect_code(1)
        .expect_stderr("cannot write the configuration none/my.toml");
}

#[test]
fn lists_are_tables_for_people_and_json_for_machines() {
    let launcher = Launcher::new();
    for verb in ["list-exchanges", "list-timeframes", "list-strategies"] {
        let json = launcher.run(&[verb, "--json"]).expect_code(0).stdout;
        let entries: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert!(entries.len() > 1 && entries.iter().all(|entry| entry["name"].is_string()), "{json}");
        assert!(launcher.run(&[verb]).expect_code(0).stdout.starts_with("name "));
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let launcher = Launcher::new();
    let mut child = launcher
        .command(&["list-timeframes"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
