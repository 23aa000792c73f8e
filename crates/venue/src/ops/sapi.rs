//! The few wallet endpoints that clients ask for before they trade.

use super::market::assets;
use super::{Answer, Ctx};
use crate::json::Json;
use keel_model::{Asset, Notional};

/// `GET /sapi/v1/asset/tradeFee`.
pub(super) fn trade_fee(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    let one = ctx.opt_symbol()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let fees = core.engine.config().fees;
    Ok(Json::array(ctx.unit, |j| {
        for symbol in core.symbols.iter().filter(|symbol| one.is_none_or(|(_, id)| id == symbol.id)) {
            j.item_obj(|j| {
                j.str("symbol", &symbol.name);
                j.str("makerCommission", &fees.maker.normalized().to_string());
                j.str("takerCommission", &fees.taker.normalized().to_string());
            });
        }
    }))
}

/// `GET /sapi/v1/account/apiRestrictions`: reading and spot trading, nothing that moves money away.
pub(super) fn restrictions(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    ctx.params.finish()?;
    let can_trade = ctx.key.is_some_and(crate::auth::ApiKey::can_trade);
    Ok(Json::object(ctx.unit, |j| {
        j.bool("ipRestrict", true);
        j.time("createTime", ctx.venue.started);
        j.bool("enableReading", true);
        j.bool("enableSpotAndMarginTrading", can_trade);
        for name in [
            "enableWithdrawals",
            "enableInternalTransfer",
            "enableMargin",
            "enableFutures",
            "permitsUniversalTransfer",
            "enableVanillaOptions",
            "enableFixApiTrade",
            "enableFixReadOnly",
            "enablePortfolioMarginTrading",
        ] {
            j.bool(name, false);
        }
    }))
}

/// `GET /sapi/v1/capital/config/getall`.
pub(super) fn coins(ctx: Ctx<'_>) -> Answer {
    let account = ctx.account()?;
    ctx.params.finish()?;
    let core = ctx.venue.core.lock();
    let nothing = Notional::ZERO;
    Ok(Json::array(ctx.unit, |j| {
        for asset in assets(&core) {
            let balance = core.engine.balance(account, asset);
            j.item_obj(|j| {
                j.str("coin", asset.as_str());
                j.bool("depositAllEnable", false);
                j.bool("withdrawAllEnable", false);
                j.str("name", asset.as_str());
                j.dec("free", balance.free);
                j.dec("locked", balance.locked);
                for name in ["freeze", "withdrawing", "ipoing", "ipoable", "storage"] {
                    j.dec(name, nothing);
                }
                j.bool("isLegalMoney", false);
                j.bool("trading", true);
                j.arr("networkList", |j| write_network(j, asset));
            });
        }
    }))
}

fn write_network(j: &mut Json, asset: Asset) {
    j.item_obj(|j| {
        j.str("network", asset.as_str());
        j.str("coin", asset.as_str());
        j.str("name", asset.as_str());
        j.bool("isDefault", true);
        j.bool("depositEnable", false);
        j.bool("withdrawEnable", false);
        for name in ["withdrawFee", "withdrawMin", "withdrawMax"] {
            j.str(name, "0");
        }
        j.str("withdrawIntegerMultiple", "0.00000001");
    });
}

/// `GET /sapi/v1/system/status`.
pub(super) fn system_status(ctx: Ctx<'_>) -> Answer {
    ctx.params.finish()?;
    Ok(r#"{"status":0,"msg":"normal"}"#.to_owned())
}

/// `GET /sapi/v1/account/status`.
pub(super) fn account_status(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    ctx.params.finish()?;
    Ok(r#"{"data":"Normal"}"#.to_owned())
}

/// `GET /sapi/v1/account/apiTradingStatus`.
pub(super) fn trading_status(ctx: Ctx<'_>) -> Answer {
    ctx.account()?;
    ctx.params.finish()?;
    Ok(Json::object(ctx.unit, |j| {
        j.obj("data", |j| {
            j.bool("isLocked", false);
            j.num("plannedRecoverTime", 0);
            j.time("updateTime", ctx.now);
        });
    }))
}
