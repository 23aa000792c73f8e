//! The result of a backtest for people and as JSON. The keys are documented in `docs/backtest.md`.

use super::setup::Prepared;
use super::{BacktestArgs, ListKind, warn};
use crate::cli::Common;
use crate::config::Config;
use crate::out;
use keel_backtest::{BacktestResult, EquityCurve, PositionEnd, TradeRow};
use keel_model::{InstrumentId, Instruments, Notional};
use keel_report::{ClosedTrade, DailyStatistics, PERIODS_PER_YEAR, TradeStatistics, to_json, to_table};
use serde_json::{Map, Value, json};

/// The statistics of a result: of its days and of its trades.
#[must_use]
pub(crate) fn statistics(result: &BacktestResult) -> (DailyStatistics, TradeStatistics) {
    let start = result.start_balance.to_f64();
    let daily = DailyStatistics::new(&result.daily.returns(start), PERIODS_PER_YEAR);
    let closed = |trade: &TradeRow| ClosedTrade {
        profit: trade.pnl,
        profit_ratio: trade.profit_ratio().unwrap_or(0.0),
        open_s: trade.exit_ns.saturating_sub(trade.entry_ns) as f64 / 1e9,
    };
    let trades: Vec<ClosedTrade> = result.trades.iter().map(closed).collect();
    let length_s = result.last_ns.saturating_sub(result.first_ns) as f64 / 1e9;
    let trades = TradeStatistics::of_run(&trades, start, length_s);
    (daily, trades)
}

