//! The venue's own book of what happened to its clients: one JSON object a line, in the order in which the matching engine
//! decided, each line written before any client hears of it.
//!
//! Invariants: `seq` counts from 1 without a gap, so a reader sees when something is missing; a line stands in the file
//! before the event goes to a subscriber or into an answer; a file that can no longer be written ends with its last whole
//! line, and that is told once. It is for tests and audits of clients; without it nothing is written.

use crate::error::VenueError;
use crate::json::{Json, TimeUnit};
use crate::words;
use keel_model::{Asset, ExecType, Notional};
use keel_sim::{BalanceUpdate, ExecReport};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    /// Gone after the first failure.
    file: Option<File>,
    seq: u64,
}

impl EventLog {
    /// Begins a new file; one that exists is emptied, since the venue's books begin anew, too.
    pub(crate) fn create(path: &Path) -> Result<Self, VenueError> {
        let file = File::create(path).map_err(|source| VenueError::Log { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), file: Some(file), seq: 0 })
    }

    /// What an account holds at the start.
    pub(crate) fn opening(&mut self, account: usize, balances: &[(Asset, Notional)]) {
        for (asset, free) in balances {
            self.line(|j| {
                j.str("kind", "balance");
                j.num("account", account as u64);
                j.str("asset", asset.as_str());
                j.dec("free", *free);
                j.dec("locked", Notional::ZERO);
            });
        }
    }

    /// Something happened to an order.
    pub(crate) fn execution(&mut self, symbol: &str, report: &ExecReport) {
        let order = &report.order;
        self.line(|j| {
            j.str("kind", "execution");
            j.time("time_us", report.ts_transact);
            j.num("account", order.account.0);
            j.str("exec", exec_word(report.exec_type));
            j.str("symbol", symbol);
            j.num("order_id", order.order_id);
            j.str("client_order_id", order.client_order_id.as_str());
            j.str("request_id", report.request_client_id.as_str());
            j.str("status", words::state_word(order.state));
            j.str("side", words::side_word(order.side));
            j.str("type", words::order_type_word(order.order_type));
            j.dec("quantity", order.quantity);
            j.dec("price", order.price);
            j.dec("cum_quantity", order.cum_quantity);
            if let Some(trade_id) = report.trade_id {
                j.num("trade_id", trade_id);
                j.dec("last_quantity", report.last_quantity);
                j.dec("last_price", report.last_price);
                j.dec("fee", report.fee);
                j.str("fee_asset", report.fee_asset.unwrap_or_default().as_str());
                j.bool("is_maker", report.is_maker);
            }
        });
    }

    /// What an account holds after an event.
    pub(crate) fn balances(&mut self, update: &BalanceUpdate) {
        for balance in [&update.base, &update.quote] {
            self.line(|j| {
                j.str("kind", "balance");
                j.time("time_us", update.ts);
                j.num("account", update.account.0);
                j.str("asset", balance.asset.as_str());
                j.dec("free", balance.free);
                j.dec("locked", balance.locked);
            });
        }
    }

    fn line(&mut self, fill: impl FnOnce(&mut Json)) {
        let Some(file) = &mut self.file else { return };
        self.seq += 1;
        let seq = self.seq;
        let mut text = Json::object(TimeUnit::Microseconds, |j| {
            j.num("seq", seq);
            fill(j);
        });
        text.push('\n');
        if let Err(error) = file.write_all(text.as_bytes()) {
            tracing::error!(path = %self.path.display(), %error, "the venue's log ends here: it cannot be written");
            self.file = None;
        }
    }
}

const fn exec_word(exec: ExecType) -> &'static str {
    match exec {
        ExecType::New => "NEW",
        ExecType::Trade => "TRADE",
        ExecType::Canceled => "CANCELED",
        ExecType::Replaced => "REPLACED",
        ExecType::Rejected => "REJECTED",
        ExecType::Expired => "EXPIRED",
        ExecType::TradePrevention => "TRADE_PREVENTION",
        ExecType::Status => "STATUS",
    }
}
