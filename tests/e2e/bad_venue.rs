//! A venue that hangs, resets, talks nonsense or goes away: each is told with place and cause, and ends in order.

use crate::harness::{Launcher, Running};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

const ACCOUNT: &str = "demo-key:demo-secret";

/// A server that answers each connection with `answer`; it ends with the test process.
fn server(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    crate::harness::in_background(move || listener.incoming().map_while(Result::ok).for_each(&answer));
    url
}

/// A run against it, with a short patience.
fn run_against(launcher: &Launcher, url: &str) -> Command {
    let mut command = launcher.command(&["--paper", "--venue", url, "--account", ACCOUNT]);
    command.env("KEEL__VENUE__REQUEST_TIMEOUT_MS", "700");
    command
}

/// Reads the head of a request, so that closing the connection is no reset of ours.
fn read_head(stream: &mut TcpStream) {
    let mut bytes = [0u8; 4096];
    drop(stream.read(&mut bytes));
}

#[test]
fn a_venue_that_makes_no_sense_is_named_and_ends_with_1() {
    let held = std::sync::Mutex::new(Vec::new());
    let hang = move |stream| held.lock().unwrap().push(stream);
    let answer = |text: &'static str| {
        move |mut stream: TcpStream| {
            read_head(&mut stream);
            drop(stream.write_all(text.as_bytes()));
        }
    };
    let not_utf8 = |mut stream: TcpStream| {
        read_head(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc"));
    };
    let cases: [(&str, String, &str); 6] = [
        ("hangs", server(hang), "did not answer"),
        ("closes", server(drop), "connection"),
        ("is no HTTP server", server(answer("SSH-2.0-OpenSSH_9.2\r\n")), "binance spot"),
        ("answers nonsense", server(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")), "unreadable"),
        ("answers bytes that are no text", server(not_utf8), "unreadable"),
        ("is down", server(answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")), "503"),
    ];
    let launcher = Launcher::new();
    for (what, url, wanted) in cases {
        let ended = Running::start(run_against(&launcher, &url)).wait().expect_code(1);
        assert!(ended.stderr.contains(wanted), "a venue that {what} gave\n{}\nnot {wanted}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        assert_eq!(ended.line("leaks:"), "none", "{what}");
    }
}

#[test]
fn v_16_a_start_inside_a_ban_makes_no_call_and_says_until_when() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    let url = server(move |mut stream| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        read_head(&mut stream);
        let body = r#"{"code":-1003,"msg":"Way too much request weight used; IP banned until 1"}"#;
        let head = format!("HTTP/1.1 418 I'm a teapot\r\nRetry-After: 3600\r\nContent-Length: {}\r\n\r\n", body.len());
        drop(stream.write_all(format!("{head}{body}").as_bytes()));
    });
    let launcher = Launcher::new();
    Running::start(run_against(&launcher, &url)).wait().expect_code(1);
    let calls = count.load(std::sync::atomic::Ordering::SeqCst);
    assert!(calls >= 1);
    for _ in 0..3 {
        let ended = Running::start(run_against(&launcher, &url)).wait().expect_code(1);
        assert!(ended.stderr.contains("has banned this address until 20"), "{}", ended.stderr);
        assert!(ended.stderr.contains("starting again does not help"), "{}", ended.stderr);
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), calls, "not one more connection");
}

#[test]
fn a_signal_while_the_venue_hangs_stops_at_once() {
    let held = std::sync::Mutex::new(Vec::new());
    let url = server(move |stream| held.lock().unwrap().push(stream));
    let launcher = Launcher::new();
    let mut command = launcher.command(&["--paper", "--venue", &url, "--account", ACCOUNT]);
    command.env("KEEL__VENUE__REQUEST_TIMEOUT_MS", "60000");
    let running = Running::start(command);
    std::thread::sleep(std::time::Duration::from_millis(400));
    running.signal(Signal::INT);
    let ended = running.wait().expect_code(130).expect_stderr("CLEANUP COMPLETED SUCCESSFULLY");
    assert_eq!(ended.line("state digest:"), "none, trading never began");
}

#[test]
fn a_venue_that_goes_away_and_comes_back_is_survived() {
    let launcher = Launcher::new();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port().to_string()
    };
    let serve = || {
        let mut venue = launcher.start(&["venue", "--port", &port, "--account", ACCOUNT]);
        venue.until("listening on ");
        venue
    };
    let first = serve();
    let url = format!("http://127.0.0.1:{port}");
    let mut running = launcher.start(&["--paper", "--venue", &url, "--account", ACCOUNT, "--debug"]);
    running.until("trading: ready");
    first.signal(Signal::TERM);
    first.wait().expect_code(0);
    running.until("the account stream");
    let second = serve();
    running.until("the account stream is live");
    running.signal(Signal::INT);
    let ended = running.wait();
    // What the first venue knew is gone with it, so orders of unknown state may remain; nothing is made up about them.
    assert!(matches!(ended.code, Some(130 | 1)), "{:?}\n{}", ended.code, ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    second.signal(Signal::TERM);
    second.wait().expect_code(0);
}

#[test]
fn logs_are_json_on_request_and_always_in_the_file() {
    let launcher = Launcher::new();
    let ended = launcher.run(&["--log-format", "json", "--duration", "1"]).expect_code(0);
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let logged: Vec<&str> = ended.stderr.lines().collect();
    assert!(logged.len() > 5 && logged.iter().all(|line| is_json(line)), "{}", ended.stderr);
    let file = std::fs::read_dir(launcher.folder().join("keel-data/logs")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("trading has begun") && text.lines().all(is_json), "{text}");
    assert!(!ended.stderr.contains('\u{1b}') && !ended.stdout.contains('\u{1b}'), "colours without a terminal");
}
