//! The peer that trades as the product does: inline sink ► engine ► order gateway ► journal ► gate ► client ► socket, all on
//! one current-thread runtime. The client speaks the real codec and signs; only the venue's answers are made up.

use crate::frame::signer;
use crate::setup::{EveryKth, QuickVenue, SYMBOL, balances, decoder, engine_config, instruments};
use async_trait::async_trait;
use futures_util::SinkExt;
use futures_util::stream::{SplitSink, StreamExt};
use keel_engine::Engine;
use keel_exchange::binance::spot::codec::decode::Decoded;
use keel_exchange::binance::spot::codec::encode::encode_signed_submit_into;
use keel_exchange::binance::spot::sign::Signer;
use keel_exchange::{AccountSink, Capabilities, ExchangeClient, ExchangeError, FeedSink, SentInfo, UnknownResolution};
use keel_gateway::{
    Coordinator, CoordinatorLimits, CoordinatorParts, ExecutionSink, GatewayLimits, LaneCapacity, Lanes,
    LatencyRecorder, OpenOrderBoard, OrderGateway, OrderGatewayParts, SubmitGate, begin_session,
};
use keel_lifecycle::{Clock, Supervisor, TaskKind};
use keel_model::*;
use keel_store::{Durability, Journal, JournalOptions, SessionStart};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

const SOON: Duration = Duration::from_secs(20);

type Socket = SplitSink<WebSocketStream<TcpStream>, Message>;

/// Sends the signed order over the socket and answers that it was filled.
struct WireClient {
    socket: Mutex<(Socket, Vec<u8>)>,
    signer: Signer,
    venue: std::sync::Mutex<QuickVenue>,
    clock: Clock,
    capabilities: Capabilities,
}

impl std::fmt::Debug for WireClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireClient")
    }
}

