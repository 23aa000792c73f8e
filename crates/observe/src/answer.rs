//! The answers: one function per kind of endpoint. Errors are JSON objects with one field, `error`, for people.

use crate::routes::{Endpoint, Method, Route};
use crate::server::Observed;
use crate::{Exposition, Health, Query, Topic};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response as AxumResponse};
use futures_util::stream::{self, Stream};
use keel_control::{Ask, Outcome, Peer, Request};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Rows of a list when nothing is said.
const ROWS_DEFAULT: usize = 200;
/// Most rows of a list.
const ROWS_MAX: usize = 5_000;
/// How long an action waits for its confirmation when nothing is said.
const ACTION_WAIT: Duration = Duration::from_secs(8);
/// How often a listener hears that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json_of(status: StatusCode, value: &Value) -> Response<Body> {
    with_type(status, "application/json", value.to_string())
}

/// An error for people.
pub(crate) fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    json_of(status, &json!({ "error": why }))
}

/// Base64 of SHA-256, as a content security policy names a script.
pub(crate) fn sha256_base64(text: &str) -> String {
    use sha2::{Digest, Sha256};
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha256::digest(text.as_bytes());
    let mut out = String::with_capacity(44);
    for chunk in hash.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let is_there = place <= chunk.len();
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if is_there { char::from(digit) } else { '=' });
        }
    }
    out
}

/// What a request brings along.
pub(crate) struct Asked {
    pub(crate) route: &'static Route,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
    pub(crate) from: SocketAddr,
}

/// Answers a request that has passed the guard.
pub(crate) async fn answer(observed: &Arc<Observed>, asked: Asked) -> Response<Body> {
    match asked.route.endpoint {
        Endpoint::Page => with_type(StatusCode::OK, "text/html; charset=utf-8", observed.page),
        Endpoint::OpenApi => json_of(StatusCode::OK, &crate::document()),
        Endpoint::Prometheus => {
            let mut out = Exposition::default();
            observed.sight.measure(&mut out);
            with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", out.into_text())
        }
        Endpoint::Live => health(&observed.sight.health(), |health| health.is_live),
        Endpoint::Ready => health(&observed.sight.health(), |health| health.is_ready),
        Endpoint::Startup => health(&observed.sight.health(), |health| health.is_started),
        Endpoint::Events => events(observed),
        Endpoint::See(topic) => see(observed, topic, &asked.query),
        Endpoint::Act(verb) => act(observed, verb, &asked.body, asked.from).await,
    }
}

fn health(health: &Health, is_well: impl Fn(&Health) -> bool) -> Response<Body> {
    let is_well = is_well(health);
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_of(status, &json!({ "ok": is_well, "why": if is_well { &[] } else { health.why.as_slice() } }))
}

fn see(observed: &Observed, topic: Topic, query: &str) -> Response<Body> {
    let mut limit = ROWS_DEFAULT;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("limit", text)) if text.parse().is_ok_and(|rows| (1..=ROWS_MAX).contains(&rows)) => {
                limit = text.parse().unwrap_or(ROWS_DEFAULT);
            }
            Some(("limit", _)) => {
                return refusal(StatusCode::BAD_REQUEST, &format!("limit is a whole number from 1 to {ROWS_MAX}"));
            }
            _ => return refusal(StatusCode::BAD_REQUEST, "the only parameter known here is limit"),
        }
    }
    match observed.sight.see(topic, Query { limit: Some(limit) }) {
        Some(value) => json_of(StatusCode::OK, &value),
        None => {
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "not there yet: the start is not complete");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// A whole number, also one that is written as 5.0; what is too large is the largest.
fn whole(value: &Value) -> Option<u64> {
    let is_whole = |number: &f64| number.fract() == 0.0 && *number >= 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(is_whole).map(|number| number as u64))
}

/// The body is the verb's own fields, and `timeout_ms` if wanted.
fn request_of(verb: &str, body: &[u8]) -> Result<Request, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is not a JSON object: {error}"))?;
    let Value::Object(mut fields) = value else { return Err("the body is not a JSON object".to_owned()) };
    let timeout = match fields.remove("timeout_ms") {
        None => ACTION_WAIT,
        Some(value) => match whole(&value) {
            Some(ms) => Duration::from_millis(ms).min(ACTION_WAIT),
            None => return Err("timeout_ms is a whole number of milliseconds".to_owned()),
        },
    };
    // A program's missing value must not become "all".
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.is_null()) {
        return Err(format!("{name} is null; leave it out, or say which"));
    }
    if verb == "stop" {
        fields.entry("force").or_insert(Value::Bool(false));
    }
    if verb == "emergency-stop" {
        fields.entry("reason").or_insert_with(|| "an operator asked for it".into());
    }
    if let Some(reason) = fields.get("reason")
        && reason.as_str().is_none_or(|reason| reason.trim().is_empty())
    {
        return Err("reason is a text that says something".to_owned());
    }
    if fields.insert("verb".to_owned(), verb.into()).is_some() {
        return Err("the verb is in the path".to_owned());
    }
    let ask: Ask = serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    Ok(Request::new(ask, timeout))
}

