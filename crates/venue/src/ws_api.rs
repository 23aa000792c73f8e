//! The WebSocket API side of a connection: one JSON request a frame, one answer a frame, in whatever order they are done;
//! session log-on, account stream subscriptions.

use crate::api_error::ApiError;
use crate::auth;
use crate::faults::{FaultEffect, FaultMoment};
use crate::hub::{CUT, Conn, USER_SUBSCRIPTIONS_MAX, UserForm};
use crate::json::Json;
use crate::params::Params;
use crate::routes::{Op, Route, Security, find_ws};
use crate::venue::{Outcome, Proof, Request, Venue, effect_alone};
use crate::ws::Flow;
use keel_model::Timestamp;
use keel_sim::AccountId;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Subscriptions that a session may have had over its lifetime.
const SUBSCRIPTION_IDS_MAX: u64 = 65_535;

#[derive(Deserialize)]
struct Envelope {
    id: Option<Box<RawValue>>,
    method: String,
    #[serde(default)]
    params: BTreeMap<String, Box<RawValue>>,
}

/// The id of an envelope that could not be read as a whole.
#[derive(Deserialize)]
struct IdOnly {
    id: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    id: u64,
    account: AccountId,
    is_by_logon: bool,
}

/// State of one connection.
#[derive(Debug)]
pub(crate) struct ApiSession {
    venue: Arc<Venue>,
    conn: Arc<Conn>,
    ip: IpAddr,
    with_limits: bool,
    connected: Timestamp,
    logon: Option<(Arc<str>, Timestamp)>,
    subscriptions: Vec<Subscription>,
    next_subscription: u64,
}

impl ApiSession {
    /// A new session.
    pub(crate) fn new(venue: Arc<Venue>, conn: Arc<Conn>, ip: IpAddr, with_limits: bool) -> Self {
        let connected = venue.now();
        Self { venue, conn, ip, with_limits, connected, logon: None, subscriptions: Vec::new(), next_subscription: 0 }
    }

