//! `launcher arm`, `launcher confirm CODE` and `launcher disarm`: live trading is armed in two steps, and stays armed only for
//! exactly what was shown.

use super::data_dir;
use crate::cli::{Common, RunArgs};
use crate::config::{self, Mode};
use crate::error::LaunchError;
use crate::out;
use crate::run::arming::{self, Binding};
use clap::Args;
use keel_lifecycle::{Clock, ExitStatus};

/// Flags of `confirm`.
#[derive(Clone, Debug, Args)]
pub struct ConfirmArgs {
    /// The code that `arm` has shown
    pub code: String,
}

/// Shows what would be traded, and the code.
pub fn arm(common: &Common, args: &RunArgs) -> Result<ExitStatus, LaunchError> {
    let layers = config::load_layers(common, args)?;
    let config = config::validate(&layers)?;
    if config.mode != Mode::Live {
        return Err(LaunchError::Usage(
            "paper needs no arming; arm what you will start: `launcher arm --live -c live.toml`".into(),
        ));
    }
    let keys = crate::run::keys(&config, args)?
        .ok_or_else(|| LaunchError::refused("arming", "there are no keys to be bound to"))?;
    let binding = Binding::of(&config, &layers, &keys)?;
    let code = arming::arm(&config.data_dir, &binding, Clock::system().now_ns())?;
    if common.json {
        let fields: serde_json::Map<String, serde_json::Value> =
            binding.lines().into_iter().map(|(what, value)| (what.replace(' ', "_"), value.into())).collect();
        let mut value = serde_json::Value::Object(fields);
        value["code"] = code.into();
        value["code_valid_s"] = arming::CODE_S.into();
        out::line(&value.to_string());
        return Ok(ExitStatus::Clean);
    }
    let mut rows = vec![vec!["to be armed".to_owned(), "value".to_owned()]];
    rows.extend(binding.lines().into_iter().map(|(what, value)| vec![what, value]));
    let risk = &config.risk;
    let limits = [
        ("order at most", risk.order_notional_max.to_string()),
        ("position at most", risk.position_notional_max.to_string()),
        ("daily loss at most", risk.daily_loss_max.to_string()),
    ];
    rows.extend(limits.map(|(what, value)| vec![what.to_owned(), value]));
    out::line(out::table(&rows).trim_end());
    out::line(&format!("code: {code}"));
    out::note(&format!(
        "nothing is armed yet. If all of this is as you want it, within {} s: launcher confirm {code} --data-dir {}",
        arming::CODE_S,
        config.data_dir.display()
    ));
    Ok(ExitStatus::Clean)
}

/// Takes the code.
pub fn confirm(common: &Common, args: &ConfirmArgs) -> Result<ExitStatus, LaunchError> {
    let folder = data_dir(common)?;
    let arming = arming::confirm(&folder, &args.code, Clock::system().now_ns())?;
    if common.json {
        let armed = serde_json::json!({ "armed": arming.binding.account, "utc": arming.utc });
        out::line(&armed.to_string());
    } else {
        out::line(&format!(
            "armed: live trading on account '{}'. It stays armed over restarts until something changes, or `launcher disarm`",
            arming.binding.account
        ));
    }
    Ok(ExitStatus::Clean)
}

/// Takes the arming of the configured account away.
pub fn disarm(common: &Common, args: &RunArgs) -> Result<ExitStatus, LaunchError> {
    let layers = config::load_layers(common, args)?;
    let raw = layers.to_raw()?;
    let was_armed = arming::disarm(std::path::Path::new(&raw.run.data_dir), &raw.run.account)?;
    if common.json {
        out::line(&serde_json::json!({ "account": raw.run.account, "was_armed": was_armed }).to_string());
    } else {
        let state = if was_armed { "disarmed" } else { "was not armed" };
        out::line(&format!("{state}: live trading on account '{}'", raw.run.account));
    }
    Ok(ExitStatus::Clean)
}
