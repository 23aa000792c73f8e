//! From the journal's records to what the engine takes: start is recovery.
//!
//! Instrument ids are dense indices of one run; each session's start says which symbols its ids meant, so records of
//! earlier runs are carried over by symbol. An instrument that this run does not trade stops the start: its orders and
//! positions would be seen by nobody.

use crate::GatewayError;
use keel_engine::RecoveredRecord;
use keel_model::ids::Symbol;
use keel_model::{
    CancelOutcome, Command, ExecutionEvent, Fill, Finding, InstrumentId, Instruments, OrderSnapshot, QueryOutcome,
    RiskScope, SubmitOutcome,
};
use keel_store::{Entry, Journal, Record, SessionStart};
use std::time::Duration;

/// Collects records for the engine, one journal entry after the other.
#[derive(Debug)]
pub struct RecordCollector<'a> {
    translator: RecordTranslator<'a>,
    records: Vec<RecoveredRecord>,
}

impl<'a> RecordCollector<'a> {
    /// A collector for a run that trades `instruments`.
    #[must_use]
    pub const fn new(instruments: &'a Instruments) -> Self {
        Self { translator: RecordTranslator::new(instruments), records: Vec::new() }
    }

    /// Takes one entry.
    pub fn add(&mut self, entry: Entry) -> Result<(), GatewayError> {
        self.records.extend(self.translator.translate(entry)?);
        Ok(())
    }

    /// What was collected.
    #[must_use]
    pub fn finish(self) -> Vec<RecoveredRecord> {
        self.records
    }
}

/// Turns entries into what the engine takes, one after the other; remembers what the session at hand means by its ids.
#[derive(Debug)]
pub struct RecordTranslator<'a> {
    instruments: &'a Instruments,
    /// Ids of the session at hand ► ids of this run.
    ids: Vec<Option<InstrumentId>>,
    symbols: Vec<Symbol>,
}

impl<'a> RecordTranslator<'a> {
    /// For a run that trades `instruments`.
    #[must_use]
    pub const fn new(instruments: &'a Instruments) -> Self {
        Self { instruments, ids: Vec::new(), symbols: Vec::new() }
    }

    /// From here on, ids mean these symbols.
    pub fn begin_session(&mut self, symbols: &[Symbol]) {
        self.symbols = symbols.to_vec();
        let find = |symbol: &Symbol| self.instruments.by_symbol(symbol.as_str()).map(|instrument| instrument.id);
        self.ids = symbols.iter().map(find).collect();
    }

    /// What ids mean in the session at hand.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// What the engine takes of an entry; `None` for one that is of no concern to it.
    pub fn translate(&mut self, entry: Entry) -> Result<Option<RecoveredRecord>, GatewayError> {
        let record = match entry.record {
            Record::SessionStart(start) => {
                self.begin_session(&start.symbols);
                RecoveredRecord::Session(start.ts)
            }
            Record::Intent(mut new) => {
                new.intent.instrument = self.id(new.intent.instrument)?;
                RecoveredRecord::Intent(new.ts_decided, new)
            }
            Record::ReplaceIntent(mut replace) => {
                replace.new.intent.instrument = self.id(replace.new.intent.instrument)?;
                RecoveredRecord::Intent(replace.new.ts_decided, replace.new)
            }
            Record::Execution(ts, mut event) => {
                self.carry_over(&mut event)?;
                RecoveredRecord::Event(ts, event)
            }
            Record::RiskSnapshot(bytes) => {
                let mut snapshot: keel_risk::RiskSnapshot = postcard::from_bytes(&bytes)
                    .map_err(|error| GatewayError::Replay { sequence: entry.sequence, cause: error.to_string() })?;
                snapshot.carry_over(|id| self.id(id))?;
                RecoveredRecord::Risk(Box::new(snapshot))
            }
            Record::Command(ts, mut command) => {
                match &mut command {
                    Command::Release(id)
                    | Command::Rearm(RiskScope::Instrument(id))
                    | Command::Kill(RiskScope::Instrument(id), _) => *id = self.id(*id)?,
                    _ => {}
                }
                RecoveredRecord::Command(ts, command)
            }
            Record::Strategies(keys) => RecoveredRecord::Strategies(keys),
            Record::Finding(ts, mut finding) => {
                if let Finding::Held(hold) = &mut finding {
                    hold.instrument = self.id(hold.instrument)?;
                }
                RecoveredRecord::Finding(ts, finding)
            }
            Record::Parent(ts, bytes) => {
                let mut record: keel_execution::ParentRecord = postcard::from_bytes(&bytes)
                    .map_err(|error| GatewayError::Replay { sequence: entry.sequence, cause: error.to_string() })?;
                if let Some(plan) = record.plan_mut() {
                    plan.set_instrument(self.id(plan.instrument())?);
                }
                RecoveredRecord::Parent(ts, record)
            }
            _ => return Ok(None),
        };
        Ok(Some(record))
    }

    fn id(&self, old: InstrumentId) -> Result<InstrumentId, GatewayError> {
        let symbol =
            || self.symbols.get(old.index()).map_or_else(|| format!("instrument {}", old.0), ToString::to_string);
        let found = self.ids.get(old.index()).copied().flatten();
        found.ok_or_else(|| GatewayError::UnknownInstrument { symbol: symbol() })
    }