pub(super) fn print(
    common: &Common,
    args: &BacktestArgs,
    config: &Config,
    prepared: &Prepared,
    result: &BacktestResult,
) {
    warn(result);
    let object = to_object(args, config, prepared, result);
    if common.json {
        out::line(&Value::Object(object).to_string());
    } else {
        out::line(&table(args, config, prepared, result));
        for list in ["orders_list", "fills_list", "trades_list", "equity_daily", "equity_marks"] {
            if let Some(rows) = object.get(list) {
                out::line(&format!("{list}:"));
                rows.as_array().into_iter().flatten().for_each(|row| out::line(&row.to_string()));
            }
        }
    }
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

/// A time as users read it; `null` for none.
fn time(ns: u64) -> Value {
    if ns == 0 {
        return Value::Null;
    }
    text(keel_catalogue::time_to_text(ns))
}

fn to_object(args: &BacktestArgs, config: &Config, prepared: &Prepared, result: &BacktestResult) -> Map<String, Value> {
    let (daily, trades) = statistics(result);
    let strategies: Vec<&str> = config.strategies.iter().map(|choice| choice.name.as_str()).collect();
    let positions: Map<String, Value> =
        result.positions.iter().map(|position| (position.symbol.clone(), text(position.quantity))).collect();
    let gaps: Vec<Value> = result
        .gaps
        .iter()
        .map(|gaps| {
            let longest_s = gaps.longest_ns as f64 / 1e9;
            json!({ "series": gaps.series, "gaps": gaps.count, "bars_missing": gaps.bars_missing, "longest_s": longest_s })
        })
        .collect();
    let value = json!({
        "rows": result.rows,
        "orders": result.orders,
        "fills": result.fills,
        "final_position": result.final_position.map_or(Value::Null, text),
        "final_balance": text(result.final_balance),
        "run_cpu_seconds": result.run_cpu_seconds,
        "quote_asset": result.quote_asset,
        "strategies": strategies,
        "orders_denied": result.orders_denied,
        "orders_rejected": result.orders_rejected,
        "refusals": result.refusals,
        "start_balance": text(result.start_balance),
        "final_equity": result.final_equity.map_or(Value::Null, text),
        "final_positions": positions,
        "open_positions": open_positions(result),
        "volume": result.volume,
        "fees": text(result.fees),
        "funding": text(result.funding),
        "first_time": time(result.first_ns),
        "last_time": time(result.last_ns),
        "rows_refused": result.rows_refused,
        "rows_doubled": prepared.doubled,
        "series": gaps,
        "liquidated_time": result.liquidated_ns.map_or(Value::Null, time),
        "digest": result.digest,
        "statistics": { "daily": to_json(daily.figures()), "trades": to_json(trades.figures()) },
    });
    let mut object = match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    for list in &args.lists {
        for (name, rows) in rows_of(*list, &prepared.instruments, result) {
            object.insert(name.to_owned(), Value::Array(rows));
        }
    }
    object
}

/// What is open at the end, by symbol; a rest that cannot be sold is not.
fn open_positions(result: &BacktestResult) -> Map<String, Value> {
    let open = |position: &PositionEnd| {
        let value = json!({
            "quantity": text(position.quantity),
            "entry_time": time(position.entry_ns?),
            "entry_price": position.entry_price.map(text),
            "unrealized": position.unrealized.map(text),
        });
        Some((position.symbol.clone(), value))
    };
    result.positions.iter().filter_map(open).collect()
}

fn rows_of(list: ListKind, instruments: &Instruments, result: &BacktestResult) -> Vec<(&'static str, Vec<Value>)> {
    let symbol = |id: InstrumentId| instruments.get(id).map(|it| it.symbol.to_string());
    let curve = |curve: &EquityCurve| {
        curve
            .ts_ns
            .iter()
            .zip(&curve.equity)
            .map(|(ts, equity)| json!({ "time": time(*ts), "equity": equity }))
            .collect()
    };
    match list {
        ListKind::Equity => vec![("equity_daily", curve(&result.daily)), ("equity_marks", curve(&result.marks))],
        ListKind::Trades => {
            let row = |trade: &TradeRow| {
                json!({
                    "symbol": symbol(trade.instrument),
                    "side": if trade.is_long { "long" } else { "short" },
                    "quantity": trade.quantity,
                    "entry_time": time(trade.entry_ns),
                    "entry_price": trade.entry_price,
                    "exit_time": time(trade.exit_ns),
                    "exit_price": trade.exit_price,
                    "pnl": trade.pnl,
                    "fees": trade.fees,
                    "exit_reason": trade.exit_reason,
                })
            };
            vec![("trades_list", result.trades.iter().map(row).collect())]
        }
        ListKind::Orders => {
            let row = |order: &keel_model::NewOrder| {
                let intent = &order.intent;
                json!({
                    "id": order.client_order_id.to_string(),
                    "time": time(order.ts_decided.as_ns()),
                    "symbol": symbol(intent.instrument),
                    "side": format!("{:?}", intent.side),
                    "type": format!("{:?}", intent.order_type),
                    "purpose": format!("{:?}", intent.purpose),
                    "quantity": text(intent.quantity),
                    "price": intent.price.map(text),
                    "stop_price": intent.stop_price.map(text),
                })
            };
            vec![("orders_list", result.log.orders.iter().map(row).collect())]
        }
        ListKind::Fills => {
            let row = |(id, fill): &(keel_model::ClientOrderId, keel_model::Fill)| {
                json!({
                    // The venue's own closing is of no order.
                    "order_id": (*id != keel_model::ClientOrderId::default()).then(|| id.to_string()),
                    "time": time(fill.ts_event.as_ns()),
                    "symbol": symbol(fill.instrument),
                    "side": format!("{:?}", fill.side),
                    "price": text(fill.price),
                    "quantity": text(fill.quantity),
                    "fee": text(fill.fee),
                    "fee_asset": text(fill.fee_asset),
                    "is_maker": fill.liquidity == keel_model::Liquidity::Maker,
                })
            };
            vec![("fills_list", result.log.fills.iter().map(row).collect())]
        }
    }
}

fn table(args: &BacktestArgs, config: &Config, prepared: &Prepared, result: &BacktestResult) -> String {
    let (daily, trades) = statistics(result);
    let files: Vec<String> = args.data.iter().map(|one| one.file.display().to_string()).collect();
    let strategies: Vec<&str> = config.strategies.iter().map(|choice| choice.name.as_str()).collect();
    let symbols: Vec<String> = prepared.instruments.iter().map(|it| it.symbol.to_string()).collect();
    let at = |ns: u64| if ns == 0 { "n/a".to_owned() } else { keel_catalogue::time_to_text(ns) };
    let quote = &result.quote_asset;
    let money = |value: Notional| format!("{value} {quote}");
    let speed = if result.run_cpu_seconds > 0.0 { result.rows as f64 / result.run_cpu_seconds } else { 0.0 };
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("Data", files.join(", "));
    row("Strategies", format!("{} on {}", strategies.join(", "), symbols.join(", ")));
    row("From, to", format!("{} to {}", at(result.first_ns), at(result.last_ns)));
    row("Rows", format!("{} ({} a CPU second)", result.rows, keel_report::figure::whole(speed as u64)));
    row("Orders", format!("{} ({} denied, {} rejected)", result.orders, result.orders_denied, result.orders_rejected));
    row("Fills", result.fills.to_string());
    for position in &result.positions {
        row("Position", format!("{} {}", position.quantity, position.symbol));
        if let (Some(entry_ns), Some(price)) = (position.entry_ns, position.entry_price) {
            let unrealized = position.unrealized.map_or_else(|| "n/a".to_owned(), money);
            row("Still open", format!("since {}, at {price} on average, unrealised {unrealized}", at(entry_ns)));
        }
    }
    row("Start", money(result.start_balance));
    row("Balance", money(result.final_balance));
    row("Equity", result.final_equity.map_or_else(|| "n/a".to_owned(), money));
    row("Volume", format!("{} {quote}", keel_report::figure::money(result.volume)));
    row("Fees", money(result.fees));
    if !result.funding.is_zero() {
        row("Funding", money(result.funding));
    }
    row("Digest", result.digest.clone());
    let mut text = out::table(&rows);
    text.push_str("\nDays\n");
    text.push_str(&to_table(daily.figures()));
    text.push_str("\nTrades\n");
    text.push_str(&to_table(trades.figures()));
    text.trim_end().to_owned()
}
