//! A venue with two accounts on any free port, and clients that sign.

use futures_util::{SinkExt as _, StreamExt as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use keel_venue::{AccountConfig, MarketSource, VenueConfig, VenueContext, VenueHandle, VenueServer};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An account as tests use it.
pub(crate) const ALICE: (&str, &str) = ("alice-key", "alice-secret");
/// The other one.
pub(crate) const BOB: (&str, &str) = ("bob-key", "bob-secret");

/// A venue and an HTTP client.
pub(crate) struct Fixture {
    pub(crate) handle: VenueHandle,
    pub(crate) context: VenueContext,
    pub(crate) http: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) headers: HeaderMap,
}

impl Reply {
    /// The error's code.
    pub(crate) fn code(&self) -> i64 {
        self.body["code"].as_i64().unwrap_or_default()
    }

    /// The body of a success; anything else ends the test.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// A header as a number.
    pub(crate) fn header(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn hmac_hex(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Settings with the two accounts and an empty market.
pub(crate) fn empty() -> VenueConfig {
    VenueConfig { market: MarketSource::Empty, ..synthetic() }
}

/// Settings with the two accounts and the synthetic market.
pub(crate) fn synthetic() -> VenueConfig {
    let mut config = VenueConfig::synthetic(0, 7);
    config.accounts = vec![AccountConfig::hmac(ALICE.0, ALICE.1), AccountConfig::hmac(BOB.0, BOB.1)];
    config
}

impl Fixture {
    pub(crate) fn start(config: VenueConfig) -> Self {
        let context = VenueContext::standalone();
        let handle = VenueServer::start(config, context.clone()).unwrap();
        Self::around(handle, context)
    }

    pub(crate) fn around(handle: VenueHandle, context: VenueContext) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { handle, context, http }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<String>,
        key: Option<&str>,
    ) -> Reply {
        let mut url = format!("{}{path}", self.handle.rest_url());
        if !query.is_empty() {
            url = format!("{url}?{query}");
        }
        let mut request = self.http.request(method, url);
        if let Some(key) = key {
            request = request.header("X-MBX-APIKEY", key);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        Reply { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)), headers }
    }

    pub(crate) async fn get(&self, path: &str, query: &str) -> Reply {
        self.send(Method::GET, path, query, None, None).await
    }

    /// A signed request, its parameters in the query string.
    pub(crate) async fn signed(&self, who: (&str, &str), method: &str, path: &str, params: &str) -> Reply {
        let query = signed_query(who.1, params);
        self.send(method.parse().unwrap(), path, &query, None, Some(who.0)).await
    }

    /// A signed request, its parameters in the body.
    pub(crate) async fn signed_body(&self, who: (&str, &str), method: &str, path: &str, params: &str) -> Reply {
        let body = signed_query(who.1, params);
        self.send(method.parse().unwrap(), path, "", Some(body), Some(who.0)).await
    }

    /// Places an order that must be taken.
    pub(crate) async fn order(&self, who: (&str, &str), params: &str) -> Value {
        self.signed(who, "POST", "/api/v3/order", &format!("symbol=BTCUSDT&newOrderRespType=FULL&{params}")).await.ok()
    }

    /// A market with two asks and two bids by Bob, one trade at 60000 and the average price with it.
    pub(crate) async fn seed_book(&self) {
        for params in [
            "side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.5&price=60010",
            "side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.5&price=60020",
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.5&price=59990",
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.5&price=59980",
            "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=60000",
        ] {
            self.order(BOB, params).await;
        }
        self.order(ALICE, "side=SELL&type=LIMIT&timeInForce=IOC&quantity=0.01&price=60000").await;
    }

    pub(crate) async fn ws(&self, path: &str) -> Ws {
        let url = format!("{}{path}", self.handle.ws_url());
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Ws { socket, next_id: 1 }
    }

    pub(crate) async fn stop(self) {
        let report = self.handle.stop(Duration::from_secs(5)).await;
        assert!(report.is_clean(), "{report}");
    }
}

pub(crate) fn signed_query(secret: &str, params: &str) -> String {
    let stamped = if params.contains("timestamp=") {
        params.to_owned()
    } else {
        format!("{params}{}timestamp={}", if params.is_empty() { "" } else { "&" }, now_ms())
    };
    format!("{stamped}&signature={}", hmac_hex(secret, &stamped))
}

/// A WebSocket client.
pub(crate) struct Ws {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

impl Ws {
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next message of any kind; `None` at the end of the connection.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came in time");
        next.and_then(Result::ok)
    }

    /// The next text as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next JSON that satisfies `wanted`.
    pub(crate) async fn json_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.json().await;
            if wanted(&value) {
                return value;
            }
        }
    }

    /// Sends a stream command and gives back its answer.
    pub(crate) async fn command(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(json!({"method": method, "params": params, "id": id}).to_string()).await;
        self.json_where(|value| value["id"] == id).await
    }

    /// Sends a WebSocket API request and gives back its answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(json!({"id": id, "method": method, "params": params}).to_string()).await;
        self.json_where(|value| value["id"] == id).await
    }

    /// The same, signed with HMAC.
    pub(crate) async fn call_signed(&mut self, who: (&str, &str), method: &str, params: Value) -> Value {
        let params = sign_ws(who, params);
        self.call(method, params).await
    }

    /// Waits for the close frame, and gives its code and words.
    pub(crate) async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            match self.message().await {
                Some(Message::Close(frame)) => return frame.map(|f| (f.code.into(), f.reason.to_string())),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

/// Adds key, timestamp and signature to the parameters of a WebSocket API request.
pub(crate) fn sign_ws(who: (&str, &str), params: Value) -> Value {
    let mut map = params.as_object().cloned().unwrap_or_default();
    map.insert("apiKey".to_owned(), json!(who.0));
    map.entry("timestamp").or_insert_with(|| json!(now_ms()));
    let payload = ws_payload(&map);
    map.insert("signature".to_owned(), json!(hmac_hex(who.1, &payload)));
    Value::Object(map)
}

/// What is signed on the WebSocket API.
pub(crate) fn ws_payload(map: &serde_json::Map<String, Value>) -> String {
    let mut names: Vec<&String> = map.keys().collect();
    names.sort();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    names.iter().map(|name| format!("{name}={}", text(&map[*name]))).collect::<Vec<_>>().join("&")
}

/// Waits until `probe` holds.
pub(crate) async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        if probe().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// A text as a number; for comparing prices in assertions.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).parse().unwrap()
}

pub(crate) const OK: StatusCode = StatusCode::OK;