    /// Answers a message, at once or later.
    pub(crate) fn on_text(&mut self, text: &str) -> Flow {
        let envelope: Envelope = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(_) => {
                let id = serde_json::from_str::<IdOnly>(text).ok().and_then(|only| only.id);
                return self.reply(id.as_deref(), Err(ApiError::new(-1135, "Invalid JSON Request")), None, None);
            }
        };
        let Some(route) = find_ws(&envelope.method) else {
            let error = ApiError::new(-1130, "Data sent for parameter 'method' is not valid.");
            return self.reply(envelope.id.as_deref(), Err(error), None, None);
        };
        let params = match Params::from_json(&envelope.params) {
            Ok(params) => params,
            Err(error) => return self.reply(envelope.id.as_deref(), Err(error), None, None),
        };
        if Venue::is_session(route.op) {
            return self.on_session(route, &envelope, &params);
        }
        let (venue, conn, ip) = (self.venue.clone(), self.conn.clone(), self.ip);
        let session = self.logon.as_ref().map(|(key, _)| key.clone());
        let default_limits = self.with_limits;
        Flow::Later(Box::pin(async move {
            let proof = Proof::Ws { raw: &envelope.params, session: session.as_deref() };
            let request = Request { route, params: &params, proof, ip, unit: conn.unit };
            let outcome = venue.answer(request).await;
            let wants = wants_limits(&params, default_limits);
            finish(&venue, &conn, ip, envelope.id.as_deref(), outcome, route, wants)
        }))
    }

    fn on_session(&mut self, route: &'static Route, envelope: &Envelope, params: &Params) -> Flow {
        let now = self.venue.now();
        let charged = self.venue.limiter.lock().charge(self.ip, route.weight, now);
        let met = self.venue.faults.meet(route.op);
        let answer = match (charged, &met) {
            (Err(error), _) => Err(error),
            (Ok(_), Some((FaultMoment::Before, effect))) => {
                let outcome = effect_alone(effect, None);
                let wants = wants_limits(params, self.with_limits);
                return finish(&self.venue, &self.conn, self.ip, envelope.id.as_deref(), outcome, route, wants);
            }
            (Ok(_), _) => self.run_session(route.op, envelope, params, now),
        };
        if let Some((FaultMoment::After, effect)) = &met
            && !matches!(effect, FaultEffect::Delay(_) | FaultEffect::Rewrite { .. })
        {
            let outcome = effect_alone(effect, None);
            let wants = wants_limits(params, self.with_limits);
            return finish(&self.venue, &self.conn, self.ip, envelope.id.as_deref(), outcome, route, wants);
        }
        let wants = wants_limits(params, self.with_limits);
        self.reply(envelope.id.as_deref(), answer, None, wants.then_some(route))
    }

    fn run_session(
        &mut self,
        op: Op,
        envelope: &Envelope,
        params: &Params,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        params.ignore(&["returnRateLimits"]);
        match op {
            Op::SessionLogon => self.logon(envelope, params, now),
            Op::SessionStatus => {
                params.finish()?;
                Ok(self.status(now))
            }
            Op::SessionLogout => {
                params.finish()?;
                self.logon = None;
                self.end_subscriptions(|subscription| subscription.is_by_logon, now);
                Ok(self.status(now))
            }
            Op::SessionSubscriptions => {
                params.finish()?;
                Ok(Json::array(self.conn.unit, |j| {
                    for subscription in &self.subscriptions {
                        j.item_obj(|j| j.num("subscriptionId", subscription.id));
                    }
                }))
            }
            Op::UserSubscribe => {
                params.finish()?;
                let unauthorized = || ApiError::new(-1002, "You are not authorized to execute this request.");
                let (key, _) = self.logon.as_ref().ok_or_else(|| unauthorized().with_status(401))?;
                let account = self.venue.keys.find(Some(key))?.account;
                self.subscribe(account, true)
            }
            Op::UserSubscribeSigned => {
                let venue = self.venue.clone();
                let key = venue.keys.find(Some(params.req("apiKey")?))?;
                auth::check_ws(key, params, &envelope.params, now)?;
                params.finish()?;
                self.subscribe(key.account, false)
            }
            Op::UserUnsubscribe => {
                let one = params.opt_u64("subscriptionId")?;
                params.finish()?;
                let ended = self.end_subscriptions(|subscription| one.is_none_or(|id| subscription.id == id), now);
                if ended == 0 {
                    return Err(ApiError::new(-2036, "User Data Stream subscription not active."));
                }
                Ok("{}".to_owned())
            }
            _ => Err(ApiError::internal()),
        }
    }

    fn logon(&mut self, envelope: &Envelope, params: &Params, now: Timestamp) -> Result<String, ApiError> {
        let venue = self.venue.clone();
        let key = venue.keys.find(Some(params.req("apiKey")?))?;
        if !key.is_ed25519() {
            return Err(ApiError::new(-4056, "HMAC_SHA256 API key is not supported."));
        }
        auth::check_ws(key, params, &envelope.params, now)?;
        params.finish()?;
        self.logon = Some((Arc::from(key.api_key.as_str()), now));
        Ok(self.status(now))
    }

    fn status(&self, now: Timestamp) -> String {
        Json::object(self.conn.unit, |j| {
            match &self.logon {
                Some((key, since)) => {
                    j.str("apiKey", key);
                    j.time("authorizedSince", *since);
                }
                None => {
                    j.null("apiKey");
                    j.null("authorizedSince");
                }
            }
            j.time("connectedSince", self.connected);
            j.bool("returnRateLimits", self.with_limits);
            j.time("serverTime", now);
            j.bool("userDataStream", !self.subscriptions.is_empty());
        })
    }

    fn subscribe(&mut self, account: AccountId, is_by_logon: bool) -> Result<String, ApiError> {
        if self.subscriptions.iter().any(|subscription| subscription.account == account) {
            return Err(ApiError::new(-2035, "User Data Stream subscription already active."));
        }
        if self.subscriptions.len() >= USER_SUBSCRIPTIONS_MAX || self.next_subscription >= SUBSCRIPTION_IDS_MAX {
            return Err(ApiError::new(-2042, "Maximum subscription ID reached for this connection."));
        }
        let id = self.next_subscription;
        self.next_subscription += 1;
        self.subscriptions.push(Subscription { id, account, is_by_logon });
        self.venue.core.lock().hub.subscribe_user(account.0, &self.conn, UserForm::Subscription(id));
        Ok(Json::object(self.conn.unit, |j| j.num("subscriptionId", id)))
    }

    /// Ends every account subscription of the connection.
    pub(crate) fn end_all_subscriptions(&mut self, now: Timestamp) {
        self.end_subscriptions(|_| true, now);
    }

    fn end_subscriptions(&mut self, which: impl Fn(&Subscription) -> bool, now: Timestamp) -> usize {
        let ended: Vec<Subscription> = self.subscriptions.iter().copied().filter(|s| which(s)).collect();
        self.subscriptions.retain(|subscription| !which(subscription));
        let mut core = self.venue.core.lock();
        for subscription in &ended {
            let is_it = |form: &UserForm| matches!(form, UserForm::Subscription(id) if *id == subscription.id);
            core.hub.unsubscribe_user(self.conn.id, is_it);
            let event = Json::object(self.conn.unit, |j| {
                j.str("e", "eventStreamTerminated");
                j.time("E", now);
            });
            core.tell_user(&self.conn, &UserForm::Subscription(subscription.id), &event);
        }
        ended.len()
    }

    fn reply(
        &self,
        id: Option<&RawValue>,
        answer: Result<String, ApiError>,
        account: Option<u32>,
        limits_of: Option<&Route>,
    ) -> Flow {
        send(&self.venue, &self.conn, self.ip, id, answer, account, limits_of);
        Flow::Go
    }
}

