//! What a request has to pass before anything answers it: the right host, no other site behind it, JSON where something
//! is done, a token of the role that the route needs. And the headers that every answer carries.

use crate::access::Verdict;
use crate::routes::{Method, Needs, Route};
use crate::server::Observed;
use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The page brings its script and style inside itself and speaks to nobody but us. The hashes are computed at the start.
pub(crate) fn policy(page: &str) -> String {
    let hash = |tag: &str| {
        let inside = page.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        inside.map_or_else(String::new, |(text, _)| format!(" 'sha256-{}'", crate::answer::sha256_base64(text)))
    };
    format!(
        "default-src 'none'; script-src{}; style-src{}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

/// Names under which a server on this port may be asked: another name means a rebound DNS name.
pub(crate) fn hosts(port: u16) -> Vec<String> {
    ["127.0.0.1", "localhost", "[::1]"].iter().map(|name| format!("{name}:{port}")).collect()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Passes the request, or says why not.
pub(crate) fn check(observed: &Observed, route: &Route, headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
    let refuse = |status, why: &str| Err(Box::new(crate::answer::refusal(status, why)));
    let host = text(headers, HOST).unwrap_or_default().to_ascii_lowercase();
    if !observed.hosts.contains(&host) {
        let why = "this server answers under its loopback address only; ask http://127.0.0.1 with its port";
        return refuse(StatusCode::MISDIRECTED_REQUEST, why);
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let is_own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) == Some(host.as_str());
        if !is_own {
            return refuse(StatusCode::FORBIDDEN, "pages of other sites may not ask here");
        }
    }
    let site = text(headers, HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return refuse(StatusCode::FORBIDDEN, "pages of other sites may not ask here");
    }
    token(observed, route, headers)?;
    if route.method == Method::Post {
        let kind = text(headers, CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json and a JSON object");
        }
    }
    Ok(())
}

fn token(observed: &Observed, route: &Route, headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
    let Needs::Token(needed) = route.needs else { return Ok(()) };
    let refuse = |status, why: &str| {
        let mut response = crate::answer::refusal(status, why);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Err(Box::new(response))
    };
    // A header that is not text is a wrong token, not none.
    let header = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
    match observed.access.look(header) {
        Verdict::Known(role) if role >= needed => Ok(()),
        Verdict::Known(_) => refuse(StatusCode::FORBIDDEN, "this token may look, not act; use the token of `operate`"),
        Verdict::Missing => refuse(
            StatusCode::UNAUTHORIZED,
            "send Authorization: Bearer TOKEN; the tokens are in api/*.token of the data folder",
        ),
        Verdict::Wrong => refuse(StatusCode::UNAUTHORIZED, "this token is not known"),
        Verdict::TooMany => refuse(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; wait a minute"),
    }
}

/// Headers of every answer.
pub(crate) fn harden(observed: &Observed, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, observed.policy.clone());
}
