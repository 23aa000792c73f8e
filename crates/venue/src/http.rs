//! One HTTP connection: requests in, answers out, and the way into WebSocket sessions.
//!
//! Bodies are bounded, heads and idle time too. An answer that a fault withholds never comes; a connection that it resets
//! is closed. When the venue stops, requests under way are answered and the connection is closed after them.

use crate::api_error::ApiError;
use crate::json::TimeUnit;
use crate::params::Params;
use crate::routes::{Verb, find_rest};
use crate::venue::{Outcome, Proof, Request as VenueRequest, Venue};
use crate::ws;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Time that requests under way have when the venue stops.
const DRAIN: Duration = Duration::from_millis(500);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

const WEIGHT: HeaderName = HeaderName::from_static("x-mbx-used-weight");
const WEIGHT_1M: HeaderName = HeaderName::from_static("x-mbx-used-weight-1m");
const ORDERS_10S: HeaderName = HeaderName::from_static("x-mbx-order-count-10s");
const ORDERS_1D: HeaderName = HeaderName::from_static("x-mbx-order-count-1d");
const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the venue closed the connection")]
pub(crate) struct Closed;

pub(crate) type Answer = Result<Response<Full<Bytes>>, Closed>;

/// Serves one connection to its end.
pub(crate) async fn serve(venue: Arc<Venue>, stream: TcpStream, ip: IpAddr, token: CancellationToken) {
    let shared = venue.clone();
    let ended = token.clone();
    let service = service_fn(move |request| {
        let (venue, token) = (shared.clone(), ended.clone());
        async move { handle(venue, request, ip, token).await }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(venue.limits.http_idle)
        .max_buf_size(HEAD_BYTES_MAX + venue.limits.body_bytes_max)
        .pipeline_flush(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        ended = connection.as_mut() => log_end(&ended),
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            if let Ok(ended) = tokio::time::timeout(DRAIN, connection).await {
                log_end(&ended);
            }
        }
    }
}

fn log_end(ended: &Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

async fn handle(venue: Arc<Venue>, request: Request<Incoming>, ip: IpAddr, token: CancellationToken) -> Answer {
    if ws::is_upgrade(&request) {
        return Ok(ws::upgrade(&venue, request, ip));
    }
    let (head, body) = request.into_parts();
    let route = match find_rest(&head.method, head.uri.path()) {
        Ok(route) => route,
        Err(status) => return Ok(not_found(status)),
    };
    let body = match route.verb {
        // A body on GET means nothing.
        Verb::Get => Bytes::new(),
        _ => match Limited::new(body, venue.limits.body_bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Ok(plain(413, "text/plain", "request body too large")),
        },
    };
    let Ok(body) = std::str::from_utf8(&body) else {
        let error = ApiError::new(-1100, "Illegal characters found in a parameter.");
        return Ok(respond(&venue, Err(error), None, ip));
    };
    let query = head.uri.query().unwrap_or_default();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let unit = match header("x-mbx-time-unit").map(TimeUnit::parse) {
        None => TimeUnit::Milliseconds,
        Some(Some(unit)) => unit,
        Some(None) => {
            let msg = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.";
            return Ok(respond(&venue, Err(ApiError::new(-1194, msg)), None, ip));
        }
    };
    let params = match Params::parse(query, body) {
        Ok(params) => params,
        Err(error) => return Ok(respond(&venue, Err(error), None, ip)),
    };
    let proof = Proof::Rest { api_key: header("x-mbx-apikey"), query, body };
    let request = VenueRequest { route, params: &params, proof, ip, unit };
    match venue.answer(request).await {
        Outcome::Answer { answer, account } => Ok(respond(&venue, answer, account, ip)),
        Outcome::Raw { status, body, location } => Ok(raw(status, body, location)),
        Outcome::Reset => Err(Closed),
        Outcome::Hang => {
            token.cancelled().await;
            Err(Closed)
        }
    }
}

/// An answer with the headers that tell what was used.
fn respond(venue: &Venue, answer: Result<String, ApiError>, account: Option<u32>, ip: IpAddr) -> Response<Full<Bytes>> {
    let used = venue.limiter.lock().used(ip, account, venue.now());
    let (status, body, retry_after_s) = match answer {
        Ok(body) => (200, body, None),
        Err(error) => (error.status, error.body(), error.retry_after_s),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(WEIGHT, HeaderValue::from(used.weight));
    headers.insert(WEIGHT_1M, HeaderValue::from(used.weight));
    if let Some((ten_seconds, day)) = used.orders {
        headers.insert(ORDERS_10S, HeaderValue::from(ten_seconds));
        headers.insert(ORDERS_1D, HeaderValue::from(day));
    }
    if let Some(seconds) = retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn raw(status: u16, body: String, location: Option<String>) -> Response<Full<Bytes>> {
    let kind = if body.trim_start().starts_with(['{', '[']) { "application/json;charset=UTF-8" } else { "text/html" };
    let mut response = plain(status, kind, body);
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// An answer without any of the venue's headers.
pub(crate) fn plain(status: u16, kind: &'static str, body: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.into())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn not_found(status: u16) -> Response<Full<Bytes>> {
    let title = if status == 405 { "405 Method Not Allowed" } else { "404 Not Found" };
    plain(status, "text/html", format!("<html><body><h2>{title}</h2></body></html>\n"))
}

/// Counts a connection as open while it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    venue: Arc<Venue>,
    is_ws: bool,
}

impl OpenGuard {
    /// Counts one more.
    pub(crate) fn new(venue: Arc<Venue>, is_ws: bool) -> Self {
        let counters = &venue.counters;
        let (total, open) = if is_ws {
            (&counters.ws_connections, &counters.ws_open)
        } else {
            (&counters.http_connections, &counters.http_open)
        };
        total.fetch_add(1, Ordering::Relaxed);
        open.fetch_add(1, Ordering::Relaxed);
        Self { venue, is_ws }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        let counters = &self.venue.counters;
        let open = if self.is_ws { &counters.ws_open } else { &counters.http_open };
        open.fetch_sub(1, Ordering::Relaxed);
    }
}
