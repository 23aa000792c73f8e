//! The configuration as text: the documented file of `new-config` and the table of `show-config`.

use super::layers::{Layers, Value, expectation};
use super::schema::{Kind, sections};
use crate::out;

/// Settings of the file for live trading that differ from the defaults.
const LIVE: &[(&str, &str, &str)] = &[
    ("run", "mode", "\"live\""),
    ("run", "account", "\"main\""),
    ("venue", "name", "\"binance\""),
    ("venue", "symbols", "[\"BTCUSDT\"]"),
    ("credentials", "file", "\"/etc/keel/binance.keys.toml\""),
    ("risk", "order_notional_max_quote", "\"100\""),
    ("risk", "position_notional_max_quote", "\"500\""),
    ("risk", "gross_exposure_max_quote", "\"1000\""),
    ("risk", "open_orders_max_count", "10"),
    ("risk", "orders_per_s_max_count", "5"),
    ("risk", "price_collar_bps", "100"),
    ("risk", "daily_loss_max_quote", "\"50\""),
    ("risk", "drawdown_max_quote", "\"100\""),
    ("risk", "strategy_daily_loss_max_quote", "\"50\""),
    ("risk", "reentries_max_count", "100"),
    ("risk", "unfilled_orders_max_count", "50"),
    ("risk", "window_collar_bps", "300"),
    ("risk", "volatility_bps", "500"),
    ("risk", "breaker_probe_max_quote", "\"20\""),
    ("risk", "clock_offset_max_ms", "1000"),
    ("market_maker", "quote_notional_quote", "\"50\""),
    ("market_maker", "half_spread_bps", "5.0"),
    ("market_maker", "requote_bps", "2.0"),
    ("market_maker", "inventory_notional_max_quote", "\"200\""),
    ("market_maker", "requote_interval_ms", "1000"),
    ("ema_cross", "bar_s", "60"),
    ("ema_cross", "fast_bars_count", "12"),
    ("ema_cross", "slow_bars_count", "26"),
    ("ema_cross", "order_notional_quote", "\"50\""),
];

/// A complete, documented configuration file.
#[must_use]
pub fn documented(is_live: bool) -> String {
    let mut text = String::new();
    let head = if is_live {
        "# Live trading: real money. Start small.\n# launcher --live --config THIS --confirm-live main\n"
    } else {
        "# Paper trading. Every value below is the default; leave out what you do not change.\n# launcher --config THIS\n"
    };
    text.push_str(head);
    text.push_str(
        "# Precedence: command line, then KEEL__SECTION__KEY, then later files, then earlier files, then defaults.\n",
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for section in sections() {
        line(String::new());
        section.doc.iter().for_each(|doc| line(format!("#{doc}")));
        line(format!("[{}]", section.name));
        for key in section.keys {
            key.doc.iter().for_each(|doc| line(format!("#{doc}")));
            if matches!(key.kind, Kind::Word(_) | Kind::Whole(..) | Kind::Real(..) | Kind::Decimal(..)) {
                line(format!("# Takes {}.", expectation(key.kind)));
            }
            let own = LIVE.iter().find(|(s, k, _)| is_live && *s == section.name && *k == key.name);
            line(format!("{} = {}", key.name, own.map_or(key.default, |(_, _, value)| value)));
        }
    }
    text
}

/// Each value with its origin, as a table.
#[must_use]
pub fn effective(layers: &Layers) -> String {
    let mut rows = vec![vec!["key".to_owned(), "value".into(), "from".into()]];
    rows.extend(
        layers
            .iter()
            .map(|(section, key, value, origin)| vec![format!("{section}.{key}"), shown(value), origin.to_string()]),
    );
    out::table(&rows)
}

/// Each value with its origin, as JSON.
#[must_use]
pub fn effective_json(layers: &Layers) -> serde_json::Value {
    let entries = layers.iter().map(|(section, key, value, origin)| {
        serde_json::json!({ "key": format!("{section}.{key}"), "value": shown_json(value), "from": origin.to_string() })
    });
    serde_json::Value::Array(entries.collect())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => Value::Text(redact_url(text)).to_string(),
        other => other.to_string(),
    }
}

fn shown_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Flag(value) => (*value).into(),
        Value::Whole(value) => (*value).into(),
        Value::Real(value) => (*value).into(),
        Value::Text(text) => redact_url(text).into(),
        Value::Words(words) => words.clone().into(),
    }
}

/// An address without the user and password that somebody may have put into it, and without its query.
#[must_use]
pub fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    // A password may hold a slash: whatever stands before the last @ is hidden.
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("***@{host}"));
    format!("{scheme}://{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate;

    fn shipped(name: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn parsed(text: &str) -> Layers {
        let mut layers = Layers::defaults().unwrap();
        layers.add_text("file", text).unwrap();
        layers
    }

    #[test]
    fn shipped_files_are_what_new_config_writes_and_hold_every_key() {
        for (name, is_live) in [("paper.toml", false), ("live.example.toml", true)] {
            assert_eq!(shipped(name), documented(is_live), "config/{name}: write it anew with `launcher new-config`");
            let layers = parsed(&shipped(name));
            assert!(
                layers.iter().all(|(_, _, _, origin)| origin.to_string().starts_with("file")),
                "{name} lacks a key"
            );
            validate(&layers).unwrap();
        }
    }

    #[test]
    fn the_paper_file_changes_nothing() {
        let (file, built_in) = (parsed(&shipped("paper.toml")), Layers::defaults().unwrap());
        assert_eq!(file.to_raw().unwrap(), built_in.to_raw().unwrap());
    }

    #[test]
    fn passwords_in_addresses_are_never_shown() {
        let layers = parsed(
            "[venue]\nrest_url = 'https://me:hunter2@host:1/p?signature=abc'\n[database]\nurl = 'postgres://me:hun/ter2@db/keel'\n",
        );
        for text in [effective(&layers), effective_json(&layers).to_string()] {
            assert!(!text.contains("hunter2") && !text.contains("ter2") && !text.contains("abc"), "{text}");
            assert!(text.contains("https://***@host:1/p?***") && text.contains("postgres://***@db/keel"), "{text}");
        }
        // Such a password has to be written as `hun%2Fter2`; the error does not repeat it.
        let error = validate(&layers).unwrap_err().to_string();
        assert!(error.contains("database.url") && !error.contains("ter2"), "{error}");
        let config = validate(&parsed("[database]\nurl = 'postgres://me:hun%2Fter2@db/keel'\n")).unwrap();
        assert!(!format!("{config:?}").contains("ter2"), "X-02: a configuration may be logged");
    }
}
