//! Tickers: 24 hours, trading day, any window, last price, best bid and ask.

use super::market::{check_status, time_zone, wanted_symbols};
use super::{Answer, Ctx};
use crate::api_error::ApiError;
use crate::core::{Core, Symbol};
use crate::encode::Figures;
use crate::json::Json;

/// One object for a symbol, an array for several.
fn each(
    ctx: Ctx<'_>,
    wanted: Option<(Vec<u32>, bool)>,
    status: Option<&str>,
    write: impl Fn(&mut Json, &Core, &Symbol),
) -> Answer {
    let core = ctx.venue.core.lock();
    let (list, is_single) = wanted.unwrap_or_else(|| ((0..core.symbols.len() as u32).collect(), false));
    if is_single {
        let at = list.first().copied().unwrap_or_default();
        check_status(&core, at, status)?;
        let symbol = core.symbols.get(at as usize).ok_or_else(ApiError::bad_symbol)?;
        return Ok(Json::object(ctx.unit, |j| write(j, &core, symbol)));
    }
    let kept = list.into_iter().filter(|at| check_status(&core, *at, status).is_ok());
    let symbols: Vec<&Symbol> = kept.filter_map(|at| core.symbols.get(at as usize)).collect();
    Ok(Json::array(ctx.unit, |j| {
        for symbol in symbols {
            j.item_obj(|j| write(j, &core, symbol));
        }
    }))
}

fn is_mini(ctx: Ctx<'_>) -> Result<bool, ApiError> {
    match ctx.params.opt("type")? {
        None | Some("FULL") => Ok(false),
        Some("MINI") => Ok(true),
        Some(_) => Err(ApiError::new(-1139, "Invalid ticker type.")),
    }
}

/// `GET /api/v3/ticker/24hr`.
pub(super) fn day(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?;
    let is_mini = is_mini(ctx)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    each(ctx, wanted, status.as_deref(), |j, core, symbol| {
        j.str("symbol", &symbol.name);
        let Some(day) = core.engine.ticker_24h(symbol.id) else { return };
        let figures = Figures::of_day(&day);
        if is_mini {
            figures.write_mini(j);
            return;
        }
        figures.write_rest_head(j);
        j.dec("prevClosePrice", day.previous_close);
        j.dec("lastPrice", day.last);
        j.dec("lastQty", day.last_quantity);
        j.dec("bidPrice", day.bid.price);
        j.dec("bidQty", day.bid.quantity);
        j.dec("askPrice", day.ask.price);
        j.dec("askQty", day.ask.quantity);
        j.dec("openPrice", day.open);
        j.dec("highPrice", day.high);
        j.dec("lowPrice", day.low);
        j.dec("volume", day.volume);
        j.dec("quoteVolume", day.quote_volume);
        figures.write_rest_tail(j);
    })
}

fn write_window(j: &mut Json, symbol: &Symbol, figures: Option<Figures>, is_mini: bool) {
    j.str("symbol", &symbol.name);
    let Some(figures) = figures else { return };
    if is_mini {
        figures.write_mini(j);
        return;
    }
    figures.write_rest_head(j);
    j.dec("openPrice", figures.open);
    j.dec("highPrice", figures.high);
    j.dec("lowPrice", figures.low);
    j.dec("lastPrice", figures.last);
    j.dec("volume", figures.volume);
    j.dec("quoteVolume", figures.quote_volume);
    figures.write_rest_tail(j);
}

/// `GET /api/v3/ticker`.
pub(super) fn window(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?.ok_or_else(|| ApiError::one_of("symbol", "symbols"))?;
    let minutes = window_minutes(ctx.params.opt("windowSize")?.unwrap_or("1d"))?;
    let is_mini = is_mini(ctx)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    each(ctx, Some(wanted), status.as_deref(), |j, core, symbol| {
        write_window(j, symbol, core.window(symbol.id, minutes, ctx.now), is_mini);
    })
}

/// `1m`…`59m`, `1h`…`23h`, `1d`…`7d`.
fn window_minutes(text: &str) -> Result<u64, ApiError> {
    let wrong = || ApiError::invalid("windowSize");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "m" if (1..=59).contains(&number) => Ok(number),
        "h" if (1..=23).contains(&number) => Ok(number * 60),
        "d" if (1..=7).contains(&number) => Ok(number * 1_440),
        _ => Err(wrong()),
    }
}

/// `GET /api/v3/ticker/tradingDay`: since midnight of a time zone.
pub(super) fn trading_day(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?.ok_or_else(|| ApiError::one_of("symbol", "symbols"))?;
    let is_mini = is_mini(ctx)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    let offset_minutes = ctx.params.opt("timeZone")?.map_or(Ok(0), time_zone)?;
    ctx.params.finish()?;
    let minutes = (ctx.now.as_ms() / 60_000).saturating_add_signed(offset_minutes) % 1_440;
    each(ctx, Some(wanted), status.as_deref(), |j, core, symbol| {
        write_window(j, symbol, core.window(symbol.id, minutes, ctx.now), is_mini);
    })
}

/// `GET /api/v3/ticker/price`.
pub(super) fn price(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    each(ctx, wanted, status.as_deref(), |j, core, symbol| {
        j.str("symbol", &symbol.name);
        j.dec("price", core.engine.last_price(symbol.id).unwrap_or_default());
    })
}

/// `GET /api/v3/ticker/bookTicker`.
pub(super) fn book(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    each(ctx, wanted, status.as_deref(), |j, core, symbol| {
        j.str("symbol", &symbol.name);
        let Ok(top) = core.engine.book_ticker(symbol.id) else { return };
        j.dec("bidPrice", top.bid.price);
        j.dec("bidQty", top.bid.quantity);
        j.dec("askPrice", top.ask.price);
        j.dec("askQty", top.ask.quantity);
    })
}
