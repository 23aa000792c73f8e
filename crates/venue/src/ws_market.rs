//! The market stream side of a WebSocket connection: what the path names, SUBSCRIBE and its relatives, listenKeys.

use crate::hub::{CloseReason, Conn, UserForm};
use crate::json::{Json, escape};
use crate::venue::Venue;
use crate::ws::Flow;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Longest stream name.
const NAME_BYTES_MAX: usize = 128;

/// What one connection listens to.
#[derive(Debug)]
pub(crate) struct MarketSession {
    venue: Arc<Venue>,
    conn: Arc<Conn>,
    names: Vec<String>,
    asked: Vec<String>,
}

/// An error in the words of the stream server.
struct StreamError {
    code: u32,
    msg: String,
}

fn wrong(code: u32, msg: impl Into<String>) -> StreamError {
    StreamError { code, msg: msg.into() }
}

impl MarketSession {
    /// A session for the streams that the path or query names, separated by `/`.
    pub(crate) fn new(venue: Arc<Venue>, conn: Arc<Conn>, names: &str) -> Self {
        let names = percent_decode_str(names).decode_utf8_lossy().into_owned();
        let asked = names.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { venue, conn, names: Vec::new(), asked }
    }

    /// Subscribes to what the path named.
    pub(crate) fn open(&mut self) {
        for name in std::mem::take(&mut self.asked) {
            if self.names.len() < self.venue.limits.streams_per_connection {
                self.subscribe(&name);
            }
        }
    }

    fn subscribe(&mut self, name: &str) {
        if self.names.iter().any(|other| other == name) {
            return;
        }
        self.names.push(name.to_owned());
        if let Some(account) = self.venue.listen_key_account(name) {
            let form = UserForm::ListenKey(Arc::from(name));
            self.venue.core.lock().hub.subscribe_user(account.0, &self.conn, form);
            return;
        }
        let mut core = self.venue.core.lock();
        core.subscribe(name, &self.conn);
        let is_wanted = core.hub.has_market_subscribers();
        drop(core);
        if is_wanted {
            self.venue.subscribed.cancel();
        }
    }

    fn unsubscribe(&mut self, name: &str) {
        self.names.retain(|other| other != name);
        let mut core = self.venue.core.lock();
        core.unsubscribe(name, self.conn.id);
        core.hub.unsubscribe_user(self.conn.id, |form| matches!(form, UserForm::ListenKey(key) if &**key == name));
    }

    /// Answers a message.
    pub(crate) fn on_text(&mut self, text: &str) -> Flow {
        let request: Value = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => return self.refuse(&wrong(3, format!("Invalid JSON: {error}")), "null"),
        };
        let id = match read_id(&request) {
            Ok(id) => id,
            Err(error) => return self.refuse(&error, "null"),
        };
        let column = text.len();
        let Some(method) = request.get("method") else {
            let msg = format!("Invalid request: missing field `method` at line 1 column {column}");
            return self.refuse(&wrong(2, msg), &id);
        };
        let params = request.get("params");
        let done = match method.as_str() {
            Some("SUBSCRIBE") => self.on_subscribe(params, true),
            Some("UNSUBSCRIBE") => self.on_subscribe(params, false),
            Some("LIST_SUBSCRIPTIONS") => Ok(self.list()),
            Some("SET_PROPERTY") => self.set_property(params),
            Some("GET_PROPERTY") => self.get_property(params),
            other => {
                let other = other.map_or_else(|| method.to_string(), |other| format!("`{other}`"));
                Err(wrong(
                    2,
                    format!(
                        "Invalid request: unknown variant {other}, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, \
                         `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column {column}"
                    ),
                ))
            }
        };
        match done {
            Ok(Some(result)) => {
                let unit = self.conn.unit;
                self.conn.send_text(Json::object(unit, |j| {
                    j.raw("result", &result);
                    j.raw("id", &id);
                }));
                Flow::Go
            }
            Ok(None) => Flow::End(CloseReason { code: 1008, text: "too many streams", is_abrupt: false }),
            Err(error) => self.refuse(&error, &id),
        }
    }

    fn refuse(&self, error: &StreamError, id: &str) -> Flow {
        self.conn.send_text(Json::object(self.conn.unit, |j| {
            j.num("code", error.code);
            j.str("msg", &error.msg);
            j.raw("id", id);
        }));
        Flow::Go
    }

    fn on_subscribe(&mut self, params: Option<&Value>, is_on: bool) -> Result<Option<String>, StreamError> {
        let list = params.and_then(Value::as_array);
        let list = list.ok_or_else(|| wrong(2, "Invalid request: params must be an array of strings"))?;
        let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        let names = names.ok_or_else(|| wrong(2, "Invalid request: params must be an array of strings"))?;
        if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(wrong(2, "Invalid request: stream name is too long"));
        }
        if !is_on {
            names.into_iter().for_each(|name| self.unsubscribe(name));
            return Ok(Some("null".to_owned()));
        }
        let more = names.iter().filter(|name| !self.names.iter().any(|other| other == *name)).count();
        if self.names.len() + more > self.venue.limits.streams_per_connection {
            return Ok(None);
        }
        names.into_iter().for_each(|name| self.subscribe(name));
        Ok(Some("null".to_owned()))
    }

    fn list(&self) -> Option<String> {
        Some(Json::array(self.conn.unit, |j| self.names.iter().for_each(|name| j.item_str(name))))
    }

    fn set_property(&self, params: Option<&Value>) -> Result<Option<String>, StreamError> {
        let params = params.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        check_property(params.first())?;
        match params {
            [_, Value::Bool(value)] => {
                self.conn.is_combined.store(*value, Ordering::Relaxed);
                Ok(Some("null".to_owned()))
            }
            [_] | [_, _] => Err(wrong(1, "Invalid value type: expected Boolean")),
            _ => Err(wrong(2, "Invalid request: too many parameters")),
        }
    }

    fn get_property(&self, params: Option<&Value>) -> Result<Option<String>, StreamError> {
        let params = params.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        check_property(params.first())?;
        if params.len() > 1 {
            return Err(wrong(2, "Invalid request: too many parameters"));
        }
        Ok(Some(self.conn.is_combined.load(Ordering::Relaxed).to_string()))
    }
}

fn check_property(name: Option<&Value>) -> Result<(), StreamError> {
    match name.and_then(Value::as_str) {
        Some("combined") => Ok(()),
        Some(_) => Err(wrong(0, "Unknown property")),
        None => Err(wrong(2, "Invalid request: property name must be a string")),
    }
}

/// The id as JSON: a 64-bit integer, a short text or null.
fn read_id(request: &Value) -> Result<String, StreamError> {
    let refused = || wrong(2, "Invalid request: request ID must be an unsigned integer");
    match request.get("id") {
        Some(Value::Null) => Ok("null".to_owned()),
        Some(Value::Number(number)) if number.is_i64() => Ok(number.to_string()),
        Some(Value::String(text)) if text.len() <= 36 => {
            let mut out = String::new();
            escape(&mut out, text);
            Ok(out)
        }
        _ => Err(refused()),
    }
}
