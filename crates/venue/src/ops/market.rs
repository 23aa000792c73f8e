//! Public market data but the tickers.

use super::{Answer, Ctx};
use crate::api_error::ApiError;
use crate::encode::{self, STP_MODES};
use crate::json::Json;
use crate::limits::write_limits;
use crate::params::check_symbol;
use crate::stream_name::Interval;
use crate::words;
use keel_model::{Asset, Instrument, InstrumentStatus, Notional};

/// Most levels of a depth answer.
const DEPTH_MAX: usize = 5_000;
/// Order lists that may be open at once on a symbol.
const ORDER_LISTS_MAX: u32 = 20;

/// `GET /api/v3/time`.
pub(super) fn time(ctx: Ctx<'_>) -> Answer {
    ctx.params.finish()?;
    Ok(Json::object(ctx.unit, |j| j.time("serverTime", ctx.now)))
}

/// The status word of a symbol.
pub(super) fn status_word<'a>(instrument: &Instrument, word: Option<&'a str>) -> &'a str {
    word.unwrap_or(match instrument.status {
        InstrumentStatus::Trading => "TRADING",
        InstrumentStatus::CancelOnly => "CANCEL_ONLY",
        InstrumentStatus::Halted | InstrumentStatus::Unknown => "HALT",
    })
}

/// Reads `symbol` or `symbols`; `None` means all.
pub(super) fn wanted_symbols(ctx: Ctx<'_>) -> Result<Option<(Vec<u32>, bool)>, ApiError> {
    let one = ctx.opt_symbol()?;
    let many = ctx.params.opt_list("symbols")?;
    match (one, many) {
        (Some(_), Some(_)) => Err(ApiError::bad_combination()),
        (Some((at, _)), None) => Ok(Some((vec![at], true))),
        (None, None) => Ok(None),
        (None, Some(names)) => {
            let mut found = Vec::with_capacity(names.len());
            for name in &names {
                check_symbol("symbols", name)?;
                let (at, _) = ctx.venue.find_symbol(name)?;
                if found.contains(&at) {
                    return Err(ApiError::new(-1151, "Symbol is present multiple times in the list."));
                }
                found.push(at);
            }
            Ok(Some((found, false)))
        }
    }
}

/// `GET /api/v3/exchangeInfo`.
pub(super) fn exchange_info(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?;
    let permissions = ctx.params.opt_list("permissions")?;
    let with_sets = ctx.params.opt_bool("showPermissionSets")?.unwrap_or(true);
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    if wanted.is_some() && (permissions.is_some() || status.is_some()) {
        return Err(ApiError::bad_combination());
    }
    if status.as_deref().is_some_and(|status| !matches!(status, "TRADING" | "HALT" | "BREAK")) {
        return Err(ApiError::new(-1122, "Invalid symbolStatus."));
    }
    let is_spot = permissions.is_none_or(|list| list.iter().any(|permission| permission == "SPOT"));
    let core = ctx.venue.core.lock();
    Ok(Json::object(ctx.unit, |j| {
        j.str("timezone", "UTC");
        j.time("serverTime", ctx.now);
        j.arr("rateLimits", |j| write_limits(j, &ctx.venue.limits));
        j.arr("exchangeFilters", |_| ());
        j.arr("symbols", |j| {
            for (at, symbol) in core.symbols.iter().enumerate() {
                let Some(instrument) = core.engine.instrument(symbol.id) else { continue };
                let word = status_word(instrument, symbol.status_word.as_deref());
                let is_named = wanted.as_ref().is_none_or(|(list, _)| list.iter().any(|wanted| *wanted as usize == at));
                if is_named && is_spot && status.as_deref().is_none_or(|status| status == word) {
                    j.item_obj(|j| write_symbol(j, instrument, word, with_sets));
                }
            }
        });
    }))
}

