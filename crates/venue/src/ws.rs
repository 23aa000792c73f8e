//! WebSocket connections: the upgrade, and the session loop that market streams and the WebSocket API share: frames out,
//! messages in, pings, lifetime, the farewell.
//!
//! A peer that does not answer pings, sends too much, or does not read what it asked for is disconnected with a reason.

use crate::http::{OpenGuard, plain};
use crate::hub::{CloseReason, Conn, Frame, GOING_AWAY, SLOW_CONSUMER};
use crate::json::{Json, TimeUnit};
use crate::venue::Venue;
use crate::ws_api::ApiSession;
use crate::ws_market::MarketSession;
use bytes::Bytes;
use futures_util::SinkExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use keel_lifecycle::{LeaseKind, TaskKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::CancellationToken;

/// Time for the farewell of a connection.
const FAREWELL: Duration = Duration::from_millis(250);
/// Frames written before they are flushed together.
const BATCH_MAX: usize = 128;
/// Requests of one connection under way at once; beyond, its next message waits.
const PENDING_MAX: usize = 256;

type Socket = WebSocketStream<TcpStream>;

/// Does the request ask for a WebSocket?
pub(crate) fn is_upgrade(request: &Request<Incoming>) -> bool {
    let value = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// What a session does with what the peer says.
pub(crate) enum Session {
    /// Market streams and listenKeys.
    Market(MarketSession),
    /// The WebSocket API.
    Api(Box<ApiSession>),
}

/// What follows a message.
pub(crate) enum Flow {
    /// Go on.
    Go,
    /// Go on, with this under way.
    Later(BoxFuture<'static, Flow>),
    /// End the connection.
    End(CloseReason),
    /// Say nothing ever again to this request.
    Silence,
}

/// Answers the upgrade and starts the session.
pub(crate) fn upgrade(venue: &Arc<Venue>, mut request: Request<Incoming>, ip: IpAddr) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_api = matches!(path.trim_end_matches('/'), "/ws-api/v3" | "/ws-api");
    let is_combined = path == "/stream" || path.starts_with("/stream/");
    let is_raw = path == "/ws" || path.starts_with("/ws/");
    if !is_api && !is_combined && !is_raw {
        return plain(404, "text/html", "<html><body><h2>404 Not Found</h2></body></html>\n");
    }
    if venue.faults.refuses_ws.load(Ordering::Relaxed) {
        return plain(503, "text/html", "<html><body><h2>503 Service Unavailable</h2></body></html>\n");
    }
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return plain(400, "text/plain", "the header sec-websocket-key is missing");
    };
    let accept = derive_accept_key(key.as_bytes());
    let now = venue.now();
    let is_admitted = venue.limiter.lock().connect(ip, now);
    let is_admitted = is_admitted && (!is_api || venue.limiter.lock().charge(ip, 2, now).is_ok());
    if !is_admitted {
        return plain(429, "text/plain", "too many connection attempts from this address");
    }
    let word = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let unit = word("timeUnit").and_then(TimeUnit::parse).unwrap_or_default();
    let (conn, frames) = Conn::new(
        venue.next_conn(),
        is_api,
        is_combined,
        unit,
        venue.limits.outbound_frames_max,
        venue.hub_counters.clone(),
    );
    let session = if is_api {
        let with_limits = word("returnRateLimits") != Some("false");
        Session::Api(Box::new(ApiSession::new(venue.clone(), conn.clone(), ip, with_limits)))
    } else {
        let names = if is_combined { word("streams").unwrap_or_default() } else { path.trim_start_matches("/ws") };
        Session::Market(MarketSession::new(venue.clone(), conn.clone(), names))
    };
    start(venue, hyper::upgrade::on(&mut request), conn, frames, session);
    switching(accept)
}

/// 101, the peer's key confirmed; see RFC 6455 section 4.2.2.
fn switching(accept: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Runs the session once the peer has switched over.
fn start(venue: &Arc<Venue>, upgraded: OnUpgrade, conn: Arc<Conn>, frames: mpsc::Receiver<Frame>, session: Session) {
    let shared = venue.clone();
    let task = format!("ws-{}", conn.id);
    venue.group.spawn_with(&task, TaskKind::Background, move |token| async move {
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(shared.limits.body_bytes_max))
            .max_frame_size(Some(shared.limits.body_bytes_max));
        let socket = WebSocketStream::from_partially_read(
            parts.io.into_inner(),
            parts.read_buf.to_vec(),
            Role::Server,
            Some(config),
        );
        let socket = socket.await;
        let _lease = shared.ledger.lease(LeaseKind::Websocket, "venue", format!("connection {}", conn.id));
        let _open = OpenGuard::new(shared.clone(), true);
        shared.core.lock().hub.add(conn.clone());
        Running { venue: &shared, conn: &conn, socket, session, token }.run(frames).await;
        shared.core.lock().hub.remove(conn.id);
    });
}

/// A connection at work.
struct Running<'a> {
    venue: &'a Arc<Venue>,
    conn: &'a Arc<Conn>,
    socket: Socket,
    session: Session,
    token: CancellationToken,
}

