//! An account's orders, trades, balances, limits and listenKeys.

use super::market::write_filters;
use super::order_params::order_ref;
use super::{Answer, Ctx};
use crate::api_error::ApiError;
use crate::encode::{self, rate_text};
use crate::json::Json;
use crate::words;
use keel_model::{InstrumentId, Timestamp};
use keel_sim::{AccountTrade, OrderRef, OrderView};

/// Longest span of a history query.
const SPAN_MAX_MS: u64 = 24 * 3_600 * 1_000;

fn check_span(start: Option<Timestamp>, end: Option<Timestamp>) -> Result<(), ApiError> {
    if let (Some(start), Some(end)) = (start, end)
        && end.as_ms().saturating_sub(start.as_ms()) > SPAN_MAX_MS
    {
        return Err(ApiError::new(-1127, "More than 24 hours between startTime and endTime."));
    }
    Ok(())
}

/// `GET /api/v3/order`.
pub(super) fn query_order(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let which = order_ref(ctx.params, "orderId", "origClientOrderId")?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let order = match ctx.view {
        None => core.engine.order(account, instrument, which)?,
        Some(view) => {
            let known = core.reports.order(account, instrument, which, view, ctx.now);
            known.ok_or(keel_sim::Reject::NoSuchOrder)?
        }
    };
    let labels = core.labels(order.order_id);
    Ok(Json::object(ctx.unit, |j| encode::write_queried(j, core.name_of(instrument), &order, labels)))
}

/// `GET /api/v3/openOrders`.
pub(super) fn open_orders(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let one = ctx.opt_symbol()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let instruments: Vec<InstrumentId> = match one {
        Some((_, instrument)) => vec![instrument],
        None => core.symbols.iter().map(|symbol| symbol.id).collect(),
    };
    Ok(Json::array(ctx.unit, |j| {
        for instrument in instruments {
            let mut write = |order: &OrderView| {
                let labels = core.labels(order.order_id);
                j.item_obj(|j| encode::write_queried(j, core.name_of(instrument), order, labels));
            };
            match ctx.view {
                None => core.engine.open_orders(account, instrument).for_each(|order| write(&order)),
                Some(view) => {
                    let known = core.reports.orders(account, instrument, view, ctx.now);
                    known.iter().filter(|order| order.state.is_open()).for_each(write);
                }
            }
        }
    }))
}

/// `GET /api/v3/allOrders`.
pub(super) fn all_orders(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let from = ctx.params.opt_u64("orderId")?;
    let (start, end) = (ctx.params.opt_time("startTime")?, ctx.params.opt_time("endTime")?);
    let limit = ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    check_span(start, end)?;
    let core = ctx.venue.core.lock();
    let in_span = |order: &OrderView| {
        start.is_none_or(|start| order.ts_created.as_ms() >= start.as_ms())
            && end.is_none_or(|end| order.ts_created.as_ms() <= end.as_ms())
    };
    let (from, is_forward) = (from.unwrap_or_default(), from.is_some() || start.is_some());
    let orders: Vec<OrderView> = match ctx.view {
        None => take(core.engine.orders(account, instrument, from).filter(in_span), limit, is_forward),
        Some(view) => {
            let known = core.reports.orders(account, instrument, view, ctx.now).into_iter();
            take(known.filter(|order| order.order_id >= from && in_span(order)), limit, is_forward)
        }
    };
    Ok(Json::array(ctx.unit, |j| {
        for order in &orders {
            let labels = core.labels(order.order_id);
            j.item_obj(|j| encode::write_queried(j, core.name_of(instrument), order, labels));
        }
    }))
}

/// The first rows, or the last ones; oldest first either way.
fn take<T>(rows: impl DoubleEndedIterator<Item = T>, limit: usize, is_forward: bool) -> Vec<T> {
    if is_forward {
        return rows.take(limit).collect();
    }
    let mut last: Vec<T> = rows.rev().take(limit).collect();
    last.reverse();
    last
}