fn write_symbol(j: &mut Json, instrument: &Instrument, status: &str, with_sets: bool) {
    j.str("symbol", instrument.symbol.as_str());
    j.str("status", status);
    j.str("baseAsset", instrument.base.as_str());
    j.num("baseAssetPrecision", 8);
    j.str("quoteAsset", instrument.quote.as_str());
    for name in ["quotePrecision", "quoteAssetPrecision", "baseCommissionPrecision", "quoteCommissionPrecision"] {
        j.num(name, 8);
    }
    j.arr("orderTypes", |j| {
        for word in
            ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
        {
            j.item_str(word);
        }
    });
    for (name, value) in [
        ("icebergAllowed", false),
        ("ocoAllowed", true),
        ("otoAllowed", false),
        ("opoAllowed", false),
        ("quoteOrderQtyMarketAllowed", true),
        ("allowTrailingStop", false),
        ("cancelReplaceAllowed", true),
        ("amendAllowed", true),
        ("pegInstructionsAllowed", false),
        ("isSpotTradingAllowed", true),
        ("isMarginTradingAllowed", false),
    ] {
        j.bool(name, value);
    }
    j.arr("filters", |j| write_filters(j, instrument));
    j.arr("permissions", |_| ());
    j.arr("permissionSets", |j| {
        if with_sets {
            j.item_arr(|j| j.item_str("SPOT"));
        }
    });
    j.str("defaultSelfTradePreventionMode", "EXPIRE_MAKER");
    j.arr("allowedSelfTradePreventionModes", |j| {
        STP_MODES.iter().for_each(|mode| j.item_str(words::stp_word(*mode)));
    });
}

/// The filters of a symbol.
pub(super) fn write_filters(j: &mut Json, instrument: &Instrument) {
    let mut filter = |name: &str, fill: &dyn Fn(&mut Json)| {
        j.item_obj(|j| {
            j.str("filterType", name);
            fill(j);
        });
    };
    filter("PRICE_FILTER", &|j| {
        j.dec("minPrice", instrument.min_price);
        j.dec("maxPrice", instrument.max_price);
        j.dec("tickSize", instrument.tick_size);
    });
    for (name, lot) in [("LOT_SIZE", &instrument.lot), ("MARKET_LOT_SIZE", &instrument.market_lot)] {
        filter(name, &|j| {
            j.dec("minQty", lot.min);
            j.dec("maxQty", lot.max);
            j.dec("stepSize", lot.step);
        });
    }
    if let Some(percent) = &instrument.percent_price {
        filter("PERCENT_PRICE_BY_SIDE", &|j| {
            for (name, value) in [
                ("bidMultiplierUp", percent.bid_up),
                ("bidMultiplierDown", percent.bid_down),
                ("askMultiplierUp", percent.ask_up),
                ("askMultiplierDown", percent.ask_down),
            ] {
                j.str(name, &value.normalized().to_string());
            }
            j.num("avgPriceMins", 5);
        });
    }
    filter("NOTIONAL", &|j| {
        j.dec("minNotional", instrument.min_notional);
        j.bool("applyMinToMarket", instrument.min_notional_applies_to_market);
        j.dec("maxNotional", instrument.max_notional.unwrap_or(Notional::from_int(9_000_000)));
        j.bool("applyMaxToMarket", false);
        j.num("avgPriceMins", 5);
    });
    filter("MAX_NUM_ORDERS", &|j| j.num("maxNumOrders", instrument.max_open_orders));
    filter("MAX_NUM_ORDER_LISTS", &|j| j.num("maxNumOrderLists", ORDER_LISTS_MAX));
    filter("MAX_NUM_ALGO_ORDERS", &|j| j.num("maxNumAlgoOrders", instrument.max_open_algo_orders));
}

