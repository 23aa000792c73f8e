//! The WebSocket links of one session: connects, frames, closes, all driven by the task that owns them.
//!
//! Invariants: a link lives only in here, so dropping this drops every socket; frames are bounded; sending never waits for
//! longer than [`SEND_WAIT`], since a peer that does not read is of no use. There is no task besides the owner's.

use super::config::Endpoint;
use super::session::LinkId;
use super::transport::{Connector, Socket};
use crate::ExchangeError;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, Stream, StreamExt};
use keel_lifecycle::LeaseKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

/// The largest message that is taken; a larger one ends the connection (N-15).
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Longest wait for a frame to leave.
const SEND_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for the peer to answer our close frame.
const CLOSE_WAIT: Duration = Duration::from_millis(250);

type Ws = WebSocketStream<Socket>;

/// What happened on a link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Connected(LinkId),
    Text(LinkId, Utf8Bytes),
    Binary(LinkId, Bytes),
    /// A ping or pong.
    Heard(LinkId),
    Closed(LinkId, String),
}

/// The links of one session: rarely more than two.
pub(crate) struct Links {
    connector: Arc<Connector>,
    endpoint: Endpoint,
    path: &'static str,
    name: &'static str,
    timeout: Duration,
    open: Vec<(LinkId, Ws)>,
    connecting: FuturesUnordered<BoxFuture<'static, (LinkId, Result<Ws, ExchangeError>)>>,
    /// Links that were given up while connecting.
    abandoned: Vec<LinkId>,
    closing: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("name", &self.name).field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl Links {
    pub(crate) fn new(
        connector: Arc<Connector>,
        endpoint: Endpoint,
        path: &'static str,
        name: &'static str,
        timeout_ms: u64,
    ) -> Self {
        Self {
            connector,
            endpoint,
            path,
            name,
            timeout: Duration::from_millis(timeout_ms),
            open: Vec::new(),
            connecting: FuturesUnordered::new(),
            abandoned: Vec::new(),
            closing: FuturesUnordered::new(),
        }
    }

    pub(crate) fn connect(&mut self, id: LinkId) {
        let (connector, endpoint) = (self.connector.clone(), self.endpoint.clone());
        let (path, name, timeout) = (self.path, self.name, self.timeout);
        let connect = async move {
            let opened = tokio::time::timeout(timeout * 2, open(&connector, &endpoint, path, name)).await;
            let late = || ExchangeError::Connect {
                venue: super::VENUE.into(),
                address: endpoint.authority(),
                cause: format!("no WebSocket within {} ms", timeout.as_millis() * 2),
            };
            (id, opened.unwrap_or_else(|_| Err(late())))
        };
        self.connecting.push(connect.boxed());
    }

    /// The next event; never ends while a link is open or on its way. Cancel-safe.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<LinkEvent> {
        while let Poll::Ready(Some(())) = self.closing.poll_next_unpin(cx) {}
        let mut ended = None;
        for (at, (id, ws)) in self.open.iter_mut().enumerate() {
            let event = match Pin::new(ws).poll_next(cx) {
                Poll::Pending => continue,
                Poll::Ready(Some(Ok(Message::Text(text)))) => LinkEvent::Text(*id, text),
                Poll::Ready(Some(Ok(Message::Binary(data)))) => LinkEvent::Binary(*id, data),
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => LinkEvent::Heard(*id),
                Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                    let cause = frame.map_or_else(
                        || "closed by the venue".to_owned(),
                        |frame| format!("closed by the venue: {} {}", u16::from(frame.code), frame.reason),
                    );
                    ended = Some((at, cause));
                    break;
                }
                Poll::Ready(Some(Err(error))) => {
                    ended = Some((at, error.to_string()));
                    break;
                }
                Poll::Ready(None) => {
                    ended = Some((at, "the connection ended".to_owned()));
                    break;
                }
            };
            return Poll::Ready(event);
        }
        if let Some((at, cause)) = ended {
            let (id, ws) = self.open.swap_remove(at);
            self.finish(ws);
            return Poll::Ready(LinkEvent::Closed(id, cause));
        }
        loop {
            let Poll::Ready(Some((id, result))) = self.connecting.poll_next_unpin(cx) else { return Poll::Pending };
            if let Some(at) = self.abandoned.iter().position(|abandoned| *abandoned == id) {
                self.abandoned.swap_remove(at);
                if let Ok(ws) = result {
                    self.finish(ws);
                }
                continue;
            }
            return Poll::Ready(match result {
                Ok(ws) => {
                    self.open.push((id, ws));
                    LinkEvent::Connected(id)
                }
                Err(error) => LinkEvent::Closed(id, error.to_string()),
            });
        }
    }

    /// Sends a text frame; an error ends the link.
    pub(crate) async fn send(&mut self, id: LinkId, text: String) -> Result<(), String> {
        self.send_message(id, Message::text(text)).await
    }

    /// Sends a ping frame; an error ends the link.
    pub(crate) async fn ping(&mut self, id: LinkId) -> Result<(), String> {
        self.send_message(id, Message::Ping(Bytes::new())).await
    }

    async fn send_message(&mut self, id: LinkId, message: Message) -> Result<(), String> {
        let Some(at) = self.open.iter().position(|(known, _)| *known == id) else { return Ok(()) };
        let Some((_, ws)) = self.open.get_mut(at) else { return Ok(()) };
        let result = match tokio::time::timeout(SEND_WAIT, ws.send(message)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the venue does not read".to_owned(),
        };
        drop(self.open.swap_remove(at));
        Err(result)
    }

    /// Closes a link with a close frame, without waiting.
    pub(crate) fn close(&mut self, id: LinkId) {
        match self.open.iter().position(|(known, _)| *known == id) {
            Some(at) => {
                let (_, ws) = self.open.swap_remove(at);
                self.finish(ws);
            }
            None => self.abandoned.push(id),
        }
    }

    /// Sends a close frame and reads until the peer's, within [`CLOSE_WAIT`].
    fn finish(&self, mut ws: Ws) {
        let bye = async move {
            let polite = async {
                if ws.close(None).await.is_ok() {
                    while let Some(Ok(_)) = ws.next().await {}
                }
            };
            // Late or not, the socket is dropped here.
            drop(tokio::time::timeout(CLOSE_WAIT, polite).await);
        };
        self.closing.push(bye.boxed());
    }

    /// Closes everything; ends within [`CLOSE_WAIT`].
    pub(crate) async fn close_all(&mut self) {
        self.connecting.clear();
        while let Some((_, ws)) = self.open.pop() {
            self.finish(ws);
        }
        while self.closing.next().await.is_some() {}
    }
}

async fn open(connector: &Connector, endpoint: &Endpoint, path: &str, name: &'static str) -> Result<Ws, ExchangeError> {
    let failed =
        |cause: String| ExchangeError::Connect { venue: super::VENUE.into(), address: endpoint.authority(), cause };
    let socket = connector.connect(endpoint, LeaseKind::Websocket, name).await?;
    let scheme = if endpoint.is_tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}{}{path}", endpoint.authority(), endpoint.path);
    let request = url.into_client_request().map_err(|error| failed(error.to_string()))?;
    let config = WebSocketConfig::default()
        // The library zeroes as much before each read: no more than most frames need.
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let opened = tokio_tungstenite::client_async_with_config(request, socket, Some(config)).await;
    opened.map(|(ws, _)| ws).map_err(|error| failed(error.to_string()))
}
