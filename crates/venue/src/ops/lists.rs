//! Order lists: one cancels the other.

use super::order_params::{labels, positive_quantity, price, price_of_stop, response_type, tif};
use super::{Answer, Ctx, trading};
use crate::api_error::ApiError;
use crate::core::Core;
use crate::encode::{OrderLabels, ResponseType, write_list};
use crate::json::Json;
use crate::params::Params;
use crate::stats::Counters;
use crate::words;
use keel_model::{OrderType, Side};
use keel_sim::{ClientId, ListId, OcoLeg, OcoRequest, OrderListView, OrderRef, Reject};

/// Longest span of a history query.
const SPAN_MAX_MS: u64 = 24 * 3_600 * 1_000;

/// `POST /api/v3/order/oco`, the old way: a limit leg and a stop leg.
pub(super) fn new_old(ctx: Ctx<'_>) -> Answer {
    let params = ctx.params;
    let (_, instrument) = ctx.symbol()?;
    let side = words::side(params.req("side")?)?;
    let quantity = positive_quantity(params.req_quantity("quantity")?, "quantity")?;
    let limit = OcoLeg {
        client_order_id: params.client_id("limitClientOrderId")?,
        order_type: OrderType::LimitMaker,
        time_in_force: keel_model::TimeInForce::Gtc,
        price: price(params, "price", true)?,
        stop_price: None,
    };
    let stop_limit = params.opt_price("stopLimitPrice")?;
    let stop_type = if stop_limit.is_some() { OrderType::StopLossLimit } else { OrderType::StopLoss };
    let stop = OcoLeg {
        client_order_id: params.client_id("stopClientOrderId")?,
        order_type: stop_type,
        time_in_force: tif(params, "stopLimitTimeInForce", stop_type)?,
        price: stop_limit,
        stop_price: price(params, "stopPrice", true)?,
    };
    refuse(params, &["limitIcebergQty", "stopIcebergQty"], "trailingDelta")?;
    let (above, below) = if side == Side::Sell { (limit, stop) } else { (stop, limit) };
    let limit_labels = labels(params, "limitStrategyId", "limitStrategyType")?;
    let stop_labels = labels(params, "stopStrategyId", "stopStrategyType")?;
    let both = if side == Side::Sell { [limit_labels, stop_labels] } else { [stop_labels, limit_labels] };
    let request = OcoRequest {
        list_client_order_id: params.client_id("listClientOrderId")?,
        instrument,
        side,
        quantity,
        above,
        below,
        stp_mode: params.opt("selfTradePreventionMode")?.map(words::stp_mode).transpose()?,
    };
    place(ctx, &request, both)
}

/// `POST /api/v3/orderList/oco`: a leg above and a leg below.
pub(super) fn new(ctx: Ctx<'_>) -> Answer {
    let params = ctx.params;
    let (_, instrument) = ctx.symbol()?;
    let side = words::side(params.req("side")?)?;
    let quantity = positive_quantity(params.req_quantity("quantity")?, "quantity")?;
    let (above, above_labels) = leg(params, "above")?;
    let (below, below_labels) = leg(params, "below")?;
    check_places(side, above.order_type, below.order_type)?;
    let request = OcoRequest {
        list_client_order_id: params.client_id("listClientOrderId")?,
        instrument,
        side,
        quantity,
        above,
        below,
        stp_mode: params.opt("selfTradePreventionMode")?.map(words::stp_mode).transpose()?,
    };
    place(ctx, &request, [above_labels, below_labels])
}

