//! What the journal says: intents, fills, and what it calls certain about orders.

use crate::error::CrashError;
use crate::venue_log::Trade;
use keel_model::{
    ClientOrderId, ExecutionEvent, ExecutionReport, Fill, InstrumentId, NewOrder, Side, SubmitAck, SubmitOutcome,
};
use keel_store::{Entry, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An order that was meant to be sent.
#[derive(Clone, Debug)]
pub struct Intent {
    /// What was meant.
    pub order: NewOrder,
    /// Its instrument by the venue's name.
    pub symbol: String,
}

/// Everything that a journal says.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Which bot.
    pub instance: u32,
    /// Intents by client id.
    pub intents: BTreeMap<ClientOrderId, Intent>,
    /// Client ids that were intended more than once.
    pub intents_repeated: Vec<ClientOrderId>,
    /// Fills by instrument and the venue's trade id.
    pub fills: BTreeMap<(String, String), Trade>,
    /// Fills that were written down twice with different words.
    pub fills_contradicting: Vec<(String, String)>,
    /// Orders that it says the venue surely never accepted.
    pub surely_not_there: BTreeSet<ClientOrderId>,
    /// Records.
    pub records: u64,
    /// Digest of the last session that ended in order.
    pub digest: Option<String>,
    /// Starts.
    pub sessions: u32,
    symbols: Vec<String>,
}

/// Reads a journal with the product's reader, which checks every checksum and the chain.
pub fn read(folder: &Path) -> Result<Ledger, CrashError> {
    let mut ledger = Ledger::default();
    let report = keel_store::for_each(folder, &mut |entry| {
        ledger.take(&entry);
        Ok(())
    })
    .map_err(|error| CrashError::unreadable(folder, error))?;
    ledger.records = report.records;
    ledger.instance = report.instance;
    Ok(ledger)
}

impl Ledger {
    fn symbol(&self, id: InstrumentId) -> String {
        self.symbols.get(id.0 as usize).cloned().unwrap_or_else(|| format!("#{}", id.0))
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.record {
            Record::SessionStart(start) => {
                self.sessions += 1;
                self.symbols = start.symbols.iter().map(ToString::to_string).collect();
            }
            Record::Intent(order) => self.intend(order),
            Record::ReplaceIntent(replace) => self.intend(&replace.new),
            Record::Execution(_, event) => self.hear(event),
            Record::SessionEnd { digest, .. } => self.digest = Some(digest.clone()),
            _ => {}
        }
    }

    fn intend(&mut self, order: &NewOrder) {
        let symbol = self.symbol(order.intent.instrument);
        let id = order.client_order_id;
        if self.intents.insert(id, Intent { order: *order, symbol }).is_some() {
            self.intents_repeated.push(id);
        }
    }

    fn hear(&mut self, event: &ExecutionEvent) {
        match event {
            ExecutionEvent::Submit(id, outcome) => self.outcome(*id, outcome),
            ExecutionEvent::Replace { new_id, outcome, .. } => self.outcome(*new_id, &outcome.new),
            ExecutionEvent::Report(report) => self.report(report),
            ExecutionEvent::Fills(fills) | ExecutionEvent::FillsOf { fills, .. } => {
                for (id, fill) in fills {
                    self.fill(id.map(|id| id.to_string()).unwrap_or_default(), fill);
                }
            }
            // Listed one by one: news that is added has to be thought of here.
            ExecutionEvent::Armed(_)
            | ExecutionEvent::Sent { .. }
            | ExecutionEvent::Cancel(..)
            | ExecutionEvent::Query(..)
            | ExecutionEvent::OpenOrders(..)
            | ExecutionEvent::Balances { .. }
            | ExecutionEvent::Transfer { .. } => {}
        }
    }

    fn outcome(&mut self, id: ClientOrderId, outcome: &SubmitOutcome) {
        match outcome {
            SubmitOutcome::Accepted(SubmitAck { reports, .. }) => reports.iter().for_each(|it| self.report(it)),
            SubmitOutcome::Rejected(_) | SubmitOutcome::NotSent(_) => {
                self.surely_not_there.insert(id);
            }
            SubmitOutcome::Unknown(_) => {}
        }
    }

    fn report(&mut self, report: &ExecutionReport) {
        if let Some(fill) = &report.fill {
            self.fill(report.client_order_id.map(|id| id.to_string()).unwrap_or_default(), fill);
        }
    }

    fn fill(&mut self, order: String, fill: &Fill) {
        let key = (self.symbol(fill.instrument), fill.trade_id.to_string());
        let trade = Trade {
            order,
            is_buy: fill.side == Side::Buy,
            quantity: fill.quantity,
            price: fill.price,
            fee: fill.fee,
            fee_asset: fill.fee_asset.to_string(),
        };
        match self.fills.get_mut(&key) {
            None => {
                self.fills.insert(key, trade);
            }
            Some(known) => {
                if known.order.is_empty() {
                    known.order.clone_from(&trade.order);
                }
                let is_same = (known.is_buy, known.quantity, known.price)
                    == (trade.is_buy, trade.quantity, trade.price)
                    && (trade.order.is_empty() || known.order == trade.order);
                if !is_same {
                    self.fills_contradicting.push(key);
                }
            }
        }
    }
}
