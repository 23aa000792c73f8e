//! Real money is traded only after somebody has armed exactly this start in two steps, has named the account, or has typed YES
//! on a terminal.

use super::arming::{self, Armed, Binding};
use crate::config::layers::Layers;
use crate::config::secrets::Keys;
use crate::config::{Config, Mode};
use crate::error::LaunchError;
use crate::out;
use std::io::{BufRead, IsTerminal};

/// How a start was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Paper: there is nothing to confirm.
    NotNeeded,
    /// Armed, and nothing has changed since.
    Armed,
    /// By naming the account, or by typing YES.
    ByHand,
}

/// Lets paper pass; asks for live. An arming that no longer fits is taken away and told, whatever else confirms the start.
pub fn check(
    config: &Config,
    layers: &Layers,
    keys: Option<&Keys>,
    named: Option<&str>,
) -> Result<Confirmed, LaunchError> {
    let (Mode::Live, Some(keys)) = (config.mode, keys) else {
        return by_hand(config, named).map(|()| match config.mode {
            Mode::Paper => Confirmed::NotNeeded,
            Mode::Live => Confirmed::ByHand,
        });
    };
    let account = &config.account;
    // Hashing the program takes a moment: only where there is an arming to compare with.
    let armed = if arming::is_there(&config.data_dir, account) {
        arming::look_up(&config.data_dir, &Binding::of(config, layers, keys)?)?
    } else {
        Armed::No
    };
    match armed {
        // A name that is given must be the right one all the same.
        Armed::Since(utc) if named.is_none_or(|named| named == account) => {
            out::note(&format!(
                "live trading on account '{account}' is armed since {utc}, and nothing has changed since"
            ));
            return Ok(Confirmed::Armed);
        }
        Armed::Changed(changes) => {
            let changes = changes.join("; ");
            let told = format!("live trading on account '{account}' is no longer armed: {changes}");
            if named != Some(account.as_str()) && !std::io::stdin().is_terminal() {
                return Err(LaunchError::refused(
                    "arming",
                    format!("{told}. Nothing was sent; look at what has changed, then `launcher arm` again"),
                ));
            }
            out::note(&format!("warning: {told}"));
        }
        Armed::Since(_) | Armed::No => {}
    }
    by_hand(config, named).map(|()| Confirmed::ByHand)
}

fn by_hand(config: &Config, named: Option<&str>) -> Result<(), LaunchError> {
    if config.mode == Mode::Paper {
        return Ok(());
    }
    let refused = || LaunchError::NotConfirmed { account: config.account.clone() };
    if let Some(named) = named {
        return if named == config.account { Ok(()) } else { Err(refused()) };
    }
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    out::note(&format!("This trades REAL MONEY on account '{}'. Type YES to go on:", config.account));
    let mut answer = String::new();
    // Nothing has begun, so Ctrl+C simply ends it here.
    keel_lifecycle::release_signals();
    let read = std::io::stdin().lock().read_line(&mut answer);
    keel_lifecycle::hold_signals();
    match read {
        Ok(_) if answer.trim() == "YES" => Ok(()),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{layers::Layers, validate};

    #[test]
    fn live_needs_the_account_s_name_and_paper_needs_nothing() {
        let with = |mode: &str| {
            let mut layers = Layers::defaults().unwrap();
            layers
                .add_text("x", &format!("[run]\nmode = '{mode}'\naccount = 'main'\n[venue]\nname = 'binance'\n"))
                .unwrap();
            validate(&layers).unwrap()
        };
        by_hand(&with("paper"), None).unwrap();
        by_hand(&with("live"), Some("main")).unwrap();
        for wrong in ["", "Main", "YES", "other"] {
            let message = by_hand(&with("live"), Some(wrong)).unwrap_err().to_string();
            assert!(message.contains("--confirm-live main") && message.contains("nothing was sent"), "{message}");
        }
    }
}