fn leg(params: &Params, place: &str) -> Result<(OcoLeg, OrderLabels), ApiError> {
    let name = |tail: &str| format!("{place}{tail}");
    let order_type = words::order_type(params.req(&name("Type"))?)?;
    if matches!(order_type, OrderType::Market | OrderType::Limit) {
        return Err(ApiError::new(-1158, "Order type not supported in OCO."));
    }
    let leg = OcoLeg {
        client_order_id: params.client_id(&name("ClientOrderId"))?,
        order_type,
        time_in_force: tif(params, &name("TimeInForce"), order_type)?,
        price: price(params, &name("Price"), order_type.has_price())?,
        stop_price: price_of_stop(params, &name("StopPrice"), order_type.has_stop_price())?,
    };
    refuse(params, &[&name("IcebergQty")], &name("TrailingDelta"))?;
    if params.opt(&name("PegPriceType"))?.is_some() {
        return Err(ApiError::new(-2010, "Pegged orders are not supported for this symbol."));
    }
    Ok((leg, labels(params, &name("StrategyId"), &name("StrategyType"))?))
}

fn refuse(params: &Params, icebergs: &[&str], trailing: &str) -> Result<(), ApiError> {
    for name in icebergs {
        if params.opt_quantity(name)?.is_some_and(|quantity| quantity.is_positive()) {
            return Err(ApiError::new(-2010, "Iceberg orders are not supported for this symbol."));
        }
    }
    if params.opt_u64(trailing)?.is_some() {
        return Err(ApiError::new(-2010, "Trailing stop orders are not supported for this symbol."));
    }
    Ok(())
}

/// Which leg may be where, with the code for each mistake.
fn check_places(side: Side, above: OrderType, below: OrderType) -> Result<(), ApiError> {
    let is_stop = |order_type| matches!(order_type, OrderType::StopLoss | OrderType::StopLossLimit);
    let is_profit = |order_type| matches!(order_type, OrderType::TakeProfit | OrderType::TakeProfitLimit);
    if !is_stop(above) && !is_stop(below) {
        return Err(ApiError::new(-1168, "At least one OCO order must be contingent."));
    }
    let (code, msg) = match side {
        Side::Buy if is_stop(below) => (-1196, "A stop loss order in a buy OCO must be above."),
        Side::Buy if is_profit(above) => (-1198, "A take profit order in a buy OCO must be below."),
        Side::Buy if above == OrderType::LimitMaker => (-1165, "A limit order in a buy OCO must be below."),
        Side::Sell if is_stop(above) => (-1197, "A stop loss order in a sell OCO must be below."),
        Side::Sell if is_profit(below) => (-1199, "A take profit order in a sell OCO must be above."),
        Side::Sell if below == OrderType::LimitMaker => (-1166, "A limit order in a sell OCO must be above."),
        _ => return Ok(()),
    };
    Err(ApiError::new(code, msg))
}

fn place(ctx: Ctx<'_>, request: &OcoRequest, labels: [OrderLabels; 2]) -> Answer {
    let account = ctx.account()?;
    let response = response_type(ctx.params)?.unwrap_or(ResponseType::Full);
    let pegs = ["abovePegOffsetType", "abovePegOffsetValue", "belowPegOffsetType", "belowPegOffsetValue"];
    ctx.params.ignore(&pegs);
    ctx.params.finish()?;
    let venue = ctx.venue;
    venue.limiter.lock().charge_orders(account.0, 2, ctx.now)?;
    let mut core = venue.core.lock();
    let placed = core.engine.submit_oco(venue.now(), account, request);
    let answer = match placed {
        Ok(list) => {
            for ((order, _), labels) in list.orders.into_iter().zip(labels) {
                core.set_labels(order, labels);
                Counters::add(&venue.counters.orders);
            }
            Ok(Json::object(ctx.unit, |j| {
                write_list(j, core.name_of(list.instrument), &list);
                j.arr("orderReports", |j| {
                    for (order, _) in list.orders {
                        let Ok(view) = core.engine.order(account, list.instrument, OrderRef::Id(order)) else {
                            continue;
                        };
                        j.item_obj(|j| trading::write_leg(j, &core, &view, response));
                    }
                });
            }))
        }
        Err(reject) => {
            Counters::add(&venue.counters.orders_refused);
            Err(ApiError::from(reject))
        }
    };
    core.pump(&venue.limiter);
    answer
}

