//! `[backtest]` of the configuration, checked.

use super::layers::Layers;
use super::schema::RawBacktest;
use crate::error::LaunchError;
use keel_model::{Asset, InstrumentKind, Notional, Price, Quantity};
use keel_sim::{BarFill, QueueModel};
use std::time::Duration;

/// What a backtest trades, with what, and how the simulated venue fills.
#[derive(Clone, Debug, PartialEq)]
pub struct BacktestSettings {
    /// Spot or perpetual.
    pub kind: InstrumentKind,
    /// The asset that prices are in.
    pub quote_asset: Asset,
    /// Of the quote asset at the start.
    pub balance_quote: Notional,
    /// Of each base asset at the start.
    pub balance_base: Notional,
    /// Price step; `None`: told by the data.
    pub tick: Option<Price>,
    /// Quantity step; `None`: told by the data.
    pub lot: Option<Quantity>,
    /// Least value of an order; zero: none.
    pub notional_min: Notional,
    /// Fee of orders that rested, as a fraction.
    pub maker_fee: Quantity,
    /// Fee of orders that took, as a fraction.
    pub taker_fee: Quantity,
    /// Where market orders fill on bars.
    pub fill: BarFill,
    /// Unit: basis points.
    pub slippage_bps: u32,
    /// Of a bar's volume; zero: any quantity; unit: basis points.
    pub participation_bps: u32,
    /// Each way; zero: none at all.
    pub latency: Duration,
    /// Most that is added to each way.
    pub latency_jitter: Duration,
    /// Queue in front of resting orders.
    pub queue: QueueModel,
    /// Unit: whole times.
    pub leverage_max: u32,
    /// Unit: basis points.
    pub maintenance_margin_bps: u32,
    /// Rows before anything may be opened.
    pub warmup_rows: u64,
    /// How often the engine is told the time.
    pub timer: Duration,
}

/// Places of a fee rate.
const RATE_SCALE: u8 = 8;

/// What `[backtest]` says.
pub(super) fn settings(layers: &Layers, raw: &RawBacktest) -> Result<BacktestSettings, LaunchError> {
    let refuse = |key: &str, cause: String, remedy: &str| {
        LaunchError::config(layers.origin("backtest", key), format!("`backtest.{key}`: {cause}"), remedy)
    };
    let money = |key: &str, text: &str| {
        text.parse::<Notional>().map_err(|error| refuse(key, error.to_string(), "write an exact decimal"))
    };
    let quantity = |key: &str, text: &str| {
        text.parse::<Quantity>().map_err(|error| refuse(key, error.to_string(), "write an exact decimal"))
    };
    let fee = |key: &str, text: &str| {
        let bps = quantity(key, text)?.normalized();
        let rate = Quantity::new(bps.mantissa(), bps.scale().saturating_add(4)).ok();
        rate.filter(|rate| rate.scale() <= RATE_SCALE)
            .ok_or_else(|| refuse(key, format!("{text} has more than four decimal places"), "write fewer"))
    };
    let quote_asset = Asset::new(&raw.quote_asset).ok().filter(|asset| !asset.is_empty());
    let tick = quantity("tick_quote", &raw.tick_quote)?;
    let balance_base = money("balance_base", &raw.balance_base)?;
    let kind = if raw.instrument == "perpetual" { InstrumentKind::LinearPerpetual } else { InstrumentKind::Spot };
    if kind != InstrumentKind::Spot && balance_base.is_positive() {
        let cause = "perpetuals are settled in the quote asset".to_owned();
        return Err(refuse("balance_base", cause, "leave it out, or set `backtest.instrument` to spot"));
    }
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(BacktestSettings {
        kind,
        quote_asset: quote_asset.ok_or_else(|| {
            refuse("quote_asset", format!("'{}' is not an asset", raw.quote_asset), "write it as the venue does: USDT")
        })?,
        balance_quote: money("balance_quote", &raw.balance_quote)?,
        balance_base,
        tick: Price::new(tick.mantissa(), tick.scale()).ok().filter(|tick| tick.is_positive()),
        lot: Some(quantity("lot_base", &raw.lot_base)?).filter(|lot| lot.is_positive()),
        notional_min: money("notional_min_quote", &raw.notional_min_quote)?,
        maker_fee: fee("maker_fee_bps", &raw.maker_fee_bps)?,
        taker_fee: fee("taker_fee_bps", &raw.taker_fee_bps)?,
        fill: if raw.fill == "close" { BarFill::Close } else { BarFill::NextOpen },
        slippage_bps: narrow(raw.slippage_bps),
        participation_bps: narrow(raw.participation_bps),
        latency: Duration::from_micros(raw.latency_us),
        latency_jitter: Duration::from_micros(raw.latency_jitter_us),
        queue: match raw.queue.as_str() {
            "proportional" => QueueModel::Proportional,
            "front" => QueueModel::Front,
            _ => QueueModel::RiskAverse,
        },
        leverage_max: narrow(raw.leverage_max_count),
        maintenance_margin_bps: narrow(raw.maintenance_margin_bps),
        warmup_rows: raw.warmup_count,
        timer: Duration::from_secs_f64(raw.timer_s),
    })
}
