//! The server over real sockets: the table of routes walked with every kind of token, and what strangers try.

use keel_control::{Answer, Answering, Ask, Operator, Outcome, Peer, Request};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_observe::{
    Access, Endpoint, Event, Exposition, Health, Method, MetricKind, Needs, ObserveError, ObserveServer, Query, ROUTES,
    Role, ServerLimits, Sight, Topic,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

const PAGE: &str = "<!doctype html><style>p{}</style><script>let x = 1;</script>";
const SOON: Duration = Duration::from_secs(20);

struct Scene {
    is_stopping: std::sync::atomic::AtomicBool,
    asked: Mutex<Vec<Ask>>,
    events: broadcast::Sender<Event>,
    seen: AtomicUsize,
}

impl Sight for Scene {
    fn health(&self) -> Health {
        let is_stopping = self.is_stopping.load(Ordering::Relaxed);
        let why = if is_stopping { vec!["it stops".to_owned()] } else { Vec::new() };
        Health { is_live: true, is_ready: !is_stopping, is_started: true, why }
    }

    fn see(&self, topic: Topic, query: Query) -> Option<Value> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        (topic != Topic::Journal).then(|| json!({ "topic": format!("{topic:?}"), "limit": query.limit }))
    }

    fn measure(&self, out: &mut Exposition) {
        out.family("keel_up", MetricKind::Gauge, "1 while it runs.").sample(&[], 1.0);
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

struct Hands(Arc<Scene>);

impl Operator for Hands {
    fn ask(&self, request: Request, peer: Peer) -> Answering {
        assert!(matches!(peer, Peer::Web { .. }));
        self.0.asked.lock().unwrap().push(request.ask.clone());
        let outcome = match request.ask {
            Ask::Stop { .. } => Outcome::Open,
            Ask::Release { .. } => Outcome::Refused,
            _ => Outcome::Confirmed,
        };
        Box::pin(async move { Answer::new(outcome, "asked") })
    }
}

struct Running {
    address: SocketAddr,
    scene: Arc<Scene>,
    tokens: [String; 2],
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(limits: ServerLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (access, fresh) = Access::open(folder.path(), Clock::system()).unwrap();
        let token = |role: Role| {
            let path = &fresh.iter().find(|it| it.role == role).unwrap().path;
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        };
        let scene = Arc::new(Scene {
            is_stopping: false.into(),
            asked: Mutex::default(),
            events: broadcast::Sender::new(16),
            seen: AtomicUsize::new(0),
        });
        let server = ObserveServer::bind("127.0.0.1:0".parse().unwrap(), &ResourceLedger::default(), limits).unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let (sight, until) = (scene.clone(), stop.clone());
        #[allow(clippy::disallowed_methods, reason = "the test's own thread")]
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let hands = Arc::new(Hands(sight.clone()));
            runtime.block_on(server.run(sight, hands, access, PAGE, until)).unwrap();
        });
        let tokens = Role::ALL.map(token);
        Self { address, scene, tokens, stop, thread: Some(thread), _folder: folder }
    }

    fn token(&self, role: Role) -> &str {
        &self.tokens[Role::ALL.iter().position(|it| *it == role).unwrap()]
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// One request; status and the whole answer.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = self.connect();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        // The server may close early on what is too much.
        drop(stream.write_all(format!("{text}\r\n{body}").as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    fn with(&self, role: Role, method: &str, path: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {}", self.token(role));
        self.ask(method, path, &[("Authorization", &bearer), ("Content-Type", "application/json")], body)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn x_08_every_route_with_every_kind_of_token() {
    let running = Running::start(ServerLimits::default());
    let wrong = "Bearer 0000";
    for route in ROUTES.iter().filter(|route| route.endpoint != Endpoint::Events) {
        let method = if route.method == Method::Get { "GET" } else { "POST" };
        let body = match route.endpoint {
            Endpoint::Act("cancel") => "{\"order\":\"k1-1-1\"}",
            Endpoint::Act("release") => "{\"instrument\":\"BTCUSDT\"}",
            Endpoint::Act("rearm") => "{\"reason\":\"looked\"}",
            Endpoint::Act(_) => "{}",
            _ => "",
        };
        let done = match route.endpoint {
            Endpoint::Act("stop") => 202,
            Endpoint::Act("release") => 409,
            Endpoint::See(Topic::Journal) => 503,
            _ => 200,
        };
        let before = running.scene.asked.lock().unwrap().len();
        let none = running.ask(method, route.path, &[("Content-Type", "application/json")], body).0;
        let bad =
            running.ask(method, route.path, &[("Authorization", wrong), ("Content-Type", "application/json")], body).0;
        let read = running.with(Role::Read, method, route.path, body).0;
        let expected = match route.needs {
            Needs::Nothing => (done, done, done),
            Needs::Token(Role::Read) => (401, 401, done),
            Needs::Token(Role::Operate) => (401, 401, 403),
        };
        let bad = if bad == 429 { 401 } else { bad };
        assert_eq!((none, bad, read), expected, "{method} {}", route.path);
        assert_eq!(running.scene.asked.lock().unwrap().len(), before, "nothing was done: {}", route.path);
        assert_eq!(running.with(Role::Operate, method, route.path, body).0, done, "{method} {}", route.path);
        let other = if method == "GET" { "POST" } else { "GET" };
        assert_eq!(running.with(Role::Operate, other, route.path, body).0, 405, "{other} {}", route.path);
    }
    assert_eq!(running.with(Role::Operate, "GET", "/api/../etc/passwd", "").0, 404);
    assert_eq!(running.with(Role::Operate, "DELETE", "/api/orders", "").0, 405);
}

#[test]
fn x_05_ten_thousand_wrong_tokens_open_nothing_and_lock_nobody_out() {
    let running = Running::start(ServerLimits::default());
    let mut stream = running.connect();
    let mut answers = Vec::new();
    for number in 0..10_000 {
        let request = format!(
            "POST /api/stop HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {number:064x}\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\n\r\n{{}}",
            running.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).unwrap();
        answers.push(String::from_utf8_lossy(&buffer[9..12.min(length)]).into_owned());
    }
    assert_eq!(answers.iter().filter(|status| *status == "401").count(), 10);
    assert_eq!(answers.iter().filter(|status| *status == "429").count(), 9_990);
    assert!(running.scene.asked.lock().unwrap().is_empty());
    assert_eq!(running.with(Role::Read, "GET", "/api/status", "").0, 200, "the owner is not locked out");
}

#[test]
fn x_06_rebound_names_other_sites_and_forms_are_refused_and_answers_are_hardened() {
    let running = Running::start(ServerLimits::default());
    let bearer = format!("Bearer {}", running.token(Role::Operate));
    let port = running.address.port();
    let ask = |extra: &[(&str, &str)]| {
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend_from_slice(extra);
        running.ask("POST", "/api/pause", &headers, "{}").0
    };
    let json_type = ("Content-Type", "application/json");
    let evil = format!("evil.example:{port}");
    assert_eq!(ask(&[json_type, ("Host", &evil)]), 421);
    assert_eq!(ask(&[json_type, ("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[json_type, ("Origin", "null")]), 403);
    assert_eq!(ask(&[json_type, ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(ask(&[("Content-Type", "application/x-www-form-urlencoded")]), 415);
    assert_eq!(ask(&[("Content-Type", "text/plain")]), 415);
    assert!(running.scene.asked.lock().unwrap().is_empty());
    let own = format!("http://localhost:{port}");
    let host = format!("localhost:{port}");
    assert_eq!(ask(&[json_type, ("Host", &host), ("Origin", &own), ("Sec-Fetch-Site", "same-origin")]), 200);
    let (status, page) = running.ask("GET", "/", &[], "");
    assert_eq!(status, 200);
    let head = page.to_ascii_lowercase();
    for part in [
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cache-control: no-store",
        "default-src 'none'",
        "script-src 'sha256-",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(!head.contains("set-cookie") && !head.contains("access-control-allow-origin"));
}

#[test]
fn x_07_bodies_headers_slow_peers_and_crowds_are_bounded() {
    let limits =
        ServerLimits { header_timeout: Duration::from_millis(300), connections_max: 8, ..ServerLimits::default() };
    let running = Running::start(limits);
    assert_eq!(running.with(Role::Operate, "POST", "/api/pause", &" ".repeat(70_000)).0, 413);
    let long = "x".repeat(20_000);
    let (status, _) = running.ask("GET", "/api/status", &[("X-Long", &long)], "");
    assert!(status == 431 || status == 0, "refused or closed: {status}");
    // A peer that dribbles its headers is closed.
    let mut slow = running.connect();
    slow.write_all(b"GET /api/status HTTP/1.1\r\nHost: ").unwrap();
    let mut rest = Vec::new();
    let _closed = slow.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
    // A crowd that says nothing keeps nobody out for long.
    let crowd: Vec<TcpStream> = (0..40).map(|_| running.connect()).collect();
    let mut met = 0;
    for _ in 0..50 {
        met = running.ask("GET", "/health/live", &[], "").0;
        if met == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(met, 200);
    drop(crowd);
    assert_eq!(running.with(Role::Read, "GET", "/api/status?limit=7", "").0, 200);
    for bad in ["limit=0", "limit=9999999", "limit=x", "order=1"] {
        assert_eq!(running.with(Role::Read, "GET", &format!("/api/status?{bad}"), "").0, 400, "{bad}");
    }
}

#[test]
fn live_events_arrive_and_end_with_the_server() {
    let running = Running::start(ServerLimits { listeners_max: 1, ..ServerLimits::default() });
    let request = format!(
        "GET /api/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        running.address,
        running.token(Role::Read)
    );
    let mut stream = running.connect();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    let mut read_until = |stream: &mut TcpStream, wanted: &str| {
        let mut buffer = [0; 1024];
        while !text.contains(wanted) {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "closed before {wanted}: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    read_until(&mut stream, "text/event-stream");
    assert_eq!(running.with(Role::Read, "GET", "/api/events", "").0, 429, "one listener at a time here");
    running.scene.events.send(Event { kind: "fill", data: "{\"price\":\"1\"}".into() }).unwrap();
    read_until(&mut stream, "event: fill\ndata: {\"price\":\"1\"}");
    running.stop.cancel();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn health_is_503_while_it_stops_and_metrics_and_the_document_are_whole() {
    let running = Running::start(ServerLimits::default());
    let health = |path: &str| running.ask("GET", path, &[], "").0;
    assert_eq!((health("/health/live"), health("/health/ready"), health("/health/startup")), (200, 200, 200));
    running.scene.is_stopping.store(true, Ordering::Relaxed);
    assert_eq!((health("/health/live"), health("/health/ready")), (200, 503));
    let metrics = running.with(Role::Read, "GET", "/metrics", "").1;
    assert!(metrics.contains("# TYPE keel_up gauge\nkeel_up 1\n"), "{metrics}");
    let document = keel_observe::document();
    for route in ROUTES {
        let method = if route.method == Method::Get { "get" } else { "post" };
        assert!(document["paths"][route.path][method]["responses"]["200"].is_object(), "{}", route.path);
    }
}

#[test]
fn x_04_other_addresses_than_loopback_are_refused() {
    let address = "0.0.0.0:0".parse().unwrap();
    let error = ObserveServer::bind(address, &ResourceLedger::default(), ServerLimits::default()).unwrap_err();
    assert!(matches!(error, ObserveError::NotLoopback(_)) && error.to_string().contains("SSH tunnel"));
}