    fn carry_over(&self, event: &mut ExecutionEvent) -> Result<(), GatewayError> {
        match event {
            ExecutionEvent::Submit(_, outcome) => self.carry_over_submit(outcome),
            ExecutionEvent::Cancel(_, outcome) => self.carry_over_cancel(outcome),
            ExecutionEvent::Replace { outcome, .. } => {
                self.carry_over_cancel(&mut outcome.cancel)?;
                self.carry_over_submit(&mut outcome.new)
            }
            ExecutionEvent::Query(_, QueryOutcome::Found(found)) => self.carry_over_order(found),
            ExecutionEvent::Report(report) => {
                report.instrument = self.id(report.instrument)?;
                report.fill.as_mut().map_or(Ok(()), |fill| self.carry_over_fill(fill))
            }
            ExecutionEvent::FillsOf { instrument, fills, .. } => {
                *instrument = self.id(*instrument)?;
                fills.iter_mut().try_for_each(|(_, fill)| self.carry_over_fill(fill))
            }
            ExecutionEvent::Fills(fills) => fills.iter_mut().try_for_each(|(_, fill)| self.carry_over_fill(fill)),
            ExecutionEvent::OpenOrders(scope, orders) => {
                if let Some(id) = scope {
                    *id = self.id(*id)?;
                }
                orders.iter_mut().try_for_each(|order| self.carry_over_order(order))
            }
            ExecutionEvent::Armed(_)
            | ExecutionEvent::Sent { .. }
            | ExecutionEvent::Query(..)
            | ExecutionEvent::Balances { .. }
            | ExecutionEvent::Transfer { .. } => Ok(()),
        }
    }

    fn carry_over_fill(&self, fill: &mut Fill) -> Result<(), GatewayError> {
        fill.instrument = self.id(fill.instrument)?;
        Ok(())
    }

    fn carry_over_order(&self, order: &mut OrderSnapshot) -> Result<(), GatewayError> {
        order.instrument = self.id(order.instrument)?;
        Ok(())
    }

    fn carry_over_submit(&self, outcome: &mut SubmitOutcome) -> Result<(), GatewayError> {
        let SubmitOutcome::Accepted(ack) = outcome else { return Ok(()) };
        ack.reports.iter_mut().try_for_each(|report| {
            report.instrument = self.id(report.instrument)?;
            report.fill.as_mut().map_or(Ok(()), |fill| self.carry_over_fill(fill))
        })
    }

    fn carry_over_cancel(&self, outcome: &mut CancelOutcome) -> Result<(), GatewayError> {
        match outcome {
            CancelOutcome::Canceled(order) => self.carry_over_order(order),
            _ => Ok(()),
        }
    }
}

/// Turns the records of a journal into what the engine takes.
pub fn recovered_records(
    entries: impl IntoIterator<Item = Entry>,
    instruments: &Instruments,
) -> Result<Vec<RecoveredRecord>, GatewayError> {
    let mut collector = RecordCollector::new(instruments);
    entries.into_iter().try_for_each(|entry| collector.add(entry))?;
    Ok(collector.finish())
}

/// Writes the first record of a run and waits until it is durable. Every later id in the journal refers to its symbols.
pub async fn begin_session(journal: &Journal, start: SessionStart, limit: Duration) -> Result<(), GatewayError> {
    let ticket = journal.append(&Record::SessionStart(start))?;
    let waited_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    tokio::time::timeout(limit, ticket)
        .await
        .map_err(|_| keel_store::StoreError::Timeout { what: "begin the session", waited_ms })??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_execution::ParentRecord;
    use keel_model::instrument::LotRule;
    use keel_model::parent::{ParentId, ParentPlan, Twap};
    use keel_model::{
        ClientOrderId, Instrument, InstrumentKind, InstrumentStatus, Notional, Price, Quantity, Side, StrategyId,
        Timestamp,
    };

    fn instrument(symbol: &str) -> Instrument {
        Instrument {
            id: InstrumentId(0),
            symbol: symbol.parse().unwrap(),
            base: symbol[..3].parse().unwrap(),
            quote: symbol[3..].parse().unwrap(),
            kind: InstrumentKind::Spot,
            status: InstrumentStatus::Trading,
            tick_size: Price::from_int(1),
            min_price: Price::from_int(1),
            max_price: Price::from_int(1_000_000),
            lot: LotRule::default(),
            market_lot: LotRule::default(),
            min_notional: Notional::ZERO,
            min_notional_applies_to_market: false,
            max_notional: None,
            percent_price: None,
            max_open_orders: 0,
            max_open_algo_orders: 0,
        }
    }

    #[test]
    fn n_14_a_plan_is_carried_over_to_the_instrument_numbers_of_this_run() {
        let mut instruments = Instruments::new();
        for symbol in ["ETHUSDT", "BTCUSDT"] {
            instruments.upsert(instrument(symbol));
        }
        let plan: ParentPlan = Twap::new(InstrumentId(0), Side::Buy, Quantity::from_int(1), 1_000).into();
        let parent = ParentId(ClientOrderId::default());
        let created = ParentRecord::Created { parent, strategy: StrategyId(0), ts: Timestamp::ZERO, plan };
        let bytes = postcard::to_allocvec(&created).unwrap();
        let start = SessionStart { symbols: vec!["BTCUSDT".parse().unwrap()], ..SessionStart::default() };
        let entry = |sequence, record| Entry { sequence, record };
        let entries = [entry(1, Record::SessionStart(start)), entry(2, Record::Parent(Timestamp::ZERO, bytes))];
        let records = recovered_records(entries, &instruments).unwrap();
        let found = records.into_iter().find_map(|record| match record {
            RecoveredRecord::Parent(_, ParentRecord::Created { plan, .. }) => Some(plan.instrument()),
            _ => None,
        });
        assert_eq!(found, Some(InstrumentId(1)));
        let unreadable = Record::Parent(Timestamp::ZERO, vec![0xff; 3]);
        let error = recovered_records([entry(1, unreadable)], &instruments).unwrap_err();
        assert!(matches!(error, GatewayError::Replay { sequence: 1, .. }), "{error}");
    }
}
