//! Account streams: the WebSocket API's way, session log-on, and listenKeys.

use crate::support::{ALICE, BOB, Fixture, Ws, empty, eventually, now_ms, sign_ws, ws_payload};
use base64::Engine as _;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer as _, SigningKey};
use keel_venue::AccountConfig;
use reqwest::Method;
use serde_json::{Value, json};

fn sign_ed25519(key: &SigningKey, api_key: &str, params: Value) -> Value {
    let mut map = params.as_object().cloned().unwrap();
    map.insert("apiKey".to_owned(), json!(api_key));
    map.insert("timestamp".to_owned(), json!(now_ms()));
    let signature = key.sign(ws_payload(&map).as_bytes());
    map.insert("signature".to_owned(), json!(base64::engine::general_purpose::STANDARD.encode(signature.to_bytes())));
    Value::Object(map)
}

#[tokio::test]
async fn the_signature_subscription_tells_everything_about_an_order_and_only_to_its_owner() {
    let venue = Fixture::start(empty());
    let mut alice = venue.ws("/ws-api/v3").await;
    let done = alice.call_signed(ALICE, "userDataStream.subscribe.signature", json!({})).await;
    assert_eq!((&done["status"], &done["result"]), (&json!(200), &json!({"subscriptionId": 0})));
    let twice = alice.call_signed(ALICE, "userDataStream.subscribe.signature", json!({})).await;
    assert_eq!((&twice["error"]["code"], &twice["status"]), (&json!(-2035), &json!(400)));
    let mut bob = venue.ws("/ws-api/v3").await;
    bob.call_signed(BOB, "userDataStream.subscribe.signature", json!({})).await;

    let placed =
        venue.order(ALICE, "side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.5&price=60000&newClientOrderId=mine").await;
    let event = alice.json().await;
    assert_eq!(event["subscriptionId"], 0);
    let report = &event["event"];
    assert_eq!(
        (&report["e"], &report["x"], &report["X"], &report["c"]),
        (&json!("executionReport"), &json!("NEW"), &json!("NEW"), &json!("mine"))
    );
    assert_eq!(
        (&report["i"], &report["w"], &report["t"], &report["N"]),
        (&placed["orderId"], &json!(true), &json!(-1), &Value::Null)
    );
    let position = alice.json().await["event"].clone();
    assert_eq!(position["e"], "outboundAccountPosition");
    assert!(
        position["B"].as_array().unwrap().contains(&json!({"a": "BTC", "f": "1.50000000", "l": "0.50000000"})),
        "{position}"
    );

    venue.order(BOB, "side=BUY&type=MARKET&quantity=0.2").await;
    let fill = alice.json().await["event"].clone();
    assert_eq!(
        (&fill["x"], &fill["X"], &fill["l"], &fill["L"]),
        (&json!("TRADE"), &json!("PARTIALLY_FILLED"), &json!("0.20000000"), &json!("60000.00000000"))
    );
    assert_eq!(
        (&fill["m"], &fill["n"], &fill["N"], &fill["Y"]),
        (&json!(true), &json!("12.00000000"), &json!("USDT"), &json!("12000.00000000"))
    );
    assert!(fill["t"].as_u64().is_some());
    // V-08: Bob's own events come before or after his answer; both name the same trade.
    let new = bob.json().await["event"].clone();
    assert_eq!((&new["x"], &new["o"]), (&json!("NEW"), &json!("MARKET")));
    let bought = bob.json().await["event"].clone();
    assert_eq!((&bought["x"], &bought["t"], &bought["N"]), (&json!("TRADE"), &fill["t"], &json!("BTC")));

    venue
        .signed(ALICE, "DELETE", "/api/v3/order", "symbol=BTCUSDT&origClientOrderId=mine&newClientOrderId=bye")
        .await
        .ok();
    let gone = alice.json_where(|value| value["event"]["x"] == "CANCELED").await["event"].clone();
    assert_eq!((&gone["c"], &gone["C"], &gone["z"]), (&json!("bye"), &json!("mine"), &json!("0.20000000")));
    let listed = alice.call("session.subscriptions", json!({})).await;
    assert_eq!(listed["result"], json!([{"subscriptionId": 0}]));
    let id = json!({"subscriptionId": 7});
    assert_eq!(alice.call("userDataStream.unsubscribe", id).await["error"]["code"], -2036);
    alice.send(json!({"id": "u", "method": "userDataStream.unsubscribe"}).to_string()).await;
    let ended = alice.json_where(|value| value["event"]["e"] == "eventStreamTerminated").await;
    assert_eq!(ended["subscriptionId"], 0);
    assert_eq!(alice.json_where(|value| value["id"] == "u").await["result"], json!({}));
    assert_eq!(alice.call("session.status", json!({})).await["result"]["userDataStream"], false);
    assert_eq!(venue.handle.stats().user_streams, 1);
    venue.stop().await;
}

