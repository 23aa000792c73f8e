//! REST over a few kept-alive HTTP/1.1 connections of our own.
//!
//! No layer below may send a placement twice: there is no retry, no redirect, no proxy and no connection task; the
//! connection is driven by the call that uses it. Invariants: a call ends within its deadline; a request is made (signed,
//! and reported as sent) only once a connection stands, so "not connected" proves that no byte left (N-02, N-16, N-17);
//! after `close` no socket is left. Overload: calls beyond the connections wait within their deadline; cancels and queries
//! have connections of their own.

use super::config::Endpoint;
use super::limits::{Lane, LimitHeaders};
use super::transport::{Connector, Socket};
use crate::ExchangeError;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use keel_lifecycle::{Clock, LeaseKind};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The largest answer that is read; `exchangeInfo` of the whole venue is about 20 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// An idle connection older than this is not used again: the other side may be about to close it.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Connections for cancels and queries alone.
const URGENT_CONNECTIONS: usize = 2;
/// How long `close` waits for calls under way to notice.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

type Sender = http1::SendRequest<Full<Bytes>>;
type Driver = Pin<Box<http1::Connection<TokioIo<Socket>, Full<Bytes>>>>;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) limits: LimitHeaders,
    pub(crate) body: Bytes,
}

/// Why nothing came back, and whether anything may have left.
#[derive(Debug)]
pub(crate) enum CallError {
    /// No byte left.
    NotConnected(ExchangeError),
    /// No byte left: the request could not be made.
    NotMade,
    /// No byte left: closed.
    Closed,
    /// Bytes may have left; no answer in time.
    Timeout,
    /// Bytes may have left; the connection ended or the answer was no HTTP.
    Lost(String),
}

/// A request in the making. Paths are constants; everything that varies is in query or body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Query string (`GET`, `DELETE`) or form body (`POST`).
    pub(crate) params: Vec<u8>,
    pub(crate) api_key: Option<String>,
}