async fn act(observed: &Arc<Observed>, verb: &str, body: &[u8], from: SocketAddr) -> Response<Body> {
    let request = match request_of(verb, body) {
        Ok(request) => request,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, &why),
    };
    let answer = observed.operator.ask(request, Peer::Web { from }).await;
    let status = match answer.outcome {
        Outcome::Confirmed => StatusCode::OK,
        Outcome::Open => StatusCode::ACCEPTED,
        Outcome::Refused => StatusCode::CONFLICT,
    };
    json_of(status, &serde_json::to_value(&answer).unwrap_or_default())
}

fn events(observed: &Arc<Observed>) -> Response<Body> {
    let Some(seat) = observed.take_seat() else {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "too many listeners; close one");
    };
    let listener = Listener { events: observed.sight.events(), stop: observed.stop.clone(), _seat: seat };
    let response: AxumResponse =
        Sse::new(follow(listener)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response
}

struct Listener {
    events: broadcast::Receiver<crate::Event>,
    stop: CancellationToken,
    _seat: tokio::sync::OwnedSemaphorePermit,
}

/// What happens, until the server stops. What a slow listener has missed is told as one event.
fn follow(listener: Listener) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        let next = tokio::select! {
            biased;
            () = listener.stop.cancelled() => return None,
            next = listener.events.recv() => next,
        };
        let event = match next {
            Ok(event) => SseEvent::default().event(event.kind).data(event.data.as_ref()),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                SseEvent::default().event("lost").data(json!({ "count": count }).to_string())
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Ok(event), listener))
    })
}

/// For a path or method that is not in the table.
pub(crate) fn unknown(method: &axum::http::Method, path: &str, known: Option<Method>) -> Response<Body> {
    match known {
        Some(known) => {
            let known = if known == Method::Get { "GET" } else { "POST" };
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, &format!("{path} takes {known}, not {method}"));
            response.headers_mut().insert(axum::http::header::ALLOW, HeaderValue::from_static(known));
            response
        }
        None => refusal(StatusCode::NOT_FOUND, "there is no such path; /openapi.json lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_as_browsers_compute_them() {
        assert_eq!(sha256_base64(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(sha256_base64("alert('Hello, world.');"), "qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
    }

    #[test]
    fn actions_take_their_own_fields_and_nothing_else() {
        let ask = |verb: &str, body: &str| request_of(verb, body.as_bytes()).map(|it| it.ask);
        assert_eq!(ask("pause", "{}"), Ok(Ask::Pause {}));
        assert_eq!(ask("stop", "{}"), Ok(Ask::Stop { force: false }));
        assert_eq!(ask("pause", "{\"timeout_ms\":5.0}"), Ok(Ask::Pause {}));
        assert!(ask("pause", "{\"timeout_ms\":5.5}").is_err() && ask("pause", "{\"timeout_ms\":-1}").is_err());
        assert!(ask("flatten", "{\"instrument\":null}").unwrap_err().contains("null"), "a missing value is not all");
        assert_eq!(ask("cancel", "{\"order\":\"k1-1-1\"}"), Ok(Ask::Cancel { order: "k1-1-1".into() }));
        assert_eq!(request_of("pause", b"{\"timeout_ms\":100}").unwrap().timeout(), Duration::from_millis(100));
        assert_eq!(request_of("pause", b"{\"timeout_ms\":9000000}").unwrap().timeout(), ACTION_WAIT, "bounded");
        for (verb, body) in [
            ("pause", "{\"order\":\"x\"}"),
            ("cancel", "{}"),
            ("pause", ""),
            ("pause", " "),
            ("pause", "[]"),
            ("pause", "{"),
            ("pause", "{\"verb\":\"stop\"}"),
            ("rearm", "{\"reason\":\" \"}"),
            ("pause", "{\"timeout_ms\":-1}"),
        ] {
            assert!(ask(verb, body).is_err(), "{verb} {body}");
        }
    }
}
