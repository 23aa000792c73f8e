//! What can be asked, where, what it weighs and who may ask: one table for REST and the WebSocket API.

use crate::params::Params;
use hyper::Method;

/// A thing to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Ping,
    Time,
    ExchangeInfo,
    ExecutionRules,
    Depth,
    Trades,
    HistoricalTrades,
    HistoricalBlockTrades,
    AggTrades,
    Klines,
    AvgPrice,
    Ticker24h,
    TickerTradingDay,
    TickerPrice,
    TickerBook,
    TickerWindow,
    ReferencePrice,
    NewOrder,
    TestOrder,
    CancelOrder,
    CancelAll,
    CancelReplace,
    Amend,
    QueryOrder,
    OpenOrders,
    AllOrders,
    NewOcoOld,
    NewOco,
    CancelList,
    QueryList,
    OpenLists,
    AllLists,
    MyTrades,
    Account,
    Commission,
    OrderRateLimits,
    PreventedMatches,
    Allocations,
    Amendments,
    MyFilters,
    ListenKeyNew,
    ListenKeyKeep,
    ListenKeyClose,
    SapiTradeFee,
    SapiRestrictions,
    SapiCoins,
    SapiSystemStatus,
    SapiAccountStatus,
    SapiTradingStatus,
    SessionLogon,
    SessionStatus,
    SessionLogout,
    SessionSubscriptions,
    UserSubscribe,
    UserSubscribeSigned,
    UserUnsubscribe,
    /// Documented, and not offered by this venue.
    Unsupported,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// Anybody.
    Open,
    /// A known key, without a signature.
    Key,
    /// A known key with a signature.
    Signed,
    /// A known key with a signature and the right to trade.
    Trade,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Route {
    /// HTTP method.
    pub(crate) verb: Verb,
    /// HTTP path; empty when there is none.
    pub(crate) path: &'static str,
    /// WebSocket API method; empty when there is none.
    pub(crate) ws: &'static str,
    /// What.
    pub(crate) op: Op,
    /// Who.
    pub(crate) security: Security,
    /// Least weight; see [`weight`].
    pub(crate) weight: u32,
}

/// HTTP methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    /// Of a request; `None` for a method that the venue does not know.
    pub(crate) fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PUT => Some(Self::Put),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

const fn route(verb: Verb, path: &'static str, ws: &'static str, op: Op, security: Security, weight: u32) -> Route {
    Route { verb, path, ws, op, security, weight }
}

use Op as O;
use Security::{Key, Open, Signed, Trade};
use Verb::{Delete, Get, Post, Put};

