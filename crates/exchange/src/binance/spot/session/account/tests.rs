//! Account sessions against scripted venues.

use super::*;
use crate::binance::spot::session::backoff::ConnectBudget;
use crate::binance::spot::sign::Credentials;
use crate::binance::spot::testing::instruments;
use keel_model::Balance;
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Seen {
    reports: Mutex<Vec<ExecutionReport>>,
    balances: Mutex<Vec<Balance>>,
    states: Mutex<Vec<FeedState>>,
}

impl AccountSink for Seen {
    fn on_report(&self, report: ExecutionReport) {
        self.reports.lock().push(report);
    }
    fn on_balances(&self, balances: Vec<Balance>, _ts_event: Timestamp) {
        self.balances.lock().extend(balances);
    }
    fn on_state(&self, state: FeedState, _ts: Timestamp) {
        self.states.lock().push(state);
    }
}

struct Script {
    session: AccountSession,
    budget: ConnectBudget,
    signer: Signer,
    sink: Seen,
    now_ms: u64,
}

const OK: &str = r#"{"id":1,"status":200,"result":{"subscriptionId":0}}"#;

fn report(id: u64, status: &str) -> String {
    format!(
        r#"{{"subscriptionId":0,"event":{{"e":"executionReport","E":5,"s":"BTCUSDT","c":"k1-1-{id}","S":"BUY","q":"1","p":"10","C":"",
        "x":"NEW","X":"{status}","r":"NONE","i":{id},"l":"0","z":"0","L":"0","n":"0","N":null,"T":5,"t":-1,"m":false}}}}"#
    )
}

impl Script {
    fn new(config: StreamConfig) -> Self {
        let symbols = SymbolTable::new(&instruments(&["BTCUSDT"]));
        let signer = Signer::new(&Credentials::hmac("key", "secret")).unwrap();
        let session = AccountSession::new(config, 5_000, symbols, 3);
        Self { session, budget: ConnectBudget::new(100), signer, sink: Seen::default(), now_ms: 1_000 }
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp::from_ms(self.now_ms), mono_ns: ms(self.now_ms) }
    }

    fn tick(&mut self) -> Vec<Action> {
        let mut out = Vec::new();
        let now = self.now();
        let Self { session, budget, sink, .. } = self;
        session.tick(now, &mut |at| budget.take(at), &mut out, sink);
        out
    }

    fn connected(&mut self, id: LinkId) -> Vec<Action> {
        let mut out = Vec::new();
        let now = self.now();
        self.session.connected(id, &self.signer, Timestamp::from_ms(77), now, &mut out);
        out
    }

    fn frame(&mut self, id: LinkId, text: &str) -> Vec<Action> {
        let mut out = Vec::new();
        let time = Some(Timestamp::from_ms(78));
        let now = self.now();
        self.session.frame(id, text.as_bytes(), &self.signer, time, now, &mut out, &self.sink);
        out
    }

    fn closed(&mut self, id: LinkId) {
        let now = self.now();
        self.session.closed(id, "reset", now, &self.sink);
    }

    fn states(&self) -> Vec<FeedState> {
        std::mem::take(&mut *self.sink.states.lock())
    }

    fn live(config: StreamConfig) -> Self {
        let mut script = Self::new(config);
        assert_eq!(script.tick(), [Action::Connect(LinkId(1))]);
        let sent = script.connected(LinkId(1));
        let [Action::Send(LinkId(1), text)] = sent.as_slice() else { panic!("{sent:?}") };
        assert!(text.contains("userDataStream.subscribe.signature") && text.contains("\"timestamp\":77"), "{text}");
        assert!(script.states().is_empty());
        assert_eq!(script.frame(LinkId(1), OK), []);
        assert_eq!(script.states(), [FeedState::Live]);
        script
    }
}

#[test]
fn a_signed_subscription_makes_it_live_and_reports_flow() {
    let mut script = Script::live(StreamConfig::default());
    script.frame(LinkId(1), &report(1, "NEW"));
    script.frame(LinkId(1), &report(1, "NEW"));
    assert_eq!(script.sink.reports.lock().len(), 2, "on one connection nothing is dropped");
    let balances = r#"{"event":{"e":"outboundAccountPosition","E":1,"u":1,"B":[{"a":"BTC","f":"1","l":"0"}]}}"#;
    script.frame(LinkId(1), balances);
    assert_eq!(script.sink.balances.lock().len(), 1);
}