impl Running<'_> {
    async fn run(mut self, mut frames: mpsc::Receiver<Frame>) {
        let reason = self.work(&mut frames).await;
        let Some(reason) = reason else { return };
        if !reason.is_abrupt {
            let farewell = self.farewell(&mut frames, reason);
            drop(tokio::time::timeout(FAREWELL, farewell).await);
        }
    }

    /// Runs until somebody ends it; `None` when the peer did.
    async fn work(&mut self, frames: &mut mpsc::Receiver<Frame>) -> Option<CloseReason> {
        if let Session::Market(session) = &mut self.session {
            session.open();
        }
        let limits = &self.venue.limits;
        let mut ping = tokio::time::interval_at(Instant::now() + limits.ping_interval, limits.ping_interval);
        let lifetime = tokio::time::sleep(limits.connection_lifetime);
        tokio::pin!(lifetime);
        let mut pending: FuturesUnordered<BoxFuture<'static, Flow>> = FuturesUnordered::new();
        let mut unanswered: Option<Instant> = None;
        let mut inbound = Inbound::new(limits.ws_messages_per_second, self.conn.is_api);
        loop {
            let flow = tokio::select! {
                () = self.token.cancelled() => return Some(GOING_AWAY),
                () = self.conn.ended.cancelled() => return Some(self.conn.reason()),
                () = &mut lifetime => {
                    return Some(CloseReason { code: 1001, text: "the connection's lifetime is over", is_abrupt: false });
                }
                frame = frames.recv() => {
                    let first = frame?;
                    let write = write_batch(&mut self.socket, first, frames);
                    let written = tokio::select! {
                        written = write => written,
                        () = self.conn.ended.cancelled() => return Some(self.conn.reason()),
                        () = self.token.cancelled() => return Some(GOING_AWAY),
                    };
                    if written.is_err() {
                        return None;
                    }
                    Flow::Go
                }
                Some(flow) = pending.next(), if !pending.is_empty() => flow,
                message = self.socket.next(), if pending.len() < PENDING_MAX => {
                    match self.on_message(message?, &mut inbound, &mut unanswered) {
                        Ok(flow) => flow,
                        Err(reason) => return reason,
                    }
                }
                _ = ping.tick() => {
                    let now = Instant::now();
                    if unanswered.is_some_and(|since| now.duration_since(since) >= limits.pong_timeout) {
                        return Some(CloseReason { code: 1008, text: "no pong in time", is_abrupt: false });
                    }
                    unanswered.get_or_insert(now);
                    let payload = self.venue.now().as_ms().to_string();
                    if self.socket.send(Message::Ping(payload.into())).await.is_err() {
                        return None;
                    }
                    Flow::Go
                }
            };
            match flow {
                Flow::Go | Flow::Silence => {}
                Flow::Later(later) => pending.push(later),
                Flow::End(reason) => return Some(reason),
            }
        }
    }

    /// The inner error is the reason to end; `None` when the peer is gone.
    fn on_message(
        &mut self,
        message: Result<Message, WsError>,
        inbound: &mut Inbound,
        unanswered: &mut Option<Instant>,
    ) -> Result<Flow, Option<CloseReason>> {
        let close = |code, text| Some(CloseReason { code, text, is_abrupt: false });
        let message = match message {
            Ok(message) => message,
            Err(WsError::Capacity(_)) => return Err(close(1009, "message too large")),
            Err(WsError::Utf8(_)) => return Err(close(1007, "text is not UTF-8")),
            Err(WsError::Protocol(_)) => return Err(close(1002, "protocol error")),
            Err(_) => return Err(None),
        };
        if !inbound.admit() {
            return Err(close(1008, "too many messages"));
        }
        match message {
            Message::Text(text) => Ok(match &mut self.session {
                Session::Market(session) => session.on_text(&text),
                Session::Api(session) => session.on_text(&text),
            }),
            Message::Pong(_) => {
                *unanswered = None;
                Ok(Flow::Go)
            }
            Message::Binary(_) => Err(close(1003, "binary frames are not supported")),
            Message::Close(_) => Err(None),
            Message::Ping(_) | Message::Frame(_) => Ok(Flow::Go),
        }
    }

    /// Tells the peer that the venue stops, and closes.
    async fn farewell(&mut self, frames: &mut mpsc::Receiver<Frame>, reason: CloseReason) {
        if reason != SLOW_CONSUMER {
            while let Ok(frame) = frames.try_recv() {
                if write_frame(&mut self.socket, frame).await.is_err() {
                    return;
                }
            }
        }
        if reason == GOING_AWAY {
            let text = shutdown_notice(self.conn, self.venue);
            if self.socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::from(reason.code), reason: reason.text.into() };
        if self.socket.close(Some(frame)).await.is_ok() {
            // The peer's own close, if it comes in time.
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }
}

