//! Every route, with what it needs: the router, the OpenAPI document and the test of access are made of this table.

use crate::{Role, Topic};

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Only looks.
    Get,
    /// Does something.
    Post,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: health for supervisors, and the page, which holds no data.
    Nothing,
    /// A token of at least this role.
    Token(Role),
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The web page.
    Page,
    /// Is the process worth keeping?
    Live,
    /// Does it trade?
    Ready,
    /// Is the start complete?
    Startup,
    /// This table as OpenAPI.
    OpenApi,
    /// Metrics for Prometheus.
    Prometheus,
    /// Live events.
    Events,
    /// A topic as JSON.
    See(Topic),
    /// An action of the control protocol, by its verb.
    Act(&'static str),
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path.
    pub path: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// What answers.
    pub endpoint: Endpoint,
    /// What it is for.
    pub what: &'static str,
}

const fn open(path: &'static str, endpoint: Endpoint, what: &'static str) -> Route {
    Route { method: Method::Get, path, needs: Needs::Nothing, endpoint, what }
}

const fn read(path: &'static str, endpoint: Endpoint, what: &'static str) -> Route {
    Route { method: Method::Get, path, needs: Needs::Token(Role::Read), endpoint, what }
}

const fn act(path: &'static str, verb: &'static str, what: &'static str) -> Route {
    Route { method: Method::Post, path, needs: Needs::Token(Role::Operate), endpoint: Endpoint::Act(verb), what }
}

/// Every route.
pub const ROUTES: &[Route] = &[
    open("/", Endpoint::Page, "The web page; it asks for a token"),
    open("/health/live", Endpoint::Live, "200 while the engine takes events, else 503"),
    open("/health/ready", Endpoint::Ready, "200 while it trades, 503 before and while it stops"),
    open("/health/startup", Endpoint::Startup, "200 once the start is complete, else 503"),
    read("/openapi.json", Endpoint::OpenApi, "This interface as an OpenAPI document"),
    read("/metrics", Endpoint::Prometheus, "Metrics in Prometheus' text format"),
    read("/api/events", Endpoint::Events, "Live events: fills, orders, alerts, state; server-sent events"),
    read("/api/metrics", Endpoint::See(Topic::Report), "Resources, statistics and alerts"),
    read("/api/status", Endpoint::See(Topic::Status), "Everything about the run"),
    read("/api/orders", Endpoint::See(Topic::Orders), "Open orders"),
    read("/api/fills", Endpoint::See(Topic::Fills), "The last fills, newest first"),
    read("/api/positions", Endpoint::See(Topic::Positions), "Positions"),
    read("/api/balances", Endpoint::See(Topic::Balances), "Balances"),
    read("/api/risk", Endpoint::See(Topic::Risk), "Limits, guards, holds"),
    read("/api/streams", Endpoint::See(Topic::Streams), "Streams with their state"),
    read("/api/resources", Endpoint::See(Topic::Resources), "Leases, descriptors, memory"),
    read("/api/journal", Endpoint::See(Topic::Journal), "Where the journal is"),
    read("/api/config", Endpoint::See(Topic::Config), "Effective configuration, secrets redacted"),
    read("/api/logs", Endpoint::See(Topic::Logs), "The last lines of the log"),
    read("/api/equity", Endpoint::See(Topic::Equity), "Profit over time"),
    read("/api/alerts", Endpoint::See(Topic::Alerts), "Alerts, newest first"),
    act("/api/pause", "pause", "No new exposure; open orders stay"),
    act("/api/resume", "resume", "Trade again"),
    act("/api/reduce-only", "reduce-only", "No new exposure; orders that would add are cancelled"),
    act("/api/cancel", "cancel", "Cancel one order: {\"order\": ID}"),
    act("/api/cancel-all", "cancel-all", "Cancel every order of ours"),
    act("/api/flatten", "flatten", "Cancel and close positions, of all or of one {\"instrument\": SYMBOL}"),
    act("/api/release", "release", "Release a held instrument: {\"instrument\": SYMBOL}"),
    act("/api/emergency-stop", "emergency-stop", "Latch, cancel everything, close positions: {\"reason\": TEXT}"),
    act("/api/rearm", "rearm", "Lift the latch: {\"reason\": TEXT}"),
    act("/api/stop", "stop", "Stop in order and end the process: {\"force\": false}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_08_paths_are_unique_and_whatever_acts_needs_a_token_to_operate() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(ROUTES[..at].iter().all(|other| other.path != route.path), "{}", route.path);
            let acts = matches!(route.endpoint, Endpoint::Act(_));
            assert_eq!(acts, route.method == Method::Post, "{}", route.path);
            assert_eq!(acts, route.needs == Needs::Token(Role::Operate), "{}", route.path);
        }
    }
}
