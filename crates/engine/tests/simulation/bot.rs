//! The bot: the real engine, with the smallest gateway and journal that keep the rules, or break one of them.

use keel_engine::{Engine, EngineConfig, RecoveredRecord};
use keel_execution::{ExecutionConfig, UnknownRule};
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, ClientOrderId, InlineStr, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Notional,
    OrderIntent, OrderPurpose, Price, Quantity, Side,
};
use keel_risk::{InstrumentLimits, RiskLimits};
use keel_strategy::{Context, Strategy, Subscription};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::venue::LAG_MS_MAX;
use crate::world::Rng;

/// Largest position in lots, projected.
pub(crate) const POSITION_LOTS_MAX: i64 = 40;

/// How a gateway can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Nothing,
    /// A time-out is taken for a refusal.
    TimeoutIsRefusal,
    /// A time-out is answered by sending once more.
    ResendOnTimeout,
    /// The intent is written after it was sent.
    PersistAfterSend,
    /// "Not found" is told with a time far ahead, as if it always proved something.
    NotFoundProves,
    /// "Not found" is told with our own clock, and the lag of queries is not allowed for.
    FenceByLocalClock,
    /// The restart does not read the journal.
    ForgetJournal,
    /// A cancel that was refused is taken for a cancelled order.
    CancelRejectIsCanceled,
}

impl Wrong {
    pub(crate) const ALL: [Self; 7] = [
        Self::TimeoutIsRefusal,
        Self::ResendOnTimeout,
        Self::PersistAfterSend,
        Self::NotFoundProves,
        Self::FenceByLocalClock,
        Self::ForgetJournal,
        Self::CancelRejectIsCanceled,
    ];
}

fn instrument(symbol: &str, base: &str) -> Instrument {
    Instrument {
        id: InstrumentId(0),
        symbol: InlineStr::new(symbol).unwrap(),
        base: Asset::new(base).unwrap(),
        quote: Asset::new("USDT").unwrap(),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: Price::new(1, 2).unwrap(),
        min_price: Price::new(1, 2).unwrap(),
        max_price: Price::ZERO,
        lot: LotRule { min: Quantity::new(1, 2).unwrap(), max: Quantity::ZERO, step: Quantity::new(1, 2).unwrap() },
        market_lot: LotRule::default(),
        min_notional: Notional::ZERO,
        min_notional_applies_to_market: false,
        max_notional: None,
        percent_price: None,
        max_open_orders: 0,
        max_open_algo_orders: 0,
    }
}

fn config(epoch: u32, recv_window_ms: u64, wrong: Wrong) -> EngineConfig {
    let mut instruments = Instruments::new();
    instruments.upsert(instrument("AUSDT", "A")).unwrap();
    instruments.upsert(instrument("BUSDT", "B")).unwrap();
    let most = |id| {
        let position_quantity_max = Some(Quantity::new(POSITION_LOTS_MAX, 2).unwrap());
        (InstrumentId(id), InstrumentLimits { position_quantity_max, ..InstrumentLimits::default() })
    };
    let limits = RiskLimits {
        order_rate_per_s: 1_000,
        order_burst: 1_000,
        duplicate_window_ms: 0,
        reference_age_ms_max: 3_600_000,
        daily_loss_max: Notional::from_int(1_000_000),
        per_instrument: vec![most(0), most(1)],
        ..RiskLimits::default()
    };
    let bound = if wrong == Wrong::FenceByLocalClock { 1 } else { LAG_MS_MAX };
    let execution = ExecutionConfig {
        instance: 1,
        epoch,
        unknown_rule: UnknownRule::Fence { staleness_bound_ms: bound, staleness_bound_degraded_ms: 2 * LAG_MS_MAX },
        recv_window_ms,
        answer_timeout_ms: 6_000,
        query_timeout_ms: 3_500,
        ..ExecutionConfig::default()
    };
    EngineConfig {
        instruments,
        limits,
        execution,
        reconcile_interval_ms: 2_000,
        reconcile_timeout_ms: 3_500,
        ..EngineConfig::default()
    }
}

/// What the strategy is allowed to do, set from outside.
#[derive(Debug)]
pub(crate) struct Mood {
    pub(crate) rng: Rng,
    pub(crate) is_active: bool,
}

/// Asks for random orders and cancels, far more than risk allows.
#[derive(Debug)]
struct Greedy {
    mood: Arc<Mutex<Mood>>,
}

impl Strategy for Greedy {
    fn name(&self) -> &str {
        "greedy"
    }
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::top_of_book(InstrumentId(0)), Subscription::top_of_book(InstrumentId(1))]
    }
    fn on_timer(&mut self, ctx: &mut Context<'_>) {
        let mut mood = self.mood.lock().unwrap();
        if !mood.is_active {
            return;
        }
        let open: Vec<ClientOrderId> = ctx.open_orders().map(|order| order.client_order_id).collect();
        match mood.rng.below(8) {
            0..=2 => {
                let side = if mood.rng.below(2) == 0 { Side::Buy } else { Side::Sell };
                // Buys below, sells above: orders of ours never meet.
                let at = if side == Side::Buy { 9_900 } else { 10_100 } + mood.rng.below(50) as i64;
                let quantity = Quantity::new(1 + mood.rng.below(20) as i64, 2).unwrap();
                let (id, price) = (InstrumentId(mood.rng.below(2) as u32), Price::new(at, 2).unwrap());
                let intent = OrderIntent::limit(id, side, quantity, price, OrderPurpose::Entry);
                match open.first() {
                    Some(old) if mood.rng.below(5) == 0 => ctx.replace(*old, intent),
                    _ => ctx.submit(intent),
                };
            }
            3 => {
                if let Some(id) = open.get(mood.rng.below(open.len().max(1) as u64) as usize) {
                    ctx.cancel(*id);
                }
            }
            _ => {}
        }
    }
}

/// The bot of one start. What outlives it is the journal.
pub(crate) struct Bot {
    pub(crate) engine: Engine,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) is_started: bool,
    /// Orders that this start took for dead.
    pub(crate) dead: BTreeSet<ClientOrderId>,
}

impl Bot {
    pub(crate) fn new(epoch: u32, recv_window_ms: u64, seed: u64, wrong: Wrong) -> Self {
        let mood = Arc::new(Mutex::new(Mood { rng: Rng::new(seed), is_active: true }));
        let strategy = Greedy { mood: Arc::clone(&mood) };
        let engine = Engine::new(config(epoch, recv_window_ms, wrong), vec![Box::new(strategy)]).unwrap();
        Self { engine, mood, is_started: false, dead: BTreeSet::new() }
    }
}

/// The journal: what is below `synced` survives a loss of power, the rest only the end of the process.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) records: Vec<RecoveredRecord>,
    pub(crate) synced: usize,
}

impl Journal {
    pub(crate) fn append(&mut self, record: RecoveredRecord) {
        self.records.push(record);
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.records.len();
    }

    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        let unsynced = (self.records.len() - self.synced) as u64;
        self.records.truncate(self.synced + rng.below(unsynced + 1) as usize);
        self.synced = self.records.len();
    }
}
