//! The verb `list-strategies`: every strategy with what can be set, straight from what it declares.

use crate::cli::Common;
use crate::error::LaunchError;
use crate::out;
use crate::verbs::show_list;
use keel_lifecycle::ExitStatus;
use keel_strategy::{ParamKind, ParamSpec, Params, StrategyInfo, exits, strategies};
use keel_sweep::fast::{Market, kernel};
use keel_sweep::kernel::rule::FillAt;
use serde_json::{Value, json};

/// Lists them.
pub fn run(common: &Common) -> Result<ExitStatus, LaunchError> {
    if common.json {
        let all: Vec<Value> = strategies().iter().map(one).collect();
        out::line(&Value::Array(all).to_string());
        return Ok(ExitStatus::Clean);
    }
    let rows: Vec<_> =
        strategies().iter().map(|info| vec![info.name.to_owned(), info.description.to_owned()]).collect();
    show_list(common, &["name", "what"], &rows);
    Ok(ExitStatus::Clean)
}

fn one(info: &'static StrategyInfo) -> Value {
    let takes_exits = !info.is_of_pair();
    json!({
        "name": info.name,
        "what": info.description,
        "section": info.section(),
        "instruments": if info.is_of_pair() { "spot and perpetual" } else { "one" },
        "parameters": info.params.iter().map(parameter).collect::<Vec<_>>(),
        "exits": if takes_exits { exits::PARAMS.iter().map(parameter).collect() } else { Vec::new() },
        "exits_rest_at_venue": info.has_own_exits(),
        "fast_sweep": has_kernel(info),
    })
}

/// Has the fast level of `sweep` a kernel for it? Asked for bars and market orders, which no strategy with a kernel refuses.
fn has_kernel(info: &'static StrategyInfo) -> bool {
    let of = |name: &str| info.params.iter().find(|spec| spec.name == name);
    // What kernels take, where there is a choice.
    let words = [("entry", "market"), ("input", "bars")].into_iter().filter(|(name, _)| of(name).is_some());
    let params = words.fold(Params::new(), |all, (name, word)| all.with(name, word));
    let market = Market {
        cash: 10_000.0,
        fee: 0.0,
        slippage: 0.0,
        quantity_step: 0.0,
        tick: 0.0,
        bar_s: of("bar_s").and_then(|spec| spec.default.parse().ok()).unwrap_or(60),
        can_short: true,
        fill: FillAt::NextOpen,
    };
    kernel(info, &params, &market).is_ok()
}

/// A parameter: money as text, so that no digit is lost; `unit` and `default` as they are declared.
fn parameter(spec: &ParamSpec) -> Value {
    let (kind, range, choices) = match spec.kind {
        ParamKind::Whole(from, to) => ("whole", json!([from, to]), Value::Null),
        ParamKind::Real(from, to) => ("real", json!([from, to]), Value::Null),
        ParamKind::Money(from, to) => ("money", json!([from.to_string(), to.to_string()]), Value::Null),
        ParamKind::Word(words) => ("word", Value::Null, json!(words)),
        ParamKind::Text(_) => ("text", Value::Null, Value::Null),
    };
    let default = match spec.kind {
        ParamKind::Whole(..) => spec.default.parse::<u64>().map_or(Value::Null, Value::from),
        ParamKind::Real(..) => spec.default.parse::<f64>().map_or(Value::Null, Value::from),
        ParamKind::Money(..) | ParamKind::Word(_) | ParamKind::Text(_) => spec.default.into(),
    };
    json!({
        "name": spec.name,
        "kind": kind,
        "range": range,
        "choices": choices,
        "default": default,
        "unit": spec.unit,
        "description": spec.description,
        "sweep": spec.sweep_values(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_is_there_with_range_default_unit_and_what_a_sweep_takes() {
        let info = keel_strategy::registry::find("rsi-reversion").unwrap();
        let shown = one(info);
        assert_eq!((&shown["section"], &shown["instruments"]), (&json!("rsi_reversion"), &json!("one")));
        let parameters = shown["parameters"].as_array().unwrap();
        assert_eq!(parameters.len(), info.params.len());
        let of = |name: &str| parameters.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(of("oversold")["range"], json!([1.0, 50.0]));
        assert_eq!(
            (&of("order_notional_quote")["default"], &of("order_notional_quote")["kind"]),
            (&json!("500"), &json!("money"))
        );
        assert_eq!(of("direction")["choices"], json!(["both", "long", "short"]));
        assert_eq!(of("oversold")["sweep"], json!(["15", "20", "25", "30", "35", "40"]));
        assert_eq!(shown["exits"].as_array().unwrap().len(), exits::PARAMS.len());
        assert_eq!(shown["fast_sweep"], false);
    }

    #[test]
    fn strategies_with_a_kernel_say_so() {
        let with: Vec<&str> = strategies().iter().filter(|info| has_kernel(info)).map(|info| info.name).collect();
        assert_eq!(with, ["ema-cross", "ema-cross-flip", "bollinger-breakout"]);
    }
}