/// `GET /api/v3/myTrades`.
pub(super) fn my_trades(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let order = ctx.params.opt_u64("orderId")?;
    let (start, end) = (ctx.params.opt_time("startTime")?, ctx.params.opt_time("endTime")?);
    let from = ctx.params.opt_u64("fromId")?;
    let limit = ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    check_span(start, end)?;
    if (start.is_some() || end.is_some()) && (from.is_some() || order.is_some()) {
        return Err(ApiError::bad_combination());
    }
    let core = ctx.venue.core.lock();
    let matching = core.engine.account_trades(account, instrument).filter(|trade: &&AccountTrade| {
        order.is_none_or(|order| trade.order_id == order)
            && from.is_none_or(|from| trade.trade_id >= from)
            && start.is_none_or(|start| trade.ts.as_ms() >= start.as_ms())
            && end.is_none_or(|end| trade.ts.as_ms() <= end.as_ms())
            && ctx.view.is_none_or(|view| view.shows(trade.ts, trade.trade_id, ctx.now))
    });
    let trades = take(matching, limit, from.is_some() || start.is_some());
    let symbol = core.name_of(instrument);
    Ok(Json::array(ctx.unit, |j| trades.iter().for_each(|trade| encode::write_my_trade(j, symbol, trade))))
}

/// `GET /api/v3/account`.
pub(super) fn account(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let omit_zero = ctx.params.opt_bool("omitZeroBalances")?.unwrap_or(false);
    ctx.params.finish()?;
    let can_trade = ctx.key.is_some_and(crate::auth::ApiKey::can_trade);
    let core = ctx.venue.core.lock();
    let fees = core.engine.config().fees;
    let balances = core.engine.balances(account);
    drop(core);
    Ok(Json::object(ctx.unit, |j| {
        // Hundredths of a percent, as the old fields have it.
        let points = |rate: keel_model::Quantity| rate.rescale(8).map_or(0, |rate| rate.mantissa() / 10_000);
        j.num("makerCommission", points(fees.maker));
        j.num("takerCommission", points(fees.taker));
        j.num("buyerCommission", 0);
        j.num("sellerCommission", 0);
        j.obj("commissionRates", |j| {
            j.str("maker", &rate_text(fees.maker));
            j.str("taker", &rate_text(fees.taker));
            j.str("buyer", "0.00000000");
            j.str("seller", "0.00000000");
        });
        j.bool("canTrade", can_trade);
        j.bool("canWithdraw", false);
        j.bool("canDeposit", true);
        j.bool("brokered", false);
        j.bool("requireSelfTradePrevention", false);
        j.bool("preventSor", false);
        j.time("updateTime", ctx.now);
        j.str("accountType", "SPOT");
        j.arr("balances", |j| {
            for balance in balances {
                if omit_zero && balance.free.is_zero() && balance.locked.is_zero() {
                    continue;
                }
                j.item_obj(|j| {
                    j.str("asset", balance.asset.as_str());
                    j.dec("free", balance.free);
                    j.dec("locked", balance.locked);
                });
            }
        });
        j.arr("permissions", |j| j.item_str("SPOT"));
        j.num("uid", 1_000_000 + account.0);
    }))
}

/// `GET /api/v3/account/commission`.
pub(super) fn commission(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let fees = core.engine.config().fees;
    Ok(Json::object(ctx.unit, |j| {
        j.str("symbol", core.name_of(instrument));
        j.obj("standardCommission", |j| {
            j.str("maker", &rate_text(fees.maker));
            j.str("taker", &rate_text(fees.taker));
            j.str("buyer", "0.00000000");
            j.str("seller", "0.00000000");
        });
        for name in ["specialCommission", "taxCommission"] {
            j.obj(name, |j| {
                ["maker", "taker", "buyer", "seller"].iter().for_each(|side| j.str(side, "0.00000000"));
            });
        }
        j.obj("discount", |j| {
            j.bool("enabledForAccount", false);
            j.bool("enabledForSymbol", false);
            j.str("discountAsset", "BNB");
            j.str("discount", "0.00000000");
        });
    }))
}

/// `GET /api/v3/rateLimit/order`.
pub(super) fn order_rate_limits(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    ctx.params.finish()?;
    let limiter = ctx.venue.limiter.lock();
    let used = limiter.used(std::net::Ipv4Addr::LOCALHOST.into(), Some(account.0), ctx.now);
    Ok(Json::array(ctx.unit, |j| limiter.write_orders(j, used.orders.unwrap_or_default())))
}