/// A cancelled list with its cancelled orders.
pub(super) fn write_canceled_list(core: &Core, ctx: Ctx<'_>, list: &OrderListView, cancel_id: ClientId) -> String {
    Json::object(ctx.unit, |j| {
        write_list(j, core.name_of(list.instrument), list);
        j.arr("orderReports", |j| {
            for (order, _) in list.orders {
                let Some(report) = core.last_report(order) else { continue };
                j.item_obj(|j| trading::write_one_canceled(j, core, &report.order, cancel_id));
            }
        });
    })
}

fn which(params: &Params, id: &str, client: &str) -> Result<Result<ListId, ClientId>, ApiError> {
    let client_id = params.client_id(client)?;
    match params.opt_u64(id)? {
        Some(list) => Ok(Ok(list)),
        None if client_id.is_empty() => Err(ApiError::one_of(id, client)),
        None => Ok(Err(client_id)),
    }
}

/// `DELETE /api/v3/orderList`.
pub(super) fn cancel(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let list = which(ctx.params, "orderListId", "listClientOrderId")?;
    let sent = ctx.params.client_id("newClientOrderId")?;
    ctx.params.finish()?;
    let venue = ctx.venue;
    let mut core = venue.core.lock();
    let id = if sent.is_empty() { core.make_id() } else { sent };
    let mut canceled = Vec::new();
    let result = core.engine.cancel_list(venue.now(), account, instrument, list, &mut canceled);
    core.collect();
    let answer = result.map(|list| {
        for _ in &canceled {
            Counters::add(&venue.counters.cancels);
        }
        write_canceled_list(&core, ctx, &list, id)
    });
    core.pump(&venue.limiter);
    Ok(answer?)
}

/// `GET /api/v3/orderList`.
pub(super) fn query(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let list = which(ctx.params, "orderListId", "origClientOrderId")?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let list = core.engine.order_list(account, list).ok_or(Reject::NoSuchOrder)?;
    Ok(Json::object(ctx.unit, |j| write_list(j, core.name_of(list.instrument), &list)))
}

/// `GET /api/v3/openOrderList`.
pub(super) fn open(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let lists = core.engine.order_lists(account, true);
    Ok(many(&core, ctx, lists.iter()))
}

/// `GET /api/v3/allOrderList`.
pub(super) fn all(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let from_id = ctx.params.opt_u64("fromId")?;
    let (start, end) = (ctx.params.opt_time("startTime")?, ctx.params.opt_time("endTime")?);
    let limit = ctx.params.limit(500, 1_000)?;
    ctx.params.finish()?;
    if from_id.is_some() && (start.is_some() || end.is_some()) {
        return Err(ApiError::bad_combination());
    }
    if let (Some(start), Some(end)) = (start, end)
        && end.as_ms().saturating_sub(start.as_ms()) > SPAN_MAX_MS
    {
        return Err(ApiError::new(-1127, "More than 24 hours between startTime and endTime."));
    }
    let core = ctx.venue.core.lock();
    let mut lists = core.engine.order_lists(account, false);
    lists.retain(|list| {
        from_id.is_none_or(|from| list.list_id >= from)
            && start.is_none_or(|start| list.ts_transact >= start)
            && end.is_none_or(|end| list.ts_transact <= end)
    });
    let from = if from_id.is_some() || start.is_some() { 0 } else { lists.len().saturating_sub(limit) };
    Ok(many(&core, ctx, lists.iter().skip(from).take(limit)))
}

fn many<'a>(core: &Core, ctx: Ctx<'_>, lists: impl Iterator<Item = &'a OrderListView>) -> String {
    Json::array(ctx.unit, |j| {
        for list in lists {
            j.item_obj(|j| write_list(j, core.name_of(list.instrument), list));
        }
    })
}