/// `serverShutdown` in the form that the connection wants.
pub(crate) fn shutdown_notice(conn: &Conn, venue: &Venue) -> String {
    let now = venue.now();
    let event = Json::object(conn.unit, |j| {
        j.str("e", "serverShutdown");
        j.time("E", now);
    });
    if conn.is_api {
        return Json::object(conn.unit, |j| j.raw("event", &event));
    }
    if conn.is_combined.load(Ordering::Relaxed) {
        return Json::object(conn.unit, |j| {
            j.str("stream", "!serverShutdown");
            j.raw("data", &event);
        });
    }
    event
}

async fn write_batch(socket: &mut Socket, first: Frame, frames: &mut mpsc::Receiver<Frame>) -> Result<(), WsError> {
    write_frame(socket, first).await?;
    for _ in 1..BATCH_MAX {
        let Ok(frame) = frames.try_recv() else { break };
        write_frame(socket, frame).await?;
    }
    socket.flush().await
}

async fn write_frame(socket: &mut Socket, frame: Frame) -> Result<(), WsError> {
    match frame {
        Frame::Text(text) => socket.feed(Message::Text(text)).await,
        Frame::Binary(bytes) => socket.feed(Message::Binary(bytes)).await,
        Frame::Garbage(bytes) => {
            socket.flush().await?;
            socket.get_mut().write_all(&bytes).await?;
            Ok(())
        }
    }
}

/// How many messages a peer may send: so many a second, with a burst of twice that.
#[derive(Debug)]
struct Inbound {
    per_second: f64,
    left: f64,
    last: Instant,
}

impl Inbound {
    /// The WebSocket API is limited by weight instead.
    fn new(per_second: u32, is_api: bool) -> Self {
        let per_second = if is_api { 0.0 } else { f64::from(per_second) };
        Self { per_second, left: per_second * 2.0, last: Instant::now() }
    }

    fn admit(&mut self) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        let now = Instant::now();
        let gained = now.duration_since(self.last).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.per_second * 2.0) - 1.0;
        self.last = now;
        self.left >= 0.0
    }
}