#[tokio::test]
async fn a_session_logs_on_with_ed25519_and_then_needs_no_signatures() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let mut config = empty();
    config.accounts.push(AccountConfig::ed25519_pem("carol", pem));
    let venue = Fixture::start(config);
    let mut ws = venue.ws("/ws-api/v3").await;
    let early = ws.call("userDataStream.subscribe", json!({})).await;
    assert_eq!((&early["status"], &early["error"]["code"]), (&json!(401), &json!(-1002)));
    let hmac = ws.call("session.logon", sign_ws(ALICE, json!({}))).await;
    assert_eq!(hmac["error"], json!({"code": -4056, "msg": "HMAC_SHA256 API key is not supported."}));
    let on = ws.call("session.logon", sign_ed25519(&key, "carol", json!({}))).await;
    assert_eq!((&on["status"], &on["result"]["apiKey"]), (&json!(200), &json!("carol")));
    assert!(on["result"]["authorizedSince"].is_u64());
    assert_eq!(ws.call("userDataStream.subscribe", json!({})).await["result"]["subscriptionId"], 0);
    let order = json!({"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "60000", "timestamp": now_ms()});
    let id = {
        ws.send(json!({"id": "o", "method": "order.place", "params": order}).to_string()).await;
        let (mut answer, mut report) = (None, None);
        while answer.is_none() || report.is_none() {
            let value = ws.json().await;
            if value["id"] == "o" {
                answer = Some(value);
            } else if value["event"]["e"] == "executionReport" {
                report = Some(value);
            }
        }
        let (answer, report) = (answer.unwrap(), report.unwrap());
        assert_eq!(answer["status"], 200, "{answer}");
        assert_eq!(answer["result"]["orderId"], report["event"]["i"]);
        answer["result"]["orderId"].clone()
    };
    let unstamped = ws.call("order.cancel", json!({"symbol": "BTCUSDT", "orderId": id})).await;
    assert_eq!(unstamped["error"]["code"], -1102, "a timestamp is still needed");
    let gone = ws.call("order.cancel", json!({"symbol": "BTCUSDT", "orderId": id, "timestamp": now_ms()})).await;
    assert_eq!(gone["result"]["status"], "CANCELED");
    ws.send(json!({"id": "out", "method": "session.logout"}).to_string()).await;
    let out = ws.json_where(|value| value["id"] == "out").await;
    assert_eq!((&out["result"]["apiKey"], &out["result"]["userDataStream"]), (&Value::Null, &json!(false)));
    let after = ws.call("account.status", json!({"timestamp": now_ms()})).await;
    assert_eq!(after["error"]["code"], -2014);
    venue.stop().await;
}

async fn listen(venue: &Fixture, method: Method, query: &str) -> crate::support::Reply {
    venue.send(method, "/api/v3/userDataStream", query, None, Some(ALICE.0)).await
}

#[tokio::test]
async fn n_10_listen_keys_serve_older_clients_until_they_expire() {
    let venue = Fixture::start(empty());
    let key = listen(&venue, Method::POST, "").await.ok()["listenKey"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 60);
    assert_eq!(
        listen(&venue, Method::POST, "").await.ok()["listenKey"],
        key.as_str(),
        "the same key while it is valid"
    );
    assert_eq!(listen(&venue, Method::PUT, &format!("listenKey={key}")).await.ok(), json!({}));
    let unknown = listen(&venue, Method::PUT, "listenKey=x").await;
    assert_eq!(
        (unknown.status, unknown.code(), unknown.body["msg"].as_str()),
        (400, -1125, Some("This listenKey does not exist."))
    );
    let mut raw = venue.ws(&format!("/ws/{key}")).await;
    let mut combined = venue.ws(&format!("/stream?streams={key}")).await;
    eventually("both listen", async || venue.handle.stats().user_streams == 2).await;
    venue.order(ALICE, "side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.5&price=60000").await;
    assert_eq!(raw.json().await["e"], "executionReport");
    let wrapped = combined.json().await;
    assert_eq!((&wrapped["stream"], &wrapped["data"]["e"]), (&json!(key), &json!("executionReport")));
    venue.handle.faults().expire_listen_keys();
    let expired = raw.json_where(|value| value["e"] == "listenKeyExpired").await;
    assert_eq!(expired["listenKey"], key.as_str());
    assert_eq!(listen(&venue, Method::PUT, &format!("listenKey={key}")).await.code(), -1125);
    let second = listen(&venue, Method::POST, "").await.ok()["listenKey"].as_str().unwrap().to_owned();
    assert_ne!(second, key);
    assert_eq!(listen(&venue, Method::DELETE, &format!("listenKey={second}")).await.status, 200);
    assert_eq!(listen(&venue, Method::DELETE, &format!("listenKey={second}")).await.code(), -1125);
    let nobody = venue.send(Method::POST, "/api/v3/userDataStream", "", None, Some("nobody")).await;
    assert_eq!((nobody.status, nobody.code()), (401, -2015));
    venue.stop().await;
}

#[tokio::test]
async fn order_lists_are_told_on_the_account_stream() {
    let venue = Fixture::start(empty());
    venue.seed_book().await;
    let mut ws: Ws = venue.ws("/ws-api/v3").await;
    ws.call_signed(ALICE, "userDataStream.subscribe.signature", json!({})).await;
    let list = venue
        .signed(ALICE, "POST", "/api/v3/orderList/oco", "symbol=BTCUSDT&side=SELL&quantity=0.1&aboveType=LIMIT_MAKER&abovePrice=61000&belowType=STOP_LOSS&belowStopPrice=59000")
        .await
        .ok();
    let status = ws.json_where(|value| value["event"]["e"] == "listStatus").await["event"].clone();
    assert_eq!(
        (&status["g"], &status["l"], &status["L"], &status["c"]),
        (&list["orderListId"], &json!("EXEC_STARTED"), &json!("EXECUTING"), &json!("OCO"))
    );
    assert_eq!(status["O"].as_array().unwrap().len(), 2);
    venue
        .signed(ALICE, "DELETE", "/api/v3/orderList", &format!("symbol=BTCUSDT&orderListId={}", list["orderListId"]))
        .await
        .ok();
    let done = ws.json_where(|value| value["event"]["L"] == "ALL_DONE").await["event"].clone();
    assert_eq!(done["g"], list["orderListId"]);
    venue.stop().await;
}
