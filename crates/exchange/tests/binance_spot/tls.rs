//! Encrypted connections: certificates are checked, and nothing falls back to plain text (N-03). The certificates beside
//! this file are for `localhost` and were made for these tests alone.

use crate::server::{Reply, Server, buy, hear, instruments, say, until, usual, wall_ms};
use keel_exchange::binance::spot::{BinanceSpot, BinanceSpotConfig, Credentials};
use keel_exchange::{ExchangeClient, ExchangeError, FeedSink, MarketDataFeed, Subscription};
use keel_lifecycle::{Clock, ResourceLedger};
use keel_model::{FeedState, InstrumentId, MarketEvent, NotSentReason, StreamKind, SubmitOutcome, Timestamp};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const CA: &str = include_str!("tls/ca.pem");
const CERTIFICATE: &str = include_str!("tls/server.pem");
const KEY: &str = include_str!("tls/server-key.pem");

/// Takes encrypted connections and passes them on to `to` in plain text.
async fn front(to: SocketAddr) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let (Ok(mut outer), Ok(mut inner)) = (acceptor.accept(stream).await, TcpStream::connect(to).await) {
                    drop(tokio::io::copy_bidirectional(&mut outer, &mut inner).await);
                }
            });
        }
    });
    port
}

async fn server() -> Server {
    Server::start(|request| {
        usual(request, wall_ms()).unwrap_or_else(|| match request.path.as_str() {
            "/api/v3/depth" => Reply::Json(200, r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#.into()),
            _ => {
                Reply::Json(200, r#"{"symbol":"BTCUSDT","orderId":1,"clientOrderId":"k1-1-1","transactTime":1}"#.into())
            }
        })
    })
    .await
}

fn venue(host: &str, port: u16, roots: Option<&str>) -> (Arc<BinanceSpot>, ResourceLedger) {
    let config = BinanceSpotConfig {
        rest_url: format!("https://{host}:{port}"),
        stream_url: format!("wss://{host}:{port}"),
        ws_api_url: format!("wss://{host}:{port}/ws-api/v3"),
        extra_roots_pem: roots.map(str::to_owned),
        connect_timeout_ms: 1_000,
        ..BinanceSpotConfig::live()
    }
    .with_credentials(Credentials::hmac("key", "secret"));
    let ledger = ResourceLedger::default();
    (BinanceSpot::new(config, Clock::system(), ledger.clone()).unwrap(), ledger)
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<FeedState>>);

impl FeedSink for Seen {
    fn on_market(&self, _event: &MarketEvent) {}
    fn on_state(&self, _stream: StreamKind, state: FeedState, _ts: Timestamp) {
        self.0.lock().push(state);
    }
}

#[tokio::test]
async fn rest_and_streams_work_encrypted() {
    let server = server().await;
    let port = front(server.addr).await;
    let (venue, ledger) = venue("localhost", port, Some(CA));
    let client = venue.client();
    client.set_instruments(instruments(&["BTCUSDT"]));
    for _ in 0..3 {
        let outcome = client.submit(&buy(1, "1", "1"), &|_| {}).await;
        assert!(matches!(outcome, SubmitOutcome::Accepted(_)), "{outcome:?}");
    }
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::SeqCst), 1, "kept alive");
    let wanted = Subscription { instrument: InstrumentId(0), top_of_book: true, depth: true, trades: true };
    let feed = Box::new(venue.market_feed(instruments(&["BTCUSDT"]), vec![wanted]));
    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let task = tokio::spawn(feed.run(seen.clone(), stop.clone()));
    let (_, mut socket) = server.websocket().await;
    hear(&mut socket).await;
    say(&mut socket, r#"{"result":null,"id":1}"#).await;
    until("live", || seen.0.lock().last() == Some(&FeedState::Live)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    client.close().await.unwrap();
    assert_eq!(ledger.total(), 0, "{:?}", ledger.live());
}

#[tokio::test]
async fn n03_certificates_that_nobody_vouches_for_or_of_another_name_are_refused() {
    let server = server().await;
    let port = front(server.addr).await;
    for (host, roots) in [("localhost", None), ("127.0.0.1", Some(CA))] {
        let (venue, ledger) = venue(host, port, roots);
        let client = venue.client();
        client.set_instruments(instruments(&["BTCUSDT"]));
        let error = client.server_time().await.unwrap_err();
        let ExchangeError::Connect { cause, .. } = &error else { panic!("{error}") };
        assert!(cause.to_lowercase().contains("certificate"), "{cause}");
        let outcome = client.submit(&buy(1, "1", "1"), &|_| panic!("said to be sent")).await;
        assert_eq!(outcome, SubmitOutcome::NotSent(NotSentReason::NotConnected));
        client.close().await.unwrap();
        assert_eq!(ledger.total(), 0);
    }
    assert!(server.requests.lock().is_empty(), "nothing in plain text either");
}

#[tokio::test]
async fn n03_a_handshake_that_is_cut_or_never_answered_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            // The first is cut, the others are held in silence.
            if held.is_empty() {
                held.push(None);
            } else {
                held.push(Some(stream));
            }
        }
    });
    let (venue, ledger) = venue("localhost", port, Some(CA));
    let client = venue.client();
    for _ in 0..2 {
        assert!(matches!(client.server_time().await, Err(ExchangeError::Connect { .. })));
    }
    client.close().await.unwrap();
    assert_eq!(ledger.total(), 0);
}

#[test]
fn roots_that_are_none_are_refused_at_the_start() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KEY] {
        let config = BinanceSpotConfig { extra_roots_pem: Some(pem.into()), ..BinanceSpotConfig::live() };
        let error = BinanceSpot::new(config, Clock::system(), ResourceLedger::default()).unwrap_err();
        assert!(error.to_string().contains("extra_roots_pem"), "{error}");
    }
}
