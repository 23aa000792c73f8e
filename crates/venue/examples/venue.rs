//! Runs the simulated venue by itself until Ctrl+C: `cargo run -p keel-venue --example venue -- [--port N] [--seed S]
//! [--account KEY:SECRET]… [--replay FILE [--speed 1|N|max]] [--unlimited]`. `launcher venue` is the same with more comfort.

use keel_venue::{AccountConfig, ReplaySpeed, VenueConfig, VenueContext, VenueLimits, VenueServer};
use secrecy::ExposeSecret as _;
use std::error::Error;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = VenueConfig::synthetic(0, 1);
    let (mut replay, mut speed) = (None, ReplaySpeed::Real);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--unlimited" {
            config.limits = VenueLimits::unlimited();
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--port" => config.bind.set_port(value.parse()?),
            "--seed" => config.seed = value.parse()?,
            "--account" => config.accounts.push(AccountConfig::parse(&value)?),
            "--replay" => replay = Some(value),
            "--speed" => speed = value.parse()?,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    if let Some(path) = replay {
        config.market = VenueConfig::replay(0, path, speed).market;
    }
    let handle = VenueServer::start(config, VenueContext::standalone())?;
    println!("listening on {}", handle.addr());
    for account in handle.demo_accounts() {
        println!("account {}:{}", account.api_key, account.secret.expose_secret());
    }
    tokio::signal::ctrl_c().await?;
    let report = handle.stop(Duration::from_secs(2)).await;
    println!("{report}");
    Ok(())
}
