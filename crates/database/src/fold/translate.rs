//! Instrument ids are dense indices of one run, and a journal holds many runs: each session's start says which symbols its ids
//! mean. Here they become indices into one table of symbols for the whole journal.

use keel_model::ids::Symbol;
use keel_model::{
    CancelOutcome, ExecutionEvent, ExecutionReport, Fill, InstrumentId, OrderSnapshot, QueryOutcome, SubmitOutcome,
};

/// Symbols of a whole journal, and what the ids of the session at hand mean.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Symbols {
    all: Vec<Symbol>,
    session: Vec<InstrumentId>,
}

impl Symbols {
    /// A session begins: its ids mean these symbols.
    pub(crate) fn begin(&mut self, symbols: &[Symbol]) {
        self.session = symbols.iter().map(|symbol| self.id_of(*symbol)).collect();
    }

    fn id_of(&mut self, symbol: Symbol) -> InstrumentId {
        let at = self.all.iter().position(|known| *known == symbol).unwrap_or_else(|| {
            self.all.push(symbol);
            self.all.len() - 1
        });
        InstrumentId(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// An id of the session as one of the journal.
    pub(crate) fn own(&mut self, id: InstrumentId) -> InstrumentId {
        match self.session.get(id.index()) {
            Some(own) => *own,
            // Named by no session start: kept apart under its number.
            None => self.id_of(Symbol::truncated(&format!("#{}", id.0))),
        }
    }

    /// The symbol of an id of the journal.
    pub(crate) fn name(&self, id: InstrumentId) -> String {
        self.all.get(id.index()).map_or_else(|| format!("#{}", id.0), ToString::to_string)
    }

    /// Every id in an event.
    pub(crate) fn event(&mut self, event: &mut ExecutionEvent) {
        match event {
            ExecutionEvent::Submit(_, outcome) => self.submit(outcome),
            ExecutionEvent::Cancel(_, outcome) => self.cancel(outcome),
            ExecutionEvent::Replace { outcome, .. } => {
                self.cancel(&mut outcome.cancel);
                self.submit(&mut outcome.new);
            }
            ExecutionEvent::Query(_, QueryOutcome::Found(found)) => self.snapshot(found),
            ExecutionEvent::Report(report) => self.report(report),
            ExecutionEvent::Fills(fills) => fills.iter_mut().for_each(|(_, fill)| self.fill(fill)),
            ExecutionEvent::FillsOf { instrument, fills, .. } => {
                *instrument = self.own(*instrument);
                fills.iter_mut().for_each(|(_, fill)| self.fill(fill));
            }
            ExecutionEvent::OpenOrders(scope, orders) => {
                *scope = scope.map(|id| self.own(id));
                orders.iter_mut().for_each(|order| self.snapshot(order));
            }
            ExecutionEvent::Armed(_)
            | ExecutionEvent::Sent { .. }
            | ExecutionEvent::Query(..)
            | ExecutionEvent::Transfer { .. }
            | ExecutionEvent::Balances { .. } => {}
        }
    }

    fn fill(&mut self, fill: &mut Fill) {
        fill.instrument = self.own(fill.instrument);
    }

    fn snapshot(&mut self, order: &mut OrderSnapshot) {
        order.instrument = self.own(order.instrument);
    }

    fn report(&mut self, report: &mut ExecutionReport) {
        report.instrument = self.own(report.instrument);
        if let Some(fill) = &mut report.fill {
            self.fill(fill);
        }
    }

    fn submit(&mut self, outcome: &mut SubmitOutcome) {
        if let SubmitOutcome::Accepted(ack) = outcome {
            ack.reports.iter_mut().for_each(|report| self.report(report));
        }
    }

    fn cancel(&mut self, outcome: &mut CancelOutcome) {
        if let CancelOutcome::Canceled(order) = outcome {
            self.snapshot(order);
        }
    }
}