/// The connections to one REST endpoint.
#[derive(Debug)]
pub(crate) struct RestPool {
    connector: Arc<Connector>,
    endpoint: Endpoint,
    clock: Clock,
    timeout: Duration,
    idle: Mutex<Vec<Pooled>>,
    ordinary: Semaphore,
    ordinary_count: u32,
    urgent: Semaphore,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Pooled {
    sender: Sender,
    driver: Driver,
    idle_since_mono_ns: u64,
}

impl RestPool {
    pub(crate) fn new(
        connector: Arc<Connector>,
        endpoint: Endpoint,
        clock: Clock,
        timeout_ms: u64,
        connections_max: usize,
    ) -> Self {
        Self {
            connector,
            endpoint,
            clock,
            timeout: Duration::from_millis(timeout_ms),
            idle: Mutex::new(Vec::new()),
            ordinary: Semaphore::new(connections_max),
            ordinary_count: u32::try_from(connections_max).unwrap_or(u32::MAX),
            urgent: Semaphore::new(URGENT_CONNECTIONS),
            closed: CancellationToken::new(),
        }
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// One request and its answer. `make` is called once, right before the first byte, when a connection stands.
    pub(crate) async fn call<F>(&self, lane: Lane, make: F) -> Result<Answer, CallError>
    where
        F: FnOnce() -> Option<Call> + Send,
    {
        let is_sent = AtomicBool::new(false);
        let ended = |after_send: CallError, before: CallError| {
            if is_sent.load(Ordering::Acquire) { after_send } else { before }
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(ended(CallError::Lost("the client was closed".to_owned()), CallError::Closed)),
            answer = tokio::time::timeout(self.timeout, self.exchange(lane, make, &is_sent)) => match answer {
                Ok(answer) => answer,
                Err(_) => Err(ended(CallError::Timeout, CallError::NotConnected(self.timed_out()))),
            },
        }
    }

    fn timed_out(&self) -> ExchangeError {
        ExchangeError::Connect {
            venue: super::VENUE.into(),
            address: self.endpoint.authority(),
            cause: format!("no free connection within {} ms", self.timeout_ms()),
        }
    }

    async fn exchange<F>(&self, lane: Lane, make: F, is_sent: &AtomicBool) -> Result<Answer, CallError>
    where
        F: FnOnce() -> Option<Call> + Send,
    {
        let _permit = match lane {
            Lane::Urgent => tokio::select! {
                permit = self.urgent.acquire() => permit,
                permit = self.ordinary.acquire() => permit,
            },
            Lane::Order | Lane::Background => self.ordinary.acquire().await,
        }
        .map_err(|_| CallError::Closed)?;
        let mut pooled = self.connection().await?;
        let call = make().ok_or(CallError::NotMade)?;
        let request = self.request(call).ok_or(CallError::NotMade)?;
        is_sent.store(true, Ordering::Release);
        let answer = pooled.exchange(request).await.map_err(CallError::Lost)?;
        if !self.is_closed() && pooled.is_alive().await {
            pooled.idle_since_mono_ns = self.clock.mono_ns();
            self.idle.lock().push(pooled);
        }
        Ok(answer)
    }

    /// An idle connection that still stands, or a new one.
    async fn connection(&self) -> Result<Pooled, CallError> {
        loop {
            let Some(mut pooled) = self.idle.lock().pop() else { break };
            if self.clock.since(pooled.idle_since_mono_ns) <= IDLE_MAX && pooled.is_alive().await {
                return Ok(pooled);
            }
        }
        let socket = self.connector.connect(&self.endpoint, LeaseKind::TcpSocket, "rest connection").await;
        let socket = socket.map_err(CallError::NotConnected)?;
        let (sender, driver) = http1::handshake(TokioIo::new(socket)).await.map_err(|error| {
            CallError::NotConnected(ExchangeError::Connect {
                venue: super::VENUE.into(),
                address: self.endpoint.authority(),
                cause: error.to_string(),
            })
        })?;
        let mut pooled = Pooled { sender, driver: Box::pin(driver), idle_since_mono_ns: 0 };
        if pooled.settle().await { Ok(pooled) } else { Err(CallError::NotConnected(self.timed_out())) }
    }

    fn request(&self, call: Call) -> Option<Request<Full<Bytes>>> {
        let is_form = call.method == Method::POST;
        let mut uri = Vec::with_capacity(self.endpoint.path.len() + call.path.len() + call.params.len() + 1);
        uri.extend_from_slice(self.endpoint.path.as_bytes());
        uri.extend_from_slice(call.path.as_bytes());
        let mut body = Bytes::new();
        if is_form {
            body = Bytes::from(call.params);
        } else if !call.params.is_empty() {
            uri.push(b'?');
            uri.extend_from_slice(&call.params);
        }
        let mut request = Request::builder()
            .method(call.method)
            .uri(uri.as_slice())
            .header("host", self.endpoint.authority())
            .header("user-agent", concat!("keel/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = call.api_key {
            let mut key = hyper::header::HeaderValue::from_str(&key).ok()?;
            key.set_sensitive(true);
            request = request.header("x-mbx-apikey", key);
        }
        if is_form {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        request.body(Full::new(body)).ok()
    }

    /// Ends calls under way, refuses new ones, drops every connection. Idempotent. Answers whether all calls ended.
    pub(crate) async fn close(&self) -> bool {
        self.closed.cancel();
        self.idle.lock().clear();
        let all = async {
            let ordinary = self.ordinary.acquire_many(self.ordinary_count).await;
            let urgent = self.urgent.acquire_many(URGENT_CONNECTIONS as u32).await;
            drop((ordinary, urgent));
        };
        let ended = tokio::time::timeout(CLOSE_WAIT, all).await.is_ok();
        self.idle.lock().clear();
        ended
    }
}

impl Pooled {
    /// Sends and reads the whole answer, driving the connection meanwhile.
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let Self { sender, driver, .. } = self;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
            read(response).await
        };
        let mut answer = std::pin::pin!(answer);
        let mut is_driver_done = false;
        std::future::poll_fn(|cx| {
            if !is_driver_done && driver.as_mut().poll(cx).is_ready() {
                is_driver_done = true;
            }
            let polled = answer.as_mut().poll(cx);
            // What the answer's side asked for may let the connection go on at once.
            if polled.is_pending() && !is_driver_done && driver.as_mut().poll(cx).is_ready() {
                is_driver_done = true;
                return answer.as_mut().poll(cx);
            }
            polled
        })
        .await
    }

    /// Drives the connection until it can take a request. Answers whether it can.
    async fn settle(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        std::future::poll_fn(|cx| {
            if driver.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            sender.poll_ready(cx).map(|ready| ready.is_ok())
        })
        .await
    }

    /// Has the other side left it open? Looks once, never waits.
    async fn is_alive(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        std::future::poll_fn(|cx| {
            let is_open = driver.as_mut().poll(cx).is_pending();
            Poll::Ready(is_open && matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
        })
        .await
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, String> {
    let status = response.status().as_u16();
    let limits = limit_headers(response.headers());
    let mut incoming = response.into_body();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| chain(&error))?;
        if let Ok(data) = frame.into_data() {
            if body.len() + data.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Answer { status, limits, body: body.freeze() })
}

fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn limit_headers(headers: &HeaderMap) -> LimitHeaders {
    let number =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    LimitHeaders {
        used_weight_1m: number("x-mbx-used-weight-1m"),
        order_count_10s: number("x-mbx-order-count-10s"),
        order_count_1d: number("x-mbx-order-count-1d"),
        retry_after_s: number("retry-after"),
    }
}