#[test]
fn n10_an_expired_subscription_is_made_anew_and_live_again_says_reconcile() {
    let mut script = Script::live(StreamConfig::default());
    let sent = script.frame(LinkId(1), r#"{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}"#);
    assert!(matches!(sent.as_slice(), [Action::Send(LinkId(1), text)] if text.contains("\"id\":2")), "{sent:?}");
    script.frame(LinkId(1), r#"{"id":2,"status":200,"result":{"subscriptionId":1}}"#);
    assert_eq!(script.states(), [FeedState::Live]);
}

#[test]
fn n08_what_the_stream_does_not_tell_in_full_asks_for_reconciliation() {
    let mut script = Script::live(StreamConfig::default());
    for frame in [
        r#"{"event":{"e":"balanceUpdate","E":1,"T":1}}"#,
        r#"{"event":{"e":"externalLockUpdate","E":1,"a":"BTC","d":"1","T":1}}"#,
        &report(1, "STATUS_OF_2027"),
        "{\"event\":",
        r#"{"event":{"e":"executionReport","s":"BTCUSDT"}}"#,
    ] {
        script.frame(LinkId(1), frame);
        assert_eq!(script.states(), [FeedState::Live], "{frame}");
    }
}

#[test]
fn a_lost_connection_is_down_and_live_again_after_the_next_subscription() {
    let mut script = Script::live(StreamConfig::default());
    script.closed(LinkId(1));
    assert_eq!(script.states(), [FeedState::Down]);
    script.now_ms += 200;
    assert_eq!(script.tick(), [Action::Connect(LinkId(2))]);
    script.connected(LinkId(2));
    script.frame(LinkId(2), r#"{"id":2,"status":200,"result":{"subscriptionId":0}}"#);
    assert_eq!(script.states(), [FeedState::Live]);
    script.frame(LinkId(1), &report(9, "NEW"));
    assert!(script.sink.reports.lock().is_empty(), "the dead connection says nothing");
}

#[test]
fn v23_refused_keys_end_the_session() {
    let mut script = Script::new(StreamConfig::default());
    script.tick();
    script.connected(LinkId(1));
    let refused =
        r#"{"id":1,"status":401,"error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}"#;
    let out = script.frame(LinkId(1), refused);
    let [Action::GiveUp(ExchangeError::Credentials { cause, .. })] = out.as_slice() else { panic!("{out:?}") };
    assert!(cause.contains("Invalid API-key"));
}

#[test]
fn t01_a_refused_time_is_measured_anew_on_a_new_connection() {
    let mut script = Script::new(StreamConfig::default());
    script.tick();
    script.connected(LinkId(1));
    let out = script.frame(LinkId(1), r#"{"id":1,"status":400,"error":{"code":-1021,"msg":"Timestamp"}}"#);
    assert_eq!(out, [Action::MeasureClock, Action::Close(LinkId(1))]);
    script.now_ms += 200;
    assert_eq!(script.tick(), [Action::Connect(LinkId(2))]);
}

#[test]
fn a_subscription_without_an_answer_is_tried_on_a_new_connection() {
    let mut script = Script::new(StreamConfig::default());
    script.tick();
    script.connected(LinkId(1));
    let mut actions = Vec::new();
    for _ in 0..60 {
        script.now_ms += 100;
        let now = script.now();
        script.session.heard(LinkId(1), now);
        actions.extend(script.tick());
    }
    assert_eq!(actions, [Action::Close(LinkId(1)), Action::Connect(LinkId(2))]);
}

#[test]
fn n09_a_roll_over_tells_reports_once_and_is_never_down() {
    let mut script = Script::live(StreamConfig::default());
    script.frame(LinkId(1), &report(1, "NEW"));
    script.frame(LinkId(1), r#"{"event":{"e":"serverShutdown","E":1}}"#);
    assert_eq!(script.tick(), [Action::Connect(LinkId(2))]);
    script.connected(LinkId(2));
    // Both tell of the same orders while they overlap.
    script.frame(LinkId(2), &report(1, "NEW"));
    script.frame(LinkId(2), &report(2, "NEW"));
    script.frame(LinkId(1), &report(2, "NEW"));
    let out = script.frame(LinkId(2), r#"{"id":2,"status":200,"result":{"subscriptionId":0}}"#);
    assert_eq!(out, [Action::Close(LinkId(1))]);
    assert_eq!(script.states(), [FeedState::Live], "said again, so that the system reconciles");
    assert_eq!(script.sink.reports.lock().len(), 2);
    assert_eq!((script.session.counts().duplicates, script.session.counts().roll_overs), (2, 1));
}
