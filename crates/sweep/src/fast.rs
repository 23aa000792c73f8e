//! The fast level: which strategies have a kernel, and with what rule, side and size.
//!
//! A kernel takes a strategy's decisions at the closes of bars; it knows no spread, no latency, no funding and no lot limits
//! but the quantity step. Where a setting asks for something that no kernel does, the strategy has none, and the reason says
//! which setting it is: never a result that silently leaves it out.

use crate::SweepError;
use crate::backend::{Control, Job, SweepBackend};
use crate::kernel::bars::Bars;
use crate::kernel::rule::{Beginning, Combination, FillAt, Outcome, Rule, Sides, Size, Terms};
use crate::kernel::run::Stretch;
use crate::kernel::series::Series;
use keel_strategy::{Params, Settings, StrategyError, StrategyInfo, bollinger_breakout, ema_cross, ema_cross_flip};

/// What of a market the fast level takes part in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Market {
    /// Money at the beginning. Unit: quote asset.
    pub cash: f64,
    /// Share of the value of each fill of a market order.
    pub fee: f64,
    /// Share of the price that a market order loses.
    pub slippage: f64,
    /// Step of the quantity; 0: none. Unit: base asset.
    pub quantity_step: f64,
    /// Step of the price; 0: none. Unit: quote asset.
    pub tick: f64,
    /// Length of the bars. Unit: seconds.
    pub bar_s: u64,
    /// May positions be short?
    pub can_short: bool,
    /// Where market orders fill.
    pub fill: FillAt,
}

/// A strategy as a kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// Rule, stop and target.
    pub combination: Combination,
    /// How it trades.
    pub terms: Terms,
}

/// The kernel of a strategy with these parameters.
///
/// # Errors
/// Parameters that the strategy refuses, or a setting that no kernel does.
pub fn kernel(strategy: &'static StrategyInfo, params: &Params, market: &Market) -> Result<Kernel, SweepError> {
    let settings = Settings::check(strategy.name, strategy.params, params)?;
    let no = |cause: String| {
        Err(SweepError::BadTerms(format!("strategy `{}` has no kernel {cause}; use --level exact", strategy.name)))
    };
    if !settings.exits().is_empty() {
        return no("with the section [exits]".to_owned());
    }
    let terms = Terms {
        fee: market.fee,
        slippage: market.slippage,
        fill: market.fill,
        tick: market.tick,
        beginning: Beginning::AtOnce,
        has_daily: true,
        ..Terms::new(market.cash)
    };
    let made = match strategy.name {
        ema_cross::NAME => ema_cross_kernel(&settings, market, terms)?,
        ema_cross_flip::NAME => flip_kernel(&settings, terms)?,
        bollinger_breakout::NAME => bollinger_kernel(&settings, market, terms)?,
        _ => return no("of its own".to_owned()),
    };
    let kernel = match made {
        Ok(kernel) => kernel,
        Err(cause) => return no(cause),
    };
    let bar_s = settings.whole("bar_s")?;
    if bar_s != market.bar_s {
        return no(format!("for bar_s {bar_s} over bars of {} s", market.bar_s));
    }
    if kernel.terms.sides == Sides::LongShort && !market.can_short {
        return no("that sells short on a spot market".to_owned());
    }
    kernel.terms.check()?;
    kernel.combination.check()?;
    Ok(kernel)
}

type Made = Result<Kernel, String>;

fn ema_cross_kernel(settings: &Settings, market: &Market, terms: Terms) -> Result<Made, StrategyError> {
    if settings.word("entry")? != "market" {
        return Ok(Err("for limit orders (entry = \"limit\")".to_owned()));
    }
    let rule = Rule::EmaCross { fast: settings.count("fast_bars_count")?, slow: settings.count("slow_bars_count")? };
    let stop = settings.real("stop_loss_bps")? / 1e4;
    let value = settings.money("order_notional_quote")?.to_f64();
    let size = Size::Notional { value, step: market.quantity_step };
    Ok(Ok(Kernel { combination: Combination { stop, ..Combination::plain(rule) }, terms: Terms { size, ..terms } }))
}

