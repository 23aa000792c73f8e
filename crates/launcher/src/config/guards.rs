//! Limits of risk from the configuration: mapped, and checked as a whole, so that limits that contradict each other or lack
//! what they need are refused with their place before anything starts.

use super::layers::Layers;
use super::schema::{self, RawConfig};
use super::{LaunchError, RiskSettings};
use keel_model::{Asset, Notional};
use keel_risk::{BreakerLimit, GuardLimits, LimitError, ProtectionLimits, RiskLimits};

const MS_PER_S: u64 = 1_000;

/// What `[risk]` and `[protections]` say.
pub(super) fn risk_settings(layers: &Layers, raw: &RawConfig) -> Result<RiskSettings, LaunchError> {
    let money = |section: &str, key: &str, text: &str| {
        text.parse::<Notional>().map_err(|error| {
            LaunchError::config(
                layers.origin(section, key),
                format!("`{section}.{key}`: {error}"),
                "write an exact decimal",
            )
        })
    };
    let risk = &raw.risk;
    let settings = RiskSettings {
        order_notional_max: money("risk", "order_notional_max_quote", &risk.order_notional_max_quote)?,
        position_notional_max: money("risk", "position_notional_max_quote", &risk.position_notional_max_quote)?,
        gross_exposure_max: money("risk", "gross_exposure_max_quote", &risk.gross_exposure_max_quote)?,
        reference_age_max_ms: risk.reference_age_max_ms,
        open_orders_max: narrow(risk.open_orders_max_count),
        orders_per_s_max: narrow(risk.orders_per_s_max_count),
        price_collar_bps: narrow(risk.price_collar_bps),
        duplicate_window_ms: risk.duplicate_window_ms,
        daily_loss_max: money("risk", "daily_loss_max_quote", &risk.daily_loss_max_quote)?,
        guards: guard_limits(raw, &money)?,
    };
    let quote_asset = Asset::new("QUOTE").unwrap_or_default();
    settings.limits(quote_asset).validate().map_err(|error| refuse(layers, &error))?;
    Ok(settings)
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Zero switches a money limit off.
fn positive(value: Notional) -> Option<Notional> {
    value.is_positive().then_some(value)
}

fn guard_limits(
    raw: &RawConfig,
    money: &dyn Fn(&str, &str, &str) -> Result<Notional, LaunchError>,
) -> Result<GuardLimits, LaunchError> {
    let (risk, own) = (&raw.risk, &raw.protections);
    Ok(GuardLimits {
        price_window_ms: risk.price_window_s * MS_PER_S,
        window_collar_bps: narrow(risk.window_collar_bps),
        volatility_bps: narrow(risk.volatility_bps),
        unfilled_orders_max: narrow(risk.unfilled_orders_max_count),
        cancel_ratio_percent_max: narrow(risk.cancel_ratio_max_percent),
        cancel_ratio_orders_min: narrow(risk.cancel_ratio_orders_min_count),
        count_window_ms: risk.count_window_s * MS_PER_S,
        strategy_rate_per_s: narrow(risk.strategy_orders_per_s_max_count),
        strategy_burst: narrow(risk.strategy_orders_per_s_max_count),
        reentries_max: narrow(risk.reentries_max_count),
        reentry_window_ms: risk.reentry_window_s * MS_PER_S,
        drawdown_max: positive(money("risk", "drawdown_max_quote", &risk.drawdown_max_quote)?),
        strategy_daily_loss_max: positive(money(
            "risk",
            "strategy_daily_loss_max_quote",
            &risk.strategy_daily_loss_max_quote,
        )?),
        strategy_drawdown_max: positive(money(
            "risk",
            "strategy_drawdown_max_quote",
            &risk.strategy_drawdown_max_quote,
        )?),
        cancel_on_disconnect_ms: risk.cancel_on_disconnect_s * MS_PER_S,
        clock_offset_ms_max: risk.clock_offset_max_ms,
        // The driver tells the offset about ten times a second.
        clock_age_ms_max: 10 * MS_PER_S,
        // No venue for derivatives yet.
        liquidation_distance_bps_min: 0,
        maintenance_margin_bps: 0,
        order_errors: BreakerLimit {
            count: narrow(risk.order_errors_max_count),
            window_ms: risk.order_errors_window_s * MS_PER_S,
        },
        venue_errors: BreakerLimit {
            count: narrow(risk.venue_errors_max_count),
            window_ms: risk.venue_errors_window_s * MS_PER_S,
        },
        loss_streak_count: narrow(risk.loss_streak_max_count),
        breaker_timeout_ms: risk.breaker_timeout_s * MS_PER_S,
        loss_timeout_ms: risk.loss_breaker_timeout_s * MS_PER_S,
        probe_notional_max: money("risk", "breaker_probe_max_quote", &risk.breaker_probe_max_quote)?,
        protections: ProtectionLimits {
            cooldown_ms: own.cooldown_s * MS_PER_S,
            stop_loss_count: narrow(own.stop_loss_max_count),
            stop_loss_window_ms: own.stop_loss_window_s * MS_PER_S,
            stop_loss_lock_ms: own.stop_loss_lock_s * MS_PER_S,
            drawdown_max: positive(money("protections", "drawdown_max_quote", &own.drawdown_max_quote)?),
            drawdown_window_ms: own.drawdown_window_s * MS_PER_S,
            drawdown_lock_ms: own.drawdown_lock_s * MS_PER_S,
            low_profit_count: narrow(own.low_profit_trades_count),
            low_profit_min: money("protections", "low_profit_min_quote", &own.low_profit_min_quote)?,
            low_profit_window_ms: own.low_profit_window_s * MS_PER_S,
            low_profit_lock_ms: own.low_profit_lock_s * MS_PER_S,
        },
    })
}

impl RiskSettings {
    /// The limits as risk takes them.
    #[must_use]
    pub fn limits(&self, quote_asset: Asset) -> RiskLimits {
        RiskLimits {
            quote_asset,
            order_notional_max: self.order_notional_max,
            position_notional_max: self.position_notional_max,
            gross_exposure_max: self.gross_exposure_max,
            order_rate_per_s: self.orders_per_s_max,
            order_burst: self.orders_per_s_max,
            price_collar_bps: self.price_collar_bps,
            reference_age_ms_max: self.reference_age_max_ms,
            duplicate_window_ms: self.duplicate_window_ms,
            daily_loss_max: self.daily_loss_max,
            open_orders_max: self.open_orders_max,
            open_orders_per_instrument_max: self.open_orders_max,
            guards: self.guards,
            ..RiskLimits::default()
        }
    }
}

/// The limit's name in risk ► its key here.
const KEYS: &[(&str, &str, &str)] = &[
    ("order_rate_per_s", "risk", "orders_per_s_max_count"),
    ("order_burst", "risk", "orders_per_s_max_count"),
    ("reference_age_ms_max", "risk", "reference_age_max_ms"),
    ("price_window_ms", "risk", "price_window_s"),
    ("cancel_ratio_percent_max", "risk", "cancel_ratio_max_percent"),
    ("count_window_ms", "risk", "count_window_s"),
    ("strategy_rate_per_s", "risk", "strategy_orders_per_s_max_count"),
    ("reentry_window_ms", "risk", "reentry_window_s"),
    ("order_errors.count", "risk", "order_errors_max_count"),
    ("order_errors.window_ms", "risk", "order_errors_window_s"),
    ("venue_errors.count", "risk", "venue_errors_max_count"),
    ("venue_errors.window_ms", "risk", "venue_errors_window_s"),
    ("loss_streak_count", "risk", "loss_streak_max_count"),
    ("breaker_timeout_ms", "risk", "breaker_timeout_s"),
    ("loss_timeout_ms", "risk", "loss_breaker_timeout_s"),
    ("probe_notional_max", "risk", "breaker_probe_max_quote"),
    ("protections.stop_loss_count", "protections", "stop_loss_max_count"),
    ("protections.drawdown_max", "protections", "drawdown_max_quote"),
    ("protections.low_profit_count", "protections", "low_profit_trades_count"),
];

/// Where a limit stands in the configuration.
fn key_of(name: &str) -> (&'static str, &'static str) {
    let known = KEYS.iter().find(|(limit, _, _)| *limit == name).map(|(_, section, key)| (*section, *key));
    let alike = || {
        ["", "_quote", "_count"]
            .iter()
            .find_map(|unit| schema::key("risk", &format!("{name}{unit}")))
            .map(|key| ("risk", key.name))
    };
    known.or_else(alike).unwrap_or(("risk", ""))
}

fn refuse(layers: &Layers, error: &LimitError) -> LaunchError {
    let (name, remedy) = match error {
        LimitError::NotPositive { name, .. } => (*name, "write a number greater than zero"),
        LimitError::TooLarge { name, .. } => (*name, "write a smaller number"),
        LimitError::Contradiction { small, .. } => (*small, "lower it, or raise the other one"),
        LimitError::Incomplete { name, .. } => (*name, "set what it needs, or switch it off with 0"),
        LimitError::NoQuoteAsset => ("order_notional_max", "name a quote asset"),
    };
    let (section, key) = key_of(name);
    let text = |name: &str| {
        let (section, key) = key_of(name);
        if key.is_empty() { name.to_owned() } else { format!("`{section}.{key}`") }
    };
    let cause = match error {
        LimitError::Contradiction { small, small_value, large, large_value } => {
            format!("{} is {small_value}, above {} {large_value}", text(small), text(large))
        }
        LimitError::Incomplete { name, needs } => format!("{} is on and needs {}", text(name), text(needs)),
        LimitError::NotPositive { name, value } => format!("{} is {value}, not greater than zero", text(name)),
        LimitError::TooLarge { name, value, max } => format!("{} is {value}; the most is {max}", text(name)),
        LimitError::NoQuoteAsset => error.to_string(),
    };
    LaunchError::config(layers.origin(section, key), cause, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::validate;
    use super::*;

    fn with(text: &str) -> Result<RiskSettings, LaunchError> {
        let mut layers = Layers::defaults().unwrap();
        layers.add_text("c.toml", text)?;
        validate(&layers).map(|config| config.risk)
    }

    #[test]
    fn o_01_limits_that_are_none_are_refused_with_place_cause_and_remedy() {
        let cases: &[(&str, &[&str])] = &[
            ("[risk]\norder_notional_max_quote = -5\n", &["c.toml, line 2", "order_notional_max_quote"]),
            ("[risk]\norder_notional_max_quote = 'NaN'\n", &["c.toml, line 2", "order_notional_max_quote"]),
            ("[risk]\norder_notional_max_quote = nan\n", &["c.toml, line 2", "order_notional_max_quote"]),
            ("[risk]\ndaily_loss_max_quote = inf\n", &["c.toml, line 2", "daily_loss_max_quote"]),
            ("[risk]\ndaily_loss_max_quote = 0\n", &["c.toml, line 2", "daily_loss_max_quote"]),
            ("[risk]\ndaily_loss_max_quote = ''\n", &["c.toml, line 2", "daily_loss_max_quote"]),
            ("[risk]\ndaily_loss_max = 5\n", &["c.toml, line 2", "daily_loss_max_quote"]),
            ("[risk]\nprice_collar_percent = 5\n", &["c.toml, line 2", "price_collar_bps"]),
            ("[risk]\nprice_collar_bps = 0.05\n", &["c.toml, line 2", "price_collar_bps"]),
            ("[risk]\nprice_collar_bps = 5001\n", &["c.toml, line 2", "5000"]),
            ("[risk]\nprice_window_s = -1\n", &["c.toml, line 2", "price_window_s"]),
            (
                "[risk]\nposition_notional_max_quote = 100\n",
                &["`risk.order_notional_max_quote` is 10000, above `risk.position_notional_max_quote` 100", "lower it"],
            ),
            (
                "[risk]\ngross_exposure_max_quote = 20000\n",
                &["`risk.position_notional_max_quote` is 50000, above `risk.gross_exposure_max_quote` 20000"],
            ),
            (
                "[risk]\nprice_window_s = 0\n",
                &["`risk.window_collar_bps` is on and needs `risk.price_window_s`", "switch it off with 0"],
            ),
            (
                "[risk]\ncount_window_s = 0\n",
                &["`risk.unfilled_orders_max_count` is on and needs `risk.count_window_s`"],
            ),
            ("[risk]\nreentry_window_s = 0\n", &["`risk.reentries_max_count` is on and needs `risk.reentry_window_s`"]),
            ("[risk]\norder_errors_window_s = 0\n", &["needs `risk.order_errors_window_s`"]),
            ("[risk]\nbreaker_probe_max_quote = 0\n", &["needs `risk.breaker_probe_max_quote`"]),
            ("[risk]\nbreaker_probe_max_quote = -1\n", &["c.toml, line 2", "breaker_probe_max_quote"]),
            (
                "[protections]\nstop_loss_max_count = 3\nstop_loss_window_s = 0\n",
                &["c.toml, line 2", "`protections.stop_loss_max_count` is on and needs a window"],
            ),
            ("[protections]\ncooldown_ms = 3\n", &["c.toml, line 2", "cooldown_s"]),
        ];
        for (text, wanted) in cases {
            let message = with(text).unwrap_err().to_string();
            for wanted in *wanted {
                assert!(message.contains(wanted), "{text:?}\n  gave {message}\n  not  {wanted}");
            }
        }
    }

    #[test]
    fn every_limit_that_can_be_refused_has_its_place() {
        for (_, section, key) in KEYS {
            assert!(schema::key(section, key).is_some(), "{section}.{key}");
        }
        for name in ["order_notional_max", "gross_exposure_max", "window_collar_bps", "reentries_max", "drawdown_max"] {
            assert!(!key_of(name).1.is_empty(), "{name}");
        }
    }

    #[test]
    fn s2_016_the_breakers_of_the_default_configuration() {
        let guards = with("").unwrap().guards;
        assert_eq!(guards.order_errors, BreakerLimit { count: 10, window_ms: 60_000 });
        assert_eq!(guards.venue_errors, BreakerLimit { count: 3, window_ms: 30_000 });
        assert_eq!(guards.drawdown_max, Some(Notional::from_int(2_000)));
        let own =
            with("[risk]\ndrawdown_max_quote = 0\n[protections]\nlow_profit_min_quote = '-1.5'\n").unwrap().guards;
        assert_eq!((own.drawdown_max, own.protections.low_profit_min), (None, "-1.5".parse().unwrap()));
    }
}