/// `GET /api/v3/myPreventedMatches`: what self-trade prevention did.
pub(super) fn prevented_matches(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let (id, order) = (ctx.params.opt_u64("preventedMatchId")?, ctx.params.opt_u64("orderId")?);
    let from = ctx.params.opt_u64("fromPreventedMatchId")?.unwrap_or_default();
    let limit = ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    if id.is_none() && order.is_none() {
        return Err(ApiError::one_of("preventedMatchId", "orderId"));
    }
    let core = ctx.venue.core.lock();
    let matching = core.prevented.iter().filter(|found| {
        found.account == account
            && found.instrument == instrument
            && found.id >= from
            && id.is_none_or(|id| found.id == id)
            && order.is_none_or(|order| found.taker == order || found.maker == order)
    });
    Ok(Json::array(ctx.unit, |j| {
        for found in matching.take(limit) {
            let taker = core.engine.order(account, instrument, OrderRef::Id(found.taker));
            j.item_obj(|j| {
                j.str("symbol", core.name_of(instrument));
                j.num("preventedMatchId", found.id);
                j.num("takerOrderId", found.taker);
                j.str("makerSymbol", core.name_of(instrument));
                j.num("makerOrderId", found.maker);
                j.num("tradeGroupId", found.id);
                j.str("selfTradePreventionMode", taker.map_or("NONE", |order| words::stp_word(order.stp_mode)));
                j.dec("price", found.price);
                if let Some(quantity) = found.taker_quantity {
                    j.dec("takerPreventedQuantity", quantity);
                }
                if let Some(quantity) = found.maker_quantity {
                    j.dec("makerPreventedQuantity", quantity);
                }
                j.time("transactTime", found.ts);
            });
        }
    }))
}

/// `GET /api/v3/myAllocations`: no order here is routed elsewhere.
pub(super) fn allocations(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    ctx.symbol()?;
    ctx.params.ignore(&["startTime", "endTime", "fromAllocationId", "limit", "orderId"]);
    ctx.params.finish()?;
    Ok("[]".to_owned())
}

/// `GET /api/v3/order/amendments`.
pub(super) fn amendments(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let order = ctx.params.req_u64("orderId")?;
    let from = ctx.params.opt_u64("fromExecutionId")?.unwrap_or_default();
    let limit = ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let matching = core.amendments.iter().filter(|amendment| {
        amendment.account == account
            && amendment.instrument == instrument
            && amendment.order_id == order
            && amendment.execution_id >= from
    });
    Ok(Json::array(ctx.unit, |j| {
        for amendment in matching.take(limit) {
            j.item_obj(|j| {
                j.str("symbol", core.name_of(instrument));
                j.num("orderId", amendment.order_id);
                j.num("executionId", amendment.execution_id);
                j.str("origClientOrderId", amendment.old_id.as_str());
                j.str("newClientOrderId", amendment.new_id.as_str());
                j.dec("origQty", amendment.old_quantity);
                j.dec("newQty", amendment.new_quantity);
                j.time("time", amendment.ts);
            });
        }
    }))
}

/// `GET /api/v3/myFilters`.
pub(super) fn my_filters(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let instrument = core.engine.instrument(instrument).ok_or_else(ApiError::bad_symbol)?;
    Ok(Json::object(ctx.unit, |j| {
        j.arr("exchangeFilters", |_| ());
        j.arr("symbolFilters", |j| write_filters(j, instrument));
        j.arr("assetFilters", |_| ());
    }))
}

/// `POST /api/v3/userDataStream`.
pub(super) fn listen_key_new(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    ctx.params.finish()?;
    let made = ctx.venue.core.lock().make_key();
    let key = ctx.venue.listen_keys.lock().open(account, made, ctx.now);
    Ok(Json::object(ctx.unit, |j| j.str("listenKey", &key)))
}

/// `PUT /api/v3/userDataStream`.
pub(super) fn listen_key_keep(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let key = ctx.params.req("listenKey")?;
    ctx.params.finish()?;
    ctx.venue.listen_keys.lock().keep(account, key, ctx.now)?;
    Ok("{}".to_owned())
}

/// `DELETE /api/v3/userDataStream`.
pub(super) fn listen_key_close(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let key = ctx.params.req("listenKey")?;
    ctx.params.finish()?;
    ctx.venue.listen_keys.lock().close(account, key)?;
    ctx.venue.end_listen_key(key, ctx.now);
    Ok("{}".to_owned())
}
