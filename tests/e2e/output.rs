//! Where the words go: a result that cannot be written is a failure, a reader that went away is not, and a log that is to be
//! JSON is nothing else.

use crate::harness::{Launcher, Running};
use std::fs::OpenOptions;
use std::process::Stdio;

#[test]
fn a_result_that_cannot_be_written_is_exit_1() {
    let launcher = Launcher::new();
    for arguments in [
        &["show-config", "--json"][..],
        &["show-config"],
        &["new-config"],
        &["list-strategies"],
        &["check", "--json"],
        &["--help"],
        &["--duration", "1", "--json"],
    ] {
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
            eprintln!("SKIPPED: no /dev/full");
            return;
        };
        let output = launcher.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}\n{stderr}");
        assert!(
            stderr.contains("cannot write the result to stdout: No space left on device"),
            "{arguments:?}\n{stderr}"
        );
    }
}

#[test]
fn a_json_log_is_nothing_but_json_objects_one_a_line() {
    let launcher = Launcher::new();
    for (arguments, code) in [
        (&["--log-format", "json", "--duration", "2", "--json"][..], 0),
        (&["--log-format=json", "--no-such-flag"], 1),
        (&["--log-format", "json", "--replay", "none.gz", "--speed", "max"], 1),
        (&["--log-format", "json", "--config", "none.toml"], 1),
    ] {
        let ended = launcher.run(arguments).expect_code(code);
        assert!(!ended.stderr.is_empty());
        for line in ended.stderr.lines() {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}"));
            assert!(value.is_object() && value["level"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_variable_with_one_underscore_too_few_is_warned_of() {
    let launcher = Launcher::new();
    let mut command = launcher.command(&["show-config"]);
    command.env("KEEL_RUN__SEED", "3");
    Running::start(command)
        .wait()
        .expect_code(0)
        .expect_stderr("warning: variable KEEL_RUN__SEED is not read; did you mean KEEL__RUN__SEED?");
}

#[test]
fn a_run_with_too_few_files_is_refused_with_the_remedy_before_it_opens_any() {
    let launcher = Launcher::new();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$0\" --duration 2", env!("CARGO_BIN_EXE_launcher")]);
    command.current_dir(launcher.folder()).stdin(Stdio::null());
    Running::start(command).wait().expect_code(1).expect_stderr("ulimit -n");
    assert!(!launcher.folder().join("keel-data").exists(), "nothing was made");
}

#[test]
fn a_run_whose_duration_ends_before_trading_began_is_a_failure_and_says_so() {
    let launcher = Launcher::new();
    // A port that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let command = launcher.command(&["--venue", &url, "--account", "key:secret", "--duration", "1"]);
    Running::start(command).wait().expect_code(1).expect_stderr("the duration ended before trading began");
}
