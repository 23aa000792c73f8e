//! Looking at a running bot and at what is around it: `health`, `resources`, `doctor`, `logs`, and the metrics that the files in
//! `packaging/` speak of.

use crate::harness::{LIMIT, Launcher, Running};
use keel_lifecycle::Clock;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn paper(launcher: &Launcher, more: &[&str]) -> Running {
    let mut running = launcher.start(&[&["--paper", "--infinite"], more].concat());
    running.until("trading: ready");
    running
}

fn end(running: Running) {
    running.signal(Signal::TERM);
    running.wait().expect_code(0);
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn data(launcher: &Launcher) -> PathBuf {
    launcher.folder().join("keel-data")
}

/// The one file of health checks in the data folder.
fn health_file(launcher: &Launcher) -> Value {
    let found: Vec<PathBuf> = std::fs::read_dir(data(launcher))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("health_check_"))
        .collect();
    let [path] = found.as_slice() else { panic!("not one file: {found:?}") };
    let name = path.file_name().unwrap().to_str().unwrap();
    let day = name.strip_prefix("health_check_").and_then(|rest| rest.strip_suffix(".json")).unwrap();
    assert!(day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
    json(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn s1_034_s1_035_s1_036_health_is_0_while_it_trades_and_1_when_it_is_halted_or_gone() {
    let launcher = Launcher::new();
    let nowhere = launcher.run(&["health"]).expect_code(1);
    assert!(nowhere.stderr.contains("--data-dir"), "{}", nowhere.stderr);
    let running = paper(&launcher, &[]);
    let deadline = Clock::system().deadline(LIMIT);
    // Streams come up while it begins.
    while launcher.run(&["health"]).code != Some(0) {
        assert!(!deadline.is_past(), "{:#}", health_file(&launcher));
    }
    assert_eq!(launcher.run(&["health"]).expect_code(0).stdout.trim(), "HEALTHY");
    let kept = health_file(&launcher);
    assert_eq!((&kept["healthy"], &kept["bot"]["pid"]), (&Value::Bool(true), &running.pid().into()));
    for key in ["open_files", "max_files", "memory_mb", "memory_percent", "processes", "threads", "network_connections"]
    {
        assert!(kept["report"]["current_metrics"][key].is_number(), "S1-050: {key} in {kept:#}");
    }
    launcher.run(&["emergency-stop", "--reason", "a test"]).expect_code(0);
    let halted = launcher.run(&["health", "--json"]).expect_code(1);
    let told = json(&halted.stdout);
    assert!(told["healthy"] == false && told["issues"][0].as_str().unwrap().contains("halted"), "{told:#}");
    running.signal(Signal::TERM);
    running.wait();
    let gone = launcher.run(&["health"]).expect_code(1);
    assert!(gone.stdout.contains("ISSUES FOUND") && gone.stdout.contains("no bot runs"), "{}", gone.stdout);
    assert_eq!(health_file(&launcher)["healthy"], false);
}

#[test]
fn s1_044_s1_045_resources_agree_with_the_kernel_and_a_report_is_never_overwritten() {
    let launcher = Launcher::new();
    let none = launcher.run(&["resources"]).expect_code(1);
    assert!(none.stderr.contains("no bot runs"), "{}", none.stderr);
    let running = paper(&launcher, &[]);
    let told = json(&launcher.run(&["resources", "--json", "--report", "resources.json"]).expect_code(0).stdout);
    let kernel = std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    let open = told["report"]["current_metrics"]["open_files"].as_u64().unwrap();
    assert!(open.abs_diff(kernel as u64) <= 10, "{open} told, {kernel} in /proc");
    let by_kind: u64 =
        told["resources"]["descriptors"].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
    assert!(by_kind.abs_diff(open) <= 10, "{by_kind} by kind, {open} in all");
    assert!(told["report"]["sockets_by_state"]["listen"].as_u64().unwrap() >= 1, "{told:#}");
    let tasks = told["resources"]["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["name"].as_str().unwrap().contains("control-socket")), "{tasks:?}");
    let report = launcher.folder().join("resources.json");
    assert_eq!(json(&std::fs::read_to_string(&report).unwrap()), told);
    assert_eq!(std::fs::metadata(&report).unwrap().permissions().mode() & 0o777, 0o600);
    let again = launcher.run(&["resources", "--report", "resources.json"]).expect_code(1);
    assert!(again.stderr.contains("never overwritten"), "{}", again.stderr);
    let shown = launcher.run(&["resources"]).expect_code(0).stdout;
    for word in ["descriptors", "memory, MB", "threads", "lease websocket", "sockets listen"] {
        assert!(shown.contains(word), "{word} is not in\n{shown}");
    }
    end(running);
}

#[test]
fn s1_031_s1_062_descriptors_beyond_the_threshold_are_told_as_an_issue_and_an_alert_until_it_has_recovered() {
    let launcher = Launcher::new();
    let running = paper(&launcher, &[]);
    let pid = Pid::from_raw(i32::try_from(running.pid()).unwrap());
    let set = |most: u64, hard| {
        let limit = Rlimit { current: Some(most), maximum: hard };
        prlimit(pid, Resource::Nofile, limit).unwrap()
    };
    let until = |word: &str, is_so: &dyn Fn(&Value) -> bool| {
        let deadline = Clock::system().deadline(LIMIT);
        loop {
            let told = json(&launcher.run(&["health", "--json"]).stdout);
            if is_so(&told) {
                return told;
            }
            assert!(!deadline.is_past(), "{word} did not come: {told:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let well = until("health", &|told| told["healthy"] == true);
    let open = well["report"]["current_metrics"]["open_files"].as_u64().unwrap();
    // Nine tenths are open now: beyond the error threshold, and room for a few more.
    let before = set(open * 10 / 9, getrlimit(Resource::Nofile).maximum);
    let told = until("the alert", &|told| told["report"]["active_alerts"][0]["kind"] == "descriptors");
    let issues: Vec<&str> = told["issues"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(told["healthy"] == false && issues.iter().any(|it| it.starts_with("descriptors: ")), "{issues:?}");
    assert!(issues.iter().any(|it| it.starts_with("active alert: descriptors")), "{issues:?}");
    set(before.current.unwrap(), before.maximum);
    until("the recovery", &|told| told["healthy"] == true);
    end(running);
}

fn checks(told: &Value) -> Vec<(&str, &str)> {
    let lines = told["checks"].as_array().unwrap().iter();
    lines.map(|line| (line["check"].as_str().unwrap(), line["result"].as_str().unwrap())).collect()
}

#[test]
fn doctor_finds_nothing_in_a_fresh_place_and_names_what_is_wrong_with_its_remedy() {
    let launcher = Launcher::new();
    let fresh = json(&launcher.run(&["doctor", "--json"]).expect_code(0).stdout);
    assert!(fresh["ok"] == true && checks(&fresh).len() >= 9, "{fresh:#}");
    assert!(!data(&launcher).exists(), "a look makes nothing");
    let running = paper(&launcher, &["--http", "127.0.0.1:0"]);
    let beside = json(&launcher.run(&["doctor", "--json"]).expect_code(0).stdout);
    let line = |told: &Value, check: &str| -> Value {
        told["checks"].as_array().unwrap().iter().find(|line| line["check"] == check).unwrap().clone()
    };
    assert!(line(&beside, "running bot")["detail"].as_str().unwrap().contains(&running.pid().to_string()));
    assert!(line(&beside, "journal")["detail"].as_str().unwrap().contains("a bot writes to it"), "{beside:#}");
    end(running);
    let token = data(&launcher).join("api/read.token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    spoil(&newest_segment(&data(&launcher)));
    let bad = json(&launcher.run(&["doctor", "--json"]).expect_code(1).stdout);
    for check in ["secrets", "journal"] {
        let line = line(&bad, check);
        assert!(line["result"] == "fail" && !line["remedy"].as_str().unwrap().is_empty(), "{line}");
    }
    let shown = launcher.run(&["doctor"]).expect_code(1);
    assert!(shown.stdout.contains("FAIL") && shown.stdout.contains("read.token"), "{}", shown.stdout);
    launcher.file("bad.toml", "[risk]\nnonsense = 1\n");
    let config = json(&launcher.run(&["doctor", "--json", "-c", "bad.toml"]).expect_code(1).stdout);
    assert_eq!(checks(&config)[0], ("configuration", "fail"));
}

fn newest_segment(data: &Path) -> PathBuf {
    let sessions = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path().join("journal"));
    let journal = sessions.filter(|path| path.is_dir()).max().unwrap();
    journal.join("journal-00000001.seg")
}

/// Turns a byte over in the middle of what was written.
fn spoil(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn logs_shows_the_end_of_the_log_of_a_run() {
    let launcher = Launcher::new();
    let none = launcher.run(&["logs"]).expect_code(1);
    assert!(none.stderr.contains("a run writes one"), "{}", none.stderr);
    launcher.run(&["--paper", "--duration", "2"]).expect_code(0);
    let told = json(&launcher.run(&["logs", "--lines", "3", "--json"]).expect_code(0).stdout);
    let lines = told["lines"].as_array().unwrap();
    assert!(lines.len() == 3 && lines.iter().all(|line| line["timestamp"].is_string()), "{told:#}");
    assert!(told["file"].as_str().unwrap().ends_with(".log.jsonl"));
    let shown = launcher.run(&["logs", "-n", "5"]).expect_code(0).stdout;
    assert_eq!(shown.lines().count(), 5, "{shown}");
    launcher.run(&["logs", "-n", "0"]).expect_code(1);
}

/// Asks the observability server and returns head and body.
fn get(address: &str, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    words.filter(|word| word.starts_with("keel_") || word.starts_with("process_")).collect()
}

#[test]
fn every_metric_that_rules_and_dashboard_name_is_served_and_documented() {
    let launcher = Launcher::new();
    let mut running = paper(&launcher, &["--http", "127.0.0.1:0"]);
    let line = running.until("observability: http://");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let token = std::fs::read_to_string(data(&launcher).join("api/read.token")).unwrap();
    let served = get(&address, "/metrics", token.trim());
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    let types: BTreeSet<&str> =
        served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let is_served = |name: &&str| {
        types.contains(name)
            || ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end).is_some_and(|it| types.contains(it)))
    };
    for file in ["packaging/prometheus/keel.rules.yml", "packaging/grafana/keel.json", "docs/observability.md"] {
        let text = read(file);
        let missing: Vec<_> = names(&text).into_iter().filter(|name| !is_served(name)).collect();
        assert!(missing.is_empty() && names(&text).len() > 10, "{file} names what is not served: {missing:?}");
    }
    let documented = read("docs/observability.md");
    let silent: Vec<_> = types.iter().filter(|name| !names(&documented).contains(*name)).collect();
    assert!(silent.is_empty(), "docs/observability.md does not name {silent:?}");
    for route in keel_observe::ROUTES.iter().filter(|route| route.path != "/") {
        assert!(
            documented.contains(&format!("`{}`", route.path)),
            "docs/observability.md does not name {}",
            route.path
        );
    }
    end(running);
}
