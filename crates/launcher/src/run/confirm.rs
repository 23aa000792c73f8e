//! Real money is traded only after somebody has named the account, or typed YES on a terminal.

use crate::config::{Config, Mode};
use crate::error::LaunchError;
use crate::out;
use std::io::{BufRead, IsTerminal};

/// Lets paper pass; asks for live.
pub fn check(config: &Config, named: Option<&str>) -> Result<(), LaunchError> {
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
        check(&with("paper"), None).unwrap();
        check(&with("live"), Some("main")).unwrap();
        for wrong in ["", "Main", "YES", "other"] {
            let message = check(&with("live"), Some(wrong)).unwrap_err().to_string();
            assert!(message.contains("--confirm-live main") && message.contains("nothing was sent"), "{message}");
        }
    }
}
