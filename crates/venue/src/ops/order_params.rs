//! Reading a new order from parameters, with the venue's rules on which type takes which parameter.

use super::Ctx;
use crate::api_error::ApiError;
use crate::encode::{OrderLabels, ResponseType, default_response};
use crate::params::Params;
use crate::words;
use keel_model::{InstrumentId, OrderType, Price, Quantity, TimeInForce};
use keel_sim::{CancelRestriction, OrderRef, OrderRequest, OrderSize};

/// Least value of a `strategyType`.
const STRATEGY_TYPE_MIN: u64 = 1_000_000;

/// A new order as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewOrderParams {
    pub(super) request: OrderRequest,
    pub(super) labels: OrderLabels,
    pub(super) response: ResponseType,
}

/// Reads everything that placing, testing and replacing share.
pub(super) fn new_order(ctx: Ctx<'_>, instrument: InstrumentId) -> Result<NewOrderParams, ApiError> {
    let params = ctx.params;
    let side = words::side(params.req("side")?)?;
    let order_type = words::order_type(params.req("type")?)?;
    let time_in_force = tif(params, "timeInForce", order_type)?;
    let size = size(params, order_type)?;
    let price = price(params, "price", order_type.has_price())?;
    refuse_unsupported(params)?;
    let stop_price = price_of_stop(params, "stopPrice", order_type.has_stop_price())?;
    let stp_mode = params.opt("selfTradePreventionMode")?.map(words::stp_mode).transpose()?;
    let request = OrderRequest {
        client_order_id: params.client_id("newClientOrderId")?,
        instrument,
        side,
        order_type,
        time_in_force,
        size,
        price,
        stop_price,
        stp_mode,
        // A parameter of derivatives; this is the spot API.
        reduce_only: false,
    };
    let labels = labels(params, "strategyId", "strategyType")?;
    let response = response_type(params)?.unwrap_or(default_response(order_type));
    Ok(NewOrderParams { request, labels, response })
}

/// Reads a client's labels.
pub(super) fn labels(params: &Params, id: &str, kind: &str) -> Result<OrderLabels, ApiError> {
    let labels = OrderLabels { strategy_id: params.opt_u64(id)?, strategy_type: params.opt_u64(kind)? };
    if labels.strategy_type.is_some_and(|kind| kind < STRATEGY_TYPE_MIN) {
        return Err(ApiError::new(-1134, "`strategyType` was less than 1000000."));
    }
    Ok(labels)
}

/// Reads how much the answer shall say.
pub(super) fn response_type(params: &Params) -> Result<Option<ResponseType>, ApiError> {
    match params.opt("newOrderRespType")? {
        None => Ok(None),
        Some("ACK") => Ok(Some(ResponseType::Ack)),
        Some("RESULT") => Ok(Some(ResponseType::Result)),
        Some("FULL") => Ok(Some(ResponseType::Full)),
        Some(_) => Err(ApiError::invalid("newOrderRespType")),
    }
}

/// Time in force: mandatory for types with a limit price, refused for the others.
pub(super) fn tif(params: &Params, name: &str, order_type: OrderType) -> Result<TimeInForce, ApiError> {
    let takes = order_type.has_price() && order_type != OrderType::LimitMaker;
    match params.opt(name)? {
        Some(text) if takes => words::time_in_force(text),
        // A post-only order may say GTC, which it is anyway.
        Some("GTC") if order_type == OrderType::LimitMaker => Ok(TimeInForce::Gtc),
        Some(_) => Err(ApiError::not_required(name)),
        None if takes => Err(ApiError::mandatory(name)),
        None => Ok(TimeInForce::Gtc),
    }
}

fn size(params: &Params, order_type: OrderType) -> Result<OrderSize, ApiError> {
    let quantity = params.opt_quantity("quantity")?;
    let quote = params.opt_quantity("quoteOrderQty")?;
    match (quantity, quote) {
        (Some(quantity), None) => positive_quantity(quantity, "quantity").map(OrderSize::Base),
        (_, Some(_)) if order_type != OrderType::Market => Err(ApiError::not_required("quoteOrderQty")),
        (Some(_), Some(_)) => Err(ApiError::not_required("quoteOrderQty")),
        (None, Some(quote)) => positive_quantity(quote, "quoteOrderQty").map(OrderSize::Quote),
        (None, None) if order_type == OrderType::Market => Err(ApiError::one_of("quantity", "quoteOrderQty")),
        (None, None) => Err(ApiError::mandatory("quantity")),
    }
}

/// Refuses zero.
pub(super) fn positive_quantity(quantity: Quantity, name: &str) -> Result<Quantity, ApiError> {
    if quantity.is_positive() { Ok(quantity) } else { Err(ApiError::new(-1013, format!("Invalid {name}."))) }
}

/// Reads a price that the type must or must not have.
pub(super) fn price(params: &Params, name: &str, is_taken: bool) -> Result<Option<Price>, ApiError> {
    let Some(price) = params.opt_price(name)? else {
        return if is_taken { Err(ApiError::mandatory(name)) } else { Ok(None) };
    };
    if !is_taken {
        return Err(ApiError::not_required(name));
    }
    if !price.is_positive() {
        return Err(ApiError::new(-1013, format!("Invalid {name}.")));
    }
    Ok(Some(price))
}

/// Reads a trigger price. `0` where none is taken counts as not sent: some clients fill it in.
pub(super) fn price_of_stop(params: &Params, name: &str, is_taken: bool) -> Result<Option<Price>, ApiError> {
    if !is_taken && params.opt_price(name)?.is_some_and(Price::is_zero) {
        return Ok(None);
    }
    price(params, name, is_taken)
}

/// Refuses what no symbol here has: icebergs, trailing stops, pegged prices.
fn refuse_unsupported(params: &Params) -> Result<(), ApiError> {
    let rejected = |text: &'static str| Err(ApiError::new(-2010, text));
    if params.opt_quantity("icebergQty")?.is_some_and(Quantity::is_positive) {
        return rejected("Iceberg orders are not supported for this symbol.");
    }
    if params.opt_u64("trailingDelta")?.is_some() {
        return rejected("Trailing stop orders are not supported for this symbol.");
    }
    if params.opt("pegPriceType")?.is_some() {
        return rejected("Pegged orders are not supported for this symbol.");
    }
    Ok(())
}

/// Reads which order is meant.
pub(super) fn order_ref(params: &Params, id: &str, client: &str) -> Result<OrderRef, ApiError> {
    let client_id = params.client_id(client)?;
    match (params.opt_u64(id)?, client_id.is_empty()) {
        (Some(order), true) => Ok(OrderRef::Id(order)),
        (Some(order), false) => Ok(OrderRef::Both(order, client_id)),
        (None, false) => Ok(OrderRef::Client(client_id)),
        (None, true) => Err(ApiError::one_of(client, id)),
    }
}

/// Reads in which state an order may be cancelled.
pub(super) fn restriction(params: &Params) -> Result<CancelRestriction, ApiError> {
    match params.opt("cancelRestrictions")? {
        None => Ok(CancelRestriction::Any),
        Some("ONLY_NEW") => Ok(CancelRestriction::OnlyNew),
        Some("ONLY_PARTIALLY_FILLED") => Ok(CancelRestriction::OnlyPartiallyFilled),
        Some(_) => {
            Err(ApiError::new(-1145, "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`."))
        }
    }
}
