//! Limits from the venue's headers are kept, and holds are honoured.

use crate::server::{Reply, Server, buy, id, instruments, usual, wall_ms};
use keel_exchange::{ExchangeClient, ExchangeError};
use keel_model::{CancelOrder, CancelOutcome, InstrumentId, NotSentReason, SubmitOutcome};

fn cancel() -> CancelOrder {
    CancelOrder { client_order_id: id(1), venue_order_id: None, instrument: InstrumentId(0) }
}

#[tokio::test]
async fn v15_after_a_429_nothing_leaves_until_retry_after() {
    let server = Server::start(|request| {
        usual(request, wall_ms()).unwrap_or_else(|| {
            Reply::With(429, "retry-after: 30\r\n", r#"{"code":-1003,"msg":"Too much request weight used"}"#.into())
        })
    })
    .await;
    let client = server.venue().0.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    let outcome = client.submit(&buy(1, "1", "1"), &|_| {}).await;
    assert!(matches!(outcome, SubmitOutcome::Rejected(_)), "surely not executed: {outcome:?}");
    let before = server.requests.lock().len();
    assert_eq!(
        client.submit(&buy(2, "1", "1"), &|_| panic!("sent")).await,
        SubmitOutcome::NotSent(NotSentReason::RateLimited)
    );
    assert_eq!(client.cancel(&cancel()).await, CancelOutcome::NotSent(NotSentReason::RateLimited));
    let Err(ExchangeError::RateLimited { retry_after_ms, .. }) = client.balances().await else { panic!() };
    assert!((20_000..=31_000).contains(&retry_after_ms), "{retry_after_ms}");
    assert_eq!(server.requests.lock().len(), before);
    client.close().await.unwrap();
}

#[tokio::test]
async fn weight_and_order_counts_in_headers_stop_placements_before_the_venue_does_and_cancels_last() {
    let body = r#"{"symbol":"BTCUSDT","orderId":1,"clientOrderId":"k1-1-1","transactTime":1,"origClientOrderId":"k1-1-1","price":"1","origQty":"1","executedQty":"0","status":"CANCELED","side":"BUY"}"#;
    let server = Server::start(move |request| {
        usual(request, wall_ms()).unwrap_or_else(|| {
            let headers = "x-mbx-used-weight-1m: 5900\r\nx-mbx-order-count-10s: 100\r\n";
            Reply::With(200, headers, body.to_owned())
        })
    })
    .await;
    let (venue, _) = server.venue();
    let client = venue.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    assert!(matches!(client.submit(&buy(1, "1", "1"), &|_| {}).await, SubmitOutcome::Accepted(_)));
    // Within the same minute and ten seconds, as far as a test can know.
    if venue.weight_used().0 >= 5_900 {
        let second = client.submit(&buy(2, "1", "1"), &|_| {}).await;
        let canceled = client.cancel(&cancel()).await;
        if venue.weight_used().0 > 5_900 {
            assert_eq!(second, SubmitOutcome::NotSent(NotSentReason::RateLimited));
            assert!(matches!(canceled, CancelOutcome::Canceled(_)), "{canceled:?}");
        }
    }
    client.close().await.unwrap();
}