/// `GET /api/v3/executionRules`: no symbol here has any.
pub(super) fn execution_rules(ctx: Ctx<'_>) -> Answer {
    let wanted = wanted_symbols(ctx)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    if wanted.is_some() && status.is_some() {
        return Err(ApiError::bad_combination());
    }
    let core = ctx.venue.core.lock();
    Ok(Json::object(ctx.unit, |j| {
        j.arr("symbolRules", |j| {
            for (at, symbol) in core.symbols.iter().enumerate() {
                if wanted.as_ref().is_none_or(|(list, _)| list.iter().any(|wanted| *wanted as usize == at)) {
                    j.item_obj(|j| {
                        j.str("symbol", &symbol.name);
                        j.arr("rules", |_| ());
                    });
                }
            }
        });
    }))
}

/// `GET /api/v3/depth`.
pub(super) fn depth(ctx: Ctx<'_>) -> Answer {
    let (at, _) = ctx.symbol()?;
    let limit = ctx.params.limit(100, DEPTH_MAX)?;
    let status = ctx.params.opt("symbolStatus")?.map(str::to_owned);
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    check_status(&core, at, status.as_deref())?;
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    let id = core.depth(at, limit, &mut bids, &mut asks);
    drop(core);
    Ok(encode::book(ctx.unit, id, &bids, &asks))
}

/// Refuses a symbol that is not in the state asked for.
pub(super) fn check_status(core: &crate::core::Core, at: u32, status: Option<&str>) -> Result<(), ApiError> {
    let Some(status) = status else { return Ok(()) };
    if !matches!(status, "TRADING" | "HALT" | "BREAK") {
        return Err(ApiError::new(-1122, "Invalid symbolStatus."));
    }
    let symbol = core.symbols.get(at as usize).ok_or_else(ApiError::bad_symbol)?;
    let instrument = core.engine.instrument(symbol.id).ok_or_else(ApiError::bad_symbol)?;
    if status_word(instrument, symbol.status_word.as_deref()) == status {
        return Ok(());
    }
    Err(ApiError::new(-1220, "The symbol's status does not match the requested symbolStatus."))
}

/// `GET /api/v3/trades` and `/historicalTrades`.
pub(super) fn trades(ctx: Ctx<'_>, is_historical: bool) -> Answer {
    let (_, instrument) = ctx.symbol()?;
    let limit = ctx.params.limit(500, 1_000)?;
    let from = if is_historical { ctx.params.opt_u64("fromId")? } else { None };
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let trades: Vec<_> = match from {
        Some(from) => {
            core.engine.public_trades(instrument).filter(|trade| trade.trade_id >= from).take(limit).collect()
        }
        None => {
            let mut last: Vec<_> = core.engine.public_trades(instrument).rev().take(limit).collect();
            last.reverse();
            last
        }
    };
    drop(core);
    Ok(Json::array(ctx.unit, |j| trades.iter().for_each(|trade| encode::write_trade(j, trade))))
}

/// `GET /api/v3/historicalBlockTrades`: there are none here.
pub(super) fn block_trades(ctx: Ctx<'_>) -> Answer {
    ctx.symbol()?;
    ctx.params.req_u64("fromId")?;
    ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    Ok("[]".to_owned())
}

/// `GET /api/v3/aggTrades`.
pub(super) fn agg_trades(ctx: Ctx<'_>) -> Answer {
    let (at, _) = ctx.symbol()?;
    let from = ctx.params.opt_u64("fromId")?;
    let (start, end) = (ctx.params.opt_time("startTime")?, ctx.params.opt_time("endTime")?);
    let limit = ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    if from.is_some() && (start.is_some() || end.is_some()) {
        return Err(ApiError::bad_combination());
    }
    let core = ctx.venue.core.lock();
    let aggs = core.symbols.get(at as usize).map(|symbol| &symbol.aggs);
    let matching = aggs.into_iter().flatten().filter(|agg| {
        from.is_none_or(|from| agg.id >= from)
            && start.is_none_or(|start| agg.ts.as_ms() >= start.as_ms())
            && end.is_none_or(|end| agg.ts.as_ms() <= end.as_ms())
    });
    let is_forward = from.is_some() || start.is_some();
    let matching: Vec<_> = if is_forward {
        matching.take(limit).copied().collect()
    } else {
        let mut last: Vec<_> = matching.rev().take(limit).copied().collect();
        last.reverse();
        last
    };
    drop(core);
    Ok(Json::array(ctx.unit, |j| {
        for agg in &matching {
            j.item_obj(|j| encode::write_agg(j, agg));
        }
    }))
}