/// The table.
pub(crate) const ROUTES: &[Route] = &[
    route(Post, "/api/v3/order", "order.place", O::NewOrder, Trade, 1),
    route(Delete, "/api/v3/order", "order.cancel", O::CancelOrder, Trade, 1),
    route(Get, "/api/v3/order", "order.status", O::QueryOrder, Signed, 4),
    route(Get, "/api/v3/time", "time", O::Time, Open, 1),
    route(Get, "/api/v3/ping", "ping", O::Ping, Open, 1),
    route(Get, "/api/v3/exchangeInfo", "exchangeInfo", O::ExchangeInfo, Open, 20),
    route(Get, "/api/v3/executionRules", "executionRules", O::ExecutionRules, Open, 2),
    route(Get, "/api/v3/depth", "depth", O::Depth, Open, 5),
    route(Get, "/api/v3/trades", "trades.recent", O::Trades, Open, 25),
    route(Get, "/api/v3/historicalTrades", "trades.historical", O::HistoricalTrades, Open, 25),
    route(Get, "/api/v3/historicalBlockTrades", "blockTrades.historical", O::HistoricalBlockTrades, Open, 25),
    route(Get, "/api/v3/aggTrades", "trades.aggregate", O::AggTrades, Open, 4),
    route(Get, "/api/v3/klines", "klines", O::Klines, Open, 2),
    route(Get, "/api/v3/uiKlines", "uiKlines", O::Klines, Open, 2),
    route(Get, "/api/v3/avgPrice", "avgPrice", O::AvgPrice, Open, 2),
    route(Get, "/api/v3/ticker/24hr", "ticker.24hr", O::Ticker24h, Open, 2),
    route(Get, "/api/v3/ticker/tradingDay", "ticker.tradingDay", O::TickerTradingDay, Open, 4),
    route(Get, "/api/v3/ticker/price", "ticker.price", O::TickerPrice, Open, 2),
    route(Get, "/api/v3/ticker/bookTicker", "ticker.book", O::TickerBook, Open, 2),
    route(Get, "/api/v3/ticker", "ticker", O::TickerWindow, Open, 4),
    route(Get, "/api/v3/referencePrice", "referencePrice", O::ReferencePrice, Open, 2),
    route(Get, "/api/v3/referencePrice/calculation", "referencePrice.calculation", O::ReferencePrice, Open, 2),
    route(Post, "/api/v3/order/test", "order.test", O::TestOrder, Trade, 1),
    route(Delete, "/api/v3/openOrders", "openOrders.cancelAll", O::CancelAll, Trade, 1),
    route(Post, "/api/v3/order/cancelReplace", "order.cancelReplace", O::CancelReplace, Trade, 1),
    route(Put, "/api/v3/order/amend/keepPriority", "order.amend.keepPriority", O::Amend, Trade, 4),
    route(Post, "/api/v3/order/oco", "orderList.place", O::NewOcoOld, Trade, 1),
    route(Post, "/api/v3/orderList/oco", "orderList.place.oco", O::NewOco, Trade, 1),
    route(Post, "/api/v3/orderList/oto", "orderList.place.oto", O::Unsupported, Trade, 1),
    route(Post, "/api/v3/orderList/otoco", "orderList.place.otoco", O::Unsupported, Trade, 1),
    route(Post, "/api/v3/orderList/opo", "orderList.place.opo", O::Unsupported, Trade, 1),
    route(Post, "/api/v3/orderList/opoco", "orderList.place.opoco", O::Unsupported, Trade, 1),
    route(Post, "/api/v3/sor/order", "sor.order.place", O::Unsupported, Trade, 1),
    route(Post, "/api/v3/sor/order/test", "sor.order.test", O::Unsupported, Trade, 1),
    route(Delete, "/api/v3/orderList", "orderList.cancel", O::CancelList, Trade, 1),
    route(Get, "/api/v3/orderList", "orderList.status", O::QueryList, Signed, 4),
    route(Get, "/api/v3/openOrderList", "openOrderLists.status", O::OpenLists, Signed, 6),
    route(Get, "/api/v3/allOrderList", "allOrderLists", O::AllLists, Signed, 20),
    route(Get, "/api/v3/openOrders", "openOrders.status", O::OpenOrders, Signed, 6),
    route(Get, "/api/v3/allOrders", "allOrders", O::AllOrders, Signed, 20),
    route(Get, "/api/v3/myTrades", "myTrades", O::MyTrades, Signed, 20),
    route(Get, "/api/v3/account", "account.status", O::Account, Signed, 20),
    route(Get, "/api/v3/account/commission", "account.commission", O::Commission, Signed, 20),
    route(Get, "/api/v3/rateLimit/order", "account.rateLimits.orders", O::OrderRateLimits, Signed, 40),
    route(Get, "/api/v3/myPreventedMatches", "myPreventedMatches", O::PreventedMatches, Signed, 2),
    route(Get, "/api/v3/myAllocations", "myAllocations", O::Allocations, Signed, 20),
    route(Get, "/api/v3/order/amendments", "order.amendments", O::Amendments, Signed, 4),
    route(Get, "/api/v3/myFilters", "myFilters", O::MyFilters, Signed, 40),
    route(Post, "/api/v3/userDataStream", "userDataStream.start", O::ListenKeyNew, Key, 2),
    route(Put, "/api/v3/userDataStream", "userDataStream.ping", O::ListenKeyKeep, Key, 2),
    route(Delete, "/api/v3/userDataStream", "userDataStream.stop", O::ListenKeyClose, Key, 2),
    route(Get, "/sapi/v1/asset/tradeFee", "", O::SapiTradeFee, Signed, 1),
    route(Get, "/sapi/v1/account/apiRestrictions", "", O::SapiRestrictions, Signed, 1),
    route(Get, "/sapi/v1/capital/config/getall", "", O::SapiCoins, Signed, 10),
    route(Get, "/sapi/v1/system/status", "", O::SapiSystemStatus, Open, 1),
    route(Get, "/sapi/v1/account/status", "", O::SapiAccountStatus, Signed, 1),
    route(Get, "/sapi/v1/account/apiTradingStatus", "", O::SapiTradingStatus, Signed, 1),
    route(Get, "", "session.logon", O::SessionLogon, Open, 2),
    route(Get, "", "session.status", O::SessionStatus, Open, 2),
    route(Get, "", "session.logout", O::SessionLogout, Open, 2),
    route(Get, "", "session.subscriptions", O::SessionSubscriptions, Open, 2),
    route(Get, "", "userDataStream.subscribe", O::UserSubscribe, Open, 2),
    route(Get, "", "userDataStream.subscribe.signature", O::UserSubscribeSigned, Open, 2),
    route(Get, "", "userDataStream.unsubscribe", O::UserUnsubscribe, Open, 2),
];

