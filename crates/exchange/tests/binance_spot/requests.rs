//! The client's requests against the independent oracle's: method, path and parameters, without either side's habits.

use crate::server::{Reply, Request, Server, buy, id, instruments, usual, wall_ms};
use keel_exchange::ExchangeClient;
use keel_model::{CancelOrder, InstrumentId, QueryOrder, ReplaceOrder, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Depends on clock or secret, or is a habit of one of the two.
const LEFT_OUT: [&str; 5] = ["timestamp", "signature", "recvWindow", "newOrderRespType", "newClientOrderId"];

type Params = BTreeMap<String, String>;

/// Method and parameters of the oracle's requests to a path.
fn oracle(method: &str, path: &str) -> Option<Vec<Params>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/dev/requests.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: {} is not there", file.display());
        return None;
    };
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let found = rows
        .filter(|row| row["exchange"] == "binance" && row["http"]["method"] == method && row["http"]["path"] == path);
    Some(
        found
            .map(|row| {
                let both = [&row["http"]["query"], &row["http"]["body"]];
                let pairs = both.iter().filter_map(|part| part.as_object()).flatten();
                pairs
                    .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
                    .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                    .collect()
            })
            .collect(),
    )
}

fn params(request: &Request) -> Params {
    let pairs = request.params.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| !LEFT_OUT.contains(name))
        .map(|(name, value)| {
            let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
            (name.to_owned(), value.into_owned())
        })
        .collect()
}

#[tokio::test]
async fn requests_use_the_paths_and_parameters_that_the_independent_oracle_uses() {
    let server = Server::start(|request| {
        usual(request, wall_ms()).unwrap_or_else(|| match request.path.as_str() {
            "/api/v3/exchangeInfo" => Reply::Json(200, r#"{"symbols":[]}"#.into()),
            "/api/v3/myTrades" | "/api/v3/openOrders" => Reply::Json(200, "[]".into()),
            _ => Reply::Json(400, r#"{"code":-1100,"msg":"scripted"}"#.into()),
        })
    })
    .await;
    let client = server.venue().0.client();
    client.set_instruments(instruments(&["ETHUSDT"]));
    let eth = InstrumentId(0);
    let cancel = CancelOrder { client_order_id: id(1), venue_order_id: None, instrument: eth };
    client.cancel(&cancel).await;
    client.query(&QueryOrder { client_order_id: id(1), instrument: eth }).await;
    drop(client.open_orders(Some(eth)).await);
    drop(client.fills(eth, Timestamp::from_ms(1_735_603_200_123)).await);
    drop(client.balances().await);
    drop(client.instruments(&[]).await);
    client.replace(&ReplaceOrder { cancel, new: buy(2, "2534.23", "0.0123") }, &|_| {}).await;
    client.close().await.unwrap();
    let mut checked = 0;
    for request in server.requests.lock().iter() {
        let Some(rows) = oracle(&request.method, &request.path) else { return };
        let own = params(request);
        // What identifies the order differs by design: the oracle mostly asks by the venue's id, we by ours.
        let names = |params: &Params| -> Vec<String> {
            let same = |name: &String| match name.as_str() {
                "orderId" | "origClientOrderId" => "order".to_owned(),
                "cancelOrderId" | "cancelOrigClientOrderId" => "cancel order".to_owned(),
                other => other.to_owned(),
            };
            let mut names: Vec<String> = params
                .keys()
                .map(same)
                .filter(|name| !["limit", "omitZeroBalances"].contains(&name.as_str()))
                .collect();
            names.sort();
            names
        };
        let is_used = rows.iter().any(|row| names(row) == names(&own));
        if rows.is_empty() {
            continue;
        }
        assert!(is_used, "{} {}: {own:?} is none of {rows:?}", request.method, request.path);
        if let Some(same) = rows.iter().find(|row| names(row) == names(&own) && row.get("symbol") == own.get("symbol"))
        {
            for name in ["side", "type", "timeInForce", "cancelReplaceMode"] {
                assert_eq!(same.get(name), own.get(name), "{name}");
            }
        }
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}
