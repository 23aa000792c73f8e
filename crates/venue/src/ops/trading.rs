//! Placing, cancelling, replacing and amending orders.

use super::order_params::{new_order as read_order, order_ref, positive_quantity, restriction};
use super::{Answer, Ctx, lists};
use crate::api_error::ApiError;
use crate::core::{Amendment, Core};
use crate::encode::{ResponseType, rate_text, write_amended, write_canceled, write_placed};
use crate::json::Json;
use crate::stats::Counters;
use keel_sim::{AmendRequest, CancelReplace, CancelRequest, ClientId, OrderView, Reject, ReplaceMode};
use std::collections::BTreeSet;

/// `POST /api/v3/order`.
pub(super) fn new_order(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let order = read_order(ctx, instrument)?;
    ctx.params.ignore(&["pegOffsetValue", "pegOffsetType"]);
    ctx.params.finish()?;
    let venue = ctx.venue;
    venue.limiter.lock().charge_orders(account.0, 1, ctx.now)?;
    let mut core = venue.core.lock();
    match core.engine.submit(venue.now(), account, &order.request) {
        Ok(view) => {
            core.set_labels(view.order_id, order.labels);
            let answer = Json::object(ctx.unit, |j| {
                let fills = core.engine.last_fills();
                write_placed(j, core.name_of(instrument), &view, fills, order.labels, order.response);
            });
            core.pump(&venue.limiter);
            Counters::add(&venue.counters.orders);
            Ok(answer)
        }
        Err(reject) => {
            core.pump(&venue.limiter);
            Counters::add(&venue.counters.orders_refused);
            Err(reject.into())
        }
    }
}