/// Finds a REST route; the error tells a wrong method (405) from an unknown path (404).
pub(crate) fn find_rest(method: &Method, path: &str) -> Result<&'static Route, u16> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let verb = Verb::of(method);
    let mut status = 404;
    for route in ROUTES.iter().filter(|route| !route.path.is_empty() && route.path == path) {
        if Some(route.verb) == verb {
            return Ok(route);
        }
        status = 405;
    }
    Err(status)
}

/// Finds a WebSocket API method; a version prefix is allowed.
pub(crate) fn find_ws(method: &str) -> Option<&'static Route> {
    let method = method.strip_prefix("v3/").unwrap_or(method);
    ROUTES.iter().find(|route| !route.ws.is_empty() && route.ws == method)
}

/// What a request weighs, by the documentation's tables.
pub(crate) fn weight(route: &Route, params: &Params) -> u32 {
    let has_symbol = params.peek("symbol").is_some();
    let symbols = params.peek("symbols").map(|list| list.matches(',').count() as u32 + 1);
    let symbols = symbols.or(has_symbol.then_some(1));
    match route.op {
        Op::Depth => match params.peek("limit").and_then(|limit| limit.parse::<u32>().ok()).unwrap_or(100) {
            0..=100 => 5,
            101..=500 => 25,
            501..=1000 => 50,
            _ => 250,
        },
        Op::Ticker24h => match symbols {
            Some(0..=20) => 2,
            Some(21..=100) => 40,
            _ => 80,
        },
        Op::TickerPrice | Op::TickerBook if !has_symbol => 4,
        Op::TickerWindow | Op::TickerTradingDay => (4 * symbols.unwrap_or(1)).min(200),
        Op::ExecutionRules => symbols.map_or(40, |count| (2 * count).min(40)),
        Op::OpenOrders if !has_symbol => 80,
        Op::MyTrades if params.peek("orderId").is_some() => 5,
        Op::TestOrder if params.peek("computeCommissionRates") == Some("true") => 20,
        Op::PreventedMatches if params.peek("orderId").is_some() => 20,
        _ => route.weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_endpoint_and_method_has_a_route_with_its_weight() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/venues/binance-spot");
        let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}"));
        let (Ok(rest), Ok(ws)) = (read("rest_endpoints.json"), read("ws_api_methods.json")) else {
            eprintln!("SKIPPED: {folder} is missing");
            return;
        };
        let rest: Vec<serde_json::Value> = serde_json::from_str(&rest).unwrap();
        for endpoint in &rest {
            let name = endpoint["endpoint"].as_str().unwrap();
            let (method, path) = name.split_once(' ').unwrap();
            let route = find_rest(&method.parse().unwrap(), path).unwrap_or_else(|status| panic!("{name}: {status}"));
            if let Ok(weight) = endpoint["weight"].as_str().unwrap_or_default().parse::<u32>() {
                assert_eq!(route.weight, weight, "{name}");
            }
        }
        let ws: Vec<serde_json::Value> = serde_json::from_str(&ws).unwrap();
        for method in &ws {
            let name = method["method"].as_str().unwrap();
            assert!(find_ws(name).is_some(), "{name}");
        }
        assert!(rest.len() > 40 && ws.len() > 50);
    }

    #[test]
    fn weights_follow_the_parameters() {
        let weigh = |path: &str, query: &str| {
            let route = find_rest(&Method::GET, path).unwrap();
            weight(route, &Params::parse(query, "").unwrap())
        };
        assert_eq!(weigh("/api/v3/depth", "symbol=X"), 5);
        assert_eq!(weigh("/api/v3/depth", "symbol=X&limit=5000"), 250);
        assert_eq!(weigh("/api/v3/ticker/24hr", ""), 80);
        assert_eq!(weigh("/api/v3/ticker/24hr", "symbol=X"), 2);
        assert_eq!(weigh("/api/v3/openOrders", ""), 80);
        assert_eq!(weigh("/api/v3/openOrders", "symbol=X"), 6);
        assert_eq!(weigh("/api/v3/myTrades", "symbol=X&orderId=1"), 5);
        assert_eq!(find_rest(&Method::PUT, "/api/v3/time").unwrap_err(), 405);
        assert_eq!(find_rest(&Method::GET, "/api/v9/time").unwrap_err(), 404);
        assert!(find_ws("v3/order.place").is_some() && find_ws("order.fly").is_none());
    }
}
