//! Starting a process: journal, session, recovery once the account stream is up.

use super::{Happening, START_MS, TICK_MS, World};
use crate::bot::Process;
use crate::coverage::{CrashPoint, Met};
use keel_engine::RecoveredRecord;
use keel_gateway::recovery::RecordCollector;
use keel_model::mutant;
use keel_model::{Event, Level, MarketEvent, Price, Quantity, Timestamp, TopOfBook};
use keel_store::{Record, SessionStart};

impl World<'_> {
    pub(super) fn boot(&mut self, bot: usize) -> Result<(), String> {
        self.met(Met::Boots);
        let instance = bot as u32 + 1;
        let mut collector = RecordCollector::new(&self.kit.instruments);
        let mut failed = None;
        let opened = self.bots[bot].journal.open(&mut |entry| {
            if let Err(error) = collector.add(entry) {
                failed = Some(error.to_string());
            }
            Ok(())
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.bad("I6", format!("the journal of bot {bot} cannot be opened after a crash: {error}"));
                return Ok(());
            }
        };
        if let Some(error) = failed {
            self.bad("I6", format!("a record of bot {bot} cannot be taken: {error}"));
        }
        if opened.torn_bytes > 0 {
            self.met(Met::TornTails);
        }
        let records: Vec<RecoveredRecord> = mutant!(85, collector.finish(), Vec::new());
        self.note(|| format!("bot {bot} boots, epoch {}, {} records", opened.epoch, records.len()));
        self.mix(&[0xbb, bot as u8, opened.epoch as u8]);
        self.bots[bot].epoch = opened.epoch;
        let seed = self.rng.next_u64();
        let now_ns = (START_MS + self.now_ms) * 1_000_000;
        let (window_ms, is_active) = (self.plan.recv_window_ms, !self.is_healed);
        let process = Process::new(self.kit, instance, opened.epoch, window_ms, seed, now_ns, is_active)?;
        self.bots[bot].process = Some(process);
        if self.may_die(bot, CrashPoint::BootBeforeReplay) {
            return Ok(());
        }
        let start = SessionStart {
            ts: self.wall(bot),
            instance,
            epoch: opened.epoch,
            mode: "simulation".to_owned(),
            program: "proof".to_owned(),
            config_hash: String::new(),
            symbols: self.kit.instruments.iter().map(|instrument| instrument.symbol).collect(),
        };
        let begun = self.bots[bot].journal.append(&Record::SessionStart(start));
        begun.map_err(|error| error.to_string())?;
        self.bots[bot].journal.write();
        self.bots[bot].journal.sync();
        if let Some(process) = &mut self.bots[bot].process {
            process.records = Some(records);
        }
        self.at(TICK_MS, Happening::Timer(bot, opened.epoch));
        self.tick_session(bot);
        Ok(())
    }

    /// The account stream is up: now the venue may be asked.
    pub(super) fn recover(&mut self, bot: usize) {
        if self.may_die(bot, CrashPoint::BootAfterReplay) {
            return;
        }
        let now = self.wall(bot);
        let Some(process) = &mut self.bots[bot].process else { return };
        let Some(records) = process.records.take() else { return };
        process.engine.recover(records, now, &mut process.out);
        self.work_off(bot);
        self.quote(bot);
    }

    /// A best bid and ask of each instrument.
    pub(super) fn quote(&mut self, bot: usize) {
        for instrument in Self::instrument_ids() {
            let level = |mantissa| Level {
                price: Price::new(mantissa, 2).unwrap_or(Price::ZERO),
                quantity: Quantity::from_int(10),
            };
            let top = TopOfBook {
                instrument,
                ts_event: Timestamp::ZERO,
                ts_recv: self.wall(bot),
                update_id: 0,
                bid: level(9_990),
                ask: level(10_010),
            };
            self.step(bot, &Event::Market(MarketEvent::TopOfBook(top)));
        }
    }
}