/// `GET /api/v3/klines` and `/uiKlines`.
pub(super) fn klines(ctx: Ctx<'_>) -> Answer {
    let (_, instrument) = ctx.symbol()?;
    let interval = ctx.params.req("interval")?;
    let interval = Interval::parse(interval).ok_or_else(|| ApiError::new(-1120, "Invalid interval."))?;
    let (start, end) = (ctx.params.opt_time("startTime")?, ctx.params.opt_time("endTime")?);
    let limit = ctx.params.limit(500, 1_000)?;
    let offset_minutes = ctx.params.opt("timeZone")?.map_or(Ok(0), time_zone)?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let window = (start.map(|ts| ts.as_ms()), end.map(|ts| ts.as_ms()));
    let klines = core.klines(instrument, interval.span(), offset_minutes, window, limit)?;
    drop(core);
    Ok(Json::array(ctx.unit, |j| klines.iter().for_each(|kline| encode::write_kline(j, kline))))
}

/// Reads `8`, `-1:00` or `05:45` as minutes ahead of UTC, from -12:00 to +14:00.
pub(super) fn time_zone(text: &str) -> Result<i64, ApiError> {
    let wrong = || ApiError::invalid("timeZone");
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = plain.split_once(':').unwrap_or((plain, "0"));
    let part = |text: &str| text.parse::<u8>().ok().filter(|_| text.len() <= 2).map(i64::from);
    let (hours, minutes) = part(hours).zip(part(minutes).filter(|minutes| *minutes < 60)).ok_or_else(wrong)?;
    let total = sign * (hours * 60 + minutes);
    if (-12 * 60..=14 * 60).contains(&total) { Ok(total) } else { Err(wrong()) }
}

/// `GET /api/v3/avgPrice`.
pub(super) fn avg_price(ctx: Ctx<'_>) -> Answer {
    let (_, instrument) = ctx.symbol()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let price = core.engine.average_price(instrument).unwrap_or_default();
    let last = core.engine.public_trades(instrument).next_back().map(|trade| trade.ts);
    drop(core);
    Ok(Json::object(ctx.unit, |j| {
        j.num("mins", 5);
        j.dec("price", price);
        j.time("closeTime", last.unwrap_or(ctx.now));
    }))
}

/// `GET /api/v3/referencePrice`: no symbol here has one.
pub(super) fn reference_price(ctx: Ctx<'_>) -> Answer {
    ctx.symbol()?;
    ctx.params.ignore(&["symbolStatus"]);
    ctx.params.finish()?;
    Err(ApiError::new(-2043, "This symbol doesn't have a reference price."))
}

/// All assets that symbols here are made of.
pub(super) fn assets(core: &crate::core::Core) -> Vec<Asset> {
    let mut assets: Vec<Asset> =
        core.engine.instruments().flat_map(|instrument| [instrument.base, instrument.quote]).collect();
    assets.sort_unstable();
    assets.dedup();
    assets
}

#[cfg(test)]
mod tests {
    use super::time_zone;

    #[test]
    fn time_zones_are_read_within_their_bounds() {
        for (text, minutes) in
            [("0", 0), ("8", 480), ("+8", 480), ("-1:00", -60), ("05:45", 345), ("14:00", 840), ("-12", -720)]
        {
            assert_eq!(time_zone(text), Ok(minutes), "{text}");
        }
        for text in ["", "x", "14:01", "-12:01", "1:60", "1:2:3", "--1", "100"] {
            assert!(time_zone(text).is_err(), "{text}");
        }
    }
}