fn flip_kernel(settings: &Settings, terms: Terms) -> Result<Made, StrategyError> {
    if settings.word("input")? != "bars" {
        return Ok(Err("for quotes (input = \"quotes\")".to_owned()));
    }
    let (fast, slow) = (settings.count("fast_bars_count")?, settings.count("slow_bars_count")?);
    let warmup = match settings.count("warmup_count")? {
        0 => slow,
        count => count,
    };
    let is_level = settings.word("signal")? == "level";
    let sides = if settings.word("sides")? == "both" { Sides::LongShort } else { Sides::LongOnly };
    let beginning = if is_level { Beginning::AtOnce } else { Beginning::AwaitCross };
    let size = Size::Quantity(settings.money("order_quantity_base")?.to_f64());
    // A cross may come with the first decision; the input before it is what it is compared with.
    let first = if is_level { warmup.saturating_sub(1) } else { warmup.saturating_sub(2) };
    let rule = Rule::EmaFlip { fast, slow, first, is_long_at_equal: is_level };
    Ok(Ok(Kernel { combination: Combination::plain(rule), terms: Terms { sides, size, beginning, ..terms } }))
}

fn bollinger_kernel(settings: &Settings, market: &Market, terms: Terms) -> Result<Made, StrategyError> {
    if settings.real("squeeze_bps")? > 0.0 {
        return Ok(Err("with squeeze_bps".to_owned()));
    }
    let sides = match settings.word("direction")? {
        "short" => return Ok(Err("for direction = \"short\"".to_owned())),
        // On spot it is long only, whatever the direction.
        "both" if market.can_short => Sides::LongShort,
        _ => Sides::LongOnly,
    };
    let (period, width) = (settings.count("bars_count")?, settings.real("width")?);
    let size = Size::Notional { value: settings.money("order_notional_quote")?.to_f64(), step: market.quantity_step };
    let rule = Rule::Bollinger { period, width };
    let combination = Combination { stop_at: Some(Series::band(period, 0.0)), ..Combination::plain(rule) };
    Ok(Ok(Kernel { combination, terms: Terms { sides, size, ..terms } }))
}

/// Sets of parameters over a stretch of bars, on the device that is expected to be the fastest.
///
/// # Errors
/// A set without a kernel; a device that failed; [`SweepError::Stopped`].
pub fn evaluate(
    strategy: &'static StrategyInfo,
    sets: &[Params],
    market: &Market,
    (bars, stretch): (&Bars, Stretch),
    backends: &[&dyn SweepBackend],
    control: &Control,
) -> Result<Vec<Outcome>, SweepError> {
    let kernels = sets.iter().map(|params| kernel(strategy, params, market)).collect::<Result<Vec<_>, _>>()?;
    let mut outcomes = vec![Outcome::default(); sets.len()];
    // Sets that trade under the same terms are one job; a sweep over the size has several.
    let mut left: Vec<usize> = (0..kernels.len()).collect();
    while let Some(terms) = left.first().and_then(|at| kernels.get(*at)).map(|kernel| kernel.terms) {
        let (these, others): (Vec<usize>, Vec<usize>) =
            left.into_iter().partition(|at| kernels.get(*at).is_some_and(|kernel| kernel.terms == terms));
        left = others;
        let of = |at: &usize| kernels.get(*at).map(|kernel| kernel.combination);
        let combinations: Vec<Combination> = these.iter().filter_map(of).collect();
        let job = Job { bars, stretch, combinations: &combinations, terms: &terms };
        let backend = crate::backend::cheapest(backends, &job).ok_or_else(|| SweepError::Backend {
            backend: "any".to_owned(),
            cause: "there is no device to compute on".to_owned(),
        })?;
        for (at, outcome) in these.into_iter().zip(backend.run(&job, control)?) {
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = outcome;
            }
        }
    }
    Ok(outcomes)
}
