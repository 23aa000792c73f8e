//! What is made once and shared by every world of a thread: instruments as the venue states them, keys, configuration.
//!
//! Invariant: nothing in it changes while worlds run.

use keel_engine::EngineConfig;
use keel_exchange::binance::spot::codec::answers;
use keel_exchange::binance::spot::sign::Signer;
use keel_exchange::binance::spot::symbols::SymbolTable;
use keel_exchange::binance::spot::{Credentials, StreamConfig};
use keel_execution::{ExecutionConfig, UnknownRule};
use keel_lifecycle::Clock;
use keel_model::instrument::LotRule;
use keel_model::{
    Asset, InlineStr, Instrument, InstrumentId, InstrumentKind, InstrumentStatus, Instruments, Notional, Price,
    Quantity,
};
use keel_risk::{InstrumentLimits, RiskLimits};
use keel_sim::FeeModel;
use keel_venue::{AccountConfig, FaceConfig, FaceRequest, VenueContext, VenueFace, VenueLimits};

/// How far questions may lag behind, as the venue promises; unit: milliseconds.
pub const LAG_BOUND_MS: u64 = 2_000;
/// The same while it answers 5xx; unit: milliseconds.
pub const LAG_BOUND_DEGRADED_MS: u64 = 4_000;
/// Largest position of one bot in one instrument, projected; unit: lots of 0.01.
pub const POSITION_LOTS_MAX: i64 = 40;
/// Decimal places of prices and quantities.
pub const SCALE: u8 = 2;
/// How long a call waits for its answer; unit: milliseconds.
pub const CALL_TIMEOUT_MS: u64 = 2_500;
/// Bots on the one account; their instances are 1, 2, ….
pub const BOTS: usize = 2;

const KEY: &str = "simulated-key";
const SECRET: &str = "simulated-secret";

/// What worlds share.
#[derive(Debug)]
pub struct Kit {
    /// The account's keys.
    pub signer: Signer,
    /// Instruments, as read from the venue's own answer.
    pub instruments: Instruments,
    /// Their symbols.
    pub symbols: SymbolTable,
    /// How stream sessions behave.
    pub streams: StreamConfig,
    pub(crate) face: FaceConfig,
    pub(crate) context: VenueContext,
    limits: RiskLimits,
}

fn instrument(id: u32, symbol: &str, base: &str) -> Instrument {
    let cent = |mantissa| Price::new(mantissa, SCALE).unwrap_or(Price::ZERO);
    let lot = |mantissa| Quantity::new(mantissa, SCALE).unwrap_or(Quantity::ZERO);
    Instrument {
        id: InstrumentId(id),
        symbol: InlineStr::truncated(symbol),
        base: Asset::truncated(base),
        quote: Asset::truncated("USDT"),
        kind: InstrumentKind::Spot,
        status: InstrumentStatus::Trading,
        tick_size: cent(1),
        min_price: cent(1),
        max_price: cent(100_000_000),
        lot: LotRule { min: lot(1), max: lot(100_000_000), step: lot(1) },
        market_lot: LotRule { min: lot(1), max: lot(100_000_000), step: lot(1) },
        min_notional: Notional::ZERO,
        min_notional_applies_to_market: false,
        max_notional: None,
        percent_price: None,
        max_open_orders: 200,
        max_open_algo_orders: 20,
    }
}

impl Kit {
    /// Makes everything. The instruments go once through the venue's `exchangeInfo` and the adapter's codec.
    pub fn new() -> Result<Self, String> {
        let assets = [("USDT", 1_000_000), ("AAA", 10_000), ("BBB", 10_000)];
        let balances =
            assets.iter().map(|(asset, amount)| (Asset::truncated(asset), Notional::from_int(*amount))).collect();
        let face = FaceConfig {
            instruments: vec![instrument(0, "AAAUSDT", "AAA"), instrument(1, "BBBUSDT", "BBB")],
            accounts: vec![AccountConfig { balances, ..AccountConfig::hmac(KEY, SECRET) }],
            limits: VenueLimits::unlimited(),
            fees: FeeModel::default(),
            seed: 0,
        };
        let context = VenueContext { clock: Clock::manual_at(1), ..VenueContext::standalone() };
        let venue = VenueFace::new(&face, context.clone()).map_err(|error| error.to_string())?;
        let request = FaceRequest { method: "GET", path: "/api/v3/exchangeInfo", query: "", body: "", api_key: None };
        let info = answers::exchange_info(venue.handle(request, None).body.as_bytes())?;
        let mut instruments = Instruments::new();
        for instrument in info.instruments {
            instruments.upsert(instrument).ok_or("too many instruments")?;
        }
        let most = |id| {
            let position_quantity_max = Quantity::new(POSITION_LOTS_MAX, SCALE).ok();
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
        Ok(Self {
            signer: Signer::new(&Credentials::hmac(KEY, SECRET)).map_err(|error| error.to_string())?,
            symbols: SymbolTable::new(&instruments),
            instruments,
            streams: StreamConfig { backoff_max_ms: 2_000, ..StreamConfig::default() },
            face,
            context,
            limits,
        })
    }

    /// A venue at the beginning of its life, on a clock of its own.
    pub(crate) fn venue(&self, seed: u64, clock: Clock, limits: VenueLimits) -> Result<VenueFace, String> {
        let config = FaceConfig { seed, limits, ..self.face.clone() };
        let context = VenueContext { clock, ..self.context.clone() };
        VenueFace::new(&config, context).map_err(|error| error.to_string())
    }

    /// The configuration of one start of one bot.
    pub(crate) fn engine(&self, instance: u32, epoch: u32, recv_window_ms: u64) -> EngineConfig {
        let execution = ExecutionConfig {
            instance,
            epoch,
            unknown_rule: UnknownRule::Fence {
                staleness_bound_ms: LAG_BOUND_MS,
                staleness_bound_degraded_ms: LAG_BOUND_DEGRADED_MS,
            },
            recv_window_ms,
            // Some bots give up on an answer before their calls do, so that answers also come after that.
            answer_timeout_ms: if recv_window_ms.is_multiple_of(4) { 1_000 } else { 2 * CALL_TIMEOUT_MS },
            query_timeout_ms: CALL_TIMEOUT_MS + 1_000,
            ..ExecutionConfig::default()
        };
        EngineConfig {
            instruments: self.instruments.clone(),
            limits: self.limits.clone(),
            execution,
            has_replace: true,
            reconcile_interval_ms: 3_000,
            reconcile_timeout_ms: CALL_TIMEOUT_MS + 1_000,
            ..EngineConfig::default()
        }
    }
}