fn wants_limits(params: &Params, default: bool) -> bool {
    match params.peek("returnRateLimits") {
        Some("true") => true,
        Some("false") => false,
        _ => default,
    }
}

fn finish(
    venue: &Venue,
    conn: &Conn,
    ip: IpAddr,
    id: Option<&RawValue>,
    outcome: Outcome,
    route: &'static Route,
    wants_limits: bool,
) -> Flow {
    match outcome {
        Outcome::Answer { answer, account } => {
            send(venue, conn, ip, id, answer, account, wants_limits.then_some(route));
            Flow::Go
        }
        Outcome::Raw { body, .. } => {
            conn.send_text(body);
            Flow::Go
        }
        Outcome::Hang => Flow::Silence,
        Outcome::Reset => Flow::End(CUT),
    }
}

fn send(
    venue: &Venue,
    conn: &Conn,
    ip: IpAddr,
    id: Option<&RawValue>,
    answer: Result<String, ApiError>,
    account: Option<u32>,
    limits_of: Option<&Route>,
) {
    let id = id.map_or("null", RawValue::get);
    conn.send_text(Json::object(conn.unit, |j| {
        j.raw("id", id);
        match &answer {
            Ok(result) => {
                j.num("status", 200);
                j.raw("result", result);
            }
            Err(error) => {
                j.num("status", error.status);
                j.obj("error", |j| error.write(j));
            }
        }
        let Some(route) = limits_of else { return };
        let limiter = venue.limiter.lock();
        let used = limiter.used(ip, account, venue.now());
        j.arr("rateLimits", |j| {
            let counts_orders = route.security == Security::Trade;
            if let Some(orders) = used.orders.filter(|_| counts_orders) {
                limiter.write_orders(j, orders);
            }
            limiter.write_weight(j, used.weight);
        });
    }));
}
