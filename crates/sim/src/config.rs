//! Settings of the engine and of its models. Defaults are those of Binance spot at its lowest tier.

use crate::types::StpMode;
use keel_model::Quantity;
use std::time::Duration;

/// Fee rates as plain fractions of what is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeModel {
    /// For orders that rested.
    pub maker: Quantity,
    /// For orders that took.
    pub taker: Quantity,
}

impl Default for FeeModel {
    fn default() -> Self {
        let tenth_percent = Quantity::new(100_000, 8).unwrap_or(Quantity::ZERO);
        Self { maker: tenth_percent, taker: tenth_percent }
    }
}

impl FeeModel {
    /// No fees.
    pub const FREE: Self = Self { maker: Quantity::ZERO, taker: Quantity::ZERO };
}

/// How long a request takes to the engine and a report back: a constant and a uniform jitter on top, from the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyModel {
    /// Least time from sending a request to its execution.
    pub order_in: Duration,
    /// Most time added to it.
    pub order_in_jitter: Duration,
    /// Least time from an execution to the arrival of its report.
    pub report_out: Duration,
    /// Most time added to it.
    pub report_out_jitter: Duration,
}

/// How the queue in front of a resting order moves in a recorded market.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueModel {
    /// Only trades at the price shorten the queue (and a level that shows less than the queue caps it): pessimistic.
    #[default]
    RiskAverse,
    /// Of what leaves a level without a trade, the part in front of the order leaves in proportion to the queue.
    Proportional,
    /// No queue: the first trade at the price fills; optimistic, for upper bounds only.
    Front,
}

/// How much of a resting order one event of a recorded market fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillModel {
    /// No more than the recording traded or shows, and what is taken is gone until it is shown anew: what a real venue
    /// could have done.
    #[default]
    Recorded,
    /// All that is left of the order, whatever the recorded quantity: when a trade goes through its price, when trades at its
    /// price have taken more than stood in front of it, or when the recorded book reaches its price from the other side;
    /// nothing is taken from the recorded book. Each order is looked at by itself. This is the rule of hftbacktest's
    /// exchange without partial fills, for comparisons with it; for orders that are small beside the market the difference
    /// is small.
    Whole,
}

/// How many entries each history keeps; the oldest is dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Open orders over all accounts; at the limit new ones are refused ([`crate::Reject::VenueFull`]).
    pub open_orders_max: usize,
    /// Closed orders over all accounts.
    pub closed_orders_max: usize,
    /// Trades of one account on one instrument.
    pub account_trades_max: usize,
    /// Public trades of one instrument.
    pub public_trades_max: usize,
    /// One-minute candles of one instrument (longer candles are made of them).
    pub klines_minute_max: usize,
    /// One-second candles of one instrument.
    pub klines_second_max: usize,
    /// Closed order lists over all accounts.
    pub closed_lists_max: usize,
    /// Events not yet drained; at the limit market data events are dropped and counted, account events never are.
    pub events_max: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            open_orders_max: 1 << 20,
            closed_orders_max: 100_000,
            account_trades_max: 20_000,
            public_trades_max: 10_000,
            klines_minute_max: 20_000,
            klines_second_max: 3_600,
            closed_lists_max: 10_000,
            events_max: 1 << 20,
        }
    }
}

/// Where the liquidity of an instrument comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarketKind {
    /// From the orders of accounts alone.
    #[default]
    Internal,
    /// From a recording or another venue's live data, fed with [`crate::MatchingEngine::on_market`]; orders of accounts
    /// trade with it and with each other. What they take is gone for them until it is shown anew, but the recorded book,
    /// tape and candles stay as they were: trades of accounts do not show up there.
    External,
    /// From best prices alone: quotes, or bars ([`crate::MatchingEngine::bar_open`]). No depth and no queue; see
    /// `engine/touch.rs` for what fills when.
    Touch,
}

/// Where a market order fills in a market of bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BarFill {
    /// At the price at hand: the close of the bar that it was decided on.
    #[default]
    Close,
    /// At the open of the next bar.
    NextOpen,
}

/// Settings of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Seed of every random number.
    pub seed: u64,
    /// Fee rates.
    pub fees: FeeModel,
    /// Latency, for [`crate::config`]'s users that queue requests; the engine itself acts at the time it is given.
    pub latency: LatencyModel,
    /// Queue position in recorded markets.
    pub queue: QueueModel,
    /// What fills resting orders in recorded markets.
    pub fills: FillModel,
    /// Self-trade prevention of orders that do not choose.
    pub stp_default: StpMode,
    /// Where market orders fill in markets of bars.
    pub bar_fill: BarFill,
    /// How much worse than the best price takers fill in markets of quotes or bars; unit: basis points.
    pub slippage_bps: u32,
    /// How much of a bar's volume can be filled; zero means any quantity; unit: basis points.
    pub participation_bps: u32,
    /// Most value of perpetuals per unit of equity; unit: whole times.
    pub leverage_max: u32,
    /// Equity per value of perpetuals at which the venue closes them; unit: basis points.
    pub maintenance_margin_bps: u32,
    /// Bounds of the histories.
    pub limits: HistoryLimits,
    /// Report public trades and book changes as events? A backtest does not need them.
    pub publish_market_data: bool,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            fees: FeeModel::default(),
            latency: LatencyModel::default(),
            queue: QueueModel::default(),
            fills: FillModel::default(),
            stp_default: StpMode::default(),
            bar_fill: BarFill::default(),
            slippage_bps: 0,
            participation_bps: 0,
            leverage_max: 1,
            maintenance_margin_bps: 50,
            limits: HistoryLimits::default(),
            publish_market_data: true,
        }
    }
}
