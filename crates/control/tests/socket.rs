//! The socket with both ends in one process: private, bounded, and never blocked by a bad peer.

use keel_control::{
    Answer, Answering, Ask, Client, ControlError, ControlServer, Operator, Outcome, Peer, Request, ServerLimits,
    socket_path,
};
use keel_lifecycle::ResourceLedger;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

/// Answers at once, but lets a flatten wait for ever.
struct Echo;

impl Operator for Echo {
    fn ask(&self, request: Request, peer: Peer) -> Answering {
        Box::pin(async move {
            if matches!(request.ask, Ask::Flatten { .. }) {
                std::future::pending::<()>().await;
            }
            let asked = format!("{:?}", request.ask);
            Answer::new(Outcome::Confirmed, asked).with_confirmed(peer.to_string())
        })
    }
}

/// A server on a thread of its own.
struct Rig {
    folder: PathBuf,
    ledger: ResourceLedger,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rig {
    fn start(folder: &Path, limits: ServerLimits) -> Self {
        let ledger = ResourceLedger::default();
        let server = ControlServer::bind(folder, &ledger, limits).unwrap();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::Builder::new()
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(server.run(Arc::new(Echo), token)).unwrap();
            })
            .unwrap();
        Self { folder: folder.to_path_buf(), ledger, stop, thread: Some(thread) }
    }

    fn ask(&self, ask: Ask) -> Result<Answer, ControlError> {
        Client::connect(&self.folder)?.ask(&Request::new(ask, Duration::from_millis(100))).map(|reply| reply.answer)
    }

    fn end(mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
        assert!(!socket_path(&self.folder).exists() && self.ledger.total() == 0);
    }
}

fn quick() -> ServerLimits {
    ServerLimits {
        connections_max: 4,
        request_timeout: Duration::from_millis(300),
        answer_timeout: Duration::from_millis(300),
    }
}

#[test]
fn rc_22_a_request_is_answered_by_the_bot_s_own_process_over_a_private_socket() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), ServerLimits::default());
    let mode = std::fs::metadata(socket_path(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = Client::connect(dir.path()).unwrap();
    assert_eq!(client.pid(), i32::try_from(std::process::id()).unwrap());
    let reply = client.ask(&Request::new(Ask::Pause {}, SOON)).unwrap();
    assert_eq!((reply.answer.outcome, reply.answer.asked.as_str()), (Outcome::Confirmed, "Pause"));
    rig.end();
    assert!(matches!(Client::connect(dir.path()), Err(ControlError::NoBot { .. })));
}

#[test]
fn silent_peers_lose_their_place_and_the_others_are_told_that_it_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), quick());
    let silent: Vec<UnixStream> = (0..4).map(|_| UnixStream::connect(socket_path(dir.path())).unwrap()).collect();
    let busy = rig.ask(Ask::Pause {}).unwrap();
    assert_eq!(busy.outcome, Outcome::Refused);
    assert!(busy.open[0].contains("busy"), "{busy:?}");
    let mut text = String::new();
    for mut stream in silent {
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.read_to_string(&mut text).unwrap();
    }
    assert_eq!(text.matches("no request came in time").count(), 4, "{text}");
    assert_eq!(rig.ask(Ask::Pause {}).unwrap().outcome, Outcome::Confirmed);
    rig.end();
}

#[test]
fn a_peer_that_goes_away_gives_its_place_back_although_nothing_was_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), quick());
    let line = serde_json::to_string(&Request::new(Ask::Flatten { instrument: None }, SOON)).unwrap() + "\n";
    for _ in 0..4 {
        let mut stream = UnixStream::connect(socket_path(dir.path())).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
    }
    // Their ends are seen in their own time.
    let deadline = keel_lifecycle::Clock::system().deadline(SOON);
    while rig.ask(Ask::Pause {}).unwrap().outcome != Outcome::Confirmed {
        assert!(!deadline.is_past(), "the places were not given back");
    }
    rig.end();
}

#[test]
fn a_line_without_an_end_or_beyond_its_bound_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path(), quick());
    for (bytes, says) in [(vec![b'x'; 70_000], "longer than"), (b"{\"protocol\":1}\n".to_vec(), "not understood")] {
        let mut stream = UnixStream::connect(socket_path(dir.path())).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        drop(stream.write_all(&bytes));
        let mut text = String::new();
        drop(stream.read_to_string(&mut text));
        assert!(text.contains(says), "{text}");
    }
    rig.end();
}

#[test]
fn a_leftover_is_replaced_what_is_no_socket_stays_and_a_newer_socket_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(socket_path(dir.path())).unwrap());
    let old = Rig::start(dir.path(), quick());
    // The next holder of the folder replaces the socket while the old one is still ending.
    std::fs::remove_file(socket_path(dir.path())).unwrap();
    let newer = UnixListener::bind(socket_path(dir.path())).unwrap();
    old.stop.cancel();
    let Rig { thread, .. } = old;
    thread.unwrap().join().unwrap();
    assert!(socket_path(dir.path()).exists(), "the newer socket's file was removed");
    drop(newer);
    std::fs::remove_file(socket_path(dir.path())).unwrap();
    std::fs::write(socket_path(dir.path()), "mine").unwrap();
    let error = ControlServer::bind(dir.path(), &ResourceLedger::default(), quick()).unwrap_err();
    assert!(matches!(error, ControlError::InTheWay { .. }), "{error}");
}

#[test]
fn a_folder_deeper_than_an_address_can_say_is_reached_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    let rig = Rig::start(&deep, ServerLimits::default());
    assert_eq!(rig.ask(Ask::Resume {}).unwrap().outcome, Outcome::Confirmed);
    rig.end();
}

#[test]
fn a_bot_that_stays_silent_or_hangs_up_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(dir.path())).unwrap();
    let client = Client::connect(dir.path()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    drop(stream);
    assert!(matches!(client.ask(&Request::new(Ask::Pause {}, SOON)), Err(ControlError::Closed { .. })));
    let client = Client::connect(dir.path()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"what?\n").unwrap();
    assert!(matches!(client.ask(&Request::new(Ask::Pause {}, SOON)), Err(ControlError::Answer { .. })));
}