#[async_trait]
impl ExchangeClient for WireClient {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    async fn instruments(&self, _symbols: &[String]) -> Result<Vec<Instrument>, ExchangeError> {
        Ok(instruments().iter().cloned().collect())
    }
    fn set_instruments(&self, _instruments: Arc<Instruments>) {}
    async fn server_time(&self) -> Result<Timestamp, ExchangeError> {
        Ok(Timestamp::from_ns(self.clock.now_ns()))
    }
    async fn submit(&self, order: &NewOrder, on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> SubmitOutcome {
        let now = Timestamp::from_ns(self.clock.now_ns());
        let (socket, body) = &mut *self.socket.lock().await;
        encode_signed_submit_into(body, &self.signer, SYMBOL, order, 5_000, now.as_ms()).unwrap();
        let text = Utf8Bytes::try_from(body.clone()).unwrap();
        on_sent(SentInfo { client_order_id: order.client_order_id, signed_at: now, recv_window_ms: 5_000 });
        socket.send(Message::Text(text)).await.unwrap();
        self.venue.lock().unwrap().fill_at_once(order, now)
    }
    async fn cancel(&self, _cancel: &CancelOrder) -> CancelOutcome {
        unreachable!("nothing rests here")
    }
    async fn replace(&self, _replace: &ReplaceOrder, _on_sent: &(dyn Fn(SentInfo) + Send + Sync)) -> ReplaceOutcome {
        unreachable!("nothing rests here")
    }
    async fn query(&self, _query: &QueryOrder) -> QueryOutcome {
        unreachable!("nothing is unknown here")
    }
    async fn open_orders(&self, _instrument: Option<InstrumentId>) -> Result<Vec<OrderSnapshot>, ExchangeError> {
        Ok(Vec::new())
    }
    async fn fills(
        &self,
        _instrument: InstrumentId,
        _since: Timestamp,
    ) -> Result<Vec<(Option<ClientOrderId>, Fill)>, ExchangeError> {
        Ok(Vec::new())
    }
    async fn balances(&self) -> Result<Vec<Balance>, ExchangeError> {
        Ok(balances())
    }
    async fn close(&self) -> Result<(), ExchangeError> {
        Ok(())
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        venue: "loopback",
        order_types: &[OrderType::Limit],
        times_in_force: &[TimeInForce::Ioc],
        has_replace: false,
        has_reduce_only: false,
        cancel_all_hits_foreign_orders: true,
        client_order_id_length_max: 36,
        unknown_resolution: UnknownResolution::Hold,
        connection_lifetime_max: None,
    }
}

/// Trades on each frame until the other side closes.
pub(crate) async fn trade(socket: WebSocketStream<TcpStream>, durability: Durability) {
    let (sink, mut frames) = socket.split();
    let folder =
        std::env::temp_dir().join(format!("keel-bench-{}-{:?}", std::process::id(), std::thread::current().id()));
    let supervisor = Supervisor::default();
    let clock = supervisor.clock();
    let options =
        JournalOptions { durability, ledger: supervisor.ledger(), ..JournalOptions::new(&folder, "paper", 7) };
    let (journal, recovered) = Journal::open(options).unwrap();
    let (instance, epoch) = (recovered.instance, recovered.epoch);
    let symbols = instruments().iter().map(|instrument| instrument.symbol).collect();
    begin_session(&journal, SessionStart { instance, epoch, symbols, ..SessionStart::default() }, SOON).await.unwrap();
    let lanes = Arc::new(Lanes::new(LaneCapacity::default(), supervisor.stop_signal()));
    let (gate, latency) = (Arc::new(SubmitGate::new()), Arc::new(LatencyRecorder::new()));
    let client = Arc::new(WireClient {
        socket: Mutex::new((sink, Vec::with_capacity(512))),
        signer: signer(),
        venue: std::sync::Mutex::default(),
        clock: clock.clone(),
        capabilities: capabilities(),
    });
    let gateway = OrderGateway::new(OrderGatewayParts {
        client: client.clone(),
        books_client: client,
        lanes: lanes.clone(),
        journal: journal.clone(),
        gate: gate.clone(),
        latency: latency.clone(),
        group: supervisor.group("execution").on(tokio::runtime::Handle::current()),
        stop: supervisor.stop_signal(),
        clock: clock.clone(),
        limits: GatewayLimits::default(),
    });
    let account = Arc::new(ExecutionSink::new(lanes.clone(), clock.clone()));
    let (coordinator, handle) = Coordinator::new(CoordinatorParts {
        engine: Engine::new(engine_config(instance, epoch), vec![Box::new(EveryKth::new(1))]).unwrap(),
        records: Vec::new(),
        lanes: lanes.clone(),
        gateway,
        account: Some(account.clone()),
        journal: journal.clone(),
        gate,
        board: Arc::new(OpenOrderBoard::new()),
        latency,
        stop: supervisor.stop_signal(),
        clock: clock.clone(),
        observer: Box::new(|_, _| {}),
        limits: CoordinatorLimits::default(),
    });
    let inline = coordinator.inline_sink();
    let group = supervisor.group("coordinator");
    drop(group.spawn_with("engine", TaskKind::Critical, move |token| coordinator.run(token)));
    account.on_state(FeedState::Live, Timestamp::from_ns(clock.now_ns()));
    handle.started(SOON).await.unwrap();

    let mut decoder = decoder();
    while let Some(Ok(message)) = frames.next().await {
        let Message::Text(text) = message else { continue };
        let now = Timestamp::from_ns(clock.now_ns());
        let Ok(Decoded::Market(event)) = decoder.decode(text.as_bytes(), now) else { panic!("not decoded") };
        inline.on_market(event);
    }
    assert!(group.stop(SOON).await.is_clean());
    supervisor.group("execution").stop(SOON).await;
    let end = handle.end().expect("an end");
    assert_eq!((end.status.orders_denied, end.open_orders), (0, 0));
    assert!(end.status.fills_total > 1_000);
    let micro = |ns: u64| ns as f64 / 1e3;
    for stage in handle.latency().stages {
        println!("    gateway: {:<36} {:>9.2} {:>9.2}", stage.name, micro(stage.p50_ns), micro(stage.p99_ns));
    }
    drop(handle);
    journal.close(SOON).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}