/// `POST /api/v3/order/test`.
pub(super) fn test_order(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let order = read_order(ctx, instrument)?;
    let with_rates = ctx.params.opt_bool("computeCommissionRates")?.unwrap_or(false);
    ctx.params.ignore(&["pegOffsetValue", "pegOffsetType"]);
    ctx.params.finish()?;
    let mut core = ctx.venue.core.lock();
    core.engine.test_order(ctx.venue.now(), account, &order.request)?;
    let fees = core.engine.config().fees;
    if !with_rates {
        return Ok("{}".to_owned());
    }
    Ok(Json::object(ctx.unit, |j| {
        j.obj("standardCommissionForOrder", |j| {
            j.str("maker", &rate_text(fees.maker));
            j.str("taker", &rate_text(fees.taker));
        });
        for name in ["specialCommissionForOrder", "taxCommissionForOrder"] {
            j.obj(name, |j| {
                j.str("maker", "0.00000000");
                j.str("taker", "0.00000000");
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

/// The id of a cancel: the client's own, or a made-up one.
fn cancel_id(core: &mut Core, sent: ClientId) -> ClientId {
    if sent.is_empty() { core.make_id() } else { sent }
}

/// `DELETE /api/v3/order`.
pub(super) fn cancel(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let order = order_ref(ctx.params, "orderId", "origClientOrderId")?;
    let sent = ctx.params.client_id("newClientOrderId")?;
    let restriction = restriction(ctx.params)?;
    ctx.params.finish()?;
    let venue = ctx.venue;
    let mut core = venue.core.lock();
    let cancel_client_id = cancel_id(&mut core, sent);
    let request = CancelRequest { instrument, order, cancel_client_id, restriction };
    let canceled = core.engine.cancel(venue.now(), account, &request);
    let answer = canceled.map(|view| {
        Counters::add(&venue.counters.cancels);
        core.collect();
        match view.list_id.and_then(|list| core.engine.order_list(account, Ok(list))) {
            Some(list) => lists::write_canceled_list(&core, ctx, &list, cancel_client_id),
            None => canceled_text(&core, ctx, &view, cancel_client_id),
        }
    });
    core.pump(&venue.limiter);
    Ok(answer?)
}

fn canceled_text(core: &Core, ctx: Ctx<'_>, view: &OrderView, cancel_id: ClientId) -> String {
    Json::object(ctx.unit, |j| write_one_canceled(j, core, view, cancel_id))
}

/// One cancelled order, under the id that its report names.
pub(super) fn write_one_canceled(j: &mut Json, core: &Core, view: &OrderView, cancel_id: ClientId) {
    let reported = core.last_report(view.order_id).map(|report| report.request_client_id);
    let id = reported.filter(|id| !id.is_empty()).unwrap_or(cancel_id);
    let labels = core.labels(view.order_id);
    write_canceled(j, core.name_of(view.instrument), view, id.as_str(), labels);
}

/// `DELETE /api/v3/openOrders`.
pub(super) fn cancel_all(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    ctx.params.finish()?;
    let venue = ctx.venue;
    let mut core = venue.core.lock();
    let mut canceled = Vec::new();
    let result = core.engine.cancel_all(venue.now(), account, instrument, &mut canceled);
    let id = core.make_id();
    core.collect();
    let answer = result.map(|()| {
        for _ in &canceled {
            Counters::add(&venue.counters.cancels);
        }
        let list_ids: BTreeSet<u64> = canceled.iter().filter_map(|view| view.list_id).collect();
        Json::array(ctx.unit, |j| {
            for view in canceled.iter().filter(|view| view.list_id.is_none()) {
                j.item_obj(|j| write_one_canceled(j, &core, view, id));
            }
            for list in list_ids.iter().filter_map(|list| core.engine.order_list(account, Ok(*list))) {
                j.item_raw(&lists::write_canceled_list(&core, ctx, &list, id));
            }
        })
    });
    core.pump(&venue.limiter);
    Ok(answer?)
}

/// `POST /api/v3/order/cancelReplace`.
pub(super) fn cancel_replace(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let params = ctx.params;
    let mode = match params.req("cancelReplaceMode")? {
        "STOP_ON_FAILURE" => ReplaceMode::StopOnFailure,
        "ALLOW_FAILURE" => ReplaceMode::AllowFailure,
        _ => return Err(ApiError::invalid("cancelReplaceMode")),
    };
    let order = read_order(ctx, instrument)?;
    let which = order_ref(params, "cancelOrderId", "cancelOrigClientOrderId")?;
    let sent = params.client_id("cancelNewClientOrderId")?;
    let restriction = restriction(params)?;
    let is_cancel_only = match params.opt("orderRateLimitExceededMode")? {
        None | Some("DO_NOTHING") => false,
        Some("CANCEL_ONLY") => true,
        Some(_) => return Err(ApiError::invalid("orderRateLimitExceededMode")),
    };
    params.ignore(&["pegOffsetValue", "pegOffsetType"]);
    params.finish()?;
    let venue = ctx.venue;
    let over_limit = match venue.limiter.lock().charge_orders(account.0, 1, ctx.now) {
        Ok(()) => None,
        Err(error) if is_cancel_only => Some(error),
        Err(error) => return Err(error),
    };
    let mut core = venue.core.lock();
    let cancel_client_id = cancel_id(&mut core, sent);
    let cancel = CancelRequest { instrument, order: which, cancel_client_id, restriction };
    let (canceled, placed) = if let Some(error) = over_limit {
        (core.engine.cancel(venue.now(), account, &cancel), Some(Err(error)))
    } else {
        let request = CancelReplace { cancel, new: order.request, mode };
        let result = core.engine.cancel_replace(venue.now(), account, &request)?;
        (result.cancel, result.new.map(|new| new.map_err(ApiError::from)))
    };
    core.collect();
    let answer = replace_answer(&mut core, ctx, cancel_client_id, canceled, placed, &order);
    core.pump(&venue.limiter);
    answer
}

fn replace_answer(
    core: &mut Core,
    ctx: Ctx<'_>,
    cancel_id: ClientId,
    canceled: Result<OrderView, Reject>,
    placed: Option<Result<OrderView, ApiError>>,
    order: &super::order_params::NewOrderParams,
) -> Answer {
    let counters = &ctx.venue.counters;
    let cancel_text = match &canceled {
        Ok(view) => {
            Counters::add(&counters.cancels);
            canceled_text(core, ctx, view, cancel_id)
        }
        Err(reject) => ApiError::from(*reject).body(),
    };
    let new_text = match &placed {
        Some(Ok(view)) => {
            Counters::add(&counters.orders);
            core.set_labels(view.order_id, order.labels);
            Json::object(ctx.unit, |j| {
                let fills = core.engine.last_fills();
                write_placed(j, core.name_of(view.instrument), view, fills, order.labels, order.response);
            })
        }
        Some(Err(error)) => {
            Counters::add(&counters.orders_refused);
            error.body()
        }
        None => "null".to_owned(),
    };
    let word = |ok: bool| if ok { "SUCCESS" } else { "FAILURE" };
    let new_word = placed.as_ref().map_or("NOT_ATTEMPTED", |placed| word(placed.is_ok()));
    let data = Json::object(ctx.unit, |j| {
        j.str("cancelResult", word(canceled.is_ok()));
        j.str("newOrderResult", new_word);
        j.raw("cancelResponse", &cancel_text);
        j.raw("newOrderResponse", &new_text);
    });
    let (status, code, msg) = match (canceled.is_ok(), placed.as_ref().is_some_and(Result::is_ok)) {
        (true, true) => return Ok(data),
        (false, false) => (400, -2022, "Order cancel-replace failed."),
        _ => (409, -2021, "Order cancel-replace partially failed."),
    };
    let mut error = ApiError::new(code, msg).with_status(status);
    error.data = Some(data);
    Err(error)
}

/// `PUT /api/v3/order/amend/keepPriority`.
pub(super) fn amend(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    let (_, instrument) = ctx.symbol()?;
    let order = order_ref(ctx.params, "orderId", "origClientOrderId")?;
    let sent = ctx.params.client_id("newClientOrderId")?;
    let quantity = positive_quantity(ctx.params.req_quantity("newQty")?, "newQty")?;
    ctx.params.finish()?;
    let venue = ctx.venue;
    let mut core = venue.core.lock();
    let before = core.engine.order(account, instrument, order).map_err(|_| Reject::UnknownOrder)?;
    let new_client_order_id = cancel_id(&mut core, sent);
    let request = AmendRequest { instrument, order, quantity, new_client_order_id };
    let amended = core.engine.amend(venue.now(), account, &request);
    core.collect();
    let answer = amended.map(|view| {
        let execution_id = core.last_report(view.order_id).map_or(0, |report| report.execution_id);
        core.add_amendment(Amendment {
            account,
            instrument,
            order_id: view.order_id,
            execution_id,
            old_id: before.client_order_id,
            new_id: view.client_order_id,
            old_quantity: before.quantity,
            new_quantity: view.quantity,
            ts: view.ts_updated,
        });
        let symbol = core.name_of(instrument);
        Json::object(ctx.unit, |j| {
            j.time("transactTime", view.ts_updated);
            j.num("executionId", execution_id);
            j.obj("amendedOrder", |j| write_amended(j, symbol, &view, before.client_order_id.as_str()));
        })
    });
    core.pump(&venue.limiter);
    Ok(answer?)
}

/// One leg of a new list.
pub(super) fn write_leg(j: &mut Json, core: &Core, view: &OrderView, response: ResponseType) {
    let labels = core.labels(view.order_id);
    // Legs have no fills when they are placed.
    write_placed(j, core.name_of(view.instrument), view, &[], labels, response.min(ResponseType::Result));
}
